//! The texts that hint at a secret, and the patterns that are tried where a hint was found.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;

/// What a hint may be the beginning, the middle or the name of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hint {
    /// Part of a name; a separator and a value may follow.
    Name,
    /// `Bearer …`, `Basic …`.
    Scheme,
    /// The value starts at the hint and is recognised by its own shape.
    Shape,
    /// `scheme://user:password@host`.
    Authority,
    /// `user@domain`.
    Address,
    /// A mark in the middle of a secret: `…8Q~…`, `…AzFu…`.
    Inside,
    /// A base64 tail: the 44 or 88 characters up to here may be a key.
    Padding,
    /// `hooks.slack.com/services/…`: the path is the secret.
    Path,
    /// `jdbc:oracle:thin:user/password@`.
    Oracle,
    /// `curl -u user:password`.
    Login,
    /// `IDENTIFIED BY 'password'`.
    Quoted,
}

/// Texts and what they hint at.
pub(super) const HINTS: &[(&str, Hint)] = &[
    ("pass", Hint::Name),
    ("pwd", Hint::Name),
    ("secret", Hint::Name),
    ("key", Hint::Name),
    ("token", Hint::Name),
    ("sig", Hint::Name),
    ("code", Hint::Name),
    ("credential", Hint::Name),
    ("authorization", Hint::Name),
    ("cookie", Hint::Name),
    ("bearer", Hint::Scheme),
    ("basic", Hint::Scheme),
    ("eyj", Hint::Shape),
    ("xox", Hint::Shape),
    ("xapp-", Hint::Shape),
    ("dapi", Hint::Shape),
    ("dose", Hint::Shape),
    ("atatt", Hint::Shape),
    ("atctt", Hint::Shape),
    ("ghp_", Hint::Shape),
    ("gho_", Hint::Shape),
    ("ghu_", Hint::Shape),
    ("ghs_", Hint::Shape),
    ("ghr_", Hint::Shape),
    ("github_pat_", Hint::Shape),
    ("glpat-", Hint::Shape),
    ("npm_", Hint::Shape),
    ("akia", Hint::Shape),
    ("asia", Hint::Shape),
    ("aiza", Hint::Shape),
    ("ya29.", Hint::Shape),
    ("sk-", Hint::Shape),
    ("sk_live_", Hint::Shape),
    ("sg.", Hint::Shape),
    ("gaaaaa", Hint::Shape),
    ("-----begin", Hint::Shape),
    ("://", Hint::Authority),
    ("@", Hint::Address),
    ("%40", Hint::Address),
    ("q~", Hint::Inside),
    ("azfu", Hint::Inside),
    ("=", Hint::Padding),
    ("hooks.slack.com/", Hint::Path),
    ("webhook.office.com/", Hint::Path),
    ("discord.com/api/webhooks/", Hint::Path),
    ("jdbc:oracle:", Hint::Oracle),
    (" -u ", Hint::Login),
    (" --user ", Hint::Login),
    ("identified by ", Hint::Quoted),
];

/// All hints at once, without regard to case.
#[expect(
    clippy::expect_used,
    reason = "constant patterns, compiled in every test run"
)]
pub(super) static AUTOMATON: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .build(HINTS.iter().map(|(text, _)| text))
        .expect("hints are few and short")
});

#[expect(
    clippy::expect_used,
    reason = "constant patterns, compiled in every test run"
)]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// From the end of a name to the beginning of its value: `=`, `": "`, `\":\"`, `%3D`, `","value":"`.
pub(super) static SEPARATOR: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^(?x)
        (?P<key_quote> \\* (?: ["'] | u0022 | u0027 ) | &quot; | &\#34; | %22 )?  \]? \s{0,8}
        (?: (?P<sign> := | => | ={1,3} | : | %3[dDaA] )
          | , \s{0,8} \\* ["'] (?: (?i:default)? (?i:value) ) \\* ["'] \s{0,8} : )
        \s{0,40}"#,
    )
});
/// The opening quote of a value, escaped or not.
pub(super) static QUOTE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"^[bNruf]{0,2}(?P<quote>\\*["'`]|\\+u00(?:22|27)|&quot;|&#34;|%22)"#)
});
/// Where a secret ends that has no quotes: before white space, `;`, quotes, brackets, and line ends written as `\n`.
pub(super) static BARE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^(?:\\[^nrtu"'\\\s]|\\\\[^nrtu"'\\\s]|[^\s;"'`<>\\])+"#));
/// Secrets with a shape of their own; anchored at the hint.
pub(super) static SHAPES: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?x-u:
        eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,4}
        | eyJ(?:hbGciOi|0eXAiOi)[A-Za-z0-9_-]*
        | xox[a-z][.-][A-Za-z0-9._-]{4,}
        | xapp-[A-Za-z0-9-]{4,}
        | (?:dapi|dose)[0-9a-z]{16,}(?:-[0-9]+)?
        | AT[AC]TT[A-Za-z0-9_=.-]{8,}
        | gh[pousr]_[A-Za-z0-9]{16,}
        | github_pat_[A-Za-z0-9_]{16,}
        | glpat-[A-Za-z0-9_-]{16,}
        | npm_[A-Za-z0-9]{30,}
        | A(?:KIA|SIA)[A-Z2-7]{16}
        | AIza[A-Za-z0-9_-]{30,}
        | ya29\.[A-Za-z0-9_-]{20,}
        | sk-[A-Za-z0-9_-]{20,}
        | sk_live_[A-Za-z0-9]{16,}
        | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
        | gAAAAA[A-Za-z0-9_-]{20,}={0,2}
        )",
    )
});
/// A PEM block, also with its line ends written as `\n`, also cut off before its end.
pub(super) static PEM: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s:,\\]|-[A-Z0-9])*(?:-----END [A-Z0-9 ]*-----)?",
    )
});
/// What follows `Bearer` or `Basic`.
pub(super) static SCHEME_VALUE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:\s{1,8}|%20|\+)(?P<value>[A-Za-z0-9._~+/=:-]+)"));
/// `thin:user/password@`.
pub(super) static ORACLE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^(?i:thin|oci8?):[^\s/"'@]{1,64}/(?P<value>[^\s"'@]+)@"#));

/// `user:password`.
pub(super) static LOGIN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^["']?[^\s:"'=]{1,64}:(?P<value>[^\s"']+)"#));
