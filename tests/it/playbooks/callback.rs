//! Reading what playbooks call back.

use aiops_rca::sinks::playbook::callback::{CallbackRefusal, Outcome, parse};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::fixture;

fn read(body: &Value) -> Result<aiops_rca::sinks::playbook::callback::Callback, CallbackRefusal> {
    parse(body.to_string().as_bytes())
}

#[test]
fn every_variant_seen_in_the_field_is_understood() {
    let fixtures = [
        "seed-shape",
        "adf-succeeded",
        "adf-failed",
        "adf-cancelled",
        "databricks-numeric",
    ];
    let all: Vec<_> = fixtures
        .iter()
        .map(|name| {
            format!(
                "{name}: {:#?}",
                read(&fixture(&format!("logicapp-callback-{name}"))).unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!("playbook_callbacks", all.join("\n"));
}

#[test]
fn statuses_are_read_without_regard_to_case_or_spelling() {
    for (status, wanted) in [
        ("succeeded", "success"),
        ("SUCCESS", "success"),
        ("Failed", "failed"),
        ("Cancelled", "failed"),
        ("canceled", "failed"),
        ("TimedOut", "failed"),
        ("timed_out", "failed"),
        ("accepted", "progress"),
        ("Running", "progress"),
        ("in_progress", "progress"),
        ("InProgress", "progress"),
        ("Aborted", "failed"),
        ("Faulted", "failed"),
        ("Skipped", "failed"),
        ("Ignored", "failed"),
        ("Waiting", "progress"),
        ("Suspended", "progress"),
        ("Paused", "progress"),
        ("NotSpecified", "progress"),
    ] {
        let outcome = match read(&json!({"status": status})).unwrap().outcome {
            Outcome::Success => "success",
            Outcome::Failed(_) => "failed",
            Outcome::Progress => "progress",
        };
        assert_eq!(outcome, wanted, "{status}");
    }
}

#[test]
fn contradictions_are_marked_and_a_bare_flag_is_not_trusted() {
    for (body, success, contradictory) in [
        (json!({"status": "succeeded", "success": true}), true, false),
        (json!({"status": "succeeded", "success": false}), true, true),
        (json!({"status": "failed", "success": "true"}), false, true),
        (json!({"status": "failed", "success": false}), false, false),
        (json!({"success": true}), true, true),
        (json!({"success": false}), false, false),
        (
            json!({"status": "@{variables('x')}", "success": true}),
            true,
            true,
        ),
    ] {
        let callback = read(&body).unwrap();
        assert_eq!(
            (callback.outcome == Outcome::Success, callback.contradictory),
            (success, contradictory),
            "{body}"
        );
    }
}

#[test]
fn what_the_workflow_did_not_resolve_is_absent() {
    let body = json!({"ticket_id": "ADF-20260727T091531-3f2a1c", "status": "succeeded", "original_run_id": "",
        "remediation_run_id": "@body('Create_Pipeline_Run')?['runId']", "pipeline_name": "run of @{triggerBody()?['x']}", "error_message": null});
    let callback = read(&body).unwrap();
    assert_eq!(
        (
            callback.remediation_run_id,
            callback.pipeline_name,
            callback.original_run_id,
            callback.error
        ),
        (None, None, None, None)
    );
    // A name that merely holds an at sign is a name.
    assert_eq!(
        read(&json!({"status": "running", "pipeline_name": "@daily"}))
            .unwrap()
            .pipeline_name
            .as_deref(),
        Some("@daily")
    );
}

#[test]
fn ids_may_be_numbers_beyond_what_doubles_hold() {
    let callback =
        read(&json!({"status": "running", "remediation_run_id": 9_007_199_254_740_993_i64, "attempt_number": "2"})).unwrap();
    assert_eq!(
        (
            callback.remediation_run_id.as_deref(),
            callback.attempt_number
        ),
        (Some("9007199254740993"), Some(2))
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    assert_eq!(
        parse(b"status=succeeded").unwrap_err(),
        CallbackRefusal::NotJson
    );
    for (body, wanted) in [
        (json!([1]), CallbackRefusal::NotAnObject),
        (json!({}), CallbackRefusal::NoStatus),
        (json!({"status": null}), CallbackRefusal::NoStatus),
        (json!({"status": "done"}), CallbackRefusal::UnknownStatus),
        (
            json!({"status": "not succeeded"}),
            CallbackRefusal::UnknownStatus,
        ),
        (
            json!({"status": "succeeded", "ticket_id": "ADF-1' or 1=1"}),
            CallbackRefusal::TicketId,
        ),
    ] {
        assert_eq!(read(&body).unwrap_err(), wanted, "{body}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _read_or_refused = parse(&bytes);
    }

    #[test]
    fn only_known_words_succeed(status in "[a-zA-Z_ ]{0,12}") {
        let word: String = status.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_lowercase();
        let succeeded = read(&json!({"status": status})).is_ok_and(|callback| callback.outcome == Outcome::Success);
        prop_assert_eq!(succeeded, word == "succeeded" || word == "success");
    }
}

/// K17 of the reports, and its kin: errors as Logic Apps' own expressions give them.
#[test]
fn reasons_are_read_out_of_error_objects() {
    let report = include_str!("../../fixtures/reports/k17-callback-error-object.json");
    let report: Value = serde_json::from_str(report).unwrap();
    let wrapped = "An action failed. No dependent actions succeeded.";
    let inner = "The factory is gone.";
    for (body, reason) in [
        (report, wrapped),
        (
            json!({"status": "Failed", "error": {"code": "Conflict", "message": "", "innerError": {"message": inner}}}),
            inner,
        ),
        (
            json!({"status": "Faulted", "error": {"error": {"code": "NotFound", "message": inner}}}),
            inner,
        ),
        (
            json!({"status": "TimedOut", "error": [
                {"name": "First", "status": "Succeeded", "code": "OK"},
                {"name": "Second", "status": "Skipped", "error": {"code": "ActionSkipped", "message": "skipped"}},
                {"name": "Third", "status": "Failed", "outputs": {"body": {"error": {"message": inner}}}}]}),
            inner,
        ),
        (
            json!({"status": "Failed", "error": "{\"code\":\"X\",\"message\":\"The factory is gone.\"}"}),
            inner,
        ),
        (
            json!({"Status": "Aborted", "errorMessage": inner, "error": {"code": "Y"}}),
            inner,
        ),
        (
            json!({"status": "Failed", "error": {"code": "ActionTimedOut"}}),
            "ActionTimedOut",
        ),
        (
            json!({"status": "Skipped", "error": {}, "reason": null}),
            "the playbook skipped the remediation",
        ),
    ] {
        let told = match read(&body).unwrap().outcome {
            Outcome::Failed(told) => told,
            Outcome::Success | Outcome::Progress => panic!("{body}"),
        };
        assert_eq!(told, reason, "{body}");
    }
}

#[test]
fn a_run_id_that_says_nothing_is_absent() {
    for run in [
        json!(null),
        json!(""),
        json!("null"),
        json!("None"),
        json!("@{body('Create_run')?['runId']}"),
        json!("@outputs('Create_run')"),
        json!("{{ run_id }}"),
        json!("<run id>"),
        json!({"runId": "x"}),
    ] {
        let body = json!({"status": "succeeded", "remediation_run_id": run});
        assert_eq!(read(&body).unwrap().remediation_run_id, None, "{body}");
    }
    let body = json!({"Status": "Succeeded", "RemediationRunId": "r-1"});
    assert_eq!(
        read(&body).unwrap().remediation_run_id.as_deref(),
        Some("r-1")
    );
}
