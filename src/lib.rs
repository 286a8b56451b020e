//! **aiops-rca** finds the root cause of failed Azure data pipelines, keeps one JIRA issue and one Slack
//! message true while the story goes on, and heals what is safe to heal through Logic App playbooks. It is
//! one Azure Functions custom handler; its only infrastructure is a storage account.
//!
//! ```text
//! Azure Monitor ─┐
//! Databricks  ───┤ doors ─► queue ─► analyse ─► ticket ─► queue ─► deliver ─┬─ JIRA issue
//! Airflow     ───┘ (functions)  failures        (table)  deliveries         ├─ Slack message
//!                                                  ▲                        └─ Logic App playbook
//!     JIRA webhook, Slack buttons, callback, dashboard ── ticket events        │
//!                          timers: sweep, patrol ◄────── callback ───────────┘
//! ```
//!
//! **The one idea**: the ticket is the desired state; sinks are reconciled to it. Every change is one
//! compare-and-set on the ticket, followed by small messages "bring sink S of ticket T up to date". Order does
//! not matter, repeats do nothing, and a crash anywhere is healed by running it again.
//!
//! # The rooms
//!
//! Declared in the order in which data walks through them; a room imports only rooms above it (a test
//! enforces this). Reading order is data order is dependency order.
//!
//! # One failure, walked
//!
//! 1. An alert arrives at [`functions`] (`ingest.rs`), which knows the host's wire and nothing else.
//! 2. [`sources`] turns the vendor's JSON into [`failure::Failure`]s, redacted and capped.
//! 3. [`flow::accept`] claims each run (insert-if-absent on its [`failure::RunKey`]) and enqueues it; the
//!    sender has its ticket id now.
//! 4. The queue function calls [`flow::analyse`]: [`evidence`] asks the vendor, [`diagnosis`] finds the root
//!    cause with its proof, [`ticket::machine`] opens the ticket, [`remediation`] decides what may be done.
//! 5. [`flow::deliver`] reconciles each of the [`sinks`] with the ticket, recording after every step.
//! 6. Whatever people do in JIRA, Slack or on the [`dashboard`] comes back as an event through
//!    [`ticket::machine`], and step 5 runs again.
//!
//! Or nothing arrives: [`flow::patrol`] asks each platform every minute what ended. A failed run takes the same way from
//! step 3 on, under the same key; a good one closes the ticket of what failed before.
//!
//! # What is absent
//!
//! Nothing is "sent at a step". No state lives in memory. The core (failure, sources, the classifier, the ticket
//! machine, the remediation policy, everything that renders words) has no I/O, no clock and no environment; a
//! diagnosis may be undetermined, it is never an error.

// What people read or the store keeps is worded, not derived from the names of our types.
#![cfg_attr(not(test), warn(clippy::use_debug))]

// Pipes: they import nothing of ours except one another, upwards.
mod digest;
mod tolerant;
pub mod fault;
pub mod trace;
pub mod http;
pub mod identity;
pub mod redaction;
pub mod storage;
pub mod telemetry;

// Rooms, in walking order. Those of the closed sets (sources, sinks, doors) match them whole.
#[deny(clippy::wildcard_enum_match_arm)]
pub mod failure;
pub mod sources;
pub mod patrol;
pub mod evidence;
pub mod diagnosis;
pub mod model;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod ticket;
pub mod ownership;
pub mod silence;
pub mod incident;
pub mod remediation;
pub mod sinks;
pub mod flow;
pub mod dashboard;
#[deny(clippy::wildcard_enum_match_arm)]
pub mod functions;
#[cfg(feature = "local")]
pub mod local;
pub mod config;
pub mod commands;
