//! The JSON a queue or timer function is called with, byte for byte as the host writes it.
//!
//! Pure. Comes in: a message or a timer's state. Goes out: `{"Data":{…},"Metadata":{…}}`: texts and scalars are JSON
//! inside a JSON string, times have whole seconds, objects stay objects, keys that end in `trigger` and nulls are
//! dropped, and the top-level properties of a JSON message are merged *over* the metadata. It does not know HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};

use super::manifest::{QueueTrigger, TimerTrigger};
use super::newtonsoft::{self, Token};

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
    /// Id of the message; without it this is a call from the admin endpoint.
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
) -> String {
    let own = facts
        .id
        .is_none()
        .then_some((trigger.binding.as_str(), text));
    let mut metadata = queue_metadata(function, facts, own, call);
    merge_properties(&mut metadata, text);
    envelope(&trigger.binding, &twice(text), metadata)
}

/// Call of a queue function whose binding asks for bytes.
pub fn queue_bytes(
    function: &str,
    trigger: &QueueTrigger,
    body: &[u8],
    facts: &MessageFacts,
    call: &CallIds,
) -> String {
    envelope(
        &trigger.binding,
        &once(&BASE64.encode(body)),
        queue_metadata(function, facts, None, call),
    )
}

/// Call of a timer function; `status` is `None` for a timer that is not monitored.
pub fn timer(
    function: &str,
    trigger: &TimerTrigger,
    status: Option<&ScheduleStatus>,
    past_due: bool,
    call: &CallIds,
) -> String {
    let at = |time: Option<DateTime<Utc>>| {
        time.map_or_else(|| "0001-01-01T00:00:00+00:00".to_owned(), ticks)
    };
    let status = status.map_or_else(
        || "null".to_owned(),
        |status| {
            format!(
                r#"{{"Last":"{}","Next":"{}","LastUpdated":"{}"}}"#,
                at(status.last),
                ticks(status.next),
                at(status.last_updated)
            )
        },
    );
    let info = format!(
        r#"{{"Schedule":{{"AdjustForDST":true}},"ScheduleStatus":{status},"IsPastDue":{past_due}}}"#
    );
    envelope(&trigger.binding, &info, vec![sys(function, call)])
}

/// Names, and values as they stand on the wire.
type Metadata = Vec<(String, String)>;

fn queue_metadata(
    function: &str,
    facts: &MessageFacts,
    own: Option<(&str, &str)>,
    call: &CallIds,
) -> Metadata {
    let known = [
        ("DequeueCount", Some(once(&facts.dequeue_count.to_string()))),
        ("ExpirationTime", Some(instant(facts.expires_at))),
        ("Id", facts.id.as_deref().map(twice)),
        ("InsertionTime", Some(instant(facts.inserted_at))),
        ("NextVisibleTime", Some(instant(facts.next_visible_at))),
        ("PopReceipt", facts.receipt.as_deref().map(twice)),
    ];
    let mut metadata: Metadata = known
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    metadata.extend(own.map(|(binding, text)| (binding.to_owned(), twice(text))));
    metadata.push(sys(function, call));
    metadata
}

fn sys(function: &str, call: &CallIds) -> (String, String) {
    let utc_now = ticks(call.utc_now).replace("+00:00", "Z");
    let sys = format!(
        r#"{{"MethodName":{},"UtcNow":"{utc_now}","RandGuid":"{}"}}"#,
        once(function),
        call.rand_guid
    );
    ("sys".to_owned(), sys)
}

/// A time of whole seconds.
fn instant(at: DateTime<Utc>) -> String {
    once(&at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// A time with .NET's ticks: seven digits, without the zeros at their end.
fn ticks(at: DateTime<Utc>) -> String {
    let fraction = format!("{:07}", at.timestamp_subsec_nanos() / 100);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}+00:00", at.format("%Y-%m-%dT%H:%M:%S"))
}

/// Properties of a JSON object overwrite metadata of the same name, whatever its case; the known
/// spelling stays. Arrays and nulls are left out, scalars become text first (`true` is `True`).
fn merge_properties(metadata: &mut Metadata, text: &str) {
    let trimmed = text.trim();
    if !(trimmed.starts_with('{') && trimmed.ends_with('}')) {
        return;
    }
    for (name, token) in newtonsoft::object(trimmed).unwrap_or_default() {
        let value = match (&token, token.told()) {
            (Token::Object(_), _) => {
                let mut object = String::new();
                token.write(&mut object);
                object
            }
            (_, Some(told)) => twice(&told),
            (_, None) => continue,
        };
        match metadata
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(&name))
        {
            Some(known) => known.1 = value,
            None => metadata.push((name, value)),
        }
    }
}

fn envelope(binding: &str, data: &str, metadata: Metadata) -> String {
    let kept: Vec<String> = metadata
        .into_iter()
        .filter(|(name, _)| !name.to_ascii_lowercase().ends_with("trigger"))
        .map(|(name, value)| format!("{}:{value}", once(&name)))
        .collect();
    format!(
        r#"{{"Data":{{{}:{data}}},"Metadata":{{{}}}}}"#,
        once(binding),
        kept.join(",")
    )
}

fn once(text: &str) -> String {
    let mut out = String::new();
    newtonsoft::write_text(text, &mut out);
    out
}

fn twice(text: &str) -> String {
    let mut out = String::new();
    newtonsoft::write_twice(text, &mut out);
    out
}
