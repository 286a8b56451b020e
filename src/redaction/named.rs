//! Secrets that a name announces: `password=…`, `"apiKey": "…"`, `the password is …`.

use std::ops::Range;

use super::hints::{ARGUMENT, BARE, CALL, ELEMENT, QUOTE, SAID, SEPARATOR};
use super::names::{self, Strength};
use super::secrets::is_name;
use super::spot::Spot;
use super::values;

/// A name in its text, and how it goes on.
struct Named<'a> {
    range: Range<usize>,
    identifier: &'a str,
    strength: Strength,
    in_query: bool,
}

/// Where a value begins behind its name.
struct Assigned<'a> {
    at: usize,
    sign: &'a str,
    quoted_key: bool,
}

impl<'a> Spot<'a> {
    /// A name of ASCII letters around the hint, and its value in any of their spellings.
    pub(super) fn named(&self) -> Option<Range<usize>> {
        let start = self.name_start();
        let end = self.ahead(self.hint.end, 96, is_name);
        let identifier = self.text.get(start..end)?;
        let identifier = identifier.trim_end_matches('.');
        let end = start + identifier.len();
        let strength = names::strength(identifier, self.word_before(start))?;
        let before = self.text.get(..start)?;
        let in_query = ["?", "&", "%26", "%3F", "%3f", "u0026"]
            .iter()
            .any(|mark| before.ends_with(mark));
        if strength == Strength::Query && !in_query {
            return None;
        }
        self.behind(&Named {
            range: start..end,
            identifier,
            strength,
            in_query,
        })
    }

    /// A name of several words or of other letters.
    pub(super) fn phrase(&self) -> Option<Range<usize>> {
        let (start, end) = (self.hint.start, self.hint.end);
        let touches = |c: Option<char>| c.is_some_and(|c| c.is_alphabetic() && c.is_ascii());
        let phrase = self.text.get(start..end)?;
        let latin = phrase.starts_with(|c: char| c.is_ascii());
        if latin
            && (touches(self.text.get(self.done..start)?.chars().next_back())
                || touches(self.from(end).chars().next()))
        {
            return None;
        }
        self.behind(&Named {
            range: start..end,
            identifier: phrase,
            strength: Strength::Strong,
            in_query: false,
        })
    }

    fn behind(&self, name: &Named<'a>) -> Option<Range<usize>> {
        if matches!(self.before(name.range.start), Some(b'<' | b':'))
            && let Some(tag) = ELEMENT.find(self.from(name.range.end))
        {
            return self.element(name.range.end + tag.end());
        }
        match self.assigned(name) {
            Some(value) => self.assigned_value(name, &value),
            None => self.said(name),
        }
    }

    /// `<password>…</password>`.
    fn element(&self, at: usize) -> Option<Range<usize>> {
        let text = self.line(at).split(['<', ']']).next()?;
        let value = at..at + text.len();
        (at + text.len() < self.end_of_line(at) && self.is_secret(&value)).then_some(value)
    }

    /// The sign behind the name, if there is one.
    fn assigned(&self, name: &Named<'a>) -> Option<Assigned<'a>> {
        let end = name.range.end;
        let rest = self.from(end);
        if let Some(found) = SEPARATOR.captures(rest) {
            return Some(Assigned {
                at: end + found.get(0)?.end(),
                sign: found.name("sign").map_or(":", |sign| sign.as_str()),
                quoted_key: found.name("key_quote").is_some(),
            });
        }
        let argument = ARGUMENT.find(rest).filter(|found| {
            let before = self
                .text
                .get(..name.range.start)
                .unwrap_or_default()
                .trim_end_matches(['"', '\'', '\\']);
            before.ends_with('(') && QUOTE.is_match(self.from(end + found.end()))
        });
        if let Some(found) = argument {
            return Some(Assigned {
                at: end + found.end(),
                sign: "=",
                quoted_key: true,
            });
        }
        let call = CALL.find(rest).filter(|found| {
            names::is_password(name.identifier) && QUOTE.is_match(self.from(end + found.end()))
        });
        if let Some(found) = call {
            return Some(Assigned {
                at: end + found.end(),
                sign: "=",
                quoted_key: true,
            });
        }
        // `--password hunter2`, and Spark's `fs.azure.account.key.acct.dfs.core.windows.net KEY`
        let flag = name.identifier.starts_with('-') || name.identifier.contains(".azure.");
        (flag && rest.starts_with(' ') && !rest.starts_with(" -")).then_some(Assigned {
            at: end + 1,
            sign: " ",
            quoted_key: false,
        })
    }

    fn assigned_value(&self, name: &Named<'a>, assigned: &Assigned<'a>) -> Option<Range<usize>> {
        let Assigned {
            at,
            sign,
            quoted_key,
        } = *assigned;
        let in_connection_string = self.before(name.range.start) == Some(b';');
        if !in_connection_string && values::starts_with_reference(self.from(at)) {
            return None;
        }
        let loose = matches!(sign, ":" | " " | "->" | "→") && !quoted_key;
        let value = match name.strength {
            Strength::Line => at..self.end_of_line(at),
            // A header ends with its line.
            Strength::Header if self.text.get(name.range.end..at)?.contains('\n') => return None,
            Strength::Header => self.header_value(at)?,
            _ => self.value(at, name.range.start, name.in_query)?,
        };
        let text = self.text.get(value.clone())?;
        let quoted = at < value.start;
        if loose && !quoted && self.is_prose(&value, text) {
            return None;
        }
        let judged = match name.strength {
            Strength::Weak => judge_weak(
                name,
                text,
                loose && !name.identifier.starts_with('-'),
                quoted_key,
            ),
            Strength::Key => {
                text.len() >= 16 && (values::is_random(text) || values::is_mixed(text))
            }
            Strength::Digits => {
                text.len() <= 16
                    && text.bytes().any(|b| b.is_ascii_digit())
                    && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
            }
            Strength::Query => {
                text.len() >= 8
                    && (values::is_random(text)
                        || (text.ends_with(['=', '%']) || text.len() >= 20)
                            && text.bytes().any(|b| b.is_ascii_digit()))
            }
            // A signal of the operating system.
            Strength::Strong if name.identifier.eq_ignore_ascii_case("sig") => {
                !text.bytes().all(|b| b.is_ascii_uppercase())
            }
            // The name of an object of Key Vault or Kubernetes, or of a column.
            Strength::Strong if loose && !quoted && names::is_bare_secret(name.identifier) => {
                values::is_random(text)
                    || values::is_chosen(text) && !text.contains(['-', '_', '.'])
            }
            // `PWD=/opt/airflow` in a dump of an environment is a directory.
            Strength::Strong
                if name.identifier.to_ascii_uppercase().ends_with("PWD") && sign == "=" =>
            {
                in_connection_string || !(text.starts_with('/') || text.get(1..3) == Some(":\\"))
            }
            _ => !(text.starts_with("ssh-") || text.starts_with("ecdsa-")),
        };
        (judged && self.is_secret(&value)).then_some(value)
    }

    /// Does a sentence go on here rather than a value: `Password: must contain …`, `password = required`?
    fn is_prose(&self, value: &Range<usize>, text: &str) -> bool {
        let rest = self.from(value.end);
        let goes_on = rest.is_empty()
            || rest.starts_with(|c: char| {
                c.is_whitespace()
                    || matches!(c, ',' | '.' | ';' | ')' | '"' | '\'' | ':' | '!' | '|')
            });
        goes_on && values::is_plain_word(text)
    }

    /// A value behind words or a blank: `the password for etl is …`, `api key 3f2a…`.
    fn said(&self, name: &Named<'a>) -> Option<Range<usize>> {
        if !matches!(name.strength, Strength::Strong | Strength::Weak) {
            return None;
        }
        let rest = self.from(name.range.end);
        let found = SAID.captures(rest.get(..rest.floor_char_boundary(400))?)?;
        let value = found.name("value")?;
        let quoted = found.name("quote").is_some();
        let text = if quoted {
            value.as_str()
        } else {
            value
                .as_str()
                .trim_end_matches([',', '.', ';', ':', ')', ']', '}'])
        };
        if values::is_empty(text)
            || values::is_plain_word(text)
            || values::starts_with_reference(text)
        {
            return None;
        }
        let password = names::is_password(name.identifier);
        let stated = found.name("is").is_some();
        let secret = if password && stated {
            quoted || values::is_chosen(text) || values::is_random(text)
        } else if password {
            // `WITH PASSWORD 'x'` is SQL.
            quoted && name.identifier == "PASSWORD"
                || values::is_random(text) && text.len() >= 8
                || values::is_chosen(text) && mixes(text)
        } else {
            text.len() >= if stated { 8 } else { 16 } && values::is_random(text)
        };
        let start = name.range.end + value.start();
        secret.then_some(start..start + text.len())
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

    fn word_before(&self, start: usize) -> &'a str {
        let gap = self.back(start, 1, |b| b == b' ');
        if gap == start {
            return "";
        }
        let word = self.back(gap, 16, |b| b.is_ascii_alphabetic());
        self.text.get(word..gap).unwrap_or_default()
    }

    /// The value at `at`: quoted, in braces (ODBC), up to `;` inside a connection string, or bare.
    pub(super) fn value(&self, at: usize, name_at: usize, in_query: bool) -> Option<Range<usize>> {
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
        if let Some(list) = line.strip_prefix('[') {
            // `password=[hunter2]`, but no list.
            let inner = list.split(']').next()?;
            return (inner.len() < list.len()
                && !inner.is_empty()
                && !inner.contains(['"', '\'', ',', ' ', '{']))
            .then_some(at + 1..at + 1 + inner.len());
        }
        let in_connection_string = self
            .text
            .get(..name_at)?
            .trim_end_matches(' ')
            .ends_with(';');
        let crossed = self.text.get(name_at..at)?.contains('\n');
        if in_connection_string
            && !crossed
            && let Some(end) = line.find([';', '"', '\'']).filter(|&end| end <= 256)
        {
            return Some(at..at + end);
        }
        let mut value = BARE.find(rest)?.as_str();
        if in_query {
            value = value.split('&').next()?.split("%26").next()?;
        }
        // A value on the next line must not be the next line's own `name=value`.
        let named = value.ends_with(['=', ':'])
            && rest
                .get(value.len()..)
                .is_some_and(|after| after.starts_with(['"', '\'', ' ']));
        if crossed && (named || value.trim_end_matches('=').contains(['=', ':'])) {
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
            "ntlm",
            "hmac",
            "oauth",
            "aws4-hmac-sha256",
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
        if !["bearer", "basic", "token", "sharedkey", "sharedkeylite"]
            .iter()
            .any(|one| word.eq_ignore_ascii_case(one))
            && whole.start == at
        {
            return Some(start..self.end_of_line(start).max(start));
        }
        if whole.end > start {
            return Some(start..whole.end);
        }
        let value = BARE.find(rest.get(word.len() + 1..)?)?;
        Some(start..start + value.as_str().trim_end_matches([',', '.', ')']).len())
    }
}

/// `token`, `signature`, `credential` and `pass` are ordinary words too: the value has to look like a secret.
fn judge_weak(name: &Named<'_>, text: &str, loose: bool, quoted_key: bool) -> bool {
    if text.contains(['(', ')']) || values::is_plain_word(text) {
        return false;
    }
    if name.identifier.eq_ignore_ascii_case("pass") && loose {
        return text.bytes().any(|b| b.is_ascii_digit()) && text.len() >= 6;
    }
    if loose {
        return text.len() >= 16 && values::is_random(text);
    }
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let token = name.identifier.to_ascii_lowercase().ends_with("token");
    text.len() >= 6
        && (values::is_random(text)
            || values::is_chosen(text)
            || name.in_query && text.bytes().any(|b| !b.is_ascii_digit())
            || quoted_key && token && plain && text.len() >= 8)
}

/// At least three of: small letters, capitals, digits, signs.
fn mixes(text: &str) -> bool {
    let kinds: [fn(&u8) -> bool; 4] = [
        u8::is_ascii_lowercase,
        u8::is_ascii_uppercase,
        u8::is_ascii_digit,
        u8::is_ascii_punctuation,
    ];
    kinds
        .iter()
        .filter(|kind| text.as_bytes().iter().any(kind))
        .count()
        >= 3
}
