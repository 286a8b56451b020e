//! Rows of Databricks' audit tables: `DatabricksClusters` and `DatabricksJobs` with their JSON in strings, the
//! guide's projection (`clusterId`, `clusterName`, `clusterState`, `termination`), and the dimensions of an alert.
//!
//! A cluster that ended for a normal reason (idle, by a person, with its job) is no failure. `SUCCESS` is a
//! *type* of end: a row that carries the type is judged by it, any other by its code.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Origin, Reading, Record, Table};
use crate::failure::{AssetKind, Failure, RunKey, Source, field, own_words};
use crate::sources::json::{embedded, key_part, member, prose, scalar};

/// Ends that are never failures, whatever type they carry.
const NORMAL_ENDS: [&str; 5] = [
    "INACTIVITY",
    "USER_REQUEST",
    "JOB_FINISHED",
    "SUCCESS",
    "USER_CANCELED",
];
/// Ends whose usual type is `SUCCESS`: no failures unless the row carries another type.
const USUALLY_NORMAL: [&str; 6] = [
    "CERT_ROTATION",
    "DATA_ACCESS_CONFIG_CHANGED",
    "DISASTER_RECOVERY_REPLICATION",
    "MAINTENANCE_MODE",
    "SERVERLESS_LONG_RUNNING_TERMINATED",
    "WORKSPACE_UPDATE",
];

/// An ended cluster, from a row, an alert's dimensions or a legacy webhook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterEnd {
    /// The cluster's id.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its state as written (`Terminated`, `ERROR` …).
    pub state: Option<String>,
    /// The termination code.
    pub code: Option<String>,
    /// The termination type.
    pub kind: Option<String>,
    /// What the platform said about it.
    pub text: Option<String>,
    /// The workspace (org) id.
    pub workspace: Option<String>,
    /// Who owns the cluster.
    pub owner: Option<String>,
    /// When it ended.
    pub at: Option<DateTime<Utc>>,
}

/// A failed job run, from a row, an alert's dimensions or a webhook.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobRun {
    /// The job run.
    pub run_id: Option<String>,
    /// The task run, if the report is about a task of the job run.
    pub task_run_id: Option<String>,
    /// The job.
    pub job_id: Option<String>,
    /// The job's name.
    pub name: Option<String>,
    /// The task's key.
    pub task_key: Option<String>,
    /// The cluster it ran on.
    pub cluster_id: Option<String>,
    /// The workspace (org) id.
    pub workspace: Option<String>,
    /// A termination code or result state.
    pub code: Option<String>,
    /// The termination type.
    pub kind: Option<String>,
    /// The error text.
    pub text: Option<String>,
    /// Who runs it.
    pub owner: Option<String>,
    /// A link to the run.
    pub url: Option<String>,
    /// When it failed.
    pub at: Option<DateTime<Utc>>,
}

/// Is this end of a cluster or run no failure? The type decides when there is one.
pub fn is_normal_end(code: Option<&str>, kind: Option<&str>) -> bool {
    let code = code.unwrap_or_default().trim().to_ascii_uppercase();
    match kind.map(|kind| kind.trim().to_ascii_uppercase()) {
        _ if NORMAL_ENDS.contains(&code.as_str()) => true,
        Some(kind) => kind == "SUCCESS",
        None => USUALLY_NORMAL.contains(&code.as_str()),
    }
}

impl ClusterEnd {
    /// The failure, sealed.
    pub fn failure(self, origin: &Origin) -> Failure {
        let asset = self
            .name
            .clone()
            .or_else(|| self.id.clone())
            .unwrap_or_else(|| "unknown cluster".to_owned());
        let key = self.key(origin);
        let mut context = BTreeMap::from([(field::KIND.to_owned(), "cluster".to_owned())]);
        let mut note = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                context.insert(name.to_owned(), value.clone());
            }
        };
        let job = self.name.as_deref().and_then(job_of_cluster);
        note(field::CLUSTER_ID, self.id.as_ref());
        note(field::TERMINATION_TYPE, self.kind.as_ref());
        note(field::WORKSPACE_ID, self.workspace.as_ref());
        note(field::OWNER, self.owner.as_ref().or(origin.owner.as_ref()));
        note(field::JOB_ID, job.as_ref());
        note("cluster_state", self.state.as_ref());
        let state = self.state.as_deref().unwrap_or("ended");
        let ended = match &self.code {
            Some(code) => format!(
                "Cluster {asset} was terminated. Reason: {code}{}",
                bracketed(self.kind.as_deref())
            ),
            None => format!("Cluster {asset} is in state {state} without a termination reason"),
        };
        let message = self
            .text
            .as_ref()
            .map_or_else(|| format!("{ended}."), |text| format!("{ended}. {text}"));
        let failure = Failure {
            source: Source::Databricks,
            key,
            kind: AssetKind::Cluster,
            asset,
            run_id: None,
            run_url: None,
            error_code: self.code,
            message,
            context,
            occurred_at: self.at.or(origin.at),
            source_severity: origin.severity,
            alert: origin.alert.clone(),
        };
        failure.sealed()
    }

    /// A job's own cluster ends once, so its id is enough. Any other cluster ends often: the minute it ended
    /// counts (overlapping windows repeat the row's time), or the hour of the alert if no row told the time,
    /// or the message itself.
    fn key(&self, origin: &Origin) -> RunKey {
        let id = self
            .id
            .as_deref()
            .or(self.name.as_deref())
            .unwrap_or_default();
        let one_run = self.name.as_deref().and_then(job_of_cluster).is_some();
        let when = match (self.at, origin.at) {
            _ if one_run => String::new(),
            (Some(at), _) => at.format("%Y-%m-%dT%H:%M").to_string(),
            (None, Some(at)) => at.format("%Y-%m-%dT%H").to_string(),
            (None, None) => origin
                .alert
                .as_ref()
                .map(|alert| key_part(&alert.id).into_owned())
                .unwrap_or_default(),
        };
        RunKey::new(Source::Databricks, "cluster", &key_part(id), "", &when)
    }
}

impl JobRun {
    /// The failure, sealed. `None` without any run id: such a report cannot be told from the next one.
    pub fn failure(self, origin: &Origin) -> Option<Failure> {
        let run = self.run_id.clone().or_else(|| self.task_run_id.clone())?;
        // Run ids are unique in the one configured workspace, and not every report names the workspace.
        let key = RunKey::new(Source::Databricks, "", &key_part(&run), "", "");
        let asset = match (&self.name, &self.job_id) {
            (Some(name), _) => name.clone(),
            (None, Some(job)) => format!("job {job}"),
            (None, None) => format!("run {run}"),
        };
        let mut context = BTreeMap::from([(field::KIND.to_owned(), "job".to_owned())]);
        let mut note = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                context.insert(name.to_owned(), value.clone());
            }
        };
        note(field::JOB_ID, self.job_id.as_ref());
        note(
            field::TASK_RUN_ID,
            self.task_run_id.as_ref().filter(|task| **task != run),
        );
        note(field::TASK_KEY, self.task_key.as_ref());
        note(field::CLUSTER_ID, self.cluster_id.as_ref());
        note(field::WORKSPACE_ID, self.workspace.as_ref());
        note(
            field::WORKSPACE,
            self.url.as_deref().and_then(host_of).as_ref(),
        );
        note(field::TERMINATION_TYPE, self.kind.as_ref());
        note(field::OWNER, self.owner.as_ref().or(origin.owner.as_ref()));
        let task = self
            .task_key
            .as_deref()
            .map(|task| format!(", task {task},"))
            .unwrap_or_default();
        let message = self.text.unwrap_or_else(|| {
            own_words::untold_by_report(
                &format!("Run {run} of Databricks job {asset}{task}"),
                self.code.as_deref(),
            )
        });
        let failure = Failure {
            source: Source::Databricks,
            key,
            kind: AssetKind::Job,
            asset,
            run_id: Some(run),
            run_url: self.url,
            error_code: self.code,
            message,
            context,
            occurred_at: self.at.or(origin.at),
            source_severity: origin.severity,
            alert: origin.alert.clone(),
        };
        Some(failure.sealed())
    }
}

/// The workspace's host in a link to one of its pages.
fn host_of(page: &str) -> Option<String> {
    let url = url::Url::parse(page).ok()?;
    let host = url.host_str()?.to_lowercase();
    Some(
        url.port()
            .map_or_else(|| host.clone(), |port| format!("{host}:{port}")),
    )
}

/// Reads a table of Databricks rows.
pub(super) fn read(table: &Table, origin: &Origin) -> Reading {
    let mut reading = Reading::default();
    let mut runs: Vec<Failure> = Vec::new();
    let mut ends: Vec<ClusterEnd> = Vec::new();
    for record in table.records() {
        let params = record
            .cell(&["requestparams"])
            .and_then(embedded)
            .unwrap_or_default();
        let view = View {
            record: &record,
            params: &params,
        };
        let found = if view.is_job() {
            view.job_run()
                .map(|run| run.failure(origin).map(|failure| runs.push(failure)))
        } else {
            view.cluster_end().map(|end| end.map(|end| ends.push(end)))
        };
        match found {
            Ok(Some(())) => {}
            Ok(None) => reading.unusable += 1,
            Err(reason) => reading.skip(reason),
        }
    }
    // A cluster that could not be made has a row "Error" beside the one with the reason.
    let told: HashSet<Option<String>> = ends
        .iter()
        .filter(|end| end.code.is_some())
        .map(|end| end.id.clone())
        .collect();
    let ends = ends
        .into_iter()
        .filter(|end| end.code.is_some() || !told.contains(&end.id))
        .map(|end| end.failure(origin));
    let failures = runs.into_iter().chain(ends).collect();
    reading.absorb(Reading {
        failures,
        ..Reading::default()
    });
    reading
}

/// A row and the request parameters inside it.
struct View<'r> {
    record: &'r Record<'r>,
    params: &'r Value,
}

impl View<'_> {
    /// A value by its plain column names, or else from the parameters by its audit name.
    fn text(&self, columns: &[&str], audit: &[&str]) -> Option<String> {
        let inside = || {
            audit
                .iter()
                .find_map(|name| member(self.params, name))
                .and_then(prose)
        };
        self.record.text(columns).or_else(inside)
    }

    fn action(&self) -> Option<String> {
        self.record
            .text(&["actionname"])
            .map(|action| action.to_ascii_lowercase())
    }

    fn is_job(&self) -> bool {
        let service = self
            .record
            .text(&["servicename", "category", "type"])
            .unwrap_or_default()
            .to_ascii_lowercase();
        let names_job = self
            .text(&["jobid", "jobname", "taskkey"], &["jobId"])
            .is_some();
        let ends_cluster = self
            .text(TERMINATION, &["clusterTerminationReasonCode"])
            .is_some();
        service.contains("jobs") || names_job && !ends_cluster && !service.contains("cluster")
    }

    fn at(&self) -> Option<DateTime<Utc>> {
        self.record.time(&[
            "timegenerated",
            "terminatedtime",
            "endtime",
            "timestamp",
            "eventtime",
        ])
    }

    /// What the platform answered to the request: its error text and whether it was one.
    fn response(&self) -> (bool, Option<String>) {
        let response = self
            .record
            .cell(&["response"])
            .and_then(embedded)
            .unwrap_or_default();
        let status = member(&response, "statusCode")
            .and_then(scalar)
            .and_then(|code| code.parse::<u16>().ok());
        let text = ["errorMessage", "error_message", "message"]
            .iter()
            .find_map(|name| member(&response, name))
            .and_then(prose);
        (status.is_some_and(|status| status >= 400), text)
    }

    fn job_run(&self) -> Result<JobRun, String> {
        let action = self.action();
        if let Some(action) = action
            .as_deref()
            .filter(|action| !["runfailed", "runtimedout", "runterminated"].contains(action))
        {
            return Err(format!("audit rows of action {}", plain_word(action)));
        }
        let state = self.text(
            &[
                "jobterminalstate",
                "resultstate",
                "terminalstate",
                "runstate",
                "state",
                "status",
            ],
            &["jobTerminalState"],
        );
        let code = self.text(
            &[
                "terminationcode",
                "errorcode",
                "terminationreason",
                "termination",
            ],
            &["terminationCode"],
        );
        let kind = self.text(&["terminationtype"], &["terminationType"]);
        let state = state.filter(|state| !state.starts_with('{'));
        let state_word = state
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .replace(['_', ' '], "");
        if [
            "succeeded",
            "success",
            "canceled",
            "cancelled",
            "skipped",
            "running",
            "pending",
            "upstreamfailed",
            "upstreamcanceled",
            "excluded",
        ]
        .contains(&state_word.as_str())
        {
            return Err(format!("runs in state {}", plain_word(&state_word)));
        }
        if is_normal_end(code.as_deref(), kind.as_deref()) {
            return Err("runs that ended normally".to_owned());
        }
        let own = self.text(&["runid"], &["runId"]);
        let parent = self.text(
            &["multitaskparentrunid", "parentrunid", "jobrunid"],
            &["multitaskParentRunId", "parentRunId", "jobRunId"],
        );
        let parent = parent.filter(|id| id != "0");
        Ok(JobRun {
            task_run_id: parent.is_some().then(|| own.clone()).flatten(),
            run_id: parent.or(own),
            job_id: self.text(&["jobid"], &["jobId"]),
            name: self.text(&["jobname", "runname"], &["jobName", "runName"]),
            task_key: self.text(&["taskkey", "taskname"], &["taskKey"]),
            cluster_id: self.text(&["clusterid"], &["clusterId"]),
            workspace: self.text(&["orgid", "workspaceid"], &["orgId", "workspaceId"]),
            code: code.or_else(|| state.filter(|state| !state.eq_ignore_ascii_case("failed"))),
            kind,
            text: self
                .text(MESSAGE, &["errorMessage", "stateMessage"])
                .or_else(|| self.response().1),
            owner: self.text(
                &["runcreatorusername", "owner", "team"],
                &["runCreatorUserName"],
            ),
            url: self.text(&["runpageurl"], &["runPageUrl"]),
            at: self.at(),
        })
    }

    fn cluster_end(&self) -> Result<Option<ClusterEnd>, String> {
        let (refused, answer) = self.response();
        let mut end = ClusterEnd {
            id: self.text(&["clusterid"], &["clusterId", "cluster_id"]),
            name: self.text(&["clustername"], &["clusterName", "cluster_name"]),
            state: self.text(&["clusterstate", "state"], &["clusterState"]),
            code: None,
            kind: self.text(
                &["terminationtype", "clusterterminationreasontype"],
                &["clusterTerminationReasonType"],
            ),
            text: self
                .text(MESSAGE, &["clusterTerminationMessage", "stateMessage"])
                .or(answer),
            workspace: self.text(&["orgid", "workspaceid"], &["orgId"]),
            owner: self.text(&["owner", "team"], &["clusterOwnerUserName"]),
            at: self.at(),
        };
        end.set_termination(
            self.record
                .cell(TERMINATION)
                .or_else(|| member(self.params, "clusterTerminationReasonCode")),
        );
        if end.id.is_none() && end.name.is_none() {
            return Ok(None);
        }
        let state = end
            .state
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        match &end.code {
            Some(code) if is_normal_end(Some(code), end.kind.as_deref()) => Err(format!(
                "clusters that ended normally ({})",
                plain_word(code)
            )),
            Some(_) => Ok(Some(end)),
            None if state == "error" || refused => Ok(Some(end)),
            // Without a place for the reason (an alert split by cluster) the reason may still be a bad one.
            None if self.action().is_none() && !self.record.has(TERMINATION) => Ok(None),
            None => Err("cluster events without a termination reason".to_owned()),
        }
    }
}

impl ClusterEnd {
    /// Takes a termination code, or a whole `{"code","type","parameters"}` as an object or in a string.
    pub fn set_termination(&mut self, value: Option<&Value>) {
        let Some(value) = value else { return };
        let Some(reason) = embedded(value) else {
            self.code = prose(value).or(self.code.take());
            return;
        };
        let part = |name: &str| member(&reason, name).and_then(scalar);
        self.code = part("code").or(self.code.take());
        self.kind = part("type").or(self.kind.take());
        let parameters = member(&reason, "parameters").and_then(Value::as_object);
        let told: Vec<String> = parameters
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| scalar(value).map(|value| format!("{name}: {value}")))
            .collect();
        if !told.is_empty() {
            let told = told.join("; ");
            self.text = Some(
                self.text
                    .take()
                    .map_or_else(|| told.clone(), |text| format!("{text} ({told})")),
            );
        }
    }
}

const TERMINATION: &[&str] = &[
    "termination",
    "terminationcode",
    "terminationreasoncode",
    "terminationreason",
    "clusterterminationreasoncode",
    "reasoncode",
    "reason",
    "errorcode",
];
const MESSAGE: &[&str] = &[
    "errormessage",
    "failuretext",
    "statemessage",
    "terminationmessage",
    "errordetails",
    "message",
    "error",
    "details",
];

/// The job whose own cluster this is: Databricks names such clusters `job-<job id>-run-<run id>[-<key>]`.
fn job_of_cluster(name: &str) -> Option<String> {
    let (job, rest) = name.strip_prefix("job-")?.split_once("-run-")?;
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (numeric(job)
        && rest
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_digit()))
    .then(|| job.to_owned())
}

fn bracketed(kind: Option<&str>) -> String {
    kind.map(|kind| format!(" ({kind})")).unwrap_or_default()
}

/// A value fit to be named in a reason.
fn plain_word(text: &str) -> String {
    text.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter))
        .take(60)
        .collect()
}
