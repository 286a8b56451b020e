//! The vendors' APIs that are asked for evidence, each on when its own settings are there.

use super::reader::Reader;
use super::scopes;
use crate::evidence::airflow::{AirflowApi, AirflowLogin, AirflowSettings};
use crate::evidence::data_factory::DataFactorySettings;
use crate::evidence::databricks::DatabricksSettings;
use crate::evidence::log_analytics::LogAnalyticsSettings;
use crate::evidence::{Airflow, Collector, DataFactory, Databricks, Key, LogAnalytics};
use crate::http::Http;
use crate::identity::Identity;

pub(super) fn collector(r: &mut Reader<'_>, http: &Http, identity: Option<&Identity>) -> Collector {
    let managed = identity.map(|identity| Key::Identity(identity.clone()));
    let mut collector = Collector {
        data_factory: data_factory(r, managed.clone())
            .map(|(settings, key)| DataFactory::new(settings, http.clone(), key))
            .into_iter()
            .collect(),
        log_analytics: log_analytics(r, managed.clone())
            .map(|(settings, key)| LogAnalytics::new(settings, http.clone(), key)),
        databricks: databricks(r, managed.clone())
            .map(|(settings, key)| Databricks::new(settings, http.clone(), key))
            .into_iter()
            .collect(),
        airflow: airflow(r)
            .map(|settings| Airflow::new(settings, http.clone()))
            .into_iter()
            .collect(),
        ..Collector::default()
    };
    scopes::add(r, http, managed.as_ref(), &mut collector);
    collector
}

fn data_factory(r: &mut Reader<'_>, managed: Option<Key>) -> Option<(DataFactorySettings, Key)> {
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
        r.problem(
            "LOG_ANALYTICS_WORKSPACE_ID",
            "must be the workspace's id, a GUID, not its name",
        );
        return None;
    };
    let base_url = r.url("LOG_ANALYTICS_URL")?;
    needs_identity(r, "LOG_ANALYTICS_WORKSPACE_ID", managed).map(|key| {
        (
            LogAnalyticsSettings {
                workspace,
                base_url,
            },
            key,
        )
    })
}

fn databricks(r: &mut Reader<'_>, managed: Option<Key>) -> Option<(DatabricksSettings, Key)> {
    let name = if r.has("DATABRICKS_WORKSPACE_URL") {
        "DATABRICKS_WORKSPACE_URL"
    } else {
        "DATABRICKS_HOST"
    };
    if !r.has(name) && r.has("DATABRICKS_TOKEN") {
        r.required("DATABRICKS_WORKSPACE_URL", "DATABRICKS_TOKEN is set");
    }
    let workspace_url = r.url(name)?;
    let key = r.secret("DATABRICKS_TOKEN").map(Key::Token).or(managed);
    if key.is_none() {
        r.problem(
            "DATABRICKS_TOKEN",
            "is missing, and there is no managed identity instead",
        );
    }
    key.map(|key| (DatabricksSettings { workspace_url }, key))
}

fn airflow(r: &mut Reader<'_>) -> Option<AirflowSettings> {
    if ["AIRFLOW_USERNAME", "AIRFLOW_PASSWORD", "AIRFLOW_TOKEN"]
        .iter()
        .any(|name| r.has(name))
    {
        r.required("AIRFLOW_BASE_URL", "a login for Airflow is set");
    }
    let base_url = r.url("AIRFLOW_BASE_URL")?;
    let api = api(&r.text("AIRFLOW_API_VERSION").unwrap_or_default()).unwrap_or_else(|| {
        r.problem("AIRFLOW_API_VERSION", "must be v1, v2 or auto");
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

/// `None`: no version; `Some(None)`: it is found out.
pub(super) fn api(version: &str) -> Option<Option<AirflowApi>> {
    match version.to_ascii_lowercase().as_str() {
        "v1" => Some(Some(AirflowApi::V1)),
        "v2" => Some(Some(AirflowApi::V2)),
        "auto" | "" => Some(None),
        _ => None,
    }
}
