//! Which sinks refuse, over many tickets: how many wait, since when, and why. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Sink, Ticket};

/// Sinks that take nothing until somebody repairs something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockedSinks(pub BTreeMap<Sink, Waits>);

/// Tickets that wait for one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub tickets: u32,
    /// Since when the first of them waits.
    pub since: DateTime<Utc>,
    /// How often the one that was tried most was tried.
    pub tries: u32,
    /// Why, by the latest try.
    pub reason: String,
    at: DateTime<Utc>,
}

impl BlockedSinks {
    /// What this ticket waits for.
    pub fn add(&mut self, ticket: &Ticket) {
        for sink in Sink::showing().filter(|sink| ticket.lags(*sink)) {
            let (Some(blocked), Some(fault)) = (ticket.blocked(sink), ticket.fault(sink)) else {
                continue;
            };
            let waits = self.0.entry(sink).or_insert_with(|| Waits {
                tickets: 0,
                since: blocked.since,
                tries: 0,
                reason: fault.reason.clone(),
                at: fault.at,
            });
            waits.tickets = waits.tickets.saturating_add(1);
            waits.since = waits.since.min(blocked.since);
            waits.tries = waits.tries.max(blocked.tries);
            if fault.at > waits.at {
                waits.at = fault.at;
                waits.reason.clone_from(&fault.reason);
            }
        }
    }
}
