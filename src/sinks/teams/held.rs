//! Faults of calls that surely did nothing: the intent goes from the record first, then the fault is told. Otherwise another
//! process would take the intent for one of unknown outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::Fault;
use crate::ticket::{Ticket, TicketId};

/// Beyond this many all are forgotten: they cost one more call each.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<BTreeMap<TicketId, Fault>>>);

impl Held {
    /// Kept until the next step of this ticket.
    pub(super) fn keep(&self, ticket: &Ticket, fault: Fault) {
        let mut faults = self.faults();
        if faults.len() >= MOST {
            faults.clear();
        }
        faults.insert(ticket.id.clone(), fault);
    }

    pub(super) fn has(&self, ticket: &Ticket) -> bool {
        self.faults().contains_key(&ticket.id)
    }

    pub(super) fn take(&self, ticket: &Ticket) -> Option<Fault> {
        self.faults().remove(&ticket.id)
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<TicketId, Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
