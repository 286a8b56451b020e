//! Which failed activity is the cause, and what its message really says. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::Regex;

use super::wire::ActivityRun;

/// Activities that fail because something inside them failed.
const CONTAINERS: [&str; 4] = ["IfCondition", "ForEach", "Until", "Switch"];
const NESTED: &str = "ExecutePipeline";

/// One activity: its name and, inside loops, its iteration.
type ActivityKey<'a> = (&'a str, &'a str);

fn key(run: &ActivityRun) -> ActivityKey<'_> {
    (&run.activity_name, &run.iteration_hash)
}

/// Does it run another pipeline?
pub(super) fn is_nested(run: &ActivityRun) -> bool {
    run.activity_type.eq_ignore_ascii_case(NESTED)
}

fn is_container(run: &ActivityRun) -> bool {
    CONTAINERS
        .iter()
        .any(|container| run.activity_type.eq_ignore_ascii_case(container))
}

fn ended(run: &ActivityRun) -> DateTime<Utc> {
    run.activity_run_end
        .or(run.activity_run_start)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The last failed attempt of every activity whose last attempt failed, first to end first;
/// containers after the activities inside them. `succeeded`: activities that ended well after all.
pub(super) fn causes<'a>(
    failed: &'a [ActivityRun],
    succeeded: &[ActivityRun],
) -> Vec<&'a ActivityRun> {
    let saved: BTreeMap<ActivityKey<'_>, DateTime<Utc>> =
        succeeded.iter().map(|run| (key(run), ended(run))).collect();
    let mut last: BTreeMap<ActivityKey<'_>, &ActivityRun> = BTreeMap::new();
    for run in failed
        .iter()
        .filter(|run| run.status.eq_ignore_ascii_case("Failed"))
    {
        if saved.get(&key(run)).is_some_and(|at| *at >= ended(run)) {
            continue;
        }
        let kept = last.entry(key(run)).or_insert(run);
        if (run.retry_attempt, ended(run)) > (kept.retry_attempt, ended(kept)) {
            *kept = run;
        }
    }
    let mut causes: Vec<&ActivityRun> = last.into_values().collect();
    causes.sort_by_key(|run| (is_container(run), ended(run), run.activity_name.clone()));
    causes
}

/// Is it one of many runs in a loop?
pub(super) fn is_iteration(run: &ActivityRun) -> bool {
    !run.iteration_hash.is_empty() && !is_container(run)
}

/// In a loop: in how many iterations this activity failed for good, and in how many it ran.
pub(super) fn iterations(
    of: &ActivityRun,
    causes: &[&ActivityRun],
    succeeded: &[ActivityRun],
) -> Option<(usize, usize)> {
    if !is_iteration(of) {
        return None;
    }
    let same = |run: &&ActivityRun| run.activity_name == of.activity_name;
    let failed: BTreeSet<&str> = (causes.iter().copied().filter(same))
        .map(|run| run.iteration_hash.as_str())
        .collect();
    let well = succeeded.iter().filter(same);
    let all: BTreeSet<&str> = well
        .map(|run| run.iteration_hash.as_str())
        .chain(failed.iter().copied())
        .collect();
    (all.len() > 1).then_some((failed.len(), all.len()))
}

/// The names of the activities among which a choice must be made.
pub(super) fn names(failed: &[ActivityRun]) -> Vec<String> {
    let names: BTreeSet<&str> = failed
        .iter()
        .filter(|run| !is_container(run))
        .map(|run| run.activity_name.as_str())
        .filter(|n| !n.is_empty())
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The innermost `ErrorCode=` of a message: the service nests one error's text in the next one's.
pub(super) fn innermost_code(message: &str) -> Option<&str> {
    static CODE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"ErrorCode=([A-Za-z][A-Za-z0-9_.\-]{1,127})").ok());
    CODE.as_ref()?
        .captures_iter(message)
        .last()?
        .get(1)
        .map(|code| code.as_str().trim_end_matches(['.', '-']))
}

/// The message without the wrappers `Operation on target <activity> failed: `.
pub(super) fn unwrapped(message: &str) -> &str {
    static WRAPPER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^\s*Operation on target .{1,260}? failed: ").ok());
    let Some(wrapper) = WRAPPER.as_ref() else {
        return message;
    };
    let mut rest = message;
    while let Some(found) = wrapper.find(rest) {
        rest = rest.get(found.end()..).unwrap_or_default();
    }
    if rest.trim().is_empty() {
        message
    } else {
        rest
    }
}

/// The run of a Databricks page such as `https://adb-1.2.azuredatabricks.net/?o=1#job/51/run/99`.
pub(super) fn databricks_run(page: &str) -> Option<String> {
    static PAGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^https://[A-Za-z0-9.\-]+/(?:\?o=\d+)?#?/?jobs?/\d{1,20}/runs?/(\d{1,20})\b")
            .ok()
    });
    Some(PAGE.as_ref()?.captures(page)?.get(1)?.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(name: &str, kind: &str, attempt: Option<i64>, end: &str) -> ActivityRun {
        let run = json!({"activityName": name, "activityType": kind, "status": "Failed", "retryAttempt": attempt,
            "activityRunEnd": format!("2026-07-27T09:{end}Z")});
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn the_first_leaf_to_fail_is_the_cause_not_what_contains_it_or_follows_it() {
        let failed = [
            run("Each", "ForEach", None, "05:00"),
            run("Notify", "WebActivity", None, "04:00"),
            run("Copy", "Copy", None, "03:00"),
            run("Child", "ExecutePipeline", None, "03:30"),
        ];
        let names: Vec<_> = causes(&failed, &[])
            .iter()
            .map(|run| run.activity_name.as_str())
            .collect();
        assert_eq!(names, ["Copy", "Child", "Notify", "Each"]);
    }

    #[test]
    fn an_activity_that_a_retry_saved_is_no_cause() {
        let failed = [
            run("Flaky", "Copy", None, "01:00"),
            run("Copy", "Copy", None, "03:00"),
            run("Copy", "Copy", Some(1), "04:00"),
        ];
        let mut saved = run("Flaky", "Copy", Some(1), "02:00");
        saved.status = "Succeeded".to_owned();
        let causes = causes(&failed, &[saved]);
        assert_eq!(causes.len(), 1);
        assert_eq!(causes[0].retry_attempt, Some(1));
    }

    #[test]
    fn codes_and_messages_are_unwrapped() {
        let nested = "Operation on target Run child failed: Operation on target Copy_Sales failed: ErrorCode=UserErrorX,'Type=T,Message=ErrorCode=Inner.Y.,Source=S,'";
        assert_eq!(innermost_code(nested), Some("Inner.Y"));
        assert!(unwrapped(nested).starts_with("ErrorCode=UserErrorX"));
        assert_eq!(innermost_code("nothing of that kind"), None);
        assert_eq!(
            unwrapped("Operation on target A failed: "),
            "Operation on target A failed: "
        );
    }

    #[test]
    fn run_pages_of_both_spellings() {
        let page = "https://adb-1.12.azuredatabricks.net/?o=1#job/51/run/99";
        assert_eq!(databricks_run(page), Some("99".to_owned()));
        assert_eq!(
            databricks_run("https://adb-1.12.azuredatabricks.net/jobs/51/runs/99?o=1"),
            Some("99".to_owned())
        );
        assert_eq!(
            databricks_run("https://evil.example/?o=1#job/x/run/99"),
            None
        );
    }
}
