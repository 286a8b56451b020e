//! As much of JSON Schema as request triggers and ParseJson use: type, required, properties, items, enum.

use serde_json::Value;

/// The first mismatch, in words; `None` when `value` fits.
pub(super) fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    check(schema, value, "")
}

fn check(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let here = if path.is_empty() { "the body" } else { path };
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|wanted| is(wanted, value)) {
        return Some(format!(
            "{here}: expected {} but got {}",
            types.join(" or "),
            name(value)
        ));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        return Some(format!("{here}: the value is not one of those allowed"));
    }
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    for property in required {
        if value.is_object() && value.get(property).is_none() {
            return Some(format!("{here}: required property '{property}' is missing"));
        }
    }
    for (property, inner) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(why) = value
            .get(property)
            .and_then(|value| check(inner, value, &format!("{path}.{property}")))
        {
            return Some(why);
        }
    }
    let items = schema.get("items")?;
    value
        .as_array()?
        .iter()
        .enumerate()
        .find_map(|(index, item)| check(items, item, &format!("{path}[{index}]")))
}

fn is(wanted: &str, value: &Value) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_mismatch_is_named() {
        let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "n": {"type": ["integer", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}}, "kind": {"enum": ["a", "b"]}}});
        assert_eq!(
            mismatch(
                &schema,
                &json!({"id": "x", "n": null, "tags": ["a"], "kind": "a", "extra": 1})
            ),
            None
        );
        for (value, wanted) in [
            (json!([]), "the body: expected object but got array"),
            (json!({}), "the body: required property 'id' is missing"),
            (json!({"id": 1}), ".id: expected string but got number"),
            (
                json!({"id": "x", "n": 1.5}),
                ".n: expected integer or null but got number",
            ),
            (
                json!({"id": "x", "tags": [1]}),
                ".tags[0]: expected string but got number",
            ),
            (
                json!({"id": "x", "kind": "c"}),
                ".kind: the value is not one of those allowed",
            ),
        ] {
            assert_eq!(mismatch(&schema, &value).as_deref(), Some(wanted));
        }
        assert_eq!(mismatch(&json!({}), &json!(1)), None);
    }
}
