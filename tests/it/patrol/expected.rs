//! What should have run and did not, and what ran and moved nothing.

use aiops_rca::patrol::PatrolSettings;
use aiops_rca::ticket::{ChapterKind, Ticket};
use serde_json::json;

use super::rig::{Rig, names, stamp};

fn settings(expect: &str, volume: &str) -> PatrolSettings {
    let mut settings = PatrolSettings::default();
    for item in expect.split(';').filter(|item| !item.is_empty()) {
        settings.expect.add(item).unwrap();
    }
    for item in volume.split(';').filter(|item| !item.is_empty()) {
        settings.volumes.add(item).unwrap();
    }
    settings
}

fn open(tickets: &[Ticket]) -> Vec<&str> {
    let open = tickets.iter().filter(|ticket| !ticket.is_closed());
    open.map(|ticket| ticket.failure.asset.as_str()).collect()
}

#[tokio::test]
async fn an_overdue_run_is_one_ticket_that_closes_when_the_run_comes() {
    let mut rig = Rig::build().await;
    rig.flow.patrol = settings("pl_hourly=1h;job 7=1h;hourly=1h", "");
    rig.factory_site
        .put_trigger("hourly", "pl_hourly", "Started");
    rig.tick().await;
    let run = |rig: &Rig, id: u32| {
        rig.pipeline_run(id, "pl_hourly", "Succeeded", 1);
        rig.job_run(i64::from(id), 7, "SUCCESS", 1, &json!({}));
        rig.dag_run("hourly", &format!("scheduled__{id}"), "success", 1);
    };
    for id in 1..4 {
        run(&rig, id);
        rig.tick().await;
        rig.pass(59);
    }
    rig.tick().await;
    assert_eq!(names(&rig.tickets().await), Vec::<String>::new(), "not yet");
    rig.pass(15);
    for _ in 0..6 {
        rig.tick().await;
    }
    let tickets = rig.tickets().await;
    assert_eq!(tickets.len(), 3, "{:?}", names(&tickets));
    assert!(
        tickets
            .iter()
            .all(|ticket| ticket.diagnosis.error_type == "OverdueRun" && ticket.count == 1)
    );
    assert!(
        tickets[0].failure.message.contains("It runs every 1 hour"),
        "{}",
        tickets[0].failure.message
    );
    run(&rig, 9);
    for _ in 0..3 {
        rig.tick().await;
    }
    assert_eq!(open(&rig.tickets().await), Vec::<&str>::new());
}

#[tokio::test]
async fn a_rhythm_is_learned_and_what_is_paused_is_not_overdue() {
    for (state, overdue) in [("Started", true), ("Stopped", false)] {
        let mut rig = Rig::build().await;
        rig.flow.patrol = settings("learn", "");
        rig.factory_site.put_trigger("often", "pl_often", state);
        rig.tick().await;
        for id in 1..9 {
            rig.pipeline_run(id, "pl_often", "Succeeded", 1);
            rig.pass(9);
            rig.tick().await;
        }
        assert_eq!(rig.tickets().await.len(), 0);
        rig.pass(20);
        rig.tick().await;
        assert_eq!(!rig.tickets().await.is_empty(), overdue, "{state}");
    }
}

#[tokio::test]
async fn a_run_that_goes_on_is_not_missing() {
    let mut rig = Rig::build().await;
    rig.flow.patrol = settings("pl_hourly=1h", "");
    rig.tick().await;
    rig.pipeline_run(1, "pl_hourly", "Succeeded", 1);
    rig.tick().await;
    rig.pass(60);
    rig.pipeline_run(2, "pl_hourly", "InProgress", 1);
    rig.pass(30);
    rig.tick().await;
    assert_eq!(rig.tickets().await.len(), 0);
}

fn copied(rig: &Rig, run: &str, rows: u64) {
    rig.factory_site.put_activities(run, &[json!({
        "activityName": "Load", "activityType": "Copy", "status": "Succeeded", "pipelineRunId": run,
        "activityRunStart": stamp(rig.now), "activityRunEnd": stamp(rig.now),
        "output": {"rowsRead": rows, "rowsCopied": rows, "dataWritten": 1000},
    })]);
}

#[tokio::test]
async fn a_good_run_that_moved_nothing_is_told_and_closes_nothing() {
    let mut rig = Rig::build().await;
    rig.flow.patrol = settings("", "pl_*=50%");
    rig.tick().await;
    let good = |rig: &Rig, id: u32, rows: u64| {
        let run = rig.pipeline_run(id, "pl_sales", "Succeeded", 1);
        copied(rig, &run, rows);
    };
    for id in 1..5 {
        good(&rig, id, 100);
        rig.pass(5);
        rig.tick().await;
    }
    assert_eq!(rig.tickets().await.len(), 0);
    // Nothing was open: a ticket of its own.
    good(&rig, 5, 0);
    rig.pass(5);
    rig.tick().await;
    let ticket = rig.the_ticket().await;
    assert_eq!(ticket.diagnosis.error_type, "EmptyRun");
    assert!(
        ticket
            .failure
            .message
            .contains("Load moved 0 rows, and the median of the last good runs is 100"),
        "{}",
        ticket.failure.message
    );
    // The next one is too small as well: told there.
    rig.pass(5);
    good(&rig, 6, 49);
    rig.tick().await;
    rig.tick().await;
    let ticket = rig.the_ticket().await;
    assert!(!ticket.is_closed());
    let told: Vec<_> = ticket
        .story
        .iter()
        .filter(|chapter| chapter.kind == ChapterKind::Recurrence)
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].text.contains("moved 49 rows"), "{}", told[0].text);
    rig.pass(5);
    good(&rig, 7, 90);
    rig.tick().await;
    assert!(rig.the_ticket().await.is_closed());
}

#[tokio::test]
async fn the_metrics_of_a_delta_commit_count_for_a_job() {
    let mut rig = Rig::build().await;
    rig.flow.patrol = settings("", "job 7=50%");
    rig.tick().await;
    for (id, rows) in [(1, "100"), (2, "120"), (3, "80"), (4, "0")] {
        let tasks = json!({"tasks": [{"task_key": "merge", "run_id": id + 1000, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}}]});
        rig.job_run(id, 7, "SUCCESS", 1, &tasks);
        let result = json!({"operation": "WRITE", "operationMetrics": {"numOutputRows": rows, "numFiles": "3"}}).to_string();
        rig.databricks_site.put_output(
            id + 1000,
            json!({"notebook_output": {"result": result, "truncated": false}}),
        );
        rig.pass(5);
        rig.tick().await;
    }
    let ticket = rig.the_ticket().await;
    assert!(
        ticket.failure.message.contains("merge moved 0 rows"),
        "{}",
        ticket.failure.message
    );
}
