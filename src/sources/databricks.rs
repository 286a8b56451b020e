//! `POST /databricks-monitor`: job notifications of Databricks, and alerts about Databricks.
//!
//! In: the bytes of one webhook call: a native notification (`event_type`, ids and the job's name: no error, no
//! state, no time), an Azure Monitor alert on the audit tables, or a shape a predecessor knew (`event`,
//! `run.state`, `job.settings.name`, `cluster`, `library`). Out: [`Parsed`]. A task's notification and its job's
//! are one failure: both carry the job run. Start, success, duration warnings and backlogs are no failures.
//! The native body says so little that everything else is asked of the Jobs API later, by the evidence room.

use serde::Deserialize;
use serde_json::Value;

use super::json::{
    Object, Text, digest, document, member, nothing_usable, prose, reach, scalar, typed,
};
use super::rows::databricks::{ClusterEnd, JobRun, is_normal_end};
use super::rows::{self, Origin, Table};
use super::time::instant_of;
use super::{Malformed, Parsed, RowsOf, alert, outcome};
use crate::failure::{AlertRef, Failure};

/// Parses one body.
pub fn parse(body: &[u8]) -> Result<Parsed, Malformed> {
    let document = document(body)?;
    if let Some(parsed) = alert::understand(&document, Some(RowsOf::DatabricksClusters)) {
        return parsed;
    }
    let notice: Notice = typed(&document, "")?;
    if notice.says_no_more()
        && let Some(reason) = document.as_object().and_then(outcome::no_failure)
    {
        return Ok(Parsed::Ignored(reason));
    }
    let origin = Origin {
        alert: Some(AlertRef {
            id: digest(&document),
            rule: None,
        }),
        ..Origin::default()
    };
    match notice.event() {
        Event::Quiet(reason) => Ok(Parsed::Ignored(reason)),
        Event::Failure if notice.is_about_run() => notice.job_failure(&origin),
        Event::Failure if notice.cluster.is_some() || notice.library.is_object() => {
            notice.cluster_failure(&origin)
        }
        Event::Failure => Err(nothing_usable(
            "a failure notification names its run",
            "run.run_id",
        )),
        Event::Unsaid => flat(&document, &origin),
    }
}

/// A notification, native or legacy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Notice {
    event_type: Text,
    event: Text,
    workspace_id: Text,
    run: Option<Object<Run>>,
    job: Option<Object<Job>>,
    task: Option<Object<Task>>,
    cluster: Option<Object<Cluster>>,
    library: Value,
    run_id: Text,
    job_id: Text,
    run_page_url: Text,
    error: Value,
    error_message: Value,
    timestamp: Value,
    // What people put into bodies of their own.
    job_name: Text,
    run_name: Text,
    task_key: Text,
    cluster_id: Text,
    error_code: Text,
    errors: Value,
    message: Value,
    end_time: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the vendor's names")]
struct Run {
    run_id: Text,
    parent_run_id: Text,
    job_run_id: Text,
    job_id: Text,
    run_name: Text,
    run_page_url: Text,
    creator_user_name: Text,
    cluster_instance: Option<Object<ClusterInstance>>,
    state: Value,
    status: Value,
    error: Value,
    end_time: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClusterInstance {
    cluster_id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the vendor's names")]
struct Job {
    job_id: Text,
    name: Text,
    settings: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Task {
    task_key: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the vendor's names")]
struct Cluster {
    cluster_id: Text,
    cluster_name: Text,
    state: Text,
    state_message: Value,
    termination_reason: Value,
    terminated_time: Value,
}

/// What a notification is about.
enum Event {
    Failure,
    Quiet(String),
    Unsaid,
}

impl Notice {
    fn event(&self) -> Event {
        let Some(name) = self.event_type.get().or(self.event.get()) else {
            return match self.outcome() {
                Some(Outcome::Failed) => Event::Failure,
                Some(Outcome::Other(state)) => Event::Quiet(format!("the run is {state}")),
                None if self.cluster.is_some() || self.library.is_object() => Event::Failure,
                None => Event::Unsaid,
            };
        };
        if let Some(Outcome::Other(state)) = self.outcome() {
            return Event::Quiet(format!("the run is {state}"));
        }
        let event = name.to_ascii_lowercase().replace(['-', ' '], "_");
        let says = |words: &[&str]| words.iter().any(|word| event.contains(word));
        if says(&["duration_warning"]) {
            Event::Quiet("a duration warning is no failure".to_owned())
        } else if says(&["backlog"]) {
            Event::Quiet("a streaming backlog warning is no failure".to_owned())
        } else if says(&["fail", "timed_out", "timedout", "timeout", "error"]) {
            Event::Failure
        } else if says(&["success", "succeeded"]) {
            Event::Quiet("the run succeeded".to_owned())
        } else if says(&["start", "running"]) && self.cluster.is_none() {
            Event::Quiet("the run started".to_owned())
        } else if says(&["test", "ping"]) {
            Event::Quiet("a test notification".to_owned())
        } else if says(&["terminat"]) && self.cluster.is_some() {
            Event::Failure
        } else {
            let name: String = name
                .chars()
                .filter(|letter| letter.is_ascii_alphanumeric() || "._-".contains(*letter))
                .take(80)
                .collect();
            Event::Quiet(format!("unknown event_type \"{name}\""))
        }
    }

    /// Neither an event nor a run's own state: the body's own words must say what it is about.
    fn says_no_more(&self) -> bool {
        self.event_type.get().is_none() && self.event.get().is_none() && self.outcome().is_none()
    }

    /// How the run ended, if the body says (native ones do not).
    fn outcome(&self) -> Option<Outcome> {
        let run = self.run.as_ref()?;
        let details = reach(&run.status, &["termination_details"]);
        let code = details
            .and_then(|details| member(details, "code"))
            .and_then(scalar);
        let kind = details
            .and_then(|details| member(details, "type"))
            .and_then(scalar);
        if code.is_some() {
            return Some(if is_normal_end(code.as_deref(), kind.as_deref()) {
                Outcome::other(code.as_deref())
            } else {
                Outcome::Failed
            });
        }
        let result = member(&run.state, "result_state")
            .and_then(scalar)
            .or_else(|| scalar(&run.state));
        let cycle = member(&run.state, "life_cycle_state").and_then(scalar);
        match result
            .as_deref()
            .or(cycle.as_deref())?
            .to_ascii_uppercase()
            .as_str()
        {
            "FAILED" | "TIMEDOUT" | "TIMED_OUT" | "INTERNAL_ERROR" | "ERROR" => {
                Some(Outcome::Failed)
            }
            "TERMINATED" | "TERMINATING" => None,
            _ if cycle.as_deref() == Some("INTERNAL_ERROR") => Some(Outcome::Failed),
            other => Some(Outcome::other(Some(other))),
        }
    }

    fn is_about_run(&self) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| {
            [&run.run_id, &run.parent_run_id, &run.job_run_id]
                .iter()
                .any(|id| id.get().is_some())
        }) || self.run_id.get().is_some()
    }

    fn job_failure(self, origin: &Origin) -> Result<Parsed, Malformed> {
        let run = self.run.unwrap_or_default().into_inner();
        let job = self.job.unwrap_or_default().into_inner();
        let details = reach(&run.status, &["termination_details"])
            .cloned()
            .unwrap_or_default();
        // One error, or a list of them: the first that says something.
        let error = self
            .errors
            .as_array()
            .and_then(|errors| errors.iter().find(|error| prose(error).is_some()))
            .or(Some(&self.errors).filter(|error| error.is_object() || error.is_string()))
            .or(Some(&self.error).filter(|error| error.is_object()));
        let told = [
            member(&details, "message"),
            member(&run.state, "state_message"),
            Some(&run.error),
            Some(&self.error_message),
            error.and_then(|error| member(error, "message")).or(error),
            Some(&self.error).filter(|error| !error.is_object()),
            Some(&self.message),
        ];
        let code = error
            .and_then(|error| {
                ["error_code", "errorCode", "code"]
                    .iter()
                    .find_map(|name| member(error, name))
            })
            .and_then(scalar)
            .or_else(|| self.error_code.owned());
        let own = run.run_id.owned().or_else(|| self.run_id.owned());
        let parent = run
            .parent_run_id
            .owned()
            .or_else(|| run.job_run_id.owned())
            .filter(|id| id != "0");
        let result = member(&run.state, "result_state")
            .and_then(scalar)
            .filter(|state| state != "FAILED");
        let failure = JobRun {
            task_run_id: parent.is_some().then(|| own.clone()).flatten(),
            run_id: parent.or(own),
            job_id: job
                .job_id
                .owned()
                .or_else(|| run.job_id.owned())
                .or_else(|| self.job_id.owned()),
            name: job
                .name
                .owned()
                .or_else(|| member(&job.settings, "name").and_then(scalar))
                .or_else(|| self.job_name.owned())
                .or_else(|| run.run_name.owned())
                .or_else(|| self.run_name.owned()),
            task_key: self
                .task
                .and_then(|task| task.task_key.owned())
                .or_else(|| self.task_key.owned()),
            cluster_id: run
                .cluster_instance
                .and_then(|cluster| cluster.cluster_id.owned())
                .or_else(|| self.cluster.and_then(|cluster| cluster.cluster_id.owned()))
                .or_else(|| self.cluster_id.owned()),
            workspace: self.workspace_id.owned(),
            code: member(&details, "code")
                .and_then(scalar)
                .or(result)
                .or(code),
            kind: member(&details, "type").and_then(scalar),
            text: told.into_iter().flatten().find_map(prose),
            owner: run.creator_user_name.owned(),
            url: run
                .run_page_url
                .owned()
                .or_else(|| self.run_page_url.owned()),
            at: instant_of(&run.end_time)
                .or_else(|| instant_of(&self.end_time))
                .or_else(|| instant_of(&self.timestamp)),
        };
        // A webhook is no alert of a monitor: there is nothing to refer to.
        let origin = Origin {
            alert: None,
            ..origin.clone()
        };
        let failure = failure
            .failure(&origin)
            .ok_or_else(|| nothing_usable("a failure notification names its run", "run.run_id"))?;
        Ok(Parsed::Failures(vec![failure]))
    }

    fn cluster_failure(self, origin: &Origin) -> Result<Parsed, Malformed> {
        let cluster = self.cluster.unwrap_or_default().into_inner();
        let told = [&cluster.state_message, &self.error_message, &self.error];
        let mut end = ClusterEnd {
            id: cluster
                .cluster_id
                .owned()
                .or_else(|| member(&self.library, "cluster_id").and_then(scalar)),
            name: cluster.cluster_name.owned(),
            state: cluster.state.owned(),
            text: told.into_iter().find_map(prose),
            workspace: self.workspace_id.owned(),
            at: instant_of(&cluster.terminated_time).or_else(|| instant_of(&self.timestamp)),
            ..ClusterEnd::default()
        };
        end.set_termination(Some(&cluster.termination_reason).filter(|reason| !reason.is_null()));
        if self.library.is_object() && end.code.is_none() {
            end.code = Some("LIBRARY_INSTALLATION_FAILED".to_owned());
            let told = member(&self.library, "messages")
                .or_else(|| member(&self.library, "message"))
                .and_then(prose);
            end.text = told.or(end.text);
        }
        if end.id.is_none() && end.name.is_none() {
            return Err(nothing_usable(
                "a cluster's failure names the cluster",
                "cluster.cluster_id",
            ));
        }
        if is_normal_end(end.code.as_deref(), end.kind.as_deref()) {
            return Ok(Parsed::Ignored(format!(
                "the cluster ended normally ({})",
                end.code.unwrap_or_default()
            )));
        }
        Ok(Parsed::Failures(vec![Failure {
            alert: None,
            ..end.failure(origin)
        }]))
    }
}

enum Outcome {
    Failed,
    Other(String),
}

impl Outcome {
    fn other(state: Option<&str>) -> Self {
        let word = state
            .unwrap_or("SUCCESS")
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            .take(60);
        Self::Other(word.collect())
    }
}

/// A body without an event: the columns of a row at its top level, a test, or nothing.
fn flat(document: &Value, origin: &Origin) -> Result<Parsed, Malformed> {
    let object = document.as_object().cloned().unwrap_or_default();
    let read = rows::read(&Table::from_pairs(object), origin, None);
    if let Some(parsed) = read.and_then(|(_, reading)| reading.without_alert()) {
        return Ok(parsed);
    }
    let words = ["text", "message", "title", "type"]
        .iter()
        .filter_map(|name| member(document, name))
        .filter_map(scalar);
    if words
        .into_iter()
        .any(|text| text.to_ascii_lowercase().contains("test"))
    {
        return Ok(Parsed::Ignored("a test notification".to_owned()));
    }
    Err(nothing_usable(
        "neither a Databricks notification nor an alert about Databricks",
        "event_type",
    ))
}
