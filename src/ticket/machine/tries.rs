//! The tries of one task instance, and a better name for what failed. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use super::caring::set_severity;
use super::{Draft, Examined, Refusal, nothing};
use crate::failure::{Failure, field};
use crate::sources::airflow::units::{Latest, names_task};
use crate::ticket::{Actor, Attempt, ChapterKind, RemediationState};

pub(super) fn reported(d: &mut Draft, latest: &Latest, told: Option<&str>) {
    d.ticket.count = d.ticket.count.saturating_add(1);
    d.ticket.last_seen = d.now;
    d.ticket.books.latest.learn(latest);
    let called = d
        .ticket
        .current_attempt()
        .and_then(|a: &Attempt| a.called_at);
    if let Some(number) = d.ticket.books.latest.try_number
        && called.is_none()
        && names_task(&d.ticket.failure)
    {
        // The next attempt is known by a try later than this one.
        let context = &mut d.ticket.failure.context;
        context.insert(field::TRY_NUMBER.to_owned(), number.to_string());
    }
    if let Some(told) = told.filter(|_| !d.ticket.is_closed()) {
        d.audit(&Actor::system(), "Failed Again", told);
        d.add_chapter(ChapterKind::Recurrence, told);
    }
}

pub(super) fn named_better(d: &mut Draft, failure: &Failure) -> Result<(), Refusal> {
    if names_task(&d.ticket.failure) {
        return Err(nothing("the task is known"));
    }
    let known = &mut d.ticket.failure;
    let mut failure = failure.clone();
    failure.key = known.key.clone();
    failure.source_severity = failure.source_severity.or(known.source_severity);
    failure.alert = failure.alert.or(known.alert.take());
    for (name, value) in &known.context {
        failure
            .context
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    *known = failure;
    let asset = d.ticket.failure.asset.clone();
    d.ticket.books.named_better = true;
    d.audit(&Actor::system(), "Failure Named", asset);
    d.visible = true;
    Ok(())
}

pub(super) fn diagnosed_again(d: &mut Draft, examined: &Examined) -> Result<(), Refusal> {
    if !d.ticket.books.named_better {
        return Err(nothing("it was analysed already"));
    }
    d.ticket.books.named_better = false;
    let ticket = &mut d.ticket;
    ticket.failure.clone_from(&examined.failure);
    ticket.diagnosis.clone_from(&examined.diagnosis);
    ticket.evidence_count = ticket.evidence_count.max(examined.evidence_count);
    ticket.gaps.clone_from(&examined.gaps);
    set_severity(ticket);
    if ticket.remediation.attempts.is_empty() && ticket.remediation.state == RemediationState::None
    {
        ticket.remediation.action = examined.diagnosis.action;
        ticket.remediation.risk = examined.diagnosis.risk;
    }
    let detail = format!(
        "{}, rule {}",
        examined.diagnosis.error_type, examined.diagnosis.rule
    );
    d.audit(&Actor::system(), "Diagnosed Again", detail);
    d.visible = true;
    Ok(())
}
