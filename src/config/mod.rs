//! The only reader of the environment: parses everything, reports all problems at once.
//!
//! In: settings as text. Out: values ([`Config::read`]), and the parts that are made of them ([`Config::wire`]). A sink
//! that is not configured is off and the ticket says so; one that is half configured is off as well, with a [`Problem`] that names the missing
//! variable: a wrong JIRA setting must never cost a failure. Only the store is indispensable.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::diagnosis::Action;
use crate::fault::Fault;
use crate::functions::access::DashboardLock;
use crate::functions::bot_token::BotTokenSettings;
use crate::functions::deployment::{self, Idle};
use crate::functions::faults::{self, Faults};
use crate::functions::secure_webhook::SecureWebhookSettings;
use crate::http;
use crate::identity::IdentitySettings;
use crate::incident::FoldSettings;
use crate::model::ModelSettings;
use crate::ownership::{OwnershipSettings, Routes};
use crate::patrol::PatrolSettings;
use crate::remediation::RemediationSettings;
use crate::sinks::jira::JiraSettings;
use crate::sinks::playbook::PlaybookSettings;
use crate::sinks::slack::SlackSettings;
use crate::sinks::teams::TeamsSettings;
use crate::storage::StorageSettings;
use crate::telemetry::OtlpSettings;

mod incident;
mod locks;
mod model;
mod ownership;
mod patrol;
mod reader;
mod remediation;
mod scopes;
mod settings;
mod sinks;
mod storage;
mod telemetry;
mod vendors;
mod wiring;

use reader::Reader;
pub use reader::{Environment, Problem};
pub use settings::{SETTINGS, Setting};
pub use vendors::{Configured, Pipelines, Vendors, Workspace};
pub use wiring::Parts;

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

/// Everything that was configured, as values: nothing is opened or asked yet. [`Config::wire`] makes the parts of it.
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
    /// Further trusted roots, PEM.
    pub extra_roots: Option<Vec<u8>>,
    /// The managed identity, where there is one.
    pub identity: Option<IdentitySettings>,
    /// The vendors' APIs.
    pub vendors: Vendors,
    /// The language model.
    pub model: Option<ModelSettings>,
    /// JIRA, if it is on.
    pub jira: Option<JiraSettings>,
    /// Slack, if it is on.
    pub slack: Option<SlackSettings>,
    /// Microsoft Teams, if it is on.
    pub teams: Option<TeamsSettings>,
    /// The playbooks, if there are any.
    pub playbooks: Option<PlaybookSettings>,
    /// The resource that a playbook's trigger takes tokens for.
    pub playbook_audience: String,
    /// Resource Manager of the cloud, as tokens for it name it.
    pub management: String,
    /// What remediation may do.
    pub remediation: RemediationSettings,
    /// Whether, and how far back, platforms are asked.
    pub patrol: PatrolSettings,
    /// Which failures are one incident.
    pub fold: FoldSettings,
    /// Who owns what, and how much it matters.
    pub ownership: OwnershipSettings,
    /// Where owners read of their failures.
    pub routes: Routes,
    /// Days after which closed tickets go; `None`: never.
    pub retention_days: Option<u32>,
    /// The optional lock of `/azure-monitor`.
    pub secure_webhook: Option<SecureWebhookSettings>,
    /// The lock of `/teams/messages`; `None`: there is no bot.
    pub bot_token: Option<BotTokenSettings>,
    /// The identity of the bot, where there is one.
    pub bot_identity: Option<IdentitySettings>,
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
    /// Reads everything; what is wrong is collected, never fatal.
    pub fn read(environment: &Environment) -> Self {
        let mut r = Reader::new(environment);
        let public_base = r.url("PUBLIC_BASE_URL");
        let bot_identity = identity(&r, "TEAMS_BOT_APP_ID");
        let identity = identity(&r, "AZURE_CLIENT_ID");
        let management = r.url("AZURE_MANAGEMENT_URL");
        let management =
            management.map_or_else(String::new, |url| url.origin().ascii_serialization());
        let jira = sinks::jira(&mut r, public_base.clone());
        let issue_base = jira.as_ref().map(|settings| settings.domain.clone());
        let slack = sinks::slack(&mut r, public_base.clone(), issue_base.clone());
        let teams = sinks::teams(&mut r, public_base.clone(), issue_base);
        let playbooks = sinks::playbooks(&mut r, public_base.clone());
        let actions = playbooks
            .as_ref()
            .map(|settings| settings.urls.keys().copied().collect())
            .unwrap_or_default();
        let mut vendors = vendors::vendors(&mut r, identity.is_some());
        scopes::add(&mut r, identity.is_some(), &mut vendors);
        let ownership = ownership::ownership(&mut r, &vendors.scopes());
        let remediation = remediation::remediation(&mut r, actions, &vendors.scopes());
        Self {
            port: r.number("FUNCTIONS_CUSTOMHANDLER_PORT", 1, u16::MAX),
            log_filter: r.text("LOG_LEVEL").unwrap_or_default(),
            otlp: telemetry::otlp(&mut r),
            storage: storage::storage(&mut r),
            extra_roots: extra_roots(&mut r),
            model: model::model(&mut r, identity.is_some()),
            patrol: patrol::patrol(&mut r),
            fold: incident::fold(&mut r),
            ownership,
            remediation,
            routes: ownership::routes(&mut r),
            retention_days: r.number("RETENTION_DAYS", 7, 3650),
            vendors,
            secure_webhook: locks::secure_webhook(&mut r),
            bot_token: locks::bot_token(&mut r, teams.as_ref()),
            bot_identity,
            dashboard: locks::dashboard(&mut r),
            playbook_audience: r
                .text("PLAYBOOK_AUDIENCE")
                .unwrap_or_else(|| management.clone()),
            management,
            jira,
            slack,
            teams,
            playbooks,
            problems: r.problems,
            faults: Faults::parse(environment.get(faults::VARIABLE).map_or("", String::as_str)),
            idle: deployment::idle(environment, root(environment).as_deref()),
            identity,
            public_base,
        }
    }
}

/// The folder of the deployed app, as the host names it to its handler.
fn root(environment: &Environment) -> Option<PathBuf> {
    let path = environment.get(deployment::ROOT)?;
    (!path.trim().is_empty()).then(|| path.into())
}

fn extra_roots(r: &mut Reader<'_>) -> Option<Vec<u8>> {
    let Ok(pem) = std::fs::read(r.text("EXTRA_CA_FILE")?) else {
        r.problem("EXTRA_CA_FILE", "cannot be read");
        return None;
    };
    if let Err(fault) = http::roots(Some(&pem)) {
        r.problem("EXTRA_CA_FILE", fault.reason().to_owned());
        return None;
    }
    Some(pem)
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
