//! The integration guide's own playbook, assembled from its steps 2 to 4 as they stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use aiops_rca::sinks::playbook::callback::{Outcome, parse};
use serde_json::{Value, json};
use simulators::data_factory::DataFactorySite;
use simulators::logic_app::{Deployment, LogicAppSettings, LogicAppSimulator, RunStatus};
use simulators::{Answer, Fault, Request, Server, Site, serve};

use super::support::fixture;

struct Door;

impl Site for Door {
    fn answer(&self, _request: &Request) -> Answer {
        Answer::json(200, &json!({}))
    }
}

/// The guide's three pieces, in the frame that the portal puts around them.
fn definition() -> Value {
    let path = format!(
        "{}/tests/fixtures/guide-playbook-steps.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let steps: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut send_callback = steps["step_4_send_callback"].clone();
    send_callback["runAfter"] = json!({"Create_Pipeline_Run": ["Succeeded"]});
    json!({
        "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"$connections": {"type": "Object", "defaultValue": {}}},
        "triggers": {"manual": steps["step_2_http_trigger"]},
        "actions": {"Create_Pipeline_Run": steps["step_3_adf_retry"], "Send_Callback": send_callback},
    })
}

async fn deploy(factory: &Server, door: &Server) -> LogicAppSimulator {
    let connection = "/subscriptions/SUB_ID/resourceGroups/RG/providers/Microsoft.Web/connections/azuredatafactory";
    let connections = json!({"azuredatafactory": {"connectionId": connection, "connectionName": "azuredatafactory"}});
    let settings = LogicAppSettings {
        deployments: vec![Deployment {
            name: "playbook-retry-adf-pipeline".into(),
            definition: definition(),
            parameters: BTreeMap::from([("$connections".into(), connections)]),
        }],
        hosts: BTreeMap::from([
            (
                "https://management.azure.com".into(),
                factory.url().parse().unwrap(),
            ),
            (
                "https://rca.example.com".into(),
                door.url().parse().unwrap(),
            ),
        ]),
        connections: BTreeMap::from([(
            "azuredatafactory".into(),
            "https://management.azure.com".into(),
        )]),
        tokens: BTreeMap::from([(
            "https://management.azure.com".into(),
            "factory-token".into(),
        )]),
        ..LogicAppSettings::default()
    };
    LogicAppSimulator::start(0, settings).await.unwrap()
}

async fn invoke(playbooks: &LogicAppSimulator) -> u16 {
    let http = aiops_rca::http::Http::new(None).unwrap();
    let url = playbooks.url("playbook-retry-adf-pipeline").unwrap();
    let mut body = fixture("logicapp-trigger-request")["body"].clone();
    body["callback_url"] = json!("https://rca.example.com/remediation-callback?token=t");
    let reply = http
        .send("it", http.request(reqwest::Method::POST, &url).json(&body))
        .await
        .unwrap();
    playbooks.settled().await;
    reply.status
}

#[tokio::test]
async fn the_guides_own_playbook_runs_unchanged() {
    let site = Arc::new(DataFactorySite::new(
        "SUB_ID",
        "RG",
        "ADF_NAME",
        "factory-token",
    ));
    site.put_pipeline("pl_ingest_sales");
    let (factory, door) = (
        serve(0, Arc::clone(&site)).await.unwrap(),
        serve(0, Arc::new(Door)).await.unwrap(),
    );
    let playbooks = deploy(&factory, &door).await;
    assert_eq!(invoke(&playbooks).await, 202);
    let created = factory.requests_to("POST", "/pipelines/pl_ingest_sales/createRun");
    assert_eq!(
        (created.len(), created[0].query("api-version")),
        (1, Some("2018-06-01"))
    );
    let callbacks = door.requests();
    let callback = parse(&callbacks[0].body).unwrap();
    // It says "succeeded" right after the start: the vendor still says the run is in progress.
    assert_eq!(callback.outcome, Outcome::Success);
    let run = site.runs().pop().unwrap();
    assert_eq!(
        (
            callback.remediation_run_id.as_deref(),
            run["status"].as_str()
        ),
        (run["runId"].as_str(), Some("InProgress"))
    );
    let mut shape = callbacks[0].json();
    shape["remediation_run_id"] =
        fixture("logicapp-callback-seed-shape")["remediation_run_id"].clone();
    assert_eq!(shape, fixture("logicapp-callback-seed-shape"));
}

#[tokio::test]
async fn when_its_start_fails_it_never_calls_back() {
    let site = Arc::new(DataFactorySite::new(
        "SUB_ID",
        "RG",
        "ADF_NAME",
        "factory-token",
    ));
    let (factory, door) = (
        serve(0, Arc::clone(&site)).await.unwrap(),
        serve(0, Arc::new(Door)).await.unwrap(),
    );
    let playbooks = deploy(&factory, &door).await;
    factory.faults.next_on(
        "POST",
        "/createRun",
        Fault::from_fixture(&fixture("adf-http-403")),
    );
    assert_eq!(invoke(&playbooks).await, 202);
    assert_eq!(
        (door.requests().len(), playbooks.runs()[0].status),
        (0, RunStatus::Failed)
    );
    assert_eq!(
        playbooks.runs()[0].action("Send_Callback").unwrap().status,
        RunStatus::Skipped
    );
}
