//! Accept: what a door has parsed becomes durable, exactly once a run (laws L1 and L2).
//!
//! claim → enqueue. The claim, the failure that waits under its ticket's id and the time of its next look are one
//! transaction, so a crash anywhere leaves either nothing the sender was told about, or something the next report or
//! the sweep picks up.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::claims::{Place, rerun_of};
use super::{Flow, Task};
use crate::digest::sha256;
use crate::failure::{Failure, Source};
use crate::fault::Fault;
use crate::sources::airflow::units;
use crate::sources::{Parsed, RowsRequest, reruns};
use crate::ticket::machine::{Event, Report};
use crate::ticket::store::{Claim, NewClaim, RunRows, Waiting};
use crate::ticket::{Ticket, TicketId};
use crate::trace;

/// How many failures of one alert are claimed at once.
const AT_ONCE: usize = 16;
/// By then the failure that a report opened has been analysed, as a rule.
const ANALYSED: Duration = Duration::from_secs(5);

/// Longer than all the rounds in which an alert's rows are looked for.
const ROWS_PATIENCE: TimeDelta = TimeDelta::minutes(45);

/// What became of a body, as the sender reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceptStatus {
    /// At least one failure is new.
    Accepted,
    /// All failures were known.
    Duplicate,
    /// Understood, and no failure.
    Ignored,
    /// An alert without rows: to be expanded.
    Pending,
}

/// The ingest answer of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Of the whole body.
    pub status: AcceptStatus,
    /// The first ticket.
    pub ticket_id: Option<TicketId>,
    /// One entry per failure.
    pub tickets: Vec<AcceptedTicket>,
    /// Why it was ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One failure of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedTicket {
    /// Its ticket.
    pub ticket_id: TicketId,
    /// `accepted` or `duplicate`.
    pub status: AcceptStatus,
    /// The vendor's run.
    pub run_id: Option<String>,
    /// The platform.
    pub source: Source,
}

/// An alert whose rows are still to be found, kept until they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WaitingRows {
    /// What to look for.
    pub(super) request: RowsRequest,
    /// When the alert came in.
    pub(super) received_at: DateTime<Utc>,
    /// W3C traceparent of the alert.
    pub(super) trace: Option<String>,
    /// How often the sweep enqueued it again.
    pub(super) nudges: u32,
    /// When it did so last.
    pub(super) nudged_at: Option<DateTime<Utc>>,
}

impl WaitingRows {
    /// When it is looked for again, should its message have been lost: ever more seldom.
    pub(super) fn next_look(&self) -> DateTime<Utc> {
        let patience = ROWS_PATIENCE * 2_i32.saturating_pow(self.nudges.min(10));
        self.nudged_at.unwrap_or(self.received_at) + patience
    }
}

/// Is this failed run, whose id leads to this ticket, the ticket's own healing?
pub(super) fn is_run_of_attempt(ticket: &Ticket, failure: &Failure) -> bool {
    if !reruns::is_same_id(&ticket.failure, failure) {
        return true;
    }
    let under_way = ticket.current_attempt().is_some_and(|attempt| {
        attempt.called_at.is_some()
            && (attempt.run_id.is_none() || attempt.run_id == failure.run_id)
    });
    under_way && reruns::may_be_rerun(&ticket.failure, failure)
}

impl Flow {
    /// Makes a parsed body durable.
    pub async fn accept(&self, parsed: Parsed, now: DateTime<Utc>) -> Result<Accepted, Fault> {
        if parsed.is_hint_of_recovery() && self.is_patrolled() {
            self.put(Task::Patrol, Duration::ZERO).await?;
        }
        match parsed {
            Parsed::Ignored(reason) => {
                tracing::info!(accept.reason = %reason, "ignored: understood and no failure");
                Ok(Accepted {
                    status: AcceptStatus::Ignored,
                    ticket_id: None,
                    tickets: Vec::new(),
                    reason: Some(reason),
                })
            }
            Parsed::NeedsRows(request) => {
                self.accept_rows(request, now).await?;
                Ok(Accepted {
                    status: AcceptStatus::Pending,
                    ticket_id: None,
                    tickets: Vec::new(),
                    reason: None,
                })
            }
            Parsed::Failures(failures) if failures.is_empty() => {
                let reason = Some("no failure in it".to_owned());
                Ok(Accepted {
                    status: AcceptStatus::Ignored,
                    ticket_id: None,
                    tickets: Vec::new(),
                    reason,
                })
            }
            Parsed::Failures(failures) => {
                let tickets = self.accept_failures(failures, now).await?;
                let new = tickets
                    .iter()
                    .any(|ticket| ticket.status == AcceptStatus::Accepted);
                Ok(Accepted {
                    status: if new {
                        AcceptStatus::Accepted
                    } else {
                        AcceptStatus::Duplicate
                    },
                    ticket_id: tickets.first().map(|ticket| ticket.ticket_id.clone()),
                    tickets,
                    reason: None,
                })
            }
        }
    }

    /// Claims and enqueues each failure, several at once, answers in their order.
    pub(super) async fn accept_failures(
        &self,
        failures: Vec<Failure>,
        now: DateTime<Utc>,
    ) -> Result<Vec<AcceptedTicket>, Fault> {
        let accepts = failures
            .into_iter()
            .map(|failure| self.deployed(self.placed(failure.sealed())))
            .map(|failure| self.accept_failure(failure, now).boxed());
        futures::stream::iter(accepts)
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn accept_failure(
        &self,
        failure: Failure,
        now: DateTime<Utc>,
    ) -> Result<AcceptedTicket, Fault> {
        let answer =
            |ticket_id: TicketId, status: AcceptStatus, failure: &Failure| AcceptedTicket {
                ticket_id,
                status,
                run_id: failure.run_id.clone(),
                source: failure.source,
            };
        let failure = &failure;
        // Of all rounds: a claim whose answer was lost is recognised. Each round has an id of its own, for another failure
        // may have been given the same one.
        let mut offered = Vec::new();
        self.with_run(failure, |rows| {
            let offer = self.store.offer(rows.run(), failure.source, now);
            offered.push(offer.clone());
            let offered = offered.clone();
            async move {
                let offer = &offer;
                if let Some(healing) = self.healing_ticket(&rows, failure).await? {
                    self.remediation_run_failed(&healing, failure, now).await?;
                    return Ok(Some(answer(healing.id, AcceptStatus::Duplicate, failure)));
                }
                let (place, units) = self.place(&rows, failure).await?;
                let accepted =
                    |offer: &TicketId| answer(offer.clone(), AcceptStatus::Accepted, failure);
                let owner = match place {
                    Place::Known(owner) if offered.contains(&owner) => {
                        self.enqueue_accepted(&owner, failure).await?;
                        return Ok(Some(accepted(&owner)));
                    }
                    Place::Known(owner) => {
                        if !self.note_units(&rows, units.as_ref()).await? {
                            return Ok(None);
                        }
                        owner
                    }
                    Place::New { key, follows } => {
                        let waiting = Waiting {
                            claim: Some(key.clone()),
                            follows,
                            ..Waiting::new(failure.clone(), trace::here(), now)
                        };
                        let new = NewClaim {
                            key: &key,
                            offer,
                            waiting: Some(&waiting),
                            units: units.as_ref(),
                        };
                        match self.store.claim(&rows, new).await? {
                            Claim::Theirs(owner) => owner,
                            Claim::Changed => return Ok(None),
                            Claim::Ours => {
                                self.enqueue_accepted(offer, failure).await?;
                                return Ok(Some(accepted(offer)));
                            }
                        }
                    }
                };
                self.reported_again(&owner, failure, now).await?;
                self.look_at_run(&owner, failure).await?;
                Ok(Some(answer(owner, AcceptStatus::Duplicate, failure)))
            }
        })
        .await
    }

    async fn enqueue_accepted(&self, id: &TicketId, failure: &Failure) -> Result<(), Fault> {
        self.put_failure(id, Duration::ZERO).await?;
        self.look_at_run(id, failure).await?;
        tracing::info!(ticket.id = %id, failure.source = %failure.source, "failure accepted");
        Ok(())
    }

    pub(super) async fn put_failure(&self, id: &TicketId, delay: Duration) -> Result<(), Fault> {
        let ticket = id.clone();
        self.put(Task::Failure { ticket }, delay).await
    }

    /// Counts the report; heals a claim whose ticket does not exist (a crash between claim and enqueue).
    pub(super) async fn reported_again(
        &self,
        owner: &TicketId,
        failure: &Failure,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if failure.source == Source::Airflow {
            let ticket = match self.store.load(owner).await? {
                // Where it was analysed while we wrote, what we wrote is applied to the ticket.
                None if self.waits_better(owner, failure).await? => self.store.load(owner).await?,
                found => found,
            };
            if let Some(ticket) = ticket {
                return self.report_try(&ticket, failure, now).await;
            }
        }
        let Some(ticket) = self.count_report(owner, now).await? else {
            let waiting = Waiting::new(failure.clone(), trace::here(), now);
            self.store.put_waiting_if_absent(owner, &waiting).await?;
            return self.put_failure(owner, Duration::ZERO).await;
        };
        if failure.source == Source::Databricks && ticket.is_closed() {
            // A failed repair keeps its run id: the queue function asks Databricks which it is.
            self.put_recheck(owner, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// A DAG-level report says that tasks failed, and not which: the queue function asks for all of them.
    async fn look_at_run(&self, owner: &TicketId, failure: &Failure) -> Result<(), Fault> {
        if units::is_about_run(failure) && self.collector.can_ask(failure) {
            self.put_recheck(owner, ANALYSED).await?;
        }
        Ok(())
    }

    pub(super) async fn put_recheck(&self, owner: &TicketId, delay: Duration) -> Result<(), Fault> {
        let ticket = owner.clone();
        self.put(Task::Recheck { ticket }, delay).await
    }

    /// The ticket this run was started to heal, if it was started by a playbook. `rows`: of the run that the failure is of.
    pub(super) async fn healing_ticket(
        &self,
        rows: &RunRows,
        failure: &Failure,
    ) -> Result<Option<Ticket>, Fault> {
        let Some(run) = &failure.run_id else {
            return Ok(None);
        };
        let (key, rerun) = (reruns::key(failure, run), rerun_of(failure, run));
        let found = if rerun == *rows.run() {
            self.store.by_remediation_run(rows, &key).await?
        } else {
            let rows = self.store.run(&rerun).await?;
            self.store.by_remediation_run(&rows, &key).await?
        };
        let Some(id) = found else {
            return Ok(None);
        };
        Ok(self
            .store
            .load(&id)
            .await?
            .filter(|ticket| is_run_of_attempt(ticket, failure)))
    }

    /// An attempt that is over already is not changed by it.
    pub(super) async fn remediation_run_failed(
        &self,
        healing: &Ticket,
        failure: &Failure,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let Some(attempt) = healing
            .current_attempt()
            .filter(|a| a.run_id == failure.run_id)
        else {
            return Ok(());
        };
        self.attempt_failed(&healing.id, &attempt.id, failure, now)
            .await
    }

    /// The failure is that of the run which this attempt started.
    pub(super) async fn attempt_failed(
        &self,
        ticket: &TicketId,
        attempt: &str,
        failure: &Failure,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let why = format!(
            "its run failed: {}",
            failure.error_code.as_deref().unwrap_or("no error code")
        );
        let report = Report::Failed(why);
        let event = Event::AttemptReported {
            attempt: attempt.to_owned(),
            report,
            run_id: failure.run_id.clone(),
        };
        self.try_apply(ticket, event, now).await
    }

    /// Keeps the alert, then enqueues its expansion.
    async fn accept_rows(&self, request: RowsRequest, now: DateTime<Utc>) -> Result<(), Fault> {
        let digest = sha256(format!(
            "{}\n{}\n{}",
            request.rows_of.name(),
            request.alert.id,
            request.asset.as_deref().unwrap_or_default()
        ));
        let row = format!("rows-{}", digest.get(..40).unwrap_or_default());
        let waiting = WaitingRows {
            request,
            received_at: now,
            trace: trace::here(),
            nudges: 0,
            nudged_at: None,
        };
        self.keep_rows(&row, &waiting).await?;
        self.put(Task::Rows { row, round: 0 }, Duration::ZERO).await
    }

    pub(super) async fn keep_rows(&self, row: &str, waiting: &WaitingRows) -> Result<(), Fault> {
        let document = serde_json::to_string(waiting)
            .map_err(|_| Fault::permanent("an alert could not be written as JSON"))?;
        self.store.keep(row, &document, waiting.next_look()).await
    }
}
