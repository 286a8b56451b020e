//! The only reader of the environment: parses everything, reports all problems at once.
//!
//! In: settings as text. Out: the parts of the house, wired. A sink that is not configured is off and the
//! ticket says so; one that is half configured is off as well, with a [`Problem`] that names the missing
//! variable: a wrong JIRA setting must never cost a failure. Only the store is indispensable.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::diagnosis::Action;
use crate::diagnosis::model::{Model, ModelSettings, Provider};
use crate::evidence::airflow::{AirflowApi, AirflowLogin, AirflowSettings};
use crate::evidence::data_factory::DataFactorySettings;
use crate::evidence::databricks::DatabricksSettings;
use crate::evidence::log_analytics::LogAnalyticsSettings;
use crate::evidence::{Airflow, Collector, DataFactory, Databricks, Key, LogAnalytics};
use crate::fault::Fault;
use crate::functions::Doors;
use crate::functions::access::DashboardLock;
use crate::functions::secure_webhook::{SecureWebhook, SecureWebhookSettings};
use crate::http::Http;
use crate::identity::{Identity, IdentitySettings};
use crate::pipeline::Pipeline;
use crate::remediation::{AssetPolicy, Mode, QuietHours, RemediationSettings};
use crate::sinks::jira::{Jira, JiraSettings};
use crate::sinks::playbook::{PlaybookSettings, Playbooks, SecretUrl};
use crate::sinks::slack::{Slack, SlackSettings};
use crate::storage::{Storage, StorageSettings};
use crate::telemetry::{self, OtlpSettings, Sampling};
use crate::ticket::store::TicketStore;

mod reader;
mod settings;

use reader::Reader;
pub use reader::{Environment, Problem};
pub use settings::{SETTINGS, Setting};

/// The actions that have a playbook setting.
pub const PLAYBOOKS: [(Action, &str); 6] = [
    (Action::RetryPipeline, "PLAYBOOK_RETRY_PIPELINE"),
    (Action::RetryJob, "PLAYBOOK_RETRY_JOB"),
    (Action::RestartCluster, "PLAYBOOK_RESTART_CLUSTER"),
    (Action::ReinstallLibraries, "PLAYBOOK_REINSTALL_LIBRARIES"),
    (Action::RetryTask, "PLAYBOOK_RETRY_AIRFLOW_TASK"),
    (Action::CheckUpstream, "PLAYBOOK_RERUN_UPSTREAM"),
];

const KEY_LENGTH: usize = 16;

/// Everything that was configured.
#[derive(Debug)]
pub struct Config {
    /// Where the handler listens.
    pub port: Option<u16>,
    /// What is logged.
    pub log_filter: String,
    /// Where telemetry goes; `None`: nowhere.
    pub otlp: Option<OtlpSettings>,
    /// Everything that is wrong, each with its variable's name.
    pub problems: Vec<Problem>,
    /// Where the store is; `Err` says what is missing.
    pub storage: Result<StorageSettings, Fault>,
    /// The shared client.
    pub http: Http,
    /// The vendors' APIs.
    pub collector: Collector,
    /// The language model.
    pub model: Option<Model>,
    /// JIRA.
    pub jira: Option<Jira>,
    /// Slack.
    pub slack: Option<Slack>,
    /// The playbooks.
    pub playbooks: Option<Playbooks>,
    /// What remediation may do.
    pub remediation: RemediationSettings,
    /// The optional lock of `/azure-monitor`.
    pub secure_webhook: Option<SecureWebhook>,
    /// The lock of dashboard and API.
    pub dashboard: DashboardLock,
    /// Where this app is reached from outside.
    pub public_base: Option<Url>,
}

/// This process's environment.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn environment() -> Environment {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

impl Config {
    /// Reads everything; what is wrong is collected, never fatal here.
    pub fn read(environment: &Environment) -> Result<Self, Fault> {
        let mut r = Reader::new(environment);
        let http = http(&mut r)?;
        let identity = identity(&r, "AZURE_CLIENT_ID");
        let public_base = r.url("PUBLIC_BASE_URL");
        let local = r.flag("AIOPS_RCA_LOCAL");
        let jira = jira(&mut r, public_base.clone());
        let issue_base = jira.as_ref().map(|settings| settings.domain.clone());
        let slack = slack(&mut r, public_base.clone(), issue_base);
        let playbooks = playbooks(&mut r, public_base.clone());
        let actions = playbooks.as_ref().map(|settings| settings.urls.keys().copied().collect()).unwrap_or_default();
        let identity = identity.map(|settings| Identity::new(settings, http.clone()));
        Ok(Self {
            port: r.number("FUNCTIONS_CUSTOMHANDLER_PORT", 1, u16::MAX),
            log_filter: r.text("LOG_LEVEL").unwrap_or_default(),
            otlp: otlp(&mut r),
            storage: storage(&mut r),
            collector: collector(&mut r, &http, identity.as_ref()),
            model: model(&mut r, &http, identity.as_ref()),
            remediation: remediation(&mut r, actions),
            secure_webhook: secure_webhook(&mut r, &http),
            dashboard: dashboard(&mut r, local),
            jira: jira.map(|settings| Jira::new(settings, http.clone())),
            slack: slack.map(|settings| Slack::new(settings, http.clone())),
            playbooks: playbooks.map(|settings| Playbooks::new(settings, http.clone())),
            problems: r.problems,
            http,
            public_base,
        })
    }

    /// The doors with everything behind them.
    pub fn into_doors(self) -> Doors {
        let storage = self.storage.and_then(|settings| Storage::open(&settings, &self.http));
        let pipeline = storage.map(|storage| Pipeline {
            store: TicketStore::new(storage),
            collector: self.collector,
            model: self.model,
            jira: self.jira,
            slack: self.slack,
            playbook: self.playbooks,
            remediation: self.remediation,
        });
        Doors {
            pipeline,
            secure_webhook: self.secure_webhook,
            dashboard: self.dashboard,
            problems: self.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

fn http(r: &mut Reader<'_>) -> Result<Http, Fault> {
    let Some(path) = r.text("EXTRA_CA_FILE") else { return Http::new(None) };
    let Ok(pem) = std::fs::read(path) else {
        r.problem("EXTRA_CA_FILE", "cannot be read");
        return Http::new(None);
    };
    Http::new(Some(&pem)).or_else(|fault| {
        r.problem("EXTRA_CA_FILE", fault.reason().to_owned());
        Http::new(None)
    })
}

/// What is wrong with it is reported, and nothing is exported: a collector must never cost a failure.
fn otlp(r: &mut Reader<'_>) -> Option<OtlpSettings> {
    let given = r.secret("OTEL_EXPORTER_OTLP_HEADERS");
    let wanted = r.has("OTEL_EXPORTER_OTLP_HEADERS");
    let headers = match given.as_ref().map(|text| telemetry::parse_headers(text.expose_secret())) {
        None => Some(reqwest::header::HeaderMap::new()),
        Some(Ok(headers)) => Some(headers),
        Some(Err(error)) => {
            r.problem("OTEL_EXPORTER_OTLP_HEADERS", error.to_string());
            None
        }
    };
    let name = r.text("OTEL_TRACES_SAMPLER").unwrap_or_default();
    let sampling = Sampling::from_name(&name);
    if sampling.is_none() {
        r.problem("OTEL_TRACES_SAMPLER", "must be parentbased_always_on or always_on");
    }
    let endpoint = if wanted {
        r.required("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS is set")?
    } else {
        r.text("OTEL_EXPORTER_OTLP_ENDPOINT")?
    };
    let endpoint = match telemetry::parse_endpoint(&endpoint, wanted) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            r.problem("OTEL_EXPORTER_OTLP_ENDPOINT", error.to_string());
            return None;
        }
    };
    // Without the headers that were wanted the collector would only refuse.
    let headers = headers.filter(|_| given.is_some() == wanted)?;
    let service_name = r.text("OTEL_SERVICE_NAME").unwrap_or_default();
    Some(OtlpSettings { endpoint, headers, service_name, sampling: sampling.unwrap_or(Sampling::AsTheSender) })
}

fn identity(r: &Reader<'_>, client_id: &'static str) -> Option<IdentitySettings> {
    let endpoint = Url::parse(&r.text("IDENTITY_ENDPOINT")?).ok()?;
    let header = SecretString::from(r.text("IDENTITY_HEADER")?);
    Some(IdentitySettings { endpoint, header, client_id: r.text(client_id) })
}

fn storage(r: &mut Reader<'_>) -> Result<StorageSettings, Fault> {
    let prefix = r.text("STORAGE_PREFIX").unwrap_or_default();
    let open = |settings: StorageSettings| Ok(settings.with_prefix(prefix.clone()));
    if let Some(text) = r.secret("AzureWebJobsStorage") {
        return match StorageSettings::from_connection_string(text.expose_secret()) {
            Ok(settings) => open(settings),
            Err(error) => {
                r.problem("AzureWebJobsStorage", error.to_string());
                Err(Fault::permanent("AzureWebJobsStorage cannot be read"))
            }
        };
    }
    let (account, tables, queues) = (
        r.text("AzureWebJobsStorage__accountName"),
        r.url("AzureWebJobsStorage__tableServiceUri"),
        r.url("AzureWebJobsStorage__queueServiceUri"),
    );
    if account.is_some() || tables.is_some() || queues.is_some() {
        let Some(identity) = identity(r, "AzureWebJobsStorage__clientId") else {
            r.problem("IDENTITY_ENDPOINT", "the storage is to be opened with a managed identity, but this process has none");
            return Err(Fault::permanent("there is no managed identity"));
        };
        return match (account, tables, queues) {
            (_, Some(tables), Some(queues)) => open(StorageSettings::of_services(tables, queues, identity)),
            (Some(account), _, _) => match StorageSettings::of_account(&account, identity) {
                Ok(settings) => open(settings),
                Err(error) => {
                    r.problem("AzureWebJobsStorage__accountName", error.to_string());
                    Err(Fault::permanent("AzureWebJobsStorage__accountName cannot be read"))
                }
            },
            (None, None, _) => {
                r.problem(
                    "AzureWebJobsStorage__tableServiceUri",
                    "is missing: both service URIs, or the account's name, are needed",
                );
                Err(Fault::permanent("AzureWebJobsStorage__tableServiceUri is missing"))
            }
            (None, Some(_), None) => {
                r.problem(
                    "AzureWebJobsStorage__queueServiceUri",
                    "is missing: both service URIs, or the account's name, are needed",
                );
                Err(Fault::permanent("AzureWebJobsStorage__queueServiceUri is missing"))
            }
        };
    }
    if let Some(path) = r.text("AIOPS_RCA_STORE") {
        return open(StorageSettings::embedded(path));
    }
    r.problem(
        "AzureWebJobsStorage",
        "is missing: a connection string, or AzureWebJobsStorage__accountName with a managed identity",
    );
    Err(Fault::permanent("AzureWebJobsStorage is missing"))
}

fn jira(r: &mut Reader<'_>, dashboard_base: Option<Url>) -> Option<JiraSettings> {
    match r.text("ITSM_TOOL").unwrap_or_default().to_ascii_lowercase().as_str() {
        "jira" => {}
        "none" => return None,
        _ => {
            r.problem("ITSM_TOOL", "must be jira or none");
            return None;
        }
    }
    let because = "ITSM_TOOL is jira";
    let domain = r.required_url("JIRA_DOMAIN", because);
    let user_email = r.required("JIRA_USER_EMAIL", because);
    let api_token = r.required_secret("JIRA_API_TOKEN", because);
    let project_key = r.required("JIRA_PROJECT_KEY", because);
    let (issue_type, webhook_secret) = (r.text("JIRA_ISSUE_TYPE").unwrap_or_default(), r.secret("JIRA_WEBHOOK_SECRET"));
    Some(JiraSettings {
        domain: domain?,
        user_email: user_email?,
        api_token: api_token?,
        project_key: project_key?,
        issue_type,
        webhook_secret,
        dashboard_base,
    })
}

fn slack(r: &mut Reader<'_>, dashboard_base: Option<Url>, issue_base: Option<Url>) -> Option<SlackSettings> {
    let channel = r.text("SLACK_ALERT_CHANNEL");
    let bot_token = if channel.is_some() {
        r.required_secret("SLACK_BOT_TOKEN", "SLACK_ALERT_CHANNEL is set")
    } else {
        r.secret("SLACK_BOT_TOKEN")
    }?;
    let channel = r.required("SLACK_ALERT_CHANNEL", "SLACK_BOT_TOKEN is set")?;
    Some(SlackSettings {
        bot_token,
        channel,
        signing_secret: r.secret("SLACK_SIGNING_SECRET"),
        approvers: list(r.text("SLACK_APPROVERS"), ','),
        api_base: r.url("SLACK_API_URL")?,
        dashboard_base,
        issue_base,
    })
}

fn list(text: Option<String>, separator: char) -> Vec<String> {
    text.unwrap_or_default().split(separator).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn playbooks(r: &mut Reader<'_>, callback_base: Option<Url>) -> Option<PlaybookSettings> {
    let mut urls = BTreeMap::new();
    for (action, name) in PLAYBOOKS {
        let Some(text) = r.secret(name) else { continue };
        match SecretUrl::parse(text.expose_secret()) {
            Ok(url) => {
                urls.insert(action, url);
            }
            Err(error) => r.problem(name, error.to_string()),
        }
    }
    if urls.is_empty() {
        return None;
    }
    let signing_key = r.required_secret("CALLBACK_SIGNING_KEY", "a PLAYBOOK_… URL is set");
    if signing_key.as_ref().is_some_and(|key| key.expose_secret().len() < KEY_LENGTH) {
        r.problem("CALLBACK_SIGNING_KEY", "must have at least 16 characters");
        return None;
    }
    if callback_base.is_none() {
        r.required("PUBLIC_BASE_URL", "a PLAYBOOK_… URL is set and playbooks call back");
    }
    Some(PlaybookSettings { urls, callback_base: callback_base?, signing_key: signing_key? })
}

fn remediation(r: &mut Reader<'_>, playbooks: BTreeSet<Action>) -> RemediationSettings {
    let default = RemediationSettings::default();
    let minutes = |r: &mut Reader<'_>, name| r.minutes(name, 7 * 24 * 60).unwrap_or(Duration::hours(2));
    let mut delays = Vec::new();
    for word in list(r.text("REMEDIATION_DELAYS"), ',') {
        match word.parse::<u16>() {
            Ok(seconds) => delays.push(Duration::seconds(i64::from(seconds))),
            Err(_) => r.problem("REMEDIATION_DELAYS", "must be seconds, separated by commas, e.g. 30,60,120"),
        }
    }
    let mut assets = Vec::new();
    for line in list(r.text("REMEDIATION_ASSETS"), ';') {
        match AssetPolicy::parse(&line) {
            Ok(policy) => assets.push(policy),
            Err(why) => {
                r.problem("REMEDIATION_ASSETS", why);
                // A rule nobody can read may have said never: nothing acts before it is mended.
                assets.insert(0, AssetPolicy::ask_about_everything());
            }
        }
    }
    let default_mode = r.text("REMEDIATION_DEFAULT").as_deref().map(Mode::from_name);
    if default_mode == Some(None) {
        r.problem("REMEDIATION_DEFAULT", "must be safe, from_failure, ask or never");
    }
    let quiet = r.text("REMEDIATION_QUIET_HOURS").map(|text| QuietHours::parse(&text));
    if quiet == Some(None) {
        r.problem("REMEDIATION_QUIET_HOURS", "must look like 22:00-06:00");
        // Any hour may be meant: a person is asked before it is mended.
        assets.insert(0, AssetPolicy::ask_about_everything());
    }
    RemediationSettings {
        enabled: r.flag("AUTO_REMEDIATION_ENABLED"),
        playbooks,
        assets,
        default_mode: default_mode.flatten().unwrap_or(Mode::Ask),
        quiet_hours: quiet.flatten(),
        max_running: r.number("REMEDIATION_MAX_RUNNING", 1, 1000).unwrap_or(default.max_running),
        cooldown: minutes(r, "REMEDIATION_COOLDOWN_MINUTES"),
        flapping_limit: r.number("REMEDIATION_FLAPPING_LIMIT", 1, 1000).unwrap_or(default.flapping_limit),
        low_confidence: default.low_confidence,
        approval_ttl: minutes(r, "REMEDIATION_APPROVAL_MINUTES"),
        delays,
        callback_deadline: minutes(r, "REMEDIATION_DEADLINE_MINUTES"),
    }
}

fn collector(r: &mut Reader<'_>, http: &Http, identity: Option<&Identity>) -> Collector {
    let managed = identity.map(|identity| Key::Identity(identity.clone()));
    Collector {
        data_factory: data_factory(r, managed.clone()).map(|(settings, key)| DataFactory::new(settings, http.clone(), key)),
        log_analytics: log_analytics(r, managed.clone()).map(|(settings, key)| LogAnalytics::new(settings, http.clone(), key)),
        databricks: databricks(r, managed).map(|(settings, key)| Databricks::new(settings, http.clone(), key)),
        airflow: airflow(r).map(|settings| Airflow::new(settings, http.clone())),
        ..Collector::default()
    }
}

fn data_factory(r: &mut Reader<'_>, managed: Option<Key>) -> Option<(DataFactorySettings, Key)> {
    let names = ["AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_DATA_FACTORY_NAME"];
    // Subscription and group may be set for other tools: the factory's name is what turns this on.
    r.text("AZURE_DATA_FACTORY_NAME")?;
    let because = "AZURE_DATA_FACTORY_NAME is set";
    let [subscription, resource_group, factory] = names.map(|name| r.required(name, because));
    let settings = DataFactorySettings {
        subscription: subscription?,
        resource_group: resource_group?,
        factory: factory?,
        base_url: r.url("AZURE_MANAGEMENT_URL")?,
    };
    needs_identity(r, "AZURE_DATA_FACTORY_NAME", managed).map(|key| (settings, key))
}

fn needs_identity(r: &mut Reader<'_>, name: &'static str, managed: Option<Key>) -> Option<Key> {
    if managed.is_none() {
        r.problem(name, "needs a managed identity (IDENTITY_ENDPOINT, IDENTITY_HEADER), which this process does not have");
    }
    managed
}

fn log_analytics(r: &mut Reader<'_>, managed: Option<Key>) -> Option<(LogAnalyticsSettings, Key)> {
    let text = r.text("LOG_ANALYTICS_WORKSPACE_ID")?;
    let Ok(workspace) = uuid::Uuid::parse_str(&text) else {
        r.problem("LOG_ANALYTICS_WORKSPACE_ID", "must be the workspace's id, a GUID, not its name");
        return None;
    };
    let base_url = r.url("LOG_ANALYTICS_URL")?;
    needs_identity(r, "LOG_ANALYTICS_WORKSPACE_ID", managed).map(|key| (LogAnalyticsSettings { workspace, base_url }, key))
}

fn databricks(r: &mut Reader<'_>, managed: Option<Key>) -> Option<(DatabricksSettings, Key)> {
    let name = if r.has("DATABRICKS_WORKSPACE_URL") { "DATABRICKS_WORKSPACE_URL" } else { "DATABRICKS_HOST" };
    if !r.has(name) && r.has("DATABRICKS_TOKEN") {
        r.required("DATABRICKS_WORKSPACE_URL", "DATABRICKS_TOKEN is set");
    }
    let workspace_url = r.url(name)?;
    let key = r.secret("DATABRICKS_TOKEN").map(Key::Token).or(managed);
    if key.is_none() {
        r.problem("DATABRICKS_TOKEN", "is missing, and there is no managed identity instead");
    }
    key.map(|key| (DatabricksSettings { workspace_url }, key))
}

fn airflow(r: &mut Reader<'_>) -> Option<AirflowSettings> {
    if ["AIRFLOW_USERNAME", "AIRFLOW_PASSWORD", "AIRFLOW_TOKEN"].iter().any(|name| r.has(name)) {
        r.required("AIRFLOW_BASE_URL", "a login for Airflow is set");
    }
    let base_url = r.url("AIRFLOW_BASE_URL")?;
    let api = match r.text("AIRFLOW_API_VERSION").unwrap_or_default().to_ascii_lowercase().as_str() {
        "v1" => Some(AirflowApi::V1),
        "v2" => Some(AirflowApi::V2),
        "auto" => None,
        _ => {
            r.problem("AIRFLOW_API_VERSION", "must be v1, v2 or auto");
            None
        }
    };
    let login = match (r.secret("AIRFLOW_TOKEN"), r.text("AIRFLOW_USERNAME")) {
        (Some(token), _) => AirflowLogin::Token(token),
        (None, Some(username)) => {
            AirflowLogin::Password { username, password: r.required_secret("AIRFLOW_PASSWORD", "AIRFLOW_USERNAME is set")? }
        }
        (None, None) => AirflowLogin::Open,
    };
    Some(AirflowSettings { base_url, api, login })
}

fn secure_webhook(r: &mut Reader<'_>, http: &Http) -> Option<SecureWebhook> {
    if !r.has("SECURE_WEBHOOK_TENANT_ID") && !r.has("SECURE_WEBHOOK_AUDIENCE") {
        return None;
    }
    let tenant = r.required("SECURE_WEBHOOK_TENANT_ID", "SECURE_WEBHOOK_AUDIENCE is set").unwrap_or_else(|| "unset".to_owned());
    // Half configured the lock stays, and opens for nobody: a lock that was wanted must not vanish.
    let audience = r.required("SECURE_WEBHOOK_AUDIENCE", "SECURE_WEBHOOK_TENANT_ID is set").unwrap_or_else(|| "unset".to_owned());
    let authority = r.url("ENTRA_AUTHORITY_URL").or_else(|| Url::parse("https://login.microsoftonline.com/").ok())?;
    Some(SecureWebhook::new(SecureWebhookSettings { tenant, audience, authority }, http.clone()))
}

fn dashboard(r: &mut Reader<'_>, local: bool) -> DashboardLock {
    let wanted = r.has("DASHBOARD_KEY");
    let key = r.secret("DASHBOARD_KEY");
    let key = match key {
        Some(short) if short.expose_secret().len() < KEY_LENGTH => {
            r.problem("DASHBOARD_KEY", "must have at least 16 characters");
            None
        }
        key => key,
    };
    match (r.text("DASHBOARD_AUTH").unwrap_or_default().to_ascii_lowercase().as_str(), key) {
        ("entra", key) => DashboardLock::Entra { key },
        ("key" | "", Some(key)) => DashboardLock::Key { key, plain_http: local },
        ("open", Some(_) | None) if local => DashboardLock::Open,
        // A lock that was wanted must not vanish.
        ("", None) if local && !wanted => DashboardLock::Open,
        ("open", _) => {
            r.problem("DASHBOARD_AUTH", "open works in `aiops-rca local` only");
            DashboardLock::Closed
        }
        ("key", None) => {
            r.required("DASHBOARD_KEY", "DASHBOARD_AUTH is key");
            DashboardLock::Closed
        }
        ("", None) => DashboardLock::Closed,
        _ => {
            r.problem("DASHBOARD_AUTH", "must be entra or key");
            DashboardLock::Closed
        }
    }
}

fn model(r: &mut Reader<'_>, http: &Http, identity: Option<&Identity>) -> Option<Model> {
    let provider = match r.text("AI_PROVIDER").unwrap_or_default().to_ascii_lowercase().as_str() {
        "none" => return None,
        "azure-openai" => Provider::AzureOpenAi,
        "openai-compatible" => Provider::OpenAiCompatible,
        _ => {
            r.problem("AI_PROVIDER", "must be none, azure-openai or openai-compatible");
            return None;
        }
    };
    let because = "AI_PROVIDER is set";
    let (endpoint, name) = (r.required_url("AI_ENDPOINT", because), r.required("AI_MODEL", because));
    let api_key = r.secret("AI_API_KEY");
    if provider == Provider::AzureOpenAi && api_key.is_none() && identity.is_none() {
        r.problem("AI_API_KEY", "is missing, and there is no managed identity instead");
        return None;
    }
    let daily_budget = r.number("AI_DAILY_BUDGET", 0, 1_000_000).unwrap_or(500);
    let settings = ModelSettings { provider, endpoint: endpoint?, model: name?, api_key, daily_budget };
    Some(Model::new(settings, http.clone(), identity.cloned()))
}
