//! What people see, and copy, of the texts of a message: Slack's `mrkdwn`, and `plain_text`.
//!
//! Formatting as Slack's own clients do it: a mark begins at the edge of a word and ends at one, code shows what stands in it,
//! an angle is a link, a mention or a date, `:name:` is an emoji, a line behind `>` is a quotation.

use serde_json::Value;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Code(String),
    Link {
        url: String,
        label: String,
    },
    Person(String),
    /// A date in the reader's zone, or a group of people.
    Other(String),
}

impl Piece {
    fn seen(&self) -> &str {
        match self {
            Self::Text(text) | Self::Code(text) | Self::Other(text) => text,
            Self::Link { label, .. } => label,
            Self::Person(id) => id,
        }
    }
}

/// What a person reads, and copies, of these blocks: a line for each line, a blank one between blocks; buttons by their labels.
pub fn read(blocks: &[Value]) -> String {
    let text = |object: &Value| {
        let text = object
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match object.get("type").and_then(Value::as_str) {
            Some("mrkdwn") => seen(text),
            _ if object.get("emoji").and_then(Value::as_bool) == Some(false) => unescaped(text),
            _ => emoji(&unescaped(text)),
        }
    };
    let of_block = |block: &Value| {
        if let Some(elements) = block.get("elements").and_then(Value::as_array) {
            let label = |element: &Value| match element.get("text").or(element.get("placeholder")) {
                Some(object) if object.is_object() => format!("[{}]", text(object)),
                _ => text(element),
            };
            return elements.iter().map(label).collect::<Vec<_>>().join(" ");
        }
        block.get("text").map(text).unwrap_or_default()
    };
    blocks.iter().map(of_block).collect::<Vec<_>>().join("\n\n")
}

fn seen(text: &str) -> String {
    pieces(text).iter().map(Piece::seen).collect()
}

/// The pieces of a `mrkdwn` text, formatting marks taken out.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            found.push(Piece::Text("\n".to_owned()));
        }
        let line = line.strip_prefix("&gt;").map_or(line, str::trim_start);
        line_of(line, &mut found);
    }
    found
}

fn line_of(line: &str, found: &mut Vec<Piece>) {
    let mut rest = line;
    let mut before = String::new();
    while let Some(at) = rest.find(['<', '`']) {
        let (text, from) = rest.split_at(at);
        before.push_str(text);
        let is_word = before.chars().last().is_some_and(char::is_alphanumeric);
        let inside = |open: char, close: char| {
            let inner = from.strip_prefix(open)?;
            let end = inner.find(close)?;
            Some((inner.get(..end)?, inner.get(end + close.len_utf8()..)?))
        };
        let code = inside('`', '`')
            .filter(|(inner, _)| !is_word && !inner.is_empty() && inner.trim() == *inner);
        if let Some((inner, after)) = code {
            found.push(formatted(&std::mem::take(&mut before)));
            found.push(Piece::Code(unescaped(inner)));
            rest = after;
        } else if let Some((inner, after)) = inside('<', '>') {
            found.push(formatted(&std::mem::take(&mut before)));
            found.push(angle(inner));
            rest = after;
        } else {
            let mut chars = from.chars();
            before.extend(chars.next());
            rest = chars.as_str();
        }
    }
    before.push_str(rest);
    found.push(formatted(&before));
}

fn angle(inner: &str) -> Piece {
    let (target, label) = inner.split_once('|').unwrap_or((inner, inner));
    if let Some(id) = target.strip_prefix('@') {
        return Piece::Person(id.to_owned());
    }
    if target.starts_with('!') || target.starts_with('#') {
        return Piece::Other(unescaped(label));
    }
    Piece::Link {
        url: unescaped(target),
        label: unescaped(label),
    }
}

fn formatted(text: &str) -> Piece {
    let mut text = text.to_owned();
    for mark in ['*', '_', '~'] {
        text = without_pairs(&text, mark);
    }
    Piece::Text(emoji(&unescaped(&text)))
}

/// Takes out what stands between two marks at the edges of words.
fn without_pairs(text: &str, mark: char) -> String {
    let chars: Vec<char> = text.chars().collect();
    let is_word = |at: Option<usize>| {
        at.and_then(|at| chars.get(at))
            .is_some_and(|c| c.is_alphanumeric())
    };
    let is_space = |at: usize| chars.get(at).is_none_or(|c| c.is_whitespace());
    let opens = |at: usize| !is_word(at.checked_sub(1)) && !is_space(at + 1);
    let closes = |at: usize| !is_word(Some(at + 1)) && !at.checked_sub(1).is_none_or(is_space);
    let mut marks: Vec<usize> = Vec::new();
    let mut open = None;
    for (at, _) in chars.iter().enumerate().filter(|(_, c)| **c == mark) {
        match open {
            Some(begin) if closes(at) && at > begin + 1 => {
                marks.extend([begin, at]);
                open = None;
            }
            None if opens(at) => open = Some(at),
            _ => {}
        }
    }
    let kept = chars
        .iter()
        .enumerate()
        .filter(|(at, _)| !marks.contains(at));
    kept.map(|(_, c)| c).collect()
}

/// `:name:` is a picture: whatever it is, the text is gone.
fn emoji(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(':') {
        out.push_str(before);
        let name = after.split_once(':').filter(|(name, _)| {
            let is_of_name =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-+'".contains(c);
            name.chars().all(is_of_name) && name.chars().any(|c| c.is_ascii_lowercase())
        });
        rest = if let Some((_, tail)) = name {
            out.push('🖼');
            tail
        } else {
            out.push(':');
            after
        };
    }
    out.push_str(rest);
    out
}

pub(super) fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_vanish_at_the_edges_of_words_only() {
        for (text, shown) in [
            ("a *b* _c_ ~d~", "a b c d"),
            ("pl_ingest_sales a*b*c", "pl_ingest_sales a*b*c"),
            ("2 * 3 * 4", "2 * 3 * 4"),
            ("`*b* __x`, x`y`", "*b* __x, x`y`"),
            ("&gt; quoted &amp;", "quoted &"),
            (
                "<https://x.example/?a&amp;b|here> <!date^1^{date}|then> <@U1>",
                "here then U1",
            ),
            (":fire: at 03:00:00", "🖼 at 03:00:00"),
        ] {
            assert_eq!(seen(text), shown, "{text}");
        }
    }
}
