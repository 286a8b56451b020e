//! The first failure, all the way: exactly once through crashes, refusals and lost answers.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use simulators::Fault;

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};
use crate::support::{
    self,
    proxy::{Fate, Proxy},
};

fn three() -> Vec<serde_json::Value> {
    vec![
        row("pl_ingest_sales", &run(1), "2200", BLOB_MISSING),
        row(
            "pl_load_dwh",
            &run(2),
            "GatewayTimeout",
            "The gateway did not answer in time.",
        ),
        row(
            "pl_notify",
            &run(3),
            "2108",
            "Error calling the endpoint 'https://hooks.example.com'. Response status code: 'NotFound'.",
        ),
    ]
}

async fn three_runs_in_two_alerts(backend: Backend) {
    let rig = Rig::build(&backend, &[]).await;
    let first = rig.deliver("azure-monitor", &alert("a1", &three())).await;
    let second = rig
        .deliver("azure-monitor", &alert("a2", &three()[..1]))
        .await;
    assert_eq!(first["status"], "accepted");
    assert_eq!(second["status"], "duplicate");
    assert_eq!(second["ticket_id"], first["tickets"][0]["ticket_id"]);
    let ids = ids(&first);
    assert_eq!(ids.len(), 3);
    rig.until_shown(&ids, Duration::from_secs(30)).await;

    let issues = rig.issues();
    assert_eq!(issues.len(), 3);
    assert_eq!(rig.messages().len(), 3);
    let labels: BTreeSet<String> = issues
        .iter()
        .flat_map(|issue| issue.labels.clone())
        .filter(|label| label.starts_with("rca-"))
        .collect();
    assert_eq!(labels, ids.iter().map(|id| format!("rca-{id}")).collect());
    let sales = issues
        .iter()
        .find(|issue| issue.summary == "ADF Pipeline Failure: pl_ingest_sales")
        .unwrap();
    let text = sales.description_text();
    for line in [
        "Ticket ID: ",
        "Pipeline: pl_ingest_sales",
        "Severity: Medium",
        "Priority: P3",
        "SLA: 2 hours",
        "Root Cause Analysis:",
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    let shown = serde_json::to_string(&rig.messages()[0].blocks).unwrap();
    assert!(shown.contains("🔴 ALERT: "), "{shown}");
    assert!(
        rig.messages()
            .iter()
            .all(|m| serde_json::to_string(&m.blocks)
                .unwrap()
                .contains("APAIOPS-")),
        "keys have arrived in Slack"
    );

    // A person closes one through the API: JIRA and Slack follow.
    let closed = rig
        .post(
            &format!("api/tickets/{}/acknowledge", ids[0]),
            r#"{"by":"Jane Roe"}"#,
        )
        .await
        .unwrap();
    assert_eq!(closed.status, 200);
    rig.until_shown(&ids, Duration::from_secs(20)).await;
    rig.until(
        "the issue is done",
        Duration::from_secs(10),
        async |rig: &Rig| {
            rig.issues().iter().any(|issue| {
                issue.labels.contains(&format!("rca-{}", ids[0])) && issue.status == "Done"
            })
        },
    )
    .await;
    let messages =
        serde_json::to_string(&rig.messages().iter().map(|m| &m.blocks).collect::<Vec<_>>())
            .unwrap();
    assert!(messages.contains("Closed by Jane Roe on "), "{messages}");
    rig.assert_wire_laws();
    rig.jira.assert_drained();
    rig.slack.assert_drained();
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_runs_reported_in_two_alerts_are_three_of_everything_on_the_embedded_store() {
    three_runs_in_two_alerts(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_runs_reported_in_two_alerts_are_three_of_everything_on_azurite() {
    three_runs_in_two_alerts(Backend::azurite()).await;
}

/// SIGKILL at random points of the story; the seed is printed on failure by its place in the name of the alert.
async fn killed_twenty_times(backend: Backend, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let rig = Rig::build(&backend, &[]).await;
    let mut wanted = BTreeSet::new();
    for round in 0..20_u32 {
        let rows = [row("pl_a", &run(100 + round), "2200", BLOB_MISSING)];
        let kill = async {
            tokio::time::sleep(Duration::from_millis(dice.u64(0..250))).await;
            rig.host.kill_child();
        };
        let (answer, ()) = tokio::join!(
            async {
                rig.deliver("azure-monitor", &alert(&format!("s{seed}-{round}"), &rows))
                    .await
            },
            kill
        );
        wanted.insert(ids(&answer)[0].clone());
        assert!(
            rig.host.ready(Duration::from_secs(20)).await,
            "round {round} of seed {seed}"
        );
    }
    let wanted: Vec<String> = wanted.into_iter().collect();
    assert_eq!(wanted.len(), 20, "seed {seed}");
    rig.until_shown(&wanted, Duration::from_secs(120)).await;
    let mut labels: Vec<String> = rig
        .issues()
        .iter()
        .flat_map(|issue| issue.labels.clone())
        .filter(|label| label.starts_with("rca-"))
        .collect();
    labels.sort();
    assert_eq!(
        labels,
        wanted
            .iter()
            .map(|id| format!("rca-{id}"))
            .collect::<Vec<_>>(),
        "one issue per ticket, seed {seed}"
    );
    assert_eq!(
        rig.messages().len(),
        20,
        "one message per ticket, seed {seed}"
    );
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_and_double_nothing_on_the_embedded_store() {
    killed_twenty_times(Backend::Embedded, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_and_double_nothing_on_azurite() {
    killed_twenty_times(Backend::azurite(), 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jira_in_trouble_gets_one_issue_and_does_not_hold_up_slack() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let again = Fault::Status {
        code: 429,
        headers: vec![("Retry-After".to_owned(), "2".to_owned())],
        body: String::new(),
    };
    rig.jira
        .faults()
        .next_on("POST", "/rest/api/3/issue", again);
    rig.jira
        .faults()
        .next_on("POST", "/rest/api/3/issue", Fault::status(500));
    rig.jira
        .faults()
        .next_on("POST", "/rest/api/3/issue", Fault::AcceptThenDrop);
    let answer = rig
        .deliver("azure-monitor", &alert("t1", &three()[..1]))
        .await;
    rig.until(
        "Slack shows it while JIRA is in trouble",
        Duration::from_secs(10),
        async |rig: &Rig| rig.messages().len() == 1,
    )
    .await;
    assert!(!rig.jira.faults().is_drained(), "Slack was first");
    rig.until_shown(&ids(&answer), Duration::from_secs(90))
        .await;
    assert_eq!(rig.issues().len(), 1);
    rig.jira.assert_drained();
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_is_answered_503_and_the_next_try_succeeds() {
    let connection = support::azurite();
    let part = |name: &str| {
        let value = connection
            .split(';')
            .find_map(|part| part.strip_prefix(&format!("{name}=")))
            .unwrap()
            .to_owned();
        url::Url::parse(&value).unwrap()
    };
    let (tables, queues) = (part("TableEndpoint"), part("QueueEndpoint"));
    let table_proxy = Proxy::start(&format!("127.0.0.1:{}", tables.port().unwrap())).await;
    let queue_proxy = Proxy::start(&format!("127.0.0.1:{}", queues.port().unwrap())).await;
    let through = connection
        .replace(
            &format!(":{}", tables.port().unwrap()),
            &format!(":{}", table_proxy.port()),
        )
        .replace(
            &format!(":{}", queues.port().unwrap()),
            &format!(":{}", queue_proxy.port()),
        );
    let rig = Rig::build(&Backend::Behind(through), &[]).await;
    table_proxy.always(Fate::Hang);
    let body = alert("d1", &three()[..1]);
    let refused = rig.post("azure-monitor", body.to_string()).await;
    // The answer may not come at all: the sender's own timeout counts as one it tries again.
    assert!(
        refused
            .is_none_or(|reply| reply.status == 503 && reply.headers.contains_key("retry-after"))
    );
    table_proxy.always(Fate::Pass);
    let answer = rig.deliver("azure-monitor", &body).await;
    rig.until_shown(&ids(&answer), Duration::from_secs(60))
        .await;
    assert_eq!((rig.issues().len(), rig.messages().len()), (1, 1));
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_guides_airflow_callback_gets_its_ticket_id() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let body = json!({"dag_id": "test_rca_integration", "task_id": "test_failure", "execution_date": "2026-07-27T00:00:00+00:00",
        "run_id": "manual__2026-07-27", "state": "failed", "try_number": 1, "max_tries": 0,
        "exception": "Test error for RCA integration", "log_url": "http://airflow/log", "operator": "PythonOperator"});
    let answer = rig.deliver("airflow-monitor", &body).await;
    let id = answer["ticket_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ARF-"), "{id}");
    rig.until_shown(&[id], Duration::from_secs(20)).await;
    assert_eq!(
        rig.issues()[0].summary,
        "Airflow Task Failure: test_rca_integration.test_failure"
    );
    rig.host.stop().await;
}
