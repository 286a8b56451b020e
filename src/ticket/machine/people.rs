//! What people say about a ticket. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use super::{Draft, Refusal, nothing};
use crate::diagnosis::Category;
use crate::ticket::{Actor, ChapterKind, Correction};

/// Characters of a comment, and of a cause.
const COMMENT: usize = 2000;
const LINE: usize = 300;

pub(super) fn comment(d: &mut Draft, text: &str, by: &Actor) -> Result<(), Refusal> {
    let text: String = text.trim().chars().take(COMMENT).collect();
    if text.is_empty() {
        return Err(nothing("the comment is empty"));
    }
    let told = format!("{}: {text}", by.name);
    let again = d.ticket.story.last();
    if again.is_some_and(|last| last.kind == ChapterKind::Comment && last.text == told) {
        return Err(nothing("that was said already"));
    }
    d.audit(by, "Commented", text);
    d.add_chapter_from(Some(by.channel), ChapterKind::Comment, told);
    Ok(())
}

/// The diagnosis stays: what was decided by it was decided by it.
pub(super) fn correct(
    d: &mut Draft,
    category: Category,
    line: &str,
    by: &Actor,
) -> Result<(), Refusal> {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let correction = Correction {
        category,
        line: line.chars().take(LINE).collect(),
        by: by.clone(),
        at: d.now,
    };
    let known = d.ticket.correction.as_ref();
    let says_no_more = |line: &str| correction.line.is_empty() || correction.line == line;
    if known.is_some_and(|known| known.category == category && says_no_more(&known.line)) {
        return Err(nothing("that is what is known"));
    }
    let words = correction.words();
    let before = d.ticket.diagnosis.category.words();
    d.audit(by, "Cause Corrected", format!("{words} (it was: {before})"));
    let told = format!("{} says that the cause is another: {words}", by.name);
    d.ticket.correction = Some(correction);
    d.add_chapter_from(Some(by.channel), ChapterKind::Corrected, told);
    Ok(())
}
