//! The shipped Airflow callback, run by a real Python against a door that parses as the real one does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sources::key_of;
use aiops_rca::failure::{AssetKind, Failure, field};
use aiops_rca::sources::{Parsed, airflow};
use bytes::Bytes;
use tokio::process::Command;
use warp::Filter;
use warp::http::{HeaderMap, Response};

const KEY: &str = "function-key-1";

/// What a caller sent: headers and body.
type Call = (HeaderMap, Vec<u8>);
/// What the door shall answer: a status and perhaps where to go instead.
type Answer = (u16, Option<String>);

/// A door that keeps what it was sent and answers as it was told.
#[derive(Clone, Default)]
struct Door {
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Door {
    async fn open(answers: &[(u16, Option<&str>)]) -> (Self, SocketAddr) {
        let door = Self::default();
        door.answers.lock().unwrap().extend(
            answers
                .iter()
                .map(|(status, location)| (*status, location.map(str::to_owned))),
        );
        let state = door.clone();
        let route = warp::post()
            .and(warp::path!("airflow-monitor"))
            .and(warp::header::headers_cloned())
            .and(warp::body::content_length_limit(1024 * 1024))
            .and(warp::body::stream())
            .and_then(move |headers: HeaderMap, body| {
                let state = state.clone();
                async move {
                    Ok::<_, std::convert::Infallible>(state.answer(headers, collect(body).await))
                }
            });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(warp::serve(route).incoming(listener).run());
        (door, address)
    }

    fn answer(&self, headers: HeaderMap, body: Vec<u8>) -> Response<String> {
        self.calls.lock().unwrap().push((headers, body));
        let (status, location) = self
            .answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or((200, None));
        let mut response = Response::builder().status(status);
        if let Some(location) = location {
            response = response.header("Location", location);
        }
        response
            .body(r#"{"status":"accepted","ticket_id":"ARF-20260727T000501-abc123"}"#.to_owned())
            .unwrap()
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The one failure the one call meant.
    fn failure(&self) -> Failure {
        let calls = self.calls();
        let [(headers, body)] = calls.as_slice() else {
            panic!("{} calls instead of one", calls.len())
        };
        assert_eq!(headers["x-functions-key"], KEY);
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        match airflow::parse(body) {
            Ok(Parsed::Failures(failures)) if failures.len() == 1 => {
                failures.into_iter().next().unwrap()
            }
            other => panic!("{other:?} from {}", String::from_utf8_lossy(body)),
        }
    }
}

async fn collect<S, B, E>(body: S) -> Vec<u8>
where
    S: futures::Stream<Item = Result<B, E>>,
    B: bytes::Buf,
    E: std::fmt::Debug,
{
    use futures::StreamExt as _;
    let mut all = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(part) = body.next().await {
        let mut part = part.unwrap();
        let piece: Bytes = part.copy_to_bytes(part.remaining());
        all.extend_from_slice(&piece);
    }
    all
}

/// Runs one case of the driver; returns what it logged.
async fn run(case: &str, url: &str, more: &[(&str, &str)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(root.join("tests/it/airflow_callback/driver.py"))
        .arg(root.join("infra/airflow"))
        .arg(case);
    command
        .env("AIOPS_RCA_URL", url)
        .env("AIOPS_RCA_KEY", KEY)
        .env("no_proxy", "*")
        .envs(more.iter().copied());
    let output = command
        .output()
        .await
        .expect("python3 is needed to test the Airflow callback: install it");
    let (out, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{case} raised: {log}");
    assert_eq!(out.trim(), "survived");
    assert!(!log.contains(KEY), "the key is in the log: {log}");
    log.into_owned()
}

async fn reported(case: &str) -> Failure {
    let (door, address) = Door::open(&[]).await;
    run(case, &format!("http://{address}/airflow-monitor"), &[]).await;
    door.failure()
}

#[tokio::test]
async fn a_task_of_airflow_2_is_reported_whole() {
    let failure = reported("airflow2").await;
    assert_eq!(failure.asset, "sales_etl.load_orders");
    assert_eq!(
        failure.key,
        key_of(
            "airflow|airflow.example.com/sales_etl|scheduled__2026-07-27T00:00:00+00:00|load_orders|"
        )
    );
    assert_eq!(failure.error_code.as_deref(), Some("ConnectionError"));
    assert!(
        failure
            .message
            .starts_with("Traceback (most recent call last)"),
        "{}",
        failure.message
    );
    assert!(
        failure.message.contains("Max retries exceeded"),
        "{}",
        failure.message
    );
    assert_eq!(failure.field(field::OPERATOR), Some("PythonOperator"));
    assert_eq!(failure.field(field::OWNER), Some("finops"));
    assert_eq!(failure.field(field::MAP_INDEX), None);
    assert_eq!(
        failure.occurred_at.unwrap().to_rfc3339(),
        "2026-07-27T00:05:01.123456+00:00"
    );
    assert_eq!(
        failure.run_url.as_deref(),
        Some("https://airflow.example.com/dags/sales_etl/grid?dag_run_id=x")
    );
}

#[tokio::test]
async fn a_mapped_task_of_airflow_3_is_reported_without_what_airflow_3_dropped() {
    for case in ["airflow3", "airflow3_running"] {
        let failure = reported(case).await;
        assert_eq!(
            failure.key,
            key_of("airflow|/sales_etl|scheduled__2026-07-27T00:00:00+00:00|load_orders[7]|"),
            "{case}"
        );
        assert_eq!(failure.message, "AirflowTaskTimeout: Timeout, PID: 77");
        assert_eq!(failure.error_code.as_deref(), Some("AirflowTaskTimeout"));
        assert_eq!(failure.field("run_type"), Some("scheduled"));
        assert_eq!(failure.field(field::LOGICAL_DATE), None);
        assert_eq!(failure.field(field::OPERATOR), Some("PythonOperator"));
    }
}

#[tokio::test]
async fn a_failed_dag_run_is_reported_without_a_task() {
    for (case, said) in [
        // That its tasks failed says nothing of why.
        (
            "dag2",
            "Airflow DAG sales_etl failed; the callback carried no exception text.",
        ),
        ("dag3", "Airflow DAG sales_etl failed: timed_out"),
    ] {
        let failure = reported(case).await;
        assert_eq!(
            (failure.asset.as_str(), failure.kind),
            ("sales_etl", AssetKind::Task),
            "{case}"
        );
        assert_eq!(failure.field(field::TASK_ID), None);
        assert_eq!(failure.message, said);
        assert_eq!(
            failure.run_id.as_deref(),
            Some("scheduled__2026-07-27T00:00:00+00:00")
        );
    }
}

#[tokio::test]
async fn dead_tasks_and_odd_exceptions_are_reported() {
    assert!(
        reported("zombie")
            .await
            .message
            .starts_with("Detected zombie job")
    );
    assert!(
        reported("no_exception")
            .await
            .message
            .contains("no exception text")
    );
    assert_eq!(
        reported("unprintable").await.error_code.as_deref(),
        Some("Unprintable")
    );
    let huge = reported("huge").await;
    assert!(huge.message.len() < 24 * 1024, "{}", huge.message.len());
    assert!(
        huge.message.contains("the end"),
        "the tail of a traceback holds the error"
    );
}

#[tokio::test]
async fn a_try_that_will_be_repeated_is_not_reported() {
    let (door, address) = Door::open(&[]).await;
    run("retry", &format!("http://{address}"), &[]).await;
    assert!(door.calls().is_empty());
}

#[tokio::test]
async fn a_busy_door_is_tried_again_and_a_refusal_is_not() {
    let (door, address) = Door::open(&[(503, None), (429, None)]).await;
    run("airflow2", &format!("http://{address}/"), &[]).await;
    assert_eq!(
        door.calls().len(),
        3,
        "the path is completed, 503 and 429 are repeated"
    );
    let (door, address) = Door::open(&[(401, None)]).await;
    let log = run(
        "airflow2",
        &format!("http://{address}/airflow-monitor"),
        &[],
    )
    .await;
    assert_eq!(door.calls().len(), 1);
    assert!(log.contains("HTTP 401"), "{log}");
}

#[tokio::test]
async fn the_key_follows_no_redirect() {
    let (other, elsewhere) = Door::open(&[]).await;
    let target = format!("http://{elsewhere}/airflow-monitor");
    let (door, address) = Door::open(&[(307, Some(&target)), (302, Some(&target))]).await;
    run(
        "airflow2",
        &format!("http://{address}/airflow-monitor"),
        &[],
    )
    .await;
    assert_eq!(door.calls().len(), 1);
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn nothing_it_meets_harms_the_dag() {
    let (door, address) = Door::open(&[]).await;
    let url = format!("http://{address}/airflow-monitor");
    for case in ["none", "empty"] {
        run(case, &url, &[]).await;
    }
    for bad in [
        "",
        "file:///etc/passwd",
        "not a url",
        "http://127.0.0.1:1/airflow-monitor",
    ] {
        run("airflow2", bad, &[]).await;
    }
    assert!(door.calls().is_empty(), "nobody failed");
    // A door that never answers costs three timeouts and no more.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = Instant::now();
    let log = run(
        "airflow2",
        &format!("http://{}", silent.local_addr().unwrap()),
        &[("AIOPS_RCA_TIMEOUT", "0.1")],
    )
    .await;
    assert!(started.elapsed() < Duration::from_secs(10), "{log}");
    assert!(log.to_lowercase().contains("timeout"), "{log}");
}

#[tokio::test]
async fn deployments_are_told_apart_by_their_name() {
    let (door, address) = Door::open(&[]).await;
    run(
        "airflow3",
        &format!("http://{address}"),
        &[("AIOPS_RCA_DEPLOYMENT", "emea")],
    )
    .await;
    let run = "scheduled__2026-07-27T00:00:00+00:00";
    assert_eq!(
        door.failure().key,
        key_of(&format!("airflow|emea/sales_etl|{run}|load_orders[7]|"))
    );
}
