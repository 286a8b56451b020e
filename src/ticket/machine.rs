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
mod event;
mod incidents;
mod opening;
mod people;
mod silences;
mod status;
mod tries;

use chrono::{DateTime, Utc};

use super::{Actor, AuditEntry, Channel, Chapter, ChapterKind, Record, Status, Ticket};
use attempts::{abandon, call_off_attempt, called, calling, healed_meanwhile, postpone, reported};
use deciding::{answer, decide, expire};
use deliveries::{end_delivery, lease_sink, next_delivery, record_jira};
use status::{breach, change_status, delete_issue, recovered};

pub use event::{Called, Decision, Event, Examined, Plan, Report};
pub use opening::{Opening, open, opened};

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
/// The entries in [`Bookkeeping::audit`](super::Bookkeeping::audit) of the given ticket must already be in the audit table.
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
