//! Runs of another platform behind a failure: their cause is its cause.

use chrono::{DateTime, Utc};

use super::collector::NO_WORKSPACE;
use super::standing::FAILED;
use super::{Collected, Collector};
use crate::failure::remote::{self, remote_run};
use crate::failure::{Failure, Source, field};

impl Collector {
    /// The run of another platform that an Airflow task only watched: its state, and its cause if it failed.
    pub(super) async fn of_watched_run(
        &self,
        failure: &Failure,
        found: &mut Collected,
        now: DateTime<Utc>,
    ) {
        let operator = found.refinement.context.get(field::OPERATOR);
        let operator = operator
            .map(String::as_str)
            .or(failure.field(field::OPERATOR));
        let mut texts = vec![failure.message.as_str()];
        texts.extend(found.evidence.iter().map(|proof| proof.text.as_str()));
        let Some((run, id)) =
            remote_run(operator, &texts).and_then(|run| run.run_id.clone().map(|id| (run, id)))
        else {
            return;
        };
        let clients = match run.platform {
            remote::DATABRICKS => self.all(Source::Databricks),
            remote::DATA_FACTORY | remote::SYNAPSE => self.all(Source::Adf),
            _ => return,
        };
        for client in clients {
            let asked = self.answered(client.platform(), client.state_of(&id)).await;
            let state = match asked {
                Ok(Some(state)) => state,
                Ok(None) => continue,
                Err(fault) => {
                    found.miss(client.run_source(), fault.reason());
                    continue;
                }
            };
            if state == FAILED {
                let mut linked = Collected::default();
                self.within(client.run_source(), &mut linked, async |linked| {
                    client.collect_linked(&id, now, linked).await
                })
                .await;
                take_cause(found, linked);
            }
            found.refinement.context.extend([
                (field::REMOTE_PLATFORM.to_owned(), run.platform.to_owned()),
                (field::REMOTE_RUN_ID.to_owned(), id),
                (field::REMOTE_STATE.to_owned(), state),
            ]);
            return;
        }
    }

    /// The Databricks run that an ADF activity started: its cause is the cause.
    pub(super) async fn of_linked_run(&self, found: &mut Collected, now: DateTime<Utc>) {
        let context = &found.refinement.context;
        let (Some(run), Some(page)) = (
            context.get(field::LINKED_RUN_ID).cloned(),
            context.get(field::LINKED_RUN_URL),
        ) else {
            return;
        };
        if self.databricks.is_empty() {
            return found.miss("databricks.run", NO_WORKSPACE);
        }
        let Some(workspace) = self
            .databricks
            .iter()
            .find(|workspace| workspace.owns(page))
        else {
            return found.miss(
                "databricks.run",
                "the activity ran in another workspace than DATABRICKS_WORKSPACE_URL or DATABRICKS_WORKSPACES",
            );
        };
        let mut linked = Collected::default();
        self.within("databricks.run", &mut linked, async |linked| {
            workspace.collect_run(&run, now, linked).await
        })
        .await;
        let mut context = std::mem::take(&mut linked.refinement.context);
        context.remove(field::REPAIR_ID);
        found.refinement.context.extend(context);
        take_cause(found, linked);
    }
}

/// Takes over what is known about the run behind the failure.
fn take_cause(found: &mut Collected, linked: Collected) {
    found.evidence.extend(linked.evidence);
    found.gaps.extend(linked.gaps);
    let better = &mut found.refinement;
    better.error_code = linked.refinement.error_code.or(better.error_code.take());
    better.message = linked.refinement.message.or(better.message.take());
}
