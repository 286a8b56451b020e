//! The texts that hint at a secret, and the patterns that are tried where a hint was found.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;

use super::commands::COMMANDS;
use super::names::PHRASES;
use super::pattern::pattern;
use super::tokens::TOKENS;

/// What a hint may be the beginning, the middle or the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// Part of a name; a separator and a value may follow.
    Name,
    /// A whole name of other alphabets or of several words.
    Phrase,
    /// `Bearer …`, `Basic …`.
    Scheme,
    /// The token of this row of [`TOKENS`] may start here.
    Token(usize),
    /// `-----BEGIN … PRIVATE KEY-----`.
    Pem,
    /// The first characters of a private key in base64.
    KeyBody,
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
    /// The command of this row of [`COMMANDS`].
    Command(usize),
}

/// Texts and what they hint at.
const HINTS: &[(&str, Hint)] = &[
    ("pass", Hint::Name),
    ("pwd", Hint::Name),
    ("secret", Hint::Name),
    ("securestring", Hint::Name),
    ("key", Hint::Name),
    ("token", Hint::Name),
    ("sig", Hint::Name),
    ("code", Hint::Name),
    ("credential", Hint::Name),
    ("auth", Hint::Name),
    ("cookie", Hint::Name),
    ("sessid", Hint::Name),
    ("sessionid", Hint::Name),
    ("assertion", Hint::Name),
    ("samlresponse", Hint::Name),
    ("mnemonic", Hint::Name),
    ("_pat", Hint::Name),
    ("otp", Hint::Name),
    ("pin", Hint::Name),
    ("cvv", Hint::Name),
    ("cvc", Hint::Name),
    ("ssn", Hint::Name),
    ("bearer", Hint::Scheme),
    ("basic", Hint::Scheme),
    ("-----begin", Hint::Pem),
    ("---- begin", Hint::Pem),
    ("private-lines:", Hint::Pem),
    ("mii", Hint::KeyBody),
    ("mhccaqee", Hint::KeyBody),
    ("mighagea", Hint::KeyBody),
    ("mc4caqaw", Hint::KeyBody),
    ("b3blbnnzac1rzxktdje", Hint::KeyBody),
    ("://", Hint::Authority),
    ("@", Hint::Address),
    ("%40", Hint::Address),
    ("q~", Hint::Inside),
    ("azfu", Hint::Inside),
    ("azse", Hint::Inside),
    ("azca", Hint::Inside),
    ("acdb", Hint::Inside),
    ("acog", Hint::Inside),
    ("azdo", Hint::Inside),
    ("jqqj", Hint::Inside),
    ("=", Hint::Padding),
    ("hooks.slack.com/", Hint::Path),
    ("webhook.office.com/", Hint::Path),
    ("outlook.office.com/webhook/", Hint::Path),
    ("discord.com/api/webhooks/", Hint::Path),
    ("discordapp.com/api/webhooks/", Hint::Path),
    ("hooks.zapier.com/hooks/", Hint::Path),
    ("maker.ifttt.com/", Hint::Path),
    ("api.telegram.org/bot", Hint::Path),
    ("events.pagerduty.com/integration/", Hint::Path),
    ("hc-ping.com/", Hint::Path),
    ("jdbc:oracle:", Hint::Oracle),
    (" -u ", Hint::Login),
    (" --user ", Hint::Login),
    (" --proxy-user ", Hint::Login),
    ("identified by ", Hint::Quoted),
    ("_password by ", Hint::Quoted),
];

/// All hints at once, without regard to ASCII case, and what each stands for.
pub(super) struct Hints {
    automaton: AhoCorasick,
    meanings: Vec<Hint>,
}

impl Hints {
    /// Where hints end, in this order, with where they start; overlapping ones too.
    pub(super) fn find<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (std::ops::Range<usize>, Hint)> + 'a {
        self.automaton
            .find_overlapping_iter(text)
            .filter_map(|found| {
                Some((
                    found.range(),
                    *self.meanings.get(found.pattern().as_usize())?,
                ))
            })
    }
}

/// The hints of names, phrases, tokens and commands.
#[expect(
    clippy::expect_used,
    reason = "constant patterns, compiled in every test run"
)]
pub(super) static ALL: LazyLock<Hints> = LazyLock::new(|| {
    let mut texts: Vec<String> = Vec::new();
    let mut meanings = Vec::new();
    let mut add = |text: String, meaning| {
        texts.push(text);
        meanings.push(meaning);
    };
    for (text, meaning) in HINTS {
        add((*text).to_owned(), *meaning);
    }
    for phrase in PHRASES {
        add((*phrase).to_owned(), Hint::Phrase);
        // The automaton knows the case of ASCII only.
        if !phrase.is_ascii() {
            let mut letters = phrase.chars();
            let capital: String = letters
                .next()
                .into_iter()
                .flat_map(char::to_uppercase)
                .chain(letters)
                .collect();
            add(phrase.to_uppercase(), Hint::Phrase);
            add(capital, Hint::Phrase);
        }
    }
    for (row, (begins, _)) in TOKENS.iter().enumerate() {
        add((*begins).to_owned(), Hint::Token(row));
    }
    for (row, (command, _)) in COMMANDS.iter().enumerate() {
        add((*command).to_owned(), Hint::Command(row));
    }
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::ContiguousNFA))
        .build(texts)
        .expect("hints are few and short");
    Hints {
        automaton,
        meanings,
    }
});

/// From the end of a name to the beginning of its value: `=`, `": "`, `\":\"`, `%3D`, `","value":"`, `" value="`, `</name><value>`.
pub(super) static SEPARATOR: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^(?x) (?: \\+ (?: u001[bB] | x1[bB] | 033 | e ) \[ [0-9;]{0,9} m )? (?:
        (?P<key_quote> \\* (?: ["'] | u0022 | u0027 ) | &quot; | &\#34; | %22 )?  \]? \s{0,8}
        (?: : \s{0,8} \{ \s{0,40} \\* ["'] (?i:value) \\* ["'] \s{0,8} :
          | (?P<sign> ::\s | := | => | -> | → | ={1,3} | : | %(?:25){0,3}3[dDaA] | \\*u003[dDaA] | &\#61; | &\#58; | &\#x3[dDaA]; | &equals; )
          | , \s{0,8} \\* ["'] (?: (?i:default)? (?i:value) ) \\* ["'] \s{0,8} :
          | \s{1,8} (?i:value) \s{0,2} = \s{0,2}
          | </name> \s{0,40} <value>
          | (?: \n | \\+n ) \s{0,24} (?i:value) \s{0,2} : )
        | \\* ["'] \s{0,4} > | \] \s? ; )
        \s{0,40}"#,
    )
});
/// Between a name and a value that are arguments: `set("fs.azure.account.key", "…")`.
pub(super) static ARGUMENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^\\*["']\s{0,4},\s{0,4}"#));
/// From the name of an XML element to its text.
pub(super) static ELEMENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:\s[^<>\n]{1,160})?>(?:<!\[CDATA\[)?"));
/// Between a name that is called and its argument: `PASSWORD('…')`.
pub(super) static CALL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\(\s{0,4}"));
/// From a name to its value in a sentence: `is`, `for etl was`, a blank.
pub(super) static SAID: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^(?x) ["'”]? (?: [\ \t]{1,4} (?: for | of | für | pour | de | del | der | to ) [\ \t]{1,4} [!-9;<>-~]{1,64} )?
        (?P<is> [\ \t]{1,4} (?: now[\ ] | (?: is | was | has[\ ]been | wurde )[\ ] )? (?: is | was | lautet | ist | war | est | es | era | är | è | é | jest | equals | set[\ ]to | changed[\ ]to | reset[\ ]to )
            [\ \t]{0,4} :? )?
        (?: [\ \t]{1,8} | \\+t ) (?P<quote> \\* ["'`] )? (?P<value> [^\s"'`<>\\]{4,200} )"#,
    )
});
/// The opening quote of a value, escaped or not.
pub(super) static QUOTE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"^[bNruf]{0,2}(?P<quote>\\*["'`]|\\+u00(?:22|27)|&quot;|&#34;|%22)"#)
});
/// Where a secret ends that has no quotes: before white space, `;`, quotes, brackets, and line ends written as `\n`.
pub(super) static BARE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"^(?:\\[^nrtu"'\\\s]|\\\\[^nrtu"'\\\s]|[^\s;"'`<>\\])+"#));
/// The tokens, row by row, each compiled when its beginning is first seen.
static SHAPES: LazyLock<Vec<OnceLock<Regex>>> =
    LazyLock::new(|| TOKENS.iter().map(|_| OnceLock::new()).collect());

/// The pattern of this row of [`TOKENS`], anchored at its beginning.
pub(super) fn shape(row: usize) -> Option<&'static Regex> {
    let (begins, goes_on) = TOKENS.get(row)?;
    Some(
        SHAPES
            .get(row)?
            .get_or_init(|| pattern(&format!("^(?-u:{}{goes_on})", regex::escape(begins)))),
    )
}
/// How a private key begins.
pub(super) static PEM: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?i:-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----|Private-Lines: [0-9]+)",
    )
});
/// How any such block ends, or the next one begins.
pub(super) static PEM_NEXT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"-{4,5} ?(?P<end>END|BEGIN) [A-Z0-9 ]*-{4,5}"));
/// The body of a block without anything between, also with its line ends written as `\n`.
pub(super) static PEM_BODY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^(?:(?:\s|\\+[nr]|["',])*(?:(?:MI[A-Za-z0-9+/]{3,}|[A-Za-z0-9+/]{16,})={0,2}|(?:Proc-Type|DEK-Info):[ -~]{0,80}))*"#,
    )
});
/// A line of a log that carries a line of a key: it ends in base64.
pub(super) static PEM_LINE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^[ -~]{0,200}?(?:[A-Za-z0-9+/]{40,}={0,2}|[A-Za-z0-9+/]{2,}={1,2})["',]{0,3}\r?(?:\n|\\+n|\\*"|$)"#,
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
