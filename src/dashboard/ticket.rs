//! The page of one ticket: the cause and its proof, what is being done, who did what.

use maud::{Markup, html};

use super::{TicketPage, frame, relative, time};
use crate::ticket::{DeliveryFault, RemediationState, Status, Ticket};

/// The page of one ticket.
pub fn ticket(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let body = html! {
        (head(page))
        div.columns {
            div {
                section.card {
                    h2 { "Root cause" }
                    p.cause { (t.diagnosis.root_cause) }
                    p.quiet { "Confidence " (t.diagnosis.confidence_word()) " · " (t.diagnosis.category.words()) " · rule " code { (t.diagnosis.rule) }
                        " · worded by " (t.diagnosis.worded_by) }
                    h3 { "What to do" }
                    ol { @for step in &t.diagnosis.recommendations { li { (step) } } }
                    @if !t.diagnosis.evidence.is_empty() {
                        h3 { "Because it says" }
                        @for quote in &t.diagnosis.evidence { blockquote { (quote.quote) footer { (quote.source) } } }
                    }
                    @if !t.gaps.is_empty() {
                        h3 { "What could not be looked at" }
                        ul.gaps { @for gap in &t.gaps { li { strong { (gap.source) } ": " (gap.reason) } } }
                    }
                }
                (remediation(page))
                section.card {
                    h2 { "Evidence" }
                    @for piece in page.evidence {
                        details { summary { code { (piece.id) } " " (piece.title) " " span.quiet { (piece.source) ", " (time(piece.at)) } } pre { (piece.text) } }
                    }
                }
            }
            div {
                (facts(page))
                section.card { h2 { "History" } ol.history { @for entry in page.audit {
                    li { time datetime=(entry.at.to_rfc3339()) { (time(entry.at)) } " " strong { (entry.what) } " by " (entry.actor.name)
                        @if !entry.detail.is_empty() { div.quiet { (entry.detail) } } }
                } } }
            }
        }
    };
    frame(&t.failure.asset, Some(page.visitor), &body)
}

fn head(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let button = |action: &str, label: &str| {
        html! { form method="post" action={ "/dashboard/tickets/" (t.id) "/" (action) } {
            input type="hidden" name="token" value=(page.form_token);
            button type="submit" { (label) }
        } }
    };
    html! {
        section.head {
            div {
                h1 { (t.failure.asset) }
                p.quiet { (t.failure.kind.label()) " · " code { (t.id) } }
                p { span class={ "priority " (format!("{:?}", t.priority).to_lowercase()) } { (format!("{:?} {:?}", t.priority, t.severity)) } " "
                    span class={ "status " (t.status.name()) } { (t.status.name().replace('_', " ")) }
                    @if t.is_closed() { " closed by " (t.status_by.name) " on " (time(t.status_at)) } }
            }
            div.actions {
                @match t.status {
                    Status::Open => { (button("start", "I work on it")) (button("acknowledge", "Close")) }
                    Status::InProgress => { (button("acknowledge", "Close")) }
                    Status::Acknowledged => { (button("reopen", "Reopen")) }
                }
            }
        }
    }
}

fn remediation(page: &TicketPage<'_>) -> Markup {
    let r = &page.ticket.remediation;
    html! {
        section.card {
            h2 { "Healing" }
            p { (words(r.state)) ": " (r.decision) }
            @if let Some(approval) = r.approval.as_ref().filter(|a| a.answer.is_none() && r.state == RemediationState::AwaitingApproval) {
                div.question {
                    p { strong { (approval.plan_text) } }
                    p { "A person is asked because " (approval.why) ". The question stands until " (time(approval.expires_at)) "." }
                    div.actions { @for (action, label) in [("approve", "Approve"), ("reject", "Reject")] {
                        form method="post" action={ "/dashboard/tickets/" (page.ticket.id) "/" (action) } {
                            input type="hidden" name="token" value=(page.form_token);
                            input type="hidden" name="approval" value=(approval.id);
                            input type="hidden" name="plan" value=(approval.plan);
                            button type="submit" { (label) }
                        }
                    } }
                }
            }
            @if !r.attempts.is_empty() {
                table { thead { tr { th { "Attempt" } th { "What" } th { "State" } th { "Run" } th { "Outcome" } } } tbody {
                    @for attempt in &r.attempts {
                        tr { td { (attempt.number) " of " (r.max_attempts) } td { (attempt.words()) } td { (format!("{:?}", attempt.state)) }
                            td { (attempt.run_id.as_deref().unwrap_or("–")) } td { (attempt.outcome.as_deref().unwrap_or("–")) } }
                    }
                } }
            }
        }
    }
}

fn words(state: RemediationState) -> &'static str {
    match state {
        RemediationState::None => "Nothing is done automatically",
        RemediationState::AwaitingApproval => "A person is asked",
        RemediationState::Scheduled => "An attempt is planned",
        RemediationState::Running => "An attempt is under way",
        RemediationState::Verifying => "The outcome is being verified",
        RemediationState::Succeeded => "Healed",
        RemediationState::Exhausted => "A person has to take over",
        RemediationState::Rejected => "Nothing will be done automatically",
    }
}

fn facts(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let row = |label: &str, value: Markup| html! { dt { (label) } dd { (value) } };
    html! {
        section.card {
            h2 { "Facts" }
            dl {
                (row("Run", html! { @if let Some(url) = &t.failure.run_url { a href=(url) rel="noreferrer" { (t.failure.run_id.as_deref().unwrap_or("open")) } }
                    @else { (t.failure.run_id.as_deref().unwrap_or("unknown")) } }))
                (row("Error", html! { (t.diagnosis.error_type) @if let Some(code) = &t.failure.error_code { " (" code { (code) } ")" } }))
                (row("Failed", html! { (t.failure.occurred_at.map_or_else(|| "time unknown".to_owned(), time)) }))
                (row("Reported", html! { (time(t.received_at)) @if t.count > 1 { ", " (t.count) " times" } }))
                (row("SLA", html! { (t.priority.sla_words()) ", "
                    @match t.sla.breached_at { Some(at) => { span.bad { "breached " (relative(at, page.now)) } }
                        None => { "due " (relative(t.sla.due_at, page.now)) } } }))
                @if let Some(took) = t.time_to_recovery() { (row("Closed after", html! { (took.num_minutes()) " min" })) }
                @if let Some(owner) = &t.owner { (row("Owner", html! { (owner) })) }
                (row("JIRA", sink(t, "jira", &html! { @if let (Some(key), Some(url)) = (&t.jira.key, page.issue_url) { a href=(url) rel="noreferrer" { (key) } }
                    @else { (t.jira.key.as_deref().unwrap_or("not yet")) } }, t.jira.fault.as_ref())))
                (row("Slack", sink(t, "slack", &html! { (if t.slack.ts.is_some() { "posted" } else { "not yet" }) }, t.slack.fault.as_ref())))
                (row("Playbook", sink(t, "playbook", &html! { (t.remediation.action.words()) }, t.books.playbook_fault.as_ref())))
            }
        }
        section.card {
            h2 { "Details of the source" }
            dl { @for (name, value) in &t.failure.context { (row(name, html! { (value) })) } }
            @if !t.diagnosis.entities.is_empty() {
                h3 { "Named in the error" }
                dl { @for (name, value) in &t.diagnosis.entities { (row(name, html! { (value) })) } }
            }
        }
    }
}

fn sink(ticket: &Ticket, name: &str, shown: &Markup, fault: Option<&DeliveryFault>) -> Markup {
    html! {
        @if let Some(why) = ticket.sinks_off.get(name) { span.quiet { "off: " (why) } } @else { (shown) }
        @if let Some(fault) = fault { div.bad { (fault.reason) @if fault.retrying { " (will be tried again)" } } }
    }
}
