//! The list page: what is open, what keeps failing, what needs a person.

use maud::{Markup, html};

use super::{Filter, Overview, frame, issue, prose, relative, time};
use crate::failure::Source;
use crate::ticket::store::{Counts, Listed};
use crate::ticket::{Priority, RemediationState, Status};

/// The page with all tickets: what somebody has to look at stands above what is closed.
pub fn overview(page: &Overview<'_>) -> Markup {
    let mut shown: Vec<&Listed> = page.tickets.iter().collect();
    // The newest first within each: the order in which they come.
    shown.sort_by_key(|ticket| {
        if ticket.is_closed() {
            (true, Priority::P4)
        } else {
            (false, ticket.priority)
        }
    });
    let body = html! {
        h1.title { "Failures" span.quiet { (days(page.filter.days)) } }
        (tiles(page.counts))
        @if !page.problems.is_empty() {
            section.card.warn { h2 { "Settings need attention" } ul { @for problem in page.problems { li { (problem) } } } }
        }
        (outages(page))
        (blocked_sinks(page))
        (dead_letters(page))
        (filter_form(page.filter))
        @if shown.is_empty() {
            section.card.empty {
                h2 { "No tickets here" }
                p { "Nothing has failed in this time, or the filter hides it. Failures arrive at " code { "/azure-monitor" } ", "
                    code { "/databricks-monitor" } " and " code { "/airflow-monitor" } "." }
            }
        } @else {
            (table(&shown, page))
        }
        @if let Some(older) = &page.older {
            p role="status" { "These are " (page.tickets.len()) " of more. " a href=(older) rel="next" { "Older failures" } }
        }
        (categories(page.counts))
        p.quiet { "Times are UTC. " a href="/api/tickets.csv" { "Export as CSV" } " · " a href="/dashboard/scopes" { "Platforms that are asked" } " · " a href="/dashboard/owners" { "Owners" }
            " · " a href="/dashboard/silences" { "Silences" } }
    };
    frame("Failures", Some(page.caller), &body)
}

/// Vendors that do not answer: nobody here has to do anything but wait.
fn outages(page: &Overview<'_>) -> Markup {
    html! {
        @if !page.outages.is_empty() {
            section.card.warn {
                h2 { "Deliveries wait" }
                ul {
                    @for (sink, outage) in page.outages {
                        li { (sink.title()) " does not answer since " (time(outage.since)) ": " (outage.reason) ". Next call " (relative(outage.next_call, page.now)) "." }
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
                        li { (sink.title()) ", since " (time(blocked.since)) ": " (blocked.tickets) " ticket" @if blocked.tickets != 1 { "s" } " not shown there. " (blocked.reason) }
                    }
                }
                p.quiet { "They are tried again by themselves, at once when the settings change or " code { "aiops-rca doctor" } " is run." }
            }
        }
    }
}

fn days(days: u32) -> String {
    if days == 1 {
        "today".to_owned()
    } else {
        format!("last {days} days")
    }
}

fn tiles(counts: &Counts) -> Markup {
    let more = if counts.partial { "+" } else { "" };
    let tile = |label: &str, class: &str, number: usize| {
        // Nothing is no reason for alarm.
        let class = if number == 0 { "" } else { class };
        html! { div class={ "tile " (class) } { strong { (number) (more) } span { (label) } } }
    };
    html! {
        section.tiles aria-label="Counts" {
            (tile("open", "", counts.open))
            (tile("in progress", "", counts.in_progress))
            (tile("waiting for approval", "ask", counts.awaiting_approval))
            (tile("SLA breached", "bad", counts.breached))
            (tile("healed automatically", "good", counts.healed))
        }
    }
}

/// What fails most, as shares of all.
fn categories(counts: &Counts) -> Markup {
    let mut categories: Vec<_> = counts.categories.iter().collect();
    categories.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
    html! {
        @if !categories.is_empty() {
            section.card.bars {
                h2 { "By category" }
                @for (name, count) in categories.iter().take(6) {
                    div.bar {
                        span.name { (name) }
                        svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                            rect.track x="0" y="0" width="100" height="8" {}
                            rect x="0" y="0" height="8" width=(*count * 100 / counts.all.max(1)) {}
                        }
                        span.count { (count) }
                    }
                }
            }
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

fn filter_form(filter: &Filter) -> Markup {
    let option = |value: &str, label: &str, chosen: bool| html! { option value=(value) selected[chosen] { (label) } };
    html! {
        form.filter method="get" action="/dashboard" {
            label.find { "Find" input type="search" name="q" value=(filter.text) placeholder="pipeline, ticket, run, error"; }
            label { "Status" select name="status" {
                (option("", "all", filter.status.is_none()))
                @for status in [Status::Open, Status::InProgress, Status::Acknowledged] {
                    (option(status.name(), &status.name().replace('_', " "), filter.status == Some(status)))
                }
            } }
            label { "Source" select name="source" {
                (option("", "all", filter.source.is_none()))
                @for source in Source::ALL {
                    (option(source.name(), source.label(), filter.source == Some(source)))
                }
            } }
            @if let Some(owner) = &filter.owner { label { "Owner" input type="search" name="owner" value=(owner); } }
            label { "Days" input type="number" name="days" min="1" max="90" value=(filter.days); }
            button type="submit" { "Show" }
        }
    }
}

fn table(tickets: &[&Listed], page: &Overview<'_>) -> Markup {
    html! {
        table.tickets {
            thead { tr { th { "Priority" } th { "What failed" } th { "Root cause" } th { "Status" } th { "JIRA" } th { "Reported" } } }
            tbody {
                @for ticket in tickets {
                    tr.settled[ticket.is_closed()] {
                        td { span class={ "priority " (ticket.priority.to_string().to_lowercase()) } { (ticket.priority.to_string()) } }
                        td {
                            a href={ "/dashboard?ticket=" (ticket.id) } { (ticket.asset) }
                            @if ticket.tickets > 1 { " " a.quiet href={ "/dashboard?incident=" (ticket.id) "&days=" (page.filter.days) } { "+" (ticket.tickets - 1) " more" } }
                            @if let Some(leader) = &ticket.leader { div.quiet { "part of " a href={ "/dashboard?ticket=" (leader) } { (leader) } } }
                            div.quiet { (ticket.source.label()) " · " (ticket.error_type) @if let Some(owner) = &ticket.owner { " · " (owner) } }
                        }
                        td.cause { (prose(&ticket.root_cause)) }
                        td {
                            span class={ "status " (ticket.status.name()) } { (ticket.status.name().replace('_', " ")) }
                            @if ticket.sla_breached && !ticket.is_closed() { " " span.bad { "SLA breached" } }
                            @if let Some(note) = note(ticket) { div.quiet { (note) } }
                        }
                        td { @if let Some(key) = ticket.jira_key.as_deref() { (issue(key, page.issue_urls.get(key).map(String::as_str))) } @else { "–" }
                            @if ticket.jira_fault { " " span.bad title="delivery failed" { "!" } } }
                        td { time datetime=(ticket.received_at.to_rfc3339()) title=(time(ticket.received_at)) { (relative(ticket.received_at, page.now)) } }
                    }
                }
            }
        }
    }
}

/// What a machine does about it, where that is news.
fn note(ticket: &Listed) -> Option<&'static str> {
    match ticket.remediation {
        RemediationState::Succeeded => Some("healed"),
        _ if ticket.silent => Some("silent"),
        _ if ticket.is_closed() => None,
        RemediationState::AwaitingApproval => Some("waits for approval"),
        RemediationState::Scheduled | RemediationState::Running | RemediationState::Verifying => {
            Some("being healed")
        }
        RemediationState::Exhausted => Some("healing failed"),
        RemediationState::None | RemediationState::Rejected => None,
    }
}
