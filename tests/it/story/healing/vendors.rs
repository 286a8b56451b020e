//! Databricks and Airflow healed under the stand-in host, from the report to the close, by the playbooks that ship.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::databricks::{DatabricksSite, Ending};
use simulators::logic_app::{Deployment, LogicAppSettings, LogicAppSimulator, SHIPPED};
use simulators::{Answer, Request, Server, Site, serve};
use url::Url;

use super::super::rig::{Backend, Rig, alert_of, ids};

const WORKSPACE: &str = "https://adb-1.12.azuredatabricks.net";
const AIRFLOW: &str = "https://airflow.example.com";
const CLUSTER: &str = "0727-091233-ab12cd34";
const JOB: &str = "516892700102118";
const JOB_RUN: i64 = 998_877_665_544_332;
const DAG_RUN: &str = "scheduled__2026-07-27T00:00:00+00:00";

fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/vendor/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The vault that holds Airflow's password.
struct Vault;

impl Site for Vault {
    fn answer(&self, request: &Request) -> Answer {
        let known = request.path == "/secrets/AIRFLOW-PASSWORD"
            && request.is_authorized_by("Bearer vault-token");
        let secret = json!({"value": "airflow-pass", "id": "https://rca-vault.vault.azure.net/secrets/AIRFLOW-PASSWORD/1"});
        if known {
            Answer::json(200, &secret)
        } else {
            Answer::json(403, &json!({"error": {"code": "Forbidden"}}))
        }
    }
}

/// A rig with a workspace and an Airflow, and the playbooks for them.
struct Platform {
    rig: Rig,
    databricks: Arc<DatabricksSite>,
    airflow: Arc<AirflowSite>,
    playbooks: LogicAppSimulator,
    databricks_server: Server,
    _servers: [Server; 2],
}

impl Platform {
    async fn build() -> Self {
        let databricks = Arc::new(DatabricksSite::new("databricks-token"));
        let airflow = Arc::new(AirflowSite::new(Api::V2, "rca", "airflow-pass"));
        let databricks_server = serve(0, Arc::clone(&databricks)).await.unwrap();
        let airflow_server = serve(0, Arc::clone(&airflow)).await.unwrap();
        let vault = serve(0, Arc::new(Vault)).await.unwrap();
        let mut playbooks = None;
        let rig = Rig::build_around(&Backend::Embedded, async |base| {
            let servers = [
                (WORKSPACE, &databricks_server),
                (AIRFLOW, &airflow_server),
                ("https://rca-vault.vault.azure.net", &vault),
            ];
            let mut hosts: BTreeMap<String, Url> = servers
                .into_iter()
                .map(|(host, server)| (host.to_owned(), server.url().parse().unwrap()))
                .collect();
            hosts.insert(base.as_str().trim_end_matches('/').to_owned(), base.clone());
            let simulator = LogicAppSimulator::start(0, deployed(base, hosts))
                .await
                .unwrap();
            let url = |name: &str| simulator.url(name).unwrap().to_string();
            let settings = [
                ("DATABRICKS_WORKSPACE_URL", databricks_server.url()),
                ("DATABRICKS_TOKEN", "databricks-token".to_owned()),
                ("AIRFLOW_BASE_URL", airflow_server.url()),
                ("AIRFLOW_USERNAME", "rca".to_owned()),
                ("AIRFLOW_PASSWORD", "airflow-pass".to_owned()),
                ("AUTO_REMEDIATION_ENABLED", "true".to_owned()),
                ("PLAYBOOK_RESTART_CLUSTER", url("restart-cluster")),
                ("PLAYBOOK_RETRY_JOB", url("retry-databricks-job")),
                ("PLAYBOOK_RETRY_AIRFLOW_TASK", url("retry-airflow-task")),
                (
                    "CALLBACK_SIGNING_KEY",
                    "rig-callback-signing-key".to_owned(),
                ),
                ("REMEDIATION_DELAYS", "1".to_owned()),
                (
                    "REMEDIATION_NODE_TYPES",
                    "Standard_D4*=Standard_D8ds_v5".to_owned(),
                ),
            ];
            playbooks = Some(simulator);
            settings
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        })
        .await;
        let playbooks = playbooks.unwrap();
        Self {
            rig,
            databricks,
            airflow,
            playbooks,
            databricks_server,
            _servers: [airflow_server, vault],
        }
    }

    /// The ticket once its remediation has come to this state.
    async fn until(&self, id: &str, state: &str) -> Value {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let ticket = self.rig.ticket(id).await.unwrap_or_default();
            if ticket["remediation"]["state"] == state {
                return ticket;
            }
            assert!(
                Instant::now() < give_up,
                "{id} is not {state}: {:#}\n{}",
                ticket["remediation"],
                told(&ticket)
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn until_healed(&self, id: &str) -> Value {
        assert_eq!(self.until(id, "succeeded").await["status"], "acknowledged");
        self.rig
            .until_shown(&[id.to_owned()], Duration::from_secs(30))
            .await;
        assert_eq!(
            self.playbooks.strangers(),
            Vec::<String>::new(),
            "a playbook talked to a stranger"
        );
        self.rig.ticket(id).await.unwrap()
    }
}

/// The playbooks as the infrastructure deploys them.
fn deployed(base: &Url, mut hosts: BTreeMap<String, Url>) -> LogicAppSettings {
    // The program's settings name the same addresses: a playbook refuses requests for another place.
    let mut address = |host: &str| {
        let server = hosts[host].clone();
        let address = server.as_str().trim_end_matches('/').to_owned();
        hosts.insert(address.clone(), server);
        address
    };
    let (workspace, airflow) = (address(WORKSPACE), address(AIRFLOW));
    let all = [
        (
            "callbackBase",
            json!(format!("{base}remediation-callback?")),
        ),
        ("databricksHost", json!(workspace)),
        ("allowedNodeTypes", json!(["Standard_D8ds_v5"])),
        ("airflowHost", json!(airflow)),
        ("airflowApi", json!("v2")),
        ("airflowUser", json!("rca")),
        ("keyVaultHost", json!("https://rca-vault.vault.azure.net")),
        ("airflowSecretName", json!("AIRFLOW-PASSWORD")),
    ];
    let names = [
        "restart-cluster",
        "retry-databricks-job",
        "retry-airflow-task",
    ];
    let deployments = SHIPPED
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(name, text)| {
            let definition: Value = serde_json::from_str(text).unwrap();
            let declared = definition["parameters"].as_object().unwrap();
            let given = all.iter().filter(|(name, _)| declared.contains_key(*name));
            let parameters = given
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            Deployment {
                name: name.to_owned(),
                parameters,
                definition,
            }
        });
    let tokens = [
        ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "databricks-token"),
        ("https://vault.azure.net", "vault-token"),
    ];
    LogicAppSettings {
        deployments: deployments.collect(),
        hosts,
        tokens: tokens
            .into_iter()
            .map(|(audience, token)| (audience.to_owned(), token.to_owned()))
            .collect(),
        pace: Duration::from_millis(50),
        ..LogicAppSettings::default()
    }
}

fn told(ticket: &Value) -> String {
    let story = ticket["story"].as_array().cloned().unwrap_or_default();
    story
        .iter()
        .map(|chapter| chapter["text"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_a_job_and_a_task_are_healed_verified_and_closed() {
    let platform = Platform::build().await;

    // Machines of its size cannot be had: the cluster comes up with the size that may stand in.
    platform
        .databricks
        .put_cluster(fixture("dbx-clusters-get-stockout"));
    let row = json!([
        "2026-07-27T09:13:22Z",
        CLUSTER,
        "etl-shared",
        "Terminated",
        "CLOUD_PROVIDER_RESOURCE_STOCKOUT"
    ]);
    let columns = [
        "TimeGenerated",
        "clusterId",
        "clusterName",
        "clusterState",
        "termination",
    ];
    let alert = alert_of(
        "databricks-cluster-failure",
        "alert-cluster",
        &columns,
        &[row],
    );
    let cluster = ids(&platform.rig.deliver("azure-monitor", &alert).await)[0].clone();

    // A job whose own cluster could not be had: its run is repaired.
    platform
        .databricks
        .put_job(JOB.parse().unwrap(), "nightly ETL");
    let webhook = json!({"event_type": "jobs.on_failure", "workspace_id": "1", "run": {"run_id": JOB_RUN.to_string()},
        "job": {"job_id": JOB, "name": "nightly ETL"}});
    let mut run = fixture("dbx-runs-get-cluster-error");
    run["run_id"] = json!(JOB_RUN);
    platform.databricks.put_run(run);
    let job = ids(&platform.rig.deliver("databricks-monitor", &webhook).await)[0].clone();

    // A connection was refused: the task is cleared and runs again.
    platform.airflow.put_task(json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": "load_orders", "map_index": -1,
        "state": "failed", "try_number": 2, "max_tries": 1}));
    let task = ids(&platform
        .rig
        .deliver("airflow-monitor", &fixture("airflow2-callback-seed-shape"))
        .await)[0]
        .clone();

    let healed = platform.until_healed(&cluster).await;
    let moved = platform.databricks.cluster(CLUSTER).unwrap();
    assert_eq!(
        (&moved["node_type_id"], &moved["state"]),
        (&json!("Standard_D8ds_v5"), &json!("RUNNING"))
    );
    let story = told(&healed);
    assert!(
        story.contains("restart the cluster with node type Standard_D8ds_v5"),
        "{story}"
    );
    assert!(
        story.contains("the cluster has node type Standard_D8ds_v5 now, and keeps it"),
        "{story}"
    );
    let (comments, thread) = super::hosted::told_by(&platform.rig, &cluster).await;
    assert!(
        comments.contains("keeps it") && thread.contains("keeps it"),
        "{comments}\n{thread}"
    );

    platform.until_healed(&job).await;
    assert_eq!(
        platform.databricks.run(JOB_RUN).unwrap()["state"]["result_state"],
        "SUCCESS"
    );
    assert_eq!(
        platform
            .databricks_server
            .requests_to("POST", "/runs/repair")
            .len(),
        1
    );
    platform.until_healed(&task).await;
    assert_eq!(
        platform.airflow.run_state("sales_etl", DAG_RUN).as_deref(),
        Some("success")
    );
    platform.rig.assert_wire_laws();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_come_up_is_a_persons() {
    let platform = Platform::build().await;
    platform
        .databricks
        .put_cluster(fixture("dbx-clusters-get-stockout"));
    let ending = Ending::badly(
        1,
        "CLOUD_PROVIDER_RESOURCE_STOCKOUT",
        "CLOUD_FAILURE",
        "no capacity either",
    );
    platform.databricks.script(CLUSTER, ending);
    let row = json!([
        "2026-07-27T09:13:22Z",
        CLUSTER,
        "etl-shared",
        "Terminated",
        "CLOUD_PROVIDER_RESOURCE_STOCKOUT"
    ]);
    let columns = [
        "TimeGenerated",
        "clusterId",
        "clusterName",
        "clusterState",
        "termination",
    ];
    let alert = alert_of(
        "databricks-cluster-failure",
        "alert-cluster",
        &columns,
        &[row],
    );
    let id = ids(&platform.rig.deliver("azure-monitor", &alert).await)[0].clone();
    let ticket = platform.until(&id, "awaiting_approval").await;
    assert_eq!(ticket["status"], "open");
    let plan = ticket["remediation"]["approval"]["plan_text"]
        .as_str()
        .unwrap();
    // The only size that may stand in was tried.
    assert!(
        plan.starts_with("Attempt 2 of 2: restart the cluster etl-shared (run"),
        "{plan}"
    );
    let story = told(&ticket);
    assert!(
        story.contains("Attempt 1 of 2 failed")
            && story.contains("may have node type Standard_D8ds_v5 now"),
        "{story}"
    );
}
