//! A workspace with channels, as far as an alerting app can tell, and a page on which people see it.
//!
//! In: Web API calls (`/api/<method>`), and clicks on the page (`/`). Out: Slack's answers with its own
//! errors, limits and rules (Block Kit validation, `client_msg_id`, threads, scopes, one message a second),
//! and correctly signed interactions to our door. It signs and checks by itself: what it shares with the
//! sink would be tested against itself. Not simulated: users' own messages, files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::{Answer, Clock, Fault, FaultScript, Request, Server, Site, live, lock, serve};
use crate::outgoing;
use state::State;

mod forms;
mod mrkdwn;
mod page;
mod rules;
mod state;

pub use forms::SlackForm;
pub use mrkdwn::read;

/// What is wrong with these blocks, in Slack's words; empty when they are fine.
pub fn block_problems(blocks: &[Value]) -> Vec<String> {
    rules::problems(blocks)
}

/// What the simulator starts with.
#[derive(Debug, Clone)]
pub struct SlackOptions {
    /// The bot's token.
    pub token: String,
    /// The app's signing secret.
    pub signing_secret: String,
    /// What the token may do.
    pub scopes: BTreeSet<String>,
    /// The workspace's channels.
    pub channels: Vec<SlackChannel>,
    /// People who can press buttons: id and name.
    pub people: Vec<(String, String)>,
    /// Where interactions go: our `/slack/interactions`.
    pub door: Option<Url>,
    /// Answer 429 to a second message within a second in one channel.
    pub one_a_second: bool,
    /// Answer a repeated `client_msg_id` with the first message.
    pub knows_repeats: bool,
    /// Channels on one page of `conversations.list`, at most.
    pub page_size: usize,
    /// The workspace's clock.
    pub clock: Clock,
}

/// A channel.
#[derive(Debug, Clone)]
pub struct SlackChannel {
    /// `C…`.
    pub id: String,
    /// Without `#`.
    pub name: String,
    /// Private channels need `groups:read` and membership.
    pub is_private: bool,
    /// Nothing can be posted any more.
    pub is_archived: bool,
    /// Is the app a member?
    pub is_member: bool,
}

impl SlackChannel {
    /// A public channel of which the app is a member.
    pub fn public(id: &str, name: &str) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            is_private: false,
            is_archived: false,
            is_member: true,
        }
    }
}

impl Default for SlackOptions {
    /// The integration guide's workspace: its three scopes, its channel.
    fn default() -> Self {
        Self {
            token: "xoxb-simulated-token".into(),
            signing_secret: "simulated-signing-secret".into(),
            scopes: ["chat:write", "chat:write.public", "channels:read"]
                .map(str::to_owned)
                .into(),
            channels: vec![
                SlackChannel::public("C01234567AB", "aiops-rca-alerts"),
                SlackChannel::public("C0GENERAL01", "general"),
            ],
            people: vec![
                ("U0JOHNDOE".into(), "John Doe".into()),
                ("U0STRANGER".into(), "Some Stranger".into()),
            ],
            door: None,
            one_a_second: false,
            knows_repeats: true,
            page_size: 1000,
            clock: Clock::default(),
        }
    }
}

/// A message as the workspace keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct SlackMessage {
    /// The channel's id.
    pub channel: String,
    /// Its key.
    pub ts: String,
    /// Its thread, if it stands in one.
    pub thread_ts: Option<String>,
    /// The notification's text.
    pub text: String,
    /// Its blocks.
    pub blocks: Vec<Value>,
    /// Its metadata.
    pub metadata: Value,
    /// The client's id.
    pub client_msg_id: Option<String>,
    /// The app's bot.
    pub bot_id: String,
    /// How often it was edited.
    pub edits: u32,
    /// When it was posted.
    pub at: DateTime<Utc>,
}

/// A message that one person alone has read (`chat.postEphemeral`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackWhisper {
    /// The channel's id.
    pub channel: String,
    /// Who has read it.
    pub user: String,
    /// Its text.
    pub text: String,
}

/// The workspace behind the server.
#[derive(Debug, Clone)]
struct Workspace {
    state: Arc<Mutex<State>>,
    http: reqwest::Client,
}

/// A running simulator.
#[derive(Debug)]
pub struct SlackSimulator {
    server: Server,
    workspace: Workspace,
}

impl SlackSimulator {
    /// Starts it with the guide's workspace; port 0 is any free port.
    pub async fn start(port: u16) -> std::io::Result<Self> {
        Self::start_with(port, SlackOptions::default()).await
    }

    /// Starts it with another workspace.
    pub async fn start_with(port: u16, options: SlackOptions) -> std::io::Result<Self> {
        let state = State::new(options);
        let http = outgoing::client().map_err(std::io::Error::other)?;
        let workspace = Workspace {
            state: Arc::new(Mutex::new(state)),
            http,
        };
        let server = serve(port, Arc::new(workspace.clone())).await?;
        Ok(Self { server, workspace })
    }

    /// The page people look at.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// For `api_base` of the sink's settings.
    pub fn api_base(&self) -> String {
        format!("{}api/", self.server.url())
    }

    /// What is to go wrong; paths are `/api/<method>`.
    pub fn faults(&self) -> &FaultScript {
        &self.server.faults
    }

    /// The next call of this method is refused with this error, as Slack does: 200 and `ok: false`.
    pub fn refuse_next(&self, method: &str, error: &str) {
        let body = json!({"ok": false, "error": error}).to_string();
        self.server.faults.push(
            None,
            Some(&format!("/api/{method}")),
            Fault::Status {
                code: 200,
                headers: Vec::new(),
                body,
            },
        );
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Takes the calls so far that are not modelled.
    pub fn take_not_modelled(&self) -> Vec<String> {
        self.server.take_not_modelled()
    }

    /// Calls of one method so far.
    pub fn calls(&self, method: &str) -> Vec<Request> {
        let path = format!("/api/{method}");
        self.requests()
            .into_iter()
            .filter(|request| request.path == path)
            .collect()
    }

    /// For the end of a test.
    ///
    /// # Panics
    ///
    /// When a scripted fault never happened.
    pub fn assert_drained(&self) {
        assert!(
            self.server.faults.is_drained(),
            "scripted faults of Slack did not happen"
        );
    }

    /// Changes the workspace: scopes, channels, the door.
    pub fn change(&self, change: impl FnOnce(&mut SlackOptions)) {
        change(&mut lock(&self.workspace.state).options);
    }

    /// Messages in channels, oldest first, threads left out.
    pub fn messages(&self) -> Vec<SlackMessage> {
        lock(&self.workspace.state)
            .messages
            .iter()
            .filter(|message| message.thread_ts.is_none())
            .cloned()
            .collect()
    }

    /// The entries of a thread, oldest first.
    pub fn thread(&self, ts: &str) -> Vec<SlackMessage> {
        lock(&self.workspace.state)
            .messages
            .iter()
            .filter(|message| message.thread_ts.as_deref() == Some(ts))
            .cloned()
            .collect()
    }

    /// What single people have read, oldest first.
    pub fn whispers(&self) -> Vec<SlackWhisper> {
        lock(&self.workspace.state).whispers.clone()
    }

    /// The forms that are open.
    pub fn forms(&self) -> Vec<SlackForm> {
        lock(&self.workspace.state).forms.clone()
    }

    /// The signed call that sending a form with a line would make.
    pub fn signed_form(&self, id: &str, line: &str) -> Option<SignedCall> {
        self.workspace.form(id, line)
    }

    /// Somebody sends a form with a line; the answer is the door's status. A form that is taken is closed.
    pub async fn send_form(&self, id: &str, line: &str) -> Option<u16> {
        self.workspace.send_form(id, line).await
    }

    /// From now on this message is another app's.
    pub fn written_by(&self, ts: &str, bot_id: &str) {
        let mut state = lock(&self.workspace.state);
        let written = state.messages.iter_mut().find(|message| message.ts == ts);
        if let Some(message) = written {
            bot_id.clone_into(&mut message.bot_id);
        }
    }

    /// Somebody deletes a message.
    pub fn delete(&self, ts: &str) {
        let mut state = lock(&self.workspace.state);
        let (gone, kept) = std::mem::take(&mut state.messages)
            .into_iter()
            .partition(|message| message.ts == ts);
        state.messages = kept;
        let gone: Vec<SlackMessage> = gone;
        state
            .deleted
            .extend(gone.into_iter().filter_map(|message| message.client_msg_id));
    }

    /// Somebody presses a button; the answer is the door's status, `None` when it could not be reached.
    pub async fn press(&self, ts: &str, action_id: &str, user_id: &str) -> Option<u16> {
        let (door, signed) = self.workspace.click(ts, action_id, user_id)?;
        self.workspace.deliver(&door, signed).await
    }

    /// The signed call that pressing a button would make, for tests that send it themselves.
    pub fn signed_click(&self, ts: &str, action_id: &str, user_id: &str) -> Option<SignedCall> {
        let state = lock(&self.workspace.state);
        let payload = state.payload(ts, action_id, user_id)?;
        Some(SignedCall::of(
            &payload,
            &state.options.signing_secret,
            state.options.clock.now(),
        ))
    }
}

/// A signed interaction as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCall {
    /// `X-Slack-Request-Timestamp`.
    pub timestamp: String,
    /// `X-Slack-Signature`.
    pub signature: String,
    /// The form.
    pub body: String,
}

impl SignedCall {
    /// Signs this payload.
    pub fn of(payload: &Value, secret: &str, at: DateTime<Utc>) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload.to_string())
            .finish();
        let timestamp = at.timestamp().to_string();
        let signature = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_or_else(
            |_| String::new(),
            |mut mac| {
                mac.update(format!("v0:{timestamp}:{body}").as_bytes());
                format!("v0={}", hex::encode(mac.finalize().into_bytes()))
            },
        );
        Self {
            timestamp,
            signature,
            body,
        }
    }
}

impl Workspace {
    fn click(&self, ts: &str, action_id: &str, user_id: &str) -> Option<(Url, SignedCall)> {
        let state = lock(&self.state);
        let payload = state.payload(ts, action_id, user_id)?;
        let door = state.options.door.clone()?;
        Some((
            door,
            SignedCall::of(
                &payload,
                &state.options.signing_secret,
                state.options.clock.now(),
            ),
        ))
    }

    fn form(&self, id: &str, line: &str) -> Option<SignedCall> {
        let state = lock(&self.state);
        let payload = state.submission(id, line)?;
        let (secret, now) = (&state.options.signing_secret, state.options.clock.now());
        Some(SignedCall::of(&payload, secret, now))
    }

    async fn send_form(&self, id: &str, line: &str) -> Option<u16> {
        let signed = self.form(id, line)?;
        let door = lock(&self.state).options.door.clone()?;
        let status = self.deliver(&door, signed).await?;
        if status == 200 {
            lock(&self.state).forms.retain(|form| form.id != id);
        }
        Some(status)
    }

    async fn deliver(&self, door: &Url, signed: SignedCall) -> Option<u16> {
        let request = self
            .http
            .post(door.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", signed.timestamp)
            .header("x-slack-signature", signed.signature)
            .body(signed.body);
        outgoing::send(request).await.ok().map(|reply| reply.status)
    }

    /// A click on the page: the form names message, button and person.
    fn pressed_on_page(&self, request: &Request) -> Answer {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let back = Answer::empty(303).with_header("location", "/");
        let action = match field("option") {
            "" => field("action_id").to_owned(),
            option => format!("{}#{option}", field("action_id")),
        };
        let Some((door, signed)) = self.click(field("ts"), &action, field("user")) else {
            lock(&self.state).pressed =
                Some("that button is no longer there, or no door is set".into());
            return back;
        };
        let workspace = self.clone();
        tokio::spawn(async move {
            let said = match workspace.deliver(&door, signed).await {
                Some(status) => format!("the door answered {status}"),
                None => "the door could not be reached".to_owned(),
            };
            lock(&workspace.state).pressed = Some(said);
        });
        back
    }
}

impl Workspace {
    /// A form on the page is sent, or closed.
    fn sent_on_page(&self, request: &Request) -> Answer {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body)
            .into_owned()
            .collect();
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let (workspace, id, line) = (self.clone(), field("view"), field("line"));
        if line.trim().is_empty() {
            lock(&self.state).forms.retain(|form| form.id != id);
        } else {
            tokio::spawn(async move { workspace.send_form(&id, &line).await });
        }
        Answer::empty(303).with_header("location", "/")
    }
}

impl Site for Workspace {
    fn answer(&self, request: &Request) -> Answer {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => {
                let asking = request.query("ts").zip(request.query("action_id"));
                let asking = asking.map(|(ts, action_id)| page::Asking { ts, action_id });
                let html = page::channel(&lock(&self.state), asking.as_ref());
                Answer {
                    status: 200,
                    headers: vec![("content-type".into(), "text/html; charset=utf-8".into())],
                    body: html.into(),
                }
            }
            ("GET", live::PATH) => live::script(),
            ("POST", "/press") => self.pressed_on_page(request),
            ("POST", "/send") => self.sent_on_page(request),
            (_, path) => match path.strip_prefix("/api/") {
                Some(method) => lock(&self.state).call(method, request),
                None => Answer::not_modelled(request),
            },
        }
    }
}
