//! A ticket, its record, a clock and a JIRA: the flow in small.

use crate::support::build;

use aiops_rca::diagnosis::{Action, Diagnosis, Quote};
use aiops_rca::failure::Failure;
use aiops_rca::fault::Fault;
use aiops_rca::http::Http;
use aiops_rca::sinks::Step;
use aiops_rca::sinks::jira::{Jira, JiraSettings};
use aiops_rca::ticket::{Actor, Channel, Chapter, ChapterKind, JiraRecord, Status, Ticket};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use simulators::jira::{Config, Issue, JiraSimulator};

pub(crate) fn noon() -> DateTime<Utc> {
    "2025-12-12T10:00:00Z".parse().unwrap()
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/fixtures/jira/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

pub(crate) fn fixture_json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).unwrap()
}

fn failure() -> Failure {
    Failure {
        run_url: Some("https://adf.azure.com/monitoring/pipelineruns/run-id-12345".to_owned()),
        error_code: Some("UserErrorSourceBlobNotExist".to_owned()),
        message: "The required Blob is missing. ContainerName: sales, path: in/2025-12-12.csv"
            .to_owned(),
        occurred_at: Some(noon()),
        source_severity: Some(3),
        ..build::failure("pipeline-name", "run-id-12345")
    }
}

fn diagnosis() -> Diagnosis {
    Diagnosis {
        category: aiops_rca::diagnosis::Category::MissingData,
        error_type: "UserErrorSourceBlobNotExists".to_owned(),
        transient: false,
        remediable: false,
        action: Action::CheckUpstream,
        root_cause: "The source file in/2025-12-12.csv is not in the container sales.".to_owned(),
        recommendations: [
            "Step 1: Check source data availability",
            "Step 2: Verify connection string",
            "Step 3: Review pipeline configuration",
        ]
        .map(str::to_owned)
        .to_vec(),
        evidence: vec![Quote {
            quote: "The required Blob is missing.".to_owned(),
            source: "message".to_owned(),
            title: None,
        }],
        rule: "adf.source_blob_missing".to_owned(),
        ..build::diagnosis()
    }
}

pub(crate) fn ticket() -> Ticket {
    let mut ticket = build::ticket(failure(), diagnosis(), noon(), 0x00ab_c123);
    ticket.remediation.action = Action::None;
    ticket.remediation.decision = String::new();
    ticket
}

pub(crate) fn actor(channel: Channel, name: &str) -> Actor {
    Actor {
        channel,
        name: name.to_owned(),
    }
}

pub(crate) fn chapter(number: u32, kind: ChapterKind, text: &str) -> Chapter {
    Chapter {
        number,
        at: noon() + TimeDelta::minutes(i64::from(number)),
        kind,
        text: text.to_owned(),
        from: None,
    }
}

/// The next status, by somebody, at a time.
pub(crate) fn set_status(ticket: &mut Ticket, status: Status, by: Channel, at: DateTime<Utc>) {
    ticket.status = status;
    ticket.status_version += 1;
    ticket.status_at = at;
    ticket.status_by = actor(by, "Somebody");
    ticket.version += 1;
}

pub(crate) fn sink(simulator: &JiraSimulator) -> Jira {
    sink_with(simulator, &Http::new(None).unwrap())
}

pub(crate) fn sink_with(simulator: &JiraSimulator, http: &Http) -> Jira {
    let dashboard_base = Some("https://your-rca-server.com".parse().unwrap());
    let settings = JiraSettings {
        dashboard_base,
        ..crate::support::jira_settings(simulator)
    };
    Jira::new(settings, http.clone())
}

/// Calls that change something in JIRA.
pub(crate) fn writes(simulator: &JiraSimulator) -> usize {
    let changing = |method: &str, path: &str| method != "GET" && !path.ends_with("/search/jql");
    simulator
        .requests()
        .iter()
        .filter(|request| changing(&request.method, &request.path))
        .count()
}

/// How often a ticket may be stepped before something is wrong.
const MOST_STEPS: usize = 80;

pub(crate) struct Rig {
    pub(crate) simulator: JiraSimulator,
    pub(crate) jira: Jira,
    pub(crate) ticket: Ticket,
    pub(crate) now: DateTime<Utc>,
    pub(crate) waited: Vec<String>,
    pub(crate) faults: Vec<Fault>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let simulator = JiraSimulator::start(0, config).await.unwrap();
        let jira = sink(&simulator);
        simulator.clock().set(noon());
        Self {
            simulator,
            jira,
            ticket: ticket(),
            now: noon(),
            waited: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// A new process: what was only remembered is gone.
    pub(crate) fn restart(&mut self) {
        self.jira = sink(&self.simulator);
    }

    pub(crate) fn pass(&mut self, time: TimeDelta) {
        self.now += time;
        self.simulator.clock().set(self.now);
    }

    /// One step without storing what came of it; no step writes more than once.
    pub(crate) async fn step(&mut self) -> Result<Step<JiraRecord>, Fault> {
        let before = writes(&self.simulator);
        let outcome = self.jira.step(&self.ticket, self.now).await;
        assert!(
            writes(&self.simulator) <= before + 1,
            "a step made two writing calls"
        );
        outcome
    }

    /// Stores what came of a step, through JSON as the real store does. `true` when nothing is left to do.
    pub(crate) fn settle(
        &mut self,
        outcome: Result<Step<JiraRecord>, Fault>,
    ) -> Result<bool, Fault> {
        match outcome {
            Ok(Step::UpToDate) => return Ok(true),
            Ok(Step::Recorded(record)) => {
                assert_ne!(
                    record, self.ticket.jira,
                    "a step recorded what was recorded already"
                );
                self.ticket.jira =
                    serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
                self.pass(TimeDelta::milliseconds(10));
            }
            Ok(Step::Wait(time, why)) => {
                self.waited.push(why);
                self.pass(TimeDelta::from_std(time).unwrap());
            }
            Err(Fault::Transient {
                reason,
                retry_after,
            }) => {
                self.pass(retry_after.map_or(TimeDelta::seconds(2), |wait| {
                    TimeDelta::from_std(wait).unwrap()
                }));
                self.faults.push(Fault::Transient {
                    reason,
                    retry_after,
                });
            }
            Err(permanent) => return Err(permanent),
        }
        Ok(false)
    }

    /// Steps until nothing is left to do, as the flow does; a permanent fault ends it.
    pub(crate) async fn run(&mut self) -> Result<(), Fault> {
        for _ in 0..MOST_STEPS {
            let outcome = self.step().await;
            if self.settle(outcome)? {
                return Ok(());
            }
        }
        panic!("no end after {MOST_STEPS} steps: {:?}", self.ticket.jira);
    }

    /// The one issue there must be.
    pub(crate) fn only_issue(&self) -> Issue {
        let issues = self.simulator.issues();
        assert_eq!(issues.len(), 1, "there must be exactly one issue");
        issues.into_iter().next().unwrap()
    }

    pub(crate) fn status(&self) -> String {
        self.only_issue().status
    }

    pub(crate) fn key(&self) -> String {
        self.ticket.jira.key.clone().unwrap()
    }
}
