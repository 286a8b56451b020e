//! What the logs of a workspace say: failed runs of an alert's window, and errors of one run.
//!
//! In: a window and values from outside. Out: rows. The queries are our own (`kql`); a query, a link or a
//! workspace from an alert is never used. A table that does not exist in the workspace is answered with a
//! semantic error: then the next way of asking is tried. Rows arrive minutes late, so an empty answer only means
//! "not yet".

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::asking::{Key, ask, audience, url_under};
use super::values::{around, plain_code};
use super::{Collected, Refinement, Text, Voice, window};
use crate::failure::{AssetKind, Failure, Source, field};
use crate::fault::Fault;
use crate::http::Http;
use crate::sources::{RowsOf, RowsRequest, rows};

mod kql;

const WHAT: &str = "Log Analytics";
const SOURCE: &str = "log_analytics";
/// The gap when a query was answered without rows.
pub(super) const NO_ROWS_YET: &str = "no rows about the run yet: logs arrive minutes late";
/// The resource whose tokens the query API of the public cloud takes, by whichever of its names it is called.
const RESOURCE: &str = "https://api.loganalytics.io";
const PUBLIC_HOSTS: [&str; 3] = [
    "api.loganalytics.azure.com",
    "api.loganalytics.io",
    "api.monitor.azure.com",
];
/// Rows of one run are looked for this long before and after the failure.
const AROUND: TimeDelta = TimeDelta::hours(12);
/// How many rows become evidence.
const SHOWN: usize = 20;

/// Which workspace, and where its API is.
#[derive(Debug, Clone)]
pub struct LogAnalyticsSettings {
    /// `LOG_ANALYTICS_WORKSPACE_ID`: the workspace's GUID, not its name.
    pub workspace: Uuid,
    /// `LOG_ANALYTICS_URL`: the query API of its cloud.
    pub base_url: Url,
}

impl Found {
    /// The failed runs that the rows speak of.
    pub(super) fn failures(&self, request: &RowsRequest) -> Vec<Failure> {
        let (of, origin) = (request.rows_of, request.origin());
        let table = self.table.iter();
        table
            .flat_map(|table| rows::read_as(of, table, &origin).failures)
            .collect()
    }
}

/// A reader of one workspace.
#[derive(Debug, Clone)]
pub struct LogAnalytics {
    settings: LogAnalyticsSettings,
    http: Http,
    key: Key,
}

/// Rows, and whether the service said that there are more which it could not read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) table: Option<rows::Table>,
    pub(super) partial: bool,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.table
            .as_ref()
            .is_none_or(|table| table.rows.is_empty())
    }
}

impl LogAnalytics {
    /// Nothing is asked yet.
    pub fn new(settings: LogAnalyticsSettings, http: Http, key: Key) -> Self {
        Self {
            settings,
            http,
            key,
        }
    }

    /// Asks for a constant: is the workspace there, may we query it?
    pub async fn check(&self) -> Result<String, Fault> {
        self.query("print answer = 42", None).await?;
        Ok(format!(
            "workspace {} answers queries",
            self.settings.workspace
        ))
    }

    /// The failed runs behind an alert.
    pub(super) async fn failed_runs(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<Found, Fault> {
        let (from, to) = window(request, now);
        let wanted = kql::Wanted {
            from,
            to,
            asset: request.asset.as_deref(),
            run_id: request.run_id.as_deref(),
            resource: request
                .resource
                .as_deref()
                .filter(|id| id.contains("/factories/") || id.contains("/workspaces/")),
        };
        // A log workspace shares its type's last word with Databricks: it is where the alert looks, not what failed.
        let wanted = kql::Wanted {
            resource: wanted
                .resource
                .filter(|id| !id.contains("microsoft.operationalinsights")),
            ..wanted
        };
        let queries = match request.rows_of {
            RowsOf::AdfRuns => [kql::pipeline_runs(wanted), kql::activity_runs(wanted)].concat(),
            RowsOf::DatabricksClusters => kql::clusters(wanted, None),
            RowsOf::DatabricksJobs => kql::jobs(wanted),
        };
        self.first_with_rows(&queries, from, to).await
    }

    /// Collects what the logs say about one failure.
    pub(super) async fn collect(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) {
        let (from, to) = around(failure.occurred_at.unwrap_or(now), AROUND);
        let run_id = failure.run_id.as_deref();
        let wanted = kql::Wanted {
            from,
            to,
            asset: None,
            run_id,
            resource: None,
        };
        let queries = match (failure.source, failure.kind, run_id) {
            (Source::Adf, _, Some(_)) => {
                [kql::activity_runs(wanted), kql::pipeline_runs(wanted)].concat()
            }
            (Source::Databricks, AssetKind::Cluster, _)
                if failure.field(field::CLUSTER_ID).is_some() =>
            {
                kql::clusters(wanted, failure.field(field::CLUSTER_ID))
            }
            (Source::Databricks, AssetKind::Job, Some(_)) => kql::jobs(wanted),
            (Source::Adf | Source::Databricks | Source::Airflow | Source::System, _, _) => {
                return;
            }
        };
        match self.first_with_rows(&queries, from, to).await {
            Ok(Found {
                table: Some(table),
                partial,
            }) if !table.rows.is_empty() => {
                let title = format!(
                    "{} rows about the run{}",
                    table.rows.len(),
                    if partial { " (incomplete)" } else { "" }
                );
                found.prove(SOURCE, title, text(&table), now);
                found.refinement = refinement(failure, &table);
            }
            Ok(_) => found.miss(SOURCE, NO_ROWS_YET),
            Err(fault) => found.miss(SOURCE, fault.reason()),
        }
    }

    /// Asks one way after the other until there are rows. A missing table is no fault while another way is left.
    async fn first_with_rows(
        &self,
        queries: &[String],
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Found, Fault> {
        let mut answered = None;
        let mut refused = None;
        for query in queries {
            match self.query(query, Some((from, to))).await {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(found) => answered = Some(found),
                Err(Asked::NoSuchTable(fault)) => refused = Some(fault),
                Err(Asked::Failed(fault)) => return Err(fault),
            }
        }
        match (answered, refused) {
            (Some(found), _) => Ok(found),
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(Found::default()),
        }
    }

    async fn query(
        &self,
        query: &str,
        window: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Result<Found, Asked> {
        let workspace = self.settings.workspace.to_string();
        let url = url_under(
            &self.settings.base_url,
            &["v1", "workspaces", &workspace, "query"],
        )?;
        let mut body = json!({"query": query});
        if let (Some((from, to)), Some(body)) = (window, body.as_object_mut()) {
            let [from, to] = [from, to].map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true));
            body.insert("timespan".to_owned(), Value::from(format!("{from}/{to}")));
        }
        let request = self.http.request(Method::POST, &url).json(&body);
        let request = self
            .key
            .authorize(&resource(&self.settings.base_url), request)
            .await?;
        let reply = ask(&self.http, WHAT, request).await?;
        if reply.is_success() {
            let answer: Answer = reply.json(WHAT)?;
            let partial = answer.error.is_some();
            let table = answer.tables.into_iter().next().map(WireTable::into_table);
            return Ok(Found { table, partial });
        }
        let refusal: Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
        Err(refusal.fault(reply.status))
    }
}

/// Why a query gave no answer.
enum Asked {
    NoSuchTable(Fault),
    Failed(Fault),
}

impl From<Fault> for Asked {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl From<Asked> for Fault {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::NoSuchTable(fault) | Asked::Failed(fault) => fault,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    tables: Vec<WireTable>,
    /// `PartialError` next to tables, with status 200.
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct WireTable {
    #[serde(default)]
    columns: Vec<WireColumn>,
    #[serde(default)]
    rows: Vec<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct WireColumn {
    name: String,
}

impl WireTable {
    fn into_table(self) -> rows::Table {
        rows::Table {
            columns: self.columns.into_iter().map(|column| column.name).collect(),
            rows: self.rows,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: RefusalError,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RefusalError {
    code: String,
    innererror: Option<Box<RefusalError>>,
}

impl Refusal {
    fn fault(&self, status: u16) -> Asked {
        let mut codes = Vec::new();
        let mut next = Some(&self.error);
        while let Some(error) = next.filter(|_| codes.len() < 5) {
            codes.extend(plain_code(&error.code));
            next = error.innererror.as_deref();
        }
        let said = format!("{WHAT} answered {status} {}", codes.join(" "));
        match status {
            400 if codes
                .iter()
                .any(|code| *code == "SemanticError" || code.starts_with("SEM")) =>
            {
                Asked::NoSuchTable(Fault::permanent(format!(
                    "{said}: the workspace lacks the table; check the diagnostic settings (resource-specific tables)"
                )))
            }
            401 | 403 => Asked::Failed(Fault::permanent(format!(
                "{said}: give the identity the role Log Analytics Reader on the workspace"
            ))),
            404 => Asked::Failed(Fault::permanent(format!(
                "{said}: check LOG_ANALYTICS_WORKSPACE_ID (the GUID, not the name)"
            ))),
            _ => Asked::Failed(Fault::permanent(said)),
        }
    }
}

/// The first rows, one value per line. The root's error becomes the failure's own; the others stand beside it.
fn text(table: &rows::Table) -> Text {
    let mut text = Text::default();
    for row in table.rows.iter().take(SHOWN) {
        for (column, value) in table.columns.iter().zip(row) {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            if value == "null" {
                continue;
            }
            let lower = column.to_ascii_lowercase();
            let is_error = ["message", "error", "failuretext", "output"]
                .iter()
                .any(|part| lower.contains(part));
            let voice = if is_error {
                Voice::Beside
            } else {
                Voice::Record
            };
            if lower.ends_with("name") {
                text.name(&value);
            }
            text.line(column, voice, &value);
        }
        text.add(Voice::Record, "\n");
    }
    text
}

/// What the rows know better than the report: rows are read as any other rows of that kind are.
fn refinement(failure: &Failure, table: &rows::Table) -> Refinement {
    let of = match failure.source {
        Source::Adf => RowsOf::AdfRuns,
        Source::Databricks => RowsOf::DatabricksJobs,
        Source::Airflow | Source::System => return Refinement::default(),
    };
    let read = rows::read_as(of, table, &rows::Origin::default()).failures;
    let same = |row: &Failure| row.run_id.is_none() || row.run_id == failure.run_id;
    let Some(row) = read.into_iter().find(same) else {
        return Refinement::default();
    };
    Refinement {
        scope: None,
        error_code: row.error_code,
        message: Some(row.message).filter(|message| !message.is_empty()),
        asset: Some(row.asset).filter(|_| super::is_placeholder(&failure.asset)),
        run_url: row.run_url,
        occurred_at: row.occurred_at,
        context: row.context,
    }
}

/// Other clouds have one name each, and take tokens for it: `https://api.loganalytics.us`, `https://api.loganalytics.azure.cn`.
fn resource(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    if PUBLIC_HOSTS.iter().any(|public| host.ends_with(public)) {
        return RESOURCE.to_owned();
    }
    audience(endpoint, RESOURCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_is_that_of_the_configured_cloud() {
        for (endpoint, wanted) in [
            ("https://api.loganalytics.azure.com/", RESOURCE),
            ("https://api.loganalytics.io", RESOURCE),
            ("https://westeurope.api.loganalytics.io/", RESOURCE),
            (
                "https://api.loganalytics.us/",
                "https://api.loganalytics.us",
            ),
            (
                "https://api.loganalytics.azure.cn",
                "https://api.loganalytics.azure.cn",
            ),
            ("http://127.0.0.1:4000/", RESOURCE),
        ] {
            let endpoint: Url = endpoint.parse().unwrap_or_else(|_| unreachable!());
            assert_eq!(resource(&endpoint), wanted);
        }
    }
}
