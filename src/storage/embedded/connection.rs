//! A connection to the file: what it holds, and how it is written.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::error::fault;

/// How long one process waits for another.
const BUSY: Duration = Duration::from_secs(5);

pub(super) const SCHEMA: &str = "
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

/// Switching to WAL does not wait for another process that does the same at this moment; so we do.
pub(super) fn create(path: &Path) -> rusqlite::Result<Connection> {
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

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // WAL + NORMAL survives the death of the process; only a power cut can lose the last commits.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Checkpoints are made beside the writer (`checkpoint`); a commit makes one when the log never got a pause: 160 MB.
    connection.pragma_update(None, "wal_autocheckpoint", 40_000)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
