//! A run is claimed without being read where this process has not seen it: what others know of it must make that fail.

use aiops_rca::flow::accept::AcceptStatus;
use aiops_rca::sources::airflow::units;
use aiops_rca::sources::reruns;
use aiops_rca::ticket::store::TicketStore;

use super::Rig;
use crate::machine::{at, failure};
use crate::support;
use aiops_rca::failure::{Failure, RunKey, Source, field};

fn of(source: Source, run: &str, task: Option<&str>) -> Failure {
    let mut failure = Failure {
        source,
        key: RunKey::new(source, "", run, "", ""),
        asset: "nightly".to_owned(),
        run_id: Some(run.to_owned()),
        ..failure()
    };
    if source == Source::Airflow {
        failure.key = RunKey::new(source, "nightly", run, task.unwrap_or_default(), "");
        (failure.context).insert(field::DAG_ID.to_owned(), "nightly".to_owned());
        if let Some(task) = task {
            (failure.context).insert(field::TASK_ID.to_owned(), task.to_owned());
        }
    }
    failure
}

fn all_kinds(run: &str) -> [Failure; 4] {
    [
        of(Source::Adf, run, None),
        of(Source::Databricks, run, None),
        of(Source::Airflow, run, Some("load")),
        of(Source::Airflow, &format!("{run}-whole"), None),
    ]
}

impl Rig {
    /// Another process, with a memory of its own.
    async fn restart(&mut self, store: &aiops_rca::storage::Storage) {
        self.flow.store = TicketStore::new(store.clone());
        self.flow.prepare().await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_another_process_claimed_is_a_duplicate() {
    let (mut rig, store) = (Rig::build().await, support::embedded());
    for failure in all_kinds("run-1") {
        rig.restart(&store).await;
        let (id, status) = rig.accept(&failure, at(0)).await;
        assert_eq!(status, AcceptStatus::Accepted);
        for again in [1, 2] {
            rig.restart(&store).await;
            assert_eq!(
                rig.accept(&failure, at(again)).await,
                (id.clone(), AcceptStatus::Duplicate),
                "{failure:?}"
            );
        }
        assert_eq!(
            rig.accept(&failure, at(3)).await,
            (id.clone(), AcceptStatus::Duplicate)
        );
    }
}

#[tokio::test]
async fn a_run_that_another_process_started_opens_no_ticket() {
    let (mut rig, store) = (Rig::build().await, support::embedded());
    for failure in all_kinds("run-1") {
        rig.restart(&store).await;
        let ticket = rig.open(&failure, at(0)).await;
        let mut rerun = failure.clone();
        rerun.run_id = Some("rerun-1".to_owned());
        rerun.key = match failure.source {
            Source::Airflow => RunKey::new(
                Source::Airflow,
                "nightly",
                "rerun-1",
                failure.field(field::TASK_ID).unwrap_or_default(),
                "",
            ),
            _ => reruns::key(&failure, "rerun-1"),
        };
        let run = units::run_of(&rerun).unwrap_or_else(|| rerun.key.clone());
        let key = reruns::key(&failure, "rerun-1");
        let index = || (rig.flow.store).index_remediation_run(&run, &key, &ticket.id);
        index().await.unwrap();
        index().await.unwrap();
        rig.restart(&store).await;
        assert_eq!(
            rig.accept(&rerun, at(60)).await,
            (ticket.id.clone(), AcceptStatus::Duplicate),
            "{rerun:?}"
        );
        // Reported before the playbook named it, it keeps its ticket.
        rerun.run_id = Some("rerun-2".to_owned());
        rerun.key = RunKey::new(rerun.source, "", "rerun-2", "", "");
        let (own, _) = rig.accept(&rerun, at(70)).await;
        let run = units::run_of(&rerun).unwrap_or_else(|| rerun.key.clone());
        let key = reruns::key(&failure, "rerun-2");
        (rig.flow.store)
            .index_remediation_run(&run, &key, &ticket.id)
            .await
            .unwrap();
        let rows = rig.flow.store.run(&run).await.unwrap();
        let owner = rig.flow.store.owner(&rows, &rerun.key).await.unwrap();
        if rerun.source != Source::Airflow {
            assert_eq!(owner, Some(own));
        }
        let healed = rig.flow.store.by_remediation_run(&rows, &key).await;
        assert_eq!(healed.unwrap(), Some(ticket.id));
    }
}
