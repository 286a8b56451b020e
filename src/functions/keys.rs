//! What callers' tokens are checked by: their issuers' published keys, cached, and the rules that every lock has.
//!
//! In: a key's id. Out: the key. Where the keys are comes from configuration only; one fetch at a time, and one a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use warp::http::StatusCode;

use super::wire::Response;
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
    jwk: Jwk,
    /// Bot Framework: for which channels it signs.
    pub(super) endorsements: Vec<String>,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoKey {
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
    async fn key(&self, id: &str, now: DateTime<Utc>) -> Result<Key, NoKey> {
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

    async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, NoKey> {
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

/// Why a token did not open a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is none.
    Missing,
    /// It is not valid.
    Invalid,
    /// It is valid, and not for this.
    Forbidden,
    /// The keys cannot be had right now.
    Unavailable,
}

/// What a lock says to those whom it does not let in.
#[derive(Debug)]
pub struct Words {
    /// When there is no token.
    pub(super) missing: &'static str,
    /// When it is valid, and not for this.
    pub(super) forbidden: &'static str,
}

impl Refused {
    /// 401, 403 or 503.
    pub fn response(self, words: &Words) -> Response {
        let (status, text) = match self {
            Self::Missing => (StatusCode::UNAUTHORIZED, words.missing),
            Self::Invalid => (
                StatusCode::UNAUTHORIZED,
                "the bearer token is not valid here",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, words.forbidden),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the token cannot be checked right now",
            ),
        };
        let response = Response::error(status, "not_allowed", text, "");
        if self == Self::Unavailable {
            return response.with("retry-after", "60");
        }
        response
    }
}

/// Rules that every lock has: who signs, for whom, when.
pub(super) fn rules(audience: &[&str], issuers: &[&str]) -> Validation {
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(audience);
    rules.set_issuer(issuers);
    rules.set_required_spec_claims(&["exp", "aud", "iss"]);
    rules.validate_nbf = true;
    rules
}

/// What the token of an `Authorization` header says, and the key that signed it. Without `keys` none can be checked.
pub(super) async fn claims<C: DeserializeOwned>(
    keys: Option<&Keys>,
    authorization: Option<&str>,
    rules: &Validation,
    now: DateTime<Utc>,
) -> Result<(C, Key), Refused> {
    let token = bearer(authorization).ok_or(Refused::Missing)?;
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Invalid)?;
    let id = header.kid.ok_or(Refused::Invalid)?;
    let keys = keys.ok_or(Refused::Unavailable)?;
    let key = keys.key(&id, now).await.map_err(|none| match none {
        NoKey::Unknown => Refused::Invalid,
        NoKey::Unavailable => Refused::Unavailable,
    })?;
    let decoding = DecodingKey::from_jwk(&key.jwk).map_err(|_| Refused::Unavailable)?;
    let decoded = jsonwebtoken::decode::<C>(token, &decoding, rules);
    let claims = decoded.map_err(|_| Refused::Invalid)?.claims;
    Ok((claims, key))
}

/// The token of an `Authorization` header.
fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.trim().split_once(' ')?;
    // The name of a scheme has no case (RFC 9110, 11.1).
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
