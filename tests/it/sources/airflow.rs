//! Airflow callbacks beyond the sample payloads.

use aiops_rca::failure::{RunKey, field};
use aiops_rca::sources::airflow::parse;
use serde_json::{Value, json};

use super::{failure, ignored, key_of};

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn callback(more: &Value) -> Value {
    let mut body = json!({"dag_id": "etl", "task_id": "load", "run_id": "scheduled__2026-07-27T00:00:00+00:00", "state": "failed", "try_number": 2,
        "exception": "ValueError: bad", "log_url": "https://airflow.example.com:8443/dags/etl/grid"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

fn key(body: &Value) -> RunKey {
    failure(parse(&bytes(body))).key
}

#[test]
fn the_key_tells_apart_what_is_apart() {
    let base = key(&callback(&json!({})));
    assert_eq!(
        base,
        key_of("airflow|airflow.example.com:8443/etl|scheduled__2026-07-27T00:00:00+00:00|load|")
    );
    for other in [
        json!({"dag_id": "other"}),
        json!({"dag_id": "Etl"}),
        json!({"task_id": "extract"}),
        json!({"task_id": "Load"}),
        json!({"run_id": "manual__1"}),
        json!({"run_id": "SCHEDULED__2026-07-27T00:00:00+00:00"}),
        json!({"map_index": 0}),
        json!({"log_url": "https://other.example.com/"}),
        json!({"deployment": "emea"}),
    ] {
        assert_ne!(base, key(&callback(&other)), "{other}");
    }
    for same in [
        json!({"try_number": "2"}),
        json!({"try_number": 3}),
        json!({"try_number": 2.0}),
        json!({"map_index": -1}),
        json!({"map_index": "-1"}),
        json!({"map_index": "None"}),
        json!({"exception": "other"}),
        json!({"state": null}),
    ] {
        assert_eq!(base, key(&callback(&same)), "{same}");
    }
}

#[test]
fn a_run_without_a_run_id_is_named_by_its_date_or_its_body() {
    let dated = |date: &str| callback(&json!({"run_id": "None", "logical_date": date}));
    assert_ne!(
        key(&dated("2026-07-27T00:00:00Z")),
        key(&dated("2026-07-28T00:00:00Z"))
    );
    let bare = |error: &str| json!({"dag_id": "etl", "task_id": "load", "run_id": null, "execution_date": null, "exception": error});
    assert_ne!(
        key(&bare("a")),
        key(&bare("b")),
        "failures of different runs must not become one"
    );
    assert_eq!(key(&bare("a")), key(&bare("a")));
    assert_eq!(
        failure(parse(&bytes(&callback(
            &json!({"execution_date": null, "logical_date": null})
        ))))
        .run_id
        .as_deref(),
        Some("scheduled__2026-07-27T00:00:00+00:00")
    );
}

#[test]
fn states_that_are_not_final_are_ignored() {
    for (more, reason) in [
        (json!({"state": "up_for_retry"}), "not final"),
        (
            json!({"state": "TaskInstanceState.UP_FOR_RETRY"}),
            "not final",
        ),
        (json!({"state": "up_for_reschedule"}), "not final"),
        (
            json!({"callback": "on_retry_callback", "state": "failed"}),
            "not final",
        ),
        (json!({"state": "success"}), "succeeded"),
        (
            json!({"event": "on_success_callback", "state": null}),
            "succeeded",
        ),
        (json!({"state": "skipped"}), "skipped"),
        (json!({"state": "upstream_failed"}), "upstream_failed"),
    ] {
        let said = ignored(parse(&bytes(&callback(&more))));
        assert!(said.contains(reason), "{said:?} for {more}");
    }
    let mut running = callback(&json!({"state": "running"}));
    running.as_object_mut().unwrap().remove("exception");
    assert!(ignored(parse(&bytes(&running))).contains("not final"));
}

#[test]
fn a_dead_task_reported_as_running_is_a_failure() {
    for (state, error) in [
        (
            "running",
            "Detected zombie job: {'full_filepath': '/dags/x.py'}",
        ),
        ("queued", "Executor reports failed"),
        ("running", ""),
        ("brand_new_state", "x"),
    ] {
        let failure = failure(parse(&bytes(&callback(
            &json!({"state": state, "exception": error}),
        ))));
        assert!(!failure.message.is_empty());
        assert_eq!(failure.field("state"), Some(state));
    }
}

#[test]
fn a_try_that_will_be_repeated_is_no_failure_although_the_callback_came() {
    let dead = |try_number: i64, max_tries: i64, exception: &str| {
        callback(
            &json!({"level": "task", "try_number": try_number, "max_tries": max_tries, "exception": exception}),
        )
    };
    for body in [dead(1, 2, ""), dead(2, 2, "None")] {
        assert!(
            ignored(parse(&bytes(&body))).contains("not final"),
            "{body}"
        );
    }
    for body in [
        dead(3, 2, ""),
        dead(1, 0, ""),
        dead(1, 3, "AirflowFailException: give up"),
    ] {
        failure(parse(&bytes(&body)));
    }
}

#[test]
fn a_run_without_a_scheduler_is_a_test() {
    let tried = |number: i64| failure(parse(&bytes(&callback(&json!({"try_number": number})))));
    assert_eq!(tried(0).field(field::TEST_RUN), Some("true"));
    assert_eq!(tried(1).field(field::TEST_RUN), None);
}

#[test]
fn the_index_of_a_mapped_task_may_stand_in_the_link_only() {
    for link in [
        "http://a:8080/dags/etl/runs/r/tasks/load/mapped/2?try_number=1",
        "http://a:8080/dags/etl/grid?dag_run_id=r&task_id=load&map_index=2&tab=logs",
    ] {
        let found = failure(parse(&bytes(&callback(&json!({"log_url": link})))));
        assert_eq!(found.field(field::MAP_INDEX), Some("2"), "{link}");
        assert_eq!(
            found.key,
            key_of("airflow|a:8080/etl|scheduled__2026-07-27T00:00:00+00:00|load[2]|")
        );
    }
    let plain = failure(parse(&bytes(&callback(
        &json!({"log_url": "http://a/dags/etl/grid?map_index=-1"}),
    ))));
    assert_eq!(plain.field(field::MAP_INDEX), None);
}

#[test]
fn values_may_sit_in_nested_objects() {
    let body = json!({
        "dag": {"dag_id": "etl", "owner": "data"},
        "task": {"task_id": "load"},
        "task_instance": {"try_number": "1", "max_tries": 0, "map_index": 3, "state": "failed", "operator": "BashOperator", "end_date": 1_785_143_731.5, "log_url": "http://localhost:8080/x"},
        "dag_run": {"run_id": "manual__1", "logical_date": "2026-07-27T00:00:00Z", "run_type": "manual", "state": "running"},
        "exception": {"type": "ValueError", "message": "bad"},
    });
    let failure = failure(parse(&bytes(&body)));
    assert_eq!(
        failure.key,
        key_of("airflow|localhost:8080/etl|manual__1|load[3]|")
    );
    assert_eq!(failure.asset, "etl.load");
    assert_eq!(failure.message, r#"{"message":"bad","type":"ValueError"}"#);
    assert_eq!(
        (
            failure.field(field::OWNER),
            failure.field(field::OPERATOR),
            failure.field(field::MAP_INDEX)
        ),
        (Some("data"), Some("BashOperator"), Some("3"))
    );
    assert_eq!(failure.occurred_at.unwrap().timestamp(), 1_785_143_731);
    assert_eq!(failure.run_url.as_deref(), Some("http://localhost:8080/x"));
}

#[test]
fn a_whole_dag_may_fail() {
    let body = json!({"dag_id": "etl", "task_id": null, "run_id": "r1", "reason": "timed_out", "dag_run": {"state": "failed"}});
    let found = failure(parse(&bytes(&body)));
    assert_eq!(
        (
            found.asset.as_str(),
            found.message.as_str(),
            found.key.clone()
        ),
        (
            "etl",
            "Airflow DAG etl failed: timed_out",
            key_of("airflow|/etl|r1||")
        )
    );
    // Airflow 2 hands the last task instance to a DAG's callback, whatever became of it.
    let last = callback(
        &json!({"reason": "all_tasks_deadlocked", "state": "success", "exception": "None", "log_url": null}),
    );
    let found = failure(parse(&bytes(&last)));
    assert_eq!(
        (found.asset.as_str(), found.key.clone()),
        (
            "etl",
            key_of("airflow|/etl|scheduled__2026-07-27T00:00:00+00:00||")
        )
    );
    assert_eq!(
        ignored(parse(&bytes(&callback(&json!({"reason": "success"}))))),
        "the run succeeded"
    );
    let free_text = failure(parse(&bytes(&callback(
        &json!({"reason": "the disk is full", "exception": ""}),
    ))));
    assert_eq!(
        (free_text.asset.as_str(), free_text.message.as_str()),
        ("etl.load", "Airflow task etl.load failed: the disk is full")
    );
    let ended = |at: &str| {
        key(
            &json!({"dag_id": "etl", "run_id": "r1", "reason": "task_failure", "dag_run": {"end_date": at}}),
        )
    };
    assert_eq!(
        ended("2026-07-27T00:05:00Z"),
        ended("2026-07-27T08:05:00Z"),
        "cleared and failed again: the same story while it is open"
    );
    let won = json!({"dag_id": "etl", "run_id": "r1", "dag_run": {"state": "success"}});
    assert_eq!(ignored(parse(&bytes(&won))), "the run succeeded");
}

#[test]
fn the_exception_names_its_class() {
    for (text, class) in [
        (
            "AirflowTaskTimeout: Timeout, PID: 77",
            Some("AirflowTaskTimeout"),
        ),
        (
            "airflow.exceptions.AirflowSensorTimeout: Sensor has timed out",
            Some("AirflowSensorTimeout"),
        ),
        (
            "Traceback (most recent call last):\n  File \"x.py\", line 1\n    raise KeyError('a')\nKeyError: 'a'\n",
            Some("KeyError"),
        ),
        ("ConnectionError(MaxRetryError())", Some("ConnectionError")),
        ("Detected zombie job", None),
        ("it failed: ValueError: x", None),
    ] {
        assert_eq!(
            failure(parse(&bytes(&callback(&json!({"exception": text})))))
                .error_code
                .as_deref(),
            class,
            "{text}"
        );
    }
    let given = callback(&json!({"exception": "x", "exception_type": "my.module.Strange"}));
    assert_eq!(
        failure(parse(&bytes(&given))).error_code.as_deref(),
        Some("Strange")
    );
}

#[test]
fn words_for_nothing_are_nothing() {
    let body = callback(
        &json!({"exception": "None", "log_url": "null", "operator": "nan", "execution_date": "NaT", "map_index": ""}),
    );
    let failure = failure(parse(&bytes(&body)));
    assert!(
        failure.message.contains("no exception text"),
        "{}",
        failure.message
    );
    assert_eq!(
        (
            failure.field(field::OPERATOR),
            failure.field(field::LOGICAL_DATE)
        ),
        (None, None)
    );
    assert!(failure.key.to_string().starts_with("airflow:"));
}

#[test]
fn slips_of_a_hand_made_callback_are_repaired() {
    let body = b"{\"dag_id\":\"etl\",\"task_id\":\"load\",\"run_id\":\"r\",\"duration\":NaN,\"exception\":\"ValueError: caf\\udce9 line\none\"}";
    assert_eq!(
        failure(parse(body)).error_code.as_deref(),
        Some("ValueError")
    );
}

#[test]
fn the_dag_may_be_known_by_its_log_link_only() {
    let body = json!({"task_id": "load", "run_id": "r", "log_url": "https://a.example.com/dags/my%20etl/runs/r/tasks/load"});
    assert_eq!(failure(parse(&bytes(&body))).asset, "my etl.load");
}

#[test]
fn what_names_no_dag_and_no_task_is_refused_with_its_place() {
    for (body, code, path) in [
        (json!({}), "nothing_usable", "dag_id"),
        (
            json!({"dag_id": "None", "task_id": "", "run_id": "r"}),
            "nothing_usable",
            "dag_id",
        ),
        (json!({"dag_id": {"a": 1}}), "wrong_type", "dag_id"),
        (
            json!({"dag_id": "etl", "task_instance": {"task_id": "load", "try_number": []}}),
            "wrong_type",
            "task_instance.try_number",
        ),
        (json!([{"dag_id": "etl"}]), "wrong_type", ""),
        (json!("etl"), "wrong_type", ""),
    ] {
        let malformed = parse(&bytes(&body)).unwrap_err();
        assert_eq!(
            (malformed.code, malformed.path.as_str()),
            (code, path),
            "{body}"
        );
    }
}
