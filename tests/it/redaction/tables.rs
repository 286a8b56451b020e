//! Redaction by the table: kinds of secrets that must vanish, texts that must stay as they are. The figures are pinned.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may"
)]

use std::fmt::Write as _;

use aiops_rca::redaction::{redact, redact_name};
use base64::Engine as _;

const SECRETS: &str = include_str!("../../fixtures/redaction/secrets.txt");
const HARMLESS: &str = include_str!("../../fixtures/redaction/harmless.txt");
/// How many kinds are masked wherever they stand, of how many.
const MASKED: (usize, usize) = (460, 460);
/// How many harmless texts are changed, of how many.
const CHANGED: (usize, usize) = (0, 368);

fn rows(table: &str) -> impl Iterator<Item = &str> {
    table
        .lines()
        .filter(|row| !row.starts_with('#') && !row.is_empty())
}

/// A secret as its issuer draws it: of these letters, this long.
fn draw(spec: &str, dice: &mut fastrand::Rng) -> String {
    let (kind, rest) = spec.split_once(' ').unwrap_or((spec, ""));
    let letters = match kind {
        "encoded" => return base64::engine::general_purpose::STANDARD.encode(rest),
        "hex" => "0123456789abcdef",
        "alnum" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        "lower" => "abcdefghijklmnopqrstuvwxyz234567",
        "upper" => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "digits" => "123456789",
        "base64" => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        other => panic!("no such kind: {other}"),
    };
    let letters: Vec<char> = letters.chars().collect();
    (0..rest.parse::<usize>().expect("a length"))
        .map(|_| letters[dice.usize(..letters.len())])
        .collect()
}

/// The text of a row, and the secrets in it.
fn spell(template: &str, dice: &mut fastrand::Rng) -> (String, Vec<String>) {
    let (mut text, mut secrets) = (String::new(), Vec::new());
    for (at, piece) in template.split(['‹', '›']).enumerate() {
        if at % 2 == 0 {
            text.push_str(&piece.replace("\\n", "\n").replace("\\\n", "\\n"));
            continue;
        }
        let secret = piece
            .strip_prefix('=')
            .map_or_else(|| draw(piece, dice), str::to_owned);
        text.push_str(&secret);
        secrets.push(secret);
    }
    (text, secrets)
}

/// Alone, inside a log line, inside JSON, inside JSON of JSON, before and after other text.
fn settings(text: &str) -> Vec<String> {
    let json = serde_json::json!({ "message": text }).to_string();
    vec![
        text.to_owned(),
        format!("2025-12-12 10:00:00 ERROR loader: {text}"),
        format!("first line\n{text}\nlast line"),
        serde_json::json!({ "error": json }).to_string(),
        json,
    ]
}

/// Every kind once: the text, and the secrets in it.
pub(crate) fn planted() -> Vec<(String, Vec<String>)> {
    let mut dice = fastrand::Rng::with_seed(150);
    let texts = rows(SECRETS).map(|row| row.split_once('\t').expect("a name and a text").1);
    texts.map(|text| spell(text, &mut dice)).collect()
}

#[test]
fn every_kind_of_secret_vanishes_everywhere() {
    let mut leaks = String::new();
    let (mut kinds, mut masked) = (0, 0);
    for row in rows(SECRETS) {
        let (kind, template) = row.split_once('\t').expect("a name and a text");
        kinds += 1;
        let mut leak = None;
        for seed in 0..3 {
            let (text, secrets) = spell(template, &mut fastrand::Rng::with_seed(seed));
            assert!(!secrets.is_empty(), "{kind} has no secret");
            for text in settings(&text) {
                let redacted = redact(&text);
                let left = secrets
                    .iter()
                    .find(|secret| redacted.contains(secret.as_str()));
                if let Some(left) = left {
                    leak.get_or_insert(format!("{kind}: {left} in {redacted}"));
                }
                assert_eq!(redact(&redacted), redacted, "{kind}, twice");
            }
        }
        match leak {
            Some(leak) => writeln!(leaks, "{leak}").unwrap(),
            None => masked += 1,
        }
    }
    assert_eq!((masked, kinds), MASKED, "not masked:\n{leaks}");
}

#[test]
fn harmless_texts_stay() {
    let texts: Vec<&str> = rows(HARMLESS).collect();
    let mut report = String::new();
    let mut changed = 0;
    for text in &texts {
        let redacted = redact(text);
        if redacted != *text {
            changed += 1;
            writeln!(report, "{text}\n  became {redacted}").unwrap();
        }
    }
    assert_eq!((changed, texts.len()), CHANGED, "{report}");
}

/// A name goes into keys, links and calls: only what is surely secret is masked in it.
#[test]
fn names_stay_readable() {
    for name in [
        "sk-orders-daily-load",
        "xoxa-daily",
        "password-reset-daily",
        "api key refresh",
        "token_cleanup_2025",
        "4111111111111111",
        "+4915123456789",
        "Login: etl password=rotation",
        "jane.doe@contoso.com's Cluster",
    ] {
        assert_eq!(redact_name(name), name);
    }
    for (name, masked) in [
        (
            "job ghp_0a1b2c3d4e5f60718293a4b5c6d7e8f90123",
            "job ***bbe4fb",
        ),
        (
            "postgres://etl:hunter2@db/x",
            "postgres://etl:***f52fbd@db/x",
        ),
    ] {
        assert_eq!(redact_name(name), masked);
    }
}
