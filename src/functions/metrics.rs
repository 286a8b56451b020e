//! What this process counts, and `/api/metrics`: Prometheus text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use warp::http::StatusCode;

use super::Handler;
use super::wire::{Request, Response};
use crate::fault::Fault;
use crate::flow::accept::{AcceptStatus, Accepted};
use crate::flow::{Flow, QUEUES};
use crate::storage::Trouble;

/// Counters of this process, as `/api/metrics` shows them.
#[derive(Debug, Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<(String, u16), (u64, Duration)>>,
    failures: Mutex<BTreeMap<(String, &'static str), u64>>,
    sweeps: std::sync::atomic::AtomicU64,
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

    pub(super) fn swept(&self) {
        self.sweeps
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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
        text.push_str("# TYPE aiops_rca_requests_total counter\n# TYPE aiops_rca_request_seconds_total counter\n");
        if let Ok(requests) = self.requests.lock() {
            for ((door, status), (count, took)) in requests.iter() {
                let _infallible = writeln!(
                    text,
                    "aiops_rca_requests_total{{door=\"{door}\",status=\"{status}\"}} {count}"
                );
                let _infallible = writeln!(
                    text,
                    "aiops_rca_request_seconds_total{{door=\"{door}\",status=\"{status}\"}} {:.6}",
                    took.as_secs_f64()
                );
            }
        }
        text.push_str("# TYPE aiops_rca_failures_total counter\n");
        if let Ok(failures) = self.failures.lock() {
            for ((source, status), count) in failures.iter() {
                let _infallible = writeln!(
                    text,
                    "aiops_rca_failures_total{{source=\"{source}\",status=\"{status}\"}} {count}"
                );
            }
        }
        text.push_str("# TYPE aiops_rca_refused_total counter\n");
        if let Ok(refused) = self.refused.lock() {
            for (door, count) in refused.iter() {
                let _infallible =
                    writeln!(text, "aiops_rca_refused_total{{door=\"{door}\"}} {count}");
            }
        }
        let sweeps = self.sweeps.load(std::sync::atomic::Ordering::Relaxed);
        let _infallible = write!(
            text,
            "# TYPE aiops_rca_sweeps_total counter\naiops_rca_sweeps_total {sweeps}\n"
        );
        text
    }
}

/// What the store says of queues and tickets, as Prometheus text.
fn stored(depths: &[(&str, u64)], open: usize, problems: usize) -> String {
    let mut text = String::from("# TYPE aiops_rca_queue_messages gauge\n");
    for (queue, depth) in depths {
        let _infallible = writeln!(
            text,
            "aiops_rca_queue_messages{{queue=\"{queue}\"}} {depth}"
        );
    }
    let _infallible = write!(
        text,
        "# TYPE aiops_rca_tickets_active gauge\naiops_rca_tickets_active {open}\n# TYPE aiops_rca_problems gauge\naiops_rca_problems {problems}\n"
    );
    text
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
        let open = flow.store.open_tickets().await?.len();
        // The reader counts nothing: the handler sends what it has counted.
        let mut text = if self.is_reader {
            String::from_utf8_lossy(&request.body).into_owned()
        } else {
            self.metrics.counted()
        };
        text.push_str(&stored(&depths, open, self.problems().len()));
        Ok(Response::text(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ))
    }
}
