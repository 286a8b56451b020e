//! Slack sink (being built).
