//! `enableProxyingHttpRequest`: the request is streamed to the handler and its answer back.
//!
//! Path and query as received; hop-by-hop headers dropped both ways; the destination's own `Host`; host
//! headers *overwrite* a caller's; a host that traces goes on with the caller's trace. A connection that cannot be made
//! is tried ten times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use uuid::Uuid;
use warp::Reply;
use warp::http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use warp::http::{HeaderMap, HeaderValue};

use super::forward::copy_back;
use super::{Answer, Incoming};
use crate::local::host::invoke::{Core, broken};
use crate::local::host::manifest::Function;
use crate::trace::Traceparent;

const TRACEPARENT: &str = "traceparent";
/// How long the handler may be silent.
const IDLE: Duration = Duration::from_mins(4);
const CONNECTS: u32 = 10;

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) async fn pass<S>(
    core: &Arc<Core>,
    function: &Function,
    request: Incoming<S>,
    limit: u64,
) -> (Uuid, Result<Answer, String>)
where
    S: Stream<Item = Result<Bytes, warp::Error>> + Send + 'static,
{
    let id = Uuid::new_v4();
    (id, exchange(core, function, id, request, limit).await)
}

async fn exchange<S>(
    core: &Arc<Core>,
    function: &Function,
    id: Uuid,
    request: Incoming<S>,
    limit: u64,
) -> Result<Answer, String>
where
    S: Stream<Item = Result<Bytes, warp::Error>> + Send + 'static,
{
    let (worker, number) = core.ready_worker(function).await?;
    connect(worker.port).await?;
    let query = if request.query.is_empty() {
        String::new()
    } else {
        format!("?{}", request.query)
    };
    let url = format!("http://127.0.0.1:{}{}{query}", worker.port, request.path);
    let url = url::Url::parse(&url).map_err(|_| "the path cannot be proxied".to_owned())?;
    let has_body = request.headers.contains_key(CONTENT_LENGTH)
        || request.headers.contains_key(TRANSFER_ENCODING);
    let mut headers = end_to_end(&request.headers);
    headers.remove(HOST);
    let mut added = core.host_headers(id);
    if let Some(span) = added
        .get(TRACEPARENT)
        .zip(headers.get(TRACEPARENT))
        .and_then(|(ours, caller)| span_of(ours, caller))
    {
        added.insert(TRACEPARENT, span);
    }
    for (name, value) in &added {
        headers.insert(name, value.clone());
    }
    if let Ok(id) = id.to_string().parse() {
        headers.entry("x-ms-invocation-id").or_insert(id);
    }
    let timeout = core.function_timeout();
    let mut outgoing = core
        .http
        .request(request.method, &url)
        .headers(headers)
        .timeout(timeout + Duration::from_mins(1));
    if has_body {
        outgoing = outgoing.body(reqwest::Body::wrap_stream(capped(request.body, limit)));
    }
    let Ok(answered) = tokio::time::timeout(timeout.min(IDLE), outgoing.send()).await else {
        if timeout <= IDLE {
            worker.renew(number);
        }
        return Err("timed out".to_owned());
    };
    let response = answered.map_err(|error| broken(&error))?;
    let (status, headers) = (response.status(), end_to_end(response.headers()));
    let body = warp::reply::stream(response.bytes_stream()).into_response();
    Ok(copy_back(status, headers, body))
}

/// The host's own span in the trace of its caller, if that has one.
fn span_of(ours: &HeaderValue, caller: &HeaderValue) -> Option<HeaderValue> {
    let caller = Traceparent::parse(caller.to_str().ok()?)?;
    let span = ours.to_str().ok()?.split('-').nth(2)?;
    let flags = if caller.is_sampled() { "01" } else { "00" };
    HeaderValue::try_from(format!("00-{}-{span}-{flags}", caller.trace_id())).ok()
}

/// Only the making of a connection may be repeated: nothing was sent yet.
async fn connect(port: u16) -> Result<(), String> {
    for tried in 1..=CONNECTS {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Ok(());
        }
        let pause = Duration::from_millis(50)
            .saturating_mul(tried)
            .min(Duration::from_millis(250));
        tokio::time::sleep(pause).await;
    }
    Err("the handler could not be reached".to_owned())
}

/// Cuts the request when the body grows over the limit.
fn capped<S>(
    body: S,
    limit: u64,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, warp::Error>> + Send + 'static,
{
    let seen = AtomicU64::new(0);
    body.map(move |piece| {
        let piece = piece.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        let total = seen.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
        if total > limit {
            Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge))
        } else {
            Ok(piece)
        }
    })
}

/// All headers but those that belong to one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let stays = |name: &HeaderName| !HOP_BY_HOP.contains(&name.as_str()) && !named.contains(name);
    headers
        .iter()
        .filter(|(name, _)| stays(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
