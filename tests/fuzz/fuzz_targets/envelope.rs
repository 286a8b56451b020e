//! Any bytes at the handler's envelope, and through the host's: the laws of tests/it/host/lawful.rs hold.
//! Seeds: `cargo fuzz run envelope tests/fixtures/vendor`. A crash goes to tests/fixtures/crashes, where a test replays it.

#![no_main]

#[path = "../../it/host/lawful.rs"]
mod lawful;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lawful::assert_lawful(bytes));
