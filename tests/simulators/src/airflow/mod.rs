//! An Airflow deployment behind its REST API: v1 (2.x) or v2 (3.x).
//!
//! Task instances are kept as the JSON that the API sends. Clearing them is as strict as the real thing: unknown
//! keys are refused, `dry_run` is true unless said otherwise, and without `reset_dag_runs` nothing is scheduled.
//! A cleared task runs at the first look, and ends as scripted at the second. A run that was planned
//! ([`AirflowSite::start_run`]) goes on by steps instead, and fires the callbacks of its release ([`scheduler`]).

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{Answer, Clock, Request, Site, lock};

mod lists;
mod shown;
pub mod scheduler;

use scheduler::{Planned, Release, RunPlan};

/// The keys that clearing accepts in both APIs.
const CLEAR_KEYS: [&str; 12] = [
    "dry_run",
    "start_date",
    "end_date",
    "only_failed",
    "only_running",
    "reset_dag_runs",
    "task_ids",
    "dag_run_id",
    "include_upstream",
    "include_downstream",
    "include_future",
    "include_past",
];
/// Those of API v1 alone, and of API v2 alone: 3.1 knows the first of them, 3.3 all.
const CLEAR_KEYS_V1: [&str; 2] = ["include_subdags", "include_parentdag"];
const CLEAR_KEYS_V2: [&str; 3] = ["run_on_latest_version", "note", "prevent_running_task"];

/// Which API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Airflow 2: basic authentication.
    V1,
    /// Airflow 3: a JWT from `/auth/token`.
    V2,
}

#[derive(Debug, Default)]
struct State {
    /// By DAG, run.
    runs: BTreeMap<(String, String), Value>,
    tasks: Vec<Value>,
    /// By DAG, run, task, map index, try: pages of a log.
    logs: BTreeMap<String, Vec<Value>>,
    /// What a cleared task ends as, by task.
    endings: BTreeMap<String, String>,
    /// Issued tokens.
    tokens: Vec<String>,
    /// Owners of DAGs and their tags, and of tasks.
    owned: BTreeMap<String, (Vec<String>, Vec<String>)>,
    task_owners: BTreeMap<(String, String), String>,
    /// DAGs that are paused.
    paused: std::collections::BTreeSet<String>,
    /// Runs that go on by steps, by DAG and run.
    planned: BTreeMap<(String, String), Planned>,
}

impl State {
    fn knows(&self, dag: &str) -> bool {
        self.owned.contains_key(dag) || self.runs.keys().any(|(known, _)| known == dag)
    }
}

/// One deployment.
#[derive(Debug)]
pub struct AirflowSite {
    api: Api,
    release: Option<Release>,
    username: String,
    password: String,
    state: Mutex<State>,
    /// The scheduler's clock.
    pub clock: Clock,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn set(value: &mut Value, name: &str, to: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(name.to_owned(), to);
    }
}

fn stamp(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl AirflowSite {
    /// A deployment that one user may read.
    pub fn new(api: Api, username: &str, password: &str) -> Self {
        Self {
            api,
            release: None,
            username: username.to_owned(),
            password: password.to_owned(),
            state: Mutex::default(),
            clock: Clock::default(),
        }
    }

    /// A deployment of this release, whose runs can be planned.
    pub fn of(release: Release, username: &str, password: &str) -> Self {
        Self {
            release: Some(release),
            ..Self::new(release.api(), username, password)
        }
    }

    /// Begins a run that goes on by [`AirflowSite::step`].
    pub fn start_run(&self, plan: RunPlan) {
        let key = (plan.dag_id.clone(), plan.run_id.clone());
        let planned = Planned::new(plan);
        let (run, tasks) = planned.first(self.clock.now());
        let mut state = lock(&self.state);
        state.runs.insert(key.clone(), run);
        state.tasks.extend(tasks);
        state.planned.insert(key, planned);
    }

    /// The next step of all planned runs; what their callbacks post meanwhile. The clock goes on with it.
    pub fn step(&self) -> Vec<Value> {
        let Some(release) = self.release else {
            return Vec::new();
        };
        let now = scheduler::next(self.clock.now());
        self.clock.set(now);
        let mut reports = Vec::new();
        let state = &mut *lock(&self.state);
        for (key, planned) in &mut state.planned {
            let Some(run) = state.runs.get_mut(key) else {
                continue;
            };
            let own =
                |task: &Value| text(task, "dag_id") == key.0 && text(task, "dag_run_id") == key.1;
            let (mut mine, others): (Vec<Value>, Vec<Value>) =
                std::mem::take(&mut state.tasks).into_iter().partition(own);
            reports.extend(planned.step(release, run, &mut mine, now));
            mine.extend(others);
            state.tasks = mine;
        }
        reports
    }

    /// Forgets a planned run, as a deployment that cleans its database does.
    pub fn forget_run(&self, dag: &str, run: &str) {
        let mut state = lock(&self.state);
        let key = (dag.to_owned(), run.to_owned());
        state.planned.remove(&key);
        state.runs.remove(&key);
        state
            .tasks
            .retain(|task| text(task, "dag_id") != dag || text(task, "dag_run_id") != run);
    }

    /// A task instance as the API sends it (`dag_id`, `dag_run_id`, `task_id`, `map_index`, `state`, `try_number` …);
    /// its DAG run comes with it, in the state `failed` if the task failed.
    pub fn put_task(&self, task: Value) {
        let mut state = lock(&self.state);
        let key = (
            text(&task, "dag_id").to_owned(),
            text(&task, "dag_run_id").to_owned(),
        );
        let run_state = if text(&task, "state") == "failed" {
            "failed"
        } else {
            "running"
        };
        let run = json!({"dag_id": key.0, "dag_run_id": key.1, "state": run_state});
        state.runs.entry(key).or_insert(run);
        state.tasks.push(task);
    }

    /// The log of a try, in pages as the API sends `content`.
    pub fn put_log(
        &self,
        dag: &str,
        run: &str,
        task: &str,
        map_index: i64,
        try_number: i64,
        pages: &[Value],
    ) {
        lock(&self.state).logs.insert(
            log_key(
                dag,
                run,
                task,
                &map_index.to_string(),
                &try_number.to_string(),
            ),
            pages.to_vec(),
        );
    }

    /// What a cleared task ends as: `success` (without a script), `failed`, `upstream_failed` …
    pub fn script(&self, task: &str, ending: &str) {
        lock(&self.state)
            .endings
            .insert(task.to_owned(), ending.to_owned());
    }

    /// All task instances.
    pub fn tasks(&self) -> Vec<Value> {
        lock(&self.state).tasks.clone()
    }

    /// The state of a DAG run.
    pub fn run_state(&self, dag: &str, run: &str) -> Option<String> {
        lock(&self.state)
            .runs
            .get(&(dag.to_owned(), run.to_owned()))
            .map(|run| text(run, "state").to_owned())
    }

    /// Makes all tokens worthless.
    pub fn expire_tokens(&self) {
        lock(&self.state).tokens.clear();
    }

    fn refusal(&self, status: u16, detail: &str) -> Answer {
        match self.api {
            Api::V1 => {
                let body = json!({"detail": detail, "status": status, "title": detail, "type": "about:blank"});
                Answer {
                    headers: vec![("content-type".into(), "application/problem+json".into())],
                    ..Answer::json(status, &body)
                }
            }
            Api::V2 => Answer::json(status, &json!({"detail": detail})),
        }
    }

    /// A row as this API shows it.
    fn task_shown(&self, task: Value) -> Value {
        let task = without_mark(task);
        match self.api {
            Api::V1 => task,
            Api::V2 => shown::task(task, &stamp(self.clock.now())),
        }
    }

    fn run_shown(&self, run: Value) -> Value {
        match self.api {
            Api::V1 => run,
            Api::V2 => shown::run(run, &stamp(self.clock.now())),
        }
    }

    fn dag_shown(&self, dag: Value) -> Value {
        match self.api {
            Api::V1 => dag,
            Api::V2 => shown::dag(dag),
        }
    }

    fn is_authorized(&self, request: &Request) -> bool {
        match self.api {
            Api::V1 => {
                let pair = base64::engine::general_purpose::STANDARD
                    .encode(format!("{}:{}", self.username, self.password));
                request.is_authorized_by(&format!("Basic {pair}"))
            }
            Api::V2 => lock(&self.state)
                .tokens
                .iter()
                .any(|token| request.is_authorized_by(&format!("Bearer {token}"))),
        }
    }

    fn token(&self, request: &Request) -> Answer {
        let body = request.json();
        if text(&body, "username") != self.username || text(&body, "password") != self.password {
            return self.refusal(401, "Invalid credentials");
        }
        let mut state = lock(&self.state);
        let token = format!("eyJhbGciOiJIUzUxMiJ9.{}.sig", uuid::Uuid::new_v4().simple());
        state.tokens.push(token.clone());
        Answer::json(201, &json!({"access_token": token}))
    }

    fn task(&self, dag: &str, run: &str, task: &str, map_index: i64) -> Answer {
        let now = self.clock.now();
        let state = &mut *lock(&self.state);
        let ending = state
            .endings
            .get(task)
            .cloned()
            .unwrap_or_else(|| "success".to_owned());
        let scheduled = state
            .runs
            .get(&(dag.to_owned(), run.to_owned()))
            .is_some_and(|run| text(run, "state") == "running");
        let Some(found) = state
            .tasks
            .iter_mut()
            .find(|item| is_task(item, dag, run, task, map_index))
        else {
            return self.refusal(404, "Task instance not found");
        };
        let told = found.clone();
        if state
            .planned
            .contains_key(&(dag.to_owned(), run.to_owned()))
        {
            return Answer::json(200, &self.task_shown(told));
        }
        // The next look sees the next step.
        if text(found, "state") == "running" && found.get("cleared").is_some() {
            set(found, "state", Value::from(ending.as_str()));
            set(found, "end_date", stamp(now));
            if let Some(map) = found.as_object_mut() {
                map.remove("cleared");
            }
            let run_state = if ending == "success" {
                "success"
            } else {
                "failed"
            };
            if let Some(run) = state.runs.get_mut(&(dag.to_owned(), run.to_owned())) {
                set(run, "state", Value::from(run_state));
            }
        } else if found.get("cleared").is_some() && scheduled {
            let tries = found.get("try_number").and_then(Value::as_i64).unwrap_or(0);
            set(found, "state", Value::from("running"));
            set(found, "try_number", Value::from(tries + 1));
            set(found, "start_date", stamp(now));
            set(found, "end_date", Value::Null);
        }
        Answer::json(200, &self.task_shown(told))
    }

    fn tasks_of(&self, dag: &str, run: &str, request: &Request) -> Answer {
        let wanted: Vec<&str> = request
            .query
            .iter()
            .filter(|(name, _)| name == "state")
            .map(|(_, value)| value.as_str())
            .collect();
        let state = lock(&self.state);
        let found: Vec<Value> = state
            .tasks
            .iter()
            .filter(|item| text(item, "dag_id") == dag && text(item, "dag_run_id") == run)
            .filter(|item| wanted.is_empty() || wanted.contains(&text(item, "state")))
            .cloned()
            .map(|task| self.task_shown(task))
            .collect();
        Answer::json(
            200,
            &json!({"task_instances": found, "total_entries": found.len()}),
        )
    }

    fn log(&self, [dag, run, task, number]: [&str; 4], request: &Request) -> Answer {
        let map_index = request.query("map_index").unwrap_or("-1");
        let state = lock(&self.state);
        let Some(pages) = state.logs.get(&log_key(dag, run, task, map_index, number)) else {
            return self.refusal(404, "Task instance not found");
        };
        let at: usize = request
            .query("token")
            .and_then(|token| token.strip_prefix("page-")?.parse().ok())
            .unwrap_or(0);
        let past = if self.api == Api::V1 {
            json!("[('worker-1', '')]")
        } else {
            json!([])
        };
        let content = pages.get(at).cloned().unwrap_or(past);
        // v1 names a next page for ever.
        let more = at + 1 < pages.len() || self.api == Api::V1;
        let token = more.then(|| format!("page-{}", (at + 1).min(pages.len())));
        Answer::json(
            200,
            &json!({"content": content, "continuation_token": token}),
        )
    }

    fn clear(&self, dag: &str, request: &Request) -> Answer {
        let body = request.json();
        let Some(keys) = body.as_object() else {
            return self.refusal(400, "Request body is not valid JSON");
        };
        let own: &[&str] = match (self.api, self.release) {
            (Api::V1, _) => &CLEAR_KEYS_V1,
            (Api::V2, Some(Release::V3_1)) => &CLEAR_KEYS_V2[..1],
            (Api::V2, _) => &CLEAR_KEYS_V2,
        };
        let known = |key: &str| CLEAR_KEYS.contains(&key) || own.contains(&key);
        if let Some(unknown) = keys.keys().find(|key| !known(key)) {
            return match self.api {
                Api::V1 => self.refusal(400, &format!("{{'{unknown}': ['Unknown field.']}}")),
                Api::V2 => {
                    let extra = json!({"type": "extra_forbidden", "loc": ["body", unknown], "msg": "Extra inputs are not permitted"});
                    Answer::json(422, &json!({"detail": [extra]}))
                }
            };
        }
        let flag =
            |name: &str, default: bool| body.get(name).and_then(Value::as_bool).unwrap_or(default);
        let dates = body
            .get("start_date")
            .or(body.get("end_date"))
            .is_some_and(|date| !date.is_null());
        let run = text(&body, "dag_run_id");
        if dates && !run.is_empty() {
            let status = if self.api == Api::V1 { 400 } else { 422 };
            return self.refusal(
                status,
                "Exactly one of dag_run_id or (start_date and end_date) must be provided",
            );
        }
        let mut state = lock(&self.state);
        if !state.tasks.iter().any(|task| text(task, "dag_id") == dag) {
            return self.refusal(404, &format!("Dag id {dag} not found"));
        }
        if !run.is_empty() && !state.runs.contains_key(&(dag.to_owned(), run.to_owned())) {
            return self.refusal(404, &format!("Dag Run id {run} not found in dag {dag}"));
        }
        let mut wanted = body.get("task_ids").and_then(Value::as_array).cloned();
        let indexed = wanted.iter().flatten().any(Value::is_array);
        if self.api == Api::V1 && indexed {
            return self.refusal(400, "{'task_ids': {0: ['Not a valid string.']}}");
        }
        let key = (dag.to_owned(), run.to_owned());
        if let (Some(ids), Some(planned)) = (&mut wanted, state.planned.get(&key))
            && flag("include_downstream", false)
        {
            let named: Vec<String> = ids
                .iter()
                .filter_map(|id| id.as_str().or(id.get(0)?.as_str()))
                .map(str::to_owned)
                .collect();
            let below = planned.with_downstream(&named);
            ids.extend(
                below
                    .iter()
                    .filter(|id| !named.contains(id))
                    .map(|id| json!(id)),
            );
        }
        let chosen = |task: &Value| {
            let state = text(task, "state");
            text(task, "dag_id") == dag
                && (run.is_empty() || text(task, "dag_run_id") == run)
                && wanted
                    .as_ref()
                    .is_none_or(|ids| ids.iter().any(|id| names_task(id, task)))
                && (!flag("only_failed", true) || matches!(state, "failed" | "upstream_failed"))
        };
        let touched: Vec<Value> = state
            .tasks
            .iter()
            .filter(|task| chosen(task))
            .cloned()
            .map(|task| self.task_shown(task))
            .collect();
        if !flag("dry_run", true) {
            let state = &mut *state;
            let planned = state.planned.get_mut(&key);
            for task in state.tasks.iter_mut().filter(|task| chosen(task)) {
                set(task, "state", Value::Null);
                match &planned {
                    Some(planned) => {
                        let tries = task.get("try_number").and_then(Value::as_i64);
                        let retries = planned.retries_of(text(task, "task_id"));
                        let allowed = tries.unwrap_or_default() + retries;
                        set(task, "max_tries", Value::from(allowed));
                    }
                    None => set(task, "cleared", Value::Bool(true)),
                }
            }
            if flag("reset_dag_runs", true) {
                let begins = match planned {
                    Some(planned) => {
                        planned.restarted();
                        "queued"
                    }
                    None => "running",
                };
                for task in &touched {
                    if let Some(run) = state
                        .runs
                        .get_mut(&(dag.to_owned(), text(task, "dag_run_id").to_owned()))
                    {
                        set(run, "state", Value::from(begins));
                    }
                }
            }
        }
        Answer::json(
            200,
            &json!({"task_instances": touched, "total_entries": touched.len()}),
        )
    }

    fn trigger(&self, dag: &str, request: &Request) -> Answer {
        let body = request.json();
        let now = self.clock.now();
        let given = Some(text(&body, "dag_run_id"))
            .filter(|id| !id.is_empty())
            .map(str::to_owned);
        let run_id = given.unwrap_or_else(|| format!("manual__{}", now.to_rfc3339()));
        let mut state = lock(&self.state);
        if !state.runs.keys().any(|(known, _)| known == dag) {
            return self.refusal(404, &format!("DAG with dag_id: '{dag}' not found"));
        }
        let key = (dag.to_owned(), run_id.clone());
        if state.runs.contains_key(&key) {
            return self.refusal(409, "DAGRun already exists");
        }
        let run = json!({"dag_id": dag, "dag_run_id": run_id, "state": "queued", "conf": body.get("conf"), "start_date": stamp(now)});
        state.runs.insert(key, run.clone());
        Answer::json(200, &self.run_shown(run))
    }

    /// A run that was triggered here goes on at each look: queued, running, then as scripted under the DAG's name.
    fn run(&self, dag: &str, run_id: &str) -> Answer {
        let mut state = lock(&self.state);
        let ending = state
            .endings
            .get(dag)
            .cloned()
            .unwrap_or_else(|| "success".to_owned());
        let triggered = !state
            .tasks
            .iter()
            .any(|task| text(task, "dag_id") == dag && text(task, "dag_run_id") == run_id);
        let Some(run) = state.runs.get_mut(&(dag.to_owned(), run_id.to_owned())) else {
            return self.refusal(404, "DAGRun not found");
        };
        let told = run.clone();
        match text(run, "state") {
            "queued" => set(run, "state", Value::from("running")),
            "running" if triggered => set(run, "state", Value::from(ending)),
            _ => {}
        }
        Answer::json(200, &self.run_shown(told))
    }
}

fn log_key(dag: &str, run: &str, task: &str, map_index: &str, number: &str) -> String {
    json!([dag, run, task, map_index, number]).to_string()
}

fn is_task(item: &Value, dag: &str, run: &str, task: &str, map_index: i64) -> bool {
    let index = item.get("map_index").and_then(Value::as_i64).unwrap_or(-1);
    text(item, "dag_id") == dag
        && text(item, "dag_run_id") == run
        && text(item, "task_id") == task
        && index == map_index
}

/// Is this entry of `task_ids` (a name, or a name with a map index) the task?
fn names_task(id: &Value, task: &Value) -> bool {
    let index = task.get("map_index").and_then(Value::as_i64).unwrap_or(-1);
    match id {
        Value::String(name) => text(task, "task_id") == name,
        Value::Array(pair) => match pair.as_slice() {
            [name, wanted] => {
                name.as_str() == Some(text(task, "task_id")) && wanted.as_i64() == Some(index)
            }
            _ => false,
        },
        _ => false,
    }
}

fn without_mark(mut task: Value) -> Value {
    if let Some(map) = task.as_object_mut() {
        map.remove("cleared");
        map.remove("told");
        map.remove("updated_at");
    }
    task
}

impl Site for AirflowSite {
    fn answer(&self, request: &Request) -> Answer {
        let segments = request.segments();
        let pieces: Vec<&str> = segments.iter().map(String::as_str).collect();
        let root = if self.api == Api::V1 { "v1" } else { "v2" };
        let rest = match pieces.as_slice() {
            ["auth", "token"] if self.api == Api::V2 && request.method == "POST" => {
                return self.token(request);
            }
            ["api", version, rest @ ..] if *version == root => rest,
            // The other API: this deployment has none, and says so.
            ["api", "v1" | "v2", ..] | ["auth", "token"] => return self.refusal(404, "Not Found"),
            _ => return Answer::not_modelled(request),
        };
        if rest == ["version"] {
            let version = match (self.release, self.api) {
                (Some(Release::V2_10), _) => "2.10.5",
                (Some(Release::V3_1), _) => "3.1.8",
                (Some(Release::V3_3), _) => "3.3.2",
                (None, Api::V1) => "2.9.3",
                (None, Api::V2) => "3.1.0",
            };
            return Answer::json(200, &json!({"version": version, "git_version": null}));
        }
        if !self.is_authorized(request) {
            return self.refusal(401, "Unauthorized");
        }
        match (request.method.as_str(), rest) {
            ("GET", ["dags"]) => {
                let state = lock(&self.state);
                let dags: std::collections::BTreeSet<&str> =
                    state.runs.keys().map(|(dag, _)| dag.as_str()).collect();
                let listed: Vec<Value> = dags
                    .iter()
                    .map(|dag| self.dag_shown(json!({"dag_id": dag})))
                    .collect();
                Answer::json(200, &json!({"dags": listed, "total_entries": listed.len()}))
            }
            ("POST", ["dags", dag, "clearTaskInstances"]) => self.clear(dag, request),
            ("POST", ["dags", dag, "dagRuns"]) => self.trigger(dag, request),
            ("GET", ["dags", "~", "dagRuns"]) => self.all_runs(request),
            ("GET", ["dags", "~", "dagRuns", "~", "taskInstances"]) => self.all_tasks(request),
            ("GET", ["dags", dag, "dagRuns"]) => self.runs_of(dag, request),
            ("GET", ["dags", dag]) => self.dag(dag),
            ("GET", ["dags", dag, "tasks", task]) => self.defined_task(dag, task),
            ("GET", ["dags", dag, "dagRuns", run]) => self.run(dag, run),
            ("GET", ["dags", dag, "dagRuns", run, "taskInstances"]) => {
                self.tasks_of(dag, run, request)
            }
            ("GET", ["dags", dag, "dagRuns", run, "taskInstances", task]) => {
                self.task(dag, run, task, -1)
            }
            (
                "GET",
                [
                    "dags",
                    dag,
                    "dagRuns",
                    run,
                    "taskInstances",
                    task,
                    "logs",
                    number,
                ],
            ) => self.log([dag, run, task, number], request),
            (
                "GET",
                [
                    "dags",
                    dag,
                    "dagRuns",
                    run,
                    "taskInstances",
                    task,
                    "listMapped",
                ],
            ) => self.mapped(dag, run, task),
            ("GET", ["dags", dag, "dagRuns", run, "taskInstances", task, index]) => {
                match index.parse() {
                    Ok(index) => self.task(dag, run, task, index),
                    Err(_) => self.refusal(404, "Not Found"),
                }
            }
            _ => Answer::not_modelled(request),
        }
    }
}
