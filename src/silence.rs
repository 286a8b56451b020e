//! Silences: which failures are expected for a while. Pure.
//!
//! In: what somebody asks for, and a ticket that is about to be opened. Out: a [`Silence`], or what is wrong with what was
//! asked; whether a silence covers the ticket; the words that sum up what failed silently. Such failures are recorded and
//! counted, nothing is announced, paged or healed. The room does not know where silences are kept.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::failure::{Asset, AssetPattern, Failure, Scope, Source, same_place};
use crate::redaction::{cap, redact};
use crate::ticket::{Actor, Silence, SilenceState, Ticket, Untold};

/// The longest silence.
const LONGEST: TimeDelta = TimeDelta::days(90);
/// How far ahead one may be planned.
const AHEAD: TimeDelta = TimeDelta::days(366);
/// The longest pattern, cause, scope; the longest reason.
const TEXT_CAP: usize = 300;
const WHY_CAP: usize = 500;
/// Assets and causes that a sum names.
const NAMED: usize = 20;

/// What somebody asks for: texts as they were typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// A pattern on the names of assets.
    pub asset: String,
    /// Only failures of this cause.
    pub cause: Option<String>,
    /// Only in this scope.
    pub scope: Option<String>,
    /// When it begins, RFC 3339 or `2026-07-27 22:00` (UTC); at once when absent.
    pub from: Option<String>,
    /// When it ends.
    pub until: Option<String>,
    /// Instead: how many minutes after it began.
    #[serde(deserialize_with = "whole")]
    pub minutes: Option<u32>,
    /// Why.
    pub why: String,
    /// In whose name, where the caller has none of its own.
    pub by: Option<String>,
}

/// What is wrong with what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

fn invalid(field: &'static str, why: impl Into<String>) -> Invalid {
    Invalid {
        field,
        why: why.into(),
    }
}

/// JSON knows one kind of number: 60.0 is as good as 60.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number: Option<serde_json::Number> = serde::Deserialize::deserialize(deserializer)?;
    let read = |number: serde_json::Number| {
        let text = number.to_string();
        let whole = text.strip_suffix(".0").unwrap_or(&text);
        whole.parse().map_err(serde::de::Error::custom)
    };
    number.map(read).transpose()
}

impl Asked {
    /// The silence that is asked for. `scopes`: those that are configured, whose short names stand for them. `number`: tells
    /// silences of one second apart.
    ///
    /// # Errors
    /// What is wrong with it, and in which field.
    pub fn silence(
        &self,
        by: Actor,
        scopes: &[Scope],
        number: u32,
        now: DateTime<Utc>,
    ) -> Result<Silence, Invalid> {
        let asset = self.asset.trim();
        if asset.len() > TEXT_CAP {
            return Err(invalid("asset", "is too long"));
        }
        AssetPattern::parse(asset, &[]).map_err(|why| invalid("asset", why))?;
        let why = cap(&redact(self.why.trim()), WHY_CAP);
        if why.is_empty() {
            return Err(invalid("why", "say why failures are expected"));
        }
        let from = match filled(self.from.as_deref()) {
            Some(text) => time(text).ok_or_else(|| invalid("from", FORM))?,
            None => now,
        };
        let until = match (filled(self.until.as_deref()), self.minutes) {
            (Some(text), _) => time(text).ok_or_else(|| invalid("until", FORM))?,
            (None, Some(minutes)) => from + TimeDelta::minutes(i64::from(minutes)),
            (None, None) => {
                return Err(invalid("until", "say until when, or for how many minutes"));
            }
        };
        if until <= now || until <= from {
            return Err(invalid(
                "until",
                "lies before the beginning, or in the past",
            ));
        }
        if until - from > LONGEST {
            return Err(invalid("until", "is more than 90 days after the beginning"));
        }
        if from - now > AHEAD {
            return Err(invalid("from", "is more than a year ahead"));
        }
        let text = |text: &Option<String>| {
            filled(text.as_deref()).map(|text| cap(&redact(text), TEXT_CAP))
        };
        Ok(Silence {
            id: format!("S-{}-{number:08x}", now.format("%Y%m%dT%H%M%S")),
            asset: asset.to_owned(),
            cause: text(&self.cause),
            scope: text(&self.scope).map(|named| placed(&named, scopes)),
            from,
            until,
            by,
            why,
            created_at: now,
            set_at: None,
            ended: None,
            summed_up: None,
        })
    }
}

const FORM: &str = "is no time such as 2026-07-27T22:00:00Z or 2026-07-27 22:00 (UTC)";

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// RFC 3339, or without an offset: UTC.
fn time(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(at.to_utc());
    }
    let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"];
    let read = |form| NaiveDateTime::parse_from_str(text, form).ok();
    forms.into_iter().find_map(read).map(|at| at.and_utc())
}

/// A short name of a configured scope as its id; anything else as it is.
fn placed(named: &str, scopes: &[Scope]) -> String {
    let is_it = |scope: &&Scope| scope.name.eq_ignore_ascii_case(named);
    let mut found = scopes.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(only), None) => only.id.clone(),
        _ => named.to_owned(),
    }
}

/// The silence that covers this ticket now, if one does: the one that ends last.
pub fn covering<'a>(
    silences: &'a [Silence],
    ticket: &Ticket,
    now: DateTime<Utc>,
) -> Option<&'a Silence> {
    // The tool's own notices are about itself.
    if ticket.failure.source == Source::System {
        return None;
    }
    let covers = |silence: &&Silence| {
        silence.state(now) == SilenceState::Active && is_about(silence, ticket)
    };
    let covering = silences.iter().filter(covers);
    covering.max_by_key(|silence| (silence.over_at(), &silence.id))
}

fn is_about(silence: &Silence, ticket: &Ticket) -> bool {
    let asset = AssetPattern::parse(&silence.asset, &[])
        .is_ok_and(|pattern| pattern.is_for(&Asset::of(&ticket.failure)));
    let diagnosis = &ticket.diagnosis;
    let cause = silence.cause.as_ref().is_none_or(|cause| {
        [
            diagnosis.category.words(),
            &diagnosis.error_type,
            &diagnosis.rule,
            &diagnosis.fingerprint,
        ]
        .into_iter()
        .any(|name| name.eq_ignore_ascii_case(cause))
    });
    let scope = silence.scope.as_ref();
    asset && cause && scope.is_none_or(|scope| is_there(scope, &ticket.failure))
}

fn is_there(scope: &str, failure: &Failure) -> bool {
    failure.scope().is_some_and(|place| {
        place.eq_ignore_ascii_case(scope) || same_place(failure.source, place, scope) == Some(true)
    })
}

/// What failed silently, in a sentence and a line for each asset and cause.
pub fn sum(silence: &Silence, untold: &[Untold]) -> (String, Vec<String>) {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for failure in untold {
        let count = counts.entry((&failure.asset, &failure.error_type));
        *count.or_default() += 1;
    }
    let assets: std::collections::BTreeSet<&str> = counts.keys().map(|(asset, _)| *asset).collect();
    let sentence = format!(
        "{} of {} during the silence of {} ({} to {}, set by {}: {}).",
        of(untold.len(), "failure"),
        of(assets.len(), "asset"),
        silence.subject(),
        silence.from.format("%Y-%m-%d %H:%M"),
        silence.over_at().format("%Y-%m-%d %H:%M UTC"),
        silence.by.name,
        silence.why,
    );
    let mut most: Vec<_> = counts.into_iter().collect();
    most.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let over = most.len().saturating_sub(NAMED);
    let mut lines: Vec<String> = most
        .iter()
        .take(NAMED)
        .map(|((asset, error_type), count)| format!("{asset}: {count} × {error_type}"))
        .collect();
    if over > 0 {
        lines.push(format!("… and {over} more"));
    }
    (sentence, lines)
}

fn of(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
