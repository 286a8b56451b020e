//! What waits: claims on runs, failures without a ticket yet, tickets that are not settled.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CURSOR, INDEX, TicketStore, decode, encode};
use crate::failure::{Failure, RunKey};
use crate::fault::Fault;
use crate::storage::{Continuation, Inserted, Page};
use crate::ticket::TicketId;

const ACTIVE: &str = "active";

/// A failure waiting for its analysis, kept until its ticket exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// What failed.
    pub failure: Failure,
    /// The key under which it is claimed, where that is not the failure's own.
    #[serde(default)]
    pub claim: Option<RunKey>,
    /// The closed ticket of the same unit that this failure follows.
    #[serde(default)]
    pub follows: Option<TicketId>,
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

impl Waiting {
    /// Just received.
    pub fn new(failure: Failure, trace: Option<String>, now: DateTime<Utc>) -> Self {
        Self {
            failure,
            claim: None,
            follows: None,
            received_at: now,
            trace,
            nudges: 0,
            nudged_at: None,
        }
    }

    /// The key under which it is claimed.
    pub fn claim(&self) -> &RunKey {
        self.claim.as_ref().unwrap_or(&self.failure.key)
    }
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

impl TicketStore {
    /// The ticket that owns this run, if any.
    pub async fn claimed(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        let hash = key.hash();
        match self
            .storage
            .get(INDEX, &claim_partition(&hash), &hash)
            .await?
        {
            Some(entity) => Ok(Some(decode("claim", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// First writer wins.
    pub async fn claim(&self, key: &RunKey, offer: &TicketId) -> Result<Claim, Fault> {
        let hash = key.hash();
        match self
            .storage
            .insert(INDEX, &claim_partition(&hash), &hash, &encode(offer)?)
            .await?
        {
            Inserted::Created(_) => Ok(Claim::Ours),
            Inserted::Exists => match self.claimed(key).await? {
                Some(owner) if owner == *offer => Ok(Claim::Ours),
                Some(owner) => Ok(Claim::Theirs(owner)),
                None => Err(Fault::transient("a claim vanished while it was read")),
            },
        }
    }

    /// Keeps a failure until its ticket exists; `false` when one is kept under this id already.
    pub async fn put_waiting_if_absent(
        &self,
        id: &TicketId,
        waiting: &Waiting,
    ) -> Result<bool, Fault> {
        let outcome = self
            .storage
            .insert(INDEX, ACTIVE, id.as_str(), &encode(waiting)?)
            .await?;
        Ok(matches!(outcome, Inserted::Created(_)))
    }

    /// Writes a waiting failure back.
    pub async fn update_waiting(&self, id: &TicketId, waiting: &Waiting) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, ACTIVE, id.as_str(), &encode(waiting)?)
            .await
    }

    /// The failure that waits for this ticket; `None` once the ticket exists.
    pub async fn waiting(&self, id: &TicketId) -> Result<Option<Waiting>, Fault> {
        match self.storage.get(INDEX, ACTIVE, id.as_str()).await? {
            Some(entity) if entity.document != "{}" => {
                Ok(Some(decode("waiting failure", &entity.document)?))
            }
            _ => Ok(None),
        }
    }

    /// Marks a ticket as not settled: the sweep looks after it.
    pub async fn mark_active(&self, id: &TicketId) -> Result<(), Fault> {
        self.storage.upsert(INDEX, ACTIVE, id.as_str(), "{}").await
    }

    /// The document of a row of the active index.
    pub async fn active_document(&self, row: &str) -> Result<Option<String>, Fault> {
        Ok(self
            .storage
            .get(INDEX, ACTIVE, row)
            .await?
            .map(|entity| entity.document))
    }

    /// Keeps a text under a row of the active index (`rows-…`).
    pub async fn put_active(&self, row: &str, document: &str) -> Result<(), Fault> {
        self.storage.upsert(INDEX, ACTIVE, row, document).await
    }

    /// The sweep need not look at this row any more.
    pub async fn drop_active(&self, row: &str) -> Result<(), Fault> {
        self.storage
            .delete(INDEX, ACTIVE, row, None)
            .await
            .map(|_| ())
    }

    /// Rows of the active index in order.
    pub async fn active(
        &self,
        limit: u32,
        after: Option<&Continuation>,
    ) -> Result<(Vec<ActiveRow>, Option<Continuation>), Fault> {
        let Page { entities, next } = self
            .storage
            .scan(INDEX, ACTIVE, "", "", limit, after)
            .await?;
        Ok((
            entities
                .into_iter()
                .map(|e| ActiveRow {
                    row: e.row,
                    document: e.document,
                })
                .collect(),
            next,
        ))
    }

    /// Where a long walk goes on at the next tick.
    pub async fn cursor(&self, name: &str) -> Result<Option<Continuation>, Fault> {
        match self.storage.get(INDEX, CURSOR, name).await? {
            Some(entity) => {
                Ok(decode::<Option<Continuation>>("cursor", &entity.document).unwrap_or(None))
            }
            None => Ok(None),
        }
    }

    /// Stores where a long walk goes on.
    pub async fn set_cursor(&self, name: &str, at: Option<&Continuation>) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, CURSOR, name, &encode(&at)?)
            .await
    }
}

fn claim_partition(hash: &str) -> String {
    format!("claim-{}", hash.get(..2).unwrap_or("00"))
}
