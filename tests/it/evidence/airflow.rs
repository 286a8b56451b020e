//! Tasks of Airflow 2 and 3.

use aiops_rca::evidence::airflow::{AirflowApi, AirflowLogin, AirflowSettings};
use aiops_rca::evidence::{Airflow, RunOutcome};
use aiops_rca::failure::field;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::airflow::Api;

use super::{DAG_RUN, Rig, at, fixture, gap_of, sources, task, text_of};

fn instance(task: &str, state: &str, try_number: i64) -> Value {
    json!({"dag_id": "sales_etl", "dag_run_id": DAG_RUN, "task_id": task, "map_index": -1, "state": state, "try_number": try_number,
        "max_tries": 1, "operator": "PythonOperator", "hostname": "worker-1", "start_date": "2026-07-27T09:15:00+00:00",
        "end_date": "2026-07-27T09:15:32.1+00:00"})
}

fn put(rig: &Rig, pages: &[Value]) {
    rig.airflow_site
        .put_task(instance("load_orders", "failed", 2));
    rig.airflow_site
        .put_log("sales_etl", DAG_RUN, "load_orders", -1, 2, pages);
}

#[tokio::test]
async fn the_log_of_the_failed_try_on_airflow_2() {
    let rig = Rig::new().await;
    put(
        &rig,
        &[
            fixture("airflow-api-v1-logs")["content"].clone(),
            json!("[('worker-1', 'and the end\\n')]"),
        ],
    );
    let collected = rig.collect(&task(&[])).await;
    assert_eq!(collected.gaps, []);
    assert_eq!(
        sources(&collected),
        ["airflow.log", "airflow.task_instance"]
    );
    let log = text_of(&collected, "airflow.log");
    assert!(
        log.contains("\nValueError: bad row\nand the end\n") && !log.contains("***"),
        "{log}"
    );
    // The callback's own words stay; the class was not known.
    let refined = collected.refine(task(&[]));
    assert_eq!(
        (refined.message.as_str(), refined.error_code.as_deref()),
        ("as reported", Some("ValueError"))
    );
    assert_eq!(refined.field(field::OPERATOR), Some("PythonOperator"));
    assert_eq!(refined.occurred_at, Some(at("2026-07-27T09:15:32.1Z")));
    // Two pages, and the empty one that ends a v1 log.
    let asked = rig.airflow.requests_to("GET", "/logs/2");
    assert_eq!(asked.len(), 3);
    assert_eq!(
        asked[0].path,
        "/api/v1/dags/sales_etl/dagRuns/scheduled__2026-07-27T00%3A00%3A00%2B00%3A00/taskInstances/load_orders/logs/2"
    );
    assert!(
        asked[0]
            .header("authorization")
            .unwrap()
            .starts_with("Basic ")
    );
    rig.finish();
}

#[tokio::test]
async fn structured_logs_of_airflow_3_and_a_token_that_expired() {
    let rig = Rig::with_airflow(Api::V2).await;
    put(
        &rig,
        &[
            fixture("airflow-api-v2-logs")["content"].clone(),
            fixture("airflow-api-v2-logs-strings")["content"].clone(),
        ],
    );
    let collected = rig.collect(&task(&[])).await;
    insta::assert_snapshot!(
        "evidence_airflow_v2_log",
        text_of(&collected, "airflow.log")
    );
    assert_eq!(
        collected.refinement.error_code.as_deref(),
        Some("ValueError")
    );
    rig.airflow_site.expire_tokens();
    assert_eq!(rig.collect(&task(&[])).await.gaps, []);
    assert_eq!(rig.airflow.requests_to("POST", "/auth/token").len(), 2);
    assert!(
        rig.airflow.requests_to("GET", "/logs/2")[0]
            .header("authorization")
            .unwrap()
            .starts_with("Bearer ")
    );
    rig.finish();
}

#[tokio::test]
async fn a_report_without_words_takes_the_logs() {
    let rig = Rig::new().await;
    put(&rig, &[fixture("airflow-api-v1-logs")["content"].clone()]);
    let mut silent = task(&[]);
    silent.message =
        "Airflow task sales_etl.load_orders failed; the callback carried no exception text."
            .to_owned();
    assert_eq!(
        rig.collect(&silent).await.refinement.message.as_deref(),
        Some("ValueError: bad row")
    );
    rig.finish();
}

#[tokio::test]
async fn a_dag_level_report_is_led_to_the_first_failed_task() {
    let rig = Rig::new().await;
    let mut later = instance("after", "failed", 1);
    later["end_date"] = json!("2026-07-27T09:20:00+00:00");
    rig.airflow_site.put_task(later);
    rig.airflow_site
        .put_task(instance("report", "upstream_failed", 0));
    put(&rig, &[fixture("airflow-api-v1-logs")["content"].clone()]);
    let mut whole = task(&[]);
    whole.context.remove(field::TASK_ID);
    whole.context.remove(field::TRY_NUMBER);
    whole.asset = "sales_etl".to_owned();
    let refined = rig.collect(&whole).await.refine(whole);
    assert_eq!(
        (refined.asset.as_str(), refined.field(field::TASK_ID)),
        ("sales_etl.load_orders", Some("load_orders"))
    );
    rig.finish();
}

#[tokio::test]
async fn a_mapped_task_is_asked_for_by_its_index() {
    let rig = Rig::new().await;
    let mut mapped = instance("load_orders", "failed", 2);
    mapped["map_index"] = json!(7);
    rig.airflow_site.put_task(mapped);
    rig.airflow_site.put_log(
        "sales_etl",
        DAG_RUN,
        "load_orders",
        7,
        2,
        &[json!("[('w', 'KeyError: 7')]")],
    );
    let collected = rig.collect(&task(&[(field::MAP_INDEX, "7")])).await;
    assert!(text_of(&collected, "airflow.log").contains("KeyError: 7"));
    assert_eq!(
        rig.airflow.requests_to("GET", "/logs/2")[0].query("map_index"),
        Some("7")
    );
    rig.finish();
}

#[tokio::test]
async fn the_end_of_a_long_log_is_kept() {
    let rig = Rig::with_airflow(Api::V2).await;
    let filler: Vec<Value> = (0..2000)
        .map(|line| json!(format!("{line} {}", "é".repeat(60))))
        .collect();
    put(
        &rig,
        &[json!(filler), json!(["ValueError: at the very end"])],
    );
    let collected = rig.collect(&task(&[])).await;
    let log = text_of(&collected, "airflow.log");
    assert!(
        log.len() <= 64 * 1024
            && log.len() > 60 * 1024
            && log.ends_with("ValueError: at the very end\n")
    );
    rig.finish();
}

#[tokio::test]
async fn what_cannot_be_had_is_a_gap() {
    let rig = Rig::new().await;
    let reason = async || gap_of(&rig.collect(&task(&[])).await, "airflow.log").to_owned();
    assert!(reason().await.contains("does not know this task"));
    rig.airflow_site
        .put_task(instance("load_orders", "failed", 2));
    assert!(reason().await.contains("no log of try 2"));
    rig.airflow
        .faults
        .next_on("GET", "/logs/2", Fault::status(403));
    assert!(reason().await.contains("Viewer"));
    rig.airflow
        .faults
        .next_on("GET", "/taskInstances", Fault::status(401));
    assert!(reason().await.contains("AIRFLOW_PASSWORD"));
    rig.airflow_site
        .put_log("sales_etl", DAG_RUN, "load_orders", -1, 2, &[]);
    assert!(reason().await.contains("is empty"));
    rig.finish();
}

#[tokio::test]
async fn an_address_where_no_airflow_answers_is_said() {
    let rig = Rig::new().await;
    for _ in 0..2 {
        rig.airflow
            .faults
            .next_on("GET", "/version", Fault::status(404));
    }
    assert!(gap_of(&rig.collect(&task(&[])).await, "airflow.log").contains("AIRFLOW_BASE_URL"));
    // It was not remembered as an answer.
    put(&rig, &[fixture("airflow-api-v1-logs")["content"].clone()]);
    assert_eq!(rig.collect(&task(&[])).await.gaps, []);
    rig.finish();
}

#[tokio::test]
async fn a_cleared_task_is_followed_to_its_end() {
    for (ending, outcome) in [
        ("success", RunOutcome::Succeeded),
        (
            "failed",
            RunOutcome::Failed("Airflow says failed".to_owned()),
        ),
    ] {
        let rig = Rig::new().await;
        rig.airflow_site
            .put_task(instance("load_orders", "failed", 2));
        rig.airflow_site.script("load_orders", ending);
        let called_at = at("2026-07-27T09:29:00Z");
        let find = async || {
            rig.collector
                .find_attempt_run(&task(&[]), "retry_task", "a1", called_at, super::now())
                .await
                .unwrap()
        };
        assert_eq!(find().await, None);
        assert_eq!(
            rig.collector
                .outcome(&task(&[]), DAG_RUN, None)
                .await
                .unwrap(),
            RunOutcome::NotFound
        );

        let url = format!(
            "{}api/v1/dags/sales_etl/clearTaskInstances",
            rig.airflow.url()
        )
        .parse()
        .unwrap();
        let http = aiops_rca::http::Http::new(None).unwrap();
        let clear = async |body: Value| {
            let request = http
                .request(reqwest::Method::POST, &url)
                .basic_auth("reader", Some("secret"))
                .json(&body);
            http.send("Airflow", request).await.unwrap().status
        };
        assert_eq!(
            clear(json!({"execution_date": "x", "dry_run": false})).await,
            400
        );
        assert_eq!(
            clear(json!({"dag_run_id": DAG_RUN, "task_ids": ["load_orders"]})).await,
            200
        );
        assert_eq!(find().await, None, "a dry run clears nothing");
        assert_eq!(clear(fixture("airflow-api-v1-clear-request")).await, 200);

        assert_eq!(find().await.as_deref(), Some(DAG_RUN));
        assert_eq!(
            rig.collector
                .outcome(&task(&[]), DAG_RUN, None)
                .await
                .unwrap(),
            RunOutcome::Running
        );
        assert_eq!(
            rig.collector
                .outcome(&task(&[]), DAG_RUN, None)
                .await
                .unwrap(),
            outcome
        );
        assert_eq!(
            rig.airflow_site.run_state("sales_etl", DAG_RUN).as_deref(),
            Some(ending)
        );
        rig.finish();
    }
}

#[tokio::test]
async fn what_airflow_says_against_the_report_opens_nothing() {
    for (state, well) in [
        ("success", true),
        ("running", false),
        ("queued", false),
        ("up_for_retry", false),
        ("deferred", false),
    ] {
        let rig = Rig::new().await;
        rig.airflow_site.put_task(instance("load_orders", state, 2));
        let collected = rig.collect(&task(&[])).await;
        let (no_failure, not_final) = (collected.no_failure, collected.not_final);
        let said = if well {
            no_failure.clone()
        } else {
            not_final.clone()
        };
        assert!(said.unwrap().contains(state), "{state}");
        assert_eq!((no_failure.is_some(), not_final.is_some()), (well, !well));
        rig.finish();
    }
}

#[tokio::test]
async fn a_dag_level_report_takes_index_try_and_link_along() {
    for (api, link) in [
        (Api::V1, "/dags/sales_etl/grid?dag_run_id="),
        (Api::V2, "/tasks/load_orders/mapped/3?try_number=2"),
    ] {
        let rig = Rig::with_airflow(api).await;
        let mut mapped = instance("load_orders", "failed", 2);
        mapped["map_index"] = json!(3);
        rig.airflow_site.put_task(mapped);
        rig.airflow_site.put_log(
            "sales_etl",
            DAG_RUN,
            "load_orders",
            3,
            2,
            &[json!(["ValueError: bad row"])],
        );
        let mut whole = task(&[]);
        whole.context.remove(field::TASK_ID);
        whole.context.remove(field::TRY_NUMBER);
        whole.run_url = None;
        let refined = rig.collect(&whole).await.refine(whole);
        assert_eq!(
            (
                refined.field(field::MAP_INDEX),
                refined.field(field::TRY_NUMBER)
            ),
            (Some("3"), Some("2"))
        );
        let url = refined.run_url.unwrap();
        assert!(url.contains(link), "{url}");
        rig.finish();
    }
}

#[tokio::test]
async fn an_api_version_that_does_not_fit_is_said_with_the_one_that_does() {
    for (site, set, fits) in [
        (Api::V2, AirflowApi::V1, "v2"),
        (Api::V1, AirflowApi::V2, "v1"),
    ] {
        let rig = Rig::with_airflow(site).await;
        let settings = |api, password: &str| AirflowSettings {
            base_url: rig.airflow.url().parse().unwrap(),
            api,
            login: AirflowLogin::Password {
                username: "reader".to_owned(),
                password: password.to_owned().into(),
            },
        };
        let http = aiops_rca::http::Http::new(None).unwrap();
        let told = |settings| {
            let airflow = Airflow::new(settings, http.clone());
            async move {
                airflow
                    .check()
                    .await
                    .map_err(|fault| fault.reason().to_owned())
            }
        };
        let misfit = told(settings(Some(set), "secret")).await.unwrap_err();
        assert!(
            misfit.contains("does not fit") && misfit.contains(&format!("/api/{fits}")),
            "{misfit}"
        );
        assert!(told(settings(None, "secret")).await.is_ok());
        let wrong = told(settings(None, "wrong")).await.unwrap_err();
        assert!(wrong.contains("401"), "{wrong}");
        assert_eq!(wrong.contains("auth_backends"), site == Api::V1, "{wrong}");
        let token = AirflowSettings {
            login: AirflowLogin::Token("no.such.token".to_owned().into()),
            ..settings(None, "")
        };
        let bad = told(token).await.unwrap_err();
        assert!(
            bad.contains("AIRFLOW_TOKEN") && !bad.contains("role"),
            "{bad}"
        );
        rig.finish();
    }
}

#[tokio::test]
async fn a_mapped_task_is_one_of_so_many() {
    for api in [Api::V1, Api::V2] {
        let rig = Rig::with_airflow(api).await;
        for index in 0..12 {
            let mut row = instance(
                "load_orders",
                if index == 3 { "failed" } else { "success" },
                2,
            );
            row["map_index"] = json!(index);
            rig.airflow_site.put_task(row);
        }
        let report = task(&[(field::MAP_INDEX, "3")]);
        let failure = rig.collect(&report).await.refine(report);
        assert_eq!(failure.field(field::UNITS_TOTAL), Some("12"));
        rig.finish();
    }
}
