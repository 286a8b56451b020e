//! What Azure Data Factory's management API says about a pipeline run.
//!
//! In: a run id from outside (a value, never part of a URL's shape). Out: the run, the failed activity that
//! caused the failure (through nested pipelines), its innermost error; the failed runs of a window; the outcome
//! of a run; the run that a remediation started. One factory, the configured one: a run of another factory is a
//! gap, because an alert must not choose what our identity reads. This client never writes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::asking::{Key, around, ask, plain_code, url_under};
use super::{Collected, RunOutcome};
use crate::failure::{Failure, field};
use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::sources::{RowsRequest, rows};

mod questions;
mod root;
mod tell;
mod wire;

use wire::{ActivityRun, Page, PipelineRun, Query};

const WHAT: &str = "Data Factory";
const API_VERSION: &str = "2018-06-01";
/// The resource whose tokens the management API takes.
const RESOURCE: &str = "https://management.azure.com";
/// Pages of one query; a run with more activity runs is judged by its first ones.
const PAGES: usize = 20;
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
    /// [`DataFactorySettings::PUBLIC`], or another cloud's management host.
    pub base_url: Url,
}

impl DataFactorySettings {
    /// The management API of the public cloud.
    pub const PUBLIC: &str = "https://management.azure.com";

    /// The factory's resource id in lower case, as alerts and logs write it.
    pub fn resource_id(&self) -> String {
        format!(
            "/subscriptions/{}/resourcegroups/{}/providers/microsoft.datafactory/factories/{}",
            self.subscription, self.resource_group, self.factory
        )
        .to_lowercase()
    }
}

/// A reader of one factory.
#[derive(Debug, Clone)]
pub struct DataFactory {
    settings: DataFactorySettings,
    http: Http,
    key: Key,
}

impl DataFactory {
    /// Nothing is asked yet.
    pub fn new(settings: DataFactorySettings, http: Http, key: Key) -> Self {
        Self {
            settings,
            http,
            key,
        }
    }

    /// Collects what is known about the failure's run into `found`; what was collected stays when the caller gives up.
    pub(super) async fn collect(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) {
        if let Err(fault) = self.tell(failure, now, found).await {
            found.miss("adf.activity_runs", fault.reason());
        }
    }

    async fn tell(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let ours = self.settings.resource_id();
        if failure
            .field(field::FACTORY)
            .is_some_and(|theirs| !theirs.eq_ignore_ascii_case(&ours))
        {
            let reason = "the run belongs to another factory than AZURE_DATA_FACTORY_NAME: deploy this app for that factory, too";
            return Err(Fault::permanent(reason));
        }
        let run_id = failure
            .run_id
            .as_deref()
            .ok_or_else(|| Fault::permanent("the report names no run id"))?;
        let run = self
            .run(run_id)
            .await?
            .ok_or_else(|| Fault::permanent("the factory does not know this run (kept 45 days)"))?;
        tell::run(&run, &self.settings, now, found);
        if found.no_failure.is_some() {
            return Ok(());
        }
        let mut seen = BTreeSet::from([run.run_id.to_lowercase()]);
        let cause = self.cause(&run, now, DEPTH, &mut seen).await?;
        tell::cause(cause.as_ref(), &run, now, found);
        Ok(())
    }

    /// The activity that made `run` fail, looked for inside nested pipelines.
    fn cause<'a>(
        &'a self,
        run: &'a PipelineRun,
        now: DateTime<Utc>,
        depth: usize,
        seen: &'a mut BTreeSet<String>,
    ) -> BoxFuture<'a, Result<Option<tell::Cause>, Fault>> {
        Box::pin(async move {
            let failed = self
                .activity_runs(run, vec![("Status", vec!["Failed".to_owned()])], now)
                .await?;
            let names = root::names(&failed);
            let succeeded = if names.len() > 1 {
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
            let causes = root::causes(&failed, &succeeded);
            let Some((first, others)) = causes.split_first() else {
                return Ok(None);
            };
            let also: Vec<String> = others.iter().map(|run| run.activity_name.clone()).collect();
            if root::is_nested(first)
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
            Ok(Some(tell::Cause {
                path: Vec::new(),
                activity: (*first).clone(),
                also,
            }))
        })
    }

    /// The failed runs behind an alert, as a table for [`rows::adf_failures`].
    pub(super) async fn failed_runs(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<rows::Table, Fault> {
        let ours = self.settings.resource_id();
        if request.resource.as_deref().is_some_and(|theirs| {
            theirs.contains("/factories/") && !theirs.eq_ignore_ascii_case(&ours)
        }) {
            return Err(Fault::permanent(
                "the alert is about another factory than AZURE_DATA_FACTORY_NAME",
            ));
        }
        if let Some(run_id) = &request.run_id {
            let run = self.run(run_id).await?;
            return Ok(tell::table(
                run.iter()
                    .filter(|run| run.status.eq_ignore_ascii_case("Failed")),
                &ours,
            ));
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
        // A nested run whose caller failed with it is told by the caller's ticket.
        let failed: BTreeSet<String> = runs.iter().map(|run| run.run_id.to_lowercase()).collect();
        Ok(tell::table(
            runs.iter()
                .filter(|run| !failed.contains(&run.invoked_by.pipeline_run_id.to_lowercase())),
            &ours,
        ))
    }

    /// How a run ended, if it did.
    pub async fn outcome(&self, run_id: &str) -> Result<RunOutcome, Fault> {
        let Some(run) = self.run(run_id).await? else {
            return Ok(RunOutcome::NotFound);
        };
        Ok(match run.status.to_ascii_lowercase().as_str() {
            "succeeded" => RunOutcome::Succeeded,
            "failed" => RunOutcome::Failed(root::unwrapped(&run.message).to_owned()),
            "cancelled" | "canceled" => RunOutcome::Failed("the run was cancelled".to_owned()),
            _ => RunOutcome::Running,
        })
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

    async fn run(&self, run_id: &str) -> Result<Option<PipelineRun>, Fault> {
        self.json(
            self.request(Method::GET, &["pipelineruns", run_id], None)
                .await?,
        )
        .await
    }

    async fn pipeline_runs(&self, query: &Query) -> Result<Vec<PipelineRun>, Fault> {
        self.pages(&["queryPipelineRuns"], query).await
    }

    /// The window must hold the run's last update, however long ago it was.
    async fn activity_runs(
        &self,
        run: &PipelineRun,
        filters: Vec<(&'static str, Vec<String>)>,
        now: DateTime<Utc>,
    ) -> Result<Vec<ActivityRun>, Fault> {
        let day = TimeDelta::days(1);
        let from = around(
            run.run_start
                .unwrap_or_else(|| around(now, TimeDelta::days(45)).0),
            day,
        )
        .0;
        let to = around(
            run.last_updated.or(run.run_end).unwrap_or(now).max(now),
            day,
        )
        .1;
        self.pages(
            &["pipelineruns", &run.run_id, "queryActivityruns"],
            &Query {
                from,
                to,
                filters,
                order_by: "ActivityRunEnd",
            },
        )
        .await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        pieces: &[&str],
        query: &Query,
    ) -> Result<Vec<T>, Fault> {
        let mut all = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let request = self
                .request(Method::POST, pieces, Some(&query.body(token.as_deref())))
                .await?;
            let Some(page) = self.json::<Page<T>>(request).await? else {
                break;
            };
            all.extend(page.value);
            token = page.continuation_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(all)
    }

    async fn request(
        &self,
        method: Method,
        pieces: &[&str],
        body: Option<&Value>,
    ) -> Result<reqwest::RequestBuilder, Fault> {
        let DataFactorySettings {
            subscription,
            resource_group,
            factory,
            base_url,
        } = &self.settings;
        let mut path = vec![
            "subscriptions",
            subscription,
            "resourceGroups",
            resource_group,
        ];
        path.extend(["providers", "Microsoft.DataFactory", "factories", factory]);
        path.extend(pieces);
        let mut url = url_under(base_url, &path)?;
        url.query_pairs_mut()
            .append_pair("api-version", API_VERSION);
        let mut request = self.http.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.key.authorize(RESOURCE, request).await
    }

    /// The answer, or `None` when the run is not there.
    async fn json<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<T>, Fault> {
        let reply = ask(&self.http, WHAT, request).await?;
        if reply.is_success() {
            return reply.json(WHAT).map(Some);
        }
        refusal(&reply)
    }
}

fn refusal<T>(reply: &Reply) -> Result<Option<T>, Fault> {
    let refusal: wire::Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = plain_code(&refusal.error.code).unwrap_or_default();
    match (reply.status, code) {
        (
            404,
            "ResourceNotFound"
            | "ResourceGroupNotFound"
            | "SubscriptionNotFound"
            | "InvalidSubscriptionId",
        ) => Err(unknown_factory()),
        (404, _) => Ok(None),
        (401 | 403, _) => Err(Fault::permanent(forbidden(
            reply.status,
            code,
            &refusal.error.message,
        ))),
        (status, code) => Err(Fault::permanent(format!("{WHAT} answered {status} {code}"))),
    }
}

/// A refusal of Resource Manager names the one operation that is missing, in quotes.
fn forbidden(status: u16, code: &str, message: &str) -> String {
    let operation = message.split('\'').find(|text| {
        text.starts_with("Microsoft.DataFactory/")
            && text.split('/').all(|word| plain_code(word).is_some())
    });
    match operation {
        Some(operation) => {
            format!(
                "{WHAT} answered {status} {code}: the identity lacks {operation} on the factory"
            )
        }
        None => format!(
            "{WHAT} answered {status} {code}: give the identity the run reader role of infra/modules/data-factory.bicep on \
             the factory"
        ),
    }
}

fn unknown_factory() -> Fault {
    Fault::permanent(
        "there is no such factory: check AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZURE_DATA_FACTORY_NAME",
    )
}
