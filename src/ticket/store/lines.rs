//! Processes whose messages wait in line for a sink: they share the pace of its channel.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::ticket::Sink;

const LINES: &str = "lines";
/// A process that says nothing for so long has no line any more.
const OVER: TimeDelta = TimeDelta::seconds(30);
/// And after so long it has ended.
const ENDED: TimeDelta = TimeDelta::minutes(10);

/// A process with a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it said so.
    pub at: DateTime<Utc>,
    /// Until when the vendor asked it for silence.
    pub silent_until: Option<DateTime<Utc>>,
}

impl TicketStore {
    /// Says that this process has a line for the sink; all that have one, this one first. Two requests.
    pub async fn meet_lines(&self, sink: Sink, ours: &Line) -> Result<Vec<Line>, Fault> {
        let row = format!("{} {}", sink.name(), self.process);
        self.storage
            .upsert(INDEX, LINES, &row, &encode(ours)?)
            .await?;
        let (from, to) = (format!("{} ", sink.name()), format!("{}!", sink.name()));
        let page = self
            .storage
            .scan(INDEX, LINES, &from, &to, 100, None)
            .await?;
        let mut lines = vec![ours.clone()];
        for entity in page.entities.iter().filter(|entity| entity.row != row) {
            let line: Line = decode("line", &entity.document)?;
            let silent = (ours.at - line.at).abs();
            if silent < OVER {
                lines.push(line);
            } else if silent > ENDED {
                self.storage
                    .delete(INDEX, LINES, &entity.row, Some(&entity.etag))
                    .await?;
            }
        }
        Ok(lines)
    }
}
