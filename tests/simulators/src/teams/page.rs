//! The channel as Teams would show it, newest first: cards, and what their buttons open.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use crate::{Answer, live};

const STYLE: &str = "
body{margin:0;font:14px/1.43 'Segoe UI',-apple-system,Roboto,sans-serif;color:#242424;background:#f5f5f5}
*{box-sizing:border-box}a{color:#4f52b2}:focus-visible{outline:2px solid #4f52b2;outline-offset:2px}
.bar{background:#464775;color:#fff;padding:10px 20px;font-weight:700}.bar small{font-weight:400;color:#e2e2f6;margin-left:10px}
h1{font-size:18px;margin:0;padding:12px 20px;background:#fff;border-bottom:1px solid #e0e0e0}
.post{max-width:780px;margin:14px 20px}.who{color:#616161;font-size:12px;margin:0 0 4px}
.card{background:#fff;border:1px solid #d1d1d1;border-radius:6px;padding:12px 16px;overflow-wrap:anywhere}
.card p{margin:6px 0;white-space:pre-wrap}.items{margin:-12px -16px 8px;padding:8px 16px;border-radius:6px 6px 0 0}
.attention{background:#fdf3f4}.good{background:#f1faf1}.warning{background:#fefbf4}.large{font-size:18px}.subtle{color:#616161;font-size:12px}
.actions{display:flex;gap:8px;flex-wrap:wrap;margin-top:10px}
.actions a,.actions button{border:1px solid #d1d1d1;border-radius:4px;padding:5px 12px;background:#fff;color:#242424;font:inherit;font-weight:600;
text-decoration:none;cursor:pointer}.replies{margin:8px 0 0 24px}.said{margin:12px 20px;padding:8px 12px;background:#e8ebfa;border-radius:6px}
.empty{padding:40px;color:#616161}
";

/// The page of a channel whose cards nobody can press.
pub(super) fn answer<'a>(
    how: &str,
    cards: impl Iterator<Item = (DateTime<Utc>, &'a Value)>,
) -> Answer {
    let posts: Vec<Markup> = cards
        .map(|(at, card)| html! { article.post { (who("Workflows", at)) (shown(card, &links(card))) } })
        .collect();
    whole(how, None, &posts)
}

/// The page around its posts.
pub(super) fn whole(how: &str, said: Option<&str>, posts: &[Markup]) -> Answer {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (live::head(2))
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Teams (simulated)" }
                link rel="icon" href="data:,";
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                header.bar { "Simulated Team" small { "a stand-in for Microsoft Teams: nothing here leaves this machine" } }
                main {
                    h1 { "Data Alerts, " (how) }
                    @if let Some(said) = said { div.said role="status" { "Last click: " (said) } }
                    @if posts.is_empty() { div.empty { "No posts yet." } }
                    @for post in posts { (post) }
                }
            }
        }
    };
    Answer {
        status: 200,
        headers: vec![("content-type".into(), "text/html; charset=utf-8".into())],
        body: page.into_string().into(),
    }
}

/// Whose post it is.
pub(super) fn who(name: &str, at: DateTime<Utc>) -> Markup {
    html! { p.who { (name) " · " (at.format("%Y-%m-%d %H:%M:%S UTC")) } }
}

/// A card with what stands below it.
pub(super) fn shown(card: &Value, buttons: &Markup) -> Markup {
    html! {
        div.card {
            @for element in list(card, "body") { (element_of(element)) }
            div.actions { (buttons) }
        }
    }
}

/// The buttons that lead somewhere.
pub(super) fn links(card: &Value) -> Markup {
    html! {
        @for action in list(card, "actions") {
            @if text(action, "type") == "Action.OpenUrl" { a href=(text(action, "url")) { (text(action, "title")) } }
        }
    }
}

fn element_of(element: &Value) -> Markup {
    match text(element, "type") {
        "Container" => html! {
            div class={ "items " (text(element, "style")) } { @for inner in list(element, "items") { (element_of(inner)) } }
        },
        "RichTextBlock" => html! { p { @for run in list(element, "inlines") { (run_of(run)) } } },
        // As Teams shows a mention.
        "TextBlock" => {
            let said = text(element, "text")
                .replace("<at>", "@")
                .replace("</at>", "");
            html! { p { b { (said) } } }
        }
        kind => html! { p { "(" (kind) ")" } },
    }
}

fn run_of(run: &Value) -> Markup {
    let large = text(run, "size") == "Large";
    let subtle = run.get("isSubtle").is_some_and(|is| is == true);
    let class = if large {
        "large"
    } else if subtle {
        "subtle"
    } else {
        "plain"
    };
    let said = text(run, "text");
    html! {
        @if text(run, "weight") == "Bolder" { b class=(class) { (said) } }
        @else if text(run, "fontType") == "Monospace" { code { (said) } }
        @else { span class=(class) { (said) } }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
