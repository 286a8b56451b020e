//! Forms (modal views): opened with a trigger, once and within three seconds of the click; sent to the same door.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::rules;
use super::state::State;

/// How long a trigger opens a form.
const TRIGGER: TimeDelta = TimeDelta::seconds(3);

/// A form that a person sees.
#[derive(Debug, Clone, PartialEq)]
pub struct SlackForm {
    /// `V…`.
    pub id: String,
    /// Who sees it.
    pub user: String,
    /// As the app opened it.
    pub view: Value,
}

impl SlackForm {
    /// As Slack shows it to the app.
    pub(super) fn shown(&self) -> Value {
        let mut view = self.view.clone();
        if let Value::Object(view) = &mut view {
            let state = json!({"values": {}});
            let fields = [
                ("id", json!(self.id)),
                ("team_id", json!("T0SIMULATED")),
                ("bot_id", json!("B0BOT")),
                ("app_id", json!("A0SIMULATED")),
                ("state", state),
            ];
            view.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        }
        view
    }

    /// The fields that a person fills in: block, action and label.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let blocks = self.view.get("blocks").and_then(Value::as_array);
        let text = |block: &'_ Value, at: &str| block.pointer(at).and_then(Value::as_str).is_some();
        (blocks.into_iter().flatten())
            .filter(move |block| text(block, "/element/action_id"))
            .map(|block| {
                let text = |at: &str| {
                    block
                        .pointer(at)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                (
                    text("/block_id"),
                    text("/element/action_id"),
                    text("/label/text"),
                )
            })
    }
}

/// What a click of this person opens a form with.
pub(super) fn trigger(user: &str, at: DateTime<Utc>) -> String {
    format!("{}.{user}.simulated", at.timestamp_micros())
}

/// Whose trigger it is; `None` when it is none, or too old.
pub(super) fn triggered_by(trigger: &str, now: DateTime<Utc>) -> Option<String> {
    let mut parts = trigger.split('.');
    let at = DateTime::from_timestamp_micros(parts.next()?.parse().ok()?)?;
    let user = parts.next()?;
    (now - at <= TRIGGER).then(|| user.to_owned())
}

/// What is wrong with a view, in Slack's words.
pub(super) fn problems(view: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let text = |at: &str| view.pointer(at).and_then(Value::as_str);
    let mut say =
        |what: &str, at: &str| problems.push(format!("[ERROR] {what} [json-pointer:/view{at}]"));
    if text("/type") != Some("modal") {
        say("unsupported type", "/type");
    }
    for (at, most, needed) in [
        ("/title", 24, true),
        ("/submit", 24, true),
        ("/close", 24, false),
    ] {
        let words = text(&format!("{at}/text"));
        let count = words.map_or(0, |words| words.chars().count());
        if (needed || words.is_some()) && !(1..=most).contains(&count) {
            say(&format!("must be less than {} characters", most + 1), at);
        }
    }
    for (at, most) in [("/callback_id", 255), ("/private_metadata", 3000)] {
        if text(at).is_some_and(|text| text.chars().count() > most) {
            say(&format!("must be less than {} characters", most + 1), at);
        }
    }
    let blocks = view.get("blocks").and_then(Value::as_array);
    problems.extend(rules::problems(
        blocks.map(Vec::as_slice).unwrap_or_default(),
    ));
    problems
}

impl State {
    /// The interaction that sending this form makes; `None` when it is not open, or has no such field.
    pub(super) fn submission(&self, id: &str, line: &str) -> Option<Value> {
        let form = self.forms.iter().find(|form| form.id == id)?;
        let (block, action, _) = form.fields().next()?;
        let mut view = form.shown();
        let typed = BTreeMap::from([(action, json!({"type": "plain_text_input", "value": line}))]);
        let values = BTreeMap::from([(block, typed)]);
        let state = Map::from_iter([("values".to_owned(), json!(values))]);
        if let Value::Object(view) = &mut view {
            view.insert("state".to_owned(), Value::Object(state));
        }
        Some(json!({
            "type": "view_submission", "team": {"id": "T0SIMULATED", "domain": "simulated"},
            "user": self.person(&form.user), "api_app_id": "A0SIMULATED", "token": "deprecated-verification-token",
            "trigger_id": trigger(&form.user, self.options.clock.now()), "view": view, "response_urls": [],
            "is_enterprise_install": false, "enterprise": null,
        }))
    }
}
