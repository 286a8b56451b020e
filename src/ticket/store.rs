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
//! | index | `jira` | issue key | ticket id |
//! | index | `remrun` | SHA-256 of the run key | the ticket a remediation run belongs to |
//! | index | `asset` | SHA-256 of the asset | the attempt that runs on it |
//! | index | `fp-xx` | fingerprint and asset, ticket id | what became of healing it |
//! | index | `worded` | cache key of the model | what the model said about such a failure |
//! | audit | ticket id | counter | what happened |
//! | evidence | ticket id | `e0`, `e1` … | proofs |
//! | deadletters | `dead` | time and id | messages nobody could handle |

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::machine::{Change, Refusal};
use super::{AuditEntry, Ticket, TicketId};
use crate::diagnosis::model::Worded;
use crate::evidence::Evidence;
use crate::failure::{Failure, RunKey};
use crate::fault::Fault;
use crate::storage::{Continuation, ETag, Inserted, Page, Storage, Swapped};

/// All tables, by bare name.
pub const TABLES: [&str; 5] = [TICKETS, INDEX, AUDIT, EVIDENCE, DEADLETTERS];

const TICKETS: &str = "tickets";
const INDEX: &str = "index";
const AUDIT: &str = "audit";
const EVIDENCE: &str = "evidence";
const DEADLETTERS: &str = "deadletters";

const ACTIVE: &str = "active";
const JIRA: &str = "jira";
const REMEDIATION_RUN: &str = "remrun";
const ASSET: &str = "asset";
const DEAD: &str = "dead";
const CURSOR: &str = "cursor";
const USAGE: &str = "usage";
const WORDED: &str = "worded";

/// How often a compare-and-set is tried again before the store is called too busy.
const SWAP_TRIES: u32 = 20;

/// Reads and writes everything about tickets.
#[derive(Debug, Clone)]
pub struct TicketStore {
    storage: Storage,
}

/// A failure waiting for its analysis, kept until its ticket exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// What failed.
    pub failure: Failure,
    /// When the report came in.
    pub received_at: DateTime<Utc>,
    /// W3C traceparent of the report.
    #[serde(default)]
    pub trace: Option<String>,
    /// How often the sweep enqueued it again.
    #[serde(default)]
    pub nudges: u32,
    /// When it did so last.
    #[serde(default)]
    pub nudged_at: Option<DateTime<Utc>>,
}

/// Who holds the claim on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// We do, with the id we offered.
    Ours,
    /// Somebody was first, with this id.
    Theirs(TicketId),
}

/// A row of the `active` index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRow {
    /// Ticket id, or `rows-…`.
    pub row: String,
    /// Its document.
    pub document: String,
}

/// Who acts on an asset right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetLock {
    /// Whose attempt.
    pub ticket: TicketId,
    /// Which attempt.
    pub attempt: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// How healing a fingerprint on an asset ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// When.
    pub at: DateTime<Utc>,
    /// `true`: healed; `false`: all attempts failed.
    pub healed: bool,
}

/// A message nobody could handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id: sorts by time.
    pub id: String,
    /// The bare name of the queue it came from.
    pub queue: String,
    /// Its text.
    pub text: String,
    /// Why, as far as it is known.
    pub reason: String,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// When it was put back, if it was.
    #[serde(default)]
    pub replayed_at: Option<DateTime<Utc>>,
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

fn encode<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|_| Fault::permanent("a document could not be written as JSON"))
}

fn decode<T: DeserializeOwned>(what: &str, document: &str) -> Result<T, Fault> {
    serde_json::from_str(document)
        .map_err(|error| Fault::permanent(format!("the stored {what} cannot be read: line {}", error.line())))
}

fn claim_partition(hash: &str) -> String {
    format!("claim-{}", hash.get(..2).unwrap_or("00"))
}

/// Key of an asset across tickets.
fn asset_row(failure: &Failure) -> String {
    RunKey::new(failure.source, failure.kind.label(), &failure.asset, "", "").hash()
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

    /// One point read: does the store answer?
    pub async fn is_up(&self) -> Result<(), Fault> {
        self.storage.get(INDEX, CURSOR, "sweep").await.map(|_| ())
    }

    // ── claims ──────────────────────────────────────────────────────────────────────────────────

    /// The ticket that owns this run, if any.
    pub async fn claimed(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        let hash = key.hash();
        match self.storage.get(INDEX, &claim_partition(&hash), &hash).await? {
            Some(entity) => Ok(Some(decode("claim", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// First writer wins.
    pub async fn claim(&self, key: &RunKey, offer: &TicketId) -> Result<Claim, Fault> {
        let hash = key.hash();
        match self.storage.insert(INDEX, &claim_partition(&hash), &hash, &encode(offer)?).await? {
            Inserted::Created(_) => Ok(Claim::Ours),
            Inserted::Exists => match self.claimed(key).await? {
                Some(owner) if owner == *offer => Ok(Claim::Ours),
                Some(owner) => Ok(Claim::Theirs(owner)),
                None => Err(Fault::transient("a claim vanished while it was read")),
            },
        }
    }

    // ── the active index ────────────────────────────────────────────────────────────────────────

    /// Keeps a failure until its ticket exists; `false` when one is kept under this id already.
    pub async fn put_waiting_if_absent(&self, id: &TicketId, waiting: &Waiting) -> Result<bool, Fault> {
        let outcome = self.storage.insert(INDEX, ACTIVE, id.as_str(), &encode(waiting)?).await?;
        Ok(matches!(outcome, Inserted::Created(_)))
    }

    /// Writes a waiting failure back.
    pub async fn update_waiting(&self, id: &TicketId, waiting: &Waiting) -> Result<(), Fault> {
        self.storage.upsert(INDEX, ACTIVE, id.as_str(), &encode(waiting)?).await
    }

    /// The failure that waits for this ticket; `None` once the ticket exists.
    pub async fn waiting(&self, id: &TicketId) -> Result<Option<Waiting>, Fault> {
        match self.storage.get(INDEX, ACTIVE, id.as_str()).await? {
            Some(entity) if entity.document != "{}" => Ok(Some(decode("waiting failure", &entity.document)?)),
            _ => Ok(None),
        }
    }

    /// Marks a ticket as not settled: the sweep looks after it.
    pub async fn mark_active(&self, id: &TicketId) -> Result<(), Fault> {
        self.storage.upsert(INDEX, ACTIVE, id.as_str(), "{}").await
    }

    /// The document of a row of the active index.
    pub async fn active_document(&self, row: &str) -> Result<Option<String>, Fault> {
        Ok(self.storage.get(INDEX, ACTIVE, row).await?.map(|entity| entity.document))
    }

    /// Keeps a text under a row of the active index (`rows-…`).
    pub async fn put_active(&self, row: &str, document: &str) -> Result<(), Fault> {
        self.storage.upsert(INDEX, ACTIVE, row, document).await
    }

    /// The sweep need not look at this row any more.
    pub async fn drop_active(&self, row: &str) -> Result<(), Fault> {
        self.storage.delete(INDEX, ACTIVE, row, None).await.map(|_| ())
    }

    /// Rows of the active index in order.
    pub async fn active(
        &self,
        limit: u32,
        after: Option<&Continuation>,
    ) -> Result<(Vec<ActiveRow>, Option<Continuation>), Fault> {
        let Page { entities, next } = self.storage.scan(INDEX, ACTIVE, "", "", limit, after).await?;
        Ok((entities.into_iter().map(|e| ActiveRow { row: e.row, document: e.document }).collect(), next))
    }

    /// Where a long walk goes on at the next tick.
    pub async fn cursor(&self, name: &str) -> Result<Option<Continuation>, Fault> {
        match self.storage.get(INDEX, CURSOR, name).await? {
            Some(entity) => Ok(decode::<Option<Continuation>>("cursor", &entity.document).unwrap_or(None)),
            None => Ok(None),
        }
    }

    /// Stores where a long walk goes on.
    pub async fn set_cursor(&self, name: &str, at: Option<&Continuation>) -> Result<(), Fault> {
        self.storage.upsert(INDEX, CURSOR, name, &encode(&at)?).await
    }

    // ── tickets ─────────────────────────────────────────────────────────────────────────────────

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

    /// Does the ticket exist?
    pub async fn exists(&self, id: &TicketId) -> Result<bool, Fault> {
        Ok(self.storage.get(TICKETS, id.day(), id.as_str()).await?.is_some())
    }

    /// Inserts a new ticket; `false` when it is there already.
    pub async fn insert(&self, ticket: &Ticket) -> Result<bool, Fault> {
        let outcome = self.storage.insert(TICKETS, ticket.id.day(), ticket.id.as_str(), &encode(ticket)?).await?;
        Ok(matches!(outcome, Inserted::Created(_)))
    }

    /// Changes a ticket by compare-and-set; `change` is called again with the fresh ticket on conflict.
    pub async fn update(
        &self,
        id: &TicketId,
        mut change: impl FnMut(&Ticket) -> Result<Change, Refusal>,
    ) -> Result<Change, UpdateError> {
        for round in 0..SWAP_TRIES {
            let (ticket, etag) = self.load_versioned(id).await?.ok_or(UpdateError::Missing)?;
            let changed = change(&ticket)?;
            self.flush_audit(&ticket).await?;
            let document = encode(&changed.ticket)?;
            match self.storage.swap(TICKETS, id.day(), id.as_str(), &etag, &document).await? {
                Swapped::Done(_) => return Ok(changed),
                Swapped::Conflict => {
                    let pause = std::time::Duration::from_millis(u64::from(round) * 5 + fastrand::u64(0..10));
                    tokio::time::sleep(pause).await;
                }
            }
        }
        Err(Fault::transient("the ticket changes too often right now").into())
    }

    /// Writes the audit entries the ticket still carries; writing them twice is harmless.
    async fn flush_audit(&self, ticket: &Ticket) -> Result<(), Fault> {
        for (number, entry) in (ticket.books.audited..).zip(&ticket.books.audit) {
            self.storage.upsert(AUDIT, ticket.id.as_str(), &format!("{number:08}"), &encode(entry)?).await?;
        }
        Ok(())
    }

    /// The whole history, oldest first.
    pub async fn audit(&self, ticket: &Ticket) -> Result<Vec<AuditEntry>, Fault> {
        let end = format!("{:08}", ticket.books.audited);
        let mut entries = Vec::new();
        let mut after = None;
        loop {
            let page = self.storage.scan(AUDIT, ticket.id.as_str(), "", &end, 500, after.as_ref()).await?;
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

    /// Tickets of one day (`20251212`), newest first, at most `limit`.
    pub async fn of_day(&self, day: &str, limit: usize) -> Result<Vec<Ticket>, Fault> {
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut after = None;
        loop {
            let page = self.storage.scan(TICKETS, day, "", "", 500, after.as_ref()).await?;
            for entity in &page.entities {
                match decode("ticket", &entity.document) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(fault) => {
                        tracing::error!(ticket.id = %entity.row, fault = fault.reason(), "a stored ticket cannot be read")
                    }
                }
            }
            // Ids begin with the source: the newest may be on any page, the memory holds one page too many.
            tickets.sort_by(|a, b| b.received_at.cmp(&a.received_at).then_with(|| b.id.cmp(&a.id)));
            tickets.truncate(limit);
            after = page.next;
            if after.is_none() {
                return Ok(tickets);
            }
        }
    }

    /// Tickets of the last `days` days, newest first, at most `limit`.
    pub async fn recent(&self, now: DateTime<Utc>, days: u32, limit: usize) -> Result<Vec<Ticket>, Fault> {
        let mut tickets = Vec::new();
        // One day ahead: a sender's midnight and ours may differ by a little.
        for back in -1..i64::from(days) {
            if tickets.len() >= limit {
                break;
            }
            let day = (now - chrono::Duration::days(back)).format("%Y%m%d").to_string();
            tickets.extend(self.of_day(&day, limit - tickets.len()).await?);
        }
        Ok(tickets)
    }

    /// The ids in the active index that have a ticket, loaded (at most `limit`).
    pub async fn open_tickets(&self, limit: u32) -> Result<Vec<Ticket>, Fault> {
        let (rows, _) = self.active(limit, None).await?;
        let ids: Vec<TicketId> = rows.iter().filter_map(|row| TicketId::parse(&row.row)).collect();
        let loaded: Vec<Result<Option<Ticket>, Fault>> =
            futures::stream::iter(ids).map(|id| async move { self.load(&id).await }).buffered(8).collect().await;
        loaded.into_iter().filter_map(Result::transpose).collect()
    }

    // ── evidence ────────────────────────────────────────────────────────────────────────────────

    /// Stores proofs; storing them again is harmless.
    pub async fn put_evidence(&self, id: &TicketId, evidence: &[Evidence]) -> Result<(), Fault> {
        for piece in evidence {
            self.storage.upsert(EVIDENCE, id.as_str(), &piece.id, &encode(piece)?).await?;
        }
        Ok(())
    }

    /// All proofs of a ticket, in order of their ids.
    pub async fn evidence(&self, id: &TicketId) -> Result<Vec<Evidence>, Fault> {
        let page = self.storage.scan(EVIDENCE, id.as_str(), "", "", 100, None).await?;
        page.entities.iter().map(|entity| decode("evidence", &entity.document)).collect()
    }

    // ── hints ───────────────────────────────────────────────────────────────────────────────────

    /// Remembers whose issue this is.
    pub async fn index_issue(&self, key: &str, id: &TicketId) -> Result<(), Fault> {
        self.storage.upsert(INDEX, JIRA, key, &encode(id)?).await
    }

    /// Whose issue is this?
    pub async fn by_issue(&self, key: &str) -> Result<Option<TicketId>, Fault> {
        match self.storage.get(INDEX, JIRA, key).await? {
            Some(entity) => Ok(Some(decode("issue index", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Remembers that a run was started to heal a ticket: its failure opens no ticket of its own.
    pub async fn index_remediation_run(&self, key: &RunKey, id: &TicketId) -> Result<(), Fault> {
        self.storage.upsert(INDEX, REMEDIATION_RUN, &key.hash(), &encode(id)?).await
    }

    /// The ticket that this run was started to heal, if any.
    pub async fn by_remediation_run(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        match self.storage.get(INDEX, REMEDIATION_RUN, &key.hash()).await? {
            Some(entity) => Ok(Some(decode("remediation run index", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Takes the asset for one attempt; on refusal says who has it. Taking it twice for the same attempt is fine.
    pub async fn lock_asset(&self, failure: &Failure, lock: &AssetLock) -> Result<Option<AssetLock>, Fault> {
        let row = asset_row(failure);
        match self.storage.insert(INDEX, ASSET, &row, &encode(lock)?).await? {
            Inserted::Created(_) => Ok(None),
            Inserted::Exists => {
                let held = self.asset_lock(failure).await?;
                Ok(held.filter(|held| held.attempt != lock.attempt))
            }
        }
    }

    /// Who acts on this asset right now?
    pub async fn asset_lock(&self, failure: &Failure) -> Result<Option<AssetLock>, Fault> {
        match self.storage.get(INDEX, ASSET, &asset_row(failure)).await? {
            Some(entity) => Ok(Some(decode("asset lock", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Gives the asset back, if this attempt has it.
    pub async fn unlock_asset(&self, failure: &Failure, attempt: &str) -> Result<(), Fault> {
        let row = asset_row(failure);
        if let Some(entity) = self.storage.get(INDEX, ASSET, &row).await?
            && decode::<AssetLock>("asset lock", &entity.document)?.attempt == attempt
        {
            self.storage.delete(INDEX, ASSET, &row, Some(&entity.etag)).await?;
        }
        Ok(())
    }

    /// Everybody who acts right now (at most 1,000).
    pub async fn asset_locks(&self) -> Result<Vec<AssetLock>, Fault> {
        let page = self.storage.scan(INDEX, ASSET, "", "", 1000, None).await?;
        page.entities.iter().map(|entity| decode("asset lock", &entity.document)).collect()
    }

    fn healing_partition(failure: &Failure, fingerprint: &str) -> String {
        RunKey::new(failure.source, &failure.asset, fingerprint, "", "")
            .hash()
            .get(..40)
            .map(|hash| format!("fp-{hash}"))
            .unwrap_or_default()
    }

    /// Remembers how healing this fingerprint on this asset ended.
    pub async fn record_healing(&self, ticket: &Ticket, healing: &Healing) -> Result<(), Fault> {
        let partition = Self::healing_partition(&ticket.failure, &ticket.diagnosis.fingerprint);
        self.storage.upsert(INDEX, &partition, ticket.id.as_str(), &encode(healing)?).await
    }

    /// How healing this fingerprint on this asset ended so far.
    pub async fn healings(&self, failure: &Failure, fingerprint: &str) -> Result<Vec<Healing>, Fault> {
        let page = self.storage.scan(INDEX, &Self::healing_partition(failure, fingerprint), "", "", 200, None).await?;
        page.entities.iter().map(|entity| decode("healing", &entity.document)).collect()
    }

    /// Adds `by` to a daily counter and returns its new value, or `None` when that would exceed `limit`.
    pub async fn spend(&self, what: &str, day: &str, by: u32, limit: u32) -> Result<Option<u32>, Fault> {
        let row = format!("{what}-{day}");
        for _ in 0..SWAP_TRIES {
            let entity = self.storage.get(INDEX, USAGE, &row).await?;
            let used: u32 = entity.as_ref().map_or(Ok(0), |entity| decode("counter", &entity.document))?;
            let Some(sum) = used.checked_add(by).filter(|sum| *sum <= limit) else { return Ok(None) };
            let done = match entity {
                None => matches!(self.storage.insert(INDEX, USAGE, &row, &encode(&sum)?).await?, Inserted::Created(_)),
                Some(entity) => {
                    matches!(self.storage.swap(INDEX, USAGE, &row, &entity.etag, &encode(&sum)?).await?, Swapped::Done(_))
                }
            };
            if done {
                return Ok(Some(sum));
            }
        }
        Err(Fault::transient("a counter changes too often right now"))
    }

    /// What the model said about such a failure; one that cannot be read is as if it were missing.
    pub async fn model_cache(&self, key: &str) -> Result<Option<Worded>, Fault> {
        let entity = self.storage.get(INDEX, WORDED, key).await?;
        Ok(entity.and_then(|entity| decode("wording", &entity.document).ok()))
    }

    /// Keeps what the model said.
    pub async fn put_model_cache(&self, key: &str, worded: &Worded) -> Result<(), Fault> {
        self.storage.upsert(INDEX, WORDED, key, &encode(worded)?).await
    }

    // ── dead letters ────────────────────────────────────────────────────────────────────────────

    /// Records a dead letter; `false` when it is recorded already.
    pub async fn record_dead_letter(&self, letter: &DeadLetter) -> Result<bool, Fault> {
        let outcome = self.storage.insert(DEADLETTERS, DEAD, &letter.id, &encode(letter)?).await?;
        Ok(matches!(outcome, Inserted::Created(_)))
    }

    /// The dead letters, oldest first: the newest 500, and all that were not replayed yet (at most 5,000).
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Fault> {
        let (mut letters, mut after) = (Vec::<DeadLetter>::new(), None);
        loop {
            let page = self.storage.scan(DEADLETTERS, DEAD, "", "", 500, after.as_ref()).await?;
            // What was replayed long ago must not hide what waits.
            letters.retain(|letter| letter.replayed_at.is_none());
            for entity in &page.entities {
                letters.push(decode("dead letter", &entity.document)?);
            }
            after = page.next.filter(|_| letters.len() < 5_000);
            if after.is_none() {
                return Ok(letters);
            }
        }
    }

    /// Writes a dead letter back, e.g. with the time of its replay.
    pub async fn update_dead_letter(&self, letter: &DeadLetter) -> Result<(), Fault> {
        self.storage.upsert(DEADLETTERS, DEAD, &letter.id, &encode(letter)?).await
    }
}
