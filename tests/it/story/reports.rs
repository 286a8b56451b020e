//! One failure through all its doors is one ticket; a huge alert is split, and its accepting survives kill -9.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulators::data_factory::DataFactorySite;
use simulators::identity::IdentitySite;
use simulators::serve;

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row};

const RUN: &str = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";

fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/vendor/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_failure_through_all_its_doors_is_one_ticket() {
    let management = "https://management.azure.com";
    let site = DataFactorySite::new(
        "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e",
        "rg-data",
        "adf-prod",
        &IdentitySite::token_for(management),
    );
    site.put_run(fixture("adf-pipelineruns-get-failed"));
    let activities = fixture("adf-queryactivityruns-failed-copy");
    site.put_activities(RUN, activities["value"].as_array().unwrap());
    let factory = serve(0, Arc::new(site)).await.unwrap();
    let identity = serve(0, Arc::new(IdentitySite::new("rig-header")))
        .await
        .unwrap();
    let more = [
        (
            "AZURE_SUBSCRIPTION_ID",
            "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e".to_owned(),
        ),
        ("AZURE_RESOURCE_GROUP", "rg-data".to_owned()),
        ("AZURE_DATA_FACTORY_NAME", "adf-prod".to_owned()),
        ("AZURE_MANAGEMENT_URL", factory.url()),
        (
            "IDENTITY_ENDPOINT",
            format!("{}/msi/token", identity.url().trim_end_matches('/')),
        ),
        ("IDENTITY_HEADER", "rig-header".to_owned()),
    ];
    let rig = Rig::build(&Backend::Embedded, &more).await;

    // The metric alert names no run: the factory is asked.
    let metric = rig
        .deliver(
            "azure-monitor",
            &fixture("azmon-metric-adf-pipelinefailedruns-fired"),
        )
        .await;
    assert_eq!(metric["status"], "pending");
    rig.until(
        "the metric alert's run is in JIRA",
        Duration::from_secs(20),
        async |rig: &Rig| rig.issues().len() == 1,
    )
    .await;
    // By dimensions, by rows, three times by overlapping windows, late, and resolved.
    let dimensions = rig
        .deliver(
            "azure-monitor",
            &fixture("azmon-logv2-adf-fired-dimensions"),
        )
        .await;
    assert_eq!(dimensions["status"], "duplicate");
    for window in 0..3 {
        let rows = [row("pl_ingest_sales", RUN, "2200", BLOB_MISSING)];
        let answer = rig
            .deliver("azure-monitor", &alert(&format!("w{window}"), &rows))
            .await;
        assert_eq!(answer["status"], "duplicate");
        assert_eq!(answer["ticket_id"], dimensions["ticket_id"]);
    }
    let resolved = rig
        .deliver("azure-monitor", &fixture("azmon-logv2-adf-resolved"))
        .await;
    assert_eq!(resolved["status"], "ignored");
    rig.until_shown(&ids(&dimensions), Duration::from_secs(20))
        .await;
    assert_eq!((rig.issues().len(), rig.messages().len()), (1, 1));
    let ticket = rig
        .ticket(dimensions["ticket_id"].as_str().unwrap())
        .await
        .unwrap();
    assert_eq!(ticket["failure"]["run_id"], RUN);
    assert_eq!(ticket["count"], 5);
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_with_500_rows_is_split_within_seconds_and_survives_a_kill() {
    let off = [
        ("ITSM_TOOL", "none".to_owned()),
        ("SLACK_BOT_TOKEN", String::new()),
        ("SLACK_ALERT_CHANNEL", String::new()),
    ];
    let rig = Rig::build(&Backend::Embedded, &off).await;
    let rows: Vec<Value> = (0..500_u32)
        .map(|n| {
            row(
                &format!("pl_{}", n % 40),
                &format!("aaaaaaaa-0000-4000-8000-{n:012}"),
                "2200",
                BLOB_MISSING,
            )
        })
        .collect();
    let body = alert("big", &rows);
    let size = body.to_string().len();
    assert!(
        (150_000..400_000).contains(&size),
        "about as large as an alert can be: {size}"
    );
    // The first try is killed half way; the sender's second try finds what was accepted and adds the rest.
    let kill = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        rig.host.kill_child();
    };
    let (_lost, ()) = tokio::join!(rig.post("azure-monitor", body.to_string()), kill);
    assert!(rig.host.ready(Duration::from_secs(20)).await);
    let began = Instant::now();
    let answer = rig.deliver("azure-monitor", &body).await;
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "inside one function's time"
    );
    let ids = ids(&answer);
    assert_eq!(ids.len(), 500);
    assert_eq!(
        ids.iter().collect::<std::collections::BTreeSet<_>>().len(),
        500
    );
    rig.until(
        "every row is a ticket",
        Duration::from_secs(100),
        async |rig: &Rig| {
            let reply = rig.get("api/tickets").await.unwrap();
            let list: Value = reply.json("the app").unwrap();
            list["tickets"].as_array().unwrap().len() == 500
        },
    )
    .await;
    rig.host.stop().await;
}
