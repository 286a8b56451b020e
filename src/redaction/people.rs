//! What tells who somebody is: e-mail addresses, phone numbers, bank accounts and cards; the last two by their checksums.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::pattern::pattern;
use super::spot::Spot;

/// `+49 151 23456789`, `(425) 555-0100`, `tel. 0151 2345678`.
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x) (?: ^ | [^\w+.%/-] )
        (?: (?P<global> \+ [1-9] (?: [\ ().\-/]{0,3} [0-9] ){7,14} )
          | (?P<american> \( [2-9][0-9]{2} \) \ ? [2-9][0-9]{2} [\ -] [0-9]{4} | [2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4} )
          | (?i: phone | telefon | telephone | tel | t[ée]l | mobile | mobil | handy | cell | fax | whatsapp | t[ée]l[ée]phone | tel[ée]fono )
            (?i: [\ _]? (?: number | no | nr | nummer ) )? \.? ["']? [\ ]{0,2} [:=\#]? [\ ]{0,2} ["']?
            (?P<local> \(? [0-9] (?: [\ ().\-/]{0,2} [0-9] ){6,13} ) )
        (?: $ | [^\w] )"#,
    )
});

/// Thirteen to nineteen digits, alone or in groups.
static CARD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?:^|[^\w.+%/#-])(?P<number>[2-6](?:[ -]?[0-9]){12,18})"));

/// A country, two check digits and an account, alone or in groups.
static IBAN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(?P<iban>[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30})"));

/// How long the IBANs of a country are (registry of ISO 13616).
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 \
    FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 \
    MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 \
    ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

/// Phone numbers, cards and bank accounts of a text, in any order.
pub(super) fn numbers(text: &str) -> Vec<Range<usize>> {
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    let phones = PHONE.captures_iter(text).filter_map(|found| {
        let number = found
            .name("global")
            .or_else(|| found.name("american"))
            .or_else(|| found.name("local"))?;
        let digits = number.as_str().bytes().filter(u8::is_ascii_digit).count();
        let dialled = match (found.name("global"), found.name("local")) {
            (Some(global), _) => is_global(global.as_str()),
            (_, Some(local)) => {
                local.as_str().starts_with(['0', '(']) || local.as_str().contains([' ', '-'])
            }
            _ => true,
        };
        (dialled && (7..=15).contains(&digits)).then(|| number.range())
    });
    let cards = CARD
        .captures_iter(text)
        .filter_map(|found| card(text, found.name("number")?.range()));
    let accounts = IBAN
        .captures_iter(text)
        .filter_map(|found| iban(text, found.name("iban")?.range()));
    phones.chain(cards).chain(accounts).collect()
}

/// A number with its country: written in groups, or too long for an offset; no coordinate (`+48.137154`), no round number.
fn is_global(number: &str) -> bool {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let grouped = digits.len() + 1 < number.len();
    let coordinate = number.contains('.') && number.split('.').any(|group| group.len() > 5);
    let america = digits.starts_with('1');
    !coordinate
        && !digits.ends_with("00000")
        && (grouped || digits.len() >= 11)
        && (!america
            || digits.len() == 11 && !digits.starts_with("10") && !digits.starts_with("11"))
}

/// The longest card number that begins here.
fn card(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let found = text.get(range.clone())?;
    let grouped = found.get(..13)?.contains([' ', '-']);
    if !grouped && is_named_id(text.get(..range.start)?) {
        return None;
    }
    (1..=found.len()).rev().find_map(|length| {
        let (number, after) = found.split_at_checked(length)?;
        let goes_on = after.starts_with(|c: char| c.is_ascii_digit())
            || after.is_empty()
                && text
                    .get(range.end..)?
                    .starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
        (!goes_on && number.ends_with(|c: char| c.is_ascii_digit()) && is_card(&digits, grouped))
            .then(|| range.start..range.start + length)
    })
}

/// A long number after `run_id=`, `job`, `offset` … is no card, whatever its checksum.
fn is_named_id(before: &str) -> bool {
    let start = before.ceil_char_boundary(before.len().saturating_sub(24));
    let name = before.get(start..).unwrap_or_default().to_ascii_lowercase();
    let name = name.trim_end_matches(|c: char| !c.is_alphanumeric());
    let word = name
        .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default();
    [
        "id",
        "run",
        "job",
        "task",
        "offset",
        "version",
        "timestamp",
        "bytes",
        "size",
        "row",
        "rows",
        "count",
        "cluster",
        "lsn",
        "ts",
        "batch",
        "epoch",
        "number",
        "o",
        "workspace",
        "line",
    ]
    .iter()
    .any(|end| {
        word == *end
            || word
                .strip_suffix(end)
                .is_some_and(|rest| rest.ends_with('_') || *end == "id" && word.len() > 3)
    })
}

/// By the length and the first digits of a brand, and Luhn's checksum.
fn is_card(digits: &[u32], grouped: bool) -> bool {
    let head = |length| {
        digits
            .iter()
            .take(length)
            .fold(0, |number, digit| number * 10 + digit)
    };
    let known = match digits.len() {
        19 => grouped && head(2) == 62,
        14 => grouped && matches!(head(2), 30 | 36 | 38),
        15 => matches!(head(2), 34 | 37),
        16 => {
            head(1) == 4
                || matches!(head(2), 51..=55 | 65 | 62 | 35)
                || matches!(head(4), 2221..=2720 | 6011)
                || matches!(head(3), 644..=649)
        }
        _ => false,
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            if at % 2 == 0 {
                *digit
            } else {
                (digit * 2) / 10 + (digit * 2) % 10
            }
        })
        .sum();
    known && sum.is_multiple_of(10) && digits.iter().any(|digit| digits.first() != Some(digit))
}

/// The bank account that begins here.
fn iban(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let found = text.get(range.clone())?;
    let country = found.get(..2)?.to_ascii_uppercase();
    let length: usize = IBAN_LENGTHS
        .split(' ')
        .find_map(|row| row.strip_prefix(country.as_str()))?
        .parse()
        .ok()?;
    let mut places = found
        .char_indices()
        .filter(|(_, c)| c.is_ascii_alphanumeric());
    let (last, _) = places.nth(length - 1)?;
    let after = text.get(range.start + last + 1..)?;
    let plain: String = found
        .get(..=last)?
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let (front, account) = plain.split_at_checked(4)?;
    let rest = account
        .chars()
        .chain(front.chars())
        .filter_map(|c| c.to_digit(36))
        .fold(0, |rest, digit| {
            (rest * if digit > 9 { 100 } else { 10 } + digit) % 97
        });
    (rest == 1 && !after.starts_with(|c: char| c.is_ascii_alphanumeric()))
        .then(|| range.start..range.start + last + 1)
}

impl Spot<'_> {
    /// An e-mail address, but not `abfss://container@account.dfs.core.windows.net`.
    pub(super) fn address(&self) -> Option<Range<usize>> {
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
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn checksums_decide() {
        for (text, found) in [
            (
                "card 4111 1111 1111 1111 12/27",
                Some("4111 1111 1111 1111"),
            ),
            ("card 4111 1111 1111 1112", None),
            ("amex 378282246310005.", Some("378282246310005")),
            ("value '5555555555554444'", Some("5555555555554444")),
            ("run_id=4111111111111111", None),
            (
                "DE89 3704 0044 0532 0130 00 paid",
                Some("DE89 3704 0044 0532 0130 00"),
            ),
            ("GB82WEST12345698765432,", Some("GB82WEST12345698765432")),
            ("DE89370400440532013001", None),
            ("call +49 151 2345 6789 now", Some("+49 151 2345 6789")),
            ("at 2025-12-12T10:00:00+0200", None),
            ("phone: 0151 23456789", Some("0151 23456789")),
        ] {
            let ranges = numbers(text);
            assert_eq!(
                ranges.first().and_then(|range| text.get(range.clone())),
                found,
                "{text}"
            );
            assert!(ranges.len() < 2, "{text}");
        }
    }
}
