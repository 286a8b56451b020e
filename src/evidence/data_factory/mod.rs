//! What Azure Data Factory's management API, or a Synapse workspace's, says about a pipeline run.
//!
//! In: a run id from outside (a value, never part of a URL's shape). Out: the run, the failed activity that
//! caused the failure (through nested pipelines), its innermost error; the failed runs of a window; how a run and
//! its pipeline stand; the outcome of a run; the run that a remediation started. One client for each configured
//! factory or workspace: an alert must not choose what our identity reads. This client never writes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use reqwest::Method;
use url::Url;

use super::asking::Key;
use super::standing::{FAILED, SUCCEEDED, newest};
use super::values::{Said, around, note, tags};
use super::{Collected, Progress, RunOutcome, Standing};
use crate::failure::{Failure, Scope, Source, field, page};
use crate::fault::Fault;
use crate::http::Http;
use crate::sources::RowsRequest;

mod api;
mod check;
mod patrol;
mod cause;
mod render;
mod wire;

use wire::{PipelineRun, Query};

const WHAT: &str = "Data Factory";
/// How deep nested pipelines are followed.
const DEPTH: usize = 5;
/// The factory's clock and ours may differ by this much.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// Which factory, and where its API is.
#[derive(Debug, Clone)]
pub struct DataFactorySettings {
    /// `AZURE_SUBSCRIPTION_ID`.
    pub subscription: String,
    /// `AZURE_RESOURCE_GROUP`.
    pub resource_group: String,
    /// `AZURE_DATA_FACTORY_NAME`.
    pub factory: String,
    /// `AZURE_MANAGEMENT_URL`: the management API of its cloud.
    pub base_url: Url,
}

impl DataFactorySettings {
    /// The factory's resource id in lower case, as alerts and logs write it.
    pub fn resource_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourcegroups/{}/providers/microsoft.datafactory/factories/{}",
            self.subscription, self.resource_group, self.factory
        )
        .to_lowercase()
    }

    /// The factory, served unless the configuration says otherwise.
    pub fn scope(&self) -> Scope {
        Scope {
            source: Source::Adf,
            id: self.resource_id(),
            name: self.factory.clone(),
            served: true,
        }
    }
}

/// Which Synapse workspace, whose pipelines are read from its own development endpoint.
#[derive(Debug, Clone)]
pub struct SynapseSettings {
    /// The workspace's resource id.
    pub resource_id: String,
    /// `https://<workspace>.dev.azuresynapse.net`, or another cloud's.
    pub base_url: Url,
}

impl SynapseSettings {
    /// The workspace; no playbook acts there unless the configuration says so.
    pub fn scope(&self) -> Scope {
        let id = self.resource_id.to_lowercase();
        let name = id.rsplit('/').next().unwrap_or_default().to_owned();
        Scope {
            source: Source::Adf,
            id,
            name,
            served: false,
        }
    }
}

/// Where the pipelines live.
#[derive(Debug, Clone)]
enum Home {
    Factory(DataFactorySettings),
    Synapse(SynapseSettings),
}

/// A reader of one factory or Synapse workspace.
#[derive(Debug, Clone)]
pub struct DataFactory {
    home: Home,
    scope: Scope,
    http: Http,
    key: Key,
}

impl DataFactory {
    /// A factory. Nothing is asked yet.
    pub fn new(settings: DataFactorySettings, http: Http, key: Key) -> Self {
        Self {
            scope: settings.scope(),
            home: Home::Factory(settings),
            http,
            key,
        }
    }

    /// A Synapse workspace. Nothing is asked yet.
    pub fn synapse(settings: SynapseSettings, http: Http, key: Key) -> Self {
        Self {
            scope: settings.scope(),
            home: Home::Synapse(settings),
            http,
            key,
        }
    }

    /// The factory or workspace.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Do the playbooks act there?
    #[must_use]
    pub fn served(mut self, served: bool) -> Self {
        self.scope.served = served;
        self
    }

    /// Collects what is known about the failure's run into `found`; what was collected stays when the caller gives up.
    pub(super) async fn collect(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let run_id = failure
            .run_id
            .as_deref()
            .ok_or_else(|| Fault::permanent("the report names no run id"))?;
        self.collect_run(run_id, now, found).await
    }

    /// The folder and the annotations of the pipeline.
    pub(super) async fn owner(&self, failure: &Failure) -> Result<Said, Fault> {
        let mut said = Said::new();
        let path = ["pipelines", failure.asset.as_str()];
        let request = self.request(Method::GET, &path, None).await?;
        let known: Option<wire::Pipeline> = self.json(request).await?;
        let known = known.unwrap_or_default().properties;
        note(&mut said, field::TAGS, tags(&known.annotations));
        note(&mut said, field::FOLDER, known.folder.name);
        Ok(said)
    }

    /// How a run that somebody else watches stands.
    pub(super) async fn state_of(&self, run_id: &str) -> Result<Option<String>, Fault> {
        let run = self.run(run_id).await?;
        Ok(run.map(|run| {
            match progress(&run) {
                Progress::Succeeded => SUCCEEDED,
                Progress::Failed => FAILED,
                Progress::Going => &run.status,
            }
            .to_owned()
        }))
    }

    /// Collects what is known about a run, also one that somebody else watched: its cause is theirs.
    pub(super) async fn collect_run(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let run = self
            .run(run_id)
            .await?
            .ok_or_else(|| Fault::permanent("the factory does not know this run (kept 45 days)"))?;
        let api = match &self.home {
            Home::Factory(settings) => &settings.base_url,
            Home::Synapse(settings) => &settings.base_url,
        };
        let portal = page::portal(&self.scope.id, api.as_str());
        render::run(&run, &self.scope, portal, now, found);
        if found.no_failure.is_some() {
            return Ok(());
        }
        let mut seen = BTreeSet::from([run.run_id.to_lowercase()]);
        let cause = self.cause(&run, now, DEPTH, &mut seen).await?;
        render::cause(cause.as_ref(), &run, now, found);
        Ok(())
    }

    /// The activity that made `run` fail, looked for inside nested pipelines.
    fn cause<'a>(
        &'a self,
        run: &'a PipelineRun,
        now: DateTime<Utc>,
        depth: usize,
        seen: &'a mut BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Option<render::Cause>, Fault>> {
        Box::pin(async move {
            let failed = self
                .activity_runs(run, vec![("Status", vec!["Failed".to_owned()])], now)
                .await?;
            let names = cause::names(&failed);
            let looped = failed.iter().any(cause::is_iteration);
            let succeeded = if names.len() > 1 || looped {
                self.activity_runs(
                    run,
                    vec![
                        ("Status", vec!["Succeeded".to_owned()]),
                        ("ActivityName", names),
                    ],
                    now,
                )
                .await?
            } else {
                Vec::new()
            };
            let causes = cause::causes(&failed, &succeeded);
            let Some((first, others)) = causes.split_first() else {
                return Ok(None);
            };
            let also: Vec<String> = others.iter().map(|run| run.activity_name.clone()).collect();
            if cause::is_nested(first)
                && depth > 0
                && let Some(child) = first
                    .child_run()
                    .filter(|child| seen.insert(child.to_lowercase()))
                && let Some(child) = self.run(child).await?
                && let Some(mut inner) = self.cause(&child, now, depth - 1, seen).await?
            {
                inner.path.insert(0, first.activity_name.clone());
                return Ok(Some(inner));
            }
            Ok(Some(render::Cause {
                path: Vec::new(),
                iterations: cause::iterations(first, &causes, &succeeded),
                activity: (*first).clone(),
                also,
            }))
        })
    }

    /// The failed runs behind an alert.
    pub(super) async fn failed_runs(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<Vec<Failure>, Fault> {
        let origin = request.origin();
        let failure = |run: &PipelineRun| render::failed(run, &self.scope.id).failure(&origin);
        if let Some(run_id) = &request.run_id {
            let run = self.run(run_id).await?;
            let failed = run.filter(|run| run.status.eq_ignore_ascii_case("Failed"));
            return Ok(failed.iter().filter_map(failure).collect());
        }
        let (from, to) = super::window(request, now);
        let mut filters = vec![("Status", vec!["Failed".to_owned()])];
        filters.extend(
            request
                .asset
                .clone()
                .map(|asset| ("PipelineName", vec![asset])),
        );
        let runs = self
            .pipeline_runs(&Query {
                from,
                to,
                filters,
                order_by: "RunStart",
            })
            .await?;
        // A nested run whose caller failed with it belongs to the caller's ticket.
        let failed: BTreeSet<String> = runs.iter().map(|run| run.run_id.to_lowercase()).collect();
        let own = runs
            .iter()
            .filter(|run| !failed.contains(&run.invoked_by.pipeline_run_id.to_lowercase()));
        Ok(own.filter_map(failure).collect())
    }

    /// How a run ended, if it did; with `since`, only a run of the failure's pipeline that began after it.
    pub async fn outcome(
        &self,
        failure: &Failure,
        run_id: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<RunOutcome, Fault> {
        let Some(run) = self.run(run_id).await? else {
            return Ok(RunOutcome::NotFound);
        };
        let early = |since| {
            run.run_start
                .is_some_and(|start| start < around(since, SKEW).0)
        };
        let of_another = !run.pipeline_name.is_empty()
            && !run.pipeline_name.eq_ignore_ascii_case(&failure.asset);
        if since.is_some_and(|since| of_another || early(since)) {
            return Ok(RunOutcome::NotFound);
        }
        Ok(match run.status.to_ascii_lowercase().as_str() {
            "succeeded" => RunOutcome::Succeeded,
            "failed" => RunOutcome::Failed(cause::unwrapped(&run.message).to_owned()),
            "cancelled" | "canceled" => RunOutcome::Failed("the run was cancelled".to_owned()),
            _ => RunOutcome::Running,
        })
    }

    /// How the failed run stands, and whether a newer run of its pipeline has begun.
    pub(super) async fn standing(
        &self,
        failure: &Failure,
        own: &[String],
        now: DateTime<Utc>,
    ) -> Result<Standing, Fault> {
        let Some(run_id) = failure.run_id.as_deref() else {
            return Ok(Standing::Unknown);
        };
        let Some(run) = self.run(run_id).await? else {
            return Ok(Standing::Unknown);
        };
        match progress(&run) {
            Progress::Failed => {}
            Progress::Succeeded => return Ok(Standing::Succeeded),
            Progress::Going => return Ok(Standing::Running),
        }
        let pipeline = Some(run.pipeline_name.as_str())
            .filter(|name| !name.is_empty())
            .unwrap_or(&failure.asset);
        let Some(began) = run.run_start.or(run.run_end).or(failure.occurred_at) else {
            return Ok(Standing::Failed);
        };
        let query = Query {
            from: began,
            to: around(now, SKEW).1,
            filters: vec![("PipelineName", vec![pipeline.to_owned()])],
            order_by: "RunStart",
        };
        let runs = self.pipeline_runs(&query).await?;
        let others = runs
            .iter()
            .filter(|other| !other.run_id.eq_ignore_ascii_case(run_id))
            .filter(|other| other.pipeline_name.eq_ignore_ascii_case(pipeline))
            // A run that waits in the queue has no start.
            .map(|other| {
                let at = other.run_start.or(other.last_updated).unwrap_or(now);
                (other.run_id.clone(), at, progress(other))
            });
        Ok(newest(others, began, own))
    }

    /// The run that a playbook called at `called_at` started: the first new run in the original's run group,
    /// else the first run of that pipeline started by hand or through the API since.
    pub async fn find_attempt_run(
        &self,
        pipeline: &str,
        original_run: &str,
        called_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        let group = self
            .run(original_run)
            .await?
            .map(|run| run.run_group_id)
            .filter(|group| !group.is_empty());
        let group = group.unwrap_or_else(|| original_run.to_owned());
        let (from, to) = (around(called_at, SKEW).0, around(now, SKEW).1);
        let filters = vec![("PipelineName", vec![pipeline.to_owned()])];
        let mut runs = self
            .pipeline_runs(&Query {
                from,
                to,
                filters,
                order_by: "RunStart",
            })
            .await?;
        runs.retain(|run| {
            run.pipeline_name.eq_ignore_ascii_case(pipeline)
                && !run.run_id.eq_ignore_ascii_case(original_run)
                && run.run_start.is_some_and(|start| start >= from)
        });
        runs.sort_by_key(|run| run.run_start);
        let of_group = runs
            .iter()
            .find(|run| run.run_group_id.eq_ignore_ascii_case(&group));
        let by_call = || {
            let manual = |run: &&PipelineRun| {
                run.invoked_by
                    .invoked_by_type
                    .eq_ignore_ascii_case("Manual")
                    || run.invoked_by.name.eq_ignore_ascii_case("Manual")
            };
            runs.iter().find(manual)
        };
        Ok(of_group.or_else(by_call).map(|run| run.run_id.clone()))
    }
}

fn progress(run: &PipelineRun) -> Progress {
    match run.status.to_ascii_lowercase().as_str() {
        "succeeded" => Progress::Succeeded,
        "failed" | "cancelled" | "canceled" => Progress::Failed,
        _ => Progress::Going,
    }
}
