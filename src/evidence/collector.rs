//! All vendors at once: evidence of a failure, runs behind an alert, the fate of a remediation.
//!
//! Every client is optional; a missing one is a gap that names what to set. Each vendor has a budget of a few
//! seconds; what it said before the budget ran out is kept.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::log_analytics::NO_ROWS_YET;
use super::{
    Airflow, Collected, DataFactory, Databricks, Gap, LogAnalytics, Refinement, RunOutcome,
};
use crate::failure::{AssetKind, Failure, Source, field};
use crate::fault::Fault;
use crate::sources::{RowsOf, RowsRequest, rows};

const NO_FACTORY: &str =
    "set AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZURE_DATA_FACTORY_NAME to read the run";
const NO_WORKSPACE: &str = "set DATABRICKS_WORKSPACE_URL (and DATABRICKS_TOKEN, or give the identity access) to read the run";
const NO_AIRFLOW: &str = "set AIRFLOW_BASE_URL and its credentials to read the task's log";
const NO_LOGS: &str = "set LOG_ANALYTICS_WORKSPACE_ID to read the logs";

/// Sources of evidence, the most telling first; sources that are not named come last.
const TELLING: [&str; 9] = [
    "databricks.run_output",
    "adf.activity_runs",
    "airflow.log",
    "databricks.libraries",
    "databricks.cluster",
    "databricks.cluster_events",
    "databricks.run",
    "adf.pipeline_run",
    "airflow.task_instance",
];

/// The vendors' clients, each optional.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Azure Data Factory.
    pub data_factory: Option<DataFactory>,
    /// Log Analytics.
    pub log_analytics: Option<LogAnalytics>,
    /// Databricks.
    pub databricks: Option<Databricks>,
    /// Airflow.
    pub airflow: Option<Airflow>,
    /// How long one vendor may take over one failure.
    pub budget: Duration,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            data_factory: None,
            log_analytics: None,
            databricks: None,
            airflow: None,
            budget: Duration::from_secs(8),
        }
    }
}

/// The failures behind an alert.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expanded {
    /// One for each failed run.
    pub failures: Vec<Failure>,
    /// Who could not be asked, and why.
    pub gaps: Vec<Gap>,
    /// Rows may still be on their way: ask again later.
    pub ask_again: bool,
}

impl Collector {
    /// Everything the vendors say about a failure; never a fault.
    pub async fn collect(&self, failure: &Failure, now: DateTime<Utc>) -> Collected {
        let (mut own, logs) =
            futures::join!(self.of_vendor(failure, now), self.of_logs(failure, now));
        let silent = own.evidence.is_empty();
        match logs {
            Some(logs) => merge(&mut own, logs, silent),
            None if silent && failure.source != Source::Airflow => {
                own.miss("log_analytics", NO_LOGS);
            }
            None => {}
        }
        own.evidence.sort_by_key(|proof| {
            TELLING
                .iter()
                .position(|source| *source == proof.source)
                .unwrap_or(TELLING.len())
        });
        for (number, proof) in (1..).zip(&mut own.evidence) {
            proof.id = format!("e{number}");
        }
        own
    }

    async fn of_vendor(&self, failure: &Failure, now: DateTime<Utc>) -> Collected {
        let mut found = Collected::default();
        match (
            failure.source,
            &self.data_factory,
            &self.databricks,
            &self.airflow,
        ) {
            (Source::Adf, Some(factory), _, _) => {
                self.within("adf.activity_runs", &mut found, async |found| {
                    factory.collect(failure, now, found).await;
                })
                .await;
                self.of_linked_run(&mut found, now).await;
            }
            (Source::Adf, None, _, _) => found.miss("adf.activity_runs", NO_FACTORY),
            (Source::Databricks, _, Some(workspace), _) => {
                self.within("databricks.run", &mut found, async |found| {
                    workspace.collect(failure, now, found).await;
                })
                .await;
            }
            (Source::Databricks, _, None, _) => {
                found.miss(
                    if failure.kind == AssetKind::Cluster {
                        "databricks.cluster"
                    } else {
                        "databricks.run"
                    },
                    NO_WORKSPACE,
                );
            }
            (Source::Airflow, _, _, Some(airflow)) => {
                self.within("airflow.log", &mut found, async |found| {
                    airflow.collect(failure, now, found).await;
                })
                .await;
            }
            (Source::Airflow, _, _, None) => found.miss("airflow.log", NO_AIRFLOW),
        }
        found
    }

    /// The Databricks run that an ADF activity started: its cause is the cause.
    async fn of_linked_run(&self, found: &mut Collected, now: DateTime<Utc>) {
        let context = &found.refinement.context;
        let (Some(run), Some(page)) = (
            context.get(field::LINKED_RUN_ID).cloned(),
            context.get(field::LINKED_RUN_URL),
        ) else {
            return;
        };
        let Some(workspace) = &self.databricks else {
            return found.miss("databricks.run", NO_WORKSPACE);
        };
        if !workspace.owns(page) {
            return found.miss(
                "databricks.run",
                "the activity ran in another workspace than DATABRICKS_WORKSPACE_URL",
            );
        }
        let mut linked = Collected::default();
        self.within("databricks.run", &mut linked, async |linked| {
            workspace.collect_linked(&run, now, linked).await;
        })
        .await;
        let Refinement {
            error_code,
            message,
            mut context,
            ..
        } = linked.refinement;
        found.evidence.extend(linked.evidence);
        found.gaps.extend(linked.gaps);
        found.refinement.error_code = error_code.or(found.refinement.error_code.take());
        found.refinement.message = message.or(found.refinement.message.take());
        context.remove(field::REPAIR_ID);
        found.refinement.context.extend(context);
    }

    async fn of_logs(&self, failure: &Failure, now: DateTime<Utc>) -> Option<Collected> {
        let logs = self.log_analytics.as_ref()?;
        let mut found = Collected::default();
        self.within("log_analytics", &mut found, async |found| {
            logs.collect(failure, now, found).await;
        })
        .await;
        Some(found)
    }

    /// Runs one vendor's part within the budget; what it found until then stays.
    async fn within(
        &self,
        source: &str,
        found: &mut Collected,
        part: impl AsyncFnOnce(&mut Collected),
    ) {
        if tokio::time::timeout(self.budget, part(found))
            .await
            .is_err()
        {
            found.miss(
                source,
                format!(
                    "not all was answered within {} seconds",
                    self.budget.as_secs()
                ),
            );
        }
    }

    /// The failed runs behind an alert that names none. `Err` only when asking again may help.
    pub async fn expand(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<Expanded, Fault> {
        let mut told = Expanded::default();
        let mut passing = None;
        let mut asked = false;
        if let Some(table) = self.rows_of_vendor(request, now).await {
            let table = table.map(|table| (Some(table), false));
            asked |= told.take(request, "vendor's API", table, &mut passing);
        }
        if told.failures.is_empty()
            && let Some(logs) = &self.log_analytics
        {
            let found = self
                .answered("Log Analytics", logs.failed_runs(request, now))
                .await;
            asked |= told.take(
                request,
                "log_analytics",
                found.map(|found| (found.table, found.partial)),
                &mut passing,
            );
        }
        if told.failures.is_empty() {
            if let Some(fault) = passing {
                return Err(fault);
            }
            if asked {
                told.ask_again = true;
                told.gap(
                    "rows",
                    "no failed run was found in the alert's window (logs arrive minutes late)",
                );
            } else if told.gaps.is_empty() {
                let of_vendor = if request.rows_of == RowsOf::AdfRuns {
                    NO_FACTORY
                } else {
                    NO_WORKSPACE
                };
                told.gap("rows", &format!("{NO_LOGS}, or {of_vendor}"));
            }
        }
        Ok(told)
    }

    /// The vendor's own API knows a run at once; logs know it minutes later.
    async fn rows_of_vendor(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Option<Result<rows::Table, Fault>> {
        match (request.rows_of, &self.data_factory, &self.databricks) {
            (RowsOf::AdfRuns, Some(factory), _) => Some(
                self.answered("Data Factory", factory.failed_runs(request, now))
                    .await,
            ),
            (RowsOf::DatabricksClusters | RowsOf::DatabricksJobs, _, Some(workspace)) => Some(
                self.answered("Databricks", workspace.failed_runs(request, now))
                    .await,
            ),
            _ => None,
        }
    }

    async fn answered<T>(
        &self,
        what: &str,
        asking: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let late = |_| {
            Fault::transient(format!(
                "{what} did not answer within {} seconds",
                self.budget.as_secs()
            ))
        };
        tokio::time::timeout(self.budget, asking)
            .await
            .map_err(late)?
    }

    /// What became of the run that a remediation of `failure` started.
    pub async fn outcome(&self, failure: &Failure, run_id: &str) -> Result<RunOutcome, Fault> {
        match (
            failure.source,
            &self.data_factory,
            &self.databricks,
            &self.airflow,
        ) {
            (Source::Adf, Some(factory), _, _) => {
                self.answered("Data Factory", factory.outcome(run_id)).await
            }
            (Source::Databricks, _, Some(workspace), _) => {
                self.answered(
                    "Databricks",
                    workspace.outcome(failure.run_id.as_deref(), run_id),
                )
                .await
            }
            (Source::Airflow, _, _, Some(airflow)) => {
                self.answered("Airflow", airflow.outcome(failure, run_id))
                    .await
            }
            _ => Ok(RunOutcome::NotConfigured),
        }
    }

    /// The run that the attempt's playbook, called at `called_at`, started; `None` when there is none, or when
    /// nobody can be asked. `action` is the action's name (`retry_pipeline`, `restart_cluster` …).
    ///
    /// No vendor lists its runs by a token of the caller's, so `attempt_id` cannot be asked for: time, run group,
    /// repair and trigger tell the run.
    pub async fn find_attempt_run(
        &self,
        failure: &Failure,
        action: &str,
        attempt_id: &str,
        called_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Fault> {
        tracing::debug!(
            attempt.id = attempt_id,
            failure.source = failure.source.name(),
            "asking the vendor for the attempt's run"
        );
        // An upstream's run belongs to another asset, which the failure does not name.
        if action == "check_upstream" {
            return Ok(None);
        }
        match (
            failure.source,
            &self.data_factory,
            &self.databricks,
            &self.airflow,
        ) {
            (Source::Adf, Some(factory), _, _) => {
                let original = failure.run_id.as_deref().unwrap_or_default();
                self.answered(
                    "Data Factory",
                    factory.find_attempt_run(&failure.asset, original, called_at, now),
                )
                .await
            }
            (Source::Databricks, _, Some(workspace), _) => {
                self.answered(
                    "Databricks",
                    workspace.find_attempt_run(failure, action, called_at),
                )
                .await
            }
            (Source::Airflow, _, _, Some(airflow)) => {
                self.answered("Airflow", airflow.find_attempt_run(failure, called_at))
                    .await
            }
            _ => Ok(None),
        }
    }
}

impl Expanded {
    fn gap(&mut self, source: &str, reason: &str) {
        self.gaps.push(Gap {
            source: source.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Takes one answer: rows become failures, a lasting fault a gap. Was there an answer?
    fn take(
        &mut self,
        request: &RowsRequest,
        source: &str,
        answer: Result<(Option<rows::Table>, bool), Fault>,
        passing: &mut Option<Fault>,
    ) -> bool {
        match answer {
            Ok((table, partial)) => {
                let read = if request.rows_of == RowsOf::AdfRuns {
                    rows::adf_failures
                } else {
                    rows::databricks_failures
                };
                self.failures.extend(
                    table
                        .iter()
                        .flat_map(|table| read(table, request.severity, Some(&request.alert))),
                );
                if partial {
                    self.ask_again = true;
                    self.gap(source, "the answer was incomplete (PartialError)");
                }
                true
            }
            Err(fault) => {
                self.gap(source, fault.reason());
                if fault.is_transient() {
                    *passing = Some(fault);
                }
                false
            }
        }
    }
}

/// The vendor's word comes first; logs fill what it left open, and everything when it was silent.
fn merge(own: &mut Collected, logs: Collected, silent: bool) {
    own.evidence.extend(logs.evidence);
    if silent {
        own.refinement = logs.refinement;
        own.gaps.extend(logs.gaps);
    } else {
        // That rows have not arrived yet matters little once the vendor itself has spoken.
        own.gaps.extend(
            logs.gaps
                .into_iter()
                .filter(|gap| gap.reason != NO_ROWS_YET),
        );
    }
}
