//! Patrol: what a platform says has ended since it was asked last, and what follows from it. Pure.
//!
//! In: [`End`]s, as the clients of [`evidence`](crate::evidence) read them from a platform's own run history. Out: which of
//! them are new ([`Watch`]), which wait for their caller ([`Held`]), whether a good end is a recovery ([`recovery`]).
//! The room does not know any vendor's JSON, the store or the clock. A failed end becomes the same
//! [`Failure`], under the same run key, as if an alert, a webhook or a callback had reported it; so
//! whichever door is first wins.
//!
//! **Why a cursor and a memory.** No platform answers "what ended since then" exactly: Data Factory writes rows late and
//! filters by their last update, Databricks filters by the *start* of a run, Airflow filters by an update time that it never
//! shows. So each question overlaps the one before, and what was seen is remembered by its [`End::mark`].

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::{AssetKind, Failure, RunKey, Source, field};
use crate::fault::Fault;

pub mod recovery;
pub mod rhythm;
pub mod rules;
mod settings;
pub mod volume;
mod watch;

pub use recovery::Recovery;
pub use settings::PatrolSettings;
pub use watch::{Held, Silence, Trouble, Watch};

/// One run that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Names this end: the same whenever it is seen, another one when the run ends again (a repair, a cleared task).
    pub mark: String,
    /// The run.
    pub run_id: String,
    /// What ran.
    pub unit: Unit,
    /// What kind of unit it is, and its id at the platform.
    pub kind: &'static str,
    /// That id.
    pub id: String,
    /// Its name, as people read it.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub began: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// Who or what started it, in words that follow "started by".
    pub started_by: &'static str,
    /// The run that started it and waits for it, if one did.
    pub parent: Option<String>,
    /// Is it started again for ever, whatever comes of it? Its failures are one for as long as its ticket is open.
    pub endless: bool,
    /// Which slice of time it worked on, where the platform runs a unit once for each.
    pub window: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Badly.
    Failed(Box<Failure>),
    /// Well.
    Succeeded,
    /// Neither: a person cancelled it, or it was skipped.
    Neither,
}

/// What ran, whatever it is called at the moment: the key by which a good run is found to be of the same asset as a failed
/// one. A pipeline by its name, a job or cluster by its id, a DAG by its id; with its scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unit(String);

impl Unit {
    /// From its parts; `kind` tells a job from a cluster.
    pub fn new(source: Source, scope: &str, kind: &str, id: &str) -> Self {
        let hash = RunKey::new(source, &scope.to_lowercase(), id, kind, "unit").hash();
        Self(hash.get(..40).unwrap_or_default().to_owned())
    }

    /// The unit that a failure is about; `None` where its scope is not known, for then nobody can be asked about it.
    pub fn of(failure: &Failure) -> Option<Self> {
        let scope = failure.scope()?;
        let (kind, id) = match (failure.source, failure.kind) {
            (Source::Adf, _) => match failure.field(TRIGGER) {
                Some(trigger) => (TRIGGER, trigger),
                None => (PIPELINE, failure.asset.as_str()),
            },
            (Source::Databricks, AssetKind::Cluster) => {
                (CLUSTER, failure.field(field::CLUSTER_ID)?)
            }
            (Source::Databricks, _) => match failure.field(LAKEFLOW) {
                Some(pipeline) => (LAKEFLOW, pipeline),
                None => (JOB, failure.field(field::JOB_ID)?),
            },
            (Source::Airflow, _) => (DAG, failure.field(field::DAG_ID)?),
            (Source::System, _) => return None,
        };
        Some(Self::new(failure.source, scope, kind, id))
    }

    /// Hex, safe as a storage key.
    pub fn key(&self) -> &str {
        &self.0
    }
}

/// Kinds of units, which are also names of context entries where a failure needs one of its own.
pub const PIPELINE: &str = "pipeline";
/// A trigger of Data Factory that failed before any pipeline ran.
pub const TRIGGER: &str = "trigger";
/// A Databricks job.
pub const JOB: &str = "job";
/// A Databricks cluster.
pub const CLUSTER: &str = "cluster";
/// A Lakeflow pipeline, by its id.
pub const LAKEFLOW: &str = "pipeline_id";
/// A DAG.
pub const DAG: &str = "dag";
/// The slice of time of a tumbling window, as [`End::window`].
pub const WINDOW: &str = "window";
/// What the patrol itself found, which no platform calls a failure.
pub const FINDING: &str = "finding";
/// A run that should have begun and did not.
pub const OVERDUE: &str = "overdue";
/// A good run that moved nothing, or too little.
pub const EMPTY: &str = "empty";

/// Has the run that is missing come?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// One has begun.
    Begun(DateTime<Utc>),
    /// Nothing is due: the schedule is paused, stopped or gone.
    Paused,
    /// No.
    Missing,
}

/// What is asked in one tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Ends before this are nobody's affair: the patrol began then.
    pub since: DateTime<Utc>,
    /// What was updated, or began, from here …
    pub from: DateTime<Utc>,
    /// … to here.
    pub to: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
    /// Nothing later than `to` is asked for: a longer window did not fit into the calls of one tick.
    pub narrow: bool,
    /// Failed ends of the last day are asked for once more: rows that came later than the overlap.
    pub deep: bool,
    /// What is asked less often than every minute.
    pub rare: bool,
    /// What the client noted the last time.
    pub memory: Memory,
}

impl Question {
    /// From where the deep question asks.
    pub fn deep_from(&self) -> DateTime<Utc> {
        (self.now - DEEP).max(self.since)
    }
}

/// How far back the hourly deep question reaches.
pub const DEEP: TimeDelta = TimeDelta::hours(24);

/// What a client notes from one tick to the next; only it knows what it means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Runs that were active.
    pub active: Vec<String>,
    /// Runs that left the active set and were not asked about yet.
    pub left: Vec<String>,
    /// The latest known end of what has no times: pipeline → update.
    pub latest: BTreeMap<String, String>,
}

/// What was said in one tick.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The ends; they may be told more than once.
    pub ends: Vec<End>,
    /// Was everything told that was asked for? Only then the cursor moves.
    pub whole: bool,
    /// Did the pages not end within the calls of one tick?
    pub too_long: bool,
    /// What to hand in the next time.
    pub memory: Memory,
    /// Calls made.
    pub calls: u32,
    /// Why it is not whole.
    pub fault: Option<Fault>,
    /// What could not be asked besides, and what to grant.
    pub gaps: Vec<String>,
}

impl Answer {
    /// Notes a fault of the main question; what was told before it stays.
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Notes that something beside the main question could not be asked.
    pub fn miss(&mut self, gap: impl Into<String>) {
        let gap = gap.into();
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }
}
