//! What the overview counts: every ticket of its days, whether it is shown or not.

use std::collections::BTreeMap;

use crate::ticket::{BlockedSinks, RemediationState, Status, Ticket};

/// Numbers of tickets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub all: usize,
    /// Nobody works on them yet.
    pub open: usize,
    /// Somebody works on them.
    pub in_progress: usize,
    /// A plan waits for an answer.
    pub awaiting_approval: usize,
    /// Open after their SLA.
    pub breached: usize,
    /// Healed by a playbook.
    pub healed: usize,
    /// By category.
    pub categories: BTreeMap<&'static str, usize>,
    /// What cannot be shown in a sink until somebody repairs something.
    pub blocked: BlockedSinks,
}

impl Counts {
    /// One more ticket.
    pub fn add(&mut self, ticket: &Ticket) {
        let open = !ticket.is_closed();
        let remediation = ticket.remediation.state;
        let count = |number: &mut usize, applies: bool| *number += usize::from(applies);
        self.all += 1;
        count(&mut self.open, ticket.status == Status::Open);
        count(&mut self.in_progress, ticket.status == Status::InProgress);
        count(
            &mut self.awaiting_approval,
            open && remediation == RemediationState::AwaitingApproval,
        );
        count(&mut self.breached, open && ticket.sla.breached_at.is_some());
        count(&mut self.healed, remediation == RemediationState::Succeeded);
        *self
            .categories
            .entry(ticket.diagnosis.category.words())
            .or_default() += 1;
        self.blocked.add(ticket);
    }
}
