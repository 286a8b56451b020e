//! `aiops-rca diagnose`: root causes of error texts, offline.
//!
//! In: NDJSON lines, or plain error texts from files or standard input. Out: one answer per line (NDJSON), one
//! JSON array, or text that a person likes to read. It streams: a line is answered before the next is read.
//! It does not know clap, files' globs or terminals: the caller says whether there is one ([`Options`]).

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use serde_json::Value;

use crate::diagnosis::{Case, Diagnosis, Quote, Severity, diagnose};
use crate::failure::Source;
use crate::redaction::{clean, one_line};

/// The longest line or text that is read, in bytes; a longer one is an error of its own.
const LINE_CAP: usize = 4 * 1024 * 1024;
/// After this many answers progress is shown, and again after each as many more.
const PROGRESS: usize = 5000;

/// Arguments of `diagnose`.
#[derive(Debug, clap::Args)]
pub struct DiagnoseArguments {
    /// Files with error texts; `-` or none: standard input
    files: Vec<PathBuf>,
    /// How the answers are written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// `diagnose` over the real streams.
pub fn main(arguments: &DiagnoseArguments) -> ExitCode {
    let options = Options {
        files: arguments.files.clone(),
        format: arguments.format,
        colour: io::stdout().is_terminal(),
        progress: io::stderr().is_terminal(),
    };
    ExitCode::from(run(
        &options,
        io::stdin(),
        io::stdout().lock(),
        io::stderr(),
    ))
}

/// How the answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON array.
    Json,
    /// One JSON object a line, from one JSON object a line.
    Ndjson,
}

/// What the command line asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The files to read; none, or `-`, is standard input.
    pub files: Vec<PathBuf>,
    /// How the answers are written.
    pub format: Format,
    /// Are colours wanted (standard output is a terminal)?
    pub colour: bool,
    /// Is progress wanted (standard error is a terminal)?
    pub progress: bool,
}

/// Runs the command; gives the exit status.
pub fn run(
    options: &Options,
    stdin: impl Read,
    mut stdout: impl Write,
    mut stderr: impl Write,
) -> u8 {
    let outcome = match options.format {
        Format::Ndjson => ndjson(options, stdin, &mut stdout, &mut stderr),
        Format::Json | Format::Text => texts(options, stdin, &mut stdout, &mut stderr),
    };
    match outcome.and_then(|clean| stdout.flush().map(|()| clean)) {
        Ok(true) => 0,
        Ok(false) => 1,
        // A closed pipe (`| head`) is the reader's wish.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(stderr, "aiops-rca diagnose: {error}");
            1
        }
    }
}

/// The inputs in order; a file that cannot be opened is reported and skipped.
fn each_input(
    options: &Options,
    stdin: impl Read,
    stderr: &mut impl Write,
    mut read: impl FnMut(&str, &mut dyn BufRead) -> io::Result<bool>,
) -> io::Result<bool> {
    let mut stdin = BufReader::new(stdin);
    if options.files.is_empty() {
        return read("-", &mut stdin);
    }
    let mut clean = true;
    for path in &options.files {
        if path == Path::new("-") {
            clean &= read("-", &mut stdin)?;
            continue;
        }
        match std::fs::File::open(path) {
            Ok(file) => clean &= read(&path.display().to_string(), &mut BufReader::new(file))?,
            Err(error) => {
                writeln!(stderr, "aiops-rca diagnose: {}: {error}", path.display())?;
                clean = false;
            }
        }
    }
    Ok(clean)
}

fn ndjson(
    options: &Options,
    stdin: impl Read,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<bool> {
    let mut answered = 0;
    let mut notes: Vec<u8> = Vec::new();
    let clean = each_input(options, stdin, &mut notes, |_, input| {
        let mut clean = true;
        while let Some(line) = next_line(input)? {
            let text = match line {
                Line::Text(text) if text.trim().is_empty() => continue,
                Line::Text(text) => text,
                Line::Bad(reason) => {
                    clean = false;
                    serde_json::to_writer(&mut *out, &serde_json::json!({ "error": reason }))?;
                    out.write_all(b"\n")?;
                    continue;
                }
            };
            match parse(&text) {
                Ok((id, case)) => {
                    serde_json::to_writer(&mut *out, &Answer::new(Some(id), diagnose(&case)))?;
                }
                Err((id, reason)) => {
                    clean = false;
                    let mut refusal = serde_json::Map::new();
                    if let Some(id) = id {
                        refusal.insert("id".into(), id);
                    }
                    refusal.insert("error".into(), Value::String(reason));
                    serde_json::to_writer(&mut *out, &refusal)?;
                }
            }
            out.write_all(b"\n")?;
            answered += 1;
            if options.progress && answered % PROGRESS == 0 {
                write!(err, "\r{answered} diagnosed")?;
            }
        }
        Ok(clean)
    })?;
    err.write_all(&notes)?;
    if options.progress && answered >= PROGRESS {
        writeln!(err, "\r{answered} diagnosed")?;
    }
    Ok(clean)
}

enum Line {
    Text(String),
    Bad(String),
}

/// The next line without its end; `None` at the end of the input.
fn next_line(input: &mut dyn BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(LINE_CAP).unwrap_or(u64::MAX);
    if (&mut *input).take(limit).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() >= LINE_CAP && !bytes.ends_with(b"\n") {
        // The rest of the line is read and thrown away.
        loop {
            let mut rest = Vec::new();
            let read = (&mut *input).take(limit).read_until(b'\n', &mut rest)?;
            if read == 0 || rest.ends_with(b"\n") {
                break;
            }
        }
        return Ok(Some(Line::Bad(format!(
            "the line is longer than {LINE_CAP} bytes"
        ))));
    }
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(_) => Line::Bad("the line is not UTF-8".into()),
    }))
}

type Refused = (Option<Value>, String);

/// One input line, as the contract has it.
fn parse(line: &str) -> Result<(Value, Case), Refused> {
    let value: Value = serde_json::from_str(line.trim_start_matches('\u{feff}'))
        .map_err(|error| (None, format!("not JSON: {error}")))?;
    let Value::Object(mut object) = value else {
        return Err((None, "not a JSON object".into()));
    };
    let id = object.remove("id");
    let known = id.clone().filter(|id| id.is_string() || id.is_number());
    let refuse = |reason: &str| (known.clone(), reason.to_owned());
    let Some(known_id) = known.clone() else {
        return Err(refuse("`id` is missing or not a string"));
    };
    let source = object
        .get("source_system")
        .and_then(Value::as_str)
        .and_then(Source::from_name)
        .ok_or_else(|| refuse("`source_system` is not one of adf, databricks, airflow"))?;
    let Some(Value::String(message)) = object.remove("message") else {
        return Err(refuse("`message` is missing or not a string"));
    };
    let error_code = match object.remove("error_code") {
        None | Some(Value::Null) => None,
        Some(Value::String(code)) => Some(code),
        Some(Value::Number(code)) => Some(code.to_string()),
        Some(_) => return Err(refuse("`error_code` is not a string")),
    };
    let context = match object.remove("context") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(fields)) => fields
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect(),
        Some(_) => return Err(refuse("`context` is not an object")),
    };
    Ok((
        known_id,
        Case {
            source,
            error_code,
            message,
            context,
            names: Vec::new(),
            evidence: Vec::new(),
        },
    ))
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// One answer, with the contract's field names in the contract's order.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    category: crate::diagnosis::Category,
    error_type: String,
    transient: bool,
    remediable: bool,
    action: crate::diagnosis::Action,
    severity: Severity,
    confidence: f64,
    root_cause: String,
    recommendations: Vec<String>,
    evidence: Vec<Quote>,
    rule: String,
}

impl Answer {
    fn new(id: Option<Value>, found: Diagnosis) -> Self {
        Self {
            id,
            category: found.category,
            error_type: found.error_type,
            transient: found.transient,
            remediable: found.remediable,
            action: found.action,
            severity: found.severity,
            confidence: (f64::from(found.confidence) * 100.0).round() / 100.0,
            root_cause: found.root_cause,
            recommendations: found.recommendations,
            evidence: found.evidence,
            rule: found.rule,
        }
    }
}

/// Whole inputs as error texts: every file, or standard input, is one text.
fn texts(
    options: &Options,
    stdin: impl Read,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<bool> {
    let mut answers = Vec::new();
    let mut notes: Vec<u8> = Vec::new();
    let mut first = true;
    let clean = each_input(options, stdin, &mut notes, |name, input| {
        let mut bytes = Vec::new();
        input
            .take(u64::try_from(LINE_CAP).unwrap_or(u64::MAX))
            .read_to_end(&mut bytes)?;
        let message = String::from_utf8_lossy(&bytes).trim().to_owned();
        if message.is_empty() {
            return Ok(true);
        }
        let (cases, clean) = cases(name, &message);
        let several = options.files.len() > 1 || cases.len() > 1;
        for (id, case) in cases {
            let found = diagnose(&case);
            if options.format == Format::Json {
                answers.push(Answer::new(Some(id), found));
                continue;
            }
            if !first {
                writeln!(out)?;
            }
            first = false;
            let name = plain(id);
            page(
                out,
                several.then_some(name.as_str()),
                &found,
                options.colour,
            )?;
        }
        Ok(clean)
    })?;
    err.write_all(&notes)?;
    if options.format == Format::Json {
        serde_json::to_writer_pretty(&mut *out, &answers)?;
        writeln!(out)?;
    }
    Ok(clean)
}

/// A text is one case. A file of NDJSON, which its first line tells, has one a line, and may have lines that are none.
fn cases(name: &str, text: &str) -> (Vec<(Value, Case)>, bool) {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    if lines.clone().next().is_some_and(|line| parse(line).is_ok()) {
        let cases: Vec<_> = lines.clone().filter_map(|line| parse(line).ok()).collect();
        let clean = cases.len() == lines.by_ref().count();
        return (cases, clean);
    }
    let case = Case::new(guess_source(text), None, text);
    (vec![(Value::String(name.to_owned()), case)], true)
}

/// A bare text does not say where it comes from; its words do.
fn guess_source(text: &str) -> Source {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&[
        "airflow",
        "dag_id",
        "taskinstance.py",
        "standard_task_runner",
        "kubernetespodoperator",
    ]) {
        Source::Airflow
    } else if has(&[
        "databricks",
        "dbfs:/",
        "org.apache.spark",
        "py4j",
        "delta_",
        "cluster",
    ]) && !has(&["errorcode=", "operation on target"])
    {
        Source::Databricks
    } else {
        Source::Adf
    }
}

fn page(
    out: &mut dyn Write,
    name: Option<&str>,
    found: &Diagnosis,
    colour: bool,
) -> io::Result<()> {
    let paint = |style: Style| if colour { style } else { Style::new() };
    let (bold, dim) = (paint(Style::new().bold()), paint(Style::new().dimmed()));
    let tone = paint(match found.severity {
        Severity::Critical | Severity::High => Style::new().red().bold(),
        Severity::Medium => Style::new().yellow().bold(),
        Severity::Low => Style::new().green().bold(),
    });
    if let Some(name) = name {
        writeln!(out, "{}", one_line(name).style(dim))?;
    }
    writeln!(
        out,
        "{}  {}",
        one_line(&found.error_type).style(tone),
        found.category.words().style(dim)
    )?;
    writeln!(out, "{}", one_line(&found.root_cause).style(bold))?;
    writeln!(out)?;
    for (number, step) in found.recommendations.iter().enumerate() {
        writeln!(out, "  {}. {}", number + 1, one_line(step))?;
    }
    writeln!(out)?;
    let verdict = if found.remediable {
        "would act by itself"
    } else {
        "left to a person"
    };
    writeln!(
        out,
        "{} {} ({verdict})   {} {} ({:.0} %)   {} {}",
        "Action".style(dim),
        found.action.name().replace('_', " "),
        "Confidence".style(dim),
        found.confidence_word(),
        f64::from(found.confidence) * 100.0,
        "Severity".style(dim),
        found.severity
    )?;
    for quote in &found.evidence {
        for (number, line) in quote.quote.lines().enumerate() {
            let mark = if number == 0 {
                format!("{:>12} │", quote.source)
            } else {
                format!("{:>12} │", "")
            };
            writeln!(out, "{} {}", mark.style(dim), clean(line))?;
        }
    }
    writeln!(
        out,
        "{}",
        format!("rule: {}", one_line(&found.rule)).style(dim)
    )
}
