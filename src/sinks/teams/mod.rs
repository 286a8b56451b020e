//! Microsoft Teams: by a workflow's URL, which can only post cards, or by a bot, whose one card is edited in place.
//!
//! In: the ticket as it stands. Out: one step towards a channel that shows it, and what people press ([`activity`]). What people
//! read is made in [`card`], what is worth a card by URL is decided in `news`. The room does not know the store, JIRA's wire
//! or the clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::{Budget, Check, Next, Step, Turn};
use crate::fault::Fault;
use crate::http::Http;
use crate::identity::Identity;
use crate::ownership::Routes;
use crate::ticket::store::Place;
use crate::ticket::{TeamsRecord, Ticket};

pub mod activity;
mod bot;
pub mod card;
mod client;
mod elements;
mod held;
mod links;
mod look;
mod mentions;
mod news;
mod size;
mod text;
mod url;
mod workflow;

pub use bot::{Bot, BotSettings};
pub use news::CARDS;
pub use url::{WorkflowUrl, WorkflowUrlError};
pub use workflow::{BUDGET, Workflow, WorkflowBody, WorkflowSettings};

/// By which door cards are posted, and as whom.
#[derive(Debug, Clone)]
pub enum TeamsSettings {
    /// A workflow's URL.
    Workflow(WorkflowSettings),
    /// A bot.
    Bot(Box<BotSettings>),
}

/// The Teams sink; cloning shares what it remembers.
#[derive(Debug, Clone)]
pub enum Teams {
    /// By a workflow's URL.
    Workflow(Workflow),
    /// By a bot.
    Bot(Bot),
}

impl Teams {
    /// Nothing is called before the first step. `identity`: the bot's own.
    pub fn new(settings: TeamsSettings, http: Http, identity: Option<Identity>) -> Self {
        match settings {
            TeamsSettings::Bot(settings) => Self::Bot(Bot::new(*settings, http, identity)),
            TeamsSettings::Workflow(settings) => Self::Workflow(Workflow::new(settings, http)),
        }
    }

    /// Owners read of their failures where these routes lead.
    #[must_use]
    pub fn routed(self, routes: Arc<Routes>) -> Self {
        match self {
            Self::Bot(bot) => Self::Bot(bot.routed(routes)),
            Self::Workflow(workflow) => Self::Workflow(workflow.routed(routes)),
        }
    }

    /// Of everything that decides whether Teams takes a card.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::Workflow(workflow) => workflow.digest(),
            Self::Bot(bot) => bot.digest(),
        }
    }

    /// What the next step will be about, by what is recorded.
    pub fn next(&self, ticket: &Ticket, now: DateTime<Utc>) -> Next<TeamsRecord> {
        let Some(record) = &ticket.teams else {
            return Next::AtRest;
        };
        match self {
            Self::Workflow(workflow) => workflow.next(ticket, record, now),
            Self::Bot(bot) => bot.next(ticket, record, now),
        }
    }

    /// Whose turn it is, as far as this process knows; `None`: there is nothing to wait for.
    pub fn turn(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<Turn> {
        let record = ticket.teams.as_ref()?;
        match self {
            Self::Workflow(workflow) => {
                Workflow::budget(ticket, record, now)?;
                workflow.silence(now).map(Turn::Later)
            }
            Self::Bot(bot) => bot.turn(ticket, record, now),
        }
    }

    /// How long until a delivery of this ticket should come; its place is kept.
    pub fn reserve(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<Duration> {
        let record = ticket.teams.as_ref()?;
        match self {
            Self::Workflow(workflow) => {
                Workflow::budget(ticket, record, now)?;
                workflow.silence(now)
            }
            Self::Bot(bot) => bot.reserve(ticket, record, now),
        }
    }

    /// How many cards all processes together may post, if the next step is about to post one.
    pub fn budget(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<Budget> {
        let record = ticket.teams.as_ref()?;
        match self {
            Self::Workflow(_) => Workflow::budget(ticket, record, now),
            // It has a pace instead, which processes share.
            Self::Bot(_) => None,
        }
    }

    /// Is it time to tell the other processes that posts wait in line here?
    pub fn is_time_to_tell(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Workflow(_) => false,
            Self::Bot(bot) => bot.is_time_to_tell(now),
        }
    }

    /// Until when Teams asked for silence, as far as others have to know.
    pub fn silent_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Workflow(_) => None,
            Self::Bot(bot) => bot.silent_until(now),
        }
    }

    /// So many processes post into the channel, and one of them was asked for silence.
    pub fn share(&self, processes: usize, silent_until: Option<DateTime<Utc>>) {
        match self {
            Self::Workflow(_) => {}
            Self::Bot(bot) => bot.share(processes, silent_until),
        }
    }

    /// Is it time to read where to post? `stopped`: it could not be posted where it was last believed.
    pub fn wants_place(&self, stopped: bool, now: DateTime<Utc>) -> bool {
        match self {
            Self::Workflow(_) => false,
            Self::Bot(bot) => stopped || bot.wants_place(now),
        }
    }

    /// What is stored of where to post.
    pub fn learn(&self, place: Option<Place>, now: DateTime<Utc>) {
        match self {
            Self::Workflow(_) => {}
            Self::Bot(bot) => bot.learn(place, now),
        }
    }

    /// One step towards Teams showing this ticket; at most one writing call. Store the record before the next step.
    ///
    /// # Errors
    /// What Teams refused, or that it could not be reached.
    pub fn step<'a>(
        &'a self,
        ticket: &'a Ticket,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Step<TeamsRecord>, Fault>> {
        let Some(record) = &ticket.teams else {
            return std::future::ready(Ok(Step::UpToDate)).boxed();
        };
        match self {
            Self::Workflow(workflow) => workflow.step(ticket, record, now).boxed(),
            Self::Bot(bot) => bot.step(ticket, record, now).boxed(),
        }
    }

    /// For `doctor`: what can be asked without posting anything.
    pub async fn check(&self, now: DateTime<Utc>) -> Vec<Check> {
        match self {
            Self::Workflow(workflow) => workflow.check(now).await,
            Self::Bot(bot) => bot.check(now).await,
        }
    }
}
