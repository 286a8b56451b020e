//! Every invocation ends within its own deadline while every vendor takes connections and never answers.
//!
//! Time is paused: it passes when nothing else can happen, so a call that hangs takes exactly its timeout.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::time::Duration;

use aiops_rca::config::{Config, Environment};
use aiops_rca::flow::{DELIVERIES, FAILURES};
use aiops_rca::functions::wire::Request;
use aiops_rca::functions::{HTTP_DEADLINE, Handler, QUEUE_DEADLINE, TIMER_DEADLINE};
use aiops_rca::storage::{Storage, StorageSettings};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;
use warp::http::{HeaderMap, Method};

use crate::support;

/// Of the queue's own: putting a message back when the deadline has passed.
const SLACK: Duration = Duration::from_secs(9);

/// Takes every connection and says nothing.
async fn hanging() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

fn settings(vendor: &str, store: &Path, prefix: &str) -> Environment {
    let store = store.to_string_lossy();
    [
        ("AIOPS_RCA_STORE", store.as_ref()),
        ("STORAGE_PREFIX", prefix),
        ("IDENTITY_ENDPOINT", vendor),
        ("IDENTITY_HEADER", "h"),
        ("AZURE_MANAGEMENT_URL", vendor),
        (
            "AZURE_SUBSCRIPTION_ID",
            "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e",
        ),
        ("AZURE_RESOURCE_GROUP", "rg"),
        ("AZURE_DATA_FACTORY_NAME", "adf"),
        (
            "LOG_ANALYTICS_WORKSPACE_ID",
            "bbbb0b0b-bb1b-cc2c-dd3d-eeeeee4e4e4e",
        ),
        ("LOG_ANALYTICS_URL", vendor),
        ("DATABRICKS_WORKSPACE_URL", vendor),
        ("DATABRICKS_TOKEN", "dapi"),
        ("AIRFLOW_BASE_URL", vendor),
        ("AIRFLOW_USERNAME", "u"),
        ("AIRFLOW_PASSWORD", "p"),
        ("ITSM_TOOL", "jira"),
        ("JIRA_DOMAIN", vendor),
        ("JIRA_USER_EMAIL", "bot@example.com"),
        ("JIRA_API_TOKEN", "t"),
        ("JIRA_PROJECT_KEY", "P"),
        ("SLACK_BOT_TOKEN", "xoxb"),
        ("SLACK_ALERT_CHANNEL", "C012345678"),
        ("SLACK_API_URL", vendor),
        ("AI_PROVIDER", "openai-compatible"),
        ("AI_ENDPOINT", vendor),
        ("AI_MODEL", "m"),
        ("AI_API_KEY", "k"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

async fn ask(handler: &Handler, path: &str, body: String) -> (u16, Duration) {
    let began = Instant::now();
    let request = Request {
        method: Method::POST,
        path: path.to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: body.into(),
    };
    // On the heap, as the server has it: a debug build's futures fill the stack of a test's thread.
    let answer = Box::pin(handler.clone().answer(request));
    (answer.await.status.as_u16(), began.elapsed())
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vendor");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn queues_and_timer_keep_their_deadlines_while_every_vendor_hangs() {
    let vendor = hanging().await;
    let (store, prefix) = (support::embedded_path(), support::prefix());
    let config = Config::read(&settings(&vendor, &store, &prefix));
    let storage = StorageSettings::embedded(&store).with_prefix(prefix);
    let storage = Storage::open(&storage, &support::http()).unwrap();
    let handler = Handler::new(support::doors(config));
    for (door, body) in [
        ("/azure-monitor", "azmon-logv2-adf-fired-dimensions.json"),
        (
            "/azure-monitor",
            "azmon-logv2-databricks-cluster-fired.json",
        ),
        ("/airflow-monitor", "airflow3-callback-scheduled.json"),
    ] {
        let (status, took) = ask(&handler, door, fixture(body)).await;
        assert_eq!(status, 200, "{door} {body}");
        assert!(took <= HTTP_DEADLINE, "{door} {body}: {took:?}");
    }
    let mut invoked = 0;
    // Analyses first: they put the deliveries.
    for (queue, function) in [
        (FAILURES, "/AnalyseFailure"),
        (DELIVERIES, "/DeliverTicket"),
    ] {
        for message in storage
            .receive(queue, 32, Duration::from_secs(600))
            .await
            .unwrap()
        {
            let body = json!({"Data": {"item": json!(message.text).to_string()}}).to_string();
            let (status, took) = ask(&handler, function, body).await;
            assert_eq!(status, 200, "{function} {}", message.text);
            assert!(
                took <= QUEUE_DEADLINE + SLACK,
                "{function} {}: {took:?}",
                message.text
            );
            assert!(storage.delete_message(queue, &message).await.unwrap());
            invoked += 1;
        }
    }
    assert!(invoked >= 5, "{invoked} invocations");
    assert!(
        storage.depth(DELIVERIES).await.unwrap() > 0,
        "what was not delivered waits"
    );
    let (status, took) = ask(&handler, "/Sweep", "{}".to_owned()).await;
    assert_eq!(status, 200);
    assert!(took <= TIMER_DEADLINE + SLACK, "{took:?}");
}

/// The lock of a secure webhook asks for keys, and the store may hang: the caller is answered all the same.
#[tokio::test(start_paused = true)]
async fn doors_keep_their_deadline_while_keys_and_store_hang() {
    let vendor = hanging().await;
    let mut environment = settings(&vendor, &support::embedded_path(), "p");
    let connection = format!(
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=c2VjcmV0;\
         TableEndpoint={vendor}devstoreaccount1;QueueEndpoint={vendor}devstoreaccount1"
    );
    environment.insert("AzureWebJobsStorage".to_owned(), connection);
    for (name, value) in [
        (
            "SECURE_WEBHOOK_TENANT_ID",
            "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e",
        ),
        ("SECURE_WEBHOOK_AUDIENCE", "api://x"),
        ("ENTRA_AUTHORITY_URL", vendor.as_str()),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let handler = Handler::new(support::doors(Config::read(&environment)));
    for door in ["/azure-monitor", "/databricks-monitor", "/airflow-monitor"] {
        let body = fixture("airflow3-callback-scheduled.json");
        let (status, took) = ask(&handler, door, body).await;
        assert!(matches!(status, 400 | 401 | 503), "{door}: {status}");
        assert!(took <= HTTP_DEADLINE, "{door}: {took:?}");
    }
}
