//! Pipeline runs.

use aiops_rca::evidence::EVIDENCE_CAP;
use aiops_rca::failure::field;
use serde_json::{Value, json};
use simulators::Fault;

use super::{ADF_RUN, JOB_RUN, Rig, adf, fixture, gap_of, sources, text_of};

const CHILD: &str = "11111111-5df1-4b8e-ac2f-064cfa58202b";

fn run(id: &str, name: &str) -> Value {
    let mut run = fixture("adf-pipelineruns-get-failed");
    run["runId"] = json!(id);
    run["pipelineName"] = json!(name);
    run
}

fn activity(name: &str, kind: &str, end: &str, message: &str) -> Value {
    let mut activity = fixture("adf-queryactivityruns-failed-copy")["value"][0].clone();
    activity["activityName"] = json!(name);
    activity["activityType"] = json!(kind);
    activity["activityRunEnd"] = json!(end);
    activity["retryAttempt"] = Value::Null;
    activity["output"] = json!({});
    activity["error"]["message"] = json!(message);
    activity
}

#[tokio::test]
async fn the_innermost_error_of_the_failed_activity_refines_the_failure() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-copy");
    let collected = rig.collect(&adf()).await;
    assert_eq!(collected.no_failure, None);
    let refined = collected.refine(adf());
    assert_eq!(refined.asset, "pl_ingest_sales");
    assert_eq!(
        refined.error_code.as_deref(),
        Some("UserErrorSourceBlobNotExist")
    );
    assert!(
        refined
            .message
            .starts_with("ErrorCode=UserErrorSourceBlobNotExist")
            && refined.message.contains("ventes_été.csv")
    );
    assert_eq!(refined.field(field::ACTIVITY), Some("Copy_Sales"));
    assert_eq!(refined.field(field::ACTIVITY_TYPE), Some("Copy"));
    assert_eq!(refined.field(field::FAILURE_TYPE), Some("UserError"));
    assert_eq!(refined.occurred_at, Some(super::at("2026-07-27T09:12:38Z")));
    insta::assert_json_snapshot!("evidence_adf_copy", collected.evidence);
    insta::assert_snapshot!(refined.run_url.unwrap(), @"https://adf.azure.com/en/monitoring/pipelineruns/2f7fdb90-5df1-4b8e-ac2f-064cfa58202b?factory=%2Fsubscriptions%2Faaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e%2Fresourcegroups%2Frg-data%2Fproviders%2Fmicrosoft.datafactory%2Ffactories%2Fadf-prod");
    rig.finish();
}

#[tokio::test]
async fn all_pages_are_read_and_the_first_failed_leaf_is_chosen() {
    let rig = Rig::new().await;
    rig.factory_site.set_page_size(2);
    rig.put_adf("adf-queryactivityruns-failed-systemerror");
    let late = (10..19).map(|minute| {
        activity(
            &format!("Late_{minute}"),
            "Copy",
            &format!("2026-07-27T09:{minute}:50Z"),
            "late",
        )
    });
    rig.factory_site
        .put_activities(ADF_RUN, &late.collect::<Vec<_>>());
    rig.factory_site.put_activities(
        ADF_RUN,
        &[activity(
            "Each",
            "ForEach",
            "2026-07-27T09:01:00Z",
            "An inner activity failed",
        )],
    );
    rig.factory_site.put_activities(
        ADF_RUN,
        &[activity(
            "First",
            "Copy",
            "2026-07-27T09:09:00Z",
            "ErrorCode=GatewayTimeout,'x",
        )],
    );
    let collected = rig.collect(&adf()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("GatewayTimeout")
    );
    assert_eq!(
        collected
            .refinement
            .context
            .get(field::ACTIVITY)
            .map(String::as_str),
        Some("First")
    );
    assert!(text_of(&collected, "adf.activity_runs").contains("other failed activities: Late_10"));
    // 13 failed ones in seven pages, and one page of those that ended well after all.
    assert_eq!(
        rig.factory.requests_to("POST", "queryActivityruns").len(),
        8
    );
    let body = rig.factory.requests_to("POST", "queryActivityruns")[1].json();
    assert_eq!(body["continuationToken"], "page-2");
    assert_eq!(body["lastUpdatedAfter"], "2026-07-26T09:11:02.100Z");
    rig.finish();
}

#[tokio::test]
async fn an_activity_saved_by_its_retry_is_not_the_cause() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-copy");
    let mut saved = activity("Flaky", "Copy", "2026-07-27T09:10:00Z", "");
    rig.factory_site.put_activities(
        ADF_RUN,
        &[activity(
            "Flaky",
            "Copy",
            "2026-07-27T09:09:00Z",
            "ErrorCode=Passing,'x",
        )],
    );
    saved["status"] = json!("Succeeded");
    rig.factory_site.put_activities(ADF_RUN, &[saved]);
    let collected = rig.collect(&adf()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("UserErrorSourceBlobNotExist")
    );
    rig.finish();
}

#[tokio::test]
async fn the_cause_is_found_inside_nested_pipelines_and_circles_end() {
    let rig = Rig::new().await;
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    rig.factory_site.put_run(run(CHILD, "pl_child"));
    let mut calls = activity(
        "Run_Child",
        "ExecutePipeline",
        "2026-07-27T09:12:00Z",
        "Operation on target Deep failed: x",
    );
    calls["output"] = json!({"pipelineRunId": CHILD});
    rig.factory_site.put_activities(ADF_RUN, &[calls.clone()]);
    rig.factory_site.put_activities(
        CHILD,
        &[activity(
            "Deep",
            "Copy",
            "2026-07-27T09:11:50Z",
            "ErrorCode=HttpConnectionFailed,'y",
        )],
    );
    let collected = rig.collect(&adf()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("HttpConnectionFailed")
    );
    assert_eq!(
        collected.refinement.asset.as_deref(),
        Some("pl_ingest_sales")
    );
    assert!(text_of(&collected, "adf.activity_runs").contains("called through: Run_Child"));

    // A child that names its own caller as its child.
    let circle = Rig::new().await;
    circle
        .factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    circle.factory_site.put_run(run(CHILD, "pl_child"));
    circle
        .factory_site
        .put_activities(ADF_RUN, &[calls.clone()]);
    calls["output"] = json!({"pipelineRunId": ADF_RUN});
    circle.factory_site.put_activities(CHILD, &[calls]);
    let collected = circle.collect(&adf()).await;
    assert_eq!(
        sources(&collected),
        ["adf.activity_runs", "adf.pipeline_run"]
    );
    assert!(circle.factory.requests().len() < 10);
    rig.finish();
    circle.finish();
}

#[tokio::test]
async fn without_activity_runs_the_runs_own_message_is_read() {
    let rig = Rig::new().await;
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    let collected = rig.collect(&adf()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("UserErrorSourceBlobNotExist")
    );
    assert!(
        collected
            .refinement
            .message
            .unwrap()
            .starts_with("ErrorCode=")
    );
    rig.finish();
}

#[tokio::test]
async fn runs_that_succeeded_or_were_cancelled_are_no_failures() {
    for (status, word) in [("Succeeded", "succeeded"), ("Cancelled", "cancelled")] {
        let rig = Rig::new().await;
        let mut run = fixture("adf-pipelineruns-get-failed");
        run["status"] = json!(status);
        rig.factory_site.put_run(run);
        assert!(rig.collect(&adf()).await.no_failure.unwrap().contains(word));
        rig.finish();
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_a_gap() {
    let rig = Rig::new().await;
    let reason = async || gap_of(&rig.collect(&adf()).await, "adf.activity_runs").to_owned();
    assert!(reason().await.contains("does not know this run"));
    rig.factory
        .faults
        .next(Fault::from_fixture(&fixture("adf-http-403")));
    let refused = reason().await;
    assert!(
        refused.contains("403 AuthorizationFailed")
            && refused.contains("lacks Microsoft.DataFactory/factories/pipelines/createRun/action")
    );
    assert!(!refused.contains("00000000"), "bodies stay out of reasons");
    // Retry-After: 23 is longer than an analysis may wait.
    let before = std::time::Instant::now();
    rig.factory
        .faults
        .next(Fault::from_fixture(&fixture("adf-http-429")));
    assert!(reason().await.contains("429"));
    assert!(before.elapsed().as_secs() < 5);
    rig.finish();
}

#[tokio::test]
async fn a_passing_fault_is_tried_once_more() {
    for fault in [Fault::status(503), Fault::DropBefore, Fault::AcceptThenDrop] {
        let rig = Rig::new().await;
        rig.put_adf("adf-queryactivityruns-failed-copy");
        rig.factory.faults.next(fault.clone());
        assert_eq!(
            rig.collect(&adf())
                .await
                .gaps
                .iter()
                .filter(|gap| gap.source.starts_with("adf"))
                .count(),
            0,
            "{fault:?}"
        );
        rig.finish();
    }
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-copy");
    for _ in 0..2 {
        rig.factory.faults.next(Fault::DropBefore);
    }
    assert!(
        gap_of(&rig.collect(&adf()).await, "adf.activity_runs").contains("broke the connection")
    );
    rig.finish();
}

#[tokio::test]
async fn a_huge_hostile_message_is_capped_and_cleaned() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-huge");
    let mut more = activity("Copy_More", "Copy", "2026-07-27T09:11:00Z", "");
    more["error"]["message"] = json!(format!(
        "AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0 {}",
        "x".repeat(400_000)
    ));
    rig.factory_site.put_activities(ADF_RUN, &[more]);
    let collected = rig.collect(&adf()).await;
    let text = text_of(&collected, "adf.activity_runs");
    assert!(text.len() <= EVIDENCE_CAP && text.len() > EVIDENCE_CAP / 2);
    assert!(!text.contains("c2VjcmV0c2Vjcm") && !text.contains('\u{202e}'));
    let refined = collected.refine(adf());
    assert!(
        refined.message.len() <= aiops_rca::failure::MESSAGE_CAP
            && !refined.message.contains("c2VjcmV0c2Vjcm")
    );
    rig.finish();
}

#[tokio::test]
async fn a_databricks_activity_is_followed_into_the_configured_workspace_only() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-databricks");
    let elsewhere = rig.collect(&adf()).await;
    assert!(gap_of(&elsewhere, "databricks.run").contains("another workspace"));
    assert_eq!(rig.databricks.requests().len(), 0);
    assert_eq!(
        elsewhere
            .refinement
            .context
            .get(field::LINKED_RUN_ID)
            .map(String::as_str),
        Some("998877665544")
    );
    assert_eq!(elsewhere.refinement.error_code.as_deref(), Some("3204"));
    rig.finish();
}

#[tokio::test]
async fn the_cause_of_a_databricks_activity_is_the_runs_cause() {
    let rig = Rig::new().await;
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    let mut notebook = fixture("adf-queryactivityruns-failed-databricks")["value"][0].clone();
    let page = format!(
        "https://{}/?o=1#job/516892700102118/run/{JOB_RUN}",
        rig.databricks.addr.ip()
    );
    notebook["output"]["runPageUrl"] = json!(page);
    rig.factory_site.put_activities(ADF_RUN, &[notebook]);
    rig.databricks_site
        .put_run(fixture("dbx-runs-get-multitask-failed"));
    rig.databricks_site
        .put_output(222, fixture("dbx-runs-get-output-failed"));
    let collected = rig.collect(&adf()).await;
    let expected = [
        "databricks.run_output",
        "adf.activity_runs",
        "databricks.run",
        "adf.pipeline_run",
    ];
    assert_eq!(sources(&collected), expected);
    let refined = collected.refine(adf());
    assert_eq!(
        refined.error_code.as_deref(),
        Some("DELTA_FAILED_TO_MERGE_FIELDS")
    );
    assert_eq!(refined.asset, "pl_ingest_sales");
    assert_eq!(refined.field(field::ACTIVITY), Some("Notebook"));
    assert_eq!(refined.field(field::TASK_KEY), Some("Load"));
    rig.finish();
}

#[tokio::test]
async fn a_run_of_another_factory_is_not_asked_for() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-copy");
    let mut failure = adf();
    failure.context.insert(
        field::FACTORY.to_owned(),
        "/subscriptions/x/resourcegroups/y/providers/microsoft.datafactory/factories/z".to_owned(),
    );
    let collected = rig.collect(&failure).await;
    assert!(gap_of(&collected, "adf.activity_runs").contains("factories/z"));
    assert_eq!(rig.factory.requests().len(), 0);
    rig.finish();
}

#[tokio::test]
async fn a_failed_iteration_is_one_of_so_many() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-copy");
    let of_loop = |hash: &str, status: &str, end: &str| {
        let mut run = activity("Load_One", "Copy", end, "ErrorCode=GatewayTimeout,'x");
        run["iterationHash"] = json!(hash);
        run["status"] = json!(status);
        run
    };
    let mut runs = vec![
        of_loop("a", "Failed", "2026-07-27T09:01:00Z"),
        of_loop("a", "Failed", "2026-07-27T09:02:00Z"),
        of_loop("b", "Failed", "2026-07-27T09:03:00Z"),
        of_loop("c", "Failed", "2026-07-27T09:03:30Z"),
        of_loop("c", "Succeeded", "2026-07-27T09:04:00Z"),
    ];
    runs.extend((0..5).map(|number| {
        of_loop(
            &format!("good-{number}"),
            "Succeeded",
            "2026-07-27T09:05:00Z",
        )
    }));
    rig.factory_site.put_activities(ADF_RUN, &runs);
    let failure = rig.collect(&adf()).await.refine(adf());
    assert_eq!(failure.field(field::ACTIVITY), Some("Load_One"));
    assert_eq!(
        (
            failure.field(field::UNITS_FAILED),
            failure.field(field::UNITS_TOTAL)
        ),
        (Some("2"), Some("8"))
    );
    rig.finish();
}
