//! The optional lock of Azure Monitor's *secure webhook*: a validated Entra token of the action group service.
//!
//! Signature (keys of our own tenant), audience, issuer, expiry, the role `ActionGroupsSecureWebhook` and the
//! calling application are checked. The key endpoint's host comes from configuration only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use warp::http::StatusCode;

use super::wire::Response;
use crate::http::Http;

/// The application id of "AzNS AAD Webhook", from the action group documentation.
pub const ACTION_GROUP_APPLICATION: &str = "461e8683-5575-4561-ac7f-899cc907d62a";
/// The role its service principal must have on our application.
pub const ROLE: &str = "ActionGroupsSecureWebhook";

/// What a token must say.
#[derive(Debug, Clone)]
pub struct SecureWebhookSettings {
    /// Our tenant.
    pub tenant: String,
    /// Our application: id, or its `api://` URI.
    pub audience: String,
    /// `https://login.microsoftonline.com/` unless it is another cloud.
    pub authority: Url,
}

/// The lock, with its cached keys.
#[derive(Debug, Clone)]
pub struct SecureWebhook {
    settings: SecureWebhookSettings,
    http: Http,
    keys: Arc<Mutex<Option<Keys>>>,
    /// Held while the keys are fetched; known keys are read without it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone)]
struct Keys {
    fetched: DateTime<Utc>,
    by_id: HashMap<String, Jwk>,
}

/// Why a token did not open the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("a bearer token of the action group service is required")]
    Missing,
    /// It is not valid.
    #[error("the bearer token is not valid here")]
    Invalid,
    /// It is valid and lacks the role or comes from another application.
    #[error("the caller lacks the role ActionGroupsSecureWebhook")]
    Forbidden,
    /// The keys cannot be had right now.
    #[error("the token cannot be checked right now")]
    Unavailable,
}

impl Refused {
    /// 401, 403 or 503.
    pub fn response(self) -> Response {
        let status = match self {
            Self::Missing | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let response = Response::error(status, "not_allowed", &self.to_string(), "");
        if self == Self::Unavailable {
            return response.with("retry-after", "60");
        }
        response
    }
}

#[derive(Deserialize)]
struct Claims {
    tid: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    azp: Option<String>,
    appid: Option<String>,
}

/// Read key by key: in the crate's own set one of a new kind would make all of them unreadable.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl SecureWebhook {
    /// No key is fetched before the first token comes.
    pub fn new(settings: SecureWebhookSettings, http: Http) -> Self {
        Self {
            settings,
            http,
            keys: Arc::default(),
            fetching: Arc::default(),
        }
    }

    /// Checks the `Authorization` header.
    pub async fn check(
        &self,
        authorization: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let token = authorization
            .and_then(|value| value.trim().split_once(' '))
            // The name of a scheme has no case (RFC 9110, 11.1).
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .ok_or(Refused::Missing)?
            .1
            .trim();
        let id = jsonwebtoken::decode_header(token)
            .ok()
            .and_then(|header| header.kid)
            .ok_or(Refused::Invalid)?;
        let key = self.key(&id, now).await?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| Refused::Unavailable)?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&[
            self.settings.audience.as_str(),
            self.settings.audience.trim_start_matches("api://"),
        ]);
        rules.set_issuer(&[
            format!("https://sts.windows.net/{}/", self.settings.tenant),
            format!("{}{}/v2.0", self.settings.authority, self.settings.tenant),
        ]);
        rules.set_required_spec_claims(&["exp", "aud", "iss"]);
        rules.validate_nbf = true;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &rules)
            .map_err(|_| Refused::Invalid)?
            .claims;
        let caller = claims.azp.or(claims.appid);
        let role = claims.roles.iter().any(|role| role == ROLE);
        let tenant = claims
            .tid
            .is_some_and(|tenant| tenant.eq_ignore_ascii_case(&self.settings.tenant));
        if role
            && tenant
            && caller.is_some_and(|caller| caller.eq_ignore_ascii_case(ACTION_GROUP_APPLICATION))
        {
            Ok(())
        } else {
            Err(Refused::Forbidden)
        }
    }

    /// A key by its id; an unknown id fetches the set again, one fetch at a time and one a minute.
    ///
    /// Within that minute nothing can be said of an unknown id: it may be a new key of the tenant.
    async fn key(&self, id: &str, now: DateTime<Utc>) -> Result<Jwk, Refused> {
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
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        *keys = Some(Keys {
            fetched: now,
            by_id,
        });
        key.ok_or(Refused::Invalid)
    }

    /// What the last fetch says about this id; `None` when the set has to be fetched.
    fn known(&self, id: &str, now: DateTime<Utc>) -> Option<Result<Jwk, Refused>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.as_ref()?;
        let age = (now - known.fetched).abs();
        match known.by_id.get(id) {
            Some(key) if age < Duration::days(1) => Some(Ok(key.clone())),
            _ if age < Duration::minutes(1) => Some(Err(Refused::Unavailable)),
            _ => None,
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, Jwk>, Refused> {
        let url = self
            .settings
            .authority
            .join(&format!("{}/discovery/v2.0/keys", self.settings.tenant))
            .map_err(|_| Refused::Unavailable)?;
        let reply = self
            .http
            .send("Entra", self.http.request(reqwest::Method::GET, &url))
            .await
            .map_err(|_| Refused::Unavailable)?;
        // An error's body may be JSON as well, even one with keys.
        if !reply.is_success() {
            tracing::warn!(
                status = reply.status,
                "the tenant's signing keys cannot be read"
            );
            return Err(Refused::Unavailable);
        }
        let set: KeySet = reply.json("Entra").map_err(|_| Refused::Unavailable)?;
        Ok(set
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter_map(|key| Some((key.common.key_id.clone()?, key)))
            .collect())
    }
}
