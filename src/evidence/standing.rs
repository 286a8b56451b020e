//! How a failed run and its asset stand: the facts that an action needs.
//!
//! In: a failure, and the runs that its own ticket started. Out: [`Facts`]: where the run is, whether the vendor knows
//! it, whether it is still failed, and whether a newer run of the asset makes healing it needless or harmful.

use chrono::{DateTime, Utc};

use crate::failure::Place;

/// How a watched run is said to have ended badly.
pub(super) const FAILED: &str = "failed";
/// How it is said to have ended well.
pub(super) const SUCCEEDED: &str = "succeeded";

/// How a run stands, as its vendor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It failed, and no newer run of the asset changes that.
    Failed,
    /// The vendor does not know it.
    Unknown,
    /// It is queued or running, by a retry or a repair.
    Running,
    /// It has succeeded meanwhile.
    Succeeded,
    /// It is no failure that could be acted on any more: how it stands, in words.
    Over(String),
    /// There is a newer run of the asset.
    Newer {
        /// Its id.
        run: String,
        /// How it stands.
        progress: Progress,
    },
}

/// How a newer run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It ended well.
    Succeeded,
    /// It has not ended.
    Going,
    /// It ended badly.
    Failed,
}

/// What the vendor said about a run, if it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// No API is configured that could be asked.
    NotAsked,
    /// It said this.
    Said(Standing),
    /// It refused to answer: why.
    Silent(String),
    /// It did not answer in time: it is asked again before the call.
    Later(String),
}

/// What is known about a run before it is acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where the run is.
    pub place: Place,
    /// How it stands.
    pub known: Known,
}

impl Facts {
    /// A failed, latest run in a served scope: what `diagnose`, which has no run, assumes.
    pub fn assumed() -> Self {
        Self {
            place: Place::Unconfigured(None),
            known: Known::Said(Standing::Failed),
        }
    }

    /// Must the call wait for a run that has not ended?
    pub fn is_busy(&self) -> bool {
        matches!(
            self.known,
            Known::Said(
                Standing::Running
                    | Standing::Newer {
                        progress: Progress::Going,
                        ..
                    }
            )
        )
    }
}

/// The newer run that matters most: one that succeeded, then one that goes on, then one that failed; runs of the
/// ticket's own attempts that failed are a part of its story.
pub(super) fn newest(
    runs: impl IntoIterator<Item = (String, DateTime<Utc>, Progress)>,
    than: DateTime<Utc>,
    own: &[String],
) -> Standing {
    let mut newer: Vec<_> = runs
        .into_iter()
        .filter(|(run, at, progress)| {
            let ours = own.iter().any(|own| own.eq_ignore_ascii_case(run));
            *at > than && !(ours && *progress == Progress::Failed)
        })
        .collect();
    newer.sort_by_key(|(_, at, progress)| {
        let rank = match progress {
            Progress::Succeeded => 0,
            Progress::Going => 1,
            Progress::Failed => 2,
        };
        (rank, std::cmp::Reverse(*at))
    });
    match newer.into_iter().next() {
        Some((run, _, progress)) => Standing::Newer { run, progress },
        None => Standing::Failed,
    }
}
