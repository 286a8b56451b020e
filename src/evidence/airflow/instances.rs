//! The task instances of a run: a DAG-level report names none, and Airflow does not report all that fail.

use chrono::{DateTime, Utc};
use url::Url;

use super::super::Collected;
use super::super::asking::url_under;
use super::wire::{self, TaskInstance};
use super::{Airflow, AirflowApi, Ended, Place, ended};
use crate::failure::{Failure, field, own_words};
use crate::fault::Fault;
use crate::sources::airflow::units;

/// How many failed instances of one run are looked at.
const LISTED: &str = "100";

impl Airflow {
    /// All task instances that failed in the run of this failure, each as a failure of its own, the first to fail first.
    ///
    /// Airflow 3 calls no callback of a task that was killed: of two tasks that failed in a run only one may have been
    /// reported, and a DAG-level report is about both.
    pub async fn failed_instances(&self, failure: &Failure) -> Result<Vec<Failure>, Fault> {
        let at = Place::of(failure)?;
        let mut found = Vec::new();
        for task in self.failed(&at).await? {
            let mut collected = Collected::default();
            let bare = bare(failure);
            self.name_task(&at, &task, &bare, &mut collected)?;
            collected.refinement.occurred_at = task.end_date;
            let mut instance = collected.refine(bare);
            instance.message =
                own_words::untold_by_callback(&format!("Airflow task {}", instance.asset));
            instance.key = units::instance_key(&instance);
            found.push(instance);
        }
        Ok(found)
    }

    /// The failed task instances of the run, the first to fail first.
    pub(super) async fn failed(&self, at: &Place<'_>) -> Result<Vec<TaskInstance>, Fault> {
        let path = ["dags", at.dag, "dagRuns", at.run, "taskInstances"];
        let tasks: wire::TaskInstances = self
            .get(&path, &[("state", "failed"), ("limit", LISTED)])
            .await?
            .unwrap_or_default();
        let mut failed = tasks.task_instances;
        failed.retain(|task| task.state == "failed");
        failed.sort_by_key(|task| task.end_date.unwrap_or(DateTime::<Utc>::MAX_UTC));
        Ok(failed)
    }

    /// A DAG-level report of a run in which no task has failed: how the run stands.
    pub(super) async fn collect_run(
        &self,
        at: &Place<'_>,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let run: Option<wire::DagRun> = self.get(&["dags", at.dag, "dagRuns", at.run], &[]).await?;
        let state = run.map(|run| run.state).filter(|state| !state.is_empty());
        let state = state.ok_or_else(|| Fault::permanent("Airflow does not know this run"))?;
        let said = format!("Airflow says that the run is {state}");
        match ended(&state) {
            Ended::Well => found.no_failure = Some(said),
            Ended::Open => found.not_final = Some(said),
            Ended::Failed => {
                found.none_failed = true;
                return Err(Fault::permanent("no task of this run has failed"));
            }
        }
        Ok(())
    }

    /// The task instance behind a DAG-level report, with all that is needed to run it again and to look at it.
    pub(super) fn name_task(
        &self,
        at: &Place<'_>,
        task: &TaskInstance,
        failure: &Failure,
        found: &mut Collected,
    ) -> Result<(), Fault> {
        let better = &mut found.refinement;
        better.asset = Some(format!("{}.{}", at.dag, task.task_id));
        let index = task.map_index.filter(|index| *index >= 0);
        let mut note = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                better.context.insert(name.to_owned(), value);
            }
        };
        note(field::TASK_ID, Some(task.task_id.clone()));
        note(field::MAP_INDEX, index.map(|index| index.to_string()));
        note(field::TRY_NUMBER, task.try_number.map(|n| n.to_string()));
        // The link of a DAG-level report leads to the task that ended last, whichever that was.
        let leads_there = failure.run_url.is_some()
            && index.is_none()
            && failure.field(field::LAST_TASK) == Some(task.task_id.as_str());
        if !leads_there {
            better.run_url = Some(self.page(at, task)?.to_string());
        }
        Ok(())
    }

    /// The page that people look at.
    pub(super) fn page(&self, at: &Place<'_>, task: &TaskInstance) -> Result<Url, Fault> {
        let base = &self.settings.base_url;
        let index = task.map_index.filter(|index| *index >= 0);
        let index = index.map(|index| index.to_string());
        if self.api.get() == Some(&AirflowApi::V1) {
            let mut url = url_under(base, &["dags", at.dag, "grid"])?;
            let mut query = url.query_pairs_mut();
            query.append_pair("dag_run_id", at.run);
            query.append_pair("task_id", &task.task_id);
            if let Some(index) = &index {
                query.append_pair("map_index", index);
            }
            query.append_pair("tab", "logs");
            drop(query);
            return Ok(url);
        }
        let mut path = vec!["dags", at.dag, "runs", at.run, "tasks", &task.task_id];
        if let Some(index) = &index {
            path.extend(["mapped", index.as_str()]);
        }
        let mut url = url_under(base, &path)?;
        if let Some(number) = task.try_number {
            url.query_pairs_mut()
                .append_pair("try_number", &number.to_string());
        }
        Ok(url)
    }
}

/// The run of a failure, without the task that the report was about.
fn bare(failure: &Failure) -> Failure {
    let of_run = [
        field::DAG_ID,
        field::DEPLOYMENT,
        field::SCOPE,
        field::LOGICAL_DATE,
        field::OWNER,
        "run_type",
    ];
    let mut bare = failure.clone();
    bare.context
        .retain(|name, _| of_run.contains(&name.as_str()));
    bare.error_code = None;
    bare.run_url = None;
    bare.occurred_at = None;
    bare
}
