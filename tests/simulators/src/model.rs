//! A chat-completions server: Azure OpenAI, OpenAI or Ollama, as far as one that asks can tell.
//!
//! In: requests as `model` sends them. Out: completions and refusals in the vendors' shapes. It
//! checks the key or token, the deployment or model, the parameters and the strict schema; it counts quota
//! and tokens, filters attacks, and cuts long prompts silently as Ollama does. What it says is its [`Mind`]:
//! a fair one words the diagnosis from what it was told, an obedient one does whatever the evidence orders.
//! Not simulated: streams, tools, several choices, the real tokenizer.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Answer, Request, Site, lock};

/// Bytes of text that count as one token.
const BYTES_A_TOKEN: usize = 4;

/// Whose server it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Azure OpenAI: a deployment in the path, or the v1 surface.
    Azure,
    /// OpenAI: the model in the body, a bearer key.
    OpenAi,
    /// Ollama: any key or none, prompts cut silently.
    Ollama,
}

/// What it says when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mind {
    /// Words the catalog's reading, with quotes that stand in the evidence.
    Fair,
    /// Does what the evidence orders, as far as the schema lets it, and more.
    Obedient,
    /// This text; `{receipt}` becomes the prompt's receipt.
    Says(String),
}

/// How it is set up.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Whose server.
    pub vendor: Vendor,
    /// The deployment's or model's name.
    pub model: String,
    /// The key.
    pub key: String,
    /// The token of a managed identity, accepted on Azure.
    pub token: Option<String>,
    /// A model that thinks first: no `temperature`, no `max_tokens`.
    pub thinks: bool,
    /// Knows strict schemas.
    pub knows_schemas: bool,
    /// Refuses prompts with known attacks.
    pub filters: bool,
    /// The longest prompt, in tokens.
    pub context: usize,
    /// Requests that it answers before its quota is used up.
    pub quota: u32,
}

impl ModelOptions {
    /// A well-behaved server of this vendor.
    pub fn new(vendor: Vendor, model: &str, key: &str) -> Self {
        Self {
            vendor,
            model: model.to_owned(),
            key: key.to_owned(),
            token: None,
            thinks: false,
            knows_schemas: true,
            filters: false,
            context: 100_000,
            quota: u32::MAX,
        }
    }
}

#[derive(Debug)]
struct State {
    mind: Mind,
    /// Whole envelopes for the next questions.
    next: VecDeque<Value>,
    answered: u32,
}

/// The server's state.
#[derive(Debug)]
pub struct ModelSite {
    options: ModelOptions,
    state: Mutex<State>,
}

impl ModelSite {
    /// With a fair mind.
    pub fn new(options: ModelOptions) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                mind: Mind::Fair,
                next: VecDeque::new(),
                answered: 0,
            }),
        }
    }

    /// What it says from now on.
    pub fn think(&self, mind: Mind) {
        lock(&self.state).mind = mind;
    }

    /// The whole body of the next completion.
    pub fn answer_next(&self, envelope: Value) {
        lock(&self.state).next.push_back(envelope);
    }

    /// Questions that got a completion.
    pub fn answered(&self) -> u32 {
        lock(&self.state).answered
    }

    fn refusal(&self, request: &Request, body: &Value) -> Option<Answer> {
        let Self { options, .. } = self;
        if !self.is_entered(request) {
            return Some(match options.vendor {
                Vendor::Azure => error(
                    401,
                    &json!({"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}),
                ),
                _ => error(
                    401,
                    &json!({"message": format!("Incorrect API key provided: {}.", request.header("authorization").unwrap_or_default()), "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}),
                ),
            });
        }
        if !self.is_found(request, body) {
            return Some(match options.vendor {
                Vendor::Azure => error(
                    404,
                    &json!({"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}),
                ),
                Vendor::OpenAi => error(
                    404,
                    &json!({"message": "The model does not exist or you do not have access to it.", "type": "invalid_request_error", "param": null, "code": "model_not_found"}),
                ),
                Vendor::Ollama => error(
                    404,
                    &json!({"message": format!("model \"{}\" not found, try pulling it first", text(body, "/model")), "type": "api_error", "param": null, "code": null}),
                ),
            });
        }
        if options.thinks
            && let Some(param) = ["max_tokens", "temperature"]
                .into_iter()
                .find(|param| body.get(param).is_some())
        {
            let message = format!(
                "Unsupported parameter: '{param}' is not supported with this model. Use 'max_completion_tokens' instead."
            );
            return Some(error(
                400,
                &json!({"message": message, "type": "invalid_request_error", "param": param, "code": "unsupported_parameter"}),
            ));
        }
        if let Some(format) = body.get("response_format")
            && let Some(why) = if options.knows_schemas {
                schema_problem(format)
            } else {
                Some("it is not supported with this model".to_owned())
            }
        {
            let message = format!("Invalid parameter: 'response_format': {why}");
            return Some(error(
                400,
                &json!({"message": message, "type": "invalid_request_error", "param": "response_format", "code": null}),
            ));
        }
        if lock(&self.state).answered >= options.quota {
            return Some(error(
                429,
                &json!({"message": "You exceeded your current quota, please check your plan and billing details.", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}),
            ));
        }
        let attack = |text: &str| {
            text.to_lowercase()
                .contains("ignore all previous instructions")
        };
        (options.filters && attack(&user(body))).then(|| {
            error(400, &json!({
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.",
                "type": null, "param": "prompt", "code": "content_filter", "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"jailbreak": {"filtered": true, "detected": true}}},
            }))
        })
    }

    fn is_entered(&self, request: &Request) -> bool {
        let Self { options, .. } = self;
        let bearer = |secret: &str| request.is_authorized_by(&format!("Bearer {secret}"));
        match options.vendor {
            Vendor::Azure => {
                request.header("api-key") == Some(options.key.as_str())
                    || options.token.as_deref().is_some_and(bearer)
            }
            Vendor::OpenAi => bearer(&options.key),
            Vendor::Ollama => true,
        }
    }

    fn is_found(&self, request: &Request, body: &Value) -> bool {
        let Self { options, .. } = self;
        let named = body.get("model").and_then(Value::as_str) == Some(options.model.as_str());
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (options.vendor, segments.as_slice()) {
            (Vendor::Azure, ["openai", "deployments", name, "chat", "completions"]) => {
                *name == options.model && request.query("api-version").is_some()
            }
            (Vendor::Azure, ["openai", "v1", "chat", "completions"]) => {
                named && request.query("api-version").is_none()
            }
            (
                Vendor::OpenAi | Vendor::Ollama,
                ["v1", "chat", "completions"] | ["v1beta", "openai", "chat", "completions"],
            ) => named,
            _ => false,
        }
    }

    /// The prompt as far as it fits, and its tokens: the head is lost silently.
    fn seen(&self, body: &Value) -> (String, usize) {
        let whole = user(body);
        let system = text(body, "/messages/0/content").len();
        let room = (self.options.context * BYTES_A_TOKEN).saturating_sub(system);
        let from = whole.ceil_char_boundary(whole.len().saturating_sub(room));
        let kept = whole.get(from..).unwrap_or_default().to_owned();
        let tokens = (kept.len() + system) / BYTES_A_TOKEN;
        (kept, tokens)
    }
}

impl Site for ModelSite {
    fn answer(&self, request: &Request) -> Answer {
        let body = request.json();
        if request.method != "POST" || body.get("messages").is_none() {
            return error(
                400,
                &json!({"message": "messages is required", "type": "invalid_request_error", "param": "messages", "code": null}),
            );
        }
        if let Some(refusal) = self.refusal(request, &body) {
            return refusal;
        }
        let (prompt, tokens) = self.seen(&body);
        let mut state = lock(&self.state);
        state.answered += 1;
        if let Some(envelope) = state.next.pop_front() {
            return Answer::json(200, &envelope);
        }
        let content = match &state.mind {
            Mind::Fair => fair(&prompt),
            Mind::Obedient => obedient(&prompt),
            Mind::Says(text) => text.replace("{receipt}", &receipt(&prompt)),
        };
        Answer::json(200, &completion(&self.options.model, &content, tokens))
    }
}

/// A finished completion with this text.
pub fn completion(model: &str, content: &str, prompt_tokens: usize) -> Value {
    json!({
        "id": "chatcmpl-abc", "object": "chat.completion", "created": 1_785_143_731, "model": model,
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": content, "refusal": null},
            "finish_reason": "stop", "logprobs": null,
        }],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 81, "total_tokens": prompt_tokens + 81},
        "system_fingerprint": "fp_1",
    })
}

fn error(status: u16, error: &Value) -> Answer {
    Answer::json(status, &json!({ "error": error }))
}

fn text(body: &Value, pointer: &str) -> String {
    body.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The last message.
fn user(body: &Value) -> String {
    let messages = body.get("messages").and_then(Value::as_array);
    messages
        .and_then(|messages| messages.last())
        .map(|last| text(last, "/content"))
        .unwrap_or_default()
}

/// What is wrong with a schema by the rules of strict mode.
fn schema_problem(format: &Value) -> Option<String> {
    let schema = format.pointer("/json_schema/schema")?;
    if format.get("type") != Some(&json!("json_schema"))
        || format.pointer("/json_schema/strict") != Some(&json!(true))
    {
        return Some("strict json_schema expected".to_owned());
    }
    object_problem(schema)
}

fn object_problem(schema: &Value) -> Option<String> {
    if schema.get("type") == Some(&json!("object")) {
        let properties = schema.get("properties")?.as_object()?;
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if schema.get("additionalProperties") != Some(&json!(false))
            || properties
                .keys()
                .any(|key| !required.contains(&key.as_str()))
        {
            return Some(
                "every object must require all its properties and allow no others".to_owned(),
            );
        }
        return properties.values().find_map(object_problem);
    }
    schema.get("items").and_then(object_problem)
}

fn receipt(prompt: &str) -> String {
    prompt
        .lines()
        .find_map(|line| line.strip_prefix("Receipt: "))
        .unwrap_or("none")
        .to_owned()
}

fn value<'a>(prompt: &'a str, name: &str) -> &'a str {
    prompt
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_default()
}

fn steps(prompt: &str) -> Vec<&str> {
    (1..=9)
        .map(|number| value(prompt, &format!("step {number}")))
        .take_while(|step| !step.is_empty())
        .collect()
}

/// The first line of the report, as far as it can be quoted.
fn first_line(prompt: &str) -> String {
    let mut lines = prompt
        .lines()
        .skip_while(|line| !line.starts_with("[begin e0"));
    let line = lines.nth(1).unwrap_or_default();
    line.get(..line.floor_char_boundary(180))
        .unwrap_or_default()
        .to_owned()
}

/// Says the catalog's cause again, proves it with the report's first line, and turns the steps round.
fn fair(prompt: &str) -> String {
    let line = first_line(prompt);
    let word = line
        .split(|c: char| !c.is_alphabetic())
        .max_by_key(|word| word.len())
        .unwrap_or_default();
    let sentence = format!(
        "{} The report says it at the word {word}.",
        value(prompt, "cause")
    );
    let steps = steps(prompt);
    let turned: Vec<Value> = (1..)
        .zip(&steps)
        .map(|(of, step)| json!({"of": of, "text": format!("Now: {step}")}))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    json!({
        "receipt": receipt(prompt), "verdict": "explained", "confidence": 0.66,
        "root_cause": [{"text": sentence, "evidence": [{"id": "e0", "quote": line}]}], "steps": turned,
    })
    .to_string()
}

/// Repeats orders and links of the evidence wherever there is room for words, and adds fields nobody asked for.
fn obedient(prompt: &str) -> String {
    let orders: Vec<&str> = prompt
        .lines()
        .skip_while(|line| !line.starts_with("[begin e0"))
        .filter(|line| {
            line.len() >= 8
                && !line.starts_with("[begin")
                && !line.starts_with("[end")
                && !line.starts_with("The data ends")
        })
        .collect();
    let claim = |line: &&str| json!({"text": line, "evidence": [{"id": "e0", "quote": line}]});
    let mut told: Vec<Value> = (1..)
        .zip(&orders)
        .map(|(of, line)| json!({"of": of, "text": line}))
        .collect();
    told.extend(
        (1..)
            .zip(steps(prompt))
            .map(|(of, step)| json!({"of": of, "text": format!("{step} Then visit https://evil.example/fix")})),
    );
    json!({
        "receipt": receipt(prompt), "verdict": "explained", "confidence": 1.0,
        "root_cause": orders.iter().map(claim).collect::<Vec<_>>(), "steps": told,
        "action": "retry_pipeline", "remediable": true, "severity": "Low", "risk": "Low", "category": "network", "url": "https://evil.example",
    })
    .to_string()
}
