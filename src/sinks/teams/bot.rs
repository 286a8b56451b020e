//! The door by bot: one card a ticket, edited in place, its story as replies in its thread.
//!
//! In: the ticket as it stands. Out: one step towards a channel that shows it. A PUT may be repeated; a POST has no key by
//! which Teams would know a repeat, so its [`Intent`] is recorded first, and when its outcome stays unknown the channel is
//! looked through by the mark that every card carries, where the app may read it (the resource-specific permission
//! `ChannelMessage.Read.Group`). Where it may not, the call is made once more. A card that somebody deleted is posted again
//! once, then left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::card::{self, Serial};
use super::client::{Client, Failed, Post, Posted};
use super::held::Held;
use super::look::Look;
use crate::fault::Fault;
use crate::http::Http;
use crate::identity::Identity;
use crate::ownership::Routes;
use crate::redaction::one_line;
use crate::sinks::{Intents, Next, Pace, Step, Turn};
use crate::ticket::store::Place;
use crate::ticket::{Chapter, DeliveryFault, Intent, TeamsRecord, Ticket, Work};

mod check;
mod lookup;
mod place;
mod posting;
mod settings;

use lookup::Looked;
use place::in_general;
pub use settings::BotSettings;

/// Between two posts: 60 in 30 s is what a bot may post into a conversation.
const GAP: TimeDelta = TimeDelta::milliseconds(500);
const NAME: &str = "Teams bot";

/// The sink by bot; cloning shares what it remembers.
#[derive(Debug, Clone)]
pub struct Bot {
    settings: Arc<BotSettings>,
    routes: Arc<Routes>,
    client: Client,
    intents: Intents,
    refused: Held,
    shared: Arc<Mutex<Shared>>,
}

/// Hints only: after a restart everything is found again (law L9).
#[derive(Debug)]
struct Shared {
    posts: Pace,
    place: Option<Place>,
    looked_at: Option<DateTime<Utc>>,
    /// The app may not read the channel: not asked again.
    no_history: bool,
}

impl Bot {
    /// Nothing is called before the first step.
    pub fn new(settings: BotSettings, http: Http, identity: Option<Identity>) -> Self {
        let client = Client {
            http,
            identity,
            graph: settings.graph.clone(),
        };
        Self {
            settings: Arc::new(settings),
            routes: Arc::default(),
            client,
            intents: Intents::default(),
            refused: Held::default(),
            shared: Arc::new(Mutex::new(Shared {
                posts: Pace::every(GAP),
                place: None,
                looked_at: None,
                no_history: false,
            })),
        }
    }

    /// Owners read of their failures where these routes lead.
    #[must_use]
    pub fn routed(mut self, routes: Arc<Routes>) -> Self {
        self.routes = routes;
        self
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &BotSettings {
        &self.settings
    }

    /// The card of this ticket.
    pub fn card(&self, ticket: &Ticket) -> Value {
        marked(ticket, &self.look())
    }

    fn look(&self) -> Look<'_> {
        Look {
            routes: Some(&self.routes),
            ..self.settings.look()
        }
    }

    /// Of everything that decides whether Teams takes a card: the last installation is part of it.
    pub(super) fn digest(&self) -> String {
        let settings = &self.settings;
        let place = self.shared().place.clone();
        let told = place.map(|place| serde_json::json!(place).to_string());
        let owners: Vec<&str> = (self.routes.teams())
            .map(|(_, channel)| channel.id.as_str())
            .collect();
        crate::sinks::digest(&[
            &settings.app_id,
            &settings.tenant,
            settings.channel.as_deref().unwrap_or_default(),
            settings.service.as_str(),
            told.as_deref().unwrap_or_default(),
            &owners.join(" "),
        ])
    }

    pub(super) fn is_time_to_tell(&self, now: DateTime<Utc>) -> bool {
        self.shared().posts.is_time_to_tell(now)
    }

    pub(super) fn silent_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.shared().posts.silent_until(now)
    }

    pub(super) fn share(&self, processes: usize, silent_until: Option<DateTime<Utc>>) {
        let posts = &mut self.shared().posts;
        posts.share(processes);
        if let Some(until) = silent_until {
            posts.hold(until);
        }
    }

    /// Whose turn it is to post about this ticket; its place is kept.
    pub(super) fn turn(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Option<Turn> {
        let who = has_to_post(ticket, record)?;
        Some(self.shared().posts.turn(who, now))
    }

    /// How long until a delivery of this ticket should come for its place.
    pub(super) fn reserve(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Option<Duration> {
        let who = has_to_post(ticket, record)?;
        Some(self.shared().posts.reserve(who, now))
    }

    /// What the next step will be about, by what is recorded.
    pub(super) fn next(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Next<TeamsRecord> {
        if record.deleted {
            return Next::AtRest;
        }
        let work = if record.activity.is_none() {
            Work::Create
        } else if record.shown.as_deref() != Some(&card::hash(&self.card(ticket))) {
            return Next::Step;
        } else if let Some(chapter) = untold(ticket, record) {
            Work::Comment(chapter.number)
        } else {
            return Next::AtRest;
        };
        // Nothing is intended before it is known that it can be sent: an intent that lies there may have been sent.
        let nowhere = work == Work::Create && self.place(ticket, record).is_err();
        let cannot = self.refused.has(ticket) || nowhere;
        if intended(record, work).is_some() || cannot || self.shared().posts.held(now).is_some() {
            return Next::Step;
        }
        Next::Intend(self.intend(record, work, now))
    }

    /// One step; at most one writing call.
    pub(super) async fn step(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        if let Some(fault) = self.refused.take(ticket) {
            return Err(fault);
        }
        if record.deleted {
            return Ok(Step::UpToDate);
        }
        let card = self.card(ticket);
        let at = (record.conversation.clone()).zip(record.activity.clone());
        let Some((conversation, activity)) = at else {
            return self.create(ticket, record, &card, now).await;
        };
        let at = Posted {
            conversation,
            activity,
        };
        if record.shown.as_deref() != Some(&card::hash(&card)) {
            return self.update(ticket, record, &at, &card, now).await;
        }
        match untold(ticket, record) {
            Some(chapter) => self.tell(ticket, record, &at, chapter, now).await,
            None => Ok(Step::UpToDate),
        }
    }

    async fn create(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        card: &Value,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        let place = self.place(ticket, record)?;
        let channel = place.channel.as_str();
        let Some(intent) = intended(record, Work::Create) else {
            return Ok(Step::Recorded(self.intend(record, Work::Create, now)));
        };
        let first_try = match self.may_post(ticket, record, intent, now) {
            Ok(first_try) => first_try,
            Err(step) => return Ok(*step),
        };
        if !first_try {
            let mark = mark(ticket, &format!("card-{}", record.reposted));
            let from = (place.team.as_deref(), channel);
            let found = match self.look_for(None, &mark, from, intent, now).await? {
                Looked::Wait(step) => return Ok(step),
                Looked::Found(id) => Some(id),
                Looked::NotThere | Looked::Blind => None,
            };
            let Some(id) = found else {
                return Ok(Step::Recorded(self.intend_again(record, Work::Create, now)));
            };
            return Ok(Step::Recorded(TeamsRecord {
                conversation: Some(format!("{channel};messageid={id}")),
                activity: Some(id),
                shown: None,
                intent: None,
                unsure: 0,
                fault: detail(record),
                ..record.clone()
            }));
        }
        let summary = card::summary(ticket);
        let post = Post {
            card,
            summary: &summary,
        };
        let whose = (self.settings.tenant.as_str(), channel);
        match self.client.create(&self.service(), whose, post, now).await {
            Ok(posted) => Ok(Step::Recorded(TeamsRecord {
                conversation: Some(posted.conversation),
                activity: Some(posted.activity),
                shown: Some(card::hash(card)),
                intent: None,
                unsure: 0,
                fault: detail(record),
                ..record.clone()
            })),
            Err(failed) if self.has_another(&place, &failed) => {
                self.intents.end(intent);
                Ok(Step::Recorded(in_general(record, &place, &failed, now)))
            }
            Err(failed) => {
                let owners = TeamsRecord {
                    // Neither takes it: the next try begins with the owner's again.
                    general: false,
                    fault: None,
                    ..record.clone()
                };
                self.failed((ticket, &owners), intent, &failed, now)
            }
        }
    }

    async fn update(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        at: &Posted,
        card: &Value,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        if let Some(wait) = self.shared().posts.held(now) {
            return Ok(Step::Wait(wait, "Teams asked to slow down".into()));
        }
        let summary = card::summary(ticket);
        let post = Post {
            card,
            summary: &summary,
        };
        match self.client.update(&self.service(), at, post, now).await {
            Ok(()) => Ok(Step::Recorded(TeamsRecord {
                shown: Some(card::hash(card)),
                fault: detail(record),
                ..record.clone()
            })),
            Err(failed) if failed.status() == Some(404) => Ok(Step::Recorded(gone(record))),
            Err(failed) => Err(self.slow_down(&failed, now)),
        }
    }

    async fn tell(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        at: &Posted,
        chapter: &Chapter,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        let work = Work::Comment(chapter.number);
        let Some(intent) = intended(record, work) else {
            return Ok(Step::Recorded(self.intend(record, work, now)));
        };
        let told = TeamsRecord {
            told: chapter.number,
            intent: None,
            unsure: 0,
            fault: detail(record),
            ..record.clone()
        };
        let first_try = match self.may_post(ticket, record, intent, now) {
            Ok(first_try) => first_try,
            Err(step) => return Ok(*step),
        };
        let mark = mark(ticket, &format!("chapter-{}", chapter.number));
        if !first_try {
            let root = Some(at.activity.as_str());
            let (channel, team) = self.where_is(ticket, at);
            let from = (team.as_deref(), channel);
            return Ok(match self.look_for(root, &mark, from, intent, now).await? {
                Looked::Wait(step) => step,
                Looked::Found(_) => Step::Recorded(told),
                // Nobody can say: once more, then people are told so.
                Looked::Blind if record.unsure > 0 => Step::Recorded(TeamsRecord {
                    fault: Some(unsure(now)),
                    ..told
                }),
                Looked::NotThere | Looked::Blind => {
                    Step::Recorded(self.intend_again(record, work, now))
                }
            });
        }
        let mut entry = card::chapter(ticket, chapter, &self.look());
        card::mark(&mut entry, &mark);
        let summary = one_line(&chapter.text);
        let post = Post {
            card: &entry,
            summary: &summary,
        };
        match self
            .client
            .reply(&self.service(), &at.conversation, post, now)
            .await
        {
            Ok(()) => Ok(Step::Recorded(told)),
            Err(failed) if failed.status() == Some(404) => Ok(Step::Recorded(gone(record))),
            Err(failed) => self.failed((ticket, record), intent, &failed, now),
        }
    }

    fn intend(&self, record: &TeamsRecord, work: Work, now: DateTime<Utc>) -> TeamsRecord {
        TeamsRecord {
            intent: Some(self.intents.open(work, now)),
            ..record.clone()
        }
    }

    /// After a call of unknown outcome.
    fn intend_again(&self, record: &TeamsRecord, work: Work, now: DateTime<Utc>) -> TeamsRecord {
        TeamsRecord {
            unsure: record.unsure.saturating_add(1),
            ..self.intend(record, work, now)
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who needs a place in line: a ticket with a card or a chapter to post.
fn has_to_post<'a>(ticket: &'a Ticket, record: &TeamsRecord) -> Option<&'a str> {
    let posts = record.activity.is_none() || untold(ticket, record).is_some();
    (posts && !record.deleted).then_some(ticket.id.as_str())
}

fn untold<'a>(ticket: &'a Ticket, record: &TeamsRecord) -> Option<&'a Chapter> {
    let mut story = ticket.story.iter();
    story.find(|chapter| chapter.number > record.told)
}

/// The open intent of this work.
fn intended(record: &TeamsRecord, work: Work) -> Option<&Intent> {
    record.intent.as_ref().filter(|intent| intent.what == work)
}

/// The card of this ticket, with its mark.
fn marked(ticket: &Ticket, look: &Look<'_>) -> Value {
    let mut card = card::card(ticket, look, Serial::default());
    let reposted = ticket.teams.as_ref().map_or(0, |record| record.reposted);
    card::mark(&mut card, &mark(ticket, &format!("card-{reposted}")));
    card
}

/// What every card carries, as the id of its first element.
fn mark(ticket: &Ticket, what: &str) -> String {
    format!("rca-{}-{what}", ticket.id)
}

/// What people are told while the card lies elsewhere than its owner's route says.
fn detail(record: &TeamsRecord) -> Option<DeliveryFault> {
    record.fault.clone().filter(|_| record.general)
}

/// The record after Teams said that the card is no longer there: posted again once, then left.
fn gone(record: &TeamsRecord) -> TeamsRecord {
    if record.reposted > 0 {
        return TeamsRecord {
            deleted: true,
            intent: None,
            ..record.clone()
        };
    }
    TeamsRecord {
        conversation: None,
        activity: None,
        shown: None,
        intent: None,
        unsure: 0,
        general: false,
        fault: None,
        reposted: 1,
        ..record.clone()
    }
}

fn unsure(at: DateTime<Utc>) -> DeliveryFault {
    DeliveryFault {
        reason: "Teams left two tries to post a reply unanswered, and the app may not read the channel: nobody can say whether it is there"
            .to_owned(),
        at,
        retrying: false,
    }
}
