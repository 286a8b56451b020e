//! The wire of the Functions host: HTTP in, HTTP out, one request at a time made safe.
//!
//! Bodies are capped while they stream (the host sends chunked envelopes without Content-Length). A panic
//! ends one request, not the process (law L9). Nothing is written to stderr: the host turns it into errors.

use std::future::Future;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::{HeaderMap, Method, StatusCode, header};
use warp::hyper::body::Bytes;

use crate::sources::airflow::cut;
use crate::trace::Traceparent;

/// The largest body any door reads; above it the answer is 413.
pub const BODY_CAP: usize = 1024 * 1024;

/// Of a larger body so much is read away before its sender is answered in the middle of it: the host's own limit.
const PATIENCE: usize = 100 * 1024 * 1024;

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
    /// A header as text; the last one when it was sent twice (the host adds, it does not replace).
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
    pub content_type: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// A JSON answer.
    pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Self {
        let text = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
        Self {
            status,
            content_type: Some("application/json; charset=utf-8"),
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
            content_type: Some(content_type),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// With another header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
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

    fn into_http(self, head: bool) -> warp::http::Response<Bytes> {
        let mut builder = warp::http::Response::builder().status(self.status);
        if let Some(content_type) = self.content_type {
            builder = builder.header(header::CONTENT_TYPE, content_type);
        }
        builder = builder.header("x-content-type-options", "nosniff");
        for (name, value) in &self.headers {
            builder = builder.header(*name, value.as_str());
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
            move |method: Method, path: warp::path::FullPath, query: String, headers, body| {
                let answer = Arc::clone(&answer);
                async move {
                    let head = method == Method::HEAD;
                    let Some(body) = read(body).await.body(path.as_str()) else {
                        return Response::error(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            "too_large",
                            "the body is larger than 1 MiB",
                            "",
                        )
                        .into_http(head);
                    };
                    let request = Request {
                        method,
                        path: path.as_str().to_owned(),
                        query,
                        headers,
                        body,
                    };
                    let answered = tokio::spawn(answer(request)).await.unwrap_or_else(|_| {
                        tracing::error!("a request ended in a panic");
                        Response::error(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            "internal",
                            "the request could not be handled",
                            "",
                        )
                    });
                    answered.into_http(head)
                }
            },
        );
    warp::serve(routes)
        .incoming(listener)
        .graceful(stop)
        .run()
        .await;
}

/// A body as far as it was kept.
enum Read {
    Whole(Bytes),
    /// It was larger than the cap.
    Cut(Bytes),
}

impl Read {
    /// What a door may read of it. Airflow's callbacks put the exception last: what names the run stands before the cut.
    fn body(self, path: &str) -> Option<Bytes> {
        match self {
            Self::Whole(body) => Some(body),
            Self::Cut(body)
                if path
                    .trim_matches('/')
                    .eq_ignore_ascii_case("airflow-monitor") =>
            {
                cut::completed(&body).map(Bytes::from)
            }
            Self::Cut(_) => None,
        }
    }
}

async fn read(stream: impl futures::Stream<Item = Result<impl Buf, warp::Error>>) -> Read {
    let mut stream = std::pin::pin!(stream);
    let (mut body, mut sent) = (BytesMut::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        // A broken body is cut short here and fails as malformed JSON or as a wrong signature.
        let Ok(mut chunk) = chunk else { break };
        sent = sent.saturating_add(chunk.remaining());
        if sent > PATIENCE {
            break;
        }
        // Read to its end but not kept: whoever is still sending does not read an answer.
        let room = BODY_CAP.saturating_sub(body.len()).min(chunk.remaining());
        body.extend_from_slice(&chunk.copy_to_bytes(room));
    }
    if sent > BODY_CAP {
        Read::Cut(body.freeze())
    } else {
        Read::Whole(body.freeze())
    }
}
