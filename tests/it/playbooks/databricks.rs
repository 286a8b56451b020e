//! `retry-databricks-job`, `restart-cluster`, `reinstall-libraries`, run against a workspace.

use aiops_rca::diagnosis::Action;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use simulators::Fault;
use simulators::airflow::Api;
use simulators::databricks::Ending;
use simulators::logic_app::UntilLimit;

use super::support::fixture;
use super::world::{CLUSTER, JOB_RUN, World, failed_cluster, failed_job};

const JOB: &str = "516892700102118";

fn sent(world: &World, path: &str) -> Vec<Value> {
    world
        .databricks_server
        .requests_to("POST", path)
        .iter()
        .map(simulators::Request::json)
        .collect()
}

#[tokio::test]
async fn a_failed_run_is_repaired() {
    let world = World::new().await;
    let ticket = failed_job(&world);
    let story = world.heal(&ticket).await;
    assert_eq!(
        sent(&world, "/runs/repair"),
        [json!({"run_id": JOB_RUN, "rerun_all_failed_tasks": true})]
    );
    assert_eq!(
        story.succeeded().remediation_run_id.as_deref(),
        Some("998877665544332")
    );
    assert_eq!(
        world.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
        "SUCCESS"
    );
    assert_eq!(sent(&world, "/run-now").len(), 0);
}

#[tokio::test]
async fn the_second_repair_names_the_first() {
    let world = World::new().await;
    let ticket = failed_job(&world);
    world.databricks.script(
        JOB,
        Ending::badly(1, "RUN_EXECUTION_ERROR", "CLIENT_ERROR", "no luck"),
    );
    assert_eq!(
        world.heal(&ticket).await.failed(),
        "The run ended as FAILED. no luck"
    );
    let first = world.databricks.run(JOB_RUN).unwrap()["repair_history"][1]["id"].clone();
    world.heal(&ticket).await;
    assert_eq!(
        sent(&world, "/runs/repair")[1],
        json!({"run_id": JOB_RUN, "rerun_all_failed_tasks": true, "latest_repair_id": first})
    );
    assert_eq!(
        world.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
        "SUCCESS"
    );
}

#[tokio::test]
async fn what_cannot_be_repaired_is_run_anew_with_its_parameters_and_a_token() {
    for (parameters, wanted) in [
        (
            json!({"job_parameters": [{"name": "day", "default": "today", "value": "2026-07-27"}, {"name": "mode", "default": "full"}]}),
            json!({"job_parameters": {"day": "2026-07-27", "mode": "full"}}),
        ),
        (
            json!({"overriding_parameters": {"notebook_params": {"day": "2026-07-27"}}}),
            json!({"notebook_params": {"day": "2026-07-27"}}),
        ),
        (json!({}), json!({})),
    ] {
        let world = World::new().await;
        let mut run = fixture("dbx-runs-get-multitask-failed");
        run.as_object_mut()
            .unwrap()
            .extend(parameters.as_object().unwrap().clone());
        let ticket = failed_job(&world);
        world.databricks.put_run(run);
        let body = json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Repair is not supported for this run."});
        world.databricks_server.faults.next_on(
            "POST",
            "/runs/repair",
            Fault::Status {
                code: 400,
                headers: vec![("content-type".into(), "application/json".into())],
                body: body.to_string(),
            },
        );
        let story = world.heal(&ticket).await;
        let mut expected = json!({"job_id": 516_892_700_102_118_i64, "idempotency_token": format!("{}-a1", ticket.id)});
        expected
            .as_object_mut()
            .unwrap()
            .extend(wanted.as_object().unwrap().clone());
        assert_eq!(sent(&world, "/run-now"), [expected]);
        let new = story.succeeded().remediation_run_id.clone().unwrap();
        assert_ne!(new, "998877665544332");
        assert_eq!(
            world.databricks.run(new.parse().unwrap()).unwrap()["state"]["result_state"],
            "SUCCESS"
        );
    }
}

#[tokio::test]
async fn a_repair_with_an_unknown_outcome_is_watched_not_repeated() {
    for fault in [Fault::AcceptThenDrop, Fault::status(502)] {
        let happened = fault == Fault::AcceptThenDrop;
        let world = World::new().await;
        let ticket = failed_job(&world);
        world
            .databricks_server
            .faults
            .next_on("POST", "/runs/repair", fault);
        let story = world.heal(&ticket).await;
        if happened {
            story.succeeded();
        } else {
            assert!(
                story.failed().starts_with("The run ended as FAILED"),
                "{}",
                story.failed()
            );
        }
        assert_eq!(
            (
                sent(&world, "/runs/repair").len(),
                sent(&world, "/run-now").len()
            ),
            (1, 0)
        );
    }
}

#[tokio::test]
async fn a_forbidden_repair_is_told() {
    let world = World::new().await;
    let ticket = failed_job(&world);
    world.databricks_server.faults.next_on(
        "POST",
        "/runs/repair",
        Fault::from_fixture(&fixture("dbx-http-403")),
    );
    let story = world.heal(&ticket).await;
    assert!(
        story.failed().starts_with("Databricks refused the repair"),
        "{}",
        story.failed()
    );
    assert_eq!(sent(&world, "/run-now").len(), 0);
}

#[tokio::test]
async fn a_run_that_somebody_else_repaired_meanwhile_is_not_run_a_second_time() {
    let mismatch = json!({"status": 400, "headers": {"content-type": "application/json"}, "body": {"error_code": "INVALID_PARAMETER_VALUE",
        "message": "The latest_repair_id provided does not match the latest repair of the run."}});
    let mut active = fixture("dbx-http-invalid-state");
    active["headers"] = json!({"content-type": "application/json"});
    for refusal in [mismatch, active] {
        let world = World::new().await;
        let ticket = failed_job(&world);
        world.databricks_server.faults.next_on(
            "POST",
            "/runs/repair",
            Fault::from_fixture(&refusal),
        );
        assert!(
            world
                .heal(&ticket)
                .await
                .failed()
                .starts_with("Databricks refused the repair")
        );
        assert_eq!(sent(&world, "/run-now").len(), 0);
    }
}

#[tokio::test]
async fn cancelled_hanging_and_throttled_runs() {
    let world = World::new().await;
    world.databricks.script(
        JOB,
        Ending::badly(2, "USER_CANCELED", "SUCCESS", "Run cancelled"),
    );
    let story = world.heal(&failed_job(&world)).await;
    assert_eq!(story.failed(), "The run ended as CANCELED. Run cancelled");

    let world = World::with(Api::V2, UntilLimit::Succeeds).await;
    world.databricks.script(JOB, Ending::well(100_000));
    assert_eq!(
        world.heal(&failed_job(&world)).await.failed(),
        "The run did not end within the time this playbook watches it."
    );

    let world = World::new().await;
    world.databricks_server.faults.next_on(
        "GET",
        "/runs/get",
        Fault::from_fixture(&fixture("dbx-http-429")),
    );
    world.heal(&failed_job(&world)).await.succeeded();
}

#[tokio::test]
async fn guards_keep_a_job_from_running_twice() {
    let world = World::new().await;
    let ticket = failed_job(&world);
    let mut active = fixture("dbx-runs-get-multitask-failed");
    (active["run_id"], active["state"]) = (json!(77), json!({"life_cycle_state": "RUNNING"}));
    world.databricks.put_run(active);
    assert!(
        world
            .heal(&ticket)
            .await
            .failed()
            .contains("already running (run 77)")
    );

    let world = World::new().await;
    let mut ticket = failed_job(&world);
    ticket.failure.context.insert("job_id".into(), "1".into());
    assert!(
        world
            .heal(&ticket)
            .await
            .failed()
            .contains("belongs to another job")
    );

    let world = World::new().await;
    let ticket = failed_job(&world);
    let mut healed = fixture("dbx-runs-get-multitask-failed");
    healed["state"] = json!({"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"});
    world.databricks.put_run(healed);
    assert!(
        world
            .heal(&ticket)
            .await
            .failed()
            .contains("succeeded meanwhile")
    );
    assert_eq!(sent(&world, "/runs/repair").len(), 0);
}

#[tokio::test]
async fn a_running_cluster_is_restarted_and_a_terminated_one_started() {
    for (state, call, other) in [
        ("RUNNING", "/clusters/restart", "/clusters/start"),
        ("TERMINATED", "/clusters/start", "/clusters/restart"),
    ] {
        let world = World::new().await;
        world.databricks.script(CLUSTER, Ending::well(3));
        let story = world
            .heal(&failed_cluster(&world, state, Action::RestartCluster))
            .await;
        assert_eq!(story.succeeded().remediation_run_id, None);
        assert_eq!(
            (sent(&world, call), sent(&world, other).len()),
            (vec![json!({"cluster_id": CLUSTER})], 0),
            "{state}"
        );
        assert_eq!(
            world.databricks.cluster(CLUSTER).unwrap()["state"],
            "RUNNING"
        );
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_come_up_is_a_failure() {
    let world = World::new().await;
    world.databricks.script(
        CLUSTER,
        Ending::badly(
            2,
            "CLOUD_PROVIDER_RESOURCE_STOCKOUT",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    let story = world
        .heal(&failed_cluster(
            &world,
            "TERMINATED",
            Action::RestartCluster,
        ))
        .await;
    assert_eq!(
        story.failed(),
        "The cluster did not come up; its state is TERMINATED."
    );

    let world = World::new().await;
    world.databricks.script(CLUSTER, Ending::well(100_000));
    let story = world
        .heal(&failed_cluster(&world, "RUNNING", Action::RestartCluster))
        .await;
    assert!(
        story.failed().contains("its state is RESTARTING"),
        "{}",
        story.failed()
    );

    let world = World::new().await;
    world.databricks_server.faults.next_on(
        "POST",
        "/clusters/start",
        Fault::from_fixture(&fixture("dbx-http-invalid-state")),
    );
    let story = world
        .heal(&failed_cluster(
            &world,
            "TERMINATED",
            Action::RestartCluster,
        ))
        .await;
    assert!(
        story.failed().contains("did not come up"),
        "{}",
        story.failed()
    );
}

#[tokio::test]
async fn a_restart_whose_answer_was_lost_is_watched_not_repeated() {
    let world = World::new().await;
    world
        .databricks_server
        .faults
        .next_on("POST", "/clusters/start", Fault::AcceptThenDrop);
    world
        .heal(&failed_cluster(
            &world,
            "TERMINATED",
            Action::RestartCluster,
        ))
        .await
        .succeeded();
    assert_eq!(sent(&world, "/clusters/start").len(), 1);
}

#[tokio::test]
async fn job_clusters_and_broken_ones_are_left_alone() {
    let world = World::new().await;
    let ticket = failed_cluster(&world, "TERMINATED", Action::RestartCluster);
    let mut cluster = fixture("dbx-clusters-get-driver");
    cluster["cluster_source"] = json!("JOB");
    world.databricks.put_cluster(cluster);
    assert!(world.heal(&ticket).await.failed().contains("job cluster"));
    assert_eq!(
        world
            .databricks_server
            .requests_to("POST", "/clusters/")
            .len(),
        0
    );

    let world = World::new().await;
    let story = world
        .heal(&failed_cluster(&world, "ERROR", Action::RestartCluster))
        .await;
    assert!(
        story
            .failed()
            .contains("can be neither restarted nor started"),
        "{}",
        story.failed()
    );
}

async fn change_node_type(world: &World, node_type: &str) {
    let body = json!({"ticket_id": "DBX-20260727T091531-3f2a1c", "attempt_id": "a1", "attempt_number": 1, "cluster_id": CLUSTER, "node_type_id": node_type,
        "callback_url": "https://rca.example.com/remediation-callback?token=t", "requested_at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)});
    let http = aiops_rca::http::Http::new(None).unwrap();
    let url = world.playbooks.url("restart-cluster").unwrap();
    http.send("it", http.request(reqwest::Method::POST, &url).json(&body))
        .await
        .unwrap();
    world.playbooks.settled().await;
}

#[tokio::test]
async fn another_node_type_is_taken_only_when_it_is_allowed() {
    for state in ["TERMINATED", "RUNNING"] {
        let world = World::new().await;
        failed_cluster(&world, state, Action::RestartCluster);
        change_node_type(&world, "Standard_D8ds_v5").await;
        let cluster = world.databricks.cluster(CLUSTER).unwrap();
        assert_eq!(
            (
                &cluster["node_type_id"],
                &cluster["spark_version"],
                &cluster["state"]
            ),
            (
                &json!("Standard_D8ds_v5"),
                &json!("15.4.x-scala2.12"),
                &json!("RUNNING")
            )
        );
        assert_eq!(
            world.callbacks()[0].outcome,
            aiops_rca::sinks::playbook::callback::Outcome::Success
        );
    }
    let world = World::new().await;
    failed_cluster(&world, "TERMINATED", Action::RestartCluster);
    change_node_type(&world, "Standard_ND96").await;
    assert_eq!(
        world.databricks.cluster(CLUSTER).unwrap()["state"],
        "TERMINATED"
    );
    assert!(
        matches!(&world.callbacks()[0].outcome, aiops_rca::sinks::playbook::callback::Outcome::Failed(why) if why.contains("not one of those allowed"))
    );
}

fn libraries(world: &World) {
    world.databricks.put_libraries(
        CLUSTER,
        fixture("dbx-libraries-cluster-status")["library_statuses"]
            .as_array()
            .unwrap(),
    );
}

#[tokio::test]
async fn failed_libraries_are_taken_away_and_installed_anew() {
    for state in ["RUNNING", "TERMINATED"] {
        let world = World::new().await;
        let ticket = failed_cluster(&world, state, Action::ReinstallLibraries);
        libraries(&world);
        world.heal(&ticket).await.succeeded();
        let failed = json!([{"pypi": {"package": "pandas==99.0"}}]);
        let wanted = json!({"cluster_id": CLUSTER, "libraries": failed});
        assert_eq!(
            sent(&world, "/libraries/uninstall"),
            std::slice::from_ref(&wanted)
        );
        assert_eq!(sent(&world, "/libraries/install"), [wanted]);
        let order: Vec<String> = world
            .databricks_server
            .requests()
            .into_iter()
            .filter(|r| r.method == "POST")
            .map(|r| r.path)
            .collect();
        let restart = if state == "RUNNING" {
            "/api/2.1/clusters/restart"
        } else {
            "/api/2.1/clusters/start"
        };
        assert_eq!(
            order,
            [
                "/api/2.0/libraries/uninstall",
                restart,
                "/api/2.0/libraries/install"
            ]
        );
        assert!(
            world
                .databricks
                .libraries(CLUSTER)
                .iter()
                .all(|library| library["status"] == "INSTALLED")
        );
    }
}

#[tokio::test]
async fn a_library_that_fails_again_is_named() {
    let world = World::new().await;
    let ticket = failed_cluster(&world, "RUNNING", Action::ReinstallLibraries);
    libraries(&world);
    world.databricks.break_library(
        &json!({"pypi": {"package": "pandas==99.0"}}),
        "No matching distribution found",
    );
    let story = world.heal(&ticket).await;
    assert!(
        story.failed().contains("pandas==99.0")
            && story.failed().contains("No matching distribution"),
        "{}",
        story.failed()
    );
}

#[tokio::test]
async fn when_the_cluster_does_not_come_up_the_libraries_are_put_back() {
    let world = World::new().await;
    let ticket = failed_cluster(&world, "RUNNING", Action::ReinstallLibraries);
    libraries(&world);
    world.databricks.script(
        CLUSTER,
        Ending::badly(
            1,
            "CLOUD_PROVIDER_LAUNCH_FAILURE",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    let story = world.heal(&ticket).await;
    assert!(
        story.failed().contains("did not come up"),
        "{}",
        story.failed()
    );
    assert_eq!(world.databricks.libraries(CLUSTER).len(), 2);
    assert!(
        world
            .databricks
            .libraries(CLUSTER)
            .iter()
            .all(|library| library["status"] != "UNINSTALL_ON_RESTART")
    );
}

#[tokio::test]
async fn a_cluster_without_failed_libraries_is_left_alone() {
    let world = World::new().await;
    let ticket = failed_cluster(&world, "RUNNING", Action::ReinstallLibraries);
    assert!(
        world
            .heal(&ticket)
            .await
            .failed()
            .contains("No library of this cluster is in the state FAILED")
    );
    assert_eq!(world.databricks_server.requests_to("POST", "/").len(), 0);
}

/// A job run that failed on an all-purpose cluster.
fn job_on_cluster(world: &World, action: Action) -> aiops_rca::ticket::Ticket {
    failed_cluster(world, "TERMINATED", action);
    let mut ticket = failed_job(world);
    ticket.remediation.action = action;
    ticket
        .failure
        .context
        .insert("cluster_id".into(), CLUSTER.into());
    ticket
}

#[tokio::test]
async fn a_job_that_failed_on_the_cluster_is_repaired_once_the_cluster_is_well() {
    for action in [Action::RestartCluster, Action::ReinstallLibraries] {
        let world = World::new().await;
        let ticket = job_on_cluster(&world, action);
        libraries(&world);
        let story = world.heal(&ticket).await;
        assert_eq!(
            story.succeeded().remediation_run_id.as_deref(),
            Some("998877665544332")
        );
        assert_eq!(
            world.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
            "SUCCESS"
        );
        assert_eq!(
            (
                sent(&world, "/clusters/start").len(),
                sent(&world, "/runs/repair").len()
            ),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn the_cluster_alone_is_not_called_a_success_when_its_job_fails_again() {
    let world = World::new().await;
    let ticket = job_on_cluster(&world, Action::RestartCluster);
    world.databricks.script(
        JOB,
        Ending::badly(1, "RUN_EXECUTION_ERROR", "CLIENT_ERROR", "still no luck"),
    );
    assert_eq!(
        world.heal(&ticket).await.failed(),
        "The run ended as FAILED. still no luck"
    );

    let world = World::new().await;
    let ticket = job_on_cluster(&world, Action::RestartCluster);
    world.databricks.script(
        CLUSTER,
        Ending::badly(
            1,
            "CLOUD_PROVIDER_LAUNCH_FAILURE",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    assert!(
        world
            .heal(&ticket)
            .await
            .failed()
            .contains("did not come up")
    );
    assert_eq!(sent(&world, "/runs/repair").len(), 0);
}
