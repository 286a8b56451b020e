//! Tolerant reading of other people's JSON, shared by the three parsers.
//!
//! In: the bytes of a body. Out: one JSON value, or where it cannot be read. Senders are scripts as often as
//! services, so what a careless one produces is repaired once, and only when the body is no JSON as it stands:
//! a byte order mark, bytes that are no UTF-8, raw control characters inside strings, lone surrogates
//! (Python's `surrogateescape`), `NaN` and `Infinity` (Python's floats), trailing NULs. Of repeated keys the
//! last one counts. Depth is limited by serde_json (128). Ids are read exactly, never through a float that
//! could round them. This file knows no vendor's field names.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Unexpected, Visitor};
use serde_json::Value;

use super::Malformed;
use crate::redaction::clean;

use crate::digest::sha256;
use crate::tolerant;

/// The body as one JSON object.
pub(super) fn document(body: &[u8]) -> Result<Value, Malformed> {
    let value = decode(body)?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Malformed {
        code: "wrong_type",
        message: "a JSON object is expected".to_owned(),
        path: String::new(),
    })
}

/// Reads a typed shape out of a value that sits at `place`; the path of what did not fit is kept, its content is not.
pub(super) fn typed<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, Malformed> {
    read::<Object<T>>(value, place).map(Object::into_inner)
}

/// Reads one text that sits at `place`.
pub(super) fn text_at(value: &Value, place: &str) -> Result<Text, Malformed> {
    read(value, place)
}

fn read<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match (place, inner.as_str()) {
            (place, ".") => place.to_owned(),
            ("", inner) => inner.to_owned(),
            (place, inner) => format!("{place}.{inner}"),
        };
        let text = error.into_inner().to_string();
        let expected = text
            .rsplit_once("expected ")
            .map_or("another type", |(_, expected)| expected);
        Malformed {
            code: "wrong_type",
            message: format!("a value has the wrong type, expected {expected}"),
            path,
        }
    })
}

/// A body that is sound JSON and says nothing we could act upon.
pub(super) fn nothing_usable(message: &str, path: &str) -> Malformed {
    Malformed {
        code: "nothing_usable",
        message: message.to_owned(),
        path: path.to_owned(),
    }
}

/// A stable id for a message that carries none.
pub(super) fn digest(value: &Value) -> String {
    let hash = sha256(value.to_string());
    format!("body:{}", hash.get(..24).unwrap_or(&hash))
}

/// A part of an idempotency key: short texts as they are, long ones by their digest.
pub(super) fn key_part(text: &str) -> Cow<'_, str> {
    if text.len() <= 256 {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(sha256(text))
    }
}

/// A member of an object by its name, without regard to case; the exact spelling wins.
pub(super) fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let object = value.as_object()?;
    let found = object.get(name).or_else(|| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    });
    found.filter(|value| !value.is_null())
}

/// A member, then a member of that, and so on.
pub(super) fn reach<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter()
        .try_fold(value, |value, name| member(value, name))
}

/// The text of a scalar; objects, arrays and words that mean "nothing" have none.
pub(super) fn scalar(value: &Value) -> Option<String> {
    tolerant::scalar(value).filter(|text| !is_nothing(text))
}

/// The text of anything: scalars as [`scalar`], lists of lines joined, objects as JSON.
pub(super) fn prose(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let lines: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            Some(lines.join("\n")).filter(|text| !clean(text).trim().is_empty())
        }
        Value::Array(items) if items.is_empty() => None,
        Value::Object(members) if members.is_empty() => None,
        Value::Array(_) | Value::Object(_) => Some(value.to_string()),
        _ => scalar(value),
    }
}

/// JSON that travels inside a string, as Azure's tables hold it; an object is taken as it is.
pub(super) fn embedded(value: &Value) -> Option<Value> {
    match value {
        Value::Object(_) => Some(value.clone()),
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).ok()
        }
        _ => None,
    }
}

/// Words that senders write for "nothing": stringified nulls of Python, JSON and pandas; and what nobody can see.
pub(super) fn is_nothing(text: &str) -> bool {
    matches!(
        clean(text).trim(),
        "" | "None"
            | "none"
            | "null"
            | "NULL"
            | "Null"
            | "nan"
            | "NaN"
            | "NaT"
            | "undefined"
            | "\"\""
            | "''"
    )
}

/// An optional text that may come as a string, a number or a boolean; anything else is a wrong type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(Option<String>);

impl Text {
    /// The text, unless it is absent, empty or a word for nothing.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text as an owned value.
    pub(super) fn owned(&self) -> Option<String> {
        self.0.clone()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = |found| D::Error::invalid_type(found, &"text or a number");
        match Value::deserialize(deserializer)? {
            Value::Array(_) => Err(wrong(Unexpected::Seq)),
            Value::Object(_) => Err(wrong(Unexpected::Map)),
            other => Ok(Self(scalar(&other))),
        }
    }
}

/// A struct that comes as a JSON object and as nothing else: derived readers would take an array by position.
#[derive(Debug, Clone, Default)]
pub(super) struct Object<T>(T);

impl<T> Object<T> {
    /// What was read.
    pub(super) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

fn decode(body: &[u8]) -> Result<Value, Malformed> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let strict = match serde_json::from_slice(body) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(body);
    if let Ok(value) = serde_json::from_str(&repaired(text.trim_matches(['\0', '\u{feff}']))) {
        return Ok(value);
    }
    let message = if body.iter().all(u8::is_ascii_whitespace) {
        "the body is empty".to_owned()
    } else {
        format!(
            "the body is not JSON (line {}, column {})",
            strict.line(),
            strict.column()
        )
    };
    Err(Malformed {
        code: "not_json",
        message,
        path: String::new(),
    })
}

/// The same text with the slips of hand-made JSON put right; sound JSON comes out unchanged in meaning.
fn repaired(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_string = false;
    while let Some(first) = rest.chars().next() {
        let (piece, used) = if in_string {
            inside(rest, first, &mut in_string)
        } else {
            outside(rest, first, &mut in_string)
        };
        out.push_str(&piece);
        rest = rest.get(used..).unwrap_or_default();
    }
    out
}

fn outside<'t>(rest: &'t str, first: char, in_string: &mut bool) -> (Cow<'t, str>, usize) {
    for word in ["-Infinity", "Infinity", "NaN"] {
        if rest.starts_with(word) {
            return (Cow::Borrowed("null"), word.len());
        }
    }
    *in_string = first == '"';
    head(rest, first.len_utf8())
}

fn inside<'t>(rest: &'t str, first: char, in_string: &mut bool) -> (Cow<'t, str>, usize) {
    match first {
        '"' => {
            *in_string = false;
            head(rest, 1)
        }
        '\\' => escape(rest),
        control if control.is_ascii_control() => {
            (Cow::Owned(format!("\\u{:04x}", u32::from(control))), 1)
        }
        other => head(rest, other.len_utf8()),
    }
}

/// One escape sequence at the start of `rest`; half a surrogate pair becomes the replacement character.
fn escape(rest: &str) -> (Cow<'_, str>, usize) {
    let unit = |at: usize| -> Option<u32> {
        let sequence = rest.get(at..at + 6)?;
        u32::from_str_radix(sequence.strip_prefix("\\u")?, 16).ok()
    };
    match unit(0) {
        Some(0xD800..=0xDBFF) if matches!(unit(6), Some(0xDC00..=0xDFFF)) => head(rest, 12),
        Some(0xD800..=0xDFFF) => (Cow::Borrowed("\\ufffd"), 6),
        Some(_) => head(rest, 6),
        None => head(rest, 1 + rest.chars().nth(1).map_or(0, char::len_utf8)),
    }
}

fn head(rest: &str, length: usize) -> (Cow<'_, str>, usize) {
    (Cow::Borrowed(rest.get(..length).unwrap_or(rest)), length)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn slips_of_hand_made_json_are_repaired() {
        for (body, expected) in [
            (&b"\xef\xbb\xbf{\"a\":1}"[..], json!({"a": 1})),
            (
                b"{\"a\":NaN,\"b\":-Infinity,\"c\":\"NaN \\\" NaN\"}",
                json!({"a": null, "b": null, "c": "NaN \" NaN"}),
            ),
            (
                b"{\"a\":\"\\udce9t\\u00e9 \\ud83d\\ude00\"}",
                json!({"a": "\u{fffd}t\u{e9} \u{1f600}"}),
            ),
            (b"{\"a\":\"x\ny\0z\"}", json!({"a": "x\ny\0z"})),
            (b"{\"a\":\"caf\xe9\"}", json!({"a": "caf\u{fffd}"})),
            (b"{\"a\":1}\0\0", json!({"a": 1})),
            (b"{\"a\":1,\"a\":2}", json!({"a": 2})),
        ] {
            assert_eq!(
                document(body).unwrap(),
                expected,
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn what_is_no_object_says_why() {
        assert_eq!(document(b"").unwrap_err().code, "not_json");
        assert_eq!(document(b"{\"a\":\"\\").unwrap_err().code, "not_json");
        assert_eq!(document(b"[1]").unwrap_err().code, "wrong_type");
        let bomb = "{\"a\":".repeat(100_000);
        assert_eq!(document(bomb.as_bytes()).unwrap_err().code, "not_json");
    }

    #[test]
    fn whole_numbers_stay_exact() {
        assert_eq!(
            scalar(&json!(9_223_372_036_854_775_807_i64)).unwrap(),
            "9223372036854775807"
        );
        assert_eq!(
            scalar(&json!(204_354_054_874_177.0)).unwrap(),
            "204354054874177"
        );
        assert_eq!(scalar(&json!(" None ")), None);
    }

    #[test]
    fn wrong_types_name_the_path_and_never_the_content() {
        #[derive(Debug, Deserialize)]
        struct Inner {
            #[expect(dead_code, reason = "only its type matters here")]
            id: Text,
        }
        #[derive(Debug, Deserialize)]
        struct Outer {
            #[expect(dead_code, reason = "only its type matters here")]
            run: Object<Inner>,
        }
        let error = typed::<Outer>(&json!({"run": {"id": ["top secret"]}}), "").unwrap_err();
        assert_eq!(error.path, "run.id");
        assert_eq!(
            typed::<Inner>(&json!({"id": {}}), "data.run")
                .unwrap_err()
                .path,
            "data.run.id"
        );
        assert!(!error.message.contains("secret"), "{error}");
        assert_eq!(
            typed::<Outer>(&json!({"run": ["1"]}), "")
                .unwrap_err()
                .message,
            "a value has the wrong type, expected an object"
        );
        let error =
            typed::<Outer>(&json!({"run": "a secret that was expected here"}), "").unwrap_err();
        assert!(!error.message.contains("secret"), "{error}");
    }
}
