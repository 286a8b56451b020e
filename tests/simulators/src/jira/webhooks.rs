//! What JIRA tells others: bodies, signatures, retries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::{Change, Config, Issue, Person};
use crate::lock;
use crate::outgoing::{self, NoClient};

/// JIRA gives up after this many retries.
const MOST_RETRIES: u32 = 5;

/// An administrator's webhook.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Where to, `?secret=` included if that lock is used.
    pub url: Url,
    /// With it, deliveries are signed.
    pub secret: Option<SecretString>,
    /// How long JIRA waits before it tries again (the real one: 5 to 15 minutes).
    pub retry_after: Duration,
}

/// One webhook and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `X-Atlassian-Webhook-Identifier`, the same for all tries.
    pub identifier: String,
    /// The raw body.
    pub body: String,
    /// The status of each try; `None` for no answer.
    pub answers: Vec<Option<u16>>,
}

/// Delivers in the background.
#[derive(Debug)]
pub(super) struct Postman {
    http: reqwest::Client,
    sent: Arc<Mutex<Vec<Delivery>>>,
    under_way: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Postman {
    pub(super) fn new() -> Result<Self, NoClient> {
        Ok(Self {
            http: outgoing::client()?,
            sent: Arc::default(),
            under_way: Mutex::default(),
        })
    }

    /// Sends without waiting. Needs a tokio runtime.
    pub(super) fn tell(&self, hook: Option<&Hook>, body: &Value) {
        let Some(hook) = hook.cloned() else { return };
        let (http, sent) = (self.http.clone(), Arc::clone(&self.sent));
        let identifier = uuid::Uuid::new_v4().to_string();
        let body = body.to_string();
        let place = {
            let mut sent = lock(&sent);
            sent.push(Delivery {
                identifier: identifier.clone(),
                body: body.clone(),
                answers: Vec::new(),
            });
            sent.len() - 1
        };
        let work = tokio::spawn(async move {
            for retry in 0..=MOST_RETRIES {
                let answer = deliver(&http, &hook, &identifier, &body, retry).await;
                if let Some(delivery) = lock(&sent).get_mut(place) {
                    delivery.answers.push(answer);
                }
                if !answer
                    .is_none_or(|status| matches!(status, 408 | 409 | 425 | 429) || status >= 500)
                {
                    break;
                }
                tokio::time::sleep(hook.retry_after).await;
            }
        });
        lock(&self.under_way).push(work);
    }

    /// Waits for everything under way.
    pub(super) async fn settled(&self) -> Vec<Delivery> {
        loop {
            let Some(next) = lock(&self.under_way).pop() else {
                break;
            };
            let _ended = next.await;
        }
        lock(&self.sent).clone()
    }
}

async fn deliver(
    http: &reqwest::Client,
    hook: &Hook,
    identifier: &str,
    body: &str,
    retry: u32,
) -> Option<u16> {
    let mut request = http
        .post(hook.url.clone())
        .header("content-type", "application/json; charset=utf-8")
        .header("user-agent", "Atlassian Webhook HTTP Client")
        .header("x-atlassian-webhook-identifier", identifier)
        .header("x-atlassian-webhook-flow", "Primary")
        .body(body.to_owned());
    if retry > 0 {
        request = request.header("x-atlassian-webhook-retry", retry.to_string());
    }
    if let Some(signature) = hook
        .secret
        .as_ref()
        .and_then(|secret| signature(secret, body.as_bytes()))
    {
        request = request.header("x-hub-signature", signature);
    }
    outgoing::send(request).await.ok().map(|reply| reply.status)
}

/// `sha256=<hex>` over the raw body.
fn signature(secret: &SecretString, body: &[u8]) -> Option<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .ok()?
        .chain_update(body);
    Some(format!(
        "sha256={}",
        hex::encode(mac.finalize().into_bytes())
    ))
}

/// `jira:issue_updated`; without a change it was a comment.
pub(super) fn updated(
    issue: &Issue,
    config: &Config,
    change: Option<&Change>,
    who: &Person,
    at: DateTime<Utc>,
    base: &str,
) -> Value {
    let mut body = event("jira:issue_updated", issue, config, who, at, base);
    if let Some(body) = body.as_object_mut() {
        let kind = if change.is_some() {
            "issue_generic"
        } else {
            "issue_commented"
        };
        body.insert("issue_event_type_name".to_owned(), json!(kind));
        if let Some(change) = change {
            let items: Vec<Value> = change
                .items
                .iter()
                .map(|item| item_json(item, config))
                .collect();
            body.insert(
                "changelog".to_owned(),
                json!({"id": change.id.to_string(), "items": items}),
            );
        }
    }
    body
}

/// `jira:issue_created`.
pub(super) fn created(issue: &Issue, config: &Config, who: &Person, base: &str) -> Value {
    event(
        "jira:issue_created",
        issue,
        config,
        who,
        issue.created,
        base,
    )
}

/// `jira:issue_deleted`.
pub(super) fn deleted(
    issue: &Issue,
    config: &Config,
    who: &Person,
    at: DateTime<Utc>,
    base: &str,
) -> Value {
    event("jira:issue_deleted", issue, config, who, at, base)
}

fn event(
    name: &str,
    issue: &Issue,
    config: &Config,
    who: &Person,
    at: DateTime<Utc>,
    base: &str,
) -> Value {
    json!({
        "timestamp": at.timestamp_millis(),
        "webhookEvent": name,
        "issue_event_type_name": "issue_generic",
        "user": user_json(who, base),
        "issue": {
            "id": issue.id.to_string(),
            "self": format!("{base}rest/api/2/{}", issue.id),
            "key": issue.key,
            "fields": {
                "summary": issue.summary,
                "issuetype": {"id": "10001", "name": issue.issue_type},
                "project": {"key": issue.key.split('-').next()},
                "status": config.workflow.status(&issue.status).map(|status| status.json(base)),
                "labels": issue.labels,
                "resolution": issue.resolution.as_ref().map(|name| json!({"name": name})),
            },
        },
    })
}

/// One entry of a change log, here and in the REST API.
pub(super) fn item_json(
    (field, from, to): &(String, Option<String>, Option<String>),
    config: &Config,
) -> Value {
    let id = |name: &Option<String>| {
        name.as_deref()
            .and_then(|name| config.workflow.status(name))
            .map(|status| status.id.to_string())
    };
    json!({
        "field": field, "fieldtype": "jira", "fieldId": field,
        "from": id(from), "fromString": from, "to": id(to), "toString": to,
    })
}

/// A user as JIRA shows one.
pub(super) fn user_json(who: &Person, base: &str) -> Value {
    json!({
        "self": format!("{base}rest/api/3/user?accountId={}", who.account_id),
        "accountId": who.account_id,
        "displayName": who.name,
        "active": true,
        "timeZone": "Etc/UTC",
        "accountType": if who.app { "app" } else { "atlassian" },
    })
}
