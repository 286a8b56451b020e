//! Joining, leaving and leading incidents. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::{DateTime, Duration, Utc};

use super::status::call_off;
use super::{Draft, Refusal, contradicts, nothing};
use crate::failure::Source;
use crate::ticket::incident::DIGEST;
use crate::ticket::{Actor, ChapterKind, Incident, Joined, Question, Status, TicketId};

pub(super) fn join(d: &mut Draft, joined: &Joined) -> Result<(), Refusal> {
    if joined.leader == d.ticket.id {
        return Err(contradicts("a ticket does not follow itself"));
    }
    if d.ticket
        .joined
        .as_ref()
        .is_some_and(|now| now.leader == joined.leader)
    {
        return Err(nothing("it is part of that incident"));
    }
    d.ticket.joined = Some(Joined {
        reported: 0,
        ..joined.clone()
    });
    d.visible = true;
    let in_teams = d
        .ticket
        .teams
        .as_ref()
        .is_some_and(|record| record.is_shown());
    if d.ticket.jira.key.is_some() || d.ticket.slack.ts.is_some() || in_teams {
        // Its own issue, message and card end here.
        d.ticket.status_version += 1;
        let told = format!(
            "This is part of incident {}, and goes on there",
            joined.leader
        );
        d.add_chapter(ChapterKind::Closed, told);
    }
    let detail = format!("{} leads it: {}", joined.leader, joined.reason.words());
    d.audit(&Actor::system(), "Joined Incident", detail);
    Ok(())
}

pub(super) fn leave(d: &mut Draft, why: &str) -> Result<(), Refusal> {
    let Some(joined) = d.ticket.joined.take() else {
        return Err(nothing("it leads its own incident"));
    };
    d.ticket.books.led_by = Some(joined.leader);
    d.visible = true;
    d.audit(&Actor::system(), "Left Incident", why);
    Ok(())
}

pub(super) fn told(d: &mut Draft, version: u64) -> Result<(), Refusal> {
    match &mut d.ticket.joined {
        Some(joined) if joined.reported < version => joined.reported = version,
        Some(_) | None => return Err(nothing("that is known")),
    }
    Ok(())
}

pub(super) fn probed(d: &mut Draft) -> Result<(), Refusal> {
    match &mut d.ticket.joined {
        Some(joined) if joined.waits_for_probe => joined.waits_for_probe = false,
        Some(_) | None => return Err(nothing("it does not wait")),
    }
    d.visible = true;
    d.audit(
        &Actor::system(),
        "Probe Succeeded",
        "one asset of the incident is healed",
    );
    Ok(())
}

/// The story tells of new followers once a minute at most; counts and list change in place.
pub(super) fn gathered(d: &mut Draft, found: &Incident) -> Result<(), Refusal> {
    let before = d.ticket.incident.clone().unwrap_or_default();
    let mut next = Incident {
        told: before.told.max(1),
        told_at: before.told_at,
        recurred_at: before.recurred_at,
        asked: before.asked.clone(),
        asked_at: before.asked_at,
        applied: d.ticket.status_version,
        ..found.clone()
    };
    if d.ticket.failure.source == Source::System {
        // What tells of a silence has told of all.
        next.told = next.tickets;
    }
    let new = next.tickets.saturating_sub(next.told);
    let rests = before.told_at.is_none_or(|at| d.now - at >= DIGEST);
    if new > 0 && rests && !d.ticket.is_closed() {
        let names: Vec<&str> = next.latest.iter().map(|line| line.asset.as_str()).collect();
        let mut names: Vec<&str> = names
            .into_iter()
            .take(usize::try_from(new).unwrap_or(5).min(5))
            .collect();
        names.dedup();
        let word = if new == 1 {
            "failure joined"
        } else {
            "failures joined"
        };
        d.add_chapter(
            ChapterKind::Recurrence,
            format!(
                "{new} more {word} this incident ({}): {}",
                names.join(", "),
                next.counts()
            ),
        );
        next.told = next.tickets;
        next.told_at = Some(d.now);
    }
    let rests = before.asked_at.is_none_or(|at| d.now - at >= DIGEST);
    if next.has_untold_question() && rests && !d.ticket.is_closed() {
        let told = &before.asked;
        let new = next.questions.iter();
        let new: Vec<&Question> = new
            .filter(|asked| !told.contains(&asked.approval))
            .collect();
        let words = asked_words(&new);
        d.add_chapter(ChapterKind::ApprovalAsked, words);
        let of = |asked: &Question| asked.approval.clone();
        next.asked = next.questions.iter().map(of).collect();
        next.asked_at = Some(d.now);
    }
    if d.ticket.is_closed()
        && !d.ticket.last_word().by.is_person()
        && before.open > 0
        && next.open == 0
    {
        // Only now the incident is closed: the sinks look at the status again.
        d.ticket.status_version += 1;
        next.applied = d.ticket.status_version;
        d.add_chapter(
            ChapterKind::Closed,
            format!(
                "The last failure of this incident is closed: {}",
                next.counts()
            ),
        );
    }
    if d.ticket.incident.as_ref() == Some(&next) {
        return Err(nothing("the incident is known as it is"));
    }
    let shows = |incident: &Incident| {
        let Incident {
            tickets,
            assets,
            open,
            latest,
            path,
            cause,
            questions,
            ..
        } = incident;
        (
            *tickets,
            *assets,
            *open,
            latest.clone(),
            path.clone(),
            cause.clone(),
            questions.clone(),
        )
    };
    d.visible |= shows(&before) != shows(&next);
    d.ticket.incident = Some(next);
    Ok(())
}

/// A question in words, for the first of them.
fn asked_words(new: &[&Question]) -> String {
    const NAMED: usize = 5;
    let plans = new.iter().take(NAMED).map(|asked| asked.text.as_str());
    let plans: Vec<&str> = plans.collect();
    let more = match new.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" … and {more} more"),
    };
    let tickets = if new.len() == 1 { "ticket" } else { "tickets" };
    format!(
        "Approval asked for {} {tickets} of this incident: {}{more}",
        new.len(),
        plans.join(" ")
    )
}

/// The questions about its followers were answered together.
pub(super) fn answered(
    d: &mut Draft,
    count: usize,
    approved: bool,
    by: &Actor,
) -> Result<(), Refusal> {
    let Some(incident) = d.ticket.incident.as_mut() else {
        return Err(nothing("it leads nothing"));
    };
    incident.questions.clear();
    let (kind, word, what) = if approved {
        (ChapterKind::ApprovalGiven, "approved", "Approval Given")
    } else {
        (
            ChapterKind::ApprovalRejected,
            "rejected",
            "Approval Rejected",
        )
    };
    let tickets = if count == 1 { "ticket" } else { "tickets" };
    let told = format!(
        "{} {word} the remediation of {count} {tickets} of this incident",
        by.name
    );
    d.audit(by, what, told.clone());
    d.add_chapter(kind, told);
    Ok(())
}

pub(super) fn recurred(d: &mut Draft, ticket: &TicketId, at: DateTime<Utc>) -> Result<(), Refusal> {
    if !d.ticket.is_closed() {
        return Err(nothing("the incident is open"));
    }
    if at <= d.ticket.status_at {
        return Err(contradicts("it failed before the incident was closed"));
    }
    let (by, now) = (Actor::system(), d.now);
    let closer = d.ticket.status_by.name.clone();
    d.status(Status::Open, &by, now);
    d.ticket.sla.due_at = now + Duration::seconds(i64::from(d.ticket.sla.seconds));
    d.ticket.sla.breached_at = None;
    d.ticket.incident.get_or_insert_default().recurred_at = Some(now);
    let told = format!("Reopened: it failed again after {closer} had closed it (ticket {ticket})");
    d.audit(&by, "Reopened", told.clone());
    d.add_chapter(ChapterKind::Reopened, told);
    Ok(())
}

pub(super) fn followed(d: &mut Draft, to: Status, by: &Actor) -> Result<(), Refusal> {
    let from = d.ticket.status;
    if from == to {
        return Err(nothing(format!("the status is {} already", to.name())));
    }
    let now = d.now;
    d.status(to, by, now);
    d.audit(
        by,
        "Status Changed",
        format!("{} → {}, with its incident", from.name(), to.name()),
    );
    if to == Status::Acknowledged {
        call_off(d, &format!("{} closed the incident", by.name));
    }
    Ok(())
}
