//! What each platform's history becomes: which ends are failures, under which key, and how many tickets.

use aiops_rca::failure::{AssetKind, field};
use aiops_rca::flow::accept::AcceptStatus;
use aiops_rca::sources::{self, Parsed};
use chrono::TimeDelta;
use serde_json::{Value, json};
use simulators::airflow::Api;

use super::rig::{Rig, airflow, names, stamp};
use crate::support;

#[tokio::test]
async fn what_ended_before_the_first_tick_is_left_alone() {
    let mut rig = Rig::build().await;
    rig.pipeline_run(1, "pl_old", "Failed", 3);
    rig.job_run(11, 7, "FAILED", 3, &json!({}));
    rig.failed_task("old", "scheduled__1", "load");
    rig.pass(2);
    rig.tick().await;
    rig.tick().await;
    assert_eq!(names(&rig.tickets().await), Vec::<String>::new());
    rig.pipeline_run(2, "pl_new", "Failed", 90);
    rig.job_run(12, 7, "FAILED", 3, &json!({}));
    rig.failed_task("new", "scheduled__2", "load");
    let done = rig.tick().await;
    assert_eq!((done.failed, done.faults), (3, 0));
    let tickets = rig.tickets().await;
    assert_eq!(tickets.len(), 3, "{:?}", names(&tickets));
    // Seen again in each overlap, and in the hourly look at the last day: nothing is counted twice.
    for _ in 0..70 {
        rig.tick().await;
    }
    let later = rig.tickets().await;
    assert_eq!(later.len(), 3, "{:?}", names(&later));
    assert!(later.iter().all(|ticket| ticket.count == 1));
}

#[tokio::test]
async fn whichever_door_is_first_wins() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    // Reported first.
    let run = rig.pipeline_run(1, "pl_sales", "Failed", 3);
    let report = |body: &str| match sources::azure_monitor::parse(body.as_bytes()).unwrap() {
        Parsed::Failures(failures) => Parsed::Failures(failures),
        other => panic!("{other:?}"),
    };
    let body = json!({"pipelineName": "pl_sales", "runId": run, "errorMessage": "it broke", "status": "Failed"}).to_string();
    let told = rig.flow.accept(report(&body), rig.now).await.unwrap();
    assert_eq!(told.status, AcceptStatus::Accepted);
    rig.tick().await;
    assert_eq!(rig.the_ticket().await.id, told.ticket_id.unwrap());
    // Found first.
    rig.job_run(11, 7, "FAILED", 3, &json!({}));
    rig.failed_task("nightly", "scheduled__1", "load");
    rig.tick().await;
    let found = rig.tickets().await;
    assert_eq!(found.len(), 3, "{:?}", names(&found));
    let webhook = json!({"event_type": "jobs.on_failure", "workspace_id": "1", "run": {"run_id": 11}, "job": {"job_id": 7, "name": "job 7"}});
    let callback = json!({"dag_id": "nightly", "task_id": "load", "run_id": "scheduled__1", "try_number": 1, "max_tries": 0,
        "state": "failed", "exception": "KeyError: 'amount'", "log_url": "http://localhost:8080/dags/nightly/runs/scheduled__1/tasks/load"});
    for parsed in [
        sources::databricks::parse(webhook.to_string().as_bytes()),
        sources::airflow::parse(callback.to_string().as_bytes()),
    ] {
        let told = rig.flow.accept(parsed.unwrap(), rig.now).await.unwrap();
        assert_eq!(told.status, AcceptStatus::Duplicate, "{told:?}");
    }
    rig.work().await;
    assert_eq!(rig.tickets().await.len(), 3);
}

#[tokio::test]
async fn cancelled_by_a_person_is_no_failure_and_by_a_timeout_is_one() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pipeline_run(1, "pl_stopped", "Cancelled", 3);
    let cancelled = |code: &str| json!({"status": {"state": "TERMINATED", "termination_details": {"code": code, "type": "CLIENT_ERROR", "message": "stopped"}}});
    rig.job_run(11, 7, "CANCELED", 3, &cancelled("USER_CANCELED"));
    rig.job_run(12, 8, "TIMEDOUT", 3, &json!({}));
    rig.job_run(
        13,
        9,
        "CANCELED",
        3,
        &cancelled("MAX_RUN_DURATION_EXCEEDED"),
    );
    rig.tick().await;
    let mut assets: Vec<String> = (rig.tickets().await.iter())
        .map(|ticket| ticket.failure.asset.clone())
        .collect();
    assets.sort();
    assert_eq!(assets, ["job 8", "job 9"]);
}

#[tokio::test]
async fn every_page_is_read_and_nothing_is_lost_while_it_was_down() {
    for (_, storage) in support::storages() {
        let mut rig = Rig::of(storage, Api::V2).await;
        rig.tick().await;
        rig.factory_site.set_page_size(7);
        for id in 0..40 {
            rig.pipeline_run(id, &format!("pl_{id}"), "Failed", 1);
            rig.job_run(100 + i64::from(id), i64::from(id), "FAILED", 1, &json!({}));
            rig.failed_task(&format!("dag_{id}"), "scheduled__1", "load");
            rig.pass(9);
        }
        // Six hours without a tick.
        for _ in 0..3 {
            rig.tick().await;
        }
        let tickets = rig.tickets().await;
        assert_eq!(tickets.len(), 120);
        assert!(tickets.iter().all(|ticket| ticket.count == 1));
    }
}

#[tokio::test]
async fn a_window_with_too_many_runs_is_asked_for_in_parts() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.factory_site.set_page_size(2);
    for id in 0..90 {
        rig.pipeline_run(id, &format!("pl_{id}"), "Failed", 1);
        rig.pass(4);
    }
    for _ in 0..12 {
        rig.tick().await;
    }
    assert_eq!(rig.tickets().await.len(), 90);
    let watch = rig.watch("adf").await;
    assert!(
        rig.now - watch.cursor.unwrap() <= TimeDelta::minutes(1),
        "it caught up"
    );
}

#[tokio::test]
async fn a_pause_longer_than_the_limit_is_not_looked_through() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pipeline_run(1, "pl_forgotten", "Failed", 1);
    rig.pass(30 * 60);
    rig.pipeline_run(2, "pl_recent", "Failed", 1);
    rig.tick().await;
    assert_eq!(rig.the_ticket().await.failure.asset, "pl_recent");
}

#[tokio::test]
async fn a_failed_child_belongs_to_its_caller() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    let caller = rig.pipeline_run(1, "pl_main", "InProgress", 5);
    let by =
        json!({"name": "pl_main", "invokedByType": "PipelineActivity", "pipelineRunId": caller});
    rig.pipeline_run_by(2, "pl_child", "Failed", 3, &by);
    rig.tick().await;
    assert_eq!(rig.tickets().await.len(), 0, "the caller has not ended");
    rig.pipeline_run(1, "pl_main", "Failed", 7);
    rig.tick().await;
    assert_eq!(rig.the_ticket().await.failure.asset, "pl_main");
    // A caller that ends well over a failed child has left it to somebody.
    let careless = rig.pipeline_run(3, "pl_careless", "InProgress", 5);
    let by = json!({"name": "pl_careless", "invokedByType": "PipelineActivity", "pipelineRunId": careless});
    rig.pipeline_run_by(4, "pl_left", "Failed", 3, &by);
    rig.tick().await;
    rig.pipeline_run(3, "pl_careless", "Succeeded", 7);
    rig.tick().await;
    let assets: Vec<String> = (rig.tickets().await.iter())
        .map(|ticket| ticket.failure.asset.clone())
        .collect();
    assert_eq!(assets, ["pl_main", "pl_left"]);
    // So do the job runs that a task of another job starts.
    rig.job_run(11, 7, "", 5, &json!({}));
    let child = json!({"trigger": "RUN_JOB_TASK", "trigger_info": {"run_id": 11}});
    rig.job_run(12, 8, "FAILED", 2, &child);
    rig.tick().await;
    rig.job_run(11, 7, "FAILED", 7, &json!({}));
    rig.tick().await;
    assert_eq!(rig.tickets().await.last().unwrap().failure.asset, "job 7");
    assert_eq!(rig.tickets().await.len(), 3);
}

#[tokio::test]
async fn a_trigger_that_fails_before_any_pipeline_runs_is_a_failure() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pass(10);
    for (id, started, status) in [
        ("t1", json!({}), "Failed"),
        ("t2", json!({"pl_sales": "r1"}), "Failed"),
        ("t3", json!({}), "Succeeded"),
    ] {
        rig.factory_site.put_trigger_run(json!({
            "triggerRunId": id, "triggerName": "daily", "triggerType": "ScheduleTrigger",
            "triggerRunTimestamp": stamp(rig.now), "status": status,
            "message": "The concurrency limit of the pipeline is reached: more than 100 runs are queued.",
            "triggeredPipelines": started, "properties": {"ScheduleTime": "6/16/2018 12:43:14 AM"},
        }));
    }
    rig.tick().await;
    let ticket = rig.the_ticket().await;
    assert_eq!(ticket.failure.asset, "daily");
    assert!(ticket.failure.message.contains("more than 100 runs"));
    // Its next run starts something.
    rig.pass(10);
    rig.factory_site.put_trigger_run(json!({
        "triggerRunId": "t4", "triggerName": "daily", "triggerType": "ScheduleTrigger", "triggerRunTimestamp": stamp(rig.now),
        "status": "Succeeded", "message": null, "triggeredPipelines": {"pl_sales": "r4"},
    }));
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
}

#[tokio::test]
async fn long_runs_and_repairs_of_databricks_are_found() {
    let mut rig = Rig::build().await;
    rig.job_run(11, 7, "", 300, &json!({}));
    rig.job_run(12, 8, "", 2, &json!({}));
    rig.tick().await;
    rig.pass(200);
    rig.tick().await;
    rig.job_run(11, 7, "FAILED", 502, &json!({}));
    rig.tick().await;
    assert_eq!(rig.the_ticket().await.failure.run_id.as_deref(), Some("11"));
    // Another one was repaired between two ticks, and failed again: the hourly look at the last days finds it.
    rig.job_run(12, 8, "FAILED", 205, &json!({}));
    for _ in 0..65 {
        rig.tick().await;
    }
    assert_eq!(rig.tickets().await.len(), 2);
}

#[tokio::test]
async fn clusters_and_lakeflow_pipelines_that_end_badly_are_failures() {
    let mut rig = Rig::build().await;
    rig.databricks_site.put_pipeline("p-1", "sales_dlt");
    let began = |rig: &Rig| stamp(rig.now - TimeDelta::minutes(1));
    let old = json!({"update_id": "u-0", "state": "FAILED", "creation_time": began(&rig)});
    rig.databricks_site.put_update("p-1", old, &[]);
    rig.pass(1);
    rig.tick().await;
    let cluster = |id: &str, source: &str, code: &str, kind: &str, at: Value| {
        json!({"cluster_id": id, "cluster_name": format!("cluster {id}"), "cluster_source": source, "state": "TERMINATED",
            "terminated_time": at, "termination_reason": {"code": code, "type": kind, "parameters": {}}})
    };
    let ended = json!(rig.now.timestamp_millis());
    for (id, source, code, kind) in [
        ("c1", "UI", "CLOUD_PROVIDER_LAUNCH_FAILURE", "CLOUD_FAILURE"),
        ("c2", "UI", "INACTIVITY", "SUCCESS"),
        (
            "c3",
            "JOB",
            "CLOUD_PROVIDER_LAUNCH_FAILURE",
            "CLOUD_FAILURE",
        ),
    ] {
        rig.databricks_site
            .put_cluster(cluster(id, source, code, kind, ended.clone()));
    }
    let error = json!({"timestamp": stamp(rig.now), "message": "Update u-1 is FAILED.",
        "error": {"exceptions": [{"class_name": "org.apache.spark.sql.AnalysisException", "message": "[TABLE_OR_VIEW_NOT_FOUND] The table sales cannot be found"}]}});
    rig.pass(1);
    let failed = json!({"update_id": "u-1", "state": "FAILED", "creation_time": began(&rig), "cause": "USER_ACTION"});
    rig.databricks_site.put_update("p-1", failed, &[error]);
    rig.tick().await;
    let mut tickets = rig.tickets().await;
    // The ids of one second are in no order.
    tickets.sort_by(|one, other| one.failure.asset.cmp(&other.failure.asset));
    let assets: Vec<&str> = tickets
        .iter()
        .map(|ticket| ticket.failure.asset.as_str())
        .collect();
    assert_eq!(assets, ["cluster c1", "sales_dlt"]);
    assert_eq!(tickets[0].failure.kind, AssetKind::Cluster);
    assert!(
        tickets[1]
            .failure
            .message
            .contains("TABLE_OR_VIEW_NOT_FOUND")
    );
    // A task of a job ran it: the job run says so.
    let of_job = json!({"update_id": "u-2", "state": "FAILED", "creation_time": stamp(rig.now), "cause": "JOB_TASK"});
    rig.databricks_site.put_update("p-1", of_job, &[]);
    rig.tick().await;
    assert_eq!(rig.tickets().await.len(), 2);
}

#[tokio::test]
async fn a_task_and_its_run_are_one_ticket_and_a_green_run_hides_no_failed_task() {
    for api in [Api::V1, Api::V2] {
        let mut rig = Rig::of(support::embedded(), api).await;
        rig.tick().await;
        // The run ends an hour after its task.
        rig.failed_task("nightly", "scheduled__1", "load");
        rig.tick().await;
        rig.pass(60);
        rig.dag_run("nightly", "scheduled__1", "failed", 61);
        rig.tick().await;
        let ticket = rig.the_ticket().await;
        assert_eq!(ticket.failure.asset, "nightly.load");
        assert_eq!(ticket.failure.field(field::TRY_NUMBER), Some("1"));
        // Green over a failed task.
        rig.failed_task("green", "scheduled__1", "inner");
        rig.dag_run("green", "scheduled__1", "success", 3);
        rig.tick().await;
        // A run that took too long: no task has failed.
        rig.dag_run("slow", "scheduled__1", "failed", 300);
        rig.tick().await;
        let assets: Vec<String> = (rig.tickets().await.iter())
            .map(|ticket| ticket.failure.asset.clone())
            .collect();
        assert_eq!(assets, ["nightly.load", "green.inner", "slow"]);
    }
}

#[tokio::test]
async fn runs_of_the_same_name_in_two_deployments_are_two_failures() {
    let mut rig = Rig::build().await;
    let mut other = Rig::build().await;
    rig.flow.collector.airflow = vec![
        airflow(&rig.airflow.url(), None).named("prod"),
        airflow(&other.airflow.url(), None).named("dev"),
    ];
    rig.tick().await;
    other.pass(1);
    rig.failed_task("nightly", "scheduled__1", "load");
    other.failed_task("nightly", "scheduled__1", "load");
    rig.tick().await;
    assert_eq!(rig.tickets().await.len(), 2);
    // However a callback names the deployment, it is the same failure.
    let callback = json!({"dag_id": "nightly", "task_id": "load", "run_id": "scheduled__1", "try_number": 1, "max_tries": 0,
        "state": "failed", "exception": "KeyError: 'amount'", "deployment": "dev"});
    let parsed = sources::airflow::parse(callback.to_string().as_bytes()).unwrap();
    let told = rig.flow.accept(parsed, rig.now).await.unwrap();
    assert_eq!(told.status, AcceptStatus::Duplicate);
}

#[tokio::test]
async fn a_job_that_is_started_again_for_ever_is_one_ticket_while_it_fails() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    let again = json!({"trigger": "CONTINUOUS_RESTART"});
    for id in 11..16 {
        rig.job_run(id, 7, "FAILED", 1, &again);
        rig.job_run(id + 100, 8, "FAILED", 1, &json!({}));
        rig.tick().await;
    }
    let of = |tickets: &[aiops_rca::ticket::Ticket], name: &str| {
        let own = tickets.iter().filter(|ticket| ticket.failure.asset == name);
        own.count()
    };
    let tickets = rig.tickets().await;
    assert_eq!((of(&tickets, "job 7"), of(&tickets, "job 8")), (1, 5));
    rig.job_run(20, 7, "SUCCESS", 0, &again);
    rig.tick().await;
    rig.job_run(21, 7, "FAILED", 0, &again);
    rig.tick().await;
    assert_eq!(of(&rig.tickets().await, "job 7"), 2);
}
