//! What a ticket keeps about its incident: whom it follows, or who follows it. Data only; `incident` decides.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{Status, Ticket, TicketId};
use crate::diagnosis::Diagnosis;
use crate::digest::sha256;
use crate::failure::{Source, field};

/// People read of new followers at most this often.
pub(super) const DIGEST: Duration = Duration::minutes(1);

/// Why a ticket is part of another's incident.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum FoldReason {
    /// The same asset failed of the same cause again.
    Repeat,
    /// Its run started, or was started by, a run of the incident.
    Cascade,
    /// The same cause and the same named thing, on three or more assets.
    Storm,
    /// Another unit of the same run.
    FanOut,
    /// It failed during a silence, of which the leader tells.
    Silence,
}

impl FoldReason {
    /// As it stands in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Repeat => "failed again",
            Self::Cascade => "linked run",
            Self::Storm => "same cause elsewhere",
            Self::FanOut => "same run",
            Self::Silence => "failed silently",
        }
    }
}

/// Whom a ticket follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The ticket that leads the incident.
    pub leader: TicketId,
    /// Why.
    pub reason: FoldReason,
    /// Since when.
    pub at: DateTime<Utc>,
    /// The ticket's version that its leader was told of; 0: none.
    #[serde(default)]
    pub reported: u64,
    /// Its remediation waits until one asset of the incident was healed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_probe: bool,
}

/// A follower, as its leader's incident lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the ticket")]
pub struct Member {
    pub id: TicketId,
    pub source: Source,
    pub asset: String,
    /// The task of a job, or the index of a mapped task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    pub run_id: Option<String>,
    pub reason: FoldReason,
    pub received_at: DateTime<Utc>,
    pub status: Status,
    /// Its runs.
    #[serde(default)]
    pub runs: MemberRuns,
    /// It was healed by a playbook.
    #[serde(default)]
    pub healed: bool,
    #[serde(default)]
    pub waits_for_probe: bool,
    /// What a person is asked about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// The version of the ticket that this was written of.
    #[serde(default)]
    pub version: u64,
}

/// A question about a follower's remediation, as its leader shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Whose remediation it is about.
    pub ticket: TicketId,
    /// The question's id.
    pub approval: String,
    /// Hash of the plan that is asked about.
    pub plan: String,
    /// The plan, as a person reads it.
    pub text: String,
    /// Until when it stands.
    pub expires_at: DateTime<Utc>,
}

impl Question {
    /// The question that a ticket waits with, if it does.
    fn of(ticket: &Ticket) -> Option<Self> {
        let waits = ticket.remediation.state == super::RemediationState::AwaitingApproval;
        let asked = ticket.remediation.approval.as_ref();
        let asked = asked.filter(|asked| waits && asked.answer.is_none() && !ticket.is_closed())?;
        Some(Self {
            ticket: ticket.id.clone(),
            approval: asked.id.clone(),
            plan: asked.plan.clone(),
            text: asked.plan_text.clone(),
            expires_at: asked.expires_at,
        })
    }
}

/// The runs of a follower, by ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberRuns {
    /// Its own, under each of its ids.
    pub own: BTreeSet<String>,
    /// Those that it names.
    pub names: BTreeSet<String>,
    /// Those that started it.
    pub parents: BTreeSet<String>,
}

impl Member {
    /// Of this follower.
    pub fn of(ticket: &Ticket, joined: &Joined, runs: MemberRuns) -> Self {
        let failure = &ticket.failure;
        let unit = failure
            .field(field::MAP_INDEX)
            .map(|index| format!("[{index}]"));
        Self {
            id: ticket.id.clone(),
            source: failure.source,
            asset: failure.asset.clone(),
            unit: unit.or_else(|| failure.field(field::TASK_KEY).map(str::to_owned)),
            run_id: failure.run_id.clone(),
            reason: joined.reason,
            received_at: ticket.received_at,
            status: ticket.status,
            runs,
            healed: ticket.remediation.state == super::RemediationState::Succeeded,
            waits_for_probe: joined.waits_for_probe,
            question: Question::of(ticket),
            version: ticket.version,
        }
    }

    /// Closed?
    pub fn is_closed(&self) -> bool {
        self.status == Status::Acknowledged
    }
}

/// One line of the list of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The ticket.
    pub id: TicketId,
    /// The asset, with the unit.
    pub asset: String,
    /// Why it is part of the incident.
    pub reason: FoldReason,
    /// Closed?
    pub closed: bool,
}

/// The cause of a cascade: that of its deepest layer, where that is not the leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeepCause {
    /// Whose it is.
    pub ticket: TicketId,
    /// What it is.
    pub diagnosis: Diagnosis,
}

/// What a leader knows of its followers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Incident {
    /// How many tickets, the leader's included.
    pub tickets: u32,
    /// On how many assets.
    pub assets: u32,
    /// How many followers are other units of the leader's run.
    pub units: u32,
    /// How many followers are not closed.
    pub open: u32,
    /// The latest followers, newest first; not all of them.
    pub latest: Vec<Line>,
    /// The layers of a cascade, outermost first.
    pub path: Vec<String>,
    /// The cause, where it is not the leader's own.
    pub cause: Option<Box<DeepCause>>,
    /// What people are asked about its followers: answered together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// The questions that the story told of, and when it did so last.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<String>,
    /// When it did so last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<DateTime<Utc>>,
    /// How many tickets the story told of.
    pub told: u32,
    /// When it did so last.
    pub told_at: Option<DateTime<Utc>>,
    /// The status version of the leader that its followers were brought to.
    pub applied: u32,
    /// When a follower failed after the incident was closed, and opened it again.
    pub recurred_at: Option<DateTime<Utc>>,
}

impl Incident {
    /// As people read it: `12 failures of 8 assets`.
    pub fn counts(&self) -> String {
        let of = |number: u32, one: &str, more: &str| {
            format!("{number} {}", if number == 1 { one } else { more })
        };
        let failures = of(self.tickets, "failure", "failures");
        let assets = of(self.assets, "asset", "assets");
        format!("{failures} of {assets}")
    }
}

impl Incident {
    /// Names the plans of all that is asked: another one means that something changed since it was shown.
    pub fn plans(&self) -> String {
        let plans = self.questions.iter();
        let plans = plans.map(|asked| format!("{}\n{}\n", asked.approval, asked.plan));
        let mut hash = sha256(plans.collect::<String>());
        hash.truncate(16);
        hash
    }

    /// Is there a question that the story has not told of?
    pub fn has_untold_question(&self) -> bool {
        let told = |asked: &Question| self.asked.contains(&asked.approval);
        !self.questions.iter().all(told)
    }
}

impl Ticket {
    /// The id under which the questions about its followers are answered together.
    pub fn incident_approval(&self) -> String {
        format!("{}-incident", self.id)
    }

    /// Does another ticket's incident show it? Then it has no issue and no message of its own.
    pub fn is_follower(&self) -> bool {
        self.joined.is_some()
    }

    /// Does its leader know it as it is now?
    pub fn is_reported(&self) -> bool {
        self.joined
            .as_ref()
            .is_none_or(|joined| joined.reported >= self.version)
    }

    /// The ticket that leads the incident: this one or another.
    pub fn leader(&self) -> &TicketId {
        self.joined
            .as_ref()
            .map_or(&self.id, |joined| &joined.leader)
    }

    /// When its story is to tell of followers that it did not tell of yet.
    pub fn digest_due(&self) -> Option<DateTime<Utc>> {
        let incident = self.incident.as_ref().filter(|_| !self.is_closed())?;
        let joined = (incident.told < incident.tickets)
            .then_some(incident.told_at)
            .flatten();
        let asked = incident
            .has_untold_question()
            .then_some(incident.asked_at)
            .flatten();
        joined.into_iter().chain(asked).min().map(|at| at + DIGEST)
    }

    /// Have its followers been brought to the status that it got?
    pub fn has_told_followers(&self) -> bool {
        let told = |incident: &Incident| incident.applied >= self.status_version;
        self.incident.as_ref().is_none_or(told)
    }
}
