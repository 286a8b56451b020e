//! What is folded.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::TimeDelta;

use crate::ticket::FoldReason;

/// Which failures are one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldSettings {
    /// `FOLD`: the kinds that are folded.
    pub kinds: BTreeSet<FoldReason>,
    /// `FOLD_REOPEN_HOURS`: a repeat so long after the close opens the incident again; a later one begins another.
    pub reopen: TimeDelta,
}

impl Default for FoldSettings {
    fn default() -> Self {
        Self {
            kinds: [
                FoldReason::Repeat,
                FoldReason::Cascade,
                FoldReason::Storm,
                FoldReason::FanOut,
            ]
            .into(),
            reopen: TimeDelta::hours(24),
        }
    }
}

impl FoldSettings {
    /// One incident for each run, as the guide has it.
    pub fn none() -> Self {
        Self {
            kinds: BTreeSet::new(),
            ..Self::default()
        }
    }

    /// Is this kind folded?
    pub fn folds(&self, reason: FoldReason) -> bool {
        self.kinds.contains(&reason)
    }

    /// Reads a kind as `FOLD` spells it: `repeat`, `cascade`, `storm`, `fan-out`.
    pub fn kind(word: &str) -> Option<FoldReason> {
        let word = word.trim().replace(['-', ' '], "_");
        let word = if word.eq_ignore_ascii_case("fanout") {
            "fan_out"
        } else {
            &word
        };
        let kind = FoldReason::from_str(word).ok();
        kind.filter(|kind| *kind != FoldReason::Silence)
    }
}
