//! Any bytes at the airflow parser: the laws of tests/it/sources/lawful.rs hold.
//! Seeds: `cargo fuzz run airflow tests/fixtures/vendor`. A crash goes to tests/fixtures/crashes, where a test replays it.

#![no_main]

#[path = "../../it/sources/lawful.rs"]
mod lawful;

libfuzzer_sys::fuzz_target!(|body: &[u8]| lawful::assert_lawful("airflow", &aiops_rca::sources::airflow::parse(body)));
