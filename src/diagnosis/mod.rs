//! Failure + evidence → diagnosis. Pure: no clock, no network, no environment; it cannot fail, only be
//! [`Category::Undetermined`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What went wrong, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the field's own words, listed in the README")]
pub enum Category {
    Network,
    Timeout,
    Throttling,
    Resource,
    Authentication,
    Authorization,
    Configuration,
    DataSchema,
    DataQuality,
    MissingData,
    Code,
    Dependency,
    Platform,
    Concurrency,
    Quota,
    Cancelled,
    Undetermined,
}

/// What would help. The first five act through a playbook, the others are advice to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Action {
    RetryPipeline,
    RetryJob,
    RetryTask,
    RestartCluster,
    ReinstallLibraries,
    CheckUpstream,
    ScaleResources,
    None,
}

/// How bad it is; gives priority and SLA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// How much an automatic action could break; gives the number of attempts and their delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Risk {
    Low,
    Medium,
    High,
}

/// A verbatim slice of the evidence that supports the diagnosis (law L7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The slice, character by character.
    pub quote: String,
    /// The id of the evidence it stands in (`e0` …), or `message`, `error_code`, `context.<name>`.
    pub source: String,
}

/// The root cause, with its proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What went wrong, in one word.
    pub category: Category,
    /// One canonical name, e.g. `SourceFileNotFound`.
    pub error_type: String,
    /// Likely to pass by itself.
    pub transient: bool,
    /// An automatic action is safe and likely to help.
    pub remediable: bool,
    /// What would help.
    pub action: Action,
    /// How much that action could break.
    pub risk: Risk,
    /// How bad it is.
    pub severity: Severity,
    /// 0 to 1: how specific and how corroborated the match is.
    pub confidence: f32,
    /// The sentence people are woken for.
    pub root_cause: String,
    /// Two to four concrete steps.
    pub recommendations: Vec<String>,
    /// Why we believe it.
    pub evidence: Vec<Quote>,
    /// The rule or catalog entry that matched.
    pub rule: String,
    /// Named things found in the text: host, table, column, path, cluster …
    #[serde(default)]
    pub entities: BTreeMap<String, String>,
    /// What keeps failing, stable over ids, times and numbers (hex).
    pub fingerprint: String,
    /// Who worded it: `catalog`, or `model` with the reason it is not the model where that was tried.
    pub worded_by: String,
}

impl Category {
    /// As people read it: `data schema`, `network` …
    pub fn words(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Throttling => "throttling",
            Self::Resource => "resource",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Configuration => "configuration",
            Self::DataSchema => "data schema",
            Self::DataQuality => "data quality",
            Self::MissingData => "missing data",
            Self::Code => "code",
            Self::Dependency => "dependency",
            Self::Platform => "platform",
            Self::Concurrency => "concurrency",
            Self::Quota => "quota",
            Self::Cancelled => "cancelled",
            Self::Undetermined => "undetermined",
        }
    }
}

impl Action {
    /// Does it act by itself, through a playbook?
    pub fn acts(self) -> bool {
        matches!(self, Self::RetryPipeline | Self::RetryJob | Self::RetryTask | Self::RestartCluster | Self::ReinstallLibraries)
    }

    /// The name in JSON: `retry_pipeline` …
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryPipeline => "retry_pipeline",
            Self::RetryJob => "retry_job",
            Self::RetryTask => "retry_task",
            Self::RestartCluster => "restart_cluster",
            Self::ReinstallLibraries => "reinstall_libraries",
            Self::CheckUpstream => "check_upstream",
            Self::ScaleResources => "scale_resources",
            Self::None => "none",
        }
    }

    /// As people read it: `retry the pipeline` …
    pub fn words(self) -> &'static str {
        match self {
            Self::RetryPipeline => "retry the pipeline",
            Self::RetryJob => "retry the job",
            Self::RetryTask => "retry the task",
            Self::RestartCluster => "restart the cluster",
            Self::ReinstallLibraries => "reinstall the libraries",
            Self::CheckUpstream => "rerun the upstream",
            Self::ScaleResources => "scale the resources",
            Self::None => "nothing",
        }
    }
}

impl Diagnosis {
    /// High, Medium or Low, as people read it.
    pub fn confidence_word(&self) -> &'static str {
        if self.confidence >= 0.75 {
            "High"
        } else if self.confidence >= 0.45 {
            "Medium"
        } else {
            "Low"
        }
    }
}
