//! The simulator itself: what a person sees and clicks, and the webhooks that come of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_rca::http::Http;
use aiops_rca::sinks::jira::webhook::{JiraEvent, authenticate, parse};
use aiops_rca::ticket::{Channel, ChapterKind, Status};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use simulators::jira::{Config, Hook, JiraSimulator, Person};
use simulators::{Answer, Request, Server, Site, serve};

use super::rig::{Rig, chapter, set_status};

const SECRET: &str = "your-random-secret";

/// A door that checks the lock and keeps what it was told.
#[derive(Default)]
struct Door {
    heard: Mutex<Vec<(JiraEvent, Request)>>,
    broken_for: Mutex<u32>,
}

impl Site for Door {
    fn answer(&self, request: &Request) -> Answer {
        let lock = authenticate(
            request.header("x-hub-signature"),
            request.query("secret"),
            &request.body,
            &SecretString::from(SECRET),
        );
        if lock.is_err() {
            return Answer::empty(401);
        }
        let mut broken_for = self.broken_for.lock().unwrap();
        if *broken_for > 0 {
            *broken_for -= 1;
            return Answer::empty(503);
        }
        self.heard.lock().unwrap().push((
            parse(&request.body, chrono::Utc::now()).unwrap(),
            request.clone(),
        ));
        Answer::empty(200)
    }
}

async fn with_door(secret: Option<&str>, query: &str) -> (Rig, Arc<Door>, Server) {
    let door = Arc::new(Door::default());
    let server = serve(0, Arc::clone(&door)).await.unwrap();
    let url = format!("{}jira-webhook{query}", server.url())
        .parse()
        .unwrap();
    let hook = Hook {
        url,
        secret: secret.map(SecretString::from),
        retry_after: Duration::from_millis(20),
    };
    let mut rig = Rig::with(Config {
        hook: Some(hook),
        ..Config::default()
    })
    .await;
    rig.run().await.unwrap();
    (rig, door, server)
}

fn heard(door: &Door) -> Vec<String> {
    let told = |event: &JiraEvent| match event {
        JiraEvent::StatusChanged(change) => {
            format!("{} → {} by {}", change.issue_key, change.to_name, change.by)
        }
        JiraEvent::IssueDeleted(deletion) => {
            format!("{} deleted by {}", deletion.issue_key, deletion.by)
        }
        JiraEvent::Ignored(why) => why.clone(),
        JiraEvent::IssueMoved(naming) => format!("{} moved", naming.issue_key),
        JiraEvent::IssueMade(naming) => format!("{} made", naming.issue_key),
    };
    door.heard
        .lock()
        .unwrap()
        .iter()
        .map(|(event, _)| told(event))
        .collect()
}

async fn fetch(
    simulator: &JiraSimulator,
    method: Method,
    path: &str,
    form: Option<&str>,
) -> (u16, String) {
    let http = Http::new(None).unwrap();
    let url = format!("{}{path}", simulator.base_url()).parse().unwrap();
    let mut request = http.request(method, &url);
    if let Some(form) = form {
        request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
    }
    let reply = http.send("the simulator", request).await.unwrap();
    (
        reply.status,
        String::from_utf8(reply.body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn a_click_on_done_is_told_signed_with_name_and_ticket() {
    let (rig, door, _server) = with_door(Some(SECRET), "").await;
    let (status, _) = fetch(
        &rig.simulator,
        Method::POST,
        &format!("browse/{}/move", rig.key()),
        Some("to=Done&who=Mia+Krystof"),
    )
    .await;
    assert_eq!(status, 303);
    let deliveries = rig.simulator.deliveries().await;
    assert_eq!(deliveries[0].answers, [Some(200)]);
    assert_eq!(heard(&door), ["APAIOPS-1 → Done by Mia Krystof"]);
    let heard = door.heard.lock().unwrap();
    let JiraEvent::StatusChanged(change) = &heard[0].0 else {
        panic!()
    };
    assert_eq!(
        (change.status, change.ticket.as_ref()),
        (Status::Acknowledged, Some(&rig.ticket.id))
    );
    assert_eq!(
        change.account_id.as_deref(),
        Some(Person::named("Mia Krystof").account_id.as_str())
    );
    assert_eq!(
        heard[0].1.header("x-atlassian-webhook-identifier"),
        Some(deliveries[0].identifier.as_str())
    );
}

#[tokio::test]
async fn the_guides_address_with_its_secret_works_and_a_wrong_one_does_not() {
    let (rig, door, _server) = with_door(None, &format!("?secret={SECRET}")).await;
    rig.simulator
        .moves(&rig.key(), "In Progress", &Person::named("John Doe"));
    rig.simulator.deliveries().await;
    assert_eq!(heard(&door), ["APAIOPS-1 → In Progress by John Doe"]);

    let (rig, door, _server) =
        with_door(Some("another secret"), &format!("?secret={SECRET}")).await;
    rig.simulator
        .moves(&rig.key(), "Done", &Person::named("John Doe"));
    assert_eq!(
        rig.simulator.deliveries().await[0].answers,
        [Some(401)],
        "refused, and not tried again"
    );
    assert!(heard(&door).is_empty());
}

#[tokio::test]
async fn a_door_out_of_order_is_tried_again_with_the_same_identifier() {
    let (rig, door, _server) = with_door(Some(SECRET), "").await;
    *door.broken_for.lock().unwrap() = 2;
    rig.simulator
        .moves(&rig.key(), "Done", &Person::named("John Doe"));
    let deliveries = rig.simulator.deliveries().await;
    assert_eq!(deliveries[0].answers, [Some(503), Some(503), Some(200)]);
    let heard = door.heard.lock().unwrap();
    assert_eq!(heard[0].1.header("x-atlassian-webhook-retry"), Some("2"));
    assert_eq!(
        heard[0].1.header("x-atlassian-webhook-identifier"),
        Some(deliveries[0].identifier.as_str())
    );
}

#[tokio::test]
async fn our_own_acts_come_back_as_echoes() {
    let (mut rig, door, _server) = with_door(Some(SECRET), "").await;
    rig.ticket.story.push(chapter(
        1,
        ChapterKind::RemediationSucceeded,
        "Auto-remediation attempt 1 succeeded.",
    ));
    set_status(
        &mut rig.ticket,
        Status::Acknowledged,
        Channel::Playbook,
        rig.now,
    );
    rig.run().await.unwrap();
    rig.simulator
        .renames(&rig.key(), "Renamed", &Person::named("John Doe"));
    rig.simulator
        .comments(&rig.key(), "hello", &Person::named("John Doe"));
    rig.simulator
        .deletes(&rig.key(), &Person::named("John Doe"));
    rig.simulator.deliveries().await;
    let mut told = heard(&door);
    told.sort();
    assert_eq!(
        told,
        [
            "APAIOPS-1 deleted by John Doe",
            "APAIOPS-1 → Done by AIOps RCA",
            "an update without changes, such as a comment",
            "an update without changes, such as a comment",
            "the status did not change",
        ]
    );
    let us = rig.jira.account_id(rig.now).await.unwrap();
    let heard = door.heard.lock().unwrap();
    let echo = heard.iter().find_map(|(event, _)| match event {
        JiraEvent::StatusChanged(change) => change.account_id.clone(),
        _ => None,
    });
    assert_eq!(echo, Some(us), "an echo is known by its account");
}

#[tokio::test]
async fn a_person_sees_the_issue_as_jira_shows_it() {
    let mut rig = Rig::new().await;
    rig.ticket.failure.asset = "<script>alert(1)</script> & co".to_owned();
    rig.ticket.story.push(chapter(
        1,
        ChapterKind::RemediationStarted,
        "Auto-remediation attempt 1 of 3 started.",
    ));
    rig.run().await.unwrap();
    rig.simulator
        .moves(&rig.key(), "Done", &Person::named("John Doe"));
    let (status, page) = fetch(&rig.simulator, Method::GET, "browse/APAIOPS-1", None).await;
    assert_eq!(status, 200);
    assert!(!page.contains("<script>"), "nothing escapes escaping");
    let body = page.split("</style>").nth(1).unwrap();
    insta::assert_snapshot!("browse_page", body.replace("><", ">\n<"));
    let (status, board) = fetch(&rig.simulator, Method::GET, "", None).await;
    assert_eq!(status, 200);
    assert!(board.contains("/browse/APAIOPS-1") && !board.contains("<script>"));
    assert_eq!(
        fetch(&rig.simulator, Method::GET, "browse/APAIOPS-9", None)
            .await
            .0,
        404
    );
    assert_eq!(
        fetch(
            &rig.simulator,
            Method::POST,
            "browse/NO-1/move",
            Some("to=Done")
        )
        .await
        .0,
        303
    );
}

async fn call(rig: &Rig, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let config = Config::default();
    let http = Http::new(None).unwrap();
    let url = format!("{}rest/api/3/{path}", rig.simulator.base_url())
        .parse()
        .unwrap();
    let request = http
        .request(method, &url)
        .basic_auth(config.email, Some(config.token))
        .json(body);
    let reply = http.send("the simulator", request).await.unwrap();
    (
        reply.status,
        serde_json::from_slice(&reply.body).unwrap_or_default(),
    )
}

#[tokio::test]
async fn it_refuses_what_jira_refuses() {
    let rig = Rig::new().await;
    let doc = |content: Value| json!({"type": "doc", "version": 1, "content": content});
    let fields = |more: Value| {
        let mut fields =
            json!({"project": {"key": "APAIOPS"}, "issuetype": {"name": "Task"}, "summary": "x"});
        fields
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"fields": fields})
    };
    let text = |text: String| {
        doc(json!([{"type": "paragraph", "content": [{"type": "text", "text": text}]}]))
    };
    let empty_list = doc(json!([{"type": "bulletList", "content": []}]));
    for (body, refusal) in [
        (
            fields(json!({"summary": "a".repeat(256)})),
            "Summary can't exceed 255 characters.",
        ),
        (fields(json!({"summary": "a\nb"})), "newline"),
        (fields(json!({"summary": ""})), "You must specify a summary"),
        (fields(json!({"labels": ["a b"]})), "contains spaces"),
        (fields(json!({"priority": {"name": "Urgent"}})), "priority"),
        (
            fields(json!({"issuetype": {"name": "Epos"}})),
            "valid issue type",
        ),
        (fields(json!({"project": {"key": "NO"}})), "valid project"),
        (
            fields(json!({"customfield_1": "x"})),
            "not on the appropriate screen",
        ),
        (
            fields(json!({"description": text(String::new())})),
            "INVALID_INPUT",
        ),
        (
            fields(json!({"description": text("\u{7}".to_owned())})),
            "INVALID_INPUT",
        ),
        (fields(json!({"description": empty_list})), "INVALID_INPUT"),
        (
            fields(json!({"description": text("x".repeat(32_768))})),
            "CONTENT_LIMIT_EXCEEDED",
        ),
    ] {
        let (status, answer) = call(&rig, Method::POST, "issue", &body).await;
        assert!(
            status == 400 && answer.to_string().contains(refusal),
            "{refusal}: {status} {answer}"
        );
    }
    assert!(rig.simulator.issues().is_empty());
    let fits = fields(json!({"summary": "a".repeat(255), "description": text("x".repeat(32_767))}));
    assert_eq!(call(&rig, Method::POST, "issue", &fits).await.0, 201);
    let (status, gone) = call(&rig, Method::GET, "search", &Value::Null).await;
    assert_eq!(
        (status, &gone),
        (
            410,
            &super::rig::fixture_json("jira-http-410-search.json")["body"]
        )
    );
    let (status, unbounded) = call(&rig, Method::POST, "search/jql", &json!({"jql": ""})).await;
    assert!(status == 400 && unbounded.to_string().contains("Unbounded JQL"));
    let (_, found) = call(
        &rig,
        Method::POST,
        "search/jql",
        &json!({"jql": "project = APAIOPS"}),
    )
    .await;
    let id = found["issues"][0]["id"].clone();
    assert_eq!(
        found["issues"][0],
        json!({"id": id}),
        "fields must be asked for"
    );
    let (status, _) = call(
        &rig,
        Method::POST,
        "issue/APAIOPS-1/transitions",
        &json!({"transition": {"id": "99"}}),
    )
    .await;
    assert_eq!(status, 400);
    assert_eq!(
        call(&rig, Method::GET, "issue/APAIOPS-7", &Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_search_lags_unless_it_is_told_what_to_reconcile() {
    let rig = Rig::with(Config {
        index_lag: Duration::from_secs(5),
        ..Config::default()
    })
    .await;
    let body = json!({"fields": {"project": {"key": "APAIOPS"}, "issuetype": {"name": "Task"}, "summary": "x", "labels": ["one"]}});
    let (_, made) = call(&rig, Method::POST, "issue", &body).await;
    let jql = json!({"jql": "labels = \"one\""});
    assert_eq!(
        call(&rig, Method::POST, "search/jql", &jql).await.1["issues"],
        json!([])
    );
    let id: u64 = made["id"].as_str().unwrap().parse().unwrap();
    let reconciled =
        json!({"jql": "labels = \"one\"", "fields": ["labels"], "reconcileIssues": [id]});
    assert_eq!(
        call(&rig, Method::POST, "search/jql", &reconciled).await.1["issues"][0]["key"],
        "APAIOPS-1"
    );
}

#[tokio::test]
async fn it_limits_the_rate_when_told() {
    let mut rig = Rig::with(Config {
        calls_per_second: Some(2),
        ..Config::default()
    })
    .await;
    rig.run().await.unwrap();
    rig.only_issue();
    for n in 1..=4 {
        rig.ticket
            .story
            .push(chapter(n, ChapterKind::Recurrence, "Again."));
    }
    rig.run().await.unwrap();
    assert_eq!(rig.only_issue().comments.len(), 4);
    assert!(
        rig.faults
            .iter()
            .all(|fault| fault.reason() == "JIRA limits our rate (429, jira-burst-based)")
    );
    assert!(!rig.faults.is_empty());
}
