//! A ticket and its attempt to work with.

use crate::support::build;

use aiops_rca::diagnosis::{Action, Diagnosis};
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source};
use aiops_rca::ticket::{Attempt, AttemptState, RemediationState, Ticket};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A fixture of somebody else's system, as recorded.
pub(super) fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/vendor/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(super) fn failure(
    source: Source,
    kind: AssetKind,
    asset: &str,
    run_id: &str,
    context: &[(&str, &str)],
) -> Failure {
    Failure {
        source,
        key: RunKey::new(source, "scope", run_id, "", ""),
        kind,
        context: context
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..build::failure(asset, run_id)
    }
}

pub(super) fn ticket(failure: Failure, action: Action) -> Ticket {
    let diagnosis = Diagnosis {
        action,
        ..build::diagnosis()
    };
    let now = at("2026-07-27T09:15:31Z");
    let mut ticket = build::ticket(failure, diagnosis, now, 0x3f_2a1c);
    ticket.remediation.state = RemediationState::Running;
    ticket.remediation.max_attempts = 3;
    ticket
}

/// The first attempt, being called now.
pub(super) fn attempt(ticket: &Ticket) -> Attempt {
    Attempt {
        id: format!("{}-a1", ticket.id),
        number: 1,
        action: ticket.remediation.action,
        node_type: ticket.remediation.node_type.clone(),
        state: AttemptState::Calling,
        due_at: ticket.received_at + TimeDelta::seconds(30),
        called_at: Some(ticket.received_at + TimeDelta::seconds(31)),
        deadline: None,
        patience: 0,
        run_id: None,
        ended_at: None,
        outcome: None,
    }
}
