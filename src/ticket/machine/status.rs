//! Status changes by people and machines, the SLA, a deleted issue. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::{DateTime, Duration, Utc};

use super::{Draft, Refusal, contradicts, nothing};
use crate::patrol::recovery::{Recovery, failed_at, is_recovery};
use crate::ticket::{
    Actor, AttemptState, Channel, ChapterKind, Confirmed, RemediationState, Status, Word,
};

/// How far ahead of ours another system's clock may be. An event dated later counts as of now: one from 2036 would
/// otherwise make the ticket deaf to everything before.
const SKEW: Duration = Duration::minutes(2);

pub(super) fn change_status(
    d: &mut Draft,
    to: Status,
    by: &Actor,
    at: DateTime<Utc>,
    jira_status: Option<&str>,
) -> Result<(), Refusal> {
    let latest = d.now + SKEW;
    let at = at.min(latest);
    if by.channel == Channel::Jira {
        // A date in the future was stored before dates were capped, or before our own clock was set back: it orders nothing.
        if let Some(last) = d.ticket.books.jira_event_at.filter(|last| *last <= latest)
            && at < last
        {
            return Err(contradicts(format!(
                "a newer change from JIRA (at {last}) was applied already"
            )));
        }
        // The playbook's success closes the ticket whatever its status was, so what came before it is over, too.
        let Word { by: ours, at: said } = d.ticket.last_word();
        let elsewhere =
            ours.is_person() && ours.channel != Channel::Jira || ours.channel == Channel::Playbook;
        if elsewhere && said <= latest && at < said {
            return Err(contradicts(format!(
                "{} changed the status later, at {said}",
                ours.name
            )));
        }
        d.ticket.books.jira_event_at = Some(at);
    }
    if let Some(name) = jira_status {
        d.ticket.jira.status = Some(name.to_owned());
    }
    let from = d.ticket.status;
    if from == to {
        // A close by a person outranks one by a machine: no machine opens the ticket again. What healed it, and when, stays.
        if to == Status::Acknowledged && by.is_person() && !d.ticket.last_word().by.is_person() {
            d.ticket.books.confirmed = Some(Confirmed { by: by.clone(), at });
            d.visible = true;
            // JIRA may have drifted meanwhile: what the person said later than the machine is brought there again.
            if by.channel != Channel::Jira {
                d.ticket.status_version += 1;
            }
            d.audit(by, "Close Confirmed", "closed by a person as well");
            return Ok(());
        }
        if by.channel == Channel::Jira && jira_status.is_some() {
            return Ok(());
        }
        return Err(nothing(format!("the status is {} already", to.name())));
    }
    d.status(to, by, at);
    if to == Status::Open && d.ticket.sla.breached_at.is_none() {
        // Somebody had taken it: the clock starts again.
        d.ticket.sla.due_at = d.now + Duration::seconds(i64::from(d.ticket.sla.seconds));
    }
    d.audit(
        by,
        "Status Changed",
        format!(
            "{} → {}{}",
            from.name(),
            to.name(),
            jira_status
                .map(|s| format!(" (JIRA: {s})"))
                .unwrap_or_default()
        ),
    );
    let (kind, text) = match (from, to) {
        (_, Status::Acknowledged) => (
            ChapterKind::Closed,
            format!(
                "Closed by {} on {}",
                by.name,
                at.format("%Y-%m-%d %H:%M:%S UTC")
            ),
        ),
        (Status::Acknowledged, _) => (ChapterKind::Reopened, format!("Reopened by {}", by.name)),
        (_, Status::InProgress) => (ChapterKind::InProgress, format!("{} works on it", by.name)),
        (_, Status::Open) => (
            ChapterKind::Reopened,
            format!("Set back to open by {}", by.name),
        ),
    };
    d.add_chapter_from(by.is_person().then_some(by.channel), kind, text);
    if to == Status::Acknowledged && by.is_person() {
        call_off(d, &format!("{} closed the ticket", by.name));
    }
    Ok(())
}

/// What was planned but not yet called is called off; what runs goes on and is recorded when it ends.
pub(super) fn call_off(d: &mut Draft, why: &str) {
    let now = d.now;
    let mut called_off = false;
    if let Some(attempt) = d.ticket.remediation.attempts.last_mut()
        && attempt.state == AttemptState::Scheduled
    {
        attempt.state = AttemptState::Cancelled;
        attempt.ended_at = Some(now);
        attempt.outcome = Some(format!("called off: {why}"));
        called_off = true;
    }
    if called_off || d.ticket.remediation.state == RemediationState::AwaitingApproval {
        d.ticket.remediation.state = RemediationState::None;
        d.ticket.remediation.decision = format!("called off: {why}");
        d.audit(&Actor::system(), "Remediation Called Off", why);
        d.visible = true;
    }
}

pub(super) fn delete_issue(d: &mut Draft, by: &Actor) -> Result<(), Refusal> {
    if d.ticket.jira.deleted {
        return Err(nothing("the issue is known to be deleted"));
    }
    d.ticket.jira.deleted = true;
    d.visible = true;
    d.audit(by, "JIRA Issue Deleted", "it is not created again");
    Ok(())
}

/// A good run closes the ticket, unless a person works on it: then the ticket says so, once.
pub(super) fn recovered(d: &mut Draft, recovery: &Recovery) -> Result<(), Refusal> {
    let ticket = &d.ticket;
    if ticket.is_closed() {
        return Err(nothing("the ticket is closed"));
    }
    let failed_at = ticket
        .books
        .latest
        .at()
        .unwrap_or_else(|| failed_at(&ticket.failure, ticket.first_seen));
    if !is_recovery(recovery, &ticket.failure, failed_at) {
        return Err(contradicts("that run began before the failure"));
    }
    let person = ticket
        .status_by
        .is_person()
        .then(|| ticket.status_by.name.clone());
    let words = recovery.words();
    let run = Some(recovery.run_id.as_str());
    let again = ticket.books.recovered_by.as_deref() == run;
    if let Some(empty) = &recovery.empty {
        if again {
            return Err(nothing("it was told already"));
        }
        let run = recovery.run_id.clone();
        let told = format!("Run {run} ended well, but {empty}. The ticket stays open");
        d.audit(&Actor::system(), "Recovered Empty", told.clone());
        d.add_chapter(ChapterKind::Recurrence, told);
        d.ticket.books.recovered_by = Some(run);
        return Ok(());
    }
    if ticket.status == Status::InProgress {
        if ticket.books.recovered_by.is_some() {
            return Err(nothing("its recovery was told already"));
        }
        let who = person.unwrap_or_else(|| "somebody".to_owned());
        d.ticket.books.recovered_by = Some(recovery.run_id.clone());
        d.audit(&Actor::system(), "Recovered", words.clone());
        d.add_chapter(
            ChapterKind::Recovered,
            format!("It {words}. The ticket stays open: {who} works on it"),
        );
        return Ok(());
    }
    // Reopened by a person, it stays open until a run that began after that.
    let since = ticket.status_at;
    if person.is_some() && (again || recovery.began.is_none_or(|began| began < since)) {
        return Err(contradicts("a person set it back to open after that run"));
    }
    let (by, now) = (Actor::system(), d.now);
    d.ticket.books.recovered_by = Some(recovery.run_id.clone());
    d.audit(&by, "Recovered", words.clone());
    d.status(Status::Acknowledged, &by, now);
    d.audit(&by, "Status Changed", "closed: recovered by itself");
    call_off(d, &format!("the failure {words}"));
    d.add_chapter(ChapterKind::Recovered, format!("Closed: {words}"));
    Ok(())
}

pub(super) fn breach(d: &mut Draft) -> Result<(), Refusal> {
    if d.ticket.sla.breached_at.is_some() || d.ticket.status != Status::Open {
        return Err(nothing("the SLA no longer runs"));
    }
    if d.ticket.is_silent() {
        return Err(nothing("nobody is told of it"));
    }
    if d.now < d.ticket.sla.due_at {
        return Err(nothing("the SLA still runs"));
    }
    d.ticket.sla.breached_at = Some(d.now);
    let words = d.ticket.priority.sla_words();
    d.audit(
        &Actor::system(),
        "SLA Breached",
        format!("not taken within {words}"),
    );
    d.add_chapter(
        ChapterKind::SlaBreached,
        format!(
            "SLA breached: nobody took this {} ticket within {words}",
            d.ticket.priority
        ),
    );
    Ok(())
}
