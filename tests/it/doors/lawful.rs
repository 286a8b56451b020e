//! The laws of what comes back from sinks and models, for any bytes; the fuzz target checks the same ones.

use aiops_rca::model::Worded;
use aiops_rca::redaction::redact;
use aiops_rca::sinks::jira::webhook::{self, JiraEvent};
use aiops_rca::sinks::playbook::callback::{self, Outcome};
use aiops_rca::sinks::slack::interaction::{self, Interaction, Wish};
use chrono::DateTime;

/// What must hold for any body at the doors of JIRA, Slack and the playbooks, and for any answer of a model.
pub(crate) fn assert_lawful(body: &[u8]) {
    jira(body);
    slack(body);
    // The form around a payload is easy; what stands in it is not.
    let payload: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &String::from_utf8_lossy(body))
        .finish();
    slack(payload.as_bytes());
    callback(body);
    let text = String::from_utf8_lossy(body);
    let _any_answer = Worded::parse(&text, "receipt", "model");
}

/// Shown to people: redacted, short, on one line.
fn assert_shown(text: &str, limit: usize) {
    assert!(text.len() <= limit, "{text:?}");
    assert!(!text.contains(char::is_control), "{text:?}");
    assert_eq!(redact(text), text);
}

fn jira(body: &[u8]) {
    let received = DateTime::UNIX_EPOCH;
    match webhook::parse(body, received) {
        Ok(JiraEvent::Ignored(reason)) => assert!(!reason.is_empty() && reason.len() < 300),
        Ok(JiraEvent::StatusChanged(change)) => {
            assert!(!change.issue_key.is_empty() && !change.by.is_empty());
            assert_shown(&change.to_name, 100);
            assert_shown(&change.by, 128);
        }
        Ok(JiraEvent::IssueDeleted(deletion)) => {
            assert!(!deletion.issue_key.is_empty());
            assert_shown(&deletion.by, 128);
        }
        Ok(JiraEvent::IssueMoved(naming) | JiraEvent::IssueMade(naming)) => {
            assert!(!naming.issue_key.is_empty());
        }
        Err(malformed) => assert!(
            ["not_json", "wrong_type", "nothing_usable"].contains(&malformed.code),
            "{malformed:?}"
        ),
    }
}

fn slack(body: &[u8]) {
    match interaction::parse(body) {
        Ok(Interaction::Acknowledge(reason)) => assert!(!reason.is_empty() && reason.len() < 200),
        Ok(Interaction::Pressed(press)) => {
            assert!(!press.user_id.is_empty());
            assert!(press.user_name.len() <= 120, "{:?}", press.user_name);
            match press.wish {
                Wish::Answer {
                    approval_id, plan, ..
                } => assert!(!approval_id.is_empty() && !plan.is_empty()),
                Wish::CauseLine(_, line) => assert!(!line.trim().is_empty()),
                Wish::Silence(_) | Wish::Take | Wish::Close | Wish::OtherCause(..) => {}
            }
        }
        Err(malformed) => assert!(malformed.to_string().len() < 300, "{malformed}"),
    }
}

fn callback(body: &[u8]) {
    let Ok(read) = callback::parse(body) else {
        return;
    };
    for id in [
        &read.attempt_id,
        &read.original_run_id,
        &read.remediation_run_id,
        &read.pipeline_name,
    ] {
        assert!(id.as_deref().unwrap_or_default().len() <= 256, "{id:?}");
    }
    let why = match &read.outcome {
        Outcome::Failed(why) => Some(why),
        _ => read.error.as_ref(),
    };
    assert!(why.is_none_or(|why| why.len() <= 2_000), "{why:?}");
}
