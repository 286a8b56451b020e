//! The lock of dashboard and API: Entra (App Service authentication headers), or a key exchanged for a cookie.
//!
//! Open only in `local`, and only in a build with that feature. The cookie is an HMAC over its expiry with the dashboard key: nothing is kept, any
//! process can check it. Requests that change something need the key in a header, or the cookie together
//! with a token that only our own pages carry.

use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::wire::Request;
use crate::digest::sha256;
use crate::redaction::{cap, redact};

/// With this prefix browsers keep the cookie only from this very host, over TLS and for all paths: no sister site can plant one.
const COOKIE: &str = "__Host-aiops-rca";
/// Over plain http on this machine no browser takes that prefix.
const PLAIN_COOKIE: &str = "aiops-rca";
const SESSION_SECONDS: i64 = 8 * 3600;

/// Who may see and use dashboard and API.
#[derive(Debug, Clone)]
pub enum DashboardLock {
    /// Everybody: only in `local`.
    #[cfg(feature = "local")]
    Open,
    /// Everybody whom App Service authentication let in (`X-MS-CLIENT-PRINCIPAL-*`). Machines use the key, if one is set.
    Entra {
        /// Key for machines.
        key: Option<SecretString>,
    },
    /// Everybody who knows the key.
    Key {
        /// The key.
        key: SecretString,
        /// Reached by plain http on this machine: not every browser takes a `Secure` cookie there.
        plain_http: bool,
    },
    /// Nobody: no lock is configured.
    Closed,
}

/// Who came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As people read it in the audit.
    pub name: String,
    /// Did somebody vouch for the name? Then no request may name another.
    pub is_known: bool,
    /// The token pages put into their forms; a form without it changes nothing.
    pub form_token: String,
}

/// Why somebody did not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No lock is configured.
    Closed,
    /// No or a wrong credential.
    Unknown,
}

fn same(given: &str, expected: &SecretString) -> bool {
    let (given, expected) = (
        Sha256::digest(given),
        Sha256::digest(expected.expose_secret()),
    );
    !bool::from(expected.as_slice().ct_eq(Sha256::digest("").as_slice()))
        && bool::from(given.as_slice().ct_eq(expected.as_slice()))
}

fn sign(key: &SecretString, purpose: &str, text: &str) -> String {
    match Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()) {
        Ok(mac) => hex::encode(
            mac.chain_update(purpose)
                .chain_update(b"|")
                .chain_update(text)
                .finalize()
                .into_bytes(),
        ),
        Err(_) => String::new(),
    }
}

/// Where a sign-in leads back to: a page of the dashboard as it was asked for; anything else is the overview.
pub fn page_of(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let harmless = target.len() <= 2000
        && target.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && (path == "/dashboard" || path.starts_with("/dashboard/"))
        && !path.starts_with("/dashboard/login")
        && !path.contains("//")
        && !path.contains("..");
    if harmless { target } else { "/dashboard" }.to_owned()
}

/// App Service's own sign-in, which leads back to this page.
pub fn entra_sign_in(page: &str) -> String {
    let back: String = url::form_urlencoded::byte_serialize(page_of(page).as_bytes()).collect();
    format!("/.auth/login/aad?post_login_redirect_uri={back}")
}

impl DashboardLock {
    /// Does everybody come in?
    #[cfg(feature = "local")]
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Nobody comes in without a credential: this build has no open dashboard.
    #[cfg(not(feature = "local"))]
    #[expect(clippy::unused_self, reason = "the same call in both builds")]
    pub(super) fn is_open(&self) -> bool {
        false
    }

    /// Lets a request in, or not.
    pub fn authenticate(&self, request: &Request, now: DateTime<Utc>) -> Result<Caller, AuthError> {
        match self {
            Self::Closed => Err(AuthError::Closed),
            #[cfg(feature = "local")]
            Self::Open => Ok(Caller {
                name: "local user".to_owned(),
                is_known: false,
                form_token: form_token_of_this_process(),
            }),
            Self::Entra { key } => entra(request)
                .or_else(|| machine(request, key.as_ref()?))
                .ok_or(AuthError::Unknown),
            Self::Key { key, plain_http } => machine(request, key)
                .or_else(|| {
                    let cookie = if *plain_http { PLAIN_COOKIE } else { COOKIE };
                    session(request, cookie, key, now)
                })
                .ok_or(AuthError::Unknown),
        }
    }

    /// A `Set-Cookie` value for a browser that gave the right key, with the name that its person goes by.
    pub fn cookie_for(&self, given: &str, name: &str, now: DateTime<Utc>) -> Option<String> {
        let Self::Key { key, plain_http } = self else {
            return None;
        };
        if !same(given, key) {
            return None;
        }
        let expires = now.timestamp() + SESSION_SECONDS;
        let name = hex::encode(shown_name(&cap(name.trim(), 80)));
        let content = if name.is_empty() {
            expires.to_string()
        } else {
            format!("{expires}-{name}")
        };
        let signature = sign(key, "session", &content);
        let (cookie, secure) = if *plain_http {
            (PLAIN_COOKIE, "")
        } else {
            (COOKIE, " Secure;")
        };
        // Lax: links in JIRA and Slack lead here while one is signed in. Forms carry a token of their own.
        Some(format!(
            "{cookie}={content}.{signature}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly;{secure} SameSite=Lax"
        ))
    }

    /// A `Set-Cookie` value that ends the session.
    pub fn cookie_for_nobody(&self) -> Option<String> {
        let Self::Key { plain_http, .. } = self else {
            return None;
        };
        let (cookie, secure) = if *plain_http {
            (PLAIN_COOKIE, "")
        } else {
            (COOKIE, " Secure;")
        };
        Some(format!(
            "{cookie}=; Path=/; Max-Age=0; HttpOnly;{secure} SameSite=Lax"
        ))
    }

    /// May this request change something? Machines with a key may; forms need their token.
    pub fn may_change(caller: &Caller, request: &Request, form_token: Option<&str>) -> bool {
        let by_key = request.header("x-dashboard-key").is_some();
        let by_form = form_token
            .is_some_and(|given| bool::from(given.as_bytes().ct_eq(caller.form_token.as_bytes())));
        // Browsers cannot send JSON across sites without asking first, and nothing here answers that question.
        let by_script = request
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/json"));
        by_key || by_form || by_script
    }
}

/// The headers App Service sets and strips from outside requests.
fn entra(request: &Request) -> Option<Caller> {
    let id = request
        .header("x-ms-client-principal-id")
        .filter(|id| !id.is_empty())?;
    let name = request
        .header("x-ms-client-principal-name")
        .filter(|name| !name.is_empty())
        .unwrap_or(id);
    let token = sha256(format!(
        "form|{id}|{}",
        request.header("x-ms-client-principal").unwrap_or_default()
    ));
    Some(Caller {
        name: shown_name(name),
        is_known: true,
        form_token: token,
    })
}

/// A name as it is stored and shown: of a mail address only the part that names the person (law L10).
fn shown_name(name: &str) -> String {
    let name = match name.split_once('@') {
        Some((person, host)) if !person.is_empty() && host.contains('.') => person,
        _ => name,
    };
    cap(&redact(name), 120)
}

/// The name that a cookie carries.
fn name_in(text: &str) -> Option<String> {
    let name = String::from_utf8(hex::decode(text).ok()?).ok()?;
    (!name.is_empty()).then(|| shown_name(&name))
}

/// App Service's own way out.
pub const ENTRA_SIGN_OUT: &str = "/.auth/logout?post_logout_redirect_uri=%2Fdashboard";

static TOKEN: OnceLock<String> = OnceLock::new();

/// Other sites' pages cannot guess it; it ends with the process, and pages have to be loaded again.
pub(super) fn form_token_of_this_process() -> String {
    TOKEN
        .get_or_init(|| uuid::Uuid::new_v4().simple().to_string())
        .clone()
}

/// In the reader: its pages carry the token of the handler that takes their forms.
pub(super) fn adopt_form_token(token: String) {
    let _known = TOKEN.set(token);
}

fn machine(request: &Request, key: &SecretString) -> Option<Caller> {
    let given = request.header("x-dashboard-key")?;
    same(given, key).then(|| Caller {
        name: "API".to_owned(),
        is_known: false,
        form_token: sign(key, "form", "machine"),
    })
}

fn session(
    request: &Request,
    cookie: &str,
    key: &SecretString,
    now: DateTime<Utc>,
) -> Option<Caller> {
    let cookies = request.header("cookie")?;
    let value = cookies
        .split(';')
        .find_map(|sent| sent.trim().strip_prefix(cookie)?.strip_prefix('='))?;
    let (content, signature) = value.split_once('.')?;
    let expected = sign(key, "session", content);
    let (expires, name) = content.split_once('-').unwrap_or((content, ""));
    let genuine =
        !expected.is_empty() && bool::from(signature.as_bytes().ct_eq(expected.as_bytes()));
    let fresh = expires.parse::<i64>().is_ok_and(|at| at > now.timestamp());
    (genuine && fresh).then(|| Caller {
        name: name_in(name).unwrap_or_else(|| "dashboard user".to_owned()),
        is_known: false,
        form_token: sign(key, "form", content),
    })
}
