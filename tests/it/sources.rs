//! The parsers against every vendor payload, and against what hostile or broken senders make of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use aiops_rca::failure::RunKey;
use aiops_rca::sources::{self, Malformed, Parsed};
use lawful::assert_lawful;

mod azure_monitor;
mod airflow;
mod databricks;
mod flat;
mod fixtures;
mod hostile;
pub(crate) mod lawful;
mod rows;

type Parser = fn(&[u8]) -> Result<Parsed, Malformed>;

const DOORS: [(&str, Parser); 3] = [
    ("azure-monitor", sources::azure_monitor::parse),
    ("databricks-monitor", sources::databricks::parse),
    ("airflow-monitor", sources::airflow::parse),
];

fn vendor(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/tests/fixtures/vendor/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The key of a run, by the text that its digests are made of.
pub(crate) fn key_of(text: &str) -> RunKey {
    RunKey::from(text.to_owned())
}

fn failures(parsed: Result<Parsed, Malformed>) -> Vec<aiops_rca::failure::Failure> {
    match parsed {
        Ok(Parsed::Failures(failures)) => failures,
        other => panic!("failures expected, got {other:?}"),
    }
}

fn failure(parsed: Result<Parsed, Malformed>) -> aiops_rca::failure::Failure {
    let mut all = failures(parsed);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn request(parsed: Result<Parsed, Malformed>) -> sources::RowsRequest {
    match parsed {
        Ok(Parsed::NeedsRows(request)) => request,
        other => panic!("a request for rows expected, got {other:?}"),
    }
}

fn ignored(parsed: Result<Parsed, Malformed>) -> String {
    match parsed {
        Ok(Parsed::Ignored(reason)) => reason,
        other => panic!("an ignored body expected, got {other:?}"),
    }
}

/// Run ids, tasks and deployments may be named after people or hold what looks like a secret: none of it is in the key.
#[test]
fn a_key_holds_nothing_but_digests() {
    let body = serde_json::json!({"dag_id": "Etl", "task_id": "load for jane.doe@contoso.com", "run_id": "manual__sk-orders-daily",
        "deployment": "Jane's Airflow", "exception": "ValueError: bad"});
    let failure = failure(sources::airflow::parse(body.to_string().as_bytes()));
    let key = failure.key.to_string();
    assert!(
        key.strip_prefix("airflow:")
            .unwrap()
            .chars()
            .all(|c| c == ':' || c.is_ascii_hexdigit()),
        "{key}"
    );
    // And the names themselves are those by which Airflow can be asked.
    assert_eq!(failure.asset, "Etl.load for jane.doe@contoso.com");
    assert_eq!(failure.run_id.as_deref(), Some("manual__sk-orders-daily"));
}
