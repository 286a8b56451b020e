//! The page of silences: what is silent, until when and why; a form for a new one, and a button that ends one.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Visitor, frame, moment, relative};
use crate::flow::ListedSilence;
use crate::ticket::{SilenceState, Ticket};

/// For how long a silence may be set from a ticket: minutes, and as people read it.
const SPANS: [(u32, &str); 5] = [
    (60, "1 hour"),
    (240, "4 hours"),
    (720, "12 hours"),
    (1440, "1 day"),
    (10_080, "1 week"),
];

/// What the page shows.
#[derive(Debug)]
pub struct SilencesPage<'a> {
    /// All that are kept: those that hold first.
    pub silences: &'a [ListedSilence],
    /// Who looks.
    pub visitor: Visitor<'a>,
    /// The token its forms carry.
    pub form_token: &'a str,
    /// When.
    pub now: DateTime<Utc>,
}

/// One of them as JSON.
pub fn silence(listed: &ListedSilence) -> Value {
    let silence = &listed.silence;
    json!({
        "id": silence.id,
        "state": <&str>::from(listed.state),
        "asset": silence.asset,
        "cause": silence.cause,
        "scope": silence.scope,
        "from": silence.from,
        "until": silence.until,
        "by": silence.by.name,
        "why": silence.why,
        "created_at": silence.created_at,
        "ended_at": silence.ended.as_ref().map(|ended| ended.at),
        "ended_by": silence.ended.as_ref().map(|ended| &ended.by.name),
        "failures": listed.failures,
        "summed_up_in": silence.summed_up.as_ref().and_then(|sum| sum.ticket.as_ref()),
    })
}

/// The page.
pub fn silences(page: &SilencesPage<'_>) -> Markup {
    let body = html! {
        h1.title { "Silences" span.quiet { "failures that are expected: recorded and counted, not told, paged or healed" } }
        @if page.silences.is_empty() {
            section.card.empty { h2 { "Nothing is silent" } p { "What fails is announced." } }
        } @else {
            table.tickets.silences {
                thead { tr { th { "State" } th { "What" } th { "Until" } th { "Why" } th { "Failures" } th { "" } } }
                tbody { @for listed in page.silences { (line(listed, page)) } }
            }
        }
        (form(page))
        p { a href="/dashboard" { "Back to all tickets" } }
    };
    frame("Silences", Some(&page.visitor), &body)
}

fn line(listed: &ListedSilence, page: &SilencesPage<'_>) -> Markup {
    let silence = &listed.silence;
    let over = listed.state == SilenceState::Ended;
    let sum = silence
        .summed_up
        .as_ref()
        .and_then(|sum| sum.ticket.as_ref());
    html! {
        tr.settled[over] {
            td { (<&str>::from(listed.state)) }
            td { (silence.subject()) div.quiet { code { (silence.id) } } }
            td {
                @if listed.state == SilenceState::Planned { div { "from " (moment(silence.from)) } }
                span.label { "until " } (moment(silence.until)) " " span.quiet { "(" (relative(silence.over_at(), page.now)) ")" }
                @if let Some(ended) = &silence.ended { div.quiet { "ended by " (ended.by.name) " on " (moment(ended.at)) } }
            }
            td { (silence.why) div.quiet { "set by " (silence.by.name) " on " (moment(silence.created_at)) } }
            td { (listed.failures) span.label { " failures" } @if let Some(sum) = sum { " " a href={ "/dashboard?ticket=" (sum) } { "summed up" } } }
            td {
                @if !over {
                    form method="post" action={ "/dashboard/silences/" (silence.id) "/end" } {
                        input type="hidden" name="token" value=(page.form_token);
                        button type="submit" { "End now" }
                    }
                }
            }
        }
    }
}

fn form(page: &SilencesPage<'_>) -> Markup {
    html! {
        section.card {
            h2 { "New silence" }
            form.silence method="post" action="/dashboard/silences" {
                input type="hidden" name="token" value=(page.form_token);
                label { "Assets" input type="text" name="asset" required maxlength="300" placeholder="pl_finance_*"; }
                label { "Cause" input type="text" name="cause" maxlength="300" placeholder="any, or an error type or category"; }
                label { "Scope" input type="text" name="scope" maxlength="300" placeholder="any factory, workspace, deployment"; }
                label { "From (UTC)" input type="datetime-local" name="from"; }
                label { "Until (UTC)" input type="datetime-local" name="until" required; }
                label { "Why" input type="text" name="why" required maxlength="500" placeholder="planned move of the warehouse"; }
                button type="submit" { "Silence" }
            }
            p.quiet { "Without a beginning it holds at once, everywhere within half a minute. It ends by itself; what failed meanwhile is summed up in one ticket." }
        }
    }
}

/// On a ticket's page: that it is silent, or a form that silences failures like it.
pub(super) fn of_ticket(ticket: &Ticket, form_token: &str) -> Markup {
    html! {
        @if let Some(silenced) = &ticket.silenced {
            section.card { h2 { "Silent" } p { "Nobody was told of this failure: " (silenced.words()) ". " a href="/dashboard/silences" { "All silences" } } }
        } @else if let Some(silence) = &ticket.silence {
            section.card {
                h2 { "Silenced" }
                p { "Failures like this one are " (silence.words()) ". " a href="/dashboard/silences" { "All silences" } }
                form method="post" action={ "/dashboard/tickets/" (ticket.id) "/end-silence" } {
                    input type="hidden" name="token" value=(form_token);
                    input type="hidden" name="silence" value=(silence.id);
                    button type="submit" { "End the silence" }
                }
            }
        } @else if !ticket.is_closed() && ticket.failure.source != crate::failure::Source::System {
            section.card {
                h2 { "Expected for a while?" }
                form.silence method="post" action={ "/dashboard/tickets/" (ticket.id) "/silence" } {
                    input type="hidden" name="token" value=(form_token);
                    label { "Silence for" select name="minutes" { @for (minutes, words) in SPANS { option value=(minutes) { (words) } } } }
                    label { "Why" input type="text" name="why" required maxlength="500"; }
                    button type="submit" { "Silence failures like this" }
                }
            }
        }
    }
}
