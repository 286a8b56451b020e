//! Where a sink posts, as it was told by its vendor.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::ticket::Sink;

const PLACES: &str = "places";

/// Where to post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The address of the vendor's service for it.
    pub service: String,
    /// The team.
    #[serde(default)]
    pub team: Option<String>,
    /// The channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// When it was told.
    pub at: DateTime<Utc>,
}

impl TicketStore {
    /// Where this sink posts, if it was told.
    pub async fn place(&self, sink: Sink) -> Result<Option<Place>, Fault> {
        let entity = self.storage.get(INDEX, PLACES, sink.name()).await?;
        entity
            .map(|entity| decode("place", &entity.document))
            .transpose()
    }

    /// Keeps where this sink posts from now on.
    pub async fn put_place(&self, sink: Sink, place: &Place) -> Result<(), Fault> {
        self.storage
            .upsert(INDEX, PLACES, sink.name(), &encode(place)?)
            .await
    }
}
