//! Who is mentioned in a card: people of the settings, where somebody has to act. Pure.
//!
//! Teams reads a mention where a `TextBlock` has an `<at>` that an entity of the card explains, of users alone. That element holds
//! nothing else, and ids and names come from the settings: a name from outside becomes no mention, also where it is
//! spelled like one.

use serde_json::{Value, json};

use crate::ownership::Routes;
use crate::ticket::{Chapter, ChapterKind, Ticket};

/// Teams takes twenty in a card.
const MOST: usize = 10;
/// Longest name that is shown.
const NAME_LIMIT: usize = 60;

/// Those who are mentioned, each with an id that Teams knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mentions<'a>(Vec<(String, &'a str)>);

impl<'a> Mentions<'a> {
    /// The people of what failed, as the rules of the settings name them.
    pub(super) fn of_owner(ticket: &'a Ticket, routes: Option<&'a Routes>) -> Self {
        let Some(routes) = routes else {
            return Self::default();
        };
        let owner = routes.owner(ticket).unwrap_or("owner");
        let called = routes.people(ticket).into_iter();
        Self::named(called.map(|id| match id.split_once('@') {
            Some((name, _)) => (name, id),
            None => (owner, id),
        }))
    }

    /// Those who have to act on this entry of the story: only approvers can answer a question, anything else is the owner's.
    pub(super) fn of_chapter(
        ticket: &'a Ticket,
        chapter: &Chapter,
        routes: Option<&'a Routes>,
        approvers: &'a [String],
    ) -> Self {
        if !chapter.kind.wants_somebody() {
            return Self::default();
        }
        let owners = Self::of_owner(ticket, routes);
        if chapter.kind != ChapterKind::ApprovalAsked && !owners.0.is_empty() {
            return owners;
        }
        let approvers = approvers.iter();
        Self::named(approvers.map(|id| ("approver", id.as_str())))
    }

    fn named(called: impl Iterator<Item = (impl AsRef<str>, &'a str)>) -> Self {
        let called = called.take(MOST);
        Self(
            called
                .map(|(name, id)| (shown(name.as_ref()), id))
                .collect(),
        )
    }

    /// What mentions them, and what explains that, in a card that holds these texts; `None`: there is nobody.
    pub(super) fn among(&self, texts: &Value) -> Option<(Value, Value)> {
        let mut taken = texts.to_string().to_lowercase();
        let (mut line, mut entities) = (Vec::new(), Vec::new());
        for (name, id) in &self.0 {
            let marked = |name: &str| format!("<at>{name}</at>");
            let mut numbers = 2_u32..;
            let mut text = marked(name);
            while taken.contains(&text.to_lowercase()) {
                let number = numbers.next()?;
                text = marked(&format!("{name} {number}"));
            }
            taken.push_str(&text.to_lowercase());
            let name = text.trim_start_matches("<at>").trim_end_matches("</at>");
            entities.push(
                json!({"type": "mention", "text": text, "mentioned": {"id": id, "name": name}}),
            );
            line.push(text);
        }
        let line =
            json!({"type": "TextBlock", "text": line.join(" "), "wrap": true, "spacing": "Small"});
        (!entities.is_empty()).then(|| (line, Value::from(entities)))
    }
}

/// A name in which nothing is markup.
fn shown(name: &str) -> String {
    let plain = |c: char| {
        if c.is_alphanumeric() || ".-".contains(c) {
            c
        } else {
            ' '
        }
    };
    let words: String = name.chars().map(plain).take(NAME_LIMIT).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    if words.is_empty() {
        return "owner".to_owned();
    }
    words.join(" ")
}
