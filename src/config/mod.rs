//! The only reader of the environment: parses everything, reports all problems at once.
//!
//! In: settings as text. Out: the parts of the house, wired. A sink that is not configured is off and the
//! ticket says so; one that is half configured is off as well, with a [`Problem`] that names the missing
//! variable: a wrong JIRA setting must never cost a failure. Only the store is indispensable.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::diagnosis::Action;
use crate::evidence::Collector;
use crate::failure::{Scope, Source};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::functions::Doors;
use crate::functions::access::DashboardLock;
use crate::functions::deployment::{self, Idle};
use crate::functions::faults::{self, Faults};
use crate::functions::secure_webhook::{SecureWebhook, SecureWebhookSettings};
use crate::http::Http;
use crate::identity::{Identity, IdentitySettings};
use crate::model::{Model, ModelSettings, Provider};
use crate::patrol::PatrolSettings;
use crate::remediation::RemediationSettings;
use crate::sinks::Sinks;
use crate::sinks::jira::Jira;
use crate::sinks::lanes::Lanes;
use crate::sinks::playbook::Playbooks;
use crate::sinks::slack::Slack;
use crate::storage::{Storage, StorageSettings};
use crate::telemetry::OtlpSettings;
use crate::ticket::store::TicketStore;

mod patrol;
mod reader;
mod remediation;
mod scopes;
mod settings;
mod sinks;
mod storage;
mod telemetry;
mod vendors;

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
    /// What keeps the Functions host from calling our functions.
    pub idle: Vec<Idle>,
    /// Faults that tests inject.
    pub faults: Faults,
    /// Where the store is; `Err` says what is missing.
    pub storage: Result<StorageSettings, Fault>,
    /// The shared client.
    pub http: Http,
    /// The managed identity, where there is one.
    pub identity: Option<Identity>,
    /// The vendors' APIs.
    pub collector: Collector,
    /// The language model.
    pub model: Option<Model>,
    /// The sinks that are on.
    pub sinks: Sinks,
    /// What remediation may do.
    pub remediation: RemediationSettings,
    /// Whether, and how far back, platforms are asked.
    pub patrol: PatrolSettings,
    /// The optional lock of `/azure-monitor`.
    pub secure_webhook: Option<SecureWebhook>,
    /// The lock of dashboard and API.
    pub dashboard: DashboardLock,
    /// Where this app is reached from outside.
    pub public_base: Option<Url>,
}

/// This process's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Config {
    /// Reads everything; what is wrong is collected, never fatal here.
    pub fn read(environment: &Environment) -> Result<Self, Fault> {
        let mut r = Reader::new(environment);
        let http = http(&mut r)?;
        let identity = identity(&r, "AZURE_CLIENT_ID");
        let public_base = r.url("PUBLIC_BASE_URL");
        let local = is_local(&mut r);
        let jira = sinks::jira(&mut r, public_base.clone());
        let issue_base = jira.as_ref().map(|settings| settings.domain.clone());
        let slack = sinks::slack(&mut r, public_base.clone(), issue_base);
        let playbooks = sinks::playbooks(&mut r, public_base.clone());
        let actions = playbooks
            .as_ref()
            .map(|settings| settings.urls.keys().copied().collect())
            .unwrap_or_default();
        let identity = identity.map(|settings| Identity::new(settings, http.clone()));
        let collector = vendors::collector(&mut r, &http, identity.as_ref());
        let scopes: Vec<Scope> = (Source::ALL.iter())
            .flat_map(|source| collector.scopes(*source))
            .collect();
        Ok(Self {
            port: r.number("FUNCTIONS_CUSTOMHANDLER_PORT", 1, u16::MAX),
            log_filter: r.text("LOG_LEVEL").unwrap_or_default(),
            otlp: telemetry::otlp(&mut r),
            storage: storage::storage(&mut r),
            collector,
            model: model(&mut r, &http, identity.as_ref()),
            remediation: remediation::remediation(&mut r, actions, &scopes),
            patrol: patrol::patrol(&mut r),
            secure_webhook: secure_webhook(&mut r, &http),
            dashboard: dashboard(&mut r, local),
            sinks: Sinks {
                jira: jira.map(|settings| Jira::new(settings, http.clone())),
                slack: slack.map(|settings| Slack::new(settings, http.clone())),
                playbook: playbooks.map(|settings| {
                    let audience = r.text("PLAYBOOK_AUDIENCE").unwrap_or_default();
                    Playbooks::new(settings, http.clone()).called_as(identity.clone(), audience)
                }),
                lanes: Lanes::default(),
            },
            problems: r.problems,
            faults: Faults::parse(environment.get(faults::VARIABLE).map_or("", String::as_str)),
            idle: deployment::idle(environment, root(environment).as_deref()),
            http,
            identity,
            public_base,
        })
    }

    /// The doors with everything behind them.
    pub fn into_doors(self) -> Doors {
        let storage = self
            .storage
            .and_then(|settings| Storage::open(&settings, &self.http));
        let flow = storage.map(|storage| Flow {
            store: TicketStore::new(storage),
            collector: self.collector,
            model: self.model,
            sinks: self.sinks,
            remediation: self.remediation,
            patrol: self.patrol,
        });
        Doors {
            flow,
            secure_webhook: self.secure_webhook,
            dashboard: self.dashboard,
            problems: self.problems.iter().map(ToString::to_string).collect(),
            idle: self.idle,
        }
    }
}

/// The folder of the deployed app, as the host names it to its handler.
fn root(environment: &Environment) -> Option<PathBuf> {
    let path = environment.get(deployment::ROOT)?;
    (!path.trim().is_empty()).then(|| path.into())
}

fn http(r: &mut Reader<'_>) -> Result<Http, Fault> {
    let Some(path) = r.text("EXTRA_CA_FILE") else {
        return Http::new(None);
    };
    let Ok(pem) = std::fs::read(path) else {
        r.problem("EXTRA_CA_FILE", "cannot be read");
        return Http::new(None);
    };
    Http::new(Some(&pem)).or_else(|fault| {
        r.problem("EXTRA_CA_FILE", fault.reason().to_owned());
        Http::new(None)
    })
}

fn identity(r: &Reader<'_>, client_id: &'static str) -> Option<IdentitySettings> {
    let endpoint = Url::parse(&r.text("IDENTITY_ENDPOINT")?).ok()?;
    let header = SecretString::from(r.text("IDENTITY_HEADER")?);
    Some(IdentitySettings {
        endpoint,
        header,
        client_id: r.text(client_id),
    })
}

/// Was this started by `local`? Without the feature nothing is, whatever the environment says.
#[cfg(feature = "local")]
fn is_local(r: &mut Reader<'_>) -> bool {
    r.flag("AIOPS_RCA_LOCAL")
}

#[cfg(not(feature = "local"))]
fn is_local(_: &mut Reader<'_>) -> bool {
    false
}

fn secure_webhook(r: &mut Reader<'_>, http: &Http) -> Option<SecureWebhook> {
    if !r.has("SECURE_WEBHOOK_TENANT_ID") && !r.has("SECURE_WEBHOOK_AUDIENCE") {
        return None;
    }
    let tenant = r
        .required("SECURE_WEBHOOK_TENANT_ID", "SECURE_WEBHOOK_AUDIENCE is set")
        .unwrap_or_else(|| "unset".to_owned());
    // Half configured the lock stays, and opens for nobody: a lock that was wanted must not vanish.
    let audience = r
        .required("SECURE_WEBHOOK_AUDIENCE", "SECURE_WEBHOOK_TENANT_ID is set")
        .unwrap_or_else(|| "unset".to_owned());
    let authority = r
        .url("ENTRA_AUTHORITY_URL")
        .or_else(|| Url::parse("https://login.microsoftonline.com/").ok())?;
    Some(SecureWebhook::new(
        SecureWebhookSettings {
            tenant,
            audience,
            authority,
        },
        http.clone(),
    ))
}

fn dashboard(r: &mut Reader<'_>, local: bool) -> DashboardLock {
    let key = r.secret("DASHBOARD_KEY");
    let key = match key {
        Some(short) if short.expose_secret().len() < KEY_LENGTH => {
            r.problem("DASHBOARD_KEY", "must have at least 16 characters");
            None
        }
        key => key,
    };
    match (
        r.text("DASHBOARD_AUTH")
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str(),
        key,
    ) {
        // Without App Service authentication in front anybody could send its headers.
        ("entra", _)
            if !r
                .text("WEBSITE_AUTH_ENABLED")
                .is_some_and(|on| on.eq_ignore_ascii_case("true") || on == "1") =>
        {
            r.problem(
                "DASHBOARD_AUTH",
                "is entra, but App Service authentication is not on (WEBSITE_AUTH_ENABLED is not true)",
            );
            DashboardLock::Closed
        }
        ("entra", key) => DashboardLock::Entra { key },
        ("key" | "", Some(key)) => DashboardLock::Key {
            key,
            plain_http: local,
        },
        #[cfg(feature = "local")]
        ("open", Some(_) | None) if local => DashboardLock::Open,
        // A lock that was wanted must not vanish.
        #[cfg(feature = "local")]
        ("", None) if local && !r.has("DASHBOARD_KEY") => DashboardLock::Open,
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
    let provider = match r
        .text("AI_PROVIDER")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "none" => return None,
        "azure-openai" => Provider::AzureOpenAi,
        "openai-compatible" => Provider::OpenAiCompatible,
        _ => {
            r.problem(
                "AI_PROVIDER",
                "must be none, azure-openai or openai-compatible",
            );
            return None;
        }
    };
    let because = "AI_PROVIDER is set";
    let (endpoint, name) = (
        r.required_url("AI_ENDPOINT", because),
        r.required("AI_MODEL", because),
    );
    let api_key = r.secret("AI_API_KEY");
    if provider == Provider::AzureOpenAi && api_key.is_none() && identity.is_none() {
        r.problem(
            "AI_API_KEY",
            "is missing, and there is no managed identity instead",
        );
        return None;
    }
    let daily_budget = r.number("AI_DAILY_BUDGET", 0, 1_000_000).unwrap_or(500);
    let settings = ModelSettings {
        provider,
        endpoint: endpoint?,
        model: name?,
        api_key,
        daily_budget,
    };
    Some(Model::new(settings, http.clone(), identity.cloned()))
}

#[cfg(test)]
mod tests {
    // The build with the feature is tested in tests/it/settings.rs.
    #[cfg(not(feature = "local"))]
    #[test]
    fn the_product_is_not_opened_by_the_environment() {
        use super::{Config, DashboardLock, Environment};
        let read = |settings: &[(&str, &str)]| {
            let settings: Environment = settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            Config::read(&settings).unwrap()
        };
        let local = ("AIOPS_RCA_LOCAL", "true");
        for more in [
            [local, ("DASHBOARD_KEY", "")],
            [local, ("DASHBOARD_AUTH", "open")],
            [local, ("DASHBOARD_AUTH", "OPEN")],
            [local, ("AIOPS_RCA_STORE", "/tmp/store.db")],
        ] {
            let config = read(&more);
            assert!(
                matches!(config.dashboard, DashboardLock::Closed),
                "{more:?}"
            );
            assert!(config.storage.is_err(), "{more:?}");
        }
        let key = [local, ("DASHBOARD_KEY", "sixteen characters")];
        assert!(matches!(
            read(&key).dashboard,
            DashboardLock::Key {
                plain_http: false,
                ..
            }
        ));
    }
}
