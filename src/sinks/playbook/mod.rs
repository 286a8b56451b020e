//! Playbooks: Logic Apps that act for us. Calling one, and reading what it calls back.
//!
//! In: a ticket and one of its attempts, already recorded as `Calling` (law L5). Out: a [`CallOutcome`]
//! that tells *accepted*, *refused*, *not sent* and *unknown* apart: only what was surely not sent may be
//! sent again. [`callback`] reads the body that comes back; [`Playbooks::verify_callback`] checks the
//! one-time token of its address. This room does not decide whether or when to act, does not ask the
//! vendor what became of a run, and does not change the ticket. A trigger's whole URL is a secret: it is
//! never logged, shown or put in a reason.

pub mod callback;
mod client;

pub use client::{
    CallOutcome, PlaybookSettings, Playbooks, SecretUrl, SecretUrlError, request_body,
};
