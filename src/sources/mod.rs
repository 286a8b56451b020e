//! Bodies of vendors → failures. Each source is a stranger to the others and pure: bytes in, [`Parsed`] out.
//!
//! This room does not know the store, the clock or the network. A vendor's JSON names appear in its own
//! file only, in private structs, converted by hand at the border; every failure leaves
//! [sealed](crate::failure::Failure::sealed). Three outcomes: failures, *understood but not interesting*
//! ([`Parsed::Ignored`], answered 2xx), malformed ([`Malformed`], answered 4xx with the JSON path).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{AlertRef, Failure, Source};

// What the sources share: tolerant JSON and times, tables of Log Analytics, what a rerun is, the alert that may hold rows.
mod json;
mod outcome;
pub mod time;
pub mod rows;
pub mod reruns;
mod alert;

// The sources: strangers to one another.
pub mod azure_monitor;
pub mod databricks;
pub mod airflow;

/// What a body meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// One or more failed runs (one alert can hold many rows).
    Failures(Vec<Failure>),
    /// An alert that names no run: the queue function asks the vendor with our own query.
    NeedsRows(RowsRequest),
    /// Understood, and no failure: why.
    Ignored(String),
}

/// How the reason begins where an alert says that what it fired for is over.
const OVER: &str = "the alert is ";

impl Parsed {
    /// Does an alert say that something is over? That proves nothing: it is a hint to ask the platforms.
    pub fn is_hint_of_recovery(&self) -> bool {
        matches!(self, Self::Ignored(reason) if reason.starts_with(OVER))
    }
}

/// What can never be read, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Malformed {
    /// A stable code such as `not_json`, `wrong_type`, `nothing_usable`.
    pub code: &'static str,
    /// What is wrong, never an echo of the body.
    pub message: String,
    /// Where, as a JSON path such as `data.essentials.alertId`; empty when the whole body is meant.
    pub path: String,
}

/// Which table or API can name the runs behind an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RowsOf {
    /// Failed ADF pipeline runs.
    AdfRuns,
    /// Ended Databricks clusters.
    DatabricksClusters,
    /// Failed Databricks job runs.
    DatabricksJobs,
}

impl RowsOf {
    /// Every kind of rows.
    pub const ALL: [Self; 3] = [
        Self::AdfRuns,
        Self::DatabricksClusters,
        Self::DatabricksJobs,
    ];

    /// The name used in JSON and in keys of the store.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The platform whose rows they are.
    pub fn source(self) -> Source {
        match self {
            Self::AdfRuns => Source::Adf,
            Self::DatabricksClusters | Self::DatabricksJobs => Source::Databricks,
        }
    }
}

/// An alert without run ids, to be expanded with our own parameterised query over its window.
/// Every text in it is a *value to compare with*, never a query, URL or host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowsRequest {
    /// Which platform.
    pub source: Source,
    /// Where the rows are.
    pub rows_of: RowsOf,
    /// Start of the alert's window.
    pub from: Option<DateTime<Utc>>,
    /// End of the alert's window (or the time it fired).
    pub to: Option<DateTime<Utc>>,
    /// Only this pipeline, job or cluster name, if the alert names one.
    pub asset: Option<String>,
    /// Only this run id, if the alert names one but no error.
    pub run_id: Option<String>,
    /// The factory's or workspace's resource id, lower case, if the alert names it.
    pub resource: Option<String>,
    /// How many rows the alert says there are.
    pub count: Option<u64>,
    /// The alert's severity 0 to 4.
    pub severity: Option<u8>,
    /// The alert itself; its id is the idempotency key of the request.
    pub alert: AlertRef,
}

impl RowsRequest {
    /// What the failures behind the alert inherit from it.
    pub fn origin(&self) -> rows::Origin {
        rows::Origin {
            severity: self.severity,
            alert: Some(self.alert.clone()),
            ..rows::Origin::default()
        }
    }
}
