//! Retention: what is older than people want to keep is removed, a bounded piece for each turn.
//!
//! Days are walked from the oldest one to the first that is kept. Closed tickets go with all that leads to them; an open
//! one stays until it is closed, and its day is walked again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Days, NaiveDate, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::Flow;
use super::claims::{rerun_of, run_of};
use crate::failure::RunKey;
use crate::fault::Fault;
use crate::ticket::Ticket;
use crate::ticket::store::{Listed, Retained, day_name};

/// A store that was never looked through may be this old.
const OLDEST: Days = Days::new(3 * 366);
/// Days of one turn, most of them empty.
const DAYS_AT_ONCE: u32 = 20;
/// Tickets that are looked at together.
const TICKETS_AT_ONCE: usize = 100;
/// So many of them go at the same time.
const AT_ONCE: usize = 4;
/// A turn is part of a sweep.
const TURN: Duration = Duration::from_secs(8);

impl Flow {
    /// One turn; how many tickets went.
    pub async fn retain(&self, now: DateTime<Utc>) -> Result<usize, Fault> {
        let Some(days) = self.retention_days else {
            return Ok(0);
        };
        let Some(first_kept) = now.date_naive().checked_sub_days(Days::new(days.into())) else {
            return Ok(0);
        };
        let started = Instant::now();
        let known = self.store.retained().await?;
        let oldest = first_kept.checked_sub_days(OLDEST).unwrap_or(first_kept);
        let mut retained = known.unwrap_or(Retained::since(oldest));
        let (mut gone, mut walked) = (0, 0);
        while retained.next < first_kept && walked < DAYS_AT_ONCE && started.elapsed() < TURN {
            let (went, emptied) = self.forget_day(retained.next, started).await?;
            gone += went;
            let Some(open_left) = emptied else { break };
            if open_left {
                retained.left = retained.left.or(Some(retained.next));
            }
            retained.next = retained.next.succ_opt().unwrap_or(first_kept);
            walked += 1;
        }
        if retained.next >= first_kept {
            retained.next = retained.left.take().unwrap_or(retained.next);
        }
        if known != Some(retained) {
            self.store.put_retained(&retained).await?;
        }
        let letters = self.store.forget_dead_letters(first_kept).await?;
        if gone + letters > 0 {
            tracing::info!(
                retention.days = days,
                retention.tickets = gone,
                retention.dead_letters = letters,
                "removed what is older than RETENTION_DAYS"
            );
        }
        Ok(gone)
    }

    /// Removes the closed tickets of a day: how many, and whether an open one is left; `None` when the turn ended first.
    async fn forget_day(
        &self,
        day: NaiveDate,
        started: Instant,
    ) -> Result<(usize, Option<bool>), Fault> {
        let name = day_name(day);
        let (mut gone, mut open_left, mut before) = (0, false, None);
        loop {
            let (listed, more) = self
                .store
                .list_of_day(&name, before.as_ref(), TICKETS_AT_ONCE, &|_| true)
                .await?;
            let closed = listed.iter().filter(|listed| listed.is_closed());
            let forgets: Vec<_> = closed.map(|listed| self.forget(listed).boxed()).collect();
            let forgotten: Vec<bool> = futures::stream::iter(forgets)
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            let went = forgotten.iter().filter(|forgotten| **forgotten).count();
            gone += went;
            open_left |= went < listed.len();
            before = listed.last().map(|listed| listed.id.clone());
            if !more {
                break;
            }
            if started.elapsed() > TURN {
                return Ok((gone, None));
            }
        }
        Ok((gone, Some(open_left)))
    }

    /// `false`: it was opened again.
    async fn forget(&self, listed: &Listed) -> Result<bool, Fault> {
        let ticket = self.store.load(&listed.id).await?;
        // An incident goes when all of it is closed.
        let open = |ticket: &Ticket| !ticket.is_closed() || has_open_followers(ticket);
        if ticket.as_ref().is_some_and(open) {
            return Ok(false);
        }
        if let Some(ticket) = &ticket {
            self.forget_folding(ticket).await?;
        }
        let runs: Vec<RunKey> = ticket.as_ref().map(runs_of).unwrap_or_default();
        self.store.forget(listed, ticket.as_ref(), &runs).await?;
        Ok(true)
    }
}

fn has_open_followers(ticket: &Ticket) -> bool {
    let incident = ticket.incident.as_ref();
    incident.is_some_and(|incident| incident.open > 0)
}

/// Under which runs a ticket was reported, and by which it was healed.
fn runs_of(ticket: &Ticket) -> Vec<RunKey> {
    let failure = &ticket.failure;
    let attempts = ticket.remediation.attempts.iter();
    let reruns = attempts.filter_map(|attempt| Some(rerun_of(failure, attempt.run_id.as_deref()?)));
    let runs: BTreeSet<RunKey> = [run_of(failure), failure.key.clone()]
        .into_iter()
        .chain(reruns)
        .collect();
    runs.into_iter().collect()
}
