//! What decides how a message looks, beside its ticket's words. Pure.

use url::Url;

use crate::ownership::Routes;
use crate::ticket::{Status, Ticket};

/// Longest name or id shown on a line: all of them are shorter, as they are stored.
pub(super) const NAME_LIMIT: usize = 600;

/// What the settings show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// Where the dashboard is; without it there is no button.
    pub dashboard_base: Option<&'a Url>,
    /// The JIRA site; without it the issue's key is no link.
    pub issue_base: Option<&'a Url>,
    /// Slack's ids of the people who may answer; without any there are no buttons that ask for an answer.
    pub approvers: &'a [String],
    /// Whom messages mention; without them nobody.
    pub routes: Option<&'a Routes>,
    /// Are clicks believed? Without it there are no buttons but links.
    pub clicks: bool,
}

/// Which of the texts a ticket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Alert,
    InProgress,
    Reopened,
    Closed,
}

impl State {
    pub(super) fn of(ticket: &Ticket) -> Self {
        match (ticket.status, ticket.books.status_from) {
            (Status::Acknowledged, _) => Self::Closed,
            (_, Some(Status::Acknowledged)) => Self::Reopened,
            (Status::InProgress, _) => Self::InProgress,
            (Status::Open, _) => Self::Alert,
        }
    }

    /// The word of the header and of the line `Status:`; how a person brought it there.
    pub(super) fn words(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Alert => None,
            Self::InProgress => Some(("🔄", "IN PROGRESS", "Taken")),
            Self::Reopened => Some(("🔁", "REOPENED", "Reopened")),
            Self::Closed => Some(("✅", "CLOSED", "Closed")),
        }
    }
}
