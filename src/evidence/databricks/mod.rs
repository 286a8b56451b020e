//! What a Databricks workspace says about job runs and clusters.
//!
//! In: ids from outside (values, never part of a URL's shape). Out: the run and its root failing task (what was
//! skipped because of it is a consequence), what the task printed, why its cluster ended; normal ends as *no
//! failure*; repairs; how a run and its job stand; the outcome of a run or of a restarted cluster; the run that a
//! remediation started. One client for each configured workspace. This client never writes.

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::asking::Key;
use super::standing::{FAILED, SUCCEEDED, newest};
use super::values::{around, from_millis};
use super::{Collected, Progress, RunOutcome, Standing, window};
use crate::failure::{AssetKind, Failure, Scope, Source, field};
use crate::fault::Fault;
use crate::http::Http;
use crate::sources::{RowsOf, RowsRequest};

mod state;
mod api;
mod check;
mod patrol;
mod collect;
mod render;
mod wire;

use state::is_id;

const WHAT: &str = "Databricks";
/// Databricks' clock and ours may differ by this much.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// Which workspace.
#[derive(Debug, Clone)]
pub struct DatabricksSettings {
    /// `DATABRICKS_WORKSPACE_URL` (alias `DATABRICKS_HOST`).
    pub workspace_url: Url,
}

impl DatabricksSettings {
    /// The workspace. Its short name: the first label of its host; of a bare address, address and port.
    pub fn scope(&self) -> Scope {
        let port = self.workspace_url.port();
        let with_port = |host: &str| match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let host = self.workspace_url.host_str().unwrap_or_default();
        let name = match self.workspace_url.domain() {
            Some(domain) => domain.split('.').next().unwrap_or_default().to_owned(),
            None => with_port(host),
        };
        Scope {
            source: Source::Databricks,
            id: with_port(host),
            name,
            served: true,
        }
    }
}

/// A reader of one workspace.
#[derive(Debug, Clone)]
pub struct Databricks {
    settings: DatabricksSettings,
    scope: Scope,
    http: Http,
    key: Key,
}

/// The latest repair of a job run: it keeps the run's id, so only this tells a new failure from a known one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The repair's id.
    pub id: String,
    /// 1 for the first repair.
    pub number: usize,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
}

impl Databricks {
    /// Nothing is asked yet.
    pub fn new(settings: DatabricksSettings, http: Http, key: Key) -> Self {
        Self {
            scope: settings.scope(),
            settings,
            http,
            key,
        }
    }

    /// The workspace.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Do the playbooks act there?
    #[must_use]
    pub fn served(mut self, served: bool) -> Self {
        self.scope.served = served;
        self
    }

    /// Does this page belong to the configured workspace?
    pub(super) fn owns(&self, page: &str) -> bool {
        Url::parse(page).is_ok_and(|page| {
            page.scheme() == "https" && page.host_str() == self.settings.workspace_url.host_str()
        })
    }

    /// Collects what is known about the failure into `found`; what was collected stays when the caller gives up.
    pub(super) async fn collect(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        if failure.kind == AssetKind::Cluster {
            self.collect_cluster(failure, now, found).await
        } else {
            self.collect_job(failure, now, found).await
        }
    }

    /// How a run that somebody else watches stands.
    pub(super) async fn state_of(&self, run_id: &str) -> Result<Option<String>, Fault> {
        let run = self.run(run_id).await?;
        Ok(run.map(|run| {
            match state::progress(&run) {
                Progress::Succeeded => SUCCEEDED,
                Progress::Failed => FAILED,
                Progress::Going if run.state.life_cycle_state.is_empty() => &run.status.state,
                Progress::Going => &run.state.life_cycle_state,
            }
            .to_owned()
        }))
    }

    /// The latest repair of a run; `None` when it was never repaired.
    pub async fn latest_repair(&self, run_id: &str) -> Result<Option<Repair>, Fault> {
        Ok(self
            .run(run_id)
            .await?
            .as_ref()
            .and_then(render::latest_repair))
    }

    /// The failed runs or clusters behind an alert.
    pub(super) async fn failed_runs(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<Vec<Failure>, Fault> {
        let (from, to) = window(request, now);
        let (origin, asset) = (request.origin(), request.asset.as_deref());
        if request.rows_of == RowsOf::DatabricksClusters {
            let clusters = self.clusters().await?;
            let failed = clusters
                .iter()
                .filter_map(|cluster| render::failed_cluster(cluster, (from, to), asset));
            return Ok(failed.map(|end| end.failure(&origin)).collect());
        }
        let runs = match &request.run_id {
            Some(run_id) => self.run(run_id).await?.into_iter().collect(),
            // A run may have begun long before it failed within the window.
            None => {
                self.runs(None, around(from, TimeDelta::days(2)).0, Some(to), true)
                    .await?
            }
        };
        let wanted = request.run_id.is_none().then_some((from, to));
        let failed = runs
            .iter()
            .filter_map(|run| render::failed_run(run, wanted, asset));
        Ok(failed.filter_map(|run| run.failure(&origin)).collect())
    }

    /// How a remediation's run ended: a job run, a repair of `original_run`, or a cluster that was restarted.
    /// With `since`, only a run of the failure's job that began or was repaired after it.
    pub async fn outcome(
        &self,
        failure: &Failure,
        run_id: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<RunOutcome, Fault> {
        let original_run = failure.run_id.as_deref();
        let early = |at: Option<DateTime<Utc>>| {
            since.is_some_and(|since| at.is_some_and(|at| at < around(since, SKEW).0))
        };
        if !is_id(run_id) {
            return match self.cluster(run_id).await? {
                Some(cluster) => Ok(state::cluster_outcome(
                    &cluster,
                    &self.libraries(run_id).await?,
                )),
                None => Ok(RunOutcome::NotFound),
            };
        }
        if let Some(run) = self.run(run_id).await? {
            let job = failure.field(field::JOB_ID).unwrap_or(&run.job_id);
            let began = render::latest_repair(&run)
                .and_then(|repair| repair.started_at)
                .or_else(|| from_millis(run.start_time));
            if since.is_some() && (run.job_id != job || early(began)) {
                return Ok(RunOutcome::NotFound);
            }
            return Ok(state::outcome(&run.state, &run.status));
        }
        let Some(original) = original_run.filter(|original| is_id(original)) else {
            return Ok(RunOutcome::NotFound);
        };
        let run = self.run(original).await?;
        let repair = run
            .iter()
            .flat_map(|run| &run.repair_history)
            .find(|repair| repair.id == run_id && !early(from_millis(repair.start_time)));
        Ok(repair.map_or(RunOutcome::NotFound, |repair| {
            state::outcome(&repair.state, &repair.status)
        }))
    }

    /// How the failed run stands, and whether a newer run of its job has begun; of a cluster, whether it was used since.
    pub(super) async fn standing(
        &self,
        failure: &Failure,
        action: &str,
        own: &[String],
    ) -> Result<Standing, Fault> {
        if matches!(action, "restart_cluster" | "reinstall_libraries") {
            let Some(cluster_id) = failure.field(field::CLUSTER_ID) else {
                return Ok(Standing::Unknown);
            };
            let cluster = self.cluster(cluster_id).await?;
            return Ok(cluster.map_or(Standing::Unknown, |cluster| {
                state::cluster_standing(&cluster, failure.occurred_at, action == "restart_cluster")
            }));
        }
        let Some(run_id) = failure.run_id.as_deref() else {
            return Ok(Standing::Unknown);
        };
        let Some(run) = self.run(run_id).await? else {
            return Ok(Standing::Unknown);
        };
        match state::progress(&run) {
            Progress::Failed => {}
            Progress::Succeeded => return Ok(Standing::Succeeded),
            Progress::Going => return Ok(Standing::Running),
        }
        let (Some(began), true) = (from_millis(run.start_time), is_id(&run.job_id)) else {
            return Ok(Standing::Failed);
        };
        let runs = self.runs(Some(&run.job_id), began, None, false).await?;
        let others = runs
            .iter()
            .filter(|other| other.run_id != run_id)
            .filter_map(|other| {
                let at = from_millis(other.start_time)?;
                Some((other.run_id.clone(), at, state::progress(other)))
            });
        Ok(newest(others, began, own))
    }

    /// What a playbook called at `called_at` started: a repair of the original run (its id is then the run's own),
    /// a new run of the job, or a start of the cluster (its id is then the cluster's).
    pub async fn find_attempt_run(
        &self,
        failure: &Failure,
        action: &str,
        called_at: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        let since = around(called_at, SKEW).0;
        if matches!(action, "restart_cluster" | "reinstall_libraries") {
            let cluster_id = failure
                .field(field::CLUSTER_ID)
                .ok_or_else(|| Fault::permanent("the failure names no cluster"))?;
            let moved = self
                .cluster(cluster_id)
                .await?
                .is_some_and(|cluster| state::moved_since(&cluster, since));
            return Ok(moved.then(|| cluster_id.to_owned()));
        }
        let run_id = failure
            .run_id
            .as_deref()
            .ok_or_else(|| Fault::permanent("the report names no run id"))?;
        let run = self.run(run_id).await?;
        if let Some(repair) = run.as_ref().and_then(render::latest_repair)
            && repair.started_at.is_some_and(|at| at >= since)
        {
            return Ok(Some(run_id.to_owned()));
        }
        let known_job = run.map(|run| run.job_id).filter(|job| is_id(job));
        let Some(job) = known_job.or_else(|| failure.field(field::JOB_ID).map(str::to_owned))
        else {
            return Ok(None);
        };
        let mut runs = self.runs(Some(&job), since, None, false).await?;
        runs.retain(|run| run.run_id != run_id && run.trigger.eq_ignore_ascii_case("ONE_TIME"));
        runs.sort_by_key(|run| run.start_time);
        Ok(runs.into_iter().next().map(|run| run.run_id))
    }
}
