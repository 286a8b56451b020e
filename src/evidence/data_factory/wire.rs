//! The management API's JSON: every field name of it is in this file.
#![expect(clippy::struct_field_names, reason = "the names are the vendor's")]

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::patrol::volume::{Moved, SINK};
use crate::tolerant::lenient;

lenient! {
    /// A run of a pipeline.
    #[serde(rename_all = "camelCase")]
    struct PipelineRun {
        run_id: String,
        run_group_id: String,
        pipeline_name: String,
        parameters: Map<String, Value>,
        invoked_by: InvokedBy,
        run_start: Option<DateTime<Utc>>,
        run_end: Option<DateTime<Utc>>,
        last_updated: Option<DateTime<Utc>>,
        status: String,
        message: String,
    }

    /// Who started a run.
    #[serde(rename_all = "camelCase")]
    struct InvokedBy {
        name: String,
        invoked_by_type: String,
        pipeline_run_id: String,
    }

    /// A run of an activity within a pipeline run.
    #[serde(rename_all = "camelCase")]
    struct ActivityRun {
        activity_name: String,
        activity_type: String,
        pipeline_name: String,
        status: String,
        iteration_hash: String,
        activity_run_start: Option<DateTime<Utc>>,
        activity_run_end: Option<DateTime<Utc>>,
        retry_attempt: Option<i64>,
        linked_service_name: String,
        output: Map<String, Value>,
        error: ActivityError,
    }

    /// An activity's error; an object of empty strings when there was none.
    #[serde(rename_all = "camelCase")]
    struct ActivityError {
        error_code: String,
        message: String,
        failure_type: String,
    }

    /// A pipeline, as far as its owner goes.
    struct Pipeline {
        properties: PipelineProperties,
    }

    struct PipelineProperties {
        annotations: Vec<Value>,
        folder: Folder,
    }

    /// Where people keep it.
    struct Folder {
        name: String,
    }

    /// A run of a trigger.
    #[serde(rename_all = "camelCase")]
    struct TriggerRun {
        trigger_run_id: String,
        trigger_name: String,
        trigger_run_timestamp: Option<DateTime<Utc>>,
        status: String,
        message: String,
        /// Pipeline → run.
        triggered_pipelines: Map<String, Value>,
    }

    /// All triggers.
    #[serde(rename_all = "camelCase")]
    struct Triggers {
        value: Vec<Trigger>,
        next_link: String,
    }

    /// A trigger, and what it starts: several pipelines, or one (a tumbling window).
    struct Trigger {
        properties: Value,
    }

    /// The factory itself.
    struct Factory {
        name: String,
        location: String,
    }

    /// ARM's error body.
    struct Refusal {
        error: RefusalError,
    }

    struct RefusalError {
        code: String,
        /// Only ever searched for the name of an operation.
        message: String,
    }
}

impl ActivityRun {
    /// The run that an ExecutePipeline activity started.
    pub(super) fn child_run(&self) -> Option<&str> {
        self.output
            .get("pipelineRunId")
            .and_then(Value::as_str)
            .filter(|id| !id.is_empty())
    }

    /// The Databricks page of a Databricks activity.
    pub(super) fn run_page_url(&self) -> Option<&str> {
        self.output.get("runPageUrl").and_then(Value::as_str)
    }

    /// Where it ran.
    pub(super) fn integration_runtime(&self) -> Option<&str> {
        self.output
            .get("effectiveIntegrationRuntime")
            .and_then(Value::as_str)
    }

    /// What it moved, by its own name and that of a data flow's sink. Only figures that apply are there: what is absent is
    /// not zero.
    pub(super) fn moved(&self) -> Vec<(String, Moved)> {
        let number = |value: Option<&Value>| {
            let value = value?;
            value
                .as_u64()
                .or_else(|| value.as_str()?.trim().parse().ok())
        };
        let name = &self.activity_name;
        let sinks = self
            .output
            .get("runStatus")
            .and_then(|status| status.get("metrics"))
            .and_then(Value::as_object);
        if let Some(sinks) = sinks {
            let of = |(sink, figures): (&String, &Value)| {
                let rows = number(figures.get("rowsWritten"));
                let moved = Moved { rows, bytes: None };
                (format!("{name}{SINK}{sink}"), moved)
            };
            return sinks.iter().map(of).collect();
        }
        let moved = Moved {
            rows: number(self.output.get("rowsCopied")),
            bytes: number(self.output.get("dataWritten")),
        };
        let said = moved != Moved::default();
        said.then(|| (name.clone(), moved)).into_iter().collect()
    }

    /// Further errors that a Copy activity lists in its output.
    pub(super) fn listed_errors(&self) -> impl Iterator<Item = &str> {
        let listed = self
            .output
            .get("errors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        listed.filter_map(|error| {
            error
                .get("Message")
                .or_else(|| error.get("message"))?
                .as_str()
        })
    }
}

/// One page of the patrol's query. Without a list it is no answer, whatever its status.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub(super) value: Vec<Value>,
    #[serde(default)]
    pub(super) continuation_token: Option<String>,
}

/// One page of a query.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    #[serde(default = "Vec::new")]
    pub(super) value: Vec<T>,
    #[serde(default)]
    pub(super) continuation_token: Option<String>,
}

/// What a query asks for; the window is required by the API.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// Operand and accepted values.
    pub(super) filters: Vec<(&'static str, Vec<String>)>,
    pub(super) order_by: &'static str,
}

impl Triggers {
    /// Where the next page begins. Only that is taken from the link, which may lead anywhere.
    pub(super) fn next(&self) -> Option<(String, String)> {
        let link = url::Url::parse(&self.next_link).ok()?;
        let mut pairs = link.query_pairs();
        let place = pairs.find(|(name, _)| name.to_ascii_lowercase().contains("skiptoken"))?;
        Some((place.0.into_owned(), place.1.into_owned()))
    }
}

impl Trigger {
    pub(super) fn starts(&self, pipeline: &str) -> bool {
        let several = self.properties.get("pipelines").and_then(Value::as_array);
        let one = self.properties.get("pipeline");
        several.into_iter().flatten().chain(one).any(|started| {
            started
                .pointer("/pipelineReference/referenceName")
                .and_then(Value::as_str)
                .is_some_and(|name| name.eq_ignore_ascii_case(pipeline))
        })
    }

    pub(super) fn is_started(&self) -> bool {
        let state = self.properties.get("runtimeState").and_then(Value::as_str);
        state.is_some_and(|state| state.eq_ignore_ascii_case("Started"))
    }
}

impl Query {
    /// The body of one page's request.
    pub(super) fn body(&self, continuation_token: Option<&str>) -> Value {
        let filters: Vec<Value> = self
            .filters
            .iter()
            .map(|(operand, values)| {
                let operator = if values.len() == 1 { "Equals" } else { "In" };
                json!({"operand": operand, "operator": operator, "values": values})
            })
            .collect();
        let mut body = json!({
            "lastUpdatedAfter": self.from.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "lastUpdatedBefore": self.to.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            "filters": filters,
            "orderBy": [{"orderBy": self.order_by, "order": "ASC"}],
        });
        if let (Some(token), Some(body)) = (continuation_token, body.as_object_mut()) {
            body.insert("continuationToken".to_owned(), Value::from(token));
        }
        body
    }
}
