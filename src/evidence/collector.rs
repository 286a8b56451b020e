//! All vendors at once: evidence of a failure, runs behind an alert, the fate of a remediation.
//!
//! Every client is optional; a missing one is a gap that names what to set. Each vendor has a budget of a few
//! seconds; what it said before the budget ran out is kept.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;

use super::client::Client;
use super::databricks::Repair;
use super::log_analytics::NO_ROWS_YET;
use super::owners::{self, Owners};
use super::{
    Airflow, Collected, DataFactory, Databricks, Facts, Known, LogAnalytics, RunOutcome, Standing,
};
use crate::failure::{AssetKind, Failure, Place, Scope, Source, field};
use crate::fault::Fault;
use crate::patrol::{Answer, Due, Question, volume};
use crate::redaction::cap;

pub(super) const NO_FACTORY: &str =
    "set AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZURE_DATA_FACTORY_NAME to read the run";
pub(super) const NO_WORKSPACE: &str = "set DATABRICKS_WORKSPACE_URL (and DATABRICKS_TOKEN, or give the identity access) to read the run";
const NO_AIRFLOW: &str = "set AIRFLOW_BASE_URL and its credentials to read the task's log";
const OWN: &str = "no platform has more to say about it";
pub(super) const NO_LOGS: &str = "set LOG_ANALYTICS_WORKSPACE_ID to read the logs";

/// Sources of evidence, the most telling first; sources that are not named come last.
const TELLING: [&str; 9] = [
    "databricks.run_output",
    "adf.activity_runs",
    "airflow.log",
    "databricks.libraries",
    "databricks.cluster",
    "databricks.cluster_events",
    "databricks.run",
    "adf.pipeline_run",
    "airflow.task_instance",
];

/// The vendors' clients, each optional; one for each configured scope.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Data factories and Synapse workspaces.
    pub data_factory: Vec<DataFactory>,
    /// Log Analytics.
    pub log_analytics: Option<LogAnalytics>,
    /// Databricks workspaces.
    pub databricks: Vec<Databricks>,
    /// Airflow deployments.
    pub airflow: Vec<Airflow>,
    /// How long one vendor may take over one failure.
    pub budget: Duration,
    /// What they said about owners.
    pub owners: Owners,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            data_factory: Vec::new(),
            log_analytics: None,
            databricks: Vec::new(),
            airflow: Vec::new(),
            budget: Duration::from_secs(8),
            owners: Owners::default(),
        }
    }
}

impl Collector {
    /// Everything the vendors say about a failure; never a fault.
    pub async fn collect(&self, failure: &Failure, now: DateTime<Utc>) -> Collected {
        let (mut own, logs) =
            futures::join!(self.of_vendor(failure, now), self.of_logs(failure, now));
        let silent = own.evidence.is_empty();
        match logs {
            Some(logs) => merge(&mut own, logs, silent),
            None if silent && failure.source != Source::Airflow => {
                own.miss("log_analytics", NO_LOGS);
            }
            None => {}
        }
        own.evidence.sort_by_key(|proof| {
            TELLING
                .iter()
                .position(|source| *source == proof.source)
                .unwrap_or(TELLING.len())
        });
        for (number, proof) in (1..).zip(&mut own.evidence) {
            proof.id = format!("e{number}");
        }
        own
    }

    async fn of_vendor(&self, failure: &Failure, now: DateTime<Utc>) -> Collected {
        let mut found = Collected::default();
        let clients = self.clients(failure);
        if clients.is_empty() {
            let (source, reason) = self.nobody_to_ask(failure);
            found.miss(source, reason);
        }
        for client in clients {
            let mut told = Collected::default();
            self.within(silent_source(failure), &mut told, async |told| {
                client.collect(failure, now, told).await
            })
            .await;
            let decided = told.no_failure.is_some() || told.not_final.is_some() || told.none_failed;
            if !told.evidence.is_empty() || decided {
                told.refinement.scope = Some(client.scope().id.clone());
                if told.no_failure.is_none() && told.not_final.is_none() {
                    self.add_owner(&client, failure, &mut told, now).await;
                }
                found = told;
                break;
            }
            for gap in told.gaps {
                found.miss(&gap.source, gap.reason);
            }
        }
        match failure.source {
            Source::Adf => self.of_linked_run(&mut found, now).await,
            Source::Airflow => self.of_watched_run(failure, &mut found, now).await,
            Source::Databricks | Source::System => {}
        }
        found
    }

    /// What the platform says about who owns the asset. That it does not say is no gap in the evidence.
    async fn add_owner(
        &self,
        client: &Client<'_>,
        failure: &Failure,
        found: &mut Collected,
        now: DateTime<Utc>,
    ) {
        let failure = found.refine(failure.clone());
        let key = owners::key(&client.scope().id, &failure);
        let said = if let Some(known) = self.owners.known(&key, now) {
            known
        } else {
            match self
                .answered(client.platform(), client.owner(&failure))
                .await
            {
                Ok(said) => {
                    self.owners.keep(key, said.clone(), now);
                    said
                }
                Err(fault) => {
                    tracing::debug!(reason = fault.reason(), "an owner could not be asked for");
                    if !fault.is_transient() {
                        self.owners.keep(key, BTreeMap::new(), now);
                    }
                    return;
                }
            }
        };
        for (name, value) in said {
            // The owner that the report names stays, unless it is the default that everybody has.
            let is_said = |name: &String| {
                let reported = failure.field(name).filter(|_| name == field::OWNER);
                reported.is_some_and(|owner| !owner.eq_ignore_ascii_case("airflow"))
            };
            if !is_said(&name) {
                found.refinement.context.entry(name).or_insert(value);
            }
        }
    }

    /// Why no client is asked about a failure.
    fn nobody_to_ask(&self, failure: &Failure) -> (&'static str, String) {
        let reason = match self.place(failure) {
            Place::Elsewhere(named) => elsewhere(failure.source, &named),
            Place::AnyOf(_) => {
                "the report does not say which of the configured deployments (AIRFLOW_DEPLOYMENTS) it is about"
                    .to_owned()
            }
            Place::Here(_) | Place::Unconfigured(_) => match failure.source {
                Source::Adf => NO_FACTORY,
                Source::Databricks => NO_WORKSPACE,
                Source::Airflow => NO_AIRFLOW,
                Source::System => OWN,
            }
            .to_owned(),
        };
        (silent_source(failure), reason)
    }

    async fn of_logs(&self, failure: &Failure, now: DateTime<Utc>) -> Option<Collected> {
        let logs = self.log_analytics.as_ref()?;
        let mut found = Collected::default();
        self.within("log_analytics", &mut found, async |found| {
            logs.collect(failure, now, found).await;
            Ok(())
        })
        .await;
        Some(found)
    }

    /// Runs one vendor's part within the budget; what it found until then stays, and what it could not have is a gap.
    pub(super) async fn within(
        &self,
        source: &str,
        found: &mut Collected,
        part: impl AsyncFnOnce(&mut Collected) -> Result<(), Fault>,
    ) {
        let missed = match tokio::time::timeout(self.budget, part(found)).await {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault.reason().to_owned(),
            Err(_) => format!(
                "not all was answered within {} seconds",
                self.budget.as_secs()
            ),
        };
        found.miss(source, missed);
    }

    pub(super) async fn answered<T>(
        &self,
        what: &str,
        asking: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let late = |_| {
            Fault::transient(format!(
                "{what} did not answer within {} seconds",
                self.budget.as_secs()
            ))
        };
        tokio::time::timeout(self.budget, asking)
            .await
            .map_err(late)?
    }

    /// What became of the run that a remediation of `failure` started. One that the vendor knows but that began before
    /// `since`, or of another pipeline or job, is not that run: it counts as not found.
    pub async fn outcome(
        &self,
        failure: &Failure,
        run_id: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<RunOutcome, Fault> {
        let mut known = RunOutcome::NotConfigured;
        for client in self.clients(failure) {
            let asking = client.outcome(failure, run_id, since);
            known = self.answered(client.platform(), asking).await?;
            if known != RunOutcome::NotFound {
                break;
            }
        }
        Ok(known)
    }

    /// The run that the attempt's playbook, called at `called_at`, started; `None` when there is none, or when
    /// nobody can be asked. `action` is the action's name (`retry_pipeline`, `restart_cluster` …).
    ///
    /// No vendor lists its runs by a token of the caller's, so `attempt_id` cannot be asked for: time, run group,
    /// repair and trigger tell the run.
    pub async fn find_attempt_run(
        &self,
        failure: &Failure,
        action: &str,
        attempt_id: &str,
        called_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        tracing::debug!(
            attempt.id = attempt_id,
            failure.source = failure.source.name(),
            "asking the vendor for the attempt's run"
        );
        // An upstream's run belongs to another asset, which the failure does not name.
        if action == "check_upstream" {
            return Ok(None);
        }
        for client in self.clients(failure) {
            let asking = client.find_attempt_run(failure, action, called_at, now);
            let found = self.answered(client.platform(), asking).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What is known about the failed run before `action` is taken on it; `own`: the runs that its ticket's attempts
    /// started. `Err` only when asking again may help.
    pub async fn facts(
        &self,
        failure: &Failure,
        action: &str,
        own: &[String],
        now: DateTime<Utc>,
    ) -> Result<Facts, Fault> {
        let place = self.place(failure);
        let mut known = Known::NotAsked;
        for client in self.clients(failure) {
            let asking = client.standing(failure, action, own, now);
            match self.answered(client.platform(), asking).await {
                Ok(Standing::Unknown) => known = Known::Said(Standing::Unknown),
                Ok(standing) => {
                    known = Known::Said(standing);
                    break;
                }
                Err(fault) if fault.is_transient() => return Err(fault),
                Err(fault) => known = Known::Silent(fault.reason().to_owned()),
            }
        }
        Ok(Facts { place, known })
    }

    /// The latest repair of a Databricks run; `None` when it was never repaired, or nobody can be asked.
    pub async fn latest_repair(&self, failure: &Failure) -> Result<Option<Repair>, Fault> {
        let Some(run) = failure.run_id.as_deref() else {
            return Ok(None);
        };
        for client in self.clients(failure) {
            if let Client::Databricks(workspace) = client
                && let Some(repair) = workspace.latest_repair(run).await?
            {
                return Ok(Some(repair));
            }
        }
        Ok(None)
    }

    /// Every configured scope, platform by platform.
    pub fn every_scope(&self) -> Vec<Scope> {
        let sources = Source::ALL.into_iter();
        sources.flat_map(|source| self.scopes(source)).collect()
    }

    /// What ended in this scope, within `budget`. Never a fault of its own: the answer carries it.
    pub async fn ended(&self, scope: &Scope, question: &Question, budget: Duration) -> Answer {
        let Some(client) = self.client_of(scope) else {
            return Answer::default();
        };
        let late = |_| {
            let mut answer = Answer {
                memory: question.memory.clone(),
                ..Answer::default()
            };
            answer.fail(Fault::transient(format!(
                "{} did not answer within {} seconds",
                client.platform(),
                budget.as_secs()
            )));
            answer
        };
        tokio::time::timeout(budget, client.ended(question).boxed())
            .await
            .unwrap_or_else(late)
    }

    /// Has a run of this unit begun since?
    pub async fn due(
        &self,
        scope: &Scope,
        (kind, id): (&str, &str),
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Due, Fault> {
        match self.client_of(scope) {
            Some(client) => {
                let asking = client.due(kind, id, since, now);
                self.answered(client.platform(), asking).await
            }
            None => Ok(Due::Paused),
        }
    }

    /// What a good run of the scope moved.
    pub async fn moved(
        &self,
        scope: &Scope,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<volume::Run, Fault> {
        match self.client_of(scope) {
            Some(client) => {
                self.answered(client.platform(), client.moved(run_id, now))
                    .await
            }
            None => Ok(volume::Run::new()),
        }
    }

    /// What a rerun of the failed run moved, and the good runs before it; nothing where nobody says so in time.
    pub async fn moved_by_rerun(
        &self,
        failure: &Failure,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Option<(volume::Run, Vec<volume::Run>)> {
        let client = self.clients(failure).into_iter().next()?;
        let moved = self.answered(client.platform(), client.moved(run_id, now));
        let run = moved.await.ok().filter(|run| !run.is_empty())?;
        let before = client.moved_before(&failure.asset, run_id, now);
        let before = self.answered(client.platform(), before).await.ok()?;
        Some((run, before))
    }

    /// Has this run of the scope ended, and well? `None`: not yet.
    pub async fn ended_well(&self, scope: &Scope, run_id: &str) -> Result<Option<bool>, Fault> {
        match self.client_of(scope) {
            Some(client) => {
                self.answered(client.platform(), client.ended_well(run_id))
                    .await
            }
            None => Ok(None),
        }
    }

    /// Did what failed succeed in that good run of the same asset?
    pub async fn has_succeeded_in(&self, failure: &Failure, run_id: &str) -> Result<bool, Fault> {
        match self.clients(failure).into_iter().next() {
            Some(client) => {
                let asking = client.has_succeeded_in(failure, run_id);
                self.answered(client.platform(), asking).await
            }
            None => Ok(false),
        }
    }

    fn client_of(&self, scope: &Scope) -> Option<Client<'_>> {
        let mut clients = self.all(scope.source).into_iter();
        clients.find(|client| client.scope().id == scope.id)
    }

    /// All task instances that failed in the DAG run of this failure; none, where nobody can be asked.
    pub async fn failed_instances(&self, failure: &Failure) -> Result<Vec<Failure>, Fault> {
        for client in self.clients(failure) {
            if let Client::Airflow(deployment) = client {
                let asking = deployment.failed_instances(failure);
                return self.answered(client.platform(), asking).await;
            }
        }
        Ok(Vec::new())
    }

    /// Can the failure's vendor be asked about it?
    pub fn can_ask(&self, failure: &Failure) -> bool {
        !self.clients(failure).is_empty()
    }

    /// Where a failure is, seen from the configuration.
    pub fn place(&self, failure: &Failure) -> Place {
        self.place_of(failure.source, failure.scope())
    }

    pub(super) fn place_of(&self, source: Source, named: Option<&str>) -> Place {
        Place::find(&self.scopes(source), named)
    }

    /// The configured scopes of a platform.
    pub fn scopes(&self, source: Source) -> Vec<Scope> {
        self.all(source)
            .iter()
            .map(|client| client.scope().clone())
            .collect()
    }

    /// Who may know the failure's run.
    pub(super) fn clients(&self, failure: &Failure) -> Vec<Client<'_>> {
        self.clients_in(failure.source, &self.place(failure))
    }

    pub(super) fn clients_in(&self, source: Source, place: &Place) -> Vec<Client<'_>> {
        let wanted: Vec<&Scope> = match place {
            Place::Here(scope) => vec![scope],
            // Every deployment may have a run of that name.
            Place::AnyOf(_) if source == Source::Airflow => Vec::new(),
            Place::AnyOf(scopes) => scopes.iter().collect(),
            Place::Elsewhere(_) | Place::Unconfigured(_) => Vec::new(),
        };
        let mut clients = self.all(source);
        clients.retain(|client| wanted.iter().any(|scope| scope.id == client.scope().id));
        clients
    }

    pub(super) fn all(&self, source: Source) -> Vec<Client<'_>> {
        match source {
            Source::Adf => self.data_factory.iter().map(Client::DataFactory).collect(),
            Source::Databricks => self.databricks.iter().map(Client::Databricks).collect(),
            Source::Airflow => self.airflow.iter().map(Client::Airflow).collect(),
            Source::System => Vec::new(),
        }
    }
}

/// Where a platform's silence is noted.
fn silent_source(failure: &Failure) -> &'static str {
    match (failure.source, failure.kind) {
        (Source::Adf, _) => "adf.activity_runs",
        (Source::Databricks, AssetKind::Cluster) => "databricks.cluster",
        (Source::Databricks, _) => "databricks.run",
        (Source::Airflow, _) => "airflow.log",
        (Source::System, _) => "system",
    }
}

/// The report is about a place that is not configured.
pub(super) fn elsewhere(source: Source, named: &str) -> String {
    let settings = match source {
        Source::Adf => "AZURE_DATA_FACTORY_NAME and AZURE_DATA_FACTORIES",
        Source::Databricks => "DATABRICKS_WORKSPACE_URL and DATABRICKS_WORKSPACES",
        Source::Airflow => "AIRFLOW_BASE_URL and AIRFLOW_DEPLOYMENTS",
        Source::System => "the settings",
    };
    format!(
        "the run belongs to {}, which {settings} do not name",
        cap(named, 200)
    )
}

/// The vendor's word comes first; logs fill what it left open, and everything when it was silent.
fn merge(own: &mut Collected, logs: Collected, silent: bool) {
    own.evidence.extend(logs.evidence);
    if silent {
        own.refinement = logs.refinement;
        own.gaps.extend(logs.gaps);
    } else {
        // That rows have not arrived yet matters little once the vendor itself has spoken.
        own.gaps.extend(
            logs.gaps
                .into_iter()
                .filter(|gap| gap.reason != NO_ROWS_YET),
        );
    }
}
