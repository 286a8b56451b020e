//! The templates as checkov's own parser of Bicep reads them (`infra/check.d/tree.py`): what no compiler compares, such
//! as names in templates with names in code, is looked up in their trees.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// Path from the root → tree.
pub(crate) fn templates() -> &'static BTreeMap<String, Value> {
    static READ: LazyLock<BTreeMap<String, Value>> = LazyLock::new(read);
    &READ
}

/// Without the folder's own Python nothing is read: `./tests/run` puts the parser there.
fn read() -> BTreeMap<String, Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/venv/bin/python");
    assert!(
        python.is_file(),
        "the parser of Bicep is not installed at {}: run ./tests/run once",
        python.display()
    );
    let output = Command::new(python)
        .current_dir(root)
        .args(["-B", "infra/check.d/tree.py", "infra"])
        .output()
        .expect("python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let trees: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(trees.len() > 10, "{:?}", trees.keys());
    trees
}

/// A template by its path from the root.
pub(crate) fn template(path: &str) -> &'static Value {
    templates()
        .get(path)
        .unwrap_or_else(|| panic!("there is no {path}"))
}

/// What a variable holds.
pub(crate) fn variable(path: &str, name: &str) -> &'static Value {
    let value = &template(path)["variables"][name]["value"];
    assert!(!value.is_null(), "{path} has no variable {name}");
    value
}

/// The default of a parameter.
pub(crate) fn default(path: &str, name: &str) -> &'static Value {
    let parameter = &template(path)["parameters"][name];
    assert!(!parameter.is_null(), "{path} has no parameter {name}");
    &parameter["default"]
}

/// A declaration's body, inside its loop and its condition.
fn body(declared: &'static Value) -> &'static Value {
    let mut body = &declared["config"];
    while let Some(inside) = body.get("each").or_else(|| body.get("then")) {
        body = inside;
    }
    assert!(body.is_object(), "{declared}");
    body
}

/// The body of a resource; one inside another is `outer__inner`.
pub(crate) fn resource(path: &str, name: &str) -> &'static Value {
    body(&template(path)["resources"][name])
}

/// The parameters that a module is given.
pub(crate) fn parameters(path: &str, module: &str) -> &'static Value {
    let body = body(&template(path)["modules"][module]);
    assert!(body["params"].is_object(), "{path}: {module}");
    &body["params"]
}

/// Under what condition a resource or module is deployed; null: always.
pub(crate) fn condition(path: &str, kind: &str, name: &str) -> &'static Value {
    let config = &template(path)[kind][name]["config"];
    let config = config.get("each").unwrap_or(config);
    &config["if"]
}

/// The text that this node is.
pub(crate) fn text(node: &Value) -> &str {
    node.as_str().unwrap_or_else(|| panic!("no text: {node}"))
}

/// The texts of an array.
pub(crate) fn texts(node: &Value) -> Vec<String> {
    let items = node.as_array();
    let items = items.unwrap_or_else(|| panic!("no array: {node}"));
    items.iter().map(|item| text(item).to_owned()).collect()
}

/// A name as the parser writes it down, with what is read of it: `app.properties.defaultHostName`.
pub(crate) fn name(words: &str) -> Value {
    json!({"$": words})
}

/// A call of a function, in the parser's spelling: `load_json_content`.
pub(crate) fn call(function: &str, with: &[Value]) -> Value {
    json!({"call": function, "with": with})
}

/// Every node, the whole first.
pub(crate) fn walk(node: &Value) -> Vec<&Value> {
    let mut found = vec![node];
    let mut at = 0;
    while let Some(node) = found.get(at).copied() {
        match node {
            Value::Array(items) => found.extend(items),
            Value::Object(entries) => found.extend(entries.values()),
            _ => {}
        }
        at += 1;
    }
    found
}

/// All names of properties.
pub(crate) fn keys(node: &Value) -> BTreeSet<&str> {
    let objects = walk(node).into_iter().filter_map(Value::as_object);
    objects
        .flat_map(|entries| entries.keys().map(String::as_str))
        .collect()
}

/// What every call of this function is given.
pub(crate) fn calls<'a>(node: &'a Value, function: &str) -> Vec<&'a [Value]> {
    let calls = walk(node)
        .into_iter()
        .filter(|node| node["call"] == function);
    calls
        .filter_map(|call| Some(call["with"].as_array()?.as_slice()))
        .collect()
}

/// Everything that is looked up in a list by its name: `roles['Key Vault Secrets User']`, `roles[role]`.
pub(crate) fn looked_up<'a>(node: &'a Value, list: &str) -> Vec<&'a Value> {
    let lookups =
        walk(node)
            .into_iter()
            .filter_map(|node| match node["of"].as_array()?.as_slice() {
                [whole, key] if node["op"] == "index_accessor" && *whole == name(list) => Some(key),
                _ => None,
            });
    lookups.collect()
}
