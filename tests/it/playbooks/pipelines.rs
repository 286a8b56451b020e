//! `retry-adf-pipeline` and `rerun-upstream`, run against a data factory.

use aiops_rca::diagnosis::Action;
use aiops_rca::sinks::playbook::callback::Outcome;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use simulators::Fault;
use simulators::airflow::Api;
use simulators::data_factory::Ending;
use simulators::logic_app::{PlaybookFault, RunStatus, UntilLimit};

use super::rig::{RUN, Rig, failed_pipeline};
use super::support::fixture;

fn started(rig: &Rig) -> Vec<Value> {
    rig.factory
        .runs()
        .into_iter()
        .filter(|run| run["runId"] != RUN)
        .collect()
}

fn fails(message: &str) -> Ending {
    Ending::Fails {
        activity: "Copy_Sales".into(),
        message: message.into(),
    }
}

#[tokio::test]
async fn a_failed_run_is_recovered_with_its_own_parameters() {
    let rig = Rig::new().await;
    let story = rig.heal(&failed_pipeline(&rig)).await;
    let runs = started(&rig);
    let [new] = runs.as_slice() else {
        panic!("{runs:?}")
    };
    assert_eq!(
        (&new["parameters"], &new["runGroupId"]),
        (&json!({"runDate": "2026-07-27"}), &json!(RUN))
    );
    let requests = rig.factory_server.requests_to("POST", "/createRun");
    let wanted = fixture("adf-createrun-request-recovery")["url"]
        .as_str()
        .unwrap()
        .parse::<url::Url>()
        .unwrap();
    let mut wanted: Vec<(String, String)> = wanted.query_pairs().into_owned().collect();
    let mut sent = requests[0].query.clone();
    wanted.sort();
    sent.sort();
    assert_eq!(sent, wanted);
    let end = story.succeeded();
    assert_eq!(end.remediation_run_id.as_deref(), new["runId"].as_str());
    assert_eq!(
        (end.original_run_id.as_deref(), end.attempt_number),
        (Some(RUN), Some(1))
    );
    assert_eq!(
        end.ticket_id.as_ref().unwrap().as_str(),
        "ADF-20260727T091531-3f2a1c"
    );
    // The run's id is reported before it can fail.
    assert_eq!(story.callbacks.len(), 2);
    assert_eq!(
        story.callbacks[0].remediation_run_id,
        end.remediation_run_id
    );
}

#[tokio::test]
async fn the_run_that_fails_again_says_why() {
    let rig = Rig::new().await;
    rig.factory
        .script("pl_ingest_sales", 3, fails("ErrorCode=GatewayTimeout"));
    let story = rig.heal(&failed_pipeline(&rig)).await;
    assert_eq!(
        story.failed(),
        "Operation on target Copy_Sales failed: ErrorCode=GatewayTimeout"
    );
    assert_eq!(
        story.end().remediation_run_id.as_deref(),
        started(&rig)[0]["runId"].as_str()
    );
}

#[tokio::test]
async fn a_cancelled_run_is_a_failure() {
    let rig = Rig::new().await;
    rig.factory.script("pl_ingest_sales", 1, Ending::Cancelled);
    assert_eq!(
        rig.heal(&failed_pipeline(&rig)).await.failed(),
        "the remediation run was cancelled"
    );
}

#[tokio::test]
async fn a_run_that_hangs_is_reported_whatever_the_loop_comes_to() {
    for limit in [UntilLimit::TimesOut, UntilLimit::Succeeds] {
        let rig = Rig::with(Api::V2, limit).await;
        rig.factory.script("pl_ingest_sales", 0, Ending::Hangs);
        let story = rig.heal(&failed_pipeline(&rig)).await;
        assert_eq!(
            story.failed(),
            "The run did not end within the time this playbook watches it."
        );
        assert_eq!(
            story.run.action("Wait").unwrap().repetitions,
            105,
            "the loop is bounded"
        );
    }
}

#[tokio::test]
async fn when_its_time_is_over_a_playbook_stops_watching_and_says_so() {
    let rig = Rig::watching(Api::V2, UntilLimit::Succeeds, 0).await;
    rig.factory.script("pl_ingest_sales", 0, Ending::Hangs);
    let story = rig.heal(&failed_pipeline(&rig)).await;
    assert_eq!(
        story.failed(),
        "The run did not end within the time this playbook watches it."
    );
    assert_eq!(story.run.action("Wait").unwrap().repetitions, 1);
}

#[tokio::test]
async fn a_request_for_another_place_is_refused_and_one_for_this_place_is_not() {
    let factory = "/subscriptions/sub-1/resourcegroups/rg-data/providers/microsoft.datafactory/factories/adf-prod";
    for (scope, ours) in [
        (factory, true),
        ("ADF-prod", true),
        ("", true),
        ("adf-other", false),
        (
            "/subscriptions/sub-2/resourcegroups/rg-data/providers/microsoft.datafactory/factories/adf-prod",
            false,
        ),
        ("https://adb-1.12.azuredatabricks.net", false),
    ] {
        for playbook in ["retry-adf-pipeline", "rerun-upstream"] {
            let rig = Rig::new().await;
            let ticket = failed_pipeline(&rig);
            let mut attempt = super::support::attempt(&ticket);
            attempt.called_at = Some(Utc::now());
            let callback = "https://rca.example.com/remediation-callback?x"
                .parse()
                .unwrap();
            let mut body = aiops_rca::sinks::playbook::request_body(&ticket, &attempt, &callback);
            body["scope"] = json!(scope);
            let run = rig.trigger(playbook, &body).await;
            let refused = format!("{:?}", rig.callbacks()).contains("belongs to another place");
            assert_eq!(refused, !ours, "{playbook}: {scope}");
            assert_eq!(
                run.action("Refuse_scope")
                    .is_some_and(|step| step.status.name() == "Succeeded"),
                !ours
            );
            assert!(ours || started(&rig).is_empty());
        }
    }
}

#[tokio::test]
async fn a_refused_start_is_told_and_never_repeated() {
    let rig = Rig::new().await;
    rig.factory_server.faults.next_on(
        "POST",
        "/createRun",
        Fault::from_fixture(&fixture("adf-http-403")),
    );
    let story = rig.heal(&failed_pipeline(&rig)).await;
    assert!(
        story
            .failed()
            .contains("does not have authorization to perform action"),
        "{}",
        story.failed()
    );
    assert_eq!(
        rig.factory_server.requests_to("POST", "/createRun").len(),
        1
    );
    assert_eq!(
        (
            started(&rig).len(),
            story.end().remediation_run_id.as_deref()
        ),
        (0, None)
    );
}

#[tokio::test]
async fn after_an_unknown_start_the_run_is_looked_for_and_watched() {
    let rig = Rig::new().await;
    rig.factory_server
        .faults
        .next_on("POST", "/createRun", Fault::AcceptThenDrop);
    let story = rig.heal(&failed_pipeline(&rig)).await;
    assert_eq!(started(&rig).len(), 1);
    assert_eq!(
        story.succeeded().remediation_run_id.as_deref(),
        started(&rig)[0]["runId"].as_str()
    );
    assert_eq!(
        rig.factory_server.requests_to("POST", "/createRun").len(),
        1
    );
}

#[tokio::test]
async fn a_start_that_was_lost_is_not_repeated_either() {
    let rig = Rig::new().await;
    rig.factory_server
        .faults
        .next_on("POST", "/createRun", Fault::status(502));
    let story = rig.heal(&failed_pipeline(&rig)).await;
    assert!(
        story
            .failed()
            .starts_with("Data Factory did not start the run"),
        "{}",
        story.failed()
    );
    assert_eq!(started(&rig).len(), 0);
}

#[tokio::test]
async fn reading_survives_throttling_and_hiccups() {
    let rig = Rig::new().await;
    rig.factory_server.faults.next_on(
        "GET",
        "/pipelineruns/",
        Fault::from_fixture(&fixture("adf-http-429")),
    );
    rig.factory_server
        .faults
        .next_on("POST", "/queryPipelineRuns", Fault::status(500));
    rig.heal(&failed_pipeline(&rig)).await.succeeded();
    assert!(rig.factory_server.faults.is_drained());
}

#[tokio::test]
async fn guards_refuse_what_no_longer_makes_sense() {
    let rig = Rig::new().await;
    let ticket = failed_pipeline(&rig);
    let mut active = fixture("adf-pipelineruns-get-inprogress");
    active["pipelineName"] = json!("pl_ingest_sales");
    active["lastUpdated"] = json!(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true));
    rig.factory.put_run(active.clone());
    let story = rig.heal(&ticket).await;
    assert!(
        story.failed().contains("is already running")
            && story.failed().contains(active["runId"].as_str().unwrap()),
        "{}",
        story.failed()
    );

    let rig = Rig::new().await;
    let ticket = failed_pipeline(&rig);
    let mut healed = fixture("adf-pipelineruns-get-failed");
    (healed["runId"], healed["status"]) = (
        json!("0a0a0a0a-5df1-4b8e-ac2f-064cfa58202b"),
        json!("Succeeded"),
    );
    rig.factory.put_run(healed);
    let mut other = ticket.clone();
    other.failure.run_id = Some("0a0a0a0a-5df1-4b8e-ac2f-064cfa58202b".into());
    assert!(
        rig.heal(&other)
            .await
            .failed()
            .contains("is Succeeded, not failed")
    );

    let rig = Rig::new().await;
    let mut other = failed_pipeline(&rig);
    other.failure.asset = "pl_payroll".into();
    assert!(
        rig.heal(&other)
            .await
            .failed()
            .contains("belongs to another pipeline")
    );

    let rig = Rig::new().await;
    let mut other = failed_pipeline(&rig);
    other.failure.run_id = Some("ffffffff-5df1-4b8e-ac2f-064cfa58202b".into());
    let story = rig.heal(&other).await;
    assert!(
        story
            .failed()
            .starts_with("The step Get_original_run ended as Failed"),
        "{}",
        story.failed()
    );
    assert_eq!(
        rig.factory_server.requests_to("POST", "/createRun").len(),
        0
    );
}

/// Calls the trigger by hand, with a body that differs.
async fn trigger(rig: &Rig, change: impl Fn(&mut Value)) -> u16 {
    let mut body = json!({"ticket_id": "ADF-20260727T091531-3f2a1c", "attempt_id": "a1", "attempt_number": 1, "pipeline_name": "pl_ingest_sales",
        "original_run_id": RUN, "callback_url": "https://rca.example.com/remediation-callback?token=t",
        "requested_at": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)});
    change(&mut body);
    let http = aiops_rca::http::Http::new(None).unwrap();
    let url = rig.playbooks.url("retry-adf-pipeline").unwrap();
    let reply = http
        .send("it", http.request(reqwest::Method::POST, &url).json(&body))
        .await
        .unwrap();
    rig.playbooks.settled().await;
    reply.status
}

#[tokio::test]
async fn a_stale_request_does_nothing_and_says_so() {
    let rig = Rig::new().await;
    failed_pipeline(&rig);
    let status = trigger(&rig, |body| {
        body["requested_at"] = json!(
            (Utc::now() - chrono::TimeDelta::minutes(31))
                .to_rfc3339_opts(SecondsFormat::Millis, true)
        );
    })
    .await;
    assert_eq!((status, started(&rig).len()), (202, 0));
    assert!(matches!(&rig.callbacks()[0].outcome, Outcome::Failed(why) if why.contains("too old")));
}

#[tokio::test]
async fn a_callback_address_that_is_not_ours_is_never_called_and_nothing_is_done() {
    for address in [
        "https://evil.example.com/remediation-callback?token=t",
        "https://rca.example.com.evil.com/remediation-callback?",
        "https://rca.example.com/azure-monitor?x=/remediation-callback?",
    ] {
        let rig = Rig::new().await;
        failed_pipeline(&rig);
        assert_eq!(
            trigger(&rig, |body| body["callback_url"] = json!(address)).await,
            202
        );
        assert_eq!(
            (started(&rig).len(), rig.door.requests().len()),
            (0, 0),
            "{address}"
        );
        assert_eq!(rig.playbooks.strangers(), Vec::<String>::new(), "{address}");
        assert_eq!(rig.playbooks.runs()[0].status, RunStatus::Failed);
    }
}

#[tokio::test]
async fn a_body_that_lacks_what_is_needed_is_refused_at_the_door() {
    let rig = Rig::new().await;
    assert_eq!(
        trigger(&rig, |body| drop(
            body.as_object_mut().unwrap().remove("original_run_id")
        ))
        .await,
        400
    );
    assert_eq!(
        trigger(&rig, |body| body["attempt_number"] = json!("one")).await,
        400
    );
    assert!(rig.playbooks.runs().is_empty());
}

#[tokio::test]
async fn the_history_hides_what_the_definition_secures() {
    let rig = Rig::new().await;
    let story = rig.heal(&failed_pipeline(&rig)).await;
    let shown = serde_json::to_value(&story.run).unwrap();
    let call = shown["actions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|action| action["name"] == "Send_callback")
        .unwrap();
    assert_eq!(
        (&call["inputs"], &call["outputs"]),
        (&json!("(secured)"), &json!("(secured)"))
    );
    assert!(
        !shown.to_string().contains("token="),
        "the callback's token is in the history"
    );
}

#[tokio::test]
async fn faults_of_the_service_itself() {
    let rig = Rig::new().await;
    let ticket = failed_pipeline(&rig);
    rig.playbooks.next_run(PlaybookFault::CallbackTwice);
    rig.heal(&ticket).await;
    assert_eq!(rig.callbacks().len(), 3, "the progress was told twice");

    let rig = Rig::new().await;
    failed_pipeline(&rig);
    rig.playbooks.next_run(PlaybookFault::GatewayTimeout);
    assert_eq!(trigger(&rig, |_| ()).await, 504);
    assert_eq!(started(&rig).len(), 1, "504 and yet it ran");

    let rig = Rig::new().await;
    failed_pipeline(&rig);
    for _both in 0..2 {
        rig.playbooks.next_run(PlaybookFault::CallbackLost);
    }
    assert_eq!(trigger(&rig, |_| ()).await, 202);
    assert_eq!((started(&rig).len(), rig.callbacks().len()), (1, 0));
    assert!(rig.playbooks.is_drained());
    rig.playbooks.set_enabled("retry-adf-pipeline", false);
    assert_eq!(trigger(&rig, |_| ()).await, 404);
}

fn upstream_run(status: &str) -> Value {
    let mut run = fixture("adf-pipelineruns-get-failed");
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    (run["runId"], run["runGroupId"], run["pipelineName"]) =
        (json!("up-1"), json!("up-1"), json!("pl_export_sales"));
    (run["status"], run["lastUpdated"], run["runStart"]) = (json!(status), json!(now), json!(now));
    run["parameters"] = json!({"day": "27"});
    run
}

#[tokio::test]
async fn the_upstream_pipeline_runs_first_then_the_failed_one_is_recovered() {
    let rig = Rig::new().await;
    let mut ticket = failed_pipeline(&rig);
    ticket.remediation.action = Action::CheckUpstream;
    rig.factory.put_run(upstream_run("Succeeded"));
    let story = rig.heal(&ticket).await;
    let end = story.succeeded();
    let runs: Vec<Value> = started(&rig)
        .into_iter()
        .filter(|run| run["runId"] != "up-1")
        .collect();
    let [upstream, recovery] = runs.as_slice() else {
        panic!("{runs:?}")
    };
    assert_eq!(
        (&upstream["pipelineName"], &upstream["parameters"]),
        (&json!("pl_export_sales"), &json!({"day": "27"}))
    );
    assert_eq!(
        (&recovery["pipelineName"], &recovery["runGroupId"]),
        (&json!("pl_ingest_sales"), &json!(RUN))
    );
    assert_eq!(
        end.remediation_run_id.as_deref(),
        recovery["runId"].as_str()
    );
}

#[tokio::test]
async fn without_a_good_upstream_the_failed_pipeline_is_left_alone() {
    let rig = Rig::new().await;
    let mut ticket = failed_pipeline(&rig);
    ticket.remediation.action = Action::CheckUpstream;
    rig.factory.put_run(upstream_run("Succeeded"));
    rig.factory.script("pl_export_sales", 1, fails("no disk"));
    let story = rig.heal(&ticket).await;
    assert!(
        story
            .failed()
            .contains("pl_export_sales did not succeed: Failed"),
        "{}",
        story.failed()
    );
    assert_eq!(
        rig.factory_server
            .requests_to("POST", "pl_ingest_sales/createRun")
            .len(),
        0
    );

    let rig = Rig::new().await;
    let mut ticket = failed_pipeline(&rig);
    ticket.remediation.action = Action::CheckUpstream;
    assert!(
        rig.heal(&ticket)
            .await
            .failed()
            .contains("no run in the last seven days")
    );
    let mut other = ticket.clone();
    other.failure.asset = "pl_other".into();
    let mut run = fixture("adf-pipelineruns-get-failed");
    (run["runId"], run["pipelineName"]) = (json!("o-1"), json!("pl_other"));
    other.failure.run_id = Some("o-1".into());
    let rig = Rig::new().await;
    rig.factory.put_run(run);
    assert!(
        rig.heal(&other)
            .await
            .failed()
            .contains("No upstream pipeline is configured")
    );
}
