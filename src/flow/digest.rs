//! The weekly digest: on Monday, once, for whoever reads `SLACK_DIGEST_CHANNEL`.

use chrono::{DateTime, Datelike, Timelike, Utc, Weekday};

use super::Flow;
use crate::fault::Fault;

/// It is sent after this hour (UTC).
const HOUR: u32 = 6;

impl Flow {
    /// Posts the digest of the last seven days, if it is time and nobody did. Taken first: a crash loses one, and never posts
    /// two.
    pub(super) async fn send_digest(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        let slack = self.sinks.slack.as_ref();
        let Some(slack) = slack.filter(|slack| slack.digest_channel().is_some()) else {
            return Ok(());
        };
        if now.weekday() != Weekday::Mon || now.hour() < HOUR {
            return Ok(());
        }
        let week = format!("{}-{:02}", now.iso_week().year(), now.iso_week().week());
        if !self.store.take_digest(&week, now).await? {
            return Ok(());
        }
        let summary = self.store.summary(now, 7).await?;
        match slack.post_digest(&summary, now).await {
            Err(fault) if fault.is_transient() => {
                self.store.give_digest_back(&week).await?;
                tracing::warn!(reason = fault.reason(), "the weekly digest waits");
                Ok(())
            }
            Err(fault) => {
                tracing::error!(reason = fault.reason(), "the weekly digest was not posted");
                Ok(())
            }
            Ok(()) => {
                tracing::info!(digest.week = week, "the weekly digest was posted");
                Ok(())
            }
        }
    }
}
