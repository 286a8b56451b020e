//! Where telemetry goes, and who may.

use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

/// A collector that takes OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the base; `v1/traces` and `v1/logs` are added to its path.
    pub endpoint: Url,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: sent with every batch. Secrets, marked as such: they are not printed.
    pub headers: HeaderMap,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampling: Sampling,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Those whose sender records them, and those that begin here.
    AsTheSender,
    /// All. The Functions host may mark what it passes on as not recorded, as long as it exports no traces itself.
    All,
}

impl Sampling {
    /// By the name that the OpenTelemetry specification gives it, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "parentbased_always_on" => Some(Self::AsTheSender),
            "always_on" => Some(Self::All),
            _ => None,
        }
    }
}

/// Why a text is no usable endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with a host.
    #[error("is not a URL")]
    NotAUrl,
    /// Plain HTTP through a network that others use as well.
    #[error("must begin with https:// (http:// only for this machine and private networks)")]
    NotHttps,
    /// The headers are secrets.
    #[error(
        "must begin with https:// when OTEL_EXPORTER_OTLP_HEADERS is set (http:// only for this machine)"
    )]
    NotSecret,
    /// Credentials belong into the headers, and a query would not survive what is added to the path.
    #[error("must hold neither a user nor a query")]
    NotBare,
}

/// Reads the endpoint's base.
///
/// Spans and log lines hold nothing secret, so a collector beside the app (loopback, a private address, a name that
/// resolves in a private network only) may be reached over plain HTTP. Headers are secrets: with them only this machine may.
pub fn parse_endpoint(text: &str, with_headers: bool) -> Result<Url, EndpointError> {
    let url = Url::parse(text.trim()).map_err(|_| EndpointError::NotAUrl)?;
    let (Some(host), "https" | "http") = (url.host(), url.scheme()) else {
        return Err(EndpointError::NotAUrl);
    };
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(EndpointError::NotBare);
    }
    match (url.scheme(), reach(&host)) {
        ("https", _) | (_, Reach::ThisMachine) => Ok(url),
        (_, Reach::Private) if with_headers => Err(EndpointError::NotSecret),
        (_, Reach::Private) => Ok(url),
        (_, Reach::Anybody) => Err(EndpointError::NotHttps),
    }
}

/// Who is between us and a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    ThisMachine,
    Private,
    Anybody,
}

fn reach(host: &Host<&str>) -> Reach {
    let of_v4 = |ip: Ipv4Addr| match ip {
        ip if ip.is_loopback() => Reach::ThisMachine,
        ip if ip.is_private() => Reach::Private,
        _ => Reach::Anybody,
    };
    let of_v6 = |ip: Ipv6Addr| match ip {
        ip if ip.is_loopback() => Reach::ThisMachine,
        ip if ip.is_unique_local() => Reach::Private,
        _ => Reach::Anybody,
    };
    match host {
        Host::Ipv4(ip) => of_v4(*ip),
        Host::Ipv6(ip) => ip.to_ipv4_mapped().map_or_else(|| of_v6(*ip), of_v4),
        Host::Domain("localhost") => Reach::ThisMachine,
        // Names that no public resolver answers: of one label, and of the domains that are set aside for private use.
        Host::Domain(name) => match name.rsplit_once('.') {
            None | Some((_, "internal" | "local")) => Reach::Private,
            Some(_) => Reach::Anybody,
        },
    }
}

/// Which pair of the headers cannot be read, counted from one; never what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be key=value pairs separated by commas, values percent-encoded; pair {0} is not")]
pub struct HeadersError(pub usize);

/// Reads `key=value,key2=value2` as the OpenTelemetry specification has it: blanks around keys and values do not count,
/// values are percent-decoded.
pub fn parse_headers(text: &str) -> Result<HeaderMap, HeadersError> {
    let mut headers = HeaderMap::new();
    for (number, pair) in (1..)
        .zip(text.split(','))
        .filter(|(_, pair)| !pair.trim().is_empty())
    {
        let (name, value) = pair.split_once('=').ok_or(HeadersError(number))?;
        let name: HeaderName = name.trim().parse().map_err(|_| HeadersError(number))?;
        let value = percent_decode_str(value.trim())
            .decode_utf8()
            .map_err(|_| HeadersError(number))?;
        let mut value = HeaderValue::try_from(value.as_ref()).map_err(|_| HeadersError(number))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_private_networks_and_without_secrets() {
        for (text, without, with) in [
            ("https://otlp.example.com", None, None),
            ("https://otlp.example.com/otlp/", None, None),
            ("http://localhost:4318", None, None),
            ("http://127.0.0.1:4318", None, None),
            ("http://[::1]:4318/", None, None),
            (
                "http://otel-collector:4318",
                None,
                Some(EndpointError::NotSecret),
            ),
            (
                "http://collector.internal:4318",
                None,
                Some(EndpointError::NotSecret),
            ),
            (
                "http://collector.monitoring.svc.cluster.local",
                None,
                Some(EndpointError::NotSecret),
            ),
            ("http://10.0.0.4:4318", None, Some(EndpointError::NotSecret)),
            ("http://192.168.1.2", None, Some(EndpointError::NotSecret)),
            (
                "http://[fd00::4]:4318",
                None,
                Some(EndpointError::NotSecret),
            ),
            (
                "http://[::ffff:10.0.0.4]:4318",
                None,
                Some(EndpointError::NotSecret),
            ),
            (
                "http://otlp.example.com",
                Some(EndpointError::NotHttps),
                Some(EndpointError::NotHttps),
            ),
            (
                "http://local.example.com",
                Some(EndpointError::NotHttps),
                Some(EndpointError::NotHttps),
            ),
            (
                "http://20.1.2.3:4318",
                Some(EndpointError::NotHttps),
                Some(EndpointError::NotHttps),
            ),
            (
                "http://[2001:db8::4]",
                Some(EndpointError::NotHttps),
                Some(EndpointError::NotHttps),
            ),
            (
                "otlp.example.com:4318",
                Some(EndpointError::NotAUrl),
                Some(EndpointError::NotAUrl),
            ),
            (
                "grpc://localhost:4317",
                Some(EndpointError::NotAUrl),
                Some(EndpointError::NotAUrl),
            ),
            (
                "nonsense",
                Some(EndpointError::NotAUrl),
                Some(EndpointError::NotAUrl),
            ),
            (
                "https://me:secret@otlp.example.com",
                Some(EndpointError::NotBare),
                Some(EndpointError::NotBare),
            ),
            (
                "https://otlp.example.com/?key=secret",
                Some(EndpointError::NotBare),
                Some(EndpointError::NotBare),
            ),
        ] {
            assert_eq!(parse_endpoint(text, false).err(), without, "{text}");
            assert_eq!(
                parse_endpoint(text, true).err(),
                with,
                "{text} with headers"
            );
        }
    }

    #[test]
    fn headers_are_read_as_the_specification_has_them() {
        let read = |text: &str| {
            let headers = parse_headers(text)?;
            Ok(headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect::<Vec<_>>())
        };
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(
            read("Api-Key = abc , X-Scope=team%20a,"),
            Ok(vec![
                "api-key: abc".to_owned(),
                "x-scope: team a".to_owned()
            ])
        );
        assert_eq!(
            read("authorization=Basic dXNlcjpwYXNz=="),
            Ok(vec!["authorization: Basic dXNlcjpwYXNz==".to_owned()])
        );
        assert_eq!(read("a=1%2C2"), Ok(vec!["a: 1,2".to_owned()]));
        for (bad, pair) in [
            ("secret", 1),
            ("a=1,b", 2),
            ("a b=1", 1),
            ("a=1,,=2", 3),
            ("a=%ff", 1),
            ("a=1%0Ab=2", 1),
        ] {
            assert_eq!(read(bad), Err(HeadersError(pair)), "{bad}");
        }
        let shown = format!("{:?}", parse_headers("api-key=abc").unwrap());
        assert!(!shown.contains("abc"), "{shown}");
    }
}
