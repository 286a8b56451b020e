//! Microsoft Teams: cards by a workflow's URL, which can only post.
//!
//! In: the ticket as it stands. Out: one step towards a channel that shows it. What people read is made in [`card`], what is
//! worth a card by URL is decided in `news`. The room does not know the store, JIRA's wire or the clock.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Budget, Check, Next, Step};
use crate::fault::Fault;
use crate::http::Http;
use crate::ticket::{TeamsRecord, Ticket};

pub mod card;
mod news;
mod text;
mod url;
mod workflow;

pub use news::CARDS;
pub use url::{WorkflowUrl, WorkflowUrlError};
pub use workflow::{BUDGET, Workflow, WorkflowBody, WorkflowSettings};

/// By which door cards are posted, and as whom.
#[derive(Debug, Clone)]
pub enum TeamsSettings {
    /// A workflow's URL.
    Workflow(WorkflowSettings),
}

/// The Teams sink; cloning shares what it remembers.
#[derive(Debug, Clone)]
pub enum Teams {
    /// By a workflow's URL.
    Workflow(Workflow),
}

impl Teams {
    /// Nothing is called before the first step.
    pub fn new(settings: TeamsSettings, http: Http) -> Self {
        match settings {
            TeamsSettings::Workflow(settings) => Self::Workflow(Workflow::new(settings, http)),
        }
    }

    /// Of everything that decides whether Teams takes a card.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::Workflow(workflow) => workflow.digest(),
        }
    }

    /// What the next step will be about, by what is recorded.
    pub fn next(&self, ticket: &Ticket, now: DateTime<Utc>) -> Next<TeamsRecord> {
        let Some(record) = &ticket.teams else {
            return Next::AtRest;
        };
        match self {
            Self::Workflow(workflow) => workflow.next(ticket, record, now),
        }
    }

    /// How long nothing may be posted about this ticket, as far as this process knows.
    pub fn place_in_line(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<Duration> {
        let record = ticket.teams.as_ref()?;
        match self {
            Self::Workflow(workflow) => {
                workflow.budget(ticket, record, now)?;
                workflow.silence(now)
            }
        }
    }

    /// How many cards all processes together may post, if the next step is about to post one.
    pub fn budget(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<Budget> {
        let record = ticket.teams.as_ref()?;
        match self {
            Self::Workflow(workflow) => workflow.budget(ticket, record, now),
        }
    }

    /// One step towards Teams showing this ticket; at most one writing call. Store the record before the next step.
    ///
    /// # Errors
    /// What Teams refused, or that it could not be reached.
    pub async fn step(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        let Some(record) = &ticket.teams else {
            return Ok(Step::UpToDate);
        };
        match self {
            Self::Workflow(workflow) => workflow.step(ticket, record, now).await,
        }
    }

    /// For `doctor`: what can be asked without posting anything.
    pub async fn check(&self, now: DateTime<Utc>) -> Vec<Check> {
        match self {
            Self::Workflow(workflow) => workflow.check(now).await,
        }
    }
}
