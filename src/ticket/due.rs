//! When a ticket has to be looked at next: the one list of what can become due without anybody saying so. Pure.
//!
//! The store keeps a row for the time it gives, so the sweep reads what is due and nothing else. A row that comes too
//! early costs a look; one that is missing would lose what it stands for. So a time here is never later than the moment
//! from which the sweep would act.

use chrono::{DateTime, Duration, Utc};

use super::{AttemptState, RemediationState, Sink, Status, Ticket};

/// How long the ordinary way may take before the sweep steps in.
pub const PATIENCE: Duration = Duration::minutes(1);
/// A retry waits at most an hour and a half in the queue; after that its message is taken for lost.
pub const RETRY_PATIENCE: Duration = Duration::minutes(90);
/// How long after an attempt's end its bookkeeping is repeated, should it have died.
pub const SETTLING: Duration = Duration::minutes(10);
/// How long after its close a ticket is looked after.
pub const LINGER: Duration = Duration::minutes(30);
/// How often an issue is read back for a change whose webhook was lost.
pub const COMPARE_EVERY: Duration = Duration::minutes(10);

impl Ticket {
    /// When it has to be looked at next; `None`: nothing can become due any more.
    pub fn next_look(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next_due(now)
            .into_iter()
            .chain(self.compare_due())
            .min()
    }

    /// The same, but for reading its issue back, which may be put off.
    pub fn next_due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let sinks = Sink::showing().filter_map(|sink| self.sink_due(sink));
        [
            self.sla_due(),
            self.answer_due(),
            self.attempt_due(),
            self.settling_due(now),
            self.incident_due(),
            self.digest_due().map(|due| due + PATIENCE),
        ]
        .into_iter()
        .flatten()
        .chain(sinks)
        .min()
    }

    /// When the last of what people or sinks did to it was.
    pub fn last_change(&self) -> DateTime<Utc> {
        let told = self.story.last().map_or(self.received_at, |last| last.at);
        self.status_at.max(self.last_seen).max(told)
    }

    /// When its issue is to be read back, if it is at rest there.
    pub fn compare_due(&self) -> Option<DateTime<Utc>> {
        let off = self.sinks_off.contains_key(Sink::Jira.name());
        let at_rest =
            !off && self.jira.key.is_some() && !self.jira.deleted && !self.lags(Sink::Jira);
        let last = self.books.jira_compared_at.unwrap_or(self.received_at);
        // Reopened in JIRA soon after its close, with the webhook lost, it is still compared.
        let until = self.is_closed().then(|| self.status_at + LINGER);
        let due = last + COMPARE_EVERY;
        Some(due).filter(|due| at_rest && until.is_none_or(|until| *due <= until))
    }

    fn sla_due(&self) -> Option<DateTime<Utc>> {
        let open = self.status == Status::Open && self.sla.breached_at.is_none();
        let runs = open && !self.is_silent();
        runs.then_some(self.sla.due_at)
    }

    fn answer_due(&self) -> Option<DateTime<Utc>> {
        let approval = self.remediation.approval.as_ref();
        approval
            .filter(|approval| approval.answer.is_none())
            .filter(|_| self.remediation.state == RemediationState::AwaitingApproval)
            .map(|approval| approval.expires_at)
    }

    fn attempt_due(&self) -> Option<DateTime<Utc>> {
        let attempt = self.current_attempt()?;
        let due = match attempt.state {
            AttemptState::Scheduled => attempt.due_at + PATIENCE,
            AttemptState::Accepted => attempt.deadline?,
            AttemptState::Calling
            | AttemptState::Unknown
            | AttemptState::Verifying
            | AttemptState::Succeeded
            | AttemptState::Failed
            | AttemptState::Refused
            | AttemptState::Cancelled => attempt.called_at.unwrap_or(attempt.due_at) + PATIENCE,
        };
        Some(due)
    }

    fn settling_due(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ended = self.remediation.attempts.last()?.ended_at?;
        Some(ended + PATIENCE).filter(|due| *due > now)
    }

    /// When its leader, or its followers, should have been told of its last change.
    fn incident_due(&self) -> Option<DateTime<Utc>> {
        let all_told = self.is_reported() && self.has_told_followers();
        (!all_told).then(|| self.last_change() + PATIENCE)
    }

    /// When a delivery of this sink that should have come by itself is taken for lost.
    fn sink_due(&self, sink: Sink) -> Option<DateTime<Utc>> {
        if !self.lags(sink) {
            return None;
        }
        let retry = self.fault(sink).filter(|fault| fault.retrying);
        Some(if let Some(blocked) = self.blocked(sink) {
            blocked.next_try
        } else if let Some(due) = self.due(sink) {
            due + PATIENCE
        } else if let Some(fault) = retry {
            fault.at + RETRY_PATIENCE
        } else {
            self.last_change() + PATIENCE
        })
    }
}
