//! One SQLite file: the store of `aiops-rca local`, opened by the stand-in host and the handler at the same time.
//!
//! Same promises as Azure Storage, kept by the same contract test. Writes are short immediate transactions in
//! WAL mode, so two processes take turns; an ETag is the number of a file-wide counter, so it is never reused,
//! not even by an entity that was deleted and inserted again. Every call runs on the blocking pool.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::limits::{
    TIME_TO_LIVE_MILLIS, bad_continuation, check_document, check_message, check_wire_text, delay_millis, missing, page_size,
};
use super::names::{Prefix, encode_key};
use super::{Continuation, ETag, Entity, Inserted, Message, Page, Swapped};
use crate::fault::Fault;

const BUSY: Duration = Duration::from_secs(5);
/// Open connections kept for reading; more are opened and closed under load.
const IDLE_READERS: usize = 4;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS container (kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
INSERT OR IGNORE INTO counter (id, last) VALUES (1, 0);
CREATE TABLE IF NOT EXISTS entity (
  table_name TEXT NOT NULL, partition TEXT NOT NULL, row TEXT NOT NULL, etag INTEGER NOT NULL, document TEXT NOT NULL,
  UNIQUE (table_name, partition, row));
CREATE TABLE IF NOT EXISTS message (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, receipt TEXT NOT NULL, text TEXT NOT NULL,
  dequeue_count INTEGER NOT NULL, inserted_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, visible_at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS message_by_visibility ON message (queue, visible_at, sequence);
CREATE UNIQUE INDEX IF NOT EXISTS message_by_id ON message (queue, id);
";

/// One SQLite file; cloning shares its connections.
#[derive(Debug, Clone)]
pub struct EmbeddedStorage {
    file: Arc<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    prefix: Prefix,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Tables and queues seen to exist; they are never removed.
    known: Mutex<HashSet<(Kind, String)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Table,
    Queue,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Queue => "queue",
        }
    }
}

impl EmbeddedStorage {
    /// Opens or creates the file and its folder. Blocking, a few milliseconds.
    pub fn open(path: &Path, prefix: &str) -> Result<Self, Fault> {
        let prefix = Prefix::new(prefix)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| Fault::permanent(format!("the folder of the embedded store cannot be made: {error}")))?;
        }
        let writer = Mutex::new(create(path).map_err(|error| fault(&error))?);
        let file = File { path: path.to_owned(), prefix, writer, readers: Mutex::default(), known: Mutex::default() };
        Ok(Self { file: Arc::new(file) })
    }

    pub(super) async fn prepare(&self, tables: &[&str], queues: &[&str]) -> Result<(), Fault> {
        let mut names = Vec::new();
        for table in tables {
            names.push((Kind::Table, self.file.prefix.table(table)?));
        }
        for queue in queues {
            names.push((Kind::Queue, self.file.prefix.queue(queue)?));
        }
        self.write(move |connection| {
            for (kind, name) in names {
                connection.execute("INSERT OR IGNORE INTO container (kind, name) VALUES (?1, ?2)", params![kind.name(), name])?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn insert(&self, table: &str, partition: &str, row: &str, document: &str) -> Result<Inserted, Fault> {
        check_document(document)?;
        let key = self.key(table, partition, row).await?;
        let document = document.to_owned();
        self.write(move |connection| {
            let etag = next_etag(connection)?;
            let inserted = connection
                .prepare_cached(
                    "INSERT INTO entity (table_name, partition, row, etag, document) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (table_name, partition, row) DO NOTHING",
                )?
                .execute(params![key.table, key.partition, key.row, etag, document])?;
            Ok(if inserted == 1 { Inserted::Created(ETag(etag.to_string())) } else { Inserted::Exists })
        })
        .await
    }

    pub(super) async fn get(&self, table: &str, partition: &str, row: &str) -> Result<Option<Entity>, Fault> {
        let key = self.key(table, partition, row).await?;
        self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT etag, document FROM entity WHERE table_name = ?1 AND partition = ?2 AND row = ?3")?
                .query_row(params![key.table, key.partition, key.row], |found| Ok((found.get::<_, i64>(0)?, found.get(1)?)))
                .optional()?;
            Ok(found.map(|(etag, document)| Entity {
                partition: key.partition,
                row: key.row,
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
        check_document(document)?;
        let key = self.key(table, partition, row).await?;
        let Ok(old) = etag.0.parse::<i64>() else { return Ok(Swapped::Conflict) };
        let document = document.to_owned();
        self.write(move |connection| {
            let new = next_etag(connection)?;
            let changed = connection
                .prepare_cached(
                    "UPDATE entity SET etag = ?5, document = ?6
                     WHERE table_name = ?1 AND partition = ?2 AND row = ?3 AND etag = ?4",
                )?
                .execute(params![key.table, key.partition, key.row, old, new, document])?;
            Ok(if changed == 1 { Swapped::Done(ETag(new.to_string())) } else { Swapped::Conflict })
        })
        .await
    }

    pub(super) async fn upsert(&self, table: &str, partition: &str, row: &str, document: &str) -> Result<(), Fault> {
        check_document(document)?;
        let key = self.key(table, partition, row).await?;
        let document = document.to_owned();
        self.write(move |connection| {
            let etag = next_etag(connection)?;
            connection
                .prepare_cached(
                    "INSERT INTO entity (table_name, partition, row, etag, document) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (table_name, partition, row) DO UPDATE SET etag = excluded.etag, document = excluded.document",
                )?
                .execute(params![key.table, key.partition, key.row, etag, document])?;
            Ok(())
        })
        .await
    }

    pub(super) async fn delete(&self, table: &str, partition: &str, row: &str, etag: Option<&ETag>) -> Result<bool, Fault> {
        let key = self.key(table, partition, row).await?;
        let etag = match etag.map(|etag| etag.0.parse::<i64>()) {
            None => None,
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => return Ok(false),
        };
        self.write(move |connection| {
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
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT row, etag, document FROM entity
                 WHERE table_name = ?1 AND partition = ?2 AND row >= ?3 AND (?4 = '' OR row < ?4) AND (?5 IS NULL OR row > ?5)
                 ORDER BY row LIMIT ?6",
            )?;
            let rows = statement.query_map(params![key.table, key.partition, key.row, to, after, limit + 1], |found| {
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
            let next = entities.last().filter(|_| more).map(|last| Continuation(URL_SAFE_NO_PAD.encode(&last.row)));
            Ok(Page { entities, next })
        })
        .await
    }

    pub(super) async fn put(&self, queue: &str, text: &str, delay: Duration) -> Result<(), Fault> {
        check_message(text)?;
        self.put_text(queue, STANDARD.encode(text), delay).await
    }

    pub(super) async fn put_raw(&self, queue: &str, text: &str) -> Result<(), Fault> {
        check_wire_text(text)?;
        self.put_text(queue, text.to_owned(), Duration::ZERO).await
    }

    async fn put_text(&self, queue: &str, text: String, delay: Duration) -> Result<(), Fault> {
        let queue = self.queue(queue).await?;
        let delay = delay_millis(delay);
        self.write(move |connection| {
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

    pub(super) async fn receive(&self, queue: &str, count: u8, hidden: Duration) -> Result<Vec<Message>, Fault> {
        let queue = self.queue(queue).await?;
        let (count, hidden) = (count.clamp(1, 32), delay_millis(hidden));
        // An empty queue is asked about often: look before taking the write lock.
        let name = queue.clone();
        let any = self
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM message WHERE queue = ?1 AND visible_at <= ?2)")?
                    .query_row(params![name, Utc::now().timestamp_millis()], |found| found.get::<_, bool>(0))
            })
            .await?;
        if !any {
            return Ok(Vec::new());
        }
        self.write(move |connection| {
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

    pub(super) async fn delete_message(&self, queue: &str, message: &Message) -> Result<bool, Fault> {
        let queue = self.queue(queue).await?;
        let (id, receipt) = (message.id.clone(), message.receipt.clone());
        self.write(move |connection| {
            let deleted = connection
                .prepare_cached("DELETE FROM message WHERE queue = ?1 AND id = ?2 AND receipt = ?3 AND receipt <> ''")?
                .execute(params![queue, id, receipt])?;
            Ok(deleted == 1)
        })
        .await
    }

    pub(super) async fn hide_message(&self, queue: &str, message: &Message, hidden: Duration) -> Result<Option<String>, Fault> {
        let queue = self.queue(queue).await?;
        let (id, receipt) = (message.id.clone(), message.receipt.clone());
        let hidden = delay_millis(hidden);
        self.write(move |connection| {
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
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT count(*) FROM message WHERE queue = ?1 AND expires_at > ?2")?
                .query_row(params![queue, Utc::now().timestamp_millis()], |found| found.get::<_, i64>(0))
        })
        .await
        .map(i64::unsigned_abs)
    }

    /// Checks names and keys as Azure would.
    async fn key(&self, table: &str, partition: &str, row: &str) -> Result<Key, Fault> {
        encode_key(partition)?;
        encode_key(row)?;
        let table = self.file.prefix.table(table)?;
        self.check_exists(Kind::Table, &table).await?;
        Ok(Key { table, partition: partition.to_owned(), row: row.to_owned() })
    }

    async fn queue(&self, queue: &str) -> Result<String, Fault> {
        let queue = self.file.prefix.queue(queue)?;
        self.check_exists(Kind::Queue, &queue).await?;
        Ok(queue)
    }

    async fn check_exists(&self, kind: Kind, name: &str) -> Result<(), Fault> {
        let wanted = (kind, name.to_owned());
        if lock(&self.file.known).contains(&wanted) {
            return Ok(());
        }
        let name = name.to_owned();
        let exists = self
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT EXISTS (SELECT 1 FROM container WHERE kind = ?1 AND name = ?2)")?
                    .query_row(params![kind.name(), name], |found| found.get::<_, bool>(0))
            })
            .await?;
        if !exists {
            return Err(missing(kind.name(), &wanted.1));
        }
        lock(&self.file.known).insert(wanted);
        Ok(())
    }

    /// One short transaction that takes the write lock at its start.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut writer = lock(&file.writer);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let file = Arc::clone(&self.file);
        blocking(move || {
            let idle = lock(&file.readers).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => connect(&file.path)?,
            };
            let value = work(&reader)?;
            let mut readers = lock(&file.readers);
            if readers.len() < IDLE_READERS {
                readers.push(reader);
            }
            Ok(value)
        })
        .await
    }
}

struct Key {
    table: String,
    partition: String,
    row: String,
}

/// Switching to WAL does not wait for another process that does the same at this moment; so we do.
fn create(path: &Path) -> rusqlite::Result<Connection> {
    let mut tries = 0;
    loop {
        let outcome = connect(path).and_then(|connection| {
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        });
        tries += 1;
        match outcome {
            Err(error) if tries < 40 && fault(&error).is_transient() => std::thread::sleep(Duration::from_millis(50)),
            outcome => return outcome,
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // WAL + NORMAL survives the death of the process; only a power cut can lose the last commits.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| fault(&error)),
        Err(_) => Err(Fault::transient("the embedded store was interrupted")),
    }
}

fn next_etag(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE counter SET last = last + 1 WHERE id = 1 RETURNING last")?
        .query_row([], |found| found.get(0))
}

/// The last row of the page before.
fn continuation_row(continuation: &Continuation) -> Result<String, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(&continuation.0).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad_continuation)
}

/// Busy and I/O may pass; the words of SQLite name no values.
fn fault(error: &rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => Fault::transient("the embedded store is busy"),
        Some(DiskFull) => Fault::transient("the disk of the embedded store is full"),
        Some(SystemIoFailure) => Fault::transient("the embedded store cannot read or write its file"),
        Some(CannotOpen) => Fault::permanent("the file of the embedded store cannot be opened: check its path and rights"),
        Some(code) => Fault::permanent(format!("the embedded store failed: {code:?}")),
        None => Fault::permanent("the embedded store holds something it cannot read"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
