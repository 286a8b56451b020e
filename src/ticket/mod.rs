//! The ticket: the desired state that every sink is reconciled to.
//!
//! In: events. Out: a changed ticket and audit entries, or a refusal with its reason. [`machine`] is the
//! only thing that changes a ticket; [`store`] keeps it by compare-and-set. The room does not know JIRA's
//! or Slack's wire formats: it holds only what each sink last recorded.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Category, Diagnosis, Severity};
use crate::evidence::Gap;
use crate::failure::Failure;

mod blocked;
mod bookkeeping;
mod care;
pub mod due;
mod incident;
mod history;
mod id;
mod intent;
pub mod machine;
pub mod numbers;
mod remediation;
mod silence;
pub mod store;

pub use blocked::{BlockedSinks, Waits};
pub use bookkeeping::{
    Blocked, Bookkeeping, Confirmed, DeliveryFault, JiraRecord, Record, Sink, SinkState,
    SinkStates, SlackRecord, TeamsRecord,
};
pub use care::{Care, Importance, Owner};
pub use history::{Outcome, Past};
pub use id::TicketId;
pub use incident::{DeepCause, FoldReason, Incident, Joined, Line, Member, MemberRuns, Question};
pub use intent::{Intent, Work};
pub(crate) use remediation::with_node_type;
pub use remediation::{Answer, Approval, Attempt, AttemptState, Remediation, RemediationState};
pub use silence::{Ended, Silence, SilenceState, Silenced, SummedUp, Untold};

/// The ticket's state as people see it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
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
    /// A person in Microsoft Teams.
    Teams,
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
    /// Through which door it came, if a person did it: where it was done, it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Channel>,
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
    Recovered,
    Comment,
    Corrected,
}

impl ChapterKind {
    /// Does somebody have to act now? An edited message notifies nobody; a name in a new one does.
    pub fn wants_somebody(self) -> bool {
        matches!(
            self,
            Self::ApprovalAsked | Self::SlaBreached | Self::Reopened | Self::RemediationExhausted
        )
    }

    /// The sign in front of it where people chat.
    pub fn sign(self) -> &'static str {
        match self {
            Self::RemediationPlanned => "🗓️",
            Self::RemediationStarted => "🔧",
            Self::RemediationSucceeded | Self::Closed | Self::Recovered => "✅",
            Self::RemediationFailed => "❌",
            Self::RemediationUnknown => "❔",
            Self::RemediationExhausted => "🧑‍🔧",
            Self::ApprovalAsked => "🙋",
            Self::ApprovalGiven => "👍",
            Self::ApprovalRejected => "👎",
            Self::ApprovalExpired => "⌛",
            Self::SlaBreached => "⏰",
            Self::Reopened => "🔁",
            Self::InProgress => "🔄",
            Self::Recurrence => "♻️",
            Self::Comment => "💬",
            Self::Corrected => "✏️",
        }
    }
}

/// What a person says the cause is, where the diagnosis is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The right category.
    pub category: Category,
    /// The cause, one line; empty where only the category was said.
    pub line: String,
    /// Who says so.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}

impl Correction {
    /// `Missing data: the source was late`.
    pub fn words(&self) -> String {
        if self.line.is_empty() {
            self.category.words().to_owned()
        } else {
            format!("{}: {}", self.category.words(), self.line)
        }
    }
}

/// One failed run, from report to close.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// What failed.
    pub failure: Failure,
    /// The closed ticket of the same unit in the same run, if it failed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<TicketId>,
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
    /// What a person says it is instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<Correction>,
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
    /// Where that is known from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_known_from: Option<String>,
    /// How much the asset matters, where a rule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    /// The silence under which it was opened: it is recorded and counted, nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<Silenced>,
    /// The silence that was set from it: failures like it are silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silenced>,
    /// Whose incident it is part of; `None`: it leads its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Joined>,
    /// The followers, if it leads any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// How failures like it ended before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<Past>,
    /// What the JIRA sink recorded.
    #[serde(default)]
    pub jira: JiraRecord,
    /// What the Slack sink recorded.
    #[serde(default)]
    pub slack: SlackRecord,
    /// What the Microsoft Teams sink recorded; `None`: it was off when the ticket was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<Box<TeamsRecord>>,
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
    pub books: Bookkeeping,
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
        Self {
            channel: Channel::System,
            name: "aiops-rca".to_owned(),
        }
    }

    /// A person (or an automation of theirs), not one of our own machines.
    pub fn is_person(&self) -> bool {
        matches!(
            self.channel,
            Channel::Jira | Channel::Slack | Channel::Teams | Channel::Dashboard
        )
    }
}

impl Status {
    /// The name used in JSON and on the dashboard.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The inverse of [`Status::name`], without regard to case; `closed` is what people call an acknowledged ticket.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("closed") {
            return Some(Self::Acknowledged);
        }
        name.parse().ok()
    }
}

/// Who last said what the status is, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// Who.
    pub by: &'a Actor,
    /// When, by the sender's clock.
    pub at: DateTime<Utc>,
}

impl Ticket {
    /// Who last said what the status is: who changed it, or a person who confirmed that afterwards.
    pub fn last_word(&self) -> Word<'_> {
        match &self.books.confirmed {
            Some(Confirmed { by, at }) => Word { by, at: *at },
            None => Word {
                by: &self.status_by,
                at: self.status_at,
            },
        }
    }

    /// Closed?
    pub fn is_closed(&self) -> bool {
        self.status == Status::Acknowledged
    }

    /// Does this sink still have to be brought up to date?
    pub fn lags(&self, sink: Sink) -> bool {
        let idle = match sink {
            Sink::Playbook => self.current_attempt().is_none(),
            // What its leader shows, unless it was shown before it was part of that incident.
            Sink::Jira => (self.is_follower() || self.is_silent()) && self.jira.key.is_none(),
            Sink::Slack => (self.is_follower() || self.is_silent()) && self.slack.ts.is_none(),
            Sink::Teams => (self.teams.as_ref()).is_none_or(|record| {
                (self.is_follower() || self.is_silent()) && !record.is_shown()
            }),
        };
        !idle && !self.sinks_off.contains_key(sink.name()) && self.delivered(sink) < self.version
    }

    /// What JIRA is told of the story in comments: it keeps its own history of what people did there.
    pub fn jira_story(&self) -> impl Iterator<Item = &Chapter> {
        self.story
            .iter()
            .filter(|chapter| chapter.from != Some(Channel::Jira))
    }

    /// The version this sink was last brought up to; 0: never.
    pub fn delivered(&self, sink: Sink) -> u64 {
        self.books
            .sinks
            .get(sink)
            .map_or(0, |state| state.delivered)
    }

    /// The delivery that works on this sink, or did when it died.
    pub fn lease(&self, sink: Sink) -> Option<&Intent> {
        self.books.sinks.get(sink)?.lease.as_ref()
    }

    /// Does a delivery work on this sink now, as far as anybody knows?
    pub fn is_leased(&self, sink: Sink, now: DateTime<Utc>) -> bool {
        self.lease(sink).is_some_and(|lease| lease.is_live(now))
    }

    /// When the delivery that waits in the queue for this sink is to run.
    pub fn due(&self, sink: Sink) -> Option<DateTime<Utc>> {
        self.books.sinks.get(sink)?.due
    }

    /// When the next delivery of this sink runs, beside one that runs now.
    pub fn waiting(&self, sink: Sink, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.due(sink).filter(|due| *due > now + SinkState::SOON)
    }

    /// What stopped this sink, if anything did.
    pub fn fault(&self, sink: Sink) -> Option<&DeliveryFault> {
        self.books.sinks.get(sink)?.fault.as_ref()
    }

    /// Since when, and until when, this sink waits for somebody to repair it.
    pub fn blocked(&self, sink: Sink) -> Option<&Blocked> {
        self.books.sinks.get(sink)?.blocked.as_ref()
    }

    /// Was this sink stopped by a fault that it met under other settings than these?
    pub fn stopped_under_others(&self, sink: Sink, settings: Option<&str>) -> bool {
        let state = self.books.sinks.get(sink);
        state.is_some_and(|state| state.fault.is_some() && state.settings.as_deref() != settings)
    }

    /// A detail that the vendor refused while the rest went on.
    pub fn refused_detail(&self, sink: Sink) -> Option<&DeliveryFault> {
        match sink {
            Sink::Jira => self.jira.fault.as_ref(),
            Sink::Slack => self.slack.fault.as_ref(),
            Sink::Teams => self.teams.as_ref()?.fault.as_ref(),
            Sink::Playbook => None,
        }
    }

    /// The attempt that is not over yet, if there is one.
    pub fn current_attempt(&self) -> Option<&Attempt> {
        self.remediation
            .attempts
            .last()
            .filter(|attempt| attempt.ended_at.is_none())
    }

    /// An attempt by its id.
    pub fn attempt(&self, id: &str) -> Option<&Attempt> {
        self.remediation
            .attempts
            .iter()
            .find(|attempt| attempt.id == id)
    }

    /// Time from the first report to the close, for closed tickets.
    pub fn time_to_recovery(&self) -> Option<chrono::Duration> {
        self.is_closed().then(|| self.status_at - self.first_seen)
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
        })
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
