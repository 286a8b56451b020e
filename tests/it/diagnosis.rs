//! The diagnosis engine from outside: the catalog is whole, the guide's tables hold, the figures on the labelled
//! messages stay what they are, and the laws hold for any text.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

pub(crate) mod airflow;
mod command;
mod facts;
mod guide;
mod learned;
mod laws;
mod metrics;
mod proof;
mod signs;
mod watchers;

use aiops_rca::diagnosis::{Case, Catalog, Diagnosis, diagnose};
use aiops_rca::failure::Source;

/// A case without context.
fn case(source: Source, code: Option<&str>, message: &str) -> Case {
    Case::new(source, code, message)
}

/// Diagnoses a case without context.
fn of(source: Source, code: Option<&str>, message: &str) -> Diagnosis {
    diagnose(&case(source, code, message))
}

#[test]
fn the_catalog_is_whole() {
    let catalog = Catalog::get();
    assert_eq!(catalog.problems(), &[] as &[String]);
    assert!(
        catalog.phrases().len() > 2000,
        "{}",
        catalog.phrases().len()
    );
}
