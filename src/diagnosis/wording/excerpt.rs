//! How much of a text is quoted around a place in it.

use crate::diagnosis::span::Span;

/// A line up to this long is quoted whole.
const LINE: usize = 520;
/// The longest piece of a longer line that is quoted, in bytes.
pub(super) const QUOTE: usize = 420;

/// Grows a place to the line around it, or to what of a long line stands near.
pub(super) fn grow(text: &str, span: Span) -> Span {
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
pub(super) fn line(text: &str, span: Span) -> Span {
    let before = text.get(..span.start).unwrap_or_default();
    let behind = text.get(span.end..).unwrap_or_default();
    Span {
        start: before.rfind('\n').map_or(0, |at| at + 1),
        end: behind.find('\n').map_or(text.len(), |at| span.end + at),
    }
}

pub(super) fn word_start(text: &str, start: usize, limit: usize) -> usize {
    text.get(start..limit)
        .and_then(|part| part.find(' '))
        .map_or(start, |at| start + at + 1)
}

pub(super) fn word_end(text: &str, end: usize, limit: usize) -> usize {
    text.get(limit..end)
        .and_then(|part| part.rfind(' '))
        .map_or(end, |at| limit + at)
}
