//! Questions about followers, on the leader's message: one click answers them, each for its own ticket.

use std::time::Duration;

use serde_json::Value;

use super::rig::{Backend, Rig, alert, ids, row, run};

const BUSY: &str = "ErrorCode=SqlDeadlock,'Type=System.Data.SqlClient.SqlException,Message=Transaction (Process ID 88) was \
    deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction.,Source=.Net SqlClient Data Provider,SqlErrorNumber=1205'";

async fn remediation(rig: &Rig, id: &str) -> String {
    let ticket = rig.ticket(id).await.unwrap_or_default();
    let state = ticket["remediation"]["state"].as_str();
    state.unwrap_or_default().to_owned()
}

async fn one_click(backend: &Backend) {
    let more = [
        ("FOLD", "repeat,cascade,storm,fan-out".to_owned()),
        ("AUTO_REMEDIATION_ENABLED", "true".to_owned()),
        ("REMEDIATION_DEFAULT", "ask".to_owned()),
        ("CALLBACK_SIGNING_KEY", "0123456789abcdef0123".to_owned()),
        // Nobody is there: what is asked here is whether an attempt is planned.
        (
            "PLAYBOOK_RETRY_PIPELINE",
            "https://localhost:9/playbook".to_owned(),
        ),
    ];
    let rig = Rig::build(backend, &more).await;
    let rows: Vec<Value> = (0..3)
        .map(|number| row("pl_sales", &run(300 + number), "1205", BUSY))
        .collect();
    let tickets = ids(&rig.deliver("azure-monitor", &alert("asked", &rows)).await);
    rig.until(
        "all are asked about",
        Duration::from_secs(60),
        async |rig: &Rig| {
            let mut asked = 0;
            for id in &tickets {
                asked += usize::from(remediation(rig, id).await == "awaiting_approval");
            }
            asked == tickets.len()
        },
    )
    .await;
    rig.until(
        "the message asks",
        Duration::from_secs(60),
        async |rig: &Rig| {
            let messages = rig.messages();
            let blocks = messages
                .first()
                .map(|message| Value::from(message.blocks.clone()));
            blocks.is_some_and(|blocks| blocks.to_string().contains("for 2 more tickets"))
        },
    )
    .await;
    assert_eq!(rig.messages().len(), 1);
    let mut leader = String::new();
    for id in &tickets {
        let ticket = rig.ticket(id).await.unwrap();
        if ticket["joined"].is_null() {
            leader.clone_from(id);
        }
    }
    let shown = rig.get(&format!("api/incidents/{leader}")).await.unwrap();
    let shown: Value = shown.json("the app").unwrap();
    let questions = shown["approval"]["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 2);
    let page = rig
        .get(&format!("dashboard?ticket={leader}"))
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&page.body).contains("Approve all"));

    let body = serde_json::json!({"by": "Jane Roe", "approval": shown["approval"]["id"], "plan": shown["approval"]["plan"]});
    let path = format!("api/incidents/{leader}/approve");
    let first = rig.post(&path, body.to_string()).await.unwrap();
    assert_eq!(first.status, 200);
    let again = rig.post(&path, body.to_string()).await.unwrap();
    assert_eq!(again.status, 409, "answered already");
    for id in tickets.iter().filter(|id| **id != leader) {
        let ticket = rig.ticket(id).await.unwrap();
        let answer = &ticket["remediation"]["approval"]["answer"];
        assert_eq!(answer["by"]["name"], "Jane Roe", "{ticket:#}");
        assert!(
            !ticket["remediation"]["attempts"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    }
    assert_eq!(remediation(&rig, &leader).await, "awaiting_approval");
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_for_all_followers_on_azurite() {
    one_click(&Backend::azurite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_for_all_followers_on_the_embedded_store() {
    one_click(&Backend::Embedded).await;
}
