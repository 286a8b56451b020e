//! The elements of a card: lines of `TextRun`s, which parse no markup. Pure.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::Url;

use super::text::plain;

pub(super) fn rich(inlines: &[Value]) -> Value {
    json!({"type": "RichTextBlock", "inlines": inlines})
}

/// `Label: value`. Teams refuses a text without characters.
pub(super) fn fact(label: &str, value: &str, limit: usize) -> Value {
    let mut value = plain(value, limit);
    if value.is_empty() {
        value.push_str("not reported");
    }
    let mut element = rich(&[
        json!({"type": "TextRun", "text": format!("{label}: "), "weight": "Bolder"}),
        json!({"type": "TextRun", "text": value}),
    ]);
    close_to(&mut element);
    element
}

pub(super) fn heading(text: &str) -> Value {
    rich(&[json!({"type": "TextRun", "text": text, "weight": "Bolder"})])
}

pub(super) fn line(text: &str) -> Value {
    rich(&[json!({"type": "TextRun", "text": text})])
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
