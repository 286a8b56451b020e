//! When a timer runs: six-field NCRONTAB or a time span, in UTC as in Azure.
//!
//! Pure: `now` is a parameter.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// A parsed schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Cron(Box<Cron>),
    Every(TimeDelta),
}

impl Schedule {
    /// Parses `{second} {minute} {hour} {day} {month} {day of week}` or `hh:mm:ss`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let kind = if let Some(span) = parse_time_span(text).filter(|span| !span.is_zero()) {
            Kind::Every(
                TimeDelta::from_std(span).map_err(|_| format!("schedule `{text}` is too long"))?,
            )
        } else {
            // NCRONTAB wants the day of the month *and* the day of the week to fit.
            let parser = CronParser::builder()
                .seconds(Seconds::Required)
                .dom_and_dow(true)
                .build();
            Kind::Cron(Box::new(
                parser
                    .parse(text)
                    .map_err(|error| format!("schedule `{text}`: {error}"))?,
            ))
        };
        Ok(Self {
            text: text.to_owned(),
            kind,
        })
    }

    /// The schedule as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first time after `now`; `None` when there is none left.
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.kind {
            Kind::Cron(cron) => cron.find_next_occurrence(&now, false).ok(),
            Kind::Every(span) => now.checked_add_signed(*span),
        }
    }

    /// Such schedules are not monitored by the host: their `ScheduleStatus` is null.
    pub fn more_than_once_a_minute(&self) -> bool {
        let Some(mut earlier) = self.next_after(DateTime::UNIX_EPOCH) else {
            return false;
        };
        for _ in 0..5 {
            let Some(later) = self.next_after(earlier) else {
                return false;
            };
            if later - earlier < TimeDelta::minutes(1) {
                return true;
            }
            earlier = later;
        }
        false
    }
}

/// .NET's `[d.]hh:mm:ss[.fff]`.
pub(crate) fn parse_time_span(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let (first, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = first
        .split_once('.')
        .map_or(("0", first), |(days, hours)| (days, hours));
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let (days, hours, minutes): (u64, u64, u64) = (
        days.parse().ok()?,
        hours.parse().ok()?,
        minutes.parse().ok()?,
    );
    let seconds: u64 = whole.parse().ok()?;
    if hours > 23
        || minutes > 59
        || seconds > 59
        || fraction.len() > 7
        || !fraction.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    let whole = days
        .checked_mul(86_400)?
        .checked_add(hours * 3600 + minutes * 60 + seconds)?;
    Some(Duration::from_secs(whole) + Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn seconds_come_first() {
        let every_minute = Schedule::parse("0 * * * * *").unwrap();
        assert_eq!(
            every_minute.next_after(at("2026-01-01T00:00:30Z")),
            Some(at("2026-01-01T00:01:00Z"))
        );
        assert!(!every_minute.more_than_once_a_minute());
        assert!(
            Schedule::parse("*/5 * * * * *")
                .unwrap()
                .more_than_once_a_minute()
        );
        assert!(
            Schedule::parse("0,30 0 8 * * *")
                .unwrap()
                .more_than_once_a_minute()
        );
        assert!(Schedule::parse("* * * * *").is_err());
    }

    #[test]
    fn both_days_must_fit() {
        let friday_13 = Schedule::parse("0 0 0 13 * 5").unwrap();
        assert_eq!(
            friday_13.next_after(at("2026-03-14T00:00:00Z")),
            Some(at("2026-11-13T00:00:00Z"))
        );
    }

    #[test]
    fn time_spans_are_dot_nets() {
        assert_eq!(parse_time_span("00:00:30"), Some(Duration::from_secs(30)));
        assert_eq!(
            parse_time_span("1.02:03:04.5"),
            Some(Duration::from_millis(93_784_500))
        );
        for text in ["", "30", "00:60:00", "-1", "a:b:c", "00:00:00:00"] {
            assert_eq!(parse_time_span(text), None, "{text}");
        }
        assert_eq!(
            Schedule::parse("00:05:00")
                .unwrap()
                .next_after(at("2026-01-01T00:00:30Z")),
            Some(at("2026-01-01T00:05:30Z"))
        );
    }
}
