//! The Teams sink from outside: what people read, what goes over the wire, what comes back.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in tests a panic is a finding"
)]

mod bot;
pub(crate) mod cards;
mod door;
mod owners;
mod rig;
mod workflow;
