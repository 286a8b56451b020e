//! JIRA, Slack and Teams (by bot) that hang, refuse, redirect or answer with a web page, for seconds, minutes or a night, at random, with
//! kills: every ticket is shown in the end, nothing twice, and meanwhile API and `replay` say the truth.
//!
//! `AIOPS_RCA_OUTAGES` sets how many nights (6 by default), `AIOPS_RCA_SEED` the first seed.

use crate::support::build;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aiops_rca::dashboard;
use aiops_rca::failure::Source;
use aiops_rca::http::Http;
use aiops_rca::sinks::jira::Jira;
use aiops_rca::sinks::slack::{Slack, SlackSettings};
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::{Sink, Ticket, TicketId};
use chrono::TimeDelta;
use futures::StreamExt;
use serde_json::Value;
use simulators::jira::{self, JiraSimulator};
use simulators::slack::{SlackOptions, SlackSimulator};
use simulators::teams::bot::{BotMessage, BotOptions, BotSimulator};
use simulators::{Clock, Fault, Server};

use super::healing::rig::failure;
use super::simulation::{Simulation, Task};

const FAILURES: u32 = 12;
/// A vendor that hangs costs this much, not the ten seconds of production.
const PATIENCE: Duration = Duration::from_millis(120);

#[derive(Debug, Clone)]
enum Act {
    Report(u32),
    Begins(Sink, Fault),
    Ends(Sink),
    Restart,
    Look,
}

struct Night {
    seed: u64,
    simulation: Simulation<Act>,
    jira: JiraSimulator,
    slack: SlackSimulator,
    team: BotSimulator,
    identity: Server,
    clock: Clock,
    accepted: BTreeSet<TicketId>,
    /// How often a sink was seen as blocked.
    blocked: u32,
}

fn page() -> Fault {
    Fault::Status {
        code: 200,
        headers: vec![("Content-Type".to_owned(), "text/html".to_owned())],
        body: "<html><body>Down for maintenance</body></html>".to_owned(),
    }
}

fn moved() -> Fault {
    Fault::Status {
        code: 302,
        headers: vec![(
            "Location".to_owned(),
            "https://maintenance.example.com/".to_owned(),
        )],
        body: String::new(),
    }
}

/// Slack refuses in the body of a 200.
fn refusal(sink: Sink, dice: &mut fastrand::Rng) -> Fault {
    if sink == Sink::Jira {
        return Fault::status(*dice.choice(&[401, 403, 404]).unwrap());
    }
    if sink == Sink::Teams {
        return Fault::status(*dice.choice(&[401, 403]).unwrap());
    }
    let error = dice
        .choice(&["invalid_auth", "token_revoked", "channel_not_found"])
        .unwrap();
    Fault::Status {
        code: 200,
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: format!("{{\"ok\":false,\"error\":\"{error}\"}}"),
    }
}

impl Night {
    async fn begin(seed: u64) -> Self {
        let jira = JiraSimulator::start(0, jira::Config::default())
            .await
            .unwrap();
        let clock = Clock::default();
        let options = SlackOptions {
            clock: clock.clone(),
            ..SlackOptions::default()
        };
        let slack = SlackSimulator::start_with(0, options).await.unwrap();
        let options = BotOptions {
            clock: clock.clone(),
            ..BotOptions::default()
        };
        let team = BotSimulator::start(0, options).await.unwrap();
        let identity = crate::support::teams::identity().await;
        let simulation = Simulation::build(seed, build::flow).await;
        let mut night = Self {
            seed,
            simulation,
            jira,
            slack,
            team,
            identity,
            clock,
            accepted: BTreeSet::new(),
            blocked: 0,
        };
        night.simulation.kills = night.simulation.dice.u32(0..6);
        night.restart();
        night.script();
        night
    }

    fn restart(&mut self) {
        let http = Http::with_timeout(None, PATIENCE).unwrap();
        let settings = crate::support::jira_settings(&self.jira);
        self.simulation.flow.sinks.jira = Some(Jira::new(settings, http.clone()));
        let settings = SlackSettings {
            bot_token: SlackOptions::default().token.into(),
            channel: "C01234567AB".to_owned(),
            digest_channel: None,
            signing_secret: None,
            approvers: Vec::new(),
            api_base: self.slack.api_base().parse().unwrap(),
            dashboard_base: None,
            issue_base: None,
        };
        self.simulation.flow.sinks.slack = Some(Slack::new(settings, http.clone()));
        let teams = crate::support::teams::sink(&self.team, &self.identity, http);
        self.simulation.flow.sinks.teams = Some(teams);
    }

    fn script(&mut self) {
        let mut dice = self.simulation.dice.fork();
        let seconds = |dice: &mut fastrand::Rng, most: i64| TimeDelta::seconds(dice.i64(0..most));
        for number in 0..FAILURES {
            let at = seconds(&mut dice, 2 * 3600);
            self.simulation.plan_act(at, Act::Report(number));
        }
        for sink in Sink::showing() {
            for _ in 0..dice.u32(1..4) {
                let begins = seconds(&mut dice, 2 * 3600);
                let lasts = *dice
                    .choice(&[
                        TimeDelta::seconds(12),
                        TimeDelta::minutes(12),
                        TimeDelta::hours(9),
                    ])
                    .unwrap();
                let fault = match dice.u32(0..4) {
                    0 => Fault::Delay(PATIENCE * 3),
                    1 => refusal(sink, &mut dice),
                    2 => moved(),
                    _ => page(),
                };
                self.simulation.plan_act(begins, Act::Begins(sink, fault));
                self.simulation.plan_act(begins + lasts, Act::Ends(sink));
            }
        }
        for _ in 0..dice.u32(0..3) {
            self.simulation
                .plan_act(seconds(&mut dice, 3 * 3600), Act::Restart);
        }
        for _ in 0..8 {
            self.simulation
                .plan_act(seconds(&mut dice, 12 * 3600), Act::Look);
        }
        self.simulation
            .plan(self.simulation.now + TimeDelta::minutes(1), Task::Sweep);
    }

    async fn pass(&mut self) {
        let begin = self.simulation.now;
        while let Some(task) = self.simulation.next() {
            let now = self.simulation.now;
            self.clock.set(now);
            self.jira.clock().set(now);
            let killed = match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => self.simulation.handle(queue, text, dequeues).await,
                Task::Sweep => {
                    let late = now - begin;
                    let every = if late > TimeDelta::hours(4) { 10 } else { 2 };
                    self.simulation.sweep(TimeDelta::minutes(every)).await;
                    if late > TimeDelta::hours(40)
                        || late > TimeDelta::hours(14) && self.simulation.is_idle()
                    {
                        break;
                    }
                    false
                }
                Task::Act(act) => self.act(act).await,
            };
            if killed {
                // What was under way arrives, or does not, before the next process is up.
                tokio::time::sleep(PATIENCE / 4).await;
                self.restart();
            }
        }
    }

    fn faults(&self, sink: Sink) -> &simulators::FaultScript {
        match sink {
            Sink::Jira => self.jira.faults(),
            Sink::Teams => self.team.faults(),
            Sink::Slack | Sink::Playbook => self.slack.faults(),
        }
    }

    /// `true` when the process died of it.
    async fn act(&mut self, act: Act) -> bool {
        match act {
            Act::Report(number) => {
                let failure = failure(
                    &format!("pl_{number}"),
                    &format!("00000000-0000-4000-8000-{number:012x}"),
                    "2200",
                    "ErrorCode=UserErrorSourceBlobNotExist,'Message=The required Blob is missing.'",
                );
                let flow = self.simulation.flow.clone();
                let accepted = flow
                    .accept(Parsed::Failures(vec![failure]), self.simulation.now)
                    .await;
                self.accepted.extend(accepted.unwrap().ticket_id);
            }
            Act::Begins(sink, fault) => self.faults(sink).stands(Some(fault)),
            Act::Ends(sink) => self.faults(sink).stands(None),
            Act::Restart => return true,
            Act::Look => self.look().await,
        }
        false
    }

    /// What nobody can see yet is not called delivered; what is blocked says why, and `replay` lists it.
    async fn look(&mut self) {
        let seed = self.seed;
        let stopped: BTreeSet<(TicketId, Sink)> = (self.simulation.flow.stopped().await.unwrap())
            .into_iter()
            .map(|(ticket, sink)| (ticket.id, sink))
            .collect();
        for ticket in self.tickets().await {
            let shown: Value = dashboard::details(&ticket, &[], &[]);
            let anywhere = [
                (Sink::Jira, self.issues(&ticket) > 0),
                (Sink::Slack, self.messages(&ticket) > 0),
                (Sink::Teams, self.cards(&ticket) > 0),
            ];
            for (sink, visible) in anywhere {
                let state = &shown["sinks"][sink.name()];
                let word = state["state"].as_str().unwrap();
                assert!(
                    visible || word != "up_to_date",
                    "seed {seed}: {sink:?} of {} is called up to date",
                    ticket.id
                );
                if word == "blocked" {
                    self.blocked += 1;
                    assert!(
                        !state["reason"].as_str().unwrap().is_empty(),
                        "seed {seed}: {state}"
                    );
                    assert!(
                        stopped.contains(&(ticket.id.clone(), sink)),
                        "seed {seed}: replay does not list {sink:?} of {}",
                        ticket.id
                    );
                }
            }
        }
    }

    /// Those of failures; the tool's own are told apart by their source.
    async fn tickets(&self) -> Vec<Ticket> {
        let store = &self.simulation.flow.store;
        let mut tickets = store.recent(self.simulation.now, 3, 1000).await.unwrap();
        tickets.retain(|ticket| ticket.failure.source != Source::System);
        tickets
    }

    fn issues(&self, ticket: &Ticket) -> usize {
        let label = format!("rca-{}", ticket.id);
        let issues = self.jira.issues();
        issues
            .iter()
            .filter(|issue| issue.labels.contains(&label))
            .count()
    }

    fn messages(&self, ticket: &Ticket) -> usize {
        let messages = self.slack.messages();
        messages
            .iter()
            .filter(|message| {
                Value::from(message.blocks.clone())
                    .to_string()
                    .contains(ticket.id.as_str())
            })
            .count()
    }

    fn cards(&self, ticket: &Ticket) -> usize {
        let messages = self.team.messages();
        let of = |message: &&BotMessage| message.card.to_string().contains(ticket.id.as_str());
        messages.iter().filter(of).count()
    }

    async fn judge(&self) {
        let seed = self.seed;
        let tickets = self.tickets().await;
        let ids: BTreeSet<TicketId> = tickets.iter().map(|ticket| ticket.id.clone()).collect();
        assert_eq!(ids, self.accepted, "seed {seed}");
        for ticket in &tickets {
            let found = BTreeMap::from([
                (Sink::Jira, self.issues(ticket)),
                (Sink::Slack, self.messages(ticket)),
                (Sink::Teams, self.cards(ticket)),
            ]);
            for (sink, times) in found {
                assert!(
                    times == 1 && !ticket.lags(sink),
                    "seed {seed}: {times} in {sink:?}: {ticket:#?}"
                );
            }
        }
        let open = self
            .simulation
            .flow
            .store
            .recent(self.simulation.now, 3, 1000)
            .await;
        let open: Vec<Ticket> = (open.unwrap().into_iter())
            .filter(|ticket| ticket.failure.source == Source::System && !ticket.is_closed())
            .collect();
        assert!(
            open.is_empty(),
            "seed {seed}: a notice outlived its outage: {open:#?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_given_up_whatever_the_outage() {
    let (first, nights) = (
        crate::support::number("AIOPS_RCA_SEED", 1),
        crate::support::number("AIOPS_RCA_OUTAGES", 6),
    );
    let passed = futures::stream::iter(first..first + nights).map(|seed| async move {
        let mut night = Night::begin(seed).await;
        night.pass().await;
        night.judge().await;
        night.blocked
    });
    let blocked = passed
        .buffer_unordered(3)
        .fold(0, |sum, blocked| async move { sum + blocked })
        .await;
    assert!(
        blocked > 0,
        "nothing was ever blocked: the nights are too quiet"
    );
}
