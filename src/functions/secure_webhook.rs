//! The optional lock of Azure Monitor's *secure webhook*: a validated Entra token of the action group service.
//!
//! Signature (keys of our own tenant), audience, issuer, expiry, the role `ActionGroupsSecureWebhook` and the
//! calling application are checked. The key endpoint's host comes from configuration only.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::Url;

use super::keys::{Keys, Published, claims, rules};
pub use super::keys::{Refused, Words};
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

/// What it says to those whom it does not let in.
pub const WORDS: Words = Words {
    missing: "a bearer token of the action group service is required",
    forbidden: "the caller lacks the role ActionGroupsSecureWebhook",
};

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
        let (tenant, authority) = (&self.settings.tenant, &self.settings.authority);
        let audience = self.settings.audience.as_str();
        let rules = rules(
            &[audience, audience.trim_start_matches("api://")],
            &[
                &format!("https://sts.windows.net/{tenant}/"),
                &format!("{authority}{tenant}/v2.0"),
            ],
        );
        let (claims, _): (Claims, _) =
            claims(self.keys.as_ref(), authorization, &rules, now).await?;
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
