//! A part of what is read: a text in one voice.

use std::borrow::Cow;

use super::reading;
use super::scan::Hits;
use crate::evidence::Voice;

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
