//! Tokens with scopes, how long tokens live, and what our own webhook tells of a lost answer.

use std::time::Duration;

use aiops_rca::flow::jira::JiraOutcome;
use aiops_rca::sinks::jira::webhook::{self, JiraEvent, Naming};
use aiops_rca::sinks::jira::{Jira, JiraSettings};
use aiops_rca::sinks::{Sinks, Step};
use aiops_rca::ticket::Work;
use aiops_rca::ticket::machine::Change;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use simulators::Fault as Script;
use simulators::jira::{Config, JiraSimulator};

use super::rig::{Rig, sink};
use crate::support::{self, build};

fn scoped() -> Config {
    Config {
        scoped: true,
        ..Config::default()
    }
}

#[tokio::test]
async fn a_token_with_scopes_goes_through_the_gateway_and_people_do_not() {
    let mut rig = Rig::with(scoped()).await;
    rig.run().await.unwrap();
    let issue = rig.only_issue();
    let paths: Vec<String> = rig
        .simulator
        .requests()
        .into_iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    let id = Config::default().cloud_id;
    let through = format!("POST /ex/jira/{id}/rest/api/3/issue");
    assert_eq!(
        paths.iter().filter(|path| **path == through).count(),
        1,
        "{paths:#?}"
    );
    // The site is asked once, and never again with the token that it refuses.
    let asked: Vec<&String> = paths
        .iter()
        .filter(|path| path.contains(" /rest/"))
        .collect();
    assert_eq!(asked.len(), 1, "{paths:#?}");
    assert_eq!(
        paths
            .iter()
            .filter(|path| path.ends_with("tenant_info"))
            .count(),
        1
    );
    let tenant = rig.simulator.requests_to("GET", "/_edge/tenant_info");
    assert_eq!(tenant[0].header("authorization"), None);
    let link = rig.jira.browse_link(&issue.key);
    assert_eq!(link.as_str(), rig.simulator.browse_url(&issue.key));
}

#[tokio::test]
async fn a_token_that_nobody_takes_is_refused_as_before() {
    let mut rig = Rig::with(Config {
        token: "renewed".to_owned(),
        ..scoped()
    })
    .await;
    let settings = JiraSettings {
        api_token: "old".to_owned().into(),
        ..support::jira_settings(&rig.simulator)
    };
    rig.jira = Jira::new(settings, support::http());
    let fault = rig.jira.account_id(rig.now).await.unwrap_err();
    assert!(!fault.is_transient());
    assert!(
        fault.reason().contains("refused the credentials (401)"),
        "{fault:?}"
    );
    // A site that is no JIRA Cloud has no cloud id.
    rig.simulator
        .faults()
        .next_on("GET", "/_edge/tenant_info", Script::status(404));
    let fault = rig.jira.account_id(rig.now).await.unwrap_err();
    assert!(
        fault.reason().contains("refused the credentials (401)"),
        "{fault:?}"
    );
}

/// What doctor says of the token.
async fn token_line(simulator: &JiraSimulator, expires: Option<&str>) -> String {
    let now: DateTime<Utc> = "2026-11-29T12:00:00Z".parse().unwrap();
    let settings = JiraSettings {
        token_expires: expires.map(|day| day.parse().unwrap()),
        ..support::jira_settings(simulator)
    };
    let checks = Jira::new(settings, support::http()).check(now).await;
    let check = checks
        .into_iter()
        .find(|check| check.name == "JIRA token")
        .unwrap();
    format!("{} {}", if check.ok { "ok" } else { "BAD" }, check.line)
}

#[tokio::test]
async fn doctor_says_which_kind_of_token_it_is_and_how_long_it_lives() {
    let plain = JiraSimulator::start(0, Config::default()).await.unwrap();
    let with_scopes = JiraSimulator::start(0, scoped()).await.unwrap();
    let site = "an API token without scopes, used at the site";
    let gateway = format!(
        "an API token with scopes, used at 127.0.0.1 (cloud id {})",
        Config::default().cloud_id
    );
    for (simulator, expires, line) in [
        (
            &plain,
            None,
            format!("ok {site}; JIRA does not tell how long it lives"),
        ),
        (
            &plain,
            Some("2027-03-31"),
            format!("ok {site}; it works until 2027-03-31"),
        ),
        (
            &plain,
            Some("2026-12-10"),
            format!("BAD {site}; it expires on 2026-12-10, in 11 days"),
        ),
        (
            &plain,
            Some("2026-11-29"),
            format!("BAD {site}; it expires today (2026-11-29)"),
        ),
        (
            &with_scopes,
            Some("2026-11-01"),
            format!("BAD {gateway}; it expired on 2026-11-01"),
        ),
    ] {
        assert_eq!(token_line(simulator, expires).await, line);
    }
}

/// Looks again after 5, 10, 20, 40, 70 seconds, and creates another one only after that.
#[tokio::test]
async fn an_index_that_lags_for_a_minute_does_not_make_a_second_issue() {
    let mut rig = Rig::with(Config {
        index_lag: Duration::from_secs(65),
        ..Config::default()
    })
    .await;
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", Script::AcceptThenDrop);
    let began = rig.now;
    rig.run().await.unwrap();
    rig.only_issue();
    assert!((4..=6).contains(&rig.waited.len()), "{:?}", rig.waited);
    assert!(rig.now - began >= TimeDelta::seconds(65));
}

#[tokio::test]
async fn our_own_webhook_settles_a_creation_whose_answer_was_lost() {
    let simulator = JiraSimulator::start(
        0,
        Config {
            index_lag: Duration::from_secs(3600),
            ..Config::default()
        },
    )
    .await
    .unwrap();
    let jira = sink(&simulator);
    let now = Utc::now();
    let mut ticket = build::ticket(
        build::failure("pl_sales", "run-1"),
        build::diagnosis(),
        now,
        7,
    );
    // The intent of an earlier process: its outcome is unknown.
    let Step::Recorded(record) = jira.step(&ticket, now).await.unwrap() else {
        panic!("an intent comes first");
    };
    ticket.jira = record;
    assert_eq!(ticket.jira.intent.as_ref().unwrap().what, Work::Create);
    let mut flow = build::flow(support::embedded());
    flow.prepare().await.unwrap();
    let mut opened = Change {
        ticket: ticket.clone(),
        visible: true,
        at: now,
    };
    assert!(flow.store.open(&mut opened, &[]).await.unwrap());
    flow.sinks = Sinks {
        jira: Some(sink(&simulator)),
        ..Sinks::default()
    };
    let body = |label: &str| {
        json!({"webhookEvent": "jira:issue_created", "timestamp": now.timestamp_millis(), "issue": {"id": "10077", "key": "APAIOPS-77",
            "fields": {"labels": ["rca", label], "status": {"name": "To Do"}}}})
        .to_string()
    };
    let foreign = webhook::parse(body("other").as_bytes(), now).unwrap();
    assert!(matches!(foreign, JiraEvent::Ignored(_)));
    let event = webhook::parse(body(&format!("rca-{}", ticket.id)).as_bytes(), now).unwrap();
    assert_eq!(
        event,
        JiraEvent::IssueMade(Naming {
            issue_key: "APAIOPS-77".to_owned(),
            issue_id: "10077".to_owned(),
            former_key: None,
            ticket: Some(ticket.id.clone()),
        })
    );
    let JiraOutcome::Applied(settled) = flow.jira_event(event.clone(), now).await.unwrap() else {
        panic!("it settles the ticket");
    };
    assert_eq!(settled.jira.key.as_deref(), Some("APAIOPS-77"));
    assert_eq!(settled.jira.intent, None);
    assert_eq!(
        flow.store.by_issue("APAIOPS-77").await.unwrap(),
        Some(ticket.id.clone())
    );
    // Once more, or of an issue that somebody labelled by hand: nothing.
    let again = flow
        .jira_event(event, now + TimeDelta::seconds(5))
        .await
        .unwrap();
    assert!(matches!(again, JiraOutcome::Ignored(_)));
    assert!(
        simulator.issues().is_empty(),
        "nothing was created a second time"
    );
}
