//! Silences: what is expected for a while is recorded and counted, and told in one piece when the silence is over.
//!
//! A failure is silent if a silence covers it when its ticket is opened: that is decided with the ticket's first version,
//! once. It is noted beside the silence before, so none is lost for the sum. Silent tickets fold into nothing and nothing
//! into them. When the silence is over, one ticket of the tool's own tells of all of them and leads them from then on:
//! closing it closes them.

use chrono::{DateTime, TimeDelta, Utc};

use super::Flow;
use crate::diagnosis::{Diagnosis, Severity};
use crate::failure::{AssetKind, Failure, RunKey, Scope, Source};
use crate::fault::Fault;
use crate::silence::{self, Asked, Invalid};
use crate::sources::airflow::units::Latest;
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
/// Tickets that are handed to the sum in one round of the sweep.
const AT_ONCE: usize = 60;
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
        let all_told = self.sum_up(&silence, now).await?;
        Ok(Some(if !all_told {
            now
        } else if now < over + LATE {
            over + LATE
        } else {
            over + LISTED
        }))
    }

    /// Tells of what failed silently, in one ticket; `false`: not of all yet.
    async fn sum_up(&self, silence: &Silence, now: DateTime<Utc>) -> Result<bool, Fault> {
        let mut untold = self.store.untold(&silence.id).await?;
        // A failure whose analysis was repeated after the silence was announced like any other.
        let mut silent = Vec::new();
        let mut to_join = Vec::new();
        for failure in std::mem::take(&mut untold) {
            let Some(ticket) = self.store.load(&failure.ticket).await? else {
                continue;
            };
            let its = ticket.silenced.as_ref();
            if its.is_none_or(|silenced| silenced.id != silence.id) {
                continue;
            }
            silent.push(failure);
            if ticket.joined.is_none() {
                to_join.push(ticket.id);
            }
        }
        let leader = match silence
            .summed_up
            .as_ref()
            .and_then(|sum| sum.ticket.clone())
        {
            Some(known) => Some(known),
            None if silent.is_empty() => None,
            None => Some(self.open_sum(silence, &silent, now).await?),
        };
        if let Some(leader) = &leader {
            for id in to_join.iter().take(AT_ONCE) {
                let joined = Joined {
                    leader: leader.clone(),
                    reason: FoldReason::Silence,
                    at: now,
                    reported: 0,
                    waits_for_probe: false,
                };
                let event = Event::Joined(joined);
                let change = self
                    .store
                    .update(id, |ticket| machine::apply(ticket, &event, now));
                if let Some(change) = UpdateError::unless_refused(change.await)? {
                    self.report_to_leader(&change.ticket, now).await?;
                }
            }
        }
        let failures = u32::try_from(silent.len()).unwrap_or(u32::MAX);
        self.store
            .change_silence(&silence.id, |kept| {
                let sum = SummedUp {
                    at: now,
                    failures,
                    ticket: leader.clone(),
                };
                let known = kept.summed_up.as_ref();
                let is_new =
                    known.is_none_or(|known| known.failures != failures || known.ticket != leader);
                if is_new {
                    kept.summed_up = Some(sum);
                }
                is_new
            })
            .await?;
        Ok(to_join.len() <= AT_ONCE)
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
        let failure = Failure {
            source: Source::System,
            key,
            kind: AssetKind::Service,
            asset: format!("silence of {}", silence.subject()),
            run_id: None,
            run_url: None,
            error_code: None,
            message: format!("{sentence}\n{}", lines.join("\n")),
            context: std::collections::BTreeMap::new(),
            occurred_at: Some(silence.over_at()),
            source_severity: None,
            alert: None,
        }
        .sealed();
        let mut steps = lines;
        steps.push(
            "Look at the tickets of this incident, or close it: that closes them all.".to_owned(),
        );
        let diagnosis = Diagnosis {
            severity: Severity::Low,
            ..Diagnosis::of_ourselves("SilenceEnded", &silence.id, sentence, steps)
        };
        let opening = Opening {
            id: id.clone(),
            failure,
            diagnosis,
            evidence_count: 0,
            gaps: Vec::new(),
            latest: Latest::default(),
            follows: None,
            received_at: now,
            trace: None,
            sinks_off: self.sinks_off(),
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
