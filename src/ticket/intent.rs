//! What is about to be done, recorded before it is done: the one protocol behind "once".
//!
//! 1. Before a call that must not be made twice its [`Intent`] is stored with the ticket by compare-and-set.
//!    Storing it proves that the ticket is the newest, and tells all others that the call may be under way.
//! 2. Only the process that stored it knows that it has not sent the call yet. It sends at once
//!    ([`Intent::FRESH`]), or stores another intent first.
//! 3. An answer settles it: the sink's next record has no intent. A refusal did nothing: another intent may follow.
//! 4. Without an answer, and for every other process, the outcome is unknown: the sink looks for the effect in
//!    its own way (a label, a marker, the history) before it intends the call again.
//! 5. A delivery holds the intent to work on a sink, renewed with each record. Others take the sink once that has
//!    expired ([`Intent::LEASE`]): longer than a step takes, and longer than a fresh intent waits for its call.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

/// What is about to be done, since when, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredIntent")]
pub struct Intent {
    /// What.
    pub what: Work,
    /// When it was recorded, or renewed.
    pub since: DateTime<Utc>,
    /// A name that nobody else has: of this very intent, or of the delivery.
    pub by: String,
}

/// What must not be done twice at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Bring the sink up to date.
    Deliver,
    /// Create what shows the ticket: the issue, the message.
    Create,
    /// Add this chapter of the story.
    Comment(u32),
    /// Change what is shown already. Safe to repeat, but no older ticket may be shown over a newer one.
    Change,
}

impl Intent {
    /// How long it keeps others away: longer than any one step takes (the HTTP client gives up after ten seconds, a
    /// step makes few calls).
    pub const LEASE: Duration = Duration::seconds(30);
    /// How soon the call has to follow: later, others may have begun to look for its effect.
    pub const FRESH: Duration = Duration::seconds(15);

    /// Does it still keep others away?
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.since + Self::LEASE
    }
}

/// As it is stored, and as version 0.1 stored a lease: with its end.
#[derive(Deserialize)]
struct StoredIntent {
    what: Option<Work>,
    #[serde(default)]
    since: DateTime<Utc>,
    #[serde(alias = "holder")]
    by: String,
    until: Option<DateTime<Utc>>,
}

impl From<StoredIntent> for Intent {
    fn from(stored: StoredIntent) -> Self {
        Self {
            what: stored.what.unwrap_or(Work::Deliver),
            since: stored
                .until
                .map_or(stored.since, |until| until - Self::LEASE),
            by: stored.by,
        }
    }
}

/// The intent of a record, beside which version 0.1 stored a field for each fact of each kind of call.
pub(super) mod stored {
    use serde::ser::SerializeMap as _;
    use serde::{Deserializer, Serializer};

    use super::{DateTime, Deserialize, Intent, Utc, Work};

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Stored {
        intent: Option<Intent>,
        creating_since: Option<DateTime<Utc>>,
        creating_by: Option<String>,
        posting_since: Option<DateTime<Utc>>,
        telling: Option<u32>,
        telling_since: Option<DateTime<Utc>>,
        telling_by: Option<String>,
        changing_since: Option<DateTime<Utc>>,
        changing_by: Option<String>,
    }

    #[expect(clippy::ref_option, reason = "serde hands the field on like this")]
    pub(in crate::ticket) fn serialize<S: Serializer>(
        intent: &Option<Intent>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("intent", intent)?;
        map.end()
    }

    pub(in crate::ticket) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Intent>, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        // A change is repeated whenever it is not recorded; a comment and a creation are not.
        let (what, since, by) = if stored.intent.is_some() {
            return Ok(stored.intent);
        } else if let Some(number) = stored.telling {
            let since = stored.telling_since.unwrap_or_default();
            (Work::Comment(number), since, stored.telling_by)
        } else if let Some(since) = stored.changing_since {
            (Work::Change, since, stored.changing_by)
        } else if let Some(since) = stored.creating_since.or(stored.posting_since) {
            (Work::Create, since, stored.creating_by)
        } else {
            return Ok(None);
        };
        let by = by.unwrap_or_default();
        Ok(Some(Intent { what, since, by }))
    }
}
