//! Incidents at work: recoveries, the probe of a storm, and leaders that are gone.

use aiops_rca::failure::field;
use aiops_rca::flow::Task;
use aiops_rca::incident::FoldSettings;
use aiops_rca::patrol::Recovery;
use aiops_rca::remediation::Mode;
use aiops_rca::ticket::machine::{Event, Report};
use aiops_rca::ticket::store::{Listed, UpdateError};
use aiops_rca::ticket::{
    Actor, Channel, ChapterKind, FoldReason, RemediationState, Status, Ticket, TicketId,
};
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

fn jane() -> Actor {
    Actor {
        channel: Channel::Slack,
        name: "Jane Roe".to_owned(),
    }
}

fn answer(leader: &Ticket, plan: &str, approved: bool) -> Event {
    Event::ApprovalAnswered {
        approval: leader.incident_approval(),
        plan: plan.to_owned(),
        approved,
        by: jane(),
    }
}

#[tokio::test]
async fn one_answer_on_the_leader_counts_for_every_follower_that_asks() {
    let mut rig = rig().await;
    rig.flow.remediation.default_mode = Mode::Ask;
    let leader = rig.open(&of("pl_a", "run-1"), at(0)).await;
    let mut followers = Vec::new();
    for number in 2..5 {
        followers.push(
            rig.open(&of("pl_a", &format!("run-{number}")), at(number))
                .await,
        );
    }
    for follower in &followers {
        assert_eq!(
            follower.remediation.state,
            RemediationState::AwaitingApproval
        );
    }
    let leader = rig.gather(&leader.id, at(40)).await;
    let asked = leader.incident.clone().unwrap();
    assert_eq!(asked.questions.len(), 3);
    let told = |ticket: &Ticket, kind| {
        let story = ticket.story.iter();
        story.filter(|chapter| chapter.kind == kind).count()
    };
    assert_eq!(
        told(&leader, ChapterKind::ApprovalAsked),
        2,
        "its own, and theirs"
    );

    // What was shown is what is answered.
    for (plan, approved) in [("another plan", true), ("", false)] {
        let refused = rig
            .flow
            .apply(&leader.id, &answer(&leader, plan, approved), at(50))
            .await;
        assert!(
            matches!(refused, Err(UpdateError::Refused(_))),
            "{refused:?}"
        );
    }
    let yes = answer(&leader, &asked.plans(), true);
    let answered = rig.flow.apply(&leader.id, &yes, at(60)).await.unwrap();
    assert!(answered.incident.as_ref().unwrap().questions.is_empty());
    assert_eq!(told(&answered, ChapterKind::ApprovalGiven), 1);
    // The leader's own question is its own.
    assert_eq!(
        answered.remediation.state,
        RemediationState::AwaitingApproval
    );
    for follower in &followers {
        let ticket = rig.load(&follower.id).await;
        assert_eq!(ticket.remediation.state, RemediationState::Scheduled);
        let approval = ticket.remediation.approval.unwrap();
        assert_eq!(approval.answer.unwrap().by.name, "Jane Roe");
    }
    // A second click changes nothing, nor does looking again.
    let again = rig.flow.apply(&leader.id, &yes, at(61)).await;
    assert!(matches!(again, Err(UpdateError::Refused(_))), "{again:?}");
    let leader = rig.gather(&leader.id, at(100)).await;
    assert!(leader.incident.as_ref().unwrap().questions.is_empty());
}

#[tokio::test]
async fn a_repeat_of_what_was_closed_for_good_is_only_counted() {
    let rig = rig().await;
    let leader = rig.open(&of("pl_a", "run-1"), at(0)).await;
    let refused = Event::StatusChanged {
        to: Status::Acknowledged,
        by: Actor {
            channel: Channel::Jira,
            ..jane()
        },
        at: at(60),
        jira_status: Some("Won't Do".to_owned()),
    };
    rig.flow.apply(&leader.id, &refused, at(60)).await.unwrap();
    let follower = rig.open(&of("pl_a", "run-2"), at(3600)).await;
    assert_eq!(follower.leader(), &leader.id);
    let leader = rig.gather(&leader.id, at(3640)).await;
    assert!(leader.is_closed(), "{:?}", leader.status);
    assert_eq!(leader.incident.unwrap().tickets, 2);
}

#[tokio::test]
async fn a_follower_leads_when_the_leaders_record_is_gone_and_retention_leaves_nothing_behind() {
    let rig = rig().await;
    let leader = rig.open(&of("pl_a", "run-1"), at(0)).await;
    let first = rig.open(&of("pl_a", "run-2"), at(10)).await;
    let second = rig.open(&of("pl_a", "run-3"), at(20)).await;
    let store = &rig.flow.store;
    store
        .forget(&Listed::of(&leader), Some(&leader), &[])
        .await
        .unwrap();
    let taken = Event::StatusChanged {
        to: Status::InProgress,
        by: jane(),
        at: at(30),
        jira_status: None,
    };
    rig.flow.apply(&first.id, &taken, at(30)).await.unwrap();
    let heir = rig.load(&first.id).await;
    assert!(heir.joined.is_none(), "{:?}", heir.joined);
    rig.flow.apply(&second.id, &taken, at(40)).await.unwrap();
    assert_eq!(rig.load(&second.id).await.leader(), &first.id);
    let heir = rig.gather(&first.id, at(80)).await;
    assert_eq!(heir.incident.as_ref().unwrap().tickets, 2);
    assert_eq!(
        store.heir_of(&leader.id).await.unwrap(),
        Some(first.id.clone())
    );
    let heir = rig.load(&first.id).await;
    store
        .forget(&Listed::of(&heir), Some(&heir), &[])
        .await
        .unwrap();
    assert_eq!(store.heir_of(&leader.id).await.unwrap(), None);
}

fn dag(dag: &str, run: &str, message: &str) -> Failure {
    let asset = format!("{dag}.load");
    let mut failure = Failure {
        source: Source::Airflow,
        kind: aiops_rca::failure::AssetKind::Task,
        key: RunKey::new(Source::Airflow, &asset, run, "", "airflow.example.com"),
        message: message.to_owned(),
        ..of(&asset, run)
    };
    for (name, value) in [
        (field::DAG_ID, dag),
        (field::TASK_ID, "load"),
        (field::DEPLOYMENT, "airflow.example.com"),
    ] {
        failure.context.insert(name.to_owned(), value.to_owned());
    }
    failure
}

#[tokio::test]
async fn a_run_with_a_name_of_its_own_is_linked_whichever_report_comes_first() {
    let parent = dag(
        "outer",
        "scheduled__2026-07-27T00:00:00+00:00",
        "AirflowException: inner failed with failed states [<DagRunState.FAILED: 'failed'>] for run_ids ['orders of 2026-07-27']",
    );
    let mut child = dag("inner", "orders of 2026-07-27", "KeyError: 'region'");
    let kind = ("run_type".to_owned(), "manual".to_owned());
    child.context.extend([kind]);
    for order in [[&parent, &child], [&child, &parent]] {
        let rig = rig().await;
        let first = rig.open(order[0], at(0)).await;
        let second = rig.open(order[1], at(30)).await;
        let joined = second.joined.as_ref().unwrap();
        assert_eq!(
            (joined.reason, &joined.leader),
            (FoldReason::Cascade, &first.id)
        );
        let leader = rig.gather(&first.id, at(60)).await;
        assert_eq!(
            leader.incident.unwrap().path,
            ["outer.load · load", "inner.load · load"]
                .map(|name| { name.split(" · ").next().unwrap_or_default().to_owned() })
        );
    }
}
