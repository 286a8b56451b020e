//! `jira:issue_updated` and its relatives: raw body → one [`JiraEvent`], and the two locks before it.
//!
//! In: what JIRA posts (or somebody who pretends to be JIRA). Out: a change of status with who, when and for
//! which ticket; a deletion; or *understood but not interesting*, with the reason. Malformed bodies are
//! refused with their JSON path. Pure: the time comes from the event, never from a clock. This file does
//! not know the ticket's state: whether an event is late, repeated or our own echo is decided by the ticket
//! machine from [`StatusChange::at`] and [`StatusChange::account_id`]. JIRA retries on 408, 409, 425, 429
//! and 5xx, so a door answers 2xx for everything understood and 401 for a wrong lock.

use chrono::{DateTime, TimeZone, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::site::{StatusCategory, ticket_status};
use crate::redaction::{cap, one_line, redact};
use crate::sources::Malformed;
use crate::sources::time::instant;
use crate::ticket::{Status, TicketId};
use crate::tolerant;

/// What a delivery meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JiraEvent {
    /// An issue's status changed.
    StatusChanged(StatusChange),
    /// An issue was deleted.
    IssueDeleted(Deletion),
    /// An issue got another key: it was moved, or its project was renamed.
    IssueMoved(Naming),
    /// An issue with our label was made: ours, should its own call have had no answer.
    IssueMade(Naming),
    /// Understood, and nothing to do: why.
    Ignored(String),
}

/// What names an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// E.g. `APAIOPS-123`.
    pub issue_key: String,
    /// The issue's number; it survives a move to another project.
    pub issue_id: String,
    /// Its key before this very event.
    pub former_key: Option<String>,
    /// Our ticket, from the issue's label `rca-<ticket id>`, if that label is there.
    pub ticket: Option<TicketId>,
}

/// An issue's status changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// E.g. `APAIOPS-123`.
    pub issue_key: String,
    /// The issue's number; it survives a move to another project.
    pub issue_id: String,
    /// Its key before this very event, if the event moved it as well.
    pub former_key: Option<String>,
    /// Our ticket, from the issue's label `rca-<ticket id>`, if that label is there.
    pub ticket: Option<TicketId>,
    /// The status before, by name.
    pub from: Option<String>,
    /// The status now, by name.
    pub to_name: String,
    /// The status now, by kind.
    pub category: Option<StatusCategory>,
    /// What that means for the ticket: the guide's table by name, else the kind.
    pub status: Status,
    /// Who did it, as people read it.
    pub by: String,
    /// Who did it; compare with [`super::Jira::account_id`] to recognise our own echoes.
    pub account_id: Option<String>,
    /// When it happened, by JIRA's clock.
    pub at: DateTime<Utc>,
}

/// An issue was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// E.g. `APAIOPS-123`.
    pub issue_key: String,
    /// The issue's number.
    pub issue_id: String,
    /// Our ticket, if its label is there.
    pub ticket: Option<TicketId>,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A delivery with a wrong or missing lock; says nothing about what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's signature or secret is missing or wrong")]
pub struct Refused;

/// Opens one of the two locks: `X-Hub-Signature` over the raw body, or `?secret=` in the address.
///
/// A signature that is present decides alone: a wrong one is refused whatever the address says.
/// Comparisons take the same time wherever the difference is. An empty secret opens nothing.
pub fn authenticate(
    signature: Option<&str>,
    query_secret: Option<&str>,
    body: &[u8],
    secret: &SecretString,
) -> Result<(), Refused> {
    let secret = secret.expose_secret().as_bytes();
    if secret.is_empty() {
        return Err(Refused);
    }
    if let Some(signature) = signature {
        let (method, digest) = signature.trim().split_once('=').ok_or(Refused)?;
        let digest = hex::decode(digest).map_err(|_| Refused)?;
        let expected = Hmac::<Sha256>::new_from_slice(secret)
            .map_err(|_| Refused)?
            .chain_update(body);
        let right = method.eq_ignore_ascii_case("sha256") && expected.verify_slice(&digest).is_ok();
        return if right { Ok(()) } else { Err(Refused) };
    }
    // Hashes have one length: the comparison does not tell how long the secret is.
    let (given, expected) = (
        Sha256::digest(query_secret.ok_or(Refused)?),
        Sha256::digest(secret),
    );
    if bool::from(given.as_slice().ct_eq(expected.as_slice())) {
        Ok(())
    } else {
        Err(Refused)
    }
}

/// Reads one delivery. `received` stands in for a time that the delivery does not carry.
pub fn parse(body: &[u8], received: DateTime<Utc>) -> Result<JiraEvent, Malformed> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let delivery: Delivery = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let syntax = !error.inner().is_data();
        Malformed {
            code: if syntax { "not_json" } else { "wrong_type" },
            message: if syntax {
                "the body is not JSON".to_owned()
            } else {
                "this field has another type".to_owned()
            },
            path: if path == "." { String::new() } else { path },
        }
    })?;
    let Some(event) = text(delivery.webhook_event.as_ref()) else {
        return unnamed(&delivery, received);
    };
    match event.as_str() {
        "jira:issue_updated" => updated(&delivery, received),
        "jira:issue_deleted" => deleted(&delivery, received),
        "jira:issue_created" => made(&delivery),
        other => Ok(JiraEvent::Ignored(format!(
            "the event {} changes no status",
            shown(other, 60)
        ))),
    }
}

/// Bodies without an event: of a workflow's post function (`transition`), or of an automation (the issue itself).
fn unnamed(delivery: &Delivery, received: DateTime<Utc>) -> Result<JiraEvent, Malformed> {
    let nothing = || missing("webhookEvent", "no JIRA event is named");
    if let Some(transition) = &delivery.transition {
        let issue = delivery.issue.as_ref().ok_or_else(nothing)?;
        let to = text(transition.to_status.as_ref());
        let from = text(transition.from_status.as_ref());
        return status_changed(delivery, issue, (from, to, None), received);
    }
    let own = Issue {
        id: delivery.id.clone(),
        key: delivery.key.clone(),
        fields: delivery.fields.clone(),
    };
    let issue = delivery.issue.as_ref().unwrap_or(&own);
    if delivery.changelog.is_some() {
        return changed(delivery, issue, received);
    }
    if issue
        .fields
        .as_ref()
        .is_none_or(|fields| fields.status.is_none())
    {
        return Err(nothing());
    }
    status_changed(delivery, issue, (None, None, None), received)
}

fn updated(delivery: &Delivery, received: DateTime<Utc>) -> Result<JiraEvent, Malformed> {
    if delivery.changelog.is_none() {
        return Ok(JiraEvent::Ignored(
            "an update without changes, such as a comment".to_owned(),
        ));
    }
    let issue = delivery
        .issue
        .as_ref()
        .ok_or_else(|| missing("issue", "no issue is named"));
    let tells = delivery
        .items()
        .any(|item| item.is_of("status") || item.is_of("Key"));
    if !tells {
        return Ok(JiraEvent::Ignored("the status did not change".to_owned()));
    }
    changed(delivery, issue?, received)
}

fn changed(
    delivery: &Delivery,
    issue: &Issue,
    received: DateTime<Utc>,
) -> Result<JiraEvent, Malformed> {
    let former_key = delivery
        .items()
        .filter(|item| item.is_of("Key"))
        .find_map(|item| text(item.from_string.as_ref()))
        .filter(|key| is_key(key));
    let Some(item) = delivery.items().filter(|item| item.is_of("status")).last() else {
        if former_key.is_none() {
            return Ok(JiraEvent::Ignored("the status did not change".to_owned()));
        }
        return Ok(JiraEvent::IssueMoved(Naming {
            issue_key: issue.key()?,
            issue_id: text(issue.id.as_ref()).unwrap_or_default(),
            former_key,
            ticket: issue.ticket(),
        }));
    };
    let (from, to) = (
        text(item.from_string.as_ref()),
        text(item.to_string.as_ref()),
    );
    status_changed(delivery, issue, (from, to, former_key), received)
}

/// The status from which, the status to which (else the issue's own), and the former key.
type Change = (Option<String>, Option<String>, Option<String>);

fn status_changed(
    delivery: &Delivery,
    issue: &Issue,
    (from, to, former_key): Change,
    received: DateTime<Utc>,
) -> Result<JiraEvent, Malformed> {
    let now = issue
        .fields
        .as_ref()
        .and_then(|fields| fields.status.as_ref());
    let own_name = now.and_then(|status| text(status.name.as_ref()));
    let to_name = to.or_else(|| own_name.clone()).unwrap_or_default();
    // A post function runs before the issue's own status is written: then its kind is the old one's.
    let category = now
        .filter(|_| {
            own_name
                .as_ref()
                .is_none_or(|own| own.eq_ignore_ascii_case(&to_name))
        })
        .and_then(|status| text(status.status_category.as_ref()?.key.as_ref()))
        .and_then(|key| StatusCategory::from_key(&key));
    let Some(status) = ticket_status(&to_name, category) else {
        return Ok(JiraEvent::Ignored(
            "a status without a name or kind that we know".to_owned(),
        ));
    };
    Ok(JiraEvent::StatusChanged(StatusChange {
        issue_key: issue.key()?,
        issue_id: text(issue.id.as_ref()).unwrap_or_default(),
        former_key,
        ticket: issue.ticket(),
        from: from.map(|name| shown(&name, 100)),
        to_name: shown(&to_name, 100),
        category,
        status,
        by: delivery.by(),
        account_id: delivery
            .user
            .as_ref()
            .and_then(|user| text(user.account_id.as_ref())),
        at: delivery.at(issue).unwrap_or(received),
    }))
}

fn deleted(delivery: &Delivery, received: DateTime<Utc>) -> Result<JiraEvent, Malformed> {
    let issue = delivery
        .issue
        .as_ref()
        .ok_or_else(|| missing("issue", "no issue is named"))?;
    Ok(JiraEvent::IssueDeleted(Deletion {
        issue_key: issue.key()?,
        issue_id: text(issue.id.as_ref()).unwrap_or_default(),
        ticket: issue.ticket(),
        by: delivery.by(),
        at: delivery.at(issue).unwrap_or(received),
    }))
}

fn made(delivery: &Delivery) -> Result<JiraEvent, Malformed> {
    let issue = delivery
        .issue
        .as_ref()
        .ok_or_else(|| missing("issue", "no issue is named"))?;
    let Some(ticket) = issue.ticket() else {
        return Ok(JiraEvent::Ignored(
            "an issue without our label was made".to_owned(),
        ));
    };
    Ok(JiraEvent::IssueMade(Naming {
        issue_key: issue.key()?,
        issue_id: text(issue.id.as_ref()).unwrap_or_default(),
        former_key: None,
        ticket: Some(ticket),
    }))
}

fn missing(path: &str, message: &str) -> Malformed {
    Malformed {
        code: "nothing_usable",
        message: message.to_owned(),
        path: path.to_owned(),
    }
}

/// A name as people may see it; events without a user come from automations.
pub(super) fn person(name: Option<&str>) -> String {
    let name = name
        .map(|name| shown(name, 128))
        .filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "JIRA automation".to_owned())
}

/// Outside text as people may see it.
fn shown(text: &str, limit: usize) -> String {
    cap(&one_line(&redact(text)), limit)
}

/// Texts that may be numbers, null or missing.
fn text(value: Option<&Value>) -> Option<String> {
    tolerant::scalar(value?).filter(|text| !text.is_empty())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    webhook_event: Option<Value>,
    timestamp: Option<Value>,
    user: Option<User>,
    issue: Option<Issue>,
    changelog: Option<Changelog>,
    transition: Option<Transition>,
    // An automation may post the issue itself.
    id: Option<Value>,
    key: Option<Value>,
    fields: Option<Fields>,
}

/// What a workflow's post function says; its names are not camel case.
#[derive(Deserialize)]
struct Transition {
    from_status: Option<Value>,
    to_status: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    account_id: Option<Value>,
    display_name: Option<Value>,
}

#[derive(Deserialize)]
struct Issue {
    id: Option<Value>,
    key: Option<Value>,
    fields: Option<Fields>,
}

#[derive(Clone, Deserialize)]
struct Fields {
    status: Option<StatusField>,
    labels: Option<Vec<Value>>,
    updated: Option<Value>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusField {
    name: Option<Value>,
    status_category: Option<CategoryField>,
}

#[derive(Clone, Deserialize)]
struct CategoryField {
    key: Option<Value>,
}

#[derive(Deserialize)]
struct Changelog {
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    field: Option<Value>,
    field_id: Option<Value>,
    from_string: Option<Value>,
    to_string: Option<Value>,
}

impl Delivery {
    fn by(&self) -> String {
        person(
            self.user
                .as_ref()
                .and_then(|user| text(user.display_name.as_ref()))
                .as_deref(),
        )
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        self.changelog
            .iter()
            .flat_map(|changelog| changelog.items.iter().flatten())
    }

    /// Milliseconds since 1970 or a time as text; else when the issue was updated.
    fn at(&self, issue: &Issue) -> Option<DateTime<Utc>> {
        let updated = || issue.fields.as_ref()?.updated.as_ref();
        let moment = |value: &Value| {
            let text = text(Some(value))?;
            let text = text.trim();
            let millis = text
                .split('.')
                .next()
                .and_then(|whole| whole.parse::<i64>().ok());
            match millis {
                Some(millis) => Utc.timestamp_millis_opt(millis).single(),
                None => instant(text),
            }
        };
        self.timestamp
            .as_ref()
            .and_then(moment)
            .or_else(|| updated().and_then(moment))
    }
}

impl Issue {
    /// A key goes into paths and index rows later: only the form JIRA gives keys is let in.
    fn key(&self) -> Result<String, Malformed> {
        let key =
            text(self.key.as_ref()).ok_or_else(|| missing("issue.key", "the issue has no key"))?;
        if is_key(&key) {
            Ok(key)
        } else {
            Err(missing("issue.key", "this is no issue key"))
        }
    }

    fn ticket(&self) -> Option<TicketId> {
        let labels = self.fields.as_ref()?.labels.as_ref()?;
        labels
            .iter()
            .filter_map(|label| label.as_str()?.strip_prefix("rca-"))
            .find_map(TicketId::parse)
    }
}

impl Item {
    /// A custom field may be called `status` too; its id tells.
    fn is_of(&self, field: &str) -> bool {
        text(self.field_id.as_ref())
            .or_else(|| text(self.field.as_ref()))
            .is_some_and(|name| name.eq_ignore_ascii_case(field))
    }
}

fn is_key(key: &str) -> bool {
    key.len() <= 64
        && key.split_once('-').is_some_and(|(project, number)| {
            !project.is_empty()
                && project
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !number.is_empty()
                && number.bytes().all(|b| b.is_ascii_digit())
        })
}
