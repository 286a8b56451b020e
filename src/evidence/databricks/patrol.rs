//! The patrol's questions to a workspace: which job runs, clusters and Lakeflow pipelines ended.
//!
//! `jobs/runs/list` filters by the start of a run alone. So the runs that were active are remembered, and each that is active no
//! more and was not listed is asked about by its id. A run that was repaired quickly, between two ticks, starts long before
//! the window: the hourly look at the last days finds it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::state::{Standing, is_id, standing};
use super::wire::{self, Cluster, Run};
use super::{Databricks, render};
use crate::evidence::values::from_millis;
use crate::failure::{AssetKind, Failure, Source, field};
use crate::fault::Fault;
use crate::patrol::{self, Answer, Due, End, Outcome, Question, Unit, volume};
use crate::sources::rows::Origin;

/// Pages of 25 runs in one tick.
const PAGES: usize = 40;
/// Runs that are asked about one by one in one tick; the others wait for the next.
const SINGLE: usize = 40;
/// How far back the hourly look reaches: the start of a run that was repaired since.
const REPAIRED: TimeDelta = TimeDelta::days(7);
/// Tasks whose outputs are asked for what they moved.
const OUTPUTS: usize = 10;
/// A start is remembered in whole seconds.
const SAME_SECOND: TimeDelta = TimeDelta::seconds(1);
/// A run with this in front of its name was submitted by a factory, whose own run fails with it.
const OF_FACTORY: &str = "ADF_";

impl Databricks {
    /// What ended in the window of the question.
    pub(in crate::evidence) async fn ended(&self, question: &Question) -> Answer {
        let mut answer = Answer {
            memory: question.memory.clone(),
            ..Answer::default()
        };
        self.ended_runs(question, &mut answer).await;
        if answer.fault.is_none() {
            self.ended_clusters(question, &mut answer).await;
            self.ended_pipelines(question, &mut answer).await;
        }
        answer
    }

    async fn ended_runs(&self, question: &Question, answer: &mut Answer) {
        let active = self
            .list(&[("active_only", "true")], &mut answer.calls)
            .await;
        if let Some(fault) = active.fault {
            return answer.fail(fault);
        }
        let from = question.from.timestamp_millis().to_string();
        let to = question.to.timestamp_millis().to_string();
        let mut query = vec![
            ("completed_only", "true"),
            ("start_time_from", from.as_str()),
        ];
        query.extend(question.narrow.then_some(("start_time_to", to.as_str())));
        let completed = self.list(&query, &mut answer.calls).await;
        let mut known: BTreeSet<String> = active
            .runs
            .iter()
            .chain(&completed.runs)
            .map(|run| run.run_id.clone())
            .collect();
        answer.ends.extend(self.ends_of(&completed.runs));
        if let Some(fault) = completed.fault {
            return answer.fail(fault);
        }
        answer.whole = completed.whole && active.whole;
        answer.too_long = !completed.whole;
        if question.deep {
            let from = (question.now - REPAIRED).timestamp_millis().to_string();
            let query = [
                ("completed_only", "true"),
                ("start_time_from", from.as_str()),
            ];
            let repaired = self.list(&query, &mut answer.calls).await;
            answer.ends.extend(self.ends_of(&repaired.runs));
            if let Some(fault) = repaired.fault {
                return answer.fail(fault);
            }
        }
        let memory = &mut answer.memory;
        let mut left: Vec<String> = std::mem::take(&mut memory.left);
        left.extend(std::mem::take(&mut memory.active));
        left.retain(|run| known.insert(run.clone()));
        // An active set that was cut short says nothing about who left it.
        if active.whole {
            memory.active = active.runs.iter().map(|run| run.run_id.clone()).collect();
        } else {
            memory.active = question.memory.active.clone();
            memory.left.clone_from(&question.memory.left);
            return;
        }
        memory.left = left.split_off(left.len().min(SINGLE));
        for (number, run_id) in left.iter().enumerate() {
            answer.calls += 1;
            match self.run(run_id).await {
                Ok(run) => answer.ends.extend(self.ends_of(run.as_slice())),
                Err(fault) => {
                    // Those not asked about are asked about the next time.
                    let rest = left.get(number..).unwrap_or_default();
                    let mut memory = question.memory.clone();
                    memory.left = rest.to_vec();
                    memory.left.append(&mut answer.memory.left);
                    memory.active.clone_from(&answer.memory.active);
                    answer.memory = memory;
                    return answer.fail(fault);
                }
            }
        }
    }

    /// The ends among these runs.
    fn ends_of<'a>(&self, runs: impl IntoIterator<Item = &'a Run>) -> Vec<End> {
        let runs: Vec<&Run> = runs.into_iter().collect();
        // A job without tasks is retried in a run of its own.
        let retried: BTreeSet<&str> = runs
            .iter()
            .filter(|run| run.trigger.eq_ignore_ascii_case("RETRY"))
            .map(|run| run.original_attempt_run_id.as_str())
            .filter(|id| is_id(id))
            .collect();
        runs.iter()
            .filter(|run| !retried.contains(run.run_id.as_str()))
            .filter_map(|run| self.end_of_run(run))
            .collect()
    }

    fn end_of_run(&self, run: &Run) -> Option<End> {
        let stands = standing(&run.state, &run.status);
        let child_of_notebook = run.run_type.eq_ignore_ascii_case("WORKFLOW_RUN");
        if stands == Standing::Running || !is_id(&run.run_id) || child_of_notebook {
            return None;
        }
        if run.run_type.eq_ignore_ascii_case("SUBMIT_RUN") && run.run_name.starts_with(OF_FACTORY) {
            return None;
        }
        let scope = &self.scope().id;
        let outcome = match stands {
            Standing::Succeeded => Outcome::Succeeded,
            Standing::Failed => match render::failed_run(run, None, None) {
                Some(failed) => {
                    let mut failure = failed.failure(&Origin::default())?;
                    failure.set_scope(scope);
                    failure.run_url = Some(run.run_page_url.clone()).filter(|page| self.owns(page));
                    Outcome::Failed(Box::new(failure.sealed()))
                }
                None => Outcome::Neither,
            },
            Standing::Cancelled | Standing::Consequence | Standing::Running => Outcome::Neither,
        };
        let job = if is_id(&run.job_id) && run.job_id != "0" {
            &run.job_id
        } else {
            &run.run_id
        };
        Some(End {
            mark: format!("{}/{}", run.run_id, run.end_time.unwrap_or_default()),
            run_id: run.run_id.clone(),
            unit: Unit::new(Source::Databricks, scope, patrol::JOB, job),
            kind: patrol::JOB,
            id: job.clone(),
            name: run.run_name.clone(),
            outcome,
            began: from_millis(run.start_time),
            ended: from_millis(run.end_time),
            started_by: started_by(&run.trigger),
            parent: Some(run.trigger_info.run_id.clone())
                .filter(|id| is_id(id) && run.trigger.eq_ignore_ascii_case("RUN_JOB_TASK")),
            endless: run.trigger.to_ascii_uppercase().starts_with("CONTINUOUS"),
            window: None,
        })
    }

    /// Has a run of this job begun since, or is it not due at all?
    pub(in crate::evidence) async fn due(
        &self,
        job: &str,
        since: DateTime<Utc>,
    ) -> Result<Due, Fault> {
        let runs = self.runs(Some(job), since, None, false).await?;
        let begun = runs.iter().filter_map(|run| from_millis(run.start_time));
        if let Some(at) = begun.filter(|at| *at > since + SAME_SECOND).max() {
            return Ok(Due::Begun(at));
        }
        let known: Option<wire::Job> = self.get("api/2.2/jobs/get", &[("job_id", job)]).await?;
        let paused = known.is_none_or(|job| job.settings.is_paused());
        Ok(if paused { Due::Paused } else { Due::Missing })
    }

    /// What the tasks of a good run moved, where their notebooks say it.
    pub(in crate::evidence) async fn moved(&self, run_id: &str) -> Result<volume::Run, Fault> {
        let Some(run) = self.run(run_id).await? else {
            return Ok(volume::Run::new());
        };
        let mut moved = volume::Run::new();
        for task in run.tasks.iter().take(OUTPUTS) {
            if let Some(output) = self.output(&task.run_id).await?
                && let Some(rows) = output.rows()
            {
                let one = volume::Moved {
                    rows: Some(rows),
                    bytes: None,
                };
                moved.insert(task.task_key.clone(), one);
            }
        }
        Ok(moved)
    }

    /// Has the run that called another one ended, and how? `None`: not yet.
    pub(in crate::evidence) async fn ended_well(
        &self,
        run_id: &str,
    ) -> Result<Option<bool>, Fault> {
        Ok(match self.run(run_id).await? {
            Some(run) => match standing(&run.state, &run.status) {
                Standing::Running => None,
                Standing::Succeeded => Some(true),
                Standing::Cancelled | Standing::Consequence | Standing::Failed => Some(false),
            },
            None => Some(true),
        })
    }

    async fn list(&self, filter: &[(&str, &str)], calls: &mut u32) -> Listed {
        let mut listed = Listed::default();
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("limit", "25")];
            query.extend_from_slice(filter);
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            *calls += 1;
            let page = match self
                .get::<wire::Runs>("api/2.2/jobs/runs/list", &query)
                .await
            {
                Ok(Some(page)) => page,
                Ok(None) => {
                    listed.fault = Some(Fault::permanent("no such workspace"));
                    return listed;
                }
                Err(fault) => {
                    listed.fault = Some(fault);
                    return listed;
                }
            };
            listed.runs.extend(page.runs);
            if page.next_page_token.is_empty() {
                listed.whole = true;
                return listed;
            }
            if page.next_page_token == token {
                listed.fault = Some(Fault::transient(
                    "Databricks answers the same page for ever",
                ));
                return listed;
            }
            token = page.next_page_token;
        }
        listed
    }

    /// Clusters of people and the API; a job's own cluster follows its run.
    async fn ended_clusters(&self, question: &Question, answer: &mut Answer) {
        answer.calls += 1;
        match self.clusters().await {
            Ok(clusters) => {
                let ends = clusters
                    .iter()
                    .filter_map(|c| self.end_of_cluster(c, question));
                answer.ends.extend(ends);
            }
            Err(fault) => answer.miss(format!("clusters: {}", fault.reason())),
        }
    }

    fn end_of_cluster(&self, cluster: &Cluster, question: &Question) -> Option<End> {
        if cluster.cluster_id.is_empty() || cluster.cluster_source.eq_ignore_ascii_case("JOB") {
            return None;
        }
        let scope = &self.scope().id;
        let started = [cluster.last_restarted_time, cluster.start_time]
            .into_iter()
            .filter_map(from_millis)
            .max();
        let running = matches!(
            cluster.state.to_ascii_uppercase().as_str(),
            "RUNNING" | "RESIZING"
        );
        let (outcome, ended) = if running {
            // It works again: since then it is good.
            (Outcome::Succeeded, started)
        } else {
            let window = (question.from.max(question.since), DateTime::<Utc>::MAX_UTC);
            let mut failure =
                render::failed_cluster(cluster, window, None)?.failure(&Origin::default());
            failure.set_scope(scope);
            let ended = from_millis(cluster.terminated_time);
            (Outcome::Failed(Box::new(failure)), ended)
        };
        Some(End {
            mark: format!(
                "cluster/{}/{}",
                cluster.cluster_id,
                ended.map_or(0, |at| at.timestamp_millis())
            ),
            run_id: cluster.cluster_id.clone(),
            unit: Unit::new(
                Source::Databricks,
                scope,
                patrol::CLUSTER,
                &cluster.cluster_id,
            ),
            kind: patrol::CLUSTER,
            id: cluster.cluster_id.clone(),
            name: cluster.cluster_name.clone(),
            outcome,
            began: started,
            ended,
            started_by: "a restart of the cluster",
            parent: None,
            endless: false,
            window: None,
        })
    }

    /// Lakeflow pipelines: their list shows the latest updates of each, newest first.
    async fn ended_pipelines(&self, question: &Question, answer: &mut Answer) {
        let mut token = String::new();
        for _ in 0..PAGES {
            let mut query = vec![("max_results", "100")];
            query.extend((!token.is_empty()).then_some(("page_token", token.as_str())));
            answer.calls += 1;
            let page: wire::Pipelines = match self.get("api/2.0/pipelines", &query).await {
                Ok(page) => page.unwrap_or_default(),
                Err(fault) => {
                    return answer.miss(format!("Lakeflow pipelines: {}", fault.reason()));
                }
            };
            for pipeline in &page.statuses {
                self.ended_updates(pipeline, question, answer).await;
            }
            if page.next_page_token.is_empty() || page.next_page_token == token {
                return;
            }
            token = page.next_page_token;
        }
    }

    async fn ended_updates(
        &self,
        pipeline: &wire::Pipeline,
        question: &Question,
        answer: &mut Answer,
    ) {
        let latest = pipeline.latest_updates.iter();
        let known = question.memory.latest.get(&pipeline.pipeline_id);
        let fresh: Vec<&wire::Update> = latest
            .take_while(|update| known != Some(&update.update_id))
            .collect();
        let over = |update: &&&wire::Update| update.is_over();
        if let Some(newest) = fresh.iter().find(over) {
            answer
                .memory
                .latest
                .insert(pipeline.pipeline_id.clone(), newest.update_id.clone());
        }
        for (number, update) in fresh
            .iter()
            .enumerate()
            .filter(|(_, update)| update.is_over())
        {
            let began = update.began();
            // An update has no end: what began before the patrol is left alone.
            if began.is_none_or(|began| began < question.since) {
                continue;
            }
            let outcome = if update.state.eq_ignore_ascii_case("COMPLETED") {
                Outcome::Succeeded
            } else if update.state.eq_ignore_ascii_case("FAILED") && number == 0 {
                answer.calls += 2;
                match self.failed_update(pipeline, update).await {
                    Ok(Some(failure)) => Outcome::Failed(Box::new(failure)),
                    Ok(None) => Outcome::Neither,
                    Err(fault) => {
                        // It is asked about again the next time.
                        answer.memory.latest = question.memory.latest.clone();
                        return answer.miss(format!("Lakeflow pipelines: {}", fault.reason()));
                    }
                }
            } else {
                // Cancelled, or failed and tried again by Databricks since.
                Outcome::Neither
            };
            answer.ends.push(End {
                mark: format!("update/{}/{}", update.update_id, update.state),
                run_id: update.update_id.clone(),
                unit: Unit::new(
                    Source::Databricks,
                    &self.scope().id,
                    patrol::LAKEFLOW,
                    &pipeline.pipeline_id,
                ),
                kind: patrol::LAKEFLOW,
                id: pipeline.pipeline_id.clone(),
                name: pipeline.name.clone(),
                outcome,
                began,
                ended: Some(question.now),
                started_by: "an update of the pipeline",
                parent: None,
                endless: false,
                window: None,
            });
        }
    }

    /// A failed update as a failure; `None` where it only validated, or a job's task ran it and reports it.
    async fn failed_update(
        &self,
        pipeline: &wire::Pipeline,
        update: &wire::Update,
    ) -> Result<Option<Failure>, Fault> {
        let path = format!(
            "api/2.0/pipelines/{}/updates/{}",
            pipeline.pipeline_id, update.update_id
        );
        let told: wire::UpdateInfo = or_nothing(self.get(&path, &[]).await)?;
        if told.update.validate_only || told.update.cause.eq_ignore_ascii_case("JOB_TASK") {
            return Ok(None);
        }
        let path = format!("api/2.0/pipelines/{}/events", pipeline.pipeline_id);
        let query = [("max_results", "25"), ("filter", "level='ERROR'")];
        let events: wire::PipelineEvents = or_nothing(self.get(&path, &query).await)?;
        let error = events
            .events
            .iter()
            .filter(|event| event.origin.update_id == update.update_id)
            .find(|event| !event.text().is_empty());
        let message = error.map_or_else(
            || {
                format!(
                    "The update {} failed; its events name no error.",
                    update.update_id
                )
            },
            wire::PipelineEvent::text,
        );
        let mut failure = crate::sources::rows::databricks::JobRun {
            run_id: Some(update.update_id.clone()),
            name: Some(pipeline.name.clone()).filter(|name| !name.is_empty()),
            text: Some(message),
            at: error.and_then(|event| event.timestamp).or(update.began()),
            ..Default::default()
        }
        .failure(&Origin::default())
        .ok_or_else(|| Fault::permanent("an update without an id"))?;
        failure.kind = AssetKind::Job;
        failure
            .context
            .insert(patrol::LAKEFLOW.to_owned(), pipeline.pipeline_id.clone());
        failure
            .context
            .insert(field::KIND.to_owned(), "pipeline".to_owned());
        failure.set_scope(&self.scope().id);
        let page = format!(
            "{}/pipelines/{}/updates/{}",
            self.settings.workspace_url.as_str().trim_end_matches('/'),
            pipeline.pipeline_id,
            update.update_id
        );
        failure.run_url = Some(page);
        Ok(Some(failure.sealed()))
    }
}

#[derive(Default)]
struct Listed {
    runs: Vec<Run>,
    whole: bool,
    fault: Option<Fault>,
}

/// What may not be read is as good as empty: the failure itself is known.
fn or_nothing<T: Default>(asked: Result<Option<T>, Fault>) -> Result<T, Fault> {
    match asked {
        Err(fault) if fault.is_transient() => Err(fault),
        told => Ok(told.ok().flatten().unwrap_or_default()),
    }
}

/// In words that follow "started by".
fn started_by(trigger: &str) -> &'static str {
    match trigger.to_ascii_uppercase().as_str() {
        "PERIODIC" => "its schedule",
        "ONE_TIME" => "hand or through the API",
        "RETRY" => "its own retry",
        "RUN_JOB_TASK" => "another job",
        "FILE_ARRIVAL" | "TABLE" | "MODEL" => "an event",
        "CONTINUOUS" | "CONTINUOUS_RESTART" => "its continuous trigger",
        _ => "its trigger",
    }
}
