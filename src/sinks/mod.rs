//! Bring one sink of one ticket up to date. Siblings are strangers; none knows the store.
//!
//! In: the ticket as it stands. Out: one [`Step`]. A step makes at most one *writing* call and returns the
//! sink's new record, which the corridor stores by compare-and-set before the next step: so a crash
//! anywhere is healed by running it again, and a repeat does nothing (law L4).

use std::time::Duration;

pub mod jira;
pub mod playbook;
pub mod slack;

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

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked, e.g. `JIRA credentials`.
    pub name: String,
    /// Is it as it must be?
    pub ok: bool,
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
        line: line.into(),
        fix: None,
    }
}

/// It is not, and what to do about it.
pub(crate) fn bad(name: &str, line: impl Into<String>, fix: impl Into<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok: false,
        line: line.into(),
        fix: Some(fix.into()),
    }
}
