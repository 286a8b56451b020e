//! The page of owners: what is open of each, and which assets nobody owns.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Visitor, encoded, frame};
use crate::failure::Source;
use crate::ownership::NOBODY;
use crate::ticket::store::Listed;

/// Assets that are named.
const NAMED: usize = 500;

/// What failed of each owner, in a number of days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// By owner: open tickets, and all.
    pub owners: BTreeMap<String, (usize, usize)>,
    /// Assets that nobody owns.
    pub unowned: BTreeSet<(Source, String)>,
    /// There are more tickets than were counted.
    pub partial: bool,
}

impl Owned {
    /// Counts these tickets.
    pub fn of(tickets: &[Listed], partial: bool) -> Self {
        let mut owned = Self {
            partial,
            ..Self::default()
        };
        for ticket in tickets {
            // The tool's own notices are about itself.
            if ticket.source == Source::System {
                continue;
            }
            if ticket.owner.is_none() {
                owned.unowned.insert((ticket.source, ticket.asset.clone()));
            }
            let name = ticket.owner.as_deref().unwrap_or(NOBODY);
            let (open, all) = owned.owners.entry(name.to_owned()).or_default();
            *open += usize::from(!ticket.is_closed());
            *all += 1;
        }
        owned
    }
}

/// What the page shows.
#[derive(Debug)]
pub struct OwnersPage<'a> {
    /// What failed of each.
    pub owned: &'a Owned,
    /// In so many days.
    pub days: u32,
    /// Who looks.
    pub visitor: Visitor<'a>,
}

/// The same as JSON.
pub fn as_json(owned: &Owned) -> Value {
    let owners = (owned.owners.iter())
        .filter(|(name, _)| *name != NOBODY)
        .map(|(name, (open, all))| json!({"owner": name, "open_tickets": open, "tickets": all}));
    let unowned = owned.unowned.iter();
    let unowned = unowned.map(|(source, asset)| json!({"source": source, "asset": asset}));
    let (open, all) = owned.owners.get(NOBODY).copied().unwrap_or_default();
    json!({
        "owners": owners.collect::<Vec<_>>(),
        "nobody": {"open_tickets": open, "tickets": all, "assets": unowned.collect::<Vec<_>>()},
        "truncated": owned.partial,
    })
}

/// The page.
pub fn owners(page: &OwnersPage<'_>) -> Markup {
    let owned = page.owned;
    let body = html! {
        h1.title { "Owners" span.quiet { "of what failed in the last " (page.days) " days" } }
        @if owned.owners.is_empty() {
            section.card.empty { h2 { "Nothing has failed" } p { "In these days there is nothing to own." } }
        } @else {
            table.tickets {
                thead { tr { th { "Owner" } th { "Open" } th { "Tickets" } } }
                tbody {
                    @for (name, (open, all)) in &owned.owners {
                        tr {
                            td { a href={ "/dashboard?owner=" (encoded(name)) "&days=" (page.days) } { (name) } }
                            td { (open) span.label { " open" } }
                            td { (all) @if owned.partial { "+" } span.label { " tickets" } }
                        }
                    }
                }
            }
        }
        @if !owned.unowned.is_empty() {
            section.card.warn {
                h2 { "Nobody owns these" }
                ul { @for (source, asset) in owned.unowned.iter().take(NAMED) { li { (source.label()) " · " (asset) } } }
                @if owned.unowned.len() > NAMED { p { "… and " (owned.unowned.len() - NAMED) " more" } }
                p.quiet { "Name an owner with " code { "OWNERS" } ", or where the asset lives: Airflow's " code { "owner" } ", a tag or annotation " code { "team:…" } ", the folder of a pipeline." }
            }
        }
        p { a href="/dashboard" { "Back to all tickets" } }
    };
    frame("Owners", Some(&page.visitor), &body)
}
