//! **aiops-rca**: finds the root cause of failed Azure data pipelines.
//!
//! Rooms are declared in the order in which data walks through them; a room imports only rooms above it.

// Pipes: they import nothing of ours except one another, upwards.
pub mod fault;
pub mod http;
pub mod identity;
pub mod redaction;
pub mod storage;

// Rooms, in walking order.
pub mod failure;
pub mod sources;
pub mod evidence;
pub mod diagnosis;
pub mod ticket;
pub mod sinks;
pub mod commands;
