//! The one HTTP client: rustls with baked-in roots, timeouts on everything, no redirects, capped bodies.
//!
//! A pipe: it imports only [`crate::fault`] and [`crate::trace`]. It does not know any vendor. No redirects, because a
//! redirect could carry a token to a host that is not from our configuration.
//!
//! A call made while something is under way carries its traceparent to every callee, and is a span of its own: who,
//! which host, which method, which status; never a path or a query, which may hold a signature.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::{HeaderMap, HeaderValue};

use crate::fault::Fault;
use crate::trace::{self, Kind, Work};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Below the five seconds after which node servers (Azurite) close idle connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const BODY_CAP: usize = 8 * 1024 * 1024;

/// A client that all rooms share; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    traced: bool,
}

/// A complete answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers as sent.
    pub headers: HeaderMap,
    /// At most 8 MiB of body.
    pub body: Bytes,
}

/// A call without an answer.
#[derive(Debug, Clone)]
pub struct NoReply {
    /// Transient unless the request itself could not be built.
    pub fault: Fault,
    /// May the other side have acted on the request? `false` only when no connection was made.
    pub sent: bool,
}

impl From<NoReply> for Fault {
    fn from(no_reply: NoReply) -> Self {
        no_reply.fault
    }
}

/// The trusted roots: the public ones and those of a PEM text. A fault: that text holds no usable certificate.
pub(crate) fn roots(extra_pem: Option<&[u8]>) -> Result<rustls::RootCertStore, Fault> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for certificate in CertificateDer::pem_slice_iter(extra_pem.unwrap_or_default()) {
        let certificate =
            certificate.map_err(|_| Fault::permanent("extra root certificate is not PEM"))?;
        roots
            .add(certificate)
            .map_err(|_| Fault::permanent("extra root certificate is not usable"))?;
    }
    Ok(roots)
}

impl Http {
    /// Builds the client. `extra_roots_pem`: further trusted roots (a company's proxy, tests).
    pub fn new(extra_roots_pem: Option<&[u8]>) -> Result<Self, Fault> {
        Self::with_timeout(extra_roots_pem, TIMEOUT)
    }

    /// As [`Http::new`], with another total timeout per call.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that builds a client"
    )]
    pub fn with_timeout(extra_roots_pem: Option<&[u8]>, timeout: Duration) -> Result<Self, Fault> {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots(extra_roots_pem)?)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("aiops-rca/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| Fault::permanent("the HTTP client could not be built"))?;
        Ok(Self {
            client,
            traced: true,
        })
    }

    /// The same client for calls that carry no traceparent and are no spans: those to our own store, of which every step
    /// makes several, and those that export the spans.
    #[must_use]
    pub fn untraced(&self) -> Self {
        Self {
            client: self.client.clone(),
            traced: false,
        }
    }

    /// Starts a request; finish it with [`Http::send`].
    pub fn request(&self, method: reqwest::Method, url: &url::Url) -> reqwest::RequestBuilder {
        self.client.request(method, url.clone())
    }

    /// Sends, reads the whole (capped) answer. `what` names the other side in reasons, e.g. "JIRA".
    pub async fn send(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Reply, NoReply> {
        let (client, request) = request.build_split();
        let mut request = request.map_err(|error| no_reply(what, &error))?;
        let call = if self.traced && trace::current().is_some() {
            Some(begin(what, &mut request))
        } else {
            None
        };
        let outcome = exchange(what, &client, request).await;
        if let Some(call) = call {
            end(&call, &outcome);
        }
        outcome
    }
}

/// The call as a piece of work; the request says whose.
fn begin(what: &str, request: &mut reqwest::Request) -> Work {
    let call = Work::begin(Kind::Client, format!("{} {what}", request.method()), None);
    call.note("service.peer.name", what.to_owned());
    call.note("http.request.method", request.method().to_string());
    let url = request.url();
    if let Some(host) = url.host_str() {
        call.note("server.address", host.to_owned());
    }
    if let Some(port) = url.port_or_known_default() {
        call.note("server.port", i64::from(port));
    }
    if let Ok(value) = HeaderValue::try_from(call.traceparent().to_string()) {
        request.headers_mut().insert("traceparent", value);
    }
    call
}

fn end(call: &Work, outcome: &Result<Reply, NoReply>) {
    match outcome {
        Ok(reply) => {
            call.note("http.response.status_code", i64::from(reply.status));
            if reply.status >= 400 {
                call.note("error.type", reply.status.to_string());
                call.fail("");
            }
        }
        Err(silent) => {
            call.note("error.type", "no_reply");
            call.fail(silent.fault.reason().to_owned());
        }
    }
}

async fn exchange(
    what: &str,
    client: &reqwest::Client,
    request: reqwest::Request,
) -> Result<Reply, NoReply> {
    let response = client
        .execute(request)
        .await
        .map_err(|error| no_reply(what, &error))?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let mut body = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| no_reply(what, &error))?;
        if body.len() + chunk.len() > BODY_CAP {
            return Err(NoReply {
                fault: Fault::transient(format!("{what} answered more than 8 MiB")),
                sent: true,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        status,
        headers,
        body: body.freeze(),
    })
}

/// The reason never holds the URL: it may carry a signature.
fn no_reply(what: &str, error: &reqwest::Error) -> NoReply {
    if error.is_builder() {
        return NoReply {
            fault: Fault::permanent(format!("the request to {what} could not be built")),
            sent: false,
        };
    }
    let sent = !error.is_connect();
    let why = if error.is_timeout() {
        "did not answer in time".to_owned()
    } else if error.is_connect() {
        format!("could not be reached{}", unreached(error))
    } else {
        "broke the connection".to_owned()
    };
    NoReply {
        fault: Fault::transient(format!("{what} {why}")),
        sent,
    }
}

/// What kept the connection from being made, and to which host: its name, its port, or its certificate.
fn unreached(error: &reqwest::Error) -> String {
    let url = error.url();
    let Some(host) = url.and_then(reqwest::Url::host_str) else {
        return String::new();
    };
    let port = url.and_then(reqwest::Url::port_or_known_default);
    let at = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut refused = false;
    let mut said = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        refused |= (inner.downcast_ref::<std::io::Error>())
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        said = format!("{said} {inner}").to_lowercase();
        cause = inner.source();
    }
    if said.contains("dns error") || said.contains("failed to lookup") {
        format!(": DNS knows no host {host}")
    } else if said.contains("certificate") {
        format!(": the certificate of {host} is not trusted (EXTRA_CA_FILE names further roots)")
    } else if said.contains("tls") || said.contains("handshake") {
        format!(": {at} does not speak TLS")
    } else if refused {
        format!(": nothing listens at {at}")
    } else {
        format!(": no connection to {at}")
    }
}

impl Reply {
    /// 2xx?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Retry-After in seconds or as an HTTP date, capped at an hour.
    pub fn retry_after(&self, now: chrono::DateTime<chrono::Utc>) -> Option<Duration> {
        let text = self
            .headers
            .get(reqwest::header::RETRY_AFTER)?
            .to_str()
            .ok()?
            .trim();
        let seconds = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => seconds,
            Ok(_) => return None,
            Err(_) => {
                let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
                #[expect(clippy::cast_precision_loss, reason = "a wait in seconds is small")]
                let wait = (at.with_timezone(&chrono::Utc) - now).num_seconds().max(0) as f64;
                wait
            }
        };
        Some(Duration::from_secs_f64(seconds.min(3600.0)))
    }

    /// The fault of an unsuccessful answer, by its status alone.
    pub fn fault(&self, what: &str, now: chrono::DateTime<chrono::Utc>) -> Fault {
        Fault::from_status(what, self.status, self.retry_after(now))
    }

    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::permanent(format!(
                "{what} answered {} with a body we cannot read (line {}, column {})",
                self.status,
                error.line(),
                error.column()
            ))
        })
    }
}
