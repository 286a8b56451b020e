//! What this process counts, and `/api/metrics`: Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::wire::{Request, Response};
use super::{Handler, silences};
use crate::fault::Fault;
use crate::flow::accept::{AcceptStatus, Accepted};
use crate::flow::{Flow, QUEUES};
use crate::storage::Trouble;

/// Counters of this process, as `/api/metrics` shows them.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<(String, u16), (u64, Duration)>>,
    failures: Mutex<BTreeMap<(String, &'static str), u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    unwritable: Mutex<Option<Trouble>>,
}

impl Counters {
    pub(super) fn count(&self, door: &str, status: u16, took: Duration) {
        if let Ok(mut requests) = self.requests.lock() {
            let entry = requests.entry((door.to_owned(), status)).or_default();
            entry.0 += 1;
            entry.1 += took;
        }
    }

    pub(super) fn accepted(&self, accepted: &Accepted) {
        if let Ok(mut failures) = self.failures.lock() {
            for ticket in &accepted.tickets {
                let status = if ticket.status == AcceptStatus::Accepted {
                    "accepted"
                } else {
                    "duplicate"
                };
                *failures
                    .entry((ticket.source.to_string(), status))
                    .or_default() += 1;
            }
            if accepted.tickets.is_empty() {
                let status = if accepted.status == AcceptStatus::Pending {
                    "pending"
                } else {
                    "ignored"
                };
                *failures.entry(("any".to_owned(), status)).or_default() += 1;
            }
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

    /// One more try with a wrong credential; how many there were.
    pub(super) fn refused(&self, door: &'static str) -> u64 {
        self.refused.lock().map_or(0, |mut refused| {
            let count = refused.entry(door).or_default();
            *count += 1;
            *count
        })
    }

    /// What this process has counted, as Prometheus text.
    pub(super) fn counted(&self) -> String {
        let mut text = String::new();
        let requests = self.requests.lock().map(|all| all.clone());
        let requests = requests.unwrap_or_default();
        let labels = |(door, status): &(String, u16)| {
            vec![("door", door.clone()), ("status", status.to_string())]
        };
        Family {
            name: "aiops_rca_requests_total",
            kind: "counter",
            help: "Requests that this process answered since it started, by function and HTTP status.",
        }
        .write(
            &mut text,
            requests
                .iter()
                .map(|(key, (count, _))| (labels(key), count.to_string())),
        );
        Family {
            name: "aiops_rca_request_seconds_total",
            kind: "counter",
            help: "How long these requests took together, in seconds.",
        }
        .write(
            &mut text,
            requests
                .iter()
                .map(|(key, (_, took))| (labels(key), format!("{:.6}", took.as_secs_f64()))),
        );
        let failures = self.failures.lock().map(|all| all.clone());
        Family {
            name: "aiops_rca_failures_total",
            kind: "counter",
            help: "Failures that came in through the doors of this process since it started, by source and what became of them.",
        }
        .write(
            &mut text,
            failures.unwrap_or_default().into_iter().map(|((source, status), count)| {
                let labels = vec![("source", source), ("status", status.to_owned())];
                (labels, count.to_string())
            }),
        );
        let refused = self.refused.lock().map(|all| all.clone());
        Family {
            name: "aiops_rca_refused_total",
            kind: "counter",
            help: "Tries with a wrong credential that this process refused since it started, by function.",
        }
        .write(
            &mut text,
            refused
                .unwrap_or_default()
                .into_iter()
                .map(|(door, count)| (vec![("door", door.to_owned())], count.to_string())),
        );
        text
    }
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
    pub(super) async fn metrics_text(
        &self,
        flow: &Flow,
        request: &Request,
    ) -> Result<Response, Fault> {
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
        // The reader counts nothing: the handler sends what it has counted.
        let mut text = if self.is_reader {
            String::from_utf8_lossy(&request.body).into_owned()
        } else {
            self.metrics.counted()
        };
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
        let text = counters.counted();
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
