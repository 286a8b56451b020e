//! The waist of the hourglass: one normalised failure, whatever reported it.
//!
//! In: what a parser of `sources/` understood. Out: what evidence, diagnosis and ticket need.
//! This room does not know any vendor's JSON, the store or the clock. All text in a [`Failure`] is
//! already redacted and capped by the parser's border ([`Failure::sealed`]).

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::redaction::{cap, redact, redact_name};

mod asset;
pub mod exception;
pub mod own_words;
pub mod page;
pub mod remote;
mod pattern;
mod scope;

pub use asset::Asset;
pub use pattern::{AssetPattern, glob};
pub use scope::{Place, Scope, host_and_path, same_place};

/// The longest error message a [`Failure`] carries, in bytes; a longer one keeps its head and its tail.
pub const MESSAGE_CAP: usize = 24 * 1024;
/// The longest name, id or context value, in bytes.
pub const NAME_CAP: usize = 512;

/// Whose failure it is: a platform's, or the tool's own.
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
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum Source {
    /// Azure Data Factory (or Synapse pipelines).
    Adf,
    /// Databricks jobs and clusters.
    Databricks,
    /// Airflow tasks and DAGs.
    Airflow,
    /// aiops-rca itself: something in its own surroundings that somebody must fix.
    System,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 4] = [Self::Adf, Self::Databricks, Self::Airflow, Self::System];

    /// The prefix of ticket ids.
    pub fn ticket_prefix(self) -> &'static str {
        match self {
            Self::Adf => "ADF",
            Self::Databricks => "DBX",
            Self::Airflow => "ARF",
            Self::System => "SYS",
        }
    }

    /// The name used in JSON and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The platform's name as people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Adf => "ADF",
            Self::Databricks => "Databricks",
            Self::Airflow => "Airflow",
            Self::System => "aiops-rca",
        }
    }

    /// The inverse of [`Source::name`], without regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    /// The inverse of [`Source::ticket_prefix`].
    pub fn from_ticket_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.ticket_prefix() == prefix)
    }
}

/// What kind of thing failed; it words titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    /// An ADF pipeline.
    Pipeline,
    /// A Databricks job.
    Job,
    /// A Databricks cluster.
    Cluster,
    /// An Airflow task; the asset's name is `dag.task`.
    Task,
    /// A service that the tool itself depends on.
    Service,
}

impl AssetKind {
    /// The label of the asset's line in JIRA and elsewhere: `Pipeline`, `Job`, `Cluster`, `Task`.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// The idempotency key of this very run: (source, scope, run, task, repair where the vendor makes it a new run).
///
/// Two reports of the same run have equal keys, whatever door they came through. Only digests are kept, because run ids,
/// deployments and tasks may be named after anything: `source:scope:rest:whole`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct RunKey(String);

impl RunKey {
    /// Builds the key; parts are trimmed and separated unambiguously. Airflow tells `Etl` from `etl`; Azure and Databricks
    /// do not, so case is folded for them.
    pub fn new(source: Source, scope: &str, run: &str, task: &str, attempt: &str) -> Self {
        let parts = [scope, run, task, attempt].map(|part| {
            let part = part.trim().replace('%', "%25").replace('|', "%7C");
            match source {
                Source::Airflow => part,
                Source::Adf | Source::Databricks | Source::System => part.to_lowercase(),
            }
        });
        Self::of_text(&format!("{}|{}", source.name(), parts.join("|")))
    }

    /// From `source|scope|run|task|attempt`, which is also what older versions stored.
    fn of_text(text: &str) -> Self {
        let (source, place) = text.split_once('|').unwrap_or((text, ""));
        let (scope, rest) = place.split_once('|').unwrap_or(("", place));
        // Empty where the report did not say where it ran.
        let scope = if scope.is_empty() {
            String::new()
        } else {
            sha256(scope)
        };
        Self(format!(
            "{source}:{scope}:{}:{}",
            sha256(rest),
            sha256(text)
        ))
    }

    /// The key of what follows this run's closed ticket: the next failure of the same unit.
    #[must_use]
    pub fn after(&self, ticket: impl fmt::Display) -> Self {
        let follow = |digested: &str| sha256(format!("{digested}|after {ticket}"));
        let [source, scope, rest, whole] = self.parts();
        Self(format!(
            "{source}:{scope}:{}:{}",
            follow(rest),
            follow(whole)
        ))
    }

    /// Are these reports of one unit, if what one of them does not say about its place is left aside?
    pub fn is_same_but_for_scope(&self, other: &Self) -> bool {
        let ([source, _, rest, _], [its, _, others, _]) = (self.parts(), other.parts());
        source == its && rest == others
    }

    /// SHA-256 in hex: safe as a storage key.
    pub fn hash(&self) -> String {
        let [.., whole] = self.parts();
        whole.to_owned()
    }

    fn parts(&self) -> [&str; 4] {
        let mut parts = self.0.split(':');
        [(); 4].map(|()| parts.next().unwrap_or_default())
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for RunKey {
    fn from(text: String) -> Self {
        if text.contains('|') {
            Self::of_text(&text)
        } else {
            Self(text)
        }
    }
}

/// Names of [`Failure::context`] entries that other rooms read. All values are text.
pub mod field {
    /// ADF activity type (`Copy`, `DatabricksNotebook` …).
    pub const ACTIVITY_TYPE: &str = "activity_type";
    /// ADF activity name.
    pub const ACTIVITY: &str = "activity";
    /// ADF failureType (`UserError`, `SystemError`): a hint only.
    pub const FAILURE_TYPE: &str = "failure_type";
    /// Where it runs, under the one name that the place has in the configuration.
    pub const SCOPE: &str = "scope";
    /// ADF factory resource id, lower case.
    pub const FACTORY: &str = "factory";
    /// Databricks job id.
    pub const JOB_ID: &str = "job_id";
    /// Databricks task run id, when the failure's run id is the job run.
    pub const TASK_RUN_ID: &str = "task_run_id";
    /// Databricks task key.
    pub const TASK_KEY: &str = "task_key";
    /// Databricks cluster id.
    pub const CLUSTER_ID: &str = "cluster_id";
    /// Databricks workspace (org) id.
    pub const WORKSPACE_ID: &str = "workspace_id";
    /// Databricks workspace by its host, lower case.
    pub const WORKSPACE: &str = "workspace";
    /// Databricks termination type (`CLIENT_ERROR`, `SERVICE_FAULT`, `CLOUD_FAILURE`, `INTERNAL_ERROR`, `SUCCESS`).
    pub const TERMINATION_TYPE: &str = "termination_type";
    /// Databricks: the latest repair of the job run, which keeps the run's id.
    pub const REPAIR_ID: &str = "repair_id";
    /// Databricks: `UI`, `API`, `JOB` …; a job's own cluster cannot be restarted.
    pub const CLUSTER_SOURCE: &str = "cluster_source";
    /// Databricks: the cluster's VM size.
    pub const NODE_TYPE: &str = "node_type";
    /// ADF: the Databricks run that the failed activity started.
    pub const LINKED_RUN_ID: &str = "linked_run_id";
    /// The run that started this one.
    pub const PARENT_RUN_ID: &str = "parent_run_id";
    /// ADF: the page of that run.
    pub const LINKED_RUN_URL: &str = "linked_run_url";
    /// Airflow: the run of another platform that the task watched, and how that platform says it stands.
    pub const REMOTE_RUN_ID: &str = "remote_run_id";
    /// Which platform that is.
    pub const REMOTE_PLATFORM: &str = "remote_platform";
    /// `succeeded`, `failed`, or the platform's own word for a run that goes on.
    pub const REMOTE_STATE: &str = "remote_state";
    /// Databricks: `job` or `cluster`.
    pub const KIND: &str = "kind";
    /// Airflow DAG id.
    pub const DAG_ID: &str = "dag_id";
    /// Airflow task id.
    pub const TASK_ID: &str = "task_id";
    /// Airflow map index, only for mapped tasks (0 and up).
    pub const MAP_INDEX: &str = "map_index";
    /// Airflow try number.
    pub const TRY_NUMBER: &str = "try_number";
    /// Airflow: which deployment, as the report names it, or the address that its link leads to.
    pub const DEPLOYMENT: &str = "deployment";
    /// Airflow: the task that the link of a DAG-level report leads to. It is merely the run's last one.
    pub const LAST_TASK: &str = "last_task";
    /// Airflow: `true` for a run of `airflow dags test` or `tasks test`, which has no scheduler.
    pub const TEST_RUN: &str = "test_run";
    /// Airflow operator class.
    pub const OPERATOR: &str = "operator";
    /// Airflow logical (execution) date.
    pub const LOGICAL_DATE: &str = "logical_date";
    /// Of how many units (mapped tasks, iterations of a loop) the failed one is.
    pub const UNITS_TOTAL: &str = "units_total";
    /// How many of them failed, where one failure stands for all.
    pub const UNITS_FAILED: &str = "units_failed";
    /// Who owns the asset, if the source says so.
    pub const OWNER: &str = "owner";
    /// Tags of a DAG or job, annotations of a pipeline: `name:value` or a word each, separated by commas.
    pub const TAGS: &str = "tags";
    /// ADF: the folder of the pipeline.
    pub const FOLDER: &str = "folder";
    /// Databricks: as whom the job runs: a person without the domain, a service principal's id, a group.
    pub const RUN_AS: &str = "run_as";
    /// Databricks: who made the job.
    pub const CREATOR: &str = "creator";

    /// Those that name something, for a playbook to act on or to find again: only what is surely secret is masked in them.
    pub(super) const NAMES: [&str; 17] = [
        ACTIVITY,
        SCOPE,
        FACTORY,
        WORKSPACE,
        JOB_ID,
        TASK_RUN_ID,
        TASK_KEY,
        CLUSTER_ID,
        WORKSPACE_ID,
        LINKED_RUN_ID,
        PARENT_RUN_ID,
        DAG_ID,
        TASK_ID,
        MAP_INDEX,
        DEPLOYMENT,
        LAST_TASK,
        LOGICAL_DATE,
    ];
}

/// The alert that carried the failure, for the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRef {
    /// The monitor's own id of the alert.
    pub id: String,
    /// The rule that fired.
    pub rule: Option<String>,
}

/// One failed run, normalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The platform.
    pub source: Source,
    /// The idempotency key.
    pub key: RunKey,
    /// What kind of thing failed.
    pub kind: AssetKind,
    /// Its name: pipeline, job, cluster, or `dag.task`.
    pub asset: String,
    /// The vendor's run id (ADF pipeline run, Databricks job run, Airflow run id), if one is known.
    pub run_id: Option<String>,
    /// A link people can open (http or https), if the source gave one.
    pub run_url: Option<String>,
    /// The source's own error code.
    pub error_code: Option<String>,
    /// The error text, redacted, at most [`MESSAGE_CAP`] bytes.
    pub message: String,
    /// Further fields by the names in [`field`].
    #[serde(default)]
    pub context: BTreeMap<String, String>,
    /// When it failed, by the source's clock.
    pub occurred_at: Option<DateTime<Utc>>,
    /// The alert's severity 0 (worst) to 4, if there was an alert.
    pub source_severity: Option<u8>,
    /// The alert, if there was one.
    pub alert: Option<AlertRef>,
}

impl Failure {
    /// Something that the tool found out itself, about no run of a platform.
    pub fn of_ourselves(key: RunKey, asset: String, message: String, since: DateTime<Utc>) -> Self {
        Self {
            source: Source::System,
            key,
            kind: AssetKind::Service,
            asset,
            run_id: None,
            run_url: None,
            error_code: None,
            message,
            context: BTreeMap::new(),
            occurred_at: Some(since),
            source_severity: None,
            alert: None,
        }
    }

    /// Redacts and caps every text: the border through which all outside text passes once (law L10).
    #[must_use]
    pub fn sealed(mut self) -> Self {
        let name = |text: &str| cap(&redact_name(text), NAME_CAP);
        let text = |text: &str| cap(&redact(text), NAME_CAP);
        self.asset = name(&self.asset);
        self.run_id = self.run_id.as_deref().map(name);
        self.error_code = self.error_code.as_deref().map(text);
        self.message = cap(&redact(&self.message), MESSAGE_CAP);
        self.run_url = self.run_url.as_deref().map(redact).filter(|url| {
            let web = url.starts_with("https://") || url.starts_with("http://");
            web && url.len() <= 2000
        });
        self.context = self
            .context
            .iter()
            .map(|(k, v)| {
                let is_name = field::NAMES.contains(&k.as_str());
                (name(k), if is_name { name(v) } else { text(v) })
            })
            .collect();
        self.alert = self.alert.map(|alert| AlertRef {
            id: name(&alert.id),
            rule: alert.rule.as_deref().map(name),
        });
        self
    }

    /// Where it runs, as far as the report or the vendor said: a factory's or Synapse workspace's resource id, a
    /// Databricks workspace, an Airflow deployment.
    pub fn scope(&self) -> Option<&str> {
        let named = || match self.source {
            Source::Adf => self.field(field::FACTORY),
            Source::Databricks => self
                .field(field::WORKSPACE)
                .or_else(|| self.field(field::WORKSPACE_ID)),
            Source::Airflow => self.field(field::DEPLOYMENT),
            Source::System => None,
        };
        self.field(field::SCOPE).or_else(named)
    }

    /// Notes where it runs, once that is known.
    pub fn set_scope(&mut self, scope: &str) {
        self.context
            .insert(field::SCOPE.to_owned(), scope.to_owned());
    }

    /// A context value by its name in [`field`].
    pub fn field(&self, name: &str) -> Option<&str> {
        self.context
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}
