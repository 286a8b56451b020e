//! A ticket to tell about and its story.

use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Action, Category, Diagnosis};
use aiops_rca::failure::Failure;
use aiops_rca::fault::Fault;
use aiops_rca::http::Http;
use aiops_rca::sinks::Step;
use aiops_rca::sinks::teams::{Teams, TeamsSettings, WorkflowBody, WorkflowSettings, WorkflowUrl};
use aiops_rca::ticket::machine::{Decision, Event, Plan, apply};
use aiops_rca::ticket::{Actor, Channel, JiraRecord, Record, Status, TeamsRecord, Ticket};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use simulators::Clock;
use simulators::teams::workflow::{WorkflowOptions, WorkflowSimulator};

use crate::support::build;

pub(crate) fn at(clock: &str) -> DateTime<Utc> {
    format!("2026-11-30T{clock}Z").parse().unwrap()
}

/// The integration guide's own example.
pub(crate) fn ticket() -> Ticket {
    named("pipeline-name")
}

pub(crate) fn named(asset: &str) -> Ticket {
    named_at(asset, at("10:00:00"))
}

pub(crate) fn named_at(asset: &str, opened: DateTime<Utc>) -> Ticket {
    let failure = Failure {
        error_code: Some("2200".into()),
        message: "The required Blob is missing.".into(),
        run_url: Some(
            "https://adf.azure.com/monitoring/pipelineruns/run-id-12345?factory=a".into(),
        ),
        ..build::failure(asset, "run-id-12345")
    };
    let diagnosis = Diagnosis {
        category: Category::MissingData,
        error_type: "UserErrorSourceBlobNotExists".into(),
        root_cause: "The pipeline failed because the source blob file was not found...".into(),
        recommendations: [
            "Check upstream data availability",
            "Verify file path configuration",
        ]
        .map(str::to_owned)
        .into(),
        ..build::diagnosis()
    };
    let mut ticket = build::ticket(failure, diagnosis, opened, 0x00ab_c123);
    let record = JiraRecord {
        key: Some("APAIOPS-123".into()),
        ..ticket.jira.clone()
    };
    let issue = Event::Recorded(Record::Jira(record));
    happen(&mut ticket, &issue, opened + TimeDelta::seconds(5));
    ticket
}

pub(crate) fn happen(ticket: &mut Ticket, event: &Event, now: DateTime<Utc>) {
    *ticket = apply(ticket, event, now).unwrap().ticket;
}

pub(crate) fn status(ticket: &mut Ticket, to: Status, when: &str) {
    status_by(ticket, Channel::Dashboard, to, when);
}

pub(crate) fn status_by(ticket: &mut Ticket, channel: Channel, to: Status, when: &str) {
    let by = Actor {
        channel,
        name: "Jane Roe".to_owned(),
    };
    let event = Event::StatusChanged {
        to,
        by,
        at: at(when),
        jira_status: None,
    };
    happen(ticket, &event, at(when));
}

pub(crate) fn ask(ticket: &mut Ticket) {
    let decision = Decision::Ask {
        plan: Plan {
            action: Action::RetryPipeline,
            risk: aiops_rca::diagnosis::Risk::Low,
            max_attempts: 3,
            node_type: None,
        },
        text: "Run pipeline-name again from the failed activity, attempt 1 of 3.".into(),
        hash: "9f2b66aa01".into(),
        why: "the diagnosis is not certain enough to act alone".into(),
        expires_at: at("11:00:00"),
    };
    happen(ticket, &Event::Decided(decision), at("10:00:10"));
}

pub(crate) fn record(ticket: &Ticket) -> &TeamsRecord {
    ticket.teams.as_ref().unwrap()
}

/// All runs of a card, in order.
pub(crate) fn runs(card: &Value) -> Vec<&Value> {
    fn collect<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(fields) => {
                if fields.get("type").is_some_and(|kind| kind == "TextRun") {
                    found.push(value);
                }
                for inner in ["body", "items", "inlines"] {
                    if let Some(inner) = fields.get(inner) {
                        collect(inner, found);
                    }
                }
            }
            Value::Array(inner) => inner.iter().for_each(|inner| collect(inner, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(card, &mut found);
    found
}

/// Their texts.
pub(crate) fn texts(card: &Value) -> Vec<String> {
    let text = |run: &Value| run["text"].as_str().unwrap().to_owned();
    runs(card).into_iter().map(text).collect()
}

/// Buttons by their titles, with where they lead.
pub(crate) fn buttons(card: &Value) -> BTreeMap<String, String> {
    let actions = card["actions"].as_array().cloned().unwrap_or_default();
    let title = |action: &Value| action["title"].as_str().unwrap().to_owned();
    let leads = |action: &Value| action["url"].as_str().unwrap_or_default().to_owned();
    let named = actions.iter().map(|action| (title(action), leads(action)));
    named.collect()
}

/// A workflow, our sink for it, and the time.
pub(crate) struct Rig {
    pub(crate) workflow: WorkflowSimulator,
    pub(crate) now: DateTime<Utc>,
    clock: Clock,
    pub(crate) body: WorkflowBody,
}

impl Rig {
    pub(crate) async fn set(options: WorkflowOptions) -> Self {
        let clock = options.clock.clone();
        let now = at("10:00:10");
        clock.set(now);
        let workflow = WorkflowSimulator::start(0, options).await.unwrap();
        Self {
            workflow,
            now,
            clock,
            body: WorkflowBody::Message,
        }
    }

    /// A fresh process.
    pub(crate) fn sink(&self) -> Teams {
        let settings = WorkflowSettings {
            url: WorkflowUrl::parse(&self.workflow.url()).unwrap(),
            body: self.body,
            dashboard_base: Some("https://your-rca-server.com".parse().unwrap()),
            issue_base: Some("https://your-company.atlassian.net/".parse().unwrap()),
        };
        let http = Http::with_timeout(None, std::time::Duration::from_millis(400)).unwrap();
        Teams::new(TeamsSettings::Workflow(settings), http, None)
    }

    pub(crate) fn pass(&mut self, time: TimeDelta) {
        self.now += time;
        self.clock.set(self.now);
    }

    /// One step, stored as the flow stores it: through JSON. `true`: it is up to date.
    pub(crate) async fn step(&mut self, sink: &Teams, ticket: &mut Ticket) -> Result<bool, Fault> {
        match sink.step(ticket, self.now).await? {
            Step::UpToDate => return Ok(true),
            Step::Recorded(record) => {
                let stored = serde_json::to_string(&record).unwrap();
                let record = Record::Teams(serde_json::from_str(&stored).unwrap());
                happen(ticket, &Event::Recorded(record), self.now);
            }
            Step::Wait(time, _) => self.pass(TimeDelta::from_std(time).unwrap()),
        }
        Ok(false)
    }

    /// Steps until the sink shows the ticket; transient faults are waited for. The permanent fault, if there was one.
    pub(crate) async fn settle(&mut self, sink: &Teams, ticket: &mut Ticket) -> Option<Fault> {
        for _ in 0..200 {
            match self.step(sink, ticket).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(Fault::Transient { retry_after, .. }) => {
                    let wait = retry_after.map(|time| TimeDelta::from_std(time).unwrap());
                    self.pass(wait.unwrap_or(TimeDelta::seconds(20)));
                }
                Err(fault) => return Some(fault),
            }
        }
        panic!("the sink never comes to rest");
    }

    pub(crate) fn cards(&self) -> Vec<Value> {
        (self.workflow.cards().into_iter())
            .map(|posted| posted.card)
            .collect()
    }
}
