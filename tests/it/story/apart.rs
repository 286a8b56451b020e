//! Each vendor hangs in turn (it takes every call and answers none): the other sinks are not held up, the pages say so, and
//! what waited is shown once when it answers again.

use std::time::{Duration, Instant};

use aiops_rca::sinks::lanes::{SHARE, share};
use serde_json::Value;
use simulators::Fault;

use super::rig::{BLOB_MISSING, Backend, Rig, alert, ids, row, run};

/// More than the share of one sink, and more than the host runs at once.
const FAILURES: u32 = 30;
/// A vendor that hangs is probed no sooner than that after it was found out.
const FIRST_PAUSE: u64 = 5;

async fn fail(rig: &Rig, failures: u32) -> Vec<String> {
    let rows: Vec<Value> = (0..failures)
        .map(|number| row(&format!("pl_{number}"), &run(number), "2200", BLOB_MISSING))
        .collect();
    ids(&rig.deliver("azure-monitor", &alert("a1", &rows)).await)
}

/// Calls that the vendor which hangs may have been sent by now: its share, then one probe after another.
fn allowed(since: Instant) -> usize {
    let probes = since.elapsed().as_secs() / FIRST_PAUSE + 1;
    usize::try_from(u64::from(SHARE) + probes).unwrap()
}

async fn tells(rig: &Rig, title: &str) -> bool {
    let page = rig.get("dashboard").await.unwrap();
    String::from_utf8_lossy(&page.body).contains(&format!("{title} does not answer since"))
}

/// The tickets are shown everywhere, once, and the page is quiet again.
async fn heals(rig: &Rig, tickets: &[String], title: &str) {
    rig.until_shown(tickets, Duration::from_secs(150)).await;
    assert_eq!(rig.issues().len(), tickets.len());
    assert_eq!(rig.messages().len(), tickets.len());
    assert!(!tells(rig, title).await);
    rig.assert_wire_laws();
}

#[tokio::test]
async fn jira_hangs_and_slack_is_not_held_up() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    rig.jira
        .faults()
        .stands(Some(Fault::Delay(Duration::from_hours(1))));
    let since = Instant::now();
    let tickets = fail(&rig, 16).await;
    rig.until("Slack shows all", Duration::from_secs(60), async |rig| {
        let asked = rig.jira.requests().len();
        assert!(asked <= allowed(since), "JIRA was called {asked} times");
        rig.messages().len() == tickets.len()
    })
    .await;
    rig.until("the page tells", Duration::from_secs(30), async |rig| {
        tells(rig, "JIRA").await
    })
    .await;
    let waits = rig.ticket(&tickets[0]).await.unwrap();
    assert_eq!(waits["sinks"]["jira"]["state"], "lagging");
    assert_eq!(waits["sinks"]["slack"]["state"], "up_to_date");
    rig.jira.faults().stands(None);
    heals(&rig, &tickets, "JIRA").await;
}

#[tokio::test]
async fn slack_hangs_and_jira_is_not_held_up() {
    let rig = Rig::build(&Backend::Embedded, &[]).await;
    rig.slack
        .faults()
        .stands(Some(Fault::Delay(Duration::from_hours(1))));
    let since = Instant::now();
    let tickets = fail(&rig, FAILURES).await;
    rig.until("JIRA shows all", Duration::from_secs(60), async |rig| {
        let asked = rig.slack.requests().len();
        assert!(asked <= allowed(since), "Slack was called {asked} times");
        rig.issues().len() == tickets.len()
    })
    .await;
    rig.until("the page tells", Duration::from_secs(30), async |rig| {
        tells(rig, "Slack").await
    })
    .await;
    rig.slack.faults().stands(None);
    heals(&rig, &tickets, "Slack").await;
}

/// The shares of all sinks together fit into what the shipped `host.json` runs at once.
#[test]
fn the_hosts_batch_holds_every_share() {
    let host: Value = serde_json::from_str(include_str!("../../../host.json")).unwrap();
    let queues = &host["extensions"]["queues"];
    let at_once = [&queues["batchSize"], &queues["newBatchThreshold"]]
        .iter()
        .map(|number| number.as_u64().unwrap())
        .sum::<u64>();
    let shares = aiops_rca::ticket::Sink::ALL.map(|sink| u64::from(share(sink)));
    assert!(shares.iter().sum::<u64>() <= at_once);
}
