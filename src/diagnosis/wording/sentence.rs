//! What a text says, in one short piece of it.

use super::excerpt::{grow, word_end, word_start};
use crate::diagnosis::classify::Verdict;
use crate::diagnosis::place::Place;
use crate::diagnosis::span::Span;
use crate::evidence::Voice;

/// The longest piece of the text inside a sentence of ours, in bytes.
pub(super) const SAYS: usize = 240;
/// A first sentence shorter than this is joined by the next.
const ENOUGH: usize = 80;
/// So few bytes hold no more than a code.
const FEW: usize = 20;
/// The words before a name in a sentence that only passes an error on, in bytes.
const WRAPPER: usize = 40;
/// How Python begins what it prints of an exception.
pub(super) const TRACEBACK: &str = "Traceback (most recent call last)";

/// The telling line in one short piece, for causes that can only repeat it.
pub(in crate::diagnosis) fn says<'a>(
    verdict: &'a Verdict<'_>,
    sign: (usize, Span),
) -> Option<&'a str> {
    text_at(verdict, sentence_at(verdict, sign)?)
}

/// Where the sentence around a sign stands.
pub(super) fn sentence_at(
    verdict: &Verdict<'_>,
    (place, span): (usize, Span),
) -> Option<(usize, Span)> {
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
pub(in crate::diagnosis) fn told<'a>(verdict: &'a Verdict<'_>) -> Option<&'a str> {
    text_at(verdict, first_said(verdict)?)
}

/// Where that stands.
pub(super) fn first_said(verdict: &Verdict<'_>) -> Option<(usize, Span)> {
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

/// The last line of the innermost text that is heard, without the frames of a trace.
pub(in crate::diagnosis) fn last_line(verdict: &Verdict<'_>) -> Option<(usize, Span)> {
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

/// The text of a place.
pub(super) fn text_at<'a>(
    verdict: &'a Verdict<'_>,
    (place, span): (usize, Span),
) -> Option<&'a str> {
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
pub(in crate::diagnosis) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
        .filter(|word| word.contains(char::is_alphabetic))
}
