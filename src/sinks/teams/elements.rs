//! The elements of a card: lines of `TextRun`s, which parse no markup. Pure.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::Url;

use super::text::plain;
use crate::diagnosis::few_pieces;

pub(super) fn rich(inlines: &[Value]) -> Value {
    json!({"type": "RichTextBlock", "inlines": inlines})
}

/// `Label: value`.
pub(super) fn fact(label: &str, value: &str, limit: usize) -> Value {
    labelled(label, vec![run(&or_not_reported(value, limit))])
}

/// The same with a sentence of ours, whose code is set apart.
pub(super) fn told_fact(label: &str, value: &str, limit: usize) -> Value {
    labelled(label, prose(&or_not_reported(value, limit)))
}

/// Teams refuses a text without characters.
fn or_not_reported(value: &str, limit: usize) -> String {
    let value = plain(value, limit);
    if value.is_empty() {
        return "not reported".to_owned();
    }
    value
}

fn labelled(label: &str, mut runs: Vec<Value>) -> Value {
    runs.insert(
        0,
        json!({"type": "TextRun", "text": format!("{label}: "), "weight": "Bolder"}),
    );
    let mut element = rich(&runs);
    close_to(&mut element);
    element
}

fn run(text: &str) -> Value {
    json!({"type": "TextRun", "text": text})
}

/// A line of ours, with its code as code.
fn prose(line: &str) -> Vec<Value> {
    let pieces = few_pieces(line).into_iter();
    pieces
        .map(|(piece, is_code)| {
            if is_code {
                json!({"type": "TextRun", "text": piece, "fontType": "Monospace"})
            } else {
                run(piece)
            }
        })
        .collect()
}

pub(super) fn heading(text: &str) -> Value {
    rich(&[json!({"type": "TextRun", "text": text, "weight": "Bolder"})])
}

/// A line of ours.
pub(super) fn line(text: &str) -> Value {
    rich(&prose(text))
}

pub(super) fn small(text: &str) -> Value {
    let mut element = line(text);
    close_to(&mut element);
    element
}

pub(super) fn quiet(text: &str) -> Value {
    rich(&[json!({"type": "TextRun", "text": text, "isSubtle": true, "size": "Small"})])
}

/// It stands close to what is above it.
fn close_to(element: &mut Value) {
    if let Some(fields) = element.as_object_mut() {
        fields.insert("spacing".to_owned(), "Small".into());
    }
}

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The value of a fact leads there.
pub(super) fn linked(mut fact: Value, url: Option<Url>) -> Value {
    let value = fact
        .pointer_mut("/inlines/1")
        .and_then(Value::as_object_mut);
    if let Some((value, url)) = value.zip(url) {
        let action = json!({"type": "Action.OpenUrl", "url": url.as_str()});
        value.insert("selectAction".to_owned(), action);
    }
    fact
}
