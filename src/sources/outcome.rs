//! How a run ended, in whatever field a hand-made body says it.
//!
//! In: a flat object that somebody built in a Web activity, a Logic App or a mail. Out: that it is no failure, and
//! why, or nothing. A field for the outcome decides; without one the words of a title or a text do, unless an error
//! is reported as well. Vendors' own bodies have their own readers; this file knows no vendor.

use serde_json::{Map, Value};

use super::json::{member, prose, scalar};

/// Fields in which people put the outcome: lower case, without separators.
const OUTCOMES: [&str; 22] = [
    "status",
    "runstatus",
    "pipelinestatus",
    "pipelinerunstatus",
    "activitystatus",
    "executionstatus",
    "jobstatus",
    "taskstatus",
    "finalstatus",
    "state",
    "runstate",
    "pipelinestate",
    "resultstate",
    "jobstate",
    "result",
    "runresult",
    "jobterminalstate",
    "outcome",
    "runoutcome",
    "executionresult",
    "conclusion",
    "eventstatus",
];
/// Fields that say yes or no.
const FLAGS: [&str; 8] = [
    "success",
    "succeeded",
    "issuccess",
    "issuccessful",
    "successful",
    "issucceeded",
    "ok",
    "passed",
];
/// Texts for people.
const TEXTS: [&str; 12] = [
    "title",
    "subject",
    "summary",
    "message",
    "text",
    "body",
    "description",
    "event",
    "eventtype",
    "alerttype",
    "notification",
    "notificationtype",
];
/// Fields that hold an error, whatever they say.
const ERRORS: [&str; 12] = [
    "error",
    "errors",
    "errormessage",
    "errorcode",
    "errordetails",
    "errordetail",
    "errorinfo",
    "errordescription",
    "exception",
    "failuretext",
    "failurereason",
    "failuretype",
];

/// A body that reports no failure: why.
pub(super) fn no_failure(body: &Map<String, Value>) -> Option<String> {
    let fields = || body.iter().map(|(name, value)| (plain(name), value));
    for (name, value) in fields() {
        if OUTCOMES.contains(&name.as_str())
            && let Some(state) = scalar(value).or_else(|| inner_state(value))
        {
            return match judge(&state) {
                Some(Judged::Good) => Some(format!("the run is {}", word(&state))),
                _ => None,
            };
        }
    }
    for (name, value) in fields() {
        if FLAGS.contains(&name.as_str())
            && let Some(flag) = scalar(value)
        {
            let good = ["true", "yes", "1"].contains(&flag.to_ascii_lowercase().as_str());
            return good.then(|| "the run succeeded".to_owned());
        }
    }
    let told =
        |names: &[&str]| fields().any(|(n, value)| names.contains(&n.as_str()) && says(value));
    if told(&ERRORS) {
        return None;
    }
    let texts: Vec<String> = fields()
        .filter(|(name, _)| TEXTS.contains(&name.as_str()))
        .filter_map(|(_, value)| prose(value))
        .collect();
    let judged: Vec<Judged> = texts.iter().filter_map(|text| judge(text)).collect();
    let good = judged.contains(&Judged::Good) && !judged.contains(&Judged::Bad);
    good.then(|| "a message of success".to_owned())
}

/// `{"result_state": …}` in place of a word.
fn inner_state(value: &Value) -> Option<String> {
    ["result_state", "resultState", "status", "state", "code"]
        .iter()
        .find_map(|name| member(value, name).and_then(scalar))
}

fn says(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().any(says),
        Value::Object(members) => members.values().any(says),
        _ => scalar(value).is_some_and(|text| !matches!(text.as_str(), "0" | "false")),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Good,
    Bad,
}

/// What a state or a sentence says; a sentence that says both is bad.
fn judge(text: &str) -> Option<Judged> {
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&[
        "fail",
        "error",
        "exception",
        "unsuccess",
        "not success",
        "without success",
        "timed out",
        "timedout",
        "timeout",
        "fault",
        "abort",
        "did not",
        "didn't",
        "broken",
        "critical",
        "incident",
    ]) {
        return Some(Judged::Bad);
    }
    let words = || lower.split(|c: char| !c.is_ascii_alphanumeric());
    let good = words().any(|word| {
        matches!(
            word,
            "succeeded"
                | "success"
                | "successful"
                | "successfully"
                | "succeed"
                | "completed"
                | "complete"
                | "finished"
                | "passed"
                | "ok"
                | "inprogress"
                | "running"
                | "started"
                | "queued"
                | "pending"
                | "resolved"
                | "skipped"
                | "cancelled"
                | "canceled"
                | "done"
        )
    });
    (good || lower.contains("in progress") || lower.contains("in_progress")).then_some(Judged::Good)
}

/// A name without case and separators.
fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

/// A value fit to be named in a reason.
fn word(state: &str) -> String {
    state
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || " ._-".contains(*letter))
        .take(40)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quiet(body: &Value) -> bool {
        no_failure(body.as_object().unwrap()).is_some()
    }

    #[test]
    fn success_is_known_in_any_field() {
        for body in [
            json!({"pipelineName": "p", "runId": "1", "runStatus": "Succeeded"}),
            json!({"title": "p SUCCEEDED!", "message": "Pipeline run finished successfully!", "pipelineName": "p"}),
            json!({"Outcome": "Success", "message": "see the error log for details"}),
            json!({"pipeline_name": "p", "is_success": true}),
            json!({"pipeline": "p", "result": {"status": "Succeeded"}}),
            json!({"subject": "Nightly load completed", "errors": []}),
            json!({"subject": "Pipeline started", "errorMessage": "", "error": null}),
            json!({"pipelineStatus": "InProgress"}),
        ] {
            assert!(quiet(&body), "{body}");
        }
    }

    #[test]
    fn failures_and_silence_are_no_success() {
        for body in [
            json!({"pipelineName": "p", "runStatus": "Failed"}),
            json!({"status": "Completed with errors"}),
            json!({"status": "Unsuccessful"}),
            json!({"title": "p failed", "message": "2 of 3 steps completed successfully"}),
            json!({"message": "Load finished", "errorMessage": "KeyError"}),
            json!({"message": "the copy finished", "errors": [{"message": "row 3 is bad"}]}),
            json!({"succeeded": false, "message": "completed"}),
            json!({"pipelineName": "Success report", "runId": "1"}),
            json!({}),
        ] {
            assert!(!quiet(&body), "{body}");
        }
    }
}
