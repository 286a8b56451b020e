//! The parsers against every vendor payload, and against what hostile or broken senders make of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

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
