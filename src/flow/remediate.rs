//! Remediate: call the playbook of an attempt at most once, and find out what became of it (law L5).
//!
//! The attempt is recorded as *calling* before the call. A delivery that finds it in that state without the lease
//! knows that the caller died: the outcome is unknown and the vendor is asked; it is never called again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::deliver::End;
use super::{Flow, own_runs};
use crate::evidence::{Known, Standing};
use crate::fault::Fault;
use crate::redaction::cap;
use crate::remediation;
use crate::sinks::playbook::CallOutcome;
use crate::sinks::playbook::callback::{Callback, Outcome};
use crate::sources::reruns;
use crate::ticket::machine::{Called, Event, Report};
use crate::ticket::store::{AssetLock, UpdateError};
use crate::ticket::{Attempt, AttemptState, ChapterKind, Sink, Ticket, TicketId};

/// How long an attempt waits for its asset or for the global cap.
const BUSY: Duration = Duration::from_secs(30);
/// How long an attempt waits at least for a task that runs already.
const POSTPONED: chrono::Duration = chrono::Duration::seconds(60);
/// As much of a run's id as a ticket's story shows.
const ID_CAP: usize = 200;

impl Flow {
    pub(super) async fn run_playbook(
        &self,
        ticket: Ticket,
        holder: &str,
        now: &(impl Fn() -> DateTime<Utc> + Sync),
    ) -> Result<End, Fault> {
        let version = ticket.version;
        let Some(attempt) = ticket.current_attempt().cloned() else {
            return Ok(End::UpToDate(version));
        };
        match attempt.state {
            AttemptState::Scheduled => self.call(ticket, attempt, holder, now).await,
            AttemptState::Calling => {
                let outcome = Called::Unknown("the handler died during the call".to_owned());
                self.try_apply(
                    &ticket.id,
                    Event::AttemptCalled {
                        attempt: attempt.id,
                        outcome,
                    },
                    now(),
                )
                .await?;
                Ok(End::Later(Duration::from_secs(1)))
            }
            AttemptState::Unknown | AttemptState::Verifying => {
                self.find_out(&ticket, &attempt, now()).await
            }
            AttemptState::Accepted
                if attempt.deadline.is_some_and(|deadline| deadline <= now()) =>
            {
                self.find_out(&ticket, &attempt, now()).await
            }
            _ => Ok(End::UpToDate(version)),
        }
    }

    /// Why an attempt that was planned is not made any more.
    async fn no_longer_wanted(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        if self.sinks.playbook.is_none() || !self.remediation.enabled {
            let why = "automatic remediation was switched off meanwhile";
            return Ok(Some(why.to_owned()));
        }
        if planned_at(ticket, attempt) + self.remediation.callback_deadline < now {
            return Ok(Some("it could not be started in time".to_owned()));
        }
        let silence = self.covering(ticket, now).await?;
        let silence = silence.filter(|_| !is_approved(ticket));
        Ok(silence.map(|silence| silence.on_ticket().words()))
    }

    async fn call(
        &self,
        ticket: Ticket,
        attempt: Attempt,
        holder: &str,
        now: &(impl Fn() -> DateTime<Utc> + Sync),
    ) -> Result<End, Fault> {
        if let Some(why) = self.no_longer_wanted(&ticket, &attempt, now()).await? {
            return self.call_off(&ticket, &attempt, &why, now()).await;
        }
        let Some(playbook) = &self.sinks.playbook else {
            return Ok(End::UpToDate(ticket.version));
        };
        if let Ok(wait) = (attempt.due_at - now()).to_std()
            && !wait.is_zero()
        {
            return Ok(End::Later(wait));
        }
        let lock = AssetLock {
            ticket: ticket.id.clone(),
            attempt: attempt.id.clone(),
            since: now(),
        };
        if let Some(held) = self
            .store
            .lock_asset(&ticket.failure.asset_id(), &lock)
            .await?
        {
            return Ok(End::Later(if self.free_if_over(&held).await? {
                Duration::from_secs(1)
            } else {
                BUSY
            }));
        }
        let verdict = self.still_carried(&ticket, &attempt, now()).await;
        if !matches!(verdict, Ok(Carried::Yes)) {
            self.store
                .unlock_asset(&ticket.failure.asset_id(), &attempt.id)
                .await?;
        }
        match verdict {
            Ok(Carried::Yes) => {}
            Ok(Carried::NotNow) => return Ok(End::Later(BUSY)),
            Ok(Carried::Healed(how)) => {
                return self.close_healed(&ticket, &attempt, how, now()).await;
            }
            Ok(Carried::No(why)) => return self.call_off(&ticket, &attempt, &why, now()).await,
            Err(fault) => return Ok(End::Failed(fault)),
        }
        let limit = ticket.remediation.max_attempts;
        if !self
            .store
            .spend_attempt(&ticket.failure, &attempt.id, limit)
            .await?
        {
            self.store
                .unlock_asset(&ticket.failure.asset_id(), &attempt.id)
                .await?;
            let why = format!(
                "{limit} attempts were made on {} in this run, by this ticket or another",
                ticket.failure.asset
            );
            return self.call_off(&ticket, &attempt, &why, now()).await;
        }
        let deadline = now() + self.remediation.callback_deadline;
        let calling = Event::AttemptCalling {
            attempt: attempt.id.clone(),
            deadline,
        };
        let Some(ticket) = self
            .record(&ticket, Sink::Playbook, holder, &calling, now())
            .await?
        else {
            self.store
                .unlock_asset(&ticket.failure.asset_id(), &attempt.id)
                .await?;
            return Ok(End::LostLease);
        };
        let Some(attempt) = ticket.attempt(&attempt.id).cloned() else {
            return Ok(End::LostLease);
        };
        let outcome = match playbook.call(&ticket, &attempt, now()).await {
            CallOutcome::Accepted { .. } => Called::Accepted,
            CallOutcome::Refused(why) => Called::Refused(why),
            CallOutcome::Unknown(why) => Called::Unknown(why),
            CallOutcome::NotSent(reason, retry_after) => {
                let wait = retry_after
                    .and_then(|after| chrono::Duration::from_std(after).ok())
                    .unwrap_or_else(|| chrono::Duration::seconds(30));
                Called::NotSent(reason, now() + wait)
            }
        };
        self.try_apply(
            &ticket.id,
            Event::AttemptCalled {
                attempt: attempt.id,
                outcome,
            },
            now(),
        )
        .await?;
        let latest = self.store.load(&ticket.id).await?;
        let again = latest
            .as_ref()
            .and_then(Ticket::current_attempt)
            .map(|attempt| (attempt.state, attempt.due_at));
        Ok(match again {
            Some((AttemptState::Scheduled, due)) => {
                End::Later((due - now()).to_std().unwrap_or_default())
            }
            Some((AttemptState::Unknown | AttemptState::Verifying, _)) => {
                End::Later(Duration::from_secs(5))
            }
            _ => End::UpToDate(latest.map_or(ticket.version, |ticket| ticket.version)),
        })
    }

    /// With the asset in hand and right before the call: is there room for another attempt, and do the facts carry it?
    async fn still_carried(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<Carried, Fault> {
        // Counted with the lock in hand: of two at once none slips through.
        if self.store.asset_locks().await?.len() > self.remediation.max_running {
            return Ok(Carried::NotNow);
        }
        let own = own_runs(ticket, None);
        let facts = self
            .collector
            .facts(&ticket.failure, attempt.action.name(), &own, now)
            .await?;
        if facts.known == Known::Said(Standing::Succeeded) {
            let run = ticket.failure.run_id.as_deref().unwrap_or_default();
            return Ok(Carried::Healed(format!(
                "{} has succeeded in run {}",
                ticket.failure.asset,
                cap(run, ID_CAP)
            )));
        }
        let grounds = match remediation::grounds(ticket, &facts) {
            Ok(grounds) => grounds,
            Err(why) => return Ok(Carried::No(why)),
        };
        if facts.is_busy() {
            return Ok(Carried::NotNow);
        }
        let approved = ticket.remediation.approval.as_ref().is_some_and(|asked| {
            asked.attempt == attempt.number
                && asked.answer.as_ref().is_some_and(|answer| answer.approved)
        });
        match grounds.doubts.into_iter().next() {
            Some(doubt) if !approved => Ok(Carried::No(doubt)),
            _ => Ok(Carried::Yes),
        }
    }

    /// Frees an asset whose attempt is over: its handler died before it could.
    pub(super) async fn free_if_over(&self, lock: &AssetLock) -> Result<bool, Fault> {
        let Some(ticket) = self.store.load(&lock.ticket).await? else {
            return Ok(false);
        };
        let over = ticket
            .attempt(&lock.attempt)
            .is_none_or(|attempt| attempt.ended_at.is_some());
        if over {
            self.store
                .unlock_asset(&ticket.failure.asset_id(), &lock.attempt)
                .await?;
        }
        Ok(over)
    }

    async fn close_healed(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        how: String,
        now: DateTime<Utc>,
    ) -> Result<End, Fault> {
        let attempt = attempt.id.clone();
        let event = Event::HealedMeanwhile { attempt, how };
        self.try_apply(&ticket.id, event, now).await?;
        self.settled(ticket, now).await
    }

    async fn call_off(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<End, Fault> {
        let event = Event::AttemptCalledOff {
            attempt: attempt.id.clone(),
            why: why.to_owned(),
        };
        self.try_apply(&ticket.id, event, now).await?;
        self.settled(ticket, now).await
    }

    /// The playbook did nothing, for somebody had the task run already: the attempt waits for that end, and is not burnt.
    async fn postpone(
        &self,
        ticket: &TicketId,
        attempt: &str,
        state: &str,
        now: DateTime<Utc>,
    ) -> Result<String, UpdateError> {
        let known = self.store.load(ticket).await?.ok_or(UpdateError::Missing)?;
        let waited = known
            .attempt(attempt)
            .map_or(chrono::Duration::zero(), |a| now - planned_at(&known, a));
        let event = Event::AttemptPostponed {
            attempt: attempt.to_owned(),
            why: format!("it is {state} already, and not by this attempt"),
            until: now + (waited / 2).max(POSTPONED),
        };
        let ticket = self.apply(ticket, &event, now).await?;
        self.store.refund_attempt(&ticket.failure, attempt).await?;
        self.store
            .unlock_asset(&ticket.failure.asset_id(), attempt)
            .await?;
        Ok(ticket.remediation.decision)
    }

    /// Is this the run that failed, on a platform that gives each rerun an id of its own?
    async fn is_no_rerun(&self, ticket: &TicketId, run: &str) -> Result<bool, Fault> {
        let failure = self.store.load(ticket).await?.map(|ticket| ticket.failure);
        Ok(failure.is_some_and(|failure| {
            let original = failure.run_id.as_deref();
            !reruns::may_keep_their_id(failure.source)
                && original.is_some_and(|original| original.eq_ignore_ascii_case(run))
        }))
    }

    /// Applies a playbook's callback whose token was verified. The answer says what it changed.
    pub async fn callback(
        &self,
        ticket: &TicketId,
        attempt: &str,
        callback: &Callback,
        now: DateTime<Utc>,
    ) -> Result<String, UpdateError> {
        let named = match &callback.remediation_run_id {
            Some(run) if self.is_no_rerun(ticket, run).await? => None,
            named => named.clone(),
        };
        let report = match &callback.outcome {
            Outcome::Busy(state) => return self.postpone(ticket, attempt, state, now).await,
            Outcome::Success | Outcome::Failed(_) if callback.contradictory => Report::Unclear,
            // Nobody could look the run up: the vendor is asked which one it was.
            Outcome::Success if named.is_none() => Report::Unclear,
            Outcome::Success | Outcome::HealedMeanwhile => Report::ClaimsSuccess,
            Outcome::Failed(why) => Report::Failed(why.clone()),
            Outcome::Progress => Report::Progress,
        };
        let healed = callback.outcome == Outcome::HealedMeanwhile;
        let run_id = match (named, &report) {
            // A task keeps its run: that is where the vendor is asked.
            (_, Report::ClaimsSuccess) if healed => {
                let known = self.store.load(ticket).await?;
                known.and_then(|ticket| ticket.failure.run_id)
            }
            (None, Report::Failed(_)) => self.unnamed_run(ticket, attempt, now).await,
            (named, _) => named,
        };
        let event = Event::AttemptReported {
            attempt: attempt.to_owned(),
            report,
            run_id,
        };
        let ticket = self.apply(ticket, &event, now).await?;
        if healed {
            self.store.refund_attempt(&ticket.failure, attempt).await?;
        }
        Ok(ticket.remediation.decision)
    }
}

/// May an attempt be called?
enum Carried {
    Yes,
    /// Later, perhaps.
    NotNow,
    /// It is no longer needed: how it stands.
    Healed(String),
    /// Never: why.
    No(String),
}

/// When an attempt was planned: its own `due_at` moves when the playbook could not be reached.
fn planned_at(ticket: &Ticket, attempt: &Attempt) -> DateTime<Utc> {
    let mut chapters = ticket.story.iter().rev();
    chapters
        .find(|chapter| chapter.kind == ChapterKind::RemediationPlanned)
        .map_or(attempt.due_at, |chapter| chapter.at)
}

/// Did a person approve the attempt that is planned?
fn is_approved(ticket: &Ticket) -> bool {
    let answer = ticket.remediation.approval.as_ref();
    answer.is_some_and(|approval| {
        approval
            .answer
            .as_ref()
            .is_some_and(|answer| answer.approved)
    })
}
