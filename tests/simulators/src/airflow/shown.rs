//! What API v2 shows beside what a test says of a row: every field that its official client requires
//! (apache-airflow-client 3.3.2, `client/models`), and the optional ones that a fresh deployment leaves null.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::text;

/// What optional fields say where nobody said anything.
const TASK_NULLS: [&str; 17] = [
    "dag_version",
    "duration",
    "end_date",
    "executor",
    "hostname",
    "logical_date",
    "note",
    "operator",
    "operator_name",
    "pid",
    "priority_weight",
    "queue",
    "queued_when",
    "scheduled_when",
    "start_date",
    "trigger",
    "triggerer_job",
];
const RUN_NULLS: [&str; 12] = [
    "bundle_version",
    "conf",
    "data_interval_end",
    "data_interval_start",
    "duration",
    "end_date",
    "last_scheduling_decision",
    "logical_date",
    "note",
    "queued_at",
    "start_date",
    "triggered_by",
];

/// A task instance.
pub(super) fn task(row: Value, now: &Value) -> Value {
    let key = ["dag_id", "dag_run_id", "task_id"].map(|name| text(&row, name).to_owned());
    let [dag, run, name] = &key;
    let index = row.get("map_index").cloned().unwrap_or(json!(-1));
    let after = time_of(&row, now);
    let defaults = json!({
        "id": id(&[dag, run, name, &index.to_string()]),
        "dag_display_name": dag, "task_display_name": name, "map_index": index, "try_number": 0, "max_tries": 0,
        "executor_config": "{}", "pool": "default_pool", "pool_slots": 1, "run_after": after, "state": null,
        "rendered_fields": {}, "rendered_map_index": null, "unixname": "airflow",
    });
    filled(row, defaults, &TASK_NULLS)
}

/// A DAG run.
pub(super) fn run(row: Value, now: &Value) -> Value {
    let kind = [
        "scheduled",
        "backfill",
        "asset_triggered",
        "asset_materialization",
    ]
    .into_iter()
    .find(|kind| text(&row, "dag_run_id").starts_with(&format!("{kind}__")))
    .unwrap_or("manual");
    let defaults = json!({
        "dag_display_name": text(&row, "dag_id"), "dag_versions": [], "run_after": time_of(&row, now), "run_type": kind,
        "triggering_user_name": null,
    });
    filled(row, defaults, &RUN_NULLS)
}

/// A DAG.
pub(super) fn dag(row: Value) -> Value {
    let name = text(&row, "dag_id").to_owned();
    let defaults = json!({
        "dag_display_name": name, "file_token": format!("token-of-{name}"), "fileloc": format!("/opt/airflow/dags/{name}.py"),
        "relative_fileloc": format!("{name}.py"), "bundle_name": "dags-folder", "description": null, "tags": [],
        "owners": ["airflow"], "is_paused": false, "is_stale": false, "is_backfillable": true, "has_import_errors": false,
        "has_task_concurrency_limits": false, "max_active_tasks": 16, "max_active_runs": 16,
        "max_consecutive_failed_dag_runs": 0, "timetable_partitioned": false, "timetable_periodic": true,
        "timetable_summary": null, "timetable_description": null,
    });
    filled(row, defaults, &[])
}

fn filled(row: Value, defaults: Value, nulls: &[&str]) -> Value {
    let (Value::Object(row), Value::Object(mut all)) = (row, defaults) else {
        return Value::Null;
    };
    all.extend(nulls.iter().map(|name| ((*name).to_owned(), Value::Null)));
    // An empty time is none.
    let said = row
        .into_iter()
        .filter(|(name, value)| !(nulls.contains(&name.as_str()) && value == ""));
    all.extend(said.collect::<Map<String, Value>>());
    Value::Object(all)
}

/// When the run was due: the first time that the row names.
fn time_of(row: &Value, now: &Value) -> Value {
    ["run_after", "logical_date", "start_date", "end_date"]
        .into_iter()
        .find_map(|name| row.get(name).filter(|value| value.is_string()))
        .unwrap_or(now)
        .clone()
}

/// The same row has the same id.
fn id(of: &[&str]) -> String {
    let hash = Sha256::digest(of.join("\n"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(hash.get(..16).unwrap_or(&[0; 16]));
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}
