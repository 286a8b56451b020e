//! How the storage crates reach the network: through our one HTTP client, with a timeout on every try.

use std::collections::HashMap;
use std::error::Error as _;
use std::time::Duration;

use azure_core::auth::{AccessToken, Secret, TokenCredential};
use azure_core::error::{Error, ErrorKind};
use azure_core::headers::{HeaderName, HeaderValue, Headers};
use azure_core::{Body, BytesStream, Request, Response, StatusCode};
use chrono::Utc;
use secrecy::ExposeSecret as _;

use crate::fault::Fault;
use crate::http::Http;
use crate::identity::Identity;

/// One try.
pub(super) const TRY_TIMEOUT: Duration = Duration::from_secs(4);
/// What tokens of the managed identity are for.
pub(super) const RESOURCE: &str = "https://storage.azure.com";

/// Sends one request. It does not try again: the callers do, because they know what a repeated write means.
/// Statuses worth another try, and calls without an answer, become errors that carry a [`Fault`].
#[derive(Debug, Clone)]
pub(super) struct Transport {
    pub(super) http: Http,
    /// `Table Storage` or `Queue Storage`.
    pub(super) what: &'static str,
}

#[async_trait::async_trait]
impl azure_core::HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<Response> {
        // By name: `MERGE` is not among the usual methods.
        let method = reqwest::Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|_| unreadable("method"))?;
        let Body::Bytes(body) = request.body() else {
            return Err(unreadable("streamed body"));
        };
        let mut outgoing = self
            .http
            .request(method, request.url())
            .timeout(TRY_TIMEOUT)
            .body(body.clone());
        for (name, value) in request.headers().iter() {
            outgoing = outgoing.header(name.as_str(), value.as_str());
        }
        let reply = self
            .http
            .send(self.what, outgoing)
            .await
            .map_err(|no_reply| carry(no_reply.fault))?;
        if !reply.is_success() {
            let fault = reply.fault(self.what, Utc::now());
            if fault.is_transient() {
                return Err(carry(fault));
            }
        }
        let status = StatusCode::try_from(reply.status).map_err(|_| unreadable("status"))?;
        let headers: HashMap<_, _> = reply
            .headers
            .iter()
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::from(name.as_str().to_owned()),
                    HeaderValue::from(value.to_str().ok()?.to_owned()),
                ))
            })
            .collect();
        Ok(Response::new(
            status,
            Headers::from(headers),
            Box::pin(BytesStream::new(reply.body)),
        ))
    }
}

fn carry(fault: Fault) -> Error {
    Error::new(ErrorKind::Io, fault)
}

fn unreadable(what: &'static str) -> Error {
    Error::message(ErrorKind::DataConversion, what)
}

/// The fault that a [`Transport`] (or a [`Credential`]) put into an error, however deep it was wrapped.
pub(super) fn carried(error: &Error) -> Option<&Fault> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<Fault>() {
            return Some(fault);
        }
        source = error.source();
    }
    None
}

/// The managed identity as the storage crates want it. The cache is in [`Identity`].
#[derive(Debug)]
pub(super) struct Credential(pub(super) Identity);

#[async_trait::async_trait]
impl TokenCredential for Credential {
    async fn get_token(&self, _scopes: &[&str]) -> azure_core::Result<AccessToken> {
        let token = self
            .0
            .token(RESOURCE)
            .await
            .map_err(|fault| Error::new(ErrorKind::Credential, fault))?;
        let soon = time::OffsetDateTime::now_utc() + Duration::from_mins(1);
        Ok(AccessToken::new(
            Secret::new(token.expose_secret().to_owned()),
            soon,
        ))
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        Ok(())
    }
}
