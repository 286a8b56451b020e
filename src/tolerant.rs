//! Reads vendors' JSON as it comes (law L12): numbers as text, text as numbers, null, parts of another shape.
//!
//! They know no vendor and never fail on well-formed JSON.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The text of a text, a number or a boolean; `None` for null and structures.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(
            number
                .as_f64()
                .filter(|_| number.is_f64())
                .map_or_else(|| number.to_string(), whole),
        ),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A float as the whole number it is, if it is one that a float can hold exactly.
fn whole(number: f64) -> String {
    // 2^53: from here on floats skip whole numbers.
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        format!("{number:.0}")
    } else {
        number.to_string()
    }
}

/// For `#[serde(deserialize_with = …)]`: a scalar of another type is read as the field's, as far as that can be; null and what
/// has another shape are as good as absent.
pub(crate) fn field<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    let written = || match &value {
        // A number or a boolean, written as text.
        Value::String(text) => serde_json::from_str(text).ok(),
        // A text, written as a number or a boolean.
        other => scalar(other).map(Value::String),
    };
    let read = T::deserialize(&value).ok();
    Ok(read
        .or_else(|| T::deserialize(&written()?).ok())
        .unwrap_or_default())
}

/// Structs of a vendor's JSON: any field may be missing, null, or of another type than it should be.
/// A list that decides what is done is not among them: it must not pass for an empty one.
macro_rules! lenient {
    ($($(#[$of_struct:meta])* struct $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(default)]
        $(#[$of_struct])*
        pub(super) struct $name {
            $(
                #[serde(deserialize_with = "crate::tolerant::field")]
                $(#[$of_field])*
                pub(super) $field: $type,
            )*
        }
    )*};
}
pub(crate) use lenient;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Value;

    lenient! {
        struct Thing {
            name: String,
            #[serde(rename = "type")]
            kind: Option<String>,
            count: Option<i64>,
            size: i64,
            good: bool,
            parts: Vec<Thing>,
            rest: Value,
        }
    }

    #[test]
    fn fields_are_read_as_far_as_they_can_be() {
        let read = |value: Value| serde_json::from_value::<Thing>(value).unwrap();
        let thing = read(json!({
            "name": 12, "type": 7, "count": " 5 ", "size": "6", "good": "true",
            "parts": [{"name": " a ", "count": 1.5, "more": 1}], "rest": {"x": [null]}
        }));
        assert_eq!(
            (thing.name.as_str(), thing.kind.as_deref()),
            ("12", Some("7"))
        );
        assert_eq!((thing.count, thing.size, thing.good), (Some(5), 6, true));
        assert_eq!(
            (thing.parts[0].name.as_str(), thing.parts[0].count),
            (" a ", None)
        );
        assert_eq!(thing.rest, json!({"x": [null]}));
        for nothing in [
            json!({}),
            json!({"name": null, "type": null, "count": null, "size": null, "good": null, "parts": null}),
            json!({"name": [1], "type": {}, "count": "five", "size": {}, "good": 2, "parts": "x"}),
        ] {
            let thing = read(nothing);
            assert_eq!((thing.name.as_str(), thing.kind), ("", None));
            assert_eq!((thing.count, thing.size, thing.good), (None, 0, false));
            assert!(thing.parts.is_empty());
        }
    }
}
