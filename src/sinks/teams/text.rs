//! Outside text as it may stand in a card: whole where it fits, cut visibly where not. Pure.
//!
//! It stands in `TextRun`s only, which parse no markup: nothing is escaped, so `dag__load*x*` and `<at>` arrive as they
//! are. Mentions need entities of their own in the card, and no card has any. Secrets were taken out where the text came
//! in; marks that hide or reorder text go here.

use crate::redaction;

const ELLIPSIS: char = '…';
/// Lines of one text.
const LINES: usize = 12;

/// Outside text on one line, at most `limit` characters long.
pub(super) fn plain(text: &str, limit: usize) -> String {
    shorten(&redaction::one_line(text), limit)
}

/// As [`plain`], lines kept: one item for each that is not empty, and no more than a few.
pub(super) fn lines(text: &str, limit: usize) -> Vec<String> {
    let mut left = limit;
    let mut kept = Vec::new();
    for line in redaction::clean(text).lines().map(redaction::one_line) {
        if line.is_empty() {
            continue;
        }
        if left == 0 || kept.len() >= LINES {
            kept.push(ELLIPSIS.to_string());
            break;
        }
        let line = shorten(&line, left);
        left = left.saturating_sub(line.chars().count());
        kept.push(line);
    }
    kept
}

/// The text, or as much of its beginning as fits with an ellipsis.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(limit.saturating_sub(1)).collect();
    cut.push(ELLIPSIS);
    cut
}

/// How long a JSON document becomes when everything in it that can be escaped is: what a workflow does with a card before
/// it measures it is not documented, and this is the worst of it.
pub(super) fn expanded(json: &str) -> usize {
    let length = |c: char| match c {
        '<' | '>' | '&' | '\'' | '+' => 6,
        c if c.is_ascii() => 1,
        c => 6 * c.len_utf16(),
    };
    json.chars().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_visibly_and_never_within_a_character() {
        assert_eq!(
            plain("dag__load*x* <at>𝒳</at>", 40),
            "dag__load*x* <at>𝒳</at>"
        );
        assert_eq!(plain("𝒳𝒳𝒳𝒳", 3), "𝒳𝒳…");
        assert_eq!(plain("a\n b\u{202e}c", 9), "a bc");
        assert_eq!(lines("one\n\n two \nthree", 99), ["one", "two", "three"]);
        assert_eq!(lines("one\n\n two \nthree", 5), ["one", "t…", "…"]);
    }

    #[test]
    fn the_worst_expansion_counts_escapes() {
        assert_eq!(expanded("\"é<\""), 14);
        assert_eq!(expanded("𝒳"), 12);
    }
}
