//! Incidents: which failures are one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};

use aiops_rca::diagnosis::{Case, diagnose};
use aiops_rca::failure::{AssetKind, Failure, RunKey, Source};
use aiops_rca::incident::{Candidate, FoldSettings, Folding, Traits, fold};
use aiops_rca::ticket::Ticket;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::support::build;

/// A labelled pair.
#[derive(Debug, Clone, Deserialize)]
struct Pair {
    id: String,
    kind: String,
    fold: bool,
    minutes: i64,
    also: Option<String>,
    why: Option<String>,
    a: Reported,
    b: Reported,
}

/// One of its failures.
#[derive(Debug, Clone, Deserialize)]
struct Reported {
    source: String,
    kind: String,
    scope: String,
    asset: String,
    run: Option<String>,
    code: Option<String>,
    message: String,
    context: BTreeMap<String, String>,
}

fn read(text: &str) -> Vec<Pair> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Labelled before the code that decides.
fn pairs() -> Vec<Pair> {
    read(include_str!("../fixtures/fold/pairs.ndjson"))
}

/// Labelled later, of other texts.
fn more() -> Vec<Pair> {
    read(include_str!("../fixtures/fold/more.ndjson"))
}

#[test]
fn the_set_is_whole() {
    let pairs = pairs();
    assert_eq!(pairs.len(), 200);
    let ids: BTreeSet<&str> = pairs.iter().map(|pair| pair.id.as_str()).collect();
    assert_eq!(ids.len(), 200);
    let mut kinds = BTreeMap::<(&str, bool), u32>::new();
    for pair in &pairs {
        *kinds.entry((pair.kind.as_str(), pair.fold)).or_default() += 1;
    }
    for kind in ["repeat", "cascade", "storm", "fan-out"] {
        assert!(kinds[&(kind, true)] >= 10, "{kind}: {kinds:?}");
    }
    for kind in ["causes", "thing", "scope", "unlinked", "assets"] {
        assert!(kinds[&(kind, false)] >= 8, "{kind}: {kinds:?}");
    }
}

impl Reported {
    fn ticket(&self, at: DateTime<Utc>, suffix: u32) -> Ticket {
        let source = Source::from_name(&self.source).unwrap();
        let kind = match self.kind.as_str() {
            "pipeline" => AssetKind::Pipeline,
            "job" => AssetKind::Job,
            "cluster" => AssetKind::Cluster,
            _ => AssetKind::Task,
        };
        let mut failure = Failure {
            source,
            key: RunKey::new(
                source,
                "",
                self.run.as_deref().unwrap_or_default(),
                &self.asset,
                "",
            ),
            kind,
            error_code: self.code.clone(),
            message: self.message.clone(),
            context: self.context.clone(),
            run_id: self.run.clone(),
            ..build::failure(&self.asset, "")
        }
        .sealed();
        failure.set_scope(&self.scope);
        let diagnosis = diagnose(&Case::of(&failure, &[]));
        build::ticket(failure, diagnosis, at, suffix)
    }
}

fn candidate(ticket: &Ticket) -> Candidate {
    Candidate {
        ticket: ticket.id.clone(),
        leader: ticket.id.clone(),
        traits: Traits::of(ticket),
        at: ticket.received_at,
        reason: None,
        closed_at: None,
    }
}

fn decided(pair: &Pair) -> Folding {
    let at: DateTime<Utc> = "2026-11-20T02:00:00Z".parse().unwrap();
    let mut candidates = vec![candidate(&pair.a.ticket(at, 1))];
    if let Some(asset) = &pair.also {
        let also = Reported {
            asset: asset.clone(),
            run: Some("77".to_owned()),
            ..pair.a.clone()
        };
        candidates.push(candidate(&also.ticket(at + TimeDelta::seconds(30), 2)));
    }
    let now = at + TimeDelta::minutes(pair.minutes);
    fold(
        &pair.b.ticket(now, 3),
        &candidates,
        &FoldSettings::default(),
        now,
    )
}

#[test]
fn pairs_are_told_apart() {
    let (mut joined, mut right, mut to_join) = (0_u32, 0_u32, 0_u32);
    let mut wrong = Vec::new();
    for pair in pairs().into_iter().chain(more()) {
        let folding = decided(&pair);
        let folds = folding != Folding::Own;
        to_join += u32::from(pair.fold);
        joined += u32::from(folds);
        right += u32::from(folds && pair.fold);
        if folds != pair.fold {
            wrong.push(format!(
                "{}: {folding:?} ({})",
                pair.id,
                pair.why.clone().unwrap_or_default()
            ));
        }
    }
    let precision = f64::from(right) / f64::from(joined);
    let recall = f64::from(right) / f64::from(to_join);
    println!("precision {precision:.3}, recall {recall:.3}");
    assert!(
        precision >= 0.99 && recall >= 0.90,
        "precision {precision:.3}, recall {recall:.3}: {wrong:#?}"
    );
}
