//! An issue that is moved to another project gets another key: through the door and the store it is the ticket's issue as
//! before, whichever of the events about it arrives.

use std::time::Duration;

use aiops_rca::sinks::jira::Jira;
use aiops_rca::ticket::{Status, TicketId};
use chrono::TimeDelta;
use serde_json::{Value, json};
use simulators::jira::{self, Issue, JiraSimulator, Person};

use super::healing::rig::{Fate, Outside, Rig as SimulatedRig, Script};
use super::rig::{BLOB_MISSING, Backend, Rig, WEBHOOK_SECRET, alert, ids, row, run};
use crate::support;

/// Tickets in JIRA, with their issues in the same order.
async fn rig_of(names: &[&str]) -> (Rig, Vec<String>, Vec<Issue>) {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let rows: Vec<Value> = (1..)
        .zip(names)
        .map(|(number, name)| row(name, &run(number), "2200", BLOB_MISSING))
        .collect();
    let tickets = ids(&rig.deliver("azure-monitor", &alert("moved", &rows)).await);
    assert_eq!(tickets.len(), names.len());
    rig.until_shown(&tickets, Duration::from_secs(60)).await;
    let issues = rig.issues();
    let of = |ticket: &String| {
        let label = format!("rca-{ticket}");
        let mut issues = issues.iter();
        issues
            .find(|issue| issue.labels.contains(&label))
            .unwrap()
            .clone()
    };
    let issues = tickets.iter().map(of).collect();
    (rig, tickets, issues)
}

async fn until_status(rig: &Rig, ticket: &str, status: &str) {
    let what = format!("{ticket} is {status}");
    rig.until(&what, Duration::from_secs(30), async |rig: &Rig| {
        rig.ticket(ticket).await.unwrap_or_default()["status"] == status
    })
    .await;
}

/// JIRA is silent while this happens.
fn unheard<T>(rig: &Rig, act: impl FnOnce() -> T) -> T {
    let mut hook = None;
    rig.jira
        .configure(|config| std::mem::swap(&mut config.hook, &mut hook));
    let done = act();
    rig.jira.configure(|config| config.hook = hook);
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_issue_stays_the_tickets_issue() {
    let names = ["pl_heard", "pl_unheard", "pl_by_label", "pl_deleted"];
    let (rig, tickets, issues) = rig_of(&names).await;
    let ina = Person::named("Ina Moser");
    let moved: Vec<String> = (0..)
        .zip(&issues)
        .map(|(number, issue)| {
            let act = || rig.jira.transfers(&issue.key, "INDEV", &ina).unwrap();
            if number == 0 {
                act()
            } else {
                unheard(&rig, act)
            }
        })
        .collect();
    for (issue, key) in issues.iter().zip(&moved) {
        assert!(key.starts_with("INDEV-") && *key != issue.key);
        assert_eq!(rig.jira.issue(key).unwrap().id, issue.id);
    }
    rig.jira.deliveries().await;
    // As an older version left the store: it knows no numbers.
    let store = rusqlite::Connection::open(&rig.store).unwrap();
    let gone = store
        .execute(
            "DELETE FROM entity WHERE row = ?1",
            [format!("number:{}", issues[2].id)],
        )
        .unwrap();
    assert_eq!(gone, 1, "the row of the issue's number");
    for (ticket, key) in tickets.iter().zip(&moved).take(3) {
        assert!(rig.jira.moves(key, "Done", &ina));
        until_status(&rig, ticket, "acknowledged").await;
    }
    rig.until(
        "Slack says who closed it",
        Duration::from_secs(30),
        async |rig: &Rig| {
            let closed = |blocks: String| blocks.contains("Closed by Ina Moser on ");
            let messages = rig.messages();
            let blocks = messages.iter().map(|message| &message.blocks);
            blocks
                .filter(|blocks| closed(serde_json::to_string(blocks).unwrap()))
                .count()
                == 3
        },
    )
    .await;
    // What we do follows it as well: by its old key or its new one.
    let reopened = format!("api/tickets/{}/reopen", tickets[0]);
    let reply = rig.post(&reopened, r#"{"by":"Jane Roe"}"#).await.unwrap();
    assert_eq!(reply.status, 200);
    rig.until(
        "the moved issue is open",
        Duration::from_secs(30),
        async |rig: &Rig| rig.jira.issue(&moved[0]).unwrap().status == "To Do",
    )
    .await;
    assert_eq!(rig.issues().len(), names.len(), "nothing was created again");
    // Deleted after its move.
    assert!(rig.jira.deletes(&moved[3], &ina));
    rig.until(
        "the ticket knows that its issue is gone",
        Duration::from_secs(30),
        async |rig: &Rig| {
            let ticket = rig.ticket(&tickets[3]).await.unwrap_or_default();
            ticket["jira"]["deleted"] == true
        },
    )
    .await;
    rig.assert_wire_laws();
    rig.host.stop().await;
}

/// Bodies of JIRA's kin: times as texts or missing, a workflow's post function, an automation that posts the issue itself.
#[tokio::test(flavor = "multi_thread")]
async fn other_bodies_about_a_moved_issue_are_understood() {
    let names = ["pl_text_time", "pl_no_time", "pl_function", "pl_automation"];
    let (rig, tickets, issues) = rig_of(&names).await;
    let ina = Person::named("Ina Moser");
    for (number, ticket) in tickets.iter().enumerate() {
        let old = &issues[number];
        let key = unheard(&rig, || rig.jira.transfers(&old.key, "INDEV", &ina)).unwrap();
        let issue = json!({"id": old.id.to_string(), "key": key, "fields": {
            "status": {"name": "Done", "statusCategory": {"key": "done"}}, "labels": old.labels}});
        let items = json!([{"field": "status", "fieldId": "status", "fromString": "To Do", "toString": "Done"}]);
        let user = json!({"accountId": ina.account_id, "displayName": ina.name});
        let body = match number {
            0 => {
                json!({"timestamp": chrono::Utc::now().to_rfc3339(), "webhookEvent": "jira:issue_updated",
                "user": user, "issue": issue, "changelog": {"items": items}})
            }
            1 => {
                json!({"webhookEvent": "jira:issue_updated", "user": user, "issue": issue, "changelog": {"items": items}})
            }
            2 => {
                json!({"transition": {"from_status": "To Do", "to_status": "Done", "transitionName": "Close"},
                "user": user, "issue": issue})
            }
            _ => issue,
        };
        let door = format!("jira-webhook?secret={WEBHOOK_SECRET}");
        let reply = rig.post(&door, body.to_string()).await.unwrap();
        let answer = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, 200, "{}: {answer}", names[number]);
        until_status(&rig, ticket, "acknowledged").await;
    }
    // Somebody else's issue is not ours because it carries the label.
    let label = format!("rca-{}", tickets[0]);
    let body = json!({"id": "77001", "key": "OTHER-1", "fields": {"status": {"name": "To Do", "statusCategory": {"key": "new"}}, "labels": [label]}});
    let door = format!("jira-webhook?secret={WEBHOOK_SECRET}");
    let reply = rig.post(&door, body.to_string()).await.unwrap();
    let answer = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(
        answer.contains("not one of ours"),
        "{} {answer}",
        reply.status
    );
    until_status(&rig, &tickets[0], "acknowledged").await;
    rig.host.stop().await;
}

/// No event at all: the sweep reads the issue back, by the key that it had.
#[tokio::test]
async fn a_move_that_nobody_told_is_found_by_the_sweep() {
    let mut rig: SimulatedRig<Outside> =
        SimulatedRig::build(3, true, Script(vec![Fate::default()])).await;
    let jira = JiraSimulator::start(0, jira::Config::default())
        .await
        .unwrap();
    let settings = support::jira_settings(&jira);
    rig.simulation.flow.sinks.jira = Some(Jira::new(settings, support::http()));
    let id: TicketId = Box::pin(rig.story("never_mind", TimeDelta::minutes(3))).await;
    let key = jira.issues()[0].key.clone();
    let ina = Person::named("Ina Moser");
    jira.clock().set(rig.simulation.now);
    let key = jira.transfers(&key, "INDEV", &ina).unwrap();
    assert!(jira.moves(&key, "Done", &ina));
    Box::pin(rig.pass(TimeDelta::minutes(15))).await;
    let ticket = rig.ticket(&id).await;
    assert_eq!(ticket.status, Status::Acknowledged, "{ticket:#?}");
    assert_eq!(ticket.status_by.name, "Ina Moser");
}
