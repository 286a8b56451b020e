//! What the policy decided, and what people answered. A part of the state machine: pure, reached through [`apply`](super::apply) only.

use chrono::{DateTime, Utc};

use super::{Decision, Draft, Plan, Refusal, contradicts, nothing};
use crate::ticket::{
    Actor, Answer, Approval, Attempt, AttemptState, ChapterKind, Remediation, RemediationState,
};

pub(super) fn decide(d: &mut Draft, decision: &Decision) -> Result<(), Refusal> {
    if d.ticket.current_attempt().is_some() {
        return Err(contradicts("an attempt is under way"));
    }
    match d.ticket.remediation.state {
        RemediationState::AwaitingApproval => return Err(contradicts("a person is being asked")),
        RemediationState::Rejected => {
            return Err(contradicts("a person said no, or nobody answered"));
        }
        RemediationState::Succeeded => return Err(contradicts("it is healed")),
        RemediationState::None
        | RemediationState::Scheduled
        | RemediationState::Running
        | RemediationState::Verifying
        | RemediationState::Exhausted => {}
    }
    let system = Actor::system();
    match decision {
        Decision::Run {
            plan: next,
            due_at,
            why,
        } => {
            if d.ticket.is_closed() {
                return Err(contradicts("the ticket is closed"));
            }
            plan(&mut d.ticket.remediation, next, why);
            schedule(d, *due_at);
            d.audit(&system, "Remediation Planned", why.clone());
        }
        Decision::Ask {
            plan: next,
            text,
            hash,
            why,
            expires_at,
        } => {
            if d.ticket.is_closed() {
                return Err(contradicts("the ticket is closed"));
            }
            plan(&mut d.ticket.remediation, next, why);
            let attempt = next_number(&d.ticket.remediation);
            d.ticket.remediation.state = RemediationState::AwaitingApproval;
            d.ticket.remediation.approval = Some(Approval {
                id: format!("{}-q{attempt}", d.ticket.id),
                attempt,
                plan: hash.clone(),
                plan_text: text.clone(),
                why: why.clone(),
                expires_at: *expires_at,
                answer: None,
            });
            d.audit(&system, "Approval Asked", format!("{text} Why: {why}"));
            d.add_chapter(
                ChapterKind::ApprovalAsked,
                format!("Approval asked: {text} Why a person is asked: {why}"),
            );
        }
        Decision::Leave { why, exhausted } => {
            d.ticket.remediation.decision.clone_from(why);
            // Whatever keeps the policy from another try: after a failed one a person has to know.
            if *exhausted || d.ticket.remediation.state == RemediationState::Exhausted {
                d.ticket.remediation.state = RemediationState::Exhausted;
                d.add_chapter(
                    ChapterKind::RemediationExhausted,
                    format!("No further attempt: {why}. A person has to take over."),
                );
            }
            d.audit(
                &system,
                "Remediation Decided",
                format!("left to people: {why}"),
            );
            d.visible = true;
        }
    }
    Ok(())
}

pub(super) fn plan(remediation: &mut Remediation, plan: &Plan, why: &str) {
    remediation.action = plan.action;
    remediation.risk = plan.risk;
    remediation.max_attempts = plan.max_attempts;
    remediation.node_type.clone_from(&plan.node_type);
    why.clone_into(&mut remediation.decision);
}

pub(super) fn next_number(remediation: &Remediation) -> u32 {
    u32::try_from(remediation.attempts.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}

pub(super) fn schedule(d: &mut Draft, due_at: DateTime<Utc>) {
    let number = next_number(&d.ticket.remediation);
    let remediation = &d.ticket.remediation;
    let attempt = Attempt {
        id: format!("{}-a{number}", d.ticket.id),
        number,
        action: remediation.action,
        node_type: remediation.node_type.clone(),
        state: AttemptState::Scheduled,
        due_at,
        called_at: None,
        deadline: None,
        patience: 0,
        run_id: None,
        ended_at: None,
        outcome: None,
    };
    let what = attempt.words();
    d.ticket.remediation.attempts.push(attempt);
    d.ticket.remediation.state = RemediationState::Scheduled;
    let of = d.ticket.remediation.max_attempts;
    d.add_chapter(
        ChapterKind::RemediationPlanned,
        format!(
            "Attempt {number} of {of} ({what}) is planned for {}",
            due_at.format("%H:%M:%S UTC")
        ),
    );
}

pub(super) fn answer(
    d: &mut Draft,
    id: &str,
    plan: &str,
    approved: bool,
    by: &Actor,
) -> Result<(), Refusal> {
    let (now, closed) = (d.now, d.ticket.is_closed());
    let Some(approval) = d
        .ticket
        .remediation
        .approval
        .as_mut()
        .filter(|approval| approval.id == id)
    else {
        return Err(contradicts("this question is no longer asked"));
    };
    if let Some(answer) = &approval.answer {
        let word = if answer.approved {
            "approved"
        } else {
            "rejected"
        };
        return Err(contradicts(format!("{} {word} it already", answer.by.name)));
    }
    if approval.plan != plan {
        return Err(contradicts("the plan has changed since it was shown"));
    }
    if now >= approval.expires_at
        || d.ticket.remediation.state != RemediationState::AwaitingApproval
    {
        return Err(contradicts("the question has expired"));
    }
    if closed {
        return Err(contradicts("the ticket is closed"));
    }
    approval.answer = Some(Answer {
        approved,
        by: by.clone(),
        at: now,
    });
    if approved {
        d.audit(by, "Approval Given", plan.to_owned());
        d.add_chapter(
            ChapterKind::ApprovalGiven,
            format!("{} approved the remediation", by.name),
        );
        schedule(d, now);
    } else {
        d.ticket.remediation.state = RemediationState::Rejected;
        d.ticket.remediation.decision = format!("rejected by {}", by.name);
        d.audit(by, "Approval Rejected", plan.to_owned());
        d.add_chapter(
            ChapterKind::ApprovalRejected,
            format!(
                "{} rejected the remediation: nothing will be done automatically",
                by.name
            ),
        );
    }
    Ok(())
}

pub(super) fn expire(d: &mut Draft) -> Result<(), Refusal> {
    let due = d
        .ticket
        .remediation
        .approval
        .as_ref()
        .is_some_and(|a| a.answer.is_none() && d.now >= a.expires_at);
    if d.ticket.remediation.state != RemediationState::AwaitingApproval || !due {
        return Err(nothing("no question has expired"));
    }
    d.ticket.remediation.state = RemediationState::Rejected;
    "nobody answered in time".clone_into(&mut d.ticket.remediation.decision);
    d.audit(
        &Actor::system(),
        "Approval Expired",
        "nobody answered in time",
    );
    d.add_chapter(
        ChapterKind::ApprovalExpired,
        "Nobody approved in time: nothing will be done automatically",
    );
    Ok(())
}
