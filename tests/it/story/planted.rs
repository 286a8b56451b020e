//! Secrets of every kind in the reports of every door: afterwards they are searched for in storage, API, pages, log at
//! `trace`, JIRA, Slack and traces, and none is found.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::Request;
use simulators::databricks::DatabricksSite;
use simulators::jira::Person;

use super::rig::{Backend, Rig, WEBHOOK_SECRET, alert, ids, row, run};
use crate::redaction::tables;
use crate::support;
use crate::support::collector::Collector;
use crate::support::proxy::Proxy;

const JOB_RUN: i64 = 998_877_665_544_332;
/// Every text is long, and every word of it is logged.
const PATIENCE: Duration = Duration::from_secs(240);
const TOKEN: &str = "token-of-the-rig";

/// All texts of the table, with those of its secrets that can only stand somewhere because they were planted.
struct Planted {
    texts: Vec<String>,
    secrets: Vec<String>,
}

impl Planted {
    fn new() -> Self {
        let all = tables::planted();
        assert!(all.len() >= 150, "{} kinds", all.len());
        let secrets = all.iter().flat_map(|(_, secrets)| secrets);
        let secrets: Vec<String> = secrets
            .filter(|secret| secret.len() >= 6)
            .cloned()
            .collect();
        assert!(secrets.len() >= 150, "{} secrets", secrets.len());
        let texts = all.into_iter().map(|(text, _)| text).collect();
        Self { texts, secrets }
    }

    /// The texts in so many messages, one per line.
    fn messages(&self, count: usize) -> Vec<String> {
        let each = self.texts.len().div_ceil(count);
        self.texts
            .chunks(each)
            .map(|texts| texts.join("\n"))
            .collect()
    }

    /// The secrets in a text, as they are or escaped as JSON, XML, a form or a page would.
    fn found<'a>(&'a self, text: &str) -> Vec<&'a str> {
        let stands = |secret: &str| {
            let json = json!(secret).to_string();
            let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let xml = secret
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            let page = xml.replace('"', "&quot;");
            [secret, json.trim_matches('"'), &form, &xml, &page]
                .iter()
                .any(|spelt| text.contains(*spelt))
        };
        let secrets = self.secrets.iter().map(String::as_str);
        secrets.filter(|secret| stands(secret)).collect()
    }
}

fn sent(requests: Vec<Request>) -> String {
    let line = |request: Request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        format!(
            "{} {:?} {:?} {body}\n",
            request.path, request.query, request.headers
        )
    };
    requests.into_iter().map(line).collect()
}

/// Reports failures at the three doors of sources, with the texts wherever a sender has words; the tickets.
async fn report(rig: &Rig, messages: &[String]) -> Vec<String> {
    let [adf, airflow @ ..] = messages else {
        panic!("no messages");
    };
    let rows: Vec<Value> = [(1, adf), (2, &airflow[0])]
        .map(|(number, message)| row("pl_sales", &run(number), "2200", message))
        .to_vec();
    let mut body = alert("planted", &rows);
    body["data"]["essentials"]["description"] = json!(adf);
    let mut tickets = ids(&rig.deliver("azure-monitor", &body).await);
    let webhook = json!({"event_type": "jobs.on_failure", "workspace_id": "6280049833385130",
        "run": {"run_id": JOB_RUN, "run_name": adf}, "job": {"job_id": 516_892_700_102_118_i64, "name": "nightly"}});
    tickets.extend(ids(&rig.deliver("databricks-monitor", &webhook).await));
    for (number, message) in airflow.iter().enumerate() {
        let callback = json!({"dag_id": "sales_etl", "task_id": "load", "run_id": format!("manual__{number}"),
            "state": "failed", "try_number": 1, "max_tries": 0, "operator": "PythonOperator", "exception": message,
            "note": message, "log_tail": message, "reason": message});
        let answer = rig.deliver("airflow-monitor", &callback).await;
        tickets.push(answer["ticket_id"].as_str().unwrap().to_owned());
    }
    tickets
}

/// The doors through which people and playbooks answer, and bodies that no door can read.
async fn answer(rig: &Rig, planted: &Planted, ticket: &str) {
    let key = rig.ticket(ticket).await.unwrap()["jira"]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    for text in planted.texts.iter().step_by(40) {
        let person = Person::named(text);
        assert!(rig.jira.comments(&key, text, &person));
        rig.jira.moves(&key, "In Progress", &person);
        rig.jira.moves(&key, "To Do", &person);
    }
    for message in planted.messages(4) {
        let callback = format!("remediation-callback?ticket={ticket}&attempt=a1&token=forged");
        let body = json!({"status": "failed", "error_message": message, "ticket_id": ticket});
        let reply = rig.post(&callback, body.to_string()).await.unwrap();
        assert!((400..500).contains(&reply.status), "{}", reply.status);
        for door in [
            "azure-monitor",
            "databricks-monitor",
            "airflow-monitor",
            "slack/interactions",
        ] {
            let reply = rig.post(door, message.clone()).await.unwrap();
            assert!(
                (400..500).contains(&reply.status),
                "{door}: {}",
                reply.status
            );
        }
        let hook = format!("jira-webhook?secret={WEBHOOK_SECRET}");
        let event = json!({"webhookEvent": message, "user": {"displayName": message}, "comment": {"body": message}});
        assert_eq!(
            rig.post(&hook, event.to_string()).await.unwrap().status,
            200
        );
    }
}

/// Plants, waits until everything is shown, and collects every place where a secret could be.
async fn places(backend: &Backend, planted: &Planted) -> Vec<(String, String)> {
    let collector = Collector::start().await;
    let databricks = Arc::new(DatabricksSite::new(TOKEN));
    let messages = planted.messages(5);
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/vendor/dbx-runs-get-cluster-error.json"
    );
    let mut run: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    run["run_id"] = json!(JOB_RUN);
    run["state"]["state_message"] = json!(messages[4]);
    databricks.put_run(run);
    let server = simulators::serve(0, Arc::clone(&databricks)).await.unwrap();
    let settings = [
        ("LOG_LEVEL", "trace".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("DATABRICKS_WORKSPACE_URL", server.url()),
        ("DATABRICKS_TOKEN", TOKEN.to_owned()),
        // Open the door of the playbooks; nothing is started, because AUTO_REMEDIATION_ENABLED is not set.
        ("CALLBACK_SIGNING_KEY", "a".repeat(64)),
        ("PLAYBOOK_RETRY_JOB", server.url()),
    ];
    let rig = Rig::build(backend, &settings).await;
    let tickets = report(&rig, &messages[..4]).await;
    assert_eq!(tickets.len(), 6);
    rig.until_shown(&tickets, PATIENCE).await;
    assert!(
        !server.requests_to("GET", "runs/get").is_empty(),
        "the run was looked at"
    );
    answer(&rig, planted, &tickets[0]).await;
    rig.sweep().await;
    rig.until_shown(&tickets, PATIENCE).await;

    let mut places = vec![
        ("log".to_owned(), rig.log()),
        ("JIRA".to_owned(), sent(rig.jira.requests())),
        ("Slack".to_owned(), sent(rig.slack.requests())),
    ];
    let mut pages = vec![
        "dashboard",
        "api/tickets",
        "api/tickets.csv",
        "api/status",
        "health",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    for id in &tickets {
        pages.extend([
            format!("api/tickets/{id}"),
            format!("dashboard?ticket={id}"),
        ]);
    }
    for page in pages {
        let reply = rig.get(&page).await.unwrap();
        assert_eq!(reply.status, 200, "{page}");
        places.push((page, String::from_utf8_lossy(&reply.body).into_owned()));
    }
    let folder = rig.store.parent().unwrap();
    let name = rig
        .store
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with(&name) {
            let bytes = std::fs::read(file.path()).unwrap();
            places.push((
                "store".to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    rig.assert_wire_laws();
    rig.host.stop().await;
    // The last batch is sent at the end.
    places.push(("log at the end".to_owned(), rig.log()));
    places.push(("traces".to_owned(), sent(collector.requests())));
    places
}

fn assert_clean(places: &[(String, String)], planted: &Planted) {
    let mut leaks = Vec::new();
    for (place, text) in places {
        leaks.extend(
            planted
                .found(text)
                .into_iter()
                .map(|secret| format!("{secret} in {place}")),
        );
    }
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
    // What is searched holds what was reported.
    for wanted in ["log", "JIRA", "Slack", "traces", "api/tickets"] {
        let text = places.iter().find(|(place, _)| place == wanted);
        assert!(text.is_some_and(|(_, text)| text.len() > 1000), "{wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_found_anywhere() {
    let planted = Planted::new();
    let whole = planted.texts.join("\n");
    assert_eq!(
        planted.found(&whole).len(),
        planted.secrets.len(),
        "the search finds what is there"
    );
    let places = places(&Backend::Embedded, &planted).await;
    let store = places.iter().filter(|(place, _)| place == "store");
    assert!(
        store.clone().any(|(_, text)| text.contains("pl_sales")),
        "the store was looked into"
    );
    assert_clean(&places, &planted);
}

/// The same on a storage account: everything that is written to it passes a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_written_to_an_account() {
    let planted = Planted::new();
    let connection = support::azurite();
    let mut through = connection.clone();
    let mut proxies = Vec::new();
    for service in ["Table", "Queue"] {
        let name = format!("{service}Endpoint=");
        let endpoint = connection
            .split(';')
            .find_map(|part| part.strip_prefix(&name));
        let url: url::Url = endpoint.unwrap().parse().unwrap();
        let at = format!("127.0.0.1:{}", url.port().unwrap());
        let proxy = Proxy::start(&at).await;
        through = through.replace(&at, &format!("127.0.0.1:{}", proxy.port()));
        proxies.push(proxy);
    }
    let mut places = places(&Backend::Behind(through), &planted).await;
    for proxy in &proxies {
        let bodies = proxy.bodies().concat();
        let heads = proxy.requests().join("\n");
        assert!(bodies.len() > 1_000, "{} bytes", bodies.len());
        places.push((
            "account".to_owned(),
            heads + &String::from_utf8_lossy(&bodies),
        ));
    }
    assert_clean(&places, &planted);
}
