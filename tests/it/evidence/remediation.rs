//! What became of a playbook's call: found again without a second call, and judged by the vendor's word.

use aiops_rca::evidence::RunOutcome;
use aiops_rca::failure::Failure;
use aiops_rca::http::Http;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use simulators::Fault;
use simulators::data_factory::Ending;
use simulators::databricks::Ending as RunEnding;
use simulators::identity::IdentitySite;

use super::{ADF_RUN, CLUSTER, JOB_RUN, Rig, adf, at, cluster, fixture, job, now, task};

const CALLED_AT: &str = "2026-07-27T09:30:00Z";

impl Rig {
    async fn find(&self, failure: &Failure, action: &str) -> Option<String> {
        self.find_since(failure, action, at(CALLED_AT)).await
    }

    async fn find_since(
        &self,
        failure: &Failure,
        action: &str,
        called_at: DateTime<Utc>,
    ) -> Option<String> {
        self.collector
            .find_attempt_run(
                failure,
                action,
                "a1",
                called_at,
                called_at + TimeDelta::minutes(5),
            )
            .await
            .unwrap()
    }

    async fn outcome(&self, failure: &Failure, run: &str) -> RunOutcome {
        self.collector.outcome(failure, run, None).await.unwrap()
    }

    /// As a playbook would call the factory; `None` when there was no answer.
    async fn create_run(&self, query: &str) -> Option<Value> {
        let path = format!(
            "subscriptions/{}/resourcegroups/rg-data/providers/Microsoft.DataFactory/factories/adf-prod",
            super::SUBSCRIPTION
        );
        let url = format!(
            "{}{path}/pipelines/pl_ingest_sales/createRun?api-version=2018-06-01{query}",
            self.factory.url()
        );
        post(&url, "https://management.azure.com", &json!({}))
            .await
            .map(|(_, body)| body)
    }

    async fn call_workspace(&self, path: &str, body: &Value) -> (u16, Value) {
        post(
            &format!("{}api/{path}", self.databricks.url()),
            "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
            body,
        )
        .await
        .unwrap()
    }
}

async fn post(url: &str, resource: &str, body: &Value) -> Option<(u16, Value)> {
    let http = Http::new(None).unwrap();
    let request = http
        .request(Method::POST, &url.parse().unwrap())
        .bearer_auth(IdentitySite::token_for(resource))
        .json(body);
    let reply = http.send("the vendor", request).await.ok()?;
    Some((
        reply.status,
        serde_json::from_slice(&reply.body).unwrap_or_default(),
    ))
}

fn pipeline() -> Failure {
    let mut failure = adf();
    "pl_ingest_sales".clone_into(&mut failure.asset);
    failure
}

#[tokio::test]
async fn a_rerun_joins_the_run_group_and_is_found_though_its_answer_was_lost() {
    let rig = Rig::new().await;
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    rig.factory_site.script(
        "pl_ingest_sales",
        1,
        Ending::Fails {
            activity: "Copy_Sales".into(),
            message: "ErrorCode=GatewayTimeout,'x".into(),
        },
    );
    assert_eq!(rig.find(&pipeline(), "retry_pipeline").await, None);
    rig.factory
        .faults
        .next_on("POST", "createRun", Fault::AcceptThenDrop);
    assert_eq!(
        rig.create_run(&format!(
            "&referencePipelineRunId={ADF_RUN}&isRecovery=true&startFromFailure=true"
        ))
        .await,
        None
    );
    let run = rig.find(&pipeline(), "retry_pipeline").await.unwrap();
    assert_ne!(run, ADF_RUN);
    assert_eq!(
        rig.factory_site.runs()[1]["parameters"]["runDate"],
        "2026-07-27",
        "the original's parameters are kept"
    );
    assert_eq!(rig.outcome(&pipeline(), &run).await, RunOutcome::Running);
    assert_eq!(
        rig.outcome(&pipeline(), &run).await,
        RunOutcome::Failed("ErrorCode=GatewayTimeout,'x".into())
    );
    // The next attempt is not mistaken for this one.
    let later = at(CALLED_AT) + TimeDelta::minutes(10);
    assert_eq!(
        rig.find_since(&pipeline(), "retry_pipeline", later).await,
        None
    );
    rig.finish();
}

#[tokio::test]
async fn the_guides_playbook_gives_no_reference_and_its_run_is_found_all_the_same() {
    let rig = Rig::new().await;
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    let mut scheduled = fixture("adf-pipelineruns-get-inprogress");
    scheduled["runGroupId"] = scheduled["runId"].clone();
    scheduled["invokedBy"] = json!({"name": "tr_daily", "invokedByType": "ScheduleTrigger"});
    scheduled["runStart"] = json!("2026-07-27T09:30:01Z");
    scheduled["lastUpdated"] = json!("2026-07-27T09:30:02Z");
    rig.factory_site.put_run(scheduled);
    assert_eq!(
        rig.find(&pipeline(), "retry_pipeline").await,
        None,
        "a scheduled run is nobody's attempt"
    );
    let run = rig.create_run("").await.unwrap()["runId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        rig.find(&pipeline(), "retry_pipeline").await,
        Some(run.clone())
    );
    assert_eq!(rig.outcome(&pipeline(), &run).await, RunOutcome::Running);
    assert_eq!(rig.outcome(&pipeline(), &run).await, RunOutcome::Succeeded);
    assert_eq!(
        rig.outcome(&pipeline(), "00000000-0000-0000-0000-000000000000")
            .await,
        RunOutcome::NotFound
    );
    rig.finish();
}

#[tokio::test]
async fn a_cancelled_rerun_has_failed() {
    let rig = Rig::new().await;
    rig.factory_site
        .put_run(fixture("adf-pipelineruns-get-failed"));
    rig.factory_site
        .script("pl_ingest_sales", 0, Ending::Cancelled);
    let run = rig.create_run("").await.unwrap()["runId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        rig.outcome(&pipeline(), &run).await,
        RunOutcome::Failed("the run was cancelled".into())
    );
    rig.finish();
}

#[tokio::test]
async fn a_repair_keeps_the_runs_id_and_is_judged_by_its_own_end() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_run(fixture("dbx-runs-get-multitask-failed"));
    // It is looked at twice before its end.
    rig.databricks_site
        .script("516892700102118", RunEnding::well(2));
    assert_eq!(rig.find(&job(), "retry_job").await, None);
    let body = json!({"run_id": JOB_RUN, "rerun_all_failed_tasks": true});
    let (status, first) = rig.call_workspace("2.2/jobs/runs/repair", &body).await;
    assert_eq!(status, 200);
    assert_eq!(
        rig.find(&job(), "retry_job").await.as_deref(),
        Some(JOB_RUN)
    );
    assert_eq!(
        rig.call_workspace("2.2/jobs/runs/repair", &body).await.0,
        400,
        "a running run cannot be repaired"
    );
    assert_eq!(rig.outcome(&job(), JOB_RUN).await, RunOutcome::Running);
    let repair = first["repair_id"].to_string();
    assert_eq!(
        rig.outcome(&job(), &repair).await,
        RunOutcome::Succeeded,
        "a playbook may name the repair instead"
    );
    assert_eq!(rig.outcome(&job(), JOB_RUN).await, RunOutcome::Succeeded);
    assert_eq!(rig.outcome(&job(), "123").await, RunOutcome::NotFound);
    assert_eq!(
        rig.databricks_site.run(JOB_RUN.parse().unwrap()).unwrap()["tasks"][0]["run_id"],
        111,
        "what succeeded is not run again"
    );
    rig.finish();
}

#[tokio::test]
async fn a_second_repair_must_name_the_first() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_run(fixture("dbx-runs-get-multitask-failed"));
    rig.databricks_site.script(
        "516892700102118",
        RunEnding::badly(0, "CLUSTER_ERROR", "CLOUD_FAILURE", "no machines"),
    );
    let mut body = json!({"run_id": JOB_RUN, "rerun_all_failed_tasks": true});
    let (_, first) = rig.call_workspace("2.2/jobs/runs/repair", &body).await;
    assert_eq!(
        rig.outcome(&job(), JOB_RUN).await,
        RunOutcome::Failed("CLUSTER_ERROR: no machines".into())
    );
    assert_eq!(
        rig.call_workspace("2.2/jobs/runs/repair", &body).await.0,
        400
    );
    body["latest_repair_id"] = first["repair_id"].clone();
    assert_eq!(
        rig.call_workspace("2.2/jobs/runs/repair", &body).await.0,
        200
    );
    let repair = rig
        .collector
        .databricks
        .first()
        .unwrap()
        .latest_repair(JOB_RUN)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(repair.number, 2);
    rig.finish();
}

#[tokio::test]
async fn a_new_run_of_the_job_is_found_and_its_token_makes_it_one() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_run(fixture("dbx-runs-get-multitask-failed"));
    let body = fixture("dbx-runnow-request");
    let (_, first) = rig.call_workspace("2.2/jobs/run-now", &body).await;
    let (_, again) = rig.call_workspace("2.2/jobs/run-now", &body).await;
    assert_eq!(first, again);
    let run = first["run_id"].to_string();
    assert_eq!(rig.find(&job(), "retry_job").await, Some(run.clone()));
    assert_eq!(rig.outcome(&job(), &run).await, RunOutcome::Running);
    assert_eq!(rig.outcome(&job(), &run).await, RunOutcome::Succeeded);
    assert_eq!(rig.databricks_site.runs().len(), 2);
    rig.finish();
}

#[tokio::test]
async fn a_restarted_cluster_is_well_when_it_runs_and_its_libraries_are_there() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_cluster(fixture("dbx-clusters-get-driver"));
    let library = json!({"pypi": {"package": "pandas==2.2"}});
    rig.databricks_site.put_libraries(
        CLUSTER,
        &[json!({"library": library, "status": "PENDING", "messages": []})],
    );
    let body = json!({"cluster_id": CLUSTER});
    assert_eq!(rig.find(&cluster(None), "restart_cluster").await, None);
    assert_eq!(
        rig.call_workspace("2.1/clusters/restart", &body).await.1["error_code"],
        "INVALID_STATE"
    );
    assert_eq!(rig.call_workspace("2.1/clusters/start", &body).await.0, 200);
    assert_eq!(
        rig.find(&cluster(None), "restart_cluster").await.as_deref(),
        Some(CLUSTER),
        "it is being started"
    );
    assert_eq!(
        rig.outcome(&cluster(None), CLUSTER).await,
        RunOutcome::Running,
        "libraries are being installed"
    );
    assert_eq!(
        rig.find(&cluster(None), "restart_cluster").await.as_deref(),
        Some(CLUSTER)
    );
    assert_eq!(
        rig.outcome(&cluster(None), CLUSTER).await,
        RunOutcome::Running
    );
    assert_eq!(
        rig.outcome(&cluster(None), CLUSTER).await,
        RunOutcome::Succeeded
    );

    assert_eq!(
        rig.call_workspace(
            "2.0/libraries/uninstall",
            &json!({"cluster_id": CLUSTER, "libraries": [library]})
        )
        .await
        .0,
        200
    );
    rig.databricks_site.script(CLUSTER, RunEnding::well(0));
    assert_eq!(
        rig.call_workspace("2.1/clusters/restart", &body).await.0,
        200
    );
    assert_eq!(
        rig.databricks_site.libraries(CLUSTER),
        Vec::<Value>::new(),
        "uninstalled at the restart"
    );
    rig.databricks_site
        .break_library(&library, "no such version");
    assert_eq!(
        rig.call_workspace(
            "2.0/libraries/install",
            &json!({"cluster_id": CLUSTER, "libraries": [library]})
        )
        .await
        .0,
        200
    );
    for _ in 0..2 {
        assert_eq!(
            rig.outcome(&cluster(None), CLUSTER).await,
            RunOutcome::Running
        );
    }
    match rig.outcome(&cluster(None), CLUSTER).await {
        RunOutcome::Failed(why) => assert!(why.contains("no such version")),
        other => panic!("{other:?}"),
    }
    rig.finish();
}

#[tokio::test]
async fn a_cluster_that_does_not_come_up_has_failed_and_a_jobs_own_cluster_cannot_be_started() {
    let rig = Rig::new().await;
    rig.databricks_site
        .put_cluster(fixture("dbx-clusters-get-stockout"));
    rig.databricks_site.script(
        CLUSTER,
        RunEnding::badly(
            0,
            "CLOUD_PROVIDER_RESOURCE_STOCKOUT",
            "CLOUD_FAILURE",
            "no machines",
        ),
    );
    assert_eq!(
        rig.call_workspace("2.1/clusters/start", &json!({"cluster_id": CLUSTER}))
            .await
            .0,
        200
    );
    match rig.outcome(&cluster(None), CLUSTER).await {
        RunOutcome::Failed(why) => assert!(why.contains("CLOUD_PROVIDER_RESOURCE_STOCKOUT")),
        other => panic!("{other:?}"),
    }
    let mut of_job = fixture("dbx-clusters-get-stockout");
    of_job["cluster_source"] = json!("JOB");
    rig.databricks_site.put_cluster(of_job);
    assert_eq!(
        rig.call_workspace("2.1/clusters/start", &json!({"cluster_id": CLUSTER}))
            .await
            .0,
        400
    );
    rig.finish();
}

#[tokio::test]
async fn a_vendors_passing_trouble_is_transient_and_nobody_to_ask_is_said() {
    let rig = Rig::new().await;
    rig.factory
        .faults
        .next(Fault::from_fixture(&fixture("adf-http-429")));
    let fault = rig
        .collector
        .outcome(&pipeline(), ADF_RUN, None)
        .await
        .unwrap_err();
    assert!(fault.is_transient());
    let none = aiops_rca::evidence::Collector::default();
    for failure in [pipeline(), job(), cluster(None), task(&[])] {
        assert_eq!(
            none.outcome(&failure, "x", None).await.unwrap(),
            RunOutcome::NotConfigured
        );
        assert_eq!(
            none.find_attempt_run(&failure, "retry_pipeline", "a1", now(), now())
                .await
                .unwrap(),
            None
        );
    }
    assert_eq!(rig.find(&pipeline(), "check_upstream").await, None);
    rig.finish();
}
