//! Databricks notifications beyond the sample payloads.

use aiops_rca::failure::{AssetKind, field};
use aiops_rca::sources::RowsOf;
use aiops_rca::sources::databricks::parse;
use serde_json::{Value, json};

use super::{failure, ignored, key_of, request};

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn failed(run: &Value) -> Value {
    json!({"event_type": "jobs.on_failure", "workspace_id": 1_234_567_890_123_456_u64, "run": run, "job": {"job_id": "7", "name": "nightly"}})
}

#[test]
fn a_job_and_its_task_are_one_failure_whatever_reports_them() {
    let job = failed(&json!({"run_id": "123456789"}));
    let mut task = failed(&json!({"run_id": 999, "parent_run_id": 123_456_789}));
    task["task"] = json!({"task_key": "Load"});
    let row = json!({"data": {"searchResults": {"tables": [{"columns": ["ActionName", "ServiceName", "RequestParams"], "rows": [["runFailed", "jobs",
        "{\"jobId\":\"7\",\"runId\":\"999\",\"multitaskParentRunId\":\"123456789\",\"jobTerminalState\":\"Failed\",\"orgId\":\"1234567890123456\"}"]]}]}}});
    for body in [job, task, row] {
        assert_eq!(
            failure(parse(&bytes(&body))).key,
            key_of("databricks||123456789||"),
            "{body}"
        );
    }
}

#[test]
fn ids_are_exact_whether_numbers_or_text() {
    for id in [
        json!(9_223_372_036_854_775_807_i64),
        json!("9223372036854775807"),
    ] {
        let failure = failure(parse(&bytes(&failed(&json!({"run_id": id})))));
        assert_eq!(failure.run_id.as_deref(), Some("9223372036854775807"));
        assert_eq!(failure.field(field::WORKSPACE_ID), Some("1234567890123456"));
    }
}

#[test]
fn what_is_no_failure_is_ignored_with_its_reason() {
    let event =
        |name: &str| json!({"event_type": name, "run": {"run_id": "1"}, "job": {"job_id": "2"}});
    for (body, reason) in [
        (event("jobs.on_start"), "started"),
        (event("jobs.on_success"), "succeeded"),
        (
            event("jobs.on_duration_warning_threshold_exceeded"),
            "duration",
        ),
        (event("jobs.on_streaming_backlog_exceeded"), "backlog"),
        (
            event("jobs.on_moonrise"),
            "unknown event_type \"jobs.on_moonrise\"",
        ),
        (event("test"), "test"),
        (json!({"event_type": "TEST_NOTIFICATION"}), "test"),
        (
            json!({"text": "This is a test notification from Databricks"}),
            "test",
        ),
        (
            json!({"event": "job.failure", "run": {"run_id": 1, "state": {"life_cycle_state": "TERMINATED", "result_state": "CANCELED"}}}),
            "CANCELED",
        ),
        (
            json!({"run": {"run_id": 1, "state": {"life_cycle_state": "RUNNING"}}}),
            "RUNNING",
        ),
        (
            json!({"run": {"run_id": 1, "status": {"state": "TERMINATED", "termination_details": {"code": "USER_CANCELED", "type": "CLIENT_ERROR"}}}}),
            "USER_CANCELED",
        ),
        (
            json!({"event": "cluster.terminated", "cluster": {"cluster_id": "c", "termination_reason": {"code": "INACTIVITY", "type": "SUCCESS"}}}),
            "INACTIVITY",
        ),
        (
            json!({"event": "cluster.terminated", "cluster": {"cluster_id": "c", "termination_reason": {"code": "BRAND_NEW", "type": "SUCCESS"}}}),
            "BRAND_NEW",
        ),
    ] {
        let said = ignored(parse(&bytes(&body)));
        assert!(said.contains(reason), "{said:?} for {body}");
    }
}

#[test]
fn shapes_of_a_predecessor_are_used_for_what_they_hold() {
    let run = json!({"run": {"run_id": 5, "run_page_url": "https://adb-1.2.azuredatabricks.net/#job/1/run/5", "end_time": 1_785_143_731_000_i64,
        "status": {"termination_details": {"code": "LIBRARY_INSTALLATION_ERROR", "type": "CLIENT_ERROR", "message": "no such wheel"}}}});
    let found = failure(parse(&bytes(&run)));
    assert_eq!(
        (found.error_code.as_deref(), found.message.as_str()),
        (Some("LIBRARY_INSTALLATION_ERROR"), "no such wheel")
    );
    assert_eq!(
        found.run_url.as_deref(),
        Some("https://adb-1.2.azuredatabricks.net/#job/1/run/5")
    );
    assert_eq!(
        found.occurred_at.unwrap().to_rfc3339(),
        "2026-07-27T09:15:31+00:00"
    );
    let cluster = json!({"event": "cluster.terminated", "timestamp": 1_785_143_731_000_i64, "cluster": {"cluster_id": "c-1", "cluster_name": "etl", "state": "TERMINATED",
        "termination_reason": {"code": "BOOTSTRAP_TIMEOUT", "type": "SERVICE_FAULT", "parameters": {"databricks_error_message": "timed out"}}}});
    let found = failure(parse(&bytes(&cluster)));
    assert_eq!(
        (found.kind, found.key),
        (
            AssetKind::Cluster,
            key_of("databricks|cluster|c-1||2026-07-27t09:15")
        )
    );
    assert_eq!(
        found.message,
        "Cluster etl was terminated. Reason: BOOTSTRAP_TIMEOUT (SERVICE_FAULT). databricks_error_message: timed out"
    );
    let library = json!({"event": "library.failed", "cluster": {"cluster_id": "c-1"}, "library": {"name": "x", "status": "FAILED", "messages": ["not found", "gone"]}});
    let found = failure(parse(&bytes(&library)));
    assert_eq!(
        found.error_code.as_deref(),
        Some("LIBRARY_INSTALLATION_FAILED")
    );
    assert!(
        found.message.ends_with("not found\ngone"),
        "{}",
        found.message
    );
    let timed_out = json!({"event": "job.timed_out", "run": {"run_id": 6, "state": {"result_state": "TIMEDOUT", "state_message": "Run timed out"}}});
    assert_eq!(
        failure(parse(&bytes(&timed_out))).error_code.as_deref(),
        Some("TIMEDOUT")
    );
}

#[test]
fn alerts_on_the_audit_tables_come_through_this_door() {
    let alert = |query: Value| {
        json!({"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"alertId": "a", "monitoringService": "Log Alerts V2",
        "firedDateTime": "2026-07-27T09:15:31Z"}, "alertContext": {"condition": {"allOf": [{"searchQuery": query}]}}}})
    };
    assert_eq!(
        request(parse(&bytes(&alert(json!("DatabricksJobs | take 1"))))).rows_of,
        RowsOf::DatabricksJobs
    );
    assert_eq!(
        request(parse(&bytes(&alert(Value::Null)))).rows_of,
        RowsOf::DatabricksClusters,
        "the door says what an alert without a query is about"
    );
    assert_eq!(
        request(parse(&bytes(&alert(json!("ADFPipelineRun"))))).rows_of,
        RowsOf::AdfRuns
    );
    assert!(ignored(parse(&bytes(&alert(json!("AppRequests"))))).contains("neither"));
    let flat = json!({"TimeGenerated": "2026-07-27T09:15:31Z", "clusterId": "c-1", "clusterName": "etl", "clusterState": "Error", "termination": "DRIVER_UNREACHABLE"});
    assert_eq!(
        failure(parse(&bytes(&flat))).error_code.as_deref(),
        Some("DRIVER_UNREACHABLE")
    );
}

#[test]
fn what_names_no_run_is_refused_with_its_place() {
    for (body, code, path) in [
        (
            json!({"event_type": "jobs.on_failure", "job": {"job_id": "1"}}),
            "nothing_usable",
            "run.run_id",
        ),
        (
            json!({"event_type": "jobs.on_failure", "run": {"run_id": null}}),
            "nothing_usable",
            "run.run_id",
        ),
        (
            json!({"event_type": "jobs.on_failure", "run": "1"}),
            "wrong_type",
            "run",
        ),
        (
            json!({"event_type": "jobs.on_failure", "run": {"run_id": {"id": 1}}}),
            "wrong_type",
            "run.run_id",
        ),
        (
            json!({"event_type": ["jobs.on_failure"]}),
            "wrong_type",
            "event_type",
        ),
        (
            json!({"event": "cluster.failed", "cluster": {}}),
            "nothing_usable",
            "cluster.cluster_id",
        ),
        (json!({"hello": "world"}), "nothing_usable", "event_type"),
    ] {
        let malformed = parse(&bytes(&body)).unwrap_err();
        assert_eq!(
            (malformed.code, malformed.path.as_str()),
            (code, path),
            "{body}"
        );
    }
}
