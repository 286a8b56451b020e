//! Where people open a run in the pages of its platform.
//!
//! In: a failure, or the id of another run of the same asset. Out: an address, built from ids where they are known: the
//! address that an API or a report gives may open for administrators only (Databricks' `#job/…` form), or lead to another
//! platform's run (a Databricks activity's). The host is the one that the report or our settings name, or the public
//! cloud's portal. Pure. Nothing is ever called at these addresses: they are for people.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::{AssetKind, Failure, Source, field, host_and_path};

/// All but `A-Za-z0-9-._~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The portals of Data Factory, the public cloud's first.
const FACTORY_PORTALS: [&str; 3] = ["adf.azure.com", "adf.azure.us", "adf.azure.cn"];
/// The same of Synapse.
const SYNAPSE_PORTALS: [&str; 4] = [
    "web.azuresynapse.net",
    "web.azuresynapse.usgovcloudapi.net",
    "web.azuresynapse.us",
    "web.azuresynapse.azure.cn",
];
/// Hosts of Databricks workspaces.
const DATABRICKS: [&str; 5] = [
    ".azuredatabricks.net",
    ".databricks.azure.us",
    ".databricks.azure.cn",
    ".cloud.databricks.com",
    ".gcp.databricks.com",
];

/// The page of the run that failed; `None`: nobody knows where it is.
pub fn of(failure: &Failure) -> Option<String> {
    let is_web = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    of_source(failure).filter(is_web)
}

fn of_source(failure: &Failure) -> Option<String> {
    match failure.source {
        Source::Adf => pipeline_run(failure, failure.run_id.as_deref()).or_else(|| {
            let given = failure.run_url.as_deref()?;
            (!is_databricks(given)).then(|| given.to_owned())
        }),
        Source::Databricks => databricks(failure),
        Source::Airflow => failure.run_url.as_deref().map(airflow),
        Source::System => failure.run_url.clone(),
    }
}

/// The page of another run of the same asset, such as one that a playbook started.
pub fn of_run(failure: &Failure, run: &str) -> Option<String> {
    if failure.run_id.as_deref() == Some(run) {
        return of(failure);
    }
    match failure.source {
        Source::Adf => pipeline_run(failure, Some(run)),
        Source::Databricks => {
            let job = failure.field(field::JOB_ID);
            job_run(&Workspace::of(failure)?, job, run)
        }
        Source::Airflow => dag_run(failure, run),
        Source::System => None,
    }
}

/// The page of the run of another platform that the failed one started, with the name that people call the platform by.
pub fn linked(failure: &Failure) -> Option<(&'static str, String)> {
    let given = failure
        .field(field::LINKED_RUN_URL)
        .or(failure.run_url.as_deref())
        .filter(|given| is_databricks(given))?;
    (failure.source != Source::Databricks).then(|| ("Databricks", rewritten(given)))
}

/// The page of a pipeline run, of a factory or a Synapse workspace. `portal`: the host of its cloud's pages.
pub fn pipeline_run_at(portal: &str, scope: &str, run: &str) -> Option<String> {
    let pieces: Vec<&str> = scope.split('/').collect();
    let [
        "",
        subscriptions,
        _,
        groups,
        _,
        providers,
        provider,
        kind,
        _,
    ] = pieces.as_slice()
    else {
        return None;
    };
    let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
    let of = match (provider, kind) {
        (provider, kind) if is(provider, "Microsoft.DataFactory") && is(kind, "factories") => {
            "factory"
        }
        (provider, kind) if is(provider, "Microsoft.Synapse") && is(kind, "workspaces") => {
            "workspace"
        }
        _ => return None,
    };
    let named = is(subscriptions, "subscriptions") && is(groups, "resourceGroups");
    (named && is(providers, "providers") && !run.is_empty()).then(|| {
        format!(
            "https://{portal}/en/monitoring/pipelineruns/{}?{of}={}",
            encoded(run),
            encoded(scope)
        )
    })
}

/// The host of the portal in the cloud whose management API, or Synapse endpoint, is at `management`.
pub fn portal(scope: &str, management: &str) -> &'static str {
    let [public, government, china] = if is_synapse(scope) {
        let [public, government, _, china] = SYNAPSE_PORTALS;
        [public, government, china]
    } else {
        FACTORY_PORTALS
    };
    if management.contains(".usgovcloudapi.") {
        government
    } else if management.contains(".chinacloudapi.") || management.contains(".azure.cn") {
        china
    } else {
        public
    }
}

/// An address of Databricks' in the form that opens for everybody who may see the run: `/jobs/22/runs/33` in the place of
/// `#job/22/run/33`. Any other address stays as it is.
pub fn rewritten(given: &str) -> String {
    let Ok(url) = Url::parse(given) else {
        return given.to_owned();
    };
    let Some(workspace) = Workspace::at(&url, None) else {
        return given.to_owned();
    };
    let fragment = url.fragment().unwrap_or_default();
    let pieces: Vec<&str> = fragment.trim_start_matches('/').split('/').collect();
    let page = match pieces.as_slice() {
        ["job", job, "run", run, ..] => job_run(&workspace, Some(job), run),
        ["joblist", "pipelines", id, "updates", update, ..] => Some(workspace.page(&format!(
            "/pipelines/{}/updates/{}",
            encoded(id),
            encoded(update)
        ))),
        ["setting", "clusters", id, ..] => {
            Some(workspace.page(&format!("/compute/clusters/{}", encoded(id))))
        }
        _ => None,
    };
    page.unwrap_or_else(|| given.to_owned())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn is_synapse(scope: &str) -> bool {
    let scope = scope.to_lowercase();
    scope.contains("/microsoft.synapse/workspaces/")
}

fn pipeline_run(failure: &Failure, run: Option<&str>) -> Option<String> {
    let whole = |scope: &&str| scope.starts_with("/subscriptions/");
    let scope = failure
        .field(field::FACTORY)
        .filter(whole)
        .or_else(|| failure.scope().filter(whole))?;
    let given = failure.run_url.as_deref().and_then(host_of);
    let known: &[&str] = if is_synapse(scope) {
        &SYNAPSE_PORTALS
    } else {
        &FACTORY_PORTALS
    };
    let portal = known
        .iter()
        .find(|portal| given.as_deref() == Some(**portal))
        .or(known.first())?;
    pipeline_run_at(portal, scope, run?)
}

fn host_of(url: &str) -> Option<String> {
    Some(Url::parse(url).ok()?.host_str()?.to_lowercase())
}

fn is_databricks(url: &str) -> bool {
    host_of(url).is_some_and(|host| DATABRICKS.iter().any(|of| host.ends_with(of)))
}

/// A Databricks workspace's pages.
struct Workspace {
    base: String,
    /// Its number, where the pages need to be told it: its host does not hold it.
    number: Option<String>,
}

impl Workspace {
    /// Where a failure of Databricks is.
    fn of(failure: &Failure) -> Option<Self> {
        let number = failure.field(field::WORKSPACE_ID).filter(|id| is_id(id));
        let given = failure
            .run_url
            .as_deref()
            .and_then(|url| Url::parse(url).ok());
        let named = [failure.field(field::SCOPE), failure.field(field::WORKSPACE)];
        let host = named.into_iter().flatten().find(|name| is_host(name));
        match (given, host) {
            (Some(url), None) => Self::at(&url, number),
            (Some(url), Some(host)) if authority(&url).is_some_and(|at| at == *host) => {
                Self::at(&url, number)
            }
            (_, Some(host)) => Self::at(&Url::parse(&format!("https://{host}/")).ok()?, number),
            (None, None) => None,
        }
    }

    fn at(url: &Url, number: Option<&str>) -> Option<Self> {
        let host = url.host_str()?;
        let asked = url
            .query_pairs()
            .find(|(name, value)| name == "o" && is_id(value))
            .map(|(_, value)| value.into_owned());
        let number = asked.or_else(|| number.map(str::to_owned));
        Some(Self {
            base: url.origin().ascii_serialization(),
            number: number.filter(|number| !host.starts_with(&format!("adb-{number}."))),
        })
    }

    fn page(&self, path: &str) -> String {
        match &self.number {
            Some(number) => format!("{}{path}?o={number}", self.base),
            None => format!("{}{path}", self.base),
        }
    }
}

/// Host, and port if it is not the usual one.
fn authority(url: &Url) -> Option<String> {
    let mut url = url.clone();
    url.set_path("");
    host_and_path(&url)
}

fn job_run(workspace: &Workspace, job: Option<&str>, run: &str) -> Option<String> {
    if !is_id(run) {
        return None;
    }
    Some(match job.filter(|job| is_id(job)) {
        Some(job) => workspace.page(&format!("/jobs/{job}/runs/{run}")),
        None => workspace.page(&format!("/jobs/runs/{run}")),
    })
}

fn databricks(failure: &Failure) -> Option<String> {
    let given = failure.run_url.as_deref().map(rewritten);
    let workspace = Workspace::of(failure);
    // What the source gives and cannot be better.
    let leads_on = |given: &String| given.contains("/pipelines/");
    if let Some(given) = given.as_ref().filter(|given| leads_on(given)) {
        return Some(given.clone());
    }
    let built = workspace.and_then(|workspace| {
        if failure.kind == AssetKind::Cluster {
            let id = failure.field(field::CLUSTER_ID)?;
            return Some(workspace.page(&format!("/compute/clusters/{}", encoded(id))));
        }
        let job = failure.field(field::JOB_ID);
        // The address that was given may know the job where the report does not.
        let page = job_run(&workspace, job, failure.run_id.as_deref()?)?;
        let known = given.as_ref().filter(|given| given.contains("/jobs/"));
        Some(match (job, known) {
            (None, Some(given)) => given.clone(),
            _ => page,
        })
    });
    built.or(given)
}

/// Early 3.0 joins its address and the path without a slash.
fn airflow(given: &str) -> String {
    let scheme = given.find("://").map_or(0, |at| at + 3);
    let place = given.get(scheme..).and_then(|rest| rest.find("dags/"));
    match place.map(|at| given.split_at(scheme + at)) {
        Some((base, rest)) if !base.ends_with('/') && rest.contains("/runs/") => {
            format!("{base}/{rest}")
        }
        _ => given.to_owned(),
    }
}

/// The grid of another run of the same DAG, in the same Airflow.
fn dag_run(failure: &Failure, run: &str) -> Option<String> {
    let page = airflow(failure.run_url.as_deref()?);
    let (base, rest) = page.split_once("/dags/")?;
    let dag = percent_decode_str(rest.split(['/', '?']).next()?)
        .decode_utf8()
        .ok()?
        .into_owned();
    Some(if rest.contains("/runs/") {
        format!("{base}/dags/{}/runs/{}", encoded(&dag), encoded(run))
    } else {
        format!(
            "{base}/dags/{}/grid?dag_run_id={}",
            encoded(&dag),
            encoded(run)
        )
    })
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A host with a dot, perhaps with its port; no name that somebody gave the place, and no resource id.
fn is_host(text: &str) -> bool {
    text.contains('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::failure::RunKey;

    fn failure(source: Source, run: &str, url: Option<&str>, fields: &[(&str, &str)]) -> Failure {
        let context: BTreeMap<String, String> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Failure {
            source,
            key: RunKey::new(source, "s", run, "", ""),
            kind: AssetKind::Job,
            asset: "asset".to_owned(),
            run_id: Some(run.to_owned()),
            run_url: url.map(str::to_owned),
            error_code: None,
            message: String::new(),
            context,
            occurred_at: None,
            source_severity: None,
            alert: None,
        }
    }

    const FACTORY: &str =
        "/subscriptions/5f-1/resourceGroups/rg one/providers/Microsoft.DataFactory/factories/adf-x";
    const SYNAPSE: &str =
        "/subscriptions/5f-1/resourceGroups/rg/providers/Microsoft.Synapse/workspaces/syn";

    #[test]
    fn pipeline_runs_open_in_the_monitor_of_their_cloud() {
        let adf = |url| failure(Source::Adf, "0b1e-77", url, &[(field::FACTORY, FACTORY)]);
        let page = "https://adf.azure.com/en/monitoring/pipelineruns/0b1e-77?factory=%2Fsubscriptions%2F5f-1%2FresourceGroups%2Frg%20one%2Fproviders%2FMicrosoft.DataFactory%2Ffactories%2Fadf-x";
        assert_eq!(of(&adf(None)).as_deref(), Some(page));
        assert_eq!(
            of_run(&adf(None), "rerun-1").unwrap(),
            page.replace("0b1e-77", "rerun-1")
        );
        let government = adf(Some("https://adf.azure.us/monitoring/pipelineruns/0b1e-77"));
        assert_eq!(
            of(&government).unwrap(),
            page.replace("azure.com", "azure.us")
        );
        // The address of the Databricks run is another run's.
        let notebook = adf(Some(
            "https://adb-1.7.azuredatabricks.net/?o=1#job/22/run/33",
        ));
        assert_eq!(of(&notebook).as_deref(), Some(page));
        let linked_page = "https://adb-1.7.azuredatabricks.net/jobs/22/runs/33".to_owned();
        assert_eq!(linked(&notebook), Some(("Databricks", linked_page)));
        let synapse = failure(Source::Adf, "r", None, &[(field::SCOPE, SYNAPSE)]);
        assert!(of(&synapse).unwrap().starts_with(
            "https://web.azuresynapse.net/en/monitoring/pipelineruns/r?workspace=%2Fsubscriptions%2F"
        ));
        let unknown = failure(Source::Adf, "r", None, &[(field::FACTORY, "adf-x")]);
        assert_eq!(of(&unknown), None);
    }

    #[test]
    fn clouds_have_their_own_portals() {
        for (management, factory, synapse) in [
            (
                "https://management.azure.com/",
                "adf.azure.com",
                "web.azuresynapse.net",
            ),
            (
                "https://management.usgovcloudapi.net/",
                "adf.azure.us",
                "web.azuresynapse.usgovcloudapi.net",
            ),
            (
                "https://management.chinacloudapi.cn",
                "adf.azure.cn",
                "web.azuresynapse.azure.cn",
            ),
        ] {
            assert_eq!(portal(FACTORY, management), factory);
            assert_eq!(portal(SYNAPSE, management), synapse);
        }
    }

    #[test]
    fn job_runs_open_without_being_an_administrator() {
        let job = (field::JOB_ID, "22");
        let at = |scope| (field::SCOPE, scope);
        let dbx = |url, fields: &[(&str, &str)]| failure(Source::Databricks, "33", url, fields);
        let page = "https://adb-1.7.azuredatabricks.net/jobs/22/runs/33";
        let host = "adb-1.7.azuredatabricks.net";
        for (url, fields) in [
            (None, vec![job, at(host)]),
            (
                Some("https://adb-1.7.azuredatabricks.net/?o=1#job/22/run/33"),
                vec![],
            ),
            (
                Some("https://adb-1.7.azuredatabricks.net/?o=1#job/22/run/1"),
                vec![job, at(host)],
            ),
            (
                Some("https://adb-1.7.azuredatabricks.net/?o=1#job/22/run/33"),
                vec![at("1")],
            ),
        ] {
            assert_eq!(
                of(&dbx(url, &fields)).as_deref(),
                Some(page),
                "{url:?} {fields:?}"
            );
        }
        let other = dbx(
            Some("https://dbc-1.cloud.databricks.com/?o=77#job/22/run/33"),
            &[],
        );
        assert_eq!(
            of(&other).unwrap(),
            "https://dbc-1.cloud.databricks.com/jobs/22/runs/33?o=77"
        );
        assert_eq!(
            of(&dbx(None, &[at(host)])).unwrap(),
            "https://adb-1.7.azuredatabricks.net/jobs/runs/33"
        );
        assert_eq!(
            of_run(&dbx(None, &[job, at(host)]), "44").unwrap(),
            page.replace("33", "44")
        );
        assert_eq!(of(&dbx(None, &[job])), None);
        let cluster = Failure {
            kind: AssetKind::Cluster,
            ..dbx(None, &[at(host), (field::CLUSTER_ID, "0612-1-abc")])
        };
        assert_eq!(
            of(&cluster).unwrap(),
            "https://adb-1.7.azuredatabricks.net/compute/clusters/0612-1-abc"
        );
        let update = "https://adb-1.7.azuredatabricks.net/pipelines/p-1/updates/u-1";
        assert_eq!(of(&dbx(Some(update), &[at(host)])).as_deref(), Some(update));
        assert_eq!(
            rewritten("https://adb-1.7.azuredatabricks.net/#joblist/pipelines/p-1/updates/u-1"),
            update
        );
    }

    #[test]
    fn airflows_pages_of_all_versions() {
        let run = "manual__2026-01-01T00:00:00+00:00";
        for (given, page, rerun) in [
            (
                "http://airflow:8080/dags/my%20etl/grid?dag_run_id=x&task_id=t&tab=logs",
                "http://airflow:8080/dags/my%20etl/grid?dag_run_id=x&task_id=t&tab=logs",
                "http://airflow:8080/dags/my%20etl/grid?dag_run_id=manual__2026-01-01T00%3A00%3A00%2B00%3A00",
            ),
            (
                "https://a.example.com/prefixdags/etl/runs/x/tasks/t",
                "https://a.example.com/prefix/dags/etl/runs/x/tasks/t",
                "https://a.example.com/prefix/dags/etl/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00",
            ),
        ] {
            let failure = failure(Source::Airflow, "x", Some(given), &[]);
            assert_eq!(of(&failure).as_deref(), Some(page));
            assert_eq!(of_run(&failure, run).as_deref(), Some(rerun));
        }
    }
}
