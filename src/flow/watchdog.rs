//! The watchdog of attempts: what became of a run, asked of its vendor, until it is known or handed to a person.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Flow;
use super::deliver::End;
use crate::diagnosis::Action;
use crate::evidence::RunOutcome;
use crate::fault::Fault;
use crate::redaction::{cap, redact};
use crate::sources::reruns;
use crate::ticket::machine::{Event, Report};
use crate::ticket::{Attempt, AttemptState, Ticket, TicketId};
use crate::trace;

/// How often a running remediation is looked at while its success is verified.
const VERIFY_EVERY: Duration = Duration::from_secs(30);
/// How long after the deadline a vendor that does not answer is asked again.
const GRACE: chrono::Duration = chrono::Duration::minutes(10);
/// After that a person has to look after a run that never ends.
const LONGEST_RUN: chrono::Duration = chrono::Duration::hours(24);
/// Vendors are asked for runs from a minute before the call on, for the sake of their clocks. In that minute the run of
/// another attempt may have begun, and taking it for this one's is worse than finding none: five seconds are enough.
const NOT_SO_EARLY: chrono::Duration = chrono::Duration::seconds(55);
/// As much of a vendor's reason as a ticket shows.
const REASON_CAP: usize = 2_000;

impl Flow {
    /// The run that this attempt started; never one that another attempt started.
    pub(super) async fn run_of(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        let since = attempt.called_at.unwrap_or(attempt.due_at) + NOT_SO_EARLY;
        let action = attempt.action.name();
        let found = self
            .collector
            .find_attempt_run(&ticket.failure, action, &attempt.id, since, now)
            .await?;
        let Some(run) = found else { return Ok(None) };
        // Repairs and cleared tasks go on under the run id that failed.
        if ticket.failure.run_id.as_ref() == Some(&run) {
            return Ok(Some(run));
        }
        let of_another =
            |other: &Attempt| other.id != attempt.id && other.run_id.as_ref() == Some(&run);
        let owner = self
            .store
            .by_remediation_run(&reruns::key(&ticket.failure, &run))
            .await?;
        let foreign = owner.is_some_and(|owner| owner != ticket.id)
            || ticket.remediation.attempts.iter().any(of_another);
        Ok((!foreign).then_some(run))
    }

    /// Asks the vendor what became of an attempt.
    pub(super) async fn find_out(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<End, Fault> {
        let overdue = attempt.deadline.is_some_and(|deadline| deadline <= now);
        let given_up = attempt
            .deadline
            .is_some_and(|deadline| deadline + GRACE <= now);
        let too_long = attempt
            .called_at
            .is_some_and(|called| called + LONGEST_RUN <= now);
        let run = match &attempt.run_id {
            Some(run) => Some(run.clone()),
            None => match self.run_of(ticket, attempt, now).await {
                Ok(found) => found,
                Err(fault) if fault.is_transient() && !given_up => return Ok(End::Failed(fault)),
                Err(fault) => return self.abandon(ticket, attempt, fault.reason(), now).await,
            },
        };
        let Some(run) = run else {
            if overdue {
                return self.without_vendor(ticket, attempt, now).await;
            }
            return Ok(End::Later(VERIFY_EVERY));
        };
        let since = attempt
            .called_at
            .filter(|_| attempt.action != Action::CheckUpstream);
        let asked = self.collector.outcome(&ticket.failure, &run, since).await;
        let report = match asked {
            Ok(RunOutcome::Succeeded) => self.report_of_rerun(ticket, &run, now).await,
            // The vendor's words are outside text (law L10).
            Ok(RunOutcome::Failed(why)) => Report::Failed(cap(&redact(&why), REASON_CAP)),
            Ok(RunOutcome::Running) if too_long => {
                return self
                    .abandon(ticket, attempt, "its run has not ended within a day", now)
                    .await;
            }
            Ok(RunOutcome::Running) if overdue => Report::Progress,
            Ok(RunOutcome::Running) => {
                if attempt.run_id.is_none() {
                    let event = Event::AttemptReported {
                        attempt: attempt.id.clone(),
                        report: Report::Progress,
                        run_id: Some(run),
                    };
                    self.try_apply(&ticket.id, event, now).await?;
                }
                return Ok(End::Later(VERIFY_EVERY));
            }
            Ok(RunOutcome::NotConfigured) => {
                return self.without_vendor(ticket, attempt, now).await;
            }
            // A vendor may learn of its own runs late.
            Ok(RunOutcome::NotFound) if !overdue => return Ok(End::Later(VERIFY_EVERY)),
            Ok(RunOutcome::NotFound) => {
                return self
                    .abandon(ticket, attempt, "the vendor does not know the run", now)
                    .await;
            }
            Err(fault) if fault.is_transient() && !given_up => return Ok(End::Failed(fault)),
            Err(fault) => return self.abandon(ticket, attempt, fault.reason(), now).await,
        };
        let progress = report == Report::Progress;
        self.try_apply(
            &ticket.id,
            Event::AttemptReported {
                attempt: attempt.id.clone(),
                report,
                run_id: Some(run),
            },
            now,
        )
        .await?;
        if progress {
            Ok(End::Later(VERIFY_EVERY))
        } else {
            self.settled(ticket, now).await
        }
    }

    /// No vendor can be asked: the playbook's word about a run that it names counts, silence does not.
    async fn without_vendor(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> Result<End, Fault> {
        if attempt.state == AttemptState::Verifying && attempt.run_id.is_some() {
            let event = Event::AttemptReported {
                attempt: attempt.id.clone(),
                report: Report::Succeeded,
                run_id: attempt.run_id.clone(),
            };
            self.try_apply(&ticket.id, event, now).await?;
            return self.settled(ticket, now).await;
        }
        if attempt.deadline.is_some_and(|deadline| deadline > now) {
            return Ok(End::Later(VERIFY_EVERY));
        }
        self.abandon(
            ticket,
            attempt,
            "no callback came and the vendor's API is not configured or knows no run",
            now,
        )
        .await
    }

    async fn abandon(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<End, Fault> {
        self.try_apply(
            &ticket.id,
            Event::AttemptAbandoned {
                attempt: attempt.id.clone(),
                why: why.to_owned(),
            },
            now,
        )
        .await?;
        self.settled(ticket, now).await
    }

    pub(super) async fn settled(&self, ticket: &Ticket, now: DateTime<Utc>) -> Result<End, Fault> {
        let latest = self.store.load(&ticket.id).await?;
        Ok(match latest.as_ref().and_then(Ticket::current_attempt) {
            Some(next) => End::Later((next.due_at - now).to_std().unwrap_or_default()),
            None => End::UpToDate(latest.map_or(ticket.version, |ticket| ticket.version)),
        })
    }

    /// The run of an attempt that is about to end without having named it: if the vendor knows it, its own failure alert
    /// is known for what it is, and opens no ticket that would be healed in turn.
    pub(super) async fn unnamed_run(
        &self,
        ticket: &TicketId,
        attempt: &str,
        now: DateTime<Utc>,
    ) -> Option<String> {
        let ticket = self.store.load(ticket).await.ok()??;
        let attempt = ticket
            .current_attempt()
            .filter(|current| current.id == attempt && current.called_at.is_some())?;
        if attempt.run_id.is_some() {
            return None;
        }
        trace::for_report(ticket.trace.as_deref(), self.run_of(&ticket, attempt, now))
            .await
            .ok()?
    }
}
