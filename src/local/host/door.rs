//! The HTTP side: routes, locks, limits, and the way of a request to the handler and back.
//!
//! As the host has it: an unknown route *or method* is 404, a missing or wrong key 401 before the handler is called; what
//! the host cannot pass on is its own 500 (too large, too slow, letters that are not ASCII in a header). A body is read to
//! its last byte before the handler sees anything. Then the request is proxied (newer hosts) or forwarded (older ones): see
//! `passing`. Whatever the handler answers goes back with its reason phrase and counts as succeeded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::call::Answered;
use super::dotnet;
use super::event::{HostEvent, Invocation, Outcome};
use super::http1::{Body, Framing, Headers, Reader, RequestHead, Unreadable, request_framing};
use super::invoke::Core;
use super::manifest::{AuthLevel, Function, HttpTrigger, Trigger};

mod admin;
mod passing;

const BODY_LIMIT: u64 = 104_857_600;
const BODY_LIMIT_SETTING: &str = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT";
/// So much of a body that nobody wants is read away to keep the connection.
const UNWANTED: u64 = 1024 * 1024;

/// A request with its whole body.
#[derive(Debug)]
struct Incoming {
    head: RequestHead,
    /// As the host sees it: decoded, its dots resolved.
    path: String,
    query: Option<String>,
    framing: Option<Framing>,
    body: Bytes,
    peer: SocketAddr,
}

/// An answer of the host itself, or one of the handler's that was read to its end.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    reason: String,
    headers: Headers,
    body: Bytes,
    close: bool,
}

/// What goes back to the client.
enum Reply {
    Whole(Answer),
    /// Of a host that proxies: passed on piece by piece.
    Streamed(Box<Answered>),
}

impl Answer {
    fn own(status: u16) -> Self {
        Self {
            status,
            reason: reason(status).to_owned(),
            headers: Headers::default(),
            body: Bytes::new(),
            close: false,
        }
    }

    fn with(mut self, name: &str, value: &'static str) -> Self {
        self.headers.push(name, value);
        self
    }

    fn and_close(mut self) -> Self {
        self.close = true;
        self
    }
}

fn reason(status: u16) -> &'static str {
    reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

/// Listens until the host stops: from then on connections are refused.
pub(super) fn open(core: Arc<Core>, listener: TcpListener) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = core.stop_begins() => return,
            };
            if let Ok((stream, peer)) = accepted {
                let _slower = stream.set_nodelay(true);
                tokio::spawn(converse(core.clone(), stream, peer));
            }
        }
    })
}

/// One connection, one request after the other.
async fn converse(core: Arc<Core>, stream: TcpStream, peer: SocketAddr) {
    let mut reader = Reader::new(stream);
    loop {
        let head = tokio::select! {
            head = reader.request() => head,
            () = core.stop_begins() => return,
        };
        let head = match head {
            Ok(head) => head,
            Err(Unreadable::Gone { .. }) => return,
            Err(_) => {
                let _gone = write(&mut reader.stream, Answer::own(400).and_close(), "GET").await;
                return;
            }
        };
        let _running = core.begin_http();
        let method = head.method.clone();
        let close = head.old || wants_close(&head.headers);
        let Ok(reply) = reply(&core, &mut reader, head, peer).await else {
            return;
        };
        let kept = match reply {
            Reply::Whole(mut answer) => {
                answer.close |= close;
                write(&mut reader.stream, answer, &method).await
            }
            Reply::Streamed(mut answered) => {
                if close {
                    answered.head.headers.set("Connection", "close");
                }
                relay(&mut reader.stream, *answered, &method).await
            }
        };
        if close || !matches!(kept, Ok(true)) {
            return;
        }
    }
}

fn wants_close(headers: &Headers) -> bool {
    headers.text("connection").is_some_and(|value| {
        value
            .split(',')
            .any(|word| word.trim().eq_ignore_ascii_case("close"))
    })
}

/// The client has gone.
struct Gone;

async fn reply(
    core: &Arc<Core>,
    reader: &mut Reader<TcpStream>,
    head: RequestHead,
    peer: SocketAddr,
) -> Result<Reply, Gone> {
    if !head.headers.has("host") {
        let status = if head.old { 500 } else { 400 };
        return Ok(Reply::Whole(Answer::own(status).and_close()));
    }
    let Ok(framing) = request_framing(&head.headers) else {
        return Ok(Reply::Whole(Answer::own(400).and_close()));
    };
    let (path, query) = match head.target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (head.target.as_str(), None),
    };
    let path = dotnet::path(path);
    let mut request = Incoming {
        path,
        query,
        framing,
        body: Bytes::new(),
        peer,
        head,
    };
    let way = way(core, &request);
    let limit = match (&way, framing) {
        (Way::Refused(_), None) | (_, None | Some(Framing::UntilClose)) => 0,
        (Way::Refused(_), _) => UNWANTED,
        _ => core.setting(BODY_LIMIT_SETTING).unwrap_or(BODY_LIMIT),
    };
    if let Some(framing) = framing {
        if matches!(framing, Framing::Length(length) if length > limit) {
            return Ok(Reply::Whole(match way {
                Way::Refused(answer) => answer.and_close(),
                _ => Answer::own(500).and_close(),
            }));
        }
        let expects = request.head.headers.has("expect");
        if expects && !reader.has_more() && !matches!(way, Way::Refused(_)) {
            let go_on = reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            go_on.await.map_err(|_| Gone)?;
        }
        match reader.upload(framing, limit).await {
            Ok(body) => request.body = body,
            Err(Unreadable::Gone { .. }) => return Err(Gone),
            Err(Unreadable::Malformed) => {
                return Ok(Reply::Whole(Answer::own(400).and_close()));
            }
            Err(Unreadable::TooLarge | Unreadable::TooSlow) => {
                return Ok(Reply::Whole(Answer::own(500).and_close()));
            }
        }
    }
    Ok(match way {
        Way::Refused(answer) => {
            core.events.push(HostEvent::Refused {
                method: request.head.method,
                path: request.path,
                status: answer.status,
            });
            Reply::Whole(answer)
        }
        Way::Own(answer) => Reply::Whole(answer),
        Way::Admin => Reply::Whole(admin::answer(core, &request)),
        Way::Function(function) => {
            let function = function.clone();
            pass(core, &function, request, &mut reader.stream).await?
        }
    })
}

/// Where a request goes.
enum Way<'c> {
    Refused(Answer),
    Own(Answer),
    Admin,
    Function(&'c Function),
}

fn way<'c>(core: &'c Core, request: &Incoming) -> Way<'c> {
    let head = &request.head;
    let key = given_key(&head.headers, request.query.as_deref().unwrap_or_default());
    let lowered = request.path.to_ascii_lowercase();
    if lowered.starts_with("/admin/") {
        let open = lowered.trim_end_matches('/') == "/admin/host/ping";
        if !open && !core.lets_in(AuthLevel::Admin, "", key.as_deref()) {
            return Way::Refused(Answer::own(401).with("WWW-Authenticate", "Bearer"));
        }
        return Way::Admin;
    }
    let Some((function, trigger)) = find(core, &head.method, &request.path) else {
        if request.path == "/" {
            return Way::Own(home(core));
        }
        return Way::Refused(Answer::own(404));
    };
    if !core.lets_in(trigger.lock, &function.name, key.as_deref()) {
        return Way::Refused(Answer::own(401));
    }
    if !head.headers.are_ascii() {
        return Way::Refused(Answer::own(500));
    }
    Way::Function(function)
}

fn home(core: &Core) -> Answer {
    if core
        .setting::<String>("AzureWebJobsDisableHomepage")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return Answer::own(204);
    }
    let mut answer = Answer::own(200).with("Content-Type", "text/plain; charset=utf-8");
    answer.body = Bytes::from_static(
        b"Your Functions app is up and running (in a development host on this machine).\n",
    );
    answer
}

/// Times a call, reports it, turns a failure into the host's empty 500.
async fn pass(
    core: &Arc<Core>,
    function: &Function,
    request: Incoming,
    client: &mut TcpStream,
) -> Result<Reply, Gone> {
    let (at, started) = (Utc::now(), Instant::now());
    let detail = request.head.method.clone();
    let id = uuid::Uuid::new_v4();
    let proxies = core.app.host.proxies_http && !core.options.older_host;
    let result = if proxies {
        // A client that hangs up takes the handler's connection with it.
        tokio::select! {
            result = passing::proxy(core, function, id, &request) => {
                Some(result.map(|answered| Reply::Streamed(Box::new(answered))))
            }
            () = hung_up(client) => None,
        }
    } else {
        Some(
            passing::forward(core, function, id, &request)
                .await
                .map(Reply::Whole),
        )
    };
    let (status, outcome, reply) = match result {
        None => (
            None,
            Outcome::Failed("the client hung up".to_owned()),
            Err(Gone),
        ),
        Some(Ok(reply)) => {
            let status = match &reply {
                Reply::Whole(answer) => answer.status,
                Reply::Streamed(answered) => answered.head.status,
            };
            (Some(status), Outcome::Succeeded, Ok(reply))
        }
        Some(Err(reason)) => (
            None,
            Outcome::Failed(reason),
            Ok(Reply::Whole(Answer::own(500))),
        ),
    };
    core.events.push(HostEvent::Invoked(Invocation {
        function: function.name.clone(),
        id,
        at,
        outcome,
        status,
        detail,
        took: started.elapsed(),
    }));
    reply
}

/// Resolves when the client closes its end.
async fn hung_up(client: &TcpStream) {
    loop {
        match client.peek(&mut [0]).await {
            Ok(0) | Err(_) => return,
            // The next request is there already: it tells nothing about this one.
            Ok(_) => std::future::pending().await,
        }
    }
}

/// The most precise enabled function that takes this method at this path.
fn find<'a>(core: &'a Core, method: &str, path: &str) -> Option<(&'a Function, &'a HttpTrigger)> {
    let encoded = dotnet::proxied_path(path);
    let fitting = core
        .app
        .enabled()
        .filter_map(|function| match &function.trigger {
            Trigger::Http(http) if http.takes(method) && http.route.matches(&encoded) => {
                Some((function, http))
            }
            _ => None,
        });
    fitting.min_by_key(|(_, http)| http.route.precedence())
}

/// The header wins over the query, even an empty one. Several keys in the query are no key.
fn given_key(headers: &Headers, query: &str) -> Option<String> {
    if let Some(header) = headers.get("x-functions-key") {
        return Some(String::from_utf8_lossy(header).into_owned());
    }
    let codes: Vec<String> = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name.eq_ignore_ascii_case("code"))
        .map(|(_, value)| value.into_owned())
        .collect();
    (!codes.is_empty()).then(|| codes.join(","))
}

/// Writes an answer; may the connection be used again?
async fn write(client: &mut TcpStream, answer: Answer, method: &str) -> std::io::Result<bool> {
    let mut headers = answer.headers;
    let close = answer.close || wants_close(&headers);
    let bodiless = method == "HEAD" || answer.status == 204;
    if !bodiless {
        headers.set("Content-Length", answer.body.len().to_string());
    }
    if answer.close {
        headers.set("Connection", "close");
    }
    let mut wire = start(answer.status, &answer.reason, headers);
    if !bodiless {
        wire.extend_from_slice(&answer.body);
    }
    client.write_all(&wire).await?;
    Ok(!close)
}

/// Passes an answer on piece by piece. One that breaks off breaks the client's connection as well.
async fn relay(client: &mut TcpStream, answered: Answered, method: &str) -> std::io::Result<bool> {
    let Answered {
        head,
        framing,
        mut reader,
    } = answered;
    let bodiless = method == "HEAD" || matches!(head.status, 204 | 304);
    let mut headers = head.headers;
    let chunked = !bodiless && !matches!(framing, Framing::Length(_));
    if chunked {
        headers.push("Transfer-Encoding", "chunked");
    }
    client
        .write_all(&start(head.status, &head.reason, headers))
        .await?;
    if bodiless {
        return Ok(true);
    }
    let mut body = Body::new(framing);
    loop {
        match body.next(&mut reader).await {
            Ok(Some(piece)) if chunked => {
                let size = format!("{:x}\r\n", piece.len());
                let chunk = [size.as_bytes(), &piece, b"\r\n"].concat();
                client.write_all(&chunk).await?;
            }
            Ok(Some(piece)) => client.write_all(&piece).await?,
            Ok(None) => break,
            Err(_) => {
                // What was sent so far arrives, then the connection is reset.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                client.set_zero_linger()?;
                return Ok(false);
            }
        }
    }
    if chunked {
        client.write_all(b"0\r\n\r\n").await?;
    }
    Ok(true)
}

/// Status line and headers as Kestrel writes them.
fn start(status: u16, reason: &str, mut headers: Headers) -> BytesMut {
    if !headers.has("date") {
        let now = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        headers.push("Date", now);
    }
    if !headers.has("server") {
        headers.push("Server", "Kestrel");
    }
    let mut wire = BytesMut::new();
    wire.extend_from_slice(format!("HTTP/1.1 {status} {reason}\r\n").as_bytes());
    dotnet::answered(headers).write(&mut wire);
    wire
}
