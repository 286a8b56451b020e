//! An OpenTelemetry collector that keeps what it is sent: spans and log records, by OTLP over HTTP in protobuf.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use prost::Message as _;
use simulators::{Answer, FaultScript, Request, Server, Site, serve};

/// One span, its ids in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the first of a trace.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
    /// Nanoseconds since 1970.
    pub(crate) time: (u64, u64),
}

/// One log record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) body: String,
    pub(crate) event_name: String,
    pub(crate) trace: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Kept {
    spans: Mutex<Vec<Span>>,
    records: Mutex<Vec<Record>>,
}

/// A running collector.
#[derive(Debug)]
pub(crate) struct Collector {
    server: Server,
    kept: Arc<Kept>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let kept = Arc::new(Kept::default());
        let server = serve(0, Arc::clone(&kept))
            .await
            .expect("a port for the collector");
        Self { server, kept }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        self.server.url()
    }

    pub(crate) fn faults(&self) -> &FaultScript {
        &self.server.faults
    }

    /// Everything it was sent, as it came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept
            .spans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn spans_of(&self, trace: &str) -> Vec<Span> {
        self.spans()
            .into_iter()
            .filter(|span| span.trace == trace)
            .collect()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.kept
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Site for Kept {
    fn answer(&self, request: &Request) -> Answer {
        if request.header("content-type") != Some("application/x-protobuf") {
            return Answer::empty(415);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/traces") => match ExportTraceServiceRequest::decode(request.body.clone())
            {
                Ok(batch) => self
                    .spans
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(spans(batch)),
                Err(_) => return Answer::empty(400),
            },
            ("POST", "/v1/logs") => match ExportLogsServiceRequest::decode(request.body.clone()) {
                Ok(batch) => self
                    .records
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(records(batch)),
                Err(_) => return Answer::empty(400),
            },
            _ => return Answer::empty(404),
        }
        // No bytes are the protobuf of "all was taken".
        Answer {
            status: 200,
            headers: vec![(
                "content-type".to_owned(),
                "application/x-protobuf".to_owned(),
            )],
            body: [].as_slice().into(),
        }
    }
}

fn spans(batch: ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for of_resource in batch.resource_spans {
        let resource = texts(of_resource.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in of_resource
            .scope_spans
            .into_iter()
            .flat_map(|of_scope| of_scope.spans)
        {
            let kind = span.kind();
            let status = span.status.unwrap_or_default();
            all.push(Span {
                service: service.clone(),
                name: span.name,
                kind,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                attributes: texts(span.attributes),
                error: (status.code() == StatusCode::Error).then_some(status.message),
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
            });
        }
    }
    all
}

fn records(batch: ExportLogsServiceRequest) -> Vec<Record> {
    let scopes = batch
        .resource_logs
        .into_iter()
        .flat_map(|of_resource| of_resource.scope_logs);
    let record = |record: opentelemetry_proto::tonic::logs::v1::LogRecord| Record {
        body: record.body.map(text).unwrap_or_default(),
        event_name: record.event_name,
        trace: hex::encode(record.trace_id),
        attributes: texts(record.attributes),
    };
    scopes
        .flat_map(|of_scope| of_scope.log_records)
        .map(record)
        .collect()
}

/// The protocol wants each attribute once; a second one is kept under a name that no test expects.
fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for pair in attributes {
        let name = if texts.contains_key(&pair.key) {
            format!("{} twice", pair.key)
        } else {
            pair.key
        };
        texts.insert(name, pair.value.map(text).unwrap_or_default());
    }
    texts
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
