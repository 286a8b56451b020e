//! The page of one ticket: the cause and its proof, what is being done, who did what.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use strum::IntoEnumIterator as _;

use super::silences::of_ticket;
use super::{TicketPage, encoded, frame, issue, lasting, moment, prose, relative};
use crate::diagnosis::{Category, Quote};
use crate::failure::page;
use crate::ownership::NOBODY;
use crate::ticket::{AttemptState, Remediation, RemediationState, Sink, Status, Ticket};

/// Followers that the page of a leader lists.
const LISTED: usize = 50;

/// Lines around what proves the cause.
const AROUND: usize = 3;
/// Characters of a line that stands around it.
const LINE: usize = 300;

/// The page of one ticket.
pub fn ticket(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    let body = html! {
        (head(page))
        (timeline(t))
        div.columns {
            div {
                section.card {
                    h2 { "Root cause" }
                    (correction(t))
                    p.cause { (prose(&t.diagnosis.root_cause)) }
                    p.quiet { "Confidence " (t.diagnosis.confidence_word()) " · " (t.diagnosis.category.words()) }
                    (proof(page))
                    h3 { "What to do" }
                    ol { @for step in &t.diagnosis.recommendations { li { (prose(step)) } } }
                    (another_cause(page))
                }
                (incident(page))
                (past(t, page.now))
                (remediation(page))
                (evidence(page))
            }
            div {
                (facts(page))
                (words_box(page))
                (of_ticket(t, page.form_token))
                section.card { h2 { "History" } ol.history { @for entry in page.audit {
                    li { (moment(entry.at)) " " strong { (entry.what) } " by " (entry.actor.name)
                        @if let Some(detail) = tidy(&entry.detail, t) { div.quiet { (prose(&detail)) } } }
                } } }
                (details(t))
            }
        }
    };
    frame(&t.failure.asset, Some(&page.visitor), &body)
}

/// Failed, reported, tried, ended: the story at a glance.
fn timeline(t: &Ticket) -> Markup {
    let mut points: Vec<(DateTime<Utc>, &str, String)> = Vec::new();
    if let Some(at) = t.failure.occurred_at {
        points.push((at, "bad", "Failed".to_owned()));
    }
    points.push((t.received_at, "", "Reported".to_owned()));
    for attempt in &t.remediation.attempts {
        if let Some(at) = attempt.called_at {
            points.push((at, "ask", format!("Attempt {}", attempt.number)));
        }
        if let Some(at) = attempt.ended_at.filter(|_| attempt.called_at.is_some()) {
            let good = attempt.state == AttemptState::Succeeded;
            let class = if good { "good" } else { "bad" };
            let label = format!("Attempt {} {}", attempt.number, attempt.state.label());
            points.push((at, class, label));
        }
    }
    points.extend(
        t.sla
            .breached_at
            .map(|at| (at, "bad", "SLA breached".to_owned())),
    );
    match t.status {
        Status::InProgress => {
            points.push((t.status_at, "ask", format!("Taken by {}", t.status_by.name)));
        }
        Status::Acknowledged => {
            let healed = t.remediation.state == RemediationState::Succeeded;
            let label = match (healed, t.status_by.is_person()) {
                (true, _) => "Healed".to_owned(),
                (false, true) => format!("Closed by {}", t.status_by.name),
                (false, false) if t.books.recovered_by.is_some() => "Recovered".to_owned(),
                (false, false) => "Closed".to_owned(),
            };
            points.push((t.status_at, "good", label));
        }
        Status::Open => {}
    }
    points.sort_by_key(|(at, _, _)| *at);
    let first = points.first().map_or(t.received_at, |(at, _, _)| *at);
    html! {
        ol.timeline aria-label="Timeline" {
            @for (at, class, label) in points {
                li class=(class) {
                    strong { (label) }
                    (moment(at))
                    @if at > first { span.quiet { "+" (lasting(at - first)) } }
                }
            }
        }
    }
}

/// What a person says the cause is instead.
fn correction(t: &Ticket) -> Markup {
    html! {
        @if let Some(correction) = &t.correction {
            p.corrected { strong { "The cause is another: " } (prose(&correction.words()))
                span.quiet { " says " (correction.by.name) ", " (moment(correction.at)) ". The diagnosis was:" } }
        }
    }
}

fn another_cause(page: &TicketPage<'_>) -> Markup {
    let t = page.ticket;
    html! {
        details.other {
            summary { "The cause is another" }
            form method="post" action={ "/dashboard/tickets/" (t.id) "/correct" } {
                input type="hidden" name="token" value=(page.form_token);
                label { "Category" select name="category" required {
                    @for category in Category::iter() {
                        option value=(category.words()) selected[category == t.diagnosis.category] { (category.words()) }
                    }
                } }
                label.wide { "In one line" input type="text" name="text" maxlength="300" placeholder="the source was delivered late"; }
                button.second type="submit" { "Say so" }
            }
        }
    }
}

/// What somebody has to say reaches the issue and the thread.
fn words_box(page: &TicketPage<'_>) -> Markup {
    html! {
        section.card {
            h2 { "Comment" }
            form.comment method="post" action={ "/dashboard/tickets/" (page.ticket.id) "/comment" } {
                input type="hidden" name="token" value=(page.form_token);
                textarea name="text" rows="3" maxlength="2000" required aria-label="Comment" placeholder="Goes to the JIRA issue and the Slack thread" {}
                button.second type="submit" { "Comment" }
            }
        }
    }
}

/// A detail of the history for people: ids of attempts are numbers, and a hash says nothing.
fn tidy(detail: &str, t: &Ticket) -> Option<String> {
    let is_hash = detail.len() >= 10 && detail.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut text = detail.to_owned();
    for attempt in &t.remediation.attempts {
        text = text.replace(&attempt.id, &format!("attempt {}", attempt.number));
    }
    (!is_hash && !text.trim().is_empty()).then_some(text)
}

/// All texts that were collected, each once, folded.
fn evidence(page: &TicketPage<'_>) -> Markup {
    let mut seen: Vec<&str> = Vec::new();
    let mut pieces = Vec::new();
    for piece in page.evidence {
        let text = piece.text.trim();
        if !seen.contains(&text) {
            seen.push(text);
            pieces.push(piece);
        }
    }
    html! {
        section.card.evidence {
            h2 { "All evidence" }
            @for piece in pieces {
                details { summary { (piece.title) " " span.quiet { (piece.id) ", " (piece.source) ", " (moment(piece.at)) } }
                    pre tabindex="0" aria-label=(piece.title) { (piece.text) } }
            }
            p.quiet { "Rule " code { (page.ticket.diagnosis.rule) } ", worded by " (page.ticket.diagnosis.worded_by) "." }
        }
    }
}

/// How failures like this one ended before.
fn past(t: &Ticket, now: DateTime<Utc>) -> Markup {
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
                            " " span.quiet { (member.reason.words()) " · " (moment(member.received_at)) " · " (member.status.name().replace('_', " ")) }
                        }
                    }
                }
                @if !incident.questions.is_empty() {
                    div.question {
                        p { strong { "Approval needed for " (incident.questions.len()) " of them" } }
                        ul { @for asked in &incident.questions {
                            li { a href={ "/dashboard?ticket=" (asked.ticket) } { (asked.ticket) } ": " (prose(&asked.text)) " Until " (moment(asked.expires_at)) "." }
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

/// The line that proves the cause in its surroundings, the other quotes folded, and what nobody could look at.
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
    // What another quote says whole need not be said again.
    let mut quotes: Vec<&Quote> = Vec::new();
    for quote in diagnosis.proofs() {
        if !quotes
            .iter()
            .any(|known| known.quote.contains(quote.quote.trim()))
        {
            quotes.push(quote);
        }
    }
    html! {
        @if let Some((first, others)) = quotes.split_first() {
            h3 { "Because it says" }
            blockquote { (surroundings(page, first)) footer { (source(first)) } }
            @if !others.is_empty() {
                details.more { summary { (others.len()) " more" }
                    @for quote in others { blockquote { (quote.quote) footer { (source(quote)) } } } }
            }
        }
        @if !gaps.is_empty() {
            h3 { "What could not be looked at" }
            ul.gaps { @for gap in gaps { li { strong { (gap.source) } ": " (gap.reason) } } }
        }
    }
}

/// A quote, marked among the lines around it where they are known.
fn surroundings(page: &TicketPage<'_>, quote: &Quote) -> Markup {
    let text = page
        .evidence
        .iter()
        .find(|piece| piece.id == quote.source)
        .map_or(page.ticket.failure.message.as_str(), |piece| &piece.text);
    let Some((before, after)) = text.split_once(quote.quote.as_str()) else {
        return html! { mark { (quote.quote) } };
    };
    let (head, begun) = before.rsplit_once('\n').unwrap_or(("", before));
    let (rest, tail) = after.split_once('\n').unwrap_or((after, ""));
    let short = |line: &str| -> String { line.chars().take(LINE).collect() };
    let above: Vec<String> = head
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(AROUND)
        .map(short)
        .collect();
    let below = tail
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(AROUND)
        .map(short);
    let end: String = begun.chars().rev().take(LINE).collect();
    let begun: String = end.chars().rev().collect();
    html! {
        @for line in above.iter().rev() { span.around { (line) "\n" } }
        span.around { (begun) } mark { (quote.quote) } span.around { (short(rest)) }
        @for line in below { span.around { "\n" (line) } }
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
                    @if t.is_closed() { " closed by " (t.status_by.name) " on " (moment(t.status_at)) } }
            }
            div.actions {
                @if let Some(url) = page::of(&t.failure) { a.button href=(url) rel="noreferrer" { "Open run" } }
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
                    p { "A person is asked because " (approval.why) ". The question stands until " (moment(approval.expires_at)) "." }
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
            p.quiet { (if answer.approved { "Approved" } else { "Rejected" }) " by " (answer.by.name) " on " (moment(answer.at)) ": "
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
                (row("Failed", html! { @match t.failure.occurred_at { Some(at) => { (moment(at)) }, None => { "time unknown" } } }))
                (row("Reported", html! { (moment(t.received_at)) @if t.count > 1 { ", " (t.count) " times" } }))
                (row("SLA", html! { (t.priority.sla_words()) ", "
                    @match t.sla.breached_at { Some(at) => { span.bad { "breached " (relative(at, page.now)) } }
                        None if t.is_closed() => { "met" }
                        None => { "due " time data-due="" datetime=(t.sla.due_at.to_rfc3339()) { (relative(t.sla.due_at, page.now)) } } } }))
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
        Sink::Teams => match &t.teams {
            Some(record) if record.cards > 1 => html! { (record.cards) " cards posted" },
            Some(record) if record.is_shown() => html! { "posted" },
            Some(_) | None => html! { "not yet" },
        },
        Sink::Playbook => html! { (if acts { t.remediation.action.words() } else { "none" }) },
    };
    html! {
        @if let Some(why) = t.sinks_off.get(sink.name()) { span.quiet { "off: " (why) } } @else { (shown) }
        @for fault in [t.fault(sink), t.refused_detail(sink)].into_iter().flatten() {
            div.bad { (fault.reason) @if fault.retrying { " (will be tried again)" } }
        }
        @if let Some(blocked) = t.blocked(sink) {
            div.bad { "Blocked since " (moment(blocked.since)) "; next try " (relative(blocked.next_try, page.now)) ", or as soon as the settings change." }
        }
    }
}
