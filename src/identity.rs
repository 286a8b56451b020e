//! Tokens of the managed identity, cached per resource.
//!
//! A pipe: it imports [`crate::fault`] and [`crate::http`]. It does not know what the tokens are for.

use std::sync::Arc;

use secrecy::SecretString;

use crate::fault::Fault;
use crate::http::Http;

/// Where the App Service identity endpoint is, and which identity to use.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// `IDENTITY_ENDPOINT`.
    pub endpoint: url::Url,
    /// `IDENTITY_HEADER`.
    pub header: SecretString,
    /// Client id of a user-assigned identity; the system-assigned one when absent.
    pub client_id: Option<String>,
}

/// The managed identity; cloning shares the cache.
#[derive(Debug, Clone)]
pub struct Identity {
    _inner: Arc<(IdentitySettings, Http)>,
}

impl Identity {
    /// Nothing is asked before the first token is needed.
    pub fn new(settings: IdentitySettings, http: Http) -> Self {
        Self { _inner: Arc::new((settings, http)) }
    }

    /// A bearer token for `resource`, e.g. `https://storage.azure.com`; cached until shortly before it expires.
    #[expect(clippy::unused_async, reason = "being built")]
    pub async fn token(&self, _resource: &str) -> Result<SecretString, Fault> {
        Err(Fault::permanent("not built yet"))
    }
}
