//! An upgrade in mid-story, with kills: what the version before accepted, analysed and half delivered, this one finishes.
//!
//! `tests/real/upgrade/run` builds that version and names its checkout in `AIOPS_RCA_PREVIOUS`. `AIOPS_RCA_SEED` as elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use aiops_rca::local::host::{Host, HostOptions};
use serde_json::{Value, json};

use super::rig::{Backend, Rig, ids};
use crate::support;

const FAILURES: u64 = 24;

#[expect(clippy::disallowed_methods, reason = "a test reads its own setting")]
fn previous() -> PathBuf {
    PathBuf::from(std::env::var_os("AIOPS_RCA_PREVIOUS").unwrap())
}

fn report(number: u64) -> Value {
    json!({"dag_id": format!("dag_{number}"), "task_id": "load", "run_id": "manual__1", "state": "failed", "try_number": 1,
        "max_tries": 0, "operator": "PythonOperator", "exception": format!("KeyError: 'column_{number}'")})
}

async fn story(backend: Backend) {
    let seed = support::number("AIOPS_RCA_SEED", 20_261_130);
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut this: Option<HostOptions> = None;
    // The version before knows no incidents.
    let fold = vec![("FOLD".to_owned(), "none".to_owned())];
    let mut rig = Rig::build_under(
        &backend,
        async move |_| fold,
        |options| {
            this = Some(options.clone());
            options.root = previous();
            options.executable = Some(previous().join("target/debug/aiops-rca"));
        },
    )
    .await;
    let mut owners: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for half in [0..FAILURES / 2, 0..FAILURES] {
        for number in half {
            let answer = rig.deliver("airflow-monitor", &report(number)).await;
            owners.entry(number).or_default().extend(ids(&answer));
            if number % 3 == 2 {
                tokio::time::sleep(Duration::from_millis(dice.u64(0..500))).await;
                rig.host.kill_child();
            }
        }
        if let Some(options) = this.take() {
            rig.host.stop().await;
            rig.host = Host::start(options).await.unwrap();
            assert!(rig.host.ready(Duration::from_secs(20)).await);
        }
    }
    assert!(
        owners.values().all(|ids| ids.len() == 1),
        "seed {seed}: {owners:#?}"
    );
    let tickets: Vec<String> = owners.into_values().flatten().collect();
    rig.until_shown(&tickets, Duration::from_secs(180)).await;
    let shown = (rig.issues().len(), rig.messages().len());
    assert_eq!(shown, (tickets.len(), tickets.len()), "seed {seed}");
    rig.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the version before: tests/real/upgrade/run"]
async fn an_upgrade_with_kills_loses_and_doubles_nothing_on_azurite() {
    story(Backend::azurite()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the version before: tests/real/upgrade/run"]
async fn an_upgrade_with_kills_loses_and_doubles_nothing_on_the_embedded_store() {
    story(Backend::Embedded).await;
}
