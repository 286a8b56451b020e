//! The page of one ticket: the cause and its proof, what is being done, who did what.

use maud::{Markup, html};

use super::silences::of_ticket;
use super::{TicketPage, encoded, frame, issue, lasting, prose, relative, time};
use crate::diagnosis::Quote;
use crate::failure::page;
use crate::ownership::NOBODY;
use crate::ticket::{Remediation, RemediationState, Sink, Status, Ticket};

/// Followers that the page of a leader lists.
const LISTED: usize = 50;

/// The page of one ticket.
pub fn ticket(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let body = html! {
        (head(page))
        div.columns {
            div {
                section.card {
                    h2 { "Root cause" }
                    p.cause { (prose(&t.diagnosis.root_cause)) }
                    p.quiet { "Confidence " (t.diagnosis.confidence_word()) " · " (t.diagnosis.category.words()) " · rule " code { (t.diagnosis.rule) }
                        " · worded by " (t.diagnosis.worded_by) }
                    h3 { "What to do" }
                    ol { @for step in &t.diagnosis.recommendations { li { (prose(step)) } } }
                }
                (incident(page))
                (past(t, page.now))
                (remediation(page))
                (proof(page))
                section.card {
                    h2 { "All evidence" }
                    @for piece in page.evidence {
                        details { summary { (piece.title) " " span.quiet { (piece.id) ", " (piece.source) ", " (time(piece.at)) } }
                            pre tabindex="0" aria-label=(piece.title) { (piece.text) } }
                    }
                }
            }
            div {
                (facts(page))
                (of_ticket(t, page.form_token))
                section.card { h2 { "History" } ol.history { @for entry in page.audit {
                    li { time datetime=(entry.at.to_rfc3339()) { (time(entry.at)) } " " strong { (entry.what) } " by " (entry.actor.name)
                        @if !entry.detail.is_empty() { div.quiet { (prose(&entry.detail)) } } }
                } } }
                (details(t))
            }
        }
    };
    frame(&t.failure.asset, Some(page.caller), &body)
}

/// How failures like this one ended before.
fn past(t: &Ticket, now: chrono::DateTime<chrono::Utc>) -> Markup {
    html! {
        @if let Some(past) = &t.past {
            section.card {
                h2 { "This again?" }
                @if past.times > 1 { p { "Failed " (past.times) " times within seven days, this time included." } }
                ul { @for outcome in &past.outcomes {
                    li { a href={ "/dashboard?ticket=" (outcome.ticket) } { (outcome.ticket) } " " span.quiet { (relative(outcome.failed_at, now)) } ": " (outcome.words()) }
                } }
            }
        }
    }
}

/// The other tickets of its incident.
fn incident(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let mut members: Vec<_> = page.members.iter().collect();
    members.sort_by(|a, b| (b.received_at, &b.id).cmp(&(a.received_at, &a.id)));
    html! {
        @if let Some(joined) = &t.joined {
            section.card {
                h2 { "Incident" }
                p { "Part of incident " a href={ "/dashboard?ticket=" (joined.leader) } { (joined.leader) } " (" (joined.reason.words()) "). Its issue and message are that one's." }
                @if joined.waits_for_probe { p.quiet { "Its remediation waits until one asset of the incident is healed." } }
            }
        }
        @if let Some(incident) = t.incident.as_ref().filter(|_| !members.is_empty()) {
            section.card {
                h2 { "Incident: " (incident.counts()) }
                @if incident.path.len() > 1 { p { "Path: " (incident.path.join(" → ")) } }
                @if let Some(cause) = &incident.cause {
                    p { "Its cause, by ticket " a href={ "/dashboard?ticket=" (cause.ticket) } { (cause.ticket) } ": " (prose(&cause.diagnosis.root_cause)) }
                }
                ul {
                    @for member in members.iter().take(LISTED) {
                        li {
                            a href={ "/dashboard?ticket=" (member.id) } { (member.asset) @if let Some(unit) = &member.unit { " " (unit) } }
                            " " span.quiet { (member.reason.words()) " · " (time(member.received_at)) " · " (member.status.name().replace('_', " ")) }
                        }
                    }
                }
                @if !incident.questions.is_empty() {
                    div.question {
                        p { strong { "Approval needed for " (incident.questions.len()) " of them" } }
                        ul { @for asked in &incident.questions {
                            li { a href={ "/dashboard?ticket=" (asked.ticket) } { (asked.ticket) } ": " (prose(&asked.text)) " Until " (time(asked.expires_at)) "." }
                        } }
                        div.actions { @for (action, label, class) in [("approve", "Approve all", ""), ("reject", "Reject all", "second")] {
                            form method="post" action={ "/dashboard/tickets/" (t.id) "/" (action) } {
                                input type="hidden" name="token" value=(page.form_token);
                                input type="hidden" name="approval" value=(t.incident_approval());
                                input type="hidden" name="plan" value=(incident.plans());
                                button type="submit" class=(class) { (label) }
                            }
                        } }
                    }
                }
                @if members.len() > LISTED { p { a href={ "/dashboard?incident=" (t.id) "&days=90" } { "All of them" } } }
            }
        }
    }
}

/// The quotes that prove the cause, and what nobody could look at.
fn proof(page: &TicketPage<'_>) -> Markup {
    let (diagnosis, gaps) = (&page.ticket.diagnosis, &page.ticket.gaps);
    let source = |quote: &Quote| match page.evidence.iter().find(|piece| piece.id == quote.source) {
        Some(piece) => format!("{} ({})", piece.title, piece.id),
        None => format!(
            "the report's {}",
            quote
                .source
                .trim_start_matches("context.")
                .replace('_', " ")
        ),
    };
    html! {
        @if !diagnosis.evidence.is_empty() || !gaps.is_empty() {
            section.card {
                @if !diagnosis.evidence.is_empty() {
                    h2 { "Because it says" }
                    @for quote in diagnosis.proofs() { blockquote { (quote.quote) footer { (source(quote)) } } }
                }
                @if !gaps.is_empty() {
                    h3 { "What could not be looked at" }
                    ul.gaps { @for gap in gaps { li { strong { (gap.source) } ": " (gap.reason) } } }
                }
            }
        }
    }
}

fn head(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let button = |action: &str, label: &str, class: &str| {
        html! { form method="post" action={ "/dashboard/tickets/" (t.id) "/" (action) } {
            input type="hidden" name="token" value=(page.form_token);
            button type="submit" class=(class) { (label) }
        } }
    };
    html! {
        section.head {
            div {
                h1 { (t.failure.asset) }
                p.quiet { (t.failure.source.label()) " " (t.failure.kind.label().to_lowercase()) " · " code { (t.id) } }
                p { span class={ "priority " (t.priority.to_string().to_lowercase()) } { (format!("{} {}", t.priority, t.severity)) } " "
                    span class={ "status " (t.status.name()) } { (t.status.name().replace('_', " ")) }
                    @if t.is_closed() { " closed by " (t.status_by.name) " on " (time(t.status_at)) } }
            }
            div.actions {
                @match t.status {
                    Status::Open => { (button("start", "I work on it", "second")) (button("acknowledge", "Close", "")) }
                    Status::InProgress => { (button("acknowledge", "Close", "")) }
                    Status::Acknowledged => { (button("reopen", "Reopen", "second")) }
                }
            }
        }
    }
}

fn remediation(page: &TicketPage<'_>) -> Markup {
    let r = &page.ticket.remediation;
    let question = r
        .approval
        .as_ref()
        .filter(|a| a.answer.is_none() && r.state == RemediationState::AwaitingApproval);
    html! {
        section.card {
            h2 { "Healing" }
            (standing(r))
            @if let Some(approval) = question {
                div.question {
                    p { strong { (prose(&approval.plan_text)) } }
                    p { "A person is asked because " (approval.why) ". The question stands until " (time(approval.expires_at)) "." }
                    div.actions { @for (action, label, class) in [("approve", "Approve", ""), ("reject", "Reject", "second")] {
                        form method="post" action={ "/dashboard/tickets/" (page.ticket.id) "/" (action) } {
                            input type="hidden" name="token" value=(page.form_token);
                            input type="hidden" name="approval" value=(approval.id);
                            input type="hidden" name="plan" value=(approval.plan);
                            button type="submit" class=(class) { (label) }
                        }
                    } }
                }
            }
            @if !r.attempts.is_empty() {
                table.attempts { thead { tr { th { "Attempt" } th { "What" } th { "State" } th { "Run" } th { "Outcome" } } } tbody {
                    @for attempt in &r.attempts {
                        tr { td { (attempt.number) " of " (r.max_attempts) } td { (attempt.words()) } td { (attempt.state.label()) }
                            td { @match attempt.run_id.as_deref() {
                                Some(run) => { (run_link(run, page::of_run(&page.ticket.failure, run).as_deref())) }
                                None => { "–" }
                            } } td { (attempt.outcome.as_deref().unwrap_or("–")) } }
                    }
                } }
            }
        }
    }
}

/// How it stands and why. A question that is open gives the reason itself, and one that was answered says who answered.
fn standing(r: &Remediation) -> Markup {
    let ended = matches!(
        r.state,
        RemediationState::None | RemediationState::Exhausted | RemediationState::Rejected
    );
    let asked = r.approval.as_ref();
    html! {
        @if ended {
            p { (words(r.state)) ": " (prose(&r.decision)) }
        } @else if r.state != RemediationState::AwaitingApproval {
            p { (words(r.state)) "." }
            @if asked.is_none_or(|approval| approval.why != r.decision) { p.quiet { "Why: " (prose(&r.decision)) } }
        }
        @if let Some((approval, answer)) = asked.and_then(|approval| Some((approval, approval.answer.as_ref()?))) {
            p.quiet { (if answer.approved { "Approved" } else { "Rejected" }) " by " (answer.by.name) " on " (time(answer.at)) ": "
                (prose(&approval.plan_text)) }
        }
    }
}

fn words(state: RemediationState) -> &'static str {
    match state {
        RemediationState::None => "Left to people",
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
                (row("Run", run_link(t.failure.run_id.as_deref().unwrap_or("unknown"), page::of(&t.failure).as_deref())))
                @if let Some((platform, url)) = page::linked(&t.failure) { (row("Started", html! { a href=(url) rel="noreferrer" { "the run in " (platform) } })) }
                (row("Error", html! { (t.diagnosis.error_type) @if let Some(code) = &t.failure.error_code { " " code { (code) } } }))
                (row("Failed", html! { (t.failure.occurred_at.map_or_else(|| "time unknown".to_owned(), time)) }))
                (row("Reported", html! { (time(t.received_at)) @if t.count > 1 { ", " (t.count) " times" } }))
                (row("SLA", html! { (t.priority.sla_words()) ", "
                    @match t.sla.breached_at { Some(at) => { span.bad { "breached " (relative(at, page.now)) } }
                        None if t.is_closed() => { "met" }
                        None => { "due " (relative(t.sla.due_at, page.now)) } } }))
                @if let Some(took) = t.time_to_recovery() { (row("Closed after", html! { (lasting(took)) })) }
                (row("Owner", html! { @match &t.owner {
                    Some(owner) => { a href={ "/dashboard?owner=" (encoded(owner)) } { (owner) } }
                    None => { a href={ "/dashboard?owner=" (NOBODY) } { (NOBODY) } }
                } @if let Some(known_from) = &t.owner_known_from { span.quiet { ", " (known_from) } } }))
                @if let Some(reason) = t.severity_reason() { (row("Severity", html! { (t.severity.to_string()) ", by " (prose(&reason)) })) }
                @for sink in Sink::ALL { (row(sink.title(), shown_by(page, sink))) }
            }
        }
    }
}

/// A run's id, to be opened where it is known how.
fn run_link(run: &str, url: Option<&str>) -> Markup {
    html! { @if let Some(url) = url { a href=(url) rel="noreferrer" { (run) } } @else { (run) } }
}

/// What the source told besides, and what the error names: for looking up, so it stands last.
fn details(t: &Ticket) -> Markup {
    let row = |name: &str, value: &str| html! { dt { (name.replace('_', " ")) } dd { (value) } };
    // `says` is the passage that the quotes show whole.
    let told_already = |name: &String, value: &String| {
        name == "says" || t.failure.context.get(name) == Some(value)
    };
    let named: Vec<_> = t
        .diagnosis
        .entities
        .iter()
        .filter(|(name, value)| !told_already(name, value))
        .collect();
    html! {
        @if !t.failure.context.is_empty() || !named.is_empty() {
            section.card {
                @if !t.failure.context.is_empty() {
                    h2 { "Details of the source" }
                    dl { @for (name, value) in &t.failure.context { (row(name, value)) } }
                }
                @if !named.is_empty() {
                    h2 { "Named in the error" }
                    dl { @for (name, value) in named { (row(name, value)) } }
                }
            }
        }
    }
}

/// What a sink shows of the ticket, and what stops it.
fn shown_by(page: &TicketPage<'_>, sink: Sink) -> Markup {
    let t = page.ticket;
    let acts = t.remediation.state != RemediationState::None || !t.remediation.attempts.is_empty();
    let shown = match sink {
        Sink::Jira => {
            html! { @if let Some(key) = &t.jira.key { (issue(key, page.issue_url)) } @else { "not yet" } }
        }
        Sink::Slack => html! { (if t.slack.ts.is_some() { "posted" } else { "not yet" }) },
        Sink::Playbook => html! { (if acts { t.remediation.action.words() } else { "none" }) },
    };
    html! {
        @if let Some(why) = t.sinks_off.get(sink.name()) { span.quiet { "off: " (why) } } @else { (shown) }
        @for fault in [t.fault(sink), t.refused_detail(sink)].into_iter().flatten() {
            div.bad { (fault.reason) @if fault.retrying { " (will be tried again)" } }
        }
        @if let Some(blocked) = t.blocked(sink) {
            div.bad { "Blocked since " (time(blocked.since)) "; next try " (relative(blocked.next_try, page.now)) ", or as soon as the settings change." }
        }
    }
}
