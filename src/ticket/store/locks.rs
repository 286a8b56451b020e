//! Who acts on which asset right now.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode};
use crate::failure::Asset;
use crate::fault::Fault;
use crate::storage::Inserted;
use crate::ticket::TicketId;

const ASSET: &str = "asset";

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

impl TicketStore {
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
        if asset.scope.is_empty() || !self.has_old_rows().await? {
            return Ok(None);
        }
        self.lock_in(&asset.without_scope().key()).await
    }

    /// Gives the asset back, if this attempt has it.
    pub async fn unlock_asset(&self, asset: &Asset, attempt: &str) -> Result<(), Fault> {
        let mut rows = vec![asset.key()];
        if self.has_old_rows().await? {
            rows.push(asset.without_scope().key());
        }
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
}
