//! The vendors' APIs that are asked for evidence, each on when its own settings are there.

use secrecy::SecretString;

use super::reader::Reader;
use crate::evidence::airflow::{AirflowApi, AirflowLogin, AirflowSettings};
use crate::evidence::data_factory::{DataFactorySettings, SynapseSettings};
use crate::evidence::databricks::DatabricksSettings;
use crate::evidence::log_analytics::LogAnalyticsSettings;
use crate::failure::Scope;

/// Everything that can be asked.
#[derive(Debug, Clone, Default)]
pub struct Vendors {
    /// Data factories and Synapse workspaces; the managed identity reads them.
    pub data_factory: Vec<Configured<Pipelines>>,
    /// Log Analytics; the managed identity reads it.
    pub log_analytics: Option<LogAnalyticsSettings>,
    /// Databricks workspaces.
    pub databricks: Vec<Configured<Workspace>>,
    /// Airflow deployments.
    pub airflow: Vec<Configured<AirflowSettings>>,
}

/// One scope of a platform.
#[derive(Debug, Clone)]
pub struct Configured<S> {
    /// How it is reached.
    pub settings: S,
    /// What it is called, and whether the playbooks act there.
    pub scope: Scope,
}

/// Where pipelines live.
#[derive(Debug, Clone)]
pub enum Pipelines {
    /// A data factory.
    Factory(DataFactorySettings),
    /// A Synapse workspace.
    Synapse(SynapseSettings),
}

/// A Databricks workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Which.
    pub workspace: DatabricksSettings,
    /// A token; without one the managed identity reads it.
    pub token: Option<SecretString>,
}

impl From<DataFactorySettings> for Configured<Pipelines> {
    fn from(settings: DataFactorySettings) -> Self {
        let scope = settings.scope();
        let settings = Pipelines::Factory(settings);
        Self { settings, scope }
    }
}

impl From<SynapseSettings> for Configured<Pipelines> {
    fn from(settings: SynapseSettings) -> Self {
        let scope = settings.scope();
        let settings = Pipelines::Synapse(settings);
        Self { settings, scope }
    }
}

impl From<Workspace> for Configured<Workspace> {
    fn from(settings: Workspace) -> Self {
        let scope = settings.workspace.scope();
        Self { settings, scope }
    }
}

impl From<AirflowSettings> for Configured<AirflowSettings> {
    fn from(settings: AirflowSettings) -> Self {
        let scope = settings.scope();
        Self { settings, scope }
    }
}

impl Vendors {
    /// All scopes, platform by platform.
    pub fn scopes(&self) -> Vec<Scope> {
        let factories = self.data_factory.iter().map(|one| &one.scope);
        let workspaces = self.databricks.iter().map(|one| &one.scope);
        let deployments = self.airflow.iter().map(|one| &one.scope);
        let all = factories.chain(workspaces).chain(deployments);
        all.cloned().collect()
    }
}

/// What the single settings name.
pub(super) fn vendors(r: &mut Reader<'_>, identity: bool) -> Vendors {
    Vendors {
        data_factory: data_factory(r, identity)
            .map(Into::into)
            .into_iter()
            .collect(),
        log_analytics: log_analytics(r, identity),
        databricks: databricks(r, identity)
            .map(Into::into)
            .into_iter()
            .collect(),
        airflow: airflow(r).map(Into::into).into_iter().collect(),
    }
}

fn data_factory(r: &mut Reader<'_>, identity: bool) -> Option<DataFactorySettings> {
    let names = [
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_RESOURCE_GROUP",
        "AZURE_DATA_FACTORY_NAME",
    ];
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
    needs_identity(r, "AZURE_DATA_FACTORY_NAME", identity).then_some(settings)
}

fn needs_identity(r: &mut Reader<'_>, name: &'static str, identity: bool) -> bool {
    if !identity {
        r.problem(name, NO_IDENTITY);
    }
    identity
}

/// What is wrong where the managed identity alone could read.
pub(super) const NO_IDENTITY: &str = "needs a managed identity (IDENTITY_ENDPOINT, IDENTITY_HEADER), which this process does not have";

fn log_analytics(r: &mut Reader<'_>, identity: bool) -> Option<LogAnalyticsSettings> {
    let text = r.text("LOG_ANALYTICS_WORKSPACE_ID")?;
    let Ok(workspace) = uuid::Uuid::parse_str(&text) else {
        r.problem(
            "LOG_ANALYTICS_WORKSPACE_ID",
            "must be the workspace's id, a GUID, not its name",
        );
        return None;
    };
    let base_url = r.url("LOG_ANALYTICS_URL")?;
    needs_identity(r, "LOG_ANALYTICS_WORKSPACE_ID", identity).then_some(LogAnalyticsSettings {
        workspace,
        base_url,
    })
}

fn databricks(r: &mut Reader<'_>, identity: bool) -> Option<Workspace> {
    let name = if r.has("DATABRICKS_WORKSPACE_URL") {
        "DATABRICKS_WORKSPACE_URL"
    } else {
        "DATABRICKS_HOST"
    };
    if !r.has(name) && r.has("DATABRICKS_TOKEN") {
        r.required("DATABRICKS_WORKSPACE_URL", "DATABRICKS_TOKEN is set");
    }
    let workspace_url = r.url(name)?;
    let token = r.secret("DATABRICKS_TOKEN");
    if token.is_none() && !identity {
        r.problem(
            "DATABRICKS_TOKEN",
            "is missing, and there is no managed identity instead",
        );
        return None;
    }
    Some(Workspace {
        workspace: DatabricksSettings { workspace_url },
        token,
    })
}

fn airflow(r: &mut Reader<'_>) -> Option<AirflowSettings> {
    if ["AIRFLOW_USERNAME", "AIRFLOW_PASSWORD", "AIRFLOW_TOKEN"]
        .iter()
        .any(|name| r.has(name))
    {
        r.required("AIRFLOW_BASE_URL", "a login for Airflow is set");
    }
    let base_url = r.url("AIRFLOW_BASE_URL")?;
    let api = api(&r.text("AIRFLOW_API_VERSION").unwrap_or_default()).unwrap_or_else(|why| {
        r.problem("AIRFLOW_API_VERSION", why);
        None
    });
    let login = match (r.secret("AIRFLOW_TOKEN"), r.text("AIRFLOW_USERNAME")) {
        (Some(token), _) => AirflowLogin::Token(token),
        (None, Some(username)) => AirflowLogin::Password {
            username,
            password: r.required_secret("AIRFLOW_PASSWORD", "AIRFLOW_USERNAME is set")?,
        },
        (None, None) => AirflowLogin::Open,
    };
    Some(AirflowSettings {
        base_url,
        api,
        login,
    })
}

/// A version; `None`: it is found out. `Err`: what it must be.
pub(super) fn api(version: &str) -> Result<Option<AirflowApi>, &'static str> {
    match version.to_ascii_lowercase().as_str() {
        "v1" => Ok(Some(AirflowApi::V1)),
        "v2" => Ok(Some(AirflowApi::V2)),
        "auto" | "" => Ok(None),
        _ => Err("must be v1, v2 or auto"),
    }
}
