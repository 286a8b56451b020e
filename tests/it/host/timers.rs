//! Timers (11).

use std::time::Duration;

use aiops_rca::local::host::Outcome;
use serde_json::{Value, json};

use super::support::{App, failure};

#[tokio::test]
async fn a_schedule_of_seconds_runs_unmonitored_and_never_overlaps() {
    let app = App::new().timer("Tick", "* * * * * *", false);
    let running = app.start().await;
    let first = running.invoked("Tick", 1).await;
    let second = running.invoked("Tick", 2).await;
    assert_eq!(
        (&first.outcome, first.detail.as_str()),
        (&Outcome::Succeeded, "timer")
    );
    assert!(second.at - first.at > chrono::TimeDelta::milliseconds(500));
    let call = &app.calls()[0];
    assert_eq!(call["path"], "/Tick");
    assert_eq!(
        call["envelope"]["Data"]["timer"]["ScheduleStatus"],
        Value::Null
    );
    assert_eq!(
        call["envelope"]["Metadata"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["sys"]
    );
    running.host.stop().await;
}

#[tokio::test]
async fn the_first_run_knows_no_last_one_and_the_next_host_knows_what_was_missed() {
    let app = App::new().timer("Sweep", "0 0 0 1 1 *", true);
    let state = app.path().join("state");
    let running = app
        .start_with(|options| options.state_directory = Some(state.clone()))
        .await;
    running.invoked("Sweep", 1).await;
    running.host.stop().await;
    let timer = app.calls()[0]["envelope"]["Data"]["timer"].clone();
    assert_eq!(timer["ScheduleStatus"]["Last"], "0001-01-01T00:00:00+00:00");
    assert_eq!(
        (&timer["IsPastDue"], &timer["Schedule"]),
        (&json!(false), &json!({"AdjustForDST": true}))
    );

    let file = state.join("timer-Sweep.json");
    let mut status: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    status["next"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(&file, status.to_string()).unwrap();
    let running = app
        .start_with(|options| options.state_directory = Some(state))
        .await;
    assert_eq!(running.invoked("Sweep", 1).await.detail, "timer, past due");
    running.host.stop().await;
    let timer = app.calls()[1]["envelope"]["Data"]["timer"].clone();
    assert_eq!(timer["IsPastDue"], true);
    assert_eq!(timer["ScheduleStatus"]["Next"], "2020-01-01T00:00:00+00:00");
    assert_ne!(timer["ScheduleStatus"]["Last"], "0001-01-01T00:00:00+00:00");
}

#[tokio::test]
async fn a_failed_run_is_only_reported() {
    let app = App::new().timer("Sweep", "0 0 0 1 1 *", true);
    let running = app
        .start_with(|options| {
            options
                .environment
                .push(("SCRIPT_TIMER".to_owned(), "status:500".to_owned()));
        })
        .await;
    assert!(failure(&running.invoked("Sweep", 1).await).contains("500"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(app.calls().len(), 1, "no retry");
    let by_hand = running
        .send(
            running
                .request("POST", "/admin/functions/Sweep")
                .body(r#"{"input":""}"#),
        )
        .await;
    assert_eq!(by_hand.status, 202);
    running.invoked("Sweep", 2).await;
    running.host.stop().await;
}
