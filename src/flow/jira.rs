//! What JIRA says becomes an event of a ticket, whether a webhook brought it or the sweep read it back.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};

use super::Flow;
use crate::fault::Fault;
use crate::sinks::jira::webhook::JiraEvent;
use crate::ticket::machine::Event;
use crate::ticket::store::UpdateError;
use crate::ticket::{Actor, Channel, Sink, Ticket};

/// How often an issue is read back for a change whose webhook was lost.
const COMPARE_EVERY: chrono::Duration = chrono::Duration::minutes(10);

/// What an event of JIRA came to.
#[derive(Debug, Clone, PartialEq)]
pub enum JiraOutcome {
    /// The ticket as it is now.
    Applied(Box<Ticket>),
    /// It changed nothing, and why. JIRA repeats what it thinks was not taken, so this is no fault.
    Ignored(String),
}

#[expect(clippy::unnecessary_wraps, reason = "it ends its callers' functions")]
fn ignored(reason: impl Into<String>) -> Result<JiraOutcome, Fault> {
    Ok(JiraOutcome::Ignored(reason.into()))
}

impl Flow {
    /// Applies an event of JIRA to the ticket of its issue. A transient fault: it may be sent again.
    pub async fn jira_event(
        &self,
        event: JiraEvent,
        now: DateTime<Utc>,
    ) -> Result<JiraOutcome, Fault> {
        let (key, labelled, event) = match event {
            JiraEvent::Ignored(reason) => return ignored(reason),
            JiraEvent::IssueDeleted(gone) => {
                let by = Actor {
                    channel: Channel::Jira,
                    name: gone.by,
                };
                (gone.issue_key, gone.ticket, Event::IssueDeleted { by })
            }
            JiraEvent::StatusChanged(change) => {
                if self
                    .is_our_account(change.account_id.as_deref(), now)
                    .await?
                {
                    return ignored("our own change came back");
                }
                let by = Actor {
                    channel: Channel::Jira,
                    name: change.by,
                };
                let event = Event::StatusChanged {
                    to: change.status,
                    by,
                    at: change.at,
                    jira_status: Some(change.to_name),
                };
                (change.issue_key, change.ticket, event)
            }
        };
        let id = match (self.store.by_issue(&key).await?, labelled) {
            (Some(id), _) => Some(id),
            // A label can be typed by anybody: it counts only if that ticket has no other issue.
            (None, Some(id)) => {
                let ours =
                    |ticket: &Ticket| ticket.jira.key.as_ref().is_none_or(|known| *known == key);
                self.store
                    .load(&id)
                    .await?
                    .filter(ours)
                    .map(|ticket| ticket.id)
            }
            (None, None) => None,
        };
        let Some(id) = id else {
            return ignored("the issue is not one of ours");
        };
        match self.apply(&id, &event, now).await {
            Ok(ticket) => Ok(JiraOutcome::Applied(Box::new(ticket))),
            Err(UpdateError::Refused(refusal)) => ignored(refusal.to_string()),
            Err(UpdateError::Missing) => ignored("the ticket of this issue is gone"),
            Err(UpdateError::Store(fault)) => Err(fault),
        }
    }

    /// While JIRA cannot say who we are, nobody knows; with a token it refuses, nothing can be ours.
    async fn is_our_account(
        &self,
        account: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let (Some(jira), Some(account)) = (&self.sinks.jira, account) else {
            return Ok(false);
        };
        match jira.account_id(now).await {
            Ok(ours) => Ok(ours == account),
            Err(fault) if fault.is_transient() => Err(fault),
            Err(_) => Ok(false),
        }
    }

    /// Reads the issue of a ticket that is looked after back, ever so often: a lost webhook heals. `true` when it changed the ticket.
    /// `questions`: how many more may be asked in this round.
    pub(super) async fn compare_with_jira(
        &self,
        ticket: &Ticket,
        questions: &AtomicU32,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let Some(jira) = &self.sinks.jira else {
            return Ok(false);
        };
        let last = ticket.books.jira_compared_at.unwrap_or(ticket.received_at);
        let at_rest = ticket.jira.key.is_some() && !ticket.jira.deleted && !ticket.lags(Sink::Jira);
        if !at_rest || now - last < COMPARE_EVERY {
            return Ok(false);
        }
        if questions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_err()
        {
            return Ok(false);
        }
        match self
            .store
            .update(&ticket.id, |ticket| {
                crate::ticket::machine::apply(ticket, &Event::JiraCompared, now)
            })
            .await
        {
            Ok(_) | Err(UpdateError::Missing | UpdateError::Refused(_)) => {}
            Err(UpdateError::Store(fault)) => return Err(fault),
        }
        let observed = jira.observe(ticket, now).await.inspect_err(|fault| {
            if fault.is_transient() {
                questions.store(0, Ordering::Relaxed);
            }
        });
        match observed? {
            Some(event) => Ok(matches!(
                self.jira_event(event, now).await?,
                JiraOutcome::Applied(_)
            )),
            None => Ok(false),
        }
    }
}
