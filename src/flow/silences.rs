//! Silences: what is expected for a while is recorded and counted, and told in one piece when the silence is over.
//!
//! A failure is silent if a silence covers it when its ticket is opened: that is decided with the ticket's first version,
//! once. It is noted beside the silence before, so none is lost for the sum. Silent tickets fold into nothing and nothing
//! into them. When the silence is over, one ticket of the tool's own tells of all of them and leads them from then on:
//! closing it closes them.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::Flow;
use crate::diagnosis::{Diagnosis, Severity};
use crate::failure::{Failure, RunKey, Scope, Source};
use crate::fault::Fault;
use crate::silence::{self, Asked, Invalid};
use crate::ticket::machine::{self, Change, Decision, Event, Opening};
use crate::ticket::store::UpdateError;
use crate::ticket::{
    Actor, Ended, FoldReason, Joined, Silence, SilenceState, Sink, SummedUp, Ticket, TicketId,
    Untold,
};

/// Failures that were being analysed when a silence ended are noted by then.
const SETTLED: TimeDelta = TimeDelta::minutes(1);
/// When it is looked at for the last one that came even later.
const LATE: TimeDelta = TimeDelta::minutes(15);
/// How long a silence is listed after its end.
const LISTED: TimeDelta = TimeDelta::days(30);
/// Tickets that are handed to the sum together, and how long one turn of the sweep may take for it.
const AT_ONCE: usize = 40;
const TURN: Duration = Duration::from_secs(5);
/// Before a silence's id: when it has to be looked at.
const DUE: &str = "silence-";

/// A silence as lists show it.
#[derive(Debug, Clone)]
pub struct ListedSilence {
    /// What it is.
    pub silence: Silence,
    /// How it stands.
    pub state: SilenceState,
    /// How many failures it kept from people so far.
    pub failures: usize,
}

/// Why a silence was not set.
#[derive(Debug, thiserror::Error)]
pub enum NotSilenced {
    /// It was not asked for properly.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl Flow {
    /// Sets a silence.
    ///
    /// # Errors
    /// What is wrong with what was asked, or that the store failed.
    pub async fn set_silence(
        &self,
        asked: &Asked,
        by: Actor,
        now: DateTime<Utc>,
    ) -> Result<Silence, NotSilenced> {
        self.keep_silence(asked, None, by, now).await
    }

    async fn keep_silence(
        &self,
        asked: &Asked,
        set_at: Option<TicketId>,
        by: Actor,
        now: DateTime<Utc>,
    ) -> Result<Silence, NotSilenced> {
        let scopes: Vec<Scope> = (Source::ALL.into_iter())
            .flat_map(|source| self.collector.scopes(source))
            .collect();
        let mut silence = asked.silence(by, &scopes, fastrand::u32(..), now)?;
        silence.set_at = set_at;
        // Looked at in time, whatever happens to the rest.
        let name = format!("{DUE}{}", silence.id);
        self.store.look_at(&name, silence.until + SETTLED).await?;
        self.store.put_silence(&silence).await?;
        tracing::info!(silence.id = %silence.id, "a silence was set");
        Ok(silence)
    }

    /// Sets a silence for failures like that of a ticket, which says so from then on.
    ///
    /// # Errors
    /// As [`Self::set_silence`].
    pub async fn silence_like(
        &self,
        id: &TicketId,
        minutes: u32,
        why: &str,
        by: Actor,
        now: DateTime<Utc>,
    ) -> Result<Option<Silence>, NotSilenced> {
        let Some(ticket) = self.store.load(id).await? else {
            return Ok(None);
        };
        let asked = Asked {
            asset: globset::escape(&ticket.failure.asset),
            cause: Some(ticket.diagnosis.error_type.clone()),
            scope: ticket.failure.scope().map(str::to_owned),
            minutes: Some(minutes),
            why: why.to_owned(),
            ..Asked::default()
        };
        let set_at = Some(id.clone());
        let silence = self.keep_silence(&asked, set_at, by.clone(), now).await?;
        let event = Event::SilenceSet {
            silence: Box::new(silence.on_ticket()),
            by,
        };
        self.try_apply(id, event, now).await?;
        Ok(Some(silence))
    }

    /// Ends a silence early; `None`: there is none of this id, or it is over.
    pub async fn end_silence(
        &self,
        id: &str,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Option<Silence>, Fault> {
        let name = format!("{DUE}{id}");
        if self.store.silence(id).await?.is_none() {
            return Ok(None);
        }
        self.store.look_at(&name, now + SETTLED).await?;
        let ended = self.store.change_silence(id, |silence| {
            let holds = silence.state(now) != SilenceState::Ended;
            if holds {
                silence.ended = Some(Ended {
                    at: now,
                    by: by.clone(),
                });
            }
            holds
        });
        ended.await
    }

    /// The same from a ticket, which no longer says that it holds.
    pub async fn end_silence_of(
        &self,
        id: &TicketId,
        silence: &str,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        self.end_silence(silence, by, now).await?;
        let event = Event::SilenceLifted {
            id: silence.to_owned(),
            by: by.clone(),
        };
        self.try_apply(id, event, now).await
    }

    /// All silences that are kept: those that hold, then planned ones, then those that are over.
    pub async fn list_silences(&self, now: DateTime<Utc>) -> Result<Vec<ListedSilence>, Fault> {
        let mut listed = Vec::new();
        for silence in self.store.silences().await? {
            let state = silence.state(now);
            let failures = match &silence.summed_up {
                Some(sum) => usize::try_from(sum.failures).unwrap_or(usize::MAX),
                None if state == SilenceState::Planned => 0,
                None => self.store.untold(&silence.id).await?.len(),
            };
            listed.push(ListedSilence {
                silence,
                state,
                failures,
            });
        }
        let order = |state| match state {
            SilenceState::Active => 0,
            SilenceState::Planned => 1,
            SilenceState::Ended => 2,
        };
        listed.sort_by_key(|of| (order(of.state), std::cmp::Reverse(of.silence.over_at())));
        Ok(listed)
    }

    /// The silence that covers this ticket now.
    pub(super) async fn covering(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Option<Silence>, Fault> {
        let known = self.store.known_silences(now).await?;
        Ok(silence::covering(&known, ticket, now).cloned())
    }

    /// A ticket that is about to be opened, silent.
    pub(super) async fn open_silently(
        &self,
        opened: &Change,
        silence: &Silence,
        now: DateTime<Utc>,
    ) -> Result<Change, Fault> {
        let refused = |refusal: machine::Refusal| Fault::permanent(refusal.to_string());
        let silenced = silence.on_ticket();
        let decision = Decision::Leave {
            why: silenced.words(),
            exhausted: false,
        };
        let event = Event::Silenced(Box::new(silenced));
        let opened = super::append(opened, &event, now).map_err(refused)?;
        let opened = super::append(&opened, &Event::Decided(decision), now).map_err(refused)?;
        let untold = Untold::of(&opened.ticket);
        self.store.put_untold(&silence.id, &untold).await?;
        Ok(opened)
    }

    /// A silence that is over is summed up; when it is to be looked at next.
    pub(super) async fn look_after_silence(
        &self,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Fault> {
        let id = name.strip_prefix(DUE).unwrap_or_default();
        let Some(silence) = self.store.silence(id).await? else {
            return Ok(None);
        };
        let over = silence.over_at();
        if now < over + SETTLED {
            return Ok(Some(over + SETTLED));
        }
        if now >= over + LISTED {
            self.store.forget_silence(id).await?;
            return Ok(None);
        }
        if let Some(ticket) = &silence.set_at {
            let lifted = Event::SilenceLifted {
                id: silence.id.clone(),
                by: Actor::system(),
            };
            self.try_apply(ticket, lifted, now).await?;
        }
        let all_told = Box::pin(self.sum_up(&silence, now)).await?;
        Ok(Some(if !all_told {
            now
        } else if now < over + LATE {
            over + LATE
        } else {
            over + LISTED
        }))
    }

    /// Tells of what failed silently, in one ticket; `false`: not of all yet. Each turn is bounded, and the next goes on.
    async fn sum_up(&self, silence: &Silence, now: DateTime<Utc>) -> Result<bool, Fault> {
        let started = Instant::now();
        let mut untold = self.store.untold(&silence.id).await?;
        let sum = silence.summed_up.as_ref();
        let mut leader = sum.and_then(|sum| sum.ticket.clone());
        let waiting: Vec<Untold> = untold.iter().filter(|of| !of.told).cloned().collect();
        let mut left = waiting.as_slice();
        while !left.is_empty() && started.elapsed() < TURN {
            let (batch, rest) = left.split_at(left.len().min(AT_ONCE));
            left = rest;
            let mut silent = Vec::new();
            for failure in batch {
                let ticket = self.store.load(&failure.ticket).await?;
                let its = ticket.as_ref().and_then(|ticket| ticket.silenced.as_ref());
                if its.is_some_and(|silenced| silenced.id == silence.id) {
                    silent.push(failure);
                } else {
                    // Its analysis was repeated after the silence: it was announced like any other.
                    untold.retain(|of| of.ticket != failure.ticket);
                    self.store
                        .forget_untold(&silence.id, &failure.ticket)
                        .await?;
                }
            }
            if leader.is_none() && !silent.is_empty() {
                leader = Some(Box::pin(self.open_sum(silence, &untold, now)).await?);
            }
            let Some(leader) = &leader else { continue };
            for failure in silent {
                self.join_sum(silence, failure, leader, now).await?;
            }
        }
        let failures = u32::try_from(untold.len()).unwrap_or(u32::MAX);
        self.store
            .change_silence(&silence.id, |kept| {
                let known = kept.summed_up.as_ref();
                let is_new =
                    known.is_none_or(|known| known.failures != failures || known.ticket != leader);
                if is_new {
                    kept.summed_up = Some(SummedUp {
                        at: now,
                        failures,
                        ticket: leader.clone(),
                    });
                }
                is_new
            })
            .await?;
        Ok(left.is_empty())
    }

    /// A silent ticket follows the one that tells of it.
    async fn join_sum(
        &self,
        silence: &Silence,
        failure: &Untold,
        leader: &TicketId,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let event = Event::Joined(Joined {
            leader: leader.clone(),
            reason: FoldReason::Silence,
            at: now,
            reported: 0,
            waits_for_probe: false,
        });
        let joined = self.store.update(&failure.ticket, |ticket| {
            machine::apply(ticket, &event, now)
        });
        if let Some(change) = UpdateError::unless_refused(joined.await)? {
            Box::pin(self.report_to_leader(&change.ticket, now)).await?;
        }
        let told = Untold {
            told: true,
            ..failure.clone()
        };
        self.store.put_untold(&silence.id, &told).await
    }

    /// The ticket that tells of a silence: once, whichever sweep is first.
    async fn open_sum(
        &self,
        silence: &Silence,
        untold: &[Untold],
        now: DateTime<Utc>,
    ) -> Result<TicketId, Fault> {
        let key = RunKey::new(Source::System, "silence", &silence.id, "", "");
        let offer = TicketId::new(Source::System, now, fastrand::u32(..));
        let rows = self.store.run(&key).await?;
        let id = self.claim_own(&rows, &key, &offer).await?;
        if self.store.load(&id).await?.is_some() {
            return Ok(id);
        }
        let (sentence, lines) = silence::sum(silence, untold);
        let asset = format!("silence of {}", silence.subject());
        let message = format!("{sentence}\n{}", lines.join("\n"));
        let failure = Failure::of_ourselves(key, asset, message, silence.over_at()).sealed();
        let mut steps = lines;
        steps.push(
            "Look at the tickets of this incident, or close it: that closes them all.".to_owned(),
        );
        let diagnosis = Diagnosis {
            severity: Severity::Low,
            ..Diagnosis::of_ourselves("SilenceEnded", &silence.id, sentence, steps)
        };
        let opening = Opening {
            sinks_off: self.sinks_off(),
            ..Opening::of(id.clone(), failure, diagnosis, now)
        };
        let mut opened = machine::opened(opening, now);
        self.store.open(&mut opened, &[]).await?;
        self.put_deliveries(&opened.ticket, Sink::showing(), now)
            .await?;
        Ok(id)
    }
}

/// Is this row of the sweep about a silence?
pub(super) fn is_about_silence(name: &str) -> bool {
    name.starts_with(DUE)
}
