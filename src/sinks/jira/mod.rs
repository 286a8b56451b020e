//! Keeps one JIRA issue true to its ticket.
//!
//! In: the ticket as it stands, with the [`JiraRecord`] of what was done before. Out: one [`Step`]: the next
//! difference removed, in the order *create, edit, comment, move*. Each writing call is intended on the record
//! first ([`Intent`]), so that after a lost answer or a crash we look before doing it again: for an issue by its label
//! `rca-<ticket id>` (the search index lags, so for a while), for a comment by its marker; words and status are written again.
//! A later change of status by a person wins over ours, and a machine never reopens what a person closed.
//! A refused detail (a field, a transition) is noted on the record and the rest goes on; a refused call is a
//! [`Fault`] that says what to do. This room does not know the store, nor when it is called again.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::{Intents, Next, Standing, Step};
use crate::fault::Fault;
use crate::http::Http;
use crate::ownership::Routes;
use crate::redaction::redact;
use crate::ticket::{DeliveryFault, Intent, JiraRecord, Ticket, Work};
use client::Client;
use refusal::Failed;
pub use site::{StatusCategory, ticket_status};

mod client;
mod creating;
mod check;
pub mod document;
mod gateway;
mod moving;
mod refusal;
mod site;
mod content;
pub mod webhook;
mod wire;

/// How long after an unanswered create call the issue may still turn up: our timeout, JIRA's own work and
/// the lag of its index, which is seconds mostly. It may be minutes at times: then our own webhook (`jira:issue_created`)
/// settles it, and only without that a second issue is made.
const SETTLE: Duration = Duration::from_secs(75);

/// Where issues go, and as whom.
#[derive(Debug, Clone)]
pub struct JiraSettings {
    /// `JIRA_DOMAIN`, e.g. `https://your-company.atlassian.net`.
    pub domain: Url,
    /// `JIRA_USER_EMAIL`.
    pub user_email: String,
    /// `JIRA_API_TOKEN`, with or without scopes.
    pub api_token: SecretString,
    /// `JIRA_API_TOKEN_EXPIRES`: the last day on which it works, as its owner was told.
    pub token_expires: Option<NaiveDate>,
    /// `JIRA_GATEWAY_URL`: where tokens with scopes are taken.
    pub gateway: Url,
    /// `JIRA_PROJECT_KEY`, e.g. `APAIOPS`.
    pub project_key: String,
    /// `JIRA_ISSUE_TYPE`, by name; [`DEFAULT_ISSUE_TYPE`] when empty.
    pub issue_type: String,
    /// `JIRA_WEBHOOK_SECRET`; without it the way back is closed.
    pub webhook_secret: Option<SecretString>,
    /// `PUBLIC_BASE_URL`: where the issue's dashboard link leads.
    pub dashboard_base: Option<Url>,
}

/// A token whose last day is nearer than this is one to replace.
const TOKEN_NOTICE: TimeDelta = TimeDelta::days(30);

impl JiraSettings {
    /// What is wrong with the token's last day, for people.
    pub fn token_trouble(&self, now: DateTime<Utc>) -> Option<String> {
        let day = self.token_expires?;
        let left = day - now.date_naive();
        if left < TimeDelta::zero() {
            return Some(format!("it expired on {day}"));
        }
        (left < TOKEN_NOTICE).then(|| match left.num_days() {
            0 => format!("it expires today ({day})"),
            1 => format!("it expires tomorrow ({day})"),
            days => format!("it expires on {day}, in {days} days"),
        })
    }

    /// Of everything that decides whether JIRA takes an issue.
    pub(super) fn digest(&self) -> String {
        super::digest(&[
            self.domain.as_str(),
            &self.user_email,
            self.api_token.expose_secret(),
            &self.project_key,
            &self.issue_type,
        ])
    }
}

/// The type of issues made when no other is configured.
pub const DEFAULT_ISSUE_TYPE: &str = "Task";

/// The JIRA sink; cloning is cheap and shares what is remembered.
#[derive(Debug, Clone)]
pub struct Jira {
    settings: Arc<JiraSettings>,
    routes: Arc<Routes>,
    client: Client,
    account_id: Arc<OnceCell<String>>,
    intents: Intents,
}

impl Jira {
    /// Nothing is asked before the first step.
    pub fn new(mut settings: JiraSettings, http: Http) -> Self {
        if settings.issue_type.trim().is_empty() {
            DEFAULT_ISSUE_TYPE.clone_into(&mut settings.issue_type);
        }
        let client = Client::new(http, &settings);
        Self {
            settings: Arc::new(settings),
            routes: Arc::default(),
            client,
            account_id: Arc::default(),
            intents: Intents::default(),
        }
    }

    /// The issues of an owner get its component, labels and assignee.
    #[must_use]
    pub fn routed(mut self, routes: Arc<Routes>) -> Self {
        self.routes = routes;
        self
    }

    /// What it works with.
    pub fn settings(&self) -> &JiraSettings {
        &self.settings
    }

    /// The page of an issue, for people.
    pub fn browse_link(&self, key: &str) -> Url {
        let mut link = self.settings.domain.clone();
        if let Ok(mut path) = link.path_segments_mut() {
            path.pop_if_empty().extend(["browse", key]);
        }
        link
    }

    /// Our own account id, asked once: changes made by it are echoes of ours.
    pub async fn account_id(&self, now: DateTime<Utc>) -> Result<String, Fault> {
        let asked = self
            .account_id
            .get_or_try_init(async || self.client.myself(now).await.map(|(id, _)| id))
            .await;
        asked
            .cloned()
            .map_err(|failed| failed.fault("asking who we are"))
    }

    /// What the next step will be about, by what is recorded.
    pub fn next(&self, ticket: &Ticket, now: DateTime<Utc>) -> Next<JiraRecord> {
        let record = &ticket.jira;
        if record.deleted {
            return Next::AtRest;
        }
        if record.intent.is_some() {
            return Next::Step;
        }
        if record.key.is_none() {
            return Next::Intend(self.creating(record, now));
        }
        let untold = ticket.jira_story().map(|chapter| chapter.number);
        let untold = untold.filter(|number| *number > record.told).min();
        let is_shown =
            record.shown.as_deref() == Some(self.page(ticket, &record.left_out).hash.as_str());
        match untold {
            Some(number) if is_shown => Next::Intend(self.commenting(record, number, now)),
            None if is_shown && record.status_version >= ticket.status_version => Next::AtRest,
            _ => Next::Intend(JiraRecord {
                intent: Some(self.intents.open(Work::Change, now)),
                ..record.clone()
            }),
        }
    }

    /// Does the next thing that the issue lacks: at most one writing call. Store the record, then call again.
    ///
    /// # Errors
    /// A transient [`Fault`] with JIRA's own delay, or a permanent one that says what to set or grant.
    pub async fn step(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Fault> {
        if ticket.jira.deleted {
            return Ok(Step::UpToDate);
        }
        let Some(key) = ticket.jira.key.as_deref() else {
            return self.create(ticket, now).await;
        };
        match self.keep(ticket, key, now).await {
            Ok(step) => Ok(step),
            Err(Failed::NotFound) => self.gone(&ticket.jira, now).await,
            Err(failed) => Err(failed.fault("keeping the issue true")),
        }
    }

    /// Reads the issue back, for when a webhook was lost: the event that should have come, if somebody else
    /// brought the issue to a status that the ticket does not have. Compare its time with the ticket's.
    pub async fn observe(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Option<webhook::JiraEvent>, Fault> {
        let Some(key) = ticket.jira.key.as_deref().filter(|_| !ticket.jira.deleted) else {
            return Ok(None);
        };
        let issue = match self.client.issue(key, now).await {
            Ok(issue) => issue,
            // A deletion is found, and told apart from lost permissions, by the next step.
            Err(Failed::NotFound) => return Ok(None),
            Err(failed) => return Err(failed.fault("reading the issue")),
        };
        let Some(status) =
            ticket_status(&issue.status, issue.category).filter(|status| *status != ticket.status)
        else {
            return Ok(None);
        };
        let us = self.account_id(now).await?;
        let last = issue.moves.into_iter().next();
        Ok(last
            .filter(|last| last.account_id.as_deref() != Some(us.as_str()))
            .map(|last| {
                webhook::JiraEvent::StatusChanged(webhook::StatusChange {
                    issue_key: issue.key,
                    issue_id: issue.id,
                    former_key: ticket.jira.key.clone(),
                    ticket: Some(ticket.id.clone()),
                    from: last.from,
                    to_name: issue.status,
                    category: issue.category,
                    status,
                    by: webhook::person(last.name.as_deref()),
                    account_id: last.account_id,
                    at: last.at,
                })
            }))
    }

    /// What a person said last about the ticket's issue, redacted.
    pub async fn last_said(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        let Some(key) = ticket.jira.key.as_deref().filter(|_| !ticket.jira.deleted) else {
            return Ok(None);
        };
        let us = self.account_id(now).await?;
        let said = self.client.comments_of_others(key, &us, now).await;
        let said = said.map_err(|failed| failed.fault("reading the comments"))?;
        let texts = said.iter().map(|said| redact(&document::plain_text(said)));
        Ok(texts.into_iter().find(|text| !text.trim().is_empty()))
    }

    /// Key and number of an issue by a key that it has or had; `None` when it is gone.
    pub async fn whereabouts(
        &self,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<(String, String)>, Fault> {
        match self.client.issue(key, now).await {
            Ok(issue) => Ok(Some((issue.key, issue.id))),
            Err(Failed::NotFound) => Ok(None),
            Err(failed) => Err(failed.fault("reading the issue")),
        }
    }

    async fn keep(
        &self,
        ticket: &Ticket,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Failed> {
        if let Some(intent) = &ticket.jira.intent {
            match intent.what {
                Work::Comment(number) => {
                    return self.settle_comment(ticket, key, number, intent, now).await;
                }
                Work::Change => {
                    if let Some(step) = self.distrust(ticket, intent, now) {
                        return Ok(step);
                    }
                }
                Work::Create | Work::Deliver => {}
            }
        }
        if let Some(step) = self.show(ticket, key, now).await? {
            return Ok(step);
        }
        if let Some(step) = self.intend_comment(ticket, now) {
            return Ok(step);
        }
        Ok(self
            .bring_status(ticket, key, now)
            .await?
            .unwrap_or(Step::UpToDate))
    }

    /// An intended change that was never recorded: somebody makes it right now, or its outcome was lost and the
    /// issue may show an older ticket. Then nothing that was recorded about its words and status counts.
    fn distrust(
        &self,
        ticket: &Ticket,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Option<Step<JiraRecord>> {
        let left = intent.since + Intent::LEASE - now;
        match self.intents.standing(intent, now) {
            Standing::Unsent => return None,
            Standing::Unknown if left > TimeDelta::zero() => {
                let wait = left.min(TimeDelta::seconds(5)).to_std();
                let reason = "another process is changing the JIRA issue".to_owned();
                return Some(Step::Wait(wait.unwrap_or_default(), reason));
            }
            _ => {}
        }
        let record = &ticket.jira;
        let status_version = record
            .status_version
            .min(ticket.status_version.saturating_sub(1));
        Some(Step::Recorded(JiraRecord {
            shown: None,
            status_version,
            intent: None,
            ..record.clone()
        }))
    }

    /// May this ticket be written over what the issue shows? Storing the intent proves that the ticket is still
    /// the one we hold, and keeps others away while the call is under way. `next` is stored with the intent.
    fn may_change(
        &self,
        ticket: &Ticket,
        next: &JiraRecord,
        now: DateTime<Utc>,
    ) -> Result<Intent, Box<Step<JiraRecord>>> {
        let open = ticket.jira.intent.as_ref();
        let Some(intent) = open.filter(|intent| intent.what == Work::Change) else {
            let intended = JiraRecord {
                intent: Some(self.intents.open(Work::Change, now)),
                ..next.clone()
            };
            return Err(Box::new(Step::Recorded(intended)));
        };
        if self.intents.spend(intent) {
            return Ok(intent.clone());
        }
        Err(Box::new(Step::Wait(
            Duration::from_secs(1),
            "another task is changing the JIRA issue".to_owned(),
        )))
    }

    /// The issue cannot be seen. It is deleted only if we are who we are and still see its project: a wrong
    /// token makes us anonymous, and JIRA answers 404 to strangers.
    async fn gone(
        &self,
        record: &JiraRecord,
        now: DateTime<Utc>,
    ) -> Result<Step<JiraRecord>, Fault> {
        self.client
            .myself(now)
            .await
            .map_err(|failed| failed.fault("asking who we are"))?;
        let project = self.client.project(&self.settings.project_key, now).await;
        project.map_err(|failed| failed.fault("looking for the project"))?;
        Ok(Step::Recorded(JiraRecord {
            deleted: true,
            intent: None,
            fault: None,
            ..record.clone()
        }))
    }

    fn page(&self, ticket: &Ticket, left_out: &[String]) -> Page {
        let summary = document::summary(&ticket.failure);
        let description = if left_out.iter().any(|field| field == field::DESCRIPTION) {
            Value::Null
        } else {
            document::description(ticket, self.settings.dashboard_base.as_ref(), left_out)
        };
        let hash = document::hash(&summary, &description);
        Page {
            summary,
            description,
            hash,
        }
    }
}

/// What an issue is to show; without a description where JIRA refuses it.
struct Page {
    summary: String,
    description: Value,
    hash: String,
}

/// Fields that an issue can do without.
mod field {
    pub(super) const PRIORITY: &str = "priority";
    pub(super) const LABELS: &str = "labels";
    pub(super) const ISSUE_TYPE: &str = "issuetype";
    pub(super) const DESCRIPTION: &str = "description";
    pub(super) const COMPONENTS: &str = "components";
    pub(super) const ASSIGNEE: &str = "assignee";
    pub(super) const OPTIONAL: [&str; 6] = [
        PRIORITY,
        LABELS,
        ISSUE_TYPE,
        DESCRIPTION,
        COMPONENTS,
        ASSIGNEE,
    ];
}

/// A refused detail, noted while the rest goes on.
fn noted(reason: String, at: DateTime<Utc>) -> DeliveryFault {
    DeliveryFault {
        reason,
        at,
        retrying: false,
    }
}
