//! The door of Teams: pressed buttons, and where the app was installed.
//!
//! Locked by a token of the Bot Framework, closed when no bot is configured. What a person pressed is answered to that person;
//! everybody else sees it when the card is edited, through the same queue as any other change.

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::events::{closed, status};
use super::wire::{Request, Response};
use super::{Handler, bot_token};
use crate::flow::Flow;
use crate::sinks::teams::activity::{self, Meaning, Press, Received, Verdict};
use crate::sinks::teams::{Bot, Teams};
use crate::ticket::machine::Event;
use crate::ticket::store::{Place, UpdateError};
use crate::ticket::{Actor, Channel, Sink, Status, Ticket};
use crate::trace;

impl Handler {
    pub(super) async fn teams_message(&self, request: &Request, now: DateTime<Utc>) -> Response {
        let Ok(flow) = self.doors.flow.as_ref() else {
            return Response::unavailable();
        };
        let (Some(Teams::Bot(bot)), Some(lock)) = (&flow.sinks.teams, &self.doors.bot_token) else {
            return closed("TEAMS_BOT_APP_ID");
        };
        let Ok(received) = activity::parse(&request.body) else {
            return Response::error(
                StatusCode::BAD_REQUEST,
                "malformed",
                "the activity cannot be read",
                "",
            );
        };
        let about = (received.service.as_str(), received.channel.as_str());
        let authorization = request.header("authorization");
        if let Err(refused) = lock.check(authorization, about, now).await {
            return refused.response(&bot_token::WORDS);
        }
        let settings = bot.settings();
        let service = url::Url::parse(&received.service).ok();
        if !service.is_some_and(|service| settings.serves(&service)) {
            return elsewhere("the service address is not one of Teams");
        }
        let ours = |tenant: &String| tenant.eq_ignore_ascii_case(&settings.tenant);
        if !received.tenant.as_ref().is_some_and(ours) {
            return elsewhere("the activity comes from another tenant");
        }
        let Ok(flow) = self.flow().await else {
            return Response::unavailable();
        };
        match &received.meaning {
            Meaning::Ignored(reason) => {
                tracing::info!(reason = %reason, "an activity of Teams was acknowledged");
                Response::empty(StatusCode::OK)
            }
            Meaning::Installed { .. } => installed(flow, bot, &received, now).await,
            Meaning::Pressed(press) => pressed(flow, bot, press, now).await,
        }
    }
}

fn elsewhere(why: &str) -> Response {
    tracing::warn!(reason = why, "an activity of Teams was refused");
    Response::error(StatusCode::FORBIDDEN, "not_allowed", why, "")
}

/// The app was installed: from now on this is where cards are posted, unless the settings say otherwise, and what waited
/// for it is posted.
async fn installed(flow: &Flow, bot: &Bot, received: &Received, now: DateTime<Utc>) -> Response {
    let Meaning::Installed { team, channel } = &received.meaning else {
        return Response::empty(StatusCode::OK);
    };
    let settings = bot.settings();
    let other = |wanted: &Option<String>| {
        let both = wanted.as_ref().zip(team.as_ref());
        both.is_some_and(|(wanted, team)| !wanted.eq_ignore_ascii_case(team))
    };
    let place = Place {
        service: received.service.clone(),
        team: team.clone(),
        channel: channel.clone(),
        at: now,
    };
    let place = Some(place).filter(|_| !other(&settings.team));
    if place.is_none() {
        tracing::info!("the Teams app was installed in a team other than TEAMS_TEAM_ID");
    }
    match flow.told_place(Sink::Teams, place.as_ref(), now).await {
        Ok(()) => Response::empty(StatusCode::OK),
        Err(_) => Response::unavailable(),
    }
}

async fn pressed(flow: &Flow, bot: &Bot, press: &Press, now: DateTime<Utc>) -> Response {
    let id = &press.ticket;
    trace::note("ticket.id", id.to_string());
    if !bot.settings().may_decide(&press.person) {
        tracing::warn!(ticket.id = %id, teams.user = %press.person, "somebody who is not in TEAMS_APPROVERS tried to decide");
        let text = "You may not decide this here: only those named in TEAMS_APPROVERS may.";
        return Response::json(StatusCode::OK, &activity::says(text));
    }
    let by = Actor {
        channel: Channel::Teams,
        name: press.name.clone(),
    };
    let event = match &press.verdict {
        Verdict::Answer {
            approval,
            plan,
            approved,
        } => Event::ApprovalAnswered {
            approval: approval.clone(),
            plan: plan.clone(),
            approved: *approved,
            by,
        },
        Verdict::Take => status(Status::InProgress, by, now),
        Verdict::Close => status(Status::Acknowledged, by, now),
    };
    match flow.apply(id, &event, now).await {
        Ok(ticket) => shown(bot, &ticket),
        Err(UpdateError::Store(_)) => Response::unavailable(),
        Err(UpdateError::Missing) => Response::json(
            StatusCode::OK,
            &activity::says("This ticket is no longer kept."),
        ),
        Err(refused @ UpdateError::Refused(_)) => {
            tracing::info!(ticket.id = %id, reason = %refused, "a decision changed nothing");
            match flow.store.load(id).await {
                Ok(Some(ticket)) => shown(bot, &ticket),
                Ok(None) | Err(_) => Response::json(
                    StatusCode::OK,
                    &activity::says("This changed nothing: the question is answered already."),
                ),
            }
        }
    }
}

/// The card as it is now, for the person who pressed.
fn shown(bot: &Bot, ticket: &Ticket) -> Response {
    let card = bot.card(&crate::incident::shown(ticket));
    Response::json(StatusCode::OK, &activity::shows(&card))
}
