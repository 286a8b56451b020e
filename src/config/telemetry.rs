//! Where telemetry goes besides the log.

use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;

use super::reader::Reader;
use crate::telemetry::{self, OtlpSettings, Sampling};

/// What is wrong with it is reported, and nothing is exported: a collector must never cost a failure.
pub(super) fn otlp(r: &mut Reader<'_>) -> Option<OtlpSettings> {
    let given = r.secret("OTEL_EXPORTER_OTLP_HEADERS");
    let wanted = r.has("OTEL_EXPORTER_OTLP_HEADERS");
    let headers = match given
        .as_ref()
        .map(|text| telemetry::parse_headers(text.expose_secret()))
    {
        None => Some(HeaderMap::new()),
        Some(Ok(headers)) => Some(headers),
        Some(Err(error)) => {
            r.problem("OTEL_EXPORTER_OTLP_HEADERS", error.to_string());
            None
        }
    };
    let name = r.text("OTEL_TRACES_SAMPLER").unwrap_or_default();
    let sampling = Sampling::from_name(&name);
    if sampling.is_none() {
        r.problem(
            "OTEL_TRACES_SAMPLER",
            "must be parentbased_always_on or always_on",
        );
    }
    let endpoint = if wanted {
        r.required(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_HEADERS is set",
        )?
    } else {
        r.text("OTEL_EXPORTER_OTLP_ENDPOINT")?
    };
    let endpoint = match telemetry::parse_endpoint(&endpoint, wanted) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            r.problem("OTEL_EXPORTER_OTLP_ENDPOINT", error.to_string());
            return None;
        }
    };
    // Without the headers that were wanted the collector would only refuse.
    let headers = headers.filter(|_| given.is_some() == wanted)?;
    let service_name = r.text("OTEL_SERVICE_NAME").unwrap_or_default();
    Some(OtlpSettings {
        endpoint,
        headers,
        service_name,
        sampling: sampling.unwrap_or(Sampling::AsTheSender),
    })
}
