//! The published keys by which callers' tokens are checked, cached.
//!
//! In: a key's id. Out: the key. Where the keys are comes from configuration only; one fetch at a time, and one a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::http::Http;

/// Where a set of keys is.
#[derive(Debug, Clone)]
pub(super) enum Published {
    /// Here.
    At(Url),
    /// Where this OpenID document says, on the same host.
    By(Url),
}

/// A published key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) jwk: Jwk,
    /// Bot Framework: for which channels it signs.
    pub(super) endorsements: Vec<String>,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// There is none of that id.
    Unknown,
    /// The keys cannot be had right now.
    Unavailable,
}

/// The keys of one issuer; cloning shares the cache.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    what: &'static str,
    published: Published,
    http: Http,
    known: Arc<Mutex<Option<Known>>>,
    /// Held while the keys are fetched; known keys are read without it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone)]
struct Known {
    fetched: DateTime<Utc>,
    by_id: HashMap<String, Key>,
}

/// Read key by key: in the crate's own set one of a new kind would make all of them unreadable.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Document {
    jwks_uri: Url,
}

impl Keys {
    /// No key is fetched before the first token comes. `what` names the issuer in logs.
    pub(super) fn new(what: &'static str, published: Published, http: Http) -> Self {
        Self {
            what,
            published,
            http,
            known: Arc::default(),
            fetching: Arc::default(),
        }
    }

    /// A key by its id; an unknown id fetches the set again, one fetch at a time and one a minute.
    ///
    /// Within that minute nothing can be said of an unknown id: it may be a new key.
    pub(super) async fn key(&self, id: &str, now: DateTime<Utc>) -> Result<Key, NoKey> {
        if let Some(answer) = self.known(id, now) {
            return answer;
        }
        let _one_at_a_time = self.fetching.lock().await;
        // Another request may have fetched them meanwhile.
        if let Some(answer) = self.known(id, now) {
            return answer;
        }
        let by_id = self.fetch().await?;
        let key = by_id.get(id).cloned();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Known {
            fetched: now,
            by_id,
        });
        key.ok_or(NoKey::Unknown)
    }

    /// What the last fetch says about this id; `None` when the set has to be fetched.
    fn known(&self, id: &str, now: DateTime<Utc>) -> Option<Result<Key, NoKey>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref()?;
        let age = (now - known.fetched).abs();
        match known.by_id.get(id) {
            Some(key) if age < Duration::days(1) => Some(Ok(key.clone())),
            _ if age < Duration::minutes(1) => Some(Err(NoKey::Unavailable)),
            _ => None,
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, Key>, NoKey> {
        let set: KeySet = match &self.published {
            Published::At(url) => self.get(url).await?,
            Published::By(document) => {
                let found: Document = self.get(document).await?;
                if found.jwks_uri.origin() != document.origin() {
                    tracing::warn!(
                        issuer = self.what,
                        "the signing keys are said to be on another host"
                    );
                    return Err(NoKey::Unavailable);
                }
                self.get(&found.jwks_uri).await?
            }
        };
        Ok((set.keys.into_iter())
            .filter_map(|key| {
                let endorsements = key.get("endorsements").and_then(Value::as_array);
                let endorsements = endorsements.into_iter().flatten();
                let endorsements = endorsements.filter_map(|name| name.as_str().map(str::to_owned));
                let endorsements = endorsements.collect();
                let jwk = serde_json::from_value::<Jwk>(key).ok()?;
                let id = jwk.common.key_id.clone()?;
                Some((id, Key { jwk, endorsements }))
            })
            .collect())
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: &Url) -> Result<T, NoKey> {
        let request = self.http.request(reqwest::Method::GET, url);
        let reply = self.http.send(self.what, request).await;
        let reply = reply.map_err(|_| NoKey::Unavailable)?;
        // An error's body may be JSON as well, even one with keys.
        if !reply.is_success() {
            tracing::warn!(
                issuer = self.what,
                status = reply.status,
                "the signing keys cannot be read"
            );
            return Err(NoKey::Unavailable);
        }
        reply.json(self.what).map_err(|_| NoKey::Unavailable)
    }
}

/// The token of an `Authorization` header.
pub(super) fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.trim().split_once(' ')?;
    // The name of a scheme has no case (RFC 9110, 11.1).
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
