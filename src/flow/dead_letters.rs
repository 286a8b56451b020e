//! Dead letters: messages the host moved to a poison queue are recorded, shown, announced once, and can be replayed.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{DELIVERIES, Delivery, FAILURES, Flow, Message};
use crate::digest::sha256;
use crate::fault::Fault;
use crate::redaction::{cap, redact};
use crate::ticket::machine::Event;
use crate::ticket::store::{DeadLetter, UpdateError};
use crate::ticket::{DeliveryFault, Sink, Ticket, TicketId};

/// Rows read at once.
const ROWS_AT_ONCE: u32 = 300;

impl Flow {
    /// Records a message from the poison queue of `queue` (a bare name).
    pub async fn record_dead_letter(
        &self,
        queue: &str,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let message = Message::decode(text);
        let digest = sha256(format!("{queue}\n{text}"));
        let letter = DeadLetter {
            id: format!("{}-{}", now.format("%Y%m%dT%H%M"), digest.get(..16).unwrap_or_default()),
            queue: queue.to_owned(),
            // Our own messages hold ids only, and have to be put back as they were.
            text: match &message {
                Some(_) if text.len() < 4096 => text.to_owned(),
                _ => cap(&redact(text), 32 * 1024),
            },
            reason: "the function failed on it more often than the host tries, or it could not be decoded".to_owned(),
            at: now,
            replayed_at: None,
        };
        if self.store.record_dead_letter(&letter).await? {
            tracing::error!(queue.name = queue, letter.id = %letter.id, "a message was given up: see the dashboard, then `aiops-rca replay`");
        }
        if let Some(delivery) = message.as_ref().and_then(Message::delivery) {
            let fault = DeliveryFault {
                reason: format!(
                    "given up after repeated crashes (dead letter {})",
                    letter.id
                ),
                at: now,
                retrying: false,
            };
            // What acts is taken for done: else the sweep would put it again, to be given up again. What shows the
            // ticket is blocked, and tried ever more seldom.
            let shown = self
                .store
                .load(&delivery.ticket)
                .await?
                .filter(|_| !delivery.sink.shows())
                .map(|ticket| ticket.version);
            let event = Event::DeliveryEnded {
                sink: delivery.sink,
                holder: String::new(),
                shown,
                fault: Some(fault),
                settings: self.sinks.settings_digest(delivery.sink),
                again: None,
            };
            let ended = self.store.update(&delivery.ticket, |ticket: &Ticket| {
                crate::ticket::machine::apply(ticket, &event, now)
            });
            UpdateError::unless_refused(ended.await)?;
        }
        Ok(())
    }

    /// Puts dead letters back into their queues: the one with this id, or all that were not replayed yet.
    pub async fn replay(
        &self,
        id: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Vec<DeadLetter>, Fault> {
        let mut replayed = Vec::new();
        for mut letter in self.store.dead_letters().await? {
            let wanted = id.map_or(letter.replayed_at.is_none(), |id| id == letter.id);
            let known = matches!(letter.queue.as_str(), FAILURES | DELIVERIES);
            if !wanted || !known {
                continue;
            }
            if let Some(delivery) = Message::decode(&letter.text)
                .as_ref()
                .and_then(Message::delivery)
            {
                self.wake(delivery, now).await?;
            }
            self.storage()
                .put(&letter.queue, &letter.text, Duration::ZERO)
                .await?;
            letter.replayed_at = Some(now);
            self.store.update_dead_letter(&letter).await?;
            replayed.push(letter);
        }
        Ok(replayed)
    }

    /// Tries every delivery that a fault has stopped again now: somebody has repaired something. Which they are.
    pub async fn retry_stopped(&self) -> Result<Vec<(TicketId, Sink)>, Fault> {
        let stopped = self.stopped().await?;
        for (ticket, sink) in &stopped {
            self.put_delivery(ticket, *sink, Duration::ZERO).await?;
        }
        Ok(stopped
            .into_iter()
            .map(|(ticket, sink)| (ticket.id, sink))
            .collect())
    }

    /// Every delivery that a fault has stopped, blocked or not, of the tickets that are looked after.
    pub async fn stopped(&self) -> Result<Vec<(Ticket, Sink)>, Fault> {
        let mut stopped = Vec::new();
        let mut after = None;
        loop {
            let (rows, next) = self.store.active(ROWS_AT_ONCE, after.as_ref()).await?;
            for id in rows.iter().filter_map(|row| TicketId::parse(&row.row)) {
                let Some(ticket) = self.store.load(&id).await? else {
                    continue;
                };
                let sinks = Sink::showing()
                    .filter(|sink| ticket.lags(*sink) && ticket.fault(*sink).is_some());
                stopped.extend(sinks.map(|sink| (ticket.clone(), sink)));
            }
            after = next;
            if after.is_none() {
                return Ok(stopped);
            }
        }
    }

    /// The sink has to look again although the ticket has not changed since it was given up.
    async fn wake(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<(), Fault> {
        let event = Event::Woken {
            sink: delivery.sink,
        };
        let woken = self.store.update(&delivery.ticket, |ticket| {
            crate::ticket::machine::apply(ticket, &event, now)
        });
        UpdateError::unless_refused(woken.await).map(drop)
    }
}
