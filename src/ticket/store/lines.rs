//! Processes whose messages wait in line for a sink: they share the pace of its channel. Where that must be kept exactly, each
//! post is booked first.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{INDEX, SWAP_TRIES, TicketStore, decode, encode};
use crate::fault::Fault;
use crate::storage::{Inserted, Swapped};
use crate::ticket::{Sink, TicketId};

const LINES: &str = "lines";
/// A process that says nothing for so long has no line any more.
const OVER: TimeDelta = TimeDelta::seconds(30);
/// And after so long it has ended.
const ENDED: TimeDelta = TimeDelta::minutes(10);
/// A promised place that nobody came for.
const FORGOTTEN: TimeDelta = TimeDelta::seconds(60);
/// So many places are promised at most; who comes after that comes again.
const PROMISED: usize = 500;

/// A process with a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it said so.
    pub at: DateTime<Utc>,
    /// Until when the vendor asked it for silence.
    pub silent_until: Option<DateTime<Utc>>,
}

/// Posts to a sink: those that were made, and places that are promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Booked {
    made: Vec<DateTime<Utc>>,
    promised: Vec<(TicketId, DateTime<Utc>)>,
}

impl Booked {
    /// Books a post about this ticket for now, or says when there is a place for it. No more than `posts` are made within any
    /// stretch of this length.
    fn book(
        &mut self,
        ticket: &TicketId,
        posts: usize,
        within: TimeDelta,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        // What lies too far ahead was booked by a clock that was set back since.
        self.made.retain(|at| (now - *at).abs() < within);
        let (posts, ahead) = (posts.max(1), within * 200);
        self.promised
            .retain(|(_, at)| *at + FORGOTTEN > now && *at < now + ahead);
        let mine = self.promised.iter().position(|(of, _)| of == ticket);
        let mine = mine.map(|place| self.promised.remove(place).1);
        let mut times: Vec<DateTime<Utc>> = (self.made.iter().copied())
            .chain(self.promised.iter().map(|(_, at)| *at))
            .collect();
        times.sort_unstable();
        let behind = |times: &[DateTime<Utc>]| {
            let before = times.len().checked_sub(posts).and_then(|at| times.get(at));
            before.map_or(now, |before| (*before + within).max(now))
        };
        let mut made = self.made.clone();
        made.sort_unstable();
        // A promise moves back when those before it were made late.
        let place = mine.unwrap_or_else(|| behind(&times)).max(behind(&made));
        if place <= now {
            self.made.push(now);
            return None;
        }
        if self.promised.len() < PROMISED {
            self.promised.push((ticket.clone(), place));
        }
        Some(place)
    }
}

impl TicketStore {
    /// Books a post about this ticket for now; when there is a place for it, if not now. A request and a write.
    pub async fn book_post(
        &self,
        sink: Sink,
        ticket: &TicketId,
        (posts, within): (usize, TimeDelta),
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Fault> {
        let row = format!("posts {}", sink.name());
        for _ in 0..SWAP_TRIES {
            let entity = self.storage.get(INDEX, LINES, &row).await?;
            let mut booked: Booked = match &entity {
                Some(entity) => decode("posts", &entity.document)?,
                None => Booked::default(),
            };
            let before = booked.clone();
            let place = booked.book(ticket, posts, within, now);
            if booked == before {
                return Ok(place);
            }
            let document = encode(&booked)?;
            let done = match entity {
                None => matches!(
                    (self.storage).insert(INDEX, LINES, &row, &document).await?,
                    Inserted::Created(_)
                ),
                Some(entity) => matches!(
                    (self.storage)
                        .swap(INDEX, LINES, &row, &entity.etag, &document)
                        .await?,
                    Swapped::Done(_)
                ),
            };
            if done {
                return Ok(place);
            }
        }
        Err(Fault::transient("a pace changes too often right now"))
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Source;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(1) + TimeDelta::seconds(seconds)
    }

    fn ticket(number: u32) -> TicketId {
        TicketId::new(Source::Adf, at(0), number)
    }

    #[test]
    fn a_hundred_posts_that_wait_are_made_in_order_and_never_too_many_at_once() {
        let (posts, within) = (5, TimeDelta::seconds(60));
        let mut booked = Booked::default();
        let mut agenda: Vec<(DateTime<Utc>, u32)> =
            (0..100).map(|number| (at(0), number)).collect();
        let (mut made, mut tries) = (Vec::new(), 0);
        while !agenda.is_empty() {
            agenda.sort_unstable();
            let (now, number) = agenda.remove(0);
            tries += 1;
            match booked.book(&ticket(number), posts, within, now) {
                None => made.push((now, number)),
                // The queue is a little late.
                Some(place) => agenda.push((place + TimeDelta::milliseconds(300), number)),
            }
        }
        let order: Vec<u32> = made.iter().map(|(_, number)| *number).collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        for window in made.windows(posts + 1) {
            let [(first, _), .., (last, _)] = window else {
                panic!("a window has two ends");
            };
            assert!(*last - *first >= within, "{window:?}");
        }
        assert!(tries <= 320, "{tries} tries");
        assert!(made.last().unwrap().0 < at(20 * 62));
    }

    #[test]
    fn places_that_nobody_comes_for_and_clocks_that_are_set_back_block_nobody() {
        let (posts, within) = (1, TimeDelta::seconds(10));
        let mut booked = Booked::default();
        assert_eq!(booked.book(&ticket(1), posts, within, at(0)), None);
        assert_eq!(booked.book(&ticket(2), posts, within, at(1)), Some(at(10)));
        assert_eq!(booked.book(&ticket(3), posts, within, at(100)), None);
        assert_eq!(
            booked.book(&ticket(4), posts, within, at(101)),
            Some(at(110))
        );
        assert_eq!(booked.book(&ticket(4), posts, within, at(-5000)), None);
    }
}
