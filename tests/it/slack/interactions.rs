//! Clicks: believed only when Slack signed them just now, and understood only when the button is ours.

use std::sync::{Arc, Mutex};

use aiops_rca::diagnosis::Category;
use aiops_rca::sinks::slack::interaction::{
    APPROVE, CAUSE_LINE, CLOSE, Forged, Interaction, Malformed, OPEN_DASHBOARD, OTHER_CAUSE, Press,
    REJECT, TAKE, Wish, parse, sign, verify,
};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use simulators::slack::{SignedCall, SlackOptions};
use simulators::{Answer, Request, Site};

use super::rig::{Rig, ask, fixture, ticket};

const SECRET: &str = "simulated-signing-secret";

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

fn seconds(text: &str) -> DateTime<Utc> {
    DateTime::from_timestamp(text.parse().unwrap(), 0).unwrap()
}

fn form(payload: &Value) -> String {
    SignedCall::of(payload, SECRET, seconds("1700000000")).body
}

#[test]
fn the_vendors_test_vector() {
    let vector = fixture("slack-signature-vector");
    let text = |name: &str| vector[name].as_str().unwrap();
    let (time, body, secret) = (
        text("X-Slack-Request-Timestamp"),
        text("raw_body"),
        secret(text("signing_secret")),
    );
    assert_eq!(
        sign(time, body.as_bytes(), &secret),
        text("X-Slack-Signature")
    );
    let check = |now| {
        verify(
            Some(time),
            Some(text("X-Slack-Signature")),
            body.as_bytes(),
            &secret,
            now,
        )
    };
    assert_eq!(check(seconds(time)), Ok(()));
    for (offset, expected) in [
        (300, Ok(())),
        (-300, Ok(())),
        (301, Err(Forged::Stale)),
        (-301, Err(Forged::Stale)),
    ] {
        assert_eq!(
            check(seconds(time) + TimeDelta::seconds(offset)),
            expected,
            "{offset} s"
        );
    }
}

#[test]
fn a_signed_request_as_it_comes_over_the_wire() {
    let request = fixture("slack-interaction-signed-request");
    let header = |name: &str| request["headers"][name].as_str();
    let (time, signature) = (
        header("X-Slack-Request-Timestamp"),
        header("X-Slack-Signature"),
    );
    let body = request["raw_body"].as_str().unwrap();
    let secret = secret(request["signing_secret"].as_str().unwrap());
    let now = seconds(time.unwrap());
    assert_eq!(
        verify(time, signature, body.as_bytes(), &secret, now),
        Ok(())
    );
    // A button that is not ours: understood, nothing happens.
    assert!(matches!(
        parse(body.as_bytes()),
        Ok(Interaction::Acknowledge(_))
    ));

    let mut tampered = body.to_owned();
    tampered.push_str("&x=1");
    assert_eq!(
        verify(time, signature, tampered.as_bytes(), &secret, now),
        Err(Forged::Signature)
    );
    let other = (now + TimeDelta::seconds(1)).timestamp().to_string();
    assert_eq!(
        verify(Some(&other), signature, body.as_bytes(), &secret, now),
        Err(Forged::Signature)
    );
}

#[test]
fn forged_calls_are_refused() {
    let now = seconds("1700000000");
    let good = sign("1700000000", b"payload=1", &secret(SECRET));
    let check = |time: Option<&str>, signature: Option<&str>| {
        verify(time, signature, b"payload=1", &secret(SECRET), now)
    };
    assert_eq!(check(Some("1700000000"), Some(&good)), Ok(()));
    assert_eq!(check(None, Some(&good)), Err(Forged::Headers));
    assert_eq!(check(Some("1700000000"), None), Err(Forged::Headers));
    for time in [
        "",
        "now",
        "-1700000000",
        "1700000000.5",
        " 1700000000",
        "99999999999999999999",
    ] {
        assert_eq!(
            check(Some(time), Some(&good)),
            Err(Forged::Headers),
            "{time:?}"
        );
    }
    let without_version = good.strip_prefix("v0=").unwrap();
    for signature in [
        "",
        "v0=",
        without_version,
        &good[..good.len() - 1],
        &format!("{good}0"),
        &good.to_uppercase(),
    ] {
        assert_eq!(
            check(Some("1700000000"), Some(signature)),
            Err(Forged::Signature),
            "{signature:?}"
        );
    }
    let others = sign("1700000000", b"payload=1", &secret("another secret"));
    assert_eq!(
        check(Some("1700000000"), Some(&others)),
        Err(Forged::Signature)
    );
}

#[test]
fn what_is_not_a_decision_is_acknowledged() {
    let mut approve = fixture("slack-interaction-approve");
    let acknowledged = |payload: &Value| {
        matches!(
            parse(form(payload).as_bytes()),
            Ok(Interaction::Acknowledge(_))
        )
    };
    assert!(acknowledged(&approve), "another app's value");
    assert!(acknowledged(&fixture("slack-interaction-reject")));
    for kind in [
        "view_submission",
        "view_closed",
        "shortcut",
        "message_action",
        "a_type_of_tomorrow",
    ] {
        assert!(acknowledged(&json!({"type": kind})), "{kind}");
    }
    approve["actions"] =
        json!([{"action_id": OPEN_DASHBOARD, "type": "button", "url": "https://x.example"}]);
    assert!(acknowledged(&approve), "a link button has no value");
    for actions in [json!([]), json!(null), json!([{"type": "static_select"}])] {
        approve["actions"] = actions;
        assert!(acknowledged(&approve));
    }
    assert!(matches!(
        parse(b"ssl_check=1&token=x"),
        Ok(Interaction::Acknowledge(_))
    ));
}

#[test]
fn only_our_own_values_decide() {
    let mut approve = fixture("slack-interaction-approve");
    let good = r#"{"t":"ADF-20260727T091531-3f2a1c","a":"q1","p":"h1"}"#;
    let mut decided = |value: &str| {
        approve["actions"][0]["value"] = json!(value);
        matches!(
            parse(form(&approve).as_bytes()).unwrap(),
            Interaction::Pressed(Press {
                wish: Wish::Answer { .. },
                ..
            })
        )
    };
    assert!(decided(good));
    for value in [
        "",
        "approve_ADF-20260727T091531-3f2a1c",
        r#"{"t":"ADF-20260727T091531-3f2a1c","a":"q1"}"#,
        r#"{"t":"ADF-20260727T091531-3f2a1c","a":"q1","p":"h1","x":1}"#,
        r#"{"t":"../../etc","a":"q1","p":"h1"}"#,
        r#"{"t":"ADF-20260727T091531-3f2a1c","a":"","p":"h1"}"#,
        r#"{"t":"ADF-20260727T091531-3f2a1c","a":"q 1","p":"h1"}"#,
        r#"{"t":"ADF-20260727T091531-3f2a1c","a":7,"p":"h1"}"#,
        r#"{"t":"ADF-20260727T091531-3f2a1c","a":"q1","p":"h1"} "{}""#,
    ] {
        assert!(!decided(value), "{value}");
    }
    let long = format!(
        r#"{{"t":"ADF-20260727T091531-3f2a1c","a":"q1","p":"{}"}}"#,
        "h".repeat(2000)
    );
    assert!(!decided(&long));
    approve["actions"][0]["value"] = json!(good);
    for user in [json!(null), json!({"id": "<!channel>"}), json!({"id": ""})] {
        approve["user"] = user;
        assert!(matches!(
            parse(form(&approve).as_bytes()),
            Ok(Interaction::Acknowledge(_))
        ));
    }
}

#[test]
fn malformed_bodies_name_the_place() {
    for body in ["", "x=1", "{\"type\":\"block_actions\"}"] {
        assert_eq!(
            parse(body.as_bytes()),
            Err(Malformed::NoPayload),
            "{body:?}"
        );
    }
    assert!(matches!(parse(b"payload=%7B"), Err(Malformed::Payload(_))));
    assert_eq!(
        parse(form(&json!({"type": "block_actions", "user": {"id": 7}})).as_bytes()),
        Err(Malformed::Payload("user.id".into()))
    );
}

#[tokio::test]
async fn our_own_buttons_come_back_as_decisions() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    ask(&mut ticket);
    rig.settle(&sink, &mut ticket).await;
    let ts = ticket.slack.ts.clone().unwrap();
    let approval = ticket.remediation.approval.clone().unwrap();
    for (action, yes) in [(APPROVE, true), (REJECT, false)] {
        let call = rig.slack.signed_click(&ts, action, "U0JOHNDOE").unwrap();
        let verified = verify(
            Some(&call.timestamp),
            Some(&call.signature),
            call.body.as_bytes(),
            &secret(SECRET),
            rig.now,
        );
        assert_eq!(verified, Ok(()));
        let wish = Wish::Answer {
            approval_id: approval.id.clone(),
            plan: approval.plan.clone(),
            approved: yes,
        };
        let expected = Interaction::Pressed(Press {
            ticket_id: ticket.id.clone(),
            user_id: "U0JOHNDOE".into(),
            user_name: "John Doe".into(),
            channel: Some("C01234567AB".into()),
            wish,
        });
        assert_eq!(parse(call.body.as_bytes()), Ok(expected));
    }
    let by_stranger = |wish| {
        Interaction::Pressed(Press {
            ticket_id: ticket.id.clone(),
            user_id: "U0STRANGER".into(),
            user_name: "Some Stranger".into(),
            channel: Some("C01234567AB".into()),
            wish,
        })
    };
    for (action, wish) in [(TAKE, Wish::Take), (CLOSE, Wish::Close)] {
        let call = rig.slack.signed_click(&ts, action, "U0STRANGER").unwrap();
        assert_eq!(parse(call.body.as_bytes()), Ok(by_stranger(wish)));
    }
    let chosen = format!(
        r#"{OTHER_CAUSE}#{{"t":"{}","c":"missing_data"}}"#,
        ticket.id
    );
    let call = rig.slack.signed_click(&ts, &chosen, "U0STRANGER").unwrap();
    let Ok(Interaction::Pressed(press)) = parse(call.body.as_bytes()) else {
        panic!("the list of categories is ours");
    };
    let Wish::OtherCause(Category::MissingData, Some(trigger)) = press.wish else {
        panic!("{press:?}");
    };

    // The form that this opens, and its answer.
    let (id, category) = (&ticket.id, Category::MissingData);
    sink.ask_for_line(id, category, &trigger, rig.now).await;
    let forms = rig.slack.forms();
    assert_eq!((forms.len(), forms[0].user.as_str()), (1, "U0STRANGER"));
    let call = rig
        .slack
        .signed_form(&forms[0].id, " nobody delivered \n")
        .unwrap();
    let Ok(Interaction::Pressed(press)) = parse(call.body.as_bytes()) else {
        panic!("the form is ours");
    };
    assert_eq!(
        press.wish,
        Wish::CauseLine(category, "nobody delivered".into())
    );
    assert_eq!(press.channel, None);
    // A trigger opens one form, and nothing of that is a fault of the sink.
    sink.ask_for_line(id, category, &trigger, rig.now).await;
    assert_eq!(rig.slack.forms().len(), 1);
    assert_eq!(rig.slack.calls("views.open").len(), 2);
    let link = rig
        .slack
        .signed_click(&ts, OPEN_DASHBOARD, "U0JOHNDOE")
        .unwrap();
    assert!(matches!(
        parse(link.body.as_bytes()),
        Ok(Interaction::Acknowledge(_))
    ));
    let settings = rig.settings();
    assert!(settings.may_approve("U0JOHNDOE"));
    assert!(
        !settings.may_approve("U0STRANGER")
            && !settings.may_approve("")
            && !settings.may_approve("u0johndoe")
    );
}

#[test]
fn only_our_own_forms_say_anything() {
    let (ticket, line) = ("ADF-20260727T091531-3f2a1c", "the disk was full");
    let sent = |callback: &str, metadata: &str, line: &Value| {
        let values = json!({CAUSE_LINE: {CAUSE_LINE: {"type": "plain_text_input", "value": line}}});
        let view = json!({"callback_id": callback, "private_metadata": metadata, "state": {"values": values}});
        let payload = json!({"type": "view_submission", "user": {"id": "U0JOHNDOE"}, "view": view});
        let read = parse(form(&payload).as_bytes()).unwrap();
        matches!(read, Interaction::Pressed(_))
    };
    let good = format!(r#"{{"t":"{ticket}","c":"missing_data"}}"#);
    assert!(sent(CAUSE_LINE, &good, &json!(line)));
    assert!(!sent("another_form", &good, &json!(line)));
    assert!(!sent(CAUSE_LINE, &good, &json!("  ")));
    assert!(!sent(CAUSE_LINE, &good, &json!(null)));
    for metadata in [
        "",
        "{}",
        r#"{"t":"../x","c":"missing_data"}"#,
        r#"{"t":"ADF-20260727T091531-3f2a1c","c":"nonsense"}"#,
    ] {
        assert!(!sent(CAUSE_LINE, metadata, &json!(line)), "{metadata}");
    }
}

#[tokio::test]
async fn who_is_refused_reads_why_alone() {
    let mut rig = Rig::set(SlackOptions::default()).await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    ask(&mut ticket);
    rig.settle(&sink, &mut ticket).await;
    let posts = rig.slack.calls("chat.postMessage").len();
    let press = Press {
        ticket_id: ticket.id.clone(),
        user_id: "U0STRANGER".into(),
        user_name: "Some Stranger".into(),
        channel: Some("C01234567AB".into()),
        wish: Wish::Close,
    };
    sink.tell_who_may(&press, rig.now).await;
    sink.tell_refusal(&press, "the ticket is <!channel> closed", rig.now)
        .await;
    let read: Vec<_> = (rig.slack.whispers().into_iter())
        .map(|whisper| (whisper.user, whisper.text))
        .collect();
    let texts = [
        "Nothing has changed: only <@U0JOHNDOE> may decide this here.",
        "Nothing has changed: the ticket is &lt;!channel&gt; closed.",
    ];
    assert_eq!(
        read,
        texts.map(|text| ("U0STRANGER".to_owned(), text.to_owned()))
    );
    // What goes wrong is nobody's fault but Slack's, and a form has no channel.
    rig.slack
        .refuse_next("chat.postEphemeral", "user_not_in_channel");
    sink.tell_refusal(&press, "no", rig.now).await;
    let press = Press {
        channel: None,
        ..press
    };
    sink.tell_refusal(&press, "no", rig.now).await;
    assert_eq!(rig.slack.calls("chat.postEphemeral").len(), 3);
    assert_eq!(rig.slack.calls("chat.postMessage").len(), posts);
}

/// A door that checks the signature and keeps what it understood.
struct Door(Mutex<Vec<Interaction>>);

impl Site for Door {
    fn answer(&self, request: &Request) -> Answer {
        let (time, signature) = (
            request.header("x-slack-request-timestamp"),
            request.header("x-slack-signature"),
        );
        if verify(time, signature, &request.body, &secret(SECRET), Utc::now()).is_err() {
            return Answer::empty(401);
        }
        self.0.lock().unwrap().push(parse(&request.body).unwrap());
        Answer::empty(200)
    }
}

#[tokio::test]
async fn the_page_shows_the_channel_and_its_buttons_work() {
    let door = Arc::new(Door(Mutex::default()));
    let server = simulators::serve(0, Arc::clone(&door)).await.unwrap();
    let mut rig = Rig::set(SlackOptions {
        door: Some(server.url().parse().unwrap()),
        ..SlackOptions::default()
    })
    .await;
    let (sink, mut ticket) = (rig.sink(), ticket());
    ticket.failure.asset = "<script>alert(1)</script> & co".into();
    ask(&mut ticket);
    rig.settle(&sink, &mut ticket).await;
    let http = aiops_rca::http::Http::new(None).unwrap();
    let url: url::Url = rig.slack.url().parse().unwrap();
    let page = http
        .send("the page", http.request(reqwest::Method::GET, &url))
        .await
        .unwrap();
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        html.contains("ALERT: &lt;script&gt;alert(1)&lt;/script&gt; &amp; co - Medium (P3)"),
        "{html}"
    );
    assert!(!html.contains("<script>"));
    for words in [
        "Approval needed",
        "@John Doe",
        "1 reply",
        "Open in Dashboard",
        "Approve</a>",
        "http-equiv=\"refresh\"",
    ] {
        assert!(html.contains(words), "{words}");
    }
    let ts = ticket.slack.ts.clone().unwrap();
    let question = url.join(&format!("?ts={ts}&action_id={APPROVE}")).unwrap();
    let asked = http
        .send("the page", http.request(reqwest::Method::GET, &question))
        .await
        .unwrap();
    let html = String::from_utf8(asked.body.to_vec()).unwrap();
    assert!(
        html.contains("Run this remediation?") && !html.contains("http-equiv=\"refresh\""),
        "{html}"
    );

    // The workspace's clock stands still in the past: the door does not believe it.
    assert_eq!(rig.slack.press(&ts, APPROVE, "U0JOHNDOE").await, Some(401));
    rig.clock.set(Utc::now());
    let press = [
        ("ts", ts.as_str()),
        ("action_id", APPROVE),
        ("user", "U0JOHNDOE"),
    ];
    let pressed = http
        .send(
            "the page",
            http.request(reqwest::Method::POST, &url.join("press").unwrap())
                .form(&press),
        )
        .await
        .unwrap();
    assert_eq!(pressed.status, 303);
    let arrived = async {
        while door.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), arrived)
        .await
        .unwrap();
    assert!(
        matches!(&door.0.lock().unwrap()[0], Interaction::Pressed(Press { wish: Wish::Answer { approved: true, .. }, user_id, .. }) if user_id == "U0JOHNDOE")
    );
    assert_eq!(
        rig.slack.press(&ts, "no_such_button", "U0JOHNDOE").await,
        None
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), payload in ".*") {
        let _any = parse(&bytes);
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload).finish();
        let _any = parse(form.as_bytes());
        prop_assert!(verify(Some(&payload), Some(&payload), &bytes, &secret(SECRET), Utc::now()).is_err());
    }
}
