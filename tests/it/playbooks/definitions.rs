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

/// How every loop's condition ends.
const THE_END: &str = ", greater(ticks(utcNow()), ticks(addMinutes(triggerBody()?['requested_at'], parameters('runMinutes')))))";

#[test]
fn a_playbook_has_ended_before_its_attempt_is_given_up() {
    let minutes = |name: &str| -> i64 {
        let found = aiops_rca::config::SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .unwrap();
        found.default.parse().unwrap()
    };
    for (playbook, definition) in shipped() {
        let runs = definition["parameters"]["runMinutes"]["defaultValue"]
            .as_i64()
            .unwrap();
        assert_eq!(
            runs + 15,
            minutes("REMEDIATION_DEADLINE_MINUTES"),
            "{playbook}"
        );
    }
    // And where another deadline is deployed.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let main = std::fs::read_to_string(root.join("infra/main.bicep")).unwrap();
    assert!(main.contains("runMinutes: remediationDeadlineMinutes - 15"));
    assert!(main.contains("REMEDIATION_DEADLINE_MINUTES: string(remediationDeadlineMinutes)"));
}

/// learn.microsoft.com/azure/logic-apps/logic-apps-limits-and-configuration: nesting of actions, 8.
#[test]
fn no_action_is_nested_deeper_than_the_service_takes() {
    fn depth(value: &Value) -> usize {
        let Some(object) = value.as_object() else {
            return 0;
        };
        let inner = object.iter().map(|(key, value)| {
            let below = depth(value);
            below
                + usize::from(
                    key == "actions" && value.as_object().is_some_and(|all| !all.is_empty()),
                )
        });
        inner.max().unwrap_or(0)
    }
    let depths: Vec<usize> = shipped()
        .map(|(_, definition)| depth(&definition))
        .collect();
    assert!(depths.iter().all(|depth| *depth <= 8), "{depths:?}");
    assert!(
        depths.iter().any(|depth| *depth > 6),
        "it counts: {depths:?}"
    );
}

/// A query's value is a text there; a number from a body would be refused.
#[test]
fn numbers_in_queries_are_forced_to_text() {
    let mut seen = 0;
    for (playbook, definition) in shipped() {
        for (name, action) in actions(&definition) {
            for (query, value) in action["inputs"]["queries"]
                .as_object()
                .into_iter()
                .flatten()
            {
                let value = value
                    .as_str()
                    .unwrap_or_else(|| panic!("{playbook}.{name}: {query} is no text"));
                let plain = !value.starts_with('@');
                assert!(
                    plain || value.starts_with("@string("),
                    "{playbook}.{name}: {query} = {value}"
                );
                seen += usize::from(!plain);
            }
        }
    }
    assert!(seen > 10);
}

#[test]
fn loops_are_bounded_and_what_must_not_be_repeated_has_no_retries() {
    let mut acting = 0;
    for (playbook, definition) in shipped() {
        for (name, action) in actions(&definition) {
            if action["type"] == "Until" {
                assert!(
                    action["limit"]["count"].as_u64().unwrap() <= 105,
                    "{playbook}.{name}"
                );
                let timeout = action["limit"]["timeout"].as_str().unwrap();
                assert!(
                    ["PT30M", "PT45M", "PT1H45M"].contains(&timeout),
                    "{playbook}.{name}: {timeout}"
                );
                // Whatever the loops before it took: all of them end at one time after the request.
                let until = action["expression"].as_str().unwrap();
                assert!(
                    until.starts_with("@or(") && until.ends_with(THE_END),
                    "{playbook}.{name}: {until}"
                );
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
