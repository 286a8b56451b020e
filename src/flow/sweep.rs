//! Sweep: every minute, look after what waits. Bounded work per tick; it resumes where it stopped.
//!
//! SLA breaches, questions nobody answered, attempts without callback, tickets whose sinks lag, claims
//! without tickets, alerts never expanded. Everything it does could also be done by a report or a delivery:
//! the sweep only makes sure that it happens.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt};

use super::accept::WaitingRows;
use super::notices::Seen;
use super::{Flow, QUEUES, Task};
use crate::fault::Fault;
use crate::ticket::machine::{self, Event};
use crate::ticket::store::{ActiveRow, Outage, UpdateError};
use crate::ticket::{AttemptState, DeliveryFault, Sink, Ticket, TicketId};
use crate::trace;

/// Rows looked at before the place is noted.
const ROWS_AT_ONCE: u32 = 300;
/// After that the next tick goes on: thousands of open tickets must not keep a watchdog waiting for long.
const TICK: Duration = Duration::from_secs(30);
/// One row must not keep the others waiting: a call to a vendor takes ten seconds at most.
const ROW: Duration = Duration::from_secs(12);
/// How long the ordinary way may take before the sweep steps in.
const PATIENCE: chrono::Duration = chrono::Duration::minutes(1);
/// Longer than all the rounds in which an alert's rows are looked for.
const ROWS_PATIENCE: chrono::Duration = chrono::Duration::minutes(45);
/// How many issues are read back per tick; no more once JIRA is down, or the tick would wait for it row by row.
const QUESTIONS: u32 = 100;
/// How long after an attempt's end its bookkeeping is repeated, should it have died.
const SETTLING: chrono::Duration = chrono::Duration::minutes(10);
/// How long after a vendor's outage those that waited for its end are looked for.
const WAKING: chrono::Duration = chrono::Duration::minutes(5);
/// How long after its close a ticket is looked after.
const LINGER: chrono::Duration = chrono::Duration::minutes(30);
/// A visible message that is older is reported (infra/queries/watch-waiting.kql looks for the line).
const WAITING: chrono::Duration = chrono::Duration::minutes(10);
const CURSOR: &str = "sweep";

/// Vendors that answer again: since when.
type Answering = BTreeMap<Sink, DateTime<Utc>>;

/// What one tick did, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows looked at.
    pub rows: usize,
    /// Rows that needed something.
    pub acted: usize,
    /// Rows that could not be handled.
    pub failed: usize,
}

impl Flow {
    /// One tick.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<Swept, Fault> {
        let started = std::time::Instant::now();
        self.store.probe(now).await?;
        let mut swept = Swept::default();
        let outages = self.store.outages().await?;
        let jira_is_down = outages
            .iter()
            .any(|(sink, outage)| *sink == Sink::Jira && outage.lasts(now));
        let questions = &AtomicU32::new(if jira_is_down { 0 } else { QUESTIONS });
        let ended = |(sink, outage): (Sink, Outage)| Some((sink, outage.ended?));
        let answering: &Answering = &(outages.into_iter().filter_map(ended))
            .filter(|(_, at)| now - *at < WAKING)
            .collect();
        let mut after = self.store.cursor(CURSOR).await?;
        let from_the_start = after.is_none();
        let seen = Seen::default();
        loop {
            let (rows, next) = self.store.active(ROWS_AT_ONCE, after.as_ref()).await?;
            swept.rows += rows.len();
            let looks = rows.into_iter().map(|row| {
                let seen = &seen;
                async move {
                    let look = self.look_after(&row, seen, (questions, answering), now);
                    let late = |_| Fault::transient("it did not end in time");
                    tokio::time::timeout(ROW, look).await.map_err(late)?
                }
                .boxed()
            });
            let outcomes: Vec<Result<bool, Fault>> = futures::stream::iter(looks)
                .buffer_unordered(8)
                .collect()
                .await;
            for outcome in outcomes {
                match outcome {
                    Ok(acted) => swept.acted += usize::from(acted),
                    Err(fault) => {
                        swept.failed += 1;
                        tracing::warn!(
                            reason = fault.reason(),
                            "the sweep could not look after a row"
                        );
                    }
                }
            }
            self.store.set_cursor(CURSOR, next.as_ref()).await?;
            after = next;
            if after.is_none() || started.elapsed() > TICK {
                break;
            }
        }
        let whole = from_the_start && after.is_none() && swept.failed == 0;
        self.announce_blocked_sinks(seen, whole, now).await?;
        self.free_assets(now).await?;
        for queue in QUEUES {
            let depth = self.storage().depth(queue).await?;
            if depth > 1000 {
                tracing::warn!(queue.name = queue, queue.depth = depth, "a queue grows");
            }
            if depth > 0
                && let Some(put_at) = self.storage().oldest_waiting(queue).await?
                && now - put_at > WAITING
            {
                let minutes = (now - put_at).num_minutes();
                tracing::warn!(
                    queue.name = queue,
                    queue.oldest_minutes = minutes,
                    "a message waits for long"
                );
            }
        }
        Ok(swept)
    }

    async fn look_after(
        &self,
        row: &ActiveRow,
        seen: &Seen,
        vendors: (&AtomicU32, &Answering),
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        if row.row.starts_with("rows-") {
            return self.look_after_rows(row, now).await;
        }
        let Some(id) = TicketId::parse(&row.row) else {
            self.store.drop_active(&row.row).await?;
            return Ok(true);
        };
        match self.store.load(&id).await? {
            Some(ticket) => {
                seen.note(&ticket);
                trace::for_report(
                    ticket.trace.as_deref(),
                    self.look_after_ticket(&ticket, vendors, now),
                )
                .await
            }
            None => self.look_after_claim(&id, row, now).await,
        }
    }

    /// An alert that was never expanded: its message was lost or given up. It is looked for once more, as the last time.
    async fn look_after_rows(&self, row: &ActiveRow, now: DateTime<Utc>) -> Result<bool, Fault> {
        let Ok(mut waiting) = serde_json::from_str::<WaitingRows>(&row.document) else {
            return Err(Fault::permanent("a waiting alert cannot be read"));
        };
        let patience = ROWS_PATIENCE * 2_i32.saturating_pow(waiting.nudges.min(10));
        if now - waiting.nudged_at.unwrap_or(waiting.received_at) < patience {
            return Ok(false);
        }
        waiting.nudges = waiting.nudges.saturating_add(1);
        waiting.nudged_at = Some(now);
        self.keep_rows(&row.row, &waiting).await?;
        let task = Task::Rows {
            row: row.row.clone(),
            round: u32::MAX,
        };
        trace::for_report(waiting.trace.as_deref(), self.put(task, Duration::ZERO)).await?;
        Ok(true)
    }

    /// A failure that waits: is its claim ours, then it is enqueued again, ever more seldom; else the row is left over
    /// from a lost race.
    async fn look_after_claim(
        &self,
        id: &TicketId,
        row: &ActiveRow,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let Some(mut waiting) = self.store.waiting(id).await? else {
            self.store.drop_active(&row.row).await?;
            return Ok(true);
        };
        let patience = PATIENCE * 2_i32.saturating_pow(waiting.nudges.min(10));
        if now - waiting.nudged_at.unwrap_or(waiting.received_at) < patience {
            return Ok(false);
        }
        match self.store.claimed(waiting.claim()).await? {
            Some(owner) if owner != *id => {
                self.store.drop_active(&row.row).await?;
                return Ok(true);
            }
            Some(_) => {}
            // Not claimed at all: the door died in between and told nobody. The failure is accepted now.
            None => {
                self.store.claim(waiting.claim(), id).await?;
            }
        }
        trace::for_report(
            waiting.trace.as_deref(),
            self.put_failure(id, Duration::ZERO),
        )
        .await?;
        waiting.nudges = waiting.nudges.saturating_add(1);
        waiting.nudged_at = Some(now);
        // The ticket may have been opened meanwhile: then the row is its own again.
        if !self.store.exists(id).await? {
            self.store.update_waiting(id, &waiting).await?;
        }
        Ok(true)
    }

    async fn look_after_ticket(
        &self,
        ticket: &Ticket,
        (questions, answering): (&AtomicU32, &Answering),
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let mut acted = false;
        for event in [Event::SlaBreached, Event::ApprovalExpired] {
            // Most tickets need neither: that is known without asking the store again.
            if machine::apply(ticket, &event, now).is_err() {
                continue;
            }
            let applied = self.apply(&ticket.id, &event, now).await;
            acted |= UpdateError::unless_refused(applied)?.is_some();
        }
        if let Some(attempt) = ticket.current_attempt() {
            let overdue = match attempt.state {
                AttemptState::Scheduled => now - attempt.due_at > PATIENCE,
                AttemptState::Accepted => attempt.deadline.is_some_and(|deadline| deadline <= now),
                _ => attempt
                    .called_at
                    .is_none_or(|called| now - called > PATIENCE),
            };
            let leased = ticket.is_leased(Sink::Playbook, now);
            if overdue && !leased && !waits(ticket, Sink::Playbook, now) {
                self.wake_playbook(ticket, now).await?;
                acted = true;
            }
        }
        let over = ticket
            .remediation
            .attempts
            .last()
            .and_then(|attempt| attempt.ended_at);
        if over.is_none_or(|at| now - at < SETTLING) {
            self.after_attempts(ticket).await?;
        }
        for sink in Sink::showing() {
            let settings = self.sinks.settings_digest(sink);
            let waited = answering.get(&sink).copied();
            if ticket.lags(sink)
                && (nobody_works_on(ticket, sink, settings.as_deref(), now)
                    || waited
                        .is_some_and(|answers| waits_for_an_answer(ticket, sink, answers, now)))
            {
                self.put_delivery(ticket, sink, Duration::ZERO).await?;
                acted = true;
            }
        }
        acted |= self.compare_with_jira(ticket, questions, now).await?;
        let shown = !Sink::showing().any(|sink| ticket.lags(sink));
        // Reopened in JIRA soon after its close, with the webhook lost, it is still compared.
        let watched = self.sinks.jira.is_some() && now - ticket.status_at < LINGER;
        if !acted && !watched && ticket.is_closed() && shown && ticket.current_attempt().is_none() {
            self.store.drop_active(ticket.id.as_str()).await?;
            // Somebody may have reopened it at this very moment.
            if self
                .store
                .load(&ticket.id)
                .await?
                .is_some_and(|ticket| !ticket.is_closed())
            {
                self.store.mark_active(&ticket.id).await?;
            }
            acted = true;
        }
        Ok(acted)
    }

    /// Frees assets whose attempt is over: its delivery died between its end and this, or took the asset too late.
    async fn free_assets(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        for lock in self
            .store
            .asset_locks()
            .await?
            .into_iter()
            .filter(|lock| now - lock.since > PATIENCE)
        {
            self.free_if_over(&lock).await?;
        }
        Ok(())
    }

    /// The playbook's delivery may rest (up to date) while its attempt runs: it is woken.
    async fn wake_playbook(&self, ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Fault> {
        let event = Event::Woken {
            sink: Sink::Playbook,
        };
        let woken = self
            .store
            .update(&ticket.id, |ticket| machine::apply(ticket, &event, now));
        match UpdateError::unless_refused(woken.await)? {
            Some(change) => {
                self.put_delivery(&change.ticket, Sink::Playbook, Duration::ZERO)
                    .await
            }
            None => Ok(()),
        }
    }
}

/// Does a delivery of this sink wait in the queue? One that is long overdue is taken for lost.
fn waits(ticket: &Ticket, sink: Sink, now: DateTime<Utc>) -> bool {
    ticket.due(sink).is_some_and(|due| now < due + PATIENCE)
}

/// Was it last tried before the vendor answered again? Then its next try may be an hour away.
fn waits_for_an_answer(
    ticket: &Ticket,
    sink: Sink,
    answers: DateTime<Utc>,
    now: DateTime<Utc>,
) -> bool {
    let waits = |fault: &DeliveryFault| fault.retrying && fault.at < answers;
    !ticket.is_leased(sink, now) && ticket.fault(sink).is_some_and(waits)
}

/// No live lease, no retry under way, and the last change is not fresh; a blocked sink has its own times.
fn nobody_works_on(
    ticket: &Ticket,
    sink: Sink,
    settings: Option<&str>,
    now: DateTime<Utc>,
) -> bool {
    let fault = ticket.fault(sink);
    let leased = ticket.is_leased(sink, now);
    if ticket.stopped_under_others(sink, settings) {
        return !leased;
    }
    if let Some(blocked) = ticket.blocked(sink) {
        return !leased && blocked.next_try <= now;
    }
    if ticket.due(sink).is_some() {
        return !leased && !waits(ticket, sink, now);
    }
    // A retry waits at most an hour and a half in the queue; after that its message is taken for lost.
    let rest = |fault: &DeliveryFault| {
        if fault.retrying {
            chrono::Duration::minutes(90)
        } else {
            PATIENCE
        }
    };
    let retrying = fault.is_some_and(|fault| now - fault.at < rest(fault));
    let fresh = now
        - ticket
            .status_at
            .max(ticket.last_seen)
            .max(ticket.story.last().map_or(ticket.received_at, |c| c.at))
        < PATIENCE;
    !leased && !retrying && !fresh
}
