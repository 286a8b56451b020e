//! What happens in the host, as typed events that tests wait for and the console prints.
//!
//! One bounded log with any number of readers, each at its own place: a reader that starts late still
//! sees what is kept. Events hold no headers, bodies, keys or queries.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

const KEPT: usize = 20_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEvent {
    /// A handler process was started.
    ChildStarted {
        /// Its group of functions.
        group: String,
        /// Process id.
        pid: u32,
        /// The port it was given.
        port: u16,
    },
    /// It answered `GET /`.
    ChildReady {
        /// Its group of functions.
        group: String,
        /// Process id.
        pid: u32,
        /// Since its start.
        after: Duration,
    },
    /// It ended or could not be started, without being asked to.
    ChildExited {
        /// Its group of functions.
        group: String,
        /// How it ended, e.g. `exit code 3`, `signal 9`.
        how: String,
        /// Which counted error this is within the window; `None` when it does not count.
        counted: Option<u32>,
        /// The last lines (at most three) it wrote to stderr.
        last_errors: Vec<String>,
    },
    /// A line that it wrote.
    ChildLine {
        /// Its group of functions.
        group: String,
        /// As the host would log it.
        level: LineLevel,
        /// The line.
        text: String,
    },
    /// A function that its files or settings keep from running; the host goes on with the others and says nothing more.
    InError {
        /// The function.
        function: String,
        /// Why.
        why: String,
    },
    /// A function was called.
    Invoked(Invocation),
    /// A line of `Logs` in a handler's answer.
    FunctionLog {
        /// The function.
        function: String,
        /// The line.
        text: String,
    },
    /// An answer that would hang the invocation in Azure: a defect of the handler.
    Hang {
        /// The function.
        function: String,
        /// What was empty.
        why: String,
    },
    /// A message was moved to a poison queue.
    Poisoned {
        /// The function.
        function: String,
        /// The poison queue.
        queue: String,
        /// Id of the message.
        message: String,
        /// Why.
        why: String,
    },
    /// A message that cannot be handled stays where it is, because its queue has no poison queue.
    Stuck {
        /// The function.
        function: String,
        /// Id of the message.
        message: String,
        /// Why.
        why: String,
    },
    /// A request that did not reach the handler.
    Refused {
        /// Its method.
        method: String,
        /// Its path, without the query.
        path: String,
        /// What it was answered.
        status: u16,
    },
    /// A queue could not be read or written; tried again.
    StoreTrouble {
        /// The queue.
        queue: String,
        /// Why.
        why: String,
    },
    /// The last event.
    Stopped(StopReason),
}

/// One call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The function.
    pub function: String,
    /// `X-Azure-Functions-InvocationId`.
    pub id: uuid::Uuid,
    /// When it began.
    pub at: DateTime<Utc>,
    /// How it went.
    pub outcome: Outcome,
    /// The handler's status, when it answered.
    pub status: Option<u16>,
    /// The method of a request, the queue and dequeue count of a message.
    pub detail: String,
    /// From call to answer.
    pub took: Duration,
}

/// How a call went, by the host's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Fine. A forwarded request is fine whatever its status.
    Succeeded,
    /// Not fine.
    Failed(String),
}

/// As what the host logs a line of the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineLevel {
    /// stdout.
    Information,
    /// stderr with `warn` in it.
    Warning,
    /// stderr.
    Error,
    /// A line for the host itself (`LanguageWorkerConsoleLog…`).
    System,
}

impl LineLevel {
    /// The host's rule for a line; custom handlers' stderr is always an error unless it warns.
    pub fn of(from_stderr: bool, line: &str) -> Self {
        if line.starts_with("LanguageWorkerConsoleLog") || line.starts_with("azfuncjsonlog:") {
            Self::System
        } else if !from_stderr {
            Self::Information
        } else if line.to_lowercase().contains("warn") {
            Self::Warning
        } else {
            Self::Error
        }
    }
}

/// Why the host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody asked.
    Asked,
    /// The handler crashed too often.
    TooManyCrashes,
    /// The handler never became ready while a call was waiting.
    NeverReady,
    /// Two calls reached the function's timeout together.
    TimedOutTogether,
}

/// The log of events; cloning is cheap.
#[derive(Debug, Clone)]
pub struct EventLog {
    kept: Arc<Mutex<Kept>>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<HostEvent>,
    dropped: u64,
}

impl EventLog {
    pub(super) fn new() -> Self {
        Self {
            kept: Arc::default(),
            written: watch::Sender::new(0),
        }
    }

    pub(super) fn push(&self, event: HostEvent) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.events.push_back(event);
        if kept.events.len() > KEPT {
            kept.events.pop_front();
            kept.dropped += 1;
        }
        let written = kept.dropped + kept.events.len() as u64;
        drop(kept);
        // Writers race outside the lock: the count never goes back.
        self.written.send_if_modified(|known| {
            let more = written > *known;
            *known = written.max(*known);
            more
        });
    }

    /// Everything that is kept.
    pub fn so_far(&self) -> Vec<HostEvent> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .events
            .iter()
            .cloned()
            .collect()
    }

    pub(super) fn reader(&self) -> EventStream {
        EventStream {
            log: self.kept.clone(),
            written: self.written.subscribe(),
            place: 0,
        }
    }
}

/// One reader's place in the log.
#[derive(Debug)]
pub struct EventStream {
    log: Arc<Mutex<Kept>>,
    written: watch::Receiver<u64>,
    place: u64,
}

impl EventStream {
    /// The next event; `None` when the host is gone and everything was read.
    pub async fn next(&mut self) -> Option<HostEvent> {
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            let place = self.place;
            if self
                .written
                .wait_for(|written| *written > place)
                .await
                .is_err()
            {
                return self.take();
            }
        }
    }

    /// The first event from here on that `pick` makes something of; `None` when `within` has passed.
    pub async fn find<T>(
        &mut self,
        within: Duration,
        mut pick: impl FnMut(&HostEvent) -> Option<T>,
    ) -> Option<T> {
        let search = async {
            loop {
                let event = self.next().await?;
                if let Some(found) = pick(&event) {
                    return Some(found);
                }
            }
        };
        tokio::time::timeout(within, search).await.ok().flatten()
    }

    fn take(&mut self) -> Option<HostEvent> {
        let kept = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(self.place.saturating_sub(kept.dropped)).ok()?;
        let event = kept.events.get(index)?.clone();
        self.place = self.place.max(kept.dropped) + 1;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stderr_is_an_error_unless_it_warns() {
        assert_eq!(LineLevel::of(false, "error!"), LineLevel::Information);
        assert_eq!(LineLevel::of(true, "all is well"), LineLevel::Error);
        assert_eq!(LineLevel::of(true, "a WARNing"), LineLevel::Warning);
        assert_eq!(
            LineLevel::of(true, "LanguageWorkerConsoleLog x"),
            LineLevel::System
        );
    }

    #[tokio::test]
    async fn a_late_reader_sees_what_is_kept_and_then_what_comes() {
        let log = EventLog::new();
        let line = |text: usize| HostEvent::FunctionLog {
            function: "F".to_owned(),
            text: text.to_string(),
        };
        for text in 0..KEPT + 5 {
            log.push(line(text));
        }
        let mut reader = log.reader();
        assert_eq!(reader.next().await, Some(line(5)));
        let last = line(KEPT + 4);
        assert!(
            reader
                .find(Duration::from_secs(1), |event| (*event == last)
                    .then_some(()))
                .await
                .is_some()
        );
        log.push(line(1));
        assert_eq!(reader.next().await, Some(line(1)));
        drop(log);
        assert_eq!(reader.next().await, None);
    }
}
