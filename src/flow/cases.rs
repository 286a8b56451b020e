//! Cases for people to label: what the diagnosis could not say, and what later events spoke against.
//!
//! In: the tickets of some days. Out: one [`UnlabelledCase`] for each whose diagnosis is in doubt, redacted once more. It
//! changes nothing, and it does not know what is right: the field `label` is what a person said, or for people to add.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Flow;
use crate::diagnosis::Category;
use crate::failure::Source;
use crate::fault::Fault;
use crate::redaction::{cap, redact};
use crate::ticket::{
    AttemptState, Channel, ChapterKind, RemediationState, Status, Ticket, TicketId,
};

/// The longest text of one proof, in bytes.
const TEXT: usize = 16 * 1024;

/// A failure as the files in `tests/eval` hold it, without its label. All texts are redacted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnlabelledCase {
    /// The ticket's id.
    pub id: String,
    /// `adf`, `databricks` or `airflow`.
    pub source_system: &'static str,
    /// The vendor's code, if it came in a field of its own.
    pub error_code: Option<String>,
    /// The report's text.
    pub message: String,
    /// The report's further fields.
    pub context: BTreeMap<String, String>,
    /// What the vendor's API said, at most 16 KiB of each.
    pub evidence: Vec<Text>,
    /// Why it is here, one sentence each.
    pub doubts: Vec<String>,
    /// What was answered, for comparison.
    pub answered: Answered,
    /// What a person said is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// What a person said is right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// The category.
    pub category: Category,
    /// The cause in one line, as far as it was said.
    pub root_cause: String,
}

/// A text of the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Where it comes from, e.g. `adf.activity_runs`.
    pub source: String,
    /// The text.
    pub text: String,
}

/// The diagnosis that is in doubt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// The category.
    pub category: Category,
    /// The canonical name of the error.
    pub error_type: String,
    /// 0 to 1.
    pub confidence: f32,
    /// What matched.
    pub rule: String,
}

impl Flow {
    /// The cases of the last `days` days that are undetermined or contradicted, newest first, out of at most `limit` tickets.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn cases(
        &self,
        now: DateTime<Utc>,
        days: u32,
        limit: usize,
    ) -> Result<Vec<UnlabelledCase>, Fault> {
        let mut cases = Vec::new();
        for ticket in self.store.recent(now, days, limit).await? {
            let doubts = doubts(&ticket);
            if doubts.is_empty() || ticket.failure.source == Source::System {
                continue;
            }
            let texts = self.texts(&ticket.id).await?;
            cases.push(case(ticket, texts, doubts));
        }
        Ok(cases)
    }

    async fn texts(&self, id: &TicketId) -> Result<Vec<Text>, Fault> {
        let evidence = self.store.evidence(id).await?;
        let texts = evidence.into_iter().map(|piece| Text {
            source: piece.source,
            text: cap(&redact(&piece.text), TEXT),
        });
        Ok(texts.collect())
    }
}

fn case(ticket: Ticket, evidence: Vec<Text>, doubts: Vec<String>) -> UnlabelledCase {
    let failure = ticket.failure;
    let found = ticket.diagnosis;
    UnlabelledCase {
        id: ticket.id.to_string(),
        source_system: failure.source.name(),
        error_code: failure.error_code.as_deref().map(redact),
        message: redact(&failure.message),
        context: failure
            .context
            .into_iter()
            .map(|(name, value)| (name, redact(&value)))
            .collect(),
        evidence,
        doubts,
        answered: Answered {
            category: found.category,
            error_type: found.error_type,
            confidence: found.confidence,
            rule: redact(&found.rule),
        },
        label: ticket.correction.map(|correction| Label {
            category: correction.category,
            root_cause: redact(&correction.line),
        }),
    }
}

/// What speaks against the ticket's diagnosis.
fn doubts(ticket: &Ticket) -> Vec<String> {
    let found = &ticket.diagnosis;
    let attempts = &ticket.remediation.attempts;
    let told = |kind| {
        ticket
            .story
            .iter()
            .rposition(|chapter| chapter.kind == kind)
    };
    let healed = told(ChapterKind::RemediationSucceeded);
    let closed_by_machine = ticket.status == Status::Acknowledged
        && matches!(
            ticket.status_by.channel,
            Channel::System | Channel::Playbook
        );
    let closed_by_people = ticket.status == Status::Acknowledged && ticket.status_by.is_person();
    let called_off = attempts
        .iter()
        .any(|attempt| attempt.state == AttemptState::Cancelled);
    let doubts = [
        (
            ticket.correction.is_some(),
            "A person said that the cause is another.",
        ),
        (
            found.category == Category::Undetermined,
            "The cause is undetermined.",
        ),
        (
            found.is_disputed(),
            "The rules and the learned classifier disagree.",
        ),
        (
            ticket.remediation.state == RemediationState::Exhausted,
            "The action that the diagnosis called for did not help.",
        ),
        (
            ticket.remediation.state == RemediationState::Rejected,
            "The action that the diagnosis called for was not approved.",
        ),
        (
            healed.is_some() && told(ChapterKind::Reopened) > healed,
            "The ticket was reopened after its remediation had succeeded.",
        ),
        (
            closed_by_people && called_off,
            "A person closed the ticket before the planned action was taken.",
        ),
        (
            closed_by_machine && !found.transient && healed.is_none(),
            "The failure passed by itself, although the diagnosis does not call it transient.",
        ),
    ];
    let held = doubts.into_iter().filter(|(holds, _)| *holds);
    held.map(|(_, why)| why.to_owned()).collect()
}
