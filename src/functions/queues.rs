//! Queue and timer functions: decode the envelope, call the corridor, answer with a JSON object always.

use chrono::{DateTime, Utc};
use tracing::Instrument as _;

use super::Handler;
use super::envelope::{done, failed, queue_text};
use super::wire::{Request, Response};
use crate::fault::Fault;
use crate::pipeline::{DELIVERIES, DeliveryMessage, FAILURES, FailureMessage, Pipeline};
use crate::telemetry;

impl Handler {
    pub(super) async fn invoke(&self, name: &str, request: &Request, now: DateTime<Utc>) -> Response {
        let outcome = match self.pipeline().await {
            Ok(pipeline) => self.run(pipeline, name, request, now).await,
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(()) => done(),
            Err(fault) => {
                tracing::error!(function = name, reason = fault.reason(), "the invocation failed; the host delivers it again");
                failed(fault.reason())
            }
        }
    }

    async fn run(&self, pipeline: &Pipeline, name: &str, request: &Request, now: DateTime<Utc>) -> Result<(), Fault> {
        if name == "Sweep" {
            let swept = pipeline.sweep(now).await?;
            tracing::info!(sweep.rows = swept.rows, sweep.acted = swept.acted, sweep.failed = swept.failed, "swept");
            self.metrics.swept();
            return Ok(());
        }
        let text = queue_text(&request.body).ok_or_else(|| Fault::permanent("the envelope holds no message"))?;
        match name {
            "AnalyseFailure" => match serde_json::from_str::<FailureMessage>(&text) {
                Ok(message) => {
                    let span = telemetry::span(message.trace());
                    pipeline.analyse(message, now).instrument(span).await
                }
                Err(_) => pipeline.record_dead_letter(FAILURES, &text, now).await,
            },
            "DeliverTicket" => match serde_json::from_str::<DeliveryMessage>(&text) {
                Ok(message) => {
                    let span = telemetry::span(message.trace.as_deref());
                    pipeline.deliver(message, Utc::now).instrument(span).await
                }
                Err(_) => pipeline.record_dead_letter(DELIVERIES, &text, now).await,
            },
            "RecordPoisonFailure" => pipeline.record_dead_letter(FAILURES, &text, now).await,
            _ => pipeline.record_dead_letter(DELIVERIES, &text, now).await,
        }
    }
}
