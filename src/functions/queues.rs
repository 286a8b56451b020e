//! Queue and timer functions: decode the envelope, call the flow, answer with a JSON object always.

use chrono::{DateTime, Utc};

use super::envelope::{done, failed, queue_text};
use super::wire::{Request, Response};
use super::{Door, Handler, QUEUE_DEADLINE, TIMER_DEADLINE};
use crate::fault::Fault;
use crate::flow::{Flow, Message};
use crate::storage::Trouble;
use crate::trace::{Kind, Work};

/// What a function of a queue or the timer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Works on a message of this queue.
    Work(&'static str),
    /// Keeps what this queue gave up.
    Record(&'static str),
    Sweep,
    Patrol,
}

impl Handler {
    pub(super) async fn invoke(
        &self,
        door: Door,
        job: Job,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Response {
        let text = queue_text(&request.body);
        let work = begin(door, text.as_deref(), request);
        let outcome = work.run(async {
            let outcome = self.within_deadline(door, job, text, now).await;
            outcome.inspect_err(|fault| {
                tracing::error!(
                    function = door.name(),
                    reason = fault.reason(),
                    "the invocation failed; the host delivers it again"
                );
            })
        });
        match outcome.await {
            Ok(()) => done(),
            Err(fault) => {
                work.fail(fault.reason().to_owned());
                failed(fault.reason())
            }
        }
    }

    /// Cut at its deadline, wherever it is: what it did is stored, what is left is put back.
    async fn within_deadline(
        &self,
        door: Door,
        job: Job,
        text: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let limit = match door.queue() {
            Some(_) => QUEUE_DEADLINE,
            None => TIMER_DEADLINE,
        };
        let work = async {
            self.faults.hang(door.name()).await;
            let flow = self.flow().await?;
            self.handle(flow, job, text.clone(), now).await
        };
        let limit = self.faults.deadline(limit);
        if let Ok(outcome) = tokio::time::timeout(limit, work).await {
            return outcome;
        }
        tracing::error!(
            function = door.name(),
            seconds = limit.as_secs(),
            "the invocation was cut at its deadline; what is left is put back"
        );
        match (&self.doors.flow, door.queue(), text) {
            (Ok(flow), Some(queue), Some(text)) => flow.put_back(queue, &text).await,
            // The timer's next run goes on.
            _ => Ok(()),
        }
    }

    async fn handle(
        &self,
        flow: &Flow,
        job: Job,
        text: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let text = || text.ok_or_else(|| Fault::permanent("the envelope holds no message"));
        match job {
            Job::Work(queue) => {
                let text = text()?;
                match Message::decode(&text) {
                    Some(message) => flow.work(message.task, Utc::now).await,
                    None => flow.record_dead_letter(queue, &text, now).await,
                }
            }
            Job::Record(queue) => flow.record_dead_letter(queue, &text()?, now).await,
            Job::Sweep => {
                let swept = flow.sweep(now).await;
                let trouble = swept.as_ref().err().map(Trouble::of);
                self.metrics.wrote(
                    trouble.filter(|trouble| matches!(trouble, Trouble::ReadOnly | Trouble::Full)),
                );
                let swept = swept?;
                tracing::info!(
                    sweep.rows = swept.rows,
                    sweep.acted = swept.acted,
                    sweep.failed = swept.failed,
                    "swept"
                );
                Ok(())
            }
            Job::Patrol => {
                let patrolled = flow.patrol(now).await?;
                if patrolled.asked > 0 {
                    tracing::info!(
                        patrol.scopes = patrolled.asked,
                        patrol.faults = patrolled.faults,
                        patrol.failed = patrolled.failed,
                        patrol.succeeded = patrolled.succeeded,
                        patrol.calls = patrolled.calls,
                        "patrolled"
                    );
                }
                Ok(())
            }
        }
    }
}

/// The invocation as a piece of work: a message's belongs to the trace that is stored in it, the timer's to the host's.
fn begin(door: Door, text: Option<&str>, request: &Request) -> Work {
    let queue = door.queue();
    let (kind, trigger, trace) = if queue.is_some() {
        let message = text.and_then(Message::decode);
        (
            Kind::Consumer,
            "pubsub",
            message.and_then(|message| message.trace()),
        )
    } else {
        (Kind::Internal, "timer", request.trace())
    };
    let work = Work::begin(kind, door.name(), trace.as_ref());
    work.note("faas.name", door.name());
    work.note("faas.trigger", trigger);
    if let Some(queue) = queue {
        work.note("messaging.system", "azure.storage.queues");
        work.note("messaging.operation.type", "process");
        work.note("messaging.destination.name", queue);
    }
    work
}
