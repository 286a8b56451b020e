//! Whose a run is: the claims on it, the tickets that its reruns heal, and which of its tasks were reported.
//!
//! All rows of a run lie side by side, so that a report costs one read; and in the shard of the ticket that the run gets,
//! so that claiming it and keeping its failure is one transaction. Most runs are reported for the first time: a run that
//! this process has not seen is claimed without a read, and read when that fails. So whatever is known of a run has a
//! row that such a claim would insert as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use hashlink::LruCache;

use super::due::{WITH_WAITING, due_row};
use super::waiting::Waiting;
use super::{INDEX, TicketStore, decode, encode, shard_partition, waiting_row};
use crate::failure::{RunKey, Source};
use crate::fault::Fault;
use crate::sources::airflow::units::Units;
use crate::storage::{ETag, Inserted, Swapped, Write};
use crate::ticket::TicketId;

/// A run with more claims than this is asked for each of them: thousands of mapped tasks of one DAG run may fail.
const ROWS: u32 = 60;

/// The rows of a run, as they were read.
#[derive(Debug, Clone)]
pub struct RunRows {
    run: RunKey,
    claims: BTreeMap<String, TicketId>,
    healing: BTreeMap<String, TicketId>,
    units: Option<(Units, ETag)>,
    /// Are all rows here?
    whole: bool,
    /// Were they not read at all, since the run is thought to be new?
    guessed: bool,
}

/// How many runs a process remembers to have seen.
const SEEN: usize = 20_000;

/// The runs that this process has claimed, read or noted as reruns, as far back as it remembers.
#[derive(Clone)]
pub(super) struct SeenRuns(Arc<Mutex<LruCache<String, ()>>>);

impl Default for SeenRuns {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(SEEN))))
    }
}

impl std::fmt::Debug for SeenRuns {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("SeenRuns").finish_non_exhaustive()
    }
}

impl SeenRuns {
    fn memory(&self) -> MutexGuard<'_, LruCache<String, ()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, what: &str) -> bool {
        self.memory().contains_key(what)
    }

    /// Was it noted before?
    fn note(&self, what: &str) -> bool {
        self.memory().insert(what.to_owned(), ()).is_some()
    }
}

/// Who holds the claim on a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// We do, with the id we offered.
    Ours,
    /// Somebody was first, with this id.
    Theirs(TicketId),
    /// Something else of the run changed since it was read: read it again.
    Changed,
}

/// A claim that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    /// What is claimed.
    pub key: &'a RunKey,
    /// The id that is offered.
    pub offer: &'a TicketId,
    /// What waits for that ticket, if it is not kept already.
    pub waiting: Option<&'a Waiting>,
    /// The tasks of the run, if the report added one.
    pub units: Option<&'a Units>,
}

impl RunRows {
    fn empty(run: &RunKey) -> Self {
        Self {
            run: run.clone(),
            claims: BTreeMap::new(),
            healing: BTreeMap::new(),
            units: None,
            whole: true,
            guessed: false,
        }
    }

    /// Which run.
    pub fn run(&self) -> &RunKey {
        &self.run
    }

    /// Were the rows not read, since the run is thought to be new?
    pub fn is_guessed(&self) -> bool {
        self.guessed
    }

    /// The tasks of the run that were reported.
    pub fn units(&self) -> Units {
        self.units
            .as_ref()
            .map(|(units, _)| units.clone())
            .unwrap_or_default()
    }

    /// Other tasks for the run, unless somebody was faster.
    fn units_write<'a>(&'a self, row: &'a str, document: &'a str) -> Write<'a> {
        match &self.units {
            Some((_, etag)) => Write::Swap(row, etag, document),
            None => Write::Insert(row, document),
        }
    }
}

impl TicketStore {
    /// A fresh ticket id, which puts the ticket into the shard of its run.
    pub fn offer(&self, run: &RunKey, source: Source, now: DateTime<Utc>) -> TicketId {
        let suffix = fastrand::u32(..) & !0xf | super::last_digit(&run.hash());
        TicketId::new(source, now, suffix)
    }

    /// What is known of this run: nothing, without asking, if this process has not seen it. A claim on it then fails if
    /// that is wrong.
    pub async fn run_at_first(&self, run: &RunKey) -> Result<RunRows, Fault> {
        if self.seen.note(&run.hash()) || self.has_old_rows().await? {
            return self.run(run).await;
        }
        Ok(RunRows {
            guessed: true,
            ..RunRows::empty(run)
        })
    }

    /// What is known of this run.
    pub async fn run(&self, run: &RunKey) -> Result<RunRows, Fault> {
        let hash = run.hash();
        let (from, to) = (format!("{hash}:"), format!("{hash};"));
        let page = self
            .storage
            .scan(INDEX, &shard_partition(&hash), &from, &to, ROWS, None)
            .await?;
        let mut rows = RunRows {
            whole: page.next.is_none(),
            ..RunRows::empty(run)
        };
        for entity in page.entities {
            let mut parts = entity.row.splitn(3, ':').skip(1);
            match (parts.next(), parts.next()) {
                (Some(UNITS), None) => {
                    let units = decode("units of a run", &entity.document)?;
                    rows.units = Some((units, entity.etag));
                }
                (Some(HEALING), Some(key)) => {
                    let ticket = decode("remediation run", &entity.document)?;
                    rows.healing.insert(key.to_owned(), ticket);
                }
                (Some(CLAIM), Some(key)) => {
                    let ticket = decode("claim", &entity.document)?;
                    rows.claims.insert(key.to_owned(), ticket);
                }
                _ => {}
            }
        }
        if rows.units.is_none()
            && let Some(units) = self.units_before(run).await?
        {
            let row = format!("{hash}:{UNITS}");
            let document = encode(&units)?;
            let inserted = self
                .storage
                .insert(INDEX, &shard_partition(&hash), &row, &document)
                .await?;
            if let Inserted::Created(etag) = inserted {
                rows.units = Some((units, etag));
            }
        }
        Ok(rows)
    }

    /// The ticket that this key of the run belongs to, if any.
    pub async fn owner(&self, rows: &RunRows, key: &RunKey) -> Result<Option<TicketId>, Fault> {
        let hash = key.hash();
        if let Some(owner) = rows.claims.get(&hash) {
            return Ok(Some(owner.clone()));
        }
        if !rows.whole {
            let run = rows.run.hash();
            let row = format!("{run}:{CLAIM}:{hash}");
            let found = self
                .storage
                .get(INDEX, &shard_partition(&run), &row)
                .await?;
            if let Some(entity) = found {
                return Ok(Some(decode("claim", &entity.document)?));
            }
        }
        self.claimed_before(key).await
    }

    /// Claims a key of the run: the first writer wins. What waits, and when it is looked at, is kept with the claim.
    pub async fn claim(&self, rows: &RunRows, new: NewClaim<'_>) -> Result<Claim, Fault> {
        let run = rows.run.hash();
        let partition = shard_partition(&run);
        let claim = format!("{run}:{CLAIM}:{}", new.key.hash());
        let offer = encode(new.offer)?;
        let mut writes = vec![Write::Insert(&claim, &offer)];
        let name = new.offer.as_str();
        let wait = waiting_row(name);
        let kept = new.waiting.map(encode).transpose()?;
        let due = new.waiting.map(|kept| due_row(kept.next_look(), name));
        if let (Some(kept), Some(due)) = (&kept, &due) {
            writes.push(Write::Insert(&wait, kept));
            writes.push(Write::Upsert(due, WITH_WAITING));
        }
        let row = format!("{run}:{UNITS}");
        let units = new.units.map(encode).transpose()?;
        writes.extend(units.as_ref().map(|units| rows.units_write(&row, units)));
        if self.storage.commit(INDEX, &partition, &writes).await? != Swapped::Conflict {
            return Ok(Claim::Ours);
        }
        if rows.guessed {
            return Ok(Claim::Changed);
        }
        let rows = self.run(&rows.run).await?;
        Ok(match self.owner(&rows, new.key).await? {
            Some(owner) if owner == *new.offer => Claim::Ours,
            Some(owner) => Claim::Theirs(owner),
            None => Claim::Changed,
        })
    }

    /// Stores the tasks of a run; `false` when somebody changed them since they were read.
    pub async fn store_units(&self, rows: &RunRows, units: &Units) -> Result<bool, Fault> {
        let run = rows.run.hash();
        let (partition, row) = (shard_partition(&run), format!("{run}:{UNITS}"));
        let document = encode(units)?;
        let write = rows.units_write(&row, &document);
        let outcome = self.storage.commit(INDEX, &partition, &[write]).await?;
        Ok(outcome != Swapped::Conflict)
    }

    /// Removes what is known of a run by this ticket; the tasks of the run go with the last of its tickets.
    pub(super) async fn forget_run(&self, run: &RunKey, id: &TicketId) -> Result<(), Fault> {
        let hash = run.hash();
        let (from, to) = (format!("{hash}:"), format!("{hash};"));
        let partition = shard_partition(&hash);
        let (mut after, mut ours, mut others, mut units) = (None, Vec::new(), false, None);
        loop {
            let page = self
                .storage
                .scan(INDEX, &partition, &from, &to, ROWS, after.as_ref())
                .await?;
            for entity in page.entities {
                if entity.row == format!("{hash}:{UNITS}") {
                    units = Some(entity.row);
                } else if decode::<TicketId>("claim", &entity.document)? == *id {
                    ours.push(entity.row);
                } else {
                    others = true;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for row in ours.into_iter().chain(units.filter(|_| !others)) {
            self.storage.delete(INDEX, &partition, &row, None).await?;
        }
        Ok(())
    }

    /// Remembers that a run was started to heal a ticket: its failure opens no ticket of its own. `key`: under which its
    /// reports come; `run`: of which run they are.
    pub async fn index_remediation_run(
        &self,
        run: &RunKey,
        key: &RunKey,
        id: &TicketId,
    ) -> Result<(), Fault> {
        let (hash, reported) = (run.hash(), key.hash());
        let partition = shard_partition(&hash);
        let (row, ticket) = (format!("{hash}:{HEALING}:{reported}"), encode(id)?);
        let known = format!("{row} {id}");
        if self.seen.has(&known) {
            return Ok(());
        }
        // What a first report of the run would insert.
        let (first, document) = if run == key {
            (format!("{hash}:{CLAIM}:{reported}"), ticket.clone())
        } else {
            (format!("{hash}:{UNITS}"), encode(&Units::default())?)
        };
        let writes = [
            Write::Insert(&first, &document),
            Write::Upsert(&row, &ticket),
        ];
        if self.storage.commit(INDEX, &partition, &writes).await? == Swapped::Conflict {
            self.storage
                .upsert(INDEX, &partition, &row, &ticket)
                .await?;
        }
        self.seen.note(&known);
        Ok(())
    }

    /// The ticket that this run was started to heal, if any.
    pub async fn by_remediation_run(
        &self,
        rows: &RunRows,
        key: &RunKey,
    ) -> Result<Option<TicketId>, Fault> {
        match rows.healing.get(&key.hash()) {
            Some(id) => Ok(Some(id.clone())),
            None => self.healing_before(key).await,
        }
    }
}

/// The rows of a run in their order: what there are few of comes first.
const UNITS: &str = "1";
const HEALING: &str = "2";
const CLAIM: &str = "3";
