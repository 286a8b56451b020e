//! Numbers by day: counted from the rows of lists, and kept.
//!
//! A day that is over is counted by the sweep and kept by compare-and-set: whoever counted from an older state loses. What
//! is read while somebody waits is one page of kept days, and the rows of the days that may still change much. Nothing is
//! written there, and nothing with a failure.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, NaiveDate, TimeDelta, Utc};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::list::last_days;
use super::{INDEX, TicketStore, day_name, decode, encode};
use crate::fault::Fault;
use crate::storage::Inserted;
use crate::ticket::numbers::{Numbers, Stretch, Summary};

/// In the index: numbers of a day.
pub(super) const ROLLED: &str = "rolled";
/// In the index: weeks whose digest was posted.
const DIGEST: &str = "digest";
/// A day with more tickets is not counted while somebody waits: the sweep counts it.
const LARGE: usize = 2000;
/// Tickets of the last hours that are looked at one by one.
const RECENT: usize = 5000;
/// How often the sweep counts again: today, and a day that is over.
const COUNTED_EVERY: TimeDelta = TimeDelta::minutes(4);
const KEPT: TimeDelta = TimeDelta::hours(1);
/// Days whose tickets are still being closed: each of them is counted again every hour or so.
const LIVELY: i64 = 8;
/// The most days that are asked for.
const DAYS: i64 = 90;

/// Numbers of a day as they are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rolled {
    at: DateTime<Utc>,
    numbers: Numbers,
}

/// A kept day, and its version.
struct Kept {
    rolled: Rolled,
    etag: crate::storage::ETag,
}

impl Kept {
    /// Is it as good as what would be counted now? Large days are always taken as they are kept.
    fn is_settled(&self, day: &str, now: DateTime<Utc>) -> bool {
        let lively = day_name((now - TimeDelta::days(LIVELY)).date_naive());
        day < lively.as_str() || self.rolled.numbers.all >= LARGE
    }
}

impl TicketStore {
    /// Numbers of the last `days` days (1: of 24 hours, by the hour).
    pub async fn summary(&self, now: DateTime<Utc>, days: u32) -> Result<Summary, Fault> {
        if days <= 1 {
            return self.last_hours(now).await;
        }
        let kept = &self.kept_days().await?;
        let days_of = last_days(now, days).collect::<Vec<String>>();
        let mut found: BTreeMap<NaiveDate, Numbers> = BTreeMap::new();
        // A few days at a time: each asks all its shards at once.
        for few in days_of.chunks(8) {
            let counted = few.iter().map(|day| async move {
                let numbers = match kept.get(day) {
                    Some(kept) if kept.is_settled(day, now) => kept.rolled.numbers.clone(),
                    _ => self.count_day(day, LARGE).await?,
                };
                Ok::<_, Fault>((day.clone(), numbers))
            });
            for (day, numbers) in try_join_all(counted).await? {
                if let Ok(date) = NaiveDate::parse_from_str(&day, "%Y%m%d") {
                    found.insert(date, numbers);
                }
            }
        }
        let tomorrow = now.date_naive().succ_opt();
        let stretch = |(day, numbers): (NaiveDate, Numbers)| Stretch {
            from: day.and_time(chrono::NaiveTime::MIN).and_utc(),
            numbers,
        };
        let seen = found
            .into_iter()
            .filter(|(day, numbers)| numbers.all > 0 || Some(*day) != tomorrow);
        Ok(Summary::of(days, seen.map(stretch).collect()))
    }

    async fn last_hours(&self, now: DateTime<Utc>) -> Result<Summary, Fault> {
        let hour = TimeDelta::hours(1);
        let this = now.duration_trunc(hour).unwrap_or(now);
        let mut stretches: Vec<Stretch> = (0..24)
            .rev()
            .map(|back| Stretch {
                from: this - TimeDelta::hours(back),
                numbers: Numbers::default(),
            })
            .collect();
        let (rows, more) = self.list(now, 1, None, RECENT, |_| true).await?;
        for row in &rows {
            let at = row.received_at.min(now);
            let place = stretches.iter_mut().rev().find(|one| one.from <= at);
            if let Some(stretch) = place {
                stretch.numbers.add(row);
            }
        }
        let mut summary = Summary::of(1, stretches);
        summary.total.partial = more;
        Ok(summary)
    }

    /// Counts today, yesterday and one more day, if what is kept of them is old: one that nobody counted yet, or in turn one
    /// of the last days, whose tickets are being closed, or of all.
    pub async fn roll_up(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let kept = self.kept_days().await?;
        let day = |back| day_name((now - TimeDelta::days(back)).date_naive());
        let turn = now.timestamp().div_euclid(300);
        let in_turn = if turn % 2 == 0 {
            turn / 2 % LIVELY
        } else {
            turn / 2 % DAYS
        };
        let missing = (2..DAYS).map(day).find(|day| !kept.contains_key(day));
        let today = day(0);
        let mut days = vec![
            today.clone(),
            day(1),
            missing.unwrap_or_else(|| day(in_turn)),
        ];
        days.dedup();
        for day in days {
            let known = kept.get(&day);
            let often = if day == today { COUNTED_EVERY } else { KEPT };
            if known.is_none_or(|kept| now - kept.rolled.at >= often) {
                let mut numbers = self.count_day(&day, usize::MAX).await?.kept();
                // Its tickets were deleted for their age: what was counted before stays.
                if let Some(kept) = known.filter(|kept| kept.rolled.numbers.all > numbers.all) {
                    numbers = kept.rolled.numbers.clone();
                }
                self.keep_day(&day, numbers, known, now).await?;
            }
        }
        let oldest = kept
            .iter()
            .find(|(day, _)| **day < day_name((now - TimeDelta::days(DAYS + 10)).date_naive()));
        if let Some((old, kept)) = oldest {
            let etag = Some(&kept.etag);
            self.storage.delete(INDEX, ROLLED, old, etag).await?;
        }
        Ok(())
    }

    /// Takes the digest of a week: `false` where somebody did.
    pub async fn take_digest(&self, week: &str, now: DateTime<Utc>) -> Result<bool, Fault> {
        let taken = encode(&now)?;
        let inserted = self.storage.insert(INDEX, DIGEST, week, &taken).await?;
        Ok(matches!(inserted, Inserted::Created(_)))
    }

    /// It was not posted after all.
    pub async fn give_digest_back(&self, week: &str) -> Result<(), Fault> {
        let given = self.storage.delete(INDEX, DIGEST, week, None).await?;
        tracing::debug!(digest.week = week, given, "the digest can be taken again");
        Ok(())
    }

    async fn kept_days(&self) -> Result<BTreeMap<String, Kept>, Fault> {
        let page = self.storage.scan(INDEX, ROLLED, "", "", 200, None).await?;
        let mut kept = BTreeMap::new();
        for entity in page.entities {
            match decode("numbers of a day", &entity.document) {
                Ok(rolled) => {
                    let etag = entity.etag;
                    kept.insert(entity.row, Kept { rolled, etag });
                }
                Err(fault) => {
                    tracing::error!(row = %entity.row, fault = fault.reason(), "the numbers of a day cannot be read");
                }
            }
        }
        Ok(kept)
    }

    /// Another process that counted meanwhile knows no less.
    async fn keep_day(
        &self,
        day: &str,
        numbers: Numbers,
        known: Option<&Kept>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let rolled = encode(&Rolled { at: now, numbers })?;
        match known {
            Some(kept) => drop(
                self.storage
                    .swap(INDEX, ROLLED, day, &kept.etag, &rolled)
                    .await?,
            ),
            None => drop(self.storage.insert(INDEX, ROLLED, day, &rolled).await?),
        }
        Ok(())
    }
}
