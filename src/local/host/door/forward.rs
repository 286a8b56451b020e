//! `enableForwardingHttpRequest`: the request is rebuilt for the handler, with what gets lost on the way.
//!
//! The whole path stays; the query is rebuilt (repeated names joined with `,`, a bare name gets `=`);
//! headers are copied but for content headers, of which only `Content-Type` and `Content-Length` survive,
//! and only with a body; host headers are *added* beside a caller's own; a body without `Content-Length`
//! cannot be sent. The answer is buffered.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;
use warp::Reply;
use warp::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, USER_AGENT};
use warp::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::{Answer, Refusal, collect, content_length};
use crate::local::host::HOST_VERSION;
use crate::local::host::invoke::{Core, broken};
use crate::local::host::manifest::Function;

/// .NET keeps these with the content, and there they are not restored.
const LOST: [&str; 9] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-md5",
    "content-range",
    "expires",
    "last-modified",
];

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A request without its body.
pub(super) struct Head {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
}

/// What a body becomes on this way.
pub(super) enum Body {
    None,
    Whole(Bytes),
    /// Chunked: copied as a header without content, the client refuses to send.
    Unsendable,
}

pub(super) async fn body(
    headers: &HeaderMap,
    stream: impl Stream<Item = Result<Bytes, warp::Error>>,
    limit: u64,
) -> Result<Body, Refusal> {
    if content_length(headers).is_some_and(|length| length > 0) {
        return Ok(Body::Whole(collect(stream, limit).await?));
    }
    Ok(if headers.contains_key(TRANSFER_ENCODING) {
        Body::Unsendable
    } else {
        Body::None
    })
}

pub(super) async fn pass(
    core: &Arc<Core>,
    function: &Function,
    head: Head,
    body: Body,
) -> (Uuid, Result<Answer, String>) {
    let id = Uuid::new_v4();
    (id, exchange(core, function, id, head, body).await)
}

async fn exchange(
    core: &Arc<Core>,
    function: &Function,
    id: Uuid,
    head: Head,
    body: Body,
) -> Result<Answer, String> {
    let (worker, number) = core.ready_worker(function).await?;
    let query = rebuild_query(&head.query);
    let url = format!("http://127.0.0.1:{}{}{query}", worker.port, head.path);
    let url = url::Url::parse(&url).map_err(|_| "the path cannot be forwarded".to_owned())?;
    let (body, has_body) = match body {
        Body::Unsendable => return Err("a chunked body cannot be forwarded".to_owned()),
        Body::None => (Bytes::new(), false),
        Body::Whole(bytes) => (bytes, true),
    };
    let headers = rebuild_headers(&head.headers, &core.host_headers(id), has_body);
    let timeout = core.function_timeout();
    let mut request = core
        .http
        .request(head.method, &url)
        .headers(headers)
        .timeout(timeout + std::time::Duration::from_mins(1));
    if has_body {
        request = request.body(body);
    }
    let answer = async {
        let response = request.send().await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok::<_, String>((
            status,
            headers,
            response.bytes().await.map_err(|error| broken(&error))?,
        ))
    };
    let Ok(answered) = tokio::time::timeout(timeout, answer).await else {
        worker.renew(number);
        return Err("timed out: the handler was killed".to_owned());
    };
    let (status, headers, body) = answered?;
    Ok(copy_back(
        status,
        headers,
        Response::new(body).into_response(),
    ))
}

/// Status and headers as they are, but for `Transfer-Encoding`.
pub(super) fn copy_back(status: StatusCode, headers: HeaderMap, mut answer: Answer) -> Answer {
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer.headers_mut().remove(TRANSFER_ENCODING);
    answer
}

fn rebuild_headers(from: &HeaderMap, added: &HeaderMap, has_body: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in from {
        let content = name == CONTENT_TYPE || name == CONTENT_LENGTH;
        if !LOST.contains(&name.as_str()) && (has_body || !content) {
            headers.append(name, value.clone());
        }
    }
    for (name, value) in added {
        // A caller's own trace stays the only one.
        if name.as_str() != "traceparent" || !headers.contains_key(name) {
            headers.append(name, value.clone());
        }
    }
    let own = format!("Azure-Functions-Host/{HOST_VERSION}");
    let agent = match from.get(USER_AGENT).and_then(|value| value.to_str().ok()) {
        Some(callers) => format!("{callers} {own}"),
        None => own,
    };
    if let Ok(agent) = HeaderValue::from_str(&agent) {
        headers.insert(USER_AGENT, agent);
    }
    headers
}

/// With its `?`, empty when there is none.
fn rebuild_query(query: &str) -> String {
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match merged
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(&name))
        {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => merged.push((name.into_owned(), value.into_owned())),
        }
    }
    let encode = |text: &str| utf8_percent_encode(text, &UNRESERVED).to_string();
    let pairs: Vec<_> = merged
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use warp::http::header::HeaderName;

    use super::*;

    #[test]
    fn the_query_is_rebuilt() {
        assert_eq!(rebuild_query(""), "");
        assert_eq!(
            rebuild_query("code=a%2Bb&x=1&y&x=2"),
            "?code=a%2Bb&x=1%2C2&y="
        );
        assert_eq!(rebuild_query("a=b+c"), "?a=b%20c");
    }

    #[test]
    fn host_headers_are_added_beside_a_callers_own() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect()
        };
        let from = headers(&[
            ("x-azure-functions-invocationid", "forged"),
            ("user-agent", "curl/8"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("host", "example.org"),
            ("traceparent", "theirs"),
        ]);
        let rebuilt = rebuild_headers(
            &from,
            &headers(&[
                ("x-azure-functions-invocationid", "ours"),
                ("traceparent", "ours"),
            ]),
            false,
        );
        let all: Vec<_> = rebuilt
            .get_all("x-azure-functions-invocationid")
            .iter()
            .collect();
        assert_eq!(all, ["forged", "ours"]);
        assert_eq!(
            rebuilt["user-agent"],
            format!("curl/8 Azure-Functions-Host/{HOST_VERSION}")
        );
        assert_eq!(rebuilt["host"], "example.org");
        assert_eq!(
            rebuilt.get_all("traceparent").iter().collect::<Vec<_>>(),
            ["theirs"]
        );
        assert!(!rebuilt.contains_key("content-type") && !rebuilt.contains_key("content-encoding"));
        assert!(rebuild_headers(&from, &HeaderMap::new(), true).contains_key("content-type"));
    }
}
