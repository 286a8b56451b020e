//! Several factories, workspaces and deployments beside those of the single settings. A bad entry is a problem of its
//! own; the others work.

use secrecy::SecretString;

use super::reader::{Reader, address, list, name_of_scope};
use super::vendors::api;
use crate::evidence::airflow::{AirflowLogin, AirflowSettings};
use crate::evidence::data_factory::{DataFactorySettings, SynapseSettings};
use crate::evidence::databricks::DatabricksSettings;
use crate::evidence::{Airflow, Collector, DataFactory, Databricks, Key};
use crate::failure::Scope;
use crate::http::Http;

const FACTORIES: &str = "AZURE_DATA_FACTORIES";
const WORKSPACES: &str = "DATABRICKS_WORKSPACES";
const DEPLOYMENTS: &str = "AIRFLOW_DEPLOYMENTS";
const SERVED: &str = "PLAYBOOK_SCOPES";

/// Adds what the lists name, and says where the playbooks act.
pub(super) fn add(
    r: &mut Reader<'_>,
    http: &Http,
    managed: Option<&Key>,
    collector: &mut Collector,
) {
    let single = [
        collector.data_factory.len(),
        collector.databricks.len(),
        collector.airflow.len(),
    ];
    for (number, entry) in (1..).zip(list(r.text(FACTORIES), ',')) {
        match factory(r, http, managed, &entry) {
            Ok(factory) => push(r, FACTORIES, number, &mut collector.data_factory, factory),
            Err(why) => r.problem(FACTORIES, of_entry(number, &why)),
        }
    }
    for (number, entry) in (1..).zip(list(r.text(WORKSPACES), ',')) {
        match workspace(r, http, managed, &entry) {
            Ok(workspace) => push(r, WORKSPACES, number, &mut collector.databricks, workspace),
            Err(why) => r.problem(WORKSPACES, of_entry(number, &why)),
        }
    }
    for (number, entry) in (1..).zip(list(r.text(DEPLOYMENTS), ',')) {
        match deployment(r, http, &entry) {
            Ok(deployment) => push(r, DEPLOYMENTS, number, &mut collector.airflow, deployment),
            Err(why) => r.problem(DEPLOYMENTS, of_entry(number, &why)),
        }
    }
    serve(r, collector, single);
}

fn of_entry(number: usize, why: &str) -> String {
    format!("entry {number} {why}")
}

/// One of the clients that have a scope.
trait Scoped {
    fn of(&self) -> &Scope;
}

impl Scoped for DataFactory {
    fn of(&self) -> &Scope {
        self.scope()
    }
}

impl Scoped for Databricks {
    fn of(&self) -> &Scope {
        self.scope()
    }
}

impl Scoped for Airflow {
    fn of(&self) -> &Scope {
        self.scope()
    }
}

/// Adds a client unless its scope is there already; two scopes may not share a short name.
fn push<T: Scoped>(
    r: &mut Reader<'_>,
    setting: &'static str,
    number: usize,
    clients: &mut Vec<T>,
    client: T,
) {
    let scope = client.of();
    if clients.iter().any(|other| other.of().id == scope.id) {
        return;
    }
    if clients
        .iter()
        .any(|other| other.of().name.eq_ignore_ascii_case(&scope.name))
    {
        let why = format!("is called {} like another scope", scope.name);
        r.problem(setting, of_entry(number, &why));
        return;
    }
    clients.push(client);
}

fn factory(
    r: &mut Reader<'_>,
    http: &Http,
    managed: Option<&Key>,
    entry: &str,
) -> Result<DataFactory, String> {
    let pieces: Vec<&str> = entry.trim_matches('/').split('/').collect();
    let [
        subscriptions,
        subscription,
        groups,
        resource_group,
        providers,
        provider,
        kind,
        name,
    ] = pieces.as_slice()
    else {
        return Err(NO_RESOURCE_ID.to_owned());
    };
    let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
    let fixed = is(subscriptions, "subscriptions")
        && is(groups, "resourceGroups")
        && is(providers, "providers");
    let plain = |part: &&&str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.()".contains(c))
    };
    if !fixed || ![subscription, resource_group, name].iter().all(plain) {
        return Err(NO_RESOURCE_ID.to_owned());
    }
    let key = managed.cloned().ok_or_else(|| {
        "needs a managed identity (IDENTITY_ENDPOINT, IDENTITY_HEADER), which this process does not have"
            .to_owned()
    })?;
    if is(provider, "Microsoft.DataFactory") && is(kind, "factories") {
        let base_url = r.url("AZURE_MANAGEMENT_URL");
        let settings = DataFactorySettings {
            subscription: (*subscription).to_owned(),
            resource_group: (*resource_group).to_owned(),
            factory: (*name).to_owned(),
            base_url: base_url.ok_or("needs AZURE_MANAGEMENT_URL")?,
        };
        return Ok(DataFactory::new(settings, http.clone(), key));
    }
    if is(provider, "Microsoft.Synapse") && is(kind, "workspaces") {
        let domain = r.text("AZURE_SYNAPSE_DOMAIN").unwrap_or_default();
        let settings = SynapseSettings {
            resource_id: format!("/{}", pieces.join("/")),
            base_url: address(&format!("{name}.{domain}")).map_err(str::to_owned)?,
        };
        return Ok(DataFactory::synapse(settings, http.clone(), key));
    }
    Err(NO_RESOURCE_ID.to_owned())
}

const NO_RESOURCE_ID: &str = "is not a resource id: /subscriptions/…/resourceGroups/…/providers/Microsoft.DataFactory/factories/<name>, or …/Microsoft.Synapse/workspaces/<name>";

fn workspace(
    r: &Reader<'_>,
    http: &Http,
    managed: Option<&Key>,
    entry: &str,
) -> Result<Databricks, String> {
    let workspace_url = address(entry).map_err(str::to_owned)?;
    let settings = DatabricksSettings { workspace_url };
    let name = Databricks::name_of(&settings);
    let token = r.of_scope("DATABRICKS_TOKEN", &name);
    let key = token
        .map(|token| Key::Token(SecretString::from(token)))
        .or(managed.cloned());
    let key = key.ok_or_else(|| {
        format!(
            "needs {}, and there is no managed identity instead",
            name_of_scope("DATABRICKS_TOKEN", &name)
        )
    })?;
    Ok(Databricks::new(settings, http.clone(), key))
}

fn deployment(r: &Reader<'_>, http: &Http, entry: &str) -> Result<Airflow, String> {
    let named = entry.split_once('=').filter(|(name, _)| {
        let name = name.trim();
        !name.is_empty() && !name.contains([':', '/', '?'])
    });
    let (name, url) = named.ok_or("is not `<name>=<URL>`")?;
    let name = name.trim();
    let base_url = address(url.trim()).map_err(str::to_owned)?;
    let version = r.of_scope("AIRFLOW_API_VERSION", name).unwrap_or_default();
    let variable = |setting: &str| name_of_scope(setting, name);
    let api = api(&version)
        .ok_or_else(|| format!("needs {} v1, v2 or auto", variable("AIRFLOW_API_VERSION")))?;
    let token = r.of_scope("AIRFLOW_TOKEN", name);
    let login = match (token, r.of_scope("AIRFLOW_USERNAME", name)) {
        (Some(token), _) => AirflowLogin::Token(SecretString::from(token)),
        (None, Some(username)) => AirflowLogin::Password {
            username,
            password: r
                .of_scope("AIRFLOW_PASSWORD", name)
                .map(SecretString::from)
                .ok_or_else(|| format!("needs {}", variable("AIRFLOW_PASSWORD")))?,
        },
        (None, None) => AirflowLogin::Open,
    };
    let settings = AirflowSettings {
        base_url,
        api,
        login,
    };
    Ok(Airflow::new(settings, http.clone()).named(name))
}

/// Where the playbooks act: in the single settings' scopes, or the only one of a platform (a Synapse workspace is none
/// that the playbooks that ship can act in), and wherever `PLAYBOOK_SCOPES` says.
fn serve(r: &mut Reader<'_>, collector: &mut Collector, single: [usize; 3]) {
    let named = list(r.text(SERVED), ',');
    let mut known = Vec::new();
    let mut serves = |scope: &Scope, place: usize, single: usize, all: usize| {
        known.push(scope.name.clone());
        let alone = all == 1 && !scope.is_synapse();
        place < single
            || single == 0 && alone
            || named
                .iter()
                .any(|name| name == "*" || name.eq_ignore_ascii_case(&scope.name))
    };
    let [of_adf, of_databricks, of_airflow] = single;
    let all = collector.data_factory.len();
    for (place, client) in collector.data_factory.iter_mut().enumerate() {
        let served = serves(client.scope(), place, of_adf, all);
        *client = client.clone().served(served);
    }
    let all = collector.databricks.len();
    for (place, client) in collector.databricks.iter_mut().enumerate() {
        let served = serves(client.scope(), place, of_databricks, all);
        *client = client.clone().served(served);
    }
    let all = collector.airflow.len();
    for (place, client) in collector.airflow.iter_mut().enumerate() {
        let served = serves(client.scope(), place, of_airflow, all);
        *client = client.clone().served(served);
    }
    for name in named.iter().filter(|name| *name != "*") {
        if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            r.problem(SERVED, format!("{name} is no configured scope"));
        }
    }
}
