//! What the Web API does to the workspace, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::forms::{self, SlackForm};
use super::{SlackChannel, SlackMessage, SlackOptions, SlackWhisper, rules};
use crate::{Answer, Request};

/// What is modelled of the Web API.
const METHODS: [&str; 9] = [
    "auth.test",
    "chat.postEphemeral",
    "chat.postMessage",
    "chat.update",
    "conversations.history",
    "conversations.info",
    "conversations.list",
    "conversations.replies",
    "views.open",
];

/// Our bot.
const BOT: &str = "B0BOT";

type Said = Result<Value, Value>;

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: SlackOptions,
    pub(super) messages: Vec<SlackMessage>,
    /// Client ids of deleted messages.
    pub(super) deleted: BTreeSet<String>,
    last_post: BTreeMap<String, DateTime<Utc>>,
    last_ts: i64,
    /// What one person alone has read.
    pub(super) whispers: Vec<SlackWhisper>,
    /// Forms that are open.
    pub(super) forms: Vec<SlackForm>,
    /// Triggers that have opened a form.
    pub(super) exchanged: BTreeSet<String>,
    /// What the door said to the last click.
    pub(super) pressed: Option<String>,
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(name.to_owned(), value);
    }
}

fn error(name: &str) -> Value {
    json!({"ok": false, "error": name})
}

impl State {
    pub(super) fn new(options: SlackOptions) -> Self {
        Self {
            options,
            messages: Vec::new(),
            deleted: BTreeSet::new(),
            last_post: BTreeMap::new(),
            last_ts: 0,
            whispers: Vec::new(),
            forms: Vec::new(),
            exchanged: BTreeSet::new(),
            pressed: None,
        }
    }

    /// One call of the Web API.
    pub(super) fn call(&mut self, method: &str, request: &Request) -> Answer {
        let scopes = self
            .options
            .scopes
            .iter()
            .cloned()
            .collect::<Vec<_>>()
            .join(",");
        if !METHODS.contains(&method) {
            return Answer::not_modelled(request);
        }
        let arguments = arguments(request);
        let mut status = 200;
        let mut body = match self
            .authorize(method, request, &arguments)
            .and_then(|()| self.perform(method, &arguments))
        {
            Ok(Value::Object(mut body)) => {
                body.insert("ok".into(), true.into());
                Value::Object(body)
            }
            Ok(other) | Err(other) => other,
        };
        if body.get("error").and_then(Value::as_str) == Some("ratelimited") {
            status = 429;
        }
        let content_type = request.header("content-type").unwrap_or_default();
        if request.method == "POST" && !content_type.to_ascii_lowercase().contains("charset=utf-8")
        {
            put(&mut body, "warning", json!("missing_charset"));
            // Beside what stands there already, a cursor for example.
            match body.get_mut("response_metadata") {
                Some(metadata) => put(metadata, "warnings", json!(["missing_charset"])),
                None => put(
                    &mut body,
                    "response_metadata",
                    json!({"warnings": ["missing_charset"]}),
                ),
            }
        }
        let answer = Answer::json(status, &body).with_header("x-oauth-scopes", &scopes);
        if status == 429 {
            answer.with_header("retry-after", "1")
        } else {
            answer
        }
    }

    fn authorize(
        &self,
        method: &str,
        request: &Request,
        arguments: &Map<String, Value>,
    ) -> Result<(), Value> {
        match request.header("authorization") {
            None => return Err(error("not_authed")),
            Some(_) if !request.is_authorized_by(&format!("Bearer {}", self.options.token)) => {
                return Err(error("invalid_auth"));
            }
            Some(_) => {}
        }
        let text = |name: &str| arguments.get(name).and_then(Value::as_str);
        let named = text("channel").unwrap_or_default();
        let private = self
            .options
            .channels
            .iter()
            .any(|channel| channel.id == named && channel.is_private);
        let needed: Vec<&str> = match method {
            "chat.postEphemeral" | "chat.postMessage" | "chat.update" => vec!["chat:write"],
            "conversations.list" => kinds(text("types").unwrap_or_default())
                .map(|private| {
                    if private {
                        "groups:read"
                    } else {
                        "channels:read"
                    }
                })
                .collect(),
            "conversations.info" if private => vec!["groups:read"],
            "conversations.info" => vec!["channels:read"],
            "conversations.history" | "conversations.replies" if private => vec!["groups:history"],
            "conversations.history" | "conversations.replies" => vec!["channels:history"],
            _ => return Ok(()),
        };
        let missing = needed
            .into_iter()
            .find(|scope| !self.options.scopes.contains(*scope));
        let Some(needed) = missing else {
            return Ok(());
        };
        let provided = self
            .options
            .scopes
            .iter()
            .cloned()
            .collect::<Vec<_>>()
            .join(",");
        Err(json!({"ok": false, "error": "missing_scope", "needed": needed, "provided": provided}))
    }

    fn perform(&mut self, method: &str, arguments: &Map<String, Value>) -> Said {
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match method {
            "auth.test" => Ok(json!({
                "url": "https://simulated.slack.com/", "team": "Simulated Workspace", "user": "aiops_rca_bot",
                "team_id": "T0SIMULATED", "user_id": "U0BOT", "bot_id": BOT, "is_enterprise_install": false,
            })),
            "conversations.list" => Ok(self.list(
                text("types"),
                text("limit"),
                text("cursor"),
                matches!(text("exclude_archived"), "true" | "1"),
            )),
            "conversations.info" => {
                let channel = self
                    .options
                    .channels
                    .iter()
                    .find(|channel| channel.id == text("channel"));
                channel
                    .map(|channel| json!({"channel": shown_channel(channel)}))
                    .ok_or_else(|| error("channel_not_found"))
            }
            "conversations.history" => self.read(text("channel"), None, text("oldest")),
            "conversations.replies" => self.read(text("channel"), Some(text("ts")), text("oldest")),
            "chat.postEphemeral" => self.whisper(arguments),
            "chat.postMessage" => self.post(arguments),
            "chat.update" => self.update(arguments),
            "views.open" => self.open_form(text("trigger_id"), arguments.get("view")),
            _ => Err(error("unknown_method")),
        }
    }

    fn list(&self, types: &str, limit: &str, cursor: &str, without_archived: bool) -> Value {
        let wanted: Vec<bool> = kinds(types).collect();
        let channels: Vec<&SlackChannel> = self
            .options
            .channels
            .iter()
            .filter(|channel| wanted.contains(&channel.is_private))
            .filter(|channel| !(without_archived && channel.is_archived))
            .collect();
        let from: usize = cursor
            .strip_prefix("from-")
            .and_then(|from| from.parse().ok())
            .unwrap_or(0);
        let size = limit
            .parse()
            .unwrap_or(100)
            .min(self.options.page_size)
            .max(1);
        let shown: Vec<Value> = channels
            .iter()
            .skip(from)
            .take(size)
            .map(|channel| shown_channel(channel))
            .collect();
        let next = if from + size < channels.len() {
            format!("from-{}", from + size)
        } else {
            String::new()
        };
        json!({"channels": shown, "response_metadata": {"next_cursor": next}})
    }

    fn read(&self, channel: &str, thread: Option<&str>, oldest: &str) -> Said {
        if !self
            .options
            .channels
            .iter()
            .any(|known| known.id == channel)
        {
            return Err(error("channel_not_found"));
        }
        let oldest: f64 = oldest.parse().unwrap_or(0.0);
        let wanted = |message: &&SlackMessage| {
            let here = match thread {
                None => message.thread_ts.is_none(),
                Some(ts) => message.ts == ts || message.thread_ts.as_deref() == Some(ts),
            };
            here && message.channel == channel
                && message.ts.parse::<f64>().is_ok_and(|ts| ts >= oldest)
        };
        let messages: Vec<Value> = self
            .messages
            .iter()
            .filter(wanted)
            .map(shown_message)
            .collect();
        if thread.is_some() && messages.is_empty() {
            return Err(error("thread_not_found"));
        }
        Ok(json!({"messages": messages, "has_more": false}))
    }

    fn post(&mut self, arguments: &Map<String, Value>) -> Said {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str);
        let named = text("channel").unwrap_or_default();
        let channel = self.writable(named, true)?;
        check_content(arguments)?;
        let client_msg_id = text("client_msg_id").map(str::to_owned);
        if self.options.knows_repeats && client_msg_id.is_some() {
            if let Some(first) = self
                .messages
                .iter()
                .find(|message| message.client_msg_id == client_msg_id)
            {
                return Ok(
                    json!({"channel": first.channel, "ts": first.ts, "message": shown_message(first)}),
                );
            }
            if client_msg_id
                .as_ref()
                .is_some_and(|id| self.deleted.contains(id))
            {
                return Err(error("duplicate_message_not_found"));
            }
        }
        let thread_ts = text("thread_ts").map(str::to_owned);
        if let Some(thread) = &thread_ts
            && !self
                .messages
                .iter()
                .any(|message| message.channel == channel && message.ts == *thread)
        {
            return Err(error("thread_not_found"));
        }
        let now = self.options.clock.now();
        if self.options.one_a_second
            && self
                .last_post
                .get(&channel)
                .is_some_and(|last| now - *last < chrono::TimeDelta::seconds(1))
        {
            return Err(error("ratelimited"));
        }
        self.last_post.insert(channel.clone(), now);
        let message = SlackMessage {
            channel: channel.clone(),
            ts: self.next_ts(now),
            thread_ts,
            text: text("text").unwrap_or_default().to_owned(),
            blocks: blocks(arguments),
            metadata: arguments.get("metadata").cloned().unwrap_or_default(),
            client_msg_id,
            bot_id: BOT.to_owned(),
            edits: 0,
            at: now,
        };
        let answer =
            json!({"channel": channel, "ts": message.ts, "message": shown_message(&message)});
        self.messages.push(message);
        Ok(answer)
    }

    fn whisper(&mut self, arguments: &Map<String, Value>) -> Said {
        let text = |name: &str| {
            let text = arguments.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let channel = self.writable(&text("channel"), true)?;
        check_content(arguments)?;
        let mut people = self.options.people.iter();
        if !people.any(|(id, _)| *id == text("user")) {
            return Err(error("user_not_in_channel"));
        }
        let now = self.options.clock.now();
        let ts = self.next_ts(now);
        self.whispers.push(SlackWhisper {
            channel,
            user: text("user"),
            text: text("text"),
        });
        Ok(json!({"message_ts": ts}))
    }

    fn open_form(&mut self, trigger: &str, view: Option<&Value>) -> Said {
        if self.exchanged.contains(trigger) {
            return Err(error("exchanged_trigger_id"));
        }
        let Some(user) = forms::triggered_by(trigger, self.options.clock.now()) else {
            return Err(error("expired_trigger_id"));
        };
        let view = view.cloned().unwrap_or_default();
        let problems = forms::problems(&view);
        if !problems.is_empty() {
            return Err(
                json!({"ok": false, "error": "invalid_arguments", "response_metadata": {"messages": problems}}),
            );
        }
        self.exchanged.insert(trigger.to_owned());
        let form = SlackForm {
            id: format!("V{:08}", self.exchanged.len()),
            user,
            view,
        };
        let shown = form.shown();
        self.forms.push(form);
        Ok(json!({"view": shown}))
    }

    fn update(&mut self, arguments: &Map<String, Value>) -> Said {
        let text = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        // Unlike chat.postMessage this takes ids only.
        let channel = self.writable(text("channel"), false)?;
        check_content(arguments)?;
        let Some(message) = self
            .messages
            .iter_mut()
            .find(|message| message.channel == channel && message.ts == text("ts"))
        else {
            return Err(error("message_not_found"));
        };
        text("text").clone_into(&mut message.text);
        message.blocks = blocks(arguments);
        if let Some(metadata) = arguments.get("metadata") {
            message.metadata = metadata.clone();
        }
        message.edits += 1;
        Ok(
            json!({"channel": channel, "ts": message.ts, "text": message.text, "message": shown_message(message)}),
        )
    }

    fn writable(&self, named: &str, by_name: bool) -> Result<String, Value> {
        let name = named.trim_start_matches('#');
        let found =
            |channel: &&SlackChannel| channel.id == named || (by_name && channel.name == name);
        let channel = self
            .options
            .channels
            .iter()
            .find(found)
            .ok_or_else(|| error("channel_not_found"))?;
        if channel.is_archived {
            return Err(error("is_archived"));
        }
        if !channel.is_member && channel.is_private {
            return Err(error("channel_not_found"));
        }
        if !channel.is_member && !self.options.scopes.contains("chat:write.public") {
            return Err(error("not_in_channel"));
        }
        Ok(channel.id.clone())
    }

    /// Microseconds, never the same twice.
    fn next_ts(&mut self, now: DateTime<Utc>) -> String {
        self.last_ts = now.timestamp_micros().max(self.last_ts + 1);
        format!(
            "{}.{:06}",
            self.last_ts / 1_000_000,
            self.last_ts % 1_000_000
        )
    }

    /// A person as interactions name them.
    pub(super) fn person(&self, user_id: &str) -> Value {
        let mut people = self.options.people.iter();
        let known = people.find(|(id, _)| id == user_id);
        let name = known.map_or(user_id, |(_, name)| name);
        json!({"id": user_id, "username": name.to_lowercase().replace(' ', "."), "name": name, "team_id": "T0SIMULATED"})
    }

    /// The interaction that pressing this button makes; `None` when there is no such button.
    pub(super) fn payload(&self, ts: &str, action_id: &str, user_id: &str) -> Option<Value> {
        let message = self.messages.iter().find(|message| message.ts == ts)?;
        let channel = self
            .options
            .channels
            .iter()
            .find(|channel| channel.id == message.channel)?;
        // An option that is chosen stands behind its list.
        let (action_id, option) = match action_id.split_once('#') {
            Some((list, option)) => (list, Some(option)),
            None => (action_id, None),
        };
        let (block, button) = buttons(message).find(|(_, button)| {
            button.get("action_id").and_then(Value::as_str) == Some(action_id)
        })?;
        let now = self.options.clock.now();
        let mut action = json!({
            "action_id": action_id, "block_id": block.get("block_id"), "text": button.get("text"), "type": button.get("type"),
            "action_ts": format!("{}.{:06}", now.timestamp(), now.timestamp_subsec_micros()),
        });
        for field in ["value", "style", "url"] {
            if let Some(value) = button.get(field) {
                put(&mut action, field, value.clone());
            }
        }
        if let Some(option) = option {
            put(&mut action, "selected_option", json!({"value": option}));
        }
        Some(json!({
            "type": "block_actions",
            "user": self.person(user_id),
            "api_app_id": "A0SIMULATED", "token": "deprecated-verification-token",
            "container": {"type": "message", "message_ts": ts, "channel_id": channel.id, "is_ephemeral": false},
            "trigger_id": forms::trigger(user_id, now),
            "team": {"id": "T0SIMULATED", "domain": "simulated"}, "enterprise": null, "is_enterprise_install": false,
            "channel": {"id": channel.id, "name": channel.name},
            "message": shown_message(message), "state": {"values": {}},
            "response_url": "https://hooks.slack.com/actions/T0SIMULATED/1/simulated",
            "actions": [action],
        }))
    }
}

/// Which of public (`false`) and private (`true`) channels `types` asks for; public ones when it says nothing.
fn kinds(types: &str) -> impl Iterator<Item = bool> + '_ {
    let types = if types.is_empty() {
        "public_channel"
    } else {
        types
    };
    types.split(',').filter_map(|kind| match kind.trim() {
        "public_channel" => Some(false),
        "private_channel" => Some(true),
        _ => None,
    })
}

/// Arguments as Slack takes them: JSON or a form in the body, and the query.
fn arguments(request: &Request) -> Map<String, Value> {
    let mut arguments: Map<String, Value> = request
        .query
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    if request
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"))
    {
        if let Value::Object(body) = request.json() {
            arguments.extend(body);
        }
    } else {
        arguments.extend(
            url::form_urlencoded::parse(&request.body)
                .map(|(name, value)| (name.into_owned(), json!(value))),
        );
    }
    arguments
}

fn blocks(arguments: &Map<String, Value>) -> Vec<Value> {
    arguments
        .get("blocks")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn check_content(arguments: &Map<String, Value>) -> Result<(), Value> {
    let text = arguments
        .get("text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let blocks = blocks(arguments);
    if text.is_empty() && blocks.is_empty() {
        return Err(error("no_text"));
    }
    if text.chars().count() > 40_000 {
        return Err(error("msg_too_long"));
    }
    let problems = rules::problems(&blocks);
    if problems.is_empty() {
        return Ok(());
    }
    Err(
        json!({"ok": false, "error": "invalid_blocks", "errors": problems, "response_metadata": {"messages": problems}}),
    )
}

fn buttons(message: &SlackMessage) -> impl Iterator<Item = (&Value, &Value)> {
    message.blocks.iter().flat_map(|block| {
        let elements = block
            .get("elements")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let button = |element: &&Value| {
            matches!(
                element.get("type").and_then(Value::as_str),
                Some("button" | "static_select")
            )
        };
        elements
            .iter()
            .filter(button)
            .map(move |element| (block, element))
    })
}

fn shown_channel(channel: &SlackChannel) -> Value {
    json!({
        "id": channel.id, "name": channel.name, "is_channel": true, "is_private": channel.is_private,
        "is_archived": channel.is_archived, "is_member": channel.is_member, "num_members": 7,
    })
}

fn shown_message(message: &SlackMessage) -> Value {
    let mut shown = json!({
        "type": "message", "bot_id": message.bot_id, "user": "U0BOT", "team": "T0SIMULATED", "ts": message.ts,
        "text": message.text, "blocks": message.blocks, "metadata": message.metadata,
    });
    if let Some(thread) = &message.thread_ts {
        put(&mut shown, "thread_ts", json!(thread));
    }
    if let Some(id) = &message.client_msg_id {
        put(&mut shown, "client_msg_id", json!(id));
    }
    shown
}
