//! Block Kit's limits, as Slack enforces them: `invalid_blocks` with a JSON pointer each.

use std::collections::BTreeSet;

use serde_json::Value;

/// What is wrong with these blocks, in Slack's words; empty when they are fine.
pub(super) fn problems(blocks: &[Value]) -> Vec<String> {
    let mut check = Check { problems: Vec::new() };
    if blocks.len() > 50 {
        check.say("no more than 50 items allowed", "/blocks");
    }
    let mut ids = BTreeSet::new();
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("/blocks/{index}");
        if let Some(id) = block.get("block_id").and_then(Value::as_str) {
            check.length(id, 1, 255, &format!("{at}/block_id"));
            if !ids.insert(id.to_owned()) {
                check.say("`block_id` must be unique", &at);
            }
        }
        check.block(block, &at);
    }
    check.problems
}

struct Check {
    problems: Vec<String>,
}

impl Check {
    fn say(&mut self, what: &str, at: &str) {
        self.problems.push(format!("[ERROR] {what} [json-pointer:{at}]"));
    }

    fn length(&mut self, text: &str, least: usize, most: usize, at: &str) {
        let count = text.chars().count();
        if count < least {
            self.say(&format!("must be more than {} characters", least.saturating_sub(1)), at);
        }
        if count > most {
            self.say(&format!("must be less than {} characters", most + 1), at);
        }
    }

    fn block(&mut self, block: &Value, at: &str) {
        match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "header" => self.text(block.get("text"), &["plain_text"], 150, &format!("{at}/text")),
            "section" => self.section(block, at),
            "context" => {
                self.elements(block, 10, at, |check, element, at| {
                    check.text(Some(element), &["mrkdwn", "plain_text"], 3000, at);
                });
            }
            "actions" => {
                let mut ids = BTreeSet::new();
                self.elements(block, 25, at, |check, element, at| {
                    check.button(element, at);
                    if !ids.insert(element.get("action_id").and_then(Value::as_str).unwrap_or_default().to_owned()) {
                        check.say("`action_id` must be unique", at);
                    }
                });
            }
            "divider" => {}
            other => self.say(&format!("unsupported type: {other}"), &format!("{at}/type")),
        }
    }

    fn section(&mut self, block: &Value, at: &str) {
        let fields = block.get("fields").and_then(Value::as_array);
        if block.get("text").is_none() && fields.is_none() {
            self.say("missing required field: text", at);
        }
        if block.get("text").is_some() {
            self.text(block.get("text"), &["mrkdwn", "plain_text"], 3000, &format!("{at}/text"));
        }
        let fields = fields.map(Vec::as_slice).unwrap_or_default();
        if fields.len() > 10 {
            self.say("no more than 10 items allowed", &format!("{at}/fields"));
        }
        for (index, field) in fields.iter().enumerate() {
            self.text(Some(field), &["mrkdwn", "plain_text"], 2000, &format!("{at}/fields/{index}"));
        }
    }

    fn elements(&mut self, block: &Value, most: usize, at: &str, mut each: impl FnMut(&mut Self, &Value, &str)) {
        let elements = block.get("elements").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if elements.is_empty() {
            self.say("must provide at least 1 item", &format!("{at}/elements"));
        }
        if elements.len() > most {
            self.say(&format!("no more than {most} items allowed"), &format!("{at}/elements"));
        }
        for (index, element) in elements.iter().enumerate() {
            each(self, element, &format!("{at}/elements/{index}"));
        }
    }

    fn text(&mut self, object: Option<&Value>, types: &[&str], most: usize, at: &str) {
        let field = |name: &str| object.and_then(|object| object.get(name)).and_then(Value::as_str);
        if !types.contains(&field("type").unwrap_or_default()) {
            self.say("unsupported type", &format!("{at}/type"));
        }
        self.length(field("text").unwrap_or_default(), 1, most, &format!("{at}/text"));
    }

    fn button(&mut self, element: &Value, at: &str) {
        let field = |name: &str| element.get(name).and_then(Value::as_str);
        if field("type") != Some("button") {
            self.say("unsupported type", &format!("{at}/type"));
        }
        self.text(element.get("text"), &["plain_text"], 75, &format!("{at}/text"));
        self.length(field("action_id").unwrap_or_default(), 1, 255, &format!("{at}/action_id"));
        for (name, most) in [("value", 2000), ("url", 3000)] {
            if let Some(text) = field(name) {
                self.length(text, 1, most, &format!("{at}/{name}"));
            }
        }
        if field("style").is_some_and(|style| !["primary", "danger"].contains(&style)) {
            self.say("unsupported style", &format!("{at}/style"));
        }
        if let Some(confirm) = element.get("confirm") {
            let at = format!("{at}/confirm");
            for (name, most) in [("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)] {
                let types: &[&str] = if name == "text" { &["plain_text", "mrkdwn"] } else { &["plain_text"] };
                self.text(confirm.get(name), types, most, &format!("{at}/{name}"));
            }
        }
    }
}
