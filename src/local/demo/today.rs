//! The samples are of some day; the demo plays them as of today.

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use regex::{Captures, Regex};

/// The patrol looks back for a while: what is reported here failed before that.
const BEFORE: TimeDelta = TimeDelta::minutes(30);

/// A date, with its time if it has one.
static DATE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(20\d{2}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}:\d{2}))?"));
/// Milliseconds since 1970, of these years.
static MILLISECONDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b1[6-9]\d{11}\b"));

#[expect(
    clippy::expect_used,
    reason = "a pattern of this file, which a test compiles"
)]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern that compiles")
}

/// The text with all its dates moved by the same number of days, so that the latest is of the last day on which that time
/// is over.
pub(super) fn moved(text: &str, now: DateTime<Utc>) -> Cow<'_, str> {
    let dated = DATE.captures_iter(text).filter_map(|found| {
        let date: NaiveDate = found.get(1)?.as_str().parse().ok()?;
        let time = found.get(2).and_then(|time| time.as_str().parse().ok());
        Some(date.and_time(time.unwrap_or(NaiveTime::MIN)).and_utc())
    });
    let counted = MILLISECONDS
        .find_iter(text)
        .filter_map(|found| DateTime::from_timestamp_millis(found.as_str().parse().ok()?));
    let Some(latest) = dated.chain(counted).max() else {
        return Cow::Borrowed(text);
    };
    let days = (now - BEFORE - latest).num_seconds().div_euclid(24 * 3600);
    let Ok(days) = u64::try_from(days) else {
        return Cow::Borrowed(text);
    };
    let dates = DATE.replace_all(text, |found: &Captures<'_>| {
        let whole = found.get(0).map_or("", |whole| whole.as_str());
        let date = found.get(1).map_or("", |date| date.as_str());
        let moved = date.parse::<NaiveDate>().ok();
        let moved = moved.and_then(|date| date.checked_add_days(Days::new(days)));
        moved.map_or_else(
            || whole.to_owned(),
            |moved| whole.replace(date, &moved.to_string()),
        )
    });
    let moved = MILLISECONDS.replace_all(&dates, |found: &Captures<'_>| {
        let number = found.get(0).map_or("", |number| number.as_str());
        let moved = number
            .parse::<u64>()
            .map(|number| number + days * 24 * 3_600_000);
        moved.map_or_else(|_| number.to_owned(), |moved| moved.to_string())
    });
    Cow::Owned(moved.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_dates_move_by_the_same_days_to_the_last_time_that_is_over() {
        let now = "2026-11-30T09:30:00Z".parse().unwrap();
        let text = r#"{"end": "2026-07-27T09:15:31.123Z", "start": "2026-07-26T23:00:00Z", "run_id": "scheduled__2026-07-27T00:00:00+00:00",
            "path": "sales/2026-07-27.csv", "at": 1785143240000, "id": 998877665544332}"#;
        let expected = text
            .replace("2026-07-27", "2026-11-29")
            .replace("2026-07-26", "2026-11-28")
            .replace("1785143240000", "1795943240000");
        assert_eq!(moved(text, now), expected);
        let later = "2026-11-30T09:50:00Z".parse().unwrap();
        assert!(moved(text, later).contains("2026-11-30T09:15:31.123Z"));
        assert_eq!(moved("no date at all, 12345", now), "no date at all, 12345");
    }
}
