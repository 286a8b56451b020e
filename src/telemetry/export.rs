//! Export over OTLP/HTTP (protobuf), through our own HTTP client.
//!
//! The crates would find endpoint and headers in the environment themselves; here they get neither. They hand over a body,
//! and [`Collector`] knows where it goes and with which headers. Their batches are sent from threads of their own, which
//! have no runtime: the call is made on ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::logs::LogRecord as _;
use opentelemetry::{InstrumentationScope, global};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    LogExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchLogProcessor, LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider,
};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracerProvider, SpanLimits};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use url::Url;

use super::settings::{OtlpSettings, Sampling};
use crate::fault::Fault;
use crate::http::{Http, Reply};

/// The process may be frozen right after an invocation: batches do not wait for more.
const EVERY: Duration = Duration::from_secs(1);
/// How many spans or lines may wait; further ones are dropped, nobody waits for a place.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// One try, and all tries of one batch.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What the end of the process may wait.
const FAREWELL: Duration = Duration::from_secs(1);
const WHAT: &str = "the collector";

/// The collector behind one of its paths.
#[derive(Debug)]
struct Collector {
    http: Http,
    runtime: Handle,
    url: Url,
    headers: HeaderMap,
    /// `traces` or `logs`.
    signal: &'static str,
    /// Its silence was logged; so is its return.
    silent: AtomicBool,
}

fn under(base: &Url, signal: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!(
        "{}/v1/{signal}",
        base.path().trim_end_matches('/')
    ));
    url
}

async fn post(http: &Http, url: &Url, headers: &HeaderMap, body: Bytes) -> Result<Reply, Fault> {
    let mut headers = headers.clone();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    let request = http
        .request(reqwest::Method::POST, url)
        .headers(headers)
        .timeout(TIMEOUT)
        .body(body);
    Ok(http.send(WHAT, request).await?)
}

impl Collector {
    fn new(settings: &OtlpSettings, http: &Http, signal: &'static str) -> Self {
        Self {
            http: http.untraced(),
            runtime: Handle::current(),
            url: under(&settings.endpoint, signal),
            headers: settings.headers.clone(),
            signal,
            silent: AtomicBool::new(false),
        }
    }

    /// Trouble is said once, not with every batch; so is its end.
    fn note(&self, trouble: Option<&str>) {
        match (
            trouble,
            self.silent.swap(trouble.is_some(), Ordering::Relaxed),
        ) {
            (Some(reason), false) => {
                tracing::warn!(
                    otlp.signal = self.signal,
                    reason,
                    "telemetry cannot be exported; what does not fit the queue is lost"
                );
            }
            (None, true) => {
                tracing::info!(otlp.signal = self.signal, "telemetry is exported again");
            }
            _ => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (http, url, headers) = (self.http.clone(), self.url.clone(), self.headers.clone());
        let sent = self
            .runtime
            .spawn(async move { post(&http, &url, &headers, request.into_body()).await })
            .await?;
        match &sent {
            Ok(reply) if reply.is_success() => self.note(None),
            Ok(reply) => self.note(Some(&format!("{WHAT} answered {}", reply.status))),
            Err(fault) => self.note(Some(fault.reason())),
        }
        let Reply {
            status,
            headers,
            body,
        } = sent?;
        let mut response = Response::new(body);
        *response.status_mut() = warp::http::StatusCode::from_u16(status)?;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// What exports.
#[derive(Debug)]
pub(super) struct Exporters {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

/// Starts exporting: from now on [`crate::trace`] makes spans.
pub(super) fn start(settings: &OtlpSettings, http: &Http) -> Result<Exporters, Fault> {
    let unusable =
        |error: opentelemetry_otlp::ExporterBuildError| Fault::permanent(error.to_string());
    let collector = |signal| Arc::new(Collector::new(settings, http, signal));
    let (traces, logs) = (collector("traces"), collector("logs"));
    let spans = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(traces.url.as_str())
        .with_timeout(TIMEOUT)
        .with_shared_http_client(traces)
        .build()
        .map_err(unusable)?;
    let lines = LogExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(logs.url.as_str())
        .with_timeout(TIMEOUT)
        .with_shared_http_client(logs)
        .build()
        .map_err(unusable)?;
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(settings.service_name.clone())
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .build();
    let batches = opentelemetry_sdk::trace::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EVERY)
        .build();
    let sampler = match settings.sampling {
        Sampling::AsTheSender => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
        Sampling::All => Sampler::AlwaysOn,
    };
    let traces = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_span_limits(SpanLimits::default())
        .with_resource(resource.clone())
        .with_span_processor(BatchSpanProcessor::new(spans, batches))
        .build();
    let batches = opentelemetry_sdk::logs::BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EVERY)
        .build();
    let lines = BatchLogProcessor::builder(lines)
        .with_batch_config(batches)
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(Nameless)
        .with_log_processor(lines)
        .build();
    global::set_tracer_provider(traces.clone());
    Ok(Exporters { traces, logs })
}

/// Takes the names off log records.
///
/// A record with a name is an *event*: backends file it under that name. The bridge fills in where the line stands in our
/// source, which is no name, and changes with every version.
#[derive(Debug)]
struct Nameless;

impl LogProcessor for Nameless {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        // What is empty is not sent.
        record.set_event_name("");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Exporters {
    /// The layer that makes log records of log lines.
    pub(super) fn bridge(&self) -> OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger> {
        OpenTelemetryTracingBridge::new(&self.logs)
    }

    /// Sends what waits. It blocks, and the calls need the runtime's own threads: so not on them.
    pub(super) async fn stop(self) {
        let stopped = tokio::task::spawn_blocking(move || {
            [
                self.traces.shutdown_with_timeout(FAREWELL),
                self.logs.shutdown_with_timeout(FAREWELL),
            ]
        });
        if !matches!(stopped.await, Ok([Ok(()), Ok(())])) {
            tracing::debug!("the last telemetry could not be exported");
        }
    }
}

/// One empty export: does the collector take our traces?
pub async fn check(settings: &OtlpSettings, http: &Http) -> Result<String, Fault> {
    // No bytes are the protobuf of a request without spans.
    let reply = post(
        http,
        &under(&settings.endpoint, "traces"),
        &settings.headers,
        Bytes::new(),
    )
    .await?;
    let host = settings.endpoint.host_str().unwrap_or_default();
    if reply.is_success() {
        Ok(format!("{host} takes traces"))
    } else {
        Err(reply.fault(WHAT, chrono::Utc::now()))
    }
}
