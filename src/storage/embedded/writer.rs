//! One thread at a time: what waits when it is free is read, then written, in one transaction each.
//!
//! A commit costs about the same for one write as for a hundred, so a burst is written in a few transactions. Nobody is
//! answered before the commit. Where one of the writes fails or has to be undone, each is tried in a transaction of its
//! own, so that the others do not share its fault. Short reads are made on the same connection: it alone keeps its cache
//! while somebody writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::error::fault;
use crate::fault::Fault;

/// Pieces of one transaction: others, of another process, wait as long.
const AT_ONCE: usize = 256;

/// What came of a piece of a transaction.
pub(super) enum Piece<T> {
    Keep(T),
    /// Nothing of it may stay.
    Undo(T),
}

/// The connection that writes, and what waits for it; cloning shares both.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    connection: Arc<Mutex<Connection>>,
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    reads: VecDeque<Box<dyn Job>>,
    writes: VecDeque<Box<dyn Job>>,
    /// Somebody works until nothing waits any more.
    served: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (reads, writes) = (self.reads.len(), self.writes.len());
        write!(f, "{reads} reads and {writes} writes wait")
    }
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Arc::new(Mutex::new(connection)),
            line: Arc::default(),
        }
    }

    /// A short read, which sees every write that was answered.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let work = move |connection: &Connection| work(connection).map(Piece::Keep);
        self.take_turn(work, |line| &mut line.reads).await
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<Piece<T>> + Send + 'static,
    ) -> Result<T, Fault> {
        self.take_turn(work, |line| &mut line.writes).await
    }

    async fn take_turn<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<Piece<T>> + Send + 'static,
        among: impl Fn(&mut Line) -> &mut VecDeque<Box<dyn Job>>,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Asked {
            work,
            done: None,
            answer,
        };
        let serves = {
            let mut line = lock(&self.line);
            among(&mut line).push_back(Box::new(job));
            !std::mem::replace(&mut line.served, true)
        };
        if serves {
            let writer = self.clone();
            tokio::task::spawn_blocking(move || writer.serve());
        }
        answered
            .await
            .map_err(|_| Fault::transient("the embedded store was interrupted"))?
    }

    /// Reads and writes until nothing waits.
    fn serve(&self) {
        let mut connection = lock(&self.connection);
        loop {
            let (reads, writes) = {
                let mut line = lock(&self.line);
                let (reads, writes) = (some(&mut line.reads), some(&mut line.writes));
                line.served = !(reads.is_empty() && writes.is_empty());
                if !line.served {
                    return;
                }
                (reads, writes)
            };
            run(&mut connection, TransactionBehavior::Deferred, reads);
            run(&mut connection, TransactionBehavior::Immediate, writes);
        }
    }
}

fn some(waiting: &mut VecDeque<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let many = waiting.len().min(AT_ONCE);
    waiting.drain(..many).collect()
}

trait Job: Send {
    /// Its part of the transaction; `false`: it failed, or must be undone.
    fn work(&mut self, connection: &Connection) -> bool;
    /// After the commit, or after the fault that all of the transaction share.
    fn answer(self: Box<Self>, fault: Option<&Fault>);
}

struct Asked<W, T> {
    work: W,
    done: Option<rusqlite::Result<T>>,
    answer: oneshot::Sender<Result<T, Fault>>,
}

impl<W, T> Job for Asked<W, T>
where
    W: Fn(&Connection) -> rusqlite::Result<Piece<T>> + Send,
    T: Send,
{
    fn work(&mut self, connection: &Connection) -> bool {
        let (done, stays) = match (self.work)(connection) {
            Ok(Piece::Keep(value)) => (Ok(value), true),
            Ok(Piece::Undo(value)) => (Ok(value), false),
            Err(error) => (Err(error), false),
        };
        self.done = Some(done);
        stays
    }

    fn answer(self: Box<Self>, shared: Option<&Fault>) {
        let outcome = match (self.done, shared) {
            (Some(Err(error)), _) => Err(fault(&error)),
            (Some(Ok(value)), None) => Ok(value),
            (_, Some(shared)) => Err(shared.clone()),
            (None, None) => Err(Fault::transient("the embedded store was interrupted")),
        };
        // Nobody may be waiting any more.
        drop(self.answer.send(outcome));
    }
}

/// All in one transaction, or each in one of its own when one of them cannot stay.
fn run(connection: &mut Connection, behavior: TransactionBehavior, mut jobs: Vec<Box<dyn Job>>) {
    if jobs.is_empty() {
        return;
    }
    match commit(connection, behavior, &mut jobs) {
        Ok(false) if jobs.len() > 1 => {
            for job in jobs {
                run(connection, behavior, vec![job]);
            }
        }
        Ok(_) => jobs.into_iter().for_each(|job| job.answer(None)),
        Err(error) => {
            let fault = fault(&error);
            for job in jobs {
                job.answer(Some(&fault));
            }
        }
    }
}

/// `false`: one of them cannot stay, and nothing was written.
fn commit(
    connection: &mut Connection,
    behavior: TransactionBehavior,
    jobs: &mut [Box<dyn Job>],
) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(behavior)?;
    for job in jobs {
        if !job.work(&transaction) {
            return Ok(false);
        }
    }
    transaction.commit()?;
    Ok(true)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
