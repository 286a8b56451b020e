//! Good ends: what they close, and what they do not.

use aiops_rca::failure::field;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, Channel, ChapterKind, Status, Ticket};
use chrono::TimeDelta;
use serde_json::json;
use simulators::airflow::Api;

use super::rig::{Rig, stamp};
use crate::support;

async fn status(rig: &Rig, to: Status, ticket: &Ticket) {
    let event = Event::StatusChanged {
        to,
        by: Actor {
            channel: Channel::Slack,
            name: "Jane".to_owned(),
        },
        at: rig.now,
        jira_status: None,
    };
    rig.flow.apply(&ticket.id, &event, rig.now).await.unwrap();
}

#[tokio::test]
async fn a_good_run_that_began_after_the_failure_closes_the_ticket() {
    for (_, storage) in support::storages() {
        let mut rig = Rig::of(storage, Api::V2).await;
        rig.tick().await;
        let failed = rig.pipeline_run(1, "pl_sales", "Failed", 3);
        rig.tick().await;
        rig.pass(5);
        // Another pipeline, and a run of this one that had begun before.
        rig.pipeline_run(2, "pl_other", "Succeeded", 1);
        rig.pipeline_run(3, "pl_sales", "Succeeded", 30);
        rig.tick().await;
        assert!(!rig.the_ticket().await.is_closed());
        rig.pass(5);
        let good = rig.pipeline_run(4, "PL_Sales", "Succeeded", 2);
        rig.tick().await;
        let ticket = rig.the_ticket().await;
        assert!(ticket.is_closed());
        assert_eq!(ticket.failure.run_id, Some(failed));
        let told = &ticket.story.last().unwrap();
        assert_eq!(told.kind, ChapterKind::Recovered);
        let at = (rig.now - TimeDelta::minutes(1)).format("%Y-%m-%d %H:%M:%S UTC");
        assert_eq!(
            told.text,
            format!("Closed: recovered by run {good} at {at}, started by its schedule")
        );
        // A later failure is a ticket of its own.
        rig.pipeline_run(5, "pl_sales", "Failed", 1);
        rig.tick().await;
        assert_eq!(rig.tickets().await.len(), 2);
    }
}

#[tokio::test]
async fn what_failed_and_recovered_between_two_ticks_is_closed_as_well() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pipeline_run(1, "pl_sales", "Failed", 3);
    rig.pass(20);
    rig.pipeline_run(2, "pl_sales", "Succeeded", 2);
    rig.tick().await;
    assert!(!rig.the_ticket().await.is_closed(), "it was not open yet");
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
}

#[tokio::test]
async fn who_works_on_it_is_told_once_and_keeps_the_ticket() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pipeline_run(1, "pl_sales", "Failed", 3);
    rig.tick().await;
    status(&rig, Status::InProgress, &rig.the_ticket().await).await;
    for id in 2..5 {
        rig.pass(5);
        rig.pipeline_run(id, "pl_sales", "Succeeded", 1);
        rig.tick().await;
    }
    let ticket = rig.the_ticket().await;
    assert_eq!(ticket.status, Status::InProgress);
    let told: Vec<&str> = ticket
        .story
        .iter()
        .filter(|chapter| chapter.kind == ChapterKind::Recovered)
        .map(|chapter| chapter.text.as_str())
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].ends_with("The ticket stays open: Jane works on it"),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_a_person_reopened_waits_for_a_run_that_began_after_that() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pipeline_run(1, "pl_sales", "Failed", 3);
    rig.tick().await;
    rig.pass(5);
    rig.pipeline_run(2, "pl_sales", "Succeeded", 1);
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
    status(&rig, Status::Open, &rig.the_ticket().await).await;
    rig.tick().await;
    rig.tick().await;
    assert_eq!(rig.the_ticket().await.status, Status::Open);
    rig.pass(5);
    rig.pipeline_run(3, "pl_sales", "Succeeded", 1);
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
}

#[tokio::test]
async fn a_tumbling_window_recovers_by_its_own_rerun_only() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    let put = |rig: &Rig, id: u32, status: &str, window: &str| {
        rig.factory_site.put_run(json!({
            "runId": format!("00000000-0000-4000-8000-{id:012}"), "pipelineName": "pl_hourly", "parameters": {"from": window},
            "invokedBy": {"name": "hourly", "invokedByType": "TumblingWindowTrigger"},
            "runStart": stamp(rig.now - TimeDelta::minutes(1)), "runEnd": stamp(rig.now), "status": status,
            "message": "Operation on target Load failed: it broke", "lastUpdated": stamp(rig.now),
        }));
    };
    put(&rig, 1, "Failed", "2026-11-29T01:00:00Z");
    rig.tick().await;
    rig.pass(5);
    put(&rig, 2, "Succeeded", "2026-11-29T02:00:00Z");
    rig.tick().await;
    assert!(!rig.the_ticket().await.is_closed(), "another window");
    rig.pass(5);
    put(&rig, 3, "Succeeded", "2026-11-29T01:00:00Z");
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
}

#[tokio::test]
async fn jobs_recover_by_a_later_run_or_by_a_repair_of_the_same() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.job_run(11, 7, "FAILED", 3, &json!({}));
    rig.job_run(21, 8, "FAILED", 3, &json!({}));
    rig.tick().await;
    assert_eq!(rig.tickets().await.len(), 2);
    rig.pass(5);
    // The repair keeps the id and the start.
    rig.job_run(11, 7, "SUCCESS", 9, &json!({}));
    rig.job_run(22, 8, "SUCCESS", 2, &json!({}));
    rig.tick().await;
    assert!(rig.tickets().await.iter().all(Ticket::is_closed));
}

#[tokio::test]
async fn a_dag_recovers_when_the_failed_task_has_run_well() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.failed_task("nightly", "scheduled__1", "load");
    rig.dag_run("nightly", "scheduled__1", "failed", 3);
    rig.tick().await;
    let task = |rig: &Rig, run: &str, state: &str| {
        json!({"dag_id": "nightly", "dag_run_id": run, "task_id": "load", "map_index": -1, "state": state, "try_number": 1,
            "start_date": stamp(rig.now), "end_date": stamp(rig.now), "updated_at": stamp(rig.now)})
    };
    // Green, and the task was skipped.
    rig.pass(5);
    rig.airflow_site
        .put_task(task(&rig, "scheduled__2", "skipped"));
    rig.dag_run("nightly", "scheduled__2", "success", 2);
    rig.tick().await;
    let ticket = rig.the_ticket().await;
    assert!(!ticket.is_closed());
    assert_eq!(ticket.failure.field(field::TASK_ID), Some("load"));
    rig.pass(5);
    rig.airflow_site
        .put_task(task(&rig, "scheduled__3", "success"));
    rig.dag_run("nightly", "scheduled__3", "success", 2);
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
}

#[tokio::test]
async fn an_alert_that_is_resolved_proves_nothing_and_has_the_platform_asked() {
    let mut rig = Rig::build().await;
    rig.tick().await;
    rig.pipeline_run(1, "pl_sales", "Failed", 3);
    rig.tick().await;
    let body = include_bytes!("../../fixtures/vendor/azmon-logv2-adf-resolved.json");
    let resolved = || aiops_rca::sources::azure_monitor::parse(body).unwrap();
    rig.pass(1);
    rig.flow.accept(resolved(), rig.now).await.unwrap();
    rig.work().await;
    assert!(!rig.the_ticket().await.is_closed());
    rig.pass(1);
    rig.pipeline_run(2, "pl_sales", "Succeeded", 1);
    rig.flow.accept(resolved(), rig.now).await.unwrap();
    rig.work().await;
    assert!(
        rig.the_ticket().await.is_closed(),
        "the good run was seen without a tick"
    );
}
