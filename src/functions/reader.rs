//! GETs are answered by a process of their own.
//!
//! When a connection breaks before its answer, the Functions host sends a request without a body again: up to forty
//! times, and into every process that it restarts. A page that ends its process would so end the whole host, and every
//! failure that is being accepted beside it. Hence pages, lists and health are made by a second process of this binary,
//! the *reader*: it is started with the first GET, ends with the handler, and may die or hang. Its caller
//! is answered 503, the next GET starts another one. Nothing is kept there.
//!
//! The handler passes a request on as it is, its path and query in a header, and with it the form token, the counters and
//! the store's trouble as its own process knows them.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use warp::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HOST, HeaderName,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::wire::{Request, Response};
use crate::fault::Fault;
use crate::http::Http;
use crate::storage::Trouble;

/// The command line of the reader: this word, and the port of the listener that the handler opens for it.
pub const COMMAND: &str = "read";
/// Path and query as the caller sent them.
const TARGET: HeaderName = HeaderName::from_static("x-aiops-rca-target");
/// The token of the handler's own forms.
const TOKEN: HeaderName = HeaderName::from_static("x-aiops-rca-form-token");
/// The code of what keeps the handler from writing to the store.
const TROUBLE: HeaderName = HeaderName::from_static("x-aiops-rca-store");
/// How long a reader may take to start.
const START: Duration = Duration::from_secs(10);

/// The handler's end; cloning shares the process.
#[derive(Debug, Clone)]
pub struct Reader {
    program: PathBuf,
    http: Http,
    running: Arc<Mutex<Option<Running>>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    port: u16,
    /// Open as long as this process lives: the reader ends with it.
    _line: TcpStream,
}

impl Reader {
    /// Nothing is started before the first GET. `program`: this very binary.
    pub fn new(program: PathBuf, http: &Http) -> Self {
        Self {
            program,
            http: http.untraced(),
            running: Arc::default(),
        }
    }

    /// The reader's answer to a GET; `trouble` is what kept this process from writing.
    pub async fn answer(
        &self,
        request: &Request,
        token: &str,
        trouble: Option<Trouble>,
    ) -> Response {
        let answered = match self.port().await {
            Ok(port) => {
                let headers = outgoing(request, token, trouble);
                let answered = self.exchange(port, headers).await;
                if answered.is_err() {
                    // Most likely it died of this very request: nobody else is to meet it.
                    self.end_of(port).await;
                }
                answered
            }
            Err(fault) => Err(fault),
        };
        match answered {
            Ok(response) => response,
            Err(fault) => {
                tracing::error!(reason = fault.reason(), "a page could not be made");
                Response::error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "not_readable",
                    "this could not be read now, try again",
                    "",
                )
                .with("retry-after", "10")
            }
        }
    }

    /// Ends the reader, whatever it does: the next GET starts another one.
    pub async fn end(&self) {
        if let Some(mut running) = self.running.lock().await.take() {
            let _already_gone = running.child.kill().await;
        }
    }

    async fn end_of(&self, port: u16) {
        let mut running = self.running.lock().await;
        if running.as_ref().is_some_and(|reader| reader.port == port)
            && let Some(mut reader) = running.take()
        {
            let _already_gone = reader.child.kill().await;
        }
    }

    async fn exchange(&self, port: u16, headers: HeaderMap) -> Result<Response, Fault> {
        let url = url::Url::parse(&format!("http://127.0.0.1:{port}/"))
            .map_err(|_| Fault::permanent("the reader has no address"))?;
        let outgoing = self
            .http
            .request(Method::GET, &url)
            .headers(headers)
            .timeout(super::HTTP_DEADLINE);
        let broken = |_| Fault::transient("the reader broke the connection");
        let reply = outgoing.send().await.map_err(broken)?;
        let (status, mut headers) = (reply.status(), reply.headers().clone());
        let body = reply.bytes().await.map_err(broken)?;
        for name in [
            CONNECTION,
            CONTENT_LENGTH,
            DATE,
            TRANSFER_ENCODING,
            X_CONTENT_TYPE_OPTIONS,
        ] {
            headers.remove(name);
        }
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let content_type = headers.remove(CONTENT_TYPE).as_ref().map(text);
        Ok(Response {
            status,
            content_type: content_type.map(Into::into),
            headers: headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned().into(), text(value)))
                .collect(),
            body,
        })
    }

    /// Where the reader listens; starts it when there is none.
    async fn port(&self) -> Result<u16, Fault> {
        let mut running = self.running.lock().await;
        if let Some(reader) = running.as_mut()
            && matches!(reader.child.try_wait(), Ok(None))
        {
            return Ok(reader.port);
        }
        let started = tokio::time::timeout(START, self.start()).await;
        let started = started
            .map_err(|_| Fault::transient("the reader did not start in time"))?
            .map_err(|error| Fault::transient(format!("the reader did not start: {error}")))?;
        Ok(running.insert(started).port)
    }

    /// It calls back with its port.
    async fn start(&self) -> std::io::Result<Running> {
        let line = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .arg(line.local_addr()?.port().to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let port = async {
            let (mut stream, _) = line.accept().await?;
            let port = stream.read_u16().await?;
            Ok::<_, std::io::Error>((port, stream))
        };
        let (port, line) = tokio::select! {
            called = port => called?,
            ended = child.wait() => return Err(std::io::Error::other(format!("{}", ended?))),
        };
        Ok(Running {
            child,
            port,
            _line: line,
        })
    }
}

fn outgoing(request: &Request, token: &str, trouble: Option<Trouble>) -> HeaderMap {
    let mut headers = request.headers.clone();
    for name in [
        ACCEPT_ENCODING,
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    let target = if request.query.is_empty() {
        request.path.clone()
    } else {
        format!("{}?{}", request.path, request.query)
    };
    let trouble = trouble.map_or("", Trouble::code);
    for (name, value) in [
        (TARGET, target.as_str()),
        (TOKEN, token),
        (TROUBLE, trouble),
    ] {
        headers.remove(&name);
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// In the reader: the request as the handler got it, the handler's form token, and what keeps it from writing.
pub(super) fn incoming(mut request: Request) -> (Request, Option<String>, Option<Trouble>) {
    let target = request.header(TARGET.as_str()).unwrap_or("/").to_owned();
    let token = request.header(TOKEN.as_str()).map(str::to_owned);
    let trouble = request.header(TROUBLE.as_str()).and_then(Trouble::of_code);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    path.clone_into(&mut request.path);
    query.clone_into(&mut request.query);
    (request, token, trouble)
}
