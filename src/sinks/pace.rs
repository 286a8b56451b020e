//! When the next message may be posted: one in a while and channel, and never before the vendor's own Retry-After.
//!
//! Pure bookkeeping of one process, by the caller's clock. A ticket that has to wait gets a place in line. Far from it, its
//! delivery goes and comes back ([`Turn::Later`]), a little early; close to it, it stays awake ([`Turn::Soon`]), and no
//! two that are awake have the same place. While a line is waiting, processes tell each other so, and each takes its share
//! of the channel's pace.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A smaller step back of the clock is two callers that overtake each other.
const STEP_BACK: TimeDelta = TimeDelta::seconds(2);
/// A place that nobody came for.
const FORGOTTEN: TimeDelta = TimeDelta::seconds(30);
/// How often a process with a line tells the others.
const TELL_EVERY: TimeDelta = TimeDelta::seconds(5);
/// The longest wait that is slept through: coming back costs another message.
const SLEPT: TimeDelta = TimeDelta::seconds(3);
/// How long before its place a delivery comes back: a queue is never on time.
const EARLY: TimeDelta = TimeDelta::milliseconds(1500);

/// Whose turn it is to post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The caller's.
    Now,
    /// The caller's after this time; it stays and asks again then.
    Soon(Duration),
    /// The caller comes back after this time.
    Later(Duration),
}

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
    /// Who comes back for a place.
    away: BTreeMap<String, DateTime<Utc>>,
    /// Who waits for a place, or is about to use it.
    awake: BTreeMap<String, DateTime<Utc>>,
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
            away: BTreeMap::new(),
            awake: BTreeMap::new(),
            seen: None,
        }
    }

    /// Takes a place for `who` now; or says how to wait for it.
    pub(super) fn claim(&mut self, who: &str, now: DateTime<Utc>) -> Turn {
        let (place, had) = self.place(who, now);
        if place > now {
            let wait = place - now;
            if wait > SLEPT {
                self.away.insert(who.to_owned(), place);
                return Turn::Later(to_std(wait - EARLY));
            }
            self.awake.insert(who.to_owned(), place);
            return Turn::Soon(to_std(wait));
        }
        // A ticket that comes a little late for its place does not move everybody behind it: a message a second, on
        // average. Two of them are never much closer than that: the vendor would ask for silence.
        let taken = if had { place } else { now };
        self.free_at = Some((taken + self.gap).max(now + self.closest()));
        Turn::Now
    }

    /// Whose turn it is, for `who`; the place is kept, also one that could be taken now.
    pub(super) fn turn(&mut self, who: &str, now: DateTime<Utc>) -> Turn {
        let turn = self.claim(who, now);
        if turn == Turn::Now {
            self.give_back(who, now);
        }
        turn
    }

    /// Keeps a place for `who`, whose delivery is put: how long until it should come.
    pub(super) fn reserve(&mut self, who: &str, now: DateTime<Utc>) -> Duration {
        let (place, _) = self.place(who, now);
        self.away.insert(who.to_owned(), place);
        to_std(place - now - EARLY)
    }

    /// The place that was taken is not used yet: it is `who`'s again at the next claim.
    pub(super) fn give_back(&mut self, who: &str, now: DateTime<Utc>) {
        self.free_at = Some(now);
        self.awake.insert(who.to_owned(), now);
    }

    /// The next place for `who`, who no longer has another; did it have one?
    fn place(&mut self, who: &str, now: DateTime<Utc>) -> (DateTime<Utc>, bool) {
        self.follow(now);
        for places in [&mut self.away, &mut self.awake] {
            places.retain(|_, at| *at + FORGOTTEN > now);
        }
        let free = self.free_at.unwrap_or(DateTime::<Utc>::MIN_UTC);
        if let Some(at) = self.awake.remove(who) {
            // The others that are awake are behind it, or ask again when their time has come.
            return (at.max(free), true);
        }
        let kept = self.away.remove(who);
        let line = self.away.values().chain(self.awake.values());
        let behind = line.max().map_or(now, |last| *last + self.gap).max(free);
        let place = kept.map_or(behind, |at| at.max(free));
        (self.apart_from_the_awake(place, now), kept.is_some())
    }

    /// The first place from this one on that is not close to that of somebody who is awake.
    fn apart_from_the_awake(&self, place: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut awake: Vec<_> = self.awake.values().copied().collect();
        awake.sort_unstable();
        let mut apart = place;
        for other in awake {
            if (apart.max(now) - other).abs() < self.closest() {
                apart = other + self.gap;
            }
        }
        apart
    }

    /// The least time between two messages.
    fn closest(&self) -> TimeDelta {
        self.gap - self.gap / 20
    }

    /// Places are how long one waits, not dates: when the clock is set back, they go with it.
    fn follow(&mut self, now: DateTime<Utc>) {
        if let Some(back) = self
            .seen
            .map(|seen| seen - now)
            .filter(|back| *back > STEP_BACK)
        {
            self.free_at = self.free_at.map(|at| at - back);
            for at in self.away.values_mut().chain(self.awake.values_mut()) {
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
    pub(super) fn held(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.free_at
            .filter(|free| *free > now)
            .and_then(|free| (free - now).to_std().ok())
    }
}

/// Nothing for a time that is over.
fn to_std(time: TimeDelta) -> Duration {
    time.to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_700_000_000_000 + milliseconds).unwrap()
    }

    fn soon(milliseconds: u64) -> Turn {
        Turn::Soon(Duration::from_millis(milliseconds))
    }

    fn later(milliseconds: u64) -> Turn {
        Turn::Later(Duration::from_millis(milliseconds))
    }

    #[test]
    fn waiting_tickets_get_places_one_after_the_other() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), Turn::Now);
        assert_eq!(pace.claim("b", at(100)), soon(900));
        assert_eq!(pace.claim("c", at(100)), soon(1900));
        assert_eq!(pace.claim("c", at(1000)), soon(1000), "b is first");
        assert_eq!(pace.claim("b", at(1000)), Turn::Now);
        assert_eq!(pace.claim("c", at(2000)), Turn::Now);
        assert_eq!(pace.claim("d", at(9000)), Turn::Now);
    }

    #[test]
    fn who_is_far_from_the_place_comes_back_a_little_early() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        for (who, wait) in [("a", 0), ("b", 0), ("c", 500), ("d", 1500), ("e", 2500)] {
            assert_eq!(pace.reserve(who, at(0)), Duration::from_millis(wait));
        }
        assert_eq!(pace.claim("f", at(0)), later(3500));
        assert_eq!(pace.claim("a", at(50)), Turn::Now);
        assert_eq!(pace.claim("c", at(700)), soon(1300));
        assert_eq!(pace.claim("b", at(750)), soon(250));
        assert_eq!(pace.claim("b", at(1000)), Turn::Now);
        assert_eq!(pace.claim("c", at(2000)), Turn::Now);
        assert_eq!(pace.claim("d", at(3100)), Turn::Now);
    }

    #[test]
    fn no_two_that_are_awake_have_the_same_place() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        for who in ["a", "b", "c", "d"] {
            pace.reserve(who, at(0));
        }
        // All of them are late.
        assert_eq!(pace.claim("a", at(5000)), Turn::Now);
        pace.give_back("a", at(5000));
        assert_eq!(pace.claim("b", at(5010)), soon(990));
        assert_eq!(pace.claim("d", at(5010)), soon(1990));
        assert_eq!(pace.claim("c", at(5010)), soon(2990));
        assert_eq!(pace.claim("a", at(5100)), Turn::Now);
        // Woken late, it is not overtaken, and the next one waits no longer than it has to.
        assert_eq!(pace.claim("b", at(6400)), Turn::Now);
        assert_eq!(pace.claim("d", at(7000)), soon(350));
        assert_eq!(pace.claim("d", at(7350)), Turn::Now);
        assert_eq!(pace.claim("c", at(8000)), soon(350));
    }

    #[test]
    fn a_place_that_was_not_used_is_kept() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), Turn::Now);
        pace.give_back("a", at(0));
        assert_eq!(pace.claim("b", at(10)), soon(990));
        assert_eq!(pace.claim("a", at(20)), Turn::Now);
        assert_eq!(pace.claim("b", at(1000)), Turn::Now);
        // One that died with its place holds nobody up for long.
        pace.give_back("d", at(6000));
        assert_eq!(pace.claim("e", at(6500)), soon(500));
        assert_eq!(pace.claim("f", at(37_000)), Turn::Now);
    }

    #[test]
    fn slacks_wish_is_kept_and_forgotten_places_are_free_again() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        pace.hold(at(30_000));
        assert_eq!(pace.claim("a", at(0)), later(28_500));
        assert_eq!(pace.held(at(29_000)), Some(Duration::from_secs(1)));
        assert_eq!(pace.claim("b", at(61_000)), Turn::Now, "a never came back");
    }

    #[test]
    fn a_silence_sends_those_away_who_are_awake() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), Turn::Now);
        assert_eq!(pace.claim("b", at(0)), soon(1000));
        assert_eq!(pace.claim("c", at(0)), soon(2000));
        pace.hold(at(30_000));
        assert_eq!(pace.claim("b", at(1000)), later(27_500));
        assert_eq!(pace.claim("c", at(2000)), later(26_500));
        assert_eq!(pace.claim("c", at(28_600)), soon(1400));
        assert_eq!(pace.claim("b", at(28_600)), soon(2400));
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_places_along() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert_eq!(pace.claim("a", at(0)), Turn::Now);
        assert_eq!(pace.claim("b", at(0)), soon(1000));
        let back = -3 * 3600 * 1000;
        assert_eq!(pace.claim("c", at(back)), soon(2000));
        assert_eq!(pace.claim("b", at(back + 1000)), Turn::Now);
        assert_eq!(pace.claim("c", at(back + 2000)), Turn::Now);
    }

    /// Deliveries that come back from a queue up to `late` after their time, a tenth of a second at a time: when the last
    /// one posted, and the most times that one of them came back.
    fn posted(tickets: u32, late: i64) -> (i64, u32) {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        let mut due: Vec<(i64, u32, u32)> = Vec::new();
        for who in 0..tickets {
            let wait = pace.reserve(&who.to_string(), at(0)).as_millis();
            let held_up = i64::from(who * 37 % 11) * late / 1000 * 100;
            due.push((i64::try_from(wait).unwrap() + held_up, who, 0));
        }
        let (mut last, mut most) = (-1000, 0);
        while !due.is_empty() {
            due.sort_unstable();
            let (now, who, came_back) = due.remove(0);
            most = most.max(came_back);
            match pace.claim(&who.to_string(), at(now)) {
                Turn::Now => {
                    assert!(now - last >= 950, "{last} and {now}");
                    last = now;
                }
                Turn::Soon(wait) => {
                    // A timer is a few milliseconds late, and a busy machine more.
                    let wait = i64::try_from(wait.as_millis()).unwrap() + i64::from(who % 7) * 5;
                    due.push((now + wait, who, came_back));
                }
                Turn::Later(wait) => {
                    let wait = i64::try_from(wait.as_millis()).unwrap() + late / 2;
                    due.push((now + wait, who, came_back + 1));
                }
            }
        }
        (last, most)
    }

    #[test]
    fn a_crowd_is_posted_at_one_a_second_and_hardly_comes_twice() {
        for (tickets, late) in [(12, 0), (12, 1000), (12, 2000), (100, 1000), (300, 2000)] {
            let (last, most) = posted(tickets, late);
            let limit = i64::from(tickets) * 1020 + 1000 + 2 * late;
            assert!(last <= limit, "{tickets} messages took {last} ms");
            assert!(most <= 1, "{tickets} messages, {late} ms late: {most}");
        }
    }

    #[test]
    fn processes_share_the_pace() {
        let mut pace = Pace::every(TimeDelta::seconds(1));
        assert!(pace.is_time_to_tell(at(0)));
        assert_eq!(pace.silent_until(at(0)), None);
        assert!(!pace.is_time_to_tell(at(4_000)), "told a moment ago");
        pace.share(3);
        assert_eq!(pace.claim("a", at(0)), Turn::Now);
        assert_eq!(pace.claim("b", at(0)), soon(3000));
        assert_eq!(pace.claim("c", at(0)), later(4500));
        pace.hold(at(20_000));
        assert!(pace.is_time_to_tell(at(10_000)));
        assert_eq!(pace.silent_until(at(10_000)), Some(at(20_000)));
        assert_eq!(pace.silent_until(at(20_000)), None, "the silence is over");
        pace.share(0);
        assert_eq!(
            pace.claim("d", at(60_000)),
            Turn::Now,
            "all others were forgotten"
        );
        assert_eq!(pace.claim("e", at(60_000)), soon(1000));
    }
}
