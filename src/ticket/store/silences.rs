//! Silences, and the failures that they kept from people.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::{INDEX, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::storage::{Inserted, Swapped};
use crate::ticket::{Silence, TicketId, Untold};

const SILENCES: &str = "silence";
/// How long what was read holds: a new silence is known everywhere after that.
const KEPT: TimeDelta = TimeDelta::seconds(20);
/// How often a change is tried against others.
const TRIES: u32 = 10;

/// What was read of the silences, and when.
pub(super) type Known = Arc<Mutex<Option<(DateTime<Utc>, Arc<[Silence]>)>>>;

impl TicketStore {
    /// All silences that are kept, as they were some seconds ago at most: one read for all failures of that time.
    pub async fn known_silences(&self, now: DateTime<Utc>) -> Result<Arc<[Silence]>, Fault> {
        let known = {
            let known = self.silences.lock();
            known.unwrap_or_else(PoisonError::into_inner).clone()
        };
        if let Some((at, silences)) = known.filter(|(at, _)| (now - *at).abs() < KEPT) {
            tracing::trace!(read.at = %at, "silences are known");
            return Ok(silences);
        }
        let silences: Arc<[Silence]> = self.silences().await?.into();
        let mut known = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((now, Arc::clone(&silences)));
        Ok(silences)
    }

    fn forget_known(&self) {
        *self.silences.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// All silences that are kept, oldest first.
    pub async fn silences(&self) -> Result<Vec<Silence>, Fault> {
        self.all(SILENCES, "silence").await
    }

    /// One of them.
    pub async fn silence(&self, id: &str) -> Result<Option<Silence>, Fault> {
        match self.storage.get(INDEX, SILENCES, id).await? {
            Some(entity) => Ok(Some(decode("silence", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Keeps a new one; `false`: there is one of this id.
    pub async fn put_silence(&self, silence: &Silence) -> Result<bool, Fault> {
        let document = encode(silence)?;
        let inserted = self
            .storage
            .insert(INDEX, SILENCES, &silence.id, &document)
            .await?;
        self.forget_known();
        Ok(matches!(inserted, Inserted::Created(_)))
    }

    /// Changes one by compare-and-set; `None`: it is gone, or `change` found nothing to do.
    pub async fn change_silence(
        &self,
        id: &str,
        change: impl Fn(&mut Silence) -> bool + Send,
    ) -> Result<Option<Silence>, Fault> {
        for _ in 0..TRIES {
            let Some(entity) = self.storage.get(INDEX, SILENCES, id).await? else {
                return Ok(None);
            };
            let mut silence: Silence = decode("silence", &entity.document)?;
            if !change(&mut silence) {
                return Ok(None);
            }
            let document = encode(&silence)?;
            let swapped = self
                .storage
                .swap(INDEX, SILENCES, id, &entity.etag, &document)
                .await?;
            if swapped != Swapped::Conflict {
                self.forget_known();
                return Ok(Some(silence));
            }
        }
        Err(Fault::transient("a silence is changed by others right now"))
    }

    /// Removes one, with what it kept.
    pub async fn forget_silence(&self, id: &str) -> Result<(), Fault> {
        self.delete_between(INDEX, &untold_partition(id), "", "")
            .await?;
        self.storage.delete(INDEX, SILENCES, id, None).await?;
        self.forget_known();
        Ok(())
    }

    /// Notes a failure that a silence keeps from people.
    pub async fn put_untold(&self, silence: &str, untold: &Untold) -> Result<(), Fault> {
        let (partition, row) = (untold_partition(silence), untold.ticket.as_str());
        self.storage
            .upsert(INDEX, &partition, row, &encode(untold)?)
            .await
    }

    /// Its ticket was announced after all.
    pub async fn forget_untold(&self, silence: &str, ticket: &TicketId) -> Result<(), Fault> {
        let partition = untold_partition(silence);
        self.storage
            .delete(INDEX, &partition, ticket.as_str(), None)
            .await
            .map(drop)
    }

    /// The failures that a silence kept from people.
    pub async fn untold(&self, silence: &str) -> Result<Vec<Untold>, Fault> {
        let partition = untold_partition(silence);
        self.all(&partition, "silent failure").await
    }
}

fn untold_partition(silence: &str) -> String {
    format!("untold-{silence}")
}
