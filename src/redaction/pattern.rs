//! Constant patterns.

use regex::Regex;

/// Compiles a constant pattern.
#[expect(
    clippy::expect_used,
    reason = "constant patterns, compiled in every test run"
)]
pub(super) fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}
