//! Tickets that an earlier version stored are read by this one, with everything that deliveries need.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use aiops_rca::failure::{RunKey, Source};
use aiops_rca::ticket::{JiraRecord, Sink, SlackRecord, Ticket, Work};
use sha2::Digest;

/// Written by 0.1.0 in the demo; leases, dates and intents are as a crash would have left them.
fn of_an_earlier_version() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stored/ticket-0.1.json");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn how_each_sink_stood_is_read() {
    let ticket: Ticket = serde_json::from_str(&of_an_earlier_version()).unwrap();
    let sinks = [Sink::Jira, Sink::Slack, Sink::Playbook];
    assert_eq!(sinks.map(|sink| ticket.delivered(sink)), [6, 7, 7]);
    assert!(ticket.lags(Sink::Jira) && !ticket.lags(Sink::Slack));
    let lease = ticket.lease(Sink::Jira).unwrap();
    assert_eq!(
        (lease.what, lease.by.as_str()),
        (Work::Deliver, "00c0ffee00c0ffee")
    );
    assert!(lease.is_live("2026-11-29T08:23:29Z".parse().unwrap()));
    assert!(!lease.is_live("2026-11-29T08:23:30Z".parse().unwrap()));
    assert_eq!(ticket.lease(Sink::Slack), None);
    assert_eq!(
        ticket.due(Sink::Slack).unwrap().to_rfc3339(),
        "2026-11-29T08:23:05+00:00"
    );
    let fault = ticket.fault(Sink::Playbook).unwrap();
    assert_eq!(
        fault.reason,
        "given up after repeated crashes (dead letter 1)"
    );
}

/// A call whose outcome was not recorded is looked for, whichever version intended it.
#[test]
fn the_intents_of_an_earlier_version_are_read() {
    let ticket: Ticket = serde_json::from_str(&of_an_earlier_version()).unwrap();
    let [jira, slack] = [&ticket.jira.intent, &ticket.slack.intent].map(|intent| {
        let intent = intent.clone().unwrap();
        (intent.what, intent.since.to_rfc3339(), intent.by)
    });
    assert_eq!(
        jira,
        (
            Work::Comment(4),
            "2026-11-29T08:23:00+00:00".to_owned(),
            "5f0c1a".to_owned()
        )
    );
    assert_eq!((slack.0, slack.2), (Work::Comment(4), String::new()));

    let jira: JiraRecord = serde_json::from_value(serde_json::json!({
        "creating_since": "2026-11-29T08:23:00Z", "creating_by": "5f0c1a", "left_out": ["labels"]
    }))
    .unwrap();
    let intent = jira.intent.clone().unwrap();
    assert_eq!((intent.what, intent.by.as_str()), (Work::Create, "5f0c1a"));
    assert_eq!(jira.left_out, ["labels"]);
    let changing = r#"{"key": "A-1", "changing_since": "2026-11-29T08:23:00Z"}"#;
    let changing: JiraRecord = serde_json::from_str(changing).unwrap();
    assert_eq!(changing.intent.unwrap().what, Work::Change);
    let slack = r#"{"channel": "C1", "posting_since": "2026-11-29T08:23:00Z"}"#;
    let slack: SlackRecord = serde_json::from_str(slack).unwrap();
    assert_eq!(slack.intent.unwrap().what, Work::Create);
    assert_eq!(
        serde_json::from_str::<JiraRecord>("{}").unwrap(),
        JiraRecord::default()
    );
    let written = serde_json::to_string(&jira).unwrap();
    assert!(!written.contains("creating"), "{written}");
    assert_eq!(serde_json::from_str::<JiraRecord>(&written).unwrap(), jira);
}

#[test]
fn what_is_written_is_read_back() {
    let ticket: Ticket = serde_json::from_str(&of_an_earlier_version()).unwrap();
    let written = serde_json::to_string(&ticket).unwrap();
    assert_eq!(serde_json::from_str::<Ticket>(&written).unwrap(), ticket);
    let value: serde_json::Value = serde_json::from_str(&written).unwrap();
    assert_eq!(value["books"]["sinks"]["jira"]["delivered"], 6);
    assert!(
        value["books"].get("delivered").is_none(),
        "the old form is not written again"
    );
}

/// Older versions stored what the key is made of; it goes on meaning the same run, and is written in digests.
#[test]
fn a_key_of_an_earlier_version_is_still_the_key_of_its_run() {
    let old: RunKey = serde_json::from_str("\"adf||7d3e-41||repair-2\"").unwrap();
    assert_eq!(old, RunKey::new(Source::Adf, "", "7D3E-41", "", "repair-2"));
    assert_eq!(
        old.hash(),
        hex::encode(sha2::Sha256::digest("adf||7d3e-41||repair-2"))
    );
    let written = serde_json::to_string(&old).unwrap();
    assert!(!written.contains("7d3e-41"), "{written}");
    assert_eq!(serde_json::from_str::<RunKey>(&written).unwrap(), old);
    assert_ne!(old.after("ADF-1"), old.after("ADF-2"));
    assert_ne!(old.after("ADF-1"), old);
}
