//! Calls that a simulator makes itself: webhooks, clicks, the requests of a playbook. Plain HTTP to this machine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::HeaderMap;

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_CAP: usize = 8 * 1024 * 1024;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("the simulator's HTTP client could not be built")]
pub(crate) struct NoClient;

/// A complete answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// At most 8 MiB.
    pub(crate) body: Bytes,
}

/// A client without redirects and proxies. It trusts no certificate: simulators call plain HTTP on this machine only.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place of the simulators that builds a client"
)]
pub(crate) fn client() -> Result<reqwest::Client, NoClient> {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|_| NoClient)
}

/// Sends and reads the whole answer; the error says why there is none.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> Result<Reply, &'static str> {
    let response = request.send().await.map_err(|error| why(&error))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| why(&error))?;
        if body.len() + chunk.len() > BODY_CAP {
            return Err("the host answered more than 8 MiB");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply {
        status,
        headers,
        body: body.freeze(),
    })
}

fn why(error: &reqwest::Error) -> &'static str {
    if error.is_builder() {
        "the request to the host could not be built"
    } else if error.is_timeout() {
        "the host did not answer in time"
    } else if error.is_connect() {
        "the host could not be reached"
    } else {
        "the host broke the connection"
    }
}
