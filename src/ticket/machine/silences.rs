//! Silences. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use super::{Draft, Refusal, contradicts, nothing};
use crate::ticket::{Actor, ChapterKind, Silenced};

/// Only a ticket that is about to be opened can become silent: what was told is told.
pub(super) fn silence(d: &mut Draft, silenced: &Silenced) -> Result<(), Refusal> {
    if d.ticket.silenced.is_some() {
        return Err(nothing("it is silent"));
    }
    if d.ticket.version > 1 && (d.ticket.jira.key.is_some() || d.ticket.slack.ts.is_some()) {
        return Err(contradicts("people were told of it"));
    }
    d.ticket.silenced = Some(silenced.clone());
    d.audit(&Actor::system(), "Silenced", silenced.words());
    d.visible = true;
    Ok(())
}

/// A silence was set from this ticket: failures like it are silent from now on.
pub(super) fn set(d: &mut Draft, silenced: &Silenced, by: &Actor) -> Result<(), Refusal> {
    let kept = d.ticket.silence.as_ref();
    if kept.is_some_and(|kept| kept.id == silenced.id) {
        return Err(nothing("that is known"));
    }
    d.ticket.silence = Some(silenced.clone());
    let told = format!("Failures like this one are {}", silenced.words());
    d.audit(by, "Silence Set", told.clone());
    d.add_chapter(ChapterKind::InProgress, told);
    Ok(())
}

/// That silence was ended, or it expired.
pub(super) fn lifted(d: &mut Draft, id: &str, by: &Actor) -> Result<(), Refusal> {
    if d.ticket.silence.as_ref().is_none_or(|kept| kept.id != id) {
        return Err(nothing("another silence holds, or none"));
    }
    d.ticket.silence = None;
    let told = format!("{} ended the silence", by.name);
    d.audit(by, "Silence Ended", told.clone());
    if by.is_person() {
        d.add_chapter(ChapterKind::InProgress, told);
    }
    d.visible = true;
    Ok(())
}
