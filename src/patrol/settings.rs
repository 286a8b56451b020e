//! What the patrol may do.

use chrono::TimeDelta;

use super::rules::{Expect, Volumes};

/// Whether, and how far back, platforms are asked.
#[derive(Debug, Clone)]
pub struct PatrolSettings {
    /// `PATROL`.
    pub on: bool,
    /// `PATROL_RESUME_HOURS`: after a longer pause what lies further back is not looked for.
    pub resume: TimeDelta,
    /// `PATROL_SILENCE_MINUTES`: a platform that cannot be asked for longer than this is a ticket.
    pub silence: TimeDelta,
    /// `EXPECT`: what should run how often.
    pub expect: Expect,
    /// `VOLUME`: what should move how much.
    pub volumes: Volumes,
}

impl Default for PatrolSettings {
    fn default() -> Self {
        Self {
            on: true,
            resume: TimeDelta::hours(24),
            silence: TimeDelta::minutes(15),
            expect: Expect::default(),
            volumes: Volumes::default(),
        }
    }
}
