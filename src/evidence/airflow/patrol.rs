//! The patrol's questions to a deployment: which DAG runs ended, which task instances failed, of all DAGs.
//!
//! Rows are filtered by an update time that no answer shows, so only the window of the question says what is new. A run is
//! green when its last tasks are, whatever failed inside: failed task instances are asked for beside the runs.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::{self, DagRun, TaskInstance};
use super::{Airflow, AirflowApi, Place, WHAT};
use crate::failure::{AssetKind, Failure, RunKey, Source, field, own_words};
use crate::fault::Fault;
use crate::patrol::{self, Answer, Due, End, Outcome, Question, Unit};
use crate::sources::airflow::units;

/// Pages of one question in one tick.
const PAGES: usize = 20;
/// Rows of one page; a server may send fewer.
const LIMIT: &str = "100";
/// A start is remembered in whole seconds.
const SAME_SECOND: TimeDelta = TimeDelta::seconds(1);
/// From when, and to when if the window has to be short.
type Window = (DateTime<Utc>, Option<DateTime<Utc>>);
const RUNS: &[&str] = &["dags", "~", "dagRuns"];
const TASKS: &[&str] = &["dags", "~", "dagRuns", "~", "taskInstances"];

impl Airflow {
    /// What ended in the window of the question.
    pub(in crate::evidence) async fn ended(&self, question: &Question) -> Answer {
        let mut answer = Answer {
            memory: question.memory.clone(),
            ..Answer::default()
        };
        // Tasks first: the run of a failed task has nothing to add.
        let window = (question.from, question.narrow.then_some(question.to));
        let tasks = self.failed_tasks(window, &mut answer).await;
        let runs = self
            .ended_runs(window, &["success", "failed"], &mut answer)
            .await;
        answer.whole = answer.fault.is_none() && !answer.too_long;
        let mut ends = self.ends(&tasks, &runs);
        if question.deep && answer.fault.is_none() {
            // A day that is too long is looked through as far as the calls of one tick go.
            let day = (question.deep_from(), None);
            let too_long = answer.too_long;
            let tasks = self.failed_tasks(day, &mut answer).await;
            let runs = self.ended_runs(day, &["failed"], &mut answer).await;
            answer.too_long = too_long;
            ends.extend(self.ends(&tasks, &runs));
        }
        answer.ends = ends;
        answer
    }

    async fn failed_tasks(&self, window: Window, answer: &mut Answer) -> Vec<TaskInstance> {
        let mut query = vec![("state", "failed")];
        // Airflow 2 refuses to sort task instances.
        if self.api().await.is_ok_and(|api| api == AirflowApi::V2) {
            query.push(("order_by", "end_date"));
        }
        let rows: Vec<wire::TaskInstances> = self.pages(TASKS, window, &query, answer).await;
        let mut tasks: Vec<TaskInstance> = rows
            .into_iter()
            .flat_map(|page| page.task_instances)
            .collect();
        tasks.retain(|task| task.state == "failed");
        tasks
    }

    async fn ended_runs(
        &self,
        window: Window,
        states: &[&'static str],
        answer: &mut Answer,
    ) -> Vec<DagRun> {
        let mut query: Vec<(&str, &str)> = states.iter().map(|state| ("state", *state)).collect();
        query.push(("order_by", "end_date"));
        let rows: Vec<wire::DagRuns> = self.pages(RUNS, window, &query, answer).await;
        let mut runs: Vec<DagRun> = rows.into_iter().flat_map(|page| page.dag_runs).collect();
        runs.retain(|run| states.contains(&run.state.as_str()));
        runs
    }

    fn ends(&self, tasks: &[TaskInstance], runs: &[DagRun]) -> Vec<End> {
        let mut ends: Vec<End> = tasks
            .iter()
            .filter_map(|task| self.end_of_task(task))
            .collect();
        let told: BTreeSet<(&str, &str)> = tasks
            .iter()
            .map(|task| (task.dag_id.as_str(), task.dag_run_id.as_str()))
            .collect();
        ends.extend(
            runs.iter()
                .filter(|run| {
                    run.state != "failed" || !told.contains(&(&run.dag_id, &run.dag_run_id))
                })
                .filter_map(|run| self.end_of_dag_run(run)),
        );
        ends
    }

    fn end_of_task(&self, task: &TaskInstance) -> Option<End> {
        if task.dag_id.is_empty() || task.dag_run_id.is_empty() || task.task_id.is_empty() {
            return None;
        }
        let index = task.map_index.filter(|index| *index >= 0);
        let index = index.map(|index| index.to_string());
        let asset = format!("{}.{}", task.dag_id, task.task_id);
        let mut failure = self.failure(&task.dag_id, &task.dag_run_id, &asset);
        let mut note = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                failure.context.insert(name.to_owned(), value);
            }
        };
        note(field::TASK_ID, Some(task.task_id.clone()));
        note(field::MAP_INDEX, index.clone());
        note(field::TRY_NUMBER, task.try_number.map(|n| n.to_string()));
        note(field::OPERATOR, Some(task.operator.clone()));
        failure.message = own_words::untold_by_report(&format!("Airflow task {asset}"), None);
        failure.occurred_at = task.end_date;
        let at = Place {
            dag: &task.dag_id,
            run: &task.dag_run_id,
            task: Some(&task.task_id),
            map_index: index.as_deref(),
        };
        failure.run_url = self.page(&at, task).ok().map(|page| page.to_string());
        failure.key = units::instance_key(&failure);
        Some(End {
            mark: format!(
                "task/{}/{}/{}/{}/{}/{}",
                task.dag_id,
                task.dag_run_id,
                task.task_id,
                index.unwrap_or_default(),
                task.try_number.unwrap_or_default(),
                task.end_date.map_or(0, |at| at.timestamp_millis()),
            ),
            run_id: task.dag_run_id.clone(),
            unit: self.unit(&task.dag_id),
            kind: patrol::DAG,
            id: task.dag_id.clone(),
            name: asset,
            outcome: Outcome::Failed(Box::new(failure.sealed())),
            began: task.start_date,
            ended: task.end_date,
            started_by: "its run",
            parent: None,
            endless: false,
            window: None,
        })
    }

    fn end_of_dag_run(&self, run: &DagRun) -> Option<End> {
        if run.dag_id.is_empty() || run.dag_run_id.is_empty() {
            return None;
        }
        let outcome = match run.state.as_str() {
            "success" => Outcome::Succeeded,
            "failed" => {
                let mut failure = self.failure(&run.dag_id, &run.dag_run_id, &run.dag_id);
                failure.message =
                    own_words::untold_by_report(&format!("Airflow DAG {}", run.dag_id), None);
                failure.occurred_at = run.end_date;
                if !run.run_type.is_empty() {
                    let kind = run.run_type.clone();
                    failure.context.insert("run_type".to_owned(), kind);
                }
                failure.key = units::instance_key(&failure);
                Outcome::Failed(Box::new(failure.sealed()))
            }
            _ => return None,
        };
        Some(End {
            mark: format!(
                "run/{}/{}/{}/{}",
                run.dag_id,
                run.dag_run_id,
                run.state,
                run.end_date.map_or(0, |at| at.timestamp_millis())
            ),
            run_id: run.dag_run_id.clone(),
            unit: self.unit(&run.dag_id),
            kind: patrol::DAG,
            id: run.dag_id.clone(),
            name: run.dag_id.clone(),
            outcome,
            began: run.start_date,
            ended: run.end_date,
            started_by: started_by(&run.run_type),
            parent: None,
            endless: false,
            window: None,
        })
    }

    fn unit(&self, dag: &str) -> Unit {
        Unit::new(Source::Airflow, &self.scope().id, patrol::DAG, dag)
    }

    /// What all failures of a run have in common.
    fn failure(&self, dag: &str, run: &str, asset: &str) -> Failure {
        Failure {
            source: Source::Airflow,
            key: RunKey::new(Source::Airflow, dag, run, asset, ""),
            kind: AssetKind::Task,
            asset: asset.to_owned(),
            run_id: Some(run.to_owned()),
            run_url: None,
            error_code: None,
            message: String::new(),
            context: BTreeMap::from([
                (field::DAG_ID.to_owned(), dag.to_owned()),
                (field::SCOPE.to_owned(), self.scope().id.clone()),
            ]),
            occurred_at: None,
            source_severity: None,
            alert: None,
        }
    }

    /// Has a run of this DAG begun since, or is it not due at all?
    pub(in crate::evidence) async fn due(
        &self,
        dag: &str,
        since: DateTime<Utc>,
    ) -> Result<Due, Fault> {
        let at = Place {
            dag,
            run: "",
            task: None,
            map_index: None,
        };
        let runs = self.runs_since(&at, since).await?;
        let begun = runs.iter().filter_map(|run| run.start_date);
        if let Some(at) = begun.filter(|at| *at > since + SAME_SECOND).max() {
            return Ok(Due::Begun(at));
        }
        let known: Option<wire::Dag> = self.get(&["dags", dag], &[]).await?;
        let gone = known.is_none_or(|dag| {
            dag.is_paused == Some(true)
                || dag.is_stale == Some(true)
                || dag.is_active == Some(false)
        });
        Ok(if gone { Due::Paused } else { Due::Missing })
    }

    /// Did the failed task of this failure succeed in that run? `false` also where the run had no such task.
    pub(in crate::evidence) async fn has_succeeded_in(
        &self,
        failure: &Failure,
        run_id: &str,
    ) -> Result<bool, Fault> {
        let at = Place {
            run: run_id,
            ..Place::of(failure)?
        };
        let task = self.task(&at).await?;
        Ok(task.is_some_and(|task| task.state == "success"))
    }

    /// All pages of a list within the calls of one tick. Rows may move while they are read: a page is no longer than what the
    /// server says there is, and the next question overlaps.
    async fn pages<T: Listed>(
        &self,
        path: &[&str],
        window: Window,
        query: &[(&str, &str)],
        answer: &mut Answer,
    ) -> Vec<T> {
        let mut pages: Vec<T> = Vec::new();
        let mut seen = 0_usize;
        for _ in 0..PAGES {
            if answer.fault.is_some() {
                return pages;
            }
            answer.calls += 1;
            let page: T = match self.rows(path, window, query, seen).await {
                Ok(page) => page,
                Err(fault) => {
                    answer.fail(fault);
                    return pages;
                }
            };
            let (count, total, first) = (page.count(), page.total(), page.first());
            let again = first.is_some() && pages.last().and_then(Listed::first) == first;
            pages.push(page);
            if again {
                answer.fail(Fault::transient("Airflow answers the same page for ever"));
                return pages;
            }
            seen += count;
            let over = match total {
                Some(total) => usize::try_from(total).is_ok_and(|total| seen >= total),
                None => false,
            };
            if count == 0 || over {
                return pages;
            }
        }
        answer.too_long = true;
        pages
    }

    async fn rows<T: Listed>(
        &self,
        path: &[&str],
        (from, to): Window,
        filter: &[(&str, &str)],
        offset: usize,
    ) -> Result<T, Fault> {
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (from, to, offset) = (text(from), to.map(text), offset.to_string());
        let query = |since: &'static str, until: &'static str| {
            let mut query = vec![
                (since, from.as_str()),
                ("limit", LIMIT),
                ("offset", offset.as_str()),
            ];
            query.extend(to.as_deref().map(|to| (until, to)));
            query.extend_from_slice(filter);
            query
        };
        let updated = query("updated_at_gte", "updated_at_lte");
        let mut reply = self.send(path, &updated).await?;
        // Before 2.6 there is no such filter.
        if reply.status == 400 && self.api().await? == AirflowApi::V1 {
            let ended = query("end_date_gte", "end_date_lte");
            reply = self.send(path, &ended).await?;
        }
        if reply.is_success() {
            return T::of(reply.json(WHAT)?).ok_or_else(|| {
                Fault::transient("Airflow answered without the list that was asked for")
            });
        }
        if reply.status == 404 {
            return Err(Fault::permanent(
                "Airflow answered 404 to its list of runs: check AIRFLOW_BASE_URL and AIRFLOW_API_VERSION",
            ));
        }
        Err(self.refusal(self.api().await?, &reply))
    }
}

/// A page of a list.
trait Listed: Sized {
    /// Without the list it is no answer. A row of another shape than we know is left out.
    fn of(page: Value) -> Option<Self>;

    fn count(&self) -> usize;
    fn total(&self) -> Option<i64>;
    /// Names the first row.
    fn first(&self) -> Option<String>;
}

impl Listed for wire::TaskInstances {
    fn of(page: Value) -> Option<Self> {
        Some(Self {
            task_instances: rows(page.get("task_instances")?)?,
            total_entries: page.get("total_entries").and_then(Value::as_i64),
        })
    }

    fn count(&self) -> usize {
        self.task_instances.len()
    }

    fn total(&self) -> Option<i64> {
        self.total_entries
    }

    fn first(&self) -> Option<String> {
        let task = self.task_instances.first()?;
        Some(format!(
            "{}/{}/{}/{}/{}",
            task.dag_id,
            task.dag_run_id,
            task.task_id,
            task.map_index.unwrap_or(-1),
            task.try_number.unwrap_or_default()
        ))
    }
}

impl Listed for wire::DagRuns {
    fn of(page: Value) -> Option<Self> {
        Some(Self {
            dag_runs: rows(page.get("dag_runs")?)?,
            total_entries: page.get("total_entries").and_then(Value::as_i64),
        })
    }

    fn count(&self) -> usize {
        self.dag_runs.len()
    }

    fn total(&self) -> Option<i64> {
        self.total_entries
    }

    fn first(&self) -> Option<String> {
        let run = self.dag_runs.first()?;
        Some(format!("{}/{}", run.dag_id, run.dag_run_id))
    }
}

fn rows<T: DeserializeOwned>(list: &Value) -> Option<Vec<T>> {
    let rows = list.as_array()?.iter();
    Some(rows.filter_map(|row| T::deserialize(row).ok()).collect())
}

/// In words that follow "started by".
fn started_by(run_type: &str) -> &'static str {
    match run_type {
        "scheduled" => "its schedule",
        "manual" => "hand or through the API",
        "backfill" => "a backfill",
        "asset_triggered" | "dataset_triggered" => "an event",
        _ => "its trigger",
    }
}
