//! By workflow URL nothing can be edited: what of a story is worth a card of its own. Pure.
//!
//! The first card opens; at most three more follow, for what is worth a ping. The last of them is kept for an end: the
//! channel never shows a ticket as open that is closed, however much happened before.

use crate::ticket::{Chapter, ChapterKind, TeamsRecord, Ticket};

/// Cards of one ticket, the opening one included.
pub const CARDS: u32 = 4;

/// What the next card is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News<'a> {
    /// 0: the opening card; else which update.
    pub(super) update: u32,
    /// Is no further card possible?
    pub(super) last: bool,
    /// What happened since the card before.
    pub(super) chapters: Vec<&'a Chapter>,
}

/// The next card, if there is anything worth one.
pub(super) fn pending<'a>(ticket: &'a Ticket, record: &TeamsRecord) -> Option<News<'a>> {
    let untold = ticket.story.iter();
    let chapters: Vec<&Chapter> = untold
        .filter(|chapter| chapter.number > record.told)
        .collect();
    let any = |is: fn(ChapterKind) -> bool| chapters.iter().any(|chapter| is(chapter.kind));
    let update = record.cards;
    let worth = match CARDS.saturating_sub(update) {
        0 => false,
        1 => any(ends),
        CARDS => true,
        _ => any(pings),
    };
    worth.then_some(News {
        update,
        last: update + 1 >= CARDS,
        chapters,
    })
}

/// Is it worth a ping?
fn pings(kind: ChapterKind) -> bool {
    match kind {
        ChapterKind::InProgress | ChapterKind::ApprovalAsked | ChapterKind::SlaBreached => true,
        kind => ends(kind),
    }
}

/// Does it end the story, or begin it again?
fn ends(kind: ChapterKind) -> bool {
    match kind {
        ChapterKind::RemediationSucceeded
        | ChapterKind::Recovered
        | ChapterKind::Closed
        | ChapterKind::Reopened => true,
        ChapterKind::RemediationPlanned
        | ChapterKind::RemediationStarted
        | ChapterKind::RemediationFailed
        | ChapterKind::RemediationUnknown
        | ChapterKind::RemediationExhausted
        | ChapterKind::ApprovalAsked
        | ChapterKind::ApprovalGiven
        | ChapterKind::ApprovalRejected
        | ChapterKind::ApprovalExpired
        | ChapterKind::SlaBreached
        | ChapterKind::InProgress
        | ChapterKind::Recurrence => false,
    }
}
