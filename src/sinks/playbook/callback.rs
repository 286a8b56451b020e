//! What a playbook calls back: the guide's body and every variant seen in the field, as one [`Callback`].
//!
//! Pure. Statuses are read without regard to case; an expression that the workflow did not resolve
//! (`@body('…')`) counts as absent; a status and a success flag that contradict each other are believed
//! neither: the vendor is asked. Anything else is refused, and nothing changes.

use serde_json::{Map, Value};

use crate::redaction::{cap, redact};
use crate::ticket::TicketId;

const TEXT_CAP: usize = 2_000;
const ID_CAP: usize = 256;

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
        "status is none of succeeded, failed, cancelled, timedout, accepted, running, in_progress"
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
        .text(&["error_message", "error", "message", "reason"])
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
        "failed" => Ok((failed("the remediation run failed"), success == Some(true))),
        "cancelled" | "canceled" => Ok((
            failed("the remediation run was cancelled"),
            success == Some(true),
        )),
        "timedout" => Ok((
            failed("the remediation run did not end in time"),
            success == Some(true),
        )),
        "accepted" | "running" | "inprogress" => Ok((Outcome::Progress, false)),
        _ => Err(CallbackRefusal::UnknownStatus),
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

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// The first of these fields that holds something: a text, or a number (ids beyond 2^53 stay exact).
    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| {
            let text = match self.0.get(*name)? {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            (!text.is_empty() && !is_unresolved(&text)).then_some(text)
        })
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
}

/// An expression that came through as it was written: `@body('…')`, `@{…}`.
fn is_unresolved(text: &str) -> bool {
    text.contains("@{") || (text.starts_with('@') && text.contains('('))
}
