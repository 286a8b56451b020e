//! Deliveries that a fault has stopped: which tickets wait for which sink, so that nobody has to walk over all tickets to
//! say so, or to wake them once the vendor answers.
//!
//! A row is a hint, written after the ticket. One that is missing is written at the ticket's next look, one that is left
//! over goes at the next try.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::ticket::{Sink, Ticket, TicketId};

const STUCK: &str = "stuck";
/// Of this kind is the row that names the ticket about a sink itself; it comes before all others.
const NOTICE: &str = "-notice";
/// More are not looked at in one round.
const MOST: u32 = 1000;

/// Why and since when a sink of a ticket waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was tried; 0: it is tried again by itself.
    pub tries: u32,
    /// Why, by the last try.
    pub reason: String,
    /// When that was.
    pub at: DateTime<Utc>,
    /// A digest of the sink's settings then.
    pub settings: Option<String>,
}

impl Stuck {
    /// How this sink of the ticket is stopped, if it is.
    pub fn of(ticket: &Ticket, sink: Sink) -> Option<Self> {
        let state = ticket.books.sinks.get(sink).filter(|_| sink.shows())?;
        let fault = state.fault.as_ref().filter(|_| ticket.lags(sink))?;
        let blocked = state.blocked.as_ref();
        Some(Self {
            since: blocked.map_or(fault.at, |blocked| blocked.since),
            tries: blocked.map_or(0, |blocked| blocked.tries),
            reason: fault.reason.clone(),
            at: fault.at,
            settings: state.settings.clone(),
        })
    }

    /// Does it wait for somebody to repair something?
    pub fn is_blocked(&self) -> bool {
        self.tries > 0
    }
}

/// All that is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StuckRows {
    /// Deliveries.
    pub deliveries: Vec<(Sink, TicketId, Stuck)>,
    /// The open tickets about sinks.
    pub notices: Vec<(Sink, TicketId)>,
    /// Is that all?
    pub whole: bool,
}

impl TicketStore {
    /// Notes how this sink of the ticket is stopped, or that it no longer is.
    pub async fn note_stuck(&self, ticket: &Ticket, sink: Sink) -> Result<(), Fault> {
        let row = format!("{}:{}", sink.name(), ticket.id);
        match Stuck::of(ticket, sink) {
            Some(stuck) => {
                self.storage
                    .upsert(INDEX, STUCK, &row, &encode(&stuck)?)
                    .await
            }
            None => self
                .storage
                .delete(INDEX, STUCK, &row, None)
                .await
                .map(drop),
        }
    }

    /// Nothing is known of this ticket's delivery any more.
    pub async fn drop_stuck(&self, sink: Sink, id: &TicketId) -> Result<(), Fault> {
        let row = format!("{}:{id}", sink.name());
        self.storage
            .delete(INDEX, STUCK, &row, None)
            .await
            .map(drop)
    }

    /// Remembers which ticket is about this sink; `None`: it is closed.
    pub async fn note_notice(&self, sink: Sink, id: Option<&TicketId>) -> Result<(), Fault> {
        let row = format!("{NOTICE}:{}", sink.name());
        match id {
            Some(id) => self.storage.upsert(INDEX, STUCK, &row, &encode(id)?).await,
            None => self
                .storage
                .delete(INDEX, STUCK, &row, None)
                .await
                .map(drop),
        }
    }

    /// What is stopped. One request.
    pub async fn stuck(&self) -> Result<StuckRows, Fault> {
        let page = self.storage.scan(INDEX, STUCK, "", "", MOST, None).await?;
        let mut rows = StuckRows {
            whole: page.next.is_none(),
            ..StuckRows::default()
        };
        for entity in page.entities {
            let Some((kind, rest)) = entity.row.split_once(':') else {
                continue;
            };
            let named = |name: &str| Sink::ALL.into_iter().find(|sink| sink.name() == name);
            if kind == NOTICE {
                if let Some(sink) = named(rest) {
                    let id = decode("notice", &entity.document)?;
                    rows.notices.push((sink, id));
                }
            } else if let (Some(sink), Some(id)) = (named(kind), TicketId::parse(rest)) {
                let stuck = decode("stopped delivery", &entity.document)?;
                rows.deliveries.push((sink, id, stuck));
            }
        }
        Ok(rows)
    }
}
