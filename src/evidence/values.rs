//! Vendors' codes, texts and times made fit to keep. Pure; knows no vendor.

use chrono::{DateTime, TimeDelta, Utc};

/// A vendor's error code as far as it is fit for a reason: a plain word, else nothing.
pub(crate) fn plain_code(code: &str) -> Option<&str> {
    let plain = (1..=64).contains(&code.len())
        && code
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    plain.then_some(code)
}

/// The last `limit` bytes, cut on a character boundary: the end of a log tells why it ended.
pub(crate) fn tail(text: &str, limit: usize) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(limit))..)
        .unwrap_or_default()
}

/// Milliseconds since 1970, as Databricks writes times; zero and nonsense are no time.
pub(crate) fn from_millis(millis: Option<i64>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis.filter(|ms| *ms > 0)?)
}

/// A moment widened on both sides.
pub(crate) fn around(at: DateTime<Utc>, slack: TimeDelta) -> (DateTime<Utc>, DateTime<Utc>) {
    let early = at.checked_sub_signed(slack).unwrap_or(at);
    (early, at.checked_add_signed(slack).unwrap_or(at))
}
