//! Finds hints in one pass and decides at each of them which bytes are secret.

use std::ops::Range;

use aho_corasick::Input;
use base64::Engine as _;
use regex::Regex;

use super::MASK;
use super::hints::{
    AUTOMATON, BARE, HINTS, Hint, LOGIN, ORACLE, PEM, QUOTE, SCHEME_VALUE, SEPARATOR, SHAPES,
};
use super::names::{self, Strength};

/// No secret on one line is longer; a bound keeps the time linear.
const LONGEST: usize = 8 * 1024;

/// The text with its secrets masked, or `None` when there was nothing to mask.
pub(super) fn mask(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = AUTOMATON.find(Input::new(text).range(at..)) {
        at = found.end();
        let Some(&(_, hint)) = HINTS.get(found.pattern().as_usize()) else {
            continue;
        };
        let spot = Spot {
            text,
            done,
            hint: found.range(),
        };
        let Some(secret) = spot.secret(hint) else {
            continue;
        };
        if secret.start < done || secret.end <= secret.start {
            continue;
        }
        at = at.max(secret.end);
        if text.get(secret.clone()) == Some(MASK) {
            continue;
        }
        out.push_str(text.get(done..secret.start).unwrap_or_default());
        out.push_str(MASK);
        done = secret.end;
    }
    if done == 0 {
        return None;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Some(out)
}

/// A hint in its text; nothing before `done` may be touched.
struct Spot<'a> {
    text: &'a str,
    done: usize,
    hint: Range<usize>,
}

impl<'a> Spot<'a> {
    fn secret(&self, hint: Hint) -> Option<Range<usize>> {
        match hint {
            Hint::Name => self.named(),
            Hint::Scheme => self.scheme(),
            Hint::Shape => self.shaped(),
            Hint::Authority => self.authority(),
            Hint::Address => self.address(),
            Hint::Inside => self.inside(),
            Hint::Padding => self.padded(),
            Hint::Path => self.path(),
            Hint::Oracle => self.captured(&ORACLE),
            Hint::Login => self.captured(&LOGIN),
            Hint::Quoted => self
                .value(self.hint.end, self.hint.end, false)
                .filter(|value| self.is_secret(value)),
        }
    }

    /// The `value` of a pattern that begins where the hint ends.
    fn captured(&self, pattern: &Regex) -> Option<Range<usize>> {
        let value = pattern.captures(self.from(self.hint.end))?.name("value")?;
        let range = self.hint.end + value.start()..self.hint.end + value.end();
        (!value.as_str().bytes().all(|b| b.is_ascii_digit()) && self.is_secret(&range))
            .then_some(range)
    }

    fn from(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or_default()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The byte before `at`, if it may still be looked at.
    fn before(&self, at: usize) -> Option<u8> {
        if at > self.done {
            self.byte(at - 1)
        } else {
            None
        }
    }

    /// How far the bytes before `at` are of this kind, at most `most` of them.
    fn back(&self, at: usize, most: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let mut start = at;
        while at - start < most && self.before(start).is_some_and(&wanted) {
            start -= 1;
        }
        start
    }

    /// How far the bytes from `at` are of this kind.
    fn ahead(&self, at: usize, most: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let mut end = at;
        while end - at < most && self.byte(end).is_some_and(&wanted) {
            end += 1;
        }
        end
    }

    /// `name = value` in any of its spellings.
    fn named(&self) -> Option<Range<usize>> {
        let start = self.name_start();
        let end = self.ahead(self.hint.end, 96, is_name);
        let identifier = self.text.get(start..end)?;
        let strength = names::strength(identifier, self.word_before(start))?;
        let before = self.text.get(..start)?;
        let in_query = ["?", "&", "%26", "%3F", "%3f", "u0026"]
            .iter()
            .any(|mark| before.ends_with(mark));
        if strength == Strength::Query && !in_query {
            return None;
        }
        let rest = self.from(end);
        if self.before(start) == Some(b'<') && rest.starts_with('>') {
            let close = self.line(end).find('<')?;
            return (close > 1)
                .then_some(end + 1..end + close)
                .filter(|value| self.is_secret(value));
        }
        let (value_at, quoted_key, sign) = match SEPARATOR.captures(rest) {
            Some(found) => {
                let sign = found.name("sign").map_or(":", |sign| sign.as_str());
                (
                    end + found.get(0)?.end(),
                    found.name("key_quote").is_some(),
                    sign,
                )
            }
            // `--password hunter2`
            // and Spark's `fs.azure.account.key.acct.dfs.core.windows.net KEY`
            None if (identifier.starts_with('-') || identifier.contains(".azure."))
                && rest.starts_with(' ') =>
            {
                (end + 1, false, " ")
            }
            None => return None,
        };
        if names::starts_with_reference(self.from(value_at)) {
            return None;
        }
        let loose = matches!(sign, ":" | " ") && !quoted_key;
        let value = match strength {
            Strength::Line => value_at..self.end_of_line(value_at),
            Strength::Header => self.header_value(value_at)?,
            _ => self.value(value_at, start, in_query)?,
        };
        let text = self.text.get(value.clone())?;
        let judged = match strength {
            Strength::Weak if loose && identifier.eq_ignore_ascii_case("pass") => {
                text.bytes().any(|b| b.is_ascii_digit()) && text.len() >= 6
            }
            Strength::Weak => text.len() >= if loose { 16 } else { 6 },
            Strength::Query => !text.bytes().all(|b| b.is_ascii_digit()) && text.len() >= 8,
            // `PWD=/opt/airflow` in a dump of an environment is a directory.
            Strength::Strong if identifier.to_ascii_uppercase().ends_with("PWD") && sign == "=" => {
                self.before(start) == Some(b';')
                    || !(text.starts_with('/') || text.get(1..3) == Some(":\\"))
            }
            _ => true,
        };
        (judged && self.is_secret(&value)).then_some(value)
    }

    /// Where the name around the hint begins; `%26`, `\u0026` and `\n` before it are no part of it.
    fn name_start(&self) -> usize {
        let start = self.back(self.hint.start, 64, is_name);
        let room = self.hint.start - start;
        match (self.before(start), self.byte(start)) {
            (Some(b'%'), _) if room >= 2 => start + 2,
            (Some(b'\\'), Some(b'u')) if room >= 5 => start + 5,
            (Some(b'\\'), Some(b'n' | b'r' | b't')) if room >= 1 => start + 1,
            _ => start,
        }
    }

    fn is_secret(&self, value: &Range<usize>) -> bool {
        self.text
            .get(value.clone())
            .is_some_and(|value| !names::is_empty(value))
    }

    fn word_before(&self, start: usize) -> &'a str {
        let gap = self.back(start, 1, |b| b == b' ');
        if gap == start {
            return "";
        }
        let word = self.back(gap, 16, |b| b.is_ascii_alphabetic());
        self.text.get(word..gap).unwrap_or_default()
    }

    /// The rest of the line, at most as long as any secret.
    fn line(&self, at: usize) -> &'a str {
        let rest = self.from(at);
        let rest = rest
            .get(..rest.floor_char_boundary(LONGEST))
            .unwrap_or_default();
        rest.split('\n').next().unwrap_or_default()
    }

    fn end_of_line(&self, at: usize) -> usize {
        at + self.line(at).len()
    }

    /// The value at `at`: quoted, in braces (ODBC), up to `;` inside a connection string, or bare.
    fn value(&self, at: usize, name_at: usize, in_query: bool) -> Option<Range<usize>> {
        let rest = self.from(at);
        if let Some(quote) = QUOTE.captures(rest).and_then(|found| found.name("quote")) {
            let inner = at + quote.end();
            return Some(inner..self.closing_quote(inner, quote.as_str()));
        }
        let line = self.line(at);
        if line.starts_with('{') && !line.starts_with("{{") {
            let close = line.find('}')?;
            // `{` also opens a JSON object: its members are judged one by one.
            return (!line.get(..close)?.contains(['"', ':'])).then_some(at + 1..at + close);
        }
        if line.starts_with('[') {
            return None;
        }
        let in_connection_string = self
            .text
            .get(..name_at)?
            .trim_end_matches(' ')
            .ends_with(';');
        if in_connection_string
            && let Some(end) = line.find([';', '"', '\'']).filter(|&end| end <= 256)
        {
            return Some(at..at + end);
        }
        let mut value = BARE.find(rest)?.as_str();
        if in_query {
            value = value.split('&').next()?.split("%26").next()?;
        }
        // A value on the next line must not be the next line's own `name=value`.
        let crossed = self.text.get(name_at..at)?.contains('\n');
        if crossed && value.trim_end_matches('=').contains(['=', ':']) {
            return None;
        }
        let value = value.trim_end_matches([',', '.', ')', ']', '}', ':', '!', '|']);
        Some(at..at + value.len())
    }

    /// The same quote with no more backslashes than the opening one; else the end of the line.
    fn closing_quote(&self, inner: usize, quote: &str) -> usize {
        let line_end = self.end_of_line(inner);
        let Some(mark) = quote.trim_start_matches('\\').chars().next() else {
            return line_end;
        };
        let escapes = quote.bytes().take_while(|&b| b == b'\\').count();
        if quote.len() > escapes + 1 {
            return self
                .text
                .get(inner..line_end)
                .and_then(|rest| rest.find(quote))
                .map_or(line_end, |at| inner + at);
        }
        let mut at = inner;
        while let Some(found) = self.text.get(at..line_end).and_then(|rest| rest.find(mark)) {
            let quote_at = at + found;
            let mut start = quote_at;
            while start > inner && self.byte(start - 1) == Some(b'\\') {
                start -= 1;
            }
            if quote_at - start <= escapes {
                return start;
            }
            at = quote_at + 1;
        }
        line_end
    }

    /// After `Authorization:` the scheme stays, if there is one.
    fn header_value(&self, at: usize) -> Option<Range<usize>> {
        let whole = self.value(at, at, false)?;
        let rest = self.from(whole.start);
        let scheme = self.text.get(whole.clone())?;
        let is_scheme = [
            "bearer",
            "basic",
            "digest",
            "sharedkey",
            "sharedkeylite",
            "token",
            "negotiate",
            "sharedaccesssignature",
        ];
        let word = scheme.split(' ').next().unwrap_or_default();
        if !is_scheme
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
        {
            return Some(whole);
        }
        let start = whole.start + word.len() + 1;
        if whole.end > start {
            return Some(start..whole.end);
        }
        let value = BARE.find(rest.get(word.len() + 1..)?)?;
        Some(start..start + value.as_str().trim_end_matches([',', '.', ')']).len())
    }

    /// `Bearer x`, `Basic x`, but not `Bearer authentication`.
    fn scheme(&self) -> Option<Range<usize>> {
        if self.before(self.hint.start).is_some_and(is_name) {
            return None;
        }
        let found = SCHEME_VALUE
            .captures(self.from(self.hint.end))?
            .name("value")?;
        let value = found.as_str().trim_end_matches(['.', ':', ',']);
        let secret = if self
            .text
            .get(self.hint.clone())?
            .eq_ignore_ascii_case("bearer")
        {
            value.len() >= 24 || (value.len() >= 6 && value.bytes().any(|b| b.is_ascii_digit()))
        } else {
            let whole = value.trim_end_matches('=');
            let whole = whole
                .get(..whole.len() - usize::from(whole.len() % 4 == 1))
                .unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD_NO_PAD.decode(whole);
            value.len() >= 8 && decoded.is_ok_and(|bytes| bytes.contains(&b':'))
        };
        let start = self.hint.end + found.start();
        secret.then_some(start..start + value.len())
    }

    fn shaped(&self) -> Option<Range<usize>> {
        let rest = self.from(self.hint.start);
        if let Some(block) = PEM.find(rest) {
            return Some(self.hint.start..self.hint.start + block.end());
        }
        if self
            .before(self.hint.start)
            .is_some_and(|b| b.is_ascii_alphanumeric())
        {
            return None;
        }
        let found = SHAPES.find(rest)?;
        Some(self.hint.start..self.hint.start + found.as_str().trim_end_matches('.').len())
    }

    /// The password of `scheme://user:password@host`.
    fn authority(&self) -> Option<Range<usize>> {
        let start = self.hint.end;
        let rest = self.from(start);
        let end = rest.find(|c: char| {
            matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '`') || c.is_whitespace()
        });
        let authority = rest.get(..end.unwrap_or(rest.len()))?;
        let (user_info, _) = authority.rsplit_once('@')?;
        let (user, password) = user_info.split_once(':')?;
        let start = start + user.len() + 1;
        (!password.is_empty()).then_some(start..start + password.len())
    }

    /// An e-mail address, but not `abfss://container@account.dfs.core.windows.net`.
    fn address(&self) -> Option<Range<usize>> {
        let head = self.text.get(self.done..self.hint.start)?;
        let local = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '+' | '-' | '\'');
        let mut local_length = 0;
        for c in head.chars().rev().take_while(|&c| local(c)).take(128) {
            local_length += c.len_utf8();
        }
        let start = self.hint.start - local_length;
        let user = self.text.get(start..self.hint.start)?;
        let start = start + (user.len() - user.trim_start_matches(['.', '\'', '-']).len());
        let rest = self.from(self.hint.end);
        let domain_length = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-')))
            .unwrap_or(rest.len())
            .min(255);
        let domain = rest
            .get(..rest.floor_char_boundary(domain_length))?
            .trim_end_matches(['.', '-']);
        let (name, top) = domain.rsplit_once('.')?;
        let after_scheme = self.text.get(..start)?.ends_with("://");
        let is_address = start < self.hint.start
            && !name.is_empty()
            && !name.starts_with('.')
            && top.chars().count() >= 2
            && top.chars().all(char::is_alphabetic)
            && !after_scheme
            && user != "git"
            && !domain.to_ascii_lowercase().ends_with(".core.windows.net");
        is_address.then_some(start..self.hint.end + domain.len())
    }

    /// Entra client secrets (`…8Q~…`) and function keys (`…AzFu…==`).
    fn inside(&self) -> Option<Range<usize>> {
        let wanted = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'~' | b'.');
        let start = self.back(self.hint.start, 64, wanted);
        let end = self.ahead(self.hint.end, 64, |b| wanted(b) || b == b'=');
        let case = self.text.get(self.hint.clone())?;
        let secret = match case {
            "Q~" => {
                self.before(self.hint.start)
                    .is_some_and(|b| b.is_ascii_digit())
                    && (34..=48).contains(&(end - start))
            }
            "AzFu" => (44..=64).contains(&(end - start)),
            _ => false,
        };
        secret.then_some(start..end)
    }

    /// 32 or 64 bytes in base64: a Fernet key, an account key.
    fn padded(&self) -> Option<Range<usize>> {
        let start = self.back(self.hint.start, 87, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_')
        });
        let end = self.ahead(self.hint.start, 3, |b| b == b'=');
        let after = self.byte(end).is_some_and(|b| b.is_ascii_alphanumeric());
        let secret = !after
            && matches!(
                (self.hint.start - start, end - self.hint.start),
                (43, 1) | (86, 2)
            );
        secret.then_some(start..end)
    }

    fn path(&self) -> Option<Range<usize>> {
        let found = BARE.find(self.from(self.hint.end))?;
        let path = found
            .as_str()
            .trim_end_matches([',', '.', ')', ']', '}', '|']);
        Some(self.hint.end..self.hint.end + path.len())
    }
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$')
}
