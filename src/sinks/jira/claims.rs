//! Who may send a call that must not be sent twice.
//!
//! A call is claimed on the ticket's record (when, and by which process) before it is sent. The process
//! that holds the claim knows whether it has sent the call since; every other reader, and the same process
//! after a restart, must assume that it was sent. So memory only ever saves a wait: forgetting it is safe.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// A claim older than this is renewed before it is used: others may have begun to look for its effect.
const FRESH: TimeDelta = TimeDelta::seconds(15);
/// Beyond this many remembered calls everything is forgotten, with a new name for ourselves.
const MOST: usize = 10_000;

/// How a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Ours and unused: the call may be sent.
    Ours,
    /// Ours, and either too old to be used or used with a known outcome: claim again.
    Over,
    /// The call may have been sent: look for its effect.
    Unknown,
}

/// The claims of this process.
#[derive(Debug)]
pub(super) struct Claims(Mutex<Memory>);

#[derive(Debug)]
struct Memory {
    name: String,
    /// Calls under way, unanswered (`false`), or over (`true`).
    used: BTreeMap<(String, DateTime<Utc>), bool>,
    made: BTreeMap<String, String>,
}

impl Claims {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Memory {
            name: fresh_name(),
            used: BTreeMap::new(),
            made: BTreeMap::new(),
        }))
    }

    /// The name to claim under.
    pub(super) fn name(&self) -> String {
        self.memory().name.clone()
    }

    pub(super) fn standing(
        &self,
        what: &str,
        by: Option<&str>,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Standing {
        let memory = self.memory();
        if by != Some(memory.name.as_str()) {
            return Standing::Unknown;
        }
        match memory.used.get(&(what.to_owned(), since)) {
            Some(true) => Standing::Over,
            Some(false) => Standing::Unknown,
            None if now - since > FRESH => Standing::Over,
            None => Standing::Ours,
        }
    }

    /// Uses the claim, just before the call. `false`: another task of this process was faster.
    pub(super) fn spend(&self, what: &str, since: DateTime<Utc>) -> bool {
        let mut memory = self.memory();
        if memory.used.len() >= MOST {
            *memory = Memory {
                name: fresh_name(),
                used: BTreeMap::new(),
                made: BTreeMap::new(),
            };
            return false;
        }
        memory
            .used
            .insert((what.to_owned(), since), false)
            .is_none()
    }

    /// The call's outcome is known: nothing more will come of this claim.
    pub(super) fn end(&self, what: &str, since: DateTime<Utc>) {
        self.memory().used.insert((what.to_owned(), since), true);
    }

    /// Remembers what came of the call, should storing it fail.
    pub(super) fn remember(&self, what: &str, made: &str) {
        let mut memory = self.memory();
        if memory.made.len() >= MOST {
            memory.made.clear();
        }
        memory.made.insert(what.to_owned(), made.to_owned());
    }

    /// What came of the call, if this process made it.
    pub(super) fn made(&self, what: &str) -> Option<String> {
        self.memory().made.get(what).cloned()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
