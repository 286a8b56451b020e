//! Every vendor payload has its expected outcome beside it, in `tests/fixtures/expected/<name>.json`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use aiops_rca::failure::Failure;
use aiops_rca::sources::rows::{self, Origin};
use aiops_rca::sources::{Malformed, Parsed};
use serde_json::{Value, json};

use super::{DOORS, Parser, assert_lawful};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Name and content of every vendor payload, read once.
pub(super) fn payloads() -> &'static [(String, Vec<u8>)] {
    static PAYLOADS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let entries = std::fs::read_dir(root().join("vendor"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let payloads = entries.filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        });
        let mut found: Vec<(String, Vec<u8>)> = payloads
            .map(|path| {
                (
                    path.file_stem().unwrap().to_string_lossy().into_owned(),
                    std::fs::read(&path).unwrap(),
                )
            })
            .collect();
        found.sort();
        found
    });
    assert!(PAYLOADS.len() >= 100, "the vendor payloads are gone");
    &PAYLOADS
}

/// The payloads that are sent to one of our doors and are small enough to be mutated often.
pub(super) fn small_inbound() -> Vec<&'static (String, Vec<u8>)> {
    payloads()
        .iter()
        .filter(|(name, body)| door(name).is_some() && body.len() < 20_000)
        .collect()
}

/// The door a payload is sent to, by its name; `None` for what vendors never send to us.
pub(super) fn door(name: &str) -> Option<(&'static str, Parser)> {
    let door = match name {
        name if name.starts_with("azmon-") => "azure-monitor",
        name if name.starts_with("dbx-webhook-") => "databricks-monitor",
        name if name.starts_with("airflow") && name.contains("-callback") => "airflow-monitor",
        _ => return None,
    };
    DOORS.into_iter().find(|(known, _)| *known == door)
}

#[test]
fn every_payload_at_its_door_means_what_is_written_beside_it() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (name, body) in payloads() {
        let Some((path, parse)) = door(name) else {
            continue;
        };
        seen += 1;
        let parsed = parse(body);
        assert_lawful(name, &parsed);
        let mut outcome = outcome(&parsed);
        outcome["door"] = json!(path);
        compare(name, &outcome, &mut wrong);
    }
    assert!(seen >= 30, "only {seen} inbound payloads");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_answer_of_log_analytics_means_what_is_written_beside_it() {
    let mut wrong = Vec::new();
    for (name, body) in payloads() {
        if !name.starts_with("loganalytics-") || name.contains("-http-") {
            continue;
        }
        let answer: Value = serde_json::from_slice(body).unwrap();
        let readings: Vec<Value> = rows::tables(&answer)
            .iter()
            .map(|table| match rows::read(table, &Origin::default(), None) {
                None => json!("neither platform"),
                Some((of, reading)) => json!({
                    "rows_of": of,
                    "failures": reading.failures.iter().map(shown).collect::<Vec<_>>(),
                    "skipped": reading.skipped,
                    "unusable": reading.unusable,
                }),
            })
            .collect();
        compare(name, &json!({ "tables": readings }), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_alert_means_the_same_at_both_doors() {
    for (name, body) in payloads()
        .iter()
        .filter(|(name, _)| name.starts_with("azmon-"))
    {
        let [azure, databricks] = [DOORS[0].1, DOORS[1].1].map(|parse| parse(body));
        // What is no alert at all is refused by each door in its own words.
        if let (Ok(azure), Ok(databricks)) = (&azure, &databricks) {
            assert_eq!(azure, databricks, "{name}");
        } else {
            assert_eq!(azure.is_ok(), databricks.is_ok(), "{name}");
        }
    }
}

#[test]
fn no_payload_of_any_vendor_breaks_any_door() {
    for (name, body) in payloads() {
        for (path, parse) in DOORS {
            assert_lawful(&format!("{name} at {path}"), &parse(body));
        }
    }
}

#[test]
fn expectations_without_a_payload_are_noticed() {
    let names: Vec<&String> = payloads().iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(root().join("expected")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            names.contains(&&name),
            "no payload belongs to {}",
            path.display()
        );
    }
}

fn compare(name: &str, actual: &Value, wrong: &mut Vec<String>) {
    let expected = std::fs::read(root().join(format!("expected/{name}.json")));
    let mut expected: Value =
        expected.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    digest_keys(&mut expected);
    if expected == *actual {
        return;
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("actual-{name}.json"));
    let text = serde_json::to_string_pretty(actual).unwrap();
    std::fs::write(&place, format!("{text}\n")).unwrap();
    wrong.push(format!(
        "{name}: expected {expected}\n  actual is in {}:\n{text}",
        place.display()
    ));
}

/// The expectations name the runs; a failure carries digests only.
fn digest_keys(expected: &mut Value) {
    match expected {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(key) if name == "key" && key.contains('|') => {
                        *key = super::key_of(key).to_string();
                    }
                    other => digest_keys(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(digest_keys),
        _ => {}
    }
}

fn outcome(parsed: &Result<Parsed, Malformed>) -> Value {
    match parsed {
        Ok(Parsed::Failures(failures)) => {
            json!({ "outcome": "failures", "failures": failures.iter().map(shown).collect::<Vec<_>>() })
        }
        Ok(Parsed::NeedsRows(request)) => json!({ "outcome": "needs_rows", "request": request }),
        Ok(Parsed::Ignored(reason)) => json!({ "outcome": "ignored", "reason": reason }),
        Err(malformed) => {
            json!({ "outcome": "malformed", "code": malformed.code, "message": malformed.message, "path": malformed.path })
        }
    }
}

/// A failure as it is written beside its payload: everything, the message by its head.
fn shown(failure: &Failure) -> Value {
    let mut value = serde_json::to_value(failure).unwrap();
    value["message"] = json!(failure.message.chars().take(160).collect::<String>());
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    value
}
