//! The optional lock of Azure Monitor's *secure webhook*: a validated Entra token of the action group service.
//!
//! Signature (keys of our own tenant), audience, issuer, expiry, the role `ActionGroupsSecureWebhook` and the
//! calling application are checked. The key endpoint's host comes from configuration only.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use url::Url;
use warp::http::StatusCode;

use super::keys::{Keys, NoKey, Published, bearer};
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
    /// `None`: their address cannot be made of the settings.
    keys: Option<Keys>,
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

impl SecureWebhook {
    /// No key is fetched before the first token comes.
    pub fn new(settings: SecureWebhookSettings, http: Http) -> Self {
        let path = format!("{}/discovery/v2.0/keys", settings.tenant);
        let url = settings.authority.join(&path).ok();
        let keys = url.map(|url| Keys::new("Entra", Published::At(url), http));
        Self { settings, keys }
    }

    /// Checks the `Authorization` header.
    pub async fn check(
        &self,
        authorization: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let token = bearer(authorization).ok_or(Refused::Missing)?;
        let id = jsonwebtoken::decode_header(token)
            .ok()
            .and_then(|header| header.kid)
            .ok_or(Refused::Invalid)?;
        let keys = self.keys.as_ref().ok_or(Refused::Unavailable)?;
        let key = keys.key(&id, now).await.map_err(|none| match none {
            NoKey::Unknown => Refused::Invalid,
            NoKey::Unavailable => Refused::Unavailable,
        })?;
        let key = DecodingKey::from_jwk(&key.jwk).map_err(|_| Refused::Unavailable)?;
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
}
