//! The state machine: (ticket, event, now) → (ticket, audit entries), or a refusal with its reason.
//!
//! Pure. Events come from the doors, the deliveries and the sweep; whatever caused a change, it passes
//! here (law L3). A late or repeated event is refused with [`Refusal::Nothing`] or
//! [`Refusal::Contradicts`] and changes nothing; the caller records it where that matters. The machine
//! knows what *may* follow what; the policy in `remediation.rs` decides what *should*.

mod attempts;
mod caring;
mod deciding;
mod deliveries;
mod incidents;
mod people;
mod silences;
mod status;
mod tries;

use chrono::{DateTime, Duration, Utc};

use super::{
    Actor, AuditEntry, Bookkeeping, Care, Channel, Chapter, ChapterKind, DeliveryFault, Incident,
    Intent, JiraRecord, Joined, Priority, Record, Remediation, RemediationState, Silenced, Sink,
    Sla, SlackRecord, Status, Ticket, TicketId,
};
use crate::diagnosis::{Action, Category, Diagnosis, Risk};
use crate::evidence::Gap;
use crate::failure::Failure;
use crate::patrol::Recovery;
use crate::sources::airflow::units::Latest;
use attempts::{abandon, call_off_attempt, called, calling, healed_meanwhile, postpone, reported};
use deciding::{answer, decide, expire};
use deliveries::{end_delivery, lease_sink, next_delivery, record_jira};
use status::{breach, change_status, delete_issue, recovered};

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

/// What a change came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The ticket as it is now.
    pub ticket: Ticket,
    /// Can people see the change? Then the sinks are brought up to date.
    pub visible: bool,
    /// When it was made.
    pub at: DateTime<Utc>,
}

/// Why an event changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is already so.
    #[error("nothing to do: {0}")]
    Nothing(String),
    /// It contradicts what happened meanwhile.
    #[error("{0}")]
    Contradicts(String),
}

fn nothing(why: impl Into<String>) -> Refusal {
    Refusal::Nothing(why.into())
}

fn contradicts(why: impl Into<String>) -> Refusal {
    Refusal::Contradicts(why.into())
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

/// What opens a ticket.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id, from the claim.
    pub id: TicketId,
    /// What failed.
    pub failure: Failure,
    /// Why it failed.
    pub diagnosis: Diagnosis,
    /// How many pieces of evidence are stored.
    pub evidence_count: u32,
    /// What could not be had.
    pub gaps: Vec<Gap>,
    /// The latest try of it that was reported.
    pub latest: Latest,
    /// The closed ticket of the same unit, if it failed before.
    pub follows: Option<TicketId>,
    /// When the report came in.
    pub received_at: DateTime<Utc>,
    /// W3C traceparent of the report.
    pub trace: Option<String>,
    /// Sinks that are switched off, by name, with the reason.
    pub sinks_off: std::collections::BTreeMap<String, String>,
}

impl Opening {
    /// Of a failure about which nothing else is known.
    pub fn of(id: TicketId, failure: Failure, diagnosis: Diagnosis, now: DateTime<Utc>) -> Self {
        Self {
            id,
            failure,
            diagnosis,
            evidence_count: 0,
            gaps: Vec::new(),
            latest: Latest::default(),
            follows: None,
            received_at: now,
            trace: None,
            sinks_off: std::collections::BTreeMap::new(),
        }
    }
}

/// [`open`], as a change.
pub fn opened(opening: Opening, now: DateTime<Utc>) -> Change {
    Change {
        ticket: open(opening, now),
        visible: true,
        at: now,
    }
}

/// Opens a ticket: its first version, with its first audit entry.
pub fn open(opening: Opening, now: DateTime<Utc>) -> Ticket {
    let Opening {
        id,
        failure,
        diagnosis,
        evidence_count,
        gaps,
        latest,
        follows,
        received_at,
        trace,
        sinks_off,
    } = opening;
    let severity = diagnosis.severity;
    let priority = Priority::of(severity);
    let seconds = priority.sla_seconds();
    let system = Actor::system();
    let created = AuditEntry {
        at: now,
        actor: system.clone(),
        what: "Ticket Created".to_owned(),
        detail: format!(
            "{} ({}, {}), rule {}",
            diagnosis.error_type, severity, priority, diagnosis.rule
        ),
    };
    let story = follows.iter().map(|before| Chapter {
        number: 1,
        at: now,
        kind: ChapterKind::Recurrence,
        text: format!("It failed before in this run: see ticket {before}, which is closed"),
        from: None,
    });
    Ticket {
        owner: None,
        owner_known_from: None,
        importance: None,
        remediation: Remediation {
            state: RemediationState::None,
            decision: "not decided yet".to_owned(),
            action: diagnosis.action,
            risk: diagnosis.risk,
            max_attempts: 0,
            node_type: None,
            approval: None,
            attempts: Vec::new(),
        },
        id,
        failure,
        received_at,
        first_seen: received_at,
        last_seen: received_at,
        count: 1,
        diagnosis,
        correction: None,
        severity,
        priority,
        sla: Sla {
            seconds,
            due_at: received_at + Duration::seconds(i64::from(seconds)),
            breached_at: None,
        },
        status: Status::Open,
        status_version: 0,
        status_at: received_at,
        status_by: system,
        story: story.collect(),
        follows,
        evidence_count,
        gaps,
        silenced: None,
        silence: None,
        joined: None,
        incident: None,
        past: None,
        jira: JiraRecord::default(),
        slack: SlackRecord::default(),
        teams: (!sinks_off.contains_key(Sink::Teams.name())).then(Box::default),
        sinks_off,
        version: 1,
        trace,
        books: Bookkeeping {
            audit: vec![created],
            latest,
            ..Bookkeeping::default()
        },
    }
}

/// A ticket being changed: collects audit entries and visibility.
struct Draft {
    ticket: Ticket,
    audit: Vec<AuditEntry>,
    visible: bool,
    now: DateTime<Utc>,
}

impl Draft {
    fn audit(&mut self, actor: &Actor, what: &str, detail: impl Into<String>) {
        self.audit.push(AuditEntry {
            at: self.now,
            actor: actor.clone(),
            what: what.to_owned(),
            detail: detail.into(),
        });
    }

    fn add_chapter(&mut self, kind: ChapterKind, text: impl Into<String>) {
        self.add_chapter_from(None, kind, text);
    }

    /// The same of what a person did, through this door.
    fn add_chapter_from(
        &mut self,
        from: Option<Channel>,
        kind: ChapterKind,
        text: impl Into<String>,
    ) {
        let number = u32::try_from(self.ticket.story.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        self.ticket.story.push(Chapter {
            number,
            at: self.now,
            kind,
            text: text.into(),
            from,
        });
        self.visible = true;
    }

    fn status(&mut self, to: Status, by: &Actor, at: DateTime<Utc>) {
        self.ticket.books.status_from = Some(self.ticket.status);
        self.ticket.status = to;
        self.ticket.status_version += 1;
        self.ticket.status_at = at;
        self.ticket.status_by = by.clone();
        self.ticket.books.confirmed = None;
        self.visible = true;
    }

    fn finish(mut self) -> Change {
        self.ticket.books.audit = self.audit;
        if self.visible {
            self.ticket.version += 1;
        }
        Change {
            ticket: self.ticket,
            visible: self.visible,
            at: self.now,
        }
    }
}

/// Applies one event. `Ok` with `visible: false` still has to be stored.
///
/// The entries in [`Bookkeeping::audit`] of the given ticket must already be in the audit table.
pub fn apply(ticket: &Ticket, event: &Event, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let mut ticket = ticket.clone();
    ticket.books.audited += u32::try_from(ticket.books.audit.len()).unwrap_or(0);
    ticket.books.audit.clear();
    let mut draft = Draft {
        ticket,
        audit: Vec::new(),
        visible: false,
        now,
    };
    let d = &mut draft;
    match event {
        Event::ReportedAgain => {
            d.ticket.count = d.ticket.count.saturating_add(1);
            d.ticket.last_seen = now;
        }
        Event::TryReported { latest, told } => tries::reported(d, latest, told.as_deref()),
        Event::NamedBetter(failure) => tries::named_better(d, failure)?,
        Event::DiagnosedAgain(examined) => tries::diagnosed_again(d, examined)?,
        Event::Rated(care) => caring::rate(d, care)?,
        Event::StatusChanged {
            to,
            by,
            at,
            jira_status,
        } => change_status(d, *to, by, *at, jira_status.as_deref())?,
        Event::Commented { text, by } => people::comment(d, text, by)?,
        Event::Corrected { category, line, by } => people::correct(d, *category, line, by)?,
        Event::IssueDeleted { by } => delete_issue(d, by)?,
        Event::Recovered(recovery) => recovered(d, recovery)?,
        Event::SlaBreached => breach(d)?,
        Event::Decided(decision) => decide(d, decision)?,
        Event::ApprovalAnswered {
            approval,
            plan,
            approved,
            by,
        } => answer(d, approval, plan, *approved, by)?,
        Event::IncidentAnswered {
            count,
            approved,
            by,
        } => incidents::answered(d, *count, *approved, by)?,
        Event::ApprovalExpired => expire(d)?,
        Event::AttemptCalling { attempt, deadline } => calling(d, attempt, *deadline)?,
        Event::AttemptCalled { attempt, outcome } => called(d, attempt, outcome)?,
        Event::AttemptReported {
            attempt,
            report,
            run_id,
        } => reported(d, attempt, report, run_id.as_deref())?,
        Event::AttemptAbandoned { attempt, why } => abandon(d, attempt, why)?,
        Event::AttemptPostponed {
            attempt,
            why,
            until,
        } => postpone(d, attempt, why, *until)?,
        Event::HealedMeanwhile { attempt, how } => healed_meanwhile(d, attempt, how)?,
        Event::AttemptCalledOff { attempt, why } => call_off_attempt(d, attempt, why)?,
        Event::Joined(joined) => incidents::join(d, joined)?,
        Event::Left { why } => incidents::leave(d, why)?,
        Event::ToldLeader { version } => incidents::told(d, *version)?,
        Event::Silenced(silenced) => silences::silence(d, silenced)?,
        Event::SilenceSet { silence, by } => silences::set(d, silence, by)?,
        Event::SilenceLifted { id, by } => silences::lifted(d, id, by)?,
        Event::ProbeSucceeded => incidents::probed(d)?,
        Event::Gathered(incident) => incidents::gathered(d, incident)?,
        Event::Recurred { ticket, at } => incidents::recurred(d, ticket, *at)?,
        Event::Followed { to, by } => incidents::followed(d, *to, by)?,
        Event::JiraCompared => d.ticket.books.jira_compared_at = Some(now),
        Event::Leased { sink, lease } => lease_sink(d, *sink, lease)?,
        Event::Recorded(Record::Jira(record)) => record_jira(d, record),
        Event::Recorded(Record::Slack(record)) => d.ticket.slack = record.clone(),
        Event::Recorded(Record::Teams(record)) => {
            d.ticket.teams = Some(Box::new(record.clone()));
        }
        Event::Woken { sink } => {
            let state = d.ticket.books.sinks.of(*sink);
            state.delivered = 0;
            state.blocked = None;
        }
        Event::DeliveryEnded {
            sink,
            holder,
            shown,
            fault,
            settings,
            again,
        } => {
            end_delivery(d, *sink, holder, *shown, fault.as_ref(), settings.clone());
            next_delivery(d, *sink, *again);
        }
    }
    Ok(draft.finish())
}
