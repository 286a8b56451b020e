//! What Slack sends us: signed, form-encoded clicks on our buttons. Pure.
//!
//! In: headers and the raw body. Out: what a person decided, or the reason why there is nothing to do.
//! A valid signature proves only that Slack sent it: whether this person may decide is
//! [`super::SlackSettings::may_approve`], and whether the question still stands is the ticket's to say.
//! The payload's `response_url` is not even read: we call only hosts from our own configuration.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::diagnosis::Category;
use crate::redaction::{cap, redact};
use crate::ticket::{Approval, TicketId};

/// `action_id` of the button that says yes.
pub const APPROVE: &str = "approve_remediation";
/// `action_id` of the button that says no.
pub const REJECT: &str = "reject_remediation";
/// `action_id` of the buttons that silence failures like a ticket's, each with its minutes behind it.
pub const SILENCE: &str = "silence_";
/// `action_id` of the button that ends a silence.
pub const END_SILENCE: &str = "end_silence";
/// `action_id` of the button by which anybody in the channel takes the ticket.
pub const TAKE: &str = "take_ticket";
/// `action_id` of the button by which an approver closes it.
pub const CLOSE: &str = "close_ticket";
/// `action_id` of the list of categories.
pub const OTHER_CAUSE: &str = "other_cause";
/// `action_id` of the link to the run.
pub const OPEN_RUN: &str = "open_run";
/// `action_id` of the link to the dashboard.
pub const OPEN_DASHBOARD: &str = "open_dashboard";

/// Older or younger calls are replays (Slack's own recommendation).
const WINDOW_SECONDS: i64 = 300;
/// The longest value of a button Slack allows.
const VALUE_CAP: usize = 2000;
/// The longest approval id and plan hash a button carries.
const PART_CAP: usize = 200;

/// Why a call is not from Slack, or not from now. All are answered alike: 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// A header is missing or not of its form.
    #[error("the signature headers are missing or malformed")]
    Headers,
    /// More than five minutes from our clock.
    #[error("the signed time is more than five minutes from ours")]
    Stale,
    /// The signature does not match.
    #[error("the signature does not match")]
    Signature,
}

/// What a call means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interaction {
    /// A person pressed Approve or Reject.
    Decision {
        /// The ticket.
        ticket_id: TicketId,
        /// The very question that was answered.
        approval_id: String,
        /// Hash of the plan that was shown.
        plan: String,
        /// Yes or no.
        approved: bool,
        /// Slack's id of the person, to be checked against the allow-list.
        user_id: String,
        /// The name people read.
        user_name: String,
        /// The channel's id.
        channel: Option<String>,
        /// The message's ts.
        message_ts: Option<String>,
    },
    /// A person silenced failures like a ticket's, or ended that.
    Silence {
        /// The ticket.
        ticket_id: TicketId,
        /// For how long, or which silence ends.
        what: SilenceWish,
        /// Slack's id of the person, to be checked against the allow-list.
        user_id: String,
        /// The name people read.
        user_name: String,
    },
    /// A person pressed Take it or Close.
    Change {
        /// The ticket.
        ticket_id: TicketId,
        /// Take it, or close it?
        closes: bool,
        /// Slack's id of the person; only approvers close.
        user_id: String,
        /// The name people read.
        user_name: String,
    },
    /// A person chose another category of cause.
    Correction {
        /// The ticket.
        ticket_id: TicketId,
        /// The right category.
        category: Category,
        /// The name people read.
        user_name: String,
    },
    /// Understood, nothing to do; the reason is for the log.
    Acknowledge(String),
}

/// What a person wants of a silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SilenceWish {
    /// One for so many minutes.
    Minutes(u32),
    /// The end of this one.
    End(String),
}

/// A body that is no interaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No form field `payload`.
    #[error("the form has no field payload")]
    NoPayload,
    /// The payload is not JSON of the documented form; names the place.
    #[error("the payload is not a Slack interaction at {0}")]
    Payload(String),
}

/// Checks `X-Slack-Signature` over the raw body, and that the call is from now.
///
/// Both checks are always made and the comparison takes the same time whatever differs.
pub fn verify(
    timestamp: Option<&str>,
    signature: Option<&str>,
    raw_body: &[u8],
    secret: &SecretString,
    now: DateTime<Utc>,
) -> Result<(), Forged> {
    let (timestamp, signature) = timestamp.zip(signature).ok_or(Forged::Headers)?;
    if timestamp.is_empty()
        || timestamp.len() > 12
        || !timestamp.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(Forged::Headers);
    }
    let seconds: i64 = timestamp.parse().map_err(|_| Forged::Headers)?;
    let expected = sign(timestamp, raw_body, secret);
    if !bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
        return Err(Forged::Signature);
    }
    if now.timestamp().abs_diff(seconds) > WINDOW_SECONDS.unsigned_abs() {
        return Err(Forged::Stale);
    }
    Ok(())
}

/// The value of `X-Slack-Signature` for this body: `v0=` and 64 hex digits.
pub fn sign(timestamp: &str, raw_body: &[u8], secret: &SecretString) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return String::new();
    };
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(raw_body);
    format!("v0={}", hex::encode(mac.finalize().into_bytes()))
}

/// Reads the raw (already verified) body.
pub fn parse(raw_body: &[u8]) -> Result<Interaction, Malformed> {
    let mut payload = None;
    for (name, value) in url::form_urlencoded::parse(raw_body) {
        match name.as_ref() {
            "payload" if payload.is_none() => payload = Some(value),
            "ssl_check" => {
                return Ok(Interaction::Acknowledge(
                    "Slack checks our certificate".into(),
                ));
            }
            _ => {}
        }
    }
    let payload = payload.ok_or(Malformed::NoPayload)?;
    let mut json = serde_json::Deserializer::from_str(&payload);
    let payload: Payload = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Malformed::Payload(cap(&error.path().to_string(), 200)))?;
    Ok(payload.meaning())
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    channel: Option<Named>,
    message: Option<Message>,
    container: Option<Container>,
    #[serde(default)]
    actions: Option<Vec<Pressed>>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: Option<String>,
    username: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    ts: Option<String>,
}

#[derive(Deserialize)]
struct Container {
    channel_id: Option<String>,
    message_ts: Option<String>,
}

#[derive(Deserialize)]
struct Pressed {
    action_id: Option<String>,
    value: Option<String>,
    selected_option: Option<Chosen>,
}

#[derive(Deserialize)]
struct Chosen {
    value: Option<String>,
}

/// What our buttons carry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ButtonValue {
    t: String,
    a: String,
    p: String,
}

/// What the buttons of silences carry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SilenceValue {
    t: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<String>,
}

/// The value of a button that silences, or ends that.
pub(super) fn silence_value(ticket: &TicketId, wish: &SilenceWish) -> Option<String> {
    let (m, s) = match wish {
        SilenceWish::Minutes(minutes) => (Some(*minutes), None),
        SilenceWish::End(id) => (None, Some(id.clone())),
    };
    let t = ticket.as_str().to_owned();
    serde_json::to_string(&SilenceValue { t, m, s }).ok()
}

fn read_silence(text: &str) -> Option<(TicketId, SilenceWish)> {
    if text.len() > VALUE_CAP {
        return None;
    }
    let value: SilenceValue = serde_json::from_str(text).ok()?;
    let is_id = |id: &String| id.len() <= PART_CAP && id.bytes().all(|b| b.is_ascii_graphic());
    let wish = match (value.m, value.s.filter(is_id)) {
        (Some(minutes), None) => SilenceWish::Minutes(minutes),
        (None, Some(id)) => SilenceWish::End(id),
        _ => return None,
    };
    Some((TicketId::parse(&value.t)?, wish))
}

impl User {
    /// The name people read.
    fn shown(&self) -> String {
        let names = [&self.name, &self.username];
        let name = names
            .into_iter()
            .flatten()
            .find(|name| !name.trim().is_empty());
        name.map_or_else(|| self.id.clone(), |name| cap(&redact(name), 120))
    }
}

impl Payload {
    fn meaning(self) -> Interaction {
        let acknowledge = |why: &str| Interaction::Acknowledge(why.to_owned());
        if self.kind != "block_actions" {
            return Interaction::Acknowledge(format!(
                "interaction of type {}",
                cap(&redact(&self.kind), 60)
            ));
        }
        let pressed = self.actions.as_deref().unwrap_or_default();
        let wish = pressed.iter().find(|action| {
            let id = action.action_id.as_deref().unwrap_or_default();
            id == END_SILENCE || id.starts_with(SILENCE)
        });
        if let Some(wish) = wish {
            let read = wish.value.as_deref().and_then(read_silence);
            let user = self.user.as_ref().filter(|user| is_id(&user.id));
            return match (read, user) {
                (Some((ticket_id, what)), Some(user)) => Interaction::Silence {
                    ticket_id,
                    what,
                    user_id: user.id.clone(),
                    user_name: user.shown(),
                },
                _ => acknowledge("the button's value is not one of ours, or nobody pressed it"),
            };
        }
        let change = pressed
            .iter()
            .find_map(|action| match action.action_id.as_deref() {
                Some(TAKE) => Some((false, action)),
                Some(CLOSE) => Some((true, action)),
                _ => None,
            });
        if let Some((closes, action)) = change {
            let Some(ticket_id) = action.value.as_deref().and_then(read_ticket) else {
                return acknowledge("the button's value is not one of ours");
            };
            let Some(user) = self.user.filter(|user| is_id(&user.id)) else {
                return acknowledge("nobody is named as having pressed the button");
            };
            return Interaction::Change {
                ticket_id,
                closes,
                user_name: user.shown(),
                user_id: user.id,
            };
        }
        let chosen = pressed
            .iter()
            .find(|action| action.action_id.as_deref() == Some(OTHER_CAUSE));
        if let Some(action) = chosen {
            let value = action.selected_option.as_ref();
            let value = value.and_then(|chosen| read_cause(chosen.value.as_deref()?));
            let user = self.user.filter(|user| is_id(&user.id));
            return match (value, user) {
                (Some((ticket_id, category)), Some(user)) => Interaction::Correction {
                    ticket_id,
                    category,
                    user_name: user.shown(),
                },
                _ => acknowledge("the choice is not one of ours, or nobody's"),
            };
        }
        let decision = pressed
            .iter()
            .find_map(|action| match action.action_id.as_deref() {
                Some(APPROVE) => Some((true, action)),
                Some(REJECT) => Some((false, action)),
                _ => None,
            });
        let Some((approved, action)) = decision else {
            return acknowledge("no button that decides anything");
        };
        let Some((ticket_id, approval_id, plan)) = action.value.as_deref().and_then(read_value)
        else {
            return acknowledge("the button's value is not one of ours");
        };
        let Some(user) = self.user.filter(|user| is_id(&user.id)) else {
            return acknowledge("nobody is named as having pressed the button");
        };
        Interaction::Decision {
            ticket_id,
            approval_id,
            plan,
            approved,
            user_name: user.shown(),
            user_id: user.id,
            channel: self
                .channel
                .and_then(|channel| channel.id)
                .or_else(|| self.container.as_ref()?.channel_id.clone()),
            message_ts: self
                .message
                .and_then(|message| message.ts)
                .or_else(|| self.container.as_ref()?.message_ts.clone()),
        }
    }
}

/// The value of both buttons of a question; `None` when it could not be read back.
pub(super) fn button_value(ticket: &TicketId, approval: &Approval) -> Option<String> {
    answer_value(ticket, &approval.id, &approval.plan)
}

/// The same of a question by its id and the hash of its plan.
pub(super) fn answer_value(ticket: &TicketId, approval: &str, plan: &str) -> Option<String> {
    let value = ButtonValue {
        t: ticket.as_str().to_owned(),
        a: approval.to_owned(),
        p: plan.to_owned(),
    };
    let text = serde_json::to_string(&value).ok()?;
    read_value(&text).map(|_| text)
}

/// What the buttons carry that ask nothing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketValue {
    t: String,
}

/// The value of the buttons that change a ticket; `None` when it could not be read back.
pub(super) fn ticket_value(ticket: &TicketId) -> Option<String> {
    let value = TicketValue {
        t: ticket.as_str().to_owned(),
    };
    serde_json::to_string(&value).ok()
}

/// What an option of the list of categories carries: at most 75 characters.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CauseValue {
    t: String,
    c: Category,
}

/// The value of one category; `None` when it could not be read back.
pub(super) fn cause_value(ticket: &TicketId, category: Category) -> Option<String> {
    let value = CauseValue {
        t: ticket.as_str().to_owned(),
        c: category,
    };
    serde_json::to_string(&value).ok()
}

fn read_cause(text: &str) -> Option<(TicketId, Category)> {
    let value: CauseValue = serde_json::from_str(text.get(..PART_CAP.min(text.len()))?).ok()?;
    Some((TicketId::parse(&value.t)?, value.c))
}

fn read_ticket(text: &str) -> Option<TicketId> {
    let value: TicketValue = serde_json::from_str(text.get(..VALUE_CAP.min(text.len()))?).ok()?;
    TicketId::parse(&value.t)
}

fn read_value(text: &str) -> Option<(TicketId, String, String)> {
    if text.len() > VALUE_CAP {
        return None;
    }
    let value: ButtonValue = serde_json::from_str(text).ok()?;
    let part = |part: &str| {
        !part.is_empty() && part.len() <= PART_CAP && part.bytes().all(|b| b.is_ascii_graphic())
    };
    (part(&value.a) && part(&value.p)).then_some(())?;
    Some((TicketId::parse(&value.t)?, value.a, value.p))
}

/// Slack's ids are capital letters and digits.
pub(super) fn is_id(text: &str) -> bool {
    (2..=32).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}
