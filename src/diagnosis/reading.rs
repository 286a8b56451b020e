//! Reading: which bytes of a text may say what went wrong, and with what right.
//!
//! In: a text, whose words its passages are ([`Voice`], as `evidence` or nobody said), and the known names. Out:
//! [`Heard`]: for each voice the spans in which signs count, and the names that are masked in them.
//!
//! Raw texts are mixtures, so every passage is read for its structure, from any sender: `lines` finds the log lines
//! with their levels and the exception that ended the run, `names` finds what is only a name, `wrappers` finds what
//! only passes an error on, and [`own_words`] are never read. This file does not know any phrase of the catalog.

use std::cell::LazyCell;

use super::span::Span;
use crate::evidence::{Passage, Voice};
use crate::failure::own_words;

mod lines;
mod names;
mod quotes;

pub(super) use names::{Known, is_name_field};

/// The parts of a text with one voice.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) voice: Voice,
    pub(super) window: Window,
}

/// Where signs count: inside a part, outside of every mask.
#[derive(Debug, Default, Clone)]
pub(super) struct Window {
    /// In order, apart from one another.
    pub(super) parts: Vec<Span>,
    pub(super) masks: names::Masks,
}

impl Window {
    /// Does the span stand inside one part?
    pub(super) fn holds(&self, span: Span) -> bool {
        within(&self.parts, span)
    }

    /// Is the span a piece of a name, or does it reach into one in prose?
    pub(super) fn masks(&self, span: Span) -> bool {
        if within(&self.masks.set_off, span) {
            return true;
        }
        let prose = &self.masks.in_prose;
        if prose.is_empty() {
            return false;
        }
        let after = prose.partition_point(|name| name.start < span.end);
        after
            .checked_sub(1)
            .and_then(|last| prose.get(last))
            .is_some_and(|name| span.start < name.end)
    }
}

fn within(spans: &[Span], span: Span) -> bool {
    // Most texts are one part and hold few names.
    match spans {
        [] => return false,
        [one] => return one.start <= span.start && span.end <= one.end,
        _ => {}
    }
    let after = spans.partition_point(|part| part.start <= span.start);
    after
        .checked_sub(1)
        .and_then(|last| spans.get(last))
        .is_some_and(|part| span.end <= part.end)
}

/// Reads a text.
pub(super) fn read(text: &str, passages: &[Passage], known: &Known) -> Vec<Heard> {
    if own_words::recognise(text).is_some() {
        return Vec::new();
    }
    let whole = [Passage {
        voice: Voice::Terminal,
        start: 0,
        end: text.len(),
    }];
    let passages = if passages.is_empty() {
        &whole
    } else {
        passages
    };
    let masks = names::masks(text, known);
    let mut parts: Vec<(Voice, Span)> = Vec::new();
    for passage in passages {
        let Some(said) = text.get(passage.start..passage.end) else {
            continue;
        };
        let is_name = |at: usize| masks.begin_at(passage.start + at);
        for (voice, span) in lines::voices(said, passage.voice, is_name) {
            parts.push((
                voice,
                Span {
                    start: span.start + passage.start,
                    end: span.end + passage.start,
                },
            ));
        }
    }
    [Voice::Terminal, Voice::Beside, Voice::Log]
        .into_iter()
        .filter_map(|voice| {
            let parts = joined(parts.iter().filter(|(v, _)| *v == voice).map(|(_, s)| *s));
            (!parts.is_empty()).then(|| Heard {
                voice,
                window: Window {
                    parts,
                    masks: masks.clone(),
                },
            })
        })
        .collect()
}

/// Does the text hold only what a log reader says about itself?
pub(super) fn is_only_reader(text: &str, known: &Known) -> bool {
    let masks = LazyCell::new(|| names::masks(text, known));
    lines::is_only_reader(text, |at| masks.begin_at(at))
}

/// Neighbours become one.
fn joined(spans: impl Iterator<Item = Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some(last) if last.end >= span.start => last.end = last.end.max(span.end),
            _ => out.push(span),
        }
    }
    out
}
