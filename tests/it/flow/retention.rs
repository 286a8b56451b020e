//! What is older than `RETENTION_DAYS` goes, with everything that leads to it.

use aiops_rca::flow::accept::AcceptStatus;
use aiops_rca::flow::{Flow, Task};
use aiops_rca::sources::{Parsed, airflow};
use aiops_rca::storage::{Storage, StorageSettings};
use aiops_rca::ticket::machine::{self, Event};
use aiops_rca::ticket::store::{DeadLetter, PastRemediation, Retained};
use aiops_rca::ticket::{Actor, Channel, Status, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::machine::{at, failure};
use crate::support::{self, build};

const DAYS: u32 = 30;

fn flow(storage: Storage) -> Flow {
    Flow {
        retention_days: Some(DAYS),
        ..build::flow(storage)
    }
}

/// So many days after the failures.
fn day(days: i64) -> DateTime<Utc> {
    at(0) + TimeDelta::days(days)
}

async fn reported(flow: &Flow, parsed: Parsed, now: DateTime<Utc>) -> (AcceptStatus, TicketId) {
    let accepted = flow.accept(parsed, now).await.unwrap();
    let id = accepted.ticket_id.unwrap();
    if accepted.status == AcceptStatus::Accepted {
        let task = Task::Failure { ticket: id.clone() };
        flow.work(task, || now).await.unwrap();
    }
    (accepted.status, id)
}

fn of_adf() -> Parsed {
    Parsed::Failures(vec![failure()])
}

fn of_airflow() -> Parsed {
    let body = json!({"dag_id": "nightly", "task_id": "load", "run_id": "scheduled__2025-12-12", "state": "failed",
        "try_number": 1, "max_tries": 0, "exception": "KeyError: 'amount'"});
    airflow::parse(body.to_string().as_bytes()).unwrap()
}

async fn moved(flow: &Flow, id: &TicketId, to: Status, now: DateTime<Utc>) {
    let by = Actor {
        channel: Channel::Dashboard,
        name: "Jane Roe".to_owned(),
    };
    let event = Event::StatusChanged {
        to,
        by,
        at: now,
        jira_status: None,
    };
    let changed = flow
        .store
        .update(id, |ticket| machine::apply(ticket, &event, now));
    changed.await.unwrap();
}

/// The store was looked through until the day before the failures.
async fn begun(flow: &Flow) {
    let first = (day(0) - TimeDelta::days(1)).date_naive();
    flow.store
        .put_retained(&Retained::since(first))
        .await
        .unwrap();
}

#[tokio::test]
async fn closed_tickets_go_and_open_ones_stay_until_they_are_closed() {
    for (name, storage) in support::storages() {
        let flow = flow(storage);
        flow.prepare().await.unwrap();
        begun(&flow).await;
        let (_, closed) = reported(&flow, of_adf(), at(0)).await;
        let (_, open) = reported(&flow, of_airflow(), at(0)).await;
        moved(&flow, &closed, Status::Acknowledged, at(60)).await;
        let letter = |number: i64, at: DateTime<Utc>| DeadLetter {
            id: format!("{}-{number}", at.format("%Y%m%dT%H%M")),
            queue: "failures".to_owned(),
            text: "{}".to_owned(),
            reason: "given up".to_owned(),
            at,
            replayed_at: None,
        };
        for letter in [letter(1, at(0)), letter(2, day(20))] {
            assert!(flow.store.record_dead_letter(&letter).await.unwrap());
        }

        assert_eq!(flow.retain(day(29)).await.unwrap(), 0, "{name}");
        assert!(flow.store.load(&closed).await.unwrap().is_some());
        assert_eq!(flow.store.dead_letters().await.unwrap().len(), 2);

        assert_eq!(flow.retain(day(31)).await.unwrap(), 1, "{name}");
        assert_eq!(flow.store.load(&closed).await.unwrap(), None);
        assert!(flow.store.load(&open).await.unwrap().is_some());
        let (listed, _) = flow
            .store
            .list(day(31), 60, None, 10, |_| true)
            .await
            .unwrap();
        let listed: Vec<_> = listed.into_iter().map(|listed| listed.id).collect();
        assert_eq!(listed, std::slice::from_ref(&open), "{name}");
        assert_eq!(flow.store.dead_letters().await.unwrap().len(), 1);

        // Its run is a new one by now; the open one's is known.
        let (status, again) = reported(&flow, of_adf(), day(31)).await;
        assert_eq!(status, AcceptStatus::Accepted, "{name}");
        assert_ne!(again, closed);
        let (status, known) = reported(&flow, of_airflow(), day(31)).await;
        assert_eq!((status, &known), (AcceptStatus::Duplicate, &open), "{name}");

        moved(&flow, &open, Status::Acknowledged, day(32)).await;
        assert_eq!(flow.retain(day(33)).await.unwrap(), 1, "{name}");
        assert_eq!(flow.store.load(&open).await.unwrap(), None);
        assert!(flow.store.load(&again).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn without_the_setting_everything_stays() {
    let flow = build::flow(support::embedded());
    flow.prepare().await.unwrap();
    begun(&flow).await;
    let (_, closed) = reported(&flow, of_adf(), at(0)).await;
    moved(&flow, &closed, Status::Acknowledged, at(60)).await;
    assert_eq!(flow.retain(day(3000)).await.unwrap(), 0);
    assert!(flow.store.load(&closed).await.unwrap().is_some());
}

#[tokio::test]
async fn nothing_of_a_ticket_is_left() {
    let path = support::embedded_path();
    let settings = StorageSettings::embedded(&path);
    let flow = flow(Storage::open(&settings, &support::http()).unwrap());
    flow.prepare().await.unwrap();
    begun(&flow).await;
    for (number, parsed) in [of_adf(), of_airflow()].into_iter().enumerate() {
        let (_, id) = reported(&flow, parsed, at(0)).await;
        let ticket = flow.store.load(&id).await.unwrap().unwrap();
        let store = &flow.store;
        let attempt = format!("{id}-a1");
        assert!(
            store
                .spend_attempt(&ticket.failure, &attempt, 3)
                .await
                .unwrap()
        );
        let past = PastRemediation {
            at: at(30),
            healed: true,
        };
        store.record_remediation(&ticket, &past).await.unwrap();
        let (key, issue) = (format!("APAIOPS-{number}"), format!("1000{number}"));
        store.index_issue(&key, Some(&issue), &id).await.unwrap();
        store
            .update(&id, |ticket| {
                let mut ticket = ticket.clone();
                ticket.jira.key = Some(key.clone());
                ticket.jira.id = Some(issue.clone());
                Ok(machine::Change {
                    ticket,
                    visible: false,
                    at: at(30),
                })
            })
            .await
            .unwrap();
        moved(&flow, &id, Status::InProgress, at(40)).await;
        moved(&flow, &id, Status::Acknowledged, at(60)).await;
    }
    assert_eq!(flow.retain(day(40)).await.unwrap(), 2);
    // What is due by then finds nothing, and goes too.
    flow.sweep(day(40)).await.unwrap();

    let file = rusqlite::Connection::open(&path).unwrap();
    let mut rows = file
        .prepare("SELECT table_name || ' ' || partition || ' ' || row FROM entity")
        .unwrap();
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let left: Vec<String> = rows.map(Result::unwrap).collect();
    let cursors = ["layout", "probe", "retention"].map(|row| format!("rcaindex cursor {row}"));
    assert_eq!(left, cursors);
}

#[tokio::test]
async fn export_writes_what_would_go_with_history_and_evidence() {
    let path = support::embedded_path();
    let settings = StorageSettings::embedded(&path);
    let flow = flow(Storage::open(&settings, &support::http()).unwrap());
    flow.prepare().await.unwrap();
    let (_, old) = reported(&flow, of_adf(), at(0)).await;
    moved(&flow, &old, Status::Acknowledged, at(60)).await;
    let (_, young) = reported(&flow, of_airflow(), day(1)).await;
    let export = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"));
        command.env_clear().env("AIOPS_RCA_STORE", &path);
        command.env("STORAGE_PREFIX", "rca").arg("export");
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<serde_json::Value>>()
    };
    let lines = export(&["--before", "2025-12-13"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!(line["ticket"]["id"], old.as_str());
    assert_eq!(line["ticket"]["status"], "acknowledged");
    let audit = line["audit"].as_array().unwrap();
    assert!(
        audit
            .iter()
            .any(|entry| entry.to_string().contains("Jane Roe")),
        "{audit:?}"
    );
    let evidence = line["evidence"].as_array().unwrap();
    assert!(!evidence.is_empty());
    let lines = export(&["--since", "2025-12-13", "--before", "2025-12-14"]);
    assert_eq!(lines[0]["ticket"]["id"], young.as_str());
    assert_eq!(lines.len(), 1);
}
