//! A handler's stdout and stderr, line by line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::local::host::event::{EventLog, HostEvent, LineLevel};

/// Longer lines are cut here.
const LINE_CAP: u64 = 64 * 1024;
/// A pipe that a grandchild holds open is not waited for longer than this.
const PATIENCE: Duration = Duration::from_millis(200);

type LastErrors = Arc<Mutex<VecDeque<String>>>;

/// The readers of one process.
pub(super) struct Lines {
    readers: Vec<JoinHandle<()>>,
    last_errors: LastErrors,
}

impl Lines {
    /// Follows both pipes until they close.
    pub(super) fn follow(child: &mut Child, group: &str, events: &EventLog) -> Self {
        let last_errors = LastErrors::default();
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(read(
                stdout,
                false,
                group.to_owned(),
                events.clone(),
                last_errors.clone(),
            )));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(tokio::spawn(read(
                stderr,
                true,
                group.to_owned(),
                events.clone(),
                last_errors.clone(),
            )));
        }
        Self {
            readers,
            last_errors,
        }
    }

    /// Waits for what was written before the end; the last three lines of stderr.
    pub(super) async fn last_errors(self) -> Vec<String> {
        let _still_open =
            tokio::time::timeout(PATIENCE, futures::future::join_all(self.readers)).await;
        self.last_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

async fn read(
    pipe: impl AsyncRead + Unpin,
    from_stderr: bool,
    group: String,
    events: EventLog,
    last_errors: LastErrors,
) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(LINE_CAP)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            continue;
        }
        if from_stderr {
            let mut kept = last_errors.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back(text.clone());
            if kept.len() > 3 {
                kept.pop_front();
            }
        }
        let level = LineLevel::of(from_stderr, &text);
        events.push(HostEvent::ChildLine {
            group: group.clone(),
            level,
            text,
        });
    }
}
