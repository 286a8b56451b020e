//! What the queues carry: one envelope for every task, with the trace that it belongs to.
//!
//! In: a task, or the text of a message as any version wrote it. Out: JSON that passes the XML of a queue as it is.
//! Messages are small on purpose: a failure and an alert wait in the store. The trace is taken from what is under way
//! when a message is put ([`crate::trace`]), and is under way again when it is worked on; nothing hands it on by itself.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::ticket::{Sink, TicketId};
use crate::trace::{self, Traceparent};

/// The queue of failures to analyse, by bare name.
pub const FAILURES: &str = "failures";
/// The queue of deliveries, by bare name.
pub const DELIVERIES: &str = "deliveries";
/// All queues, poison queues included, by bare name.
pub const QUEUES: [&str; 4] = [FAILURES, DELIVERIES, "failures-poison", "deliveries-poison"];

/// A message of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What is to be done.
    #[serde(flatten)]
    pub task: Task,
    /// W3C traceparent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Analyse the failure that waits for this ticket.
    Failure {
        /// The ticket's id.
        ticket: TicketId,
    },
    /// Expand the alert kept under this name.
    Rows {
        /// `rows-…`.
        row: String,
        /// How often the vendor was asked already.
        round: u32,
    },
    /// A known run was reported again. Databricks: is it a new repair? Airflow: which tasks of the run failed?
    Recheck {
        /// Whose run.
        ticket: TicketId,
    },
    /// The followers of this leader have changed.
    Gather {
        /// The leader.
        ticket: TicketId,
    },
    /// Ask the platforms what ended, before the next minute.
    Patrol,
    /// Bring a sink up to date. It names no kind: it was the only task of its queue.
    #[serde(untagged)]
    Delivery(Delivery),
}

/// Bring this sink of this ticket up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which ticket.
    pub ticket: TicketId,
    /// Which sink.
    pub sink: Sink,
    /// How often it failed transiently before.
    pub attempt: u32,
}

impl Message {
    /// The task, as part of what is under way here.
    pub(super) fn here(task: Task) -> Self {
        Self {
            task,
            trace: trace::here(),
        }
    }

    /// Reads the text of a message; `None` if it is none of ours.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The text of the message: plain ASCII without `<`, `>` and `&`.
    pub(super) fn encode(&self) -> Result<String, Fault> {
        ascii_json(self).ok_or_else(|| Fault::permanent("a message could not be written as JSON"))
    }

    /// The trace that it belongs to, if it names a valid one.
    pub fn trace(&self) -> Option<Traceparent> {
        self.trace.as_deref().and_then(Traceparent::parse)
    }

    /// The delivery that it asks for, if it asks for one.
    pub(super) fn delivery(&self) -> Option<&Delivery> {
        match &self.task {
            Task::Delivery(delivery) => Some(delivery),
            Task::Failure { .. }
            | Task::Rows { .. }
            | Task::Recheck { .. }
            | Task::Gather { .. }
            | Task::Patrol => None,
        }
    }
}

impl Task {
    /// The queue it belongs to, by bare name.
    pub(super) fn queue(&self) -> &'static str {
        match self {
            Self::Failure { .. } | Self::Rows { .. } | Self::Recheck { .. } | Self::Patrol => {
                FAILURES
            }
            Self::Gather { .. } | Self::Delivery(_) => DELIVERIES,
        }
    }
}

fn ascii_json<T: Serialize>(value: &T) -> Option<String> {
    struct Plain;
    impl serde_json::ser::Formatter for Plain {
        fn write_string_fragment<W: std::io::Write + ?Sized>(
            &mut self,
            writer: &mut W,
            fragment: &str,
        ) -> std::io::Result<()> {
            for c in fragment.chars() {
                if matches!(c, ' '..='~') && !matches!(c, '<' | '>' | '&') {
                    write!(writer, "{c}")?;
                } else {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
            Ok(())
        }
    }
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Plain);
    value.serialize(&mut serializer).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_json_that_xml_carries_as_it_is() {
        let hostile = "<b>&amp;\"\u{0}\u{7f}é\u{fffe}😱]]>";
        let text = ascii_json(&serde_json::json!({ "t": hostile })).unwrap();
        assert!(
            text.bytes()
                .all(|b| matches!(b, b' '..=b'~') && !b"<>&".contains(&b)),
            "{text}"
        );
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["t"], hostile);
    }

    #[test]
    fn messages_read_and_write_as_the_previous_version_has_them() {
        const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = "ADF-20251212T100000-abc123";
        for (stored, queue) in [
            (format!(r#"{{"kind":"failure","ticket":"{id}"}}"#), FAILURES),
            (
                format!(r#"{{"kind":"failure","ticket":"{id}","trace":"{TRACE}"}}"#),
                FAILURES,
            ),
            (
                r#"{"kind":"rows","row":"rows-1","round":4294967295}"#.to_owned(),
                FAILURES,
            ),
            (format!(r#"{{"kind":"recheck","ticket":"{id}"}}"#), FAILURES),
            (
                format!(r#"{{"ticket":"{id}","sink":"jira","attempt":3}}"#),
                DELIVERIES,
            ),
            (
                format!(r#"{{"ticket":"{id}","sink":"slack","attempt":0,"trace":"{TRACE}"}}"#),
                DELIVERIES,
            ),
        ] {
            let message = Message::decode(&stored).unwrap_or_else(|| panic!("{stored}"));
            assert_eq!(message.task.queue(), queue, "{stored}");
            assert_eq!(message.encode().unwrap(), stored);
            assert_eq!(message.trace().is_some(), stored.contains("trace"));
        }
        for (stored, task) in [
            (
                format!(r#"{{"more":[1],"trace":"nonsense","ticket":"{id}","kind":"failure"}}"#),
                "failure",
            ),
            (
                format!(
                    r#"{{"attempt":1,"trace":null,"sink":"jira","ticket":"{id}","more":{{}}}}"#
                ),
                "delivery",
            ),
        ] {
            let message = Message::decode(&stored).unwrap_or_else(|| panic!("{stored}"));
            assert_eq!(message.delivery().is_some(), task == "delivery");
            assert_eq!(message.trace(), None, "not valid, and no reason to lose it");
        }
        for foreign in [
            "",
            "5",
            "{}",
            r#"{"kind":"failure"}"#,
            r#"{"kind":"other","ticket":"ADF-20251212T100000-abc123"}"#,
            r#"{"ticket":"ADF-20251212T100000-abc123","sink":"fax","attempt":0}"#,
        ] {
            assert_eq!(Message::decode(foreign), None, "{foreign}");
        }
    }
}
