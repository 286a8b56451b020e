//! A playbook and a data factory that do what a test decides, on a virtual clock.

use crate::support::build;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use aiops_rca::diagnosis::Action;
use aiops_rca::evidence::data_factory::DataFactorySettings;
use aiops_rca::evidence::{Collector, DataFactory, Key};
use aiops_rca::failure::Failure;
use aiops_rca::flow::Flow;
use aiops_rca::remediation::{AssetPolicy, RemediationSettings};
use aiops_rca::sinks::playbook::{PlaybookSettings, Playbooks, SecretUrl, callback};
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::{Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use simulators::{Answer, Request, Server, Site, serve};

use super::super::simulation::{Simulation, Task, noon};
use crate::support;

/// How the playbook answers, and whether it starts a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Answered {
    Accepted,
    TimedOutAfterStart,
    TimedOutBeforeStart,
    Throttled,
    Refused,
}

/// What the playbook tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Told {
    /// Progress with the run's id, then how it ended: the playbooks that ship.
    Honestly,
    /// Success right after the start: the integration guide's own.
    TooEarly,
    Nothing,
    Late,
    Twice,
    Contradictory,
    /// How it ended, but the run's id was never resolved.
    WithoutRun,
    /// Success, whatever became of the run, which it does not name.
    FalselyWithoutRun,
    /// Success, with the id of a run that nobody knows.
    FalselyUnknownRun,
    /// Success, with the id of the run that failed.
    FalselyOriginalRun,
}

/// A run of an asset that the schedule or a person started.
#[derive(Debug, Clone)]
pub(in super::super) struct Newer {
    pub(in super::super) pipeline: String,
    pub(in super::super) start: DateTime<Utc>,
    pub(in super::super) end: DateTime<Utc>,
    pub(in super::super) succeeds: bool,
}

impl Newer {
    pub(in super::super) fn of(pipeline: &str, start: DateTime<Utc>, takes: TimeDelta) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            start,
            end: start + takes,
            succeeds: true,
        }
    }

    fn json(&self, id: &str, now: DateTime<Utc>) -> Value {
        let status = match (now >= self.end, self.succeeds) {
            (false, _) => "InProgress",
            (true, true) => "Succeeded",
            (true, false) => "Failed",
        };
        json!({"runId": id, "runGroupId": id, "pipelineName": self.pipeline, "status": status, "message": "",
            "runStart": stamp(self.start), "lastUpdated": stamp(now), "invokedBy": {"name": "daily", "invokedByType": "ScheduleTrigger"}})
    }
}

/// What becomes of one call of the playbook.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Fate {
    pub(in super::super) answer: Answered,
    pub(in super::super) heals: bool,
    pub(in super::super) takes: TimeDelta,
    pub(in super::super) told: Told,
    /// Azure Monitor reports the run if it fails.
    pub(in super::super) alerts: bool,
}

impl Default for Fate {
    fn default() -> Self {
        Self {
            answer: Answered::Accepted,
            heals: true,
            takes: TimeDelta::seconds(40),
            told: Told::Honestly,
            alerts: false,
        }
    }
}

#[derive(Debug, Clone)]
pub(in super::super) struct Run {
    pub(in super::super) id: String,
    pub(in super::super) attempt: String,
    pipeline: String,
    group: String,
    start: DateTime<Utc>,
    pub(in super::super) end: DateTime<Utc>,
    pub(in super::super) heals: bool,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Call {
    pub(in super::super) attempt: String,
    pub(in super::super) asset: String,
    pub(in super::super) at: DateTime<Utc>,
    /// Nobody can rule out that it started something.
    pub(in super::super) may_run: bool,
}

/// What comes from outside, later.
#[derive(Debug, Clone)]
pub(in super::super) enum Outside {
    Callback {
        ticket: String,
        attempt: String,
        body: String,
    },
    Alert(Failure),
}

#[derive(Debug)]
pub(in super::super) struct State {
    pub(in super::super) now: DateTime<Utc>,
    pub(in super::super) runs: Vec<Run>,
    pub(in super::super) calls: Vec<Call>,
    pub(in super::super) news: Vec<(DateTime<Utc>, Outside)>,
    /// Runs that the factory does not know.
    pub(in super::super) lost: BTreeSet<String>,
    /// The pipelines of the runs that failed, where the factory names them.
    originals: BTreeMap<String, String>,
    /// Runs that nobody here started, by id.
    pub(in super::super) newer: BTreeMap<String, Newer>,
    /// The next answers of the factory are these statuses.
    pub(in super::super) factory_faults: Vec<u16>,
    fates: Box<dyn Fates>,
}

/// Decides, by asset, attempt and how often its playbook was called before.
pub(in super::super) trait Fates: Send + std::fmt::Debug {
    fn fate(&mut self, asset: &str, attempt: u64, call: usize) -> Fate;
}

/// These, one after the other; then the best.
#[derive(Debug)]
pub(in super::super) struct Script(pub(in super::super) Vec<Fate>);

impl Fates for Script {
    fn fate(&mut self, _asset: &str, _attempt: u64, _call: usize) -> Fate {
        if self.0.is_empty() {
            Fate::default()
        } else {
            self.0.remove(0)
        }
    }
}

#[derive(Debug)]
pub(in super::super) struct Vendors(Mutex<State>);

impl Vendors {
    pub(in super::super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_default()
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

impl State {
    fn called(&mut self, body: &Value) -> Answer {
        let (now, attempt, asset) = (
            self.now,
            text(body, "attempt_id").to_owned(),
            text(body, "pipeline_name").to_owned(),
        );
        let before = self
            .calls
            .iter()
            .filter(|call| call.attempt == attempt)
            .count();
        let fate = self
            .fates
            .fate(&asset, body["attempt_number"].as_u64().unwrap(), before);
        let (may_run, starts, status) = match fate.answer {
            Answered::Accepted => (true, true, 202),
            Answered::TimedOutAfterStart => (true, true, 504),
            Answered::TimedOutBeforeStart => (true, false, 504),
            Answered::Throttled => (false, false, 429),
            Answered::Refused => (false, false, 400),
        };
        self.calls.push(Call {
            attempt: attempt.clone(),
            asset: asset.clone(),
            at: now,
            may_run,
        });
        if starts {
            let id = format!("7e7e7e7e-0000-4000-8000-{:012x}", self.runs.len() + 1);
            let (start, end) = (
                now + TimeDelta::seconds(2),
                now + TimeDelta::seconds(2) + fate.takes,
            );
            let group = text(body, "original_run_id").to_owned();
            let run = Run {
                id,
                attempt,
                pipeline: asset,
                group,
                start,
                end,
                heals: fate.heals,
            };
            self.tell(&run, fate, body);
            self.runs.push(run);
        }
        Answer::empty(status)
    }

    fn tell(&mut self, run: &Run, fate: Fate, body: &Value) {
        let call = |status: &str, id: &str| {
            let mut said = json!({"ticket_id": body["ticket_id"], "original_run_id": body["original_run_id"],
                "remediation_run_id": id, "status": status, "pipeline_name": body["pipeline_name"]});
            if fate.told == Told::Contradictory {
                said["success"] = json!(status != "Succeeded");
            }
            Outside::Callback {
                ticket: text(body, "ticket_id").to_owned(),
                attempt: text(body, "attempt_id").to_owned(),
                body: said.to_string(),
            }
        };
        let status = if run.heals { "Succeeded" } else { "Failed" };
        let original = text(body, "original_run_id");
        let end = run.end + TimeDelta::seconds(5);
        let told = match fate.told {
            Told::Nothing => Vec::new(),
            Told::Honestly => vec![
                (run.start, call("Running", &run.id)),
                (end, call(status, &run.id)),
            ],
            Told::TooEarly => vec![(run.start, call("succeeded", &run.id))],
            Told::Late => vec![(end + TimeDelta::minutes(25), call(status, &run.id))],
            Told::Twice => vec![
                (end, call(status, &run.id)),
                (end + TimeDelta::seconds(3), call(status, &run.id)),
            ],
            Told::Contradictory => vec![(end, call(status, &run.id))],
            Told::WithoutRun => vec![(
                end,
                call(status, "@{body('Create_Pipeline_Run')?['runId']}"),
            )],
            Told::FalselyWithoutRun => vec![(run.start, call("Succeeded", "null"))],
            Told::FalselyUnknownRun => vec![(
                run.start,
                call("Succeeded", "7e7e7e7e-0000-4000-8000-ffffffffffff"),
            )],
            Told::FalselyOriginalRun => vec![(run.start, call("Succeeded", original))],
        };
        self.news.extend(told);
        if fate.alerts && !run.heals {
            let alert = failure(
                &run.pipeline,
                &run.id,
                "GatewayTimeout",
                "The gateway did not answer in time.",
            );
            self.news
                .push((run.end + TimeDelta::seconds(45), Outside::Alert(alert)));
        }
    }

    fn run_json(&self, run: &Run) -> Value {
        let status = match (self.now >= run.end, run.heals) {
            (false, _) => "InProgress",
            (true, true) => "Succeeded",
            (true, false) => "Failed",
        };
        json!({"runId": run.id, "runGroupId": run.group, "pipelineName": run.pipeline, "status": status, "message": "it failed",
            "runStart": stamp(run.start), "lastUpdated": stamp(self.now), "invokedBy": {"name": "Manual", "invokedByType": "Manual"}})
    }

    fn factory(&mut self, request: &Request) -> Answer {
        if let Some(status) = self.factory_faults.pop() {
            return Answer::empty(status);
        }
        let segments = request.segments();
        match segments
            .iter()
            .skip(8)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["pipelineruns", id] if self.lost.contains(*id) => {
                Answer::json(404, &json!({"error": {"code": "PipelineRunNotFound"}}))
            }
            ["pipelineruns", id] if self.newer.contains_key(*id) => {
                Answer::json(200, &self.newer[*id].json(id, self.now))
            }
            ["pipelineruns", id] if self.originals.contains_key(*id) => Answer::json(
                200,
                &json!({"runId": id, "runGroupId": id, "status": "Failed", "pipelineName": self.originals[*id],
                    "runStart": stamp(noon() - TimeDelta::minutes(1)), "runEnd": stamp(noon() - TimeDelta::seconds(20))}),
            ),
            ["pipelineruns", id] => match self
                .runs
                .iter()
                .find(|run| run.id == *id && run.start <= self.now)
            {
                Some(run) => Answer::json(200, &self.run_json(run)),
                None if id.starts_with("7e7e") => {
                    Answer::json(404, &json!({"error": {"code": "PipelineRunNotFound"}}))
                }
                None => Answer::json(
                    200,
                    &json!({"runId": id, "runGroupId": id, "status": "Failed"}),
                ),
            },
            ["queryPipelineRuns"] => {
                let wanted = request.json()["filters"][0]["values"][0].clone();
                let runs = self.runs.iter().filter(|run| {
                    run.pipeline == wanted.as_str().unwrap() && run.start <= self.now
                });
                let newer = self.newer.iter().filter(|(_, run)| {
                    run.pipeline == wanted.as_str().unwrap() && run.start <= self.now
                });
                let all = runs
                    .map(|run| self.run_json(run))
                    .chain(newer.map(|(id, run)| run.json(id, self.now)));
                Answer::json(200, &json!({"value": all.collect::<Vec<_>>()}))
            }
            _ => Answer::json(200, &json!({"value": []})),
        }
    }
}

impl Site for Vendors {
    fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state();
        if request.path == "/playbook" {
            state.called(&request.json())
        } else {
            state.factory(request)
        }
    }
}

pub(in super::super) fn failure(asset: &str, run: &str, code: &str, message: &str) -> Failure {
    Failure {
        error_code: Some(code.to_owned()),
        message: message.to_owned(),
        ..build::failure(asset, run)
    }
}

pub(in super::super) struct Rig<A> {
    pub(in super::super) simulation: Simulation<A>,
    pub(in super::super) vendors: Arc<Vendors>,
    pub(in super::super) server: Server,
}

impl<A> Rig<A> {
    /// Assets named `ask…` are asked about, `never…` are left alone.
    pub(in super::super) async fn build(
        seed: u64,
        vendor: bool,
        fates: impl Fates + 'static,
    ) -> Self {
        let state = State {
            now: noon(),
            runs: Vec::new(),
            calls: Vec::new(),
            news: Vec::new(),
            lost: BTreeSet::new(),
            originals: BTreeMap::new(),
            newer: BTreeMap::new(),
            factory_faults: Vec::new(),
            fates: Box::new(fates),
        };
        let vendors = Arc::new(Vendors(Mutex::new(state)));
        let server = serve(0, Arc::clone(&vendors)).await.unwrap();
        let url = server.url();
        let simulation = Simulation::build(seed, |store| {
            let factory = DataFactorySettings {
                subscription: "s".to_owned(),
                resource_group: "g".to_owned(),
                factory: "f".to_owned(),
                base_url: url.parse().unwrap(),
            };
            let http = support::http();
            let collector = Collector {
                data_factory: vendor
                    .then(|| {
                        DataFactory::new(
                            factory,
                            http.clone(),
                            Key::Token("token".to_owned().into()),
                        )
                    })
                    .into_iter()
                    .collect(),
                ..Collector::default()
            };
            let playbook = PlaybookSettings {
                urls: BTreeMap::from([(
                    Action::RetryPipeline,
                    SecretUrl::parse(&format!("{url}playbook")).unwrap(),
                )]),
                callback_base: "https://rca.example.com".parse().unwrap(),
                signing_key: "a key of some length".to_owned().into(),
            };
            let remediation = RemediationSettings {
                enabled: true,
                playbooks: [Action::RetryPipeline].into(),
                assets: ["ask*=ask", "never*=never"]
                    .iter()
                    .map(|line| AssetPolicy::parse(line, &[]).unwrap())
                    .collect(),
                max_running: 1000,
                approval_ttl: TimeDelta::minutes(12),
                callback_deadline: TimeDelta::minutes(10),
                ..RemediationSettings::default()
            };
            let mut flow = build::flow(store);
            flow.collector = collector;
            flow.sinks.playbook = Some(Playbooks::new(playbook, http));
            flow.remediation = remediation;
            flow
        })
        .await;
        Self {
            simulation,
            vendors,
            server,
        }
    }

    /// The factory knows this failed run's pipeline and times, a minute before noon.
    pub(in super::super) fn know(&self, run: &str, pipeline: &str) {
        let mut state = self.vendors.state();
        state.originals.insert(run.to_owned(), pipeline.to_owned());
    }

    /// A run that nobody here starts; gives its id.
    pub(in super::super) fn newer(&self, run: Newer) -> String {
        let mut state = self.vendors.state();
        let id = format!("9e9e9e9e-0000-4000-8000-{:012x}", state.newer.len());
        state.newer.insert(id.clone(), run);
        id
    }

    /// Brings the vendors to the simulation's time.
    pub(in super::super) fn tick(&self) {
        self.vendors.state().now = self.simulation.now;
    }

    pub(in super::super) async fn accept(&self, failure: Failure) -> TicketId {
        let accepted = self
            .simulation
            .flow
            .accept(Parsed::Failures(vec![failure]), self.simulation.now)
            .await
            .unwrap();
        accepted.ticket_id.unwrap()
    }

    /// Gives a callback to the flow as the door does, once its token was verified.
    pub(in super::super) async fn call_back(
        flow: &Flow,
        ticket: &str,
        attempt: &str,
        body: &str,
        now: DateTime<Utc>,
    ) -> Result<String, aiops_rca::ticket::store::UpdateError> {
        let callback = callback::parse(body.as_bytes()).unwrap();
        flow.callback(&TicketId::parse(ticket).unwrap(), attempt, &callback, now)
            .await
    }

    pub(in super::super) async fn ticket(&self, id: &TicketId) -> Ticket {
        self.simulation.flow.store.load(id).await.unwrap().unwrap()
    }
}

impl Rig<Outside> {
    /// Goes on for so long: messages, a sweep a minute, what comes from outside.
    pub(in super::super) async fn pass(&mut self, time: TimeDelta) {
        let until = self.simulation.now + time;
        let first = self.simulation.now + TimeDelta::minutes(1);
        self.simulation.plan(first, Task::Sweep);
        self.simulation.plan(until, Task::Sweep);
        while let Some(task) = self.simulation.next() {
            self.tick();
            match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => drop(self.simulation.handle(queue, text, dequeues).await),
                Task::Sweep if self.simulation.now >= until => break,
                Task::Sweep => self.simulation.sweep(TimeDelta::minutes(1)).await,
                Task::Act(Outside::Callback {
                    ticket,
                    attempt,
                    body,
                }) => {
                    let (pipeline, now) = (&self.simulation.flow, self.simulation.now);
                    let _late_or_not =
                        Self::call_back(pipeline, &ticket, &attempt, &body, now).await;
                }
                Task::Act(Outside::Alert(failure)) => drop(self.accept(failure).await),
            }
            let news = std::mem::take(&mut self.vendors.state().news);
            for (at, outside) in news {
                self.simulation.plan(at, Task::Act(outside));
            }
        }
        self.simulation.forget_sweeps();
    }

    /// A gateway timeout on this asset, and what follows within this time.
    pub(in super::super) async fn story(&mut self, asset: &str, time: TimeDelta) -> TicketId {
        let run = format!("00000000-0000-4000-8000-{:012x}", fastrand::u32(..));
        let id = self
            .accept(failure(
                asset,
                &run,
                "GatewayTimeout",
                "The gateway did not answer in time.",
            ))
            .await;
        self.pass(time).await;
        id
    }
}
