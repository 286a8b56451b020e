//! What people see in Slack: the one message of a ticket, and the entries of its thread. Pure.
//!
//! In: a ticket and what the settings show. Out: blocks and the notification's text, within Slack's limits.
//! The alert and the closed message have the integration guide's lines, word for word; in progress and
//! reopened follow their style. Paragraphs of the guide are blocks here. Nothing bold and no links but our
//! own, so what stands in a message is what the guide says stands there; names and ids are code, times are read in
//! everybody's own zone. The same ticket always gives the same blocks: their [`Post::hash`] tells whether Slack has to be
//! told.

use serde_json::{Value, json};

use super::buttons::{approvers, buttons, question, questions, silence};
use super::elements::{SECTION_LIMIT, URL_LIMIT, context, plain_text, section, within};
use super::interaction::{OPEN_DASHBOARD, is_id};
use super::look::{Look, NAME_LIMIT, State};
use super::text::{Words, len, plain, prose, prose_lines};
use crate::digest::sha256;
use crate::failure::page;
use crate::incident::summary_words;
use crate::sinks::{dashboard_page, issue_page};
use crate::ticket::{Attempt, Chapter, ChapterKind, Past, Sink, Status, Ticket};

/// Longest `plain_text` of a header block.
pub const HEADER_LIMIT: usize = 150;
/// What Slack recommends for the text beside blocks; its hard limit is ten times that.
pub const TEXT_LIMIT: usize = 4000;
/// All sections of a message together. Slack refuses messages whose blocks hold about 13,200 characters
/// (`msg_blocks_too_long`, slackapi/bolt-js#2509; documented nowhere): buttons and dialogs fit into the rest.
pub const BLOCKS_LIMIT: usize = 11_000;
/// Characters of the asset's name and of the cause in the first line of a notification.
const PUSH: (usize, usize) = (80, 300);
/// Attempts whose runs are named.
const RERUNS: usize = 3;
/// Steps shown; the dashboard has them all.
const STEPS: usize = 10;
/// Approvers named when their answer is needed.
const MENTIONS: usize = 10;

/// A message as Slack takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// Shown in notifications and by screen readers.
    pub text: String,
    /// What is shown in the channel.
    pub blocks: Vec<Value>,
}

impl Post {
    /// Names this very content.
    pub fn hash(&self) -> String {
        let blocks = Value::from(self.blocks.clone());
        let mut hash = sha256(format!("{}{blocks}", self.text));
        hash.truncate(32);
        hash
    }
}

/// The message as it has to look for this ticket.
pub fn message(ticket: &Ticket, look: &Look<'_>) -> Post {
    let state = State::of(ticket);
    let title = plain_text(&header(ticket, state));
    let mut blocks = vec![
        json!({"type": "header", "text": title}),
        section(&facts(ticket, state, look)),
    ];
    let confidence = Words::new("Confidence: ").own(ticket.diagnosis.confidence_word());
    let tail = match state.words() {
        None => confidence,
        Some((_, _, how)) => {
            let closed = Words::new(how)
                .own(" by ")
                .person(&ticket.status_by.name, NAME_LIMIT)
                .own(" on ")
                .time(ticket.status_at);
            blocks.push(section(&closed));
            confidence.own("\n").and(&error_type(ticket))
        }
    };
    blocks.push(section(&root_cause(ticket, &tail)));
    blocks.extend(correction(ticket).map(|correction| section(&correction)));
    blocks.extend(care(ticket, look));
    let past = ticket.past.as_ref().and_then(Past::words);
    blocks.extend(past.map(|past| section(&Words::new("♻️ ").and(&prose(&past, 2 * NAME_LIMIT)))));
    blocks.extend(incident(ticket).map(|incident| section(&incident)));
    blocks.extend(steps(ticket).map(|steps| section(&steps)));
    blocks.extend(reruns(ticket).map(|reruns| section(&reruns)));
    blocks.extend(question(ticket, state, look));
    blocks.extend(questions(ticket, state, look));
    blocks.extend(silence(ticket, state, look));
    blocks.push(context(&dates(ticket)));
    blocks.extend(buttons(ticket, state, look));
    within(&mut blocks, BLOCKS_LIMIT);
    Post {
        text: push(ticket, state),
        blocks,
    }
}

/// Who owns it and is mentioned, and why it is as severe as it is.
fn care(ticket: &Ticket, look: &Look<'_>) -> Vec<Value> {
    let mut owner = Words::default();
    if let Some(name) = &ticket.owner {
        owner = owner.own("Owner: ").and(&prose(name, NAME_LIMIT));
    }
    let called = mentions(ticket, look);
    if !called.is_empty() {
        owner = owner
            .own(if ticket.owner.is_some() { " " } else { "" })
            .own(&called);
    }
    let reason = ticket.severity_reason().map(|reason| {
        Words::new(&format!("Severity {} by ", ticket.severity)).and(&prose(&reason, NAME_LIMIT))
    });
    let owner = Some(owner).filter(|words| !words.is_empty());
    let told = owner.into_iter().chain(reason);
    told.map(|words| section(&words)).collect()
}

/// The people and groups of the owner, as Slack calls them.
fn mentions(ticket: &Ticket, look: &Look<'_>) -> String {
    let Some(routes) = look.routes else {
        return String::new();
    };
    let called = routes.mentions(ticket).into_iter().filter_map(|name| {
        let name = name
            .trim_start_matches(['@', '<', '!'])
            .trim_end_matches('>');
        match name.to_ascii_lowercase().as_str() {
            "here" => Some("<!here>".to_owned()),
            "channel" => Some("<!channel>".to_owned()),
            "everyone" => Some("<!everyone>".to_owned()),
            _ if !is_id(name) => None,
            _ if name.starts_with('S') => Some(format!("<!subteam^{name}>")),
            _ => Some(format!("<@{name}>")),
        }
    });
    called.take(MENTIONS).collect::<Vec<_>>().join(" ")
}

/// One entry of the thread.
pub fn chapter(ticket: &Ticket, chapter: &Chapter, look: &Look<'_>) -> Post {
    let sign = chapter.kind.sign();
    let asked = asked_to_act(ticket, chapter, look);
    let room = SECTION_LIMIT - len(sign) - 1 - asked.len();
    let words = Words::new(sign)
        .own(" ")
        .and(&prose_lines(&chapter.text, room))
        .and(&asked);
    let about = Words::default()
        .name(ticket.id.as_str(), NAME_LIMIT)
        .own(" · ")
        .time(chapter.at);
    Post {
        text: words.form().0.to_owned(),
        blocks: vec![section(&words), context(&about)],
    }
}

/// A message of a title and paragraphs, with the way to the dashboard.
pub(super) fn digest_blocks(title: &str, paragraphs: &[Words], look: &Look<'_>) -> Vec<Value> {
    let mut blocks = vec![json!({"type": "header", "text": plain_text(title)})];
    blocks.extend(paragraphs.iter().map(section));
    let dashboard = look.dashboard_base.and_then(dashboard_page);
    blocks.extend(dashboard.map(|url| {
        json!({"type": "actions", "block_id": "rca_links", "elements": [
            {"type": "button", "action_id": OPEN_DASHBOARD, "text": plain_text("Open in Dashboard"), "url": url.as_str()},
        ]})
    }));
    blocks
}

/// Must somebody do something about this entry, while nobody can be mentioned? Then the channel is told.
pub fn is_for_the_channel(ticket: &Ticket, chapter: &Chapter, look: &Look<'_>) -> bool {
    chapter.kind.wants_somebody() && asked_to_act(ticket, chapter, look).is_empty()
}

/// The people who have to act, on a line of their own.
fn asked_to_act(ticket: &Ticket, chapter: &Chapter, look: &Look<'_>) -> Words {
    let mut asked = Words::default();
    // Only approvers can answer a question; anything else is the owner's.
    let owners = mentions(ticket, look);
    if chapter.kind.wants_somebody()
        && chapter.kind != ChapterKind::ApprovalAsked
        && !owners.is_empty()
    {
        return asked.own("\n").own(&owners);
    }
    if chapter.kind.wants_somebody() {
        for (index, id) in approvers(look).take(MENTIONS).enumerate() {
            asked = asked.own(if index == 0 { "\n" } else { " " }).mention(id);
        }
    }
    asked
}

/// What a notification shows: the asset and the cause come first.
fn push(ticket: &Ticket, state: State) -> String {
    let (sign, word) = match state.words() {
        None => ("🔴", format!("{} ({})", ticket.severity, ticket.priority)),
        Some((sign, word, _)) => (sign, word.to_owned()),
    };
    let (asset, cause) = PUSH;
    let words = Words::new(sign)
        .own(" ")
        .and(&prose(&ticket.failure.asset, asset))
        .own(": ")
        .and(&prose(&ticket.diagnosis.root_cause, cause))
        .own(&format!("\n{word} · {}", ticket.id));
    words.form().0.to_owned()
}

/// The guide's first line, on one line of 150 characters: the asset's name gives way.
fn header(ticket: &Ticket, state: State) -> String {
    let (before, after) = match state.words() {
        None => (
            "🔴 ALERT: ".to_owned(),
            format!(" - {} ({})", ticket.severity, ticket.priority),
        ),
        Some((sign, word, _)) => (format!("{sign} "), format!(" - {word}")),
    };
    let asset = plain(
        &ticket.failure.asset,
        HEADER_LIMIT - len(&before) - len(&after),
    );
    format!("{before}{asset}{after}")
}

fn error_type(ticket: &Ticket) -> Words {
    Words::new("Error Type: ").and(&prose(&ticket.diagnosis.error_type, NAME_LIMIT))
}

fn facts(ticket: &Ticket, state: State, look: &Look<'_>) -> Words {
    let words = Words::new("Ticket: ")
        .name(ticket.id.as_str(), NAME_LIMIT)
        .own("\nITSM Ticket: ")
        .and(&itsm(ticket, look))
        .own("\nRun ID: ");
    let words = match ticket.failure.run_id.as_deref() {
        Some(run) => words.name(run, NAME_LIMIT),
        None => words.own("not known"),
    };
    match state.words() {
        None => words.own("\n").and(&error_type(ticket)),
        Some((_, word, _)) => words.own("\nStatus: ").own(word),
    }
}

fn itsm(ticket: &Ticket, look: &Look<'_>) -> Words {
    let Some(key) = ticket.jira.key.as_deref() else {
        if let Some(why) = ticket.sinks_off.get(Sink::Jira.name()) {
            return Words::new("none (").and(&prose(why, NAME_LIMIT)).own(")");
        }
        let stopped = ticket
            .fault(Sink::Jira)
            .or(ticket.refused_detail(Sink::Jira))
            .is_some_and(|fault| !fault.retrying);
        return Words::new(if stopped {
            "not created, see the dashboard"
        } else {
            "pending"
        });
    };
    if ticket.jira.deleted {
        return prose(key, NAME_LIMIT).own(" (deleted)");
    }
    match look.issue_base.and_then(|base| issue_page(base, key)) {
        Some(url) => Words::default().link(url.as_str(), key),
        None => prose(key, NAME_LIMIT),
    }
}

/// When it failed and until when somebody should have taken it; its name, where the header does not hold it.
fn dates(ticket: &Ticket) -> Words {
    let mut words = Words::default();
    let asset = &ticket.failure.asset;
    if plain(asset, 2 * HEADER_LIMIT / 3) != *asset {
        words = words.name(asset, NAME_LIMIT).own("\n");
    }
    let failed = ticket.failure.occurred_at;
    words = match failed {
        Some(at) => words.own("Failed ").time(at),
        None => words.own("Reported ").time(ticket.received_at),
    };
    match (ticket.sla.breached_at, ticket.status) {
        (Some(at), _) => words.own(" · SLA breached ").time(at),
        (None, Status::Open) => words.own(" · to be taken by ").time(ticket.sla.due_at),
        (None, _) => words,
    }
}

/// The runs that playbooks started.
fn reruns(ticket: &Ticket) -> Option<Words> {
    let started = |attempt: &&Attempt| attempt.run_id.is_some();
    let attempts = ticket.remediation.attempts.iter().rev().filter(started);
    let mut words = Words::new("Reruns:");
    for attempt in attempts.take(RERUNS) {
        let run = attempt.run_id.as_deref()?;
        words = words
            .own(&format!(
                "\n• attempt {}, {}: ",
                attempt.number,
                attempt.state.label()
            ))
            .name(run, NAME_LIMIT);
        if let Some(page) = page::of_run(&ticket.failure, run).filter(|page| len(page) <= URL_LIMIT)
        {
            words = words.own(" (").link(&page, "open").own(")");
        }
    }
    (words.len() > len("Reruns:")).then_some(words)
}

fn root_cause(ticket: &Ticket, tail: &Words) -> Words {
    const LABEL: &str = "Root Cause: ";
    let cause = prose(
        &ticket.diagnosis.root_cause,
        SECTION_LIMIT - len(LABEL) - tail.len() - 1,
    );
    Words::new(LABEL).and(&cause).own("\n").and(tail)
}

/// What a person says the cause is instead.
fn correction(ticket: &Ticket) -> Option<Words> {
    let correction = ticket.correction.as_ref()?;
    let words = Words::new("✏️ The cause is another, says ")
        .person(&correction.by.name, NAME_LIMIT)
        .own(": ")
        .and(&prose(&correction.words(), NAME_LIMIT));
    Some(words)
}

/// The other failures of the incident: how many, and the latest of them.
fn incident(ticket: &Ticket) -> Option<Words> {
    let words = summary_words(ticket);
    let (title, lines) = words.split_first()?;
    let room = (SECTION_LIMIT - NAME_LIMIT) / lines.len().max(1) - 3;
    let mut shown = prose(title, NAME_LIMIT);
    for line in lines {
        shown = shown.own("\n• ").and(&prose(line, room.min(NAME_LIMIT)));
    }
    Some(shown)
}

fn steps(ticket: &Ticket) -> Option<Words> {
    const LABEL: &str = "Resolution Steps:";
    let steps: Vec<&String> = ticket
        .diagnosis
        .recommendations
        .iter()
        .filter(|step| !step.trim().is_empty())
        .take(STEPS)
        .collect();
    let room = (SECTION_LIMIT - len(LABEL)) / steps.len().max(1) - 3;
    let mut words = Words::new(LABEL);
    for step in &steps {
        words = words.own("\n• ").and(&prose(step, room));
    }
    (!steps.is_empty()).then_some(words)
}
