//! Rows of ADF (and Synapse) runs: `ADFPipelineRun`, `ADFActivityRun`, joins of both, the guide's projection,
//! `AzureDiagnostics` with its suffixed columns, and the dimensions of an alert split by run.
//!
//! Several rows speak of one run: retries of an activity, the containers around it ("an inner activity failed")
//! and the pipeline itself. They fold into one failure whose message is the most telling leaf's; what the other
//! rows said is kept in the context. The useful error code sits inside the message (`ErrorCode=<Name>`), while
//! the column holds a number; the inner one becomes the failure's code.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::Regex;
use serde_json::Value;

use super::{Origin, Reading, Record, Table};
use crate::failure::{AssetKind, Failure, RunKey, Source, field, own_words};
use crate::sources::json::{embedded, key_part, member, prose, scalar};

/// The asset's name while nobody has said which pipeline it is.
const UNNAMED: &str = "unknown pipeline";
/// Activities that only hold others: their errors are consequences.
const CONTAINERS: [&str; 6] = [
    "ifcondition",
    "foreach",
    "until",
    "switch",
    "executepipeline",
    "invokepipeline",
];
/// How many other messages of a run are kept.
const OTHERS: usize = 5;

/// Reads a table of ADF rows.
pub(super) fn read(table: &Table, origin: &Origin) -> Reading {
    let mut reading = Reading::default();
    let mut order: Vec<RunKey> = Vec::new();
    let mut runs: HashMap<RunKey, Vec<Row>> = HashMap::new();
    for record in table.records() {
        let row = match Row::of(&record, origin) {
            Verdict::Failed(row) => row,
            Verdict::Skipped(reason) => {
                reading.skip(reason);
                continue;
            }
            Verdict::Unusable => {
                reading.unusable += 1;
                continue;
            }
        };
        let key = row.key(origin);
        let rows = runs.entry(key.clone()).or_default();
        if rows.is_empty() {
            order.push(key);
        }
        rows.push(*row);
    }
    for key in order {
        if let Some(failure) = runs.remove(&key).and_then(|rows| fold(key, &rows, origin)) {
            reading.failures.push(failure.sealed());
        }
    }
    reading
}

/// The useful error code inside an ADF message: the first `ErrorCode=<Name>`, else a code in embedded JSON.
pub fn inner_code(message: &str) -> Option<String> {
    static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i)\berror_?code\\?["']?\s*[=:]\s*\\?["']?([a-z][a-z0-9_.]{2,120})"#).ok()
    });
    let mut found = NAMED
        .as_ref()?
        .captures_iter(message)
        .filter_map(|groups| groups.get(1));
    let telling = |code: &str| !matches!(code, "null" | "None" | "ActionFailed" | "BadRequest");
    found.find_map(|code| {
        Some(code.as_str().trim_end_matches('.').to_owned()).filter(|code| telling(code))
    })
}

enum Verdict {
    Failed(Box<Row>),
    Skipped(String),
    Unusable,
}

/// A failed run of a pipeline, as the factory itself knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// The run.
    pub run_id: Option<String>,
    /// Its pipeline.
    pub pipeline: Option<String>,
    /// The error's code.
    pub code: Option<String>,
    /// What it said.
    pub message: Option<String>,
    /// The factory's resource id.
    pub factory: String,
    /// When it ended.
    pub at: Option<DateTime<Utc>>,
}

impl Run {
    /// The failure, sealed.
    pub fn failure(self, origin: &Origin) -> Option<Failure> {
        let factory = Some(self.factory.to_lowercase());
        let row = Row {
            run_id: self.run_id,
            pipeline: self.pipeline,
            code: self.code,
            message: self.message,
            factory: factory.filter(|id| is_factory(id)),
            at: self.at,
            ..Row::default()
        };
        Some(fold(row.key(origin), &[row], origin)?.sealed())
    }
}

/// One row that speaks of a failed run.
#[derive(Debug, Clone, Default)]
struct Row {
    run_id: Option<String>,
    pipeline: Option<String>,
    activity: Option<String>,
    activity_type: Option<String>,
    activity_run: Option<String>,
    code: Option<String>,
    message: Option<String>,
    failure_type: Option<String>,
    runtime: Option<String>,
    factory: Option<String>,
    owner: Option<String>,
    at: Option<DateTime<Utc>>,
}

impl Row {
    fn of(record: &Record<'_>, origin: &Origin) -> Verdict {
        if let Some(status) = record.text(&["status"]).filter(|status| !is_failed(status)) {
            return Verdict::Skipped(format!("rows with status {}", short(&status)));
        }
        if record.text(&["triggername"]).is_some() && record.text(&["pipelinename"]).is_none() {
            return Verdict::Skipped("trigger runs name no pipeline run".to_owned());
        }
        let run_id = record
            .text(&["pipelinerunid", "runid", "pipelinerun", "adfrunid"])
            .or_else(|| record.text(&["correlationid"]).filter(|id| is_guid(id)));
        let pipeline = record.text(&["pipelinename", "pipeline"]);
        let activity = record.text(&["activityname", "activity"]);
        let error = record.cell(&[
            "error",
            "errors",
            "errorinfo",
            "errordetails",
            "errordetail",
        ]);
        let error = error.and_then(first_of).or(error);
        let (code, message) = said(record, error);
        if run_id.is_none()
            && (code.is_none() && message.is_none() || pipeline.is_none() && activity.is_none())
        {
            return Verdict::Unusable;
        }
        let detail = |name: &str| {
            error
                .and_then(embedded)
                .and_then(|error| member(&error, name).and_then(scalar))
        };
        let factory = record
            .text(&["resourceid", "factory"])
            .or_else(|| origin.resource.clone())
            .map(|id| id.to_lowercase());
        Verdict::Failed(Box::new(Self {
            run_id,
            pipeline,
            activity,
            activity_type: record.text(&["activitytype"]),
            activity_run: record.text(&["activityrunid"]),
            code,
            message,
            failure_type: record
                .text(&["failuretype", "errorfailuretype"])
                .or_else(|| detail("failureType")),
            runtime: record.text(&["effectiveintegrationruntime"]),
            factory: factory.filter(|id| is_factory(id)),
            owner: record
                .text(&["owner", "team"])
                .or_else(|| origin.owner.clone()),
            at: record
                .time(&[
                    "end",
                    "timegenerated",
                    "endtime",
                    "runend",
                    "failedat",
                    "failuretime",
                    "eventtime",
                    "executiontime",
                    "time",
                    "timestamp",
                    "triggertime",
                    "start",
                ])
                .or(origin.at),
        }))
    }

    /// The run's key; without a run id the alert and the row itself identify it.
    fn key(&self, origin: &Origin) -> RunKey {
        if let Some(run) = &self.run_id {
            return RunKey::new(Source::Adf, "", &key_part(run), "", "");
        }
        let alert = origin.alert.as_ref().map_or("", |alert| alert.id.as_str());
        let row = [self.pipeline.as_deref(), self.activity.as_deref()]
            .map(Option::unwrap_or_default)
            .join("/");
        let at = self.at.map(|at| at.to_rfc3339()).unwrap_or_default();
        RunKey::new(Source::Adf, &key_part(alert), "", &key_part(&row), &at)
    }

    fn is_container(&self) -> bool {
        let kind = self
            .activity_type
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        CONTAINERS.contains(&kind.as_str())
            || self.code.as_deref() == Some("ActionFailed")
            || self.message.as_deref().is_some_and(is_generic)
    }

    /// How much of the cause the row tells.
    fn rank(&self) -> u8 {
        let message = self.message.as_deref().unwrap_or_default();
        let leaf = self.activity.is_some() && !self.is_container();
        let named = inner_code(message).is_some();
        match (leaf, message.is_empty()) {
            (_, true) if self.code.is_none() => 0,
            (true, false) => 5,
            (true, true) => 2,
            (false, false) if named => 4,
            (false, false) if !is_generic(message) => 3,
            (false, _) => 1,
        }
    }

    /// What the row says in one line.
    fn line(&self) -> Option<String> {
        let said = self.message.as_deref().or(self.code.as_deref())?;
        let who = self
            .activity
            .as_deref()
            .or(self.pipeline.as_deref())
            .unwrap_or("run");
        Some(format!("{who}: {said}"))
    }
}

/// One failure from all rows of one run.
fn fold(key: RunKey, rows: &[Row], origin: &Origin) -> Option<Failure> {
    // The best rank; among equals the earliest; among equals the first.
    let root = rows.iter().min_by_key(|row| {
        (
            u8::MAX - row.rank(),
            row.at.unwrap_or(DateTime::<Utc>::MAX_UTC),
        )
    })?;
    let first = |pick: fn(&Row) -> &Option<String>| {
        pick(root)
            .clone()
            .or_else(|| rows.iter().find_map(|row| pick(row).clone()))
    };
    let pipeline = first(|row| &row.pipeline);
    let activity = root
        .activity
        .clone()
        .or_else(|| root.message.as_deref().and_then(target_of));
    let activity = activity.or_else(|| first(|row| &row.activity));
    let inner = root.message.as_deref().and_then(inner_code);
    let outer = root.code.clone();
    let mut context: BTreeMap<String, String> = BTreeMap::new();
    let mut note = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            context.insert(name.to_owned(), value);
        }
    };
    note(field::ACTIVITY, activity.clone());
    note(field::ACTIVITY_TYPE, root.activity_type.clone());
    note(field::FAILURE_TYPE, first(|row| &row.failure_type));
    note(field::FACTORY, first(|row| &row.factory));
    note(field::OWNER, first(|row| &row.owner));
    note("activity_run_id", root.activity_run.clone());
    note("integration_runtime", root.runtime.clone());
    note(
        "outer_error_code",
        outer
            .clone()
            .filter(|outer| inner.as_ref().is_some_and(|inner| inner != outer)),
    );
    let said = root.line();
    let mut others: Vec<String> = Vec::new();
    for line in rows
        .iter()
        .filter_map(Row::line)
        .filter(|line| Some(line) != said.as_ref())
    {
        if others.len() < OTHERS && !others.contains(&line) {
            others.push(line);
        }
    }
    for (at, line) in others.into_iter().enumerate() {
        note(&format!("also_failed_{}", at + 1), Some(line));
    }
    let asset = pipeline.unwrap_or_else(|| UNNAMED.to_owned());
    let message = root
        .message
        .clone()
        .unwrap_or_else(|| untold(&asset, activity.as_deref(), outer.as_deref()));
    Some(Failure {
        source: Source::Adf,
        key,
        kind: AssetKind::Pipeline,
        asset,
        run_id: first(|row| &row.run_id),
        run_url: databricks_run_page(&message),
        error_code: inner.or(outer),
        message,
        context,
        occurred_at: root.at,
        source_severity: origin.severity,
        alert: origin.alert.clone(),
    })
}

/// The first of several errors.
fn first_of(errors: &Value) -> Option<&Value> {
    errors
        .as_array()?
        .iter()
        .find(|error| prose(error).is_some())
}

/// The error code and message of a row: the more telling of the plain pair, a join's right side and `Error`.
fn said(record: &Record<'_>, error: Option<&Value>) -> (Option<String>, Option<String>) {
    let codes = ["errorcode", "errorerrorcode"];
    let messages = [
        "errormessage",
        "failuretext",
        "errordescription",
        "failurereason",
        "failuremessage",
        "exception",
        "message",
    ];
    let plain = (record.text(&codes), record.text(&messages));
    let joined = (
        record.text(&["errorcode1"]),
        record.text(&["errormessage1"]),
    );
    let parsed = error.and_then(embedded);
    let told = |name: &str| {
        parsed
            .as_ref()
            .and_then(|error| member(error, name))
            .and_then(prose)
    };
    let object = (told("errorCode").or_else(|| told("code")), told("message"));
    let object = if parsed.is_none() {
        (None, error.and_then(prose))
    } else {
        object
    };
    let weight = |(code, message): &(Option<String>, Option<String>)| match message.as_deref() {
        Some(text) if inner_code(text).is_some() => 3_u8,
        Some(text) if !is_generic(text) => 2,
        Some(_) => 1,
        None => u8::from(code.is_some()),
    };
    let mut best = plain;
    for candidate in [joined, object] {
        if weight(&candidate) > weight(&best) {
            best = (candidate.0.or(best.0), candidate.1.or(best.1));
        } else {
            best = (best.0.or(candidate.0), best.1);
        }
    }
    best
}

/// Words for a failure whose alert carried no error text.
fn untold(pipeline: &str, activity: Option<&str>, code: Option<&str>) -> String {
    let what = activity.map_or_else(
        || format!("Pipeline {pipeline}"),
        |activity| format!("Activity {activity} of pipeline {pipeline}"),
    );
    own_words::untold_by_alert(&what, code)
}

/// The activity that `Operation on target <activity> failed` names.
fn target_of(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("Operation on target ")?;
    let (name, _) = rest.split_once(" failed")?;
    (!name.is_empty() && name.len() <= 256).then(|| name.to_owned())
}

/// The run page a Databricks activity names in its message; only on Databricks' own hosts.
fn databricks_run_page(message: &str) -> Option<String> {
    static PAGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"https://[a-z0-9.-]{1,100}\.(?:azuredatabricks\.net|databricks\.azure\.cn|databricks\.azure\.us)/[A-Za-z0-9?=#/_&-]{0,300}").ok()
    });
    PAGE.as_ref()?
        .find(message)
        .map(|page| page.as_str().to_owned())
}

fn is_failed(status: &str) -> bool {
    [
        "failed",
        "failure",
        "error",
        "timedout",
        "timed out",
        "faulted",
    ]
    .contains(&status.to_ascii_lowercase().as_str())
}

fn is_generic(message: &str) -> bool {
    message.contains("inner activity failed") || message.trim().is_empty()
}

fn is_factory(id: &str) -> bool {
    id.contains("/microsoft.datafactory/factories/")
        || id.contains("/microsoft.synapse/workspaces/")
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text
            .chars()
            .all(|letter| letter.is_ascii_hexdigit() || letter == '-')
}

/// A value fit to be named in a reason.
fn short(text: &str) -> String {
    text.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || " ._-".contains(*letter))
        .take(40)
        .collect()
}
