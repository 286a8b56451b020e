//! Telemetry: log lines, and, where a collector is named, spans and log records over OTLP.
//!
//! A pipe: of ours it imports the HTTP client and faults.
//!
//! **Logs** are one JSON object a line, where the Functions host reads them: level ERROR on stderr, because the host makes
//! those Errors, everything else on stdout, which is Information to the host whatever the line says. A readable
//! message plus dotted fields (`ticket.id`, `sink.name`) and the `trace.id` of the report; never bodies, tokens, keys or
//! e-mail addresses: those are not fields anybody may log.
//!
//! **Traces** are what [`crate::trace`] notes: a span an invocation, a span a call, a few steps in between. **Metrics**
//! are counters in Prometheus text at `/api/metrics`, which a collector scrapes.
//!
//! Export (`export.rs`) is off without an endpoint: then no thread, no queue and no connection exists. With one, batches
//! leave every second from a bounded queue, because on Flex Consumption a process may be frozen or killed between two
//! invocations: what is lost is a second of telemetry, never a failure. A collector that is slow or down costs nobody
//! anything but those batches. What is exported is what is logged, and no more: our own lines under the filter of
//! `LOG_LEVEL`, and attributes noted by name. Other crates' spans and lines are not exported at all.

use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::http::Http;

mod export;
mod settings;

use export::Exporters;
pub use export::check;
pub use settings::{
    EndpointError, HeadersError, OtlpSettings, Sampling, parse_endpoint, parse_headers,
};

/// What was started; [`Telemetry::stop`] it before the process ends by itself.
#[derive(Debug)]
pub struct Telemetry {
    exporters: Option<Exporters>,
}

/// Starts logging, and exporting when `otlp` says where to; needs the runtime.
///
/// `filter`: `info`, or directives such as `info,aiops_rca::flow=debug`; a bad one means `info`.
pub fn start(filter: &str, otlp: Option<&OtlpSettings>, http: &Http) -> Telemetry {
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        // Without its host nobody reads: that must not end what is under way.
        .log_internal_errors(false)
        .with_current_span(true)
        .with_span_list(false)
        .with_timer(ChronoUtc::rfc_3339())
        .with_writer(
            std::io::stderr
                .with_max_level(Level::ERROR)
                .or_else(std::io::stdout),
        )
        .with_filter(filter_of(filter));
    let (exporters, failed) = match otlp.map(|settings| export::start(settings, http)) {
        None => (None, None),
        Some(Ok(exporters)) => (Some(exporters), None),
        Some(Err(fault)) => (None, Some(fault)),
    };
    let records = exporters.as_ref().map(|exporters| {
        // What this room says about its own troubles does not go to who is in trouble.
        let ours = filter_fn(|line| {
            line.target().starts_with("aiops_rca") && !line.target().starts_with(module_path!())
        });
        exporters.bridge().with_filter(filter_of(filter).and(ours))
    });
    if tracing_subscriber::registry()
        .with(lines)
        .with(records)
        .try_init()
        .is_err()
    {
        tracing::debug!("logging was started before");
        return Telemetry { exporters };
    }
    // The usual hook writes more than one line, and says what the text was: that may come from outside.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(panic.at = %at, "a panic");
    }));
    if let Some(fault) = failed {
        tracing::error!(reason = fault.reason(), "telemetry is not exported");
    }
    Telemetry { exporters }
}

fn filter_of(directives: &str) -> EnvFilter {
    // The storage crates print Authorization headers and signed URLs at trace level: they stay silent.
    EnvFilter::try_new(format!("{directives},azure_core=off,azure_storage=off"))
        .unwrap_or_else(|_| EnvFilter::new("info,azure_core=off,azure_storage=off"))
}

impl Telemetry {
    /// Exports what is left, within two seconds.
    pub async fn stop(self) {
        if let Some(exporters) = self.exporters {
            exporters.stop().await;
        }
    }
}
