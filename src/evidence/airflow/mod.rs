//! What Airflow says about a task: its state and the end of the log of the failed try.
//!
//! In: DAG, run and task from outside (path pieces, percent-encoded: run ids hold `:` and `+`). Out: evidence, the
//! exception at the end of the log, the failed task behind a DAG-level report, and how a cleared task went on.
//! API v1 (Airflow 2) with basic authentication or a token, v2 (Airflow 3) with a JWT from `/auth/token` or a given
//! token; which of them answers is found out once. The configured deployment only. This client never writes.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::standing::newest;
use super::values::around;
use super::{Collected, Progress, RunOutcome, Standing, Text, Voice};
use crate::failure::{Failure, Scope, Source, field, host_and_path};
use crate::fault::Fault;
use crate::http::Http;

mod api;
mod check;
mod instances;
mod log;
mod patrol;
mod reader;
mod wire;

use wire::TaskInstance;

const WHAT: &str = "Airflow";
/// Airflow's clock and ours may differ by this much.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// Which API a deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AirflowApi {
    /// `/api/v1`, Airflow 2.
    V1,
    /// `/api/v2`, Airflow 3.
    V2,
}

impl AirflowApi {
    fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// How to log in.
#[derive(Debug, Clone)]
pub enum AirflowLogin {
    /// User and password: basic authentication on v1, exchanged for a JWT on v2.
    Password {
        /// `AIRFLOW_USERNAME`.
        username: String,
        /// `AIRFLOW_PASSWORD`.
        password: SecretString,
    },
    /// A bearer token, `AIRFLOW_TOKEN`.
    Token(SecretString),
    /// None.
    Open,
}

/// Which deployment.
#[derive(Debug, Clone)]
pub struct AirflowSettings {
    /// `AIRFLOW_BASE_URL`, without `/api/…`.
    pub base_url: Url,
    /// `AIRFLOW_API_VERSION`, or found out.
    pub api: Option<AirflowApi>,
    /// How to log in.
    pub login: AirflowLogin,
}

impl AirflowSettings {
    /// The deployment, named by its host unless the configuration names it.
    pub fn scope(&self) -> Scope {
        Scope {
            source: Source::Airflow,
            id: host_and_path(&self.base_url).unwrap_or_default(),
            name: self.base_url.host_str().unwrap_or_default().to_owned(),
            served: true,
        }
    }
}

/// A reader of one deployment. Clones share what was found out and the token.
#[derive(Debug, Clone)]
pub struct Airflow {
    settings: AirflowSettings,
    scope: Scope,
    http: Http,
    api: Arc<OnceCell<AirflowApi>>,
    jwt: Arc<Mutex<Option<SecretString>>>,
}

impl Airflow {
    /// Nothing is asked yet.
    pub fn new(settings: AirflowSettings, http: Http) -> Self {
        let api = settings
            .api
            .map_or_else(OnceCell::new, |api| OnceCell::new_with(Some(api)));
        Self {
            scope: settings.scope(),
            settings,
            http,
            api: Arc::new(api),
            jwt: Arc::default(),
        }
    }

    /// The deployment.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The name that reports may give the deployment.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.scope.name);
        self
    }

    /// Do the playbooks act there?
    #[must_use]
    pub fn served(mut self, served: bool) -> Self {
        self.scope.served = served;
        self
    }

    /// Collects what is known about the failure into `found`; what was collected stays when the caller gives up.
    pub(super) async fn collect(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let at = Place::of(failure)?;
        let gone = || Fault::permanent("Airflow does not know this task of this run");
        let reported_try = failure
            .field(field::TRY_NUMBER)
            .filter(|_| at.task.is_some())
            .and_then(|number| number.parse().ok());
        let task = if at.task.is_some() {
            self.task(&at).await?.ok_or_else(gone)?
        } else {
            let Some(task) = self.failed(&at).await?.into_iter().next() else {
                return self.collect_run(&at, found).await;
            };
            self.name_task(&at, &task, failure, found)?;
            task
        };
        match ended(&task.state) {
            Ended::Failed => {}
            Ended::Well => {
                found.no_failure = Some(format!(
                    "Airflow says that {}.{} is {}",
                    at.dag, task.task_id, task.state
                ));
                return Ok(());
            }
            Ended::Open => {
                found.not_final = Some(format!(
                    "Airflow says that {}.{} is {}",
                    at.dag, task.task_id, task.state
                ));
                return Ok(());
            }
        }
        render_task(&task, now, found);
        let map_index = at
            .map_index
            .map(str::to_owned)
            .or_else(|| task.map_index.filter(|i| *i >= 0).map(|i| i.to_string()));
        let at = Place {
            task: Some(&task.task_id),
            map_index: map_index.as_deref(),
            ..at
        };
        if at.map_index.is_some()
            && let Ok(Some(total)) = self.mapped(&at).await
        {
            let context = &mut found.refinement.context;
            context.insert(field::UNITS_TOTAL.to_owned(), total.to_string());
        }
        let try_number: i64 = reported_try.or(task.try_number).unwrap_or(1);
        let log = reader::read(&self.log(&at, try_number).await?);
        if log.trim().is_empty() {
            return Err(Fault::permanent(format!(
                "the log of try {try_number} is empty"
            )));
        }
        found.prove(
            "airflow.log",
            format!(
                "Log of {}.{}, try {try_number} (the end)",
                at.dag, task.task_id
            ),
            Text::of(Voice::Log, &log),
            now,
        );
        let wrapped = failure
            .error_code
            .as_deref()
            .is_some_and(reader::is_wrapper);
        let open = failure.error_code.is_none() || wrapped;
        if let Some((class, line)) = reader::raised(&log).filter(|_| open) {
            let better = &mut found.refinement;
            better.error_code = Some(class.to_owned());
            better.message =
                Some(line.to_owned()).filter(|_| wrapped || says_nothing(&failure.message));
        }
        Ok(())
    }

    /// How the task went on after it was cleared; for another run id, how that DAG run went.
    /// With `since`, only a run that began after it.
    pub async fn outcome(
        &self,
        failure: &Failure,
        run_id: &str,
        since: Option<DateTime<Utc>>,
    ) -> Result<RunOutcome, Fault> {
        let at = Place::of(failure)?;
        if run_id != at.run || at.task.is_none() {
            let early = |run: &wire::DagRun| {
                run_id != at.run
                    && since
                        .zip(run.start_date)
                        .is_some_and(|(since, start)| start < around(since, SKEW).0)
            };
            let run = self.run(&at, run_id).await?.filter(|run| !early(run));
            return Ok(run.map_or(RunOutcome::NotFound, |run| outcome_of(&run.state)));
        }
        let Some(task) = self.task(&at).await? else {
            return Ok(RunOutcome::NotFound);
        };
        match outcome_of(&task.state) {
            // Still the failure that we were told about: nothing new has run.
            RunOutcome::Failed(_) if !later_try(failure, &task) => Ok(RunOutcome::NotFound),
            outcome => Ok(outcome),
        }
    }

    /// The run in which a playbook called at `called_at` made the task run again, if it did.
    pub async fn find_attempt_run(
        &self,
        failure: &Failure,
        called_at: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        let at = Place::of(failure)?;
        let Some(task) = self.task(&at).await? else {
            return Ok(None);
        };
        let since = around(called_at, SKEW).0;
        let going = matches!(outcome_of(&task.state), RunOutcome::Running);
        let began = task.start_date.is_some_and(|start| start >= since);
        Ok((going || began || later_try(failure, &task)).then(|| at.run.to_owned()))
    }

    /// How the failed task stands, and whether a newer run of its DAG has it run again.
    pub(super) async fn standing(
        &self,
        failure: &Failure,
        own: &[String],
    ) -> Result<Standing, Fault> {
        let Ok(at) = Place::of(failure) else {
            return Ok(Standing::Unknown);
        };
        if at.task.is_none() {
            return Ok(match self.run(&at, at.run).await? {
                None => Standing::Unknown,
                Some(run) => of_state(&run.state),
            });
        }
        let Some(task) = self.task(&at).await? else {
            return Ok(Standing::Unknown);
        };
        let own_state = of_state(&task.state);
        if own_state != Standing::Failed {
            return Ok(own_state);
        }
        let Some(began) = self.run(&at, at.run).await?.and_then(|run| run.start_date) else {
            return Ok(Standing::Failed);
        };
        let mut newer = Vec::new();
        for run in self.runs_since(&at, began).await? {
            let Some(started) = run.start_date.filter(|started| *started > began) else {
                continue;
            };
            let there = Place {
                run: &run.dag_run_id,
                ..at
            };
            // A task that has not come up yet will.
            let state = self.task(&there).await?.map(|task| task.state);
            let progress = match of_state(state.as_deref().unwrap_or(&run.state)) {
                Standing::Succeeded | Standing::Over(_) => Progress::Succeeded,
                Standing::Running => Progress::Going,
                Standing::Failed | Standing::Unknown | Standing::Newer { .. } => Progress::Failed,
            };
            newer.push((run.dag_run_id.clone(), started, progress));
        }
        Ok(newest(newer, began, own))
    }
}

/// Where a task instance is.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    dag: &'a str,
    run: &'a str,
    task: Option<&'a str>,
    map_index: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// The path of its task's instance, without a map index.
    fn instance(&self, task: &'a str) -> Vec<&'a str> {
        vec!["dags", self.dag, "dagRuns", self.run, "taskInstances", task]
    }

    fn of(failure: &'a Failure) -> Result<Self, Fault> {
        let missing = |what: &str| Fault::permanent(format!("the report names no {what}"));
        let map_index = failure
            .field(field::MAP_INDEX)
            .filter(|index| index.parse::<u32>().is_ok());
        Ok(Self {
            dag: failure.field(field::DAG_ID).ok_or_else(|| missing("DAG"))?,
            run: failure.run_id.as_deref().ok_or_else(|| missing("run id"))?,
            task: failure.field(field::TASK_ID),
            map_index,
        })
    }
}

/// How a state stands to the report of a failure.
enum Ended {
    /// It ended well: the failure was healed, or was none.
    Well,
    /// It has not ended, or is about to run again.
    Open,
    /// It failed, or nothing is said that speaks against it.
    Failed,
}

fn ended(state: &str) -> Ended {
    match state {
        "success" => Ended::Well,
        // Cleared, and not yet scheduled again.
        "" | "scheduled" | "queued" | "running" | "restarting" | "deferred" | "up_for_retry"
        | "up_for_reschedule" => Ended::Open,
        _ => Ended::Failed,
    }
}

fn render_task(task: &TaskInstance, now: DateTime<Utc>, found: &mut Collected) {
    let number =
        |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let when = |at: Option<DateTime<Utc>>| at.map_or_else(|| "-".to_owned(), |at| at.to_rfc3339());
    let mut text = format!(
        "task: {}.{}\nstate: {}\ntry: {} (retries: {})\nstarted: {}\nended: {}\n",
        task.dag_id,
        task.task_id,
        task.state,
        number(task.try_number),
        number(task.max_tries),
        when(task.start_date),
        when(task.end_date)
    );
    for (name, value) in [
        ("operator", &task.operator),
        ("host", &task.hostname),
        ("pool", &task.pool),
        ("queue", &task.queue),
    ] {
        if !value.is_empty() {
            let _infallible = writeln!(text, "{name}: {value}");
        }
    }
    let mut told = Text::of(Voice::Record, &text);
    told.name(&task.dag_id);
    told.name(&task.task_id);
    told.name(&task.hostname);
    told.name(&task.pool);
    told.name(&task.queue);
    found.prove(
        "airflow.task_instance",
        format!(
            "Task instance {}.{}: {}",
            task.dag_id, task.task_id, task.state
        ),
        told,
        now,
    );
    found.refinement.occurred_at = task.end_date.filter(|_| task.state == "failed");
    if !task.operator.is_empty() {
        found
            .refinement
            .context
            .insert(field::OPERATOR.to_owned(), task.operator.clone());
    }
}

/// Has the task been tried again since the failure?
fn later_try(failure: &Failure, task: &TaskInstance) -> bool {
    let failed = failure
        .field(field::TRY_NUMBER)
        .and_then(|number| number.parse::<i64>().ok());
    failed
        .zip(task.try_number)
        .is_some_and(|(failed, now)| now > failed)
}

/// A state of a task instance or a DAG run; the empty one is a cleared task's.
fn outcome_of(state: &str) -> RunOutcome {
    match state.to_ascii_lowercase().as_str() {
        "success" => RunOutcome::Succeeded,
        state @ ("failed" | "upstream_failed" | "skipped" | "removed" | "shutdown") => {
            RunOutcome::Failed(format!("Airflow says {state}"))
        }
        _ => RunOutcome::Running,
    }
}

/// A state of a task instance or a DAG run, as it matters to an action on it.
fn of_state(state: &str) -> Standing {
    match outcome_of(state) {
        RunOutcome::Succeeded => Standing::Succeeded,
        RunOutcome::Failed(_) => Standing::Failed,
        RunOutcome::Running | RunOutcome::NotFound | RunOutcome::NotConfigured => Standing::Running,
    }
}

/// Is a report's error text no more than a placeholder, of ours or of a DAG-level callback?
fn says_nothing(message: &str) -> bool {
    let words = message.trim().to_ascii_lowercase();
    matches!(words.as_str(), "" | "none" | "null" | "nan" | "unknown")
        || words.starts_with("airflow ") && words.contains(" failed")
}
