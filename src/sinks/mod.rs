//! Bring one sink of one ticket up to date. Siblings are strangers; none knows the store.
//!
//! [`Sinks`] is the one registry: which sinks are on, why the others are off, and the next step of each.
//!
//! In: the ticket as it stands. Out: one [`Step`]. A step makes at most one *writing* call and returns the
//! sink's new record, which the flow stores by compare-and-set before the next step: so a crash
//! anywhere is healed by running it again, and a repeat does nothing (law L4). What must not be done twice is
//! intended first ([`Intent`](crate::ticket::Intent)): one protocol for all sinks, each of which looks in its own
//! way for the effect of a call that was not answered.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::fault::Fault;
use crate::incident::shown;
use crate::ticket::store::Place;
use crate::ticket::{Record, Sink, Ticket};

mod intents;
pub mod jira;
pub mod lanes;
mod links;
mod pace;
pub mod playbook;
pub mod slack;
pub mod teams;

use intents::{Intents, Standing};
pub use links::ticket_page;
use links::{dashboard_page, issue_page};
use pace::Pace;
pub use pace::Turn;

/// What one step of a sink came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<R> {
    /// The sink shows the ticket as it is.
    UpToDate,
    /// Something was done, found or decided: store this record, then call again.
    Recorded(R),
    /// Nothing to do right now (rate limit, index lag): call again after this time.
    Wait(Duration, String),
}

/// What a sink would do next by what is recorded: asked of nobody, and without a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<R> {
    /// Nothing: it shows the ticket as it is.
    AtRest,
    /// A call that has to be intended first: store this record.
    Intend(R),
    /// Whatever the next step comes to.
    Step,
}

impl<R> Next<R> {
    /// The same with another record.
    pub fn map<S>(self, other: impl FnOnce(R) -> S) -> Next<S> {
        match self {
            Self::AtRest => Next::AtRest,
            Self::Intend(record) => Next::Intend(other(record)),
            Self::Step => Next::Step,
        }
    }
}

impl<R> Step<R> {
    /// The same step with another record.
    pub fn map<S>(self, other: impl FnOnce(R) -> S) -> Step<S> {
        match self {
            Self::UpToDate => Step::UpToDate,
            Self::Recorded(record) => Step::Recorded(other(record)),
            Self::Wait(delay, why) => Step::Wait(delay, why),
        }
    }
}

/// What all processes together may post to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So many posts.
    pub posts: usize,
    /// Within this time.
    pub within: TimeDelta,
}

/// The sinks that are on.
#[derive(Debug, Clone, Default)]
pub struct Sinks {
    /// JIRA.
    pub jira: Option<jira::Jira>,
    /// Slack.
    pub slack: Option<slack::Slack>,
    /// Microsoft Teams.
    pub teams: Option<teams::Teams>,
    /// The playbooks, if any is configured.
    pub playbook: Option<playbook::Playbooks>,
    /// Who delivers where right now.
    pub lanes: lanes::Lanes,
}

impl Sinks {
    /// Why this sink is off, as people read it on the ticket; `None`: it is on.
    pub fn why_off(&self, sink: Sink) -> Option<&'static str> {
        let (is_on, why) = match sink {
            Sink::Jira => (self.jira.is_some(), "JIRA is not configured (ITSM_TOOL)"),
            Sink::Slack => (
                self.slack.is_some(),
                "Slack is not configured (SLACK_BOT_TOKEN)",
            ),
            Sink::Teams => (
                self.teams.is_some(),
                "Microsoft Teams is not configured (TEAMS_…)",
            ),
            Sink::Playbook => (
                self.playbook.is_some(),
                "no playbook is configured (PLAYBOOK_…)",
            ),
        };
        (!is_on).then_some(why)
    }

    /// A digest of what the sink works with: another one means that somebody changed its settings. `None`: it is off, or acts.
    pub fn settings_digest(&self, sink: Sink) -> Option<String> {
        match sink {
            Sink::Jira => Some(self.jira.as_ref()?.settings().digest()),
            Sink::Slack => Some(self.slack.as_ref()?.settings().digest()),
            Sink::Teams => Some(self.teams.as_ref()?.digest()),
            Sink::Playbook => None,
        }
    }

    /// What a sink that shows the ticket would do next: stored with what was done before, it saves a write.
    pub fn next(&self, sink: Sink, ticket: &Ticket, now: DateTime<Utc>) -> Next<Record> {
        let ticket = &*shown(ticket);
        let next = match sink {
            Sink::Jira => (self.jira.as_ref()).map(|jira| jira.next(ticket, now).map(Record::Jira)),
            Sink::Slack => {
                (self.slack.as_ref()).map(|slack| slack.next(ticket, now).map(Record::Slack))
            }
            Sink::Teams => {
                (self.teams.as_ref()).map(|teams| teams.next(ticket, now).map(Record::Teams))
            }
            Sink::Playbook => None,
        };
        next.unwrap_or(Next::AtRest)
    }

    /// Whose turn it is in a sink with a line, for a delivery of this ticket; `None`: there is nothing to wait for.
    pub fn turn(&self, sink: Sink, ticket: &Ticket, now: DateTime<Utc>) -> Option<Turn> {
        match sink {
            Sink::Slack => self.slack.as_ref()?.turn(ticket, now),
            Sink::Teams => self.teams.as_ref()?.turn(&shown(ticket), now),
            Sink::Jira | Sink::Playbook => None,
        }
    }

    /// How long until a delivery of this ticket should come, where the sink has a line. The place is kept.
    pub fn reserve(&self, sink: Sink, ticket: &Ticket, now: DateTime<Utc>) -> Option<Duration> {
        match sink {
            Sink::Slack => self.slack.as_ref()?.reserve(ticket, now),
            Sink::Teams => self.teams.as_ref()?.reserve(&shown(ticket), now),
            Sink::Jira | Sink::Playbook => None,
        }
    }

    /// What all processes together may post to this sink, if it is about to be posted to.
    pub fn budget(&self, sink: Sink, ticket: &Ticket, now: DateTime<Utc>) -> Option<Budget> {
        match sink {
            Sink::Teams => self.teams.as_ref()?.budget(&shown(ticket), now),
            Sink::Jira | Sink::Slack | Sink::Playbook => None,
        }
    }

    /// Is this sink to be told where it posts? `stopped`: it could not post where it last believed.
    pub fn wants_place(&self, sink: Sink, stopped: bool, now: DateTime<Utc>) -> bool {
        match sink {
            Sink::Teams => {
                (self.teams.as_ref()).is_some_and(|teams| teams.wants_place(stopped, now))
            }
            Sink::Jira | Sink::Slack | Sink::Playbook => false,
        }
    }

    /// Where this sink posts, as it is stored.
    pub fn learn(&self, sink: Sink, place: Option<Place>, now: DateTime<Utc>) {
        match sink {
            Sink::Teams => {
                if let Some(teams) = &self.teams {
                    teams.learn(place, now);
                }
            }
            Sink::Jira | Sink::Slack | Sink::Playbook => {}
        }
    }

    /// Is it time to tell the other processes that messages wait in line for this sink?
    pub fn is_time_to_tell(&self, sink: Sink, now: DateTime<Utc>) -> bool {
        match sink {
            Sink::Slack => (self.slack.as_ref()).is_some_and(|slack| slack.is_time_to_tell(now)),
            Sink::Teams => (self.teams.as_ref()).is_some_and(|teams| teams.is_time_to_tell(now)),
            Sink::Jira | Sink::Playbook => false,
        }
    }

    /// Until when its vendor asked for silence.
    pub fn silent_until(&self, sink: Sink, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match sink {
            Sink::Slack => self.slack.as_ref()?.silent_until(now),
            Sink::Teams => self.teams.as_ref()?.silent_until(now),
            Sink::Jira | Sink::Playbook => None,
        }
    }

    /// So many processes have a line for this sink, this one counted; until when its vendor asked one of them for silence.
    pub fn share(&self, sink: Sink, processes: usize, silent_until: Option<DateTime<Utc>>) {
        match sink {
            Sink::Slack => {
                if let Some(slack) = &self.slack {
                    slack.share(processes, silent_until);
                }
            }
            Sink::Teams => {
                if let Some(teams) = &self.teams {
                    teams.share(processes, silent_until);
                }
            }
            Sink::Jira | Sink::Playbook => {}
        }
    }

    /// The next step of a sink that shows the ticket. A sink that is off, or that acts, has none.
    ///
    /// # Errors
    /// What the vendor refused, or that it could not be reached.
    pub async fn step(
        &self,
        sink: Sink,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Step<Record>, Fault> {
        let ticket = &*shown(ticket);
        match sink {
            Sink::Jira => match &self.jira {
                Some(jira) => Ok(jira.step(ticket, now).await?.map(Record::Jira)),
                None => Ok(Step::UpToDate),
            },
            Sink::Slack => match &self.slack {
                Some(slack) => Ok(slack.step(ticket, now).await?.map(Record::Slack)),
                None => Ok(Step::UpToDate),
            },
            Sink::Teams => match &self.teams {
                Some(teams) => Ok(teams.step(ticket, now).await?.map(Record::Teams)),
                None => Ok(Step::UpToDate),
            },
            Sink::Playbook => Ok(Step::UpToDate),
        }
    }
}

/// A short digest of settings. Secrets among them are long and random: nobody finds them from it.
fn digest(settings: &[&str]) -> String {
    let mut hash = Sha256::new();
    for setting in settings {
        hash.update(setting.len().to_be_bytes());
        hash.update(setting);
    }
    let mut hex = hex::encode(hash.finalize());
    hex.truncate(12);
    hex
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked, e.g. `JIRA credentials`.
    pub name: String,
    /// Is it as it must be?
    pub ok: bool,
    /// Is it switched off? Then nothing was tried.
    pub off: bool,
    /// What was found.
    pub line: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// It is as it must be.
pub(crate) fn good(name: &str, line: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok: true,
        off: false,
        line: line.into(),
        fix: None,
    }
}

/// It is switched off.
pub(crate) fn off(name: &str, line: impl Into<String>) -> Check {
    Check {
        off: true,
        ..good(name, line)
    }
}

/// It is not, and what to do about it.
pub(crate) fn bad(name: &str, line: impl Into<String>, fix: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok: false,
        off: false,
        line: line.into(),
        fix: Some(fix.into()),
    }
}
