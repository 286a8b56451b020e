//! `POST /airflow-monitor`: what a failure callback of an Airflow DAG posts.
//!
//! Airflow itself sends nothing: the body is whatever the DAG's author wrote, after the guide's example, for
//! Airflow 2 or 3, for a task or a whole DAG. In: its bytes. Out: [`Parsed`]: one failure, or why it is none (a
//! try that will be repeated, a success). Everything may be missing, null, the word "None", a number or a
//! string, or sit inside `dag_run`, `task_instance`, `ti`, `task` or `dag`. The run key is (deployment, dag,
//! run, task, map index), since `scheduled__<date>` is the same run id in every daily DAG; the tries of a task instance
//! are one story ([`units`]).

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{digest, document, key_part, nothing_usable, prose, text_at};
use super::time::instant;
use super::{Malformed, Parsed};
use crate::failure::{AssetKind, Failure, RunKey, Source, exception, field, own_words};

pub mod cut;
mod link;
pub mod units;

/// Parses one body.
pub fn parse(body: &[u8]) -> Result<Parsed, Malformed> {
    let document = document(body)?;
    let callback = Callback::of(&document)?;
    if let Some(reason) = callback.not_final() {
        return Ok(Parsed::Ignored(reason));
    }
    Ok(Parsed::Failures(vec![callback.failure(&document).sealed()]))
}

/// What Python begins a traceback with.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// Objects a callback may nest, in the order in which they are asked; the body itself comes first.
const NESTS: [&str; 6] = ["task_instance", "ti", "dag_run", "task", "dag", "context"];

#[derive(Debug, Default)]
struct Callback {
    dag: Option<String>,
    task: Option<String>,
    run: Option<String>,
    date: Option<String>,
    state: Option<String>,
    event: Option<String>,
    attempt: Option<String>,
    max_tries: Option<String>,
    map_index: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    error_class: Option<String>,
    log_url: Option<String>,
    deployment: Option<String>,
    operator: Option<String>,
    owner: Option<String>,
    run_type: Option<String>,
    hostname: Option<String>,
    ended: Option<String>,
    /// Does it have a place for an error, even an empty one?
    failure_shaped: bool,
    /// Did the callback that we ship send it, with an empty exception?
    shipped: bool,
}

impl Callback {
    fn of(document: &Value) -> Result<Self, Malformed> {
        let id = |names: &[&str], nests: &[&str]| find(document, names, nests);
        let dag = id(&["dag_id"], &NESTS)?;
        let task = id(&["task_id"], &["task_instance", "ti", "task", "context"])?
            .or(plain(document, &["task"]));
        let log_url = id(&["log_url"], &["task_instance", "ti", "context"])?;
        let dag = dag
            .or(plain(document, &["dag"]))
            .or_else(|| log_url.as_deref().and_then(|url| link::of(url)?.dag));
        if dag.is_none() && task.is_none() {
            return Err(nothing_usable("a callback names its DAG or task", "dag_id"));
        }
        let error = loose(
            document,
            &[
                "exception",
                "error",
                "error_message",
                "exception_message",
                "message",
            ],
        );
        let reason = loose(document, &["reason"]);
        // The task instance in a DAG's own callback is merely the last one: it says nothing about the run.
        let by_reason = reason.as_deref().is_some_and(is_dag_reason);
        let level = id(&["level"], &[])?;
        let task =
            task.filter(|_| dag.is_none() || !(by_reason || level.as_deref() == Some("dag")));
        let of_task = |names: &[&str], nests: &[&str]| {
            if task.is_some() {
                find(document, names, nests)
            } else {
                Ok(None)
            }
        };
        let instance = ["task_instance", "ti"];
        Ok(Self {
            run: id(
                &["run_id", "dag_run_id"],
                &["dag_run", "task_instance", "ti", "context"],
            )?,
            date: id(
                &["logical_date", "execution_date"],
                &["dag_run", "task_instance", "ti", "context"],
            )?,
            // The run's own state counts for the run only: it goes on while one task has failed.
            state: match (&task, by_reason) {
                (Some(_), _) => of_task(&["state", "task_state", "status"], &instance)?,
                (None, true) => document
                    .get("dag_run")
                    .map_or(Ok(None), |run| find(run, &["state"], &[]))?,
                (None, false) => id(&["state", "status"], &["dag_run"])?,
            },
            attempt: of_task(&["try_number"], &instance)?,
            max_tries: of_task(&["max_tries"], &instance)?,
            map_index: of_task(&["map_index"], &instance)?,
            operator: of_task(
                &["operator", "operator_name"],
                &["task_instance", "ti", "task"],
            )?,
            hostname: of_task(&["hostname"], &instance)?,
            event: id(&["callback", "callback_type", "event", "event_type"], &[])?,
            error_class: id(&["exception_type", "exception_class", "error_type"], &[])?,
            deployment: id(&["deployment", "base_url", "airflow_base_url"], &[])?,
            owner: id(&["owner", "team"], &["task", "dag"])?,
            run_type: id(&["run_type"], &["dag_run"])?,
            ended: id(
                &["end_date", "failed_at", "timestamp", "ts"],
                &["task_instance", "ti", "dag_run"],
            )?,
            shipped: level.as_deref() == Some("task")
                && document.get("exception").and_then(Value::as_str) == Some(""),
            failure_shaped: ["exception", "error", "reason"]
                .iter()
                .any(|name| document.get(name).is_some()),
            reason,
            task,
            dag,
            error,
            log_url,
        })
    }

    /// Why this is no final failure; `None` if it is one.
    ///
    /// An unknown or missing state is a failure: the callback was called. So is a state of work in progress in a
    /// body made for failures: Airflow 3 and tasks found dead (zombies) report the state before the end.
    fn not_final(&self) -> Option<String> {
        let event = self
            .event
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if self.task.is_none() && self.reason.as_deref() == Some("success") {
            return Some("the run succeeded".to_owned());
        }
        if event.contains("retry") {
            return Some("not final: the task will be retried (on_retry callback)".to_owned());
        }
        if event.contains("success") {
            return Some("the run succeeded".to_owned());
        }
        if ["on_execute", "on_skipped", "start"]
            .iter()
            .any(|word| event.contains(word))
        {
            return Some("the callback reports no failure".to_owned());
        }
        let state = self.state.as_deref()?.to_ascii_lowercase();
        let state = state.rsplit('.').next().unwrap_or_default();
        if let Some(reason) = self.will_be_repeated() {
            return Some(reason);
        }
        match state {
            "up_for_retry" | "up_for_reschedule" | "retry" | "retrying" => {
                Some(format!("not final: the task is {state}"))
            }
            "success" | "succeeded" => Some("the run succeeded".to_owned()),
            "skipped" | "removed" => Some(format!("the task is {state}")),
            "upstream_failed" => {
                Some("upstream_failed: the task upstream reports its own failure".to_owned())
            }
            "running" | "queued" | "scheduled" | "deferred" | "restarting"
                if !self.failure_shaped =>
            {
                Some(format!("not final: the task is {state}"))
            }
            _ => None,
        }
    }

    /// Airflow 3.1 calls the failure callback of a task found dead although retries remain. Such a call carries no
    /// exception; a task that fails for good before its last try says why (`AirflowFailException`).
    fn will_be_repeated(&self) -> Option<String> {
        self.task.as_deref()?;
        if self.error.is_some() || self.reason.is_some() {
            return None;
        }
        let number = |text: &Option<String>| text.as_deref()?.parse::<i64>().ok();
        let (made, retries) = (number(&self.attempt)?, number(&self.max_tries)?);
        (1..=retries).contains(&made).then(|| {
            format!("not final: try {made} ended without an exception, and {retries} retries are allowed")
        })
    }

    /// `airflow dags test` and `tasks test` run without a scheduler, and count no tries.
    fn is_test(&self) -> bool {
        let made = self.attempt.as_deref().and_then(|text| text.parse().ok());
        self.task.is_some() && made == Some(0_i64)
    }

    fn failure(self, document: &Value) -> Failure {
        let asset = match (&self.dag, &self.task) {
            (Some(dag), Some(task)) => format!("{dag}.{task}"),
            (Some(only), None) | (None, Some(only)) => only.clone(),
            (None, None) => String::new(),
        };
        let key = self.key(document);
        let message = self.message(&asset);
        let error_code = self
            .error_class
            .as_deref()
            .and_then(last_piece)
            .or_else(|| self.error.as_deref().and_then(class_of).map(str::to_owned))
            .or_else(|| self.told_by_airflow().map(str::to_owned));
        let mut context: BTreeMap<String, String> = BTreeMap::new();
        let map_index = self.map_index();
        let test = self.is_test().then(|| "true".to_owned());
        let deployment = self.deployment();
        let last_task = self
            .log_url
            .as_deref()
            .filter(|_| self.task.is_none())
            .and_then(|url| link::of(url)?.task);
        let raised_at = self.error.as_deref().and_then(raised_at);
        let mut note = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                context.insert(name.to_owned(), value);
            }
        };
        note(field::DAG_ID, self.dag);
        note(field::TASK_ID, self.task);
        note(field::MAP_INDEX, map_index);
        note(field::DEPLOYMENT, deployment);
        note(field::LAST_TASK, last_task);
        note(field::TEST_RUN, test);
        note(field::TRY_NUMBER, self.attempt);
        note(field::OPERATOR, self.operator);
        note(field::LOGICAL_DATE, self.date);
        note(field::OWNER, self.owner);
        note("max_tries", self.max_tries);
        note("state", self.state);
        note("run_type", self.run_type);
        note("hostname", self.hostname);
        note("reason", self.reason);
        note("raised_at", raised_at);
        Failure {
            source: Source::Airflow,
            key,
            kind: AssetKind::Task,
            asset,
            run_id: self.run,
            run_url: self.log_url,
            error_code,
            message,
            context,
            occurred_at: self.ended.as_deref().and_then(instant),
            source_severity: None,
            alert: None,
        }
    }

    /// (deployment, dag, run, task and map index). Without a run id the logical date names the run, and
    /// without both the whole body does: an empty run would make all failures of a task one.
    fn key(&self, document: &Value) -> RunKey {
        let deployment = self.deployment();
        let dag = self.dag.as_deref().unwrap_or_default();
        let body = || digest(document);
        let run = self
            .run
            .clone()
            .or_else(|| self.date.clone())
            .unwrap_or_else(body);
        // People and hosts name a deployment; only the ids in it are case-sensitive.
        let deployment = deployment.unwrap_or_default().to_lowercase();
        let scope = format!("{deployment}/{dag}");
        let task = match (self.task.as_deref().unwrap_or_default(), self.map_index()) {
            (task, Some(index)) => format!("{task}[{index}]"),
            (task, None) => task.to_owned(),
        };
        RunKey::new(
            Source::Airflow,
            &key_part(&scope),
            &key_part(&run),
            &key_part(&task),
            "",
        )
    }

    /// Its own name, or the address that its links lead to.
    fn deployment(&self) -> Option<String> {
        let named = self
            .deployment
            .as_deref()
            .map(|name| link::address(name).unwrap_or_else(|| name.to_owned()));
        named.or_else(|| self.log_url.as_deref().and_then(link::deployment))
    }

    /// The index of a mapped task; -1 means "not mapped". The guide's callback sends none: then the link has it.
    fn map_index(&self) -> Option<String> {
        let index = |text: &str| text.parse::<u32>().ok().map(|index| index.to_string());
        self.task.as_deref()?;
        let given = self.map_index.as_deref().and_then(index);
        given.or_else(|| index(&link::of(self.log_url.as_deref()?)?.map_index?))
    }

    /// What Airflow itself says about a failure without an exception: why a run failed, and that a task was found dead.
    ///
    /// Airflow 2 hands the callback of such a task a dictionary of its ids. Airflow 3 hands it nothing, and calls it for
    /// no other failure; the shipped callback says so by an empty `exception` beside its `level`.
    fn told_by_airflow(&self) -> Option<&'static str> {
        if self.task.is_none() {
            return match self.reason.as_deref()? {
                "timed_out" | "dagrun_timeout" => Some(units::RUN_TIMEOUT),
                "all_tasks_deadlocked" => Some("DagRunDeadlocked"),
                _ => None,
            };
        }
        let ids = |text: &str| text.starts_with("{'DAG Id':") && text.contains("'Hostname':");
        match self.error.as_deref() {
            Some(error) if ids(error.trim()) => Some("TaskHeartbeatLost"),
            Some(_) => None,
            None => {
                let of_airflow_3 = self
                    .log_url
                    .as_deref()
                    .is_some_and(|url| url.contains("/runs/") && url.contains("/tasks/"));
                (self.shipped && of_airflow_3 && self.reason.is_none())
                    .then_some("TaskHeartbeatLost")
            }
        }
    }

    fn message(&self, asset: &str) -> String {
        let what = if self.task.is_some() {
            "Airflow task"
        } else {
            "Airflow DAG"
        };
        match (&self.error, &self.reason) {
            (Some(error), _) => without_frames(error),
            // The reason of a DAG run whose tasks failed: it says nothing of why.
            (None, Some(reason)) if ["task_failure", "tasks_failed"].contains(&reason.as_str()) => {
                own_words::untold_by_callback(&format!("{what} {asset}"))
            }
            (None, Some(reason)) => format!("{what} {asset} failed: {reason}"),
            (None, None) => own_words::untold_by_callback(&format!("{what} {asset}")),
        }
    }
}

/// A traceback without its frames: they say what was called, and where, not what went wrong.
fn without_frames(text: &str) -> String {
    if !text.contains(TRACEBACK) {
        return text.to_owned();
    }
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        if line.trim_end() == TRACEBACK {
            inside = true;
        } else if !line.is_empty() && !line.starts_with(' ') {
            inside = false;
        }
        !(inside && line.starts_with(' '))
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Where the DAG's own code raised the exception: the last frame that is neither Airflow's nor a library's.
fn raised_at(text: &str) -> Option<String> {
    let of_libraries = [
        "/site-packages/",
        "/dist-packages/",
        "/lib/python",
        "<frozen",
    ];
    let frame = |line: &str| {
        let (path, rest) = line
            .trim()
            .strip_prefix("File \"")?
            .split_once("\", line ")?;
        let (number, name) = rest.split_once(", in ")?;
        let own = !of_libraries.iter().any(|library| path.contains(library));
        own.then(|| format!("{path}, line {number}, in {name}"))
    };
    let (_, frames) = text.rsplit_once(TRACEBACK)?;
    frames.lines().rev().find_map(frame)
}

/// A scalar at the top level or in one of the nests; something else in its place is a wrong type with its path.
fn find(document: &Value, names: &[&str], nests: &[&str]) -> Result<Option<String>, Malformed> {
    for name in names {
        let Some(value) = document.get(name) else {
            continue;
        };
        if let Some(text) = text_at(value, name)?.owned() {
            return Ok(Some(text));
        }
    }
    for nest in nests {
        for name in names {
            let Some(value) = document.get(nest).and_then(|inner| inner.get(name)) else {
                continue;
            };
            if let Some(text) = text_at(value, &format!("{nest}.{name}"))?.owned() {
                return Ok(Some(text));
            }
        }
    }
    Ok(None)
}

/// The reasons Airflow gives to a DAG's own callbacks, and to no others.
fn is_dag_reason(reason: &str) -> bool {
    [
        "task_failure",
        "tasks_failed",
        "all_tasks_deadlocked",
        "timed_out",
        "dagrun_timeout",
        "success",
    ]
    .contains(&reason)
}

/// A text at the top level only, where an object would be a nest.
fn plain(document: &Value, names: &[&str]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| document.get(name))
        .find_map(|value| value.as_str().and_then(|_| super::json::scalar(value)))
}

/// Text in whatever form: a string, lines, or an object as JSON.
fn loose(document: &Value, names: &[&str]) -> Option<String> {
    let context = document.get("context");
    names.iter().find_map(|name| {
        document
            .get(name)
            .and_then(prose)
            .or_else(|| context.and_then(|inner| inner.get(name)).and_then(prose))
    })
}

/// The class without its module.
fn last_piece(class: &str) -> Option<String> {
    class
        .rsplit('.')
        .next()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// The exception's class: at the head of `Class: text`, or at the head of a traceback's last line.
fn class_of(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if text.starts_with("Traceback") {
        exception::last(text).map(|(class, _)| class)
    } else {
        exception::class_in(text.lines().next()?)
    }
}
