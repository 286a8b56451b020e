//! Words: the cause's sentence and steps with the named things in them, and the quotes that prove them.
//!
//! In: a verdict. Out: the texts of a [`Diagnosis`](super::Diagnosis). A `[part]` of a template is left out
//! when one of its entities was not found, so a sentence never shows a hole. Quotes are slices of the input.

use std::collections::BTreeMap;

use super::Quote;
use super::catalog::Catalog;
use super::classify::{Candidate, Place, Verdict};
use super::scan::Span;
use super::shape;
use crate::evidence::Voice;

/// A sentence of ours in pieces: the first is prose, the second stood between back-ticks and is code, and so on. A
/// back-tick without its partner is only a back-tick: then the sentence is one piece.
pub fn pieces(text: &str) -> Vec<&str> {
    let pieces: Vec<&str> = text.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        vec![text]
    } else {
        pieces
    }
}

/// A message up to this long is quoted whole.
const WHOLE: usize = 520;
/// The longest quote, in bytes.
const QUOTE: usize = 420;
/// The longest piece of the text inside a sentence of ours, in bytes.
const SAYS: usize = 180;
/// The words before a name in a sentence that only passes an error on, in bytes.
const WRAPPER: usize = 40;
/// The most quotes.
const QUOTES: usize = 6;

/// The entities by name: the value nearest to the telling place.
pub(super) fn entities(catalog: &Catalog, verdict: &Verdict<'_>) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let winner = verdict.candidates.first();
    let heard = verdict.places.iter().enumerate();
    for (number, place) in heard.filter(|(_, place)| place.heard) {
        for found in &place.hits.found {
            let (Some(rule), Some(value)) = (
                catalog.scanner().entity(found.rule),
                place.text.get(found.span.start..found.span.end),
            ) else {
                continue;
            };
            let distance = match winner {
                Some(winner) if winner.place == number => {
                    winner.span.start.abs_diff(found.span.start)
                }
                _ => usize::MAX,
            };
            let better = out.get(&rule.name).is_none_or(|(best, _)| distance < *best);
            if better && telling(&rule.name, value.trim()) {
                out.insert(rule.name.clone(), (distance, value.trim().to_owned()));
            }
        }
    }
    let mut out: BTreeMap<String, String> = out
        .into_iter()
        .map(|(name, (_, value))| (name, value))
        .collect();
    if let Some(says) =
        winner.and_then(|winner| says(verdict.places.get(winner.place)?.text, winner.span))
    {
        out.insert("says".into(), says);
    }
    out
}

/// Is this value worth naming in a sentence?
fn telling(name: &str, value: &str) -> bool {
    match name {
        "exception" => !shape::says_nothing(value),
        // `Amazon.Runtime.Internal` is a name space, not a host.
        "host" => !value.contains(['=', '(', '?']) && !value.ends_with(".Internal"),
        _ => !value.is_empty(),
    }
}

/// The telling line in one short piece, for causes that can only repeat it.
pub(super) fn says(text: &str, span: Span) -> Option<String> {
    let line = grow(text, span, true);
    let left = begin_of_sentence(text.get(line.start..span.start)?);
    let mut start = line.start + left;
    if start + SAYS / 2 < span.start {
        let floor = text.ceil_char_boundary(span.start - SAYS / 2);
        start = word_start(text, floor, span.start);
    }
    let mut end = span.end + end_of_sentence(text.get(span.end..line.end)?);
    if end > start + SAYS {
        end = word_end(
            text,
            text.floor_char_boundary(start + SAYS),
            text.ceil_char_boundary(start.max(span.start)),
        );
    }
    let said = text
        .get(start..end)?
        .trim()
        .trim_end_matches(['.', ',', ';', ':']);
    (!said.is_empty()).then(|| said.to_owned())
}

/// What the terminal error says first, behind the sentences that only pass it on: for causes that rest on a code alone.
pub(super) fn told(verdict: &Verdict<'_>) -> Option<String> {
    let terminal = |place: &&Place<'_>| place.heard && place.voice == Voice::Terminal;
    verdict.places.iter().filter(terminal).find_map(|place| {
        let part = place.window.parts.first()?;
        let mut start = part.start;
        for name in &place.window.masks.in_prose {
            if name
                .start
                .checked_sub(start)
                .is_some_and(|gap| gap <= WRAPPER)
            {
                let behind = place.text.get(name.end..)?;
                start = behind.find(": ").map_or(start, |at| name.end + at + 2);
            }
        }
        let said = place.text.get(start..part.end)?.trim_start();
        // Values and documents are no sentence.
        if said.starts_with(['{', '[', '<']) || said.starts_with("ErrorCode=") {
            return None;
        }
        // A traceback says at its end what was raised.
        let line = if said.starts_with("Traceback (most recent call last)") {
            let raised = said.lines().skip(1).filter(|line| !line.starts_with(' '));
            raised.filter(|line| !line.trim().is_empty()).last()?
        } else {
            said.lines().next()?
        };
        let end = end_of_sentence(line).min(line.floor_char_boundary(SAYS));
        let said = line
            .get(..end)?
            .trim()
            .trim_end_matches(['.', ',', ';', ':']);
        let words = said
            .split_whitespace()
            .filter(|word| word.contains(char::is_alphabetic));
        (words.count() > 1).then(|| said.to_owned())
    })
}

/// Where the last sentence or the last value of a `Key=Value` begins in what stands before a sign.
fn begin_of_sentence(before: &str) -> usize {
    let sentence = [". ", "! ", "? ", "\\n"]
        .iter()
        .filter_map(|mark| before.rfind(mark).map(|at| at + 2))
        .max()
        .unwrap_or(0);
    let value = before
        .char_indices()
        .rev()
        .zip(before.chars().rev().skip(1))
        .find_map(|((at, c), key)| {
            let named = c == '='
                && key.is_ascii_alphanumeric()
                && before.get(at + 1..)?.starts_with(char::is_alphabetic);
            named.then_some(at + 1)
        });
    sentence.max(value.unwrap_or(0))
}

/// Where the sentence ends in what stands behind a sign.
fn end_of_sentence(behind: &str) -> usize {
    let ends = [". ", ".,", ".'", ".\"", "! ", "\\n", "\\r", ",Source="];
    ends.iter()
        .filter_map(|mark| behind.find(mark))
        .min()
        .unwrap_or(behind.len())
}

/// Fills a template.
pub(super) fn fill(template: &str, entities: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(template.len() + 40);
    let mut rest = template;
    while let Some(open) = rest.find('[') {
        out.push_str(&plain(rest.get(..open).unwrap_or_default(), entities));
        let after = rest.get(open + 1..).unwrap_or_default();
        let close = after.find(']').unwrap_or(after.len());
        if let Some(part) = optional(after.get(..close).unwrap_or_default(), entities, &out) {
            out.push_str(&part);
        }
        rest = after.get(close + 1..).unwrap_or_default();
    }
    out.push_str(&plain(rest, entities));
    out
}

/// A part with its entities; none when one is missing, or when it would only repeat what is said already.
fn optional(part: &str, entities: &BTreeMap<String, String>, said: &str) -> Option<String> {
    let mut text = part.to_owned();
    let mut news = names(part).next().is_none();
    for name in names(part) {
        let value = entities.get(name)?;
        news |= value.len() < 4 || !said.contains(value.as_str());
        text = text.replace(&format!("{{{name}}}"), value);
    }
    news.then_some(text)
}

fn plain(part: &str, entities: &BTreeMap<String, String>) -> String {
    let mut text = part.to_owned();
    for name in names(part) {
        text = text.replace(
            &format!("{{{name}}}"),
            entities.get(name).map_or("?", String::as_str),
        );
    }
    text
}

fn names(part: &str) -> impl Iterator<Item = &str> {
    part.split('{')
        .skip(1)
        .filter_map(|piece| piece.split_once('}').map(|(name, _)| name))
}

/// The quotes: the telling places first, then where the named things stand.
pub(super) fn quotes(
    catalog: &Catalog,
    verdict: &Verdict<'_>,
    extra: Option<(usize, Span)>,
) -> Vec<Quote> {
    let mut taken: Vec<(usize, Span)> = Vec::new();
    let telling = verdict
        .candidates
        .iter()
        .take(4)
        .map(|candidate: &Candidate| (candidate.place, candidate.span));
    for (place, span) in telling.chain(extra) {
        add(&verdict.places, &mut taken, place, span);
    }
    for (number, place) in verdict
        .places
        .iter()
        .enumerate()
        .filter(|(_, place)| !place.hits.found.is_empty())
    {
        let mut found: Vec<_> = place.hits.found.iter().collect();
        found.sort_by_key(|f| {
            catalog
                .scanner()
                .entity(f.rule)
                .map_or(9, |rule| weight(&rule.name))
        });
        for f in found {
            add(&verdict.places, &mut taken, number, f.span);
        }
    }
    // The report's own first and last words belong to the proof.
    if let Some(text) = verdict.places.first().map(|place| place.text) {
        add(
            &verdict.places,
            &mut taken,
            0,
            Span {
                start: 0,
                end: text.ceil_char_boundary(text.len().min(1)),
            },
        );
        let last = text.trim_end();
        add(
            &verdict.places,
            &mut taken,
            0,
            Span {
                start: last.floor_char_boundary(last.len().saturating_sub(1)),
                end: last.len(),
            },
        );
    }
    taken
        .iter()
        .filter_map(|(number, span)| quote(verdict.places.get(*number)?, *span))
        .collect()
}

/// Which entities deserve their line first.
fn weight(name: &str) -> u8 {
    match name {
        "inner_activity" | "task" | "column" | "value" | "path" | "table" | "conn_id"
        | "exception" => 0,
        "activity" | "host" | "file" | "cluster" | "library" | "dag" => 1,
        _ => 2,
    }
}

fn quote(place: &Place<'_>, span: Span) -> Option<Quote> {
    let text = place.text.get(span.start..span.end)?.trim();
    (!text.is_empty()).then(|| Quote {
        quote: text.to_owned(),
        source: place.source.to_string(),
        title: None,
    })
}

fn add(places: &[Place<'_>], taken: &mut Vec<(usize, Span)>, number: usize, span: Span) {
    let Some(place) = places.get(number) else {
        return;
    };
    if taken.len() >= QUOTES
        || taken
            .iter()
            .any(|(n, t)| *n == number && t.start <= span.start && span.end <= t.end)
    {
        return;
    }
    let grown = grow(place.text, span, false);
    // Overlapping quotes become one, if it stays short.
    for (n, t) in taken.iter_mut() {
        if *n == number && t.start <= grown.end && grown.start <= t.end {
            let joined = Span {
                start: t.start.min(grown.start),
                end: t.end.max(grown.end),
            };
            if joined.end - joined.start <= QUOTE * 2 {
                *t = joined;
                return;
            }
        }
    }
    taken.push((number, grown));
}

/// Grows a place to the sentence or line around it; a short text is taken whole unless one line is wanted.
fn grow(text: &str, span: Span, one_line: bool) -> Span {
    if text.len() <= WHOLE && !one_line {
        return Span {
            start: 0,
            end: text.len(),
        };
    }
    let reach = QUOTE.saturating_sub(span.end - span.start) / 2;
    let floor = text.ceil_char_boundary(span.start.saturating_sub(reach));
    let ceiling = text.floor_char_boundary((span.end + reach).min(text.len()));
    let left = text.get(floor..span.start).unwrap_or_default();
    let right = text.get(span.end..ceiling).unwrap_or_default();
    let start = left.rfind('\n').map_or(floor, |at| floor + at + 1);
    let end = right.find('\n').map_or(ceiling, |at| span.end + at);
    let start = if start == floor && floor > 0 {
        word_start(text, start, span.start)
    } else {
        start
    };
    let end = if end == ceiling && ceiling < text.len() {
        word_end(text, end, span.end)
    } else {
        end
    };
    if start <= end {
        Span { start, end }
    } else {
        span
    }
}

fn word_start(text: &str, start: usize, limit: usize) -> usize {
    text.get(start..limit)
        .and_then(|part| part.find(' '))
        .map_or(start, |at| start + at + 1)
}

fn word_end(text: &str, end: usize, limit: usize) -> usize {
    text.get(limit..end)
        .and_then(|part| part.rfind(' '))
        .map_or(end, |at| limit + at)
}
