//! The lock of `/teams/messages`: a validated token of the Bot Framework.
//!
//! Signature (keys of the Bot Framework's OpenID document), issuer, audience, time with five minutes of tolerance; then that
//! the token speaks of this activity: its service address is the claim's, and the key is endorsed for its channel.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use url::Url;
use warp::http::StatusCode;

use super::keys::{Keys, NoKey, Published, bearer};
use super::wire::Response;
use crate::http::Http;

/// Who signs.
pub const ISSUER: &str = "https://api.botframework.com";
/// Clocks may be so far apart, in seconds.
const SKEW: u64 = 300;

/// What a token must say.
#[derive(Debug, Clone)]
pub struct BotTokenSettings {
    /// The bot's app.
    pub app_id: String,
    /// `TEAMS_OPENID_URL`: the document that names the keys.
    pub document: Url,
}

/// The lock, with its cached keys.
#[derive(Debug, Clone)]
pub struct BotToken {
    app_id: String,
    keys: Keys,
}

/// Why a token did not open the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("a bearer token of the Bot Framework is required")]
    Missing,
    /// It is not valid.
    #[error("the bearer token is not valid here")]
    Invalid,
    /// It is valid, and speaks of something else.
    #[error("the bearer token is not one for this activity")]
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
    #[serde(alias = "serviceUrl")]
    serviceurl: Option<String>,
}

impl BotToken {
    /// No key is fetched before the first token comes.
    pub fn new(settings: BotTokenSettings, http: Http) -> Self {
        let published = Published::By(settings.document);
        Self {
            app_id: settings.app_id,
            keys: Keys::new("Bot Framework", published, http),
        }
    }

    /// Checks the `Authorization` header of an activity with this service address, from this channel.
    ///
    /// # Errors
    /// Why it is not let in.
    pub async fn check(
        &self,
        authorization: Option<&str>,
        (service, channel): (&str, &str),
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let token = bearer(authorization).ok_or(Refused::Missing)?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Invalid)?;
        let id = header.kid.ok_or(Refused::Invalid)?;
        let key = self.keys.key(&id, now).await.map_err(|none| match none {
            NoKey::Unknown => Refused::Invalid,
            NoKey::Unavailable => Refused::Unavailable,
        })?;
        let decoding = DecodingKey::from_jwk(&key.jwk).map_err(|_| Refused::Unavailable)?;
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&[&self.app_id]);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "aud", "iss"]);
        rules.validate_nbf = true;
        rules.leeway = SKEW;
        let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &rules)
            .map_err(|_| Refused::Invalid)?
            .claims;
        let claimed = claims.serviceurl.ok_or(Refused::Forbidden)?;
        let same = claimed.trim_end_matches('/') == service.trim_end_matches('/');
        let endorsed = key.endorsements.iter().any(|name| name == channel);
        if same && endorsed {
            Ok(())
        } else {
            Err(Refused::Forbidden)
        }
    }
}
