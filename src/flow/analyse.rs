//! Analyse: a waiting failure becomes a ticket with its root cause.
//!
//! Re-running it any number of times ends in the same state: the ticket is inserted if absent, and
//! deliveries are put for whatever lags.

use chrono::{DateTime, Utc};

use super::accept::is_run_of_attempt;
use super::claims::{Adopted, run_of};
use super::{Flow, append};
use crate::diagnosis::{Case, Diagnosis, diagnose};
use crate::evidence::{Collected, Evidence, Facts, Gap};
use crate::failure::Failure;
use crate::fault::Fault;
use crate::incident;
use crate::model::not_worded;
use crate::patrol::FINDING;
use crate::remediation;
use crate::sources::airflow::units::{self, Latest};
use crate::ticket::machine::{self, Change, Event, Examined, Opening};
use crate::ticket::store::{PastRemediation, Waiting};
use crate::ticket::{Priority, Sink, Ticket, TicketId};
use crate::trace;

/// How soon, and how seldom, the vendor is asked whether a failure is final by now.
const SHORTEST_PAUSE: chrono::Duration = chrono::Duration::seconds(5);
const LONGEST_PAUSE: chrono::Duration = chrono::Duration::minutes(10);
/// With this many nudges the sweep waits longer than the longest pause.
const NUDGES_OF_A_PAUSE: u32 = 4;

impl Flow {
    /// Opens the ticket of a failure that waits under this id.
    pub(super) async fn analyse_failure(
        &self,
        id: &TicketId,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        trace::note("ticket.id", id.to_string());
        if let Some(ticket) = self.store.load(id).await? {
            let ticket = self.analyse_again(ticket, now).await?;
            self.note_unit(&ticket).await?;
            self.report_to_leader(&ticket, now).await?;
            return self.put_deliveries(&ticket, Sink::ALL, now).await;
        }
        let Some(mut waiting) = self.store.waiting(id).await? else {
            tracing::warn!(ticket.id = %id, "nothing waits under this id: the message is an old copy");
            return Ok(());
        };
        let failure = waiting.failure.clone();
        trace::note("failure.source", failure.source.name());
        let mut collected = if failure.field(FINDING).is_some() {
            // No platform knows of it.
            Collected::default()
        } else {
            trace::step("collect evidence", self.collector.collect(&failure, now)).await
        };
        if let Some(why) = &collected.no_failure {
            tracing::info!(ticket.id = %id, reason = %why, "the vendor says that this was no failure");
            return self.store.drop_waiting(id.as_str()).await;
        }
        if let Some(how) = collected.not_final.take() {
            let until = waiting.received_at + self.sla_of(&failure, &collected);
            if now < until {
                return self.wait_for_the_end(id, waiting, (&how, until), now).await;
            }
            collected.miss(
                failure.source.name(),
                format!("it had not ended within its SLA: {how}"),
            );
        }
        // Its tickets are closed, and nothing has failed since: tasks behind what had failed still hold the run down.
        if collected.none_failed && waiting.follows.is_some() && !units::is_timeout_of_run(&failure)
        {
            tracing::info!(ticket.id = %id, "no task of the run is failed any more");
            return self.store.drop_waiting(id.as_str()).await;
        }
        let known = self.placed(collected.refine(failure.clone()));
        if self.is_remediation_run(&known, now).await? {
            return self.store.drop_waiting(id.as_str()).await;
        }
        if units::is_about_run(&failure) && units::names_task(&known) {
            match self.adopt(id, &waiting, known).await? {
                Adopted::Ours(follows) => waiting.follows = follows,
                Adopted::Theirs(owner, instance) => {
                    self.reported_again(&owner, &instance, now).await?;
                    if let Some(ticket) = self.store.load(&owner).await? {
                        // The run failed of more than that.
                        self.look_for_others(&ticket, now).await?;
                    }
                    return self.store.drop_waiting(id.as_str()).await;
                }
            }
        }
        let opening = self.open(id, &waiting, collected, now);
        let (mut opened, evidence) = trace::step("diagnose", opening).await?;
        let is_new = self.store.open(&mut opened, &evidence).await?;
        let mut ticket = opened.ticket;
        if is_new {
            tracing::info!(
                ticket.id = %id,
                failure.source = %ticket.failure.source,
                diagnosis.category = ticket.diagnosis.category.words(),
                diagnosis.rule = %ticket.diagnosis.rule,
                "ticket opened"
            );
        }
        // A better report of a task may have come in while this one was analysed.
        if units::run_of(&failure).is_some()
            && let Some(better) = self.store.waiting(id).await?
            && better.failure != failure
        {
            let event = Event::NamedBetter(Box::new(better.failure));
            self.try_apply(id, event, now).await?;
            if let Some(named) = self.store.load(id).await? {
                ticket = self.analyse_again(named, now).await?;
            }
        }
        self.note_unit(&ticket).await?;
        self.report_to_leader(&ticket, now).await?;
        self.put_deliveries(&ticket, Sink::ALL, now).await
    }

    /// What has not ended opens nothing, as long as its SLA allows: the vendor is asked again, ever more seldom.
    async fn wait_for_the_end(
        &self,
        id: &TicketId,
        mut waiting: Waiting,
        (how, until): (&str, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let waited = now - waiting.received_at;
        let delay = (waited / 2)
            .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
            .min((until - now).max(SHORTEST_PAUSE));
        if waiting.nudged_at.is_some_and(|at| now - at < delay / 2) {
            // Another message of the same failure asks already.
            return Ok(());
        }
        tracing::info!(ticket.id = %id, reason = %how, "not final: asked again later");
        // The sweep leaves it alone as long as these messages go on.
        waiting.nudges = waiting.nudges.max(NUDGES_OF_A_PAUSE);
        waiting.nudged_at = Some(now);
        self.store.update_waiting(id, &waiting).await?;
        self.put_failure(id, delay.to_std().unwrap_or_default())
            .await
    }

    /// The failure under the one name that its scope has in the configuration, whichever way the report named it.
    pub(super) fn placed(&self, mut failure: Failure) -> Failure {
        if let Some(scope) = self.collector.place(&failure).scope() {
            failure.set_scope(&scope.id);
        }
        failure
    }

    /// How long somebody may be left untold of this failure, by what is known of it so far.
    fn sla_of(&self, failure: &Failure, collected: &Collected) -> chrono::Duration {
        let known = collected.refine(failure.clone());
        let of_error = || diagnose(&Case::of(&known, &collected.evidence)).severity;
        let importance = self.ownership.importance(&known);
        let severity = importance.map_or_else(of_error, |importance| importance.severity);
        chrono::Duration::seconds(i64::from(Priority::of(severity).sla_seconds()))
    }

    /// Analyses a ticket whose failure was named better after it was opened.
    async fn analyse_again(&self, ticket: Ticket, now: DateTime<Utc>) -> Result<Ticket, Fault> {
        if !ticket.books.named_better {
            return Ok(ticket);
        }
        let failure = ticket.failure.clone();
        let collected =
            trace::step("collect evidence", self.collector.collect(&failure, now)).await;
        let (examined, evidence, _) = self
            .examine(failure, ticket.received_at, collected, now)
            .await?;
        self.store.put_evidence(&ticket.id, &evidence).await?;
        let care = self.ownership.care(&examined.failure);
        for event in [
            Event::DiagnosedAgain(Box::new(examined)),
            Event::Rated(Box::new(care)),
        ] {
            self.try_apply(&ticket.id, event, now).await?;
        }
        Ok(self.store.load(&ticket.id).await?.unwrap_or(ticket))
    }

    /// Diagnoses and decides: the ticket's first version and its evidence, not yet stored.
    async fn open(
        &self,
        id: &TicketId,
        waiting: &Waiting,
        collected: Collected,
        now: DateTime<Utc>,
    ) -> Result<(Change, Vec<Evidence>), Fault> {
        let mut latest = Latest::of(&waiting.failure);
        let received_at = waiting.received_at;
        let (examined, evidence, past) = self
            .examine(waiting.failure.clone(), received_at, collected, now)
            .await?;
        latest.learn(&Latest::of(&examined.failure));
        let opening = Opening {
            id: id.clone(),
            failure: examined.failure,
            received_at,
            diagnosis: examined.diagnosis,
            evidence_count: examined.evidence_count,
            gaps: examined.gaps,
            latest,
            follows: waiting.follows.clone(),
            // A failure that an older version took in has no trace: it gets the one that it is analysed in.
            trace: waiting.trace.clone().or_else(trace::here),
            sinks_off: self.sinks_off(),
        };
        let mut opened = machine::opened(opening, now);
        let care = self.ownership.care(&opened.ticket.failure);
        if let Ok(rated) = append(&opened, &Event::Rated(Box::new(care)), now) {
            opened = rated;
        }
        opened.ticket.looked_at_by(waiting.next_look());
        if let Some(silence) = self.covering(&opened.ticket, now).await? {
            let silent = Box::pin(self.open_silently(&opened, &silence, now)).await?;
            return Ok((silent, evidence));
        }
        let (joined, seen_before) = self.fold_in(&opened.ticket, now).await?;
        // A follower shows nothing of its own.
        if seen_before && joined.is_none() {
            let ticket = &mut opened.ticket;
            let (asset, cause) = (ticket.failure.asset_id(), &ticket.diagnosis.fingerprint);
            let outcomes = self.store.outcomes(&asset, cause).await?;
            ticket.remember(outcomes);
        }
        if let Some(joined) = joined {
            opened = append(&opened, &Event::Joined(joined), now)
                .map_err(|refusal| Fault::permanent(refusal.to_string()))?;
        }
        let ticket = &mut opened.ticket;
        let facts = if remediation::needs_facts(ticket, &self.remediation, &past, now) {
            self.facts(ticket, None, now).await
        } else {
            Facts::assumed()
        };
        let decision = remediation::decide(ticket, &self.remediation, &past, &facts, now);
        let decision = incident::after_probe(ticket, decision);
        let decided = append(&opened, &Event::Decided(decision), now)
            .map_err(|refusal| Fault::permanent(refusal.to_string()))?;
        Ok((self.list_new(decided, now).await?, evidence))
    }

    /// Diagnoses a failure. With it: the evidence, and how healing such a failure ended before.
    async fn examine(
        &self,
        failure: Failure,
        received_at: DateTime<Utc>,
        collected: Collected,
        now: DateTime<Utc>,
    ) -> Result<(Examined, Vec<Evidence>, Vec<PastRemediation>), Fault> {
        let failure = self.placed(collected.refine(failure));
        let mut evidence = vec![Evidence {
            id: "e0".to_owned(),
            source: "alert".to_owned(),
            title: format!(
                "As reported{}",
                failure
                    .error_code
                    .as_deref()
                    .map(|code| format!(", code {code}"))
                    .unwrap_or_default()
            ),
            text: failure.message.clone(),
            passages: Vec::new(),
            names: Vec::new(),
            at: received_at,
        }];
        for (number, piece) in (1..).zip(collected.evidence) {
            evidence.push(Evidence {
                id: format!("e{number}"),
                ..piece
            });
        }
        let mut gaps = collected.gaps;
        // `e0` is the message itself: the classifier reads it once.
        let mut diagnosis = match failure.field(FINDING) {
            Some(finding) => Diagnosis::of_finding(finding, &failure),
            None => diagnose(&Case::of(&failure, evidence.get(1..).unwrap_or_default())),
        };
        let mut said = std::collections::BTreeSet::new();
        diagnosis
            .evidence
            .retain(|quote| said.insert(quote.quote.clone()));
        if let Some(model) = self
            .model
            .as_ref()
            .filter(|_| failure.field(FINDING).is_none())
        {
            diagnosis = self
                .word(model, diagnosis, &failure, &evidence, &mut gaps, now)
                .await;
        }
        for quote in &mut diagnosis.evidence {
            // The message is the first piece of evidence.
            let id = if quote.source == "message" {
                "e0"
            } else {
                &quote.source
            };
            quote.title = evidence
                .iter()
                .find(|piece| piece.id == id)
                .map(|piece| piece.title.clone());
        }
        trace::note("diagnosis.category", diagnosis.category.words());
        trace::note("diagnosis.rule", diagnosis.rule.clone());
        let past = match &self.sinks.playbook {
            Some(_) => {
                let (asset, cause) = (failure.asset_id(), &diagnosis.fingerprint);
                self.store.past_remediations(&asset, cause).await?
            }
            None => Vec::new(),
        };
        let examined = Examined {
            failure,
            diagnosis,
            evidence_count: u32::try_from(evidence.len()).unwrap_or(u32::MAX),
            gaps,
        };
        Ok((examined, evidence, past))
    }

    /// Lets the model word the diagnosis; whatever goes wrong, the deterministic one stands and says so.
    ///
    /// What it said about such a failure before is used again, as far as it still holds; only then it is asked.
    async fn word(
        &self,
        model: &crate::model::Model,
        diagnosis: crate::diagnosis::Diagnosis,
        failure: &Failure,
        evidence: &[Evidence],
        gaps: &mut Vec<Gap>,
        now: DateTime<Utc>,
    ) -> crate::diagnosis::Diagnosis {
        let key = model.cache_key(&diagnosis, failure, evidence);
        let kept = self.store.model_cache(&key).await.unwrap_or_default();
        if let Some(Ok(worded)) = kept.map(|kept| kept.onto(&diagnosis, failure, evidence)) {
            return worded;
        }
        let day = now.format("%Y%m%d").to_string();
        let why = match self
            .store
            .spend("model", &day, 1, model.daily_budget())
            .await
        {
            Ok(Some(_)) => None,
            Ok(None) => {
                Some("the model's budget of this day is used up (AI_DAILY_BUDGET)".to_owned())
            }
            Err(fault) => Some(fault.reason().to_owned()),
        };
        if let Some(why) = why {
            let (diagnosis, gap) = not_worded(diagnosis, &why);
            gaps.push(gap);
            return diagnosis;
        }
        let asked = model.ask(diagnosis, failure, evidence, now).await;
        gaps.extend(asked.gap);
        if let Some(worded) = &asked.worded
            && let Err(fault) = self.store.put_model_cache(&key, worded).await
        {
            tracing::warn!(
                fault = fault.reason(),
                "the model's words could not be kept for the next such failure"
            );
        }
        asked.diagnosis
    }

    /// Is this failed run the one that an unfinished attempt on the same asset started? Then it belongs to that attempt.
    async fn is_remediation_run(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        if self.sinks.playbook.is_none() {
            return Ok(false);
        }
        // Since the report was accepted, the playbook may have named its run.
        let rows = self.store.run(&run_of(failure)).await?;
        if let Some(healing) = self.healing_ticket(&rows, failure).await? {
            self.remediation_run_failed(&healing, failure, now).await?;
            return Ok(true);
        }
        let (Some(run), Some(lock)) = (
            &failure.run_id,
            self.store.asset_lock(&failure.asset_id()).await?,
        ) else {
            return Ok(false);
        };
        let Some(healing) = self
            .store
            .load(&lock.ticket)
            .await?
            .filter(|healing| is_run_of_attempt(healing, failure))
        else {
            return Ok(false);
        };
        let Some(attempt) = healing
            .current_attempt()
            .filter(|attempt| attempt.called_at.is_some())
        else {
            return Ok(false);
        };
        match self.run_of(&healing, attempt, now).await {
            Ok(Some(found)) if found == *run => {}
            // Not knowing would open a ticket that belongs to another: asked again.
            Err(fault) if fault.is_transient() => return Err(fault),
            Ok(_) | Err(_) => return Ok(false),
        }
        self.attempt_failed(&lock.ticket, &attempt.id, failure, now)
            .await
            .map(|()| true)
    }
}
