//! What people see in Teams: the card of a ticket, and the entries of its story. Pure.
//!
//! In: a ticket and what the settings show. Out: an Adaptive Card of elements that version 1.2 has, which all of Teams'
//! clients render, within a size. Foreign text stands in `TextRun`s alone, which parse no markup; `TextBlock` and `FactSet`
//! do, and the one that mentions people (`mentions`) is our own. No time or date functions (Teams has none): times are UTC. The same ticket always gives the same
//! card: its [`hash`] tells whether Teams has to be told.

use serde_json::{Value, json};

use super::elements::{fact, heading, line, linked, quiet, rich, small, time, told_fact};
use super::links::{self, issue_link, run_link};
pub use super::look::Look;
use super::mentions::Mentions;
use super::size::shrink;
pub use super::size::{BOT_SIZE, Size, URL_SIZE};
use super::text::{lines, plain};
use crate::digest::sha256;
use crate::incident::summary_words;
use crate::ticket::{Answer, Approval, Chapter, Past, RemediationState, Sink, Status, Ticket};

/// The type of an attachment that is a card.
pub const CARD_TYPE: &str = "application/vnd.microsoft.card.adaptive";
/// Longest name or id on a line.
const NAME_LIMIT: usize = 300;
/// Longest text on one.
const TEXT_LIMIT: usize = 3000;
/// More than these go into an overflow menu. What is left out then is the run's, whose id leads there as well.
const BUTTONS: usize = 6;
/// Steps shown; the dashboard has them all.
const STEPS: usize = 10;
/// Entries of the story on one card.
const NEWS: usize = 8;

/// Which card of several it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial<'a> {
    /// 0: the first.
    pub update: u32,
    /// No further one follows.
    pub last: bool,
    /// What happened since the one before.
    pub news: &'a [&'a Chapter],
}

/// Verbs of the buttons.
pub mod verb {
    /// Run the remediation.
    pub const APPROVE: &str = "approve";
    /// Do not.
    pub const REJECT: &str = "reject";
    /// Work on it.
    pub const TAKE: &str = "take";
    /// It is done.
    pub const CLOSE: &str = "close";
}

/// Which of the texts a ticket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alert,
    InProgress,
    Reopened,
    Closed,
}

impl State {
    fn of(ticket: &Ticket) -> Self {
        match (ticket.status, ticket.books.status_from) {
            (Status::Acknowledged, _) => Self::Closed,
            (_, Some(Status::Acknowledged)) => Self::Reopened,
            (Status::InProgress, _) => Self::InProgress,
            (Status::Open, _) => Self::Alert,
        }
    }

    /// The word of the header, how a person brought it there, and the colour.
    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Alert => ("🔴", "ALERT", "Opened", "attention"),
            Self::InProgress => ("🔄", "IN PROGRESS", "Taken", "warning"),
            Self::Reopened => ("🔁", "REOPENED", "Reopened", "attention"),
            Self::Closed => ("✅", "CLOSED", "Closed", "good"),
        }
    }
}

/// Names this very card.
pub fn hash(card: &Value) -> String {
    let mut hash = sha256(card.to_string());
    hash.truncate(32);
    hash
}

/// One line about the ticket, for notifications and for clients that cannot show cards.
pub fn summary(ticket: &Ticket) -> String {
    let (sign, word, ..) = State::of(ticket).words();
    let asset = plain(&ticket.failure.asset, 120);
    let cause = plain(&ticket.diagnosis.root_cause, 200);
    format!("{sign} {word}: {asset} · {} · {cause}", ticket.id)
}

/// The card as it has to look for this ticket.
pub fn card(ticket: &Ticket, look: &Look<'_>, serial: Serial<'_>) -> Value {
    let state = State::of(ticket);
    let mut body = vec![header(ticket, state, serial)];
    body.extend(facts(ticket, state, look));
    body.push(told_fact(
        "Root Cause",
        &ticket.diagnosis.root_cause,
        TEXT_LIMIT,
    ));
    let confidence = format!(
        "{} · {}",
        ticket.diagnosis.confidence_word(),
        plain(&ticket.diagnosis.error_type, NAME_LIMIT)
    );
    body.push(fact("Confidence", &confidence, NAME_LIMIT));
    let owner = ticket.owner.as_deref();
    body.extend(owner.map(|owner| fact("Owner", owner, NAME_LIMIT)));
    let called_at = body.len();
    let reason = ticket.severity_reason();
    body.extend(reason.map(|reason| fact("Severity by", &reason, NAME_LIMIT)));
    let past = ticket.past.as_ref().and_then(Past::words);
    body.extend(past.map(|past| line(&format!("♻️ {}", plain(&past, 2 * NAME_LIMIT)))));
    body.extend(incident(ticket));
    body.extend(news(serial));
    body.extend(steps(ticket));
    let (question, mut actions) = question(ticket, state, look);
    body.extend(question);
    if !look.approvers.is_empty() && state != State::Closed {
        if ticket.status == Status::Open {
            actions.push(execute("Take it", verb::TAKE, ticket, None));
        }
        actions.push(execute("Close", verb::CLOSE, ticket, None));
    }
    actions.extend(links::buttons(ticket, look));
    actions.truncate(BUTTONS);
    if serial.last {
        body.push(quiet(
            "This is the last card about this here: a workflow cannot edit cards. What follows is in JIRA and on the dashboard.",
        ));
    }
    let called = if wants_somebody(state, serial) {
        Mentions::of_owner(ticket, look.routes)
    } else {
        Mentions::default()
    };
    let called = (called_at, &called);
    document(&mut body, &actions, called, &summary(ticket), look)
}

/// Does somebody have to act on what this card says, and nobody does yet?
fn wants_somebody(state: State, serial: Serial<'_>) -> bool {
    let mut news = serial.news.iter();
    (state == State::Alert && serial.update == 0)
        || (state != State::Closed && news.any(|entry| entry.kind.wants_somebody()))
}

/// One entry of the story, as a reply below the card.
pub fn chapter(ticket: &Ticket, chapter: &Chapter, look: &Look<'_>) -> Value {
    let mut body: Vec<Value> = told(chapter);
    let called = Mentions::of_chapter(ticket, chapter, look.routes, look.approvers);
    let called = (body.len(), &called);
    body.push(quiet(&format!("{} · {}", ticket.id, time(chapter.at))));
    let summary = plain(&chapter.text, 200);
    document(&mut body, &[], called, &summary, look)
}

/// Gives the card an id that stands in it, by which it is found again.
pub fn mark(card: &mut Value, mark: &str) {
    if let Some(first) = card.pointer_mut("/body/0").and_then(Value::as_object_mut) {
        first.insert("id".to_owned(), mark.into());
    }
}

fn document(
    body: &mut Vec<Value>,
    actions: &[Value],
    (called_at, called): (usize, &Mentions<'_>),
    summary: &str,
    look: &Look<'_>,
) -> Value {
    let (line, entities) = called.among(&json!([body, summary])).unzip();
    if let Some(line) = line.clone() {
        body.insert(called_at.min(body.len()), line);
    }
    // Buttons that a bot answers came with 1.4; all elements are of 1.2.
    let executes = actions.iter().any(|action| {
        action
            .get("type")
            .is_some_and(|kind| kind == "Action.Execute")
    });
    let made = |body: &[Value]| {
        let mut card = json!({
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard", "version": if executes { "1.4" } else { "1.2" },
            "fallbackText": summary, "msteams": {"width": "Full"}, "body": body,
        });
        if !actions.is_empty()
            && let Some(fields) = card.as_object_mut()
        {
            fields.insert("actions".to_owned(), json!(actions));
        }
        // Without its mention an entity would explain nothing.
        if let Some(entities) = entities.clone()
            && line.as_ref().is_some_and(|line| body.contains(line))
            && let Some(msteams) = card.get_mut("msteams").and_then(Value::as_object_mut)
        {
            msteams.insert("entities".to_owned(), entities);
        }
        card
    };
    loop {
        let card = made(body);
        let text = card.to_string();
        if look.size.holds(&text) || !shrink(body) {
            return card;
        }
    }
}

fn header(ticket: &Ticket, state: State, serial: Serial<'_>) -> Value {
    let (sign, word, _, style) = state.words();
    let asset = plain(&ticket.failure.asset, NAME_LIMIT);
    let title = format!("{sign} {word}: {asset}");
    let kind = if ticket.incident.as_ref().is_some_and(|one| one.tickets > 1) {
        "Incident"
    } else {
        "Ticket"
    };
    let number = match serial.update {
        0 => String::new(),
        update => format!(" · update {update}"),
    };
    let about = format!(
        "{kind} {}{number} · {} ({})",
        ticket.id, ticket.severity, ticket.priority
    );
    json!({
        "type": "Container", "style": style, "bleed": true,
        "items": [
            rich(&[json!({"type": "TextRun", "text": title, "size": "Large", "weight": "Bolder"})]),
            rich(&[json!({"type": "TextRun", "text": about})]),
        ],
    })
}

fn facts(ticket: &Ticket, state: State, look: &Look<'_>) -> Vec<Value> {
    let run = ticket.failure.run_id.as_deref().unwrap_or("not known");
    let (_, _, how, _) = state.words();
    let stands = match state {
        State::Alert => format!("take it within {}", ticket.priority.sla_words()),
        _ => format!(
            "{how} by {} on {}",
            plain(&ticket.status_by.name, NAME_LIMIT),
            time(ticket.status_at)
        ),
    };
    vec![
        linked(
            fact("JIRA", &issue(ticket), NAME_LIMIT),
            issue_link(ticket, look),
        ),
        linked(fact("Run ID", run, NAME_LIMIT), run_link(ticket)),
        fact("Status", &stands, 2 * NAME_LIMIT),
    ]
}

fn issue(ticket: &Ticket) -> String {
    match ticket.jira.key.as_deref() {
        Some(key) if ticket.jira.deleted => format!("{key} (deleted)"),
        Some(key) => key.to_owned(),
        None => match ticket.sinks_off.get(Sink::Jira.name()) {
            Some(why) => format!("none ({why})"),
            None if (ticket.fault(Sink::Jira)).is_some_and(|fault| !fault.retrying) => {
                "not created, see the dashboard".to_owned()
            }
            None => "pending".to_owned(),
        },
    }
}

/// The other failures of the incident: how many, and the latest of them.
fn incident(ticket: &Ticket) -> Vec<Value> {
    let words = summary_words(ticket);
    let mut shown = Vec::new();
    for (number, words) in words.iter().enumerate() {
        let words = plain(words, NAME_LIMIT);
        shown.push(match number {
            0 => heading(&words),
            _ => small(&format!("• {words}")),
        });
    }
    shown
}

fn news(serial: Serial<'_>) -> Vec<Value> {
    let mut shown = Vec::new();
    if serial.news.is_empty() {
        return shown;
    }
    shown.push(heading(if serial.update == 0 {
        "So far"
    } else {
        "Since the last card"
    }));
    let left_out = serial.news.len().saturating_sub(NEWS);
    if left_out > 0 {
        shown.push(small(&format!(
            "… {left_out} earlier entries are on the dashboard"
        )));
    }
    for entry in serial.news.iter().skip(left_out) {
        shown.extend(told(entry));
    }
    shown
}

/// An entry of the story.
fn told(chapter: &Chapter) -> Vec<Value> {
    let sign = chapter.kind.sign();
    let texts = lines(&chapter.text, TEXT_LIMIT);
    (texts.iter().enumerate())
        .map(|(number, text)| match number {
            0 => line(&format!("{sign} {text}")),
            _ => small(text),
        })
        .collect()
}

fn steps(ticket: &Ticket) -> Vec<Value> {
    let steps = ticket.diagnosis.recommendations.iter();
    let steps: Vec<String> = steps
        .map(|step| plain(step, 600))
        .filter(|step| !step.is_empty())
        .collect();
    let mut shown = Vec::new();
    if !steps.is_empty() {
        shown.push(heading("Resolution Steps"));
    }
    shown.extend((steps.iter().take(STEPS)).map(|step| small(&format!("• {step}"))));
    if let Some(more @ 1..) = steps.len().checked_sub(STEPS) {
        shown.push(small(&format!("… {more} more on the dashboard")));
    }
    shown
}

/// The question to a person with its buttons, or who answered it.
fn question(ticket: &Ticket, state: State, look: &Look<'_>) -> (Vec<Value>, Vec<Value>) {
    let Some(approval) = &ticket.remediation.approval else {
        return (Vec::new(), Vec::new());
    };
    match (&approval.answer, ticket.remediation.state) {
        (Some(answer), _) => (answered(approval, answer), Vec::new()),
        (None, RemediationState::AwaitingApproval) if state != State::Closed => {
            asked(ticket, approval, look)
        }
        (None, RemediationState::Rejected) => {
            let at = time(approval.expires_at);
            let text = format!("⌛ Approval expired on {at} without an answer");
            (vec![line(&text)], Vec::new())
        }
        (None, _) => (Vec::new(), Vec::new()),
    }
}

fn answered(approval: &Approval, answer: &Answer) -> Vec<Value> {
    let word = if answer.approved {
        "👍 Approved"
    } else {
        "👎 Rejected"
    };
    let by = plain(&answer.by.name, NAME_LIMIT);
    let mut body = vec![line(&format!("{word} by {by} on {}", time(answer.at)))];
    let plan = plain(&approval.plan_text, TEXT_LIMIT / 3);
    if !plan.is_empty() {
        body.push(small(&plan));
    }
    body
}

fn asked(ticket: &Ticket, approval: &Approval, look: &Look<'_>) -> (Vec<Value>, Vec<Value>) {
    let mut body = vec![heading("🙋 Approval needed")];
    let plan = lines(&approval.plan_text, TEXT_LIMIT / 2);
    body.extend(plan.iter().map(|text| line(text)));
    body.push(fact("Why", &approval.why, TEXT_LIMIT / 3));
    body.push(fact("Expires", &time(approval.expires_at), NAME_LIMIT));
    if look.approvers.is_empty() {
        body.push(quiet("Answer on the dashboard."));
        return (body, Vec::new());
    }
    let actions = vec![
        execute("Approve", verb::APPROVE, ticket, Some(approval)),
        execute("Reject", verb::REJECT, ticket, Some(approval)),
    ];
    (body, actions)
}

fn execute(title: &str, verb: &str, ticket: &Ticket, approval: Option<&Approval>) -> Value {
    let mut data = json!({"ticket": ticket.id});
    if let (Some(approval), Some(fields)) = (approval, data.as_object_mut()) {
        fields.insert("approval".to_owned(), approval.id.clone().into());
        fields.insert("plan".to_owned(), approval.plan.clone().into());
    }
    json!({"type": "Action.Execute", "title": title, "verb": verb, "data": data})
}
