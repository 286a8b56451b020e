//! Where a hint stands.

use std::ops::Range;

/// A hint in its text; nothing before `done` may be touched.
pub(super) struct Spot<'a> {
    pub(super) text: &'a str,
    pub(super) done: usize,
    pub(super) hint: Range<usize>,
}
