//! The one integration binary: each module tests one room from outside.

mod airflow_callback;
mod browser;
mod corridor;
mod diagnosis;
mod doctor;
mod documents;
mod doors;
mod evidence;
mod host;
mod house;
mod identity;
mod infra;
mod jira;
mod machine;
mod model;
mod package;
mod playbooks;
mod policy;
mod redaction;
mod settings;
mod slack;
mod sources;
mod storage;
mod story;
mod support;
mod telemetry;
