//! Runs, repairs and `run-now`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Ending, State, invalid, refusal, scalar, set, text};
use crate::{Answer, Request};

/// The longest idempotency token.
const TOKEN_LENGTH: usize = 64;

fn absent(run_id: &str) -> Answer {
    invalid(&format!("Run {run_id} does not exist."))
}

fn is_over(run: &Value) -> bool {
    let life = run
        .pointer("/state/life_cycle_state")
        .map(scalar)
        .unwrap_or_default();
    matches!(life.as_str(), "TERMINATED" | "SKIPPED" | "INTERNAL_ERROR")
}

fn failed_task(task: &Value) -> bool {
    let result = task
        .pointer("/state/result_state")
        .map(scalar)
        .unwrap_or_default();
    !result.is_empty() && result != "SUCCESS" && result != "EXCLUDED"
}

/// Where something stands, in the older and in the newer words.
fn stand(item: &mut Value, ending: Option<&Ending>, now: DateTime<Utc>) {
    match ending {
        None => {
            set(
                item,
                "state",
                json!({"life_cycle_state": "RUNNING", "state_message": "", "user_cancelled_or_timedout": false}),
            );
            set(item, "status", json!({"state": "RUNNING"}));
            set(item, "end_time", 0);
        }
        Some(Ending { failure: None, .. }) => {
            let state = json!({"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""});
            set(item, "state", state);
            let details = json!({"code": "SUCCESS", "type": "SUCCESS", "message": ""});
            set(
                item,
                "status",
                json!({"state": "TERMINATED", "termination_details": details}),
            );
            set(item, "end_time", now.timestamp_millis());
        }
        Some(Ending {
            failure: Some((code, kind, message)),
            ..
        }) => {
            let result = if code == "USER_CANCELED" {
                "CANCELED"
            } else {
                "FAILED"
            };
            set(
                item,
                "state",
                json!({"life_cycle_state": "TERMINATED", "result_state": result, "state_message": message}),
            );
            let details = json!({"code": code, "type": kind, "message": message});
            set(
                item,
                "status",
                json!({"state": "TERMINATED", "termination_details": details}),
            );
            set(item, "end_time", now.timestamp_millis());
        }
    }
}

/// The run itself, or a task of a run asked for by its own id.
fn find(state: &State, run_id: &str) -> Option<Value> {
    if let Some(run) = state.runs.get(run_id) {
        return Some(run.clone());
    }
    state.runs.values().find_map(|run| {
        let task = run
            .get("tasks")?
            .as_array()?
            .iter()
            .find(|task| text(task, "run_id") == run_id)?;
        let mut task = task.clone();
        set(
            &mut task,
            "job_id",
            run.get("job_id").cloned().unwrap_or_default(),
        );
        Some(task)
    })
}

pub(super) fn get(state: &mut State, request: &Request, page: usize, now: DateTime<Utc>) -> Answer {
    let run_id = request.query("run_id").unwrap_or_default();
    if let Some(ending) = state.look(run_id) {
        end(state, run_id, &ending, now);
    }
    let Some(mut run) = find(state, run_id) else {
        return absent(run_id);
    };
    if request.query("include_history") != Some("true")
        && let Some(map) = run.as_object_mut()
    {
        map.remove("repair_history");
    }
    let start: usize = request
        .query("page_token")
        .and_then(|token| token.parse().ok())
        .unwrap_or(0);
    let tasks = run
        .get("tasks")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if tasks.len() > page {
        set(
            &mut run,
            "tasks",
            tasks
                .iter()
                .skip(start)
                .take(page)
                .cloned()
                .collect::<Vec<_>>(),
        );
        if start + page < tasks.len() {
            set(&mut run, "next_page_token", (start + page).to_string());
        }
    }
    Answer::json(200, &run)
}

/// Ends a run under way: its running tasks, its latest repair and itself.
fn end(state: &mut State, run_id: &str, ending: &Ending, now: DateTime<Utc>) {
    let Some(run) = state.runs.get_mut(run_id) else {
        return;
    };
    for task in run
        .get_mut("tasks")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter(|task| !is_over(task))
    {
        stand(task, Some(ending), now);
    }
    if let Some(last) = run
        .get_mut("repair_history")
        .and_then(Value::as_array_mut)
        .and_then(|items| items.last_mut())
    {
        stand(last, Some(ending), now);
    }
    stand(run, Some(ending), now);
}

pub(super) fn list(state: &State, request: &Request, page: usize) -> Answer {
    let number = |name: &str| {
        request
            .query(name)
            .and_then(|text| text.parse::<i64>().ok())
    };
    let (from, to) = (
        number("start_time_from").unwrap_or(0),
        number("start_time_to").unwrap_or(i64::MAX),
    );
    let mut runs: Vec<&Value> = state
        .runs
        .values()
        .filter(|run| {
            request
                .query("job_id")
                .is_none_or(|job| text(run, "job_id") == job)
        })
        .filter(|run| {
            (from..=to).contains(&run.get("start_time").and_then(Value::as_i64).unwrap_or(0))
        })
        .filter(|run| request.query("completed_only") != Some("true") || is_over(run))
        .filter(|run| request.query("active_only") != Some("true") || !is_over(run))
        .collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.get("start_time").and_then(Value::as_i64)));
    let start: usize = request
        .query("page_token")
        .and_then(|token| token.parse().ok())
        .unwrap_or(0);
    // Documented: 20 without a limit, at most 25.
    let limit = number("limit").and_then(|limit| usize::try_from(limit).ok());
    let page = page.min(limit.unwrap_or(20)).min(25);
    let more = start + page < runs.len();
    let token = if more {
        (start + page).to_string()
    } else {
        String::new()
    };
    let shown: Vec<&Value> = runs.into_iter().skip(start).take(page).collect();
    Answer::json(
        200,
        &json!({"runs": shown, "has_more": more, "next_page_token": token}),
    )
}

pub(super) fn output(state: &State, run_id: &str) -> Answer {
    if let Some(output) = state.outputs.get(run_id) {
        return Answer::json(200, output);
    }
    let Some(run) = find(state, run_id) else {
        return absent(run_id);
    };
    if run
        .get("tasks")
        .and_then(Value::as_array)
        .is_some_and(|tasks| !tasks.is_empty())
    {
        return invalid(
            "Retrieving the output of runs with multiple tasks is not supported. Please retrieve the output of each individual task run instead.",
        );
    }
    Answer::json(200, &json!({"metadata": run}))
}

pub(super) fn run_now(state: &mut State, body: &Value, now: DateTime<Utc>) -> Answer {
    let token = text(body, "idempotency_token");
    if token.len() > TOKEN_LENGTH {
        return invalid("The idempotency token must have at most 64 characters.");
    }
    if let Some(known) = state.tokens.get(&token).filter(|_| !token.is_empty()) {
        let run_id: i64 = known.parse().unwrap_or_default();
        return Answer::json(200, &json!({"run_id": run_id, "number_in_job": run_id}));
    }
    let job_id = text(body, "job_id");
    let Some(job) = state.jobs.get(&job_id).cloned() else {
        return invalid(&format!("Job {job_id} does not exist."));
    };
    let run_id = state.id();
    let task_run = state.id();
    let mut task = json!({"run_id": task_run, "task_key": "Main", "attempt_number": 0, "start_time": now.timestamp_millis()});
    stand(&mut task, None, now);
    let mut run = json!({
        "job_id": job.get("job_id"), "run_id": run_id, "number_in_job": run_id, "original_attempt_run_id": run_id,
        "job_run_id": run_id, "run_name": job.pointer("/settings/name"), "start_time": now.timestamp_millis(),
        "trigger": "ONE_TIME", "run_type": "JOB_RUN", "format": "MULTI_TASK", "tasks": [task],
        "job_parameters": body.get("job_parameters"),
    });
    stand(&mut run, None, now);
    let ending = state.ending_for(&job_id);
    state.runs.insert(run_id.to_string(), run);
    state.going.insert(run_id.to_string(), ending);
    if !token.is_empty() {
        state.tokens.insert(token, run_id.to_string());
    }
    Answer::json(200, &json!({"run_id": run_id, "number_in_job": run_id}))
}

pub(super) fn repair(state: &mut State, body: &Value, now: DateTime<Utc>) -> Answer {
    let run_id = text(body, "run_id");
    let Some(run) = state.runs.get(&run_id).cloned() else {
        return absent(&run_id);
    };
    if !is_over(&run) {
        return refusal(
            400,
            "INVALID_STATE",
            &format!("Run {run_id} is still active and cannot be repaired."),
        );
    }
    let all = body
        .get("rerun_all_failed_tasks")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let named = body
        .get("rerun_tasks")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if all != named.is_empty() {
        return invalid("Exactly one of rerun_tasks and rerun_all_failed_tasks must be set.");
    }
    let history = run
        .get("repair_history")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let latest = history
        .iter()
        .rev()
        .find(|item| text(item, "type") == "REPAIR")
        .map(|item| text(item, "id"));
    let given = text(body, "latest_repair_id");
    if latest.clone().unwrap_or_default() != given && !(latest.is_none() && given.is_empty()) {
        return invalid(
            "The latest_repair_id provided does not match the latest repair of the run.",
        );
    }
    let repair_id = state.id();
    let mut tasks = run
        .get("tasks")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let again = |task: &Value| {
        if all {
            failed_task(task)
        } else {
            named
                .iter()
                .any(|name| scalar(name) == text(task, "task_key"))
        }
    };
    for task in tasks.iter_mut().filter(|task| again(task)) {
        let attempt = task
            .get("attempt_number")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        set(task, "run_id", state.id());
        set(task, "attempt_number", attempt + 1);
        set(task, "start_time", now.timestamp_millis());
        stand(task, None, now);
    }
    let mut items = if history.is_empty() {
        let original = json!({"type": "ORIGINAL", "start_time": run.get("start_time"), "end_time": run.get("end_time"),
            "state": run.get("state"), "status": run.get("status")});
        vec![original]
    } else {
        history
    };
    let mut item = json!({"type": "REPAIR", "id": repair_id, "start_time": now.timestamp_millis()});
    stand(&mut item, None, now);
    items.push(item);
    let job = text(&run, "job_id");
    let ending = state.ending_for(&job);
    if let Some(run) = state.runs.get_mut(&run_id) {
        set(run, "tasks", tasks);
        set(run, "repair_history", items);
        stand(run, None, now);
    }
    state.going.insert(run_id, ending);
    Answer::json(200, &json!({"repair_id": repair_id}))
}

pub(super) fn cancel(state: &mut State, body: &Value, now: DateTime<Utc>) -> Answer {
    let run_id = text(body, "run_id");
    if !state.runs.contains_key(&run_id) {
        return absent(&run_id);
    }
    if state.going.remove(&run_id).is_some() {
        end(
            state,
            &run_id,
            &Ending::badly(0, "USER_CANCELED", "SUCCESS", "Run cancelled"),
            now,
        );
    }
    Answer::json(200, &json!({}))
}
