//! What a playbook calls back: the guide's body and every variant seen in the field, as one [`Callback`].
//!
//! Pure. Statuses are read without regard to case, those of Logic Apps' own actions and runs included; a run id that is
//! `null` or an expression that the workflow did not resolve (`@body('…')`) counts as absent; a status and a success flag
//! that contradict each other are believed neither: the vendor is asked. Reasons may be Logic Apps' error objects.
//! Anything else is refused, and nothing changes.

use serde_json::{Map, Value};

use crate::redaction::{cap, redact};
use crate::ticket::TicketId;
use crate::tolerant;

const TEXT_CAP: usize = 2_000;
const ID_CAP: usize = 256;
/// How deep errors nest in errors.
const DEPTH: u8 = 8;

/// What the playbook says became of the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It healed. To be verified against the vendor where that is configured.
    Success,
    /// It ran and failed, was cancelled, or took too long: the reason for people.
    Failed(String),
    /// It is under way.
    Progress,
    /// It did nothing: what should be run again had succeeded meanwhile, by somebody's doing. To be verified as a success.
    HealedMeanwhile,
    /// It did nothing: what should be run again was queued or running already, by somebody's doing.
    Busy(String),
}

/// A callback, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The ticket the body names; must be the one of the address.
    pub ticket_id: Option<TicketId>,
    /// The attempt the body names, if it does; must be the one of the address.
    pub attempt_id: Option<String>,
    /// The attempt's number, if the body has it.
    pub attempt_number: Option<u32>,
    /// The run that failed.
    pub original_run_id: Option<String>,
    /// The run that was started to heal it.
    pub remediation_run_id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Status and success flag disagree, or only the flag claims success: ask the vendor before believing it.
    pub contradictory: bool,
    /// The pipeline or job by name.
    pub pipeline_name: Option<String>,
    /// What went wrong, in the playbook's words, redacted.
    pub error: Option<String>,
}

/// Why a body is no callback (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackRefusal {
    /// Not JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The ticket id is none of ours.
    #[error("ticket_id is not a ticket id")]
    TicketId,
    /// Neither a status nor a success flag.
    #[error("status is missing")]
    NoStatus,
    /// A status nobody told us about.
    #[error(
        "status is none of succeeded, failed, cancelled, timedout, accepted, running, in_progress, nor another state of Logic Apps"
    )]
    UnknownStatus,
}

/// Reads a callback's body.
pub fn parse(body: &[u8]) -> Result<Callback, CallbackRefusal> {
    let value: Value = serde_json::from_slice(body).map_err(|_| CallbackRefusal::NotJson)?;
    let fields = Fields(value.as_object().ok_or(CallbackRefusal::NotAnObject)?);
    let ticket_id = match fields.text(&["ticket_id"]) {
        None => None,
        Some(text) => Some(TicketId::parse(&text).ok_or(CallbackRefusal::TicketId)?),
    };
    let error = fields
        .reason(&["error_message", "error", "message", "reason"])
        .map(|text| cap(&redact(&text), TEXT_CAP));
    let (outcome, contradictory) = outcome(&fields, error.as_deref())?;
    let id = |names: &[&str]| fields.text(names).map(|text| cap(&redact(&text), ID_CAP));
    Ok(Callback {
        ticket_id,
        attempt_id: id(&["attempt_id"]),
        attempt_number: fields
            .text(&["attempt_number"])
            .and_then(|text| text.parse().ok()),
        original_run_id: id(&["original_run_id"]),
        remediation_run_id: id(&["remediation_run_id"]),
        outcome,
        contradictory,
        pipeline_name: id(&["pipeline_name", "job_name"]),
        error,
    })
}

fn outcome(fields: &Fields<'_>, error: Option<&str>) -> Result<(Outcome, bool), CallbackRefusal> {
    let failed = |what: &str| Outcome::Failed(error.map_or_else(|| what.to_owned(), str::to_owned));
    let success = fields.flag("success");
    let Some(status) = fields.text(&["status"]) else {
        return match success {
            Some(true) => Ok((Outcome::Success, true)),
            Some(false) => Ok((failed("the playbook reported a failure"), false)),
            None => Err(CallbackRefusal::NoStatus),
        };
    };
    if let Some(state) = error.and_then(found_by_guard)
        && success != Some(true)
    {
        match state.as_str() {
            "success" => return Ok((Outcome::HealedMeanwhile, false)),
            "scheduled" | "queued" | "running" | "restarting" | "deferred" | "up_for_retry"
            | "up_for_reschedule" => return Ok((Outcome::Busy(state), false)),
            _ => {}
        }
    }
    let word: String = status
        .chars()
        .filter(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_lowercase();
    match word.as_str() {
        "succeeded" | "success" => Ok((Outcome::Success, success == Some(false))),
        "accepted" | "running" | "inprogress" | "waiting" | "suspended" | "paused" | "queued"
        | "notspecified" => Ok((Outcome::Progress, false)),
        word => {
            let what = ended_badly(word).ok_or(CallbackRefusal::UnknownStatus)?;
            Ok((failed(what), success == Some(true)))
        }
    }
}

/// The state in which the guard of our playbook found a task that had not failed: `The task is in the state success,
/// not failed; nothing was done.`
fn found_by_guard(error: &str) -> Option<String> {
    let (_, rest) = error.split_once("is in the state ")?;
    let (state, rest) = rest.split_once(',')?;
    rest.contains("nothing was done")
        .then(|| state.trim().to_ascii_lowercase())
}

/// What became of a remediation that did not end well, by its state.
fn ended_badly(word: &str) -> Option<&'static str> {
    Some(match word {
        "failed" => "the remediation run failed",
        "faulted" => "the remediation run ended in a fault",
        "aborted" => "the remediation run was aborted",
        "skipped" | "ignored" => "the playbook skipped the remediation",
        "cancelled" | "canceled" => "the remediation run was cancelled",
        "timedout" => "the remediation run did not end in time",
        _ => return None,
    })
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
        self.0.get(name).or_else(|| {
            let wanted = plain(name);
            let found = self.0.iter().find(|(key, _)| plain(key) == wanted);
            found.map(|(_, value)| value)
        })
    }

    /// The first of these fields that holds something: a text, or a number (ids beyond 2^53 stay exact).
    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| {
            let given = self.get(name).filter(|value| !value.is_boolean())?;
            let text = tolerant::scalar(given)?;
            (!is_absent(&text) && !is_unresolved(&text)).then_some(text)
        })
    }

    /// The first of these fields that says why, as a text or as Logic Apps' error objects say it.
    fn reason(&self, names: &[&str]) -> Option<String> {
        names
            .iter()
            .filter_map(|name| self.get(name))
            .find_map(|value| reason_in(value, DEPTH))
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
}

/// The words of an error: `{"code", "message"}`, nested (`error`, `innerError`, `body`, `outputs`, `details`), the list
/// that `result('Scope')` gives, or any of these as a text.
fn reason_in(value: &Value, depth: u8) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::String(text) => {
            let text = text.trim();
            if is_absent(text) || is_unresolved(text) {
                return None;
            }
            let inside = text
                .starts_with(['{', '['])
                .then(|| serde_json::from_str::<Value>(text).ok())
                .flatten()
                .and_then(|inside| reason_in(&inside, depth));
            Some(inside.unwrap_or_else(|| text.to_owned()))
        }
        // The first action that failed says more than those that were skipped for it.
        Value::Array(items) => {
            let skipped = |item: &&Value| {
                let status = item.get("status").and_then(Value::as_str);
                status.is_some_and(|status| status == "Skipped" || status == "Succeeded")
            };
            let failed = items.iter().filter(|item| !skipped(item));
            failed
                .chain(items.iter().filter(skipped))
                .find_map(|item| reason_in(item, depth))
        }
        Value::Object(fields) => {
            let own = |names: &[&str]| {
                names
                    .iter()
                    .filter_map(|name| fields.get(*name))
                    .find_map(|value| reason_in(value, depth))
            };
            own(&[
                "message",
                "Message",
                "error",
                "errorMessage",
                "innerError",
                "inner_error",
            ])
            .or_else(|| own(&["details", "body", "outputs", "code", "Code", "status"]))
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) => None,
    }
}

/// Words for nothing, as workflows write them.
fn is_absent(text: &str) -> bool {
    let word = text.to_ascii_lowercase();
    matches!(word.as_str(), "" | "null" | "none" | "undefined" | "nil")
}

/// An expression or a placeholder that came through as it was written: `@body('…')`, `@{…}`, `{{…}}`, `<run id>`.
fn is_unresolved(text: &str) -> bool {
    text.contains("@{")
        || text.contains("{{")
        || text.contains("${")
        || text.starts_with('@') && text.contains('(')
        || text.starts_with('<') && text.ends_with('>')
}
