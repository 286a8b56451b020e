//! What a link into Airflow's pages tells: 2.x `/dags/<dag>/grid?dag_run_id=…&task_id=…&map_index=2`, 3.x
//! `/dags/<dag>/runs/<run>/tasks/<task>/mapped/2?try_number=1`, older ones `/log?dag_id=…&task_id=…`.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::failure::host_and_path;

/// What a link leads to; every part may be missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) dag: Option<String>,
    pub(super) task: Option<String>,
    pub(super) map_index: Option<String>,
}

/// Reads a link; `None` for what is no URL.
pub(super) fn of(link: &str) -> Option<Link> {
    let url = Url::parse(link).ok()?;
    let pieces: Vec<&str> = url.path_segments().into_iter().flatten().collect();
    let behind = |word: &str| {
        let at = pieces.iter().position(|piece| *piece == word)?;
        let text = percent_decode_str(pieces.get(at + 1)?).decode_utf8().ok()?;
        (!text.is_empty()).then(|| text.into_owned())
    };
    let asked = |name: &str| {
        let mut pairs = url.query_pairs();
        let text = pairs.find(|(key, _)| key == name)?.1.into_owned();
        (!text.is_empty()).then_some(text)
    };
    Some(Link {
        dag: behind("dags").or_else(|| asked("dag_id")),
        task: behind("tasks").or_else(|| asked("task_id")),
        map_index: behind("mapped").or_else(|| asked("map_index")),
    })
}

/// Which deployment a link into its pages leads to: host, port and what stands before Airflow's own pages.
pub(super) fn deployment(link: &str) -> Option<String> {
    let mut url = Url::parse(link).ok()?;
    let path = url.path().to_owned();
    let own = ["/dags/", "/log", "/api/", "/home"];
    let end = own.iter().filter_map(|page| path.find(page)).min();
    url.set_path(path.get(..end.unwrap_or_default()).unwrap_or_default());
    address_of(&url)
}

/// A deployment's own address.
pub(super) fn address(base: &str) -> Option<String> {
    address_of(&Url::parse(base).ok()?)
}

/// A host without a dot always has its port: a word alone is a name that somebody gave the deployment.
fn address_of(url: &Url) -> Option<String> {
    let address = host_and_path(url)?;
    let host = url.host_str()?.to_lowercase();
    if host.contains('.') || url.port().is_some() {
        return Some(address);
    }
    let port = url.port_or_known_default()?;
    Some(format!("{host}:{port}{}", address.strip_prefix(&host)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_all_versions() {
        let link = |dag: &str, task: Option<&str>, index: Option<&str>| Link {
            dag: Some(dag.to_owned()),
            task: task.map(str::to_owned),
            map_index: index.map(str::to_owned),
        };
        for (text, leads_to) in [
            (
                "http://a:8080/dags/my%20etl/grid?dag_run_id=m%2B1&task_id=load&map_index=2&tab=logs",
                link("my etl", Some("load"), Some("2")),
            ),
            (
                "http://a/dags/etl/runs/m/tasks/g.load/mapped/3?try_number=1",
                link("etl", Some("g.load"), Some("3")),
            ),
            (
                "https://a/log?execution_date=x&task_id=load&dag_id=etl&map_index=-1",
                link("etl", Some("load"), Some("-1")),
            ),
            ("https://a/prefix/dags/etl", link("etl", None, None)),
        ] {
            assert_eq!(of(text), Some(leads_to), "{text}");
        }
        assert_eq!(of("not a link"), None);
        assert_eq!(
            address("https://astro.example.com/dprod/").as_deref(),
            Some("astro.example.com/dprod")
        );
        for (link, of) in [
            ("http://A:8080/dags/x/grid", "a:8080"),
            ("http://a:8080/x", "a:8080"),
            (
                "https://Astro.example.com/dprod/dags/x",
                "astro.example.com/dprod",
            ),
            ("http://airflow/log?x=1", "airflow:80"),
            ("https://airflow.example.com", "airflow.example.com"),
        ] {
            assert_eq!(deployment(link).as_deref(), Some(of), "{link}");
        }
    }
}
