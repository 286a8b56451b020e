//! The file of the embedded store and its connections: one that writes, a few that read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::Semaphore;

use super::super::names::Prefix;
use super::error::fault;
use super::writer::{Piece, Writer};
use crate::fault::Fault;

const BUSY: Duration = Duration::from_secs(5);
/// Connections for reading, opened as they are needed; who finds them all busy waits. A read takes microseconds, and a
/// connection has a cache of up to 2 MB.
const READERS: usize = 4;
/// Writes between two checkpoints: a few thousand pages.
const WRITES: usize = 1_000;

pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS container (kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entity (
  table_name TEXT NOT NULL, partition TEXT NOT NULL, row TEXT NOT NULL, etag INTEGER NOT NULL, document TEXT NOT NULL,
  UNIQUE (table_name, partition, row));
CREATE TABLE IF NOT EXISTS message (
  sequence INTEGER PRIMARY KEY, queue TEXT NOT NULL, id TEXT NOT NULL, receipt TEXT NOT NULL, text TEXT NOT NULL,
  dequeue_count INTEGER NOT NULL, inserted_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, visible_at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS message_by_visibility ON message (queue, visible_at, sequence);
CREATE UNIQUE INDEX IF NOT EXISTS message_by_id ON message (queue, id);
";

/// The file; cloning shares its connections.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) prefix: Prefix,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    reading: Arc<Semaphore>,
    written: AtomicUsize,
    /// Tables and queues seen to exist; they are never removed.
    known: Mutex<HashSet<(Kind, String)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Table,
    Queue,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Queue => "queue",
        }
    }
}

/// Makes the file, if it is new, and lets its owner alone read it (0600): it holds errors, names and audit. SQLite gives the files
/// it keeps beside it the same mode.
fn keep_to_owner(path: &Path) -> Result<(), Fault> {
    let unable = |error| Fault::permanent(format!("the embedded store cannot be opened: {error}"));
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(unable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // One made by an older version; somebody else's file stays as it is.
        if let Ok(metadata) = file.metadata()
            && metadata.permissions().mode() & 0o077 != 0
        {
            let _not_ours = file.set_permissions(std::fs::Permissions::from_mode(0o600));
        }
    }
    drop(file);
    Ok(())
}

impl File {
    /// Opens or creates the file and its folder. Blocking, a few milliseconds.
    pub(super) fn open(path: &Path, prefix: Prefix) -> Result<Self, Fault> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| {
                Fault::permanent(format!(
                    "the folder of the embedded store cannot be made: {error}"
                ))
            })?;
        }
        keep_to_owner(path)?;
        let writer = Writer::new(create(path).map_err(|error| fault(&error))?);
        let inner = Inner {
            path: path.to_owned(),
            writer,
            readers: Mutex::default(),
            reading: Arc::new(Semaphore::new(READERS)),
            written: AtomicUsize::new(0),
            known: Mutex::default(),
        };
        Ok(Self {
            prefix,
            inner: Arc::new(inner),
        })
    }

    /// A fault when `prepare` was never called for it.
    pub(super) async fn check_exists(&self, kind: Kind, name: &str) -> Result<(), Fault> {
        let wanted = (kind, name.to_owned());
        if lock(&self.inner.known).contains(&wanted) {
            return Ok(());
        }
        let name = name.to_owned();
        let exists = self
            .look(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT EXISTS (SELECT 1 FROM container WHERE kind = ?1 AND name = ?2)",
                    )?
                    .query_row(params![kind.name(), name], |found| found.get::<_, bool>(0))
            })
            .await?;
        if !exists {
            return Err(missing(kind.name(), &wanted.1));
        }
        lock(&self.inner.known).insert(wanted);
        Ok(())
    }

    /// A piece of a short transaction, shared with whatever else waits to be written. It may be run again, should the
    /// transaction fail.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.write_or_undo(move |connection| work(connection).map(Piece::Keep))
            .await
    }

    /// The same for several statements that may turn out to be impossible half-way.
    pub(super) async fn write_or_undo<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<Piece<T>> + Send + 'static,
    ) -> Result<T, Fault> {
        let done = self.inner.writer.write(work).await;
        if self.inner.written.fetch_add(1, Ordering::Relaxed) % WRITES == WRITES - 1 {
            tokio::spawn(self.clone().checkpoint());
        }
        done
    }

    /// Copies what was written from SQLite's log into its file while others go on writing: a commit that does it waits
    /// for the disk, and everybody behind it does too. The log begins anew in a pause of the writers, or else by a commit
    /// (`wal_autocheckpoint`), which also makes up for a checkpoint that failed, or that another was in the way of.
    async fn checkpoint(self) {
        let _later = self
            .read(|connection| {
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            })
            .await;
    }

    /// A read of a few rows; it may be run again.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.inner.writer.read(work).await
    }

    /// A read that may take long, on a connection of its own.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let interrupted = || Fault::transient("the embedded store was interrupted");
        let file = Arc::clone(&self.inner);
        let turn = Arc::clone(&self.inner.reading).acquire_owned().await;
        let turn = turn.map_err(|_| interrupted())?;
        let done = tokio::task::spawn_blocking(move || {
            // Even where nobody waits for the answer any more.
            let _turn = turn;
            let idle = lock(&file.readers).pop();
            let reader = match idle {
                Some(reader) => reader,
                None => connect(&file.path)?,
            };
            let value = work(&reader)?;
            lock(&file.readers).push(reader);
            Ok(value)
        });
        done.await
            .map_err(|_| interrupted())?
            .map_err(|error| fault(&error))
    }
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
            Err(error) if tries < 40 && fault(&error).is_transient() => {
                std::thread::sleep(Duration::from_millis(50));
            }
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
    // Checkpoints are made beside the writer; a commit makes one when the log never got a pause: 160 MB.
    connection.pragma_update(None, "wal_autocheckpoint", 40_000)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Transient: somebody may be about to create it, and the caller's work must not be lost.
fn missing(kind: &str, name: &str) -> Fault {
    Fault::transient(format!("the {kind} `{name}` does not exist yet"))
}
