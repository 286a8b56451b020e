//! The other address of a site: Atlassian's gateway, which alone takes API tokens with scopes.
//!
//! `https://api.atlassian.com/ex/jira/<cloud id>`; the cloud id is asked from the site itself, where anybody may
//! (support.atlassian.com, "Retrieve my Atlassian site's Cloud ID"). Links for people never lead here.

use std::sync::{Arc, OnceLock};

use url::Url;

/// Cloning shares what was found.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    /// `JIRA_GATEWAY_URL`.
    base: Url,
    found: Arc<OnceLock<(String, Url)>>,
    not_needed: Arc<OnceLock<()>>,
}

impl Gateway {
    pub(super) fn new(base: Url) -> Self {
        Self {
            base,
            found: Arc::default(),
            not_needed: Arc::default(),
        }
    }

    /// Where all calls go, once it is known that the site itself refuses our token.
    pub(super) fn root(&self) -> Option<&Url> {
        self.found.get().map(|(_, root)| root)
    }

    pub(super) fn cloud_id(&self) -> Option<&str> {
        self.found.get().map(|(id, _)| id.as_str())
    }

    /// The site took our token: it is not one with scopes, and a later refusal has another reason.
    pub(super) fn site_takes(&self) {
        let _known = self.not_needed.set(());
    }

    /// Is it still open which address takes our token?
    pub(super) fn is_open(&self) -> bool {
        self.found.get().is_none() && self.not_needed.get().is_none()
    }

    /// The site's address there; nothing for what is no cloud id.
    pub(super) fn address(&self, cloud_id: &str) -> Option<Url> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(1..=64).contains(&cloud_id.len()) || !cloud_id.chars().all(plain) {
            return None;
        }
        let mut root = self.base.clone();
        root.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["ex", "jira", cloud_id]);
        Some(root)
    }

    /// From now on all calls go there.
    pub(super) fn found(&self, cloud_id: String, root: Url) -> &Url {
        let (_, root) = self.found.get_or_init(|| (cloud_id, root));
        root
    }
}
