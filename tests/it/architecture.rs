//! The architecture: the order of the rooms, the purity of the core, and the doors.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use aiops_rca::functions::{Door, Trigger};
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};

mod closed;
mod code;

use code::Code;

/// Rooms that are pipes: of ours they may use only pipes above them.
const PIPES: [&str; 9] = [
    "digest",
    "tolerant",
    "fault",
    "trace",
    "http",
    "identity",
    "redaction",
    "storage",
    "telemetry",
];

fn path(relative: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The rooms in the order in which `lib.rs` declares them.
fn rooms() -> Vec<String> {
    let map = syn::parse_file(&std::fs::read_to_string(path("src/lib.rs")).unwrap()).unwrap();
    let modules = map.items.into_iter().filter_map(|item| match item {
        syn::Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    modules.collect()
}

/// `file names room`, for everything a file names that is not above its room.
fn against_the_order(rooms: &[String], files: &[Code]) -> Vec<String> {
    let place = |room: &str| rooms.iter().position(|known| known == room);
    let mut wrong = BTreeSet::new();
    for code in files.iter().filter(|code| code.file != "lib.rs") {
        let own =
            place(code.room()).unwrap_or_else(|| panic!("{} is in no room of lib.rs", code.file));
        for named in code
            .names
            .iter()
            .filter(|named| named[0] == "crate")
            .filter_map(|named| named.get(1))
        {
            let allowed = place(named).is_some_and(|room| room <= own);
            let dry = !PIPES.contains(&code.room()) || PIPES.contains(&named.as_str());
            if !(allowed && dry) {
                wrong.insert(format!("{} names {named}", code.file));
            }
        }
    }
    wrong.into_iter().collect()
}

#[test]
fn rooms_import_only_rooms_above_them() {
    let rooms = rooms();
    assert_eq!(
        rooms.get(..PIPES.len()).unwrap(),
        PIPES,
        "the pipes come first"
    );
    assert_eq!(
        against_the_order(&rooms, Code::of_library()),
        Vec::<String>::new()
    );
}

#[test]
fn the_order_is_checked_in_every_spelling() {
    let rooms = ["fault", "failure", "ticket", "sinks"].map(str::to_owned);
    for (file, text) in [
        ("failure.rs", "use crate::ticket::Ticket;"),
        ("failure.rs", "use crate::{fault::Fault, ticket};"),
        ("failure.rs", "use super::ticket::*;"),
        (
            "failure.rs",
            "pub mod inner { use super::super::sinks as s; }",
        ),
        ("failure.rs", "fn f() -> crate::ticket::Ticket { loop {} }"),
        (
            "failure.rs",
            "fn f() { let _ = vec![crate::ticket::id()]; }",
        ),
        ("failure.rs", "use crate::nowhere;"),
        ("fault.rs", "use crate::failure::Failure;"),
        (
            "ticket/store.rs",
            "impl Into<super::super::sinks::Check> for u8 {}",
        ),
    ] {
        assert_eq!(
            against_the_order(&rooms, &[Code::read(file.to_owned(), text)]).len(),
            1,
            "{file}: {text}"
        );
    }
    let fine = "use crate::{fault::Fault, failure}; use super::machine; #[cfg(test)] mod tests { use crate::sinks; }";
    assert_eq!(
        against_the_order(&rooms, &[Code::read("ticket/store.rs".to_owned(), fine)]),
        Vec::<String>::new()
    );
}

#[test]
fn siblings_are_strangers() {
    // What all siblings of a room may share.
    let shared: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "sources",
            ["alert", "json", "outcome", "rows", "time"].as_slice(),
        ),
        (
            "evidence",
            [
                "asking",
                "client",
                "collector",
                "expand",
                "linked",
                "standing",
                "values",
            ]
            .as_slice(),
        ),
        ("sinks", [].as_slice()),
    ]);
    let files = Code::of_library();
    let wings = |room: &str| {
        files
            .iter()
            .filter(|c| c.room() == room)
            .filter_map(Code::wing)
            .collect::<BTreeSet<_>>()
    };
    let mut friends = BTreeSet::new();
    for code in files {
        let (Some(shared), Some(own)) = (shared.get(code.room()), code.wing()) else {
            continue;
        };
        if shared.contains(&own) {
            continue;
        }
        for named in code
            .names
            .iter()
            .filter(|named| named[0] == "crate" && named.get(1).is_some_and(|r| r == code.room()))
        {
            let Some(other) = named.get(2).map(String::as_str) else {
                continue;
            };
            if other != own && wings(code.room()).contains(other) && !shared.contains(&other) {
                friends.insert(format!("{} names {other}", code.file));
            }
        }
    }
    assert_eq!(friends, BTreeSet::new());
}

/// The files and folders of a room, or of a folder in it, that name each other in a circle.
fn circles(files: &[Code]) -> Vec<String> {
    let modules: BTreeMap<&str, Vec<String>> = files
        .iter()
        .map(|code| (code.file.as_str(), code.module()))
        .collect();
    let mut edges: BTreeMap<(Vec<String>, String), BTreeSet<String>> = BTreeMap::new();
    for code in files {
        let own = &modules[code.file.as_str()];
        // `crate` and the rooms have their own order.
        for depth in 2..own.len() {
            let (folder, place) = (own[..depth].to_vec(), own[depth].clone());
            let named = code.names.iter().filter(|name| name.starts_with(&folder));
            let siblings = named.filter_map(|name| name.get(depth)).filter(|other| {
                let path = [folder.as_slice(), &[(*other).clone()]].concat();
                **other != place && modules.values().any(|module| module.starts_with(&path))
            });
            let siblings: BTreeSet<String> = siblings.cloned().collect();
            edges.entry((folder, place)).or_default().extend(siblings);
        }
    }
    // Whatever names nothing that is left is in no circle.
    loop {
        let left: BTreeSet<(Vec<String>, String)> = edges.keys().cloned().collect();
        let is_left =
            |folder: &[String], place: &String| left.contains(&(folder.to_vec(), place.clone()));
        edges.retain(|(folder, _), named| named.iter().any(|place| is_left(folder, place)));
        if edges.len() == left.len() {
            break;
        }
    }
    let places = edges.into_iter();
    places
        .map(|((folder, place), named)| format!("{}::{place} names {named:?}", folder.join("::")))
        .collect()
}

#[test]
fn no_files_of_a_room_name_each_other_in_a_circle() {
    assert_eq!(circles(Code::of_library()), Vec::<String>::new());
    let code = |file: &str, text: &str| Code::read(file.to_owned(), text);
    let files = [
        code("ticket/mod.rs", "mod one; mod two;"),
        code("ticket/one.rs", "use super::two::Two;"),
        code("ticket/two/mod.rs", "mod three;"),
        code("ticket/two/three.rs", "use crate::ticket::one::One;"),
    ];
    assert_eq!(circles(&files).len(), 2);
}

/// What is not pure, by the beginnings of its files' paths; everything else is, also what comes new.
const IMPURE: &[&str] = &[
    // Pipes.
    "trace.rs",
    "http.rs",
    "identity.rs",
    "storage/",
    "telemetry.rs",
    "telemetry/export.rs",
    "telemetry/settings.rs",
    // What asks vendors.
    "evidence/asking.rs",
    "evidence/client.rs",
    "evidence/collector.rs",
    "evidence/expand.rs",
    "evidence/linked.rs",
    "evidence/airflow/api.rs",
    "evidence/airflow/check.rs",
    "evidence/airflow/instances.rs",
    "evidence/airflow/mod.rs",
    "evidence/airflow/patrol.rs",
    "evidence/data_factory/api.rs",
    "evidence/data_factory/check.rs",
    "evidence/data_factory/mod.rs",
    "evidence/data_factory/patrol.rs",
    "evidence/databricks/api.rs",
    "evidence/databricks/check.rs",
    "evidence/databricks/collect.rs",
    "evidence/databricks/mod.rs",
    "evidence/databricks/patrol.rs",
    "evidence/log_analytics/mod.rs",
    "model/mod.rs",
    "model/wire.rs",
    // What keeps tickets, and what shows them.
    "ticket/store",
    "sinks/mod.rs",
    "sinks/intents.rs",
    "sinks/jira/client.rs",
    "sinks/jira/content.rs",
    "sinks/jira/creating.rs",
    "sinks/jira/check.rs",
    "sinks/jira/mod.rs",
    "sinks/jira/moving.rs",
    "sinks/jira/refusal.rs",
    "sinks/playbook/client.rs",
    "sinks/slack/answers.rs",
    "sinks/slack/check.rs",
    "sinks/slack/client.rs",
    "sinks/slack/lookup.rs",
    "sinks/slack/mod.rs",
    "sinks/teams/bot.rs",
    "sinks/teams/bot/check.rs",
    "sinks/teams/bot/lookup.rs",
    "sinks/teams/client.rs",
    "sinks/teams/mod.rs",
    "sinks/teams/workflow.rs",
    // What binds it together, and what is bound to the host, the environment and the terminal.
    "flow/",
    "functions/api.rs",
    "functions/bot_token.rs",
    "functions/deployment.rs",
    "functions/envelope.rs",
    "functions/events.rs",
    "functions/faults.rs",
    "functions/ingest.rs",
    "functions/keys.rs",
    "functions/metrics.rs",
    "functions/mod.rs",
    "functions/pages.rs",
    "functions/queues.rs",
    "functions/reader.rs",
    "functions/secure_webhook.rs",
    "functions/silences.rs",
    "functions/slack.rs",
    "functions/teams.rs",
    "functions/wire.rs",
];
/// Whole rooms at the edge.
const EDGE: [&str; 3] = ["local", "config", "commands"];

fn is_core(code: &Code) -> bool {
    !EDGE.contains(&code.room()) && !IMPURE.iter().any(|start| code.file.starts_with(start))
}

/// Everything impure that a file does.
fn impurities(code: &Code) -> Vec<String> {
    const OUTSIDE: [&[&str]; 16] = [
        &["std", "env"],
        &["std", "fs"],
        &["std", "net"],
        &["std", "process"],
        &["Utc", "now"],
        &["Local", "now"],
        &["SystemTime", "now"],
        &["Instant", "now"],
        &["thread", "sleep"],
        &["reqwest"],
        &["tokio"],
        &["warp"],
        &["rusqlite"],
        &["fastrand"],
        &["crate", "http"],
        &["crate", "storage"],
    ];
    let named = OUTSIDE
        .iter()
        .filter(|steps| code.mentions(steps))
        .map(|steps| steps.join("::"));
    named
        .chain(code.waits.iter().cloned())
        .map(|what| format!("{}: {what}", code.file))
        .collect()
}

#[test]
fn the_core_has_no_io_no_clock_and_no_environment() {
    let core: Vec<&Code> = Code::of_library()
        .iter()
        .filter(|code| is_core(code))
        .collect();
    assert!(core.len() > 100, "the core was found");
    assert_eq!(
        core.into_iter().flat_map(impurities).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
    let has_reason = |start: &&&str| {
        let files = Code::of_library().iter();
        files
            .filter(|code| code.file.starts_with(**start))
            .any(|code| !impurities(code).is_empty())
    };
    let needless: Vec<&&str> = IMPURE.iter().filter(|start| !has_reason(start)).collect();
    assert_eq!(needless, Vec::<&&str>::new(), "they are pure by now");
    for impure in [
        "async fn f() {}",
        "trait T { async fn f(); }",
        "fn f() { g(async {}) }",
        "use chrono::Utc; fn f() { let now = Utc::now(); }",
        "fn f() { let now = chrono::Local::now(); }",
        "use std::{env, fmt};",
        "fn f() { let t = format!(\"{:?}\", std::time::Instant::now()); }",
        "use crate::http::Http;",
    ] {
        assert_eq!(
            impurities(&Code::read("failure.rs".to_owned(), impure)).len(),
            1,
            "{impure}"
        );
    }
}

#[test]
fn only_config_reads_the_environment() {
    let reads = |code: &Code| {
        ["var", "var_os", "vars", "vars_os"]
            .iter()
            .any(|read| code.mentions(&["env", read]))
    };
    let readers: Vec<&str> = Code::of_library()
        .iter()
        .filter(|code| reads(code))
        .map(|code| code.file.as_str())
        .collect();
    assert_eq!(readers, ["config/mod.rs"]);
}

/// What a pattern may take, and again for each thread that uses it. A class of Unicode is some hundred states, and a repetition
/// has all of them as often as it may repeat.
const PATTERN: usize = 1 << 20;

/// The raw strings of a file that take more than [`PATTERN`] when they are read as patterns. In most files none is one.
fn large_patterns(text: &str) -> Vec<&str> {
    static RAW: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r##"(?s)\br#"(.*?)"#|\br"([^"]*)""##).unwrap());
    let raw = RAW
        .captures_iter(text)
        .filter_map(|raw| raw.get(1).or(raw.get(2)));
    raw.map(|raw| raw.as_str())
        .filter(|raw| {
            let built = RegexBuilder::new(raw).size_limit(PATTERN).build();
            matches!(built, Err(regex::Error::CompiledTooBig(_)))
        })
        .collect()
}

#[test]
fn no_pattern_takes_more_than_a_megabyte() {
    let large = [
        r#"r"\bid\b[\s:=]{1,4}([\w:.\-]{4,200})""#,
        r##"r#"['"]([A-Za-z_][\w.\-]{1,60})['"]"#"##,
    ];
    for text in large {
        assert_eq!(large_patterns(text).len(), 1, "{text}");
    }
    assert!(large_patterns(r#"r"([\w:.\-]{4,}) [^\n]{1,260} \d{1,20}""#).is_empty());
    let mut found = Vec::new();
    for code in Code::of_library() {
        let text = std::fs::read_to_string(path("src").join(&code.file)).unwrap();
        let large = large_patterns(&text);
        found.extend(large.iter().map(|raw| format!("{}: {raw}", code.file)));
    }
    assert_eq!(
        found,
        Vec::<String>::new(),
        "let the code count what repeats"
    );
}

/// Names of settings: capitals with underscores, and what stands beneath `AzureWebJobsStorage`.
fn is_setting_name(text: &str) -> bool {
    let capitals = text.contains('_')
        && text
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    capitals
        || text == "AzureWebJobsStorage"
        || text.starts_with("AzureWebJobsStorage__") && !text.contains(' ')
}

#[test]
fn every_setting_that_is_read_is_in_the_table_and_the_other_way_round() {
    let table: BTreeSet<String> = aiops_rca::config::SETTINGS
        .iter()
        .map(|setting| setting.name.to_owned())
        .collect();
    assert_eq!(
        table.len(),
        aiops_rca::config::SETTINGS.len(),
        "each is there once"
    );
    let files = Code::of_library();
    let readers = files
        .iter()
        .filter(|code| code.file.starts_with("config/") && code.file != "config/settings.rs");
    let read: BTreeSet<String> = readers
        .flat_map(|code| &code.texts)
        // A word without an underscore is a name only where the table says so.
        .filter(|text| is_setting_name(text) || table.contains(*text))
        .cloned()
        .collect();
    assert_eq!(read, table);
}

/// `function.json` of a row of the table. The host checks the keys of monitors; every other door has a lock of its own.
fn expected_bindings(door: Door) -> Value {
    let auth_level = match door {
        Door::AzureMonitor | Door::DatabricksMonitor | Door::AirflowMonitor => "function",
        _ => "anonymous",
    };
    match door.trigger() {
        Trigger::Http { route, methods } => json!({"bindings": [
            {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": auth_level, "methods": methods, "route": route},
            {"type": "http", "direction": "out", "name": "res"},
        ]}),
        Trigger::Queue(queue) => json!({"bindings": [
            {"type": "queueTrigger", "direction": "in", "name": "item", "queueName": format!("%STORAGE_PREFIX%-{queue}"),
             "connection": "AzureWebJobsStorage"},
        ]}),
        Trigger::Timer(schedule) => json!({"bindings": [
            {"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": schedule, "useMonitor": true, "runOnStartup": false},
        ]}),
    }
}

#[test]
fn the_table_and_the_folders_of_functions_agree() {
    let folders = std::fs::read_dir(path("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let rows: BTreeSet<String> = Door::ALL
        .iter()
        .map(|door| door.name().to_owned())
        .collect();
    assert_eq!(folders.collect::<BTreeSet<_>>(), rows);
    for door in Door::ALL {
        let name = door.name();
        let text =
            std::fs::read_to_string(path(&format!("functions/{name}/function.json"))).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found, expected_bindings(door), "{name}");
    }
    let host: Value =
        serde_json::from_str(&std::fs::read_to_string(path("host.json")).unwrap()).unwrap();
    assert_eq!(
        host["extensions"]["http"]["routePrefix"], "",
        "routes hold as they are written"
    );
    assert_eq!(
        host["extensions"]["queues"]["messageEncoding"], "none",
        "what is not base64 could never be read, not even from a poison queue"
    );
    assert_eq!(host["customHandler"]["enableForwardingHttpRequest"], true);
    assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true);
    let levels = host["logging"]["logLevel"].as_object().unwrap();
    let quiet = ["Warning", "Error", "Critical", "None"];
    for (category, level) in levels {
        let ours = category.starts_with("Host.") || category == "Function";
        assert!(
            ours || quiet.contains(&level.as_str().unwrap()),
            "{category}: the SDK's own requests are some 290 records a minute of an idle instance"
        );
    }
    assert!(
        levels.contains_key("default"),
        "the host's own default is Information"
    );
    assert_eq!(levels["Host.Function.Console"], "Information", "our lines");
    let timeout = host["functionTimeout"].as_str().unwrap();
    let seconds = timeout
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
    assert!(
        seconds >= 2 * aiops_rca::functions::QUEUE_DEADLINE.as_secs(),
        "no invocation may ever reach it: two that do together stop the host"
    );
}
