//! The limits every backend keeps alike, so that what works on one works on the other.

use std::time::Duration;

use super::{DOCUMENT_CAP, MESSAGE_CAP, WRITES_CAP, Write};
use crate::fault::Fault;

/// How long a message lives when nobody deletes it.
pub(super) const TIME_TO_LIVE: Duration =
    Duration::from_secs(TIME_TO_LIVE_MILLIS.unsigned_abs() / 1000);
/// The same in milliseconds.
pub(super) const TIME_TO_LIVE_MILLIS: i64 = 7 * 24 * 3600 * 1000;
/// A message must become visible while it lives.
pub(super) const LONGEST_DELAY: Duration = Duration::from_hours(7 * 24 - 1);
/// What Table Storage gives in one answer at most.
const LARGEST_PAGE: u32 = 1000;

pub(super) fn check_document(document: &str) -> Result<(), Fault> {
    if document.len() > DOCUMENT_CAP {
        return Err(Fault::permanent(format!(
            "a document of {} bytes is too long to store",
            document.len()
        )));
    }
    Ok(())
}

/// An empty transaction, or one of too many writes, is a mistake of ours.
pub(super) fn check_writes(writes: &[Write<'_>]) -> Result<(), Fault> {
    if !(1..=WRITES_CAP).contains(&writes.len()) {
        return Err(Fault::permanent(format!(
            "a transaction of {} writes cannot be stored",
            writes.len()
        )));
    }
    writes
        .iter()
        .filter_map(Write::document)
        .try_for_each(check_document)
}

/// A message goes on the wire as it is: it has to fit into the XML of a queue.
pub(super) fn check_message(text: &str) -> Result<(), Fault> {
    if text.len() > MESSAGE_CAP {
        return Err(Fault::permanent(format!(
            "a message of {} bytes is too long for a queue",
            text.len()
        )));
    }
    let xml = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    if !text.chars().all(xml) {
        return Err(Fault::permanent(
            "a message holds characters that XML cannot carry",
        ));
    }
    Ok(())
}

/// Whole seconds (rounded up), and never past the end of a message's life.
pub(super) fn whole_seconds(delay: Duration) -> Duration {
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    Duration::from_secs(seconds).min(LONGEST_DELAY)
}

pub(super) fn page_size(limit: u32) -> u32 {
    limit.clamp(1, LARGEST_PAGE)
}

pub(super) fn bad_continuation() -> Fault {
    Fault::permanent("the continuation of a query is not one of ours")
}
