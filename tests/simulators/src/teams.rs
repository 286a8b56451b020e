//! Microsoft Teams as far as an alerting app can tell: a channel behind a workflow's URL, or one with a bot.
//!
//! What both doors have in common is what a card may be, and the page that shows the channel.

pub mod bot;
mod page;
mod rules;
pub mod workflow;

pub use rules::problems;

/// The type of an attachment that is a card.
const CARD: &str = "application/vnd.microsoft.card.adaptive";
