//! Five thousand tickets of one week, as a busy platform leaves them: many assets, names that are long, foreign or hostile,
//! every way to end, and some that somebody has to look at.

use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Action, Case, Diagnosis, Risk, Severity, diagnose};
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source, field};
use aiops_rca::storage::Storage;
use aiops_rca::ticket::machine::{self, Change, Decision, Event, Opening, Plan};
use aiops_rca::ticket::store::{TABLES, TicketStore};
use aiops_rca::ticket::{Actor, Channel, Priority, RemediationState, Sink, Status, TicketId};
use chrono::{DateTime, TimeDelta, Utc};

/// How many there are.
pub(super) const TICKETS: u32 = 5000;
/// Between one failure and the next: all of them within the six whole days that the list shows by itself, besides today.
const PACE: i64 = 100;
const OWNERS: [&str; 9] = [
    "Data Platform",
    "finance-etl",
    "Müller & Söhne",
    "marketing",
    "sales",
    "stock",
    "people",
    "risk",
    "reporting",
];
/// They come up on the first page: nothing of them may become markup, or widen the page.
pub(super) const NAMES: [&str; 5] = [
    "<img src=x onerror=alert(1)>\"><script>alert(2)</script>",
    "pl_very_long_name_without_any_space_that_could_be_broken_and_still_has_to_fit_on_a_phone_however_long_it_may_become_in_time",
    "pl_überfällig_日本語_التقارير_🚚",
    "pl a & b's \"quoted\" {{name}}",
    "=HYPERLINK(\"http://example.net\")",
];
/// What failed, by platform: kind, name of the assets, error code, message.
const KINDS: [(Source, AssetKind, &str, Option<&str>, &str); 6] = [
    (
        Source::Adf,
        AssetKind::Pipeline,
        "pl_load",
        Some("2200"),
        "ErrorCode=AdlsGen2OperationFailed, the specified path does not exist. Account: 'stprod'. FileSystem: 'in'.",
    ),
    (
        Source::Adf,
        AssetKind::Pipeline,
        "pl_refresh",
        Some("2108"),
        "The gateway did not receive a response from 'ledger.example.com' within the specified time period.",
    ),
    (
        Source::Databricks,
        AssetKind::Job,
        "nightly job",
        None,
        "java.lang.OutOfMemoryError: Java heap space at org.apache.spark.sql.execution.joins.HashedRelation",
    ),
    (
        Source::Databricks,
        AssetKind::Job,
        "features",
        None,
        "AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `sales`.`orders` cannot be found.",
    ),
    (
        Source::Airflow,
        AssetKind::Task,
        "etl",
        None,
        "psycopg2.OperationalError: could not connect to server: Connection refused. Is the server running on host \"10.2.0.7\"?",
    ),
    (
        Source::Airflow,
        AssetKind::Task,
        "export",
        None,
        "PermissionError: [Errno 13] Permission denied: '/mnt/export/part-0001.csv'",
    ),
];

/// Fills a new store.
pub(super) async fn seed(storage: Storage, now: DateTime<Utc>) {
    storage.prepare(&TABLES, &["failures"]).await.unwrap();
    let store = TicketStore::new(storage);
    let known: Vec<Diagnosis> = (0..u32::try_from(KINDS.len()).unwrap())
        .map(|number| diagnose(&Case::of(&failure(number, now), &[])))
        .collect();
    let workers = (0..8).map(|worker| {
        let (store, known) = (store.clone(), known.clone());
        tokio::spawn(async move {
            for number in (worker..TICKETS).step_by(8) {
                let diagnosis = known[number as usize % KINDS.len()].clone();
                let mut change = ticket(number, diagnosis, now);
                assert!(store.open(&mut change, &[]).await.unwrap());
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

/// The newest has the number 0.
fn received(number: u32, now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::seconds(60 + i64::from(number) * PACE)
}

fn failure(number: u32, now: DateTime<Utc>) -> Failure {
    let (source, kind, name, code, message) = KINDS[number as usize % KINDS.len()];
    let asset = match NAMES.get(number as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("{name}_{:03}", number % 397),
    };
    let run = format!("crowd-{number}");
    Failure {
        source,
        key: RunKey::new(source, "", &run, "", ""),
        kind,
        asset,
        run_id: Some(run),
        run_url: None,
        error_code: code.map(str::to_owned),
        message: message.to_owned(),
        context: BTreeMap::from([(
            field::ACTIVITY.to_owned(),
            format!("Copy part {}", number % 50),
        )]),
        occurred_at: Some(received(number, now) - TimeDelta::seconds(40)),
        source_severity: None,
        alert: None,
    }
}

/// One of seven is open, or taken, or waits for an answer; the others ended in every way there is.
fn ticket(number: u32, diagnosis: Diagnosis, now: DateTime<Utc>) -> Change {
    let at = received(number, now);
    let failure = failure(number, now);
    let id = TicketId::new(failure.source, at, number);
    let off = |sink: Sink| (sink.name().to_owned(), "not configured".to_owned());
    let opening = Opening {
        sinks_off: Sink::ALL.into_iter().map(off).collect(),
        ..Opening::of(id, failure, diagnosis, at)
    };
    let mut change = machine::opened(opening, at);
    let ticket = &mut change.ticket;
    let is_named = (number as usize) < NAMES.len();
    (ticket.severity, ticket.priority) = match number % 7 {
        _ if is_named => (Severity::Critical, Priority::P1),
        0 => (Severity::Critical, Priority::P1),
        1 | 2 => (Severity::High, Priority::P2),
        3..6 => (Severity::Medium, Priority::P3),
        _ => (Severity::Low, Priority::P4),
    };
    ticket.sla.seconds = ticket.priority.sla_seconds();
    ticket.sla.due_at = at + TimeDelta::seconds(i64::from(ticket.sla.seconds));
    // Every tenth asset has no owner.
    let owner = OWNERS.get(number as usize % 10);
    ticket.owner = owner.map(|&owner| owner.to_owned());
    ticket.jira.key = Some(format!("OPS-{}", TICKETS - number));
    let then = (at + TimeDelta::minutes(i64::from(4 + number % 90))).min(now);
    let moved = |to| Event::StatusChanged {
        to,
        by: Actor {
            channel: Channel::Jira,
            name: "Jane Roe".to_owned(),
        },
        at: then,
        jira_status: None,
    };
    let event = match number % 20 {
        _ if is_named => None,
        0 => None,
        5 => Some(moved(Status::InProgress)),
        13 => Some(Event::Decided(Decision::Ask {
            plan: Plan {
                action: Action::RetryPipeline,
                risk: Risk::High,
                max_attempts: 1,
                node_type: None,
            },
            text: "Run the pipeline again.".to_owned(),
            hash: "c0ffee".to_owned(),
            why: "it may write twice".to_owned(),
            expires_at: now + TimeDelta::hours(20),
        })),
        _ => Some(moved(Status::Acknowledged)),
    };
    if let Some(event) = event {
        change = machine::apply(&change.ticket, &event, then).unwrap();
    }
    let ticket = &mut change.ticket;
    if ticket.status == Status::Open && ticket.sla.due_at <= now {
        ticket.sla.breached_at = Some(ticket.sla.due_at);
    }
    if ticket.is_closed() && number % 3 == 1 {
        ticket.status_by = Actor {
            channel: Channel::Playbook,
            name: "auto-remediation".to_owned(),
        };
        ticket.remediation.state = RemediationState::Succeeded;
    } else if ticket.is_closed() && number % 9 == 2 {
        ticket.status_by = Actor::system();
        ticket.books.recovered_by = Some(format!("crowd-{number}-next"));
    }
    ticket.looked_at_by(now + TimeDelta::days(1));
    change
}
