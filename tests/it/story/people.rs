//! The guide's end-to-end test: failure → ticket → issue → message → issue Done → acknowledged → CLOSED.

use std::time::Duration;

use serde_json::Value;
use simulators::jira::Person;

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};

async fn status(rig: &Rig, id: &str) -> String {
    rig.ticket(id)
        .await
        .map(|ticket| ticket["status"].as_str().unwrap().to_owned())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_end_to_end_test_steps_1_to_6() {
    let rig = Rig::build(&Backend::azurite(), &[]).await;
    let answer = rig
        .deliver(
            "azure-monitor",
            &alert(
                "g1",
                &[row("pl_ingest_sales", &run(1), "2200", BLOB_MISSING)],
            ),
        )
        .await;
    let id = ids(&answer)[0].clone();
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(30))
        .await;
    let key = rig.issues()[0].key.clone();
    let john = Person::named("John Doe");

    assert!(rig.jira.moves(&key, "In Progress", &john));
    rig.until(
        "the ticket is in progress",
        Duration::from_secs(10),
        async |rig: &Rig| status(rig, &id).await == "in_progress",
    )
    .await;
    assert!(rig.jira.moves(&key, "Done", &john));
    rig.until(
        "the ticket is acknowledged",
        Duration::from_secs(10),
        async |rig: &Rig| status(rig, &id).await == "acknowledged",
    )
    .await;
    rig.until(
        "the message says so",
        Duration::from_secs(10),
        async |rig: &Rig| {
            let shown = serde_json::to_string(&rig.messages()[0].blocks).unwrap();
            shown.contains("pl_ingest_sales - CLOSED") && shown.contains("Closed by John Doe on ")
        },
    )
    .await;
    assert_eq!(rig.messages().len(), 1, "one message, edited in place");
    assert_eq!(rig.issues()[0].status, "Done");

    // Reopened by a person: nothing of ours closes it again.
    assert!(rig.jira.moves(&key, "To Do", &john));
    rig.until(
        "the ticket is open again",
        Duration::from_secs(10),
        async |rig: &Rig| status(rig, &id).await == "open",
    )
    .await;
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(20))
        .await;
    assert_eq!(rig.issues()[0].status, "To Do");
    rig.assert_wire_laws();
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_jira_and_slack_there_is_a_ticket_and_a_dashboard() {
    let off = [
        ("ITSM_TOOL", "none".to_owned()),
        ("SLACK_BOT_TOKEN", String::new()),
        ("SLACK_ALERT_CHANNEL", String::new()),
    ];
    let rig = Rig::build(&Backend::Embedded, &off).await;
    let answer = rig
        .deliver(
            "azure-monitor",
            &alert(
                "n1",
                &[row("pl_ingest_sales", &run(1), "2200", BLOB_MISSING)],
            ),
        )
        .await;
    let id = ids(&answer)[0].clone();
    rig.until(
        "the ticket is there",
        Duration::from_secs(10),
        async |rig: &Rig| status(rig, &id).await == "open",
    )
    .await;
    let page = rig.get(&format!("dashboard?ticket={id}")).await.unwrap();
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("JIRA is not configured"), "{text}");
    assert!(text.contains("Slack is not configured"), "{text}");
    assert!(rig.issues().is_empty() && rig.messages().is_empty());
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_webhooks_and_clicks_change_nothing() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let answer = rig
        .deliver(
            "azure-monitor",
            &alert(
                "f1",
                &[row("pl_ingest_sales", &run(1), "2200", BLOB_MISSING)],
            ),
        )
        .await;
    let id = ids(&answer)[0].clone();
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(20))
        .await;
    let done = include_str!("../../fixtures/vendor/jira-webhook-issue-updated-done.json");
    for door in [
        "jira-webhook",
        "jira-webhook?secret=",
        "jira-webhook?secret=wrong",
        "slack/interactions",
    ] {
        let reply = rig.post(door, done).await.unwrap();
        assert_eq!(reply.status, 401, "{door}");
    }
    let reply = rig
        .post(
            &format!("remediation-callback?ticket={id}&attempt={id}-a1&token=00"),
            "{}",
        )
        .await
        .unwrap();
    assert_eq!(
        reply.status, 503,
        "no playbook is configured: the door is closed"
    );
    assert_eq!(status(&rig, &id).await, "open");
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_cause_says_it_in_slack_and_who_may_not_close_reads_why() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let row = row("pl_ingest_sales", &run(1), "2200", BLOB_MISSING);
    let answer = rig.deliver("azure-monitor", &alert("f1", &[row])).await;
    let id = ids(&answer)[0].clone();
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(20))
        .await;
    let ts = rig.messages()[0].ts.clone();

    let stranger = "U0STRANGER";
    let pressed = rig.slack.press(&ts, "close_ticket", stranger).await;
    assert_eq!(pressed, Some(200));
    assert_eq!(status(&rig, &id).await, "open");
    let read = rig.slack.whispers();
    assert_eq!((read.len(), read[0].user.as_str()), (1, stranger));
    assert!(read[0].text.contains("may decide this"), "{read:?}");

    let choice = format!(r#"other_cause#{{"t":"{id}","c":"configuration"}}"#);
    let pressed = rig.slack.press(&ts, &choice, stranger).await;
    assert_eq!(pressed, Some(200));
    let cause = |ticket: &Value| ticket["correction"].clone();
    let corrected = cause(&rig.ticket(&id).await.unwrap());
    assert_eq!(corrected["category"], "configuration", "{corrected}");
    let form = rig.slack.forms()[0].id.clone();
    let line = "The folder was renamed <yesterday>";
    assert_eq!(rig.slack.send_form(&form, line).await, Some(200));
    let corrected = cause(&rig.ticket(&id).await.unwrap());
    assert_eq!(corrected["line"], line);
    assert_eq!(corrected["by"]["name"], "Some Stranger");
    // The form's answer has no channel: the thread and JIRA show what became of it.
    rig.until(
        "thread and JIRA say it",
        Duration::from_secs(20),
        async |rig| {
            let thread = rig.slack.thread(&ts);
            let comments = &rig.issues()[0].comments;
            let in_thread = thread.iter().any(|reply| reply.text.contains("renamed"));
            in_thread
                && comments
                    .iter()
                    .any(|comment| format!("{comment:?}").contains("renamed"))
        },
    )
    .await;
    rig.host.stop().await;
}
