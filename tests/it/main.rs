//! The one integration binary: each module tests one room from outside.

mod airflow_callback;
mod diagnosis;
mod documents;
mod evidence;
mod host;
mod house;
mod identity;
mod infra;
mod jira;
mod model;
mod package;
mod playbooks;
mod redaction;
mod slack;
mod sources;
mod storage;
mod story;
mod support;
