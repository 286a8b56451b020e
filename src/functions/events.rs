//! The doors of people and playbooks: JIRA's webhook, Slack's buttons, the playbook's callback.
//!
//! Each has its own lock, closed when its secret is not configured, compared in constant time (law L11).
//! Every refused or late event changes nothing and is answered so that its sender does not come again.

use chrono::{DateTime, Utc};
use serde_json::json;
use warp::http::StatusCode;

use super::Handler;
use super::wire::{Request, Response};
use crate::flow::NotSilenced;
use crate::flow::jira::JiraOutcome;
use crate::sinks::jira::webhook;
use crate::sinks::playbook;
use crate::sinks::slack::interaction::{self, Interaction, SilenceWish};
use crate::ticket::machine::Event;
use crate::ticket::store::UpdateError;
use crate::ticket::{Actor, Channel, Status, Ticket, TicketId};
use crate::trace;

fn forbidden(message: &str) -> Response {
    Response::error(StatusCode::UNAUTHORIZED, "not_allowed", message, "")
}

pub(super) fn closed(setting: &str) -> Response {
    Response::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "door_closed",
        &format!("this door opens when {setting} is set"),
        "",
    )
}

/// What an event by a person or a playbook came to.
pub(super) fn outcome(result: Result<Ticket, UpdateError>) -> Response {
    match result {
        Ok(ticket) => {
            trace::note("ticket.id", ticket.id.to_string());
            Response::json(
                StatusCode::OK,
                &json!({"status": "applied", "ticket_id": ticket.id, "ticket_status": ticket.status, "remediation": ticket.remediation.state}),
            )
        }
        Err(UpdateError::Missing) => Response::error(
            StatusCode::NOT_FOUND,
            "unknown_ticket",
            "there is no such ticket",
            "",
        ),
        Err(UpdateError::Refused(refusal)) => {
            Response::error(StatusCode::CONFLICT, "refused", &refusal.to_string(), "")
        }
        Err(UpdateError::Store(fault)) => {
            tracing::error!(
                reason = fault.reason(),
                "an event could not be stored; its sender was asked to send it again"
            );
            Response::unavailable()
        }
    }
}

fn ignored(reason: &str) -> Response {
    Response::json(
        StatusCode::OK,
        &json!({"status": "ignored", "reason": reason}),
    )
}

/// What a person did in Slack, and who it was, where only approvers may.
fn event_from_slack(
    decision: Interaction,
    now: DateTime<Utc>,
) -> Option<(TicketId, Option<String>, Event)> {
    let by = |name| Actor {
        channel: Channel::Slack,
        name,
    };
    Some(match decision {
        Interaction::Acknowledge(_) | Interaction::Silence { .. } => return None,
        Interaction::Decision {
            ticket_id,
            approval_id,
            plan,
            approved,
            user_id,
            user_name,
            ..
        } => {
            let event = Event::ApprovalAnswered {
                approval: approval_id,
                plan,
                approved,
                by: by(user_name),
            };
            (ticket_id, Some(user_id), event)
        }
        Interaction::Correction {
            ticket_id,
            category,
            user_name,
        } => {
            let event = Event::Corrected {
                category,
                line: String::new(),
                by: by(user_name),
            };
            (ticket_id, None, event)
        }
        Interaction::Change {
            ticket_id,
            closes,
            user_id,
            user_name,
        } => {
            let event = Event::StatusChanged {
                to: if closes {
                    Status::Acknowledged
                } else {
                    Status::InProgress
                },
                by: by(user_name),
                at: now,
                jira_status: None,
            };
            (ticket_id, closes.then_some(user_id), event)
        }
    })
}

impl Handler {
    pub(super) async fn jira_webhook(&self, request: &Request, now: DateTime<Utc>) -> Response {
        let Ok(flow) = self.doors.flow.as_ref() else {
            return Response::unavailable();
        };
        let Some(secret) = flow
            .sinks
            .jira
            .as_ref()
            .and_then(|jira| jira.settings().webhook_secret.as_ref())
        else {
            return closed("JIRA_WEBHOOK_SECRET (with ITSM_TOOL=jira)");
        };
        let signature = request.header("x-hub-signature");
        let given = request.parameter("secret");
        if webhook::authenticate(signature, given.as_deref(), &request.body, secret).is_err() {
            return forbidden("the signature or the secret is missing or wrong");
        }
        let event = match webhook::parse(&request.body, now) {
            Ok(event) => event,
            Err(bad) => {
                return Response::error(StatusCode::BAD_REQUEST, bad.code, &bad.message, &bad.path);
            }
        };
        match self.flow().await {
            Ok(flow) => match flow.jira_event(event, now).await {
                Ok(JiraOutcome::Applied(ticket)) => outcome(Ok(*ticket)),
                Ok(JiraOutcome::Ignored(reason)) => ignored(&reason),
                Err(fault) => {
                    tracing::warn!(
                        reason = fault.reason(),
                        "JIRA was asked to send its event again"
                    );
                    Response::unavailable()
                }
            },
            Err(_) => Response::unavailable(),
        }
    }

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
        let settings = slack.settings();
        let Some(secret) = &settings.signing_secret else {
            return closed("SLACK_SIGNING_SECRET");
        };
        let (at, signature) = (
            request.header("x-slack-request-timestamp"),
            request.header("x-slack-signature"),
        );
        if interaction::verify(at, signature, &request.body, secret, now).is_err() {
            return forbidden("the signature is missing, wrong or too old");
        }
        let decision = match interaction::parse(&request.body) {
            Ok(Interaction::Acknowledge(reason)) => {
                tracing::info!(reason = %reason, "a Slack interaction was acknowledged");
                return Response::empty(StatusCode::OK);
            }
            Ok(decision) => decision,
            Err(_) => {
                return Response::error(
                    StatusCode::BAD_REQUEST,
                    "malformed",
                    "the interaction cannot be read",
                    "",
                );
            }
        };
        if let Interaction::Silence {
            ticket_id,
            what,
            user_id,
            user_name,
        } = decision
        {
            if !settings.may_approve(&user_id) {
                tracing::warn!(ticket.id = %ticket_id, slack.user = %user_id, "somebody who is not in SLACK_APPROVERS tried to silence");
                return Response::empty(StatusCode::OK);
            }
            let by = Actor {
                channel: Channel::Slack,
                name: user_name,
            };
            return self.silence_from_slack(&ticket_id, what, by, now).await;
        }
        let Ok(flow) = self.flow().await else {
            return Response::unavailable();
        };
        let Some((ticket_id, approver, event)) = event_from_slack(decision, now) else {
            return Response::empty(StatusCode::OK);
        };
        if let Some(user_id) = approver.filter(|user| !settings.may_approve(user)) {
            tracing::warn!(ticket.id = %ticket_id, slack.user = %user_id, "somebody who is not in SLACK_APPROVERS tried to decide");
            return Response::empty(StatusCode::OK);
        }
        trace::note("ticket.id", ticket_id.to_string());
        match flow.apply(&ticket_id, &event, now).await {
            Err(UpdateError::Store(_)) => Response::unavailable(),
            Err(refused) => {
                tracing::info!(ticket.id = %ticket_id, reason = %refused, "a decision changed nothing");
                Response::empty(StatusCode::OK)
            }
            Ok(_) => Response::empty(StatusCode::OK),
        }
    }

    async fn silence_from_slack(
        &self,
        ticket: &TicketId,
        what: SilenceWish,
        by: Actor,
        now: DateTime<Utc>,
    ) -> Response {
        let Ok(flow) = self.flow().await else {
            return Response::unavailable();
        };
        trace::note("ticket.id", ticket.to_string());
        let done = match what {
            SilenceWish::Minutes(minutes) => {
                let why = format!("set in Slack, at ticket {ticket}");
                let set = flow.silence_like(ticket, minutes, &why, by, now);
                set.await.map(drop)
            }
            SilenceWish::End(silence) => {
                let ended = flow.end_silence_of(ticket, &silence, &by, now);
                ended.await.map_err(NotSilenced::from)
            }
        };
        match done {
            Ok(()) => Response::empty(StatusCode::OK),
            Err(NotSilenced::Store(_)) => Response::unavailable(),
            Err(NotSilenced::Invalid(invalid)) => {
                tracing::info!(ticket.id = %ticket, reason = %invalid, "a silence was not set");
                Response::empty(StatusCode::OK)
            }
        }
    }

    pub(super) async fn remediation_callback(
        &self,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Response {
        let Ok(flow) = self.doors.flow.as_ref() else {
            return Response::unavailable();
        };
        let Some(sink) = &flow.sinks.playbook else {
            return closed("CALLBACK_SIGNING_KEY (with a PLAYBOOK_… URL)");
        };
        let (ticket, attempt, token) = (
            request.parameter("ticket"),
            request.parameter("attempt"),
            request.parameter("token"),
        );
        let (Some(ticket), Some(attempt), Some(token)) =
            (ticket.as_deref().and_then(TicketId::parse), attempt, token)
        else {
            return forbidden("the callback's token is missing");
        };
        if !sink.verify_callback(ticket.as_str(), &attempt, &token) {
            return forbidden("the callback's token is wrong");
        }
        trace::note("ticket.id", ticket.to_string());
        let callback = match playbook::callback::parse(&request.body) {
            Ok(callback) => callback,
            Err(refused) => {
                return Response::error(
                    StatusCode::BAD_REQUEST,
                    "malformed",
                    &refused.to_string(),
                    "",
                );
            }
        };
        if callback
            .ticket_id
            .as_ref()
            .is_some_and(|named| *named != ticket)
        {
            return Response::error(
                StatusCode::CONFLICT,
                "wrong_ticket",
                "the body names another ticket than the callback URL",
                "ticket_id",
            );
        }
        if callback
            .attempt_id
            .as_ref()
            .is_some_and(|named| *named != attempt)
        {
            return Response::error(
                StatusCode::CONFLICT,
                "wrong_attempt",
                "the body names another attempt than the callback URL",
                "attempt_id",
            );
        }
        let Ok(flow) = self.flow().await else {
            return Response::unavailable();
        };
        match flow.callback(&ticket, &attempt, &callback, now).await {
            // The playbook's own retries must end: a late or repeated callback is taken and changes nothing.
            Err(UpdateError::Refused(refusal)) => ignored(&refusal.to_string()),
            Err(other) => outcome(Err(other)),
            Ok(decision) => Response::json(
                StatusCode::OK,
                &json!({"status": "applied", "ticket_id": ticket, "remediation": decision}),
            ),
        }
    }
}
