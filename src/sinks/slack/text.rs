//! Outside text made safe and short enough for Slack. Pure.
//!
//! In: text that anybody may have written. Out: text that shows as it was written, formats nothing, links
//! nothing, mentions nobody and fits its limit. Lengths are counted *after* escaping, in UTF-16 units: never
//! less than what Slack counts, whichever way it counts. The room does not know blocks. Secrets were taken out where the text came in.

use crate::redaction::clean;

const ELLIPSIS: char = '…';

/// Length in UTF-16 units.
pub(super) fn len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Outside text on one line of `mrkdwn`, at most `limit` long.
pub(super) fn mrkdwn(text: &str, limit: usize) -> String {
    fit(&neutral(&one_line(text)), limit)
}

/// As [`mrkdwn`], lines kept.
pub(super) fn mrkdwn_lines(text: &str, limit: usize) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| neutral(&one_line(line)))
        .filter(|line| !line.is_empty())
        .collect();
    fit(&lines.join("\n"), limit)
}

/// Outside text on one line of `plain_text`, at most `limit` long.
pub(super) fn plain(text: &str, limit: usize) -> String {
    fit(&one_line(text), limit)
}

/// Cuts text that is escaped already: never inside an entity, a link or a mention.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    if len(text) <= limit {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = ELLIPSIS.len_utf16();
    for c in text.chars() {
        used += c.len_utf16();
        if used > limit {
            break;
        }
        out.push(c);
    }
    for (open, close) in [('&', ';'), ('<', '>')] {
        let begun = out
            .rfind(open)
            .filter(|at| !out.split_at(*at).1.contains(close));
        if let Some(at) = begun {
            out.truncate(at);
        }
    }
    out.push(ELLIPSIS);
    out
}

/// One line without control characters, reordering marks and runs of white space.
fn one_line(text: &str) -> String {
    let words = clean(text);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Takes the meaning from formatting marks and keeps their look.
///
/// Slack formats between two equal marks at word edges: a mark inside a word (`pl_ingest_sales`) or a
/// single one stays as it is, so names can still be copied. A back-tick never stays; nor does `>` at
/// the start of a line, which would quote.
fn neutral(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let word = |index: Option<usize>| {
        index
            .and_then(|index| chars.get(index))
            .is_some_and(|c| c.is_alphanumeric())
    };
    let at_edge = |index: usize| !(word(index.checked_sub(1)) && word(Some(index + 1)));
    let pairs = |mark: char| {
        chars
            .iter()
            .enumerate()
            .filter(|(index, c)| **c == mark && at_edge(*index))
            .count()
            > 1
    };
    let paired = [pairs('*'), pairs('_'), pairs('~')];
    let mut out = String::with_capacity(line.len());
    for (index, c) in chars.iter().copied().enumerate() {
        let edge = at_edge(index);
        out.push(match (c, paired) {
            ('*', [true, _, _]) if edge => '∗',
            ('_', [_, true, _]) if edge => 'ˍ',
            ('~', [_, _, true]) if edge => '∼',
            ('`', _) => 'ˋ',
            ('>', _) if index == 0 => '›',
            _ => c,
        });
    }
    out
}

/// Escapes `&`, `<`, `>` and cuts on a character boundary, never inside an entity.
fn fit(text: &str, limit: usize) -> String {
    let (whole, over) = escape_up_to(text, limit);
    if !over {
        return whole;
    }
    if limit == 0 {
        return String::new();
    }
    let (mut cut, _) = escape_up_to(text, limit.saturating_sub(ELLIPSIS.len_utf16()));
    cut.push(ELLIPSIS);
    cut
}

/// The longest escaped prefix within `limit`, and whether anything was left out.
fn escape_up_to(text: &str, limit: usize) -> (String, bool) {
    let mut out = String::with_capacity(text.len().min(limit.saturating_mul(3)));
    let mut used = 0;
    for c in text.chars() {
        let entity = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        let cost = if entity.is_empty() {
            c.len_utf16()
        } else {
            entity.len()
        };
        if used + cost > limit {
            return (out, true);
        }
        used += cost;
        if entity.is_empty() {
            out.push(c);
        } else {
            out.push_str(entity);
        }
    }
    (out, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_and_links_are_dead() {
        assert_eq!(
            mrkdwn("<!channel> & <https://evil.example|click>", 100),
            "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"
        );
    }

    #[test]
    fn names_stay_copyable_and_pairs_do_not_format() {
        for name in [
            "pl_ingest_sales",
            "abfss://raw/_delta_log/0.json",
            "2 * 3",
            "a*b*c",
            "~/.cfg",
        ] {
            assert_eq!(mrkdwn(name, 100), name);
        }
        assert_eq!(
            mrkdwn("*bold* _it_ ~gone~ `code`", 100),
            "∗bold∗ ˍitˍ ∼gone∼ ˋcodeˋ"
        );
        assert_eq!(mrkdwn("> quoted", 100), "› quoted");
    }

    #[test]
    fn one_line_has_no_control_and_no_reordering() {
        assert_eq!(mrkdwn("a\r\nb\tc\u{202e}d", 100), "a b cd");
        assert_eq!(mrkdwn_lines("first\n\n> second\n", 100), "first\n› second");
    }

    #[test]
    fn what_is_shortened_ends_with_no_half_of_anything() {
        let text = "a &amp; b <https://example.com/x|c> d";
        assert_eq!(shorten(text, 100), text);
        for limit in 1..len(text) {
            let short = shorten(text, limit);
            assert!(len(&short) <= limit, "{limit}: {short}");
            assert!(short.ends_with(ELLIPSIS), "{limit}: {short}");
            assert_eq!(
                short.matches('&').count(),
                short.matches(';').count(),
                "{short}"
            );
            assert_eq!(
                short.matches('<').count(),
                short.matches('>').count(),
                "{short}"
            );
        }
    }

    #[test]
    fn at_the_limit_nothing_is_cut_and_one_past_it_is() {
        for unit in ["a", "ü", "日", "🔥", "&", "<"] {
            let cost = len(&fit(unit, 100));
            let full = unit.repeat(60 / cost);
            let shown = fit(&full, 60);
            assert_eq!(len(&shown), 60, "{unit}");
            assert!(!shown.contains(ELLIPSIS), "{unit}");
            let past = fit(&format!("{full}{unit}"), 60);
            assert!(past.ends_with(ELLIPSIS) && len(&past) <= 60, "{unit}");
            assert!(
                past.trim_end_matches(ELLIPSIS)
                    .rsplit('&')
                    .next()
                    .is_some_and(|tail| !past.contains('&') || tail.contains(';'))
            );
        }
        assert_eq!(fit("ab", 1), "…");
        assert_eq!(fit("ab", 0), "");
    }
}
