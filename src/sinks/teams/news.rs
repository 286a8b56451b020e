//! By workflow URL nothing can be edited: what of a story is worth a card of its own. Pure.
//!
//! The first card opens; at most three more follow, for what is worth a ping. The last of them is kept for an end: the
//! channel never shows a ticket as open that is closed, however much happened before.

use crate::ticket::{Chapter, ChapterKind, RemediationState, Status, TeamsRecord, Ticket};

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
    let update = record.cards;
    let worth = match CARDS.saturating_sub(update) {
        0 => false,
        1 => ends(ticket, record, &chapters),
        CARDS => true,
        _ => pings(ticket, record, &chapters),
    };
    worth.then_some(News {
        update,
        last: update + 1 >= CARDS,
        chapters,
    })
}

/// Is anything worth a ping? The status is compared, not its changes: JIRA's have no chapters, and what was taken back
/// meanwhile is no news.
fn pings(ticket: &Ticket, record: &TeamsRecord, untold: &[&Chapter]) -> bool {
    let asks = ticket.remediation.state == RemediationState::AwaitingApproval;
    record.status != Some(ticket.status)
        || untold.iter().any(|chapter| match chapter.kind {
            ChapterKind::ApprovalAsked => asks,
            ChapterKind::SlaBreached => !ticket.is_closed(),
            kind => heals(kind),
        })
}

/// Does it end the story, or begin it again?
fn ends(ticket: &Ticket, record: &TeamsRecord, untold: &[&Chapter]) -> bool {
    let closed = [Some(ticket.status), record.status].contains(&Some(Status::Acknowledged));
    record.status != Some(ticket.status) && closed
        || untold.iter().any(|chapter| heals(chapter.kind))
}

fn heals(kind: ChapterKind) -> bool {
    matches!(
        kind,
        ChapterKind::RemediationSucceeded | ChapterKind::Recovered
    )
}
