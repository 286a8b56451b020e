//! The failed runs behind an alert that names none.

use chrono::{DateTime, Utc};

use super::collector::{NO_FACTORY, NO_LOGS, NO_WORKSPACE, elsewhere};
use super::{Collector, Gap};
use crate::failure::{Failure, Place, Source};
use crate::fault::Fault;
use crate::sources::{RowsOf, RowsRequest};

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
    /// The failed runs behind an alert that names none. `Err` only when asking again may help.
    pub async fn expand(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Result<Expanded, Fault> {
        let mut told = Expanded::default();
        let mut passing = None;
        let mut asked = false;
        for failures in self.runs_of_vendors(request, now).await {
            let failures = failures.map(|failures| (failures, false));
            asked |= told.take("vendor's API", failures, &mut passing);
        }
        if told.failures.is_empty()
            && let Some(logs) = &self.log_analytics
        {
            let found = self
                .answered("Log Analytics", logs.failed_runs(request, now))
                .await;
            let failures = found.map(|found| (found.failures(request), found.partial));
            asked |= told.take("log_analytics", failures, &mut passing);
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
                let of_vendor = match request.rows_of {
                    RowsOf::AdfRuns => NO_FACTORY,
                    RowsOf::DatabricksClusters | RowsOf::DatabricksJobs => NO_WORKSPACE,
                };
                told.gap("rows", &format!("{NO_LOGS}, or {of_vendor}"));
            }
        }
        Ok(told)
    }

    /// The vendor's own API knows a run at once; logs know it minutes later. Every scope that the alert may be about
    /// is asked.
    async fn runs_of_vendors(
        &self,
        request: &RowsRequest,
        now: DateTime<Utc>,
    ) -> Vec<Result<Vec<Failure>, Fault>> {
        let source = request.rows_of.source();
        let named = request
            .resource
            .as_deref()
            .filter(|id| is_about(source, id));
        let place = self.place_of(source, named);
        if let Place::Elsewhere(named) = &place {
            return vec![Err(Fault::permanent(elsewhere(source, named)))];
        }
        let mut answers = Vec::new();
        for client in self.clients_in(source, &place) {
            answers.push(
                self.answered(client.platform(), client.failed_runs(request, now))
                    .await,
            );
        }
        answers
    }
}

/// Does this resource id name a place of the platform?
fn is_about(source: Source, resource: &str) -> bool {
    match source {
        Source::Adf => {
            resource.contains("/microsoft.datafactory/factories/")
                || resource.contains("/microsoft.synapse/workspaces/")
        }
        Source::Databricks => resource.contains("/microsoft.databricks/workspaces/"),
        Source::Airflow | Source::System => false,
    }
}

impl Expanded {
    fn gap(&mut self, source: &str, reason: &str) {
        self.gaps.push(Gap {
            source: source.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// Takes one answer; a fault becomes a gap. Was there an answer?
    fn take(
        &mut self,
        source: &str,
        answer: Result<(Vec<Failure>, bool), Fault>,
        passing: &mut Option<Fault>,
    ) -> bool {
        match answer {
            Ok((failures, partial)) => {
                self.failures.extend(failures);
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
