//! The elements that messages and forms are made of. Pure.

use serde_json::{Value, json};

use super::text::{Words, len, shorten};

/// Longest text of a section block.
pub const SECTION_LIMIT: usize = 3000;
/// Longest URL of a button.
pub const URL_LIMIT: usize = 3000;
/// Longest text of a confirm dialog.
pub const CONFIRM_LIMIT: usize = 300;

/// Cuts the longest sections until all of them together fit.
pub(super) fn within(blocks: &mut [Value], limit: usize) {
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

/// `mrkdwn` that links nothing by itself, or `plain_text` where that cannot show the words as they are.
fn text_object(words: &Words) -> Value {
    match words.form() {
        (text, true) => json!({"type": "mrkdwn", "text": text, "verbatim": true}),
        (text, false) => plain_text(text),
    }
}

pub(super) fn section(words: &Words) -> Value {
    json!({"type": "section", "text": text_object(&words.shortened(SECTION_LIMIT))})
}

pub(super) fn context(words: &Words) -> Value {
    json!({"type": "context", "elements": [text_object(&words.shortened(SECTION_LIMIT))]})
}

/// Names may hold what would be an emoji.
pub(super) fn plain_text(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}
