//! Where and as whom Slack's messages are posted, and who may answer them.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::look::Look;

/// Where and as whom to post, and who may answer.
#[derive(Debug, Clone)]
pub struct SlackSettings {
    /// `SLACK_BOT_TOKEN`, `xoxb-…`.
    pub bot_token: SecretString,
    /// `SLACK_ALERT_CHANNEL`: an id, or a name with or without `#`.
    pub channel: String,
    /// `SLACK_DIGEST_CHANNEL`: where the weekly digest goes.
    pub digest_channel: Option<String>,
    /// `SLACK_SIGNING_SECRET`; without it no click is believed, and no buttons are shown.
    pub signing_secret: Option<SecretString>,
    /// `SLACK_APPROVERS`: Slack's ids (`U…`) of the people who may answer; nobody when empty.
    pub approvers: Vec<String>,
    /// The Web API, `https://slack.com/api/`.
    pub api_base: Url,
    /// `PUBLIC_BASE_URL`: where people find the dashboard; without it there is no button.
    pub dashboard_base: Option<Url>,
    /// The JIRA site, to link the issue's key.
    pub issue_base: Option<Url>,
}

impl SlackSettings {
    /// May this person approve or reject? Slack's signature proves only that Slack sent the click.
    pub fn may_approve(&self, user_id: &str) -> bool {
        self.approvers.iter().any(|approver| approver == user_id)
    }

    /// Of everything that decides whether Slack takes a message.
    pub(in crate::sinks) fn digest(&self) -> String {
        crate::sinks::digest(&[
            self.bot_token.expose_secret(),
            &self.channel,
            self.api_base.as_str(),
        ])
    }

    /// What these settings show of a ticket.
    pub fn look(&self) -> Look<'_> {
        Look {
            dashboard_base: self.dashboard_base.as_ref(),
            issue_base: self.issue_base.as_ref(),
            approvers: if self.signing_secret.is_some() {
                &self.approvers
            } else {
                &[]
            },
            routes: None,
            clicks: self.signing_secret.is_some(),
        }
    }
}
