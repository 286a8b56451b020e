//! Who owns it, and how much it matters. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::Duration;

use super::{Draft, Refusal, nothing};
use crate::ticket::{Actor, Care, Priority, Ticket};

pub(super) fn rate(d: &mut Draft, care: &Care) -> Result<(), Refusal> {
    let owner = care.owner.as_ref();
    let name = owner.map(|owner| owner.name.clone());
    let known_from = owner.map(|owner| owner.known_from.clone());
    let known = (&d.ticket.owner, &d.ticket.owner_known_from);
    let importance = (care.importance.as_ref(), d.ticket.importance.as_ref());
    if known == (&name, &known_from) && importance.0 == importance.1 {
        return Err(nothing("that is known"));
    }
    if known.0 != &name {
        let detail = match owner {
            Some(owner) => format!("{}: {}", owner.name, owner.known_from),
            None => "nobody".to_owned(),
        };
        d.audit(&Actor::system(), "Owner Found", detail);
    }
    d.ticket.owner = name;
    d.ticket.owner_known_from = known_from;
    d.ticket.importance.clone_from(&care.importance);
    set_severity(&mut d.ticket);
    if let Some(reason) = d.ticket.severity_reason() {
        let (severity, priority) = (d.ticket.severity, d.ticket.priority);
        let detail = format!("{severity} ({priority}): {reason}");
        d.audit(&Actor::system(), "Importance Set", detail);
    }
    d.visible = true;
    Ok(())
}

/// Severity, priority and SLA: by importance, else by the error.
pub(super) fn set_severity(ticket: &mut Ticket) {
    let importance = ticket.importance.as_ref();
    ticket.severity = importance.map_or(ticket.diagnosis.severity, |of| of.severity);
    ticket.priority = Priority::of(ticket.severity);
    if ticket.sla.breached_at.is_none() {
        let seconds = ticket.priority.sla_seconds();
        ticket.sla.seconds = seconds;
        ticket.sla.due_at = ticket.received_at + Duration::seconds(i64::from(seconds));
    }
}
