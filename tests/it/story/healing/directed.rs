//! Stories in which one thing goes wrong, on a virtual clock.

use aiops_rca::ticket::machine::Event;
use aiops_rca::ticket::{Actor, AttemptState, Channel, RemediationState, Status, Ticket, TicketId};
use chrono::TimeDelta;
use simulators::Fault;

use super::rig::{Answered, Fate, Outside, Rig, Script, Told};

async fn rig(vendor: bool, fates: &[Fate]) -> Rig<Outside> {
    Rig::build(7, vendor, Script(fates.to_vec())).await
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

fn states(ticket: &Ticket) -> Vec<AttemptState> {
    ticket
        .remediation
        .attempts
        .iter()
        .map(|attempt| attempt.state)
        .collect()
}

fn failing() -> Fate {
    Fate {
        heals: false,
        ..Fate::default()
    }
}

async fn close(rig: &Rig<Outside>, id: &TicketId) {
    let by = Actor {
        channel: Channel::Dashboard,
        name: "Jane Roe".to_owned(),
    };
    let event = Event::StatusChanged {
        to: Status::Acknowledged,
        by,
        at: rig.simulation.now,
        jira_status: None,
    };
    rig.simulation
        .flow
        .apply(id, &event, rig.simulation.now)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_next_attempt_does_not_wait_for_the_asset_of_the_last() {
    let mut rig = rig(true, &[failing(), failing()]).await;
    let id = rig.story("pl", minutes(12)).await;
    let ticket = rig.ticket(&id).await;
    assert_eq!(
        states(&ticket),
        [
            AttemptState::Failed,
            AttemptState::Failed,
            AttemptState::Succeeded
        ]
    );
    let due: Vec<i64> = ticket
        .remediation
        .attempts
        .iter()
        .map(|a| (a.called_at.unwrap() - a.due_at).num_seconds())
        .collect();
    assert_eq!(due, [0, 0, 0]);
    assert!(ticket.is_closed() && ticket.time_to_recovery().is_some());
}

#[tokio::test]
async fn a_success_told_too_early_closes_nothing_before_the_vendor_says_so() {
    let long = Fate {
        told: Told::TooEarly,
        takes: minutes(5),
        ..Fate::default()
    };
    let mut rig = rig(true, &[long]).await;
    let id = rig.story("pl", minutes(3)).await;
    let ticket = rig.ticket(&id).await;
    assert_eq!(
        (ticket.is_closed(), ticket.remediation.state),
        (false, RemediationState::Verifying)
    );
    rig.pass(minutes(5)).await;
    assert!(rig.ticket(&id).await.is_closed());
}

#[tokio::test]
async fn a_success_told_too_early_whose_run_fails_is_a_failure() {
    let early = Fate {
        told: Told::TooEarly,
        heals: false,
        ..Fate::default()
    };
    let mut rig = rig(true, &[early]).await;
    let id = rig.story("pl", minutes(10)).await;
    assert_eq!(
        states(&rig.ticket(&id).await),
        [AttemptState::Failed, AttemptState::Succeeded]
    );
}

#[tokio::test]
async fn an_answer_lost_after_the_start_is_found_out_and_not_repeated() {
    for told in [Told::Nothing, Told::Honestly] {
        let mut rig = rig(
            true,
            &[Fate {
                told,
                ..Fate::default()
            }],
        )
        .await;
        rig.server
            .faults
            .next_on("POST", "/playbook", Fault::AcceptThenDrop);
        // Found running, it is waited for until its deadline.
        let id = rig.story("pl", minutes(14)).await;
        assert_eq!(
            states(&rig.ticket(&id).await),
            [AttemptState::Succeeded],
            "{told:?}"
        );
        assert_eq!(rig.vendors.state().calls.len(), 1);
    }
}

#[tokio::test]
async fn nobody_to_ask_and_no_callback_is_handed_over_at_the_deadline() {
    for answer in [
        Answered::Accepted,
        Answered::TimedOutAfterStart,
        Answered::TimedOutBeforeStart,
    ] {
        let mut rig = rig(
            false,
            &[Fate {
                answer,
                told: Told::Nothing,
                ..Fate::default()
            }],
        )
        .await;
        let id = rig.story("pl", minutes(14)).await;
        let ticket = rig.ticket(&id).await;
        assert_eq!(
            (ticket.remediation.state, ticket.is_closed()),
            (RemediationState::Exhausted, false),
            "{answer:?}"
        );
        assert_eq!(rig.vendors.state().calls.len(), 1);
    }
}

#[tokio::test]
async fn a_contradiction_is_believed_only_by_the_vendors_word() {
    let fate = Fate {
        told: Told::Contradictory,
        ..Fate::default()
    };
    let mut asked = rig(true, &[fate]).await;
    let id = asked.story("pl", minutes(5)).await;
    assert!(asked.ticket(&id).await.is_closed());
    let mut alone = rig(false, &[fate]).await;
    let id = alone.story("pl", minutes(14)).await;
    let ticket = alone.ticket(&id).await;
    assert_eq!(
        (ticket.is_closed(), ticket.remediation.state),
        (false, RemediationState::Exhausted)
    );
}

#[tokio::test]
async fn switched_off_a_planned_attempt_is_called_off() {
    let mut rig = rig(true, &[]).await;
    rig.simulation.flow.remediation.delays = vec![minutes(3)];
    let id = rig.story("pl", minutes(1)).await;
    assert_eq!(states(&rig.ticket(&id).await), [AttemptState::Scheduled]);
    rig.simulation.flow.remediation.enabled = false;
    rig.pass(minutes(5)).await;
    let ticket = rig.ticket(&id).await;
    assert_eq!(
        (states(&ticket), rig.vendors.state().calls.len()),
        (vec![AttemptState::Cancelled], 0)
    );
    assert!(
        ticket.remediation.decision.contains("switched off"),
        "{}",
        ticket.remediation.decision
    );
}

#[tokio::test]
async fn a_playbook_that_stays_throttled_is_given_up_in_time() {
    let throttled = Fate {
        answer: Answered::Throttled,
        ..Fate::default()
    };
    let mut rig = rig(true, &[throttled; 100]).await;
    let id = rig.story("pl", minutes(15)).await;
    assert_eq!(states(&rig.ticket(&id).await), [AttemptState::Cancelled]);
    let calls = rig.vendors.state().calls.len();
    assert!((10..=22).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_run_that_never_ends_is_a_persons_after_a_day() {
    let endless = Fate {
        takes: TimeDelta::days(9),
        ..Fate::default()
    };
    let mut rig = rig(true, &[endless]).await;
    let id = rig.story("pl", TimeDelta::hours(23)).await;
    assert_eq!(
        rig.ticket(&id).await.remediation.state,
        RemediationState::Running
    );
    rig.pass(TimeDelta::hours(8)).await;
    let ticket = rig.ticket(&id).await;
    assert_eq!(ticket.remediation.state, RemediationState::Exhausted);
    assert!(
        ticket.remediation.decision.contains("within a day"),
        "{}",
        ticket.remediation.decision
    );
}

#[tokio::test]
async fn the_vendor_is_never_asked_more_than_twice_a_minute() {
    let long = Fate {
        told: Told::TooEarly,
        takes: minutes(60),
        ..Fate::default()
    };
    let mut rig = rig(true, &[long]).await;
    rig.story("pl", minutes(4)).await;
    let before = rig.server.requests().len();
    rig.pass(minutes(30)).await;
    let asked = rig.server.requests().len() - before;
    assert!(
        (5..=62).contains(&asked),
        "{asked} questions in half an hour"
    );
}

#[tokio::test]
async fn what_ends_after_a_person_closed_the_ticket_is_recorded_and_changes_nothing() {
    for heals in [true, false] {
        let mut rig = rig(
            true,
            &[Fate {
                heals,
                takes: minutes(3),
                ..Fate::default()
            }],
        )
        .await;
        let id = rig.story("pl", minutes(2)).await;
        close(&rig, &id).await;
        rig.pass(minutes(8)).await;
        let ticket = rig.ticket(&id).await;
        assert_eq!(
            (ticket.status, ticket.status_by.name.as_str()),
            (Status::Acknowledged, "Jane Roe")
        );
        let expected = if heals {
            AttemptState::Succeeded
        } else {
            AttemptState::Failed
        };
        assert_eq!(
            states(&ticket),
            [expected],
            "recorded, and no further attempt"
        );
    }
}

#[tokio::test]
async fn a_failed_run_that_its_playbook_did_not_name_opens_no_ticket() {
    let unnamed = Fate {
        told: Told::WithoutRun,
        heals: false,
        alerts: true,
        ..Fate::default()
    };
    let mut rig = rig(true, &[unnamed]).await;
    rig.story("pl", minutes(12)).await;
    assert_eq!(
        rig.simulation
            .flow
            .store
            .recent(rig.simulation.now, 1, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn an_old_change_in_jira_does_not_reopen_what_was_healed_since() {
    let mut rig = rig(true, &[]).await;
    let id = rig.story("pl", minutes(5)).await;
    let healed = rig.ticket(&id).await;
    assert_eq!(healed.status_by.channel, Channel::Playbook);
    let change = |at| Event::StatusChanged {
        to: Status::InProgress,
        by: Actor {
            channel: Channel::Jira,
            name: "John Doe".to_owned(),
        },
        at,
        jira_status: Some("In Progress".to_owned()),
    };
    let (pipeline, now) = (&rig.simulation.flow, rig.simulation.now);
    assert!(
        pipeline
            .apply(&id, &change(healed.status_at - minutes(1)), now)
            .await
            .is_err()
    );
    assert!(rig.ticket(&id).await.is_closed());
    pipeline
        .apply(&id, &change(healed.status_at + TimeDelta::seconds(1)), now)
        .await
        .unwrap();
    assert_eq!(rig.ticket(&id).await.status, Status::InProgress);
}
