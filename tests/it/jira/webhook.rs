//! Webhooks: both locks, the guide's table, and everything JIRA sends besides.

use aiops_rca::sinks::jira::StatusCategory::{self, Done, Indeterminate, New};
use aiops_rca::sinks::jira::ticket_status;
use aiops_rca::sinks::jira::webhook::{JiraEvent, StatusChange, authenticate, parse};
use aiops_rca::ticket::{Status, TicketId};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::rig::{fixture, fixture_json};

fn received() -> DateTime<Utc> {
    "2026-11-29T03:00:00Z".parse().unwrap()
}

fn change(body: &Value) -> StatusChange {
    match parse(body.to_string().as_bytes(), received()) {
        Ok(JiraEvent::StatusChanged(change)) => change,
        other => panic!("{other:?}"),
    }
}

fn ignored(body: &Value) -> String {
    match parse(body.to_string().as_bytes(), received()) {
        Ok(JiraEvent::Ignored(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A `Done` delivery, changed at one place.
fn delivery(pointer: &str, value: Value) -> Value {
    let mut body = fixture_json("jira-webhook-issue-updated-done.json");
    if let Some(place) = body.pointer_mut(pointer) {
        *place = value;
        return body;
    }
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .insert(name.to_owned(), value);
    body
}

#[test]
fn every_fixture_means_what_it_says() {
    let mut read = Vec::new();
    let folder = format!("{}/tests/fixtures/jira", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("jira-webhook-") && !name.contains("signature"))
        .collect();
    names.sort();
    for name in names {
        read.push(format!(
            "{name}\n{:#?}",
            parse(&fixture(&name), received()).unwrap()
        ));
    }
    insta::assert_snapshot!("webhook_fixtures", read.join("\n\n"));
}

#[test]
fn the_guides_table_by_name_then_the_kind() {
    let table: [(&str, Option<StatusCategory>, Option<Status>); 18] = [
        ("Done", None, Some(Status::Acknowledged)),
        ("Closed", Some(New), Some(Status::Acknowledged)),
        ("closed", None, Some(Status::Acknowledged)),
        ("In Progress", None, Some(Status::InProgress)),
        (" IN PROGRESS ", None, Some(Status::InProgress)),
        ("To Do", None, Some(Status::Open)),
        ("TO DO", Some(Done), Some(Status::Open)),
        ("Open", None, Some(Status::Open)),
        ("Reopened", Some(New), Some(Status::InProgress)),
        ("reopened", None, Some(Status::InProgress)),
        ("Fertig", Some(Done), Some(Status::Acknowledged)),
        ("Won't Do", Some(Done), Some(Status::Acknowledged)),
        ("In Review", Some(Indeterminate), Some(Status::InProgress)),
        ("Backlog", Some(New), Some(Status::Open)),
        ("完了", Some(Done), Some(Status::Acknowledged)),
        ("", Some(Done), Some(Status::Acknowledged)),
        ("Somewhere", None, None),
        ("", None, None),
    ];
    for (name, category, status) in table {
        assert_eq!(ticket_status(name, category), status, "{name} {category:?}");
    }
}

#[test]
fn names_in_deliveries_follow_the_table() {
    for (name, kind, status) in [
        ("Done", "done", Status::Acknowledged),
        ("In Progress", "indeterminate", Status::InProgress),
        ("To Do", "new", Status::Open),
        ("Reopened", "new", Status::InProgress),
        ("Fertig", "done", Status::Acknowledged),
        ("Warten", "indeterminate", Status::InProgress),
    ] {
        let mut body = delivery("/changelog/items/1/toString", json!(name));
        body["issue"]["fields"]["status"] = json!({"name": name, "statusCategory": {"key": kind}});
        let change = change(&body);
        assert_eq!((change.status, change.to_name.as_str()), (status, name));
    }
}

#[test]
fn the_ticket_is_named_by_its_label() {
    let body = delivery(
        "/issue/fields/labels",
        json!(["rca", "rca-oops", 7, null, "rca-ADF-20260727T091531-3f2a1c"]),
    );
    assert_eq!(
        change(&body).ticket,
        TicketId::parse("ADF-20260727T091531-3f2a1c")
    );
    assert_eq!(
        change(&delivery("/issue/fields/labels", Value::Null)).ticket,
        None
    );
    assert_eq!(
        change(&delivery("/issue/fields/labels", json!(["rca-../../x"]))).ticket,
        None
    );
}

#[test]
fn missing_and_odd_fields_are_normal() {
    let automation = delivery("/user", Value::Null);
    assert_eq!(
        (
            change(&automation).by.as_str(),
            change(&automation).account_id
        ),
        ("JIRA automation", None)
    );
    assert_eq!(
        change(&delivery("/user/displayName", json!(""))).by,
        "JIRA automation"
    );
    assert_eq!(
        change(&delivery("/user/displayName", json!("Eve\u{0}\u{1b}[31m"))).by,
        "Eve"
    );
    assert_eq!(
        change(&delivery("/issue/id", json!(10000))).issue_id,
        "10000"
    );
    assert_eq!(
        change(&delivery("/timestamp", json!("1785143731000")))
            .at
            .timestamp(),
        1_785_143_731
    );
    assert_eq!(
        change(&delivery("/timestamp", json!(1_785_143_731_000.0)))
            .at
            .timestamp(),
        1_785_143_731
    );
    assert_eq!(
        change(&delivery("/changelog/items/1/toString", Value::Null)).to_name,
        "Done",
        "the issue itself says it"
    );
    assert_eq!(
        change(&delivery("/changelog/items/1/fromString", Value::Null)).from,
        None
    );
    assert_eq!(
        change(&delivery("/issue/fields/status", Value::Null)).status,
        Status::Acknowledged,
        "by name alone"
    );
    let custom = delivery("/changelog/items/1/fieldId", json!("customfield_10099"));
    assert_eq!(
        ignored(&custom),
        "the status did not change",
        "a custom field may be called status"
    );
    assert_eq!(
        change(&delivery("/extra", json!({"nested": [1]}))).issue_key,
        "APAIOPS-123"
    );
}

#[test]
fn what_changes_no_status_is_understood_and_ignored() {
    assert_eq!(
        ignored(&delivery("/changelog", Value::Null)),
        "an update without changes, such as a comment"
    );
    assert_eq!(
        ignored(&delivery("/changelog/items", Value::Null)),
        "the status did not change"
    );
    assert_eq!(
        ignored(&delivery("/changelog/items", json!([]))),
        "the status did not change"
    );
    assert_eq!(
        ignored(&delivery("/webhookEvent", json!("jira:worklog_updated"))),
        "the event jira:worklog_updated changes no status"
    );
    let mut unknown = delivery("/changelog/items/1/toString", json!("Somewhere"));
    unknown["issue"]["fields"]["status"] =
        json!({"name": "Somewhere", "statusCategory": {"key": "undefined"}});
    assert_eq!(
        ignored(&unknown),
        "a status without a name or kind that we know"
    );
}

#[test]
fn the_last_of_several_moves_counts() {
    let items = json!([
        {"field": "status", "fromString": "To Do", "toString": "In Progress"},
        {"field": "status", "fromString": "In Progress", "toString": "Done"},
    ]);
    let change = change(&delivery("/changelog/items", items));
    assert_eq!(
        (change.from.as_deref(), change.to_name.as_str()),
        (Some("In Progress"), "Done")
    );
}

#[test]
fn what_can_never_be_read_is_refused_with_its_place() {
    let place = |body: &[u8]| {
        parse(body, received())
            .map_err(|malformed| (malformed.code, malformed.path))
            .unwrap_err()
    };
    let of = |body: Value| place(body.to_string().as_bytes());
    assert_eq!(place(b""), ("not_json", String::new()));
    assert_eq!(place(b"{\"issue\": "), ("not_json", "issue".to_owned()));
    assert_eq!(place(b"[]").0, "wrong_type");
    assert_eq!(of(json!({})), ("nothing_usable", "webhookEvent".to_owned()));
    assert_eq!(
        of(delivery("/changelog/items", json!(3))),
        ("wrong_type", "changelog.items".to_owned())
    );
    assert_eq!(
        of(delivery("/issue", Value::Null)),
        ("nothing_usable", "issue".to_owned())
    );
    for key in [
        "",
        "../x",
        "APAIOPS-",
        "-1",
        "APA IOPS-1",
        "A'-1",
        "APAIOPS-1/comment",
    ] {
        assert_eq!(
            of(delivery("/issue/key", json!(key))),
            ("nothing_usable", "issue.key".to_owned()),
            "{key}"
        );
    }
    let error = parse(
        b"{\"webhookEvent\": \"jira:issue_updated\", \"issue\": \"s3cret\"}",
        received(),
    )
    .unwrap_err();
    assert!(!error.message.contains("s3cret"), "never an echo");
}

#[test]
fn the_vendors_signature_vector_opens() {
    let vector = fixture_json("jira-webhook-signature-vector.json");
    let secret = SecretString::from(vector["secret"].as_str().unwrap());
    let (body, signature) = (
        vector["body"].as_str().unwrap().as_bytes(),
        vector["X-Hub-Signature"].as_str().unwrap(),
    );
    assert!(authenticate(Some(signature), None, body, &secret).is_ok());
    assert!(
        authenticate(
            Some(&signature.to_uppercase().replace("SHA256", "Sha256")),
            None,
            body,
            &secret
        )
        .is_ok()
    );
    assert!(authenticate(Some(&format!(" {signature} ")), None, body, &secret).is_ok());
    assert!(
        authenticate(Some(signature), Some("wrong"), body, &secret).is_ok(),
        "the signature decides"
    );
}

#[test]
fn anything_else_stays_locked() {
    let vector = fixture_json("jira-webhook-signature-vector.json");
    let text = vector["secret"].as_str().unwrap();
    let secret = SecretString::from(text);
    let (body, signature) = (
        vector["body"].as_str().unwrap().as_bytes(),
        vector["X-Hub-Signature"].as_str().unwrap(),
    );
    let digest = signature.strip_prefix("sha256=").unwrap();
    let refused =
        |signature: Option<&str>, query: Option<&str>, body: &[u8], secret: &SecretString| {
            assert!(
                authenticate(signature, query, body, secret).is_err(),
                "{signature:?} {query:?}"
            );
        };
    assert!(
        authenticate(None, Some(text), body, &secret).is_ok(),
        "the guide's address"
    );
    refused(None, None, body, &secret);
    refused(None, Some(""), body, &secret);
    refused(None, Some(&text[1..]), body, &secret);
    refused(None, Some(&format!("{text} ")), body, &secret);
    refused(Some(signature), None, b"Hello World?", &secret);
    refused(
        Some(&signature.replace("a4", "a5")),
        Some(text),
        body,
        &secret,
    );
    refused(Some(""), Some(text), body, &secret);
    refused(Some(digest), Some(text), body, &secret);
    refused(Some(&format!("sha1={digest}")), Some(text), body, &secret);
    refused(Some("sha256="), Some(text), body, &secret);
    refused(
        Some(&signature[..signature.len() - 2]),
        Some(text),
        body,
        &secret,
    );
    refused(Some("sha256=zz"), Some(text), body, &secret);
    refused(None, Some(""), body, &SecretString::from(""));
    refused(Some(signature), None, body, &SecretString::from(""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _any = parse(&bytes, received());
    }

    #[test]
    fn no_replaced_value_breaks_the_parser(
        place in proptest::sample::select(vec!["/timestamp", "/user", "/issue", "/issue/key", "/issue/fields", "/issue/fields/status",
            "/issue/fields/labels", "/changelog", "/changelog/items", "/changelog/items/1", "/changelog/items/1/toString", "/webhookEvent"]),
        value in proptest::sample::select(vec![json!(null), json!(true), json!(-1), json!(1e300), json!("\u{0}"), json!([]), json!({}), json!([[]])]),
    ) {
        let _any = parse(delivery(place, value).to_string().as_bytes(), received());
    }

    #[test]
    fn a_signature_of_anything_else_never_opens(body in proptest::collection::vec(any::<u8>(), 0..64), signature in "[ -~]{0,80}") {
        prop_assert!(authenticate(Some(&signature), None, &body, &SecretString::from("secret")).is_err());
    }
}

#[test]
fn times_come_as_numbers_texts_or_not_at_all() {
    for (timestamp, expected) in [
        (json!(1_795_900_000_000_i64), "2026-11-28T21:06:40Z"),
        (json!("1795900000000"), "2026-11-28T21:06:40Z"),
        (
            json!("2026-11-28T22:06:40.000+0100"),
            "2026-11-28T21:06:40Z",
        ),
        (json!("2026-11-28T21:06:40Z"), "2026-11-28T21:06:40Z"),
    ] {
        let at = change(&delivery("/timestamp", timestamp.clone())).at;
        assert_eq!(
            at,
            expected.parse::<DateTime<Utc>>().unwrap(),
            "{timestamp}"
        );
    }
    for nonsense in [Value::Null, json!(i64::MAX), json!("yesterday"), json!({})] {
        let mut body = delivery("/timestamp", nonsense);
        body["issue"]["fields"]["updated"] = Value::Null;
        assert_eq!(change(&body).at, received());
        body["issue"]["fields"]["updated"] = json!("2026-11-28T12:00:00.000+0000");
        assert_eq!(change(&body).at.to_rfc3339(), "2026-11-28T12:00:00+00:00");
    }
}

#[test]
fn a_post_function_and_an_automation_name_no_event() {
    let issue = json!({"id": "10123", "key": "INDEV-130", "fields": {"status": {"name": "To Do",
        "statusCategory": {"key": "new"}}, "labels": ["rca-ADF-20251212T100000-abc123"]}});
    let post = json!({"transition": {"workflowName": "w", "transitionId": 31, "from_status": "To Do", "to_status": "Done"},
        "user": {"displayName": "Ina"}, "issue": issue, "timestamp": 1_795_900_000_000_i64});
    let change_of_post = change(&post);
    assert_eq!(change_of_post.status, Status::Acknowledged);
    assert_eq!(change_of_post.from.as_deref(), Some("To Do"));
    assert_eq!(
        change_of_post.ticket,
        TicketId::parse("ADF-20251212T100000-abc123")
    );
    let mut own = issue.clone();
    own["fields"]["status"] = json!({"name": "Erledigt", "statusCategory": {"key": "done"}});
    assert_eq!(change(&own).status, Status::Acknowledged);
    assert_eq!(change(&json!({"issue": own})).issue_id, "10123");
}

#[test]
fn a_move_names_the_key_before() {
    let moved = json!([{"field": "Key", "fromString": "APAIOPS-123", "toString": "INDEV-130"}, {"field": "project"}]);
    let body = delivery("/changelog/items", moved);
    let JiraEvent::IssueMoved(naming) = parse(body.to_string().as_bytes(), received()).unwrap()
    else {
        panic!("a move");
    };
    assert_eq!(naming.former_key.as_deref(), Some("APAIOPS-123"));
    let both = json!([{"field": "Key", "fromString": "APAIOPS-123", "toString": "INDEV-130"},
        {"field": "status", "fromString": "To Do", "toString": "Done"}]);
    assert_eq!(
        change(&delivery("/changelog/items", both))
            .former_key
            .as_deref(),
        Some("APAIOPS-123")
    );
    let bad = json!([{"field": "Key", "fromString": "../../x", "toString": "INDEV-130"}]);
    assert!(ignored(&delivery("/changelog/items", bad)).contains("did not change"));
}
