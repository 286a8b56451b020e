//! Where a card belongs: in the channel of its owner's route, unless that refused it; else in that of the settings, or
//! where the app was installed.

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::Bot;
use crate::fault::Fault;
use crate::sinks::teams::client::{Failed, Posted};
use crate::ticket::store::Place;
use crate::ticket::{DeliveryFault, TeamsRecord, Ticket};

/// How long what was learned of the place is believed.
const BELIEVED: TimeDelta = TimeDelta::minutes(10);
/// Where no place is known, it is looked for this often.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(20);

/// Where a card is to be posted.
pub(super) struct Spot {
    pub(super) team: Option<String>,
    pub(super) channel: String,
    /// Is it named by the route of the ticket's owner?
    pub(super) is_owners: bool,
}

impl Bot {
    /// Is it time to read where to post?
    pub(in crate::sinks::teams) fn wants_place(&self, now: DateTime<Utc>) -> bool {
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
    pub(in crate::sinks::teams) fn learn(&self, place: Option<Place>, now: DateTime<Utc>) {
        let mut shared = self.shared();
        shared.looked_at = Some(now);
        if place.is_some() {
            shared.place = place;
        }
    }

    /// Where a card of this ticket is to be posted: in its owner's channel, unless that refused it.
    pub(super) fn place(&self, ticket: &Ticket, record: &TeamsRecord) -> Result<Spot, Fault> {
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
    pub(super) fn general(&self) -> Option<String> {
        let learned = || self.shared().place.clone()?.channel;
        self.settings.channel.clone().or_else(learned)
    }

    /// Its team, where that is known.
    pub(super) fn team(&self) -> Option<String> {
        let learned = || self.shared().place.clone()?.team;
        self.settings.team.clone().or_else(learned)
    }

    /// The address of the Bot Connector: the one that was learned, if it is one of Teams.
    pub(super) fn service(&self) -> Url {
        let learned = self.shared().place.as_ref().and_then(|place| {
            let url = Url::parse(&place.service).ok()?;
            self.settings.serves(&url).then_some(url)
        });
        learned.unwrap_or_else(|| self.settings.service.clone())
    }

    /// In which channel, and which team, a card is.
    pub(super) fn where_is<'a>(
        &self,
        ticket: &Ticket,
        at: &'a Posted,
    ) -> (&'a str, Option<String>) {
        let channel = at.conversation.split(';').next().unwrap_or_default();
        let route = self
            .routes
            .of(ticket)
            .and_then(|route| route.teams.as_ref());
        let owners = route.filter(|owners| owners.id == channel);
        let team = owners.and_then(|owners| owners.team.clone());
        (channel, team.or_else(|| self.team()))
    }

    /// A wrong route must not cost a card: is this an owner's channel that says no, and is there the general one?
    pub(super) fn has_another(&self, place: &Spot, failed: &Failed) -> bool {
        place.is_owners
            && matches!(failed.status(), Some(400 | 403 | 404))
            && self
                .general()
                .is_some_and(|general| general != place.channel)
    }
}

/// The owner's channel does not take the card: it goes into the general one, and the ticket says why.
pub(super) fn in_general(
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
