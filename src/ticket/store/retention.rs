//! What is kept of a ticket goes when it is older than people want to keep it: its rows, and those that lead to it.
//!
//! Rows of lists go last, since by them a ticket is found again after a crash.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::list::{self, Listed};
use super::{
    AUDIT, CURSOR, DEADLETTERS, EVIDENCE, INDEX, TICKETS, TicketStore, day_name, decode, encode,
    home, ticket_row,
};
use crate::failure::RunKey;
use crate::fault::Fault;
use crate::storage::{Swapped, Write};
use crate::ticket::Ticket;

/// In `cursor`: how far old days were looked through.
const RETENTION: &str = "retention";
/// Rows that go at once: they are read first, and proofs are large.
const ROWS_AT_ONCE: u32 = 50;
/// Dead letters that go in one turn.
const LETTERS_AT_ONCE: u32 = 200;

/// How far the days were looked through whose tickets may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// The day that comes next.
    pub next: NaiveDate,
    /// The first day of this round on which something open was left.
    pub left: Option<NaiveDate>,
}

impl TicketStore {
    /// How far old days were looked through.
    pub async fn retained(&self) -> Result<Option<Retained>, Fault> {
        match self.storage.get(INDEX, CURSOR, RETENTION).await? {
            Some(entity) => Ok(Some(decode("retention", &entity.document)?)),
            None => Ok(None),
        }
    }

    /// Writes down how far.
    pub async fn put_retained(&self, retained: &Retained) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, CURSOR, RETENTION, &encode(retained)?)
            .await
    }

    /// Removes what is kept of a ticket. `runs`: under which runs it was reported or healed. A ticket that cannot be
    /// read any more leaves what only it could lead to.
    pub async fn forget(
        &self,
        listed: &Listed,
        ticket: Option<&Ticket>,
        runs: &[RunKey],
    ) -> Result<(), Fault> {
        let id = &listed.id;
        self.drop_waiting(id.as_str()).await?;
        for run in runs {
            self.forget_run(run, id).await?;
            self.forget_before(run).await?;
        }
        if let Some(ticket) = ticket {
            self.forget_attempts_of(&ticket.failure).await?;
            self.forget_healing_of(ticket).await?;
            let key = ticket.jira.key.as_deref();
            self.forget_issue(key, ticket.jira.id.as_deref()).await?;
            if ticket.incident.is_some() {
                self.forget_members(id).await?;
            }
            // Who took over from it, and from whom it took over.
            let led = [Some(id), ticket.books.led_by.as_ref()];
            if ticket.incident.is_some() || ticket.books.led_by.is_some() || ticket.jira.deleted {
                for leader in led.into_iter().flatten() {
                    self.forget_heir(leader).await?;
                }
            }
        }
        for table in [AUDIT, EVIDENCE] {
            // As versions before kept it.
            self.delete_between(table, id.as_str(), "", "").await?;
        }
        self.storage
            .delete(TICKETS, id.day(), id.as_str(), None)
            .await?;
        let home = home(id);
        for kind in ["a", "e"] {
            let (from, to) = (format!("{kind}:{id}:"), format!("{kind}:{id};"));
            self.delete_between(TICKETS, &home, &from, &to).await?;
        }
        for row in [ticket_row(id), list::row(id)] {
            self.storage.delete(TICKETS, &home, &row, None).await?;
        }
        Ok(())
    }

    /// Removes dead letters of before this day, some at a time.
    pub async fn forget_dead_letters(&self, day: NaiveDate) -> Result<usize, Fault> {
        let to = day_name(day);
        let page = self
            .storage
            .scan(
                DEADLETTERS,
                super::dead_letters::DEAD,
                "",
                &to,
                LETTERS_AT_ONCE,
                None,
            )
            .await?;
        for letter in &page.entities {
            self.storage
                .delete(DEADLETTERS, &letter.partition, &letter.row, None)
                .await?;
        }
        Ok(page.entities.len())
    }

    pub(super) async fn delete_between(
        &self,
        table: &str,
        partition: &str,
        from: &str,
        to: &str,
    ) -> Result<(), Fault> {
        loop {
            let page = self
                .storage
                .scan(table, partition, from, to, ROWS_AT_ONCE, None)
                .await?;
            if page.entities.is_empty() {
                return Ok(());
            }
            let rows = page.entities.iter().map(|entity| entity.row.as_str());
            let writes: Vec<_> = rows.map(Write::Delete).collect();
            let outcome = self.storage.commit(table, partition, &writes).await?;
            // Where somebody else was faster with one of them, the others are still there.
            if page.next.is_none() && outcome != Swapped::Conflict {
                return Ok(());
            }
        }
    }
}

impl Retained {
    /// Of a store that was never looked through: nothing in it is older.
    pub fn since(first: NaiveDate) -> Self {
        Self {
            next: first,
            left: None,
        }
    }
}
