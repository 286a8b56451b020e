//! Deliver: bring one sink of one ticket up to date, step by step, each step recorded before the next: one read, then one
//! write before the first call, and one after each.
//!
//! A lease on the ticket keeps two deliveries from working on one sink at once; it runs out when its holder
//! dies. Transient faults put the message again with our own delay; the host's dequeue count is for crashes. Each sink has a
//! lane: one whose vendor hangs or is down keeps no other waiting.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Delivery, Flow, Task};
use crate::fault::Fault;
use crate::sinks::lanes::{Heard, Wait};
use crate::sinks::{Budget, Next, Step, Turn};
use crate::ticket::machine::{self, Change, Event, Refusal};
use crate::ticket::store::{Line, Loaded, Outage, Stuck, UpdateError};
use crate::ticket::{DeliveryFault, Intent, Record, Sink, SinkState, Ticket, Work};
use crate::trace;

/// More steps than any story needs; a sink that never comes to rest is a bug.
const MAX_STEPS: u32 = 400;
/// The pauses of one delivery, all in all: the queue would make them longer.
pub const PAUSE: Duration = Duration::from_secs(4);
/// A wait for a place in the lane that is slept through.
const BRIEF: Duration = Duration::from_millis(700);
/// How often a delivery asks whether it is its turn, after a sleep that was too short.
const TURNS: u32 = 10;
/// A wait for a post that is written down.
const LONG: Duration = Duration::from_secs(60);
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// How a run of steps ended.
pub(super) enum End {
    /// The sink shows this version.
    UpToDate(u64),
    /// The sink shows the ticket, and that is recorded.
    Recorded,
    /// Again after this time.
    Later(Duration),
    /// It failed.
    Failed(Fault),
    /// The lease was lost to another delivery, which goes on.
    LostLease,
}

impl Flow {
    /// Brings one sink of one ticket up to date. An error means: deliver the message again.
    pub(super) async fn deliver(
        &self,
        delivery: Delivery,
        now: impl Fn() -> DateTime<Utc> + Send + Sync,
    ) -> Result<(), Fault> {
        let id = &delivery.ticket;
        trace::note("ticket.id", id.to_string());
        trace::note("sink.name", delivery.sink.name());
        let mut entered = self.sinks.lanes.enter(delivery.sink, now());
        if let Err(Wait::Full(wait)) = &entered
            && *wait <= BRIEF.min(self.longest_pause)
        {
            // A place is free in no time: cheaper than another message.
            tokio::time::sleep(*wait).await;
            entered = self.sinks.lanes.enter(delivery.sink, now());
        }
        let place = match entered {
            Ok(place) => Ok(place),
            Err(Wait::Full(wait)) => return self.put(Task::Delivery(delivery), wait).await,
            Err(Wait::Down(outage)) => Err(outage),
        };
        let Some(mut loaded) = self.store.find(id).await? else {
            tracing::warn!(ticket.id = %id, "a delivery for a ticket that does not exist");
            return Ok(());
        };
        if !loaded.ticket.lags(delivery.sink) {
            return Ok(());
        }
        self.learn_place(delivery.sink, &loaded.ticket, now())
            .await?;
        let place = match place {
            Ok(place) => place,
            Err(outage) => return self.sit_out(&delivery, &mut loaded, &outage, now()).await,
        };
        // Known before anything is recorded: a wait then costs no write.
        for _ in 0..TURNS {
            let Some(turn) = self.sinks.turn(delivery.sink, &loaded.ticket, now()) else {
                break;
            };
            if turn != Turn::Now {
                self.share_pace(delivery.sink, now()).await;
            }
            match turn {
                Turn::Now => break,
                Turn::Soon(wait) if wait <= self.longest_pause => tokio::time::sleep(wait).await,
                Turn::Soon(wait) | Turn::Later(wait) => {
                    return self.put(Task::Delivery(delivery), wait).await;
                }
            }
        }
        if let Some(budget) = self.sinks.budget(delivery.sink, &loaded.ticket, now())
            && (self.wait_to_post(&delivery, &mut loaded, budget, now())).await?
        {
            return Ok(());
        }
        let was_stuck = Stuck::of(&loaded.ticket, delivery.sink).is_some();
        let holder = format!("{:016x}", fastrand::u64(..));
        if !self.lease(&delivery, &mut loaded, &holder, now()).await? {
            // Soon enough to pick up what the holder may have missed, late enough not to spin.
            let task = Task::Delivery(delivery);
            return self.put(task, Duration::from_secs(5)).await;
        }
        let end = if delivery.sink.shows() {
            self.run_steps(delivery.sink, &mut loaded, &holder, &now)
                .await?
        } else {
            let end = self
                .run_playbook(loaded.ticket.clone(), &holder, &now)
                .await?;
            if let Some(now) = self.store.find(id).await? {
                loaded = now;
            }
            end
        };
        if let Some(outage) = place.leave(heard(delivery.sink, &end), now()) {
            self.note_outage(delivery.sink, &outage).await;
        }
        self.end_delivery(&delivery, &mut loaded, &holder, end, now())
            .await?;
        if delivery.sink == Sink::Jira
            && loaded.ticket.is_closed()
            && !loaded.ticket.lags(Sink::Jira)
        {
            self.note_outcome(&loaded.ticket, now()).await?;
        }
        if was_stuck || Stuck::of(&loaded.ticket, delivery.sink).is_some() {
            self.store.note_stuck(&loaded.ticket, delivery.sink).await?;
        }
        Ok(())
    }

    /// The vendor does not answer: the ticket says so, and is not tried before the vendor is.
    async fn sit_out(
        &self,
        delivery: &Delivery,
        loaded: &mut Loaded,
        outage: &Outage,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let until = (outage.next_call - now).to_std().unwrap_or_default();
        let reason = format!(
            "{} does not answer since {}: {}",
            delivery.sink.title(),
            outage.since.format("%Y-%m-%d %H:%M UTC"),
            outage.reason
        );
        let wait = until.max(backoff(delivery.attempt));
        let end = End::Failed(Fault::transient_after(reason, Some(wait)));
        self.end_delivery(delivery, loaded, "", end, now).await?;
        self.store.note_stuck(&loaded.ticket, delivery.sink).await
    }

    /// While messages wait in line, all processes that post into a channel share its pace. One that cannot learn of the
    /// others goes on as before: the vendor says when it is too much.
    async fn share_pace(&self, sink: Sink, now: DateTime<Utc>) {
        if !self.sinks.is_time_to_tell(sink, now) {
            return;
        }
        let ours = Line {
            at: now,
            silent_until: self.sinks.silent_until(sink, now),
        };
        match self.store.meet_lines(sink, &ours).await {
            Ok(lines) => {
                let silent = lines.iter().filter_map(|line| line.silent_until).max();
                self.sinks.share(sink, lines.len(), silent);
            }
            Err(fault) => {
                tracing::warn!(
                    sink.name = sink.name(),
                    reason = fault.reason(),
                    "a pace could not be shared"
                );
            }
        }
    }

    /// Posts that all processes count together: `true` when this one waits for its place, `false` when it is booked.
    fn wait_to_post<'a>(
        &'a self,
        delivery: &'a Delivery,
        loaded: &'a mut Loaded,
        budget: Budget,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<bool, Fault>> {
        async move {
            let (sink, id) = (delivery.sink, &loaded.ticket.id);
            let posts = (budget.posts, budget.within);
            let Some(place) = self.store.book_post(sink, id, posts, now).await? else {
                return Ok(false);
            };
            let wait = (place - now).to_std().unwrap_or_default();
            if wait < LONG {
                self.put(Task::Delivery(delivery.clone()), wait).await?;
            } else {
                // Written down, or the sweep would take the delivery for lost.
                let end = End::Later(wait);
                self.end_delivery(delivery, loaded, "", end, now).await?;
            }
            Ok(true)
        }
        .boxed()
    }

    /// For the pages and the sweep. The delivery goes on without: the next change notes it again.
    async fn note_outage(&self, sink: Sink, outage: &Outage) {
        if outage.ended.is_some() {
            tracing::info!(sink.name = sink.name(), "a vendor answers again");
        } else {
            tracing::warn!(sink.name = sink.name(), reason = %outage.reason, "a vendor does not answer: its deliveries wait");
        }
        if let Err(fault) = self.store.note_outage(sink, outage).await {
            tracing::warn!(
                sink.name = sink.name(),
                reason = fault.reason(),
                "an outage could not be noted"
            );
        }
    }

    /// Takes the sink, and records what the first call will be about; `false` when another delivery has it.
    async fn lease(
        &self,
        delivery: &Delivery,
        loaded: &mut Loaded,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let sink = delivery.sink;
        let leased = self.store.change(loaded, |ticket| {
            let change = machine::apply(ticket, &leased(sink, holder, now), now)?;
            match self.sinks.next(sink, &change.ticket, now) {
                Next::Intend(record) => super::append(&change, &Event::Recorded(record), now),
                Next::AtRest | Next::Step => Ok(change),
            }
        });
        Ok(UpdateError::unless_refused(leased.await)?.is_some())
    }

    /// Stores a record together with a prolonged lease; `None` when the lease was lost.
    pub(super) async fn record(
        &self,
        ticket: &Ticket,
        sink: Sink,
        holder: &str,
        event: &Event,
        now: DateTime<Utc>,
    ) -> Result<Option<Ticket>, Fault> {
        let updated = self
            .store
            .update(&ticket.id, |ticket| {
                let held = ticket.lease(sink).is_some_and(|lease| lease.by == holder);
                if !held {
                    return Err(Refusal::Contradicts("the lease was lost".to_owned()));
                }
                let change = machine::apply(ticket, event, now)?;
                super::append(&change, &leased(sink, holder, now), now)
            })
            .await;
        let Some(change) = UpdateError::unless_refused(updated)? else {
            return Ok(None);
        };
        if change.visible {
            let others = Sink::showing().filter(|other| *other != sink);
            self.put_deliveries(&change.ticket, others, now).await?;
        }
        Ok(Some(change.ticket))
    }

    /// Steps of a sink that shows the ticket, until it does.
    async fn run_steps(
        &self,
        sink: Sink,
        loaded: &mut Loaded,
        holder: &str,
        now: &(impl Fn() -> DateTime<Utc> + Sync),
    ) -> Result<End, Fault> {
        let mut slept = Duration::ZERO;
        for _ in 0..MAX_STEPS {
            let record = match self.sinks.step(sink, &loaded.ticket, now()).await {
                Ok(Step::UpToDate) => return Ok(End::UpToDate(loaded.ticket.version)),
                Ok(Step::Wait(delay, _)) if slept + delay <= self.longest_pause => {
                    tokio::time::sleep(delay).await;
                    slept += delay;
                    continue;
                }
                Ok(Step::Wait(delay, _)) => return Ok(End::Later(delay)),
                Err(fault) => return Ok(End::Failed(fault)),
                Ok(Step::Recorded(record)) => record,
            };
            self.index(&loaded.ticket, &record).await?;
            if let Some(end) = self
                .record_step(sink, loaded, holder, &record, now())
                .await?
            {
                return Ok(end);
            }
        }
        Ok(End::Failed(Fault::permanent(format!(
            "the sink {} does not come to rest",
            sink.name()
        ))))
    }

    /// Stores what a step did, and with it what comes next: the intent of the next call, or that nothing is left to do.
    async fn record_step(
        &self,
        sink: Sink,
        loaded: &mut Loaded,
        holder: &str,
        record: &Record,
        now: DateTime<Utc>,
    ) -> Result<Option<End>, Fault> {
        let mut end = None;
        let recorded = self.store.change(loaded, |ticket| {
            if ticket.lease(sink).is_none_or(|lease| lease.by != holder) {
                return Err(Refusal::Contradicts("the lease was lost".to_owned()));
            }
            let change = machine::apply(ticket, &Event::Recorded(record.clone()), now)?;
            end = None;
            let change = match self.sinks.next(sink, &change.ticket, now) {
                Next::AtRest => {
                    end = Some(End::Recorded);
                    let ended = Event::DeliveryEnded {
                        sink,
                        holder: holder.to_owned(),
                        shown: Some(change.ticket.version),
                        fault: None,
                        settings: self.sinks.settings_digest(sink),
                        again: None,
                    };
                    return super::append(&change, &ended, now);
                }
                Next::Intend(intended) => super::append(&change, &Event::Recorded(intended), now)?,
                Next::Step => change,
            };
            super::append(&change, &leased(sink, holder, now), now)
        });
        let Some(change) = UpdateError::unless_refused(recorded.await)? else {
            return Ok(Some(End::LostLease));
        };
        if change.visible {
            let others = Sink::showing().filter(|other| *other != sink);
            self.put_deliveries(&change.ticket, others, now).await?;
        }
        Ok(end)
    }

    /// Before it is recorded: what will lead from the vendor back to the ticket.
    async fn index(&self, ticket: &Ticket, record: &Record) -> Result<(), Fault> {
        match record {
            Record::Jira(record) => match &record.key {
                Some(key) if record.key != ticket.jira.key => {
                    self.store
                        .index_issue(key, record.id.as_deref(), &ticket.id)
                        .await
                }
                _ => Ok(()),
            },
            // Its messages name the ticket themselves.
            Record::Slack(_) | Record::Teams(_) => Ok(()),
        }
    }

    async fn end_delivery(
        &self,
        delivery: &Delivery,
        loaded: &mut Loaded,
        holder: &str,
        end: End,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let fault = |fault: &Fault, retrying| {
            Some(DeliveryFault {
                reason: fault.reason().to_owned(),
                at: now,
                retrying,
            })
        };
        if let End::Failed(fault) = &end {
            trace::fail(fault.reason().to_owned());
        }
        let (shown, fault, again) = match end {
            End::LostLease | End::Recorded => return Ok(()),
            End::UpToDate(version) => (Some(version), None, None),
            End::Later(delay) => (None, None, Some((delay, delivery.attempt))),
            End::Failed(Fault::Transient {
                reason,
                retry_after,
            }) => {
                let delay = retry_after.unwrap_or_else(|| backoff(delivery.attempt));
                tracing::warn!(ticket.id = %delivery.ticket, sink.name = delivery.sink.name(), attempt = delivery.attempt, reason = %reason, "delivery will be tried again");
                (
                    None,
                    fault(&Fault::transient(reason), true),
                    Some((delay, delivery.attempt.saturating_add(1))),
                )
            }
            End::Failed(permanent) => {
                if loaded.ticket.blocked(delivery.sink).is_some() {
                    tracing::warn!(ticket.id = %delivery.ticket, sink.name = delivery.sink.name(), reason = permanent.reason(), "delivery is blocked as before");
                } else {
                    tracing::error!(ticket.id = %delivery.ticket, sink.name = delivery.sink.name(), reason = permanent.reason(), "delivery is blocked: somebody has to fix something");
                }
                // A sink that shows the ticket lags until it does; one that acts is left to the watchdog.
                let given_up = (!delivery.sink.shows()).then_some(loaded.ticket.version);
                (given_up, fault(&permanent, false), None)
            }
        };
        let again = again.map(|(delay, attempt)| (delay.min(MAX_DELAY), attempt));
        let due = again.and_then(|(delay, _)| Some(now + chrono::Duration::from_std(delay).ok()?));
        let event = Event::DeliveryEnded {
            sink: delivery.sink,
            holder: holder.to_owned(),
            shown,
            fault,
            settings: self.sinks.settings_digest(delivery.sink),
            again: due,
        };
        let mut another_waits = false;
        let ended = self.store.change(loaded, |ticket| {
            another_waits = ticket
                .waiting(delivery.sink, now)
                .zip(due)
                .is_some_and(|(waiting, due)| waiting <= due + SinkState::SOON);
            machine::apply(ticket, &event, now)
        });
        let Some(Change { ticket: ended, .. }) = UpdateError::unless_refused(ended.await)? else {
            return Ok(());
        };
        match again {
            // One waiting message a sink is enough: without this every event would leave another one behind.
            Some(_) if another_waits => Ok(()),
            Some((delay, attempt)) => {
                let again = Delivery {
                    attempt,
                    ..delivery.clone()
                };
                self.put(Task::Delivery(again), delay).await
            }
            // The sweep tries it again.
            None if ended.blocked(delivery.sink).is_some() => Ok(()),
            // Something changed while this version was being shown.
            None if ended.lags(delivery.sink) => {
                self.put_delivery(&ended, delivery.sink, Duration::ZERO)
                    .await
            }
            None => Ok(()),
        }
    }
}

/// What the end of a delivery says about the vendor. A playbook's silence is its own: each is called once.
fn heard(sink: Sink, end: &End) -> Heard<'_> {
    if !sink.shows() {
        return Heard::Nothing;
    }
    match end {
        End::Later(_) | End::LostLease => Heard::Nothing,
        End::Failed(Fault::Transient {
            reason,
            retry_after: None,
        }) => Heard::Silence(reason),
        End::UpToDate(_) | End::Recorded | End::Failed(_) => Heard::Answer,
    }
}

fn leased(sink: Sink, holder: &str, now: DateTime<Utc>) -> Event {
    Event::Leased {
        sink,
        lease: Intent {
            what: Work::Deliver,
            since: now,
            by: holder.to_owned(),
        },
    }
}

/// 2 s, 4 s, 8 s … an hour, with jitter.
fn backoff(attempt: u32) -> Duration {
    let seconds = 2_u64
        .saturating_mul(1_u64.checked_shl(attempt.min(20)).unwrap_or(u64::MAX))
        .min(MAX_DELAY.as_secs());
    Duration::from_millis(seconds * 1000 * (75 + fastrand::u64(0..50)) / 100)
}
