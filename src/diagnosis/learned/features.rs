//! What the classifier reads: the terminal error as a set of hashed words, pieces of words and pairs of words.
//!
//! In: source, codes and text. Out: the numbers of the buckets that are present, sorted, each once. At most [`READ`] bytes
//! of the text are read: its head, where wrappers name the kind, and its end, where the innermost error stands.
//! Stack frames, log prefixes and Airflow's own book-keeping are skipped, because they say where, not what.
//! The trainer and the handler share this file: a change here means to train again.

use crate::failure::Source;

/// The most bytes of a text that are read.
pub const READ: usize = 4096;
/// How many of these come from its head.
const HEAD: usize = 1024;
/// How many buckets there are.
pub const BUCKETS: usize = 1 << 15;
/// A word's beginning of this length stands for its relatives (`permission`, `permissions`, `permitted`).
const STEM: usize = 5;

/// Longer words are ids and hashes.
const LONGEST: usize = 64;
/// The length of a UUID.
const UUID: usize = 36;
/// What stands for every number and every id.
const NUMBER: u64 = 7;

/// Airflow's own lines about a task that ended, whatever it ended with.
const BOOKKEEPING: [&str; 16] = [
    "Marking task as",
    "Task exited with return code 1",
    "Command exited with return code 1",
    "No viable dags",
    "::group::",
    "::endgroup::",
    "Sending Signals",
    "follow-on schedule",
    "start_date=",
    "Dependencies all met",
    "Executing <Task",
    "Running <Task",
    "Started process",
    "Task failed with exception",
    "Traceback (most recent call last)",
    "Starting attempt",
];

/// The buckets of a failure: its platform (none for an example that has none), its codes and its text.
pub fn of<'a>(
    source: Option<Source>,
    codes: impl Iterator<Item = &'a str>,
    text: &str,
) -> Vec<u16> {
    let mut words = Words::default();
    if let Some(source) = source {
        words.say(Kind::Source, source as u64 + 1);
    }
    for code in codes.map(str::trim).filter(|code| !code.is_empty()) {
        words.say(Kind::Code, fnv(code.as_bytes()));
        words.line(code);
    }
    words.text(text);
    words.buckets()
}

/// Joins pieces to the text that is read: all of them, or the head and the end of what they are together.
pub(in crate::diagnosis) fn read(pieces: &[&str]) -> String {
    let total: usize = pieces.iter().map(|piece| piece.len() + 1).sum();
    let (head, end) = if total <= READ {
        (total, total)
    } else {
        (HEAD, total - (READ - HEAD))
    };
    let mut out = String::with_capacity(total.min(READ));
    let mut at = 0;
    for piece in pieces {
        let until =
            |limit: usize| piece.floor_char_boundary(limit.saturating_sub(at).min(piece.len()));
        let (first, last) = (until(head), until(end));
        out.push_str(piece.get(..first).unwrap_or_default());
        if last < piece.len() && end < total {
            out.push('\n');
            out.push_str(piece.get(last.max(first)..).unwrap_or_default());
        }
        out.push('\n');
        at += piece.len() + 1;
    }
    out
}

/// Kinds of features, kept apart in the hash.
#[derive(Clone, Copy)]
enum Kind {
    Source = 1,
    Code = 2,
    Word = 3,
    Part = 4,
    Pair = 5,
    Stem = 6,
}

#[derive(Default)]
struct Words {
    hashes: Vec<u64>,
    previous: u64,
}

impl Words {
    fn say(&mut self, kind: Kind, hash: u64) {
        self.hashes.push(mix(hash, kind as u64));
    }

    fn buckets(self) -> Vec<u16> {
        let mut buckets: Vec<u16> = self
            .hashes
            .into_iter()
            .filter_map(|hash| u16::try_from((hash >> 40) % BUCKETS as u64).ok())
            .collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    fn text(&mut self, text: &str) {
        let mut in_frame = false;
        for line in text.split('\n').flat_map(|line| line.split("\\n")) {
            let line = line.trim_end_matches(['\r', ' ', '\t']);
            let (logged, body) = without_prefix(line);
            let trimmed = body.trim_start();
            let source_line = in_frame && trimmed.len() + 4 <= body.len();
            in_frame = trimmed.starts_with("File \"");
            let frame = in_frame
                || source_line
                || trimmed.starts_with("at ") && trimmed.ends_with(')')
                || trimmed.starts_with("^^");
            let bookkeeping = logged && BOOKKEEPING.iter().any(|known| trimmed.contains(known));
            if !frame && !bookkeeping {
                self.line(trimmed);
            }
        }
    }

    fn line(&mut self, line: &str) {
        self.previous = 0;
        let bytes = line.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if !is_letter(*byte) && !byte.is_ascii_digit() {
                at += 1;
                continue;
            }
            if bytes.get(at..at + UUID).is_some_and(is_uuid) {
                self.join(NUMBER);
                at += UUID;
                continue;
            }
            let length = bytes
                .iter()
                .skip(at)
                .take_while(|b| is_letter(**b) || b.is_ascii_digit())
                .count();
            if let Some(word) = bytes.get(at..at + length) {
                self.word(word);
            }
            at += length;
        }
    }

    /// Numbers are the rules' business, and ids are new each time: they say only that one stands here.
    fn word(&mut self, word: &[u8]) {
        let letters = word.iter().take_while(|b| is_letter(**b)).count();
        let digits = word.iter().filter(|b| b.is_ascii_digit()).count();
        let said = if digits > 2 {
            word.get(..letters).unwrap_or_default()
        } else {
            word
        };
        if letters == 0 || word.len() > LONGEST {
            self.join(NUMBER);
            return;
        }
        self.join(fnv(said));
        if said.len() > STEM {
            self.say(Kind::Stem, fnv(said.get(..STEM).unwrap_or(said)));
        }
        self.parts(said);
    }

    fn join(&mut self, hash: u64) {
        self.say(Kind::Word, hash);
        if self.previous != 0 {
            self.say(Kind::Pair, mix(self.previous, hash));
        }
        self.previous = hash;
    }

    /// `UserErrorFileNotFound` also says `user`, `error`, `file`, `not`, `found`, and `file not`, `not found`.
    fn parts(&mut self, word: &[u8]) {
        let mut start = 0;
        let mut previous = 0;
        for at in 1..=word.len() {
            let ends = match (word.get(at - 1), word.get(at), word.get(at + 1)) {
                (Some(a), Some(b), next) => {
                    a.is_ascii_lowercase() && !b.is_ascii_lowercase()
                        || a.is_ascii_uppercase()
                            && b.is_ascii_uppercase()
                            && next.is_some_and(u8::is_ascii_lowercase)
                        || a.is_ascii_digit() != b.is_ascii_digit()
                }
                _ => true,
            };
            if !ends {
                continue;
            }
            if start == 0 && at == word.len() {
                // One piece: it is the word itself.
                self.say(Kind::Part, fnv(word));
                return;
            }
            if let Some(part) = word.get(start..at).filter(|part| part.len() > 1) {
                let hash = fnv(part);
                self.say(Kind::Part, hash);
                if previous != 0 {
                    self.say(Kind::Pair, mix(previous, hash));
                }
                previous = hash;
            }
            start = at;
        }
    }
}

/// Without the time, place and level that a log line begins with; did it have them?
fn without_prefix(line: &str) -> (bool, &str) {
    let dated = line.trim_start_matches('[');
    if !dated
        .as_bytes()
        .get(..4)
        .is_some_and(|year| year.iter().all(u8::is_ascii_digit))
        || dated.as_bytes().get(4) != Some(&b'-')
    {
        return (false, line);
    }
    let levels = [" - ", "INFO ", "ERROR ", "WARNING ", "WARN ", "CRITICAL "];
    let head = line.get(..line.floor_char_boundary(140)).unwrap_or(line);
    let cut = levels
        .iter()
        .filter_map(|level| head.find(level).map(|at| at + level.len()))
        .min();
    match cut {
        Some(cut) => (true, line.get(cut..).unwrap_or(line)),
        None => (true, line),
    }
}

fn is_uuid(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 0x80
}

/// FNV-1a over lower-case letters.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

fn mix(a: u64, b: u64) -> u64 {
    let mixed = (a.rotate_left(17) ^ b).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
