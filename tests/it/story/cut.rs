//! A host that stops gives running calls ten seconds. A longer one is cut at any step, its message stays hidden for the rest
//! of its ten minutes, and nobody says so: another process goes on long before the message is seen again.

use std::time::Duration;

use aiops_rca::sinks::jira::Jira;
use aiops_rca::sinks::slack::{Slack, SlackSettings};
use aiops_rca::ticket::{Sink, Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use simulators::Clock;
use simulators::jira::{self, JiraSimulator};
use simulators::slack::{SlackOptions, SlackSimulator};

use super::healing::rig::{Fate, Outside, Rig, Script, failure};
use super::simulation::Task;

/// As the host hides a message that it has fetched.
const HIDDEN: TimeDelta = TimeDelta::minutes(10);
/// A sweep comes every minute and steps in after one; a lease of the dead process runs for half a minute.
const NOTICED: TimeDelta = TimeDelta::minutes(4);
/// Every message has come again, every deadline has passed.
const OVER: TimeDelta = TimeDelta::minutes(25);

/// A failure that its first attempt heals, on a virtual clock, in JIRA and in Slack.
struct Story {
    rig: Rig<Outside>,
    jira: JiraSimulator,
    slack: SlackSimulator,
    clock: Clock,
    id: TicketId,
    /// Messages handled.
    handled: usize,
}

/// Where a story is cut: in this message, after this many waits.
#[derive(Debug, Clone, Copy)]
struct Cut {
    message: usize,
    waits: u32,
}

impl Story {
    async fn begin() -> Self {
        let rig = Rig::build(7, true, Script(vec![Fate::default()])).await;
        let jira = JiraSimulator::start(0, jira::Config::default())
            .await
            .unwrap();
        let clock = Clock::default();
        let options = SlackOptions {
            clock: clock.clone(),
            ..SlackOptions::default()
        };
        let slack = SlackSimulator::start_with(0, options).await.unwrap();
        let failed = failure(
            "pl_load",
            "00000000-0000-4000-8000-000000000001",
            "GatewayTimeout",
            "The gateway did not answer in time.",
        );
        let id = rig.accept(failed).await;
        let mut story = Self {
            rig,
            jira,
            slack,
            clock,
            id,
            handled: 0,
        };
        story.start_process();
        let first = story.rig.simulation.now + TimeDelta::minutes(1);
        story.rig.simulation.plan(first, Task::Sweep);
        story
    }

    /// What a process remembers is gone with it.
    fn start_process(&mut self) {
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
        let sinks = &mut self.rig.simulation.flow.sinks;
        sinks.slack = Some(Slack::new(settings, crate::support::http()));
        let settings = crate::support::jira_settings(&self.jira);
        sinks.jira = Some(Jira::new(settings, crate::support::http()));
    }

    /// Goes on until this time; gives when it was cut.
    async fn play(&mut self, until: DateTime<Utc>, cut: Option<Cut>) -> Option<DateTime<Utc>> {
        while let Some(task) = self.rig.simulation.next() {
            let now = self.rig.simulation.now;
            self.rig.tick();
            self.clock.set(now);
            self.jira.clock().set(now);
            match task {
                Task::Message {
                    queue,
                    text,
                    dequeues,
                } => {
                    let here = cut.filter(|cut| cut.message == self.handled);
                    self.handled += 1;
                    let message = (queue, text, dequeues);
                    let left = here.map(|cut| cut.waits);
                    let simulation = &mut self.rig.simulation;
                    if Box::pin(simulation.handle_until(message, left, HIDDEN)).await {
                        // What was under way arrives, or does not.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        self.start_process();
                        return Some(now);
                    }
                }
                Task::Sweep => Box::pin(self.rig.simulation.sweep(TimeDelta::minutes(1))).await,
                Task::Act(Outside::Callback {
                    ticket,
                    attempt,
                    body,
                }) => {
                    let flow = &self.rig.simulation.flow;
                    let _late_or_not =
                        Rig::<Outside>::call_back(flow, &ticket, &attempt, &body, now).await;
                }
                Task::Act(Outside::Alert(failure)) => drop(self.rig.accept(failure).await),
            }
            let news = std::mem::take(&mut self.rig.vendors.state().news);
            for (at, outside) in news {
                self.rig.simulation.plan(at, Task::Act(outside));
            }
            if now >= until {
                break;
            }
        }
        None
    }

    /// Everything once, everywhere.
    async fn judge(&self, what: &str) -> Ticket {
        let ticket = self.rig.simulation.flow.store.load(&self.id).await.unwrap();
        let ticket = ticket.unwrap_or_else(|| panic!("{what}: there is no ticket"));
        for sink in [Sink::Jira, Sink::Slack] {
            assert!(!ticket.lags(sink), "{what}: {sink:?} lags: {ticket:#?}");
        }
        let messages = self.slack.messages();
        let top = messages
            .iter()
            .filter(|message| message.thread_ts.is_none());
        assert_eq!((self.jira.issues().len(), top.count()), (1, 1), "{what}");
        ticket
    }
}

/// Whether the story was cut there: `false` when that message takes fewer waits.
async fn goes_on(cut: Cut) -> bool {
    let mut story = Story::begin().await;
    let begun = story.rig.simulation.now;
    let Some(at) = Box::pin(story.play(begun + OVER, Some(cut))).await else {
        return false;
    };
    Box::pin(story.play(at + NOTICED, None)).await;
    story.judge(&format!("{cut:?}, soon")).await;
    Box::pin(story.play(at + OVER, None)).await;
    let ticket = story.judge(&format!("{cut:?}, at the end")).await;
    assert!(ticket.current_attempt().is_none(), "{cut:?}: {ticket:#?}");
    let calls = story.rig.vendors.state().calls.len();
    assert!(calls <= 1, "{cut:?}: {calls} calls of the playbook");
    assert!(
        ticket.is_closed() || ticket.remediation.attempts.len() == 1,
        "{cut:?}: healed, or handed to a person: {ticket:#?}"
    );
    true
}

#[tokio::test]
async fn an_analysis_or_delivery_that_is_cut_at_any_step_is_gone_on_with() {
    let mut whole = Story::begin().await;
    let begun = whole.rig.simulation.now;
    Box::pin(whole.play(begun + OVER, None)).await;
    let ticket = whole.judge("not cut").await;
    assert!(ticket.is_closed(), "{ticket:#?}");
    let messages = 0..whole.handled;
    assert!(messages.len() > 4, "analysis, sinks and playbook");
    let cuts = futures::stream::iter(messages).map(|message| async move {
        let mut waits = 0;
        while Box::pin(goes_on(Cut { message, waits })).await {
            waits += 1;
        }
        waits
    });
    let steps: Vec<u32> = cuts.buffered(4).collect().await;
    // Which message comes first differs, and one that finds nothing to do hardly waits.
    assert!(steps.iter().sum::<u32>() > 40, "{steps:?}");
    println!("waits at which each message was cut: {steps:?}");
}
