//! Azure Monitor's schemas beyond the sample payloads.

use aiops_rca::failure::{AssetKind, Source, field};
use aiops_rca::sources::azure_monitor::parse;
use aiops_rca::sources::{Parsed, RowsOf};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{failure, failures, ignored, key_of, request, vendor};

const RUN: &str = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";
const FACTORY: &str = "/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourceGroups/rg/providers/Microsoft.DataFactory/factories/ADF-prod";

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// An alert of the common schema with the given service and context.
fn common(service: &str, context: &Value) -> Value {
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": "/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/a1",
                "alertRule": "my-rule", "severity": "Sev1", "monitorCondition": "Fired", "monitoringService": service,
                "alertTargetIDs": [], "firedDateTime": "2026-07-27T09:15:31.4471205Z",
            },
            "alertContext": context,
        },
    })
}

fn v2(query: &str, dimensions: &Value) -> Value {
    let criterion = json!({"searchQuery": query, "dimensions": dimensions, "metricValue": 3.0, "targetResourceTypes": "['Microsoft.OperationalInsights/workspaces']"});
    common(
        "Log Alerts V2",
        &json!({"conditionType": "LogQueryCriteria", "condition": {
        "windowSize": "PT15M", "allOf": [criterion], "windowStartTime": "2026-07-27T09:00:00Z", "windowEndTime": "2026-07-27T09:15:00Z"}}),
    )
}

fn v1(query: &str, columns: &[&str], rows: &Value) -> Value {
    let columns: Vec<Value> = columns
        .iter()
        .map(|name| json!({"name": name, "type": "string"}))
        .collect();
    common(
        "Log Analytics",
        &json!({"SearchQuery": query, "ResultCount": rows.as_array().unwrap().len(),
        "SearchIntervalStartTimeUtc": "3/22/2019 1:36:31 PM", "SearchIntervalEndtimeUtc": "3/22/2019 1:51:31 PM",
        "SearchResults": {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": rows}]}}),
    )
}

#[test]
fn every_door_of_one_adf_run_yields_one_key() {
    let split = v2(
        "ADFActivityRun | where Status == 'Failed'",
        &json!([{"name": "PipelineRunId", "value": RUN}]),
    );
    let projected = v1(
        "ADFPipelineRun",
        &[
            "TimeGenerated",
            "PipelineName",
            "RunId",
            "ActivityName",
            "ErrorCode",
            "ErrorMessage",
        ],
        &json!([[
            "2026-07-27T09:12:03Z",
            "pl",
            RUN.to_uppercase(),
            "Copy",
            "2200",
            "boom"
        ]]),
    );
    let diagnostics = v1(
        "AzureDiagnostics | where ResourceProvider == 'MICROSOFT.DATAFACTORY'",
        &[
            "TimeGenerated",
            "pipelineName_s",
            "pipelineRunId_g",
            "status_s",
            "errorMessage_s",
        ],
        &json!([["2026-07-27T09:12:03Z", "pl", RUN, "Failed", "boom"]]),
    );
    let bare = json!({"pipelineName": "pl", "pipeline_run_id": RUN, "errorMessage": "boom"});
    let nested =
        json!({"pipeline": "pl", "run_id": RUN, "error": {"errorCode": "2200", "message": "boom"}});
    for body in [split, projected, diagnostics, bare, nested] {
        assert_eq!(
            failure(parse(&bytes(&body))).key,
            key_of(&format!("adf||{RUN}||")),
            "{body}"
        );
    }
}

#[test]
fn dimensions_are_read_by_name_in_any_case() {
    let body = v2(
        "MyFailures()",
        &json!([
        {"name": "pipelinename", "value": "pl_ingest"}, {"name": "RUNID", "value": RUN}, {"name": "errorMessage", "value": "ErrorCode=SqlFailedToConnect,boom"},
        {"name": "_ResourceId", "value": FACTORY}, {"name": "unknown", "value": null}]),
    );
    let failure = failure(parse(&bytes(&body)));
    assert_eq!(
        (failure.asset.as_str(), failure.error_code.as_deref()),
        ("pl_ingest", Some("SqlFailedToConnect"))
    );
    assert_eq!(
        failure.field(field::FACTORY),
        Some(FACTORY.to_lowercase().as_str())
    );
    assert_eq!(failure.source_severity, Some(1));
    assert_eq!(failure.alert.unwrap().rule.as_deref(), Some("my-rule"));
}

#[test]
fn an_alert_split_by_pipeline_only_asks_for_its_rows() {
    let body = v2(
        "ADFPipelineRun | where Status == 'Failed'",
        &json!([{"name": "PipelineName", "value": "pl_ingest"}, {"name": "_ResourceId", "value": FACTORY}]),
    );
    let request = request(parse(&bytes(&body)));
    assert_eq!(
        (request.rows_of, request.asset.as_deref(), request.count),
        (RowsOf::AdfRuns, Some("pl_ingest"), Some(3))
    );
    assert_eq!(
        request.from.unwrap().to_rfc3339(),
        "2026-07-27T09:00:00+00:00"
    );
    assert_eq!(
        request.to.unwrap().to_rfc3339(),
        "2026-07-27T09:15:00+00:00"
    );
}

#[test]
fn a_rule_split_by_what_does_not_name_the_run_asks_for_its_rows() {
    let body = v2(
        "ADFActivityRun",
        &json!([{"name": "PipelineName", "value": "pl"}, {"name": "ErrorCode", "value": "2200"}, {"name": "ErrorMessage", "value": "boom"}]),
    );
    assert_eq!(request(parse(&bytes(&body))).asset.as_deref(), Some("pl"));
    let body = v2(
        "DatabricksClusters",
        &json!([{"name": "clusterName", "value": "etl"}, {"name": "clusterState", "value": "Terminated"}]),
    );
    assert_eq!(request(parse(&bytes(&body))).asset.as_deref(), Some("etl"));
}

#[test]
fn both_rules_of_the_guide_ask_for_rows_of_their_platform() {
    let adf = v2(
        "ADFPipelineRun\n| where TimeGenerated > ago(15m)\n| join kind=inner (ADFActivityRun) on PipelineRunId",
        &json!([]),
    );
    assert_eq!(request(parse(&bytes(&adf))).rows_of, RowsOf::AdfRuns);
    let clusters = v2(
        "DatabricksClusters\n| where TimeGenerated > ago(15m)\n| extend req = todynamic(RequestParams)",
        &Value::Null,
    );
    let clusters = request(parse(&bytes(&clusters)));
    assert_eq!(
        (clusters.rows_of, clusters.source),
        (RowsOf::DatabricksClusters, Source::Databricks)
    );
    let jobs = v2(
        "DatabricksJobs | where ActionName == 'runFailed'",
        &json!([]),
    );
    assert_eq!(
        request(parse(&bytes(&jobs))).rows_of,
        RowsOf::DatabricksJobs
    );
}

#[test]
fn a_factory_scoped_rule_is_known_by_its_target() {
    let mut body = v2("MyFailures()", &json!([]));
    assert_eq!(
        ignored(parse(&bytes(&body))),
        "the alert concerns neither Data Factory nor Databricks"
    );
    body["data"]["essentials"]["alertTargetIDs"] = json!([FACTORY.to_lowercase()]);
    let request = request(parse(&bytes(&body)));
    assert_eq!(
        (request.rows_of, request.resource.as_deref()),
        (RowsOf::AdfRuns, Some(FACTORY.to_lowercase().as_str()))
    );
}

#[test]
fn hostile_dimension_values_stay_values() {
    let evil = "x' | union (ADFPipelineRun) //\n../../\u{202e}\"}],\"a\":\"";
    let body = v2(
        "ADFActivityRun",
        &json!([{"name": "PipelineRunId", "value": evil}, {"name": "PipelineName", "value": "<script>alert(1)</script>"}]),
    );
    let failure = failure(parse(&bytes(&body)));
    assert_ne!(failure.key, key_of("adf||||"));
    assert!(!failure.key.to_string().contains("union"));
    assert_eq!(failure.run_url, None);
}

#[test]
fn custom_properties_may_name_the_run_and_the_owner() {
    let mut body = v2("ADFPipelineRun", &json!([]));
    body["data"]["customProperties"] = json!({"Pipeline Name": "pl_custom", "team": "finops", "status": "prod", "RunId": "${dynamic}"});
    assert_eq!(
        request(parse(&bytes(&body))).asset.as_deref(),
        Some("pl_custom")
    );
    body["data"]["customProperties"]["pipelineRunId"] = json!(RUN);
    let failure = failure(parse(&bytes(&body)));
    assert_eq!(
        (failure.asset.as_str(), failure.field(field::OWNER)),
        ("pl_custom", Some("finops"))
    );
}

#[test]
fn rows_of_one_run_fold_into_the_most_telling_leaf() {
    let rows = json!([
        [
            "2026-07-27T09:14:00Z",
            "pl",
            RUN,
            null,
            null,
            "",
            "Operation on target Copy failed: ErrorCode=Outer,x",
            "Failed"
        ],
        [
            "2026-07-27T09:13:00Z",
            "pl",
            RUN,
            "If",
            "IfCondition",
            "ActionFailed",
            "Activity failed because an inner activity failed",
            "Failed"
        ],
        [
            "2026-07-27T09:12:00Z",
            "pl",
            RUN,
            "Copy",
            "Copy",
            "2200",
            "ErrorCode=UserErrorSourceBlobNotExist,Message=gone",
            "Failed"
        ],
        [
            "2026-07-27T09:12:30Z",
            "pl",
            RUN,
            "Copy",
            "Copy",
            "2200",
            "ErrorCode=UserErrorSourceBlobNotExist,Message=gone",
            "Failed"
        ],
        [
            "2026-07-27T09:11:00Z",
            "pl",
            RUN,
            "Lookup",
            "Lookup",
            null,
            null,
            "Succeeded"
        ],
        [
            "2026-07-27T09:11:00Z",
            "pl",
            "other-run",
            "Lookup",
            "Lookup",
            null,
            null,
            "InProgress"
        ],
    ]);
    let columns = [
        "TimeGenerated",
        "PipelineName",
        "PipelineRunId",
        "ActivityName",
        "ActivityType",
        "ErrorCode",
        "ErrorMessage",
        "Status",
    ];
    let failure = failure(parse(&bytes(&v1("ADFActivityRun", &columns, &rows))));
    assert_eq!(
        failure.error_code.as_deref(),
        Some("UserErrorSourceBlobNotExist")
    );
    assert_eq!(failure.field(field::ACTIVITY), Some("Copy"));
    assert_eq!(failure.field("outer_error_code"), Some("2200"));
    assert_eq!(
        failure.occurred_at.unwrap().to_rfc3339(),
        "2026-07-27T09:12:00+00:00"
    );
    let others: Vec<&str> = (1..=3)
        .filter_map(|at| failure.field(&format!("also_failed_{at}")))
        .collect();
    assert_eq!(
        others,
        [
            "pl: Operation on target Copy failed: ErrorCode=Outer,x",
            "If: Activity failed because an inner activity failed"
        ]
    );
}

#[test]
fn the_right_side_of_a_join_tells_more_than_the_left() {
    let columns = [
        "PipelineName",
        "RunId",
        "ErrorCode",
        "ErrorMessage",
        "ActivityName",
        "ErrorCode1",
        "ErrorMessage1",
    ];
    let rows = json!([[
        "pl",
        RUN,
        "",
        "Operation on target Copy failed",
        "Copy",
        "2200",
        "ErrorCode=SqlOperationFailed,deadlock"
    ]]);
    let failure = failure(parse(&bytes(&v1("ADFPipelineRun", &columns, &rows))));
    assert_eq!(
        (failure.error_code.as_deref(), failure.message.as_str()),
        (
            Some("SqlOperationFailed"),
            "ErrorCode=SqlOperationFailed,deadlock"
        )
    );
}

#[test]
fn the_error_column_speaks_where_the_message_is_silent() {
    let error = json!({"errorCode": "2108", "message": "Response status 503", "failureType": "SystemError"}).to_string();
    let rows = json!([["pl", RUN, "Web", "", "", error]]);
    let failure = failure(parse(&bytes(&v1(
        "ADFActivityRun",
        &[
            "PipelineName",
            "PipelineRunId",
            "ActivityName",
            "ErrorCode",
            "ErrorMessage",
            "Error",
        ],
        &rows,
    ))));
    assert_eq!(
        (failure.error_code.as_deref(), failure.message.as_str()),
        (Some("2108"), "Response status 503")
    );
    assert_eq!(failure.field(field::FAILURE_TYPE), Some("SystemError"));
}

#[test]
fn several_tables_and_many_rows_are_all_read() {
    let mut body = v1(
        "ADFPipelineRun",
        &["PipelineName", "RunId", "Status", "ErrorMessage"],
        &json!([]),
    );
    let rows: Vec<Value> = (0..500)
        .map(|at| {
            json!([
                format!("pl_{at}"),
                format!("{at:08}-5df1-4b8e-ac2f-064cfa58202b"),
                "Failed",
                "x".repeat(400)
            ])
        })
        .collect();
    let columns = json!([{"name": "PipelineName"}, {"name": "RunId"}, {"name": "Status"}, {"name": "ErrorMessage"}]);
    let half = |rows: &[Value]| json!({"columns": columns, "rows": rows});
    body["data"]["alertContext"]["SearchResults"]["tables"] =
        json!([half(&rows[..250]), half(&rows[200..])]);
    assert_eq!(failures(parse(&bytes(&body))).len(), 500);
}

#[test]
fn rows_without_a_run_id_are_keyed_by_alert_and_row() {
    let columns = [
        "TimeGenerated",
        "PipelineName",
        "ActivityName",
        "ErrorMessage",
    ];
    let rows = json!([
        ["2026-07-27T09:12:03Z", "pl", "A", "boom"],
        ["2026-07-27T09:12:03Z", "pl", "B", "boom"]
    ]);
    let body = v1("ADFActivityRun", &columns, &rows);
    let found = failures(parse(&bytes(&body)));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|failure| failure.run_id.is_none()));
    assert_ne!(found[0].key, found[1].key);
    assert_eq!(
        found,
        failures(parse(&bytes(&body))),
        "the same alert has the same keys"
    );
}

#[test]
fn summaries_ask_for_rows_and_rows_that_did_not_fail_are_ignored() {
    let summary = v1(
        "ADFPipelineRun | summarize count() by PipelineName",
        &["PipelineName", "count_"],
        &json!([["pl", 3]]),
    );
    assert_eq!(
        request(parse(&bytes(&summary))).asset.as_deref(),
        Some("pl")
    );
    let fine = v1(
        "ADFPipelineRun",
        &["PipelineName", "RunId", "Status"],
        &json!([["pl", RUN, "Succeeded"], ["pl", RUN, "Cancelled"]]),
    );
    assert_eq!(
        ignored(parse(&bytes(&fine))),
        "no failed run among the rows: rows with status Succeeded, rows with status Cancelled"
    );
    let triggers = v1(
        "ADFTriggerRun",
        &["TriggerName", "TriggerId", "Status"],
        &json!([["tr", "1", "Failed"]]),
    );
    assert!(matches!(parse(&bytes(&triggers)), Ok(Parsed::Ignored(_))));
}

#[test]
fn an_older_log_alert_is_read_at_its_top_level() {
    let body = json!({
        "SubscriptionId": "s", "AlertRuleName": "adf", "SearchQuery": "ADFActivityRun", "SearchIntervalStartTimeUtc": "3/22/2019 1:36:31 PM",
        "SearchIntervalEndtimeUtc": "3/22/2019 1:51:31 PM", "ResultCount": 1, "Severity": "2", "WorkspaceId": "w", "AlertType": "Number of results",
        "SearchResult": {"tables": [{"name": "PrimaryResult", "columns": [{"name": "RunId", "type": "string"}, {"name": "PipelineName", "type": "string"}], "rows": [[RUN, "pl"]]}]},
    });
    let failure = failure(parse(&bytes(&body)));
    assert_eq!(
        (failure.asset.as_str(), failure.source_severity),
        ("pl", Some(2))
    );
    assert_eq!(
        failure.occurred_at.unwrap().to_rfc3339(),
        "2019-03-22T13:51:31+00:00"
    );
    let mut without = body.clone();
    without.as_object_mut().unwrap().remove("SearchResult");
    let wanted = request(parse(&bytes(&without)));
    assert_eq!(
        wanted.from.unwrap().to_rfc3339(),
        "2019-03-22T13:36:31+00:00"
    );
    assert_eq!(wanted.alert.id, "w/adf@2019-03-22T13:51:31+00:00");
    let wrapped = json!({"schemaId": "Microsoft.Insights/LogAlert", "data": body});
    assert_eq!(failures(parse(&bytes(&wrapped))).len(), 1);
}

#[test]
fn metrics_on_failed_runs_ask_for_rows_and_others_are_ignored() {
    let metric = |name: &str, namespace: &str, dimensions: Value| {
        common(
            "Platform",
            &json!({"condition": {"windowSize": "PT5M", "allOf": [{"metricName": name, "metricNamespace": namespace, "dimensions": dimensions, "metricValue": 2}]}}),
        )
    };
    let activity = metric(
        "ActivityFailedRuns",
        "Microsoft.DataFactory/factories",
        json!([{"name": "Name", "value": "Copy"}, {"name": "PipelineName", "value": "pl"}]),
    );
    let wanted = request(parse(&bytes(&activity)));
    assert_eq!(
        (wanted.asset.as_deref(), wanted.count),
        (Some("pl"), Some(2))
    );
    assert_eq!((wanted.to.unwrap() - wanted.from.unwrap()).num_minutes(), 5);
    let every = metric(
        "PipelineFailedRuns",
        "microsoft.datafactory/factories",
        json!([{"name": "Name", "value": "*"}]),
    );
    assert_eq!(request(parse(&bytes(&every))).asset, None);
    for (name, namespace) in [
        ("TriggerSucceededRuns", "Microsoft.DataFactory/factories"),
        ("PipelineSucceededRuns", "Microsoft.DataFactory/factories"),
        ("PipelineFailedRuns", "Contoso/other"),
    ] {
        assert!(ignored(parse(&bytes(&metric(name, namespace, json!([]))))).contains(name));
    }
}

#[test]
fn older_metric_alerts_on_failed_runs_ask_for_rows_too() {
    let mut body: Value = serde_json::from_slice(&vendor("azmon-metric-noncommon-static")).unwrap();
    body["data"]["context"]["condition"]["allOf"] = json!([{"metricName": "PipelineFailedRuns", "metricNamespace": "Microsoft.DataFactory/factories",
        "dimensions": [{"name": "Name", "value": "pl"}], "metricValue": 1.0}]);
    body["data"]["context"]["resourceId"] = json!(FACTORY);
    let wanted = request(parse(&bytes(&body)));
    assert_eq!(
        (wanted.asset.as_deref(), wanted.severity, wanted.count),
        (Some("pl"), Some(3), Some(1))
    );
    assert_eq!(
        wanted.resource.as_deref(),
        Some(FACTORY.to_lowercase().as_str())
    );
    assert!(
        wanted.alert.id.ends_with("@2021-11-15T09:35:12.9703687Z"),
        "{}",
        wanted.alert.id
    );
    body["data"]["status"] = json!("Deactivated");
    assert_eq!(ignored(parse(&bytes(&body))), "the alert is deactivated");
}

#[test]
fn what_is_no_failed_run_is_ignored_with_its_reason() {
    let activity = json!({"schemaId": "Microsoft.Insights/activityLogs", "data": {"status": "Activated", "context": {"activityLog": {"level": "Error"}}}});
    let classic = json!({"status": "Activated", "context": {"timestamp": "2021-11-15T09:35:12Z", "id": "x", "name": "n", "condition": {"metricName": "Percentage CPU"}}});
    let autoscale = json!({"version": "1.0", "status": "Activated", "operation": "Scale Out", "context": {"details": "x"}});
    let mut budget = common(
        "CostAlerts",
        &json!({"AlertCategory": "Budgets", "AlertData": {"Scope": "/subscriptions/s"}}),
    );
    for name in [
        "alertRule",
        "severity",
        "signalType",
        "alertTargetIDs",
        "originAlertId",
    ] {
        budget["data"]["essentials"][name] = Value::Null;
    }
    let mut resolved = v2(
        "ADFPipelineRun",
        &json!([{"name": "PipelineRunId", "value": RUN}]),
    );
    resolved["data"]["essentials"]["monitorCondition"] = json!("resolved");
    for (body, reason) in [
        (activity, "activity log"),
        (classic, "\"Percentage CPU\" does not count failed runs"),
        (autoscale, "autoscale"),
        (budget, "budget"),
        (resolved, "the alert is resolved"),
        (
            json!({"schemaId": "AIP Budget Notification", "data": {"SubscriptionName": "x"}}),
            "unknown schemaId \"AIP Budget Notification\"",
        ),
        (json!({"schemaId": 7, "data": {}}), "unknown schemaId \"7\""),
        (
            common("Prometheus", &json!({"expression": "up == 0"})),
            "Prometheus",
        ),
        (
            common("SmartDetector", &json!({"DetectionSummary": "x"})),
            "smart detector",
        ),
        (
            common("ServiceHealth", &json!({"channels": 1})),
            "service health",
        ),
        (common("ResourceHealth", &json!({})), "resource health"),
        (
            common(
                "Activity Log - Policy",
                &json!({"properties": {"PipelineName": "pl", "RunId": "r"}}),
            ),
            "activity log",
        ),
        (
            common("Activity Log - Autoscale", &Value::Null),
            "activity log",
        ),
        (
            common("Quantum Alerts", &json!({})),
            "unknown monitoringService \"Quantum Alerts\"",
        ),
        (
            v2(
                "KubePodInventory",
                &json!([{"name": "clusterName", "value": "aks"}, {"name": "clusterId", "value": "/subscriptions/s/x"}]),
            ),
            "neither",
        ),
        (v2("Heartbeat", &json!([])), "test notification"),
    ] {
        let said = ignored(parse(&bytes(&body)));
        assert!(said.contains(reason), "{said:?} for {body}");
    }
}

#[test]
fn databricks_rows_come_through_this_door_too() {
    let columns = [
        "TimeGenerated",
        "clusterId",
        "clusterName",
        "clusterState",
        "termination",
    ];
    let rows = json!([
        [
            "2026-07-27T09:13:22.1234567Z",
            "0727-1",
            "etl",
            "Terminated",
            "SPOT_INSTANCE_TERMINATION"
        ],
        [
            "2026-07-27T09:13:50Z",
            "0727-1",
            "etl",
            "Terminated",
            "SPOT_INSTANCE_TERMINATION"
        ],
        [
            "2026-07-27T09:14:00Z",
            "0727-2",
            "adhoc",
            "TERMINATED",
            "inactivity"
        ],
    ]);
    let failure = failure(parse(&bytes(&v1("DatabricksClusters", &columns, &rows))));
    assert_eq!(
        (
            failure.kind,
            failure.asset.as_str(),
            failure.error_code.as_deref()
        ),
        (AssetKind::Cluster, "etl", Some("SPOT_INSTANCE_TERMINATION"))
    );
    assert_eq!(
        failure.key,
        key_of("databricks|cluster|0727-1||2026-07-27t09:13")
    );
}

#[test]
fn wrong_types_name_their_place() {
    for (body, path) in [
        (
            json!({"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": []}}),
            "data.essentials",
        ),
        (
            json!({"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {"alertId": {"a": 1}}}}),
            "data.essentials.alertId",
        ),
        (json!({"schemaId": {"a": 1}}), "schemaId"),
        (
            v2("ADFPipelineRun", &json!("none")),
            "data.alertContext.condition.allOf[0].dimensions",
        ),
        (
            common("Log Analytics", &json!({"SearchQuery": ["x"]})),
            "data.alertContext.SearchQuery",
        ),
        (
            common("Platform", &json!({"condition": 7})),
            "data.alertContext.condition",
        ),
    ] {
        let malformed = parse(&bytes(&body)).unwrap_err();
        assert_eq!(
            (malformed.code, malformed.path.as_str()),
            ("wrong_type", path),
            "{body}"
        );
    }
    for body in [
        json!({"schemaId": "azureMonitorCommonAlertSchema"}),
        json!({"schemaId": "azureMonitorCommonAlertSchema", "data": 5}),
        json!({}),
        json!({"hello": "world"}),
        common("Log Alerts V2", &Value::Null),
        common("Log Alerts V2", &json!({"condition": {"allOf": []}})),
    ] {
        assert_eq!(
            parse(&bytes(&body)).unwrap_err().code,
            "nothing_usable",
            "{body}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Overlapping windows repeat a row under another alert id: never another key.
    #[test]
    fn the_alert_never_decides_the_key(run in "[0-9a-f]{8}-[0-9a-f]{4}", alert in ".{0,40}", rule in ".{0,40}", severity in 0..9u8) {
        let mut body = v2("ADFActivityRun", &json!([{"name": "PipelineRunId", "value": run}]));
        body["data"]["essentials"]["alertId"] = json!(alert);
        body["data"]["essentials"]["alertRule"] = json!(rule);
        body["data"]["essentials"]["severity"] = json!(format!("Sev{severity}"));
        let failure = failure(parse(&bytes(&body)));
        prop_assert_eq!(failure.key, key_of(&format!("adf||{run}||")));
        prop_assert_eq!(failure.source_severity, (severity < 5).then_some(severity));
    }
}
