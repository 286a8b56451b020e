//! What `doctor` asks JIRA: read-only calls, one clear line each, and what to do.

use chrono::{DateTime, Utc};

use super::super::{Check, bad, good};
use super::site::{CreateField, IssueType, ticket_status};
use super::{Jira, field};
use crate::ticket::Status;

const PERMISSIONS: [&str; 5] = [
    "BROWSE_PROJECTS",
    "CREATE_ISSUES",
    "EDIT_ISSUES",
    "ADD_COMMENTS",
    "TRANSITION_ISSUES",
];
/// Fields that we set, or that JIRA sets by itself.
const SET: [&str; 4] = ["project", "issuetype", "summary", "reporter"];

impl Jira {
    /// Credentials, token, project, permissions, create screen, workflow, webhook secret. Without credentials or
    /// project the rest is not asked.
    pub async fn check(&self, now: DateTime<Utc>) -> Vec<Check> {
        let project = self.settings.project_key.as_str();
        let mut checks = Vec::new();
        match self.client.myself(now).await {
            Ok((_, name)) => {
                checks.push(good("JIRA credentials", format!("signed in as {name}")));
                checks.push(self.check_token(now));
            }
            Err(failed) => {
                let fix = "set JIRA_DOMAIN, JIRA_USER_EMAIL and JIRA_API_TOKEN (id.atlassian.com → API tokens)";
                checks.push(bad(
                    "JIRA credentials",
                    failed.fault("asking who we are").reason(),
                    fix,
                ));
                return checks;
            }
        }
        match self.client.project(project, now).await {
            Ok(name) => checks.push(good("JIRA project", format!("{project} ({name})"))),
            Err(failed) => {
                let fix = "set JIRA_PROJECT_KEY to a project that this user may browse";
                checks.push(bad(
                    "JIRA project",
                    failed.fault("looking for the project").reason(),
                    fix,
                ));
                return checks;
            }
        }
        checks.push(
            match self.client.lacking(project, &PERMISSIONS, now).await {
                Ok(lacking) if lacking.is_empty() => good(
                    "JIRA permissions",
                    "browse, create, edit, comment, transition".to_owned(),
                ),
                Ok(lacking) => bad(
                    "JIRA permissions",
                    format!("missing: {}", lacking.join(", ")),
                    "grant them to this user in the project",
                ),
                Err(failed) => bad(
                    "JIRA permissions",
                    failed.fault("asking for permissions").reason(),
                    "try again",
                ),
            },
        );
        checks.push(self.check_create_screen(project, now).await);
        checks.push(self.check_workflow(project, now).await);
        checks.push(self.check_way_back());
        checks
    }

    /// Which kind of token it is, and how long it lives.
    fn check_token(&self, now: DateTime<Utc>) -> Check {
        const NAME: &str = "JIRA token";
        let kind = match self.client.cloud_id() {
            Some(id) => format!(
                "an API token with scopes, used at {} (cloud id {id})",
                self.settings.gateway.host_str().unwrap_or_default()
            ),
            None => "an API token without scopes, used at the site".to_owned(),
        };
        let fix = "make a new one (id.atlassian.com → API tokens), set JIRA_API_TOKEN, and JIRA_API_TOKEN_EXPIRES to its last day";
        match (
            self.settings.token_expires,
            self.settings.token_trouble(now),
        ) {
            (_, Some(trouble)) => bad(NAME, format!("{kind}; {trouble}"), fix),
            (Some(day), None) => good(NAME, format!("{kind}; it works until {day}")),
            (None, None) => Check {
                fix: Some(
                    "set JIRA_API_TOKEN_EXPIRES to its last day: API tokens live a year at most"
                        .to_owned(),
                ),
                ..good(
                    NAME,
                    format!("{kind}; JIRA does not tell how long it lives"),
                )
            },
        }
    }

    async fn check_create_screen(&self, project: &str, now: DateTime<Utc>) -> Check {
        const NAME: &str = "JIRA issue type";
        let wanted = self.settings.issue_type.as_str();
        let types = match self.client.issue_types(project, now).await {
            Ok(types) => types,
            Err(failed) => {
                return bad(
                    NAME,
                    failed.fault("asking for issue types").reason(),
                    "grant Create Issues",
                );
            }
        };
        let Some(of) = types.iter().find(|of| of.name.eq_ignore_ascii_case(wanted)) else {
            let offered = types
                .iter()
                .filter(|of| !of.subtask)
                .map(|of| of.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            return bad(
                NAME,
                format!("no \"{wanted}\"; there are: {offered}"),
                "set JIRA_ISSUE_TYPE to one of them",
            );
        };
        match self.client.create_fields(project, &of.id, now).await {
            Ok(fields) => judge_fields(NAME, of, &fields),
            Err(failed) => bad(
                NAME,
                failed.fault("asking for the create screen").reason(),
                "try again",
            ),
        }
    }

    async fn check_workflow(&self, project: &str, now: DateTime<Utc>) -> Check {
        const NAME: &str = "JIRA workflow";
        let statuses = match self.client.statuses(project, now).await {
            Ok(statuses) => statuses,
            Err(failed) => {
                return bad(
                    NAME,
                    failed.fault("asking for the project's statuses").reason(),
                    "try again",
                );
            }
        };
        let has = |wanted: Status| {
            statuses
                .iter()
                .any(|(name, category)| ticket_status(name, *category) == Some(wanted))
        };
        let kinds = [
            (Status::Open, "to do"),
            (Status::InProgress, "in progress"),
            (Status::Acknowledged, "done"),
        ];
        let missing: Vec<&str> = kinds
            .iter()
            .filter(|(status, _)| !has(*status))
            .map(|(_, name)| *name)
            .collect();
        if missing.is_empty() {
            return good(
                NAME,
                "it has statuses of the kinds to do, in progress and done".to_owned(),
            );
        }
        let line = format!("no status of the kind {}", missing.join(", "));
        bad(
            NAME,
            &line,
            "add one to the project's workflow, else the issue cannot follow the ticket there",
        )
    }

    fn check_way_back(&self) -> Check {
        const NAME: &str = "JIRA webhook";
        if self.settings.webhook_secret.is_some() {
            return good(
                NAME,
                "JIRA_WEBHOOK_SECRET is set: /jira-webhook is open to JIRA".to_owned(),
            );
        }
        let fix = "set JIRA_WEBHOOK_SECRET, and the same secret at the webhook in JIRA (Settings → System → WebHooks)";
        bad(
            NAME,
            "JIRA_WEBHOOK_SECRET is not set: changes made in JIRA do not come back",
            fix,
        )
    }
}

fn judge_fields(name: &str, of: &IssueType, fields: &[CreateField]) -> Check {
    // Only the issues of owners with a route have these.
    let of_routes = |id: &str| [field::COMPONENTS, field::ASSIGNEE].contains(&id);
    let optional = |id: &str| field::OPTIONAL.contains(&id) && !of_routes(id);
    let ours = |id: &str| SET.contains(&id) || optional(id);
    let unknown = fields
        .iter()
        .filter(|field| field.required && !field.has_default && !ours(&field.id));
    let unknown: Vec<&str> = unknown
        .map(|field| {
            if field.name.is_empty() {
                &field.id
            } else {
                &field.name
            }
            .as_str()
        })
        .collect();
    if !unknown.is_empty() {
        let line = format!(
            "\"{}\" requires fields that we cannot fill: {}",
            of.name,
            unknown.join(", ")
        );
        return bad(
            name,
            line,
            "make them optional, give them a default value, or set JIRA_ISSUE_TYPE to another type",
        );
    }
    let wanted = [field::PRIORITY, field::LABELS, field::DESCRIPTION];
    let absent: Vec<&str> = wanted
        .into_iter()
        .filter(|wanted| fields.iter().all(|field| field.id != *wanted))
        .collect();
    if absent.contains(&field::LABELS) {
        let fix = "add the field Labels to the project's create screen";
        return bad(
            name,
            "the create screen has no labels: issues are found again by their text only",
            fix,
        );
    }
    if absent.is_empty() {
        return good(
            name,
            format!(
                "\"{}\" can be created with priority, labels and description",
                of.name
            ),
        );
    }
    good(
        name,
        format!(
            "\"{}\" can be created, without {}",
            of.name,
            absent.join(" and ")
        ),
    )
}
