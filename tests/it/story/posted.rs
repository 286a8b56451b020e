//! Teams by a workflow's URL through an outage of an hour, lost answers and restarts, by two instances: no ticket has more than
//! four cards, none is lost, a card is doubled only where its answer was lost, and the flow never drops one for its rate.
//!
//! `AIOPS_RCA_POSTED` sets how many days (2 by default), `AIOPS_RCA_SEED` the first seed.

use std::collections::BTreeMap;
use std::time::Duration;

use aiops_rca::http::Http;
use aiops_rca::sinks::teams::{
    CARDS, Teams, TeamsSettings, WorkflowBody, WorkflowSettings, WorkflowUrl,
};
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, Channel, Sink, Status, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use simulators::teams::workflow::{WorkflowOptions, WorkflowSimulator};
use simulators::{Clock, Fault};

use super::healing::rig::failure;
use super::simulation::{Simulation, Task};
use crate::support::build;

const FAILURES: u32 = 30;
const PATIENCE: Duration = Duration::from_millis(120);

#[derive(Debug, Clone)]
enum Act {
    Report(u32),
    Status(u32, Status),
    Begins(Fault),
    Ends,
    Fails(Fault),
    Restart,
}

struct Day {
    seed: u64,
    simulation: Simulation<Act>,
    workflow: WorkflowSimulator,
    clock: Clock,
    ids: BTreeMap<u32, TicketId>,
    instances: [Teams; 2],
    lost_answers: usize,
}

fn refusing(code: u16) -> Fault {
    Fault::Status {
        code,
        headers: vec![("Content-Type".to_owned(), "text/html".to_owned())],
        body: "<html><body>Down for maintenance</body></html>".to_owned(),
    }
}

fn instance(workflow: &WorkflowSimulator) -> Teams {
    let settings = WorkflowSettings {
        url: WorkflowUrl::parse(&workflow.url()).unwrap(),
        body: WorkflowBody::Message,
        dashboard_base: None,
        issue_base: None,
    };
    let http = Http::with_timeout(None, PATIENCE).unwrap();
    Teams::new(TeamsSettings::Workflow(settings), http, None)
}

impl Day {
    async fn begin(seed: u64) -> Self {
        let clock = Clock::default();
        let options = WorkflowOptions {
            clock: clock.clone(),
            ..WorkflowOptions::default()
        };
        let workflow = WorkflowSimulator::start(0, options).await.unwrap();
        let instances = [instance(&workflow), instance(&workflow)];
        let mut day = Self {
            seed,
            simulation: Simulation::build(seed, build::flow).await,
            workflow,
            clock,
            ids: BTreeMap::new(),
            instances,
            lost_answers: 0,
        };
        day.simulation.flow.sinks.teams = Some(day.instances[0].clone());
        day.script();
        day
    }

    fn script(&mut self) {
        let simulation = &mut self.simulation;
        let mut dice = simulation.dice.fork();
        let seconds = |dice: &mut fastrand::Rng, most: i64| TimeDelta::seconds(dice.i64(0..most));
        for number in 0..FAILURES {
            // A third of them at once.
            let begin = if number % 3 == 0 { 60 } else { 7000 };
            let at = seconds(&mut dice, begin);
            simulation.plan_act(at, Act::Report(number));
            for _ in 0..dice.u32(0..6) {
                let to = *dice
                    .choice(&[Status::Open, Status::InProgress, Status::Acknowledged])
                    .unwrap();
                let later = at + seconds(&mut dice, 3 * 3600);
                simulation.plan_act(later, Act::Status(number, to));
            }
        }
        let begins = TimeDelta::seconds(dice.i64(0..3600));
        let kinds = [
            refusing(503),
            refusing(200),
            Fault::DropBefore,
            Fault::Delay(PATIENCE * 3),
            Fault::status(429),
            Fault::status(404),
        ];
        let fault = dice.choice(&kinds).unwrap().clone();
        simulation.plan_act(begins, Act::Begins(fault));
        simulation.plan_act(begins + TimeDelta::hours(1), Act::Ends);
        for _ in 0..dice.u32(1..6) {
            let fault = match dice.u32(0..3) {
                0 => Fault::status(500),
                1 => Fault::AcceptThenDrop,
                _ => Fault::status(429),
            };
            simulation.plan_act(seconds(&mut dice, 3 * 3600), Act::Fails(fault));
        }
        for _ in 0..3 {
            simulation.plan_act(seconds(&mut dice, 4 * 3600), Act::Restart);
        }
        simulation.plan(simulation.now + TimeDelta::minutes(1), Task::Sweep);
    }

    async fn pass(&mut self) {
        let begin = self.simulation.now;
        while let Some(task) = self.simulation.next() {
            let now = self.simulation.now;
            self.clock.set(now);
            // Whichever process takes the message.
            let instance = usize::from(self.simulation.dice.bool());
            self.simulation.flow.sinks.teams = Some(self.instances[instance].clone());
            match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => {
                    self.simulation.handle(queue, text, dequeues).await;
                }
                Task::Sweep => {
                    self.simulation.sweep(TimeDelta::minutes(1)).await;
                    let late = now - begin;
                    assert!(late < TimeDelta::hours(12), "seed {}", self.seed);
                    if late > TimeDelta::hours(5) && self.simulation.is_idle() {
                        break;
                    }
                }
                Task::Act(act) => self.act(act, now).await,
            }
        }
    }

    async fn act(&mut self, act: Act, now: DateTime<Utc>) {
        match act {
            Act::Report(number) => {
                let run = format!("00000000-0000-4000-8000-{number:012x}");
                let text =
                    "ErrorCode=UserErrorSourceBlobNotExist,'Message=The required Blob is missing.'";
                let failure = failure(&format!("pl_{number}"), &run, "2200", text);
                let flow = self.simulation.flow.clone();
                let accepted = flow.accept(Parsed::Failures(vec![failure]), now).await;
                let id = accepted.unwrap().ticket_id.unwrap();
                self.ids.insert(number, id);
            }
            Act::Status(number, to) => {
                let Some(id) = self.ids.get(&number).cloned() else {
                    return;
                };
                let event = Event::StatusChanged {
                    to,
                    by: Actor {
                        channel: Channel::Dashboard,
                        name: "Jane Roe".to_owned(),
                    },
                    at: now,
                    jira_status: None,
                };
                let _refused_or_not = self.simulation.flow.apply(&id, &event, now).await;
            }
            Act::Begins(fault) => self.workflow.faults().stands(Some(fault)),
            Act::Ends => self.workflow.faults().stands(None),
            Act::Fails(fault) => {
                self.lost_answers += usize::from(fault == Fault::AcceptThenDrop);
                self.workflow.faults().next_on("POST", "invoke", fault);
            }
            Act::Restart => {
                let which = usize::from(self.simulation.dice.bool());
                self.instances[which] = instance(&self.workflow);
            }
        }
    }

    /// Cards by ticket and number.
    fn cards(&self) -> BTreeMap<(String, String), Vec<Value>> {
        let mut cards: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for posted in self.workflow.cards() {
            let about = posted.card.pointer("/body/0/items/1/inlines/0/text");
            let about = about.unwrap().as_str().unwrap().to_owned();
            let (ticket, rest) = about.split_once(" · ").unwrap();
            let ticket = ticket.rsplit(' ').next().unwrap().to_owned();
            let update = rest.split(" · ").next().unwrap();
            let update = if update.starts_with("update") {
                update
            } else {
                ""
            };
            let of = (ticket, update.to_owned());
            cards.entry(of).or_default().push(posted.card);
        }
        cards
    }

    async fn judge(&self) {
        let seed = self.seed;
        let dropped = self.workflow.failed_runs();
        assert_eq!(dropped, Vec::<String>::new(), "seed {seed}");
        let cards = self.cards();
        let doubled = cards.values().map(|cards| cards.len() - 1).sum::<usize>();
        assert!(doubled <= self.lost_answers, "seed {seed}: {doubled}");
        assert!(cards.values().all(|cards| cards.len() <= 2), "seed {seed}");
        for id in self.ids.values() {
            let ticket = self.simulation.flow.store.load(id).await.unwrap().unwrap();
            let mine = cards.keys().filter(|(of, _)| of == id.as_str()).count();
            let record = ticket.teams.clone().unwrap();
            let what = format!(
                "seed {seed}: {mine} cards of {id}, {:?}, {record:#?}",
                ticket.status
            );
            assert!((1..=CARDS as usize).contains(&mine), "{what}");
            assert_eq!(record.cards as usize, mine, "{what}");
            assert_eq!(record.fault, None, "{what}");
            assert!(!ticket.lags(Sink::Teams), "{what}");
            let latest = (self.workflow.cards().into_iter().rev())
                .find(|posted| posted.card.to_string().contains(id.as_str()));
            let title = latest
                .unwrap()
                .card
                .pointer("/body/0/items/0/inlines/0/text")
                .cloned();
            let closed = title.unwrap().as_str().unwrap().starts_with('✅');
            assert!(
                mine == CARDS as usize || closed == ticket.is_closed(),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn four_cards_at_most_and_none_lost_after_an_hours_outage() {
    let first = crate::support::number("AIOPS_RCA_SEED", 1);
    for seed in first..first + crate::support::number("AIOPS_RCA_POSTED", 2) {
        let mut day = Day::begin(seed).await;
        day.pass().await;
        day.judge().await;
    }
}

/// Without JIRA nothing is waited for: neither for an issue that nobody makes, nor for the sweep.
#[tokio::test]
async fn without_jira_the_first_card_comes_at_once() {
    let mut day = Day::begin(1).await;
    while day.simulation.next().is_some() {}
    let begin = day.simulation.now;
    day.clock.set(begin);
    day.act(Act::Report(77), begin).await;
    while day.workflow.cards().is_empty() {
        let Some(Task::Message { queue, text, .. }) = day.simulation.next() else {
            panic!("nothing is under way");
        };
        day.simulation.handle(queue, text, 0).await;
    }
    assert!(day.simulation.now - begin < TimeDelta::seconds(5));
}
