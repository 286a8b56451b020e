//! `doctor`'s look at a workspace: each of our questions, asked once; and which permission each of them needs.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Databricks, wire};
use crate::evidence::asking::none_refused;
use crate::evidence::values::around;
use crate::fault::Fault;
use crate::redaction::redact;

/// What the identity needs for a call, in the words of the workspace's permission dialogs. Documented for jobs and
/// all-purpose clusters (docs.databricks.com, access control lists); that a job's own cluster follows the job is what
/// its documentation says of logs.
pub(super) fn permission(path: &str) -> &'static str {
    match path {
        "api/2.2/jobs/runs/get" => {
            "CAN VIEW on the job; a run that Data Factory submits follows the permissions of its notebook's folder"
        }
        "api/2.2/jobs/runs/get-output" => {
            "CAN VIEW on the job, for what it logged CAN MANAGE RUN (which can start runs, too)"
        }
        "api/2.1/clusters/get" | "api/2.1/clusters/events" | "api/2.0/libraries/cluster-status" => {
            "CAN ATTACH TO on the cluster; for a job's own cluster CAN MANAGE RUN on the job (which can start runs, too)"
        }
        _ => "the entitlement Workspace access",
    }
}

impl Databricks {
    /// Asks who we are and which runs and clusters we see; then, of the latest run, its state, the output of a task,
    /// and its cluster with events and libraries.
    ///
    /// # Errors
    /// There is no such workspace, the credential is not good, or every permission that is missing.
    pub async fn check(&self, now: DateTime<Utc>) -> Result<String, Fault> {
        let me: Value = self
            .get("api/2.0/preview/scim/v2/Me", &[])
            .await?
            .ok_or_else(|| Fault::permanent("no such workspace"))?;
        let latest = [("limit", "1"), ("expand_tasks", "true")];
        let (runs, clusters) = tokio::join!(
            self.get::<wire::Runs>("api/2.2/jobs/runs/list", &latest),
            self.get::<wire::Clusters>("api/2.1/clusters/list", &[("page_size", "1")]),
        );
        let run = runs.as_ref().ok().and_then(Option::as_ref);
        let run = run.and_then(|page| page.runs.first()).cloned();
        let of_run = self.ask_about(run.as_ref(), now).await;
        none_refused([
            runs.as_ref().err(),
            clusters.as_ref().err(),
            of_run.as_ref().err(),
        ])?;
        let name = ["displayName", "userName"]
            .iter()
            .find_map(|name| me.get(name)?.as_str())
            .unwrap_or("somebody");
        // Lists leave out what one may not see, without an error.
        let seen = match run {
            Some(_) => "its latest run could be read",
            None => "it shows us no job runs: has none run, or is CAN VIEW missing on the jobs?",
        };
        Ok(format!(
            "workspace {} knows us as {}; {seen}",
            self.settings.workspace_url.host_str().unwrap_or_default(),
            redact(name)
        ))
    }

    async fn ask_about(&self, run: Option<&wire::Run>, now: DateTime<Utc>) -> Result<(), Fault> {
        let Some(run) = run else {
            return Ok(());
        };
        let task = run.tasks.first();
        let output_of = task.map_or(run.run_id.as_str(), |task| task.run_id.as_str());
        let cluster = task.map_or(&run.cluster_instance, |task| &task.cluster_instance);
        let cluster = cluster.cluster_id.as_str();
        let (run, output) = tokio::join!(self.run(&run.run_id), self.output(output_of));
        let mut of_cluster = Vec::new();
        if !cluster.is_empty() {
            let from = around(now, TimeDelta::hours(1)).0;
            let (found, events, libraries) = tokio::join!(
                self.cluster(cluster),
                self.events(cluster, from, now),
                self.libraries(cluster),
            );
            of_cluster.extend([found.err(), events.err(), libraries.err()]);
        }
        none_refused(
            [run.as_ref().err(), output.as_ref().err()]
                .into_iter()
                .chain(of_cluster.iter().map(Option::as_ref)),
        )
    }
}
