//! The alert of Azure Monitor in every schema, shared by the doors it may come through.
//!
//! In: a body that is an alert: the common schema, the older ones of log, metric and activity log alerts, budget
//! and autoscale notes, and two shapes that only a predecessor knew. Out: [`Parsed`]: failures when the alert
//! carries rows or the dimensions of a run, a request for rows when it names none, or why it is no failure.
//! Dispatch is on `schemaId` and `monitoringService`, never on guesses; an unknown one is ignored by name.
//! Texts of an alert (query, links, names) are compared and never executed, called or followed.
//! This file knows the envelope; `alert/log.rs` and `alert/metric.rs` know the two kinds that can mean a failed run.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::OVER;
use super::json::{Text, digest, member, nothing_usable, reach, scalar, text_at, typed};
use super::rows::Origin;
use super::time::instant;
use super::{Malformed, Parsed, RowsOf, RowsRequest};
use crate::failure::{AlertRef, NAME_CAP};
use crate::redaction::{cap, one_line, redact};

mod log;
mod metric;

/// Reads an alert; `None` if the body is none. `door` says what the door is for, when the alert does not.
pub(super) fn understand(
    document: &Value,
    door: Option<RowsOf>,
) -> Option<Result<Parsed, Malformed>> {
    let schema = match member(document, "schemaId").map(|value| text_at(value, "schemaId")) {
        Some(Err(malformed)) => return Some(Err(malformed)),
        Some(Ok(text)) => text.owned(),
        None => None,
    };
    let data = member(document, "data").unwrap_or(document);
    let common = || member(data, "essentials").is_some() || member(data, "alertContext").is_some();
    let context = || member(data, "context");
    Some(
        match schema.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("azuremonitorcommonalertschema") => common_schema(document, data, door),
            Some("azuremonitormetricalert") => metric::noncommon(document, data),
            Some("microsoft.insights/logalert") => log::noncommon(document, data, door),
            Some("microsoft.insights/activitylogs") => {
                ignored("activity log events are no failed runs")
            }
            Some(_) => ignored(&format!("unknown schemaId {}", named(schema.as_deref()))),
            None if common() => common_schema(document, data, door),
            None if log::has_results(data) || member(data, "SearchQuery").is_some() => {
                log::noncommon(document, data, door)
            }
            None if member(data, "operation").is_some() && context().is_some() => {
                ignored("autoscale notifications are no failed runs")
            }
            None if reach(data, &["context", "activityLog"]).is_some() => {
                ignored("activity log events are no failed runs")
            }
            None if context().is_some() && member(data, "status").is_some() => {
                metric::noncommon(document, data)
            }
            None if member(data, "BudgetName").is_some() => {
                ignored("budget notifications are no failed runs")
            }
            None => return None,
        },
    )
}

/// The part of the common schema that all alerts share.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Essentials {
    alert_id: Text,
    origin_alert_id: Text,
    alert_rule: Text,
    severity: Text,
    monitor_condition: Text,
    monitoring_service: Text,
    #[serde(rename = "alertTargetIDs")]
    targets: Value,
    target_resource_type: Text,
    fired_date_time: Text,
    description: Text,
}

/// An alert without the part that says what happened.
#[derive(Debug, Clone, Default)]
struct Alert {
    id: String,
    rule: Option<String>,
    description: Option<String>,
    severity: Option<u8>,
    fired: Option<DateTime<Utc>>,
    /// Resource ids the alert is about, lower case.
    targets: Vec<String>,
    /// Custom properties that name a run, an asset or an owner.
    properties: Vec<(String, Value)>,
}

/// The stretch of time an alert looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

fn common_schema(
    document: &Value,
    data: &Value,
    door: Option<RowsOf>,
) -> Result<Parsed, Malformed> {
    let essentials: Essentials = match member(data, "essentials") {
        Some(value) => typed(value, "data.essentials")?,
        None if member(data, "alertContext").is_some() => Essentials::default(),
        None => {
            return Err(nothing_usable(
                "an alert of the common schema has essentials",
                "data.essentials",
            ));
        }
    };
    let service = essentials
        .monitoring_service
        .get()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if let Some(reason) = over(essentials.monitor_condition.get()) {
        return ignored(&reason);
    }
    let nothing = Value::Null;
    let context = member(data, "alertContext").unwrap_or(&nothing);
    let alert = Alert::from_essentials(document, data, context, &essentials);
    match service.as_str() {
        "platform" => metric::common(&alert, context),
        "" if reach(context, &["condition", "allOf"]).is_some_and(metric::has_metric) => {
            metric::common(&alert, context)
        }
        "log alerts v2" | "log analytics" | "application insights" | "" => {
            log::common(&alert, context, door)
        }
        "servicehealth" | "service health" => {
            ignored("service health events are context, no failed runs")
        }
        "resourcehealth" | "resource health" => {
            ignored("resource health events are context, no failed runs")
        }
        "smartdetector" | "smart detector" => ignored("smart detector alerts are no failed runs"),
        "costalerts" | "cost alerts" => ignored("budget and cost alerts are no failed runs"),
        "prometheus" => ignored("Prometheus alerts are no failed runs"),
        other if other.starts_with("activity log") => ignored(&format!(
            "activity log events are no failed runs ({})",
            named(essentials.monitoring_service.get())
        )),
        _ => ignored(&format!(
            "unknown monitoringService {}",
            named(essentials.monitoring_service.get())
        )),
    }
}

impl Alert {
    fn from_essentials(
        document: &Value,
        data: &Value,
        context: &Value,
        essentials: &Essentials,
    ) -> Self {
        let id = essentials
            .alert_id
            .get()
            .or(essentials.origin_alert_id.get())
            .map_or_else(|| digest(document), str::to_owned);
        let mut targets: Vec<String> = match &essentials.targets {
            Value::Array(items) => items.iter().filter_map(scalar).collect(),
            other => scalar(other).into_iter().collect(),
        };
        targets.extend(essentials.target_resource_type.owned());
        Self {
            id,
            rule: essentials.alert_rule.owned(),
            description: essentials.description.owned(),
            severity: essentials.severity.get().and_then(severity),
            fired: essentials.fired_date_time.get().and_then(instant),
            targets: targets.iter().map(|target| target.to_lowercase()).collect(),
            properties: properties([
                member(data, "customProperties"),
                member(context, "properties"),
            ]),
        }
    }

    fn reference(&self) -> AlertRef {
        AlertRef {
            id: self.id.clone(),
            rule: self.rule.clone(),
        }
    }

    fn property(&self, names: &[&str]) -> Option<String> {
        self.properties
            .iter()
            .find(|(key, _)| names.contains(&key.to_ascii_lowercase().as_str()))
            .and_then(|(_, value)| scalar(value))
    }

    /// The factory or workspace among the targets.
    fn resource(&self) -> Option<String> {
        let ours = [
            "/microsoft.datafactory/factories/",
            "/microsoft.databricks/workspaces/",
            "/microsoft.synapse/workspaces/",
        ];
        self.targets
            .iter()
            .find(|target| ours.iter().any(|part| target.contains(part)))
            .cloned()
    }

    fn origin(&self, window: Window) -> Origin {
        Origin {
            severity: self.severity,
            alert: Some(self.reference()),
            at: self.fired.or(window.to),
            resource: self.resource(),
            owner: self.property(&["owner", "team"]),
        }
    }

    /// A request for the rows behind this alert, redacted and capped like a failure.
    fn request(
        &self,
        rows_of: RowsOf,
        window: Window,
        asset: Option<String>,
        run_id: Option<String>,
        count: Option<u64>,
    ) -> Parsed {
        let name = |text: String| cap(&redact(&text), NAME_CAP);
        Parsed::NeedsRows(RowsRequest {
            source: rows_of.source(),
            rows_of,
            from: window.from,
            to: window.to,
            asset: asset.map(name),
            run_id: run_id.map(name),
            resource: self.resource().map(name),
            count,
            severity: self.severity,
            alert: AlertRef {
                id: name(self.id.clone()),
                rule: self.rule.clone().map(name),
            },
        })
    }

    /// Is it one of the portal's mocked notifications? They have no flag, only habits.
    fn looks_like_test(&self, query: Option<&str>) -> bool {
        let rule = self
            .rule
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        rule.starts_with("test-")
            || query.is_some_and(|query| query.trim().eq_ignore_ascii_case("heartbeat"))
    }
}

impl Window {
    /// The alert's own window. When it has no start, or an empty one (as in test notifications), the start is its
    /// end less the rule's window size, or an hour; when it has no end, the end is when it fired. No slack is
    /// added: the query for rows takes into account how late they arrive.
    fn new(
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        size: Option<chrono::Duration>,
        fired: Option<DateTime<Utc>>,
    ) -> Self {
        let to = to.or(fired);
        let size = size.unwrap_or_else(|| chrono::Duration::hours(1));
        let from = from
            .filter(|from| to.is_none_or(|to| *from < to))
            .or_else(|| to.map(|to| to - size));
        Self { from, to }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every schema ends in a Result")]
fn ignored(reason: &str) -> Result<Parsed, Malformed> {
    Ok(Parsed::Ignored(reason.to_owned()))
}

/// Why an alert in this condition is no failure; `None` while it is fired.
fn over(condition: Option<&str>) -> Option<String> {
    let condition = condition?;
    ["resolved", "deactivated", "closed", "ok"]
        .contains(&condition.to_ascii_lowercase().as_str())
        .then(|| format!("{OVER}{}", condition.to_ascii_lowercase()))
}

/// `Sev3`, `3`, or a word of the older schemas.
fn severity(text: &str) -> Option<u8> {
    let text = text.trim().to_ascii_lowercase();
    match text.strip_prefix("sev").unwrap_or(&text).trim() {
        "0" | "critical" => Some(0),
        "1" | "error" => Some(1),
        "2" | "warning" => Some(2),
        "3" | "informational" => Some(3),
        "4" | "verbose" => Some(4),
        _ => None,
    }
}

/// A name from outside, fit for a reason.
fn named(text: Option<&str>) -> String {
    let plain: String = text.unwrap_or_default().chars().take(80).collect();
    format!("\"{}\"", one_line(&redact(&plain)))
}

/// The custom properties we understand. Words that any rule may use in its own sense (status, type …) are left.
fn properties(places: [Option<&Value>; 2]) -> Vec<(String, Value)> {
    const KNOWN: [&str; 24] = [
        "pipelinename",
        "pipeline",
        "pipelinerunid",
        "runid",
        "activityname",
        "activitytype",
        "errorcode",
        "errormessage",
        "error",
        "failuretype",
        "resourceid",
        "clusterid",
        "clustername",
        "termination",
        "terminationcode",
        "jobid",
        "jobname",
        "taskkey",
        "parentrunid",
        "orgid",
        "workspaceid",
        "owner",
        "team",
        "clusterterminationreasoncode",
    ];
    let mut found: Vec<(String, Value)> = Vec::new();
    for (name, value) in places
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
    {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        let unresolved = value.as_str().is_some_and(|text| text.starts_with("${"));
        if KNOWN.contains(&plain.as_str())
            && !unresolved
            && !found.iter().any(|(known, _)| *known == plain)
        {
            found.push((plain, value.clone()));
        }
    }
    found
}
