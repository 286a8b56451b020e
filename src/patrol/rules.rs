//! Rules of `EXPECT` and `VOLUME`: names with `*`, each with an interval or a share. Pure.

use chrono::TimeDelta;
use globset::{GlobBuilder, GlobMatcher};

/// The longest interval of a rule.
const LONGEST: TimeDelta = TimeDelta::days(366);

/// What should run how often.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Rhythms are learned from the runs that were seen.
    pub learn: bool,
    rules: Vec<(GlobMatcher, TimeDelta)>,
}

impl Expect {
    /// Reads one item: `learn`, or `pl_daily_*=24h`.
    pub fn add(&mut self, item: &str) -> Result<(), String> {
        if item.eq_ignore_ascii_case("learn") {
            self.learn = true;
            return Ok(());
        }
        let (name, every) = split(item)?;
        let every = interval(every)
            .ok_or_else(|| format!("{every} is no interval such as 30m, 24h or 7d"))?;
        self.rules.push((name, every));
        Ok(())
    }

    /// Is anything expected at all?
    pub fn is_on(&self) -> bool {
        self.learn || !self.rules.is_empty()
    }

    /// The interval that a rule names for this unit; the first that fits.
    pub fn interval_of(&self, name: &str) -> Option<TimeDelta> {
        let mut fitting = self.rules.iter().filter(|(glob, _)| glob.is_match(name));
        fitting.next().map(|(_, every)| *every)
    }
}

/// What should move how much.
#[derive(Debug, Clone, Default)]
pub struct Volumes {
    rules: Vec<(GlobMatcher, f64)>,
}

impl Volumes {
    /// Reads one item: `pl_daily_*=50%`.
    pub fn add(&mut self, item: &str) -> Result<(), String> {
        let (name, share) = split(item)?;
        let number = share.trim_end_matches('%').trim().parse::<f64>();
        let share = number
            .ok()
            .filter(|share| (0.0..=100.0).contains(share))
            .ok_or_else(|| format!("{share} is no share such as 50%"))?;
        self.rules.push((name, share / 100.0));
        Ok(())
    }

    /// The share of its usual volume below which a run of this unit is told, as a fraction; the first rule that fits.
    pub fn share_of(&self, name: &str) -> Option<f64> {
        let mut fitting = self.rules.iter().filter(|(glob, _)| glob.is_match(name));
        fitting.next().map(|(_, share)| *share)
    }
}

fn split(item: &str) -> Result<(GlobMatcher, &str), String> {
    let (name, value) = item
        .rsplit_once('=')
        .ok_or_else(|| format!("{item} is not <name>=<value>"))?;
    let glob = GlobBuilder::new(name.trim())
        .case_insensitive(true)
        .build()
        .map_err(|_| format!("{name} is no pattern"))?;
    Ok((glob.compile_matcher(), value.trim()))
}

fn interval(text: &str) -> Option<TimeDelta> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    let every = match unit.to_ascii_lowercase() {
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        _ => None,
    }?;
    (every > TimeDelta::zero() && every <= LONGEST).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_wrong_ones_are_named() {
        let mut expect = Expect::default();
        for item in ["learn", "pl_daily_*=24h", "etl=30m", "weekly=7d"] {
            expect.add(item).unwrap();
        }
        assert!(expect.learn);
        assert_eq!(
            expect.interval_of("PL_Daily_sales"),
            Some(TimeDelta::hours(24))
        );
        assert_eq!(expect.interval_of("etl"), Some(TimeDelta::minutes(30)));
        assert_eq!(expect.interval_of("other"), None);
        for wrong in [
            "pl=",
            "pl",
            "pl=24",
            "pl=0h",
            "pl=-1h",
            "pl=9999999999999999d",
            "pl=1y",
        ] {
            assert!(expect.add(wrong).is_err(), "{wrong}");
        }
        let mut volumes = Volumes::default();
        volumes.add("pl_*=50%").unwrap();
        assert_eq!(volumes.share_of("pl_a"), Some(0.5));
        for wrong in ["pl", "pl=x%", "pl=101%", "pl=-1%"] {
            assert!(volumes.add(wrong).is_err(), "{wrong}");
        }
    }
}
