//! Incidents, seeded: reports in any order and more than once, kills, lost answers, two instances. At the end each incident
//! has one issue and one message, counts every failure of it, and nobody's decision was undone.
//!
//! `AIOPS_RCA_STORMS` sets how many stories (8 by default), `AIOPS_RCA_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aiops_rca::failure::{AssetKind, Failure, RunKey, Source, field};
use aiops_rca::flow::Flow;
use aiops_rca::incident::FoldSettings;
use aiops_rca::sinks::jira::{Jira, ticket_status};
use aiops_rca::sinks::slack::{Slack, SlackSettings};
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, Channel, FoldReason, Sink, Status, Ticket, TicketId};
use chrono::TimeDelta;
use simulators::jira::{Issue, JiraSimulator, Person};
use simulators::slack::{SlackOptions, SlackSimulator};
use simulators::{Clock, Fault};

use super::simulation::{Simulation, Task};
use crate::support::{self, build};

#[derive(Debug, Clone)]
enum Act {
    Report(Box<Failure>),
    Break(Fault),
    Other,
}

struct Town {
    seed: u64,
    simulation: Simulation<Act>,
    jira: JiraSimulator,
    slack: SlackSimulator,
    clock: Clock,
    /// What another process remembers.
    other: Flow,
}

/// A task of Airflow that failed.
fn task(dag: &str, run: &str, message: &str) -> Failure {
    let (asset, deployment) = (format!("{dag}.load"), "airflow.example.com");
    let mut failure = Failure {
        source: Source::Airflow,
        key: RunKey::new(Source::Airflow, &asset, run, "", deployment),
        kind: AssetKind::Task,
        message: message.to_owned(),
        ..build::failure(&asset, run)
    };
    for (name, value) in [
        (field::DAG_ID, dag),
        (field::TASK_ID, "load"),
        (field::DEPLOYMENT, deployment),
    ] {
        failure.context.insert(name.to_owned(), value.to_owned());
    }
    failure
}

fn pipeline(asset: &str, run: &str, message: &str) -> Failure {
    Failure {
        key: RunKey::new(Source::Adf, "", run, "", ""),
        message: message.to_owned(),
        ..build::failure(asset, run)
    }
}

fn job(asset: &str, run: &str, message: &str) -> Failure {
    Failure {
        source: Source::Databricks,
        key: RunKey::new(Source::Databricks, "", run, "", ""),
        kind: AssetKind::Job,
        message: message.to_owned(),
        ..build::failure(asset, run)
    }
}

fn refused(host: u32) -> String {
    format!(
        "psycopg2.OperationalError: could not connect to server: Connection refused. Is the server running on host \"db-{host}.example.com\" and accepting TCP/IP connections on port 5432?"
    )
}

impl Town {
    async fn build(seed: u64, fold: FoldSettings) -> Self {
        let simulation = Simulation::build(seed, |storage| Flow {
            fold,
            ..build::flow(storage)
        })
        .await;
        let jira = JiraSimulator::start(0, simulators::jira::Config::default())
            .await
            .unwrap();
        let clock = Clock::default();
        let options = SlackOptions {
            clock: clock.clone(),
            ..SlackOptions::default()
        };
        let slack = SlackSimulator::start_with(0, options).await.unwrap();
        let other = simulation.flow.clone();
        let mut town = Self {
            seed,
            simulation,
            jira,
            slack,
            clock,
            other,
        };
        town.restart();
        town.swap();
        town.restart();
        town.simulation
            .plan(town.simulation.now + TimeDelta::minutes(1), Task::Sweep);
        town
    }

    /// A new process: what was only remembered is gone.
    fn restart(&mut self) {
        let workspace = SlackOptions::default();
        let settings = support::jira_settings(&self.jira);
        let sinks = &mut self.simulation.flow.sinks;
        sinks.jira = Some(Jira::new(settings, support::http()));
        let settings = SlackSettings {
            bot_token: workspace.token.into(),
            channel: "C01234567AB".to_owned(),
            digest_channel: None,
            signing_secret: None,
            approvers: Vec::new(),
            api_base: self.slack.api_base().parse().unwrap(),
            dashboard_base: None,
            issue_base: None,
        };
        sinks.slack = Some(Slack::new(settings, support::http()));
    }

    /// The other instance goes on.
    fn swap(&mut self) {
        std::mem::swap(&mut self.simulation.flow, &mut self.other);
    }

    fn report(&mut self, failure: &Failure, within: i64) {
        let after = TimeDelta::milliseconds(self.simulation.dice.i64(0..=within * 1000));
        self.simulation
            .plan_act(after, Act::Report(Box::new(failure.clone())));
    }

    /// One task of one DAG fails so often, each time of the same cause; everything is shown.
    async fn fails_night_after_night(&mut self, nights: u32) {
        for night in 0..nights {
            let run = format!("night_{night}");
            self.report(&task("etl", &run, "KeyError: 'region'"), 30);
        }
        self.play(TimeDelta::minutes(5)).await;
    }

    /// Plays for so long, and then until nothing is left to do.
    async fn play(&mut self, time: TimeDelta) {
        let end = self.simulation.now + time;
        while let Some(task) = self.simulation.next() {
            let now = self.simulation.now;
            self.clock.set(now);
            self.jira.clock().set(now);
            if self.simulation.dice.u32(0..8) == 0 {
                self.swap();
            }
            let killed = match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => self.simulation.handle(queue, text, dequeues).await,
                Task::Sweep => {
                    self.simulation.sweep(TimeDelta::minutes(1)).await;
                    if now > end && self.simulation.is_idle() {
                        break;
                    }
                    assert!(
                        now < end + TimeDelta::hours(2),
                        "seed {}: no rest",
                        self.seed
                    );
                    false
                }
                Task::Act(act) => self.act(act).await,
            };
            if killed {
                tokio::time::sleep(Duration::from_millis(15)).await;
                self.restart();
            }
        }
        // The clock goes on from here.
        self.simulation.forget_sweeps();
        self.simulation
            .plan(self.simulation.now + TimeDelta::minutes(1), Task::Sweep);
    }

    async fn act(&mut self, act: Act) -> bool {
        let (flow, now, kills) = (
            self.simulation.flow.clone(),
            self.simulation.now,
            self.simulation.kills,
        );
        match act {
            Act::Break(fault) => {
                self.jira.faults().next(fault.clone());
                self.slack.faults().next(fault);
                false
            }
            Act::Other => {
                self.swap();
                false
            }
            Act::Report(failure) => {
                let work = flow.accept(Parsed::Failures(vec![(*failure).clone()]), now);
                let done = Simulation::<Act>::survive(kills, &mut self.simulation.dice, work).await;
                if !matches!(done, Some(Ok(_))) {
                    let wait = TimeDelta::milliseconds(self.simulation.dice.i64(2_000..60_000));
                    self.simulation.plan_act(wait, Act::Report(failure));
                }
                done.is_none()
            }
        }
    }

    fn trouble(&mut self, times: u32, within: i64) {
        for _ in 0..times {
            let dice = &mut self.simulation.dice;
            let fault = match dice.u32(0..4) {
                0 => Fault::status(503),
                1 => Fault::DropBefore,
                _ => Fault::AcceptThenDrop,
            };
            let after = TimeDelta::seconds(dice.i64(0..within));
            self.simulation.plan_act(after, Act::Break(fault));
        }
        self.simulation.plan_act(TimeDelta::seconds(30), Act::Other);
    }

    async fn tickets(&self) -> Vec<Ticket> {
        let store = &self.simulation.flow.store;
        store.recent(self.simulation.now, 9, 5000).await.unwrap()
    }

    async fn ticket(&self, id: &TicketId) -> Ticket {
        self.simulation.flow.store.load(id).await.unwrap().unwrap()
    }

    async fn leaders(&self) -> Vec<Ticket> {
        let mut tickets = self.tickets().await;
        tickets.retain(|ticket| !ticket.is_follower());
        tickets
    }

    fn heads(&self) -> usize {
        let messages = self.slack.messages();
        messages
            .iter()
            .filter(|message| message.thread_ts.is_none())
            .count()
    }

    /// The laws that hold at the end of every story; the tickets by their leaders.
    async fn judge(&self, failures: usize) -> BTreeMap<TicketId, BTreeSet<TicketId>> {
        let seed = self.seed;
        let tickets = self.tickets().await;
        assert_eq!(tickets.len(), failures, "seed {seed}: nothing is lost");
        let mut incidents = BTreeMap::<TicketId, BTreeSet<TicketId>>::new();
        for ticket in &tickets {
            incidents
                .entry(ticket.leader().clone())
                .or_default()
                .insert(ticket.id.clone());
        }
        let by_id: BTreeMap<&TicketId, &Ticket> =
            tickets.iter().map(|ticket| (&ticket.id, ticket)).collect();
        for (leader, all) in &incidents {
            let leader = by_id[leader];
            assert!(!leader.is_follower(), "seed {seed}: {} follows", leader.id);
            let counted = leader
                .incident
                .as_ref()
                .map_or(1, |incident| incident.tickets);
            assert_eq!(
                counted as usize,
                all.len(),
                "seed {seed}: {:?}",
                leader.incident
            );
            let told = leader.incident.as_ref().map_or(1, |incident| incident.told);
            assert!(
                leader.is_closed() || told as usize == all.len(),
                "seed {seed}: told {told}"
            );
            assert!(
                leader.jira.key.is_some() && leader.slack.ts.is_some(),
                "seed {seed}: {leader:#?}"
            );
            for sink in [Sink::Jira, Sink::Slack] {
                assert!(!leader.lags(sink), "seed {seed}: {} lags", sink.name());
            }
        }
        for ticket in tickets.iter().filter(|ticket| ticket.is_follower()) {
            assert!(ticket.is_reported(), "seed {seed}: {ticket:#?}");
        }
        incidents
    }

    fn open_issues(&self) -> Vec<Issue> {
        let mut issues = self.jira.issues();
        issues.retain(|issue| ticket_status(&issue.status, None) != Some(Status::Acknowledged));
        issues
    }

    async fn by_person(&mut self, id: &TicketId, to: Status) {
        let event = Event::StatusChanged {
            to,
            by: Actor {
                channel: Channel::Dashboard,
                name: "Jane Roe".to_owned(),
            },
            at: self.simulation.now,
            jira_status: None,
        };
        let now = self.simulation.now;
        self.simulation.flow.apply(id, &event, now).await.unwrap();
    }
}

/// Failures of `causes` causes over `assets` assets, each reported `times` times.
async fn storm(seed: u64, failures: usize, assets: usize, causes: u32, times: u32) -> Town {
    let mut town = Town::build(seed, FoldSettings::default()).await;
    town.simulation.kills = town.simulation.dice.u32(0..10);
    for number in 0..failures {
        let asset = number % assets;
        let cause = u32::try_from(asset).unwrap() % causes;
        let failure = task(
            &format!("dag_{asset}"),
            &format!("run_{number}"),
            &refused(cause),
        );
        for _ in 0..times {
            town.report(&failure, 240);
        }
    }
    town.trouble(6, 300);
    town.play(TimeDelta::minutes(12)).await;
    town
}

#[tokio::test]
async fn a_storm_is_at_most_three_incidents_a_cause() {
    let (first, stories) = (
        support::number("AIOPS_RCA_SEED", 1),
        support::number("AIOPS_RCA_STORMS", 8),
    );
    for seed in first..first + stories {
        let town = storm(seed, 48, 12, 3, 2).await;
        let incidents = town.judge(48).await;
        assert!(
            incidents.len() <= 9,
            "seed {seed}: {} incidents",
            incidents.len()
        );
        assert_eq!(town.jira.issues().len(), incidents.len(), "seed {seed}");
        assert_eq!(town.heads(), incidents.len(), "seed {seed}");
    }
}

/// The whole storm takes minutes: `AIOPS_RCA_STORM=1000` plays it, without it a slice does.
#[tokio::test]
async fn a_large_storm_is_told_within_ten_minutes() {
    let seed = support::number("AIOPS_RCA_SEED", 11);
    let failures = usize::try_from(support::number("AIOPS_RCA_STORM", 60)).unwrap();
    let whole = failures >= 1000;
    let (assets, causes) = if whole { (40, 12) } else { (12, 3) };
    let mut town = Town::build(seed, FoldSettings::default()).await;
    let begin = town.simulation.now;
    for number in 0..failures {
        let asset = number % assets;
        let cause = u32::try_from(asset).unwrap() % causes;
        let dag = format!("dag_{asset}");
        let failure = task(&dag, &format!("run_{number}"), &refused(cause));
        for _ in 0..5 {
            town.report(&failure, 60);
        }
    }
    town.play(TimeDelta::minutes(6)).await;
    let incidents = town.judge(failures).await;
    let told: Vec<_> = town.leaders().await;
    let last = told
        .iter()
        .filter_map(|ticket| ticket.incident.as_ref()?.told_at)
        .max();
    println!(
        "{failures} failures, {} reports: {} issues, {} messages, the last told after {} s",
        failures * 5,
        town.jira.issues().len(),
        town.heads(),
        last.map_or(0, |at| (at - begin).num_seconds())
    );
    assert!(
        incidents.len() <= 3 * causes as usize,
        "{}",
        incidents.len()
    );
    assert_eq!(town.jira.issues().len(), incidents.len());
    assert_eq!(town.heads(), incidents.len());
    assert!(last.is_none_or(|at| at - begin <= TimeDelta::minutes(10)));
}

#[tokio::test]
async fn without_folding_each_run_has_its_issue() {
    let mut town = Town::build(3, FoldSettings::none()).await;
    for number in 0..6 {
        let failure = task("dag", &format!("run_{number}"), &refused(1));
        town.report(&failure, 20);
    }
    town.play(TimeDelta::minutes(5)).await;
    assert_eq!(town.judge(6).await.len(), 6);
    assert_eq!((town.jira.issues().len(), town.heads()), (6, 6));
}

#[tokio::test]
async fn a_cascade_is_one_incident_whatever_came_first() {
    for seed in 1..13 {
        let mut town = Town::build(seed, FoldSettings::default()).await;
        town.simulation.kills = town.simulation.dice.u32(0..10);
        let (guid, run) = ("2f7fdb90-5df1-4b8e-ac2f-00000000aaaa", "884000001");
        let mut top = task(
            "nightly",
            "scheduled__2026-07-27T02:00:00+00:00",
            &format!("airflow.exceptions.AirflowException: The pipeline run {guid} has Failed."),
        );
        top.context.insert(
            field::OPERATOR.to_owned(),
            "AzureDataFactoryRunPipelineOperator".to_owned(),
        );
        let middle = pipeline(
            "pl_load",
            guid,
            &format!(
                "Operation on target Notebook failed: Databricks execution failed with error state Terminated. For more details please check the run page url: https://adb-1.2.azuredatabricks.net/?o=1#job/22/run/{run}."
            ),
        );
        let deep = job(
            "nightly ETL",
            run,
            "org.apache.spark.sql.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `raw`.`trips` cannot be found.",
        );
        for layer in [&top, &middle, &deep] {
            town.report(layer, 60);
            town.report(layer, 60);
        }
        town.trouble(2, 90);
        town.play(TimeDelta::minutes(10)).await;
        let incidents = town.judge(3).await;
        assert_eq!(incidents.len(), 1, "seed {seed}: {incidents:?}");
        assert_eq!(town.open_issues().len(), 1, "seed {seed}");
        let leader = town.leaders().await.remove(0);
        let incident = leader.incident.clone().unwrap();
        assert_eq!(
            incident.path,
            ["nightly.load", "pl_load", "nightly ETL"],
            "seed {seed}"
        );
        let issue = town.open_issues().remove(0);
        assert!(
            issue.description_text().contains("trips"),
            "seed {seed}: {}",
            issue.description_text()
        );
    }
}

#[tokio::test]
async fn nights_of_one_failure_are_one_incident_and_other_causes_are_not() {
    let mut town = Town::build(5, FoldSettings::default()).await;
    for night in 0..5 {
        let failure = task("etl", &format!("night_{night}"), "KeyError: 'region'");
        town.report(&failure, 30);
        let other = task(
            "etl",
            &format!("other_{night}"),
            "ModuleNotFoundError: No module named 'pandas'",
        );
        town.report(&other, 30);
        town.play(TimeDelta::hours(20)).await;
    }
    let incidents = town.judge(10).await;
    let sizes: Vec<usize> = incidents.values().map(BTreeSet::len).collect();
    assert_eq!(sizes, [5, 5]);
    assert_eq!((town.jira.issues().len(), town.heads()), (2, 2));
}

#[tokio::test]
async fn a_repeat_opens_a_closed_incident_again_unless_it_was_closed_for_good() {
    let mut town = Town::build(6, FoldSettings::default()).await;
    town.report(&task("etl", "night_0", "KeyError: 'region'"), 5);
    town.play(TimeDelta::minutes(5)).await;
    let leader = town.leaders().await.remove(0);
    let key = leader.jira.key.clone().unwrap();
    town.by_person(&leader.id, Status::Acknowledged).await;
    town.play(TimeDelta::hours(3)).await;
    assert_eq!(town.jira.issue(&key).unwrap().status, "Done");
    town.report(&task("etl", "night_1", "KeyError: 'region'"), 5);
    town.play(TimeDelta::minutes(5)).await;
    let reopened = town.ticket(&leader.id).await;
    assert!(!reopened.is_closed(), "{reopened:#?}");
    assert_ne!(town.jira.issue(&key).unwrap().status, "Done");
    assert_eq!((town.jira.issues().len(), town.heads()), (1, 1));

    town.by_person(&leader.id, Status::Acknowledged).await;
    town.play(TimeDelta::hours(30)).await;
    town.report(&task("etl", "night_2", "KeyError: 'region'"), 5);
    town.play(TimeDelta::minutes(5)).await;
    assert_eq!(town.jira.issues().len(), 2, "too long ago");
    let newest = town.leaders().await.remove(0);
    let past = newest.past.clone().unwrap();
    assert_eq!(past.outcomes[0].by, "Jane Roe");
    assert!(past.times >= 2, "{past:?}");
    let key = newest.jira.key.unwrap();
    let text = town.jira.issue(&key).unwrap().description_text();
    assert!(
        text.contains("time in 7 days; last closed by Jane Roe after"),
        "{text}"
    );
}

#[tokio::test]
async fn closing_an_incident_closes_its_tickets() {
    let mut town = Town::build(7, FoldSettings::default()).await;
    town.fails_night_after_night(3).await;
    let leader = town.leaders().await.remove(0);
    let key = leader.jira.key.clone().unwrap();
    let body = town.jira.moves(&key, "Done", &Person::named("John Doe"));
    assert!(body);
    // No webhook is configured here: the sweep finds it.
    town.play(TimeDelta::minutes(15)).await;
    for ticket in town.tickets().await {
        assert!(ticket.is_closed(), "{ticket:#?}");
        assert_eq!(ticket.status_by.name, "John Doe");
    }
    assert_eq!(town.jira.issue(&key).unwrap().status, "Done");
}

#[tokio::test]
async fn a_person_acts_on_the_incident_from_any_of_its_tickets() {
    let mut town = Town::build(8, FoldSettings::default()).await;
    town.fails_night_after_night(3).await;
    let follower = town
        .tickets()
        .await
        .into_iter()
        .find(Ticket::is_follower)
        .unwrap();
    assert_eq!(follower.joined.as_ref().unwrap().reason, FoldReason::Repeat);
    town.by_person(&follower.id, Status::InProgress).await;
    town.play(TimeDelta::minutes(5)).await;
    for ticket in town.tickets().await {
        assert_eq!(ticket.status, Status::InProgress);
    }
    town.by_person(&follower.id, Status::Acknowledged).await;
    town.play(TimeDelta::minutes(5)).await;
    for ticket in town.tickets().await {
        assert!(ticket.is_closed());
    }
    assert_eq!(town.jira.issues()[0].status, "Done");
}

#[tokio::test]
async fn a_follower_leads_when_the_issue_is_deleted() {
    let mut town = Town::build(9, FoldSettings::default()).await;
    town.fails_night_after_night(4).await;
    let leader = town.leaders().await.remove(0);
    let key = leader.jira.key.clone().unwrap();
    assert!(town.jira.deletes(&key, &Person::named("John Doe")));
    let event = Event::IssueDeleted {
        by: Actor {
            channel: Channel::Jira,
            name: "John Doe".to_owned(),
        },
    };
    let now = town.simulation.now;
    town.simulation
        .flow
        .apply(&leader.id, &event, now)
        .await
        .unwrap();
    town.play(TimeDelta::minutes(5)).await;
    let leaders = town.leaders().await;
    assert_eq!(leaders.len(), 2, "{leaders:#?}");
    let heir = leaders
        .iter()
        .find(|ticket| ticket.id != leader.id)
        .unwrap();
    assert_eq!(heir.incident.as_ref().unwrap().tickets, 3);
    assert_eq!(town.jira.issues().len(), 1);
    town.report(&task("etl", "night_9", "KeyError: 'region'"), 5);
    town.play(TimeDelta::minutes(5)).await;
    assert_eq!(town.ticket(&heir.id).await.incident.unwrap().tickets, 4);
    assert_eq!(town.jira.issues().len(), 1);
}
