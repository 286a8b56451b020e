//! The management API: paths, pages, and what its refusals mean.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::wire::{ActivityRun, Page, PipelineRun, Query};
use super::{DataFactory, DataFactorySettings, Home, WHAT, wire};
use crate::evidence::asking::{ask, audience, url_under};
use crate::evidence::values::{around, plain_code};
use crate::fault::Fault;
use crate::http::Reply;

const API_VERSION: &str = "2018-06-01";
const SYNAPSE_API_VERSION: &str = "2020-12-01";
/// The resource whose tokens the management API of the public cloud takes.
const RESOURCE: &str = "https://management.azure.com";
/// The resource whose tokens Synapse workspaces of the public cloud take.
const SYNAPSE_RESOURCE: &str = "https://dev.azuresynapse.net";
/// Pages of one query; a run with more activity runs is judged by its first ones.
const PAGES: usize = 20;

impl DataFactory {
    pub(super) async fn run(&self, run_id: &str) -> Result<Option<PipelineRun>, Fault> {
        self.json(
            self.request(Method::GET, &["pipelineruns", run_id], None)
                .await?,
        )
        .await
    }

    pub(super) async fn pipeline_runs(&self, query: &Query) -> Result<Vec<PipelineRun>, Fault> {
        self.pages(&["queryPipelineRuns"], query).await
    }

    /// The window must hold the run's last update, however long ago it was.
    pub(super) async fn activity_runs(
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
        let mut pieces = vec!["pipelineruns", run.run_id.as_str(), "queryActivityruns"];
        if let Home::Synapse(_) = self.home {
            pieces.splice(0..0, ["pipelines", run.pipeline_name.as_str()]);
        }
        self.pages(
            &pieces,
            &Query {
                from,
                to,
                filters,
                order_by: "ActivityRunEnd",
            },
        )
        .await
    }

    pub(super) async fn pages<T: DeserializeOwned>(
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

    pub(super) async fn request(
        &self,
        method: Method,
        pieces: &[&str],
        body: Option<&Value>,
    ) -> Result<reqwest::RequestBuilder, Fault> {
        let (base, mut path, version, resource) = match &self.home {
            Home::Factory(DataFactorySettings {
                subscription,
                resource_group,
                factory,
                base_url,
            }) => {
                let path = [
                    "subscriptions",
                    subscription,
                    "resourceGroups",
                    resource_group,
                    "providers",
                    "Microsoft.DataFactory",
                    "factories",
                    factory,
                ];
                (
                    base_url,
                    path.to_vec(),
                    API_VERSION,
                    audience(base_url, RESOURCE),
                )
            }
            Home::Synapse(settings) => (
                &settings.base_url,
                Vec::new(),
                SYNAPSE_API_VERSION,
                synapse_audience(&settings.base_url),
            ),
        };
        path.extend(pieces);
        let mut url = url_under(base, &path)?;
        url.query_pairs_mut().append_pair("api-version", version);
        let mut request = self.http.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.key.authorize(&resource, request).await
    }

    /// The answer, or `None` when the run is not there.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Option<T>, Fault> {
        let reply = ask(&self.http, WHAT, request).await?;
        if reply.is_success() {
            return reply.json(WHAT).map(Some);
        }
        self.refusal(&reply)
    }

    fn refusal<T>(&self, reply: &Reply) -> Result<Option<T>, Fault> {
        let refusal: wire::Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
        let code = plain_code(&refusal.error.code).unwrap_or_default();
        match (reply.status, code) {
            (
                404,
                "ResourceNotFound"
                | "ResourceGroupNotFound"
                | "SubscriptionNotFound"
                | "InvalidSubscriptionId",
            ) => Err(self.unknown()),
            (404, _) => Ok(None),
            (401 | 403, _) => Err(Fault::permanent(match self.home {
                Home::Factory(_) => forbidden(reply.status, code, &refusal.error.message),
                Home::Synapse(_) => format!(
                    "{WHAT} answered {} {code}: give the identity the role Synapse Monitoring Operator in the workspace",
                    reply.status
                ),
            })),
            (status, code) => Err(Fault::permanent(format!("{WHAT} answered {status} {code}"))),
        }
    }

    pub(super) fn unknown(&self) -> Fault {
        Fault::permanent(match self.home {
            Home::Factory(_) => {
                "there is no such factory: check AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZURE_DATA_FACTORY_NAME, or AZURE_DATA_FACTORIES"
            }
            Home::Synapse(_) => "there is no such Synapse workspace: check AZURE_DATA_FACTORIES",
        })
    }
}

/// Tokens are for all workspaces of a cloud: the address of one, without its name.
fn synapse_audience(workspace: &Url) -> String {
    let own = audience(workspace, SYNAPSE_RESOURCE);
    match own.split_once("://") {
        Some((scheme, host)) if workspace.scheme() == "https" => {
            let domain = host.split_once('.').map_or(host, |(_, domain)| domain);
            format!("{scheme}://{domain}")
        }
        _ => own,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_is_that_of_the_configured_cloud() {
        for (endpoint, resource) in [
            ("https://management.azure.com/", RESOURCE),
            (
                "https://management.usgovcloudapi.net",
                "https://management.usgovcloudapi.net",
            ),
            (
                "https://management.chinacloudapi.cn/",
                "https://management.chinacloudapi.cn",
            ),
            ("http://127.0.0.1:4000/", RESOURCE),
        ] {
            let endpoint: Url = endpoint.parse().unwrap_or_else(|_| unreachable!());
            assert_eq!(audience(&endpoint, RESOURCE), resource);
        }
        for (workspace, resource) in [
            ("https://wsp.dev.azuresynapse.net", SYNAPSE_RESOURCE),
            (
                "https://wsp.dev.azuresynapse.usgovcloudapi.net/",
                "https://dev.azuresynapse.usgovcloudapi.net",
            ),
            (
                "https://wsp.dev.azuresynapse.azure.cn",
                "https://dev.azuresynapse.azure.cn",
            ),
            ("http://127.0.0.1:4000/", SYNAPSE_RESOURCE),
        ] {
            let workspace: Url = workspace.parse().unwrap_or_else(|_| unreachable!());
            assert_eq!(synapse_audience(&workspace), resource);
        }
    }
}
