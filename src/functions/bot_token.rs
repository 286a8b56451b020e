//! The lock of `/teams/messages`: a validated token of the Bot Framework.
//!
//! Signature (keys of the Bot Framework's OpenID document), issuer, audience, time with five minutes of tolerance; then that
//! the token speaks of this activity: its service address is the claim's, and the key is endorsed for its channel.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::Url;

use super::keys::{Keys, Published, claims, rules};
pub use super::keys::{Refused, Words};
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

/// What it says to those whom it does not let in.
pub const WORDS: Words = Words {
    missing: "a bearer token of the Bot Framework is required",
    forbidden: "the bearer token is not one for this activity",
};

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
        let mut rules = rules(&[&self.app_id], &[ISSUER]);
        rules.leeway = SKEW;
        let (claims, key): (Claims, _) =
            claims(Some(&self.keys), authorization, &rules, now).await?;
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
