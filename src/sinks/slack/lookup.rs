//! Reading calls: which id a channel's name has, and whether a message of unknown outcome was posted after all.
//!
//! All of them are optional: a token with the integration guide's three scopes cannot read history, and a
//! private channel cannot be listed. Then the name goes to Slack as it is, which answers with the id, and
//! `client_msg_id` alone stands between a lost answer and a second message. No page of Slack's documents that
//! argument for `chat.postMessage`, nor is it in the signatures of the official SDKs: `doctor` says what is missing.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::client::{Answer, Failed};
use super::{EVENT_TYPE, Slack};
use crate::fault::Fault;
use crate::ticket::Ticket;

/// Slack allows "under 1000".
const LIST_PAGE: &str = "999";
const HISTORY_PAGE: &str = "100";
/// 100 pages of 999 channels.
const LIST_PAGES: usize = 100;
const HISTORY_PAGES: usize = 10;

impl Slack {
    /// The id of a channel, as far as it is known without asking.
    pub(super) fn known_channel(&self, name: &str) -> Option<String> {
        if is_channel_id(name) {
            return Some(name.to_owned());
        }
        self.shared().channels.get(name).cloned()
    }

    /// The id of a channel that the settings name, asked once; `None` when the token may not list channels.
    pub(super) async fn channel_id(
        &self,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        if let Some(known) = self.known_channel(name) {
            return Ok(Some(known));
        }
        let mut all_seen = true;
        // The guide's scope, channels:read, lists public channels; private ones need groups:read.
        for types in ["public_channel", "private_channel"] {
            match self.find_channel(name, types, now).await {
                Ok(Some(id)) => {
                    let mut shared = self.shared();
                    shared.channels.insert(name.to_owned(), id.clone());
                    return Ok(Some(id));
                }
                Ok(None) => {}
                Err(failed) if is_scope(&failed) => all_seen = false,
                Err(failed) => return Err(failed.fault("conversations.list", name)),
            }
        }
        if all_seen {
            return Err(Fault::permanent(format!(
                "there is no channel #{} in Slack; check {}, and invite the app if the channel is private",
                crate::redaction::cap(&crate::redaction::redact(name), 100),
                if self.is_owners(name) {
                    "OWNER_ROUTES"
                } else {
                    "SLACK_ALERT_CHANNEL"
                }
            )));
        }
        Ok(None)
    }

    async fn find_channel(
        &self,
        name: &str,
        types: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Failed> {
        let mut cursor = String::new();
        for _ in 0..LIST_PAGES {
            let arguments = [
                ("types", types),
                ("exclude_archived", "true"),
                ("limit", LIST_PAGE),
                ("cursor", &cursor),
            ];
            let answer = self
                .client
                .get("conversations.list", without_empty(&arguments), now)
                .await?;
            let channels = answer
                .body
                .get("channels")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for channel in channels {
                if text(channel, "name").is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                    return Ok(text(channel, "id").map(str::to_owned));
                }
            }
            match next_cursor(&answer) {
                Some(next) => cursor = next,
                None => break,
            }
        }
        Ok(None)
    }

    /// The ts of the ticket's message if an earlier try got through.
    pub(super) async fn message_posted(
        &self,
        ticket: &Ticket,
        channel: &str,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        let oldest = (since - TimeDelta::minutes(2)).timestamp().to_string();
        let post = u64::from(ticket.slack.reposted);
        let arguments = [
            ("channel", channel),
            ("oldest", &oldest),
            ("include_all_metadata", "true"),
            ("limit", HISTORY_PAGE),
        ];
        self.search("conversations.history", &arguments, now, |payload| {
            text(payload, "ticket_id") == Some(ticket.id.as_str())
                && payload.get("post").and_then(Value::as_u64) == Some(post)
        })
        .await
    }

    /// Is this chapter in the thread?
    pub(super) async fn chapter_posted(
        &self,
        ticket: &Ticket,
        channel: &str,
        ts: &str,
        number: u32,
        now: DateTime<Utc>,
    ) -> Result<bool, Fault> {
        let arguments = [
            ("channel", channel),
            ("ts", ts),
            ("include_all_metadata", "true"),
            ("limit", HISTORY_PAGE),
        ];
        let found = self.search("conversations.replies", &arguments, now, |payload| {
            text(payload, "ticket_id") == Some(ticket.id.as_str())
                && payload.get("chapter").and_then(Value::as_u64) == Some(u64::from(number))
        });
        Ok(found.await?.is_some())
    }

    /// Our own bot, asked once; nothing while Slack does not say.
    async fn bot_id(&self, now: DateTime<Utc>) -> Option<String> {
        if let Some(known) = self.shared().bot.clone() {
            return Some(known);
        }
        let asked = self.client.post("auth.test", &json!({}), now).await.ok()?;
        let bot = text(&asked.body, "bot_id").map(str::to_owned);
        self.shared().bot.clone_from(&bot);
        bot
    }

    /// The ts of the first message whose metadata is wanted. Quietly nothing when the token may not look.
    async fn search(
        &self,
        method: &str,
        arguments: &[(&str, &str)],
        now: DateTime<Utc>,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Option<String>, Fault> {
        if self.shared().no_history {
            return Ok(None);
        }
        // Other apps may post metadata that looks like ours.
        let ours = self.bot_id(now).await;
        let foreign = |message: &Value| match (&ours, text(message, "bot_id")) {
            (Some(ours), Some(by)) => by != ours,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let mut cursor = String::new();
        for _ in 0..HISTORY_PAGES {
            let mut arguments = arguments.to_vec();
            arguments.push(("cursor", &cursor));
            let answer = match self
                .client
                .get(method, without_empty(&arguments), now)
                .await
            {
                Ok(answer) => answer,
                Err(failed) if is_scope(&failed) => {
                    self.shared().no_history = true;
                    return Ok(None);
                }
                Err(failed) => {
                    let fault = failed.fault(method, &self.settings.channel);
                    return if fault.is_transient() {
                        Err(fault)
                    } else {
                        Ok(None)
                    };
                }
            };
            let messages = answer
                .body
                .get("messages")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for message in messages.filter(|message| !foreign(message)) {
                let metadata = message
                    .get("metadata")
                    .filter(|metadata| text(metadata, "event_type") == Some(EVENT_TYPE));
                if metadata
                    .and_then(|metadata| metadata.get("event_payload"))
                    .is_some_and(&wanted)
                {
                    return Ok(text(message, "ts").map(str::to_owned));
                }
            }
            match next_cursor(&answer) {
                Some(next) => cursor = next,
                None => break,
            }
        }
        Ok(None)
    }
}

/// `C…`, `G…` or `D…`: names are lower case, so the two cannot be confused.
fn is_channel_id(text: &str) -> bool {
    text.len() >= 9
        && text.starts_with(['C', 'G', 'D'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn is_scope(failed: &Failed) -> bool {
    matches!(
        failed.code(),
        Some("missing_scope" | "no_permission" | "access_denied" | "not_allowed_token_type")
    )
}

fn next_cursor(answer: &Answer) -> Option<String> {
    let cursor = answer
        .body
        .pointer("/response_metadata/next_cursor")?
        .as_str()?;
    (!cursor.is_empty()).then(|| cursor.to_owned())
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The first page has no cursor.
fn without_empty<'a, 'b>(arguments: &'a [(&'b str, &'b str)]) -> &'a [(&'b str, &'b str)] {
    match arguments.split_last() {
        Some((("cursor", ""), rest)) => rest,
        _ => arguments,
    }
}
