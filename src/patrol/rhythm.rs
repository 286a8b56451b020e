//! When a unit runs, learned from its last starts: is a run overdue? Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Starts that are remembered of one unit.
const STARTS: usize = 16;
/// With fewer intervals nothing is learned.
const INTERVALS: usize = 5;
/// A rhythm of days is learned over a weekend at least.
const WEEK: TimeDelta = TimeDelta::days(8);
const SLOW: TimeDelta = TimeDelta::hours(12);
/// Starts closer together than this are one: a run and its rerun.
const SAME: TimeDelta = TimeDelta::seconds(30);
/// No spread is smaller.
const SMALLEST: TimeDelta = TimeDelta::minutes(2);

/// The last starts of a unit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    /// What kind of unit it is.
    pub kind: String,
    /// Its id at the platform.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The last starts, seconds since 1970, ascending.
    pub starts: Vec<i64>,
    /// Until then it is not asked about: it is not overdue, or paused.
    pub asked_until: Option<DateTime<Utc>>,
    /// The start after which a run is missing that was reported.
    pub missing_since: Option<i64>,
}

/// Since when a run is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// The last start.
    pub since: DateTime<Utc>,
    /// How often it runs.
    pub every: TimeDelta,
    /// By when it should have begun, its spread included.
    pub due: DateTime<Utc>,
}

impl Rhythm {
    /// One more start.
    pub fn note(&mut self, began: DateTime<Utc>) {
        let at = began.timestamp();
        let known = |start: &i64| (start - at).abs() < SAME.num_seconds();
        if self.starts.iter().any(known) {
            return;
        }
        let place = self.starts.partition_point(|start| *start < at);
        self.starts.insert(place, at);
        if self.starts.len() > STARTS {
            self.starts.remove(0);
        }
    }

    /// The last start.
    pub fn last(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(*self.starts.last()?, 0)
    }

    /// Is a run overdue by more than the unit's own spread? `every`: what a rule says; without one the rhythm is learned, if
    /// it is regular.
    pub fn overdue(&self, every: Option<TimeDelta>, now: DateTime<Utc>) -> Option<Overdue> {
        let since = self.last()?;
        let (every, spread) = match every {
            Some(every) => (every, self.spread(every)),
            None => self.learned()?,
        };
        let due = since
            .checked_add_signed(every)?
            .checked_add_signed(spread)?;
        (now > due).then_some(Overdue { since, every, due })
    }

    fn intervals(&self) -> Vec<i64> {
        let pairs = self.starts.iter().zip(self.starts.iter().skip(1));
        pairs.map(|(one, next)| next - one).collect()
    }

    /// How much late starts have deviated from a rule's interval; a tenth of it, as long as there were none.
    fn spread(&self, every: TimeDelta) -> TimeDelta {
        let late = self
            .intervals()
            .into_iter()
            .map(|it| it - every.num_seconds());
        // What was late by more than half an interval was missing: that is no spread.
        let most = late.filter(|late| *late < every.num_seconds() / 2).max();
        TimeDelta::seconds(most.unwrap_or_default())
            .max(every / 10)
            .max(SMALLEST)
    }

    /// The longest regular interval, and the spread.
    fn learned(&self) -> Option<(TimeDelta, TimeDelta)> {
        let mut intervals = self.intervals();
        if intervals.len() < INTERVALS {
            return None;
        }
        let covered = self.starts.last()? - self.starts.first()?;
        intervals.sort_unstable();
        let median = *intervals.get(intervals.len() / 2)?;
        let longest = *intervals.last()?;
        let slow = median >= SLOW.num_seconds();
        if slow && covered < WEEK.num_seconds() {
            return None;
        }
        // Regular: most intervals are like the median. One that skips a weekend has longer ones, of which the longest counts.
        let like = |interval: &&i64| (**interval - median).abs() <= median / 4;
        let regular = intervals.iter().filter(like).count() * 4 >= intervals.len() * 3;
        let skips = slow && longest <= median * 4;
        if !regular || longest > median * 2 && !skips {
            return None;
        }
        let deviation = intervals
            .iter()
            .filter(like)
            .map(|interval| (interval - median).abs())
            .max()?;
        let spread = TimeDelta::seconds(deviation)
            .max(TimeDelta::seconds(median / 10))
            .max(SMALLEST);
        Some((TimeDelta::seconds(longest), spread))
    }
}

/// `90 minutes`, `24 hours`, `7 days`.
pub fn words(every: TimeDelta) -> String {
    let minutes = every.num_minutes();
    let (number, unit) = match minutes {
        m if m >= 2 * 24 * 60 && m % (24 * 60) == 0 => (m / (24 * 60), "day"),
        m if m >= 60 && m % 60 == 0 => (m / 60, "hour"),
        m => (m, "minute"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_921_200 + hours * 3600, 0).unwrap()
    }

    fn of(starts: impl IntoIterator<Item = i64>) -> Rhythm {
        let mut rhythm = Rhythm::default();
        for hours in starts {
            rhythm.note(at(hours));
        }
        rhythm
    }

    #[test]
    fn a_regular_rhythm_is_learned_and_an_irregular_one_is_not() {
        let hourly = of(0..10);
        assert_eq!(hourly.overdue(None, at(10)), None);
        assert!(hourly.overdue(None, at(11)).is_some());
        assert_eq!(of(0..4).overdue(None, at(100)), None, "too few");
        assert_eq!(of([0, 1, 5, 6, 20, 21, 50]).overdue(None, at(500)), None);
    }

    #[test]
    fn a_weekend_is_not_overdue() {
        // Monday to Friday, twice.
        let days = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11].map(|day| day * 24);
        let workdays = of(days);
        assert_eq!(workdays.overdue(None, at(13 * 24)), None, "a Sunday");
        assert!(workdays.overdue(None, at(15 * 24)).is_some());
        assert_eq!(
            of(days[..5].to_vec()).overdue(None, at(900)),
            None,
            "no weekend was seen"
        );
    }

    #[test]
    fn a_rule_needs_one_start_and_allows_its_own_spread() {
        let once = of([0]);
        let day = Some(TimeDelta::hours(24));
        assert_eq!(once.overdue(day, at(26)), None, "a tenth");
        assert!(once.overdue(day, at(27)).is_some());
        let late = of([0, 24, 53, 77]);
        assert_eq!(
            late.overdue(day, at(77 + 28)),
            None,
            "it was late by five hours before"
        );
        assert_eq!(Rhythm::default().overdue(day, at(900)), None);
    }
}
