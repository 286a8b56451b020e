//! Tables as Log Analytics answers them, through the functions the evidence room calls.

use aiops_rca::failure::{AlertRef, field};
use aiops_rca::sources::RowsOf;
use aiops_rca::sources::rows::{self, Origin, Table, adf, databricks::is_normal_end};
use serde_json::{Value, json};

use super::{key_of, vendor};

fn table(columns: &[&str], rows: Value) -> Table {
    Table {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        rows: serde_json::from_value(rows).unwrap(),
    }
}

#[test]
fn a_queried_table_becomes_failures_of_the_alert_that_asked() {
    let answer: Value = serde_json::from_slice(&vendor("loganalytics-adf-rows")).unwrap();
    let alert = AlertRef {
        id: "a1".to_owned(),
        rule: Some("rule".to_owned()),
    };
    let origin = Origin {
        severity: Some(2),
        alert: Some(alert.clone()),
        ..Origin::default()
    };
    let found = rows::read_as(RowsOf::AdfRuns, &rows::tables(&answer)[0], &origin).failures;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(
        |failure| failure.source_severity == Some(2) && failure.alert.as_ref() == Some(&alert)
    ));
}

#[test]
fn ends_are_judged_by_type_first_and_code_else() {
    for (code, kind, normal) in [
        (Some("INACTIVITY"), None, true),
        (Some("user_request"), Some("CLIENT_ERROR"), true),
        (Some("JOB_FINISHED"), None, true),
        (Some("SUCCESS"), None, true),
        (Some("WORKSPACE_UPDATE"), None, true),
        (Some("WORKSPACE_UPDATE"), Some("SERVICE_FAULT"), false),
        (Some("NEVER_HEARD_OF"), Some("SUCCESS"), true),
        (Some("NEVER_HEARD_OF"), None, false),
        (Some("DRIVER_UNREACHABLE"), Some("SERVICE_FAULT"), false),
        (None, None, false),
    ] {
        assert_eq!(is_normal_end(code, kind), normal, "{code:?} {kind:?}");
    }
}

/// What the shipped alert leaves out is what the parsers take for a normal end; `REQUEST_REJECTED` is a failure for both.
#[test]
fn the_shipped_alert_leaves_out_normal_ends_only() {
    let query = include_str!("../../../infra/queries/databricks-clusters.kql");
    let (_, list) = query.split_once("termination !in~ (").unwrap();
    let (list, _) = list.split_once(')').unwrap();
    let codes: Vec<&str> = list
        .split(',')
        .map(|code| code.trim().trim_matches('\''))
        .collect();
    assert!(codes.contains(&"INACTIVITY"));
    for code in codes {
        assert!(is_normal_end(Some(code), None), "{code}");
    }
    assert!(!is_normal_end(Some("REQUEST_REJECTED"), None));
}

#[test]
fn audit_rows_of_jobs_are_read() {
    let params = |state: &str| {
        json!({"jobId": "7", "runId": "999", "taskKey": "Load", "jobTerminalState": state, "multitaskParentRunId": "0", "clusterId": "c-1", "orgId": "42"}).to_string()
    };
    let rows = json!([
        [
            "2026-07-27T09:13:22Z",
            "runFailed",
            "DatabricksJobs",
            params("Failed"),
            "{\"statusCode\":200,\"errorMessage\":\"boom\"}"
        ],
        [
            "2026-07-27T09:13:22Z",
            "runSucceeded",
            "DatabricksJobs",
            params("Succeeded"),
            null
        ],
        [
            "2026-07-27T09:13:22Z",
            "runFailed",
            "DatabricksJobs",
            params("Canceled"),
            null
        ],
    ]);
    let table = table(
        &[
            "TimeGenerated",
            "ActionName",
            "Category",
            "RequestParams",
            "Response",
        ],
        rows,
    );
    let (of, reading) = rows::read(&table, &Origin::default(), None).unwrap();
    assert_eq!(of, RowsOf::DatabricksJobs);
    let [failure] = reading.failures.as_slice() else {
        panic!("{reading:#?}")
    };
    assert_eq!(
        (
            failure.key.clone(),
            failure.message.as_str(),
            failure.asset.as_str()
        ),
        (key_of("databricks||999||"), "boom", "job 7")
    );
    assert_eq!(
        (
            failure.field(field::CLUSTER_ID),
            failure.field(field::TASK_KEY),
            failure.field(field::WORKSPACE_ID)
        ),
        (Some("c-1"), Some("Load"), Some("42"))
    );
    assert_eq!(
        reading.skipped,
        [
            "audit rows of action runsucceeded",
            "runs in state canceled"
        ]
    );
}

#[test]
fn a_termination_may_be_a_whole_object() {
    let reason = json!({"code": "AZURE_QUOTA_EXCEEDED_EXCEPTION", "type": "CLIENT_ERROR", "parameters": {"azure_error_message": "no cores"}});
    for cell in [reason.clone(), json!(reason.to_string())] {
        let found = rows::read_as(
            RowsOf::DatabricksClusters,
            &table(
                &["TimeGenerated", "clusterId", "termination"],
                json!([["2026-07-27T09:13:22Z", "c-1", cell]]),
            ),
            &Origin::default(),
        )
        .failures;
        assert_eq!(
            found[0].error_code.as_deref(),
            Some("AZURE_QUOTA_EXCEEDED_EXCEPTION")
        );
        assert_eq!(
            found[0].field(field::TERMINATION_TYPE),
            Some("CLIENT_ERROR")
        );
        assert!(
            found[0].message.contains("no cores"),
            "{}",
            found[0].message
        );
    }
}

#[test]
fn the_useful_code_sits_inside_the_message() {
    for (message, code) in [
        (
            "ErrorCode=UserErrorSourceBlobNotExist,'Type=x",
            Some("UserErrorSourceBlobNotExist"),
        ),
        (
            "Failure happened on 'Sink' side. ErrorCode=SqlOperationFailed,...ErrorCode=-2146232060,",
            Some("SqlOperationFailed"),
        ),
        (
            "Storage operation failed. 'ErrorCode: 'ServerBusy'', 'x'",
            Some("ServerBusy"),
        ),
        (
            r#"{"errorCode":"2200","message":"ErrorCode=FileNotFound,x"}"#,
            Some("FileNotFound"),
        ),
        (
            r#"{\"errorCode\":\"InvalidTemplate\"}"#,
            Some("InvalidTemplate"),
        ),
        (
            "ErrorCode=ActionFailed, ErrorCode=GatewayTimeout.",
            Some("GatewayTimeout"),
        ),
        ("it failed with error code 2200", None),
        ("", None),
    ] {
        assert_eq!(adf::inner_code(message).as_deref(), code, "{message}");
    }
}

#[test]
fn short_rows_and_strange_cells_are_read_for_what_they_hold() {
    let rows = json!([["pl"], [], ["pl", 12345, {"errorCode": "X"}], ["pl", "run-1", ["line 1", "line 2"]], [null, null, null], ["pl", "run-2", true, "too many"]]);
    let found = rows::read_as(
        RowsOf::AdfRuns,
        &table(&["PipelineName", "RunId", "ErrorMessage"], rows),
        &Origin::default(),
    )
    .failures;
    let messages: Vec<&str> = found
        .iter()
        .map(|failure| failure.message.as_str())
        .collect();
    assert_eq!(messages, [r#"{"errorCode":"X"}"#, "line 1\nline 2", "true"]);
}
