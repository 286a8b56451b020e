//! The channel as Slack would show it: messages, threads, buttons that work.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::SlackMessage;
use super::forms::SlackForm;
use super::mrkdwn::{Piece, pieces, unescaped};
use super::state::State;
use crate::live;

/// The button whose confirm dialog is open.
pub(super) struct Asking<'a> {
    pub(super) ts: &'a str,
    pub(super) action_id: &'a str,
}

const STYLE: &str = "
body{margin:0;font:15px/1.46 Lato,-apple-system,'Segoe UI',Roboto,sans-serif;color:#1d1c1d;background:#fff}
*{box-sizing:border-box}a{color:#1264a3}:focus-visible{outline:2px solid #1264a3;outline-offset:2px}
.bar{background:#3f0e40;color:#fff;padding:10px 20px;font-weight:700}.bar small{font-weight:400;color:#d9cfd9;margin-left:10px}
.channel{margin:0;padding:12px 20px;border-bottom:1px solid #ddd;font-weight:900;font-size:18px}
.said{margin:12px 20px;padding:8px 12px;background:#e8f5fa;border-radius:6px}
.message{display:flex;gap:10px;padding:10px 20px}.message:hover{background:#f8f8f8}
.message>div:last-child{flex:1;min-width:0}.face{width:36px;height:36px;flex:none;border-radius:6px;background:#1264a3;color:#fff;display:grid;place-items:center}
.who b{margin-right:6px}.app{background:#e8e8e8;font-size:10px;font-weight:700;padding:1px 3px;border-radius:2px;color:#545354}
.time,.edited{color:#616061;font-size:12px;margin-left:6px}
h2{font-size:18px;margin:4px 0}.section{white-space:pre-wrap;overflow-wrap:anywhere;margin:6px 0;max-width:760px}
.context{color:#616061;font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere}
code{font:12px ui-monospace,Menlo,Consolas,monospace;color:#c01343;background:#1d1c1d0a;border:1px solid #1d1c1d21;border-radius:3px;padding:1px 3px}.actions{display:flex;gap:8px;margin:6px 0;flex-wrap:wrap}
button,.link{display:inline-block;border:1px solid #bbb;border-radius:4px;background:#fff;padding:4px 12px;font-family:inherit;font-size:13px;
font-weight:700;line-height:20px;color:#1d1c1d;text-decoration:none;cursor:pointer;list-style:none}
.primary,.primary button{background:#007a5a;color:#fff;border-color:#007a5a}
.danger,.danger button{background:#c9184a;color:#fff;border-color:#c9184a}
.confirm{border:1px solid #ddd;border-radius:8px;box-shadow:0 4px 12px #0002;padding:12px 16px;max-width:420px;white-space:pre-wrap;background:#fff;color:#1d1c1d}
summary{color:#1264a3;cursor:pointer;font-weight:700;font-size:13px}
.thread{border-left:3px solid #ddd;margin:6px 0 0 2px;padding-left:6px}.thread .face{width:24px;height:24px;font-size:12px}
.whisper{margin:12px 20px;padding:8px 12px;background:#f8f8f8;border-radius:6px}.whisper small{color:#616061}
.mention{background:#f2c74466;color:#1264a3;border-radius:3px;padding:0 2px}.empty{padding:40px;color:#616061}
";

pub(super) fn channel(state: &State, asking: Option<&Asking<'_>>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                // Somebody who is about to answer is not interrupted.
                @if asking.is_none() && state.forms.is_empty() { (live::head(2)) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Slack (simulated)" }
                link rel="icon" href="data:,";
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                header.bar { "Simulated Workspace" small { "a stand-in for Slack: nothing here leaves this machine" } }
                main {
                    @if let Some(said) = &state.pressed { div.said role="status" { "Last click: " (said) } }
                    @for form in &state.forms { (open_form(form)) }
                    @for whisper in state.whispers.iter().rev().take(3) {
                        div.whisper { small { "Only visible to " (name(state, &whisper.user)) } div.section { (mrkdwn(state, &whisper.text)) } }
                    }
                    @for channel in &state.options.channels {
                        @let messages: Vec<&SlackMessage> =
                            state.messages.iter().filter(|m| m.channel == channel.id && m.thread_ts.is_none()).collect();
                        @if !messages.is_empty() || state.messages.is_empty() {
                            h1.channel { "# " (channel.name) }
                            @if messages.is_empty() { div.empty { "No messages yet." } }
                            @for message in messages { (whole(state, message, asking)) }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn whole(state: &State, message: &SlackMessage, asking: Option<&Asking<'_>>) -> Markup {
    let replies: Vec<&SlackMessage> = state
        .messages
        .iter()
        .filter(|reply| reply.thread_ts.as_deref() == Some(message.ts.as_str()))
        .collect();
    html! {
        div.message id=(message.ts) {
            div.face aria-hidden="true" { "🤖" }
            div {
                (content(state, message, asking))
                @if !replies.is_empty() {
                    details.thread open {
                        summary { (replies.len()) @if replies.len() == 1 { " reply" } @else { " replies" } }
                        @for reply in replies { div.message { div.face aria-hidden="true" { "🤖" } div { (content(state, reply, asking)) } } }
                    }
                }
            }
        }
    }
}

fn content(state: &State, message: &SlackMessage, asking: Option<&Asking<'_>>) -> Markup {
    html! {
        div.who {
            b { "AIOps RCA Bot" } span.app { "APP" }
            span.time { (message.at.format("%H:%M:%S UTC")) }
            @if message.edits > 0 { span.edited { "(edited)" } }
        }
        @if message.blocks.is_empty() { div.section { (mrkdwn(state, &message.text)) } }
        @for block in &message.blocks { (shown_block(state, message, block, asking)) }
    }
}

fn shown_block(
    state: &State,
    message: &SlackMessage,
    block: &Value,
    asking: Option<&Asking<'_>>,
) -> Markup {
    let text = |value: &Value| {
        value
            .pointer("/text/text")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let elements = block
        .get("elements")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    html! {
        @match block.get("type").and_then(Value::as_str).unwrap_or_default() {
            "header" => { h2 { (unescaped(&text(block))) } }
            "section" => { div.section { (shown_text(state, block.get("text"))) } }
            "context" => {
                div.context {
                    @for element in elements { (shown_text(state, Some(element))) }
                }
            }
            "actions" => {
                div.actions { @for element in elements { (button(message, element)) } }
                @for element in elements { (confirm(state, message, element, asking)) }
            }
            _ => {}
        }
    }
}

fn field(element: &Value, pointer: &str) -> String {
    element
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(unescaped)
        .unwrap_or_default()
}

/// A link, or a button that opens its confirm dialog.
fn button(message: &SlackMessage, element: &Value) -> Markup {
    if field(element, "/type") == "static_select" {
        return choice(message, element);
    }
    let word = field(element, "/text/text");
    let url = field(element, "/url");
    if is_web(&url) {
        return html! { a.link href=(url) target="_blank" rel="noreferrer" { (word) } };
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("ts", &message.ts)
        .append_pair("action_id", &field(element, "/action_id"))
        .finish();
    html! { a class=(format!("link {}", field(element, "/style"))) href=(format!("/?{query}#{}", message.ts)) { (word) } }
}

/// A list of options, one of which is chosen as somebody.
fn choice(message: &SlackMessage, element: &Value) -> Markup {
    let options = element.get("options").and_then(Value::as_array);
    html! {
        form.choice method="post" action="/press" {
            input type="hidden" name="ts" value=(message.ts);
            input type="hidden" name="action_id" value=(field(element, "/action_id"));
            input type="hidden" name="user" value="U0JOHNDOE";
            select name="option" aria-label=(field(element, "/placeholder/text")) {
                option value="" { (field(element, "/placeholder/text")) }
                @for option in options.into_iter().flatten() { option value=(field(option, "/value")) { (field(option, "/text/text")) } }
            }
            " " button { "Say so" }
        }
    }
}

fn confirm(
    state: &State,
    message: &SlackMessage,
    element: &Value,
    asking: Option<&Asking<'_>>,
) -> Markup {
    let action_id = field(element, "/action_id");
    if !asking.is_some_and(|asking| asking.ts == message.ts && asking.action_id == action_id) {
        return html! {};
    }
    html! {
        div.confirm {
            b { (field(element, "/confirm/title/text")) } "\n" (field(element, "/confirm/text/text")) "\n\n"
            form class=(field(element, "/style")) method="post" action="/press" {
                input type="hidden" name="ts" value=(message.ts);
                input type="hidden" name="action_id" value=(action_id);
                label { "as " select name="user" { @for (id, name) in &state.options.people { option value=(id) { (name) } } } } " "
                button { (field(element, "/text/text")) } " "
                a.link href="/" { "Cancel" }
            }
        }
    }
}

fn open_form(form: &SlackForm) -> Markup {
    let blocks = form.view.get("blocks").and_then(Value::as_array);
    html! {
        form.confirm method="post" action="/send" {
            input type="hidden" name="view" value=(form.id);
            b { (field(&form.view, "/title/text")) }
            @for block in blocks.into_iter().flatten() { div { (field(block, "/text/text")) } }
            @for (_, _, label) in form.fields() { label { (label) " " input name="line" maxlength="300"; } }
            div.actions { button.primary { (field(&form.view, "/submit/text")) } }
        }
    }
}

/// The name people read.
fn name(state: &State, id: &str) -> String {
    let mut people = state.options.people.iter();
    people
        .find(|(known, _)| known == id)
        .map_or(id.to_owned(), |(_, name)| name.clone())
}

/// A text as people see it.
fn mrkdwn(state: &State, text: &str) -> Markup {
    html! {
        @for piece in pieces(text) {
            @match piece {
                Piece::Text(text) => { (text) }
                Piece::Code(text) => { code { (text) } }
                Piece::Link { url, label } if is_web(&url) => { a href=(url) target="_blank" rel="noreferrer" { (label) } }
                Piece::Person(id) => { span.mention { "@" (name(state, &id)) } }
                Piece::Link { label, .. } => { span.mention { (label) } }
                Piece::Other(label) => { (label) }
            }
        }
    }
}

/// The text of a block or an element, whichever form it has.
fn shown_text(state: &State, object: Option<&Value>) -> Markup {
    let field = |name: &str| {
        object
            .and_then(|object| object.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if field("type") == "plain_text" {
        html! { (unescaped(field("text"))) }
    } else {
        mrkdwn(state, field("text"))
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}
