//! Fold: whose incident a new ticket is part of.
//!
//! What is pure about it is [`fold`]'s; here candidates are found and the first leader wins. A failure like no other
//! costs one insert (two, where others may name its run). Every row is inserted if absent or changed by compare-and-set, and
//! the decision is read from them again, so a repetition after a crash decides the same.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Flow;
use crate::failure::Source;
use crate::fault::Fault;
use crate::incident::{Candidate, Folding, STORM, STORM_ASSETS, Traits, closed_for_good, fold};
use crate::ticket::store::{Kept, NewRow};
use crate::ticket::{FoldReason, Joined, Ticket, TicketId};

/// How often rows that others change are read again.
const ROUNDS: u32 = 20;
/// The failures of a storm that are kept: enough to know it by.
const KEPT: usize = 6;
/// How often a storm that goes on is noted.
const NOTED: TimeDelta = TimeDelta::minutes(1);
/// How far a leader is followed that follows another by now.
const HOPS: usize = 4;

/// What is kept of a cause: for an asset whose incident it is, for a storm its failures.
type Row = Vec<Candidate>;

/// How an incident stands.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) leader: TicketId,
    pub(super) closed_at: Option<DateTime<Utc>>,
}

impl Flow {
    /// Whose incident this ticket is part of; `None`: it leads its own. And whether such a failure may have been seen before.
    pub(super) async fn fold_in(
        &self,
        ticket: &Ticket,
        now: DateTime<Utc>,
    ) -> Result<(Option<Joined>, bool), Fault> {
        if self.fold.kinds.is_empty() || ticket.failure.source == Source::System {
            return Ok((None, true));
        }
        let mut mine = Candidate {
            ticket: ticket.id.clone(),
            leader: ticket.id.clone(),
            traits: Traits::of(ticket),
            at: ticket.received_at,
            reason: None,
            closed_at: None,
        };
        let linked = self.linked(ticket, &mut mine, now).await?;
        let cause = mine.traits.cause_key();
        let repeats = format!("r:{}", mine.traits.repeat_key());
        let storms = mine.traits.storm_key().map(|key| format!("s:{key}"));
        if linked.is_empty() {
            // Like no other, mostly.
            let row = vec![mine.clone()];
            let rows: Vec<NewRow<'_, Row>> = [Some(&repeats), storms.as_ref()]
                .into_iter()
                .flatten()
                .map(|name| NewRow {
                    row: name,
                    before: None,
                    document: &row,
                })
                .collect();
            if self.store.keep_of_cause(&cause, &rows).await? {
                return Ok((None, false));
            }
        }
        for round in 0..ROUNDS {
            let known: Option<Kept<Row>> = self.store.kept_of_cause(&cause, &repeats).await?;
            if let Some(decided) = known
                .iter()
                .flat_map(|row| &row.document)
                .find(|of| of.ticket == ticket.id)
            {
                // Decided before a crash.
                let reason = decided.reason;
                let joined = reason.map(|reason| joined(decided.leader.clone(), reason, now));
                return Ok((joined, true));
            }
            let repeated = known.iter().flat_map(|row| row.document.iter().cloned());
            let alike = linked.iter().cloned().chain(repeated).collect();
            let mut found = self.standing(alike, now).await?;
            let mut folding = fold(ticket, &found, &self.fold, now);
            // Others that name the same thing matter only to what is like no other.
            let storms = storms.as_ref().filter(|_| folding == Folding::Own);
            let storm: Option<Kept<Row>> = match storms {
                Some(name) => self.store.kept_of_cause(&cause, name).await?,
                None => None,
            };
            if let Some(storm) = &storm {
                found.extend(self.standing(storm.document.clone(), now).await?);
                folding = fold(ticket, &found, &self.fold, now);
            }
            let (leader, reason) = match &folding {
                Folding::Own => (ticket.id.clone(), None),
                Folding::Join(leader, reason) => (leader.clone(), Some(*reason)),
            };
            let entry = Candidate {
                leader: leader.clone(),
                reason,
                ..mine.clone()
            };
            let repeat_row = vec![entry.clone()];
            let is_known = found.iter().any(|of| {
                of.leader == leader
                    && of.traits.is_same_failure(&mine.traits)
                    && of.ticket != ticket.id
            }) && known.is_some();
            let storm_row = storm_row(storm.as_ref(), entry, &found);
            let mut rows = Vec::new();
            if !is_known {
                rows.push(NewRow {
                    row: &repeats,
                    before: known.as_ref(),
                    document: &repeat_row,
                });
            }
            if let (Some(name), Some(storm_row)) = (storms, &storm_row) {
                rows.push(NewRow {
                    row: name,
                    before: storm.as_ref(),
                    document: storm_row,
                });
            }
            if self.store.keep_of_cause(&cause, &rows).await? {
                let joined = reason.map(|reason| joined(leader, reason, now));
                if let Some(joined) = &joined {
                    let others: Vec<TicketId> = linked.iter().map(|of| of.leader.clone()).collect();
                    self.merge(&others, joined, now).await?;
                }
                return Ok((joined, true));
            }
            let pause = u64::from(round) * 5 + fastrand::u64(0..10);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Err(Fault::transient(
            "failures of one cause come too fast right now",
        ))
    }

    /// Tickets that share a run with this one. What it names is noted under the leader that was found by then.
    async fn linked(
        &self,
        ticket: &Ticket,
        mine: &mut Candidate,
        now: DateTime<Utc>,
    ) -> Result<Vec<Candidate>, Fault> {
        let mut found = Vec::new();
        if !self.fold.folds(FoldReason::Cascade) {
            return Ok(found);
        }
        for run in mine.traits.links.ids() {
            let Some(known) = self.store.note_run(&run, &*mine).await? else {
                continue;
            };
            let is_other = known.ticket != ticket.id && known.leader != ticket.id;
            if is_other && known.traits.links.meet(&mine.traits.links) {
                let standing = self.standing(vec![known], now).await?;
                if let Some(open) = standing.into_iter().find(|of| of.closed_at.is_none()) {
                    if found.is_empty() {
                        mine.leader = open.leader.clone();
                    }
                    found.push(open);
                }
            }
        }
        mine.leader = ticket.id.clone();
        Ok(found)
    }

    /// The candidates with who leads them now and whether that is closed; those whose leader is gone are left out.
    async fn standing(
        &self,
        candidates: Vec<Candidate>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Candidate>, Fault> {
        let mut known: BTreeMap<TicketId, Option<Standing>> = BTreeMap::new();
        let mut found = Vec::new();
        for candidate in candidates {
            let standing = if let Some(standing) = known.get(&candidate.leader) {
                standing.clone()
            } else {
                let standing = self.incident_of(&candidate.leader, now).await?;
                known.insert(candidate.leader.clone(), standing.clone());
                standing
            };
            found.extend(standing.map(|Standing { leader, closed_at }| Candidate {
                leader,
                closed_at,
                ..candidate
            }));
        }
        Ok(found)
    }

    /// Who leads this ticket's incident now, and how it stands; `None`: nobody, the record or the issue is gone.
    pub(super) async fn incident_of(
        &self,
        id: &TicketId,
        now: DateTime<Utc>,
    ) -> Result<Option<Standing>, Fault> {
        let mut id = id.clone();
        for _ in 0..HOPS {
            let Some(ticket) = self.store.load(&id).await? else {
                if let Some(heir) = self.store.heir_of(&id).await? {
                    id = heir;
                    continue;
                }
                // Still to be analysed, or gone.
                let waits = self.store.waiting(&id).await?.is_some();
                return Ok(waits.then_some(Standing {
                    leader: id,
                    closed_at: None,
                }));
            };
            if ticket.is_silent() {
                // Nothing hides behind what nobody is told of.
                return Ok(None);
            }
            if let Some(joined) = &ticket.joined {
                id = joined.leader.clone();
                continue;
            }
            if ticket.jira.deleted {
                match self.store.heir_of(&id).await? {
                    Some(heir) if heir != id => id = heir,
                    Some(_) | None => return Ok(None),
                }
                continue;
            }
            let stays_open = ticket
                .incident
                .as_ref()
                .is_some_and(|incident| incident.open > 0)
                && !ticket.last_word().by.is_person();
            let closed_at = match ticket.is_closed() && !stays_open {
                true if closed_for_good(&ticket) => Some(now),
                true => Some(ticket.status_at),
                false => None,
            };
            return Ok(Some(Standing {
                leader: id,
                closed_at,
            }));
        }
        Ok(None)
    }
}

impl Flow {
    /// Removes what led to this ticket from failures like it.
    pub(super) async fn forget_folding(&self, ticket: &Ticket) -> Result<(), Fault> {
        let traits = Traits::of(ticket);
        let cause = traits.cause_key();
        let repeats = format!("r:{}", traits.repeat_key());
        let storms = traits.storm_key().map(|key| format!("s:{key}"));
        for row in [Some(repeats), storms].into_iter().flatten() {
            let is_its = |row: &Row| row.iter().all(|of| of.leader == ticket.id);
            self.store.forget_of_cause(&cause, &row, is_its).await?;
        }
        for run in traits.links.ids() {
            self.store.forget_noted_run(&run).await?;
        }
        Ok(())
    }
}

fn joined(leader: TicketId, reason: FoldReason, at: DateTime<Utc>) -> Joined {
    Joined {
        leader,
        reason,
        at,
        reported: 0,
        waits_for_probe: reason == FoldReason::Storm,
    }
}

/// What a storm's row is to hold with this failure; `None`: what it holds will do.
fn storm_row(before: Option<&Kept<Row>>, entry: Candidate, found: &[Candidate]) -> Option<Row> {
    let leads = |ticket: &TicketId| found.iter().find(|of| of.ticket == *ticket);
    let mut rows: Row = (before.iter().flat_map(|row| &row.document))
        // Of those that are over nothing is known any more.
        .filter_map(|row| {
            Some(Candidate {
                leader: leads(&row.ticket)?.leader.clone(),
                ..row.clone()
            })
        })
        .filter(|row| (entry.at - row.at).abs() <= STORM)
        .collect();
    if entry.reason == Some(FoldReason::Storm) {
        rows.retain(|row| row.leader == entry.leader);
    }
    let newest = rows.iter().map(|row| row.at).max();
    let has_asset = rows
        .iter()
        .any(|row| row.traits.asset == entry.traits.asset);
    let is_noted = newest.is_some_and(|at| entry.at - at < NOTED);
    if is_noted && (has_asset || rows.len() >= STORM_ASSETS) {
        return None;
    }
    rows.retain(|row| row.traits.asset != entry.traits.asset);
    rows.push(entry);
    rows.sort_by_key(|row| row.at);
    while rows.len() > KEPT {
        // The first names the leader.
        rows.remove(1);
    }
    Some(rows)
}
