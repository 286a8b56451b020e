//! Incidents at work: recoveries, the probe of a storm, and leaders that are gone.

use aiops_rca::flow::Task;
use aiops_rca::incident::FoldSettings;
use aiops_rca::patrol::Recovery;
use aiops_rca::ticket::machine::{Event, Report};
use aiops_rca::ticket::{FoldReason, RemediationState, Status, Ticket, TicketId};
use chrono::{DateTime, Utc};

use super::Rig;
use crate::machine::{at, failure};
use aiops_rca::failure::{Failure, RunKey, Source};

fn of(asset: &str, run: &str) -> Failure {
    Failure {
        key: RunKey::new(Source::Adf, "", run, "", ""),
        asset: asset.to_owned(),
        run_id: Some(run.to_owned()),
        ..failure()
    }
}

async fn rig() -> Rig {
    let mut rig = Rig::build().await;
    rig.flow.fold = FoldSettings::default();
    rig
}

impl Rig {
    async fn gather(&self, leader: &TicketId, now: DateTime<Utc>) -> Ticket {
        let ticket = leader.clone();
        self.flow
            .work(Task::Gather { ticket }, || now)
            .await
            .unwrap();
        self.load(leader).await
    }

    async fn recover(&self, id: &TicketId, run: &str, now: DateTime<Utc>) {
        let recovery = Recovery {
            run_id: run.to_owned(),
            began: Some(now),
            ended: Some(now),
            started_by: "its schedule".to_owned(),
            window: None,
            empty: None,
            seen_at: now,
        };
        let event = Event::Recovered(Box::new(recovery));
        self.flow.apply(id, &event, now).await.unwrap();
    }
}

#[tokio::test]
async fn the_last_ticket_closes_the_incident() {
    let rig = rig().await;
    let leader = rig.open(&of("pl_a", "run-1"), at(0)).await;
    let follower = rig.open(&of("pl_a", "run-2"), at(60)).await;
    assert_eq!(follower.joined.as_ref().unwrap().reason, FoldReason::Repeat);
    rig.gather(&leader.id, at(80)).await;
    rig.recover(&leader.id, "run-3", at(300)).await;
    let leader = rig.gather(&leader.id, at(310)).await;
    assert!(leader.is_closed());
    let shown = aiops_rca::incident::shown(&leader);
    assert_eq!(shown.status, Status::Open, "a follower is open");
    let listed = aiops_rca::ticket::store::Listed::of(&leader);
    assert_eq!(listed.incident_status(), Status::Open);
    let before = leader.status_version;

    rig.recover(&follower.id, "run-3", at(400)).await;
    let leader = rig.gather(&leader.id, at(420)).await;
    assert_eq!(leader.incident.as_ref().unwrap().open, 0);
    let shown = aiops_rca::incident::shown(&leader);
    assert!(shown.is_closed());
    assert!(leader.status_version > before, "JIRA is looked at again");
}

#[tokio::test]
async fn a_recovered_incident_is_opened_again_by_the_next_failure() {
    let rig = rig().await;
    let leader = rig.open(&of("pl_a", "run-1"), at(0)).await;
    rig.recover(&leader.id, "run-2", at(300)).await;
    let follower = rig.open(&of("pl_a", "run-3"), at(3600)).await;
    assert_eq!(follower.leader(), &leader.id);
    let leader = rig.gather(&leader.id, at(3620)).await;
    assert_eq!(leader.status, Status::Open);
    // In time, and with the same report, nothing more happens.
    let again = rig.gather(&leader.id, at(3640)).await;
    assert_eq!(again.version, leader.version);
}

#[tokio::test]
async fn in_a_storm_one_asset_is_healed_first() {
    let rig = rig().await;
    let mut tickets = Vec::new();
    for number in 0..5 {
        let failure = of(&format!("pl_{number}"), &format!("run-{number}"));
        tickets.push(rig.open(&failure, at(number * 10)).await);
    }
    let (first, others) = (tickets[0].clone(), tickets[2..].to_vec());
    for other in &others {
        let joined = other.joined.as_ref().unwrap();
        assert_eq!(
            (joined.reason, &joined.leader),
            (FoldReason::Storm, &first.id)
        );
        assert!(other.current_attempt().is_none(), "it waits: {other:#?}");
    }
    let probe = rig
        .deliver(&first.id, first.current_attempt().unwrap().due_at)
        .await;
    rig.gather(&first.id, at(100)).await;
    for other in &others {
        assert!(rig.load(&other.id).await.current_attempt().is_none());
    }
    let healed = rig
        .report(&probe, Report::Succeeded, Some("rerun-0"), at(200))
        .await;
    assert_eq!(healed.remediation.state, RemediationState::Succeeded);
    rig.gather(&first.id, at(210)).await;
    for other in &others {
        let ticket = rig.load(&other.id).await;
        assert_eq!(
            ticket.remediation.state,
            RemediationState::Scheduled,
            "{}",
            ticket.remediation.decision
        );
    }
}

#[tokio::test]
async fn what_folds_is_decided_once() {
    let rig = rig().await;
    let leader = rig.open(&of("pl_a", "run-1"), at(0)).await;
    let follower = rig.open(&of("pl_a", "run-2"), at(60)).await;
    for now in [70, 80, 90] {
        for id in [&leader.id, &follower.id] {
            rig.flow
                .work(Task::Failure { ticket: id.clone() }, || at(now))
                .await
                .unwrap();
        }
    }
    let leader = rig.gather(&leader.id, at(100)).await;
    assert_eq!(leader.incident.unwrap().tickets, 2);
    assert_eq!(rig.load(&follower.id).await.leader(), &leader.id);
}
