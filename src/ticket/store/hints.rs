//! Hints: what leads to a ticket, who acts on which asset, how healing ended before, what was spent. The ticket is the truth.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, SWAP_TRIES, TicketStore, decode, encode};
use crate::diagnosis::model::Worded;
use crate::failure::{Asset, RunKey};
use crate::fault::Fault;
use crate::storage::{Inserted, Swapped};
use crate::ticket::{Ticket, TicketId};

const JIRA: &str = "jira";
const REMEDIATION_RUN: &str = "remrun";
const ASSET: &str = "asset";
const USAGE: &str = "usage";
const WORDED: &str = "worded";

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

/// How healing a cause on an asset ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRemediation {
    /// When.
    pub at: DateTime<Utc>,
    /// `true`: healed; `false`: all attempts failed.
    pub healed: bool,
}

impl TicketStore {
    /// Remembers whose issue this is, by its key and by the number that survives a move.
    pub async fn index_issue(
        &self,
        key: &str,
        number: Option<&str>,
        id: &TicketId,
    ) -> Result<(), Fault> {
        let document = encode(id)?;
        if let Some(number) = number.filter(|number| is_number(number)) {
            let row = by_number(number);
            self.storage.upsert(INDEX, JIRA, &row, &document).await?;
        }
        self.storage.upsert(INDEX, JIRA, key, &document).await
    }

    /// Whose issue has this number?
    pub async fn by_issue_number(&self, number: &str) -> Result<Option<TicketId>, Fault> {
        if is_number(number) {
            self.by_issue(&by_number(number)).await
        } else {
            Ok(None)
        }
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
        self.storage
            .upsert(INDEX, REMEDIATION_RUN, &key.hash(), &encode(id)?)
            .await
    }

    /// The ticket that this run was started to heal, if any.
    pub async fn by_remediation_run(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        match self
            .storage
            .get(INDEX, REMEDIATION_RUN, &key.hash())
            .await?
        {
            Some(entity) => Ok(Some(decode("remediation run index", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Takes the asset for one attempt; on refusal says who has it. Taking it twice for the same attempt is fine.
    pub async fn lock_asset(
        &self,
        asset: &Asset,
        lock: &AssetLock,
    ) -> Result<Option<AssetLock>, Fault> {
        if let Some(held) = self.lock_before_scopes(asset).await? {
            return Ok(Some(held).filter(|held| held.attempt != lock.attempt));
        }
        match self
            .storage
            .insert(INDEX, ASSET, &asset.key(), &encode(lock)?)
            .await?
        {
            Inserted::Created(_) => Ok(None),
            Inserted::Exists => {
                let held = self.lock_in(&asset.key()).await?;
                Ok(held.filter(|held| held.attempt != lock.attempt))
            }
        }
    }

    /// Who acts on this asset right now?
    pub async fn asset_lock(&self, asset: &Asset) -> Result<Option<AssetLock>, Fault> {
        match self.lock_in(&asset.key()).await? {
            Some(held) => Ok(Some(held)),
            None => self.lock_before_scopes(asset).await,
        }
    }

    async fn lock_in(&self, row: &str) -> Result<Option<AssetLock>, Fault> {
        match self.storage.get(INDEX, ASSET, row).await? {
            Some(entity) => Ok(Some(decode("asset lock", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// A lock that was taken before assets had scopes.
    async fn lock_before_scopes(&self, asset: &Asset) -> Result<Option<AssetLock>, Fault> {
        if asset.scope.is_empty() {
            return Ok(None);
        }
        self.lock_in(&asset.without_scope().key()).await
    }

    /// Gives the asset back, if this attempt has it.
    pub async fn unlock_asset(&self, asset: &Asset, attempt: &str) -> Result<(), Fault> {
        let mut rows = vec![asset.key(), asset.without_scope().key()];
        rows.dedup();
        for row in rows {
            if let Some(entity) = self.storage.get(INDEX, ASSET, &row).await?
                && decode::<AssetLock>("asset lock", &entity.document)?.attempt == attempt
            {
                self.storage
                    .delete(INDEX, ASSET, &row, Some(&entity.etag))
                    .await?;
            }
        }
        Ok(())
    }

    /// Everybody who acts right now (at most 1,000).
    pub async fn asset_locks(&self) -> Result<Vec<AssetLock>, Fault> {
        let page = self.storage.scan(INDEX, ASSET, "", "", 1000, None).await?;
        page.entities
            .iter()
            .map(|entity| decode("asset lock", &entity.document))
            .collect()
    }

    /// Remembers how healing this cause on this asset ended.
    pub async fn record_remediation(
        &self,
        ticket: &Ticket,
        past: &PastRemediation,
    ) -> Result<(), Fault> {
        let asset = Asset::of(&ticket.failure);
        let partition = healing_partition(&asset.fingerprint(&ticket.diagnosis.fingerprint));
        self.storage
            .upsert(INDEX, &partition, ticket.id.as_str(), &encode(past)?)
            .await
    }

    /// How healing this cause on this asset ended so far.
    pub async fn past_remediations(
        &self,
        asset: &Asset,
        cause: &str,
    ) -> Result<Vec<PastRemediation>, Fault> {
        let mut past = self.remediations_of(&asset.fingerprint(cause)).await?;
        // What was recorded before assets had scopes.
        let before = RunKey::new(asset.source, &asset.name, cause, "", "").hash();
        past.extend(self.remediations_of(&before).await?);
        Ok(past)
    }

    async fn remediations_of(&self, fingerprint: &str) -> Result<Vec<PastRemediation>, Fault> {
        let partition = healing_partition(fingerprint);
        let page = self
            .storage
            .scan(INDEX, &partition, "", "", 200, None)
            .await?;
        page.entities
            .iter()
            .map(|entity| decode("healing", &entity.document))
            .collect()
    }

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

/// Where it is kept how healing ended.
fn healing_partition(fingerprint: &str) -> String {
    fingerprint
        .get(..40)
        .map(|hash| format!("fp-{hash}"))
        .unwrap_or_default()
}

/// No key looks like this: a key has a hyphen.
fn by_number(number: &str) -> String {
    format!("number:{number}")
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}
