//! `doctor`'s look at a factory: each of our questions, asked once.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use uuid::Uuid;

use super::wire::{ActivityRun, Factory, Pipeline, PipelineRun, Query, TriggerRun, Triggers};
use super::{DataFactory, Home};
use crate::evidence::asking::none_refused;
use crate::evidence::values::around;
use crate::fault::Fault;

impl DataFactory {
    /// Asks for the factory, a pipeline, a run, the runs of a window, and the activity runs of a run. Rights are looked at before
    /// anything is searched for, so the run need not exist. A Synapse workspace is asked for its runs alone.
    ///
    /// # Errors
    /// There is no such factory, or every operation that the identity may not perform.
    pub async fn check(&self, now: DateTime<Utc>) -> Result<String, Fault> {
        let nil = Uuid::nil().to_string();
        let query = |order_by| Query {
            from: around(now, TimeDelta::hours(1)).0,
            to: now,
            filters: Vec::new(),
            order_by,
        };
        if let Home::Synapse(_) = self.home {
            self.pages::<PipelineRun>(&["queryPipelineRuns"], &query("RunStart"))
                .await?;
            return Ok(format!("Synapse workspace {}", self.scope.name));
        }
        let (runs_of, activities_of) = (query("RunStart"), query("ActivityRunEnd"));
        let activity_pieces = ["pipelineruns", nil.as_str(), "queryActivityruns"];
        let triggers_of = query("TriggerRunTimestamp");
        let (factory, run, runs, triggers, activities) = tokio::join!(
            async {
                let request = self.request(Method::GET, &[], None).await?;
                self.json::<Factory>(request).await
            },
            self.run(&nil),
            self.pages::<PipelineRun>(&["queryPipelineRuns"], &runs_of),
            self.pages::<TriggerRun>(&["queryTriggerRuns"], &triggers_of),
            self.pages::<ActivityRun>(&activity_pieces, &activities_of),
        );
        let triggers_listed = async {
            let request = self.request(Method::GET, &["triggers"], None).await?;
            self.json::<Triggers>(request).await
        };
        let triggers_listed = triggers_listed.await;
        let pipeline = async {
            let request = self
                .request(Method::GET, &["pipelines", &nil], None)
                .await?;
            self.json::<Pipeline>(request).await
        };
        let pipeline = pipeline.await;
        none_refused([
            pipeline.as_ref().err(),
            triggers_listed.as_ref().err(),
            factory.as_ref().err(),
            run.as_ref().err(),
            runs.as_ref().err(),
            triggers.as_ref().err(),
            activities.as_ref().err(),
        ])?;
        let factory = factory?.ok_or_else(|| self.unknown())?;
        Ok(format!(
            "factory {} in {}; its runs and their activities can be read",
            factory.name, factory.location
        ))
    }
}
