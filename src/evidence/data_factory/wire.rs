//! The management API's JSON: every field name of it is in this file.
#![expect(clippy::struct_field_names, reason = "the names are the vendor's")]

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};

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
