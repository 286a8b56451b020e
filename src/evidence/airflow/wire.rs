//! Airflow's JSON, of API v1 (2.x) and v2 (3.x): every field name of it is in this file.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::tolerant::{moment, number, text};

/// A task instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskInstance {
    #[serde(deserialize_with = "text")]
    pub(super) dag_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) dag_run_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) task_id: String,
    #[serde(deserialize_with = "number")]
    pub(super) map_index: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    #[serde(deserialize_with = "number")]
    pub(super) try_number: Option<i64>,
    #[serde(deserialize_with = "number")]
    pub(super) max_tries: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(super) operator: String,
    #[serde(deserialize_with = "text")]
    pub(super) hostname: String,
    #[serde(deserialize_with = "text")]
    pub(super) pool: String,
    #[serde(deserialize_with = "text")]
    pub(super) queue: String,
    #[serde(deserialize_with = "moment")]
    pub(super) start_date: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "moment")]
    pub(super) end_date: Option<DateTime<Utc>>,
}

/// The task instances of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskInstances {
    pub(super) task_instances: Vec<TaskInstance>,
    #[serde(deserialize_with = "number")]
    pub(super) total_entries: Option<i64>,
}

/// A run of a DAG.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DagRun {
    #[serde(deserialize_with = "text")]
    pub(super) dag_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) dag_run_id: String,
    #[serde(deserialize_with = "text")]
    pub(super) state: String,
    #[serde(deserialize_with = "moment")]
    pub(super) start_date: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "moment")]
    pub(super) end_date: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "text")]
    pub(super) run_type: String,
}

/// The runs of a DAG.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DagRuns {
    pub(super) dag_runs: Vec<DagRun>,
    #[serde(deserialize_with = "number")]
    pub(super) total_entries: Option<i64>,
}

/// The number of DAGs that we may see.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dags {
    #[serde(deserialize_with = "number")]
    pub(super) total_entries: Option<i64>,
}

/// A DAG; `is_active` is API v1's word, `is_stale` that of v2.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dag {
    pub(super) is_paused: Option<bool>,
    pub(super) is_active: Option<bool>,
    pub(super) is_stale: Option<bool>,
}

/// What runs there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    #[serde(deserialize_with = "text")]
    pub(super) version: String,
}

/// Why a request was refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    #[serde(deserialize_with = "text")]
    pub(super) detail: String,
}

/// A token of API v2.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AccessToken {
    #[serde(deserialize_with = "text")]
    pub(super) access_token: String,
}

/// One page of a task's log.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LogPage {
    pub(super) content: Value,
    pub(super) continuation_token: Option<String>,
}
