//! The state machine: no sequence of events leaves it inconsistent; who outranks whom; each question is answered once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use crate::support::build;
use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Action, Risk};
use aiops_rca::failure::Failure;
use aiops_rca::sinks::jira::{StatusCategory, ticket_status};
use aiops_rca::ticket::machine::{Called, Decision, Event, Plan, Refusal, Report, apply};
use aiops_rca::ticket::{
    Actor, AttemptState, Channel, ChapterKind, DeliveryFault, Intent, JiraRecord, Record,
    RemediationState, Sink, SlackRecord, Status, Ticket, Work,
};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// Seconds after ten o'clock.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    "2025-12-12T10:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
}

/// A failed ADF run.
pub(crate) fn failure() -> Failure {
    Failure {
        error_code: Some("GatewayTimeout".to_owned()),
        message: "The gateway did not receive a response from 'ledger.contoso.com' within the specified time period.".to_owned(),
        ..build::failure("pl_load", "run-1")
    }
}

/// A ticket opened at ten.
pub(crate) fn ticket() -> Ticket {
    build::ticket(failure(), build::diagnosis(), at(0), 0x00ab_c123)
}

fn person(channel: Channel) -> Actor {
    Actor {
        channel,
        name: "John Doe".to_owned(),
    }
}

fn status(to: Status, channel: Channel, at: DateTime<Utc>) -> Event {
    let jira_status = (channel == Channel::Jira).then(|| "Any".to_owned());
    Event::StatusChanged {
        to,
        by: person(channel),
        at,
        jira_status,
    }
}

fn run(due: DateTime<Utc>) -> Event {
    Event::Decided(Decision::Run {
        plan: Plan {
            action: Action::RetryPipeline,
            risk: Risk::Low,
            max_attempts: 3,
            node_type: None,
        },
        due_at: due,
        why: "transient".to_owned(),
    })
}

fn ask(expires_at: DateTime<Utc>) -> Event {
    Event::Decided(Decision::Ask {
        plan: Plan {
            action: Action::RetryPipeline,
            risk: Risk::High,
            max_attempts: 1,
            node_type: None,
        },
        text: "Attempt 1 of 1.".to_owned(),
        hash: "p1".to_owned(),
        why: "the risk is High".to_owned(),
        expires_at,
    })
}

fn leave(exhausted: bool) -> Event {
    Event::Decided(Decision::Leave {
        why: "a reason".to_owned(),
        exhausted,
    })
}

fn then(ticket: &Ticket, event: &Event, now: DateTime<Utc>) -> Ticket {
    apply(ticket, event, now)
        .unwrap_or_else(|refusal| panic!("{event:?}: {refusal}"))
        .ticket
}

fn attempt(number: u32) -> String {
    format!("{}-a{number}", ticket().id)
}

fn reported(number: u32, report: Report, run_id: Option<&str>) -> Event {
    Event::AttemptReported {
        attempt: attempt(number),
        report,
        run_id: run_id.map(str::to_owned),
    }
}

fn calling(number: u32, now: DateTime<Utc>) -> Event {
    Event::AttemptCalling {
        attempt: attempt(number),
        deadline: now + TimeDelta::hours(2),
    }
}

fn called(number: u32, outcome: Called) -> Event {
    Event::AttemptCalled {
        attempt: attempt(number),
        outcome,
    }
}

/// A ticket whose first attempt was called at 10:00:40.
fn under_way() -> Ticket {
    let ticket = then(&ticket(), &run(at(30)), at(2));
    let ticket = then(&ticket, &calling(1, at(40)), at(40));
    then(&ticket, &called(1, Called::Accepted), at(41))
}

/// One event out of numbers, bound to what the ticket holds right now (`pick` 3: to something it does not hold).
fn event(ticket: &Ticket, kind: u8, pick: u8, offset: i64, now: DateTime<Utc>) -> Event {
    let statuses = [Status::Open, Status::InProgress, Status::Acknowledged];
    let to = statuses[usize::from(pick) % 3];
    let known = ticket
        .remediation
        .attempts
        .iter()
        .rev()
        .nth(usize::from(pick))
        .map(|attempt| attempt.id.clone());
    let attempt = known.unwrap_or_else(|| format!("{}-a9", ticket.id));
    let when = now + TimeDelta::seconds(offset);
    let approval = ticket.remediation.approval.as_ref();
    let answer = |approved| Event::ApprovalAnswered {
        approval: approval.map_or("none".to_owned(), |approval| approval.id.clone()),
        plan: if pick == 3 {
            "another".to_owned()
        } else {
            "p1".to_owned()
        },
        approved,
        by: person(Channel::Slack),
    };
    let sink = Sink::ALL[usize::from(pick) % Sink::ALL.len()];
    match kind {
        0 => Event::ReportedAgain,
        1 => status(to, Channel::Jira, when),
        2 => status(to, Channel::Slack, when),
        3 => status(to, Channel::Dashboard, now),
        4 => Event::IssueDeleted {
            by: person(Channel::Jira),
        },
        5 => Event::SlaBreached,
        6 => run(when),
        7 => ask(when + TimeDelta::seconds(300)),
        8 => leave(pick.is_multiple_of(2)),
        9 => answer(true),
        10 => answer(false),
        11 => Event::ApprovalExpired,
        12 => Event::AttemptCalling {
            attempt,
            deadline: now + TimeDelta::hours(2),
        },
        13 => Event::AttemptCalled {
            attempt,
            outcome: Called::Accepted,
        },
        14 => Event::AttemptCalled {
            attempt,
            outcome: Called::Refused("403".to_owned()),
        },
        15 => Event::AttemptCalled {
            attempt,
            outcome: Called::Unknown("timeout".to_owned()),
        },
        16 => Event::AttemptCalled {
            attempt,
            outcome: Called::NotSent("down".to_owned(), now + TimeDelta::seconds(30)),
        },
        17 => Event::AttemptReported {
            attempt,
            report: Report::Progress,
            run_id: Some("run-2".to_owned()),
        },
        18 => Event::AttemptReported {
            attempt,
            report: Report::ClaimsSuccess,
            run_id: None,
        },
        19 => Event::AttemptReported {
            attempt,
            report: Report::Succeeded,
            run_id: None,
        },
        20 => Event::AttemptReported {
            attempt,
            report: Report::Failed("again".to_owned()),
            run_id: None,
        },
        21 => Event::AttemptAbandoned {
            attempt,
            why: "nobody knows".to_owned(),
        },
        22 => Event::Leased {
            sink,
            lease: Intent {
                what: Work::Deliver,
                since: when - Intent::LEASE,
                by: format!("h{pick}"),
            },
        },
        23 => Event::Recorded(Record::Jira(JiraRecord {
            key: Some("APAIOPS-1".to_owned()),
            told: u32::from(pick),
            ..ticket.jira.clone()
        })),
        24 => Event::Recorded(Record::Slack(SlackRecord {
            ts: Some("1.2".to_owned()),
            ..ticket.slack.clone()
        })),
        _ => Event::Woken { sink },
    }
}

/// What must hold between a ticket and its successor.
fn check(before: &Ticket, event: &Event, after: &Ticket, visible: bool) {
    let audited = before.books.audited + u32::try_from(before.books.audit.len()).unwrap();
    assert_eq!(
        after.books.audited, audited,
        "every audit entry is counted once"
    );
    assert_eq!(after.version, before.version + u64::from(visible));
    // What a person says later outside JIRA is brought to JIRA again, even when it only confirms a machine's close.
    let confirmed = before.status == after.status
        && before.books.confirmed != after.books.confirmed
        && after.last_word().by.channel != Channel::Jira;
    assert_eq!(
        after.status_version,
        before.status_version + u32::from(before.status != after.status || confirmed)
    );
    assert!(
        visible || before.status == after.status && before.story == after.story,
        "{event:?} hides a change"
    );
    assert_eq!(
        after.story[..before.story.len()],
        before.story[..],
        "the story is only continued"
    );
    assert!(
        after
            .story
            .iter()
            .zip(1..)
            .all(|(chapter, number)| chapter.number == number)
    );
    let attempts = &after.remediation.attempts;
    assert!(
        attempts
            .iter()
            .zip(1..)
            .all(|(attempt, number)| attempt.number == number)
    );
    assert!(
        attempts
            .iter()
            .rev()
            .skip(1)
            .all(|attempt| attempt.ended_at.is_some()),
        "only the last is under way"
    );
    for (old, new) in before.remediation.attempts.iter().zip(attempts) {
        assert!(
            old.ended_at.is_none() || old == new,
            "what is over does not change"
        );
    }
    assert!(!before.jira.deleted || after.jira.deleted);
    assert!(before.sla.breached_at.is_none() || before.sla.breached_at == after.sla.breached_at);
    if before.is_closed() && before.status_by.is_person() && !after.is_closed() {
        assert!(
            matches!(event, Event::StatusChanged { by, .. } if by.is_person()),
            "{event:?} reopened against a person"
        );
    }
    if after.remediation.state == RemediationState::AwaitingApproval {
        assert!(
            after.current_attempt().is_none(),
            "nothing is planned while a person is asked"
        );
    }
    let scheduled = after.remediation.state == RemediationState::Scheduled;
    assert_eq!(
        scheduled,
        after
            .current_attempt()
            .is_some_and(|attempt| attempt.state == AttemptState::Scheduled)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_sequence_of_events_leaves_the_machine(
        steps in prop::collection::vec((0_u8..26, 0_u8..4, -400_i64..400, 0_i64..600), 1..80)
    ) {
        let mut ticket = ticket();
        let mut now = at(10);
        let mut calls: BTreeMap<String, i32> = BTreeMap::new();
        let (mut asked, mut approved) = (0, 0);
        for (kind, pick, offset, passed) in steps {
            now += TimeDelta::seconds(passed);
            let event = event(&ticket, kind, pick, offset, now);
            let before = ticket.clone();
            let Ok(change) = apply(&ticket, &event, now) else {
                prop_assert_eq!(&before, &ticket);
                continue;
            };
            check(&before, &event, &change.ticket, change.visible);
            match &event {
                Event::AttemptCalling { attempt, .. } => *calls.entry(attempt.clone()).or_default() += 1,
                Event::AttemptCalled { attempt, outcome: Called::NotSent(..) } => *calls.entry(attempt.clone()).or_default() -= 1,
                Event::Decided(Decision::Ask { .. }) => asked += 1,
                Event::ApprovalAnswered { .. } => approved += 1,
                _ => {}
            }
            prop_assert!(calls.values().all(|calls| (0..=1).contains(calls)), "an attempt was called twice");
            prop_assert!(approved <= asked, "a question was answered twice");
            ticket = change.ticket;
        }
    }
}

#[test]
fn jira_statuses_mean_what_the_guide_says() {
    let table = [
        ("Done", Status::Acknowledged),
        ("Closed", Status::Acknowledged),
        ("In Progress", Status::InProgress),
        ("To Do", Status::Open),
        ("Open", Status::Open),
        ("Reopened", Status::InProgress),
    ];
    for (name, expected) in table {
        let to = ticket_status(name, None).unwrap();
        assert_eq!(to, expected, "{name}");
        // From a status that it is not.
        let other = if expected == Status::Acknowledged {
            Status::InProgress
        } else {
            Status::Acknowledged
        };
        let start = then(&ticket(), &status(other, Channel::Jira, at(10)), at(10));
        let event = Event::StatusChanged {
            to,
            by: person(Channel::Jira),
            at: at(20),
            jira_status: Some(name.to_owned()),
        };
        let after = then(&start, &event, at(21));
        assert_eq!(
            (after.status, after.jira.status.as_deref()),
            (expected, Some(name))
        );
        assert_eq!(
            (after.status_by.name.as_str(), after.status_at),
            ("John Doe", at(20))
        );
    }
    let kinds = [
        (StatusCategory::New, Status::Open),
        (StatusCategory::Indeterminate, Status::InProgress),
        (StatusCategory::Done, Status::Acknowledged),
    ];
    for (category, expected) in kinds {
        assert_eq!(ticket_status("Triage", Some(category)), Some(expected));
    }
}

/// An event dated 2036 counts as of now, and a date in the future that is stored already orders nothing.
#[test]
fn a_date_in_the_future_makes_no_ticket_deaf() {
    let years = 10 * 365 * 24 * 3600;
    let early = then(
        &ticket(),
        &status(Status::InProgress, Channel::Jira, at(years)),
        at(100),
    );
    assert_eq!(early.status, Status::InProgress);
    assert!(early.status_at <= at(220), "{}", early.status_at);
    let next = status(Status::Acknowledged, Channel::Jira, at(300));
    assert_eq!(then(&early, &next, at(300)).status, Status::Acknowledged);
    // As an older version stored it, or before our own clock was set back.
    let mut stored = early;
    stored.books.jira_event_at = Some(at(years));
    stored.status_at = at(years);
    stored.status_by = person(Channel::Dashboard);
    assert_eq!(then(&stored, &next, at(300)).status, Status::Acknowledged);
}

#[test]
fn late_and_repeated_changes_from_jira_change_nothing() {
    let closed = then(
        &ticket(),
        &status(Status::Acknowledged, Channel::Jira, at(100)),
        at(101),
    );
    let older = status(Status::InProgress, Channel::Jira, at(90));
    assert!(matches!(
        apply(&closed, &older, at(102)),
        Err(Refusal::Contradicts(_))
    ));
    let again = apply(
        &closed,
        &status(Status::Acknowledged, Channel::Jira, at(100)),
        at(103),
    )
    .unwrap();
    assert!(!again.visible);
    assert_eq!(
        (again.ticket.status_version, again.ticket.story.len()),
        (closed.status_version, closed.story.len())
    );
    // Somebody reopened it on the dashboard after the change that JIRA tells only now.
    let reopened = then(
        &closed,
        &status(Status::Open, Channel::Dashboard, at(200)),
        at(200),
    );
    let late = status(Status::Acknowledged, Channel::Jira, at(150));
    assert!(matches!(
        apply(&reopened, &late, at(210)),
        Err(Refusal::Contradicts(_))
    ));
    assert_eq!(
        then(
            &reopened,
            &status(Status::Acknowledged, Channel::Jira, at(220)),
            at(221)
        )
        .status,
        Status::Acknowledged
    );
}

#[test]
fn a_person_outranks_the_playbook() {
    let healed = then(
        &under_way(),
        &reported(1, Report::Succeeded, Some("run-2")),
        at(60),
    );
    assert_eq!(
        (healed.status, healed.status_by.channel),
        (Status::Acknowledged, Channel::Playbook)
    );
    let confirmed = then(
        &healed,
        &status(Status::Acknowledged, Channel::Slack, at(70)),
        at(70),
    );
    assert_eq!(
        (
            confirmed.last_word().by.name.as_str(),
            confirmed.status_version
        ),
        ("John Doe", healed.status_version + 1)
    );
    assert_eq!(
        (&confirmed.status_by, confirmed.status_at),
        (&healed.status_by, healed.status_at),
        "what healed it stays"
    );
    // The other way round: the close stays the person's, the outcome is recorded.
    let closed = then(
        &under_way(),
        &status(Status::Acknowledged, Channel::Slack, at(50)),
        at(50),
    );
    let after = then(
        &closed,
        &reported(1, Report::Succeeded, Some("run-2")),
        at(60),
    );
    assert_eq!(
        (after.status_by.name.as_str(), after.status_at),
        ("John Doe", at(50))
    );
    assert_eq!(after.remediation.state, RemediationState::Succeeded);
}

#[test]
fn closing_calls_off_what_was_not_called_yet() {
    let planned = then(&ticket(), &run(at(30)), at(2));
    let closed = then(
        &planned,
        &status(Status::Acknowledged, Channel::Jira, at(10)),
        at(11),
    );
    assert_eq!(
        closed.remediation.attempts[0].state,
        AttemptState::Cancelled
    );
    assert!(apply(&closed, &calling(1, at(30)), at(30)).is_err());
    assert!(
        apply(&closed, &run(at(60)), at(31)).is_err(),
        "nothing new is planned on a closed ticket"
    );
    let asked = then(&ticket(), &ask(at(300)), at(2));
    let closed = then(
        &asked,
        &status(Status::Acknowledged, Channel::Jira, at(10)),
        at(11),
    );
    assert_eq!(closed.remediation.state, RemediationState::None);
}

#[test]
fn the_sla_runs_until_somebody_takes_the_ticket() {
    let t = ticket();
    assert_eq!(t.sla.due_at, at(7200));
    assert!(apply(&t, &Event::SlaBreached, at(7199)).is_err());
    let breached = then(&t, &Event::SlaBreached, at(7200));
    assert_eq!(
        (breached.sla.breached_at, breached.story[0].kind),
        (Some(at(7200)), ChapterKind::SlaBreached)
    );
    assert!(
        apply(&breached, &Event::SlaBreached, at(9000)).is_err(),
        "once only"
    );
    let taken = then(
        &t,
        &status(Status::InProgress, Channel::Slack, at(60)),
        at(60),
    );
    assert!(apply(&taken, &Event::SlaBreached, at(90_000)).is_err());
    // Reopened two days later the clock starts again: nobody was late.
    let closed = then(
        &t,
        &status(Status::Acknowledged, Channel::Slack, at(60)),
        at(60),
    );
    let reopened = then(
        &closed,
        &status(Status::Open, Channel::Dashboard, at(172_800)),
        at(172_800),
    );
    assert!(apply(&reopened, &Event::SlaBreached, at(172_860)).is_err());
    assert!(apply(&reopened, &Event::SlaBreached, at(172_800 + 7200)).is_ok());
}

#[test]
fn a_question_is_answered_once_by_the_plan_it_shows() {
    let asked = then(&ticket(), &ask(at(300)), at(2));
    let id = asked.remediation.approval.as_ref().unwrap().id.clone();
    let answer = |approval: &str, plan: &str, approved| Event::ApprovalAnswered {
        approval: approval.to_owned(),
        plan: plan.to_owned(),
        approved,
        by: person(Channel::Slack),
    };
    assert!(apply(&asked, &answer("another", "p1", true), at(10)).is_err());
    assert!(apply(&asked, &answer(&id, "another", true), at(10)).is_err());
    assert!(
        apply(&asked, &answer(&id, "p1", true), at(300)).is_err(),
        "it has expired to the second"
    );
    assert!(apply(&asked, &Event::ApprovalExpired, at(299)).is_err());
    assert!(
        apply(&asked, &run(at(30)), at(10)).is_err(),
        "nothing is planned behind the person's back"
    );
    let given = then(&asked, &answer(&id, "p1", true), at(299));
    assert_eq!(given.remediation.state, RemediationState::Scheduled);
    for approved in [true, false] {
        let refusal = apply(&given, &answer(&id, "p1", approved), at(299)).unwrap_err();
        assert_eq!(refusal.to_string(), "John Doe approved it already");
    }
    let rejected = then(&asked, &answer(&id, "p1", false), at(10));
    assert!(apply(&rejected, &answer(&id, "p1", true), at(11)).is_err());
    assert!(
        apply(&rejected, &ask(at(600)), at(12)).is_err(),
        "a no is not asked away"
    );
    let expired = then(&asked, &Event::ApprovalExpired, at(300));
    assert_eq!(expired.remediation.state, RemediationState::Rejected);
    assert!(apply(&expired, &answer(&id, "p1", true), at(301)).is_err());
}

#[test]
fn an_attempt_is_called_once_and_ends_once() {
    let planned = then(&ticket(), &run(at(30)), at(2));
    for outcome in [
        Called::Accepted,
        Called::Refused("403".to_owned()),
        Called::Unknown("timeout".to_owned()),
    ] {
        assert!(
            apply(&planned, &called(1, outcome), at(31)).is_err(),
            "it was not called"
        );
    }
    assert!(apply(&planned, &reported(1, Report::Succeeded, None), at(31)).is_err());
    let t = under_way();
    assert!(apply(&t, &calling(1, at(50)), at(50)).is_err());
    assert!(apply(&t, &run(at(50)), at(50)).is_err());
    // A refusal that arrives after the callback does not undo it.
    assert!(apply(&t, &called(1, Called::Refused("late".to_owned())), at(51)).is_err());
    let failed = then(
        &t,
        &reported(1, Report::Failed("no".to_owned()), None),
        at(60),
    );
    for report in [
        Report::Succeeded,
        Report::Progress,
        Report::ClaimsSuccess,
        Report::Failed("no".to_owned()),
    ] {
        assert!(matches!(
            apply(&failed, &reported(1, report, None), at(61)),
            Err(Refusal::Nothing(_))
        ));
    }
}

#[test]
fn a_claimed_success_stays_to_be_verified() {
    let claimed = then(
        &under_way(),
        &reported(1, Report::ClaimsSuccess, Some("run-2")),
        at(60),
    );
    assert_eq!(
        claimed.status,
        Status::Open,
        "the playbook's word alone closes nothing"
    );
    let still = then(
        &claimed,
        &reported(1, Report::Progress, Some("run-2")),
        at(8000),
    );
    assert_eq!(still.remediation.attempts[0].state, AttemptState::Verifying);
    assert!(still.remediation.attempts[0].deadline.unwrap() > at(8000));
}

#[test]
fn a_sign_of_life_feeds_the_watchdog_as_long_as_at_the_start() {
    let mut t = under_way();
    let given =
        t.remediation.attempts[0].deadline.unwrap() - t.remediation.attempts[0].called_at.unwrap();
    for seconds in [3600, 7000, 14_000] {
        t = then(
            &t,
            &reported(1, Report::Progress, Some("run-2")),
            at(seconds),
        );
        assert_eq!(
            t.remediation.attempts[0].deadline.unwrap(),
            at(seconds) + given
        );
    }
}

#[test]
fn a_cluster_that_was_moved_stays_moved_and_people_are_told() {
    let plan = Plan {
        action: Action::RestartCluster,
        risk: Risk::Medium,
        max_attempts: 2,
        node_type: Some("Standard_D8ds_v5".to_owned()),
    };
    let decided = Event::Decided(Decision::Run {
        plan,
        due_at: at(30),
        why: "no capacity".to_owned(),
    });
    let mut t = then(&ticket(), &decided, at(1));
    for event in [
        calling(1, at(30)),
        called(1, Called::Accepted),
        reported(1, Report::Succeeded, Some("c-1")),
    ] {
        t = then(&t, &event, at(60));
    }
    let told: Vec<&str> = t
        .story
        .iter()
        .map(|chapter| chapter.text.as_str())
        .collect();
    assert!(
        told[0].contains("(restart the cluster with node type Standard_D8ds_v5) is planned"),
        "{told:?}"
    );
    assert!(
        told[1].contains("started: restart the cluster with node type Standard_D8ds_v5"),
        "{told:?}"
    );
    assert!(
        told[2].ends_with("; the cluster has node type Standard_D8ds_v5 now, and keeps it"),
        "{told:?}"
    );
}

#[test]
fn whatever_ends_the_attempts_a_person_is_told() {
    let failed = then(
        &under_way(),
        &reported(1, Report::Failed("no".to_owned()), None),
        at(60),
    );
    // Switched off meanwhile, or a rule that now says never: not exhausted by number, and yet the end.
    let left = then(&failed, &leave(false), at(60));
    assert_eq!(left.remediation.state, RemediationState::Exhausted);
    assert_eq!(
        left.story.last().unwrap().kind,
        ChapterKind::RemediationExhausted
    );
    let never_tried = then(&ticket(), &leave(false), at(2));
    assert!(never_tried.story.is_empty());
}

#[test]
fn one_delivery_at_a_time_works_on_a_sink() {
    let lease = |holder: &str, until: DateTime<Utc>| Event::Leased {
        sink: Sink::Jira,
        lease: Intent {
            what: Work::Deliver,
            since: until - Intent::LEASE,
            by: holder.to_owned(),
        },
    };
    let held = then(&ticket(), &lease("a", at(40)), at(10));
    assert!(apply(&held, &lease("b", at(50)), at(39)).is_err());
    assert!(
        apply(&held, &lease("a", at(60)), at(39)).is_ok(),
        "its holder may prolong it"
    );
    assert!(
        apply(&held, &lease("b", at(70)), at(40)).is_ok(),
        "it runs out"
    );
    let fault = DeliveryFault {
        reason: "JIRA answered 403".to_owned(),
        at: at(10),
        retrying: false,
    };
    assert!(fault.reason.contains("403"));
}
