//! How large a card may be, and how a larger one becomes smaller. Pure.

use serde_json::Value;

use super::elements::quiet;
use super::text::{expanded, shorten};

/// A card by URL. A workflow refuses 28,672 bytes behind its 202, measured after an expansion of its own
/// (MicrosoftDocs/msteams-docs#11274).
pub const URL_SIZE: Size = Size {
    bytes: 18 * 1024,
    expanded: 26 * 1024,
};
/// A card by bot. The page on cards says 40 KB, the one on limits 100 KB of UTF-16.
pub const BOT_SIZE: Size = Size {
    bytes: 39_000,
    expanded: 90_000,
};

/// A text that is shorter is not cut to make a card fit.
const LEAST: usize = 60;

/// How large a card may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// As UTF-8.
    pub bytes: usize,
    /// With everything escaped that can be.
    pub expanded: usize,
}

impl Size {
    /// Has a card of this JSON room?
    pub(super) fn holds(self, json: &str) -> bool {
        json.len() <= self.bytes && expanded(json) <= self.expanded
    }
}

/// Makes the body smaller: the longest text is cut by a third, else the last element is left out; `false`: nothing is left
/// that could go.
pub(super) fn shrink(body: &mut Vec<Value>) -> bool {
    cut_longest(body) || leave_out(body)
}

/// Leaves out the last element before the notice that says so; `false`: only what names the ticket is left.
fn leave_out(body: &mut Vec<Value>) -> bool {
    let notice = quiet("… the rest is on the dashboard.");
    if body.last() == Some(&notice) {
        body.pop();
    }
    if body.len() < 6 {
        return false;
    }
    body.pop();
    body.push(notice);
    true
}

/// Cuts the longest text of the body by a third; `false`: nothing is left that could be cut.
fn cut_longest(body: &mut [Value]) -> bool {
    let mut runs: Vec<&mut Value> = Vec::new();
    for element in body {
        collect(element, &mut runs);
    }
    let weight = |run: &&mut Value| run.as_str().map_or(0, expanded);
    let Some(longest) = runs.into_iter().max_by_key(weight) else {
        return false;
    };
    let text = longest.as_str().unwrap_or_default();
    let length = text.chars().count();
    if length <= LEAST {
        return false;
    }
    let cut = shorten(text, (length * 2 / 3).max(LEAST));
    *longest = Value::from(cut);
    true
}

fn collect<'a>(element: &'a mut Value, runs: &mut Vec<&'a mut Value>) {
    let Some(fields) = element.as_object_mut() else {
        return;
    };
    let is_run = fields.get("type").is_some_and(|kind| kind == "TextRun");
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("text", text) if is_run => runs.push(text),
            ("inlines" | "items", Value::Array(inner)) => {
                for element in inner {
                    collect(element, runs);
                }
            }
            _ => {}
        }
    }
}
