//! Playbooks: calling them, reading their callbacks, and the shipped definitions run against fakes.

#![expect(clippy::unwrap_used, clippy::panic, clippy::string_slice, reason = "a test that cannot go on should stop")]

mod callback;
mod client;
mod definitions;
mod support;
