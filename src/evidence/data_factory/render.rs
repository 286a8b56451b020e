//! What was read, put into words, corrections and rows. Pure.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::super::{Collected, Text, Voice};
use super::cause;
use super::wire::{ActivityRun, PipelineRun};
use crate::digest::sha256;
use crate::failure::{Scope, field, page};
use crate::patrol::WINDOW;
use crate::redaction::cap;
use crate::sources::rows::adf;

/// The activity that caused a failure.
pub(super) struct Cause {
    /// The ExecutePipeline activities on the way to it.
    pub(super) path: Vec<String>,
    pub(super) activity: ActivityRun,
    /// In how many iterations of its loop it failed, and in how many it ran.
    pub(super) iterations: Option<(usize, usize)>,
    /// Other activities that failed.
    pub(super) also: Vec<String>,
}

fn when(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| at.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// The run itself. `portal`: the host where people open it.
pub(super) fn run(
    run: &PipelineRun,
    scope: &Scope,
    portal: &str,
    now: DateTime<Utc>,
    found: &mut Collected,
) {
    let mut text = format!(
        "pipeline: {}\nstatus: {}\nstarted: {}\nended: {}\nstarted by: {} ({})\n",
        run.pipeline_name,
        run.status,
        when(run.run_start),
        when(run.run_end),
        run.invoked_by.name,
        run.invoked_by.invoked_by_type
    );
    for (name, value) in &run.parameters {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let _infallible = writeln!(text, "parameter {name}: {}", cap(&value, 200));
    }
    let _infallible = writeln!(text, "message: {}", run.message);
    // Nothing in it is read: the failed activity's error is the terminal one, or this message where none failed.
    let mut told = Text::of(Voice::Record, &text);
    told.name(&run.pipeline_name);
    told.name(&run.invoked_by.name);
    for value in run.parameters.values().filter_map(Value::as_str) {
        told.name(value);
    }
    found.prove(
        "adf.pipeline_run",
        format!("Pipeline run of {}: {}", run.pipeline_name, run.status),
        told,
        now,
    );

    let better = &mut found.refinement;
    better.asset = Some(run.pipeline_name.clone()).filter(|name| !name.is_empty());
    better.occurred_at = run.run_end;
    better
        .context
        .insert(field::FACTORY.to_owned(), scope.id.clone());
    better.run_url = page::pipeline_run_at(portal, &scope.id, &run.run_id);
    if run
        .invoked_by
        .invoked_by_type
        .eq_ignore_ascii_case("TumblingWindowTrigger")
    {
        better
            .context
            .insert(WINDOW.to_owned(), digest_of_parameters(run));
    }
    found.no_failure = match run.status.to_ascii_lowercase().as_str() {
        "succeeded" => Some(
            "the pipeline run succeeded: the failed activity was handled inside the pipeline"
                .to_owned(),
        ),
        "cancelled" | "canceled" => Some("the pipeline run was cancelled".to_owned()),
        _ => None,
    };
    // An activity has retries, and its pipeline may handle its failure.
    if matches!(
        run.status.to_ascii_lowercase().as_str(),
        "queued" | "inprogress" | "canceling"
    ) {
        found.not_final = Some(format!("the pipeline run is {}", run.status));
    }
}

/// Tells apart runs of a pipeline for different slices of time.
pub(super) fn digest_of_parameters(run: &PipelineRun) -> String {
    let text = serde_json::to_string(&run.parameters).unwrap_or_default();
    sha256(text).get(..16).unwrap_or_default().to_owned()
}

/// The cause, or the run's own message when no activity failed.
pub(super) fn cause(
    cause: Option<&Cause>,
    run: &PipelineRun,
    now: DateTime<Utc>,
    found: &mut Collected,
) {
    let better = &mut found.refinement;
    let Some(Cause {
        path,
        iterations,
        activity,
        also,
    }) = cause
    else {
        if !run.message.is_empty() {
            better.error_code = cause::innermost_code(&run.message).map(str::to_owned);
            better.message = Some(cause::unwrapped(&run.message).to_owned());
        }
        return;
    };
    let error = &activity.error;
    let message = if error.message.is_empty() {
        cause::unwrapped(&run.message)
    } else {
        cause::unwrapped(&error.message)
    };
    let code = cause::innermost_code(message).unwrap_or(&error.error_code);
    better.error_code = Some(code.to_owned()).filter(|code| !code.is_empty());
    better.message = Some(message.to_owned()).filter(|message| !message.is_empty());
    better.occurred_at = activity.activity_run_end.or(better.occurred_at);
    let context = [
        (field::ACTIVITY, &activity.activity_name),
        (field::ACTIVITY_TYPE, &activity.activity_type),
        (field::FAILURE_TYPE, &error.failure_type),
    ];
    if let Some((failed, total)) = iterations {
        let counts = [(field::UNITS_FAILED, failed), (field::UNITS_TOTAL, total)];
        for (name, number) in counts {
            better.context.insert(name.to_owned(), number.to_string());
        }
    }
    for (name, value) in context.into_iter().filter(|(_, value)| !value.is_empty()) {
        better.context.insert(name.to_owned(), value.clone());
    }
    if let Some((page, databricks_run)) = activity
        .run_page_url()
        .and_then(|page| Some((page, cause::databricks_run(page)?)))
    {
        better
            .context
            .insert(field::LINKED_RUN_ID.to_owned(), databricks_run);
        better
            .context
            .insert(field::LINKED_RUN_URL.to_owned(), page.to_owned());
    }
    found.prove(
        "adf.activity_runs",
        format!(
            "Failed activity {} ({})",
            activity.activity_name, activity.activity_type
        ),
        activity_text(path, activity, also),
        now,
    );
}

fn activity_text(path: &[String], activity: &ActivityRun, also: &[String]) -> Text {
    let error = &activity.error;
    let mut text = Text::default();
    text.add(
        Voice::Record,
        &format!(
            "activity: {} ({})\npipeline: {}\n",
            activity.activity_name, activity.activity_type, activity.pipeline_name
        ),
    );
    for name in [
        &activity.activity_name,
        &activity.pipeline_name,
        &activity.linked_service_name,
    ]
    .into_iter()
    .chain(path)
    .chain(also)
    {
        text.name(name);
    }
    let mut line = |name: &str, value: &str| text.line(name, Voice::Record, value);
    line("called through", &path.join(" > "));
    line(
        "attempt",
        &activity
            .retry_attempt
            .map(|retry| (retry + 1).to_string())
            .unwrap_or_default(),
    );
    line("started", &when(activity.activity_run_start));
    line("ended", &when(activity.activity_run_end));
    line(
        "integration runtime",
        activity.integration_runtime().unwrap_or_default(),
    );
    line("linked service", &activity.linked_service_name);
    line(
        "Databricks run",
        activity.run_page_url().unwrap_or_default(),
    );
    line("error code", &error.error_code);
    line("failure type", &error.failure_type);
    text.line("message", Voice::Terminal, &error.message);
    for listed in activity
        .listed_errors()
        .filter(|listed| *listed != error.message)
        .take(10)
    {
        text.line("further error", Voice::Terminal, listed);
    }
    text.line("other failed activities", Voice::Record, &also.join(", "));
    text
}

/// A failed run as the failures of an alert are read.
pub(super) fn failed(run: &PipelineRun, factory: &str) -> adf::Run {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    adf::Run {
        run_id: given(&run.run_id),
        pipeline: given(&run.pipeline_name),
        code: cause::innermost_code(&run.message).map(str::to_owned),
        message: given(&run.message),
        factory: factory.to_owned(),
        at: run.run_end.or(run.last_updated).or(run.run_start),
    }
}
