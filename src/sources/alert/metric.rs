//! Metric alerts: only those on failed runs of Data Factory or Synapse mean a failure; they name no run and no error.

use serde::Deserialize;
use serde_json::Value;

use super::{Alert, Window, ignored, named, over, severity};
use crate::sources::json::{Object, Text, digest, member, typed};
use crate::sources::time::{instant, span};
use crate::sources::{Malformed, Parsed, RowsOf};

/// `condition`, the same in both schemas.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    window_size: Text,
    window_start_time: Text,
    window_end_time: Text,
    all_of: Option<Vec<Object<Criterion>>>,
    metric_name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Criterion {
    metric_name: Text,
    metric_namespace: Text,
    metric_value: Text,
    dimensions: Option<Vec<Object<Dimension>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dimension {
    name: Text,
    value: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CommonContext {
    condition: Option<Object<Condition>>,
}

/// `data` of the older schema.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Older {
    status: Text,
    context: Option<Object<OlderContext>>,
    properties: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OlderContext {
    timestamp: Text,
    id: Text,
    name: Text,
    description: Text,
    severity: Text,
    resource_id: Text,
    resource_type: Text,
    condition: Option<Object<Condition>>,
}

/// A metric alert of the common schema.
pub(super) fn common(alert: &Alert, context: &Value) -> Result<Parsed, Malformed> {
    let context: CommonContext = if context.is_null() {
        CommonContext::default()
    } else {
        typed(context, "data.alertContext")?
    };
    Ok(decide(alert, &context.condition.unwrap_or_default()))
}

/// A metric alert of the older schema, new or classic.
pub(super) fn noncommon(document: &Value, data: &Value) -> Result<Parsed, Malformed> {
    let place = if member(document, "data").is_some() {
        "data"
    } else {
        ""
    };
    let older: Older = typed(data, place)?;
    if let Some(reason) = over(older.status.get()) {
        return ignored(&reason);
    }
    let context = older.context.unwrap_or_default().into_inner();
    let fired = context.timestamp.get().and_then(instant);
    // `id` is the rule's; the time makes it this alert's.
    let id = match (context.id.get(), context.timestamp.get()) {
        (Some(id), Some(time)) => format!("{id}@{time}"),
        _ => digest(document),
    };
    let targets = [context.resource_id.get(), context.resource_type.get()];
    let alert = Alert {
        id,
        rule: context.name.owned(),
        description: context.description.owned(),
        severity: context.severity.get().and_then(severity),
        fired,
        targets: targets
            .into_iter()
            .flatten()
            .map(str::to_lowercase)
            .collect(),
        properties: super::properties([Some(&older.properties), None]),
    };
    Ok(decide(&alert, &context.condition.unwrap_or_default()))
}

/// Does a list of criteria speak of metrics?
pub(super) fn has_metric(criteria: &Value) -> bool {
    criteria
        .as_array()
        .into_iter()
        .flatten()
        .any(|criterion| member(criterion, "metricName").is_some())
}

fn decide(alert: &Alert, condition: &Condition) -> Parsed {
    let criteria = condition.all_of.as_deref().unwrap_or_default();
    let Some(criterion) = criteria
        .iter()
        .find(|criterion| counts_failed_runs(criterion))
    else {
        if alert.looks_like_test(None) {
            return Parsed::Ignored("a test notification".to_owned());
        }
        let metric = criteria
            .first()
            .and_then(|criterion| criterion.metric_name.get())
            .or(condition.metric_name.get());
        return Parsed::Ignored(format!(
            "metric {} does not count failed runs",
            named(metric)
        ));
    };
    let (from, to) = (
        condition.window_start_time.get().and_then(instant),
        condition.window_end_time.get().and_then(instant),
    );
    let window = Window::new(
        from,
        to,
        condition.window_size.get().and_then(span),
        alert.fired,
    );
    // `Name` is the pipeline of PipelineFailedRuns, and the activity or trigger of the others.
    let of_pipelines = criterion
        .metric_name
        .get()
        .is_some_and(|name| name.eq_ignore_ascii_case("PipelineFailedRuns"));
    let pipeline = ["PipelineName", "Pipeline"]
        .iter()
        .find_map(|name| criterion.dimension(name))
        .or_else(|| criterion.dimension("Name").filter(|_| of_pipelines))
        .or_else(|| alert.property(&["pipelinename", "pipeline"]));
    let count = criterion
        .metric_value
        .get()
        .and_then(|value| value.split('.').next())
        .and_then(|whole| whole.parse().ok());
    alert.request(RowsOf::AdfRuns, window, pipeline, None, count)
}

/// Metrics that count nothing but failures, of Data Factory.
const FAILURES: [&str; 5] = [
    "pipelinefailedruns",
    "activityfailedruns",
    "triggerfailedruns",
    "ssispackageexecutionfailed",
    "ssisintegrationruntimestartfailed",
];
/// Metrics of Synapse that count all ends; the dimension `Result` says which.
const ENDS: [&str; 3] = [
    "integrationpipelinerunsended",
    "integrationactivityrunsended",
    "integrationtriggerrunsended",
];

fn counts_failed_runs(criterion: &Criterion) -> bool {
    let lower = |text: &Text| text.get().unwrap_or_default().to_ascii_lowercase();
    let metric = lower(&criterion.metric_name);
    let namespace = lower(&criterion.metric_namespace);
    let of = |service: &str| namespace.is_empty() || namespace.contains(service);
    let failed = || {
        criterion.dimension("Result").is_some_and(|result| {
            result
                .split([',', ' '])
                .any(|one| one.eq_ignore_ascii_case("Failed"))
        })
    };
    FAILURES.contains(&metric.as_str()) && of("datafactory")
        || ENDS.contains(&metric.as_str()) && of("synapse") && failed()
}

impl Criterion {
    /// What a dimension is, if it is anything in particular.
    fn dimension(&self, wanted: &str) -> Option<String> {
        let found = self.dimensions.iter().flatten().find(|dimension| {
            dimension
                .name
                .get()
                .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        });
        found
            .and_then(|dimension| dimension.value.owned())
            .filter(|value| value != "*")
    }
}
