//! Statuses: the issue follows the ticket, and people win.

use aiops_rca::ticket::{Channel, Status};
use chrono::TimeDelta;
use simulators::Fault as Script;
use simulators::jira::{Category, Config, Person, Workflow};

use super::rig::{Rig, set_status, writes};

fn john() -> Person {
    Person::named("John Doe")
}

async fn made(workflow: Workflow) -> Rig {
    let mut rig = Rig::with(Config {
        workflow,
        ..Config::default()
    })
    .await;
    rig.run().await.unwrap();
    rig.pass(TimeDelta::minutes(1));
    rig
}

async fn brought(rig: &mut Rig, status: Status, by: Channel) -> String {
    set_status(&mut rig.ticket, status, by, rig.now);
    rig.run().await.unwrap();
    assert_eq!(rig.ticket.jira.status_version, rig.ticket.status_version);
    assert_eq!(
        rig.ticket.jira.status.as_deref(),
        Some(rig.status().as_str()),
        "the record knows what JIRA shows"
    );
    rig.status()
}

#[tokio::test]
async fn the_issue_follows_the_ticket_to_and_fro() {
    let mut rig = made(Workflow::simple()).await;
    for (status, by, name) in [
        (Status::InProgress, Channel::Slack, "In Progress"),
        (Status::Acknowledged, Channel::Playbook, "Done"),
        (Status::InProgress, Channel::Dashboard, "In Progress"),
        (Status::Open, Channel::Slack, "To Do"),
        (Status::Acknowledged, Channel::Dashboard, "Done"),
    ] {
        assert_eq!(brought(&mut rig, status, by).await, name);
        let before = writes(&rig.simulator);
        rig.run().await.unwrap();
        assert_eq!(writes(&rig.simulator), before);
        rig.pass(TimeDelta::minutes(1));
    }
    assert_eq!(rig.ticket.jira.fault, None);
}

#[tokio::test]
async fn what_came_from_jira_is_not_sent_back() {
    let mut rig = made(Workflow::simple()).await;
    rig.simulator.moves(&rig.key(), "Done", &john());
    let before = writes(&rig.simulator);
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Jira).await,
        "Done"
    );
    assert_eq!(writes(&rig.simulator), before);
}

#[tokio::test]
async fn what_we_moved_before_we_heard_of_a_person_is_moved_back() {
    let mut rig = made(Workflow::simple()).await;
    rig.simulator.moves(&rig.key(), "In Progress", &john());
    let johns = rig.now;
    rig.pass(TimeDelta::minutes(5));
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "Done"
    );
    // John's webhook comes late, and the ticket takes his word over the machine's.
    set_status(&mut rig.ticket, Status::InProgress, Channel::Jira, johns);
    rig.run().await.unwrap();
    assert_eq!(rig.status(), "In Progress");
}

#[tokio::test]
async fn the_kind_decides_where_names_are_customised() {
    use Category::{Done, Indeterminate, New};
    let workflow = Workflow::new(
        &[
            ("Offen", New),
            ("Abgelehnt", Done),
            ("In Arbeit", Indeterminate),
            ("Won't Do", Done),
            ("Fertig", Done),
        ],
        &[
            ("*", "Won't Do"),
            ("*", "Offen"),
            ("*", "In Arbeit"),
            ("*", "Fertig"),
        ],
    );
    let mut rig = made(workflow).await;
    assert_eq!(
        brought(&mut rig, Status::InProgress, Channel::Slack).await,
        "In Arbeit"
    );
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "Fertig"
    );
}

#[tokio::test]
async fn the_way_may_have_several_steps_and_ask_for_a_resolution() {
    use Category::{Done, Indeterminate, New};
    let mut strict = Workflow::new(
        &[
            ("Backlog", New),
            ("Analysis", Indeterminate),
            ("Fixing", Indeterminate),
            ("Review", Indeterminate),
            ("Done", Done),
        ],
        &[
            ("Backlog", "Analysis"),
            ("Analysis", "Backlog"),
            ("Analysis", "Fixing"),
            ("Fixing", "Analysis"),
            ("Fixing", "Review"),
            ("Review", "Fixing"),
            ("Review", "Done"),
        ],
    );
    strict.require("Done", "resolution", &["Won't Do", "Fixed"]);
    let mut rig = made(strict).await;
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "Done"
    );
    assert_eq!(rig.only_issue().resolution.as_deref(), Some("Fixed"));
    assert_eq!(
        rig.simulator.requests_to("POST", "/transitions").len(),
        4,
        "no step is walked twice"
    );
    assert_eq!(rig.ticket.jira.hops, 0);
}

#[tokio::test]
async fn jiras_classic_workflow_works_and_reopened_is_in_progress() {
    let mut rig = made(Workflow::classic()).await;
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "Resolved"
    );
    assert_eq!(
        rig.only_issue().resolution.as_deref(),
        Some("Done"),
        "never Won't Do"
    );
    rig.pass(TimeDelta::minutes(1));
    assert_eq!(
        brought(&mut rig, Status::InProgress, Channel::Slack).await,
        "Reopened"
    );
    assert_eq!(rig.only_issue().resolution, None);
}

#[tokio::test]
async fn a_workflow_without_a_way_is_noted_and_left() {
    let mut rig = made(Workflow::new(
        &[("To Do", Category::New), ("Done", Category::Done)],
        &[("Done", "To Do")],
    ))
    .await;
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "To Do"
    );
    assert_eq!(
        rig.ticket.jira.fault.clone().unwrap().reason,
        "JIRA offers no transition from \"To Do\" towards \"done\": allow it in the workflow and grant us Transition Issues, or move the issue by hand"
    );
    let asked = rig.simulator.requests().len();
    rig.run().await.unwrap();
    assert_eq!(
        rig.simulator.requests().len(),
        asked,
        "it is not tried again by itself"
    );
}

#[tokio::test]
async fn a_field_that_we_would_have_to_invent_is_noted_and_left() {
    let mut workflow = Workflow::simple();
    workflow.require(
        "Done",
        "customfield_10077",
        &["Human error", "Machine error"],
    );
    let mut rig = made(workflow).await;
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "To Do",
        "no detour either"
    );
    assert_eq!(
        rig.ticket.jira.fault.clone().unwrap().reason,
        "JIRA asks for the field \"customfield_10077\" to move the issue to \"done\": give it a default or make it optional in the workflow, or move the issue by hand"
    );
}

#[tokio::test]
async fn endless_workflows_end() {
    let names: Vec<String> = (0..12).map(|n| format!("Stage {n}")).collect();
    let statuses: Vec<(&str, Category)> = names
        .iter()
        .map(|name| (name.as_str(), Category::New))
        .collect();
    let ways: Vec<(&str, &str)> = names
        .windows(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let mut rig = made(Workflow::new(&statuses, &ways)).await;
    brought(&mut rig, Status::Acknowledged, Channel::Playbook).await;
    assert_eq!(rig.simulator.requests_to("POST", "/transitions").len(), 6);
    let reason = rig.ticket.jira.fault.unwrap().reason;
    assert_eq!(
        reason,
        "JIRA's workflow did not lead to \"done\" in 6 steps: move the issue by hand"
    );
}

#[tokio::test]
async fn a_lost_transition_answer_moves_nothing_twice() {
    for script in [
        Script::AcceptThenDrop,
        Script::DropBefore,
        Script::status(503),
        Script::status(429),
        Script::status(409),
    ] {
        let mut rig = made(Workflow::simple()).await;
        rig.simulator
            .faults()
            .next_on("POST", "/transitions", script);
        assert_eq!(
            brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
            "Done"
        );
        assert_eq!(rig.only_issue().history.len(), 1, "moved once");
        rig.simulator.assert_drained();
    }
}

#[tokio::test]
async fn a_refused_transition_is_noted() {
    let mut rig = made(Workflow::simple()).await;
    let body = r#"{"errorMessages":["A validator said no."],"errors":{}}"#.to_owned();
    rig.simulator.faults().next_on(
        "POST",
        "/transitions",
        Script::Status {
            code: 400,
            headers: Vec::new(),
            body,
        },
    );
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "To Do"
    );
    assert_eq!(
        rig.ticket.jira.fault.clone().unwrap().reason,
        "JIRA refused to move the issue to Done (400): A validator said no"
    );
}

#[tokio::test]
async fn a_persons_later_move_is_never_undone() {
    // A machine closes; before its delivery a person takes the issue, or puts it back.
    for (later, target) in [
        ("In Progress", Status::Acknowledged),
        ("Done", Status::InProgress),
        ("Done", Status::Open),
    ] {
        for by in [
            Channel::Playbook,
            Channel::System,
            Channel::Slack,
            Channel::Dashboard,
        ] {
            let mut rig = made(Workflow::simple()).await;
            set_status(&mut rig.ticket, target, by, rig.now);
            rig.pass(TimeDelta::seconds(30));
            rig.simulator.moves(&rig.key(), later, &john());
            rig.run().await.unwrap();
            assert_eq!(
                rig.status(),
                later,
                "{by:?} must not undo John's later decision"
            );
            assert_eq!(rig.ticket.jira.status.as_deref(), Some(later));
            assert!(rig.simulator.requests_to("POST", "/transitions").is_empty());
        }
    }
}

#[tokio::test]
async fn a_machine_never_reopens_what_a_person_closed() {
    for by in [Channel::Playbook, Channel::System] {
        let mut rig = made(Workflow::simple()).await;
        rig.simulator.moves(&rig.key(), "Done", &john());
        rig.pass(TimeDelta::hours(1));
        set_status(&mut rig.ticket, Status::InProgress, by, rig.now);
        rig.run().await.unwrap();
        assert_eq!(rig.status(), "Done");
    }
}

#[tokio::test]
async fn a_person_may_reopen_what_another_closed_before() {
    let mut rig = made(Workflow::simple()).await;
    rig.simulator.moves(&rig.key(), "Done", &john());
    rig.pass(TimeDelta::hours(1));
    assert_eq!(
        brought(&mut rig, Status::InProgress, Channel::Slack).await,
        "In Progress"
    );
}

#[tokio::test]
async fn success_closes_an_issue_that_a_person_took_before() {
    let mut rig = made(Workflow::simple()).await;
    rig.simulator.moves(&rig.key(), "In Progress", &john());
    rig.pass(TimeDelta::minutes(5));
    assert_eq!(
        brought(&mut rig, Status::Acknowledged, Channel::Playbook).await,
        "Done"
    );
}

#[tokio::test]
async fn automations_in_jira_are_no_persons() {
    let mut rig = made(Workflow::simple()).await;
    set_status(
        &mut rig.ticket,
        Status::Acknowledged,
        Channel::Playbook,
        rig.now,
    );
    rig.pass(TimeDelta::seconds(30));
    rig.simulator
        .moves(&rig.key(), "In Progress", &Person::automation());
    rig.run().await.unwrap();
    assert_eq!(rig.status(), "Done");
}

#[tokio::test]
async fn an_issue_made_for_a_ticket_that_is_closed_already_is_closed() {
    let mut rig = Rig::new().await;
    set_status(
        &mut rig.ticket,
        Status::Acknowledged,
        Channel::Playbook,
        rig.now,
    );
    rig.run().await.unwrap();
    assert_eq!(rig.status(), "Done");
}

#[tokio::test]
async fn an_issue_deleted_while_it_is_moved_is_left() {
    let mut rig = made(Workflow::simple()).await;
    set_status(
        &mut rig.ticket,
        Status::Acknowledged,
        Channel::Playbook,
        rig.now,
    );
    rig.simulator.deletes(&rig.key(), &john());
    rig.run().await.unwrap();
    assert!(rig.ticket.jira.deleted);
}
