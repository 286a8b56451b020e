//! A cause's sentence with the named things in it.

use std::collections::BTreeMap;

use super::{WHEREABOUTS, words};

/// Names of errors, not of things.
const CODES: [&str; 17] = [
    "aadsts",
    "code",
    "connector",
    "curl",
    "db2",
    "dynamics",
    "errno",
    "exception",
    "exit",
    "hana",
    "http",
    "http_name",
    "mysql",
    "ora",
    "sql",
    "sqlstate",
    "teradata",
];

/// Fills a template.
pub(in crate::diagnosis) fn fill(template: &str, entities: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(template.len() + 40);
    let mut rest = template;
    while let Some(open) = rest.find('[') {
        out.push_str(&plain(rest.get(..open).unwrap_or_default(), entities));
        let after = rest.get(open + 1..).unwrap_or_default();
        let close = after.find(']').unwrap_or(after.len());
        if let Some(part) = optional(after.get(..close).unwrap_or_default(), entities, &out) {
            out.push_str(&part);
        }
        rest = after.get(close + 1..).unwrap_or_default();
    }
    out.push_str(&plain(rest, entities));
    out
}

/// A part with its entities; none when one is missing, or when it would only repeat what is said already.
fn optional(part: &str, entities: &BTreeMap<String, String>, said: &str) -> Option<String> {
    let mut text = part.to_owned();
    let mut news = names(part).next().is_none();
    for name in names(part) {
        let value = entities.get(name)?;
        news |= value.len() < 4 || !said.contains(value.as_str());
        text = text.replace(&format!("{{{name}}}"), value);
    }
    news.then_some(text)
}

/// A sentence that names nothing of the text is joined by the words of the error, if they are few and say more.
pub(in crate::diagnosis) fn named(sentence: String, entities: &BTreeMap<String, String>) -> String {
    let Some(says) = entities.get("says") else {
        return sentence;
    };
    let things = entities.iter().filter(|(name, value)| {
        let name = name.as_str();
        !WHEREABOUTS.contains(&name) && !CODES.contains(&name) && value.len() > 1
    });
    let names_one = things
        .map(|(_, value)| value)
        .any(|value| sentence.contains(value.as_str()));
    // A lone word, as a code is, names nothing; values and documents are no sentence.
    let is_no_sentence = words(says).count() < 3 || says.starts_with(['{', '[', '<']);
    if names_one || is_no_sentence || says.contains(['\n', '`']) {
        return sentence;
    }
    format!("{} The error says: {says}.", sentence.trim_end())
}

fn plain(part: &str, entities: &BTreeMap<String, String>) -> String {
    let mut text = part.to_owned();
    for name in names(part) {
        text = text.replace(
            &format!("{{{name}}}"),
            entities.get(name).map_or("?", String::as_str),
        );
    }
    text
}

fn names(part: &str) -> impl Iterator<Item = &str> {
    part.split('{')
        .skip(1)
        .filter_map(|piece| piece.split_once('}').map(|(name, _)| name))
}
