//! A store in trouble, two instances on it, and handlers killed at random: nothing is lost and nothing doubled.
//!
//! Some of all table and queue requests are answered 500, 503, 429, 409 or 412, cut, done and not answered, or held up for two
//! to ten seconds. `AIOPS_RCA_SHAKEN` sets the number of failures (16 by default), `AIOPS_RCA_SEED` the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aiops_rca::local::host::{Host, HostOptions};
use serde_json::json;

use super::rig::{Backend, Rig};
use crate::support::{self, proxy::Proxy};

/// Of a hundred requests.
const TROUBLE: u32 = 4;
/// Failures between two kills of either handler.
const PEACE: u64 = 4;

fn port(connection: &str, endpoint: &str) -> u16 {
    let mut parts = connection.split(';');
    let value = parts.find_map(|part| part.strip_prefix(&format!("{endpoint}=")));
    url::Url::parse(value.unwrap()).unwrap().port().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_trouble_loses_and_doubles_nothing_for_two_instances_that_are_killed() {
    let failures = support::number("AIOPS_RCA_SHAKEN", 16);
    let seed = support::number("AIOPS_RCA_SEED", 20_261_130);
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut through = support::azurite();
    let mut proxies = Vec::new();
    for endpoint in ["TableEndpoint", "QueueEndpoint"] {
        let at = port(&through, endpoint);
        let proxy = Proxy::start(&format!("127.0.0.1:{at}")).await;
        through = through.replace(&format!(":{at}"), &format!(":{}", proxy.port()));
        proxies.push(proxy);
    }
    let mut other: Option<HostOptions> = None;
    let fold = vec![("FOLD".to_owned(), "none".to_owned())];
    let backend = Backend::Behind(through);
    let rig = Rig::build_under(
        &backend,
        async move |_| fold,
        |options| other = Some(options.clone()),
    )
    .await;
    let mut options = other.unwrap();
    options.address = ([127, 0, 0, 1], 0).into();
    let second = Host::start(options).await.unwrap();
    assert!(second.ready(Duration::from_secs(20)).await);
    for (number, proxy) in proxies.iter().enumerate() {
        proxy.trouble(seed + number as u64, TROUBLE);
    }

    let mut owners: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for number in 0..failures {
        let body = json!({"dag_id": format!("dag_{number}"), "task_id": "load", "run_id": "manual__1", "state": "failed",
            "try_number": 1, "max_tries": 0, "operator": "PythonOperator", "exception": format!("KeyError: 'column_{number}'")});
        // To either instance, and again to the other: a sender repeats what was not answered with 200.
        for host in if dice.bool() {
            [&rig.host, &second]
        } else {
            [&second, &rig.host]
        } {
            let url = url::Url::parse(&host.url("airflow-monitor")).unwrap();
            let id = loop {
                let sent = support::http()
                    .request(reqwest::Method::POST, &url)
                    .json(&body)
                    .send()
                    .await;
                if let Ok(answer) = sent
                    && answer.status().as_u16() == 200
                {
                    let answer: serde_json::Value =
                        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                    break answer["ticket_id"].as_str().unwrap().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            owners.entry(number).or_default().insert(id);
        }
        if number % PEACE == PEACE - 1 {
            let killed = if dice.bool() { &rig.host } else { &second };
            tokio::time::sleep(Duration::from_millis(dice.u64(0..400))).await;
            killed.kill_child();
        }
    }
    assert!(
        owners.values().all(|ids| ids.len() == 1),
        "seed {seed}: {owners:#?}"
    );

    let tickets: Vec<String> = owners.into_values().flatten().collect();
    let patience = Duration::from_secs(120 + 3 * failures);
    rig.until("all are shown", patience, async |rig: &Rig| {
        rig.issues().len() >= tickets.len() && rig.messages().len() >= tickets.len()
    })
    .await;
    // What is still under way could double something.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let labels: Vec<String> = (rig.issues().iter())
        .flat_map(|issue| issue.labels.clone())
        .filter(|label| label.starts_with("rca-"))
        .collect();
    let messages = serde_json::to_string(
        &rig.messages()
            .iter()
            .map(|message| &message.metadata)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    for id in &tickets {
        let issues = labels
            .iter()
            .filter(|label| **label == format!("rca-{id}"))
            .count();
        assert_eq!(
            (issues, messages.matches(id.as_str()).count()),
            (1, 1),
            "{id}, seed {seed}"
        );
    }
    assert_eq!(
        (rig.issues().len(), rig.messages().len()),
        (tickets.len(), tickets.len()),
        "seed {seed}"
    );
    second.stop().await;
    rig.host.stop().await;
}
