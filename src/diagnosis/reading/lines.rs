//! Log lines: their levels, what was handled, and the exception that ended the run.
//!
//! In: a text of any kind. Out: its spans with their voices. A *record* is a line with a level and the lines that
//! belong to it; without levels every line is one, and a traceback. The terminal error is the last record that
//! raised something with what was said at level ERROR after it; without one, all errors. Lines below ERROR,
//! handled retries and the output of child processes are around it; what a log reader says about itself is left out.

use std::sync::LazyLock;

use regex::Regex;

use super::Span;
use crate::evidence::Voice;

/// How far into a line its level is looked for, in bytes.
const HEAD: usize = 200;

/// How much of a line is searched for words, in bytes.
const LINE: usize = 2000;

/// What kind of record a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// None: words of their own.
    Plain,
    /// DEBUG, INFO: a traceback without a level that follows is not its own.
    Told,
    /// WARNING: what follows, even a traceback, was handled.
    Warned,
    Error,
    /// Output of a child process that the log repeats, without a level below ERROR of its own.
    Child,
    /// The log reader about itself.
    Reader,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own about the record"
)]
struct Record {
    level: Level,
    span: Span,
    raised: bool,
    handled: bool,
    epilogue: bool,
    /// It says only that a task or a command failed.
    wraps: bool,
    /// It says that something is wrong.
    complains: bool,
}

impl Record {
    fn is_error(&self) -> bool {
        matches!(self.level, Level::Plain | Level::Error)
    }
}

/// The text's spans with their voices; what a log reader says about itself is a [`Voice::Record`]. `is_name`: does a name
/// begin there?
pub(super) fn voices(
    text: &str,
    given: Voice,
    is_name: impl Fn(usize) -> bool,
) -> Vec<(Voice, Span)> {
    if given == Voice::Record {
        return Vec::new();
    }
    let records = records(text, is_name);
    let last_error = records.iter().rposition(Record::is_error);
    let end = end(&records);
    let levelled = records.iter().any(|record| record.level != Level::Plain);
    let inner = inner(&records, end);
    records
        .iter()
        .enumerate()
        .map(|(number, record)| {
            // The line behind an error may say that it was dealt with.
            let handled_next = || {
                let next = records.get(number + 1);
                record.level == Level::Error
                    && next.is_some_and(|next| next.handled && !next.is_error())
            };
            let handled =
                (record.handled || handled_next()) && last_error.is_some_and(|last| number < last);
            let of_inner = inner.is_some_and(|inner| number >= inner);
            let voice = match record.level {
                Level::Reader => Voice::Record,
                Level::Told | Level::Warned => Voice::Log,
                _ if handled => Voice::Log,
                Level::Child if of_inner && given != Voice::Beside => Voice::Terminal,
                Level::Child => Voice::Beside,
                // The first line of a text that is no log is its headline.
                Level::Plain if number == 0 && !levelled => given,
                Level::Plain | Level::Error if number < end => Voice::Beside,
                // A log without levels tells; only what it raised is an error for certain.
                Level::Plain if given == Voice::Log && !record.raised => Voice::Log,
                Level::Plain | Level::Error if given == Voice::Beside => Voice::Beside,
                Level::Plain | Level::Error => Voice::Terminal,
            };
            (voice, record.span)
        })
        .collect()
}

/// Where the error of the child process begins whose end is all that the log's own error says.
fn inner(records: &[Record], end: usize) -> Option<usize> {
    let own = records.get(end..)?.iter().filter(|r| r.is_error());
    if !own.clone().all(|record| record.wraps) {
        return None;
    }
    let of_child = |test: &dyn Fn(&Record) -> bool| {
        records
            .iter()
            .rposition(|r| r.level == Level::Child && !r.handled && test(r))
    };
    of_child(&|record| record.raised).or_else(|| of_child(&|record| record.complains))
}

/// Does the text hold only what a log reader says about itself?
pub(super) fn is_only_reader(text: &str, is_name: impl Fn(usize) -> bool) -> bool {
    let mut said = records(text, is_name)
        .into_iter()
        .filter(|record| {
            let said = text.get(record.span.start..record.span.end);
            said.is_some_and(|said| !said.trim().is_empty())
        })
        .peekable();
    said.peek().is_some() && said.all(|record| record.level == Level::Reader)
}

/// The record with which the terminal error begins.
fn end(records: &[Record]) -> usize {
    let raised = |test: &dyn Fn(&Record) -> bool| {
        records
            .iter()
            .rposition(|r| r.raised && r.is_error() && test(r))
    };
    // What an exception only passes on stands before it: all errors, or what a child process printed.
    let of_child = records.iter().any(|r| r.level == Level::Child);
    let last = raised(&|r| !r.wraps).or_else(|| raised(&|_| of_child));
    let Some(raised) = last else {
        return 0;
    };
    // The run went on after what was raised, and ended with an error of its own.
    let went_on = |number: usize| {
        records
            .get(raised..number)
            .is_some_and(|between| between.iter().any(|r| !r.is_error()))
    };
    records
        .iter()
        .enumerate()
        .skip(raised + 1)
        .find(|(number, record)| {
            record.level == Level::Error && !record.epilogue && went_on(*number)
        })
        .map_or(raised, |(number, _)| number)
}

fn records(text: &str, is_name: impl Fn(usize) -> bool) -> Vec<Record> {
    let mut out: Vec<Record> = Vec::new();
    let mut before = "";
    for (start, line) in lines(text) {
        let span = Span {
            start,
            end: start + line.len(),
        };
        let words = start + line.len() - line.trim_start().len();
        let level = level(line).filter(|level| *level != Level::Reader || !is_name(words));
        let raises = raises(line) || level == Some(Level::Child) && raises(said_by_child(line));
        let opens = match (level, out.last().map(|record| record.level)) {
            (Some(level), _) => Some(level),
            (None, None | Some(Level::Plain | Level::Told | Level::Child | Level::Reader))
                if raises && !is_chained(before) =>
            {
                Some(Level::Plain)
            }
            (None, Some(Level::Error)) if raises && is_other(before) => Some(Level::Error),
            (None, Some(Level::Plain)) if out.last().is_some_and(|record| !record.raised) => {
                Some(Level::Plain)
            }
            (None, None | Some(Level::Reader)) => Some(Level::Plain),
            (None, Some(_)) => None,
        };
        if !line.trim().is_empty() {
            before = line;
        }
        match (opens, out.last_mut()) {
            (None, Some(record)) => {
                record.span.end = span.end;
                record.raised |= raises;
                // A traceback's last line says whether it only passes something on.
                if raises && !line.starts_with("Traceback") {
                    record.wraps = matches(&WRAPS, line);
                }
            }
            (opens, _) => out.push(Record {
                level: opens.unwrap_or(Level::Plain),
                span,
                raised: raises,
                handled: matches(&HANDLED, line),
                epilogue: matches(&EPILOGUE, line),
                wraps: matches(&WRAPS, line),
                complains: matches(&COMPLAINS, line) && !matches(&EPILOGUE, line),
            }),
        }
    }
    out
}

/// The lines with their ends, at their places; `\n` as two characters ends a line as well.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let escaped = !text.trim_end().contains('\n');
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let end = if escaped {
            rest.find("\\n").map(|end| end + 2)
        } else {
            rest.find('\n').map(|end| end + 1)
        };
        let line = rest.get(..end.unwrap_or(rest.len()))?;
        let start = at;
        at += line.len();
        Some((start, line))
    })
}

type Pattern = LazyLock<Option<Regex>>;

macro_rules! pattern {
    ($(#[$about:meta])* $name:ident, $($piece:literal),+ $(,)?) => {
        $(#[$about])*
        static $name: Pattern = LazyLock::new(|| Regex::new(concat!($($piece),+)).ok());
    };
}

pattern!(
    /// `[time] {file.py:1} LEVEL - `, as Airflow and others write it.
    LOCATED,
    r"^\s*(?:\[[^\]\n]{5,60}\]\s*)?(?:\{+([\w.\-<>/]+):\d+\}+|\[([\w.\-]+\.py):\d+\])\s+",
    r"(TRACE|DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)(?-u:\b)"
);
pattern!(
    /// A time, perhaps a thread and a logger, and a level. Names are of alphabets, kana, Chinese or Hangul: with all of
    /// `\w` so many times, the pattern would take 7 MB.
    TIMED,
    r"^\W{0,3}(?:\d{2,4}[-/.]\d{2}[-/.]\d{2,4})?[T ,]*\d{1,2}:\d{2}(?::\d{2})?[.,]?\d*\s?(?:Z|UTC|[+-]\d{2}:?\d{2})?[\])]?[\s\-|]*",
    r"(?:[\[({]?[[\w&&[\x00-\u{7FF}\u{3040}-\u{30FF}\u{4E00}-\u{D7A3}]].$\-:#/@ ]{0,60}?[\])}]?[\s\-|:]+){0,2}?[\[({<]*",
    r"(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|debug|info|warning|error|critical)(?-u:\b)\s*[\])}>:|\-]*(?:\s|$)"
);
pattern!(
    /// A level at the head of the line.
    HEADED,
    r"^\s*[\[(<]?(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|Warning|ERROR|SEVERE|CRITICAL|FATAL)[\])>]?(?::|\s{1,}-\s|\s+[\w.$\[\]]+[:\s]|\s*\|)"
);
pattern!(
    /// A level in brackets, however it is written: `[warn] `.
    BRACKETED,
    r"^\s*\[(?i:(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL))\]\s"
);
pattern!(
    /// A structured line: JSON or `key=value`.
    STRUCTURED,
    r#"^\s*(?:\{.{0,150}?"(?:level|levelname|severity|log\.level|loglevel)"\s*:\s*"|(?:\S+=\S+\s+){0,4}level=)"#,
    r"([A-Za-z]+)"
);
pattern!(
    /// Kubernetes' and glog's form: `W0727 09:15:31.0  12 file.go:1] `.
    GLOG,
    r"^([IWEF])\d{4} \d{2}:\d{2}:\d{2}"
);
pattern!(
    /// A log reader about itself.
    READER,
    r"^\s*(?:\*\*\* |\*\*\*$|::(?:end)?group::|Log message source details|Could not read served logs|Failed to fetch log file from worker",
    r"|Unable to read remote log|Log file does not exist|Reading (?:remote|local) (?:log|file)|Found (?:local files|logs)",
    r"|(?:Failed to load|Trying to get) (?:local )?(?:log|pod logs)|Remote logging .{0,40}(?:failed|not configured)|Fetching from: )"
);
pattern!(
    /// Loggers that repeat what a child process prints.
    CHILD,
    r"^(?:subprocess|process_utils|pod_manager|pod_launcher|kubernetes_pod|pod|docker|ssh|spark_submit|logging_mixin|bash|local|ecs|base_aws|batch_client|cloud_run|dataproc|livy|shell)\.py$"
);
pattern!(
    CHILD_STREAM,
    r"(?-u:\b)(?:chan|source|logger)=.?(?:task\.)?(?:stdout|stderr)(?-u:\b)"
);
pattern!(
    /// It was dealt with: the run went on.
    HANDLED,
    r"(?i)(?-u:\b)(?:retrying|will (?:be )?retr(?:y|ied)|re-?try(?:ing)? (?:attempt )?#?\d+|retry in|retries left|(?:attempt|try) #?\d+ ?(?:of|/) ?\d+",
    r"|sleeping|sleep for|backing off|back-?off|waiting \d+|trying again|try again in|falling back|fell back|fallback|ignoring|ignored|suppressed",
    r"|(?:attempt|try) #?\d+ succeeded|recovered|reconnect(?:ed|ing)|continuing|was handled|succeeded after|resolved itself)(?-u:\b)"
);
pattern!(
    /// What a framework says when all is over.
    EPILOGUE,
    r"(?i)(?:failed to execute (?:job|task)|(?-u:\b)done\. pass=|marking task as|task exited with return code|shutdown hook|process exited|stopping|exiting)"
);
pattern!(
    /// An error that only says that a task or a command failed.
    WRAPS,
    r"(?i)(?:task failed with exception|(?:bash|ssh|shell) command failed|non-zero exit (?:code|status)|exited with (?:return )?code|exit status = \d",
    r"|returned a failure|pod .{0,200}failed|cannot execute: |docker container failed|command .{0,300}returned|error code is: \d|failed to execute (?:job|task)|CalledProcessError|dbt command failed)"
);
pattern!(
    /// A line of a program's output that says that something is wrong.
    COMPLAINS,
    r"(?i)(?:(?-u:\b)errors?(?-u:\b)|failed|fatal|cannot|could not|couldn't|unable|denied|refused|exception|not found|no such|invalid)"
);
pattern!(
    /// A line that begins with an exception.
    RAISED,
    r"^(?:Traceback \(most recent call last\)|(?:Exception in thread|Caused by:|Unhandled exception)|(?:[A-Za-z_][\w$]*\.)*[A-Z][\w$]*(?:Error|Exception|Exit|Interrupt|Timeout|Failure|NotFound|Fault)(?:[:(]|\s*(?:\\n)?\s*$))"
);

/// The beginning of a line says what kind of line it is.
fn matches(pattern: &Pattern, text: &str) -> bool {
    let text = text
        .get(..text.floor_char_boundary(LINE.min(text.len())))
        .unwrap_or_default();
    pattern
        .as_ref()
        .is_some_and(|pattern| pattern.is_match(text))
}

fn raises(line: &str) -> bool {
    matches(&RAISED, line)
}

/// The exception that follows only wraps the one before: they are one.
fn is_chained(before: &str) -> bool {
    before.contains("direct cause of the following exception")
        || before.trim_start().starts_with("File \"")
        || before.starts_with([' ', '\t'])
        || raises(before)
}

/// The exception that follows is another one, raised while the first was handled.
fn is_other(before: &str) -> bool {
    before.contains("another exception occurred")
}

fn level(line: &str) -> Option<Level> {
    if matches(&READER, line) {
        return Some(Level::Reader);
    }
    let head = line.get(..line.floor_char_boundary(HEAD.min(line.len())))?;
    if let Some(found) = LOCATED.as_ref().and_then(|pattern| pattern.captures(head)) {
        let level = of_word(found.get(3)?.as_str())?;
        let file = found.get(1).or_else(|| found.get(2));
        let from_child = file.is_some_and(|file| matches(&CHILD, file.as_str()));
        return Some(match level {
            Level::Told if from_child => child(head.get(found.get(0)?.end()..)?),
            level => level,
        });
    }
    let found = [&TIMED, &HEADED, &BRACKETED, &STRUCTURED, &GLOG]
        .iter()
        .find_map(|pattern| pattern.as_ref()?.captures(head)?.get(1))?;
    let level = of_word(found.as_str())?;
    Some(match level {
        Level::Told if matches(&CHILD_STREAM, line) => child(head.get(found.end()..)?),
        level => level,
    })
}

/// What a child printed, without the head that the log puts before it.
fn said_by_child(line: &str) -> &str {
    LOCATED
        .as_ref()
        .and_then(|pattern| pattern.find(line))
        .and_then(|head| line.get(head.end()..))
        .map_or("", |said| said.strip_prefix(" - ").unwrap_or(said))
}

/// The level of what a child printed.
fn child(said: &str) -> Level {
    let said = said.trim_start_matches([' ', '-', ']']);
    // The shell's own word at the end of a command.
    if said.starts_with("Command exited with return code") {
        return Level::Told;
    }
    let inner = [&TIMED, &HEADED, &BRACKETED, &STRUCTURED, &GLOG]
        .iter()
        .find_map(|pattern| pattern.as_ref()?.captures(said)?.get(1))
        .and_then(|word| of_word(word.as_str()));
    match inner {
        Some(below @ (Level::Told | Level::Warned)) => below,
        _ => Level::Child,
    }
}

fn of_word(word: &str) -> Option<Level> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" | "debug" | "info" | "information" | "notice" | "verbose" | "i" => Level::Told,
        "warn" | "warning" | "w" => Level::Warned,
        "error" | "err" | "severe" | "critical" | "fatal" | "panic" | "emerg" | "alert" | "e"
        | "f" => Level::Error,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(Voice, &str)> {
        voices(text, Voice::Terminal, |_| false)
            .into_iter()
            .map(|(voice, span)| (voice, text.get(span.start..span.end).unwrap().trim_end()))
            .collect()
    }

    #[test]
    fn levels_of_many_loggers() {
        for (line, expected) in [
            (
                "[2026-11-29T02:01:20.100+0000] {client.py:88} WARNING - x",
                Some(Level::Warned),
            ),
            (
                "2026-11-29 02:01:20,100 [Führung-1] [планировщик] [東京] WARN x",
                None,
            ),
            (
                "2026-11-29 02:01:20,100 [Führung-1] [планировщик] WARN x",
                Some(Level::Warned),
            ),
            ("2026-11-29 02:01:20 [東京-1] WARN x", Some(Level::Warned)),
            (
                "[2023-09-08, 10:14:54 +07] {subprocess.py:94} INFO - x",
                Some(Level::Child),
            ),
            (
                "[2023-09-08, 10:14:54 +07] {subprocess.py:94} INFO - 10:00:00 WARNING x",
                Some(Level::Warned),
            ),
            (
                "[timeout.py:68] ERROR - Process timed out",
                Some(Level::Error),
            ),
            (
                "25/07/27 09:15:31 WARN TaskSetManager: Lost task",
                Some(Level::Warned),
            ),
            (
                "2026-07-27 09:15:31,123 - my.logger - ERROR - x",
                Some(Level::Error),
            ),
            (
                "2026-07-27 09:15:31.123 [main] INFO c.x.Y: x",
                Some(Level::Told),
            ),
            (
                "2026-07-27T09:15:31.123Z ERROR Task failed",
                Some(Level::Error),
            ),
            (
                "2026-07-27T09:15:31.123Z [warning  ] slow",
                Some(Level::Warned),
            ),
            (
                "2026-07-27T09:15:31.123Z [info     ] x chan=stdout: source=\"task\"",
                Some(Level::Child),
            ),
            (
                "2026-07-27 09:15:31,123 - my.logger - INFO - error: no gcc",
                Some(Level::Told),
            ),
            (
                "2026-07-27 09:15:31,123 - my.logger - WARNING - conversion error",
                Some(Level::Warned),
            ),
            ("[warn] slow", Some(Level::Warned)),
            ("[INFO] Downloading", Some(Level::Told)),
            ("[error] lost", Some(Level::Error)),
            ("WARNING:root:slow", Some(Level::Warned)),
            ("ERROR: Could not find a version", Some(Level::Error)),
            (
                "{\"ts\":\"t\",\"level\":\"warning\",\"msg\":\"x\"}",
                Some(Level::Warned),
            ),
            ("time=t level=info msg=x", Some(Level::Told)),
            ("W0727 09:15:31.000000 12 file.go:1] x", Some(Level::Warned)),
            ("*** Found local files:", Some(Level::Reader)),
            ("KeyError: 'INFO'", None),
            ("The job failed with ERROR 5", None),
            ("  File \"x.py\", line 1", None),
        ] {
            assert_eq!(level(line), expected, "{line}");
        }
    }

    #[test]
    fn the_last_exception_ended_the_run() {
        let text = "[2026-11-29T02:01:20.1+0000] {client.py:88} WARNING - 429 slow\n\
                    [2026-11-29T02:02:00.1+0000] {client.py:99} ERROR - one file lost\n\
                    [2026-11-29T02:10:00.1+0000] {t.py:1} ERROR - Task failed with exception\n\
                    Traceback (most recent call last):\n  File \"a.py\"\nKeyError: 'c'\n\
                    [2026-11-29T02:10:00.2+0000] {t.py:2} INFO - Marking task as FAILED";
        let voices: Vec<Voice> = told(text).into_iter().map(|(voice, _)| voice).collect();
        assert_eq!(
            voices,
            [Voice::Log, Voice::Beside, Voice::Terminal, Voice::Log]
        );
    }

    #[test]
    fn a_warning_keeps_its_traceback_and_a_handled_line_is_a_log() {
        let text = "WARNING:root:call failed\nTraceback (most recent call last):\n  File \"a\"\nTimeoutError: x\nERROR:root:stop\nValueError: y";
        assert_eq!(told(text)[0].0, Voice::Log);
        assert_eq!(
            told(text)[1],
            (Voice::Terminal, "ERROR:root:stop\nValueError: y")
        );
        let plain = "429 Too Many Requests, retrying in 20 s\nTraceback (most recent call last):\n  File \"a\"\nKeyError: 'c'";
        assert_eq!(told(plain)[0].0, Voice::Log);
        assert_eq!(told(plain)[1].0, Voice::Terminal);
    }

    #[test]
    fn a_text_without_structure_is_the_error() {
        let text = "Cluster could not start.\nReason: retrying did not help";
        assert!(
            told(text)
                .iter()
                .all(|(voice, _)| *voice == Voice::Terminal)
        );
        assert!(
            told("a \\n b")
                .iter()
                .all(|(voice, _)| *voice == Voice::Terminal)
        );
        assert_eq!(told(""), []);
    }
}
