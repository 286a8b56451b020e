//! One run of a workflow: actions in `runAfter` order, scopes, loops with limits, variables, Terminate.
//!
//! In: a checked definition, its parameters, the trigger's body. Out: requests to the world
//! ([`super::connect`], [`super::actions`]) and the run's history. Time is the run's own: a Wait moves it on without
//! waiting. Branches run one after the other, by name, which is one of the orders the service may choose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::actions::duration;
use super::definition::{Action, Actions};
use super::expression::{self, ExpressionError, Scope};
use super::history::{ActionRun, RunStatus, Shown};
use super::{UntilLimit, Workflow, World, functions};
use crate::Answer;

/// How a list of actions ended.
pub(super) enum Flow {
    /// By itself.
    Done(RunStatus),
    /// By Terminate.
    Terminated(RunStatus),
}

/// What one action came to.
pub(super) struct Outcome {
    pub(super) status: RunStatus,
    pub(super) inputs: Value,
    pub(super) outputs: Value,
    pub(super) error: Value,
}

impl Outcome {
    pub(super) fn done(inputs: Value, outputs: Value) -> Self {
        Self {
            status: RunStatus::Succeeded,
            inputs,
            outputs,
            error: Value::Null,
        }
    }

    pub(super) fn failed(inputs: Value, code: &str, message: impl Into<String>) -> Self {
        let error = json!({"code": code, "message": message.into()});
        Self {
            status: RunStatus::Failed,
            inputs,
            outputs: Value::Null,
            error,
        }
    }

    fn of(status: RunStatus) -> Self {
        let error = match status {
            RunStatus::Failed => {
                json!({"code": "ActionFailed", "message": "An action failed. No dependent actions succeeded."})
            }
            _ => Value::Null,
        };
        Self {
            status,
            inputs: Value::Null,
            outputs: Value::Null,
            error,
        }
    }
}

/// A run in progress.
pub(super) struct Engine {
    pub(super) workflow: Arc<Workflow>,
    pub(super) world: Arc<World>,
    pub(super) run_id: String,
    pub(super) trigger_body: Value,
    pub(super) trigger_headers: Value,
    pub(super) respond: Option<tokio::sync::oneshot::Sender<Answer>>,
    pub(super) variables: BTreeMap<String, (String, Value)>,
    records: BTreeMap<String, (u64, ActionRun)>,
    children: BTreeMap<String, Vec<String>>,
    pub(super) items: Vec<(String, Value)>,
    skipped_time: TimeDelta,
    steps: AtomicU64,
}

const RUN_FUNCTIONS: [&str; 14] = [
    "triggerbody",
    "triggeroutputs",
    "trigger",
    "body",
    "outputs",
    "actions",
    "result",
    "variables",
    "parameters",
    "item",
    "items",
    "workflow",
    "utcnow",
    "guid",
];

/// The scope in which names are only looked up: every function of a run exists and none has a value.
pub(super) struct Nowhere;

impl Scope for Nowhere {
    fn call(&self, function: &str, _arguments: &[Value]) -> Option<Result<Value, ExpressionError>> {
        RUN_FUNCTIONS.contains(&function).then(|| {
            Err(ExpressionError::arguments(
                function,
                "has no value outside a run",
            ))
        })
    }
}

impl Scope for Engine {
    fn call(&self, function: &str, arguments: &[Value]) -> Option<Result<Value, ExpressionError>> {
        if !RUN_FUNCTIONS.contains(&function) {
            return None;
        }
        let name = arguments.first().and_then(Value::as_str);
        let named = || name.ok_or_else(|| ExpressionError::arguments(function, "expects a name"));
        let unknown = |kind, name: &str| ExpressionError::UnknownName {
            kind,
            name: name.to_owned(),
        };
        Some(match function {
            "triggerbody" => Ok(self.trigger_body.clone()),
            "triggeroutputs" => {
                Ok(json!({"headers": self.trigger_headers, "body": self.trigger_body}))
            }
            "trigger" => Ok(
                json!({"name": "manual", "outputs": {"headers": self.trigger_headers, "body": self.trigger_body}}),
            ),
            "body" => {
                named().map(|name| self.outputs(name).get("body").cloned().unwrap_or_default())
            }
            "outputs" => named().map(|name| self.outputs(name)),
            "actions" => named().map(|name| {
                self.records
                    .get(name)
                    .map(|(_, run)| run.as_value())
                    .unwrap_or_default()
            }),
            "result" => named().map(|name| self.result(name)),
            "variables" => named().and_then(|name| {
                self.variables
                    .get(name)
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| unknown("variable", name))
            }),
            "parameters" => named().and_then(|name| {
                self.workflow
                    .parameters
                    .get(name)
                    .cloned()
                    .ok_or_else(|| unknown("parameter", name))
            }),
            "item" => self
                .items
                .last()
                .map(|(_, item)| item.clone())
                .ok_or_else(|| ExpressionError::arguments(function, "is outside a loop")),
            "items" => named().and_then(|name| {
                let found = self.items.iter().find(|(outer, _)| outer == name);
                found
                    .map(|(_, item)| item.clone())
                    .ok_or_else(|| unknown("action", name))
            }),
            "workflow" => Ok(json!({
                "id": format!("/workflows/{}", self.workflow.name), "name": self.workflow.name, "type": "Microsoft.Logic/workflows",
                "run": {"id": format!("/workflows/{}/runs/{}", self.workflow.name, self.run_id), "name": self.run_id},
            })),
            "utcnow" => Ok(json!(functions::format_time(self.now(), name))),
            _ => Ok(json!(uuid::Uuid::new_v4().to_string())),
        })
    }
}

impl Engine {
    pub(super) fn new(
        workflow: Arc<Workflow>,
        world: Arc<World>,
        run_id: String,
        trigger_body: Value,
        trigger_headers: Value,
    ) -> Self {
        let children = BTreeMap::new();
        let (variables, records, items) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (skipped_time, steps) = (TimeDelta::zero(), AtomicU64::new(0));
        Self {
            workflow,
            world,
            run_id,
            trigger_body,
            trigger_headers,
            respond: None,
            variables,
            records,
            children,
            items,
            skipped_time,
            steps,
        }
    }

    /// Runs the whole workflow.
    pub(super) async fn run(&mut self) -> RunStatus {
        let workflow = Arc::clone(&self.workflow);
        match self.actions(&workflow.definition.actions).await {
            Flow::Done(status) | Flow::Terminated(status) => status,
        }
    }

    /// The history so far.
    pub(super) fn history(&self) -> Vec<ActionRun> {
        let mut runs: Vec<&(u64, ActionRun)> = self.records.values().collect();
        runs.sort_by_key(|(step, _)| *step);
        runs.into_iter().map(|(_, run)| run.clone()).collect()
    }

    /// The run's own time.
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.skipped_time
    }

    /// Time passes on the run's clock.
    pub(super) async fn pass(&mut self, time: TimeDelta) {
        self.skipped_time += time;
        tokio::time::sleep(self.world.pace).await;
    }

    pub(super) fn evaluate(&self, template: &Value) -> Result<Value, ExpressionError> {
        expression::evaluate(template, self)
    }

    fn outputs(&self, name: &str) -> Value {
        self.records
            .get(name)
            .map(|(_, run)| run.outputs.value.clone())
            .unwrap_or_default()
    }

    fn result(&self, scope: &str) -> Value {
        let children = self.children.get(scope).into_iter().flatten();
        Value::Array(
            children
                .filter_map(|name| self.records.get(name))
                .map(|(_, run)| run.as_value())
                .collect(),
        )
    }

    /// Runs a list of actions in `runAfter` order.
    fn actions<'a>(&'a mut self, actions: &'a Actions) -> BoxFuture<'a, Flow> {
        async move {
            let mut done: BTreeMap<&str, RunStatus> = BTreeMap::new();
            while let Some((name, action)) = actions.iter().find(|(name, action)| {
                !done.contains_key(name.as_str())
                    && action
                        .run_after
                        .keys()
                        .all(|before| done.contains_key(before.as_str()))
            }) {
                let wanted = action.run_after.iter().all(|(before, statuses)| {
                    done.get(before.as_str())
                        .is_some_and(|status| status.is_one_of(statuses))
                });
                if !wanted {
                    self.skip(name, action);
                    done.insert(name, RunStatus::Skipped);
                    continue;
                }
                match self.action(name, action).await {
                    Flow::Done(status) => done.insert(name, status),
                    terminated @ Flow::Terminated(_) => return terminated,
                };
            }
            Flow::Done(overall(actions, &done))
        }
        .boxed()
    }

    async fn action(&mut self, name: &str, action: &Action) -> Flow {
        let started_at = self.now();
        let outcome = match self.perform(name, action).await {
            Ok(outcome) => outcome,
            Err(Stop::Template(error)) => {
                Outcome::failed(Value::Null, "InvalidTemplate", error.to_string())
            }
            Err(Stop::Terminate(status, outcome)) => {
                self.record(name, action, started_at, outcome);
                return Flow::Terminated(status);
            }
        };
        let status = outcome.status;
        self.record(name, action, started_at, outcome);
        Flow::Done(status)
    }

    fn record(&mut self, name: &str, action: &Action, started_at: DateTime<Utc>, outcome: Outcome) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let before = self.records.get(name).map_or(0, |(_, run)| run.repetitions);
        let run = ActionRun {
            name: name.to_owned(),
            kind: action.kind.clone(),
            status: outcome.status,
            repetitions: before + u32::from(outcome.status != RunStatus::Skipped),
            error: outcome.error,
            inputs: Shown {
                value: outcome.inputs,
                hidden: action.hides("inputs"),
            },
            outputs: Shown {
                value: outcome.outputs,
                hidden: action.hides("outputs"),
            },
            started_at,
            ended_at: self.now(),
        };
        self.records.insert(name.to_owned(), (step, run));
    }

    fn skip(&mut self, name: &str, action: &Action) {
        let error = json!({"code": "ActionSkipped", "message": "The 'runAfter' condition was not satisfied."});
        let outcome = Outcome {
            status: RunStatus::Skipped,
            inputs: Value::Null,
            outputs: Value::Null,
            error,
        };
        self.record(name, action, self.now(), outcome);
        for children in action.children() {
            self.skip_all(children);
        }
    }

    fn skip_all(&mut self, actions: &Actions) {
        for (name, action) in actions {
            self.skip(name, action);
        }
    }

    async fn perform(&mut self, name: &str, action: &Action) -> Result<Outcome, Stop> {
        match action.kind.as_str() {
            "Scope" => self.inside(name, &action.actions).await,
            "If" => {
                let yes = self.condition(&action.expression)?;
                let (taken, left) = if yes {
                    (&action.actions, &action.otherwise.actions)
                } else {
                    (&action.otherwise.actions, &action.actions)
                };
                self.skip_all(left);
                self.inside(name, taken).await
            }
            "Switch" => self.switch(name, action).await,
            "Until" => self.until(name, action).await,
            "Foreach" => self.foreach(name, action).await,
            "Http" | "ApiConnection" => Ok(self.call_out(action).await?),
            "Wait" => self.wait(&action.inputs).await,
            "Terminate" => self.terminate(&action.inputs),
            "Response" => self.response(&action.inputs),
            "Query" => self.query(&action.inputs),
            "Select" => self.select(&action.inputs),
            "Compose" => Ok(self
                .evaluate(&action.inputs)
                .map(|value| Outcome::done(value.clone(), value))?),
            "ParseJson" => self.parse_json(&action.inputs),
            _ => self.variable(&action.kind, &action.inputs),
        }
    }

    /// Runs the children of a scope; its status is theirs.
    async fn inside(&mut self, name: &str, actions: &Actions) -> Result<Outcome, Stop> {
        self.children
            .insert(name.to_owned(), actions.keys().cloned().collect());
        match self.actions(actions).await {
            Flow::Done(status) => Ok(Outcome::of(status)),
            Flow::Terminated(status) => Err(Stop::Terminate(status, Outcome::of(status))),
        }
    }

    /// A condition: an expression text, or the object form `{"and": [{"equals": [a, b]}]}`.
    pub(super) fn condition(&self, condition: &Value) -> Result<bool, ExpressionError> {
        let value = self.condition_value(condition)?;
        value
            .as_bool()
            .ok_or_else(|| ExpressionError::arguments("condition", "is neither true nor false"))
    }

    fn condition_value(&self, condition: &Value) -> Result<Value, ExpressionError> {
        let Value::Object(object) = condition else {
            return self.evaluate(condition);
        };
        let Some((function, operands)) = object.iter().next() else {
            return Err(ExpressionError::arguments("condition", "is empty"));
        };
        let operands = match operands {
            Value::Array(items) => items
                .iter()
                .map(|item| self.condition_value(item))
                .collect::<Result<Vec<_>, _>>()?,
            single => vec![self.condition_value(single)?],
        };
        expression::call(function, &operands, self)
    }

    async fn switch(&mut self, name: &str, action: &Action) -> Result<Outcome, Stop> {
        let value = self.evaluate(&action.expression)?;
        let taken = action
            .cases
            .values()
            .find(|case| case.case == value)
            .map_or(&action.default.actions, |case| &case.actions);
        let left: Vec<&Actions> = action
            .children()
            .filter(|children| !std::ptr::eq(*children, taken))
            .collect();
        for children in left {
            self.skip_all(children);
        }
        self.inside(name, taken).await
    }

    async fn until(&mut self, name: &str, action: &Action) -> Result<Outcome, Stop> {
        let timeout = match &action.limit.timeout {
            Some(text) => duration(text).ok_or_else(|| {
                ExpressionError::arguments("Until", "has a timeout that is no ISO 8601 duration")
            })?,
            None => TimeDelta::hours(1),
        };
        let count = action.limit.count.unwrap_or(60).max(1);
        let end = self.now() + timeout;
        for _iteration in 0..count {
            let outcome = self.inside(name, &action.actions).await?;
            if self.condition(&action.expression)? {
                return Ok(outcome);
            }
            if self.now() > end {
                break;
            }
        }
        let error = json!({"code": "UntilLimitReached", "message": "The limits of the loop were reached before its condition was met."});
        let strict = action.operation_options.as_deref() == Some("FailWhenLimitsReached");
        let status = match self.world.until_limit {
            _ if strict => RunStatus::Failed,
            UntilLimit::TimesOut => RunStatus::TimedOut,
            UntilLimit::Succeeds => return Ok(Outcome::of(RunStatus::Succeeded)),
        };
        Ok(Outcome {
            status,
            inputs: Value::Null,
            outputs: Value::Null,
            error,
        })
    }

    async fn foreach(&mut self, name: &str, action: &Action) -> Result<Outcome, Stop> {
        let items = self.evaluate(&action.foreach)?;
        let items = items
            .as_array()
            .cloned()
            .ok_or_else(|| ExpressionError::arguments("foreach", "expects an array"))?;
        if items.is_empty() {
            self.skip_all(&action.actions);
        }
        let mut status = RunStatus::Succeeded;
        for item in items {
            self.items.push((name.to_owned(), item));
            let outcome = self.inside(name, &action.actions).await;
            self.items.pop();
            if outcome?.status != RunStatus::Succeeded {
                status = RunStatus::Failed;
            }
        }
        Ok(Outcome::of(status))
    }
}

/// Why an action does not come to an outcome of its own.
pub(super) enum Stop {
    Template(ExpressionError),
    Terminate(RunStatus, Outcome),
}

impl From<ExpressionError> for Stop {
    fn from(error: ExpressionError) -> Self {
        Self::Template(error)
    }
}

/// The status of a list of actions: each last action decides, or, where it was skipped, what was before it.
fn overall(actions: &Actions, done: &BTreeMap<&str, RunStatus>) -> RunStatus {
    fn good(name: &str, actions: &Actions, done: &BTreeMap<&str, RunStatus>) -> bool {
        match done.get(name) {
            Some(RunStatus::Skipped) => actions.get(name).is_none_or(|action| {
                action
                    .run_after
                    .keys()
                    .all(|before| good(before, actions, done))
            }),
            Some(status) => *status == RunStatus::Succeeded,
            None => false,
        }
    }
    let last = |name: &&String| {
        !actions
            .values()
            .any(|other| other.run_after.contains_key(name.as_str()))
    };
    let all_good = actions
        .keys()
        .filter(last)
        .all(|name| good(name, actions, done));
    if all_good {
        RunStatus::Succeeded
    } else {
        RunStatus::Failed
    }
}
