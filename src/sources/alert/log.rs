//! Log alerts: V2 with dimensions and without rows, V1 (common and not) with rows unless they were too many.

use serde::Deserialize;
use serde_json::Value;

use super::{Alert, Window, ignored, over, severity};
use crate::failure::Source;
use crate::sources::json::{Object, Text, digest, member, nothing_usable, reach, scalar, typed};
use crate::sources::rows::{self, Reading, Table};
use crate::sources::time::{instant, span};
use crate::sources::{Malformed, Parsed, RowsOf};

/// What the two generations of log alerts say, in one shape.
#[derive(Debug, Default)]
struct LogAlert {
    query: Option<String>,
    window: Window,
    /// How many rows the alert counted.
    count: Option<u64>,
    /// The embedded rows; `None` if the alert has none.
    tables: Option<Vec<Table>>,
    /// Each criterion's dimensions.
    dimensions: Vec<Vec<(String, Value)>>,
    /// Types of the resources the rule looks at, lower case.
    resource_types: String,
}

/// `alertContext` of V1 and the top level of its older schema.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct First {
    search_query: Text,
    search_interval_start_time_utc: Text,
    search_interval_endtime_utc: Text,
    search_interval_in_minutes: Text,
    search_interval_duration_min: Text,
    search_interval_in_seconds: Text,
    result_count: Text,
    alert_rule_name: Text,
    severity: Text,
    description: Text,
    resource_id: Text,
    workspace_id: Text,
    dimensions: Option<Vec<Object<Dimension>>>,
}

/// `alertContext` of V2.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Second {
    condition: Option<Object<Condition>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    window_size: Text,
    window_start_time: Text,
    window_end_time: Text,
    all_of: Option<Vec<Object<Criterion>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Criterion {
    search_query: Text,
    target_resource_types: Value,
    dimensions: Option<Vec<Object<Dimension>>>,
    metric_value: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dimension {
    name: Text,
    value: Value,
}

/// A log alert of the common schema, V1 or V2.
pub(super) fn common(
    alert: &Alert,
    context: &Value,
    door: Option<RowsOf>,
) -> Result<Parsed, Malformed> {
    let first: First = if context.is_null() {
        First::default()
    } else {
        typed(context, "data.alertContext")?
    };
    let second: Second = if context.is_null() {
        Second::default()
    } else {
        typed(context, "data.alertContext")?
    };
    let mut log = LogAlert::from_first(first, context, alert);
    if let Some(condition) = second.condition {
        log.add(condition.into_inner(), alert);
    }
    decide(alert, &log, door)
}

/// A log alert of the older schema: everything sits at the top level (or under `data`).
pub(super) fn noncommon(
    document: &Value,
    data: &Value,
    door: Option<RowsOf>,
) -> Result<Parsed, Malformed> {
    if let Some(reason) = over(member(data, "monitorCondition").and_then(Value::as_str)) {
        return ignored(&reason);
    }
    let first: First = typed(
        data,
        if member(document, "data").is_some() {
            "data"
        } else {
            ""
        },
    )?;
    let mut alert = Alert {
        rule: first.alert_rule_name.owned(),
        description: first.description.owned(),
        severity: first.severity.get().and_then(severity),
        fired: first.search_interval_endtime_utc.get().and_then(instant),
        targets: first
            .resource_id
            .owned()
            .into_iter()
            .map(|id| id.to_lowercase())
            .collect(),
        properties: super::properties([member(data, "customProperties"), None]),
        ..Alert::default()
    };
    // The older schema has no alert id: the rule, its workspace and the window make one.
    let place = first
        .resource_id
        .get()
        .or(first.workspace_id.get())
        .unwrap_or_default();
    alert.id = match (&alert.rule, alert.fired) {
        (Some(rule), Some(fired)) => format!("{place}/{rule}@{}", fired.to_rfc3339()),
        _ => digest(document),
    };
    let log = LogAlert::from_first(first, data, &alert);
    decide(&alert, &log, door)
}

/// Does it hold embedded rows, wherever a schema puts them?
pub(super) fn has_results(data: &Value) -> bool {
    results(data).is_some()
}

impl LogAlert {
    fn from_first(first: First, data: &Value, alert: &Alert) -> Self {
        let minutes = |text: &Text, unit: i64| {
            text.get()
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|count| (1.0..=44_640.0 * 60.0).contains(count))
                .map(|count| {
                    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
                    chrono::Duration::seconds((count as i64) * unit)
                })
        };
        let size = minutes(&first.search_interval_in_minutes, 60)
            .or_else(|| minutes(&first.search_interval_duration_min, 60))
            .or_else(|| minutes(&first.search_interval_in_seconds, 1));
        let from = first.search_interval_start_time_utc.get().and_then(instant);
        let to = first.search_interval_endtime_utc.get().and_then(instant);
        Self {
            query: first.search_query.owned(),
            window: Window::new(from, to, size, alert.fired),
            count: first.result_count.get().and_then(whole),
            tables: results(data).map(rows::tables),
            dimensions: first
                .dimensions
                .map(pairs)
                .into_iter()
                .filter(|pairs| !pairs.is_empty())
                .collect(),
            resource_types: String::new(),
        }
    }

    fn add(&mut self, condition: Condition, alert: &Alert) {
        let (from, to) = (
            condition.window_start_time.get().and_then(instant),
            condition.window_end_time.get().and_then(instant),
        );
        self.window = Window::new(
            from,
            to,
            condition.window_size.get().and_then(span),
            alert.fired,
        );
        for criterion in condition
            .all_of
            .unwrap_or_default()
            .into_iter()
            .map(Object::into_inner)
        {
            self.query = self.query.take().or_else(|| criterion.search_query.owned());
            self.count = self
                .count
                .or_else(|| criterion.metric_value.get().and_then(whole));
            self.resource_types
                .push_str(&criterion.target_resource_types.to_string().to_lowercase());
            self.dimensions
                .push(criterion.dimensions.map(pairs).unwrap_or_default());
        }
    }
}

/// The results of V1 (common, older), of a predecessor's shape, or of a custom payload.
fn results(data: &Value) -> Option<&Value> {
    ["SearchResults", "SearchResult"]
        .iter()
        .find_map(|name| member(data, name).or_else(|| reach(data, &["alertContext", name])))
        .filter(|value| value.is_object() || value.is_array())
}

fn pairs(dimensions: Vec<Object<Dimension>>) -> Vec<(String, Value)> {
    let useful = |dimension: Dimension| {
        let value = dimension.value;
        dimension
            .name
            .owned()
            .filter(|_| scalar(&value).is_some_and(|text| text != "*"))
            .map(|name| (name, value))
    };
    dimensions
        .into_iter()
        .map(Object::into_inner)
        .filter_map(useful)
        .collect()
}

fn whole(text: &str) -> Option<u64> {
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| (0.0..1e12).contains(number))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded just above"
    )]
    Some(number as u64)
}

/// Rows first, then dimensions, then a request for rows; else why it is no failure.
fn decide(alert: &Alert, log: &LogAlert, door: Option<RowsOf>) -> Result<Parsed, Malformed> {
    let hint = platform(alert, log, door);
    let origin = alert.origin(log.window);
    let mut of = hint;
    let mut reading = Reading::default();
    let mut seen = 0;
    for table in log.tables.iter().flatten() {
        seen += table.rows.len();
        if let Some((found, told)) =
            rows::read(table, &origin, hint).filter(|(found, _)| trusted(*found, log, alert))
        {
            of = of.or(Some(found));
            reading.absorb(told);
        }
    }
    let named: Vec<Table> = identities(alert, log);
    if reading.failures.is_empty() && reading.skipped.is_empty() {
        for table in &named {
            if let Some((found, mut told)) =
                rows::read(table, &origin, hint).filter(|(found, _)| trusted(*found, log, alert))
            {
                of = of.or(Some(found));
                // A rule split by pipeline and code, not by run, counts runs: which ones, the rows will tell.
                told.failures.retain(|failure| {
                    failure.source != Source::Adf || failure.run_id.is_some() || log.query.is_none()
                });
                reading.absorb(told);
            }
        }
    }
    if !reading.failures.is_empty() {
        return Ok(Parsed::Failures(reading.failures));
    }
    let Some(of) = of else {
        return match log.query.as_deref() {
            None if log.tables.is_none() && log.dimensions.is_empty() => Err(nothing_usable(
                "a log alert has a condition, rows or properties",
                "data.alertContext.condition.allOf",
            )),
            query if alert.looks_like_test(query) => ignored("a test notification"),
            _ => ignored("the alert concerns neither Data Factory nor Databricks"),
        };
    };
    if !reading.skipped.is_empty() {
        return ignored(&format!(
            "no failed run among the rows: {}",
            reading.skipped.join(", ")
        ));
    }
    if log.tables.is_some() && seen == 0 && log.count.unwrap_or(0) == 0 {
        return ignored("the alert's result has no rows");
    }
    let tables: Vec<&Table> = log.tables.iter().flatten().chain(&named).collect();
    Ok(alert.request(
        of,
        log.window,
        only(&tables, asset_columns(of)),
        only(&tables, &["pipelinerunid", "runid"]),
        log.count,
    ))
}

/// Each criterion's dimensions with the alert's own properties behind them, as one-row tables.
fn identities(alert: &Alert, log: &LogAlert) -> Vec<Table> {
    let row = |dimensions: &[(String, Value)]| {
        Table::from_pairs(dimensions.iter().chain(&alert.properties).cloned())
    };
    if log.dimensions.is_empty() {
        vec![row(&[])]
    } else {
        log.dimensions
            .iter()
            .map(|dimensions| row(dimensions))
            .collect()
    }
}

/// Kubernetes and others have clusters and jobs too: such columns count only where something names Databricks.
fn trusted(found: RowsOf, log: &LogAlert, alert: &Alert) -> bool {
    let named = |text: &str| text.to_lowercase().contains("databricks");
    let telling = ["termination", "requestparams", "jobterminalstate"];
    let column = |name: &str| {
        telling
            .iter()
            .any(|part| name.to_lowercase().replace('_', "").contains(part))
    };
    found == RowsOf::AdfRuns
        || log.query.as_deref().is_none_or(named)
        || alert.resource().is_some()
        || log
            .tables
            .iter()
            .flatten()
            .flat_map(|table| &table.columns)
            .any(|name| column(name))
        || log
            .dimensions
            .iter()
            .flatten()
            .any(|(name, value)| column(name) || value.as_str().is_some_and(named))
}

/// The one value per column has in all tables, if it is one.
fn only(tables: &[&Table], names: &[&str]) -> Option<String> {
    let mut values = tables.iter().flat_map(|table| table.distinct(names));
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

fn asset_columns(of: RowsOf) -> &'static [&'static str] {
    match of {
        RowsOf::AdfRuns => &["pipelinename", "pipeline"],
        RowsOf::DatabricksClusters => &["clustername", "clusterid"],
        RowsOf::DatabricksJobs => &["jobname", "jobid"],
    }
}

/// Which platform the rule watches, from its query's table names (text, never run), its resources, and where its
/// condition has no query, from its own words or the door it came through.
fn platform(alert: &Alert, log: &LogAlert, door: Option<RowsOf>) -> Option<RowsOf> {
    let by_query = log
        .query
        .as_deref()
        .and_then(|query| by_words(&query.to_lowercase(), &QUERY_WORDS));
    let places = format!("{} {}", alert.targets.join(" "), log.resource_types);
    by_query
        .or_else(|| by_words(&places, &PLACE_WORDS))
        .or_else(|| {
            if log.query.is_some() || log.tables.is_some() || log.dimensions.is_empty() {
                return None;
            }
            let words = [alert.rule.as_deref(), alert.description.as_deref()]
                .map(Option::unwrap_or_default)
                .join(" ")
                .to_lowercase();
            by_words(&words, &RULE_WORDS).or(door)
        })
}

type Words = [(&'static str, RowsOf)];

const QUERY_WORDS: [(&str, RowsOf); 9] = [
    ("databricksjobs", RowsOf::DatabricksJobs),
    ("databricksclusters", RowsOf::DatabricksClusters),
    ("adfpipelinerun", RowsOf::AdfRuns),
    ("adfactivityrun", RowsOf::AdfRuns),
    ("synapseintegration", RowsOf::AdfRuns),
    ("microsoft.datafactory", RowsOf::AdfRuns),
    ("pipelineruns", RowsOf::AdfRuns),
    ("activityruns", RowsOf::AdfRuns),
    ("databricks", RowsOf::DatabricksClusters),
];
const PLACE_WORDS: [(&str, RowsOf); 2] = [
    ("microsoft.datafactory", RowsOf::AdfRuns),
    ("microsoft.databricks", RowsOf::DatabricksClusters),
];
const RULE_WORDS: [(&str, RowsOf); 5] = [
    ("databricks job", RowsOf::DatabricksJobs),
    ("databricks", RowsOf::DatabricksClusters),
    ("adf", RowsOf::AdfRuns),
    ("data factory", RowsOf::AdfRuns),
    ("pipeline", RowsOf::AdfRuns),
];

fn by_words(text: &str, words: &Words) -> Option<RowsOf> {
    words
        .iter()
        .find(|(word, _)| text.contains(word))
        .map(|(_, of)| *of)
}
