//! Words: the cause's sentence and steps with the named things in them, and the quotes that prove them.
//!
//! In: a verdict. Out: the texts of a [`Diagnosis`](super::Diagnosis). A `[part]` of a template is left out
//! when one of its entities was not found, so a sentence never shows a hole. Quotes are slices of the input.

use std::collections::BTreeMap;

use super::Quote;
use super::catalog::Catalog;
use super::classify::{Candidate, Verdict};
use super::place::Place;
use super::shape;
use super::span::Span;
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

/// A line up to this long is quoted whole.
const LINE: usize = 520;
/// The longest piece of a longer line that is quoted, in bytes.
const QUOTE: usize = 420;
/// How far from a sign the things stand that it is about, in bytes.
const REACH: usize = 600;
/// How many signs of a cause are looked at.
const SIGNS: usize = 4;
/// The longest piece of the text inside a sentence of ours, in bytes.
const SAYS: usize = 240;
/// A first sentence shorter than this is joined by the next.
const ENOUGH: usize = 80;
/// So few bytes hold no more than a code.
const FEW: usize = 20;
/// The words before a name in a sentence that only passes an error on, in bytes.
const WRAPPER: usize = 40;
/// How Python begins what it prints of an exception.
const TRACEBACK: &str = "Traceback (most recent call last)";
/// The most quotes.
const QUOTES: usize = 6;

/// What proves a cause, and the named things that stand in it.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) quotes: Vec<Quote>,
    /// By name. Each value stands in one of the quotes.
    pub(super) entities: BTreeMap<String, String>,
}

/// Where the cause happened: named at the text's beginning, far from what went wrong.
const WHEREABOUTS: [&str; 5] = ["activity", "inner_activity", "side", "task", "dag"];

/// Names of errors, not of things.
const CODES: [&str; 17] = [
    "aadsts",
    "code",
    "connector",
    "curl",
    "db2",
    "dynamics",
    "errno",
    "exception",
    "exit",
    "hana",
    "http",
    "http_name",
    "mysql",
    "ora",
    "sql",
    "sqlstate",
    "teradata",
];

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

/// The text of a place.
fn text_at<'a>(verdict: &'a Verdict<'_>, (place, span): (usize, Span)) -> Option<&'a str> {
    verdict.places.get(place)?.text.get(span.start..span.end)
}

/// Without the blanks around it and the punctuation at its end.
fn bare(text: &str, span: Span) -> Option<Span> {
    let said = text.get(span.start..span.end)?;
    let start = span.start + said.len() - said.trim_start().len();
    let length = said.trim().trim_end_matches(['.', ',', ';', ':']).len();
    let end = start + length;
    (length > 0).then_some(Span { start, end })
}

/// The words of a text: what has a letter.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .filter(|word| word.contains(char::is_alphabetic))
}

fn length(verdict: &Verdict<'_>, place: usize, span: Span) -> usize {
    let place = verdict.places.get(place);
    place.map_or(0, |place| {
        let line = line(place.text, span);
        line.end - line.start
    })
}

/// The last line of the innermost text that is heard, without the frames of a trace.
pub(super) fn last_line(verdict: &Verdict<'_>) -> Option<(usize, Span)> {
    let (number, place) = verdict
        .places
        .iter()
        .enumerate()
        .rfind(|(_, place)| place.voice == Voice::Terminal && !place.window.parts.is_empty())?;
    let part = place.window.parts.last()?;
    let mut end = part.end;
    while end > part.start {
        let text = place.text.get(part.start..end)?;
        let start = text
            .rfind('\n')
            .map_or(part.start, |at| part.start + at + 1);
        let said = place.text.get(start..end)?;
        if !is_frame(said) {
            let end = start + said.trim_end().len();
            return Some((number, Span { start, end }));
        }
        end = start.saturating_sub(1).max(part.start);
    }
    None
}

/// Does the line only say where, as frames and marks of a trace do, or nothing?
fn is_frame(line: &str) -> bool {
    let line = line.trim();
    let words = line.contains(|c: char| c.is_alphanumeric());
    let place = line.ends_with(')') && !line.contains(' ') && line.contains('(');
    !words || place || line.starts_with("at ") || line.starts_with("File ")
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

/// The telling line in one short piece, for causes that can only repeat it.
pub(super) fn says<'a>(verdict: &'a Verdict<'_>, sign: (usize, Span)) -> Option<&'a str> {
    text_at(verdict, sentence_at(verdict, sign)?)
}

/// Where the sentence around a sign stands.
fn sentence_at(verdict: &Verdict<'_>, (place, span): (usize, Span)) -> Option<(usize, Span)> {
    let text = verdict.places.get(place)?.text;
    let line = grow(text, span);
    let left = begin_of_sentence(text.get(line.start..span.start)?);
    let mut start = line.start + left;
    if start + SAYS / 2 < span.start {
        let floor = text.ceil_char_boundary(span.start - SAYS / 2);
        start = word_start(text, floor, span.start);
    }
    let behind = text.get(span.end..line.end)?;
    let line = Span {
        end: line
            .end
            .min(span.end + first_of(behind, &[",Source=", "\\n", "\\r", "\",\""])),
        ..line
    };
    let mut end = span.end + end_of_sentence(text.get(span.end..line.end)?);
    while end < line.end && end.saturating_sub(start) < ENOUGH {
        let next = text.ceil_char_boundary(end + 2);
        end = next + end_of_sentence(text.get(next..line.end).unwrap_or_default());
        end = end.min(line.end);
    }
    if end > start + SAYS {
        end = word_end(
            text,
            text.floor_char_boundary(start + SAYS),
            text.ceil_char_boundary(start.max(span.start)),
        );
    }
    // A number alone tells nothing: the sentence before it does.
    while end.saturating_sub(start) < FEW && start > line.start {
        let before = text.get(line.start..start)?.trim_end();
        let shorter = before.get(..before.floor_char_boundary(before.len().saturating_sub(1)))?;
        let earlier = line.start + begin_of_sentence(shorter);
        if earlier >= start || end - earlier > SAYS {
            break;
        }
        start = earlier;
    }
    end = start + first_of(text.get(start..end)?, &[",Source="]);
    Some((place, bare(text, Span { start, end })?))
}

/// What the terminal error says first, behind the sentences that only pass it on: for causes that rest on a code alone.
pub(super) fn told<'a>(verdict: &'a Verdict<'_>) -> Option<&'a str> {
    text_at(verdict, first_said(verdict)?)
}

/// Where that stands.
fn first_said(verdict: &Verdict<'_>) -> Option<(usize, Span)> {
    let places = verdict.places.iter().enumerate();
    let terminal = |(_, place): &(usize, &Place<'_>)| place.heard && place.voice == Voice::Terminal;
    places.filter(terminal).find_map(|(number, place)| {
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
        let said = place.text.get(start..part.end)?;
        start += said.len() - said.trim_start().len();
        let said = said.trim_start();
        // Values and documents are no sentence.
        if said.starts_with(['{', '[', '<']) || said.starts_with("ErrorCode=") {
            return None;
        }
        let mut lines = said.split('\n').map(|line| {
            let span = Span {
                start,
                end: start + line.len(),
            };
            start = span.end + 1;
            (line, span)
        });
        // A traceback says at its end what was raised.
        let (line, span) = if said.starts_with(TRACEBACK) {
            let raised = lines.skip(1).filter(|(line, _)| !line.starts_with(' '));
            raised.filter(|(line, _)| !line.trim().is_empty()).last()?
        } else {
            lines.next()?
        };
        let length = end_of_sentence(line).min(line.floor_char_boundary(SAYS));
        let end = span.start + length;
        let told = bare(place.text, Span { end, ..span })?;
        let told = (number, told);
        (words(text_at(verdict, told)?).count() > 1).then_some(told)
    })
}

/// Where the last sentence or the last value of a `Key=Value` begins in what stands before a sign.
fn begin_of_sentence(before: &str) -> usize {
    let marks = [". ", "! ", "? ", "\\n", "ERROR - ", "INFO - ", "WARNING - "];
    let sentence = marks
        .iter()
        .filter_map(|mark| before.rfind(mark).map(|at| at + mark.len()))
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
    first_of(behind, &[". ", ".,", ".'", ".\"", "! "])
}

/// Where the first of the marks stands, or the end.
fn first_of(text: &str, marks: &[&str]) -> usize {
    marks
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len())
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

/// A sentence that names nothing of the text is joined by the words of the error, if they are few and say more.
pub(super) fn named(sentence: String, entities: &BTreeMap<String, String>) -> String {
    let Some(says) = entities.get("says") else {
        return sentence;
    };
    let things = entities.iter().filter(|(name, value)| {
        let name = name.as_str();
        !WHEREABOUTS.contains(&name) && !CODES.contains(&name) && value.len() > 1
    });
    let names_one = things
        .map(|(_, value)| value)
        .any(|value| sentence.contains(value.as_str()));
    // A lone word, as a code is, names nothing; values and documents are no sentence.
    let is_no_sentence = words(says).count() < 3 || says.starts_with(['{', '[', '<']);
    if names_one || is_no_sentence || says.contains(['\n', '`']) {
        return sentence;
    }
    format!("{} The error says: {says}.", sentence.trim_end())
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

/// Grows a place to the line around it, or to what of a long line stands near.
fn grow(text: &str, span: Span) -> Span {
    let whole = line(text, span);
    if whole.end - whole.start <= LINE {
        return whole;
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

/// The line, without the line break.
fn line(text: &str, span: Span) -> Span {
    let before = text.get(..span.start).unwrap_or_default();
    let behind = text.get(span.end..).unwrap_or_default();
    Span {
        start: before.rfind('\n').map_or(0, |at| at + 1),
        end: behind.find('\n').map_or(text.len(), |at| span.end + at),
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
