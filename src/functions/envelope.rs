//! The JSON envelope of queue and timer triggers, with the host's encoding oddities.
//!
//! `Data.<binding>` of a queue message is the text JSON-encoded twice; a tolerant decoder takes once-encoded
//! texts and embedded objects as well. `Metadata` is not used: properties of a JSON message are merged over it.
//!
//! Messages are JSON as they are (`messageEncoding` is `none`). Those that an older version left in a queue are a JSON
//! object in base64: they are read as well.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::wire::Response;

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Data", default)]
    data: Map<String, Value>,
}

/// The text of the queue message in an envelope.
pub fn queue_text(body: &[u8]) -> Option<String> {
    let text = enclosed(body)?;
    Some(of_older_version(&text).unwrap_or(text))
}

/// Objects only: four letters may be base64 of a number.
fn of_older_version(text: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64.decode(text.trim()).ok()?).ok()?;
    let object = serde_json::from_str::<Map<String, Value>>(&decoded).is_ok();
    object.then_some(decoded)
}

fn enclosed(body: &[u8]) -> Option<String> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    match envelope.data.into_iter().next()?.1 {
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(Value::String(inner)) => Some(inner),
            _ => Some(text),
        },
        Value::Null => None,
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(other.to_string())
        }
    }
}

/// The answer the host demands: a JSON object, never an empty 2xx (that hangs).
pub fn done() -> Response {
    Response::json(
        StatusCode::OK,
        &json!({"Outputs": {}, "Logs": [], "ReturnValue": null}),
    )
}

/// The invocation failed: the host delivers the message again.
pub fn failed(reason: &str) -> Response {
    Response::json(
        StatusCode::INTERNAL_SERVER_ERROR,
        &json!({"Outputs": {}, "Logs": [reason], "ReturnValue": null}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_hosts_send() {
        let golden = br#"{"Data":{"queue":"\"hello!!\""},"Metadata":{"DequeueCount":"1"}}"#;
        assert_eq!(queue_text(golden).as_deref(), Some("hello!!"));
        let message = r#"{"kind":"failure","ticket":"ADF-20251212T100000-abc123"}"#;
        let twice = serde_json::to_string(message).unwrap();
        let body = json!({"Data": {"item": twice}, "Metadata": {}}).to_string();
        assert_eq!(queue_text(body.as_bytes()).as_deref(), Some(message));
        let once = json!({"Data": {"item": message}}).to_string();
        assert_eq!(queue_text(once.as_bytes()).as_deref(), Some(message));
        let object = json!({"Data": {"item": {"a": 1}}}).to_string();
        assert_eq!(queue_text(object.as_bytes()).as_deref(), Some(r#"{"a":1}"#));
        let old = json!({"Data": {"item": json!(BASE64.encode(message)).to_string()}}).to_string();
        assert_eq!(queue_text(old.as_bytes()).as_deref(), Some(message));
        for no_message in ["aGVsbG8=", "IDEN", "bnVsbA=="] {
            let body = json!({"Data": {"item": json!(no_message).to_string()}}).to_string();
            assert_eq!(queue_text(body.as_bytes()).as_deref(), Some(no_message));
        }
        assert_eq!(queue_text(b"{}"), None);
        assert_eq!(queue_text(b"no json"), None);
    }
}
