//! The JSON a queue or timer function is called with, with the host's own encoding oddities.
//!
//! Pure. Comes in: a message or a timer's state. Goes out: `{"Data":{…},"Metadata":{…}}` exactly as the
//! host writes it: texts and scalars are JSON inside a JSON string, times have whole seconds, objects
//! stay objects, keys that end in `trigger` and nulls are dropped, and the top-level properties of a
//! JSON message are merged *over* the metadata. It does not know HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::manifest::{QueueTrigger, TimerTrigger};

/// A value as the host holds it before it is written.
#[derive(Debug, Clone)]
pub enum Held {
    /// Bytes: base64, once.
    Bytes(Vec<u8>),
    /// A time: ISO text of whole seconds.
    Instant(DateTime<Utc>),
    /// Anything else: objects as they are, the rest as JSON inside a string.
    Plain(Value),
}

impl Held {
    fn text(text: &str) -> Self {
        Self::Plain(Value::String(text.to_owned()))
    }

    /// The value on the wire.
    pub fn encode(self) -> Value {
        match self {
            Self::Bytes(bytes) => Value::String(BASE64.encode(bytes)),
            Self::Instant(at) => Value::String(instant(at)),
            Self::Plain(object @ Value::Object(_)) => object,
            Self::Plain(other) => Value::String(other.to_string()),
        }
    }
}

/// What the host makes up for every call.
#[derive(Debug, Clone)]
pub struct CallIds {
    /// `sys.RandGuid`.
    pub rand_guid: uuid::Uuid,
    /// `sys.UtcNow`.
    pub utc_now: DateTime<Utc>,
}

/// What is known of a message besides its body. Without `id` and `receipt`, a call from the admin endpoint.
#[derive(Debug, Clone)]
pub struct MessageFacts {
    /// Id of the message.
    pub id: Option<String>,
    /// Receipt at the time of receive.
    pub receipt: Option<String>,
    /// How often it was received.
    pub dequeue_count: u32,
    /// When it was put.
    pub inserted_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// When it becomes visible again.
    pub next_visible_at: DateTime<Utc>,
}

/// What a timer knows about its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScheduleStatus {
    /// The last run; `None` before the first.
    pub last: Option<DateTime<Utc>>,
    /// The next one.
    pub next: DateTime<Utc>,
    /// When this was written; `None` before the first run.
    pub last_updated: Option<DateTime<Utc>>,
}

/// Call of a queue function with a text body.
pub fn queue_text(
    function: &str,
    trigger: &QueueTrigger,
    text: &str,
    facts: &MessageFacts,
    call: &CallIds,
) -> Value {
    let mut metadata = queue_metadata(function, facts, call);
    merge_properties(&mut metadata, text);
    envelope(&trigger.binding, Held::text(text), metadata)
}

/// Call of a queue function whose binding asks for bytes.
pub fn queue_bytes(
    function: &str,
    trigger: &QueueTrigger,
    body: &[u8],
    facts: &MessageFacts,
    call: &CallIds,
) -> Value {
    envelope(
        &trigger.binding,
        Held::Bytes(body.to_vec()),
        queue_metadata(function, facts, call),
    )
}

/// Call of a timer function; `status` is `None` for a timer that is not monitored.
pub fn timer(
    function: &str,
    trigger: &TimerTrigger,
    status: Option<&ScheduleStatus>,
    past_due: bool,
    call: &CallIds,
) -> Value {
    let at = |time: Option<DateTime<Utc>>| {
        time.map_or_else(|| "0001-01-01T00:00:00".to_owned(), instant)
    };
    let status = status.map_or(
        Value::Null,
        |status| json!({"Last": at(status.last), "Next": instant(status.next), "LastUpdated": at(status.last_updated)}),
    );
    let info = json!({"Schedule": {"AdjustForDST": true}, "ScheduleStatus": status, "IsPastDue": past_due});
    envelope(
        &trigger.binding,
        Held::Plain(info),
        vec![sys(function, call)],
    )
}

type Metadata = Vec<(String, Held)>;

fn queue_metadata(function: &str, facts: &MessageFacts, call: &CallIds) -> Metadata {
    let mut metadata = vec![
        (
            "DequeueCount".to_owned(),
            Held::Plain(facts.dequeue_count.into()),
        ),
        ("ExpirationTime".to_owned(), Held::Instant(facts.expires_at)),
        ("InsertionTime".to_owned(), Held::Instant(facts.inserted_at)),
        (
            "NextVisibleTime".to_owned(),
            Held::Instant(facts.next_visible_at),
        ),
    ];
    metadata.extend(
        facts
            .id
            .as_deref()
            .map(|id| ("Id".to_owned(), Held::text(id))),
    );
    metadata.extend(
        facts
            .receipt
            .as_deref()
            .map(|receipt| ("PopReceipt".to_owned(), Held::text(receipt))),
    );
    metadata.push(sys(function, call));
    metadata
}

fn sys(function: &str, call: &CallIds) -> (String, Held) {
    // .NET writes ticks: seven digits.
    let utc_now = call.utc_now.to_rfc3339_opts(SecondsFormat::Nanos, true);
    let utc_now = utc_now
        .strip_suffix("00Z")
        .map_or_else(|| utc_now.clone(), |ticks| format!("{ticks}Z"));
    let sys =
        json!({"MethodName": function, "UtcNow": utc_now, "RandGuid": call.rand_guid.to_string()});
    ("sys".to_owned(), Held::Plain(sys))
}

fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// Properties of a JSON object overwrite metadata of the same name, whatever its case; the known
/// spelling stays. Arrays and nulls are left out, scalars become text first (`true` is `True`).
fn merge_properties(metadata: &mut Metadata, text: &str) {
    let trimmed = text.trim();
    if !(trimmed.starts_with('{') && trimmed.ends_with('}')) {
        return;
    }
    let Ok(Value::Object(properties)) = serde_json::from_str(trimmed) else {
        return;
    };
    for (name, value) in properties {
        let held = match value {
            Value::Array(_) | Value::Null => continue,
            Value::Bool(flag) => Held::text(if flag { "True" } else { "False" }),
            Value::Number(number) => Held::text(&number.to_string()),
            other => Held::Plain(other),
        };
        match metadata
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(&name))
        {
            Some(known) => known.1 = held,
            None => metadata.push((name, held)),
        }
    }
}

fn envelope(binding: &str, data: Held, metadata: Metadata) -> Value {
    let kept = metadata
        .into_iter()
        .filter(|(name, _)| !name.to_ascii_lowercase().ends_with("trigger"));
    let metadata: Map<String, Value> = kept.map(|(name, held)| (name, held.encode())).collect();
    let data = Map::from_iter([(binding.to_owned(), data.encode())]);
    json!({"Data": data, "Metadata": metadata})
}
