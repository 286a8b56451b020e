//! One pass over a text: which phrases of the catalog stand in it, and which entities.
//!
//! In: a text of any size and the [`Window`] in which signs count. Out: [`Hits`]: terms with their places, and entity values. All phrases, codes
//! and anchors live in one Aho-Corasick automaton, so the time is linear in the text however large the
//! catalog grows; after an anchor only a small window is read. This file does not know what a phrase means.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::entities;
use super::entry::EntityRule;
use super::reading::Window;
use super::span::Span;

/// The longest distance between two parts of a sequence (`a … b`), in bytes.
const GAP: usize = 240;
/// How many values of one entity are kept, and how many anchors of it are tried.
const VALUES: usize = 6;
const TRIES: u16 = 64;

/// A phrase with its demands on the characters around it.
#[derive(Debug)]
struct Literal {
    left_open: bool,
    right_open: bool,
    single_word: bool,
    /// The term that is this phrase alone.
    alone: Option<u32>,
    /// (term, part) pairs that wait for it.
    parts: Vec<(u32, u16)>,
    /// Entity rules that it anchors.
    entities: Vec<u32>,
}

/// Terms joined by "and", perhaps with terms that must be absent.
#[derive(Debug)]
pub(super) struct Pattern {
    terms: Vec<u32>,
    absent: Vec<u32>,
    pub(super) cause: usize,
    pub(super) rank: u8,
    /// The pattern as written, for the rule's name.
    pub(super) written: String,
}

/// The compiled automaton.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    automaton: Option<AhoCorasick>,
    literals: Vec<Literal>,
    /// How many parts each term has.
    terms: Vec<u16>,
    patterns: Vec<Pattern>,
    /// The patterns that begin with a term.
    by_term: Vec<Vec<u32>>,
    entities: Vec<EntityRule>,
}

/// A value found in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rule: usize,
    pub(super) span: Span,
}

/// What one pass found.
#[derive(Debug, Default)]
pub(super) struct Hits {
    /// Matched patterns with the place of their last match.
    pub(super) patterns: Vec<(usize, Span)>,
    pub(super) found: Vec<Found>,
}

/// Collects patterns before the automaton is built.
#[derive(Debug, Default)]
pub(super) struct ScannerBuilder {
    texts: Vec<String>,
    literals: Vec<Literal>,
    literal_ids: HashMap<String, u32>,
    terms: Vec<u16>,
    term_ids: HashMap<String, u32>,
    patterns: Vec<Pattern>,
    entities: Vec<EntityRule>,
}

impl ScannerBuilder {
    /// Adds a pattern in the catalog's notation; false if it cannot be read.
    pub(super) fn pattern(&mut self, written: &str, cause: usize, rank: u8) -> bool {
        let read = if written.contains(['&', '!', '…']) {
            self.terms_of(written)
        } else {
            self.phrase(written).map(|term| (vec![term], Vec::new()))
        };
        let Some((terms, absent)) = read else {
            return false;
        };
        self.patterns.push(Pattern {
            terms,
            absent,
            cause,
            rank,
            written: written.to_owned(),
        });
        true
    }

    fn terms_of(&mut self, written: &str) -> Option<(Vec<u32>, Vec<u32>)> {
        let mut pieces = written.split(" ! ");
        let positive = pieces.next().unwrap_or_default();
        let terms = positive
            .split(" & ")
            .map(|term| self.term(term))
            .collect::<Option<Vec<_>>>()?;
        let absent = pieces
            .map(|term| self.term(term))
            .collect::<Option<Vec<_>>>()?;
        Some((terms, absent))
    }

    /// Adds an entity rule with its anchors.
    pub(super) fn entity(&mut self, rule: EntityRule) {
        let number = u32::try_from(self.entities.len()).unwrap_or(u32::MAX);
        for anchor in &rule.anchors {
            if let Some(id) = self.literal(anchor)
                && let Some(literal) = self.literals.get_mut(id as usize)
            {
                literal.entities.push(number);
            }
        }
        self.entities.push(rule);
    }

    /// The term of one unbroken phrase: most are, so they have no map of their own.
    fn phrase(&mut self, written: &str) -> Option<u32> {
        let number = self.literal(written)?;
        let id = u32::try_from(self.terms.len()).ok()?;
        let literal = self.literals.get_mut(number as usize)?;
        if let Some(id) = literal.alone {
            return Some(id);
        }
        literal.alone = Some(id);
        literal.parts.push((id, 0));
        self.terms.push(1);
        Some(id)
    }

    fn term(&mut self, written: &str) -> Option<u32> {
        let written = written.trim();
        if !written.contains('…') {
            return self.phrase(written);
        }
        if let Some(id) = self.term_ids.get(written) {
            return Some(*id);
        }
        let id = u32::try_from(self.terms.len()).ok()?;
        let parts: Vec<u32> = written
            .split(" … ")
            .map(|part| self.literal(part))
            .collect::<Option<_>>()?;
        for (part, literal) in parts.iter().enumerate() {
            let literal = self.literals.get_mut(*literal as usize)?;
            literal.parts.push((id, u16::try_from(part).ok()?));
        }
        self.terms.push(u16::try_from(parts.len()).ok()?);
        self.term_ids.insert(written.to_owned(), id);
        Some(id)
    }

    fn literal(&mut self, written: &str) -> Option<u32> {
        let written = written.to_ascii_lowercase();
        if let Some(id) = self.literal_ids.get(&written) {
            return Some(*id);
        }
        let (left_open, rest) = written
            .strip_prefix('*')
            .map_or((false, written.as_str()), |rest| (true, rest));
        let (right_open, text) = rest
            .strip_suffix('*')
            .map_or((false, rest), |rest| (true, rest));
        if text.trim().is_empty() {
            return None;
        }
        let id = u32::try_from(self.literals.len()).ok()?;
        let single_word = text.bytes().all(|b| b.is_ascii_alphabetic());
        self.literals.push(Literal {
            left_open,
            right_open,
            single_word,
            alone: None,
            parts: Vec::new(),
            entities: Vec::new(),
        });
        self.texts.push(text.to_owned());
        self.literal_ids.insert(written, id);
        Some(id)
    }

    /// Builds the automaton.
    pub(super) fn build(self) -> Result<Scanner, String> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&self.texts)
            .map_err(|error| error.to_string())?;
        let mut by_term = vec![Vec::new(); self.terms.len()];
        for (number, pattern) in self.patterns.iter().enumerate() {
            if let Some(list) = pattern
                .terms
                .first()
                .and_then(|term| by_term.get_mut(*term as usize))
            {
                list.push(u32::try_from(number).map_err(|error| error.to_string())?);
            }
        }
        Ok(Scanner {
            automaton: Some(automaton),
            literals: self.literals,
            terms: self.terms,
            patterns: self.patterns,
            by_term,
            entities: self.entities,
        })
    }
}

/// Where a term stands: how many of its parts were seen, and where it matched whole.
#[derive(Clone, Copy, Default)]
struct Progress {
    seen: u16,
    start: u32,
    end: u32,
    whole: Option<(u32, u32)>,
}

impl Scanner {
    /// The pattern with this number.
    pub(super) fn pattern(&self, number: usize) -> Option<&Pattern> {
        self.patterns.get(number)
    }

    /// All patterns.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter()
    }

    /// The entity rule with this number.
    pub(super) fn entity(&self, number: usize) -> Option<&EntityRule> {
        self.entities.get(number)
    }

    /// Is the whole text one phrase or code of the catalog?
    pub(super) fn is_sign(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        self.automaton.as_ref().is_some_and(|automaton| {
            automaton
                .find_overlapping_iter(&lower)
                .any(|found| found.start() == 0 && found.end() == lower.len())
        })
    }

    /// Reads the text once.
    pub(super) fn scan(&self, text: &str, window: &Window) -> Hits {
        let mut hits = Hits::default();
        let Some(automaton) = &self.automaton else {
            return hits;
        };
        let mut progress = vec![Progress::default(); self.terms.len()];
        let mut complete: Vec<u32> = Vec::new();
        let mut tries = vec![0u16; self.entities.len()];
        // Lower case once: an automaton of lower-case phrases is built five times faster than one of both cases.
        let lower = text.to_ascii_lowercase();
        for found in automaton.find_overlapping_iter(&lower) {
            let Some(literal) = self.literals.get(found.pattern().as_usize()) else {
                continue;
            };
            let span = Span {
                start: found.start(),
                end: found.end(),
            };
            if !window.holds(span) || !stands_alone(text, span, literal) {
                continue;
            }
            let masked = window.masks(span);
            for (term, part) in literal.parts.iter().filter(|_| !masked) {
                if let Some(state) = progress.get_mut(*term as usize)
                    && advance(
                        state,
                        *part,
                        span,
                        self.terms.get(*term as usize).copied().unwrap_or(1),
                    )
                {
                    complete.push(*term);
                }
            }
            for number in &literal.entities {
                // What a name contains is no code and no exception; its host or path may be worth naming.
                if !masked
                    || self
                        .entity(*number as usize)
                        .is_some_and(|rule| !rule.is_code())
                {
                    self.take((text, window), *number, span, &mut tries, &mut hits.found);
                }
            }
        }
        self.judge(&progress, &complete, &mut hits.patterns);
        hits
    }

    fn take(
        &self,
        (text, window): (&str, &Window),
        number: u32,
        anchor: Span,
        tries: &mut [u16],
        found: &mut Vec<Found>,
    ) {
        let number = number as usize;
        let (Some(rule), Some(count)) = (self.entities.get(number), tries.get_mut(number)) else {
            return;
        };
        if *count >= TRIES {
            return;
        }
        *count += 1;
        let Some(span) = entities::take(text, anchor, rule.take, rule.bare) else {
            return;
        };
        // A name says nothing about the error, whatever stands before it.
        if rule.is_code() && window.masks(span) {
            return;
        }
        let same = found.iter().filter(|f| f.rule == number);
        if same.clone().count() < VALUES && !same.clone().any(|f| f.span == span) {
            found.push(Found { rule: number, span });
        }
    }

    fn judge(&self, progress: &[Progress], complete: &[u32], matched: &mut Vec<(usize, Span)>) {
        let whole = |term: u32| progress.get(term as usize).and_then(|state| state.whole);
        for term in complete {
            for number in self.by_term.get(*term as usize).into_iter().flatten() {
                let Some(pattern) = self.patterns.get(*number as usize) else {
                    continue;
                };
                if pattern.absent.iter().any(|term| whole(*term).is_some()) {
                    continue;
                }
                let Some(places) = pattern
                    .terms
                    .iter()
                    .map(|term| whole(*term))
                    .collect::<Option<Vec<_>>>()
                else {
                    continue;
                };
                if let Some((start, end)) = places.first() {
                    matched.push((
                        *number as usize,
                        Span {
                            start: *start as usize,
                            end: *end as usize,
                        },
                    ));
                }
            }
        }
    }
}

/// Takes one part of a term in; true when the term is whole for the first time.
fn advance(state: &mut Progress, part: u16, span: Span, parts: u16) -> bool {
    let (start, end) = (
        u32::try_from(span.start).unwrap_or(u32::MAX),
        u32::try_from(span.end).unwrap_or(u32::MAX),
    );
    let in_reach = start >= state.end && (start - state.end) as usize <= GAP;
    if part == 0 && (state.seen <= 1 || !in_reach) {
        *state = Progress {
            seen: 1,
            start,
            end,
            whole: state.whole,
        };
    } else if part == state.seen && part > 0 && in_reach {
        state.seen += 1;
        state.end = end;
    } else {
        return false;
    }
    if state.seen < parts {
        return false;
    }
    let first = state.whole.is_none();
    *state = Progress {
        seen: 0,
        start: 0,
        end: 0,
        whole: Some((state.start, state.end)),
    };
    first
}

/// ADF writes most of its codes with and without `UserError` before them.
fn behind_user_error(bytes: &[u8], start: usize) -> bool {
    const PREFIX: &[u8] = b"UserError";
    let Some(from) = start.checked_sub(PREFIX.len()) else {
        return false;
    };
    let alone = from == 0
        || bytes
            .get(from - 1)
            .is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_');
    alone
        && bytes
            .get(from..start)
            .is_some_and(|text| text.eq_ignore_ascii_case(PREFIX))
}

/// A phrase counts only as whole words, unless it is written open (`*`).
fn stands_alone(text: &str, span: Span, literal: &Literal) -> bool {
    let bytes = text.as_bytes();
    let word = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let at = |index: usize| bytes.get(index);
    if !literal.left_open && word(at(span.start)) && span.start > 0 && word(at(span.start - 1)) {
        // `\n` as two characters, as escaped logs have it, is no letter before the word.
        let escaped = span.start > 1
            && at(span.start - 2) == Some(&b'\\')
            && matches!(at(span.start - 1), Some(b'n' | b'r' | b't'));
        if !escaped && !behind_user_error(bytes, span.start) {
            return false;
        }
    }
    if literal.right_open || !word(span.end.checked_sub(1).and_then(at)) {
        return true;
    }
    let next = at(span.end);
    !(word(next) || (literal.single_word && next == Some(&b'=')))
}
