//! What a bot is told by the settings, and what its cards look like by them.

use serde_json::Value;
use url::Url;

use super::marked;
use crate::sinks::teams::look::Look;
use crate::sinks::teams::size::BOT_SIZE;
use crate::ticket::Ticket;

/// As whom and where to post, and who may decide.
#[derive(Debug, Clone)]
pub struct BotSettings {
    /// `TEAMS_BOT_APP_ID`: the bot's app, which is the client id of a user-assigned identity.
    pub app_id: String,
    /// `TEAMS_TENANT_ID`.
    pub tenant: String,
    /// `TEAMS_TEAM_ID`: the team's group; learned when the app is installed.
    pub team: Option<String>,
    /// `TEAMS_CHANNEL_ID`: `19:…@thread.tacv2`; learned when the app is installed.
    pub channel: Option<String>,
    /// `TEAMS_APPROVERS`: Entra object ids of the people who may decide; nobody when empty.
    pub approvers: Vec<String>,
    /// `TEAMS_SERVICE_URL`: until another one is learned.
    pub service: Url,
    /// `TEAMS_GRAPH_URL`.
    pub graph: Url,
    /// `PUBLIC_BASE_URL`: where people find the dashboard; without it there is no button.
    pub dashboard_base: Option<Url>,
    /// The JIRA site, to link the issue.
    pub issue_base: Option<Url>,
}

impl BotSettings {
    /// May this person decide? That Teams sent the click proves only who clicked.
    pub fn may_decide(&self, object_id: &str) -> bool {
        let is = |approver: &String| approver.eq_ignore_ascii_case(object_id);
        !object_id.is_empty() && self.approvers.iter().any(is)
    }

    /// Is this a host of Teams' Bot Connector, or the one of the settings? Tokens go nowhere else.
    pub fn serves(&self, service: &Url) -> bool {
        let ours = service.origin() == self.service.origin();
        ours || service.scheme() == "https"
            && service.port().is_none()
            && service.host_str() == Some("smba.trafficmanager.net")
    }

    pub(super) fn look(&self) -> Look<'_> {
        Look {
            dashboard_base: self.dashboard_base.as_ref(),
            issue_base: self.issue_base.as_ref(),
            size: BOT_SIZE,
            approvers: &self.approvers,
            routes: None,
        }
    }

    /// The card of this ticket, without mentions.
    pub fn card(&self, ticket: &Ticket) -> Value {
        marked(ticket, &self.look())
    }
}
