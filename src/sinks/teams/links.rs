//! Where a card leads. Pure.

use serde_json::{Value, json};
use url::Url;

use super::look::Look;
use crate::failure::page;
use crate::sinks::{issue_page, ticket_page};
use crate::ticket::Ticket;

/// Longest URL of a button.
const LINK_LIMIT: usize = 2000;

/// Where to go from here.
pub(super) fn buttons(ticket: &Ticket, look: &Look<'_>) -> Vec<Value> {
    let dashboard = look.dashboard_base;
    let dashboard = dashboard.and_then(|base| ticket_page(base, &ticket.id));
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
    let key = ticket
        .jira
        .key
        .as_deref()
        .filter(|_| !ticket.jira.deleted)?;
    issue_page(look.issue_base?, key).filter(is_short)
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
