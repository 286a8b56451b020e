//! Green but empty: did a good run move as much as the good runs before it? Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Runs that are remembered of one unit.
pub const RUNS: usize = 8;
/// With fewer runs before it nothing can be said.
const SAMPLES: usize = 3;

/// What one activity, sink or task moved; a figure that the platform does not give is none, not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Moved {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

type Figure = fn(&Moved) -> Option<u64>;

impl Moved {
    fn in_rows(&self) -> Option<u64> {
        self.rows
    }

    fn in_bytes(&self) -> Option<u64> {
        self.bytes
    }
}

/// What a run moved, by activity (and sink).
pub type Run = BTreeMap<String, Moved>;

/// Remembers one more good run.
pub fn remember(runs: &mut Vec<Run>, run: Run) {
    runs.push(run);
    if runs.len() > RUNS {
        runs.remove(0);
    }
}

/// Where the run moved nothing, or less than this share of what was usual: in words, the first such place. `before`: the good
/// runs before it.
pub fn drop_of(run: &Run, before: &[Run], share: f64) -> Option<String> {
    // A data flow does not name a sink that it wrote nothing to.
    let places = before.iter().flat_map(BTreeMap::keys);
    let mut places: Vec<&String> = places.collect();
    places.sort_unstable();
    places.dedup();
    places.into_iter().find_map(|place| {
        let known: Vec<&Moved> = before.iter().filter_map(|run| run.get(place)).collect();
        let now = match run.get(place) {
            Some(moved) => *moved,
            None if place.contains(SINK) && run.keys().any(|other| same_activity(other, place)) => {
                Moved {
                    rows: Some(0),
                    bytes: None,
                }
            }
            // The branch was not taken.
            None => return None,
        };
        let figures = [
            ("rows", Moved::in_rows as Figure),
            ("bytes", Moved::in_bytes as Figure),
        ];
        figures.into_iter().find_map(|(what, figure)| {
            let moved = figure(&now)?;
            let usual = median(known.iter().filter_map(|moved| figure(moved)))?;
            less(moved, usual, share).then(|| {
                format!(
                    "{place} moved {moved} {what}, and the median of the last good runs is {usual}"
                )
            })
        })
    })
}

/// Between the name of an activity and that of its sink.
pub const SINK: &str = " → ";

fn same_activity(one: &str, other: &str) -> bool {
    let activity = |place: &str| place.split(SINK).next().map(str::to_owned);
    activity(one) == activity(other)
}

fn median(figures: impl Iterator<Item = u64>) -> Option<u64> {
    let mut all: Vec<u64> = figures.collect();
    if all.len() < SAMPLES {
        return None;
    }
    all.sort_unstable();
    all.get(all.len() / 2).copied().filter(|usual| *usual > 0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of 9 petabytes need not be exact"
)]
fn less(moved: u64, usual: u64, share: f64) -> bool {
    moved == 0 || (moved as f64) < usual as f64 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pairs: &[(&str, u64)]) -> Run {
        let of = |(place, rows): &(&str, u64)| {
            let moved = Moved {
                rows: Some(*rows),
                bytes: None,
            };
            ((*place).to_owned(), moved)
        };
        pairs.iter().map(of).collect()
    }

    #[test]
    fn nothing_or_too_little_is_told() {
        let before = [100, 120, 80].map(|rows| run(&[("Copy", rows)]));
        let told = |rows| drop_of(&run(&[("Copy", rows)]), &before, 0.5);
        assert_eq!(told(60), None);
        assert!(
            told(49)
                .unwrap()
                .contains("moved 49 rows, and the median of the last good runs is 100")
        );
        assert!(told(0).is_some());
        assert_eq!(
            drop_of(&run(&[("Copy", 0)]), &before[..2], 0.5),
            None,
            "too few"
        );
        assert_eq!(drop_of(&run(&[]), &before, 0.5), None, "it did not run");
        let nothing = [0, 0, 0].map(|rows| run(&[("Copy", rows)]));
        assert_eq!(
            drop_of(&run(&[("Copy", 0)]), &nothing, 0.5),
            None,
            "as always"
        );
    }

    #[test]
    fn a_sink_that_is_missing_got_nothing() {
        let before = [1, 2, 3].map(|_| run(&[("Flow → a", 10), ("Flow → b", 10)]));
        let told = drop_of(&run(&[("Flow → a", 10)]), &before, 0.1).unwrap();
        assert!(told.starts_with("Flow → b moved 0 rows"), "{told}");
    }
}
