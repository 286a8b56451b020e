//! Logs: one JSON object a line on stdout, where the Functions host reads them; nothing on stderr.
//!
//! A pipe: it imports nothing of ours. A readable message plus dotted fields (`ticket.id`, `sink.name`,
//! `trace.id`); never bodies, tokens, keys or e-mail addresses: those are not fields anybody may log.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;

/// Starts logging. `filter`: `info`, or directives such as `info,aiops_rca::pipeline=debug`; a bad one means `info`.
pub fn start(filter: &str) {
    // The storage crates print Authorization headers and signed URLs at trace level: they stay silent.
    let filter = EnvFilter::try_new(format!("{filter},azure_core=off,azure_storage=off"))
        .unwrap_or_else(|_| EnvFilter::new("info,azure_core=off,azure_storage=off"));
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_timer(ChronoUtc::rfc_3339())
        .with_env_filter(filter)
        .with_writer(std::io::stdout)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started before");
        return;
    }
    // The usual hook writes to stderr, and says what the text was: that may come from outside.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.at = %at, "a panic");
    }));
}

/// What is logged inside it carries the trace id of this traceparent, if there is one.
pub fn span(traceparent: Option<&str>) -> tracing::Span {
    match traceparent.and_then(trace_id) {
        Some(id) => tracing::info_span!("work", trace.id = id),
        None => tracing::Span::none(),
    }
}

/// The trace id (32 hex digits) of a W3C traceparent.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1).filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}
