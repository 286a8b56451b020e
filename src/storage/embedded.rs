//! One SQLite file: the store of `aiops-rca local`, opened by the stand-in host and the handler at the same time.
//!
//! Same promises as Azure Storage, kept by the same contract test. One writer at a time commits what waits
//! together (`writer`), in WAL mode, so two processes take turns. An ETag is a random number of 63 bits, so that an entity
//! that was deleted and inserted again gets another one. Reads run on the blocking pool.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use self::file::{File, Kind};
use self::writer::Piece;
use super::limits::{
    LONGEST_DELAY, TIME_TO_LIVE_MILLIS, bad_continuation, check_message, check_writes, page_size,
};
use super::names::{Prefix, encode_key};
use super::{Continuation, ETag, Entity, Inserted, Message, Page, Swapped, Write};
use crate::fault::Fault;

mod error;
mod file;
mod writer;

const INSERT: &str =
    "INSERT INTO entity (table_name, partition, row, etag, document) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (table_name, partition, row) DO NOTHING";
const UPSERT: &str = "INSERT INTO entity (table_name, partition, row, etag, document) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (table_name, partition, row) DO UPDATE SET etag = excluded.etag, document = excluded.document";
const SWAP: &str = "UPDATE entity SET etag = ?4, document = ?5
    WHERE table_name = ?1 AND partition = ?2 AND row = ?3 AND etag = ?6";
const DELETE: &str = "DELETE FROM entity WHERE table_name = ?1 AND partition = ?2 AND row = ?3";

/// So many rows hold up nobody's writes for long.
const FEW: u32 = 64;

/// Both ends of the range in a form that the index can use: an `OR` would read to the end of the partition.
const fn scan(after: bool, ends: bool) -> &'static str {
    match (after, ends) {
        (false, true) => "SELECT row, etag, document FROM entity
            WHERE table_name = ?1 AND partition = ?2 AND row >= ?3 AND row < ?4 ORDER BY row LIMIT ?5",
        (true, true) => "SELECT row, etag, document FROM entity
            WHERE table_name = ?1 AND partition = ?2 AND row > ?3 AND row < ?4 ORDER BY row LIMIT ?5",
        (false, false) => "SELECT row, etag, document FROM entity
            WHERE table_name = ?1 AND partition = ?2 AND row >= ?3 AND ?4 = '' ORDER BY row LIMIT ?5",
        (true, false) => "SELECT row, etag, document FROM entity
            WHERE table_name = ?1 AND partition = ?2 AND row > ?3 AND ?4 = '' ORDER BY row LIMIT ?5",
    }
}

/// One SQLite file; cloning shares its connections.
#[derive(Debug, Clone)]
pub struct EmbeddedStorage {
    file: File,
}

impl EmbeddedStorage {
    /// Opens or creates the file and its folder. Blocking, a few milliseconds.
    pub fn open(path: &Path, prefix: &str) -> Result<Self, Fault> {
        Ok(Self {
            file: File::open(path, Prefix::new(prefix)?)?,
        })
    }

    pub(super) async fn prepare(&self, tables: &[&str], queues: &[&str]) -> Result<(), Fault> {
        let mut names = Vec::new();
        for table in tables {
            names.push((Kind::Table, self.file.prefix.table(table)?));
        }
        for queue in queues {
            names.push((Kind::Queue, self.file.prefix.queue(queue)?));
        }
        self.file
            .write(move |connection| {
                for (kind, name) in &names {
                    connection.execute(
                        "INSERT OR IGNORE INTO container (kind, name) VALUES (?1, ?2)",
                        params![kind.name(), name],
                    )?;
                }
                Ok(())
            })
            .await
    }

    pub(super) async fn insert(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<Inserted, Fault> {
        let insert = [Write::Insert(row, document)];
        Ok(match self.commit(table, partition, &insert).await? {
            Swapped::Done(etag) => Inserted::Created(etag),
            Swapped::Conflict => Inserted::Exists,
        })
    }

    pub(super) async fn get(
        &self,
        table: &str,
        partition: &str,
        row: &str,
    ) -> Result<Option<Entity>, Fault> {
        let key = self.key(table, partition, row).await?;
        self.file
            .look(move |connection| {
                let found = connection
                    .prepare_cached("SELECT etag, document FROM entity WHERE table_name = ?1 AND partition = ?2 AND row = ?3")?
                    .query_row(params![key.table, key.partition, key.row], |found| Ok((found.get::<_, i64>(0)?, found.get(1)?)))
                    .optional()?;
                Ok(found.map(|(etag, document)| Entity {
                    partition: key.partition.clone(),
                    row: key.row.clone(),
                    etag: ETag(etag.to_string()),
                    document,
                }))
            })
            .await
    }

    pub(super) async fn swap(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        etag: &ETag,
        document: &str,
    ) -> Result<Swapped, Fault> {
        self.commit(table, partition, &[Write::Swap(row, etag, document)])
            .await
    }

    pub(super) async fn upsert(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        document: &str,
    ) -> Result<(), Fault> {
        self.commit(table, partition, &[Write::Upsert(row, document)])
            .await
            .map(drop)
    }

    pub(super) async fn commit(
        &self,
        table: &str,
        partition: &str,
        writes: &[Write<'_>],
    ) -> Result<Swapped, Fault> {
        check_writes(writes)?;
        let mut rows = Vec::with_capacity(writes.len());
        for write in writes {
            let key = self.key(table, partition, write.row()).await?;
            let kind = match *write {
                Write::Insert(_, document) => Kept::Insert(document.to_owned()),
                Write::Upsert(_, document) => Kept::Upsert(document.to_owned()),
                Write::Delete(_) => Kept::Delete,
                Write::Swap(_, etag, document) => match etag.0.parse() {
                    Ok(version) => Kept::Swap(version, document.to_owned()),
                    Err(_) => return Ok(Swapped::Conflict),
                },
            };
            rows.push((key, kind));
        }
        let etag = fastrand::i64(1..);
        let write = move |connection: &Connection| {
            for (done, (key, kind)) in rows.iter().enumerate() {
                if !kind.write(connection, key, etag)? {
                    let piece = if done == 0 { Piece::Keep } else { Piece::Undo };
                    return Ok(piece(Swapped::Conflict));
                }
            }
            Ok(Piece::Keep(Swapped::Done(ETag(etag.to_string()))))
        };
        self.file.write_or_undo(write).await
    }

    pub(super) async fn delete(
        &self,
        table: &str,
        partition: &str,
        row: &str,
        etag: Option<&ETag>,
    ) -> Result<bool, Fault> {
        let key = self.key(table, partition, row).await?;
        let etag = match etag.map(|etag| etag.0.parse::<i64>()) {
            None => None,
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => return Ok(false),
        };
        self.file
            .write(move |connection| {
                let deleted = connection
                    .prepare_cached(
                        "DELETE FROM entity WHERE table_name = ?1 AND partition = ?2 AND row = ?3 AND (?4 IS NULL OR etag = ?4)",
                    )?
                    .execute(params![key.table, key.partition, key.row, etag])?;
                Ok(deleted == 1)
            })
            .await
    }

    pub(super) async fn scan(
        &self,
        table: &str,
        partition: &str,
        from: &str,
        to: &str,
        limit: u32,
        after: Option<&Continuation>,
    ) -> Result<Page, Fault> {
        let key = self.key(table, partition, from).await?;
        encode_key(to)?;
        let after = after.map(continuation_row).transpose()?;
        let (to, limit) = (to.to_owned(), page_size(limit));
        let work = move |connection: &Connection| {
            let first = after.as_ref().unwrap_or(&key.row);
            let mut statement = connection.prepare_cached(scan(after.is_some(), !to.is_empty()))?;
            let bounds = params![key.table, key.partition, first, to, limit + 1];
            let rows = statement.query_map(bounds, |found| {
                Ok(Entity {
                    partition: key.partition.clone(),
                    row: found.get(0)?,
                    etag: ETag(found.get::<_, i64>(1)?.to_string()),
                    document: found.get(2)?,
                })
            })?;
            let mut entities = rows.collect::<Result<Vec<_>, _>>()?;
            let more = entities.len() > limit as usize;
            entities.truncate(limit as usize);
            let next = entities
                .last()
                .filter(|_| more)
                .map(|last| Continuation(URL_SAFE_NO_PAD.encode(&last.row)));
            Ok(Page { entities, next })
        };
        if limit <= FEW {
            self.file.look(work).await
        } else {
            self.file.read(work).await
        }
    }

    pub(super) async fn put(&self, queue: &str, text: &str, delay: Duration) -> Result<(), Fault> {
        check_message(text)?;
        let text = text.to_owned();
        let queue = self.queue(queue).await?;
        let delay = delay_millis(delay);
        self.file
            .write(move |connection| {
                let now = Utc::now().timestamp_millis();
                connection
                    .prepare_cached(
                        "INSERT INTO message (queue, id, receipt, text, dequeue_count, inserted_at, expires_at, visible_at)
                     VALUES (?1, ?2, '', ?3, 0, ?4, ?5, ?6)",
                    )?
                    .execute(params![queue, new_id(), text, now, now + TIME_TO_LIVE_MILLIS, now + delay])?;
                Ok(())
            })
            .await
    }

    pub(super) async fn receive(
        &self,
        queue: &str,
        count: u8,
        hidden: Duration,
    ) -> Result<Vec<Message>, Fault> {
        let queue = self.queue(queue).await?;
        let (count, hidden) = (count.clamp(1, 32), delay_millis(hidden));
        // An empty queue is asked about often: look before taking the write lock.
        let name = queue.clone();
        let any = self
            .file
            .look(move |connection| {
                connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM message WHERE queue = ?1 AND visible_at <= ?2)")?
                    .query_row(params![name, Utc::now().timestamp_millis()], |found| found.get::<_, bool>(0))
            })
            .await?;
        if !any {
            return Ok(Vec::new());
        }
        self.file.write(move |connection| {
            let now = Utc::now().timestamp_millis();
            connection
                .prepare_cached("DELETE FROM message WHERE queue = ?1 AND visible_at <= ?2 AND expires_at <= ?2")?
                .execute(params![queue, now])?;
            let mut messages = connection
                .prepare_cached(
                    "SELECT id, text, dequeue_count + 1, inserted_at, expires_at FROM message
                     WHERE queue = ?1 AND visible_at <= ?2 ORDER BY visible_at, sequence LIMIT ?3",
                )?
                .query_map(params![queue, now, count], |found| {
                    Ok(Message {
                        id: found.get(0)?,
                        receipt: new_id(),
                        text: found.get(1)?,
                        dequeue_count: found.get(2)?,
                        inserted_at: time(found.get(3)?),
                        expires_at: time(found.get(4)?),
                        next_visible_at: time(now + hidden),
                    })
                })?
                .collect::<Result<Vec<_>, _>>()?;
            let mut hide = connection.prepare_cached(
                "UPDATE message SET receipt = ?3, visible_at = ?4, dequeue_count = dequeue_count + 1 WHERE queue = ?1 AND id = ?2",
            )?;
            for message in &mut messages {
                hide.execute(params![queue, message.id, message.receipt, now + hidden])?;
            }
            Ok(messages)
        })
        .await
    }

    pub(super) async fn delete_message(
        &self,
        queue: &str,
        message: &Message,
    ) -> Result<bool, Fault> {
        let queue = self.queue(queue).await?;
        let (id, receipt) = (message.id.clone(), message.receipt.clone());
        self.file
            .write(move |connection| {
                let deleted = connection
                    .prepare_cached("DELETE FROM message WHERE queue = ?1 AND id = ?2 AND receipt = ?3 AND receipt <> ''")?
                    .execute(params![queue, id, receipt])?;
                Ok(deleted == 1)
            })
            .await
    }

    pub(super) async fn hide_message(
        &self,
        queue: &str,
        message: &Message,
        hidden: Duration,
    ) -> Result<Option<String>, Fault> {
        let queue = self.queue(queue).await?;
        let (id, receipt) = (message.id.clone(), message.receipt.clone());
        let hidden = delay_millis(hidden);
        self.file
            .write(move |connection| {
                let new = new_id();
                let hidden_until = Utc::now().timestamp_millis() + hidden;
                let changed = connection
                    .prepare_cached(
                        "UPDATE message SET receipt = ?4, visible_at = ?5
                     WHERE queue = ?1 AND id = ?2 AND receipt = ?3 AND receipt <> ''",
                    )?
                    .execute(params![queue, id, receipt, new, hidden_until])?;
                Ok((changed == 1).then_some(new))
            })
            .await
    }

    pub(super) async fn depth(&self, queue: &str) -> Result<u64, Fault> {
        let queue = self.queue(queue).await?;
        self.file
            .read(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT count(*) FROM message WHERE queue = ?1 AND expires_at > ?2",
                    )?
                    .query_row(params![queue, Utc::now().timestamp_millis()], |found| {
                        found.get::<_, i64>(0)
                    })
            })
            .await
            .map(i64::unsigned_abs)
    }

    pub(super) async fn oldest_waiting(&self, queue: &str) -> Result<Option<DateTime<Utc>>, Fault> {
        let queue = self.queue(queue).await?;
        let oldest = self.file.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT min(inserted_at) FROM message WHERE queue = ?1 AND visible_at <= ?2 AND expires_at > ?2",
                )?
                .query_row(params![queue, Utc::now().timestamp_millis()], |found| {
                    found.get::<_, Option<i64>>(0)
                })
        });
        Ok(oldest.await?.map(time))
    }

    /// Checks names and keys as Azure would.
    async fn key(&self, table: &str, partition: &str, row: &str) -> Result<Key, Fault> {
        encode_key(partition)?;
        encode_key(row)?;
        let table = self.file.prefix.table(table)?;
        self.file.check_exists(Kind::Table, &table).await?;
        Ok(Key {
            table,
            partition: partition.to_owned(),
            row: row.to_owned(),
        })
    }

    async fn queue(&self, queue: &str) -> Result<String, Fault> {
        let queue = self.file.prefix.queue(queue)?;
        self.file.check_exists(Kind::Queue, &queue).await?;
        Ok(queue)
    }
}

struct Key {
    table: String,
    partition: String,
    row: String,
}

/// A write that waits for its transaction.
enum Kept {
    Insert(String),
    Swap(i64, String),
    Upsert(String),
    Delete,
}

impl Kept {
    /// `false`: the row is not as it has to be.
    fn write(&self, connection: &Connection, key: &Key, etag: i64) -> rusqlite::Result<bool> {
        let (table, partition, row) = (&key.table, &key.partition, &key.row);
        let changed = match self {
            Self::Insert(document) => connection
                .prepare_cached(INSERT)?
                .execute(params![table, partition, row, etag, document])?,
            Self::Upsert(document) => connection
                .prepare_cached(UPSERT)?
                .execute(params![table, partition, row, etag, document])?,
            Self::Swap(version, document) => connection
                .prepare_cached(SWAP)?
                .execute(params![table, partition, row, etag, document, version])?,
            Self::Delete => connection
                .prepare_cached(DELETE)?
                .execute(params![table, partition, row])?,
        };
        Ok(changed == 1)
    }
}

/// The last row of the page before.
fn continuation_row(continuation: &Continuation) -> Result<String, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(&continuation.0).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(bad_continuation)
}

/// In the order of time: an index of them grows at its end, and a commit writes few of its pages.
fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A delay in milliseconds, never past the end of a message's life.
fn delay_millis(delay: Duration) -> i64 {
    i64::try_from(delay.min(LONGEST_DELAY).as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_reads_its_range_and_no_more() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(file::SCHEMA).unwrap();
        for (after, ends, range) in [
            (false, true, "partition=? AND row>? AND row<?"),
            (true, true, "partition=? AND row>? AND row<?"),
            (false, false, "partition=? AND row>?"),
            (true, false, "partition=? AND row>?"),
        ] {
            let plan = format!("EXPLAIN QUERY PLAN {}", scan(after, ends));
            let mut statement = connection.prepare(&plan).unwrap();
            let parameters = params!["t", "p", "a", "", 1];
            let steps = statement.query_map(parameters, |step| step.get::<_, String>(3));
            let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
            assert_eq!(steps.len(), 1, "no sorting: {steps:?}");
            assert!(steps[0].contains(range), "{steps:?}");
        }
    }
}
