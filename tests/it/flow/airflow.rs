//! One failure of one task instance is one story: what real Airflow reported, in any order, and by hand.

use std::collections::{BTreeMap, BTreeSet};

use aiops_rca::failure::Failure;
use aiops_rca::flow::Task;
use aiops_rca::sinks::playbook::callback;
use aiops_rca::sources::{Parsed, airflow};
use aiops_rca::ticket::machine::{Event, Report};
use aiops_rca::ticket::{
    Actor, AttemptState, Channel, ChapterKind, RemediationState, Status, Ticket, TicketId,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{AcceptStatus, Rig};
use crate::machine::at;

const RUN: &str = "manual__2026-11-29T04:00:00+00:00";
const CONNECTION: &str = "ConnectionError: connection error while reading from api.example.com:443";

fn parsed(body: &Value) -> Failure {
    match airflow::parse(body.to_string().as_bytes()).unwrap() {
        Parsed::Failures(failures) => failures.into_iter().next().unwrap(),
        other => panic!("{other:?} for {body}"),
    }
}

fn task(name: &str, try_number: i64, ended: i64) -> Value {
    json!({"level": "task", "dag_id": "etl", "task_id": name, "run_id": RUN, "state": "failed", "try_number": try_number,
        "max_tries": try_number - 1, "map_index": -1, "operator": "PythonOperator", "exception": CONNECTION, "exception_type": "ConnectionError",
        "end_date": at(ended).to_rfc3339(), "log_url": format!("http://airflow.example.com:8080/dags/etl/runs/{RUN}/tasks/{name}?try_number={try_number}")})
}

/// The same without a link, which would lead to a deployment that nothing confirms: a person would be asked.
fn unlinked(mut body: Value) -> Value {
    body.as_object_mut().unwrap().remove("log_url");
    body
}

/// A DAG's own report; Airflow 3 sends it without a link when no task instance is at hand.
fn dag(ended: i64) -> Value {
    json!({"level": "dag", "dag_id": "etl", "run_id": RUN, "run_type": "manual", "state": "failed", "reason": "task_failure",
        "exception": "", "end_date": at(ended).to_rfc3339()})
}

impl Rig {
    async fn says(&self, body: &Value, now: i64) -> (TicketId, AcceptStatus) {
        self.accept(&parsed(body), at(now)).await
    }

    pub(super) async fn analysed(&self, id: &TicketId, now: DateTime<Utc>) -> Ticket {
        let task = Task::Failure { ticket: id.clone() };
        self.flow.work(task, || now).await.unwrap();
        self.load(id).await
    }

    pub(super) async fn closed(&self, id: &TicketId, now: i64) -> Ticket {
        let close = Event::StatusChanged {
            to: Status::Acknowledged,
            by: Actor {
                channel: Channel::Dashboard,
                name: "Jane Roe".to_owned(),
            },
            at: at(now),
            jira_status: None,
        };
        self.flow.apply(id, &close, at(now)).await.unwrap()
    }
}

/// What was recorded, one body per line.
fn recorded(version: &str) -> Vec<Value> {
    let path = format!(
        "{}/tests/fixtures/airflow/callbacks-{version}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The failed units of these reports: task instances, and runs of which no task was reported.
fn units(bodies: &[Value]) -> usize {
    let (mut tasks, mut runs) = (BTreeSet::new(), BTreeSet::new());
    for body in bodies {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let run = (text("dag_id"), text("run_id"));
        if body["task_id"].is_string() {
            let link = text("log_url");
            let behind = |word: &str| {
                let (_, rest) = link.split_once(word)?;
                rest.split(|c: char| !c.is_ascii_digit())
                    .next()?
                    .parse()
                    .ok()
            };
            let index = body["map_index"].as_i64().filter(|index| *index >= 0);
            let index = index.or(behind("/mapped/")).or(behind("map_index="));
            tasks.insert((run, text("task_id"), index));
        } else {
            runs.insert(run);
        }
    }
    let named: BTreeSet<_> = tasks.iter().map(|(run, _, _)| run.clone()).collect();
    tasks.len() + runs.difference(&named).count()
}

async fn tickets_of(bodies: &[Value], repeats: usize) -> BTreeSet<TicketId> {
    let rig = Rig::build().await;
    let mut tickets = BTreeSet::new();
    for (number, body) in bodies.iter().enumerate() {
        let Ok(Parsed::Failures(failures)) = airflow::parse(body.to_string().as_bytes()) else {
            continue;
        };
        for _ in 0..repeats {
            let (id, _) = rig.accept(&failures[0], at(0)).await;
            tickets.insert(id.clone());
            // Some are analysed at once, some late.
            if number % 3 != 0 {
                rig.analysed(&id, at(1)).await;
            }
        }
    }
    let mut opened = BTreeSet::new();
    for id in &tickets {
        opened.insert(rig.analysed(id, at(2)).await.id);
    }
    opened
}

#[tokio::test]
async fn recorded_reports_open_one_ticket_a_failed_unit_in_any_order() {
    for version in ["2.10.5", "3.1.8", "3.3.2-first", "3.3.2"] {
        let mut bodies = recorded(version);
        // 3.1 reports a try that will be repeated: it opens nothing.
        bodies.retain(|body| {
            matches!(
                airflow::parse(body.to_string().as_bytes()),
                Ok(Parsed::Failures(_))
            )
        });
        let want = units(&bodies);
        assert_eq!(tickets_of(&bodies, 1).await.len(), want, "{version}");
        bodies.reverse();
        assert_eq!(tickets_of(&bodies, 2).await.len(), want, "{version}");
        let seed = 4711;
        fastrand::Rng::with_seed(seed).shuffle(&mut bodies);
        assert_eq!(
            tickets_of(&bodies, 1).await.len(),
            want,
            "{version}, seed {seed}"
        );
    }
}

#[tokio::test]
async fn tries_and_the_dags_own_report_join_the_open_ticket() {
    let rig = Rig::build().await;
    let (first, status) = rig.says(&task("extract", 1, 0), 1).await;
    assert_eq!(status, AcceptStatus::Accepted);
    rig.analysed(&first, at(2)).await;
    for (body, now) in [(dag(3), 4), (task("extract", 2, 20), 21), (dag(23), 24)] {
        assert_eq!(
            rig.says(&body, now).await,
            (first.clone(), AcceptStatus::Duplicate),
            "{body}"
        );
    }
    let ticket = rig.load(&first).await;
    let told: Vec<&str> = ticket
        .story
        .iter()
        .filter(|chapter| chapter.kind == ChapterKind::Recurrence)
        .map(|chapter| chapter.text.as_str())
        .collect();
    assert_eq!(
        (ticket.count, ticket.failure.field("try_number")),
        (4, Some("2"))
    );
    // The second end of the run belongs to the second try; it is no third failure.
    assert_eq!(
        told.first(),
        Some(&"It failed again, in try 2: ConnectionError")
    );
    let (other, status) = rig.says(&task("load", 1, 30), 31).await;
    assert_ne!(other, first);
    assert_eq!(status, AcceptStatus::Accepted, "another task of the run");
}

#[tokio::test]
async fn after_the_close_a_later_try_opens_a_ticket_that_names_the_old_one() {
    let rig = Rig::build().await;
    let (first, _) = rig.says(&task("extract", 2, 0), 1).await;
    rig.analysed(&first, at(2)).await;
    rig.says(&dag(3), 4).await;
    rig.closed(&first, 60).await;
    for old in [task("extract", 2, 0), task("extract", 1, -50), dag(3)] {
        assert_eq!(
            rig.says(&old, 70).await,
            (first.clone(), AcceptStatus::Duplicate),
            "{old}"
        );
    }
    let (second, status) = rig.says(&task("extract", 3, 100), 101).await;
    assert_eq!(status, AcceptStatus::Accepted);
    let ticket = rig.analysed(&second, at(102)).await;
    assert_eq!(ticket.follows.as_ref(), Some(&first));
    assert!(ticket.story[0].text.contains(first.as_str()));
    // Old reports still find the old ticket, the new end of the run the new one.
    assert_eq!(rig.says(&task("extract", 2, 0), 103).await.0, first);
    assert_eq!(rig.says(&dag(104), 105).await.0, second);
    rig.closed(&second, 200).await;
    let (third, _) = rig.says(&task("extract", 4, 300), 301).await;
    let ticket = rig.analysed(&third, at(302)).await;
    assert_eq!(ticket.follows, Some(second));
}

#[tokio::test]
async fn a_report_of_the_dag_becomes_its_tasks_ticket() {
    for analysed in [false, true] {
        let rig = Rig::build().await;
        let (first, _) = rig.says(&dag(3), 4).await;
        if analysed {
            let ticket = rig.analysed(&first, at(5)).await;
            assert_eq!(ticket.failure.asset, "etl");
        }
        assert_eq!(
            rig.says(&task("extract", 1, 0), 6).await,
            (first.clone(), AcceptStatus::Duplicate)
        );
        let ticket = rig.analysed(&first, at(7)).await;
        assert_eq!(ticket.failure.asset, "etl.extract");
        assert_eq!(ticket.diagnosis.category.words(), "network");
        // A second failed task is no part of it.
        assert_ne!(rig.says(&task("load", 1, 1), 8).await.0, first);
        assert_eq!(rig.says(&task("extract", 1, 0), 9).await.0, first);
        assert_eq!(rig.says(&dag(3), 9).await.0, first);
    }
}

#[tokio::test]
async fn deployments_that_share_ids_do_not_share_tickets() {
    let rig = Rig::build().await;
    let at_deployment = |mut body: Value, name: &str| {
        body["deployment"] = json!(name);
        body
    };
    let (prod, _) = rig
        .says(&at_deployment(task("extract", 1, 0), "prod"), 1)
        .await;
    let (test, _) = rig
        .says(&at_deployment(task("extract", 1, 0), "test"), 1)
        .await;
    assert_ne!(prod, test);
    for (name, ticket) in [("prod", &prod), ("test", &test)] {
        assert_eq!(&rig.says(&at_deployment(dag(3), name), 4).await.0, ticket);
    }
}

#[tokio::test]
async fn a_rerun_that_fails_is_the_end_of_its_attempt_whoever_reports_it() {
    for rerun in [unlinked(task("extract", 2, 150)), dag(150)] {
        let rig = Rig::build().await;
        let (first, _) = rig.says(&unlinked(task("extract", 1, 0)), 0).await;
        rig.says(&dag(2), 2).await;
        let ticket = rig.analysed(&first, at(3)).await;
        let due = ticket.current_attempt().unwrap().due_at;
        let ticket = rig.deliver(&first, due).await;
        assert_eq!(
            ticket.current_attempt().unwrap().state,
            AttemptState::Accepted
        );
        assert_eq!(
            rig.says(&rerun, 151).await,
            (first.clone(), AcceptStatus::Duplicate)
        );
        let ticket = rig.load(&first).await;
        assert_eq!(
            ticket.remediation.attempts[0].state,
            AttemptState::Failed,
            "{rerun}"
        );
        assert_eq!(ticket.remediation.attempts.len(), 2);
    }
}

/// The brake: whatever the tickets are called, a task of a run is not rerun more often than one ticket may.
#[tokio::test]
async fn no_more_attempts_a_run_than_one_ticket_has() {
    let mut rig = Rig::build().await;
    rig.flow.remediation.flapping_limit = 99;
    let mut now = 0;
    let mut made: BTreeMap<TicketId, usize> = BTreeMap::new();
    let (mut last, mut told) = (None, String::new());
    for number in 1..=6 {
        let (id, status) = rig
            .says(&unlinked(task("extract", number, now)), now + 1)
            .await;
        assert_eq!(status, AcceptStatus::Accepted);
        let ticket = rig.analysed(&id, at(now + 2)).await;
        let due = ticket.current_attempt().unwrap().due_at;
        let ticket = rig.deliver(&id, due).await;
        made.insert(id.clone(), rig.calls());
        told = ticket.remediation.decision.clone();
        if let Some(attempt) = ticket.current_attempt() {
            let event = Event::AttemptReported {
                attempt: attempt.id.clone(),
                report: Report::Succeeded,
                run_id: Some(RUN.to_owned()),
            };
            rig.flow.apply(&id, &event, due).await.unwrap();
        } else {
            assert_eq!(ticket.remediation.state, RemediationState::None);
            rig.closed(&id, now + 200).await;
        }
        last = Some(id);
        now += 1000;
    }
    assert_eq!(rig.calls(), 3, "{made:?}");
    assert!(
        told.contains("3 attempts were made on etl.extract in this run"),
        "{told}"
    );
    assert!(rig.load(&last.unwrap()).await.follows.is_some());
}

/// What the playbook's guard found is no failed attempt, and burns none.
#[tokio::test]
async fn a_task_that_runs_or_succeeded_already_is_waited_for() {
    let rig = Rig::build().await;
    let (id, _) = rig.says(&unlinked(task("extract", 1, 0)), 0).await;
    let mut ticket = rig.analysed(&id, at(1)).await;
    let guard = |state: &str| {
        let body = json!({"status": "failed", "success": false,
            "error_message": format!("The task is in the state {state}, not failed; nothing was done.")});
        callback::parse(body.to_string().as_bytes()).unwrap()
    };
    for round in 1..=5 {
        let attempt = ticket.current_attempt().unwrap().clone();
        rig.deliver(&id, attempt.due_at).await;
        assert_eq!(rig.calls(), round);
        rig.flow
            .callback(&id, &attempt.id, &guard("running"), attempt.due_at)
            .await
            .unwrap();
        ticket = rig.load(&id).await;
        let waits = ticket.current_attempt().unwrap();
        assert_eq!(
            (waits.number, waits.state),
            (1, AttemptState::Scheduled),
            "round {round}"
        );
        assert!(waits.due_at >= attempt.due_at + chrono::TimeDelta::seconds(60));
    }
    let attempt = ticket.current_attempt().unwrap().clone();
    rig.deliver(&id, attempt.due_at).await;
    rig.flow
        .callback(&id, &attempt.id, &guard("success"), attempt.due_at)
        .await
        .unwrap();
    let ticket = rig.load(&id).await;
    let healed = &ticket.remediation.attempts[0];
    assert_eq!(
        (healed.state, healed.run_id.as_deref()),
        (AttemptState::Verifying, Some(RUN))
    );
    assert_eq!(ticket.remediation.attempts.len(), 1);
}

#[tokio::test]
async fn a_test_run_without_a_scheduler_is_marked_and_left_alone() {
    let rig = Rig::build().await;
    let (id, _) = rig.says(&unlinked(task("extract", 0, 0)), 0).await;
    let ticket = rig.analysed(&id, at(1)).await;
    assert_eq!(ticket.failure.field("test_run"), Some("true"));
    assert_eq!(ticket.remediation.state, RemediationState::None);
    assert!(
        ticket.remediation.decision.contains("test run"),
        "{}",
        ticket.remediation.decision
    );
}
