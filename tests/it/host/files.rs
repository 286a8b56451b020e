//! What the host reads from the app's files, and what it refuses (2).

use std::path::Path;

use aiops_rca::local::console::Console;
use aiops_rca::local::host::Settings;
use aiops_rca::local::host::manifest::{App as Manifest, AuthLevel, Trigger};
use serde_json::{Value, json};

use super::support::App;

fn settings() -> Settings {
    Settings::from([("STORAGE_PREFIX".to_owned(), "rca".to_owned())])
}

fn read(app: &App) -> Result<Manifest, String> {
    Manifest::read(app.path(), &settings()).map_err(|error| error.to_string())
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_files_are_accepted_as_they_are() {
    let app = Manifest::read(checkout(), &settings()).unwrap();
    let lines: Vec<String> = app
        .functions
        .iter()
        .map(|function| match &function.trigger {
            Trigger::Http(http) => format!(
                "{} {:?} {} {:?}",
                function.name,
                http.methods,
                http.route.text(),
                http.lock
            ),
            Trigger::Queue(queue) => format!("{} {} {}", function.name, queue.queue, queue.binding),
            Trigger::Timer(timer) => format!(
                "{} {} {}",
                function.name,
                timer.schedule.text(),
                timer.binding
            ),
        })
        .collect();
    insta::assert_snapshot!("shipped_functions", lines.join("\n"));
    assert_eq!(app.host.handler.executable_name, "aiops-rca");
    assert!(app.host.forwards_http && app.host.proxies_http && !app.host.queues.base64);
    assert_eq!(
        (
            app.host.route_prefix.as_str(),
            app.host.queues.max_dequeue_count
        ),
        ("", 5)
    );
}

#[test]
fn the_table_at_the_start() {
    let mut app = Manifest::read(checkout(), &settings()).unwrap();
    app.root = "/app".into();
    let table = Console::plain().table(&app, |path| format!("http://localhost:7071/{path}"));
    insta::assert_snapshot!("table_of_functions", table);
}

#[test]
fn host_json_is_refused_as_the_host_refuses_it() {
    let app = App::new().http("F", "f", &["get"], "anonymous");
    let refused = |change: &dyn Fn(&mut Value), says: &str| {
        app.host_json(|document| change(document));
        let error = read(&app).unwrap_err();
        assert!(error.contains(says), "{error}");
    };
    refused(&|document| document["version"] = json!("1.0"), "2.0");
    refused(
        &|document| drop(document.as_object_mut().unwrap().remove("customHandler")),
        "customHandler",
    );
    refused(
        &|document| {
            drop(
                document["customHandler"]
                    .as_object_mut()
                    .unwrap()
                    .remove("description"),
            );
        },
        "description",
    );
    refused(
        &|document| document["customHandler"]["description"]["defaultExecutablePath"] = json!(""),
        "defaultExecutablePath",
    );
    refused(
        &|document| document["extensions"]["queues"]["batchSize"] = json!(33),
        "batchSize",
    );
    refused(
        &|document| document["extensions"]["queues"]["messageEncoding"] = json!("rot13"),
        "rot13",
    );
    refused(
        &|document| document["functionTimeout"] = json!("soon"),
        "soon",
    );
    std::fs::write(app.path().join("host.json"), "{\"version\": \"2.0\",}").unwrap();
    assert!(read(&app).is_err(), "strict JSON only");
    std::fs::remove_file(app.path().join("host.json")).unwrap();
    assert!(read(&app).unwrap_err().contains("host.json"));
}

#[test]
fn functions_are_in_error_as_they_are_for_the_host() {
    let http = |route: &str| json!([{"type": "httpTrigger", "direction": "in", "name": "req", "route": route}, {"type": "http", "direction": "out", "name": "res"}]);
    let refused = |name: &str, bindings: &Value, says: &str| {
        let app = App::new()
            .function(name, bindings)
            .http("Other", "other", &[], "anonymous");
        let app = read(&app).unwrap();
        assert_eq!(app.functions.len(), 1, "the host goes on with the others");
        let [(in_error, why)] = app.in_error.as_slice() else {
            panic!("{:?}", app.in_error)
        };
        assert!(in_error == name && why.contains(says), "{why}");
    };
    refused("1st", &http("a"), "function name");
    refused("host", &http("a"), "function name");
    refused("F", &json!([]), "trigger");
    refused(
        "F",
        &json!([{"type": "httpTrigger", "direction": "in", "name": "my_req"}]),
        "my_req",
    );
    refused(
        "F",
        &json!([{"type": "httpTrigger", "direction": "in", "name": "req"}]),
        "exactly one output",
    );
    refused(
        "F",
        &json!([{"type": "blobTrigger", "direction": "in", "name": "blob"}]),
        "blobTrigger",
    );
    refused("F", &http("Administrators/x"), "reserved");
    refused("F", &http("runtime"), "reserved");
    refused("F", &http("a/{b"), "route");
    refused(
        "F",
        &json!([{"type": "queueTrigger", "direction": "in", "name": "item", "queueName": "%NOPE%-x"}]),
        "NOPE",
    );
    refused(
        "F",
        &json!([{"type": "timerTrigger", "direction": "in", "name": "timer", "schedule": "* * * * *"}]),
        "schedule",
    );
    let twins = App::new().http("A", "same", &["get"], "anonymous").http(
        "B",
        "Same",
        &["get", "post"],
        "anonymous",
    );
    assert!(read(&twins).unwrap_err().contains("also that of B"));
}

#[test]
fn only_folders_directly_below_the_root_count_unless_it_is_a_checkout() {
    let nested = App::new().http("functions/A", "a", &[], "anonymous");
    assert_eq!(read(&nested).unwrap().functions[0].name, "A", "a checkout");
    let staged = nested.http("B", "b", &[], "anonymous");
    let names: Vec<_> = read(&staged)
        .unwrap()
        .functions
        .into_iter()
        .map(|function| function.name)
        .collect();
    assert_eq!(names, ["B"], "a staged app is not searched deeper");
    assert!(read(&App::new()).unwrap_err().contains("no function"));
}

#[test]
fn defaults_are_the_hosts() {
    let app = App::new().function("Bare", &json!([{"type": "httpTrigger", "direction": "in", "name": "req"}, {"type": "http", "direction": "out", "name": "$return"}]));
    app.host_json(|document| drop(document.as_object_mut().unwrap().remove("extensions")));
    let app = read(&app).unwrap();
    let Trigger::Http(http) = &app.functions[0].trigger else {
        panic!()
    };
    assert_eq!(
        (http.route.text(), http.lock),
        ("api/Bare", AuthLevel::Function)
    );
    assert!(http.takes("PATCH"));
    let queues = &app.host.queues;
    assert_eq!(
        (
            queues.batch_size,
            queues.new_batch_threshold,
            queues.max_dequeue_count
        ),
        (16, 8, 5)
    );
    assert_eq!(app.host.function_timeout.unwrap().as_secs(), 1800);
}

#[test]
fn settings_override_switch_off_and_name() {
    let app = App::new()
        .queue("Work", "jobs")
        .http("F", "f", &[], "anonymous");
    let mut given = settings();
    given.insert("AzureWebJobs.Work.Disabled".to_owned(), "true".to_owned());
    given.insert(
        "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath".to_owned(),
        "other".to_owned(),
    );
    let app = Manifest::read(app.path(), &given).unwrap();
    assert_eq!(app.host.handler.executable_name, "other");
    assert_eq!(
        app.enabled()
            .map(|function| function.name.as_str())
            .collect::<Vec<_>>(),
        ["F"]
    );
}
