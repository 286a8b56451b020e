//! Healing under the stand-in host: the real binary, the playbooks that ship, a data factory, people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::sinks::slack::interaction::APPROVE;
use serde_json::{Value, json};
use simulators::data_factory::{DataFactorySite, Ending};
use simulators::identity::IdentitySite;
use simulators::jira::Issue;
use simulators::logic_app::{Deployment, LogicAppSettings, LogicAppSimulator, PlaybookFault};
use simulators::{Server, serve};
use url::Url;

use super::super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const MANAGEMENT: &str = "https://management.azure.com";
const RETRY: &str = include_str!("../../../../infra/playbooks/retry-adf-pipeline.json");
const FAILED_RUN: &str = include_str!("../../../fixtures/vendor/adf-pipelineruns-get-failed.json");
const GUIDE_STEPS: &str = include_str!("../../../fixtures/guide-playbook-steps.json");

/// A rig with a data factory and a playbook.
struct Hospital {
    rig: Rig,
    factory: Arc<DataFactorySite>,
    playbooks: LogicAppSimulator,
    _servers: [Server; 2],
}

/// The playbook that ships, as the infrastructure deploys it.
fn shipped(base: &Url) -> (Value, BTreeMap<String, Value>) {
    let factory = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data/providers/Microsoft.DataFactory/factories/adf-prod"
    );
    let callback = format!("{base}remediation-callback?");
    let parameters = BTreeMap::from([
        ("callbackBase".to_owned(), json!(callback)),
        ("factoryId".to_owned(), json!(factory)),
    ]);
    (serde_json::from_str(RETRY).unwrap(), parameters)
}

/// The integration guide's own three pieces, with the names it says to put in.
fn of_the_guide(_: &Url) -> (Value, BTreeMap<String, Value>) {
    let text = GUIDE_STEPS
        .replace("SUB_ID", SUBSCRIPTION)
        .replace("'RG'", "'rg-data'")
        .replace("ADF_NAME", "adf-prod");
    let steps: Value = serde_json::from_str(&text).unwrap();
    let mut send_callback = steps["step_4_send_callback"].clone();
    send_callback["runAfter"] = json!({"Create_Pipeline_Run": ["Succeeded"]});
    let definition = json!({
        "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"$connections": {"type": "Object", "defaultValue": {}}},
        "triggers": {"manual": steps["step_2_http_trigger"]},
        "actions": {"Create_Pipeline_Run": steps["step_3_adf_retry"], "Send_Callback": send_callback},
    });
    let connection =
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/connections/azuredatafactory";
    let connections = json!({"azuredatafactory": {"connectionId": connection, "connectionName": "azuredatafactory"}});
    (
        definition,
        BTreeMap::from([("$connections".to_owned(), connections)]),
    )
}

fn issue(rig: &Rig, id: &str) -> Issue {
    let label = format!("rca-{id}");
    rig.issues()
        .into_iter()
        .find(|issue| issue.labels.contains(&label))
        .unwrap()
}

/// What JIRA's comments and Slack's thread tell of a ticket.
pub(super) async fn told_by(rig: &Rig, id: &str) -> (String, String) {
    let ticket = rig.ticket(id).await.unwrap();
    let thread = rig.slack.thread(ticket["slack"]["ts"].as_str().unwrap());
    let comments: Vec<String> = issue(rig, id)
        .comments
        .iter()
        .map(simulators::jira::Comment::text)
        .collect();
    (
        comments.join("\n"),
        thread
            .into_iter()
            .map(|entry| entry.text)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

impl Hospital {
    async fn build(backend: &Backend, more: &[(&str, &str)]) -> Self {
        Self::with(backend, shipped, more).await
    }

    async fn with(
        backend: &Backend,
        playbook: fn(&Url) -> (Value, BTreeMap<String, Value>),
        more: &[(&str, &str)],
    ) -> Self {
        let token = IdentitySite::token_for(MANAGEMENT);
        let factory = Arc::new(DataFactorySite::new(
            SUBSCRIPTION,
            "rg-data",
            "adf-prod",
            &token,
        ));
        let factory_server = serve(0, Arc::clone(&factory)).await.unwrap();
        let identity = serve(0, Arc::new(IdentitySite::new("identity-header")))
            .await
            .unwrap();
        let mut playbooks = None;
        let rig = Rig::build_around(backend, async |base| {
            let (definition, parameters) = playbook(base);
            let here = base.as_str().trim_end_matches('/').to_owned();
            let settings = LogicAppSettings {
                deployments: vec![Deployment {
                    name: "retry".to_owned(),
                    definition,
                    parameters,
                }],
                hosts: BTreeMap::from([
                    (MANAGEMENT.to_owned(), factory_server.url().parse().unwrap()),
                    (here, base.clone()),
                ]),
                connections: BTreeMap::from([(
                    "azuredatafactory".to_owned(),
                    MANAGEMENT.to_owned(),
                )]),
                tokens: BTreeMap::from([(MANAGEMENT.to_owned(), token)]),
                pace: Duration::from_millis(50),
                ..LogicAppSettings::default()
            };
            let simulator = LogicAppSimulator::start(0, settings).await.unwrap();
            let url = simulator.url("retry").unwrap().to_string();
            playbooks = Some(simulator);
            let settings = [
                ("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION),
                ("AZURE_RESOURCE_GROUP", "rg-data"),
                ("AZURE_DATA_FACTORY_NAME", "adf-prod"),
                ("AZURE_MANAGEMENT_URL", &factory_server.url()),
                ("IDENTITY_ENDPOINT", &format!("{}msi/token", identity.url())),
                ("IDENTITY_HEADER", "identity-header"),
                ("AUTO_REMEDIATION_ENABLED", "true"),
                ("PLAYBOOK_RETRY_PIPELINE", &url),
                ("CALLBACK_SIGNING_KEY", "rig-callback-signing-key"),
                ("REMEDIATION_DELAYS", "1"),
                ("REMEDIATION_ASSETS", "pl_ask*=ask"),
            ];
            let settings = settings.iter().chain(more);
            settings
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        })
        .await;
        Self {
            rig,
            factory,
            playbooks: playbooks.unwrap(),
            _servers: [factory_server, identity],
        }
    }

    /// A run of this pipeline fails with a gateway timeout; the id of its ticket.
    async fn fails(&self, pipeline: &str, number: u32) -> String {
        let mut failed: Value = serde_json::from_str(FAILED_RUN).unwrap();
        (failed["runId"], failed["runGroupId"]) = (json!(run(number)), json!(run(number)));
        failed["pipelineName"] = json!(pipeline);
        failed["message"] = json!("Operation on target Copy_Data failed: GatewayTimeout");
        self.factory.put_run(failed);
        self.reported(pipeline, &run(number)).await
    }

    async fn reported(&self, pipeline: &str, run: &str) -> String {
        let rows = [row(
            pipeline,
            run,
            "GatewayTimeout",
            "The gateway did not answer in time.",
        )];
        ids(&self
            .rig
            .deliver("azure-monitor", &alert(&format!("alert-{run}"), &rows))
            .await)[0]
            .clone()
    }

    /// The next runs of the pipeline that are started here end so.
    fn script(&self, pipeline: &str, endings: &[bool]) {
        for good in endings {
            let fails = Ending::Fails {
                activity: "Copy_Data".to_owned(),
                message: "ErrorCode=GatewayTimeout".to_owned(),
            };
            self.factory
                .script(pipeline, 1, if *good { Ending::Succeeds } else { fails });
        }
    }

    /// How often runs of the pipeline were started by a playbook.
    fn started(&self, pipeline: &str) -> usize {
        let of_it =
            |run: &&Value| run["pipelineName"] == pipeline && run["invokedBy"]["name"] == "Manual";
        self.factory.runs().iter().filter(of_it).count()
    }

    async fn state(&self, id: &str) -> String {
        let ticket = self.rig.ticket(id).await.unwrap_or_default();
        ticket["remediation"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    async fn until_state(&self, id: &str, state: &str, within: u64) {
        let what = format!("remediation of {id} is {state}");
        self.rig
            .until(&what, Duration::from_secs(within), async |_: &Rig| {
                self.state(id).await == state
            })
            .await;
    }

    fn issue(&self, id: &str) -> Issue {
        issue(&self.rig, id)
    }

    async fn assert_told(&self, id: &str, words: &[&str]) {
        self.rig
            .until_shown(&[id.to_owned()], Duration::from_secs(30))
            .await;
        let (comments, thread) = told_by(&self.rig, id).await;
        for word in words {
            assert!(
                comments.contains(word),
                "JIRA does not tell `{word}`:\n{comments}"
            );
            assert!(
                thread.contains(word),
                "Slack does not tell `{word}`:\n{thread}"
            );
        }
    }

    /// Closed everywhere, by the remediation.
    async fn assert_closed(&self, id: &str) {
        self.assert_told(
            id,
            &[
                "Remediation started",
                "Remediation succeeded with attempt",
                "recovered after",
            ],
        )
        .await;
        let ticket = self.rig.ticket(id).await.unwrap();
        assert_eq!(
            (&ticket["status"], &ticket["status_by"]["name"]),
            (&json!("acknowledged"), &json!("auto-remediation"))
        );
        assert_eq!(self.issue(id).status, "Done");
        let messages = self.rig.messages();
        let message = messages
            .iter()
            .find(|message| json!(message.ts) == ticket["slack"]["ts"])
            .unwrap();
        assert!(
            json!(message.blocks).to_string().contains("CLOSED"),
            "{:?}",
            message.blocks
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_healed_verified_and_closed_everywhere_on_azurite() {
    let hospital = Hospital::build(&Backend::azurite(), &[]).await;
    hospital.script("pl_sales", &[false, false, true]);
    hospital.script("pl_lost", &[false, false, false]);
    let once = hospital.fails("pl_once", 1).await;
    let thrice = hospital.fails("pl_sales", 2).await;
    let lost = hospital.fails("pl_lost", 3).await;
    hospital.until_state(&once, "succeeded", 40).await;
    hospital.assert_closed(&once).await;
    assert_eq!(hospital.started("pl_once"), 1);

    hospital.until_state(&thrice, "succeeded", 60).await;
    hospital.assert_closed(&thrice).await;
    assert_eq!(hospital.started("pl_sales"), 3);
    hospital
        .assert_told(
            &thrice,
            &[
                "Attempt 1 of 3 failed",
                "Attempt 2 of 3 failed",
                "succeeded with attempt 3",
            ],
        )
        .await;

    hospital.until_state(&lost, "exhausted", 60).await;
    assert_eq!(hospital.started("pl_lost"), 3);
    hospital
        .assert_told(
            &lost,
            &["Attempt 3 of 3 failed", "A person has to take over"],
        )
        .await;
    assert_eq!(hospital.rig.ticket(&lost).await.unwrap()["status"], "open");

    // The remediation's own failed run is reported: it belongs to its ticket.
    let own = hospital.rig.ticket(&lost).await.unwrap()["remediation"]["attempts"][1]["run_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(hospital.reported("pl_lost", &own).await, lost);
    assert_eq!(hospital.rig.issues().len(), 3);
    hospital.rig.assert_wire_laws();
    hospital.rig.host.stop().await;
}

async fn ask_dashboard(rig: &Rig, id: &str, action: &str, plan: Option<&str>) -> u16 {
    let question = rig.ticket(id).await.unwrap()["remediation"]["approval"].clone();
    let plan = plan.map_or_else(|| question["plan"].clone(), |plan| json!(plan));
    let body = json!({"approval": question["id"], "plan": plan}).to_string();
    rig.post(&format!("api/tickets/{id}/{action}"), body)
        .await
        .unwrap()
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn people_decide_where_they_are_asked_and_nobody_else() {
    let hospital = Hospital::build(
        &Backend::Embedded,
        &[("REMEDIATION_APPROVAL_MINUTES", "0.2")],
    )
    .await;
    let rig = &hospital.rig;
    let (slack, dashboard) = (
        hospital.fails("pl_ask_slack", 1).await,
        hospital.fails("pl_ask_dashboard", 2).await,
    );
    let rejected = hospital.fails("pl_ask_no", 3).await;
    for id in [&slack, &dashboard, &rejected] {
        hospital.until_state(id, "awaiting_approval", 20).await;
    }
    // Forged: a plan nobody was shown, and somebody who may not decide.
    assert_eq!(
        ask_dashboard(rig, &dashboard, "approve", Some("0123456789abcdef")).await,
        409
    );
    assert_eq!(ask_dashboard(rig, &dashboard, "approve", None).await, 200);
    assert_eq!(
        ask_dashboard(rig, &dashboard, "reject", None).await,
        409,
        "an answer counts once"
    );
    assert_eq!(ask_dashboard(rig, &rejected, "reject", None).await, 200);
    rig.until(
        "the buttons are there",
        Duration::from_secs(10),
        async |rig: &Rig| !rig.ticket(&slack).await.unwrap()["slack"]["ts"].is_null(),
    )
    .await;
    let ts = rig.ticket(&slack).await.unwrap()["slack"]["ts"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(rig.slack.press(&ts, APPROVE, "U0STRANGER").await, Some(200));
    assert_eq!(hospital.state(&slack).await, "awaiting_approval");
    assert_eq!(rig.slack.press(&ts, APPROVE, "U0JOHNDOE").await, Some(200));
    hospital.until_state(&slack, "succeeded", 30).await;
    hospital.until_state(&dashboard, "succeeded", 30).await;
    hospital.assert_closed(&slack).await;
    hospital
        .assert_told(
            &slack,
            &["Approval asked", "John Doe approved the remediation"],
        )
        .await;
    hospital
        .assert_told(
            &rejected,
            &["rejected the remediation: nothing will be done automatically"],
        )
        .await;

    // Nobody answers in time.
    let expired = hospital.fails("pl_ask_late", 4).await;
    hospital
        .until_state(&expired, "awaiting_approval", 20)
        .await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    rig.sweep().await;
    hospital.until_state(&expired, "rejected", 20).await;
    hospital
        .assert_told(&expired, &["Nobody approved in time"])
        .await;
    assert_eq!(ask_dashboard(rig, &expired, "approve", None).await, 409);
    let started = [
        "pl_ask_slack",
        "pl_ask_dashboard",
        "pl_ask_no",
        "pl_ask_late",
    ]
    .map(|pipeline| hospital.started(pipeline));
    assert_eq!(started, [1, 1, 0, 0]);
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_doubled_late_and_forged_callbacks_start_nothing_twice() {
    let hospital = Hospital::build(
        &Backend::Embedded,
        &[("REMEDIATION_DEADLINE_MINUTES", "0.15")],
    )
    .await;
    let rig = &hospital.rig;
    // 504 after starting, and neither callback arrives: the vendor tells what happened.
    hospital.playbooks.next_run(PlaybookFault::GatewayTimeout);
    hospital.playbooks.next_run(PlaybookFault::CallbackLost);
    hospital.playbooks.next_run(PlaybookFault::CallbackLost);
    let unknown = hospital.fails("pl_unknown", 1).await;
    hospital.until_state(&unknown, "succeeded", 60).await;
    // The vendor may have told of the success before the playbook looked again.
    hospital.playbooks.settled().await;
    assert!(hospital.playbooks.is_drained());
    assert_eq!(hospital.started("pl_unknown"), 1);

    // Accepted, and then silence: the watchdog asks.
    hospital.playbooks.next_run(PlaybookFault::CallbackLost);
    hospital.playbooks.next_run(PlaybookFault::CallbackLost);
    let silent = hospital.fails("pl_silent", 2).await;
    hospital.until_state(&silent, "running", 20).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    rig.sweep().await;
    hospital.until_state(&silent, "succeeded", 40).await;
    hospital.playbooks.settled().await;
    assert!(hospital.playbooks.is_drained());
    assert_eq!(hospital.started("pl_silent"), 1);

    hospital.playbooks.next_run(PlaybookFault::CallbackTwice);
    let twice = hospital.fails("pl_twice", 3).await;
    hospital.until_state(&twice, "succeeded", 40).await;
    hospital.assert_closed(&twice).await;
    assert_eq!(hospital.started("pl_twice"), 1);

    let attempt = format!("{twice}-a1");
    let body = json!({"ticket_id": twice, "status": "failed"}).to_string();
    for token in ["", "00", &"ab".repeat(32)] {
        let door = format!("remediation-callback?ticket={twice}&attempt={attempt}&token={token}");
        assert_eq!(
            rig.post(&door, body.clone()).await.unwrap().status,
            401,
            "{token}"
        );
    }
    assert_eq!(hospital.state(&twice).await, "succeeded");
    rig.assert_wire_laws();
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_own_playbook_heals_unchanged() {
    let hospital = Hospital::with(&Backend::Embedded, of_the_guide, &[]).await;
    hospital.factory.script("pl_guide", 0, Ending::Succeeds);
    let id = hospital.fails("pl_guide", 1).await;
    hospital.until_state(&id, "succeeded", 60).await;
    hospital.assert_closed(&id).await;
    assert_eq!(hospital.started("pl_guide"), 1);
    hospital.rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_or_not_remediable_nothing_is_ever_called() {
    let off = Hospital::build(&Backend::Embedded, &[("AUTO_REMEDIATION_ENABLED", "false")]).await;
    let on = Hospital::build(&Backend::Embedded, &[]).await;
    let id = off.fails("pl_off", 1).await;
    let rows = [row("pl_blob", &run(2), "2200", BLOB_MISSING)];
    let blob = ids(&on.rig.deliver("azure-monitor", &alert("blob", &rows)).await)[0].clone();
    off.rig.until_shown(&[id], Duration::from_secs(20)).await;
    on.rig.until_shown(&[blob], Duration::from_secs(20)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for hospital in [&off, &on] {
        hospital.rig.sweep().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(hospital.playbooks.runs().len(), 0);
        hospital.rig.host.stop().await;
    }
}

/// SIGKILL again and again, while ten failures are healed.
#[tokio::test(flavor = "multi_thread")]
async fn kills_between_any_two_steps_never_start_a_run_twice() {
    let hospital =
        Hospital::build(&Backend::Embedded, &[("REMEDIATION_DEADLINE_MINUTES", "1")]).await;
    let mut dice = fastrand::Rng::with_seed(5);
    let pipelines: Vec<String> = (0..10).map(|n| format!("pl_{n}")).collect();
    let mut tickets = Vec::new();
    for (number, pipeline) in (1..).zip(&pipelines) {
        tickets.push(hospital.fails(pipeline, number).await);
    }
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(dice.u64(50..900))).await;
        hospital.rig.host.kill_child();
        assert!(hospital.rig.host.ready(Duration::from_secs(20)).await);
    }
    for id in &tickets {
        let what = format!("{id} is settled");
        hospital
            .rig
            .until(&what, Duration::from_secs(150), async |_: &Rig| {
                matches!(hospital.state(id).await.as_str(), "succeeded" | "exhausted")
            })
            .await;
    }
    for (pipeline, id) in pipelines.iter().zip(&tickets) {
        let attempts = hospital.rig.ticket(id).await.unwrap()["remediation"]["attempts"]
            .as_array()
            .unwrap()
            .len();
        assert!(
            hospital.started(pipeline) <= attempts,
            "{pipeline}: more runs than attempts"
        );
    }
    hospital.rig.host.stop().await;
}
