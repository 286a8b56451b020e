//! What tickets are compared by.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::links::Links;
use super::things::{self, Thing, Things};
use crate::diagnosis::Category;
use crate::digest::sha256;
use crate::ticket::Ticket;

/// What tells whether two tickets are of one incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// Digest of platform, kind, scope and name.
    pub asset: String,
    /// Digest of the platform and its scope.
    pub scope: String,
    /// What went wrong: the cause's name, or what keeps failing where it has none.
    pub cause: String,
    /// What keeps failing.
    pub fingerprint: String,
    /// The run, where units of one run may fail apart.
    pub run: Option<String>,
    /// The things that the error names and that last longer than a run.
    pub things: BTreeSet<Thing>,
    /// The thing that a storm would be about.
    pub thing: Option<Thing>,
    /// The runs that it is, and that it names.
    pub links: Links,
}

impl Traits {
    /// Of this ticket.
    pub fn of(ticket: &Ticket) -> Self {
        let (failure, diagnosis) = (&ticket.failure, &ticket.diagnosis);
        let scope = failure.scope().unwrap_or_default().to_lowercase();
        let Things { lasting, storm } = things::of(ticket);
        let cause = match diagnosis.category {
            Category::Undetermined => diagnosis.fingerprint.clone(),
            _ => diagnosis.error_type.clone(),
        };
        Self {
            asset: failure.asset_id().key(),
            scope: sha256(format!("{}\0{scope}", failure.source.name())),
            cause,
            fingerprint: diagnosis.fingerprint.clone(),
            run: failure.run_id.clone(),
            things: lasting,
            thing: storm,
            links: Links::of(ticket),
        }
    }

    /// The same cause of the same asset, about the same things?
    pub fn is_same_failure(&self, other: &Self) -> bool {
        self.asset == other.asset
            && self.fingerprint == other.fingerprint
            && self.things == other.things
    }

    /// Units of one run?
    pub fn is_same_run(&self, other: &Self) -> bool {
        self.run.is_some() && self.run == other.run && self.scope == other.scope
    }

    /// The same cause and the same thing, on another asset of the scope?
    pub fn is_same_storm(&self, other: &Self) -> bool {
        self.thing.is_some()
            && self.thing == other.thing
            && self.cause == other.cause
            && self.scope == other.scope
            && self.asset != other.asset
    }

    /// Of one key are the failures that may be repeats of each other.
    pub fn repeat_key(&self) -> String {
        let things: Vec<String> = self
            .things
            .iter()
            .map(|Thing(kind, name)| format!("{kind}={name}"))
            .collect();
        sha256(format!(
            "{}\0{}\0{}",
            self.asset,
            self.fingerprint,
            things.join("\0")
        ))
    }

    /// Of one key are the failures that may be one storm.
    pub fn storm_key(&self) -> Option<String> {
        let Thing(kind, name) = self.thing.as_ref()?;
        Some(sha256(format!(
            "{}\0{}\0{kind}={name}",
            self.scope, self.cause
        )))
    }

    /// What failures of one cause and scope have in common.
    pub fn cause_key(&self) -> String {
        sha256(format!("{}\0{}", self.scope, self.cause))
    }
}
