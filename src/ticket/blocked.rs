//! Which sinks refuse, over many tickets: how many wait, since when, and why. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Sink;
use super::store::StuckRows;

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
    /// Of all that is stopped, what waits for somebody.
    pub fn of(stuck: &StuckRows) -> Self {
        let mut blocked = Self::default();
        for (sink, _, stuck) in stuck.deliveries.iter().filter(|(.., row)| row.is_blocked()) {
            let waits = blocked.0.entry(*sink).or_insert_with(|| Waits {
                tickets: 0,
                since: stuck.since,
                tries: 0,
                reason: stuck.reason.clone(),
                at: stuck.at,
            });
            waits.tickets = waits.tickets.saturating_add(1);
            waits.since = waits.since.min(stuck.since);
            waits.tries = waits.tries.max(stuck.tries);
            if stuck.at > waits.at {
                waits.at = stuck.at;
                waits.reason.clone_from(&stuck.reason);
            }
        }
        blocked
    }
}
