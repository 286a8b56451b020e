//! Good ends: what they close, and what they do not.

use aiops_rca::failure::field;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, Channel, ChapterKind, Status, Ticket};
use chrono::TimeDelta;
use serde_json::json;

use super::world::{World, stamp};

async fn status(world: &World, to: Status, ticket: &Ticket) {
    let event = Event::StatusChanged {
        to,
        by: Actor {
            channel: Channel::Slack,
            name: "Jane".to_owned(),
        },
        at: world.now,
        jira_status: None,
    };
    world
        .flow
        .apply(&ticket.id, &event, world.now)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_good_run_that_began_after_the_failure_closes_the_ticket() {
    let mut world = World::build().await;
    world.tick().await;
    let failed = world.pipeline_run(1, "pl_sales", "Failed", 3);
    world.tick().await;
    world.pass(5);
    // Another pipeline, and a run of this one that had begun before.
    world.pipeline_run(2, "pl_other", "Succeeded", 1);
    world.pipeline_run(3, "pl_sales", "Succeeded", 30);
    world.tick().await;
    assert!(!world.the_ticket().await.is_closed());
    world.pass(5);
    let good = world.pipeline_run(4, "PL_Sales", "Succeeded", 2);
    world.tick().await;
    let ticket = world.the_ticket().await;
    assert!(ticket.is_closed());
    assert_eq!(ticket.failure.run_id, Some(failed));
    let told = &ticket.story.last().unwrap();
    assert_eq!(told.kind, ChapterKind::Recovered);
    let at = (world.now - TimeDelta::minutes(1)).format("%Y-%m-%d %H:%M:%S UTC");
    assert_eq!(
        told.text,
        format!("Closed: recovered by run {good} at {at}, started by its schedule")
    );
    // A later failure is a ticket of its own.
    world.pipeline_run(5, "pl_sales", "Failed", 1);
    world.tick().await;
    assert_eq!(world.tickets().await.len(), 2);
}

#[tokio::test]
async fn what_failed_and_recovered_between_two_ticks_is_closed_as_well() {
    let mut world = World::build().await;
    world.tick().await;
    world.pipeline_run(1, "pl_sales", "Failed", 3);
    world.pass(20);
    world.pipeline_run(2, "pl_sales", "Succeeded", 2);
    world.tick().await;
    assert!(!world.the_ticket().await.is_closed(), "it was not open yet");
    world.tick().await;
    assert!(world.the_ticket().await.is_closed());
}

#[tokio::test]
async fn who_works_on_it_is_told_once_and_keeps_the_ticket() {
    let mut world = World::build().await;
    world.tick().await;
    world.pipeline_run(1, "pl_sales", "Failed", 3);
    world.tick().await;
    status(&world, Status::InProgress, &world.the_ticket().await).await;
    for id in 2..5 {
        world.pass(5);
        world.pipeline_run(id, "pl_sales", "Succeeded", 1);
        world.tick().await;
    }
    let ticket = world.the_ticket().await;
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
    let mut world = World::build().await;
    world.tick().await;
    world.pipeline_run(1, "pl_sales", "Failed", 3);
    world.tick().await;
    world.pass(5);
    world.pipeline_run(2, "pl_sales", "Succeeded", 1);
    world.tick().await;
    assert!(world.the_ticket().await.is_closed());
    status(&world, Status::Open, &world.the_ticket().await).await;
    world.tick().await;
    world.tick().await;
    assert_eq!(world.the_ticket().await.status, Status::Open);
    world.pass(5);
    world.pipeline_run(3, "pl_sales", "Succeeded", 1);
    world.tick().await;
    assert!(world.the_ticket().await.is_closed());
}

#[tokio::test]
async fn a_tumbling_window_recovers_by_its_own_rerun_only() {
    let mut world = World::build().await;
    world.tick().await;
    let put = |world: &World, id: u32, status: &str, window: &str| {
        world.factory_site.put_run(json!({
            "runId": format!("00000000-0000-4000-8000-{id:012}"), "pipelineName": "pl_hourly", "parameters": {"from": window},
            "invokedBy": {"name": "hourly", "invokedByType": "TumblingWindowTrigger"},
            "runStart": stamp(world.now - TimeDelta::minutes(1)), "runEnd": stamp(world.now), "status": status,
            "message": "Operation on target Load failed: it broke", "lastUpdated": stamp(world.now),
        }));
    };
    put(&world, 1, "Failed", "2026-11-29T01:00:00Z");
    world.tick().await;
    world.pass(5);
    put(&world, 2, "Succeeded", "2026-11-29T02:00:00Z");
    world.tick().await;
    assert!(!world.the_ticket().await.is_closed(), "another window");
    world.pass(5);
    put(&world, 3, "Succeeded", "2026-11-29T01:00:00Z");
    world.tick().await;
    assert!(world.the_ticket().await.is_closed());
}

#[tokio::test]
async fn jobs_recover_by_a_later_run_or_by_a_repair_of_the_same() {
    let mut world = World::build().await;
    world.tick().await;
    world.job_run(11, 7, "FAILED", 3, &json!({}));
    world.job_run(21, 8, "FAILED", 3, &json!({}));
    world.tick().await;
    assert_eq!(world.tickets().await.len(), 2);
    world.pass(5);
    // The repair keeps the id and the start.
    world.job_run(11, 7, "SUCCESS", 9, &json!({}));
    world.job_run(22, 8, "SUCCESS", 2, &json!({}));
    world.tick().await;
    assert!(world.tickets().await.iter().all(Ticket::is_closed));
}

#[tokio::test]
async fn a_dag_recovers_when_the_failed_task_has_run_well() {
    let mut world = World::build().await;
    world.tick().await;
    world.failed_task("nightly", "scheduled__1", "load");
    world.dag_run("nightly", "scheduled__1", "failed", 3);
    world.tick().await;
    let task = |world: &World, run: &str, state: &str| {
        json!({"dag_id": "nightly", "dag_run_id": run, "task_id": "load", "map_index": -1, "state": state, "try_number": 1,
            "start_date": stamp(world.now), "end_date": stamp(world.now), "updated_at": stamp(world.now)})
    };
    // Green, and the task was skipped.
    world.pass(5);
    world
        .airflow_site
        .put_task(task(&world, "scheduled__2", "skipped"));
    world.dag_run("nightly", "scheduled__2", "success", 2);
    world.tick().await;
    let ticket = world.the_ticket().await;
    assert!(!ticket.is_closed());
    assert_eq!(ticket.failure.field(field::TASK_ID), Some("load"));
    world.pass(5);
    world
        .airflow_site
        .put_task(task(&world, "scheduled__3", "success"));
    world.dag_run("nightly", "scheduled__3", "success", 2);
    world.tick().await;
    assert!(world.the_ticket().await.is_closed());
}

#[tokio::test]
async fn an_alert_that_is_resolved_proves_nothing_and_has_the_platform_asked() {
    let mut world = World::build().await;
    world.tick().await;
    world.pipeline_run(1, "pl_sales", "Failed", 3);
    world.tick().await;
    let body = include_bytes!("../../fixtures/vendor/azmon-logv2-adf-resolved.json");
    let resolved = || aiops_rca::sources::azure_monitor::parse(body).unwrap();
    world.pass(1);
    world.flow.accept(resolved(), world.now).await.unwrap();
    world.work().await;
    assert!(!world.the_ticket().await.is_closed());
    world.pass(1);
    world.pipeline_run(2, "pl_sales", "Succeeded", 1);
    world.flow.accept(resolved(), world.now).await.unwrap();
    world.work().await;
    assert!(
        world.the_ticket().await.is_closed(),
        "the good run was seen without a tick"
    );
}
