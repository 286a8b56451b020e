//! Rows: an alert that names no run becomes the failures that its vendor tells of.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::accept::WaitingRows;
use super::{Flow, Task};
use crate::evidence::{Expanded, Gap};
use crate::failure::{AssetKind, Failure, RunKey, field, own_words};
use crate::fault::Fault;
use crate::redaction::redact;
use crate::sources::{RowsOf, RowsRequest};

/// Delays before Log Analytics or ADF is asked again for rows that are not there yet.
const INGESTION_LAG: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(180),
    Duration::from_secs(300),
    Duration::from_secs(600),
];

impl Flow {
    /// Asks the vendor for the runs behind an alert and accepts each of them.
    pub(super) async fn expand_rows(
        &self,
        row: &str,
        round: u32,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let Some(document) = self.store.kept(row).await? else {
            return Ok(());
        };
        let Ok(WaitingRows { request, .. }) = serde_json::from_str(&document) else {
            return Err(Fault::permanent("a waiting alert cannot be read"));
        };
        let last = usize::try_from(round).is_ok_and(|round| round >= INGESTION_LAG.len());
        let expanded = match self.collector.expand(&request, now).await {
            Ok(expanded) => expanded,
            Err(fault) if fault.is_transient() && !last => {
                return self.ask_again(row, round).await;
            }
            Err(fault) => {
                let gap = Gap {
                    source: "rows".to_owned(),
                    reason: fault.reason().to_owned(),
                };
                Expanded {
                    failures: Vec::new(),
                    gaps: vec![gap],
                    ask_again: false,
                }
            }
        };
        if expanded.ask_again && !last {
            if !expanded.failures.is_empty() {
                self.accept_failures(expanded.failures, now).await?;
            }
            return self.ask_again(row, round).await;
        }
        let failures = if expanded.failures.is_empty() {
            vec![nameless(&request, &expanded.gaps)]
        } else {
            expanded.failures
        };
        self.accept_failures(failures, now).await?;
        self.store.drop_waiting(row).await
    }

    async fn ask_again(&self, row: &str, round: u32) -> Result<(), Fault> {
        let delay = usize::try_from(round)
            .ok()
            .and_then(|round| INGESTION_LAG.get(round))
            .copied()
            .unwrap_or(Duration::from_secs(600));
        let task = Task::Rows {
            row: row.to_owned(),
            round: round + 1,
        };
        self.put(task, delay).await
    }
}

/// The alert itself as one failure, when nobody could name its runs: never lost, and the gap is said.
fn nameless(request: &RowsRequest, gaps: &[Gap]) -> Failure {
    let (kind, word) = match request.rows_of {
        RowsOf::AdfRuns => (AssetKind::Pipeline, "pipeline run"),
        RowsOf::DatabricksClusters => (AssetKind::Cluster, "cluster"),
        RowsOf::DatabricksJobs => (AssetKind::Job, "job run"),
    };
    let rule = request.alert.rule.as_deref();
    let why: Vec<&str> = gaps.iter().map(|gap| gap.reason.as_str()).collect();
    let why = if why.is_empty() {
        "no rows were found in the alert's window".to_owned()
    } else {
        why.join("; ")
    };
    Failure {
        source: request.source,
        key: RunKey::new(
            request.source,
            "alert",
            request.run_id.as_deref().unwrap_or(&request.alert.id),
            request.asset.as_deref().unwrap_or_default(),
            "",
        ),
        kind,
        asset: request
            .asset
            .clone()
            .unwrap_or_else(|| rule.unwrap_or("an alert rule without a name").to_owned()),
        run_id: request.run_id.clone(),
        run_url: None,
        error_code: None,
        message: redact(&own_words::nameless(request.count, word, rule, &why)),
        context: request
            .resource
            .clone()
            .map(|resource| (field::FACTORY.to_owned(), resource))
            .into_iter()
            .collect(),
        occurred_at: request.to,
        source_severity: request.severity,
        alert: Some(request.alert.clone()),
    }
    .sealed()
}
