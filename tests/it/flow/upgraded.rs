//! A store that version 0.2 left in mid-story: this one goes on where it stopped, and loses and doubles nothing.
//!
//! Two failures were analysed, the third still has its message, and the message of the fourth was lost.

use std::path::Path;
use std::time::Duration;

use aiops_rca::flow::accept::AcceptStatus;
use aiops_rca::flow::{FAILURES, Flow, Message};
use aiops_rca::sources::{Parsed, airflow, databricks};
use aiops_rca::storage::Storage;
use aiops_rca::ticket::machine::{self, Event};
use aiops_rca::ticket::{Actor, Channel, Status, Ticket, TicketId};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::{self, build};

const IDS: [&str; 4] = [
    "ARF-20261129T220919-a40286",
    "ARF-20261129T220919-384f12",
    "ARF-20261129T220919-44288f",
    "DBX-20261129T220919-be3a52",
];

fn at(clock: &str) -> DateTime<Utc> {
    format!("2026-11-29T{clock}Z").parse().unwrap()
}

async fn left_by_version_0_2(storage: &Storage) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stored/store-0.2.ndjson");
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap();
        if row["queue"].is_string() {
            let put = storage.put(text("queue"), text("text"), Duration::ZERO);
            put.await.unwrap();
        } else {
            let (partition, name) = (text("partition"), text("row"));
            let put = storage.upsert(text("table"), partition, name, text("document"));
            put.await.unwrap();
        }
    }
}

fn reports() -> Vec<Parsed> {
    let task = |number: u32| {
        let body = json!({"dag_id": "nightly_load", "task_id": format!("task_{number}"),
            "run_id": format!("scheduled__2026-11-2{number}T00:00:00+00:00"), "state": "failed", "try_number": 1, "max_tries": 0,
            "operator": "PythonOperator", "exception": "KeyError: 'amount'"});
        airflow::parse(body.to_string().as_bytes()).unwrap()
    };
    let run = json!({"event_type": "jobs.on_failure", "workspace_id": "1234567890123456", "run": {"run_id": 901},
        "job": {"job_id": 77, "name": "job_1"}});
    let run = databricks::parse(run.to_string().as_bytes()).unwrap();
    vec![task(1), task(2), task(3), run]
}

/// Each is known already, under its id.
async fn report_again(flow: &Flow, now: DateTime<Utc>, name: &str) {
    for (report, id) in reports().into_iter().zip(IDS) {
        let accepted = flow.accept(report, now).await.unwrap();
        assert_eq!(accepted.status, AcceptStatus::Duplicate, "{name}: {id}");
        assert_eq!(accepted.ticket_id.unwrap().as_str(), id, "{name}");
    }
}

async fn work_off(flow: &Flow, now: DateTime<Utc>) {
    loop {
        let storage = flow.store.storage();
        let hidden = Duration::from_mins(10);
        let messages = storage.receive(FAILURES, 32, hidden).await.unwrap();
        if messages.is_empty() {
            return;
        }
        for message in messages {
            let task = Message::decode(&message.text).unwrap().task;
            flow.work(task, || now).await.unwrap();
            storage.delete_message(FAILURES, &message).await.unwrap();
        }
    }
}

async fn listed(flow: &Flow, now: DateTime<Utc>) -> Vec<(String, Status)> {
    let (listed, more) = flow.store.list(now, 7, None, 50, |_| true).await.unwrap();
    assert!(!more);
    let rows = listed
        .into_iter()
        .map(|row| (row.id.to_string(), row.status));
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    rows
}

async fn ticket(flow: &Flow, id: &str) -> Option<Ticket> {
    let id = TicketId::parse(id).unwrap();
    flow.store.load(&id).await.unwrap()
}

#[tokio::test]
async fn a_store_of_the_version_before_is_read_in_mid_story() {
    for (name, storage) in support::storages() {
        let flow = build::flow(storage);
        flow.prepare().await.unwrap();
        left_by_version_0_2(flow.store.storage()).await;
        let now = at("22:12:00");
        // Before anything was moved, and after.
        report_again(&flow, now, name).await;
        flow.sweep(now).await.unwrap();
        report_again(&flow, now, name).await;
        let later = at("22:40:00");
        flow.sweep(later).await.unwrap();
        work_off(&flow, later).await;
        for id in IDS {
            assert!(ticket(&flow, id).await.is_some(), "{name}: {id}");
        }
        // Yesterday's and tomorrow's days are listed in their turn.
        for _ in 0..3 {
            flow.sweep(later).await.unwrap();
        }
        let mut all = IDS.map(|id| (id.to_owned(), Status::Open)).to_vec();
        all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(listed(&flow, later).await, all, "{name}");

        // Its history and evidence are whole, and go on.
        let first = ticket(&flow, IDS[0]).await.unwrap();
        assert_eq!(first.count, 3, "{name}: reported three times");
        assert_eq!(flow.store.evidence(&first.id).await.unwrap().len(), 1);
        let before = flow.store.audit(&first).await.unwrap();
        let event = Event::StatusChanged {
            to: Status::Acknowledged,
            by: Actor {
                channel: Channel::Dashboard,
                name: "Jane Roe".to_owned(),
            },
            at: later,
            jira_status: None,
        };
        let closed = flow
            .store
            .update(&first.id, |ticket| machine::apply(ticket, &event, later));
        let closed = closed.await.unwrap().ticket;
        let after = flow.store.audit(&closed).await.unwrap();
        assert!(after.len() > before.len(), "{name}");
        assert_eq!(after[..before.len()], before, "{name}");
        all.iter_mut()
            .filter(|(id, _)| id == IDS[0])
            .for_each(|(_, status)| *status = Status::Acknowledged);
        assert_eq!(listed(&flow, later).await, all, "{name}");
        report_again(&flow, later, name).await;
        assert_eq!(listed(&flow, later).await.len(), 4, "{name}");

        let active = flow.store.storage();
        let active = active
            .scan("index", "active", "", "", 10, None)
            .await
            .unwrap();
        assert_eq!(active.entities, [], "{name}: everything was moved on");
    }
}
