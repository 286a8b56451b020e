//! Builders: a failure, a diagnosis, a ticket, a flow as they mostly are. A test names what is special about its own:
//! `Diagnosis { action: Action::None, ..build::diagnosis() }`.

use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Action, Category, Diagnosis, Risk, Severity};
use aiops_rca::evidence::Collector;
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source};
use aiops_rca::flow::{Flow, PAUSE};
use aiops_rca::remediation::RemediationSettings;
use aiops_rca::sinks::Sinks;
use aiops_rca::storage::Storage;
use aiops_rca::ticket::machine::{Opening, open};
use aiops_rca::ticket::store::TicketStore;
use aiops_rca::ticket::{Ticket, TicketId};
use chrono::{DateTime, TimeDelta, Utc};

/// A failed pipeline of ADF.
pub(crate) fn failure(asset: &str, run: &str) -> Failure {
    Failure {
        source: Source::Adf,
        key: RunKey::new(Source::Adf, "factory", run, "", ""),
        kind: AssetKind::Pipeline,
        asset: asset.to_owned(),
        run_id: Some(run.to_owned()),
        run_url: None,
        error_code: None,
        message: "it failed".to_owned(),
        context: BTreeMap::new(),
        occurred_at: None,
        source_severity: None,
        alert: None,
    }
}

/// A failure that heals itself mostly.
pub(crate) fn diagnosis() -> Diagnosis {
    Diagnosis {
        category: Category::Timeout,
        error_type: "GatewayTimeout".to_owned(),
        transient: true,
        remediable: true,
        action: Action::RetryPipeline,
        other_node_type: false,
        risk: Risk::Low,
        severity: Severity::Medium,
        confidence: 0.9,
        root_cause: "A gateway did not answer in time.".to_owned(),
        recommendations: vec!["Wait".to_owned()],
        evidence: Vec::new(),
        rule: "guide/GatewayTimeout".to_owned(),
        entities: BTreeMap::new(),
        fingerprint: "f00".to_owned(),
        worded_by: "catalog".to_owned(),
    }
}

/// A ticket that was opened one second after the report came in.
pub(crate) fn ticket(
    failure: Failure,
    diagnosis: Diagnosis,
    received_at: DateTime<Utc>,
    suffix: u32,
) -> Ticket {
    let id = TicketId::new(failure.source, received_at, suffix);
    let opening = Opening {
        evidence_count: 1,
        ..Opening::of(id, failure, diagnosis, received_at)
    };
    open(opening, received_at + TimeDelta::seconds(1))
}

/// A flow with a store and nothing else.
pub(crate) fn flow(storage: Storage) -> Flow {
    Flow {
        store: TicketStore::new(storage),
        collector: Collector::default(),
        model: None,
        sinks: Sinks::default(),
        remediation: RemediationSettings::default(),
        patrol: aiops_rca::patrol::PatrolSettings::default(),
        // What folds says so.
        fold: aiops_rca::incident::FoldSettings::none(),
        ownership: aiops_rca::ownership::OwnershipSettings::default(),
        retention_days: None,
        longest_pause: PAUSE,
    }
}
