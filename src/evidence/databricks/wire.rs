//! The workspace API's JSON: every field name of it is in this file. Ids are int64 and come as numbers or text.
#![expect(clippy::struct_field_names, reason = "the names are the vendor's")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::super::values::from_millis;
use crate::tolerant::{moment, or_default, text};

/// A job run, or a task run asked for by its own id.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    #[serde(deserialize_with = "text")]
    pub(super) job_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) run_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) run_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) run_page_url: String,
    #[serde(deserialize_with = "text")]
    pub(super) trigger: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) trigger_info: TriggerInfo,
    #[serde(deserialize_with = "text")]
    pub(super) run_type: String,
    #[serde(deserialize_with = "text")]
    pub(super) original_attempt_run_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) creator_user_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: State,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: Status,
    #[serde(deserialize_with = "or_default")]
    pub(super) start_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) end_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) tasks: Vec<Task>,
    #[serde(deserialize_with = "or_default")]
    pub(super) iterations: Vec<Task>,
    #[serde(deserialize_with = "or_default")]
    pub(super) repair_history: Vec<RepairItem>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cluster_instance: ClusterInstance,
    #[serde(deserialize_with = "text")]
    pub(super) next_page_token: String,
}

/// Which run's task started this one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TriggerInfo {
    #[serde(deserialize_with = "text")]
    pub(super) run_id: String,
}

/// A task of a run, or an iteration of a loop task.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    #[serde(deserialize_with = "text")]
    pub(super) run_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) task_key: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: State,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: Status,
    #[serde(deserialize_with = "or_default")]
    pub(super) start_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) end_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) attempt_number: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cluster_instance: ClusterInstance,
    pub(super) for_each_task: Option<Value>,
    pub(super) run_job_task: Option<Value>,
}

/// The older description of where a run stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    #[serde(deserialize_with = "text")]
    pub(super) life_cycle_state: String,
    #[serde(deserialize_with = "text")]
    pub(super) result_state: String,
    #[serde(deserialize_with = "text")]
    pub(super) state_message: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) user_cancelled_or_timedout: bool,
}

/// The newer description.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) termination_details: Termination,
}

/// Why something ended: of a run (`message`) or of a cluster (`parameters`).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Termination {
    #[serde(deserialize_with = "text")]
    pub(super) code: String,
    #[serde(rename = "type", deserialize_with = "text")]
    pub(super) kind: String,
    #[serde(deserialize_with = "text")]
    pub(super) message: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) parameters: BTreeMap<String, Value>,
}

/// Where a task ran.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClusterInstance {
    #[serde(deserialize_with = "text")]
    pub(super) cluster_id: String,
}

/// The first run (`ORIGINAL`) or a repair of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RepairItem {
    #[serde(rename = "type", deserialize_with = "text")]
    pub(super) kind: String,
    #[serde(deserialize_with = "text")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) start_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) end_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: State,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: Status,
}

/// What a task run printed and raised.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Output {
    #[serde(deserialize_with = "text")]
    pub(super) error: String,
    #[serde(deserialize_with = "text")]
    pub(super) error_trace: String,
    #[serde(deserialize_with = "text")]
    pub(super) logs: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) logs_truncated: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) notebook_output: NotebookOutput,
    #[serde(deserialize_with = "or_default")]
    pub(super) run_job_output: RunJobOutput,
}

/// What a notebook exits with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NotebookOutput {
    #[serde(deserialize_with = "text")]
    pub(super) result: String,
}

/// Figures of Delta's commit metrics that count what was written.
const WRITTEN: [&str; 6] = [
    "numOutputRows",
    "numTargetRowsInserted",
    "numTargetRowsUpdated",
    "numInsertedRows",
    "rows_written",
    "rowsWritten",
];

impl Output {
    /// How many rows were written, where the notebook exits with Delta's commit metrics (as they are, or as
    /// `operationMetrics` of a history row).
    pub(super) fn rows(&self) -> Option<u64> {
        let said: Value = serde_json::from_str(&self.notebook_output.result).ok()?;
        let figures = said.get("operationMetrics").unwrap_or(&said);
        let number = |name: &&str| {
            let value = figures.get(*name)?;
            value
                .as_u64()
                .or_else(|| value.as_str()?.trim().parse().ok())
        };
        let found: Vec<u64> = WRITTEN.iter().filter_map(number).collect();
        (!found.is_empty()).then(|| found.into_iter().fold(0, u64::saturating_add))
    }
}

/// A job, as far as its schedule goes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    #[serde(deserialize_with = "or_default")]
    pub(super) settings: JobSettings,
}

/// What starts a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobSettings {
    schedule: Value,
    trigger: Value,
    continuous: Value,
    triggers: Value,
}

impl JobSettings {
    /// Does it have a schedule, all of it paused?
    pub(super) fn is_paused(&self) -> bool {
        let several = self.triggers.as_array().into_iter().flatten();
        let one = [&self.schedule, &self.trigger, &self.continuous];
        let states: Vec<bool> = one
            .into_iter()
            .chain(several)
            .filter(|what| what.is_object())
            .map(|what| {
                let state = what.get("pause_status").and_then(Value::as_str);
                state.is_some_and(|state| state.eq_ignore_ascii_case("PAUSED"))
            })
            .collect();
        !states.is_empty() && !states.contains(&false)
    }
}

/// The child run of a task that runs a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunJobOutput {
    #[serde(deserialize_with = "text")]
    pub(super) run_id: String,
}

/// A cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    #[serde(deserialize_with = "text")]
    pub(super) cluster_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) cluster_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) cluster_source: String,
    #[serde(deserialize_with = "text")]
    pub(super) spark_version: String,
    #[serde(deserialize_with = "text")]
    pub(super) node_type_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) instance_pool_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    #[serde(deserialize_with = "text")]
    pub(super) state_message: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) start_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) last_restarted_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) terminated_time: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) termination_reason: Termination,
}

/// One page of a cluster's events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Events {
    #[serde(deserialize_with = "or_default")]
    pub(super) events: Vec<Event>,
    #[serde(deserialize_with = "text")]
    pub(super) next_page_token: String,
}

/// Something that happened to a cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(deserialize_with = "or_default")]
    pub(super) timestamp: Option<i64>,
    #[serde(rename = "type", deserialize_with = "text")]
    pub(super) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) details: BTreeMap<String, Value>,
}

impl Event {
    /// The reason of a termination.
    pub(super) fn reason(&self) -> Option<Termination> {
        let reason: Termination =
            serde_json::from_value(self.details.get("reason")?.clone()).ok()?;
        Some(reason).filter(|reason| !reason.code.is_empty())
    }

    pub(super) fn at(&self) -> Option<DateTime<Utc>> {
        from_millis(self.timestamp)
    }
}

/// The libraries of a cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Libraries {
    #[serde(deserialize_with = "or_default")]
    pub(super) library_statuses: Vec<Library>,
}

/// One library and how its installation went.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Library {
    pub(super) library: Value,
    #[serde(deserialize_with = "text")]
    pub(super) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) messages: Vec<String>,
}

/// One page of a job's runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Runs {
    #[serde(deserialize_with = "or_default")]
    pub(super) runs: Vec<Run>,
    #[serde(deserialize_with = "text")]
    pub(super) next_page_token: String,
}

/// One page of clusters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Clusters {
    #[serde(deserialize_with = "or_default")]
    pub(super) clusters: Vec<Cluster>,
    #[serde(deserialize_with = "text")]
    pub(super) next_page_token: String,
}

/// One page of Lakeflow pipelines.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pipelines {
    #[serde(deserialize_with = "or_default")]
    pub(super) statuses: Vec<Pipeline>,
    #[serde(deserialize_with = "text")]
    pub(super) next_page_token: String,
}

/// A Lakeflow pipeline with its latest updates, newest first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pipeline {
    #[serde(deserialize_with = "text")]
    pub(super) pipeline_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) latest_updates: Vec<Update>,
}

/// A run of a Lakeflow pipeline. Its creation comes as text or as milliseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Update {
    #[serde(deserialize_with = "text")]
    pub(super) update_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    pub(super) creation_time: Value,
    #[serde(deserialize_with = "text")]
    pub(super) cause: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) validate_only: bool,
}

impl Update {
    pub(super) fn is_over(&self) -> bool {
        ["COMPLETED", "FAILED", "CANCELED", "CANCELLED"]
            .iter()
            .any(|state| self.state.eq_ignore_ascii_case(state))
    }

    pub(super) fn began(&self) -> Option<DateTime<Utc>> {
        match &self.creation_time {
            Value::String(text) => match DateTime::parse_from_rfc3339(text) {
                Ok(at) => Some(at.with_timezone(&Utc)),
                Err(_) => from_millis(text.parse().ok()),
            },
            other => from_millis(other.as_i64()),
        }
    }
}

/// One update in full.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UpdateInfo {
    #[serde(deserialize_with = "or_default")]
    pub(super) update: Update,
}

/// One page of a Lakeflow pipeline's events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PipelineEvents {
    #[serde(deserialize_with = "or_default")]
    pub(super) events: Vec<PipelineEvent>,
}

/// Something that a Lakeflow pipeline said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct PipelineEvent {
    #[serde(deserialize_with = "or_default")]
    pub(super) origin: EventOrigin,
    #[serde(deserialize_with = "moment")]
    pub(super) timestamp: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "text")]
    pub(super) message: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) error: EventError,
}

/// Which update an event belongs to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventOrigin {
    #[serde(deserialize_with = "text")]
    pub(super) update_id: String,
}

/// The exceptions behind an event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventError {
    #[serde(deserialize_with = "or_default")]
    pub(super) exceptions: Vec<EventException>,
}

/// One of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventException {
    #[serde(deserialize_with = "text")]
    pub(super) class_name: String,
    #[serde(deserialize_with = "text")]
    pub(super) message: String,
}

impl PipelineEvent {
    /// The innermost exception, else the event's own words.
    pub(super) fn text(&self) -> String {
        let said = |exception: &&EventException| !exception.message.trim().is_empty();
        match self.error.exceptions.iter().rev().find(said) {
            Some(exception) if exception.class_name.is_empty() => exception.message.clone(),
            Some(exception) => format!("{}: {}", exception.class_name, exception.message),
            None => self.message.clone(),
        }
    }
}

/// The API's error body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(deserialize_with = "text")]
    pub(super) error_code: String,
    #[serde(deserialize_with = "text")]
    pub(super) message: String,
}
