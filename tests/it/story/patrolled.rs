//! The patrol under the stand-in host: the real binary, no alert at all, or a race of all doors with kills at random.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::http::Reply;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::databricks::DatabricksSite;
use simulators::identity::IdentitySite;
use simulators::jira::Person;
use simulators::{Server, serve};

use super::rig::{Backend, Rig};

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const TOKEN: &str = "dapi-story";

struct Platforms {
    factory: Arc<DataFactorySite>,
    workspace: Arc<DatabricksSite>,
    deployment: Arc<AirflowSite>,
    servers: Vec<Server>,
}

fn stamp(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl Platforms {
    async fn build() -> (Self, Vec<(String, String)>) {
        let factory = Arc::new(DataFactorySite::new(
            SUBSCRIPTION,
            "rg-data",
            "adf-prod",
            &IdentitySite::token_for("https://management.azure.com"),
        ));
        let workspace = Arc::new(DatabricksSite::new(TOKEN));
        let deployment = Arc::new(AirflowSite::new(Api::V2, "u", "p"));
        let servers = vec![
            serve(0, Arc::new(IdentitySite::new("header")))
                .await
                .unwrap(),
            serve(0, Arc::clone(&factory)).await.unwrap(),
            serve(0, Arc::clone(&workspace)).await.unwrap(),
            serve(0, Arc::clone(&deployment)).await.unwrap(),
        ];
        let id = format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data/providers/Microsoft.DataFactory/factories/adf-prod"
        );
        let settings = [
            (
                "IDENTITY_ENDPOINT",
                format!("{}msi/token", servers[0].url()),
            ),
            ("IDENTITY_HEADER", "header".to_owned()),
            ("AZURE_MANAGEMENT_URL", servers[1].url()),
            ("AZURE_DATA_FACTORIES", id),
            ("DATABRICKS_WORKSPACE_URL", servers[2].url()),
            ("DATABRICKS_TOKEN", TOKEN.to_owned()),
            ("AIRFLOW_BASE_URL", servers[3].url()),
            ("AIRFLOW_API_VERSION", "v2".to_owned()),
            ("AIRFLOW_USERNAME", "u".to_owned()),
            ("AIRFLOW_PASSWORD", "p".to_owned()),
            ("FOLD", "none".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let platforms = Self {
            factory,
            workspace,
            deployment,
            servers,
        };
        (platforms, settings.to_vec())
    }

    /// The run of this number fails, on one of the three platforms.
    fn fail(&self, number: u32) {
        let now = Utc::now();
        let began = now - TimeDelta::minutes(3);
        match number % 3 {
            0 => self.factory.put_run(json!({
                "runId": adf_run(number), "pipelineName": format!("pl_{number}"), "parameters": {}, "status": "Failed",
                "invokedBy": {"name": "daily", "invokedByType": "ScheduleTrigger"}, "runStart": stamp(began), "runEnd": stamp(now),
                "lastUpdated": stamp(now), "message": "Operation on target Load failed: ErrorCode=SqlFailedToConnect, Cannot connect to SQL Database: 'sql-sales'",
            })),
            1 => self.workspace.put_run(json!({
                "run_id": number, "job_id": number, "run_name": format!("job_{number}"), "run_type": "JOB_RUN", "trigger": "PERIODIC",
                "start_time": began.timestamp_millis(), "end_time": now.timestamp_millis(), "tasks": [],
                "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "KeyError: 'amount'"},
            })),
            _ => self.deployment.put_task(json!({
                "dag_id": format!("dag_{number}"), "dag_run_id": "scheduled__1", "task_id": "load", "map_index": -1, "state": "failed",
                "try_number": 1, "max_tries": 0, "start_date": stamp(began), "end_date": stamp(now), "updated_at": stamp(now),
            })),
        }
    }

    /// The same pipeline runs well.
    fn succeed(&self, number: u32) {
        let now = Utc::now();
        self.factory.put_run(json!({
            "runId": adf_run(number + 1_000_000), "pipelineName": format!("pl_{number}"), "parameters": {}, "status": "Succeeded",
            "invokedBy": {"name": "daily", "invokedByType": "ScheduleTrigger"}, "runStart": stamp(now), "runEnd": stamp(now),
            "lastUpdated": stamp(now), "message": "",
        }));
    }
}

fn adf_run(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// How the failure of this number is reported by somebody else.
fn report(number: u32) -> (&'static str, Value) {
    match number % 3 {
        0 => (
            "azure-monitor",
            json!({"pipelineName": format!("pl_{number}"), "runId": adf_run(number), "status": "Failed", "errorMessage": "Cannot connect"}),
        ),
        1 => (
            "databricks-monitor",
            json!({"event_type": "jobs.on_failure", "workspace_id": "1", "run": {"run_id": number}, "job": {"job_id": number, "name": format!("job_{number}")}}),
        ),
        _ => (
            "airflow-monitor",
            json!({"dag_id": format!("dag_{number}"), "task_id": "load", "run_id": "scheduled__1", "state": "failed", "try_number": 1,
                "max_tries": 0, "exception": "KeyError: 'amount'", "log_url": "http://localhost:8080/dags/d/runs/r/tasks/load"}),
        ),
    }
}

async fn tick(rig: &Rig) {
    let reply = rig.post("admin/functions/Patrol", "{}").await.unwrap();
    assert_eq!(reply.status, 202);
}

/// A list that was not made in time, or by a process that was killed, is asked for again, as people do.
async fn tickets(rig: &Rig) -> Vec<Value> {
    let mut list = None;
    rig.until("a list of tickets", Duration::from_secs(60), async |rig| {
        let reply = rig.get("api/tickets?limit=1000").await;
        let body = reply.filter(Reply::is_success);
        list = body.and_then(|reply| reply.json::<Value>("the app").ok());
        list.is_some()
    })
    .await;
    let list = list.unwrap_or_default();
    list["tickets"].as_array().cloned().unwrap_or_default()
}

/// Asset by asset, each once.
fn assets(tickets: &[Value]) -> BTreeSet<String> {
    let all: Vec<String> = tickets
        .iter()
        .map(|ticket| ticket["asset"].as_str().unwrap().to_owned())
        .collect();
    let once: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(once.len(), all.len(), "a failure has two tickets: {all:?}");
    once
}

/// The platforms are asked for the first time, and nothing has ended yet.
async fn begin(backend: &Backend) -> (Platforms, Rig) {
    let (platforms, settings) = Platforms::build().await;
    let rig = Rig::build_around(backend, async |_| settings).await;
    tick(&rig).await;
    let asked = async |_: &Rig| {
        let all = platforms.servers.iter().skip(1);
        all.map(|server| server.requests().len())
            .all(|asked| asked > 0)
    };
    rig.until("all platforms are asked", Duration::from_secs(30), asked)
        .await;
    rig.until(
        "the first tick is over",
        Duration::from_secs(30),
        async |rig| {
            let reply = rig.get("api/scopes").await;
            let body: Value = reply
                .and_then(|reply| reply.json("the app").ok())
                .unwrap_or_default();
            body["scopes"].as_array().is_some_and(|scopes| {
                scopes.len() == 3 && scopes.iter().all(|scope| !scope["answered_at"].is_null())
            })
        },
    )
    .await;
    (platforms, rig)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_alert_every_failed_run_becomes_one_ticket() {
    for backend in [Backend::Embedded, Backend::azurite()] {
        let (platforms, rig) = begin(&backend).await;
        for number in 0..300 {
            platforms.fail(number);
        }
        // Two ticks, the second while the first may still be at work.
        tick(&rig).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        tick(&rig).await;
        rig.until("300 tickets", Duration::from_secs(150), async |rig| {
            tickets(rig).await.len() >= 300
        })
        .await;
        assert_eq!(assets(&tickets(&rig).await).len(), 300);
        // A good run closes its ticket, in JIRA and Slack as well.
        let before = platforms.servers[1].requests().len();
        platforms.succeed(3);
        tick(&rig).await;
        let closed = async |rig: &Rig| {
            tickets(rig)
                .await
                .iter()
                .any(|ticket| ticket["asset"] == "pl_3" && ticket["status"] == "acknowledged")
        };
        rig.until("the ticket is closed", Duration::from_secs(60), closed)
            .await;
        assert!(platforms.servers[1].requests().len() > before);
        rig.assert_wire_laws();
        rig.host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_the_doors_race_and_whoever_is_killed_each_failure_is_one_ticket() {
    let seed = crate::support::number("AIOPS_RCA_SEED", 7);
    for backend in [Backend::Embedded, Backend::azurite()] {
        let (platforms, rig) = begin(&backend).await;
        let mut dice = fastrand::Rng::with_seed(seed);
        for number in 0..45 {
            platforms.fail(number);
            let (door, body) = report(number);
            match dice.u32(..5) {
                0 => tick(&rig).await,
                1 => {
                    rig.host.kill_child();
                    let _lost = rig.post(door, body.to_string()).await;
                }
                2 => {}
                _ => {
                    rig.deliver(door, &body).await;
                }
            }
        }
        for _ in 0..3 {
            tick(&rig).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            rig.sweep().await;
        }
        rig.until(
            &format!("45 tickets (seed {seed})"),
            Duration::from_secs(120),
            async |rig| tickets(rig).await.len() >= 45,
        )
        .await;
        tick(&rig).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(assets(&tickets(&rig).await).len(), 45, "seed {seed}");
        rig.host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_closes_issue_and_message_and_keeps_what_a_person_works_on() {
    for backend in [Backend::Embedded, Backend::azurite()] {
        let (platforms, rig) = begin(&backend).await;
        // One of the platforms is out of order meanwhile: the others are asked all the same.
        platforms.servers[2]
            .faults
            .stands(Some(simulators::Fault::status(500)));
        platforms.fail(3);
        platforms.fail(6);
        tick(&rig).await;
        let both = async |rig: &Rig| tickets(rig).await.len() == 2;
        rig.until("both tickets", Duration::from_secs(60), both)
            .await;
        let ids: Vec<String> = tickets(&rig)
            .await
            .iter()
            .map(|ticket| ticket["id"].as_str().unwrap().to_owned())
            .collect();
        rig.until_shown(&ids, Duration::from_secs(60)).await;
        let mut all = tickets(&rig).await;
        all.sort_by_key(|ticket| ticket["asset"].to_string());
        let [recovers, worked_on] = all.as_slice() else {
            panic!("two tickets: {all:#?}");
        };
        let key = worked_on["jira_key"].as_str().unwrap().to_owned();
        let john = Person::named("John Doe");
        assert!(rig.jira.moves(&key, "In Progress", &john));
        let (recovers, worked_on) = (
            recovers["id"].as_str().unwrap().to_owned(),
            worked_on["id"].as_str().unwrap().to_owned(),
        );
        rig.until(
            "somebody works on it",
            Duration::from_secs(30),
            async |rig| {
                let ticket = rig.ticket(&worked_on).await.unwrap_or_default();
                ticket["status"] == "in_progress"
            },
        )
        .await;
        platforms.succeed(3);
        platforms.succeed(6);
        tick(&rig).await;
        rig.until(
            "one is closed, the other is told",
            Duration::from_secs(60),
            async |rig| {
                let closed = rig.ticket(&recovers).await.unwrap_or_default();
                let told = rig.ticket(&worked_on).await.unwrap_or_default();
                let told_so = told["story"].to_string().contains("The ticket stays open");
                closed["status"] == "acknowledged" && told["status"] == "in_progress" && told_so
            },
        )
        .await;
        rig.until_shown(&ids, Duration::from_secs(60)).await;
        let issue = |id: &str| {
            let label = format!("rca-{id}");
            let mut issues = rig.issues().into_iter();
            issues.rfind(|issue| issue.labels.contains(&label)).unwrap()
        };
        assert_eq!(issue(&recovers).status, "Done");
        assert_eq!(issue(&worked_on).status, "In Progress");
        rig.host.stop().await;
    }
}
