//! Finds hints in one pass and decides at each of them which bytes are secret.

use std::ops::Range;

use super::hints::{self, BARE, Hint, LOGIN, ORACLE};
use super::spot::Spot;
use super::{is_mask, values};

/// No secret on one line is longer; a bound keeps the time linear.
const LONGEST: usize = 8 * 1024;

/// The secrets of a text that hints lead to, in order and apart.
pub(super) fn hinted(text: &str) -> Vec<Range<usize>> {
    found(text, |_| true)
}

/// Only those that are secret by their own shape, whatever they are called.
pub(super) fn certain(text: &str) -> Vec<Range<usize>> {
    found(text, |hint| {
        matches!(
            hint,
            Hint::Token(_)
                | Hint::Pem
                | Hint::KeyBody
                | Hint::Inside
                | Hint::Padding
                | Hint::Authority
                | Hint::Path
        )
    })
}

fn found(text: &str, wanted: fn(Hint) -> bool) -> Vec<Range<usize>> {
    let mut secrets: Vec<Range<usize>> = Vec::new();
    let mut done = 0;
    for (range, hint) in hints::ALL.find(text) {
        if range.start < done || !wanted(hint) {
            continue;
        }
        let spot = Spot {
            text,
            done,
            hint: range,
        };
        let Some(secret) = spot.secret(hint) else {
            continue;
        };
        if secret.start < done || secret.end <= secret.start {
            continue;
        }
        done = secret.end;
        if !text.get(secret.clone()).is_some_and(is_mask) {
            secrets.push(secret);
        }
    }
    secrets
}

impl<'a> Spot<'a> {
    fn secret(&self, hint: Hint) -> Option<Range<usize>> {
        match hint {
            Hint::Name => self.named(),
            Hint::Phrase => self.phrase(),
            Hint::Scheme => self.scheme(),
            Hint::Token(row) => self.token(row),
            Hint::Pem => self.pem(),
            Hint::KeyBody => self.key_body(),
            Hint::Authority => self.authority(),
            Hint::Address => self.address(),
            Hint::Inside => self.inside(),
            Hint::Padding => self.padded(),
            Hint::Path => self.path(),
            Hint::Oracle => self.captured(&ORACLE),
            Hint::Login => self.login(),
            Hint::Quoted => self
                .value(self.hint.end, self.hint.end, false)
                .filter(|value| {
                    self.is_secret(value)
                        && !self
                            .text
                            .get(value.clone())
                            .is_some_and(values::is_plain_word)
                }),
            Hint::Command(row) => self.command(row),
        }
    }

    /// The `value` of a pattern that begins where the hint ends.
    pub(super) fn captured(&self, pattern: &regex::Regex) -> Option<Range<usize>> {
        let value = pattern.captures(self.from(self.hint.end))?.name("value")?;
        let range = self.hint.end + value.start()..self.hint.end + value.end();
        (!value.as_str().bytes().all(|b| b.is_ascii_digit()) && self.is_secret(&range))
            .then_some(range)
    }

    pub(super) fn from(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or_default()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The byte before `at`, if it may still be looked at.
    pub(super) fn before(&self, at: usize) -> Option<u8> {
        if at > self.done {
            self.byte(at - 1)
        } else {
            None
        }
    }

    /// How far the bytes before `at` are of this kind, at most `most` of them.
    pub(super) fn back(&self, at: usize, most: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let mut start = at;
        while at - start < most && self.before(start).is_some_and(&wanted) {
            start -= 1;
        }
        start
    }

    /// How far the bytes from `at` are of this kind.
    pub(super) fn ahead(&self, at: usize, most: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let mut end = at;
        while end - at < most && self.byte(end).is_some_and(&wanted) {
            end += 1;
        }
        end
    }

    pub(super) fn is_secret(&self, value: &Range<usize>) -> bool {
        self.text
            .get(value.clone())
            .is_some_and(|value| !values::is_empty(value))
    }

    /// The rest of the line, at most as long as any secret.
    pub(super) fn line(&self, at: usize) -> &'a str {
        let rest = self.from(at);
        let rest = rest
            .get(..rest.floor_char_boundary(LONGEST))
            .unwrap_or_default();
        rest.split('\n').next().unwrap_or_default()
    }

    pub(super) fn end_of_line(&self, at: usize) -> usize {
        at + self.line(at).len()
    }

    /// `curl -u user:password`, but not `docker run -u user:group`.
    fn login(&self) -> Option<Range<usize>> {
        let line = self.text.get(..self.hint.start)?.rsplit('\n').next()?;
        let near = line.get(line.ceil_char_boundary(line.len().saturating_sub(200))..)?;
        if ["docker", "podman", "kubectl", "chown"]
            .iter()
            .any(|command| near.contains(command))
        {
            return None;
        }
        // `beeline -u jdbc:hive2://…` is an address.
        self.captured(&LOGIN).filter(|value| {
            !self
                .text
                .get(value.clone())
                .is_some_and(|value| value.contains("//"))
        })
    }

    fn path(&self) -> Option<Range<usize>> {
        let found = BARE.find(self.from(self.hint.end))?;
        let path = found
            .as_str()
            .trim_end_matches([',', '.', ')', ']', '}', '|']);
        Some(self.hint.end..self.hint.end + path.len())
    }
}

/// May this byte stand in a name?
pub(super) fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$')
}
