//! The wire to the Bot Connector, and to Graph where the app may read its channel: one call, one sorted answer.
//!
//! In: a card and where it goes. Out: ids, or what went wrong, told apart by the one thing that matters for exactly-once:
//! was nothing done, or is the outcome unknown? Tokens are the managed identity's own and go to hosts from the settings, or on
//! the list of Teams' own hosts, alone. The room does not know tickets.

use std::time::Duration;

use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::card::CARD_TYPE;
use crate::fault::Fault;
use crate::http::{Http, NoReply, Reply};
use crate::identity::Identity;
use crate::redaction::{cap, redact};
use crate::tolerant;

/// The resource of tokens for the Bot Connector.
const RESOURCE: &str = "https://api.botframework.com";
/// When Teams names no time.
const TOO_MANY: Duration = Duration::from_secs(5);
/// Two changes of one conversation met: documented to be tried again.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Pages of messages that are looked through.
const PAGES: usize = 4;
const WHAT: &str = "Teams";
const GRAPH: &str = "Microsoft Graph";

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) http: Http,
    /// `None`: this process has no managed identity.
    pub(super) identity: Option<Identity>,
    pub(super) graph: Url,
}

/// A card with what is said about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post<'a> {
    pub(super) card: &'a Value,
    pub(super) summary: &'a str,
}

/// Where a card is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) conversation: String,
    pub(super) activity: String,
}

/// No good answer.
#[derive(Debug, Clone)]
pub(super) enum Failed {
    /// Nothing was done.
    Refused(Refusal),
    /// It may have been done or not.
    Unknown(Fault),
}

/// What Teams said no with.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) fault: Fault,
    /// How long it wants nothing more.
    pub(super) silence: Option<Duration>,
}

#[derive(Deserialize)]
struct Created {
    id: String,
    #[serde(rename = "activityId", default, deserialize_with = "tolerant::field")]
    activity: Option<String>,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default, deserialize_with = "tolerant::field")]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Messages {
    #[serde(default)]
    value: Vec<Message>,
    #[serde(rename = "@odata.nextLink", default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    #[serde(
        rename = "createdDateTime",
        default,
        deserialize_with = "tolerant::field"
    )]
    created: Option<DateTime<Utc>>,
    #[serde(default)]
    from: Option<From>,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct From {
    #[serde(default)]
    application: Option<Application>,
}

#[derive(Deserialize)]
struct Application {
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "contentType", default)]
    kind: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

impl Client {
    /// Begins a thread in a channel with this card.
    pub(super) async fn create(
        &self,
        service: &Url,
        (tenant, channel): (&str, &str),
        post: Post<'_>,
        now: DateTime<Utc>,
    ) -> Result<Posted, Failed> {
        let body = json!({
            "isGroup": true,
            "channelData": {"channel": {"id": channel}, "tenant": {"id": tenant}},
            "activity": activity(post),
        });
        let url = below(service, &["v3", "conversations"])?;
        let reply = self.call(Method::POST, &url, &body, now).await?;
        let created: Created = read(&reply)?;
        let activity = created.activity.or_else(|| {
            let (_, id) = created.id.split_once(";messageid=")?;
            Some(id.to_owned())
        });
        match activity {
            Some(activity) => Ok(Posted {
                conversation: created.id,
                activity,
            }),
            None => Err(Failed::Unknown(Fault::transient(
                "Teams took the card and did not say where it is",
            ))),
        }
    }

    /// Shows another card in the place of this one. Safe to repeat.
    pub(super) async fn update(
        &self,
        service: &Url,
        at: &Posted,
        post: Post<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Failed> {
        let path = [
            "v3",
            "conversations",
            &at.conversation,
            "activities",
            &at.activity,
        ];
        let url = below(service, &path)?;
        let mut body = activity(post);
        if let Some(fields) = body.as_object_mut() {
            fields.insert("id".to_owned(), at.activity.clone().into());
        }
        self.call(Method::PUT, &url, &body, now).await.map(drop)
    }

    /// Adds a card to a thread.
    pub(super) async fn reply(
        &self,
        service: &Url,
        conversation: &str,
        post: Post<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Failed> {
        let url = below(
            service,
            &["v3", "conversations", conversation, "activities"],
        )?;
        let reply = self.call(Method::POST, &url, &activity(post), now).await?;
        read::<Sent>(&reply).map(|sent| drop(sent.id))
    }

    /// For `doctor`: is a token given?
    pub(super) async fn token(&self, resource: &str) -> Result<secrecy::SecretString, Fault> {
        match &self.identity {
            Some(identity) => identity.token(resource).await,
            None => Err(Fault::permanent(
                "this process has no managed identity: the bot signs in as the app's own, which must be assigned to it",
            )),
        }
    }

    /// The id of our own message with this mark, posted since then: in the channel, or below a message. `Ok(None)`: it is not
    /// there. `Err(Refused)` with 401, 403: the app may not read the channel.
    pub(super) async fn find(
        &self,
        (team, channel): (&str, &str),
        below_message: Option<&str>,
        (app, mark): (&str, &str),
        since: DateTime<Utc>,
    ) -> Result<Option<String>, Failed> {
        let mut path = vec!["v1.0", "teams", team, "channels", channel, "messages"];
        if let Some(message) = below_message {
            path.extend([message, "replies"]);
        }
        let mut url = below(&self.graph, &path)?;
        url.query_pairs_mut().append_pair("$top", "50");
        let since = since - chrono::TimeDelta::minutes(1);
        for _ in 0..PAGES {
            let token = self.token(resource(&self.graph).as_str()).await;
            let token = token.map_err(Failed::Unknown)?;
            let request = (self.http.request(Method::GET, &url)).bearer_auth(token.expose_secret());
            let reply = self.http.send(GRAPH, request).await;
            let reply = reply.map_err(|silent| Failed::Unknown(silent.fault))?;
            if !reply.is_success() {
                return Err(Failed::Refused(Refusal {
                    status: reply.status,
                    fault: reply.fault(GRAPH, Utc::now()),
                    silence: None,
                }));
            }
            let page: Messages = reply.json(GRAPH).map_err(Failed::Unknown)?;
            let found = page.value.iter().find(|message| message.is(app, mark));
            if let Some(found) = found {
                return Ok(Some(found.id.clone()));
            }
            let older = |message: &Message| message.created.is_some_and(|at| at < since);
            let next = page.next.as_deref().and_then(|next| Url::parse(next).ok());
            match next.filter(|next| next.origin() == self.graph.origin()) {
                Some(next) if !page.value.iter().all(older) => url = next,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn call(
        &self,
        method: Method,
        url: &Url,
        body: &Value,
        now: DateTime<Utc>,
    ) -> Result<Reply, Failed> {
        let token = self.token(RESOURCE).await.map_err(|fault| {
            let (status, silence) = (0, None);
            Failed::Refused(Refusal {
                status,
                fault,
                silence,
            })
        })?;
        let request = (self.http.request(method, url))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .bearer_auth(token.expose_secret())
            .body(body.to_string());
        sort(self.http.send(WHAT, request).await, now)
    }
}

impl Message {
    fn is(&self, app: &str, mark: &str) -> bool {
        let from = self.from.as_ref();
        let by = from.and_then(|from| from.application.as_ref()?.id.as_deref());
        let is_marked = |attachment: &Attachment| {
            let is_card = attachment.kind.as_deref() == Some(CARD_TYPE);
            let card = attachment.content.as_deref().filter(|_| is_card);
            let card = card.and_then(|text| serde_json::from_str::<Value>(text).ok());
            card.is_some_and(|card| {
                let id = card.pointer("/body/0/id").and_then(Value::as_str);
                id == Some(mark)
            })
        };
        by.is_some_and(|by| by.eq_ignore_ascii_case(app)) && self.attachments.iter().any(is_marked)
    }
}

impl Failed {
    pub(super) fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault.clone(),
            Self::Unknown(fault) => fault.clone(),
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Unknown(_) => None,
        }
    }
}

/// The resource of tokens for this Graph.
fn resource(graph: &Url) -> String {
    graph.origin().ascii_serialization()
}

fn activity(post: Post<'_>) -> Value {
    json!({
        "type": "message", "summary": post.summary,
        "attachments": [{"contentType": CARD_TYPE, "content": post.card}],
    })
}

/// `base` with further path pieces, each encoded as a whole: ids hold `:`, `@` and `;`.
fn below(base: &Url, pieces: &[&str]) -> Result<Url, Failed> {
    let mut url = base.clone();
    let mut path = url.path().trim_end_matches('/').to_owned();
    for piece in pieces {
        path.push('/');
        let safe = !piece.is_empty()
            && piece
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'.');
        if safe {
            path.push_str(piece);
        } else {
            path.extend(utf8_percent_encode(piece, NON_ALPHANUMERIC));
        }
    }
    if url.cannot_be_a_base() {
        return Err(Failed::Unknown(Fault::permanent(
            "the address of Teams is not a web address",
        )));
    }
    url.set_path(&path);
    url.set_query(None);
    Ok(url)
}

fn read<T: serde::de::DeserializeOwned>(reply: &Reply) -> Result<T, Failed> {
    serde_json::from_slice(&reply.body).map_err(|_| {
        Failed::Unknown(Fault::transient(
            "Teams answered with something that is not its JSON",
        ))
    })
}

fn sort(reply: Result<Reply, NoReply>, now: DateTime<Utc>) -> Result<Reply, Failed> {
    let refused = |status, fault, silence| {
        Err(Failed::Refused(Refusal {
            status,
            fault,
            silence,
        }))
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(NoReply { fault, sent: false }) => return refused(0, fault, None),
        Err(NoReply { fault, .. }) => return Err(Failed::Unknown(fault)),
    };
    match reply.status {
        // A proxy's page in the place of the answer.
        200..=299 if is_page(&reply) => Err(Failed::Unknown(Fault::transient(
            "Teams answered with a web page",
        ))),
        200..=299 => Ok(reply),
        429 => {
            let wait = reply.retry_after(now).unwrap_or(TOO_MANY);
            let fault = Fault::transient_after("Teams asks to slow down", Some(wait));
            refused(429, fault, Some(wait))
        }
        412 => {
            let why = "Teams works on another change of this conversation";
            let wait = reply.retry_after(now).or(Some(AT_ONCE));
            refused(412, Fault::transient_after(why, wait), None)
        }
        status @ (300..=399 | 425) => refused(status, reply.fault(WHAT, now), None),
        status @ 400..=499 if status != 408 => {
            refused(status, Fault::permanent(refusal(&reply)), None)
        }
        _ => Err(Failed::Unknown(reply.fault(WHAT, now))),
    }
}

fn is_page(reply: &Reply) -> bool {
    let kind = reply.headers.get(CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

/// What a refusal means, and what to do about it.
fn refusal(reply: &Reply) -> String {
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let text = |name: &str| {
        let text = body
            .as_ref()?
            .pointer(&format!("/error/{name}"))?
            .as_str()?;
        Some(cap(&redact(text), 160))
    };
    let code = text("code").unwrap_or_default();
    let said = [Some(code.clone()), text("message")];
    let said: Vec<String> = said
        .into_iter()
        .flatten()
        .filter(|text| !text.is_empty())
        .collect();
    let remedy = match (reply.status, code.as_str()) {
        (401, _) => {
            "the identity's token is not one of the bot: is TEAMS_BOT_APP_ID the client id of the app's user-assigned identity, and the bot of that type?"
        }
        (403, "BotNotInConversationRoster") => {
            "install the app (its package) in the team of this channel"
        }
        (403, "BotDisabledByAdmin") => "an admin of Teams has to allow the app",
        (403, _) => "install the app in the team, and let members of the channel post there",
        (404, _) => {
            "there is no such channel: check its id (TEAMS_CHANNEL_ID, or teams=… in OWNER_ROUTES), and that the app is installed in its team"
        }
        (413, _) => "the card is too large",
        (400, _) => {
            "check the bot's registration and its Teams channel, and that whom cards mention (TEAMS_APPROVERS, mention=… in OWNER_ROUTES and CRITICALITY) are people of this tenant"
        }
        _ => "check the bot's registration and its Teams channel",
    };
    format!(
        "Teams refused ({}: {}): {remedy}",
        reply.status,
        said.join(", ")
    )
}
