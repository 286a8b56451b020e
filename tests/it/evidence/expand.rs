//! Alerts without rows.

use aiops_rca::evidence::{Collector, Expanded};
use aiops_rca::failure::{AlertRef, AssetKind, Source, field};
use aiops_rca::fault::Fault as Trouble;
use aiops_rca::sources::{RowsOf, RowsRequest};
use serde_json::{Value, json};
use simulators::Fault;

use super::{
    ADF_RUN, CLUSTER, JOB_RUN, Rig, adf, at, cluster, fixture, gap_of, job, now, sources, text_of,
};

fn request(rows_of: RowsOf) -> RowsRequest {
    RowsRequest {
        source: if rows_of == RowsOf::AdfRuns {
            Source::Adf
        } else {
            Source::Databricks
        },
        rows_of,
        from: Some(at("2026-07-27T09:00:00Z")),
        to: Some(at("2026-07-27T09:15:00Z")),
        asset: None,
        run_id: None,
        resource: None,
        count: Some(1),
        severity: Some(3),
        alert: AlertRef {
            id: "alert-1".to_owned(),
            rule: Some("the rule".to_owned()),
        },
    }
}

async fn expand(rig: &Rig, request: &RowsRequest) -> Expanded {
    rig.collector.expand(request, now()).await.unwrap()
}

/// A rig whose logs alone can be asked.
async fn logs_only() -> Rig {
    let mut rig = Rig::new().await;
    rig.collector = Collector {
        log_analytics: rig.collector.log_analytics.take(),
        ..Collector::default()
    };
    rig
}

fn run_ids(expanded: &Expanded) -> Vec<&str> {
    expanded
        .failures
        .iter()
        .filter_map(|failure| failure.run_id.as_deref())
        .collect()
}

#[tokio::test]
async fn the_factory_names_the_failed_runs_of_the_window_at_once() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-copy");
    let mut child = fixture("adf-pipelineruns-get-failed");
    child["runId"] = json!("c0000000-5df1-4b8e-ac2f-064cfa58202b");
    child["invokedBy"] = json!({"name": "x", "invokedByType": "PipelineActivity", "pipelineRunId": ADF_RUN.to_uppercase()});
    rig.factory_site.put_run(child);
    let mut early = fixture("adf-pipelineruns-get-failed");
    early["runId"] = json!("e0000000-5df1-4b8e-ac2f-064cfa58202b");
    early["lastUpdated"] = json!("2026-07-27T07:12:39.6Z");
    rig.factory_site.put_run(early);
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-inprogress"));
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert_eq!(
        run_ids(&expanded),
        [ADF_RUN],
        "not the run inside it, not earlier ones, not running ones"
    );
    let failure = &expanded.failures[0];
    assert_eq!(
        (failure.asset.as_str(), failure.source_severity),
        ("pl_ingest_sales", Some(3))
    );
    assert_eq!(failure.alert.as_ref().unwrap().id, "alert-1");
    assert_eq!(
        failure.error_code.as_deref(),
        Some("UserErrorSourceBlobNotExist")
    );
    assert!(
        failure
            .field(field::FACTORY)
            .unwrap()
            .ends_with("/factories/adf-prod")
    );
    assert!(!expanded.ask_again && rig.logs.requests().is_empty());

    let other = RowsRequest {
        asset: Some("pl_other".to_owned()),
        ..request(RowsOf::AdfRuns)
    };
    assert!(expand(&rig, &other).await.ask_again);
    let named = RowsRequest {
        run_id: Some(ADF_RUN.to_owned()),
        from: None,
        to: None,
        ..request(RowsOf::AdfRuns)
    };
    assert_eq!(run_ids(&expand(&rig, &named).await), [ADF_RUN]);
    rig.finish();
}

#[tokio::test]
async fn logs_name_the_failed_runs_when_the_factory_cannot_be_asked() {
    let rig = logs_only().await;
    rig.logs_site.put_table(
        "ADFPipelineRun",
        &fixture("loganalytics-adf-pipelinerun-rows"),
    );
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert_eq!(run_ids(&expanded), [ADF_RUN]);
    let body = rig.logs.requests()[0].json();
    assert_eq!(
        body["timespan"],
        "2026-07-27T08:55:00.000Z/2026-07-27T09:20:00.000Z"
    );
    insta::assert_snapshot!("evidence_kql_runs", body["query"].as_str().unwrap());
    let resource = "/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/RG-DATA/providers/microsoft.datafactory/factories/adf-prod";
    let ours = RowsRequest {
        resource: Some(resource.to_owned()),
        asset: Some("PL_Ingest_Sales".to_owned()),
        ..request(RowsOf::AdfRuns)
    };
    assert_eq!(run_ids(&expand(&rig, &ours).await), [ADF_RUN]);
    let other = RowsRequest {
        resource: Some(resource.replace("prod", "test")),
        ..ours
    };
    assert!(expand(&rig, &other).await.ask_again);
    rig.finish();
}

#[tokio::test]
async fn a_missing_table_leads_to_the_older_one() {
    let rig = logs_only().await;
    let row = |category: &str, more: Value| {
        let mut row = json!({"TimeGenerated": "2026-07-27T09:12:40Z", "Category": category, "pipelineName_s": "pl_old",
            "status_s": "Failed", "_ResourceId": "/x/factories/adf-prod"});
        row.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        row
    };
    rig.logs_site.put_row(
        "AzureDiagnostics",
        &row("PipelineRuns", json!({"runId_g": ADF_RUN})),
    );
    rig.logs_site.put_row(
        "AzureDiagnostics",
        &row(
            "ActivityRuns",
            json!({"pipelineRunId_g": ADF_RUN, "activityName_s": "Copy",
        "activityType_s": "Copy", "errorCode_s": "2200", "errorMessage_s": "ErrorCode=GatewayTimeout,'x"}),
        ),
    );
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert_eq!(run_ids(&expanded), [ADF_RUN]);
    assert_eq!(expanded.failures[0].asset, "pl_old");
    assert_eq!(rig.logs.requests().len(), 2);
    let collected = rig.collect(&adf()).await;
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("GatewayTimeout")
    );
    rig.finish();
}

#[tokio::test]
async fn no_table_at_all_is_a_gap_that_names_the_diagnostic_settings() {
    let rig = logs_only().await;
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert!(expanded.failures.is_empty() && !expanded.ask_again);
    assert!(
        expanded.gaps[0].reason.contains("diagnostic settings"),
        "{:?}",
        expanded.gaps
    );
    rig.finish();
}

#[tokio::test]
async fn an_empty_answer_asks_again_and_a_partial_one_too() {
    let rig = logs_only().await;
    rig.logs_site
        .put_table("ADFPipelineRun", &fixture("loganalytics-empty"));
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert!(expanded.failures.is_empty() && expanded.ask_again && !expanded.gaps.is_empty());
    rig.logs_site.put_table(
        "ADFPipelineRun",
        &fixture("loganalytics-adf-pipelinerun-rows"),
    );
    rig.logs_site.set_partial(true);
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert_eq!((expanded.failures.len(), expanded.ask_again), (1, true));
    assert!(expanded.gaps[0].reason.contains("PartialError"));
    rig.finish();
}

#[tokio::test]
async fn throttling_is_transient_with_the_services_own_delay_and_a_refusal_is_a_gap() {
    let rig = logs_only().await;
    rig.logs
        .faults
        .next(Fault::from_fixture(&fixture("loganalytics-http-429")));
    match rig.collector.expand(&request(RowsOf::AdfRuns), now()).await {
        Err(Trouble::Transient { retry_after, .. }) => {
            assert_eq!(retry_after.unwrap().as_secs(), 18);
        }
        other => panic!("{other:?}"),
    }
    rig.logs
        .faults
        .next(Fault::from_fixture(&fixture("loganalytics-http-403")));
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert!(!expanded.ask_again && expanded.gaps[0].reason.contains("Log Analytics Reader"));
    rig.finish();
}

#[tokio::test]
async fn the_factorys_trouble_is_made_up_for_by_the_logs() {
    let rig = Rig::new().await;
    rig.factory
        .faults
        .next(Fault::from_fixture(&fixture("adf-http-429")));
    rig.logs_site.put_table(
        "ADFPipelineRun",
        &fixture("loganalytics-adf-pipelinerun-rows"),
    );
    let expanded = expand(&rig, &request(RowsOf::AdfRuns)).await;
    assert_eq!(run_ids(&expanded), [ADF_RUN]);
    assert!(!expanded.ask_again && expanded.gaps[0].reason.contains("429"));
    rig.finish();
}

#[tokio::test]
async fn nobody_to_ask_is_a_gap_that_names_the_settings() {
    let none = Collector::default();
    let reason = async |rows_of| {
        none.expand(&request(rows_of), now())
            .await
            .unwrap()
            .gaps
            .remove(0)
            .reason
    };
    let told = reason(RowsOf::AdfRuns).await;
    assert!(
        told.contains("LOG_ANALYTICS_WORKSPACE_ID") && told.contains("AZURE_DATA_FACTORY_NAME")
    );
    assert!(
        reason(RowsOf::DatabricksJobs)
            .await
            .contains("DATABRICKS_WORKSPACE_URL")
    );
}

#[tokio::test]
async fn clusters_that_ended_badly_are_named_by_logs_or_by_the_workspace() {
    let rig = logs_only().await;
    rig.logs_site.put_table(
        "DatabricksClusters",
        &fixture("loganalytics-databricksclusters-rows"),
    );
    let expanded = expand(&rig, &request(RowsOf::DatabricksClusters)).await;
    let named: Vec<_> = expanded
        .failures
        .iter()
        .map(|failure| {
            (
                failure.kind,
                failure.field(field::CLUSTER_ID),
                failure.error_code.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        named,
        [(
            AssetKind::Cluster,
            Some(CLUSTER),
            Some("CLOUD_PROVIDER_RESOURCE_STOCKOUT")
        )]
    );
    let collected = rig.collect(&cluster(None)).await;
    assert_eq!(sources(&collected), ["log_analytics"]);
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("CLOUD_PROVIDER_RESOURCE_STOCKOUT")
    );
    rig.finish();

    let rig = Rig::new().await;
    rig.databricks_site
        .put_cluster(fixture("dbx-clusters-get-stockout"));
    let mut idle = fixture("dbx-clusters-get-inactivity");
    idle["cluster_id"] = json!("idle");
    rig.databricks_site.put_cluster(idle);
    let expanded = expand(&rig, &request(RowsOf::DatabricksClusters)).await;
    assert_eq!(expanded.failures.len(), 1);
    assert_eq!(expanded.failures[0].field(field::CLUSTER_ID), Some(CLUSTER));
    assert_eq!(
        expanded.failures[0].field(field::TERMINATION_TYPE),
        Some("CLOUD_FAILURE")
    );
    rig.finish();
}

#[tokio::test]
async fn job_runs_that_failed_are_named_by_the_workspace_or_by_logs() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_run(fixture("dbx-runs-get-multitask-failed"));
    let mut good = fixture("dbx-runs-get-user-canceled");
    good["run_id"] = json!(5);
    rig.databricks_site.put_run(good);
    let expanded = expand(&rig, &request(RowsOf::DatabricksJobs)).await;
    assert_eq!(run_ids(&expanded), [JOB_RUN]);
    assert_eq!(
        (
            expanded.failures[0].kind,
            expanded.failures[0].asset.as_str()
        ),
        (AssetKind::Job, "nightly ETL")
    );
    rig.finish();

    let rig = logs_only().await;
    let params =
        json!({"jobId": "516892700102118", "runId": JOB_RUN, "jobTerminalState": "Failed"})
            .to_string();
    rig.logs_site.put_row(
        "DatabricksJobs",
        &json!({"TimeGenerated": "2026-07-27T09:12:40Z", "ActionName": "runFailed",
        "ServiceName": "jobs", "RequestParams": params}),
    );
    assert_eq!(
        run_ids(&expand(&rig, &request(RowsOf::DatabricksJobs)).await),
        [JOB_RUN]
    );
    assert!(
        text_of(&rig.collect(&job()).await, "log_analytics").contains("jobTerminalState: Failed")
    );
    rig.finish();
}

#[tokio::test]
async fn logs_stand_in_for_a_factory_that_is_not_configured() {
    let rig = logs_only().await;
    rig.logs_site
        .put_table("ADFActivityRun", &fixture("loganalytics-adf-rows"));
    let collected = rig.collect(&adf()).await;
    assert!(gap_of(&collected, "adf.activity_runs").contains("AZURE_DATA_FACTORY_NAME"));
    let refined = collected.refine(adf());
    assert_eq!(
        refined.error_code.as_deref(),
        Some("UserErrorSourceBlobNotExist")
    );
    assert_eq!(
        (refined.asset.as_str(), refined.field(field::ACTIVITY)),
        ("pl_ingest_sales", Some("Copy_Sales"))
    );
    assert!(
        collected.evidence[0].title.starts_with("2 rows"),
        "the other run's row is not there"
    );
    rig.finish();
}

#[tokio::test]
async fn the_vendors_word_is_better_than_the_logs() {
    let rig = Rig::new().await;
    rig.put_adf("adf-queryactivityruns-failed-systemerror");
    rig.logs_site
        .put_table("ADFActivityRun", &fixture("loganalytics-adf-rows"));
    let collected = rig.collect(&adf()).await;
    assert_eq!(
        sources(&collected),
        ["adf.activity_runs", "adf.pipeline_run", "log_analytics"]
    );
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("AdlsGen2OperationFailed")
    );
    assert_eq!(collected.gaps, []);
    rig.finish();
}
