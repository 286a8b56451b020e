//! The stand-in Functions host, driven from outside with a scripted handler (`tests/it/host/handler/scripted.rs`)
//! as its child. Numbers in comments are those of the list of behaviours a test double must have.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may")]

pub(crate) mod lawful;
mod support;

mod envelope;
mod files;
mod golden;
mod http;
mod process;
mod queues;
mod timers;
