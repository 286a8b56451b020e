//! Golden vectors of the JSON envelope (5, 11).

use aiops_rca::local::host::envelope::{self, CallIds, MessageFacts, ScheduleStatus};
use aiops_rca::local::host::manifest::{QueueTrigger, TimerTrigger};
use aiops_rca::local::host::schedule::Schedule;
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn call() -> CallIds {
    let rand_guid = "e59556b5-61c3-4d4a-a9ff-0a6a3a1e0f4e".parse().unwrap();
    CallIds {
        rand_guid,
        utc_now: at("2025-02-18T03:06:20.7562691Z"),
    }
}

/// An envelope, read.
fn read(wire: &str) -> Value {
    serde_json::from_str(wire).unwrap()
}

fn facts() -> MessageFacts {
    MessageFacts {
        id: Some("52d53c5f-0b1e-4a55-93a0-0c2f5a4b7f10".to_owned()),
        receipt: Some("MThGZW".to_owned()),
        dequeue_count: 1,
        inserted_at: at("2025-02-18T03:06:19.4Z"),
        expires_at: at("2025-02-25T03:06:19Z"),
        next_visible_at: at("2025-02-18T03:16:20.999Z"),
    }
}

fn trigger(binding: &str) -> QueueTrigger {
    QueueTrigger {
        binding: binding.to_owned(),
        queue: "q".to_owned(),
        binary: false,
    }
}

/// From a payload captured from a real host and published with a Go custom handler (2025-02).
#[test]
fn a_captured_queue_call() {
    let made = read(&envelope::queue_text(
        "queue",
        &trigger("queue"),
        "hello!!",
        &facts(),
        &call(),
    ));
    let captured = json!({
        "Data": {"queue": "\"hello!!\""},
        "Metadata": {
            "DequeueCount": "1",
            "ExpirationTime": "2025-02-25T03:06:19+00:00",
            "Id": "\"52d53c5f-0b1e-4a55-93a0-0c2f5a4b7f10\"",
            "InsertionTime": "2025-02-18T03:06:19+00:00",
            "NextVisibleTime": "2025-02-18T03:16:20+00:00",
            "PopReceipt": "\"MThGZW\"",
            "sys": {"MethodName": "queue", "RandGuid": "e59556b5-61c3-4d4a-a9ff-0a6a3a1e0f4e", "UtcNow": "2025-02-18T03:06:20.7562691Z"},
        },
    });
    assert_eq!(made, captured);
}

#[test]
fn a_json_message_stays_text_and_its_properties_overwrite_the_metadata() {
    let text = r#"{"a":1,"ID":"mine","dequeueCount":99,"flag":true,"list":[1],"none":null,"inner":{"b":2},"queueTrigger":"x"}"#;
    let made = read(&envelope::queue_text(
        "F",
        &trigger("item"),
        text,
        &facts(),
        &call(),
    ));
    assert_eq!(
        made["Data"]["item"],
        json!(Value::String(text.to_owned()).to_string())
    );
    let metadata = made["Metadata"].as_object().unwrap();
    assert_eq!(
        metadata["Id"], "\"mine\"",
        "the known spelling stays, the message's value wins"
    );
    assert_eq!(metadata["DequeueCount"], "\"99\"");
    assert_eq!(metadata["a"], "\"1\"");
    assert_eq!(metadata["flag"], "\"True\"");
    assert_eq!(metadata["inner"], json!({"b": 2}));
    for absent in [
        "ID",
        "dequeueCount",
        "list",
        "none",
        "queueTrigger",
        "QueueTrigger",
    ] {
        assert!(!metadata.contains_key(absent), "{absent}");
    }
}

#[test]
fn a_binary_binding_gets_base64_once_and_no_properties() {
    let made = envelope::queue_bytes("F", &trigger("item"), br#"{"a":1}"#, &facts(), &call());
    let made = read(&made);
    assert_eq!(made["Data"]["item"], "eyJhIjoxfQ==");
    assert!(made["Metadata"].get("a").is_none());
}

#[test]
fn an_admin_call_has_no_id_and_no_receipt() {
    let made = envelope::queue_text(
        "F",
        &trigger("item"),
        "x",
        &MessageFacts {
            id: None,
            receipt: None,
            ..facts()
        },
        &call(),
    );
    let made = read(&made);
    assert_eq!(made["Metadata"]["item"], "\"x\"", "the binding's own name");
    assert!(made["Metadata"].get("Id").is_none() && made["Metadata"].get("PopReceipt").is_none());
}

#[test]
fn a_timer_call_before_its_first_run_between_runs_and_unmonitored() {
    let schedule = Schedule::parse("0 * * * * *").unwrap();
    let trigger = TimerTrigger {
        binding: "timer".to_owned(),
        schedule,
        use_monitor: true,
        run_on_startup: false,
    };
    let next = at("2025-02-18T03:07:00Z");
    let first = ScheduleStatus {
        last: None,
        next,
        last_updated: None,
    };
    let made = read(&envelope::timer(
        "Sweep",
        &trigger,
        Some(&first),
        false,
        &call(),
    ));
    let status = json!({"Last": "0001-01-01T00:00:00+00:00", "Next": "2025-02-18T03:07:00+00:00", "LastUpdated": "0001-01-01T00:00:00+00:00"});
    assert_eq!(
        made["Data"],
        json!({"timer": {"Schedule": {"AdjustForDST": true}, "ScheduleStatus": status, "IsPastDue": false}})
    );
    assert_eq!(
        made["Metadata"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        ["sys"]
    );
    let last = Some(at("2025-02-18T03:06:00.0117968Z"));
    let later = envelope::timer(
        "Sweep",
        &trigger,
        Some(&ScheduleStatus {
            last,
            next,
            last_updated: last,
        }),
        true,
        &call(),
    );
    let later = read(&later);
    assert_eq!(
        later["Data"]["timer"]["ScheduleStatus"]["Last"],
        "2025-02-18T03:06:00.0117968+00:00"
    );
    assert_eq!(later["Data"]["timer"]["IsPastDue"], true);
    let unmonitored = read(&envelope::timer("Sweep", &trigger, None, false, &call()));
    assert_eq!(unmonitored["Data"]["timer"]["ScheduleStatus"], Value::Null);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_comes_back_after_two_rounds_of_json(text in any::<String>()) {
        let wire = envelope::queue_text("F", &trigger("item"), &text, &facts(), &call());
        let read: Value = serde_json::from_str(&wire).unwrap();
        let inner: String = serde_json::from_str(read["Data"]["item"].as_str().unwrap()).unwrap();
        prop_assert_eq!(inner, text);
    }
}

#[test]
fn old_crashes_pass_through() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/crashes");
    for entry in std::fs::read_dir(folder).unwrap() {
        super::lawful::assert_lawful(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}
