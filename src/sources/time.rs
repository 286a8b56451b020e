//! One tolerant reader for every clock of the outside world.
//!
//! In: a text or a number as vendors write times: RFC 3339 with up to nine fraction digits and any zone
//! (`Z`, `+00:00`, `+0000`), the same without a zone (taken as UTC) or with a blank for the `T`, US dates of
//! old log alerts (`3/22/2019 1:36:31 PM`), seconds or milliseconds since 1970, Python's and JIRA's forms.
//! Out: UTC, or nothing; a time that cannot be read never spoils a failure.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Utc};
use serde_json::Value;

/// Reads a time from text.
pub fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return epoch(number);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return sane(time.with_timezone(&Utc));
    }
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f %#z",
        "%a, %d %b %Y %H:%M:%S %#z",
    ] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return sane(time.with_timezone(&Utc));
        }
    }
    let local = text
        .strip_suffix(['Z', 'z'])
        .or_else(|| text.strip_suffix(" UTC"))
        .unwrap_or(text)
        .trim_end();
    for format in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
        "%m/%d/%Y %I:%M:%S%.f %p",
        "%m/%d/%Y %I:%M %p",
        "%m/%d/%Y %H:%M:%S%.f",
        "%m/%d/%Y %H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(local, format) {
            return sane(time.and_utc());
        }
    }
    NaiveDate::parse_from_str(local, "%Y-%m-%d")
        .ok()?
        .and_hms_opt(0, 0, 0)
        .and_then(|time| sane(time.and_utc()))
}

/// Reads a time from a JSON value: text, or a number of seconds or milliseconds.
pub fn instant_of(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => instant(text),
        Value::Number(number) => number.as_f64().and_then(epoch),
        _ => None,
    }
}

/// Reads a length of time: ISO 8601 (`PT15M`, `P1DT2H`) or a clock's (`00:15:00`); at most 31 days.
pub fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let seconds = if let Some(iso) = text.strip_prefix(['P', 'p']) {
        iso_seconds(iso)?
    } else {
        clock_seconds(text)?
    };
    (seconds > 0 && seconds <= 31 * 86_400).then(|| Duration::seconds(seconds))
}

fn iso_seconds(text: &str) -> Option<i64> {
    let (mut total, mut number, mut in_time) = (0_i64, None::<i64>, false);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = Some(
                number
                    .unwrap_or(0)
                    .checked_mul(10)?
                    .checked_add(i64::from(digit))?,
            );
            continue;
        }
        let unit = match (letter.to_ascii_uppercase(), in_time) {
            ('T', false) => {
                in_time = true;
                continue;
            }
            ('W', false) => 604_800,
            ('D', false) => 86_400,
            ('H', true) => 3600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    number.is_none().then_some(total)
}

fn clock_seconds(text: &str) -> Option<i64> {
    let parts: Vec<i64> = text
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    match parts.as_slice() {
        [hours @ 0..=1000, minutes @ 0..60, seconds @ 0..60] => {
            Some(hours * 3600 + minutes * 60 + seconds)
        }
        _ => None,
    }
}

/// Seconds or milliseconds since 1970, told apart by their size.
fn epoch(number: f64) -> Option<DateTime<Utc>> {
    let millis = if number.abs() >= 1e11 {
        number
    } else {
        number * 1000.0
    };
    if !(millis.is_finite() && (1e11..1e13).contains(&millis)) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be far inside i64 just above"
    )]
    DateTime::from_timestamp_millis(millis as i64).and_then(sane)
}

/// Only times a pipeline can have failed at: senders write year 1 and year 9999 for "none".
fn sane(time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let year = chrono::Datelike::year(&time);
    (1990..2200).contains(&year).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_one_moment_is_read() {
        let expected = DateTime::parse_from_rfc3339("2026-07-27T09:15:31Z").unwrap();
        for text in [
            "2026-07-27T09:15:31Z",
            "2026-07-27T09:15:31.0000000Z",
            "2026-07-27T09:15:31+00:00",
            "2026-07-27T11:15:31.000+0200",
            "2026-07-27 09:15:31+00:00",
            "2026-07-27 09:15:31.000000 +0000",
            "2026-07-27 09:15:31",
            "2026-07-27 09:15:31 UTC",
            "2026-07-27T09:15:31",
            "7/27/2026 9:15:31 AM",
            "07/27/2026 09:15:31",
            "1785143731",
            "1785143731000",
            "1785143731.000100",
            " 2026-07-27T09:15:31Z ",
            "Mon, 27 Jul 2026 09:15:31 +0000",
        ] {
            let read = instant(text).unwrap_or_else(|| panic!("not read: {text}"));
            assert_eq!(read.timestamp(), expected.timestamp(), "{text}");
        }
        assert_eq!(
            instant("3/22/2019 1:36:31 PM").unwrap().to_rfc3339(),
            "2019-03-22T13:36:31+00:00"
        );
    }

    #[test]
    fn what_is_no_time_is_nothing() {
        for text in [
            "",
            "None",
            "soon",
            "0001-01-01T00:00:00Z",
            "NaN",
            "1e400",
            "-5",
            "12",
            "9999-12-31T23:59:59.9999999Z",
            "2026-13-45",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_read_and_bounded() {
        assert_eq!(span("PT15M"), Some(Duration::minutes(15)));
        assert_eq!(span("P1DT2H"), Some(Duration::hours(26)));
        assert_eq!(span("00:05:00"), Some(Duration::minutes(5)));
        for text in [
            "",
            "P",
            "PT",
            "PT99999999999999999999M",
            "P400D",
            "P1M",
            "PT5",
            "x",
        ] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
