//! What JIRA says becomes an event of a ticket, whether a webhook brought it or the sweep read it back.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};

use super::Flow;
use crate::fault::Fault;
use crate::sinks::jira::webhook::{JiraEvent, Naming};
use crate::ticket::machine::{self, Event, Refusal};
use crate::ticket::store::UpdateError;
use crate::ticket::{Actor, Channel, Record, Sink, Ticket, TicketId};

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
        let (naming, event) = match event {
            JiraEvent::Ignored(reason) => return ignored(reason),
            JiraEvent::IssueMade(naming) => return self.issue_made(&naming, now).await,
            JiraEvent::IssueMoved(naming) => {
                return match self.ticket_of(&naming, false, now).await? {
                    Some(_) => ignored("the issue is known by its new key"),
                    None => ignored("the issue is not one of ours"),
                };
            }
            JiraEvent::IssueDeleted(gone) => {
                let by = Actor {
                    channel: Channel::Jira,
                    name: gone.by,
                };
                let naming = Naming {
                    issue_key: gone.issue_key,
                    issue_id: gone.issue_id,
                    former_key: None,
                    ticket: gone.ticket,
                };
                (naming, Event::IssueDeleted { by })
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
                let naming = Naming {
                    issue_key: change.issue_key,
                    issue_id: change.issue_id,
                    former_key: change.former_key,
                    ticket: change.ticket,
                };
                (naming, event)
            }
        };
        let deleted = matches!(event, Event::IssueDeleted { .. });
        let Some(id) = self.ticket_of(&naming, deleted, now).await? else {
            return ignored("the issue is not one of ours");
        };
        match self.apply(&id, &event, now).await {
            Ok(ticket) => Ok(JiraOutcome::Applied(Box::new(ticket))),
            Err(UpdateError::Refused(refusal)) => ignored(refusal.to_string()),
            Err(UpdateError::Missing) => ignored("the ticket of this issue is gone"),
            Err(UpdateError::Store(fault)) => Err(fault),
        }
    }

    /// The issue of a ticket whose creating call had no answer: recorded, so that none is made a second time.
    async fn issue_made(&self, naming: &Naming, now: DateTime<Utc>) -> Result<JiraOutcome, Fault> {
        let (Some(jira), Some(id)) = (&self.sinks.jira, &naming.ticket) else {
            return ignored("the issue is not one of ours");
        };
        let Some(ticket) = self.store.load(id).await? else {
            return ignored("the ticket of this issue is gone");
        };
        if jira
            .made(&ticket, &naming.issue_key, &naming.issue_id)
            .is_none()
        {
            return ignored("the ticket does not wait for an issue");
        }
        self.store
            .index_issue(&naming.issue_key, Some(&naming.issue_id), id)
            .await?;
        let updated = self
            .store
            .update(id, |ticket| {
                let record = jira
                    .made(ticket, &naming.issue_key, &naming.issue_id)
                    .ok_or_else(|| {
                        Refusal::Contradicts("the ticket does not wait for an issue".to_owned())
                    })?;
                machine::apply(ticket, &Event::Recorded(Record::Jira(record)), now)
            })
            .await;
        let Some(change) = UpdateError::unless_refused(updated)? else {
            return ignored("the ticket does not wait for an issue");
        };
        self.put_deliveries(&change.ticket, [Sink::Jira], now)
            .await?;
        Ok(JiraOutcome::Applied(Box::new(change.ticket)))
    }

    /// Whose issue this is: by its key, by its number, by the key it had before, or by its label. A new name is
    /// remembered, so that the next event is known at once.
    async fn ticket_of(
        &self,
        naming: &Naming,
        deleted: bool,
        now: DateTime<Utc>,
    ) -> Result<Option<TicketId>, Fault> {
        if let Some(id) = self.store.by_issue(&naming.issue_key).await? {
            return Ok(Some(id));
        }
        let mut found = self.store.by_issue_number(&naming.issue_id).await?;
        if let (None, Some(former)) = (&found, &naming.former_key) {
            found = self.store.by_issue(former).await?;
        }
        if let (None, Some(labelled)) = (&found, &naming.ticket)
            && let Some(ticket) = self.store.load(labelled).await?
            && self.is_its_issue(&ticket, naming, deleted, now).await?
        {
            found = Some(ticket.id);
        }
        if let Some(id) = &found {
            let number = Some(naming.issue_id.as_str());
            self.store
                .index_issue(&naming.issue_key, number, id)
                .await?;
        }
        Ok(found)
    }

    /// A label can be typed by anybody: it counts if the ticket has no other issue, or if JIRA says that the issue
    /// the ticket knows is this one.
    async fn is_its_issue(
        &self,
        ticket: &Ticket,
        naming: &Naming,
        deleted: bool,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let Some(known) = ticket.jira.key.as_deref() else {
            return Ok(true);
        };
        if known == naming.issue_key {
            return Ok(true);
        }
        let Some(jira) = &self.sinks.jira else {
            return Ok(false);
        };
        Ok(match jira.whereabouts(known, now).await? {
            Some((key, id)) => key == naming.issue_key || !id.is_empty() && id == naming.issue_id,
            // The issue that the ticket knows is gone, and one with its label was deleted.
            None => deleted,
        })
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
        if ticket.compare_due().is_none_or(|due| due > now) {
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
        let compared = self.store.update(&ticket.id, |ticket| {
            machine::apply(ticket, &Event::JiraCompared, now)
        });
        UpdateError::unless_refused(compared.await)?;
        match jira.observe(ticket, now).await {
            Ok(Some(event)) => Ok(matches!(
                self.jira_event(event, now).await?,
                JiraOutcome::Applied(_)
            )),
            Ok(None) => Ok(false),
            // The next round asks again; what else the row needs does not wait for JIRA.
            Err(fault) => {
                if fault.is_transient() {
                    questions.store(0, Ordering::Relaxed);
                }
                tracing::info!(ticket.id = %ticket.id, reason = fault.reason(), "JIRA could not be asked about an issue");
                Ok(false)
            }
        }
    }
}
