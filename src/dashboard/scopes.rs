//! The page about the platforms that are asked: when, what was seen, how late, and what keeps it from working.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{Visitor, frame, moment, relative};
use crate::patrol::Watch;

/// One row a scope. `on`: is the patrol switched on?
pub fn scopes(watches: &[Watch], on: bool, visitor: &Visitor<'_>, now: DateTime<Utc>) -> Markup {
    let body = html! {
        h1.title { "Platforms" }
        @if !on {
            section.card.warn { p { "The patrol is off (" code { "PATROL=off" } "): failures arrive by reports only." } }
        } @else if watches.is_empty() {
            section.card.empty { p { "No platform is configured. Set " code { "AZURE_DATA_FACTORIES" } ", " code { "DATABRICKS_WORKSPACES" } " or " code { "AIRFLOW_DEPLOYMENTS" } "." } }
        } @else {
            p.quiet { "Every minute each of them is asked which runs ended." }
            table {
                thead { tr { th { "Platform" } th { "Seen" } th { "State" } } }
                tbody {
                    @for watch in watches { (row(watch, now)) }
                }
            }
        }
        p.quiet { a href="/dashboard" { "Back to all tickets" } }
    };
    frame("Platforms", Some(visitor), &body)
}

fn row(watch: &Watch, now: DateTime<Utc>) -> Markup {
    let ago = |at: Option<DateTime<Utc>>| {
        html! { @match at { Some(at) => { (relative(at, now)) }, None => { "never" } } }
    };
    html! {
        tr {
            td { strong { (watch.name) } div.quiet { (watch.platform()) } }
            td {
                (watch.failed) " failed, " (watch.succeeded) " succeeded"
                div.quiet {
                    "answered " (ago(watch.answered_at))
                    @if watch.last_end.is_some() { ", last end " (ago(watch.last_end)) }
                    @if let Some(seconds) = watch.lag { ", seen after " (seconds) " s" }
                }
            }
            td {
                @if let Some(trouble) = &watch.trouble {
                    span.bad { "Since " (moment(trouble.since)) ": " (trouble.reason) }
                } @else if watch.asked_at.is_none() {
                    "not asked yet"
                } @else {
                    "answers"
                }
                @for gap in &watch.gaps { br; span.quiet { (gap) } }
            }
        }
    }
}

/// The same for machines.
pub fn as_json(watches: &[Watch], on: bool) -> Value {
    let of = |watch: &Watch| {
        json!({
            "source": watch.source,
            "scope": watch.scope,
            "name": watch.name,
            "since": watch.since,
            "asked_at": watch.asked_at,
            "answered_at": watch.answered_at,
            "cursor": watch.cursor,
            "failed": watch.failed,
            "succeeded": watch.succeeded,
            "last_end": watch.last_end,
            "lag_seconds": watch.lag,
            "calls": watch.calls,
            "fault": watch.trouble.as_ref().map(|trouble| json!({
                "reason": trouble.reason, "since": trouble.since, "tries": trouble.tries
            })),
            "gaps": watch.gaps,
            "not_before": watch.not_before,
            "ticket_id": watch.notice,
        })
    };
    json!({"patrol": if on { "on" } else { "off" }, "scopes": watches.iter().map(of).collect::<Vec<_>>()})
}
