//! the flow in one process, step by step: what the host would do is done by hand, at any time of day.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use crate::support::build;
use std::collections::BTreeMap;
use std::sync::Arc;

use aiops_rca::diagnosis::Action;
use aiops_rca::failure::{AlertRef, AssetKind, Failure, RunKey, Source, field};
use aiops_rca::flow::accept::AcceptStatus;
use aiops_rca::flow::{DELIVERIES, FAILURES, Flow, Message, Task};
use aiops_rca::remediation::RemediationSettings;
use aiops_rca::sinks::Sinks;
use aiops_rca::sinks::playbook::{PlaybookSettings, Playbooks, SecretUrl};
use aiops_rca::sources::{Parsed, RowsOf, RowsRequest};
use aiops_rca::ticket::machine::{Event, Report};
use aiops_rca::ticket::store::{AssetLock, DeadLetter};
use aiops_rca::ticket::{
    Actor, AttemptState, Channel, RemediationState, Sink, Status, Ticket, TicketId,
};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use simulators::{self, Answer, Server, Site};

use crate::machine::{at, failure};
use crate::support;

mod airflow;
mod cases;
mod claims;
mod deployment;
mod incidents;
mod retention;
mod silences;
mod stories;
mod upgraded;

/// A playbook that takes everything and never calls back.
struct Silent;

impl Site for Silent {
    fn answer(&self, _: &simulators::Request) -> Answer {
        Answer::empty(202)
    }
}

struct Rig {
    flow: Flow,
    playbook: Server,
}

impl Rig {
    async fn build() -> Self {
        Self::with(Arc::new(Silent)).await
    }

    async fn with(playbook: Arc<impl Site>) -> Self {
        let playbook = simulators::serve(0, playbook).await.unwrap();
        let actions = [Action::RetryPipeline, Action::RetryJob, Action::RetryTask];
        let url = SecretUrl::parse(&playbook.url()).unwrap();
        let settings = PlaybookSettings {
            urls: actions
                .into_iter()
                .map(|action| (action, url.clone()))
                .collect(),
            callback_base: "https://rca.example.com".parse().unwrap(),
            signing_key: SecretString::from("a signing key of the test"),
        };
        let flow = Flow {
            sinks: Sinks {
                playbook: Some(Playbooks::new(settings, support::http())),
                ..Sinks::default()
            },
            remediation: RemediationSettings {
                enabled: true,
                playbooks: actions.into_iter().collect(),
                ..RemediationSettings::default()
            },
            ..build::flow(support::embedded())
        };
        flow.prepare().await.unwrap();
        Self { flow, playbook }
    }

    async fn accept(&self, failure: &Failure, now: DateTime<Utc>) -> (TicketId, AcceptStatus) {
        let accepted = self
            .flow
            .accept(Parsed::Failures(vec![failure.clone()]), now)
            .await
            .unwrap();
        (accepted.ticket_id.unwrap(), accepted.status)
    }

    async fn open(&self, failure: &Failure, now: DateTime<Utc>) -> Ticket {
        let (id, status) = self.accept(failure, now).await;
        assert_eq!(status, AcceptStatus::Accepted);
        self.flow
            .work(Task::Failure { ticket: id.clone() }, || now)
            .await
            .unwrap();
        self.load(&id).await
    }

    async fn load(&self, id: &TicketId) -> Ticket {
        self.flow.store.load(id).await.unwrap().unwrap()
    }

    async fn deliver(&self, id: &TicketId, now: DateTime<Utc>) -> Ticket {
        let text = format!(r#"{{"ticket":"{id}","sink":"playbook","attempt":0}}"#);
        let task = Message::decode(&text).unwrap().task;
        self.flow.work(task, move || now).await.unwrap();
        self.load(id).await
    }

    /// Opens a ticket whose first attempt is under way as this run.
    async fn heal(&self, failure: &Failure, run: &str) -> Ticket {
        let ticket = self.open(failure, at(0)).await;
        assert_eq!(
            ticket.remediation.state,
            RemediationState::Scheduled,
            "{}",
            ticket.remediation.decision
        );
        let ticket = self
            .deliver(&ticket.id, ticket.current_attempt().unwrap().due_at)
            .await;
        assert_eq!(
            ticket.current_attempt().unwrap().state,
            AttemptState::Accepted
        );
        self.report(&ticket, Report::Progress, Some(run), at(200))
            .await
    }

    async fn report(
        &self,
        ticket: &Ticket,
        report: Report,
        run: Option<&str>,
        now: DateTime<Utc>,
    ) -> Ticket {
        let attempt = ticket.current_attempt().unwrap().id.clone();
        let event = Event::AttemptReported {
            attempt,
            report,
            run_id: run.map(str::to_owned),
        };
        self.flow.apply(&ticket.id, &event, now).await.unwrap()
    }

    async fn lock_of(&self, failure: &Failure) -> Option<AssetLock> {
        self.flow
            .store
            .asset_lock(&failure.asset_id())
            .await
            .unwrap()
    }

    fn calls(&self) -> usize {
        self.playbook.requests().len()
    }
}

fn of_databricks() -> Failure {
    Failure {
        source: Source::Databricks,
        key: RunKey::new(Source::Databricks, "", "4711", "", ""),
        kind: AssetKind::Job,
        asset: "nightly".to_owned(),
        run_id: Some("4711".to_owned()),
        error_code: Some("CLOUD_PROVIDER_LAUNCH_FAILURE".to_owned()),
        message: "A cloud provider error occurred while launching the cluster.".to_owned(),
        context: BTreeMap::from([
            (field::KIND.to_owned(), "job".to_owned()),
            (field::JOB_ID.to_owned(), "7".to_owned()),
        ]),
        ..failure()
    }
}

fn of_airflow(dag: &str, map_index: &str, attempt: &str) -> Failure {
    let run = "scheduled__2025-12-12T00:00:00+00:00";
    Failure {
        source: Source::Airflow,
        key: RunKey::new(Source::Airflow, dag, run, &format!("load[{map_index}]"), ""),
        kind: AssetKind::Task,
        asset: format!("{dag}.load"),
        run_id: Some(run.to_owned()),
        error_code: None,
        message:
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.example.com', port=443): Max retries exceeded \
                  (Caused by NewConnectionError: Failed to establish a new connection: [Errno 111] Connection refused)"
                .to_owned(),
        context: BTreeMap::from([
            (field::DAG_ID.to_owned(), dag.to_owned()),
            (field::TASK_ID.to_owned(), "load".to_owned()),
            (field::MAP_INDEX.to_owned(), map_index.to_owned()),
            (field::TRY_NUMBER.to_owned(), attempt.to_owned()),
        ]),
        ..failure()
    }
}

#[tokio::test]
async fn the_next_attempt_gets_the_asset_of_the_last() {
    let rig = Rig::build().await;
    let ticket = rig.heal(&failure(), "run-2").await;
    assert!(rig.lock_of(&ticket.failure).await.is_some());
    let ticket = rig
        .report(&ticket, Report::Failed("no".to_owned()), None, at(300))
        .await;
    let next = ticket.current_attempt().unwrap();
    assert_eq!((next.number, next.due_at), (2, at(360)));
    let ticket = rig.deliver(&ticket.id, at(360)).await;
    assert_eq!(
        (ticket.current_attempt().unwrap().state, rig.calls()),
        (AttemptState::Accepted, 2)
    );
    let healed = rig
        .report(&ticket, Report::Succeeded, Some("run-3"), at(400))
        .await;
    assert_eq!(
        (healed.status, rig.lock_of(&healed.failure).await),
        (Status::Acknowledged, None)
    );
    // The first attempt's run is known as well: its late alert opens no ticket.
    for run in ["run-2", "run-3"] {
        let late = Failure {
            run_id: Some(run.to_owned()),
            key: RunKey::new(Source::Adf, "", run, "", ""),
            ..failure()
        };
        assert_eq!(
            rig.accept(&late, at(500)).await,
            (healed.id.clone(), AcceptStatus::Duplicate)
        );
    }
}

#[tokio::test]
async fn an_asset_is_freed_when_its_attempt_died() {
    let rig = Rig::build().await;
    let first = rig.open(&failure(), at(0)).await;
    let attempt = first.current_attempt().unwrap().id.clone();
    let lock = AssetLock {
        ticket: first.id.clone(),
        attempt,
        since: at(30),
    };
    let close = Event::StatusChanged {
        to: Status::Acknowledged,
        by: Actor {
            channel: Channel::Slack,
            name: "John Doe".to_owned(),
        },
        at: at(29),
        jira_status: None,
    };
    rig.flow.apply(&first.id, &close, at(29)).await.unwrap();
    // The delivery took the asset at the same moment, and died before it learnt of the close.
    assert_eq!(
        rig.flow
            .store
            .lock_asset(&first.failure.asset_id(), &lock)
            .await
            .unwrap(),
        None
    );
    rig.flow.sweep(at(120)).await.unwrap();
    assert_eq!(rig.lock_of(&first.failure).await, None);
    // Without the sweep the next one that wants it frees it.
    rig.flow
        .store
        .lock_asset(&first.failure.asset_id(), &lock)
        .await
        .unwrap();
    let another = Failure {
        run_id: Some("run-9".to_owned()),
        key: RunKey::new(Source::Adf, "", "run-9", "", ""),
        ..failure()
    };
    let second = rig.open(&another, at(200)).await;
    rig.deliver(&second.id, at(240)).await;
    let second = rig.deliver(&second.id, at(245)).await;
    assert_eq!(
        (second.current_attempt().unwrap().state, rig.calls()),
        (AttemptState::Accepted, 1)
    );
}

#[tokio::test]
async fn only_so_many_attempts_run_at_once() {
    let mut rig = Rig::build().await;
    rig.flow.remediation.max_running = 1;
    rig.heal(&failure(), "run-2").await;
    let another = Failure {
        asset: "pl_other".to_owned(),
        run_id: Some("run-9".to_owned()),
        key: RunKey::new(Source::Adf, "", "run-9", "", ""),
        ..failure()
    };
    let second = rig.open(&another, at(0)).await;
    let second = rig.deliver(&second.id, at(60)).await;
    assert_eq!(
        (second.current_attempt().unwrap().state, rig.calls()),
        (AttemptState::Scheduled, 1)
    );
    assert_eq!(
        rig.lock_of(&second.failure).await,
        None,
        "waiting, it holds nothing"
    );
}

#[tokio::test]
async fn a_repeated_report_is_not_the_failure_of_the_repair() {
    let rig = Rig::build().await;
    // A repair keeps the run's id.
    let ticket = rig.heal(&of_databricks(), "4711").await;
    assert_eq!(
        rig.accept(&of_databricks(), at(210)).await,
        (ticket.id.clone(), AcceptStatus::Duplicate)
    );
    let after = rig.load(&ticket.id).await;
    assert_eq!(
        (after.count, after.current_attempt().unwrap().state),
        (2, AttemptState::Accepted)
    );
    assert_eq!(rig.calls(), 1, "one attempt, one call");
}

#[tokio::test]
async fn a_run_id_that_airflow_reuses_hides_nobodys_failure() {
    let rig = Rig::build().await;
    let first = of_airflow("sales", "0", "1");
    let run = first.run_id.clone().unwrap();
    let ticket = rig.heal(&first, &run).await;
    // Another DAG and another mapped task of the same run have tickets of their own, at the door and in the analysis.
    for other in [
        of_airflow("finance", "0", "1"),
        of_airflow("sales", "1", "1"),
    ] {
        assert_ne!(rig.open(&other, at(210)).await.id, ticket.id);
    }
    assert_eq!(
        rig.load(&ticket.id).await.current_attempt().unwrap().state,
        AttemptState::Accepted
    );
    // The next try of this very task is the attempt.
    assert_eq!(
        rig.accept(&of_airflow("sales", "0", "2"), at(220)).await,
        (ticket.id.clone(), AcceptStatus::Duplicate)
    );
    let failed = rig.load(&ticket.id).await;
    assert_eq!(failed.remediation.attempts[0].state, AttemptState::Failed);
    // Healed and closed; the same task fails days later in a cleared run: news.
    let next = rig
        .deliver(&ticket.id, failed.current_attempt().unwrap().due_at)
        .await;
    rig.report(&next, Report::Succeeded, Some(&run), at(400))
        .await;
    let (_, status) = rig.accept(&of_airflow("sales", "0", "5"), at(90_000)).await;
    assert_eq!(status, AcceptStatus::Accepted);
}

#[tokio::test]
async fn a_body_without_failures_is_ignored() {
    let rig = Rig::build().await;
    let accepted = rig
        .flow
        .accept(Parsed::Failures(Vec::new()), at(0))
        .await
        .unwrap();
    assert_eq!(
        (accepted.status, accepted.ticket_id),
        (AcceptStatus::Ignored, None)
    );
}

#[tokio::test]
async fn dead_letters_are_found_behind_replayed_ones_and_work_again() {
    let rig = Rig::build().await;
    let store = &rig.flow.store;
    for number in 0..501 {
        let letter = DeadLetter {
            id: format!("20250101T0000-{number:04}"),
            queue: DELIVERIES.to_owned(),
            text: "{}".to_owned(),
            reason: "old".to_owned(),
            at: at(0),
            replayed_at: Some(at(1)),
        };
        assert!(store.record_dead_letter(&letter).await.unwrap());
    }
    let ticket = rig.open(&failure(), at(0)).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let text = format!(
        r#"{{"ticket":"{}","sink":"playbook","attempt":0,"trace":"{trace}"}}"#,
        ticket.id
    );
    rig.flow
        .record_dead_letter(DELIVERIES, &text, at(100))
        .await
        .unwrap();
    let given_up = rig.load(&ticket.id).await;
    assert!(
        !given_up.lags(Sink::Playbook),
        "the sweep does not put it again and again"
    );
    assert!(given_up.fault(Sink::Playbook).is_some());
    let replayed = rig.flow.replay(None, at(200)).await.unwrap();
    assert_eq!(
        replayed
            .iter()
            .map(|letter| letter.text.as_str())
            .collect::<Vec<_>>(),
        [text.as_str()]
    );
    let ticket = rig.deliver(&ticket.id, at(200)).await;
    assert_eq!(
        ticket.current_attempt().unwrap().state,
        AttemptState::Accepted
    );
    assert!(
        rig.flow.replay(None, at(300)).await.unwrap().is_empty(),
        "once"
    );
    let foreign = "password=hunter2";
    rig.flow
        .record_dead_letter(DELIVERIES, foreign, at(400))
        .await
        .unwrap();
    assert!(
        !store
            .dead_letters()
            .await
            .unwrap()
            .iter()
            .any(|letter| letter.text.contains("hunter2"))
    );
}

#[tokio::test]
async fn a_tick_looks_after_more_than_one_page() {
    let rig = Rig::build().await;
    for number in 0..1650_u32 {
        let id = TicketId::new(Source::Adf, at(0), number);
        let store = &rig.flow.store;
        store.look_at(id.as_str(), at(0)).await.unwrap();
    }
    let swept = rig.flow.sweep(at(0) + TimeDelta::minutes(5)).await.unwrap();
    assert_eq!((swept.rows, swept.failed), (1650, 0));
    let left = rig.flow.store.open_tickets().await.unwrap();
    assert!(
        left.is_empty(),
        "rows without a ticket and without a waiting failure go"
    );
}

#[tokio::test]
async fn an_alert_whose_message_was_lost_is_expanded_all_the_same() {
    let rig = Rig::build().await;
    let storage = rig.flow.store.storage().clone();
    let request = RowsRequest {
        source: Source::Adf,
        rows_of: RowsOf::AdfRuns,
        from: Some(at(-900)),
        to: Some(at(0)),
        asset: Some("pl_load".to_owned()),
        run_id: None,
        resource: None,
        count: Some(2),
        severity: Some(3),
        alert: AlertRef {
            id: "alert-1".to_owned(),
            rule: Some("adf-failed".to_owned()),
        },
    };
    let accepted = rig
        .flow
        .accept(Parsed::NeedsRows(request), at(0))
        .await
        .unwrap();
    assert_eq!(accepted.status, AcceptStatus::Pending);
    let next = async || {
        let message = storage
            .receive(FAILURES, 1, std::time::Duration::from_secs(60))
            .await
            .unwrap()
            .pop()?;
        assert!(storage.delete_message(FAILURES, &message).await.unwrap());
        Some(Message::decode(&message.text).unwrap().task)
    };
    assert!(
        matches!(next().await, Some(Task::Rows { round: 0, .. })),
        "and here it is lost"
    );
    rig.flow
        .sweep(at(0) + TimeDelta::minutes(44))
        .await
        .unwrap();
    assert_eq!(
        next().await,
        None,
        "the rounds in which rows are looked for are not over"
    );
    let later = at(0) + TimeDelta::minutes(46);
    rig.flow.sweep(later).await.unwrap();
    rig.flow
        .work(next().await.unwrap(), || later)
        .await
        .unwrap();
    // Nobody can be asked here: the alert itself is the failure.
    let Some(Task::Failure { ticket, .. }) = next().await else {
        unreachable!("it was accepted")
    };
    rig.flow
        .work(
            Task::Failure {
                ticket: ticket.clone(),
            },
            || later,
        )
        .await
        .unwrap();
    assert!(
        rig.load(&ticket)
            .await
            .failure
            .message
            .contains("2 failed pipeline run(s)")
    );
    rig.flow.sweep(later + TimeDelta::days(1)).await.unwrap();
    let mut open = Vec::new();
    let store = &rig.flow.store;
    store.each_open(|name| open.push(name)).await.unwrap();
    assert!(
        open.iter().all(|name| !name.starts_with("rows-")),
        "it is looked for no more: {open:?}"
    );
}

#[tokio::test]
async fn a_reopened_ticket_is_looked_after_again() {
    let rig = Rig::build().await;
    let ticket = rig.open(&failure(), at(0)).await;
    let to = async |to, seconds| {
        let by = Actor {
            channel: Channel::Dashboard,
            name: "John Doe".to_owned(),
        };
        let event = Event::StatusChanged {
            to,
            by,
            at: at(seconds),
            jira_status: None,
        };
        rig.flow
            .apply(&ticket.id, &event, at(seconds))
            .await
            .unwrap()
    };
    let is_active = async || {
        let open = rig.flow.store.open_tickets().await.unwrap();
        open.contains(&ticket.id)
    };
    to(Status::Acknowledged, 10).await;
    rig.flow.sweep(at(120)).await.unwrap();
    assert!(!is_active().await, "closed and shown: done with");
    to(Status::Open, 200).await;
    rig.flow.sweep(at(260)).await.unwrap();
    assert!(is_active().await);
    rig.flow.sweep(at(200 + 7200)).await.unwrap();
    assert!(
        rig.load(&ticket.id).await.sla.breached_at.is_some(),
        "its SLA runs again"
    );
}
