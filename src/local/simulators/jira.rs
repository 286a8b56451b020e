//! A stand-in for JIRA (being built).
