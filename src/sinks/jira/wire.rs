//! JIRA's JSON names, and the way from them to our types.
//!
//! In: JSON of the REST API, of any vendor's mood: fields missing, null, added; ids as numbers. Out: the
//! types of [`site`]. Nothing outside these two files knows these names (webhooks have their own).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::site::{self, Move, StatusCategory};
use crate::tolerant::{self, lenient};

lenient! {
    #[serde(rename_all = "camelCase")]
    struct User {
        account_id: Option<String>,
        display_name: Option<String>,
        account_type: Option<String>,
    }

    struct Named {
        name: String,
    }

    /// What a site says of itself to anybody.
    #[serde(rename_all = "camelCase")]
    struct Tenant {
        cloud_id: String,
    }

    struct TypeStatuses {
        statuses: Vec<Status>,
    }

    #[serde(rename_all = "camelCase")]
    struct Status {
        name: String,
        status_category: Category,
    }

    struct Category {
        key: String,
    }

    struct Permissions {
        permissions: BTreeMap<String, Permission>,
    }

    #[serde(rename_all = "camelCase")]
    struct Permission {
        have_permission: bool,
    }

    #[serde(rename_all = "camelCase")]
    struct IssueTypes {
        issue_types: Vec<IssueType>,
        values: Vec<IssueType>,
    }

    struct IssueType {
        id: String,
        name: String,
        subtask: bool,
    }

    struct CreateFields {
        fields: Vec<CreateField>,
        values: Vec<CreateField>,
    }

    #[serde(rename_all = "camelCase")]
    struct CreateField {
        field_id: Option<String>,
        key: String,
        name: String,
        required: bool,
        has_default_value: bool,
    }

    struct Fields {
        status: Status,
        labels: Vec<String>,
        description: Value,
    }

    struct History {
        author: User,
        created: String,
        items: Vec<Item>,
    }

    #[serde(rename_all = "camelCase")]
    struct Item {
        field: String,
        field_id: Option<String>,
        from_string: Option<String>,
        #[serde(rename = "toString")]
        to: String,
    }

    struct Comment {
        author: User,
        body: Value,
    }

    #[serde(rename_all = "camelCase")]
    struct Transition {
        id: String,
        name: String,
        to: Status,
        is_available: Option<bool>,
        fields: BTreeMap<String, TransitionField>,
    }

    #[serde(rename_all = "camelCase")]
    struct TransitionField {
        required: bool,
        has_default_value: bool,
        allowed_values: Vec<Allowed>,
    }

    struct Allowed {
        id: String,
        name: String,
    }

    #[serde(rename_all = "camelCase")]
    struct Errors {
        error_messages: Vec<Value>,
        errors: BTreeMap<String, Value>,
    }
}

// What an answer must say, to be taken for JIRA's own.

#[derive(Deserialize)]
pub(super) struct Search {
    pub(super) issues: Vec<Issue>,
}

#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) key: String,
    #[serde(default, deserialize_with = "tolerant::field")]
    pub(super) id: Option<String>,
}

/// A comment that was made. Only that it has an id counts.
#[derive(Deserialize)]
pub(super) struct Said {
    #[serde(rename = "id")]
    _id: Value,
}

#[derive(Deserialize)]
pub(super) struct Issue {
    #[serde(default, deserialize_with = "tolerant::field")]
    pub(super) id: String,
    pub(super) key: String,
    #[serde(default)]
    pub(super) fields: Fields,
    #[serde(default)]
    pub(super) changelog: Changelog,
}

// Lists that decide what is done: one that cannot be read is no answer, and not an empty one.

#[derive(Deserialize, Default)]
pub(super) struct Changelog {
    #[serde(default)]
    pub(super) histories: Vec<History>,
}

#[derive(Deserialize)]
pub(super) struct Comments {
    #[serde(default)]
    pub(super) comments: Vec<Comment>,
}

#[derive(Deserialize)]
pub(super) struct Transitions {
    #[serde(default)]
    pub(super) transitions: Vec<Transition>,
}

impl History {
    pub(super) fn moves(self) -> Vec<Move> {
        let Some(at) = time(&self.created) else {
            return Vec::new();
        };
        let author = self.author;
        let of_status = |item: &Item| item.field_id.as_deref().unwrap_or(&item.field) == "status";
        let read = |item: Item| Move {
            at,
            account_id: author.account_id.clone(),
            name: author.display_name.clone(),
            is_app: author.account_type.as_deref() == Some("app"),
            from: item.from_string,
            to: item.to,
        };
        self.items.into_iter().filter(of_status).map(read).collect()
    }
}

impl Transition {
    pub(super) fn read(self) -> site::Transition {
        let asked = self
            .fields
            .into_iter()
            .filter(|(_, field)| field.required && !field.has_default_value);
        let values = |field: TransitionField| {
            field
                .allowed_values
                .into_iter()
                .map(|value| (value.id, value.name))
                .collect()
        };
        site::Transition {
            id: self.id,
            name: self.name,
            category: self.to.category(),
            to: self.to.name,
            required: asked.map(|(name, field)| (name, values(field))).collect(),
        }
    }
}

impl Status {
    pub(super) fn category(&self) -> Option<StatusCategory> {
        StatusCategory::from_key(&self.status_category.key)
    }
}

/// `2026-07-27T09:15:31.447+0000`: an offset without a colon.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let parsed = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
        .or_else(|_| DateTime::parse_from_rfc3339(text));
    parsed.ok().map(|at| at.to_utc())
}
