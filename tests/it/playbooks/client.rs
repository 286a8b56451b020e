//! Calling a playbook: the request, and the outcomes told apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aiops_rca::diagnosis::Action;
use aiops_rca::failure::{AssetKind, Source, field};
use aiops_rca::http::Http;
use aiops_rca::sinks::playbook::{
    CallOutcome, PlaybookSettings, Playbooks, SecretUrl, SecretUrlError, request_body,
};
use chrono::Utc;
use simulators::{Answer, Fault, Request, Server, Site, serve};

use super::support::{attempt, failure, fixture, ticket};

struct Accepts;

impl Site for Accepts {
    fn answer(&self, _request: &Request) -> Answer {
        Answer::empty(202).with_header("x-ms-workflow-run-id", "08584642111111111111111111111CU12")
    }
}

fn playbooks(url: &str) -> Playbooks {
    let settings = PlaybookSettings {
        urls: BTreeMap::from([(Action::RetryPipeline, SecretUrl::parse(url).unwrap())]),
        callback_base: "https://rca.example.com/".parse().unwrap(),
        signing_key: "a signing key".into(),
    };
    Playbooks::new(
        settings,
        Http::with_timeout(None, Duration::from_millis(400)).unwrap(),
    )
}

fn failed_pipeline() -> aiops_rca::ticket::Ticket {
    let run = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";
    ticket(
        failure(
            Source::Adf,
            AssetKind::Pipeline,
            "pl_ingest_sales",
            run,
            &[],
        ),
        Action::RetryPipeline,
    )
}

async fn call(server: &Server) -> CallOutcome {
    let url = format!(
        "{}workflows/0f1e/triggers/manual/paths/invoke?api-version=2016-10-01&sig=TOPSECRET",
        server.url()
    );
    let ticket = failed_pipeline();
    playbooks(&url)
        .call(&ticket, &attempt(&ticket), Utc::now())
        .await
}

#[tokio::test]
async fn the_call_carries_the_attempt_and_a_callback_address_of_its_own() {
    let server = serve(0, Arc::new(Accepts)).await.unwrap();
    let accepted = call(&server).await;
    assert_eq!(
        accepted,
        CallOutcome::Accepted {
            workflow_run: Some("08584642111111111111111111111CU12".into())
        }
    );
    let requests = server.requests();
    let [request] = requests.as_slice() else {
        panic!("one call, not {}", requests.len())
    };
    assert_eq!(
        (request.method.as_str(), request.query("sig")),
        ("POST", Some("TOPSECRET"))
    );
    assert_eq!(
        request.header("x-ms-client-tracking-id"),
        Some("ADF-20260727T091531-3f2a1c-a1")
    );
    insta::assert_json_snapshot!("playbook_request_pipeline", request.json());
}

#[test]
fn databricks_and_airflow_requests_carry_what_their_playbooks_need() {
    let callback = "https://rca.example.com/remediation-callback?token=t"
        .parse()
        .unwrap();
    let context = [
        (field::JOB_ID, "516892700102118"),
        (field::CLUSTER_ID, "0727-091233-ab12cd34"),
        (field::TASK_KEY, "load"),
    ];
    let job = ticket(
        failure(
            Source::Databricks,
            AssetKind::Job,
            "nightly ETL",
            "998877665544332",
            &context,
        ),
        Action::RetryJob,
    );
    insta::assert_json_snapshot!(
        "playbook_request_job",
        request_body(&job, &attempt(&job), &callback)
    );
    let context = [
        (field::DAG_ID, "sales_etl"),
        (field::TASK_ID, "load_orders"),
        (field::MAP_INDEX, "3"),
        (field::LOGICAL_DATE, "2026-07-27T00:00:00Z"),
    ];
    let run = "scheduled__2026-07-27T00:00:00+00:00";
    let task = ticket(
        failure(
            Source::Airflow,
            AssetKind::Task,
            "sales_etl.load_orders",
            run,
            &context,
        ),
        Action::RetryTask,
    );
    insta::assert_json_snapshot!(
        "playbook_request_task",
        request_body(&task, &attempt(&task), &callback)
    );
}

#[test]
fn a_task_that_is_not_mapped_has_no_map_index() {
    let callback = "https://rca.example.com/".parse().unwrap();
    let task = ticket(
        failure(
            Source::Airflow,
            AssetKind::Task,
            "d.t",
            "r",
            &[(field::MAP_INDEX, "-1")],
        ),
        Action::RetryTask,
    );
    assert!(
        request_body(&task, &attempt(&task), &callback)
            .get("map_index")
            .is_none()
    );
}

#[tokio::test]
async fn answers_are_told_apart_and_no_reason_holds_the_url() {
    let server = serve(0, Arc::new(Accepts)).await.unwrap();
    for (name, wanted) in [
        ("logicapp-http-200-response", "accepted"),
        ("logicapp-http-400-schema", "refused"),
        ("logicapp-http-401", "refused"),
        ("logicapp-http-404-disabled", "refused"),
        ("logicapp-http-429", "not sent, 17 s"),
        ("logicapp-http-504", "unknown"),
    ] {
        server.faults.next(Fault::from_fixture(&fixture(name)));
        let outcome = call(&server).await;
        let (kind, reason) = match &outcome {
            CallOutcome::Accepted { .. } => ("accepted".to_owned(), ""),
            CallOutcome::Refused(reason) => ("refused".to_owned(), reason.as_str()),
            CallOutcome::Unknown(reason) => ("unknown".to_owned(), reason.as_str()),
            CallOutcome::NotSent(reason, after) => (
                format!("not sent, {} s", after.map_or(0, |wait| wait.as_secs())),
                reason.as_str(),
            ),
        };
        assert_eq!(kind, wanted, "{name}: {outcome:?}");
        assert!(
            !reason.contains("sig=")
                && !reason.contains("TOPSECRET")
                && !reason.contains("127.0.0.1"),
            "{reason}"
        );
    }
    assert!(server.faults.is_drained());
}

#[tokio::test]
async fn what_may_have_been_sent_is_unknown_and_what_surely_was_not_is_not() {
    let mut server = serve(0, Arc::new(Accepts)).await.unwrap();
    for fault in [
        Fault::AcceptThenDrop,
        Fault::DropBefore,
        Fault::Delay(Duration::from_secs(2)),
        Fault::status(502),
        Fault::status(503),
        Fault::status(408),
    ] {
        server.faults.next(fault.clone());
        assert!(
            matches!(call(&server).await, CallOutcome::Unknown(_)),
            "{fault:?}"
        );
    }
    for status in [302, 403, 409, 413] {
        server.faults.next(Fault::status(status));
        assert!(
            matches!(call(&server).await, CallOutcome::Refused(_)),
            "{status}"
        );
    }
    server.stop();
    while tokio::net::TcpStream::connect(server.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(call(&server).await, CallOutcome::NotSent(_, None)));
}

#[tokio::test]
async fn an_action_without_a_playbook_is_refused_without_a_call() {
    let server = serve(0, Arc::new(Accepts)).await.unwrap();
    let playbooks = playbooks(&server.url());
    let mut ticket = failed_pipeline();
    ticket.remediation.action = Action::RestartCluster;
    assert!(playbooks.url(Action::RestartCluster).is_none());
    assert!(matches!(
        playbooks.call(&ticket, &attempt(&ticket), Utc::now()).await,
        CallOutcome::Refused(_)
    ));
    assert!(server.requests().is_empty());
}

#[test]
fn the_token_fits_one_attempt_of_one_ticket_only() {
    let playbooks = playbooks("https://logic.example.com/x");
    let url = playbooks.callback_url(
        "ADF-20260727T091531-3f2a1c",
        "ADF-20260727T091531-3f2a1c-a1",
    );
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(
        (url.host_str(), url.path()),
        (Some("rca.example.com"), "/remediation-callback")
    );
    let (ticket, attempt, token) = (&query["ticket"], &query["attempt"], &query["token"]);
    // HMAC-SHA256 in hex, computed elsewhere (openssl dgst -sha256 -hmac "a signing key").
    assert_eq!(
        token,
        "eac191e42930eb63015f450f155c22bf68f0d3642f9312b17bbedc60516494a0"
    );
    assert!(playbooks.verify_callback(ticket, attempt, token));
    assert!(playbooks.verify_callback(ticket, attempt, &token.to_uppercase()));
    for (ticket, attempt, token) in [
        (
            ticket.as_str(),
            "ADF-20260727T091531-3f2a1c-a2",
            token.as_str(),
        ),
        (
            "ADF-20260727T091531-3f2a1d",
            attempt.as_str(),
            token.as_str(),
        ),
        (ticket, attempt, ""),
        (ticket, attempt, "00"),
        (ticket, attempt, "zz"),
        (ticket, attempt, &token[..62]),
    ] {
        assert!(
            !playbooks.verify_callback(ticket, attempt, token),
            "{ticket} {attempt} {token}"
        );
    }
}

#[test]
fn with_an_empty_signing_key_no_token_fits() {
    let settings = PlaybookSettings {
        urls: BTreeMap::new(),
        callback_base: "https://rca.example.com/base/".parse().unwrap(),
        signing_key: "".into(),
    };
    let playbooks = Playbooks::new(settings, Http::new(None).unwrap());
    let url = playbooks.callback_url("t", "a");
    assert_eq!(url.path(), "/base/remediation-callback");
    let token = url
        .query_pairs()
        .find(|(name, _)| name == "token")
        .unwrap()
        .1
        .into_owned();
    assert!(!playbooks.verify_callback("t", "a", &token));
}

#[test]
fn trigger_urls_are_https_and_never_shown() {
    let url =
        SecretUrl::parse("https://prod-12.eastus.logic.azure.com:443/workflows/x/triggers/manual/paths/invoke?sig=TOPSECRET")
            .unwrap();
    assert_eq!(
        format!("{url:?}"),
        "SecretUrl(https://prod-12.eastus.logic.azure.com/…)"
    );
    assert_eq!(
        SecretUrl::parse("http://prod-12.eastus.logic.azure.com/x").unwrap_err(),
        SecretUrlError::NotHttps
    );
    assert_eq!(
        SecretUrl::parse("prod-12.eastus").unwrap_err(),
        SecretUrlError::NotAUrl
    );
    assert_eq!(
        SecretUrl::parse("file:///etc/passwd").unwrap_err(),
        SecretUrlError::NotAUrl
    );
    assert!(SecretUrl::parse("http://127.0.0.1:7071/x").is_ok());
}
