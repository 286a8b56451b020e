//! The workspace API's JSON: every field name of it is in this file. Ids are int64 and come as numbers or text.
#![expect(clippy::struct_field_names, reason = "the names are the vendor's")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::values::from_millis;
use crate::tolerant::lenient;

lenient! {
    /// A job run, or a task run asked for by its own id.
    struct Run {
        job_id: String,
        run_id: String,
        run_name: String,
        run_page_url: String,
        trigger: String,
        trigger_info: TriggerInfo,
        run_type: String,
        original_attempt_run_id: String,
        creator_user_name: String,
        state: State,
        status: Status,
        start_time: Option<i64>,
        end_time: Option<i64>,
        tasks: Vec<Task>,
        iterations: Vec<Task>,
        repair_history: Vec<RepairItem>,
        cluster_instance: ClusterInstance,
        next_page_token: String,
    }

    /// Which run's task started this one.
    struct TriggerInfo {
        run_id: String,
    }

    /// A task of a run, or an iteration of a loop task.
    struct Task {
        run_id: String,
        task_key: String,
        state: State,
        status: Status,
        start_time: Option<i64>,
        end_time: Option<i64>,
        attempt_number: i64,
        cluster_instance: ClusterInstance,
        for_each_task: Option<Value>,
        run_job_task: Option<Value>,
    }

    /// The older description of where a run stands.
    struct State {
        life_cycle_state: String,
        result_state: String,
        state_message: String,
        user_cancelled_or_timedout: bool,
    }

    /// The newer description.
    struct Status {
        state: String,
        termination_details: Termination,
    }

    /// Why something ended: of a run (`message`) or of a cluster (`parameters`).
    struct Termination {
        code: String,
        #[serde(rename = "type")]
        kind: String,
        message: String,
        parameters: BTreeMap<String, Value>,
    }

    /// Where a task ran.
    struct ClusterInstance {
        cluster_id: String,
    }

    /// The first run (`ORIGINAL`) or a repair of it.
    struct RepairItem {
        #[serde(rename = "type")]
        kind: String,
        id: String,
        start_time: Option<i64>,
        end_time: Option<i64>,
        state: State,
        status: Status,
    }

    /// What a task run printed and raised.
    struct Output {
        error: String,
        error_trace: String,
        logs: String,
        logs_truncated: bool,
        notebook_output: NotebookOutput,
        run_job_output: RunJobOutput,
    }

    /// What a notebook exits with.
    struct NotebookOutput {
        result: String,
    }

    /// A job, as far as its schedule and its owner go.
    struct Job {
        settings: JobSettings,
        run_as_user_name: String,
        creator_user_name: String,
    }

    /// Somebody as whom a job runs.
    struct RunAs {
        user_name: String,
        service_principal_name: String,
        group_name: String,
    }

    /// What starts a job, and what it is tagged with.
    struct JobSettings {
        tags: BTreeMap<String, Value>,
        run_as: RunAs,
        schedule: Value,
        trigger: Value,
        continuous: Value,
        triggers: Value,
    }

    /// The child run of a task that runs a job.
    struct RunJobOutput {
        run_id: String,
    }

    /// A cluster.
    struct Cluster {
        cluster_id: String,
        cluster_name: String,
        cluster_source: String,
        spark_version: String,
        node_type_id: String,
        instance_pool_id: String,
        state: String,
        state_message: String,
        start_time: Option<i64>,
        last_restarted_time: Option<i64>,
        terminated_time: Option<i64>,
        termination_reason: Termination,
    }

    /// One page of a cluster's events.
    struct Events {
        events: Vec<Event>,
        next_page_token: String,
    }

    /// Something that happened to a cluster.
    struct Event {
        timestamp: Option<i64>,
        #[serde(rename = "type")]
        kind: String,
        details: BTreeMap<String, Value>,
    }

    /// The libraries of a cluster.
    struct Libraries {
        library_statuses: Vec<Library>,
    }

    /// One library and how its installation went.
    struct Library {
        library: Value,
        status: String,
        messages: Vec<String>,
    }

    /// A Lakeflow pipeline with its latest updates, newest first.
    struct Pipeline {
        pipeline_id: String,
        name: String,
        latest_updates: Vec<Update>,
    }

    /// A run of a Lakeflow pipeline. Its creation comes as text or as milliseconds.
    struct Update {
        update_id: String,
        state: String,
        creation_time: Value,
        cause: String,
        validate_only: bool,
    }

    /// One update in full.
    struct UpdateInfo {
        update: Update,
    }

    /// One page of a Lakeflow pipeline's events.
    struct PipelineEvents {
        events: Vec<PipelineEvent>,
    }

    /// Something that a Lakeflow pipeline said.
    struct PipelineEvent {
        origin: EventOrigin,
        timestamp: Option<DateTime<Utc>>,
        message: String,
        error: EventError,
    }

    /// Which update an event belongs to.
    struct EventOrigin {
        update_id: String,
    }

    /// The exceptions behind an event.
    struct EventError {
        exceptions: Vec<EventException>,
    }

    /// One of them.
    struct EventException {
        class_name: String,
        message: String,
    }

    /// The API's error body.
    struct Refusal {
        error_code: String,
        message: String,
    }
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

/// Pages of the patrol: a list that cannot be read must not pass for one in which nothing ended.
macro_rules! page {
    ($($name:ident { $list:ident: $of:ident })*) => {$(
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            pub(super) $list: Vec<$of>,
            #[serde(deserialize_with = "crate::tolerant::field")]
            pub(super) next_page_token: String,
        }
    )*};
}

page! {
    Runs { runs: Run }
    Clusters { clusters: Cluster }
    Pipelines { statuses: Pipeline }
}

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

impl Task {
    /// How many iterations of a loop task failed, and how many there are.
    pub(super) fn iterations(&self) -> Option<(u64, u64)> {
        let stats = self
            .for_each_task
            .as_ref()?
            .pointer("/stats/task_run_stats")?;
        let number = |name: &str| {
            let value = stats.get(name)?;
            value
                .as_u64()
                .or_else(|| value.as_str()?.trim().parse().ok())
        };
        let (failed, total) = (number("failed_iterations")?, number("total_iterations")?);
        (total > 0 && failed > 0).then_some((failed, total))
    }
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
