//! Routes of owners: their channel by bot, and whom cards mention.

use std::sync::Arc;

use aiops_rca::ownership::Routes;
use aiops_rca::sinks::teams::card::{self, BOT_SIZE, Look, Serial, URL_SIZE};
use aiops_rca::sinks::teams::{Teams, TeamsSettings, WorkflowBody, WorkflowSettings, WorkflowUrl};
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, Answer, Channel, Importance, Status, Ticket};
use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::teams::bot::BotOptions;
use simulators::teams::problems;

use super::bot::Rig;
use super::rig::{ask, at, happen, named, record, status, texts, ticket};

const CHANNEL: &str = "19:finance_0123@thread.tacv2";
const TEAM: &str = "66666666-aaaa-bbbb-cccc-555555555555";
const JANE: &str = "12121212-aaaa-bbbb-cccc-343434343434";
const APPROVER: &str = "77777777-aaaa-bbbb-cccc-888888888888";

fn routes(rules: &[String]) -> Arc<Routes> {
    let mut routes = Routes::default();
    for rule in rules {
        routes.add(rule).unwrap();
    }
    Arc::new(routes)
}

fn finance() -> Arc<Routes> {
    let rule = format!("team-finance: slack=#x, teams={TEAM}/{CHANNEL}, mention=S0AB {JANE}");
    routes(&[rule])
}

fn owned() -> Ticket {
    Ticket {
        owner: Some("Team-Finance".to_owned()),
        ..ticket()
    }
}

/// A team with the owner's channel, perhaps in another team.
async fn rig(channels: &[(&str, &str)]) -> Rig {
    let channels = channels.iter();
    let options = BotOptions {
        channels: channels
            .map(|(team, id)| ((*team).to_owned(), (*id).to_owned()))
            .collect(),
        ..BotOptions::default()
    };
    let mut rig = Rig::set(options).await;
    rig.routes = finance();
    rig
}

#[tokio::test]
async fn an_owners_card_its_replies_and_its_edits_are_in_the_owners_channel() {
    let mut rig = rig(&[(TEAM, CHANNEL)]).await;
    let (sink, mut ticket, mut other) = (rig.sink(), owned(), named("pl_of_nobody"));
    ask(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.settle(&sink, &mut other).await, None);
    status(&mut ticket, Status::Acknowledged, "10:20:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let (card, of_nobody) = match &rig.team.messages()[..] {
        [one, other] => (one.clone(), other.clone()),
        more => panic!("{more:?}"),
    };
    assert_eq!(of_nobody.channel, BotOptions::default().channel);
    assert_eq!(card.channel, CHANNEL);
    assert!(card.edits > 0);
    let thread = rig.team.thread(&card.id);
    assert_eq!(thread.len(), 2);
    assert!(thread.iter().all(|reply| reply.channel == CHANNEL));
    assert_eq!(record(&ticket).fault, None);
    // A deleted one is posted there again.
    rig.team.delete(&card.id);
    status(&mut ticket, Status::Open, "10:30:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.team.messages().last().unwrap().channel, CHANNEL);
    rig.team.assert_drained();
}

/// In another team, too: what was lost is looked up where it was posted.
#[tokio::test]
async fn a_lost_answer_in_an_owners_channel_doubles_nothing() {
    let mut rig = rig(&[(TEAM, CHANNEL)]).await;
    let (sink, mut ticket) = (rig.sink(), owned());
    ask(&mut ticket);
    let script = rig.team.faults();
    script.next_on("POST", "/v3/conversations", Fault::AcceptThenDrop);
    script.next_on("POST", "/activities", Fault::AcceptThenDrop);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let messages = rig.team.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(rig.team.thread(&messages[0].id).len(), 1);
    assert_eq!(record(&ticket).fault, None);
    rig.team.assert_drained();
}

#[tokio::test]
async fn a_channel_that_is_not_there_costs_no_card_and_the_ticket_says_so() {
    let mut rig = rig(&[]).await;
    let mut ticket = owned();
    assert_eq!(rig.settle(&rig.sink(), &mut ticket).await, None);
    let card = rig.team.messages()[0].clone();
    assert_eq!(card.channel, BotOptions::default().channel);
    let told = |ticket: &Ticket| record(ticket).fault.clone().unwrap().reason;
    assert!(
        told(&ticket).contains("OWNER_ROUTES") && told(&ticket).contains(CHANNEL),
        "{}",
        told(&ticket)
    );
    assert_eq!(
        rig.team.requests().len(),
        2,
        "it is asked once for each card"
    );
    // In another process, too; and the ticket goes on saying so.
    ask(&mut ticket);
    status(&mut ticket, Status::InProgress, "10:10:00");
    assert_eq!(rig.settle(&rig.sink(), &mut ticket).await, None);
    assert_eq!(rig.team.messages().len(), 1);
    assert_eq!(rig.team.thread(&card.id).len(), ticket.story.len());
    assert!(told(&ticket).contains("OWNER_ROUTES"));
}

/// While nothing is taken anywhere, each try begins with the owner's channel.
#[tokio::test]
async fn where_no_channel_takes_it_the_owners_is_first_again() {
    let mut rig = rig(&[(TEAM, CHANNEL)]).await;
    rig.team.change(|team| team.installed = false);
    let (sink, mut ticket) = (rig.sink(), owned());
    for _ in 0..2 {
        let fault = rig.settle(&sink, &mut ticket).await.unwrap();
        assert!(fault.reason().contains("install the app"), "{fault}");
        assert!(!record(&ticket).general && record(&ticket).fault.is_none());
        rig.pass(TimeDelta::minutes(5));
    }
    rig.team.change(|team| team.installed = true);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.team.messages()[0].channel, CHANNEL);
}

/// Without a general channel the owner's is the only one: its fault is the ticket's.
#[tokio::test]
async fn an_owners_channel_alone_is_enough_and_its_fault_is_clear() {
    let mut rig = rig(&[]).await;
    rig.channel = None;
    let (sink, mut ticket) = (rig.sink(), owned());
    let fault = rig.settle(&sink, &mut ticket).await.unwrap();
    assert!(fault.reason().contains("OWNER_ROUTES"), "{fault}");
    rig.team
        .change(|team| team.channels = vec![(TEAM.to_owned(), CHANNEL.to_owned())]);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.team.messages()[0].channel, CHANNEL);
}

#[tokio::test]
async fn doctor_asks_for_the_channels_of_owners() {
    let checks = async |channels: &[(&str, &str)], reads| {
        let rig = rig(channels).await;
        rig.team.change(|team| team.reads = reads);
        let checks = rig.sink().check(rig.now).await;
        let mut named = checks.into_iter();
        named
            .find(|check| check.name.contains("team-finance"))
            .unwrap()
    };
    let there = checks(&[(TEAM, CHANNEL)], true).await;
    assert!(there.ok && there.line.contains(CHANNEL), "{there:?}");
    let unread = checks(&[(TEAM, CHANNEL)], false).await;
    assert!(unread.ok && unread.fix.is_some(), "{unread:?}");
    let missing = checks(&[], true).await;
    assert!(
        !missing.ok && missing.fix.as_ref().unwrap().contains("OWNER_ROUTES"),
        "{missing:?}"
    );
}

#[tokio::test]
async fn doctor_says_that_a_workflow_has_one_channel() {
    let workflow = simulators::teams::workflow::WorkflowSimulator::start(
        0,
        simulators::teams::workflow::WorkflowOptions::default(),
    )
    .await
    .unwrap();
    let settings = WorkflowSettings {
        url: WorkflowUrl::parse(&workflow.url()).unwrap(),
        body: WorkflowBody::Message,
        dashboard_base: None,
        issue_base: None,
    };
    let settings = TeamsSettings::Workflow(settings);
    let sink = Teams::new(settings, crate::support::http(), None);
    let said = |checks: &[aiops_rca::sinks::Check]| {
        let mut checks = checks.iter();
        checks.any(|check| check.line.contains("team-finance") && check.ok)
    };
    assert!(!said(&sink.check(at("10:00:00")).await));
    let routed = sink.routed(finance());
    assert!(said(&routed.check(at("10:00:00")).await));
}

/// Ids of those whom the card mentions, and the texts that do.
fn mentioned(card: &Value) -> Vec<(String, String)> {
    let entities = card["msteams"]["entities"].as_array();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    entities.map_or_else(Vec::new, |entities| {
        let both = entities
            .iter()
            .map(|one| (text(&one["mentioned"]["id"]), text(&one["text"])));
        both.collect()
    })
}

fn ids(card: &Value) -> Vec<String> {
    mentioned(card).into_iter().map(|(id, _)| id).collect()
}

/// As a bot and a workflow draw it, with these routes; John Doe may decide.
fn drawn(
    ticket: &Ticket,
    routes: &Routes,
    by_bot: bool,
    draw: impl Fn(&Ticket, &Look<'_>) -> Value,
) -> Value {
    let approvers = [APPROVER.to_owned()];
    let look = Look {
        dashboard_base: None,
        issue_base: None,
        size: if by_bot { BOT_SIZE } else { URL_SIZE },
        approvers: if by_bot { &approvers } else { &[] },
        routes: Some(routes),
    };
    let card = draw(ticket, &look);
    assert_eq!(problems(&card, by_bot), Vec::<String>::new(), "{card:#}");
    card
}

fn by_bot(ticket: &Ticket, routes: &Routes) -> Value {
    drawn(ticket, routes, true, |ticket, look| {
        card::card(ticket, look, Serial::default())
    })
}

fn last_reply(ticket: &Ticket, routes: &Routes) -> Value {
    drawn(ticket, routes, true, |ticket, look| {
        card::chapter(ticket, ticket.story.last().unwrap(), look)
    })
}

#[test]
fn who_has_to_act_is_mentioned_and_nobody_else() {
    let routes = finance();
    let mut ticket = owned();
    let opening = by_bot(&ticket, &routes);
    let owner = (JANE.to_owned(), "<at>team-finance</at>".to_owned());
    assert_eq!(mentioned(&opening), [owner]);
    ask(&mut ticket);
    let asked = last_reply(&ticket, &routes);
    assert_eq!(
        mentioned(&asked),
        [(APPROVER.to_owned(), "<at>approver</at>".to_owned())],
        "only approvers can answer"
    );
    happen(&mut ticket, &Event::SlaBreached, at("12:00:10"));
    assert_eq!(ids(&last_reply(&ticket, &routes)), [JANE]);
    status(&mut ticket, Status::InProgress, "12:01:00");
    assert_eq!(
        ids(&by_bot(&ticket, &routes)),
        [""; 0],
        "somebody works on it"
    );
    assert_eq!(ids(&last_reply(&ticket, &routes)), [""; 0]);
    status(&mut ticket, Status::Acknowledged, "12:02:00");
    assert_eq!(ids(&last_reply(&ticket, &routes)), [""; 0]);
    status(&mut ticket, Status::Open, "12:03:00");
    assert_eq!(ids(&last_reply(&ticket, &routes)), [JANE], "reopened");
    // Without an owner of Teams those who may decide are called.
    assert_eq!(
        ids(&last_reply(&ticket, &Routes::default())),
        [APPROVER.to_owned()]
    );
}

#[test]
fn by_url_the_owner_is_mentioned_where_somebody_has_to_act() {
    let routes = finance();
    let mut ticket = owned();
    let by_url = |ticket: &Ticket, update: u32| {
        drawn(ticket, &routes, false, |ticket, look| {
            let news: Vec<_> = ticket.story.iter().collect();
            let serial = Serial {
                update,
                last: false,
                news: if update == 0 { &[] } else { &news },
            };
            card::card(ticket, look, serial)
        })
    };
    assert_eq!(ids(&by_url(&ticket, 0)), [JANE]);
    assert_eq!(ids(&by_url(&ticket, 1)), [""; 0]);
    happen(&mut ticket, &Event::SlaBreached, at("12:00:10"));
    assert_eq!(ids(&by_url(&ticket, 1)), [JANE]);
    status(&mut ticket, Status::Acknowledged, "12:02:00");
    assert_eq!(ids(&by_url(&ticket, 2)), [""; 0]);
}

#[test]
fn importance_decides_whom_both_channels_mention() {
    let rules = [format!(
        "team-finance: mention=S0AB {JANE} jane_roe.x@example.com"
    )];
    let routes = routes(&rules);
    let important = |level: &str| {
        let rule = aiops_rca::ownership::CriticalityRule::parse(&format!("*={level}"), &[]);
        let settings = aiops_rca::ownership::OwnershipSettings {
            owners: Vec::new(),
            criticality: vec![rule.unwrap()],
        };
        let importance: Importance = settings.importance(&ticket().failure).unwrap();
        Ticket {
            importance: Some(importance),
            ..owned()
        }
    };
    for (level, slack, people) in [
        ("high", vec!["S0AB"], vec![JANE, "jane_roe.x@example.com"]),
        ("low", vec![], vec![]),
        ("critical,mention=nobody", vec![], vec![]),
        // Who is named for one of them does not silence the other.
        (
            "critical,mention=bob@example.com",
            vec!["S0AB"],
            vec!["bob@example.com"],
        ),
        (
            "high,mention=S0ONCALL",
            vec!["S0ONCALL"],
            vec![JANE, "jane_roe.x@example.com"],
        ),
    ] {
        let ticket = important(level);
        assert_eq!(routes.mentions(&ticket), slack, "{level}");
        assert_eq!(ids(&by_bot(&ticket, &routes)), people, "{level}");
    }
    let critical = important("critical");
    assert_eq!(Routes::default().mentions(&critical), ["here"]);
    let only_teams = routes_of(&format!("team-finance: mention={JANE}"));
    assert_eq!(only_teams.mentions(&critical), ["here"]);
    // A sign-in name is shown without its domain, and without what is markup.
    let card = by_bot(&important("high"), &routes);
    let shown: Vec<String> = mentioned(&card).into_iter().map(|(_, text)| text).collect();
    assert_eq!(shown, ["<at>team-finance</at>", "<at>jane roe.x</at>"]);
}

fn routes_of(rule: &str) -> Arc<Routes> {
    routes(&[rule.to_owned()])
}

/// Names that come from outside are texts, however they are spelled.
#[test]
fn a_name_from_outside_never_becomes_a_mention() {
    let routes = routes(&[
        format!("team-finance: mention={JANE}"),
        format!("*: mention={JANE}"),
    ]);
    for name in [
        "<at>team-finance</at>",
        "<AT>Team-Finance</AT> <at>team-finance 2</at>",
        "<at>owner</at>",
        "<at>Jane Roe</at>",
        "jane@example.com",
    ] {
        for owner in ["team-finance", name] {
            let mut ticket = named(name);
            ticket.owner = Some(owner.to_owned());
            ticket.diagnosis.root_cause = format!("{name} failed");
            for card in [
                by_bot(&ticket, &routes),
                by_bot(&ticket, &Routes::default()),
            ] {
                let mentioned = mentioned(&card);
                assert!(mentioned.iter().all(|(id, _)| id == JANE), "{mentioned:?}");
                for (_, text) in &mentioned {
                    let elsewhere = texts(&card).join("\n").to_lowercase();
                    assert!(!elsewhere.contains(text), "{text} in {elsewhere}");
                }
                assert!(
                    texts(&card).contains(&format!("🔴 ALERT: {name}")),
                    "it arrives as it is"
                );
            }
        }
    }
}

#[test]
fn many_people_are_mentioned_each_by_a_name_of_their_own() {
    let people: Vec<String> = (0..30)
        .map(|number| format!("{number:08}-aaaa-bbbb-cccc-343434343434"))
        .collect();
    let routes = routes_of(&format!("team-finance: mention={}", people.join(" ")));
    let found = mentioned(&by_bot(&owned(), &routes));
    assert_eq!(found.len(), 10);
    assert_eq!(found[1].1, "<at>team-finance 2</at>");
    let texts: std::collections::BTreeSet<_> = found.iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), 10);
}

/// Teams takes no text without characters, so a card says that there is none.
#[test]
fn texts_that_nobody_can_see_leave_a_card_whole() {
    for unseen in ["", " ", "\u{200b}", "\u{1b}\u{feff}", "\u{e0041}"] {
        let mut ticket = named(unseen);
        ticket.owner = Some(unseen.to_owned());
        ticket.diagnosis.root_cause = unseen.to_owned();
        ticket.diagnosis.error_type = unseen.to_owned();
        ticket.diagnosis.recommendations = vec![unseen.to_owned()];
        ask(&mut ticket);
        if let Some(approval) = &mut ticket.remediation.approval {
            approval.plan_text = unseen.to_owned();
            approval.why = unseen.to_owned();
        }
        let routes = routes_of(&format!("*: mention={JANE}"));
        let card = by_bot(&ticket, &routes);
        last_reply(&ticket, &routes);
        let shown = texts(&card);
        let told = shown.iter().filter(|text| *text == "not reported");
        assert_eq!(told.count(), 3, "owner, cause, why: {shown:?}");
        assert!(!shown.iter().any(|text| text == "Resolution Steps"));
        if let Some(approval) = &mut ticket.remediation.approval {
            approval.answer = Some(Answer {
                approved: true,
                by: Actor {
                    channel: Channel::Teams,
                    name: unseen.to_owned(),
                },
                at: at("12:00:00"),
            });
        }
        by_bot(&ticket, &routes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_owner_and_any_text_leave_mentions_whole(owner in ".{1,80}", cause in "(?s).{0,40000}", steps in proptest::collection::vec(".{0,900}", 0..14)) {
        let mut routes = Routes::default();
        let clean = owner.replace([':', ';'], " ");
        let _added_or_not = routes.add(&format!("{clean}: mention={JANE} j.roe@example.com"));
        let mut ticket = named(&owner);
        ticket.owner = Some(clean.trim().to_owned());
        ticket.diagnosis.root_cause = cause;
        ticket.diagnosis.recommendations = steps;
        ask(&mut ticket);
        // Each checks the rules of mentions.
        let card = by_bot(&ticket, &routes);
        let reply = last_reply(&ticket, &routes);
        prop_assert!(card.to_string().len() < 40_000 && reply.to_string().len() < 40_000);
        prop_assert_eq!(json!(card), json!(by_bot(&ticket, &routes)));
    }
}
