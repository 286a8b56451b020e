//! In which channel a ticket's message belongs: that of its owner's route, unless Slack refused it lately.

use chrono::{DateTime, TimeDelta, Utc};

use super::Slack;
use super::client::Failed;
use crate::fault::Fault;
use crate::redaction::{cap, redact};
use crate::ticket::Ticket;

/// How long an owner's channel that Slack refused is not tried again.
const REFUSED_FOR: TimeDelta = TimeDelta::minutes(15);

impl Slack {
    /// The configured channel without `#`.
    pub(super) fn channel_name(&self) -> &str {
        bare(&self.settings.channel)
    }

    /// The channel of the ticket's owner, without `#`; the configured one where there is none, or Slack refused it lately.
    pub(super) fn channel_for(&self, ticket: &Ticket, now: DateTime<Utc>) -> &str {
        let route = self.routes.of(ticket);
        let owners = route.and_then(|route| route.slack.as_deref()).map(bare);
        let refused = |name: &&str| {
            let until = self.shared().refused.get(*name).copied();
            until.is_some_and(|until| now < until)
        };
        owners
            .filter(|name| !name.is_empty() && !refused(name))
            .unwrap_or_else(|| self.channel_name())
    }

    /// Is it not the configured one?
    pub(super) fn is_owners(&self, name: &str) -> bool {
        name != self.channel_name()
    }

    /// A wrong route must not cost a message: the general channel takes its place for a while.
    pub(super) fn refuse_channel(&self, name: &str, fault: &Fault, now: DateTime<Utc>) {
        let shown = cap(&redact(name), 100);
        tracing::error!(sink.name = "slack", slack.channel = %shown, reason = fault.reason(), "the channel of an owner (OWNER_ROUTES) cannot be used: its messages go to SLACK_ALERT_CHANNEL");
        let mut shared = self.shared();
        shared.refused.insert(name.to_owned(), now + REFUSED_FOR);
    }
}

/// Does Slack refuse the channel, and not the message?
pub(super) fn is_about_channel(failed: &Failed) -> bool {
    matches!(
        failed.code(),
        Some(
            "channel_not_found"
                | "not_in_channel"
                | "is_archived"
                | "restricted_action"
                | "restricted_action_read_only_channel"
                | "restricted_action_thread_only_channel"
                | "restricted_action_non_threadable_channel"
        )
    )
}

pub(super) fn bare(channel: &str) -> &str {
    channel.trim().trim_start_matches('#')
}
