//! Scopes: the places that are configured, and whether a place that a report names is one of them.

use url::Url;

use super::Source;

/// A configured place: a factory or Synapse workspace, a Databricks workspace, an Airflow deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The platform.
    pub source: Source,
    /// What identifies it: a resource id in lower case, a workspace's host, a deployment's host and path.
    pub id: String,
    /// Its short name: the factory's, the workspace's first label, the deployment's.
    pub name: String,
    /// Do the playbooks act there?
    pub served: bool,
}

/// Where a failure is, seen from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a configured scope: the one that the report names, or the only one.
    Here(Scope),
    /// The report names a place that is not configured, while others are.
    Elsewhere(String),
    /// Several scopes are configured and the report names none.
    AnyOf(Vec<Scope>),
    /// None is configured; what the report names, if it names one.
    Unconfigured(Option<String>),
}

impl Place {
    /// Finds the place that a report names among the configured scopes of its source.
    pub fn find(scopes: &[Scope], named: Option<&str>) -> Self {
        let named = named.map(str::trim).filter(|name| !name.is_empty());
        match (scopes, named) {
            ([], named) => Self::Unconfigured(named.map(str::to_owned)),
            ([only], None) => Self::Here(only.clone()),
            (several, None) => Self::AnyOf(several.to_vec()),
            (scopes, Some(named)) => {
                let of = |same| scopes.iter().filter(move |scope| scope.is(named) == same);
                let undecided: Vec<&Scope> = of(None).collect();
                match (of(Some(true)).next(), undecided.as_slice()) {
                    (Some(scope), _) => Self::Here(scope.clone()),
                    (None, []) => Self::Elsewhere(named.to_owned()),
                    (None, [only]) => Self::Here((*only).clone()),
                    (None, several) => {
                        Self::AnyOf(several.iter().map(|scope| (*scope).clone()).collect())
                    }
                }
            }
        }
    }

    /// The scope that it surely is in.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Here(scope) => Some(scope),
            Self::Elsewhere(_) | Self::AnyOf(_) | Self::Unconfigured(_) => None,
        }
    }
}

impl Scope {
    /// Is it a Synapse workspace, whose pipelines have another API than a factory's?
    pub fn is_synapse(&self) -> bool {
        self.id.contains("/microsoft.synapse/workspaces/")
    }

    /// Is this the place that a report names? `None`: the two cannot be compared.
    pub fn is(&self, named: &str) -> Option<bool> {
        if self.name.eq_ignore_ascii_case(named) {
            return Some(true);
        }
        same_place(self.source, &self.id, named)
    }
}

/// Do a configured id and a name in a report mean the same place? `None`: they cannot be compared, as a workspace's
/// number and a host that does not hold it.
pub fn same_place(source: Source, id: &str, named: &str) -> Option<bool> {
    let named = named.trim().to_lowercase();
    match source {
        Source::Adf => {
            let id = id.to_lowercase();
            Some(if named.contains('/') {
                named == id
            } else {
                id.rsplit('/').next() == Some(&named)
            })
        }
        Source::Databricks => {
            let number = named.bytes().all(|byte| byte.is_ascii_digit());
            match (number, workspace_number(id)) {
                (true, Some(of_host)) => Some(of_host == named),
                (true, None) => None,
                (false, _) if named.starts_with("/subscriptions/") => None,
                (false, _) => Some(named == id.to_lowercase()),
            }
        }
        Source::System => None,
        Source::Airflow => {
            let id = id.to_lowercase();
            let host = id.split('/').next();
            if named == id || host == Some(&named) {
                return Some(true);
            }
            // Airflow's links lead to this machine, or into its own network, until somebody sets its `base_url`.
            (!is_inside(&named)).then_some(false)
        }
    }
}

/// An address that says nothing outside the machine or the network that it is of: `localhost`, `127.0.0.1:8080`,
/// `airflow-webserver:8080`. A word alone is a name that somebody gave the deployment.
fn is_inside(address: &str) -> bool {
    let host = address.split('/').next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let of_machine = host == "localhost" || host.starts_with('[') || host.starts_with("127.");
    of_machine || host == "0.0.0.0" || port.is_some() && !host.contains('.')
}

/// `adb-1234.12.azuredatabricks.net` holds the workspace's number.
fn workspace_number(host: &str) -> Option<&str> {
    let number = host.strip_prefix("adb-")?.split('.').next()?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// Host, port if it is not the usual one, and path of an address, lower case: what tells deployments apart.
pub fn host_and_path(url: &Url) -> Option<String> {
    let host = url.host_str()?.to_lowercase();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path = url.path().trim_end_matches('/').to_lowercase();
    Some(format!("{host}{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(source: Source, id: &str, name: &str) -> Scope {
        Scope {
            source,
            id: id.to_owned(),
            name: name.to_owned(),
            served: true,
        }
    }

    #[test]
    fn a_named_place_is_found_elsewhere_or_cannot_be_compared() {
        let adf = scope(
            Source::Adf,
            "/subscriptions/s/resourcegroups/g/providers/microsoft.datafactory/factories/adf-prod",
            "adf-prod",
        );
        let other = adf.id.replace("adf-prod", "adf-dev");
        assert_eq!(adf.is("ADF-PROD"), Some(true));
        assert_eq!(adf.is(&adf.id.to_uppercase()), Some(true));
        assert_eq!(adf.is(&other), Some(false));
        assert_eq!(adf.is("adf-dev"), Some(false));
        let workspace = scope(Source::Databricks, "adb-12.3.azuredatabricks.net", "adb-12");
        assert_eq!(workspace.is("12"), Some(true));
        assert_eq!(workspace.is("13"), Some(false));
        assert_eq!(workspace.is("adb-13.3.azuredatabricks.net"), Some(false));
        let local = scope(Source::Databricks, "127.0.0.1:81", "127");
        assert_eq!(local.is("13"), None);
        let airflow = scope(Source::Airflow, "astro.example.com/dprod", "prod");
        assert_eq!(airflow.is("prod"), Some(true));
        assert_eq!(airflow.is("astro.example.com"), Some(true));
        assert_eq!(airflow.is("astro.example.com/ddev"), Some(false));
        assert_eq!(airflow.is("dev"), Some(false));
        assert_eq!(airflow.is("localhost:8080"), None);
        assert_eq!(airflow.is("airflow-webserver:8080"), None);
        let places = [adf.clone(), scope(Source::Adf, &other, "adf-dev")];
        assert_eq!(Place::find(&places, Some("adf-dev")).scope(), places.get(1));
        assert!(matches!(Place::find(&places, None), Place::AnyOf(all) if all.len() == 2));
        assert!(matches!(
            Place::find(&places, Some("adf-x")),
            Place::Elsewhere(_)
        ));
        assert_eq!(
            Place::find(&[], Some("adf-x")),
            Place::Unconfigured(Some("adf-x".to_owned()))
        );
    }
}
