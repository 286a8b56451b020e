//! Messages nobody could handle, kept until they are put back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{DEADLETTERS, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::storage::Inserted;

pub(super) const DEAD: &str = "dead";

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

impl TicketStore {
    /// Records a dead letter; `false` when it is recorded already.
    pub async fn record_dead_letter(&self, letter: &DeadLetter) -> Result<bool, Fault> {
        let outcome = self
            .storage
            .insert(DEADLETTERS, DEAD, &letter.id, &encode(letter)?)
            .await?;
        Ok(matches!(outcome, Inserted::Created(_)))
    }

    /// The dead letters, oldest first: the newest 500, and all that were not replayed yet (at most 5,000).
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Fault> {
        let (mut letters, mut after) = (Vec::<DeadLetter>::new(), None);
        loop {
            let page = self
                .storage
                .scan(DEADLETTERS, DEAD, "", "", 500, after.as_ref())
                .await?;
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
        self.storage
            .upsert(DEADLETTERS, DEAD, &letter.id, &encode(letter)?)
            .await
    }
}
