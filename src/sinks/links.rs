//! Where people find a ticket: its issue in JIRA, and its page. Pure.

use url::Url;

use crate::ticket::TicketId;

/// The page of an issue, if its key is one: a key comes from outside.
pub(super) fn issue_page(base: &Url, key: &str) -> Option<Url> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_key = !key.is_empty() && key.len() <= 100 && key.bytes().all(plain);
    below(base, &["browse", key]).filter(|_| is_key)
}

/// The dashboard.
pub(super) fn dashboard_page(base: &Url) -> Option<Url> {
    below(base, &["dashboard"])
}

/// The ticket's page.
pub fn ticket_page(base: &Url, id: &TicketId) -> Option<Url> {
    let mut url = dashboard_page(base)?;
    url.query_pairs_mut().append_pair("ticket", id.as_str());
    Some(url)
}

/// `base` with further path pieces, without query and fragment.
fn below(base: &Url, pieces: &[&str]) -> Option<Url> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(pieces);
    Some(url)
}
