//! What `doctor` asks Slack: reading calls only.

use std::collections::BTreeSet;

use chrono::Utc;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::Slack;
use super::client::Failed;
use super::interaction::is_id;
use crate::redaction::{cap, redact};
use crate::sinks::Check;

fn check(name: &str, ok: bool, line: impl Into<String>, fix: Option<String>) -> Check {
    Check {
        name: name.to_owned(),
        ok,
        line: line.into(),
        fix,
    }
}

impl Slack {
    /// One line each on token, scopes, channel, membership, signing secret and approvers.
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
                checks.push(check(
                    "Slack token",
                    true,
                    format!("signed in as {} in {}", name("user"), name("team")),
                    None,
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
        let now = Utc::now();
        let channel = &self.settings.channel;
        let id = match self.channel_id(now).await {
            Ok(Some(id)) => id,
            Ok(None) => {
                let fix = "set SLACK_ALERT_CHANNEL to the channel's id, or add the scope channels:read (private channels: groups:read)";
                return vec![check(
                    NAME,
                    false,
                    "the name cannot be looked up with this token",
                    Some(fix.into()),
                )];
            }
            Err(fault) => {
                return vec![check(
                    NAME,
                    false,
                    fault.reason(),
                    Some("check SLACK_ALERT_CHANNEL".into()),
                )];
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
            return vec![check(
                NAME,
                false,
                format!("#{shown} ({id}) is archived"),
                Some(fix.into()),
            )];
        }
        let found = check(NAME, true, format!("#{shown} ({id})"), None);
        let may_post =
            flag("is_member") || (scopes.contains("chat:write.public") && !flag("is_private"));
        let (line, fix) = match (flag("is_member"), may_post) {
            (true, _) => ("the app is a member".to_owned(), None),
            (false, true) => (
                "the app is no member and may post anyway (chat:write.public)".to_owned(),
                None,
            ),
            (false, false) => (
                "the app is no member".to_owned(),
                Some(format!(
                    "/invite the app in #{shown}, or add the scope chat:write.public"
                )),
            ),
        };
        vec![found, check("Slack membership", may_post, line, fix)]
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
            return vec![check(
                SECRET,
                true,
                "not set: approvals are answered on the dashboard",
                Some(fix),
            )];
        }
        let wrong: Vec<String> = approvers
            .iter()
            .filter(|id| !is_id(id))
            .map(|id| cap(&redact(id), 40))
            .collect();
        vec![
            if secret {
                check(SECRET, true, "set: clicks are checked", None)
            } else {
                check(
                    SECRET,
                    false,
                    "not set: Approve and Reject are not offered in Slack",
                    Some(set_secret.into()),
                )
            },
            if !wrong.is_empty() {
                check(
                    APPROVERS,
                    false,
                    format!("not member ids: {}", wrong.join(", ")),
                    Some(set_approvers.into()),
                )
            } else if approvers.is_empty() {
                check(
                    APPROVERS,
                    false,
                    "nobody may approve in Slack",
                    Some(set_approvers.into()),
                )
            } else {
                check(
                    APPROVERS,
                    true,
                    format!("{} may approve", approvers.len()),
                    None,
                )
            },
        ]
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
        return check(NAME, true, "Slack did not say which", None);
    }
    let missing: Vec<&str> = ["chat:write", "channels:read"]
        .into_iter()
        .filter(|scope| !scopes.contains(*scope))
        .collect();
    if missing.is_empty() {
        return check(NAME, true, list, None);
    }
    let fix = format!(
        "add {} under OAuth & Permissions and reinstall the app",
        missing.join(" and ")
    );
    check(
        NAME,
        false,
        format!("{list}; missing: {}", missing.join(", ")),
        Some(fix),
    )
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
    check(name, false, line, fix)
}
