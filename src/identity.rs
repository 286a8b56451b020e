//! Tokens of the managed identity, cached per resource.
//!
//! A pipe: it imports [`crate::fault`] and [`crate::http`]. In: a resource such as `https://storage.azure.com`.
//! Out: a bearer token that is good for another five minutes at least. It does not know what the tokens are for.
//! The App Service endpoint (`IDENTITY_ENDPOINT`) lives beside the app and answers for the system-assigned
//! identity, or for a user-assigned one when it is named. Callers of one resource wait for one request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::tolerant;

/// A token that expires sooner is renewed.
const MARGIN: TimeDelta = TimeDelta::minutes(5);
/// A token whose expiry we cannot read is renewed after this time.
const UNKNOWN_LIFE: TimeDelta = TimeDelta::minutes(6);
const TRIES: u32 = 3;
/// The endpoint comes up with the instance: the first token of a cold start takes seconds, later ones milliseconds.
const FIRST_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);
const WHAT: &str = "the managed identity endpoint";

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
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    settings: IdentitySettings,
    http: Http,
    /// One slot a resource; holding a slot's lock is the right to ask for its token.
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Token>>>>>,
}

#[derive(Clone)]
struct Token {
    secret: SecretString,
    expires_at: DateTime<Utc>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("client_id", &self.inner.settings.client_id)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Nothing is asked before the first token is needed.
    pub fn new(settings: IdentitySettings, http: Http) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                http,
                slots: Mutex::default(),
            }),
        }
    }

    /// A bearer token for `resource`, e.g. `https://storage.azure.com`; cached until shortly before it expires.
    ///
    /// Transient when the endpoint is down or busy; permanent when it has no such identity.
    pub async fn token(&self, resource: &str) -> Result<SecretString, Fault> {
        let slot = {
            let mut slots = self
                .inner
                .slots
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(resource.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(token) = slot.as_ref()
            && token.expires_at - Utc::now() > MARGIN
        {
            return Ok(token.secret.clone());
        }
        let timeout = if slot.is_some() {
            TIMEOUT
        } else {
            FIRST_TIMEOUT
        };
        match self.request_with_retries(resource, timeout).await {
            Ok(token) => {
                let secret = token.secret.clone();
                *slot = Some(token);
                Ok(secret)
            }
            // The endpoint is down, but the old token still works for a while.
            Err(fault) if fault.is_transient() => match slot.as_ref() {
                Some(token) if token.expires_at > Utc::now() => Ok(token.secret.clone()),
                _ => Err(fault),
            },
            Err(fault) => Err(fault),
        }
    }

    async fn request_with_retries(
        &self,
        resource: &str,
        timeout: Duration,
    ) -> Result<Token, Fault> {
        let mut tries = 1;
        loop {
            match self.request(resource, timeout).await {
                Err(Fault::Transient { retry_after, .. })
                    if tries < TRIES
                        && retry_after.is_none_or(|wait| wait <= Duration::from_secs(2)) =>
                {
                    let pause =
                        retry_after.unwrap_or(Duration::from_millis(200 * u64::from(tries)));
                    tokio::time::sleep(pause).await;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn request(&self, resource: &str, timeout: Duration) -> Result<Token, Fault> {
        let Inner { settings, http, .. } = &*self.inner;
        let mut url = settings.endpoint.clone();
        url.query_pairs_mut()
            .append_pair("api-version", "2019-08-01")
            .append_pair("resource", resource);
        if let Some(client_id) = &settings.client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        let request = http
            .request(reqwest::Method::GET, &url)
            .header("X-IDENTITY-HEADER", settings.header.expose_secret())
            .timeout(timeout);
        let reply = http.send(WHAT, request).await?;
        let now = Utc::now();
        if !reply.is_success() {
            return Err(refusal(&reply, settings.client_id.is_some(), now));
        }
        let answer: Answer = reply.json(WHAT)?;
        let life = answer.expires_in.map_or(UNKNOWN_LIFE, TimeDelta::seconds);
        let expires_at = answer
            .expires_on
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .unwrap_or_else(|| now + life);
        Ok(Token {
            secret: answer.access_token,
            expires_at,
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: SecretString,
    /// Unix seconds, as a string or a number.
    #[serde(default, deserialize_with = "seconds")]
    expires_on: Option<i64>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<i64>,
}

/// A number, a number in a string, or nothing usable.
fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let seconds: Option<i64> = tolerant::field(deserializer)?;
    Ok(seconds.filter(|seconds| (0..=253_402_300_799).contains(seconds)))
}

fn refusal(reply: &Reply, user_assigned: bool, now: DateTime<Utc>) -> Fault {
    match reply.status {
        400 if user_assigned => Fault::permanent(format!(
            "{WHAT} answered 400: check the client id, and that this identity is assigned to the app"
        )),
        400 => Fault::permanent(format!(
            "{WHAT} answered 400: turn on the app's system-assigned identity, or name a client id"
        )),
        _ => reply.fault(WHAT, now),
    }
}
