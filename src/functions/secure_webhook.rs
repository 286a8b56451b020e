//! The optional lock of Azure Monitor's *secure webhook*: a validated Entra token of the action group service.
//!
//! Signature (keys of our own tenant), audience, issuer, expiry, the role `ActionGroupsSecureWebhook` and the
//! calling application are checked. The key endpoint's host comes from configuration only.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tokio::sync::Mutex;
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
}

#[derive(Debug, Clone)]
struct Keys {
    fetched: DateTime<Utc>,
    by_id: HashMap<String, (String, String)>,
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
        Response::error(status, "not_allowed", &self.to_string(), "")
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

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(default)]
    kid: String,
    n: Option<String>,
    e: Option<String>,
}

impl SecureWebhook {
    /// No key is fetched before the first token comes.
    pub fn new(settings: SecureWebhookSettings, http: Http) -> Self {
        Self {
            settings,
            http,
            keys: Arc::default(),
        }
    }

    /// Checks the `Authorization` header.
    pub async fn check(
        &self,
        authorization: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let token = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Refused::Missing)?
            .trim();
        let id = jsonwebtoken::decode_header(token)
            .ok()
            .and_then(|header| header.kid)
            .ok_or(Refused::Invalid)?;
        let (n, e) = self.key(&id, now).await?;
        let key = DecodingKey::from_rsa_components(&n, &e).map_err(|_| Refused::Unavailable)?;
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

    /// A key by its id; unknown ids fetch the set again, at most once a minute.
    async fn key(&self, id: &str, now: DateTime<Utc>) -> Result<(String, String), Refused> {
        let mut keys = self.keys.lock().await;
        if let Some(known) = keys.as_ref() {
            let age = now - known.fetched;
            if let Some(key) = known.by_id.get(id).filter(|_| age < Duration::days(1)) {
                return Ok(key.clone());
            }
            if age < Duration::minutes(1) {
                return Err(Refused::Invalid);
            }
        }
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
        let set: KeySet = reply.json("Entra").map_err(|_| Refused::Unavailable)?;
        let by_id: HashMap<_, _> = set
            .keys
            .into_iter()
            .filter_map(|key| Some((key.kid, (key.n?, key.e?))))
            .collect();
        let key = by_id.get(id).cloned();
        *keys = Some(Keys {
            fetched: now,
            by_id,
        });
        key.ok_or(Refused::Invalid)
    }
}
