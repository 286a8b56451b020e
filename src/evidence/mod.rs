//! What the vendors' APIs say about a failure: proofs for the diagnosis, gaps where they could not be had.
//!
//! In: a [`Failure`]. Out: [`Collected`]: evidence (redacted, with source and time), gaps, and what the
//! vendor knows better than the alert did. A missing configuration or a failing vendor is a [`Gap`], never
//! a lost failure. Hosts come only from configuration; outside text goes out only as escaped data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// One proof. Stored in the evidence table, shown on the ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Short id within the ticket: `e1`, `e2` …; `e0` is the report itself.
    pub id: String,
    /// Where it comes from: `alert`, `adf.activity_runs`, `databricks.run`, `databricks.run_output`,
    /// `databricks.cluster`, `databricks.cluster_events`, `airflow.log`, `log_analytics`.
    pub source: String,
    /// One line that says what it is.
    pub title: String,
    /// The text, redacted.
    pub text: String,
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
}

impl Collected {
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
        failure.sealed()
    }
}
