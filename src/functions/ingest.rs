//! The doors of the monitors: parse → accept → the ingest answer of the contract.

use chrono::{DateTime, Utc};
use warp::http::StatusCode;

use super::wire::{Request, Response};
use super::{Door, Handler, secure_webhook};
use crate::sources::{Malformed, Parsed, azure_monitor};
use crate::trace;

impl Handler {
    pub(super) async fn azure_monitor(&self, request: &Request, now: DateTime<Utc>) -> Response {
        if let Some(lock) = &self.doors.secure_webhook
            && let Err(refused) = lock.check(request.header("authorization"), now).await
        {
            return refused.response(&secure_webhook::WORDS);
        }
        self.ingest(Door::AzureMonitor, azure_monitor::parse, request, now)
            .await
    }

    pub(super) async fn ingest(
        &self,
        door: Door,
        parse: fn(&[u8]) -> Result<Parsed, Malformed>,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Response {
        let name = door.name();
        let parsed = parse(&request.body);
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(malformed) => {
                tracing::info!(door = name, error.code = malformed.code, error.path = %malformed.path, "a body could not be read");
                return Response::error(
                    StatusCode::BAD_REQUEST,
                    malformed.code,
                    &malformed.message,
                    &malformed.path,
                );
            }
        };
        let accepted = match self.flow().await {
            Ok(flow) => flow.accept(parsed, now).await,
            Err(fault) => Err(fault),
        };
        match accepted {
            Ok(accepted) => {
                if let Some(ticket) = &accepted.ticket_id {
                    trace::note("ticket.id", ticket.to_string());
                }
                self.metrics.accepted(&accepted);
                Response::json(StatusCode::OK, &accepted)
            }
            Err(fault) => {
                tracing::error!(
                    door = name,
                    reason = fault.reason(),
                    "a failure could not be stored; the sender was asked to send it again"
                );
                Response::unavailable()
            }
        }
    }
}
