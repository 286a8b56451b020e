//! Green but empty: a good run that moved nothing, or much less than the good runs before it, closes nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::failure::{AssetKind, Failure, RunKey, Scope, Source, field};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::patrol::{self, End, Outcome, Watch, volume};
use crate::ticket::Ticket;
use crate::ticket::machine::Report;

/// Good runs whose volumes are asked for in one tick: the others are taken as they are.
const ASKED: usize = 5;

impl Flow {
    /// Compares the good ends that a rule names with the ones before; what is empty is noted with its good end, or becomes a
    /// failure where nothing is open that it could be told on.
    pub(super) async fn weigh(
        &self,
        scope: &Scope,
        watch: &mut Watch,
        ends: &[End],
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let good = ends.iter().filter(|end| end.outcome == Outcome::Succeeded);
        let ruled = good.filter_map(|end| Some((end, self.patrol.volumes.share_of(&end.name)?)));
        for (end, share) in ruled.take(ASKED) {
            let moved = match self.collector.moved(scope, &end.run_id, now).await {
                Ok(moved) => moved,
                Err(fault) => {
                    tracing::info!(scope.name = %scope.name, reason = fault.reason(), "it is not known what a run moved");
                    continue;
                }
            };
            let unit = end.unit.key().to_owned();
            let before = watch.volumes.entry(unit.clone()).or_default();
            let Some(words) = volume::drop_of(&moved, before, share) else {
                if !moved.is_empty() {
                    volume::remember(before, moved);
                }
                continue;
            };
            if let Some(good) = watch.good.get_mut(&unit)
                && good.run_id == end.run_id
            {
                good.empty = Some(words.clone());
            }
            if !self.has_open_ticket(&unit).await? {
                self.accept_failures(vec![empty(scope, end, &words)], now)
                    .await?;
            }
        }
        Ok(())
    }

    pub(super) async fn has_open_ticket(&self, unit: &str) -> Result<bool, Fault> {
        let units = BTreeSet::from([unit.to_owned()]);
        for (_, id) in self.store.tickets_of_units(&units).await? {
            if let Some(ticket) = self.store.load(&id).await?
                && !ticket.is_closed()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the end of a rerun that we started is worth: it ended well, and may have moved nothing.
    pub(in crate::flow) async fn report_of_rerun(
        &self,
        ticket: &Ticket,
        run: &str,
        now: DateTime<Utc>,
    ) -> Report {
        if !self.patrol.on {
            return Report::Succeeded;
        }
        let failure = &ticket.failure;
        let share = self.patrol.volumes.share_of(&failure.asset);
        let asked = self.collector.moved_by_rerun(failure, run, now).await;
        let told = asked.and_then(|(moved, before)| {
            volume::drop_of(&moved, &before, share.unwrap_or_default())
        });
        told.map_or(Report::Succeeded, Report::Empty)
    }
}

fn empty(scope: &Scope, end: &End, words: &str) -> Failure {
    let mut context = BTreeMap::from([
        (field::SCOPE.to_owned(), scope.id.clone()),
        (patrol::FINDING.to_owned(), patrol::EMPTY.to_owned()),
    ]);
    let kind = match scope.source {
        Source::Databricks => {
            context.insert(field::JOB_ID.to_owned(), end.id.clone());
            AssetKind::Job
        }
        Source::Airflow => {
            context.insert(field::DAG_ID.to_owned(), end.id.clone());
            AssetKind::Task
        }
        Source::Adf | Source::System => AssetKind::Pipeline,
    };
    Failure {
        source: scope.source,
        key: RunKey::new(scope.source, "volume", &end.run_id, "", ""),
        kind,
        asset: end.name.clone(),
        run_id: Some(end.run_id.clone()),
        run_url: None,
        error_code: Some("EmptyRun".to_owned()),
        message: format!(
            "Run {} of {} ended well, but {words}.",
            end.run_id, end.name
        ),
        context,
        occurred_at: end.ended,
        source_severity: None,
        alert: None,
    }
}
