//! Job runs and clusters.

use aiops_rca::failure::{Failure, field};
use serde_json::{Value, json};
use simulators::Fault;

use super::{CLUSTER, JOB_RUN, Rig, cluster, fixture, gap_of, job, sources, text_of};

fn put_run(rig: &Rig, name: &str) {
    rig.databricks_site.put_run(fixture(name));
}

fn field_of(failure: &Failure, name: &str) -> String {
    failure.field(name).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_root_failing_task_is_told_and_its_consequences_are_not() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-multitask-failed");
    rig.databricks_site
        .put_output(222, fixture("dbx-runs-get-output-failed"));
    let collected = rig.collect(&job()).await;
    let refined = collected.refine(job());
    assert_eq!(
        refined.error_code.as_deref(),
        Some("DELTA_FAILED_TO_MERGE_FIELDS")
    );
    assert!(
        refined
            .message
            .starts_with("AnalysisException: [DELTA_FAILED_TO_MERGE_FIELDS]")
    );
    assert_eq!(refined.asset, "nightly", "the report's own name stays");
    assert_eq!(field_of(&refined, field::TASK_KEY), "Load");
    assert_eq!(field_of(&refined, field::TASK_RUN_ID), "222");
    assert_eq!(field_of(&refined, field::JOB_ID), "516892700102118");
    assert_eq!(field_of(&refined, field::CLUSTER_ID), CLUSTER);
    assert_eq!(field_of(&refined, field::TERMINATION_TYPE), "CLIENT_ERROR");
    assert_eq!(rig.databricks.requests_to("GET", "get-output").len(), 1);
    insta::assert_json_snapshot!("evidence_dbx_multitask", collected.evidence);
    rig.finish();
}

#[tokio::test]
async fn a_page_of_another_host_is_no_link_and_a_number_is_no_name() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-multitask-failed");
    let mut unnamed = job();
    unnamed.asset = "job 516892700102118".to_owned();
    let collected = rig.collect(&unnamed).await;
    assert_eq!(collected.refinement.asset.as_deref(), Some("nightly ETL"));
    assert_eq!(collected.refinement.run_url, None);
    rig.finish();
}

#[tokio::test]
async fn a_cluster_code_is_explained_by_the_cluster() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-cluster-error");
    rig.databricks_site
        .put_cluster(fixture("dbx-clusters-get-stockout"));
    rig.databricks_site.put_events(
        CLUSTER,
        fixture("dbx-clusters-events")["events"].as_array().unwrap(),
    );
    let collected = rig.collect(&job()).await;
    let refined = collected.refine(job());
    assert_eq!(
        refined.error_code.as_deref(),
        Some("CLOUD_PROVIDER_RESOURCE_STOCKOUT")
    );
    assert_eq!(field_of(&refined, field::TERMINATION_TYPE), "CLOUD_FAILURE");
    assert_eq!(field_of(&refined, field::CLUSTER_SOURCE), "UI");
    assert_eq!(field_of(&refined, field::NODE_TYPE), "Standard_D4ds_v5");
    assert!(refined.message.contains("SkuNotAvailable"));
    assert_eq!(
        sources(&collected),
        [
            "databricks.cluster",
            "databricks.cluster_events",
            "databricks.run"
        ]
    );
    rig.finish();
}

#[tokio::test]
async fn a_library_error_lists_the_libraries_that_failed() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-library-error");
    rig.databricks_site
        .put_cluster(json!({"cluster_id": CLUSTER, "state": "RUNNING"}));
    rig.databricks_site.put_libraries(
        CLUSTER,
        fixture("dbx-libraries-cluster-status")["library_statuses"]
            .as_array()
            .unwrap(),
    );
    let collected = rig.collect(&job()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("LIBRARY_INSTALLATION_ERROR")
    );
    let text = text_of(&collected, "databricks.libraries");
    assert!(text.contains("pandas==99.0") && !text.contains("com.acme"));
    rig.finish();
}

#[tokio::test]
async fn a_timeout_is_a_failure_and_a_persons_cancellation_is_none() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-timedout");
    let collected = rig.collect(&job()).await;
    assert_eq!(
        (
            collected.no_failure.as_deref(),
            collected.refinement.error_code.as_deref()
        ),
        (None, Some("TIMEDOUT"))
    );
    put_run(&rig, "dbx-runs-get-user-canceled");
    assert_eq!(
        rig.collect(&job()).await.no_failure.as_deref(),
        Some("the run was cancelled by a user")
    );
    rig.finish();
}

#[tokio::test]
async fn what_a_python_job_raised_is_read_from_its_log() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-multitask-failed");
    rig.databricks_site
        .put_output(222, fixture("dbx-runs-get-output-python-logs"));
    let collected = rig.collect(&job()).await;
    assert_eq!(collected.refinement.error_code.as_deref(), Some("KeyError"));
    assert_eq!(
        collected.refinement.message.as_deref(),
        Some("SystemExit: 1\nKeyError: 'client_id'")
    );
    assert!(text_of(&collected, "databricks.run_output").contains("log (the end):\nTraceback"));
    rig.finish();
}

#[tokio::test]
async fn all_pages_of_tasks_are_read() {
    let rig = Rig::new().await;
    rig.databricks_site.set_page_size(1);
    put_run(&rig, "dbx-runs-get-multitask-failed");
    let collected = rig.collect(&job()).await;
    assert_eq!(
        collected
            .refinement
            .context
            .get(field::TASK_KEY)
            .map(String::as_str),
        Some("Load")
    );
    assert_eq!(
        rig.databricks
            .requests_to("GET", "runs/get")
            .iter()
            .filter(|r| r.query("page_token").is_some())
            .count(),
        2
    );
    rig.finish();
}

/// The multi-task fixture with its failed task changed.
fn with_task(change: impl Fn(&mut Value)) -> Value {
    let mut run = fixture("dbx-runs-get-multitask-failed");
    change(&mut run["tasks"][1]);
    run
}

#[tokio::test]
async fn loops_and_runs_started_by_tasks_are_followed() {
    let rig = Rig::new().await;
    rig.databricks_site.put_run(with_task(|task| {
        task["for_each_task"] = json!({"inputs": "[1,2]", "stats": {"task_run_stats":
            {"total_iterations": 284, "failed_iterations": 4, "completed_iterations": 280}}});
    }));
    let failed = json!({"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "iteration failed"});
    let good = json!({"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"});
    rig.databricks_site.put_run(
        json!({"run_id": 222, "run_name": "nightly ETL", "iterations": [
            {"run_id": 2221, "task_key": "one", "state": good, "end_time": 5},
            {"run_id": 2222, "task_key": "two", "state": failed, "end_time": 7},
        ]}),
    );
    rig.databricks_site
        .put_output(2222, json!({"error": "ValueError: row 7"}));
    let collected = rig.collect(&job()).await;
    assert_eq!(
        collected.refinement.message.as_deref(),
        Some("ValueError: row 7")
    );
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("ValueError")
    );
    assert_eq!(
        collected
            .refinement
            .context
            .get(field::TASK_KEY)
            .map(String::as_str),
        Some("Load > two")
    );
    let context = &collected.refinement.context;
    let count = |name: &str| context.get(name).map(String::as_str);
    assert_eq!(
        (count(field::UNITS_FAILED), count(field::UNITS_TOTAL)),
        (Some("4"), Some("284"))
    );
    rig.finish();

    let rig = Rig::new().await;
    rig.databricks_site.put_run(with_task(|task| {
        task["run_job_task"] = json!({"job_id": 7});
    }));
    rig.databricks_site.put_output(
        222,
        json!({"error": "Run job failed", "run_job_output": {"run_id": 777}}),
    );
    let mut child = fixture("dbx-runs-get-multitask-failed");
    child["run_id"] = json!(777);
    child["tasks"][1]["run_id"] = json!(778);
    child["tasks"][1]["task_key"] = json!("Inner");
    rig.databricks_site.put_run(child);
    rig.databricks_site
        .put_output(778, fixture("dbx-runs-get-output-failed"));
    let collected = rig.collect(&job()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("DELTA_FAILED_TO_MERGE_FIELDS")
    );
    assert_eq!(
        collected
            .refinement
            .context
            .get(field::TASK_KEY)
            .map(String::as_str),
        Some("Inner")
    );
    assert!(
        collected
            .evidence
            .iter()
            .any(|proof| proof.title == "Run 777 started by task Load")
    );
    rig.finish();
}

#[tokio::test]
async fn repairs_are_told_apart() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-multitask-failed");
    let workspace = rig.collector.databricks.first().unwrap();
    assert_eq!(workspace.latest_repair(JOB_RUN).await.unwrap(), None);
    let state = json!({"life_cycle_state": "TERMINATED", "result_state": "FAILED"});
    let mut run = fixture("dbx-runs-get-multitask-failed");
    run["repair_history"] = json!([
        {"type": "ORIGINAL", "start_time": 1_785_143_000_000_i64, "state": state},
        {"type": "REPAIR", "id": 108_607_572_123_234_i64, "start_time": 1_785_143_300_000_i64, "state": state},
        {"type": "REPAIR", "id": 734_650_698_524_280_i64, "start_time": 1_785_143_600_000_i64, "state": state},
    ]);
    rig.databricks_site.put_run(run.clone());
    let repair = workspace.latest_repair(JOB_RUN).await.unwrap().unwrap();
    assert_eq!((repair.id.as_str(), repair.number), ("734650698524280", 2));
    let collected = rig.collect(&job()).await;
    assert_eq!(
        collected
            .refinement
            .context
            .get(field::REPAIR_ID)
            .map(String::as_str),
        Some("734650698524280")
    );

    run["state"] = json!({"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"});
    run["status"] = json!({"state": "TERMINATED", "termination_details": {"code": "SUCCESS", "type": "SUCCESS"}});
    rig.databricks_site.put_run(run);
    assert_eq!(
        rig.collect(&job()).await.no_failure.as_deref(),
        Some("the run succeeded in a repair")
    );
    rig.finish();
}

#[tokio::test]
async fn a_cluster_tells_why_it_ended() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_cluster(fixture("dbx-clusters-get-driver"));
    rig.databricks_site.put_events(
        CLUSTER,
        fixture("dbx-clusters-events")["events"].as_array().unwrap(),
    );
    let collected = rig.collect(&cluster(Some("DRIVER_UNRESPONSIVE"))).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("DRIVER_UNRESPONSIVE")
    );
    assert_eq!(
        collected
            .refinement
            .context
            .get(field::TERMINATION_TYPE)
            .map(String::as_str),
        Some("SERVICE_FAULT")
    );
    insta::assert_json_snapshot!("evidence_dbx_cluster", collected.evidence);
    rig.finish();
}

#[tokio::test]
async fn an_idle_clusters_end_is_no_failure_unless_another_end_was_reported() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_cluster(fixture("dbx-clusters-get-inactivity"));
    assert_eq!(
        rig.collect(&cluster(None)).await.no_failure.as_deref(),
        Some("the cluster ended normally (INACTIVITY)")
    );
    let collected = rig
        .collect(&cluster(Some("CLOUD_PROVIDER_LAUNCH_FAILURE")))
        .await;
    assert_eq!(collected.no_failure, None);
    assert!(gap_of(&collected, "databricks.cluster").contains("used since"));
    assert_eq!(collected.refinement.error_code, None);
    rig.finish();
}

#[tokio::test]
async fn what_cannot_be_had_is_a_gap() {
    let rig = Rig::new().await;
    let reason =
        async |failure: Failure| gap_of(&rig.collect(&failure).await, "databricks.run").to_owned();
    assert!(reason(job()).await.contains("does not know this run"));
    rig.databricks
        .faults
        .next(Fault::from_fixture(&fixture("dbx-http-403")));
    assert!(reason(job()).await.contains("403 PERMISSION_DENIED"));
    rig.databricks.faults.next(Fault::Status {
        code: 500,
        headers: vec![("retry-after".into(), "60".into())],
        body: "<html>".into(),
    });
    assert!(reason(job()).await.contains("500"));
    rig.databricks.faults.next(Fault::Status {
        code: 200,
        headers: Vec::new(),
        body: "<html>sign in</html>".into(),
    });
    assert!(reason(job()).await.contains("cannot read"));
    let asked = rig.databricks.requests().len();
    let mut odd = job();
    odd.run_id = Some("998877665544332 or 1=1".to_owned());
    assert!(reason(odd).await.contains("none of Databricks'"));
    assert_eq!(rig.databricks.requests().len(), asked);
    rig.finish();
}

#[tokio::test]
async fn a_task_whose_output_is_refused_is_still_told() {
    let rig = Rig::new().await;
    put_run(&rig, "dbx-runs-get-multitask-failed");
    rig.databricks.faults.next_on(
        "GET",
        "get-output",
        Fault::from_fixture(&fixture("dbx-http-403")),
    );
    let collected = rig.collect(&job()).await;
    assert!(gap_of(&collected, "databricks.run_output").contains("403"));
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("RUN_EXECUTION_ERROR")
    );
    rig.finish();
}

/// Databricks' `UPSTREAM_FAILED` and "see run output for details" around what the failed task raised.
#[tokio::test]
async fn what_the_failed_task_raised_is_the_cause_not_what_was_skipped_for_it() {
    use aiops_rca::diagnosis::{Case, Category, diagnose};
    for (error, category, fact) in [
        ("KeyError: 'country'", Category::Code, "'country'"),
        (
            "AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `sales`.`orders` cannot be found.",
            Category::MissingData,
            "orders",
        ),
        (
            "ModuleNotFoundError: No module named 'pandas'",
            Category::Dependency,
            "pandas",
        ),
        (
            "ValueError: 12 rows are odd",
            Category::Code,
            "12 rows are odd",
        ),
    ] {
        let rig = Rig::new().await;
        put_run(&rig, "dbx-runs-get-multitask-failed");
        let trace = format!("Traceback (most recent call last):\n  File \"x.py\", line 1\n{error}");
        let output = json!({"metadata": {"run_id": 222}, "error": error, "error_trace": trace,
            "logs": "26/07/27 09:15:31 WARN Client: 429 Too Many Requests, retrying", "logs_truncated": false});
        rig.databricks_site.put_output(222, output);
        let mut report = job();
        report.asset = "UPSTREAM_FAILED retry report".to_owned();
        let collected = rig.collect(&report).await;
        let refined = collected.refine(report);
        let found = diagnose(&Case::of(&refined, &collected.evidence));
        assert_eq!(found.category, category, "{error}: {}", found.rule);
        assert!(found.root_cause.contains(fact), "{}", found.root_cause);
        assert!(!found.remediable, "{}", found.rule);
        rig.finish();
    }
}
