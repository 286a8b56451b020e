//! What should have run and did not: one ticket when a run is overdue, closed when the run comes.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::failure::{AssetKind, Failure, RunKey, Scope, Source, field};
use crate::fault::Fault;
use crate::flow::Flow;
use crate::patrol::rhythm::{Overdue, Rhythm, words};
use crate::patrol::{self, Due, Recovery, Watch};
use crate::ticket::machine::Event;

/// Units that are asked about in one tick.
const ASKED: usize = 10;

impl Flow {
    /// Opens and closes tickets about missing runs.
    pub(super) async fn announce_missing(
        &self,
        scope: &Scope,
        watch: &mut Watch,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        if !self.patrol.expect.is_on() {
            return Ok(());
        }
        let mut asked = 0;
        for (unit, rhythm) in &mut watch.rhythms {
            if let Some(since) = rhythm.missing_since
                && let Some(last) = rhythm.last().filter(|last| last.timestamp() > since)
            {
                self.close_missing(scope, unit, since, last, now).await?;
                rhythm.missing_since = None;
            }
            let every = self.patrol.expect.interval_of(&rhythm.name);
            if every.is_none() && !self.patrol.expect.learn {
                continue;
            }
            let resting = rhythm.asked_until.is_some_and(|until| now < until);
            let Some(overdue) = rhythm.overdue(every, now).filter(|_| !resting) else {
                continue;
            };
            if asked == ASKED {
                break;
            }
            asked += 1;
            let unit_of = (rhythm.kind.as_str(), rhythm.id.as_str());
            match self.collector.due(scope, unit_of, overdue.since, now).await {
                // The next tick closes what was missing.
                Ok(Due::Begun(at)) => rhythm.note(at),
                Ok(Due::Paused) => {
                    rhythm.asked_until = Some(now + chrono::Duration::hours(1));
                }
                Ok(Due::Missing) => {
                    let since = overdue.since.timestamp();
                    if rhythm.missing_since != Some(since) {
                        let failure = missing(scope, unit, rhythm, overdue);
                        self.accept_failures(vec![failure], now).await?;
                        rhythm.missing_since = Some(since);
                    }
                    rhythm.asked_until = Some(now + chrono::Duration::minutes(2));
                }
                Err(fault) => {
                    tracing::info!(scope.name = %scope.name, reason = fault.reason(), "it is not known whether a run is overdue");
                    rhythm.asked_until = Some(now + chrono::Duration::minutes(2));
                }
            }
        }
        Ok(())
    }

    async fn close_missing(
        &self,
        scope: &Scope,
        unit: &str,
        since: i64,
        began: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), Fault> {
        let Some(id) = self.store.claimed(&key(scope, unit, since)).await? else {
            return Ok(());
        };
        let came = Recovery::begun(began, now);
        self.try_apply(&id, Event::Recovered(Box::new(came)), now)
            .await
    }
}

fn key(scope: &Scope, unit: &str, since: i64) -> RunKey {
    RunKey::new(scope.source, "overdue", unit, "", &since.to_string())
}

fn missing(scope: &Scope, unit: &str, rhythm: &Rhythm, overdue: Overdue) -> Failure {
    let at = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M UTC").to_string();
    let name = &rhythm.name;
    let message = format!(
        "No run of {name} has begun since {}. It runs every {}, and was due by {}, its usual spread included.",
        at(overdue.since),
        words(overdue.every),
        at(overdue.due)
    );
    let mut context = BTreeMap::from([
        (field::SCOPE.to_owned(), scope.id.clone()),
        (patrol::FINDING.to_owned(), patrol::OVERDUE.to_owned()),
    ]);
    let kind = match scope.source {
        Source::Adf => AssetKind::Pipeline,
        Source::Databricks => {
            context.insert(field::JOB_ID.to_owned(), rhythm.id.clone());
            AssetKind::Job
        }
        Source::Airflow | Source::System => {
            context.insert(field::DAG_ID.to_owned(), rhythm.id.clone());
            AssetKind::Task
        }
    };
    Failure {
        source: scope.source,
        key: key(scope, unit, overdue.since.timestamp()),
        kind,
        asset: name.clone(),
        run_id: None,
        run_url: None,
        error_code: Some("OverdueRun".to_owned()),
        message,
        context,
        occurred_at: Some(overdue.due),
        source_severity: None,
        alert: None,
    }
}
