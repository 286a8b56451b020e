//! A team with a channel, the Bot Connector in front of it, Graph beside it, and a page on which people press buttons.
//!
//! In: calls of the Bot Connector (`/teams/v3/…`), of Graph (`/v1.0/…`), for the Bot Framework's keys (`/v1/.well-known/…`), and
//! clicks on the page (`/`). Out: the answers with their limits and rules, and activities to our door with a signed token. It
//! signs and checks by itself. Not simulated: people's own messages, chats, other bots.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use maud::{Markup, html};
use serde_json::{Value, json};
use url::Url;

use super::page;
use crate::{Answer, Clock, FaultScript, Request, Server, Site, live, lock, outgoing, serve};
use state::State;

mod state;

/// Of tests alone.
const SIGNING_KEY: &[u8] = include_bytes!("../../../fixtures/entra/signing-key.der");
/// Its public part.
const MODULUS: &str = "wOR8KXvO3yeohdbGPY8xKzdzvXcq3RnhTvUAErWO5mVmRkKtEFRmlUbEXdf8fJPg96pFoSlczjxVZ0VcvAH7ruGQ2eA7UoN_8AOfhUwaOAuZNa8oUe_4lvQM-egaMQVRCgUYRWKDI6UZpdRW-js-LEsSJVF583fgFYxdszUb4lklsM1VxUs8WzybUWEmBKU8tTwPhJlHo--lbNFphiMrfgHCsnjCWZpMBBLzJiHXXfYX79-6jLOr-Ju2PmWW4MVaOds-oj_V49SJsjzxDdOTVeSgausUBRqI_Eha8SbBtYlF0_WGgeZSoHKh4uto_2NEeMmmyWToyFYLusilOAaDnw";
const KEY_ID: &str = "simulated-key-1";
const ISSUER: &str = "https://api.botframework.com";

/// What the simulator starts with.
#[derive(Debug, Clone)]
pub struct BotOptions {
    /// The bot's app.
    pub app_id: String,
    /// The tenant.
    pub tenant: String,
    /// The team's group.
    pub team: String,
    /// The channel.
    pub channel: String,
    /// Further channels in which the app is: their team's group, and their id.
    pub channels: Vec<(String, String)>,
    /// People who can press buttons: Entra object id and name.
    pub people: Vec<(String, String)>,
    /// Is the app installed in the team?
    pub installed: bool,
    /// May it read the channel's messages through Graph?
    pub reads: bool,
    /// How long a message takes until Graph shows it.
    pub lag: TimeDelta,
    /// Are the limits of posts enforced?
    pub limits: bool,
    /// Where activities go: our `/teams/messages`.
    pub door: Option<Url>,
    /// The clock.
    pub clock: Clock,
}

impl Default for BotOptions {
    fn default() -> Self {
        Self {
            app_id: "11111111-aaaa-bbbb-cccc-222222222222".into(),
            tenant: "33333333-aaaa-bbbb-cccc-444444444444".into(),
            team: "55555555-aaaa-bbbb-cccc-666666666666".into(),
            channel: "19:0123456789abcdef@thread.tacv2".into(),
            channels: Vec::new(),
            people: vec![
                (
                    "77777777-aaaa-bbbb-cccc-888888888888".into(),
                    "John Doe".into(),
                ),
                (
                    "99999999-aaaa-bbbb-cccc-000000000000".into(),
                    "Some Stranger".into(),
                ),
            ],
            installed: true,
            reads: true,
            lag: TimeDelta::seconds(4),
            limits: false,
            door: None,
            clock: Clock::default(),
        }
    }
}

/// A message in the channel.
#[derive(Debug, Clone, PartialEq)]
pub struct BotMessage {
    /// Its id.
    pub id: String,
    /// The channel in which it is.
    pub channel: String,
    /// The message above it, if it is a reply.
    pub root: Option<String>,
    /// The notification's line.
    pub summary: String,
    /// Its card.
    pub card: Value,
    /// How often it was edited.
    pub edits: u32,
    /// When it was posted.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
struct Team {
    state: Arc<Mutex<State>>,
    http: reqwest::Client,
}

/// A running simulator.
#[derive(Debug)]
pub struct BotSimulator {
    server: Server,
    team: Team,
}

impl BotSimulator {
    /// Starts it; port 0 is any free port.
    pub async fn start(port: u16, options: BotOptions) -> std::io::Result<Self> {
        let http = outgoing::client().map_err(std::io::Error::other)?;
        let team = Team {
            state: Arc::new(Mutex::new(State::new(options))),
            http,
        };
        let server = serve(port, Arc::new(team.clone())).await?;
        lock(&team.state).base = server.url();
        Ok(Self { server, team })
    }

    /// The page people look at.
    pub fn page(&self) -> String {
        self.server.url()
    }

    /// For `TEAMS_SERVICE_URL`.
    pub fn service(&self) -> String {
        format!("{}teams/", self.server.url())
    }

    /// For `TEAMS_OPENID_URL`.
    pub fn openid(&self) -> String {
        format!("{}v1/.well-known/openidconfiguration", self.server.url())
    }

    /// For `TEAMS_GRAPH_URL`.
    pub fn graph(&self) -> String {
        self.server.url()
    }

    /// What is to go wrong.
    pub fn faults(&self) -> &FaultScript {
        &self.server.faults
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Takes the calls so far that are not modelled.
    pub fn take_not_modelled(&self) -> Vec<String> {
        self.server.take_not_modelled()
    }

    /// Changes how it is set up.
    pub fn change(&self, change: impl FnOnce(&mut BotOptions)) {
        change(&mut lock(&self.team.state).options);
    }

    /// For the end of a test.
    ///
    /// # Panics
    ///
    /// When a scripted fault never happened.
    pub fn assert_drained(&self) {
        assert!(
            self.server.faults.is_drained(),
            "scripted faults of Teams did not happen"
        );
    }

    /// The messages that begin threads, oldest first.
    pub fn messages(&self) -> Vec<BotMessage> {
        let state = lock(&self.team.state);
        let roots = state
            .messages
            .iter()
            .filter(|message| message.root.is_none());
        roots.cloned().collect()
    }

    /// The replies below a message, oldest first.
    pub fn thread(&self, root: &str) -> Vec<BotMessage> {
        let state = lock(&self.team.state);
        let below = |message: &&BotMessage| message.root.as_deref() == Some(root);
        state.messages.iter().filter(below).cloned().collect()
    }

    /// Somebody deletes a message with its thread.
    pub fn delete(&self, id: &str) {
        let gone = |message: &BotMessage| message.id == id || message.root.as_deref() == Some(id);
        lock(&self.team.state)
            .messages
            .retain(|message| !gone(message));
    }

    /// Somebody presses a button; the door's answer, `None` when it could not be reached or there is no such button.
    pub async fn press(&self, id: &str, verb: &str, person: &str) -> Option<(u16, Value)> {
        let activity = self.click(id, verb, person)?;
        self.team.deliver(activity).await
    }

    /// The activity that pressing a button would send.
    pub fn click(&self, id: &str, verb: &str, person: &str) -> Option<Value> {
        lock(&self.team.state).click(id, verb, person)
    }

    /// Tells our door that the app was installed in the team.
    pub async fn install(&self) -> Option<(u16, Value)> {
        self.team.deliver(self.installation()).await
    }

    /// The activity that tells so.
    pub fn installation(&self) -> Value {
        lock(&self.team.state).installation()
    }

    /// A signed token that speaks of this service address, for tests that send activities themselves.
    pub fn token(&self, service: &str) -> String {
        let app_id = lock(&self.team.state).options.app_id.clone();
        let now = Utc::now().timestamp();
        signed(&json!({
            "iss": ISSUER, "aud": app_id, "nbf": now - 60, "exp": now + 3600, "serviceurl": service,
        }))
    }
}

/// A token with these claims.
pub fn signed(claims: &Value) -> String {
    let header = Header {
        kid: Some(KEY_ID.to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    let key = EncodingKey::from_rsa_der(SIGNING_KEY);
    jsonwebtoken::encode(&header, claims, &key).unwrap_or_default()
}

impl Team {
    async fn deliver(&self, activity: Value) -> Option<(u16, Value)> {
        let (door, app_id) = {
            let state = lock(&self.state);
            (state.options.door.clone()?, state.options.app_id.clone())
        };
        let now = Utc::now().timestamp();
        let token = signed(&json!({
            "iss": ISSUER, "aud": app_id, "nbf": now - 60, "exp": now + 3600,
            "serviceurl": activity.get("serviceUrl"),
        }));
        let request = (self.http.post(door))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(activity.to_string());
        let reply = outgoing::send(request).await.ok()?;
        let body = serde_json::from_slice(&reply.body).unwrap_or_default();
        Some((reply.status, body))
    }

    /// A click on the page: the form names message, verb and person.
    fn pressed_on_page(&self, request: &Request) -> Answer {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let back = Answer::empty(303).with_header("location", "/");
        let mut state = lock(&self.state);
        let Some(activity) = state.click(field("id"), field("verb"), field("person")) else {
            state.said = Some("that button is no longer there".to_owned());
            return back;
        };
        let team = self.clone();
        tokio::spawn(async move {
            let said = match team.deliver(activity).await {
                Some((200, body)) => match body.get("value") {
                    Some(Value::String(text)) => text.clone(),
                    _ => "the card was answered for the one who pressed".to_owned(),
                },
                Some((status, _)) => format!("the door answered {status}"),
                None => "the door could not be reached".to_owned(),
            };
            lock(&team.state).said = Some(said);
        });
        back
    }

    fn page(&self) -> Answer {
        let state = lock(&self.state);
        let roots = state
            .messages
            .iter()
            .filter(|message| message.root.is_none());
        let posts: Vec<Markup> = (roots.rev())
            .map(|message| {
                let replies = (state.messages.iter())
                    .filter(|reply| reply.root.as_deref() == Some(message.id.as_str()));
                html! {
                    article.post id=(message.id) {
                        (page::who("AIOps RCA", message.at))
                        (page::shown(&message.card, &buttons(&state, message)))
                        div.replies {
                            @for reply in replies { (page::who("AIOps RCA", reply.at)) (page::shown(&reply.card, &html! {})) }
                        }
                    }
                }
            })
            .collect();
        page::whole("by a bot", state.said.as_deref(), &posts)
    }
}

/// The buttons of a card: each person presses in their own name.
fn buttons(state: &State, message: &BotMessage) -> Markup {
    let actions = message.card.get("actions").and_then(Value::as_array);
    let executes = (actions.into_iter().flatten()).filter(|action| {
        action
            .get("type")
            .is_some_and(|kind| kind == "Action.Execute")
    });
    html! {
        @for action in executes {
            @for (id, name) in &state.options.people {
                form method="post" action="/press" {
                    input type="hidden" name="id" value=(message.id);
                    input type="hidden" name="verb" value=(action.get("verb").and_then(Value::as_str).unwrap_or_default());
                    input type="hidden" name="person" value=(id);
                    button { (action.get("title").and_then(Value::as_str).unwrap_or_default()) " as " (name) }
                }
            }
        }
        (page::links(&message.card))
    }
}

impl Site for Team {
    fn answer(&self, request: &Request) -> Answer {
        let path = request.segments();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", [""]) => self.page(),
            ("POST", ["press"]) => self.pressed_on_page(request),
            ("GET", _) if request.path == live::PATH => live::script(),
            ("GET", ["v1", ".well-known", "openidconfiguration"]) => {
                let base = lock(&self.state).base.clone();
                let document = json!({
                    "issuer": ISSUER, "jwks_uri": format!("{base}v1/.well-known/keys"),
                    "authorization_endpoint": "https://invalid.botframework.com",
                    "id_token_signing_alg_values_supported": ["RS256"],
                });
                Answer::json(200, &document)
            }
            ("GET", ["v1", ".well-known", "keys"]) => Answer::json(200, &keys()),
            (_, ["teams", "v3", "conversations", rest @ ..]) => {
                lock(&self.state).connector(request, rest)
            }
            (
                "GET",
                [
                    "v1.0",
                    "teams",
                    team,
                    "channels",
                    channel,
                    "messages",
                    rest @ ..,
                ],
            ) => lock(&self.state).graph(request, (team, channel), rest),
            _ => Answer::not_modelled(request),
        }
    }
}

/// The Bot Framework's set: keys for several channels, ours among them.
fn keys() -> Value {
    json!({"keys": [
        {"kty": "RSA", "use": "sig", "kid": "other", "n": MODULUS, "e": "AQAB", "endorsements": ["webchat"]},
        {"kty": "EC", "kid": "of-another-kind"},
        {"kty": "RSA", "use": "sig", "kid": KEY_ID, "x5t": KEY_ID, "n": MODULUS, "e": "AQAB", "endorsements": ["msteams", "skype"]},
    ]})
}
