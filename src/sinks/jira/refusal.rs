//! What JIRA's answers mean that are not what was asked for.
//!
//! A [`Failed`] says whether the call can have taken effect; a reason never holds a body, a token or an address.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire;
use crate::fault::Fault;
use crate::http::Reply;
use crate::redaction::{cap, one_line, redact};

pub(super) const JIRA: &str = "JIRA";

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

/// JIRA's own successes are JSON or empty.
pub(super) fn is_web_page(reply: &Reply) -> bool {
    reply.body.trim_ascii_start().starts_with(b"<")
}

/// An answer of success that cannot be read: the call may have been done.
pub(super) fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Failed> {
    serde_json::from_slice(&reply.body).map_err(|error| {
        let what = format!("JSON that we cannot read (line {})", error.line());
        not_jira(reply, &what)
    })
}

/// JIRA says nothing when it has changed an issue: whatever says something in its place has not.
pub(super) fn nothing(reply: &Reply) -> Result<(), Failed> {
    if reply.body.trim_ascii().is_empty() {
        Ok(())
    } else {
        Err(not_jira(reply, "something that is not its own"))
    }
}

pub(super) fn not_jira(reply: &Reply, what: &str) -> Failed {
    Failed::Lost(Fault::transient(format!(
        "JIRA answered {} with {what}: a proxy or maintenance page, or JIRA_DOMAIN is no JIRA Cloud site",
        reply.status
    )))
}

pub(super) fn refusal(reply: &Reply, now: DateTime<Utc>) -> Failed {
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
        401 if lacks_scope(reply) => permanent(
            "JIRA says that the API token lacks a scope (401): it needs read:jira-work, write:jira-work and read:jira-user",
        ),
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

/// The gateway's word for a token that is known and may not do this.
pub(super) fn lacks_scope(reply: &Reply) -> bool {
    reply.status == 401
        && String::from_utf8_lossy(&reply.body)
            .to_lowercase()
            .contains("scope does not match")
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
