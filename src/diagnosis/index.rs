//! The catalog's index: its causes' signs → one automaton for texts and one map for codes and numbers.
//!
//! In: the causes and entity rules as read. Out: a [`Scanner`] and the codes by their key (lower case; numbers as
//! `space:number`). What cannot be indexed is named, not lost. It does not know where the causes come from, nor what
//! becomes of a match.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::RangeInclusive;

use super::entry::{Cause, CodeEntry, EntityRule, Weight, rank};
use super::scan::{Scanner, ScannerBuilder};

/// Indexes the causes and the entities; what is wrong with them is added to `problems`.
pub(super) fn of(
    causes: &[Cause],
    entities: Vec<EntityRule>,
    problems: &mut Vec<String>,
) -> (HashMap<String, CodeEntry>, Scanner) {
    let mut index = Index::default();
    for (number, cause) in causes.iter().enumerate() {
        index.codes_of(cause, number);
        index.numbers_of(cause, number);
        index.phrases_of(cause, number);
    }
    for entity in entities {
        index.scanner.entity(entity);
    }
    problems.append(&mut index.problems);
    // A number named for itself knows better than the range around it.
    for (key, entry) in index.ranges {
        index.codes.entry(key).or_insert(entry);
    }
    let scanner = index.scanner.build().unwrap_or_else(|fault| {
        problems.push(fault);
        Scanner::default()
    });
    (index.codes, scanner)
}

#[derive(Default)]
struct Index {
    codes: HashMap<String, CodeEntry>,
    ranges: Vec<(String, CodeEntry)>,
    scanner: ScannerBuilder,
    problems: Vec<String>,
}

impl Index {
    fn codes_of(&mut self, cause: &Cause, number: usize) {
        let rank = of_weight(cause.weight);
        for code in &cause.codes {
            self.name(
                code.to_ascii_lowercase(),
                CodeEntry {
                    cause: number,
                    rank,
                },
                &cause.name,
            );
            if searchable(code) {
                self.scanner.pattern(code, number, rank);
            }
            if spoken(code) {
                self.scanner
                    .pattern(&code.replace('_', " "), number, rank.min(rank::WEAK_CODE));
            }
        }
    }

    fn numbers_of(&mut self, cause: &Cause, number: usize) {
        for key in &cause.numbers {
            let (space, value) = key.split_once(':').unwrap_or_default();
            let rank = match (space, cause.weight) {
                ("adf" | "type", _) | (_, Weight::Wrapper) => of_weight(cause.weight),
                _ => rank::of_namespace(space),
            };
            let entry = CodeEntry {
                cause: number,
                rank,
            };
            match range(value) {
                Some(range) => self
                    .ranges
                    .extend(range.map(|value| (format!("{space}:{value}"), entry))),
                None => self.name(key.to_ascii_lowercase(), entry, &cause.name),
            }
        }
    }

    fn phrases_of(&mut self, cause: &Cause, number: usize) {
        let levels = [
            (&cause.always, rank::ALWAYS),
            (&cause.says, rank::SAYS),
            (&cause.suggests, rank::SUGGESTS),
            (&cause.hints, rank::HINT),
            (&cause.words, rank::WORDS),
            (&cause.wraps, rank::WRAPPER),
        ];
        for (phrases, rank) in levels {
            for phrase in phrases {
                if !self.scanner.pattern(phrase, number, rank) {
                    self.problems
                        .push(format!("{}: pattern `{phrase}` cannot be read", cause.name));
                }
            }
        }
    }

    fn name(&mut self, key: String, entry: CodeEntry, cause: &str) {
        match self.codes.entry(key) {
            Entry::Vacant(free) => {
                free.insert(entry);
            }
            Entry::Occupied(named) => self
                .problems
                .push(format!("{cause}: {} is named twice", named.key())),
        }
    }
}

fn of_weight(weight: Weight) -> u8 {
    match weight {
        Weight::Strong => rank::CODE,
        Weight::Weak | Weight::Coarse => rank::WEAK_CODE,
        Weight::Wrapper => rank::WRAPPER,
    }
}

/// Can this code be looked for in running text, or does it look like an ordinary word or number?
fn searchable(code: &str) -> bool {
    let humps = code.chars().filter(char::is_ascii_uppercase).count();
    let lower = code.chars().any(|c| c.is_ascii_lowercase());
    // A life-cycle state as well, so it says nothing inside a text.
    code != "INTERNAL_ERROR"
        && code.len() >= 6
        && (code.contains('_') || code.contains('-') || (lower && humps >= 2))
        && !code.contains(':')
}

/// Is this a code that texts also write in words (`CLOUD_PROVIDER_SHUTDOWN`, "Cloud Provider Shutdown")?
fn spoken(code: &str) -> bool {
    code.len() >= 20
        && code.matches('_').count() >= 2
        && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// `9400-9456`: a family of numbers. A signed number (`-2`) is none.
fn range(value: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = value.split_once('-')?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}
