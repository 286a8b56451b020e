//! Playbooks: calling them, reading their callbacks, and the shipped definitions run against fakes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on should stop"
)]

mod airflow;
mod callback;
mod client;
mod databricks;
mod definitions;
mod guide;
mod interpreter;
mod pipelines;
mod support;
mod rig;
