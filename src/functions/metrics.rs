//! What the processes count, and `/api/metrics`: Prometheus text.
//!
//! A process counts in memory, and adds it to the counters in the store within ten seconds and at its end: functions run in
//! several processes, and any of them is asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::wire::Response;
use super::{Handler, silences};
use crate::fault::Fault;
use crate::flow::accept::{AcceptStatus, Accepted};
use crate::flow::{Flow, QUEUES};
use crate::storage::Trouble;
use crate::ticket::store::counts::Counts;

/// How often a process adds what it has counted.
const ADD_EVERY: Duration = Duration::from_secs(10);

/// What this process counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Since it was last added to the store's.
    since: Mutex<Counts>,
    /// Tries with a wrong credential since the start, by function.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    unwritable: Mutex<Option<Trouble>>,
}

impl Counters {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        if let Ok(mut since) = self.since.lock() {
            change(&mut since);
        }
    }

    pub(super) fn count(&self, door: &str, status: u16, took: Duration) {
        self.change(|counts| {
            let statuses = counts.requests.entry(door.to_owned()).or_default();
            statuses.entry(status).or_default().one(took);
        });
    }

    pub(super) fn accepted(&self, accepted: &Accepted) {
        let one = |source: String, end: &str| {
            self.change(|counts| {
                let ends = counts.failures.entry(source).or_default();
                *ends.entry(end.to_owned()).or_default() += 1;
            });
        };
        for ticket in &accepted.tickets {
            let end = if ticket.status == AcceptStatus::Accepted {
                "accepted"
            } else {
                "duplicate"
            };
            one(ticket.source.to_string(), end);
        }
        if accepted.tickets.is_empty() {
            let end = if accepted.status == AcceptStatus::Pending {
                "pending"
            } else {
                "ignored"
            };
            one("any".to_owned(), end);
        }
    }

    /// How the last sweep of this process left the store.
    pub(super) fn wrote(&self, trouble: Option<Trouble>) {
        if let Ok(mut unwritable) = self.unwritable.lock() {
            *unwritable = trouble;
        }
    }

    /// What kept the last sweep of this process from writing.
    pub(super) fn unwritable(&self) -> Option<Trouble> {
        self.unwritable.lock().map_or(None, |trouble| *trouble)
    }

    /// One more try with a wrong credential; how many there were since this process started.
    pub(super) fn refused(&self, door: &'static str) -> u64 {
        self.change(|counts| *counts.refused.entry(door.to_owned()).or_default() += 1);
        self.refused.lock().map_or(0, |mut refused| {
            let count = refused.entry(door).or_default();
            *count += 1;
            *count
        })
    }

    fn take(&self) -> Counts {
        self.since.lock().map_or_else(
            |_| Counts::default(),
            |mut since| std::mem::take(&mut *since),
        )
    }
}

/// Counters as Prometheus text.
fn counted(counts: &Counts) -> String {
    let mut text = String::new();
    let counter = |name, help| Family {
        name,
        kind: "counter",
        help,
    };
    let requests = || {
        counts.requests.iter().flat_map(|(door, statuses)| {
            statuses.iter().map(move |(status, answered)| {
                let labels = vec![("door", door.clone()), ("status", status.to_string())];
                (labels, *answered)
            })
        })
    };
    counter(
        "aiops_rca_requests_total",
        "Requests that were answered, by function and HTTP status.",
    )
    .write(
        &mut text,
        requests().map(|(labels, answered)| (labels, answered.count.to_string())),
    );
    counter(
        "aiops_rca_request_seconds_total",
        "How long these requests took together, in seconds.",
    )
    .write(
        &mut text,
        requests().map(|(labels, answered)| {
            let took = Duration::from_micros(answered.microseconds);
            (labels, format!("{:.6}", took.as_secs_f64()))
        }),
    );
    counter(
        "aiops_rca_failures_total",
        "Failures that came in, by source and what became of them.",
    )
    .write(
        &mut text,
        counts.failures.iter().flat_map(|(source, ends)| {
            ends.iter().map(move |(end, count)| {
                let labels = vec![("source", source.clone()), ("status", end.clone())];
                (labels, count.to_string())
            })
        }),
    );
    counter(
        "aiops_rca_refused_total",
        "Tries with a wrong credential that were refused, by function.",
    )
    .write(
        &mut text,
        (counts.refused.iter())
            .map(|(door, count)| (vec![("door", door.clone())], count.to_string())),
    );
    text
}

/// One metric: the text format wants its help, its type and then all of its samples in one piece
/// (github.com/prometheus/docs, `instrumenting/exposition_formats.md`).
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

impl Family {
    fn write(
        &self,
        text: &mut String,
        samples: impl IntoIterator<Item = (Vec<(&'static str, String)>, String)>,
    ) {
        let Self { name, kind, help } = self;
        let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let _infallible = writeln!(text, "{name}{labels} {value}");
        }
    }
}

/// A label's value.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// What the store says, the same in every process.
struct Stored {
    depths: Vec<(&'static str, u64)>,
    open: usize,
    problems: usize,
    silences: usize,
    swept: Option<DateTime<Utc>>,
}

impl Stored {
    fn text(&self) -> String {
        let mut text = String::new();
        let gauge = |name, help| Family {
            name,
            kind: "gauge",
            help,
        };
        let alone = |value: String| [(Vec::new(), value)];
        gauge(
            "aiops_rca_queue_messages",
            "Messages that wait in a queue, about.",
        )
        .write(
            &mut text,
            self.depths
                .iter()
                .map(|(queue, depth)| (vec![("queue", (*queue).to_owned())], depth.to_string())),
        );
        gauge("aiops_rca_tickets_active", "Tickets that are not closed.")
            .write(&mut text, alone(self.open.to_string()));
        gauge(
            "aiops_rca_problems",
            "Settings and functions that somebody has to correct: GET /api/status names them.",
        )
        .write(&mut text, alone(self.problems.to_string()));
        gauge(
            "aiops_rca_silences_active",
            "Silences that hold: failures that they cover are recorded and not told.",
        )
        .write(&mut text, alone(self.silences.to_string()));
        gauge(
            "aiops_rca_last_sweep_timestamp_seconds",
            "When the sweep last wrote to the store, in any process, in seconds since 1970; absent before the first.",
        )
        .write(
            &mut text,
            self.swept
                .map(|at| (Vec::new(), at.timestamp().to_string())),
        );
        text
    }
}

impl Handler {
    /// Adds what this process counts to the store's counters, again and again.
    pub async fn keep_counting(self) {
        loop {
            tokio::time::sleep(ADD_EVERY).await;
            self.add_counts().await;
        }
    }

    /// Adds what this process has counted since; what the store does not take is kept for the next time.
    pub async fn add_counts(&self) {
        let counts = self.metrics.take();
        if counts.is_empty() {
            return;
        }
        let Ok(flow) = self.flow().await else {
            return self.metrics.change(|since| since.add(&counts));
        };
        if let Err(fault) = flow.store.add_counts(&counts).await {
            tracing::debug!(
                reason = fault.reason(),
                "the counters could not be added to the store's"
            );
            self.metrics.change(|since| since.add(&counts));
        }
    }

    pub(super) async fn metrics_text(&self, flow: &Flow) -> Result<Response, Fault> {
        let mut depths = Vec::new();
        for queue in QUEUES {
            depths.push((queue, flow.store.storage().depth(queue).await?));
        }
        let stored = Stored {
            depths,
            open: flow.store.open_tickets().await?.len(),
            problems: self.problems().len(),
            silences: silences::active(flow, Utc::now()).await?,
            swept: flow.store.probed().await?,
        };
        // Without what this process has not added yet: a counter that two processes show differently seems to go back.
        let mut text = counted(&flow.store.counts().await?);
        text.push_str(&stored.text());
        Ok(Response::text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_one_piece_with_its_help_and_nothing_in_a_label_ends_it() {
        let counters = Counters::default();
        for (door, status) in [("Api", 200), ("Api\"}\n\\", 404), ("Health", 200)] {
            counters.count(door, status, Duration::from_millis(1500));
        }
        counters.refused("Api");
        let text = counted(&counters.take());
        let mut seen = Vec::new();
        for line in text.lines() {
            let rest = line
                .strip_prefix("# HELP ")
                .or(line.strip_prefix("# TYPE "));
            let name = rest.unwrap_or(line).split([' ', '{']).next().unwrap_or("");
            if seen.last() != Some(&name) {
                assert!(!seen.contains(&name), "{name} stands in two pieces");
                assert!(line.starts_with("# HELP "), "{line}");
                seen.push(name);
            }
        }
        assert_eq!(seen.len(), 4);
        let hostile = r#"aiops_rca_requests_total{door="Api\"}\n\\",status="404"} 1"#;
        assert!(text.lines().any(|line| line == hostile), "{text}");
        assert!(text.contains("aiops_rca_refused_total{door=\"Api\"} 1\n"));
    }
}
