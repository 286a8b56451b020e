//! The intents of this process: which of the recorded calls it has not sent yet (the protocol is explained at [`Intent`]).
//!
//! Memory only ever saves a look or a wait: after a restart, or when it was forgotten, an intent is of unknown outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::ticket::{Intent, Work};

/// Beyond this many remembered intents all are forgotten.
const MOST: usize = 10_000;

/// How an intent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its call was not sent yet, and may be.
    Unsent,
    /// Nothing came of it, and nothing will: record another one first.
    Over,
    /// The call may have been sent: look for its effect.
    Unknown,
    /// It created this, and storing that has failed.
    Made(String),
}

/// What this process knows of its intents, by their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Intents(Arc<Mutex<BTreeMap<String, Standing>>>);

impl Intents {
    /// A new one, to be recorded.
    pub(super) fn open(&self, what: Work, now: DateTime<Utc>) -> Intent {
        let by = format!("{:016x}", fastrand::u64(..));
        let mut memory = self.memory();
        if memory.len() >= MOST {
            memory.clear();
        }
        memory.insert(by.clone(), Standing::Unsent);
        Intent {
            what,
            since: now,
            by,
        }
    }

    pub(super) fn standing(&self, intent: &Intent, now: DateTime<Utc>) -> Standing {
        match self.memory().get(&intent.by) {
            Some(Standing::Unsent) if now - intent.since > Intent::FRESH => Standing::Over,
            Some(standing) => standing.clone(),
            None => Standing::Unknown,
        }
    }

    /// Right before the call; from here on its outcome is unknown. `false`: another task of this process was faster.
    pub(super) fn spend(&self, intent: &Intent) -> bool {
        self.memory()
            .get_mut(&intent.by)
            .filter(|standing| **standing == Standing::Unsent)
            .map(|standing| *standing = Standing::Unknown)
            .is_some()
    }

    /// The call did nothing, or is not made after all.
    pub(super) fn end(&self, intent: &Intent) {
        self.memory().insert(intent.by.clone(), Standing::Over);
    }

    /// The call created this: remembered, should storing it fail.
    pub(super) fn made(&self, intent: &Intent, what: &str) {
        let made = Standing::Made(what.to_owned());
        self.memory().insert(intent.by.clone(), made);
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
