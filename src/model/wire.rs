//! The wire format of chat completions: addresses, requests, answers and refusals.
//!
//! Azure OpenAI (a deployment with `api-version`, or the `/openai/v1` surface) and everything that speaks
//! OpenAI's dialect (OpenAI, Ollama, Gemini's compatible endpoint). Vendors' field names stay in this file.
//! A vendor's own message never leaves it: it may hold a part of the key, or of the prompt.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

use super::Provider;
use super::prompt::Prompt;
use crate::fault::Fault;
use crate::http::Reply;

/// What the other side is called in reasons.
pub(super) const WHAT: &str = "the language model";
/// The first version of the API that knows strict schemas and is no preview.
const API_VERSION: &str = "2024-10-21";
/// The longest answer, in tokens.
const ANSWER_TOKENS: u32 = 1200;
/// The same for models that think first.
const THINKING_TOKENS: u32 = 6000;
/// No tokenizer puts this many letters and digits of English and logs into a token.
const LETTERS_A_TOKEN: usize = 6;

/// Where completions are asked for.
pub(super) fn address(provider: Provider, endpoint: &Url, model: &str) -> Url {
    let mut url = endpoint.clone();
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    let whole = path.ends_with("/chat/completions");
    let more: &[&str] = match provider {
        _ if whole => &[],
        Provider::OpenAiCompatible if path.is_empty() => &["v1", "chat", "completions"],
        Provider::OpenAiCompatible => &["chat", "completions"],
        Provider::AzureOpenAi if is_v1(endpoint) || path.contains("/deployments/") => {
            &["chat", "completions"]
        }
        Provider::AzureOpenAi if path.ends_with("/openai") => {
            &["deployments", model, "chat", "completions"]
        }
        Provider::AzureOpenAi => &["openai", "deployments", model, "chat", "completions"],
    };
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(more);
    }
    if provider == Provider::AzureOpenAi
        && !is_v1(endpoint)
        && !url.query_pairs().any(|(name, _)| name == "api-version")
    {
        url.query_pairs_mut()
            .append_pair("api-version", API_VERSION);
    }
    url
}

/// Azure's newer surface: the model's name is in the body, there is no `api-version`.
fn is_v1(endpoint: &Url) -> bool {
    let path = endpoint.path().trim_end_matches('/');
    path.ends_with("/openai/v1") || path.contains("/openai/v1/")
}

/// Which parameters a model takes. Found out by being refused, at most one step each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// `max_completion_tokens`, no temperature.
    pub(super) thinks: bool,
    /// Takes a schema.
    pub(super) schema: bool,
}

/// The body of a request; `schema` in the dialect only matters for a real question.
pub(super) fn body(
    provider: Provider,
    endpoint: &Url,
    model: &str,
    ask: Ask<'_>,
    dialect: Dialect,
) -> Value {
    let messages = match ask {
        Ask::Word(prompt) => json!([
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]),
        Ask::Check => json!([{"role": "user", "content": "Answer with the word ok."}]),
    };
    let mut body = json!({ "messages": messages });
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    if provider == Provider::OpenAiCompatible || is_v1(endpoint) {
        fields.insert("model".into(), model.into());
    }
    let tokens = match (ask, dialect.thinks) {
        (Ask::Word(_), false) => ANSWER_TOKENS,
        (Ask::Word(_), true) => THINKING_TOKENS,
        (Ask::Check, false) => 5,
        (Ask::Check, true) => 200,
    };
    if dialect.thinks {
        fields.insert("max_completion_tokens".into(), tokens.into());
    } else {
        fields.insert("max_tokens".into(), tokens.into());
        fields.insert("temperature".into(), 0.into());
    }
    if dialect.schema && matches!(ask, Ask::Word(_)) {
        let schema = json!({"name": "diagnosis", "strict": true, "schema": Prompt::schema()});
        fields.insert(
            "response_format".into(),
            json!({"type": "json_schema", "json_schema": schema}),
        );
    }
    body
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'a> {
    /// To word a diagnosis.
    Word(&'a Prompt),
    /// Whether it is there.
    Check,
}

/// Why a call gave no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The model does not take these parameters; another dialect may do.
    Dialect(Dialect),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn permanent<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Fault(Fault::permanent(reason)))
}

/// The text of an answer.
pub(super) fn read(
    reply: &Reply,
    dialect: Dialect,
    asked: &Prompt,
    now: DateTime<Utc>,
) -> Result<String, Refusal> {
    if !reply.is_success() {
        return Err(refusal(reply, dialect, now));
    }
    let answer: Value = reply.json(WHAT)?;
    let Some(choice) = answer
        .get("choices")
        .and_then(Value::as_array)
        .and_then(|choices| choices.first())
    else {
        return permanent(format!("{WHAT} answered without a choice"));
    };
    let message = choice.get("message").unwrap_or(&Value::Null);
    match choice.get("finish_reason").and_then(Value::as_str) {
        Some("length") => {
            return permanent(format!("{WHAT}'s answer was cut off at its length limit"));
        }
        Some("content_filter") => {
            return permanent(format!("{WHAT}'s content filter withheld the answer"));
        }
        _ => {}
    }
    if message
        .get("refusal")
        .and_then(Value::as_str)
        .is_some_and(|refusal| !refusal.trim().is_empty())
    {
        return permanent(format!("{WHAT} refused to answer"));
    }
    let seen = answer
        .pointer("/usage/prompt_tokens")
        .and_then(Value::as_u64)
        .and_then(|tokens| usize::try_from(tokens).ok());
    if let Some(seen) = seen.filter(|seen| *seen > 0)
        && seen * LETTERS_A_TOKEN < letters(asked)
    {
        return permanent(format!(
            "{WHAT} saw only the end of the prompt ({seen} tokens): raise its context window (Ollama: num_ctx)"
        ));
    }
    match text_of(message.get("content")) {
        Some(text) => Ok(text),
        None => permanent(format!("{WHAT} answered without text")),
    }
}

/// Letters and digits, repeated ones once: tokenizers make one token of a long line of dashes or zeros.
fn letters(prompt: &Prompt) -> usize {
    let count = |text: &str| {
        let changes = text
            .chars()
            .zip(text.chars().skip(1))
            .filter(|(before, c)| before != c);
        changes.filter(|(_, c)| c.is_alphanumeric()).count()
    };
    count(&prompt.system) + count(&prompt.user)
}

/// Did a short check come through? Its text does not matter.
pub(super) fn read_check(
    reply: &Reply,
    dialect: Dialect,
    now: DateTime<Utc>,
) -> Result<String, Refusal> {
    if !reply.is_success() {
        return Err(refusal(reply, dialect, now));
    }
    let answer: Value = reply.json(WHAT)?;
    match answer.get("choices").and_then(Value::as_array) {
        Some(choices) if !choices.is_empty() => Ok(String::new()),
        _ => permanent(format!("{WHAT} answered without a choice")),
    }
}

/// A text, or the text parts of a list.
fn text_of(content: Option<&Value>) -> Option<String> {
    let text = match content? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// What an error object says, as far as we act on it.
#[derive(Debug, Default)]
struct ErrorObject {
    /// `code`, `type`, `status`, and the inner codes, lower case.
    words: Vec<String>,
    param: String,
    /// Only searched for words, never shown.
    message: String,
}

impl ErrorObject {
    /// `{"error": {…}}`, `{"error": "…"}`, Gemini's `[{"error": {…}}]`, or a bare object.
    fn of(body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let value = value
            .as_array()
            .and_then(|list| list.first())
            .unwrap_or(&value);
        let error = value.get("error").unwrap_or(value);
        if let Some(message) = error.as_str() {
            return Self {
                message: message.to_lowercase(),
                ..Self::default()
            };
        }
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.to_lowercase(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let mut words: Vec<String> = ["code", "type", "status"]
            .iter()
            .map(|name| text(error.get(name)))
            .collect();
        words.push(text(error.pointer("/innererror/code")));
        let details = error.get("details").and_then(Value::as_array);
        words.extend(
            details
                .into_iter()
                .flatten()
                .map(|detail| text(detail.get("reason"))),
        );
        Self {
            words,
            param: text(error.get("param")),
            message: text(error.get("message")),
        }
    }

    fn is(&self, names: &[&str]) -> bool {
        self.words.iter().any(|word| names.contains(&word.as_str()))
    }
}

fn refusal(reply: &Reply, dialect: Dialect, now: DateTime<Utc>) -> Refusal {
    let error = ErrorObject::of(&reply.body);
    let fault = |reason: &str| Refusal::Fault(Fault::permanent(format!("{WHAT} {reason}")));
    if error.is(&["content_filter", "responsibleaipolicyviolation"]) {
        return fault(
            "did not read the prompt: its content filter takes the error text for an attack or for harmful",
        );
    }
    if error.is(&[
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
    ]) {
        return fault("is out of quota: check the plan and billing of its account");
    }
    if error.is(&["context_length_exceeded"]) {
        return fault("has too small a context window for the prompt");
    }
    if matches!(reply.status, 400 | 422)
        && let Some(next) = next_dialect(&error, dialect)
    {
        return Refusal::Dialect(next);
    }
    if error.is(&["api_key_invalid"]) {
        return fault("refused the key: check AI_API_KEY");
    }
    match reply.status {
        401 => fault(
            "answered 401: check AI_API_KEY, or give the identity the role Cognitive Services OpenAI User",
        ),
        403 => fault(
            "answered 403: the key or the identity may not use it, or its network rules refuse us",
        ),
        404 => fault(
            "answered 404: check AI_ENDPOINT and AI_MODEL (Azure: the deployment's name; Ollama: pull the model)",
        ),
        300..=399 => fault("answered with a redirect, which is not followed: check AI_ENDPOINT"),
        status => Refusal::Fault(Fault::from_status(WHAT, status, wait(reply, now))),
    }
}

/// The dialect without what was refused; `None` when the refusal was about something else.
fn next_dialect(error: &ErrorObject, dialect: Dialect) -> Option<Dialect> {
    let about = |names: &[&str]| {
        names.iter().any(|name| {
            error.param == *name || error.param.is_empty() && error.message.contains(name)
        })
    };
    if dialect.schema
        && (error.param.starts_with("response_format")
            || about(&["response_format", "schema", "additionalproperties"]))
    {
        return Some(Dialect {
            schema: false,
            ..dialect
        });
    }
    if !dialect.thinks && about(&["max_tokens", "temperature"]) {
        return Some(Dialect {
            thinks: true,
            ..dialect
        });
    }
    None
}

/// `retry-after-ms`, else Retry-After.
fn wait(reply: &Reply, now: DateTime<Utc>) -> Option<Duration> {
    let millis = reply
        .headers
        .get("retry-after-ms")
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    millis
        .map(|millis| Duration::from_millis(millis.min(3_600_000)))
        .or_else(|| reply.retry_after(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        use Provider::{AzureOpenAi as A, OpenAiCompatible as C};
        for (provider, endpoint, address_of) in [
            (
                A,
                "https://r.openai.azure.com",
                "https://r.openai.azure.com/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21",
            ),
            (
                A,
                "https://r.openai.azure.com/openai/",
                "https://r.openai.azure.com/openai/deployments/gpt%204o/chat/completions?api-version=2024-10-21",
            ),
            (
                A,
                "https://r.openai.azure.com/?api-version=2025-01-01",
                "https://r.openai.azure.com/openai/deployments/gpt%204o/chat/completions?api-version=2025-01-01",
            ),
            (
                A,
                "https://r.openai.azure.com/openai/deployments/d",
                "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            ),
            (
                A,
                "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=x",
                "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=x",
            ),
            (
                A,
                "https://r.openai.azure.com/openai/v1/",
                "https://r.openai.azure.com/openai/v1/chat/completions",
            ),
            (
                C,
                "https://api.openai.com",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                C,
                "https://api.openai.com/v1",
                "https://api.openai.com/v1/chat/completions",
            ),
            (
                C,
                "http://localhost:11434/v1/",
                "http://localhost:11434/v1/chat/completions",
            ),
            (
                C,
                "https://generativelanguage.googleapis.com/v1beta/openai",
                "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            ),
            (
                C,
                "https://gateway.example/llm/chat/completions",
                "https://gateway.example/llm/chat/completions",
            ),
        ] {
            assert_eq!(
                address(provider, &endpoint.parse().unwrap(), "gpt 4o").as_str(),
                address_of,
                "{endpoint}"
            );
        }
    }
}
