//! What real Airflow reported, and what it is called: the DAG's file (`tests/fixtures/airflow/dags`) says what it does.

use aiops_rca::diagnosis::{Case, diagnose};
use aiops_rca::failure::Failure;
use aiops_rca::sources::{Parsed, airflow};
use serde_json::Value;

/// The categories that are right for what the DAG does; with `undetermined` first, the text names no cause.
#[expect(clippy::panic, reason = "a DAG that nobody has judged")]
fn right(dag: &str) -> &'static [&'static str] {
    match dag {
        // "Test error for RCA integration", an assertion without words, an exit status, a report of a run without its task.
        "s_plain" | "s_both" | "s_upstream" | "test_rca_integration" | "seed3_plain" => {
            &["undetermined", "code"]
        }
        "s_assert" | "s_sysexit" => &["undetermined", "code", "data_quality"],
        "s_dag_cb" | "s_dagcb_kill" | "n_kill" | "z_long_dag" | "q_dagcb" | "q_dagcb_mapped2"
        | "seed_dag_level" | "seed3_dag_level" => &["undetermined"],
        "s_unicode" => &["undetermined", "missing_data", "code", "platform"],
        "z_zombie_retry" | "s_zombie" | "s_sigkill" => &["platform", "resource"],
        "s_conn" | "s_conn2" | "s_retries" | "s_retries_cb" | "s_group" | "seed_retries"
        | "seed3_retries" | "q_heals" | "q_never" | "q_mapped" | "q_retries" | "q_both"
        | "q_two" | "n_plain" | "n_retry" | "s_huge" => &["network"],
        "s_file" | "q_file" | "seed_mapped" | "seed3_mapped" | "s_chain" => &["missing_data"],
        "q_mixed" | "s_mapped" => &["network", "missing_data"],
        "q_hand" => &["authorization", "configuration"],
        "s_airflowexc" => &[
            "network",
            "timeout",
            "platform",
            "dependency",
            "code",
            "undetermined",
        ],
        "s_sensor" | "s_sensor_rs" => &["timeout", "missing_data", "dependency"],
        "s_exec_timeout" | "s_dagrun_timeout" | "n_timeout" | "s_defer_timeout" => &["timeout"],
        "s_memerr" => &["resource"],
        "s_sigterm" => &["resource", "platform", "cancelled"],
        "s_defer_raise" => &["platform", "network", "undetermined"],
        "s_defer_event" => &["resource", "platform", "timeout"],
        "s_secrets" => &["network", "undetermined", "configuration"],
        "s_failnow" => &["data_schema", "code"],
        "s_bash" => &["code", "network", "undetermined"],
        "s_bash137" => &["resource", "code", "undetermined", "platform"],
        "s_key" | "s_value" => &["code", "data_quality", "data_schema"],
        "s_custom" => &["data_quality", "data_schema"],
        _ if dag.starts_with("noise_") => &["code", "data_quality", "undetermined"],
        _ => panic!("which category is right for {dag}?"),
    }
}

fn recorded(version: &str) -> Vec<Value> {
    let path = format!(
        "{}/tests/fixtures/airflow/callbacks-{version}.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn failure(body: &Value) -> Option<Failure> {
    match airflow::parse(body.to_string().as_bytes()) {
        Ok(Parsed::Failures(failures)) => failures.into_iter().next(),
        other => {
            assert_eq!(body["dag_id"], "z_zombie_retry", "{other:?}");
            None
        }
    }
}

fn failures(version: &str) -> Vec<Failure> {
    recorded(version).iter().filter_map(failure).collect()
}

/// A DAG's own report says that a task failed, and not of what.
fn names_no_cause(body: &Value) -> bool {
    body["level"] == "dag" && body["reason"] == "task_failure" && body["exception"] == ""
}

#[test]
fn no_recorded_failure_is_called_what_it_is_not() {
    let (mut wrong, mut open) = (Vec::new(), std::collections::BTreeSet::new());
    for version in ["2.10.5", "3.1.8", "3.3.2-first", "3.3.2"] {
        for body in recorded(version) {
            let Some(failure) = failure(&body) else {
                continue;
            };
            let dag = failure.field("dag_id").unwrap_or_default().to_owned();
            let found = diagnose(&Case::of(&failure, &[]));
            let category = found.category.words().replace(' ', "_");
            let right = right(&dag);
            if category == "undetermined" {
                if !names_no_cause(&body) && right.first() != Some(&"undetermined") {
                    open.insert(dag);
                }
            } else if !right.contains(&category.as_str()) {
                wrong.push(format!(
                    "{version} {dag}: {category} ({})",
                    found.error_type
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(open.len() <= 2, "undetermined: {open:?}");
}

#[test]
fn what_airflow_itself_says_has_its_class() {
    for (version, dag, class) in [
        ("2.10.5", "s_sigkill", "TaskHeartbeatLost"),
        ("2.10.5", "s_zombie", "TaskHeartbeatLost"),
        ("3.3.2", "s_zombie", "TaskHeartbeatLost"),
        ("2.10.5", "s_dagrun_timeout", "DagRunTimeout"),
        ("3.3.2", "n_timeout", "DagRunTimeout"),
        ("2.10.5", "s_defer_timeout", "TriggerTimeout"),
        ("3.3.2", "s_defer_timeout", "TriggerTimeout"),
    ] {
        let failure = failures(version)
            .into_iter()
            .find(|failure| failure.field("dag_id") == Some(dag))
            .unwrap();
        let found = diagnose(&Case::of(&failure, &[]));
        assert_eq!(found.error_type, class, "{version} {dag}");
    }
}
