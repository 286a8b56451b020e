//! `retry-databricks-job`, `restart-cluster`, `reinstall-libraries`, run against a workspace.

use aiops_rca::diagnosis::Action;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use simulators::Fault;
use simulators::airflow::Api;
use simulators::databricks::Ending;
use simulators::logic_app::UntilLimit;

use super::rig::{CLUSTER, JOB_RUN, Rig, failed_cluster, failed_job};
use super::support::fixture;

const JOB: &str = "516892700102118";

fn sent(rig: &Rig, path: &str) -> Vec<Value> {
    rig.databricks_server
        .requests_to("POST", path)
        .iter()
        .map(simulators::Request::json)
        .collect()
}

#[tokio::test]
async fn a_failed_run_is_repaired() {
    let rig = Rig::new().await;
    let ticket = failed_job(&rig);
    let story = rig.heal(&ticket).await;
    assert_eq!(
        sent(&rig, "/runs/repair"),
        [json!({"run_id": JOB_RUN, "rerun_all_failed_tasks": true})]
    );
    assert_eq!(
        story.succeeded().remediation_run_id.as_deref(),
        Some("998877665544332")
    );
    assert_eq!(
        rig.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
        "SUCCESS"
    );
    assert_eq!(sent(&rig, "/run-now").len(), 0);
}

#[tokio::test]
async fn the_second_repair_names_the_first() {
    let rig = Rig::new().await;
    let ticket = failed_job(&rig);
    rig.databricks.script(
        JOB,
        Ending::badly(1, "RUN_EXECUTION_ERROR", "CLIENT_ERROR", "no luck"),
    );
    assert_eq!(
        rig.heal(&ticket).await.failed(),
        "The run ended as FAILED. no luck"
    );
    let first = rig.databricks.run(JOB_RUN).unwrap()["repair_history"][1]["id"].clone();
    rig.heal(&ticket).await;
    assert_eq!(
        sent(&rig, "/runs/repair")[1],
        json!({"run_id": JOB_RUN, "rerun_all_failed_tasks": true, "latest_repair_id": first})
    );
    assert_eq!(
        rig.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
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
        let rig = Rig::new().await;
        let mut run = fixture("dbx-runs-get-multitask-failed");
        run.as_object_mut()
            .unwrap()
            .extend(parameters.as_object().unwrap().clone());
        let ticket = failed_job(&rig);
        rig.databricks.put_run(run);
        let body = json!({"error_code": "INVALID_PARAMETER_VALUE", "message": "Repair is not supported for this run."});
        rig.databricks_server.faults.next_on(
            "POST",
            "/runs/repair",
            Fault::Status {
                code: 400,
                headers: vec![("content-type".into(), "application/json".into())],
                body: body.to_string(),
            },
        );
        let story = rig.heal(&ticket).await;
        let mut expected = json!({"job_id": 516_892_700_102_118_i64, "idempotency_token": format!("{}-a1", ticket.id)});
        expected
            .as_object_mut()
            .unwrap()
            .extend(wanted.as_object().unwrap().clone());
        assert_eq!(sent(&rig, "/run-now"), [expected]);
        let new = story.succeeded().remediation_run_id.clone().unwrap();
        assert_ne!(new, "998877665544332");
        assert_eq!(
            rig.databricks.run(new.parse().unwrap()).unwrap()["state"]["result_state"],
            "SUCCESS"
        );
    }
}

#[tokio::test]
async fn a_repair_with_an_unknown_outcome_is_watched_not_repeated() {
    for fault in [Fault::AcceptThenDrop, Fault::status(502)] {
        let happened = fault == Fault::AcceptThenDrop;
        let rig = Rig::new().await;
        let ticket = failed_job(&rig);
        rig.databricks_server
            .faults
            .next_on("POST", "/runs/repair", fault);
        let story = rig.heal(&ticket).await;
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
                sent(&rig, "/runs/repair").len(),
                sent(&rig, "/run-now").len()
            ),
            (1, 0)
        );
    }
}

#[tokio::test]
async fn a_forbidden_repair_is_told() {
    let rig = Rig::new().await;
    let ticket = failed_job(&rig);
    rig.databricks_server.faults.next_on(
        "POST",
        "/runs/repair",
        Fault::from_fixture(&fixture("dbx-http-403")),
    );
    let story = rig.heal(&ticket).await;
    assert!(
        story.failed().starts_with("Databricks refused the repair"),
        "{}",
        story.failed()
    );
    assert_eq!(sent(&rig, "/run-now").len(), 0);
}

#[tokio::test]
async fn a_run_that_somebody_else_repaired_meanwhile_is_not_run_a_second_time() {
    let mismatch = json!({"status": 400, "headers": {"content-type": "application/json"}, "body": {"error_code": "INVALID_PARAMETER_VALUE",
        "message": "The latest_repair_id provided does not match the latest repair of the run."}});
    let mut active = fixture("dbx-http-invalid-state");
    active["headers"] = json!({"content-type": "application/json"});
    for refusal in [mismatch, active] {
        let rig = Rig::new().await;
        let ticket = failed_job(&rig);
        rig.databricks_server
            .faults
            .next_on("POST", "/runs/repair", Fault::from_fixture(&refusal));
        assert!(
            rig.heal(&ticket)
                .await
                .failed()
                .starts_with("Databricks refused the repair")
        );
        assert_eq!(sent(&rig, "/run-now").len(), 0);
    }
}

#[tokio::test]
async fn cancelled_hanging_and_throttled_runs() {
    let rig = Rig::new().await;
    rig.databricks.script(
        JOB,
        Ending::badly(2, "USER_CANCELED", "SUCCESS", "Run cancelled"),
    );
    let story = rig.heal(&failed_job(&rig)).await;
    assert_eq!(story.failed(), "The run ended as CANCELED. Run cancelled");

    let rig = Rig::with(Api::V2, UntilLimit::Succeeds).await;
    rig.databricks.script(JOB, Ending::well(100_000));
    assert_eq!(
        rig.heal(&failed_job(&rig)).await.failed(),
        "The run did not end within the time this playbook watches it."
    );

    let rig = Rig::new().await;
    rig.databricks_server.faults.next_on(
        "GET",
        "/runs/get",
        Fault::from_fixture(&fixture("dbx-http-429")),
    );
    rig.heal(&failed_job(&rig)).await.succeeded();
}

#[tokio::test]
async fn guards_keep_a_job_from_running_twice() {
    let rig = Rig::new().await;
    let ticket = failed_job(&rig);
    let mut active = fixture("dbx-runs-get-multitask-failed");
    (active["run_id"], active["state"]) = (json!(77), json!({"life_cycle_state": "RUNNING"}));
    rig.databricks.put_run(active);
    assert!(
        rig.heal(&ticket)
            .await
            .failed()
            .contains("already running (run 77)")
    );

    let rig = Rig::new().await;
    let mut ticket = failed_job(&rig);
    ticket.failure.context.insert("job_id".into(), "1".into());
    assert!(
        rig.heal(&ticket)
            .await
            .failed()
            .contains("belongs to another job")
    );

    let rig = Rig::new().await;
    let ticket = failed_job(&rig);
    let mut healed = fixture("dbx-runs-get-multitask-failed");
    healed["state"] = json!({"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"});
    rig.databricks.put_run(healed);
    assert!(
        rig.heal(&ticket)
            .await
            .failed()
            .contains("succeeded meanwhile")
    );
    assert_eq!(sent(&rig, "/runs/repair").len(), 0);
}

#[tokio::test]
async fn a_running_cluster_is_restarted_and_a_terminated_one_started() {
    for (state, call, other) in [
        ("RUNNING", "/clusters/restart", "/clusters/start"),
        ("TERMINATED", "/clusters/start", "/clusters/restart"),
    ] {
        let rig = Rig::new().await;
        rig.databricks.script(CLUSTER, Ending::well(3));
        let story = rig
            .heal(&failed_cluster(&rig, state, Action::RestartCluster))
            .await;
        assert_eq!(story.succeeded().remediation_run_id, None);
        assert_eq!(
            (sent(&rig, call), sent(&rig, other).len()),
            (vec![json!({"cluster_id": CLUSTER})], 0),
            "{state}"
        );
        assert_eq!(rig.databricks.cluster(CLUSTER).unwrap()["state"], "RUNNING");
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_come_up_is_a_failure() {
    let rig = Rig::new().await;
    rig.databricks.script(
        CLUSTER,
        Ending::badly(
            2,
            "CLOUD_PROVIDER_RESOURCE_STOCKOUT",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    let story = rig
        .heal(&failed_cluster(&rig, "TERMINATED", Action::RestartCluster))
        .await;
    assert_eq!(
        story.failed(),
        "The cluster did not come up; its state is TERMINATED."
    );

    let rig = Rig::new().await;
    rig.databricks.script(CLUSTER, Ending::well(100_000));
    let story = rig
        .heal(&failed_cluster(&rig, "RUNNING", Action::RestartCluster))
        .await;
    assert!(
        story.failed().contains("its state is RESTARTING"),
        "{}",
        story.failed()
    );

    let rig = Rig::new().await;
    rig.databricks_server.faults.next_on(
        "POST",
        "/clusters/start",
        Fault::from_fixture(&fixture("dbx-http-invalid-state")),
    );
    let story = rig
        .heal(&failed_cluster(&rig, "TERMINATED", Action::RestartCluster))
        .await;
    assert!(
        story.failed().contains("did not come up"),
        "{}",
        story.failed()
    );
}

#[tokio::test]
async fn a_restart_whose_answer_was_lost_is_watched_not_repeated() {
    let rig = Rig::new().await;
    rig.databricks_server
        .faults
        .next_on("POST", "/clusters/start", Fault::AcceptThenDrop);
    rig.heal(&failed_cluster(&rig, "TERMINATED", Action::RestartCluster))
        .await
        .succeeded();
    assert_eq!(sent(&rig, "/clusters/start").len(), 1);
}

#[tokio::test]
async fn job_clusters_and_broken_ones_are_left_alone() {
    let rig = Rig::new().await;
    let ticket = failed_cluster(&rig, "TERMINATED", Action::RestartCluster);
    let mut cluster = fixture("dbx-clusters-get-driver");
    cluster["cluster_source"] = json!("JOB");
    rig.databricks.put_cluster(cluster);
    assert!(rig.heal(&ticket).await.failed().contains("job cluster"));
    assert_eq!(
        rig.databricks_server
            .requests_to("POST", "/clusters/")
            .len(),
        0
    );

    let rig = Rig::new().await;
    let story = rig
        .heal(&failed_cluster(&rig, "ERROR", Action::RestartCluster))
        .await;
    assert!(
        story
            .failed()
            .contains("can be neither restarted nor started"),
        "{}",
        story.failed()
    );
}

async fn change_node_type(rig: &Rig, node_type: &str) {
    let body = json!({"ticket_id": "DBX-20260727T091531-3f2a1c", "attempt_id": "a1", "attempt_number": 1, "cluster_id": CLUSTER, "node_type_id": node_type,
        "callback_url": "https://rca.example.com/remediation-callback?token=t", "requested_at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)});
    let http = aiops_rca::http::Http::new(None).unwrap();
    let url = rig.playbooks.url("restart-cluster").unwrap();
    http.send("it", http.request(reqwest::Method::POST, &url).json(&body))
        .await
        .unwrap();
    rig.playbooks.settled().await;
}

#[tokio::test]
async fn another_node_type_is_taken_only_when_it_is_allowed() {
    for state in ["TERMINATED", "RUNNING"] {
        let rig = Rig::new().await;
        failed_cluster(&rig, state, Action::RestartCluster);
        change_node_type(&rig, "Standard_D8ds_v5").await;
        let cluster = rig.databricks.cluster(CLUSTER).unwrap();
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
            rig.callbacks()[0].outcome,
            aiops_rca::sinks::playbook::callback::Outcome::Success
        );
    }
    let rig = Rig::new().await;
    failed_cluster(&rig, "TERMINATED", Action::RestartCluster);
    change_node_type(&rig, "Standard_ND96").await;
    assert_eq!(
        rig.databricks.cluster(CLUSTER).unwrap()["state"],
        "TERMINATED"
    );
    assert!(
        matches!(&rig.callbacks()[0].outcome, aiops_rca::sinks::playbook::callback::Outcome::Failed(why) if why.contains("not one of those allowed"))
    );
}

fn libraries(rig: &Rig) {
    rig.databricks.put_libraries(
        CLUSTER,
        fixture("dbx-libraries-cluster-status")["library_statuses"]
            .as_array()
            .unwrap(),
    );
}

#[tokio::test]
async fn failed_libraries_are_taken_away_and_installed_anew() {
    for state in ["RUNNING", "TERMINATED"] {
        let rig = Rig::new().await;
        let ticket = failed_cluster(&rig, state, Action::ReinstallLibraries);
        libraries(&rig);
        rig.heal(&ticket).await.succeeded();
        let failed = json!([{"pypi": {"package": "pandas==99.0"}}]);
        let wanted = json!({"cluster_id": CLUSTER, "libraries": failed});
        assert_eq!(
            sent(&rig, "/libraries/uninstall"),
            std::slice::from_ref(&wanted)
        );
        assert_eq!(sent(&rig, "/libraries/install"), [wanted]);
        let order: Vec<String> = rig
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
            rig.databricks
                .libraries(CLUSTER)
                .iter()
                .all(|library| library["status"] == "INSTALLED")
        );
    }
}

#[tokio::test]
async fn a_library_that_fails_again_is_named() {
    let rig = Rig::new().await;
    let ticket = failed_cluster(&rig, "RUNNING", Action::ReinstallLibraries);
    libraries(&rig);
    rig.databricks.break_library(
        &json!({"pypi": {"package": "pandas==99.0"}}),
        "No matching distribution found",
    );
    let story = rig.heal(&ticket).await;
    assert!(
        story.failed().contains("pandas==99.0")
            && story.failed().contains("No matching distribution"),
        "{}",
        story.failed()
    );
}

#[tokio::test]
async fn when_the_cluster_does_not_come_up_the_libraries_are_put_back() {
    let rig = Rig::new().await;
    let ticket = failed_cluster(&rig, "RUNNING", Action::ReinstallLibraries);
    libraries(&rig);
    rig.databricks.script(
        CLUSTER,
        Ending::badly(
            1,
            "CLOUD_PROVIDER_LAUNCH_FAILURE",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    let story = rig.heal(&ticket).await;
    assert!(
        story.failed().contains("did not come up"),
        "{}",
        story.failed()
    );
    assert_eq!(rig.databricks.libraries(CLUSTER).len(), 2);
    assert!(
        rig.databricks
            .libraries(CLUSTER)
            .iter()
            .all(|library| library["status"] != "UNINSTALL_ON_RESTART")
    );
}

#[tokio::test]
async fn a_cluster_without_failed_libraries_is_left_alone() {
    let rig = Rig::new().await;
    let ticket = failed_cluster(&rig, "RUNNING", Action::ReinstallLibraries);
    assert!(
        rig.heal(&ticket)
            .await
            .failed()
            .contains("No library of this cluster is in the state FAILED")
    );
    assert_eq!(rig.databricks_server.requests_to("POST", "/").len(), 0);
}

/// A job run that failed on an all-purpose cluster.
fn job_on_cluster(rig: &Rig, action: Action) -> aiops_rca::ticket::Ticket {
    failed_cluster(rig, "TERMINATED", action);
    let mut ticket = failed_job(rig);
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
        let rig = Rig::new().await;
        let ticket = job_on_cluster(&rig, action);
        libraries(&rig);
        let story = rig.heal(&ticket).await;
        assert_eq!(
            story.succeeded().remediation_run_id.as_deref(),
            Some("998877665544332")
        );
        assert_eq!(
            rig.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
            "SUCCESS"
        );
        assert_eq!(
            (
                sent(&rig, "/clusters/start").len(),
                sent(&rig, "/runs/repair").len()
            ),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn the_cluster_alone_is_not_called_a_success_when_its_job_fails_again() {
    let rig = Rig::new().await;
    let ticket = job_on_cluster(&rig, Action::RestartCluster);
    rig.databricks.script(
        JOB,
        Ending::badly(1, "RUN_EXECUTION_ERROR", "CLIENT_ERROR", "still no luck"),
    );
    assert_eq!(
        rig.heal(&ticket).await.failed(),
        "The run ended as FAILED. still no luck"
    );

    let rig = Rig::new().await;
    let ticket = job_on_cluster(&rig, Action::RestartCluster);
    rig.databricks.script(
        CLUSTER,
        Ending::badly(
            1,
            "CLOUD_PROVIDER_LAUNCH_FAILURE",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    assert!(rig.heal(&ticket).await.failed().contains("did not come up"));
    assert_eq!(sent(&rig, "/runs/repair").len(), 0);
}

#[tokio::test]
async fn a_request_for_another_workspace_is_refused() {
    for (scope, ours) in [
        ("adb-1.12.azuredatabricks.net", true),
        ("ADB-1.12.azuredatabricks.net", true),
        ("1", true),
        ("adb-2.12.azuredatabricks.net", false),
        ("2", false),
    ] {
        for playbook in [
            "retry-databricks-job",
            "restart-cluster",
            "reinstall-libraries",
        ] {
            let rig = Rig::new().await;
            let cluster = playbook != "retry-databricks-job";
            let ticket = if cluster {
                failed_cluster(&rig, "TERMINATED", Action::RestartCluster)
            } else {
                failed_job(&rig)
            };
            let mut attempt = super::support::attempt(&ticket);
            attempt.called_at = Some(chrono::Utc::now());
            let callback = "https://rca.example.com/remediation-callback?x"
                .parse()
                .unwrap();
            let mut body = aiops_rca::sinks::playbook::request_body(&ticket, &attempt, &callback);
            body["scope"] = json!(scope);
            rig.trigger(playbook, &body).await;
            let refused = format!("{:?}", rig.callbacks()).contains("belongs to another place");
            assert_eq!(refused, !ours, "{playbook}: {scope}");
        }
    }
}
