//! The fuzz targets without a fuzzer: real payloads, changed at random from a seed, at every parser, the classifier, redaction and the
//! envelope, on stable Rust. Two seconds; `AIOPS_RCA_FUZZ_SECONDS` sets more, and `AIOPS_RCA_SEED` another beginning.
//!
//! `tests/fuzz/` has the same laws as targets of libFuzzer, which also sees which branches an input reaches.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests may"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aiops_rca::diagnosis::{Case, diagnose};
use aiops_rca::failure::Source;

use crate::doors::lawful as events;
use crate::host::lawful as envelope;
use crate::redaction::lawful as redaction;
use crate::sources::lawful as parsers;

/// What is likely to matter to some parser.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"-1",
    b"1e999",
    b"9223372036854775808",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc3",
    b"\r\n",
    b"\x1b[31m",
    b"password=",
    b"Bearer ",
    b"://a:b@",
    b"sig=",
    b"-----BEGIN PRIVATE KEY-----",
    b"@x.com",
    b"=",
    b"%3D",
    "\u{202e}".as_bytes(),
    "＝".as_bytes(),
    "а".as_bytes(),
    "密码".as_bytes(),
    b"2025-12-12T10:00:00.1234567Z",
    b"SqlErrorNumber=1205",
];

fn corpus() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut bodies = Vec::new();
    for folder in [
        "fixtures/vendor",
        "fixtures/redaction",
        "fixtures/crashes",
        "fuzz/corpus",
    ] {
        for entry in walkdir::WalkDir::new(tests.join(folder)).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.file_type().is_file() {
                let body = std::fs::read(entry.path()).unwrap();
                // The table of secrets is a corpus of lines.
                if folder == "fixtures/redaction" {
                    bodies.extend(body.split(|b| *b == b'\n').map(<[u8]>::to_vec));
                } else {
                    bodies.push(body);
                }
            }
        }
    }
    bodies
}

fn mutate(body: &mut Vec<u8>, other: &[u8], dice: &mut fastrand::Rng) {
    for _ in 0..dice.usize(1..6) {
        let at = dice.usize(..=body.len());
        let end = (at + dice.usize(..40)).min(body.len());
        match dice.u8(..6) {
            0 if at < body.len() => body[at] ^= 1 << dice.u8(..8),
            1 => drop(body.drain(at..end)),
            2 => {
                let again = body[at..end].to_vec();
                body.splice(at..at, again);
            }
            3 if !other.is_empty() => {
                let from = dice.usize(..other.len());
                let to = (from + dice.usize(..200)).min(other.len());
                body.splice(at..end, other[from..to].iter().copied());
            }
            4 => body.truncate(at.max(1)),
            _ => {
                let piece = PIECES[dice.usize(..PIECES.len())];
                body.splice(at..at, piece.iter().copied());
            }
        }
    }
}

fn assert_lawful(body: &[u8], dice: &mut fastrand::Rng) {
    parsers::assert_lawful(
        "azure_monitor",
        &aiops_rca::sources::azure_monitor::parse(body),
    );
    parsers::assert_lawful("databricks", &aiops_rca::sources::databricks::parse(body));
    parsers::assert_lawful("airflow", &aiops_rca::sources::airflow::parse(body));
    events::assert_lawful(body);
    envelope::assert_lawful(body);
    let text = String::from_utf8_lossy(body);
    // The texts that redaction sees are messages, not whole bodies of 100 KB again and again.
    let start = text.floor_char_boundary(dice.usize(..=text.len()));
    let end = text.ceil_char_boundary((start + 2000).min(text.len()));
    let excerpt = &text[start..end];
    redaction::assert_lawful(excerpt);
    let case = Case {
        source: [Source::Adf, Source::Databricks, Source::Airflow][dice.usize(..3)],
        error_code: None,
        message: excerpt.to_owned(),
        context: BTreeMap::new(),
        names: Vec::new(),
        evidence: Vec::new(),
    };
    let found = diagnose(&case);
    for quote in &found.evidence {
        assert!(case.message.contains(&quote.quote), "{quote:?} is no quote");
    }
    assert!(found.category.may_be_acted_on() || !found.remediable);
}

#[test]
fn changed_payloads_break_nothing() {
    let seconds = crate::support::number("AIOPS_RCA_FUZZ_SECONDS", 2);
    let first = crate::support::number("AIOPS_RCA_SEED", 1);
    let corpus = corpus();
    let started = Instant::now();
    let mut seed = first;
    while started.elapsed() < Duration::from_secs(seconds) {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut body = corpus[dice.usize(..corpus.len())].clone();
        let other = &corpus[dice.usize(..corpus.len())];
        mutate(&mut body, other, &mut dice);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_lawful(&body, &mut dice);
        }));
        assert!(outcome.is_ok(), "AIOPS_RCA_SEED={seed} breaks a law");
        seed += 1;
    }
    println!("{} inputs from seed {first}", seed - first);
}
