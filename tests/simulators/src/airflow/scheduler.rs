//! What happens to a run of a DAG, step by step, and which callbacks it fires: a scheduler with its workers.
//!
//! Recorded from Airflow 2.10.5, 3.1.8 and 3.3.2. A task that raises is reported by its own callback, once its retries are
//! used up, *before* its state is stored: a query at that moment answers `running`. A killed task is reported by 2.10 with a
//! dictionary of ids where an exception should stand, and by 3.x not at all. A task whose worker died is reported by 2.10
//! likewise, by 3.1 at every try and without an exception, by 3.3 twice and without one. `dagrun_timeout` skips what still
//! runs and tells no task. A DAG's own callback comes whenever its run ends as failed, and names no task.
//!
//! A clear sets the state to none, allows the task's retries once more, and queues the run again.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Api, set, stamp, text};

/// How long one step takes.
const STEP: TimeDelta = TimeDelta::seconds(2);

/// Which Airflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 2.10, API v1.
    V2_10,
    /// 3.1, API v2.
    V3_1,
    /// 3.3, API v2.
    V3_3,
}

impl Release {
    /// The API that it has.
    pub fn api(self) -> Api {
        match self {
            Self::V2_10 => Api::V1,
            Self::V3_1 | Self::V3_3 => Api::V2,
        }
    }
}

/// How a try ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Well.
    Succeeds,
    /// With this exception.
    Raises(String),
    /// Its process is killed (SIGKILL, out of memory).
    Killed,
    /// The worker is gone: no more heartbeats.
    WorkerDies,
    /// Never.
    Hangs,
}

/// A task of a DAG, or one index of a mapped task.
#[derive(Debug, Clone)]
pub struct TaskPlan {
    /// Its name.
    pub task_id: String,
    /// Its index, if it is mapped.
    pub map_index: Option<i64>,
    /// How often Airflow repeats it by itself.
    pub retries: i64,
    /// Tasks that must have succeeded before.
    pub upstream: Vec<String>,
    /// How its tries end, the first first; all further ones succeed.
    pub tries: Vec<End>,
}

/// Who wrote the callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callback {
    /// One that says what it is about (`level`), and why a run failed.
    Telling,
    /// One as in many examples: the task instance's fields, no index, and an exception that may be empty.
    Plain,
}

/// A run of a DAG.
#[derive(Debug, Clone)]
pub struct RunPlan {
    /// The DAG.
    pub dag_id: String,
    /// The run.
    pub run_id: String,
    /// Its tasks.
    pub tasks: Vec<TaskPlan>,
    /// The callback of its tasks.
    pub of_tasks: Option<Callback>,
    /// The callback of the DAG; `Telling` only.
    pub of_dag: bool,
    /// Does the DAG's callback find a task instance to link to?
    pub linked: bool,
    /// `dagrun_timeout`, in steps.
    pub timeout: Option<u32>,
    /// The web server's address, which links begin with.
    pub base_url: String,
}

/// A planned run under way.
#[derive(Debug)]
pub(super) struct Planned {
    plan: RunPlan,
    steps: u32,
    /// Callbacks that the scheduler hands over after it stored the states.
    later: Vec<Value>,
}

impl Planned {
    pub(super) fn new(plan: RunPlan) -> Self {
        Self {
            plan,
            steps: 0,
            later: Vec::new(),
        }
    }

    /// The run and its task instances as the API has them at first.
    pub(super) fn first(&self, now: DateTime<Utc>) -> (Value, Vec<Value>) {
        let plan = &self.plan;
        let run = json!({"dag_id": plan.dag_id, "dag_run_id": plan.run_id, "state": "queued", "run_type": "manual", "start_date": stamp(now)});
        let instance = |task: &TaskPlan| {
            json!({"dag_id": plan.dag_id, "dag_run_id": plan.run_id, "task_id": task.task_id, "map_index": task.map_index.unwrap_or(-1),
                "state": null, "try_number": 0, "max_tries": task.retries, "operator": "PythonOperator", "hostname": "worker-1",
                "pool": "default_pool", "queue": "default", "start_date": null, "end_date": null})
        };
        (run, plan.tasks.iter().map(instance).collect())
    }

    /// Its retries are allowed once more, and all that is downstream runs again, too.
    pub(super) fn retries_of(&self, task_id: &str) -> i64 {
        let plan = self.plan.tasks.iter().find(|task| task.task_id == task_id);
        plan.map_or(0, |task| task.retries)
    }

    /// The tasks downstream of these, and they themselves.
    pub(super) fn with_downstream(&self, task_ids: &[String]) -> Vec<String> {
        let mut all = task_ids.to_vec();
        loop {
            let before = all.len();
            for task in &self.plan.tasks {
                if !all.contains(&task.task_id) && task.upstream.iter().any(|up| all.contains(up)) {
                    all.push(task.task_id.clone());
                }
            }
            if all.len() == before {
                return all;
            }
        }
    }

    /// A clear: the clock of `dagrun_timeout` begins again.
    pub(super) fn restarted(&mut self) {
        self.steps = 0;
    }

    /// One step of the run: what changes in `run` and `tasks`, and the reports that its callbacks post.
    pub(super) fn step(
        &mut self,
        release: Release,
        run: &mut Value,
        tasks: &mut [Value],
        now: DateTime<Utc>,
    ) -> Vec<Value> {
        let mut reports = std::mem::take(&mut self.later);
        match text(run, "state") {
            "queued" => {
                set(run, "state", Value::from("running"));
                return reports;
            }
            "running" => {}
            _ => return reports,
        }
        self.steps += 1;
        if self.plan.timeout.is_some_and(|limit| self.steps > limit) {
            for task in tasks.iter_mut().filter(|task| !is_over(task)) {
                end(task, "skipped", now);
            }
            reports.extend(self.ends(release, run, tasks, "timed_out", now));
            return reports;
        }
        let states: BTreeMap<String, Vec<String>> = states_of(tasks);
        for task in tasks.iter_mut() {
            reports.extend(self.step_task(release, task, &states, now));
        }
        if tasks.iter().all(is_over) {
            let failed = |task: &Value| matches!(text(task, "state"), "failed" | "upstream_failed");
            if tasks.iter().any(failed) {
                reports.extend(self.ends(release, run, tasks, "task_failure", now));
            } else {
                set(run, "state", Value::from("success"));
                set(run, "end_date", stamp(now));
            }
        }
        reports
    }

    fn step_task(
        &mut self,
        release: Release,
        task: &mut Value,
        states: &BTreeMap<String, Vec<String>>,
        now: DateTime<Utc>,
    ) -> Vec<Value> {
        let Some(plan) = self.plan_of(task).cloned() else {
            return Vec::new();
        };
        match text(task, "state") {
            "" => {
                let above: Vec<&String> = plan
                    .upstream
                    .iter()
                    .filter_map(|up| states.get(up))
                    .flatten()
                    .collect();
                let is = |state: &str| matches!(state, "failed" | "upstream_failed" | "skipped");
                if above.iter().any(|state| is(state)) {
                    end(task, "upstream_failed", now);
                } else if above.iter().all(|state| *state == "success") {
                    set(task, "state", Value::from("queued"));
                }
                Vec::new()
            }
            "up_for_retry" => {
                set(task, "state", Value::from("queued"));
                Vec::new()
            }
            "queued" => {
                let number = number(task, "try_number") + 1;
                set(task, "state", Value::from("running"));
                set(task, "try_number", Value::from(number));
                set(task, "start_date", stamp(now));
                set(task, "end_date", Value::Null);
                set(task, "told", Value::Null);
                Vec::new()
            }
            "running" => self.end_of_try(release, &plan, task, now),
            _ => Vec::new(),
        }
    }

    fn end_of_try(
        &mut self,
        release: Release,
        plan: &TaskPlan,
        task: &mut Value,
        now: DateTime<Utc>,
    ) -> Vec<Value> {
        let made = number(task, "try_number");
        let last = made > number(task, "max_tries");
        let index = usize::try_from(made - 1).unwrap_or_default();
        let failed = if last { "failed" } else { "up_for_retry" };
        let told = task.get("told").is_some_and(Value::is_boolean);
        match plan.tries.get(index).unwrap_or(&End::Succeeds) {
            End::Succeeds => {
                end(task, "success", now);
                Vec::new()
            }
            End::Hangs => Vec::new(),
            End::Raises(_) if told => {
                end(task, failed, now);
                Vec::new()
            }
            End::Raises(exception) => {
                // The callback runs in the task's own process, before the state is stored.
                set(task, "told", Value::Bool(true));
                let report = self.report(release, task, exception, Some(now));
                if last {
                    report.into_iter().collect()
                } else {
                    Vec::new()
                }
            }
            how @ (End::Killed | End::WorkerDies) => {
                end(task, failed, now);
                let ids = format!(
                    "{{'DAG Id': '{}', 'Task Id': '{}', 'Run Id': '{}', 'Hostname': 'worker-1'}}",
                    self.plan.dag_id, plan.task_id, self.plan.run_id
                );
                let dead = *how == End::WorkerDies;
                let times = match release {
                    Release::V2_10 => usize::from(last),
                    Release::V3_1 => usize::from(dead),
                    Release::V3_3 => 2 * usize::from(dead && last),
                };
                // The scheduler stores the state, and the DAG processor calls back later.
                for _ in 0..times {
                    let report = match release {
                        Release::V2_10 => self.report(release, task, &ids, Some(now)),
                        Release::V3_1 | Release::V3_3 => self.report(release, task, "", None),
                    };
                    self.later.extend(report);
                }
                Vec::new()
            }
        }
    }

    fn ends(
        &self,
        release: Release,
        run: &mut Value,
        tasks: &[Value],
        reason: &str,
        now: DateTime<Utc>,
    ) -> Option<Value> {
        set(run, "state", Value::from("failed"));
        set(run, "end_date", stamp(now));
        let plan = &self.plan;
        let mut report = json!({"level": "dag", "dag_id": plan.dag_id, "run_id": plan.run_id, "run_type": "manual", "state": "failed",
            "reason": reason, "exception": "", "end_date": stamp(now)});
        // It is merely the last one, whatever became of it.
        if let Some(last) = tasks.last().filter(|_| plan.linked) {
            set(&mut report, "log_url", self.link(release, last));
        }
        plan.of_dag.then_some(report)
    }

    fn report(
        &self,
        release: Release,
        task: &Value,
        exception: &str,
        ended: Option<DateTime<Utc>>,
    ) -> Option<Value> {
        let plan = &self.plan;
        let of = |name: &str| task.get(name).cloned().unwrap_or_default();
        let mut report = json!({"dag_id": plan.dag_id, "task_id": of("task_id"), "run_id": plan.run_id, "state": "failed",
            "try_number": of("try_number"), "max_tries": of("max_tries"), "exception": exception, "log_url": self.link(release, task),
            "operator": of("operator")});
        match plan.of_tasks? {
            Callback::Plain => set(&mut report, "execution_date", stamp(began(task))),
            Callback::Telling => {
                set(&mut report, "level", Value::from("task"));
                set(&mut report, "map_index", of("map_index"));
                set(&mut report, "hostname", of("hostname"));
                if let Some(ended) = ended {
                    set(&mut report, "end_date", stamp(ended));
                }
            }
        }
        Some(report)
    }

    fn link(&self, release: Release, task: &Value) -> Value {
        let (plan, task_id) = (&self.plan, text(task, "task_id"));
        let index = Some(number(task, "map_index")).filter(|index| *index >= 0);
        let base = plan.base_url.trim_end_matches('/');
        Value::from(match release {
            Release::V2_10 => {
                let mapped = index.map_or(String::new(), |index| format!("&map_index={index}"));
                format!(
                    "{base}/dags/{}/grid?dag_run_id={}&task_id={task_id}{mapped}&tab=logs",
                    plan.dag_id, plan.run_id
                )
            }
            Release::V3_1 | Release::V3_3 => {
                let mapped = index.map_or(String::new(), |index| format!("/mapped/{index}"));
                format!(
                    "{base}/dags/{}/runs/{}/tasks/{task_id}{mapped}?try_number={}",
                    plan.dag_id,
                    plan.run_id,
                    number(task, "try_number")
                )
            }
        })
    }

    fn plan_of(&self, task: &Value) -> Option<&TaskPlan> {
        let index = number(task, "map_index");
        self.plan.tasks.iter().find(|plan| {
            plan.task_id == text(task, "task_id") && plan.map_index.unwrap_or(-1) == index
        })
    }
}

fn states_of(tasks: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for task in tasks {
        let state = text(task, "state").to_owned();
        states
            .entry(text(task, "task_id").to_owned())
            .or_default()
            .push(state);
    }
    states
}

fn began(task: &Value) -> DateTime<Utc> {
    let start = text(task, "start_date").parse();
    start.unwrap_or(DateTime::UNIX_EPOCH)
}

/// When the next step begins.
pub(super) fn next(now: DateTime<Utc>) -> DateTime<Utc> {
    now + STEP
}

fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

fn end(task: &mut Value, state: &str, now: DateTime<Utc>) {
    set(task, "state", Value::from(state));
    set(task, "end_date", stamp(now));
}

fn is_over(task: &Value) -> bool {
    matches!(
        text(task, "state"),
        "success" | "failed" | "upstream_failed" | "skipped" | "removed"
    )
}
