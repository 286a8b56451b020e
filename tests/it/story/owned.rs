//! Failures of assets with owners: where they are told, whom they mention, and what nobody owns.

use std::time::Duration;

use serde_json::Value;

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};

const RULES: &str = "pl_finance_*=team-finance; pl_lost_*=team-lost";
const ROUTES: &str = "team-finance: slack=#general, mention=S0FINANCE U0JOHNDOE, component=Finance, labels=finance payroll, \
    assignee=5b10ac8d82e05b22cc7d4ef5; team-lost: slack=#not-there, component=Nowhere";

async fn owned_failures(backend: &Backend) {
    let more = [
        ("OWNERS", RULES.to_owned()),
        ("OWNER_ROUTES", ROUTES.to_owned()),
        (
            "CRITICALITY",
            "pl_finance_payroll=critical; dev_*=low".to_owned(),
        ),
    ];
    let rig = Rig::build(backend, &more).await;
    let assets = ["pl_finance_payroll", "pl_lost_x", "dev_y"];
    let rows: Vec<Value> = (1..)
        .zip(assets)
        .map(|(number, asset)| row(asset, &run(number), "2200", BLOB_MISSING))
        .collect();
    let answer = rig.deliver("azure-monitor", &alert("owned", &rows)).await;
    let tickets = ids(&answer);
    rig.until_shown(&tickets, Duration::from_secs(40)).await;

    let issues = rig.issues();
    let issue = |asset: &str| {
        let about = issues.iter().find(|issue| issue.summary.contains(asset));
        about.unwrap().clone()
    };
    let messages = rig.messages();
    let message = |asset: &str| {
        let about = messages.iter().find(|message| message.text.contains(asset));
        about.unwrap().clone()
    };

    let (finance, told) = (issue("pl_finance_payroll"), message("pl_finance_payroll"));
    assert_eq!(finance.components, ["Finance"]);
    assert_eq!(
        finance.assignee.as_deref(),
        Some("5b10ac8d82e05b22cc7d4ef5")
    );
    assert!(finance.labels.iter().any(|label| label == "payroll"));
    assert_eq!(finance.priority.as_deref(), Some("Highest"));
    let described = finance.description_text();
    assert!(described.contains("Owner: team-finance"), "{described}");
    assert!(
        described.contains("pl_finance_payroll=critical"),
        "{described}"
    );
    assert_eq!(told.channel, "C0GENERAL01");
    let blocks = Value::from(told.blocks).to_string();
    assert!(
        blocks.contains("<!subteam^S0FINANCE> <@U0JOHNDOE>"),
        "{blocks}"
    );
    assert!(blocks.contains("Severity Critical by the rule"), "{blocks}");

    // A wrong route costs neither issue nor message.
    let (lost, told) = (issue("pl_lost_x"), message("pl_lost_x"));
    assert!(lost.components.is_empty());
    assert!(lost.description_text().contains("components"));
    assert_eq!(told.channel, "C01234567AB");
    assert!(rig.log().contains("OWNER_ROUTES"));

    let dev = issue("dev_y");
    assert_eq!((dev.priority.as_deref(), dev.assignee), (Some("Low"), None));

    let owners = rig.get("api/owners").await.unwrap();
    let owners: Value = owners.json("the app").unwrap();
    assert_eq!(owners["owners"][0]["owner"], "team-finance");
    assert_eq!(owners["nobody"]["assets"][0]["asset"], "dev_y");
    for (owner, count) in [("TEAM-finance", 1), ("nobody", 1), ("team-x", 0)] {
        let path = format!("api/tickets?owner={owner}");
        let list: Value = rig.get(&path).await.unwrap().json("the app").unwrap();
        assert_eq!(list["tickets"].as_array().unwrap().len(), count, "{owner}");
    }
    let csv = rig.get("api/tickets.csv").await.unwrap();
    let csv = String::from_utf8_lossy(&csv.body).into_owned();
    assert!(csv.contains(",team-finance"), "{csv}");
    let page = rig.get("dashboard/owners").await.unwrap();
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains("Nobody owns these") && page.contains("dev_y"));
    let page = rig
        .get(&format!("dashboard?ticket={}", tickets[0]))
        .await
        .unwrap();
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains("team-finance") && page.contains("the error alone would be"));
    rig.assert_wire_laws();
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_read_of_their_failures_on_azurite() {
    owned_failures(&Backend::azurite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_read_of_their_failures_on_the_embedded_store() {
    owned_failures(&Backend::Embedded).await;
}
