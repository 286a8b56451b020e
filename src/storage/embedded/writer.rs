//! One thread that writes: what waits when it is free is committed in one transaction.
//!
//! A commit costs about the same for one write as for a hundred, so a burst is written in a few transactions. Nobody is
//! answered before the commit. Where one of the writes fails, each is tried in a transaction of its own, so that the
//! others do not share its fault.

use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::file::fault;
use crate::fault::Fault;

/// Writes of one transaction: others, of another process, wait as long.
const AT_ONCE: usize = 256;

/// Hands writes to the thread, which ends with it.
#[derive(Debug)]
pub(super) struct Writer(Sender<Box<dyn Job>>);

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self, Fault> {
        let (sender, jobs) = channel();
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(connection, &jobs))
            .map_err(|error| {
                Fault::transient(format!(
                    "the embedded store cannot start its thread: {error}"
                ))
            })?;
        Ok(Self(sender))
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Piece {
            work,
            done: None,
            answer,
        });
        let interrupted = || Fault::transient("the embedded store was interrupted");
        self.0.send(job).map_err(|_| interrupted())?;
        answered.await.map_err(|_| interrupted())?
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

fn run(mut connection: Connection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut waiting: Vec<_> = std::iter::once(first)
            .chain(jobs.try_iter().take(AT_ONCE - 1))
            .collect();
        match commit(&mut connection, &mut waiting) {
            Ok(true) => waiting.into_iter().for_each(|job| job.answer(None)),
            Ok(false) if waiting.len() > 1 => {
                for job in waiting {
                    alone(&mut connection, job);
                }
            }
            Ok(false) => waiting.into_iter().for_each(|job| job.answer(None)),
            Err(error) => {
                let fault = fault(&error);
                waiting.into_iter().for_each(|job| job.answer(Some(&fault)));
            }
        }
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
