//! What Teams takes as a card: its schema up to 1.5, the elements that all clients render, the buttons that have a receiver.

use serde_json::Value;

/// Elements of version 1.2, which is what mobile clients render whole.
const ELEMENTS: [&str; 10] = [
    "TextBlock",
    "Image",
    "Media",
    "RichTextBlock",
    "Container",
    "ColumnSet",
    "Column",
    "FactSet",
    "ImageSet",
    "ActionSet",
];
const STYLES: [&str; 6] = [
    "default",
    "emphasis",
    "good",
    "attention",
    "warning",
    "accent",
];
/// More than these go into an overflow menu.
const BUTTONS: usize = 6;
/// More people are not mentioned in a card.
const MENTIONS: usize = 20;

/// What is wrong with this card; empty when it is fine. `by_bot`: somebody receives `Action.Execute`.
pub fn problems(card: &Value, by_bot: bool) -> Vec<String> {
    let mut found = Vec::new();
    let text = |name: &str| card.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("type") != "AdaptiveCard" {
        found.push("type is not AdaptiveCard".to_owned());
    }
    let version = text("version");
    if !["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"].contains(&version) {
        found.push(format!("version {version} is not rendered"));
    }
    let body = card.get("body").and_then(Value::as_array);
    match body {
        Some(body) if !body.is_empty() => elements(body, &mut found),
        _ => found.push("body is empty".to_owned()),
    }
    let actions = card.get("actions").and_then(Value::as_array);
    let actions = actions.map_or(&[][..], Vec::as_slice);
    if actions.len() > BUTTONS {
        found.push(format!("{} buttons", actions.len()));
    }
    for action in actions {
        button(action, by_bot && version >= "1.4", &mut found);
    }
    mentions(card, &mut found);
    found
}

/// Each `<at>` of a `TextBlock` is explained by an entity, and the other way round.
fn mentions(card: &Value, found: &mut Vec<String>) {
    let entities = card
        .pointer("/msteams/entities")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut texts = String::new();
    text_blocks(card, &mut texts);
    if entities.len() > MENTIONS {
        found.push(format!("{} mentions", entities.len()));
    }
    for entity in entities {
        let text = |path: &str| {
            entity
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (shown, id) = (text("/text"), text("/mentioned/id"));
        if text("/type") != "mention" || shown != format!("<at>{}</at>", text("/mentioned/name")) {
            found.push(format!("{entity} is no mention"));
        }
        let is_object = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if !is_object && !id.contains('@') {
            found.push(format!("{id} is no user"));
        }
        if !texts.contains(shown) {
            found.push(format!("{shown} is mentioned nowhere"));
        }
        texts = texts.replace(shown, "");
    }
    if texts.contains("<at>") {
        found.push(format!("a mention of nobody in {texts}"));
    }
}

fn text_blocks(value: &Value, texts: &mut String) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| text_blocks(one, texts)),
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "TextBlock") {
                let text = fields.get("text").and_then(Value::as_str);
                texts.push_str(text.unwrap_or_default());
                texts.push('\n');
            }
            for name in ["body", "items", "columns"] {
                text_blocks(fields.get(name).unwrap_or(&Value::Null), texts);
            }
        }
        _ => {}
    }
}

fn elements(all: &[Value], found: &mut Vec<String>) {
    for element in all {
        let text = |name: &str| element.get(name).and_then(Value::as_str);
        let kind = text("type").unwrap_or_default();
        if !ELEMENTS.contains(&kind) {
            found.push(format!("{kind} is no element of version 1.2"));
        }
        if let Some(style) = text("style").filter(|style| !STYLES.contains(style)) {
            found.push(format!("there is no style {style}"));
        }
        for inner in ["items", "columns"] {
            if let Some(inner) = element.get(inner).and_then(Value::as_array) {
                elements(inner, found);
            }
        }
        if kind == "RichTextBlock" {
            let runs = element.get("inlines").and_then(Value::as_array);
            let runs = runs.map_or(&[][..], Vec::as_slice);
            if runs.is_empty() {
                found.push("a RichTextBlock without inlines".to_owned());
            }
            let is_run = |run: &Value| {
                run.get("type").is_some_and(|kind| kind == "TextRun")
                    && run
                        .get("text")
                        .and_then(Value::as_str)
                        .is_some_and(|text| !text.is_empty())
            };
            if !runs.iter().all(is_run) {
                found.push("an inline that is no TextRun with text".to_owned());
            }
        }
    }
}

fn button(action: &Value, executes: bool, found: &mut Vec<String>) {
    let text = |name: &str| action.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("title").is_empty() {
        found.push("a button without a title".to_owned());
    }
    match text("type") {
        "Action.OpenUrl" => {
            let url = url::Url::parse(text("url"));
            if !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                found.push(format!("{} is no web address", text("url")));
            }
        }
        "Action.ToggleVisibility" | "Action.ShowCard" => {}
        "Action.Execute" if executes => {
            if text("verb").is_empty() {
                found.push("Action.Execute without a verb".to_owned());
            }
        }
        kind => found.push(format!("{kind} has no receiver here")),
    }
}
