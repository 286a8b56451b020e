//! What is asked in which order about one run or cluster.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{BoxFuture, join_all};
use serde_json::Value;

use super::super::Collected;
use super::super::values::{Said, around, from_millis, note, tags, without_domain};
use super::render::{self, Cause};
use super::state::{self, Standing, standing};
use super::wire::{Job, Output, Run, Task, Termination};
use super::{Databricks, is_id};
use crate::failure::{Failure, field};
use crate::fault::Fault;

/// Outputs of this many failed tasks are asked for.
const OUTPUTS: usize = 5;
/// How deep runs started by runs are followed.
const DEPTH: usize = 3;
/// A cluster's events this long before and after count.
const AROUND: TimeDelta = TimeDelta::minutes(30);

impl Databricks {
    /// The run of a job failure.
    pub(super) async fn collect_job(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let task_run = failure.field(field::TASK_RUN_ID);
        let run_id = failure
            .run_id
            .as_deref()
            .or(task_run)
            .ok_or_else(|| Fault::permanent("the report names no run id"))?;
        let told = self.collect_run(run_id, now, found).await;
        if !super::super::is_placeholder(&failure.asset) {
            // The report's own name is the job's; a run's name may have been chosen for this run only.
            found.refinement.asset = None;
        }
        told
    }

    /// As whom the job runs, who made it, and its tags.
    pub(in crate::evidence) async fn owner(&self, failure: &Failure) -> Result<Said, Fault> {
        let mut said = Said::new();
        let Some(job) = failure.field(field::JOB_ID).filter(|job| is_id(job)) else {
            return Ok(said);
        };
        let known: Option<Job> = self.get("api/2.2/jobs/get", &[("job_id", job)]).await?;
        let known = known.unwrap_or_default();
        let run_as = &known.settings.run_as;
        let named = [
            &run_as.group_name,
            &run_as.user_name,
            &run_as.service_principal_name,
            &known.run_as_user_name,
        ];
        if let Some(name) = named.into_iter().find(|name| !name.trim().is_empty()) {
            note(&mut said, field::RUN_AS, without_domain(name));
        }
        note(
            &mut said,
            field::CREATOR,
            without_domain(&known.creator_user_name),
        );
        let tagged = known.settings.tags.iter().map(|(name, value)| {
            Value::from(match value.as_str().unwrap_or_default() {
                "" => name.clone(),
                value => format!("{name}:{value}"),
            })
        });
        let tagged: Vec<Value> = tagged.collect();
        note(&mut said, field::TAGS, tags(&tagged));
        Ok(said)
    }

    /// A run, its root failing task, what that task printed, and its cluster.
    pub(in crate::evidence) async fn collect_run(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let gone = || Fault::permanent("the workspace does not know this run (kept 60 days)");
        let run = self.run(run_id).await?.ok_or_else(gone)?;
        render::run(&run, |page| self.owns(page), now, found);
        found.no_failure = state::no_failure(&run);
        if found.no_failure.is_some() {
            return Ok(());
        }
        if standing(&run.state, &run.status) == Standing::Running {
            let none_failed = state::failed(&run.tasks).is_empty()
                && state::failed_runs(&run.iterations).is_empty();
            if none_failed {
                // What failed is tried again, by its task's own retries or in a repair.
                found.not_final = Some("the run goes on: what failed is tried again".to_owned());
                return Ok(());
            }
            found.miss(
                "databricks.run",
                "the run is going on (a retry or a repair): its last word is not said",
            );
        }
        self.cause(&run, DEPTH, now, found).await
    }

    /// Finds the cause inside `run`, in loops and in runs started by its tasks.
    fn cause<'a>(
        &'a self,
        run: &'a Run,
        depth: usize,
        now: DateTime<Utc>,
        found: &'a mut Collected,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            let whole = [render::whole(run)];
            let mut failed: Vec<Task> = state::failed(&run.tasks).into_iter().cloned().collect();
            if failed.is_empty() {
                let of_run = state::failed_runs(if run.iterations.is_empty() {
                    &whole
                } else {
                    &run.iterations
                });
                failed = of_run.into_iter().cloned().collect();
            }
            let Some(first) = failed.first_mut() else {
                return Ok(());
            };
            if let Some((failed, total)) = first.iterations() {
                let context = &mut found.refinement.context;
                context.insert(field::UNITS_FAILED.to_owned(), failed.to_string());
                context.insert(field::UNITS_TOTAL.to_owned(), total.to_string());
            }
            if first.for_each_task.is_some()
                && let Some(iteration) = self.failed_iteration(first).await?
            {
                *first = iteration;
            }
            let outputs = join_all(
                failed
                    .iter()
                    .take(OUTPUTS)
                    .map(|task| self.output(&task.run_id)),
            )
            .await;
            let mut told: Vec<(&Task, Output)> = Vec::new();
            for (task, output) in failed.iter().zip(outputs) {
                match output {
                    Ok(Some(output)) => told.push((task, output)),
                    Ok(None) => {}
                    Err(fault) => found.miss("databricks.run_output", fault.reason()),
                }
            }
            render::outputs(&told, now, found);
            let Some(root) = failed.first() else {
                return Ok(());
            };
            let root_output = told
                .iter()
                .find(|(task, _)| task.run_id == root.run_id)
                .map(|(_, output)| output);
            if depth > 0
                && root.run_job_task.is_some()
                && let Some(child) = root_output
                    .map(|output| output.run_job_output.run_id.as_str())
                    .filter(|id| is_id(id))
                && let Some(child) = self.run(child).await?
            {
                render::child(&child, &root.task_key, now, found);
                return self.cause(&child, depth - 1, now, found).await;
            }
            let ended = self.cluster_of(root, run, now, found).await;
            render::cause(
                &Cause {
                    run,
                    task: root,
                    output: root_output,
                    cluster_end: ended.as_ref(),
                },
                found,
            );
            Ok(())
        })
    }

    /// The first failed iteration of a loop task, named after the loop.
    async fn failed_iteration(&self, looping: &Task) -> Result<Option<Task>, Fault> {
        let Some(run) = self.run(&looping.run_id).await? else {
            return Ok(None);
        };
        let mut iteration = state::failed_runs(&run.iterations)
            .into_iter()
            .next()
            .cloned();
        if let Some(iteration) = &mut iteration {
            iteration.task_key = format!("{} > {}", looping.task_key, iteration.task_key);
        }
        Ok(iteration)
    }

    /// Why the task's cluster ended, if it did not end well.
    async fn cluster_of(
        &self,
        task: &Task,
        run: &Run,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Option<Termination> {
        let ids = [
            &task.cluster_instance.cluster_id,
            &run.cluster_instance.cluster_id,
        ];
        let cluster_id = ids.into_iter().find(|id| !id.is_empty())?;
        let end = from_millis(task.end_time).unwrap_or(now);
        let from = around(from_millis(task.start_time).unwrap_or(end), AROUND).0;
        if task.status.termination_details.code.contains("LIBRAR") {
            self.libraries_of(cluster_id, now, found).await;
        }
        match self
            .cluster_end(cluster_id, from, around(end, AROUND).1, now, found)
            .await
        {
            Ok(ended) => ended,
            Err(fault) => {
                found.miss("databricks.cluster", fault.reason());
                None
            }
        }
    }

    /// The cluster of a cluster failure.
    pub(super) async fn collect_cluster(
        &self,
        failure: &Failure,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let cluster_id = failure
            .field(field::CLUSTER_ID)
            .ok_or_else(|| Fault::permanent("the report names no cluster id"))?;
        let (from, to) = around(failure.occurred_at.unwrap_or(now), AROUND);
        let Some(ended) = self.cluster_end(cluster_id, from, to, now, found).await? else {
            return Ok(());
        };
        // The cluster may have ended again since: only an end like the reported one says more about it.
        if failure
            .error_code
            .as_deref()
            .is_some_and(|reported| !reported.eq_ignore_ascii_case(&ended.code))
        {
            found.miss(
                "databricks.cluster",
                "the cluster's present reason is not the reported one: it has been used since",
            );
            return Ok(());
        }
        if state::is_normal_end(&ended) {
            found.no_failure = Some(format!("the cluster ended normally ({})", ended.code));
            return Ok(());
        }
        render::cluster_cause(&ended, found);
        Ok(())
    }

    /// The cluster, its telling events in a window, and the reason why it ended in that window.
    async fn cluster_end(
        &self,
        cluster_id: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        now: DateTime<Utc>,
        found: &mut Collected,
    ) -> Result<Option<Termination>, Fault> {
        let (cluster, events) =
            futures::join!(self.cluster(cluster_id), self.events(cluster_id, from, to));
        let events = events.unwrap_or_else(|fault| {
            found.miss("databricks.cluster_events", fault.reason());
            Vec::new()
        });
        let of_window = events.iter().find_map(super::wire::Event::reason);
        render::events(&state::telling(&events), now, found);
        let Some(cluster) = cluster? else {
            found.miss(
                "databricks.cluster",
                "the workspace does not know this cluster any more",
            );
            return Ok(of_window);
        };
        let present =
            Some(cluster.termination_reason.clone()).filter(|reason| !reason.code.is_empty());
        let ended = of_window.or(present);
        render::cluster(&cluster, ended.as_ref(), now, found);
        if ended
            .as_ref()
            .is_some_and(|ended| ended.code.contains("LIBRAR"))
        {
            self.libraries_of(cluster_id, now, found).await;
        }
        Ok(ended)
    }

    async fn libraries_of(&self, cluster_id: &str, now: DateTime<Utc>, found: &mut Collected) {
        match self.libraries(cluster_id).await {
            Ok(libraries) => render::libraries(&libraries, now, found),
            Err(fault) => found.miss("databricks.libraries", fault.reason()),
        }
    }
}
