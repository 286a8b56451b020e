//! What people see in Slack: the one message of a ticket, and the entries of its thread. Pure.
//!
//! In: a ticket and what the settings show. Out: blocks and the notification's text, within Slack's limits.
//! The alert and the closed message have the integration guide's lines, word for word; in progress and
//! reopened follow their style. Paragraphs of the guide are blocks here. Nothing bold and no links but our
//! own, so what stands in a message is what the guide says stands there. The same ticket always gives the
//! same blocks: their [`Post::hash`] tells whether Slack has to be told.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::Url;

use super::interaction::{
    APPROVE, END_SILENCE, OPEN_DASHBOARD, REJECT, SILENCE, SilenceWish, button_value, is_id,
    silence_value,
};
use super::text::{len, mrkdwn, mrkdwn_lines, plain, shorten};
use crate::digest::sha256;
use crate::failure::Source;
use crate::incident::summary_words;
use crate::ownership::Routes;
use crate::ticket::{
    Answer, Approval, Chapter, ChapterKind, Past, RemediationState, Sink, Status, Ticket,
};

/// Longest `plain_text` of a header block.
pub const HEADER_LIMIT: usize = 150;
/// Longest text of a section block.
pub const SECTION_LIMIT: usize = 3000;
/// Longest URL of a button.
pub const URL_LIMIT: usize = 3000;
/// Longest text of a confirm dialog.
pub const CONFIRM_LIMIT: usize = 300;
/// What Slack recommends for the text beside blocks; its hard limit is ten times that.
pub const TEXT_LIMIT: usize = 4000;
/// All sections of a message together. Slack refuses messages whose blocks hold about 13,200 characters
/// (`msg_blocks_too_long`, slackapi/bolt-js#2509; documented nowhere): buttons and dialogs fit into the rest.
pub const BLOCKS_LIMIT: usize = 11_000;
/// Longest name or id shown on a line.
const NAME_LIMIT: usize = 500;
/// Steps shown; the dashboard has them all.
const STEPS: usize = 10;
/// For how long a message offers to silence: minutes, and as people read it.
const SILENCES: [(u32, &str); 3] = [(60, "1 h"), (240, "4 h"), (1440, "1 day")];
/// Approvers named when their answer is needed.
const MENTIONS: usize = 10;

/// What the settings show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// Where the dashboard is; without it there is no button.
    pub dashboard_base: Option<&'a Url>,
    /// The JIRA site; without it the issue's key is no link.
    pub issue_base: Option<&'a Url>,
    /// Slack's ids of the people who may answer; without any there are no buttons.
    pub approvers: &'a [String],
    /// Whom messages mention; without them nobody.
    pub routes: Option<&'a Routes>,
}

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

    /// The word of the header and of the line `Status:`; how a person brought it there.
    fn words(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Alert => None,
            Self::InProgress => Some(("🔄", "IN PROGRESS", "Taken")),
            Self::Reopened => Some(("🔁", "REOPENED", "Reopened")),
            Self::Closed => Some(("✅", "CLOSED", "Closed")),
        }
    }
}

/// The message as it has to look for this ticket.
pub fn message(ticket: &Ticket, look: &Look<'_>) -> Post {
    let state = State::of(ticket);
    let title = plain_text(&header(ticket, state, plain));
    let mut blocks = vec![
        json!({"type": "header", "text": title}),
        section(&facts(ticket, state, look)),
    ];
    let error_type = format!(
        "Error Type: {}",
        mrkdwn(&ticket.diagnosis.error_type, NAME_LIMIT)
    );
    let confidence = format!("Confidence: {}", ticket.diagnosis.confidence_word());
    let tail = match state.words() {
        None => confidence,
        Some((_, _, how)) => {
            let by = mrkdwn(&ticket.status_by.name, NAME_LIMIT);
            blocks.push(section(&format!(
                "{how} by {by} on {}",
                time(ticket.status_at)
            )));
            format!("{confidence}\n{error_type}")
        }
    };
    blocks.push(section(&root_cause(ticket, &tail)));
    blocks.extend(care(ticket, look).map(|care| section(&care)));
    let past = ticket.past.as_ref().and_then(Past::words);
    blocks.extend(past.map(|past| section(&format!("♻️ {}", mrkdwn(&past, 2 * NAME_LIMIT)))));
    blocks.extend(incident(ticket).map(|incident| section(&incident)));
    blocks.extend(steps(ticket).map(|steps| section(&steps)));
    blocks.extend(question(ticket, state, look));
    blocks.extend(silence(ticket, state, look));
    blocks.extend(dashboard_button(ticket, look));
    within(&mut blocks, BLOCKS_LIMIT);
    let text = format!(
        "{} · {} · {}",
        header(ticket, state, mrkdwn),
        ticket.id,
        mrkdwn(
            &ticket.diagnosis.root_cause,
            TEXT_LIMIT - HEADER_LIMIT - 100
        )
    );
    Post { text, blocks }
}

/// Who owns it and is mentioned, and why it is as severe as it is.
fn care(ticket: &Ticket, look: &Look<'_>) -> Option<String> {
    let mentioned = mentions(ticket, look);
    let owner = match (&ticket.owner, mentioned.is_empty()) {
        (None, true) => None,
        (Some(owner), true) => Some(format!("Owner: {}", mrkdwn(owner, NAME_LIMIT))),
        (Some(owner), false) => Some(format!("Owner: {} {mentioned}", mrkdwn(owner, NAME_LIMIT))),
        (None, false) => Some(mentioned),
    };
    let reason = ticket.severity_reason();
    let reason = reason.map(|reason| {
        let reason = mrkdwn(&reason, NAME_LIMIT);
        format!("Severity {} by {reason}", ticket.severity)
    });
    let lines: Vec<String> = owner.into_iter().chain(reason).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
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
    let sign = match chapter.kind {
        ChapterKind::RemediationPlanned => "🗓️",
        ChapterKind::RemediationStarted => "🔧",
        ChapterKind::RemediationSucceeded | ChapterKind::Closed | ChapterKind::Recovered => "✅",
        ChapterKind::RemediationFailed => "❌",
        ChapterKind::RemediationUnknown => "❔",
        ChapterKind::RemediationExhausted => "🧑‍🔧",
        ChapterKind::ApprovalAsked => "🙋",
        ChapterKind::ApprovalGiven => "👍",
        ChapterKind::ApprovalRejected => "👎",
        ChapterKind::ApprovalExpired => "⌛",
        ChapterKind::SlaBreached => "⏰",
        ChapterKind::Reopened => "🔁",
        ChapterKind::InProgress => "🔄",
        ChapterKind::Recurrence => "♻️",
    };
    // An edited message notifies nobody; a name in the thread does.
    let asked: Vec<String> = match chapter.kind {
        ChapterKind::ApprovalAsked => approvers(look)
            .take(MENTIONS)
            .map(|id| format!("<@{id}>"))
            .collect(),
        _ => Vec::new(),
    };
    let called = match chapter.kind {
        ChapterKind::SlaBreached | ChapterKind::Reopened => mentions(ticket, look),
        _ => asked.join(" "),
    };
    let asked = if called.is_empty() {
        String::new()
    } else {
        format!("\n{called}")
    };
    let body = mrkdwn_lines(&chapter.text, SECTION_LIMIT - len(sign) - 1 - len(&asked));
    let text = format!("{sign} {body}{asked}");
    let about = format!("{} · {}", ticket.id, time(chapter.at));
    let context = json!({"type": "context", "elements": [{"type": "mrkdwn", "text": about, "verbatim": true}]});
    Post {
        blocks: vec![section(&text), context],
        text,
    }
}

/// The guide's first line, on one line of 150 characters: the asset's name gives way.
fn header(ticket: &Ticket, state: State, safe: fn(&str, usize) -> String) -> String {
    let (before, after) = match state.words() {
        None => (
            "🔴 ALERT: ".to_owned(),
            format!(" - {} ({})", ticket.severity, ticket.priority),
        ),
        Some((sign, word, _)) => (format!("{sign} "), format!(" - {word}")),
    };
    let asset = safe(
        &ticket.failure.asset,
        HEADER_LIMIT - len(&before) - len(&after),
    );
    format!("{before}{asset}{after}")
}

fn facts(ticket: &Ticket, state: State, look: &Look<'_>) -> String {
    let run = ticket
        .failure
        .run_id
        .as_deref()
        .map_or_else(|| "not known".to_owned(), |run| mrkdwn(run, NAME_LIMIT));
    let last = match state.words() {
        None => format!(
            "Error Type: {}",
            mrkdwn(&ticket.diagnosis.error_type, NAME_LIMIT)
        ),
        Some((_, word, _)) => format!("Status: {word}"),
    };
    format!(
        "Ticket: {}\nITSM Ticket: {}\nRun ID: {run}\n{last}",
        ticket.id,
        itsm(ticket, look)
    )
}

fn itsm(ticket: &Ticket, look: &Look<'_>) -> String {
    let Some(key) = ticket.jira.key.as_deref() else {
        if let Some(why) = ticket.sinks_off.get(Sink::Jira.name()) {
            return format!("none ({})", mrkdwn(why, NAME_LIMIT));
        }
        let stopped = ticket
            .fault(Sink::Jira)
            .or(ticket.refused_detail(Sink::Jira))
            .is_some_and(|fault| !fault.retrying);
        return if stopped {
            "not created, see the dashboard".to_owned()
        } else {
            "pending".to_owned()
        };
    };
    let shown = mrkdwn(key, NAME_LIMIT);
    if ticket.jira.deleted {
        return format!("{shown} (deleted)");
    }
    let plain_key = !key.is_empty()
        && key.len() <= 100
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    match look
        .issue_base
        .filter(|_| plain_key)
        .and_then(|base| below(base, &["browse", key]))
    {
        Some(url) => format!("<{}|{shown}>", url.as_str().replace('&', "&amp;")),
        None => shown,
    }
}

fn root_cause(ticket: &Ticket, tail: &str) -> String {
    const LABEL: &str = "Root Cause: ";
    let cause = mrkdwn(
        &ticket.diagnosis.root_cause,
        SECTION_LIMIT - len(LABEL) - len(tail) - 1,
    );
    format!("{LABEL}{cause}\n{tail}")
}

/// The other failures of the incident: how many, and the latest of them.
fn incident(ticket: &Ticket) -> Option<String> {
    let words = summary_words(ticket);
    let (title, lines) = words.split_first()?;
    let room = (SECTION_LIMIT - NAME_LIMIT) / lines.len().max(1) - 3;
    let lines = lines
        .iter()
        .map(|line| format!("\n• {}", mrkdwn(line, room.min(NAME_LIMIT))));
    Some(format!(
        "{}{}",
        mrkdwn(title, NAME_LIMIT),
        lines.collect::<String>()
    ))
}

fn steps(ticket: &Ticket) -> Option<String> {
    const LABEL: &str = "Resolution Steps:";
    let steps: Vec<&String> = ticket
        .diagnosis
        .recommendations
        .iter()
        .filter(|step| !step.trim().is_empty())
        .take(STEPS)
        .collect();
    let room = (SECTION_LIMIT - len(LABEL)) / steps.len().max(1) - 3;
    let lines: Vec<String> = steps
        .iter()
        .map(|step| format!("\n• {}", mrkdwn(step, room)))
        .collect();
    (!lines.is_empty()).then(|| format!("{LABEL}{}", lines.concat()))
}

/// The question to a person, or who answered it.
fn question(ticket: &Ticket, state: State, look: &Look<'_>) -> Vec<Value> {
    let Some(approval) = &ticket.remediation.approval else {
        return Vec::new();
    };
    match (&approval.answer, ticket.remediation.state) {
        (Some(answer), _) => vec![section(&answered(approval, answer))],
        (None, RemediationState::AwaitingApproval) if state != State::Closed => {
            asked(ticket, approval, look)
        }
        (None, RemediationState::Rejected) => {
            vec![section(&format!(
                "Approval expired on {} without an answer",
                time(approval.expires_at)
            ))]
        }
        (None, _) => Vec::new(),
    }
}

fn answered(approval: &Approval, answer: &Answer) -> String {
    let word = if answer.approved {
        "👍 Approved"
    } else {
        "👎 Rejected"
    };
    let by = mrkdwn(&answer.by.name, NAME_LIMIT);
    format!(
        "{word} by {by} on {}\n{}",
        time(answer.at),
        mrkdwn(&approval.plan_text, SECTION_LIMIT / 3)
    )
}

fn asked(ticket: &Ticket, approval: &Approval, look: &Look<'_>) -> Vec<Value> {
    let value = button_value(&ticket.id, approval).filter(|_| approvers(look).next().is_some());
    let plan = mrkdwn_lines(&approval.plan_text, SECTION_LIMIT / 2);
    let why = mrkdwn(&approval.why, SECTION_LIMIT / 3);
    let place = if value.is_some() {
        ""
    } else {
        "\nAnswer on the dashboard."
    };
    let text = format!(
        "🙋 Approval needed: {plan}\nWhy: {why}\nExpires: {}{place}",
        time(approval.expires_at)
    );
    let mut blocks = vec![section(&text)];
    if let Some(value) = value {
        let number = approval.attempt;
        let yes = format!(
            "{}\n\nThis starts attempt {number} of this ticket's remediation.",
            plain(&approval.plan_text, CONFIRM_LIMIT - 80)
        );
        let no = "Nothing will be done automatically; a person takes over.".to_owned();
        blocks.push(
            json!({"type": "actions", "block_id": "rca_approval", "elements": [
                button(APPROVE, "Approve", "primary", &value, "Run this remediation?", &yes),
                button(REJECT, "Reject", "danger", &value, "Reject this remediation?", &no),
            ]}),
        );
    }
    blocks
}

fn button(action: &str, word: &str, style: &str, value: &str, title: &str, text: &str) -> Value {
    json!({
        "type": "button", "action_id": action, "text": plain_text(word), "style": style, "value": value,
        "confirm": {
            "title": plain_text(title), "text": plain_text(text), "confirm": plain_text(word), "deny": plain_text("Cancel"), "style": style,
        },
    })
}

/// Buttons that silence failures like this one, or end that; only for people who may decide.
fn silence(ticket: &Ticket, state: State, look: &Look<'_>) -> Vec<Value> {
    let plain_button = |action: &str, word: &str, wish: &SilenceWish, title: &str, text: &str| {
        let value = silence_value(&ticket.id, wish)?;
        Some(json!({
            "type": "button", "action_id": action, "text": plain_text(word), "value": value,
            "confirm": {"title": plain_text(title), "text": plain_text(text), "confirm": plain_text(word), "deny": plain_text("Cancel")},
        }))
    };
    let may = approvers(look).next().is_some();
    if let Some(silence) = &ticket.silence {
        let told = format!("🔕 Failures like this are {}", silence.words());
        let wish = SilenceWish::End(silence.id.clone());
        let button = plain_button(
            END_SILENCE,
            "End silence",
            &wish,
            "End this silence?",
            "What fails from now on is announced.",
        );
        let mut blocks = vec![section(&mrkdwn(&told, NAME_LIMIT))];
        blocks.extend(button.filter(|_| may).map(
            |button| json!({"type": "actions", "block_id": "rca_silence", "elements": [button]}),
        ));
        return blocks;
    }
    if !may || state == State::Closed || ticket.failure.source == Source::System {
        return Vec::new();
    }
    let buttons: Vec<Value> = SILENCES
        .into_iter()
        .filter_map(|(minutes, words)| {
            plain_button(
                &format!("{SILENCE}{minutes}"),
                &format!("Silence {words}"),
                &SilenceWish::Minutes(minutes),
                "Silence such failures?",
                "Failures of this cause on this asset are recorded, and neither told, paged nor healed.",
            )
        })
        .collect();
    vec![json!({"type": "actions", "block_id": "rca_silence", "elements": buttons})]
}

fn dashboard_button(ticket: &Ticket, look: &Look<'_>) -> Option<Value> {
    let mut url = below(look.dashboard_base?, &["dashboard"])?;
    url.query_pairs_mut()
        .append_pair("ticket", ticket.id.as_str());
    if len(url.as_str()) > URL_LIMIT {
        return None;
    }
    Some(
        json!({"type": "actions", "block_id": "rca_links", "elements": [
            {"type": "button", "action_id": OPEN_DASHBOARD, "text": plain_text("Open in Dashboard"), "url": url.as_str()},
        ]}),
    )
}

fn approvers<'a>(look: &Look<'a>) -> impl Iterator<Item = &'a str> {
    look.approvers
        .iter()
        .map(String::as_str)
        .filter(|id| is_id(id))
}

/// `base` with further path pieces, without query and fragment.
fn below(base: &Url, pieces: &[&str]) -> Option<Url> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().ok()?.pop_if_empty().extend(pieces);
    Some(url)
}

/// Cuts the longest sections until all of them together fit.
fn within(blocks: &mut [Value], limit: usize) {
    let text = |block: &Value| block.pointer("/text/text")?.as_str().map(str::to_owned);
    loop {
        let lengths = blocks
            .iter()
            .map(|block| text(block).map_or(0, |text| len(&text)));
        let over = lengths.sum::<usize>().saturating_sub(limit);
        let longest = blocks
            .iter_mut()
            .max_by_key(|block| text(block).map_or(0, |text| len(&text)));
        let (Some(block), 1..) = (longest, over) else {
            return;
        };
        let whole = text(block).unwrap_or_default();
        let shorter = len(&whole).saturating_sub(over).max(len(&whole) / 2);
        if let Some(place) = block.pointer_mut("/text/text") {
            *place = Value::from(shorten(&whole, shorter));
        }
    }
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

fn plain_text(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": true})
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
