//! Where tickets, claims, indexes, audit and evidence are kept.
//!
//! In: tickets and small index rows. Out: the same, by point reads. The ticket is the truth; index rows
//! are hints, and stale ones are skipped and cleaned. Every change of a ticket is one compare-and-set
//! ([`TicketStore::update`]), retried on conflict. The room knows tables and keys, not what is decided.
//!
//! | table | partition | row | holds |
//! |---|---|---|---|
//! | tickets | day of the id | ticket id | the ticket |
//! | index | `claim-xx` | SHA-256 of the run key | the ticket id of that run |
//! | index | `active` | ticket id, or `rows-…` | what waits to be analysed, or `{}` for a ticket that is not settled |
//! | index | `run-xx` | SHA-256 of a DAG run | which of its tasks were reported |
//! | index | `spent-xx` | SHA-256 of asset and run | the attempts that were spent on it |
//! | index | `jira` | issue key | ticket id |
//! | index | `remrun` | SHA-256 of the run key | the ticket a remediation run belongs to |
//! | index | `asset` | SHA-256 of the asset | the attempt that runs on it |
//! | index | `fp-xx` | fingerprint and asset, ticket id | what became of healing it |
//! | index | `worded` | cache key of the model | what the model said about such a failure |
//! | index | `cursor` | name of a walk, `probe` | where it goes on; when the store could be written last |
//! | index | `outage` | sink | its vendor does not answer: since when; or that it does again |
//! | index | `patrol` | SHA-256 of a scope | what the patrol remembers of it |
//! | index | `unit-x` | unit and ticket id | which tickets a good run of the unit may close |
//! | audit | ticket id | counter | what happened |
//! | evidence | ticket id | `e0`, `e1` … | proofs |
//! | deadletters | `dead` | time and id | messages nobody could handle |

mod dead_letters;
mod budget;
mod index;
mod locks;
mod outages;
mod runs;
mod waiting;
mod watches;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::machine::{Change, Refusal};
use super::{AuditEntry, Ticket, TicketId};
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::storage::{ETag, Inserted, Storage, Swapped, UNREADABLE};

pub use dead_letters::DeadLetter;
pub use index::PastRemediation;
pub use locks::AssetLock;
pub use outages::Outage;
pub use waiting::{ActiveRow, Claim, Waiting};
pub use watches::StoredWatch;

/// All tables, by bare name.
pub const TABLES: [&str; 5] = [TICKETS, INDEX, AUDIT, EVIDENCE, DEADLETTERS];

const TICKETS: &str = "tickets";
const INDEX: &str = "index";
const AUDIT: &str = "audit";
const EVIDENCE: &str = "evidence";
const DEADLETTERS: &str = "deadletters";

const CURSOR: &str = "cursor";
/// In the same partition: when the store could be written last.
const PROBE: &str = "probe";

/// How often a compare-and-set is tried again before the store is called too busy.
const SWAP_TRIES: u32 = 20;

/// The last days, newest first, as the store names them. One day ahead: a sender's midnight and ours may differ by a little.
pub fn last_days(now: DateTime<Utc>, days: u32) -> impl Iterator<Item = String> {
    (-1..i64::from(days)).map(move |back| {
        let day = now - chrono::Duration::days(back);
        day.format("%Y%m%d").to_string()
    })
}

/// The newest of many tickets, without keeping all of them in memory.
#[derive(Debug)]
pub struct Newest {
    limit: usize,
    before: Option<(DateTime<Utc>, TicketId)>,
    kept: Vec<Ticket>,
    cut: bool,
}

impl Newest {
    /// At most `limit` of them, all older than `before`.
    pub fn new(limit: usize, before: Option<&Ticket>) -> Self {
        Self {
            limit,
            before: before.map(|ticket| (ticket.received_at, ticket.id.clone())),
            kept: Vec::new(),
            cut: false,
        }
    }

    /// One more.
    pub fn offer(&mut self, ticket: Ticket) {
        let place = (ticket.received_at, &ticket.id);
        let newer = |(at, id): &(DateTime<Utc>, TicketId)| place >= (*at, id);
        if self.before.as_ref().is_some_and(newer) {
            return;
        }
        self.kept.push(ticket);
        if self.kept.len() >= self.limit.saturating_add(500) {
            self.keep_newest();
        }
    }

    /// Are there enough of them, and more?
    pub fn is_full(&self) -> bool {
        self.cut || self.kept.len() > self.limit
    }

    /// The newest first, and whether there are more.
    pub fn finish(mut self) -> (Vec<Ticket>, bool) {
        self.keep_newest();
        (self.kept, self.cut)
    }

    fn keep_newest(&mut self) {
        self.kept.sort_by(|a, b| {
            b.received_at
                .cmp(&a.received_at)
                .then_with(|| b.id.cmp(&a.id))
        });
        self.cut |= self.kept.len() > self.limit;
        self.kept.truncate(self.limit);
    }
}

/// Reads and writes everything about tickets.
#[derive(Debug, Clone)]
pub struct TicketStore {
    storage: Storage,
}

/// A ticket that is about to be changed, as it was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The ticket.
    pub ticket: Ticket,
    etag: ETag,
}

/// Why an update did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// There is no such ticket.
    #[error("there is no such ticket")]
    Missing,
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Fault),
}

impl UpdateError {
    /// A refusal is no fault: the event came too late, or twice. Nor is a ticket that is gone.
    pub fn unless_refused<T>(outcome: Result<T, Self>) -> Result<Option<T>, Fault> {
        match outcome {
            Ok(changed) => Ok(Some(changed)),
            Err(Self::Refused(_) | Self::Missing) => Ok(None),
            Err(Self::Store(fault)) => Err(fault),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value)
        .map_err(|_| Fault::permanent("a document could not be written as JSON"))
}

fn decode<T: DeserializeOwned>(what: &str, document: &str) -> Result<T, Fault> {
    serde_json::from_str(document).map_err(|error| {
        Fault::permanent(format!(
            "{UNREADABLE}{what} cannot be read: line {}",
            error.line()
        ))
    })
}

impl TicketStore {
    /// Over this storage.
    pub fn new(storage: Storage) -> Self {
        Self { storage }
    }

    /// The storage below, for queues.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Writes down that the store could be written now; the sweep does so every minute.
    pub async fn probe(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, CURSOR, PROBE, &encode(&now)?)
            .await
    }

    /// When the store could be written last; `None` before the first time. One point read.
    pub async fn probed(&self) -> Result<Option<DateTime<Utc>>, Fault> {
        match self.storage.get(INDEX, CURSOR, PROBE).await? {
            Some(entity) => Ok(Some(decode("probe", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Point read.
    pub async fn load(&self, id: &TicketId) -> Result<Option<Ticket>, Fault> {
        Ok(self.load_versioned(id).await?.map(|(ticket, _)| ticket))
    }

    async fn load_versioned(&self, id: &TicketId) -> Result<Option<(Ticket, ETag)>, Fault> {
        match self.storage.get(TICKETS, id.day(), id.as_str()).await? {
            Some(entity) => Ok(Some((decode("ticket", &entity.document)?, entity.etag))),
            None => Ok(None),
        }
    }

    /// Loads a ticket that is about to be changed.
    pub async fn load_to_change(&self, id: &TicketId) -> Result<Loaded, UpdateError> {
        let (ticket, etag) = self.load_versioned(id).await?.ok_or(UpdateError::Missing)?;
        Ok(Loaded { ticket, etag })
    }

    /// Does the ticket exist?
    pub async fn exists(&self, id: &TicketId) -> Result<bool, Fault> {
        Ok(self
            .storage
            .get(TICKETS, id.day(), id.as_str())
            .await?
            .is_some())
    }

    /// Inserts a new ticket; `false` when it is there already.
    pub async fn insert(&self, ticket: &Ticket) -> Result<bool, Fault> {
        let outcome = self
            .storage
            .insert(
                TICKETS,
                ticket.id.day(),
                ticket.id.as_str(),
                &encode(ticket)?,
            )
            .await?;
        Ok(matches!(outcome, Inserted::Created(_)))
    }

    /// Changes a ticket by compare-and-set; `change` is called again with the fresh ticket on conflict.
    pub async fn update(
        &self,
        id: &TicketId,
        change: impl FnMut(&Ticket) -> Result<Change, Refusal>,
    ) -> Result<Change, UpdateError> {
        self.update_loaded(self.load_to_change(id).await?, change)
            .await
    }

    /// [`update`](Self::update) of a ticket that was loaded already.
    pub async fn update_loaded(
        &self,
        mut loaded: Loaded,
        mut change: impl FnMut(&Ticket) -> Result<Change, Refusal>,
    ) -> Result<Change, UpdateError> {
        for round in 0..SWAP_TRIES {
            let Loaded { ticket, etag } = &loaded;
            let (changed, id) = (change(ticket)?, &ticket.id);
            self.flush_audit(ticket).await?;
            let document = encode(&changed.ticket)?;
            match self
                .storage
                .swap(TICKETS, id.day(), id.as_str(), etag, &document)
                .await?
            {
                Swapped::Done(_) => return Ok(changed),
                Swapped::Conflict => {
                    let pause = u64::from(round) * 5 + fastrand::u64(0..10);
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                    loaded = self.load_to_change(id).await?;
                }
            }
        }
        Err(Fault::transient("the ticket changes too often right now").into())
    }

    /// Writes the audit entries the ticket still carries; writing them twice is harmless.
    async fn flush_audit(&self, ticket: &Ticket) -> Result<(), Fault> {
        for (number, entry) in (ticket.books.audited..).zip(&ticket.books.audit) {
            self.storage
                .upsert(
                    AUDIT,
                    ticket.id.as_str(),
                    &format!("{number:08}"),
                    &encode(entry)?,
                )
                .await?;
        }
        Ok(())
    }

    /// The whole history, oldest first.
    pub async fn audit(&self, ticket: &Ticket) -> Result<Vec<AuditEntry>, Fault> {
        let end = format!("{:08}", ticket.books.audited);
        let mut entries = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .storage
                .scan(AUDIT, ticket.id.as_str(), "", &end, 500, after.as_ref())
                .await?;
            for entity in &page.entities {
                entries.push(decode("audit entry", &entity.document)?);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        entries.extend(ticket.books.audit.iter().cloned());
        Ok(entries)
    }

    /// Hands on every ticket of one day (`20251212`), in no order.
    pub async fn each_of_day(
        &self,
        day: &str,
        mut each: impl FnMut(Ticket) + Send,
    ) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = self
                .storage
                .scan(TICKETS, day, "", "", 500, after.as_ref())
                .await?;
            for entity in &page.entities {
                match decode("ticket", &entity.document) {
                    Ok(ticket) => each(ticket),
                    Err(fault) => {
                        tracing::error!(ticket.id = %entity.row, fault = fault.reason(), "a stored ticket cannot be read");
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Tickets of the last `days` days, newest first, at most `limit`.
    pub async fn recent(
        &self,
        now: DateTime<Utc>,
        days: u32,
        limit: usize,
    ) -> Result<Vec<Ticket>, Fault> {
        let mut newest = Newest::new(limit, None);
        for day in last_days(now, days) {
            self.each_of_day(&day, |ticket| newest.offer(ticket))
                .await?;
            if newest.is_full() {
                break;
            }
        }
        Ok(newest.finish().0)
    }

    // ── evidence ────────────────────────────────────────────────────────────────────────────────

    /// Stores proofs; storing them again is harmless.
    pub async fn put_evidence(&self, id: &TicketId, evidence: &[Evidence]) -> Result<(), Fault> {
        for piece in evidence {
            self.storage
                .upsert(EVIDENCE, id.as_str(), &piece.id, &encode(piece)?)
                .await?;
        }
        Ok(())
    }

    /// All proofs of a ticket, in order of their ids.
    pub async fn evidence(&self, id: &TicketId) -> Result<Vec<Evidence>, Fault> {
        let page = self
            .storage
            .scan(EVIDENCE, id.as_str(), "", "", 100, None)
            .await?;
        page.entities
            .iter()
            .map(|entity| decode("evidence", &entity.document))
            .collect()
    }
}
