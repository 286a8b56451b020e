//! What may be spent per day, and what the language model said already.

use super::{INDEX, SWAP_TRIES, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::model::Worded;
use crate::storage::{Inserted, Swapped};

const USAGE: &str = "usage";
const WORDED: &str = "worded";

impl TicketStore {
    /// Adds `by` to a daily counter and returns its new value, or `None` when that would exceed `limit`.
    pub async fn spend(
        &self,
        what: &str,
        day: &str,
        by: u32,
        limit: u32,
    ) -> Result<Option<u32>, Fault> {
        let row = format!("{what}-{day}");
        for _ in 0..SWAP_TRIES {
            let entity = self.storage.get(INDEX, USAGE, &row).await?;
            let used: u32 = entity
                .as_ref()
                .map_or(Ok(0), |entity| decode("counter", &entity.document))?;
            let Some(sum) = used.checked_add(by).filter(|sum| *sum <= limit) else {
                return Ok(None);
            };
            let done = match entity {
                None => matches!(
                    self.storage
                        .insert(INDEX, USAGE, &row, &encode(&sum)?)
                        .await?,
                    Inserted::Created(_)
                ),
                Some(entity) => {
                    matches!(
                        self.storage
                            .swap(INDEX, USAGE, &row, &entity.etag, &encode(&sum)?)
                            .await?,
                        Swapped::Done(_)
                    )
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
        self.storage
            .upsert(INDEX, WORDED, key, &encode(worded)?)
            .await
    }
}
