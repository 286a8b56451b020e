//! The labelled cases of `tests/eval`, and what rules and classifier are given of each.

use std::path::Path;

use aiops_rca::diagnosis::learned::{CATEGORIES, COUNT};
use aiops_rca::diagnosis::{Case, Category, Signals, signals};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::figures;

/// Files that the rules were written with in view: what the rules say there is no measure of what they say elsewhere.
pub(crate) const KNOWN_TO_THE_RULES: [&str; 9] = [
    "published",
    "documented_formats",
    "other_systems",
    "mixed_a",
    "mixed_b",
    "forums",
    "rare_systems",
    "common_systems",
    "services",
];

/// A labelled case, ready for training.
pub(crate) struct Labelled {
    pub(crate) signals: Signals,
    /// The label's own category.
    pub(crate) category: usize,
    /// Categories that are right as well.
    pub(crate) acceptable: Vec<usize>,
    /// May a machine act, by the label?
    pub(crate) may_act: bool,
    /// Cases of one origin are never on both sides of a split.
    pub(crate) origin: String,
    /// Were the rules written with it in view?
    pub(crate) known: bool,
}

impl Labelled {
    /// Is this category right?
    pub(crate) fn accepts(&self, category: usize) -> bool {
        category == self.category || self.acceptable.contains(&category)
    }
}

/// The place of a category in the weights.
pub(crate) fn place(category: Category) -> Option<usize> {
    CATEGORIES.iter().position(|known| *known == category)
}

fn named(name: &str) -> Option<usize> {
    let category: Category = serde_json::from_value(Value::String(name.to_owned())).ok()?;
    place(category).filter(|place| *place < COUNT)
}

/// All cases with the SHA-256 of their files, in the order of the file names.
pub(crate) fn read(folder: &Path) -> anyhow::Result<(Vec<Labelled>, String)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    let mut cases = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)?;
        hash.update(text.as_bytes());
        let name = path.file_stem().map(|name| name.to_string_lossy());
        let known = name.is_some_and(|name| KNOWN_TO_THE_RULES.contains(&name.as_ref()));
        for (line, case) in figures::read(&text)? {
            cases.push(labelled(&line, &case, known)?);
        }
    }
    Ok((cases, hex::encode(hash.finalize())))
}

fn labelled(line: &figures::Labelled, case: &Case, known: bool) -> anyhow::Result<Labelled> {
    let label = &line.label;
    Ok(Labelled {
        signals: signals(case),
        category: named(&label.category)
            .ok_or_else(|| anyhow::anyhow!("{}: {} is no category", line.id, label.category))?,
        acceptable: label
            .acceptable_categories
            .iter()
            .filter_map(|name| named(name))
            .collect(),
        may_act: label.may_act(),
        origin: origin(line),
        known,
    })
}

/// Error types that say no more than a category or a layer: their cases have no more in common than others.
const VAGUE: [&str; 6] = [
    "AirflowException",
    "DatabaseError",
    "OperationalError",
    "SparkException",
    "SQLServerException",
    "ValueError",
];

/// What cases have in common that are variants of one: where they come from and what they are about.
fn origin(line: &figures::Labelled) -> String {
    let kind = &line.label.error_type;
    let is_category = CATEGORIES
        .iter()
        .any(|category| category.words().replace(' ', "") == kind.to_lowercase());
    if is_category || VAGUE.contains(&kind.as_str()) {
        line.id.clone()
    } else {
        format!("{} {kind}", line.source)
    }
}
