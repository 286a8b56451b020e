//! Whether, and how far back, the platforms are asked.

use chrono::TimeDelta;

use super::reader::Reader;
use crate::patrol::PatrolSettings;

pub(super) fn patrol(r: &mut Reader<'_>) -> PatrolSettings {
    let default = PatrolSettings::default();
    let hours = r.number("PATROL_RESUME_HOURS", 1, 24 * 30);
    PatrolSettings {
        on: r.flag("PATROL"),
        resume: hours.map_or(default.resume, TimeDelta::hours),
        silence: r
            .minutes("PATROL_SILENCE_MINUTES", 7 * 24 * 60)
            .unwrap_or(default.silence),
    }
}
