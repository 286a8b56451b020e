//! The JIRA sink against a stateful JIRA: words, exactly once, faults, people's decisions, webhooks.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should stop"
)]

mod rig;
mod creating;
mod documents;
mod gateway;
mod keeping;
mod moving;
mod racing;
mod simulator;
mod webhook;
