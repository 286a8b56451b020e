//! The wire of the Functions host: HTTP in, HTTP out, one request at a time made safe.
//!
//! Bodies are capped while they stream (the host sends chunked envelopes without Content-Length), and once more
//! when they unfold: some senders compress. A panic ends one request, not the process (law L9), and a request that
//! does not come to its end is answered by the wire itself.

use std::borrow::Cow;
use std::future::Future;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::{HeaderMap, Method, StatusCode, header};
use warp::hyper::body::Bytes;

use super::Door;
use crate::sources::airflow;
use crate::trace::Traceparent;

/// The largest body any door reads; above it the answer is 413, but where what was read up to here names Airflow's run.
pub const BODY_CAP: usize = 1024 * 1024;

/// How long the head of a request may take to arrive. The host on the other side of the loopback sends it at once.
const HEAD_PATIENCE: Duration = Duration::from_secs(20);
/// How long a body may stand still, and how long it may take as a whole.
const BODY_PATIENCE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(120));

/// Of a larger body so much is read away before its sender is answered in the middle of it: the host's own limit.
const PATIENCE: usize = 100 * 1024 * 1024;

/// The doors keep deadlines of their own; one that does not is left alone after this time, well before the host kills
/// the process.
const LAST_DEADLINE: Duration = Duration::from_secs(130);

/// How every gzip member begins. No JSON does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A request as a door sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path as sent, percent-encoded.
    pub path: String,
    /// Query as sent, without `?`.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
}

impl Request {
    /// A header as text; the last one when it was sent twice. (A host that forwards joins them into one, with commas.)
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(name)
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok())
    }

    /// The first query parameter of this name, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// For whom a host that proxies says it forwards, for logs alone: capped, and without characters of no address.
    pub fn forwarded_for(&self) -> Option<String> {
        let text = self.header("x-forwarded-for")?;
        let kept: String = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || ".:,[]- ".contains(*c))
            .take(120)
            .collect();
        (!kept.trim().is_empty()).then(|| kept.trim().to_owned())
    }

    /// The traceparent, if it is valid.
    pub fn trace(&self) -> Option<Traceparent> {
        self.header("traceparent").and_then(Traceparent::parse)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Content type; none for an empty body.
    pub content_type: Option<Cow<'static, str>>,
    /// Further headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// A JSON answer.
    pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Self {
        let text = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
        Self {
            status,
            content_type: Some("application/json; charset=utf-8".into()),
            headers: Vec::new(),
            body: text.into(),
        }
    }

    /// An error of the contract: `{"error":{"code","message","path"}}`.
    pub fn error(status: StatusCode, code: &str, message: &str, path: &str) -> Self {
        Self::json(
            status,
            &json!({"error": {"code": code, "message": message, "path": path}}),
        )
    }

    /// An empty answer.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            content_type: None,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Text of some type.
    pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: Some(content_type.into()),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// With another header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The store is down: senders come again (they retry 503, not 500).
    pub fn unavailable() -> Self {
        Self::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "the failure could not be stored, send it again",
            "",
        )
        .with("retry-after", "10")
    }

    /// The door's deadline has passed; what it had begun is safe to begin again.
    pub fn late() -> Self {
        Self::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_in_time",
            "this took too long, send it again",
            "",
        )
        .with("retry-after", "10")
    }

    fn into_http(self, head: bool) -> warp::http::Response<Bytes> {
        let mut builder = warp::http::Response::builder().status(self.status);
        if let Some(content_type) = &self.content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type.as_ref());
        }
        builder = builder.header("x-content-type-options", "nosniff");
        for (name, value) in &self.headers {
            builder = builder.header(name.as_ref(), value.as_str());
        }
        let body = if head { Bytes::new() } else { self.body };
        builder.body(body).unwrap_or_else(|_| {
            let mut response = warp::http::Response::new(Bytes::new());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }
}

/// Serves until `stop` resolves; requests under way are finished.
pub async fn serve<F, A>(
    listener: TcpListener,
    answer: F,
    stop: impl Future<Output = ()> + Send + 'static,
) where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let answer = Arc::new(answer);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let routes = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(
            move |method: Method,
                  path: warp::path::FullPath,
                  query: String,
                  headers: HeaderMap,
                  body| {
                let answer = Arc::clone(&answer);
                async move {
                    let head = method == Method::HEAD;
                    let body = read(body).await.and_then(|body| unfold(&headers, body));
                    let body = match body.or_else(|error| error.cut_short(path.as_str())) {
                        Ok(body) => body,
                        Err(unreadable) => return unreadable.response().into_http(head),
                    };
                    let request = Request {
                        method,
                        path: path.as_str().to_owned(),
                        query,
                        headers,
                        body,
                    };
                    let mut work = tokio::spawn(answer(request));
                    let answered = match tokio::time::timeout(LAST_DEADLINE, &mut work).await {
                        Ok(Ok(answered)) => answered,
                        Ok(Err(_)) => {
                            tracing::error!("a request ended in a panic");
                            Response::error(
                                StatusCode::INTERNAL_SERVER_ERROR,
                                "internal",
                                "the request could not be handled",
                                "",
                            )
                        }
                        Err(_) => {
                            work.abort();
                            tracing::error!("a request did not end");
                            Response::late()
                        }
                    };
                    answered.into_http(head)
                }
            },
        );
    // Not `warp::serve`: it has no limit on how long a head may take.
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE);
    let service = TowerToHyperService::new(warp::service(routes));
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // Answers are small and whole.
                let _best_effort = stream.set_nodelay(true);
                let connection = server
                    .serve_connection(TokioIo::new(stream), service.clone())
                    .into_owned();
                let connection = connections.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                });
            }
            // Out of file descriptors, for example: the listener itself is fine.
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unreadable {
    /// With what was read of it.
    TooLarge(Bytes),
    CutOff,
    TooSlow,
    NotGzip,
    UnknownEncoding,
}

impl Unreadable {
    /// What was read, where that still reports a failure: the guide's callback of Airflow sends exceptions whole.
    fn cut_short(self, path: &str) -> Result<Bytes, Self> {
        let Self::TooLarge(head) = &self else {
            return Err(self);
        };
        Some(head)
            .filter(|_| Door::of_path(path.trim_end_matches('/')) == Some(Door::AirflowMonitor))
            .and_then(|head| airflow::cut::completed(head))
            .filter(|whole| airflow::parse(whole).is_ok())
            .map(Bytes::from)
            .ok_or(self)
    }

    fn response(self) -> Response {
        let (status, code, message) = match self {
            Self::TooLarge(_) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the body is larger than 1 MiB",
            ),
            Self::CutOff => (
                StatusCode::BAD_REQUEST,
                "cut_off",
                "the body ended before its announced end",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                "the body did not arrive in time",
            ),
            Self::NotGzip => (
                StatusCode::BAD_REQUEST,
                "not_gzip",
                "the body is not the gzip that Content-Encoding names",
            ),
            Self::UnknownEncoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unknown_encoding",
                "a body comes as it is, or compressed with gzip",
            ),
        };
        Response::error(status, code, message, "")
    }
}

/// The body as its sender had it before compressing it. A host that forwards loses `Content-Encoding`: gzip is known by
/// its first bytes as well.
fn unfold(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Unreadable> {
    let mut named = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value.to_str().map_err(|_| Unreadable::UnknownEncoding)?;
        let words = text.split(',').map(|word| word.trim().to_ascii_lowercase());
        named.extend(words.filter(|word| !word.is_empty() && word != "identity"));
    }
    match named.as_slice() {
        [] if !body.starts_with(&GZIP) => return Ok(body),
        [] => {}
        [one] if one == "gzip" || one == "x-gzip" => {}
        _ => return Err(Unreadable::UnknownEncoding),
    }
    let mut plain = Vec::new();
    let most = BODY_CAP as u64 + 1;
    MultiGzDecoder::new(body.as_ref())
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|_| Unreadable::NotGzip)?;
    if plain.len() > BODY_CAP {
        plain.truncate(BODY_CAP);
        return Err(Unreadable::TooLarge(plain.into()));
    }
    Ok(plain.into())
}

async fn read(
    stream: impl futures::Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Bytes, Unreadable> {
    let mut stream = std::pin::pin!(stream);
    let (mut body, mut sent) = (BytesMut::new(), 0_usize);
    let (still, whole) = BODY_PATIENCE;
    let end = tokio::time::Instant::now() + whole;
    loop {
        let until = end.min(tokio::time::Instant::now() + still);
        let Some(chunk) = tokio::time::timeout_at(until, stream.next())
            .await
            .map_err(|_| Unreadable::TooSlow)?
        else {
            break;
        };
        // What is missing may have been a signature's or a JSON's last byte, or nothing that shows.
        let mut chunk = chunk.map_err(|_| Unreadable::CutOff)?;
        sent = sent.saturating_add(chunk.remaining());
        if sent > PATIENCE {
            return Err(Unreadable::TooLarge(Bytes::new()));
        }
        // Read to its end but not kept: a client that is still sending does not read an answer.
        let kept = chunk.remaining().min(BODY_CAP.saturating_sub(body.len()));
        body.extend_from_slice(&chunk.copy_to_bytes(kept));
    }
    if sent > BODY_CAP {
        Err(Unreadable::TooLarge(body.freeze()))
    } else {
        Ok(body.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn unfolded(encoding: Option<&'static str>, body: Vec<u8>) -> Result<Bytes, Unreadable> {
        let mut headers = HeaderMap::new();
        if let Some(encoding) = encoding {
            headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        }
        unfold(&headers, body.into())
    }

    #[test]
    fn bodies_unfold_with_and_without_their_header() {
        let plain = br#"{"a":1}"#;
        for named in [
            None,
            Some("gzip"),
            Some("GZip"),
            Some("x-gzip"),
            Some("identity, gzip"),
        ] {
            assert_eq!(
                unfolded(named, gzip(plain)).unwrap().as_ref(),
                plain,
                "{named:?}"
            );
        }
        let two = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        assert_eq!(
            unfolded(Some("gzip"), two).unwrap().as_ref(),
            plain,
            "members"
        );
        for named in [None, Some(""), Some("identity")] {
            assert_eq!(unfolded(named, plain.to_vec()).unwrap().as_ref(), plain);
        }
    }

    #[test]
    fn what_unfolds_too_far_or_not_at_all_is_refused() {
        let bomb = gzip(&vec![b' '; 20 * 1024 * 1024]);
        assert!(bomb.len() < BODY_CAP);
        let Err(Unreadable::TooLarge(head)) = unfolded(Some("gzip"), bomb) else {
            panic!("a bomb was taken");
        };
        assert_eq!(head.len(), BODY_CAP);
        let whole = gzip(&vec![b' '; BODY_CAP]);
        assert_eq!(unfolded(Some("gzip"), whole).unwrap().len(), BODY_CAP);
        assert_eq!(
            unfolded(Some("gzip"), b"{}".to_vec()),
            Err(Unreadable::NotGzip)
        );
        let mut cut = gzip(b"{}");
        cut.truncate(12);
        assert_eq!(unfolded(None, cut), Err(Unreadable::NotGzip));
        for named in ["br", "deflate", "gzip, gzip", "\u{e9}"] {
            assert_eq!(
                unfolded(Some(named), gzip(b"{}")),
                Err(Unreadable::UnknownEncoding),
                "{named}"
            );
        }
    }

    #[tokio::test]
    async fn a_report_of_airflow_over_the_cap_is_cut_and_nothing_else_is() {
        let rows = r#"row \u00e9 \" "#.repeat(200_000);
        let report = format!(
            r#"{{"dag_id": "etl", "task_id": "load", "run_id": "r", "try_number": 1, "exception": "ValueError: {rows}", "log_url": "http://a"}}"#
        );
        let unnamed = format!(r#"{{"exception": "{rows}", "dag_id": "etl"}}"#);
        let sent = async |path: &str, text: &str| {
            let chunks = text
                .as_bytes()
                .chunks(60_000)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
            let body = read(futures::stream::iter(chunks.collect::<Vec<_>>())).await;
            body.or_else(|error| error.cut_short(path))
        };
        for path in ["/airflow-monitor", "/Airflow-Monitor/"] {
            let body = sent(path, &report).await.unwrap();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value["run_id"], "r");
            let kept = value["exception"].as_str().unwrap();
            assert!(kept.starts_with(r#"ValueError: row é " row"#));
            assert!(body.len() > BODY_CAP - 10 && body.len() < BODY_CAP + 10);
        }
        for (path, text) in [
            ("/databricks-monitor", &report),
            ("/api/tickets", &report),
            ("/airflow-monitor", &unnamed),
            ("/airflow-monitor", &" ".repeat(2 * BODY_CAP)),
        ] {
            let refused = sent(path, text).await.unwrap_err();
            assert_eq!(
                refused.response().status,
                StatusCode::PAYLOAD_TOO_LARGE,
                "{path}"
            );
        }
        let folded = unfolded(Some("gzip"), gzip(report.as_bytes()));
        assert!(folded.unwrap_err().cut_short("/airflow-monitor").is_ok());
    }

    #[test]
    fn forwarded_addresses_are_for_logs_alone() {
        let asked = |value: &'static [u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(
                "x-forwarded-for",
                warp::http::HeaderValue::from_bytes(value).unwrap(),
            );
            let request = Request {
                method: Method::GET,
                path: String::new(),
                query: String::new(),
                headers,
                body: Bytes::new(),
            };
            request.forwarded_for()
        };
        assert_eq!(
            asked(b"10.0.0.1, [::1]:80").as_deref(),
            Some("10.0.0.1, [::1]:80")
        );
        assert_eq!(asked(b"<script>\"").as_deref(), Some("script"));
        assert_eq!(asked(b"\"\"").as_deref(), None);
    }
}
