//! The labelled cases of `tests/eval`, and what rules and judge are given of each.

use std::collections::BTreeMap;
use std::path::Path;

use aiops_rca::diagnosis::judge::{CATEGORIES, COUNT};
use aiops_rca::diagnosis::{Case, Category, Signals, signals};
use aiops_rca::failure::Source;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Files that the rules were written with in view: what the rules say there is no measure of what they say elsewhere.
pub(crate) const KNOWN_TO_THE_RULES: [&str; 8] = [
    "published",
    "documented_formats",
    "other_systems",
    "mixed_a",
    "mixed_b",
    "forums",
    "rare_systems",
    "common_systems",
];

#[derive(Deserialize)]
struct Line {
    source_system: String,
    error_code: Option<String>,
    message: String,
    #[serde(default)]
    context: BTreeMap<String, Value>,
    label: Label,
    source: String,
}

#[derive(Deserialize)]
struct Label {
    category: String,
    error_type: String,
    remediable: bool,
    action: String,
    #[serde(default)]
    acceptable_categories: Vec<String>,
    #[serde(default)]
    acceptable_actions: Vec<String>,
}

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
        for line in text.lines() {
            cases.push(labelled(serde_json::from_str(line)?, known)?);
        }
    }
    Ok((cases, hex::encode(hash.finalize())))
}

fn labelled(line: Line, known: bool) -> anyhow::Result<Labelled> {
    let context = line.context.into_iter().map(|(name, value)| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (name, text)
    });
    let source = Source::from_name(&line.source_system)
        .ok_or_else(|| anyhow::anyhow!("{} is no source", line.source_system))?;
    let case = Case {
        context: context.collect(),
        ..Case::new(source, line.error_code.as_deref(), &line.message)
    };
    let label = line.label;
    let acting = ["retry_", "restart_", "reinstall_"];
    let acts = |action: &String| acting.iter().any(|kind| action.starts_with(kind));
    Ok(Labelled {
        signals: signals(&case),
        category: named(&label.category)
            .ok_or_else(|| anyhow::anyhow!("{} is no category", label.category))?,
        acceptable: label
            .acceptable_categories
            .iter()
            .filter_map(|name| named(name))
            .collect(),
        may_act: label.remediable
            || acts(&label.action)
            || label.acceptable_actions.iter().any(acts),
        origin: format!("{} {}", line.source, label.error_type),
        known,
    })
}
