//! What the platforms take for the same run: under which key the reports of a rerun arrive, and whether it keeps the id of
//! the run that failed.
//!
//! A factory gives each rerun an id of its own, and so does Databricks, unless the run is repaired; a cluster keeps its id
//! for life. Airflow's run ids are one for all tasks of a DAG, and often for all DAGs and deployments.

use crate::failure::{Failure, RunKey, Source, field};

/// The key under which reports about a run arrive that was started to heal `failure`.
pub fn key(failure: &Failure, run_id: &str) -> RunKey {
    match failure.source {
        Source::Airflow => RunKey::new(
            failure.source,
            &failure.asset,
            run_id,
            failure.field(field::MAP_INDEX).unwrap_or_default(),
            failure.scope().unwrap_or_default(),
        ),
        Source::Adf | Source::Databricks | Source::System => {
            RunKey::new(failure.source, "", run_id, "", "")
        }
    }
}

/// The key of a Databricks run that failed again after this repair: it keeps the run's id.
pub fn repair_key(failure: &Failure, repair: &str) -> RunKey {
    let run = failure.run_id.as_deref().unwrap_or_default();
    RunKey::new(failure.source, "", run, "", &format!("repair-{repair}"))
}

/// May a rerun go on under the id of the run that failed? Databricks repairs runs, and Airflow clears tasks.
pub fn may_keep_their_id(source: Source) -> bool {
    match source {
        Source::Adf | Source::System => false,
        Source::Databricks | Source::Airflow => true,
    }
}

/// Does the later failure come under an id that the first one had already? Then the id alone says nothing.
pub fn is_same_id(first: &Failure, later: &Failure) -> bool {
    first.run_id == later.run_id || first.field(field::CLUSTER_ID) == later.run_id.as_deref()
}

/// Under the same id: may the later failure be that of a rerun, by what the reports say? A task that was cleared is found
/// by its task instance instead.
pub fn may_be_rerun(first: &Failure, later: &Failure) -> bool {
    match later.source {
        Source::Airflow | Source::System => false,
        Source::Adf | Source::Databricks => later.key != first.key && later.asset == first.asset,
    }
}
