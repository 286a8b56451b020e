//! The parsers against every vendor payload, and against what hostile or broken senders make of them.

use aiops_rca::sources::{self, Malformed, Parsed};

mod azure_monitor;
mod airflow;
mod databricks;
mod fixtures;
mod hostile;
mod rows;

type Parser = fn(&[u8]) -> Result<Parsed, Malformed>;

const DOORS: [(&str, Parser); 3] = [
    ("azure-monitor", sources::azure_monitor::parse),
    ("databricks-monitor", sources::databricks::parse),
    ("airflow-monitor", sources::airflow::parse),
];

fn vendor(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/vendor/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What must hold for any answer to any body.
fn assert_lawful(what: &str, parsed: &Result<Parsed, Malformed>) {
    match parsed {
        Ok(Parsed::Failures(failures)) => {
            assert!(!failures.is_empty(), "{what}: no failures is not an answer");
            let mut keys: Vec<_> = failures.iter().map(|failure| &failure.key).collect();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), failures.len(), "{what}: one run, one failure");
            for failure in failures {
                assert_eq!(&failure.clone().sealed(), failure, "{what}: not sealed");
                assert!(!failure.message.is_empty() && !failure.asset.is_empty(), "{what}: {failure:?}");
                assert!(failure.key.as_str().len() <= 2000, "{what}: the key is too long");
            }
        }
        Ok(Parsed::NeedsRows(request)) => {
            assert!(!request.alert.id.is_empty(), "{what}: a request has an idempotency key");
            if let (Some(from), Some(to)) = (request.from, request.to) {
                assert!(from < to, "{what}: the window is empty");
            }
        }
        Ok(Parsed::Ignored(reason)) => assert!(!reason.is_empty() && reason.len() < 1500, "{what}: {reason}"),
        Err(malformed) => {
            assert!(["not_json", "wrong_type", "nothing_usable"].contains(&malformed.code), "{what}: {malformed:?}");
            assert!(!malformed.message.is_empty() && malformed.message.len() < 300, "{what}: {malformed:?}");
        }
    }
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
