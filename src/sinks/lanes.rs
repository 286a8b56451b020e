//! A lane for each sink, so that a vendor that hangs does not use up what the host runs at once for all of them.
//!
//! In: deliveries that want to begin, and what became of them. Out: a place, or how long to wait. Two things are kept:
//! how many deliveries of a sink run (its share of the host's batch), and whether its vendor answers (a circuit breaker:
//! after a few calls in a row without an answer the next one is a single probe, ever more seldom). Pure bookkeeping of one
//! process by the caller's clock: the host hands its batch to one process, and another one finds out for itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ticket::Sink;
use crate::ticket::store::Outage;

/// Deliveries of one sink at once, at most.
pub const SHARE: u32 = 8;
/// Calls without an answer, one after the other, before the vendor is taken to be down.
const FAULTS: u32 = 3;
/// Until the first probe; twice as long after each one in vain.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(60);
/// Nobody is sent away for less or for longer.
const LEAST_WAIT: TimeDelta = TimeDelta::milliseconds(250);
const MOST_WAIT: TimeDelta = TimeDelta::seconds(60);

/// Deliveries of this sink at once. All sinks together need no more than `host.json` gives: `batchSize` and
/// `newBatchThreshold`. Teams takes few cards a minute, and playbooks are called seldom.
pub fn share(sink: Sink) -> u32 {
    match sink {
        Sink::Jira | Sink::Slack => SHARE,
        Sink::Teams | Sink::Playbook => SHARE / 2,
    }
}

/// What a delivery learned about the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It answered, if only with a refusal.
    Answer,
    /// It did not, or not with what is its own: why.
    Silence(&'a str),
    /// It was not asked.
    Nothing,
}

/// Why a delivery does not begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The sink's share is used up: come back then.
    Full(Duration),
    /// The vendor does not answer.
    Down(Outage),
}

/// The lanes of one process; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Lanes(Arc<Mutex<BTreeMap<Sink, Lane>>>);

#[derive(Debug, Default)]
struct Lane {
    busy: u32,
    /// How long a delivery takes, roughly.
    takes: TimeDelta,
    /// When the last one that was sent away may come back.
    line: Option<DateTime<Utc>>,
    /// Since when no place was given back.
    full: Option<DateTime<Utc>>,
    faults: u32,
    outage: Option<Outage>,
    pause: TimeDelta,
    probing: bool,
}

/// The right to deliver now. Given back when it is dropped, whatever became of the delivery.
#[derive(Debug)]
pub struct Place {
    lanes: Lanes,
    sink: Sink,
    began: DateTime<Utc>,
    probes: bool,
}

impl Lanes {
    /// Begins a delivery, or says what it waits for.
    ///
    /// # Errors
    /// The lane is full, or the vendor is down.
    pub fn enter(&self, sink: Sink, now: DateTime<Utc>) -> Result<Place, Wait> {
        let mut lanes = self.lock();
        let lane = lanes.entry(sink).or_default();
        let mut probes = false;
        if let Some(outage) = &lane.outage {
            // A longer pause than there is means that the clock was set back.
            let rests = outage.next_call > now && outage.next_call - now <= LONGEST_PAUSE;
            if rests || lane.probing {
                return Err(Wait::Down(outage.clone()));
            }
            probes = true;
        } else if lane.busy >= share(sink) {
            return Err(Wait::Full(lane.place_in_line(share(sink), now)));
        }
        lane.probing |= probes;
        lane.busy += 1;
        Ok(Place {
            lanes: self.clone(),
            sink,
            began: now,
            probes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Sink, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// One behind the other, as fast as the lane moves: who is sent away comes back once, not again and again. While it does
    /// not move the waits double.
    fn place_in_line(&mut self, share: u32, now: DateTime<Utc>) -> Duration {
        let stuck = now - *self.full.get_or_insert(now);
        let step = self.takes / i32::try_from(share).unwrap_or(1);
        let line = self.line.unwrap_or(now).clamp(now, now + MOST_WAIT) + step;
        self.line = Some(line);
        let wait = (line - now).max(stuck).clamp(LEAST_WAIT, MOST_WAIT);
        wait.to_std().unwrap_or_default()
    }

    fn silent(&mut self, reason: &str, probed: bool, now: DateTime<Utc>) -> Option<Outage> {
        self.faults = self.faults.saturating_add(1);
        let since = match &self.outage {
            // Of a call that began before: the probe alone says how it is now.
            Some(_) if !probed => return None,
            Some(outage) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                outage.since
            }
            None if self.faults < FAULTS => return None,
            None => {
                self.pause = FIRST_PAUSE;
                now
            }
        };
        let outage = Outage {
            since,
            next_call: now + self.pause,
            reason: reason.to_owned(),
            ended: None,
        };
        self.outage = Some(outage.clone());
        Some(outage)
    }
}

impl Place {
    /// Ends the delivery. Some when the vendor's standing changed by it: for everybody to know.
    #[must_use]
    pub fn leave(self, heard: Heard<'_>, now: DateTime<Utc>) -> Option<Outage> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(self.sink).or_default();
        match heard {
            Heard::Nothing => None,
            Heard::Silence(reason) => lane.silent(reason, self.probes, now),
            Heard::Answer => {
                let took = (now - self.began).clamp(TimeDelta::zero(), MOST_WAIT);
                lane.takes = (lane.takes * 3 + took) / 4;
                lane.faults = 0;
                let mut outage = lane.outage.take()?;
                outage.ended = Some(now);
                Some(outage)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&self.sink) {
            lane.busy = lane.busy.saturating_sub(1);
            lane.full = None;
            lane.probing &= !self.probes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn silent(lanes: &Lanes, began: i64, ended: i64) -> Option<Outage> {
        let place = lanes.enter(Sink::Jira, at(began)).unwrap();
        place.leave(Heard::Silence("no answer"), at(ended))
    }

    fn is_down(lanes: &Lanes, now: i64) -> bool {
        matches!(lanes.enter(Sink::Jira, at(now)), Err(Wait::Down(_)))
    }

    #[test]
    fn a_full_lane_leaves_the_others_alone() {
        let lanes = Lanes::default();
        let mut places: Vec<Place> = (0..SHARE)
            .map(|_| lanes.enter(Sink::Jira, at(0)).unwrap())
            .collect();
        assert!(matches!(lanes.enter(Sink::Jira, at(0)), Err(Wait::Full(_))));
        assert!(lanes.enter(Sink::Slack, at(0)).is_ok());
        // One that is dropped half-way gives its place back.
        places.pop();
        places.push(lanes.enter(Sink::Jira, at(1)).unwrap());
        assert!(lanes.enter(Sink::Jira, at(1)).is_err());
    }

    #[test]
    fn who_is_sent_away_comes_back_as_fast_as_the_lane_moves() {
        let lanes = Lanes::default();
        for _ in 0..20 {
            let place = lanes.enter(Sink::Jira, at(0)).unwrap();
            assert_eq!(place.leave(Heard::Answer, at(4)), None);
        }
        let _places: Vec<Place> = (0..SHARE)
            .map(|_| lanes.enter(Sink::Jira, at(10)).unwrap())
            .collect();
        let mut waits = Vec::new();
        for _ in 0..500 {
            match lanes.enter(Sink::Jira, at(10)) {
                Err(Wait::Full(wait)) => waits.push(wait.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        assert!((400..=500).contains(&waits[0]), "{}", waits[0]);
        assert!((45_000..=50_000).contains(&waits[99]), "{}", waits[99]);
        assert_eq!(waits[499], 60_000);
    }

    #[test]
    fn while_nothing_moves_the_waits_double() {
        let lanes = Lanes::default();
        let _places: Vec<Place> = (0..SHARE)
            .map(|_| lanes.enter(Sink::Jira, at(0)).unwrap())
            .collect();
        let mut now = at(0);
        let mut times = 0;
        while now < at(10) {
            let Err(Wait::Full(wait)) = lanes.enter(Sink::Jira, now) else {
                panic!("the lane is full")
            };
            now += TimeDelta::from_std(wait).unwrap();
            times += 1;
        }
        assert!(times <= 8, "sent away {times} times in ten seconds");
    }

    #[test]
    fn a_vendor_that_does_not_answer_is_probed_ever_more_seldom() {
        let lanes = Lanes::default();
        assert_eq!(silent(&lanes, 0, 10), None);
        assert_eq!(silent(&lanes, 10, 20), None);
        let outage = silent(&lanes, 20, 30).unwrap();
        assert_eq!((outage.since, outage.next_call), (at(30), at(35)));
        assert!(is_down(&lanes, 34));
        let mut now = 35;
        for pause in [10, 20, 40, 60, 60] {
            let probe = lanes.enter(Sink::Jira, at(now)).unwrap();
            assert!(is_down(&lanes, now), "one probe at a time");
            let outage = probe
                .leave(Heard::Silence("still none"), at(now + 10))
                .unwrap();
            assert_eq!(outage.since, at(30));
            assert_eq!(outage.next_call, at(now + 10 + pause));
            now += 10 + pause;
        }
        let probe = lanes.enter(Sink::Jira, at(now)).unwrap();
        let ended = probe.leave(Heard::Answer, at(now + 1)).unwrap();
        assert_eq!((ended.since, ended.ended), (at(30), Some(at(now + 1))));
        assert!(!is_down(&lanes, now + 1));
    }

    #[test]
    fn an_answer_in_between_and_what_was_not_asked_open_nothing() {
        let lanes = Lanes::default();
        for _ in 0..10 {
            assert_eq!(silent(&lanes, 0, 1), None);
            assert_eq!(silent(&lanes, 0, 1), None);
            let place = lanes.enter(Sink::Jira, at(2)).unwrap();
            assert_eq!(place.leave(Heard::Nothing, at(2)), None);
            let place = lanes.enter(Sink::Jira, at(2)).unwrap();
            assert_eq!(place.leave(Heard::Answer, at(3)), None);
        }
    }

    #[test]
    fn a_probe_that_dies_and_a_clock_that_is_set_back_end_no_outage_for_ever() {
        let lanes = Lanes::default();
        for _ in 0..FAULTS {
            let _opened = silent(&lanes, 0, 1);
        }
        drop(lanes.enter(Sink::Jira, at(6)).unwrap());
        assert!(!is_down(&lanes, 7));
        assert!(!is_down(&lanes, -3 * 3600));
    }
}
