//! The first steps of an issue: intend, look, create. Exactly once in practice.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::refusal::{Failed, Invalid};
use super::site::Made;
use super::{DEFAULT_ISSUE_TYPE, Jira, SETTLE, Step, document, field, noted};
use crate::fault::Fault;
use crate::sinks::Standing;
use crate::ticket::{Intent, JiraRecord, Priority, Ticket, Work};

/// How long to wait before looking again for an issue that may have been made: as long as was waited already, so that a
/// quick index is quickly found and a slow one is not asked for ever.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(5);
const LOOK_AT_LEAST: TimeDelta = TimeDelta::seconds(30);

impl Jira {
    pub(super) async fn create(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Fault> {
        let record = &ticket.jira;
        let intend = || Ok(Step::Recorded(self.creating(record, now)));
        let Some(intent) = &record.intent else {
            return intend();
        };
        let standing = self.intents.standing(intent, now);
        match &standing {
            Standing::Made(key) => {
                let (key, id) = (key.clone(), None);
                return Ok(Step::Recorded(keyed(record, Made { key, id }, None)));
            }
            Standing::Over => return intend(),
            Standing::Unsent | Standing::Unknown => {}
        }
        if let Some(made) = self
            .find(ticket, now)
            .await
            .map_err(|failed| failed.fault("looking for the issue"))?
        {
            return Ok(Step::Recorded(keyed(record, made, None)));
        }
        if standing == Standing::Unsent && self.intents.spend(intent) {
            return self.send(ticket, intent, now).await;
        }
        // Not answered: the issue may still turn up in the index.
        let left = intent.since + SETTLE - now;
        if left <= TimeDelta::zero() {
            return intend();
        }
        let waited = (now - intent.since).clamp(LOOK_AGAIN, LOOK_AT_LEAST);
        Ok(Step::Wait(
            left.min(waited).to_std().unwrap_or(Duration::ZERO),
            "JIRA did not say whether it made the issue: looking for it before making it again"
                .to_owned(),
        ))
    }

    async fn send(
        &self,
        ticket: &Ticket,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Fault> {
        let record = &ticket.jira;
        let page = self.page(ticket, &record.left_out);
        let body = self
            .request(ticket, &page, now)
            .await
            .inspect_err(|_| self.intents.end(intent))?;
        match self.client.create(&body, now).await {
            Ok(made) => {
                self.intents.made(intent, &made.key);
                Ok(Step::Recorded(keyed(record, made, Some(page.hash))))
            }
            Err(failed @ Failed::Lost(_)) => Err(failed.fault("creating the issue")),
            Err(failed) => {
                self.intents.end(intent);
                match failed {
                    Failed::Invalid(invalid) => self.without_refused(record, &invalid, now),
                    failed => Err(failed.fault("creating the issue")),
                }
            }
        }
    }

    /// Leaves out what the site refused, so that there is an issue at all.
    fn without_refused(
        &self,
        record: &JiraRecord,
        invalid: &Invalid,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Fault> {
        let bad_document = invalid
            .messages
            .iter()
            .any(|message| message.contains("INVALID_INPUT"));
        let refused = |name: &&&str| {
            invalid.fields.contains_key(**name) || (**name == field::DESCRIPTION && bad_document)
        };
        let known = |name: &&&str| record.left_out.iter().any(|left| left == **name);
        let new: Vec<&&str> = field::OPTIONAL
            .iter()
            .filter(refused)
            .filter(|name| !known(name))
            .collect();
        if new.is_empty() {
            return Err(Fault::permanent(format!(
                "{}. Check JIRA_PROJECT_KEY, JIRA_ISSUE_TYPE and the permission to create issues; other required fields need a default value in JIRA",
                invalid.refused("to create the issue")
            )));
        }
        let mut next = self.creating(record, now);
        next.left_out
            .extend(new.iter().map(|name| (**name).to_owned()));
        if new.iter().any(|name| **name == field::DESCRIPTION) {
            next.fault = Some(noted(
                format!(
                    "JIRA refused the description, so the issue has none: {}",
                    invalid.words()
                ),
                now,
            ));
        }
        Ok(Step::Recorded(next))
    }

    async fn request(
        &self,
        ticket: &Ticket,
        page: &super::Page,
        now: DateTime<Utc>,
    ) -> Result<Value, Fault> {
        let route = self.routes.of(ticket);
        let left_out = |name: &str| ticket.jira.left_out.iter().any(|left| left == name);
        let issue_type = if left_out(field::ISSUE_TYPE) {
            self.another_type(now).await?
        } else {
            json!({"name": self.settings.issue_type})
        };
        let mut fields = json!({
            "project": {"key": self.settings.project_key},
            "issuetype": issue_type,
            "summary": page.summary,
        });
        if let Some(fields) = fields.as_object_mut() {
            if !left_out(field::PRIORITY) {
                fields.insert(
                    "priority".to_owned(),
                    json!({"name": priority(ticket.priority)}),
                );
            }
            if !left_out(field::LABELS) {
                let mut labels = vec!["rca".to_owned(), document::label(&ticket.id)];
                labels.extend(route.iter().flat_map(|route| route.labels.iter().cloned()));
                fields.insert("labels".to_owned(), json!(labels));
            }
            let component = route.and_then(|route| route.component.as_deref());
            if let Some(name) = component.filter(|_| !left_out(field::COMPONENTS)) {
                fields.insert("components".to_owned(), json!([{"name": name}]));
            }
            let assignee = route.and_then(|route| route.assignee.as_deref());
            if let Some(id) = assignee.filter(|_| !left_out(field::ASSIGNEE)) {
                fields.insert("assignee".to_owned(), json!({"accountId": id}));
            }
            if !page.description.is_null() {
                fields.insert("description".to_owned(), page.description.clone());
            }
        }
        Ok(
            json!({"fields": fields, "properties": [{"key": "rca.ticket", "value": {"ticket_id": ticket.id}}]}),
        )
    }

    /// The configured type is unknown here (names are translated): a `Task`, else the first that is no subtask.
    async fn another_type(&self, now: DateTime<Utc>) -> Result<Value, Fault> {
        let types = self
            .client
            .issue_types(&self.settings.project_key, now)
            .await;
        let types = types.map_err(|failed| failed.fault("asking for the project's issue types"))?;
        let whole = || types.iter().filter(|of| !of.subtask);
        let named = |name: &str| whole().find(|of| of.name.eq_ignore_ascii_case(name));
        let chosen = named(&self.settings.issue_type)
            .or_else(|| named(DEFAULT_ISSUE_TYPE))
            .or_else(|| whole().next());
        let none = "JIRA offers no type of issue that we may create in the project: check JIRA_PROJECT_KEY and the permission to create issues";
        chosen
            .map(|of| json!({"id": of.id}))
            .ok_or_else(|| Fault::permanent(none))
    }

    /// The issue with this ticket's label (the oldest, should there be several). Where labels are refused,
    /// the ticket id in the description has to do.
    async fn find(&self, ticket: &Ticket, now: DateTime<Utc>) -> Result<Option<Made>, Failed> {
        let (label, project) = (
            document::label(&ticket.id),
            self.settings.project_key.replace(['"', '\\'], ""),
        );
        let labelled = !ticket
            .jira
            .left_out
            .iter()
            .any(|left| left == field::LABELS);
        let clause = if labelled {
            format!("labels = \"{label}\"")
        } else {
            format!("text ~ \"\\\"{}\\\"\"", ticket.id)
        };
        let found = self
            .client
            .search(&format!("project = \"{project}\" AND {clause}"), now)
            .await?;
        let line = format!("Ticket ID: {}", ticket.id);
        let ours = found.into_iter().filter(|issue| {
            issue.labels.contains(&label)
                || (!labelled
                    && document::plain_text(&issue.description)
                        .lines()
                        .any(|l| l == line))
        });
        Ok(ours
            .min_by_key(|issue| issue.id.parse::<u64>().unwrap_or(u64::MAX))
            .map(|issue| Made {
                key: issue.key,
                id: Some(issue.id),
            }))
    }

    /// The record with the issue that JIRA says it made for this ticket; `None` if the ticket does not wait for one.
    pub fn made(&self, ticket: &Ticket, key: &str, id: &str) -> Option<JiraRecord> {
        let record = &ticket.jira;
        let waits = record
            .intent
            .as_ref()
            .is_some_and(|intent| intent.what == Work::Create);
        let made = Made {
            key: key.to_owned(),
            id: Some(id.to_owned()),
        };
        (waits && record.key.is_none() && !record.deleted).then(|| keyed(record, made, None))
    }

    pub(super) fn creating(&self, record: &JiraRecord, now: DateTime<Utc>) -> JiraRecord {
        JiraRecord {
            intent: Some(self.intents.open(Work::Create, now)),
            ..record.clone()
        }
    }
}

fn keyed(record: &JiraRecord, made: Made, shown: Option<String>) -> JiraRecord {
    let fault = record.fault.clone().filter(|_| {
        record
            .left_out
            .iter()
            .any(|left| left == field::DESCRIPTION)
    });
    JiraRecord {
        key: Some(made.key),
        id: made
            .id
            .filter(|id| !id.is_empty())
            .or_else(|| record.id.clone()),
        intent: None,
        shown,
        fault,
        ..record.clone()
    }
}

/// JIRA's usual names; a site with others answers 400 and gets none.
fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::P1 => "Highest",
        Priority::P2 => "High",
        Priority::P3 => "Medium",
        Priority::P4 => "Low",
    }
}
