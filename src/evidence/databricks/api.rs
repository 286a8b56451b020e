//! The workspace API: paths, pages, and what its refusals mean.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::state::is_id;
use super::wire::{self, Cluster, Event, Library, Run};
use super::{Databricks, WHAT, check};
use crate::evidence::asking::{ask, url_under};
use crate::evidence::values::plain_code;
use crate::fault::Fault;
use crate::http::Reply;

/// The resource of all Azure Databricks workspaces.
const RESOURCE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
/// Pages of one question.
const PAGES: usize = 20;

impl Databricks {
    /// A run with all its tasks and repairs.
    pub(super) async fn run(&self, run_id: &str) -> Result<Option<Run>, Fault> {
        if !is_id(run_id) {
            return Err(Fault::permanent(
                "what the report calls a run id is none of Databricks'",
            ));
        }
        let query = [("run_id", run_id), ("include_history", "true")];
        let pages = self.pages("api/2.2/jobs/runs/get", &query, |page: &mut Run| {
            &mut page.next_page_token
        });
        let mut pages = pages.await?.into_iter();
        let Some(mut run) = pages.next() else {
            return Ok(None);
        };
        for page in pages {
            run.tasks.extend(page.tasks);
            run.iterations.extend(page.iterations);
        }
        Ok(Some(run))
    }

    pub(super) async fn runs(
        &self,
        job: Option<&str>,
        from: DateTime<Utc>,
        to: Option<DateTime<Utc>>,
        completed: bool,
    ) -> Result<Vec<Run>, Fault> {
        let from = from.timestamp_millis().to_string();
        let to = to.map(|to| to.timestamp_millis().to_string());
        let mut query = vec![("start_time_from", from.as_str()), ("limit", "25")];
        query.extend(to.as_deref().map(|to| ("start_time_to", to)));
        query.extend(job.map(|job| ("job_id", job)));
        query.extend(completed.then_some(("completed_only", "true")));
        let pages = self.pages("api/2.2/jobs/runs/list", &query, |page: &mut wire::Runs| {
            &mut page.next_page_token
        });
        Ok(pages
            .await?
            .into_iter()
            .flat_map(|page| page.runs)
            .collect())
    }

    pub(super) async fn output(&self, run_id: &str) -> Result<Option<wire::Output>, Fault> {
        self.get("api/2.2/jobs/runs/get-output", &[("run_id", run_id)])
            .await
    }

    pub(super) async fn cluster(&self, cluster_id: &str) -> Result<Option<Cluster>, Fault> {
        self.get("api/2.1/clusters/get", &[("cluster_id", cluster_id)])
            .await
    }

    pub(super) async fn clusters(&self) -> Result<Vec<Cluster>, Fault> {
        let query = [("page_size", "100")];
        let pages = self.pages(
            "api/2.1/clusters/list",
            &query,
            |page: &mut wire::Clusters| &mut page.next_page_token,
        );
        let pages = pages.await?.into_iter();
        Ok(pages.flat_map(|page| page.clusters).collect())
    }

    pub(super) async fn libraries(&self, cluster_id: &str) -> Result<Vec<Library>, Fault> {
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
    pub(super) async fn events(
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

    /// The pages of a list, a bounded number of them.
    async fn pages<P: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        next: fn(&mut P) -> &mut String,
    ) -> Result<Vec<P>, Fault> {
        let mut pages = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = query.to_vec();
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            let Some(mut page) = self.get::<P>(path, &query).await? else {
                break;
            };
            token = std::mem::take(next(&mut page));
            pages.push(page);
            if token.is_empty() {
                break;
            }
        }
        Ok(pages)
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, Fault> {
        let pieces: Vec<&str> = path.split('/').collect();
        let mut url = url_under(&self.settings.workspace_url, &pieces)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    pub(super) async fn get<T: DeserializeOwned>(
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
            check::permission(path)
        ))),
        status => Err(Fault::permanent(format!("{WHAT} answered {status} {code}"))),
    }
}
