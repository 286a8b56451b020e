//! A part of what is read: a text in one voice; and all that a case has of them.

use std::borrow::Cow;

use super::Case;
use super::catalog::Catalog;
use super::reading::{self, Known};
use super::scan::Hits;
use crate::evidence::{Passage, Voice};

/// A text in one voice, and what stands in it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// `message`, `error_code`, `context.<name>` or the id of an evidence.
    pub(super) source: Cow<'a, str>,
    pub(super) voice: Voice,
    /// The whole text, whatever of it is in this voice.
    pub(super) text: &'a str,
    pub(super) hits: Hits,
    /// Which parts of the text are in this voice, and the names in them.
    pub(super) window: reading::Window,
    /// Does it have a say in the cause? What does not is still worth a quote.
    pub(super) heard: bool,
}

impl<'a> Place<'a> {
    /// A text that is taken as a whole: no words are looked for in it.
    pub(super) fn whole(source: Cow<'a, str>, text: &'a str) -> Self {
        Self {
            source,
            voice: Voice::Terminal,
            text,
            hits: Hits::default(),
            window: reading::Window::default(),
            heard: true,
        }
    }
}

/// What the fields of a case call its things.
pub(super) fn known(catalog: &Catalog, case: &Case) -> Known {
    let named = case
        .context
        .iter()
        .filter(|(field, _)| reading::is_name_field(field))
        .map(|(_, value)| Cow::Borrowed(value.as_str()));
    let names = case.names.iter().map(|name| Cow::Borrowed(name.as_str()));
    let scanner = catalog.scanner();
    Known::of(names.chain(named), |name| scanner.is_sign(name))
}

/// Every text of a case, in each of its voices.
pub(super) fn places<'a>(catalog: &Catalog, case: &'a Case, known: &Known) -> Vec<Place<'a>> {
    let scanner = catalog.scanner();
    let mut places = Vec::new();
    let mut read = |source: Cow<'a, str>, text: &'a str, passages: &[Passage]| {
        for heard in reading::read(text, passages, known) {
            places.push(Place {
                source: source.clone(),
                voice: heard.voice,
                text,
                hits: scanner.scan(text, &heard.window),
                window: heard.window,
                heard: true,
            });
        }
    };
    read("message".into(), &case.message, &[]);
    for (name, value) in case.context.iter().filter(|(name, _)| tells(name)) {
        if value.contains(' ') {
            read(format!("context.{name}").into(), value, &[]);
        }
    }
    for piece in &case.evidence {
        read(piece.id.as_str().into(), &piece.text, &piece.passages);
    }
    for (name, value) in case.context.iter().filter(|(name, _)| tells(name)) {
        if !value.contains(' ') {
            places.push(Place::whole(format!("context.{name}").into(), value));
        }
    }
    if let Some(code) = case
        .error_code
        .as_deref()
        .filter(|code| !code.trim().is_empty())
    {
        places.push(Place::whole("error_code".into(), code));
    }
    places
}

/// Context that may hold a code or a message; names of assets do not.
fn tells(name: &str) -> bool {
    if reading::is_name_field(name) {
        return false;
    }
    [
        "code",
        "reason",
        "error",
        "exception",
        "result_state",
        "life_cycle",
        "state_message",
        "detail",
    ]
    .iter()
    .any(|part| name.to_ascii_lowercase().contains(part))
}
