//! One writer at a time: what waits when it is free is committed in one transaction.
//!
//! A commit costs about the same for one write as for a hundred, so a burst is written in a few transactions. Nobody is
//! answered before the commit. Where one of the writes fails, each is tried in a transaction of its own, so that the
//! others do not share its fault.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::error::fault;
use crate::fault::Fault;

/// Writes of one transaction: others, of another process, wait as long.
const AT_ONCE: usize = 256;

/// The connection that writes, and what waits for it; cloning shares both.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    connection: Arc<Mutex<Connection>>,
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Box<dyn Job>>,
    /// Somebody writes until nothing waits any more.
    served: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} writes wait", self.jobs.len())
    }
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Arc::new(Mutex::new(connection)),
            line: Arc::default(),
        }
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Piece {
            work,
            done: None,
            answer,
        };
        let serves = {
            let mut line = lock(&self.line);
            line.jobs.push_back(Box::new(job));
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

    /// Writes until nothing waits.
    fn serve(&self) {
        let mut connection = lock(&self.connection);
        loop {
            let mut waiting: Vec<_> = {
                let mut line = lock(&self.line);
                let many = line.jobs.len().min(AT_ONCE);
                line.served = many > 0;
                line.jobs.drain(..many).collect()
            };
            if waiting.is_empty() {
                return;
            }
            match commit(&mut connection, &mut waiting) {
                Ok(false) if waiting.len() > 1 => {
                    for job in waiting {
                        alone(&mut connection, job);
                    }
                }
                Ok(_) => waiting.into_iter().for_each(|job| job.answer(None)),
                Err(error) => {
                    let fault = fault(&error);
                    for job in waiting {
                        job.answer(Some(&fault));
                    }
                }
            }
        }
    }
}

trait Job: Send {
    /// Its part of the transaction; `false`: it failed.
    fn write(&mut self, connection: &Connection) -> bool;
    /// After the commit, or after the fault that all of the transaction share.
    fn answer(self: Box<Self>, fault: Option<&Fault>);
}

struct Piece<W, T> {
    work: W,
    done: Option<rusqlite::Result<T>>,
    answer: oneshot::Sender<Result<T, Fault>>,
}

impl<W, T> Job for Piece<W, T>
where
    W: Fn(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn write(&mut self, connection: &Connection) -> bool {
        let done = (self.work)(connection);
        let written = done.is_ok();
        self.done = Some(done);
        written
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

fn alone(connection: &mut Connection, job: Box<dyn Job>) {
    let mut job = [job];
    let outcome = commit(connection, &mut job);
    let shared = outcome.err().map(|error| fault(&error));
    let [job] = job;
    job.answer(shared.as_ref());
}

/// `false`: one of them failed, and nothing was written.
fn commit(connection: &mut Connection, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        if !job.write(&transaction) {
            return Ok(false);
        }
    }
    transaction.commit()?;
    Ok(true)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
