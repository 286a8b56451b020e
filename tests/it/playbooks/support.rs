//! A ticket and its attempt to work with.

use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Action, Category, Diagnosis, Risk, Severity};
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source};
use aiops_rca::ticket::{
    Actor, Attempt, AttemptState, Channel, JiraRecord, Priority, Remediation, RemediationState,
    Sla, SlackRecord, Status, Ticket, TicketId,
};
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
        asset: asset.to_owned(),
        run_id: Some(run_id.to_owned()),
        run_url: None,
        error_code: None,
        message: "it failed".to_owned(),
        context: context
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        occurred_at: None,
        source_severity: None,
        alert: None,
    }
}

pub(super) fn ticket(failure: Failure, action: Action) -> Ticket {
    let now = at("2026-07-27T09:15:31Z");
    let source = failure.source;
    Ticket {
        follows: None,
        id: TicketId::new(source, now, 0x3f_2a1c),
        received_at: now,
        first_seen: now,
        last_seen: now,
        count: 1,
        diagnosis: Diagnosis {
            category: Category::Timeout,
            error_type: "GatewayTimeout".to_owned(),
            transient: true,
            remediable: true,
            action,
            other_node_type: false,
            risk: Risk::Low,
            severity: Severity::Medium,
            confidence: 0.9,
            root_cause: "The gateway did not answer.".to_owned(),
            recommendations: Vec::new(),
            evidence: Vec::new(),
            rule: "adf.gateway-timeout".to_owned(),
            entities: BTreeMap::new(),
            fingerprint: "f".to_owned(),
            worded_by: "catalog".to_owned(),
        },
        severity: Severity::Medium,
        priority: Priority::P3,
        sla: Sla {
            seconds: 7200,
            due_at: now + TimeDelta::hours(2),
            breached_at: None,
        },
        status: Status::Open,
        status_version: 0,
        status_at: now,
        status_by: Actor {
            channel: Channel::System,
            name: "aiops-rca".to_owned(),
        },
        story: Vec::new(),
        evidence_count: 0,
        gaps: Vec::new(),
        owner: None,
        jira: JiraRecord::default(),
        slack: SlackRecord::default(),
        remediation: Remediation {
            state: RemediationState::Running,
            decision: "transient".to_owned(),
            action,
            risk: Risk::Low,
            max_attempts: 3,
            node_type: None,
            approval: None,
            attempts: Vec::new(),
        },
        sinks_off: BTreeMap::new(),
        version: 1,
        trace: None,
        books: aiops_rca::ticket::Books::default(),
        failure,
    }
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
