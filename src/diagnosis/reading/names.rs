//! Names: what a field or the text itself calls a pipeline, a table, a path. A name says nothing about the error.
//!
//! In: a text and the names that fields give. Out: spans to mask. Masked are paths and URLs; vendors' boilerplate; the places where a
//! vendor's own sentence has a name (`Operation on target <name> failed`); what is quoted, unless the word before it
//! says that somebody speaks (`message: "…"`); and known names, wherever they stand as identifiers, quoted, or after
//! the word for what they name. A known name that is an ordinary word is never masked in prose.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::Span;
use super::quotes::{NOUNS, is_noun, quoted};

/// Last words of the fields that carry names.
const FIELD_NOUNS: [&str; 10] = [
    "id", "owner", "operator", "sink", "source", "tag", "tags", "team", "title", "alert",
];

/// Names that fields give.
#[derive(Debug, Default)]
pub(in crate::diagnosis) struct Known {
    /// Written as nobody writes prose: masked wherever they stand alone. Lower case.
    identifiers: Vec<String>,
    /// Ordinary words, and words of the catalog: masked where they are quoted or announced. Lower case.
    words: Vec<String>,
}

impl Known {
    /// Sorts the names. `is_sign`: is this name a word of the catalog as a whole?
    pub(in crate::diagnosis) fn of<'a>(
        names: impl Iterator<Item = Cow<'a, str>>,
        is_sign: impl Fn(&str) -> bool,
    ) -> Self {
        let all: BTreeSet<String> = names
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| (3..=512).contains(&name.len()))
            .collect();
        let (identifiers, words) = all
            .into_iter()
            .partition(|name| is_identifier(name) && !is_number(name) && !is_sign(name));
        Self { identifiers, words }
    }
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_digit())
}

/// Nobody writes it in prose: no spaces, and `_`, `/`, `\`, a digit, or several dots or hyphens.
fn is_identifier(name: &str) -> bool {
    let marks = name.bytes().filter(|b| matches!(b, b'-' | b'.')).count();
    !name.contains(char::is_whitespace)
        && (marks > 0
            || name
                .bytes()
                .any(|b| matches!(b, b'_' | b'/' | b'\\') || b.is_ascii_digit()))
        || name.contains('/') && name.starts_with(['/', '\\'])
}

/// Does a field of this name carry the name of something?
pub(in crate::diagnosis) fn is_name_field(field: &str) -> bool {
    let lower = field.to_ascii_lowercase();
    let last = lower
        .rsplit(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or(&lower);
    is_noun(last)
        || FIELD_NOUNS.contains(&last)
        || NOUNS
            .iter()
            .any(|noun| noun.len() > 3 && last.ends_with(noun))
}

/// The spans of names.
#[derive(Debug, Default, Clone)]
pub(in crate::diagnosis) struct Masks {
    /// In quotes, a path, an identifier: what stands inside is no sign. In order, apart from one another.
    pub(in crate::diagnosis) set_off: Vec<Span>,
    /// In the middle of a sentence: what only touches them is no sign either. In order, apart from one another.
    pub(in crate::diagnosis) in_prose: Vec<Span>,
}

impl Masks {
    /// Does a name of a sentence begin there?
    pub(super) fn begin_at(&self, at: usize) -> bool {
        let found = self.in_prose.binary_search_by_key(&at, |name| name.start);
        found.is_ok()
    }
}

/// Finds the names.
pub(super) fn masks(text: &str, known: &Known) -> Masks {
    let mut masks = Masks::default();
    // A pattern runs only where what it needs stands: most texts have little of it.
    let has = |needle: &str| text.contains(needle);
    if has(" failed") || has("lert rule ") || has("Inner activity") {
        found_by(&WRAPPED, text, &mut masks.in_prose);
    }
    if has("://")
        && let Some(url) = URL.as_ref()
    {
        masks.set_off.extend(url.find_iter(text).map(|found| Span {
            start: found.start(),
            end: found.end(),
        }));
    }
    for (needle, pattern) in [
        ("/", &PATH),
        ("\\", &WINDOWS_PATH),
        ("<", &INSTANCE),
        ("e", &BOILERPLATE),
    ] {
        if has(needle) {
            found_by(pattern, text, &mut masks.set_off);
        }
    }
    if has("/") && has(" ") && EXTENSIONS.iter().any(|extension| has(extension)) {
        found_by(&SPACED_PATH, text, &mut masks.set_off);
    }
    quoted(text, &mut masks.set_off);
    of_fields(text, known, &mut masks);
    for spans in [&mut masks.set_off, &mut masks.in_prose] {
        spans.sort_by_key(|span| (span.start, span.end));
        *spans = super::joined(spans.drain(..));
    }
    masks
}

fn found_by(pattern: &Pattern, text: &str, spans: &mut Vec<Span>) {
    let Some(pattern) = pattern.as_ref() else {
        return;
    };
    for found in pattern.captures_iter(text) {
        let names = (1..found.len()).filter_map(|group| found.get(group));
        spans.extend(names.map(|name| Span {
            start: name.start(),
            end: name.end(),
        }));
    }
}

type Pattern = LazyLock<Option<Regex>>;

/// Vendors' sentences with a name in them.
static WRAPPED: Pattern = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i:Operation on target )([^\n]{1,260}?) failed:",
        r"|(?i:Operation on target )([^\n:]{1,260}?) failed(?-u:\b)",
        r"|(?i:Inner activity name: )([^\n]{1,260}?), Error:",
        r"|(?-u:\b)(?:Task|Workload|Job) ([^\n:;]{1,200}?) failed (?:with (?:message|the following)|because one)",
        r"|(?-u:\b)Task ([^\n:;.]{1,200}?) failed\. This caused",
        r"|(?:^|[.;:]\s)(?:Activity|Pipeline|Notebook|Airflow (?:task|DAG)) ([^\n:;.']{1,200}?) failed:",
        r"|(?i:alert rule )([^\n;]{1,200}?);",
    ))
    .ok()
});
static URL: Pattern =
    LazyLock::new(|| Regex::new(r#"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s'"<>)\]}|,;]+"#).ok());
/// A path without spaces: from a slash, or with two slashes, or with an extension.
static PATH: Pattern = LazyLock::new(|| {
    Regex::new(concat!(
        r#"(?:^|[\s'"(=:,\[{<])(/[\w.${}=%+@~#*\-]+(?:/[\w.${}=%+@~#*:\-]*)*)"#,
        r"|(?-u:\b)([\w.$=%+@~\-]+(?:/[\w.$=%+@~\-]+){2,})",
        r"|(?-u:\b)([\w.$=%+@~\-]+/[\w$=%+@~\-]+\.[A-Za-z]\w{0,7})(?-u:\b)",
    ))
    .ok()
});
/// How files end that people give names with spaces.
const EXTENSIONS: [&str; 20] = [
    ".csv", ".tsv", ".txt", ".dat", ".json", ".ndjson", ".xml", ".xls", ".parquet", ".avro",
    ".orc", ".gz", ".zip", ".log", ".py", ".ipynb", ".sql", ".sh", ".jar", ".y",
];
/// A path with spaces in it: it ends with an extension.
static SPACED_PATH: Pattern = LazyLock::new(|| {
    Regex::new(concat!(
        r"([\w.$=%+@~\-]*(?:/[\w.$=%+@~\-]+(?: [\w.()\-]+){0,6}){0,12}/[\w.$=%+@~\-]+(?: [\w()\-]+){0,6}",
        r"\.(?:csv|tsv|txt|dat|json|jsonl|ndjson|xml|xlsx?|parquet|avro|orc|gz|zip|log|py|ipynb|sql|scala|r|sh|jar|whl|egg|ya?ml|toml|pdf|dtsx|dacpac|bak|delta))(?-u:\b)",
    ))
    .ok()
});
static WINDOWS_PATH: Pattern = LazyLock::new(|| {
    Regex::new(r#"((?:(?-u:\b)[A-Za-z]:|\\\\[\w.$\-]+)\\[^\s:*?"'<>|]*(?: [\w().\-]+)*(?:\\[^\s:*?"'<>|]*)*\.\w{1,8}|(?:(?-u:\b)[A-Za-z]:|\\\\[\w.$\-]+)\\[^\s:*?"'<>|]+)"#).ok()
});
/// Airflow's way to name a task instance or a DAG run.
static INSTANCE: Pattern = LazyLock::new(|| {
    Regex::new(r"(<(?:TaskInstance|DagRun|DAG|Task(?:\([^)]*\))?)[: ][^>\n]{1,300}>)").ok()
});

/// Sentences that every message of a vendor ends with: they say where to look, not what was wrong.
static BOILERPLATE: Pattern = LazyLock::new(|| {
    Regex::new(concat!(
        r"((?i:for (?:more|further) (?:details|information)|to learn more|(?:please )?(?:see|visit|refer to) (?:the )?(?:https?:|documentation|docs|link|following link|article)",
        r"|please search error to get more details|(?:please )?check the run page|you can find more)[^\n]{0,240}?)(?:\.\s|\.?\n|\.?$|,Source=|'|\x22)",
    ))
    .ok()
});

/// Where names that fields give stand.
fn of_fields(text: &str, known: &Known, masks: &mut Masks) {
    if known.identifiers.is_empty() && known.words.is_empty() {
        return;
    }
    let lower = text.to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let part = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
    };
    let places = |name: &str| -> Vec<Span> {
        lower
            .match_indices(name)
            .map(|(start, _)| Span {
                start,
                end: start + name.len(),
            })
            .filter(|span| !part(span.start.checked_sub(1)) && !part(Some(span.end)))
            .collect()
    };
    for name in &known.identifiers {
        masks.set_off.extend(places(name));
    }
    for name in &known.words {
        for span in places(name) {
            match is_called(&lower, span) {
                Some(Called::SetOff) => masks.set_off.push(span),
                Some(Called::InProse) => masks.in_prose.push(span),
                None => {}
            }
        }
    }
}

enum Called {
    SetOff,
    InProse,
}

/// Do the characters around an ordinary word make it a name?
fn is_called(text: &str, span: Span) -> Option<Called> {
    let before = text.get(..span.start).unwrap_or_default();
    let behind = text.get(span.end..).unwrap_or_default();
    let quotes = ['\'', '"', '`', '[', '<', '{', '“', '‘'];
    let closing = ['\'', '"', '`', ']', '>', '}', '”', '’'];
    if before.ends_with(quotes) && behind.starts_with(closing) {
        return Some(Called::SetOff);
    }
    // A piece of an identifier or a path.
    let inside = |c: char| matches!(c, '/' | '\\' | '$' | '@');
    let dotted = |rest: &str| {
        rest.starts_with('.') && rest.chars().nth(1).is_some_and(char::is_alphanumeric)
    };
    let dot_before = before
        .strip_suffix('.')
        .is_some_and(|rest| rest.ends_with(char::is_alphanumeric));
    if before.ends_with(inside) || behind.starts_with(inside) {
        return Some(Called::SetOff);
    }
    if (dotted(behind) || dot_before)
        && !text
            .get(span.start..span.end)
            .is_some_and(|name| name.ends_with("exception") || name.ends_with("error"))
    {
        return Some(Called::SetOff);
    }
    let head = before.trim_end_matches([' ', ':', '=']);
    let mark = before
        .get(head.len()..)
        .unwrap_or_default()
        .contains([':', '=']);
    let noun = head
        .rsplit(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    let field = head
        .rsplit(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'))
        .next()
        .unwrap_or_default();
    let ends = behind.is_empty()
        || behind.starts_with(['\n', ',', ';', ')', '|'])
        || behind.starts_with(" (")
        || matches!(behind.strip_prefix('.'), Some(rest) if !rest.starts_with(char::is_alphanumeric))
        || before.ends_with('=') && begins_a_field(behind);
    let told = [" failed", ": ", " of ", " in "]
        .iter()
        .any(|rest| behind.starts_with(rest));
    let called = mark && ends && (is_noun(noun) || is_name_field(field))
        || is_noun(noun) && (told || noun == "named" || noun == "called")
        // What a line begins with is what it speaks of.
        || behind.starts_with(": ") && begins_a_line(before);
    called.then_some(Called::InProse)
}

/// `run_id=…` after a space.
fn begins_a_field(behind: &str) -> bool {
    let field = behind
        .strip_prefix(' ')
        .and_then(|rest| rest.split_once('='));
    field.is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Nothing stands before, or the head of a log line.
fn begins_a_line(before: &str) -> bool {
    let before = before.trim_end_matches([' ', '\t']);
    before.is_empty() || before.ends_with(['\n', ']', '}']) || before.ends_with(" -")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked<'a>(text: &'a str, known: &[&str]) -> Vec<&'a str> {
        let known = Known::of(known.iter().map(|name| Cow::Borrowed(*name)), |_| false);
        let masks = masks(text, &known);
        let mut all = [masks.set_off, masks.in_prose].concat();
        all.sort_by_key(|span| span.start);
        all.into_iter()
            .map(|span| text.get(span.start..span.end).unwrap())
            .collect()
    }

    #[test]
    fn names_in_vendors_sentences() {
        for (text, name) in [
            (
                "Operation on target Check gateway timeout failed: KeyError",
                "Check gateway timeout",
            ),
            (
                "Task Rate limit report failed with message: x",
                "Rate limit report",
            ),
            (
                "Inner activity name: Copy throttled rows, Error: y",
                "Copy throttled rows",
            ),
        ] {
            assert_eq!(masked(text, &[]), [name], "{text}");
        }
    }

    #[test]
    fn paths_and_urls() {
        for (text, path) in [
            (
                "ValueError: /data/rate limit exceeded report/2026.csv has no rows",
                "/data/rate limit exceeded report/2026.csv",
            ),
            (
                "cannot read abfss://raw@lake/connection timeout/x now",
                "abfss://raw@lake/connection",
            ),
            (
                "open /Repos/prod/timeouts/Load now",
                "/Repos/prod/timeouts/Load",
            ),
            (
                "in dags/throttling/daily.py line 3",
                "dags/throttling/daily.py",
            ),
            (
                r"open C:\jobs\rate limit.csv first",
                r"C:\jobs\rate limit.csv",
            ),
        ] {
            assert!(
                masked(text, &[]).contains(&path),
                "{text}: {:?}",
                masked(text, &[])
            );
        }
        assert!(masked("a read/write timeout and/or HTTP/1.1 error", &[]).is_empty());
    }

    #[test]
    fn quotes_hold_names_unless_somebody_speaks() {
        for (text, name) in [
            ("KeyError: 'connection timed out'", "connection timed out"),
            (
                "table 'rate limit exceeded' is empty",
                "rate limit exceeded",
            ),
            (
                "the \"gateway timeout\" pipeline stopped",
                "gateway timeout",
            ),
            ("cannot find `a`", "a"),
        ] {
            assert_eq!(masked(text, &[]), [name], "{text}");
        }
        for text in [
            "failed with message 'Connection refused'",
            "AirflowException('Task received SIGTERM signal')",
            "{\"code\":\"Forbidden\",\"message\":\"not allowed\"}",
            "''Type=System.Net.WebException,Message=timed out,Source=S,'",
            "it doesn't and it won't connect",
            "KeyError: 'Variable x does not exist'",
        ] {
            assert_eq!(masked(text, &[]), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn known_names_are_masked_as_identifiers_and_where_they_are_called() {
        assert_eq!(
            masked("pl-timeout-x failed by timeout", &["pl-timeout-x"]),
            ["pl-timeout-x"]
        );
        assert_eq!(
            masked("the connection timed out", &["timed out"]),
            Vec::<&str>::new()
        );
        assert_eq!(
            masked("pipeline: timed out, then KeyError", &["timed out"]),
            ["timed out"]
        );
        for text in [
            "Activity Timed Out failed",
            "Container timed out: KeyError",
            "Activity timed out of pipeline p: KeyError",
            "KeyError. Pipeline: timed out.",
            "dag_id=timed out, run_id=r1: KeyError",
            "dag_id=timed out run_id=r1: KeyError",
            "Timed out: KeyError",
            "[t] {a.py:1} ERROR - timed out: KeyError",
        ] {
            let found = masked(text, &["Timed out"]);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].eq_ignore_ascii_case("timed out"), "{text}");
        }
        for text in [
            "the call timed out: KeyError",
            "read timed out, then KeyError",
        ] {
            assert_eq!(masked(text, &["Timed out"]), Vec::<&str>::new(), "{text}");
        }
    }
}
