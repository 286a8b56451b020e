//! What a failure costs: calls of functions, and the handler's requests to its storage account, counted on the wire.

use std::time::Duration;

use aiops_rca::local::host::event::HostEvent;

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};
use crate::support::{self, proxy::Proxy};

/// What a failure may cost that is shown in JIRA and Slack and then closed by a person: the figures of the table in docs/operations.md
/// and a tenth.
const TABLE_REQUESTS: usize = 34;
const MESSAGES: usize = 8;
const EXECUTIONS: usize = 11;

const FAILURES: u32 = 10;
/// Failures of a storm.
const STORM: u32 = 24;

fn port(connection: &str, endpoint: &str) -> u16 {
    let value = connection
        .split(';')
        .find_map(|part| part.strip_prefix(&format!("{endpoint}=")))
        .unwrap();
    url::Url::parse(value).unwrap().port().unwrap()
}

/// Azurite behind proxies that count: of its tables, and of its queues.
async fn metered() -> (Backend, [Proxy; 2]) {
    let connection = support::azurite();
    let (tables, queues) = (
        port(&connection, "TableEndpoint"),
        port(&connection, "QueueEndpoint"),
    );
    let table_proxy = Proxy::start(&format!("127.0.0.1:{tables}")).await;
    let queue_proxy = Proxy::start(&format!("127.0.0.1:{queues}")).await;
    let through = connection
        .replace(&format!(":{tables}"), &format!(":{}", table_proxy.port()))
        .replace(&format!(":{queues}"), &format!(":{}", queue_proxy.port()));
    (Backend::Behind(through), [table_proxy, queue_proxy])
}

/// Requests to tables, and messages, of this many failures of one cause on as many assets.
async fn of_a_storm(fold: &str) -> (usize, usize) {
    let (backend, [table_proxy, queue_proxy]) = metered().await;
    let rig = Rig::build(&backend, &[("FOLD", fold.to_owned())]).await;
    assert_eq!(rig.get("health").await.unwrap().status, 200);
    let wire = [&table_proxy, &queue_proxy];
    let before = wire.map(|proxy| proxy.requests().len());
    let rows: Vec<_> = (0..STORM)
        .map(|number| {
            let asset = format!("pl_{}", number % 4);
            row(&asset, &run(1000 + number), "2200", BLOB_MISSING)
        })
        .collect();
    rig.deliver("azure-monitor", &alert("storm", &rows)).await;
    rig.until(
        "something is shown",
        Duration::from_mins(1),
        async |rig: &Rig| !rig.messages().is_empty() && !rig.issues().is_empty(),
    )
    .await;
    until_quiet(wire).await;
    let [requests, messages] = wire.map(|proxy| proxy.requests().len());
    let count = (requests - before[0], messages - before[1]);
    println!(
        "FOLD={fold}: {STORM} failures, {} issues, {} table requests, {} messages",
        rig.issues().len(),
        count.0,
        count.1
    );
    rig.host.stop().await;
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn folding_costs_no_more_than_a_message_each() {
    let folded = of_a_storm("repeat,cascade,storm,fan-out").await;
    let apart = of_a_storm("none").await;
    let calls = |(requests, messages): (usize, usize)| requests + messages;
    assert!(
        calls(folded) <= calls(apart) && folded.1 <= apart.1,
        "{folded:?}, {apart:?} without folding"
    );
}

async fn until_quiet(wire: [&Proxy; 2]) {
    let count = || wire.map(|proxy| proxy.requests().len());
    let mut last = count();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now = count();
        if now == last {
            return;
        }
        last = now;
    }
    panic!("the handler does not come to rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_costs_what_the_documents_say() {
    let (backend, [table_proxy, queue_proxy]) = metered().await;
    // Each is like no other: nothing folds, and that is found out.
    let fold = ("FOLD", "repeat,cascade,storm,fan-out".to_owned());
    let rig = Rig::build(&backend, &[fold]).await;
    // The first call creates tables and queues.
    assert_eq!(rig.get("health").await.unwrap().status, 200);
    let wire = [&table_proxy, &queue_proxy];
    let before = wire.map(|proxy| proxy.requests().len());
    let rows: Vec<_> = (0..FAILURES)
        .map(|number| {
            let missing = BLOB_MISSING.replace("https://stprod.blob.core.windows.net/in", "in");
            row(&format!("pl_{number}"), &run(number), "2200", &missing)
        })
        .collect();
    let answer = rig.deliver("azure-monitor", &alert("costs", &rows)).await;
    // Nobody may ask for tickets meanwhile: that would be counted as well.
    rig.until(
        "all are shown",
        Duration::from_mins(1),
        async |rig: &Rig| rig.issues().len() == rows.len() && rig.messages().len() == rows.len(),
    )
    .await;
    until_quiet(wire).await;
    for id in ids(&answer) {
        rig.post(
            &format!("api/tickets/{id}/acknowledge"),
            r#"{"by":"Jane Roe"}"#,
        )
        .await
        .unwrap();
    }
    rig.until("all are done", Duration::from_mins(1), async |rig: &Rig| {
        rig.issues().iter().all(|issue| issue.status == "Done")
    })
    .await;
    until_quiet(wire).await;

    let [table_requests, messages] = wire.map(|proxy| proxy.requests().len());
    let (table_requests, messages) = (table_requests - before[0], messages - before[1]);
    let called = |event: &HostEvent| matches!(event, HostEvent::Invoked(call) if !matches!(call.function.as_str(), "Health" | "Sweep"));
    let executions = rig
        .host
        .events_so_far()
        .iter()
        .filter(|event| called(event))
        .count();
    println!(
        "{FAILURES} failures: {table_requests} table requests, {messages} messages, {executions} executions"
    );
    assert!(
        table_requests <= TABLE_REQUESTS * rows.len(),
        "{table_requests} table requests"
    );
    assert!(messages <= MESSAGES * rows.len(), "{messages} messages");
    assert!(
        executions <= EXECUTIONS * rows.len(),
        "{executions} executions"
    );
    rig.host.stop().await;
}
