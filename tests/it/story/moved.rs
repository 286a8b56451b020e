//! An issue that is moved to another project gets another key: through the door and the store it is the ticket's issue as
//! before, whichever of the events about it arrives.

use std::time::Duration;

use aiops_rca::sinks::jira::Jira;
use aiops_rca::ticket::{Status, TicketId};
use chrono::TimeDelta;
use serde_json::{Value, json};
use simulators::jira::{self, Issue, JiraSimulator, Person};

use super::healing::world::{Fate, Outside, Script, World};
use super::town::{BLOB_MISSING, Ground, Town, WEBHOOK_SECRET, alert, ids, row, run};
use crate::support;

/// Tickets in JIRA, with their issues in the same order.
async fn town_of(names: &[&str]) -> (Town, Vec<String>, Vec<Issue>) {
    let town = Town::build(&Ground::Embedded, &[]).await;
    let rows: Vec<Value> = (1..)
        .zip(names)
        .map(|(number, name)| row(name, &run(number), "2200", BLOB_MISSING))
        .collect();
    let tickets = ids(&town.deliver("azure-monitor", &alert("moved", &rows)).await);
    assert_eq!(tickets.len(), names.len());
    town.until_shown(&tickets, Duration::from_secs(60)).await;
    let issues = town.issues();
    let of = |ticket: &String| {
        let label = format!("rca-{ticket}");
        let mut issues = issues.iter();
        issues
            .find(|issue| issue.labels.contains(&label))
            .unwrap()
            .clone()
    };
    let issues = tickets.iter().map(of).collect();
    (town, tickets, issues)
}

async fn until_status(town: &Town, ticket: &str, status: &str) {
    let what = format!("{ticket} is {status}");
    town.until(&what, Duration::from_secs(30), async |town: &Town| {
        town.ticket(ticket).await.unwrap_or_default()["status"] == status
    })
    .await;
}

/// JIRA is silent while this happens.
fn unheard<T>(town: &Town, act: impl FnOnce() -> T) -> T {
    let mut hook = None;
    town.jira
        .configure(|config| std::mem::swap(&mut config.hook, &mut hook));
    let done = act();
    town.jira.configure(|config| config.hook = hook);
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_issue_stays_the_tickets_issue() {
    let names = ["pl_heard", "pl_unheard", "pl_by_label", "pl_deleted"];
    let (town, tickets, issues) = town_of(&names).await;
    let ina = Person::named("Ina Moser");
    let moved: Vec<String> = (0..)
        .zip(&issues)
        .map(|(number, issue)| {
            let act = || town.jira.transfers(&issue.key, "INDEV", &ina).unwrap();
            if number == 0 {
                act()
            } else {
                unheard(&town, act)
            }
        })
        .collect();
    for (issue, key) in issues.iter().zip(&moved) {
        assert!(key.starts_with("INDEV-") && *key != issue.key);
        assert_eq!(town.jira.issue(key).unwrap().id, issue.id);
    }
    town.jira.deliveries().await;
    // As an older version left the store: it knows no numbers.
    let store = rusqlite::Connection::open(&town.store).unwrap();
    let gone = store
        .execute(
            "DELETE FROM entity WHERE row = ?1",
            [format!("number:{}", issues[2].id)],
        )
        .unwrap();
    assert_eq!(gone, 1, "the row of the issue's number");
    for (ticket, key) in tickets.iter().zip(&moved).take(3) {
        assert!(town.jira.moves(key, "Done", &ina));
        until_status(&town, ticket, "acknowledged").await;
    }
    town.until(
        "Slack says who closed it",
        Duration::from_secs(30),
        async |town: &Town| {
            let closed = |blocks: String| blocks.contains("Closed by Ina Moser on ");
            let messages = town.messages();
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
    let reply = town.post(&reopened, r#"{"by":"Jane Roe"}"#).await.unwrap();
    assert_eq!(reply.status, 200);
    town.until(
        "the moved issue is open",
        Duration::from_secs(30),
        async |town: &Town| town.jira.issue(&moved[0]).unwrap().status == "To Do",
    )
    .await;
    assert_eq!(
        town.issues().len(),
        names.len(),
        "nothing was created again"
    );
    // Deleted after its move.
    assert!(town.jira.deletes(&moved[3], &ina));
    town.until(
        "the ticket knows that its issue is gone",
        Duration::from_secs(30),
        async |town: &Town| {
            let ticket = town.ticket(&tickets[3]).await.unwrap_or_default();
            ticket["jira"]["deleted"] == true
        },
    )
    .await;
    town.assert_wire_laws();
    town.host.stop().await;
}

/// Bodies of JIRA's kin: times as texts or missing, a workflow's post function, an automation that posts the issue itself.
#[tokio::test(flavor = "multi_thread")]
async fn other_bodies_about_a_moved_issue_are_understood() {
    let names = ["pl_text_time", "pl_no_time", "pl_function", "pl_automation"];
    let (town, tickets, issues) = town_of(&names).await;
    let ina = Person::named("Ina Moser");
    for (number, ticket) in tickets.iter().enumerate() {
        let old = &issues[number];
        let key = unheard(&town, || town.jira.transfers(&old.key, "INDEV", &ina)).unwrap();
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
        let reply = town.post(&door, body.to_string()).await.unwrap();
        let answer = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, 200, "{}: {answer}", names[number]);
        until_status(&town, ticket, "acknowledged").await;
    }
    // Somebody else's issue is not ours because it carries the label.
    let label = format!("rca-{}", tickets[0]);
    let body = json!({"id": "77001", "key": "OTHER-1", "fields": {"status": {"name": "To Do", "statusCategory": {"key": "new"}}, "labels": [label]}});
    let door = format!("jira-webhook?secret={WEBHOOK_SECRET}");
    let reply = town.post(&door, body.to_string()).await.unwrap();
    let answer = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(
        answer.contains("not one of ours"),
        "{} {answer}",
        reply.status
    );
    until_status(&town, &tickets[0], "acknowledged").await;
    town.host.stop().await;
}

/// No event at all: the sweep reads the issue back, by the key that it had.
#[tokio::test]
async fn a_move_that_nobody_told_is_found_by_the_sweep() {
    let mut world: World<Outside> = World::build(3, true, Script(vec![Fate::default()])).await;
    let jira = JiraSimulator::start(0, jira::Config::default())
        .await
        .unwrap();
    let settings = support::jira_settings(&jira);
    world.house.flow.sinks.jira = Some(Jira::new(settings, support::http()));
    let id: TicketId = Box::pin(world.story("never_mind", TimeDelta::minutes(3))).await;
    let key = jira.issues()[0].key.clone();
    let ina = Person::named("Ina Moser");
    jira.clock().set(world.house.now);
    let key = jira.transfers(&key, "INDEV", &ina).unwrap();
    assert!(jira.moves(&key, "Done", &ina));
    Box::pin(world.pass(TimeDelta::minutes(15))).await;
    let ticket = world.ticket(&id).await;
    assert_eq!(ticket.status, Status::Acknowledged, "{ticket:#?}");
    assert_eq!(ticket.status_by.name, "Ina Moser");
}
