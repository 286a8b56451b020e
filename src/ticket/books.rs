//! What is recorded beside what people see: how far each sink was brought, and who works on it right now.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AuditEntry, Status};
use crate::sources::airflow::story::Latest;

/// Where a ticket is shown or acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sink {
    /// The JIRA issue.
    Jira,
    /// The Slack message and its thread.
    Slack,
    /// The playbook of the current attempt.
    Playbook,
}

impl Sink {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jira, Self::Slack, Self::Playbook];

    /// Those that show the ticket to people.
    pub const SHOWING: [Self; 2] = [Self::Jira, Self::Slack];

    /// The name used in messages, logs and on the dashboard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jira => "jira",
            Self::Slack => "slack",
            Self::Playbook => "playbook",
        }
    }
}

/// What a sink recorded about a fault that stopped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFault {
    /// What happened and what to do.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Will it be tried again by itself?
    pub retrying: bool,
}

/// What was last recorded about this ticket's JIRA issue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JiraRecord {
    /// The key, e.g. `APAIOPS-123`.
    pub key: Option<String>,
    /// Set before the create call: from then on a search by label comes first.
    pub creating_since: Option<DateTime<Utc>>,
    /// Which process set `creating_since`: only that one knows that its create call was not sent yet.
    pub creating_by: Option<String>,
    /// Fields the site refused and we left out (`priority`, `issuetype`, `labels`, `description`).
    pub left_out: Vec<String>,
    /// Hash of summary and description as last written.
    pub shown: Option<String>,
    /// How many chapters of the story were told as comments.
    pub told: u32,
    /// Set before a comment call: the number of the chapter whose outcome is not yet known.
    pub telling: Option<u32>,
    /// When `telling` was set.
    pub telling_since: Option<DateTime<Utc>>,
    /// Which process set `telling`: only that one knows that its comment call was not sent yet.
    pub telling_by: Option<String>,
    /// Set before an edit or a transition, so that no older ticket is shown over a newer one: when.
    pub changing_since: Option<DateTime<Utc>>,
    /// Which process set `changing_since`.
    pub changing_by: Option<String>,
    /// Status name last seen in JIRA.
    pub status: Option<String>,
    /// The value of [`Ticket::status_version`](super::Ticket::status_version) that JIRA's status was last brought to.
    pub status_version: u32,
    /// Transitions made towards that status, to stop endless hops.
    pub hops: u32,
    /// The issue was deleted in JIRA: it is not created anew.
    pub deleted: bool,
    /// What stopped the sink, if anything did.
    pub fault: Option<DeliveryFault>,
}

/// What was last recorded about this ticket's Slack message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlackRecord {
    /// The channel's id (never its name).
    pub channel: Option<String>,
    /// The message's ts.
    pub ts: Option<String>,
    /// Set before the post call.
    pub posting_since: Option<DateTime<Utc>>,
    /// Hash of the blocks as last shown.
    pub shown: Option<String>,
    /// How many chapters of the story were told in the thread.
    pub told: u32,
    /// How often the message was posted anew because somebody deleted it.
    pub reposted: u32,
    /// It was deleted again after it had been posted anew: it is left alone.
    pub deleted: bool,
    /// Slack no longer lets the message be edited: what changed is told in its thread only.
    pub frozen: bool,
    /// Set before a chapter is told: its number, while the outcome is not known.
    pub telling: Option<u32>,
    /// What stopped the sink, if anything did.
    pub fault: Option<DeliveryFault>,
}

/// The right of one delivery to work on one sink, so that two never do at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which delivery.
    pub holder: String,
    /// After that anybody may take it: its holder died.
    pub until: DateTime<Utc>,
}

/// The ticket's bookkeeping: what the corridor needs and people do not see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Books {
    /// The [`Ticket::version`](super::Ticket::version) each sink was last brought up to.
    pub delivered: BTreeMap<Sink, u64>,
    /// Who works on which sink right now.
    pub leases: BTreeMap<Sink, Lease>,
    /// When the delivery that waits in the queue for a sink is to run: then nobody else need put one.
    pub due: BTreeMap<Sink, DateTime<Utc>>,
    /// When the issue was last read back for a change whose webhook was lost.
    pub jira_compared_at: Option<DateTime<Utc>>,
    /// Audit entries of the last change, until they are in the audit table (an outbox: nothing is lost between the two writes).
    pub audit: Vec<AuditEntry>,
    /// How many audit entries were written before those.
    pub audited: u32,
    /// The vendor's time of the last status change by a person in JIRA that was applied.
    pub jira_event_at: Option<DateTime<Utc>>,
    /// What stopped the playbook sink, if anything did.
    pub playbook_fault: Option<DeliveryFault>,
    /// The latest try of its task instance that was reported.
    pub latest: Latest,
    /// A report named what failed better than the one it was opened with: it is analysed again.
    pub named_better: bool,
    /// The status before the last change of status.
    pub status_from: Option<Status>,
}
