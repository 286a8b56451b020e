//! Outside text made safe and short enough for Slack. Pure.
//!
//! In: text that anybody may have written. Out: text that shows and copies as it was written, formats nothing, links
//! nothing, mentions nobody and fits its limit. Names are real code spans. Where a word of prose would be formatted it is a
//! code span too; what `mrkdwn` cannot say (a back-tick) makes its paragraph `plain_text`, which formats nothing. No
//! character is ever replaced by one that looks like it. Lengths are counted *after* escaping, in UTF-16 units: never
//! less than what Slack counts, whichever way it counts. The room does not know blocks. Secrets were taken out where the text came in.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::diagnosis::pieces;
use crate::redaction::clean;

const ELLIPSIS: char = '…';

/// Length in UTF-16 units.
pub(super) fn len(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A paragraph in both of Slack's text forms.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    mrkdwn: String,
    plain: String,
    /// `mrkdwn` cannot show all of it as it was written.
    only_plain: bool,
}

impl Words {
    /// Words of ours, without marks.
    pub(super) fn new(own: &str) -> Self {
        Self::default().own(own)
    }

    /// Further words of ours.
    pub(super) fn own(mut self, own: &str) -> Self {
        self.mrkdwn.push_str(own);
        self.plain.push_str(own);
        self
    }

    /// Another paragraph's words.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.mrkdwn.push_str(&other.mrkdwn);
        self.plain.push_str(&other.plain);
        self.only_plain |= other.only_plain;
        self
    }

    /// A name, an id, a path: to be copied.
    pub(super) fn name(mut self, name: &str, limit: usize) -> Self {
        let name = clean(name).replace(['\n', '\t'], " ");
        let fits = fit(&name, limit.saturating_sub(2));
        self.plain.push_str(&fits);
        if is_code(&name) {
            self.mrkdwn.extend(["`", fits.as_str(), "`"]);
        } else {
            self.only_plain |= has_marks(&name);
            self.mrkdwn.push_str(&fits);
        }
        self
    }

    /// A person's name.
    pub(super) fn person(self, name: &str, limit: usize) -> Self {
        let line = one_line(name);
        self.and(&put(&marked(&line, &paired_marks(&line)), limit))
    }

    /// A time that everybody reads in their own zone.
    pub(super) fn time(mut self, at: DateTime<Utc>) -> Self {
        let fallback = at.format("%Y-%m-%d %H:%M:%S UTC").to_string();
        self.plain.push_str(&fallback);
        let seconds = at.timestamp();
        let date = format!("<!date^{seconds}^{{date_short_pretty}} {{time_secs}}|{fallback}>");
        self.mrkdwn.push_str(&date);
        self
    }

    /// A link of ours.
    pub(super) fn link(mut self, url: &str, label: &str) -> Self {
        let url = url.replace('&', "&amp;").replace('|', "%7C");
        let url = url.replace(['<', '>'], "");
        self.mrkdwn.extend(["<", url.as_str(), "|", label, ">"]);
        self.plain.push_str(label);
        self
    }

    /// Slack's id of somebody who is to be told.
    pub(super) fn mention(mut self, id: &str) -> Self {
        self.mrkdwn.extend(["<@", id, ">"]);
        self.plain.push_str(id);
        self
    }

    /// Nothing at all?
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// The longer of the two forms.
    pub(super) fn len(&self) -> usize {
        len(&self.mrkdwn).max(len(&self.plain))
    }

    /// The text, and whether it is `mrkdwn`.
    pub(super) fn form(&self) -> (&str, bool) {
        if self.only_plain {
            (&self.plain, false)
        } else {
            (&self.mrkdwn, true)
        }
    }

    /// Cut to a limit.
    pub(super) fn shortened(&self, limit: usize) -> Self {
        Self {
            mrkdwn: shorten(&self.mrkdwn, limit),
            plain: shorten(&self.plain, limit),
            only_plain: self.only_plain,
        }
    }
}

/// Outside text on one line, at most `limit` long; what stands between back-ticks is code.
pub(super) fn prose(text: &str, limit: usize) -> Words {
    let line = one_line(text);
    let mut parts: Vec<(bool, &str)> = Vec::new();
    let pairs = paired_marks(&line);
    for (index, piece) in pieces(&line).into_iter().enumerate() {
        match index % 2 {
            0 => parts.extend(marked(piece, &pairs)),
            _ => parts.push((is_code(piece), piece)),
        }
    }
    put(&parts, limit)
}

/// As [`prose`], lines kept; a time in it is everybody's own.
pub(super) fn prose_lines(text: &str, limit: usize) -> Words {
    let mut words = Words::default();
    for line in clean(text).lines().filter(|line| !line.trim().is_empty()) {
        if !words.is_empty() {
            words = words.own("\n");
        }
        let mut rest = line;
        while let Some((before, at, after)) = time_in(rest) {
            words = words.and(&spaced(before)).time(at);
            rest = after;
        }
        words = words.and(&spaced(rest));
    }
    words.shortened(limit)
}

/// As [`prose`], with the spaces around it.
fn spaced(text: &str) -> Words {
    let words = prose(text, usize::MAX);
    let space = |is: bool| if is { " " } else { "" };
    if words.is_empty() {
        return words;
    }
    Words::new(space(text.starts_with(' ')))
        .and(&words)
        .own(space(text.ends_with(' ')))
}

/// The first `2025-12-12 10:30:00 UTC` of a line, with what stands before and behind it.
fn time_in(line: &str) -> Option<(&str, DateTime<Utc>, &str)> {
    const FORM: &str = "%Y-%m-%d %H:%M:%S";
    line.match_indices(" UTC").find_map(|(end, zone)| {
        let begin = end.checked_sub(19)?;
        let time = NaiveDateTime::parse_from_str(line.get(begin..end)?, FORM).ok()?;
        Some((
            line.get(..begin)?,
            time.and_utc(),
            line.get(end + zone.len()..)?,
        ))
    })
}

/// Outside text on one line of `plain_text`, at most `limit` long.
pub(super) fn plain(text: &str, limit: usize) -> String {
    fit(&one_line(text), limit)
}

/// Pieces of text and of code, cut where they are too long.
fn put(parts: &[(bool, &str)], limit: usize) -> Words {
    let cost = |(code, piece): &(bool, &str)| len(&fit(piece, usize::MAX)) + 2 * usize::from(*code);
    let whole = parts.iter().map(cost).sum::<usize>() <= limit;
    let mut left = if whole {
        limit
    } else {
        limit.saturating_sub(1)
    };
    let mut words = Words::default();
    for (code, piece) in parts {
        let (shown, cut) = escape_up_to(piece, left.saturating_sub(2 * usize::from(*code)));
        left = left.saturating_sub(len(&shown) + 2 * usize::from(*code));
        words.plain.push_str(&shown);
        if *code && !shown.is_empty() {
            words.mrkdwn.extend(["`", shown.as_str(), "`"]);
        } else {
            words.only_plain |= shown.contains('`');
            words.mrkdwn.push_str(&shown);
        }
        if cut {
            break;
        }
    }
    if whole { words } else { words.own("…") }
}

/// The words of a piece of a line; those that Slack would format are code.
fn marked<'a>(piece: &'a str, pairs: &[char]) -> Vec<(bool, &'a str)> {
    let mut parts = Vec::new();
    let (mut from, mut at) = (0, 0);
    for token in piece.split_inclusive(' ') {
        let word = token.trim_end();
        let core = word
            .trim_start_matches(['(', '[', '{', '"', '\'', '“', '‘', '«'])
            .trim_end_matches([
                '.', ',', ';', '!', '?', ')', ']', '}', '"', '\'', '”', '’', '»',
            ]);
        let core = match core.strip_suffix(':') {
            Some(before) if !names_emoji(core) => before,
            _ => core,
        };
        let quotes = at == 0 && word.starts_with('>');
        let core = if quotes { word } else { core };
        if (quotes || formats(core, pairs)) && is_code(core) {
            let begin = at + word.find(core).unwrap_or_default();
            parts.push((false, piece.get(from..begin).unwrap_or_default()));
            parts.push((true, core));
            from = begin + core.len();
        }
        at += token.len();
    }
    parts.push((false, piece.get(from..).unwrap_or_default()));
    parts.retain(|(_, text)| !text.is_empty());
    parts
}

/// The marks that Slack could take for formatting in this line: it does so between two equal ones at the edges of words.
fn paired_marks(line: &str) -> Vec<char> {
    let marks = ['*', '_', '~'].into_iter();
    marks.filter(|mark| at_edges(line, *mark) > 1).collect()
}

/// Could Slack format this word, or a part of it? An emoji stands between two colons.
fn formats(word: &str, pairs: &[char]) -> bool {
    pairs.iter().any(|mark| at_edges(word, *mark) > 0) || names_emoji(word)
}

/// How often this mark stands anywhere but between two letters or digits.
fn at_edges(text: &str, mark: char) -> usize {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut before = None;
    let mut chars = text.chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if c == mark && !(is_word(before) && is_word(chars.peek().copied())) {
            count += 1;
        }
        before = Some(c);
    }
    count
}

/// `:fire:`.
fn names_emoji(word: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '\'');
    let mut pieces = word.split(':').skip(1).peekable();
    while let Some(piece) = pieces.next() {
        let closed = pieces.peek().is_some();
        let letters = piece.chars().any(|c| c.is_ascii_alphabetic());
        if closed && letters && piece.chars().all(is_of_name) {
            return true;
        }
    }
    false
}

/// Can this stand between back-ticks?
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.trim().len() == text.len() && !text.contains(['`', '\n'])
}

fn has_marks(text: &str) -> bool {
    text.contains(['*', '_', '~', '`', ':']) || text.starts_with('>')
}

/// Cuts text that is escaped already: never inside an entity, a link, a mention or a code span.
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
    if out.matches('`').count() % 2 == 1 {
        out.truncate(out.rfind('`').unwrap_or(out.len()));
    }
    out.push(ELLIPSIS);
    out
}

/// One line without control characters, reordering marks and runs of white space.
fn one_line(text: &str) -> String {
    let words = clean(text);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
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

    fn mrkdwn(text: &str) -> String {
        let words = prose(text, 100);
        let (text, formats) = words.form();
        assert!(formats, "{text}");
        text.to_owned()
    }

    #[test]
    fn pings_and_links_are_dead() {
        assert_eq!(
            mrkdwn("<!channel> & <https://evil.example|click>"),
            "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;"
        );
    }

    #[test]
    fn words_that_format_nothing_stay_and_others_are_code() {
        for name in [
            "pl_ingest_sales",
            "abfss://raw/_delta_log/0.json",
            "2 * 3",
            "a*b*c",
            "~/.cfg",
            "at 03:00:00",
        ] {
            assert_eq!(mrkdwn(name), name);
        }
        assert_eq!(
            mrkdwn("the run scheduled__2026, (of `dag`) *bold* 'x__y' :fire:"),
            "the run `scheduled__2026`, (of `dag`) `*bold*` '`x__y`' `:fire:`"
        );
        assert_eq!(mrkdwn("> quoted"), "`&gt;` quoted");
    }

    #[test]
    fn what_mrkdwn_cannot_say_is_plain_text() {
        let words = prose("a ` b *c* *d*", 100);
        assert_eq!(words.form(), ("a ` b *c* *d*", false));
        let named = |name| Words::new("Run: ").name(name, 100);
        assert_eq!(named("dag__one").form(), ("Run: `dag__one`", true));
        assert_eq!(named("a`b").form(), ("Run: a`b", false));
        assert_eq!(named(" a_b ").form(), ("Run:  a_b ", false));
        assert_eq!(named("<&>").form(), ("Run: `&lt;&amp;&gt;`", true));
    }

    #[test]
    fn one_line_has_no_control_and_no_reordering() {
        assert_eq!(mrkdwn("a\r\nb\tc\u{202e}d"), "a b cd");
        let lines = prose_lines("first\n\n> second\n", 100);
        assert_eq!(lines.form(), ("first\n`&gt;` second", true));
    }

    #[test]
    fn names_and_prose_keep_their_limit() {
        for limit in 3..40 {
            for text in [
                "a `code` and *b* *c* &<> ü🔥",
                "x__y z__w",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ] {
                assert!(prose(text, limit).len() <= limit, "{limit} {text}");
                assert!(
                    Words::default().name(text, limit).len() <= limit,
                    "{limit} {text}"
                );
            }
        }
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
