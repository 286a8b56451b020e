//! Any text at the redaction: the laws of tests/it/redaction/lawful.rs hold.
//! Seeds: `cargo fuzz run redaction tests/fixtures/redaction`. A crash goes to tests/fixtures/crashes, where a test replays it.

#![no_main]

#[path = "../../it/redaction/lawful.rs"]
mod lawful;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lawful::assert_lawful(&String::from_utf8_lossy(bytes)));
