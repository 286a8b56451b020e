//! Any bytes at the azure_monitor parser: the laws of tests/it/sources/lawful.rs hold.
//! Seeds: `cargo fuzz run azure_monitor tests/fixtures/vendor`. A crash goes to tests/fixtures/crashes, where a test replays it.

#![no_main]

#[path = "../../it/sources/lawful.rs"]
mod lawful;

libfuzzer_sys::fuzz_target!(|body: &[u8]| lawful::assert_lawful("azure_monitor", &aiops_rca::sources::azure_monitor::parse(body)));
