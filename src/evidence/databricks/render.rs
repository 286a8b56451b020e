//! What was read, put into words, corrections and rows. Pure.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use super::super::values::{from_millis, tail};
use super::super::{Collected, Text, Voice};
use super::state::{self, Standing, standing};
use super::wire::{Cluster, Event, Library, Output, Run, Task, Termination};
use super::{Repair, is_id};
use crate::failure::{exception, field};
use crate::redaction::clean;
use crate::sources::rows::databricks as rows;

/// The end of a task's log that is kept, in bytes.
const LOG_TAIL: usize = 48 * 1024;

/// The cause inside a run.
pub(super) struct Cause<'a> {
    pub(super) run: &'a Run,
    pub(super) task: &'a Task,
    pub(super) output: Option<&'a Output>,
    pub(super) cluster_end: Option<&'a Termination>,
}

fn when(millis: Option<i64>) -> String {
    from_millis(millis).map_or_else(
        || "-".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// A run without tasks, told as the one task it is.
pub(super) fn whole(run: &Run) -> Task {
    Task {
        run_id: run.run_id.clone(),
        state: run.state.clone(),
        status: run.status.clone(),
        start_time: run.start_time,
        end_time: run.end_time,
        cluster_instance: run.cluster_instance.clone(),
        ..Task::default()
    }
}

/// The latest repair; the first entry of the history is the original run.
pub(super) fn latest_repair(run: &Run) -> Option<Repair> {
    let repairs = || {
        run.repair_history
            .iter()
            .filter(|item| item.kind.eq_ignore_ascii_case("REPAIR") && !item.id.is_empty())
    };
    let last = repairs().max_by_key(|item| item.start_time)?;
    Some(Repair {
        id: last.id.clone(),
        number: repairs().count(),
        started_at: from_millis(last.start_time),
    })
}

/// The code and the message of an end, whichever description carries them.
fn said(task: &Task) -> (&str, &str) {
    let end = &task.status.termination_details;
    let code = [
        &end.code,
        &task.state.result_state,
        &task.state.life_cycle_state,
    ]
    .into_iter()
    .find(|code| !code.is_empty());
    let message = if end.message.is_empty() {
        &task.state.state_message
    } else {
        &end.message
    };
    (code.map_or("", String::as_str), message)
}

/// The run and its tasks.
pub(super) fn run(
    run: &Run,
    owns: impl Fn(&str) -> bool,
    now: DateTime<Utc>,
    found: &mut Collected,
) {
    found.prove(
        "databricks.run",
        format!("Job run {} of {}", run.run_id, run.run_name),
        run_text(run),
        now,
    );
    let better = &mut found.refinement;
    better.asset = Some(run.run_name.clone()).filter(|name| !name.is_empty());
    better.run_url = Some(run.run_page_url.clone()).filter(|page| owns(page));
    better.occurred_at = from_millis(run.end_time);
    if is_id(&run.job_id) {
        better
            .context
            .insert(field::JOB_ID.to_owned(), run.job_id.clone());
    }
    if let Some(repair) = latest_repair(run) {
        better
            .context
            .insert(field::REPAIR_ID.to_owned(), repair.id);
    }
}

/// Nothing in it is read: what a failed task said is the terminal error already, the rest follows from it.
fn run_text(run: &Run) -> Text {
    let (code, message) = (
        &run.status.termination_details.code,
        &run.state.state_message,
    );
    let mut text = format!(
        "job: {} ({})\nstate: {} {} {}\nstarted: {}\nended: {}\nmessage: {}\n",
        run.run_name,
        run.job_id,
        run.state.life_cycle_state,
        run.state.result_state,
        code,
        when(run.start_time),
        when(run.end_time),
        message
    );
    if run.state.user_cancelled_or_timedout {
        text.push_str("cancelled by a user, or timed out\n");
    }
    for task in run.tasks.iter().chain(&run.iterations).take(100) {
        let (code, message) = said(task);
        let end = &task.status.termination_details;
        let _infallible = writeln!(
            text,
            "task {} (run {}, attempt {}): {} {code} {} {message}",
            task.task_key, task.run_id, task.attempt_number, task.state.result_state, end.kind
        );
    }
    for repair in &run.repair_history {
        let _infallible = writeln!(
            text,
            "{} {}: {} {}",
            repair.kind,
            repair.id,
            when(repair.start_time),
            repair.state.result_state
        );
    }
    let mut told = Text::of(Voice::Record, &text);
    told.name(&run.run_name);
    for task in run.tasks.iter().chain(&run.iterations) {
        told.name(&task.task_key);
    }
    told
}

/// A run that a task started.
pub(super) fn child(run: &Run, task_key: &str, now: DateTime<Utc>, found: &mut Collected) {
    found.prove(
        "databricks.run",
        format!("Run {} started by task {task_key}", run.run_id),
        run_text(run),
        now,
    );
}

/// What the failed tasks printed and raised; the first of them is the one that ended the run.
pub(super) fn outputs(told: &[(&Task, Output)], now: DateTime<Utc>, found: &mut Collected) {
    for (number, (task, output)) in told.iter().enumerate() {
        let voice = if number == 0 {
            Voice::Terminal
        } else {
            Voice::Beside
        };
        let mut text = Text::default();
        text.line("error", voice, &clean(&output.error));
        text.line("trace", voice, &clean(&output.error_trace));
        if !output.logs.is_empty() {
            let cut = if output.logs_truncated || output.logs.len() > LOG_TAIL {
                " (the end)"
            } else {
                ""
            };
            text.add(Voice::Record, &format!("log{cut}:\n"));
            text.add(Voice::Log, &clean(tail(&output.logs, LOG_TAIL)));
            text.add(Voice::Record, "\n");
        }
        if text.is_empty() {
            continue;
        }
        let name = if task.task_key.is_empty() {
            &task.run_id
        } else {
            &task.task_key
        };
        text.name(&task.task_key);
        found.prove(
            "databricks.run_output",
            format!("Output of task {name}"),
            text,
            now,
        );
    }
}

/// The corrections that the cause brings.
pub(super) fn cause(cause: &Cause<'_>, found: &mut Collected) {
    let (code, message) = said(cause.task);
    let end = &cause.task.status.termination_details;
    let error = cause
        .output
        .map(|output| clean(&output.error).into_owned())
        .filter(|error| !error.is_empty());
    let in_log = cause
        .output
        .and_then(|output| exception::last(tail(&output.logs, LOG_TAIL)));
    let cluster_end = cause
        .cluster_end
        .filter(|ended| !state::is_normal_end(ended));
    let in_message = state::reason_in(message);
    let by_cluster = in_message
        .as_ref()
        .or(cluster_end)
        .filter(|_| state::points_to_cluster(end) || in_message.is_some());

    let better = &mut found.refinement;
    let class = error.as_deref().and_then(state::error_class);
    // These codes only say that the program raised something: what it raised says more.
    let raised = in_log
        .or_else(|| exception::last(error.as_deref()?))
        .map(|(class, _)| class);
    let raised = raised.filter(|_| matches!(code, "RUN_EXECUTION_ERROR" | "FAILED"));
    let timed_out = Some("TIMEDOUT").filter(|state| cause.task.state.result_state == *state);
    let inner = by_cluster
        .map(|ended| ended.code.as_str())
        .or(class)
        .or(raised)
        .or(timed_out)
        .unwrap_or(code);
    better.error_code = Some(inner.to_owned()).filter(|code| !code.is_empty());
    better.message = match (error, in_log, by_cluster) {
        (_, _, Some(_)) if in_message.is_some() => Some(message.to_owned()),
        (_, _, Some(ended)) => Some(format!("{message}\nCluster: {}", state::reason_text(ended))),
        (Some(error), Some((_, line)), None) if !error.contains(line) => {
            Some(format!("{error}\n{line}"))
        }
        (Some(error), _, None) => Some(error),
        (None, _, None) => Some(message.to_owned()).filter(|message| !message.is_empty()),
    };
    better.occurred_at = from_millis(cause.task.end_time).or(better.occurred_at);
    let kind = by_cluster
        .map(|ended| ended.kind.as_str())
        .filter(|kind| !kind.is_empty())
        .unwrap_or(&end.kind);
    let cluster = [
        &cause.task.cluster_instance.cluster_id,
        &cause.run.cluster_instance.cluster_id,
    ];
    let context = [
        (field::TASK_KEY, cause.task.task_key.as_str()),
        (
            field::TASK_RUN_ID,
            if cause.task.task_key.is_empty() {
                ""
            } else {
                cause.task.run_id.as_str()
            },
        ),
        (
            field::CLUSTER_ID,
            cluster
                .into_iter()
                .map(String::as_str)
                .find(|id| !id.is_empty())
                .unwrap_or_default(),
        ),
        (field::TERMINATION_TYPE, kind),
    ];
    for (name, value) in context.into_iter().filter(|(_, value)| !value.is_empty()) {
        better.context.insert(name.to_owned(), value.to_owned());
    }
}

/// The cluster, unless it is well and so tells nothing.
pub(super) fn cluster(
    cluster: &Cluster,
    ended: Option<&Termination>,
    now: DateTime<Utc>,
    found: &mut Collected,
) {
    let context = &mut found.refinement.context;
    // A pool decides which machines its clusters get: such a cluster cannot be moved to another node type.
    let own_type = if cluster.instance_pool_id.is_empty() {
        cluster.node_type_id.as_str()
    } else {
        ""
    };
    for (name, value) in [
        (field::CLUSTER_SOURCE, cluster.cluster_source.as_str()),
        (field::NODE_TYPE, own_type),
    ] {
        if !value.is_empty() {
            context.insert(name.to_owned(), value.to_owned());
        }
    }
    let Some(ended) = ended.filter(|ended| !state::is_normal_end(ended)) else {
        return;
    };
    let mut text = Text::default();
    text.add(
        Voice::Record,
        &format!(
            "cluster: {} ({})\nsource: {}\nruntime: {}\nnode type: {}\nstate: {} {}\nended: {}\n",
            cluster.cluster_name,
            cluster.cluster_id,
            cluster.cluster_source,
            cluster.spark_version,
            cluster.node_type_id,
            cluster.state,
            cluster.state_message,
            when(cluster.terminated_time),
        ),
    );
    text.line("reason", Voice::Beside, &state::reason_text(ended));
    text.name(&cluster.cluster_name);
    found.prove(
        "databricks.cluster",
        format!("Cluster {}: {}", cluster.cluster_name, ended.code),
        text,
        now,
    );
}

/// Events that tell something.
pub(super) fn events(events: &[&Event], now: DateTime<Utc>, found: &mut Collected) {
    if events.is_empty() {
        return;
    }
    let mut text = String::new();
    for event in events.iter().take(50) {
        let at = event.at().map_or_else(
            || "-".to_owned(),
            |at| at.to_rfc3339_opts(SecondsFormat::Secs, true),
        );
        let details = event.reason().map_or_else(
            || json!(event.details).to_string(),
            |reason| state::reason_text(&reason),
        );
        let _infallible = writeln!(text, "{at} {} {details}", event.kind);
    }
    found.prove(
        "databricks.cluster_events",
        format!("{} telling events of the cluster", events.len()),
        Text::of(Voice::Log, &text),
        now,
    );
}

/// Libraries that could not be installed.
pub(super) fn libraries(libraries: &[Library], now: DateTime<Utc>, found: &mut Collected) {
    let mut text = String::new();
    for library in libraries
        .iter()
        .filter(|library| library.status.eq_ignore_ascii_case("FAILED"))
        .take(20)
    {
        let _infallible = writeln!(text, "{}: {}", library.library, library.messages.join(" "));
    }
    if !text.is_empty() {
        found.prove(
            "databricks.libraries",
            "Libraries that could not be installed",
            Text::of(Voice::Beside, &text),
            now,
        );
    }
}

/// The corrections that a cluster's end brings.
pub(super) fn cluster_cause(ended: &Termination, found: &mut Collected) {
    let better = &mut found.refinement;
    better.error_code = Some(ended.code.clone());
    better.message = Some(state::reason_text(ended));
    if !ended.kind.is_empty() {
        better
            .context
            .insert(field::TERMINATION_TYPE.to_owned(), ended.kind.clone());
    }
}

/// A failed run as the failures of an alert are read; `within`: only one that ended in this window.
pub(super) fn failed_run(
    run: &Run,
    within: Option<(DateTime<Utc>, DateTime<Utc>)>,
    asset: Option<&str>,
) -> Option<rows::JobRun> {
    let at = from_millis(run.end_time);
    let task = whole(run);
    let (code, message) = said(&task);
    let is_wanted = within.is_none_or(|(from, to)| at.is_some_and(|at| (from..=to).contains(&at)))
        && asset
            .is_none_or(|asset| run.run_name.eq_ignore_ascii_case(asset) || run.job_id == asset);
    let failed = standing(&run.state, &run.status) == Standing::Failed
        && !rows::is_normal_end(Some(code), None);
    (is_wanted && failed).then(|| rows::JobRun {
        run_id: given(&run.run_id),
        job_id: given(&run.job_id),
        name: given(&run.run_name),
        code: given(code),
        text: given(message),
        at,
        ..rows::JobRun::default()
    })
}

/// A cluster that ended badly in a window.
pub(super) fn failed_cluster(
    cluster: &Cluster,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    asset: Option<&str>,
) -> Option<rows::ClusterEnd> {
    let at = from_millis(cluster.terminated_time).filter(|at| (from..=to).contains(at))?;
    let reason = &cluster.termination_reason;
    let is_wanted = asset.is_none_or(|asset| {
        cluster.cluster_name.eq_ignore_ascii_case(asset) || cluster.cluster_id == asset
    });
    let failed = !reason.code.is_empty() && !state::is_normal_end(reason);
    (is_wanted && failed).then(|| rows::ClusterEnd {
        id: given(&cluster.cluster_id),
        name: given(&cluster.cluster_name),
        state: given(&cluster.state),
        code: given(&reason.code),
        kind: given(&reason.kind),
        text: given(&state::reason_text(reason)),
        at: Some(at),
        ..rows::ClusterEnd::default()
    })
}

fn given(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
