//! Rows as version 0.2 and before kept them: read where nothing newer is found, and moved on by the sweep.
//!
//! A store that was made by this version has none, and is not asked for them. Tickets stay where they are until they
//! expire; so do the claims on their runs. What waits and what is open gets rows of today.
//!
//! | table | partition | row | held |
//! |---|---|---|---|
//! | tickets | day of the id | ticket id | the ticket |
//! | index | `claim-xx` | SHA-256 of the run key | the ticket id of that run |
//! | index | `active` | ticket id, or `rows-…` | what waits to be analysed, or `{}` for a ticket that is not settled |
//! | index | `run-xx` | SHA-256 of a DAG run | which of its tasks were reported |
//! | index | `jira` | issue number or key | ticket id |
//! | index | `remrun` | SHA-256 of the run key | the ticket a remediation run belongs to |
//! | audit | ticket id | counter | what happened |
//! | evidence | ticket id | `e0`, `e1` … | proofs |

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::list::Listed;
use super::{
    CURSOR, EVIDENCE, INDEX, PROBE, TICKETS, TicketStore, day_name, decode, encode, spread,
};
use crate::evidence::Evidence;
use crate::failure::RunKey;
use crate::fault::Fault;
use crate::sources::airflow::units::Units;
use crate::storage::Continuation;
use crate::ticket::{Ticket, TicketId};

const ACTIVE: &str = "active";
const LAYOUT: &str = "layout";
/// Rows of one request.
const AT_ONCE: u32 = 300;
/// Older ones are read by nobody.
const OLDEST: TimeDelta = TimeDelta::days(90);

/// What is known of rows of an older version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    /// Are there any?
    old_rows: bool,
    /// When this version first saw them.
    since: DateTime<Utc>,
    /// Days back from then whose tickets are listed by now.
    listed: u32,
}

impl TicketStore {
    /// Does the store hold rows of an older version? Asked once for each process.
    pub(super) async fn has_old_rows(&self) -> Result<bool, Fault> {
        self.old_rows
            .get_or_try_init(|| async {
                if let Some(layout) = self.layout().await? {
                    return Ok(layout.old_rows);
                }
                // The sweep of every version writes the probe; a store that never saw one may still hold failures.
                let probe = self.storage.get(INDEX, CURSOR, PROBE).await?;
                let active = self.storage.scan(INDEX, ACTIVE, "", "", 1, None).await?;
                Ok(probe.is_some() || !active.entities.is_empty())
            })
            .await
            .copied()
    }

    /// Writes down whether there are rows of an older version, before this one leaves its first trace.
    pub async fn note_layout(&self, now: DateTime<Utc>) -> Result<(), Fault> {
        if self.noted.initialized() {
            return Ok(());
        }
        if self.layout().await?.is_none() {
            let layout = Layout {
                old_rows: self.has_old_rows().await?,
                since: now,
                listed: 0,
            };
            self.storage
                .insert(INDEX, CURSOR, LAYOUT, &encode(&layout)?)
                .await?;
        }
        // Another task may have been as fast.
        let _noted = self.noted.set(());
        Ok(())
    }

    async fn layout(&self) -> Result<Option<Layout>, Fault> {
        match self.storage.get(INDEX, CURSOR, LAYOUT).await? {
            Some(entity) => Ok(Some(decode("layout", &entity.document)?)),
            None => Ok(None),
        }
    }

    pub(super) async fn document_before(
        &self,
        table: &str,
        partition: &str,
        row: &str,
    ) -> Result<Option<String>, Fault> {
        if !self.has_old_rows().await? {
            return Ok(None);
        }
        let found = self.storage.get(table, partition, row).await?;
        Ok(found.map(|entity| entity.document))
    }

    pub(super) async fn claimed_before(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        let hash = key.hash();
        let partition = spread("claim", &hash);
        let document = self.document_before(INDEX, &partition, &hash).await?;
        document
            .map(|document| decode("claim", &document))
            .transpose()
    }

    pub(super) async fn healing_before(&self, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        let document = self.document_before(INDEX, "remrun", &key.hash()).await?;
        document
            .map(|document| decode("remediation run", &document))
            .transpose()
    }

    pub(super) async fn units_before(&self, run: &RunKey) -> Result<Option<Units>, Fault> {
        let hash = run.hash();
        let partition = spread("run", &hash);
        let document = self.document_before(INDEX, &partition, &hash).await?;
        document
            .map(|document| decode("units of a run", &document))
            .transpose()
    }

    /// Removes what versions before kept of a run.
    pub(super) async fn forget_before(&self, run: &RunKey) -> Result<(), Fault> {
        let hash = run.hash();
        for partition in [
            spread("claim", &hash),
            spread("run", &hash),
            "remrun".to_owned(),
        ] {
            self.storage.delete(INDEX, &partition, &hash, None).await?;
        }
        Ok(())
    }

    pub(super) async fn kept_before(&self, name: &str) -> Result<Option<String>, Fault> {
        let document = self.document_before(INDEX, ACTIVE, name).await?;
        Ok(document.filter(|document| document != "{}"))
    }

    pub(super) async fn drop_kept_before(&self, name: &str) -> Result<(), Fault> {
        if self.has_old_rows().await? {
            self.storage.delete(INDEX, ACTIVE, name, None).await?;
        }
        Ok(())
    }

    pub(super) async fn evidence_before(&self, id: &TicketId) -> Result<Vec<Evidence>, Fault> {
        if !self.has_old_rows().await? {
            return Ok(Vec::new());
        }
        let page = self
            .storage
            .scan(EVIDENCE, id.as_str(), "", "", 100, None)
            .await?;
        page.entities
            .iter()
            .map(|entity| decode("evidence", &entity.document))
            .collect()
    }

    /// Gives what an older version left open, or leaves while it still runs beside this one, rows of today; and lists
    /// its tickets, a page for each call. How many rows were moved.
    pub async fn move_old_rows(&self, now: DateTime<Utc>) -> Result<usize, Fault> {
        if !self.has_old_rows().await? {
            return Ok(0);
        }
        let mut moved = 0;
        loop {
            let page = self
                .storage
                .scan(INDEX, ACTIVE, "", "", AT_ONCE, None)
                .await?;
            for entity in &page.entities {
                if entity.document == "{}" {
                    self.look_at(&entity.row, now).await?;
                } else {
                    self.keep(&entity.row, &entity.document, now).await?;
                }
                // Another version may have written it again since.
                self.storage
                    .delete(INDEX, ACTIVE, &entity.row, Some(&entity.etag))
                    .await?;
            }
            moved += page.entities.len();
            if page.next.is_none() {
                break;
            }
        }
        Ok(moved + self.list_old_tickets(now).await?)
    }

    async fn list_old_tickets(&self, now: DateTime<Utc>) -> Result<usize, Fault> {
        let Some(layout) = self.layout().await? else {
            return Ok(0);
        };
        if now - layout.since > OLDEST {
            let gone = Layout {
                old_rows: false,
                ..layout
            };
            self.storage
                .upsert(INDEX, CURSOR, LAYOUT, &encode(&gone)?)
                .await?;
            return Ok(0);
        }
        if i64::from(layout.listed) > OLDEST.num_days() {
            return Ok(0);
        }
        let day = layout.since + TimeDelta::days(1) - TimeDelta::days(layout.listed.into());
        let listed = self.list_day(&day_name(day.date_naive())).await?;
        let next = Layout {
            listed: layout.listed + 1,
            ..layout
        };
        self.storage
            .upsert(INDEX, CURSOR, LAYOUT, &encode(&next)?)
            .await?;
        Ok(listed)
    }

    async fn list_day(&self, day: &str) -> Result<usize, Fault> {
        let mut after: Option<Continuation> = None;
        let mut listed = 0;
        loop {
            let page = self
                .storage
                .scan(TICKETS, day, "", "", AT_ONCE, after.as_ref())
                .await?;
            for entity in &page.entities {
                match decode::<Ticket>("ticket", &entity.document) {
                    Ok(ticket) => self.list_again(&ticket.id, &Listed::of(&ticket)).await?,
                    Err(fault) => {
                        tracing::error!(ticket.id = %entity.row, fault = fault.reason(), "a stored ticket cannot be read");
                    }
                }
            }
            listed += page.entities.len();
            after = page.next;
            if after.is_none() {
                return Ok(listed);
            }
        }
    }
}
