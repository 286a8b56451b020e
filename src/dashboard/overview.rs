//! The list page: what is open, what keeps failing, what needs a person.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{Filter, Overview, frame, relative, time};
use crate::ticket::{RemediationState, Status, Ticket};

/// The page with all tickets.
pub fn overview(page: &Overview<'_>) -> Markup {
    let shown: Vec<&Ticket> = page.tickets.iter().filter(|ticket| page.filter.shows(ticket)).collect();
    let body = html! {
        (tiles(page.tickets))
        @if !page.problems.is_empty() {
            section.card.warn { h2 { "Settings need attention" } ul { @for problem in page.problems { li { (problem) } } } }
        }
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
        p.quiet { "Times are UTC. " a href="/api/tickets.csv" { "Export as CSV" } }
    };
    frame("Tickets", Some(page.visitor), &body)
}

fn tiles(tickets: &[Ticket]) -> Markup {
    let count = |test: &dyn Fn(&Ticket) -> bool| tickets.iter().filter(|ticket| test(ticket)).count();
    let tile = |number: usize, label: &str, class: &str| html! { div class={ "tile " (class) } { strong { (number) } span { (label) } } };
    let mut categories: BTreeMap<&str, usize> = BTreeMap::new();
    for ticket in tickets {
        *categories.entry(ticket.diagnosis.category.words()).or_default() += 1;
    }
    let mut categories: Vec<_> = categories.into_iter().collect();
    categories.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let most = categories.first().map_or(1, |(_, count)| *count).max(1);
    html! {
        section.tiles {
            (tile(count(&|t| t.status == Status::Open), "open", "open"))
            (tile(count(&|t| t.status == Status::InProgress), "in progress", "progress"))
            (tile(count(&|t| t.remediation.state == RemediationState::AwaitingApproval), "wait for approval", "ask"))
            (tile(count(&|t| t.sla.breached_at.is_some() && !t.is_closed()), "SLA breached", "bad"))
            (tile(count(&|t| t.remediation.state == RemediationState::Succeeded), "healed by themselves", "good"))
        }
        @if !categories.is_empty() {
            section.card.bars aria-label="Failures by category" {
                @for (name, count) in categories.iter().take(6) {
                    div.bar {
                        span.name { (name) }
                        svg viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={ (count) " " (name) } {
                            rect x="0" y="0" height="8" width=(count * 100 / most) {}
                        }
                        span.count { (count) }
                    }
                }
            }
        }
    }
}

fn dead_letters(page: &Overview<'_>) -> Markup {
    let waiting: Vec<_> = page.dead_letters.iter().filter(|letter| letter.replayed_at.is_none()).collect();
    html! {
        @if !waiting.is_empty() {
            section.card.warn {
                h2 { (waiting.len()) " message(s) could not be handled" }
                p { "They are kept. Once the cause is mended, put them back with " code { "aiops-rca replay" } "." }
                ul { @for letter in waiting.iter().take(10) { li { code { (letter.id) } " from queue " (letter.queue) ": " (letter.reason) } } }
            }
        }
    }
}

fn filter_form(filter: &Filter) -> Markup {
    let option = |value: &str, label: &str, chosen: bool| html! { option value=(value) selected[chosen] { (label) } };
    html! {
        form.filter method="get" action="/dashboard" {
            label { "Find " input type="search" name="q" value=(filter.text) placeholder="pipeline, ticket, run, error"; }
            label { "Status " select name="status" {
                (option("", "all", filter.status.is_none()))
                @for status in [Status::Open, Status::InProgress, Status::Acknowledged] {
                    (option(status.name(), &status.name().replace('_', " "), filter.status == Some(status)))
                }
            } }
            label { "Source " select name="source" {
                (option("", "all", filter.source.is_none()))
                @for source in [crate::failure::Source::Adf, crate::failure::Source::Databricks, crate::failure::Source::Airflow] {
                    (option(source.name(), source.name(), filter.source == Some(source)))
                }
            } }
            label { "Days " input type="number" name="days" min="1" max="90" value=(filter.days); }
            button type="submit" { "Show" }
        }
    }
}

fn table(tickets: &[&Ticket], page: &Overview<'_>) -> Markup {
    html! {
        table.tickets {
            thead { tr { th { "Priority" } th { "What failed" } th { "Root cause" } th { "Status" } th { "JIRA" } th { "Reported" } } }
            tbody {
                @for ticket in tickets {
                    tr {
                        td { span class={ "priority " (format!("{:?}", ticket.priority).to_lowercase()) } { (format!("{:?}", ticket.priority)) } }
                        td {
                            a href={ "/dashboard?ticket=" (ticket.id) } { (ticket.failure.asset) }
                            div.quiet { (ticket.failure.source) " · " (ticket.diagnosis.error_type) }
                        }
                        td.cause { (ticket.diagnosis.root_cause) }
                        td {
                            span class={ "status " (ticket.status.name()) } { (ticket.status.name().replace('_', " ")) }
                            @if ticket.sla.breached_at.is_some() && !ticket.is_closed() { " " span.bad { "SLA" } }
                        }
                        td { (ticket.jira.key.as_deref().unwrap_or("–")) @if ticket.jira.fault.is_some() { " " span.bad title="delivery failed" { "!" } } }
                        td { time datetime=(ticket.received_at.to_rfc3339()) title=(time(ticket.received_at)) { (relative(ticket.received_at, page.now)) } }
                    }
                }
            }
        }
    }
}
