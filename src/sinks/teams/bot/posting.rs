//! A post has no key by which Teams would know a repeat: whether it may be made now, and what became of one.

use chrono::{DateTime, TimeDelta, Utc};

use super::Bot;
use crate::fault::Fault;
use crate::sinks::teams::client::Failed;
use crate::sinks::{Standing, Step, Turn};
use crate::ticket::{Intent, TeamsRecord, Ticket};

impl Bot {
    /// May the intended card be posted now; is this the first call for it? An intent that is over is recorded again first, and
    /// its place in line is kept.
    pub(super) fn may_post(
        &self,
        ticket: &Ticket,
        record: &TeamsRecord,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<bool, Box<Step<TeamsRecord>>> {
        let who = ticket.id.as_str();
        let standing = self.intents.standing(intent, now);
        if standing == Standing::Unknown {
            return Ok(false);
        }
        let turn = self.shared().posts.claim(who, now);
        if let Turn::Soon(wait) | Turn::Later(wait) = turn {
            let why = "so many posts a second and channel".to_owned();
            return Err(Box::new(Step::Wait(wait, why)));
        }
        if standing == Standing::Over {
            self.shared().posts.give_back(who, now);
            return Err(Box::new(Step::Recorded(TeamsRecord {
                intent: None,
                ..record.clone()
            })));
        }
        Ok(self.intents.spend(intent))
    }

    /// What was refused was not done: its intent goes, then its fault is told. Else its outcome is unknown.
    pub(super) fn failed(
        &self,
        (ticket, record): (&Ticket, &TeamsRecord),
        intent: &Intent,
        failed: &Failed,
        now: DateTime<Utc>,
    ) -> Result<Step<TeamsRecord>, Fault> {
        let fault = self.slow_down(failed, now);
        if matches!(failed, Failed::Unknown(_)) {
            return Err(fault);
        }
        self.intents.end(intent);
        self.refused.keep(ticket, fault);
        Ok(Step::Recorded(TeamsRecord {
            intent: None,
            ..record.clone()
        }))
    }

    /// Keeps Teams' wish for silence.
    pub(super) fn slow_down(&self, failed: &Failed, now: DateTime<Utc>) -> Fault {
        if let Failed::Refused(refusal) = failed
            && let Some(wait) = refusal.silence
        {
            let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1));
            self.shared().posts.hold(now + wait);
        }
        failed.fault()
    }
}
