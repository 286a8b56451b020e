//! Http and ApiConnection actions: from inputs to a request, its retries, and an outcome.
//!
//! Only hosts that the simulator was told about are reached; any other is written down and refused, so
//! that a test can prove that a playbook talks to nobody else. Redirects are never followed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::actions::duration;
use super::definition::Action;
use super::engine::{Engine, Outcome};
use super::expression::ExpressionError;
use super::history::RunStatus;
use super::{PlaybookFault, World, functions, lock};
use crate::outgoing::{self, Reply};

/// What the service waits for an answer; shorter here, for tests.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that could not even be made.
struct Refusal(&'static str, String);

struct Call {
    method: Method,
    url: Url,
    headers: Vec<(String, String)>,
    body: Option<(Vec<u8>, &'static str)>,
}

struct RetryPolicy {
    count: u32,
    interval: TimeDelta,
    grows: bool,
}

impl Engine {
    pub(super) async fn call_out(&mut self, action: &Action) -> Result<Outcome, ExpressionError> {
        let inputs = self.evaluate(&action.inputs)?;
        let call = if action.kind == "Http" {
            http_call(&inputs)
        } else {
            connection_call(&self.world, &inputs)
        };
        let call = call.and_then(|call| authorize(&self.world, &inputs, call));
        let retry = retry_policy(&inputs);
        let outcome = match (call, retry) {
            (Ok(call), Some(retry)) => self.perform_call(&inputs, call, &retry).await,
            (Err(Refusal(code, why)), _) => Outcome::failed(inputs, code, why),
            (_, None) => Outcome::failed(
                inputs,
                "InvalidRetryPolicy",
                "the retry policy cannot be read",
            ),
        };
        Ok(outcome)
    }

    async fn perform_call(&mut self, inputs: &Value, call: Call, retry: &RetryPolicy) -> Outcome {
        let is_callback = self
            .trigger_body
            .get("callback_url")
            .and_then(Value::as_str)
            == inputs.get("uri").and_then(Value::as_str);
        let fault = if is_callback {
            self.world.take_callback_fault()
        } else {
            None
        };
        if fault == Some(PlaybookFault::CallbackLost) {
            return Outcome::done(
                inputs.clone(),
                json!({"statusCode": 200, "headers": {}, "body": {}}),
            );
        }
        let Some(url) = self.world.route(&call.url) else {
            return Outcome::failed(
                inputs.clone(),
                "HostUnknown",
                format!(
                    "the host of {} is not known to the simulator",
                    call.url.path()
                ),
            );
        };
        if fault == Some(PlaybookFault::CallbackTwice) {
            let _first = self.send(&call, &url).await;
        }
        let mut tried = 0;
        let mut interval = retry.interval;
        loop {
            let answer = self.send(&call, &url).await;
            let again = match &answer {
                Answered::Reply(reply) => matches!(reply.status, 408 | 429 | 500..),
                Answered::TooLate | Answered::Broken(_) => true,
            };
            if !again || tried >= retry.count {
                return outcome(inputs, answer);
            }
            tried += 1;
            self.pass(interval).await;
            if retry.grows {
                interval = interval * 2;
            }
        }
    }

    async fn send(&self, call: &Call, url: &Url) -> Answered {
        let mut request = self.world.http.request(call.method.clone(), url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        request = request
            .header("x-ms-workflow-run-id", &self.run_id)
            .header("x-ms-workflow-name", &self.workflow.name);
        if let Some((bytes, content_type)) = &call.body {
            if !call
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            {
                request = request.header("content-type", *content_type);
            }
            request = request.body(bytes.clone());
        }
        match tokio::time::timeout(HTTP_TIMEOUT, outgoing::send(request)).await {
            Ok(Ok(reply)) => Answered::Reply(reply),
            Ok(Err(why)) => Answered::Broken(why.to_owned()),
            Err(_) => Answered::TooLate,
        }
    }
}

enum Answered {
    Reply(Reply),
    Broken(String),
    TooLate,
}

fn outcome(inputs: &Value, answer: Answered) -> Outcome {
    let reply = match answer {
        Answered::Reply(reply) => reply,
        Answered::Broken(why) => return Outcome::failed(inputs.clone(), "HttpRequestFailed", why),
        Answered::TooLate => {
            let late = Outcome::failed(
                inputs.clone(),
                "ActionResponseTimedOut",
                "the host did not answer in time",
            );
            return Outcome {
                status: RunStatus::TimedOut,
                ..late
            };
        }
    };
    let headers: Map<String, Value> = reply
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                json!(String::from_utf8_lossy(value.as_bytes())),
            )
        })
        .collect();
    let text = String::from_utf8_lossy(&reply.body);
    let is_json = headers
        .get("content-type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.contains("json"));
    let body = match serde_json::from_str::<Value>(&text) {
        Ok(body) if is_json => body,
        _ if text.is_empty() => Value::Null,
        _ => json!(text),
    };
    let outputs = json!({"statusCode": reply.status, "headers": headers, "body": body});
    if reply.status < 400 {
        return Outcome::done(inputs.clone(), outputs);
    }
    let failed = Outcome::failed(
        inputs.clone(),
        code_of(reply.status),
        format!("the host answered {}", reply.status),
    );
    Outcome { outputs, ..failed }
}

fn code_of(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalServerError",
        502 => "BadGateway",
        503 => "ServiceUnavailable",
        504 => "GatewayTimeout",
        _ => "ActionFailed",
    }
}

fn http_call(inputs: &Value) -> Result<Call, Refusal> {
    let uri = inputs
        .get("uri")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let url = Url::parse(uri)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or_else(|| {
        Refusal(
            "InvalidUri",
            "the uri is not an absolute http(s) address".to_owned(),
        )
    })?;
    call(inputs, url, str::to_owned)
}

/// A managed connector: its path is one of the service behind it, `x-ms-api-version` is its `api-version`.
fn connection_call(world: &World, inputs: &Value) -> Result<Call, Refusal> {
    let connection = inputs
        .pointer("/host/connection/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let api = connection.rsplit('/').next().unwrap_or_default();
    let host = world.connections.get(api);
    let host = host.ok_or_else(|| {
        Refusal(
            "ConnectionNotFound",
            format!("there is no API connection '{api}'"),
        )
    })?;
    let path = inputs
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let url = Url::parse(&format!("{}{path}", host.trim_end_matches('/')));
    let url = url.map_err(|_| {
        Refusal(
            "InvalidUri",
            "the path of the connection is not valid".to_owned(),
        )
    })?;
    let mut call = call(inputs, url, |name| {
        if name == "x-ms-api-version" {
            "api-version".to_owned()
        } else {
            name.to_owned()
        }
    })?;
    call.headers.push((
        "authorization".to_owned(),
        format!("Bearer {}", world.token(host)),
    ));
    Ok(call)
}

fn call(
    inputs: &Value,
    mut url: Url,
    query_name: impl Fn(&str) -> String,
) -> Result<Call, Refusal> {
    let method = inputs
        .get("method")
        .and_then(Value::as_str)
        .unwrap_or("GET")
        .to_uppercase();
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Refusal("InvalidMethod", "no such method".to_owned()))?;
    let queries = inputs.get("queries").and_then(Value::as_object);
    for (name, value) in queries.into_iter().flatten() {
        url.query_pairs_mut()
            .append_pair(&query_name(name), &query_text(value));
    }
    let headers = inputs
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let headers = headers
        .map(|(name, value)| (name.clone(), functions::text_of(value)))
        .collect();
    let body = match inputs.get("body") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some((text.clone().into_bytes(), "text/plain")),
        Some(other) => Some((other.to_string().into_bytes(), "application/json")),
    };
    Ok(Call {
        method,
        url,
        headers,
        body,
    })
}

/// In a query, booleans are written small.
fn query_text(value: &Value) -> String {
    value
        .as_bool()
        .map_or_else(|| functions::text_of(value), |yes| yes.to_string())
}

fn authorize(world: &World, inputs: &Value, mut call: Call) -> Result<Call, Refusal> {
    let Some(authentication) = inputs.get("authentication") else {
        return Ok(call);
    };
    let text = |name: &str| {
        authentication
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let value = match text("type") {
        "ManagedServiceIdentity" if !text("audience").is_empty() => {
            format!("Bearer {}", world.token(text("audience")))
        }
        "Basic" => format!(
            "Basic {}",
            BASE64.encode(format!("{}:{}", text("username"), text("password")))
        ),
        "Raw" if !text("value").is_empty() => text("value").to_owned(),
        _ => {
            return Err(Refusal(
                "InvalidAuthentication",
                "the authentication of the action is not complete".to_owned(),
            ));
        }
    };
    call.headers.push(("authorization".to_owned(), value));
    Ok(call)
}

fn retry_policy(inputs: &Value) -> Option<RetryPolicy> {
    let Some(policy) = inputs.get("retryPolicy") else {
        return Some(RetryPolicy {
            count: 4,
            interval: TimeDelta::milliseconds(7_500),
            grows: true,
        });
    };
    let interval = policy
        .get("interval")
        .and_then(Value::as_str)
        .and_then(duration);
    let count = policy
        .get("count")
        .and_then(Value::as_u64)
        .and_then(|count| u32::try_from(count).ok());
    match policy
        .get("type")
        .and_then(Value::as_str)?
        .to_lowercase()
        .as_str()
    {
        "none" => Some(RetryPolicy {
            count: 0,
            interval: TimeDelta::zero(),
            grows: false,
        }),
        "fixed" => Some(RetryPolicy {
            count: count?,
            interval: interval?,
            grows: false,
        }),
        "exponential" => Some(RetryPolicy {
            count: count?,
            interval: interval?,
            grows: true,
        }),
        _ => None,
    }
}

impl World {
    /// The address behind a host that the definitions name; unknown ones are written down.
    fn route(&self, url: &Url) -> Option<Url> {
        let origin = url.origin().ascii_serialization();
        let Some(target) = self.hosts.get(&origin) else {
            lock(&self.strangers).push(origin);
            return None;
        };
        let mut routed = target.clone();
        routed.set_path(url.path());
        routed.set_query(url.query());
        Some(routed)
    }

    fn token(&self, audience: &str) -> &str {
        self.tokens
            .get(audience.trim_end_matches('/'))
            .map_or("simulated", String::as_str)
    }

    fn take_callback_fault(&self) -> Option<PlaybookFault> {
        let mut faults = lock(&self.run_faults);
        let at = faults
            .iter()
            .position(|fault| *fault != PlaybookFault::GatewayTimeout)?;
        faults.remove(at)
    }
}
