//! Incidents: which failures are one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// A labelled pair.
#[derive(Debug, Clone, Deserialize)]
#[expect(dead_code, reason = "read by the score")]
struct Pair {
    id: String,
    kind: String,
    fold: bool,
    minutes: i64,
    also: Option<String>,
    a: Reported,
    b: Reported,
}

/// One of its failures.
#[derive(Debug, Clone, Deserialize)]
#[expect(dead_code, reason = "read by the score")]
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

fn pairs() -> Vec<Pair> {
    include_str!("../fixtures/fold/pairs.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
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
