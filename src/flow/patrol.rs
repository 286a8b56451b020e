//! Patrol: every minute, ask each configured scope what ended. Failed ends go through the ordinary accept, good ends close
//! what they show to be over.
//!
//! A second door of equal rank: the run keys are those of the other doors, so whichever is first wins. What was handled is
//! noted after it is durable; a crash in between handles it once more, and that is a duplicate. Scopes are independent: each
//! has its own calls, its own time and its own faults.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt};

use super::Flow;
use crate::failure::{Failure, Scope, Source, field};
use crate::fault::Fault;
use crate::patrol::recovery::needs_proof;
use crate::patrol::{End, Outcome, Question, Recovery, Unit, Watch};
use crate::sources::airflow::units;
use crate::sources::reruns;
use crate::ticket::machine::Event;
use crate::ticket::store::StoredWatch;
use crate::ticket::{Ticket, machine};

mod expected;
mod scopes;
mod volumes;

/// Scopes that are asked at the same time.
const SCOPES: usize = 8;
/// How long one scope may take to answer in one tick.
const ASKING: Duration = Duration::from_secs(20);
/// After that no further batch is begun: the next tick goes on.
const WORKING: Duration = Duration::from_secs(32);
/// Failed ends that are accepted before they are noted as handled.
const BATCH: usize = 64;
/// Callers that are asked about in one tick, for runs that wait for them.
const CALLERS: usize = 10;
/// A hint does not have the platforms asked again within this time.
const JUST_ASKED: chrono::Duration = chrono::Duration::seconds(20);
/// A ticket that was closed this long is no longer looked at when its unit runs well.
const OVER: chrono::Duration = chrono::Duration::hours(24);

/// What one tick did, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patrolled {
    /// Scopes asked.
    pub asked: usize,
    /// Scopes that could not be asked.
    pub faults: usize,
    /// Failed ends that were new.
    pub failed: usize,
    /// Good ends that were new.
    pub succeeded: usize,
    /// Calls made.
    pub calls: u32,
}

impl Flow {
    /// Is any platform asked at all?
    pub(super) fn is_patrolled(&self) -> bool {
        self.patrol.on && !self.collector.every_scope().is_empty()
    }

    /// A tick out of turn, unless one has just been.
    pub(super) async fn patrol_soon(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let watches = self.watches().await?;
        let just = |watch: &Watch| watch.asked_at.is_some_and(|at| now - at < JUST_ASKED);
        if watches.iter().all(just) {
            return Ok(());
        }
        self.patrol(now).await.map(drop)
    }

    /// One tick.
    pub async fn patrol(&self, now: DateTime<Utc>) -> Result<Patrolled, Fault> {
        if !self.is_patrolled() {
            return Ok(Patrolled::default());
        }
        let scopes = self.collector.every_scope();
        let started = std::time::Instant::now();
        let known = self.store.watches().await?;
        let mut looks = Vec::new();
        for scope in &scopes {
            let is_its = |stored: &&StoredWatch| {
                stored.watch.scope == scope.id && stored.watch.source == scope.source.name()
            };
            let stored = known.iter().find(is_its).cloned();
            let stored = stored.unwrap_or_else(|| StoredWatch::new(Watch::new(scope)));
            looks.push(self.look_at_scope(scope, stored, started, now).boxed());
        }
        let outcomes: Vec<Result<Patrolled, Fault>> = futures::stream::iter(looks)
            .buffer_unordered(SCOPES)
            .collect()
            .await;
        let mut all = Patrolled::default();
        for outcome in outcomes {
            match outcome {
                Ok(one) => all.add(one),
                Err(fault) => {
                    all.faults += 1;
                    tracing::warn!(reason = fault.reason(), "a scope could not be patrolled");
                }
            }
        }
        Ok(all)
    }

    async fn look_at_scope(
        &self,
        scope: &Scope,
        mut stored: StoredWatch,
        started: std::time::Instant,
        now: DateTime<Utc>,
    ) -> Result<Patrolled, Fault> {
        stored.watch.name_after(scope);
        let Some(question) = stored.watch.question(&self.patrol, now) else {
            if self.announce_silence(&mut stored.watch, now).await? {
                self.store.put_watch(&mut stored).await?;
            }
            return Ok(Patrolled::default());
        };
        let mut answer = self.collector.ended(scope, &question, ASKING).await;
        let new = new_ends(&stored.watch, std::mem::take(&mut answer.ends), &question);
        stored.watch.note_lag(&new, now);
        let mut done = Patrolled {
            asked: 1,
            faults: usize::from(answer.fault.is_some()),
            calls: answer.calls,
            ..Patrolled::default()
        };
        let (failed, others): (Vec<End>, Vec<End>) =
            (new.into_iter()).partition(|end| matches!(end.outcome, Outcome::Failed(_)));
        done.failed = failed.len();
        for end in failed.iter().chain(&others) {
            stored.watch.note_start(end, &self.patrol.expect);
        }
        let handled = self
            .accept_ends(scope, &mut stored, failed, &others, started, now)
            .await?;
        for end in &others {
            if end.outcome == Outcome::Succeeded {
                done.succeeded += 1;
                stored.watch.note_good(end, now);
            }
            stored.watch.mark(end, now);
        }
        self.weigh(scope, &mut stored.watch, &others, now).await?;
        self.recover(&stored.watch, now).await?;
        self.announce_missing(scope, &mut stored.watch, now).await?;
        if !handled {
            // What is left is asked for again.
            answer.whole = false;
        }
        if let Some(fault) = &answer.fault {
            tracing::warn!(scope.name = %scope.name, reason = fault.reason(), "a platform could not be asked");
        }
        stored.watch.learn(&question, answer);
        self.announce_silence(&mut stored.watch, now).await?;
        self.store.put_watch(&mut stored).await?;
        Ok(done)
    }

    /// Accepts failed ends, batch by batch; `false` when time ran out before the last.
    async fn accept_ends(
        &self,
        scope: &Scope,
        stored: &mut StoredWatch,
        failed: Vec<End>,
        others: &[End],
        started: std::time::Instant,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let (mut bad, mut good) = (BTreeSet::new(), BTreeSet::new());
        for end in failed.iter().chain(others) {
            let ids = if end.outcome == Outcome::Succeeded {
                &mut good
            } else {
                &mut bad
            };
            ids.insert(end.run_id.to_lowercase());
        }
        let all = failed.clone();
        let ready = stored.watch.hold(failed, &bad, now);
        let (bad, good) = self.ask_callers(scope, &stored.watch, bad, good).await;
        let freed = stored.watch.release(&bad, &good, now);
        // Those that wait for their callers, or belong to them, are kept in the row by now.
        let is_ready: BTreeSet<&str> = ready.iter().map(|end| end.mark.as_str()).collect();
        for end in all
            .iter()
            .filter(|end| !is_ready.contains(end.mark.as_str()))
        {
            stored.watch.mark(end, now);
        }
        if !freed.is_empty() {
            self.accept_failures(freed, now).await?;
        }
        let mut endless = BTreeSet::new();
        for batch in ready.chunks(BATCH) {
            if started.elapsed() > WORKING {
                return Ok(false);
            }
            let mut failures = Vec::new();
            for end in batch {
                if let Outcome::Failed(failure) = &end.outcome
                    && !self.is_told_by_its_tasks(failure).await?
                    && !self.fails_for_ever(end, &mut endless).await?
                {
                    failures.push((**failure).clone());
                }
            }
            self.accept_failures(failures, now).await?;
            for end in batch {
                stored.watch.mark(end, now);
            }
            if ready.len() > BATCH {
                self.store.put_watch(stored).await?;
            }
        }
        Ok(true)
    }

    /// A DAG run that failed because of tasks that were reported has nothing to add.
    async fn is_told_by_its_tasks(&self, failure: &Failure) -> Result<bool, Fault> {
        match units::run_of(failure).filter(|_| units::is_about_run(failure)) {
            Some(run) => {
                let rows = self.store.run(&run).await?;
                Ok(rows.units().name_a_task())
            }
            None => Ok(false),
        }
    }

    /// A run that is started again for ever, and whose failure is told already, has nothing to add.
    async fn fails_for_ever(&self, end: &End, told: &mut BTreeSet<String>) -> Result<bool, Fault> {
        let unit = end.unit.key();
        Ok(end.endless && (!told.insert(unit.to_owned()) || self.has_open_ticket(unit).await?))
    }

    /// Whether the callers of runs that wait have ended.
    async fn ask_callers(
        &self,
        scope: &Scope,
        watch: &Watch,
        mut bad: BTreeSet<String>,
        mut good: BTreeSet<String>,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let callers: BTreeSet<&str> = (watch.held.iter())
            .map(|held| held.parent.as_str())
            .filter(|parent| {
                let parent = parent.to_lowercase();
                !bad.contains(&parent) && !good.contains(&parent)
            })
            .collect();
        for caller in callers.into_iter().take(CALLERS) {
            match self.collector.ended_well(scope, caller).await {
                Ok(Some(true)) => drop(good.insert(caller.to_lowercase())),
                Ok(Some(false)) => drop(bad.insert(caller.to_lowercase())),
                Ok(None) | Err(_) => {}
            }
        }
        (bad, good)
    }

    /// Closes the tickets that the good ends of the last hour show to be over.
    async fn recover(&self, watch: &Watch, now: DateTime<Utc>) -> Result<(), Fault> {
        if watch.good.is_empty() {
            return Ok(());
        }
        let units: BTreeSet<String> = watch.good.keys().cloned().collect();
        for (unit, id) in self.store.tickets_of_units(&units).await? {
            let Some(recovery) = watch.good.get(&unit) else {
                continue;
            };
            match self.store.load(&id).await? {
                Some(ticket) if !ticket.is_closed() => {
                    self.recover_ticket(&ticket, recovery, now).await?;
                }
                Some(ticket) if now - ticket.status_at < OVER => {}
                Some(_) | None => self.store.drop_unit(&unit, &id).await?,
            }
        }
        Ok(())
    }

    async fn recover_ticket(
        &self,
        ticket: &Ticket,
        recovery: &Recovery,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if self.is_run_of_ours(ticket, recovery, now).await? {
            return Ok(());
        }
        let event = Event::Recovered(Box::new(recovery.clone()));
        if machine::apply(ticket, &event, now).is_err() {
            return Ok(());
        }
        if needs_proof(&ticket.failure) {
            let run = &recovery.run_id;
            match self.collector.has_succeeded_in(&ticket.failure, run).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(fault) => {
                    // The good end is looked at again in the next tick.
                    tracing::info!(ticket.id = %ticket.id, reason = fault.reason(), "a recovery could not be verified");
                    return Ok(());
                }
            }
        }
        tracing::info!(ticket.id = %ticket.id, run.id = %recovery.run_id, "a good run was seen: it has recovered");
        self.try_apply(&ticket.id, event, now).await
    }

    /// A run that a playbook of this ticket started ended well: the attempt did, by the vendor's word.
    async fn is_run_of_ours(
        &self,
        ticket: &Ticket,
        recovery: &Recovery,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let Some(attempt) = ticket.current_attempt().filter(|a| a.called_at.is_some()) else {
            return Ok(false);
        };
        let run = recovery.run_id.as_str();
        let known = attempt.run_id.as_deref();
        let began_since = attempt
            .called_at
            .zip(recovery.ended)
            .is_some_and(|(called, ended)| ended > called);
        if known.is_some_and(|known| known.eq_ignore_ascii_case(run)) && began_since {
            let event = Event::AttemptReported {
                attempt: attempt.id.clone(),
                report: self.report_of_rerun(ticket, run, now).await,
                run_id: Some(run.to_owned()),
            };
            self.try_apply(&ticket.id, event, now).await?;
            return Ok(true);
        }
        // A repair or a cleared task goes on under the id of the run that failed: its playbook says how it went.
        let same = ticket.failure.run_id.as_deref() == Some(run);
        Ok(same && reruns::may_keep_their_id(ticket.failure.source))
    }

    /// Where several deployments are configured, runs of the same name are told apart by the one name that the deployment has
    /// in the configuration, however a report or the patrol names it.
    pub(super) fn deployed(&self, mut failure: Failure) -> Failure {
        let several = self.collector.scopes(Source::Airflow).len() > 1;
        if several
            && failure.source == Source::Airflow
            && failure.run_id.is_some()
            && let Some(scope) = self.collector.place(&failure).scope()
        {
            let named = failure.field(field::DEPLOYMENT).map(str::to_owned);
            if named.as_deref() != Some(scope.id.as_str()) {
                let id = scope.id.clone();
                failure.context.insert(field::DEPLOYMENT.to_owned(), id);
                failure.key = units::instance_key(&failure);
            }
        }
        failure
    }

    /// A good run of the ticket's unit may close it from now on.
    pub(super) async fn note_unit(&self, ticket: &Ticket) -> Result<(), Fault> {
        let asked = self.patrol.on && ticket.failure.source != Source::System;
        match Unit::of(&ticket.failure).filter(|_| asked) {
            Some(unit) => self.store.note_unit(&unit, &ticket.id).await,
            None => Ok(()),
        }
    }

    /// Every scope that is asked, as it was left.
    pub async fn watches(&self) -> Result<Vec<Watch>, Fault> {
        let scopes = self.collector.every_scope();
        let stored = self.store.watches().await?;
        let of = |scope: &Scope| {
            let known = stored.iter().map(|stored| &stored.watch);
            known
                .clone()
                .find(|watch| watch.scope == scope.id && watch.source == scope.source.name())
                .cloned()
                .unwrap_or_else(|| Watch::new(scope))
        };
        Ok(scopes.iter().map(of).collect())
    }
}

impl Patrolled {
    fn add(&mut self, one: Self) {
        self.asked += one.asked;
        self.faults += one.faults;
        self.failed += one.failed;
        self.succeeded += one.succeeded;
        self.calls += one.calls;
    }
}

/// Each new end once, the earliest first.
fn new_ends(watch: &Watch, ends: Vec<End>, question: &Question) -> Vec<End> {
    let mut marks = BTreeSet::new();
    let mut new: Vec<End> = ends
        .into_iter()
        .filter(|end| watch.is_new(end, question) && marks.insert(end.mark.clone()))
        .collect();
    new.sort_by_key(|end| end.ended);
    new
}
