//! Bookkeeping of deliveries: leases, records, ends. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::{DateTime, Duration, Utc};

use super::{Draft, Refusal, contradicts};
use crate::ticket::{Actor, AuditEntry, DeliveryFault, JiraRecord, Lease, Sink};

pub(super) fn lease_sink(d: &mut Draft, sink: Sink, lease: &Lease) -> Result<(), Refusal> {
    if let Some(held) = d.ticket.books.leases.get(&sink)
        && held.holder != lease.holder
        && held.until > d.now
    {
        return Err(contradicts("another delivery works on this sink"));
    }
    d.ticket.books.leases.insert(sink, lease.clone());
    Ok(())
}

pub(super) fn record_jira(d: &mut Draft, record: &JiraRecord) {
    let before = &d.ticket.jira;
    if before.key != record.key {
        d.visible = true;
        if let Some(key) = &record.key {
            d.audit.push(AuditEntry {
                at: d.now,
                actor: Actor::system(),
                what: "JIRA Issue Created".to_owned(),
                detail: key.clone(),
            });
        }
    }
    let deleted = before.deleted || record.deleted;
    d.ticket.jira = JiraRecord {
        deleted,
        ..record.clone()
    };
}

/// Several deliveries of one sink may wait; the first counts.
pub(super) fn next_delivery(d: &mut Draft, sink: Sink, again: Option<DateTime<Utc>>) {
    let now = d.now;
    let due = &mut d.ticket.books.due;
    let waiting = due
        .get(&sink)
        .copied()
        .filter(|at| *at > now + Duration::seconds(5));
    match again {
        Some(again) => due.insert(sink, waiting.map_or(again, |waiting| waiting.min(again))),
        None => due.remove(&sink),
    };
}

pub(super) fn end_delivery(
    d: &mut Draft,
    sink: Sink,
    holder: &str,
    shown: Option<u64>,
    fault: Option<&DeliveryFault>,
) {
    if d.ticket
        .books
        .leases
        .get(&sink)
        .is_some_and(|lease| lease.holder == holder)
    {
        d.ticket.books.leases.remove(&sink);
    }
    if let Some(version) = shown {
        let delivered = d.ticket.books.delivered.entry(sink).or_insert(0);
        *delivered = (*delivered).max(version);
    }
    let slot = match sink {
        Sink::Jira => &mut d.ticket.jira.fault,
        Sink::Slack => &mut d.ticket.slack.fault,
        Sink::Playbook => &mut d.ticket.books.playbook_fault,
    };
    let news = fault.is_some_and(|fault| {
        !fault.retrying
            && slot
                .as_ref()
                .is_none_or(|known| known.reason != fault.reason)
    });
    *slot = fault.cloned();
    if news && let Some(fault) = fault {
        d.audit.push(AuditEntry {
            at: d.now,
            actor: Actor::system(),
            what: "Delivery Failed".to_owned(),
            detail: format!("{}: {}", sink.name(), fault.reason),
        });
    }
}
