//! An existing issue: edits, comments, deletion, doctor.

use aiops_rca::sinks::jira::webhook::JiraEvent;
use aiops_rca::ticket::{Channel, ChapterKind, Status};
use chrono::TimeDelta;
use simulators::Fault as Script;
use simulators::jira::{Category, Comment, Config, Person, Workflow};

use super::rig::{Rig, chapter, sink, writes};

fn story() -> [aiops_rca::ticket::Chapter; 3] {
    [
        chapter(
            1,
            ChapterKind::RemediationStarted,
            "Auto-remediation attempt 1 of 3 started: retry_pipeline.",
        ),
        chapter(
            2,
            ChapterKind::RemediationFailed,
            "Auto-remediation attempt 1 failed: the blob is still missing.",
        ),
        chapter(
            3,
            ChapterKind::Recurrence,
            "It happened again: 2 reports so far.",
        ),
    ]
}

#[tokio::test]
async fn a_changed_diagnosis_is_shown_and_an_unchanged_one_is_not_written_again() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    rig.ticket.diagnosis.root_cause = "The upstream job did not deliver the file.".to_owned();
    rig.run().await.unwrap();
    assert!(
        rig.only_issue()
            .description_text()
            .contains("The upstream job did not deliver the file.")
    );
    assert_eq!(writes(&rig.simulator), 2);
    rig.ticket.version += 1;
    rig.run().await.unwrap();
    assert_eq!(
        writes(&rig.simulator),
        2,
        "a change that the issue does not show needs no call"
    );
}

#[tokio::test]
async fn every_chapter_is_told_once_and_in_order() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    for part in story() {
        rig.ticket.story.push(part);
        rig.run().await.unwrap();
        rig.restart();
        rig.run().await.unwrap();
    }
    let told: Vec<String> = rig
        .only_issue()
        .comments
        .iter()
        .map(Comment::text)
        .collect();
    insta::assert_snapshot!("comments", told.join("\n---\n"));
    let request = rig.simulator.requests_to("POST", "/comment").remove(0);
    insta::assert_json_snapshot!("comment_request", request.json());
    assert_eq!(told.len(), 3);
}

/// A maintenance page in the place of JIRA's answer: nothing was done.
fn web_page() -> Script {
    Script::Status {
        code: 200,
        headers: vec![("content-type".to_owned(), "text/html".to_owned())],
        body: "<html><body>Down for maintenance</body></html>".to_owned(),
    }
}

#[tokio::test]
async fn a_lost_comment_answer_tells_nothing_twice() {
    for (script, at_least) in [
        (Script::AcceptThenDrop, 0),
        (Script::DropBefore, 20),
        (Script::status(502), 20),
        (Script::status(302), 20),
        (web_page(), 20),
    ] {
        let mut rig = Rig::new().await;
        rig.ticket.story.extend(story());
        rig.simulator.faults().next_on("POST", "/comment", script);
        let started = rig.now;
        rig.run().await.unwrap();
        assert_eq!(rig.only_issue().comments.len(), 3);
        assert!(
            rig.now - started >= TimeDelta::seconds(at_least),
            "the lost one may still come"
        );
        rig.simulator.assert_drained();
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_tells_nothing_twice() {
    for at in 0..12 {
        let mut rig = Rig::new().await;
        rig.ticket.story.extend(story());
        for _ in 0..at {
            let outcome = rig.step().await;
            rig.settle(outcome).unwrap();
        }
        let _lost = rig.step().await;
        rig.restart();
        rig.run().await.unwrap();
        let told: Vec<String> = rig
            .only_issue()
            .comments
            .iter()
            .map(Comment::text)
            .collect();
        assert_eq!(told.len(), 3, "crash after step {at}: {told:#?}");
        assert!(
            told[0].contains("started") && told[1].contains("failed") && told[2].contains("again")
        );
    }
}

#[tokio::test]
async fn a_refused_comment_is_noted_and_the_story_goes_on() {
    let mut rig = Rig::new().await;
    rig.ticket.story.extend(story());
    let body = r#"{"errorMessages":["INVALID_INPUT"],"errors":{}}"#.to_owned();
    rig.simulator.faults().next_on(
        "POST",
        "/comment",
        Script::Status {
            code: 400,
            headers: Vec::new(),
            body,
        },
    );
    rig.run().await.unwrap();
    assert_eq!(rig.only_issue().comments.len(), 2);
    let fault = rig.ticket.jira.fault.unwrap();
    assert_eq!(
        fault.reason,
        "JIRA refused the comment of chapter 1 (400): INVALID_INPUT"
    );
}

#[tokio::test]
async fn anothers_words_for_an_edit_change_nothing() {
    for (code, body) in [
        (200, "{\"status\":\"maintenance\"}"),
        (400, "come back later"),
    ] {
        let mut rig = Rig::new().await;
        rig.run().await.unwrap();
        rig.ticket.diagnosis.root_cause = "Another cause.".to_owned();
        let script = Script::Status {
            code,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        rig.simulator.faults().next_on("PUT", "/issue/", script);
        // A transient fault is tried again by itself.
        if code == 400 {
            rig.run().await.unwrap_err();
        }
        rig.run().await.unwrap();
        assert!(
            rig.only_issue()
                .description_text()
                .contains("Another cause.")
        );
    }
}

#[tokio::test]
async fn a_read_only_issue_is_noted_and_the_story_goes_on() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    rig.ticket.diagnosis.root_cause = "Another cause.".to_owned();
    rig.ticket.story.push(story()[0].clone());
    let body = r#"{"errorMessages":["Issue is not editable."],"errors":{}}"#.to_owned();
    rig.simulator.faults().next_on(
        "PUT",
        "/issue/",
        Script::Status {
            code: 400,
            headers: Vec::new(),
            body,
        },
    );
    rig.run().await.unwrap();
    assert_eq!(rig.only_issue().comments.len(), 1);
    assert_eq!(
        rig.ticket.jira.fault.clone().unwrap().reason,
        "JIRA refused to edit the issue (400): Issue is not editable"
    );
    rig.ticket.diagnosis.root_cause = "A third cause.".to_owned();
    rig.run().await.unwrap();
    assert!(
        rig.only_issue()
            .description_text()
            .contains("A third cause.")
    );
    assert_eq!(rig.ticket.jira.fault, None, "what works again is no fault");
}

#[tokio::test]
async fn a_description_that_leaves_the_screen_is_left_out() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    rig.simulator
        .configure(|config| config.screen.retain(|field| field != "description"));
    rig.ticket.failure.asset = "renamed".to_owned();
    rig.run().await.unwrap();
    assert_eq!(rig.only_issue().summary, "ADF Pipeline Failure: renamed");
    assert_eq!(rig.ticket.jira.left_out, ["description"]);
}

#[tokio::test]
async fn a_deleted_issue_stays_deleted() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    assert!(
        rig.simulator
            .deletes(&rig.key(), &Person::named("Mia Krystof"))
    );
    rig.ticket.story.extend(story());
    rig.run().await.unwrap();
    assert!(rig.ticket.jira.deleted);
    let asked = rig.simulator.requests().len();
    rig.ticket.failure.asset = "renamed".to_owned();
    rig.run().await.unwrap();
    assert_eq!(rig.simulator.requests().len(), asked);
    assert!(rig.simulator.issues().is_empty());
}

#[tokio::test]
async fn an_issue_that_only_strangers_cannot_see_is_not_deleted() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    rig.ticket.failure.asset = "renamed".to_owned();
    rig.simulator
        .faults()
        .next_on("PUT", "/issue/", Script::status(404));
    rig.simulator
        .faults()
        .next_on("GET", "/myself", Script::status(401));
    let fault = rig.run().await.unwrap_err();
    assert!(
        fault
            .reason()
            .starts_with("JIRA refused the credentials (401)"),
        "{fault}"
    );
    rig.simulator
        .faults()
        .next_on("PUT", "/issue/", Script::status(404));
    rig.simulator
        .faults()
        .next_on("GET", "/project/", Script::status(404));
    let fault = rig.run().await.unwrap_err();
    assert!(
        fault
            .reason()
            .starts_with("JIRA knows nothing there while looking for the project (404)"),
        "{fault}"
    );
    rig.run().await.unwrap();
    assert!(!rig.ticket.jira.deleted);
    assert_eq!(rig.only_issue().summary, "ADF Pipeline Failure: renamed");
}

#[tokio::test]
async fn a_change_whose_webhook_was_lost_can_be_read_back() {
    let mut rig = Rig::new().await;
    assert_eq!(
        rig.jira.observe(&rig.ticket, rig.now).await.unwrap(),
        None,
        "no issue yet"
    );
    rig.run().await.unwrap();
    assert_eq!(rig.jira.observe(&rig.ticket, rig.now).await.unwrap(), None);
    rig.pass(TimeDelta::minutes(5));
    rig.simulator
        .moves(&rig.key(), "Done", &Person::named("John Doe"));
    let Some(JiraEvent::StatusChanged(change)) =
        rig.jira.observe(&rig.ticket, rig.now).await.unwrap()
    else {
        panic!("it was moved")
    };
    assert_eq!(
        (change.status, change.by.as_str(), change.at),
        (Status::Acknowledged, "John Doe", rig.now)
    );
    assert_eq!(
        (change.issue_key, change.ticket),
        (rig.key(), Some(rig.ticket.id.clone()))
    );
    rig.ticket.status = Status::Acknowledged;
    assert_eq!(
        rig.jira.observe(&rig.ticket, rig.now).await.unwrap(),
        None,
        "they agree"
    );
}

#[tokio::test]
async fn our_own_move_is_nothing_to_read_back() {
    let mut rig = Rig::new().await;
    rig.run().await.unwrap();
    super::rig::set_status(
        &mut rig.ticket,
        Status::Acknowledged,
        Channel::Playbook,
        rig.now,
    );
    rig.run().await.unwrap();
    assert_eq!(rig.status(), "Done");
    rig.ticket.status = Status::Open;
    assert_eq!(rig.jira.observe(&rig.ticket, rig.now).await.unwrap(), None);
}

fn report(checks: &[aiops_rca::sinks::Check]) -> String {
    let line = |check: &aiops_rca::sinks::Check| {
        let fix = check
            .fix
            .as_ref()
            .map(|fix| format!("\n     → {fix}"))
            .unwrap_or_default();
        format!(
            "{} {}: {}{fix}",
            if check.ok { "ok  " } else { "BAD " },
            check.name,
            check.line
        )
    };
    checks.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn doctor_says_what_is_wrong_and_what_to_do() {
    let rig = Rig::new().await;
    let mut reports = vec![("as it should be", report(&rig.jira.check(rig.now).await))];
    assert_eq!(writes(&rig.simulator), 0, "doctor only reads");

    rig.simulator.configure(|config| {
        config.lacking = vec!["CREATE_ISSUES".to_owned(), "TRANSITION_ISSUES".to_owned()];
        config.issue_types = vec!["Vorfall".to_owned()];
        config.workflow = Workflow::new(
            &[("Offen", Category::New), ("Fertig", Category::Done)],
            &[("*", "Fertig")],
        );
    });
    reports.push(("another project", report(&rig.jira.check(rig.now).await)));

    rig.simulator.configure(|config| {
        *config = Config::default();
        config
            .required
            .insert("customfield_10050".to_owned(), "Team".to_owned());
    });
    reports.push(("a required field", report(&rig.jira.check(rig.now).await)));

    rig.simulator.configure(|config| {
        *config = Config {
            screen: vec!["description".into(), "labels".into()],
            ..Config::default()
        }
    });
    reports.push(("no priority", report(&rig.jira.check(rig.now).await)));

    rig.simulator.configure(|config| config.screen.clear());
    reports.push(("no labels", report(&rig.jira.check(rig.now).await)));

    rig.simulator
        .configure(|config| config.project = "OTHER".to_owned());
    reports.push(("no such project", report(&rig.jira.check(rig.now).await)));

    rig.simulator
        .configure(|config| config.token = "renewed".to_owned());
    reports.push((
        "an expired token",
        report(&sink(&rig.simulator).check(rig.now).await),
    ));
    let all: Vec<String> = reports
        .into_iter()
        .map(|(name, report)| format!("== {name}\n{report}"))
        .collect();
    insta::assert_snapshot!("doctor", all.join("\n\n"));
}
