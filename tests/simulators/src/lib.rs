//! Stateful fakes of the systems we talk to: they keep runs, jobs, clusters, issues, and answer from them.
//!
//! In: HTTP requests on 127.0.0.1. Out: what the vendor would answer, in the vendor's own JSON. Used by
//! tests and by `aiops-rca local --demo`. A leaf crate: it cannot name anything of `aiops-rca`, so what a sink and
//! its simulator agree on is never shared code tested against itself. What ties the simulators together is here: a [`Site`] is one vendor's host, [`serve`] puts it on a port, and a [`FaultScript`] makes the
//! next matching request fail the way networks fail (a status, a delay, a cut connection with or without
//! the work done). Every request is kept in a log, so that a test can assert what went out.

pub mod airflow;
pub mod data_factory;
pub mod databricks;
pub mod identity;
pub mod jira;
pub mod log_analytics;
pub mod logic_app;
pub mod model;
pub mod rights;
pub mod slack;
pub mod storage;
pub mod teams;
mod live;
mod outgoing;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::oneshot;
use warp::Filter;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode};

/// The header that tells a call that is not modelled here from an answer of the vendor.
const NOT_MODELLED: &str = "x-simulator-does-not-model";
/// Set by the demo, where somebody may type any address.
static LENIENT: AtomicBool = AtomicBool::new(false);

/// From now on calls that are not modelled fail nothing in this process: they are answered with 501 all the same.
pub fn lenient() {
    LENIENT.store(true, Ordering::SeqCst);
}

/// How many requests a server remembers.
const LOG_LENGTH: usize = 10_000;

/// One way in which a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This answer instead of the real one; nothing is done.
    Status {
        /// The HTTP status.
        code: u16,
        /// Headers such as Retry-After.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The work is done, then the connection is cut without an answer.
    AcceptThenDrop,
    /// The connection is cut and nothing is done.
    DropBefore,
    /// The right answer, late.
    Delay(Duration),
    /// The work is done at once, its answer comes late.
    AcceptThenDelay(Duration),
}

impl Fault {
    /// A bare status.
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// The shape of the fixtures: `{"status", "headers", "body"}`.
    pub fn from_fixture(fixture: &Value) -> Self {
        let code = fixture
            .get("status")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(500);
        let headers = fixture
            .get("headers")
            .and_then(Value::as_object)
            .map_or_else(Vec::new, |headers| {
                headers
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                    .collect()
            });
        let body = fixture
            .get("body")
            .map(Value::to_string)
            .unwrap_or_default();
        Self::Status {
            code,
            headers,
            body,
        }
    }
}

#[derive(Debug, Clone)]
struct Scripted {
    method: Option<String>,
    path_part: Option<String>,
    fault: Fault,
}

/// Faults waiting for the requests they match; each is used once, in order. Clones share the queue.
#[derive(Debug, Clone, Default)]
pub struct FaultScript(Arc<Mutex<Faults>>);

#[derive(Debug, Default)]
struct Faults {
    scripted: VecDeque<Scripted>,
    standing: Option<Fault>,
}

impl FaultScript {
    /// The next request, whatever it is.
    pub fn next(&self, fault: Fault) {
        self.push(None, None, fault);
    }

    /// The next request with this method and this text in its path.
    pub fn next_on(&self, method: &str, path_part: &str, fault: Fault) {
        self.push(Some(method), Some(path_part), fault);
    }

    /// From now on every request that no other fault matches; `None` ends it.
    pub fn stands(&self, fault: Option<Fault>) {
        lock(&self.0).standing = fault;
    }

    /// As [`FaultScript::next_on`]; `None` matches anything.
    pub fn push(&self, method: Option<&str>, path_part: Option<&str>, fault: Fault) {
        let scripted = Scripted {
            method: method.map(str::to_owned),
            path_part: path_part.map(str::to_owned),
            fault,
        };
        lock(&self.0).scripted.push_back(scripted);
    }

    /// Have all scripted faults happened? A test that scripts faults asserts this at its end.
    pub fn is_drained(&self) -> bool {
        lock(&self.0).scripted.is_empty()
    }

    /// Takes the first fault that matches.
    pub fn take(&self, method: &str, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.0);
        let at = faults.scripted.iter().position(|scripted| {
            scripted
                .method
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && scripted
                    .path_part
                    .as_deref()
                    .is_none_or(|part| path.contains(part))
        });
        match at {
            Some(at) => faults.scripted.remove(at).map(|scripted| scripted.fault),
            None => faults.standing.clone(),
        }
    }
}

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Upper case.
    pub method: String,
    /// As sent, still percent-encoded.
    pub path: String,
    /// Decoded pairs, in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The path's pieces, each percent-decoded.
    pub fn segments(&self) -> Vec<String> {
        let pieces = self.path.trim_matches('/').split('/');
        pieces
            .map(|piece| {
                percent_encoding::percent_decode_str(piece)
                    .decode_utf8_lossy()
                    .into_owned()
            })
            .collect()
    }

    /// The first query value of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Is this the Authorization header's value?
    pub fn is_authorized_by(&self, expected: &str) -> bool {
        self.header("authorization") == Some(expected)
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![(
            "content-type".to_owned(),
            "application/json; charset=utf-8".to_owned(),
        )];
        Self {
            status,
            headers,
            body: Bytes::from(body.to_string()),
        }
    }

    /// What is not modelled here, whether or not the vendor has it: [`Server`] fails the test that asked.
    pub fn not_modelled(request: &Request) -> Self {
        let what = format!("{} {}", request.method, request.path);
        Self::text(501, format!("this simulator does not model {what}\n"))
            .with_header(NOT_MODELLED, &what)
    }

    /// No body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A plain text body.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![(
            "content-type".to_owned(),
            "text/plain; charset=utf-8".to_owned(),
        )];
        Self {
            status,
            headers,
            body: Bytes::from(body.into()),
        }
    }

    /// One more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// One vendor's host: state plus the answer to a request.
pub trait Site: Send + Sync + 'static {
    /// Does what the request asks and answers as the vendor would.
    fn answer(&self, request: &Request) -> Answer;
}

/// A running simulator: its address, what it was asked, what is scripted to go wrong.
/// Dropping it stops it, and panics if it was asked for something that is not modelled: unless that is modelled, nobody knows
/// what the vendor would have answered.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Faults to come.
    pub faults: FaultScript,
    log: Arc<Mutex<VecDeque<Request>>>,
    gone: Arc<AtomicBool>,
    not_modelled: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// `http://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Everything it was asked, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).iter().cloned().collect()
    }

    /// Requests with this method and this text in their path.
    pub fn requests_to(&self, method: &str, path_part: &str) -> Vec<Request> {
        self.requests()
            .into_iter()
            .filter(|request| request.method == method && request.path.contains(path_part))
            .collect()
    }

    /// Takes the calls so far that are not modelled, for a test that makes them on purpose.
    pub fn take_not_modelled(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.not_modelled))
    }

    /// Stops it: no new connections, and calls on kept-alive ones are cut.
    pub fn stop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        if let Some(stop) = self.stop.take() {
            let _gone = stop.send(());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let asked = self.take_not_modelled();
        assert!(
            asked.is_empty() || LENIENT.load(Ordering::SeqCst) || std::thread::panicking(),
            "a simulator was asked for what it does not model: {asked:?}"
        );
    }
}

/// Serves `site` on `127.0.0.1:port` (0: any free port).
pub async fn serve<S: Site>(port: u16, site: Arc<S>) -> std::io::Result<Server> {
    let faults = FaultScript::default();
    let log = Arc::new(Mutex::new(VecDeque::new()));
    let gone = Arc::new(AtomicBool::new(false));
    let not_modelled = Arc::new(Mutex::new(Vec::new()));
    let (script, book, ended) = (faults.clone(), Arc::clone(&log), Arc::clone(&gone));
    let site = Arc::new(Watched {
        site,
        not_modelled: Arc::clone(&not_modelled),
    });
    let filter = request().then(move |request: Request| {
        let (site, script, book, ended) = (
            Arc::clone(&site),
            script.clone(),
            Arc::clone(&book),
            Arc::clone(&ended),
        );
        async move {
            if ended.load(Ordering::SeqCst) {
                cut()
            } else {
                reply(&*site, &script, &book, &request).await
            }
        }
    });
    let (addr, stop) = bind(port, filter).await?;
    Ok(Server {
        addr,
        faults,
        log,
        gone,
        not_modelled,
        stop: Some(stop),
    })
}

/// A site whose calls that are not modelled are written down.
struct Watched<S> {
    site: Arc<S>,
    not_modelled: Arc<Mutex<Vec<String>>>,
}

impl<S: Site> Site for Watched<S> {
    fn answer(&self, request: &Request) -> Answer {
        let answer = self.site.answer(request);
        let mark = answer.headers.iter().find(|(name, _)| name == NOT_MODELLED);
        if let Some((_, what)) = mark {
            lock(&self.not_modelled).push(what.clone());
        }
        answer
    }
}

/// Serves any warp filter on `127.0.0.1:port` until the sender is used or dropped.
pub async fn bind<F>(port: u16, filter: F) -> std::io::Result<(SocketAddr, oneshot::Sender<()>)>
where
    F: Filter<Error = warp::Rejection> + Clone + Send + Sync + 'static,
    F::Extract: warp::Reply,
{
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let addr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = warp::serve(filter).incoming(listener).run();
    tokio::spawn(async move {
        tokio::select! {
            () = server => {}
            _ = stopped => {}
        }
    });
    Ok((addr, stop))
}

/// A reply whose body breaks at once: the client sees the connection cut, never a whole answer.
pub fn cut() -> warp::reply::Response {
    let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::from(
        std::io::ErrorKind::ConnectionReset,
    ))]);
    let mut response = warp::Reply::into_response(warp::reply::stream(broken));
    response
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("1000000"));
    response
}

#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in on the loopback address, only ever asked by us"
)]
fn request() -> impl Filter<Extract = (Request,), Error = warp::Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::bytes())
        .map(
            |method: Method,
             path: warp::path::FullPath,
             query: String,
             headers: HeaderMap,
             body: Bytes| Request {
                method: method.as_str().to_owned(),
                path: path.as_str().to_owned(),
                query: url::form_urlencoded::parse(query.as_bytes())
                    .into_owned()
                    .collect(),
                headers: headers
                    .iter()
                    .map(|(name, value)| {
                        (
                            name.as_str().to_owned(),
                            String::from_utf8_lossy(value.as_bytes()).into_owned(),
                        )
                    })
                    .collect(),
                body,
            },
        )
}

async fn reply<S: Site>(
    site: &S,
    script: &FaultScript,
    book: &Mutex<VecDeque<Request>>,
    request: &Request,
) -> warp::reply::Response {
    remember(book, request);
    let answer = match script.take(&request.method, &request.path) {
        None => site.answer(request),
        Some(Fault::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            site.answer(request)
        }
        Some(Fault::AcceptThenDelay(wait)) => {
            let answer = site.answer(request);
            tokio::time::sleep(wait).await;
            answer
        }
        Some(Fault::Status {
            code,
            headers,
            body,
        }) => Answer {
            status: code,
            headers,
            body: Bytes::from(body),
        },
        Some(Fault::DropBefore) => return cut(),
        Some(Fault::AcceptThenDrop) => {
            let _done = site.answer(request);
            return cut();
        }
    };
    respond(answer)
}

fn respond(answer: Answer) -> warp::reply::Response {
    let mut response = warp::Reply::into_response(Vec::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().remove("content-type");
    for (name, value) in answer.headers {
        let name = warp::http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn remember(book: &Mutex<VecDeque<Request>>, request: &Request) {
    let mut book = lock(book);
    if book.len() == LOG_LENGTH {
        book.pop_front();
    }
    book.push_back(request.clone());
}

/// A clock that a test can stop and set; it runs with the real time until then. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Mutex<Option<DateTime<Utc>>>>);

impl Clock {
    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        lock(&self.0).unwrap_or_else(Utc::now)
    }

    /// Stops the clock at `at`.
    pub fn set(&self, at: DateTime<Utc>) {
        *lock(&self.0) = Some(at);
    }
}

/// A poisoned lock of a stand-in is still usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(Mutex<u32>);

    impl Site for Counter {
        fn answer(&self, request: &Request) -> Answer {
            *lock(&self.0) += 1;
            Answer::text(200, request.segments().join("|"))
        }
    }

    async fn get(server: &Server, path: &str) -> Result<(u16, String), &'static str> {
        let url: url::Url = format!("{}{path}", server.url()).parse().unwrap();
        let reply = outgoing::send(outgoing::client().unwrap().get(url)).await?;
        Ok((
            reply.status,
            String::from_utf8_lossy(&reply.body).into_owned(),
        ))
    }

    #[tokio::test]
    async fn scripted_faults_happen_once_and_to_the_requests_they_match() {
        let site = Arc::new(Counter(Mutex::new(0)));
        let server = serve(0, Arc::clone(&site)).await.unwrap();
        server.faults.next_on("GET", "/b", Fault::status(503));
        assert_eq!(
            get(&server, "a%2Fx/y?q=1").await.unwrap(),
            (200, "a/x|y".to_owned())
        );
        assert_eq!(get(&server, "b").await.unwrap().0, 503);
        assert_eq!(get(&server, "b").await.unwrap().0, 200);
        assert_eq!(*lock(&site.0), 2);
        assert!(server.faults.is_drained());
        assert_eq!(server.requests().len(), 3);
        assert_eq!(server.requests()[0].query("q"), Some("1"));
    }

    #[tokio::test]
    async fn a_cut_connection_is_no_answer_whether_or_not_the_work_was_done() {
        let site = Arc::new(Counter(Mutex::new(0)));
        let server = serve(0, Arc::clone(&site)).await.unwrap();
        server.faults.next(Fault::DropBefore);
        assert_eq!(
            get(&server, "a").await.unwrap_err(),
            "the host broke the connection"
        );
        assert_eq!(*lock(&site.0), 0);
        server.faults.next(Fault::AcceptThenDrop);
        assert_eq!(
            get(&server, "a").await.unwrap_err(),
            "the host broke the connection"
        );
        assert_eq!(*lock(&site.0), 1);
    }

    #[tokio::test]
    async fn a_stopped_server_cannot_be_reached() {
        let mut server = serve(0, Arc::new(Counter(Mutex::new(0)))).await.unwrap();
        server.stop();
        while tokio::net::TcpStream::connect(server.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            get(&server, "a").await.unwrap_err(),
            "the host could not be reached"
        );
    }
}
