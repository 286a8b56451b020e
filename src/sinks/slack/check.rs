//! What `doctor` asks Slack: reading calls only.

use std::collections::BTreeSet;

use chrono::Utc;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::Slack;
use super::channel::bare;
use super::client::Failed;
use super::interaction::is_id;
use crate::redaction::{cap, redact};
use crate::sinks::{Check, bad, good};

impl Slack {
    /// One line each on token, scopes, channel, membership, history, signing secret and approvers.
    pub async fn check(&self) -> Vec<Check> {
        let now = Utc::now();
        let mut checks = Vec::new();
        match self
            .client
            .post("auth.test", &serde_json::json!({}), now)
            .await
        {
            Ok(answer) => {
                let name = |field: &str| {
                    answer
                        .body
                        .get(field)
                        .and_then(Value::as_str)
                        .map_or_else(|| "?".to_owned(), |t| cap(&redact(t), 80))
                };
                checks.push(good(
                    "Slack token",
                    format!("signed in as {} in {}", name("user"), name("team")),
                ));
                let scopes: BTreeSet<String> = answer
                    .scopes
                    .unwrap_or_default()
                    .split(',')
                    .map(|scope| scope.trim().to_owned())
                    .filter(|s| !s.is_empty())
                    .collect();
                checks.push(scope_line(&scopes));
                checks.extend(self.check_channel(&scopes).await);
            }
            Err(failed) => checks.push(failed_line(
                "Slack token",
                "auth.test",
                &failed,
                &self.settings.channel,
            )),
        }
        checks.extend(self.approval_lines());
        checks
    }

    async fn check_channel(&self, scopes: &BTreeSet<String>) -> Vec<Check> {
        const NAME: &str = "Slack channel";
        const MEMBERSHIP: &str = "Slack membership";
        let now = Utc::now();
        let channel = &self.settings.channel;
        let id = match self.channel_id(bare(channel), now).await {
            Ok(Some(id)) => id,
            Ok(None) => {
                let fix = "set SLACK_ALERT_CHANNEL to the channel's id, or add the scope channels:read (private channels: groups:read)";
                let line = "the name cannot be looked up with this token";
                return vec![bad(NAME, line, fix)];
            }
            Err(fault) => {
                return vec![bad(NAME, fault.reason(), "check SLACK_ALERT_CHANNEL")];
            }
        };
        let answer = match self
            .client
            .get("conversations.info", &[("channel", &id)], now)
            .await
        {
            Ok(answer) => answer,
            Err(failed) => return vec![failed_line(NAME, "conversations.info", &failed, channel)],
        };
        let info = answer.body.get("channel").cloned().unwrap_or_default();
        let flag = |name: &str| info.get(name).and_then(Value::as_bool).unwrap_or(false);
        let shown = cap(
            &redact(info.get("name").and_then(Value::as_str).unwrap_or(&id)),
            80,
        );
        if flag("is_archived") {
            let fix = "unarchive it, or set SLACK_ALERT_CHANNEL to another channel";
            return vec![bad(NAME, format!("#{shown} ({id}) is archived"), fix)];
        }
        let membership = if flag("is_member") {
            good(MEMBERSHIP, "the app is a member")
        } else if scopes.contains("chat:write.public") && !flag("is_private") {
            let line = "the app is no member and may post anyway (chat:write.public)";
            good(MEMBERSHIP, line)
        } else {
            let fix = format!("/invite the app in #{shown}, or add the scope chat:write.public");
            bad(MEMBERSHIP, "the app is no member", fix)
        };
        let mut checks = vec![good(NAME, format!("#{shown} ({id})")), membership];
        checks.extend(history_line(scopes, flag("is_private")));
        checks
    }

    /// Approving in Slack is off, on, or half configured.
    fn approval_lines(&self) -> Vec<Check> {
        const SECRET: &str = "Slack signing secret";
        const APPROVERS: &str = "Slack approvers";
        let secret = self
            .settings
            .signing_secret
            .as_ref()
            .is_some_and(|secret| !secret.expose_secret().trim().is_empty());
        let approvers = &self.settings.approvers;
        let set_secret = "set SLACK_SIGNING_SECRET (Basic Information, App Credentials) and the Interactivity Request URL <base>/slack/interactions";
        let set_approvers =
            "set SLACK_APPROVERS to member ids (profile, ⋮, Copy member ID), separated by commas";
        if !secret && approvers.is_empty() {
            let fix = format!("to approve in Slack, {set_secret}; {set_approvers}");
            let line = "not set: approvals are answered on the dashboard";
            return vec![Check {
                fix: Some(fix),
                ..good(SECRET, line)
            }];
        }
        let wrong: Vec<String> = approvers
            .iter()
            .filter(|id| !is_id(id))
            .map(|id| cap(&redact(id), 40))
            .collect();
        let clicks = if secret {
            good(SECRET, "set: clicks are checked")
        } else {
            let line = "not set: Approve and Reject are not offered in Slack";
            bad(SECRET, line, set_secret)
        };
        let people = if !wrong.is_empty() {
            let line = format!("not member ids: {}", wrong.join(", "));
            bad(APPROVERS, line, set_approvers)
        } else if approvers.is_empty() {
            bad(APPROVERS, "nobody may approve in Slack", set_approvers)
        } else {
            good(APPROVERS, format!("{} may approve", approvers.len()))
        };
        vec![clicks, people]
    }
}

fn scope_line(scopes: &BTreeSet<String>) -> Check {
    const NAME: &str = "Slack scopes";
    let list = scopes
        .iter()
        .map(|scope| cap(&redact(scope), 60))
        .collect::<Vec<_>>()
        .join(", ");
    if scopes.is_empty() {
        return good(NAME, "Slack did not say which");
    }
    let missing: Vec<&str> = ["chat:write", "channels:read"]
        .into_iter()
        .filter(|scope| !scopes.contains(*scope))
        .collect();
    if missing.is_empty() {
        return good(NAME, list);
    }
    let fix = format!(
        "add {} under OAuth & Permissions and reinstall the app",
        missing.join(" and ")
    );
    bad(
        NAME,
        format!("{list}; missing: {}", missing.join(", ")),
        fix,
    )
}

/// Slack documents no way to make a post that can be repeated safely: what settles a lost answer is the channel's history.
fn history_line(scopes: &BTreeSet<String>, is_private: bool) -> Option<Check> {
    const NAME: &str = "Slack history";
    let needed = if is_private {
        "groups:history"
    } else {
        "channels:history"
    };
    if scopes.is_empty() {
        return None;
    }
    if scopes.contains(needed) {
        let line = "a message whose answer was lost is looked up before it is posted again";
        return Some(good(NAME, line));
    }
    let fix = format!("add {needed} under OAuth & Permissions and reinstall the app");
    Some(Check {
        fix: Some(fix),
        ..good(
            NAME,
            format!(
                "cannot be read ({needed} is missing): when Slack's answer to a post is lost, the message may appear twice"
            ),
        )
    })
}

fn failed_line(name: &str, method: &str, failed: &Failed, channel: &str) -> Check {
    let fix = match failed {
        Failed::Refused(refusal) => refusal.remedy(channel),
        Failed::Unknown(_) => Some("check the network, and try again".to_owned()),
    };
    let line = match failed {
        Failed::Refused(refusal) if fix.is_some() => refusal.summary(method),
        _ => failed.fault(method, channel).reason().to_owned(),
    };
    Check {
        fix,
        ..bad(name, line, "")
    }
}
