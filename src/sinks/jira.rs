//! JIRA sink (being built).
