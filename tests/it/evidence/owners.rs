//! Who owns an asset, as its platform says it.

use aiops_rca::failure::field;
use aiops_rca::ownership::OwnershipSettings;
use serde_json::json;
use simulators::airflow::Api;

use super::{ADF_RUN, DAG_RUN, JOB_RUN, Rig, adf, fixture, job, task};

fn owner(failure: &aiops_rca::failure::Failure) -> Option<(String, String)> {
    let owner = OwnershipSettings::default().care(failure).owner?;
    Some((owner.name, owner.known_from))
}

fn asked(requests: &[simulators::Request], path: &str) -> usize {
    let ends = |request: &&simulators::Request| request.path.ends_with(path);
    requests.iter().filter(ends).count()
}

#[tokio::test]
async fn airflow_names_the_owner_of_the_task_or_the_dag_and_tags() {
    for api in [Api::V1, Api::V2] {
        let rig = Rig::with_airflow(api).await;
        rig.airflow_site.put_task(
            json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": "load_orders", "map_index": -1,
                "state": "failed", "try_number": 2, "max_tries": 1, "operator": "PythonOperator"}),
        );
        let dag = ["airflow, jane.roe@example.com", "data"];
        rig.airflow_site
            .own("sales_etl", &dag, &["pii", "team:finance"]);
        let failure = rig.collect(&task(&[])).await.refine(task(&[]));
        assert_eq!(failure.field(field::TAGS), Some("pii, team:finance"));
        let named = Some(("jane.roe".to_owned(), "Airflow names the owner".to_owned()));
        assert_eq!(owner(&failure), named);
        // It is asked once for each asset.
        rig.airflow_site
            .own_task("sales_etl", "load_orders", "other");
        let again = rig.collect(&task(&[])).await.refine(task(&[]));
        assert_eq!(owner(&again), named);
        assert_eq!(asked(&rig.airflow.requests(), "/tasks/load_orders"), 1);
        // What the report itself names stays; the default owner of Airflow is nobody.
        for (reported, expected) in [("finops", "finops"), ("airflow", "jane.roe")] {
            let report = task(&[(field::OWNER, reported)]);
            let failure = rig.collect(&report).await.refine(report);
            assert_eq!(owner(&failure).unwrap().0, expected);
        }
        rig.finish();
    }
}

#[tokio::test]
async fn the_owner_of_the_task_counts_before_that_of_its_dag() {
    let rig = Rig::new().await;
    rig.airflow_site.put_task(
        json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": "load_orders", "map_index": -1,
            "state": "failed", "try_number": 2, "max_tries": 1, "operator": "PythonOperator"}),
    );
    rig.airflow_site.own("sales_etl", &["data", "finance"], &[]);
    rig.airflow_site
        .own_task("sales_etl", "load_orders", "finance");
    let failure = rig.collect(&task(&[])).await.refine(task(&[]));
    assert_eq!(owner(&failure).unwrap().0, "finance");
    rig.finish();
}

#[tokio::test]
async fn databricks_names_tags_run_as_and_creator() {
    let rig = Rig::new().await;
    let run = fixture("dbx-runs-get-multitask-failed");
    let number = run["job_id"].as_i64().unwrap();
    rig.databricks_site.put_run(run);
    let application = "5b3a1c8e-0d4f-4f0e-9b60-0123456789ab";
    let tags = json!({"team": "finance", "pii": ""});
    rig.databricks_site
        .own_job(number, application, "jane.roe@example.com", &tags);
    let failure = rig.collect(&job()).await.refine(job());
    assert_eq!(failure.run_id.as_deref(), Some(JOB_RUN));
    assert_eq!(failure.field(field::TAGS), Some("pii, team:finance"));
    assert_eq!(failure.field(field::RUN_AS), Some(application));
    assert_eq!(failure.field(field::CREATOR), Some("jane.roe"));
    assert_eq!(
        owner(&failure),
        Some(("finance".to_owned(), "the tag team:finance".to_owned()))
    );
    let mut untagged = failure;
    untagged.context.remove(field::TAGS);
    assert_eq!(
        owner(&untagged),
        Some(("jane.roe".to_owned(), "they made the job".to_owned())),
        "an application's id is nobody's name"
    );
    rig.finish();
}

#[tokio::test]
async fn a_factory_names_annotations_and_the_folder() {
    let rig = Rig::new().await;
    let run = fixture("adf-pipelineruns-get-failed");
    let pipeline = run["pipelineName"].as_str().unwrap().to_owned();
    rig.factory_site.put_run(run);
    rig.factory_site
        .describe(&pipeline, &["nightly"], "Finance/Loads");
    let failure = rig.collect(&adf()).await.refine(adf());
    assert_eq!(failure.run_id.as_deref(), Some(ADF_RUN));
    assert_eq!(failure.field(field::TAGS), Some("nightly"));
    assert_eq!(
        owner(&failure),
        Some(("Finance".to_owned(), "the folder Finance/Loads".to_owned()))
    );
    rig.finish();
}
