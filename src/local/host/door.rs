//! The HTTP side: routes, locks, limits, and the way of a request to the handler and back.
//!
//! As the host has it: an unknown route *or method* is 404, a missing or wrong key 401 before the handler
//! is called, more than 100 MB 413. Then the request is proxied (newer hosts: streamed, host headers
//! overwritten) or forwarded (older ones: rebuilt, see `forward`). Whatever the handler answers goes
//! back unchanged and the invocation counts as succeeded; only a broken connection is a 500 of ours.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use chrono::Utc;
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;
use warp::http::{HeaderMap, Method, Response, StatusCode};
use warp::{Filter, Reply};

use super::event::{HostEvent, Invocation, Outcome};
use super::invoke::Core;
use super::manifest::{AuthLevel, Function, HttpTrigger, Trigger};

mod admin;
mod forward;
mod proxy;

const BODY_LIMIT: u64 = 104_857_600;
const BODY_LIMIT_SETTING: &str = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT";

type Answer = warp::reply::Response;

/// A request as it came.
struct Incoming<S> {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: S,
}

/// Listens until the host stops.
pub(super) fn open(core: Arc<Core>, listener: TcpListener) -> JoinHandle<()> {
    let to_core = core.clone();
    let everything = warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |method, path: warp::path::FullPath, query, headers, body| {
                let core = to_core.clone();
                async move {
                    let body = pieces(body);
                    serve(
                        &core,
                        Incoming {
                            method,
                            path: path.as_str().to_owned(),
                            query,
                            headers,
                            body,
                        },
                    )
                    .await
                }
            },
        );
    let stopped = async move { core.stop_begins().await };
    tokio::spawn(
        warp::serve(everything)
            .incoming(listener)
            .graceful(stopped)
            .run(),
    )
}

fn pieces(
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> impl Stream<Item = Result<Bytes, warp::Error>> {
    body.map(|piece| {
        piece.map(|mut piece| {
            let length = piece.remaining();
            piece.copy_to_bytes(length)
        })
    })
}

async fn serve<S>(core: &Arc<Core>, request: Incoming<S>) -> Answer
where
    S: Stream<Item = Result<Bytes, warp::Error>> + Send + 'static,
{
    let (method, path) = (request.method.to_string(), request.path.clone());
    let answer = route(core, request).await;
    match answer {
        Ok(answer) => answer,
        Err(Refusal(status)) => {
            core.events.push(HostEvent::Refused {
                method,
                path,
                status: status.as_u16(),
            });
            plain(status, "")
        }
    }
}

/// A request that did not reach the handler.
struct Refusal(StatusCode);

async fn route<S>(core: &Arc<Core>, request: Incoming<S>) -> Result<Answer, Refusal>
where
    S: Stream<Item = Result<Bytes, warp::Error>> + Send + 'static,
{
    if request.path.to_ascii_lowercase().starts_with("/admin/") {
        let key = given_key(&request.headers, &request.query);
        if core.options.enable_auth && !core.keys.open(AuthLevel::Admin, "", key.as_deref()) {
            return Err(Refusal(StatusCode::UNAUTHORIZED));
        }
        let body = collect(request.body, BODY_LIMIT).await?;
        return admin::answer(core, &request.method, &request.path, &body).map_err(Refusal);
    }
    let Some((function, trigger)) = find(core, &request.method, &request.path) else {
        if request.path == "/" {
            let hidden = core
                .options
                .settings
                .get("AzureWebJobsDisableHomepage")
                .is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let home =
                "Your Functions app is up and running (in a development host on this machine).\n";
            return Ok(if hidden {
                plain(StatusCode::NO_CONTENT, "")
            } else {
                plain(StatusCode::OK, home)
            });
        }
        return Err(Refusal(StatusCode::NOT_FOUND));
    };
    let key = given_key(&request.headers, &request.query);
    if core.options.enable_auth && !core.keys.open(trigger.lock, &function.name, key.as_deref()) {
        return Err(Refusal(StatusCode::UNAUTHORIZED));
    }
    let limit = core
        .options
        .settings
        .get(BODY_LIMIT_SETTING)
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(BODY_LIMIT);
    if content_length(&request.headers).is_some_and(|length| length > limit) {
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE));
    }
    if core.app.host.proxies_http && !core.options.older_host {
        Ok(call(
            core,
            function,
            request.method.clone(),
            proxy::pass(core, function, request, limit),
        )
        .await)
    } else {
        let body = forward::body(&request.headers, request.body, limit).await?;
        let head = forward::Head {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
        };
        Ok(call(
            core,
            function,
            head.method.clone(),
            forward::pass(core, function, head, body),
        )
        .await)
    }
}

/// Times a call, reports it, turns a failure into the host's empty 500.
async fn call(
    core: &Arc<Core>,
    function: &Function,
    method: Method,
    pass: impl Future<Output = (Uuid, Result<Answer, String>)>,
) -> Answer {
    let running = core.begin();
    let (at, started) = (Utc::now(), Instant::now());
    let (id, result) = pass.await;
    let (status, outcome, answer) = match result {
        Ok(answer) => (Some(answer.status().as_u16()), Outcome::Succeeded, answer),
        Err(reason) => (
            None,
            Outcome::Failed(reason),
            plain(StatusCode::INTERNAL_SERVER_ERROR, ""),
        ),
    };
    let (function, detail, took) = (function.name.clone(), method.to_string(), started.elapsed());
    core.events.push(HostEvent::Invoked(Invocation {
        function,
        id,
        at,
        outcome,
        status,
        detail,
        took,
    }));
    drop(running);
    answer
}

/// The most precise enabled function that takes this method at this path.
fn find<'a>(
    core: &'a Core,
    method: &Method,
    path: &str,
) -> Option<(&'a Function, &'a HttpTrigger)> {
    let fitting = core
        .app
        .enabled()
        .filter_map(|function| match &function.trigger {
            Trigger::Http(http) if http.takes(method.as_str()) && http.route.matches(path) => {
                Some((function, http))
            }
            _ => None,
        });
    fitting.min_by_key(|(_, http)| http.route.precedence())
}

/// The header wins over the query.
fn given_key(headers: &HeaderMap, query: &str) -> Option<String> {
    let header = headers
        .get("x-functions-key")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    header.or_else(|| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "code")
            .map(|(_, value)| value.into_owned())
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// The whole body, or 413.
async fn collect(
    body: impl Stream<Item = Result<Bytes, warp::Error>>,
    limit: u64,
) -> Result<Bytes, Refusal> {
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Refusal(StatusCode::BAD_REQUEST))?;
        if (whole.len() + piece.len()) as u64 > limit {
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Bytes::from_static(text.as_bytes())).into_response();
    *answer.status_mut() = status;
    if !text.is_empty() {
        answer.headers_mut().insert(
            "content-type",
            warp::http::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
    }
    answer
}
