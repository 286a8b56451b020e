//! Failures that are expected: recorded and counted, told in one piece when the silence is over.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};

async fn answer(rig: &Rig, path: &str, body: Value) -> (u16, Value) {
    let reply = rig.post(path, body.to_string()).await.unwrap();
    let status = reply.status;
    (status, reply.json("the app").unwrap_or_default())
}

async fn list(rig: &Rig, path: &str) -> Value {
    rig.get(path).await.unwrap().json("the app").unwrap()
}

async fn opened(rig: &Rig, id: &str) -> Value {
    rig.until(
        "it is analysed",
        Duration::from_secs(30),
        async |rig: &Rig| {
            let ticket = rig.ticket(id).await.unwrap_or_default();
            ticket["status"] == "open"
        },
    )
    .await;
    rig.ticket(id).await.unwrap()
}

/// A storm under a silence, another failure beside it, and what becomes of both.
async fn a_planned_outage(backend: &Backend) {
    // Folding is on: the silent failures would be a storm.
    let fold = ("FOLD", "repeat,cascade,storm,fan-out".to_owned());
    let rig = Rig::build(backend, &[fold]).await;
    let asked = json!({"asset": "pl_move_*", "minutes": 60, "why": "the warehouse moves", "by": "Jane Roe"});
    let (status, silence) = answer(&rig, "api/silences", asked).await;
    assert_eq!((status, silence["state"].as_str()), (201, Some("active")));
    // What an analysis of this very moment knows may be older.
    let rows: Vec<Value> = (0..6)
        .map(|number| {
            let asset = format!("pl_move_{}", number % 3);
            row(&asset, &run(100 + number), "2200", BLOB_MISSING)
        })
        .collect();
    let silent = ids(&rig.deliver("azure-monitor", &alert("silent", &rows)).await);
    let loud = [row("pl_other", &run(200), "2200", BLOB_MISSING)];
    let loud = ids(&rig.deliver("azure-monitor", &alert("loud", &loud)).await);
    rig.until_shown(&loud, Duration::from_secs(40)).await;
    for id in &silent {
        let ticket = opened(&rig, id).await;
        assert_eq!(ticket["silenced"]["id"], silence["id"], "{ticket:#}");
        assert!(ticket["jira"]["key"].is_null() && ticket["joined"].is_null());
        let decision = ticket["remediation"]["decision"].as_str().unwrap();
        assert!(decision.contains("the warehouse moves"), "{decision}");
    }
    rig.sweep().await;
    assert_eq!((rig.issues().len(), rig.messages().len()), (1, 1));
    let listed = list(&rig, "api/silences").await;
    assert_eq!(listed["silences"][0]["failures"], 6);
    let page = rig.get("dashboard/silences").await.unwrap();
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains("the warehouse moves") && page.contains("End now"));

    // Ended early, in one call; later failures are announced again.
    let id = silence["id"].as_str().unwrap();
    let (status, ended) = answer(&rig, &format!("api/silences/{id}/end?by=John"), json!({})).await;
    assert_eq!((status, ended["ended_by"].as_str()), (200, Some("John")));
    let (status, _) = answer(&rig, &format!("api/silences/{id}/end"), json!({})).await;
    assert_eq!(status, 404, "it is over");
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_outage_is_silent_on_azurite() {
    a_planned_outage(&Backend::azurite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_outage_is_silent_on_the_embedded_store() {
    a_planned_outage(&Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_decide_silences_from_slack_and_ends_it() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let rows = [row("pl_sales", &run(1), "2200", BLOB_MISSING)];
    let first = ids(&rig.deliver("azure-monitor", &alert("a1", &rows)).await);
    rig.until_shown(&first, Duration::from_secs(40)).await;
    let ts = rig.messages()[0].ts.clone();
    rig.slack.press(&ts, "silence_240", "U0STRANGER").await;
    let none = list(&rig, "api/silences").await;
    assert_eq!(none["silences"], json!([]));
    rig.slack.press(&ts, "silence_240", "U0JOHNDOE").await;
    let set = list(&rig, "api/silences").await;
    assert_eq!(set["silences"][0]["by"], "John Doe");
    let shows = |word: &'static str| {
        async move |rig: &Rig| {
            let blocks = Value::from(rig.messages()[0].blocks.clone()).to_string();
            blocks.contains(word)
        }
    };
    rig.until(
        "the message says so",
        Duration::from_secs(20),
        shows("silenced by John Doe"),
    )
    .await;
    let rows = [row("pl_sales", &run(2), "2200", BLOB_MISSING)];
    let second = ids(&rig.deliver("azure-monitor", &alert("a2", &rows)).await);
    let ticket = opened(&rig, &second[0]).await;
    assert_eq!(ticket["silenced"]["by"], "John Doe");
    // Another cause on the same asset is no part of it.
    let rows = [row(
        "pl_sales",
        &run(3),
        "2100",
        "Operation timed out after 10 minutes",
    )];
    let third = ids(&rig.deliver("azure-monitor", &alert("a3", &rows)).await);
    rig.until_shown(&third, Duration::from_secs(40)).await;
    rig.slack.press(&ts, "end_silence", "U0JOHNDOE").await;
    rig.until(
        "the button is gone",
        Duration::from_secs(20),
        shows("silence_240"),
    )
    .await;
    let ended = list(&rig, "api/silences").await;
    assert_eq!(ended["silences"][0]["state"], "ended");
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_silenced_is_said() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let past = (Utc::now() - TimeDelta::hours(1)).to_rfc3339();
    for (asked, field) in [
        (json!({"asset": "", "minutes": 5, "why": "x"}), "asset"),
        (json!({"asset": "a[", "minutes": 5, "why": "x"}), "asset"),
        (json!({"asset": "pl_*", "minutes": 5, "why": " "}), "why"),
        (json!({"asset": "pl_*", "why": "x"}), "until"),
        (json!({"asset": "pl_*", "until": past, "why": "x"}), "until"),
        (
            json!({"asset": "pl_*", "until": "tomorrow", "why": "x"}),
            "until",
        ),
        (
            json!({"asset": "pl_*", "minutes": 200_000, "why": "x"}),
            "until",
        ),
        (
            json!({"asset": "pl_*", "minutes": 5, "from": "soon", "why": "x"}),
            "from",
        ),
    ] {
        let (status, said) = answer(&rig, "api/silences", asked.clone()).await;
        assert_eq!(
            (status, said["error"]["path"].as_str()),
            (400, Some(field)),
            "{asked}"
        );
    }
    let (status, _) = answer(&rig, "api/silences", json!({"assets": "pl_*"})).await;
    assert_eq!(status, 400);
    let planned = (Utc::now() + TimeDelta::hours(5))
        .format("%Y-%m-%d %H:%M")
        .to_string();
    let asked = json!({"asset": "pl_*", "from": planned, "minutes": 30, "why": "planned"});
    let (status, silence) = answer(&rig, "api/silences", asked).await;
    assert_eq!((status, silence["state"].as_str()), (201, Some("planned")));
    rig.host.stop().await;
}
