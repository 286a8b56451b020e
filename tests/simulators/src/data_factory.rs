//! A data factory behind the management API: runs, activity runs, queries, `createRun`, `cancel`.
//!
//! Runs are kept as the JSON that the API sends. A run started here goes on for as many polls as its script says,
//! then ends as scripted. With `referencePipelineRunId` the new run joins the run group and keeps the parameters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::rights::{Call, Rights};
use super::{Answer, Clock, Request, Site, lock};

/// The calls below a factory and the operations of Azure RBAC that each needs. Queries are actions, and the `/read`
/// beside each is enforced as well: learn.microsoft.com/azure/role-based-access-control/permissions/analytics.
pub const CALLS: &[Call] = &[
    Call {
        method: "GET",
        path: "",
        needs: &["Microsoft.DataFactory/factories/read"],
    },
    Call {
        method: "GET",
        path: "pipelineruns/*",
        needs: &["Microsoft.DataFactory/factories/pipelineruns/read"],
    },
    Call {
        method: "POST",
        path: "pipelineruns/*/queryActivityruns",
        needs: &[
            "Microsoft.DataFactory/factories/pipelineruns/queryactivityruns/read",
            "Microsoft.DataFactory/factories/pipelineruns/queryactivityruns/action",
        ],
    },
    Call {
        method: "POST",
        path: "pipelineruns/*/cancel",
        needs: &["Microsoft.DataFactory/factories/pipelineruns/cancel/action"],
    },
    Call {
        method: "POST",
        path: "queryPipelineRuns",
        needs: &[
            "Microsoft.DataFactory/factories/querypipelineruns/read",
            "Microsoft.DataFactory/factories/querypipelineruns/action",
        ],
    },
    Call {
        method: "GET",
        path: "triggers",
        needs: &["Microsoft.DataFactory/factories/triggers/read"],
    },
    Call {
        method: "POST",
        path: "queryTriggerRuns",
        needs: &[
            "Microsoft.DataFactory/factories/querytriggerruns/read",
            "Microsoft.DataFactory/factories/querytriggerruns/action",
        ],
    },
    Call {
        method: "GET",
        path: "pipelines/*",
        needs: &["Microsoft.DataFactory/factories/pipelines/read"],
    },
    Call {
        method: "POST",
        path: "pipelines/*/createRun",
        needs: &["Microsoft.DataFactory/factories/pipelines/createrun/action"],
    },
];

/// The object id that refusals name.
const CLIENT: &str = "cccc2222-dd33-4444-55ee-666666ffffff";

/// How a started run will end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Well.
    Succeeds,
    /// With this message, told by this activity.
    Fails {
        /// The activity's name.
        activity: String,
        /// Its error message.
        message: String,
    },
    /// Cancelled by somebody.
    Cancelled,
    /// It goes on for ever.
    Hangs,
}

#[derive(Debug)]
struct Script {
    polls: u32,
    ending: Ending,
}

#[derive(Debug, Default)]
struct State {
    pipelines: BTreeSet<String>,
    described: BTreeMap<String, Value>,
    scripts: BTreeMap<String, VecDeque<Script>>,
    runs: Vec<Value>,
    triggers: Vec<Value>,
    trigger_runs: Vec<Value>,
    going: BTreeMap<String, Script>,
    activities: BTreeMap<String, Vec<Value>>,
}

/// One factory.
#[derive(Debug)]
pub struct DataFactorySite {
    resource: [String; 3],
    token: String,
    page_size: Mutex<usize>,
    state: Mutex<State>,
    /// Identities beside the one that may do everything.
    pub rights: Rights,
    /// The factory's clock.
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

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"code": code, "message": message, "target": null, "details": null}}),
    )
}

impl DataFactorySite {
    /// A factory that takes this bearer token.
    pub fn new(subscription: &str, resource_group: &str, factory: &str, token: &str) -> Self {
        Self {
            resource: [subscription, resource_group, factory].map(str::to_owned),
            token: token.to_owned(),
            page_size: Mutex::new(100),
            state: Mutex::default(),
            rights: Rights::default(),
            clock: Clock::default(),
        }
    }

    /// A pipeline that can be started.
    pub fn put_pipeline(&self, name: &str) {
        lock(&self.state).pipelines.insert(name.to_owned());
    }

    /// What people noted on a pipeline: annotations, and the folder that they keep it in.
    pub fn describe(&self, name: &str, annotations: &[&str], folder: &str) {
        let properties =
            json!({"activities": [], "annotations": annotations, "folder": {"name": folder}});
        let mut state = lock(&self.state);
        state.pipelines.insert(name.to_owned());
        state.described.insert(name.to_owned(), properties);
    }

    fn pipeline(&self, name: &str) -> Answer {
        let state = lock(&self.state);
        if !state.pipelines.contains(name) {
            return refusal(404, "PipelineNotFound", "The pipeline was not found.");
        }
        let plain = || json!({"activities": [], "annotations": []});
        let properties = state.described.get(name).cloned().unwrap_or_else(plain);
        Answer::json(200, &json!({"name": name, "properties": properties}))
    }

    /// A run as the API sends it, or how it stands by now; its pipeline comes with it.
    pub fn put_run(&self, run: Value) {
        let mut state = lock(&self.state);
        state
            .pipelines
            .insert(text(&run, "pipelineName").to_owned());
        let id = text(&run, "runId").to_owned();
        match state
            .runs
            .iter_mut()
            .find(|known| text(known, "runId") == id)
        {
            Some(known) => *known = run,
            None => state.runs.push(run),
        }
    }

    /// A trigger that starts a pipeline, `Started` or `Stopped`.
    pub fn put_trigger(&self, name: &str, pipeline: &str, state: &str) {
        let reference = json!({"referenceName": pipeline, "type": "PipelineReference"});
        let trigger = json!({"name": name, "properties": {"type": "ScheduleTrigger", "runtimeState": state,
            "pipelines": [{"pipelineReference": reference, "parameters": {}}]}});
        let mut state = lock(&self.state);
        state.triggers.retain(|known| text(known, "name") != name);
        state.triggers.push(trigger);
    }

    /// A run of a trigger as the API sends it.
    pub fn put_trigger_run(&self, run: Value) {
        lock(&self.state).trigger_runs.push(run);
    }

    /// Activity runs of a run as the API sends them.
    pub fn put_activities(&self, run_id: &str, activities: &[Value]) {
        lock(&self.state)
            .activities
            .entry(run_id.to_owned())
            .or_default()
            .extend_from_slice(activities);
    }

    /// The next run of `pipeline` that is started here goes on for `polls` looks at it, then ends so.
    /// Without a script a run succeeds at the second look.
    pub fn script(&self, pipeline: &str, polls: u32, ending: Ending) {
        lock(&self.state)
            .scripts
            .entry(pipeline.to_owned())
            .or_default()
            .push_back(Script { polls, ending });
    }

    /// How many items a page of a query holds.
    pub fn set_page_size(&self, items: usize) {
        *lock(&self.page_size) = items.max(1);
    }

    /// All runs, in the order in which they came.
    pub fn runs(&self) -> Vec<Value> {
        lock(&self.state).runs.clone()
    }

    /// Have all scripted runs been started?
    pub fn is_drained(&self) -> bool {
        lock(&self.state).scripts.values().all(VecDeque::is_empty)
    }

    fn id(&self) -> String {
        let [subscription, group, factory] = &self.resource;
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.DataFactory/factories/{factory}"
        )
    }

    /// What Resource Manager answers, before it looks whether the thing asked for exists.
    fn forbidden(&self, request: &Request, pieces: &[&str]) -> Option<Answer> {
        let call = Call::find(CALLS, &request.method, pieces)?;
        let missing = self.rights.missing(request, call)?;
        let message = format!(
            "The client '{CLIENT}' with object id '{CLIENT}' does not have authorization to perform action '{missing}' \
             over scope '{}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
            self.id()
        );
        let error = json!({"error": {"code": "AuthorizationFailed", "message": message}});
        Some(Answer::json(403, &error))
    }

    fn factory(&self) -> Answer {
        let factory = &self.resource[2];
        let id = self.id();
        let body = json!({"name": factory, "id": id, "type": "Microsoft.DataFactory/factories", "location": "eastus",
            "properties": {"provisioningState": "Succeeded"}});
        Answer::json(200, &body)
    }

    fn create_run(&self, pipeline: &str, request: &Request) -> Answer {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        if !state.pipelines.contains(pipeline) {
            return refusal(
                404,
                "PipelineNotFound",
                &format!("Pipeline {pipeline} not found."),
            );
        }
        let reference = match request.query("referencePipelineRunId") {
            None => None,
            Some(id) => match state
                .runs
                .iter()
                .find(|run| text(run, "runId") == id && text(run, "pipelineName") == pipeline)
            {
                Some(run) => Some(run.clone()),
                None => {
                    return refusal(
                        400,
                        "ReferencedPipelineRunNotValid",
                        &format!(
                            "The referenced pipeline run {id} is not a run of pipeline {pipeline}."
                        ),
                    );
                }
            },
        };
        let flag = |name: &str| {
            request
                .query(name)
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        let recovers = flag("isRecovery")
            || flag("startFromFailure")
            || request.query("startActivityName").is_some();
        if recovers && reference.is_none() {
            return refusal(400, "BadRequest", "Recovery needs referencePipelineRunId.");
        }
        let run_id = Uuid::new_v4().to_string();
        let (group, parameters) = match &reference {
            Some(run) => {
                let group = Some(text(run, "runGroupId"))
                    .filter(|group| !group.is_empty())
                    .unwrap_or(text(run, "runId"));
                (
                    group.to_owned(),
                    run.get("parameters").cloned().unwrap_or_default(),
                )
            }
            None => (
                run_id.clone(),
                Some(request.json())
                    .filter(Value::is_object)
                    .unwrap_or_else(|| json!({})),
            ),
        };
        for run in state
            .runs
            .iter_mut()
            .filter(|run| text(run, "runGroupId") == group)
        {
            set(run, "isLatest", Value::Bool(false));
        }
        state.runs.push(json!({
            "runId": run_id, "runGroupId": group, "isLatest": true, "debugRunId": null, "pipelineName": pipeline,
            "parameters": parameters, "runDimension": {}, "invokedBy": {"id": run_id, "name": "Manual", "invokedByType": "Manual"},
            "runStart": stamp(now), "runEnd": null, "durationInMs": null, "status": "InProgress", "message": "",
            "lastUpdated": stamp(now), "annotations": [],
        }));
        let script = state
            .scripts
            .get_mut(pipeline)
            .and_then(VecDeque::pop_front);
        state.going.insert(
            run_id.clone(),
            script.unwrap_or(Script {
                polls: 1,
                ending: Ending::Succeeds,
            }),
        );
        Answer::json(200, &json!({"runId": run_id}))
    }

    fn get_run(&self, run_id: &str) -> Answer {
        let mut state = lock(&self.state);
        state.look(run_id, self.clock.now());
        let run = state
            .runs
            .iter()
            .find(|run| text(run, "runId").eq_ignore_ascii_case(run_id));
        run.map_or_else(
            || {
                refusal(
                    404,
                    "PipelineRunNotFound",
                    "PipelineRun with that id not found.",
                )
            },
            |run| Answer::json(200, run),
        )
    }

    fn cancel(&self, run_id: &str) -> Answer {
        let mut state = lock(&self.state);
        if state.going.remove(run_id).is_none() {
            return refusal(400, "BadRequest", "The run is not in progress.");
        }
        state.end(run_id, "Cancelled", "", self.clock.now());
        Answer::empty(200)
    }

    /// Answers a query: both times are required, filters are Equals or In, pages are numbered.
    fn query(&self, items: &[Value], updated: fn(&Value) -> &str, request: &Request) -> Answer {
        let body = request.json();
        let bound = |name: &str| {
            DateTime::parse_from_rfc3339(text(&body, name))
                .ok()
                .map(|at| at.with_timezone(&Utc))
        };
        let (Some(after), Some(before)) = (bound("lastUpdatedAfter"), bound("lastUpdatedBefore"))
        else {
            return refusal(
                400,
                "BadRequest",
                "lastUpdatedAfter and lastUpdatedBefore are required.",
            );
        };
        let filters = body
            .get("filters")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let within = |item: &Value| {
            DateTime::parse_from_rfc3339(updated(item)).map_or(true, |at| {
                (after..=before).contains(&at.with_timezone(&Utc))
            })
        };
        let mut found: Vec<&Value> = items
            .iter()
            .filter(|item| {
                within(item) && filters.iter().all(|filter| matches_filter(item, filter))
            })
            .collect();
        if let Some(order) = body.pointer("/orderBy/0") {
            let by = camel(text(order, "orderBy"));
            found.sort_by_key(|item| text(item, &by).to_owned());
            if text(order, "order").eq_ignore_ascii_case("DESC") {
                found.reverse();
            }
        }
        let start: usize = text(&body, "continuationToken")
            .strip_prefix("page-")
            .and_then(|at| at.parse().ok())
            .unwrap_or(0);
        let size = *lock(&self.page_size);
        let page: Vec<&Value> = found.iter().skip(start).take(size).copied().collect();
        let mut answer = Map::from_iter([("value".to_owned(), json!(page))]);
        if start + size < found.len() {
            answer.insert(
                "continuationToken".to_owned(),
                Value::from(format!("page-{}", start + size)),
            );
        }
        Answer::json(200, &Value::Object(answer))
    }
}

impl State {
    /// One look at a run brings it nearer to its end.
    fn look(&mut self, run_id: &str, now: DateTime<Utc>) {
        let Some(script) = self.going.get_mut(run_id) else {
            return;
        };
        if script.ending == Ending::Hangs {
            return;
        }
        if script.polls > 0 {
            script.polls -= 1;
            return;
        }
        let Some(script) = self.going.remove(run_id) else {
            return;
        };
        match script.ending {
            Ending::Succeeds => self.end(run_id, "Succeeded", "", now),
            Ending::Cancelled => self.end(run_id, "Cancelled", "", now),
            Ending::Hangs => {}
            Ending::Fails { activity, message } => {
                self.end(
                    run_id,
                    "Failed",
                    &format!("Operation on target {activity} failed: {message}"),
                    now,
                );
                let failed = json!({"activityName": activity, "activityType": "Copy", "status": "Failed", "pipelineRunId": run_id,
                    "activityRunStart": stamp(now), "activityRunEnd": stamp(now), "activityRunId": Uuid::new_v4().to_string(),
                    "retryAttempt": null, "iterationHash": "", "input": {}, "output": {}, "userProperties": {},
                    "error": {"errorCode": "2200", "message": message, "failureType": "UserError", "target": activity}});
                self.activities
                    .entry(run_id.to_owned())
                    .or_default()
                    .push(failed);
            }
        }
    }

    fn end(&mut self, run_id: &str, status: &str, message: &str, now: DateTime<Utc>) {
        for run in self
            .runs
            .iter_mut()
            .filter(|run| text(run, "runId") == run_id)
        {
            let ended = [
                ("status", Value::from(status)),
                ("message", Value::from(message)),
                ("runEnd", stamp(now)),
                ("lastUpdated", stamp(now)),
            ];
            for (name, value) in ended {
                set(run, name, value);
            }
            let start = DateTime::parse_from_rfc3339(text(run, "runStart"))
                .map(|at| at.with_timezone(&Utc));
            set(
                run,
                "durationInMs",
                json!((now - start.unwrap_or(now)).num_milliseconds()),
            );
        }
    }
}

fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}

fn matches_filter(item: &Value, filter: &Value) -> bool {
    let value = text(item, &camel(text(filter, "operand")));
    let values: Vec<&str> = filter
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match text(filter, "operator") {
        "Equals" | "In" => values.contains(&value),
        "NotEquals" | "NotIn" => !values.contains(&value),
        _ => true,
    }
}

impl Site for DataFactorySite {
    fn answer(&self, request: &Request) -> Answer {
        let known = request.is_authorized_by(&format!("Bearer {}", self.token));
        if !known && !self.rights.knows(request) {
            return refusal(
                401,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing or invalid.",
            );
        }
        if request
            .query("api-version")
            .or(request.query("x-ms-api-version"))
            .is_none()
        {
            return refusal(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required.",
            );
        }
        let segments = request.segments();
        let pieces: Vec<&str> = segments.iter().map(String::as_str).collect();
        let Some((
            [
                _,
                subscription,
                groups,
                group,
                _,
                provider,
                factories,
                factory,
            ],
            rest,
        )) = pieces.split_first_chunk::<8>()
        else {
            return refusal(404, "ResourceNotFound", "The resource was not found.");
        };
        let [our_subscription, our_group, our_factory] = &self.resource;
        let ours = [
            (*subscription, our_subscription.as_str()),
            (*group, our_group),
            (*factory, our_factory),
            (*groups, "resourceGroups"),
        ];
        let kind = [
            (*provider, "Microsoft.DataFactory"),
            (*factories, "factories"),
        ];
        if !ours
            .into_iter()
            .chain(kind)
            .all(|(theirs, ours)| theirs.eq_ignore_ascii_case(ours))
        {
            return refusal(
                404,
                "ResourceNotFound",
                "The resource under that resource group was not found.",
            );
        }
        if let Some(forbidden) = self.forbidden(request, rest) {
            return forbidden;
        }
        match (request.method.as_str(), rest) {
            ("GET", []) => self.factory(),
            ("GET", ["triggers"]) => {
                let triggers = lock(&self.state).triggers.clone();
                Answer::json(200, &json!({"value": triggers}))
            }
            ("GET", ["pipelines", pipeline]) => self.pipeline(pipeline),
            ("POST", ["pipelines", pipeline, "createRun"]) => self.create_run(pipeline, request),
            ("GET", ["pipelineruns", run_id]) => self.get_run(run_id),
            ("POST", ["pipelineruns", run_id, "cancel"]) => self.cancel(run_id),
            ("POST", ["pipelineruns", run_id, query])
                if query.eq_ignore_ascii_case("queryActivityruns") =>
            {
                let items = lock(&self.state)
                    .activities
                    .get(*run_id)
                    .cloned()
                    .unwrap_or_default();
                self.query(&items, |item| text(item, "activityRunEnd"), request)
            }
            ("POST", [query]) if query.eq_ignore_ascii_case("queryPipelineRuns") => {
                self.query(&self.runs(), |item| text(item, "lastUpdated"), request)
            }
            ("POST", [query]) if query.eq_ignore_ascii_case("queryTriggerRuns") => {
                let runs = lock(&self.state).trigger_runs.clone();
                self.query(&runs, |item| text(item, "triggerRunTimestamp"), request)
            }
            _ => Answer::not_modelled(request),
        }
    }
}
