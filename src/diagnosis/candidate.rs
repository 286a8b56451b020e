//! Candidates: a cause for each sign that the catalog knows.
//!
//! In: the places of a case. Out: a [`Candidate`] for each phrase, number and code. Which of them counts is decided in
//! `classify`.

use super::Case;
use super::catalog::Catalog;
use super::entry::{CodeEntry, rank};
use super::place::Place;
use super::reading::{self, Known};
use super::span::Span;
use crate::failure::{Source, field};

/// One sign of a cause.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) cause: usize,
    pub(super) rank: u8,
    pub(super) place: usize,
    pub(super) span: Span,
    pub(super) sign: String,
}

impl Candidate {
    /// Where its last unbroken piece begins: of two phrases that end alike, the longer one says more.
    pub(super) fn tail(&self) -> usize {
        let phrase = self.sign.split(" ! ").next().unwrap_or_default();
        match phrase.rsplit_once(" … ") {
            Some((_, last)) => self.span.end.saturating_sub(last.len()),
            None => self.span.start,
        }
    }

    /// Evidence beats the message, the message beats fields.
    pub(super) fn place_order(&self, places: &[Place<'_>]) -> u8 {
        match places.get(self.place).map(|place| place.source.as_ref()) {
            Some("message") => 2,
            Some("error_code") => 1,
            Some(source) if source.starts_with("context.") => 0,
            _ => 3,
        }
    }
}

pub(super) fn from_text(catalog: &Catalog, place: &Place<'_>, number: usize) -> Vec<Candidate> {
    let mut out = Vec::new();
    for (pattern, span) in &place.hits.patterns {
        if let Some(pattern) = catalog.scanner().pattern(*pattern) {
            out.push(Candidate {
                cause: pattern.cause,
                rank: pattern.rank,
                place: number,
                span: *span,
                sign: format!("\"{}\"", pattern.written),
            });
        }
    }
    for found in &place.hits.found {
        let Some(rule) = catalog.scanner().entity(found.rule) else {
            continue;
        };
        let (Some(space), Some(value)) =
            (&rule.code, place.text.get(found.span.start..found.span.end))
        else {
            continue;
        };
        // ORA-00942 and ORA-942 are one; in a SQLSTATE the zeros count.
        let digits = if space == "sqlstate" {
            value
        } else {
            value.trim_start_matches('0')
        };
        let key = format!("{space}:{}", digits.to_ascii_lowercase());
        let entry = catalog
            .code(&key)
            .or_else(|| family(catalog, space, value))
            .or_else(|| {
                // Drivers for both write their numbers alike.
                if space == "mysql" {
                    catalog.code(&format!("sql:{value}"))
                } else {
                    None
                }
            });
        if let Some(entry) = entry {
            out.push(Candidate {
                cause: entry.cause,
                rank: entry.rank,
                place: number,
                span: found.span,
                sign: key,
            });
        }
    }
    out
}

/// Numbers whose beginning says enough: SQLSTATE classes, HTTP hundreds.
fn family(catalog: &Catalog, space: &str, value: &str) -> Option<CodeEntry> {
    let head = match space {
        "sqlstate" => value.get(..2)?,
        "http" => value.get(..1)?,
        _ => return None,
    };
    catalog
        .code(&format!("{space}:{}xx", head.to_ascii_lowercase()))
        .map(|entry| CodeEntry {
            rank: rank::HINT,
            ..entry
        })
}

pub(super) fn from_field(
    catalog: &Catalog,
    source: Source,
    place: &Place<'_>,
    number: usize,
) -> Option<Candidate> {
    let is_code = place.source == "error_code" || place.source.starts_with("context.");
    if !is_code || place.text.len() > 200 {
        return None;
    }
    let text = place.text.trim();
    let entry = lookup(catalog, source, text)?;
    let context = place.source.starts_with("context.");
    Some(Candidate {
        cause: entry.cause,
        rank: if context {
            entry.rank.min(rank::WEAK_CODE)
        } else {
            entry.rank
        },
        place: number,
        span: Span {
            start: 0,
            end: place.text.len(),
        },
        sign: text.to_owned(),
    })
}

/// Looks a code up as vendors write it: whole, without its sub-class, as the class name of an exception.
fn lookup(catalog: &Catalog, source: Source, code: &str) -> Option<CodeEntry> {
    let key = code.to_ascii_lowercase();
    if code.bytes().all(|b| b.is_ascii_digit()) {
        let space = if source == Source::Adf { "adf" } else { "http" };
        return catalog
            .code(&format!("{space}:{key}"))
            .or_else(|| catalog.code(&format!("http:{key}")))
            // Data Factory's numbers are its own; a database's stands in the message.
            .or_else(|| {
                (source != Source::Adf)
                    .then(|| catalog.code(&format!("sql:{key}")))
                    .flatten()
            });
    }
    catalog
        .code(&key)
        .or_else(|| catalog.code(&key.replace([' ', '-'], "_")))
        .or_else(|| catalog.code(key.strip_prefix("usererror")?))
        .or_else(|| catalog.code(key.split('.').next()?))
        .or_else(|| catalog.code(key.rsplit('.').next()?))
        .or_else(|| {
            catalog.code(&format!(
                "ora:{}",
                key.strip_prefix("ora-")?.trim_start_matches('0')
            ))
        })
        .or_else(|| catalog.code(&format!("aadsts:{}", key.strip_prefix("aadsts")?)))
}

/// An unknown Databricks code is decided by its termination type.
pub(super) fn from_termination_type(
    catalog: &Catalog,
    case: &Case,
    places: &[Place<'_>],
) -> Option<Candidate> {
    let kind = case.context.get(field::TERMINATION_TYPE)?;
    let code = case.error_code.as_deref().unwrap_or_default();
    if !code.is_empty() && catalog.knows_code(code) {
        return None;
    }
    let entry = catalog.code(&format!("type:{}", kind.to_ascii_lowercase()))?;
    let (place, length) = places
        .iter()
        .enumerate()
        .find(|(_, p)| p.source == "error_code")
        .map_or((0, 0), |(i, p)| (i, p.text.len()));
    Some(Candidate {
        cause: entry.cause,
        rank: rank::HINT,
        place,
        span: Span {
            start: 0,
            end: length,
        },
        sign: format!("type {kind}"),
    })
}

/// A log that nobody could read says one thing only.
pub(super) fn from_unread_log<'a>(
    catalog: &Catalog,
    case: &'a Case,
    known: &Known,
    places: &mut Vec<Place<'a>>,
) -> Option<Candidate> {
    let entry = catalog.code("task_log_unreadable")?;
    if !reading::is_only_reader(&case.message, known) {
        return None;
    }
    places.push(Place::whole("message".into(), &case.message));
    Some(Candidate {
        cause: entry.cause,
        rank: rank::WORDS,
        place: places.len() - 1,
        span: Span {
            start: 0,
            end: case.message.len().min(1),
        },
        sign: "only the log reader speaks".into(),
    })
}
