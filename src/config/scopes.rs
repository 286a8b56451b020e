//! Several factories, workspaces and deployments beside those of the single settings. A bad entry is a problem of its
//! own; the others work.

use secrecy::SecretString;

use super::reader::{Reader, address, list, name_of_scope};
use super::vendors::{Configured, NO_IDENTITY, Pipelines, Vendors, Workspace, api};
use crate::evidence::airflow::{AirflowLogin, AirflowSettings};
use crate::evidence::data_factory::{DataFactorySettings, SynapseSettings};
use crate::evidence::databricks::DatabricksSettings;

const FACTORIES: &str = "AZURE_DATA_FACTORIES";
const WORKSPACES: &str = "DATABRICKS_WORKSPACES";
const DEPLOYMENTS: &str = "AIRFLOW_DEPLOYMENTS";
const SERVED: &str = "PLAYBOOK_SCOPES";

/// Adds what the lists name, and says where the playbooks act.
pub(super) fn add(r: &mut Reader<'_>, identity: bool, vendors: &mut Vendors) {
    let mut serving = Serving {
        named: list(r.text(SERVED), ','),
        known: Vec::new(),
    };
    let all = &mut vendors.data_factory;
    let single = all.len();
    extend(r, FACTORIES, all, |r, entry| factory(r, identity, entry));
    serving.mark(all, single);
    let all = &mut vendors.databricks;
    let single = all.len();
    extend(r, WORKSPACES, all, |r, entry| workspace(r, identity, entry));
    serving.mark(all, single);
    let all = &mut vendors.airflow;
    let single = all.len();
    extend(r, DEPLOYMENTS, all, |r, entry| deployment(r, entry));
    serving.mark(all, single);
    for name in serving.unknown() {
        r.problem(SERVED, format!("{name} is no configured scope"));
    }
}

/// Adds the entries of a list. One whose scope is there already adds nothing; two scopes may not share a short name.
fn extend<S>(
    r: &mut Reader<'_>,
    setting: &'static str,
    all: &mut Vec<Configured<S>>,
    read: impl Fn(&mut Reader<'_>, &str) -> Result<Configured<S>, String>,
) {
    for (number, entry) in (1..).zip(list(r.text(setting), ',')) {
        let why = match read(r, &entry) {
            Err(why) => why,
            Ok(new) => {
                let name = new.scope.name.clone();
                let is_named = |other: &Configured<S>| other.scope.name.eq_ignore_ascii_case(&name);
                if all.iter().any(|other| other.scope.id == new.scope.id) {
                    continue;
                } else if all.iter().any(is_named) {
                    format!("is called {name} like another scope")
                } else {
                    all.push(new);
                    continue;
                }
            }
        };
        r.problem(setting, format!("entry {number} {why}"));
    }
}

fn factory(
    r: &mut Reader<'_>,
    identity: bool,
    entry: &str,
) -> Result<Configured<Pipelines>, String> {
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
    if !identity {
        return Err(NO_IDENTITY.to_owned());
    }
    if is(provider, "Microsoft.DataFactory") && is(kind, "factories") {
        let base_url = r.url("AZURE_MANAGEMENT_URL");
        let settings = DataFactorySettings {
            subscription: (*subscription).to_owned(),
            resource_group: (*resource_group).to_owned(),
            factory: (*name).to_owned(),
            base_url: base_url.ok_or("needs AZURE_MANAGEMENT_URL")?,
        };
        return Ok(settings.into());
    }
    if is(provider, "Microsoft.Synapse") && is(kind, "workspaces") {
        let domain = r.text("AZURE_SYNAPSE_DOMAIN").unwrap_or_default();
        let settings = SynapseSettings {
            resource_id: format!("/{}", pieces.join("/")),
            base_url: address(&format!("{name}.{domain}")).map_err(str::to_owned)?,
        };
        return Ok(settings.into());
    }
    Err(NO_RESOURCE_ID.to_owned())
}

const NO_RESOURCE_ID: &str = "is not a resource id: /subscriptions/…/resourceGroups/…/providers/Microsoft.DataFactory/factories/<name>, or …/Microsoft.Synapse/workspaces/<name>";

fn workspace(r: &Reader<'_>, identity: bool, entry: &str) -> Result<Configured<Workspace>, String> {
    let workspace_url = address(entry).map_err(str::to_owned)?;
    let workspace = DatabricksSettings { workspace_url };
    let name = workspace.scope().name;
    let token = r
        .of_scope("DATABRICKS_TOKEN", &name)
        .map(SecretString::from);
    if token.is_none() && !identity {
        let variable = name_of_scope("DATABRICKS_TOKEN", &name);
        return Err(format!(
            "needs {variable}, and there is no managed identity instead"
        ));
    }
    Ok(Workspace { workspace, token }.into())
}

fn deployment(r: &Reader<'_>, entry: &str) -> Result<Configured<AirflowSettings>, String> {
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
        .map_err(|why| format!("has a wrong {}: it {why}", variable("AIRFLOW_API_VERSION")))?;
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
    let mut deployment = Configured::from(AirflowSettings {
        base_url,
        api,
        login,
    });
    name.clone_into(&mut deployment.scope.name);
    Ok(deployment)
}

/// Where the playbooks act: in the single settings' scopes, or the only one of a platform (a Synapse workspace is none
/// that the playbooks that ship can act in), and wherever `PLAYBOOK_SCOPES` says.
struct Serving {
    named: Vec<String>,
    known: Vec<String>,
}

impl Serving {
    /// Marks the scopes of a platform, of which the first `single` come from the single settings.
    fn mark<S>(&mut self, all: &mut [Configured<S>], single: usize) {
        let alone = single == 0 && all.len() == 1;
        for (place, Configured { scope, .. }) in all.iter_mut().enumerate() {
            let is_named = |name: &String| name == "*" || name.eq_ignore_ascii_case(&scope.name);
            scope.served =
                place < single || alone && !scope.is_synapse() || self.named.iter().any(is_named);
            self.known.push(scope.name.clone());
        }
    }

    /// Names that no scope has.
    fn unknown(&self) -> impl Iterator<Item = &String> {
        let is_known = |name: &str| {
            self.known
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        };
        let named = self.named.iter().filter(|name| *name != "*");
        named.filter(move |name| !is_known(name))
    }
}
