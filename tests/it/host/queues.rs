//! The life of messages (4, 6, 7, 8, 18).

use std::time::Duration;

use aiops_rca::local::host::{HOST_VERSION, HostEvent, Outcome};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::support::{App, failure};

#[tokio::test]
async fn a_message_is_posted_chunked_and_deleted_after_success() {
    let app = App::new().queue("Work", "jobs");
    let running = app.start().await;
    running.put("jobs", "hello").await;
    assert_eq!(running.invoked("Work", 1).await.outcome, Outcome::Succeeded);
    running.depth("jobs", 0).await;
    let calls = app.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0]["path"], "/Work",
        "the folder's name and no route prefix"
    );
    assert_eq!(
        (&calls[0]["chunked"], &calls[0]["length"]),
        (&json!("chunked"), &json!(null))
    );
    assert_eq!(
        calls[0]["agent"],
        format!("Azure-Functions-Host/{HOST_VERSION}")
    );
    assert_eq!(calls[0]["version"], HOST_VERSION);
    assert!(
        calls[0]["invocation"]
            .as_str()
            .unwrap()
            .parse::<uuid::Uuid>()
            .is_ok()
    );
    assert_eq!(calls[0]["traceparent"], json!(null));
    assert_eq!(calls[0]["envelope"]["Data"]["item"], "\"hello\"");
    assert_eq!(
        calls[0]["envelope"]["Metadata"]["sys"]["MethodName"],
        "Work"
    );
    let log = running.find(|event| match event {
        HostEvent::FunctionLog { text, .. } => Some(text.clone()),
        _ => None,
    });
    assert_eq!(log.await, "done");
    running.host.stop().await;
}

#[tokio::test]
async fn a_failing_message_comes_again_and_moves_to_poison() {
    let app = App::new().queue("Work", "jobs");
    let running = app.start().await;
    running.put("jobs", "status:500").await;
    let (queue, why) = running.poisoned().await;
    assert_eq!(queue, "t-jobs-poison");
    assert!(why.contains("500"), "{why}");
    running.depth("jobs", 0).await;
    running.depth("jobs-poison", 1).await;
    let calls = app.calls();
    let metadata = |name: &str| {
        calls
            .iter()
            .map(|call| call["envelope"]["Metadata"][name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(metadata("DequeueCount"), ["1", "2", "3"]);
    let ids = metadata("Id");
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "the same message each time"
    );
    let parked = running
        .storage
        .receive("jobs-poison", 1, Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(
        BASE64.decode(&parked[0].text).unwrap(),
        b"status:500",
        "body unchanged"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn answers_that_are_no_json_object_fail() {
    let app = App::new().queue("Work", "jobs");
    app.host_json(|document| document["extensions"]["queues"]["maxDequeueCount"] = json!(1));
    let running = app.start().await;
    for (index, word) in [
        "text",
        "answer:[]",
        "answer:{",
        "redirect",
        "status:404",
        "answer:{\"Logs\":[{}]}",
    ]
    .iter()
    .enumerate()
    {
        running.put("jobs", word).await;
        assert!(
            !failure(&running.invoked("Work", index + 1).await).is_empty(),
            "{word}"
        );
    }
    running.depth("jobs-poison", 6).await;
    running.host.stop().await;
}

#[tokio::test]
async fn an_empty_2xx_is_reported_as_a_hang_and_the_handler_is_killed() {
    let app = App::new().queue("Work", "jobs");
    app.host_json(|document| document["extensions"]["queues"]["maxDequeueCount"] = json!(1));
    let running = app.start().await;
    for (index, word) in ["empty", "null", "no-content"].iter().enumerate() {
        running.put("jobs", word).await;
        assert!(
            failure(&running.invoked("Work", index + 1).await).starts_with("hung"),
            "{word}"
        );
        // The next message must not meet a process that is killed this moment.
        running.exited(index + 1).await;
    }
    running.depth("jobs-poison", 3).await;
    let hangs = running
        .host
        .events_so_far()
        .into_iter()
        .filter(|event| matches!(event, HostEvent::Hang { .. }))
        .count();
    assert_eq!(hangs, 3);
    assert!(
        running
            .exits()
            .iter()
            .all(|(how, counted)| how.contains("timed out") && counted.is_none()),
        "{:?}",
        running.exits()
    );
    running.host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_goes_to_poison_without_a_call() {
    let app = App::new().queue("Work", "jobs");
    let running = app.start().await;
    running.put_raw("jobs", "not base64!").await;
    let (_, why) = running.poisoned().await;
    assert!(why.contains("base64"), "{why}");
    running.depth("jobs-poison", 1).await;
    running.put_raw("jobs", &BASE64.encode([0xff, 0xfe])).await;
    running.depth("jobs-poison", 2).await;
    assert!(app.calls().is_empty());
    running.host.stop().await;
}

#[tokio::test]
async fn without_encoding_texts_pass_as_they_are() {
    let app = App::new().queue("Work", "jobs");
    app.host_json(|document| document["extensions"]["queues"]["messageEncoding"] = json!("none"));
    let running = app.start().await;
    running.put_raw("jobs", "not base64!").await;
    assert_eq!(running.invoked("Work", 1).await.outcome, Outcome::Succeeded);
    assert_eq!(
        app.calls()[0]["envelope"]["Data"]["item"],
        "\"not base64!\""
    );
    running.host.stop().await;
}

#[tokio::test]
async fn a_message_seen_too_often_is_not_called_again() {
    let app = App::new().queue("Work", "jobs");
    let storage = app.storage();
    storage.prepare(&[], &["jobs"]).await.unwrap();
    storage.put("jobs", "fine", Duration::ZERO).await.unwrap();
    for _ in 0..3 {
        let seen = storage
            .receive("jobs", 1, Duration::from_mins(1))
            .await
            .unwrap();
        storage
            .hide_message("jobs", &seen[0], Duration::ZERO)
            .await
            .unwrap();
    }
    let running = app.start().await;
    let (_, why) = running.poisoned().await;
    assert!(why.contains("too often"), "{why}");
    assert!(app.calls().is_empty());
    running.host.stop().await;
}

#[tokio::test]
async fn a_poison_queue_has_no_poison_queue() {
    let app = App::new().queue("Dead", "jobs-poison");
    let running = app.start().await;
    running.put("jobs-poison", "status:500").await;
    let stuck = running.find(|event| matches!(event, HostEvent::Stuck { .. }).then_some(()));
    stuck.await;
    running.depth("jobs-poison", 1).await;
    let visible = running
        .storage
        .receive("jobs-poison", 1, Duration::from_secs(1))
        .await
        .unwrap();
    assert!(visible.is_empty(), "it stays hidden");
    assert_eq!(app.calls().len(), 1);
    running.host.stop().await;
}

#[tokio::test]
async fn a_long_call_keeps_its_message_hidden() {
    let app = App::new().queue("Work", "jobs");
    let running = app
        .start_with(|options| options.knobs.dequeue_invisibility = Duration::from_secs(1))
        .await;
    running.put("jobs", "slow:1800").await;
    assert_eq!(running.invoked("Work", 1).await.outcome, Outcome::Succeeded);
    running.depth("jobs", 0).await;
    assert_eq!(app.calls().len(), 1, "never visible while it ran");
    running.host.stop().await;
}

#[tokio::test]
async fn no_more_than_batch_and_threshold_run_at_once() {
    let app = App::new().queue("Work", "jobs");
    app.host_json(|document| {
        document["extensions"]["queues"]["batchSize"] = json!(1);
        document["extensions"]["queues"]["newBatchThreshold"] = json!(0);
    });
    let running = app.start().await;
    for _ in 0..3 {
        running.put("jobs", "slow:60").await;
    }
    let last = running.invoked("Work", 3).await;
    let first = running.invoked("Work", 1).await;
    let spread = (last.at - first.at).to_std().unwrap();
    assert!(
        spread >= Duration::from_millis(120),
        "one at a time, but {spread:?}"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn outputs_are_put_into_their_queues() {
    let out = |binding: &str, queue: &str| json!({"type": "queue", "direction": "out", "name": binding, "queueName": queue});
    let app = App::new().function(
        "Work",
        &json!([
            {"type": "queueTrigger", "direction": "in", "name": "item", "queueName": "t-jobs"},
            out("many", "t-many"), out("$return", "t-one"),
        ]),
    );
    let running = app.start().await;
    let answer = json!({"Outputs": {"many": ["test", "plain text", {"a": 1}], "unknown": 1}, "Logs": null, "ReturnValue": "back"});
    running.put("jobs", &format!("answer:{answer}")).await;
    running.depth("many", 3).await;
    running.depth("one", 1).await;
    let mut bodies = Vec::new();
    for message in running
        .storage
        .receive("many", 32, Duration::from_secs(1))
        .await
        .unwrap()
    {
        bodies.push(BASE64.decode(message.text).unwrap());
    }
    bodies.sort();
    let mut wanted = vec![
        BASE64.decode("test").unwrap(),
        b"plain text".to_vec(),
        br#"{"a":1}"#.to_vec(),
    ];
    wanted.sort();
    assert_eq!(
        bodies, wanted,
        "a text that happens to be base64 is decoded, as the host does"
    );
    running.host.stop().await;
}

#[tokio::test]
async fn the_admin_endpoint_runs_a_function_now() {
    let app = App::new()
        .queue("Work", "jobs")
        .http("Echo", "echo", &[], "anonymous");
    let running = app.start().await;
    let run = |name: &str, body: &'static str| {
        running.send(
            running
                .request("POST", &format!("/admin/functions/{name}"))
                .body(body),
        )
    };
    assert_eq!(run("work", r#"{"input":"by hand"}"#).await.status, 202);
    assert_eq!(running.invoked("Work", 1).await.outcome, Outcome::Succeeded);
    let call = &app.calls()[0]["envelope"];
    assert_eq!(call["Data"]["item"], "\"by hand\"");
    assert!(call["Metadata"].get("Id").is_none());
    assert_eq!(run("Nope", "{}").await.status, 404);
    assert_eq!(run("Echo", "{}").await.status, 202);
    assert_eq!(run("Work", "not json").await.status, 400);
    running.host.stop().await;
}
