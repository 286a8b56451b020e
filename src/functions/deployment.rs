//! Does the Functions host run our functions? It says nothing when it does not: this room looks itself.
//!
//! In: the app settings and the folder of the deployed package. Out: what keeps a function from being called, each with
//! the name of the setting or file to correct. A host that cannot resolve `%STORAGE_PREFIX%`, or that finds a function
//! switched off or in error, goes on with the others: doors answer "accepted", and nothing is ever analysed. HTTP
//! functions that are off are reported; without a queue or timer function the app is *degraded*.
//!
//! Settings change only with a restart, files only with a deployment: looking once, at the start, is enough.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::{Door, Trigger};

/// The setting that every queue's name begins with.
pub const PREFIX: &str = "STORAGE_PREFIX";
/// Set by the Functions host for its handler: the folder that holds `host.json`.
pub const ROOT: &str = "FUNCTIONS_APP_ROOT_PATH";
/// The connection of every queue function.
const CONNECTION: &str = "AzureWebJobsStorage";

/// Something that keeps functions from being called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// The setting or the file to correct.
    pub name: String,
    /// What is wrong, and which functions it stops.
    pub text: String,
    /// Is anything of the app's own work stopped: a queue or a timer?
    pub degrades: bool,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// Everything that keeps functions from being called. `root`: the folder that holds `host.json`, where it is known.
pub fn idle(settings: &BTreeMap<String, String>, root: Option<&Path>) -> Vec<Idle> {
    let mut found: Vec<Idle> = prefix(settings).into_iter().collect();
    for door in Door::ALL {
        let (name, trigger) = (door.name(), door.trigger());
        let degrades = !matches!(trigger, Trigger::Http { .. });
        found.extend(switched_off(name, settings).map(|setting| Idle {
            name: setting.to_owned(),
            text: format!("switches {name} off: remove it"),
            degrades,
        }));
    }
    if let Some(root) = root {
        found.extend(in_files(settings, root));
    }
    found
}

/// Blank counts as missing: `-failures` is no queue name.
fn prefix(settings: &BTreeMap<String, String>) -> Option<Idle> {
    let given = settings
        .get(PREFIX)
        .is_some_and(|value| !value.trim().is_empty());
    (!given).then(|| Idle {
        name: PREFIX.to_owned(),
        text: format!(
            "is not set: the Functions host cannot resolve %{PREFIX}% and calls none of {}",
            names(|trigger| matches!(trigger, Trigger::Queue(_)))
        ),
        degrades: true,
    })
}

fn names(which: impl Fn(&Trigger) -> bool) -> String {
    let names: Vec<&str> = Door::ALL
        .into_iter()
        .filter(|door| which(&door.trigger()))
        .map(Door::name)
        .collect();
    names.join(", ")
}

/// The setting that switches a function off, spelled as it was found.
fn switched_off<'s>(function: &str, settings: &'s BTreeMap<String, String>) -> Option<&'s str> {
    let names = [
        format!("AzureWebJobs.{function}.Disabled"),
        format!("AzureWebJobs_{function}_Disabled"),
    ];
    settings
        .iter()
        .find(|(name, value)| {
            names.iter().any(|known| known.eq_ignore_ascii_case(name)) && is_true(value)
        })
        .map(|(name, _)| name.as_str())
}

fn is_true(value: &str) -> bool {
    let value = value.trim();
    value == "1" || value.eq_ignore_ascii_case("true")
}

fn in_files(settings: &BTreeMap<String, String>, root: &Path) -> Vec<Idle> {
    let mut found = Vec::new();
    let everything = |name: &str, text: String| Idle {
        name: name.to_owned(),
        text,
        degrades: true,
    };
    let host = match read(&root.join("host.json")) {
        Ok(host) => host,
        Err(why) => return vec![everything("host.json", format!("{why}: no function runs"))],
    };
    let allowed = host.get("functions").and_then(Value::as_array);
    let staged = Door::ALL
        .iter()
        .any(|door| root.join(door.name()).join("function.json").is_file());
    for door in Door::ALL {
        let (name, trigger) = (door.name(), door.trigger());
        let degrades = !matches!(trigger, Trigger::Http { .. });
        if allowed.is_some_and(|list| !list.iter().any(|one| one.as_str() == Some(name))) {
            found.push(Idle {
                name: "host.json".to_owned(),
                text: format!("its list `functions` does not hold {name}"),
                degrades,
            });
            continue;
        }
        let file = if staged {
            format!("{name}/function.json")
        } else {
            format!("functions/{name}/function.json")
        };
        let wrong = match read(&root.join(&file)) {
            Ok(document) => wrong_with(&document, &trigger, settings),
            Err(why) => Some(why),
        };
        found.extend(wrong.map(|why| Idle {
            name: file,
            text: format!("{why}: {name} is not called"),
            degrades,
        }));
    }
    found
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::NotFound {
            "is missing"
        } else {
            "cannot be read"
        };
        why.to_owned()
    })?;
    // Editors of some systems begin a file with a byte order mark.
    serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("is not JSON (line {})", error.line()))
}

/// What the host would stumble over; `None` when the function is called as [`Door`] says.
fn wrong_with(
    document: &Value,
    trigger: &Trigger,
    settings: &BTreeMap<String, String>,
) -> Option<String> {
    if document.get("disabled") == Some(&Value::Bool(true)) {
        return Some("has \"disabled\": true".to_owned());
    }
    let Some(bindings) = document.get("bindings").and_then(Value::as_array) else {
        return Some("has no list of bindings".to_owned());
    };
    let text = |binding: &Value, name: &str| {
        binding
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    for binding in bindings {
        let name = text(binding, "name");
        let letters = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric());
        if !letters && name != "$return" {
            return Some(format!("`{name}` is no name of a binding"));
        }
    }
    let inputs: Vec<&Value> = bindings
        .iter()
        .filter(|binding| text(binding, "direction").eq_ignore_ascii_case("in"))
        .collect();
    let [input] = inputs.as_slice() else {
        return Some(format!("needs one trigger, has {}", inputs.len()));
    };
    let kind = text(input, "type");
    let is = |wanted: &str| kind.eq_ignore_ascii_case(wanted);
    match trigger {
        Trigger::Queue(queue) if is("queueTrigger") => wrong_queue(input, queue, settings, text),
        Trigger::Timer(_) if is("timerTrigger") => {
            let schedule = text(input, "schedule");
            (schedule.split_whitespace().count() != 6)
                .then(|| format!("its schedule is `{schedule}`, must have six fields"))
        }
        Trigger::Http { route, .. } if is("httpTrigger") => {
            let given = text(input, "route");
            (given != *route).then(|| format!("its route is `{given}`, must be `{route}`"))
        }
        Trigger::Queue(_) => Some(format!("its trigger is `{kind}`, must be queueTrigger")),
        Trigger::Timer(_) => Some(format!("its trigger is `{kind}`, must be timerTrigger")),
        Trigger::Http { .. } => Some(format!("its trigger is `{kind}`, must be httpTrigger")),
    }
}

fn wrong_queue(
    input: &Value,
    queue: &str,
    settings: &BTreeMap<String, String>,
    text: impl Fn(&Value, &str) -> String,
) -> Option<String> {
    let connection = text(input, "connection");
    if !connection.is_empty() && connection != CONNECTION {
        return Some(format!(
            "its connection is `{connection}`, must be {CONNECTION}"
        ));
    }
    let name = text(input, "queueName");
    // Without the setting there is one line about it already.
    let prefix = settings.get(PREFIX).map(|prefix| prefix.trim());
    let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else {
        return (name != format!("%{PREFIX}%-{queue}"))
            .then(|| format!("it reads the queue `{name}`, must read `%{PREFIX}%-{queue}`"));
    };
    let resolved = name.replace(&format!("%{PREFIX}%"), prefix);
    (!resolved.eq_ignore_ascii_case(&format!("{prefix}-{queue}")))
        .then(|| format!("it reads the queue `{name}`, must read `%{PREFIX}%-{queue}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn checkout() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn the_shipped_files_keep_nothing_idle() {
        for prefix in ["rca", "Dev1"] {
            let given = settings(&[(PREFIX, prefix)]);
            assert_eq!(idle(&given, Some(checkout())), []);
            assert_eq!(idle(&given, None), []);
        }
    }

    #[test]
    fn a_missing_prefix_is_one_line_that_names_it() {
        for given in [settings(&[]), settings(&[(PREFIX, " ")])] {
            let [line] = idle(&given, Some(checkout())).try_into().unwrap();
            assert_eq!(line.name, PREFIX);
            assert!(
                line.degrades && line.text.contains("AnalyseFailure"),
                "{line}"
            );
        }
    }

    #[test]
    fn functions_that_settings_switch_off_are_named() {
        let off = |name: &str, value: &str| {
            let found = idle(&settings(&[(PREFIX, "rca"), (name, value)]), None);
            found
                .into_iter()
                .map(|idle| (idle.name, idle.degrades))
                .collect::<Vec<_>>()
        };
        for (name, value, degrades) in [
            ("AzureWebJobs.DeliverTicket.Disabled", "true", true),
            ("AzureWebJobs_Sweep_Disabled", "1", true),
            ("azurewebjobs.recordpoisonfailure.disabled", "True", true),
            ("AzureWebJobs.Dashboard.Disabled", "true", false),
        ] {
            assert_eq!(off(name, value), [(name.to_owned(), degrades)]);
        }
        assert_eq!(off("AzureWebJobs.DeliverTicket.Disabled", "false"), []);
        assert_eq!(off("AzureWebJobs.Deliver.Disabled", "true"), []);
    }

    /// The app with one file changed, and what is said about it.
    fn with(file: &str, text: Option<&str>) -> Vec<Idle> {
        let app = tempfile::tempdir().unwrap();
        let from = checkout();
        std::fs::copy(from.join("host.json"), app.path().join("host.json")).unwrap();
        for name in Door::ALL.map(Door::name) {
            let folder = app.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            let shipped = from.join("functions").join(name).join("function.json");
            std::fs::copy(shipped, folder.join("function.json")).unwrap();
        }
        match text {
            Some(text) => std::fs::write(app.path().join(file), text).unwrap(),
            None => std::fs::remove_file(app.path().join(file)).unwrap(),
        }
        idle(&settings(&[(PREFIX, "rca")]), Some(app.path()))
    }

    #[test]
    fn wrong_files_are_named() {
        let queue = |binding: &str| format!(r#"{{"bindings": [{binding}]}}"#);
        let right = r#"{"type":"queueTrigger","direction":"in","name":"item","queueName":"%STORAGE_PREFIX%-failures","connection":"AzureWebJobsStorage"}"#;
        let file = "AnalyseFailure/function.json";
        assert_eq!(with(file, Some(&queue(right))), []);
        assert_eq!(with(file, Some(&format!("\u{feff}{}", queue(right)))), []);
        let wrong = [
            None,
            Some(String::new()),
            Some("{".to_owned()),
            Some("{}".to_owned()),
            Some(queue("")),
            Some(queue(&[right, right].join(","))),
            Some(queue(&right.replace("queueTrigger", "blobTrigger"))),
            Some(queue(&right.replace("-failures", "-failure"))),
            Some(queue(&right.replace("%STORAGE_PREFIX%", "%PREFIX%"))),
            Some(queue(&right.replace("AzureWebJobsStorage", "Other"))),
            Some(queue(&right.replace(r#""item""#, r#""my_item""#))),
            Some(queue(right).replacen('{', r#"{"disabled": true, "#, 1)),
        ];
        for text in wrong {
            let found = with(file, text.as_deref());
            let [line] = found.as_slice() else {
                panic!("{text:?}: {found:?}")
            };
            assert!(line.name == file && line.degrades, "{text:?}: {line}");
        }
        let sweep = with(
            "Sweep/function.json",
            Some(
                r#"{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"* * * * *"}]}"#,
            ),
        );
        assert!(
            matches!(sweep.as_slice(), [line] if line.degrades),
            "{sweep:?}"
        );
        let health = with("Health/function.json", Some("{}"));
        assert!(
            matches!(health.as_slice(), [line] if !line.degrades),
            "{health:?}"
        );
        let listed = with(
            "host.json",
            Some(r#"{"version":"2.0","functions":["AnalyseFailure"]}"#),
        );
        assert_eq!(listed.len(), Door::ALL.len() - 1);
        assert!(matches!(with("host.json", None).as_slice(), [line] if line.degrades));
    }
}
