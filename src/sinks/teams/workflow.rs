//! The door by workflow URL: it can post a new card, and nothing else.
//!
//! In: the ticket as it stands. Out: one step towards a channel that was told what is worth a card ([`news`](super::news)).
//! A workflow answers 202 before it posts, without an id, and nothing can be read back: so a card counts as posted with
//! any 2xx. Surely not posted is what was refused (3xx, 4xx, 429) or never connected. Whatever else went wrong may have been
//! posted: it is sent once more at most, and only when the trigger answers at all, so that an outage costs no try.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use url::Url;

use super::card::{self, CARD_TYPE, Serial};
use super::held::Held;
use super::look::Look;
use super::news::{self, News};
use super::size::URL_SIZE;
use super::url::WorkflowUrl;
use crate::fault::Fault;
use crate::http::{Http, NoReply, Reply};
use crate::ownership::Routes;
use crate::sinks::{Budget, Check, Intents, Next, Standing, Step, bad, good};
use crate::ticket::{DeliveryFault, Intent, Sink, TeamsRecord, Ticket, Work};

/// The Flow bot posts 25 cards in 300 s for each connection, and drops what is more behind its 202. A little slower, because
/// a card is posted some seconds after it was taken.
pub const BUDGET: Budget = Budget {
    posts: 5,
    within: TimeDelta::seconds(62),
};
/// How long the first card waits for the issue that it names: it cannot be edited.
const BEHIND_JIRA: TimeDelta = TimeDelta::seconds(30);
const WAIT: Duration = Duration::from_secs(3);
/// When a 429 names no time.
const TOO_MANY: Duration = Duration::from_secs(60);
const WHAT: &str = "the Teams workflow";
const NAME: &str = "Teams workflow";

/// Where to post, and what is shown.
#[derive(Debug, Clone)]
pub struct WorkflowSettings {
    /// `TEAMS_WORKFLOW_URL`.
    pub url: WorkflowUrl,
    /// `TEAMS_WORKFLOW_BODY`: what its flow reads.
    pub body: WorkflowBody,
    /// `PUBLIC_BASE_URL`: where people find the dashboard; without it there is no button.
    pub dashboard_base: Option<Url>,
    /// The JIRA site, to link the issue.
    pub issue_base: Option<Url>,
}

/// What a flow reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkflowBody {
    /// A message with the card attached: what the template takes.
    Message,
    /// The bare card: what some hand-made flows take.
    Card,
}

/// The sink by URL; cloning shares what it remembers.
#[derive(Debug, Clone)]
pub struct Workflow {
    settings: Arc<WorkflowSettings>,
    routes: Arc<Routes>,
    http: Http,
    intents: Intents,
    refused: Held,
    shared: Arc<Mutex<Shared>>,
}

/// Hints only: after a restart everything is found again (law L9).
#[derive(Debug, Default)]
struct Shared {
    silent_until: Option<DateTime<Utc>>,
    /// The last call had an unknown outcome: the trigger is asked before anything is posted.
    doubtful: bool,
}

impl Workflow {
    /// Nothing is called before the first step.
    pub fn new(settings: WorkflowSettings, http: Http) -> Self {
        Self {
            settings: Arc::new(settings),
            routes: Arc::default(),
            http,
            intents: Intents::default(),
            refused: Held::default(),
            shared: Arc::default(),
        }
    }

    /// Cards mention whom these routes name. There is one channel only.
    #[must_use]
    pub fn routed(mut self, routes: Arc<Routes>) -> Self {
        self.routes = routes;
        self
    }

    /// Of everything that decides whether a card is taken.
    pub(super) fn digest(&self) -> String {
        let body = match self.settings.body {
            WorkflowBody::Message => "message",
            WorkflowBody::Card => "card",
        };
        crate::sinks::digest(&[self.settings.url.secret(), body])
    }

    /// What would come next, by what is recorded.
    pub(super) fn next(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Next<TeamsRecord> {
        match news::pending(ticket, record) {
            None => Next::AtRest,
            // Nothing is intended before it is known that it can be sent: an intent that lies there may have been sent.
            Some(_) if self.refused.has(ticket) || self.shared().doubtful => Next::Step,
            Some(_) if self.silence(now).is_some() => Next::Step,
            Some(_) if record.intent.is_some() || waits_for_issue(ticket, record, now) => {
                Next::Step
            }
            Some(_) => Next::Intend(self.intend(record, now)),
        }
    }

    /// How many cards may be posted, if the next step is about to post one.
    pub(super) fn budget(
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Option<Budget> {
        let posts =
            news::pending(ticket, record).is_some() && !waits_for_issue(ticket, record, now);
        posts.then_some(BUDGET)
    }

    /// How long the workflow's wish for silence still lasts.
    pub(super) fn silence(&self, now: DateTime<Utc>) -> Option<Duration> {
        let until = self.shared().silent_until?;
        (until - now).to_std().ok().filter(|wait| !wait.is_zero())
    }

    /// One step; at most one card is posted.
    pub(super) async fn step(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        if let Some(fault) = self.refused.take(ticket) {
            return Err(fault);
        }
        let Some(news) = news::pending(ticket, record) else {
            return Ok(Step::UpToDate);
        };
        if waits_for_issue(ticket, record, now) {
            let why = "the card waits for the issue that it names".to_owned();
            return Ok(Step::Wait(WAIT, why));
        }
        if let Some(wait) = self.silence(now) {
            return Ok(Step::Wait(wait, "Teams asked to slow down".to_owned()));
        }
        if self.is_doubtful() {
            self.answers(now).await?;
        }
        let Some(intent) = &record.intent else {
            return Ok(Step::Recorded(self.intend(record, now)));
        };
        match self.intents.standing(intent, now) {
            Standing::Over => return Ok(Step::Recorded(self.intend(record, now))),
            Standing::Made(_) => return Ok(Step::Recorded(posted(&news, ticket, record))),
            Standing::Unknown if record.unsure > 0 => {
                return Ok(Step::Recorded(TeamsRecord {
                    fault: Some(unsure(news.update, now)),
                    ..posted(&news, ticket, record)
                }));
            }
            Standing::Unknown => {
                self.answers(now).await?;
                return Ok(Step::Recorded(TeamsRecord {
                    unsure: record.unsure + 1,
                    ..self.intend(record, now)
                }));
            }
            Standing::Unsent => {}
        }
        if !self.intents.spend(intent) {
            return Ok(Step::Wait(WAIT, "another task posts it".to_owned()));
        }
        self.post(ticket, record, intent, &news, now).await
    }

    async fn post(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        intent: &Intent,
        news: &News<'_>,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        let serial = Serial {
            update: news.update,
            last: news.last,
            news: &news.chapters,
        };
        let card = card::card(ticket, &self.look(), serial);
        let body = match self.settings.body {
            WorkflowBody::Message => message(&card),
            WorkflowBody::Card => card,
        };
        let Some(url) = self.settings.url.url() else {
            return Err(Fault::permanent("TEAMS_WORKFLOW_URL is not a URL"));
        };
        // No Authorization: a trigger for anyone refuses a request that has one.
        let request = (self.http.request(Method::POST, &url))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(body.to_string());
        match sort(self.http.send(WHAT, request).await, now) {
            Sorted::Taken => {
                self.shared().doubtful = false;
                self.intents.made(intent, "");
                Ok(Step::Recorded(posted(news, ticket, record)))
            }
            Sorted::Refused(fault, silence) => {
                self.intents.end(intent);
                let mut shared = self.shared();
                shared.doubtful = false;
                let until = silence.and_then(|wait| Some(now + TimeDelta::from_std(wait).ok()?));
                shared.silent_until = until.or(shared.silent_until);
                self.refused.keep(ticket, fault);
                Ok(Step::Recorded(TeamsRecord {
                    intent: None,
                    ..record.clone()
                }))
            }
            Sorted::Unknown(fault) => {
                self.shared().doubtful = true;
                Err(fault)
            }
        }
    }

    /// Does the trigger answer at all? Asked without its signature: whatever it says, nothing is posted.
    async fn answers(&self, now: DateTime<Utc>) -> Result<u16, Fault> {
        let Some(url) = self.settings.url.unsigned() else {
            return Err(Fault::permanent("TEAMS_WORKFLOW_URL is not a URL"));
        };
        let request = self.http.request(Method::GET, &url);
        let reply = self.http.send(WHAT, request).await?;
        // A server that has no word for GET is there as well. A redirect or a page is somebody else's.
        let there = matches!(reply.status, 200..=299 | 400..=499 | 501) && !is_page(&reply);
        if !there || matches!(reply.status, 408 | 425 | 429) {
            let reason = format!("{WHAT} does not answer as it should ({})", reply.status);
            return Err(Fault::transient_after(reason, reply.retry_after(now)));
        }
        self.shared().doubtful = false;
        Ok(reply.status)
    }

    fn intend(&self, record: &TeamsRecord, now: DateTime<Utc>) -> TeamsRecord {
        let work = match record.cards {
            0 => Work::Create,
            update => Work::Comment(update),
        };
        TeamsRecord {
            intent: Some(self.intents.open(work, now)),
            ..record.clone()
        }
    }

    fn is_doubtful(&self) -> bool {
        self.shared().doubtful
    }

    fn look(&self) -> Look<'_> {
        Look {
            dashboard_base: self.settings.dashboard_base.as_ref(),
            issue_base: self.settings.issue_base.as_ref(),
            size: URL_SIZE,
            approvers: &[],
            routes: Some(&self.routes),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `doctor` can find out without posting: is it signed, and is there a trigger?
    pub(super) async fn check(&self, now: DateTime<Utc>) -> Vec<Check> {
        let mut checks = self.check_trigger(now).await;
        let owners: Vec<&str> = self.routes.teams().map(|(owner, _)| owner).collect();
        if !owners.is_empty() {
            let line = format!(
                "a workflow posts into its own channel alone: the channels of {} are not used",
                crate::redaction::cap(&owners.join(", "), 200)
            );
            checks.push(Check {
                fix: Some("for channels of owners (OWNER_ROUTES, teams=…) set up a bot".to_owned()),
                ..good("Teams channels of owners", line)
            });
        }
        checks
    }

    async fn check_trigger(&self, now: DateTime<Utc>) -> Vec<Check> {
        let host = self.settings.url.host();
        if !self.settings.url.is_signed() {
            let fix = "copy the whole URL of the workflow, from https:// to the end of sig=…, and let anyone trigger it";
            return vec![bad(NAME, "the URL carries no signature (sig=…)", fix)];
        }
        match self.answers(now).await {
            Ok(404) => {
                let line = format!("{host} knows no such workflow, or takes no questions");
                let fix = "nothing can be asked without posting: if no card arrives, is the flow on, and its URL not renewed?";
                vec![Check {
                    fix: Some(fix.to_owned()),
                    ..good(NAME, line)
                }]
            }
            Ok(_) => vec![good(
                NAME,
                format!(
                    "{host} answers; cards can be posted, never edited (at most {} a ticket, 5 a minute). Whether they arrive is in the flow's run history",
                    news::CARDS
                ),
            )],
            Err(fault) => {
                let fix = "may this app reach the workflow's host? Is the URL that of a workflow that exists?";
                vec![bad(NAME, fault.reason(), fix)]
            }
        }
    }
}

/// A message as the template "Send webhook alerts to a channel" takes it: one card each.
fn message(card: &Value) -> Value {
    json!({
        "type": "message",
        "attachments": [{"contentType": CARD_TYPE, "contentUrl": null, "content": card}],
    })
}

/// The first card names the issue: it waits for it, but not for one that cannot be made.
fn waits_for_issue(ticket: &Ticket, record: &TeamsRecord, now: DateTime<Utc>) -> bool {
    record.cards == 0
        && ticket.jira.key.is_none()
        && ticket.lags(Sink::Jira)
        && ticket.fault(Sink::Jira).is_none()
        && now < ticket.received_at + BEHIND_JIRA
}

/// The record once the card is taken to be posted.
fn posted(news: &News<'_>, ticket: &Ticket, record: &TeamsRecord) -> TeamsRecord {
    let told = ticket.story.last().map_or(0, |last| last.number);
    TeamsRecord {
        cards: news.update + 1,
        told: told.max(record.told),
        status: Some(ticket.status),
        intent: None,
        unsure: 0,
        fault: None,
        ..record.clone()
    }
}

fn unsure(update: u32, at: DateTime<Utc>) -> DeliveryFault {
    let card = match update {
        0 => "the card".to_owned(),
        update => format!("the card of update {update}"),
    };
    DeliveryFault {
        reason: format!(
            "{WHAT} left two tries to post {card} unanswered: nobody can say whether it is in the channel. The flow's run history does"
        ),
        at,
        retrying: false,
    }
}

enum Sorted {
    Taken,
    /// Surely not posted; and how long Teams wants nothing more, if it said that.
    Refused(Fault, Option<Duration>),
    Unknown(Fault),
}

fn sort(reply: Result<Reply, NoReply>, now: DateTime<Utc>) -> Sorted {
    let reply = match reply {
        Ok(reply) => reply,
        Err(NoReply { fault, sent: false }) => return Sorted::Refused(fault, None),
        Err(NoReply { fault, .. }) => return Sorted::Unknown(fault),
    };
    match reply.status {
        // A proxy's page in the place of the answer.
        200..=299 if is_page(&reply) => {
            Sorted::Unknown(Fault::transient(format!("{WHAT} answered with a web page")))
        }
        200..=299 => Sorted::Taken,
        429 => {
            let wait = reply.retry_after(now).unwrap_or(TOO_MANY);
            let fault = Fault::transient_after(format!("{WHAT} asks to slow down"), Some(wait));
            Sorted::Refused(fault, Some(wait))
        }
        300..=399 | 425 => Sorted::Refused(reply.fault(WHAT, now), None),
        400..=499 if reply.status != 408 => {
            Sorted::Refused(Fault::permanent(refusal(&reply)), None)
        }
        _ => Sorted::Unknown(reply.fault(WHAT, now)),
    }
}

fn is_page(reply: &Reply) -> bool {
    let kind = reply.headers.get(CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

/// What a refusal means, and what to do about it.
fn refusal(reply: &Reply) -> String {
    let code = code(&reply.body).map_or_else(String::new, |code| format!(", {code}"));
    let remedy = match reply.status {
        401 => {
            "the signature is wrong, or the flow does not let anyone trigger it: copy its whole URL again, and set \"Who can trigger the flow?\" to Anyone"
        }
        403 => {
            "the flow lets only named users trigger it: set \"Who can trigger the flow?\" to Anyone"
        }
        404 | 410 => {
            "the flow was deleted, turned off or given another URL: turn it on, or copy its URL again into TEAMS_WORKFLOW_URL"
        }
        400 => {
            "the flow's trigger does not read this body: make it from the template \"Send webhook alerts to a channel\", or set TEAMS_WORKFLOW_BODY"
        }
        _ => "check the flow in Power Automate",
    };
    format!("{WHAT} refused a card ({}{code}): {remedy}", reply.status)
}

/// Power Automate's own name of an error.
fn code(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let code = body.pointer("/error/code")?.as_str()?;
    Some(crate::redaction::cap(&crate::redaction::redact(code), 80))
}
