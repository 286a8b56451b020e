//! One vendor's client, whichever it is: the questions that all of them answer.

use chrono::{DateTime, Utc};

use super::values::Said;
use super::{Airflow, Collected, DataFactory, Databricks, RunOutcome, Standing};
use crate::failure::{Failure, Scope};
use crate::fault::Fault;
use crate::patrol::{self, Answer, Due, Question, volume};
use crate::sources::RowsRequest;

/// Good runs whose volumes a rerun is compared with.
const EARLIER: usize = 5;

/// A client of one scope.
#[derive(Debug, Clone, Copy)]
pub(super) enum Client<'a> {
    DataFactory(&'a DataFactory),
    Databricks(&'a Databricks),
    Airflow(&'a Airflow),
}

impl Client<'_> {
    pub(super) fn scope(&self) -> &Scope {
        match self {
            Self::DataFactory(factory) => factory.scope(),
            Self::Databricks(workspace) => workspace.scope(),
            Self::Airflow(deployment) => deployment.scope(),
        }
    }

    /// As people read it.
    pub(super) fn platform(&self) -> &'static str {
        match self {
            Self::DataFactory(_) => "Data Factory",
            Self::Databricks(_) => "Databricks",
            Self::Airflow(_) => "Airflow",
        }
    }

    /// Collects what is known about the failure into `found`.
    pub(super) async fn collect(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        match self {
            Self::DataFactory(factory) => factory.collect(failure, now, found).await,
            Self::Databricks(workspace) => workspace.collect(failure, now, found).await,
            Self::Airflow(deployment) => deployment.collect(failure, now, found).await,
        }
    }

    /// What the platform says about who owns the asset, by the names of context fields.
    pub(super) async fn owner(&self, failure: &Failure) -> Result<Said, Fault> {
        match self {
            Self::DataFactory(factory) => factory.owner(failure).await,
            Self::Databricks(workspace) => workspace.owner(failure).await,
            Self::Airflow(deployment) => deployment.owner(failure).await,
        }
    }

    /// The failed runs behind an alert; Airflow has no alerts that name none.
    pub(super) async fn failed_runs(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<Vec<Failure>, Fault> {
        match self {
            Self::DataFactory(factory) => factory.failed_runs(request, now).await,
            Self::Databricks(workspace) => workspace.failed_runs(request, now).await,
            Self::Airflow(_) => Ok(Vec::new()),
        }
    }

    pub(super) async fn outcome(
        &self,
        failure: &Failure,
        run_id: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<RunOutcome, Fault> {
        match self {
            Self::DataFactory(factory) => factory.outcome(failure, run_id, since).await,
            Self::Databricks(workspace) => workspace.outcome(failure, run_id, since).await,
            Self::Airflow(deployment) => deployment.outcome(failure, run_id, since).await,
        }
    }

    /// Where evidence about a run is noted.
    pub(super) fn run_source(&self) -> &'static str {
        match self {
            Self::DataFactory(_) => "adf.pipeline_run",
            Self::Databricks(_) => "databricks.run",
            Self::Airflow(_) => "airflow.task_instance",
        }
    }

    /// How a run that somebody else watches stands: [`SUCCEEDED`](super::standing::SUCCEEDED), [`FAILED`](super::standing::FAILED), or the platform's own word; `None`: it does
    /// not know the run.
    pub(super) async fn state_of(&self, run_id: &str) -> Result<Option<String>, Fault> {
        match self {
            Self::DataFactory(factory) => factory.state_of(run_id).await,
            Self::Databricks(workspace) => workspace.state_of(run_id).await,
            Self::Airflow(_) => Ok(None),
        }
    }

    /// Collects what is known about a run that somebody else started: its cause is their cause.
    pub(super) async fn collect_linked(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        match self {
            Self::DataFactory(factory) => factory.collect_run(run_id, now, found).await,
            Self::Databricks(workspace) => workspace.collect_run(run_id, now, found).await,
            Self::Airflow(_) => Ok(()),
        }
    }

    /// How the failed run stands; `own`: the runs that its ticket's attempts started.
    pub(super) async fn standing(
        &self,
        failure: &Failure,
        action: &str,
        own: &[String],
        now: DateTime<Utc>,
    ) -> Result<Standing, Fault> {
        match self {
            Self::DataFactory(factory) => factory.standing(failure, own, now).await,
            Self::Databricks(workspace) => workspace.standing(failure, action, own).await,
            Self::Airflow(deployment) => deployment.standing(failure, own).await,
        }
    }

    /// What ended in the window of the patrol's question.
    pub(super) async fn ended(&self, question: &Question) -> Answer {
        match self {
            Self::DataFactory(factory) => factory.ended(question).await,
            Self::Databricks(workspace) => workspace.ended(question).await,
            Self::Airflow(deployment) => deployment.ended(question).await,
        }
    }

    /// Has a run of this unit begun since? Only what has a schedule can be overdue.
    pub(super) async fn due(
        &self,
        kind: &str,
        id: &str,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Due, Fault> {
        match (self, kind) {
            (Self::DataFactory(factory), patrol::PIPELINE) => factory.due(id, since, now).await,
            (Self::Databricks(workspace), patrol::JOB) => workspace.due(id, since).await,
            (Self::Airflow(deployment), patrol::DAG) => deployment.due(id, since).await,
            _ => Ok(Due::Paused),
        }
    }

    /// What a good run moved, where its platform says so.
    pub(super) async fn moved(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<volume::Run, Fault> {
        match self {
            Self::DataFactory(factory) => factory.moved(run_id, now).await,
            Self::Databricks(workspace) => workspace.moved(run_id).await,
            Self::Airflow(_) => Ok(volume::Run::new()),
        }
    }

    /// What the good runs before this one moved, as far as a few calls tell.
    pub(super) async fn moved_before(
        &self,
        asset: &str,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<volume::Run>, Fault> {
        let Self::DataFactory(factory) = self else {
            return Ok(Vec::new());
        };
        let mut before = Vec::new();
        let runs = factory.good_runs_before(asset, run_id, now).await?;
        for run in runs.iter().take(EARLIER) {
            before.push(factory.moved(run, now).await?);
        }
        Ok(before)
    }

    /// Has this run ended, and well? `None`: not yet.
    pub(super) async fn ended_well(&self, run_id: &str) -> Result<Option<bool>, Fault> {
        match self {
            Self::DataFactory(factory) => factory.ended_well(run_id).await,
            Self::Databricks(workspace) => workspace.ended_well(run_id).await,
            Self::Airflow(_) => Ok(Some(true)),
        }
    }

    /// Did what failed succeed in that good run?
    pub(super) async fn has_succeeded_in(
        &self,
        failure: &Failure,
        run_id: &str,
    ) -> Result<bool, Fault> {
        match self {
            Self::DataFactory(_) | Self::Databricks(_) => Ok(true),
            Self::Airflow(deployment) => deployment.has_succeeded_in(failure, run_id).await,
        }
    }

    pub(super) async fn find_attempt_run(
        &self,
        failure: &Failure,
        action: &str,
        called_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        match self {
            Self::DataFactory(factory) => {
                let original = failure.run_id.as_deref().unwrap_or_default();
                factory
                    .find_attempt_run(&failure.asset, original, called_at, now)
                    .await
            }
            Self::Databricks(workspace) => {
                workspace.find_attempt_run(failure, action, called_at).await
            }
            Self::Airflow(deployment) => deployment.find_attempt_run(failure, called_at).await,
        }
    }
}
