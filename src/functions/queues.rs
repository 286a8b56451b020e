//! Queue and timer functions: decode the envelope, call the corridor, answer with a JSON object always.

use chrono::{DateTime, Utc};

use super::Handler;
use super::envelope::{done, failed, queue_text};
use super::wire::{Request, Response};
use crate::fault::Fault;
use crate::pipeline::{DELIVERIES, FAILURES, Pipeline};

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
            "AnalyseFailure" => match serde_json::from_str(&text) {
                Ok(message) => pipeline.analyse(message, now).await,
                Err(_) => pipeline.record_dead_letter(FAILURES, &text, now).await,
            },
            "DeliverTicket" => match serde_json::from_str(&text) {
                Ok(message) => pipeline.deliver(message, Utc::now).await,
                Err(_) => pipeline.record_dead_letter(DELIVERIES, &text, now).await,
            },
            "RecordPoisonFailure" => pipeline.record_dead_letter(FAILURES, &text, now).await,
            _ => pipeline.record_dead_letter(DELIVERIES, &text, now).await,
        }
    }
}
