//! What is due when: one row for each time at which something has to be looked at, in time order over a few shards.
//!
//! A row says that there may be something to do, never that there is: the ticket is the truth. Whoever looks moves the
//! row on, so that each open ticket has one at all times, at or before the time it gives ([`Ticket::next_look`]).

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{INDEX, SHARDS, TicketStore, decode, encode, shard_of, shard_partition, waiting_row};
use crate::fault::Fault;
use crate::storage::{Entity, Inserted, Swapped, Write};
use crate::ticket::machine::Change;
use crate::ticket::{Ticket, TicketId};

const DUE: &str = "due:";
/// Before a ticket's id: not the ticket is looked at, but its followers.
const GATHER: &str = "gather-";
/// Right behind all of them.
const BEHIND: &str = "due;";
/// The sweep of another process may be ahead of our clock by this much.
const SKEW: TimeDelta = TimeDelta::seconds(20);

/// Something that has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DueRow {
    /// A ticket's id, the name of an alert (`rows-…`), a leader (`gather-…`), or a silence (`silence-…`).
    pub name: String,
    row: String,
    waits: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Due {
    /// It was written together with what waits to be analysed, which goes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    waits: bool,
}

pub(super) fn due_row(at: DateTime<Utc>, name: &str) -> String {
    format!("{DUE}{:014}:{name}", at.timestamp_millis().max(0))
}

/// The document of a row that is written together with what waits.
pub(super) const WITH_WAITING: &str = r#"{"waits":true}"#;

impl DueRow {
    /// The leader whose followers have changed, if the row is about them.
    pub fn leader(&self) -> Option<TicketId> {
        TicketId::parse(self.name.strip_prefix(GATHER)?)
    }

    fn read(entity: Entity) -> Result<Self, Fault> {
        let name = entity.row.splitn(3, ':').nth(2).unwrap_or_default();
        let name = name.to_owned();
        let due: Due = decode("due row", &entity.document)?;
        let (row, waits) = (entity.row, due.waits);
        Ok(Self { name, row, waits })
    }
}

impl TicketStore {
    /// Has this looked at, at that time or soon after.
    pub async fn look_at(&self, name: &str, at: DateTime<Utc>) -> Result<(), Fault> {
        let row = due_row(at, name);
        let document = encode(&Due::default())?;
        self.storage
            .upsert(INDEX, &shard_partition(name), &row, &document)
            .await
    }

    /// Has a leader's followers looked at at that time; `false`: that is so already.
    pub async fn gather_at(&self, leader: &TicketId, at: DateTime<Utc>) -> Result<bool, Fault> {
        let name = format!("{GATHER}{leader}");
        let (partition, row) = (shard_partition(&name), due_row(at, &name));
        let document = encode(&Due::default())?;
        let inserted = self
            .storage
            .insert(INDEX, &partition, &row, &document)
            .await?;
        Ok(matches!(inserted, Inserted::Created(_)))
    }

    /// What is due by now, at most `limit` rows of each shard; and whether there are more. One request for each shard.
    pub async fn due(&self, now: DateTime<Utc>, limit: u32) -> Result<(Vec<DueRow>, bool), Fault> {
        let to = format!("{DUE}{:014};", now.timestamp_millis());
        let shards = (0..SHARDS).map(|shard| (shard_of(shard), to.as_str()));
        let scans = shards.map(|(shard, to)| async move {
            self.storage.scan(INDEX, &shard, DUE, to, limit, None).await
        });
        let (mut rows, mut more) = (Vec::new(), false);
        for page in try_join_all(scans).await? {
            more |= page.next.is_some();
            for entity in page.entities {
                rows.push(DueRow::read(entity)?);
            }
        }
        rows.sort_by(|a, b| a.row.cmp(&b.row));
        Ok((rows, more))
    }

    /// Moves a row on to the time of the next look; `None`: there will be none. What waited with it goes.
    pub async fn move_on(
        &self,
        due: &DueRow,
        next: Option<DateTime<Utc>>,
        keep_waiting: bool,
    ) -> Result<(), Fault> {
        let partition = shard_partition(&due.name);
        let next = next.map(|at| due_row(at, &due.name));
        if next.as_ref() == Some(&due.row) {
            return Ok(());
        }
        let waiting = waiting_row(&due.name);
        let document = encode(&Due {
            waits: due.waits && keep_waiting,
        })?;
        let mut writes = vec![Write::Delete(&due.row)];
        if let Some(next) = &next {
            writes.insert(0, Write::Upsert(next, &document));
        }
        if due.waits && !keep_waiting {
            writes.push(Write::Delete(&waiting));
        }
        if self.storage.commit(INDEX, &partition, &writes).await? != Swapped::Conflict {
            return Ok(());
        }
        // Another sweep was here, or nothing waits any more.
        if let Some(next) = &next {
            self.storage
                .upsert(INDEX, &partition, next, &document)
                .await?;
        }
        for gone in [&due.row, &waiting] {
            if *gone == due.row || !keep_waiting {
                self.storage.delete(INDEX, &partition, gone, None).await?;
            }
        }
        Ok(())
    }

    /// Hands on the name of everything that will be looked at, some of them more than once.
    pub async fn each_open(&self, mut each: impl FnMut(String) + Send) -> Result<(), Fault> {
        for shard in 0..SHARDS {
            let mut after = None;
            loop {
                let page = self
                    .storage
                    .scan(INDEX, &shard_of(shard), DUE, BEHIND, 1000, after.as_ref())
                    .await?;
                for entity in page.entities {
                    each(DueRow::read(entity)?.name);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The tickets that will be looked at, each once.
    pub async fn open_tickets(&self) -> Result<Vec<TicketId>, Fault> {
        let mut names = std::collections::BTreeSet::new();
        self.each_open(|name| {
            names.insert(name);
        })
        .await?;
        Ok(names
            .iter()
            .filter_map(|name| TicketId::parse(name))
            .collect())
    }

    /// Before a change is stored: makes sure that the ticket is looked at in time. Most changes find a row that comes
    /// early enough.
    pub(super) async fn have_looked_at(&self, change: &mut Change) -> Result<(), Fault> {
        let now = change.at;
        let Some(due) = change.ticket.next_look(now) else {
            return Ok(());
        };
        let due = due.max(now);
        let kept = change.ticket.books.next_look;
        if kept.is_some_and(|at| at > now + SKEW && at <= due) {
            return Ok(());
        }
        self.look_at(change.ticket.id.as_str(), due).await?;
        change.ticket.books.next_look = Some(due);
        Ok(())
    }
}

impl Ticket {
    /// The row that was written with the failure it was made of comes no later than this.
    pub fn looked_at_by(&mut self, at: DateTime<Utc>) {
        self.books.next_look = Some(at);
    }
}
