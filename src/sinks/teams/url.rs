//! The URL of a workflow: a secret as a whole, kept byte for byte.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Where workflows live.
const HOSTS: &str = ".environment.api.powerplatform.com";
const HOW_TO: &str = "in Teams, open the channel's Workflows, choose \"Send webhook alerts to a channel\" and copy its whole URL";

/// The address of the trigger "When a Teams webhook request is received".
#[derive(Clone)]
pub struct WorkflowUrl(SecretString);

/// Why a text is no such address, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowUrlError {
    /// Not a URL.
    #[error("is not a URL: {HOW_TO}")]
    NotAUrl,
    /// Not https (http is allowed on the loopback address only).
    #[error("must begin with https://")]
    NotHttps,
    /// An Office 365 connector.
    #[error(
        "is the URL of an Office 365 connector, which Microsoft switched off in May 2026: {HOW_TO}"
    )]
    Connector,
    /// A host that Power Automate left.
    #[error(
        "is a Power Automate URL of the old host logic.azure.com, which stopped in November 2025: open the flow, copy its new URL, or {HOW_TO}"
    )]
    OldHost,
    /// Somebody else's host.
    #[error(
        "is not the URL of a workflow (https://….environment.api.powerplatform.com/…): {HOW_TO}"
    )]
    Elsewhere,
}

impl WorkflowUrl {
    /// Reads the URL from the configuration.
    pub fn parse(text: &str) -> Result<Self, WorkflowUrlError> {
        let text = text.trim();
        let url = Url::parse(text).map_err(|_| WorkflowUrlError::NotAUrl)?;
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let local = matches!(host.as_str(), "127.0.0.1" | "localhost" | "[::1]");
        let below = |domain: &str| {
            (host.strip_suffix(domain)).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let connector = below("webhook.office.com")
            || below("outlook.office.com")
            || below("outlook.office365.com");
        match url.scheme() {
            "http" | "https" if host.is_empty() => Err(WorkflowUrlError::NotAUrl),
            "http" | "https" if connector => Err(WorkflowUrlError::Connector),
            "http" | "https" if below("logic.azure.com") => Err(WorkflowUrlError::OldHost),
            "https" | "http" if local => Ok(Self(text.into())),
            "http" => Err(WorkflowUrlError::NotHttps),
            "https" if !url.username().is_empty() || url.password().is_some() => {
                Err(WorkflowUrlError::Elsewhere)
            }
            "https" if host.ends_with(HOSTS) && host.len() > HOSTS.len() => Ok(Self(text.into())),
            "https" => Err(WorkflowUrlError::Elsewhere),
            _ => Err(WorkflowUrlError::NotAUrl),
        }
    }

    /// Where cards are posted.
    pub(super) fn url(&self) -> Option<Url> {
        Url::parse(self.0.expose_secret()).ok()
    }

    /// The same trigger without its signature: asking there posts nothing, and says whether it is there.
    pub(super) fn unsigned(&self) -> Option<Url> {
        let mut url = self.url()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    }

    /// The host alone, which may be shown.
    pub fn host(&self) -> String {
        let host = self.url().and_then(|url| url.host_str().map(str::to_owned));
        host.unwrap_or_default()
    }

    /// Does it carry the signature by which anyone may post?
    pub fn is_signed(&self) -> bool {
        self.url().is_some_and(|url| {
            url.query_pairs()
                .any(|(name, value)| name == "sig" && !value.is_empty())
        })
    }

    pub(super) fn secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for WorkflowUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkflowUrl(https://{}/…)", self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_todays_workflows_are_taken_and_the_others_say_what_to_do() {
        let refused = |text: &str| WorkflowUrl::parse(text).unwrap_err();
        let path = "powerautomate/automations/direct/workflows/abc/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers&sv=1.0&sig=s-3_cret";
        let url = format!("https://default0123.4d.environment.api.powerplatform.com:443/{path}");
        let taken = WorkflowUrl::parse(&format!(" {url}\n")).unwrap();
        assert_eq!(taken.secret(), url, "byte for byte");
        assert!(taken.is_signed());
        assert!(!format!("{taken:?}").contains("s-3_cret"));
        assert_eq!(taken.unsigned().unwrap().query(), None);
        for old in [
            "https://contoso.webhook.office.com/webhookb2/a@b/IncomingWebhook/c/d",
            "https://outlook.office.com/webhook/a@b/IncomingWebhook/c/d",
            "HTTPS://OUTLOOK.OFFICE365.COM/webhook/x",
        ] {
            assert_eq!(refused(old), WorkflowUrlError::Connector, "{old}");
        }
        for old in ["prod-12.westeurope.logic.azure.com:443", "logic.azure.com"] {
            assert_eq!(
                refused(&format!("https://{old}/workflows/a?sig=b")),
                WorkflowUrlError::OldHost
            );
        }
        for other in [
            "https://environment.api.powerplatform.com/x",
            "https://evilenvironment.api.powerplatform.com.evil.example/x",
            "https://u:p@a.environment.api.powerplatform.com/x",
            "https://hooks.slack.com/services/x",
        ] {
            assert_eq!(refused(other), WorkflowUrlError::Elsewhere, "{other}");
        }
        assert_eq!(
            refused("http://a.environment.api.powerplatform.com/x"),
            WorkflowUrlError::NotHttps
        );
        assert_eq!(
            refused("a.environment.api.powerplatform.com/x"),
            WorkflowUrlError::NotAUrl
        );
        assert!(WorkflowUrl::parse("http://127.0.0.1:1/x").is_ok());
    }
}
