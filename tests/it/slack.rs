//! The Slack sink from outside: what people read, what goes over the wire, what comes back.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "in tests a panic is a finding"
)]

mod blocks;
mod deliveries;
mod doctor;
mod exactly_once;
mod interactions;
mod rig;
