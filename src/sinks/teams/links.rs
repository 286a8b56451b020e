//! Where a card leads. Pure.

use serde_json::{Value, json};
use url::Url;

use super::look::Look;
use crate::failure::page;
use crate::ticket::Ticket;

/// Longest URL of a button.
const LINK_LIMIT: usize = 2000;

/// Where to go from here.
pub(super) fn links(ticket: &Ticket, look: &Look<'_>) -> Vec<Value> {
    let dashboard = look.dashboard_base.and_then(|base| {
        let mut url = below(base, &["dashboard"])?;
        let id = ticket.id.as_str();
        url.query_pairs_mut().append_pair("ticket", id);
        Some(url)
    });
    let named = [
        ("Open in JIRA", issue_link(ticket, look)),
        ("Open in Dashboard", dashboard),
        ("Open run", run_link(ticket)),
    ];
    let named = named
        .into_iter()
        .filter_map(|(title, url)| Some((title, url?)));
    named
        .map(|(title, url)| json!({"type": "Action.OpenUrl", "title": title, "url": url.as_str()}))
        .collect()
}

pub(super) fn issue_link(ticket: &Ticket, look: &Look<'_>) -> Option<Url> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let key = ticket.jira.key.as_deref().filter(|key| {
        !ticket.jira.deleted && !key.is_empty() && key.len() <= 100 && key.bytes().all(plain)
    })?;
    below(look.issue_base?, &["browse", key]).filter(is_short)
}

/// Outside text becomes no URL unless it is a web address as a whole.
pub(super) fn run_link(ticket: &Ticket) -> Option<Url> {
    let url = Url::parse(&page::of(&ticket.failure)?).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_web.then_some(url).filter(is_short)
}

fn is_short(url: &Url) -> bool {
    url.as_str().len() <= LINK_LIMIT
}

/// `base` with further path pieces, without query and fragment.
fn below(base: &Url, pieces: &[&str]) -> Option<Url> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(pieces);
    Some(url)
}
