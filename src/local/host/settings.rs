//! App settings as the host uses them: `%NAME%`, switched-off functions, overrides of `host.json`.
//!
//! Pure: settings come in as a map, because only `config` reads the environment.

use std::collections::BTreeMap;

use serde_json::Value;

/// App settings by name; the handler gets them all as environment variables.
pub type Settings = BTreeMap<String, String>;

const OVERRIDE: &str = "AzureFunctionsJobHost__";

/// Replaces every `%NAME%`; a setting that is not there is an error, as it is for a binding.
pub(super) fn resolve(text: &str, settings: &Settings) -> Result<String, String> {
    replace(text, &mut |name| {
        settings
            .get(name)
            .cloned()
            .ok_or_else(|| format!("%{name}% is no setting"))
    })
}

/// Replaces every `%NAME%`, with nothing where there is no such setting: the rule for arguments.
pub(super) fn expand(text: &str, settings: &Settings) -> String {
    replace(text, &mut |name| {
        Ok(settings.get(name).cloned().unwrap_or_default())
    })
    .unwrap_or_default()
}

/// Text between two `%` is a name when it looks like one; anything else stays.
fn replace(
    text: &str,
    value: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        match after.split_once('%') {
            Some((name, tail)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                out.push_str(&value(name)?);
                rest = tail;
            }
            _ => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// `AzureWebJobs.<Name>.Disabled`, or with underscores where dots are not possible.
pub(super) fn disabled(function: &str, settings: &Settings) -> bool {
    let names = [
        format!("AzureWebJobs.{function}.Disabled"),
        format!("AzureWebJobs_{function}_Disabled"),
    ];
    let on = |value: &String| value == "1" || value.eq_ignore_ascii_case("true");
    settings.iter().any(|(name, value)| {
        names.iter().any(|known| known.eq_ignore_ascii_case(name)) && on(value)
    })
}

/// `AzureFunctionsJobHost__a__b=v` sets `a.b` of `host.json`.
pub(super) fn override_host_json(document: &mut Value, settings: &Settings) {
    for (name, value) in settings {
        let Some(path) = name.strip_prefix(OVERRIDE) else {
            continue;
        };
        let mut place = &mut *document;
        for key in path.split("__") {
            if !place.is_object() {
                *place = Value::Object(serde_json::Map::new());
            }
            let Value::Object(members) = place else {
                return;
            };
            let known = members
                .keys()
                .find(|known| known.eq_ignore_ascii_case(key))
                .cloned();
            place = members
                .entry(known.unwrap_or_else(|| key.to_owned()))
                .or_insert(Value::Null);
        }
        // Numbers and switches keep their type, as configuration binding does.
        *place = match serde_json::from_str(value) {
            Ok(scalar @ (Value::Bool(_) | Value::Number(_))) if !place.is_string() => scalar,
            _ => Value::String(value.clone()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_between_percent_signs_are_replaced() {
        let known = settings(&[("A", "x"), ("B_2", "y")]);
        assert_eq!(resolve("%A%-%B_2%", &known).unwrap(), "x-y");
        assert_eq!(resolve("100% of %A%", &known).unwrap(), "100% of x");
        assert!(resolve("%C%", &known).is_err());
        assert_eq!(expand("--a %A% --c %C%", &known), "--a x --c ");
    }

    #[test]
    fn functions_are_switched_off_by_either_name() {
        assert!(disabled(
            "Sweep",
            &settings(&[("AzureWebJobs.Sweep.Disabled", "true")])
        ));
        assert!(disabled(
            "Sweep",
            &settings(&[("AzureWebJobs_Sweep_Disabled", "1")])
        ));
        assert!(!disabled(
            "Sweep",
            &settings(&[("AzureWebJobs.Sweep.Disabled", "false")])
        ));
        assert!(!disabled(
            "Sweep",
            &settings(&[("AzureWebJobs.Sweeper.Disabled", "true")])
        ));
    }

    #[test]
    fn host_json_values_are_overridden_by_settings() {
        let mut document =
            serde_json::json!({"customHandler": {"description": {"defaultExecutablePath": "a"}}});
        let given = settings(&[
            (
                "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath",
                "b",
            ),
            (
                "AzureFunctionsJobHost__extensions__queues__maxDequeueCount",
                "2",
            ),
            ("OTHER", "z"),
        ]);
        override_host_json(&mut document, &given);
        assert_eq!(
            document["customHandler"]["description"]["defaultExecutablePath"],
            "b"
        );
        assert_eq!(document["extensions"]["queues"]["maxDequeueCount"], 2);
    }
}
