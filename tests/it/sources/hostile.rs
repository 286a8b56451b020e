//! No body, however broken, breaks a door: truncation, mutation, bombs and noise.

use proptest::prelude::*;
use serde_json::Value;

use super::fixtures::{door, payloads, small_inbound};
use super::{DOORS, assert_lawful};

/// Payloads up to this size are cut at every byte, larger ones at as many evenly spread places as `CUTS`.
const SMALL: usize = 1024;
const CUTS: usize = 200;

#[test]
fn a_payload_cut_at_any_byte_is_answered() {
    for (name, body) in payloads() {
        let Some((path, parse)) = door(name) else {
            continue;
        };
        let step = if body.len() <= SMALL {
            1
        } else {
            body.len() / CUTS
        };
        for at in (0..body.len()).step_by(step) {
            let parsed = parse(&body[..at]);
            let what = format!("{name} at {path}, cut at {at}");
            assert_lawful(&what, &parsed);
            if !body[at..]
                .iter()
                .all(|byte| byte.is_ascii_whitespace() || *byte == b'}')
            {
                assert!(parsed.is_err(), "{what}: half a body is no body");
            }
        }
    }
}

#[test]
fn bombs_and_noise_are_answered() {
    let big = "x".repeat(1024 * 1024);
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        vec![0; 1000],
        vec![0xff; 1000],
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\xef\xbb\xbf".to_vec(),
        b"{\"schemaId\":\"\\ud800\"}".to_vec(),
        "[".repeat(200_000).into_bytes(),
        "{\"data\":".repeat(200_000).into_bytes(),
        format!("{}1{}", "{\"data\":".repeat(120), "}".repeat(120)).into_bytes(),
        format!("{{\"dag_id\":\"{big}\",\"task_id\":\"{big}\"}}").into_bytes(),
        format!("{{\"event_type\":\"jobs.on_failure\",\"run\":{{\"run_id\":\"{big}\"}}}}")
            .into_bytes(),
        format!("{{\"event_type\":\"{big}\"}}").into_bytes(),
        format!("{{\"schemaId\":\"{big}\"}}").into_bytes(),
        format!(
            "{{\"pipelineName\":\"{big}\",\"runId\":\"{big}\",\"errorMessage\":\"{}\"}}",
            "ErrorCode=".repeat(100_000)
        )
        .into_bytes(),
        "{\"dag_id\":\"\u{202e}etl\\u0000\u{1b}[31m\",\"task_id\":\"😱\",\"run_id\":\"r\\nx\"}"
            .as_bytes()
            .to_vec(),
        "\"\\u".repeat(100_000).into_bytes(),
    ];
    for (at, body) in bodies.iter().enumerate() {
        for (path, parse) in DOORS {
            assert_lawful(&format!("body {at} at {path}"), &parse(body));
        }
    }
}

#[test]
fn old_crashes_are_answered() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/crashes");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        for (door, parse) in DOORS {
            assert_lawful(&format!("{} at {door}", path.display()), &parse(&body));
        }
    }
}

/// One change to a JSON tree: the node at `pick` (in walking order) becomes `with`.
fn changed(value: &mut Value, pick: &mut usize, with: &Value) -> bool {
    if *pick == 0 {
        *value = with.clone();
        return true;
    }
    *pick -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| changed(item, pick, with)),
        Value::Object(members) => members
            .values_mut()
            .any(|member| changed(member, pick, with)),
        _ => false,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,30}".prop_map(Value::from),
        prop_oneof![
            Just("None"),
            Just("Failed"),
            Just("2026-07-27T09:12:03Z"),
            Just("{\"code\":\"X\"}"),
            Just("${x}"),
            Just("ADFPipelineRun")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[A-Za-z_]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_payload_with_any_value_changed_is_answered(which in any::<prop::sample::Index>(), picks in prop::collection::vec((0..120_usize, any_value()), 1..4)) {
        let inbound = small_inbound();
        let (name, body) = inbound[which.index(inbound.len())];
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
        for (pick, with) in picks {
            changed(&mut value, &mut pick.clone(), &with);
        }
        for (path, parse) in DOORS {
            assert_lawful(&format!("{name} at {path}: {value}"), &parse(value.to_string().as_bytes()));
        }
    }

    #[test]
    fn a_payload_with_any_bytes_changed_is_answered(which in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let inbound = small_inbound();
        let (name, body) = inbound[which.index(inbound.len())];
        let mut body = body.clone();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for (path, parse) in DOORS {
            assert_lawful(&format!("{name} at {path}"), &parse(&body));
        }
    }

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for (path, parse) in DOORS {
            assert_lawful(path, &parse(&body));
        }
    }
}
