//! Which task is the cause, what was no failure, which events tell. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::Regex;

use super::super::values::from_millis;
use super::super::{Progress, RunOutcome, Standing as RunStanding};
use crate::sources::rows::databricks as rows;

use super::wire::{Cluster, Event, Library, Run, State, Status, Task, Termination};

/// Results that follow from another task's failure, or from a condition.
const CONSEQUENCES: [&str; 6] = [
    "UPSTREAM_FAILED",
    "UPSTREAM_CANCELED",
    "UPSTREAM_EVICTED",
    "EXCLUDED",
    "SKIPPED",
    "DISABLED",
];
/// Codes that say no more than "the cluster": its own reason is the better one.
const CLUSTER_CODES: [&str; 4] = [
    "CLUSTER_ERROR",
    "CLOUD_FAILURE",
    "DRIVER_ERROR",
    "INVALID_CLUSTER_REQUEST",
];
/// Events that tell why work on a cluster failed.
const TELLING: [&str; 21] = [
    "TERMINATING",
    "DRIVER_NOT_RESPONDING",
    "DRIVER_UNAVAILABLE",
    "SPARK_EXCEPTION",
    "NODES_LOST",
    "NODE_BLACKLISTED",
    "NODE_EXCLUDED_DECOMMISSIONED",
    "METASTORE_DOWN",
    "DBFS_DOWN",
    "INIT_SCRIPTS_FAILED",
    "FAILED_TO_EXPAND_DISK",
    "ADD_NODES_FAILED",
    "AUTOSCALING_FAILED",
    "AUTOSCALING_BACKOFF",
    "UNHEALTHY_NODES",
    "DECOMMISSION_STARTED",
    "CLUSTER_MIGRATED",
    "LIBRARY_INSTALLATION_FAILED",
    "DID_NOT_EXPAND_DISK",
    "UC_VOLUME_MISCONFIGURED",
    "RESTARTING",
];

/// How a run, a task or a repair stands, by whichever description it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Running,
    Succeeded,
    /// A person stopped it.
    Cancelled,
    /// It did not run, because of something else.
    Consequence,
    Failed,
}

pub(super) fn standing(state: &State, status: &Status) -> Standing {
    let end = &status.termination_details;
    let result = state.result_state.to_ascii_uppercase();
    let life = state.life_cycle_state.to_ascii_uppercase();
    let over = matches!(life.as_str(), "TERMINATED" | "SKIPPED" | "INTERNAL_ERROR")
        || life.is_empty()
            && (status.state.eq_ignore_ascii_case("TERMINATED") || !result.is_empty());
    if !over {
        return Standing::Running;
    }
    match (result.as_str(), end.code.to_ascii_uppercase().as_str()) {
        (consequence, _) if CONSEQUENCES.contains(&consequence) => Standing::Consequence,
        (_, "SKIPPED") => Standing::Consequence,
        ("SUCCESS" | "SUCCESS_WITH_FAILURES", _) | ("", "SUCCESS" | "SUCCESS_WITH_FAILURES") => {
            Standing::Succeeded
        }
        (_, "USER_CANCELED") | ("CANCELED", "") => Standing::Cancelled,
        _ => Standing::Failed,
    }
}

/// The failed tasks (last attempts only), first to end first.
pub(super) fn failed(tasks: &[Task]) -> Vec<&Task> {
    let mut last: BTreeMap<&str, &Task> = BTreeMap::new();
    for task in tasks {
        let kept = last.entry(&task.task_key).or_insert(task);
        if (task.start_time, task.attempt_number) > (kept.start_time, kept.attempt_number) {
            *kept = task;
        }
    }
    in_order(last.into_values())
}

/// The failed ones among runs of their own, such as a loop's iterations, first to end first.
pub(super) fn failed_runs(runs: &[Task]) -> Vec<&Task> {
    in_order(runs.iter())
}

fn in_order<'a>(tasks: impl Iterator<Item = &'a Task>) -> Vec<&'a Task> {
    let mut failed: Vec<&Task> = tasks
        .filter(|task| standing(&task.state, &task.status) == Standing::Failed)
        .collect();
    failed.sort_by_key(|task| {
        (
            task.end_time.unwrap_or(i64::MAX),
            task.start_time,
            task.task_key.clone(),
        )
    });
    failed
}

/// Why the run was no failure after all.
pub(super) fn no_failure(run: &Run) -> Option<String> {
    match standing(&run.state, &run.status) {
        Standing::Cancelled => Some("the run was cancelled by a user".to_owned()),
        Standing::Succeeded if run.state.result_state == "SUCCESS_WITH_FAILURES" => {
            Some("the run succeeded; only tasks that may fail did".to_owned())
        }
        Standing::Succeeded if run.repair_history.len() > 1 => {
            Some("the run succeeded in a repair".to_owned())
        }
        Standing::Succeeded => Some("the run succeeded".to_owned()),
        Standing::Running | Standing::Consequence | Standing::Failed => None,
    }
}

/// How the run ended, for a remediation.
pub(super) fn outcome(state: &State, status: &Status) -> RunOutcome {
    let why = || {
        let end = &status.termination_details;
        let code = [&end.code, &state.result_state, &state.life_cycle_state]
            .into_iter()
            .find(|code| !code.is_empty());
        let message = if end.message.is_empty() {
            &state.state_message
        } else {
            &end.message
        };
        format!("{}: {message}", code.map_or("failed", String::as_str))
    };
    match standing(state, status) {
        Standing::Running => RunOutcome::Running,
        Standing::Succeeded => RunOutcome::Succeeded,
        Standing::Cancelled => RunOutcome::Failed("the run was cancelled".to_owned()),
        Standing::Consequence | Standing::Failed => RunOutcome::Failed(why()),
    }
}

/// Is a cluster that was restarted of use again?
pub(super) fn cluster_outcome(cluster: &Cluster, libraries: &[Library]) -> RunOutcome {
    match cluster.state.to_ascii_uppercase().as_str() {
        "RUNNING" | "RESIZING" => {}
        "TERMINATED" | "ERROR" => {
            return RunOutcome::Failed(reason_text(&cluster.termination_reason));
        }
        _ => return RunOutcome::Running,
    }
    if let Some(library) = libraries
        .iter()
        .find(|library| library.status.eq_ignore_ascii_case("FAILED"))
    {
        return RunOutcome::Failed(format!(
            "a library could not be installed: {}",
            library.messages.join(" ")
        ));
    }
    let busy = |library: &Library| {
        ["PENDING", "RESOLVING", "INSTALLING"]
            .contains(&library.status.to_ascii_uppercase().as_str())
    };
    if libraries.iter().any(busy) {
        RunOutcome::Running
    } else {
        RunOutcome::Succeeded
    }
}

/// How a run stands beside a newer one.
pub(super) fn progress(run: &Run) -> Progress {
    match standing(&run.state, &run.status) {
        Standing::Running => Progress::Going,
        Standing::Succeeded => Progress::Succeeded,
        Standing::Cancelled | Standing::Consequence | Standing::Failed => Progress::Failed,
    }
}

/// Is the cluster still as it was when it failed, at this time?
pub(super) fn cluster_standing(
    cluster: &Cluster,
    failed_at: Option<DateTime<Utc>>,
    restart: bool,
) -> RunStanding {
    let started_since = || {
        let starts = [cluster.last_restarted_time, cluster.start_time];
        let last = starts.into_iter().filter_map(from_millis).max();
        last.zip(failed_at).is_some_and(|(at, failed)| at > failed)
    };
    match cluster.state.to_ascii_uppercase().as_str() {
        "PENDING" | "RESTARTING" => RunStanding::Running,
        "RUNNING" | "RESIZING" if restart && started_since() => {
            RunStanding::Over("has been started again".to_owned())
        }
        "TERMINATED" | "TERMINATING" if is_normal_end(&cluster.termination_reason) => {
            RunStanding::Over(format!(
                "has ended normally since ({})",
                cluster.termination_reason.code
            ))
        }
        _ => RunStanding::Failed,
    }
}

/// Is the cluster being started, or was it started or did it end since then?
pub(super) fn moved_since(cluster: &Cluster, since: DateTime<Utc>) -> bool {
    let times = [
        cluster.last_restarted_time,
        cluster.start_time,
        cluster.terminated_time,
    ];
    matches!(
        cluster.state.to_ascii_uppercase().as_str(),
        "PENDING" | "RESTARTING"
    ) || times
        .into_iter()
        .filter_map(from_millis)
        .any(|at| at >= since)
}

/// Is this end of a cluster no failure?
pub(super) fn is_normal_end(reason: &Termination) -> bool {
    let kind = Some(reason.kind.as_str()).filter(|kind| !kind.is_empty());
    rows::is_normal_end(Some(&reason.code), kind)
}

/// Does a run's code only point to its cluster?
pub(super) fn points_to_cluster(end: &Termination) -> bool {
    CLUSTER_CODES.contains(&end.code.to_ascii_uppercase().as_str())
}

/// The events that tell something.
pub(super) fn telling(events: &[Event]) -> Vec<&Event> {
    events
        .iter()
        .filter(|event| {
            TELLING.contains(&event.kind.as_str())
                && !event.reason().is_some_and(|r| is_normal_end(&r))
        })
        .collect()
}

/// A termination in one line: code, type and what the platform said.
pub(super) fn reason_text(reason: &Termination) -> String {
    let parameters: Vec<String> = reason
        .parameters
        .iter()
        .map(|(name, value)| {
            format!(
                "{name}: {}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            )
        })
        .collect();
    format!(
        "{} ({}). {}",
        reason.code,
        reason.kind,
        parameters.join(", ")
    )
    .trim_end()
    .to_owned()
}

/// The cluster's reason inside a run's message: `Reason: CODE (TYPE)`.
pub(super) fn reason_in(message: &str) -> Option<Termination> {
    static REASON: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"Reason: ([A-Z][A-Z0-9_]{2,80}) \(([A-Z_]{2,40})\)").ok());
    let found = REASON.as_ref()?.captures(message)?;
    let part = |at: usize| {
        found
            .get(at)
            .map(|part| part.as_str().to_owned())
            .unwrap_or_default()
    };
    Some(Termination {
        code: part(1),
        kind: part(2),
        ..Termination::default()
    })
}

/// The error class that Spark and Delta put in brackets: `[DELTA_FAILED_TO_MERGE_FIELDS]`.
pub(super) fn error_class(error: &str) -> Option<&str> {
    static CLASS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\[([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?:\.[A-Z0-9_]+)?\]").ok());
    Some(CLASS.as_ref()?.captures(error)?.get(1)?.as_str())
}

/// Only digits are a run or job id.
pub(super) fn is_id(id: &str) -> bool {
    (1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(key: &str, result: &str, start: i64, end: i64) -> Task {
        let state = json!({"life_cycle_state": "TERMINATED", "result_state": result});
        serde_json::from_value(json!({"task_key": key, "run_id": end, "state": state, "start_time": start, "end_time": end}))
            .unwrap()
    }

    #[test]
    fn consequences_and_saved_tasks_are_no_causes() {
        let tasks = [
            task("report", "UPSTREAM_FAILED", 9, 9),
            task("flaky", "FAILED", 1, 2),
            task("flaky", "SUCCESS", 3, 4),
            task("late", "TIMEDOUT", 2, 8),
            task("load", "FAILED", 2, 7),
            task("maybe", "EXCLUDED", 1, 1),
        ];
        let failed: Vec<_> = failed(&tasks)
            .iter()
            .map(|task| task.task_key.as_str())
            .collect();
        assert_eq!(failed, ["load", "late"]);
    }

    #[test]
    fn standings() {
        let of = |life: &str, result: &str, code: &str| {
            let state = State {
                life_cycle_state: life.into(),
                result_state: result.into(),
                ..State::default()
            };
            let details = Termination {
                code: code.into(),
                ..Termination::default()
            };
            standing(
                &state,
                &Status {
                    state: String::new(),
                    termination_details: details,
                },
            )
        };
        assert_eq!(of("RUNNING", "", ""), Standing::Running);
        assert_eq!(of("QUEUED", "", ""), Standing::Running);
        assert_eq!(
            of("INTERNAL_ERROR", "FAILED", "CLUSTER_ERROR"),
            Standing::Failed
        );
        assert_eq!(of("TERMINATED", "TIMEDOUT", "CANCELED"), Standing::Failed);
        assert_eq!(
            of("TERMINATED", "CANCELED", "USER_CANCELED"),
            Standing::Cancelled
        );
        assert_eq!(of("TERMINATED", "CANCELED", ""), Standing::Cancelled);
        assert_eq!(
            of("TERMINATED", "CANCELED", "MAX_RUN_DURATION_EXCEEDED"),
            Standing::Failed
        );
        assert_eq!(of("TERMINATED", "SOMETHING_NEW", ""), Standing::Failed);
        assert_eq!(
            of("TERMINATED", "SUCCESS_WITH_FAILURES", ""),
            Standing::Succeeded
        );
    }

    #[test]
    fn events_that_tell() {
        let events: Vec<Event> = [
            ("UC_VOLUME_MISCONFIGURED", true),
            ("DRIVER_NOT_RESPONDING", true),
            ("SPARK_EXCEPTION", true),
            ("DRIVER_HEALTHY", false),
            ("PINNED", false),
        ]
        .into_iter()
        .map(|(kind, _)| serde_json::from_value(json!({"timestamp": 1, "type": kind})).unwrap())
        .collect();
        let told: Vec<&str> = telling(&events).iter().map(|e| e.kind.as_str()).collect();
        assert_eq!(
            told,
            [
                "UC_VOLUME_MISCONFIGURED",
                "DRIVER_NOT_RESPONDING",
                "SPARK_EXCEPTION"
            ]
        );
    }

    #[test]
    fn codes_inside_texts() {
        let reason =
            reason_in("Cluster 'x' was terminated. Reason: CLOUD_PROVIDER_RESOURCE_STOCKOUT (CLOUD_FAILURE). Parameters: a")
                .unwrap();
        assert_eq!(
            (reason.code.as_str(), reason.kind.as_str()),
            ("CLOUD_PROVIDER_RESOURCE_STOCKOUT", "CLOUD_FAILURE")
        );
        assert_eq!(
            error_class("AnalysisException: [DELTA_FAILED_TO_MERGE_FIELDS] Failed"),
            Some("DELTA_FAILED_TO_MERGE_FIELDS")
        );
        assert_eq!(
            error_class("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A"),
            Some("UNRESOLVED_COLUMN")
        );
        assert_eq!(error_class("list [A] of [lower_case]"), None);
    }
}
