//! What all processes have counted together: each adds what it has counted since it last did.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{INDEX, SWAP_TRIES, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::storage::{Inserted, Swapped};

const PARTITION: &str = "usage";
const ROW: &str = "counts";

/// Counters that only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Requests by function and HTTP status.
    pub requests: BTreeMap<String, BTreeMap<u16, Answered>>,
    /// Failures that came in, by source and what became of them.
    pub failures: BTreeMap<String, BTreeMap<String, u64>>,
    /// Tries with a wrong credential, by function.
    pub refused: BTreeMap<String, u64>,
}

/// Requests that were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// How many.
    pub count: u64,
    /// How long all of them took together, in microseconds.
    pub microseconds: u64,
}

impl Answered {
    /// One more.
    pub fn one(&mut self, took: Duration) {
        self.count += 1;
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds = self.microseconds.saturating_add(took);
    }
}

impl Counts {
    /// Is nothing counted?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (door, statuses) in &other.requests {
            let all = self.requests.entry(door.clone()).or_default();
            for (status, more) in statuses {
                let answered = all.entry(*status).or_default();
                answered.count += more.count;
                answered.microseconds = answered.microseconds.saturating_add(more.microseconds);
            }
        }
        for (source, ends) in &other.failures {
            let all = self.failures.entry(source.clone()).or_default();
            for (end, more) in ends {
                *all.entry(end.clone()).or_default() += more;
            }
        }
        for (door, more) in &other.refused {
            *self.refused.entry(door.clone()).or_default() += more;
        }
    }
}

impl TicketStore {
    /// What all processes have added.
    pub async fn counts(&self) -> Result<Counts, Fault> {
        let entity = self.storage.get(INDEX, PARTITION, ROW).await?;
        entity.map_or_else(
            || Ok(Counts::default()),
            |entity| decode("counters", &entity.document),
        )
    }

    /// Adds what a process has counted.
    pub async fn add_counts(&self, more: &Counts) -> Result<(), Fault> {
        for _ in 0..SWAP_TRIES {
            let entity = self.storage.get(INDEX, PARTITION, ROW).await?;
            let mut all: Counts = entity.as_ref().map_or_else(
                || Ok(Counts::default()),
                |entity| decode("counters", &entity.document),
            )?;
            all.add(more);
            let document = encode(&all)?;
            let storage = &self.storage;
            let is_added = match entity {
                None => {
                    let inserted = storage.insert(INDEX, PARTITION, ROW, &document).await?;
                    matches!(inserted, Inserted::Created(_))
                }
                Some(entity) => {
                    let etag = &entity.etag;
                    let swapped = storage.swap(INDEX, PARTITION, ROW, etag, &document).await?;
                    matches!(swapped, Swapped::Done(_))
                }
            };
            if is_added {
                return Ok(());
            }
        }
        Err(Fault::transient("the counters change too often right now"))
    }
}
