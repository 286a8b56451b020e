//! The patrol's questions to a factory or Synapse workspace: which pipeline runs ended, which triggers failed before any ran.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::wire::{Listed, PipelineRun, Query, Trigger, TriggerRun, Triggers};
use super::{DataFactory, render};
use crate::failure::{AssetKind, Failure, RunKey, Source, field};
use crate::fault::Fault;
use crate::patrol::{self, Answer, Due, End, Outcome, Question, Unit, volume};
use crate::sources::rows::Origin;

/// Pages of 100 rows in one tick; a window with more is asked for in parts.
const PAGES: usize = 30;
/// Trigger runs are asked for every few minutes.
const TRIGGERS_BACK: TimeDelta = TimeDelta::minutes(20);

impl DataFactory {
    /// What ended in the window of the question.
    pub(in crate::evidence) async fn ended(&self, question: &Question) -> Answer {
        let mut answer = Answer {
            memory: question.memory.clone(),
            whole: true,
            ..Answer::default()
        };
        let window = (question.from, question.to);
        self.runs_of(window, ENDED, true, &mut answer).await;
        if question.deep && answer.fault.is_none() {
            let day = (question.deep_from(), question.to);
            self.runs_of(day, FAILED, false, &mut answer).await;
        }
        if question.rare && answer.fault.is_none() {
            let back = question.from.min(question.now - TRIGGERS_BACK);
            let query = Query {
                from: back.max(question.since),
                to: question.to,
                filters: vec![("Status", words(OVER))],
                order_by: "TriggerRunTimestamp",
            };
            let asked = self
                .ask_pages::<TriggerRun>("queryTriggerRuns", &query, &mut answer.calls)
                .await;
            let runs = asked.rows;
            answer
                .ends
                .extend(runs.iter().filter_map(|run| self.end_of_trigger(run)));
            if let Some(fault) = asked.fault {
                answer.miss(format!("runs of triggers: {}", fault.reason()));
            }
        }
        answer
    }

    async fn runs_of(
        &self,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        statuses: &str,
        main: bool,
        answer: &mut Answer,
    ) {
        let query = Query {
            from,
            to,
            filters: vec![("Status", words(statuses))],
            order_by: "RunStart",
        };
        let asked = self
            .ask_pages::<PipelineRun>("queryPipelineRuns", &query, &mut answer.calls)
            .await;
        answer
            .ends
            .extend(asked.rows.iter().filter_map(|run| self.end_of(run)));
        if main {
            answer.whole = asked.whole;
            answer.too_long = !asked.whole && asked.fault.is_none();
        }
        if let Some(fault) = asked.fault {
            answer.fail(fault);
        }
    }

    fn end_of(&self, run: &PipelineRun) -> Option<End> {
        if run.run_id.is_empty() {
            return None;
        }
        let scope = &self.scope().id;
        let outcome = match run.status.to_ascii_lowercase().as_str() {
            "succeeded" => Outcome::Succeeded,
            "failed" => {
                let failed = render::failed(run, scope).failure(&Origin::default())?;
                let mut failure = failed;
                failure.set_scope(scope);
                if let Some(window) = window_of(run) {
                    failure.context.insert(patrol::WINDOW.to_owned(), window);
                }
                Outcome::Failed(Box::new(failure))
            }
            // A person, the API or a caller stopped it: the answer does not say who. A run has no timeout of its own.
            "cancelled" | "canceled" => Outcome::Neither,
            _ => return None,
        };
        let ended = run.run_end.or(run.last_updated);
        Some(End {
            mark: format!("{}/{}", run.run_id.to_lowercase(), run.status),
            run_id: run.run_id.clone(),
            unit: Unit::new(Source::Adf, scope, patrol::PIPELINE, &run.pipeline_name),
            kind: patrol::PIPELINE,
            id: run.pipeline_name.clone(),
            name: run.pipeline_name.clone(),
            outcome,
            began: run.run_start,
            ended,
            started_by: started_by(&run.invoked_by.invoked_by_type),
            parent: Some(run.invoked_by.pipeline_run_id.clone()).filter(|id| !id.is_empty()),
            endless: false,
            window: window_of(run),
        })
    }

    /// A run of a trigger. One that failed and started nothing is a failure: no pipeline run will ever say so.
    fn end_of_trigger(&self, run: &TriggerRun) -> Option<End> {
        if run.trigger_run_id.is_empty() {
            return None;
        }
        let scope = &self.scope().id;
        let outcome = match run.status.to_ascii_lowercase().as_str() {
            "failed" if run.triggered_pipelines.is_empty() => {
                Outcome::Failed(Box::new(self.failure_of_trigger(run)))
            }
            "succeeded" => Outcome::Succeeded,
            _ => return None,
        };
        Some(End {
            mark: format!("trigger/{}", run.trigger_run_id),
            run_id: run.trigger_run_id.clone(),
            unit: Unit::new(Source::Adf, scope, patrol::TRIGGER, &run.trigger_name),
            kind: patrol::TRIGGER,
            id: run.trigger_name.clone(),
            name: run.trigger_name.clone(),
            outcome,
            began: run.trigger_run_timestamp,
            ended: run.trigger_run_timestamp,
            started_by: "its trigger",
            parent: None,
            endless: false,
            window: None,
        })
    }

    fn failure_of_trigger(&self, run: &TriggerRun) -> Failure {
        let scope = &self.scope().id;
        let message = if run.message.trim().is_empty() {
            "The trigger failed before it started a pipeline; Data Factory gives no reason."
        } else {
            &run.message
        };
        Failure {
            source: Source::Adf,
            key: RunKey::new(Source::Adf, "trigger", &run.trigger_run_id, "", ""),
            kind: AssetKind::Pipeline,
            asset: run.trigger_name.clone(),
            run_id: None,
            run_url: None,
            error_code: None,
            message: message.to_owned(),
            context: BTreeMap::from([
                (field::SCOPE.to_owned(), scope.clone()),
                (field::FACTORY.to_owned(), scope.clone()),
                (patrol::TRIGGER.to_owned(), run.trigger_name.clone()),
            ]),
            occurred_at: run.trigger_run_timestamp,
            source_severity: None,
            alert: None,
        }
        .sealed()
    }

    /// Has a run of this pipeline begun since, or is it not due at all?
    pub(in crate::evidence) async fn due(
        &self,
        pipeline: &str,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Due, Fault> {
        let query = Query {
            from: since,
            to: now + TimeDelta::minutes(1),
            filters: vec![("PipelineName", vec![pipeline.to_owned()])],
            order_by: "RunStart",
        };
        let runs = self.pipeline_runs(&query).await?;
        let begun = runs
            .iter()
            .filter(|run| run.pipeline_name.eq_ignore_ascii_case(pipeline))
            // A run that waits in the queue has no start.
            .map(|run| run.run_start.or(run.last_updated).unwrap_or(now))
            .filter(|at| *at > since)
            .max();
        if let Some(at) = begun {
            return Ok(Due::Begun(at));
        }
        let mut states = Vec::new();
        let mut next: Option<(String, String)> = None;
        for _ in 0..PAGES {
            let mut request = self.request(Method::GET, &["triggers"], None).await?;
            if let Some(place) = &next {
                request = request.query(&[place]);
            }
            let page = self.json::<Triggers>(request).await?.unwrap_or_default();
            let own = page.value.iter().filter(|it| it.starts(pipeline));
            states.extend(own.map(Trigger::is_started));
            next = page.next();
            if next.is_none() {
                break;
            }
        }
        // A pipeline that no trigger starts is started from elsewhere: whoever asked for it expects it.
        let stopped = !states.is_empty() && !states.contains(&true);
        Ok(if stopped { Due::Paused } else { Due::Missing })
    }

    /// What the activities of a good run moved.
    pub(in crate::evidence) async fn moved(
        &self,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<volume::Run, Fault> {
        let Some(run) = self.run(run_id).await? else {
            return Ok(volume::Run::new());
        };
        let filters = vec![("Status", words("Succeeded"))];
        let activities = self.activity_runs(&run, filters, now).await?;
        let mut moved = volume::Run::new();
        for activity in &activities {
            for (place, one) in activity.moved() {
                // A loop runs its activity often: together they are what it moved.
                let all = moved.entry(place).or_default();
                all.rows = sum(all.rows, one.rows);
                all.bytes = sum(all.bytes, one.bytes);
            }
        }
        Ok(moved)
    }

    /// The last good runs of a pipeline before this one, the latest first.
    pub(in crate::evidence) async fn good_runs_before(
        &self,
        pipeline: &str,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, Fault> {
        let query = Query {
            from: now - HISTORY,
            to: now,
            filters: vec![
                ("PipelineName", vec![pipeline.to_owned()]),
                ("Status", words("Succeeded")),
            ],
            order_by: "RunStart",
        };
        let mut runs = self.pipeline_runs(&query).await?;
        runs.retain(|run| !run.run_id.eq_ignore_ascii_case(run_id));
        runs.sort_by_key(|run| std::cmp::Reverse(run.run_start));
        Ok(runs.into_iter().map(|run| run.run_id).collect())
    }

    /// Has the run that called another one ended, and how? `None`: not yet.
    pub(in crate::evidence) async fn ended_well(
        &self,
        run_id: &str,
    ) -> Result<Option<bool>, Fault> {
        Ok(match self.run(run_id).await? {
            Some(run) => match super::progress(&run) {
                super::Progress::Succeeded => Some(true),
                super::Progress::Failed => Some(false),
                super::Progress::Going => None,
            },
            // Nobody knows the caller: the run stands for itself.
            None => Some(true),
        })
    }

    /// All pages of a query within the calls of one tick. A page with rows of another shape is read as far as it goes.
    async fn ask_pages<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &Query,
        calls: &mut u32,
    ) -> Asked<T> {
        let mut asked = Asked {
            rows: Vec::new(),
            whole: false,
            fault: None,
        };
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            *calls += 1;
            match self.ask_page(what, query, token.as_deref()).await {
                Ok(page) => {
                    let rows = page.value.into_iter();
                    asked
                        .rows
                        .extend(rows.filter_map(|row| serde_json::from_value(row).ok()));
                    let next = page.continuation_token.filter(|token| !token.is_empty());
                    if next.is_none() {
                        asked.whole = true;
                        return asked;
                    }
                    if next == token {
                        asked.fault = Some(Fault::transient(
                            "Data Factory answers the same page for ever",
                        ));
                        return asked;
                    }
                    token = next;
                }
                Err(fault) => {
                    asked.fault = Some(fault);
                    return asked;
                }
            }
        }
        asked
    }

    async fn ask_page(
        &self,
        what: &str,
        query: &Query,
        token: Option<&str>,
    ) -> Result<Listed, Fault> {
        let request = self
            .request(Method::POST, &[what], Some(&query.body(token)))
            .await?;
        self.json::<Listed>(request)
            .await?
            .ok_or_else(|| self.unknown())
    }
}

const ENDED: &str = "Succeeded Failed Cancelled";
const FAILED: &str = "Failed";
const OVER: &str = "Succeeded Failed";

/// How far back the volumes of earlier runs are looked for.
const HISTORY: TimeDelta = TimeDelta::days(14);

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

struct Asked<T> {
    rows: Vec<T>,
    whole: bool,
    fault: Option<Fault>,
}

fn words(statuses: &str) -> Vec<String> {
    statuses.split(' ').map(str::to_owned).collect()
}

/// In words that follow "started by".
fn started_by(kind: &str) -> &'static str {
    match kind.to_ascii_lowercase().as_str() {
        "scheduletrigger" => "its schedule",
        "tumblingwindowtrigger" => "its tumbling window",
        "blobeventstrigger" | "customeventstrigger" => "an event",
        "pipelineactivity" => "another pipeline",
        "manual" => "hand or through the API",
        _ => "its trigger",
    }
}

/// A tumbling window is a run of its own, whatever the other windows do: its parameters tell which it is.
fn window_of(run: &PipelineRun) -> Option<String> {
    let tumbling = run
        .invoked_by
        .invoked_by_type
        .eq_ignore_ascii_case("TumblingWindowTrigger");
    tumbling.then(|| render::digest_of_parameters(run))
}
