//! Which reports of one DAG run are one story, by Airflow's own rules. Pure.
//!
//! A task instance keeps its run, its name and its index over all its tries: a retry, a clear by hand and a rerun by a
//! playbook only raise the try. A DAG-level callback names no task and often no deployment (its link may be missing), and
//! fires again whenever the run ends as failed. So the run keeps a short list of the units that were reported
//! ([`Units`]), by which a DAG-level report finds the task it is about; and what is new is known by try and end
//! ([`Latest`]), never by the report's wording.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, RunKey, Source, field};
use crate::sources::json::key_part;

/// The class of a run that took longer than its DAG allows.
pub(super) const RUN_TIMEOUT: &str = "DagRunTimeout";

/// As many task instances of a run are listed: enough to attach a DAG-level report, and the list fits its row.
const LISTED: usize = 40;
/// Two ends of the same try that lie closer together are one end, told twice.
const SAME_END: TimeDelta = TimeDelta::seconds(60);

/// The run of the DAG that this failure belongs to; `None` for other sources and where no run is named.
pub fn run_of(failure: &Failure) -> Option<RunKey> {
    let run = failure
        .run_id
        .as_deref()
        .or(failure.field(field::LOGICAL_DATE))
        .filter(|_| failure.source == Source::Airflow)?;
    let dag = failure.field(field::DAG_ID)?;
    Some(RunKey::new(Source::Airflow, "run", run, dag, ""))
}

/// Does the report name a task?
pub fn names_task(failure: &Failure) -> bool {
    failure.field(field::TASK_ID).is_some()
}

/// Is it a DAG's own report, which names no task?
pub fn is_about_run(failure: &Failure) -> bool {
    run_of(failure).is_some() && !names_task(failure)
}

/// Is it about a run that took longer than its DAG allows? No task need have failed.
pub fn is_timeout_of_run(failure: &Failure) -> bool {
    is_about_run(failure) && failure.error_code.as_deref() == Some(RUN_TIMEOUT)
}

/// The run key of a task instance.
pub fn instance_key(failure: &Failure) -> RunKey {
    let part = |name: &str| failure.field(name).unwrap_or_default();
    let deployment = part(field::DEPLOYMENT).to_lowercase();
    let scope = format!("{deployment}/{}", part(field::DAG_ID));
    let run = failure
        .run_id
        .as_deref()
        .unwrap_or(part(field::LOGICAL_DATE));
    let task = match failure.field(field::MAP_INDEX) {
        Some(index) => format!("{}[{index}]", part(field::TASK_ID)),
        None => part(field::TASK_ID).to_owned(),
    };
    RunKey::new(
        Source::Airflow,
        &key_part(&scope),
        &key_part(run),
        &key_part(&task),
        "",
    )
}

/// What was reported about one run of a DAG, in the order in which it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    units: Vec<Unit>,
}

/// One task, or the DAG as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Unit {
    /// The key under which its ticket is claimed.
    key: RunKey,
    /// Where, if the report said so.
    #[serde(default)]
    deployment: Option<String>,
    /// The task; none: the DAG as a whole.
    #[serde(default)]
    task: Option<String>,
    /// For the DAG as a whole: the task instance that turned out to be what failed.
    #[serde(default)]
    turned_out: Option<RunKey>,
}

impl Units {
    /// The key under which the ticket of this report's task instance is claimed. Notes the task; the ticket of the whole
    /// DAG, if there is one and it is nobody's yet, becomes this task's.
    pub fn key_of_task(&mut self, failure: &Failure) -> RunKey {
        let own = &failure.key;
        let deployment = failure.field(field::DEPLOYMENT);
        let whole = |unit: &&mut Unit| unit.task.is_none() && unit.is_at(deployment);
        for unit in self.units.iter_mut().filter(whole) {
            // Its deployment fits: whichever way the two reports name it, it is one instance.
            let whose = unit.turned_out.get_or_insert_with(|| own.clone());
            if whose.is_same_but_for_scope(own) {
                return unit.key.clone();
            }
        }
        let task = failure.field(field::TASK_ID);
        // The same task instance, once with its deployment and once without.
        let same = |unit: &&Unit| {
            unit.task.as_deref() == task
                && unit.is_at(deployment)
                && unit.key.is_same_but_for_scope(own)
        };
        if let Some(unit) = self.units.iter().find(same) {
            return unit.key.clone();
        }
        self.list(failure);
        own.clone()
    }

    /// The keys of what a DAG-level report may be about, the likeliest first; its own, if nothing else was reported.
    pub fn keys_of_dag(&mut self, failure: &Failure) -> Vec<RunKey> {
        let deployment = failure.field(field::DEPLOYMENT);
        let mut known: Vec<&Unit> = self
            .units
            .iter()
            .filter(|unit| unit.is_at(deployment))
            .collect();
        if known.is_empty() {
            self.list(failure);
            return vec![failure.key.clone()];
        }
        let hint = failure.field(field::LAST_TASK);
        known.sort_by_key(|unit| hint.is_none() || unit.task.as_deref() != hint);
        known.into_iter().map(|unit| unit.key.clone()).collect()
    }

    /// Was a task of the run reported?
    pub fn name_a_task(&self) -> bool {
        self.units.iter().any(|unit| unit.task.is_some())
    }

    fn list(&mut self, failure: &Failure) {
        if self.units.len() < LISTED {
            self.units.push(Unit {
                key: failure.key.clone(),
                deployment: failure.field(field::DEPLOYMENT).map(str::to_owned),
                task: failure.field(field::TASK_ID).map(str::to_owned),
                turned_out: None,
            });
        }
    }
}

impl Unit {
    /// A report that does not say where it comes from may be about any deployment.
    fn is_at(&self, deployment: Option<&str>) -> bool {
        match (self.deployment.as_deref(), deployment) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (None, _) | (_, None) => true,
        }
    }
}

/// The latest failure of a task instance, or of a run, that was reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latest {
    /// The number of the try.
    pub try_number: Option<i64>,
    /// When that try ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When the run ended, by its DAG's own callback.
    pub run_ended_at: Option<DateTime<Utc>>,
}

impl Latest {
    /// What this report says.
    pub fn of(failure: &Failure) -> Self {
        if failure.source != Source::Airflow {
            return Self::default();
        }
        let of_task = names_task(failure);
        Self {
            try_number: failure
                .field(field::TRY_NUMBER)
                .and_then(|number| number.parse().ok()),
            ended_at: failure.occurred_at.filter(|_| of_task),
            run_ended_at: failure.occurred_at.filter(|_| !of_task),
        }
    }

    /// Is `report` a later failure than this one? `since`: when the story of this one was over, for a first report
    /// about the DAG: the run ends a little after its task, and that is no second failure.
    pub fn is_before(&self, report: &Self, since: Option<DateTime<Utc>>) -> bool {
        if let Some(ended) = report.run_ended_at {
            return self
                .run_ended_at
                .or(since)
                .is_some_and(|known| ended > known);
        }
        let later = |slack: TimeDelta| {
            let known = self.ended_at.or(self.run_ended_at);
            known
                .zip(report.ended_at)
                .is_some_and(|(known, ended)| ended > known + slack)
        };
        match (self.try_number, report.try_number) {
            (Some(known), Some(said)) if known != said => said > known,
            (Some(_), Some(_)) => later(SAME_END),
            _ => later(TimeDelta::zero()),
        }
    }

    /// Takes over whatever is later.
    pub fn learn(&mut self, report: &Self) {
        self.try_number = self.try_number.max(report.try_number);
        self.ended_at = self.ended_at.max(report.ended_at);
        self.run_ended_at = self.run_ended_at.max(report.run_ended_at);
    }

    /// When it failed, as far as it is known.
    pub fn at(&self) -> Option<DateTime<Utc>> {
        self.ended_at.or(self.run_ended_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_795_923_000 + second, 0)
    }

    fn task(try_number: i64, ended: i64) -> Latest {
        Latest {
            try_number: Some(try_number),
            ended_at: at(ended),
            run_ended_at: None,
        }
    }

    fn run(ended: i64) -> Latest {
        Latest {
            run_ended_at: at(ended),
            ..Latest::default()
        }
    }

    #[test]
    fn a_higher_try_or_a_later_end_is_later() {
        assert!(task(1, 0).is_before(&task(2, 5), None));
        assert!(!task(2, 5).is_before(&task(1, 0), None), "an old report");
        assert!(!task(1, 0).is_before(&task(1, 0), None), "a repeat");
        assert!(
            !task(1, 0).is_before(&task(1, 30), None),
            "the scheduler's word about a try whose worker told it first"
        );
        assert!(
            task(1, 0).is_before(&task(1, 3600), None),
            "a run that was deleted and made again under its old id"
        );
        let no_try = Latest {
            try_number: None,
            ..task(1, 10)
        };
        assert!(task(1, 0).is_before(&no_try, None));
        assert!(!no_try.is_before(&no_try, None));
    }

    #[test]
    fn a_run_ends_after_its_task_and_that_is_no_second_failure() {
        assert!(!task(1, 0).is_before(&run(3), None));
        assert!(!task(1, 0).is_before(&run(3), at(60)));
        assert!(task(1, 0).is_before(&run(90), at(60)), "after the close");
        let mut known = task(1, 0);
        known.learn(&run(3));
        assert!(!known.is_before(&run(3), None), "a repeat");
        assert!(known.is_before(&run(40), None), "cleared and failed again");
        assert!(!run(40).is_before(&task(1, 38), None), "the task behind it");
    }
}
