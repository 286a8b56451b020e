//! Vendors that do not answer: what the process that delivers found out, for the pages and for the sweep, which may run in another.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::ticket::Sink;

const OUTAGE: &str = "outage";
/// A process that found an outage and died says nothing more.
const SILENT: TimeDelta = TimeDelta::minutes(5);

/// A vendor that did not answer, call after call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it is asked again, while it lasts.
    pub next_call: DateTime<Utc>,
    /// What the last call came to.
    pub reason: String,
    /// When it answered again.
    pub ended: Option<DateTime<Utc>>,
}

impl Outage {
    /// Does it last, as far as anybody knows?
    pub fn lasts(&self, now: DateTime<Utc>) -> bool {
        self.ended.is_none() && now - self.next_call < SILENT
    }
}

impl TicketStore {
    /// Remembers that this sink's vendor does not answer, or that it does again.
    pub async fn note_outage(&self, sink: Sink, outage: &Outage) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, OUTAGE, sink.name(), &encode(outage)?)
            .await
    }

    /// The last outage of each sink that had one. One request.
    pub async fn outages(&self) -> Result<Vec<(Sink, Outage)>, Fault> {
        let page = self.storage.scan(INDEX, OUTAGE, "", "", 100, None).await?;
        let mut outages = Vec::new();
        for entity in page.entities {
            let named = |sink: &Sink| sink.name() == entity.row;
            if let Some(sink) = Sink::ALL.into_iter().find(named) {
                outages.push((sink, decode("outage", &entity.document)?));
            }
        }
        Ok(outages)
    }
}
