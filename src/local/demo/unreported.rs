//! What nobody reports: a job that fails and is found by asking, and a pipeline whose next run is well.
//!
//! The real host calls the patrol every minute. Here the stand-in host is told to, so that nobody has to wait for it.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Demo, story};
use crate::http::Http;

const PIPELINE: &str = "pl_nightly_orders";
const JOB: &str = "hourly_inventory";
/// How long one of the steps may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn stamp(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl Demo {
    /// Plays both; `true` when the tickets came and the one that recovered was closed.
    pub(super) async fn play_unreported(&self, http: &Http, say: &impl Fn(&str)) -> bool {
        // It begins with now: what failed before is left alone.
        let begun = self
            .until(http, async || self.is_patrolled(http).await)
            .await;
        if !begun {
            say("the patrol did not begin");
            return false;
        }
        say("Nobody reports anything: a Databricks job fails, and so does the nightly pipeline");
        self.put_job_failure();
        self.put_pipeline_run("7d3c1f52-4b1e-4f4e-9a53-0f6f2d3f8a01", "Failed");
        let found = self
            .until(http, async || {
                let (job, pipeline) = (self.find(http, JOB).await, self.find(http, PIPELINE).await);
                job.is_some_and(|ticket| story::is_shown(&ticket))
                    && pipeline.is_some_and(|ticket| story::is_shown(&ticket))
            })
            .await;
        for asset in [JOB, PIPELINE] {
            match self.find(http, asset).await {
                Some(ticket) => {
                    say("found by asking:");
                    story::tell_ticket(&ticket, &self.base, |key| self.jira.browse_url(key), say);
                }
                None => say(&format!("{asset} was not found")),
            }
        }
        self.put_pipeline_run("7d3c1f52-4b1e-4f4e-9a53-0f6f2d3f8a02", "Succeeded");
        let closed = self
            .until(http, async || {
                let ticket = self.find(http, PIPELINE).await;
                ticket.is_some_and(|ticket| story::is_closed(&ticket))
            })
            .await;
        say(&if closed {
            format!(
                "{PIPELINE} has recovered by its next run: ticket, issue and message are closed"
            )
        } else {
            format!("{PIPELINE} was not closed")
        });
        found && closed
    }

    /// Runs the patrol until this holds.
    async fn until(&self, http: &Http, holds: impl AsyncFn() -> bool) -> bool {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Ok(url) = self.base.join("admin/functions/Patrol") {
                let request = http.request(Method::POST, &url).body("{}");
                let _asked_again_below = http.send("the host", request).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if holds().await {
                return true;
            }
        }
        false
    }

    async fn is_patrolled(&self, http: &Http) -> bool {
        let scopes = self.api(http, "api/scopes").await.unwrap_or_default();
        let scopes = scopes.get("scopes").and_then(Value::as_array).cloned();
        scopes.is_some_and(|scopes| {
            scopes
                .iter()
                .all(|scope| scope.get("answered_at").is_some_and(|at| !at.is_null()))
        })
    }

    /// The ticket about this asset, as the API shows it.
    async fn find(&self, http: &Http, asset: &str) -> Option<Value> {
        let list = self.api(http, &format!("api/tickets?q={asset}")).await?;
        let id = list.pointer("/tickets/0/id")?.as_str()?;
        self.api(http, &format!("api/tickets/{id}")).await
    }

    fn put_job_failure(&self) {
        let now = Utc::now();
        let began = now - TimeDelta::minutes(4);
        let message =
            "Task merge failed with message: Workload failed, see run output for details.";
        let state = json!({"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": message});
        self.workspace.put_run(json!({
            "run_id": 727_001, "job_id": 7270, "run_name": JOB, "run_type": "JOB_RUN", "trigger": "PERIODIC",
            "start_time": began.timestamp_millis(), "end_time": now.timestamp_millis(), "state": state,
            "tasks": [{"task_key": "merge", "run_id": 727_002, "start_time": began.timestamp_millis(),
                "end_time": now.timestamp_millis(), "state": state}],
        }));
        self.workspace.put_output(
            727_002,
            json!({"error": "AnalysisException: [DELTA_FAILED_TO_MERGE_FIELDS] Failed to merge fields 'amount' and 'amount'",
                "error_trace": ""}),
        );
    }

    fn put_pipeline_run(&self, run: &str, status: &str) {
        let now = Utc::now();
        let failed = status == "Failed";
        let error = "ErrorCode=SqlFailedToConnect,'Type=Microsoft.DataTransfer.Common.Shared.HybridDeliveryException,Message=Cannot connect to SQL Database: 'sql-orders.database.windows.net', Database: 'orders'.,Source=Microsoft.DataTransfer.ClientLibrary,'";
        let message = if failed {
            format!("Operation on target LoadOrders failed: {error}")
        } else {
            String::new()
        };
        let began = if failed {
            now - TimeDelta::minutes(6)
        } else {
            now
        };
        self.factory_site.put_run(json!({
            "runId": run, "runGroupId": run, "isLatest": true, "pipelineName": PIPELINE, "parameters": {},
            "invokedBy": {"name": "nightly", "invokedByType": "ScheduleTrigger"}, "runStart": stamp(began), "runEnd": stamp(now),
            "durationInMs": 360_000, "status": status, "message": message, "lastUpdated": stamp(now),
        }));
        if failed {
            self.factory_site.put_activities(run, &[json!({
                "activityName": "LoadOrders", "activityType": "Copy", "status": "Failed", "pipelineRunId": run,
                "activityRunStart": stamp(began), "activityRunEnd": stamp(now), "retryAttempt": null, "iterationHash": "",
                "input": {}, "output": {}, "error": {"errorCode": "2200", "message": error, "failureType": "UserError", "target": "LoadOrders"},
            })]);
        }
    }
}
