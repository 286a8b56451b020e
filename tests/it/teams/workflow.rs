//! Cards by a workflow's URL: few, each once as far as anybody can tell, and none lost.

use aiops_rca::sinks::teams::{CARDS, WorkflowBody};
use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Channel, Status};
use chrono::TimeDelta;
use simulators::Fault;
use simulators::teams::workflow::WorkflowOptions;

use super::rig::{Rig, ask, at, happen, record, status, status_by, texts, ticket};

fn answered(code: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    Fault::Status {
        code,
        headers: (headers.iter())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn a_story_is_four_cards_and_the_last_is_its_end() {
    let mut rig = Rig::set(WorkflowOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    ask(&mut ticket);
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    happen(&mut ticket, &Event::SlaBreached, at("12:00:10"));
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    // The last card is kept for the end.
    status(&mut ticket, Status::InProgress, "12:01:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 3);
    status(&mut ticket, Status::Acknowledged, "12:02:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    status(&mut ticket, Status::Open, "12:03:00");
    status(&mut ticket, Status::Acknowledged, "12:04:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let cards = rig.cards();
    assert_eq!(cards.len(), CARDS as usize);
    let id = ticket.id.to_string();
    for (number, card) in cards.iter().enumerate() {
        let texts = texts(card);
        let about = &texts[1];
        assert!(about.starts_with(&format!("Ticket {id}")), "{about}");
        assert_eq!(
            about.contains(&format!(" · update {number}")),
            number > 0,
            "{about}"
        );
        let says_last = texts
            .iter()
            .any(|text| text.starts_with("This is the last card"));
        assert_eq!(says_last, number == 3);
        assert!(card.to_string().contains("/browse/APAIOPS-123"));
    }
    let last = texts(&cards[3]);
    assert!(last[0].starts_with("✅ CLOSED: "));
    // What had no card of its own is told by the next.
    assert!(last.iter().any(|text| text.starts_with("🔄 ")), "{last:?}");
    assert_eq!(rig.workflow.failed_runs(), Vec::<String>::new());
    rig.workflow.assert_drained();
}

#[tokio::test]
async fn what_waits_together_is_one_card() {
    let mut rig = Rig::set(WorkflowOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    ask(&mut ticket);
    status(&mut ticket, Status::InProgress, "10:02:00");
    status(&mut ticket, Status::Acknowledged, "10:03:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let cards = rig.cards();
    assert_eq!(cards.len(), 1);
    assert!(texts(&cards[0])[0].starts_with("✅ CLOSED: "));
    status(&mut ticket, Status::Open, "10:04:00");
    status(&mut ticket, Status::InProgress, "10:05:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 2);
}

/// JIRA keeps its own history: what people do there has no chapter.
#[tokio::test]
async fn what_people_do_in_jira_is_news_as_well_and_what_they_take_back_is_none() {
    let mut rig = Rig::set(WorkflowOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    status_by(&mut ticket, Channel::Jira, Status::InProgress, "10:02:00");
    status_by(&mut ticket, Channel::Jira, Status::Open, "10:03:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 1);
    status_by(&mut ticket, Channel::Jira, Status::Acknowledged, "10:04:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    let cards = rig.cards();
    let last = texts(cards.last().unwrap()).join("\n");
    assert!(
        last.contains("CLOSED") && last.contains("Closed by Jane Roe on 2026-11-30 10:04:00 UTC"),
        "{last}"
    );
    status_by(&mut ticket, Channel::Jira, Status::InProgress, "10:05:00");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert!(texts(rig.cards().last().unwrap())[0].starts_with("🔁 REOPENED"));
    assert_eq!(rig.cards().len(), 3);
}

#[tokio::test]
async fn a_hand_made_flow_gets_the_bare_card() {
    let options = WorkflowOptions {
        bare: true,
        ..WorkflowOptions::default()
    };
    let mut rig = Rig::set(options).await;
    rig.body = WorkflowBody::Card;
    let (sink, mut ticket) = (rig.sink(), ticket());
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 1);
    assert_eq!(rig.workflow.failed_runs(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_surely_not_posted_is_posted_once_it_can_be() {
    for (fault, wait) in [
        (answered(429, &[("retry-after", "30")], ""), 30),
        (answered(429, &[], ""), 60),
        (
            answered(302, &[("location", "https://login.example.com/")], ""),
            20,
        ),
        (answered(425, &[], ""), 20),
    ] {
        let mut rig = Rig::set(WorkflowOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        let begin = rig.now;
        rig.workflow
            .faults()
            .next_on("POST", "invoke", fault.clone());
        rig.workflow
            .faults()
            .next_on("POST", "invoke", fault.clone());
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(rig.cards().len(), 1, "{fault:?}");
        assert_eq!(record(&ticket).unsure, 0);
        assert!(rig.now - begin >= TimeDelta::seconds(2 * wait), "{fault:?}");
        rig.workflow.assert_drained();
    }
}

/// What one process was refused is no unknown outcome for another.
#[tokio::test]
async fn two_processes_that_are_refused_lose_no_card() {
    for fault in [
        answered(429, &[("retry-after", "5")], ""),
        answered(404, &[], ""),
    ] {
        let mut rig = Rig::set(WorkflowOptions::default()).await;
        let (sinks, mut ticket) = ([rig.sink(), rig.sink()], ticket());
        rig.workflow.faults().stands(Some(fault.clone()));
        for turn in 0..8 {
            // As the flow: until it fails, then the other one tries.
            for _ in 0..6 {
                if rig.step(&sinks[turn % 2], &mut ticket).await.is_err() {
                    break;
                }
            }
            assert_eq!(
                (record(&ticket).unsure, record(&ticket).cards),
                (0, 0),
                "{fault:?}"
            );
            rig.pass(TimeDelta::minutes(5));
        }
        rig.workflow.faults().stands(None);
        assert_eq!(rig.settle(&sinks[0], &mut ticket).await, None);
        assert_eq!(rig.cards().len(), 1, "{fault:?}");
        assert_eq!(record(&ticket).fault, None);
    }
}

#[tokio::test]
async fn refusals_say_what_to_do_and_nothing_is_given_up() {
    let mut rig = Rig::set(WorkflowOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    for (code, error, says) in [
        (
            401,
            "DirectApiAuthorizationRequired",
            "copy its whole URL again",
        ),
        (401, "MisMatchingOAuthClaims", "Anyone"),
        (403, "Forbidden", "only named users"),
        (404, "WorkflowTriggerNotFound", "turned off"),
        (400, "TriggerInputSchemaMismatch", "TEAMS_WORKFLOW_BODY"),
        (413, "RequestEntityTooLarge", "Power Automate"),
    ] {
        let body = format!(r#"{{"error":{{"code":"{error}","message":"no"}}}}"#);
        rig.workflow
            .faults()
            .next_on("POST", "invoke", answered(code, &[], &body));
        let fault = rig.settle(&sink, &mut ticket).await.unwrap();
        assert!(!fault.is_transient());
        let reason = fault.reason();
        assert!(reason.contains(says) && reason.contains(error), "{reason}");
        assert!(!reason.contains("1mulated-Signature"), "{reason}");
        // The next try is one in five minutes.
        rig.pass(TimeDelta::minutes(5));
    }
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 1);
    rig.workflow.assert_drained();
}

#[tokio::test]
async fn after_an_unknown_outcome_a_card_is_sent_once_more_at_most() {
    let page = answered(
        200,
        &[("content-type", "text/html; charset=utf-8")],
        "<html>",
    );
    for (fault, posted) in [
        (Fault::AcceptThenDrop, 2),
        (Fault::DropBefore, 1),
        (answered(500, &[], ""), 1),
        (answered(502, &[], ""), 1),
        (answered(504, &[], ""), 1),
        (answered(408, &[], ""), 1),
        (page, 1),
        (Fault::AcceptThenDelay(std::time::Duration::from_secs(1)), 2),
    ] {
        let mut rig = Rig::set(WorkflowOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        rig.workflow
            .faults()
            .next_on("POST", "invoke", fault.clone());
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(rig.cards().len(), posted, "{fault:?}");
        assert_eq!(record(&ticket).fault, None);
        assert_eq!(record(&ticket).cards, 1, "a double is no card of its own");
        // Twice in a row: nobody can say, and people are told so. The next news has its card.
        rig.workflow
            .faults()
            .next_on("POST", "invoke", fault.clone());
        rig.workflow
            .faults()
            .next_on("POST", "invoke", fault.clone());
        status(&mut ticket, Status::InProgress, "10:30:00");
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        let said = &record(&ticket).fault.as_ref().unwrap().reason;
        assert!(
            said.contains("two tries to post the card of update 1"),
            "{said}"
        );
        status(&mut ticket, Status::Acknowledged, "10:40:00");
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(record(&ticket).fault, None);
        let cards = rig.cards();
        assert!(
            texts(cards.last().unwrap())[0].starts_with("✅ CLOSED"),
            "{fault:?}"
        );
        let posts = rig.workflow.requests();
        let posts = posts.iter().filter(|request| request.method == "POST");
        assert_eq!(posts.count(), 2 + 2 + 1, "{fault:?}");
        rig.workflow.assert_drained();
    }
}

#[tokio::test]
async fn a_process_that_died_leaves_one_more_try_and_no_endless_ones() {
    let mut rig = Rig::set(WorkflowOptions::default()).await;
    let mut ticket = ticket();
    // Intended, and posted by a process that never recorded it.
    let sink = rig.sink();
    rig.step(&sink, &mut ticket).await.unwrap();
    let lost = sink.step(&ticket, rig.now).await.unwrap();
    drop(lost);
    let sink = rig.sink();
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 2);
    assert_eq!(record(&ticket).cards, 1);
    // Nothing was sent under an intent that lay too long: no unknown outcome.
    status(&mut ticket, Status::InProgress, "10:30:00");
    rig.step(&sink, &mut ticket).await.unwrap();
    rig.pass(TimeDelta::minutes(1));
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert_eq!(rig.cards().len(), 3);
}

#[tokio::test]
async fn an_outage_costs_no_try() {
    for fault in [
        answered(503, &[], ""),
        Fault::DropBefore,
        answered(302, &[], ""),
        answered(200, &[("content-type", "text/html")], ""),
    ] {
        let mut rig = Rig::set(WorkflowOptions::default()).await;
        let (sink, mut ticket) = (rig.sink(), ticket());
        rig.workflow.faults().stands(Some(fault.clone()));
        for _ in 0..40 {
            if let Err(fault) = rig.step(&sink, &mut ticket).await {
                assert!(fault.is_transient(), "{fault}");
            }
            rig.pass(TimeDelta::seconds(90));
        }
        rig.workflow.faults().stands(None);
        assert_eq!(rig.settle(&sink, &mut ticket).await, None);
        assert_eq!(rig.cards().len(), 1, "{fault:?}");
        assert_eq!(record(&ticket).fault, None);
    }
}

#[tokio::test]
async fn the_first_card_waits_for_the_issue_that_it_names_and_not_for_ever() {
    let mut rig = Rig::set(WorkflowOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    ticket.jira.key = None;
    assert!(ticket.lags(aiops_rca::ticket::Sink::Jira));
    rig.now = at("10:00:02");
    assert_eq!(rig.settle(&sink, &mut ticket).await, None);
    assert!(rig.now >= at("10:00:30"), "{}", rig.now);
    assert!(texts(&rig.cards()[0]).contains(&"pending".to_owned()));
}

#[tokio::test]
async fn doctor_asks_without_posting() {
    let rig = Rig::set(WorkflowOptions::default()).await;
    let checks = rig.sink().check(rig.now).await;
    assert!(checks.iter().all(|check| check.ok), "{checks:?}");
    rig.workflow.faults().next(Fault::status(503));
    let checks = rig.sink().check(rig.now).await;
    assert!(!checks[0].ok && checks[0].fix.is_some(), "{checks:?}");
    assert_eq!(rig.cards(), Vec::<serde_json::Value>::new());
    let shown = format!("{checks:?}");
    assert!(!shown.contains("Signature"), "{shown}");
}
