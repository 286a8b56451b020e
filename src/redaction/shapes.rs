//! Secrets that are recognised by their own shape, wherever they stand.

use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::GeneralPurposeConfig;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD};
use regex::Regex;

use super::hints::{PEM, PEM_BODY, PEM_LINE, PEM_NEXT, SCHEME_VALUE, shape};
use super::pattern::pattern;
use super::secrets::{hinted, is_name};
use super::spot::Spot;
use super::{people, tokens, values};

/// No private key is longer.
const LONGEST_KEY: usize = 16 * 1024;

/// Shapes without a beginning to look for: Discord, Telegram, Mailchimp, Terraform, MaxMind, Salesforce, Tableau, Zoho; members of a JSON web key.
static FREE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x) \b (?P<secret>
          [MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}
          | [0-9]{8,10}:A[A-Za-z0-9_-]{34}
          | [0-9a-f]{32}-us[0-9]{1,2}
          | [A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{40,}
          | [A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk
          | 00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{40,}
          | [A-Za-z0-9+/]{22}==:[A-Za-z0-9]{32}
          | 100[01]\.[a-f0-9]{32}\.[a-f0-9]{32}
        ) \b
        | "(?:d|p|q|dp|dq|qi|k)\\*" \s? : \s? \\*"(?P<jwk>[A-Za-z0-9_-]{40,})\\*""#,
    )
});
/// The end of a line, as it is or as JSON writes it.
static LINE_END: LazyLock<Regex> = LazyLock::new(|| pattern(r#"^["', ]{0,4}(?:\r?\n|\\+n)"#));
/// What may be base64 or hexadecimal of something.
static ENCODED: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9+/_-]{24,}={0,2}"));
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// The secrets of a text that no hint leads to, in order and apart.
pub(super) fn unhinted(text: &str) -> Vec<Range<usize>> {
    let free = FREE.captures_iter(text).filter_map(|found| {
        found
            .name("secret")
            .or_else(|| found.name("jwk"))
            .map(|found| found.range())
    });
    let encoded = ENCODED
        .find_iter(text)
        .filter(|found| hides_secret(found.as_str()))
        .map(|found| found.range());
    let mut all: Vec<Range<usize>> = free.chain(encoded).chain(people::numbers(text)).collect();
    all.sort_by_key(|range| range.start);
    let mut done = 0;
    all.retain(|range| {
        let apart = range.start >= done && range.end > range.start;
        if apart {
            done = range.end;
        }
        apart
    });
    all
}

/// Is this base64 or hexadecimal of a text with secrets, a connection string for example?
fn hides_secret(run: &str) -> bool {
    let tells = |bytes: Vec<u8>| {
        String::from_utf8(bytes).is_ok_and(|text| {
            text.len() >= 12
                && !text.contains(|c: char| c.is_control() && !c.is_whitespace())
                && !hinted(&text).is_empty()
        })
    };
    let plain = run.trim_end_matches('=');
    if plain.len().is_multiple_of(2) && plain.bytes().all(|b| b.is_ascii_hexdigit()) {
        return hex::decode(plain).is_ok_and(tells);
    }
    let standard = plain.replace('-', "+").replace('_', "/");
    let whole = standard
        .get(..standard.len() - usize::from(standard.len() % 4 == 1))
        .unwrap_or_default();
    LENIENT.decode(whole).is_ok_and(tells)
}

impl Spot<'_> {
    /// A token by its row in [`tokens::TOKENS`], unless it goes on in words.
    pub(super) fn token(&self, row: usize) -> Option<Range<usize>> {
        if self
            .before(self.hint.start)
            .is_some_and(|b| b.is_ascii_alphanumeric())
        {
            return None;
        }
        let found = shape(row)?.find(self.from(self.hint.start))?;
        let token = found.as_str().trim_end_matches('.');
        let begins = tokens::TOKENS.get(row)?.0;
        let goes_on = token.get(begins.len()..)?;
        // Slack's pieces are short numbers; a JWT is recognised by its beginning; an SDK key is a UUID; an AWS id has a length.
        let sure = begins.starts_with("xox")
            || begins.starts_with("eyJ")
            || is_aws(begins, goes_on)
            || values::is_uuid(goes_on)
            || begins == "xapp-";
        let end = self.hint.start + token.len();
        let cut = self.byte(end).is_some_and(|b| b.is_ascii_alphanumeric());
        (!cut && (sure || values::is_random(goes_on) || values::is_mixed(goes_on)))
            .then_some(self.hint.start..end)
    }

    /// A private key: up to its last line, also when each line has the prefix of a log, also cut off.
    pub(super) fn pem(&self) -> Option<Range<usize>> {
        let rest = self.from(self.hint.start);
        let open = PEM.find(rest)?;
        let body = rest.get(open.end()..rest.floor_char_boundary(LONGEST_KEY))?;
        let start = self.hint.start + open.end();
        if let Some(next) = PEM_NEXT.captures(body)
            && next.name("end").is_some_and(|end| end.as_str() == "END")
        {
            return Some(self.hint.start..start + next.get(0)?.end());
        }
        let inline = PEM_BODY.find(body).map_or(0, |found| found.end());
        Some(self.hint.start..self.lines_of_key(start + inline))
    }

    /// The body of a private key whose first line is missing.
    pub(super) fn key_body(&self) -> Option<Range<usize>> {
        if self
            .before(self.hint.start)
            .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
        {
            return None;
        }
        let end = self.ahead(self.hint.start, LONGEST_KEY, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')
        });
        let run = self.text.get(self.hint.start..end)?;
        let marks = [
            "IBAAKC",
            "IBAAKB",
            "IBADAN",
            "IBAzCC",
            "AgEAMBMGByqGSM49",
            "b3BlbnNzaC1rZXktdjE",
            "MHcCAQEE",
            "MC4CAQAw",
        ];
        let is_key = run.len() >= 32
            && marks.iter().any(|mark| {
                run.get(..run.len().min(48))
                    .is_some_and(|head| head.contains(mark))
            });
        is_key.then(|| self.hint.start..self.lines_of_key(end))
    }

    /// From the end of a line of a key over the lines that go on with it.
    fn lines_of_key(&self, from: usize) -> usize {
        let mut end = from;
        let mut at = from
            + LINE_END
                .find(self.from(from))
                .map_or(0, |found| found.end());
        while let Some(line) = PEM_LINE.find(self.from(at)) {
            at += line.end();
            end = at - line.as_str().len()
                + line.as_str().trim_end_matches(['n', '\\', '\n', '"']).len();
            if at - from > LONGEST_KEY {
                break;
            }
        }
        end
    }

    /// The password of `scheme://user:password@host`; the token of `https://token@host`.
    pub(super) fn authority(&self) -> Option<Range<usize>> {
        let start = self.hint.end;
        let rest = self.from(start);
        let stop = |c: char| matches!(c, '"' | '\'' | '<' | '>' | '`') || c.is_whitespace();
        let end = rest
            .find(|c: char| matches!(c, '/' | '?' | '#') || stop(c))
            .unwrap_or(rest.len());
        let mut authority = rest.get(..end)?;
        // `user:p/w@host`: what follows the colon is no port.
        if !authority.contains('@')
            && let Some((user, port)) = authority.split_once(':')
            && !user.is_empty()
            && !user.contains(['.', '['])
            && port.bytes().any(|b| !b.is_ascii_digit())
        {
            let longer = rest.get(..rest.floor_char_boundary(256))?;
            authority = longer.get(..longer.find(stop).unwrap_or(longer.len()))?;
        }
        let (user_info, _) = authority.rsplit_once('@')?;
        match user_info.split_once(':') {
            Some((user, password)) if !password.is_empty() => {
                let start = start + user.len() + 1;
                Some(start..start + password.len())
            }
            None if user_info.len() >= 16 && values::is_random(user_info) => {
                Some(start..start + user_info.len())
            }
            _ => None,
        }
    }

    /// Entra client secrets (`…8Q~…`) and the keys in which Azure writes what they are for (`…AzFu…==`).
    pub(super) fn inside(&self) -> Option<Range<usize>> {
        let mark = self.text.get(self.hint.clone())?;
        let entra = mark == "Q~";
        let wanted = |b: u8| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'_' | b'-')
                || if entra {
                    matches!(b, b'~' | b'.')
                } else {
                    matches!(b, b'+' | b'/')
                }
        };
        let start = self.back(self.hint.start, 80, wanted);
        let end = self.ahead(self.hint.end, 80, |b| wanted(b) || b == b'=');
        let length = end - start;
        let secret = match mark {
            "Q~" => {
                self.before(self.hint.start)
                    .is_some_and(|b| b.is_ascii_digit())
                    && (34..=48).contains(&length)
            }
            "AzFu" | "AzSe" | "AzCa" | "ACDb" | "ACOG" | "AZDO" | "JQQJ" => {
                (44..=92).contains(&length) && values::is_random(self.text.get(start..end)?)
            }
            _ => false,
        };
        secret.then_some(start..end)
    }

    /// `Bearer x`, `Basic x`, but not `Bearer authentication`.
    pub(super) fn scheme(&self) -> Option<Range<usize>> {
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
            let decoded = STANDARD_NO_PAD.decode(whole);
            value.len() >= 8 && decoded.is_ok_and(|bytes| bytes.contains(&b':'))
        };
        let start = self.hint.end + found.start();
        secret.then_some(start..start + value.len())
    }

    /// 32 or 64 bytes in base64: a Fernet key, an account key.
    pub(super) fn padded(&self) -> Option<Range<usize>> {
        let start = self.back(self.hint.start, 87, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_')
        });
        let end = self.ahead(self.hint.start, 3, |b| b == b'=');
        let after = self.byte(end).is_some_and(|b| b.is_ascii_alphanumeric());
        // A checksum says that it is one.
        let before = self.text.get(..start).unwrap_or_default();
        let secret = !after
            && !["sha256-", "sha256:", "sha512-", "SHA-256=", "Content-MD5: "]
                .iter()
                .any(|sum| before.ends_with(sum))
            && !self.text.get(start..end).is_some_and(|run| {
                ["sha256-", "sha512-"]
                    .iter()
                    .any(|sum| run.starts_with(sum))
            })
            && matches!(
                (self.hint.start - start, end - self.hint.start),
                (43, 1) | (86, 2)
            );
        secret.then_some(start..end)
    }
}

/// An AWS key id: four letters, and always as many after them. Of no other kind is the beginning so short and the rest in capitals.
fn is_aws(begins: &str, goes_on: &str) -> bool {
    matches!(begins, "AKIA" | "ASIA" | "ABIA" | "ACCA") && goes_on.len() == 16
}
