//! Which tickets are one incident: one issue and one message for all of them. Pure.
//!
//! In: a ticket that is about to be opened, and what is known of others that may be the same. Out: whether it leads an
//! incident of its own or joins another's, and why ([`fold`]); what a leader shows of its followers ([`summary`]), and as
//! what an incident is shown ([`shown`]). The ticket stays what it is: one failed run with its own story and its own
//! remediation. The room does not know the store: how candidates are found, and that the first leader wins, is the flow's.
//!
//! Never folded are different causes on one asset, the same words about another named thing, and different scopes. Only
//! runs that name each other by exact ids are joined across scopes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::ticket::machine::Decision;
use crate::ticket::{FoldReason, Joined, Member, MemberRuns, Ticket, TicketId};

mod links;
mod settings;
mod showing;
mod things;
mod traits;

pub use links::{Links, Named, ids};
pub use settings::FoldSettings;
pub use showing::{closed_for_good, shown, summary, summary_words};
pub use things::Thing;
pub use traits::Traits;

/// Failures of one cause that are this far apart are no storm.
pub const STORM: TimeDelta = TimeDelta::minutes(15);
/// On how many assets a cause has to be seen, the new one included.
pub const STORM_ASSETS: usize = 3;

/// A ticket that may be the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub ticket: TicketId,
    /// Who leads its incident.
    pub leader: TicketId,
    /// What it is compared by.
    pub traits: Traits,
    /// When it was reported last.
    pub at: DateTime<Utc>,
    /// Why it is part of that incident; `None`: it leads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FoldReason>,
    /// Since when its incident is closed, if it is.
    #[serde(skip)]
    pub closed_at: Option<DateTime<Utc>>,
}

/// Where a ticket belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folding {
    /// It leads an incident of its own.
    Own,
    /// It is part of this one.
    Join(TicketId, FoldReason),
}

/// In a storm one asset is healed first: what the policy wants for the others waits until that has succeeded.
pub fn after_probe(ticket: &Ticket, decision: Decision) -> Decision {
    let waits = ticket
        .joined
        .as_ref()
        .is_some_and(|joined| joined.waits_for_probe);
    match decision {
        Decision::Run { .. } | Decision::Ask { .. } if waits => Decision::Leave {
            why: "it waits until one asset of its incident is healed".to_owned(),
            exhausted: false,
        },
        decision => decision,
    }
}

/// A follower, as its leader's incident lists it.
pub fn member(ticket: &Ticket, joined: &Joined) -> Member {
    let links = Links::of(ticket);
    let runs = MemberRuns {
        own: ids(&links.own),
        names: ids(&links.named),
        parents: ids(&links.parents),
    };
    Member::of(ticket, joined, runs)
}

/// Decides whose incident a ticket is part of. The order of the candidates does not matter.
pub fn fold(
    ticket: &Ticket,
    candidates: &[Candidate],
    settings: &FoldSettings,
    now: DateTime<Utc>,
) -> Folding {
    let mine = Traits::of(ticket);
    let mut others: Vec<&Candidate> = (candidates.iter())
        .filter(|candidate| candidate.ticket != ticket.id && candidate.leader != ticket.id)
        .collect();
    others.sort_by(|a, b| (a.at, &a.ticket).cmp(&(b.at, &b.ticket)));
    let is_open = |candidate: &&&Candidate| candidate.closed_at.is_none();
    let first = |reason: FoldReason, is_same: &dyn Fn(&Candidate) -> bool| {
        let found = settings
            .folds(reason)
            .then(|| others.iter().find(|other| is_same(other)));
        found
            .flatten()
            .map(|other| Folding::Join(other.leader.clone(), reason))
    };
    let is_repeat = |other: &Candidate| {
        let open_or_lately = |closed: DateTime<Utc>| now - closed <= settings.reopen;
        mine.is_same_failure(&other.traits) && other.closed_at.is_none_or(open_or_lately)
    };
    first(FoldReason::FanOut, &|other| {
        other.closed_at.is_none()
            && mine.is_same_run(&other.traits)
            && mine.is_same_failure(&other.traits)
    })
    .or_else(|| {
        first(FoldReason::Cascade, &|other| {
            other.closed_at.is_none() && mine.links.meet(&other.traits.links)
        })
    })
    .or_else(|| first(FoldReason::Repeat, &is_repeat))
    .or_else(|| {
        let near = |other: &&&Candidate| (ticket.received_at - other.at).abs() <= STORM;
        let storm: Vec<&&Candidate> = (others.iter().filter(is_open).filter(near))
            .filter(|other| mine.is_same_storm(&other.traits))
            .collect();
        let assets: BTreeSet<&str> = storm
            .iter()
            .map(|other| other.traits.asset.as_str())
            .collect();
        let enough = assets.len() + 1 >= STORM_ASSETS && settings.folds(FoldReason::Storm);
        let leader = storm.first().filter(|_| enough)?;
        Some(Folding::Join(leader.leader.clone(), FoldReason::Storm))
    })
    .unwrap_or(Folding::Own)
}
