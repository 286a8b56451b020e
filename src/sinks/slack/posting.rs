//! Slack knows no key by which it would surely know a repeat: whether a message may be posted now, and what a refusal means.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Slack;
use super::client::Failed;
use crate::fault::Fault;
use crate::sinks::{Standing, Step, Turn};
use crate::ticket::{Intent, SlackRecord, Ticket};

impl Slack {
    /// May the intended message be posted now; is this the first call for it? An intent that is over is
    /// recorded again first, and the place in the channel is kept for it.
    pub(super) fn may_post(
        &self,
        ticket: &Ticket,
        intent: &Intent,
        now: DateTime<Utc>,
    ) -> Result<bool, Box<Step<SlackRecord>>> {
        let who = ticket.id.as_str();
        let turn = self.shared().posts.claim(who, now);
        if let Turn::Soon(wait) | Turn::Later(wait) = turn {
            let why = "one message per second and channel".to_owned();
            return Err(Box::new(Step::Wait(wait, why)));
        }
        if self.intents.standing(intent, now) == Standing::Over {
            self.shared().posts.give_back(who, now);
            return Err(Box::new(Step::Recorded(SlackRecord {
                intent: None,
                ..ticket.slack.clone()
            })));
        }
        Ok(self.intents.spend(intent))
    }

    /// What was refused at the first call was not done. A later refusal says nothing about the calls before it.
    pub(super) fn end(&self, intent: &Intent, first_try: bool, failed: &Failed) {
        if first_try && matches!(failed, Failed::Refused(_)) {
            self.intents.end(intent);
        }
    }

    /// Sorts a failure, and keeps Slack's wish for silence.
    pub(super) fn refused(&self, method: &str, failed: &Failed, now: DateTime<Utc>) -> Fault {
        let fault = failed.fault(method, &self.settings.channel);
        if let Failed::Refused(refusal) = failed
            && let Some(wait) = refusal.silence().filter(|_| fault.is_transient())
        {
            let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::minutes(1));
            let mut shared = self.shared();
            let pace = if method == "chat.update" {
                &mut shared.updates
            } else {
                &mut shared.posts
            };
            pace.hold(now + wait);
        }
        fault
    }
}

pub(super) fn is_duplicate(failed: &Failed) -> bool {
    matches!(
        failed.code(),
        Some("duplicate_message_not_found" | "duplicate_channel_not_found")
    )
}

/// The same for every try of the same write: Slack answers a repeat with the first message.
pub(super) fn message_id(ticket: &Ticket, what: &str) -> String {
    Uuid::new_v5(
        &Uuid::NAMESPACE_OID,
        format!("aiops-rca {} {what}", ticket.id).as_bytes(),
    )
    .to_string()
}
