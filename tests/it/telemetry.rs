//! Telemetry in one process: who receives which trace, messages of older versions, settings, doctor.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use crate::support::build;
use std::sync::Arc;

use aiops_rca::config::{Config, Environment};
use aiops_rca::diagnosis::Action;
use aiops_rca::flow::{Flow, Message, Task};
use aiops_rca::functions::access::DashboardLock;
use aiops_rca::functions::wire::Request;
use aiops_rca::functions::{Doors, Handler};
use aiops_rca::remediation::RemediationSettings;
use aiops_rca::sinks::Sinks;
use aiops_rca::sinks::jira::Jira;
use aiops_rca::sinks::playbook::{PlaybookSettings, Playbooks, SecretUrl};
use aiops_rca::sources::Parsed;
use aiops_rca::storage::{Storage, StorageSettings};
use aiops_rca::telemetry::{self, Sampling};
use aiops_rca::ticket::{Ticket, TicketId};
use aiops_rca::trace::{Kind, Traceparent, Work};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use simulators::jira::{self, JiraSimulator};
use simulators::{self, Answer, Fault, Server, Site};
use warp::http::Method;

use crate::machine::failure;
use crate::support;
use crate::support::collector::Collector as OtlpCollector;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Takes everything.
struct Silent;

impl Site for Silent {
    fn answer(&self, _: &simulators::Request) -> Answer {
        Answer::empty(202)
    }
}

async fn silent() -> Server {
    simulators::serve(0, Arc::new(Silent)).await.unwrap()
}

fn work(traceparent: &str) -> Work {
    Work::begin(
        Kind::Internal,
        "test",
        Traceparent::parse(traceparent).as_ref(),
    )
}

/// The traceparents that a server was sent, in order.
fn told(server: &Server) -> Vec<Option<String>> {
    server
        .requests()
        .iter()
        .map(|request| request.header("traceparent").map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn calls_tell_whose_they_are_and_those_to_our_own_store_do_not() {
    let (vendor, store) = (silent().await, silent().await);
    let url = vendor.url().parse().unwrap();
    let http = support::http();
    let call = || async {
        http.send("it", http.request(reqwest::Method::GET, &url))
            .await
            .unwrap()
    };
    call().await;
    work(GIVEN).run(call()).await;
    let untraced = http.untraced();
    work(GIVEN)
        .run(async {
            untraced
                .send("it", untraced.request(reqwest::Method::GET, &url))
                .await
                .unwrap()
        })
        .await;
    // One of the sender's own making gives way: there is one truth about whose call it is.
    work(GIVEN)
        .run(async {
            http.send(
                "it",
                http.request(reqwest::Method::GET, &url)
                    .header("traceparent", OTHER),
            )
            .await
            .unwrap()
        })
        .await;
    assert_eq!(
        told(&vendor),
        [None, Some(GIVEN.to_owned()), None, Some(GIVEN.to_owned())]
    );

    let endpoint = store.url();
    let text = format!(
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint={endpoint}a;QueueEndpoint={endpoint}a"
    );
    let storage = Storage::open(
        &StorageSettings::from_connection_string(&text).unwrap(),
        &http,
    )
    .unwrap();
    let _no_table = work(GIVEN).run(storage.get("tickets", "p", "r")).await;
    assert!(!told(&store).is_empty() && told(&store).iter().all(Option::is_none));
}

struct Rig {
    flow: Flow,
    jira: JiraSimulator,
    playbook: Server,
}

impl Rig {
    async fn build() -> Self {
        let (jira, playbook) = (
            JiraSimulator::start(0, jira::Config::default())
                .await
                .unwrap(),
            silent().await,
        );
        let settings = support::jira_settings(&jira);
        let playbooks = PlaybookSettings {
            urls: [(
                Action::RetryPipeline,
                SecretUrl::parse(&playbook.url()).unwrap(),
            )]
            .into(),
            callback_base: "https://rca.example.com".parse().unwrap(),
            signing_key: "a signing key of the test".into(),
        };
        let flow = Flow {
            sinks: Sinks {
                jira: Some(Jira::new(settings, support::http())),
                playbook: Some(Playbooks::new(playbooks, support::http())),
                ..Sinks::default()
            },
            remediation: RemediationSettings {
                enabled: true,
                playbooks: [Action::RetryPipeline].into(),
                delays: vec![TimeDelta::zero()],
                ..RemediationSettings::default()
            },
            ..build::flow(support::embedded())
        };
        flow.prepare().await.unwrap();
        Self {
            flow,
            jira,
            playbook,
        }
    }

    async fn load(&self, id: &TicketId) -> Ticket {
        self.flow.store.load(id).await.unwrap().unwrap()
    }

    /// Takes a failure in as a door does; `trace: None` as a door of an older version did.
    async fn accept(&self, trace: Option<&str>, now: DateTime<Utc>) -> TicketId {
        let failure = aiops_rca::failure::Failure {
            error_code: Some("GatewayTimeout".to_owned()),
            ..failure()
        };
        let accept = self.flow.accept(Parsed::Failures(vec![failure]), now);
        let accepted = match trace {
            Some(trace) => work(trace).run(accept).await,
            None => accept.await,
        };
        accepted.unwrap().ticket_id.unwrap()
    }

    /// Calls a function of the host's as the host does.
    async fn invoke(&self, function: &str, message: &str) {
        let doors = Doors {
            flow: Ok(self.flow.clone()),
            bot_token: None,
            secure_webhook: None,
            dashboard: DashboardLock::Closed,
            problems: Vec::new(),
            idle: Vec::new(),
        };
        let body =
            json!({"Data": {"item": json!(message).to_string()}, "Metadata": {}}).to_string();
        let request = Request {
            method: Method::POST,
            path: format!("/{function}"),
            query: String::new(),
            headers: [("traceparent".parse().unwrap(), OTHER.parse().unwrap())]
                .into_iter()
                .collect(),
            body: body.into(),
        };
        assert_eq!(Handler::new(doors).answer(request).await.status, 200);
    }
}

#[tokio::test]
async fn a_queue_function_works_in_the_trace_of_its_message_not_in_the_hosts() {
    let rig = Rig::build().await;
    let id = rig.accept(Some(GIVEN), Utc::now()).await;
    rig.invoke(
        "AnalyseFailure",
        &json!({"kind": "failure", "ticket": id, "trace": GIVEN}).to_string(),
    )
    .await;
    assert_eq!(rig.load(&id).await.trace.as_deref(), Some(GIVEN));
    for sink in ["playbook", "jira"] {
        rig.invoke(
            "DeliverTicket",
            &json!({"ticket": id, "sink": sink, "attempt": 0, "trace": GIVEN}).to_string(),
        )
        .await;
    }
    assert_eq!(told(&rig.playbook), [Some(GIVEN.to_owned())]);
    let jira = rig.jira.requests();
    assert!(!jira.is_empty());
    assert!(
        jira.iter()
            .all(|request| request.header("traceparent") == Some(GIVEN))
    );
}

#[tokio::test]
async fn the_sweep_asks_about_each_ticket_in_the_tickets_own_trace() {
    let rig = Rig::build().await;
    let began = Utc::now();
    let id = rig.accept(Some(GIVEN), began).await;
    rig.flow
        .work(Task::Failure { ticket: id.clone() }, || began)
        .await
        .unwrap();
    let task: Task =
        serde_json::from_value(json!({"ticket": id, "sink": "jira", "attempt": 0})).unwrap();
    rig.flow.work(task, move || began).await.unwrap();
    assert!(!rig.load(&id).await.lags(aiops_rca::ticket::Sink::Jira));
    let before = rig.jira.requests().len();
    let swept = work(OTHER)
        .run(rig.flow.sweep(began + TimeDelta::minutes(11)))
        .await
        .unwrap();
    assert_eq!((swept.rows, swept.failed), (1, 0));
    let asked = rig.jira.requests().split_off(before);
    assert!(!asked.is_empty(), "the issue was read back");
    assert!(
        asked
            .iter()
            .all(|request| request.header("traceparent") == Some(GIVEN)),
        "{asked:#?}"
    );
}

#[tokio::test]
async fn what_an_older_version_stored_is_read_and_gets_a_trace() {
    for stored in [
        r#"{"kind":"failure","ticket":"ADF-20251212T100000-abc123"}"#,
        r#"{"kind":"rows","row":"rows-1","round":2}"#,
        r#"{"kind":"recheck","ticket":"ADF-20251212T100000-abc123"}"#,
    ] {
        let message: Message = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), stored);
    }
    let rig = Rig::build().await;
    let id = rig.accept(None, Utc::now()).await;
    rig.invoke(
        "AnalyseFailure",
        &format!(r#"{{"kind":"failure","ticket":"{id}"}}"#),
    )
    .await;
    let given = rig.load(&id).await.trace.unwrap();
    assert!(
        Traceparent::parse(&given).is_some() && given != OTHER,
        "{given}"
    );
    // Not valid, and still no reason to lose a delivery.
    for trace in [
        "",
        "nonsense",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
    ] {
        rig.invoke(
            "DeliverTicket",
            &json!({"ticket": id, "sink": "jira", "attempt": 0, "trace": trace}).to_string(),
        )
        .await;
    }
    assert_eq!(rig.jira.issues().len(), 1);
    assert!(rig.jira.requests().iter().all(|request| {
        request
            .header("traceparent")
            .and_then(Traceparent::parse)
            .is_some()
    }));
}

fn configured(settings: &[(&str, &str)]) -> Config {
    let environment: Environment = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::read(&environment)
}

/// Settings, the names in the problems they lead to, and whether anything is exported.
type Row = (
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    bool,
);

#[test]
fn a_wrong_setting_is_reported_and_nothing_is_exported() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    const VAULT: &str = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)";
    let table: [Row; 11] = [
        (&[], &[], false),
        (&[(ENDPOINT, "https://otel.example.com")], &[], true),
        (&[(ENDPOINT, "http://otel-collector:4318")], &[], true),
        (&[(ENDPOINT, "http://otel.example.com")], &[ENDPOINT], false),
        (&[(ENDPOINT, "nonsense")], &[ENDPOINT], false),
        (&[(HEADERS, "api-key=secret-of-test")], &[ENDPOINT], false),
        (
            &[
                (ENDPOINT, "https://otel.example.com"),
                (HEADERS, "secret-of-test"),
            ],
            &[HEADERS],
            false,
        ),
        (
            &[
                (ENDPOINT, "http://otel-collector:4318"),
                (HEADERS, "api-key=secret-of-test"),
            ],
            &[ENDPOINT],
            false,
        ),
        (
            &[(ENDPOINT, "https://otel.example.com"), (HEADERS, VAULT)],
            &[HEADERS],
            false,
        ),
        (
            &[("OTEL_TRACES_SAMPLER", "sometimes")],
            &["OTEL_TRACES_SAMPLER"],
            false,
        ),
        (
            &[
                (ENDPOINT, "https://otel.example.com"),
                ("OTEL_TRACES_SAMPLER", "sometimes"),
            ],
            &["OTEL_TRACES_SAMPLER"],
            true,
        ),
    ];
    for (settings, wrong, exported) in table {
        let config = configured(settings);
        let names: Vec<&str> = config
            .problems
            .iter()
            .map(|problem| problem.name)
            .filter(|name| name.starts_with("OTEL"))
            .collect();
        assert_eq!(
            (names.as_slice(), config.otlp.is_some()),
            (wrong, exported),
            "{settings:?}"
        );
        assert!(
            !format!("{config:?}").contains("secret-of-test"),
            "{settings:?}"
        );
    }
    let both = [
        (ENDPOINT, "https://otel.example.com"),
        (HEADERS, "api-key=secret-of-test"),
        ("OTEL_TRACES_SAMPLER", "ALWAYS_ON"),
    ];
    let otlp = configured(&both).otlp.unwrap();
    assert_eq!(
        (otlp.service_name.as_str(), otlp.sampling),
        ("aiops-rca", Sampling::All)
    );
    assert_eq!(otlp.headers.get("api-key").unwrap(), "secret-of-test");
    assert!(!format!("{otlp:?}").contains("secret-of-test"));
}

#[tokio::test]
async fn the_doctor_sends_one_empty_export() {
    let collector = OtlpCollector::start().await;
    let base = format!("{}otlp", collector.endpoint());
    let settings = |endpoint: &str| {
        configured(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret-of-test"),
        ])
        .otlp
        .unwrap()
    };
    let http = support::http();
    let said = telemetry::check(&settings(&collector.endpoint()), &http)
        .await
        .unwrap();
    assert_eq!(said, "127.0.0.1 takes traces");
    let requests = collector.requests();
    let [request] = requests.as_slice() else {
        panic!("one request, not {}", requests.len())
    };
    assert_eq!(
        (
            request.path.as_str(),
            request.body.len(),
            request.header("api-key")
        ),
        ("/v1/traces", 0, Some("secret-of-test"))
    );
    assert!(collector.spans().is_empty());
    let fault = telemetry::check(&settings(&base), &http).await.unwrap_err();
    assert!(
        !fault.is_transient() && fault.reason().contains("404"),
        "{fault}"
    );
    assert_eq!(collector.requests().last().unwrap().path, "/otlp/v1/traces");
    collector.faults().next(Fault::status(401));
    let fault = telemetry::check(&settings(&collector.endpoint()), &http)
        .await
        .unwrap_err();
    assert!(
        !fault.is_transient()
            && fault.reason().contains("401")
            && !fault.reason().contains("secret-of-test"),
        "{fault}"
    );
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let fault = telemetry::check(&settings(&format!("http://{nobody}")), &http)
        .await
        .unwrap_err();
    assert!(fault.is_transient(), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_asked_to_end_exports_what_waits() {
    let collector = OtlpCollector::start().await;
    let port = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_aiops-rca"))
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("AIOPS_RCA_STORE", support::embedded_path())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        // Read by the crates themselves, were they let: settings of ours only count.
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://127.0.0.1:1/elsewhere",
        )
        .env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-api-key=stray")
        .env("OTEL_BSP_SCHEDULE_DELAY", "600000")
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let http = support::http();
    let url: url::Url = format!("http://127.0.0.1:{port}/health").parse().unwrap();
    let ask = || async {
        http.send("the handler", http.request(reqwest::Method::GET, &url))
            .await
    };
    while ask().await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let signal = format!("kill -INT {}", child.id().unwrap());
    assert!(
        tokio::process::Command::new("sh")
            .args(["-c", &signal])
            .status()
            .await
            .unwrap()
            .success()
    );
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), child.wait()).await;
    assert!(ended.expect("it ends in time").unwrap().success());
    let names: Vec<String> = collector
        .spans()
        .into_iter()
        .map(|span| span.name)
        .collect();
    assert_eq!(names, ["Health"]);
    assert!(
        collector
            .requests()
            .iter()
            .all(|request| request.header("x-api-key").is_none())
    );
}
