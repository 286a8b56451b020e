//! What real Airflow reported, and what it is called: the DAG's file (`tests/real/airflow/dags`) says what it does.

use std::collections::{BTreeMap, BTreeSet};

use aiops_rca::diagnosis::{Case, diagnose};
use aiops_rca::failure::Failure;
use aiops_rca::sources::{Parsed, airflow};
use serde_json::Value;

/// The categories that are right for what each DAG does; with `undetermined` first, the text names no cause.
pub(crate) fn expected() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = include_str!("../../real/airflow/expected.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let mut cells = row.split('\t');
        let dag = cells.next().unwrap();
        (dag, cells.next().unwrap().split(' ').collect())
    })
    .collect()
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

/// A report without an exception; of a run, it says that a task failed, and not of what.
fn names_no_cause(body: &Value) -> bool {
    body["exception"] == "" && body["reason"] != "timed_out"
}

#[test]
fn no_recorded_failure_is_called_what_it_is_not() {
    let expected = expected();
    let (mut wrong, mut open) = (Vec::new(), BTreeSet::new());
    for version in ["2.10.5", "3.1.8", "3.3.2-first", "3.3.2"] {
        for body in recorded(version) {
            let Some(failure) = failure(&body) else {
                continue;
            };
            let dag = failure.field("dag_id").unwrap_or_default().to_owned();
            let found = diagnose(&Case::of(&failure, &[]));
            let category = found.category.words().replace(' ', "_");
            let right = &expected[dag.as_str()];
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
