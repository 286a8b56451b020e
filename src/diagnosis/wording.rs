//! Words: the cause's sentence and steps with the named things in them, and the quotes that prove them.
//!
//! In: a verdict. Out: the texts of a [`Diagnosis`](super::Diagnosis). A `[part]` of a template is left out
//! when one of its entities was not found, so a sentence never shows a hole. Quotes are slices of the input.

use std::collections::BTreeMap;

use super::Quote;
use super::candidate::Candidate;
use super::catalog::Catalog;
use super::classify::Verdict;
use super::place::Place;
use super::shape;
use super::span::Span;
use crate::evidence::Voice;

mod excerpt;
mod sentence;
mod template;

use excerpt::{QUOTE, grow, line};
use sentence::{SAYS, TRACEBACK, first_said, sentence_at, text_at};
pub(super) use sentence::{last_line, says, told, words};
pub(super) use template::{fill, named};

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

/// How many pieces of code are told apart in one line.
const MOST_CODES: usize = 4;

/// The pieces of a line that are not empty, and whether each is code; for documents in which each piece costs more than
/// its text: a line with many is one piece.
pub fn few_pieces(line: &str) -> Vec<(&str, bool)> {
    let pieces = pieces(line);
    if pieces.len() > 2 * MOST_CODES + 1 {
        return vec![(line, false)];
    }
    let told = pieces.into_iter().enumerate();
    told.filter(|(_, piece)| !piece.is_empty())
        .map(|(index, piece)| (piece, index % 2 == 1))
        .collect()
}

/// How far from a sign the things stand that it is about, in bytes.
const REACH: usize = 600;
/// How many signs of a cause are looked at.
const SIGNS: usize = 4;
/// The most quotes.
const QUOTES: usize = 6;

/// Where the cause happened: named at the text's beginning, far from what went wrong.
const WHEREABOUTS: [&str; 5] = ["activity", "inner_activity", "side", "task", "dag"];

/// What proves a cause, and the named things that stand in it.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) quotes: Vec<Quote>,
    /// By name. Each value stands in one of the quotes.
    pub(super) entities: BTreeMap<String, String>,
}

/// A value, where it stands, and how far from the sign that is.
#[derive(Clone, Copy)]
struct Named<'a> {
    value: &'a str,
    place: usize,
    span: Span,
    distance: usize,
}

/// The proof of the cause whose sign is `telling`; without one, of the first cause with all of its signs.
pub(super) fn proof(
    catalog: &Catalog,
    verdict: &Verdict<'_>,
    telling: Option<(usize, Span)>,
) -> Proof {
    let signs = signs(verdict, telling);
    let named = things(catalog, verdict, &signs);
    let mut taken: Vec<(usize, Span)> = Vec::new();
    let others = verdict.candidates.iter().take(4);
    let others = others.map(|candidate: &Candidate| (candidate.place, candidate.span));
    let last = last_line(verdict).filter(|(place, span)| length(verdict, *place, *span) <= SAYS);
    for (place, span) in signs.iter().copied().chain(others).chain(last) {
        add(&verdict.places, &mut taken, place, span);
    }
    let mut in_order: Vec<_> = named.iter().collect();
    in_order.sort_by_key(|(name, _)| weight(name));
    for (_, thing) in in_order {
        add(&verdict.places, &mut taken, thing.place, thing.span);
    }
    around(catalog, verdict, &mut taken);
    let quoted = |thing: &Named<'_>| {
        taken
            .iter()
            .any(|(place, span)| *place == thing.place && span.holds(thing.span))
    };
    let mut entities: BTreeMap<String, String> = named
        .into_iter()
        .filter(|(_, thing)| quoted(thing))
        .map(|(name, thing)| (name.to_owned(), thing.value.to_owned()))
        .collect();
    let in_words = |(place, _): &&(usize, Span)| {
        let place = verdict.places.get(*place);
        place.is_some_and(|place| !place.window.parts.is_empty())
    };
    let sentence = |at: &(usize, Span)| sentence_at(verdict, *at);
    // A code in its field says nothing by itself, nor do a number among values and the head of a traceback.
    let is_told = |at: &(usize, Span)| {
        text_at(verdict, *at)
            .is_some_and(|says| !says.starts_with(TRACEBACK) && says.matches('=').count() < 2)
    };
    let in_words = signs.iter().filter(in_words);
    let telling = in_words.filter_map(sentence).find(is_told);
    let says = telling.or_else(|| first_said(verdict).or_else(|| last.as_ref().and_then(sentence)));
    // What is said is quoted as well.
    if let Some((place, span)) = says {
        add(&verdict.places, &mut taken, place, span);
    }
    let quotes: Vec<Quote> = taken
        .iter()
        .filter_map(|(number, span)| quote(verdict.places.get(*number)?, *span))
        .collect();
    if let Some(says) = says.and_then(|at| text_at(verdict, at))
        && quotes.iter().any(|quote| quote.quote.contains(says))
    {
        entities.insert("says".into(), says.to_owned());
    }
    Proof { quotes, entities }
}

fn length(verdict: &Verdict<'_>, place: usize, span: Span) -> usize {
    let place = verdict.places.get(place);
    place.map_or(0, |place| {
        let line = line(place.text, span);
        line.end - line.start
    })
}

/// The signs of the cause: the telling one, or all of the first cause.
fn signs(verdict: &Verdict<'_>, telling: Option<(usize, Span)>) -> Vec<(usize, Span)> {
    if let Some(telling) = telling {
        return vec![telling];
    }
    let Some(winner) = verdict.candidates.first() else {
        return Vec::new();
    };
    verdict
        .candidates
        .iter()
        .filter(|candidate| candidate.cause == winner.cause)
        .take(SIGNS)
        .map(|candidate| (candidate.place, candidate.span))
        .collect()
}

/// The named things beside the signs, the nearest of each name; whereabouts from anywhere in the terminal error.
fn things<'a>(
    catalog: &'a Catalog,
    verdict: &'a Verdict<'_>,
    signs: &[(usize, Span)],
) -> BTreeMap<&'a str, Named<'a>> {
    let mut out: BTreeMap<&str, Named<'_>> = BTreeMap::new();
    let slices: Vec<Slice> = signs
        .iter()
        .flat_map(|sign| slice(verdict, *sign))
        .collect();
    for (number, place) in verdict.places.iter().enumerate().filter(|(_, p)| p.heard) {
        for found in &place.hits.found {
            let (Some(rule), Some(raw)) = (
                catalog.scanner().entity(found.rule),
                place.text.get(found.span.start..found.span.end),
            ) else {
                continue;
            };
            let value = raw.trim();
            let distance = slices
                .iter()
                .filter(|slice| slice.place == number && slice.span.holds(found.span))
                .map(|slice| slice.sign.abs_diff(found.span.start))
                .min()
                .or_else(|| {
                    WHEREABOUTS
                        .contains(&rule.name.as_str())
                        .then_some(usize::MAX)
                });
            let (Some(distance), true) = (distance, telling(&rule.name, value)) else {
                continue;
            };
            if out
                .get(rule.name.as_str())
                .is_none_or(|best| distance < best.distance)
            {
                let thing = Named {
                    value,
                    place: number,
                    span: found.span,
                    distance,
                };
                out.insert(&rule.name, thing);
            }
        }
    }
    // The host of an address is worth naming where nothing else names one.
    if let Some(url) = out.get("url").copied()
        && !out.contains_key("host")
        && let Some(value) = host_of(url.value)
    {
        out.insert("host", Named { value, ..url });
    }
    out
}

/// `https://user@host:443/path` → `host`.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    host.contains('.').then_some(host)
}

/// What stands with a sign.
struct Slice {
    place: usize,
    span: Span,
    /// Where the sign begins.
    sign: usize,
}

/// The sign's line and the ones beside it, within its part and within reach. A code in its field is the code of the
/// message, which is its slice.
fn slice(verdict: &Verdict<'_>, (number, sign): (usize, Span)) -> Vec<Slice> {
    let Some(place) = verdict.places.get(number) else {
        return Vec::new();
    };
    if place.window.parts.is_empty() {
        let messages = verdict.places.iter().enumerate();
        return messages
            .filter(|(_, other)| other.source == "message" && other.voice == Voice::Terminal)
            .flat_map(|(place, other)| other.window.parts.iter().map(move |part| (place, *part)))
            .map(|(place, span)| Slice {
                place,
                span,
                sign: span.start,
            })
            .collect();
    }
    let text = place.text;
    let part = place.window.parts.iter().find(|part| part.holds(sign));
    let part = part.copied().unwrap_or(sign);
    let floor = part
        .start
        .max(text.ceil_char_boundary(sign.start.saturating_sub(REACH)));
    let ceiling = part
        .end
        .min(text.floor_char_boundary((sign.end + REACH).min(text.len())));
    let before = text.get(floor..sign.start).unwrap_or_default();
    let behind = text.get(sign.end..ceiling).unwrap_or_default();
    let second_back = before.rmatch_indices('\n').nth(1);
    let second_on = behind.match_indices('\n').nth(1);
    let span = Span {
        start: second_back.map_or(floor, |(at, _)| floor + at + 1),
        end: second_on.map_or(ceiling, |(at, _)| sign.end + at),
    };
    vec![Slice {
        place: number,
        span,
        sign: sign.start,
    }]
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

/// What helps to read the proof: lines with further named things, and the report's first and last words.
fn around(catalog: &Catalog, verdict: &Verdict<'_>, taken: &mut Vec<(usize, Span)>) {
    let named = verdict.places.iter().enumerate();
    for (number, place) in named.filter(|(_, place)| !place.hits.found.is_empty()) {
        let mut found: Vec<_> = place.hits.found.iter().collect();
        found.sort_by_key(|f| {
            catalog
                .scanner()
                .entity(f.rule)
                .map_or(9, |rule| weight(&rule.name))
        });
        for f in found {
            add(&verdict.places, taken, number, f.span);
        }
    }
    let Some(text) = verdict.places.first().map(|place| place.text) else {
        return;
    };
    let first = text.len() - text.trim_start().len();
    let last = text.trim_end();
    for (start, end) in [
        (first, text.ceil_char_boundary((first + 1).min(text.len()))),
        (
            last.floor_char_boundary(last.len().saturating_sub(1)),
            last.len(),
        ),
    ] {
        add(&verdict.places, taken, 0, Span { start, end });
    }
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
    if taken.len() >= QUOTES || taken.iter().any(|(n, t)| *n == number && t.holds(span)) {
        return;
    }
    let grown = grow(place.text, span);
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
