//! The ticket: the desired state that every sink is reconciled to.
//!
//! In: events. Out: a changed ticket and audit entries, or a refusal with its reason. [`machine`] is the
//! only thing that changes a ticket; [`store`] keeps it by compare-and-set. The room does not know JIRA's
//! or Slack's wire formats: it holds only what each sink last recorded.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Action, Diagnosis, Risk, Severity};
use crate::evidence::Gap;
use crate::failure::Failure;

pub mod machine;
pub mod store;

/// `ADF-20251212T100000-abc123`: source, UTC second, six hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketId(String);

/// The ticket's state as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody works on it yet.
    Open,
    /// Somebody works on it.
    InProgress,
    /// Closed.
    Acknowledged,
}

/// P1 to P4, from the severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Priority {
    P1,
    P2,
    P3,
    P4,
}

/// Through which door a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// aiops-rca itself (analysis, policy, sweep).
    System,
    /// A person (or an automation) in JIRA.
    Jira,
    /// A person in Slack.
    Slack,
    /// A person on the dashboard or through the API.
    Dashboard,
    /// A playbook's callback or the vendor's answer about its run.
    Playbook,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Through which door.
    pub channel: Channel,
    /// The name people read, e.g. `John Doe`, `aiops-rca`.
    pub name: String,
}

/// The time within which somebody should have taken the ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sla {
    /// 900, 1800, 7200 or 86400.
    pub seconds: u32,
    /// When it is breached.
    pub due_at: DateTime<Utc>,
    /// Set when it was breached.
    pub breached_at: Option<DateTime<Utc>>,
}

/// One entry of the story that every sink tells once, in order (Slack thread, JIRA comment).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chapter {
    /// 1, 2, 3 … within the ticket.
    pub number: u32,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What kind of thing happened.
    pub kind: ChapterKind,
    /// The sentence, plain text, unescaped.
    pub text: String,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ChapterKind {
    RemediationPlanned,
    RemediationStarted,
    RemediationSucceeded,
    RemediationFailed,
    RemediationUnknown,
    RemediationExhausted,
    ApprovalAsked,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalExpired,
    SlaBreached,
    Closed,
    Reopened,
    InProgress,
    Recurrence,
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
    /// The value of [`Ticket::status_version`] that JIRA's status was last brought to.
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

/// How a remediation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemediationState {
    /// Nothing will be done automatically; the decision says why.
    #[default]
    None,
    /// A person is asked.
    AwaitingApproval,
    /// An attempt is planned and waits for its time.
    Scheduled,
    /// An attempt was handed to its playbook.
    Running,
    /// The last attempt's outcome must be found out.
    Verifying,
    /// Healed.
    Succeeded,
    /// All attempts failed, or one was refused: a person takes over.
    Exhausted,
    /// A person said no, or nobody answered in time.
    Rejected,
}

/// How one attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Recorded; its playbook is called when `due_at` has come.
    Scheduled,
    /// Recorded just before the call: after a crash the outcome is unknown, never repeated (law L5).
    Calling,
    /// The playbook accepted it.
    Accepted,
    /// The call's outcome is unknown (timeout, 5xx after sending, crash).
    Unknown,
    /// The playbook said success; the vendor is asked before the ticket closes.
    Verifying,
    /// It healed the failure.
    Succeeded,
    /// It ran and failed.
    Failed,
    /// The playbook refused it (4xx).
    Refused,
    /// It was called off before its call (closed by a person, kill switch).
    Cancelled,
}

/// One attempt to heal, recorded before anything is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// `<ticket id>-a<number>`.
    pub id: String,
    /// 1, 2, 3.
    pub number: u32,
    /// What it does.
    pub action: Action,
    /// How it stands.
    pub state: AttemptState,
    /// The machine size a cluster is restarted with, if not its own.
    #[serde(default)]
    pub node_type: Option<String>,
    /// When its playbook is to be called.
    pub due_at: DateTime<Utc>,
    /// When the playbook was called.
    pub called_at: Option<DateTime<Utc>>,
    /// No callback by then: the watchdog asks the vendor.
    pub deadline: Option<DateTime<Utc>>,
    /// How long the playbook may stay silent, in seconds: every sign of life moves the deadline to so long after it.
    #[serde(default)]
    pub patience: i64,
    /// The vendor's run that the playbook started.
    pub run_id: Option<String>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What happened, one sentence.
    pub outcome: Option<String>,
}

/// A question to a person, bound to one attempt of one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Names this very question; buttons and API calls must carry it.
    pub id: String,
    /// The attempt it is about.
    pub attempt: u32,
    /// Hash of the plan shown.
    pub plan: String,
    /// The plan as shown to the person.
    pub plan_text: String,
    /// Why a person is asked.
    pub why: String,
    /// No answer by then: nothing is done.
    pub expires_at: DateTime<Utc>,
    /// The answer, once.
    pub answer: Option<Answer>,
}

/// A person's answer to an [`Approval`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}

/// Everything about healing this ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remediation {
    /// How it stands.
    pub state: RemediationState,
    /// Why it was decided so, in words.
    pub decision: String,
    /// What would be done.
    pub action: Action,
    /// How risky that is.
    pub risk: Risk,
    /// How many attempts the policy allows.
    pub max_attempts: u32,
    /// The machine size a cluster would be restarted with, if not its own.
    #[serde(default)]
    pub node_type: Option<String>,
    /// The question to a person, if one was asked.
    pub approval: Option<Approval>,
    /// The attempts so far.
    pub attempts: Vec<Attempt>,
}

/// One failed run, from report to close.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// What failed.
    pub failure: Failure,
    /// When the report came in.
    pub received_at: DateTime<Utc>,
    /// When it was first reported.
    pub first_seen: DateTime<Utc>,
    /// When it was last reported.
    pub last_seen: DateTime<Utc>,
    /// How often it was reported.
    pub count: u32,
    /// Why it failed.
    pub diagnosis: Diagnosis,
    /// How urgent it is.
    pub severity: Severity,
    /// P1 to P4.
    pub priority: Priority,
    /// Until when somebody should have taken it.
    pub sla: Sla,
    /// How it stands.
    pub status: Status,
    /// Grows by one with every change of `status`, and when a person confirms a machine's close; sinks compare it with
    /// what they last brought over.
    pub status_version: u32,
    /// Since when it stands so.
    pub status_at: DateTime<Utc>,
    /// Who brought it there.
    pub status_by: Actor,
    /// What every sink tells once, in order.
    pub story: Vec<Chapter>,
    /// How many pieces of evidence are stored.
    pub evidence_count: u32,
    /// What could not be had.
    pub gaps: Vec<Gap>,
    /// Who owns the asset, if known.
    pub owner: Option<String>,
    /// What the JIRA sink recorded.
    #[serde(default)]
    pub jira: JiraRecord,
    /// What the Slack sink recorded.
    #[serde(default)]
    pub slack: SlackRecord,
    /// How healing stands.
    pub remediation: Remediation,
    /// Sinks that are switched off, by name, with the reason.
    #[serde(default)]
    pub sinks_off: BTreeMap<String, String>,
    /// Grows by one with every change people could see.
    pub version: u64,
    /// W3C traceparent of the report.
    #[serde(default)]
    pub trace: Option<String>,
    /// What people do not see.
    #[serde(default)]
    pub books: Books,
}

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
    /// The [`Ticket::version`] each sink was last brought up to.
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
    /// The status before the last change of status.
    pub status_from: Option<Status>,
}

/// One line of the ticket's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// What, e.g. `Ticket Created`, `Status Changed`.
    pub what: String,
    /// Details and reasons.
    pub detail: String,
}

impl Actor {
    /// aiops-rca itself.
    pub fn system() -> Self {
        Self { channel: Channel::System, name: "aiops-rca".to_owned() }
    }

    /// A person (or a person's automation), not one of our own machines.
    pub fn is_person(&self) -> bool {
        matches!(self.channel, Channel::Jira | Channel::Slack | Channel::Dashboard)
    }
}

impl Status {
    /// The name used in JSON and on the dashboard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Acknowledged => "acknowledged",
        }
    }
}

impl Ticket {
    /// Closed?
    pub fn is_closed(&self) -> bool {
        self.status == Status::Acknowledged
    }

    /// Does this sink still have to be brought up to date?
    pub fn lags(&self, sink: Sink) -> bool {
        let idle = sink == Sink::Playbook && self.current_attempt().is_none();
        !idle && !self.sinks_off.contains_key(sink.name()) && self.books.delivered.get(&sink).copied().unwrap_or(0) < self.version
    }

    /// The attempt that is not over yet, if there is one.
    pub fn current_attempt(&self) -> Option<&Attempt> {
        self.remediation.attempts.last().filter(|attempt| attempt.ended_at.is_none())
    }

    /// An attempt by its id.
    pub fn attempt(&self, id: &str) -> Option<&Attempt> {
        self.remediation.attempts.iter().find(|attempt| attempt.id == id)
    }

    /// Time from the first report to the close, for closed tickets.
    pub fn time_to_recovery(&self) -> Option<chrono::Duration> {
        self.is_closed().then(|| self.status_at - self.first_seen)
    }
}

impl Attempt {
    /// What it does, e.g. `retry the pipeline`, `restart the cluster with node type Standard_D8ds_v5`.
    pub fn words(&self) -> String {
        format!("{}{}", self.action.words(), with_node_type(self.node_type.as_deref()))
    }
}

/// ` with node type Standard_D8ds_v5`, to stand behind what is restarted; nothing for its own.
pub(crate) fn with_node_type(node_type: Option<&str>) -> String {
    node_type.map(|name| format!(" with node type {name}")).unwrap_or_default()
}

impl TicketId {
    /// A fresh id; `suffix` gives the six hex digits (its low 24 bits).
    pub fn new(source: crate::failure::Source, at: DateTime<Utc>, suffix: u32) -> Self {
        Self(format!("{}-{}-{:06x}", source.ticket_prefix(), at.format("%Y%m%dT%H%M%S"), suffix & 0x00ff_ffff))
    }

    /// Reads an id from outside; anything that is not exactly of the right form is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (prefix, time, suffix) = (parts.next()?, parts.next()?, parts.next()?);
        let well_formed = parts.next().is_none()
            && matches!(prefix, "ADF" | "DBX" | "ARF")
            && chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S")
                .is_ok_and(|t| t.format("%Y%m%dT%H%M%S").to_string() == time)
            && suffix.len() == 6
            && suffix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The day, `20251212`: the ticket's partition.
    pub fn day(&self) -> &str {
        self.0.split('-').nth(1).and_then(|time| time.get(..8)).unwrap_or_default()
    }
}

impl std::fmt::Display for TicketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Priority {
    /// Critical P1 · High P2 · Medium P3 · Low P4.
    pub fn of(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::P1,
            Severity::High => Self::P2,
            Severity::Medium => Self::P3,
            Severity::Low => Self::P4,
        }
    }

    /// 15 min, 30 min, 2 hours, 24 hours, in seconds.
    pub fn sla_seconds(self) -> u32 {
        match self {
            Self::P1 => 15 * 60,
            Self::P2 => 30 * 60,
            Self::P3 => 2 * 3600,
            Self::P4 => 24 * 3600,
        }
    }

    /// As people read it: `15 minutes`, `30 minutes`, `2 hours`, `24 hours`.
    pub fn sla_words(self) -> &'static str {
        match self {
            Self::P1 => "15 minutes",
            Self::P2 => "30 minutes",
            Self::P3 => "2 hours",
            Self::P4 => "24 hours",
        }
    }
}
