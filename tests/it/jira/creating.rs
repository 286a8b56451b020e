//! Creating: once, whatever happens on the way.

use aiops_rca::sinks::Step;
use aiops_rca::ticket::Priority;
use chrono::TimeDelta;
use simulators::Fault as Script;
use simulators::jira::Config;
use std::time::Duration;

use super::rig::{Rig, fixture_json, sink, sink_with, writes};

#[tokio::test]
async fn a_failure_becomes_one_issue_and_a_repeat_does_nothing() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    let issue = rig.only_issue();
    assert_eq!(rig.key(), issue.key);
    assert_eq!(issue.labels, ["rca", "rca-ADF-20251212T100000-abc123"]);
    assert_eq!(
        (issue.issue_type.as_str(), issue.priority.as_deref()),
        ("Task", Some("Medium"))
    );
    assert_eq!(writes(&rig.simulator), 1);
    let request = rig
        .simulator
        .requests_to("POST", "/rest/api/3/issue")
        .pop()
        .unwrap();
    insta::assert_json_snapshot!("create_request", request.json());
    assert!(rig.waited.is_empty(), "the first attempt waits for nothing");

    let asked = rig.simulator.requests().len();
    rig.run().await.unwrap();
    rig.restart();
    rig.run().await.unwrap();
    assert_eq!(
        rig.simulator.requests().len(),
        asked,
        "an issue that is true needs no call at all"
    );
}

#[tokio::test]
async fn the_search_is_bounded_by_project_and_label() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    let search = rig
        .simulator
        .requests_to("POST", "/rest/api/3/search/jql")
        .pop()
        .unwrap()
        .json();
    assert_eq!(
        search["jql"],
        "project = \"APAIOPS\" AND labels = \"rca-ADF-20251212T100000-abc123\""
    );
    assert!(
        rig.simulator
            .requests_to("GET", "/rest/api/3/search")
            .is_empty(),
        "the removed search is never asked"
    );
}

#[tokio::test]
async fn priorities_have_jiras_names() {
    for (ours, theirs) in [
        (Priority::P1, "Highest"),
        (Priority::P2, "High"),
        (Priority::P3, "Medium"),
        (Priority::P4, "Low"),
    ] {
        let mut rig = Rig::new().await;
        rig.ticket.priority = ours;
        rig.run().await.unwrap();
        assert_eq!(rig.only_issue().priority.as_deref(), Some(theirs));
    }
}

#[tokio::test]
async fn an_unanswered_creation_is_looked_for_until_the_index_knows_it() {
    let mut rig = Rig::with(Config {
        index_lag: Duration::from_secs(25),
        ..Config::default()
    })
    .await;
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", Script::AcceptThenDrop);
    rig.run().await.unwrap();
    rig.only_issue();
    assert!(rig.waited.len() >= 2, "the index lagged: {:?}", rig.waited);
    rig.simulator.assert_drained();
}

#[tokio::test]
async fn a_creation_that_never_happened_is_repeated_after_the_settling_time() {
    let mut rig = Rig::new().await;
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", Script::DropBefore);
    let started = rig.now;
    rig.run().await.unwrap();
    rig.only_issue();
    assert!(
        rig.now - started >= TimeDelta::seconds(60),
        "not before the settling time"
    );
    rig.simulator.assert_drained();
}

#[tokio::test]
async fn limits_then_errors_then_a_lost_answer_make_one_issue() {
    let mut rig = Rig::with(Config {
        index_lag: Duration::from_secs(5),
        ..Config::default()
    })
    .await;
    let faults = rig.simulator.faults().clone();
    faults.next_on(
        "POST",
        "/rest/api/3/issue",
        Script::from_fixture(&fixture_json("jira-http-429.json")),
    );
    faults.next_on("POST", "/rest/api/3/issue", Script::status(500));
    faults.next_on("POST", "/rest/api/3/issue", Script::AcceptThenDrop);
    rig.run().await.unwrap();
    rig.only_issue();
    let reasons: Vec<&str> = rig
        .faults
        .iter()
        .map(aiops_rca::fault::Fault::reason)
        .collect();
    assert_eq!(
        reasons,
        [
            "JIRA limits our rate (429, jira-burst-based)",
            "JIRA answered 500",
            "JIRA broke the connection"
        ],
        "each with its own reason"
    );
    let limited =
        aiops_rca::fault::Fault::transient_after(reasons[0], Some(Duration::from_secs(5)));
    assert_eq!(rig.faults[0], limited, "JIRA's own delay is kept");
    rig.simulator.assert_drained();
}

#[tokio::test]
async fn a_refused_creation_needs_no_settling_time() {
    let mut rig = Rig::new().await;
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", Script::status(429));
    rig.run().await.unwrap();
    assert!(rig.waited.is_empty(), "429 made nothing: {:?}", rig.waited);
    rig.only_issue();
}

#[tokio::test]
async fn a_crash_between_any_two_steps_doubles_nothing() {
    for (at, stored) in (0..6).flat_map(|at| [(at, false), (at, true)]) {
        let mut rig = Rig::with(Config {
            index_lag: Duration::from_secs(8),
            ..Config::default()
        })
        .await;
        for _ in 0..at {
            let outcome = rig.step().await;
            rig.settle(outcome).unwrap();
        }
        let outcome = rig.step().await;
        if stored {
            rig.settle(outcome).unwrap();
        }
        rig.restart();
        rig.run().await.unwrap();
        rig.only_issue();
    }
}

#[tokio::test]
async fn a_stored_record_that_was_lost_is_remembered_by_the_process_that_made_the_issue() {
    let mut rig = Rig::with(Config {
        index_lag: Duration::from_hours(1),
        ..Config::default()
    })
    .await;
    let claimed = rig.step().await;
    rig.settle(claimed).unwrap();
    let Ok(Step::Recorded(first)) = rig.step().await else {
        panic!("it makes the issue")
    };
    let Ok(Step::Recorded(again)) = rig.step().await else {
        panic!("it knows the issue")
    };
    assert_eq!(
        (first.key.clone(), again.key),
        (Some("APAIOPS-1".to_owned()), first.key)
    );
    rig.only_issue();
}

#[tokio::test]
async fn an_issue_that_carries_the_label_is_taken_over() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    rig.ticket.jira = aiops_rca::ticket::JiraRecord::default();
    rig.restart();
    rig.run().await.unwrap();
    assert_eq!(rig.only_issue().key, rig.key());
}

#[tokio::test]
async fn refused_fields_are_left_out_and_the_issue_says_so() {
    let config = Config {
        screen: vec!["description".to_owned()],
        issue_types: vec!["Aufgabe".to_owned()],
        ..Config::default()
    };
    let mut rig = Rig::with(config).await;
    rig.run().await.unwrap();
    let issue = rig.only_issue();
    assert_eq!(
        rig.ticket.jira.left_out,
        ["priority", "labels", "issuetype"]
    );
    assert_eq!(
        (
            issue.issue_type.as_str(),
            issue.priority,
            issue.labels.len()
        ),
        ("Aufgabe", None, 0)
    );
    insta::assert_snapshot!(
        "left_out_fields",
        rig.simulator.issues()[0].description_text()
    );
}

#[tokio::test]
async fn without_labels_an_unanswered_creation_is_found_by_its_text() {
    let config = Config {
        screen: vec!["description".to_owned()],
        ..Config::default()
    };
    let mut rig = Rig::with(config).await;
    rig.ticket.jira.left_out = vec!["priority".to_owned(), "labels".to_owned()];
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", Script::AcceptThenDrop);
    rig.run().await.unwrap();
    rig.only_issue();
    rig.simulator.assert_drained();
}

#[tokio::test]
async fn a_refused_description_still_gives_an_issue() {
    let mut rig = Rig::new().await;
    let refusal = Script::from_fixture(&fixture_json("jira-http-400-invalid-input.json"));
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", refusal);
    rig.run().await.unwrap();
    let issue = rig.only_issue();
    assert_eq!(issue.summary, "ADF Pipeline Failure: pipeline-name");
    assert!(issue.description.is_null());
    let fault = rig.ticket.jira.fault.unwrap();
    assert_eq!(
        fault.reason,
        "JIRA refused the description, so the issue has none: INVALID_INPUT"
    );
    assert!(!fault.retrying);
}

#[tokio::test]
async fn the_fixtures_field_errors_are_understood() {
    let mut rig = Rig::new().await;
    let refusal = Script::from_fixture(&fixture_json("jira-http-400-fields.json"));
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", refusal);
    rig.run().await.unwrap();
    assert_eq!(rig.ticket.jira.left_out, ["priority", "issuetype"]);
    assert_eq!(
        rig.only_issue().issue_type,
        "Task",
        "asked for by its id then"
    );
}

async fn stopped_by(script: Script) -> String {
    let mut rig = Rig::new().await;
    rig.simulator
        .faults()
        .next_on("POST", "/rest/api/3/issue", script);
    let fault = rig.run().await.unwrap_err();
    assert!(!fault.is_transient());
    assert!(rig.simulator.issues().is_empty());
    // Once the cause is removed, the next run makes the issue, at once.
    rig.run().await.unwrap();
    rig.only_issue();
    assert!(rig.waited.is_empty());
    fault.reason().to_owned()
}

#[tokio::test]
async fn permanent_refusals_say_what_to_do() {
    let html = |code| Script::Status {
        code,
        headers: Vec::new(),
        body: "<html><body>No</body></html>".to_owned(),
    };
    let captcha = Script::Status {
        code: 401,
        headers: vec![(
            "x-seraph-loginreason".into(),
            "AUTHENTICATION_DENIED".into(),
        )],
        body: String::new(),
    };
    let required = Script::Status {
        code: 400,
        headers: Vec::new(),
        body: r#"{"errorMessages":[],"errors":{"customfield_10050":"Team is required."}}"#
            .to_owned(),
    };
    let reasons = [
        stopped_by(Script::from_fixture(&fixture_json("jira-http-401.json"))).await,
        stopped_by(captcha).await,
        stopped_by(html(403)).await,
        stopped_by(Script::from_fixture(&fixture_json("jira-http-404.json"))).await,
        stopped_by(Script::from_fixture(&fixture_json(
            "jira-http-410-search.json",
        )))
        .await,
        stopped_by(required).await,
        stopped_by(html(400)).await,
    ];
    insta::assert_snapshot!("permanent_refusals", reasons.join("\n\n"));
}

async fn survived(method: &str, path: &str, script: Script) -> (String, Option<Duration>) {
    let mut rig = Rig::new().await;
    rig.simulator.faults().next_on(method, path, script);
    rig.run().await.unwrap();
    rig.only_issue();
    rig.simulator.assert_drained();
    match rig.faults.remove(0) {
        aiops_rca::fault::Fault::Transient {
            reason,
            retry_after,
        } => (reason, retry_after),
        permanent @ aiops_rca::fault::Fault::Permanent { .. } => panic!("{permanent}"),
    }
}

#[tokio::test]
async fn transient_refusals_pass() {
    let status = |code, headers: &[(&str, &str)], body: &str| Script::Status {
        code,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_owned(),
    };
    let create = "/rest/api/3/issue";
    let search = "/search/jql";
    let (html, five) = ("<html>maintenance</html>", Some(Duration::from_secs(5)));
    let reset = status(
        429,
        &[
            ("x-ratelimit-reset", "2025-12-12T10:01Z"),
            ("ratelimit-reason", "jira-per-issue-on-write"),
        ],
        "",
    );
    let evil = status(
        429,
        &[
            ("retry-after", "5"),
            ("ratelimit-reason", "<b>x</b> token=abc"),
        ],
        "",
    );
    for (method, path, script, reason, wait) in [
        (
            "POST",
            create,
            status(503, &[("retry-after", "5")], html),
            "JIRA answered 503",
            five,
        ),
        (
            "POST",
            create,
            status(502, &[], html),
            "JIRA answered 502",
            None,
        ),
        (
            "POST",
            create,
            status(408, &[], ""),
            "JIRA answered 408",
            None,
        ),
        (
            "POST",
            create,
            evil,
            "JIRA limits our rate (429, bxbtokenabc)",
            five,
        ),
        (
            "POST",
            search,
            status(500, &[], "not json"),
            "JIRA answered 500",
            None,
        ),
        (
            "POST",
            search,
            Script::DropBefore,
            "JIRA broke the connection",
            None,
        ),
        (
            "POST",
            search,
            status(200, &[], html),
            "JIRA answered 200 with a web page: a proxy or maintenance page, or JIRA_DOMAIN is no JIRA Cloud site",
            None,
        ),
        (
            "POST",
            create,
            status(201, &[], "{\"id\": 1}"),
            "JIRA answered 201 with JSON that we cannot read (line 1): a proxy or maintenance page, or JIRA_DOMAIN is no JIRA Cloud site",
            None,
        ),
    ] {
        assert_eq!(
            survived(method, path, script).await,
            (reason.to_owned(), wait)
        );
    }
    let (reason, wait) = survived("POST", create, reset).await;
    assert_eq!(
        reason,
        "JIRA limits our rate (429, jira-per-issue-on-write)"
    );
    assert!(
        wait.is_some_and(|wait| wait > Duration::from_secs(55) && wait <= Duration::from_mins(1)),
        "until the reset: {wait:?}"
    );
}

#[tokio::test]
async fn an_answer_that_comes_too_late_makes_no_second_issue() {
    let mut rig = Rig::new().await;
    let http = aiops_rca::http::Http::with_timeout(None, Duration::from_millis(700)).unwrap();
    rig.jira = sink_with(&rig.simulator, &http);
    rig.simulator.faults().next_on(
        "POST",
        "/rest/api/3/issue",
        Script::Delay(Duration::from_millis(900)),
    );
    while rig.faults.is_empty() {
        let outcome = rig.step().await;
        rig.settle(outcome).unwrap();
    }
    assert_eq!(rig.faults[0].reason(), "JIRA did not answer in time");
    rig.run().await.unwrap();
    rig.only_issue();
}

#[tokio::test]
async fn an_unreachable_jira_is_transient_and_nothing_was_sent() {
    let mut rig = Rig::new().await;
    let claimed = rig.step().await;
    rig.settle(claimed).unwrap();
    rig.simulator.stop();
    while rig
        .step()
        .await
        .err()
        .is_none_or(|fault| !fault.reason().starts_with("JIRA could not be reached"))
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn our_account_is_asked_once() {
    let rig = Rig::new().await;
    let asked = [
        rig.jira.account_id(rig.now).await.unwrap(),
        rig.jira.account_id(rig.now).await.unwrap(),
    ];
    assert_eq!(
        asked,
        [
            rig.simulator.bot().account_id.clone(),
            rig.simulator.bot().account_id.clone()
        ]
    );
    assert_eq!(rig.simulator.requests_to("GET", "/myself").len(), 1);
}

#[tokio::test]
async fn the_browse_link_leads_to_the_issue() {
    let rig = Rig::new().await;
    assert_eq!(
        sink(&rig.simulator).browse_link("APAIOPS-1").as_str(),
        rig.simulator.browse_url("APAIOPS-1")
    );
}
