//! A workflow made from "Send webhook alerts to a channel": it takes what its URL's signature allows, answers 202 before it
//! does anything, and fails where nobody sees it.
//!
//! In: posts to its trigger. Out: 202, or Power Automate's own refusals. Behind the 202: a body that its template does not
//! read, a card that is too large once it was expanded or that Teams does not render, and more posts than the Flow bot may
//! make are failed runs in its history, and nothing else.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{CARD, page, rules};
use crate::{Answer, Clock, FaultScript, Request, Server, Site, live, lock, serve};

/// Posts of the Flow bot by one connection.
const POSTS: usize = 25;
const WITHIN: TimeDelta = TimeDelta::seconds(300);
/// Calls of the trigger.
const CALLS: usize = 4500;
/// Bytes of a message after the expansion.
const SIZE: usize = 28_672;
const ID: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const SIGNATURE: &str = "s1mulated-Signature_0123456789";

/// How the workflow is set up.
#[derive(Debug, Clone)]
pub struct WorkflowOptions {
    /// Is the flow on, and its URL not renewed?
    pub on: bool,
    /// "Who can trigger the flow?": anyone.
    pub anyone: bool,
    /// It reads the bare card: a hand-made flow.
    pub bare: bool,
    /// The clock.
    pub clock: Clock,
}

impl Default for WorkflowOptions {
    fn default() -> Self {
        Self {
            on: true,
            anyone: true,
            bare: false,
            clock: Clock::default(),
        }
    }
}

/// A card in the channel.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowCard {
    /// The card.
    pub card: Value,
    /// When it was posted.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct State {
    options: WorkflowOptions,
    called: Vec<DateTime<Utc>>,
    posted: Vec<DateTime<Utc>>,
    cards: Vec<WorkflowCard>,
    failed: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Flow(Arc<Mutex<State>>);

/// A running simulator.
#[derive(Debug)]
pub struct WorkflowSimulator {
    server: Server,
    flow: Flow,
}

impl WorkflowSimulator {
    /// Starts it; port 0 is any free port.
    pub async fn start(port: u16, options: WorkflowOptions) -> std::io::Result<Self> {
        let flow = Flow::default();
        lock(&flow.0).options = options;
        let server = serve(port, Arc::new(flow.clone())).await?;
        Ok(Self { server, flow })
    }

    /// The page people look at.
    pub fn page(&self) -> String {
        self.server.url()
    }

    /// The URL that the template shows, with its signature.
    pub fn url(&self) -> String {
        format!(
            "{}powerautomate/automations/direct/workflows/{ID}/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SIGNATURE}",
            self.server.url()
        )
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
    pub fn change(&self, change: impl FnOnce(&mut WorkflowOptions)) {
        change(&mut lock(&self.flow.0).options);
    }

    /// The cards in the channel, oldest first.
    pub fn cards(&self) -> Vec<WorkflowCard> {
        lock(&self.flow.0).cards.clone()
    }

    /// Why runs failed that were answered 202.
    pub fn failed_runs(&self) -> Vec<String> {
        lock(&self.flow.0).failed.clone()
    }

    /// For the end of a test.
    ///
    /// # Panics
    ///
    /// When a scripted fault never happened.
    pub fn assert_drained(&self) {
        assert!(
            self.server.faults.is_drained(),
            "scripted faults of the workflow did not happen"
        );
    }
}

impl Site for Flow {
    fn answer(&self, request: &Request) -> Answer {
        let trigger = format!(
            "/powerautomate/automations/direct/workflows/{ID}/triggers/manual/paths/invoke"
        );
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => {
                let state = lock(&self.0);
                let cards = state.cards.iter().map(|posted| (posted.at, &posted.card));
                page::answer("by a workflow", cards.rev())
            }
            ("GET", live::PATH) => live::script(),
            ("POST", path) if path == trigger => lock(&self.0).trigger(request),
            // The service has no such operation: nothing runs.
            ("GET", path) if path == trigger => refused(404, "OperationNotFound"),
            _ => Answer::not_modelled(request),
        }
    }
}

impl State {
    fn trigger(&mut self, request: &Request) -> Answer {
        let now = self.options.clock.now();
        if !self.options.on {
            return refused(404, "WorkflowTriggerNotFound");
        }
        // The signature alone opens it; a token beside it is read as another way of signing in.
        if request.header("authorization").is_some() {
            return refused(401, "MisMatchingOAuthClaims");
        }
        if request.query("sig") != Some(SIGNATURE) {
            return refused(401, "DirectApiAuthorizationRequired");
        }
        if !self.options.anyone {
            return refused(403, "DirectApiInvalidAuthorizationScheme");
        }
        self.called.retain(|at| now - *at < WITHIN);
        if self.called.len() >= CALLS {
            return refused(429, "TriggerThrottled").with_header("retry-after", "60");
        }
        self.called.push(now);
        if let Err(why) = self.run(request, now) {
            self.failed.push(why);
        }
        Answer::empty(202)
    }

    /// What the flow does once the caller is gone.
    fn run(&mut self, request: &Request, now: DateTime<Utc>) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&request.body)
            .map_err(|_| "the trigger's body is no JSON".to_owned())?;
        let card = if self.options.bare {
            body
        } else {
            let attachments = body.get("attachments").and_then(Value::as_array);
            let [attachment] = attachments.map_or(&[][..], Vec::as_slice) else {
                return Err("attachments is null or has several: the template posts one".to_owned());
            };
            let is = |value: Option<&Value>, text: &str| value.is_some_and(|value| value == text);
            if !is(body.get("type"), "message") || !is(attachment.get("contentType"), CARD) {
                return Err("the template reads messages with cards".to_owned());
            }
            attachment.get("content").cloned().unwrap_or_default()
        };
        let problems = rules::problems(&card, false);
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        let size = expanded(&card.to_string());
        if size > SIZE {
            return Err(format!("RequestEntityTooLarge: {size} bytes"));
        }
        self.posted.retain(|at| now - *at < WITHIN);
        if self.posted.len() >= POSTS {
            return Err("the Flow bot posted 25 messages in 300 seconds".to_owned());
        }
        self.posted.push(now);
        self.cards.push(WorkflowCard { card, at: now });
        Ok(())
    }
}

/// A fifth more, as was seen, or what escaping everything beyond ASCII makes of it.
fn expanded(json: &str) -> usize {
    let escaped: usize = json
        .chars()
        .map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() })
        .sum();
    escaped.max(json.len() * 6 / 5)
}

fn refused(status: u16, code: &str) -> Answer {
    let body = json!({"error": {"code": code, "message": "The request was refused."}});
    Answer::json(status, &body)
}
