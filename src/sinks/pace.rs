//! When the next message may be posted: one in a while, and never before the vendor's own Retry-After.
//!
//! Pure bookkeeping of one process, by the caller's clock. A ticket that has to wait is promised a place, so
//! that a hundred waiting tickets come back one after the other and not all at once. While a line is waiting,
//! processes tell each other so, and each takes its share of the channel's pace.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

/// A smaller step back of the clock is two callers that overtake each other.
const STEP_BACK: TimeDelta = TimeDelta::seconds(2);
/// A promised place that nobody came for.
const FORGOTTEN: TimeDelta = TimeDelta::seconds(30);
/// How often a process with a line tells the others.
const TELL_EVERY: TimeDelta = TimeDelta::seconds(5);

#[derive(Debug)]
pub(super) struct Pace {
    /// Between two messages of the channel.
    every: TimeDelta,
    /// Between two messages of this process.
    gap: TimeDelta,
    told: Option<DateTime<Utc>>,
    /// The vendor asked for silence until then.
    silent_until: Option<DateTime<Utc>>,
    /// Nothing is posted before.
    free_at: Option<DateTime<Utc>>,
    promised: BTreeMap<String, DateTime<Utc>>,
    /// The caller's clock at the last claim.
    seen: Option<DateTime<Utc>>,
}

impl Pace {
    /// One message in this time.
    pub(super) fn every(every: TimeDelta) -> Self {
        Self {
            every,
            gap: every,
            told: None,
            silent_until: None,
            free_at: None,
            promised: BTreeMap::new(),
            seen: None,
        }
    }

    /// Takes a place for `who` now; or says how long to wait for it.
    pub(super) fn claim(&mut self, who: &str, now: DateTime<Utc>) -> Option<std::time::Duration> {
        self.follow(now);
        self.promised.retain(|_, at| *at + FORGOTTEN > now);
        let promise = self.promised.remove(who);
        let free = self.free_at.unwrap_or(now);
        let behind = self
            .promised
            .values()
            .max()
            .map_or(free, |last| (*last + self.gap).max(free));
        let place = promise.map_or(behind, |at| at.max(free));
        if place <= now {
            // A ticket that comes a little late for its place does not move everybody behind it: a message a second, on
            // average. Two of them are never much closer than that: the vendor would ask for silence.
            let taken = if promise.is_some() { place } else { now };
            let closest = self.gap - self.gap / 20;
            self.free_at = Some((taken + self.gap).max(now + closest));
            return None;
        }
        self.promised.insert(who.to_owned(), place);
        (place - now).to_std().ok()
    }

    /// The place that was taken is not used yet: it is `who`'s again at the next claim.
    pub(super) fn give_back(&mut self, who: &str, now: DateTime<Utc>) {
        self.free_at = Some(now);
        self.promised.insert(who.to_owned(), now);
    }

    /// Places are how long one waits, not dates: when the clock is set back, they go with it.
    fn follow(&mut self, now: DateTime<Utc>) {
        if let Some(back) = self
            .seen
            .map(|seen| seen - now)
            .filter(|back| *back > STEP_BACK)
        {
            self.free_at = self.free_at.map(|at| at - back);
            for at in self.promised.values_mut() {
                *at -= back;
            }
        }
        self.seen = Some(now);
    }

    /// Is it time to tell the other processes that there is a line here? Then it is told as of now.
    pub(super) fn is_time_to_tell(&mut self, now: DateTime<Utc>) -> bool {
        let told = self.told.is_some_and(|at| (now - at).abs() < TELL_EVERY);
        if !told {
            self.told = Some(now);
        }
        !told
    }

    /// Until when the vendor asked for silence.
    pub(super) fn silent_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.silent_until.filter(|until| *until > now)
    }

    /// So many processes post into the channel, this one counted.
    pub(super) fn share(&mut self, processes: usize) {
        self.gap = self.every * i32::try_from(processes.max(1)).unwrap_or(i32::MAX / 2000);
    }

    /// The vendor asked for silence until then.
    pub(super) fn hold(&mut self, until: DateTime<Utc>) {
        self.silent_until = Some(until);
        self.free_at = Some(self.free_at.map_or(until, |free| free.max(until)));
    }

    /// How long the vendor's silence still lasts; takes no place.
    pub(super) fn held(&self, now: DateTime<Utc>) -> Option<std::time::Duration> {
        self.free_at
            .filter(|free| *free > now)
            .and_then(|free| (free - now).to_std().ok())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn waiting_tickets_get_places_one_after_the_other() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), None);
        assert_eq!(pace.claim("b", at(100)), Some(Duration::from_millis(900)));
        assert_eq!(pace.claim("c", at(100)), Some(Duration::from_millis(1900)));
        assert_eq!(
            pace.claim("c", at(1000)),
            Some(Duration::from_secs(1)),
            "b is first"
        );
        assert_eq!(pace.claim("b", at(1000)), None);
        assert_eq!(pace.claim("c", at(2000)), None);
        assert_eq!(pace.claim("d", at(9000)), None);
    }

    #[test]
    fn a_place_that_was_not_used_is_kept() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), None);
        pace.give_back("a", at(0));
        assert_eq!(pace.claim("b", at(10)), Some(Duration::from_millis(990)));
        assert_eq!(pace.claim("a", at(20)), None);
        assert_eq!(pace.claim("b", at(1000)), None);
    }

    #[test]
    fn slacks_wish_is_kept_and_forgotten_places_are_free_again() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        pace.hold(at(30_000));
        assert_eq!(pace.claim("a", at(0)), Some(Duration::from_secs(30)));
        assert_eq!(pace.held(at(29_000)), Some(Duration::from_secs(1)));
        assert_eq!(pace.claim("b", at(61_000)), None, "a never came back");
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_places_along() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), None);
        assert_eq!(pace.claim("b", at(0)), Some(Duration::from_secs(1)));
        let back = -3 * 3600 * 1000;
        assert_eq!(pace.claim("c", at(back)), Some(Duration::from_secs(2)));
        assert_eq!(pace.claim("b", at(back + 1000)), None);
        assert_eq!(pace.claim("c", at(back + 2000)), None);
    }

    /// Messages come back from the queue up to 400 ms after their place.
    #[test]
    fn a_crowd_is_posted_at_one_a_second() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        let mut due: Vec<(i64, u32)> = (0..100).map(|who| (0, who)).collect();
        let mut last = -1000;
        while !due.is_empty() {
            due.sort_unstable();
            let (now, who) = due.remove(0);
            match pace.claim(&who.to_string(), at(now)) {
                None => {
                    assert!(now - last >= 950, "{last} and {now}");
                    last = now;
                }
                Some(wait) => {
                    // A short wait is slept, the others are the queue's.
                    let queued = wait > Duration::from_millis(400);
                    let late = i64::from(queued) * i64::from(who * 37 % 5) * 100;
                    due.push((now + i64::try_from(wait.as_millis()).unwrap() + late, who));
                }
            }
        }
        assert!(last <= 103_000, "100 messages took {last} ms");
    }

    #[test]
    fn processes_share_the_pace() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert!(pace.is_time_to_tell(at(0)));
        assert_eq!(pace.silent_until(at(0)), None);
        assert!(!pace.is_time_to_tell(at(4_000)), "told a moment ago");
        pace.share(3);
        assert_eq!(pace.claim("a", at(0)), None);
        assert_eq!(pace.claim("b", at(0)), Some(Duration::from_secs(3)));
        assert_eq!(pace.claim("c", at(0)), Some(Duration::from_secs(6)));
        pace.hold(at(20_000));
        assert!(pace.is_time_to_tell(at(10_000)));
        assert_eq!(pace.silent_until(at(10_000)), Some(at(20_000)));
        assert_eq!(pace.silent_until(at(20_000)), None, "the silence is over");
        pace.share(0);
        assert_eq!(
            pace.claim("d", at(60_000)),
            None,
            "all others were forgotten"
        );
        assert_eq!(pace.claim("e", at(60_000)), Some(Duration::from_secs(1)));
    }
}
