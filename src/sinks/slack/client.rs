//! The wire to Slack's Web API: one call, one sorted answer.
//!
//! In: a method and its arguments. Out: the answer's JSON, or what went wrong, told apart by the one thing
//! that matters for exactly-once: did Slack refuse (nothing was done), or is the outcome unknown? Slack
//! answers 200 with `{"ok": false, "error": …}` for almost every failure, so the error's name decides, not
//! the status. The room does not know tickets or blocks. Reasons never hold the token or a body.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::fault::Fault;
use crate::http::{Http, NoReply, Reply};
use crate::redaction::{cap, redact};

/// When Slack names no time: two messages came too close.
const TOO_CLOSE: Duration = Duration::from_secs(2);
/// When it names none and means the whole workspace.
const TOO_MANY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Client {
    http: Http,
    base: Url,
    token: SecretString,
}

/// An `ok` answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The whole body.
    pub(super) body: Value,
    /// `x-oauth-scopes`: what the token may do.
    pub(super) scopes: Option<String>,
}

/// No `ok` answer.
#[derive(Debug, Clone)]
pub(super) enum Failed {
    /// Slack said no: nothing was done.
    Refused(Refusal),
    /// It may have been done or not.
    Unknown(Fault),
}

/// What Slack said no with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The error's name, e.g. `channel_not_found`.
    pub(super) code: String,
    /// The scope that is missing.
    pub(super) needed: Option<String>,
    /// The scopes the token has.
    pub(super) provided: Option<String>,
    /// Details on invalid blocks.
    pub(super) messages: Vec<String>,
    /// When to come back.
    pub(super) retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    needed: Option<String>,
    #[serde(default)]
    provided: Option<String>,
    #[serde(default)]
    response_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    messages: Vec<String>,
}

impl Client {
    pub(super) fn new(http: Http, base: Url, token: SecretString) -> Self {
        Self { http, base, token }
    }

    /// Calls a method that writes, with a JSON body.
    pub(super) async fn post(
        &self,
        method: &str,
        arguments: &Value,
        now: DateTime<Utc>,
    ) -> Result<Answer, Failed> {
        let request = self
            .request(Method::POST, method)?
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(arguments.to_string());
        self.send(method, request, now).await
    }

    /// Calls a method that reads, with a query.
    pub(super) async fn get(
        &self,
        method: &str,
        arguments: &[(&str, &str)],
        now: DateTime<Utc>,
    ) -> Result<Answer, Failed> {
        let request = self.request(Method::GET, method)?.query(arguments);
        self.send(method, request, now).await
    }

    fn request(&self, verb: Method, method: &str) -> Result<reqwest::RequestBuilder, Failed> {
        let mut url = self.base.clone();
        let pushed = url.path_segments_mut().map(|mut path| {
            path.pop_if_empty().push(method);
        });
        pushed.map_err(|()| {
            Failed::Unknown(Fault::permanent("Slack's API base is not a web address"))
        })?;
        Ok(self
            .http
            .request(verb, &url)
            .bearer_auth(self.token.expose_secret()))
    }

    async fn send(
        &self,
        method: &str,
        request: reqwest::RequestBuilder,
        now: DateTime<Utc>,
    ) -> Result<Answer, Failed> {
        match self.http.send("Slack", request).await {
            Ok(reply) => sort_reply(method, &reply, now),
            // No connection was made: as good as a refusal, but it says so in its own words.
            Err(NoReply { fault, sent: false }) if fault.is_transient() => {
                Err(Failed::Refused(Refusal {
                    code: NOT_REACHED.into(),
                    messages: vec![fault.reason().into()],
                    ..Refusal::default()
                }))
            }
            Err(NoReply { fault, .. }) => Err(Failed::Unknown(fault)),
        }
    }
}

/// Our own name for "no connection was made".
const NOT_REACHED: &str = "not_reached";

fn sort_reply(method: &str, reply: &Reply, now: DateTime<Utc>) -> Result<Answer, Failed> {
    let retry_after = reply.retry_after(now);
    if reply.status == 429 {
        return Err(Failed::Refused(Refusal {
            code: "ratelimited".into(),
            retry_after,
            ..Refusal::default()
        }));
    }
    let body = serde_json::from_slice::<Value>(&reply.body).ok();
    let envelope = body
        .as_ref()
        .and_then(|body| Envelope::deserialize(body).ok());
    match (body, envelope) {
        (Some(body), Some(envelope)) if envelope.ok && reply.is_success() => {
            let scopes = reply
                .headers
                .get("x-oauth-scopes")
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            Ok(Answer { body, scopes })
        }
        (
            _,
            Some(Envelope {
                ok: false,
                error: Some(code),
                needed,
                provided,
                response_metadata,
            }),
        ) => {
            let code = cap(&redact(&code), 100);
            if matches!(
                code.as_str(),
                "fatal_error" | "internal_error" | "request_timeout" | "service_unavailable"
            ) {
                // Slack: "It's possible some aspect of the operation succeeded before the error was raised."
                return Err(Failed::Unknown(Fault::transient_after(
                    format!("Slack had a fault of its own ({method}: {code})"),
                    retry_after,
                )));
            }
            let messages = response_metadata
                .map(|metadata| metadata.messages)
                .unwrap_or_default();
            let messages = messages
                .iter()
                .take(3)
                .map(|message| cap(&redact(message), 200))
                .collect();
            Err(Failed::Refused(Refusal {
                code,
                needed,
                provided,
                messages,
                retry_after,
            }))
        }
        _ if reply.is_success() => Err(Failed::Unknown(Fault::transient(format!(
            "Slack answered {method} with something that is not its JSON"
        )))),
        _ => Err(Failed::Unknown(reply.fault("Slack", now))),
    }
}

impl Failed {
    /// The fault, for a caller to whom all refusals are alike.
    pub(super) fn fault(&self, method: &str, channel: &str) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(method, channel),
            Self::Unknown(fault) => fault.clone(),
        }
    }

    /// The refusal's name.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            Self::Unknown(_) => None,
        }
    }
}

impl Refusal {
    /// Sorts the documented errors: come back later, our mistake, or a setting somebody must change.
    pub(super) fn fault(&self, method: &str, channel: &str) -> Fault {
        let code = self.code.as_str();
        let later = match code {
            "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
                Some("Slack asks to slow down")
            }
            NOT_REACHED => Some(
                self.messages
                    .first()
                    .map_or("Slack could not be reached", String::as_str),
            ),
            "team_added_to_org" | "ekm_access_denied" | "accesslimited" => {
                Some("Slack does not let anybody in for the moment")
            }
            "duplicate_message_not_found" | "duplicate_channel_not_found" => {
                Some("Slack is still working on the first try")
            }
            _ => None,
        };
        if let Some(why) = later {
            let wait = self.retry_after.or_else(|| self.silence());
            return Fault::transient_after(format!("{why} ({method}: {code})"), wait);
        }
        let summary = self.summary(method);
        Fault::permanent(match self.remedy(channel) {
            Some(remedy) => format!("{summary}: {remedy}"),
            None => summary,
        })
    }

    /// How long Slack wants nothing more of this kind, if it is that what it says.
    pub(super) fn silence(&self) -> Option<Duration> {
        let least = match self.code.as_str() {
            "ratelimited" | "rate_limited" => TOO_CLOSE,
            code if code.contains("limit") => TOO_MANY,
            _ => return None,
        };
        Some(self.retry_after.unwrap_or(least))
    }

    /// What Slack said, without what to do about it.
    pub(super) fn summary(&self, method: &str) -> String {
        let details = if self.messages.is_empty() {
            String::new()
        } else {
            format!(" [{}]", self.messages.join("; "))
        };
        format!("Slack refused ({method}: {}{details})", self.code)
    }

    /// What a person has to do about it.
    pub(super) fn remedy(&self, channel: &str) -> Option<String> {
        let channel = cap(&redact(channel), 100);
        Some(match self.code.as_str() {
            "not_authed" => "no token was sent; set SLACK_BOT_TOKEN".to_owned(),
            "invalid_auth" => "the token is not valid; copy the Bot User OAuth Token (xoxb-…) into SLACK_BOT_TOKEN".to_owned(),
            "token_revoked" | "token_expired" | "account_inactive" | "org_login_required" | "enterprise_is_restricted" => {
                "the token no longer works; reinstall the app (OAuth & Permissions) and set the new SLACK_BOT_TOKEN".to_owned()
            }
            "missing_scope" | "not_allowed_token_type" | "no_permission" | "access_denied" => {
                let needed = self.needed.as_deref().map_or_else(|| "chat:write".to_owned(), |scope| cap(&redact(scope), 100));
                let has =
                    self.provided.as_deref().map(|scopes| format!(" (it has {})", cap(&redact(scopes), 300))).unwrap_or_default();
                format!("the token needs the scope {needed}{has}; add it under OAuth & Permissions and reinstall the app")
            }
            "channel_not_found" => format!(
                "there is no channel {channel} that the app can see; check SLACK_ALERT_CHANNEL, and invite the app if it is private"
            ),
            "not_in_channel" => format!("the app is not in {channel}; /invite it there, or add the scope chat:write.public"),
            "is_archived" => format!("the channel {channel} is archived; unarchive it or set SLACK_ALERT_CHANNEL to another"),
            "restricted_action"
            | "restricted_action_read_only_channel"
            | "restricted_action_thread_only_channel"
            | "restricted_action_thread_locked"
            | "restricted_action_non_threadable_channel"
            | "as_user_not_supported"
            | "slack_connect_file_link_sharing_blocked" => {
                format!("a workspace or channel setting forbids the app to post in {channel}; an admin must allow it")
            }
            "team_access_not_granted" | "two_factor_setup_required" | "team_not_found" => {
                "the app is not allowed in this workspace; an admin must approve it".to_owned()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> Fault {
        Refusal {
            code: code.into(),
            ..Refusal::default()
        }
        .fault("chat.postMessage", "#alerts")
    }

    #[test]
    fn errors_are_sorted() {
        for code in ["ratelimited", "rate_limited", "not_reached"] {
            assert!(refused(code).is_transient(), "{code}");
        }
        for code in [
            "msg_too_long",
            "no_text",
            "invalid_blocks",
            "invalid_arguments",
            "an_error_of_tomorrow",
        ] {
            assert!(!refused(code).is_transient(), "{code}");
        }
        for code in [
            "invalid_auth",
            "token_revoked",
            "token_expired",
            "account_inactive",
            "channel_not_found",
            "not_in_channel",
            "is_archived",
            "restricted_action",
            "missing_scope",
        ] {
            let fault = refused(code);
            assert!(
                !fault.is_transient() && fault.reason().contains("): "),
                "{code} says what to do: {fault}"
            );
        }
    }

    #[test]
    fn a_missing_scope_is_named() {
        let refusal = Refusal {
            code: "missing_scope".into(),
            needed: Some("chat:write".into()),
            provided: Some("channels:read".into()),
            ..Refusal::default()
        };
        let fault = refusal.fault("chat.postMessage", "#alerts");
        assert!(
            fault
                .reason()
                .contains("the scope chat:write (it has channels:read)"),
            "{fault}"
        );
    }
}
