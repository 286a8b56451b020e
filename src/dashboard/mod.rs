//! Tickets → pages, JSON, CSV. Pure: escaped by construction (maud), no clock, no store. Everything works without scripts.
//!
//! In: tickets, evidence, audit as they stand. Out: markup and documents. The room does not know who may
//! see them (the doors do) nor where they are kept.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::diagnosis::pieces;
use crate::evidence::Evidence;
use crate::failure::page;
use crate::ticket::numbers::Summary;
use crate::ticket::store::{DeadLetter, Listed, Outage};
use crate::ticket::{AuditEntry, BlockedSinks, Member, Sink, Status, Ticket};

mod charts;
mod filter;
mod overview;
mod owners;
mod scopes;
mod silences;
mod ticket;
mod week;

pub use filter::{Filter, Query, View, category};
pub use overview::overview;
pub use owners::{Owned, OwnersPage, as_json as owners_as_json, owners};
pub use scopes::{as_json as scopes_as_json, scopes};
pub use silences::{SilencesPage, silence, silences};
pub use ticket::ticket;
pub use week::as_json as summary_as_json;

const STYLE: &str = include_str!("style.css");

const SCRIPT: &str = include_str!("app.js");

/// What the list page shows.
#[derive(Debug)]
pub struct Overview<'a> {
    /// Those that the filter shows, newest first.
    pub tickets: &'a [Listed],
    /// All tickets of these days, counted.
    pub summary: &'a Summary,
    /// In which order, and which page of them.
    pub view: View,
    /// The parameters of this page.
    pub query: Query,
    /// The page with older ones, if there are more.
    pub older: Option<String>,
    /// What waits for somebody to repair a sink.
    pub blocked: &'a BlockedSinks,
    /// Which of them.
    pub filter: &'a Filter,
    /// Problems of the settings.
    pub problems: &'a [String],
    /// Sinks whose vendor does not answer.
    pub outages: &'a [(Sink, Outage)],
    /// Messages nobody could handle.
    pub dead_letters: &'a [DeadLetter],
    /// Where JIRA issues can be opened, by key.
    pub issue_urls: &'a BTreeMap<&'a str, String>,
    /// Who looks.
    pub visitor: Visitor<'a>,
    /// The token its forms carry.
    pub form_token: &'a str,
    /// When.
    pub now: DateTime<Utc>,
}

/// Who looks at a page, and how they sign out.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// As people read it.
    pub name: &'a str,
    /// The way out.
    pub leave: Leave<'a>,
}

/// How somebody signs out.
#[derive(Debug, Clone, Copy)]
pub enum Leave<'a> {
    /// Nobody signed in.
    Not,
    /// App Service's own way.
    Link(&'a str),
    /// By a form with this token.
    Form(&'a str),
}

/// What a ticket's page shows.
#[derive(Debug)]
pub struct TicketPage<'a> {
    /// The ticket.
    pub ticket: &'a Ticket,
    /// Its proofs.
    pub evidence: &'a [Evidence],
    /// Its history, oldest first.
    pub audit: &'a [AuditEntry],
    /// The other tickets of the incident that it leads.
    pub members: &'a [Member],
    /// Where its JIRA issue can be opened.
    pub issue_url: Option<&'a str>,
    /// Who looks.
    pub visitor: Visitor<'a>,
    /// The token its forms carry.
    pub form_token: &'a str,
    /// When.
    pub now: DateTime<Utc>,
}

/// A file the pages refer to: content type and body.
pub fn asset(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "style.css" => Some(("text/css; charset=utf-8", STYLE)),
        "app.js" => Some(("text/javascript; charset=utf-8", SCRIPT)),
        _ => None,
    }
}

/// The frame of every page.
fn frame(title: &str, visitor: Option<&Visitor<'_>>, body: &Markup) -> Markup {
    html! {
        (maud::DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · aiops-rca" }
                link rel="stylesheet" href="/dashboard/assets/style.css";
                link rel="icon" href="data:,";
                script src="/dashboard/assets/app.js" defer {}
            }
            body {
                header {
                    a.brand href="/dashboard" { "aiops-rca" }
                    @if let Some(visitor) = visitor { div.caller { span { (visitor.name) } (leave(visitor.leave)) } }
                }
                main { (body) }
            }
        }
    }
}

fn leave(leave: Leave<'_>) -> Markup {
    html! {
        @match leave {
            Leave::Not => {}
            Leave::Link(url) => { a href=(url) { "Sign out" } }
            Leave::Form(token) => {
                form method="post" action="/dashboard/logout" {
                    input type="hidden" name="token" value=(token);
                    button.plain type="submit" { "Sign out" }
                }
            }
        }
    }
}

/// A page with one sentence.
pub fn message(title: &str, text: &str) -> Markup {
    frame(
        title,
        None,
        &html! { section.card { h1 { (title) } p { (text) } p { a href="/dashboard" { "Back to all tickets" } } } },
    )
}

/// The page that asks for the key, and leads to the page `next` afterwards.
pub fn login(refused: bool, next: &str) -> Markup {
    let form = html! {
        section.card.narrow {
            h1 { "Sign in" }
            @if refused { p.bad role="alert" { "That is not the key." } }
            form method="post" action="/dashboard/login" {
                input type="hidden" name="next" value=(next);
                label { "Dashboard key" input type="password" name="key" autocomplete="current-password" required autofocus; }
                label { "Your name" input type="text" name="name" autocomplete="name" maxlength="80" placeholder="shown beside what you do"; }
                button type="submit" { "Sign in" }
            }
        }
    };
    frame("Sign in", None, &form)
}

/// One ticket in a list of the API.
pub fn summary(ticket: &Listed) -> Value {
    json!({
        "id": ticket.id,
        "source": ticket.source,
        "asset": ticket.asset,
        "run_id": ticket.run_id,
        "status": ticket.status,
        "severity": ticket.severity,
        "priority": ticket.priority,
        "category": ticket.category,
        "error_type": ticket.error_type,
        "root_cause": ticket.root_cause,
        "received_at": ticket.received_at,
        "occurred_at": ticket.occurred_at,
        "closed_at": ticket.status_at.filter(|_| ticket.is_closed()),
        "closed_by": ticket.is_closed().then_some(&ticket.status_by),
        "sla_due_at": ticket.sla_due_at,
        "sla_breached": ticket.sla_breached,
        "owner": ticket.owner,
        "jira_key": ticket.jira_key,
        "remediation": ticket.remediation,
        "count": ticket.count,
        "silent": ticket.silent,
        "incident": ticket.leader.as_ref().unwrap_or(&ticket.id),
    })
}

/// One incident in a list of the API, with its tickets: the leader's first, the others in the order of their reports.
pub fn incident(leader: &Listed, members: &[Member]) -> Value {
    let mut value = summary(leader);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("status".to_owned(), json!(leader.incident_status()));
        fields.insert("ticket_count".to_owned(), json!(members.len() + 1));
        let open = members.iter().filter(|member| !member.is_closed()).count();
        let open = open + usize::from(!leader.is_closed());
        fields.insert("open_tickets".to_owned(), json!(open));
        let first = json!({
            "id": leader.id, "source": leader.source, "asset": leader.asset, "run_id": leader.run_id,
            "status": leader.status, "received_at": leader.received_at, "reason": null,
        });
        let mut others: Vec<&Member> = members.iter().collect();
        others.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id)));
        let others = others.into_iter().map(|member| {
            json!({
                "id": member.id, "source": member.source, "asset": member.asset, "run_id": member.run_id,
                "status": member.status, "received_at": member.received_at, "reason": member.reason,
            })
        });
        let tickets: Vec<Value> = std::iter::once(first).chain(others).collect();
        fields.insert("tickets".to_owned(), json!(tickets));
    }
    value
}

/// One ticket, whole, with its proofs and history.
pub fn details(ticket: &Ticket, evidence: &[Evidence], audit: &[AuditEntry]) -> Value {
    let mut value = serde_json::to_value(ticket).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("books");
        fields.insert("links".to_owned(), links(ticket));
        fields.insert("evidence".to_owned(), json!(evidence));
        fields.insert("audit".to_owned(), json!(audit));
        let delivered: BTreeMap<&str, u64> = Sink::ALL
            .into_iter()
            .map(|sink| (sink.name(), ticket.delivered(sink)))
            .filter(|(_, version)| *version > 0)
            .collect();
        fields.insert("deliveries".to_owned(), json!(delivered));
        let sinks: BTreeMap<&str, Value> = Sink::ALL
            .into_iter()
            .map(|sink| (sink.name(), sink_state(ticket, sink)))
            .collect();
        fields.insert("sinks".to_owned(), json!(sinks));
        for sink in Sink::ALL {
            if let Some(record) = fields.get_mut(sink.name()).and_then(Value::as_object_mut) {
                let fault = ticket.fault(sink).or(ticket.refused_detail(sink));
                record.insert("fault".to_owned(), json!(fault));
            }
        }
        fields.insert(
            "severity_reason".to_owned(),
            json!(ticket.severity_reason()),
        );
        fields.insert(
            "confidence".to_owned(),
            json!(ticket.diagnosis.confidence_word()),
        );
    }
    value
}

/// Where its runs are opened: its own, the one that it started on another platform, and those of the attempts, by run id.
fn links(ticket: &Ticket) -> Value {
    let failure = &ticket.failure;
    let attempts = ticket.remediation.attempts.iter();
    let reruns: BTreeMap<&str, String> = attempts
        .filter_map(|attempt| {
            let run = attempt.run_id.as_deref()?;
            Some((run, page::of_run(failure, run)?))
        })
        .collect();
    json!({"run": page::of(failure), "linked_run": page::linked(failure).map(|(_, page)| page), "reruns": reruns})
}

/// How a sink stands: `off`, `up_to_date`, `blocked` (until somebody repairs something), `lagging` or `idle`.
fn sink_state(ticket: &Ticket, sink: Sink) -> Value {
    let blocked = ticket.blocked(sink);
    let state = if ticket.sinks_off.contains_key(sink.name()) {
        "off"
    } else if blocked.is_some() {
        "blocked"
    } else if ticket.lags(sink) {
        "lagging"
    } else if ticket.delivered(sink) == 0 {
        "idle"
    } else {
        "up_to_date"
    };
    json!({
        "state": state,
        "reason": ticket.fault(sink).map(|fault| &fault.reason),
        "blocked_since": blocked.map(|blocked| blocked.since),
        "next_try": blocked.map(|blocked| blocked.next_try),
    })
}

/// Tickets as CSV with a header row; cells that spreadsheets would run as formulas are defused.
pub fn csv(tickets: &[Listed]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "id",
        "source",
        "asset",
        "run_id",
        "status",
        "severity",
        "priority",
        "category",
        "error_type",
        "root_cause",
        "occurred_at",
        "received_at",
        "closed_at",
        "closed_by",
        "sla_due_at",
        "sla",
        "owner",
        "count",
        "jira_key",
        "remediation",
        "incident",
        "incident_tickets",
    ];
    let mut written = writer.write_record(header);
    for ticket in tickets {
        let closed_by = if ticket.is_closed() {
            ticket.status_by.as_str()
        } else {
            ""
        };
        let closed_at = ticket.status_at.filter(|_| ticket.is_closed());
        let cells = [
            ticket.id.as_str(),
            ticket.source.name(),
            &ticket.asset,
            ticket.run_id.as_deref().unwrap_or_default(),
            ticket.status.name(),
            &ticket.severity.to_string(),
            &ticket.priority.to_string(),
            ticket.category.words(),
            &ticket.error_type,
            &ticket.root_cause,
            &ticket
                .occurred_at
                .map(|at| at.to_rfc3339())
                .unwrap_or_default(),
            &ticket.received_at.to_rfc3339(),
            &closed_at.map(|at| at.to_rfc3339()).unwrap_or_default(),
            closed_by,
            &ticket.sla_due_at.to_rfc3339(),
            sla_word(ticket),
            ticket.owner.as_deref().unwrap_or_default(),
            &ticket.count.to_string(),
            ticket.jira_key.as_deref().unwrap_or_default(),
            ticket.remediation.name(),
            ticket.leader.as_ref().unwrap_or(&ticket.id).as_str(),
            &ticket.tickets.max(1).to_string(),
        ];
        written = written.and_then(|()| writer.write_record(cells.map(defuse)));
    }
    if written.is_err() {
        tracing::error!("the CSV export could not be written");
    }
    writer.into_inner().unwrap_or_default()
}

/// How its SLA stands.
fn sla_word(ticket: &Listed) -> &'static str {
    if ticket.sla_breached {
        "breached"
    } else if ticket.status == Status::Open {
        "running"
    } else {
        "kept"
    }
}

/// A leading `=`, `+`, `-`, `@`, tab or return makes a spreadsheet run the cell.
fn defuse(cell: &str) -> String {
    let runs = |c: char| {
        matches!(
            c,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'
        )
    };
    if cell.trim_start_matches(' ').starts_with(runs) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

/// `3 min ago`, `in 1 h 59 min`.
fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let amount = lasting((now - at).abs());
    if now >= at {
        format!("{amount} ago")
    } else {
        format!("in {amount}")
    }
}

/// `33 s`, `12 min`, `1 h 59 min`, `3 days`.
fn lasting(time: TimeDelta) -> String {
    match time.num_seconds() {
        s if s < 60 => format!("{} s", s.max(0)),
        s if s < 3600 => format!("{} min", s / 60),
        s if s < 36_000 && s % 3600 >= 60 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// A sentence of ours, with its code as code.
fn prose(text: &str) -> Markup {
    html! { @for (index, piece) in pieces(text).into_iter().enumerate() { @if index % 2 == 1 { code { (piece) } } @else { (piece) } } }
}

/// A JIRA issue, to be opened where it is known how.
fn issue(key: &str, url: Option<&str>) -> Markup {
    html! { @if let Some(url) = url { a href=(url) rel="noreferrer" { (key) } } @else { (key) } }
}

/// A point in time, which the script puts into the reader's zone.
fn moment(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) { (time(at)) } }
}

/// A value of a query.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stands_between_back_ticks_and_nothing_of_it_is_markup() {
        assert_eq!(
            prose("No `a<b` in `c`.").into_string(),
            "No <code>a&lt;b</code> in <code>c</code>."
        );
        assert_eq!(
            prose("5` is <b>not</b> code").into_string(),
            "5` is &lt;b&gt;not&lt;/b&gt; code"
        );
        assert_eq!(prose("").into_string(), "");
    }

    #[test]
    fn times_are_as_exact_as_people_need() {
        let words = [
            0, 59, 60, 3599, 3600, 7140, 35_999, 36_060, 172_799, 172_800,
        ]
        .map(|s| lasting(TimeDelta::seconds(s)));
        assert_eq!(
            words,
            [
                "0 s",
                "59 s",
                "1 min",
                "59 min",
                "1 h",
                "1 h 59 min",
                "9 h 59 min",
                "10 h",
                "47 h",
                "2 days"
            ]
        );
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(relative(now, now), "0 s ago");
        assert_eq!(relative(now + TimeDelta::seconds(90), now), "in 1 min");
    }
}
