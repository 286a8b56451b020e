//! Which runs a ticket is about, and which others it names: by exact ids only.
//!
//! A pipeline names the notebook's run that it started, a task the pipeline's, a child its parent. Two tickets that share
//! an id are layers of one cascade, whichever was reported first.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::failure::remote::{self, remote_run};
use crate::failure::{Source, field, same_place};
use crate::ticket::Ticket;

/// A run by its id, and where it ran, if somebody said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Named {
    /// `adf:` and a GUID, `dbx:` and a number, `airflow:` with deployment, DAG and run.
    pub id: String,
    /// The workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// The runs of a ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// Its own run, under each of its ids.
    pub own: BTreeSet<Named>,
    /// Others that it names: runs that it started or watched.
    pub named: BTreeSet<Named>,
    /// The runs that started it.
    pub parents: BTreeSet<Named>,
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern!(
    GUID,
    r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
);
pattern!(
    PIPELINE_RUN,
    r"(?i)\bpipeline run(?:\s+(?:id|with id))?[\s:'=\x22]+([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b|/pipelineruns/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b"
);
pattern!(
    RUN_PAGE,
    r"(?i)https?://([a-z0-9.\-]+(?::\d+)?)/(?:\?[ow]=\d+)?(?:#job/\d+/runs?/|jobs/(?:\d+/)?runs/|#job/\d+/run/)(\d{1,20})\b"
);
pattern!(TASK_RUN, r#"(?i)['"]run_id['"]\s*:\s*['"]?(\d{1,20})\b"#);
pattern!(
    DAG_RUN,
    r"\b([\w.\-]+) failed with failed states .{0,80}? for run_ids \[([^\]]{1,600})\]"
);
pattern!(QUOTED, r#"['"]([^'"]{1,250})['"]"#);

/// What the names of runs begin with that a factory submits.
const OF_FACTORY: &str = "ADF_";
/// What the ids of runs begin with that a task of another DAG may have started, unless its author named them
/// (`trigger_run_id`): then the report says that it was no schedule of its own.
const TRIGGERED: &str = "manual__";
/// What `run_type` says of such runs.
const TRIGGERED_TYPES: [&str; 3] = ["manual", "operator_triggered", "operator"];
/// The report's `run_type`.
const RUN_TYPE: &str = "run_type";
/// More are not followed.
const MOST: usize = 12;

impl Links {
    /// Of this ticket.
    pub fn of(ticket: &Ticket) -> Self {
        let failure = &ticket.failure;
        let scope = failure.scope().unwrap_or_default();
        let mut links = Self::default();
        let run = failure.run_id.as_deref();
        match failure.source {
            Source::Adf => links.own.extend(run.and_then(pipeline_run)),
            Source::Databricks => {
                let workspace = Some(scope).filter(|scope| !scope.is_empty());
                for id in run.into_iter().chain(failure.field(field::TASK_RUN_ID)) {
                    links.own.extend(databricks_run(id, workspace));
                }
                if failure.asset.starts_with(OF_FACTORY) {
                    let tail = failure.asset.len().saturating_sub(36);
                    links
                        .parents
                        .extend(failure.asset.get(tail..).and_then(pipeline_run));
                }
            }
            Source::Airflow => {
                let kind = failure.field(RUN_TYPE).unwrap_or_default();
                let named_by_author =
                    (TRIGGERED_TYPES.iter()).any(|triggered| kind.eq_ignore_ascii_case(triggered));
                let begun = run.filter(|run| named_by_author || run.starts_with(TRIGGERED));
                if let (Some(dag), Some(run)) = (failure.field(field::DAG_ID), begun) {
                    links.own.insert(dag_run(scope, dag, run));
                }
            }
            Source::System => return links,
        }
        links.of_fields(ticket);
        links.of_text(ticket);
        links.named = links
            .named
            .difference(&links.own)
            .take(MOST)
            .cloned()
            .collect();
        links
    }

    fn of_fields(&mut self, ticket: &Ticket) {
        let failure = &ticket.failure;
        if let Some(id) = failure.field(field::LINKED_RUN_ID) {
            let page = failure
                .field(field::LINKED_RUN_URL)
                .and_then(|url| RUN_PAGE.as_ref()?.captures(url)?.get(1));
            self.named.extend(
                pipeline_run(id).or_else(|| databricks_run(id, page.map(|page| page.as_str()))),
            );
        }
        if let Some(id) = failure.field(field::REMOTE_RUN_ID) {
            self.named
                .extend(pipeline_run(id).or_else(|| databricks_run(id, None)));
        }
        if let Some(id) = failure.field(field::PARENT_RUN_ID) {
            let workspace = failure
                .scope()
                .filter(|_| failure.source == Source::Databricks);
            self.parents
                .extend(pipeline_run(id).or_else(|| databricks_run(id, workspace)));
        }
    }

    fn of_text(&mut self, ticket: &Ticket) {
        let failure = &ticket.failure;
        let text = failure.message.as_str();
        for words in PIPELINE_RUN.iter().flat_map(|run| run.captures_iter(text)) {
            let id = words.get(1).or_else(|| words.get(2));
            self.named
                .extend(id.and_then(|id| pipeline_run(id.as_str())));
        }
        for words in RUN_PAGE.iter().flat_map(|page| page.captures_iter(text)) {
            if let (Some(host), Some(id)) = (words.get(1), words.get(2)) {
                self.named
                    .extend(databricks_run(id.as_str(), Some(host.as_str())));
            }
        }
        if failure.source != Source::Airflow {
            return;
        }
        let operator = failure.field(field::OPERATOR);
        if let Some(run) = remote_run(operator, &[text]) {
            let id = run.run_id.as_deref();
            self.named.extend(match run.platform {
                remote::DATA_FACTORY | remote::SYNAPSE => id.and_then(pipeline_run),
                remote::DATABRICKS => id.and_then(|id| databricks_run(id, None)),
                _ => None,
            });
            if run.platform == remote::DATABRICKS {
                for words in TASK_RUN.iter().flat_map(|run| run.captures_iter(text)) {
                    self.named.extend(
                        words
                            .get(1)
                            .and_then(|id| databricks_run(id.as_str(), None)),
                    );
                }
            }
        }
        for words in DAG_RUN.iter().flat_map(|run| run.captures_iter(text)) {
            let (Some(dag), Some(runs)) = (words.get(1), words.get(2)) else {
                continue;
            };
            for run in QUOTED
                .iter()
                .flat_map(|quoted| quoted.captures_iter(runs.as_str()))
            {
                let scope = failure.scope().unwrap_or_default();
                self.named.extend(
                    run.get(1)
                        .map(|run| dag_run(scope, dag.as_str(), run.as_str())),
                );
            }
        }
    }

    /// Do they share a run? Units of one run alone do not make a cascade.
    pub fn meet(&self, other: &Self) -> bool {
        let same = |ours: &BTreeSet<Named>, theirs: &BTreeSet<Named>| {
            ours.iter()
                .any(|mine| theirs.iter().any(|its| mine.is_same(its)))
        };
        same(&self.own, &other.named)
            || same(&self.named, &other.own)
            || same(&self.named, &other.named)
            || same(&self.own, &other.parents)
            || same(&self.parents, &other.own)
            || same(&self.parents, &other.parents)
    }

    /// Every id, each once, in one order for all tickets.
    pub fn ids(&self) -> BTreeSet<String> {
        ids(self.own.iter().chain(&self.named).chain(&self.parents))
    }
}

/// The ids of these runs.
pub fn ids<'a>(runs: impl IntoIterator<Item = &'a Named>) -> BTreeSet<String> {
    runs.into_iter().map(|named| named.id.clone()).collect()
}

impl Named {
    fn is_same(&self, other: &Self) -> bool {
        let apart = |(mine, its): (&String, &String)| {
            same_place(Source::Databricks, mine, its) == Some(false)
                && same_place(Source::Databricks, its, mine) == Some(false)
        };
        self.id == other.id
            && !self
                .place
                .as_ref()
                .zip(other.place.as_ref())
                .is_some_and(apart)
    }
}

fn pipeline_run(id: &str) -> Option<Named> {
    let whole = GUID.as_ref()?.find(id)?;
    let is_whole = whole.as_str().len() == id.len();
    is_whole.then(|| Named {
        id: format!("adf:{}", id.to_lowercase()),
        place: None,
    })
}

fn databricks_run(id: &str, workspace: Option<&str>) -> Option<Named> {
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Named {
        id: format!("dbx:{id}"),
        place: workspace.map(str::to_lowercase),
    })
}

fn dag_run(deployment: &str, dag: &str, run: &str) -> Named {
    Named {
        id: format!("airflow:{}|{dag}|{run}", deployment.to_lowercase()),
        place: None,
    }
}
