//! Whether, and how far back, the platforms are asked.

use chrono::TimeDelta;

use super::reader::{Reader, list};
use crate::patrol::PatrolSettings;
use crate::patrol::rules::{Expect, Volumes};

pub(super) fn patrol(r: &mut Reader<'_>) -> PatrolSettings {
    let default = PatrolSettings::default();
    let mut expect = Expect::default();
    for item in list(r.text("EXPECT"), ';') {
        if let Err(why) = expect.add(&item) {
            r.problem("EXPECT", why);
        }
    }
    let mut volumes = Volumes::default();
    for item in list(r.text("VOLUME"), ';') {
        if let Err(why) = volumes.add(&item) {
            r.problem("VOLUME", why);
        }
    }
    let hours = r.number("PATROL_RESUME_HOURS", 1, 24 * 30);
    PatrolSettings {
        on: r.flag("PATROL"),
        resume: hours.map_or(default.resume, TimeDelta::hours),
        silence: r
            .minutes("PATROL_SILENCE_MINUTES", 7 * 24 * 60)
            .unwrap_or(default.silence),
        expect,
        volumes,
    }
}
