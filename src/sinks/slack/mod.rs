//! One Slack message per ticket, edited in place, with its story in its thread.
//!
//! In: the ticket as it stands. Out: one step towards a channel that shows it ([`Slack::step`]), and what
//! people press ([`interaction`]). Before a call that must not be made twice its [`Intent`] is recorded; if its
//! outcome stays unknown (timeout, crash), the next step looks for the message by its metadata before it posts, where
//! the token may read the channel's history. It posts under the same `client_msg_id`, by which Slack may answer a
//! repeat with the first message; that is documented nowhere, so nothing else relies on it. A message that
//! somebody deleted is posted again once, then left. The room does not know the store, JIRA's wire or the
//! clock. What people read is made in [`blocks`], the wire is `client`'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::fault::Fault;
use crate::http::Http;
use crate::ownership::Routes;
use crate::sinks::{Intents, Next, Pace, Step, Turn};
use crate::ticket::numbers::Summary;
use crate::ticket::{Chapter, DeliveryFault, Intent, SlackRecord, Ticket, Work};
use blocks::Post;
use channel::is_about_channel;
use client::Client;
use look::Look;
use posting::{is_duplicate, message_id};

pub use digest::digest;
pub use settings::SlackSettings;

pub mod answers;
pub mod blocks;
mod buttons;
mod channel;
mod check;
mod client;
mod digest;
pub mod elements;
pub mod interaction;
pub mod look;
mod lookup;
mod posting;
mod settings;
mod text;

/// Between two messages in a channel.
const GAP: TimeDelta = TimeDelta::seconds(1);
/// The type of the metadata on every message we post.
pub(crate) const EVENT_TYPE: &str = "rca_ticket";

/// The Slack sink; cloning shares its pace and its memory of the channel's id.
#[derive(Debug, Clone)]
pub struct Slack {
    settings: Arc<SlackSettings>,
    routes: Arc<Routes>,
    client: Client,
    intents: Intents,
    shared: Arc<Mutex<Shared>>,
}

/// Hints only: after a restart everything is found again (law L9).
#[derive(Debug)]
struct Shared {
    posts: Pace,
    updates: Pace,
    /// The ids of the channels that the settings name, by name.
    channels: BTreeMap<String, String>,
    /// Channels of owners that Slack refused, until when the general one takes their place.
    refused: BTreeMap<String, DateTime<Utc>>,
    /// The token may not read the channel's history: not asked again.
    no_history: bool,
    /// Our own bot, by Slack's id.
    bot: Option<String>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            posts: Pace::every(GAP),
            updates: Pace::every(GAP),
            channels: BTreeMap::new(),
            refused: BTreeMap::new(),
            no_history: false,
            bot: None,
        }
    }
}

impl Slack {
    /// Nothing is called before the first step.
    pub fn new(settings: SlackSettings, http: Http) -> Self {
        let client = Client::new(http, settings.api_base.clone(), settings.bot_token.clone());
        Self {
            settings: Arc::new(settings),
            routes: Arc::default(),
            client,
            intents: Intents::default(),
            shared: Arc::default(),
        }
    }

    /// Owners read of their failures where these routes lead.
    #[must_use]
    pub fn routed(mut self, routes: Arc<Routes>) -> Self {
        self.routes = routes;
        self
    }

    /// What is shown of a ticket.
    fn look(&self) -> Look<'_> {
        Look {
            routes: Some(&self.routes),
            ..self.settings.look()
        }
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &SlackSettings {
        &self.settings
    }

    /// What the next step will be about, by what is recorded.
    pub fn next(&self, ticket: &Ticket, now: DateTime<Utc>) -> Next<SlackRecord> {
        let record = &ticket.slack;
        if record.deleted {
            return Next::AtRest;
        }
        if record.ts.is_none() {
            let channel = self.known_channel(self.channel_for(ticket, now));
            return match channel.filter(|_| intended(record, Work::Create).is_none()) {
                Some(channel) => Next::Intend(SlackRecord {
                    channel: Some(channel),
                    ..self.intend(record, Work::Create, now)
                }),
                None => Next::Step,
            };
        }
        let message = blocks::message(ticket, &self.look());
        if record.shown.as_deref() != Some(&message.hash()) {
            return Next::Step;
        }
        let untold = ticket.story.iter().map(|chapter| chapter.number);
        match untold.into_iter().find(|number| *number > record.told) {
            None => Next::AtRest,
            Some(number) => {
                let work = Work::Comment(number);
                match intended(record, work) {
                    None => Next::Intend(self.intend(record, work, now)),
                    Some(_) => Next::Step,
                }
            }
        }
    }

    /// Whose turn it is in the channel, for a delivery of this ticket; `None`: nothing is to be posted. The place is kept.
    pub fn turn(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<Turn> {
        let who = has_to_post(ticket)?;
        Some(self.shared().posts.turn(who, now))
    }

    /// How long until a delivery of this ticket should come for its place in the channel; `None`: nothing is to be posted.
    pub fn reserve(&self, ticket: &Ticket, now: DateTime<Utc>) -> Option<std::time::Duration> {
        let who = has_to_post(ticket)?;
        Some(self.shared().posts.reserve(who, now))
    }

    /// Is it time to tell the other processes that messages wait in line here?
    pub fn is_time_to_tell(&self, now: DateTime<Utc>) -> bool {
        self.shared().posts.is_time_to_tell(now)
    }

    /// Until when Slack asked for silence.
    pub fn silent_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.shared().posts.silent_until(now)
    }

    /// So many processes post into the channel, and one of them was asked for silence.
    pub fn share(&self, processes: usize, silent_until: Option<DateTime<Utc>>) {
        let posts = &mut self.shared().posts;
        posts.share(processes);
        if let Some(until) = silent_until {
            posts.hold(until);
        }
    }

    /// One step towards Slack showing this ticket; at most one writing call.
    ///
    /// Store the record before the next step. Only one delivery at a time may step a ticket's Slack sink.
    /// A record that is lost costs a look into the channel's history, not a second message.
    pub async fn step(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<Step<SlackRecord>, Fault> {
        let record = &ticket.slack;
        if record.deleted {
            return Ok(Step::UpToDate);
        }
        let message = blocks::message(ticket, &self.look());
        let Some(ts) = &record.ts else {
            return self.post(ticket, &message, now).await;
        };
        let channel = record.channel.as_deref().unwrap_or(&self.settings.channel);
        if record.shown.as_deref() != Some(&message.hash()) {
            return self.update(ticket, channel, ts, &message, now).await;
        }
        match ticket
            .story
            .iter()
            .find(|chapter| chapter.number > record.told)
        {
            Some(chapter) => self.post_chapter(ticket, channel, ts, chapter, now).await,
            None => Ok(Step::UpToDate),
        }
    }

    async fn post(
        &self,
        ticket: &Ticket,
        message: &Post,
        now: DateTime<Utc>,
    ) -> Result<Step<SlackRecord>, Fault> {
        let record = &ticket.slack;
        let Some(intent) = intended(record, Work::Create) else {
            let name = self.channel_for(ticket, now);
            let channel = match self.channel_id(name, now).await {
                Err(fault) if self.is_owners(name) && !fault.is_transient() => {
                    self.refuse_channel(name, &fault, now);
                    self.channel_id(self.channel_name(), now).await?
                }
                channel => channel?,
            };
            let intended = self.intend(record, Work::Create, now);
            return Ok(Step::Recorded(SlackRecord {
                channel,
                ..intended
            }));
        };
        let first_try = match self.may_post(ticket, intent, now) {
            Ok(first_try) => first_try,
            Err(step) => return Ok(*step),
        };
        if !first_try
            && let Some(channel) = &record.channel
            && let Some(ts) = self
                .message_posted(ticket, channel, intent.since, now)
                .await?
        {
            return Ok(Step::Recorded(SlackRecord {
                ts: Some(ts),
                shown: None,
                intent: None,
                fault: None,
                ..record.clone()
            }));
        }
        let channel = record
            .channel
            .clone()
            .unwrap_or_else(|| format!("#{}", self.channel_for(ticket, now)));
        let arguments = json!({
            "channel": channel, "text": message.text, "blocks": message.blocks, "parse": "none",
            "unfurl_links": false, "unfurl_media": false,
            "client_msg_id": message_id(ticket, &format!("post {}", record.reposted)),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"ticket_id": ticket.id, "post": record.reposted}},
        });
        match self.client.post("chat.postMessage", &arguments, now).await {
            Ok(answer) => {
                let text = |name: &str| {
                    answer
                        .body
                        .get(name)
                        .and_then(|value| value.as_str())
                        .map(str::to_owned)
                };
                let (Some(channel), Some(ts)) = (text("channel"), text("ts")) else {
                    return Err(Fault::transient(
                        "Slack took the message and did not say where it is",
                    ));
                };
                // The answer to a repeat is the first message, which may show the ticket as it was then.
                let shown = first_try.then(|| message.hash());
                Ok(Step::Recorded(SlackRecord {
                    channel: Some(channel),
                    ts: Some(ts),
                    shown,
                    intent: None,
                    fault: None,
                    ..record.clone()
                }))
            }
            // Slack knows this client_msg_id, and the message is gone again.
            Err(failed) if is_duplicate(&failed) => Ok(Step::Recorded(gone(record))),
            Err(failed) => {
                let name = self.channel_for(ticket, now);
                if failed.code() == Some("channel_not_found") {
                    self.shared().channels.remove(name);
                }
                self.end(intent, first_try, &failed);
                if first_try && self.is_owners(name) && is_about_channel(&failed) {
                    let fault = self.refused("chat.postMessage", &failed, now);
                    self.refuse_channel(name, &fault, now);
                    // Looked for, and posted, in the general channel.
                    return Ok(Step::Recorded(SlackRecord {
                        channel: None,
                        intent: None,
                        ..record.clone()
                    }));
                }
                Err(self.refused("chat.postMessage", &failed, now))
            }
        }
    }

    async fn update(
        &self,
        ticket: &Ticket,
        channel: &str,
        ts: &str,
        message: &Post,
        now: DateTime<Utc>,
    ) -> Result<Step<SlackRecord>, Fault> {
        let record = &ticket.slack;
        if let Some(wait) = self.shared().updates.held(now) {
            return Ok(Step::Wait(wait, "Slack asked to slow down".into()));
        }
        let arguments = json!({
            "channel": channel, "ts": ts, "text": message.text, "blocks": message.blocks, "parse": "none",
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"ticket_id": ticket.id, "post": record.reposted}},
        });
        let shown = Some(message.hash());
        match self.client.post("chat.update", &arguments, now).await {
            Ok(_) => Ok(Step::Recorded(SlackRecord {
                shown,
                frozen: false,
                fault: None,
                ..record.clone()
            })),
            Err(failed) => match failed.code() {
                Some("message_not_found") => Ok(Step::Recorded(gone(record))),
                Some("cant_update_message" | "edit_window_closed") => {
                    Ok(Step::Recorded(SlackRecord {
                        shown,
                        frozen: true,
                        fault: Some(frozen(now)),
                        ..record.clone()
                    }))
                }
                _ => Err(self.refused("chat.update", &failed, now)),
            },
        }
    }

    async fn post_chapter(
        &self,
        ticket: &Ticket,
        channel: &str,
        ts: &str,
        chapter: &Chapter,
        now: DateTime<Utc>,
    ) -> Result<Step<SlackRecord>, Fault> {
        let record = &ticket.slack;
        let work = Work::Comment(chapter.number);
        let told = SlackRecord {
            told: chapter.number,
            intent: None,
            fault: record.fault.clone().filter(|_| record.frozen),
            ..record.clone()
        };
        let Some(intent) = intended(record, work) else {
            return Ok(Step::Recorded(self.intend(record, work, now)));
        };
        let first_try = match self.may_post(ticket, intent, now) {
            Ok(first_try) => first_try,
            Err(step) => return Ok(*step),
        };
        if !first_try
            && self
                .chapter_posted(ticket, channel, ts, chapter.number, now)
                .await?
        {
            return Ok(Step::Recorded(told));
        }
        let look = self.look();
        let entry = blocks::chapter(ticket, chapter, &look);
        let mut arguments = json!({
            "channel": channel, "thread_ts": ts, "text": entry.text, "blocks": entry.blocks, "parse": "none",
            "unfurl_links": false, "unfurl_media": false,
            "client_msg_id": message_id(ticket, &format!("chapter {} below {ts}", chapter.number)),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"ticket_id": ticket.id, "chapter": chapter.number}},
        });
        if blocks::is_for_the_channel(ticket, chapter, &look)
            && let Some(arguments) = arguments.as_object_mut()
        {
            arguments.insert("reply_broadcast".to_owned(), json!(true));
        }
        match self.client.post("chat.postMessage", &arguments, now).await {
            Ok(_) => Ok(Step::Recorded(told)),
            Err(failed) if is_duplicate(&failed) => Ok(Step::Recorded(told)),
            Err(failed) => {
                if let Some("thread_not_found" | "message_not_found" | "cannot_reply_to_message") =
                    failed.code()
                {
                    return Ok(Step::Recorded(gone(record)));
                }
                self.end(intent, first_try, &failed);
                Err(self.refused("chat.postMessage", &failed, now))
            }
        }
    }

    /// Where the weekly digest goes, if anywhere.
    pub fn digest_channel(&self) -> Option<&str> {
        self.settings.digest_channel.as_deref()
    }

    /// Posts the digest.
    ///
    /// # Errors
    /// Slack refused it, or could not be reached.
    pub async fn post_digest(&self, summary: &Summary, now: DateTime<Utc>) -> Result<(), Fault> {
        let Some(channel) = self.digest_channel() else {
            return Ok(());
        };
        let post = digest(summary, &self.settings.look());
        let arguments = json!({
            "channel": channel, "text": post.text, "blocks": post.blocks, "parse": "none",
            "unfurl_links": false, "unfurl_media": false,
        });
        match self.client.post("chat.postMessage", &arguments, now).await {
            Ok(_) => Ok(()),
            Err(failed) => Err(failed.fault("chat.postMessage", channel)),
        }
    }

    fn intend(&self, record: &SlackRecord, work: Work, now: DateTime<Utc>) -> SlackRecord {
        SlackRecord {
            intent: Some(self.intents.open(work, now)),
            ..record.clone()
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name under which the ticket waits in line, if a message of its has to be posted.
fn has_to_post(ticket: &Ticket) -> Option<&str> {
    let record = &ticket.slack;
    let mut story = ticket.story.iter();
    let untold = story.any(|chapter| chapter.number > record.told);
    (!record.deleted && (record.ts.is_none() || untold)).then_some(ticket.id.as_str())
}

/// The open intent of this work.
fn intended(record: &SlackRecord, work: Work) -> Option<&Intent> {
    record.intent.as_ref().filter(|intent| intent.what == work)
}

/// The record after Slack said that the message is no longer there: posted again once, then left.
fn gone(record: &SlackRecord) -> SlackRecord {
    if record.reposted > 0 {
        return SlackRecord {
            deleted: true,
            intent: None,
            ..record.clone()
        };
    }
    SlackRecord {
        ts: None,
        shown: None,
        intent: None,
        reposted: 1,
        frozen: false,
        ..record.clone()
    }
}

/// The message stays as it is; everything else goes on.
fn frozen(at: DateTime<Utc>) -> DeliveryFault {
    DeliveryFault {
        reason:
            "Slack no longer lets the message be edited; what changed since is posted in its thread. \
                 Allow message editing for apps (workspace settings, Message Editing)"
                .to_owned(),
        at,
        retrying: false,
    }
}
