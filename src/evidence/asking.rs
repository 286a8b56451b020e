//! How this room's clients ask: one read-only request, escaped paths, bearer tokens.
//!
//! It does not know any vendor. Every request of this room only reads, so a call that met a passing
//! obstacle is made once more, when the wait is short enough for the budget of an analysis.

use std::time::Duration;

use chrono::Utc;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::fault::Fault;
use crate::http::{Http, Reply};
use crate::identity::Identity;

/// Only RFC 3986's unreserved characters stay as they are in a path piece.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// A longer wish to wait is not granted within one analysis.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const DEFAULT_WAIT: Duration = Duration::from_millis(200);
/// The longest id of a run, cluster or task that goes into a request, in bytes.
const PIECE_CAP: usize = 512;

/// How a client proves who it is.
#[derive(Debug, Clone)]
pub enum Key {
    /// The managed identity: tokens for the vendor's resource.
    Identity(Identity),
    /// A fixed bearer token, such as a Databricks personal access token.
    Token(SecretString),
}

impl Key {
    /// Puts the Authorization header on a request.
    pub(crate) async fn authorize(
        &self,
        resource: &str,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, Fault> {
        let token = match self {
            Self::Identity(identity) => identity.token(resource).await?,
            Self::Token(token) => token.clone(),
        };
        Ok(request.bearer_auth(token.expose_secret()))
    }
}

/// Whose token an endpoint takes: that of its own cloud.
///
/// Each Azure cloud has a copy of each API, under a name of that cloud, and its tokens are made for that name
/// (learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure, …/azure/china/resources-developer-guide).
/// Plain HTTP is this machine (tests, a proxy beside the app): it stands for the public cloud.
pub(crate) fn audience(endpoint: &Url, public: &str) -> String {
    match (endpoint.scheme(), endpoint.host_str()) {
        ("https", Some(host)) => format!("https://{host}"),
        _ => public.to_owned(),
    }
}

/// `base` and further path pieces, each percent-encoded: outside text can never add a piece, a query or a host.
pub(crate) fn url_under(base: &Url, pieces: &[&str]) -> Result<Url, Fault> {
    let mut path = base.path().trim_end_matches('/').to_owned();
    for piece in pieces {
        if matches!(*piece, "" | "." | "..") || piece.len() > PIECE_CAP {
            return Err(Fault::permanent(
                "an id that cannot be part of a path was not asked for",
            ));
        }
        path.push('/');
        path.extend(utf8_percent_encode(piece, ESCAPED));
    }
    let mut url = base.clone();
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Sends a read-only request. `Ok` is any answer that is not worth another try; a passing obstacle is tried
/// once more when the other side's wish (Retry-After) is short.
pub(crate) async fn ask(http: &Http, what: &str, request: RequestBuilder) -> Result<Reply, Fault> {
    let again = request.try_clone();
    match (once(http, what, request).await, again) {
        (
            Err(Fault::Transient {
                reason,
                retry_after,
            }),
            Some(again),
        ) => {
            let wait = retry_after.unwrap_or(DEFAULT_WAIT);
            if wait > LONGEST_WAIT {
                return Err(Fault::Transient {
                    reason,
                    retry_after,
                });
            }
            tokio::time::sleep(wait).await;
            once(http, what, again).await
        }
        (outcome, _) => outcome,
    }
}

async fn once(http: &Http, what: &str, request: RequestBuilder) -> Result<Reply, Fault> {
    let reply = http.send(what, request).await?;
    match reply.fault(what, Utc::now()) {
        fault @ Fault::Transient { .. } if !reply.is_success() => Err(fault),
        _ => Ok(reply),
    }
}

/// `Ok` when no question met a fault; else all reasons, each once.
pub(crate) fn none_refused<'a>(
    faults: impl IntoIterator<Item = Option<&'a Fault>>,
) -> Result<(), Fault> {
    let mut reasons: Vec<&str> = Vec::new();
    for fault in faults.into_iter().flatten() {
        if !reasons.contains(&fault.reason()) {
            reasons.push(fault.reason());
        }
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Fault::permanent(reasons.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_are_no_ids() {
        let base = "https://vendor.example/root/?x=1#y".parse().unwrap();
        for piece in ["", ".", ".."] {
            assert!(url_under(&base, &["runs", piece, "log"]).is_err());
        }
        assert_eq!(
            url_under(&base, &["runs", "a"]).unwrap().as_str(),
            "https://vendor.example/root/runs/a"
        );
    }

    proptest! {
        #[test]
        fn a_piece_stays_one_piece_and_decodes_to_itself(piece in "\\PC{1,40}|[\\x00-\\x7f]{1,20}") {
            let base: Url = "https://vendor.example/root".parse().unwrap();
            if let Ok(url) = url_under(&base, &["runs", &piece, "log"]) {
                prop_assert_eq!(url.host_str(), Some("vendor.example"));
                prop_assert_eq!(url.query(), None);
                let pieces: Vec<_> = url.path_segments().unwrap().collect();
                prop_assert_eq!(pieces.len(), 4);
                prop_assert_eq!(percent_encoding::percent_decode_str(pieces[2]).decode_utf8().unwrap(), piece);
            }
        }
    }
}
