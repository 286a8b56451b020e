//! What a text is made of: whose words each passage is, and so how far it is believed.
//!
//! A client that reads a vendor's record knows which of its fields is the error and which are names, states and
//! settings. It says so while it writes the text for people ([`Text`]); afterwards nobody can tell.

use serde::{Deserialize, Serialize};

use super::EVIDENCE_CAP;
use crate::redaction::{cap, redact};

/// Whose words a passage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// The error that ended the run: the vendor's own error field, or the exception. Only this decides the cause.
    Terminal,
    /// An error beside it: of another task, or an earlier ERROR line. It speaks against an action, and names the
    /// cause where the terminal error only wraps it; it never makes anything remediable.
    Beside,
    /// A log. What ended the run is looked for in it; a line below ERROR and a handled retry only explain.
    Log,
    /// Fields of a record (names, states, times, settings) and our own labels: never read.
    Record,
}

/// A passage of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Whose words it is.
    pub voice: Voice,
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last one.
    pub end: usize,
}

/// A text under construction, passage by passage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Text {
    text: String,
    passages: Vec<Passage>,
    names: Vec<String>,
}

impl Text {
    /// A text of one voice.
    pub fn of(voice: Voice, text: &str) -> Self {
        let mut whole = Self::default();
        whole.add(voice, text);
        whole
    }

    /// Adds a passage: redacted, and cut where the whole would become too long.
    pub fn add(&mut self, voice: Voice, text: &str) {
        let room = EVIDENCE_CAP.saturating_sub(self.text.len());
        let said = cap(&redact(text), room);
        let start = self.text.len();
        self.text.push_str(&said);
        let end = self.text.len();
        match self.passages.last_mut() {
            Some(last) if last.voice == voice => last.end = end,
            _ if start < end => self.passages.push(Passage { voice, start, end }),
            _ => {}
        }
    }

    /// Adds a line `label: value`; nothing for an empty value. The label is ours.
    pub fn line(&mut self, label: &str, voice: Voice, value: &str) {
        if !value.trim().is_empty() {
            self.add(Voice::Record, &format!("{label}: "));
            self.add(voice, value);
            self.add(Voice::Record, "\n");
        }
    }

    /// Notes a name that a field of the record gives: it is masked before any text is read.
    pub fn name(&mut self, name: &str) {
        let name = name.trim();
        if !name.is_empty() && self.names.len() < 200 {
            self.names.push(redact(name));
        }
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    pub(super) fn into_parts(self) -> (String, Vec<Passage>, Vec<String>) {
        (self.text, self.passages, self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_cover_the_text_and_neighbours_of_one_voice_are_one() {
        let mut text = Text::default();
        text.add(Voice::Record, "activity: A\n");
        text.line("message", Voice::Terminal, "KeyError: 'x'");
        text.line("nothing", Voice::Terminal, " ");
        text.name(" A ");
        let (whole, passages, names) = text.into_parts();
        let told: Vec<_> = passages
            .iter()
            .map(|p| (p.voice, whole.get(p.start..p.end).unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                (Voice::Record, "activity: A\nmessage: "),
                (Voice::Terminal, "KeyError: 'x'"),
                (Voice::Record, "\n"),
            ]
        );
        assert_eq!(names, ["A"]);
    }

    #[test]
    fn a_long_passage_is_cut() {
        let mut text = Text::default();
        text.add(Voice::Log, &"x ".repeat(EVIDENCE_CAP));
        text.add(Voice::Terminal, "late");
        let (whole, passages, _) = text.into_parts();
        assert!(whole.len() <= EVIDENCE_CAP + 100);
        assert!(passages.iter().all(|p| whole.get(p.start..p.end).is_some()));
    }
}
