//! Copies what was written from SQLite's log into its file while others go on writing.
//!
//! A commit that makes the checkpoint itself waits for the disk, and everybody behind it does too. So a thread of its own
//! makes a passive one, which holds up nobody, each time much was written. It cannot start the log anew while somebody
//! writes without a pause: that is left to a commit (`wal_autocheckpoint`), which then finds little left to copy.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::connection::connect;

/// Pieces of transactions between two checkpoints: a few thousand pages.
const PIECES: usize = 1_000;

/// Counts what was written; cloning shares the count.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Opened with the first checkpoint.
    connection: Mutex<Option<Connection>>,
    written: AtomicUsize,
    running: AtomicBool,
}

impl Checkpoints {
    pub(super) fn of(path: &Path) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            connection: Mutex::default(),
            written: AtomicUsize::new(0),
            running: AtomicBool::new(false),
        }))
    }

    /// After so many more pieces: starts a checkpoint if it is time for one and none is running. On the blocking pool.
    pub(super) fn after(&self, pieces: usize) {
        let written = self.0.written.fetch_add(pieces, Ordering::Relaxed) + pieces;
        if written < PIECES || self.0.running.swap(true, Ordering::Acquire) {
            return;
        }
        self.0.written.store(0, Ordering::Relaxed);
        let this = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            // Whatever fails here, a commit makes its own checkpoint in the end.
            let _later = this.copy();
            this.running.store(false, Ordering::Release);
        });
    }
}

impl Inner {
    fn copy(&self) -> rusqlite::Result<()> {
        let mut kept = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = match kept.take() {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let connection = kept.insert(connection);
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }
}
