//! The corridor: accept → analyse → apply → deliver → sweep.
//!
//! In: parsed bodies, events of people and playbooks, queue messages, the timer. Out: durable changes, and
//! calls of the rooms above in the right order. Everything here may be killed at any point and is healed by
//! running it again (law L9): claims are insert-if-absent, tickets change by compare-and-set, deliveries
//! reconcile. The corridor knows no vendor's wire format and no page; `now` comes from the doors.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::evidence::{Collector, Facts, Known};
use crate::fault::Fault;
use crate::model::Model;
use crate::patrol::PatrolSettings;
use crate::remediation::{self, RemediationSettings};
use crate::sinks::Sinks;
use crate::sources::reruns;
use crate::storage::Storage;
use crate::ticket::machine::{self, Change, Event, Refusal, Report};
use crate::ticket::store::{PastRemediation, TABLES, TicketStore, UpdateError};
use crate::ticket::{AttemptState, Sink, Ticket, TicketId};
use crate::trace;

pub mod accept;
pub mod analyse;
pub mod cases;
mod claims;
pub mod dead_letters;
pub mod deliver;
pub mod jira;
mod notices;
pub mod patrol;
pub mod remediate;
pub mod sweep;

/// The queue of failures to analyse, by bare name.
pub const FAILURES: &str = "failures";
/// The queue of deliveries, by bare name.
pub const DELIVERIES: &str = "deliveries";
/// All queues, poison queues included, by bare name.
pub const QUEUES: [&str; 4] = [FAILURES, DELIVERIES, "failures-poison", "deliveries-poison"];

/// By then the lease of what was cut has run out.
const PUT_BACK: Duration = Duration::from_secs(30);

/// What the queue `failures` carries. Small on purpose: the failure itself waits in the active index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FailureMessage {
    /// Analyse the failure that waits for this ticket.
    Failure {
        /// The ticket's id.
        ticket: TicketId,
        /// W3C traceparent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<String>,
    },
    /// Expand the alert kept under this row of the active index.
    Rows {
        /// `rows-…`.
        row: String,
        /// How often the vendor was asked already.
        round: u32,
        /// W3C traceparent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<String>,
    },
    /// A known run was reported again. Databricks: is it a new repair? Airflow: which tasks of the run failed?
    Recheck {
        /// Whose run.
        ticket: TicketId,
        /// W3C traceparent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<String>,
    },
}

/// What the queue `deliveries` carries: bring this sink of this ticket up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryMessage {
    /// Which ticket.
    pub ticket: TicketId,
    /// Which sink.
    pub sink: Sink,
    /// How often it failed transiently before.
    pub attempt: u32,
    /// W3C traceparent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Everything the corridor works with.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Tickets, claims, evidence.
    pub store: TicketStore,
    /// The vendors' APIs.
    pub collector: Collector,
    /// The optional language model.
    pub model: Option<Model>,
    /// The sinks that are on.
    pub sinks: Sinks,
    /// What remediation may do.
    pub remediation: RemediationSettings,
    /// Whether, and how far back, platforms are asked.
    pub patrol: PatrolSettings,
}

impl Flow {
    /// Creates tables and queues that are missing.
    pub async fn prepare(&self) -> Result<(), Fault> {
        self.storage().prepare(&TABLES, &QUEUES).await
    }

    fn storage(&self) -> &Storage {
        self.store.storage()
    }

    /// Sinks that are switched off, with the reason people read on the ticket.
    fn sinks_off(&self) -> BTreeMap<String, String> {
        Sink::ALL
            .into_iter()
            .filter_map(|sink| {
                let why = self.sinks.why_off(sink)?;
                Some((sink.name().to_owned(), why.to_owned()))
            })
            .collect()
    }

    async fn put<T: Serialize>(
        &self,
        queue: &str,
        message: &T,
        delay: Duration,
    ) -> Result<(), Fault> {
        let text = message_text(message)
            .ok_or_else(|| Fault::permanent("a message could not be written as JSON"))?;
        self.storage().put(queue, &text, delay).await
    }

    /// Puts a message back whose work was cut at its deadline: the next invocation goes on where this one stopped.
    pub async fn put_back(&self, queue: &str, text: &str) -> Result<(), Fault> {
        self.storage().put(queue, text, PUT_BACK).await
    }

    /// Puts a delivery for each of these sinks that lags behind the ticket; the playbook's waits until its attempt is due.
    async fn put_deliveries(
        &self,
        ticket: &Ticket,
        sinks: impl IntoIterator<Item = Sink>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        for sink in sinks.into_iter().filter(|sink| ticket.lags(*sink)) {
            let due = ticket
                .current_attempt()
                .filter(|_| sink == Sink::Playbook)
                .map(|attempt| attempt.due_at - now);
            self.put_delivery(
                ticket,
                sink,
                due.and_then(|due| due.to_std().ok()).unwrap_or_default(),
            )
            .await?;
        }
        Ok(())
    }

    async fn put_delivery(
        &self,
        ticket: &Ticket,
        sink: Sink,
        delay: Duration,
    ) -> Result<(), Fault> {
        let trace = trace::of_report(ticket.trace.as_deref()).map(|trace| trace.to_string());
        let message = DeliveryMessage {
            ticket: ticket.id.clone(),
            sink,
            attempt: 0,
            trace,
        };
        self.put(DELIVERIES, &message, delay).await
    }

    /// Applies one event: state machine, then what the policy makes of it, in one compare-and-set; then deliveries.
    pub async fn apply(
        &self,
        id: &TicketId,
        event: &Event,
        now: DateTime<Utc>,
    ) -> Result<Ticket, UpdateError> {
        let loaded = self.store.load_to_change(id).await?;
        let ticket = &loaded.ticket;
        let (past, facts) = match event {
            Event::AttemptReported { report, run_id, .. } => {
                machine::apply(ticket, event, now)?;
                // Before the attempt can end: from then on the run's own failure alert may come.
                if let Some(run) = run_id {
                    self.store
                        .index_remediation_run(&reruns::key(&ticket.failure, run), id)
                        .await?;
                }
                match report {
                    Report::Failed(_) => {
                        let past = self
                            .store
                            .past_remediations(
                                &ticket.failure.asset_id(),
                                &ticket.diagnosis.fingerprint,
                            )
                            .await?;
                        let facts = self.facts(ticket, run_id.as_deref(), now).await;
                        (past, facts)
                    }
                    _ => (Vec::new(), Facts::assumed()),
                }
            }
            _ => (Vec::new(), Facts::assumed()),
        };
        if let Event::StatusChanged { .. } = event
            && ticket.is_closed()
        {
            // Before the change: a crash after it must not leave a reopened ticket that nobody looks after.
            self.store.mark_active(id).await?;
        }
        let change = self
            .store
            .update_loaded(loaded, |ticket| {
                follow_through(ticket, event, &self.remediation, (&past, &facts), now)
            })
            .await?;
        if change.visible {
            // Closing may settle a ticket that was settled before it was reopened.
            self.store.mark_active(id).await?;
            self.put_deliveries(&change.ticket, Sink::ALL, now).await?;
        }
        self.after_attempts(&change.ticket).await?;
        Ok(change.ticket)
    }

    /// What is known about the ticket's run for the plan of its next attempt; `rerun` is one that just ended. A vendor that
    /// does not answer now is asked again before the call.
    async fn facts(&self, ticket: &Ticket, rerun: Option<&str>, now: DateTime<Utc>) -> Facts {
        let own = own_runs(ticket, rerun);
        let action = ticket.diagnosis.action.name();
        let asked = self
            .collector
            .facts(&ticket.failure, action, &own, now)
            .await;
        asked.unwrap_or_else(|fault| Facts {
            place: self.collector.place(&ticket.failure),
            known: Known::Later(fault.reason().to_owned()),
        })
    }

    /// Applies an event; that it came too late is no fault.
    async fn try_apply(
        &self,
        id: &TicketId,
        event: Event,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        UpdateError::unless_refused(self.apply(id, &event, now).await).map(drop)
    }

    /// Bookkeeping of attempts outside the ticket; repeating it is harmless, and the sweep repeats it after a crash.
    async fn after_attempts(&self, ticket: &Ticket) -> Result<(), Fault> {
        let attempts = &ticket.remediation.attempts;
        // The one before the last ended with the change that planned the last.
        for attempt in attempts.iter().rev().take(2) {
            if let Some(run) = &attempt.run_id {
                self.store
                    .index_remediation_run(&reruns::key(&ticket.failure, run), &ticket.id)
                    .await?;
            }
            if attempt.ended_at.is_some() {
                self.store
                    .unlock_asset(&ticket.failure.asset_id(), &attempt.id)
                    .await?;
            }
        }
        if ticket.current_attempt().is_none()
            && let Some(attempt) = attempts.last()
            && let Some(at) = attempt.ended_at
        {
            let healed = attempt.state == AttemptState::Succeeded;
            let over = ticket.remediation.state == crate::ticket::RemediationState::Exhausted;
            if healed || over {
                self.store
                    .record_remediation(ticket, &PastRemediation { at, healed })
                    .await?;
            }
        }
        Ok(())
    }
}

/// JSON that stays the same in the XML of a queue: plain ASCII without `<`, `>` and `&`.
fn message_text<T: Serialize>(message: &T) -> Option<String> {
    struct Plain;
    impl serde_json::ser::Formatter for Plain {
        fn write_string_fragment<W: std::io::Write + ?Sized>(
            &mut self,
            writer: &mut W,
            fragment: &str,
        ) -> std::io::Result<()> {
            for c in fragment.chars() {
                if matches!(c, ' '..='~') && !matches!(c, '<' | '>' | '&') {
                    write!(writer, "{c}")?;
                } else {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
            Ok(())
        }
    }
    let mut text = Vec::new();
    message
        .serialize(&mut serde_json::Serializer::with_formatter(
            &mut text, Plain,
        ))
        .ok()?;
    String::from_utf8(text).ok()
}

/// The runs that the ticket's own attempts started.
fn own_runs(ticket: &Ticket, rerun: Option<&str>) -> Vec<String> {
    let attempts = ticket.remediation.attempts.iter();
    attempts
        .filter_map(|attempt| attempt.run_id.as_deref())
        .chain(rerun)
        .map(str::to_owned)
        .collect()
}

/// The event, and what the policy decides right after it.
fn follow_through(
    ticket: &Ticket,
    event: &Event,
    settings: &RemediationSettings,
    (past, facts): (&[PastRemediation], &Facts),
    now: DateTime<Utc>,
) -> Result<Change, Refusal> {
    let change = machine::apply(ticket, event, now)?;
    if !matches!(
        event,
        Event::AttemptReported {
            report: Report::Failed(_),
            ..
        }
    ) || change.ticket.is_closed()
    {
        return Ok(change);
    }
    let decision = remediation::decide(&change.ticket, settings, past, facts, now);
    append(&change, &Event::Decided(decision), now)
}

/// Applies a second event to a change that is not stored yet, as one change.
fn append(change: &Change, event: &Event, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let audited = change.ticket.books.audited;
    let mut entries = change.ticket.books.audit.clone();
    let mut next = machine::apply(&change.ticket, event, now)?;
    entries.append(&mut next.ticket.books.audit);
    next.ticket.books.audit = entries;
    next.ticket.books.audited = audited;
    next.visible |= change.visible;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_json_that_xml_carries_as_it_is() {
        let hostile = "<b>&amp;\"\u{0}\u{7f}é\u{fffe}😱]]>";
        let text = message_text(&serde_json::json!({ "t": hostile })).unwrap();
        assert!(
            text.bytes()
                .all(|b| matches!(b, b' '..=b'~') && !b"<>&".contains(&b)),
            "{text}"
        );
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["t"], hostile);
    }
}
