//! A task's log in all the shapes in which Airflow sends it, as plain lines. Pure.
//!
//! API v1 puts Python's `repr` of `[(host, text), …]` into a JSON string; v2 sends a list of events or of plain
//! lines; both send plain text or one JSON object a line to those who ask for it.

use std::fmt::Write as _;

use serde_json::Value;

use super::wire::LogPage;

/// The page of a log, and the token of the next one.
pub(super) fn page(body: &[u8]) -> (String, Option<String>) {
    let Ok(page) = serde_json::from_slice::<LogPage>(body) else {
        let text = String::from_utf8_lossy(body);
        return (ndjson(&text).unwrap_or_else(|| text.into_owned()), None);
    };
    let text = match &page.content {
        Value::String(text) => python_repr(text).unwrap_or_else(|| text.clone()),
        Value::Array(items) => items.iter().map(line).collect(),
        _ => String::new(),
    };
    (
        text,
        page.continuation_token.filter(|token| !token.is_empty()),
    )
}

fn ndjson(text: &str) -> Option<String> {
    let objects: Option<Vec<Value>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).ok().filter(Value::is_object))
        .collect();
    objects
        .filter(|objects| !objects.is_empty())
        .map(|objects| objects.iter().map(line).collect())
}

/// One item of a structured log as it would stand in a log file.
fn line(item: &Value) -> String {
    let word = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    if let Some(text) = item.as_str() {
        return format!("{text}\n");
    }
    if let Some(pair) = item.as_array() {
        // (host, text), as v1 with a JSON that is no string.
        return pair
            .iter()
            .filter_map(Value::as_str)
            .next_back()
            .map(|text| format!("{text}\n"))
            .unwrap_or_default();
    }
    let (level, event) = (word("level").to_uppercase(), word("event"));
    let mut text = if level.is_empty() {
        event.to_owned()
    } else {
        let place = place(word("logger"), word("filename"));
        let number = item
            .get("lineno")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let killed = match word("signal_name") {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        format!(
            "[{}] {{{place}:{number}}} {level} - {event}{killed}",
            word("timestamp")
        )
    };
    text.push('\n');
    let errors = item.get("error_detail").and_then(Value::as_array);
    // The one that was raised comes first, Python prints it last.
    for (number, error) in errors
        .into_iter()
        .flatten()
        .enumerate()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        text.push_str(&raised(error));
        if number > 0 {
            text.push_str(
                if error.get("is_cause").and_then(Value::as_bool) == Some(true) {
                    "\nThe above exception was the direct cause of the following exception:\n\n"
                } else {
                    "\nDuring handling of the above exception, another exception occurred:\n\n"
                },
            );
        }
    }
    text
}

/// The file as Airflow 2 would name it: by the logger, where that says more.
fn place<'a>(logger: &str, file: &'a str) -> &'a str {
    let of_operator = |prefix: &str| {
        logger
            .strip_prefix(prefix)
            .is_some_and(|name| !name.starts_with("airflow."))
    };
    match logger {
        "task.stdout" | "task.stderr" => "logging_mixin.py",
        "py.warnings" => "warnings.py",
        "task" => "task_runner.py",
        _ if logger.ends_with("SubprocessHook") => "subprocess.py",
        _ if of_operator("airflow.task.operators.") || of_operator("airflow.task.hooks.") => {
            file.rsplit('/').next().unwrap_or(file)
        }
        _ if logger.starts_with("airflow.") => "airflow.py",
        _ => file.rsplit('/').next().unwrap_or(file),
    }
}

/// An exception as Python prints it.
fn raised(error: &Value) -> String {
    let word = |of: &Value, name: &str| {
        of.get(name)
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned()
    };
    let mut text = String::from("Traceback (most recent call last):\n");
    for frame in error
        .get("frames")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let line = frame
            .get("lineno")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let _infallible = writeln!(
            text,
            "  File \"{}\", line {line}, in {}",
            word(frame, "filename"),
            word(frame, "name")
        );
    }
    let _infallible = writeln!(
        text,
        "{}: {}",
        word(error, "exc_type"),
        word(error, "exc_value")
    );
    text
}

/// The texts of `[('host', 'text'), …]` as Python writes it; `None` when it is something else.
fn python_repr(repr: &str) -> Option<String> {
    let inside = repr.trim().strip_prefix('[')?.strip_suffix(']')?;
    inside.trim_start().strip_prefix('(')?;
    let mut text = String::new();
    let mut chars = inside.chars().peekable();
    let mut of_tuple = 0;
    while let Some(c) = chars.next() {
        match c {
            '(' => of_tuple = 0,
            '\'' | '"' => {
                let part = python_string(&mut chars, c)?;
                of_tuple += 1;
                if of_tuple == 2 {
                    text.push_str(&part);
                    if !part.is_empty() && !part.ends_with('\n') {
                        text.push('\n');
                    }
                }
            }
            _ => {}
        }
    }
    Some(text)
}

/// The rest of a Python string literal after its opening quote.
fn python_string(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    quote: char,
) -> Option<String> {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            _ if c == quote => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'x' => text.push(code_point(chars, 2)),
                'u' => text.push(code_point(chars, 4)),
                'U' => text.push(code_point(chars, 8)),
                other => text.push(other),
            },
            _ => text.push(c),
        }
    }
    None
}

fn code_point(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, digits: usize) -> char {
    let mut value = 0;
    for _ in 0..digits {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(16)) else {
            break;
        };
        value = value * 16 + digit;
        chars.next();
    }
    char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_repr_of_v1() {
        let repr = r#"[('worker-1', "a 'b'\n"), ('w2', 'it\'s \x1b[0m \u00e9 \U0001f600 \\n')]"#;
        let body = serde_json::json!({"content": repr, "continuation_token": "t"}).to_string();
        assert_eq!(
            page(body.as_bytes()),
            (
                "a 'b'\nit's \u{1b}[0m é 😀 \\n\n".to_owned(),
                Some("t".to_owned())
            )
        );
    }

    #[test]
    fn objects_strings_lines_and_plain_text() {
        let objects = r#"{"content":[{"timestamp":null,"event":"raw"},{"timestamp":"T","level":"error","event":"failed",
            "error_detail":[{"exc_type":"ValueError","exc_value":"bad row","frames":[{"filename":"f.py","lineno":42,"name":"load"}]}]}]}"#;
        let told = "raw\n[T] {:0} ERROR - failed\nTraceback (most recent call last):\n  File \"f.py\", line 42, in load\nValueError: bad row\n";
        assert_eq!(page(objects.as_bytes()), (told.to_owned(), None));
        assert_eq!(
            page(br#"{"content":["a","b"],"continuation_token":null}"#),
            ("a\nb\n".to_owned(), None)
        );
        assert_eq!(page(b"{\"event\":\"a\"}\n{\"event\":\"b\"}\n").0, "a\nb\n");
        assert_eq!(page(b"plain [text]").0, "plain [text]");
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_text(body in proptest::collection::vec(any::<u8>(), 0..80), inside in "[\\[\\]()'\"\\\\nxuU0-9a-f, ]{0,40}") {
            let _text = page(&body);
            let _text = page(serde_json::json!({"content": inside}).to_string().as_bytes());
        }
    }
}
