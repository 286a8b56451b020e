//! What the vendors' APIs say about a failure: proofs for the diagnosis, gaps where they could not be had.
//!
//! In: a [`Failure`]. Out: [`Collected`]: evidence (redacted, with source and time), gaps, and what the
//! vendor knows better than the alert did. A missing configuration or a failing vendor is a [`Gap`], never
//! a lost failure. Hosts come only from configuration; outside text goes out only as escaped data. One file
//! (or folder) a vendor; they do not know each other, the [`Collector`] asks them all at the same time.
//!
//! **Evidence is structured when it is collected.** A client writes its proof as a [`Text`]: passages, each with its
//! [`Voice`] (the terminal error, an error beside it, a log, a record), and the names that the vendor's fields give.
//! `diagnosis` reads the terminal error, looks into logs for it, masks the names and never reads a record. So a new
//! client says `text.line("message", Voice::Terminal, &error)`, `text.add(Voice::Record, "pipeline: …")`,
//! `text.name(&activity)`, or `Text::of(Voice::Log, &log)` for a log as it is.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::redaction::{cap, redact};
use crate::sources::RowsRequest;

pub mod airflow;
mod asking;
mod client;
mod collector;
pub mod data_factory;
pub mod databricks;
pub mod log_analytics;
mod expand;
mod linked;
mod owners;
mod standing;
mod values;
mod voice;

pub use airflow::Airflow;
pub use asking::Key;
pub use collector::Collector;
pub use data_factory::DataFactory;
pub use databricks::Databricks;
pub use expand::Expanded;
pub use log_analytics::LogAnalytics;
pub use owners::Owners;
pub use standing::{Facts, Known, Progress, Standing};
pub use voice::{Passage, Text, Voice};

/// The longest text of one proof, in bytes; a longer one keeps its head and its tail.
pub const EVIDENCE_CAP: usize = 200 * 1024;
/// An alert's window is widened by this much on both sides: repeated runs are known by their keys.
const WINDOW_SLACK: TimeDelta = TimeDelta::minutes(5);
/// The window of an alert that names none.
const WINDOW: TimeDelta = TimeDelta::hours(1);
/// No window is longer.
const LONGEST_WINDOW: TimeDelta = TimeDelta::days(2);

/// One proof. Stored in the evidence table, shown on the ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Short id within the ticket: `e1`, `e2` …; `e0` is the report itself.
    pub id: String,
    /// Where it comes from: `alert`, `adf.activity_runs`, `databricks.run`, `databricks.run_output`,
    /// `databricks.cluster`, `databricks.cluster_events`, `databricks.libraries`, `adf.pipeline_run`,
    /// `airflow.task_instance`, `airflow.log`, `log_analytics`.
    pub source: String,
    /// One line that says what it is.
    pub title: String,
    /// The text, redacted.
    pub text: String,
    /// Whose words its passages are; none: nobody said, all of it is the report's own. Not stored: only the
    /// analysis that collected it reads it.
    #[serde(skip)]
    pub passages: Vec<Passage>,
    /// The names that the vendor's fields give; not stored either.
    #[serde(skip)]
    pub names: Vec<String>,
    /// When it was taken.
    pub at: DateTime<Utc>,
}

/// What could not be had, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The source that stayed silent, named as in [`Evidence::source`].
    pub source: String,
    /// Why, and what to set or grant.
    pub reason: String,
}

/// What the vendor knows better than the report did; `None` keeps the report's value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refinement {
    /// The innermost error code.
    pub error_code: Option<String>,
    /// The real error text.
    pub message: Option<String>,
    /// The asset's real name (a webhook may know only an id).
    pub asset: Option<String>,
    /// A link to the run.
    pub run_url: Option<String>,
    /// When it failed.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The scope in which the run was found.
    pub scope: Option<String>,
    /// Further context by the names in [`crate::failure::field`].
    pub context: BTreeMap<String, String>,
}

/// Everything that was learnt about one failure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collected {
    /// Proofs, most telling first.
    pub evidence: Vec<Evidence>,
    /// What could not be had.
    pub gaps: Vec<Gap>,
    /// Corrections of the report.
    pub refinement: Refinement,
    /// Set when the vendor says that this was no failure after all (cancelled by a user, idle cluster): why.
    pub no_failure: Option<String>,
    /// Set when the vendor says that it has not ended yet (a retry waits, a rerun runs): how it stands.
    pub not_final: Option<String>,
    /// The run has failed, but none of its tasks is failed any more: what had failed was healed or cleared since.
    pub none_failed: bool,
}

impl Collected {
    /// Adds a proof; it is numbered when everything is collected.
    pub(crate) fn prove(
        &mut self,
        source: &str,
        title: impl AsRef<str>,
        text: Text,
        at: DateTime<Utc>,
    ) {
        let title = cap(&redact(title.as_ref()), 300);
        let (text, passages, names) = text.into_parts();
        self.evidence.push(Evidence {
            id: String::new(),
            source: source.to_owned(),
            title,
            text,
            passages,
            names,
            at,
        });
    }

    /// Adds a gap, once.
    pub(crate) fn miss(&mut self, source: &str, reason: impl Into<String>) {
        let gap = Gap {
            source: source.to_owned(),
            reason: reason.into(),
        };
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// The failure with the vendor's corrections, sealed again.
    #[must_use]
    pub fn refine(&self, mut failure: Failure) -> Failure {
        let better = &self.refinement;
        if let Some(code) = &better.error_code {
            failure.error_code = Some(code.clone());
        }
        if let Some(message) = &better.message {
            failure.message.clone_from(message);
        }
        if let Some(asset) = &better.asset {
            failure.asset.clone_from(asset);
        }
        if better.run_url.is_some() {
            failure.run_url.clone_from(&better.run_url);
        }
        if better.occurred_at.is_some() {
            failure.occurred_at = better.occurred_at;
        }
        failure.context.extend(better.context.clone());
        if let Some(scope) = &better.scope {
            failure.set_scope(scope);
        }
        failure.sealed()
    }
}

/// What became of a run that a remediation started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// It ended well.
    Succeeded,
    /// It ended badly: why, as the vendor said (outside text: seal it before it is shown).
    Failed(String),
    /// It has not ended.
    Running,
    /// The vendor does not know it.
    NotFound,
    /// The vendor's API is not configured: nobody can be asked.
    NotConfigured,
}

/// The window in which an alert's rows are looked for.
pub(crate) fn window(request: &RowsRequest, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let to = request.to.unwrap_or(now).min(now);
    let from = request
        .from
        .filter(|from| *from <= to)
        .unwrap_or(to - WINDOW)
        .max(to - LONGEST_WINDOW);
    (from - WINDOW_SLACK, to + WINDOW_SLACK)
}

/// Is this name only a stand-in for one that the report did not know?
pub(crate) fn is_placeholder(asset: &str) -> bool {
    let words = asset.trim().to_ascii_lowercase();
    let number = words
        .strip_prefix("job ")
        .or_else(|| words.strip_prefix("run "))
        .unwrap_or(&words);
    words.is_empty() || words.starts_with("unknown ") || number.bytes().all(|b| b.is_ascii_digit())
}
