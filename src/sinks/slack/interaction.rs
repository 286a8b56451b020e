//! What Slack sends us: signed, form-encoded clicks on our buttons, and forms that were sent. Pure.
//!
//! In: headers and the raw body. Out: what a person decided, or the reason why there is nothing to do.
//! A valid signature proves only that Slack sent it: whether this person may decide is
//! [`super::SlackSettings::may_approve`], and whether the question still stands is the ticket's to say.
//! The payload's `response_url` is not even read: we call only hosts from our own configuration.

use std::collections::BTreeMap;

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
/// `callback_id`, `block_id` and `action_id` of the form for a line about the cause.
pub const CAUSE_LINE: &str = "cause_line";
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
    /// A person wants something of a ticket.
    Pressed(Press),
    /// Understood, nothing to do; the reason is for the log.
    Acknowledge(String),
}

/// A person wants something of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The ticket.
    pub ticket_id: TicketId,
    /// Slack's id of the person, to be checked against the allow-list.
    pub user_id: String,
    /// The name people read.
    pub user_name: String,
    /// The channel of the message, where the person can be answered.
    pub channel: Option<String>,
    /// What the person wants.
    pub wish: Wish,
}

/// What a person wants of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Approve or reject.
    Answer {
        /// The very question that was answered.
        approval_id: String,
        /// Hash of the plan that was shown.
        plan: String,
        /// Yes or no.
        approved: bool,
    },
    /// Silence failures like this ticket's, or end that.
    Silence(SilenceWish),
    /// Take the ticket.
    Take,
    /// Close it.
    Close,
    /// Name another category of cause; Slack opens a form for a line about it with this trigger.
    OtherCause(Category, Option<String>),
    /// Say in a line what the cause was: the form's answer.
    CauseLine(Category, String),
}

impl Wish {
    /// May only those do this who may approve?
    pub fn is_for_approvers(&self) -> bool {
        match self {
            Self::Answer { .. } | Self::Silence(_) | Self::Close => true,
            Self::Take | Self::OtherCause(..) | Self::CauseLine(..) => false,
        }
    }
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
    container: Option<Container>,
    trigger_id: Option<String>,
    #[serde(default)]
    actions: Option<Vec<Pressed>>,
    view: Option<View>,
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
struct Container {
    channel_id: Option<String>,
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

/// A form that was sent.
#[derive(Deserialize)]
struct View {
    callback_id: Option<String>,
    private_metadata: Option<String>,
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    /// By `block_id`, by `action_id`.
    values: BTreeMap<String, BTreeMap<String, Typed>>,
}

#[derive(Deserialize)]
struct Typed {
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
        let understood = match self.kind.as_str() {
            "block_actions" => self.pressed(),
            "view_submission" => self.view.as_ref().and_then(View::sent),
            other => {
                return Interaction::Acknowledge(format!(
                    "interaction of type {}",
                    cap(&redact(other), 60)
                ));
            }
        };
        let Some((ticket_id, wish)) = understood else {
            return acknowledge("no button, list or form of ours");
        };
        let channel = self
            .channel
            .and_then(|channel| channel.id)
            .or_else(|| self.container?.channel_id);
        let Some(user) = self.user.filter(|user| is_id(&user.id)) else {
            return acknowledge("nobody is named as having pressed the button");
        };
        Interaction::Pressed(Press {
            ticket_id,
            user_name: user.shown(),
            user_id: user.id,
            channel: channel.filter(|id| is_id(id)),
            wish,
        })
    }

    /// The first action that is one of ours.
    fn pressed(&self) -> Option<(TicketId, Wish)> {
        let actions = self.actions.as_deref().unwrap_or_default();
        actions
            .iter()
            .find_map(|action| action.wish(self.trigger_id.as_deref()))
    }
}

impl Pressed {
    fn wish(&self, trigger: Option<&str>) -> Option<(TicketId, Wish)> {
        let value = || self.value.as_deref().filter(|text| text.len() <= VALUE_CAP);
        let answer = |approved| {
            let (ticket, approval_id, plan) = read_value(value()?)?;
            let wish = Wish::Answer {
                approval_id,
                plan,
                approved,
            };
            Some((ticket, wish))
        };
        match self.action_id.as_deref()? {
            APPROVE => answer(true),
            REJECT => answer(false),
            TAKE => Some((read_ticket(value()?)?, Wish::Take)),
            CLOSE => Some((read_ticket(value()?)?, Wish::Close)),
            OTHER_CAUSE => {
                let chosen = self.selected_option.as_ref()?.value.as_deref()?;
                let (ticket, category) = read_cause(chosen)?;
                let trigger = trigger.map(ToOwned::to_owned);
                Some((ticket, Wish::OtherCause(category, trigger)))
            }
            id if id == END_SILENCE || id.starts_with(SILENCE) => {
                let (ticket, wish) = read_silence(value()?)?;
                Some((ticket, Wish::Silence(wish)))
            }
            _ => None,
        }
    }
}

impl View {
    /// What the form says, when it is ours and says something.
    fn sent(&self) -> Option<(TicketId, Wish)> {
        if self.callback_id.as_deref() != Some(CAUSE_LINE) {
            return None;
        }
        let (ticket, category) = read_cause(self.private_metadata.as_deref()?)?;
        let typed = self
            .state
            .as_ref()?
            .values
            .get(CAUSE_LINE)?
            .get(CAUSE_LINE)?;
        let line = typed.value.as_deref()?.trim();
        (!line.is_empty()).then(|| (ticket, Wish::CauseLine(category, line.to_owned())))
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
    let value: TicketValue = serde_json::from_str(text).ok()?;
    TicketId::parse(&value.t)
}

fn read_value(text: &str) -> Option<(TicketId, String, String)> {
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
