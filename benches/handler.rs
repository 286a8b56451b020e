//! The handler as a process: time from exec to the first answer, memory at rest, and the ingest door under load.
//!
//! `cargo bench --bench handler` prints the figures and fails when a promise is broken: ready within 50 ms (median of
//! 20), under 20 MB at rest, ingest under 20 ms (p99) at 200 requests a second on the embedded store.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench stops when it cannot go on"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

const RATE: u32 = 200;

/// `cargo test --all-targets` runs this too, without `--bench`: then briefly, as a check that it works.
fn measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

struct Handler {
    child: Child,
    port: u16,
    ready_after: Duration,
    _folder: tempfile::TempDir,
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn start() -> Handler {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_aiops-rca"))
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("AIOPS_RCA_STORE", folder.path().join("store.db"))
        .env("AIOPS_RCA_LOCAL", "true")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while request(port, "GET", "/", "").is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the handler does not answer"
        );
        std::thread::sleep(Duration::from_micros(500));
    }
    Handler {
        child,
        port,
        ready_after: started.elapsed(),
        _folder: folder,
    }
}

/// One request on a connection of its own; the status.
fn request(port: u16, method: &str, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_whitespace().nth(1)?.parse().ok()
}

fn resident_megabytes(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1024.0
}

fn callback(number: u32) -> String {
    json!({"dag_id": "load_test", "task_id": "task", "run_id": format!("manual__{number}"), "state": "failed", "try_number": 1, "max_tries": 0,
        "exception": "psycopg2.OperationalError: could not connect to server: Connection refused", "operator": "PythonOperator"})
    .to_string()
}

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let place = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[place]
}

fn main() {
    let (starts_wanted, seconds) = if measured() { (20, 10) } else { (2, 1) };
    let mut starts: Vec<Duration> = (0..starts_wanted).map(|_| start().ready_after).collect();
    starts.sort();
    let median = percentile(&starts, 0.5);
    println!(
        "ready after exec: median {:.1} ms, slowest {:.1} ms of {starts_wanted}",
        millis(median),
        millis(starts[starts.len() - 1])
    );

    let handler = start();
    std::thread::sleep(Duration::from_millis(500));
    let idle = resident_megabytes(handler.child.id());
    println!("resident at rest: {idle:.1} MB");

    assert_eq!(
        request(handler.port, "POST", "/airflow-monitor", &callback(0)),
        Some(200)
    );
    let began = Instant::now();
    let mut took: Vec<Duration> = Vec::new();
    let workers: Vec<_> = (0..4_u32)
        .map(|worker| {
            let port = handler.port;
            std::thread::spawn(move || {
                let mut took = Vec::new();
                for number in (worker..RATE * seconds).step_by(4) {
                    let due = began + Duration::from_secs(1) * number / RATE;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let sent = Instant::now();
                    assert_eq!(
                        request(port, "POST", "/airflow-monitor", &callback(number + 1)),
                        Some(200)
                    );
                    took.push(sent.elapsed());
                }
                took
            })
        })
        .collect();
    for worker in workers {
        took.extend(worker.join().unwrap());
    }
    took.sort();
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    println!(
        "ingest at {RATE}/s for {seconds} s: p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms",
        millis(p50),
        millis(p99),
        millis(took[took.len() - 1])
    );
    println!(
        "resident after it: {:.1} MB",
        resident_megabytes(handler.child.id())
    );
    if measured() {
        assert!(median < Duration::from_millis(50), "not ready within 50 ms");
        assert!(idle < 20.0, "more than 20 MB at rest");
        assert!(p99 < Duration::from_millis(20), "ingest p99 above 20 ms");
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
