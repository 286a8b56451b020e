//! JIRA Cloud's REST API v3 on the wire: paths, JSON names, and what each refusal means.
//!
//! In: typed calls. Out: typed answers or a [`Failed`] that says whether the call can have taken effect.
//! Answers are read by `wire`, which alone knows their JSON names. The host comes
//! from configuration alone, path pieces are encoded, redirects are not followed, and a reason never holds
//! a body, a token or an address. This file does not know tickets.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::{StatusCategory, wire};
use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::redaction::{cap, one_line, redact};

const JIRA: &str = "JIRA";

/// Why a call did not do what we asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failed {
    /// 404: not there, or not visible to us.
    NotFound,
    /// 400: the named fields were refused; nothing was done.
    Invalid(Invalid),
    /// Nothing was done.
    Refused(Fault),
    /// It may have been done.
    Lost(Fault),
}

/// What JIRA said about refused fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Invalid {
    /// Field → why.
    pub(super) fields: BTreeMap<String, String>,
    /// Further messages.
    pub(super) messages: Vec<String>,
}

impl Invalid {
    /// One sentence for an operator, redacted and capped.
    pub(super) fn words(&self) -> String {
        let fields = self
            .fields
            .iter()
            .map(|(name, why)| format!("{name}: {why}"));
        let all: Vec<String> = fields.chain(self.messages.iter().cloned()).collect();
        let all = one_line(&all.join("; "));
        if all.is_empty() {
            "no reason given".to_owned()
        } else {
            cap(&redact(all.trim_end_matches('.')), 300)
        }
    }

    /// What it refused, and why.
    pub(super) fn refused(&self, what: &str) -> String {
        format!("JIRA refused {what} (400): {}", self.words())
    }
}

impl Failed {
    /// The fault to report when the call has no better answer to this.
    pub(super) fn fault(self, doing: &str) -> Fault {
        match self {
            Self::NotFound => Fault::permanent(format!(
                "JIRA knows nothing there while {doing} (404): check JIRA_DOMAIN and JIRA_PROJECT_KEY, and that JIRA_USER_EMAIL may see the project"
            )),
            Self::Invalid(invalid) => Fault::permanent(invalid.refused(doing)),
            Self::Refused(fault) | Self::Lost(fault) => fault,
        }
    }
}

/// An issue that was made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) key: String,
    pub(super) id: Option<String>,
}

/// An issue as far as we look at it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Issue {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) status: String,
    pub(super) category: Option<StatusCategory>,
    /// Status changes, newest first.
    pub(super) moves: Vec<Move>,
}

/// One status change from the issue's history.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Move {
    pub(super) at: DateTime<Utc>,
    pub(super) account_id: Option<String>,
    pub(super) name: Option<String>,
    /// `app` for automations.
    pub(super) is_app: bool,
    pub(super) from: Option<String>,
    pub(super) to: String,
}

/// A transition that we may make now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) to: String,
    pub(super) category: Option<StatusCategory>,
    /// Fields it asks for and has no default for: id → allowed values (id, name).
    pub(super) required: BTreeMap<String, Vec<(String, String)>>,
}

/// An issue found by search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) labels: Vec<String>,
    pub(super) description: Value,
}

/// A type of issues that a project offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IssueType {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) subtask: bool,
}

/// A field of the create screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreateField {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) has_default: bool,
}

/// The API of one site.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: Http,
    base: Url,
    email: String,
    token: SecretString,
}

impl Client {
    pub(super) fn new(http: Http, base: Url, email: String, token: SecretString) -> Self {
        Self {
            http,
            base,
            email,
            token,
        }
    }

    /// Our own account id and name.
    pub(super) async fn myself(&self, now: DateTime<Utc>) -> Result<(String, String), Failed> {
        let me: wire::User = self.get(&["myself"], &[], now).await?;
        match me.account_id {
            Some(id) if !id.is_empty() => Ok((id, me.display_name.unwrap_or_default())),
            _ => Err(Failed::Refused(Fault::permanent(
                "JIRA did not say who we are: is JIRA_DOMAIN a JIRA Cloud site?",
            ))),
        }
    }

    /// The project's name.
    pub(super) async fn project(&self, key: &str, now: DateTime<Utc>) -> Result<String, Failed> {
        let project: wire::Named = self.get(&["project", key], &[], now).await?;
        Ok(project.name.unwrap_or_default())
    }

    /// Statuses of the project's workflows: name and category.
    pub(super) async fn statuses(
        &self,
        project: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<(String, Option<StatusCategory>)>, Failed> {
        let types: Vec<wire::TypeStatuses> = self
            .get(&["project", project, "statuses"], &[], now)
            .await?;
        let statuses = types.into_iter().flat_map(|of_type| of_type.statuses);
        Ok(statuses
            .map(|status| {
                (
                    status.name.unwrap_or_default(),
                    wire::category(status.status_category),
                )
            })
            .collect())
    }

    /// Which of these permissions we lack in the project.
    pub(super) async fn lacking(
        &self,
        project: &str,
        wanted: &[&str],
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, Failed> {
        let query = [("projectKey", project), ("permissions", &wanted.join(","))];
        let answer: wire::Permissions = self.get(&["mypermissions"], &query, now).await?;
        let lacks = |name: &&&str| {
            !answer
                .permissions
                .get(**name)
                .is_some_and(|permission| permission.have_permission)
        };
        Ok(wanted
            .iter()
            .filter(lacks)
            .map(|name| (*name).to_owned())
            .collect())
    }

    /// The types of issues that can be created in the project.
    pub(super) async fn issue_types(
        &self,
        project: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<IssueType>, Failed> {
        let answer: wire::IssueTypes = self
            .get(
                &["issue", "createmeta", project, "issuetypes"],
                &[("maxResults", "100")],
                now,
            )
            .await?;
        let types = answer.issue_types.into_iter().chain(answer.values);
        Ok(types
            .map(|t| IssueType {
                id: t.id.0,
                name: t.name.unwrap_or_default(),
                subtask: t.subtask,
            })
            .collect())
    }

    /// The create screen of one type.
    pub(super) async fn create_fields(
        &self,
        project: &str,
        issue_type: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<CreateField>, Failed> {
        let path = ["issue", "createmeta", project, "issuetypes", issue_type];
        let answer: wire::CreateFields = self.get(&path, &[("maxResults", "200")], now).await?;
        let fields = answer.fields.into_iter().chain(answer.values);
        let field = |f: wire::CreateField| CreateField {
            id: f.field_id.or(f.key).unwrap_or_default(),
            name: f.name.unwrap_or_default(),
            required: f.required,
            has_default: f.has_default_value,
        };
        Ok(fields.map(field).collect())
    }

    /// Searches; the index lags a few seconds behind.
    pub(super) async fn search(&self, jql: &str, now: DateTime<Utc>) -> Result<Vec<Found>, Failed> {
        let body = json!({"jql": jql, "fields": ["summary", "status", "labels", "description"], "maxResults": 20});
        let reply = self
            .call(Method::POST, &["search", "jql"], &[], Some(&body), now)
            .await?;
        let answer: wire::Search = read(&reply)?;
        let found = |issue: wire::Issue| Found {
            id: issue.id.0,
            key: issue.key,
            labels: issue.fields.labels.unwrap_or_default(),
            description: issue.fields.description.unwrap_or_default(),
        };
        Ok(answer.issues.into_iter().map(found).collect())
    }

    /// Creates an issue from its whole request body; its key.
    pub(super) async fn create(&self, body: &Value, now: DateTime<Utc>) -> Result<Made, Failed> {
        let reply = self
            .call(Method::POST, &["issue"], &[], Some(body), now)
            .await?;
        let created: wire::Created = read(&reply)?;
        Ok(Made {
            key: created.key,
            id: created.id.map(|id| id.0),
        })
    }

    /// Reads an issue with its history of statuses.
    pub(super) async fn issue(&self, key: &str, now: DateTime<Utc>) -> Result<Issue, Failed> {
        let query = [("fields", "status"), ("expand", "changelog")];
        let issue: wire::Issue = self.get(&["issue", key], &query, now).await?;
        let status = issue.fields.status.unwrap_or_default();
        let mut moves: Vec<Move> = issue
            .changelog
            .histories
            .into_iter()
            .flat_map(wire::History::moves)
            .collect();
        moves.sort_by_key(|change| std::cmp::Reverse(change.at));
        Ok(Issue {
            id: issue.id.0,
            key: issue.key,
            status: status.name.unwrap_or_default(),
            category: wire::category(status.status_category),
            moves,
        })
    }

    /// Changes fields.
    pub(super) async fn edit(
        &self,
        key: &str,
        fields: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), Failed> {
        let reply = self
            .call(
                Method::PUT,
                &["issue", key],
                &[],
                Some(&json!({"fields": fields})),
                now,
            )
            .await?;
        nothing(&reply)
    }

    /// The newest comments, as documents.
    pub(super) async fn comments(
        &self,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Value>, Failed> {
        let query = [("orderBy", "-created"), ("maxResults", "100")];
        let answer: wire::Comments = self.get(&["issue", key, "comment"], &query, now).await?;
        Ok(answer
            .comments
            .into_iter()
            .map(|comment| comment.body)
            .collect())
    }

    /// Adds a comment; not idempotent.
    pub(super) async fn comment(
        &self,
        key: &str,
        document: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), Failed> {
        let path = ["issue", key, "comment"];
        let body = json!({"body": document});
        let reply = self
            .call(Method::POST, &path, &[], Some(&body), now)
            .await?;
        read::<wire::Said>(&reply).map(drop)
    }

    /// The transitions that we may make now.
    pub(super) async fn transitions(
        &self,
        key: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Transition>, Failed> {
        let answer: wire::Transitions = self
            .get(
                &["issue", key, "transitions"],
                &[("expand", "transitions.fields")],
                now,
            )
            .await?;
        Ok(answer
            .transitions
            .into_iter()
            .filter(|t| t.is_available != Some(false))
            .map(wire::Transition::read)
            .collect())
    }

    /// Makes a transition.
    pub(super) async fn transition(
        &self,
        key: &str,
        id: &str,
        fields: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), Failed> {
        let mut body = json!({"transition": {"id": id}});
        if let (Some(body), Some(fields)) = (
            body.as_object_mut(),
            fields.as_object().filter(|fields| !fields.is_empty()),
        ) {
            body.insert("fields".to_owned(), Value::Object(fields.clone()));
        }
        let path = ["issue", key, "transitions"];
        let reply = self
            .call(Method::POST, &path, &[], Some(&body), now)
            .await?;
        nothing(&reply)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        now: DateTime<Utc>,
    ) -> Result<T, Failed> {
        read(&self.call(Method::GET, path, query, None, now).await?)
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        now: DateTime<Utc>,
    ) -> Result<Reply, Failed> {
        let mut url = self.base.clone();
        url.set_query(None);
        url.path_segments_mut()
            .map_err(|()| Failed::Refused(Fault::permanent("JIRA_DOMAIN is no web address")))?
            .pop_if_empty()
            .extend(["rest", "api", "3"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self
            .http
            .request(method, &url)
            .basic_auth(&self.email, Some(self.token.expose_secret()));
        request = request.header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        match self.http.send(JIRA, request).await {
            Ok(reply) if reply.is_success() && is_web_page(&reply) => {
                Err(not_jira(&reply, "a web page"))
            }
            Ok(reply) if reply.is_success() => Ok(reply),
            Ok(reply) => Err(refusal(&reply, now)),
            Err(no_reply) if no_reply.sent => Err(Failed::Lost(no_reply.fault)),
            Err(no_reply) => Err(Failed::Refused(no_reply.fault)),
        }
    }
}

/// JIRA's own successes are JSON or empty.
fn is_web_page(reply: &Reply) -> bool {
    reply.body.trim_ascii_start().starts_with(b"<")
}

/// An answer of success that cannot be read: the call may have been done.
fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Failed> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        let what = format!("JSON that we cannot read (line {})", error.line());
        not_jira(reply, &what)
    })
}

/// JIRA says nothing when it has changed an issue: whatever says something in its place has not.
fn nothing(reply: &Reply) -> Result<(), Failed> {
    if reply.body.trim_ascii().is_empty() {
        Ok(())
    } else {
        Err(not_jira(reply, "something that is not its own"))
    }
}

fn not_jira(reply: &Reply, what: &str) -> Failed {
    Failed::Lost(Fault::transient(format!(
        "JIRA answered {} with {what}: a proxy or maintenance page, or JIRA_DOMAIN is no JIRA Cloud site",
        reply.status
    )))
}

fn refusal(reply: &Reply, now: DateTime<Utc>) -> Failed {
    let permanent = |reason: &str| Failed::Refused(Fault::permanent(reason));
    match reply.status {
        // Not JIRA's own words: taken for a refused detail, a proxy's page would lose a comment or a field.
        400 | 422 if is_web_page(reply) => permanent(
            "JIRA answered 400 with a web page: a proxy stands in between, or JIRA_DOMAIN is no JIRA Cloud site",
        ),
        400 | 422 => match reply_words(reply) {
            // Nor are these.
            Invalid { fields, messages } if fields.is_empty() && messages.is_empty() => permanent(
                "JIRA refused the call (400) without a reason: a proxy stands in between, or JIRA_DOMAIN is no JIRA Cloud site",
            ),
            invalid => Failed::Invalid(invalid),
        },
        401 if header(reply, "x-seraph-loginreason").is_some_and(|why| why.contains("DENIED")) => {
            permanent(
                "JIRA wants a CAPTCHA (401) after failed logins: sign in once in a browser as JIRA_USER_EMAIL, then try again",
            )
        }
        401 => permanent(
            "JIRA refused the credentials (401): check JIRA_USER_EMAIL and JIRA_API_TOKEN; API tokens expire after a year at most",
        ),
        403 => permanent(
            "JIRA forbids this (403): give the user of JIRA_USER_EMAIL the permissions to browse, create, edit, comment and transition in the project",
        ),
        404 => Failed::NotFound,
        410 => permanent("JIRA has removed this API (410): update aiops-rca"),
        409 | 423 | 425 => Failed::Refused(Fault::transient(format!(
            "JIRA is changing the issue right now ({})",
            reply.status
        ))),
        429 => Failed::Refused(too_fast(reply, now)),
        // Atlassian's maintenance pages are redirects.
        300..=399 => Failed::Lost(Fault::transient(
            "JIRA answered with a redirect: its maintenance page, or JIRA_DOMAIN is not https://<your site>.atlassian.net",
        )),
        408 | 500.. => Failed::Lost(reply.fault(JIRA, now)),
        status => permanent(&format!(
            "JIRA refused the call ({status}): {}",
            reply_words(reply).words()
        )),
    }
}

fn too_fast(reply: &Reply, now: DateTime<Utc>) -> Fault {
    let why = header(reply, "ratelimit-reason").unwrap_or_default();
    let why: String = why
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(60)
        .collect();
    let reset = || {
        let text = header(reply, "x-ratelimit-reset")?;
        let minute = chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%MZ")
            .ok()
            .map(|at| at.and_utc());
        let at = minute.or_else(|| {
            DateTime::parse_from_rfc3339(&text)
                .ok()
                .map(|at| at.to_utc())
        })?;
        (at - now)
            .to_std()
            .ok()
            .map(|wait| wait.min(Duration::from_hours(1)))
    };
    let reason = if why.is_empty() {
        String::new()
    } else {
        format!(", {why}")
    };
    Fault::transient_after(
        format!("JIRA limits our rate (429{reason})"),
        reply.retry_after(now).or_else(reset),
    )
}

fn reply_words(reply: &Reply) -> Invalid {
    let errors: wire::Errors = serde_json::from_slice(&reply.body).unwrap_or_default();
    let words = |value: Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    Invalid {
        fields: errors
            .errors
            .into_iter()
            .map(|(name, why)| (name, words(why)))
            .collect(),
        messages: errors.error_messages.into_iter().map(words).collect(),
    }
}

fn header(reply: &Reply, name: &str) -> Option<String> {
    reply.headers.get(name)?.to_str().ok().map(str::to_owned)
}
