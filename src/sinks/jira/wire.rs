//! JIRA's JSON names, and the way from them to our types.
//!
//! In: JSON of the REST API, of any vendor's mood: fields missing, null, added; ids as numbers. Out: the
//! types of [`site`]. Nothing outside these two files knows these names (webhooks have their own).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::site::{self, Move, StatusCategory};
use crate::tolerant;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) account_id: Option<String>,
    pub(super) display_name: Option<String>,
    account_type: Option<String>,
}

/// Ids are strings, and numbers in some places.
#[derive(Default, Clone)]
pub(super) struct Id(pub(super) String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tolerant::field(deserializer).map(Self)
    }
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TypeStatuses {
    #[serde(default)]
    pub(super) statuses: Vec<Status>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) name: Option<String>,
    pub(super) status_category: Option<Category>,
}

#[derive(Deserialize, Clone)]
pub(super) struct Category {
    pub(super) key: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Permissions {
    #[serde(default)]
    pub(super) permissions: BTreeMap<String, Permission>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Permission {
    #[serde(default)]
    pub(super) have_permission: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IssueTypes {
    #[serde(default)]
    pub(super) issue_types: Vec<IssueType>,
    #[serde(default)]
    pub(super) values: Vec<IssueType>,
}

#[derive(Deserialize)]
pub(super) struct IssueType {
    pub(super) id: Id,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) subtask: bool,
}

#[derive(Deserialize)]
pub(super) struct CreateFields {
    #[serde(default)]
    pub(super) fields: Vec<CreateField>,
    #[serde(default)]
    pub(super) values: Vec<CreateField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateField {
    pub(super) field_id: Option<String>,
    pub(super) key: Option<String>,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) has_default_value: bool,
}

#[derive(Deserialize)]
pub(super) struct Search {
    pub(super) issues: Vec<Issue>,
}

#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) key: String,
    #[serde(default)]
    pub(super) id: Option<Id>,
}

/// A comment that was made. Only that it has an id counts.
#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(rename = "id")]
    _id: Id,
}

#[derive(Deserialize)]
pub(super) struct Issue {
    #[serde(default)]
    pub(super) id: Id,
    pub(super) key: String,
    #[serde(default)]
    pub(super) fields: Fields,
    #[serde(default)]
    pub(super) changelog: Changelog,
}

#[derive(Deserialize, Default)]
pub(super) struct Fields {
    pub(super) status: Option<Status>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) description: Option<Value>,
}

#[derive(Deserialize, Default)]
pub(super) struct Changelog {
    #[serde(default)]
    pub(super) histories: Vec<History>,
}

#[derive(Deserialize)]
pub(super) struct History {
    author: Option<User>,
    #[serde(default)]
    created: String,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    field: String,
    field_id: Option<String>,
    from_string: Option<String>,
    #[serde(rename = "toString")]
    to: Option<String>,
}

impl History {
    pub(super) fn moves(self) -> Vec<Move> {
        let Some(at) = time(&self.created) else {
            return Vec::new();
        };
        let author = self.author.unwrap_or_default();
        let of_status = |item: &Item| item.field_id.as_deref().unwrap_or(&item.field) == "status";
        let read = |item: Item| Move {
            at,
            account_id: author.account_id.clone(),
            name: author.display_name.clone(),
            is_app: author.account_type.as_deref() == Some("app"),
            from: item.from_string,
            to: item.to.unwrap_or_default(),
        };
        self.items.into_iter().filter(of_status).map(read).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct Comments {
    #[serde(default)]
    pub(super) comments: Vec<Comment>,
}

#[derive(Deserialize)]
pub(super) struct Comment {
    #[serde(default)]
    pub(super) body: Value,
}

#[derive(Deserialize)]
pub(super) struct Transitions {
    #[serde(default)]
    pub(super) transitions: Vec<Transition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transition {
    id: Id,
    name: Option<String>,
    to: Option<Status>,
    pub(super) is_available: Option<bool>,
    #[serde(default)]
    fields: BTreeMap<String, TransitionField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransitionField {
    #[serde(default)]
    required: bool,
    #[serde(default)]
    has_default_value: bool,
    #[serde(default)]
    allowed_values: Vec<Allowed>,
}

#[derive(Deserialize)]
struct Allowed {
    #[serde(default)]
    id: Id,
    name: Option<String>,
}

impl Transition {
    pub(super) fn read(self) -> site::Transition {
        let to = self.to.unwrap_or_default();
        let asked = self
            .fields
            .into_iter()
            .filter(|(_, field)| field.required && !field.has_default_value);
        let values = |field: TransitionField| {
            field
                .allowed_values
                .into_iter()
                .map(|value| (value.id.0, value.name.unwrap_or_default()))
                .collect()
        };
        site::Transition {
            id: self.id.0,
            name: self.name.unwrap_or_default(),
            to: to.name.unwrap_or_default(),
            category: category(to.status_category),
            required: asked.map(|(name, field)| (name, values(field))).collect(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Errors {
    pub(super) error_messages: Vec<Value>,
    pub(super) errors: BTreeMap<String, Value>,
}

pub(super) fn category(of: Option<Category>) -> Option<StatusCategory> {
    StatusCategory::from_key(&of?.key?)
}

/// `2026-07-27T09:15:31.447+0000`: an offset without a colon.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
        .or_else(|_| DateTime::parse_from_rfc3339(text));
    parsed.ok().map(|at| at.to_utc())
}
