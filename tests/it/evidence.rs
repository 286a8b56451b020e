//! What the vendors say, asked of stateful stand-ins of them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail as tests do"
)]

mod airflow;
mod data_factory;
mod databricks;
mod expand;
mod hostile;
mod owners;
mod remediation;
mod rights;
mod standing;

use crate::support::build;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::evidence::airflow::{AirflowLogin, AirflowSettings};
use aiops_rca::evidence::data_factory::DataFactorySettings;
use aiops_rca::evidence::databricks::DatabricksSettings;
use aiops_rca::evidence::log_analytics::LogAnalyticsSettings;
use aiops_rca::evidence::{
    Airflow, Collected, Collector, DataFactory, Databricks, Key, LogAnalytics,
};
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source, field};
use aiops_rca::http::Http;
use aiops_rca::identity::{Identity, IdentitySettings};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::databricks::DatabricksSite;
use simulators::identity::IdentitySite;
use simulators::log_analytics::LogAnalyticsSite;
use simulators::{Fault, Server, serve};

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const WORKSPACE: &str = "dddd3333-ee44-5555-66ff-777777aaaaaa";
/// The run of the factory's fixtures.
const ADF_RUN: &str = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";
/// The job run of the workspace's fixtures.
const JOB_RUN: &str = "998877665544332";
const CLUSTER: &str = "0727-091233-ab12cd34";
const DAG_RUN: &str = "scheduled__2026-07-27T00:00:00+00:00";

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/vendor")
        .join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-07-27T09:30:00Z")
}

/// All vendors, and a collector that knows them.
struct Rig {
    identity: Server,
    factory: Server,
    factory_site: Arc<DataFactorySite>,
    databricks: Server,
    databricks_site: Arc<DatabricksSite>,
    logs: Server,
    logs_site: Arc<LogAnalyticsSite>,
    airflow: Server,
    airflow_site: Arc<AirflowSite>,
    collector: Collector,
}

impl Rig {
    async fn new() -> Self {
        Self::with_airflow(Api::V1).await
    }

    async fn with_airflow(api: Api) -> Self {
        let token = IdentitySite::token_for;
        let factory_site = Arc::new(DataFactorySite::new(
            SUBSCRIPTION,
            "rg-data",
            "adf-prod",
            &token("https://management.azure.com"),
        ));
        let databricks_site = Arc::new(DatabricksSite::new(&token(
            "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
        )));
        let logs_site = Arc::new(LogAnalyticsSite::new(
            WORKSPACE,
            &token("https://api.loganalytics.io"),
        ));
        let airflow_site = Arc::new(AirflowSite::new(api, "reader", "secret"));
        for site_clock in [
            &factory_site.clock,
            &databricks_site.clock,
            &airflow_site.clock,
        ] {
            site_clock.set(now());
        }
        let identity = serve(0, Arc::new(IdentitySite::new("the header")))
            .await
            .unwrap();
        let factory = serve(0, Arc::clone(&factory_site)).await.unwrap();
        let databricks = serve(0, Arc::clone(&databricks_site)).await.unwrap();
        let logs = serve(0, Arc::clone(&logs_site)).await.unwrap();
        let airflow = serve(0, Arc::clone(&airflow_site)).await.unwrap();

        let http = Http::new(None).unwrap();
        let endpoint = format!("{}msi/token", identity.url()).parse().unwrap();
        let settings = IdentitySettings {
            endpoint,
            header: SecretString::from("the header"),
            client_id: None,
        };
        let key = Key::Identity(Identity::new(settings, http.clone()));
        let factory_settings = DataFactorySettings {
            subscription: SUBSCRIPTION.to_owned(),
            resource_group: "rg-data".to_owned(),
            factory: "adf-prod".to_owned(),
            base_url: factory.url().parse().unwrap(),
        };
        let workspace = DatabricksSettings {
            workspace_url: databricks.url().parse().unwrap(),
        };
        let workspace_of_logs = LogAnalyticsSettings {
            workspace: WORKSPACE.parse().unwrap(),
            base_url: logs.url().parse().unwrap(),
        };
        let login = AirflowLogin::Password {
            username: "reader".to_owned(),
            password: SecretString::from("secret"),
        };
        let deployment = AirflowSettings {
            base_url: airflow.url().parse().unwrap(),
            api: None,
            login,
        };
        let collector = Collector {
            data_factory: vec![DataFactory::new(
                factory_settings,
                http.clone(),
                key.clone(),
            )],
            log_analytics: Some(LogAnalytics::new(
                workspace_of_logs,
                http.clone(),
                key.clone(),
            )),
            databricks: vec![Databricks::new(workspace, http.clone(), key)],
            airflow: vec![Airflow::new(deployment, http)],
            ..Collector::default()
        };
        Self {
            identity,
            factory,
            factory_site,
            databricks,
            databricks_site,
            logs,
            logs_site,
            airflow,
            airflow_site,
            collector,
        }
    }

    fn servers(&self) -> [&Server; 5] {
        [
            &self.identity,
            &self.factory,
            &self.databricks,
            &self.logs,
            &self.airflow,
        ]
    }

    /// Every scripted thing has happened, and every request went to the host it was meant for.
    fn finish(self) {
        for server in self.servers() {
            assert!(server.faults.is_drained());
            for request in server.requests() {
                assert_eq!(
                    request.header("host"),
                    Some(server.addr.to_string().as_str())
                );
            }
        }
        assert!(self.factory_site.is_drained() && self.databricks_site.is_drained());
    }

    async fn collect(&self, failure: &Failure) -> Collected {
        self.collector.collect(failure, now()).await
    }

    fn put_adf(&self, activities: &str) {
        self.factory_site
            .put_run(fixture("adf-pipelineruns-get-failed"));
        let activities = fixture(activities)["value"].as_array().unwrap().clone();
        self.factory_site.put_activities(ADF_RUN, &activities);
    }
}

fn failure(
    source: Source,
    kind: AssetKind,
    asset: &str,
    run_id: Option<&str>,
    context: &[(&str, &str)],
) -> Failure {
    Failure {
        source,
        key: RunKey::new(source, "", run_id.unwrap_or_default(), "", ""),
        kind,
        run_id: run_id.map(str::to_owned),
        message: "as reported".to_owned(),
        context: context
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        occurred_at: Some(at("2026-07-27T09:12:40Z")),
        ..build::failure(asset, "")
    }
}

fn adf() -> Failure {
    failure(
        Source::Adf,
        AssetKind::Pipeline,
        "unknown pipeline",
        Some(ADF_RUN),
        &[],
    )
}

fn job() -> Failure {
    failure(
        Source::Databricks,
        AssetKind::Job,
        "nightly",
        Some(JOB_RUN),
        &[],
    )
}

fn cluster(code: Option<&str>) -> Failure {
    let mut failure = failure(
        Source::Databricks,
        AssetKind::Cluster,
        CLUSTER,
        None,
        &[(field::CLUSTER_ID, CLUSTER)],
    );
    failure.error_code = code.map(str::to_owned);
    failure.occurred_at = DateTime::from_timestamp_millis(1_785_143_000_000);
    failure
}

fn task(extra: &[(&str, &str)]) -> Failure {
    let mut context = vec![
        (field::DAG_ID, "sales_etl"),
        (field::TASK_ID, "load_orders"),
        (field::TRY_NUMBER, "2"),
    ];
    context.extend(extra);
    failure(
        Source::Airflow,
        AssetKind::Task,
        "sales_etl.load_orders",
        Some(DAG_RUN),
        &context,
    )
}

/// Sources of the evidence, in order.
fn sources(collected: &Collected) -> Vec<&str> {
    collected
        .evidence
        .iter()
        .map(|proof| proof.source.as_str())
        .collect()
}

fn text_of<'a>(collected: &'a Collected, source: &str) -> &'a str {
    &collected
        .evidence
        .iter()
        .find(|proof| proof.source == source)
        .unwrap()
        .text
}

fn gap_of<'a>(collected: &'a Collected, source: &str) -> &'a str {
    &collected
        .gaps
        .iter()
        .find(|gap| gap.source == source)
        .unwrap()
        .reason
}

#[tokio::test]
async fn what_is_not_configured_is_a_gap_that_names_the_settings() {
    let none = Collector::default();
    let reasons = |collected: Collected| {
        collected
            .gaps
            .into_iter()
            .map(|gap| gap.reason)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let told = reasons(none.collect(&adf(), now()).await);
    assert!(
        [
            "AZURE_SUBSCRIPTION_ID",
            "AZURE_RESOURCE_GROUP",
            "AZURE_DATA_FACTORY_NAME"
        ]
        .iter()
        .all(|name| told.contains(name))
    );
    assert!(told.contains("LOG_ANALYTICS_WORKSPACE_ID"));
    let told = reasons(none.collect(&cluster(None), now()).await);
    assert!(told.contains("DATABRICKS_WORKSPACE_URL") && told.contains("DATABRICKS_TOKEN"));
    assert!(reasons(none.collect(&task(&[]), now()).await).contains("AIRFLOW_BASE_URL"));
}

#[tokio::test]
async fn a_slow_vendor_costs_no_more_than_its_budget_and_what_it_said_stays() {
    let mut rig = Rig::new().await;
    rig.collector.budget = Duration::from_millis(400);
    rig.put_adf("adf-queryactivityruns-failed-copy");
    rig.logs_site
        .put_table("ADFActivityRun", &fixture("loganalytics-empty"));
    rig.factory.faults.next_on(
        "POST",
        "queryActivityruns",
        Fault::Delay(Duration::from_secs(5)),
    );
    let before = std::time::Instant::now();
    let collected = rig.collect(&adf()).await;
    assert!(before.elapsed() < Duration::from_secs(3));
    assert_eq!(sources(&collected), ["adf.pipeline_run"]);
    assert!(gap_of(&collected, "adf.activity_runs").contains("not all was answered"));
    assert_eq!(
        collected.refinement.asset.as_deref(),
        Some("pl_ingest_sales")
    );
    rig.finish();
}

#[tokio::test]
async fn one_token_a_resource_is_enough_and_each_client_says_what_it_sees() {
    let rig = Rig::new().await;
    rig.airflow_site.put_task(
        serde_json::json!({"dag_id": "a", "dag_run_id": "r", "task_id": "t", "state": "failed"}),
    );
    let collector = &rig.collector;
    assert_eq!(
        collector
            .data_factory
            .first()
            .unwrap()
            .check(now())
            .await
            .unwrap(),
        "factory adf-prod in eastus; its runs and their activities can be read"
    );
    let host = rig.databricks.addr.ip();
    assert_eq!(
        collector
            .databricks
            .first()
            .unwrap()
            .check(now())
            .await
            .unwrap(),
        format!(
            "workspace {host} knows us as aiops-rca; it shows us no job runs: has none run, or is CAN VIEW missing on the jobs?"
        )
    );
    let told = collector
        .log_analytics
        .as_ref()
        .unwrap()
        .check()
        .await
        .unwrap();
    assert_eq!(told, format!("workspace {WORKSPACE} answers queries"));
    assert_eq!(
        collector.airflow.first().unwrap().check().await.unwrap(),
        "Airflow 2.9.3 (API V1), 1 DAGs visible"
    );
    collector
        .data_factory
        .first()
        .unwrap()
        .check(now())
        .await
        .unwrap();
    assert_eq!(rig.identity.requests().len(), 3);
    let resources: Vec<_> = rig
        .identity
        .requests()
        .iter()
        .map(|request| request.query("resource").unwrap().to_owned())
        .collect();
    assert!(resources.contains(&"2ff814a6-3304-4ab8-85cb-cd0e6f879c1d".to_owned()));
    rig.finish();
}

#[tokio::test]
async fn a_check_that_is_refused_says_what_to_do() {
    let rig = Rig::new().await;
    rig.factory
        .faults
        .next(Fault::from_fixture(&fixture("adf-http-403")));
    rig.databricks
        .faults
        .next(Fault::from_fixture(&fixture("dbx-http-401")));
    rig.logs
        .faults
        .next(Fault::from_fixture(&fixture("loganalytics-http-403")));
    let fault = rig
        .collector
        .data_factory
        .first()
        .unwrap()
        .check(now())
        .await
        .unwrap_err();
    assert!(
        !fault.is_transient()
            && fault
                .reason()
                .contains("403 AuthorizationFailed: the identity lacks"),
        "{fault}"
    );
    let fault = rig
        .collector
        .databricks
        .first()
        .unwrap()
        .check(now())
        .await
        .unwrap_err();
    assert!(fault.reason().contains("DATABRICKS_TOKEN"), "{fault}");
    let fault = rig
        .collector
        .log_analytics
        .as_ref()
        .unwrap()
        .check()
        .await
        .unwrap_err();
    assert!(fault.reason().contains("Log Analytics Reader"), "{fault}");
    rig.finish();
}
