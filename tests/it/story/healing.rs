//! Remediation end to end: never two runs for one attempt, never one where none is allowed, nothing left hanging.

mod directed;
mod facts;
mod hosted;
mod loud;
mod random;
mod vendors;
pub(super) mod rig;
