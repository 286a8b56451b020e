//! The shipped playbooks, deployed, with a fake of everything they may talk to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::diagnosis::Action;
use aiops_rca::failure::{AssetKind, Source, field};
use aiops_rca::http::Http;
use aiops_rca::sinks::playbook::callback::{Callback, Outcome, parse};
use aiops_rca::sinks::playbook::{CallOutcome, PlaybookSettings, Playbooks, SecretUrl};
use aiops_rca::ticket::Ticket;
use chrono::Utc;
use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::databricks::DatabricksSite;
use simulators::logic_app::{
    Deployment, LogicAppSettings, LogicAppSimulator, SHIPPED, UntilLimit, WorkflowRun,
};
use simulators::{Answer, Request, Server, Site, serve};

use super::support::{attempt, failure, fixture, ticket};

pub(super) const RUN: &str = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";
pub(super) const JOB_RUN: i64 = 998_877_665_544_332;
pub(super) const CLUSTER: &str = "0727-091233-ab12cd34";
pub(super) const DAG_RUN: &str = "scheduled__2026-07-27T00:00:00+00:00";

/// The door of aiops-rca, as far as a playbook sees it; and the vault with Airflow's password.
struct Door;

impl Site for Door {
    fn answer(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            "/remediation-callback" => Answer::json(200, &json!({"status": "ok"})),
            "/secrets/airflow-playbook-password"
                if request.is_authorized_by("Bearer vault-token") =>
            {
                Answer::json(
                    200,
                    &json!({"value": "airflow-pass", "id": "https://rca-vault.vault.azure.net/secrets/airflow-playbook-password/1"}),
                )
            }
            _ => Answer::json(
                403,
                &json!({"error": {"code": "Forbidden", "message": "no"}}),
            ),
        }
    }
}

pub(super) struct Rig {
    pub(super) factory: Arc<DataFactorySite>,
    pub(super) factory_server: Server,
    pub(super) databricks: Arc<DatabricksSite>,
    pub(super) databricks_server: Server,
    pub(super) airflow: Arc<AirflowSite>,
    pub(super) airflow_server: Server,
    pub(super) door: Server,
    pub(super) playbooks: LogicAppSimulator,
    client: Playbooks,
}

fn playbook_of(action: Action) -> &'static str {
    match action {
        Action::RetryPipeline => "retry-adf-pipeline",
        Action::RetryJob => "retry-databricks-job",
        Action::RestartCluster => "restart-cluster",
        Action::ReinstallLibraries => "reinstall-libraries",
        Action::RetryTask => "retry-airflow-task",
        _ => "rerun-upstream",
    }
}

/// What the Bicep would give each playbook.
fn parameters(definition: &Value, api: Api) -> BTreeMap<String, Value> {
    let factory = "/subscriptions/sub-1/resourceGroups/rg-data/providers/Microsoft.DataFactory/factories/adf-prod";
    let all = [
        (
            "callbackBase",
            json!("https://rca.example.com/remediation-callback?"),
        ),
        ("factoryId", json!(factory)),
        (
            "databricksHost",
            json!("https://adb-1.12.azuredatabricks.net"),
        ),
        ("allowedNodeTypes", json!(["Standard_D8ds_v5"])),
        ("airflowHost", json!("https://airflow.example.com")),
        (
            "airflowApi",
            json!(if api == Api::V1 { "v1" } else { "v2" }),
        ),
        ("airflowUser", json!("rca")),
        ("keyVaultHost", json!("https://rca-vault.vault.azure.net")),
        (
            "upstreamPipelines",
            json!({"pl_ingest_sales": "pl_export_sales"}),
        ),
    ];
    let declared = definition["parameters"].as_object().unwrap();
    all.into_iter()
        .filter(|(name, _)| declared.contains_key(*name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(Api::V2, UntilLimit::TimesOut).await
    }

    pub(super) async fn with(api: Api, until_limit: UntilLimit) -> Self {
        Self::watching(api, until_limit, 105).await
    }

    /// Playbooks that watch nothing longer than this many minutes after the request.
    pub(super) async fn watching(api: Api, until_limit: UntilLimit, minutes: i64) -> Self {
        let factory = Arc::new(DataFactorySite::new(
            "sub-1",
            "rg-data",
            "adf-prod",
            "factory-token",
        ));
        let databricks = Arc::new(DatabricksSite::new("databricks-token"));
        let airflow = Arc::new(AirflowSite::new(api, "rca", "airflow-pass"));
        let factory_server = serve(0, Arc::clone(&factory)).await.unwrap();
        let databricks_server = serve(0, Arc::clone(&databricks)).await.unwrap();
        let airflow_server = serve(0, Arc::clone(&airflow)).await.unwrap();
        let door = serve(0, Arc::new(Door)).await.unwrap();
        let deployments = SHIPPED.map(|(name, text)| {
            let definition: Value = serde_json::from_str(text).unwrap();
            Deployment {
                name: name.to_owned(),
                parameters: parameters(&definition, api)
                    .into_iter()
                    .chain([("runMinutes".to_owned(), json!(minutes))])
                    .collect(),
                definition,
            }
        });
        let hosts = [
            ("https://management.azure.com", &factory_server),
            ("https://adb-1.12.azuredatabricks.net", &databricks_server),
            ("https://airflow.example.com", &airflow_server),
            ("https://rca-vault.vault.azure.net", &door),
            ("https://rca.example.com", &door),
        ];
        let tokens = [
            ("https://management.azure.com", "factory-token"),
            ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "databricks-token"),
            ("https://vault.azure.net", "vault-token"),
        ];
        let settings = LogicAppSettings {
            deployments: deployments.to_vec(),
            hosts: hosts
                .into_iter()
                .map(|(host, server)| (host.to_owned(), server.url().parse().unwrap()))
                .collect(),
            tokens: tokens
                .into_iter()
                .map(|(audience, token)| (audience.to_owned(), token.to_owned()))
                .collect(),
            until_limit,
            ..LogicAppSettings::default()
        };
        let playbooks = LogicAppSimulator::start(0, settings).await.unwrap();
        let actions = [
            Action::RetryPipeline,
            Action::RetryJob,
            Action::RestartCluster,
            Action::ReinstallLibraries,
            Action::RetryTask,
            Action::CheckUpstream,
        ];
        let url = |action| {
            SecretUrl::parse(playbooks.url(playbook_of(action)).unwrap().as_str()).unwrap()
        };
        let settings = PlaybookSettings {
            urls: actions
                .into_iter()
                .map(|action| (action, url(action)))
                .collect(),
            callback_base: "https://rca.example.com".parse().unwrap(),
            signing_key: "a signing key".into(),
        };
        let client = Playbooks::new(
            settings,
            Http::with_timeout(None, Duration::from_secs(5)).unwrap(),
        );
        Self {
            factory,
            factory_server,
            databricks,
            databricks_server,
            airflow,
            airflow_server,
            door,
            playbooks,
            client,
        }
    }

    /// Calls the playbook as the flow does, and waits until the workflow has ended.
    pub(super) async fn heal(&self, ticket: &Ticket) -> Story {
        let mut attempt = attempt(ticket);
        attempt.called_at = Some(Utc::now());
        let outcome = self.client.call(ticket, &attempt, Utc::now()).await;
        let CallOutcome::Accepted {
            workflow_run: Some(id),
        } = outcome
        else {
            panic!("not accepted: {outcome:?}")
        };
        self.playbooks.settled().await;
        let run = self
            .playbooks
            .runs()
            .into_iter()
            .find(|run| run.id == id)
            .unwrap();
        assert_eq!(
            self.playbooks.strangers(),
            Vec::<String>::new(),
            "a playbook talked to a stranger"
        );
        let callbacks = self.callbacks();
        for request in self.door.requests_to("POST", "/remediation-callback") {
            let query = |name: &str| request.query(name).unwrap_or_default().to_owned();
            assert!(self.client.verify_callback(
                &query("ticket"),
                &query("attempt"),
                &query("token")
            ));
        }
        Story { run, callbacks }
    }

    /// Starts a playbook with this request, as it is, and waits for its end.
    pub(super) async fn trigger(&self, playbook: &str, body: &Value) -> WorkflowRun {
        let url = self.playbooks.url(playbook).unwrap();
        let http = Http::with_timeout(None, Duration::from_secs(5)).unwrap();
        let request = http.request(reqwest::Method::POST, &url).json(body);
        let reply = http.send("the playbook", request).await.unwrap();
        assert_eq!(reply.status, 202);
        self.playbooks.settled().await;
        self.playbooks.runs().last().unwrap().clone()
    }

    pub(super) fn callbacks(&self) -> Vec<Callback> {
        self.door
            .requests_to("POST", "/remediation-callback")
            .iter()
            .map(|request| parse(&request.body).unwrap())
            .collect()
    }
}

/// What a run of a playbook came to.
pub(super) struct Story {
    pub(super) run: WorkflowRun,
    pub(super) callbacks: Vec<Callback>,
}

impl Story {
    /// The last callback, which every story has; those before it are progress.
    pub(super) fn end(&self) -> &Callback {
        let (last, before) = self
            .callbacks
            .split_last()
            .unwrap_or_else(|| panic!("no callback: {}", self.failures()));
        assert!(
            before
                .iter()
                .all(|callback| callback.outcome == Outcome::Progress),
            "{before:?}"
        );
        assert!(!last.contradictory);
        last
    }

    pub(super) fn succeeded(&self) -> &Callback {
        assert_eq!(
            self.end().outcome,
            Outcome::Success,
            "{:?} {}",
            self.end(),
            self.failures()
        );
        assert_eq!(self.run.status.name(), "Succeeded");
        self.end()
    }

    /// The reason given for the failure.
    pub(super) fn failed(&self) -> &str {
        assert_eq!(self.run.status.name(), "Failed");
        match &self.end().outcome {
            Outcome::Failed(reason) => reason,
            // What the guard found is no failed attempt; the playbook's run ends as failed all the same.
            Outcome::HealedMeanwhile => self.end().error.as_deref().unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    /// Actions that went wrong, for a test's message.
    pub(super) fn failures(&self) -> String {
        let bad = self
            .run
            .actions
            .iter()
            .filter(|action| matches!(action.status.name(), "Failed" | "TimedOut"));
        bad.map(|action| format!("{} {} {}", action.name, action.status.name(), action.error))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

pub(super) fn failed_pipeline(rig: &Rig) -> Ticket {
    rig.factory.put_run(fixture("adf-pipelineruns-get-failed"));
    ticket(
        failure(
            Source::Adf,
            AssetKind::Pipeline,
            "pl_ingest_sales",
            RUN,
            &[],
        ),
        Action::RetryPipeline,
    )
}

pub(super) fn failed_job(rig: &Rig) -> Ticket {
    rig.databricks
        .put_run(fixture("dbx-runs-get-multitask-failed"));
    let context = [(field::JOB_ID, "516892700102118")];
    ticket(
        failure(
            Source::Databricks,
            AssetKind::Job,
            "nightly ETL",
            &JOB_RUN.to_string(),
            &context,
        ),
        Action::RetryJob,
    )
}

pub(super) fn failed_cluster(rig: &Rig, state: &str, action: Action) -> Ticket {
    let mut cluster = fixture("dbx-clusters-get-driver");
    cluster["state"] = json!(state);
    rig.databricks.put_cluster(cluster);
    let context = [(field::CLUSTER_ID, CLUSTER), (field::KIND, "cluster")];
    ticket(
        failure(
            Source::Databricks,
            AssetKind::Cluster,
            "etl-shared",
            CLUSTER,
            &context,
        ),
        action,
    )
}

pub(super) fn failed_task(rig: &Rig, map_index: Option<&str>) -> Ticket {
    let index: i64 = map_index.map_or(-1, |index| index.parse().unwrap());
    rig.airflow.put_task(json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": "load_orders", "map_index": index,
        "state": "failed", "try_number": 2, "max_tries": 2}));
    let mut context = vec![
        (field::DAG_ID, "sales_etl"),
        (field::TASK_ID, "load_orders"),
    ];
    context.extend(map_index.map(|index| (field::MAP_INDEX, index)));
    ticket(
        failure(
            Source::Airflow,
            AssetKind::Task,
            "sales_etl.load_orders",
            DAG_RUN,
            &context,
        ),
        Action::RetryTask,
    )
}
