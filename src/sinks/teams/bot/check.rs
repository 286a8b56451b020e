//! What `doctor` asks about the bot: reading calls only.

use chrono::{DateTime, Utc};

use super::{Bot, Failed, NAME};
use crate::ownership::TeamsChannel;
use crate::redaction::{cap, redact};
use crate::sinks::{Check, bad, good};

impl Bot {
    /// What `doctor` can find out without posting.
    pub(in crate::sinks::teams) async fn check(&self, now: DateTime<Utc>) -> Vec<Check> {
        let settings = &self.settings;
        let token = match self.client.token("https://api.botframework.com").await {
            Ok(_) => good(
                NAME,
                format!("a token for bot {} was given", settings.app_id),
            ),
            Err(fault) => {
                let fix =
                    "assign the bot's identity to this app; TEAMS_BOT_APP_ID is its client id";
                bad(NAME, fault.reason(), fix)
            }
        };
        let place = match &settings.channel {
            Some(channel) => good("Teams channel", channel.clone()),
            None => Check {
                fix: Some("to name it yourself, set TEAMS_CHANNEL_ID".to_owned()),
                ..good(
                    "Teams channel",
                    "learned when the app is installed in a team",
                )
            },
        };
        let approvers = match settings.approvers.len() {
            0 => Check {
                fix: Some("to decide in Teams, set TEAMS_APPROVERS to Entra object ids".to_owned()),
                ..good(
                    "Teams approvers",
                    "nobody: no buttons, approvals are answered on the dashboard",
                )
            },
            number => good("Teams approvers", format!("{number} may decide")),
        };
        let mut checks = vec![token, place, approvers];
        if let Some((team, channel)) = settings.team.as_deref().zip(settings.channel.as_deref()) {
            let nothing = (settings.app_id.as_str(), "no-such-mark");
            let asked = self.client.find((team, channel), None, nothing, now).await;
            checks.push(history(&asked));
        }
        for (owner, channel) in self.routes.teams() {
            checks.push(self.check_owners(owner, channel, now).await);
        }
        checks
    }

    /// Is the channel of this owner there, as far as the app may read it?
    async fn check_owners(&self, owner: &str, channel: &TeamsChannel, now: DateTime<Utc>) -> Check {
        let name = &format!("Teams channel of {}", cap(&redact(owner), 80));
        let unread = |line: String| {
            Check {
            fix: Some("nothing can be asked without posting: a card that it refuses goes into the general channel, and its ticket says so".to_owned()),
            ..good(name, line)
        }
        };
        let team = channel.team.as_ref().or(self.settings.team.as_ref());
        let Some(team) = team else {
            return unread(format!("{} (its team is not known here)", channel.id));
        };
        let nothing = (self.settings.app_id.as_str(), "no-such-mark");
        let asked = (self.client)
            .find((team, &channel.id), None, nothing, now)
            .await;
        match asked {
            Ok(_) => good(name, channel.id.clone()),
            Err(failed) if failed.status() == Some(404) => bad(
                name,
                format!("{} is not a channel of the team {team}", channel.id),
                "fix teams=… in OWNER_ROUTES: <team's group id>/<channel's id> where it is another team's",
            ),
            Err(failed) => unread(format!(
                "{} cannot be read ({})",
                channel.id,
                failed.fault().reason()
            )),
        }
    }
}

/// A POST cannot be made safe to repeat: what settles a lost answer is the channel's history.
fn history(asked: &Result<Option<String>, Failed>) -> Check {
    const NAME: &str = "Teams history";
    match asked {
        Ok(_) => good(NAME, "a card whose answer was lost is looked up before it is posted again"),
        Err(failed) => Check {
            fix: Some("install the current app package, which asks for ChannelMessage.Read.Group in its team".to_owned()),
            ..good(
                NAME,
                format!(
                    "cannot be read ({}): when the answer to a post is lost, a card may appear twice",
                    failed.fault().reason()
                ),
            )
        },
    }
}
