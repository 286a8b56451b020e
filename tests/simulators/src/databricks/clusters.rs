//! Clusters and their libraries.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Ending, State, invalid, refusal, set, text};
use crate::Answer;

fn absent(cluster_id: &str) -> Answer {
    invalid(&format!("Cluster {cluster_id} does not exist"))
}

pub(super) fn get(state: &mut State, cluster_id: &str, now: DateTime<Utc>) -> Answer {
    if let Some(ending) = state.look(cluster_id) {
        settle(state, cluster_id, &ending, now);
    }
    state
        .clusters
        .get(cluster_id)
        .map_or_else(|| absent(cluster_id), |cluster| Answer::json(200, cluster))
}

/// Ends what a cluster is doing: starting and restarting lead to RUNNING, terminating to TERMINATED.
fn settle(state: &mut State, cluster_id: &str, ending: &Ending, now: DateTime<Utc>) {
    let Some(cluster) = state.clusters.get_mut(cluster_id) else {
        return;
    };
    let terminating = text(cluster, "state") == "TERMINATING";
    match &ending.failure {
        None if !terminating => {
            set(cluster, "state", "RUNNING");
            set(cluster, "state_message", "");
            set(cluster, "start_time", now.timestamp_millis());
            set(cluster, "last_restarted_time", now.timestamp_millis());
            if let Some(map) = cluster.as_object_mut() {
                map.remove("termination_reason");
            }
            note(state, cluster_id, "RUNNING", &json!({}), now);
        }
        failure => {
            let (code, kind, message) = failure.clone().unwrap_or_else(|| {
                (
                    "USER_REQUEST".to_owned(),
                    "SUCCESS".to_owned(),
                    "Terminated by user".to_owned(),
                )
            });
            let reason = json!({"code": code, "type": kind, "parameters": {"databricks_error_message": message}});
            set(cluster, "state", "TERMINATED");
            set(cluster, "state_message", message);
            set(cluster, "terminated_time", now.timestamp_millis());
            set(cluster, "termination_reason", reason.clone());
            note(
                state,
                cluster_id,
                "TERMINATING",
                &json!({"reason": reason}),
                now,
            );
        }
    }
}

fn note(state: &mut State, cluster_id: &str, kind: &str, details: &Value, now: DateTime<Utc>) {
    let event = json!({"cluster_id": cluster_id, "timestamp": now.timestamp_millis(), "type": kind, "details": details});
    state
        .events
        .entry(cluster_id.to_owned())
        .or_default()
        .push(event);
}

pub(super) fn change(state: &mut State, change: &str, body: &Value, now: DateTime<Utc>) -> Answer {
    let cluster_id = text(body, "cluster_id");
    let Some(cluster) = state.clusters.get(&cluster_id) else {
        return absent(&cluster_id);
    };
    let (is, of_job) = (
        text(cluster, "state"),
        text(cluster, "cluster_source") == "JOB",
    );
    if of_job && change != "delete" {
        return invalid("Clusters of jobs cannot be started, restarted or edited.");
    }
    let unexpected = || {
        let word = format!(
            "{}{}",
            is.get(..1).unwrap_or_default(),
            is.get(1..).unwrap_or_default().to_lowercase()
        );
        refusal(
            400,
            "INVALID_STATE",
            &format!("Cluster {cluster_id} is in unexpected state {word}."),
        )
    };
    let (next, event) = match (change, is.as_str()) {
        ("start", "TERMINATED") => ("PENDING", "STARTING"),
        ("restart", "RUNNING") => ("RESTARTING", "RESTARTING"),
        ("delete", "TERMINATED" | "TERMINATING") => return Answer::json(200, &json!({})),
        ("delete", _) => ("TERMINATING", "TERMINATING"),
        ("edit" | "update", "TERMINATED") => ("TERMINATED", "EDITED"),
        ("edit" | "update", "RUNNING") => ("RESTARTING", "EDITED"),
        _ => return unexpected(),
    };
    if change == "edit"
        && (text(body, "spark_version").is_empty()
            || text(body, "node_type_id").is_empty() && body.get("instance_pool_id").is_none())
    {
        return invalid("Missing required field: spark_version, node_type_id");
    }
    if next != is {
        let ending = if change == "delete" {
            Ending::well(1)
        } else {
            state.ending_for(&cluster_id)
        };
        state.going.insert(cluster_id.clone(), ending);
    }
    if let Some(cluster) = state.clusters.get_mut(&cluster_id) {
        set(cluster, "state", next);
        if let (true, Some(fields)) = (change == "edit", body.as_object()) {
            for (name, value) in fields {
                set(cluster, name, value.clone());
            }
        }
        // An update changes the fields of its mask only.
        for name in text(body, "update_mask")
            .split(',')
            .filter(|name| change == "update" && !name.is_empty())
        {
            set(
                cluster,
                name,
                body.pointer(&format!("/cluster/{name}"))
                    .cloned()
                    .unwrap_or_default(),
            );
        }
    }
    if next == "RESTARTING" {
        restart_libraries(state, &cluster_id);
    }
    note(state, &cluster_id, event, &json!({}), now);
    Answer::json(200, &json!({}))
}

/// What was uninstalled goes at a restart.
fn restart_libraries(state: &mut State, cluster_id: &str) {
    if let Some(statuses) = state.libraries.get_mut(cluster_id) {
        statuses.retain(|status| text(status, "status") != "UNINSTALL_ON_RESTART");
    }
}

pub(super) fn events(state: &State, body: &Value, page: usize) -> Answer {
    let cluster_id = text(body, "cluster_id");
    if !state.clusters.contains_key(&cluster_id) && !state.events.contains_key(&cluster_id) {
        return absent(&cluster_id);
    }
    let number = |name: &str| body.get(name).and_then(Value::as_i64);
    let at = |event: &Value| event.get("timestamp").and_then(Value::as_i64).unwrap_or(0);
    let within = number("start_time").unwrap_or(0)..=number("end_time").unwrap_or(i64::MAX);
    let kinds = body.get("event_types").and_then(Value::as_array);
    let mut found: Vec<&Value> = state
        .events
        .get(&cluster_id)
        .into_iter()
        .flatten()
        .filter(|event| within.contains(&at(event)))
        .filter(|event| {
            kinds.is_none_or(|kinds| {
                kinds
                    .iter()
                    .any(|kind| kind.as_str() == Some(&text(event, "type")))
            })
        })
        .collect();
    found.sort_by_key(|event| at(event));
    if text(body, "order") != "ASC" {
        found.reverse();
    }
    let size = number("page_size")
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(50)
        .min(page);
    let start: usize = text(body, "page_token").parse().unwrap_or(0);
    let token = if start + size < found.len() {
        (start + size).to_string()
    } else {
        String::new()
    };
    let total = found.len();
    let shown: Vec<&Value> = found.into_iter().skip(start).take(size).collect();
    Answer::json(
        200,
        &json!({"events": shown, "next_page_token": token, "total_count": total}),
    )
}

/// One look at the libraries: what is pending installs, what installs is installed or fails.
pub(super) fn library_status(state: &mut State, cluster_id: &str) -> Answer {
    let Some(cluster) = state.clusters.get(cluster_id) else {
        return absent(cluster_id);
    };
    let running = text(cluster, "state") == "RUNNING";
    let told = state.libraries.get(cluster_id).cloned().unwrap_or_default();
    let broken = &state.broken;
    for status in state
        .libraries
        .get_mut(cluster_id)
        .into_iter()
        .flatten()
        .filter(|_| running)
    {
        let next = match text(status, "status").as_str() {
            "PENDING" => "INSTALLING",
            "INSTALLING" => match status
                .get("library")
                .and_then(|library| broken.get(&library.to_string()))
                .cloned()
            {
                Some(message) => {
                    set(status, "messages", json!([message]));
                    "FAILED"
                }
                None => "INSTALLED",
            },
            _ => continue,
        };
        set(status, "status", next);
    }
    Answer::json(
        200,
        &json!({"cluster_id": cluster_id, "library_statuses": told}),
    )
}

pub(super) fn change_libraries(state: &mut State, change: &str, body: &Value) -> Answer {
    let cluster_id = text(body, "cluster_id");
    if !state.clusters.contains_key(&cluster_id) {
        return absent(&cluster_id);
    }
    let Some(libraries) = body
        .get("libraries")
        .and_then(Value::as_array)
        .filter(|libraries| !libraries.is_empty())
    else {
        return invalid("Missing required field: libraries");
    };
    let statuses = state.libraries.entry(cluster_id).or_default();
    for library in libraries {
        let known = statuses
            .iter_mut()
            .find(|status| status.get("library") == Some(library));
        match (change, known) {
            ("uninstall", Some(status)) => set(status, "status", "UNINSTALL_ON_RESTART"),
            ("uninstall", None) => {}
            (_, Some(status)) => {
                set(status, "status", "PENDING");
                set(status, "messages", json!([]));
            }
            (_, None) => {
                statuses.push(json!({"library": library, "status": "PENDING", "messages": []}));
            }
        }
    }
    Answer::json(200, &json!({}))
}
