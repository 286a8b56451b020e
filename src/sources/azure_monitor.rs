//! `POST /azure-monitor`: what an action group of Azure Monitor sends.
//!
//! In: the bytes of one webhook call. Out: [`Parsed`]. Every schema of Azure Monitor is read by `sources/alert`
//! (it is shared, since Databricks alerts come through their own door too); the rows inside by
//! `sources/rows`. What is no alert at all may still be a flat object that names a failed run: the
//! "custom JSON payload" of old log alerts and of Logic Apps in between.

use serde_json::{Map, Value};

use super::json::{digest, document, nothing_usable};
use super::rows::{self, Origin, Table};
use super::{Malformed, Parsed, RowsOf, alert, outcome};
use crate::failure::AlertRef;

/// Parses one body.
pub fn parse(body: &[u8]) -> Result<Parsed, Malformed> {
    let document = document(body)?;
    if let Some(parsed) = alert::understand(&document, None) {
        return parsed;
    }
    let object = flattened(document.as_object().cloned().unwrap_or_default());
    if let Some(reason) = outcome::no_failure(&object) {
        return Ok(Parsed::Ignored(reason));
    }
    // Not an alert: the body's own digest tells rows without a run id apart.
    let reference = AlertRef {
        id: digest(&document),
        rule: None,
    };
    let origin = Origin {
        alert: Some(reference),
        ..Origin::default()
    };
    let hint = object
        .keys()
        .any(|key| key.eq_ignore_ascii_case("pipeline"))
        .then_some(RowsOf::AdfRuns);
    let read = rows::read(&Table::from_pairs(object), &origin, hint);
    read.and_then(|(_, reading)| reading.without_alert())
        .ok_or_else(|| {
            nothing_usable(
                "neither an Azure Monitor alert nor an object that names a failed run",
                "schemaId",
            )
        })
}

/// A hand-made body often wraps what it says into one object: its members count where the body has none of that name.
fn flattened(mut body: Map<String, Value>) -> Map<String, Value> {
    let nests = [
        "data",
        "body",
        "payload",
        "pipeline",
        "run",
        "properties",
        "details",
        "context",
    ];
    for nest in nests {
        let inner = body
            .iter()
            .find(|(name, value)| name.eq_ignore_ascii_case(nest) && value.is_object())
            .and_then(|(name, value)| Some((name.clone(), value.as_object()?.clone())));
        let Some((name, members)) = inner else {
            continue;
        };
        body.remove(&name);
        for (key, value) in members {
            // `pipeline.name` is the pipeline's name, `run.id` the run's id.
            let key = match (nest, key.to_ascii_lowercase().as_str()) {
                ("pipeline", "name") => "pipelineName".to_owned(),
                ("run" | "pipeline", "id" | "runid") => "runId".to_owned(),
                _ => key,
            };
            body.entry(key).or_insert(value);
        }
    }
    body
}
