//! Atlassian documents as JIRA sees them: valid or not, as text, as a page.

use maud::{Markup, html};
use serde_json::{Value, json};

const LIMIT: usize = 32_767;

/// Why JIRA would refuse a document.
pub(super) fn refusal(document: &Value) -> Option<&'static str> {
    let is_document =
        document["type"] == "doc" && document["version"] == 1 && document["content"].is_array();
    if !is_document || !children(document).iter().all(is_valid) {
        return Some("INVALID_INPUT");
    }
    (plain_text(document).encode_utf16().count() > LIMIT).then_some("CONTENT_LIMIT_EXCEEDED")
}

fn is_valid(node: &Value) -> bool {
    let all = |kinds: &[&str]| {
        let kind_is_one =
            |child: &Value| kinds.contains(&child["type"].as_str().unwrap_or_default());
        children(node)
            .iter()
            .all(|child| kind_is_one(child) && is_valid(child))
    };
    let some = !children(node).is_empty();
    match node["type"].as_str().unwrap_or_default() {
        "text" => {
            node["text"].as_str().is_some_and(is_text)
                && node["marks"]
                    .as_array()
                    .is_none_or(|marks| marks.iter().all(is_mark))
        }
        "hardBreak" | "rule" => true,
        "paragraph" | "heading" => all(&["text", "hardBreak"]),
        "codeBlock" => {
            all(&["text"])
                && children(node)
                    .iter()
                    .all(|text| text.get("marks").is_none())
        }
        "bulletList" | "orderedList" => some && all(&["listItem"]),
        "listItem" | "blockquote" | "panel" => {
            some && all(&["paragraph", "bulletList", "orderedList", "codeBlock"])
        }
        _ => false,
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty()
        && !text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

fn is_mark(mark: &Value) -> bool {
    match mark["type"].as_str().unwrap_or_default() {
        "link" => mark
            .pointer("/attrs/href")
            .and_then(Value::as_str)
            .is_some_and(|href| url::Url::parse(href).is_ok()),
        kind => ["strong", "em", "code", "strike", "underline"].contains(&kind),
    }
}

fn children(node: &Value) -> &[Value] {
    node["content"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// One paragraph.
pub(super) fn paragraph(text: &str) -> Value {
    json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]})
}

/// As a person reads it.
pub(super) fn plain_text(document: &Value) -> String {
    let mut lines = Vec::new();
    for block in children(document) {
        match block["type"].as_str().unwrap_or_default() {
            "bulletList" | "orderedList" => lines.extend(
                children(block)
                    .iter()
                    .map(|item| format!("• {}", inline_text(item))),
            ),
            _ => lines.push(inline_text(block)),
        }
        lines.push(String::new());
    }
    lines.join("\n").trim_end().to_owned()
}

fn inline_text(node: &Value) -> String {
    match node["type"].as_str().unwrap_or_default() {
        "text" => node["text"].as_str().unwrap_or_default().to_owned(),
        "hardBreak" => "\n".to_owned(),
        _ => children(node).iter().map(inline_text).collect(),
    }
}

/// As a page shows it.
pub(super) fn markup(node: &Value) -> Markup {
    let inner = || html! { @for child in children(node) { (markup(child)) } };
    match node["type"].as_str().unwrap_or_default() {
        "text" => text_markup(node),
        "hardBreak" => html! { br; },
        "rule" => html! { hr; },
        "heading" => html! { h3 { (inner()) } },
        "codeBlock" => html! { pre { (inner()) } },
        "bulletList" => html! { ul { (inner()) } },
        "orderedList" => html! { ol { (inner()) } },
        "listItem" => html! { li { (inner()) } },
        "blockquote" | "panel" => html! { blockquote { (inner()) } },
        "paragraph" => html! { p { (inner()) } },
        _ => inner(),
    }
}

fn text_markup(node: &Value) -> Markup {
    let mut shown = html! { (node["text"].as_str().unwrap_or_default()) };
    for mark in node["marks"].as_array().into_iter().flatten() {
        let href = mark
            .pointer("/attrs/href")
            .and_then(Value::as_str)
            .filter(|href| href.starts_with("http://") || href.starts_with("https://"));
        shown = match (mark["type"].as_str().unwrap_or_default(), href) {
            ("strong", _) => html! { strong { (shown) } },
            ("em", _) => html! { em { (shown) } },
            ("code", _) => html! { code { (shown) } },
            ("link", Some(href)) => html! { a href=(href) rel="noopener noreferrer" { (shown) } },
            _ => shown,
        };
    }
    shown
}
