//! What is remembered of one scope from tick to tick: cursor, marks of what was seen, faults, and what waits. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::recovery::needs_proof;
use super::rhythm::Rhythm;
use super::rules::Expect;
use super::{Answer, DEEP, End, Memory, Outcome, PatrolSettings, Question, Recovery, volume};
use crate::digest::sha256;
use crate::failure::{Failure, Scope, Source};
use crate::redaction::cap;

/// Each question reaches this far back behind the cursor: rows are written late.
const OVERLAP: TimeDelta = TimeDelta::minutes(15);
/// A platform's clock may be this much ahead of ours.
const AHEAD: TimeDelta = TimeDelta::minutes(1);
/// How often failed ends of the last day are asked for again.
const DEEP_EVERY: TimeDelta = TimeDelta::hours(1);
/// How often what is rare is asked for.
const RARE_EVERY: TimeDelta = TimeDelta::minutes(5);
/// A window that did not fit into the calls of one tick is halved, down to this.
const SHORTEST: TimeDelta = TimeDelta::minutes(1);
/// How long the mark of a good end is kept: longer than any question but the deep one reaches back.
const KEPT: TimeDelta = TimeDelta::hours(2);
/// Marks of one scope, so that its row fits into the store.
const MARKS: usize = 9_000;
/// Good ends whose tickets are looked for.
const RECENT: TimeDelta = TimeDelta::hours(1);
/// Units of one scope whose last good end is remembered that long.
const UNITS: usize = 800;
/// Units of one scope whose rhythm is remembered.
const RHYTHMS: usize = 500;
/// A failed run waits this long for the run that called it.
const HOLD: TimeDelta = TimeDelta::minutes(30);
/// Runs that wait for their callers; more are accepted at once.
const HOLDS: usize = 20;
/// As much of its error is kept meanwhile; its platform is asked for the rest.
const HELD_MESSAGE: usize = 2_000;
/// The longest pause after faults that named none.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(5);
/// The longest wish to wait that is granted.
const LONGEST_WISH: TimeDelta = TimeDelta::hours(1);

/// One question without an answer is nobody's task.
const TRIES: u32 = 3;
/// No scope is silent before it was quiet for this long, or showed this many ends.
const QUIET: TimeDelta = TimeDelta::hours(72);
const USED: u64 = 20;

/// A scope that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was tried since.
    pub tries: u32,
}

/// A failed run whose caller has not ended: that one's failure will be the ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The failure, should the caller end well.
    pub failure: Failure,
    /// The caller.
    pub parent: String,
    /// Since when it waits.
    pub since: DateTime<Utc>,
}

/// One scope.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// Which, as [`Scope::id`].
    pub scope: String,
    /// As people read it.
    pub name: String,
    /// Its platform, by name.
    pub source: String,
    /// When it was asked first.
    pub since: Option<DateTime<Utc>>,
    /// Up to here everything was told.
    pub cursor: Option<DateTime<Utc>>,
    /// The longest window that fitted, in seconds, where one did not.
    pub span: Option<i64>,
    /// What was seen: digest of the mark → until when it is kept (seconds since 1970).
    pub seen: BTreeMap<String, i64>,
    /// When the units run that something is expected of.
    pub rhythms: BTreeMap<String, Rhythm>,
    /// What the last good runs moved, by unit, where a rule names it.
    pub volumes: BTreeMap<String, Vec<volume::Run>>,
    /// Good ends of the last hour, by unit.
    pub good: BTreeMap<String, Recovery>,
    /// What the client noted.
    pub memory: Memory,
    /// What waits for its caller.
    pub held: Vec<Held>,
    /// When it was asked last.
    pub asked_at: Option<DateTime<Utc>>,
    /// When it told everything last.
    pub answered_at: Option<DateTime<Utc>>,
    /// When the last day was looked through.
    pub deep_at: Option<DateTime<Utc>>,
    /// When what is rare was asked for.
    pub rare_at: Option<DateTime<Utc>>,
    /// Not asked before then.
    pub not_before: Option<DateTime<Utc>>,
    /// Why it cannot be asked, if so.
    pub trouble: Option<Trouble>,
    /// What could not be asked besides.
    pub gaps: Vec<String>,
    /// Failed ends seen so far.
    pub failed: u64,
    /// Good ends seen so far.
    pub succeeded: u64,
    /// The latest end of a run that was seen.
    pub last_end: Option<DateTime<Utc>>,
    /// How long the ends of the last tick that had any had been there, at most, in seconds.
    pub lag: Option<i64>,
    /// Calls of the last tick.
    pub calls: u32,
    /// The longest time without any end so far, in seconds.
    pub quiet: i64,
    /// The ticket about its silence, while it lasts.
    pub notice: Option<String>,
}

/// A scope that cannot be asked, or shows nothing, for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// `ScopeUnreachable` or `ScopeSilent`.
    pub kind: &'static str,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What people read.
    pub words: String,
}

impl Watch {
    /// A scope that was never asked.
    pub fn new(scope: &Scope) -> Self {
        let mut watch = Self::default();
        watch.name_after(scope);
        watch
    }

    /// The names may have changed in the configuration.
    pub fn name_after(&mut self, scope: &Scope) {
        scope.id.clone_into(&mut self.scope);
        scope.name.clone_into(&mut self.name);
        scope.source.name().clone_into(&mut self.source);
    }

    /// What to ask now; `None` while it asked not to be asked.
    pub fn question(&self, settings: &PatrolSettings, now: DateTime<Utc>) -> Option<Question> {
        if self.not_before.is_some_and(|until| now < until) {
            return None;
        }
        let since = self.since.unwrap_or(now);
        let cursor = self
            .cursor
            .unwrap_or(now)
            .max(now - settings.resume)
            .min(now);
        let due =
            |at: Option<DateTime<Utc>>, every| at.is_none_or(|at| now - at >= every || at > now);
        let to = self
            .span
            .map_or(now, |span| cursor + TimeDelta::seconds(span));
        Some(Question {
            since,
            from: cursor - OVERLAP,
            to: to.min(now) + AHEAD,
            now,
            narrow: self.span.is_some(),
            deep: self.since.is_some() && due(self.deep_at, DEEP_EVERY),
            rare: due(self.rare_at, RARE_EVERY),
            memory: self.memory.clone(),
        })
    }

    /// Was this end not handled yet, and did it happen since the patrol began?
    pub fn is_new(&self, end: &End, question: &Question) -> bool {
        let early = end.ended.is_some_and(|ended| ended < question.since);
        !early && !self.seen.contains_key(&digest(&end.mark))
    }

    /// It is handled.
    pub fn mark(&mut self, end: &End, now: DateTime<Utc>) {
        let kept = match end.outcome {
            Outcome::Failed(_) => DEEP + KEPT,
            Outcome::Succeeded | Outcome::Neither => KEPT,
        };
        // A run that ended long ago, found after a pause, is in reach of the question as long as a fresh one.
        let until = (now + kept).timestamp();
        if self.seen.insert(digest(&end.mark), until).is_some() {
            return;
        }
        match end.outcome {
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Neither => {}
        }
        let ended = end.ended.filter(|ended| *ended <= now);
        if let Some((last, ended)) = self.last_end.zip(ended) {
            self.quiet = self.quiet.max((ended - last).num_seconds());
        }
        self.last_end = self.last_end.max(ended);
    }

    /// Notes when a run began, where something is expected of its unit.
    pub fn note_start(&mut self, end: &End, expect: &Expect) {
        let expected = expect.learn || expect.interval_of(&end.name).is_some();
        // A failed task is no run of its own.
        let is_run = !matches!(&end.outcome, Outcome::Failed(failure) if needs_proof(failure));
        let known = self.rhythms.contains_key(end.unit.key());
        let (Some(began), true) = (end.began, expected && is_run) else {
            return;
        };
        if known || self.rhythms.len() < RHYTHMS {
            let rhythm = self.rhythms.entry(end.unit.key().to_owned()).or_default();
            end.kind.clone_into(&mut rhythm.kind);
            rhythm.id.clone_from(&end.id);
            rhythm.name.clone_from(&end.name);
            rhythm.note(began);
        }
    }

    /// Notes a good end; its ticket may not be open yet.
    pub fn note_good(&mut self, end: &End, now: DateTime<Utc>) {
        let recovery = Recovery::of(end, now);
        let known = self.good.get(end.unit.key());
        if known.is_none_or(|known| known.began <= recovery.began) {
            self.good.insert(end.unit.key().to_owned(), recovery);
        }
    }

    /// What the answer changes: where the next question begins, or when.
    pub fn learn(&mut self, question: &Question, answer: Answer) {
        let now = question.now;
        self.since.get_or_insert(now);
        self.asked_at = Some(now);
        self.calls = answer.calls;
        self.gaps = answer.gaps;
        self.forget(now);
        let Some(fault) = answer.fault else {
            self.memory = answer.memory;
            self.trouble = None;
            self.not_before = None;
            self.rare_at = question.rare.then_some(now).or(self.rare_at);
            self.deep_at = (question.deep || self.deep_at.is_none())
                .then_some(now)
                .or(self.deep_at);
            if answer.whole {
                self.answered_at = Some(now);
                self.cursor = Some((question.to - AHEAD).min(now));
                self.span = self
                    .span
                    .map(|span| span.saturating_mul(2))
                    .filter(|span| *span < TimeDelta::hours(24).num_seconds());
            } else if answer.too_long {
                self.narrow(question);
            }
            return;
        };
        if answer.too_long {
            self.narrow(question);
        }
        let tries = self.trouble.as_ref().map_or(0, |trouble| trouble.tries);
        let pause = match &fault {
            crate::fault::Fault::Transient {
                retry_after: Some(wish),
                ..
            } => TimeDelta::from_std(*wish)
                .unwrap_or(LONGEST_WISH)
                .min(LONGEST_WISH),
            // The next tick tries again, then every second, fourth … one.
            _ => (TimeDelta::seconds(30) * 2_i32.saturating_pow(tries.min(8))).min(LONGEST_PAUSE),
        };
        self.not_before = Some(now + pause);
        self.trouble = Some(Trouble {
            reason: fault.reason().to_owned(),
            since: self
                .trouble
                .as_ref()
                .map_or(now, |trouble| trouble.since.min(now)),
            tries: tries.saturating_add(1),
        });
    }

    /// How late the ends of this tick were seen, at most.
    pub fn note_lag(&mut self, new: &[End], now: DateTime<Utc>) {
        let lags = new
            .iter()
            .filter_map(|end| Some((now - end.ended?).num_seconds().max(0)));
        if let Some(most) = lags.max() {
            self.lag = Some(most);
        }
    }

    /// The platform as people read it.
    pub fn platform(&self) -> &'static str {
        Source::from_name(&self.source).map_or("", Source::label)
    }

    /// Is it silent for too long? Unreachable: several questions in a row got no answer. Silent: it answers, and nothing has
    /// ended for four times as long as ever before, as where the right to see the jobs was taken away.
    pub fn silence(&self, settings: &PatrolSettings, now: DateTime<Utc>) -> Option<Silence> {
        let (platform, name) = (self.platform(), &self.name);
        if let Some(trouble) = &self.trouble {
            let long = now - trouble.since >= settings.silence && trouble.tries >= TRIES;
            return long.then(|| Silence {
                kind: "ScopeUnreachable",
                since: trouble.since,
                words: format!(
                    "{platform} {name} could not be asked for ended runs since {}: {}",
                    trouble.since.format("%Y-%m-%d %H:%M UTC"),
                    trouble.reason
                ),
            });
        }
        let last = self.last_end?;
        let usual = TimeDelta::seconds(self.quiet.saturating_mul(4)).max(QUIET);
        let long = self.failed + self.succeeded >= USED && now - last >= usual;
        long.then(|| Silence {
            kind: "ScopeSilent",
            since: last,
            words: format!(
                "{platform} {name} answers, and shows no run that ended since {}. Was the right to see its runs taken away, or does nothing run there any more?",
                last.format("%Y-%m-%d %H:%M UTC")
            ),
        })
    }

    fn narrow(&mut self, question: &Question) {
        let asked = question.to - AHEAD - self.cursor.unwrap_or(question.now);
        let half = (asked / 2).max(SHORTEST);
        self.span = Some(half.num_seconds());
    }

    fn forget(&mut self, now: DateTime<Utc>) {
        let at = now.timestamp();
        self.seen.retain(|_, until| *until > at);
        if self.seen.len() > MARKS {
            let mut all: Vec<i64> = self.seen.values().copied().collect();
            all.sort_unstable();
            let oldest = all.get(all.len() - MARKS).copied().unwrap_or(at);
            self.seen.retain(|_, until| *until > oldest);
        }
        self.good.retain(|_, good| now - good.seen_at < RECENT);
        if self.good.len() > UNITS {
            let mut all: Vec<DateTime<Utc>> = self.good.values().map(|good| good.seen_at).collect();
            all.sort_unstable();
            let oldest = all.get(all.len() - UNITS).copied().unwrap_or(now);
            self.good.retain(|_, good| good.seen_at > oldest);
        }
    }

    /// Which of the failed ends wait for their callers: they are kept, the others are handed back. A run whose caller has
    /// failed as well belongs to the caller's ticket, which looks for its cause in it.
    pub fn hold(
        &mut self,
        failed: Vec<End>,
        bad: &BTreeSet<String>,
        now: DateTime<Utc>,
    ) -> Vec<End> {
        let mut ready = Vec::new();
        for end in failed {
            let Outcome::Failed(failure) = &end.outcome else {
                continue;
            };
            match &end.parent {
                Some(parent) if bad.contains(&parent.to_lowercase()) => {}
                Some(parent) if self.held.len() < HOLDS => {
                    let mut failure = (**failure).clone();
                    failure.message = cap(&failure.message, HELD_MESSAGE);
                    if !self.held.iter().any(|held| held.failure.key == failure.key) {
                        self.held.push(Held {
                            failure,
                            parent: parent.clone(),
                            since: now,
                        });
                    }
                }
                _ => ready.push(end),
            }
        }
        ready
    }

    /// What waited, now that some callers are known to have ended: those of `bad` ones are dropped, those of `good` ones and
    /// those that waited too long are handed back.
    pub fn release(
        &mut self,
        bad: &BTreeSet<String>,
        good: &BTreeSet<String>,
        now: DateTime<Utc>,
    ) -> Vec<Failure> {
        let mut free = Vec::new();
        self.held.retain(|held| {
            let parent = held.parent.to_lowercase();
            if bad.contains(&parent) {
                return false;
            }
            let over = good.contains(&parent) || now - held.since >= HOLD;
            if over {
                free.push(held.failure.clone());
            }
            !over
        });
        free
    }
}

fn digest(mark: &str) -> String {
    sha256(mark).get(..16).unwrap_or_default().to_owned()
}
