//! The catalog: what can go wrong, as data.
//!
//! In: the TOML files in `catalog/` (their format is explained at the head of `catalog/categories.toml`),
//! baked into the binary. Out: an index that answers, in one pass over a text, which causes speak in it.
//! It is compiled once, on first use, in a few milliseconds. A wrong entry never stops the service: it is
//! left out and named in [`Catalog::problems`], which a test keeps empty. The laws L6 and L8 are enforced
//! here: an entry of a category that may not act cannot act, whatever its line says.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;

use super::entry::{CategoryDefaults, Cause, CodeEntry, EntityRule, Shape};
use super::scan::Scanner;
use super::{Category, index};

macro_rules! files {
    ($($name:ident),*) => {
        [$((stringify!($name), include_str!(concat!("catalog/", stringify!($name), ".toml")))),*]
    };
}

/// The data files, by their names.
const FILES: [(&str, &str); 16] = files![
    categories,
    entities,
    guide,
    adf,
    databricks_runs,
    databricks_clusters,
    spark,
    airflow,
    databases,
    applications,
    network,
    identity,
    storage,
    compute,
    programs,
    services
];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    category: BTreeMap<String, CategoryDefaults>,
    cause: Vec<Cause>,
    shape: Vec<Shape>,
    entity: Vec<EntityRule>,
}

/// The compiled catalog.
#[derive(Debug)]
pub struct Catalog {
    causes: Vec<Cause>,
    shapes: Vec<Shape>,
    categories: HashMap<Category, CategoryDefaults>,
    codes: HashMap<String, CodeEntry>,
    scanner: Scanner,
    problems: Vec<String>,
}

impl Catalog {
    /// The catalog, compiled on first use.
    pub fn get() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(Self::compile)
    }

    /// Compiles the baked-in files. [`Catalog::get`] is what callers want; this one is for measuring.
    pub fn compile() -> Self {
        let mut problems = Vec::new();
        let mut all = File::default();
        for (name, text) in FILES {
            match toml::from_str::<File>(text) {
                Ok(file) => {
                    all.category.extend(file.category);
                    all.cause.extend(file.cause);
                    all.shape.extend(file.shape);
                    all.entity.extend(file.entity);
                }
                Err(error) => problems.push(format!("{name}.toml: {error}")),
            }
        }
        let categories = categories(all.category, &mut problems);
        all.cause.retain(|cause| match fault_in(cause) {
            Some(fault) => {
                problems.push(format!("{}: {fault}", cause.name));
                false
            }
            None => true,
        });
        let (codes, scanner) = index::of(&all.cause, all.entity, &mut problems);
        Self {
            causes: all.cause,
            shapes: all.shape,
            categories,
            codes,
            scanner,
            problems,
        }
    }

    /// What is wrong with the data files; empty, or a test fails.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Is this code one that the catalog names (without regard to case)?
    pub fn knows_code(&self, code: &str) -> bool {
        self.codes.contains_key(&code.to_ascii_lowercase())
    }

    pub(super) fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// Every phrase of the catalog as a text in which it stands, without what must be absent.
    pub fn phrases(&self) -> Vec<String> {
        let patterns = self.scanner.patterns();
        let mut all: Vec<String> = patterns
            .filter_map(|pattern| pattern.written.split(" ! ").next())
            .map(|phrase| {
                phrase
                    .replace(" … ", " it ")
                    .replace(" & ", " ")
                    .replace('*', "")
                    .trim()
                    .to_owned()
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(super) fn cause(&self, index: usize) -> Option<&Cause> {
        self.causes.get(index)
    }

    pub(super) fn code(&self, key: &str) -> Option<CodeEntry> {
        self.codes.get(key).copied()
    }

    pub(super) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub(super) fn defaults(&self, category: Category) -> Option<&CategoryDefaults> {
        self.categories.get(&category)
    }

    pub(super) fn scanner(&self) -> &Scanner {
        &self.scanner
    }
}

fn categories(
    raw: BTreeMap<String, CategoryDefaults>,
    problems: &mut Vec<String>,
) -> HashMap<Category, CategoryDefaults> {
    let mut categories = HashMap::new();
    for (name, defaults) in raw {
        match serde_json::from_value::<Category>(serde_json::Value::String(name.clone())) {
            Ok(category) => {
                categories.insert(category, defaults);
            }
            Err(_) => problems.push(format!("category {name} does not exist")),
        }
    }
    categories
}

fn fault_in(cause: &Cause) -> Option<String> {
    if cause.act.acts() && !cause.category.may_be_acted_on() {
        return Some(format!(
            "a {} error never acts (L8)",
            cause.category.words()
        ));
    }
    if cause.other_node_type && cause.act != super::entry::Act::Restart {
        return Some("another node type is for those that act by a restart".into());
    }
    if cause.text.trim().is_empty() {
        return Some("its text is empty".into());
    }
    std::iter::once(&cause.text)
        .chain(&cause.steps)
        .find_map(|template| {
            if template.matches('[').count() != template.matches(']').count() {
                return Some(format!("the brackets of `{template}` do not match"));
            }
            let names_outside = template.split('[').enumerate().any(|(number, piece)| {
                let outside = if number == 0 {
                    piece
                } else {
                    piece.split_once(']').map_or("", |(_, rest)| rest)
                };
                outside.contains('{')
            });
            names_outside.then(|| {
                format!("`{template}` names an entity outside of brackets: it may not be found")
            })
        })
}
