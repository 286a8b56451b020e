//! Vendors' codes, texts and times made fit to keep. Pure; knows no vendor.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::redaction::cap;

/// The longest list of tags, in bytes.
const TAGS_CAP: usize = 600;

/// What is said about an asset, by the names of context fields.
pub(crate) type Said = BTreeMap<String, String>;

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

/// A list of tags as the context has it: texts, objects with a name (Airflow), or names with values (Databricks).
pub(crate) fn tags<'a>(tags: impl IntoIterator<Item = &'a Value>) -> String {
    let texts = tags.into_iter().filter_map(|tag| {
        let text = tag.as_str().or_else(|| tag.get("name")?.as_str())?;
        Some(text.trim().replace(',', " ")).filter(|text| !text.is_empty())
    });
    cap(&texts.collect::<Vec<_>>().join(", "), TAGS_CAP)
}

/// A person's sign-in name without its domain; anything else as it is.
pub(crate) fn without_domain(name: &str) -> &str {
    name.split_once('@').map_or(name, |(person, _)| person)
}

/// Notes what is not empty.
pub(crate) fn note(said: &mut Said, name: &str, value: impl Into<String>) {
    let value = value.into();
    if !value.trim().is_empty() {
        said.insert(name.to_owned(), value);
    }
}
