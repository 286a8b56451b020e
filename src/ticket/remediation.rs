//! How healing a ticket stands: the decision, the question to a person, the attempts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Actor;
use crate::diagnosis::{Action, Risk};

/// How a remediation stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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

impl RemediationState {
    /// The name used in JSON and CSV.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl AttemptState {
    /// As people read it.
    pub fn label(self) -> &'static str {
        self.into()
    }
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

/// How one attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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

impl Attempt {
    /// What it does, e.g. `retry the pipeline`, `restart the cluster with node type Standard_D8ds_v5`.
    pub fn words(&self) -> String {
        format!(
            "{}{}",
            self.action.words(),
            with_node_type(self.node_type.as_deref())
        )
    }
}

/// ` with node type Standard_D8ds_v5`, to stand behind what is restarted; nothing for its own.
pub(crate) fn with_node_type(node_type: Option<&str>) -> String {
    node_type
        .map(|name| format!(" with node type {name}"))
        .unwrap_or_default()
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

/// The answer to an [`Approval`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: Actor,
    /// When.
    pub at: DateTime<Utc>,
}
