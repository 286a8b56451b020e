//! Calling a playbook's trigger, and the one-time address it calls back.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use sha2::Sha256;
use url::Url;

use crate::diagnosis::Action;
use crate::failure::field;
use crate::http::{Http, Reply};
use crate::redaction::{cap, redact};
use crate::ticket::{Attempt, Ticket};

/// The door that playbooks call back.
const CALLBACK_DOOR: &str = "remediation-callback";
/// As much of a refusal's message as a ticket shows.
const REASON_CAP: usize = 300;

/// A trigger URL: its signature is the permission to act, so the whole of it is a secret.
#[derive(Clone)]
pub struct SecretUrl(SecretString);

/// Why a text is no usable trigger URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretUrlError {
    /// Not a URL.
    #[error("is not a URL")]
    NotAUrl,
    /// Not https (http is allowed on the loopback address only).
    #[error("must begin with https://")]
    NotHttps,
}

impl SecretUrl {
    /// Reads a URL from the configuration.
    pub fn parse(text: &str) -> Result<Self, SecretUrlError> {
        let url = Url::parse(text.trim()).map_err(|_| SecretUrlError::NotAUrl)?;
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        match url.scheme() {
            "https" if url.has_host() => Ok(Self(url.to_string().into())),
            "http" if loopback => Ok(Self(url.to_string().into())),
            "http" => Err(SecretUrlError::NotHttps),
            _ => Err(SecretUrlError::NotAUrl),
        }
    }

    /// The host alone, which may be shown.
    pub fn host(&self) -> String {
        self.url()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// The root of its host: asking there runs nothing, and tells nobody the signature.
    pub fn root(&self) -> Option<Url> {
        self.url()?.join("/").ok()
    }

    /// Does it carry the signature that Logic Apps ask for?
    pub fn is_signed(&self) -> bool {
        self.url().is_some_and(|url| {
            url.query_pairs()
                .any(|(name, value)| name == "sig" && !value.is_empty())
        })
    }

    fn url(&self) -> Option<Url> {
        Url::parse(self.0.expose_secret()).ok()
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretUrl(https://{}/…)", self.host())
    }
}

/// Which playbook does what, and how playbooks call back.
#[derive(Debug, Clone)]
pub struct PlaybookSettings {
    /// `PLAYBOOK_*`: the trigger of each action that has a playbook.
    pub urls: BTreeMap<Action, SecretUrl>,
    /// `PUBLIC_BASE_URL`: where playbooks reach us; the door's name is added here.
    pub callback_base: Url,
    /// `CALLBACK_SIGNING_KEY`: signs the one-time token of every callback address.
    pub signing_key: SecretString,
}

/// What calling a playbook came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// It runs; the callback will tell the rest.
    Accepted {
        /// The workflow's run id (`x-ms-workflow-run-id`), for people who look into the portal.
        workflow_run: Option<String>,
    },
    /// It will never run (4xx): a person takes over.
    Refused(String),
    /// It may or may not run: never repeated, the watchdog asks the vendor.
    Unknown(String),
    /// It was surely not started; the same call may be made again, not before the given time.
    NotSent(String, Option<Duration>),
}

/// The playbooks as configured; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Playbooks {
    settings: PlaybookSettings,
    http: Http,
}

impl Playbooks {
    /// Nothing is called before [`Playbooks::call`].
    pub fn new(settings: PlaybookSettings, http: Http) -> Self {
        Self { settings, http }
    }

    /// The trigger of this action's playbook, if there is one.
    pub fn url(&self, action: Action) -> Option<&SecretUrl> {
        self.settings.urls.get(&action)
    }

    /// Calls the playbook of `attempt.action`. The attempt must be recorded as being called before this.
    pub async fn call(
        &self,
        ticket: &Ticket,
        attempt: &Attempt,
        now: DateTime<Utc>,
    ) -> CallOutcome {
        let Some(url) = self.url(attempt.action).and_then(SecretUrl::url) else {
            return CallOutcome::Refused("no playbook is configured for this action".to_owned());
        };
        let callback = self.callback_url(ticket.id.as_str(), &attempt.id);
        let body = request_body(ticket, attempt, &callback);
        let request = self
            .http
            .request(Method::POST, &url)
            .header("x-ms-client-tracking-id", &attempt.id)
            .json(&body);
        match self.http.send("the playbook", request).await {
            Ok(reply) => sort(&reply, now),
            Err(no_reply) if no_reply.sent => {
                CallOutcome::Unknown(no_reply.fault.reason().to_owned())
            }
            Err(no_reply) if no_reply.fault.is_transient() => {
                CallOutcome::NotSent(no_reply.fault.reason().to_owned(), None)
            }
            Err(no_reply) => CallOutcome::Refused(no_reply.fault.reason().to_owned()),
        }
    }

    /// The address that this attempt's playbook calls back, with its one-time token.
    pub fn callback_url(&self, ticket_id: &str, attempt_id: &str) -> Url {
        let mut url = self.settings.callback_base.clone();
        url.set_query(None);
        url.set_fragment(None);
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{CALLBACK_DOOR}"));
        let token = self
            .mac(ticket_id, attempt_id)
            .map(|mac| hex::encode(mac.finalize().into_bytes()))
            .unwrap_or_default();
        url.query_pairs_mut()
            .append_pair("ticket", ticket_id)
            .append_pair("attempt", attempt_id)
            .append_pair("token", &token);
        url
    }

    /// Is this the token of that attempt? In constant time; never with an empty signing key.
    pub fn verify_callback(&self, ticket_id: &str, attempt_id: &str, token: &str) -> bool {
        let Ok(token) = hex::decode(token) else {
            return false;
        };
        let closed = self.settings.signing_key.expose_secret().is_empty();
        !closed
            && self
                .mac(ticket_id, attempt_id)
                .is_some_and(|mac| mac.verify_slice(&token).is_ok())
    }

    /// Neither id can hold the separator. HMAC takes keys of any length, so this is never `None`; if it
    /// were, no token would fit.
    fn mac(&self, ticket_id: &str, attempt_id: &str) -> Option<Hmac<Sha256>> {
        let key =
            Hmac::<Sha256>::new_from_slice(self.settings.signing_key.expose_secret().as_bytes())
                .ok()?;
        Some(
            key.chain_update(ticket_id)
                .chain_update("|")
                .chain_update(attempt_id),
        )
    }
}

fn sort(reply: &Reply, now: DateTime<Utc>) -> CallOutcome {
    let reason = || reason(reply);
    match reply.status {
        200..=299 => {
            let run = reply
                .headers
                .get("x-ms-workflow-run-id")
                .and_then(|value| value.to_str().ok());
            CallOutcome::Accepted {
                workflow_run: run.map(|run| cap(run, 128)),
            }
        }
        // Throttled before anything started; everything else that is "try again" may have started.
        429 => CallOutcome::NotSent(reason(), reply.retry_after(now)),
        408 | 500..=599 => CallOutcome::Unknown(reason()),
        404 => CallOutcome::Refused(format!(
            "{}; is the Logic App enabled, and its URL up to date?",
            reason()
        )),
        401 | 403 => CallOutcome::Refused(format!(
            "{}; the URL's signature is no longer valid",
            reason()
        )),
        _ => CallOutcome::Refused(reason()),
    }
}

/// The status and the service's own code and message, which hold nothing secret once redacted.
fn reason(reply: &Reply) -> String {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let part = |name: &str| {
        body.pointer(&format!("/error/{name}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let detail = format!("{} {}", part("code"), part("message"));
    let detail = cap(redact(&detail).trim(), REASON_CAP);
    let status = format!("the playbook answered {}", reply.status);
    if detail.is_empty() {
        status
    } else {
        format!("{status}: {detail}")
    }
}

/// The request: the guide's four fields, the attempt, and what the action needs. What is not known is left out.
pub fn request_body(ticket: &Ticket, attempt: &Attempt, callback_url: &Url) -> Value {
    let failure = &ticket.failure;
    let requested_at = attempt.called_at.unwrap_or(attempt.due_at);
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    put("ticket_id", json!(ticket.id));
    put("pipeline_name", json!(failure.asset));
    put("callback_url", json!(callback_url.as_str()));
    put("attempt_id", json!(attempt.id));
    put("attempt_number", json!(attempt.number));
    put("max_attempts", json!(ticket.remediation.max_attempts));
    put("action", json!(attempt.action));
    put("error_type", json!(ticket.diagnosis.error_type));
    put("source", json!(failure.source.name()));
    put("kind", json!(failure.kind));
    put(
        "requested_at",
        json!(requested_at.to_rfc3339_opts(SecondsFormat::Millis, true)),
    );
    if let Some(node_type) = &attempt.node_type {
        put("node_type_id", json!(node_type));
    }
    if let Some(run_id) = &failure.run_id {
        put("original_run_id", json!(run_id));
    }
    // Where it ran: a playbook that acts in another place must refuse.
    if let Some(scope) = failure.scope() {
        put("scope", json!(scope));
    }
    if failure.kind == crate::failure::AssetKind::Job {
        put("job_name", json!(failure.asset));
    }
    for name in [
        field::JOB_ID,
        field::TASK_KEY,
        field::CLUSTER_ID,
        field::DAG_ID,
        field::TASK_ID,
        field::LOGICAL_DATE,
        field::TRY_NUMBER,
    ] {
        if let Some(value) = failure.field(name) {
            put(name, json!(value));
        }
    }
    // Airflow says -1 for a task that is not mapped.
    if let Some(index) = failure
        .field(field::MAP_INDEX)
        .and_then(|index| index.parse::<i64>().ok())
        .filter(|index| *index >= 0)
    {
        put(field::MAP_INDEX, json!(index));
    }
    Value::Object(body)
}
