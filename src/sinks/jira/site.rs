//! What a JIRA site has, as far as we look at it: issues, their histories, statuses, screens.
//!
//! Pure types; `wire` makes them of JSON, the steps read them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::ticket::Status;

/// An issue that was made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) key: String,
    pub(super) id: Option<String>,
}

/// An issue as far as we look at it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Issue {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) status: String,
    pub(super) category: Option<StatusCategory>,
    /// Status changes, newest first.
    pub(super) moves: Vec<Move>,
}

/// One status change from the issue's history.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Move {
    pub(super) at: DateTime<Utc>,
    pub(super) account_id: Option<String>,
    pub(super) name: Option<String>,
    /// `app` for automations.
    pub(super) is_app: bool,
    pub(super) from: Option<String>,
    pub(super) to: String,
}

/// A transition that we may make now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) to: String,
    pub(super) category: Option<StatusCategory>,
    /// Fields it asks for and has no default for: id → allowed values (id, name).
    pub(super) required: BTreeMap<String, Vec<(String, String)>>,
}

/// An issue found by search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) labels: Vec<String>,
    pub(super) description: Value,
}

/// A type of issues that a project offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IssueType {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) subtask: bool,
}

/// A field of the create screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreateField {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) has_default: bool,
}

/// JIRA's three kinds of statuses; names are translated and customised, kinds are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum StatusCategory {
    /// `new`: to do.
    New,
    /// `indeterminate`: in progress.
    Indeterminate,
    /// `done`.
    Done,
}

impl StatusCategory {
    /// Reads `statusCategory.key`; `undefined` and unknown keys are none.
    pub fn from_key(key: &str) -> Option<Self> {
        key.parse().ok()
    }
}

/// What a JIRA status means for a ticket: the guide's table by name, any other name by its kind.
pub fn ticket_status(name: &str, category: Option<StatusCategory>) -> Option<Status> {
    match name.trim().to_lowercase().as_str() {
        "done" | "closed" => Some(Status::Acknowledged),
        "in progress" | "reopened" => Some(Status::InProgress),
        "to do" | "open" => Some(Status::Open),
        _ => category.map(|category| match category {
            StatusCategory::New => Status::Open,
            StatusCategory::Indeterminate => Status::InProgress,
            StatusCategory::Done => Status::Acknowledged,
        }),
    }
}
