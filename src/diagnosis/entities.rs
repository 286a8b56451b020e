//! Entities: the named things in an error text (host, table, column, path, cluster, numbers …).
//!
//! In: a text and the place of an anchor (`SqlErrorNumber=`, `column`, `.dfs.core.windows.net`). Out: the
//! span of the value beside it. Which anchors there are is data (`catalog/entities.toml`). The readers look
//! at a small window only, allocate nothing and cannot fail; what they cannot read they leave alone.

use super::entry::Take;
use super::span::Span;

/// How far from its anchor a value may reach, in bytes.
const WINDOW: usize = 300;
/// The longest unquoted value.
const WORD: usize = 200;

/// Reads the value at an anchor. `bare`: an ordinary word there is a name too, not only the sentence going on.
pub(super) fn take(text: &str, anchor: Span, how: Take, bare: bool) -> Option<Span> {
    match how {
        Take::Host => return host(text, anchor),
        Take::Url => return word(text, anchor.start),
        Take::Around => return around(text, anchor),
        Take::Below => return below(text, anchor.end),
        Take::Quoted
        | Take::Name
        | Take::Word
        | Take::Title
        | Take::Number
        | Take::Duration
        | Take::Class
        | Take::Status
        | Take::State
        | Take::Id => {}
    }
    if joined(text, anchor.end) {
        return None;
    }
    let start = skip(text, anchor.end);
    let bare = bare || introduced(text, anchor.end, start);
    let is_name = |span: &Span| !is_stop(text, *span) && (bare || is_identifier(text, *span));
    match how {
        Take::Quoted => quoted(text, start),
        Take::Name => quoted(text, start).or_else(|| bare_name(text, start).filter(is_name)),
        Take::Word => quoted(text, start).or_else(|| word(text, start).filter(is_name)),
        Take::Title => title(text, start),
        Take::Number => number(text, start),
        Take::Duration => duration(text, start),
        Take::Class => class(text, start),
        Take::Status => status(text, start),
        Take::State => state(text, start),
        Take::Id => id(text, start),
        Take::Host | Take::Url | Take::Around | Take::Below => None,
    }
}

/// Is the anchor only a piece of a longer name (`my-pod-1`)?
fn joined(text: &str, end: usize) -> bool {
    let bytes = text.as_bytes();
    let word = end
        .checked_sub(1)
        .and_then(|at| bytes.get(at))
        .is_some_and(u8::is_ascii_alphanumeric);
    word && matches!(bytes.get(end), Some(b'-' | b'.' | b'_'))
        && bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric)
}

/// Skips what stands between an anchor and its value: white space, `:`, `=`, `(`, `[`, `#`, `is`.
fn skip(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < from + 12
        && matches!(
            bytes.get(at),
            Some(b' ' | b'\t' | b':' | b'=' | b'(' | b'[' | b'#' | b'\n' | b'\r')
        )
    {
        at += 1;
    }
    at
}

/// Does punctuation say that a value follows (`table: orders`, `(Throttling`)? After a mere word the sentence may
/// go on: "the column length", "the cluster could".
fn introduced(text: &str, anchor: usize, start: usize) -> bool {
    let before = anchor.saturating_sub(1);
    let between = text.as_bytes().get(before..start).unwrap_or_default();
    between
        .iter()
        .any(|b| matches!(b, b':' | b'=' | b'(' | b'[' | b'.' | b'/' | b'#' | b';'))
}

/// Is it written as no English word is: with a digit, a mark inside, a capital inside, or in capitals?
fn is_identifier(text: &str, span: Span) -> bool {
    let Some(value) = text.get(span.start..span.end) else {
        return false;
    };
    let inner = value.trim_matches(|c: char| !c.is_alphanumeric());
    let marked = inner.contains(|c: char| {
        c.is_ascii_digit() || matches!(c, '_' | '.' | '/' | '$' | '@' | ':' | '\\' | '%')
    });
    let capital_inside = inner.chars().skip(1).any(char::is_uppercase);
    marked || capital_inside
}

fn closing(open: u8) -> Option<u8> {
    match open {
        b'\'' => Some(b'\''),
        b'"' => Some(b'"'),
        b'`' => Some(b'`'),
        b'[' => Some(b']'),
        b'<' => Some(b'>'),
        _ => None,
    }
}

fn quoted(text: &str, start: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    if let Some(said) = text.get(start..)?.strip_prefix(['‘', '“']) {
        let begin = text.len() - said.len();
        let window = said.get(..said.floor_char_boundary(WINDOW.min(said.len())))?;
        let end = begin + window.find(['’', '”'])?;
        let value = text.get(begin..end)?;
        let sane = !value.trim().is_empty() && !value.contains(['\n', '{', '}']);
        return sane.then_some(Span { start: begin, end });
    }
    // An escaped quote (`\'`, `\"`) opens as well.
    let open_at = if bytes.get(start) == Some(&b'\\') {
        start + 1
    } else {
        start
    };
    let open = *bytes.get(open_at)?;
    let close = closing(open)?;
    let begin = open_at + 1;
    let window = bytes.get(begin..(begin + WINDOW).min(bytes.len()))?;
    let mut length = window.iter().position(|b| *b == close)?;
    if length > 0 && window.get(length - 1) == Some(&b'\\') {
        length -= 1;
    }
    let mut end = begin + length;
    // `catalog`.`schema`.`table` is one name.
    while open == b'`' && bytes.get(end + 1) == Some(&b'.') && bytes.get(end + 2) == Some(&b'`') {
        let rest = bytes.get(end + 3..(end + 3 + WORD).min(bytes.len()))?;
        let Some(more) = rest.iter().position(|b| *b == b'`') else {
            break;
        };
        end = end + 3 + more;
    }
    let value = text.get(begin..end)?;
    // Braces are the placeholder of a program, not a value.
    let sane = !value.trim().is_empty() && !value.contains(['\n', '{', '}']);
    sane.then_some(Span { start: begin, end })
}

/// Units of time, as messages write them.
const UNITS: [&str; 15] = [
    "ms",
    "msec",
    "millisecond",
    "milliseconds",
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "min",
    "mins",
    "minute",
    "minutes",
    "hour",
    "hours",
];

/// Words that never are names.
const STOP: [&str; 143] = [
    "a",
    "an",
    "and",
    "are",
    "as",
    "at",
    "be",
    "because",
    "by",
    "can",
    "cannot",
    "could",
    "did",
    "do",
    "does",
    "doesn",
    "error",
    "exists",
    "failed",
    "failure",
    "for",
    "found",
    "from",
    "had",
    "has",
    "have",
    "if",
    "in",
    "invalid",
    "into",
    "is",
    "isn",
    "it",
    "may",
    "missing",
    "must",
    "name",
    "length",
    "mapping",
    "mappings",
    "count",
    "delimiter",
    "definition",
    "metadata",
    "level",
    "list",
    "width",
    "order",
    "no",
    "not",
    "null",
    "of",
    "on",
    "or",
    "that",
    "the",
    "this",
    "to",
    "type",
    "value",
    "values",
    "was",
    "when",
    "which",
    "while",
    "will",
    "with",
    "you",
    "your",
    "permission",
    "permissions",
    "privilege",
    "privileges",
    "access",
    "right",
    "rights",
    "set",
    "one",
    "any",
    "took",
    "takes",
    "longer",
    "launching",
    "returned",
    "launch",
    "event",
    "events",
    "installation",
    "installed",
    "names",
    "named",
    "operation",
    "user",
    "users",
    "exceeded",
    "exceeds",
    "limit",
    "port",
    "server",
    "host",
    "sql",
    "mysql",
    "database",
    "please",
    "using",
    "use",
    "more",
    "there",
    "been",
    "were",
    "its",
    "his",
    "their",
    "these",
    "those",
    "all",
    "only",
    "also",
    "still",
    "already",
    "after",
    "before",
    "during",
    "under",
    "over",
    "then",
    "than",
    "so",
    "but",
    "too",
    "who",
    "whose",
    "where",
    "what",
    "how",
    "why",
    "yes",
    "true",
    "false",
    "none",
    "etc",
    "via",
    "per",
];

fn bare_name(text: &str, start: usize) -> Option<Span> {
    let name = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'_' | b'.' | b'-' | b'$' | b'@' | b'/' | b'*')
            || b >= 0x80
    };
    let span = run(text, start, name)?;
    let value = text.get(span.start..span.end)?;
    let letters = value
        .bytes()
        .any(|b| b.is_ascii_alphanumeric() || b >= 0x80);
    letters.then_some(span)
}

fn is_stop(text: &str, span: Span) -> bool {
    text.get(span.start..span.end)
        .is_some_and(|value| STOP.iter().any(|stop| value.eq_ignore_ascii_case(stop)))
}

/// A name with spaces.
fn title(text: &str, start: usize) -> Option<Span> {
    let end = text.floor_char_boundary((start + WORD).min(text.len()));
    let window = text.get(start..end)?;
    let length = [" failed", ",", "\n", "\\n"]
        .iter()
        .filter_map(|mark| window.find(mark))
        .min()?;
    (length > 0).then_some(Span {
        start,
        end: start + length,
    })
}

fn word(text: &str, start: usize) -> Option<Span> {
    run(text, start, |b| {
        !matches!(
            b,
            b' ' | b'\t'
                | b'\r'
                | b'\n'
                | b'\''
                | b'"'
                | b'`'
                | b'<'
                | b'>'
                | b','
                | b';'
                | b')'
                | b']'
                | b'}'
                | b'\\'
                | b'|'
        )
    })
}

/// A run of accepted bytes without sentence punctuation at its end.
fn run(text: &str, start: usize, accept: impl Fn(u8) -> bool) -> Option<Span> {
    let bytes = text.as_bytes();
    let window = bytes.get(start..(start + WORD).min(bytes.len()))?;
    let mut length = window
        .iter()
        .position(|b| !accept(*b))
        .unwrap_or(window.len());
    while length > 0
        && matches!(
            window.get(length - 1),
            Some(b'.' | b':' | b'-' | b'?' | b'/')
        )
    {
        length -= 1;
    }
    let end = start + length;
    (length > 0 && text.is_char_boundary(end) && text.is_char_boundary(start))
        .then_some(Span { start, end })
}

fn number(text: &str, start: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let begin = if matches!(bytes.get(start), Some(b'\'' | b'"')) {
        start + 1
    } else {
        start
    };
    let digits_at = if bytes.get(begin) == Some(&b'-') {
        begin + 1
    } else {
        begin
    };
    let digits = bytes
        .get(digits_at..)?
        .iter()
        .take(12)
        .take_while(|b| b.is_ascii_digit())
        .count();
    let end = digits_at + digits;
    let open = bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    (digits > 0 && !open).then_some(Span { start: begin, end })
}

/// A number of seconds, minutes … with its unit, or `0.12:00:00`.
fn duration(text: &str, start: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes.get(from..).map_or(0, |rest| {
            rest.iter()
                .take(12)
                .take_while(|b| b.is_ascii_digit())
                .count()
        })
    };
    let mut end = start + digits(start);
    if end == start {
        return None;
    }
    while matches!(bytes.get(end), Some(b'.' | b':' | b',')) && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    let unit_at = if bytes.get(end) == Some(&b' ') {
        end + 1
    } else {
        end
    };
    let unit = bytes
        .get(unit_at..)?
        .iter()
        .take(13)
        .take_while(|b| b.is_ascii_alphabetic())
        .count();
    let known = UNITS.iter().any(|known| {
        text.get(unit_at..unit_at + unit)
            .is_some_and(|word| word.eq_ignore_ascii_case(known))
    });
    match (known, unit_at == end && unit > 0) {
        (true, _) => Some(Span {
            start,
            end: unit_at + unit,
        }),
        (false, true) => None,
        (false, false) => Some(Span { start, end }),
    }
}

/// A run's or job's id: a number, a UUID, a word with digits.
fn id(text: &str, start: usize) -> Option<Span> {
    let quote = text.as_bytes().get(start);
    let begin = if matches!(quote, Some(b'\'' | b'"' | b'`')) {
        start + 1
    } else {
        start
    };
    let span = run(text, begin, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'+')
    })?;
    let value = text.get(span.start..span.end)?;
    (value.bytes().any(|b| b.is_ascii_digit()) && !value.contains("://")).then_some(span)
}

/// The line below the anchor's: what a tool says about the thing that it named.
fn below(text: &str, from: usize) -> Option<Span> {
    let next = from + text.get(from..)?.find('\n')? + 1;
    let line = text.get(next..)?.lines().next()?;
    let head = line
        .find("} ")
        .filter(|_| line.trim_start().starts_with('['))
        .and_then(|at| Some(at + line.get(at..)?.find(" - ")? + 3))
        .unwrap_or(0);
    let said = line.get(head..)?;
    let said =
        said.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ':' | ' ' | '.'));
    let start = next + line.len() - said.len();
    let length = text.floor_char_boundary(start + said.trim_end().len().min(WINDOW));
    (length > start).then_some(Span { start, end: length })
}

/// An error class: capitals, digits, `_` and `.`, with at least one `_`, and closed by `]` or white space.
fn class(text: &str, start: usize) -> Option<Span> {
    let span = run(text, start, |b| {
        b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.')
    })?;
    let value = text.get(span.start..span.end)?;
    let closed = matches!(
        text.as_bytes().get(span.end),
        None | Some(b']' | b' ' | b':' | b'\n' | b'"')
    );
    (closed
        && value.len() >= 6
        && value.contains('_')
        && value.starts_with(|c: char| c.is_ascii_uppercase()))
    .then_some(span)
}

fn status(text: &str, start: usize) -> Option<Span> {
    let span = number(text, start)?;
    let value = text.get(span.start..span.end)?;
    (value.len() == 3 && matches!(value.as_bytes().first(), Some(b'4' | b'5'))).then_some(span)
}

fn state(text: &str, start: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let begin = if matches!(bytes.get(start), Some(b'\'' | b'"')) {
        start + 1
    } else {
        start
    };
    let length = bytes
        .get(begin..)?
        .iter()
        .take(6)
        .take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        .count();
    let open = bytes
        .get(begin + 5)
        .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    (length == 5 && !open).then_some(Span {
        start: begin,
        end: begin + 5,
    })
}

fn host(text: &str, anchor: Span) -> Option<Span> {
    let bytes = text.as_bytes();
    let mut start = anchor.start;
    let floor = start.saturating_sub(120);
    while start > floor
        && bytes
            .get(start - 1)
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*'))
    {
        start -= 1;
    }
    (start < anchor.start).then_some(Span {
        start,
        end: anchor.end,
    })
}

fn around(text: &str, anchor: Span) -> Option<Span> {
    let bytes = text.as_bytes();
    let name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b'-' | b'/');
    let (mut start, mut end) = (anchor.start, anchor.end);
    while start > anchor.start.saturating_sub(160)
        && start > 0
        && bytes.get(start - 1).is_some_and(name)
    {
        start -= 1;
    }
    while end < anchor.end + 60 && bytes.get(end).is_some_and(name) {
        end += 1;
    }
    while end > anchor.end && matches!(bytes.get(end - 1), Some(b'.' | b'-' | b'/')) {
        end -= 1;
    }
    // "Exception" alone names nothing.
    let more = end - start > anchor.end - anchor.start;
    (more && text.is_char_boundary(start) && text.is_char_boundary(end))
        .then_some(Span { start, end })
}
