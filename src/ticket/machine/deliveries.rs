//! Bookkeeping of deliveries: leases, records, ends. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::{DateTime, Utc};

use super::{Draft, Refusal, contradicts};
use crate::ticket::{Actor, AuditEntry, Blocked, DeliveryFault, Intent, JiraRecord, Sink};

pub(super) fn lease_sink(d: &mut Draft, sink: Sink, lease: &Intent) -> Result<(), Refusal> {
    if let Some(held) = d.ticket.lease(sink)
        && held.by != lease.by
        && held.is_live(d.now)
    {
        return Err(contradicts("another delivery works on this sink"));
    }
    d.ticket.books.sinks.of(sink).lease = Some(lease.clone());
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
    let waiting = d.ticket.waiting(sink, d.now);
    d.ticket.books.sinks.of(sink).due =
        again.map(|again| waiting.map_or(again, |waiting| waiting.min(again)));
}

pub(super) fn end_delivery(
    d: &mut Draft,
    sink: Sink,
    holder: &str,
    shown: Option<u64>,
    fault: Option<&DeliveryFault>,
    settings: Option<String>,
) {
    let state = d.ticket.books.sinks.of(sink);
    if state.lease.as_ref().is_some_and(|lease| lease.by == holder) {
        state.lease = None;
    }
    if let Some(version) = shown {
        state.delivered = state.delivered.max(version);
    }
    // What a repetition does not repair is shown as blocked, never given up. What acts is the watchdog's.
    let lasts = fault.is_some_and(|fault| !fault.retrying) && sink.shows();
    state.blocked = lasts.then(|| Blocked::again(state.blocked.as_ref(), d.now));
    state.settings = fault.and(settings);
    let slot = &mut state.fault;
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
