//! Tables and queues behind one closed set of backends: Azure Storage, or one SQLite file.
//!
//! A pipe: it imports only [`crate::fault`], [`crate::http`] and [`crate::identity`]. It does not know what is
//! stored: an entity is a JSON text under (partition, row), a message is a text. Every backend passes the same
//! contract test. Names given here are bare (`tickets`, `failures`); the configured prefix is added inside
//! (`rcatickets`, `rca-failures`). Keys may be any text; rows are ordered by their UTF-8 bytes.
//! A table or queue that does not exist is a transient fault: see [`Storage::prepare`].
//!
//! Writes are tried again for a few seconds when the store is busy or silent. So a message may be put twice, and
//! a reader of a queue must tolerate that; inserts and swaps whose answer was lost are told apart from those of others.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::fault::Fault;
use crate::http::Http;

pub mod azure;
#[cfg(feature = "local")]
pub mod embedded;
mod limits;
mod names;
mod settings;

pub use settings::{
    ConnectionStringError, StorageAccess, StorageAccount, StorageBackend, StorageSettings,
};

/// Version of an entity, for compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub String);

/// An entity as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Partition key.
    pub partition: String,
    /// Row key.
    pub row: String,
    /// Its version.
    pub etag: ETag,
    /// The document, JSON text, up to 900 KiB.
    pub document: String,
}

/// Outcome of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It was not there; now it is.
    Created(ETag),
    /// Somebody was first; nothing changed.
    Exists,
}

/// Outcome of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// Done; the new version.
    Done(ETag),
    /// Somebody changed or removed it since it was read; nothing changed.
    Conflict,
}

/// A piece of a range query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In order of (partition, row).
    pub entities: Vec<Entity>,
    /// Hand it in again to go on; `None` at the end.
    pub next: Option<Continuation>,
}

/// Where a range query goes on: opaque, text-safe, may be stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Continuation(pub String);

/// A message as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id, the same at every delivery.
    pub id: String,
    /// Needed to delete or hide it; changes with every receive and update.
    pub receipt: String,
    /// The text as it was put.
    pub text: String,
    /// How often it was received, this time included.
    pub dequeue_count: u32,
    /// When it was put.
    pub inserted_at: chrono::DateTime<chrono::Utc>,
    /// When it expires.
    pub expires_at: chrono::DateTime<chrono::Utc>,
    /// When it becomes visible again if it is not deleted.
    pub next_visible_at: chrono::DateTime<chrono::Utc>,
}

/// The longest text a message can carry.
pub const MESSAGE_CAP: usize = 64 * 1024;

/// The longest document of an entity, in bytes.
pub const DOCUMENT_CAP: usize = 900 * 1024;

/// What of a store does not work, for people and health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It can be read and not written.
    ReadOnly,
    /// There is no room for more.
    Full,
    /// It answers; what stands there cannot be understood.
    Unreadable,
    /// It does not answer, or refuses us.
    Down,
}

/// In the reason of a fault of a store that takes no more writes.
const READ_ONLY: &str = "is read-only";
/// In the reason of a fault of a store without room.
const FULL: &str = "is full";
/// How the reason of a fault begins when a stored document is not what we write.
pub const UNREADABLE: &str = "the stored ";

impl Trouble {
    /// Sorts a fault of the store.
    pub fn of(fault: &Fault) -> Self {
        let reason = fault.reason();
        if reason.starts_with(UNREADABLE) {
            Self::Unreadable
        } else if reason.contains(READ_ONLY) {
            Self::ReadOnly
        } else if reason.contains(FULL) {
            Self::Full
        } else {
            Self::Down
        }
    }

    /// A code for machines.
    pub fn code(self) -> &'static str {
        match self {
            Self::ReadOnly => "store_read_only",
            Self::Full => "store_full",
            Self::Unreadable => "unreadable",
            Self::Down => "store_unavailable",
        }
    }

    /// What a code stands for.
    pub fn of_code(code: &str) -> Option<Self> {
        [Self::ReadOnly, Self::Full, Self::Unreadable, Self::Down]
            .into_iter()
            .find(|trouble| trouble.code() == code)
    }

    /// A sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ReadOnly => {
                "The store is read-only: tickets can be looked at, nothing new is recorded."
            }
            Self::Full => {
                "The store is full: tickets can be looked at, nothing new is recorded until there is room."
            }
            Self::Unreadable => {
                "What is stored here cannot be read: it was damaged, or written by another version."
            }
            Self::Down => "The store does not answer. Try again in a moment.",
        }
    }
}

/// One of the backends; cloning is cheap.
#[derive(Debug, Clone)]
pub enum Storage {
    /// Azure Storage or Azurite.
    Azure(azure::AzureStorage),
    /// One SQLite file, shared by processes.
    #[cfg(feature = "local")]
    Embedded(embedded::EmbeddedStorage),
}

macro_rules! on_backend {
    ($self:expr, $backend:ident => $call:expr) => {
        match $self {
            Storage::Azure($backend) => $call.await,
            #[cfg(feature = "local")]
            Storage::Embedded($backend) => $call.await,
        }
    };
}

impl Storage {
    /// Opens the store. For an account nothing is asked over the network yet; the embedded file is created.
    pub fn open(settings: &StorageSettings, http: &Http) -> Result<Self, Fault> {
        match &settings.backend {
            StorageBackend::Account(account) => Ok(Self::Azure(azure::AzureStorage::open(
                account,
                &settings.prefix,
                http,
            )?)),
            #[cfg(feature = "local")]
            StorageBackend::Embedded { path } => Ok(Self::Embedded(
                embedded::EmbeddedStorage::open(path, &settings.prefix)?,
            )),
        }
    }

    /// Creates tables and queues that are missing. Queue names get no `-poison` sibling by themselves.
    pub async fn prepare(&self, tables: &[&str], queues: &[&str]) -> Result<(), Fault> {
        on_backend!(self, backend => backend.prepare(tables, queues))
    }

    /// Inserts if absent.
    pub async fn insert(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<Inserted, Fault> {
        on_backend!(self, backend => backend.insert(table, partition, row, document))
    }

    /// Point read.
    pub async fn get(
        &self,
        table: &str,
        partition: &str,
        row: &str,
    ) -> Result<Option<Entity>, Fault> {
        on_backend!(self, backend => backend.get(table, partition, row))
    }

    /// Replaces the entity only if it still has this version.
    pub async fn swap(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        etag: &ETag,
        document: &str,
    ) -> Result<Swapped, Fault> {
        on_backend!(self, backend => backend.swap(table, partition, row, etag, document))
    }

    /// Writes whatever was there.
    pub async fn upsert(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<(), Fault> {
        on_backend!(self, backend => backend.upsert(table, partition, row, document))
    }

    /// Deletes; with `etag` only that version. `false` when it was not there or had changed.
    pub async fn delete(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        etag: Option<&ETag>,
    ) -> Result<bool, Fault> {
        on_backend!(self, backend => backend.delete(table, partition, row, etag))
    }

    /// Rows of one partition with `from <= row < to` (an empty bound is open), at most `limit` a page.
    pub async fn scan(
        &self,
        table: &str,
        partition: &str,
        from: &str,
        to: &str,
        limit: u32,
        after: Option<&Continuation>,
    ) -> Result<Page, Fault> {
        on_backend!(self, backend => backend.scan(table, partition, from, to, limit, after))
    }

    /// Puts a text as it is (`messageEncoding` of `host.json` is `none`: what a host that expects base64 cannot decode, it
    /// can never hand to anybody), visible after `delay`. A text that XML cannot carry is refused.
    pub async fn put(&self, queue: &str, text: &str, delay: Duration) -> Result<(), Fault> {
        on_backend!(self, backend => backend.put(queue, text, delay))
    }

    /// Receives up to `count` (1 to 32) visible messages and hides them for `hidden`.
    pub async fn receive(
        &self,
        queue: &str,
        count: u8,
        hidden: Duration,
    ) -> Result<Vec<Message>, Fault> {
        on_backend!(self, backend => backend.receive(queue, count, hidden))
    }

    /// Deletes a received message. `false` when its receipt is no longer valid.
    pub async fn delete_message(&self, queue: &str, message: &Message) -> Result<bool, Fault> {
        on_backend!(self, backend => backend.delete_message(queue, message))
    }

    /// Hides a received message for another `hidden` from now; returns its new receipt, `None` when the old one is no longer valid.
    pub async fn hide_message(
        &self,
        queue: &str,
        message: &Message,
        hidden: Duration,
    ) -> Result<Option<String>, Fault> {
        on_backend!(self, backend => backend.hide_message(queue, message, hidden))
    }

    /// About how many messages there are, hidden ones included.
    pub async fn depth(&self, queue: &str) -> Result<u64, Fault> {
        on_backend!(self, backend => backend.depth(queue))
    }

    /// When the oldest of the visible messages was put; an account is asked about the next 32. Nothing is received.
    pub async fn oldest_waiting(&self, queue: &str) -> Result<Option<DateTime<Utc>>, Fault> {
        on_backend!(self, backend => backend.oldest_waiting(queue))
    }
}
