//! `doctor` as people run it: the real program, everything it may ask, one thing wrong at a time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::data_factory::DataFactorySite;
use simulators::databricks::DatabricksSite;
use simulators::identity::IdentitySite;
use simulators::jira::{self, JiraSimulator};
use simulators::log_analytics::LogAnalyticsSite;
use simulators::slack::{SlackOptions, SlackSimulator};
use simulators::{Answer, Request, Server, Site, serve};

use crate::support;

const SUBSCRIPTION: &str = "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const WORKSPACE: &str = "bbbb0b0b-bb1b-cc2c-dd3d-eeeeee4e4e4e";
const SIGNATURE: &str = "a-signature-that-nobody-may-see";

/// The app and the Logic Apps, as far as doctor sees them.
struct App;

impl Site for App {
    fn answer(&self, request: &Request) -> Answer {
        // A playbook that is called would show here: doctor never does.
        let known = request.method == "GET" && matches!(request.path.as_str(), "/health" | "/");
        let date = chrono::Utc::now().to_rfc2822();
        let answer = if known {
            Answer::json(200, &json!({"status": "ok"}))
        } else {
            Answer::empty(404)
        };
        Answer {
            headers: [answer.headers.clone(), vec![("date".into(), date)]].concat(),
            ..answer
        }
    }
}

/// Everything that doctor may ask, and the settings that lead there.
struct Surroundings {
    settings: BTreeMap<String, String>,
    app: Server,
    _jira: JiraSimulator,
    _slack: SlackSimulator,
    _servers: Vec<Server>,
}

impl Surroundings {
    async fn build() -> Self {
        let token = |resource: &str| IdentitySite::token_for(resource);
        let identity = serve(0, Arc::new(IdentitySite::new("identity-header")))
            .await
            .unwrap();
        let factory = DataFactorySite::new(
            SUBSCRIPTION,
            "rg-data",
            "adf-prod",
            &token("https://management.azure.com"),
        );
        let factory = serve(0, Arc::new(factory)).await.unwrap();
        let logs = serve(
            0,
            Arc::new(LogAnalyticsSite::new(
                WORKSPACE,
                &token("https://api.loganalytics.io"),
            )),
        )
        .await
        .unwrap();
        let databricks = serve(0, Arc::new(DatabricksSite::new("dapi-a-secret-token")))
            .await
            .unwrap();
        let airflow = serve(
            0,
            Arc::new(AirflowSite::new(Api::V2, "rca", "airflow-secret-pass")),
        )
        .await
        .unwrap();
        let app = serve(0, Arc::new(App)).await.unwrap();
        let jira = JiraSimulator::start(0, jira::Config::default())
            .await
            .unwrap();
        let slack = SlackSimulator::start_with(0, SlackOptions::default())
            .await
            .unwrap();
        let (site, workspace) = (jira::Config::default(), SlackOptions::default());
        let settings = [
            (
                "AIOPS_RCA_STORE",
                support::embedded_path().to_string_lossy().into_owned(),
            ),
            ("STORAGE_PREFIX", support::prefix()),
            ("PUBLIC_BASE_URL", app.url()),
            ("DASHBOARD_KEY", "a-dashboard-key-of-length".to_owned()),
            ("ITSM_TOOL", "jira".to_owned()),
            ("JIRA_DOMAIN", jira.base_url()),
            ("JIRA_GATEWAY_URL", jira.base_url()),
            ("JIRA_USER_EMAIL", site.email),
            ("JIRA_API_TOKEN", site.token),
            ("JIRA_PROJECT_KEY", site.project),
            ("JIRA_WEBHOOK_SECRET", "a-webhook-secret".to_owned()),
            ("SLACK_BOT_TOKEN", workspace.token),
            ("SLACK_ALERT_CHANNEL", "aiops-rca-alerts".to_owned()),
            ("SLACK_SIGNING_SECRET", workspace.signing_secret),
            ("SLACK_APPROVERS", "U0JOHNDOE".to_owned()),
            ("SLACK_API_URL", slack.api_base()),
            ("IDENTITY_ENDPOINT", format!("{}msi/token", identity.url())),
            ("IDENTITY_HEADER", "identity-header".to_owned()),
            ("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION.to_owned()),
            ("AZURE_RESOURCE_GROUP", "rg-data".to_owned()),
            ("AZURE_DATA_FACTORY_NAME", "adf-prod".to_owned()),
            ("AZURE_MANAGEMENT_URL", factory.url()),
            ("LOG_ANALYTICS_WORKSPACE_ID", WORKSPACE.to_owned()),
            ("LOG_ANALYTICS_URL", logs.url()),
            ("DATABRICKS_WORKSPACE_URL", databricks.url()),
            ("DATABRICKS_TOKEN", "dapi-a-secret-token".to_owned()),
            ("AIRFLOW_BASE_URL", airflow.url()),
            ("AIRFLOW_USERNAME", "rca".to_owned()),
            ("AIRFLOW_PASSWORD", "airflow-secret-pass".to_owned()),
            ("AUTO_REMEDIATION_ENABLED", "true".to_owned()),
            (
                "PLAYBOOK_RETRY_PIPELINE",
                format!(
                    "{}workflows/w/triggers/manual/paths/invoke?sig={SIGNATURE}",
                    app.url()
                ),
            ),
            ("CALLBACK_SIGNING_KEY", "a-callback-signing-key".to_owned()),
        ];
        let settings = settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            settings,
            app,
            _jira: jira,
            _slack: slack,
            _servers: vec![identity, factory, logs, databricks, airflow],
        }
    }

    /// Runs doctor with these settings changed; an empty value takes a setting away.
    async fn doctor(&self, arguments: &[&str], changed: &[(&str, &str)]) -> Output {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"));
        command
            .arg("doctor")
            .args(arguments)
            .env_clear()
            .envs(&self.settings)
            .kill_on_drop(true);
        for (name, value) in changed {
            command.env(name, value);
        }
        tokio::time::timeout(Duration::from_secs(60), command.output())
            .await
            .unwrap()
            .unwrap()
    }

    async fn checks(&self, changed: &[(&str, &str)]) -> (bool, Vec<Value>) {
        let output = self.doctor(&["--json"], changed).await;
        let said: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(
            said["ok"],
            json!(output.status.success()),
            "the exit status says the same"
        );
        (
            output.status.success(),
            said["checks"].as_array().unwrap().clone(),
        )
    }

    /// The lines that are not well, each with its name, what was found and what to do.
    async fn faults(&self, changed: &[(&str, &str)]) -> Vec<String> {
        let (_, checks) = self.checks(changed).await;
        let bad = checks.iter().filter(|check| check["ok"] == false);
        bad.map(|check| {
            ["name", "line", "fix"]
                .map(|part| check[part].as_str().unwrap_or_default())
                .join(" | ")
        })
        .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_and_nothing_secret_is_said() {
    let around = Surroundings::build().await;
    let (ok, checks) = around.checks(&[]).await;
    assert!(ok, "{checks:#?}");
    let names: Vec<&str> = checks
        .iter()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    for wanted in [
        "Settings",
        "Identity",
        "JIRA credentials",
        "JIRA webhook",
        "Data Factory",
        "Log Analytics",
        "Databricks",
        "Airflow",
        "Language model",
        "PLAYBOOK_RETRY_PIPELINE",
        "Public address",
        "Clock",
        "Dashboard",
        "Storage",
    ] {
        assert!(
            names.contains(&wanted),
            "{wanted} is not checked: {names:?}"
        );
    }
    let said = String::from_utf8(around.doctor(&[], &[]).await.stdout).unwrap();
    assert!(said.ends_with("Everything is as it should be.\n"), "{said}");
    let secrets = around.settings.iter().filter(|(name, _)| {
        ["TOKEN", "SECRET", "PASSWORD", "_KEY", "HEADER"]
            .iter()
            .any(|word| name.contains(word))
            && *name != "JIRA_PROJECT_KEY"
    });
    for (name, value) in secrets {
        assert!(!said.contains(value.as_str()), "{name} is said");
    }
    assert!(!said.contains(SIGNATURE));
    assert!(
        around.app.requests_to("POST", "/").is_empty(),
        "a playbook was called"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_setting_is_named_with_its_fix() {
    let around = Surroundings::build().await;
    // No Logic App's host: it gets no token of the identity, so it needs a signature.
    let unsigned = "https://playbooks.example.com/workflows/w/triggers/manual/paths/invoke";
    // A port that nobody listens on.
    let nobody = "http://127.0.0.1:1/";
    for (changed, name, says) in [
        (("JIRA_API_TOKEN", ""), "JIRA_API_TOKEN", "is missing"),
        (("JIRA_API_TOKEN", "wrong"), "JIRA credentials", "401"),
        (
            ("JIRA_WEBHOOK_SECRET", ""),
            "JIRA webhook",
            "set JIRA_WEBHOOK_SECRET",
        ),
        (
            ("SLACK_BOT_TOKEN", "xoxb-wrong"),
            "Slack token",
            "invalid_auth",
        ),
        (("IDENTITY_HEADER", "wrong"), "Identity", "401"),
        (
            ("AZURE_DATA_FACTORY_NAME", "adf-other"),
            "Data Factory",
            "no such factory",
        ),
        (
            ("LOG_ANALYTICS_WORKSPACE_ID", "my-workspace"),
            "LOG_ANALYTICS_WORKSPACE_ID",
            "a GUID",
        ),
        (("DATABRICKS_TOKEN", "dapi-wrong"), "Databricks", "401"),
        (("AIRFLOW_PASSWORD", "wrong"), "Airflow", "401"),
        (
            ("PLAYBOOK_RETRY_PIPELINE", unsigned),
            "PLAYBOOK_RETRY_PIPELINE",
            "sig=",
        ),
        (
            ("PLAYBOOK_RETRY_PIPELINE", "http://127.0.0.1:1/?sig=x"),
            "PLAYBOOK_RETRY_PIPELINE",
            "could not be reached",
        ),
        (
            ("CALLBACK_SIGNING_KEY", "short"),
            "CALLBACK_SIGNING_KEY",
            "16 characters",
        ),
        (
            ("PUBLIC_BASE_URL", nobody),
            "Public address",
            "could not be reached",
        ),
        (("DASHBOARD_KEY", ""), "Dashboard", "closed for everybody"),
        (
            ("REMEDIATION_NODE_TYPES", "no-rule"),
            "REMEDIATION_NODE_TYPES",
            "<glob>=<node type>",
        ),
        (
            ("AIOPS_RCA_STORE", ""),
            "Storage",
            "set AzureWebJobsStorage",
        ),
    ] {
        let faults = around.faults(&[changed]).await;
        let found = faults
            .iter()
            .any(|fault| fault.starts_with(&format!("{name} | ")) && fault.contains(says));
        assert!(found, "{changed:?} is not found: {faults:#?}");
        assert!(
            faults
                .iter()
                .all(|fault| fault.split(" | ").all(|part| !part.is_empty())),
            "a fault without a fix: {faults:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_faults_are_told_at_once_and_soon() {
    let around = Surroundings::build().await;
    let began = std::time::Instant::now();
    let nobody = "http://127.0.0.1:1/";
    let faults = around
        .faults(&[
            ("JIRA_DOMAIN", nobody),
            ("SLACK_API_URL", nobody),
            ("DATABRICKS_WORKSPACE_URL", nobody),
            ("AIRFLOW_BASE_URL", nobody),
        ])
        .await;
    for name in ["JIRA credentials", "Slack", "Databricks", "Airflow"] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(name)),
            "{name}: {faults:#?}"
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}
