//! The handler under load, against the ceiling of its own store, measured in the same run.
//!
//! `cargo bench --bench load` uses an embedded store; with `AIOPS_RCA_LOAD_STORE` set to a connection string it uses that
//! account (Azurite: start a fresh one, in memory). It prints
//! - accepted failures a second, beside how often the store does one insert and one put a second, and how often the two
//!   operations of an accept (a transaction of four rows, a put), at 64 connections;
//! - with `AIOPS_RCA_LOAD_TICKETS` tickets in the store (20,000; a tenth of them open): the first page, ten lists at
//!   once, a tick of the sweep, and the memory of the handler through it all.
//!
//! Ratios of one run can be compared; the figures themselves are this machine's.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a bench stops when it cannot go on, and the environment says what it measures"
)]

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aiops_rca::diagnosis::{Case, diagnose};
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source};
use aiops_rca::http::Http;
use aiops_rca::storage::{Inserted, Storage, StorageSettings, Swapped, Write};
use aiops_rca::ticket::machine::{self, Event, Opening};
use aiops_rca::ticket::store::{TABLES, TicketStore};
use aiops_rca::ticket::{Actor, Channel, Status, TicketId};
use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: u32 = 64;
/// Bytes of what waits to be analysed, with a short error text.
const WAITING: usize = 900;
/// Of what is accepted, and waits to be analysed.
const WAITS: &str = "waits";
/// Of the tickets in their thousands.
const TICKETS: &str = "tickets";
const KEY: &str = "a-key-of-this-bench-0123456789";

/// `cargo test --all-targets` runs this too, without `--bench`: then briefly, as a check that it works.
fn measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

struct Handler {
    child: Child,
    url: String,
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Handler {
    async fn start(store: &str, prefix: &str, client: &Http) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new(env!("CARGO_BIN_EXE_aiops-rca"));
        command
            .env_clear()
            .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
            .env("AIOPS_RCA_LOCAL", "true")
            .env("DASHBOARD_KEY", KEY)
            .env("STORAGE_PREFIX", prefix)
            .env("LOG_LEVEL", "error")
            .stdout(Stdio::null());
        if store.contains("AccountName=") {
            command.env("AzureWebJobsStorage", store);
        } else {
            command.env("AIOPS_RCA_STORE", store);
        }
        let handler = Self {
            child: command.spawn().unwrap(),
            url: format!("http://127.0.0.1:{port}"),
        };
        let until = Instant::now() + Duration::from_secs(20);
        while client
            .request(Method::GET, &at(format!("{}/health", handler.url)))
            .send()
            .await
            .is_err()
        {
            assert!(Instant::now() < until, "the handler does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        handler
    }

    fn megabytes(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes.map_or(0.0, |kilobytes| kilobytes.parse::<f64>().unwrap() / 1024.0)
    }
}

/// Plain connections to the handler, as senders hold them: a whole HTTP client takes a good part of the two cores that are
/// measured.
struct Senders {
    address: String,
    idle: Mutex<Vec<TcpStream>>,
}

impl Senders {
    fn of(handler: &Handler) -> Self {
        Self {
            address: handler.url.replace("http://", ""),
            idle: Mutex::default(),
        }
    }

    /// The status of the answer, which is read to its end.
    async fn post(&self, path: &str, body: &str) -> u16 {
        let idle = self.idle.lock().unwrap().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await.unwrap(),
        };
        let (address, length) = (&self.address, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::with_capacity(2048);
        let status = loop {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "cut");
            if let Some(status) = whole(&answer) {
                break status;
            }
        };
        self.idle.lock().unwrap().push(stream);
        status
    }
}

/// The status, when all of the answer is there.
fn whole(answer: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(answer).unwrap() else {
        return None;
    };
    let status = head.code.unwrap();
    let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let body = headers.iter().find(named).unwrap().value;
    let body: usize = str::from_utf8(body).unwrap().parse().unwrap();
    (answer.len() >= length + body).then_some(status)
}

/// Connections and code are warm after this.
const WARM_UP: Duration = Duration::from_secs(2);
/// What is compared takes turns, since a store slows with what it holds.
const ROUNDS: usize = 3;

/// Something that all connections do together, again and again.
#[derive(Default)]
struct Load {
    number: Arc<AtomicU32>,
    took: Vec<Duration>,
    lasted: Duration,
}

impl Load {
    /// Once more for so many seconds, and before them until it is warm. `work` never gets the same number twice.
    async fn round<W>(&mut self, seconds: u64, work: impl Fn(u32) -> W + Clone + Send + 'static)
    where
        W: Future<Output = ()> + Send,
    {
        let began = Instant::now() + WARM_UP;
        let end = began + Duration::from_secs(seconds);
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (work, number) = (work.clone(), Arc::clone(&self.number));
                tokio::spawn(async move {
                    let mut took = Vec::new();
                    while Instant::now() < end {
                        let sent = Instant::now();
                        work(number.fetch_add(1, Ordering::Relaxed)).await;
                        if Instant::now() > began {
                            took.push(sent.elapsed());
                        }
                    }
                    took
                })
            })
            .collect();
        for worker in workers {
            self.took.extend(worker.await.unwrap());
        }
        self.lasted += began.elapsed();
        self.took.sort();
    }

    /// How often a second.
    fn rate(&self) -> f64 {
        self.took.len() as f64 / self.lasted.as_secs_f64()
    }

    /// How long one of them takes: 99 of 100 are faster.
    fn p99(&self) -> f64 {
        millis(self.took[self.took.len() * 99 / 100])
    }
}

fn at(url: impl AsRef<str>) -> url::Url {
    url.as_ref().parse().unwrap()
}

fn failure(number: u32) -> Failure {
    Failure {
        source: Source::Adf,
        key: RunKey::new(Source::Adf, "", &format!("stored-{number}"), "", ""),
        kind: AssetKind::Pipeline,
        asset: format!("pl_{}", number % 500),
        run_id: Some(format!("stored-{number}")),
        run_url: None,
        error_code: Some("2200".to_owned()),
        message: "ErrorCode=AdlsGen2OperationFailed, the specified path does not exist.".to_owned(),
        context: std::collections::BTreeMap::new(),
        occurred_at: Some(Utc::now()),
        source_severity: None,
        alert: None,
    }
}

/// Tickets of the last seven days; nine of ten are closed.
async fn fill(store: &TicketStore, tickets: u32) {
    let sample = failure(0);
    let diagnosis = diagnose(&Case::of(&sample, &[]));
    let workers = (0..16).map(|worker| {
        let (store, diagnosis) = (store.clone(), diagnosis.clone());
        tokio::spawn(async move {
            for number in (worker..tickets).step_by(16) {
                let at = Utc::now() - TimeDelta::seconds(i64::from(number % (7 * 86_000)));
                let id = TicketId::new(Source::Adf, at, number);
                let opening = Opening {
                    sinks_off: ["jira", "slack", "playbook"]
                        .map(|sink| (sink.to_owned(), "not configured".to_owned()))
                        .into(),
                    ..Opening::of(id.clone(), failure(number), diagnosis.clone(), at)
                };
                let mut opened = machine::opened(opening, at);
                opened.ticket.sla.due_at = Utc::now() + TimeDelta::days(1);
                if number % 10 != 0 {
                    let closed = Event::StatusChanged {
                        to: Status::Acknowledged,
                        by: Actor {
                            channel: Channel::Dashboard,
                            name: "Jane Roe".to_owned(),
                        },
                        at,
                        jira_status: None,
                    };
                    opened = machine::apply(&opened.ticket, &closed, at).unwrap();
                    opened.ticket.looked_at_by(Utc::now() + TimeDelta::days(1));
                }
                store.open(&mut opened, &[]).await.unwrap();
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

async fn ready(store: &str, prefix: &str) -> Storage {
    let settings = if store.contains("AccountName=") {
        StorageSettings::from_connection_string(store).unwrap()
    } else {
        StorageSettings::embedded(store)
    };
    let settings = settings.with_prefix(prefix);
    let storage = Storage::open(&settings, &Http::new(None).unwrap()).unwrap();
    storage.prepare(&TABLES, &["failures"]).await.unwrap();
    storage
}

#[tokio::main]
async fn main() {
    let (seconds, tickets) = if measured() { (5, 20_000) } else { (1, 200) };
    let asked = std::env::var("AIOPS_RCA_LOAD_TICKETS").ok();
    let tickets = asked.map_or(tickets, |tickets| tickets.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let embedded = folder.path().join("store.db");
    let store = std::env::var("AIOPS_RCA_LOAD_STORE")
        .unwrap_or_else(|_| embedded.to_string_lossy().into_owned());
    let client = Http::new(None).unwrap().untraced();
    let storage = ready(&store, WAITS).await;

    // The store's own ceiling, and what the handler makes of it.
    let handler = Handler::start(&store, WAITS, &client).await;
    let run = Utc::now().timestamp();
    let document = r#"{"of":"about the size of a claim and of what waits under it"}"#;
    let one_of_each = {
        let storage = storage.clone();
        move |number: u32| {
            let storage = storage.clone();
            async move {
                let (partition, row) = (format!("ceiling-{}", number % 4), number.to_string());
                let inserted = storage.insert("index", &partition, &row, document).await;
                assert!(matches!(inserted.unwrap(), Inserted::Created(_)));
                let put = storage.put("failures", document, Duration::from_hours(24));
                put.await.unwrap();
            }
        }
    };
    let those_of_an_accept = {
        let storage = storage.clone();
        move |number: u32| {
            let storage = storage.clone();
            async move {
                let partition = format!("operations-{}", number % 4);
                let rows = ["claim", "wait", "due", "units"].map(|kind| format!("{kind}-{number}"));
                let waiting = format!("\"{}\"", "x".repeat(WAITING));
                let documents = [document, waiting.as_str(), "{}", document];
                let writes: Vec<_> = (rows.iter().zip(documents))
                    .map(|(row, document)| Write::Insert(row, document))
                    .collect();
                let written = storage.commit("index", &partition, &writes).await;
                assert!(matches!(written.unwrap(), Swapped::Done(_)));
                let put = storage.put("failures", document, Duration::from_hours(24));
                put.await.unwrap();
            }
        }
    };
    let report = {
        let senders = Arc::new(Senders::of(&handler));
        move |number: u32| {
            let senders = Arc::clone(&senders);
            async move {
                let body = json!({"dag_id": "load_test", "task_id": "task", "run_id": format!("manual__{run}_{number}"),
                    "state": "failed", "try_number": 1, "max_tries": 0, "operator": "PythonOperator",
                    "exception": "psycopg2.OperationalError: could not connect to server: Connection refused"});
                let status = senders.post("/airflow-monitor", &body.to_string()).await;
                assert_eq!(status, 200);
            }
        }
    };
    let [mut ceiling, mut operations, mut accepted] = [(); 3].map(|()| Load::default());
    for _ in 0..if measured() { ROUNDS } else { 1 } {
        ceiling.round(seconds, one_of_each.clone()).await;
        operations.round(seconds, those_of_an_accept.clone()).await;
        accepted.round(seconds, report.clone()).await;
    }
    println!(
        "at {CONNECTIONS} connections: the store does one insert and one put {:.0} times a second (p99 {:.1} ms)",
        ceiling.rate(),
        ceiling.p99()
    );
    println!(
        "the operations of an accept: {:.0} times a second (p99 {:.1} ms)",
        operations.rate(),
        operations.p99()
    );
    println!(
        "accepted failures a second: {:.0} (p99 {:.1} ms), {:.0} % of the one and {:.0} % of the other",
        accepted.rate(),
        accepted.p99(),
        accepted.rate() * 100.0 / ceiling.rate(),
        accepted.rate() * 100.0 / operations.rate()
    );

    let filled = Instant::now();
    fill(&TicketStore::new(ready(&store, TICKETS).await), tickets).await;
    println!(
        "{tickets} tickets stored in {:.1} s",
        filled.elapsed().as_secs_f64()
    );
    println!("memory while it accepted: {:.0} MB", handler.megabytes());
    drop(handler);
    let handler = Handler::start(&store, TICKETS, &client).await;
    // All of them are as old as if nothing had been swept for a week: the first ticks count them.
    let mut took = sweep(&handler, &client).await;
    println!("the first tick: {:.0} ms", millis(took));
    for _ in 0..10 {
        took = took.min(sweep(&handler, &client).await);
    }
    println!("a tick with nothing due: {:.0} ms", millis(took));
    let page = format!("{}/dashboard", handler.url);
    let _first = get(&client, &page).await;
    let mut pages = Vec::new();
    for _ in 0..10 {
        pages.push(get(&client, &page).await);
    }
    pages.sort();
    println!(
        "the first page: median {:.0} ms, slowest {:.0} ms of 10",
        millis(pages[5]),
        millis(pages[9])
    );
    let list = format!("{}/api/tickets", handler.url);
    let lists = (0..10).map(|_| get(&client, &list));
    let slowest = futures::future::join_all(lists).await.into_iter().max();
    println!("ten lists at once: {:.0} ms", millis(slowest.unwrap()));
    println!("memory while it listed: {:.0} MB", handler.megabytes());
}

async fn get(client: &Http, url: &str) -> Duration {
    let began = Instant::now();
    let asked = client
        .request(Method::GET, &at(url))
        .header("x-dashboard-key", KEY);
    let answer = asked.send().await.unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{url}: {status}");
    answer.bytes().await.unwrap();
    began.elapsed()
}

/// A tick of the timer, as the host calls it.
async fn sweep(handler: &Handler, client: &Http) -> Duration {
    let began = Instant::now();
    let call = json!({"Data": {"timer": {}}, "Metadata": {}});
    let door = format!("{}/Sweep", handler.url);
    let answer = client
        .request(Method::POST, &at(door))
        .json(&call)
        .timeout(Duration::from_mins(1))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    began.elapsed()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
