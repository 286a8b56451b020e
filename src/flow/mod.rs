//! The flow: accept → analyse → apply → deliver → sweep.
//!
//! In: parsed bodies, events of people and playbooks, queue messages, the timer. Out: durable changes, and
//! calls of the rooms above in the right order. Everything here may be killed at any point and is healed by
//! running it again (law L9): claims are insert-if-absent, tickets change by compare-and-set, deliveries
//! reconcile. The flow knows no vendor's wire format and no page; `now` comes from the doors.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::evidence::{Collector, Facts, Known};
use crate::fault::Fault;
use crate::incident::FoldSettings;
use crate::model::Model;
use crate::ownership::OwnershipSettings;
use crate::patrol::PatrolSettings;
use crate::remediation::{self, RemediationSettings};
use crate::sinks::Sinks;
use crate::sources::reruns;
use crate::storage::Storage;
use crate::ticket::due::PATIENCE;
use crate::ticket::machine::{self, Change, Event, Refusal, Report};
use crate::ticket::store::{PastRemediation, TABLES, TicketStore, UpdateError};
use crate::ticket::{AttemptState, Outcome, Sink, Ticket, TicketId};
use crate::trace;

pub mod accept;
pub mod analyse;
pub mod cases;
mod claims;
pub mod dead_letters;
pub mod deliver;
mod digest;
mod folding;
mod incidents;
pub mod jira;
mod message;
mod notices;
pub mod patrol;
mod places;
mod recheck;
pub mod remediate;
mod retention;
mod rows;
mod silences;
pub mod sweep;
mod watchdog;

pub use deliver::PAUSE;
pub use message::{DELIVERIES, Delivery, FAILURES, Message, QUEUES, Task};
pub use silences::{ListedSilence, NotSilenced};

/// How long Slack waits for JIRA, which is faster as a rule.
const BEHIND_JIRA: Duration = Duration::from_secs(2);
/// By then the lease of what was cut has run out.
const PUT_BACK: Duration = Duration::from_secs(30);

/// Everything the flow works with.
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
    /// Which failures are one incident.
    pub fold: FoldSettings,
    /// Who owns what, and how much it matters.
    pub ownership: OwnershipSettings,
    /// Days after which closed tickets go; `None`: never.
    pub retention_days: Option<u32>,
    /// The longest that a delivery pauses before it goes back into the queue: [`PAUSE`], or nothing where the clock does not
    /// go on meanwhile.
    pub longest_pause: Duration,
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

    /// Puts a message about the task, which belongs to what is under way here.
    async fn put(&self, task: Task, delay: Duration) -> Result<(), Fault> {
        let queue = task.queue();
        let text = Message::here(task).encode()?;
        self.storage().put(queue, &text, delay).await
    }

    /// Works on one message of a queue. An error means: deliver it again. On the heap: a debug build's futures would fill the
    /// stack.
    pub fn work<'a>(
        &'a self,
        task: Task,
        now: impl Fn() -> DateTime<Utc> + Send + Sync + 'a,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        match task {
            Task::Failure { ticket } => {
                async move { self.analyse_failure(&ticket, now()).await }.boxed()
            }
            Task::Rows { row, round } => {
                async move { self.expand_rows(&row, round, now()).await }.boxed()
            }
            Task::Recheck { ticket } => async move { self.recheck(&ticket, now()).await }.boxed(),
            Task::Gather { ticket } => async move { self.gather(&ticket, now()).await }.boxed(),
            Task::Patrol => async move { self.patrol_soon(now()).await }.boxed(),
            Task::Delivery(delivery) => self.deliver(delivery, now).boxed(),
        }
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
        let jira_comes = ticket.lags(Sink::Jira) && ticket.fault(Sink::Jira).is_none();
        for sink in sinks.into_iter().filter(|sink| ticket.lags(*sink)) {
            let delay = match sink {
                Sink::Playbook => ticket
                    .current_attempt()
                    .and_then(|attempt| (attempt.due_at - now).to_std().ok()),
                // Its first message then names the issue, and the two do not change the ticket at the same moment.
                Sink::Slack if jira_comes && ticket.slack.ts.is_none() => Some(BEHIND_JIRA),
                Sink::Slack if jira_comes => Some(BEHIND_JIRA / 2),
                Sink::Teams if jira_comes => Some(BEHIND_JIRA),
                // It is put already, behind the issue that was just made.
                Sink::Slack | Sink::Teams
                    if ticket.jira.key.is_some() && is_just_opened(ticket, sink, now) =>
                {
                    continue;
                }
                Sink::Slack | Sink::Teams | Sink::Jira => None,
            };
            // It comes when its place in line does, as far as this process knows.
            let line = self.sinks.reserve(sink, ticket, now);
            self.put_delivery(ticket, sink, delay.max(line).unwrap_or_default())
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
        let task = Task::Delivery(Delivery {
            ticket: ticket.id.clone(),
            sink,
            attempt: 0,
        });
        trace::for_report(ticket.trace.as_deref(), self.put(task, delay)).await
    }

    /// Applies one event: state machine, then what the policy makes of it, in one compare-and-set; then deliveries.
    pub async fn apply(
        &self,
        id: &TicketId,
        event: &Event,
        now: DateTime<Utc>,
    ) -> Result<Ticket, UpdateError> {
        let mut loaded = self.store.load_to_change(id).await?;
        if let Event::ApprovalAnswered { approval, .. } = event
            && *approval == loaded.ticket.incident_approval()
        {
            return Box::pin(self.answer_incident(&loaded.ticket, event, now)).await;
        }
        self.act_on_leader(&loaded.ticket, event, now).await?;
        let ticket = &loaded.ticket;
        let (past, facts) = match event {
            Event::AttemptReported { report, run_id, .. } => {
                machine::apply(ticket, event, now)?;
                // Before the attempt can end: from then on the run's own failure alert may come.
                if let Some(run) = run_id {
                    self.index_rerun(ticket, run).await?;
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
        let change = self
            .store
            .change(&mut loaded, |ticket| {
                follow_through(ticket, event, &self.remediation, (&past, &facts), now)
            })
            .await?;
        if change.visible {
            self.put_deliveries(&change.ticket, Sink::ALL, now).await?;
            self.tell_incident(&change.ticket, now).await?;
        }
        self.after_attempts(&change.ticket).await?;
        // Where there is an issue, it is noted once that is closed, with what was said there.
        let is_shown = change.ticket.lags(Sink::Jira);
        if change.visible && change.ticket.is_closed() && !is_shown {
            self.note_outcome(&change.ticket, now).await?;
        }
        Ok(change.ticket)
    }

    /// Remembers how a ticket ended, with the last comment that a person made in JIRA.
    async fn note_outcome(&self, ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Fault> {
        let asked = match &self.sinks.jira {
            Some(jira) if ticket.last_word().by.is_person() => jira.last_said(ticket, now).await,
            Some(_) | None => Ok(None),
        };
        let comment = asked.unwrap_or_else(|fault| {
            tracing::info!(ticket.id = %ticket.id, reason = fault.reason(), "the comments of an issue could not be read");
            None
        });
        let outcome = Outcome::of(ticket, comment);
        self.store.record_outcome(ticket, &outcome).await
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

    /// The run was started to heal the ticket.
    async fn index_rerun(&self, ticket: &Ticket, run: &str) -> Result<(), Fault> {
        let failure = &ticket.failure;
        let (rerun, key) = (claims::rerun_of(failure, run), reruns::key(failure, run));
        self.store
            .index_remediation_run(&rerun, &key, &ticket.id)
            .await
    }

    /// Bookkeeping of attempts outside the ticket; repeating it is harmless, and the sweep repeats it after a crash.
    async fn after_attempts(&self, ticket: &Ticket) -> Result<(), Fault> {
        let attempts = &ticket.remediation.attempts;
        // The one before the last ended with the change that planned the last.
        for attempt in attempts.iter().rev().take(2) {
            if let Some(run) = &attempt.run_id {
                self.index_rerun(ticket, run).await?;
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

/// Does the first delivery to this sink still wait, behind JIRA's or in line? Should it be lost, the sweep puts another one.
fn is_just_opened(ticket: &Ticket, sink: Sink, now: DateTime<Utc>) -> bool {
    let state = ticket.books.sinks.get(sink);
    state.is_none() && now - ticket.last_change() < PATIENCE
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
