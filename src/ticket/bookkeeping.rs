//! What is recorded beside what people see: how far each sink was brought, and who works on it right now.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{Actor, AuditEntry, Intent, Status, TicketId};
use crate::sources::airflow::units::Latest;

/// The list of sinks: none can be left out of [`Sink::ALL`].
macro_rules! sinks {
    ($($(#[$about:meta])* $sink:ident = $name:literal, $title:literal, shows: $shows:literal;)+) => {
        /// Where a ticket is shown or acted on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Sink {
            $($(#[$about])* $sink,)+
        }

        impl Sink {
            /// All of them.
            pub const ALL: [Self; [$(Self::$sink),+].len()] = [$(Self::$sink),+];

            /// The name used in messages, logs and the API.
            pub fn name(self) -> &'static str {
                match self { $(Self::$sink => $name,)+ }
            }

            /// The name that people read.
            pub fn title(self) -> &'static str {
                match self { $(Self::$sink => $title,)+ }
            }

            /// Does it show the ticket to people? The others act.
            pub fn shows(self) -> bool {
                match self { $(Self::$sink => $shows,)+ }
            }
        }
    };
}

sinks! {
    /// The JIRA issue.
    Jira = "jira", "JIRA", shows: true;
    /// The Slack message and its thread.
    Slack = "slack", "Slack", shows: true;
    /// The card in Microsoft Teams, with its thread or its further cards.
    Teams = "teams", "Microsoft Teams", shows: true;
    /// The playbook of the current attempt.
    Playbook = "playbook", "Playbook", shows: false;
}

impl Sink {
    /// Those that show the ticket to people.
    pub fn showing() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|sink| sink.shows())
    }
}

/// What a sink that shows the ticket recorded in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Of the JIRA issue.
    Jira(JiraRecord),
    /// Of the Slack message.
    Slack(SlackRecord),
    /// Of the card in Microsoft Teams.
    Teams(TeamsRecord),
}

/// How far a sink was brought with the ticket, and what goes on there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkState {
    /// The [`Ticket::version`](super::Ticket::version) it was last brought up to; 0: never.
    pub delivered: u64,
    /// The delivery that works on it; others may once this has expired.
    pub lease: Option<Intent>,
    /// When the delivery that waits in the queue is to run: then nobody else need put one.
    pub due: Option<DateTime<Utc>>,
    /// What stopped it, if anything did.
    pub fault: Option<DeliveryFault>,
    /// A digest of the sink's settings when it was stopped: with others it is tried again at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// Set while the fault is one that a repetition alone does not repair: the sink still lags, and is tried ever more seldom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
}

impl SinkState {
    /// A delivery that waits for about the same time will do. One that is due about now is the one being handled: the
    /// queue's clock is not ours.
    pub const SOON: Duration = Duration::seconds(5);
}

/// A sink that somebody has to repair before the ticket can be shown there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was tried since.
    pub tries: u32,
    /// When it is tried next, unless the settings change before.
    pub next_try: DateTime<Utc>,
}

impl Blocked {
    /// After 5, 15 and 60 minutes, then every hour.
    const PAUSES: [Duration; 3] = [
        Duration::minutes(5),
        Duration::minutes(15),
        Duration::minutes(60),
    ];

    /// One more try was in vain.
    pub(super) fn again(known: Option<&Self>, now: DateTime<Utc>) -> Self {
        let tries = known.map_or(1, |known| known.tries.saturating_add(1));
        let pause = usize::try_from(tries - 1)
            .ok()
            .and_then(|tried| Self::PAUSES.get(tried))
            .copied()
            .unwrap_or(Duration::hours(1));
        Self {
            since: known.map_or(now, |known| known.since),
            tries,
            next_try: now + pause,
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
    /// The number, which survives a move to another project.
    pub id: Option<String>,
    /// The call that was intended last, until what came of it is recorded.
    #[serde(flatten, with = "super::intent::stored")]
    pub intent: Option<Intent>,
    /// Fields the site refused and we left out (`priority`, `issuetype`, `labels`, `description`).
    pub left_out: Vec<String>,
    /// Hash of summary and description as last written.
    pub shown: Option<String>,
    /// How many chapters of the story were told as comments.
    pub told: u32,
    /// Status name last seen in JIRA.
    pub status: Option<String>,
    /// The value of [`Ticket::status_version`](super::Ticket::status_version) that JIRA's status was last brought to.
    pub status_version: u32,
    /// Transitions made towards that status, to stop endless hops.
    pub hops: u32,
    /// The issue was deleted in JIRA: it is not created again.
    pub deleted: bool,
    /// A detail that JIRA refused while the rest went on.
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
    /// The call that was intended last, until what came of it is recorded.
    #[serde(flatten, with = "super::intent::stored")]
    pub intent: Option<Intent>,
    /// Hash of the blocks as last shown.
    pub shown: Option<String>,
    /// How many chapters of the story were told in the thread.
    pub told: u32,
    /// How often the message was posted again because somebody deleted it.
    pub reposted: u32,
    /// It was deleted again after it had been posted a second time: it is left alone.
    pub deleted: bool,
    /// Slack no longer lets the message be edited: what changed is posted in its thread only.
    pub frozen: bool,
    /// A detail that Slack refused while the rest went on.
    pub fault: Option<DeliveryFault>,
}

/// What was last recorded about this ticket's card in Microsoft Teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TeamsRecord {
    /// By bot: the thread that the card began, `19:…@thread.tacv2;messageid=…`.
    pub conversation: Option<String>,
    /// By bot: the card's own id.
    pub activity: Option<String>,
    /// The call that was intended last, until what came of it is recorded.
    pub intent: Option<Intent>,
    /// How many calls for what is being posted had an unknown outcome.
    pub unsure: u32,
    /// Hash of the card as last shown.
    pub shown: Option<String>,
    /// How many chapters of the story were told.
    pub told: u32,
    /// By workflow URL: how many cards were posted.
    pub cards: u32,
    /// By workflow URL: the status that the last of them showed.
    pub status: Option<Status>,
    /// By bot: how often the card was posted again because somebody deleted it.
    pub reposted: u32,
    /// By bot: the channel of its owner refused the card, which goes into the general one.
    pub general: bool,
    /// By bot: it was deleted again after it had been posted a second time, and is left alone.
    pub deleted: bool,
    /// A detail that went wrong while the rest went on.
    pub fault: Option<DeliveryFault>,
}

impl TeamsRecord {
    /// Is there a card?
    pub fn is_shown(&self) -> bool {
        self.activity.is_some() || self.cards > 0
    }
}

/// How each sink stands; one that never did anything is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredSinks")]
pub struct SinkStates {
    sinks: BTreeMap<Sink, SinkState>,
}

impl SinkStates {
    /// How this sink stands, if it ever did anything.
    pub fn get(&self, sink: Sink) -> Option<&SinkState> {
        self.sinks.get(&sink)
    }

    pub(super) fn of(&mut self, sink: Sink) -> &mut SinkState {
        self.sinks.entry(sink).or_default()
    }
}

/// As it is stored, and as versions before 0.2 stored it: one map for each fact.
#[derive(Deserialize)]
struct StoredSinks {
    #[serde(default)]
    sinks: BTreeMap<Sink, SinkState>,
    #[serde(default)]
    delivered: BTreeMap<Sink, u64>,
    #[serde(default)]
    leases: BTreeMap<Sink, Intent>,
    #[serde(default)]
    due: BTreeMap<Sink, DateTime<Utc>>,
    #[serde(default)]
    playbook_fault: Option<DeliveryFault>,
}

impl From<StoredSinks> for SinkStates {
    fn from(stored: StoredSinks) -> Self {
        let mut states = Self {
            sinks: stored.sinks,
        };
        for (sink, version) in stored.delivered {
            states.of(sink).delivered = version;
        }
        for (sink, lease) in stored.leases {
            states.of(sink).lease = Some(lease);
        }
        for (sink, at) in stored.due {
            states.of(sink).due = Some(at);
        }
        if let Some(fault) = stored.playbook_fault {
            states.of(Sink::Playbook).fault = Some(fault);
        }
        states
    }
}

/// A person's word that a ticket which a machine closed is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Who.
    pub by: Actor,
    /// When, by the sender's clock.
    pub at: DateTime<Utc>,
}

/// The ticket's bookkeeping: what the flow needs and people do not see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bookkeeping {
    /// How each sink stands.
    #[serde(flatten)]
    pub sinks: SinkStates,
    /// When the issue was last read back for a change whose webhook was lost.
    pub jira_compared_at: Option<DateTime<Utc>>,
    /// Audit entries of the last change, until they are in the audit table (an outbox: nothing is lost between the two writes).
    pub audit: Vec<AuditEntry>,
    /// How many audit entries were written before those.
    pub audited: u32,
    /// The vendor's time of the last status change by a person in JIRA that was applied.
    pub jira_event_at: Option<DateTime<Utc>>,
    /// The latest try of its task instance that was reported.
    pub latest: Latest,
    /// A report named what failed better than the one it was opened with: it is analysed again.
    pub named_better: bool,
    /// The good run by which it recovered, or that was told to the person who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_by: Option<String>,
    /// Who led it, before it led its own incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_by: Option<TicketId>,
    /// A person closed what a machine had closed: who and when. The ticket still says what closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmed>,
    /// The status before the last change of status.
    pub status_from: Option<Status>,
    /// When the sweep looks at it next, as far as the ticket knows: at the latest then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_look: Option<DateTime<Utc>>,
}
