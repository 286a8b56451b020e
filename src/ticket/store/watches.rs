//! What the patrol remembers of each scope, and which tickets are about which unit.

use std::collections::BTreeSet;

use super::{INDEX, TicketStore, decode, encode};
use crate::digest::sha256;
use crate::fault::Fault;
use crate::patrol::{Unit, Watch};
use crate::storage::{ETag, Inserted, Swapped};
use crate::ticket::TicketId;

const PATROL: &str = "patrol";

/// A scope as it was read, to be written back.
#[derive(Debug, Clone)]
pub struct StoredWatch {
    /// What is remembered.
    pub watch: Watch,
    etag: Option<ETag>,
}

impl StoredWatch {
    /// Of a scope that was never asked.
    pub fn new(watch: Watch) -> Self {
        Self { watch, etag: None }
    }
}

impl TicketStore {
    /// Every scope that was asked so far.
    pub async fn watches(&self) -> Result<Vec<StoredWatch>, Fault> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .storage
                .scan(INDEX, PATROL, "", "", 200, after.as_ref())
                .await?;
            for entity in page.entities {
                // A row that another version wrote is begun again: its scope starts at now.
                let watch = decode("scope", &entity.document).unwrap_or_default();
                found.push(StoredWatch {
                    watch,
                    etag: Some(entity.etag),
                });
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Writes a scope back, unless another patrol did so meanwhile: then that one goes on, and this one stops.
    pub async fn put_watch(&self, stored: &mut StoredWatch) -> Result<(), Fault> {
        let other = || Fault::transient("another patrol looks after this scope right now");
        let row = sha256(format!("{}/{}", stored.watch.source, stored.watch.scope));
        let document = encode(&stored.watch)?;
        let etag = match &stored.etag {
            None => match self.storage.insert(INDEX, PATROL, &row, &document).await? {
                Inserted::Created(etag) => etag,
                Inserted::Exists => return Err(other()),
            },
            Some(etag) => match self
                .storage
                .swap(INDEX, PATROL, &row, etag, &document)
                .await?
            {
                Swapped::Done(etag) => etag,
                Swapped::Conflict => return Err(other()),
            },
        };
        stored.etag = Some(etag);
        Ok(())
    }

    /// Remembers that this ticket is about this unit: a good run of it may close the ticket.
    pub async fn note_unit(&self, unit: &Unit, id: &TicketId) -> Result<(), Fault> {
        let (partition, row) = place(unit, id);
        self.storage.upsert(INDEX, &partition, &row, "{}").await
    }

    /// The tickets of these units, closed ones included.
    pub async fn tickets_of_units(
        &self,
        wanted: &BTreeSet<String>,
    ) -> Result<Vec<(String, TicketId)>, Fault> {
        let shards: BTreeSet<String> = wanted.iter().map(|unit| shard(unit)).collect();
        let mut found = Vec::new();
        for shard in shards {
            let mut after = None;
            loop {
                let page = self
                    .storage
                    .scan(INDEX, &shard, "", "", 1000, after.as_ref())
                    .await?;
                found.extend(page.entities.iter().filter_map(|entity| {
                    let (unit, id) = entity.row.split_once(' ')?;
                    wanted.contains(unit).then_some(())?;
                    Some((unit.to_owned(), TicketId::parse(id)?))
                }));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// This ticket is over: no good run of the unit concerns it.
    pub async fn drop_unit(&self, unit: &str, id: &TicketId) -> Result<(), Fault> {
        let row = format!("{unit} {id}");
        self.storage
            .delete(INDEX, &shard(unit), &row, None)
            .await
            .map(drop)
    }
}

/// Sixteen partitions: none that every failure writes to, and few to look through in a tick.
fn shard(unit: &str) -> String {
    format!("unit-{}", unit.get(..1).unwrap_or("0"))
}

fn place(unit: &Unit, id: &TicketId) -> (String, String) {
    (shard(unit.key()), format!("{} {id}", unit.key()))
}
