//! The document at `/api/openapi.json` says what the code does. `tests/real/run openapi` tries it on the running app.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;

use aiops_rca::failure::Source;
use aiops_rca::functions::routes::{ACTIONS, DOCUMENT, Route};
use aiops_rca::ticket::{Priority, RemediationState, Status};
use serde_json::{Value, json};

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn it_has_every_call_and_no_other() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, calls)| {
            let methods = calls.as_object().unwrap().keys();
            methods.map(move |method| (method.to_ascii_uppercase(), path.clone()))
        })
        .collect();
    let served = Route::ALL.into_iter().flat_map(|route| {
        let (method, path) = route.template();
        let paths = match route {
            Route::Change | Route::IncidentChange => ACTIONS
                .map(|action| path.replace("{action}", action))
                .to_vec(),
            _ => vec![path.to_owned()],
        };
        paths.into_iter().map(move |path| (method.to_owned(), path))
    });
    assert_eq!(described, served.collect::<BTreeSet<_>>());
}

/// Every reference of a document leads somewhere, and every schema is used.
#[test]
fn references_and_schemas_are_each_others() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let known: BTreeSet<String> = schemas
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    assert_eq!(found, known);
}

#[test]
fn it_lists_the_values_of_the_code() {
    let document = document();
    let listed = |name: &str| document["components"]["schemas"][name]["enum"].clone();
    assert_eq!(listed("Source"), json!(Source::ALL));
    assert_eq!(
        listed("Status"),
        json!([Status::Open, Status::InProgress, Status::Acknowledged])
    );
    assert_eq!(
        listed("Priority"),
        json!([Priority::P1, Priority::P2, Priority::P3, Priority::P4])
    );
    let states = listed("RemediationState");
    assert!(
        states
            .as_array()
            .unwrap()
            .iter()
            .all(|state| { serde_json::from_value::<RemediationState>(state.clone()).is_ok() })
    );
}
