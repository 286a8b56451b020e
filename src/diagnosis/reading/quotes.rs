//! What stands in quotes: a name, unless the word before it says that somebody speaks (`message: "…"`), or a code or a
//! state stands there.

use super::Span;

/// The longest quoted name, in bytes.
const LONGEST: usize = 160;
/// The longest quoted name that nothing announces, in words.
const WORDS: usize = 6;

/// Words for things that have names.
pub(super) const NOUNS: [&str; 63] = [
    "account",
    "activity",
    "alias",
    "app",
    "application",
    "argument",
    "asset",
    "blob",
    "bucket",
    "catalog",
    "cluster",
    "column",
    "columns",
    "connection",
    "container",
    "dag",
    "database",
    "dataset",
    "directory",
    "environment",
    "factory",
    "field",
    "file",
    "filename",
    "folder",
    "function",
    "host",
    "image",
    "index",
    "job",
    "key",
    "library",
    "model",
    "module",
    "name",
    "named",
    "namespace",
    "node",
    "notebook",
    "object",
    "package",
    "parameter",
    "partition",
    "path",
    "pipeline",
    "pod",
    "pool",
    "project",
    "property",
    "queue",
    "record",
    "relation",
    "repository",
    "role",
    "rule",
    "schema",
    "secret",
    "service",
    "table",
    "target",
    "task",
    "topic",
    "view",
];
/// Those that people name as they like: whatever is quoted behind them is a name.
const ASSETS: [&str; 19] = [
    "activity",
    "blob",
    "bucket",
    "cluster",
    "column",
    "container",
    "dag",
    "database",
    "dataset",
    "file",
    "folder",
    "job",
    "notebook",
    "pipeline",
    "rule",
    "schema",
    "table",
    "task",
    "workspace",
];
/// Further ones, and words that announce a name.
const MORE_NOUNS: [&str; 22] = [
    "user",
    "username",
    "variable",
    "vault",
    "volume",
    "workspace",
    "workflow",
    "script",
    "sheet",
    "step",
    "stage",
    "stream",
    "store",
    "trigger",
    "url",
    "uri",
    "called",
    "keyerror",
    "runtime",
    "definition",
    "datafactory",
    "resource",
];
pub(super) fn is_noun(word: &str) -> bool {
    let one = word.strip_suffix('s').unwrap_or(word);
    [word, one]
        .iter()
        .any(|word| NOUNS.contains(word) || MORE_NOUNS.contains(word))
}

/// What stands in quotes and is a name.
pub(super) fn quoted(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let Some(quote @ (b'\'' | b'"' | b'`')) = bytes.get(at).copied() else {
            at += 1;
            continue;
        };
        // Nothing is in it, or it closes something else.
        if bytes
            .get(at + 1)
            .is_none_or(|next| *next == quote || next.is_ascii_whitespace())
        {
            at += 1;
            continue;
        }
        match inside(text, at, quote) {
            Some(span) if quote == b'`' || is_name(text, at, span) => {
                spans.push(span);
                at = span.end + 1;
            }
            _ => at += 1,
        }
    }
}

/// The span between a quote and its partner on the same line.
fn inside(text: &str, open: usize, quote: u8) -> Option<Span> {
    let bytes = text.as_bytes();
    let word = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(|b| b.is_ascii_alphanumeric())
    };
    // An apostrophe is no quote.
    if quote == b'\'' && word(open.checked_sub(1)) {
        return None;
    }
    let start = open + 1;
    let window = bytes.get(start..(start + LONGEST).min(bytes.len()))?;
    let mut length = 0;
    loop {
        let rest = window.get(length..)?;
        let next = rest.iter().position(|b| *b == quote || *b == b'\n')?;
        length += next;
        if window.get(length) == Some(&b'\n') {
            return None;
        }
        // `it's` inside of quotes.
        if quote == b'\''
            && word(Some(start + length + 1))
            && length > 0
            && word(Some(start + length - 1))
        {
            length += 1;
            continue;
        }
        break;
    }
    let end = start + length;
    let span = Span { start, end };
    let said = text.get(start..end)?;
    // A quote beside a space closes something else.
    let whole = said.trim() == said && said.bytes().any(|b| b.is_ascii_alphabetic() || b >= 0x80);
    whole.then_some(span)
}

/// Is what is quoted a name, by what stands before and behind it and by its own form?
fn is_name(text: &str, open: usize, span: Span) -> bool {
    let said = text.get(span.start..span.end).unwrap_or_default();
    let lower = said.to_ascii_lowercase();
    let before = text.get(..open).unwrap_or_default();
    let behind = text.get(span.end + 1..).unwrap_or_default();
    if ["Type=", "Message=", "ErrorCode=", "Source=", "\\n"]
        .iter()
        .any(|part| said.contains(part))
    {
        return false;
    }
    let announced = announced(before);
    if matches!(announced, Announced::Asset) {
        return true;
    }
    let speaks = said.contains(": ")
        || [" not ", " none of "]
            .iter()
            .any(|part| lower.contains(part));
    // A number is a code.
    if speaks || !said.bytes().any(|b| b.is_ascii_alphabetic() || b >= 0x80) {
        return false;
    }
    match announced {
        Announced::Asset | Announced::Name => return true,
        Announced::Speech => return false,
        Announced::Nothing => {}
    }
    if behind.starts_with(':') && text.as_bytes().get(open) == Some(&b'"') {
        // A member's name in JSON.
        return false;
    }
    let next = behind
        .trim_start_matches([' ', ')'])
        .split(|c: char| !c.is_alphanumeric())
        .next();
    if behind.starts_with(' ') && next.is_some_and(|next| is_noun(&next.to_ascii_lowercase())) {
        return true;
    }
    let sentence = [". ", ": ", "; ", "! "]
        .iter()
        .any(|mark| said.contains(mark))
        || said.ends_with(['.', '!'])
        || said.contains("Exception")
        || said.contains("Error");
    !sentence && said.split_whitespace().count() <= WORDS
}

enum Announced {
    /// One of the things that people name as they like.
    Asset,
    Name,
    Speech,
    Nothing,
}

/// What the word before a quote announces.
fn announced(before: &str) -> Announced {
    let from = before.ceil_char_boundary(before.len().saturating_sub(80));
    let near = before.get(from..).unwrap_or_default();
    let near = near.rsplit('\n').next().unwrap_or_default();
    let trimmed = near.trim_end_matches([' ', ':', '=', '(', '[', '"', '\'', '\\', '{']);
    let called = near.len() > trimmed.len()
        && near
            .get(trimmed.len()..)
            .is_some_and(|gap| gap.contains('('));
    let word = trimmed
        .rsplit(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
        .unwrap_or_default();
    let lower = word.to_ascii_lowercase();
    let last = lower.rsplit('_').next().unwrap_or_default();
    let names = |nouns: &[&str]| {
        nouns
            .iter()
            .any(|noun| last == *noun || noun.len() > 4 && last.ends_with(noun))
    };
    let field = last.strip_suffix("name").unwrap_or(last);
    if names(&ASSETS) || !field.is_empty() && ASSETS.contains(&field) {
        return Announced::Asset;
    }
    let raised = ["error", "exception", "timeout", "failure", "closed"];
    if lower == "keyerror" || lower == "nameerror" {
        return Announced::Name;
    }
    let speaks = lower.starts_with("signal")
        || lower.starts_with("exc_")
        || SPEECH.contains(&last)
        || raised.iter().any(|end| last.ends_with(end))
        || last.ends_with("message")
        || last.ends_with("messages")
        || last.ends_with("code") && !called
        || last.ends_with("reason");
    if speaks {
        return Announced::Speech;
    }
    if is_noun(last) || names(&NOUNS) {
        return Announced::Name;
    }
    Announced::Nothing
}

/// Words after which somebody speaks, or a state or code stands.
const SPEECH: [&str; 49] = [
    "action",
    "and",
    "answer",
    "answered",
    "because",
    "body",
    "cause",
    "causes",
    "class",
    "code",
    "content",
    "description",
    "detail",
    "details",
    "errors",
    "event",
    "exception",
    "failed",
    "failing",
    "following",
    "got",
    "is",
    "log",
    "msg",
    "output",
    "phrase",
    "raised",
    "reason",
    "reasons",
    "received",
    "reply",
    "response",
    "result",
    "return",
    "returned",
    "said",
    "says",
    "stack",
    "state",
    "status",
    "stderr",
    "stdout",
    "text",
    "trace",
    "traceback",
    "type",
    "value",
    "warning",
    "with",
];
