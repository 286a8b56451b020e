//! The state machine: (ticket, event, now) → (ticket, audit entries), or a refusal with its reason.
//!
//! Pure. Events come from the doors, the deliveries and the sweep; whatever caused a change, it passes
//! here (law L3). A late or repeated event is refused with [`Refusal::Nothing`] or
//! [`Refusal::Contradicts`] and changes nothing; the caller records it where that matters. The machine
//! knows what *may* follow what; the policy in `remediation.rs` decides what *should*.

use chrono::{DateTime, Duration, Utc};

use super::{
    Actor, Answer, Approval, Attempt, AttemptState, AuditEntry, Books, Channel, Chapter, ChapterKind, DeliveryFault, JiraRecord,
    Lease, Priority, Remediation, RemediationState, Sink, Sla, SlackRecord, Status, Ticket, TicketId,
};
use crate::diagnosis::{Action, Diagnosis, Risk};
use crate::evidence::Gap;
use crate::failure::{Failure, field};

/// Everything that can happen to a ticket after it was opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The same run was reported again.
    ReportedAgain,
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
    /// The JIRA issue was deleted by somebody.
    IssueDeleted {
        /// Who.
        by: Actor,
    },
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
    /// A planned attempt is not made after all: its playbook was never called.
    AttemptCalledOff {
        /// Which attempt.
        attempt: String,
        /// Why.
        why: String,
    },
    /// The issue was read back, for a change whose webhook was lost.
    JiraCompared,
    /// A delivery takes, or keeps, the right to work on a sink.
    Leased {
        /// Which sink.
        sink: Sink,
        /// The lease.
        lease: Lease,
    },
    /// The JIRA sink recorded something.
    JiraRecorded(JiraRecord),
    /// The Slack sink recorded something.
    SlackRecorded(SlackRecord),
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
        /// When it goes on, if it waits.
        again: Option<DateTime<Utc>>,
    },
}

/// What the policy wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Run the playbook for this action, at this time.
    Run {
        /// What.
        action: Action,
        /// How risky.
        risk: Risk,
        /// How many attempts in all.
        max_attempts: u32,
        /// When.
        due_at: DateTime<Utc>,
        /// Why.
        why: String,
    },
    /// Ask a person first.
    Ask {
        /// What would be done.
        action: Action,
        /// How risky.
        risk: Risk,
        /// How many attempts in all.
        max_attempts: u32,
        /// The plan, as the person reads it.
        plan_text: String,
        /// Its hash.
        plan: String,
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

/// What opens a ticket.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Its id, from the claim.
    pub id: TicketId,
    /// What failed.
    pub failure: Failure,
    /// When the report came in.
    pub received_at: DateTime<Utc>,
    /// Why it failed.
    pub diagnosis: Diagnosis,
    /// How many pieces of evidence are stored.
    pub evidence_count: u32,
    /// What could not be had.
    pub gaps: Vec<Gap>,
    /// W3C traceparent of the report.
    pub trace: Option<String>,
    /// Sinks that are switched off, by name, with the reason.
    pub sinks_off: std::collections::BTreeMap<String, String>,
}

/// Opens a ticket: its first version, with its first audit entry.
pub fn open(opening: Opening, now: DateTime<Utc>) -> Ticket {
    let Opening { id, failure, received_at, diagnosis, evidence_count, gaps, trace, sinks_off } = opening;
    let severity = diagnosis.severity;
    let priority = Priority::of(severity);
    let seconds = priority.sla_seconds();
    let system = Actor::system();
    let created = AuditEntry {
        at: now,
        actor: system.clone(),
        what: "Ticket Created".to_owned(),
        detail: format!("{} ({:?}, {:?}), rule {}", diagnosis.error_type, severity, priority, diagnosis.rule),
    };
    Ticket {
        owner: failure.field(field::OWNER).map(str::to_owned),
        remediation: Remediation {
            state: RemediationState::None,
            decision: "not decided yet".to_owned(),
            action: diagnosis.action,
            risk: diagnosis.risk,
            max_attempts: 0,
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
        severity,
        priority,
        sla: Sla { seconds, due_at: received_at + Duration::seconds(i64::from(seconds)), breached_at: None },
        status: Status::Open,
        status_version: 0,
        status_at: received_at,
        status_by: system,
        story: Vec::new(),
        evidence_count,
        gaps,
        jira: JiraRecord::default(),
        slack: SlackRecord::default(),
        sinks_off,
        version: 1,
        trace,
        books: Books { audit: vec![created], ..Books::default() },
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
        self.audit.push(AuditEntry { at: self.now, actor: actor.clone(), what: what.to_owned(), detail: detail.into() });
    }

    fn tell(&mut self, kind: ChapterKind, text: impl Into<String>) {
        let number = u32::try_from(self.ticket.story.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.ticket.story.push(Chapter { number, at: self.now, kind, text: text.into() });
        self.visible = true;
    }

    fn status(&mut self, to: Status, by: &Actor, at: DateTime<Utc>) {
        self.ticket.books.status_from = Some(self.ticket.status);
        self.ticket.status = to;
        self.ticket.status_version += 1;
        self.ticket.status_at = at;
        self.ticket.status_by = by.clone();
        self.visible = true;
    }

    fn finish(mut self) -> Change {
        self.ticket.books.audit = self.audit;
        if self.visible {
            self.ticket.version += 1;
        }
        Change { ticket: self.ticket, visible: self.visible }
    }
}

/// Applies one event. `Ok` with `visible: false` still has to be stored.
///
/// The entries in [`Books::audit`] of the given ticket must already be in the audit table.
pub fn apply(ticket: &Ticket, event: &Event, now: DateTime<Utc>) -> Result<Change, Refusal> {
    let mut ticket = ticket.clone();
    ticket.books.audited += u32::try_from(ticket.books.audit.len()).unwrap_or(0);
    ticket.books.audit.clear();
    let mut draft = Draft { ticket, audit: Vec::new(), visible: false, now };
    let d = &mut draft;
    match event {
        Event::ReportedAgain => {
            d.ticket.count = d.ticket.count.saturating_add(1);
            d.ticket.last_seen = now;
        }
        Event::StatusChanged { to, by, at, jira_status } => change_status(d, *to, by, *at, jira_status.as_deref())?,
        Event::IssueDeleted { by } => delete_issue(d, by)?,
        Event::SlaBreached => breach(d)?,
        Event::Decided(decision) => decide(d, decision)?,
        Event::ApprovalAnswered { approval, plan, approved, by } => answer(d, approval, plan, *approved, by)?,
        Event::ApprovalExpired => expire(d)?,
        Event::AttemptCalling { attempt, deadline } => calling(d, attempt, *deadline)?,
        Event::AttemptCalled { attempt, outcome } => called(d, attempt, outcome)?,
        Event::AttemptReported { attempt, report, run_id } => reported(d, attempt, report, run_id.as_deref())?,
        Event::AttemptAbandoned { attempt, why } => abandon(d, attempt, why)?,
        Event::AttemptCalledOff { attempt, why } => call_off_attempt(d, attempt, why)?,
        Event::JiraCompared => d.ticket.books.jira_compared_at = Some(now),
        Event::Leased { sink, lease } => lease_sink(d, *sink, lease)?,
        Event::JiraRecorded(record) => record_jira(d, record),
        Event::SlackRecorded(record) => d.ticket.slack = record.clone(),
        Event::Woken { sink } => {
            d.ticket.books.delivered.remove(sink);
        }
        Event::DeliveryEnded { sink, holder, shown, fault, again } => {
            end_delivery(d, *sink, holder, *shown, fault.as_ref());
            next_delivery(d, *sink, *again);
        }
    }
    Ok(draft.finish())
}

fn change_status(d: &mut Draft, to: Status, by: &Actor, at: DateTime<Utc>, jira_status: Option<&str>) -> Result<(), Refusal> {
    if by.channel == Channel::Jira {
        if let Some(last) = d.ticket.books.jira_event_at
            && at < last
        {
            return Err(contradicts(format!("a newer change from JIRA (at {last}) was applied already")));
        }
        // The playbook's success closes the ticket whatever its status was, so what came before it is over, too.
        let ours = &d.ticket.status_by;
        let elsewhere = ours.is_person() && ours.channel != Channel::Jira || ours.channel == Channel::Playbook;
        if elsewhere && at < d.ticket.status_at {
            return Err(contradicts(format!("{} changed the status later, at {}", ours.name, d.ticket.status_at)));
        }
        d.ticket.books.jira_event_at = Some(at);
    }
    if let Some(name) = jira_status {
        d.ticket.jira.status = Some(name.to_owned());
    }
    let from = d.ticket.status;
    if from == to {
        // A person's close outranks a machine's: the ticket stays closed, by the person.
        if to == Status::Acknowledged && by.is_person() && !d.ticket.status_by.is_person() {
            d.ticket.status_by = by.clone();
            d.ticket.status_at = at;
            d.visible = true;
            d.audit(by, "Close Confirmed", "closed by a person as well");
            return Ok(());
        }
        if by.channel == Channel::Jira && jira_status.is_some() {
            return Ok(());
        }
        return Err(nothing(format!("the status is {} already", to.name())));
    }
    d.status(to, by, at);
    d.audit(
        by,
        "Status Changed",
        format!("{} → {}{}", from.name(), to.name(), jira_status.map(|s| format!(" (JIRA: {s})")).unwrap_or_default()),
    );
    let (kind, text) = match (from, to) {
        (_, Status::Acknowledged) => {
            (ChapterKind::Closed, format!("Closed by {} on {}", by.name, at.format("%Y-%m-%d %H:%M:%S UTC")))
        }
        (Status::Acknowledged, _) => (ChapterKind::Reopened, format!("Reopened by {}", by.name)),
        (_, Status::InProgress) => (ChapterKind::InProgress, format!("{} works on it", by.name)),
        (_, Status::Open) => (ChapterKind::Reopened, format!("Set back to open by {}", by.name)),
    };
    // JIRA tells its own story; a change made elsewhere is told there too.
    if by.channel != Channel::Jira {
        d.tell(kind, text);
    }
    if to == Status::Acknowledged && by.is_person() {
        call_off(d, &format!("{} closed the ticket", by.name));
    }
    Ok(())
}

/// What was planned but not yet called is called off; what runs goes on and is recorded when it ends.
fn call_off(d: &mut Draft, why: &str) {
    let now = d.now;
    let mut called_off = false;
    if let Some(attempt) = d.ticket.remediation.attempts.last_mut()
        && attempt.state == AttemptState::Scheduled
    {
        attempt.state = AttemptState::Cancelled;
        attempt.ended_at = Some(now);
        attempt.outcome = Some(format!("called off: {why}"));
        called_off = true;
    }
    if called_off || d.ticket.remediation.state == RemediationState::AwaitingApproval {
        d.ticket.remediation.state = RemediationState::None;
        d.ticket.remediation.decision = format!("called off: {why}");
        d.audit(&Actor::system(), "Remediation Called Off", why);
        d.visible = true;
    }
}

fn call_off_attempt(d: &mut Draft, id: &str, why: &str) -> Result<(), Refusal> {
    let attempt = running(d, id)?;
    if attempt.state != AttemptState::Scheduled {
        return Err(contradicts("the playbook of this attempt was called already"));
    }
    let number = attempt.number;
    end_attempt(d, id, AttemptState::Cancelled, format!("called off: {why}"));
    let failed_before = d.ticket.remediation.attempts.iter().any(|attempt| attempt.state == AttemptState::Failed);
    d.ticket.remediation.state = if failed_before { RemediationState::Exhausted } else { RemediationState::None };
    d.ticket.remediation.decision = format!("attempt {number} was called off: {why}");
    d.audit(&Actor::system(), "Remediation Called Off", why);
    d.tell(ChapterKind::RemediationExhausted, format!("Attempt {number} was called off: {why}. A person has to take over."));
    Ok(())
}

fn delete_issue(d: &mut Draft, by: &Actor) -> Result<(), Refusal> {
    if d.ticket.jira.deleted {
        return Err(nothing("the issue is known to be deleted"));
    }
    d.ticket.jira.deleted = true;
    d.visible = true;
    d.audit(by, "JIRA Issue Deleted", "it is not created anew");
    Ok(())
}

fn breach(d: &mut Draft) -> Result<(), Refusal> {
    if d.ticket.sla.breached_at.is_some() || d.ticket.status != Status::Open {
        return Err(nothing("the SLA no longer runs"));
    }
    if d.now < d.ticket.sla.due_at {
        return Err(nothing("the SLA still runs"));
    }
    d.ticket.sla.breached_at = Some(d.now);
    let words = d.ticket.priority.sla_words();
    d.audit(&Actor::system(), "SLA Breached", format!("not taken within {words}"));
    d.tell(ChapterKind::SlaBreached, format!("SLA breached: nobody took this {:?} ticket within {words}", d.ticket.priority));
    Ok(())
}

fn decide(d: &mut Draft, decision: &Decision) -> Result<(), Refusal> {
    if d.ticket.current_attempt().is_some() {
        return Err(contradicts("an attempt is under way"));
    }
    let system = Actor::system();
    match decision {
        Decision::Run { action, risk, max_attempts, due_at, why } => {
            if d.ticket.is_closed() {
                return Err(contradicts("the ticket is closed"));
            }
            plan(&mut d.ticket.remediation, *action, *risk, *max_attempts, why);
            schedule(d, *due_at);
            d.audit(&system, "Remediation Planned", why.clone());
        }
        Decision::Ask { action, risk, max_attempts, plan_text, plan: hash, why, expires_at } => {
            if d.ticket.is_closed() {
                return Err(contradicts("the ticket is closed"));
            }
            plan(&mut d.ticket.remediation, *action, *risk, *max_attempts, why);
            let attempt = next_number(&d.ticket.remediation);
            d.ticket.remediation.state = RemediationState::AwaitingApproval;
            d.ticket.remediation.approval = Some(Approval {
                id: format!("{}-q{attempt}", d.ticket.id),
                attempt,
                plan: hash.clone(),
                plan_text: plan_text.clone(),
                why: why.clone(),
                expires_at: *expires_at,
                answer: None,
            });
            d.audit(&system, "Approval Asked", format!("{plan_text} Why: {why}"));
            d.tell(ChapterKind::ApprovalAsked, format!("Approval asked: {plan_text} Why a person is asked: {why}"));
        }
        Decision::Leave { why, exhausted } => {
            d.ticket.remediation.decision.clone_from(why);
            if *exhausted {
                d.ticket.remediation.state = RemediationState::Exhausted;
                d.tell(ChapterKind::RemediationExhausted, format!("No further attempt: {why}. A person has to take over."));
            }
            d.audit(&system, "Remediation Decided", format!("left to people: {why}"));
            d.visible = true;
        }
    }
    Ok(())
}

fn plan(remediation: &mut Remediation, action: Action, risk: Risk, max_attempts: u32, why: &str) {
    remediation.action = action;
    remediation.risk = risk;
    remediation.max_attempts = max_attempts;
    why.clone_into(&mut remediation.decision);
}

fn next_number(remediation: &Remediation) -> u32 {
    u32::try_from(remediation.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
}

fn schedule(d: &mut Draft, due_at: DateTime<Utc>) {
    let number = next_number(&d.ticket.remediation);
    let action = d.ticket.remediation.action;
    d.ticket.remediation.attempts.push(Attempt {
        id: format!("{}-a{number}", d.ticket.id),
        number,
        action,
        state: AttemptState::Scheduled,
        due_at,
        called_at: None,
        deadline: None,
        run_id: None,
        ended_at: None,
        outcome: None,
    });
    d.ticket.remediation.state = RemediationState::Scheduled;
    let of = d.ticket.remediation.max_attempts;
    d.tell(
        ChapterKind::RemediationPlanned,
        format!("Attempt {number} of {of} ({}) is planned for {}", action.words(), due_at.format("%H:%M:%S UTC")),
    );
}

fn answer(d: &mut Draft, id: &str, plan: &str, approved: bool, by: &Actor) -> Result<(), Refusal> {
    let (now, closed) = (d.now, d.ticket.is_closed());
    let Some(approval) = d.ticket.remediation.approval.as_mut().filter(|approval| approval.id == id) else {
        return Err(contradicts("this question is no longer asked"));
    };
    if let Some(answer) = &approval.answer {
        let word = if answer.approved { "approved" } else { "rejected" };
        return Err(contradicts(format!("{} {word} it already", answer.by.name)));
    }
    if approval.plan != plan {
        return Err(contradicts("the plan has changed since it was shown"));
    }
    if now >= approval.expires_at || d.ticket.remediation.state != RemediationState::AwaitingApproval {
        return Err(contradicts("the question has expired"));
    }
    if closed {
        return Err(contradicts("the ticket is closed"));
    }
    approval.answer = Some(Answer { approved, by: by.clone(), at: now });
    if approved {
        d.audit(by, "Approval Given", plan.to_owned());
        d.tell(ChapterKind::ApprovalGiven, format!("{} approved the remediation", by.name));
        schedule(d, now);
    } else {
        d.ticket.remediation.state = RemediationState::Rejected;
        d.ticket.remediation.decision = format!("rejected by {}", by.name);
        d.audit(by, "Approval Rejected", plan.to_owned());
        d.tell(
            ChapterKind::ApprovalRejected,
            format!("{} rejected the remediation: nothing will be done automatically", by.name),
        );
    }
    Ok(())
}

fn expire(d: &mut Draft) -> Result<(), Refusal> {
    let due = d.ticket.remediation.approval.as_ref().is_some_and(|a| a.answer.is_none() && d.now >= a.expires_at);
    if d.ticket.remediation.state != RemediationState::AwaitingApproval || !due {
        return Err(nothing("no question has expired"));
    }
    d.ticket.remediation.state = RemediationState::Rejected;
    "nobody answered in time".clone_into(&mut d.ticket.remediation.decision);
    d.audit(&Actor::system(), "Approval Expired", "nobody answered in time");
    d.tell(ChapterKind::ApprovalExpired, "Nobody approved in time: nothing will be done automatically");
    Ok(())
}

/// Finds the attempt and checks that it may still change.
fn running<'a>(d: &'a mut Draft, id: &str) -> Result<&'a mut Attempt, Refusal> {
    match d.ticket.remediation.attempts.iter_mut().find(|attempt| attempt.id == id) {
        None => Err(contradicts("no such attempt of this ticket")),
        Some(attempt) if attempt.ended_at.is_some() => {
            Err(nothing(format!("attempt {} is over: {}", attempt.number, attempt.outcome.clone().unwrap_or_default())))
        }
        Some(attempt) => Ok(attempt),
    }
}

fn calling(d: &mut Draft, id: &str, deadline: DateTime<Utc>) -> Result<(), Refusal> {
    let (now, closed) = (d.now, d.ticket.is_closed());
    let attempt = running(d, id)?;
    if attempt.state != AttemptState::Scheduled {
        return Err(contradicts("the playbook of this attempt was called already"));
    }
    if closed {
        return Err(contradicts("the ticket is closed"));
    }
    attempt.state = AttemptState::Calling;
    attempt.called_at = Some(now);
    attempt.deadline = Some(deadline);
    d.ticket.remediation.state = RemediationState::Running;
    d.audit(&Actor::system(), "Playbook Called", id.to_owned());
    Ok(())
}

fn called(d: &mut Draft, id: &str, outcome: &Called) -> Result<(), Refusal> {
    let system = Actor::system();
    let attempt = running(d, id)?;
    let (number, action) = (attempt.number, attempt.action);
    match outcome {
        Called::Accepted => {
            // A callback may have been faster than the answer to the call.
            if attempt.state == AttemptState::Calling {
                attempt.state = AttemptState::Accepted;
            }
            d.audit(&system, "Remediation Started", id.to_owned());
            let of = d.ticket.remediation.max_attempts;
            d.tell(
                ChapterKind::RemediationStarted,
                format!("Remediation started: {} (attempt {number} of {of})", action.words()),
            );
        }
        Called::Refused(why) => {
            end_attempt(d, id, AttemptState::Refused, format!("the playbook refused it: {why}"));
            d.ticket.remediation.state = RemediationState::Exhausted;
            d.ticket.remediation.decision = format!("the playbook refused attempt {number}: {why}");
            d.audit(&system, "Remediation Refused", why.clone());
            d.tell(
                ChapterKind::RemediationExhausted,
                format!("The playbook refused attempt {number}: {why}. A person has to take over."),
            );
        }
        Called::Unknown(why) => {
            if attempt.state != AttemptState::Calling {
                return Err(nothing("a report came meanwhile"));
            }
            attempt.state = AttemptState::Unknown;
            d.ticket.remediation.state = RemediationState::Verifying;
            d.audit(&system, "Remediation Unknown", why.clone());
            d.tell(
                ChapterKind::RemediationUnknown,
                format!("It is not known whether attempt {number} started ({why}); it is not repeated, the vendor is asked"),
            );
        }
        Called::NotSent(why, again) => {
            if attempt.state != AttemptState::Calling {
                return Err(nothing("a report came meanwhile"));
            }
            attempt.state = AttemptState::Scheduled;
            attempt.called_at = None;
            attempt.deadline = None;
            attempt.due_at = *again;
            d.ticket.remediation.state = RemediationState::Scheduled;
            d.visible = true;
            d.audit(&system, "Playbook Not Reached", why.clone());
        }
    }
    Ok(())
}

fn end_attempt(d: &mut Draft, id: &str, state: AttemptState, outcome: String) {
    let now = d.now;
    if let Some(attempt) = d.ticket.remediation.attempts.iter_mut().find(|attempt| attempt.id == id) {
        attempt.state = state;
        attempt.ended_at = Some(now);
        attempt.outcome = Some(outcome);
    }
}

fn reported(d: &mut Draft, id: &str, report: &Report, run_id: Option<&str>) -> Result<(), Refusal> {
    let playbook = Actor { channel: Channel::Playbook, name: "playbook".to_owned() };
    let now = d.now;
    let attempt = running(d, id)?;
    if matches!(attempt.state, AttemptState::Scheduled) {
        return Err(contradicts("this attempt has not been called"));
    }
    let number = attempt.number;
    let learnt = run_id.is_some() && attempt.run_id.as_deref() != run_id;
    if let Some(run) = run_id {
        attempt.run_id = Some(run.to_owned());
    }
    match report {
        Report::Progress => {
            // Fed, the watchdog waits as long again as it was given at the start.
            let patience =
                attempt.deadline.zip(attempt.called_at).map_or(Duration::minutes(30), |(deadline, called)| deadline - called);
            attempt.deadline = Some(now + patience.clamp(Duration::minutes(1), Duration::hours(6)));
            let settled = attempt.state == AttemptState::Accepted && !learnt;
            attempt.state = AttemptState::Accepted;
            d.ticket.remediation.state = RemediationState::Running;
            if !settled {
                d.visible = true;
                d.audit(&playbook, "Remediation Running", run_id.unwrap_or("no run id").to_owned());
            }
        }
        Report::Unclear => {
            if attempt.state == AttemptState::Unknown && !learnt {
                return Err(nothing("the vendor is being asked"));
            }
            attempt.state = AttemptState::Unknown;
            d.ticket.remediation.state = RemediationState::Verifying;
            d.visible = true;
            d.audit(&playbook, "Remediation Unclear", run_id.unwrap_or("no run id").to_owned());
        }
        Report::ClaimsSuccess => {
            if attempt.state == AttemptState::Verifying && !learnt {
                return Err(nothing("its success is being verified"));
            }
            attempt.state = AttemptState::Verifying;
            d.ticket.remediation.state = RemediationState::Verifying;
            d.visible = true;
            d.audit(&playbook, "Remediation Claims Success", run_id.unwrap_or("no run id").to_owned());
        }
        Report::Succeeded => {
            end_attempt(d, id, AttemptState::Succeeded, "healed".to_owned());
            d.ticket.remediation.state = RemediationState::Succeeded;
            let took = words_for(now - d.ticket.first_seen);
            d.audit(&playbook, "Remediation Succeeded", format!("attempt {number}, run {}", run_id.unwrap_or("not named")));
            d.tell(
                ChapterKind::RemediationSucceeded,
                format!("Remediation succeeded with attempt {number}: recovered after {took}"),
            );
            if !d.ticket.is_closed() {
                let by = Actor { channel: Channel::Playbook, name: "auto-remediation".to_owned() };
                d.status(Status::Acknowledged, &by, now);
                d.audit(&by, "Status Changed", "closed: remediation succeeded");
            }
        }
        Report::Failed(why) => {
            end_attempt(d, id, AttemptState::Failed, format!("failed: {why}"));
            d.ticket.remediation.state = RemediationState::Exhausted;
            d.ticket.remediation.decision = format!("attempt {number} failed: {why}");
            d.audit(&playbook, "Remediation Failed", why.clone());
            let of = d.ticket.remediation.max_attempts;
            d.tell(ChapterKind::RemediationFailed, format!("Attempt {number} of {of} failed: {why}"));
        }
    }
    Ok(())
}

fn abandon(d: &mut Draft, id: &str, why: &str) -> Result<(), Refusal> {
    let number = running(d, id)?.number;
    end_attempt(d, id, AttemptState::Failed, format!("outcome not found out: {why}"));
    d.ticket.remediation.state = RemediationState::Exhausted;
    d.ticket.remediation.decision = format!("the outcome of attempt {number} could not be found out: {why}");
    d.audit(&Actor::system(), "Remediation Handed Over", why.to_owned());
    d.tell(
        ChapterKind::RemediationExhausted,
        format!("The outcome of attempt {number} could not be found out ({why}). It is not repeated: a person has to look and take over."),
    );
    Ok(())
}

/// `12 minutes 5 seconds`.
fn words_for(took: Duration) -> String {
    let seconds = took.num_seconds().max(0);
    let (h, m, s) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    let part = |n: i64, word: &str| (n > 0).then(|| format!("{n} {word}{}", if n == 1 { "" } else { "s" }));
    let parts: Vec<String> = [part(h, "hour"), part(m, "minute"), part(s, "second")].into_iter().flatten().take(2).collect();
    if parts.is_empty() { "less than a second".to_owned() } else { parts.join(" ") }
}

fn lease_sink(d: &mut Draft, sink: Sink, lease: &Lease) -> Result<(), Refusal> {
    if let Some(held) = d.ticket.books.leases.get(&sink)
        && held.holder != lease.holder
        && held.until > d.now
    {
        return Err(contradicts("another delivery works on this sink"));
    }
    d.ticket.books.leases.insert(sink, lease.clone());
    Ok(())
}

fn record_jira(d: &mut Draft, record: &JiraRecord) {
    let before = &d.ticket.jira;
    if before.key != record.key {
        d.visible = true;
        if let Some(key) = &record.key {
            d.audit.push(AuditEntry {
                at: d.now,
                actor: Actor::system(),
                what: "JIRA Issue Created".to_owned(),
                detail: key.clone(),
            });
        }
    }
    let deleted = before.deleted || record.deleted;
    d.ticket.jira = JiraRecord { deleted, ..record.clone() };
}

/// Several deliveries of one sink may wait; the first counts.
fn next_delivery(d: &mut Draft, sink: Sink, again: Option<DateTime<Utc>>) {
    let now = d.now;
    let due = &mut d.ticket.books.due;
    let waiting = due.get(&sink).copied().filter(|at| *at > now + Duration::seconds(5));
    match again {
        Some(again) => due.insert(sink, waiting.map_or(again, |waiting| waiting.min(again))),
        None => due.remove(&sink),
    };
}

fn end_delivery(d: &mut Draft, sink: Sink, holder: &str, shown: Option<u64>, fault: Option<&DeliveryFault>) {
    if d.ticket.books.leases.get(&sink).is_some_and(|lease| lease.holder == holder) {
        d.ticket.books.leases.remove(&sink);
    }
    if let Some(version) = shown {
        let delivered = d.ticket.books.delivered.entry(sink).or_insert(0);
        *delivered = (*delivered).max(version);
    }
    let slot = match sink {
        Sink::Jira => &mut d.ticket.jira.fault,
        Sink::Slack => &mut d.ticket.slack.fault,
        Sink::Playbook => &mut d.ticket.books.playbook_fault,
    };
    let news = fault.is_some_and(|fault| !fault.retrying && slot.as_ref().is_none_or(|known| known.reason != fault.reason));
    *slot = fault.cloned();
    if news && let Some(fault) = fault {
        d.audit.push(AuditEntry {
            at: d.now,
            actor: Actor::system(),
            what: "Delivery Failed".to_owned(),
            detail: format!("{}: {}", sink.name(), fault.reason),
        });
    }
}
