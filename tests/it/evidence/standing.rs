//! How a failed run stands before anything acts on it, as each vendor says; and what became of a run that a task watched.

use std::sync::{Arc, Mutex};

use aiops_rca::evidence::airflow::{AirflowApi, AirflowLogin, AirflowSettings};
use aiops_rca::evidence::{Airflow, Collector, Facts, Known, Progress, Standing};
use aiops_rca::failure::{Failure, Place, field};
use serde_json::{Value, json};
use simulators::{Answer, Request, Site, serve};

use super::{ADF_RUN, CLUSTER, DAG_RUN, JOB_RUN, Rig, adf, cluster, fixture, job, now, task};
use crate::support;

impl Rig {
    async fn standing(&self, failure: &Failure, action: &str, own: &[&str]) -> Standing {
        let own: Vec<String> = own.iter().map(|run| (*run).to_owned()).collect();
        let asked = self.collector.facts(failure, action, &own, now()).await;
        let known = asked.unwrap().known;
        let said = match &known {
            Known::Said(standing) => Some(standing.clone()),
            Known::NotAsked | Known::Silent(_) | Known::Later(_) => None,
        };
        assert!(said.is_some(), "{known:?}");
        said.unwrap()
    }
}

fn newer(run: &str, progress: Progress) -> Standing {
    Standing::Newer {
        run: run.to_owned(),
        progress,
    }
}

#[tokio::test]
async fn a_pipeline_run_is_known_failed_and_the_latest_or_not() {
    let rig = Rig::new().await;
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &[]).await,
        Standing::Unknown
    );
    let failed = fixture("adf-pipelineruns-get-failed");
    rig.factory_site.put_run(failed.clone());
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &[]).await,
        Standing::Failed
    );
    let put = |id: &str, start: &str, status: &str| {
        let mut run = failed.clone();
        for (name, value) in [
            ("runId", id),
            ("runGroupId", id),
            ("runStart", start),
            ("runEnd", start),
            ("lastUpdated", start),
            ("status", status),
        ] {
            run[name] = json!(value);
        }
        rig.factory_site.put_run(run);
    };
    // An older one that succeeded says nothing.
    put("old", "2026-07-27T09:00:00Z", "Succeeded");
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &[]).await,
        Standing::Failed
    );
    put("bad", "2026-07-27T09:20:00Z", "Failed");
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &[]).await,
        newer("bad", Progress::Failed)
    );
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &["bad"]).await,
        Standing::Failed,
        "our own failed rerun is a part of the story"
    );
    put("waits", "2026-07-27T09:22:00Z", "Queued");
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &["waits"]).await,
        newer("waits", Progress::Going),
        "our own rerun that goes on is waited for"
    );
    put("good", "2026-07-27T09:21:00Z", "Succeeded");
    assert_eq!(
        rig.standing(&adf(), "retry_pipeline", &[]).await,
        newer("good", Progress::Succeeded)
    );
    rig.finish();
}

#[tokio::test]
async fn a_job_run_is_known_failed_and_the_latest_or_not() {
    let rig = Rig::new().await;
    assert_eq!(
        rig.standing(&job(), "retry_job", &[]).await,
        Standing::Unknown
    );
    let mut failed = fixture("dbx-runs-get-cluster-error");
    failed["run_id"] = json!(JOB_RUN.parse::<i64>().unwrap());
    rig.databricks_site.put_run(failed.clone());
    assert_eq!(
        rig.standing(&job(), "retry_job", &[]).await,
        Standing::Failed
    );
    let mut good = failed;
    good["run_id"] = json!(4711);
    good["start_time"] = json!(1_785_143_900_000_i64);
    good["state"] = json!({"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"});
    good["status"] = json!({"state": "TERMINATED", "termination_details": {"code": "SUCCESS", "type": "SUCCESS"}});
    rig.databricks_site.put_run(good);
    assert_eq!(
        rig.standing(&job(), "retry_job", &[]).await,
        newer("4711", Progress::Succeeded)
    );
    rig.finish();
}

#[tokio::test]
async fn a_cluster_that_was_used_since_is_left() {
    let rig = Rig::new().await;
    let of = async |change: &dyn Fn(&mut Value)| {
        let mut found = fixture("dbx-clusters-get-stockout");
        change(&mut found);
        rig.databricks_site.put_cluster(found);
        rig.standing(&cluster(None), "restart_cluster", &[]).await
    };
    assert_eq!(
        rig.standing(&cluster(None), "restart_cluster", &[]).await,
        Standing::Unknown
    );
    assert_eq!(of(&|_| {}).await, Standing::Failed);
    let pending = of(&|found| found["state"] = json!("PENDING")).await;
    assert_eq!(pending, Standing::Running);
    let again = of(&|found| {
        found["state"] = json!("RUNNING");
        found["last_restarted_time"] = json!(1_785_143_900_000_i64);
    });
    assert!(matches!(again.await, Standing::Over(how) if how.contains("started again")));
    let normal =
        of(&|found| found["termination_reason"] = json!({"code": "INACTIVITY", "type": "SUCCESS"}));
    assert!(matches!(normal.await, Standing::Over(how) if how.contains("INACTIVITY")));
    assert_eq!(cluster(None).field(field::CLUSTER_ID), Some(CLUSTER));
    rig.finish();
}

/// An Airflow whose task instances and runs are what a test says.
#[derive(Default)]
struct Deployment(Mutex<Vec<(String, Value)>>);

impl Site for Deployment {
    fn answer(&self, request: &Request) -> Answer {
        let path = request.segments().join("/");
        let known = self.0.lock().unwrap();
        let found = known.iter().find(|(end, _)| path.ends_with(end.as_str()));
        found.map_or_else(|| Answer::empty(404), |(_, body)| Answer::json(200, body))
    }
}

#[tokio::test]
async fn a_task_is_known_failed_and_the_latest_or_not() {
    let site = Arc::new(Deployment::default());
    let server = serve(0, Arc::clone(&site)).await.unwrap();
    let deployment = AirflowSettings {
        base_url: server.url().parse().unwrap(),
        api: Some(AirflowApi::V2),
        login: AirflowLogin::Open,
    };
    let collector = Collector {
        airflow: vec![Airflow::new(deployment, support::http())],
        ..Collector::default()
    };
    let said = async |known: &[(&str, Value)]| {
        *site.0.lock().unwrap() = known
            .iter()
            .map(|(end, body)| ((*end).to_owned(), body.clone()))
            .collect();
        collector
            .facts(&task(&[]), "retry_task", &[], now())
            .await
            .unwrap()
            .known
    };
    let own = format!("dagRuns/{DAG_RUN}/taskInstances/load_orders");
    let own_run = format!("dagRuns/{DAG_RUN}");
    let state = |state: &str| json!({"task_id": "load_orders", "state": state, "try_number": 2});
    let began =
        |run: &str, at: &str| json!({"dag_run_id": run, "state": "success", "start_date": at});
    assert_eq!(said(&[]).await, Known::Said(Standing::Unknown));
    assert_eq!(
        said(&[(own.as_str(), state("failed"))]).await,
        Known::Said(Standing::Failed)
    );
    assert_eq!(
        said(&[(own.as_str(), state("running"))]).await,
        Known::Said(Standing::Running)
    );
    assert!(matches!(
        said(&[(own.as_str(), state("success"))]).await,
        Known::Said(Standing::Succeeded)
    ));
    let runs = json!({"dag_runs": [began("next", "2026-07-28T00:00:00Z"), began(DAG_RUN, "2026-07-27T00:00:00Z")]});
    for (of_next, progress) in [
        ("success", Progress::Succeeded),
        ("queued", Progress::Going),
        ("failed", Progress::Failed),
    ] {
        let known = [
            (own.as_str(), state("failed")),
            (own_run.as_str(), began(DAG_RUN, "2026-07-27T00:00:00Z")),
            ("dagRuns/next/taskInstances/load_orders", state(of_next)),
            ("dags/sales_etl/dagRuns", runs.clone()),
        ];
        assert_eq!(said(&known).await, Known::Said(newer("next", progress)));
    }
}

#[tokio::test]
async fn a_report_of_another_deployment_is_elsewhere() {
    let deployment = |name: &str, url: &str| {
        let settings = AirflowSettings {
            base_url: url.parse().unwrap(),
            api: Some(AirflowApi::V2),
            login: AirflowLogin::Open,
        };
        Airflow::new(settings, support::http()).named(name)
    };
    let mut collector = Collector {
        airflow: vec![deployment("prod", "https://astro.example.com/dprod")],
        ..Collector::default()
    };
    let place =
        |collector: &Collector, named: &str| collector.place(&task(&[(field::DEPLOYMENT, named)]));
    for ours in [
        "prod",
        "PROD",
        "astro.example.com/dprod",
        "airflow:8080",
        "localhost",
    ] {
        assert!(matches!(place(&collector, ours), Place::Here(_)), "{ours}");
    }
    for theirs in ["dev", "astro.example.com/ddev", "airflow.example.com"] {
        assert!(
            matches!(place(&collector, theirs), Place::Elsewhere(_)),
            "{theirs}"
        );
    }
    let unnamed = collector.place(&task(&[]));
    assert!(matches!(unnamed, Place::Here(_)));
    collector
        .airflow
        .push(deployment("dev", "https://dev.example.com"));
    assert!(matches!(collector.place(&task(&[])), Place::AnyOf(_)));
    assert!(matches!(place(&collector, "dev"), Place::Here(scope) if scope.name == "dev"));
    // Every deployment may have a run of that name: none is asked.
    let facts = collector.facts(&task(&[]), "retry_task", &[], now()).await;
    assert!(matches!(
        facts.unwrap(),
        Facts {
            place: Place::AnyOf(_),
            known: Known::NotAsked
        }
    ));
    let gaps = collector.collect(&task(&[]), now()).await.gaps;
    assert!(gaps[0].reason.contains("AIRFLOW_DEPLOYMENTS"), "{gaps:?}");
}

#[tokio::test]
async fn the_run_that_a_task_watched_is_asked_for_and_its_cause_is_the_cause() {
    let rig = Rig::new().await;
    let mut failed = fixture("dbx-runs-get-cluster-error");
    failed["run_id"] = json!(JOB_RUN.parse::<i64>().unwrap());
    rig.databricks_site.put_run(failed);
    rig.put_adf("adf-queryactivityruns-failed-copy");
    let watching = |operator: &str, message: String| {
        let mut failure = task(&[(field::OPERATOR, operator)]);
        failure.message = message;
        failure
    };
    let of_job = watching(
        "DatabricksRunNowOperator",
        format!("Task timed out. Run submitted with run_id: {JOB_RUN}"),
    );
    let refined = rig.collect(&of_job).await.refine(of_job);
    assert_eq!(refined.field(field::REMOTE_STATE), Some("failed"));
    assert_eq!(refined.field(field::REMOTE_RUN_ID), Some(JOB_RUN));
    assert!(
        !refined.message.contains("Task timed out"),
        "{}",
        refined.message
    );
    let of_pipeline = watching(
        "AzureDataFactoryRunPipelineOperator",
        format!("Timeout: The pipeline run {ADF_RUN} has InProgress."),
    );
    let refined = rig.collect(&of_pipeline).await.refine(of_pipeline);
    assert_eq!(refined.field(field::REMOTE_STATE), Some("failed"));
    assert!(
        refined.message.contains("UserErrorSourceBlobNotExist")
            || refined.error_code.as_deref() == Some("UserErrorSourceBlobNotExist")
    );
}
