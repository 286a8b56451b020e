//! Bodies that people build in Web activities, Logic Apps and mails, and failures that come by further metrics.

use aiops_rca::sources::{Parsed, azure_monitor, databricks};
use serde_json::{Value, json};

fn azure(body: &Value) -> Parsed {
    azure_monitor::parse(body.to_string().as_bytes()).unwrap()
}

fn metric(name: &str, namespace: &str, dimensions: &Value) -> Value {
    json!({"schemaId": "azureMonitorCommonAlertSchema", "data": {
        "essentials": {"alertId": "/subscriptions/a/providers/Microsoft.AlertsManagement/alerts/1", "alertRule": "r", "severity": "Sev1",
            "signalType": "Metric", "monitorCondition": "Fired", "monitoringService": "Platform",
            "alertTargetIDs": ["/subscriptions/a/resourceGroups/g/providers/Microsoft.Synapse/workspaces/syn"],
            "firedDateTime": "2026-11-29T02:50:31.4471205Z"},
        "alertContext": {"conditionType": "MultipleResourceMultipleMetricCriteria", "condition": {"windowSize": "PT5M",
            "allOf": [{"metricName": name, "metricNamespace": namespace, "operator": "GreaterThan", "threshold": "0",
                "dimensions": dimensions, "metricValue": 1.0}],
            "windowStartTime": "2026-11-29T02:43:04.771Z", "windowEndTime": "2026-11-29T02:48:04.771Z"}}}})
}

/// Microsoft's references of Synapse's and Data Factory's metrics.
#[test]
fn every_metric_that_counts_failures_is_heard() {
    let failed = json!([{"name": "Result", "value": "Failed"}, {"name": "Pipeline", "value": "pl_load"}, {"name": "FailureType", "value": "UserError"}]);
    for (name, namespace) in [
        (
            "IntegrationPipelineRunsEnded",
            "Microsoft.Synapse/workspaces",
        ),
        (
            "IntegrationActivityRunsEnded",
            "Microsoft.Synapse/workspaces",
        ),
        (
            "IntegrationTriggerRunsEnded",
            "microsoft.synapse/workspaces",
        ),
    ] {
        let Parsed::NeedsRows(request) = azure(&metric(name, namespace, &failed)) else {
            panic!("{name}")
        };
        assert_eq!(request.asset.as_deref(), Some("pl_load"), "{name}");
    }
    let of_factory = json!([{"name": "Name", "value": "tr_daily"}]);
    for name in [
        "PipelineFailedRuns",
        "ActivityFailedRuns",
        "TriggerFailedRuns",
        "SSISPackageExecutionFailed",
        "SSISIntegrationRuntimeStartFailed",
    ] {
        let parsed = azure(&metric(
            name,
            "Microsoft.DataFactory/factories",
            &of_factory,
        ));
        let Parsed::NeedsRows(request) = parsed else {
            panic!("{name}")
        };
        let named = (name == "PipelineFailedRuns").then_some("tr_daily");
        assert_eq!(
            request.asset.as_deref(),
            named,
            "{name}: the name of a trigger or an activity is no pipeline's"
        );
    }
}

#[test]
fn a_metric_of_all_ends_counts_failures_only_where_the_result_says_so() {
    for dimensions in [
        json!([]),
        json!([{"name": "Result", "value": "*"}]),
        json!([{"name": "Result", "value": "Succeeded"}]),
        json!([{"name": "Pipeline", "value": "Failed"}]),
    ] {
        let parsed = azure(&metric(
            "IntegrationPipelineRunsEnded",
            "Microsoft.Synapse/workspaces",
            &dimensions,
        ));
        assert!(matches!(parsed, Parsed::Ignored(_)), "{dimensions}");
    }
    let other = metric(
        "PipelineSucceededRuns",
        "Microsoft.DataFactory/factories",
        &json!([]),
    );
    assert!(matches!(azure(&other), Parsed::Ignored(_)));
}

#[test]
fn success_opens_no_ticket_wherever_it_is_said() {
    let run = "aaaa1111-1111-4222-8333-444455550096";
    for body in [
        json!({"pipelineName": "pl_daily", "runId": run, "runStatus": "Succeeded"}),
        json!({"title": "pl_daily SUCCEEDED!", "message": "Pipeline run finished successfully!", "color": "Green", "dataFactoryName": "adf-prod",
            "pipelineName": "pl_daily", "pipelineRunId": run, "time": "2026-11-29T02:10:00Z"}),
        json!({"pipeline": {"name": "pl_daily", "runId": run, "status": "Succeeded"}}),
        json!({"PipelineName": "pl_daily", "RunId": run, "outcome": "Success"}),
        json!({"pipelineName": "pl_daily", "runId": run, "isSuccess": true, "errorMessage": ""}),
        json!({"pipelineName": "pl_daily", "runId": run, "subject": "Load completed", "body": "12 rows copied"}),
    ] {
        assert!(
            matches!(azure(&body), Parsed::Ignored(_)),
            "{body}: {:?}",
            azure(&body)
        );
    }
    for body in [
        json!({"run_id": "11", "job_id": "5", "job_name": "nightly", "result_state": "SUCCESS"}),
        json!({"job_id": "5", "run_id": "11", "status": "Succeeded"}),
    ] {
        let parsed = databricks::parse(body.to_string().as_bytes()).unwrap();
        assert!(matches!(parsed, Parsed::Ignored(_)), "{body}: {parsed:?}");
    }
}

#[test]
fn flat_bodies_of_data_factory_are_read() {
    let run = "aaaa1111-1111-4222-8333-444455550096";
    for body in [
        json!({"title": "pl_daily FAILED!", "dataFactoryName": "adf-prod", "pipelineName": "pl_daily", "pipelineRunId": run,
            "errors": [{"code": "2200", "message": "KeyError: 'country'"}], "time": "2026-11-29T02:10:00Z"}),
        json!({"pipeline": {"name": "pl_daily", "runId": run}, "error": {"errorCode": "2200", "message": "KeyError: 'country'"}, "timestamp": "2026-11-29T02:10:00Z"}),
        json!({"pipeline_name": "pl_daily", "run_id": run, "run_status": "Failed", "error_description": "KeyError: 'country'", "failedAt": "2026-11-29T02:10:00Z"}),
        json!({"pipelineName": "pl_daily", "runId": run, "failureReason": "KeyError: 'country'", "endTime": "2026-11-29T02:10:00Z"}),
    ] {
        let Parsed::Failures(failures) = azure(&body) else {
            panic!("{body}")
        };
        let [failure] = failures.as_slice() else {
            panic!("{body}")
        };
        assert_eq!(failure.asset, "pl_daily", "{body}");
        assert_eq!(failure.message, "KeyError: 'country'", "{body}");
        assert_eq!(failure.run_id.as_deref(), Some(run), "{body}");
        assert_eq!(
            failure.occurred_at.map(|at| at.to_rfc3339()).as_deref(),
            Some("2026-11-29T02:10:00+00:00"),
            "{body}"
        );
    }
}

#[test]
fn flat_bodies_of_databricks_are_read() {
    for errors in [
        json!({"errors": [{"error_code": "INTERNAL_ERROR", "message": "java.lang.OutOfMemoryError: Java heap space"}]}),
        json!({"error": {"code": "INTERNAL_ERROR", "message": "java.lang.OutOfMemoryError: Java heap space"}}),
        json!({"error_code": "INTERNAL_ERROR", "error_message": "java.lang.OutOfMemoryError: Java heap space"}),
        json!({"error_code": "INTERNAL_ERROR", "message": "java.lang.OutOfMemoryError: Java heap space"}),
    ] {
        let mut body = json!({"event_type": "jobs.on_failure", "workspace_id": "1234567890", "job_id": "987654", "job_name": "nightly_etl",
            "run_id": "11223344", "run_name": "nightly_etl-2026-04-13", "run_type": "JOB_RUN", "timestamp": "2026-04-13T02:15:32.000Z", "num_failures": 1});
        body.as_object_mut()
            .unwrap()
            .extend(errors.as_object().unwrap().clone());
        let parsed = databricks::parse(body.to_string().as_bytes()).unwrap();
        let Parsed::Failures(failures) = parsed else {
            panic!("{body}")
        };
        let [failure] = failures.as_slice() else {
            panic!("{body}")
        };
        assert_eq!(failure.asset, "nightly_etl", "{body}");
        assert!(
            failure.message.contains("OutOfMemoryError") && !failure.message.contains('{'),
            "{body}: {}",
            failure.message
        );
        assert_eq!(
            failure.error_code.as_deref(),
            Some("INTERNAL_ERROR"),
            "{body}"
        );
        assert!(failure.occurred_at.is_some(), "{body}");
    }
}
