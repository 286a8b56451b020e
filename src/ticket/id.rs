//! The ticket's id, and the one way to read one from outside.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Source;

/// `ADF-20251212T100000-abc123`: source, UTC second, six hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketId(String);

impl TicketId {
    /// A fresh id; `suffix` gives the six hex digits (its low 24 bits).
    pub fn new(source: Source, at: DateTime<Utc>, suffix: u32) -> Self {
        Self(format!(
            "{}-{}-{:06x}",
            source.ticket_prefix(),
            at.format("%Y%m%dT%H%M%S"),
            suffix & 0x00ff_ffff
        ))
    }

    /// Reads an id from outside; anything that is not exactly of the right form is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (prefix, time, suffix) = (parts.next()?, parts.next()?, parts.next()?);
        let well_formed = parts.next().is_none()
            && Source::from_ticket_prefix(prefix).is_some()
            && chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S")
                .is_ok_and(|t| t.format("%Y%m%dT%H%M%S").to_string() == time)
            && suffix.len() == 6
            && suffix
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The day, `20251212`: the ticket's partition.
    pub fn day(&self) -> &str {
        self.0
            .split('-')
            .nth(1)
            .and_then(|time| time.get(..8))
            .unwrap_or_default()
    }
}

impl std::fmt::Display for TicketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
