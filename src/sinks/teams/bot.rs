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
use url::Url;

use super::card::{self, BOT_SIZE, Look, Serial};
use super::client::{Client, Failed, Post, Posted};
use super::held::Held;
use crate::fault::Fault;
use crate::http::Http;
use crate::identity::Identity;
use crate::ownership::Routes;
use crate::redaction::one_line;
use crate::sinks::{Intents, Next, Pace, Standing, Step, Turn};
use crate::ticket::store::Place;
use crate::ticket::{Chapter, DeliveryFault, Intent, TeamsRecord, Ticket, Work};

mod check;

/// Between two posts: 60 in 30 s is what a bot may post into a conversation.
const GAP: TimeDelta = TimeDelta::milliseconds(500);
/// A message may be found only some seconds after it was posted.
const SETTLED: TimeDelta = TimeDelta::seconds(10);
/// How long what was learned of the place is believed.
const BELIEVED: TimeDelta = TimeDelta::minutes(10);
/// Where no place is known, it is looked for this often.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(20);
const NAME: &str = "Teams bot";

/// As whom and where to post, and who may decide.
#[derive(Debug, Clone)]
pub struct BotSettings {
    /// `TEAMS_BOT_APP_ID`: the bot's app, which is the client id of a user-assigned identity.
    pub app_id: String,
    /// `TEAMS_TENANT_ID`.
    pub tenant: String,
    /// `TEAMS_TEAM_ID`: the team's group; learned when the app is installed.
    pub team: Option<String>,
    /// `TEAMS_CHANNEL_ID`: `19:…@thread.tacv2`; learned when the app is installed.
    pub channel: Option<String>,
    /// `TEAMS_APPROVERS`: Entra object ids of the people who may decide; nobody when empty.
    pub approvers: Vec<String>,
    /// `TEAMS_SERVICE_URL`: until another one is learned.
    pub service: Url,
    /// `TEAMS_GRAPH_URL`.
    pub graph: Url,
    /// `PUBLIC_BASE_URL`: where people find the dashboard; without it there is no button.
    pub dashboard_base: Option<Url>,
    /// The JIRA site, to link the issue.
    pub issue_base: Option<Url>,
}

impl BotSettings {
    /// May this person decide? That Teams sent the click proves only who clicked.
    pub fn may_decide(&self, object_id: &str) -> bool {
        let is = |approver: &String| approver.eq_ignore_ascii_case(object_id);
        !object_id.is_empty() && self.approvers.iter().any(is)
    }

    /// Is this a host of Teams' Bot Connector, or the one of the settings? Tokens go nowhere else.
    pub fn serves(&self, service: &Url) -> bool {
        let ours = service.origin() == self.service.origin();
        ours || service.scheme() == "https"
            && service.port().is_none()
            && service.host_str() == Some("smba.trafficmanager.net")
    }

    fn look(&self) -> Look<'_> {
        Look {
            dashboard_base: self.dashboard_base.as_ref(),
            issue_base: self.issue_base.as_ref(),
            size: BOT_SIZE,
            approvers: &self.approvers,
            routes: None,
        }
    }

    /// The card of this ticket, without mentions.
    pub fn card(&self, ticket: &Ticket) -> Value {
        marked(ticket, &self.look())
    }
}

/// The card of this ticket, with its mark.
fn marked(ticket: &Ticket, look: &Look<'_>) -> Value {
    let mut card = card::card(ticket, look, Serial::default());
    let reposted = ticket.teams.as_ref().map_or(0, |record| record.reposted);
    card::mark(&mut card, &mark(ticket, &format!("card-{reposted}")));
    card
}

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

    /// Is it time to read where to post?
    pub(super) fn wants_place(&self, now: DateTime<Utc>) -> bool {
        let shared = self.shared();
        let patience = if shared.place.is_some() || self.settings.channel.is_some() {
            BELIEVED
        } else {
            LOOK_AGAIN
        };
        shared
            .looked_at
            .is_none_or(|at| (now - at).abs() > patience)
    }

    /// What is stored of where to post.
    pub(super) fn learn(&self, place: Option<Place>, now: DateTime<Utc>) {
        let mut shared = self.shared();
        shared.looked_at = Some(now);
        if place.is_some() {
            shared.place = place;
        }
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

    /// A wrong route must not cost a card: is this an owner's channel that says no, and is there the general one?
    fn has_another(&self, place: &Spot, failed: &Failed) -> bool {
        place.is_owners
            && matches!(failed.status(), Some(400 | 403 | 404))
            && self
                .general()
                .is_some_and(|general| general != place.channel)
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

    /// Looks for a post of unknown outcome.
    async fn look_for(
        &self,
        below: Option<&str>,
        mark: &str,
        (team, channel): (Option<&str>, &str),
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<Looked, Fault> {
        let settled = intent.since + SETTLED;
        if let Ok(wait) = (settled - now).to_std()
            && !wait.is_zero()
        {
            let why = "a post whose answer was lost is looked for".to_owned();
            return Ok(Looked::Wait(Step::Wait(wait, why)));
        }
        let Some(team) = team.filter(|_| !self.shared().no_history) else {
            return Ok(Looked::Blind);
        };
        let marked = (self.settings.app_id.as_str(), mark);
        match self
            .client
            .find((team, channel), below, marked, intent.since)
            .await
        {
            Ok(Some(id)) => Ok(Looked::Found(id)),
            Ok(None) => Ok(Looked::NotThere),
            Err(failed) if matches!(failed.status(), Some(401 | 403)) => {
                self.shared().no_history = true;
                Ok(Looked::Blind)
            }
            // The message above is gone, and what stands below it with it.
            Err(failed) if failed.status() == Some(404) => Ok(Looked::NotThere),
            Err(failed) => Err(failed.fault()),
        }
    }

    /// May the intended card be posted now; is this the first call for it? An intent that is over is recorded again first, and
    /// its place in line is kept.
    fn may_post(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<bool, Box<Step<TeamsRecord>>> {
        let who = ticket.id.as_str();
        let standing = self.intents.standing(intent, now);
        if standing == Standing::Unknown {
            return Ok(false);
        }
        let turn = self.shared().posts.claim(who, now);
        if let Turn::Soon(wait) | Turn::Later(wait) = turn {
            let why = "so many posts a second and channel".to_owned();
            return Err(Box::new(Step::Wait(wait, why)));
        }
        if standing == Standing::Over {
            self.shared().posts.give_back(who, now);
            return Err(Box::new(Step::Recorded(TeamsRecord {
                intent: None,
                ..record.clone()
            })));
        }
        Ok(self.intents.spend(intent))
    }

    /// What was refused was not done: its intent goes, then its fault is told. Else its outcome is unknown.
    fn failed(
        &self,
        (ticket, record): (&Ticket, &TeamsRecord),
        intent: &Intent,
        failed: &Failed,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        let fault = self.slow_down(failed, now);
        if matches!(failed, Failed::Unknown(_)) {
            return Err(fault);
        }
        self.intents.end(intent);
        self.refused.keep(ticket, fault);
        Ok(Step::Recorded(TeamsRecord {
            intent: None,
            ..record.clone()
        }))
    }

    /// Keeps Teams' wish for silence.
    fn slow_down(&self, failed: &Failed, now: DateTime<Utc>) -> Fault {
        if let Failed::Refused(refusal) = failed
            && let Some(wait) = refusal.silence
        {
            let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1));
            self.shared().posts.hold(now + wait);
        }
        failed.fault()
    }

    /// Where a card of this ticket is to be posted: in its owner's channel, unless that refused it.
    fn place(&self, ticket: &Ticket, record: &TeamsRecord) -> Result<Spot, Fault> {
        let route = self
            .routes
            .of(ticket)
            .and_then(|route| route.teams.as_ref());
        let general = self.general();
        if let Some(owners) = route.filter(|_| !record.general || general.is_none()) {
            return Ok(Spot {
                team: owners.team.clone().or_else(|| self.team()),
                channel: owners.id.clone(),
                is_owners: true,
            });
        }
        match general {
            Some(channel) => Ok(Spot {
                team: self.team(),
                channel,
                is_owners: false,
            }),
            None => Err(Fault::permanent(
                "the bot does not know its channel yet: install the app in the team, or set TEAMS_CHANNEL_ID",
            )),
        }
    }

    /// The channel of what has no channel of its owner's: that of the settings, else where the app was installed.
    fn general(&self) -> Option<String> {
        let learned = || self.shared().place.clone()?.channel;
        self.settings.channel.clone().or_else(learned)
    }

    /// Its team, where that is known.
    fn team(&self) -> Option<String> {
        let learned = || self.shared().place.clone()?.team;
        self.settings.team.clone().or_else(learned)
    }

    /// The address of the Bot Connector: the one that was learned, if it is one of Teams.
    fn service(&self) -> Url {
        let learned = self.shared().place.as_ref().and_then(|place| {
            let url = Url::parse(&place.service).ok()?;
            self.settings.serves(&url).then_some(url)
        });
        learned.unwrap_or_else(|| self.settings.service.clone())
    }

    /// In which channel, and which team, a card is.
    fn where_is<'a>(&self, ticket: &Ticket, at: &'a Posted) -> (&'a str, Option<String>) {
        let channel = at.conversation.split(';').next().unwrap_or_default();
        let route = self
            .routes
            .of(ticket)
            .and_then(|route| route.teams.as_ref());
        let owners = route.filter(|owners| owners.id == channel);
        let team = owners.and_then(|owners| owners.team.clone());
        (channel, team.or_else(|| self.team()))
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

/// Where a card is to be posted.
struct Spot {
    team: Option<String>,
    channel: String,
    /// Is it named by the route of the ticket's owner?
    is_owners: bool,
}

enum Looked {
    Wait(Step<TeamsRecord>),
    Found(String),
    NotThere,
    /// The channel cannot be read.
    Blind,
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

/// What every card carries, as the id of its first element.
fn mark(ticket: &Ticket, what: &str) -> String {
    format!("rca-{}-{what}", ticket.id)
}

/// What people are told while the card lies elsewhere than its owner's route says.
fn detail(record: &TeamsRecord) -> Option<DeliveryFault> {
    record.fault.clone().filter(|_| record.general)
}

/// The owner's channel does not take the card: it goes into the general one, and the ticket says why.
fn in_general(
    record: &TeamsRecord,
    place: &Spot,
    failed: &Failed,
    now: DateTime<Utc>,
) -> TeamsRecord {
    let reason = format!(
        "the channel of the owner (OWNER_ROUTES, teams={}) cannot be used, the card is in the general one. {}",
        place.channel,
        failed.fault().reason()
    );
    tracing::error!(sink.name = "teams", reason = %reason, "a route leads nowhere");
    TeamsRecord {
        intent: None,
        general: true,
        fault: Some(DeliveryFault {
            reason,
            at: now,
            retrying: false,
        }),
        ..record.clone()
    }
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
