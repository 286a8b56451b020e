//! Whose story a reported failure belongs to (law L2): an open ticket, a closed one that it only repeats, or a new one.
//!
//! Claims are insert-if-absent under a run key. A key whose ticket is closed has a successor (`… |after <ticket>`), so a
//! task instance that fails again after its story was over gets a new ticket by one more insert, and its old reports
//! still find the old one. What a report of a DAG run is about, and what is later, is Airflow's affair
//! ([`story`](crate::sources::airflow::units)).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Flow;
use crate::failure::{Failure, RunKey};
use crate::fault::Fault;
use crate::sources::airflow::units::{self, Latest, Units};
use crate::sources::reruns;
use crate::ticket::machine::Event;
use crate::ticket::store::{Claim, NewClaim, RunRows, UpdateError, Waiting};
use crate::ticket::{Attempt, Ticket, TicketId};

/// Airflow's clock and ours: an end this much before the call of an attempt may still be that attempt's.
const SKEW: TimeDelta = TimeDelta::seconds(5);
/// The callback of a try that failed comes after the attempt has been found to be over.
const LATE: TimeDelta = TimeDelta::seconds(60);
/// When a deployment that did not answer is asked again for the tasks of a run, and for how long.
const ASK_AGAIN: Duration = Duration::from_secs(300);
const ASKED_FOR: TimeDelta = TimeDelta::hours(24);

/// How often a run is read again that others report at the same time.
const ROUNDS: u32 = 20;

/// Where a failure belongs.
pub(super) enum Place {
    /// To this ticket, which may still wait to be analysed.
    Known(TicketId),
    /// To nobody yet.
    New {
        /// Under this key it is claimed.
        key: RunKey,
        /// The closed ticket of the same unit.
        follows: Option<TicketId>,
    },
}

/// Whose a task instance is that the vendor named behind a report of a whole run.
pub(super) enum Adopted {
    /// The ticket's that the report opens; it follows this closed one.
    Ours(Option<TicketId>),
    /// Another ticket's: the instance, as a failure of its own.
    Theirs(TicketId, Box<Failure>),
}

/// How far the tickets of one key go.
enum Step {
    Open(TicketId),
    Repeated(TicketId),
    Free(RunKey, Option<TicketId>),
}

/// The run that a report is about: what is known of it lies side by side.
pub(super) fn run_of(failure: &Failure) -> RunKey {
    units::run_of(failure).unwrap_or_else(|| failure.key.clone())
}

/// The run under which the one is known that was started to heal this failure.
pub(super) fn rerun_of(failure: &Failure, run_id: &str) -> RunKey {
    let rerun = Failure {
        run_id: Some(run_id.to_owned()),
        ..failure.clone()
    };
    units::run_of(&rerun).unwrap_or_else(|| reruns::key(failure, run_id))
}

impl Flow {
    /// Where a failure belongs by what is known of its run; and the tasks of the run, if the report adds one.
    pub(super) async fn place(
        &self,
        rows: &RunRows,
        failure: &Failure,
    ) -> Result<(Place, Option<Units>), Fault> {
        if units::run_of(failure).is_none() {
            let owner = self.store.owner(rows, &failure.key).await?;
            let new = || Place::New {
                key: failure.key.clone(),
                follows: None,
            };
            return Ok((owner.map_or_else(new, Place::Known), None));
        }
        let before = rows.units();
        let mut units = before.clone();
        let keys = if units::names_task(failure) {
            vec![units.key_of_task(failure)]
        } else {
            units.keys_of_dag(failure)
        };
        let units = Some(units).filter(|units| *units != before);
        let (mut repeated, mut free) = (None, None);
        for key in keys {
            match self.walk(rows, key, failure).await? {
                Step::Open(owner) => return Ok((Place::Known(owner), units)),
                Step::Repeated(owner) => repeated = repeated.or(Some(owner)),
                Step::Free(key, follows) => free = free.or(Some((key, follows))),
            }
        }
        let (key, follows) = free.unwrap_or_else(|| (failure.key.clone(), None));
        let place = repeated.map_or(Place::New { key, follows }, Place::Known);
        Ok((place, units))
    }

    /// Stores the tasks of a run, if a report added one; `false`: read the run again.
    pub(super) async fn note_units(
        &self,
        rows: &RunRows,
        units: Option<&Units>,
    ) -> Result<bool, Fault> {
        match units {
            Some(units) => self.store.store_units(rows, units).await,
            None => Ok(true),
        }
    }

    /// From the first ticket of this key to the one that the report belongs to.
    async fn walk(
        &self,
        rows: &RunRows,
        mut key: RunKey,
        failure: &Failure,
    ) -> Result<Step, Fault> {
        let report = Latest::of(failure);
        let mut follows = None;
        loop {
            let Some(owner) = self.store.owner(rows, &key).await? else {
                return Ok(Step::Free(key, follows));
            };
            let Some(ticket) = self.store.load(&owner).await?.filter(Ticket::is_closed) else {
                return Ok(Step::Open(owner));
            };
            let over = Some(ticket.status_at);
            if !ticket.books.latest.is_before(&report, over) {
                return Ok(Step::Repeated(owner));
            }
            key = key.after(&owner);
            follows = Some(owner);
        }
    }

    /// Reads a run and works on it, and again if it changed meanwhile: `work` then says nothing. A run that is thought to
    /// be new is not read at first.
    pub(super) async fn with_run<T, W>(
        &self,
        failure: &Failure,
        mut work: impl FnMut(RunRows) -> W,
    ) -> Result<T, Fault>
    where
        W: Future<Output = Result<Option<T>, Fault>>,
    {
        let run = run_of(failure);
        for round in 0..ROUNDS {
            let rows = match round {
                0 => self.store.run_at_first(&run).await?,
                _ => self.store.run(&run).await?,
            };
            let guessed = rows.is_guessed();
            if let Some(done) = work(rows).await? {
                return Ok(done);
            }
            if guessed {
                continue;
            }
            let pause = u64::from(round) * 5 + fastrand::u64(0..10);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Err(Fault::transient("a run is reported too often right now"))
    }

    /// One more report of a task instance, or of its run, for a ticket that exists: what it says that was not known.
    pub(super) async fn report_try(
        &self,
        ticket: &Ticket,
        failure: &Failure,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let report = Latest::of(failure);
        if ticket.is_closed() {
            return self.note_try(ticket, report, None, now).await;
        }
        if units::names_task(failure) && !units::names_task(&ticket.failure) {
            let event = Event::NamedBetter(Box::new(failure.clone()));
            self.try_apply(&ticket.id, event, now).await?;
            self.put_failure(&ticket.id, Duration::ZERO).await?;
            return self.note_try(ticket, report, None, now).await;
        }
        if units::is_about_run(failure)
            && units::names_task(&ticket.failure)
            && self.collector.can_ask(&ticket.failure)
        {
            // Another task may have failed in it: how this one stands, Airflow says.
            return self.note_try(ticket, report, None, now).await;
        }
        let called = ticket.current_attempt().and_then(|a| a.called_at);
        if !ticket.books.latest.is_before(&report, called) {
            return self.note_try(ticket, report, None, now).await;
        }
        let of_attempt = |attempt: &&Attempt| made(attempt, &report);
        let attempt = ticket.remediation.attempts.iter().rev().find(of_attempt);
        let told = match attempt {
            Some(attempt) if attempt.ended_at.is_none() => {
                self.attempt_failed(&ticket.id, &attempt.id, failure, now)
                    .await?;
                None
            }
            Some(_) => None,
            None => Some(words(failure)),
        };
        self.note_try(ticket, report, told, now).await
    }

    /// Makes the task instance that the vendor named the story of the ticket `id`, so that its own reports find it.
    pub(super) async fn adopt(
        &self,
        id: &TicketId,
        waiting: &Waiting,
        named: Failure,
    ) -> Result<Adopted, Fault> {
        let instance = Failure {
            key: units::instance_key(&named),
            ..named
        };
        let adopted = self.with_run(&instance, |rows| {
            let instance = &instance;
            async move {
                let (place, units) = self.place(&rows, instance).await?;
                let (key, follows) = match place {
                    Place::Known(owner) => {
                        let noted = self.note_units(&rows, units.as_ref()).await?;
                        return Ok(noted.then_some((owner, None)));
                    }
                    Place::New { key, follows } => (key, follows),
                };
                let new = NewClaim {
                    key: &key,
                    offer: id,
                    waiting: None,
                    units: units.as_ref(),
                };
                Ok(match self.store.claim(&rows, new).await? {
                    Claim::Ours => Some((id.clone(), Some(follows))),
                    Claim::Theirs(owner) => Some((owner, None)),
                    Claim::Changed => None,
                })
            }
        });
        let (owner, claimed) = adopted.await?;
        if let Some(follows) = claimed {
            return Ok(Adopted::Ours(follows));
        }
        Ok(if owner == *id {
            Adopted::Ours(waiting.follows.clone())
        } else {
            Adopted::Theirs(owner, Box::new(instance))
        })
    }

    /// Other tasks of this run that failed, or failed again, without a report of their own: Airflow 3 calls no task-level
    /// callback for a task that was killed.
    pub(super) async fn look_for_others(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let mut news = Vec::new();
        match self.collector.failed_instances(&ticket.failure).await {
            Ok(found) => {
                for failure in found {
                    if self.is_news(&failure).await? {
                        news.push(failure);
                    }
                }
            }
            Err(fault) if fault.is_transient() && now - ticket.last_seen < ASKED_FOR => {
                return self.put_recheck(&ticket.id, ASK_AGAIN).await;
            }
            Err(fault) => tracing::warn!(
                ticket.id = %ticket.id,
                fault = fault.reason(),
                "it could not be found out which tasks of the run failed"
            ),
        }
        self.accept_failures(news, now).await.map(|_| ())
    }

    /// Does no ticket know of this failure?
    async fn is_news(&self, failure: &Failure) -> Result<bool, Fault> {
        let rows = self.store.run(&run_of(failure)).await?;
        let owner = match self.place(&rows, failure).await? {
            (Place::New { .. }, _) => return Ok(true),
            (Place::Known(owner), _) => owner,
        };
        let Some(ticket) = self.store.load(&owner).await? else {
            // What was reported before may have been no failure: then nothing waits under its claim.
            return Ok(self.store.waiting(&owner).await?.is_none());
        };
        let report = Latest::of(failure);
        Ok(!ticket.is_closed() && ticket.books.latest.is_before(&report, None))
    }

    async fn note_try(
        &self,
        ticket: &Ticket,
        latest: Latest,
        told: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let event = Event::TryReported { latest, told };
        self.try_apply(&ticket.id, event, now).await
    }

    /// A later or better report of a failure that still waits to be analysed takes its place. `false`: it is no longer
    /// waiting.
    pub(super) async fn waits_better(
        &self,
        owner: &TicketId,
        failure: &Failure,
    ) -> Result<bool, Fault> {
        let Some(mut waiting) = self.store.waiting(owner).await? else {
            return Ok(false);
        };
        let known = &waiting.failure;
        let better = units::names_task(failure)
            && (!units::names_task(known)
                || Latest::of(known).is_before(&Latest::of(failure), None));
        if better {
            waiting.failure = Failure {
                key: waiting.failure.key.clone(),
                ..failure.clone()
            };
            self.store.update_waiting(owner, &waiting).await?;
        }
        Ok(better)
    }

    /// Applies an event of a report; a ticket that does not exist yet is said.
    pub(super) async fn count_report(
        &self,
        owner: &TicketId,
        now: DateTime<Utc>,
    ) -> Result<Option<Ticket>, Fault> {
        let counted = self.apply(owner, &Event::ReportedAgain, now).await;
        match UpdateError::unless_refused(counted)? {
            Some(ticket) => Ok(Some(ticket)),
            None => self.store.load(owner).await,
        }
    }
}

/// Did this attempt make the try that was reported? Without a time, the one that is under way did.
fn made(attempt: &Attempt, report: &Latest) -> bool {
    let Some(called) = attempt.called_at else {
        return false;
    };
    match report.at() {
        Some(ended) => {
            called - SKEW <= ended && attempt.ended_at.is_none_or(|over| ended <= over + LATE)
        }
        None => attempt.ended_at.is_none(),
    }
}

/// The task failed once more, and not by our doing.
fn words(failure: &Failure) -> String {
    let why = failure
        .error_code
        .as_deref()
        .map(|code| format!(": {code}"))
        .unwrap_or_default();
    match Latest::of(failure).try_number {
        Some(number) => format!("It failed again, in try {number}{why}"),
        None => format!("It failed again{why}"),
    }
}
