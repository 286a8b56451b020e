//! Everything recorded from real Airflow: what each report becomes, and what each log adds to it. The DAG's file
//! (`tests/real/airflow/dags`) says what happened; `tests/real/airflow/expected.tsv` which categories are right for it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use aiops_rca::diagnosis::{Case, Diagnosis, diagnose};
use aiops_rca::evidence::airflow::{AirflowLogin, AirflowSettings};
use aiops_rca::evidence::{Airflow, Collected, Collector};
use aiops_rca::failure::{Failure, field};
use aiops_rca::sources::{Parsed, airflow};
use serde_json::{Value, json};
use simulators::airflow::{AirflowSite, Api};
use simulators::{Server, serve};

use crate::diagnosis::airflow::expected;
use crate::machine::at;
use crate::support;

const VERSIONS: [&str; 4] = ["2.10.5", "3.1.8", "3.3.2-first", "3.3.2"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/airflow")
}

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(path)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn reports(version: &str) -> Vec<Value> {
    lines(&format!("callbacks-{version}.jsonl"))
}

fn parsed(body: &Value) -> Result<Failure, String> {
    match airflow::parse(body.to_string().as_bytes()).unwrap() {
        Parsed::Failures(mut failures) => Ok(failures.remove(0)),
        Parsed::Ignored(why) => Err(why),
        other @ Parsed::NeedsRows(_) => Err(format!("{other:?}")),
    }
}

fn words(found: &Diagnosis) -> String {
    let category = found.category.words().replace(' ', "_");
    format!("{category} | {} | {}", found.error_type, found.root_cause)
}

/// Ticket, class, names, key and finality of every report; the same told again stands once.
#[test]
fn every_recorded_report_is_read_as_its_dag_says() {
    let mut table = String::new();
    let mut keys = BTreeMap::new();
    for version in VERSIONS {
        let mut told = BTreeSet::new();
        for body in reports(version) {
            let row = match parsed(&body) {
                Err(why) => format!("{} | not final | {why}", body["dag_id"].as_str().unwrap()),
                Ok(failure) => {
                    let found = diagnose(&Case::of(&failure, &[]));
                    let index = failure.field(field::MAP_INDEX).unwrap_or("-");
                    let place = failure.field(field::DEPLOYMENT).unwrap_or("anywhere");
                    let unit = format!("{} [{index}] at {place}", failure.asset);
                    let whole = format!("{unit} in {}", failure.run_id.as_deref().unwrap());
                    // One unit of one run has one key, and another unit another.
                    keys.entry(whole)
                        .or_insert_with(BTreeSet::new)
                        .insert(failure.key.clone());
                    format!("{unit} | final | {}", words(&found))
                }
            };
            told.insert(row);
        }
        let _infallible = writeln!(table, "# {version}");
        for row in told {
            let _infallible = writeln!(table, "{row}");
        }
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
    let all: BTreeSet<_> = keys.values().flatten().collect();
    assert_eq!(all.len(), keys.len());
    insta::assert_snapshot!("airflow_recorded_reports", table);
}

/// A deployment with the recorded answers.
struct Deployment {
    site: Arc<AirflowSite>,
    server: Server,
    collector: Collector,
}

impl Deployment {
    async fn of(api: Api) -> Self {
        let site = Arc::new(AirflowSite::new(api, "rca", "secret"));
        let server = serve(0, Arc::clone(&site)).await.unwrap();
        let settings = AirflowSettings {
            base_url: server.url().parse().unwrap(),
            api: None,
            login: AirflowLogin::Password {
                username: "rca".to_owned(),
                password: "secret".to_owned().into(),
            },
        };
        let collector = Collector {
            airflow: vec![Airflow::new(settings, support::http())],
            ..Collector::default()
        };
        Self {
            site,
            server,
            collector,
        }
    }

    /// The report of this task's DAG, as of this run and this deployment; of a DAG that told nothing, one of its run.
    fn report(&self, version: &str, task: &Value) -> Failure {
        let dag = &task["dag_id"];
        let mut body = reports(version)
            .into_iter()
            .find(|body| body["dag_id"] == *dag && parsed(body).is_ok())
            .unwrap_or_else(|| {
                json!({"level": "dag", "dag_id": dag, "state": "failed", "reason": "task_failure", "exception": ""})
            });
        body["run_id"] = task["dag_run_id"].clone();
        if let Some(link) = body["log_url"].as_str() {
            let (_, path) = link.split_once("/dags/").unwrap();
            body["log_url"] = json!(format!("{}/dags/{path}", self.server.url()));
        }
        if task["map_index"].as_i64().is_some_and(|index| index >= 0) {
            body["map_index"] = task["map_index"].clone();
        }
        parsed(&body).unwrap()
    }

    async fn read(&self, failure: &Failure) -> (Collected, Diagnosis) {
        let collected = self.collector.collect(failure, at(0)).await;
        assert!(
            collected.no_failure.is_none() && collected.not_final.is_none(),
            "{failure:?}"
        );
        let refined = collected.refine(failure.clone());
        let found = diagnose(&Case::of(&refined, &collected.evidence));
        (collected, found)
    }
}

fn check(dag: &str, found: &Diagnosis, wrong: &mut Vec<String>) {
    let category = found.category.words().replace(' ', "_");
    if !expected()[dag].contains(&category.as_str()) {
        wrong.push(format!("{dag}: {}", words(found)));
    }
}

/// With its log a failure is called nothing else than without: framework, times and places are no cause.
#[tokio::test]
async fn every_recorded_log_is_read_beside_its_report() {
    let (mut table, mut wrong) = (String::new(), Vec::new());
    let deployment = Deployment::of(Api::V1).await;
    let _infallible = writeln!(table, "# 2.10.5");
    let mut files: Vec<_> = std::fs::read_dir(folder().join("api"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|name| name.starts_with("2.10.5-") && name.ends_with("-ti.json"))
    {
        let recorded = |name: &str| -> Option<Value> {
            let text = std::fs::read_to_string(folder().join("api").join(name)).ok()?;
            Some(serde_json::from_str::<Value>(&text).unwrap()["body"].clone())
        };
        let task = recorded(file).unwrap();
        if task["state"] != "failed" {
            continue;
        }
        let pages: Vec<Value> = ["-log.json", "-log-page2.json"]
            .iter()
            .filter_map(|end| recorded(&file.replace("-ti.json", end)))
            .map(|page| page["content"].clone())
            .collect();
        let text = |name: &str| task[name].as_str().unwrap().to_owned();
        deployment.site.put_task(task.clone());
        deployment.site.put_log(
            &text("dag_id"),
            &text("dag_run_id"),
            &text("task_id"),
            task["map_index"].as_i64().unwrap(),
            task["try_number"].as_i64().unwrap(),
            &pages,
        );
        let failure = deployment.report("2.10.5", &task);
        let (_, found) = deployment.read(&failure).await;
        check(&text("dag_id"), &found, &mut wrong);
        let _infallible = writeln!(table, "{} | {}", failure.asset, words(&found));
    }
    let deployment = Deployment::of(Api::V2).await;
    let _infallible = writeln!(table, "# 3.3.2");
    let mut logs: Vec<_> = std::fs::read_dir(folder().join("logs-3.3.2"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    logs.sort();
    for log in logs {
        let dag = log.strip_suffix(".jsonl").unwrap();
        let reported = reports("3.3.2")
            .into_iter()
            .find(|body| body["dag_id"] == dag);
        let task_id = reported
            .as_ref()
            .and_then(|body| body["task_id"].as_str())
            .unwrap_or("t");
        let task = json!({"dag_id": dag, "dag_run_id": "manual__1", "task_id": task_id, "map_index": -1, "state": "failed", "try_number": 1,
            "max_tries": 0, "operator": "PythonOperator", "hostname": "vm", "start_date": "2026-11-29T03:33:59Z", "end_date": "2026-11-29T03:34:57Z"});
        deployment.site.put_task(task.clone());
        let page = json!(lines(&format!("logs-3.3.2/{log}")));
        deployment
            .site
            .put_log(dag, "manual__1", task_id, -1, 1, &[page]);
        let failure = deployment.report("3.3.2", &task);
        let (collected, found) = deployment.read(&failure).await;
        let refined = collected.refine(failure);
        assert_eq!(refined.field(field::TASK_ID), Some(task_id));
        check(dag, &found, &mut wrong);
        let _infallible = writeln!(table, "{} | {}", refined.asset, words(&found));
    }
    insta::assert_snapshot!("airflow_recorded_logs", table);
    assert_eq!(wrong, Vec::<String>::new());
}
