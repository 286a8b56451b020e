//! What waits: failures without a ticket yet, and alerts whose rows are still to be found.
//!
//! Each lies beside the row that has it looked at, in the shard of its name.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::due::{WITH_WAITING, due_row};
use super::{INDEX, TicketStore, decode, encode, shard_partition, waiting_row};
use crate::failure::{Failure, RunKey};
use crate::fault::Fault;
use crate::storage::{Swapped, Write};
use crate::ticket::TicketId;
use crate::ticket::due::PATIENCE;

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

    /// When it is enqueued again if it still waits: ever more seldom.
    pub fn next_look(&self) -> DateTime<Utc> {
        let patience = PATIENCE * 2_i32.saturating_pow(self.nudges.min(10));
        self.nudged_at.unwrap_or(self.received_at) + patience
    }
}

impl TicketStore {
    /// Keeps a failure until its ticket exists; `false` when one is kept under this id already.
    pub async fn put_waiting_if_absent(
        &self,
        id: &TicketId,
        waiting: &Waiting,
    ) -> Result<bool, Fault> {
        let name = id.as_str();
        let due = due_row(waiting.next_look(), name);
        let outcome = self
            .storage
            .commit(
                INDEX,
                &shard_partition(name),
                &[
                    Write::Insert(&waiting_row(name), &encode(waiting)?),
                    Write::Upsert(&due, WITH_WAITING),
                ],
            )
            .await?;
        Ok(outcome != Swapped::Conflict)
    }

    /// Writes a waiting failure back.
    pub async fn update_waiting(&self, id: &TicketId, waiting: &Waiting) -> Result<(), Fault> {
        let name = id.as_str();
        self.storage
            .upsert(
                INDEX,
                &shard_partition(name),
                &waiting_row(name),
                &encode(waiting)?,
            )
            .await
    }

    /// The failure that waits for this ticket. It may be there for a while after the ticket exists.
    pub async fn waiting(&self, id: &TicketId) -> Result<Option<Waiting>, Fault> {
        match self.kept(id.as_str()).await? {
            Some(document) => Ok(Some(decode("waiting failure", &document)?)),
            None => Ok(None),
        }
    }

    /// What is kept under this name.
    pub async fn kept(&self, name: &str) -> Result<Option<String>, Fault> {
        let found = self
            .storage
            .get(INDEX, &shard_partition(name), &waiting_row(name))
            .await?;
        match found {
            Some(entity) => Ok(Some(entity.document)),
            None => self.kept_before(name).await,
        }
    }

    /// Keeps a document under this name, and has it looked at.
    pub async fn keep(
        &self,
        name: &str,
        document: &str,
        look_at: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let due = due_row(look_at, name);
        let writes = [
            Write::Upsert(&waiting_row(name), document),
            Write::Upsert(&due, WITH_WAITING),
        ];
        self.storage
            .commit(INDEX, &shard_partition(name), &writes)
            .await
            .map(drop)
    }

    /// Nothing waits under this name any more.
    pub async fn drop_waiting(&self, name: &str) -> Result<(), Fault> {
        self.storage
            .delete(INDEX, &shard_partition(name), &waiting_row(name), None)
            .await?;
        self.drop_kept_before(name).await
    }
}
