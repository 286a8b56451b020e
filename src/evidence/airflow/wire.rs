//! Airflow's JSON, of API v1 (2.x) and v2 (3.x): every field name of it is in this file.
#![expect(clippy::struct_field_names, reason = "the names are the vendor's")]

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::tolerant::{field, lenient};

lenient! {
    /// A task instance.
    struct TaskInstance {
        dag_id: String,
        dag_run_id: String,
        task_id: String,
        map_index: Option<i64>,
        state: String,
        try_number: Option<i64>,
        max_tries: Option<i64>,
        operator: String,
        hostname: String,
        pool: String,
        queue: String,
        start_date: Option<DateTime<Utc>>,
        end_date: Option<DateTime<Utc>>,
    }

    /// A run of a DAG.
    struct DagRun {
        dag_id: String,
        dag_run_id: String,
        state: String,
        start_date: Option<DateTime<Utc>>,
        end_date: Option<DateTime<Utc>>,
        run_type: String,
    }

    /// The number of DAGs that we may see.
    struct Dags {
        total_entries: Option<i64>,
    }

    /// A DAG; `is_active` is API v1's word, `is_stale` that of v2.
    struct Dag {
        is_paused: Option<bool>,
        is_active: Option<bool>,
        is_stale: Option<bool>,
        owners: Vec<String>,
        tags: Vec<Value>,
    }

    /// A task of a DAG.
    struct Task {
        owner: String,
    }

    /// What runs there.
    struct Version {
        version: String,
    }

    /// Why a request was refused.
    struct Refused {
        detail: String,
    }

    /// A token of API v2.
    struct AccessToken {
        access_token: String,
    }

    /// One page of a task's log.
    struct LogPage {
        content: Value,
        continuation_token: Option<String>,
    }
}

// Lists that decide what is done: one that cannot be read is no answer, and not an empty one.

/// The task instances of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskInstances {
    pub(super) task_instances: Vec<TaskInstance>,
    #[serde(deserialize_with = "field")]
    pub(super) total_entries: Option<i64>,
}

/// The runs of a DAG.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DagRuns {
    pub(super) dag_runs: Vec<DagRun>,
    #[serde(deserialize_with = "field")]
    pub(super) total_entries: Option<i64>,
}
