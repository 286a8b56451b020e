//! The words of a diagnosis: categories, actions, severities, and the [`Diagnosis`] itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fingerprint;
use crate::failure::{Failure, Source};
use crate::patrol::OVERDUE;

/// What went wrong, in one word.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the field's own words")]
#[strum(serialize_all = "lowercase")]
pub enum Category {
    Network,
    Timeout,
    Throttling,
    Resource,
    Authentication,
    Authorization,
    Configuration,
    #[strum(to_string = "data schema")]
    DataSchema,
    #[strum(to_string = "data quality")]
    DataQuality,
    #[strum(to_string = "missing data")]
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
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
#[strum(serialize_all = "snake_case")]
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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// How much an automatic action could break; gives the number of attempts and their delays.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, strum::Display,
)]
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
    /// What people call that evidence, e.g. `Failed activity Copy_Sales (Copy)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
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
    /// The cluster's machine size is what cannot be had: a restart helps with another one.
    #[serde(default)]
    pub other_node_type: bool,
    /// How much that action could break.
    pub risk: Risk,
    /// How bad it is.
    pub severity: Severity,
    /// 0 to 1: the probability that the category is right.
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

impl Diagnosis {
    /// Of what the patrol found and no platform calls a failure: a run that is missing, or moved nothing.
    pub fn of_finding(finding: &str, failure: &Failure) -> Self {
        let (error_type, steps) = if finding == OVERDUE {
            (
                "OverdueRun",
                [
                    "Look whether the trigger, the schedule or the scheduler itself is stopped.",
                    "Start the run by hand if its data is missing.",
                    "If it is no longer expected, pause its schedule, or change EXPECT.",
                ],
            )
        } else {
            (
                "EmptyRun",
                [
                    "Look whether the source was empty, late or filtered away.",
                    "Run it again once the data is there; what follows has worked with too little.",
                    "If less is usual now, change VOLUME.",
                ],
            )
        };
        let steps = steps.map(str::to_owned).to_vec();
        Self {
            category: Category::MissingData,
            severity: Severity::Medium,
            rule: "patrol".to_owned(),
            fingerprint: fingerprint::fingerprint(failure.source, error_type, "", &failure.asset),
            ..Self::of_ourselves(error_type, &failure.asset, failure.message.clone(), steps)
        }
    }

    /// What the tool says about its own surroundings: known, not inferred, and nothing that a machine acts on.
    pub fn of_ourselves(
        error_type: &str,
        subject: &str,
        root_cause: String,
        recommendations: Vec<String>,
    ) -> Self {
        Self {
            category: Category::Configuration,
            error_type: error_type.to_owned(),
            transient: false,
            remediable: false,
            action: Action::None,
            other_node_type: false,
            risk: Risk::High,
            severity: Severity::High,
            confidence: 1.0,
            root_cause,
            recommendations,
            evidence: Vec::new(),
            rule: "the tool's own deliveries".to_owned(),
            fingerprint: fingerprint::fingerprint(Source::System, error_type, "", subject),
            entities: BTreeMap::new(),
            worded_by: "catalog".to_owned(),
        }
    }
}

impl Category {
    /// May a machine ever act on such errors (law L8)? Running it again cannot help the others, or could do harm.
    pub fn may_be_acted_on(self) -> bool {
        matches!(
            self,
            Self::Network
                | Self::Timeout
                | Self::Throttling
                | Self::Resource
                | Self::Platform
                | Self::Concurrency
                | Self::Dependency
                | Self::Quota
        )
    }

    /// As people read it: `data schema`, `network` …
    pub fn words(self) -> &'static str {
        self.into()
    }
}

impl Action {
    /// Does it act by itself, through a playbook?
    pub fn acts(self) -> bool {
        matches!(
            self,
            Self::RetryPipeline
                | Self::RetryJob
                | Self::RetryTask
                | Self::RestartCluster
                | Self::ReinstallLibraries
        )
    }

    /// The name in JSON: `retry_pipeline` …
    pub fn name(self) -> &'static str {
        self.into()
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
    /// High, Medium or Low, as people read it: on messages that nothing was fitted on, 97, 89 and 80 of 100 are right.
    pub fn confidence_word(&self) -> &'static str {
        if self.confidence >= 0.8 {
            "High"
        } else if self.confidence >= 0.6 {
            "Medium"
        } else {
            "Low"
        }
    }

    /// The evidence for people to read: a quote that another one contains word for word is not said again.
    pub fn proofs(&self) -> impl Iterator<Item = &Quote> {
        let quotes = || self.evidence.iter().enumerate();
        let said_again = move |(index, quote): &(usize, &Quote)| {
            quotes().any(|(other, whole)| {
                let says_more = whole.quote.len() > quote.quote.len()
                    || whole.quote == quote.quote && other < *index;
                says_more && whole.quote.contains(&quote.quote)
            })
        };
        quotes()
            .filter(move |quote| !said_again(quote))
            .map(|(_, quote)| quote)
    }
}
