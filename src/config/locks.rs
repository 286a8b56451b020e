//! The locks of the doors: a lock that was wanted never vanishes because a setting of it is wrong.

use secrecy::ExposeSecret;
use url::Url;

use super::KEY_LENGTH;
use super::reader::Reader;
use crate::functions::access::DashboardLock;
use crate::functions::bot_token::BotTokenSettings;
use crate::functions::secure_webhook::SecureWebhookSettings;
use crate::sinks::teams::TeamsSettings;

pub(super) fn secure_webhook(r: &mut Reader<'_>) -> Option<SecureWebhookSettings> {
    if !r.has("SECURE_WEBHOOK_TENANT_ID") && !r.has("SECURE_WEBHOOK_AUDIENCE") {
        return None;
    }
    let tenant = r
        .required("SECURE_WEBHOOK_TENANT_ID", "SECURE_WEBHOOK_AUDIENCE is set")
        .unwrap_or_else(|| "unset".to_owned());
    // Half configured the lock stays, and opens for nobody: a lock that was wanted must not vanish.
    let audience = r
        .required("SECURE_WEBHOOK_AUDIENCE", "SECURE_WEBHOOK_TENANT_ID is set")
        .unwrap_or_else(|| "unset".to_owned());
    let authority = r
        .url("ENTRA_AUTHORITY_URL")
        .or_else(|| Url::parse("https://login.microsoftonline.com/").ok())?;
    Some(SecureWebhookSettings {
        tenant,
        audience,
        authority,
    })
}

/// The bot's door is locked for as long as there is a bot.
pub(super) fn bot_token(
    r: &mut Reader<'_>,
    teams: Option<&TeamsSettings>,
) -> Option<BotTokenSettings> {
    match teams? {
        TeamsSettings::Bot(bot) => Some(BotTokenSettings {
            app_id: bot.app_id.clone(),
            document: r.url("TEAMS_OPENID_URL")?,
        }),
        TeamsSettings::Workflow(_) => None,
    }
}

pub(super) fn dashboard(r: &mut Reader<'_>) -> DashboardLock {
    let local = is_local(r);
    let key = r.secret("DASHBOARD_KEY");
    let key = match key {
        Some(short) if short.expose_secret().len() < KEY_LENGTH => {
            r.problem("DASHBOARD_KEY", "must have at least 16 characters");
            None
        }
        key => key,
    };
    match (
        r.text("DASHBOARD_AUTH")
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str(),
        key,
    ) {
        // Without App Service authentication in front anybody could send its headers.
        ("entra", _)
            if !r
                .text("WEBSITE_AUTH_ENABLED")
                .is_some_and(|on| on.eq_ignore_ascii_case("true") || on == "1") =>
        {
            r.problem(
                "DASHBOARD_AUTH",
                "is entra, but App Service authentication is not on (WEBSITE_AUTH_ENABLED is not true)",
            );
            DashboardLock::Closed
        }
        ("entra", key) => DashboardLock::Entra { key },
        ("key" | "", Some(key)) => DashboardLock::Key {
            key,
            plain_http: local,
        },
        #[cfg(feature = "local")]
        ("open", Some(_) | None) if local => DashboardLock::Open,
        // A lock that was wanted must not vanish.
        #[cfg(feature = "local")]
        ("", None) if local && !r.has("DASHBOARD_KEY") => DashboardLock::Open,
        ("open", _) => {
            r.problem("DASHBOARD_AUTH", "open works in `aiops-rca local` only");
            DashboardLock::Closed
        }
        ("key", None) => {
            r.required("DASHBOARD_KEY", "DASHBOARD_AUTH is key");
            DashboardLock::Closed
        }
        ("", None) => DashboardLock::Closed,
        _ => {
            r.problem("DASHBOARD_AUTH", "must be entra or key");
            DashboardLock::Closed
        }
    }
}

/// Was this started by `local`? Without the feature nothing is, whatever the environment says.
#[cfg(feature = "local")]
fn is_local(r: &mut Reader<'_>) -> bool {
    r.flag("AIOPS_RCA_LOCAL")
}

#[cfg(not(feature = "local"))]
fn is_local(_: &mut Reader<'_>) -> bool {
    false
}

#[cfg(test)]
mod tests {
    // The build with the feature is tested in tests/it/settings.rs.
    #[cfg(not(feature = "local"))]
    #[test]
    fn the_product_is_not_opened_by_the_environment() {
        use super::DashboardLock;
        use crate::config::{Config, Environment};
        let read = |settings: &[(&str, &str)]| {
            let settings: Environment = settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            Config::read(&settings)
        };
        let local = ("AIOPS_RCA_LOCAL", "true");
        for more in [
            [local, ("DASHBOARD_KEY", "")],
            [local, ("DASHBOARD_AUTH", "open")],
            [local, ("DASHBOARD_AUTH", "OPEN")],
            [local, ("AIOPS_RCA_STORE", "/tmp/store.db")],
        ] {
            let config = read(&more);
            assert!(
                matches!(config.dashboard, DashboardLock::Closed),
                "{more:?}"
            );
            assert!(config.storage.is_err(), "{more:?}");
        }
        let key = [local, ("DASHBOARD_KEY", "sixteen characters")];
        assert!(matches!(
            read(&key).dashboard,
            DashboardLock::Key {
                plain_http: false,
                ..
            }
        ));
    }
}
