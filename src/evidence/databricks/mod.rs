//! What a Databricks workspace says about job runs and clusters.
//!
//! In: ids from outside (values, never part of a URL's shape). Out: the run and its root failing task (what was
//! skipped because of it is a consequence), what the task printed, why its cluster ended; normal ends as *no
//! failure*; repairs; how a run and its job stand; the outcome of a run or of a restarted cluster; the run that a
//! remediation started. One client for each configured workspace. This client never writes.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::asking::{Key, ask, url_under};
use super::standing::{FAILED, SUCCEEDED, newest};
use super::values::{around, from_millis, plain_code};
use super::{Collected, Progress, RunOutcome, Standing, window};
use crate::failure::{AssetKind, Failure, Scope, Source, field};
use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::sources::{RowsOf, RowsRequest};

mod state;
mod questions;
mod patrol;
mod collect;
mod render;
mod wire;

use state::is_id;
use wire::{Cluster, Event, Library, Run};

const WHAT: &str = "Databricks";
/// The resource of all Azure Databricks workspaces.
const RESOURCE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
/// Pages of one question.
const PAGES: usize = 20;
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
    ) {
        let (source, told) = if failure.kind == AssetKind::Cluster {
            (
                "databricks.cluster",
                self.collect_cluster(failure, now, found).await,
            )
        } else {
            (
                "databricks.run",
                self.collect_job(failure, now, found).await,
            )
        };
        if let Err(fault) = told {
            found.miss(source, fault.reason());
        }
    }

    /// Collects what is known about the run that an ADF activity started: its cause is the activity's cause.
    pub(super) async fn collect_linked(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) {
        if let Err(fault) = self.collect_run(run_id, now, found).await {
            found.miss("databricks.run", fault.reason());
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

    /// A run with all its tasks and repairs.
    async fn run(&self, run_id: &str) -> Result<Option<Run>, Fault> {
        if !is_id(run_id) {
            return Err(Fault::permanent(
                "what the report calls a run id is none of Databricks'",
            ));
        }
        let query = [("run_id", run_id), ("include_history", "true")];
        let Some(mut run) = self.get::<Run>("api/2.2/jobs/runs/get", &query).await? else {
            return Ok(None);
        };
        for _ in 1..PAGES {
            let token = std::mem::take(&mut run.next_page_token);
            if token.is_empty() {
                break;
            }
            let query = [
                ("run_id", run_id),
                ("include_history", "true"),
                ("page_token", &token),
            ];
            let Some(page) = self.get::<Run>("api/2.2/jobs/runs/get", &query).await? else {
                break;
            };
            run.tasks.extend(page.tasks);
            run.iterations.extend(page.iterations);
            run.next_page_token = page.next_page_token;
        }
        Ok(Some(run))
    }

    async fn runs(
        &self,
        job: Option<&str>,
        from: DateTime<Utc>,
        to: Option<DateTime<Utc>>,
        completed: bool,
    ) -> Result<Vec<Run>, Fault> {
        let from = from.timestamp_millis().to_string();
        let to = to.map(|to| to.timestamp_millis().to_string());
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("start_time_from", from.as_str()), ("limit", "25")];
            query.extend(to.as_deref().map(|to| ("start_time_to", to)));
            query.extend(job.map(|job| ("job_id", job)));
            query.extend(completed.then_some(("completed_only", "true")));
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            let Some(page) = self
                .get::<wire::Runs>("api/2.2/jobs/runs/list", &query)
                .await?
            else {
                break;
            };
            all.extend(page.runs);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    async fn output(&self, run_id: &str) -> Result<Option<wire::Output>, Fault> {
        self.get("api/2.2/jobs/runs/get-output", &[("run_id", run_id)])
            .await
    }

    async fn cluster(&self, cluster_id: &str) -> Result<Option<Cluster>, Fault> {
        self.get("api/2.1/clusters/get", &[("cluster_id", cluster_id)])
            .await
    }

    async fn clusters(&self) -> Result<Vec<Cluster>, Fault> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("page_size", "100")];
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            let Some(page) = self
                .get::<wire::Clusters>("api/2.1/clusters/list", &query)
                .await?
            else {
                break;
            };
            all.extend(page.clusters);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    async fn libraries(&self, cluster_id: &str) -> Result<Vec<Library>, Fault> {
        let found: Option<wire::Libraries> = self
            .get(
                "api/2.0/libraries/cluster-status",
                &[("cluster_id", cluster_id)],
            )
            .await?;
        Ok(found
            .map(|found| found.library_statuses)
            .unwrap_or_default())
    }

    /// Events of a window, newest first, two pages at most.
    async fn events(
        &self,
        cluster_id: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<Event>, Fault> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..2 {
            let mut body = json!({"cluster_id": cluster_id, "start_time": from.timestamp_millis(), "end_time": to.timestamp_millis(),
                "order": "DESC", "page_size": 100});
            if let Some(body) = body.as_object_mut().filter(|_| !token.is_empty()) {
                body.insert("page_token".to_owned(), Value::from(token.as_str()));
            }
            let path = "api/2.1/clusters/events";
            let url = self.url(path, &[])?;
            let request = self.http.request(Method::POST, &url).json(&body);
            let Some(page) = self.json::<wire::Events>(path, request).await? else {
                break;
            };
            all.extend(page.events);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Fault> {
        let pieces: Vec<&str> = path.split('/').collect();
        let mut url = url_under(&self.settings.workspace_url, &pieces)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Fault> {
        let url = self.url(path, query)?;
        self.json(path, self.http.request(Method::GET, &url)).await
    }

    /// The answer, or `None` when the thing asked for is not there.
    async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<T>, Fault> {
        let request = self.key.authorize(RESOURCE, request).await?;
        let reply = ask(&self.http, WHAT, request).await?;
        if reply.is_success() {
            return reply.json(WHAT).map(Some);
        }
        refusal(path, &reply)
    }
}

/// A missing run or cluster is a 404, or a 400 that says so in its message.
fn refusal<T>(path: &str, reply: &Reply) -> Result<Option<T>, Fault> {
    let refusal: wire::Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = plain_code(&refusal.error_code).unwrap_or_default();
    let absent = refusal.message.contains("does not exist")
        || refusal.message.contains("of runs with multiple tasks");
    match reply.status {
        404 => Ok(None),
        400 if absent || code == "RESOURCE_DOES_NOT_EXIST" => Ok(None),
        401 => Err(Fault::permanent(format!(
            "{WHAT} answered 401: check DATABRICKS_TOKEN, or add the identity to the workspace"
        ))),
        403 => Err(Fault::permanent(format!(
            "{WHAT} answered 403 {code} to {path}: give the identity {}",
            questions::permission(path)
        ))),
        status => Err(Fault::permanent(format!("{WHAT} answered {status} {code}"))),
    }
}
