//! Numbers of failures: what the day, the week and the quarter looked like. Pure.
//!
//! In: the rows of lists. Out: sums that can be added to others, so a day is counted once and kept. A failure belongs to the
//! day on which it was reported; how it ended may change that day's numbers later.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Assets that a day keeps; the others are counted as one.
const ASSETS: usize = 200;
/// The name of the others.
pub const OTHERS: &str = "others";
/// The longest times of each step of the histogram of times to close, in minutes; the last step has no end.
const STEPS: [u32; 15] = [
    1, 2, 5, 10, 15, 30, 45, 60, 120, 240, 480, 720, 1440, 2880, 10_080,
];

/// How a failure ended, or that it has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// A playbook healed it.
    Healed,
    /// A later run of the same asset ended well.
    Recovered,
    /// Somebody closed it.
    Closed,
    /// It is open.
    Open,
}

impl Ending {
    /// In the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Healed, Self::Recovered, Self::Closed, Self::Open];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::Recovered => "recovered",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }

    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Healed => "healed by a playbook",
            Self::Recovered => "recovered by itself",
            Self::Closed => "closed by people",
            Self::Open => "open",
        }
    }
}

/// Sums over tickets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Numbers {
    /// All of them.
    pub all: usize,
    /// Nobody works on them yet.
    pub open: usize,
    /// Somebody works on them.
    pub in_progress: usize,
    /// A plan waits for an answer.
    pub awaiting_approval: usize,
    /// Open after their SLA.
    pub breached: usize,
    /// Healed by a playbook.
    pub healed: usize,
    /// Closed because a later run ended well.
    pub recovered: usize,
    /// Closed by people, or with the incident that they were part of.
    pub closed: usize,
    /// Taken, or closed, within their SLA.
    pub sla_kept: usize,
    /// Not taken within it.
    pub sla_missed: usize,
    /// How many incidents they are.
    pub incidents: usize,
    /// Closed ones by the time from report to close: how many took up to each of the steps, and longer.
    pub closing: Vec<usize>,
    /// By category.
    pub categories: BTreeMap<String, usize>,
    /// By platform.
    pub sources: BTreeMap<String, usize>,
    /// By owner; those that nobody owns are not here.
    pub owners: BTreeMap<String, usize>,
    /// By asset.
    pub assets: BTreeMap<String, usize>,
    /// There are more than were counted.
    pub partial: bool,
}

impl Numbers {
    /// One was closed so long after its report.
    pub(crate) fn closed_after(&mut self, took: TimeDelta) {
        let step = step_of(took);
        if self.closing.len() <= step {
            self.closing.resize(step + 1, 0);
        }
        if let Some(place) = self.closing.get_mut(step) {
            *place += 1;
        }
    }

    /// The same with another day's.
    pub fn join(&mut self, other: &Self) {
        for (mine, its) in [
            (&mut self.all, other.all),
            (&mut self.open, other.open),
            (&mut self.in_progress, other.in_progress),
            (&mut self.awaiting_approval, other.awaiting_approval),
            (&mut self.breached, other.breached),
            (&mut self.healed, other.healed),
            (&mut self.recovered, other.recovered),
            (&mut self.closed, other.closed),
            (&mut self.sla_kept, other.sla_kept),
            (&mut self.sla_missed, other.sla_missed),
            (&mut self.incidents, other.incidents),
        ] {
            *mine += its;
        }
        let steps = self.closing.len().max(other.closing.len());
        self.closing.resize(steps, 0);
        for (mine, its) in self.closing.iter_mut().zip(&other.closing) {
            *mine += its;
        }
        for (mine, its) in [
            (&mut self.categories, &other.categories),
            (&mut self.sources, &other.sources),
            (&mut self.owners, &other.owners),
            (&mut self.assets, &other.assets),
        ] {
            for (name, count) in its {
                *of(mine, name) += count;
            }
        }
        self.partial |= other.partial;
    }

    /// As it is kept: of very many assets those that fail most.
    #[must_use]
    pub fn kept(mut self) -> Self {
        if self.assets.len() > ASSETS {
            let most = top(&self.assets, ASSETS);
            let known: usize = most.iter().map(|(_, count)| count).sum();
            let all: usize = self.assets.values().sum();
            self.assets = most
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect();
            *of(&mut self.assets, OTHERS) += all - known;
        }
        self
    }

    /// How many ended so.
    pub fn of(&self, ending: Ending) -> usize {
        match ending {
            Ending::Healed => self.healed,
            Ending::Recovered => self.recovered,
            Ending::Closed => self.closed,
            Ending::Open => self.open + self.in_progress,
        }
    }

    /// The middle one of the times to close, as exact as the histogram is.
    pub fn median_to_close(&self) -> Option<TimeDelta> {
        let all: usize = self.closing.iter().sum();
        let middle = all.checked_sub(1)? / 2;
        let mut before = 0;
        for (step, count) in self.closing.iter().enumerate() {
            if before + count > middle {
                let least = step.checked_sub(1).and_then(|step| STEPS.get(step));
                let least = i64::from(least.copied().unwrap_or(0)) * 60;
                let most = STEPS
                    .get(step)
                    .map_or(2 * least, |most| i64::from(*most) * 60);
                let share = |part: usize| i64::try_from(part).unwrap_or(0);
                let within = share(2 * (middle - before) + 1);
                let seconds = least + (most - least) * within / (2 * share(*count)).max(1);
                return Some(TimeDelta::seconds(seconds));
            }
            before += count;
        }
        None
    }

    /// Of those whose SLA is decided, how many per cent kept it.
    pub fn sla_percent(&self) -> Option<usize> {
        percent(self.sla_kept, self.sla_kept + self.sla_missed)
    }

    /// Of those that ended, how many per cent did so without a person.
    pub fn unaided_percent(&self) -> Option<usize> {
        let unaided = self.healed + self.recovered;
        percent(unaided, unaided + self.closed)
    }
}

/// The most of these, the largest first.
pub fn top(counts: &BTreeMap<String, usize>, most: usize) -> Vec<(&str, usize)> {
    let mut all: Vec<(&str, usize)> = counts
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    all.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    all.truncate(most);
    all
}

pub(crate) fn of<'a>(counts: &'a mut BTreeMap<String, usize>, name: &str) -> &'a mut usize {
    counts.entry(name.to_owned()).or_default()
}

fn percent(part: usize, whole: usize) -> Option<usize> {
    (whole > 0).then(|| (part * 100 + whole / 2) / whole.max(1))
}

fn step_of(took: TimeDelta) -> usize {
    let minutes = (took.num_seconds().max(0) + 59) / 60;
    STEPS
        .iter()
        .position(|most| minutes <= i64::from(*most))
        .unwrap_or(STEPS.len())
}

/// Numbers of one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// When it begins.
    pub from: DateTime<Utc>,
    /// What was reported in it.
    pub numbers: Numbers,
}

/// Numbers of the last hours or days, the oldest first, and all together.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// 1 (24 hours, by hour) to 90, by day.
    pub days: u32,
    /// Each hour or day, without gaps.
    pub stretches: Vec<Stretch>,
    /// All of them.
    pub total: Numbers,
}

impl Summary {
    /// Of these stretches.
    pub fn of(days: u32, stretches: Vec<Stretch>) -> Self {
        let mut total = Numbers::default();
        for stretch in &stretches {
            total.join(&stretch.numbers);
        }
        Self {
            days,
            stretches,
            total,
        }
    }

    /// Where its first stretch begins: what was reported before is not counted.
    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.stretches.first().map(|stretch| stretch.from)
    }

    /// By the hour?
    pub fn is_hourly(&self) -> bool {
        self.days <= 1
    }

    /// `last 24 hours`, `last 7 days`.
    pub fn words(&self) -> String {
        if self.is_hourly() {
            "last 24 hours".to_owned()
        } else {
            format!("last {} days", self.days)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(minutes: &[i64]) -> Numbers {
        let mut numbers = Numbers::default();
        for minutes in minutes {
            numbers.closed_after(TimeDelta::minutes(*minutes));
        }
        numbers
    }

    #[test]
    fn the_median_lies_in_its_step() {
        assert_eq!(Numbers::default().median_to_close(), None);
        for (minutes, least, most) in [
            (vec![1], 0, 1),
            (vec![3, 4, 600], 2, 5),
            (vec![1, 50, 55, 3000], 45, 60),
            (vec![20_000; 3], 10_080, 20_160),
        ] {
            let median = closing(&minutes).median_to_close().unwrap();
            let within = TimeDelta::minutes(least)..=TimeDelta::minutes(most);
            assert!(within.contains(&median), "{minutes:?}: {median}");
        }
    }

    #[test]
    fn joined_days_are_the_sums_and_many_assets_are_cut() {
        let mut day = closing(&[3, 90]);
        day.all = 2;
        day.healed = 1;
        day.closed = 1;
        day.sla_kept = 2;
        for number in 0..300 {
            day.assets.insert(format!("pl_{number:03}"), 1 + number % 2);
        }
        let kept = day.clone().kept();
        assert_eq!(kept.assets.len(), ASSETS + 1);
        assert_eq!(
            kept.assets.values().sum::<usize>(),
            day.assets.values().sum::<usize>()
        );
        let mut week = day.clone();
        week.join(&day);
        assert_eq!(
            (week.all, week.healed, week.closing.iter().sum()),
            (4, 2, 4)
        );
        assert_eq!(
            (week.sla_percent(), week.unaided_percent()),
            (Some(100), Some(50))
        );
    }
}
