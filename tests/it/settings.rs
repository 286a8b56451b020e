//! Settings: every problem at once, by its variable's name; nothing half configured acts; no secret is shown.

mod scopes;

use crate::support;
use aiops_rca::config::{Config, Environment, SETTINGS};
use aiops_rca::functions::Handler;
use aiops_rca::functions::access::DashboardLock;
use aiops_rca::functions::wire::Request;
use aiops_rca::remediation::Mode;
use warp::http::{HeaderMap, Method};

fn read(settings: &[(&str, &str)]) -> Config {
    let environment: Environment = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::read(&environment)
}

fn problems(settings: &[(&str, &str)]) -> Vec<&'static str> {
    read(settings)
        .problems
        .iter()
        .map(|problem| problem.name)
        .filter(|name| *name != "AzureWebJobsStorage")
        .collect()
}

/// Settings, and the names in the problems they lead to.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

#[test]
#[expect(clippy::too_many_lines, reason = "a table, a line for each setting")]
fn what_is_half_configured_names_what_is_missing() {
    let table: [Row; 21] = [
        (&[], &[]),
        (
            &[("ITSM_TOOL", "jira")],
            &[
                "JIRA_DOMAIN",
                "JIRA_USER_EMAIL",
                "JIRA_API_TOKEN",
                "JIRA_PROJECT_KEY",
            ],
        ),
        (&[("ITSM_TOOL", "servicenow")], &["ITSM_TOOL"]),
        (&[("SLACK_BOT_TOKEN", "xoxb-1")], &["SLACK_ALERT_CHANNEL"]),
        (&[("SLACK_ALERT_CHANNEL", "C1")], &["SLACK_BOT_TOKEN"]),
        (
            &[(
                "TEAMS_WORKFLOW_URL",
                "https://a.1.environment.api.powerplatform.com/x?sig=1",
            )],
            &[],
        ),
        (
            &[(
                "TEAMS_WORKFLOW_URL",
                "https://contoso.webhook.office.com/webhookb2/x",
            )],
            &["TEAMS_WORKFLOW_URL"],
        ),
        (
            &[(
                "TEAMS_WORKFLOW_URL",
                "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=1",
            )],
            &["TEAMS_WORKFLOW_URL"],
        ),
        (
            &[(
                "TEAMS_WORKFLOW_URL",
                "@Microsoft.KeyVault(SecretUri=https://v/x)",
            )],
            &["TEAMS_WORKFLOW_URL"],
        ),
        (
            &[
                (
                    "TEAMS_WORKFLOW_URL",
                    "https://a.1.environment.api.powerplatform.com/x?sig=1",
                ),
                ("TEAMS_WORKFLOW_BODY", "xml"),
            ],
            &["TEAMS_WORKFLOW_BODY"],
        ),
        (
            &[(
                "PLAYBOOK_RETRY_PIPELINE",
                "https://logic.example.com/x?sig=1",
            )],
            &["CALLBACK_SIGNING_KEY", "PUBLIC_BASE_URL"],
        ),
        (
            &[("PLAYBOOK_RETRY_JOB", "http://logic.example.com/x")],
            &["PLAYBOOK_RETRY_JOB"],
        ),
        (
            &[("DATABRICKS_TOKEN", "dapi1")],
            &["DATABRICKS_WORKSPACE_URL"],
        ),
        (
            &[("DATABRICKS_HOST", "adb-1.2.azuredatabricks.net")],
            &["DATABRICKS_TOKEN"],
        ),
        (
            &[("AIRFLOW_USERNAME", "u"), ("AIRFLOW_PASSWORD", "p")],
            &["AIRFLOW_BASE_URL"],
        ),
        (
            &[
                ("AIRFLOW_BASE_URL", "https://airflow.example.com"),
                ("AIRFLOW_USERNAME", "u"),
            ],
            &["AIRFLOW_PASSWORD"],
        ),
        (
            &[("AZURE_DATA_FACTORY_NAME", "adf")],
            &["AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP"],
        ),
        (
            &[("LOG_ANALYTICS_WORKSPACE_ID", "by-name")],
            &["LOG_ANALYTICS_WORKSPACE_ID"],
        ),
        (
            &[("SECURE_WEBHOOK_TENANT_ID", "t")],
            &["SECURE_WEBHOOK_AUDIENCE"],
        ),
        (
            &[("AI_PROVIDER", "azure-openai")],
            &["AI_ENDPOINT", "AI_MODEL", "AI_API_KEY"],
        ),
        (&[("DASHBOARD_AUTH", "key")], &["DASHBOARD_KEY"]),
    ];
    for (settings, expected) in table {
        assert_eq!(problems(settings), expected, "{settings:?}");
    }
    let all = problems(&[
        ("ITSM_TOOL", "jira"),
        ("SLACK_BOT_TOKEN", "xoxb-1"),
        ("AUTO_REMEDIATION_ENABLED", "maybe"),
        ("REMEDIATION_MAX_RUNNING", "0"),
        ("JIRA_DOMAIN", "http://jira.example.com"),
        (
            "DATABRICKS_WORKSPACE_URL",
            "https://me:secret@adb-1.2.azuredatabricks.net",
        ),
    ]);
    for name in [
        "JIRA_DOMAIN",
        "JIRA_API_TOKEN",
        "SLACK_ALERT_CHANNEL",
        "AUTO_REMEDIATION_ENABLED",
        "REMEDIATION_MAX_RUNNING",
        "DATABRICKS_WORKSPACE_URL",
    ] {
        assert!(all.contains(&name), "{name} is not among {all:?}");
    }
}

#[test]
fn an_unresolved_key_vault_reference_is_no_secret() {
    let reference = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)";
    let jira = [
        ("ITSM_TOOL", "jira"),
        ("JIRA_DOMAIN", "https://x.atlassian.net"),
        ("JIRA_USER_EMAIL", "bot@example.com"),
        ("JIRA_PROJECT_KEY", "P"),
        ("JIRA_API_TOKEN", reference),
    ];
    let config = read(&jira);
    assert!(config.jira.is_none());
    let told = config
        .problems
        .iter()
        .find(|problem| problem.name == "JIRA_API_TOKEN")
        .unwrap();
    assert!(told.text.contains("Key Vault"), "{told}");
    assert!(!told.to_string().contains("vault.azure.net"));
    for name in [
        "SLACK_SIGNING_SECRET",
        "JIRA_WEBHOOK_SECRET",
        "DASHBOARD_KEY",
    ] {
        let mut settings = jira.to_vec();
        settings.extend([
            ("JIRA_API_TOKEN", "t"),
            ("SLACK_BOT_TOKEN", "xoxb-1"),
            ("SLACK_ALERT_CHANNEL", "C1"),
            (name, reference),
        ]);
        let config = read(&settings);
        assert!(
            config.problems.iter().any(|problem| problem.name == name),
            "{name}"
        );
        assert!(config.jira.unwrap().webhook_secret.is_none());
        assert!(config.slack.unwrap().signing_secret.is_none());
        assert!(matches!(config.dashboard, DashboardLock::Closed));
    }
}

#[test]
fn locks_that_were_wanted_do_not_vanish() {
    let webhook = |more: &[(&str, &str)]| {
        let mut settings = vec![
            ("SECURE_WEBHOOK_TENANT_ID", "t"),
            ("SECURE_WEBHOOK_AUDIENCE", "a"),
        ];
        settings.extend_from_slice(more);
        read(&settings).secure_webhook.is_some()
    };
    assert!(
        webhook(&[])
            && webhook(&[("ENTRA_AUTHORITY_URL", "not a url")])
            && webhook(&[("SECURE_WEBHOOK_AUDIENCE", "")])
    );
    let local = ("AIOPS_RCA_LOCAL", "true");
    let lock = |settings: &[(&str, &str)]| read(settings).dashboard;
    assert!(matches!(lock(&[local]), DashboardLock::Open));
    assert!(matches!(lock(&[]), DashboardLock::Closed));
    assert!(matches!(
        lock(&[("DASHBOARD_AUTH", "open")]),
        DashboardLock::Closed
    ));
    assert!(matches!(
        lock(&[local, ("DASHBOARD_KEY", "too short")]),
        DashboardLock::Closed
    ));
    assert!(matches!(
        lock(&[local, ("DASHBOARD_KEY", "sixteen characters")]),
        DashboardLock::Key {
            plain_http: true,
            ..
        }
    ));
    assert!(matches!(
        lock(&[("DASHBOARD_KEY", "sixteen characters")]),
        DashboardLock::Key {
            plain_http: false,
            ..
        }
    ));
    assert!(matches!(
        lock(&[
            ("DASHBOARD_AUTH", "entra"),
            ("WEBSITE_AUTH_ENABLED", "True")
        ]),
        DashboardLock::Entra { key: None }
    ));
    // Without App Service authentication in front, anybody could send its headers.
    for off in [
        &[("DASHBOARD_AUTH", "entra")][..],
        &[
            ("DASHBOARD_AUTH", "entra"),
            ("WEBSITE_AUTH_ENABLED", "False"),
        ],
        &[
            ("DASHBOARD_AUTH", "entra"),
            ("DASHBOARD_KEY", "sixteen characters"),
        ],
    ] {
        let config = read(off);
        assert!(matches!(config.dashboard, DashboardLock::Closed), "{off:?}");
        assert!(
            config
                .problems
                .iter()
                .any(|problem| problem.name == "DASHBOARD_AUTH"),
            "{off:?}"
        );
    }
}

#[test]
fn rules_nobody_can_read_do_not_act() {
    assert_eq!(read(&[]).remediation.default_mode, Mode::Safe);
    assert!(
        !read(&[]).remediation.enabled,
        "nothing acts unless it is switched on"
    );
    let first = |name: &str, value: &str| {
        let config = read(&[(name, value)]);
        assert!(
            config.problems.iter().any(|problem| problem.name == name),
            "{name}={value}"
        );
        config.remediation.assets.first().map(|rule| rule.mode)
    };
    assert_eq!(
        first("REMEDIATION_ASSETS", "pl_*=safe; pl_money=nevr"),
        Some(Mode::Ask)
    );
    assert_eq!(
        first("REMEDIATION_QUIET_HOURS", "at night"),
        Some(Mode::Ask)
    );
    assert_eq!(
        read(&[("REMEDIATION_DEFAULT", "yes")])
            .remediation
            .default_mode,
        Mode::Ask
    );
}

#[test]
fn no_secret_is_printed() {
    let value = |name: &str| match name {
        "AzureWebJobsStorage" => {
            "AccountName=a;AccountKey=c2VjcmV0LW9mLXRlc3Q=;EndpointSuffix=core.windows.net"
                .to_owned()
        }
        name if name.starts_with("PLAYBOOK_") => {
            "https://logic.example.com/x?sig=secret-of-test".to_owned()
        }
        "TEAMS_WORKFLOW_URL" => {
            "https://a.1.environment.api.powerplatform.com/x?sig=secret-of-test".to_owned()
        }
        "OTEL_EXPORTER_OTLP_HEADERS" => "api-key=secret-of-test".to_owned(),
        _ => "secret-of-test-secret-of-test".to_owned(),
    };
    let mut environment: Environment = SETTINGS
        .iter()
        .filter(|setting| setting.secret)
        .map(|setting| (setting.name.to_owned(), value(setting.name)))
        .collect();
    for (name, value) in [
        ("ITSM_TOOL", "jira"),
        ("JIRA_DOMAIN", "https://x.atlassian.net"),
        ("JIRA_USER_EMAIL", "bot@example.com"),
        ("JIRA_PROJECT_KEY", "P"),
        ("SLACK_ALERT_CHANNEL", "C1"),
        ("PUBLIC_BASE_URL", "https://rca.example.com"),
        (
            "DATABRICKS_WORKSPACE_URL",
            "https://adb-1.2.azuredatabricks.net",
        ),
        ("AIRFLOW_BASE_URL", "https://airflow.example.com"),
        ("AIRFLOW_USERNAME", "u"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"),
        ("AI_PROVIDER", "azure-openai"),
        ("AI_ENDPOINT", "https://x.openai.azure.com/"),
        ("AI_MODEL", "m"),
        ("DASHBOARD_AUTH", "entra"),
        ("WEBSITE_AUTH_ENABLED", "True"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel.example.com"),
        ("AUTO_REMEDIATION_ENABLED", "true"),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    let config = Config::read(&environment);
    assert_eq!(config.problems, [], "everything is configured");
    assert!(
        config.jira.is_some()
            && config.slack.is_some()
            && config.playbooks.is_some()
            && config.model.is_some()
    );
    let shown = format!("{config:?}");
    let parts = config.wire().unwrap();
    let doors = format!("{:?}", config.into_doors(parts));
    for secret in ["secret-of-test", "c2VjcmV0LW9mLXRlc3Q"] {
        assert!(
            !shown.contains(secret) && !doors.contains(secret),
            "a secret is shown"
        );
    }
}

const KEY: &str = "AccountKey=a2V5";

/// The problem about the plain setting, and what the doors have.
fn storage(settings: &[(&str, &str)]) -> (Option<String>, Result<String, String>) {
    let identity = [
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"),
        ("IDENTITY_HEADER", "h"),
    ];
    let config = read(&[&identity, settings].concat());
    let problem = config
        .problems
        .iter()
        .find(|problem| problem.name == "AzureWebJobsStorage");
    let problem = problem.map(|problem| problem.text.clone());
    let storage = config
        .storage
        .map(|settings| format!("{:?}", settings.backend));
    (problem, storage.map_err(|fault| fault.reason().to_owned()))
}

#[test]
fn the_identity_is_used_where_a_tool_put_a_key_beside_it() {
    let plain = format!("DefaultEndpointsProtocol=https;AccountName=RcaStore;{KEY}");
    for named in [
        ("AzureWebJobsStorage__accountName", "rcastore"),
        ("AzureWebJobsStorage__accountName", "RCASTORE"),
    ] {
        let (problem, storage) = storage(&[("AzureWebJobsStorage", &plain), named]);
        assert!(problem.unwrap().contains("remove AzureWebJobsStorage"));
        assert!(storage.unwrap().contains("Identity"));
    }
    let services = [
        ("AzureWebJobsStorage", plain.as_str()),
        (
            "AzureWebJobsStorage__tableServiceUri",
            "https://rcastore.table.core.windows.net",
        ),
        (
            "AzureWebJobsStorage__queueServiceUri",
            "https://rcastore.queue.core.windows.net",
        ),
    ];
    let (problem, storage) = storage(&services);
    assert!(
        problem
            .unwrap()
            .contains("AzureWebJobsStorage__tableServiceUri")
    );
    assert!(storage.unwrap().contains("Identity"));
}

#[test]
fn two_storage_accounts_are_a_named_problem_and_none_is_opened() {
    for plain in [
        &format!("AccountName=other;{KEY}"),
        "UseDevelopmentStorage=true",
    ] {
        let (problem, storage) = storage(&[
            ("AzureWebJobsStorage", plain),
            ("AzureWebJobsStorage__accountName", "rcastore"),
        ]);
        assert!(
            problem.unwrap().contains("another storage account"),
            "{plain}"
        );
        assert!(
            storage.unwrap_err().contains("two storage accounts"),
            "{plain}"
        );
    }
    // What cannot be read is not passed over, because the host would take it.
    let broken = [
        ("AzureWebJobsStorage", "nonsense"),
        ("AzureWebJobsStorage__accountName", "rcastore"),
    ];
    assert!(storage(&broken).1.is_err());
    let (problem, alone) = storage(&[("AzureWebJobsStorage__accountName", "rcastore")]);
    assert!(problem.is_none() && alone.unwrap().contains("Identity"));
}

/// The host would read one account's queues while we write into the other's: nothing is taken in.
#[tokio::test]
async fn every_door_that_stores_answers_503_while_two_accounts_are_named() {
    let plain = format!("AccountName=other;{KEY}");
    let config = read(&[
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"),
        ("IDENTITY_HEADER", "h"),
        ("AzureWebJobsStorage", &plain),
        ("AzureWebJobsStorage__accountName", "rcastore"),
        (
            "DASHBOARD_KEY",
            "a key of the dashboard that is long enough",
        ),
    ]);
    let named = |problem: &str| problem.contains("AzureWebJobsStorage__accountName");
    let problems = config.problems.iter();
    assert!(problems.clone().any(|problem| named(&problem.to_string())));
    let handler = Handler::new(support::doors(config));
    let ask = |method: Method, path: &str, body: &str| {
        let mut headers = HeaderMap::new();
        let key = "a key of the dashboard that is long enough";
        headers.insert("x-dashboard-key", key.parse().unwrap());
        let request = Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers,
            body: body.to_owned().into(),
        };
        handler.clone().answer(request)
    };
    for (path, body) in [
        (
            "/azure-monitor",
            include_str!("../fixtures/vendor/azmon-logv2-adf-fired-dimensions.json"),
        ),
        (
            "/databricks-monitor",
            include_str!("../fixtures/vendor/dbx-webhook-job-failure.json"),
        ),
        (
            "/airflow-monitor",
            include_str!("../fixtures/vendor/airflow3-callback-scheduled.json"),
        ),
    ] {
        let response = ask(Method::POST, path, body).await;
        assert_eq!(response.status.as_u16(), 503, "{path}");
    }
    for path in ["/health", "/api/tickets"] {
        let response = ask(Method::GET, path, "").await;
        assert_eq!(response.status.as_u16(), 503, "{path}");
    }
}
