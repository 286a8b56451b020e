//! What the host makes of a handler's answer to a queue or timer call.
//!
//! Pure. Comes in: status, headers and body. Goes out: success with what the handler gave back, a
//! failure with its reason, or a *hang*: the host waits for a result that an empty 2xx never sets, until
//! the function's timeout kills the handler. It does not know the function.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::manifest::QueueOutput;

/// The host's judgement.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Done.
    Success(Answer),
    /// Failed: the message will be tried again.
    Failure(String),
    /// Azure would wait for the timeout, then kill the handler; the reason says what was empty.
    Hang(&'static str),
}

/// What the handler gave back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// `Outputs` by binding name.
    pub outputs: Map<String, Value>,
    /// `Logs`.
    pub logs: Vec<String>,
    /// `ReturnValue`.
    pub return_value: Value,
}

/// Judges an answer. `content_length` is the header's value, `None` for a chunked answer.
pub fn judge(
    status: u16,
    content_type: Option<&str>,
    content_length: Option<u64>,
    body: &[u8],
) -> Verdict {
    if !(200..300).contains(&status) {
        return Verdict::Failure(format!("the handler answered {status}"));
    }
    if status == 204 || content_length == Some(0) {
        return Verdict::Hang("the answer is a 2xx without a body");
    }
    let media_type = content_type
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    match media_type.as_deref() {
        Some("application/json" | "text/json") => {}
        Some(other) => {
            return Verdict::Failure(format!(
                "the answer's content type is {other}, must be application/json"
            ));
        }
        None => {
            return Verdict::Failure(
                "the answer has no content type, must be application/json".to_owned(),
            );
        }
    }
    // .NET reads past a byte order mark, and stops at the end of the first value.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Verdict::Hang("the answer's body is empty");
    }
    let first = serde_json::Deserializer::from_slice(body)
        .into_iter()
        .next();
    match first.unwrap_or(Ok(Value::Null)) {
        Ok(Value::Null) => Verdict::Hang("the answer's body is null"),
        Ok(Value::Object(members)) => read(members).map_or_else(Verdict::Failure, Verdict::Success),
        Ok(_) => Verdict::Failure("the answer is no JSON object".to_owned()),
        Err(error) => Verdict::Failure(format!(
            "the answer is no JSON (line {}, column {})",
            error.line(),
            error.column()
        )),
    }
}

fn read(members: Map<String, Value>) -> Result<Answer, String> {
    let mut answer = Answer::default();
    for (name, value) in members {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("outputs", Value::Object(outputs)) => answer.outputs = outputs,
            ("outputs" | "logs", Value::Null) => {}
            ("outputs", _) => return Err("Outputs is no object".to_owned()),
            ("logs", Value::Array(logs)) => {
                answer.logs = logs.into_iter().map(log_line).collect::<Result<_, _>>()?;
            }
            ("logs", _) => return Err("Logs is no array".to_owned()),
            ("returnvalue", value) => answer.return_value = value,
            _ => {}
        }
    }
    Ok(answer)
}

fn log_line(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => {
            Err("Logs holds something that is no text".to_owned())
        }
    }
}

impl Answer {
    /// The messages this answer puts into a queue, as bytes before encoding: an array is several, a text
    /// that happens to be base64 is *decoded* unless the binding is binary, an object is its JSON.
    pub fn messages_for(&self, output: &QueueOutput) -> Vec<Vec<u8>> {
        let value = if output.binding == "$return" {
            Some(&self.return_value)
        } else {
            self.outputs.get(&output.binding)
        };
        match value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| message(value, output.binary))
                .collect(),
            Some(value) => vec![message(value, output.binary)],
        }
    }
}

fn message(value: &Value, binary: bool) -> Vec<u8> {
    match value {
        Value::String(text) if binary => text.clone().into_bytes(),
        Value::String(text) => BASE64
            .decode(text)
            .unwrap_or_else(|_| text.clone().into_bytes()),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");

    fn failure(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Failure(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_row_of_the_hosts_table() {
        assert_eq!(
            judge(200, JSON, None, b"{}"),
            Verdict::Success(Answer::default())
        );
        assert_eq!(
            judge(299, Some("text/json"), Some(2), b"{}"),
            Verdict::Success(Answer::default())
        );
        assert!(failure(&judge(500, JSON, None, b"{}")).contains("500"));
        assert!(failure(&judge(302, JSON, None, b"{}")).contains("302"));
        assert!(failure(&judge(200, Some("text/plain"), Some(2), b"{}")).contains("text/plain"));
        assert!(failure(&judge(200, None, Some(2), b"{}")).contains("no content type"));
        assert!(failure(&judge(200, None, None, b"")).contains("no content type"));
        assert!(failure(&judge(200, JSON, None, b"{")).contains("no JSON"));
        assert!(failure(&judge(200, JSON, None, b"\"ok\"")).contains("no JSON object"));
        assert!(failure(&judge(200, JSON, None, b"[]")).contains("no JSON object"));
        for read in [&b"\xef\xbb\xbf{}"[..], b"{} trailing", b" {}"] {
            assert_eq!(
                judge(200, JSON, None, read),
                Verdict::Success(Answer::default())
            );
        }
        assert!(matches!(judge(204, None, None, b""), Verdict::Hang(_)));
        assert!(matches!(
            judge(200, Some("text/plain"), Some(0), b""),
            Verdict::Hang(_)
        ));
        assert!(matches!(judge(200, JSON, None, b" "), Verdict::Hang(_)));
        assert!(matches!(judge(200, JSON, None, b"null"), Verdict::Hang(_)));
    }

    #[test]
    fn members_are_read_whatever_their_case() {
        let body =
            json!({"outputs": {"a": 1}, "LOGS": ["x", 2, null], "returnValue": "r", "Other": []})
                .to_string();
        let Verdict::Success(answer) = judge(200, JSON, None, body.as_bytes()) else {
            panic!("failed")
        };
        assert_eq!(answer.logs, ["x", "2", ""]);
        assert_eq!(answer.outputs["a"], 1);
        assert_eq!(answer.return_value, "r");
        for wrong in [
            json!({"Outputs": []}),
            json!({"Logs": "x"}),
            json!({"Logs": [{}]}),
        ] {
            assert!(
                matches!(
                    judge(200, JSON, None, wrong.to_string().as_bytes()),
                    Verdict::Failure(_)
                ),
                "{wrong}"
            );
        }
    }

    #[test]
    fn texts_that_look_like_base64_are_decoded_unless_binary() {
        let output = |binding: &str, binary| QueueOutput {
            binding: binding.to_owned(),
            queue: "q".to_owned(),
            binary,
        };
        let answer = Answer {
            outputs: Map::from_iter([("out".to_owned(), json!(["test", "hello!", {"a": 1}]))]),
            logs: Vec::new(),
            return_value: json!("dGVzdA=="),
        };
        let mangled = BASE64.decode("test").unwrap();
        assert_eq!(
            answer.messages_for(&output("out", false)),
            [mangled, b"hello!".to_vec(), b"{\"a\":1}".to_vec()]
        );
        assert_eq!(answer.messages_for(&output("out", true))[0], b"test");
        assert_eq!(
            answer.messages_for(&output("$return", false)),
            [b"test".to_vec()]
        );
        assert!(answer.messages_for(&output("Out", false)).is_empty());
    }
}
