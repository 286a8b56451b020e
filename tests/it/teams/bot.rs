//! Cards by bot: one a ticket, edited in place, its story below it, each once whatever is lost on the way.

use std::sync::Arc;

use aiops_rca::fault::Fault as Reason;
use aiops_rca::ownership::Routes;
use aiops_rca::sinks::teams::Teams;
use aiops_rca::sinks::teams::{Bot, BotSettings};
use aiops_rca::sinks::{Next, Step};
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::store::Place;
use aiops_rca::ticket::{FoldReason, Joined, Record, Sink, Status, Ticket, Work};
use chrono::{DateTime, TimeDelta, Utc};
use simulators::teams::bot::{BotOptions, BotSimulator};
use simulators::{Clock, Fault, Server};

use super::rig::{ask, at, happen, record, status, texts, ticket};
use crate::support::teams;

pub(super) struct Rig {
    pub(super) team: BotSimulator,
    identity: Server,
    pub(super) now: DateTime<Utc>,
    clock: Clock,
    pub(super) channel: Option<String>,
    pub(super) routes: Arc<Routes>,
}

impl Rig {
    pub(super) async fn set(options: BotOptions) -> Self {
        let clock = options.clock.clone();
        let now = at("10:00:10");
        clock.set(now);
        let channel = Some(options.channel.clone());
        Self {
            team: BotSimulator::start(0, options).await.unwrap(),
            identity: teams::identity().await,
            now,
            clock,
            channel,
            routes: Arc::default(),
        }
    }

    fn settings(&self) -> BotSettings {
        BotSettings {
            channel: self.channel.clone(),
            ..teams::settings(&self.team)
        }
    }

    /// A fresh process.
    fn bot(&self) -> Bot {
        let http = crate::support::http();
        let identity = teams::signed_in(&self.identity, &http);
        Bot::new(self.settings(), http, Some(identity)).routed(Arc::clone(&self.routes))
    }

    pub(super) fn sink(&self) -> Teams {
        Teams::Bot(self.bot())
    }

    pub(super) fn pass(&mut self, time: TimeDelta) {
        self.now += time;
        self.clock.set(self.now);
    }

    async fn step(&mut self, sink: &Teams, ticket: &mut Ticket) -> Result<bool, Reason> {
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

    pub(super) async fn settle(&mut self, sink: &Teams, ticket: &mut Ticket) -> Option<Reason> {
        for _ in 0..200 {
            match self.step(sink, ticket).await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(Reason::Transient { retry_after, .. }) => {
                    let wait = retry_after.map(|time| TimeDelta::from_std(time).unwrap());
                    self.pass(wait.unwrap_or(TimeDelta::seconds(3)));
                }
                Err(fault) => return Some(fault),
            }
        }
        panic!("the sink never comes to rest");
    }

    /// One card, as the ticket is, with its whole story below it.
    fn assert_told_once(&self, ticket: &Ticket, what: &str) {
        let messages = self.team.messages();
        assert_eq!(messages.len(), 1, "{what}: one card");
        assert_eq!(
            messages[0].card,
            self.settings().card(ticket),
            "{what}: it shows the ticket"
        );
        assert_eq!(
            record(ticket).activity.as_ref(),
            Some(&messages[0].id),
            "{what}"
        );
        let thread = self.team.thread(&messages[0].id);
        assert_eq!(thread.len(), ticket.story.len(), "{what}: {thread:#?}");
        for (entry, chapter) in thread.iter().zip(&ticket.story) {
            let told = texts(&entry.card).join(" ");
            assert!(
                told.contains(chapter.text.split('.').next().unwrap()),
                "{what}: in order"
            );
        }
    }
}

fn answered(code: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    Fault::Status {
        code,
        headers: (headers.iter())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

fn story() -> Ticket {
    let mut ticket = ticket();
    ask(&mut ticket);
    status(&mut ticket, Status::InProgress, "10:02:00");
    ticket
}

#[tokio::test]
async fn one_card_is_edited_and_its_story_stands_below() {
    let mut rig = Rig::set(BotOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.assert_told_once(&ticket, "opened");
    let first = rig.team.messages()[0].clone();
    assert!(
        first.summary.starts_with("🔴 ALERT: pipeline-name · "),
        "{}",
        first.summary
    );
    ask(&mut ticket);
    status(&mut ticket, Status::InProgress, "10:02:00");
    status(&mut ticket, Status::Acknowledged, "10:20:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.assert_told_once(&ticket, "closed");
    let last = rig.team.messages()[0].clone();
    assert_eq!(last.id, first.id);
    assert!(last.edits > 0 && last.summary.starts_with("✅ CLOSED"));
    assert_eq!(sink.next(&ticket, rig.now), Next::AtRest);
    rig.team.assert_drained();
}

#[tokio::test]
async fn every_fault_at_every_writing_call() {
    let faults = [
        Fault::AcceptThenDrop,
        Fault::DropBefore,
        answered(429, &[("retry-after", "2")], ""),
        answered(412, &[], r#"{"error":{"code":"PreconditionFailed"}}"#),
        answered(500, &[], ""),
        answered(502, &[("content-type", "text/html")], "<html>"),
        answered(503, &[("retry-after", "2")], ""),
        answered(504, &[], ""),
        answered(302, &[("location", "https://login.example.com/")], ""),
        answered(200, &[("content-type", "text/html")], "<html>"),
        answered(201, &[], "{}"),
    ];
    for fault in faults {
        let mut rig = Rig::set(BotOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), story());
        let what = format!("{fault:?}");
        let mut hit = 0;
        // The card and its two entries meet the fault, each once; then an edit does.
        while hit < 3 {
            let intended = record(&ticket).intent.as_ref().map(|intent| intent.what);
            if intended == Some(Work::Create) || intended == Some(Work::Comment(hit)) {
                rig.pass(TimeDelta::seconds(1));
                let script = rig.team.faults();
                script.next_on("POST", "/v3/conversations", fault.clone());
                hit += 1;
                let mut failed = rig.step(&sink, &mut ticket).await;
                if failed.is_ok() && record(&ticket).intent.is_none() {
                    // What was refused is no longer intended, then it is told.
                    failed = rig.step(&sink, &mut ticket).await;
                }
                let lost = matches!(&failed, Err(fault) if fault.is_transient());
                // An answer that cannot be read says nothing, one without an id is as good for a reply.
                assert!(
                    lost || fault == answered(201, &[], "{}"),
                    "{what}: {failed:?}"
                );
                rig.pass(TimeDelta::seconds(20));
                while record(&ticket).told + 1 < hit || record(&ticket).activity.is_none() {
                    if let Err(Reason::Transient { .. }) = rig.step(&sink, &mut ticket).await {
                        rig.pass(TimeDelta::seconds(5));
                    }
                }
            } else if rig.step(&sink, &mut ticket).await.unwrap() {
                break;
            }
        }
        rig.team
            .faults()
            .next_on("PUT", "/activities/", fault.clone());
        status(&mut ticket, Status::Acknowledged, "10:30:00");
        assert_eq!(rig.settle(&sink, &mut ticket).await, None, "{what}");
        if fault != answered(201, &[], "{}") {
            rig.assert_told_once(&ticket, &what);
        }
        rig.team.assert_drained();
    }
}

/// Where the channel cannot be read, each unknown outcome costs one double at most, and nothing is lost.
#[tokio::test]
async fn without_history_a_lost_answer_doubles_once_at_most() {
    let options = BotOptions {
        reads: false,
        ..BotOptions::default()
    };
    for (fault, cards) in [(Fault::AcceptThenDrop, 2), (answered(503, &[], ""), 1)] {
        let mut rig = Rig::set(options.clone()).await;
        let (sink, mut ticket) = (rig.sink(), story());
        rig.team
            .faults()
            .next_on("POST", "conversations", fault.clone());
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(rig.team.messages().len(), cards, "{fault:?}");
        let root = record(&ticket).activity.clone().unwrap();
        assert_eq!(rig.team.thread(&root).len(), 2);
        // Two answers of one reply are lost: it is not sent a third time, and people are told.
        status(&mut ticket, Status::Acknowledged, "10:30:00");
        rig.team
            .faults()
            .next_on("POST", "/activities", fault.clone());
        rig.team
            .faults()
            .next_on("POST", "/activities", fault.clone());
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        let said = record(&ticket).fault.as_ref().unwrap();
        assert!(said.reason.contains("two tries"), "{said:?}");
        let asked = rig.team.requests();
        let asked = asked
            .iter()
            .filter(|request| request.path.starts_with("/v1.0/"));
        assert_eq!(
            asked.count(),
            1,
            "a channel that may not be read is not asked again"
        );
        rig.team.assert_drained();
    }
}

#[tokio::test]
async fn a_process_that_dies_after_a_post_leaves_nothing_twice() {
    let mut rig = Rig::set(BotOptions::default()).await;
    let mut ticket = story();
    for died in 0..3 {
        let sink = rig.sink();
        while record(&ticket).intent.is_none() {
            rig.step(&sink, &mut ticket).await.unwrap();
        }
        rig.pass(TimeDelta::seconds(1));
        let unrecorded = sink.step(&ticket, rig.now).await.unwrap();
        assert!(matches!(unrecorded, Step::Recorded(_)), "{died}");
        let next = rig.sink();
        rig.pass(TimeDelta::seconds(30));
        rig.step(&next, &mut ticket).await.unwrap();
        while record(&ticket).shown.is_none() {
            rig.step(&next, &mut ticket).await.unwrap();
        }
    }
    let sink = rig.sink();
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.assert_told_once(&ticket, "three deaths");
}

#[tokio::test]
async fn a_deleted_card_is_posted_again_once_with_its_next_entries() {
    let mut rig = Rig::set(BotOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.team.delete(&rig.team.messages()[0].id);
    ask(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.assert_told_once(&ticket, "posted again");
    rig.team.delete(&rig.team.messages()[0].id);
    status(&mut ticket, Status::Acknowledged, "10:30:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert!(rig.team.messages().is_empty());
    assert!(record(&ticket).deleted);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let mut rig = Rig::set(BotOptions::default()).await;
    rig.team.change(|team| team.installed = false);
    let (sink, mut ticket) = (rig.sink(), ticket());
    let fault = rig.settle(&sink, &mut ticket).await.unwrap();
    assert!(
        fault.reason().contains("BotNotInConversationRoster")
            && fault.reason().contains("install the app")
    );
    rig.team.change(|team| team.installed = true);
    for (code, name, says) in [
        (401, "Unauthorized", "TEAMS_BOT_APP_ID"),
        (403, "BotDisabledByAdmin", "admin"),
        (404, "ConversationNotFound", "TEAMS_CHANNEL_ID"),
        (400, "BadSyntax", "registration"),
    ] {
        let body = format!(r#"{{"error":{{"code":"{name}","message":"no"}}}}"#);
        rig.team
            .faults()
            .next_on("POST", "conversations", answered(code, &[], &body));
        let fault = rig.settle(&sink, &mut ticket).await.unwrap();
        assert!(
            !fault.is_transient() && fault.reason().contains(says),
            "{fault}"
        );
        rig.pass(TimeDelta::minutes(5));
    }
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.assert_told_once(&ticket, "in the end");
}

#[tokio::test]
async fn where_to_post_is_learned_and_tokens_go_to_hosts_of_teams_alone() {
    let mut rig = Rig::set(BotOptions::default()).await;
    let channel = rig.channel.take();
    let mut ticket = ticket();
    let bot = rig.bot();
    let sink = Teams::Bot(bot.clone());
    let fault = rig.settle(&sink, &mut ticket).await.unwrap();
    assert!(fault.reason().contains("install the app"), "{fault}");
    let mut place = Place {
        service: "https://smba.trafficmanager.net.evil.example/teams/".to_owned(),
        team: None,
        channel,
        at: rig.now,
    };
    // An address that is not one of Teams is not used: the settings' own is.
    sink.learn(Some(place.clone()), rig.now);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    rig.assert_told_once(&ticket, "posted");
    for service in [
        "http://smba.trafficmanager.net/teams/",
        "https://smba.trafficmanager.net:8443/teams/",
        "https://evil.example/",
    ] {
        place.service = service.to_owned();
        assert!(
            !bot.settings().serves(&service.parse().unwrap()),
            "{service}"
        );
    }
    assert!(
        bot.settings()
            .serves(&"https://smba.trafficmanager.net/emea/".parse().unwrap())
    );
}

#[tokio::test]
async fn a_storm_keeps_to_the_limits_of_a_conversation() {
    let options = BotOptions {
        limits: true,
        ..BotOptions::default()
    };
    let mut rig = Rig::set(options).await;
    let sink = rig.sink();
    for number in 0..70 {
        let mut ticket = super::rig::named(&format!("pl_{number}"));
        ticket.id = aiops_rca::ticket::TicketId::new(ticket.failure.source, at("10:00:00"), number);
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    }
    let refused = rig.team.requests().len();
    assert_eq!(rig.team.messages().len(), 70);
    assert_eq!(refused, 70, "nothing was refused");
}

#[tokio::test]
async fn doctor_names_what_is_missing() {
    let rig = Rig::set(BotOptions::default()).await;
    let checks = rig.sink().check(rig.now).await;
    assert!(checks.iter().all(|check| check.ok), "{checks:#?}");
    assert!(
        checks
            .iter()
            .any(|check| check.line.contains("looked up before")),
        "{checks:#?}"
    );
    rig.team.change(|team| team.reads = false);
    let checks = rig.sink().check(rig.now).await;
    assert!(
        checks
            .iter()
            .any(|check| check.line.contains("may appear twice")),
        "{checks:#?}"
    );
    let bot = Bot::new(rig.settings(), crate::support::http(), None);
    let checks = Teams::Bot(bot).check(rig.now).await;
    assert!(
        !checks[0].ok && checks[0].line.contains("no managed identity"),
        "{checks:#?}"
    );
}

/// What its leader shows has no card; a card that was there before ends, and says where the story goes on.
#[tokio::test]
async fn a_follower_makes_no_card_and_one_that_has_one_ends_it() {
    let joined = |leader: &Ticket| {
        Event::Joined(Joined {
            leader: leader.id.clone(),
            reason: FoldReason::Storm,
            at: at("10:05:00"),
            reported: 0,
            waits_for_probe: false,
        })
    };
    let mut leader = ticket();
    leader.id = aiops_rca::ticket::TicketId::new(leader.failure.source, at("10:00:00"), 7);
    let mut fresh = ticket();
    assert!(fresh.lags(Sink::Teams));
    happen(&mut fresh, &joined(&leader), at("10:05:00"));
    assert!(!fresh.lags(Sink::Teams));

    let mut rig = Rig::set(BotOptions::default()).await;
    let (sink, mut shown_before) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut shown_before).await, None);
    happen(&mut shown_before, &joined(&leader), at("10:05:00"));
    assert!(shown_before.lags(Sink::Teams));
    let mut as_shown = aiops_rca::incident::shown(&shown_before).into_owned();
    assert_eq!(rig.settle(&sink, &mut as_shown).await, None);
    let messages = rig.team.messages();
    assert_eq!(messages.len(), 1);
    let told = texts(&messages[0].card).join("\n");
    assert!(
        told.contains("✅ CLOSED") && told.contains(&format!("Part of incident {}", leader.id)),
        "{told}"
    );
}

/// A ticket of a version that did not know Teams, or that was opened while it was off, is left alone.
#[test]
fn tickets_from_before_are_not_shown_and_cost_nothing() {
    let mut value = serde_json::to_value(ticket()).unwrap();
    value.as_object_mut().unwrap().remove("teams");
    let before: Ticket = serde_json::from_value(value).unwrap();
    assert_eq!(before.teams, None);
    assert!(!before.lags(Sink::Teams));
    assert!(
        !serde_json::to_string(&before)
            .unwrap()
            .contains("\"teams\"")
    );
}
