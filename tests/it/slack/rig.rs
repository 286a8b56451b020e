//! A ticket to tell about, a workspace to tell it to, and the flow's loop.

use crate::support::build;

use aiops_rca::diagnosis::{Action, Category, Diagnosis, Risk};
use aiops_rca::failure::Failure;
use aiops_rca::fault::Fault;
use aiops_rca::http::Http;
use aiops_rca::sinks::Step;
use aiops_rca::sinks::slack::{Slack, SlackSettings};
use aiops_rca::ticket::machine::{Called, Decision, Event, Plan, Report, apply};
use aiops_rca::ticket::{Actor, Channel, JiraRecord, Record, Status, Ticket};
use chrono::{DateTime, TimeDelta, Utc};
use simulators::Clock;
use simulators::slack::{SlackOptions, SlackSimulator};

pub(crate) fn at(clock: &str) -> DateTime<Utc> {
    format!("2025-12-12T{clock}Z").parse().unwrap()
}

/// The integration guide's own example.
pub(crate) fn ticket() -> Ticket {
    numbered(0x00ab_c123)
}

pub(crate) fn numbered(suffix: u32) -> Ticket {
    let failure = Failure {
        error_code: Some("2200".into()),
        message: "The required Blob is missing.".into(),
        source_severity: Some(3),
        ..build::failure("pipeline-name", "run-id-12345")
    };
    let diagnosis = Diagnosis {
        category: Category::MissingData,
        error_type: "UserErrorSourceBlobNotExists".into(),
        transient: false,
        remediable: false,
        root_cause: "The pipeline failed because the source blob file was not found...".into(),
        recommendations: [
            "Check upstream data availability",
            "Verify file path configuration",
            "Review pipeline schedule",
        ]
        .map(str::to_owned)
        .into(),
        rule: "adf/blob-missing".into(),
        ..build::diagnosis()
    };
    build::ticket(failure, diagnosis, at("10:00:00"), suffix)
}

pub(crate) fn person(name: &str, channel: Channel) -> Actor {
    Actor {
        channel,
        name: name.into(),
    }
}

/// Applies an event that must be possible.
pub(crate) fn happen(ticket: &mut Ticket, event: &Event, now: DateTime<Utc>) {
    *ticket = apply(ticket, event, now).unwrap().ticket;
}

pub(crate) fn issue(ticket: &mut Ticket) {
    let record = JiraRecord {
        key: Some("APAIOPS-123".into()),
        ..ticket.jira.clone()
    };
    happen(
        ticket,
        &Event::Recorded(Record::Jira(record)),
        at("10:00:05"),
    );
}

pub(crate) fn status(ticket: &mut Ticket, to: Status, by: Actor, when: DateTime<Utc>) {
    happen(
        ticket,
        &Event::StatusChanged {
            to,
            by,
            at: when,
            jira_status: None,
        },
        when,
    );
}

pub(crate) fn ask(ticket: &mut Ticket) {
    let decision = Decision::Ask {
        plan: Plan {
            action: Action::RetryPipeline,
            risk: Risk::Low,
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

pub(crate) fn answer(ticket: &mut Ticket, approved: bool) {
    let approval = ticket.remediation.approval.clone().unwrap();
    let event = Event::ApprovalAnswered {
        approval: approval.id,
        plan: approval.plan,
        approved,
        by: person("John Doe", Channel::Slack),
    };
    happen(ticket, &event, at("10:05:00"));
}

/// Approved, called, failed; tried again, healed.
pub(crate) fn healing(ticket: &mut Ticket) {
    ask(ticket);
    answer(ticket, true);
    attempt(
        ticket,
        "10:06:00",
        &Report::Failed("the source blob is still missing".into()),
    );
    let again = Decision::Run {
        plan: Plan {
            action: Action::RetryPipeline,
            risk: Risk::Low,
            max_attempts: 3,
            node_type: None,
        },
        due_at: at("10:08:00"),
        why: "attempt 1 failed".into(),
    };
    happen(ticket, &Event::Decided(again), at("10:07:00"));
    attempt(ticket, "10:08:00", &Report::Succeeded);
}

pub(crate) fn attempt(ticket: &mut Ticket, when: &str, report: &Report) {
    let attempt = ticket.current_attempt().unwrap().id.clone();
    let deadline = at("12:00:00");
    happen(
        ticket,
        &Event::AttemptCalling {
            attempt: attempt.clone(),
            deadline,
        },
        at(when),
    );
    happen(
        ticket,
        &Event::AttemptCalled {
            attempt: attempt.clone(),
            outcome: Called::Accepted,
        },
        at(when),
    );
    let reported = Event::AttemptReported {
        attempt,
        report: report.clone(),
        run_id: Some("run-2".into()),
    };
    happen(ticket, &reported, at(when) + TimeDelta::seconds(30));
}

/// A workspace, our sink for it, and the time.
pub(crate) struct Rig {
    pub(crate) slack: SlackSimulator,
    pub(crate) clock: Clock,
    pub(crate) now: DateTime<Utc>,
    pub(crate) channel: String,
    http: Http,
    steps: u32,
}

impl Rig {
    pub(crate) async fn set(options: SlackOptions) -> Self {
        let clock = options.clock.clone();
        let now = at("10:00:02");
        clock.set(now);
        let slack = SlackSimulator::start_with(0, options).await.unwrap();
        let http = Http::with_timeout(None, std::time::Duration::from_secs(2)).unwrap();
        Self {
            slack,
            clock,
            now,
            channel: "C01234567AB".into(),
            http,
            steps: 0,
        }
    }

    pub(crate) fn settings(&self) -> SlackSettings {
        SlackSettings {
            bot_token: "xoxb-simulated-token".to_owned().into(),
            channel: self.channel.clone(),
            digest_channel: None,
            signing_secret: Some("simulated-signing-secret".to_owned().into()),
            approvers: vec!["U0JOHNDOE".into()],
            api_base: self.slack.api_base().parse().unwrap(),
            dashboard_base: Some("https://your-rca-server.com".parse().unwrap()),
            issue_base: Some("https://your-company.atlassian.net/".parse().unwrap()),
        }
    }

    /// A fresh process.
    pub(crate) fn sink(&self) -> Slack {
        Slack::new(self.settings(), self.http.clone())
    }

    /// A process that gives up before Slack answers.
    pub(crate) fn impatient_sink(&self) -> Slack {
        Slack::new(
            self.settings(),
            Http::with_timeout(None, std::time::Duration::from_millis(50)).unwrap(),
        )
    }

    pub(crate) fn pass(&mut self, time: TimeDelta) {
        self.now += time;
        self.clock.set(self.now);
    }

    /// One step, stored as the flow stores it: through JSON.
    pub(crate) async fn step(&mut self, sink: &Slack, ticket: &mut Ticket) -> Result<bool, Fault> {
        self.steps += 1;
        assert!(self.steps < 1000, "the sink never comes to rest");
        match sink.step(ticket, self.now).await? {
            Step::UpToDate => return Ok(true),
            Step::Recorded(record) => {
                let stored = serde_json::to_string(&record).unwrap();
                happen(
                    ticket,
                    &Event::Recorded(Record::Slack(serde_json::from_str(&stored).unwrap())),
                    self.now,
                );
            }
            Step::Wait(time, _) => self.pass(TimeDelta::from_std(time).unwrap()),
        }
        Ok(false)
    }

    /// Steps until the sink shows the ticket; transient faults are waited for. The permanent fault, if there was one.
    pub(crate) async fn settle(&mut self, sink: &Slack, ticket: &mut Ticket) -> Option<Fault> {
        for _ in 0..200 {
            match self.step(sink, ticket).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(Fault::Transient { retry_after, .. }) => {
                    self.pass(retry_after.map_or(TimeDelta::seconds(1), |time| {
                        TimeDelta::from_std(time).unwrap()
                    }));
                }
                Err(fault) => return Some(fault),
            }
        }
        panic!("the sink never comes to rest");
    }

    /// The texts of the thread's entries.
    pub(crate) fn told(&self, ticket: &Ticket) -> Vec<String> {
        let thread = self.slack.thread(ticket.slack.ts.as_deref().unwrap());
        thread.into_iter().map(|entry| entry.text).collect()
    }
}

pub(crate) fn fixture(name: &str) -> serde_json::Value {
    let path = format!(
        "{}/tests/fixtures/slack/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
