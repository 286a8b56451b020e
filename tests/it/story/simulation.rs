//! A simulation without a host: the flow itself on a virtual clock. Its queues are read straight from the store's
//! file, so that an hour takes no time, and any piece of work can be killed at any point where it waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
use std::time::Duration;

use aiops_rca::flow::{DELIVERIES, FAILURES, Flow, Message};
use aiops_rca::storage::{Storage, StorageSettings};
use chrono::{DateTime, TimeDelta, Utc};

use crate::support;

/// How often the host tries a message before it moves it to the poison queue.
const MOST_DEQUEUES: u32 = 5;

pub(super) fn noon() -> DateTime<Utc> {
    "2026-07-27T12:00:00Z".parse().unwrap()
}

/// Something to do at its time; `A` is what a story plans besides.
#[derive(Debug, Clone)]
pub(super) enum Task<A> {
    Message {
        queue: String,
        text: String,
        dequeues: u32,
    },
    Sweep,
    Act(A),
}

pub(super) struct Simulation<A> {
    pub(super) flow: Flow,
    pub(super) now: DateTime<Utc>,
    pub(super) dice: fastrand::Rng,
    /// How many of a hundred pieces of work are killed.
    pub(super) kills: u32,
    agenda: BTreeMap<(DateTime<Utc>, u64), Task<A>>,
    planned: u64,
    file: rusqlite::Connection,
    path: std::path::PathBuf,
}

impl<A> Drop for Simulation<A> {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            let _left_over = std::fs::remove_file(name);
        }
    }
}

impl<A> Simulation<A> {
    /// `furnish` puts the flow around the store.
    pub(super) async fn build(seed: u64, furnish: impl FnOnce(Storage) -> Flow) -> Self {
        let path = support::embedded_path();
        let settings = StorageSettings::embedded(&path).with_prefix("h");
        let mut flow = furnish(Storage::open(&settings, &support::http()).unwrap());
        flow.longest_pause = Duration::ZERO;
        flow.prepare().await.unwrap();
        let file = rusqlite::Connection::open(&path).unwrap();
        file.busy_timeout(Duration::from_secs(5)).unwrap();
        let dice = fastrand::Rng::with_seed(seed);
        Self {
            flow,
            now: noon(),
            dice,
            kills: 0,
            agenda: BTreeMap::new(),
            planned: 0,
            file,
            path,
        }
    }

    pub(super) fn plan(&mut self, at: DateTime<Utc>, task: Task<A>) {
        self.planned += 1;
        self.agenda.insert((at.max(self.now), self.planned), task);
    }

    pub(super) fn plan_act(&mut self, after: TimeDelta, act: A) {
        self.plan(self.now + after, Task::Act(act));
    }

    /// Takes what was put into the queues since.
    fn fetch(&mut self) {
        let any = self
            .file
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM message)")
            .unwrap()
            .query_row([], |row| row.get(0));
        if !any.unwrap_or(true) {
            return;
        }
        let mut rows: Vec<(i64, String, String, i64)> = {
            let mut take = self
                .file
                .prepare_cached(
                    "DELETE FROM message RETURNING sequence, queue, text, visible_at - inserted_at",
                )
                .unwrap();
            let rows = take
                .query_map([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .unwrap();
            rows.map(Result::unwrap).collect()
        };
        rows.sort();
        for (_, queue, text, delay) in rows {
            // Delays are cut to milliseconds: what comes a little early would wait for no time at all, for ever.
            let at = self.now + TimeDelta::milliseconds(delay + 1);
            self.plan(
                at,
                Task::Message {
                    queue,
                    text,
                    dequeues: 0,
                },
            );
        }
    }

    /// The next thing to do; the clock goes on to its time.
    pub(super) fn next(&mut self) -> Option<Task<A>> {
        self.fetch();
        let ((at, _), task) = self.agenda.pop_first()?;
        self.now = self.now.max(at);
        Some(task)
    }

    /// Is there anything to do besides sweeping?
    pub(super) fn is_idle(&mut self) -> bool {
        self.fetch();
        self.agenda.values().all(|task| matches!(task, Task::Sweep))
    }

    /// Polls until somebody pulls the plug: `None`.
    pub(super) async fn survive<T>(
        kills: u32,
        dice: &mut fastrand::Rng,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let left = (dice.u32(0..100) < kills).then(|| dice.u32(0..40));
        Self::cut(left, work).await
    }

    /// Polls until it has waited this often: `None`.
    async fn cut<T>(mut left: Option<u32>, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            let polled = work.as_mut().poll(context);
            match (&mut left, polled) {
                (_, Poll::Ready(done)) => Poll::Ready(Some(done)),
                (Some(0), Poll::Pending) => Poll::Ready(None),
                (left, Poll::Pending) => {
                    if let Some(left) = left {
                        *left -= 1;
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Handles a message as host and handler do together; `true` when the process died of it.
    pub(super) async fn handle(&mut self, queue: String, text: String, dequeues: u32) -> bool {
        let left = (self.dice.u32(0..100) < self.kills).then(|| self.dice.u32(0..40));
        let hidden = TimeDelta::seconds(self.dice.i64(5..40));
        let message = (queue, text, dequeues);
        self.handle_until(message, left, hidden).await
    }

    /// As [`Self::handle`]: killed once it has waited this often, and then its message is hidden for this time.
    pub(super) async fn handle_until(
        &mut self,
        (queue, text, dequeues): (String, String, u32),
        left: Option<u32>,
        hidden: TimeDelta,
    ) -> bool {
        let (flow, now) = (self.flow.clone(), self.now);
        if dequeues >= MOST_DEQUEUES {
            let bare = if queue.ends_with(FAILURES) {
                FAILURES
            } else {
                DELIVERIES
            };
            flow.record_dead_letter(bare, &text, now).await.unwrap();
            return false;
        }
        // On the heap: a debug build's futures fill the stack of a test's thread.
        let work = Box::pin(async {
            let task = Message::decode(&text).unwrap().task;
            // No two steps of a delivery happen at the same time.
            let steps = AtomicI64::new(0);
            let clock = || now + TimeDelta::microseconds(steps.fetch_add(50, Ordering::Relaxed));
            flow.work(task, clock).await
        });
        let outcome = Self::cut(left, work).await;
        if !matches!(outcome, Some(Ok(()))) {
            self.plan(
                self.now + hidden,
                Task::Message {
                    queue,
                    text,
                    dequeues: dequeues + 1,
                },
            );
        }
        outcome.is_none()
    }

    pub(super) async fn sweep(&mut self, every: TimeDelta) {
        let (flow, now) = (self.flow.clone(), self.now);
        let sweep = Box::pin(async { flow.sweep(now).await });
        let swept = Self::survive(self.kills, &mut self.dice, sweep).await;
        if let Some(Ok(swept)) = swept {
            assert_eq!(swept.failed, 0, "the sweep failed on a row");
        }
        self.plan(self.now + every, Task::Sweep);
    }

    pub(super) fn forget_sweeps(&mut self) {
        self.agenda.retain(|_, task| !matches!(task, Task::Sweep));
    }
}
