//! An existing issue: edits, comments, deletion, doctor.

use aiops_rca::sinks::jira::webhook::JiraEvent;
use aiops_rca::ticket::{Channel, ChapterKind, Status};
use chrono::TimeDelta;
use simulators::Fault as Script;
use simulators::jira::{Category, Comment, Config, Person, Workflow};

use super::bench::{Bench, chapter, sink, writes};

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
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    bench.ticket.diagnosis.root_cause = "The upstream job did not deliver the file.".to_owned();
    bench.run().await.unwrap();
    assert!(
        bench
            .only_issue()
            .description_text()
            .contains("The upstream job did not deliver the file.")
    );
    assert_eq!(writes(&bench.simulator), 2);
    bench.ticket.version += 1;
    bench.run().await.unwrap();
    assert_eq!(
        writes(&bench.simulator),
        2,
        "a change that the issue does not show needs no call"
    );
}

#[tokio::test]
async fn every_chapter_is_told_once_and_in_order() {
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    for part in story() {
        bench.ticket.story.push(part);
        bench.run().await.unwrap();
        bench.restart();
        bench.run().await.unwrap();
    }
    let told: Vec<String> = bench
        .only_issue()
        .comments
        .iter()
        .map(Comment::text)
        .collect();
    insta::assert_snapshot!("comments", told.join("\n---\n"));
    let request = bench.simulator.requests_to("POST", "/comment").remove(0);
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
        let mut bench = Bench::new().await;
        bench.ticket.story.extend(story());
        bench.simulator.faults().next_on("POST", "/comment", script);
        let started = bench.now;
        bench.run().await.unwrap();
        assert_eq!(bench.only_issue().comments.len(), 3);
        assert!(
            bench.now - started >= TimeDelta::seconds(at_least),
            "the lost one may still come"
        );
        bench.simulator.assert_drained();
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_tells_nothing_twice() {
    for at in 0..12 {
        let mut bench = Bench::new().await;
        bench.ticket.story.extend(story());
        for _ in 0..at {
            let outcome = bench.step().await;
            bench.settle(outcome).unwrap();
        }
        let _lost = bench.step().await;
        bench.restart();
        bench.run().await.unwrap();
        let told: Vec<String> = bench
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
    let mut bench = Bench::new().await;
    bench.ticket.story.extend(story());
    let body = r#"{"errorMessages":["INVALID_INPUT"],"errors":{}}"#.to_owned();
    bench.simulator.faults().next_on(
        "POST",
        "/comment",
        Script::Status {
            code: 400,
            headers: Vec::new(),
            body,
        },
    );
    bench.run().await.unwrap();
    assert_eq!(bench.only_issue().comments.len(), 2);
    let fault = bench.ticket.jira.fault.unwrap();
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
        let mut bench = Bench::new().await;
        bench.run().await.unwrap();
        bench.ticket.diagnosis.root_cause = "Another cause.".to_owned();
        let script = Script::Status {
            code,
            headers: Vec::new(),
            body: body.to_owned(),
        };
        bench.simulator.faults().next_on("PUT", "/issue/", script);
        // A transient fault is tried again by itself.
        if code == 400 {
            bench.run().await.unwrap_err();
        }
        bench.run().await.unwrap();
        assert!(
            bench
                .only_issue()
                .description_text()
                .contains("Another cause.")
        );
    }
}

#[tokio::test]
async fn a_read_only_issue_is_noted_and_the_story_goes_on() {
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    bench.ticket.diagnosis.root_cause = "Another cause.".to_owned();
    bench.ticket.story.push(story()[0].clone());
    let body = r#"{"errorMessages":["Issue is not editable."],"errors":{}}"#.to_owned();
    bench.simulator.faults().next_on(
        "PUT",
        "/issue/",
        Script::Status {
            code: 400,
            headers: Vec::new(),
            body,
        },
    );
    bench.run().await.unwrap();
    assert_eq!(bench.only_issue().comments.len(), 1);
    assert_eq!(
        bench.ticket.jira.fault.clone().unwrap().reason,
        "JIRA refused to edit the issue (400): Issue is not editable"
    );
    bench.ticket.diagnosis.root_cause = "A third cause.".to_owned();
    bench.run().await.unwrap();
    assert!(
        bench
            .only_issue()
            .description_text()
            .contains("A third cause.")
    );
    assert_eq!(
        bench.ticket.jira.fault, None,
        "what works again is no fault"
    );
}

#[tokio::test]
async fn a_description_that_leaves_the_screen_is_left_out() {
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    bench
        .simulator
        .configure(|config| config.screen.retain(|field| field != "description"));
    bench.ticket.failure.asset = "renamed".to_owned();
    bench.run().await.unwrap();
    assert_eq!(bench.only_issue().summary, "ADF Pipeline Failure: renamed");
    assert_eq!(bench.ticket.jira.left_out, ["description"]);
}

#[tokio::test]
async fn a_deleted_issue_stays_deleted() {
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    assert!(
        bench
            .simulator
            .deletes(&bench.key(), &Person::named("Mia Krystof"))
    );
    bench.ticket.story.extend(story());
    bench.run().await.unwrap();
    assert!(bench.ticket.jira.deleted);
    let asked = bench.simulator.requests().len();
    bench.ticket.failure.asset = "renamed".to_owned();
    bench.run().await.unwrap();
    assert_eq!(bench.simulator.requests().len(), asked);
    assert!(bench.simulator.issues().is_empty());
}

#[tokio::test]
async fn an_issue_that_only_strangers_cannot_see_is_not_deleted() {
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    bench.ticket.failure.asset = "renamed".to_owned();
    bench
        .simulator
        .faults()
        .next_on("PUT", "/issue/", Script::status(404));
    bench
        .simulator
        .faults()
        .next_on("GET", "/myself", Script::status(401));
    let fault = bench.run().await.unwrap_err();
    assert!(
        fault
            .reason()
            .starts_with("JIRA refused the credentials (401)"),
        "{fault}"
    );
    bench
        .simulator
        .faults()
        .next_on("PUT", "/issue/", Script::status(404));
    bench
        .simulator
        .faults()
        .next_on("GET", "/project/", Script::status(404));
    let fault = bench.run().await.unwrap_err();
    assert!(
        fault
            .reason()
            .starts_with("JIRA knows nothing there while looking for the project (404)"),
        "{fault}"
    );
    bench.run().await.unwrap();
    assert!(!bench.ticket.jira.deleted);
    assert_eq!(bench.only_issue().summary, "ADF Pipeline Failure: renamed");
}

#[tokio::test]
async fn a_change_whose_webhook_was_lost_can_be_read_back() {
    let mut bench = Bench::new().await;
    assert_eq!(
        bench.jira.observe(&bench.ticket, bench.now).await.unwrap(),
        None,
        "no issue yet"
    );
    bench.run().await.unwrap();
    assert_eq!(
        bench.jira.observe(&bench.ticket, bench.now).await.unwrap(),
        None
    );
    bench.pass(TimeDelta::minutes(5));
    bench
        .simulator
        .moves(&bench.key(), "Done", &Person::named("John Doe"));
    let Some(JiraEvent::StatusChanged(change)) =
        bench.jira.observe(&bench.ticket, bench.now).await.unwrap()
    else {
        panic!("it was moved")
    };
    assert_eq!(
        (change.status, change.by.as_str(), change.at),
        (Status::Acknowledged, "John Doe", bench.now)
    );
    assert_eq!(
        (change.issue_key, change.ticket),
        (bench.key(), Some(bench.ticket.id.clone()))
    );
    bench.ticket.status = Status::Acknowledged;
    assert_eq!(
        bench.jira.observe(&bench.ticket, bench.now).await.unwrap(),
        None,
        "they agree"
    );
}

#[tokio::test]
async fn our_own_move_is_nothing_to_read_back() {
    let mut bench = Bench::new().await;
    bench.run().await.unwrap();
    super::bench::set_status(
        &mut bench.ticket,
        Status::Acknowledged,
        Channel::Playbook,
        bench.now,
    );
    bench.run().await.unwrap();
    assert_eq!(bench.status(), "Done");
    bench.ticket.status = Status::Open;
    assert_eq!(
        bench.jira.observe(&bench.ticket, bench.now).await.unwrap(),
        None
    );
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
    let bench = Bench::new().await;
    let mut reports = vec![(
        "as it should be",
        report(&bench.jira.check(bench.now).await),
    )];
    assert_eq!(writes(&bench.simulator), 0, "doctor only reads");

    bench.simulator.configure(|config| {
        config.lacking = vec!["CREATE_ISSUES".to_owned(), "TRANSITION_ISSUES".to_owned()];
        config.issue_types = vec!["Vorfall".to_owned()];
        config.workflow = Workflow::new(
            &[("Offen", Category::New), ("Fertig", Category::Done)],
            &[("*", "Fertig")],
        );
    });
    reports.push((
        "another project",
        report(&bench.jira.check(bench.now).await),
    ));

    bench.simulator.configure(|config| {
        *config = Config::default();
        config
            .required
            .insert("customfield_10050".to_owned(), "Team".to_owned());
    });
    reports.push((
        "a required field",
        report(&bench.jira.check(bench.now).await),
    ));

    bench.simulator.configure(|config| {
        *config = Config {
            screen: vec!["description".into(), "labels".into()],
            ..Config::default()
        }
    });
    reports.push(("no priority", report(&bench.jira.check(bench.now).await)));

    bench.simulator.configure(|config| config.screen.clear());
    reports.push(("no labels", report(&bench.jira.check(bench.now).await)));

    bench
        .simulator
        .configure(|config| config.project = "OTHER".to_owned());
    reports.push((
        "no such project",
        report(&bench.jira.check(bench.now).await),
    ));

    bench
        .simulator
        .configure(|config| config.token = "renewed".to_owned());
    reports.push((
        "an expired token",
        report(&sink(&bench.simulator).check(bench.now).await),
    ));
    let all: Vec<String> = reports
        .into_iter()
        .map(|(name, report)| format!("== {name}\n{report}"))
        .collect();
    insta::assert_snapshot!("doctor", all.join("\n\n"));
}
