//! Which attempts were spent on an asset in its run, across its tickets.

use std::time::Duration;

use super::{INDEX, SWAP_TRIES, TicketStore, decode, encode, spread};
use crate::failure::{AssetKind, Failure, RunKey};
use crate::fault::Fault;
use crate::storage::{Inserted, Swapped};

impl TicketStore {
    /// Spends one attempt on this asset in this run: `false` when `limit` of them were spent, whatever ticket they were
    /// made for. Spending the same attempt twice is one.
    pub async fn spend_attempt(
        &self,
        failure: &Failure,
        attempt: &str,
        limit: u32,
    ) -> Result<bool, Fault> {
        let Some(hash) = spent_on(failure) else {
            return Ok(true);
        };
        self.change_row(
            &spread("spent", &hash),
            &hash,
            |spent: Option<Vec<String>>| {
                let mut spent = spent.unwrap_or_default();
                if spent.iter().any(|known| known == attempt) {
                    return (true, None);
                }
                if u32::try_from(spent.len()).unwrap_or(u32::MAX) >= limit {
                    return (false, None);
                }
                spent.push(attempt.to_owned());
                (true, Some(spent))
            },
        )
        .await
    }

    /// Takes back an attempt that turned out to have done nothing.
    pub async fn refund_attempt(&self, failure: &Failure, attempt: &str) -> Result<(), Fault> {
        let Some(hash) = spent_on(failure) else {
            return Ok(());
        };
        self.change_row(
            &spread("spent", &hash),
            &hash,
            |spent: Option<Vec<String>>| {
                let mut spent = spent.unwrap_or_default();
                let before = spent.len();
                spent.retain(|known| known != attempt);
                ((), (spent.len() != before).then_some(spent))
            },
        )
        .await
    }

    /// Forgets what was spent on this asset in this run.
    pub(super) async fn forget_attempts_of(&self, failure: &Failure) -> Result<(), Fault> {
        let Some(hash) = spent_on(failure) else {
            return Ok(());
        };
        let partition = spread("spent", &hash);
        self.storage
            .delete(INDEX, &partition, &hash, None)
            .await
            .map(drop)
    }

    /// One row by compare-and-set: `change` answers, and gives the new document if there is one.
    async fn change_row<D, T>(
        &self,
        partition: &str,
        row: &str,
        mut change: impl FnMut(Option<D>) -> (T, Option<D>),
    ) -> Result<T, Fault>
    where
        D: serde::Serialize + serde::de::DeserializeOwned,
    {
        for round in 0..SWAP_TRIES {
            let entity = self.storage.get(INDEX, partition, row).await?;
            let known = match &entity {
                Some(entity) => Some(decode("row of a run", &entity.document)?),
                None => None,
            };
            let (told, document) = change(known);
            let Some(document) = document else {
                return Ok(told);
            };
            let document = encode(&document)?;
            let done = match &entity {
                None => matches!(
                    self.storage
                        .insert(INDEX, partition, row, &document)
                        .await?,
                    Inserted::Created(_)
                ),
                Some(entity) => matches!(
                    self.storage
                        .swap(INDEX, partition, row, &entity.etag, &document)
                        .await?,
                    Swapped::Done(_)
                ),
            };
            if done {
                return Ok(told);
            }
            let pause = u64::from(round) * 5 + fastrand::u64(0..10);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Err(Fault::transient(
            "attempts of a run change too often right now",
        ))
    }
}

/// What attempts are counted on: the asset in its run. A cluster's id is no run, it has it for life.
fn spent_on(failure: &Failure) -> Option<String> {
    let run = failure
        .run_id
        .as_deref()
        .filter(|_| failure.kind != AssetKind::Cluster)?;
    let asset = &failure.asset;
    Some(RunKey::new(failure.source, "", run, asset, "").hash())
}
