//! One trace from the door to the sinks, with and without a collector; and nothing secret in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use aiops_rca::trace::Traceparent;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use simulators::{Fault, Request};

use super::rig::{BLOB_MISSING, Backend, Rig, alert, row, run};
use crate::support::collector::{Collector, Span};
use crate::support::http;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const HEADER_SECRET: &str = "collector-secret-of-test";
/// What a task may say in its despair.
const SECRETS: [&str; 4] = [
    "hunter2-of-test",
    "c2VjcmV0LWtleS1vZi10ZXN0",
    "eyJhbGciOiJub25lIn0.c2VjcmV0.x",
    "jane.roe@example.com",
];

fn callback(run: &str) -> Value {
    let [password, key, token, email] = SECRETS;
    json!({"dag_id": "sales_etl", "task_id": "load_orders", "run_id": run, "state": "failed", "try_number": 1, "max_tries": 0,
        "exception": format!("psycopg2.OperationalError: connection to postgresql://etl:{password}@db.example.com/dwh refused; \
            AccountKey={key}==; Authorization: Bearer {token}; ask {email}"),
        "operator": "PythonOperator"})
}

/// Reports a failure as Airflow does; the ticket's id.
async fn report(rig: &Rig, run: &str, traceparent: Option<&str>) -> String {
    let url = format!("http://127.0.0.1:{}/airflow-monitor", rig.host.port())
        .parse()
        .unwrap();
    let mut request = http()
        .request(reqwest::Method::POST, &url)
        .json(&callback(run));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let reply = http().send("the app", request).await.unwrap();
    assert_eq!(reply.status, 200);
    reply.json::<Value>("the app").unwrap()["ticket_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn settings(collector: &Collector) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("x-api-key=Bearer%20{HEADER_SECRET}, x-scope=a"),
        ),
        ("OTEL_SERVICE_NAME", "rca-of-test".to_owned()),
    ]
}

fn traceparent_of(request: &Request) -> Option<Traceparent> {
    request.header("traceparent").and_then(Traceparent::parse)
}

/// The calls that bring the tickets to the sinks. A webhook's own question (who are we?) is of the webhook's trace.
fn deliveries(rig: &Rig) -> Vec<Request> {
    let jira = rig
        .jira
        .requests()
        .into_iter()
        .filter(|request| request.path.contains("/issue") || request.path.contains("/search"));
    let all: Vec<Request> = jira
        .chain(
            rig.slack
                .requests()
                .into_iter()
                .filter(|request| request.path.contains("/chat.")),
        )
        .collect();
    assert!(
        all.iter().any(|request| request.path.ends_with("/issue"))
            && all
                .iter()
                .any(|request| request.path.ends_with("/chat.postMessage"))
    );
    all
}

/// Waits until the span is there that ends last: the one of the ticket's last delivery.
async fn until_exported(rig: &Rig, collector: &Collector, wanted: &BTreeMap<&str, usize>) {
    rig.until(
        "the spans have arrived",
        Duration::from_secs(10),
        async |_: &Rig| {
            let spans = collector.spans();
            wanted.iter().all(|(name, count)| {
                spans.iter().filter(|span| span.name == *name).count() >= *count
            })
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_one_trace_from_the_door_to_the_sinks() {
    let collector = Collector::start().await;
    let rig = Rig::build(&Backend::Embedded, &settings(&collector)).await;
    let id = report(&rig, "manual__1", Some(GIVEN)).await;
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(30))
        .await;
    let wanted = [
        ("AirflowMonitor", 1),
        ("AnalyseFailure", 1),
        ("DeliverTicket", 2),
        ("POST JIRA", 1),
        ("POST Slack", 1),
    ];
    until_exported(&rig, &collector, &wanted.into()).await;

    let spans = collector.spans_of(TRACE);
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let named = |name: &str| {
        spans
            .iter()
            .filter(|span| span.name == name)
            .collect::<Vec<_>>()
    };
    let [door] = named("AirflowMonitor")[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(
        (door.kind, door.parent.as_str(), door.service.as_str()),
        (SpanKind::Server, "00f067aa0ba902b7", "rca-of-test")
    );
    let [analysis] = named("AnalyseFailure")[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(
        (analysis.kind, &analysis.parent),
        (SpanKind::Consumer, &door.id)
    );
    for step in ["collect evidence", "diagnose"] {
        assert_eq!(named(step)[0].parent, analysis.id, "{step}");
    }
    let delivered = named("DeliverTicket");
    let first: BTreeSet<&str> = delivered
        .iter()
        .filter(|span| span.parent == analysis.id)
        .map(|span| span.attributes["sink.name"].as_str())
        .collect();
    assert_eq!(first, BTreeSet::from(["jira", "slack"]));
    for span in &spans {
        let parent = by_id.get(span.parent.as_str());
        assert!(
            span.id == door.id || parent.is_some(),
            "its parent is missing: {span:#?}"
        );
        assert!(span.time.0 > 0 && span.time.0 <= span.time.1);
        assert_eq!(span.error, None, "{span:#?}");
        assert!(
            !span.attributes.keys().any(|name| name.ends_with(" twice")),
            "{span:#?}"
        );
        if let Some(vendor) = span.attributes.get("service.peer.name") {
            let caller = &parent.unwrap().attributes["sink.name"];
            assert_eq!(
                (span.kind, vendor.to_ascii_lowercase()),
                (SpanKind::Client, caller.clone())
            );
        }
    }

    // What the vendors were told is the span of that very call.
    for request in deliveries(&rig) {
        let told = traceparent_of(&request)
            .unwrap_or_else(|| panic!("{request:?}"))
            .to_string();
        let caller = spans
            .iter()
            .find(|span| told == format!("00-{TRACE}-{}-01", span.id));
        assert!(
            caller.is_some_and(|span| span.name.starts_with(&request.method)),
            "{} {told}",
            request.path
        );
    }
    attributes_are_the_conventions(&spans, &id);
    nothing_secret_was_exported(&rig, &collector);
    lines_are_exported_with_their_trace(&rig, &collector, &id).await;
    rig.assert_wire_laws();
    rig.host.stop().await;
}

fn attributes_are_the_conventions(spans: &[Span], id: &str) {
    let of = |name: &str, more: &[(&str, &str)]| {
        let holds = |span: &&Span| {
            more.iter().all(|(key, value)| {
                span.attributes
                    .get(*key)
                    .is_some_and(|found| found == value)
            })
        };
        let found = spans.iter().filter(|span| span.name == name).find(holds);
        let span = found.unwrap_or_else(|| panic!("no {name} with {more:?} among {spans:#?}"));
        span.attributes
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let door = of(
        "AirflowMonitor",
        &[
            ("http.request.method", "POST"),
            ("http.route", "/airflow-monitor"),
            ("http.response.status_code", "200"),
            ("ticket.id", id),
        ],
    );
    assert_eq!(
        door,
        "faas.name faas.trigger http.request.method http.response.status_code http.route ticket.id"
    );
    let analysis = of(
        "AnalyseFailure",
        &[
            ("messaging.destination.name", "failures"),
            ("failure.source", "airflow"),
            ("ticket.id", id),
        ],
    );
    assert_eq!(
        analysis,
        "faas.name faas.trigger failure.source messaging.destination.name messaging.operation.type messaging.system ticket.id"
    );
    assert_eq!(of("diagnose", &[]), "diagnosis.category diagnosis.rule");
    let call = of(
        "POST JIRA",
        &[
            ("server.address", "127.0.0.1"),
            ("http.response.status_code", "201"),
        ],
    );
    assert_eq!(
        call,
        "http.request.method http.response.status_code server.address server.port service.peer.name"
    );
}

/// The collector's own key arrived, in every request's head and nowhere else; the message's secrets did not at all.
fn nothing_secret_was_exported(rig: &Rig, collector: &Collector) {
    for request in collector.requests() {
        assert_eq!(
            request.header("x-api-key"),
            Some(format!("Bearer {HEADER_SECRET}").as_str())
        );
        assert_eq!(
            (request.header("x-scope"), request.header("traceparent")),
            (Some("a"), None)
        );
        let body = String::from_utf8_lossy(&request.body);
        for secret in SECRETS.iter().chain([&HEADER_SECRET]) {
            assert!(!body.contains(secret), "{secret} was exported");
        }
        for stray in ["hyper", "reqwest", "azure_", "?code=", "/rest/api"] {
            assert!(!body.contains(stray), "{stray} was exported");
        }
    }
    let log = rig.log();
    for secret in SECRETS.iter().chain([&HEADER_SECRET]) {
        assert!(!log.contains(secret), "{secret} was logged");
    }
}

async fn lines_are_exported_with_their_trace(rig: &Rig, collector: &Collector, id: &str) {
    let opened = |collector: &Collector| {
        collector
            .records()
            .into_iter()
            .find(|record| record.body == "ticket opened")
    };
    rig.until(
        "the log records have arrived",
        Duration::from_secs(10),
        async |_: &Rig| opened(collector).is_some(),
    )
    .await;
    let opened = opened(collector).unwrap();
    assert_eq!(
        (
            opened.trace.as_str(),
            opened.attributes["ticket.id"].as_str()
        ),
        (TRACE, id)
    );
    // A record with a name is an event, filed under it.
    assert_eq!(opened.event_name, "");
    let line = rig
        .log()
        .lines()
        .find(|line| line.contains("\"ticket opened\""))
        .unwrap()
        .to_owned();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["span"]["trace.id"], TRACE, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_callers_traceparent_goes_through_as_it_is() {
    let collector = Collector::start().await;
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let id = report(&rig, "manual__1", Some(GIVEN)).await;
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(30))
        .await;
    assert_eq!(rig.ticket(&id).await.unwrap()["trace"], GIVEN);
    for request in deliveries(&rig) {
        assert_eq!(
            request.header("traceparent"),
            Some(GIVEN),
            "{} {}",
            request.method,
            request.path
        );
    }
    assert!(collector.requests().is_empty());
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ticket_has_a_trace_of_its_own() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    let mut tickets = Vec::new();
    // The host sends a traceparent by turns only; a sender's that is not valid counts for nothing.
    for (number, traceparent) in [
        None,
        None,
        None,
        Some("nonsense"),
        Some("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]
    .iter()
    .enumerate()
    {
        tickets.push(report(&rig, &format!("manual__{number}"), *traceparent).await);
    }
    rig.until_shown(&tickets, Duration::from_secs(30)).await;
    let mut traces = BTreeMap::new();
    for id in &tickets {
        let ticket = rig.ticket(id).await.unwrap();
        let trace = Traceparent::parse(ticket["trace"].as_str().unwrap())
            .unwrap_or_else(|| panic!("{ticket:#}"));
        assert_ne!(trace.trace_id(), TRACE);
        traces.insert(
            trace.trace_id(),
            ticket["jira"]["key"].as_str().unwrap().to_owned(),
        );
    }
    assert_eq!(traces.len(), tickets.len());
    for request in deliveries(&rig) {
        let trace = traceparent_of(&request).unwrap().trace_id();
        let key = traces
            .get(&trace)
            .unwrap_or_else(|| panic!("{} is of no ticket's trace", request.path));
        if let Some(named) = request
            .segments()
            .into_iter()
            .find(|segment| segment.starts_with("APAIOPS-"))
        {
            assert_eq!(&named, key, "{}", request.path);
        }
    }
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_or_hangs_costs_nobody_anything() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for endpoint in [
        format!("http://{nobody}/"),
        format!("http://{}/", silent.local_addr().unwrap()),
    ] {
        let rig = Rig::build(
            &Backend::Embedded,
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone())],
        )
        .await;
        let (mut tickets, mut took) = (Vec::new(), Vec::new());
        for number in 0..5 {
            let began = Instant::now();
            tickets.push(report(&rig, &format!("manual__{number}"), Some(GIVEN)).await);
            took.push(began.elapsed());
        }
        // An export is given ten seconds. A busy machine may hold up one request, not most of them.
        took.sort();
        assert!(
            took[2] < Duration::from_secs(1) && took[4] < Duration::from_secs(5),
            "the door took {took:?} with {endpoint}"
        );
        rig.until_shown(&tickets, Duration::from_secs(30)).await;
        assert_eq!(
            (rig.issues().len(), rig.messages().len()),
            (5, 5),
            "{endpoint}"
        );
        rig.until("it is said", Duration::from_secs(15), async |rig: &Rig| {
            rig.log().contains("telemetry cannot be exported")
        })
        .await;
        let said = rig.log().matches("telemetry cannot be exported").count();
        assert!(
            (1..=2).contains(&said),
            "once for spans and once for lines, not {said} times"
        );
        rig.assert_wire_laws();
        rig.host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_refuses_for_a_while_is_sent_again_and_told_once() {
    let collector = Collector::start().await;
    for _ in 0..2 {
        collector
            .faults()
            .next_on("POST", "/v1/traces", Fault::status(503));
    }
    collector
        .faults()
        .next_on("POST", "/v1/logs", Fault::status(401));
    let rig = Rig::build(&Backend::Embedded, &settings(&collector)).await;
    let id = report(&rig, "manual__1", Some(GIVEN)).await;
    until_exported(&rig, &collector, &[("AirflowMonitor", 1)].into()).await;
    rig.until_shown(std::slice::from_ref(&id), Duration::from_secs(30))
        .await;
    // There must be something to export for it to succeed.
    report(&rig, "manual__2", Some(GIVEN)).await;
    rig.until(
        "both are well",
        Duration::from_secs(15),
        async |rig: &Rig| rig.log().matches("telemetry is exported again").count() == 2,
    )
    .await;
    assert_eq!(rig.log().matches("telemetry cannot be exported").count(), 2);
    assert!(collector.faults().is_drained());
    assert!(
        !collector
            .records()
            .iter()
            .any(|record| record.body.contains("telemetry")),
        "its own troubles are not told to it"
    );
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_senders_mark_not_recorded_is_respected_unless_all_are_wanted() {
    let unsampled = GIVEN.replace("-01", "-00");
    for (sampler, recorded) in [("parentbased_always_on", false), ("always_on", true)] {
        let collector = Collector::start().await;
        let mut settings = settings(&collector);
        settings.push(("OTEL_TRACES_SAMPLER", sampler.to_owned()));
        let rig = Rig::build(&Backend::Embedded, &settings).await;
        let id = report(&rig, "manual__1", Some(&unsampled)).await;
        let marked = report(&rig, "manual__2", Some(&GIVEN.replace("4bf9", "5bf9"))).await;
        rig.until_shown(&[id, marked], Duration::from_secs(30))
            .await;
        // The second report's last span comes after all of the first's.
        until_exported(&rig, &collector, &[("DeliverTicket", 2)].into()).await;
        for request in deliveries(&rig) {
            let told = traceparent_of(&request).unwrap();
            assert_eq!(
                told.is_sampled(),
                recorded || told.trace_id() != TRACE,
                "{sampler} {}",
                request.path
            );
        }
        rig.host.stop().await;
        assert_eq!(!collector.spans_of(TRACE).is_empty(), recorded, "{sampler}");
        assert!(
            !collector
                .spans_of(&TRACE.replace("4bf9", "5bf9"))
                .is_empty(),
            "{sampler}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_an_error_of_its_span() {
    let collector = Collector::start().await;
    let rig = Rig::build(&Backend::Embedded, &settings(&collector)).await;
    rig.jira
        .faults()
        .next_on("POST", "/rest/api/3/issue", Fault::status(500));
    rig.deliver(
        "azure-monitor",
        &alert("e1", &[row("pl_a", &run(1), "2200", BLOB_MISSING)]),
    )
    .await;
    rig.until(
        "the error has arrived",
        Duration::from_secs(10),
        async |_: &Rig| {
            collector
                .spans()
                .iter()
                .any(|span| span.name == "DeliverTicket" && span.error.is_some())
        },
    )
    .await;
    let spans = collector.spans();
    let failed = spans
        .iter()
        .find(|span| span.name == "DeliverTicket" && span.error.is_some())
        .unwrap();
    assert!(
        failed.error.as_deref().unwrap().contains("JIRA"),
        "{failed:#?}"
    );
    let call = spans
        .iter()
        .find(|span| span.parent == failed.id && span.error.is_some())
        .unwrap();
    assert_eq!(
        (
            call.attributes["http.response.status_code"].as_str(),
            call.attributes["error.type"].as_str()
        ),
        ("500", "500")
    );
    rig.jira.assert_drained();
    rig.host.stop().await;
}
