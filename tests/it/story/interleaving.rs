//! People in JIRA and on the dashboard, the machine, repeats, reorderings, lost answers, 429s and kills, at random:
//! at the end JIRA, Slack and the ticket agree, and nobody's decision was undone. The same over Teams, by bot.
//!
//! `AIOPS_RCA_INTERLEAVINGS` sets how many stories (240 by default), `AIOPS_RCA_SEED` the first seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::sinks::Sinks;
use aiops_rca::sinks::jira::{Jira, document, ticket_status, webhook};
use aiops_rca::sinks::slack::{Slack, SlackSettings, blocks};
use aiops_rca::sinks::teams::Teams;
use aiops_rca::sources::Parsed;
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::store::UpdateError;
use aiops_rca::ticket::{Actor, AttemptState, Channel, Sink, Status, Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use simulators::jira::{self, Issue, JiraSimulator, Person};
use simulators::slack::{SlackMessage, SlackOptions, SlackSimulator};
use simulators::teams::bot::{BotMessage, BotOptions, BotSimulator};
use simulators::{Answer, Clock, Fault, FaultScript, Request, Server, Site, serve};

use super::healing::rig::{Fate, Fates, Outside, Rig, failure};
use super::simulation::{Simulation, Task};
use crate::support;

const STORIES_A_TOWN: u32 = 10;
/// Acts of people come within this time.
const LIVELY: i64 = 20 * 60;

#[derive(Debug)]
struct Luck(fastrand::Rng);

impl Fates for Luck {
    fn fate(&mut self, _asset: &str, _attempt: u64, _call: usize) -> Fate {
        Fate {
            heals: self.0.u32(0..3) > 0,
            takes: TimeDelta::seconds(self.0.i64(5..300)),
            ..Fate::default()
        }
    }
}

/// Takes webhooks at once; the scenario decides when and how often they arrive.
struct Letterbox;

impl Site for Letterbox {
    fn answer(&self, _request: &Request) -> Answer {
        Answer::empty(200)
    }
}

#[derive(Debug, Clone)]
enum Act {
    Report(u32),
    Outside(Outside),
    Webhook(String),
    InJira(u32, &'static str),
    OnDashboard(u32, Status),
    JiraFails(Fault),
    ChatFails(Fault),
    Restart,
}

/// Where people read of a ticket, beside JIRA.
enum Chat {
    Slack(SlackSimulator),
    /// With the endpoint of the bot's identity, and two instances that share the work.
    Teams(Box<BotSimulator>, Server, Box<[Teams; 2]>),
}

impl Chat {
    async fn begin(teams: bool, clock: &Clock) -> Self {
        if teams {
            let options = BotOptions {
                clock: clock.clone(),
                limits: true,
                ..BotOptions::default()
            };
            let team = BotSimulator::start(0, options).await.unwrap();
            let endpoint = support::teams::identity().await;
            let instance = || support::teams::sink(&team, &endpoint, support::http());
            let instances = [instance(), instance()];
            return Self::Teams(Box::new(team), endpoint, Box::new(instances));
        }
        let options = SlackOptions {
            clock: clock.clone(),
            ..SlackOptions::default()
        };
        Self::Slack(SlackSimulator::start_with(0, options).await.unwrap())
    }

    fn faults(&self) -> &FaultScript {
        match self {
            Self::Slack(slack) => slack.faults(),
            Self::Teams(team, ..) => team.faults(),
        }
    }

    /// New processes: what was only remembered is gone.
    fn restart(&mut self) {
        if let Self::Teams(team, endpoint, instances) = self {
            let instance = || support::teams::sink(team, endpoint, support::http());
            **instances = [instance(), instance()];
        }
    }

    /// The sinks of the process that takes the next piece of work.
    fn furnish(&self, sinks: &mut Sinks, second: bool) {
        match self {
            Self::Slack(_) if sinks.slack.is_some() => {}
            Self::Slack(slack) => {
                let settings = SlackSettings {
                    bot_token: SlackOptions::default().token.into(),
                    channel: "C01234567AB".to_owned(),
                    digest_channel: None,
                    signing_secret: None,
                    approvers: Vec::new(),
                    api_base: slack.api_base().parse().unwrap(),
                    dashboard_base: None,
                    issue_base: None,
                };
                sinks.slack = Some(Slack::new(settings, support::http()));
            }
            Self::Teams(_, _, instances) => {
                sinks.teams = Some(instances[usize::from(second)].clone());
            }
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Slack(slack) => slack.messages().len(),
            Self::Teams(team, ..) => team.messages().len(),
        }
    }

    /// It shows the ticket as it is, once, with its whole story.
    fn assert_shows(&self, sinks: &Sinks, ticket: &Ticket, history: &dyn Fn() -> String) {
        let told = match self {
            Self::Slack(slack) => {
                let messages = slack.messages();
                let shown = |message: &&SlackMessage| Some(&message.ts) == ticket.slack.ts.as_ref();
                let message = messages.iter().find(shown).unwrap();
                let look = sinks.slack.as_ref().unwrap().settings().look();
                let expected = blocks::message(ticket, &look);
                assert_eq!(
                    message.blocks,
                    expected.blocks,
                    "Slack disagrees: {}",
                    history()
                );
                slack.thread(&message.ts).len()
            }
            Self::Teams(team, ..) => {
                let record = ticket.teams.as_ref().unwrap();
                let messages = team.messages();
                let shown = |message: &&BotMessage| Some(&message.id) == record.activity.as_ref();
                let message = messages.iter().find(shown).unwrap();
                let expected = support::teams::settings(team).card(ticket);
                assert_eq!(message.card, expected, "Teams disagrees: {}", history());
                team.thread(&message.id).len()
            }
        };
        assert_eq!(told, ticket.story.len(), "the thread: {}", history());
    }
}

struct Scenario {
    seed: u64,
    rig: Rig<Act>,
    jira: JiraSimulator,
    chat: Chat,
    clock: Clock,
    read: usize,
    ids: BTreeMap<u32, TicketId>,
    /// What people decided, by ticket and time.
    decisions: BTreeMap<TicketId, BTreeMap<DateTime<Utc>, Status>>,
    _letterbox: Server,
}

fn statuses(dice: &mut fastrand::Rng) -> (&'static str, Status) {
    *dice
        .choice(&[
            ("To Do", Status::Open),
            ("In Progress", Status::InProgress),
            ("Done", Status::Acknowledged),
        ])
        .unwrap()
}

fn trouble(dice: &mut fastrand::Rng) -> Fault {
    let after = |seconds: &str| vec![("Retry-After".to_owned(), seconds.to_owned())];
    match dice.u32(0..6) {
        0 => Fault::Status {
            code: 429,
            headers: after("3"),
            body: String::new(),
        },
        1 => Fault::Status {
            code: 503,
            headers: after("7"),
            body: String::new(),
        },
        2 => Fault::status(500),
        3 => Fault::DropBefore,
        _ => Fault::AcceptThenDrop,
    }
}

impl Scenario {
    async fn build(seed: u64, teams: bool) -> Self {
        let mut rig: Rig<Act> = Rig::build(seed, true, Luck(fastrand::Rng::with_seed(seed))).await;
        let letterbox = serve(0, Arc::new(Letterbox)).await.unwrap();
        let hook = jira::Hook {
            url: letterbox.url().parse().unwrap(),
            secret: None,
            retry_after: Duration::ZERO,
        };
        let jira = JiraSimulator::start(
            0,
            jira::Config {
                hook: Some(hook),
                ..jira::Config::default()
            },
        )
        .await
        .unwrap();
        let clock = Clock::default();
        let chat = Chat::begin(teams, &clock).await;
        rig.simulation.kills = rig.simulation.dice.u32(0..12);
        let mut scenario = Self {
            seed,
            rig,
            jira,
            chat,
            clock,
            read: 0,
            ids: BTreeMap::new(),
            decisions: BTreeMap::new(),
            _letterbox: letterbox,
        };
        scenario.restart();
        scenario.script();
        scenario
    }

    /// A new process: what was only remembered is gone.
    fn restart(&mut self) {
        let settings = crate::support::jira_settings(&self.jira);
        self.rig.simulation.flow.sinks.jira = Some(Jira::new(settings, crate::support::http()));
        self.chat.restart();
        self.rig.simulation.flow.sinks.slack = None;
        self.chat
            .furnish(&mut self.rig.simulation.flow.sinks, false);
    }

    fn script(&mut self) {
        let simulation = &mut self.rig.simulation;
        let mut dice = simulation.dice.fork();
        let within = |dice: &mut fastrand::Rng, from: i64| {
            TimeDelta::milliseconds(dice.i64(from * 1000..LIVELY * 1000))
        };
        for story in 0..STORIES_A_TOWN {
            let start = TimeDelta::seconds(dice.i64(0..200));
            for _ in 0..dice.u32(1..3) {
                simulation.plan_act(
                    start + TimeDelta::milliseconds(dice.i64(0..90_000)),
                    Act::Report(story),
                );
            }
            for _ in 0..dice.u32(0..4) {
                simulation.plan_act(
                    within(&mut dice, 30),
                    Act::InJira(story, statuses(&mut dice).0),
                );
            }
            for _ in 0..dice.u32(0..3) {
                simulation.plan_act(
                    within(&mut dice, 30),
                    Act::OnDashboard(story, statuses(&mut dice).1),
                );
            }
        }
        for _ in 0..dice.u32(0..12) {
            simulation.plan_act(within(&mut dice, 0), Act::JiraFails(trouble(&mut dice)));
            simulation.plan_act(within(&mut dice, 0), Act::ChatFails(trouble(&mut dice)));
        }
        for _ in 0..dice.u32(0..4) {
            simulation.plan_act(within(&mut dice, 0), Act::Restart);
        }
        simulation.plan(simulation.now + TimeDelta::minutes(1), Task::Sweep);
    }

    async fn play(&mut self) {
        let begin = self.rig.simulation.now;
        while let Some(task) = self.rig.simulation.next() {
            let now = self.rig.simulation.now;
            self.rig.tick();
            self.clock.set(now);
            self.jira.clock().set(now);
            // Whichever process takes it; no dice are thrown for that, so that each story is the same over Slack and Teams.
            let second = now.timestamp_subsec_micros() % 2 == 1;
            self.chat
                .furnish(&mut self.rig.simulation.flow.sinks, second);
            let killed = match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => self.rig.simulation.handle(queue, text, dequeues).await,
                Task::Sweep => {
                    self.rig.simulation.sweep(TimeDelta::minutes(2)).await;
                    let late = now - begin;
                    if late > TimeDelta::hours(3)
                        || late > TimeDelta::minutes(60) && self.rig.simulation.is_idle()
                    {
                        break;
                    }
                    false
                }
                Task::Act(act) => self.act(act).await,
            };
            if killed {
                // What was under way arrives, or does not, before the next process is up.
                tokio::time::sleep(Duration::from_millis(15)).await;
                self.restart();
            }
            self.post().await;
        }
    }

    /// Plans what the outside rig sent meanwhile: late, twice, out of order, or never.
    async fn post(&mut self) {
        let simulation = &mut self.rig.simulation;
        let letters = self.jira.deliveries().await;
        for letter in letters.iter().skip(self.read) {
            for _ in 0..*simulation
                .dice
                .choice(&[0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3])
                .unwrap()
            {
                let wait = TimeDelta::milliseconds(simulation.dice.i64(100..150_000));
                simulation.plan_act(wait, Act::Webhook(letter.body.clone()));
            }
        }
        self.read = letters.len();
        let news = std::mem::take(&mut self.rig.vendors.state().news);
        for (at, outside) in news {
            self.rig
                .simulation
                .plan(at, Task::Act(Act::Outside(outside)));
        }
    }

    /// `true` when the process died of it.
    async fn act(&mut self, act: Act) -> bool {
        let (pipeline, now, kills) = (
            self.rig.simulation.flow.clone(),
            self.rig.simulation.now,
            self.rig.simulation.kills,
        );
        let again = act.clone();
        let dice = &mut self.rig.simulation.dice;
        let outcome = match act {
            Act::JiraFails(fault) => {
                self.jira.faults().next(fault);
                return false;
            }
            Act::ChatFails(fault) => {
                self.chat.faults().next(fault);
                return false;
            }
            Act::Restart => return true,
            Act::Report(story) => {
                let asset = format!("pl_{story}");
                let (code, message) = if story % 2 == 0 {
                    ("GatewayTimeout", "The gateway did not answer in time.")
                } else {
                    (
                        "2200",
                        "ErrorCode=UserErrorSourceBlobNotExist,'Message=The required Blob is missing.'",
                    )
                };
                let failure = failure(
                    &asset,
                    &format!("00000000-0000-4000-8000-{story:012x}"),
                    code,
                    message,
                );
                let work = pipeline.accept(Parsed::Failures(vec![failure]), now);
                let accepted = Simulation::<Act>::survive(kills, dice, work).await;
                if let Some(Ok(accepted)) = &accepted {
                    self.ids.insert(story, accepted.ticket_id.clone().unwrap());
                }
                accepted.map(|accepted| accepted.is_ok())
            }
            Act::Outside(Outside::Callback {
                ticket,
                attempt,
                body,
            }) => {
                let work = Rig::<Act>::call_back(&pipeline, &ticket, &attempt, &body, now);
                let answered = Simulation::<Act>::survive(kills, dice, work).await;
                answered.map(|answered| {
                    matches!(
                        answered,
                        Ok(_) | Err(UpdateError::Refused(_) | UpdateError::Missing)
                    )
                })
            }
            Act::Outside(Outside::Alert(_)) => return false,
            Act::Webhook(body) => {
                let event = webhook::parse(body.as_bytes(), now).unwrap();
                let taken =
                    Simulation::<Act>::survive(kills, dice, pipeline.jira_event(event, now)).await;
                taken.map(|taken| taken.is_ok())
            }
            Act::InJira(story, status) => {
                self.move_in_jira(story, status, now);
                return false;
            }
            Act::OnDashboard(story, status) => {
                self.move_on_dashboard(story, status, now).await;
                return false;
            }
        };
        if outcome != Some(true) {
            let wait = TimeDelta::milliseconds(self.rig.simulation.dice.i64(2_000..60_000));
            self.rig.simulation.plan_act(wait, again);
        }
        outcome.is_none()
    }

    fn move_in_jira(&mut self, story: u32, status: &str, now: DateTime<Utc>) {
        let Some(id) = self.ids.get(&story) else {
            return;
        };
        let Some(issue) = self.issues().remove(id) else {
            return;
        };
        if self
            .jira
            .moves(&issue.key, status, &Person::named("John Doe"))
        {
            let status = ticket_status(status, None).unwrap();
            self.decisions
                .entry(id.clone())
                .or_default()
                .insert(now, status);
        }
    }

    async fn move_on_dashboard(&mut self, story: u32, to: Status, now: DateTime<Utc>) {
        let Some(id) = self.ids.get(&story).cloned() else {
            return;
        };
        let by = Actor {
            channel: Channel::Dashboard,
            name: "Jane Roe".to_owned(),
        };
        let event = Event::StatusChanged {
            to,
            by,
            at: now,
            jira_status: None,
        };
        if self
            .rig
            .simulation
            .flow
            .apply(&id, &event, now)
            .await
            .is_ok()
        {
            self.decisions.entry(id).or_default().insert(now, to);
        }
    }

    fn issues(&self) -> BTreeMap<TicketId, Issue> {
        let mut issues = BTreeMap::new();
        for issue in self.jira.issues() {
            let label = issue
                .labels
                .iter()
                .find_map(|label| TicketId::parse(label.strip_prefix("rca-")?));
            let twice = issues.insert(label.unwrap(), issue);
            assert!(
                twice.is_none(),
                "seed {}: two issues of one ticket: {twice:?}",
                self.seed
            );
        }
        issues
    }

    async fn judge(&self) {
        let seed = self.seed;
        let simulation = &self.rig.simulation;
        let tickets = simulation
            .flow
            .store
            .recent(simulation.now, 2, 1000)
            .await
            .unwrap();
        assert_eq!(tickets.len(), STORIES_A_TOWN as usize, "seed {seed}");
        let issues = self.issues();
        assert_eq!(
            (issues.len(), self.chat.count()),
            (tickets.len(), tickets.len()),
            "seed {seed}: one issue, one message each"
        );
        for ticket in &tickets {
            let issue = &issues[&ticket.id];
            let history = || {
                let moves: Vec<_> = issue
                    .history
                    .iter()
                    .map(|change| (change.at, &change.author.name, &change.items))
                    .collect();
                format!(
                    "seed {seed}, decisions {:?}, history {moves:#?}, {ticket:#?}",
                    self.decisions.get(&ticket.id)
                )
            };
            assert!(
                !Sink::showing().any(|sink| ticket.lags(sink)),
                "not shown: {}",
                history()
            );
            assert_eq!(
                Some(ticket.status),
                ticket_status(&issue.status, None),
                "JIRA disagrees: {}",
                history()
            );
            assert_eq!(ticket.jira.key.as_ref(), Some(&issue.key), "seed {seed}");
            self.chat
                .assert_shows(&simulation.flow.sinks, ticket, &history);
            for chapter in &ticket.story {
                let marker = document::marker(&ticket.id, chapter.number);
                let told = issue
                    .comments
                    .iter()
                    .filter(|comment| comment.text().contains(&marker))
                    .count();
                // JIRA knows what people did there.
                let expected = usize::from(chapter.from != Some(Channel::Jira));
                assert_eq!(
                    told,
                    expected,
                    "chapter {} was told {told} times: {}",
                    chapter.number,
                    history()
                );
            }
            assert_eq!(
                ticket.status,
                self.expected(ticket),
                "a decision was undone: {}",
                history()
            );
        }
    }

    /// The last decision counts, no matter who made it or where.
    fn expected(&self, ticket: &Ticket) -> Status {
        let mut decisions = self.decisions.get(&ticket.id).cloned().unwrap_or_default();
        for attempt in &ticket.remediation.attempts {
            if attempt.state == AttemptState::Succeeded {
                decisions.insert(attempt.ended_at.unwrap(), Status::Acknowledged);
            }
        }
        decisions
            .last_key_value()
            .map_or(Status::Open, |(_, status)| *status)
    }
}

async fn play(teams: bool, stories: u64) {
    let first = crate::support::number("AIOPS_RCA_SEED", 1);
    let towns = stories.div_ceil(u64::from(STORIES_A_TOWN));
    let played = futures::stream::iter(first..first + towns).map(|seed| async move {
        let mut scenario = Scenario::build(seed, teams).await;
        scenario.play().await;
        scenario.judge().await;
        scenario
            .decisions
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
            .len()
    });
    let decided: usize = played
        .buffer_unordered(3)
        .fold(0, |sum, decided| async move { sum + decided })
        .await;
    assert!(
        decided > 0,
        "nobody decided anything: the stories are too quiet"
    );
}

#[tokio::test]
async fn jira_slack_and_ticket_agree_whatever_happens() {
    play(
        false,
        crate::support::number("AIOPS_RCA_INTERLEAVINGS", 240),
    )
    .await;
}

#[tokio::test]
async fn jira_teams_and_ticket_agree_whatever_happens() {
    play(
        true,
        crate::support::number("AIOPS_RCA_INTERLEAVINGS", 240) / 2,
    )
    .await;
}
