//! Which failures are one incident.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::reader::{Reader, list};
use crate::incident::FoldSettings;

const NAME: &str = "FOLD";

pub(super) fn fold(r: &mut Reader<'_>) -> FoldSettings {
    let default = FoldSettings::default();
    let words = list(r.text(NAME), ',');
    let is_none = |word: &String| {
        ["none", "off"]
            .iter()
            .any(|no| word.eq_ignore_ascii_case(no))
    };
    let is_all = |word: &String| {
        ["all", "on"]
            .iter()
            .any(|all| word.eq_ignore_ascii_case(all))
    };
    let kinds = match words.as_slice() {
        [] => default.kinds,
        [all] if is_all(all) => default.kinds,
        [none] if is_none(none) => BTreeSet::new(),
        words => {
            let mut kinds = BTreeSet::new();
            for word in words {
                match FoldSettings::kind(word) {
                    Some(kind) => {
                        kinds.insert(kind);
                    }
                    None => r.problem(
                        NAME,
                        format!("{word:?} is none of repeat, cascade, storm, fan-out, none"),
                    ),
                }
            }
            kinds
        }
    };
    let hours = r.number("FOLD_REOPEN_HOURS", 0, 24 * 30);
    FoldSettings {
        kinds,
        reopen: hours.map_or(default.reopen, TimeDelta::hours),
    }
}
