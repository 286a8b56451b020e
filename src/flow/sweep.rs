//! Sweep: every minute, look after what is due. Bounded work per tick; the next one goes on where it stopped.
//!
//! SLA breaches, questions nobody answered, attempts without callback, tickets whose sinks lag, failures without
//! tickets, alerts never expanded. Everything it does could also be done by a report or a delivery: the sweep only makes
//! sure that it happens. It reads what is due and what a fault has stopped, and nothing else: a tick with nothing due
//! costs nine requests, whatever is open.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use futures::{FutureExt, StreamExt};

use super::accept::WaitingRows;
use super::claims::run_of;
use super::silences::is_about_silence;
use super::{Flow, QUEUES, Task};
use crate::fault::Fault;
use crate::ticket::due::{COMPARE_EVERY, PATIENCE, RETRY_PATIENCE, SETTLING};
use crate::ticket::machine::{self, Event};
use crate::ticket::store::{Claim, DueRow, NewClaim, Outage, Stuck, StuckRows, UpdateError};
use crate::ticket::{AttemptState, Sink, Ticket, TicketId};
use crate::trace;

/// Rows of each shard that are read at once.
const ROWS_AT_ONCE: u32 = 200;
/// After that the next tick goes on: thousands of open tickets must not keep a watchdog waiting for long.
const TICK: Duration = Duration::from_secs(30);
/// One row must not keep the others waiting: a call to a vendor takes ten seconds at most.
const ROW: Duration = Duration::from_secs(12);
/// How many issues are read back per tick; no more once JIRA is down, or the tick would wait for it row by row.
const QUESTIONS: u32 = 100;
/// Stopped deliveries that are woken in one tick.
const WOKEN_AT_ONCE: usize = 500;
/// How long after a vendor's outage those that waited for its end are looked for.
const WAKING: TimeDelta = TimeDelta::minutes(5);
/// A visible message that is older is reported (infra/queries/watch-waiting.kql looks for the line).
const WAITING: TimeDelta = TimeDelta::minutes(10);

/// Vendors that answer again: since when.
type Answering = BTreeMap<Sink, DateTime<Utc>>;

/// What a tick still may ask JIRA, and how many rows it has seen.
#[derive(Debug)]
struct Budget {
    questions: AtomicU32,
    seen: AtomicU32,
}

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
        self.store.note_layout(now).await?;
        self.store.probe(now).await?;
        self.store.move_old_rows(now).await?;
        let outages = self.store.outages().await?;
        let jira_is_down = outages
            .iter()
            .any(|(sink, outage)| *sink == Sink::Jira && outage.lasts(now));
        let budget = Budget {
            questions: AtomicU32::new(if jira_is_down { 0 } else { QUESTIONS }),
            seen: AtomicU32::new(0),
        };
        let ended = |(sink, outage): (Sink, Outage)| Some((sink, outage.ended?));
        let answering: Answering = (outages.into_iter().filter_map(ended))
            .filter(|(_, at)| now - *at < WAKING)
            .collect();
        let mut swept = Swept::default();
        self.look_after_due_rows(&budget, started, &mut swept, now)
            .await?;
        let stuck = self.store.stuck().await?;
        swept.acted += self.wake_stopped(&stuck, &answering, now).await?;
        self.announce_blocked_sinks(&stuck, now).await?;
        self.free_assets(now).await?;
        self.take_turns(now).await?;
        Ok(swept)
    }

    /// Looks at what is due until nothing is, or until the tick is over.
    async fn look_after_due_rows(
        &self,
        budget: &Budget,
        started: std::time::Instant,
        swept: &mut Swept,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        // By their hashes: there may be a hundred thousand after a long rest.
        let (hashes, mut seen) = (RandomState::new(), HashSet::new());
        loop {
            let (mut rows, more) = self.store.due(now, ROWS_AT_ONCE).await?;
            rows.retain(|row| seen.insert(hashes.hash_one(row)));
            if rows.is_empty() {
                return Ok(());
            }
            swept.rows += rows.len();
            let looks = rows.into_iter().map(|row| {
                async move {
                    let look = self.look(&row, budget, now);
                    let late = |_| Fault::transient("it did not end in time");
                    match tokio::time::timeout(ROW, look).await.map_err(late) {
                        Ok(Ok(acted)) => Ok(acted),
                        Ok(Err(fault)) | Err(fault) => {
                            // It must not stand in the way of the others.
                            self.store.move_on(&row, Some(now + PATIENCE), true).await?;
                            Err(fault)
                        }
                    }
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
            if !more || started.elapsed() > TICK {
                return Ok(());
            }
        }
    }

    /// Looks at one thing that is due, and has it looked at again when something is next due.
    async fn look(&self, row: &DueRow, budget: &Budget, now: DateTime<Utc>) -> Result<bool, Fault> {
        if row.name.starts_with("rows-") {
            let (acted, next) = self.look_after_rows(&row.name, now).await?;
            self.store.move_on(row, next, true).await?;
            return Ok(acted);
        }
        if is_about_silence(&row.name) {
            let next = Box::pin(self.look_after_silence(&row.name, now)).await?;
            self.store.move_on(row, next, false).await?;
            return Ok(true);
        }
        if let Some(leader) = row.leader() {
            self.gather(&leader, now).await?;
            self.store.move_on(row, None, false).await?;
            return Ok(true);
        }
        let Some(id) = TicketId::parse(&row.name) else {
            self.store.move_on(row, None, false).await?;
            return Ok(true);
        };
        let Some(ticket) = self.store.load(&id).await? else {
            let (acted, next) = self.look_after_waiting(&id, now).await?;
            self.store.move_on(row, next, next.is_some()).await?;
            return Ok(acted);
        };
        self.report_to_leader(&ticket, now).await?;
        if !ticket.has_told_followers() || ticket.digest_due().is_some_and(|due| due <= now) {
            self.gather(&id, now).await?;
        }
        let looking = self.look_after_ticket(&ticket, budget, now);
        let (acted, next) = trace::for_report(ticket.trace.as_deref(), looking).await?;
        self.store.move_on(row, next, false).await?;
        if next.is_none() {
            // Somebody may have reopened it at this very moment.
            let again = self.store.load(&id).await?;
            if again.is_some_and(|ticket| !ticket.is_closed()) {
                self.store.look_at(id.as_str(), now + PATIENCE).await?;
            }
        }
        Ok(acted)
    }

    /// An alert that was never expanded: its message was lost or given up. It is looked for once more, as the last time.
    async fn look_after_rows(
        &self,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<(bool, Option<DateTime<Utc>>), Fault> {
        let Some(document) = self.store.kept(name).await? else {
            return Ok((false, None));
        };
        let Ok(mut waiting) = serde_json::from_str::<WaitingRows>(&document) else {
            return Err(Fault::permanent("a waiting alert cannot be read"));
        };
        if now < waiting.next_look() {
            return Ok((false, Some(waiting.next_look())));
        }
        waiting.nudges = waiting.nudges.saturating_add(1);
        waiting.nudged_at = Some(now);
        self.keep_rows(name, &waiting).await?;
        let task = Task::Rows {
            row: name.to_owned(),
            round: u32::MAX,
        };
        trace::for_report(waiting.trace.as_deref(), self.put(task, Duration::ZERO)).await?;
        Ok((true, Some(waiting.next_look())))
    }

    /// A failure that waits: is its claim ours, then it is enqueued again, ever more seldom; else it is left over from a
    /// lost race.
    async fn look_after_waiting(
        &self,
        id: &TicketId,
        now: DateTime<Utc>,
    ) -> Result<(bool, Option<DateTime<Utc>>), Fault> {
        let Some(mut waiting) = self.store.waiting(id).await? else {
            return Ok((true, None));
        };
        if now < waiting.next_look() {
            return Ok((false, Some(waiting.next_look())));
        }
        let rows = self.store.run(&run_of(&waiting.failure)).await?;
        match self.store.owner(&rows, waiting.claim()).await? {
            Some(owner) if owner != *id => {
                self.store.drop_waiting(id.as_str()).await?;
                return Ok((true, None));
            }
            Some(_) => {}
            // Not claimed at all, as an older version could leave it. The failure is accepted now.
            None => {
                let new = NewClaim {
                    key: waiting.claim(),
                    offer: id,
                    waiting: None,
                    units: None,
                };
                if let Claim::Changed = self.store.claim(&rows, new).await? {
                    return Ok((false, Some(now + PATIENCE)));
                }
            }
        }
        trace::for_report(
            waiting.trace.as_deref(),
            self.put_failure(id, Duration::ZERO),
        )
        .await?;
        waiting.nudges = waiting.nudges.saturating_add(1);
        waiting.nudged_at = Some(now);
        self.store.update_waiting(id, &waiting).await?;
        Ok((true, Some(waiting.next_look())))
    }

    async fn look_after_ticket(
        &self,
        ticket: &Ticket,
        budget: &Budget,
        now: DateTime<Utc>,
    ) -> Result<(bool, Option<DateTime<Utc>>), Fault> {
        let mut acted = false;
        for event in [Event::SlaBreached, Event::ApprovalExpired] {
            // Most tickets need neither: that is known without asking the store again.
            if machine::apply(ticket, &event, now).is_err() {
                continue;
            }
            if event == Event::SlaBreached && self.covering(ticket, now).await?.is_some() {
                // Nobody is paged while failures like it are expected.
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
            if Stuck::of(ticket, sink).is_some() {
                self.store.note_stuck(ticket, sink).await?;
            }
            if ticket.lags(sink) && nobody_works_on(ticket, sink, now) {
                self.put_delivery(ticket, sink, Duration::ZERO).await?;
                acted = true;
            }
        }
        let seen = budget.seen.fetch_add(1, Ordering::Relaxed);
        acted |= self
            .compare_with_jira(ticket, &budget.questions, now)
            .await?;
        let soonest = now + PATIENCE;
        if acted {
            return Ok((true, Some(soonest)));
        }
        // JIRA is not asked about all of them at once: what is over the budget is spread over the next minutes. Whatever
        // else is due does not wait for that.
        let compared = ticket.compare_due().map(|due| {
            let minutes = COMPARE_EVERY.num_minutes() + i64::from(seen / QUESTIONS);
            let later = TimeDelta::seconds(fastrand::i64(60..60 * minutes));
            if due > now { due } else { now + later }
        });
        let due = ticket.next_due(now).map(|due| due.max(soonest));
        Ok((false, due.into_iter().chain(compared).min()))
    }

    /// Deliveries that a fault has stopped, and that need wait no longer: their vendor answers again, or somebody changed
    /// the settings under which it refused, or the vendor told where to post. How many were put.
    async fn wake_stopped(
        &self,
        stuck: &StuckRows,
        answering: &Answering,
        now: DateTime<Utc>,
    ) -> Result<usize, Fault> {
        let sinks: BTreeSet<Sink> = stuck.deliveries.iter().map(|(sink, ..)| *sink).collect();
        self.learn_places(sinks, now).await?;
        let wakes = |(sink, _, stuck): &&(Sink, TicketId, Stuck)| {
            let answers = answering.get(sink).is_some_and(|at| stuck.at < *at);
            let others = stuck.settings != self.sinks.settings_digest(*sink);
            others || answers && !stuck.is_blocked()
        };
        let rows = stuck.deliveries.iter().filter(wakes);
        self.wake_each(rows.take(WOKEN_AT_ONCE), now).await
    }

    /// Puts these deliveries, unless somebody works on them or they are no longer stopped. How many were put.
    pub(super) async fn wake_each(
        &self,
        rows: impl Iterator<Item = &(Sink, TicketId, Stuck)>,
        now: DateTime<Utc>,
    ) -> Result<usize, Fault> {
        let mut woken = 0;
        for (sink, id, _) in rows {
            let ticket = self.store.load(id).await?;
            let Some(ticket) = ticket.filter(|ticket| Stuck::of(ticket, *sink).is_some()) else {
                self.store.drop_stuck(*sink, id).await?;
                continue;
            };
            if !ticket.is_leased(*sink, now) {
                self.put_delivery(&ticket, *sink, Duration::ZERO).await?;
                woken += 1;
            }
        }
        Ok(woken)
    }

    /// What need not be done in every tick: one queue, the numbers of the days, or what is too old.
    async fn take_turns(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let turn = usize::try_from(now.minute()).unwrap_or_default() % (QUEUES.len() + 2);
        let queue = match QUEUES.get(turn) {
            Some(queue) => queue,
            None if turn == QUEUES.len() => {
                self.store.roll_up(now).await?;
                return self.send_digest(now).await;
            }
            None => return self.retain(now).await.map(drop),
        };
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
        Ok(())
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

/// No live lease, no retry under way, and the last change is not fresh; a blocked sink has its own times.
fn nobody_works_on(ticket: &Ticket, sink: Sink, now: DateTime<Utc>) -> bool {
    if ticket.is_leased(sink, now) {
        return false;
    }
    if let Some(blocked) = ticket.blocked(sink) {
        return blocked.next_try <= now;
    }
    if ticket.due(sink).is_some() {
        return !waits(ticket, sink, now);
    }
    let retrying = ticket.fault(sink).is_some_and(|fault| {
        let rest = if fault.retrying {
            RETRY_PATIENCE
        } else {
            PATIENCE
        };
        now - fault.at < rest
    });
    !retrying && now - ticket.last_change() >= PATIENCE
}
