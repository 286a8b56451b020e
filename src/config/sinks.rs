//! The sinks' settings: JIRA, Slack, Microsoft Teams and the playbooks.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use secrecy::ExposeSecret;
use url::Url;

use super::reader::{Reader, list};
use super::{KEY_LENGTH, PLAYBOOKS};
use crate::sinks::jira::JiraSettings;
use crate::sinks::playbook::{PlaybookSettings, SecretUrl};
use crate::sinks::slack::SlackSettings;
use crate::sinks::teams::{
    BotSettings, TeamsSettings, WorkflowBody, WorkflowSettings, WorkflowUrl,
};

pub(super) fn jira(r: &mut Reader<'_>, dashboard_base: Option<Url>) -> Option<JiraSettings> {
    match r
        .text("ITSM_TOOL")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "jira" => {}
        "none" => return None,
        _ => {
            r.problem("ITSM_TOOL", "must be jira or none");
            return None;
        }
    }
    let because = "ITSM_TOOL is jira";
    let domain = r.required_url("JIRA_DOMAIN", because);
    let user_email = r.required("JIRA_USER_EMAIL", because);
    let api_token = r.required_secret("JIRA_API_TOKEN", because);
    let project_key = r.required("JIRA_PROJECT_KEY", because);
    let token_expires = day(r, "JIRA_API_TOKEN_EXPIRES");
    let gateway = r.url("JIRA_GATEWAY_URL");
    let (issue_type, webhook_secret) = (
        r.text("JIRA_ISSUE_TYPE").unwrap_or_default(),
        r.secret("JIRA_WEBHOOK_SECRET"),
    );
    Some(JiraSettings {
        domain: domain?,
        user_email: user_email?,
        api_token: api_token?,
        token_expires,
        gateway: gateway?,
        project_key: project_key?,
        issue_type,
        webhook_secret,
        dashboard_base,
    })
}

/// A day, `2027-03-31`.
fn day(r: &mut Reader<'_>, name: &'static str) -> Option<NaiveDate> {
    let text = r.text(name)?;
    let day = text.parse().ok();
    if day.is_none() {
        r.problem(name, "must be a day, such as 2027-03-31");
    }
    day
}

pub(super) fn slack(
    r: &mut Reader<'_>,
    dashboard_base: Option<Url>,
    issue_base: Option<Url>,
) -> Option<SlackSettings> {
    let channel = r.text("SLACK_ALERT_CHANNEL");
    let bot_token = if channel.is_some() {
        r.required_secret("SLACK_BOT_TOKEN", "SLACK_ALERT_CHANNEL is set")
    } else {
        r.secret("SLACK_BOT_TOKEN")
    }?;
    let channel = r.required("SLACK_ALERT_CHANNEL", "SLACK_BOT_TOKEN is set")?;
    Some(SlackSettings {
        bot_token,
        channel,
        digest_channel: r.text("SLACK_DIGEST_CHANNEL"),
        signing_secret: r.secret("SLACK_SIGNING_SECRET"),
        approvers: list(r.text("SLACK_APPROVERS"), ','),
        api_base: r.url("SLACK_API_URL")?,
        dashboard_base,
        issue_base,
    })
}

pub(super) fn teams(
    r: &mut Reader<'_>,
    dashboard_base: Option<Url>,
    issue_base: Option<Url>,
) -> Option<TeamsSettings> {
    if r.has("TEAMS_BOT_APP_ID") || r.has("TEAMS_TENANT_ID") {
        if r.has("TEAMS_WORKFLOW_URL") {
            r.problem(
                "TEAMS_WORKFLOW_URL",
                "is not used, because TEAMS_BOT_APP_ID is set: a bot can do more. Remove one of them",
            );
        }
        return bot(r, dashboard_base, issue_base).map(|bot| TeamsSettings::Bot(Box::new(bot)));
    }
    let text = r.secret("TEAMS_WORKFLOW_URL")?;
    let body = match r
        .text("TEAMS_WORKFLOW_BODY")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "card" => WorkflowBody::Card,
        "message" => WorkflowBody::Message,
        _ => {
            r.problem("TEAMS_WORKFLOW_BODY", "must be message or card");
            return None;
        }
    };
    match WorkflowUrl::parse(text.expose_secret()) {
        Ok(url) => Some(TeamsSettings::Workflow(WorkflowSettings {
            url,
            body,
            dashboard_base,
            issue_base,
        })),
        Err(error) => {
            r.problem("TEAMS_WORKFLOW_URL", error.to_string());
            None
        }
    }
}

fn bot(
    r: &mut Reader<'_>,
    dashboard_base: Option<Url>,
    issue_base: Option<Url>,
) -> Option<BotSettings> {
    let app_id = r.required("TEAMS_BOT_APP_ID", "TEAMS_TENANT_ID is set");
    let tenant = r.required("TEAMS_TENANT_ID", "TEAMS_BOT_APP_ID is set");
    let channel = r.text("TEAMS_CHANNEL_ID");
    if channel.as_ref().is_some_and(|id| !id.starts_with("19:")) {
        r.problem(
            "TEAMS_CHANNEL_ID",
            "must be a channel's id, 19:…@thread.tacv2 (in its link, percent-decoded), or empty: it is learned when the app is installed",
        );
    }
    let approvers = list(r.text("TEAMS_APPROVERS"), ',');
    let is_id =
        |id: &&String| id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if approvers.iter().any(|id| !is_id(&id)) {
        r.problem(
            "TEAMS_APPROVERS",
            "must be Entra object ids (GUIDs), separated by commas",
        );
    }
    let (service, graph) = (r.url("TEAMS_SERVICE_URL"), r.url("TEAMS_GRAPH_URL"));
    Some(BotSettings {
        app_id: app_id?,
        tenant: tenant?,
        team: r.text("TEAMS_TEAM_ID"),
        channel: channel.filter(|id| id.starts_with("19:")),
        approvers: approvers.iter().filter(is_id).cloned().collect(),
        service: service?,
        graph: graph?,
        dashboard_base,
        issue_base,
    })
}

pub(super) fn playbooks(
    r: &mut Reader<'_>,
    callback_base: Option<Url>,
) -> Option<PlaybookSettings> {
    let mut urls = BTreeMap::new();
    for (action, name) in PLAYBOOKS {
        let Some(text) = r.secret(name) else { continue };
        match SecretUrl::parse(text.expose_secret()) {
            Ok(url) => {
                urls.insert(action, url);
            }
            Err(error) => r.problem(name, error.to_string()),
        }
    }
    if urls.is_empty() {
        return None;
    }
    let signing_key = r.required_secret("CALLBACK_SIGNING_KEY", "a PLAYBOOK_… URL is set");
    if signing_key
        .as_ref()
        .is_some_and(|key| key.expose_secret().len() < KEY_LENGTH)
    {
        r.problem("CALLBACK_SIGNING_KEY", "must have at least 16 characters");
        return None;
    }
    if callback_base.is_none() {
        r.required(
            "PUBLIC_BASE_URL",
            "a PLAYBOOK_… URL is set and playbooks call back",
        );
    }
    Some(PlaybookSettings {
        urls,
        callback_base: callback_base?,
        signing_key: signing_key?,
    })
}
