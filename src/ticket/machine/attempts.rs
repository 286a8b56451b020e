//! One attempt, from its call to its end (law L5). A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::{DateTime, Duration, Utc};

use super::{Called, Draft, Refusal, Report, contradicts, nothing};
use crate::ticket::{Actor, Attempt, AttemptState, Channel, ChapterKind, RemediationState, Status};

pub(super) fn call_off_attempt(d: &mut Draft, id: &str, why: &str) -> Result<(), Refusal> {
    let attempt = running(d, id)?;
    if attempt.state != AttemptState::Scheduled {
        return Err(contradicts(
            "the playbook of this attempt was called already",
        ));
    }
    let number = attempt.number;
    end_attempt(d, id, AttemptState::Cancelled, format!("called off: {why}"));
    let failed_before = d
        .ticket
        .remediation
        .attempts
        .iter()
        .any(|attempt| attempt.state == AttemptState::Failed);
    d.ticket.remediation.state = if failed_before {
        RemediationState::Exhausted
    } else {
        RemediationState::None
    };
    d.ticket.remediation.decision = format!("attempt {number} was called off: {why}");
    d.audit(&Actor::system(), "Remediation Called Off", why);
    d.add_chapter(
        ChapterKind::RemediationExhausted,
        format!("Attempt {number} was called off: {why}. A person has to take over."),
    );
    Ok(())
}

/// Nobody's attempt failed, so nothing cools down.
pub(super) fn healed_meanwhile(d: &mut Draft, id: &str, how: &str) -> Result<(), Refusal> {
    let (now, closed) = (d.now, d.ticket.is_closed());
    let attempt = running(d, id)?;
    if attempt.state != AttemptState::Scheduled {
        return Err(contradicts(
            "the playbook of this attempt was called already",
        ));
    }
    let number = attempt.number;
    end_attempt(d, id, AttemptState::Cancelled, format!("not needed: {how}"));
    d.ticket.remediation.state = RemediationState::None;
    d.ticket.remediation.decision = format!("attempt {number} was not needed: {how}");
    let by = Actor {
        channel: Channel::Playbook,
        name: "auto-remediation".to_owned(),
    };
    d.audit(&by, "Healed Meanwhile", how);
    if !closed {
        d.status(Status::Acknowledged, &by, now);
        d.audit(&by, "Status Changed", "closed: healed meanwhile");
        d.add_chapter(
            ChapterKind::Closed,
            format!("Closed: {how}, and attempt {number} was not needed"),
        );
    }
    Ok(())
}

/// Finds the attempt and checks that it may still change.
pub(super) fn running<'a>(d: &'a mut Draft, id: &str) -> Result<&'a mut Attempt, Refusal> {
    match d
        .ticket
        .remediation
        .attempts
        .iter_mut()
        .find(|attempt| attempt.id == id)
    {
        None => Err(contradicts("no such attempt of this ticket")),
        Some(attempt) if attempt.ended_at.is_some() => Err(nothing(format!(
            "attempt {} is over: {}",
            attempt.number,
            attempt.outcome.clone().unwrap_or_default()
        ))),
        Some(attempt) => Ok(attempt),
    }
}

pub(super) fn calling(d: &mut Draft, id: &str, deadline: DateTime<Utc>) -> Result<(), Refusal> {
    let (now, closed) = (d.now, d.ticket.is_closed());
    let attempt = running(d, id)?;
    if attempt.state != AttemptState::Scheduled {
        return Err(contradicts(
            "the playbook of this attempt was called already",
        ));
    }
    if closed {
        return Err(contradicts("the ticket is closed"));
    }
    attempt.state = AttemptState::Calling;
    attempt.called_at = Some(now);
    attempt.deadline = Some(deadline);
    attempt.patience = (deadline - now).num_seconds();
    d.ticket.remediation.state = RemediationState::Running;
    d.audit(&Actor::system(), "Playbook Called", id.to_owned());
    Ok(())
}

pub(super) fn called(d: &mut Draft, id: &str, outcome: &Called) -> Result<(), Refusal> {
    let system = Actor::system();
    let attempt = running(d, id)?;
    let (number, what) = (attempt.number, attempt.words());
    if attempt.state == AttemptState::Scheduled {
        return Err(contradicts("this attempt has not been called"));
    }
    match outcome {
        Called::Accepted => {
            // A callback may have been faster than the answer to the call.
            if matches!(attempt.state, AttemptState::Calling | AttemptState::Unknown) {
                attempt.state = AttemptState::Accepted;
                d.ticket.remediation.state = RemediationState::Running;
            }
            d.audit(&system, "Remediation Started", id.to_owned());
            let of = d.ticket.remediation.max_attempts;
            d.add_chapter(
                ChapterKind::RemediationStarted,
                format!("Remediation started: {what} (attempt {number} of {of})"),
            );
        }
        Called::Refused(_)
            if !matches!(attempt.state, AttemptState::Calling | AttemptState::Unknown) =>
        {
            return Err(nothing("a report came meanwhile"));
        }
        Called::Refused(why) => {
            end_attempt(
                d,
                id,
                AttemptState::Refused,
                format!("the playbook refused it: {why}"),
            );
            d.ticket.remediation.state = RemediationState::Exhausted;
            d.ticket.remediation.decision = format!("the playbook refused attempt {number}: {why}");
            d.audit(&system, "Remediation Refused", why.clone());
            d.add_chapter(
                ChapterKind::RemediationExhausted,
                format!("The playbook refused attempt {number}: {why}. A person has to take over."),
            );
        }
        Called::Unknown(why) => {
            if attempt.state != AttemptState::Calling {
                return Err(nothing("a report came meanwhile"));
            }
            attempt.state = AttemptState::Unknown;
            d.ticket.remediation.state = RemediationState::Verifying;
            d.audit(&system, "Remediation Unknown", why.clone());
            d.add_chapter(
                ChapterKind::RemediationUnknown,
                format!("It is not known whether attempt {number} started ({why}); it is not repeated, the vendor is asked"),
            );
        }
        Called::NotSent(why, again) => {
            if attempt.state != AttemptState::Calling {
                return Err(nothing("a report came meanwhile"));
            }
            attempt.state = AttemptState::Scheduled;
            attempt.called_at = None;
            attempt.deadline = None;
            attempt.due_at = *again;
            d.ticket.remediation.state = RemediationState::Scheduled;
            d.audit(&system, "Playbook Not Reached", why.clone());
        }
    }
    Ok(())
}

pub(super) fn postpone(
    d: &mut Draft,
    id: &str,
    why: &str,
    until: DateTime<Utc>,
) -> Result<(), Refusal> {
    let closed = d.ticket.is_closed();
    let attempt = running(d, id)?;
    if attempt.state == AttemptState::Scheduled {
        return Err(nothing("this attempt waits already"));
    }
    if closed {
        return Err(contradicts("the ticket is closed"));
    }
    attempt.state = AttemptState::Scheduled;
    attempt.called_at = None;
    attempt.deadline = None;
    attempt.due_at = until;
    d.ticket.remediation.state = RemediationState::Scheduled;
    d.audit(&Actor::system(), "Remediation Postponed", why);
    d.visible = true;
    Ok(())
}

pub(super) fn end_attempt(d: &mut Draft, id: &str, state: AttemptState, outcome: String) {
    let now = d.now;
    if let Some(attempt) = d
        .ticket
        .remediation
        .attempts
        .iter_mut()
        .find(|attempt| attempt.id == id)
    {
        attempt.state = state;
        attempt.ended_at = Some(now);
        attempt.outcome = Some(outcome);
    }
}

pub(super) fn reported(
    d: &mut Draft,
    id: &str,
    report: &Report,
    run_id: Option<&str>,
) -> Result<(), Refusal> {
    let playbook = Actor {
        channel: Channel::Playbook,
        name: "playbook".to_owned(),
    };
    let now = d.now;
    let attempt = running(d, id)?;
    if matches!(attempt.state, AttemptState::Scheduled) {
        return Err(contradicts("this attempt has not been called"));
    }
    let (number, node_type) = (attempt.number, attempt.node_type.clone());
    let learnt = run_id.is_some() && attempt.run_id.as_deref() != run_id;
    if let Some(run) = run_id {
        attempt.run_id = Some(run.to_owned());
    }
    match report {
        Report::Progress => {
            // Fed, the watchdog waits as long again as it was given at the start.
            let patience =
                Duration::seconds(attempt.patience).clamp(Duration::minutes(1), Duration::hours(6));
            attempt.deadline = Some(now + patience);
            // A success that was claimed stays to be verified: nobody else would look again.
            let verifying = attempt.state == AttemptState::Verifying;
            let settled = (verifying || attempt.state == AttemptState::Accepted) && !learnt;
            if !verifying {
                attempt.state = AttemptState::Accepted;
                d.ticket.remediation.state = RemediationState::Running;
            }
            if !settled {
                d.visible = true;
                d.audit(
                    &playbook,
                    "Remediation Running",
                    run_id.unwrap_or("no run id").to_owned(),
                );
            }
        }
        Report::Unclear => {
            if attempt.state == AttemptState::Unknown && !learnt {
                return Err(nothing("the vendor is being asked"));
            }
            attempt.state = AttemptState::Unknown;
            d.ticket.remediation.state = RemediationState::Verifying;
            d.visible = true;
            d.audit(
                &playbook,
                "Remediation Unclear",
                run_id.unwrap_or("no run id").to_owned(),
            );
        }
        Report::ClaimsSuccess => {
            if attempt.state == AttemptState::Verifying && !learnt {
                return Err(nothing("its success is being verified"));
            }
            attempt.state = AttemptState::Verifying;
            d.ticket.remediation.state = RemediationState::Verifying;
            d.visible = true;
            d.audit(
                &playbook,
                "Remediation Claims Success",
                run_id.unwrap_or("no run id").to_owned(),
            );
        }
        Report::Succeeded => {
            end_attempt(d, id, AttemptState::Succeeded, "healed".to_owned());
            d.ticket.remediation.state = RemediationState::Succeeded;
            let took = words_for(now - d.ticket.first_seen);
            d.audit(
                &playbook,
                "Remediation Succeeded",
                format!("attempt {number}, run {}", run_id.unwrap_or("not named")),
            );
            let moved = node_type
                .map(|to| format!("; the cluster has node type {to} now, and keeps it"))
                .unwrap_or_default();
            d.add_chapter(
                ChapterKind::RemediationSucceeded,
                format!(
                    "Remediation succeeded with attempt {number}: recovered after {took}{moved}"
                ),
            );
            if !d.ticket.is_closed() {
                let by = Actor {
                    channel: Channel::Playbook,
                    name: "auto-remediation".to_owned(),
                };
                d.status(Status::Acknowledged, &by, now);
                d.audit(&by, "Status Changed", "closed: remediation succeeded");
            }
        }
        Report::Empty(words) => {
            let outcome = format!("it ended well, but {words}");
            end_attempt(d, id, AttemptState::Failed, outcome.clone());
            d.ticket.remediation.state = RemediationState::Exhausted;
            d.ticket.remediation.decision = format!("attempt {number}: {outcome}");
            d.audit(&playbook, "Remediation Moved Nothing", words.clone());
            d.add_chapter(
                ChapterKind::RemediationExhausted,
                format!(
                    "Attempt {number}: {outcome}. The ticket stays open: a person has to look."
                ),
            );
        }
        Report::Failed(why) => {
            end_attempt(d, id, AttemptState::Failed, format!("failed: {why}"));
            d.ticket.remediation.state = RemediationState::Exhausted;
            d.ticket.remediation.decision = format!("attempt {number} failed: {why}");
            d.audit(&playbook, "Remediation Failed", why.clone());
            let of = d.ticket.remediation.max_attempts;
            let why = node_type.map_or(why.clone(), |to| {
                format!("{}; {}", why.trim_end_matches('.'), may_be_moved(&to))
            });
            d.add_chapter(
                ChapterKind::RemediationFailed,
                format!("Attempt {number} of {of} failed: {why}"),
            );
        }
    }
    Ok(())
}

pub(super) fn abandon(d: &mut Draft, id: &str, why: &str) -> Result<(), Refusal> {
    let attempt = running(d, id)?;
    let (number, node_type) = (attempt.number, attempt.node_type.clone());
    end_attempt(
        d,
        id,
        AttemptState::Failed,
        format!("outcome not found out: {why}"),
    );
    d.ticket.remediation.state = RemediationState::Exhausted;
    d.ticket.remediation.decision =
        format!("the outcome of attempt {number} could not be found out: {why}");
    d.audit(&Actor::system(), "Remediation Handed Over", why.to_owned());
    let moved = node_type
        .map(|to| format!("; {}", may_be_moved(&to)))
        .unwrap_or_default();
    d.add_chapter(
        ChapterKind::RemediationExhausted,
        format!("The outcome of attempt {number} could not be found out ({why}{moved}). It is not repeated: a person has to look and take over."),
    );
    Ok(())
}

/// What an attempt that did not heal may have left behind.
fn may_be_moved(node_type: &str) -> String {
    format!("the cluster may have node type {node_type} now")
}

/// `12 minutes 5 seconds`.
pub(super) fn words_for(took: Duration) -> String {
    let seconds = took.num_seconds().max(0);
    let (h, m, s) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    let part = |n: i64, word: &str| {
        (n > 0).then(|| format!("{n} {word}{}", if n == 1 { "" } else { "s" }))
    };
    let parts: Vec<String> = [part(h, "hour"), part(m, "minute"), part(s, "second")]
        .into_iter()
        .flatten()
        .take(2)
        .collect();
    if parts.is_empty() {
        "less than a second".to_owned()
    } else {
        parts.join(" ")
    }
}
