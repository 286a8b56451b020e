//! `retry-airflow-task` and `rerun-upstream`, run against Airflow 2 and 3.

use aiops_rca::diagnosis::Action;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::airflow::Api;
use simulators::logic_app::UntilLimit;

use super::rig::{DAG_RUN, Rig, failed_task};
use super::support::fixture;

fn cleared(rig: &Rig) -> Vec<Value> {
    rig.airflow_server
        .requests_to("POST", "/clearTaskInstances")
        .iter()
        .map(simulators::Request::json)
        .collect()
}

#[tokio::test]
async fn a_failed_task_is_cleared_and_runs_again_on_both_versions() {
    for api in [Api::V1, Api::V2] {
        let rig = Rig::with(api, UntilLimit::TimesOut).await;
        let story = rig.heal(&failed_task(&rig, None)).await;
        let mut wanted = fixture("airflow-api-v1-clear-request");
        wanted["dag_run_id"] = json!(DAG_RUN);
        assert_eq!(cleared(&rig), [wanted], "{api:?}");
        assert_eq!(
            story.succeeded().remediation_run_id.as_deref(),
            Some(DAG_RUN)
        );
        assert_eq!(
            rig.airflow.run_state("sales_etl", DAG_RUN).as_deref(),
            Some("success")
        );
        // The run's id holds ':' and '+': they travel encoded.
        assert!(rig.airflow_server.requests().iter().any(|request| {
            request
                .path
                .contains("scheduled__2026-07-27T00%3A00%3A00%2B00%3A00")
        }));
    }
}

#[tokio::test]
async fn one_mapped_task_is_cleared_alone_where_the_api_can() {
    let rig = Rig::with(Api::V2, UntilLimit::TimesOut).await;
    rig.heal(&failed_task(&rig, Some("3"))).await.succeeded();
    assert_eq!(cleared(&rig)[0]["task_ids"], json!([["load_orders", 3]]));
    let rig = Rig::with(Api::V1, UntilLimit::TimesOut).await;
    rig.heal(&failed_task(&rig, Some("3"))).await.succeeded();
    assert_eq!(cleared(&rig)[0]["task_ids"], json!(["load_orders"]));
}

#[tokio::test]
async fn a_task_that_fails_again_or_hangs_is_told() {
    let rig = Rig::new().await;
    rig.airflow.script("load_orders", "upstream_failed");
    assert_eq!(
        rig.heal(&failed_task(&rig, None)).await.failed(),
        "The task ended as upstream_failed."
    );

    let rig = Rig::new().await;
    rig.airflow.script("load_orders", "deferred");
    assert_eq!(
        rig.heal(&failed_task(&rig, None)).await.failed(),
        "The task did not end within the time this playbook watches it."
    );
}

#[tokio::test]
async fn guards_and_refusals() {
    let rig = Rig::new().await;
    let ticket = failed_task(&rig, None);
    rig.heal(&ticket).await.succeeded();
    let again = Rig::new().await;
    again.airflow.put_task(json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": "load_orders", "map_index": -1, "state": "success", "try_number": 3}));
    assert!(
        again
            .heal(&ticket)
            .await
            .failed()
            .contains("in the state success, not failed")
    );
    assert!(cleared(&again).is_empty());

    let rig = Rig::new().await;
    let ticket = failed_task(&rig, None);
    rig.airflow_server.faults.next_on(
        "POST",
        "/clearTaskInstances",
        Fault::from_fixture(&fixture("airflow-http-v2-422")),
    );
    let story = rig.heal(&ticket).await;
    assert!(
        story.failed().starts_with("The step Clear ended as Failed"),
        "{}",
        story.failed()
    );
    assert_eq!(cleared(&rig).len(), 1);

    let rig = Rig::new().await;
    let ticket = failed_task(&rig, None);
    rig.door
        .faults
        .next_on("GET", "/secrets/", Fault::status(403));
    assert!(
        rig.heal(&ticket)
            .await
            .failed()
            .starts_with("The step Read_password ended as Failed")
    );
    assert!(rig.airflow_server.requests().is_empty());
}

#[tokio::test]
async fn the_password_is_neither_in_the_history_nor_in_a_callback() {
    for api in [Api::V1, Api::V2] {
        let rig = Rig::with(api, UntilLimit::TimesOut).await;
        let story = rig.heal(&failed_task(&rig, None)).await;
        assert!(
            !serde_json::to_string(&story.run)
                .unwrap()
                .contains("airflow-pass")
        );
        let told: Vec<u8> = rig
            .door
            .requests()
            .into_iter()
            .flat_map(|request| request.body)
            .collect();
        assert!(!String::from_utf8(told).unwrap().contains("airflow-pass"));
    }
}

#[tokio::test]
async fn upstream_tasks_are_cleared_with_the_task() {
    let rig = Rig::new().await;
    let mut ticket = failed_task(&rig, None);
    ticket.remediation.action = Action::CheckUpstream;
    rig.heal(&ticket).await.succeeded();
    assert_eq!(
        cleared(&rig),
        [
            json!({"dry_run": false, "task_ids": ["load_orders"], "dag_run_id": DAG_RUN, "only_failed": false,
        "include_upstream": true, "include_downstream": true, "reset_dag_runs": true})
        ]
    );
}

#[tokio::test]
async fn a_request_for_another_deployment_is_refused() {
    for (scope, ours) in [
        ("airflow.example.com", true),
        ("Airflow.example.com", true),
        ("airflow.example.org", false),
    ] {
        for playbook in ["retry-airflow-task", "rerun-upstream"] {
            let rig = Rig::new().await;
            let ticket = failed_task(&rig, None);
            let mut attempt = super::support::attempt(&ticket);
            attempt.called_at = Some(chrono::Utc::now());
            let callback = "https://rca.example.com/remediation-callback?x"
                .parse()
                .unwrap();
            let mut body = aiops_rca::sinks::playbook::request_body(&ticket, &attempt, &callback);
            body["scope"] = serde_json::json!(scope);
            rig.trigger(playbook, &body).await;
            let refused = format!("{:?}", rig.callbacks()).contains("belongs to another place");
            assert_eq!(refused, !ours, "{playbook}: {scope}");
        }
    }
}
