//! The one question every fault answers: *should this be tried again?*
//!
//! A pipe: it imports nothing of ours. Decided once, where the status code or the I/O kind is seen
//! (3xx, 408, 425, 429, 5xx, connect, timeout: transient; other 4xx and parse errors: permanent).
//! The reason is written for an operator and may be shown on a ticket: it never holds a secret,
//! a token or a whole body.

use std::time::Duration;

/// Why a call to somebody else's system did not do what we asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Try again, not before `retry_after` when the other side named a time.
    #[error("{reason}")]
    Transient {
        /// What happened, for an operator.
        reason: String,
        /// The other side's wish (Retry-After), if it had one.
        retry_after: Option<Duration>,
    },
    /// Trying the same thing again cannot help.
    #[error("{reason}")]
    Permanent {
        /// What happened and, where we know it, what to do about it.
        reason: String,
    },
}

impl Fault {
    /// A fault worth another try.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::Transient {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// A fault worth another try, after the other side's own delay.
    pub fn transient_after(reason: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self::Transient {
            reason: reason.into(),
            retry_after,
        }
    }

    /// A fault that no repetition heals.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent {
            reason: reason.into(),
        }
    }

    /// Is it worth another try?
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }

    /// The sentence for the operator.
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient { reason, .. } | Self::Permanent { reason } => reason,
        }
    }

    /// Sorts an HTTP status that was no success.
    pub fn from_status(what: &str, status: u16, retry_after: Option<Duration>) -> Self {
        let reason = format!("{what} answered {status}");
        // We follow no redirect: one in the place of an answer is a maintenance page.
        if matches!(status, 300..=399 | 408 | 425 | 429) || status >= 500 {
            Self::Transient {
                reason,
                retry_after,
            }
        } else {
            Self::Permanent { reason }
        }
    }
}
