//! What ran: the run history, as the portal shows it, with secured inputs and outputs left out.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::functions::history_time;

/// How an action or a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[expect(missing_docs, reason = "the names are the service's own")]
pub enum RunStatus {
    Waiting,
    Running,
    Succeeded,
    Failed,
    Skipped,
    TimedOut,
    Cancelled,
}

impl RunStatus {
    /// The service's own word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
        }
    }

    pub(super) fn is_one_of(self, names: &[String]) -> bool {
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(self.name()))
    }
}

/// One action of a run; in a loop, its last repetition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionRun {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it ended.
    pub status: RunStatus,
    /// How often it ran.
    pub repetitions: u32,
    /// `{"code", "message"}` when it failed.
    pub error: Value,
    /// What it was given; the text `(secured)` where the definition says so.
    #[serde(serialize_with = "secured")]
    pub inputs: Shown,
    /// What it gave; likewise.
    #[serde(serialize_with = "secured")]
    pub outputs: Shown,
    /// When it began, on the run's own clock.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// A value that the history shows or hides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    pub(super) value: Value,
    /// `runtimeConfiguration.secureData` names it.
    pub hidden: bool,
}

fn secured<S: Serializer>(shown: &Shown, serializer: S) -> Result<S::Ok, S::Error> {
    if shown.hidden {
        "(secured)".serialize(serializer)
    } else {
        shown.value.serialize(serializer)
    }
}

impl ActionRun {
    /// What `actions('x')` and `result('scope')` give.
    pub(super) fn as_value(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "status": self.status.name(),
            "startTime": history_time(self.started_at),
            "endTime": history_time(self.ended_at),
            "inputs": self.inputs.value,
            "outputs": self.outputs.value,
        });
        if let (Some(object), false) = (value.as_object_mut(), self.error.is_null()) {
            object.insert(
                "code".to_owned(),
                self.error.get("code").cloned().unwrap_or_default(),
            );
            object.insert("error".to_owned(), self.error.clone());
        }
        value
    }
}

/// One run of a playbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkflowRun {
    /// `x-ms-workflow-run-id`.
    pub id: String,
    /// Which playbook.
    pub playbook: String,
    /// The caller's `x-ms-client-tracking-id`.
    pub tracking_id: String,
    /// How it stands.
    pub status: RunStatus,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Its actions in the order in which they last ended.
    pub actions: Vec<ActionRun>,
}

impl WorkflowRun {
    /// An action of this run by its name.
    pub fn action(&self, name: &str) -> Option<&ActionRun> {
        self.actions.iter().find(|action| action.name == name)
    }
}

/// The page at `/`: newest runs first.
pub(super) fn page(runs: &[WorkflowRun]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Playbook runs (simulator)" }
                style { "body{font:15px system-ui;margin:2rem;max-width:60rem}td,th{padding:.3rem .8rem;text-align:left}summary{cursor:pointer}.Failed,.TimedOut{color:#b00020}.Succeeded{color:#0a7d32}.Skipped{color:#777}" }
            }
            body {
                h1 { "Playbook runs" }
                p { "A stand-in for Azure Logic Apps: it runs the shipped definitions against simulators." }
                @for run in runs.iter().rev() {
                    details {
                        summary { (run.started_at.format("%H:%M:%S")) " " b { (run.playbook) } " " span class=(run.status.name()) { (run.status.name()) } " " code { (run.tracking_id) } }
                        table {
                            @for action in &run.actions {
                                tr class=(action.status.name()) {
                                    td { (action.name) } td { (action.kind) } td { (action.status.name()) } td { "×" (action.repetitions) }
                                    td { (action.error.get("message").and_then(Value::as_str).unwrap_or_default()) }
                                }
                            }
                        }
                    }
                }
                @if runs.is_empty() { p { "None yet." } }
            }
        }
    }
}
