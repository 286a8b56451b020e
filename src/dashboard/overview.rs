//! The list page: what is open, what happened, what needs a person.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::filter::{Filter, Group, Only, Sort};
use super::{Overview, frame, issue, moment, prose, relative, time, week};
use crate::diagnosis::Category;
use crate::failure::Source;
use crate::ticket::numbers::{Numbers, top};
use crate::ticket::store::Listed;
use crate::ticket::{Priority, RemediationState, Status};

/// Rows of a page.
const ROWS: usize = 50;

/// The page with all tickets: what somebody has to look at stands above what is closed.
pub fn overview(page: &Overview<'_>) -> Markup {
    let mut shown: Vec<&Listed> = page.tickets.iter().collect();
    page.view.sort(&mut shown);
    let pages = shown.len().div_ceil(ROWS).max(1);
    let number = page.view.page.min(pages);
    let rows: Vec<&Listed> = shown
        .iter()
        .skip((number - 1) * ROWS)
        .take(ROWS)
        .copied()
        .collect();
    let body = html! {
        div.title {
            h1 { "Failures" }
            (week::ranges(page.filter.days, &page.query))
        }
        div #alerts data-live="" {
            @if !page.problems.is_empty() {
                section.card.warn { h2 { "Settings need attention" } ul { @for problem in page.problems { li { (problem) } } } }
            }
            (outages(page))
            (blocked_sinks(page))
            (dead_letters(page))
        }
        (tiles(&page.summary.total, page))
        (filter_form(page))
        (unknown(page.filter))
        p.fresh #fresh role="status" {}
        div #tickets data-live="" {
            @if shown.is_empty() {
                section.card.empty {
                    h2 { "No tickets here" }
                    @if page.filter.hides() {
                        p { "Nothing matches. " a href=(format!("/dashboard?days={}", page.filter.days)) { "Show all of these days" } }
                    } @else {
                        p { "Nothing has failed in this time. Failures arrive at " code { "/azure-monitor" } ", "
                            code { "/databricks-monitor" } " and " code { "/airflow-monitor" } "." }
                    }
                }
            } @else {
                form.list method="post" action="/dashboard/bulk/acknowledge" {
                    input type="hidden" name="token" value=(page.form_token);
                    input type="hidden" name="back" value=(page.query.at("/dashboard"));
                    (table(&rows, page))
                    div.under {
                        button.second type="submit" { "Close selected" }
                        (pager(shown.len(), number, pages, page))
                    }
                }
            }
            (stretch(page))
        }
        div #week data-live="" { (week::picture(page.summary)) (week::most(page.summary, &page.query)) }
        p.quiet.foot {
            span data-zone="" { "Times are UTC." } " " a href=(page.query.at("/api/tickets.csv")) { "Export as CSV" }
            " · " a href="/dashboard/scopes" { "Platforms that are asked" } " · " a href="/dashboard/owners" { "Owners" }
            " · " a href="/dashboard/silences" { "Silences" }
            span.keys { " · Keys: " kbd { "/" } " find, " kbd { "j" } " " kbd { "k" } " next and previous, " kbd { "e" } " select to close" }
        }
    };
    frame("Failures", Some(&page.visitor), &body)
}

/// Vendors that do not answer: nobody here has to do anything but wait.
fn outages(page: &Overview<'_>) -> Markup {
    html! {
        @if !page.outages.is_empty() {
            section.card.warn {
                h2 { "Deliveries wait" }
                ul {
                    @for (sink, outage) in page.outages {
                        li { (sink.title()) " does not answer since " (moment(outage.since)) ": " (outage.reason) ". Next call " (relative(outage.next_call, page.now)) "." }
                    }
                }
                p.quiet { "Other sinks are not held up. What waits is delivered as soon as there is an answer." }
            }
        }
    }
}

/// What somebody has to repair before tickets can be shown everywhere: for each sink how many wait, since when, and why.
fn blocked_sinks(page: &Overview<'_>) -> Markup {
    let blocked = &page.blocked.0;
    html! {
        @if !blocked.is_empty() {
            section.card.warn {
                h2 { "Deliveries are blocked" }
                ul {
                    @for (sink, blocked) in blocked {
                        li { (sink.title()) ", since " (moment(blocked.since)) ": " (blocked.tickets) " ticket" @if blocked.tickets != 1 { "s" } " not shown there. " (blocked.reason) }
                    }
                }
                p.quiet { "They are tried again by themselves, at once when the settings change or " code { "aiops-rca doctor" } " is run." }
            }
        }
    }
}

/// Counts of these days; each leads to its tickets, and away from them again.
fn tiles(counts: &Numbers, page: &Overview<'_>) -> Markup {
    let more = if counts.partial { "+" } else { "" };
    let filter = page.filter;
    let is = |status| filter.status == Some(status);
    let only = |only| filter.only == Some(only);
    let tile = |label: &str, class: &str, number: usize, name: &str, value: &str, on: bool| {
        // Nothing is no reason for alarm.
        let class = if number == 0 { "" } else { class };
        let cleared = page.query.with(&[("status", ""), ("only", "")]);
        let link = if on {
            cleared
        } else {
            cleared.with(&[(name, value)])
        };
        html! { a class={ "tile " (class) } href=(link.at("/dashboard")) aria-current=[on.then_some("true")] { strong { (number) (more) } span { (label) } } }
    };
    html! {
        nav.tiles #tiles data-live="" aria-label="Counts" {
            (tile("open", "", counts.open, "status", "open", is(Status::Open)))
            (tile("in progress", "", counts.in_progress, "status", "in_progress", is(Status::InProgress)))
            (tile("waiting for approval", "ask", counts.awaiting_approval, "only", "approval", only(Only::Approval)))
            (tile("SLA breached", "bad", counts.breached, "only", "breached", only(Only::Breached)))
            (tile("healed", "good", counts.healed, "only", "healed", only(Only::Healed)))
            (tile("recovered", "good", counts.recovered, "only", "recovered", only(Only::Recovered)))
        }
    }
}

fn dead_letters(page: &Overview<'_>) -> Markup {
    let waiting: Vec<_> = page
        .dead_letters
        .iter()
        .filter(|letter| letter.replayed_at.is_none())
        .collect();
    html! {
        @if !waiting.is_empty() {
            section.card.warn {
                h2 { (waiting.len()) " message(s) could not be handled" }
                p { "They are kept. Once the cause is fixed, put them back with " code { "aiops-rca replay" } "." }
                ul { @for letter in waiting.iter().take(10) { li { code { (letter.id) } " from queue " (letter.queue) ": " (letter.reason) } } }
            }
        }
    }
}

fn option(value: &str, label: &str, chosen: bool) -> Markup {
    html! { option value=(value) selected[chosen] { (label) } }
}

fn filter_form(page: &Overview<'_>) -> Markup {
    let filter = page.filter;
    let counts = &page.summary.total;
    let owners: BTreeMap<String, &str> = top(&counts.owners, 50)
        .into_iter()
        .map(|(owner, _)| (owner.to_lowercase(), owner))
        .collect();
    let groups = [
        (Group::None, "none"),
        (Group::Asset, "asset"),
        (Group::Cause, "error"),
        (Group::Category, "category"),
        (Group::Source, "platform"),
        (Group::Owner, "owner"),
    ];
    html! {
        form.filter method="get" action="/dashboard" role="search" {
            input type="hidden" name="days" value=(filter.days);
            @if page.view.sort != Sort::default() { input type="hidden" name="sort" value=(<&str>::from(page.view.sort)); }
            @if let Some(asset) = &filter.asset { input type="hidden" name="asset" value=(asset); }
            label.find { "Find" input #find type="search" name="q" value=(filter.text) placeholder="pipeline, cause, host, run, person"; }
            details.more open {
                summary { "Filters" }
                div {
                    label { "Status" select name="status" {
                        (option("", "all", filter.status.is_none()))
                        @for status in [Status::Open, Status::InProgress, Status::Acknowledged] {
                            (option(status.name(), &status.name().replace('_', " "), filter.status == Some(status)))
                        }
                    } }
                    label { "Priority" select name="priority" {
                        (option("", "all", filter.priority.is_none()))
                        @for priority in [Priority::P1, Priority::P2, Priority::P3, Priority::P4] {
                            (option(&priority.to_string(), &priority.to_string(), filter.priority == Some(priority)))
                        }
                    } }
                    label { "Platform" select name="source" {
                        (option("", "all", filter.source.is_none()))
                        @for source in Source::ALL {
                            (option(source.name(), source.label(), filter.source == Some(source)))
                        }
                    } }
                    label { "Category" select name="category" {
                        (option("", "all", filter.category.is_none()))
                        @for name in categories(counts, filter.category) {
                            (option(&name, &name, filter.category.is_some_and(|chosen| chosen.words() == name)))
                        }
                    } }
                    @if !owners.is_empty() || filter.owner.is_some() {
                        label { "Owner" select name="owner" {
                            (option("", "all", filter.owner.is_none()))
                            @if let Some(owner) = filter.owner.as_ref().filter(|owner| !owners.contains_key(*owner)) { (option(owner, owner, true)) }
                            @for (key, owner) in &owners { (option(owner, owner, filter.owner.as_ref() == Some(key))) }
                        } }
                    }
                    label { "Group" select name="group" {
                        @for (group, words) in groups { (option(if group == Group::None { "" } else { group.into() }, words, page.view.group == group)) }
                    } }
                }
            }
            button type="submit" { "Show" }
            @if filter.hides() { a.clear href=(format!("/dashboard?days={}", filter.days)) { "Clear" } }
        }
        @if let Some(asset) = &filter.asset { p.chosen { "Only " code { (asset) } " · " a href=(page.query.with(&[("asset", "")]).at("/dashboard")) { "all assets" } } }
    }
}

/// Those that occur, and the chosen one.
fn categories(counts: &Numbers, chosen: Option<Category>) -> Vec<String> {
    let mut names: Vec<String> = counts.categories.keys().cloned().collect();
    names.extend(chosen.map(|chosen| chosen.words().to_owned()));
    names.sort();
    names.dedup();
    names
}

/// Values that nobody knows filter nothing: whoever typed one has to know.
fn unknown(filter: &Filter) -> Markup {
    html! {
        @if !filter.unknown.is_empty() {
            p.card.warn role="alert" {
                @for (name, value) in &filter.unknown { "There is no " (name) " " code { (value) } ": it filters nothing. " }
            }
        }
    }
}

/// Which part of a long list this is, and the way to the others.
fn stretch(page: &Overview<'_>) -> Markup {
    let newest = page.query.newest();
    html! {
        @if newest.is_some() || page.older.is_some() {
            p role="status" {
                @if newest.is_some() { "Older failures: " (page.tickets.len()) " are shown. " }
                @else { "The newest " (page.tickets.len()) " are shown. " }
                @if let Some(newest) = &newest { a href=(newest.at("/dashboard")) rel="prev" { "Newest failures" } " " }
                @if let Some(older) = &page.older { a href=(older) rel="next" { "Older failures" } }
            }
        }
    }
}

fn pager(all: usize, number: usize, pages: usize, page: &Overview<'_>) -> Markup {
    let at = |number: usize| {
        page.query
            .with(&[("page", &number.to_string())])
            .at("/dashboard")
    };
    html! {
        nav.pager aria-label="Pages" {
            span.quiet { (all) @if all == 1 { " incident" } @else { " incidents" } @if pages > 1 { ", page " (number) " of " (pages) } }
            @if number > 1 { a href=(at(number - 1)) rel="prev" { "Previous" } }
            @if number < pages { a href=(at(number + 1)) rel="next" { "Next" } }
        }
    }
}

fn heading(page: &Overview<'_>, sort: Sort, words: &str) -> Markup {
    let chosen = page.view.sort == sort;
    let name: &str = sort.into();
    let name = if sort == Sort::default() { "" } else { name };
    let link = page.query.with(&[("sort", name)]).at("/dashboard");
    html! { th scope="col" aria-sort=[chosen.then_some("other")] { a href=(link) { (words) } } }
}

fn table(tickets: &[&Listed], page: &Overview<'_>) -> Markup {
    let mut before = None;
    let rows = tickets.iter().map(|ticket| {
        let heading = page.view.group.heading(ticket);
        let new = page.view.group != Group::None && before.as_ref() != Some(&heading);
        before = Some(heading.clone());
        (new.then_some(heading), ticket)
    });
    html! {
        table.tickets {
            thead { tr {
                // Selecting all is the script's.
                th.pick scope="col" { span.hidden { "Select" } label.all hidden { input #all type="checkbox"; span { "Select all" } } }
                (heading(page, Sort::Priority, "Priority"))
                (heading(page, Sort::Asset, "What failed"))
                th scope="col" { "Root cause" }
                (heading(page, Sort::Status, "Status"))
                (heading(page, Sort::Sla, "SLA"))
                th scope="col" { "JIRA" }
                (heading(page, Sort::Reported, "Reported"))
            } }
            tbody {
                @for (heading, ticket) in rows {
                    @if let Some(heading) = heading { tr.group { th colspan="8" scope="colgroup" { (heading) } } }
                    (row(ticket, page))
                }
            }
        }
    }
}

fn row(ticket: &Listed, page: &Overview<'_>) -> Markup {
    let id = ticket.id.as_str();
    let status = ticket.incident_status();
    let closed = status == Status::Acknowledged;
    html! {
        tr.settled[closed] #{ "t-" (id) } data-row="" {
            td.pick { @if !closed { input type="checkbox" name="id" value=(id) #{ "c-" (id) } aria-label={ "Select " (ticket.asset) ", " (id) }; } }
            td { span class={ "priority " (ticket.priority.to_string().to_lowercase()) } { (ticket.priority.to_string()) } }
            td.what {
                a #{ "a-" (id) } href={ "/dashboard?ticket=" (id) } { (ticket.asset) }
                @if ticket.tickets > 1 { " " a.quiet href={ "/dashboard?incident=" (id) "&days=" (page.filter.days) } { "+" (ticket.tickets - 1) " more" } }
                @if let Some(leader) = &ticket.leader { div.quiet { "part of " a href={ "/dashboard?ticket=" (leader) } { (leader) } } }
                div.quiet { (ticket.source.label()) " · " (ticket.error_type) @if let Some(owner) = &ticket.owner { " · " (owner) } }
            }
            td.cause { (prose(&ticket.root_cause)) }
            td {
                span class={ "status " (status.name()) } { (status.name().replace('_', " ")) }
                @if let Some(note) = note(ticket) { div.quiet { (note) } }
            }
            td.sla { (sla(ticket, page)) }
            td { @if let Some(key) = ticket.jira_key.as_deref() { (issue(key, page.issue_urls.get(key).map(String::as_str))) } @else { "–" }
                @if ticket.jira_fault { " " span.bad title="delivery failed" { "!" } } }
            td { time datetime=(ticket.received_at.to_rfc3339()) title=(time(ticket.received_at)) { (relative(ticket.received_at, page.now)) } }
        }
    }
}

/// How long is left to take it; the script counts on.
fn sla(ticket: &Listed, page: &Overview<'_>) -> Markup {
    html! {
        @if ticket.sla_breached {
            span.bad[!ticket.is_closed()].quiet[ticket.is_closed()] { "breached" }
        } @else if ticket.status == Status::Open && ticket.sla_due_at > page.now {
            time.soon[(ticket.sla_due_at - page.now).num_minutes() < 15] data-due="" datetime=(ticket.sla_due_at.to_rfc3339()) title=(time(ticket.sla_due_at)) { (relative(ticket.sla_due_at, page.now)) }
        } @else if ticket.status == Status::Open {
            span.bad { "due" }
        } @else {
            span.quiet { "kept" }
        }
    }
}

/// What a machine does about it, or who closed it, where that is news.
fn note(ticket: &Listed) -> Option<String> {
    let note = match ticket.remediation {
        RemediationState::Succeeded => "healed",
        _ if ticket.silent => "silent",
        _ if ticket.is_closed() && ticket.recovered => "recovered",
        _ if ticket.is_closed() => return Some(format!("by {}", ticket.status_by)),
        RemediationState::AwaitingApproval => "waits for approval",
        RemediationState::Scheduled | RemediationState::Running | RemediationState::Verifying => {
            "being healed"
        }
        RemediationState::Exhausted => "healing failed",
        RemediationState::None | RemediationState::Rejected
            if ticket.status == Status::InProgress =>
        {
            return Some(format!("by {}", ticket.status_by));
        }
        RemediationState::None | RemediationState::Rejected => return None,
    };
    Some(note.to_owned())
}
