//! The fingerprint: what keeps failing, stable over ids, times and numbers.
//!
//! In: the cause and the telling text. Out: 32 hex digits. Everything that changes from run to run (numbers,
//! UUIDs, hex ids, names of days and months, the digits of dates in paths and of hosts' ordinals) is
//! rubbed out before hashing; the words and names that stay tell different causes apart.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::failure::Source;

/// How much of the telling text counts, after rubbing out.
const LENGTH: usize = 160;

/// Hashes what stays the same.
pub(super) fn fingerprint(source: Source, error_type: &str, code: &str, telling: &str) -> String {
    let mut hash = Sha256::new();
    for part in [source.name(), error_type, &stable(code), &stable(telling)] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(16)
        .fold(String::with_capacity(32), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The text in lower case with everything that changes from run to run rubbed out.
pub fn stable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LENGTH));
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')) {
        if out.len() >= LENGTH {
            break;
        }
        for piece in pieces(word) {
            // Neighbouring marks are one, so the number of rubbed-out pieces does not matter.
            if piece == "#" && out.ends_with('#') {
                continue;
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&piece);
        }
    }
    out
}

fn pieces(word: &str) -> Vec<String> {
    if is_uuid(word) {
        return vec!["#".into()];
    }
    word.split(['-', '_'])
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let lower = piece.to_lowercase();
            if changes(&lower) {
                "#".to_owned()
            } else {
                lower
            }
        })
        .collect()
}

fn changes(piece: &str) -> bool {
    const CALENDAR: [&str; 34] = [
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "oct",
        "nov",
        "dec",
        "gmt",
        "utc",
        "am",
        "pm",
        "cet",
        "cest",
        "est",
        "t",
        "z",
    ];
    piece.bytes().any(|b| b.is_ascii_digit())
        || CALENDAR.contains(&piece)
        || (piece.len() >= 8 && piece.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_uuid(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
