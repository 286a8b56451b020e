//! `retry-airflow-task` and `rerun-upstream`, run against Airflow 2 and 3.

use aiops_rca::diagnosis::Action;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::airflow::Api;
use simulators::logic_app::UntilLimit;

use super::support::fixture;
use super::world::{DAG_RUN, World, failed_task};

fn cleared(world: &World) -> Vec<Value> {
    world
        .airflow_server
        .requests_to("POST", "/clearTaskInstances")
        .iter()
        .map(simulators::Request::json)
        .collect()
}

#[tokio::test]
async fn a_failed_task_is_cleared_and_runs_again_on_both_versions() {
    for api in [Api::V1, Api::V2] {
        let world = World::with(api, UntilLimit::TimesOut).await;
        let story = world.heal(&failed_task(&world, None)).await;
        let mut wanted = fixture("airflow-api-v1-clear-request");
        wanted["dag_run_id"] = json!(DAG_RUN);
        assert_eq!(cleared(&world), [wanted], "{api:?}");
        assert_eq!(
            story.succeeded().remediation_run_id.as_deref(),
            Some(DAG_RUN)
        );
        assert_eq!(
            world.airflow.run_state("sales_etl", DAG_RUN).as_deref(),
            Some("success")
        );
        // The run's id holds ':' and '+': they travel encoded.
        assert!(world.airflow_server.requests().iter().any(|request| {
            request
                .path
                .contains("scheduled__2026-07-27T00%3A00%3A00%2B00%3A00")
        }));
    }
}

#[tokio::test]
async fn one_mapped_task_is_cleared_alone_where_the_api_can() {
    let world = World::with(Api::V2, UntilLimit::TimesOut).await;
    world
        .heal(&failed_task(&world, Some("3")))
        .await
        .succeeded();
    assert_eq!(cleared(&world)[0]["task_ids"], json!([["load_orders", 3]]));
    let world = World::with(Api::V1, UntilLimit::TimesOut).await;
    world
        .heal(&failed_task(&world, Some("3")))
        .await
        .succeeded();
    assert_eq!(cleared(&world)[0]["task_ids"], json!(["load_orders"]));
}

#[tokio::test]
async fn a_task_that_fails_again_or_hangs_is_told() {
    let world = World::new().await;
    world.airflow.script("load_orders", "upstream_failed");
    assert_eq!(
        world.heal(&failed_task(&world, None)).await.failed(),
        "The task ended as upstream_failed."
    );

    let world = World::new().await;
    world.airflow.script("load_orders", "deferred");
    assert_eq!(
        world.heal(&failed_task(&world, None)).await.failed(),
        "The task did not end within the time this playbook watches it."
    );
}

#[tokio::test]
async fn guards_and_refusals() {
    let world = World::new().await;
    let ticket = failed_task(&world, None);
    world.heal(&ticket).await.succeeded();
    let again = World::new().await;
    again.airflow.put_task(json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": "load_orders", "map_index": -1, "state": "success", "try_number": 3}));
    assert!(
        again
            .heal(&ticket)
            .await
            .failed()
            .contains("in the state success, not failed")
    );
    assert!(cleared(&again).is_empty());

    let world = World::new().await;
    let ticket = failed_task(&world, None);
    world.airflow_server.faults.next_on(
        "POST",
        "/clearTaskInstances",
        Fault::from_fixture(&fixture("airflow-http-v2-422")),
    );
    let story = world.heal(&ticket).await;
    assert!(
        story.failed().starts_with("The step Clear ended as Failed"),
        "{}",
        story.failed()
    );
    assert_eq!(cleared(&world).len(), 1);

    let world = World::new().await;
    let ticket = failed_task(&world, None);
    world
        .door
        .faults
        .next_on("GET", "/secrets/", Fault::status(403));
    assert!(
        world
            .heal(&ticket)
            .await
            .failed()
            .starts_with("The step Read_password ended as Failed")
    );
    assert!(world.airflow_server.requests().is_empty());
}

#[tokio::test]
async fn the_password_is_neither_in_the_history_nor_in_a_callback() {
    for api in [Api::V1, Api::V2] {
        let world = World::with(api, UntilLimit::TimesOut).await;
        let story = world.heal(&failed_task(&world, None)).await;
        assert!(
            !serde_json::to_string(&story.run)
                .unwrap()
                .contains("airflow-pass")
        );
        let told: Vec<u8> = world
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
    let world = World::new().await;
    let mut ticket = failed_task(&world, None);
    ticket.remediation.action = Action::CheckUpstream;
    world.heal(&ticket).await.succeeded();
    assert_eq!(
        cleared(&world),
        [
            json!({"dry_run": false, "task_ids": ["load_orders"], "dag_run_id": DAG_RUN, "only_failed": false,
        "include_upstream": true, "include_downstream": true, "reset_dag_runs": true})
        ]
    );
}
