//! The door of Slack's buttons, lists and forms. A signature that Slack made opens it; who may decide is in `SLACK_APPROVERS`.
//! Who is refused reads why, alone.

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::Handler;
use super::events::{closed, forbidden, status};
use super::wire::{Request, Response};
use crate::flow::{Flow, NotSilenced};
use crate::sinks::slack::Slack;
use crate::sinks::slack::interaction::{self, Interaction, Press, SilenceWish, Wish};
use crate::ticket::machine::Event;
use crate::ticket::store::UpdateError;
use crate::ticket::{Actor, Channel, Status, TicketId};
use crate::trace;

impl Handler {
    pub(super) async fn slack_interaction(
        &self,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Response {
        let Ok(flow) = self.doors.flow.as_ref() else {
            return Response::unavailable();
        };
        let Some(slack) = &flow.sinks.slack else {
            return closed("SLACK_BOT_TOKEN");
        };
        let Some(secret) = &slack.settings().signing_secret else {
            return closed("SLACK_SIGNING_SECRET");
        };
        let (at, signature) = (
            request.header("x-slack-request-timestamp"),
            request.header("x-slack-signature"),
        );
        if interaction::verify(at, signature, &request.body, secret, now).is_err() {
            return forbidden("the signature is missing, wrong or too old");
        }
        let press = match interaction::parse(&request.body) {
            Ok(Interaction::Acknowledge(reason)) => {
                tracing::info!(reason = %reason, "a Slack interaction was acknowledged");
                return Response::empty(StatusCode::OK);
            }
            Ok(Interaction::Pressed(press)) => press,
            Err(_) => {
                return Response::error(
                    StatusCode::BAD_REQUEST,
                    "malformed",
                    "the interaction cannot be read",
                    "",
                );
            }
        };
        trace::note("ticket.id", press.ticket_id.to_string());
        if press.wish.is_for_approvers() && !slack.settings().may_approve(&press.user_id) {
            tracing::warn!(ticket.id = %press.ticket_id, slack.user = %press.user_id, "somebody who is not in SLACK_APPROVERS tried to decide");
            slack.tell_who_may(&press, now).await;
            return Response::empty(StatusCode::OK);
        }
        let Ok(flow) = self.flow().await else {
            return Response::unavailable();
        };
        match carry_out(flow, &press, now).await {
            Ok(()) => {
                ask_more(slack, &press, now).await;
                Response::empty(StatusCode::OK)
            }
            Err(Undone::Store) => Response::unavailable(),
            Err(Undone::Refused(why)) => {
                tracing::info!(ticket.id = %press.ticket_id, reason = %why, "a decision changed nothing");
                slack.tell_refusal(&press, &why, now).await;
                Response::empty(StatusCode::OK)
            }
        }
    }
}

/// Why nothing has changed.
enum Undone {
    /// Slack says so to the person, who tries again.
    Store,
    Refused(String),
}

impl From<UpdateError> for Undone {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Store(_) => Self::Store,
            refused @ (UpdateError::Missing | UpdateError::Refused(_)) => {
                Self::Refused(refused.to_string())
            }
        }
    }
}

impl From<NotSilenced> for Undone {
    fn from(error: NotSilenced) -> Self {
        match error {
            NotSilenced::Store(_) => Self::Store,
            NotSilenced::Invalid(invalid) => Self::Refused(invalid.to_string()),
        }
    }
}

async fn carry_out(flow: &Flow, press: &Press, now: DateTime<Utc>) -> Result<(), Undone> {
    let by = Actor {
        channel: Channel::Slack,
        name: press.user_name.clone(),
    };
    let event = match press.wish.clone() {
        Wish::Silence(wish) => return silence(flow, &press.ticket_id, wish, by, now).await,
        Wish::Answer {
            approval_id,
            plan,
            approved,
        } => Event::ApprovalAnswered {
            approval: approval_id,
            plan,
            approved,
            by,
        },
        Wish::Take => status(Status::InProgress, by, now),
        Wish::Close => status(Status::Acknowledged, by, now),
        Wish::OtherCause(category, _) => Event::Corrected {
            category,
            line: String::new(),
            by,
        },
        Wish::CauseLine(category, line) => Event::Corrected { category, line, by },
    };
    flow.apply(&press.ticket_id, &event, now).await?;
    Ok(())
}

async fn silence(
    flow: &Flow,
    ticket: &TicketId,
    wish: SilenceWish,
    by: Actor,
    now: DateTime<Utc>,
) -> Result<(), Undone> {
    match wish {
        SilenceWish::Minutes(minutes) => {
            let why = format!("set in Slack, at ticket {ticket}");
            flow.silence_like(ticket, minutes, &why, by, now).await?;
        }
        SilenceWish::End(silence) => {
            let ended = flow.end_silence_of(ticket, &silence, &by, now).await;
            ended.map_err(NotSilenced::from)?;
        }
    }
    Ok(())
}

/// Who names another category can say more in a form.
async fn ask_more(slack: &Slack, press: &Press, now: DateTime<Utc>) {
    if let Wish::OtherCause(category, Some(trigger)) = &press.wish {
        slack
            .ask_for_line(&press.ticket_id, *category, trigger, now)
            .await;
    }
}
