//! Any bytes at the doors of JIRA, Slack and the playbooks, and as a model's answer: the laws of tests/it/doors/lawful.rs hold.
//! A crash goes to tests/fixtures/crashes, where a test replays it.

#![no_main]

#[path = "../../it/doors/lawful.rs"]
mod lawful;

libfuzzer_sys::fuzz_target!(|body: &[u8]| lawful::assert_lawful(body));
