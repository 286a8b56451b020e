//! The doors of JIRA's webhook and of the playbook's callback.
//!
//! Each has its own lock, closed when its secret is not configured, compared in constant time (law L11).
//! Every refused or late event changes nothing and is answered so that its sender does not come again.

use chrono::{DateTime, Utc};
use serde_json::json;
use warp::http::StatusCode;

use super::Handler;
use super::wire::{Request, Response};
use crate::flow::jira::JiraOutcome;
use crate::sinks::jira::webhook;
use crate::sinks::playbook;
use crate::ticket::machine::Event;
use crate::ticket::store::UpdateError;
use crate::ticket::{Actor, Status, Ticket, TicketId};
use crate::trace;

pub(super) fn forbidden(message: &str) -> Response {
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

/// A person took the ticket, closed it or opened it again.
pub(super) fn status(to: Status, by: Actor, at: DateTime<Utc>) -> Event {
    Event::StatusChanged {
        to,
        by,
        at,
        jira_status: None,
    }
}

fn ignored(reason: &str) -> Response {
    Response::json(
        StatusCode::OK,
        &json!({"status": "ignored", "reason": reason}),
    )
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
