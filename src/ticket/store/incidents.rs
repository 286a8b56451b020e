//! What folding keeps: the failures of a cause that may be the same, runs that tickets name, and the followers of a leader.
//!
//! The first writer wins everywhere: rows are inserted if absent or changed by compare-and-set. What they hold is the
//! business of `incident`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{INDEX, TicketStore, decode, encode, spread};
use crate::digest::sha256;
use crate::fault::Fault;
use crate::storage::{ETag, Inserted, Swapped, Write};
use crate::ticket::{Member, TicketId};

/// A row as it was read.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// What it holds.
    pub document: T,
    etag: ETag,
}

/// A row that is to be written: what was read of it, if it was there, and what it is to hold.
#[derive(Debug)]
pub struct NewRow<'a, T> {
    /// Its name.
    pub row: &'a str,
    /// As it was read.
    pub before: Option<&'a Kept<T>>,
    /// What it is to hold.
    pub document: &'a T,
}

impl TicketStore {
    /// What is kept under this name of a cause.
    pub async fn kept_of_cause<T: DeserializeOwned>(
        &self,
        cause: &str,
        row: &str,
    ) -> Result<Option<Kept<T>>, Fault> {
        let found = self
            .storage
            .get(INDEX, &cause_partition(cause), row)
            .await?;
        let Some(entity) = found else { return Ok(None) };
        let document = decode("fold row", &entity.document)?;
        Ok(Some(Kept {
            document,
            etag: entity.etag,
        }))
    }

    /// Writes rows of a cause, all or none; `false`: one of them changed since it was read.
    pub async fn keep_of_cause<T: Serialize>(
        &self,
        cause: &str,
        rows: &[NewRow<'_, T>],
    ) -> Result<bool, Fault> {
        let documents: Vec<String> = rows
            .iter()
            .map(|new| encode(new.document))
            .collect::<Result<_, _>>()?;
        let mut writes = Vec::new();
        for (new, document) in rows.iter().zip(&documents) {
            writes.push(match new.before {
                Some(before) => Write::Swap(new.row, &before.etag, document),
                None => Write::Insert(new.row, document),
            });
        }
        if writes.is_empty() {
            return Ok(true);
        }
        let outcome = self
            .storage
            .commit(INDEX, &cause_partition(cause), &writes)
            .await?;
        Ok(outcome != Swapped::Conflict)
    }

    /// Notes a run that a ticket is about or names; what was noted of it before, if anything was.
    pub async fn note_run<T: Serialize + DeserializeOwned>(
        &self,
        run: &str,
        document: &T,
    ) -> Result<Option<T>, Fault> {
        let (partition, row) = noted(run);
        let inserted = self
            .storage
            .insert(INDEX, &partition, &row, &encode(document)?)
            .await?;
        if let Inserted::Created(_) = inserted {
            return Ok(None);
        }
        match self.storage.get(INDEX, &partition, &row).await? {
            Some(entity) => Ok(Some(decode("linked run", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Lists a follower with its leader.
    pub async fn put_member(&self, leader: &TicketId, member: &Member) -> Result<(), Fault> {
        let partition = members_partition(leader);
        self.storage
            .upsert(INDEX, &partition, member.id.as_str(), &encode(member)?)
            .await
    }

    /// It follows another leader, or none.
    pub async fn drop_member(&self, leader: &TicketId, id: &TicketId) -> Result<(), Fault> {
        let partition = members_partition(leader);
        self.storage
            .delete(INDEX, &partition, id.as_str(), None)
            .await
            .map(drop)
    }

    /// All followers of a leader, in the order of their ids.
    pub async fn members(&self, leader: &TicketId) -> Result<Vec<Member>, Fault> {
        let partition = members_partition(leader);
        self.all(&partition, "follower").await
    }

    /// Removes a row of a cause, if all that it holds `is_gone`.
    pub async fn forget_of_cause<T: DeserializeOwned>(
        &self,
        cause: &str,
        row: &str,
        is_gone: impl FnOnce(&T) -> bool + Send,
    ) -> Result<(), Fault> {
        let Some(kept) = self.kept_of_cause::<T>(cause, row).await? else {
            return Ok(());
        };
        if is_gone(&kept.document) {
            let partition = cause_partition(cause);
            self.storage
                .delete(INDEX, &partition, row, Some(&kept.etag))
                .await?;
        }
        Ok(())
    }

    /// Removes what is noted of a run.
    pub async fn forget_noted_run(&self, run: &str) -> Result<(), Fault> {
        let (partition, row) = noted(run);
        self.storage
            .delete(INDEX, &partition, &row, None)
            .await
            .map(drop)
    }

    /// Removes the list of a leader's followers.
    pub(super) async fn forget_members(&self, leader: &TicketId) -> Result<(), Fault> {
        self.delete_between(INDEX, &members_partition(leader), "", "")
            .await
    }

    /// Who leads what this ticket led: the first who offers to.
    pub async fn heir(&self, leader: &TicketId, offer: &TicketId) -> Result<TicketId, Fault> {
        Ok(self
            .note_run(&led_by(leader), offer)
            .await?
            .unwrap_or_else(|| offer.clone()))
    }

    /// Removes the note on who took over from this leader.
    pub(super) async fn forget_heir(&self, leader: &TicketId) -> Result<(), Fault> {
        self.forget_noted_run(&led_by(leader)).await
    }

    /// Who took over from this leader, if anybody did.
    pub async fn heir_of(&self, leader: &TicketId) -> Result<Option<TicketId>, Fault> {
        let (partition, row) = noted(&led_by(leader));
        match self.storage.get(INDEX, &partition, &row).await? {
            Some(entity) => Ok(Some(decode("heir", &entity.document)?)),
            None => Ok(None),
        }
    }
}

/// Where it is noted which ticket a run belongs to.
fn noted(run: &str) -> (String, String) {
    let row = sha256(run);
    (spread("link", &row), row)
}

/// What this ticket led is noted like a run.
fn led_by(leader: &TicketId) -> String {
    format!("heir of {leader}")
}

fn cause_partition(cause: &str) -> String {
    format!("fold-{}", cause.get(..3).unwrap_or("000"))
}

fn members_partition(leader: &TicketId) -> String {
    format!("members-{leader}")
}
