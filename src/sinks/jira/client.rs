//! JIRA Cloud's REST API v3 on the wire: its paths.
//!
//! In: typed calls. Out: typed answers or a [`Failed`] that says whether the call can have taken effect (`refusal`).
//! API tokens with scopes are refused at the site's own address and taken at Atlassian's gateway, under the site's cloud id
//! (`gateway`): the first refusal finds that out.
//! Answers are read by `wire`, which alone knows their JSON names. The host comes
//! from configuration alone, path pieces are encoded, and redirects are not followed. This file does not know tickets.

use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::JiraSettings;
use super::gateway::Gateway;
use super::refusal::{Failed, JIRA, is_web_page, lacks_scope, not_jira, nothing, read, refusal};
use super::site::{CreateField, Found, Issue, IssueType, Made, Move, StatusCategory, Transition};
use super::wire;
use crate::fault::Fault;
use crate::http::{Http, NoReply, Reply};

/// The API of one site.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: Http,
    base: Url,
    email: String,
    token: SecretString,
    gateway: Gateway,
}

impl Client {
    pub(super) fn new(http: Http, settings: &JiraSettings) -> Self {
        Self {
            http,
            base: settings.domain.clone(),
            email: settings.user_email.clone(),
            token: settings.api_token.clone(),
            gateway: Gateway::new(settings.gateway.clone()),
        }
    }

    /// The cloud id under which the gateway takes our token, if it is one with scopes.
    pub(super) fn cloud_id(&self) -> Option<&str> {
        self.gateway.cloud_id()
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
        Ok(project.name)
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
                let category = status.category();
                (status.name, category)
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
                id: t.id,
                name: t.name,
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
            id: f.field_id.unwrap_or(f.key),
            name: f.name,
            required: f.required,
            has_default: f.has_default_value,
        };
        Ok(fields.map(field).collect())
    }

    /// Searches; the index lags a few seconds behind.
    pub(super) async fn search(&self, jql: &str, now: DateTime<Utc>) -> Result<Vec<Found>, Failed> {
        let body = json!({"jql": jql, "fields": ["summary", "status", "labels", "description"], "maxResults": 20});
        let answer: wire::Search = read(&self.post(&["search", "jql"], &body, now).await?)?;
        let found = |issue: wire::Issue| Found {
            id: issue.id,
            key: issue.key,
            labels: issue.fields.labels,
            description: issue.fields.description,
        };
        Ok(answer.issues.into_iter().map(found).collect())
    }

    /// Creates an issue from its whole request body; its key.
    pub(super) async fn create(&self, body: &Value, now: DateTime<Utc>) -> Result<Made, Failed> {
        let created: wire::Created = read(&self.post(&["issue"], body, now).await?)?;
        Ok(Made {
            key: created.key,
            id: created.id,
        })
    }

    /// Reads an issue with its history of statuses.
    pub(super) async fn issue(&self, key: &str, now: DateTime<Utc>) -> Result<Issue, Failed> {
        let query = [("fields", "status"), ("expand", "changelog")];
        let issue: wire::Issue = self.get(&["issue", key], &query, now).await?;
        let status = issue.fields.status;
        let mut moves: Vec<Move> = issue
            .changelog
            .histories
            .into_iter()
            .flat_map(wire::History::moves)
            .collect();
        moves.sort_by_key(|change| std::cmp::Reverse(change.at));
        Ok(Issue {
            id: issue.id,
            key: issue.key,
            category: status.category(),
            status: status.name,
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
        let (path, body) = (["issue", key], json!({"fields": fields}));
        let call = self.call(Method::PUT, &path, &[], Some(&body), now);
        nothing(&call.await?)
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

    /// The newest comments of other accounts than this, as documents.
    pub(super) async fn comments_of_others(
        &self,
        key: &str,
        us: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Value>, Failed> {
        let query = [("orderBy", "-created"), ("maxResults", "20")];
        let answer: wire::Comments = self.get(&["issue", key, "comment"], &query, now).await?;
        let others = answer.comments.into_iter().filter(|comment| {
            let author = comment.author.account_id.as_deref();
            let is_app = comment.author.account_type.as_deref() == Some("app");
            !is_app && author.is_some_and(|author| !author.is_empty() && author != us)
        });
        Ok(others.map(|comment| comment.body).collect())
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
        read::<wire::Said>(&self.post(&path, &body, now).await?).map(drop)
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
        nothing(&self.post(&path, &body, now).await?)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        now: DateTime<Utc>,
    ) -> Result<T, Failed> {
        read(&self.call(Method::GET, path, query, None, now).await?)
    }

    async fn post(&self, path: &[&str], body: &Value, now: DateTime<Utc>) -> Result<Reply, Failed> {
        self.call(Method::POST, path, &[], Some(body), now).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        now: DateTime<Utc>,
    ) -> Result<Reply, Failed> {
        let call = Call {
            method,
            path,
            query,
            body,
        };
        let root = self.gateway.root().unwrap_or(&self.base);
        let mut sent = self.send(root, &call).await;
        // A call that was refused so did nothing: made again with the same token where that may be taken.
        if let Ok(reply) = &sent
            && reply.status == 401
            && let Some(root) = self.found_gateway().await
        {
            sent = self.send(root, &call).await;
        }
        match sent {
            Ok(reply) if reply.is_success() && is_web_page(&reply) => {
                Err(not_jira(&reply, "a web page"))
            }
            Ok(reply) if reply.is_success() => {
                if self.gateway.root().is_none() {
                    self.gateway.site_takes();
                }
                Ok(reply)
            }
            Ok(reply) => Err(refusal(&reply, now)),
            Err(no_reply) if no_reply.sent => Err(Failed::Lost(no_reply.fault)),
            Err(no_reply) => Err(Failed::Refused(no_reply.fault)),
        }
    }

    /// The gateway's address of this site, if our token is one that only the gateway takes; asked once the site refused it.
    async fn found_gateway(&self) -> Option<&Url> {
        if !self.gateway.is_open() {
            return None;
        }
        let id = self.cloud_id_of_site().await?;
        let root = self.gateway.address(&id)?;
        let myself = Call {
            method: Method::GET,
            path: &["myself"],
            query: &[],
            body: None,
        };
        let reply = self.send(&root, &myself).await.ok()?;
        // With scopes, but without the one for this question: the calls themselves will say what is missing.
        (reply.is_success() || lacks_scope(&reply)).then(|| self.gateway.found(id, root))
    }

    /// Asked without our token: anybody may. Nothing where the site is no JIRA Cloud, or cannot be asked now.
    async fn cloud_id_of_site(&self) -> Option<String> {
        let mut url = self.base.clone();
        url.set_path("/_edge/tenant_info");
        url.set_query(None);
        let asked = self.http.send(JIRA, self.http.request(Method::GET, &url));
        let reply = asked.await.ok().filter(Reply::is_success)?;
        let tenant: wire::Tenant = serde_json::from_slice(&reply.body).ok()?;
        Some(tenant.cloud_id)
    }

    async fn send(&self, root: &Url, call: &Call<'_>) -> Result<Reply, NoReply> {
        let mut url = root.clone();
        url.set_query(None);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["rest", "api", "3"])
                .extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = self
            .http
            .request(call.method.clone(), &url)
            .basic_auth(&self.email, Some(self.token.expose_secret()));
        request = request.header("accept", "application/json");
        if let Some(body) = call.body {
            request = request.json(body);
        }
        self.http.send(JIRA, request).await
    }
}

/// One call, wherever it goes.
struct Call<'c> {
    method: Method,
    path: &'c [&'c str],
    query: &'c [(&'c str, &'c str)],
    body: Option<&'c Value>,
}
