//! Where tickets, claims, indexes, audit and evidence are kept.
//!
//! In: tickets and small index rows. Out: the same, by point reads and short ranges. The ticket is the truth; index rows
//! are hints, and stale ones are skipped and cleaned. Every change of a ticket is one compare-and-set
//! ([`TicketStore::change`]), retried on conflict. The room knows tables and keys, not what is decided.
//!
//! What a failure costs is a matter of what lies side by side: rows of one partition are read at once and written in one
//! transaction. What every failure writes to is spread over four shards (`0` to `3`), by the last digit of a ticket's id,
//! which is that of its run's hash.
//!
//! | table | partition | row | holds | written | read |
//! |---|---|---|---|---|---|
//! | tickets | day and shard | `t:` id | the ticket | with each change | with each change, by its page |
//! | tickets | day and shard | `l:` time backwards, id | what a list shows of it | with each change that a list shows | by lists, newest first |
//! | tickets | day and shard | `a:` id, counter | what happened | with the change after it | by its page |
//! | tickets | day and shard | `e:` id, number | proofs | with the ticket | by its page |
//! | index | `shard-n` | run hash, `1` | which tasks of a DAG run were reported | with the first report of each | with each report |
//! | index | `shard-n` | run hash, `2`, key hash | the ticket that a remediation run belongs to | by each attempt | with each report |
//! | index | `shard-n` | run hash, `3`, key hash | whose run it is (the claim) | once | with each report |
//! | index | `shard-n` | `wait:` id | a failure that waits for its analysis, an alert without rows | with the claim | by the analysis |
//! | index | `shard-n` | `due:` time, id | what has to be looked at then | with the claim, seldom after it | by each sweep, up to now |
//! | index | `spent-xx` | SHA-256 of asset and run | the attempts that were spent on it | by each attempt | by each attempt |
//! | index | `jira-xx` | issue number or key | ticket id | once | by webhooks |
//! | index | `asset` | SHA-256 of the asset | the attempt that runs on it | by each attempt | by each analysis |
//! | index | `fp-xx` | fingerprint and asset, ticket id | what became of healing it; behind `o:`, how the ticket ended | by the last attempt; when it is closed | by each analysis |
//! | index | `worded` | cache key of the model | what the model said about such a failure | by each new answer | by each analysis, if it is on |
//! | index | `stuck` | sink, ticket id | a delivery that a fault has stopped | at its begin and end | by each sweep |
//! | index | `counted` | day | counts of its tickets, if it has very many | now and then by a sweep | by the overview |
//! | index | `cursor` | `probe`, `layout` | when the store could be written last; whether it holds rows of older versions | by each sweep | by health checks; once for each process |
//! | index | `cursor` | `retention` | which day's tickets may go next | now and then by a sweep | by the same |
//! | index | `outage` | sink | its vendor does not answer: since when; or that it does again | at its begin and end | by each sweep |
//! | index | `lines` | sink, process | messages wait in line there: since when, how long its vendor wants silence | every five seconds while they do | by the same |
//! | index | `patrol` | SHA-256 of a scope | what the patrol remembers of it | by each round | by each round |
//! | index | `unit-x` | unit and ticket id | which tickets a good run of the unit may close | by the analysis | by each good run |
//! | index | `fold-xxx` | `r:` asset, cause and things; `s:` cause and thing | whose incident such a failure is; the first of a storm | with the first of each | by each analysis |
//! | index | `link-xx` | SHA-256 of a run's id | the ticket that is about the run or names it; who took over from a leader | once | by analyses that name runs |
//! | index | `silence` | silence id | which failures are expected, and until when | when it is set, ended, summed up | by analyses, at most every 20 seconds |
//! | index | `untold-` silence id | ticket id | a failure that it kept from people | with each | when it is summed up |
//! | index | `members-` ticket id | ticket id | a follower, as its leader lists it | with each change of it | when the leader is brought up to date |
//! | deadletters | `dead` | time and id | messages nobody could handle | by the poison queues | by pages |
//!
//! What versions before kept elsewhere: see `before`.

mod before;
mod budget;
mod claims;
pub mod counts;
mod dead_letters;
mod due;
mod incidents;
mod index;
mod lines;
mod list;
mod locks;
mod outages;
mod places;
mod retention;
mod rollup;
mod runs;
mod silences;
mod stuck;
mod waiting;
mod watches;

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::machine::{Change, Refusal};
use super::{AuditEntry, Ticket, TicketId};
use crate::evidence::Evidence;
use crate::fault::Fault;
use crate::storage::{ETag, Storage, Swapped, UNREADABLE, WRITES_CAP, Write};

pub use claims::{Claim, NewClaim, RunRows};
pub use dead_letters::DeadLetter;
pub use due::DueRow;
pub use incidents::{Kept, NewRow};
pub use index::PastRemediation;
pub use lines::Line;
pub use list::Listed;
pub use locks::AssetLock;
pub use outages::Outage;
pub use places::Place;
pub use retention::Retained;
pub use stuck::{Stuck, StuckRows};
pub use waiting::Waiting;
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

/// Bytes of proofs in one transaction: written as ASCII they may be three times as long, and 4 MiB is the most.
const EVIDENCE_AT_ONCE: usize = 512 * 1024;

/// How often a compare-and-set is tried again before the store is called too busy.
const SWAP_TRIES: u32 = 20;

/// Over how many partitions each day's rows are spread: each takes 2,000 writes a second.
const SHARDS: u32 = 4;

/// The last digit of a ticket's id, or of a hash.
fn last_digit(name: &str) -> u32 {
    name.chars()
        .next_back()
        .and_then(|digit| digit.to_digit(16))
        .unwrap_or_default()
}

fn shard_of(shard: u32) -> String {
    format!("shard-{shard}")
}

/// The day of a ticket's rows, as the store names it.
pub fn day_name(day: NaiveDate) -> String {
    day.format("%Y%m%d").to_string()
}

/// One of 256 partitions of its kind, for rows that every failure writes.
fn spread(kind: &str, hash: &str) -> String {
    format!("{kind}-{}", hash.get(..2).unwrap_or("00"))
}

/// The partition of index rows of this name: of a ticket, an alert or a run.
fn shard_partition(name: &str) -> String {
    shard_of(last_digit(name) % SHARDS)
}

/// The partition of a ticket's rows.
fn home(id: &TicketId) -> String {
    format!("{}-{}", id.day(), last_digit(id.as_str()) % SHARDS)
}

/// Where what waits under this name lies, in the shard of the name.
fn waiting_row(name: &str) -> String {
    format!("wait:{name}")
}

fn ticket_row(id: &TicketId) -> String {
    format!("t:{id}")
}

fn audit_row(id: &TicketId, number: u32) -> String {
    format!("a:{id}:{number:08}")
}

/// Reads and writes everything about tickets.
#[derive(Debug, Clone)]
pub struct TicketStore {
    storage: Storage,
    /// Does the store hold rows of an older version? Is that written down?
    old_rows: Arc<OnceCell<bool>>,
    noted: Arc<OnceCell<()>>,
    seen: claims::SeenRuns,
    /// Tells this process from others that use the store.
    process: Arc<str>,
    silences: silences::Known,
}

/// A ticket as it was loaded, to be changed.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The ticket.
    pub ticket: Ticket,
    etag: ETag,
    /// Was it written by a version before the shards?
    old: bool,
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
        Self {
            storage,
            old_rows: Arc::default(),
            noted: Arc::default(),
            seen: claims::SeenRuns::default(),
            process: format!("{:016x}", fastrand::u64(..)).into(),
            silences: silences::Known::default(),
        }
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
        Ok(self.find(id).await?.map(|loaded| loaded.ticket))
    }

    /// Reads a ticket that may be changed.
    pub async fn find(&self, id: &TicketId) -> Result<Option<Loaded>, Fault> {
        let row = ticket_row(id);
        if let Some(entity) = self.storage.get(TICKETS, &home(id), &row).await? {
            return Ok(Some(Loaded {
                ticket: decode("ticket", &entity.document)?,
                etag: entity.etag,
                old: false,
            }));
        }
        if !self.has_old_rows().await? {
            return Ok(None);
        }
        match self.storage.get(TICKETS, id.day(), id.as_str()).await? {
            Some(entity) => Ok(Some(Loaded {
                ticket: decode("ticket", &entity.document)?,
                etag: entity.etag,
                old: true,
            })),
            None => Ok(None),
        }
    }

    /// Loads a ticket that is about to be changed.
    pub async fn load_to_change(&self, id: &TicketId) -> Result<Loaded, UpdateError> {
        self.find(id).await?.ok_or(UpdateError::Missing)
    }

    /// Inserts a new ticket with its proofs; `false` when it is there already.
    pub async fn open(&self, opened: &mut Change, evidence: &[Evidence]) -> Result<bool, Fault> {
        self.have_looked_at(opened).await?;
        let ticket = &opened.ticket;
        let rest = self
            .put_evidence_but_for_the_last(&ticket.id, evidence)
            .await?;
        let (row, document) = (ticket_row(&ticket.id), encode(ticket)?);
        let listed = Listed::of(ticket);
        let (list_row, summary) = (list::row(&ticket.id), encode(&listed)?);
        let mut writes = vec![
            Write::Insert(&row, &document),
            Write::Upsert(&list_row, &summary),
        ];
        writes.extend(rest.iter().map(|(row, proof)| Write::Upsert(row, proof)));
        let home = home(&ticket.id);
        let outcome = self.storage.commit(TICKETS, &home, &writes).await?;
        Ok(outcome != Swapped::Conflict)
    }

    /// Changes a ticket by compare-and-set; `change` is called again with the fresh ticket on conflict.
    pub async fn update(
        &self,
        id: &TicketId,
        change: impl FnMut(&Ticket) -> Result<Change, Refusal>,
    ) -> Result<Change, UpdateError> {
        let mut loaded = self.load_to_change(id).await?;
        self.change(&mut loaded, change).await
    }

    /// [`update`](Self::update) of a ticket that was loaded already, and is then what it was changed to.
    pub async fn change(
        &self,
        loaded: &mut Loaded,
        mut change: impl FnMut(&Ticket) -> Result<Change, Refusal>,
    ) -> Result<Change, UpdateError> {
        for round in 0..SWAP_TRIES {
            let mut changed = change(&loaded.ticket)?;
            self.have_looked_at(&mut changed).await?;
            match self.swap(loaded, &changed).await? {
                Swapped::Done(etag) => {
                    loaded.etag = etag;
                    loaded.ticket = changed.ticket.clone();
                    return Ok(changed);
                }
                Swapped::Conflict => {
                    let pause = u64::from(round) * 5 + fastrand::u64(0..10);
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                    *loaded = self.load_to_change(&loaded.ticket.id).await?;
                }
            }
        }
        Err(Fault::transient("the ticket changes too often right now").into())
    }

    /// The ticket, what a list shows of it, and the audit entries that it carried until now.
    async fn swap(&self, loaded: &Loaded, changed: &Change) -> Result<Swapped, Fault> {
        let (before, ticket) = (&loaded.ticket, &changed.ticket);
        let id = &ticket.id;
        let document = encode(ticket)?;
        let audit = self.flush_audit(before).await?;
        let listed = Some(Listed::of(ticket)).filter(|listed| *listed != Listed::of(before));
        if loaded.old {
            for (row, entry) in &audit {
                self.storage.upsert(TICKETS, &home(id), row, entry).await?;
            }
            let outcome = self
                .storage
                .swap(TICKETS, id.day(), id.as_str(), &loaded.etag, &document)
                .await?;
            if let (Some(listed), Swapped::Done(_)) = (&listed, &outcome) {
                self.list_again(id, listed).await?;
            }
            return Ok(outcome);
        }
        let (row, list_row) = (ticket_row(id), list::row(id));
        let summary = listed.as_ref().map(encode).transpose()?;
        let mut writes = vec![Write::Swap(&row, &loaded.etag, &document)];
        if let Some(summary) = &summary {
            writes.push(Write::Upsert(&list_row, summary));
        }
        writes.extend(audit.iter().map(|(row, entry)| Write::Upsert(row, entry)));
        match writes.as_slice() {
            [_] => {
                let etag = &loaded.etag;
                self.storage
                    .swap(TICKETS, &home(id), &row, etag, &document)
                    .await
            }
            _ => self.storage.commit(TICKETS, &home(id), &writes).await,
        }
    }

    /// The audit entries that the ticket still carries, as rows for the next transaction; more than fit into it are
    /// written now. Writing them twice is harmless.
    async fn flush_audit(&self, ticket: &Ticket) -> Result<Vec<(String, String)>, Fault> {
        let mut rows = Vec::new();
        for (number, entry) in (ticket.books.audited..).zip(&ticket.books.audit) {
            rows.push((audit_row(&ticket.id, number), encode(entry)?));
        }
        while rows.len() > WRITES_CAP / 2 {
            let now: Vec<_> = rows.drain(..WRITES_CAP / 2).collect();
            let writes: Vec<_> = now
                .iter()
                .map(|(row, entry)| Write::Upsert(row, entry))
                .collect();
            self.storage
                .commit(TICKETS, &home(&ticket.id), &writes)
                .await?;
        }
        Ok(rows)
    }

    /// The whole history, oldest first.
    pub async fn audit(&self, ticket: &Ticket) -> Result<Vec<AuditEntry>, Fault> {
        let (id, audited) = (&ticket.id, ticket.books.audited);
        let written = (audit_row(id, 0), audit_row(id, audited));
        let mut entries = self.audit_between(TICKETS, &home(id), written).await?;
        if entries.len() < usize::try_from(audited).unwrap_or(usize::MAX) {
            // Versions before kept it in a table of its own.
            let written = (String::new(), format!("{audited:08}"));
            let mut first = self.audit_between(AUDIT, id.as_str(), written).await?;
            first.append(&mut entries);
            entries = first;
        }
        entries.extend(ticket.books.audit.iter().cloned());
        Ok(entries)
    }

    async fn audit_between(
        &self,
        table: &str,
        partition: &str,
        rows: (String, String),
    ) -> Result<Vec<AuditEntry>, Fault> {
        let between = (rows.0.as_str(), rows.1.as_str());
        self.all_between(table, partition, between, 500, "audit entry")
            .await
    }

    /// Everything in a partition of the index; `what` names it where a row cannot be read.
    async fn all<T: DeserializeOwned>(&self, partition: &str, what: &str) -> Result<Vec<T>, Fault> {
        self.all_between(INDEX, partition, ("", ""), 1000, what)
            .await
    }

    async fn all_between<T: DeserializeOwned>(
        &self,
        table: &str,
        partition: &str,
        (from, to): (&str, &str),
        at_once: u32,
        what: &str,
    ) -> Result<Vec<T>, Fault> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self
                .storage
                .scan(table, partition, from, to, at_once, after.as_ref())
                .await?;
            for entity in &page.entities {
                found.push(decode(what, &entity.document)?);
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    // ── evidence ────────────────────────────────────────────────────────────────────────────────

    /// Stores proofs; storing them again is harmless.
    pub async fn put_evidence(&self, id: &TicketId, evidence: &[Evidence]) -> Result<(), Fault> {
        let rest = self.put_evidence_but_for_the_last(id, evidence).await?;
        let writes: Vec<_> = rest
            .iter()
            .map(|(row, proof)| Write::Upsert(row, proof))
            .collect();
        if !writes.is_empty() {
            self.storage.commit(TICKETS, &home(id), &writes).await?;
        }
        Ok(())
    }

    /// Stores as many proofs as do not fit into one transaction beside the ticket, and gives back the rows of the others.
    async fn put_evidence_but_for_the_last(
        &self,
        id: &TicketId,
        evidence: &[Evidence],
    ) -> Result<Vec<(String, String)>, Fault> {
        let (mut rows, mut size) = (Vec::<(String, String)>::new(), 0);
        for (number, piece) in evidence.iter().enumerate() {
            let row = (format!("e:{id}:{number:04}"), encode(piece)?);
            if rows.len() >= WRITES_CAP / 2 || size + row.1.len() > EVIDENCE_AT_ONCE {
                let writes: Vec<_> = rows
                    .iter()
                    .map(|(row, proof)| Write::Upsert(row, proof))
                    .collect();
                if !writes.is_empty() {
                    self.storage.commit(TICKETS, &home(id), &writes).await?;
                }
                (rows, size) = (Vec::new(), 0);
            }
            size += row.1.len();
            rows.push(row);
        }
        Ok(rows)
    }

    /// All proofs of a ticket, in their order.
    pub async fn evidence(&self, id: &TicketId) -> Result<Vec<Evidence>, Fault> {
        let (from, to) = (format!("e:{id}:"), format!("e:{id};"));
        let page = self
            .storage
            .scan(TICKETS, &home(id), &from, &to, 1000, None)
            .await?;
        if page.entities.is_empty() {
            return self.evidence_before(id).await;
        }
        page.entities
            .iter()
            .map(|entity| decode("evidence", &entity.document))
            .collect()
    }
}
