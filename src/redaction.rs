//! Secrets and personal data stop here (law L10): every text from outside passes [`redact`] before it
//! is stored, logged, shown or sent on.
//!
//! A pipe: it imports nothing of ours. In: any text. Out: the same text with secret values replaced by
//! `***`, and characters that could hide or reorder text removed. It does not know who sent the text or
//! in which format it is: JSON, JSON inside JSON, connection strings, URLs, stack traces and command lines
//! come mixed in one error message. So it does not parse; one pass of an Aho-Corasick automaton finds
//! *hints* (`pwd`, `://`, `eyJ`, `@` …), and a small rule at each hint decides what around it is secret.
//! What has no hint (base64 of a connection string, card numbers) is searched by its shape. Look-alike letters and signs are
//! read as what they look like. All of that is linear, and it leaves alone what a diagnosis needs: error numbers, hosts, user names, paths,
//! GUIDs, column names, run ids, `abfss://container@account…` addresses, Key Vault and secret references.

mod clean;
mod commands;
mod fold;
mod hints;
mod named;
mod names;
mod pattern;
mod people;
mod secrets;
mod spot;
mod shapes;
mod tokens;
mod values;

use std::borrow::Cow;
use std::ops::Range;

use crate::digest::sha256;

pub use clean::{clean, one_line};

/// What stands where a secret was.
const MASK: &str = "***";
/// How much of a digest the mask of a name carries, in hex digits.
const DIGEST: usize = 6;
/// One pass is enough but for texts made to evade it; then the next pass sees what the first uncovered.
const PASSES: usize = 6;

/// Replaces secret values (keys, SAS signatures, tokens, passwords) and personal data (e-mail addresses, phone, card and
/// account numbers) by `***`, and removes ANSI escapes, control characters (but `\n` and `\t`), bidi overrides and invisible characters.
///
/// `\r\n` and a lone `\r` become `\n`. Redacting twice gives the same as redacting once.
pub fn redact(text: &str) -> String {
    let mut text = clean(text);
    for _ in 0..PASSES {
        let mut changed = false;
        for find in [shapes::unhinted, secrets::hinted] {
            if let Some(masked) = mask(&text, find) {
                text = Cow::Owned(masked);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    text.into_owned()
}

/// Like [`redact`], for the name of an asset or a run: masks only what is surely secret by its own shape (tokens, private keys,
/// passwords in URLs), so that `sk-orders-daily-load` and `jane.doe@contoso.com's Cluster` stay what they are called.
///
/// The mask carries a digest of what it hides: two names stay two names.
pub fn redact_name(name: &str) -> String {
    let mut name = clean(name);
    for _ in 0..PASSES {
        let folded = fold::Folded::new(&name);
        match folded.replace(&secrets::certain(folded.view()), told_apart) {
            Some(masked) => name = Cow::Owned(masked),
            None => break,
        }
    }
    name.into_owned()
}

fn mask(text: &str, find: fn(&str) -> Vec<Range<usize>>) -> Option<String> {
    let folded = fold::Folded::new(text);
    folded.replace(&find(folded.view()), |_| Cow::Borrowed(MASK))
}

fn told_apart(secret: &str) -> Cow<'static, str> {
    let digest = sha256(secret);
    Cow::Owned(format!(
        "{MASK}{}",
        digest.get(..DIGEST).unwrap_or_default()
    ))
}

/// A mask, also that of a name.
fn is_mask(text: &str) -> bool {
    text.strip_prefix(MASK).is_some_and(|rest| {
        rest.is_empty() || rest.len() == DIGEST && rest.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// At most `limit` bytes, cut on a character boundary: the head and the tail, with a mark between them.
pub fn cap(text: &str, limit: usize) -> String {
    const MARK: &str = " … ";
    if text.len() <= limit {
        return text.to_owned();
    }
    let Some(room) = limit.checked_sub(MARK.len()) else {
        return text
            .get(..text.floor_char_boundary(limit))
            .unwrap_or_default()
            .to_owned();
    };
    let tail_room = room / 4;
    let head = text.floor_char_boundary(room - tail_room);
    let tail = text.ceil_char_boundary(text.len() - tail_room);
    format!(
        "{}{MARK}{}",
        text.get(..head).unwrap_or_default(),
        text.get(tail..).unwrap_or_default()
    )
}
