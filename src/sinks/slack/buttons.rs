//! What people press under a message: questions, silences, the ticket's own buttons and links. Pure.

use serde_json::{Value, json};
use strum::IntoEnumIterator as _;

use super::elements::{CONFIRM_LIMIT, SECTION_LIMIT, URL_LIMIT, plain_text, section};
use super::interaction::{
    APPROVE, CLOSE, END_SILENCE, OPEN_DASHBOARD, OPEN_RUN, OTHER_CAUSE, REJECT, SILENCE,
    SilenceWish, TAKE, answer_value, button_value, cause_value, is_id, silence_value, ticket_value,
};
use super::look::{Look, NAME_LIMIT, State};
use super::text::{Words, len, plain, prose, prose_lines};
use crate::diagnosis::Category;
use crate::failure::{Source, page};
use crate::sinks::ticket_page;
use crate::ticket::{Answer, Approval, RemediationState, Ticket};

/// For how long a message offers to silence: minutes, and as people read it.
const SILENCES: [(u32, &str); 3] = [(60, "1 h"), (240, "4 h"), (1440, "1 day")];

/// The question to a person, or who answered it.
pub(super) fn question(ticket: &Ticket, state: State, look: &Look<'_>) -> Vec<Value> {
    let Some(approval) = &ticket.remediation.approval else {
        return Vec::new();
    };
    match (&approval.answer, ticket.remediation.state) {
        (Some(answer), _) => vec![section(&answered(approval, answer))],
        (None, RemediationState::AwaitingApproval) if state != State::Closed => {
            asked(ticket, approval, look)
        }
        (None, RemediationState::Rejected) => {
            let expired = Words::new("Approval expired on ").time(approval.expires_at);
            vec![section(&expired.own(" without an answer"))]
        }
        (None, _) => Vec::new(),
    }
}

fn answered(approval: &Approval, answer: &Answer) -> Words {
    let word = if answer.approved {
        "👍 Approved by "
    } else {
        "👎 Rejected by "
    };
    Words::new(word)
        .person(&answer.by.name, NAME_LIMIT)
        .own(" on ")
        .time(answer.at)
        .own("\n")
        .and(&prose(&approval.plan_text, SECTION_LIMIT / 3))
}

fn asked(ticket: &Ticket, approval: &Approval, look: &Look<'_>) -> Vec<Value> {
    let value = button_value(&ticket.id, approval).filter(|_| approvers(look).next().is_some());
    let text = Words::new("🙋 Approval needed: ")
        .and(&prose_lines(&approval.plan_text, SECTION_LIMIT / 2))
        .own("\nWhy: ")
        .and(&prose(&approval.why, SECTION_LIMIT / 3))
        .own("\nExpires: ")
        .time(approval.expires_at)
        .own(if value.is_some() {
            ""
        } else {
            "\nAnswer on the dashboard."
        });
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

/// The questions about the followers: one answer for all of them.
pub(super) fn questions(ticket: &Ticket, state: State, look: &Look<'_>) -> Vec<Value> {
    let asked = ticket.incident.as_ref();
    let Some(asked) = asked.filter(|of| !of.questions.is_empty() && state != State::Closed) else {
        return Vec::new();
    };
    let (count, id, plans) = (
        asked.questions.len(),
        ticket.incident_approval(),
        asked.plans(),
    );
    let value = answer_value(&ticket.id, &id, &plans);
    let value = value.filter(|_| approvers(look).next().is_some());
    let of = if count == 1 { "ticket" } else { "tickets" };
    let mut words = Words::new(&format!(
        "🙋 Approval needed for {count} more {of} of this incident:"
    ));
    let room = (SECTION_LIMIT - NAME_LIMIT) / count - 3;
    for question in &asked.questions {
        words = words
            .own("\n• ")
            .and(&prose(&question.text, room.min(NAME_LIMIT)));
    }
    if let Some(first) = asked.questions.first() {
        words = words.own("\nExpires: ").time(first.expires_at);
    }
    if value.is_none() {
        words = words.own("\nAnswer on the dashboard.");
    }
    let mut blocks = vec![section(&words)];
    if let Some(value) = value {
        let yes = format!("This starts one attempt for each of these {count} {of}.");
        let no = "Nothing will be done automatically for them; a person takes over.";
        blocks.push(
            json!({"type": "actions", "block_id": "rca_incident_approval", "elements": [
                button(APPROVE, "Approve all", "primary", &value, "Run these remediations?", &yes),
                button(REJECT, "Reject all", "danger", &value, "Reject these remediations?", no),
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
pub(super) fn silence(ticket: &Ticket, state: State, look: &Look<'_>) -> Vec<Value> {
    let plain_button = |action: &str, word: &str, wish: &SilenceWish, title: &str, text: &str| {
        let value = silence_value(&ticket.id, wish)?;
        Some(json!({
            "type": "button", "action_id": action, "text": plain_text(word), "value": value,
            "confirm": {"title": plain_text(title), "text": plain_text(text), "confirm": plain_text(word), "deny": plain_text("Cancel")},
        }))
    };
    let may = approvers(look).next().is_some();
    if let Some(silence) = &ticket.silence {
        let told = format!("Failures like this are {}", silence.words());
        let wish = SilenceWish::End(silence.id.clone());
        let button = plain_button(
            END_SILENCE,
            "End silence",
            &wish,
            "End this silence?",
            "What fails from now on is announced.",
        );
        let mut blocks = vec![section(&Words::new("🔕 ").and(&prose(&told, NAME_LIMIT)))];
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

/// What anybody in the channel may do, what approvers may, and where to look.
pub(super) fn buttons(ticket: &Ticket, state: State, look: &Look<'_>) -> Option<Value> {
    let mut elements = Vec::new();
    let value = ticket_value(&ticket.id);
    let asks = ticket.remediation.state == RemediationState::AwaitingApproval;
    if let Some(value) = value.filter(|_| look.clicks && state != State::Closed) {
        if state != State::InProgress {
            let mut take = json!({"type": "button", "action_id": TAKE, "text": plain_text("Take it"), "value": value});
            // One answer at a time is the one that is looked for.
            if let (Some(take), false) = (take.as_object_mut(), asks) {
                take.insert("style".to_owned(), json!("primary"));
            }
            elements.push(take);
        }
        if approvers(look).next().is_some() {
            elements.push(json!({
                "type": "button", "action_id": CLOSE, "text": plain_text("Close"), "value": value,
                "confirm": {
                    "title": plain_text("Close this ticket?"), "text": plain_text("Its JIRA issue is closed with it."),
                    "confirm": plain_text("Close"), "deny": plain_text("Cancel"),
                },
            }));
        }
    }
    if look.clicks {
        elements.push(other_cause(ticket));
    }
    let link = |action: &str, word: &str, url: &str| {
        (len(url) <= URL_LIMIT).then(
            || json!({"type": "button", "action_id": action, "text": plain_text(word), "url": url}),
        )
    };
    elements.extend(page::of(&ticket.failure).and_then(|url| link(OPEN_RUN, "Open run", &url)));
    let dashboard = look.dashboard_base.and_then(|base| {
        let url = ticket_page(base, &ticket.id)?;
        link(OPEN_DASHBOARD, "Open in Dashboard", url.as_str())
    });
    elements.extend(dashboard);
    (!elements.is_empty())
        .then(|| json!({"type": "actions", "block_id": "rca_links", "elements": elements}))
}

/// The categories, for somebody who knows better.
fn other_cause(ticket: &Ticket) -> Value {
    let options: Vec<Value> = Category::iter()
        .filter(|category| *category != Category::Undetermined)
        .filter_map(|category| {
            let value = cause_value(&ticket.id, category)?;
            Some(json!({"text": plain_text(category.words()), "value": value}))
        })
        .collect();
    json!({
        "type": "static_select", "action_id": OTHER_CAUSE, "placeholder": plain_text("The cause is another…"), "options": options,
    })
}

pub(super) fn approvers<'a>(look: &Look<'a>) -> impl Iterator<Item = &'a str> {
    look.approvers
        .iter()
        .map(String::as_str)
        .filter(|id| is_id(id))
}
