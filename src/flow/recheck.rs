//! Recheck: a known run was reported again, and there may be more to it than its ticket says.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Flow;
use crate::failure::{Source, field};
use crate::fault::Fault;
use crate::sources::reruns;
use crate::ticket::{Ticket, TicketId};

/// A run is looked at again when its failure has been analysed.
const NOT_ANALYSED: Duration = Duration::from_secs(60);

impl Flow {
    /// A known run was reported again: is there more to it than its ticket says?
    pub(super) async fn recheck(&self, id: &TicketId, now: DateTime<Utc>) -> Result<(), Fault> {
        let Some(ticket) = self.store.load(id).await? else {
            if self.store.waiting(id).await?.is_some() {
                return self.put_recheck(id, NOT_ANALYSED).await;
            }
            return Ok(());
        };
        match ticket.failure.source {
            Source::Airflow => self.look_for_others(&ticket, now).await,
            Source::Databricks => self.recheck_repair(&ticket, now).await,
            Source::Adf | Source::System => Ok(()),
        }
    }

    /// A closed Databricks run was reported again: a repair that failed keeps its run id and gets a ticket of its own.
    async fn recheck_repair(&self, ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Fault> {
        let collected = self.collector.collect(&ticket.failure, now).await;
        let repair = collected
            .refinement
            .context
            .get(field::REPAIR_ID)
            .cloned()
            .unwrap_or_default();
        let known = ticket.failure.field(field::REPAIR_ID).unwrap_or_default();
        if collected.no_failure.is_some() || repair.is_empty() || repair == known {
            return Ok(());
        }
        if self.is_attempt_repair(ticket).await? {
            return Ok(());
        }
        let mut failure = collected.refine(ticket.failure.clone());
        failure.key = reruns::repair_key(&failure, &repair);
        self.accept_failures(vec![failure], now).await.map(|_| ())
    }

    /// Was the latest repair of the ticket's run begun by one of its attempts? Then it is part of its story.
    async fn is_attempt_repair(&self, ticket: &Ticket) -> Result<bool, Fault> {
        let Some(began) = self
            .collector
            .latest_repair(&ticket.failure)
            .await?
            .and_then(|repair| repair.started_at)
        else {
            return Ok(false);
        };
        let skew = chrono::Duration::minutes(1);
        Ok(ticket.remediation.attempts.iter().any(|attempt| {
            attempt
                .called_at
                .is_some_and(|called| called - skew <= began)
                && attempt.ended_at.is_none_or(|end| began <= end + skew)
        }))
    }
}
