//! A post whose answer was lost is looked for in its channel, by its mark.

use chrono::{DateTime, TimeDelta, Utc};

use super::Bot;
use crate::fault::Fault;
use crate::sinks::Step;
use crate::ticket::{Intent, TeamsRecord};

/// A message may be found only some seconds after it was posted.
const SETTLED: TimeDelta = TimeDelta::seconds(10);

pub(super) enum Looked {
    Wait(Step<TeamsRecord>),
    Found(String),
    NotThere,
    /// The channel cannot be read.
    Blind,
}

impl Bot {
    /// Looks for a post of unknown outcome.
    pub(super) async fn look_for(
        &self,
        below: Option<&str>,
        mark: &str,
        (team, channel): (Option<&str>, &str),
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<Looked, Fault> {
        let settled = intent.since + SETTLED;
        if let Ok(wait) = (settled - now).to_std()
            && !wait.is_zero()
        {
            let why = "a post whose answer was lost is looked for".to_owned();
            return Ok(Looked::Wait(Step::Wait(wait, why)));
        }
        let Some(team) = team.filter(|_| !self.shared().no_history) else {
            return Ok(Looked::Blind);
        };
        let marked = (self.settings.app_id.as_str(), mark);
        match self
            .client
            .find((team, channel), below, marked, intent.since)
            .await
        {
            Ok(Some(id)) => Ok(Looked::Found(id)),
            Ok(None) => Ok(Looked::NotThere),
            Err(failed) if matches!(failed.status(), Some(401 | 403)) => {
                self.shared().no_history = true;
                Ok(Looked::Blind)
            }
            // The message above is gone, and what stands below it with it.
            Err(failed) if failed.status() == Some(404) => Ok(Looked::NotThere),
            Err(failed) => Err(failed.fault()),
        }
    }
}
