//! Block Kit's limits, as Slack enforces them: `invalid_blocks` with a JSON pointer each.

use std::collections::BTreeSet;

use serde_json::Value;

/// What is wrong with these blocks, in Slack's words; empty when they are fine.
pub(super) fn problems(blocks: &[Value]) -> Vec<String> {
    let mut check = Check {
        problems: Vec::new(),
    };
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
        self.problems
            .push(format!("[ERROR] {what} [json-pointer:{at}]"));
    }

    fn length(&mut self, text: &str, least: usize, most: usize, at: &str) {
        let count = text.chars().count();
        if count < least {
            self.say(
                &format!("must be more than {} characters", least.saturating_sub(1)),
                at,
            );
        }
        if count > most {
            self.say(&format!("must be less than {} characters", most + 1), at);
        }
    }

    fn block(&mut self, block: &Value, at: &str) {
        match block
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "header" => self.text(
                block.get("text"),
                &["plain_text"],
                150,
                &format!("{at}/text"),
            ),
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
                    if !ids.insert(
                        element
                            .get("action_id")
                            .and_then(Value::as_str)
                            .unwrap_or_default()
                            .to_owned(),
                    ) {
                        check.say("`action_id` must be unique", at);
                    }
                });
            }
            "input" => self.input(block, at),
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
            self.text(
                block.get("text"),
                &["mrkdwn", "plain_text"],
                3000,
                &format!("{at}/text"),
            );
        }
        let fields = fields.map(Vec::as_slice).unwrap_or_default();
        if fields.len() > 10 {
            self.say("no more than 10 items allowed", &format!("{at}/fields"));
        }
        for (index, field) in fields.iter().enumerate() {
            self.text(
                Some(field),
                &["mrkdwn", "plain_text"],
                2000,
                &format!("{at}/fields/{index}"),
            );
        }
    }

    fn elements(
        &mut self,
        block: &Value,
        most: usize,
        at: &str,
        mut each: impl FnMut(&mut Self, &Value, &str),
    ) {
        let elements = block
            .get("elements")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if elements.is_empty() {
            self.say("must provide at least 1 item", &format!("{at}/elements"));
        }
        if elements.len() > most {
            self.say(
                &format!("no more than {most} items allowed"),
                &format!("{at}/elements"),
            );
        }
        for (index, element) in elements.iter().enumerate() {
            each(self, element, &format!("{at}/elements/{index}"));
        }
    }

    fn text(&mut self, object: Option<&Value>, types: &[&str], most: usize, at: &str) {
        let field = |name: &str| {
            object
                .and_then(|object| object.get(name))
                .and_then(Value::as_str)
        };
        if !types.contains(&field("type").unwrap_or_default()) {
            self.say("unsupported type", &format!("{at}/type"));
        }
        self.length(
            field("text").unwrap_or_default(),
            1,
            most,
            &format!("{at}/text"),
        );
    }

    /// A field of a form.
    fn input(&mut self, block: &Value, at: &str) {
        for (name, needed) in [("label", true), ("hint", false)] {
            if needed || block.get(name).is_some() {
                let text = block.get(name);
                self.text(text, &["plain_text"], 2000, &format!("{at}/{name}"));
            }
        }
        let element = |name: &str| block.get("element").and_then(|element| element.get(name));
        if element("type").and_then(Value::as_str) != Some("plain_text_input") {
            self.say("unsupported type", &format!("{at}/element/type"));
        }
        let most = element("max_length").and_then(Value::as_u64);
        if most.is_some_and(|most| !(1..=3000).contains(&most)) {
            self.say(
                "must be less than 3001",
                &format!("{at}/element/max_length"),
            );
        }
    }

    /// `static_select`, with options.
    fn select(&mut self, element: &Value, at: &str) {
        let placeholder = element.get("placeholder");
        self.text(
            placeholder,
            &["plain_text"],
            150,
            &format!("{at}/placeholder"),
        );
        let options = element.get("options").and_then(Value::as_array);
        let options = options.map(Vec::as_slice).unwrap_or_default();
        if options.is_empty() || options.len() > 100 {
            self.say("must have 1 to 100 items", &format!("{at}/options"));
        }
        for (index, option) in options.iter().enumerate() {
            let at = format!("{at}/options/{index}");
            self.text(
                option.get("text"),
                &["plain_text"],
                75,
                &format!("{at}/text"),
            );
            let value = option.get("value").and_then(Value::as_str);
            self.length(value.unwrap_or_default(), 1, 75, &format!("{at}/value"));
        }
    }

    fn button(&mut self, element: &Value, at: &str) {
        let field = |name: &str| element.get(name).and_then(Value::as_str);
        if field("type") == Some("static_select") {
            return self.select(element, at);
        }
        if field("type") != Some("button") {
            self.say("unsupported type", &format!("{at}/type"));
        }
        self.text(
            element.get("text"),
            &["plain_text"],
            75,
            &format!("{at}/text"),
        );
        self.length(
            field("action_id").unwrap_or_default(),
            1,
            255,
            &format!("{at}/action_id"),
        );
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
                let types: &[&str] = if name == "text" {
                    &["plain_text", "mrkdwn"]
                } else {
                    &["plain_text"]
                };
                self.text(confirm.get(name), types, most, &format!("{at}/{name}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accepts(block: &Value) -> bool {
        problems(std::slice::from_ref(block)).is_empty()
    }

    /// At the limit it is taken, one past it is refused, counted in characters.
    fn limit(most: usize, block: impl Fn(String) -> Value) {
        assert!(accepts(&block("ü".repeat(most))), "{most}");
        assert!(!accepts(&block("ü".repeat(most + 1))), "{most} + 1");
    }

    fn button(field: &str, value: &str) -> Value {
        let mut button = json!({"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "b"}});
        match field {
            "text" => button["text"]["text"] = value.into(),
            "confirm" => {
                let plain = |text: &str| json!({"type": "plain_text", "text": text});
                button["confirm"] = json!({"title": plain("t"), "text": plain(value), "confirm": plain("y"), "deny": plain("n")});
            }
            field => button[field] = value.into(),
        }
        json!({"type": "actions", "elements": [button]})
    }

    #[test]
    fn every_limit_has_two_sides() {
        let text = |kind: &str, text: String| json!({"type": kind, "text": text});
        limit(
            150,
            |long| json!({"type": "header", "text": text("plain_text", long)}),
        );
        limit(
            3000,
            |long| json!({"type": "section", "text": text("mrkdwn", long)}),
        );
        limit(
            2000,
            |long| json!({"type": "section", "fields": [text("mrkdwn", long)]}),
        );
        limit(255, |long| json!({"type": "divider", "block_id": long}));
        for (field, most) in [
            ("text", 75),
            ("value", 2000),
            ("url", 3000),
            ("action_id", 255),
            ("confirm", 300),
        ] {
            limit(most, |long| button(field, &long));
        }
        let many = |count: usize, block: Value| problems(&vec![block; count]).is_empty();
        assert!(many(50, json!({"type": "divider"})) && !many(51, json!({"type": "divider"})));
        let fields = |count: usize| json!({"type": "section", "fields": vec![text("mrkdwn", "f".into()); count]});
        assert!(accepts(&fields(10)) && !accepts(&fields(11)));
        let context = |count: usize| json!({"type": "context", "elements": vec![text("mrkdwn", "f".into()); count]});
        assert!(accepts(&context(10)) && !accepts(&context(11)) && !accepts(&context(0)));
    }

    #[test]
    fn ids_are_unique_and_types_known() {
        let twice = json!({"type": "actions", "elements": [button("text", "a")["elements"][0], button("text", "b")["elements"][0]]});
        assert!(!accepts(&twice));
        let named = json!({"type": "divider", "block_id": "same"});
        assert!(!problems(&[named.clone(), named]).is_empty());
        assert!(!accepts(
            &json!({"type": "header", "text": {"type": "mrkdwn", "text": "no"}})
        ));
        assert!(!accepts(&json!({"type": "section"})));
        assert!(!accepts(&json!({"type": "hologram"})));
        assert_eq!(
            problems(&[
                json!({"type": "section", "text": {"type": "mrkdwn", "text": "x".repeat(3001)}})
            ]),
            ["[ERROR] must be less than 3001 characters [json-pointer:/blocks/0/text/text]"]
        );
    }
}
