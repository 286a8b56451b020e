//! The JIRA sink against a stateful JIRA: words, exactly once, faults, people's decisions, webhooks.

mod bench;
mod creating;
mod documents;
mod keeping;
mod moving;
mod racing;
mod simulator;
mod webhook;
