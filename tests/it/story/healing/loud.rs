//! Names and noise that sound like something to retry, from the door through the vendor's API to the playbook: it is never
//! called. Beside each a failure that is to be retried, so that silence says something.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::identity::IdentitySite;
use simulators::{Answer, Request, Server, Site, serve};

use super::super::rig::{Backend, Rig, alert, ids, row, run};

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const FAILED_RUN: &str = include_str!("../../../fixtures/vendor/adf-pipelineruns-get-failed.json");

/// A Logic App that accepts everything.
struct Playbook;

impl Site for Playbook {
    fn answer(&self, _request: &Request) -> Answer {
        Answer::empty(202)
    }
}

struct Platforms {
    rig: Rig,
    factory: Arc<DataFactorySite>,
    airflow: Arc<AirflowSite>,
    playbook: Server,
    _servers: [Server; 3],
}

impl Platforms {
    async fn build() -> Self {
        let token = IdentitySite::token_for("https://management.azure.com");
        let factory = Arc::new(DataFactorySite::new(
            SUBSCRIPTION,
            "rg-data",
            "adf-prod",
            &token,
        ));
        let airflow = Arc::new(AirflowSite::new(Api::V1, "rca", "airflow-pass"));
        let factory_server = serve(0, Arc::clone(&factory)).await.unwrap();
        let airflow_server = serve(0, Arc::clone(&airflow)).await.unwrap();
        let identity = serve(0, Arc::new(IdentitySite::new("identity-header")))
            .await
            .unwrap();
        let playbook = serve(0, Arc::new(Playbook)).await.unwrap();
        let settings = [
            ("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION.to_owned()),
            ("AZURE_RESOURCE_GROUP", "rg-data".to_owned()),
            ("AZURE_DATA_FACTORY_NAME", "adf-prod".to_owned()),
            ("AZURE_MANAGEMENT_URL", factory_server.url()),
            ("IDENTITY_ENDPOINT", format!("{}msi/token", identity.url())),
            ("IDENTITY_HEADER", "identity-header".to_owned()),
            ("AIRFLOW_BASE_URL", airflow_server.url()),
            ("AIRFLOW_USERNAME", "rca".to_owned()),
            ("AIRFLOW_PASSWORD", "airflow-pass".to_owned()),
            ("AUTO_REMEDIATION_ENABLED", "true".to_owned()),
            (
                "PLAYBOOK_RETRY_PIPELINE",
                format!("{}retry-pipeline?sig=x", playbook.url()),
            ),
            (
                "PLAYBOOK_RETRY_AIRFLOW_TASK",
                format!("{}retry-task?sig=x", playbook.url()),
            ),
            (
                "CALLBACK_SIGNING_KEY",
                "rig-callback-signing-key".to_owned(),
            ),
            ("REMEDIATION_DELAYS", "1".to_owned()),
        ];
        let rig = Rig::build(&Backend::Embedded, &settings).await;
        Self {
            rig,
            factory,
            airflow,
            playbook,
            _servers: [factory_server, airflow_server, identity],
        }
    }

    /// A run of `pl_load` fails in this activity, with this code and message; the id of its ticket.
    async fn activity_fails(&self, number: u32, activity: &str, code: &str, says: &str) -> String {
        let id = run(number);
        let mut failed: Value = serde_json::from_str(FAILED_RUN).unwrap();
        (failed["runId"], failed["runGroupId"]) = (json!(id), json!(id));
        failed["pipelineName"] = json!(format!("pl_load_{number}"));
        failed["message"] = json!(format!("Operation on target {activity} failed: {says}"));
        self.factory.put_run(failed);
        let ended = json!({"activityRunId": format!("a-{number}"), "activityName": activity, "activityType": "Copy",
            "pipelineName": format!("pl_load_{number}"), "pipelineRunId": id, "status": "Failed",
            "activityRunStart": "2026-07-27T09:02:00Z", "activityRunEnd": "2026-07-27T09:10:00Z", "durationInMs": 1, "input": {}, "output": {},
            "error": {"errorCode": code, "message": says, "failureType": "UserError", "target": activity, "details": []}});
        self.factory.put_activities(&id, &[ended]);
        // The alert itself says nothing about the error.
        let rows = [row(&format!("pl_load_{number}"), &id, "", "")];
        let answer = self
            .rig
            .deliver("azure-monitor", &alert(&format!("loud-{number}"), &rows))
            .await;
        ids(&answer)[0].clone()
    }

    /// A task fails with this exception at the end of a log with this line in it; the id of its ticket.
    async fn task_fails(&self, task: &str, noise: &str, exception: &str) -> String {
        let run = "scheduled__2026-07-27T00:00:00+00:00";
        self.airflow
            .put_task(json!({"dag_id": "sales", "dag_run_id": run, "task_id": task, "map_index": -1, "state": "failed",
            "try_number": 1, "max_tries": 0, "operator": "PythonOperator"}));
        let log = format!(
            "[2026-07-27T02:00:01.100+0000] {{taskinstance.py:1359}} INFO - Starting attempt 1 of 1\n\
             {noise}\n\
             [2026-07-27T02:10:00.100+0000] {{taskinstance.py:3313}} ERROR - Task failed with exception\n\
             Traceback (most recent call last):\n  File \"/opt/airflow/dags/sales.py\", line 42, in load\n    transform(rows)\n\
             {exception}\n\
             [2026-07-27T02:10:00.200+0000] {{taskinstance.py:1226}} INFO - Marking task as FAILED. dag_id=sales, task_id={task}"
        );
        let page = json!(format!("[('worker-1', {})]", python(&log)));
        self.airflow.put_log("sales", run, task, -1, 1, &[page]);
        let body = json!({"dag_id": "sales", "task_id": task, "run_id": run, "state": "failed", "try_number": 1, "max_tries": 0,
            "operator": "PythonOperator", "exception": exception});
        let answer = self.rig.deliver("airflow-monitor", &body).await;
        answer["ticket_id"].as_str().unwrap().to_owned()
    }

    /// What the playbooks were asked to do, by the ticket they were asked for.
    fn called(&self) -> Vec<String> {
        let asked = self.playbook.requests_to("POST", "/retry-");
        let ticket = |request: Request| request.json()["ticket_id"].as_str().unwrap().to_owned();
        asked.into_iter().map(ticket).collect()
    }

    /// The quiet ones were looked at, this one was acted on, and nothing else.
    async fn only_this_is_called(&self, loud: &str, quiet: &[String]) {
        self.rig.until_shown(quiet, Duration::from_secs(90)).await;
        self.rig
            .until(
                "the playbook is called",
                Duration::from_secs(60),
                async |_: &Rig| self.called().iter().any(|ticket| ticket == loud),
            )
            .await;
        // An attempt waits one second for its turn.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(self.called(), [loud]);
        for id in quiet {
            let ticket = self.rig.ticket(id).await.unwrap();
            assert_eq!(ticket["remediation"]["attempts"], json!([]), "{ticket:#}");
            assert_eq!(ticket["diagnosis"]["remediable"], false, "{ticket:#}");
        }
    }
}

/// A text as Python writes it, and Airflow's first API with it.
fn python(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{}'", text.replace('\n', "\\n"))
}

/// K21: what an activity is called says nothing about why it failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_loud_name_of_an_activity_calls_no_playbook() {
    let platforms = Platforms::build().await;
    let mut quiet = Vec::new();
    for (number, name) in (1..).zip([
        "Sync throttling metrics",
        "Check gateway timeout",
        "Connection refused retry",
        "503 ServerBusy handler",
        "Copy rate limit exceeded report",
    ]) {
        let says = "dq check failed: 12 rows without country";
        quiet.push(platforms.activity_fails(number, name, "2200", says).await);
    }
    let says = "ErrorCode=GatewayTimeout,Message=The gateway did not answer in time.";
    let loud = platforms
        .activity_fails(90, "Load", "GatewayTimeout", says)
        .await;
    platforms.only_this_is_called(&loud, &quiet).await;
    for id in &quiet {
        let ticket = platforms.rig.ticket(id).await.unwrap();
        let cause = ticket["diagnosis"]["root_cause"].as_str().unwrap();
        assert!(cause.contains("dq check failed"), "{cause}");
    }
    platforms.rig.host.stop().await;
}

/// K1: a call that was throttled, and went on, did not end the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_loud_line_before_the_end_of_a_log_calls_no_playbook() {
    let platforms = Platforms::build().await;
    let mut quiet = Vec::new();
    for (number, (noise, exception, category, fact)) in [
        (
            "[2026-07-27T02:01:20.100+0000] {client.py:88} WARNING - 429 Too Many Requests for url https://api.example.com/v1/orders, sleeping 20 s",
            "KeyError: 'country'",
            "code",
            "country",
        ),
        (
            "[2026-07-27T02:01:20.100+0000] {client.py:88} WARNING - 429 Too Many Requests for url https://api.example.com/v1/orders, sleeping 20 s",
            "pandera.errors.SchemaError: column 'amount' not in dataframe",
            "data_schema",
            "amount",
        ),
        (
            "[2026-07-27T02:01:20.100+0000] {hook.py:9} ERROR - could not connect to server: Connection refused, will retry in 5 s",
            "ValueError: could not convert string to float: 'n/a'",
            "",
            "n/a",
        ),
        (
            "[2026-07-27T02:01:20.100+0000] {logging_mixin.py:190} INFO - java.net.SocketTimeoutException: Read timed out",
            "ModuleNotFoundError: No module named 'pandas'",
            "dependency",
            "pandas",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = platforms
            .task_fails(&format!("load_{number}"), noise, exception)
            .await;
        platforms
            .rig
            .until_shown(std::slice::from_ref(&id), Duration::from_secs(60))
            .await;
        let diagnosis = platforms.rig.ticket(&id).await.unwrap()["diagnosis"].clone();
        let cause = diagnosis["root_cause"].as_str().unwrap();
        assert!(cause.contains(fact), "{noise}: {cause}");
        if !category.is_empty() {
            assert_eq!(diagnosis["category"], category, "{noise}: {diagnosis:#}");
        }
        quiet.push(id);
    }
    let noise = "[2026-07-27T02:01:20.100+0000] {client.py:88} INFO - fine";
    let end = "psycopg2.OperationalError: could not connect to server: Connection refused";
    let loud = platforms.task_fails("load", noise, end).await;
    platforms.only_this_is_called(&loud, &quiet).await;
    platforms.rig.host.stop().await;
}
