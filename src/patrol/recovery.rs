//! Is a good run the recovery of a failure? Pure.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{End, FINDING, OVERDUE, WINDOW};
use crate::failure::{Failure, Source, field};
use crate::sources::reruns;

/// A run that ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The run.
    pub run_id: String,
    /// When it began.
    pub began: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// Who or what started it, in words that follow "started by".
    pub started_by: String,
    /// The slice of time it worked on.
    #[serde(default)]
    pub window: Option<String>,
    /// It ended well, but moved nothing, or too little: in words.
    #[serde(default)]
    pub empty: Option<String>,
    /// When it was seen.
    pub seen_at: DateTime<Utc>,
}

impl Recovery {
    /// Of a good end.
    pub fn of(end: &End, now: DateTime<Utc>) -> Self {
        Self {
            run_id: end.run_id.clone(),
            began: end.began,
            ended: end.ended,
            started_by: end.started_by.to_owned(),
            window: end.window.clone(),
            empty: None,
            seen_at: now,
        }
    }

    /// A run that was missing and has begun.
    pub fn begun(began: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            run_id: String::new(),
            began: Some(began),
            ended: None,
            started_by: String::new(),
            window: None,
            empty: None,
            seen_at: now,
        }
    }

    /// `recovered by run 42 at 2026-11-29 03:00:00 UTC, started by its schedule`.
    pub fn words(&self) -> String {
        if self.run_id.is_empty() {
            let at = self.began.unwrap_or(self.seen_at);
            return format!(
                "recovered: a run began at {}",
                at.format("%Y-%m-%d %H:%M:%S UTC")
            );
        }
        let at = self.ended.unwrap_or(self.seen_at);
        format!(
            "recovered by run {} at {}, started by {}",
            self.run_id,
            at.format("%Y-%m-%d %H:%M:%S UTC"),
            self.started_by
        )
    }
}

/// Does this good run show that the failure is over? It must have begun after the failure; a run that was repaired, or whose
/// tasks were cleared, keeps its id and must have ended after it. `failed_at`: when the unit failed last.
pub fn is_recovery(recovery: &Recovery, failure: &Failure, failed_at: DateTime<Utc>) -> bool {
    if let Some(window) = failure.field(WINDOW)
        && recovery.window.as_deref() != Some(window)
    {
        return false;
    }
    // The missing run may have begun before anybody was told that it is missing.
    if failure.field(FINDING) == Some(OVERDUE) {
        return recovery.run_id.is_empty() || recovery.began.is_some_and(|at| at >= failed_at);
    }
    let same_run = failure
        .run_id
        .as_deref()
        .is_some_and(|run| run.eq_ignore_ascii_case(&recovery.run_id));
    if same_run {
        let may = reruns::may_keep_their_id(failure.source);
        return may && recovery.ended.is_some_and(|at| at > failed_at);
    }
    recovery.began.is_some_and(|began| began >= failed_at)
}

/// When this unit failed, as far as the report or its platform said.
pub fn failed_at(failure: &Failure, first_seen: DateTime<Utc>) -> DateTime<Utc> {
    failure
        .occurred_at
        .filter(|at| *at <= first_seen)
        .unwrap_or(first_seen)
}

/// Must the platform be asked whether the failed part of the unit ran in the good run? A DAG run is good when its last tasks
/// are, over whatever failed before them.
pub fn needs_proof(failure: &Failure) -> bool {
    failure.source == Source::Airflow && failure.field(field::TASK_ID).is_some()
}
