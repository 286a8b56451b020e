//! The shipped definitions as texts: what no run can show.

use serde_json::Value;
use simulators::logic_app::SHIPPED;

/// Every action of a definition, however deep, with its name.
fn actions(definition: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, found: &mut Vec<(String, Value)>) {
        let Some(object) = value.as_object() else {
            return;
        };
        for (key, inner) in object {
            if key == "actions" {
                for (name, action) in inner.as_object().unwrap() {
                    found.push((name.clone(), action.clone()));
                    walk(action, found);
                }
            } else if matches!(key.as_str(), "else" | "default" | "cases")
                || inner.get("case").is_some()
            {
                walk(inner, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(definition, &mut found);
    found
}

fn shipped() -> impl Iterator<Item = (&'static str, Value)> {
    SHIPPED
        .iter()
        .map(|(name, text)| (*name, serde_json::from_str(text).unwrap()))
}

#[test]
fn every_call_hides_its_inputs_and_outputs_and_signs_in_by_identity() {
    for (playbook, definition) in shipped() {
        let calls: Vec<_> = actions(&definition)
            .into_iter()
            .filter(|(_, action)| action["type"] == "Http")
            .collect();
        assert!(calls.len() > 3, "{playbook}");
        for (name, action) in calls {
            let secured = &action["runtimeConfiguration"]["secureData"]["properties"];
            assert_eq!(
                *secured,
                serde_json::json!(["inputs", "outputs"]),
                "{playbook}.{name}"
            );
            let uri = action["inputs"]["uri"].as_str().unwrap();
            let is_callback = uri == "@triggerBody()?['callback_url']";
            // Airflow has no Entra sign-in: its password comes from the vault, by identity.
            let is_airflow = uri.starts_with("@{parameters('airflowHost')}");
            assert!(
                is_callback || uri.starts_with("@{parameters('"),
                "{playbook}.{name}: the host is no parameter: {uri}"
            );
            let identity = action["inputs"]["authentication"]["type"] == "ManagedServiceIdentity";
            assert_eq!(identity, !is_callback && !is_airflow, "{playbook}.{name}");
        }
        let trigger = &definition["triggers"]["manual"];
        assert_eq!(
            trigger["runtimeConfiguration"]["secureData"]["properties"],
            serde_json::json!(["inputs", "outputs"]),
            "{playbook}"
        );
        assert!(
            trigger["runtimeConfiguration"]["concurrency"]["runs"]
                .as_u64()
                .unwrap()
                <= 10,
            "{playbook}"
        );
        assert_eq!(
            trigger["operationOptions"], "EnableSchemaValidation",
            "{playbook}"
        );
    }
}

#[test]
fn loops_are_bounded_and_what_must_not_be_repeated_has_no_retries() {
    let mut acting = 0;
    for (playbook, definition) in shipped() {
        for (name, action) in actions(&definition) {
            if action["type"] == "Until" {
                assert!(
                    action["limit"]["count"].as_u64().unwrap() <= 110,
                    "{playbook}.{name}"
                );
                assert!(action["limit"]["timeout"].is_string(), "{playbook}.{name}");
            }
            let uri = action["inputs"]["uri"].as_str().unwrap_or_default();
            if [
                "/createRun",
                "/runs/repair",
                "/clusters/restart",
                "/clusters/start",
                "/clusters/update",
            ]
            .iter()
            .any(|part| uri.ends_with(part))
            {
                acting += 1;
                assert_eq!(
                    action["inputs"]["retryPolicy"]["type"], "none",
                    "{playbook}.{name}"
                );
            }
            if uri.ends_with("/run-now") {
                assert!(
                    definition.to_string().contains("idempotency_token"),
                    "{playbook}"
                );
            }
        }
    }
    assert_eq!(acting, 11);
}

#[test]
fn no_secret_parameter_and_no_connection_is_needed() {
    for (playbook, definition) in shipped() {
        for (name, parameter) in definition["parameters"].as_object().unwrap() {
            assert!(
                !parameter["type"].as_str().unwrap().starts_with("Secure"),
                "{playbook}.{name}"
            );
            assert!(
                !parameter["metadata"]["description"]
                    .as_str()
                    .unwrap()
                    .is_empty(),
                "{playbook}.{name}"
            );
        }
    }
}
