//! How a ticket begins.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

use super::Change;
use crate::diagnosis::Diagnosis;
use crate::evidence::Gap;
use crate::failure::Failure;
use crate::sources::airflow::units::Latest;
use crate::ticket::{
    Actor, AuditEntry, Bookkeeping, Chapter, ChapterKind, JiraRecord, Priority, Remediation,
    RemediationState, Sink, Sla, SlackRecord, Status, Ticket, TicketId,
};

/// What opens a ticket.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id, from the claim.
    pub id: TicketId,
    /// What failed.
    pub failure: Failure,
    /// Why it failed.
    pub diagnosis: Diagnosis,
    /// How many pieces of evidence are stored.
    pub evidence_count: u32,
    /// What could not be had.
    pub gaps: Vec<Gap>,
    /// The latest try of it that was reported.
    pub latest: Latest,
    /// The closed ticket of the same unit, if it failed before.
    pub follows: Option<TicketId>,
    /// When the report came in.
    pub received_at: DateTime<Utc>,
    /// W3C traceparent of the report.
    pub trace: Option<String>,
    /// Sinks that are switched off, by name, with the reason.
    pub sinks_off: BTreeMap<String, String>,
}

impl Opening {
    /// Of a failure about which nothing else is known.
    pub fn of(id: TicketId, failure: Failure, diagnosis: Diagnosis, now: DateTime<Utc>) -> Self {
        Self {
            id,
            failure,
            diagnosis,
            evidence_count: 0,
            gaps: Vec::new(),
            latest: Latest::default(),
            follows: None,
            received_at: now,
            trace: None,
            sinks_off: BTreeMap::new(),
        }
    }
}

/// [`open`], as a change.
pub fn opened(opening: Opening, now: DateTime<Utc>) -> Change {
    Change {
        ticket: open(opening, now),
        visible: true,
        at: now,
    }
}

/// Opens a ticket: its first version, with its first audit entry.
pub fn open(opening: Opening, now: DateTime<Utc>) -> Ticket {
    let Opening {
        id,
        failure,
        diagnosis,
        evidence_count,
        gaps,
        latest,
        follows,
        received_at,
        trace,
        sinks_off,
    } = opening;
    let severity = diagnosis.severity;
    let priority = Priority::of(severity);
    let seconds = priority.sla_seconds();
    let system = Actor::system();
    let created = AuditEntry {
        at: now,
        actor: system.clone(),
        what: "Ticket Created".to_owned(),
        detail: format!(
            "{} ({}, {}), rule {}",
            diagnosis.error_type, severity, priority, diagnosis.rule
        ),
    };
    let story = follows.iter().map(|before| Chapter {
        number: 1,
        at: now,
        kind: ChapterKind::Recurrence,
        text: format!("It failed before in this run: see ticket {before}, which is closed"),
        from: None,
    });
    Ticket {
        owner: None,
        owner_known_from: None,
        importance: None,
        remediation: Remediation {
            state: RemediationState::None,
            decision: "not decided yet".to_owned(),
            action: diagnosis.action,
            risk: diagnosis.risk,
            max_attempts: 0,
            node_type: None,
            approval: None,
            attempts: Vec::new(),
        },
        id,
        failure,
        received_at,
        first_seen: received_at,
        last_seen: received_at,
        count: 1,
        diagnosis,
        correction: None,
        severity,
        priority,
        sla: Sla {
            seconds,
            due_at: received_at + Duration::seconds(i64::from(seconds)),
            breached_at: None,
        },
        status: Status::Open,
        status_version: 0,
        status_at: received_at,
        status_by: system,
        story: story.collect(),
        follows,
        evidence_count,
        gaps,
        silenced: None,
        silence: None,
        joined: None,
        incident: None,
        past: None,
        jira: JiraRecord::default(),
        slack: SlackRecord::default(),
        teams: (!sinks_off.contains_key(Sink::Teams.name())).then(Box::default),
        sinks_off,
        version: 1,
        trace,
        books: Bookkeeping {
            audit: vec![created],
            latest,
            ..Bookkeeping::default()
        },
    }
}
