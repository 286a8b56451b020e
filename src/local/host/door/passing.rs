//! The two ways of a request to the handler.
//!
//! *Forwarding* (`enableForwardingHttpRequest`) rebuilds it: repeated headers and the host's own beside a caller's are
//! joined, of the content headers only `Content-Type` and `Content-Length` survive, the query is rebuilt, a chunked
//! body cannot be sent, the answer is read to its end. *Proxying* (`enableProxyingHttpRequest`, newer hosts) passes it on:
//! host headers overwrite, `X-Forwarded-*` name the peer, the answer is streamed.
//!
//! On both, a request without a body is sent again when the handler hangs up before it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::{Answer, Incoming};
use crate::local::host::HOST_VERSION;
use crate::local::host::call::{Answered, Broken, Outgoing};
use crate::local::host::dotnet;
use crate::local::host::http1::{Framing, Headers};
use crate::local::host::invoke::Core;
use crate::local::host::manifest::Function;
use crate::trace::Traceparent;

/// How often .NET's client sends a request that got no answer.
const SENDS: u32 = 4;
/// Rounds of a proxying host, each with its pause.
const ROUNDS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a proxied handler may be silent.
const IDLE: Duration = Duration::from_mins(4);

/// Headers that belong to one connection.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

pub(super) async fn forward(
    core: &Arc<Core>,
    function: &Function,
    id: Uuid,
    request: &Incoming,
) -> Result<Answer, String> {
    let outgoing = forwarded(core, id, request)?;
    let sends = if request.body.is_empty() { SENDS } else { 1 };
    let (worker, number) = core.ready_worker(function).await?;
    let exchange = async {
        let mut sent = 0;
        loop {
            sent += 1;
            match outgoing.send(worker.port).await {
                Ok(answered) => return answered.body().await,
                Err(Broken::Cut) if sent < sends => {}
                Err(broken) => return Err(broken),
            }
        }
    };
    let Ok(answered) = tokio::time::timeout(core.function_timeout(), exchange).await else {
        core.timed_out(worker, number);
        return Err("timed out: the handler is killed".to_owned());
    };
    let (head, body) = answered.map_err(Broken::reason)?;
    let mut headers = head.headers;
    let (status, headers, body) = if headers.are_ascii() {
        headers.retain(|name| {
            !name.eq_ignore_ascii_case("transfer-encoding")
                && !name.eq_ignore_ascii_case("content-length")
        });
        (head.status, headers, body)
    } else {
        (500, Headers::default(), Bytes::new())
    };
    Ok(Answer {
        status,
        reason: head.reason,
        headers,
        body,
        close: false,
    })
}

fn forwarded(core: &Core, id: Uuid, request: &Incoming) -> Result<Outgoing, String> {
    if request.framing == Some(Framing::Chunked) {
        return Err("a chunked body cannot be forwarded".to_owned());
    }
    let has_body = !request.body.is_empty();
    let mut headers = dotnet::requested(&request.head.headers);
    let content_type = match headers.text("content-type").filter(|_| has_body) {
        None => None,
        Some(raw) => Some(
            dotnet::content_type(raw)
                .ok_or("the content type cannot be read, so the request cannot be forwarded")?,
        ),
    };
    headers.retain(|name| !dotnet::is_content(name));
    if super::wants_close(&headers) {
        headers.set("Connection", "close");
    }
    for (name, value) in core.host_headers(id).0 {
        let value = match headers.get(&name) {
            // A caller's own trace stays the only one.
            Some(_) if name == "traceparent" => continue,
            Some(callers) => Bytes::from([callers, b", ", value.as_ref()].concat()),
            None => value,
        };
        headers.set(&name, value);
    }
    let own = format!("Azure-Functions-Host/{HOST_VERSION}");
    let agent = match headers.text("user-agent") {
        Some(callers) => format!("{callers} {own}"),
        None => own,
    };
    headers.set("User-Agent", agent);
    if has_body || must_have_a_body(&request.head.method) {
        headers.push("Content-Length", request.body.len().to_string());
    }
    if let Some(content_type) = content_type {
        headers.push("Content-Type", content_type);
    }
    let query = dotnet::forwarded_query(request.query.as_deref().unwrap_or_default());
    Ok(Outgoing {
        method: request.head.method.clone(),
        target: format!("{}{query}", dotnet::forwarded_path(&request.path)),
        headers,
        body: request.body.clone(),
        chunked: false,
    })
}

/// .NET writes `Content-Length: 0` for these.
fn must_have_a_body(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "CONNECT" | "OPTIONS" | "DELETE")
}

pub(super) async fn proxy(
    core: &Arc<Core>,
    function: &Function,
    id: Uuid,
    request: &Incoming,
) -> Result<Answered, String> {
    let (worker, number) = core.ready_worker(function).await?;
    let outgoing = proxied(core, id, request, worker.port);
    let timeout = core.function_timeout();
    let exchange = rounds(&outgoing, worker.port);
    let Ok(answered) = tokio::time::timeout(timeout.min(IDLE), exchange).await else {
        if timeout <= IDLE {
            core.timed_out(worker, number);
        }
        return Err("timed out".to_owned());
    };
    let mut answered = answered.map_err(Broken::reason)?;
    let headers = &mut answered.head.headers;
    if !headers.are_ascii() {
        return Err("the answer has a header that is not ASCII".to_owned());
    }
    headers.retain(|name| !HOP_BY_HOP.contains(&name.to_ascii_lowercase().as_str()));
    Ok(answered)
}

async fn rounds(outgoing: &Outgoing, port: u16) -> Result<Answered, Broken> {
    let sends = match (outgoing.body.is_empty(), outgoing.method.as_str()) {
        // Content of no length is content: only the outer rounds send it again.
        (true, "GET" | "HEAD" | "OPTIONS" | "DELETE") => SENDS,
        _ => 1,
    };
    let mut was_sent = false;
    let mut last = Broken::Unreachable;
    for round in 1..=ROUNDS {
        for _ in 0..sends {
            if was_sent && !outgoing.body.is_empty() {
                break;
            }
            match outgoing.send(port).await {
                Ok(answered) => return Ok(answered),
                Err(Broken::Half) => return Err(Broken::Half),
                Err(Broken::Cut) => {
                    was_sent = true;
                    last = Broken::Cut;
                }
                Err(Broken::Unreachable) => break,
            }
        }
        if round < ROUNDS {
            tokio::time::sleep(FIRST_PAUSE.saturating_mul(round).min(LONGEST_PAUSE)).await;
        }
    }
    Err(last)
}

fn proxied(core: &Core, id: Uuid, request: &Incoming, port: u16) -> Outgoing {
    let came = dotnet::requested(&request.head.headers);
    let mut headers = Headers::default();
    headers.push("Host", format!("127.0.0.1:{port}"));
    let mut content = Headers::default();
    for (name, value) in &came.0 {
        let lowered = name.to_ascii_lowercase();
        let replaced = lowered == "host"
            || lowered.starts_with("x-forwarded-")
                && matches!(
                    lowered.as_str(),
                    "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto"
                );
        if replaced || HOP_BY_HOP.contains(&lowered.as_str()) {
            continue;
        }
        if dotnet::is_content(name) {
            content.push(name, value.clone());
        } else {
            headers.push(name, value.clone());
        }
    }
    for (name, value) in core.host_headers(id).0 {
        let callers = came.get(&name);
        let value = match callers.and_then(|caller| span_of(&name, &value, caller)) {
            Some(span) => Bytes::from(span),
            None => value,
        };
        headers.set(&name, value);
    }
    if !headers.has("x-ms-invocation-id") {
        headers.push("x-ms-invocation-id", id.to_string());
    }
    headers.push(
        "X-Forwarded-For",
        request.peer.ip().to_canonical().to_string(),
    );
    if let Some(host) = came.get("host") {
        headers.push("X-Forwarded-Host", Bytes::copy_from_slice(host));
    }
    headers.push("X-Forwarded-Proto", "http");
    let chunked = request.framing == Some(Framing::Chunked);
    if chunked {
        headers.push("Transfer-Encoding", "chunked");
        content.retain(|name| !name.eq_ignore_ascii_case("content-length"));
    } else if !content.has("content-length") && must_have_a_body(&request.head.method) {
        content.push("Content-Length", "0");
    }
    headers.0.append(&mut content.0);
    let query = request.query.as_ref().map(|query| format!("?{query}"));
    Outgoing {
        method: request.head.method.clone(),
        target: format!(
            "{}{}",
            dotnet::proxied_path(&request.path),
            query.unwrap_or_default()
        ),
        headers,
        body: request.body.clone(),
        chunked,
    }
}

/// The host's own span in the trace of its caller, if that has one.
fn span_of(name: &str, ours: &[u8], caller: &[u8]) -> Option<String> {
    if name != "traceparent" {
        return None;
    }
    let caller = Traceparent::parse(std::str::from_utf8(caller).ok()?)?;
    let span = std::str::from_utf8(ours).ok()?.split('-').nth(2)?;
    let flags = if caller.is_sampled() { "01" } else { "00" };
    Some(format!("00-{}-{span}-{flags}", caller.trace_id()))
}
