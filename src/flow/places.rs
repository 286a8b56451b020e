//! Where a sink posts, as its vendor tells it: kept for all processes, and what could not be posted before is tried at once.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::Flow;
use crate::fault::Fault;
use crate::ticket::store::Place;
use crate::ticket::{Sink, Ticket};

/// Deliveries that are put while the vendor waits for its answer. The sweep puts the others.
const AT_ONCE: usize = 40;

impl Flow {
    /// Its vendor says that this sink may post, and where; without a place it stays where it was. What a fault has stopped is
    /// tried at once, by whichever process takes it.
    ///
    /// # Errors
    /// The store does not answer: the vendor has to say it again.
    pub async fn told_place(
        &self,
        sink: Sink,
        place: Option<&Place>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if let Some(place) = place {
            self.store.put_place(sink, place).await?;
            self.sinks.learn(sink, Some(place.clone()), now);
        }
        let stuck = self.store.stuck().await?;
        let waiting = stuck.deliveries.iter().filter(|(of, ..)| *of == sink);
        let woken = self.wake_each(waiting.take(AT_ONCE), now).await?;
        tracing::info!(
            sink.name = sink.name(),
            sink.woken = woken,
            "a sink was told where to post"
        );
        Ok(())
    }

    /// Tells a sink where to post, as it is stored: another process may have been told. What is stopped is tried with what is
    /// stored now. On the heap, as what most deliveries never come to.
    pub(super) fn learn_place<'a>(
        &'a self,
        sink: Sink,
        ticket: &'a Ticket,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            let stopped = ticket.blocked(sink).is_some();
            if self.sinks.wants_place(sink, stopped, now) {
                let place = self.store.place(sink).await?;
                self.sinks.learn(sink, place, now);
            }
            Ok(())
        }
        .boxed()
    }

    /// Before the sweep asks which sinks work with something else than before.
    pub(super) async fn learn_places(
        &self,
        sinks: impl IntoIterator<Item = Sink>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        for sink in sinks {
            if self.sinks.wants_place(sink, true, now) {
                let place = self.store.place(sink).await?;
                self.sinks.learn(sink, place, now);
            }
        }
        Ok(())
    }
}
