//! What can happen to a ticket, and what the policy and the playbooks say about it.

use chrono::{DateTime, Utc};

use crate::diagnosis::{Action, Category, Diagnosis, Risk};
use crate::evidence::Gap;
use crate::failure::Failure;
use crate::patrol::Recovery;
use crate::sources::airflow::units::Latest;
use crate::ticket::{
    Actor, Care, DeliveryFault, Incident, Intent, Joined, Record, Silenced, Sink, Status, TicketId,
};

/// Everything that can happen to a ticket after it was opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The same run was reported again.
    ReportedAgain,
    /// One more report of the same task instance, or of its run.
    TryReported {
        /// What it says about try and end.
        latest: Latest,
        /// What people read about it, if it is new to them.
        told: Option<String>,
    },
    /// A report named what failed better than the one that opened the ticket.
    NamedBetter(Box<Failure>),
    /// The better named failure was analysed.
    DiagnosedAgain(Box<Examined>),
    /// Who owns it, and how much it matters.
    Rated(Box<Care>),
    /// Somebody changed the status. `at` is the time of the change by the sender's clock.
    StatusChanged {
        /// The new status.
        to: Status,
        /// Who.
        by: Actor,
        /// When, by the sender's clock.
        at: DateTime<Utc>,
        /// JIRA's own name of the status, if it came from there.
        jira_status: Option<String>,
    },
    /// A person says something about it.
    Commented {
        /// The words, redacted.
        text: String,
        /// Who.
        by: Actor,
    },
    /// A person says that the cause is another.
    Corrected {
        /// The right category.
        category: Category,
        /// The cause in one line, redacted; may be empty.
        line: String,
        /// Who.
        by: Actor,
    },
    /// The JIRA issue was deleted by somebody.
    IssueDeleted {
        /// Who.
        by: Actor,
    },
    /// A good run of the same asset, begun after the failure, was seen.
    Recovered(Box<Recovery>),
    /// The SLA ran out while the ticket was open.
    SlaBreached,
    /// The policy decided.
    Decided(Decision),
    /// A person answered an approval.
    ApprovalAnswered {
        /// Which question.
        approval: String,
        /// The plan the person saw.
        plan: String,
        /// Yes or no.
        approved: bool,
        /// Who.
        by: Actor,
    },
    /// The questions about its followers were answered together.
    IncidentAnswered {
        /// How many.
        count: usize,
        /// Yes or no.
        approved: bool,
        /// Who.
        by: Actor,
    },
    /// Nobody answered in time.
    ApprovalExpired,
    /// The playbook is about to be called: recorded first (law L5).
    AttemptCalling {
        /// Which attempt.
        attempt: String,
        /// Without a callback by then the watchdog asks the vendor.
        deadline: DateTime<Utc>,
    },
    /// What the call came to.
    AttemptCalled {
        /// Which attempt.
        attempt: String,
        /// The call's outcome.
        outcome: Called,
    },
    /// The playbook (or the vendor) reported about an attempt.
    AttemptReported {
        /// Which attempt.
        attempt: String,
        /// What it said.
        report: Report,
        /// The vendor's run, if it named one.
        run_id: Option<String>,
    },
    /// The watchdog could not find out and hands over to a person.
    AttemptAbandoned {
        /// Which attempt.
        attempt: String,
        /// Why.
        why: String,
    },
    /// The playbook found that what it should run again runs already, and did nothing: the attempt waits.
    AttemptPostponed {
        /// Which attempt.
        attempt: String,
        /// Why.
        why: String,
        /// Until when.
        until: DateTime<Utc>,
    },
    /// Right before its call a planned attempt turned out to be needless: the vendor says that it has succeeded.
    HealedMeanwhile {
        /// Which attempt.
        attempt: String,
        /// How it stands.
        how: String,
    },
    /// A planned attempt is not made after all: its playbook was never called.
    AttemptCalledOff {
        /// Which attempt.
        attempt: String,
        /// Why.
        why: String,
    },
    /// It is part of another ticket's incident, or of another one than before.
    Joined(Joined),
    /// Nobody leads it any more: it leads its own incident.
    Left {
        /// Why.
        why: String,
    },
    /// Its leader was told of it as it is.
    ToldLeader {
        /// The version that was told.
        version: u64,
    },
    /// A silence covers it: nobody is told of it.
    Silenced(Box<Silenced>),
    /// A silence was set from it.
    SilenceSet {
        /// Which.
        silence: Box<Silenced>,
        /// Who set it.
        by: Actor,
    },
    /// That silence is over.
    SilenceLifted {
        /// Which.
        id: String,
        /// Who ended it.
        by: Actor,
    },
    /// One asset of its incident is healed: its own remediation need not wait any longer.
    ProbeSucceeded,
    /// What is known of its followers.
    Gathered(Box<Incident>),
    /// A follower failed after the incident was closed.
    Recurred {
        /// Which.
        ticket: TicketId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Its incident got a status: it gets it too.
    Followed {
        /// The status.
        to: Status,
        /// Who brought the incident there.
        by: Actor,
    },
    /// The issue was read back, for a change whose webhook was lost.
    JiraCompared,
    /// A delivery takes, or keeps, the right to work on a sink.
    Leased {
        /// Which sink.
        sink: Sink,
        /// The intent to work on it.
        lease: Intent,
    },
    /// A sink that shows the ticket recorded something.
    Recorded(Record),
    /// The sink has to look again although nothing people see has changed (a deadline passed).
    Woken {
        /// Which sink.
        sink: Sink,
    },
    /// A delivery ended; its lease goes.
    DeliveryEnded {
        /// Which sink.
        sink: Sink,
        /// Whose lease.
        holder: String,
        /// The version that is shown now, when the sink is up to date (or gave up on that version).
        shown: Option<u64>,
        /// What stopped it, if anything did.
        fault: Option<DeliveryFault>,
        /// A digest of the sink's settings: with other settings a fault that lasts is tried again at once.
        settings: Option<String>,
        /// When it goes on, if it waits.
        again: Option<DateTime<Utc>>,
    },
}

/// What would be done to remediate the failure, once somebody or the policy decides so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What.
    pub action: Action,
    /// How risky.
    pub risk: Risk,
    /// How many attempts in all.
    pub max_attempts: u32,
    /// The machine size a cluster is restarted with, if not its own.
    pub node_type: Option<String>,
}

/// What the policy wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Run the playbook, at this time.
    Run {
        /// What it does.
        plan: Plan,
        /// When.
        due_at: DateTime<Utc>,
        /// Why.
        why: String,
    },
    /// Ask a person first.
    Ask {
        /// What would be done.
        plan: Plan,
        /// The plan, as the person reads it.
        text: String,
        /// Its hash.
        hash: String,
        /// Why a person is asked.
        why: String,
        /// Until when.
        expires_at: DateTime<Utc>,
    },
    /// Leave it, and why.
    Leave {
        /// Why.
        why: String,
        /// Is that the end of attempts that were made?
        exhausted: bool,
    },
}

/// What calling a playbook came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Called {
    /// It took the request.
    Accepted,
    /// It will never take this request.
    Refused(String),
    /// Nobody knows: never repeated blindly.
    Unknown(String),
    /// The request never left: it may be sent again at this time.
    NotSent(String, DateTime<Utc>),
}

/// What was said about an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It healed the failure, by the playbook's word; to be verified with the vendor.
    ClaimsSuccess,
    /// It healed the failure, by the vendor's word, or by the playbook's where no vendor can be asked.
    Succeeded,
    /// It ended well, but moved nothing, or much less than usual: in words.
    Empty(String),
    /// It ran and failed.
    Failed(String),
    /// It still runs.
    Progress,
    /// It says two things that contradict each other: neither counts, the vendor is asked.
    Unclear,
}

/// What the analysis of a failure came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// What failed, as far as it is known now.
    pub failure: Failure,
    /// Why.
    pub diagnosis: Diagnosis,
    /// How many pieces of evidence are stored.
    pub evidence_count: u32,
    /// What could not be had.
    pub gaps: Vec<Gap>,
}
