//! What Teams sends us: activities of the Bot Framework. Pure.
//!
//! In: a body whose token was checked by the door. Out: what a person decided, where the app was installed, or the reason why
//! there is nothing to do. A valid token proves only that the Bot Framework sent it: whether this person may decide is
//! [`super::BotSettings::may_decide`], and whether the question still stands is the ticket's to say.

use serde::Deserialize;
use serde_json::{Value, json};

use super::card::{CARD_TYPE, verb};
use crate::redaction::{cap, redact};
use crate::ticket::TicketId;
use crate::tolerant;

/// The longest approval id and plan hash a button carries.
const PART_CAP: usize = 200;
/// The longest id of a channel, a team or a person.
const ID_CAP: usize = 300;

/// An activity, as far as its token speaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where answers go, to be compared with the token's claim.
    pub service: String,
    /// `msteams`: to be among the endorsements of the token's key.
    pub channel: String,
    /// The tenant it comes from.
    pub tenant: Option<String>,
    /// What it means.
    pub meaning: Meaning,
}

/// What an activity means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A person pressed a button.
    Pressed(Press),
    /// The app was installed, or something in its team changed.
    Installed {
        /// The team's group.
        team: Option<String>,
        /// The channel that was chosen, else the team's first.
        channel: Option<String>,
    },
    /// Understood, nothing to do; the reason is for the log.
    Ignored(String),
}

/// A pressed button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The ticket.
    pub ticket: TicketId,
    /// What was decided.
    pub verdict: Verdict,
    /// The person's Entra object id, to be checked against the allow-list.
    pub person: String,
    /// The name people read.
    pub name: String,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The answer to a question.
    Answer {
        /// The very question.
        approval: String,
        /// Hash of the plan that was shown.
        plan: String,
        /// Yes or no.
        approved: bool,
    },
    /// The person works on it.
    Take,
    /// It is done.
    Close,
}

/// A body that is no activity; names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body is no activity at {0}")]
pub struct Malformed(pub String);

/// Reads an activity. Its token is still to be checked.
///
/// # Errors
/// The body is not of the documented form.
pub fn parse(body: &[u8]) -> Result<Received, Malformed> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let activity: Activity = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Malformed(cap(&error.path().to_string(), 200)))?;
    Ok(activity.received())
}

/// The answer to a pressed button that shows the person this card.
pub fn shows(card: &Value) -> Value {
    json!({"statusCode": 200, "type": CARD_TYPE, "value": card})
}

/// The answer that tells the person something, and leaves the card as it is.
pub fn says(text: &str) -> Value {
    json!({"statusCode": 200, "type": "application/vnd.microsoft.activity.message", "value": text})
}

#[derive(Deserialize)]
struct Activity {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "serviceUrl")]
    service: String,
    #[serde(rename = "channelId")]
    channel: String,
    #[serde(default, deserialize_with = "tolerant::field")]
    name: Option<String>,
    #[serde(default, deserialize_with = "tolerant::field")]
    action: Option<String>,
    #[serde(default, deserialize_with = "tolerant::field")]
    from: Option<Account>,
    #[serde(default, deserialize_with = "tolerant::field")]
    recipient: Option<Account>,
    #[serde(default, deserialize_with = "tolerant::field")]
    conversation: Option<Conversation>,
    #[serde(rename = "channelData", default, deserialize_with = "tolerant::field")]
    data: Option<ChannelData>,
    #[serde(rename = "membersAdded", default, deserialize_with = "tolerant::field")]
    added: Option<Vec<Account>>,
    #[serde(default)]
    value: Option<Value>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default, deserialize_with = "tolerant::field")]
    id: Option<String>,
    #[serde(default, deserialize_with = "tolerant::field")]
    name: Option<String>,
    #[serde(rename = "aadObjectId", default, deserialize_with = "tolerant::field")]
    object: Option<String>,
}

#[derive(Deserialize)]
struct Conversation {
    #[serde(rename = "tenantId", default, deserialize_with = "tolerant::field")]
    tenant: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChannelData {
    #[serde(deserialize_with = "tolerant::field")]
    tenant: Option<Named>,
    #[serde(deserialize_with = "tolerant::field")]
    team: Option<Team>,
    #[serde(deserialize_with = "tolerant::field")]
    channel: Option<Named>,
    #[serde(deserialize_with = "tolerant::field")]
    settings: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(
        rename = "selectedChannel",
        default,
        deserialize_with = "tolerant::field"
    )]
    selected: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "tolerant::field")]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Team {
    #[serde(default, deserialize_with = "tolerant::field")]
    id: Option<String>,
    #[serde(rename = "aadGroupId", default, deserialize_with = "tolerant::field")]
    group: Option<String>,
}

/// What our buttons carry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ButtonData {
    ticket: String,
    #[serde(default)]
    approval: Option<String>,
    #[serde(default)]
    plan: Option<String>,
}

impl Activity {
    fn received(self) -> Received {
        let data = self.data.as_ref();
        let tenant = (data.and_then(|data| data.tenant.as_ref()?.id.clone()))
            .or_else(|| self.conversation.as_ref()?.tenant.clone());
        Received {
            tenant,
            meaning: self.meaning(),
            service: self.service,
            channel: self.channel,
        }
    }

    fn meaning(&self) -> Meaning {
        match (self.kind.as_str(), self.name.as_deref()) {
            ("invoke", Some("adaptiveCard/action")) => match self.press() {
                Ok(press) => Meaning::Pressed(press),
                Err(why) => Meaning::Ignored(why.to_owned()),
            },
            ("installationUpdate", _) if self.action.as_deref() == Some("remove") => {
                Meaning::Ignored("the app was removed from a team".to_owned())
            }
            ("installationUpdate", _) => self.place(),
            ("conversationUpdate", _) if self.adds_us() => self.place(),
            (kind, _) => {
                Meaning::Ignored(format!("an activity of type {}", cap(&redact(kind), 60)))
            }
        }
    }

    /// Is our bot among the members that were added?
    fn adds_us(&self) -> bool {
        let us = self.recipient.as_ref().and_then(|us| us.id.as_deref());
        let mut added = self.added.iter().flatten();
        us.is_some_and(|us| added.any(|member| member.id.as_deref() == Some(us)))
    }

    fn place(&self) -> Meaning {
        let Some(data) = &self.data else {
            return Meaning::Ignored("an installation outside of a team".to_owned());
        };
        let id = |named: &Option<Named>| named.as_ref()?.id.clone().filter(|id| is_channel(id));
        let chosen = data.settings.as_ref().and_then(|all| id(&all.selected));
        let first = data.team.as_ref().and_then(|team| team.id.clone());
        let channel = chosen.or_else(|| id(&data.channel));
        let channel = channel.or_else(|| first.filter(|id| is_channel(id)));
        let team = data.team.as_ref().and_then(|team| team.group.clone());
        let team = team.filter(|team| is_id(team));
        if channel.is_none() {
            return Meaning::Ignored("an installation outside of a team".to_owned());
        }
        Meaning::Installed { team, channel }
    }

    fn press(&self) -> Result<Press, &'static str> {
        let action = self.value.as_ref().and_then(|value| value.get("action"));
        let action = action.ok_or("an action without a value")?;
        let pressed = action.get("verb").and_then(Value::as_str);
        let data = action.get("data").cloned().unwrap_or_default();
        let data: ButtonData =
            serde_json::from_value(data).map_err(|_| "the button's data are not ours")?;
        let ticket = TicketId::parse(&data.ticket).ok_or("the button names no ticket")?;
        let part = |part: Option<String>| {
            let good = |part: &String| {
                !part.is_empty()
                    && part.len() <= PART_CAP
                    && part.bytes().all(|b| b.is_ascii_graphic())
            };
            part.filter(good).ok_or("the button names no question")
        };
        let answer = |approved, data: ButtonData| {
            Ok::<_, &str>(Verdict::Answer {
                approval: part(data.approval)?,
                plan: part(data.plan)?,
                approved,
            })
        };
        let verdict = match pressed {
            Some(verb::APPROVE) => answer(true, data)?,
            Some(verb::REJECT) => answer(false, data)?,
            Some(verb::TAKE) => Verdict::Take,
            Some(verb::CLOSE) => Verdict::Close,
            _ => return Err("no button of ours"),
        };
        let from = self.from.as_ref();
        let person = from
            .and_then(|from| from.object.clone())
            .filter(|id| is_id(id));
        let person = person.ok_or("nobody is named as having pressed the button")?;
        let name = from.and_then(|from| from.name.clone());
        let name = name.filter(|name| !name.trim().is_empty());
        Ok(Press {
            ticket,
            verdict,
            name: name.map_or_else(|| person.clone(), |name| cap(&redact(&name), 120)),
            person,
        })
    }
}

/// A channel's id, `19:…@thread.tacv2`.
fn is_channel(id: &str) -> bool {
    id.starts_with("19:")
        && id.len() <= ID_CAP
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":@._-".contains(&b))
}

/// An Entra object id.
fn is_id(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
