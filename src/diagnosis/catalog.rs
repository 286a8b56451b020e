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

use super::scan::Scanner;
use super::{Category, Severity, index};

/// The data files, by their names.
const FILES: [(&str, &str); 16] = [
    ("categories", include_str!("catalog/categories.toml")),
    ("entities", include_str!("catalog/entities.toml")),
    ("guide", include_str!("catalog/guide.toml")),
    ("adf", include_str!("catalog/adf.toml")),
    (
        "databricks_runs",
        include_str!("catalog/databricks_runs.toml"),
    ),
    (
        "databricks_clusters",
        include_str!("catalog/databricks_clusters.toml"),
    ),
    ("spark", include_str!("catalog/spark.toml")),
    ("airflow", include_str!("catalog/airflow.toml")),
    ("databases", include_str!("catalog/databases.toml")),
    ("applications", include_str!("catalog/applications.toml")),
    ("network", include_str!("catalog/network.toml")),
    ("identity", include_str!("catalog/identity.toml")),
    ("storage", include_str!("catalog/storage.toml")),
    ("compute", include_str!("catalog/compute.toml")),
    ("programs", include_str!("catalog/programs.toml")),
    ("services", include_str!("catalog/services.toml")),
];

/// What an entry asks for; the source decides which playbook that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Act {
    Retry,
    Restart,
    Reinstall,
    CheckUpstream,
    Scale,
    None,
}

impl Act {
    /// Would the policy act by itself?
    pub(super) fn acts(self) -> bool {
        matches!(self, Self::Retry | Self::Restart | Self::Reinstall)
    }
}

/// How much a code alone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub(super) enum Weight {
    /// The code names the cause.
    #[default]
    Strong,
    /// The code names a family; a telling phrase in the text knows better.
    Weak,
    /// Several errors share the code: it counts beside a sign of its category, or where there is no text.
    Coarse,
    /// The code says only that something inside failed.
    Wrapper,
}

/// One cause: a row of the catalog.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cause {
    /// The canonical name; becomes the error type.
    pub(super) name: String,
    pub(super) category: Category,
    pub(super) act: Act,
    #[serde(default)]
    pub(super) transient: Option<bool>,
    #[serde(default)]
    pub(super) severity: Option<Severity>,
    /// The machines of this size are what is missing: restarting with another size is what helps.
    #[serde(default)]
    pub(super) other_node_type: bool,
    /// The sentence, with `{entity}` and optional `[parts]`.
    pub(super) text: String,
    /// It only follows from another error, or passes one on: whatever else is said, is the cause.
    #[serde(default)]
    pub(super) consequence: bool,
    /// Own steps; the category's steps fill up to three.
    #[serde(default)]
    pub(super) steps: Vec<String>,
    #[serde(default)]
    pub(super) codes: Vec<String>,
    #[serde(default)]
    pub(super) weight: Weight,
    #[serde(default)]
    pub(super) numbers: Vec<String>,
    #[serde(default)]
    pub(super) always: Vec<String>,
    #[serde(default)]
    pub(super) says: Vec<String>,
    #[serde(default)]
    pub(super) suggests: Vec<String>,
    #[serde(default)]
    pub(super) hints: Vec<String>,
    #[serde(default)]
    pub(super) words: Vec<String>,
    #[serde(default)]
    pub(super) wraps: Vec<String>,
    /// Where the row comes from.
    #[serde(default)]
    #[expect(dead_code, reason = "provenance for the reader of the file")]
    source: Option<String>,
}

/// What all causes of a category share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CategoryDefaults {
    pub(super) severity: Severity,
    pub(super) steps: Vec<String>,
}

/// A guess from the shape of an unknown code or exception name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    /// Says little: the words of the text know better.
    #[serde(default)]
    pub(super) generic: bool,
    pub(super) contains: Vec<String>,
    pub(super) category: Category,
    pub(super) act: Act,
    pub(super) text: String,
}

/// How an entity is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Take {
    /// In quotes, backticks, brackets or angle brackets.
    Quoted,
    /// Quoted, or a bare identifier.
    Name,
    /// Up to white space or a delimiter.
    Word,
    /// Up to ` failed`, a comma or the line's end: names with spaces.
    Title,
    /// A whole number, perhaps signed.
    Number,
    /// A time with its unit: `30000 ms`, `10 minutes`, `0.12:00:00`.
    Duration,
    /// An error class in capitals: `DELTA_CONCURRENT_APPEND.WITH_PARTITION`.
    Class,
    /// An HTTP status, 400 to 599.
    Status,
    /// Upper-case letters and digits, as in SQLSTATE.
    State,
    /// A host name that ends in the anchor.
    Host,
    /// A URL that begins with the anchor.
    Url,
    /// The anchor and the word characters around it.
    Around,
    /// An id with a digit in it.
    Id,
    /// The next line, without the head that a log puts before it.
    Below,
}

/// One way to find an entity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityRule {
    pub(super) name: String,
    pub(super) anchors: Vec<String>,
    pub(super) take: Take,
    /// An ordinary word beside the anchor is a name too; without this it must look like one, or be quoted.
    #[serde(default)]
    pub(super) bare: bool,
    /// The name space in which the value is a code (`sql`, `http` …).
    #[serde(default)]
    pub(super) code: Option<String>,
}

impl EntityRule {
    /// Does the value say what was wrong, as a code or an exception does?
    pub(super) fn is_code(&self) -> bool {
        self.code.is_some() || self.name == "exception" || self.name == "code"
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    category: BTreeMap<String, CategoryDefaults>,
    cause: Vec<Cause>,
    shape: Vec<Shape>,
    entity: Vec<EntityRule>,
}

/// A code's cause and how much the code alone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeEntry {
    pub(super) cause: usize,
    pub(super) rank: u8,
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

/// Ranks: how specific a sign is. The highest wins; see `classify.rs`.
pub(super) mod rank {
    pub(in crate::diagnosis) const ALWAYS: u8 = 11;
    pub(in crate::diagnosis) const NUMBER: u8 = 10;
    pub(in crate::diagnosis) const SAYS: u8 = 9;
    pub(in crate::diagnosis) const CODE: u8 = 8;
    pub(in crate::diagnosis) const SUGGESTS: u8 = 7;
    pub(in crate::diagnosis) const WEAK_CODE: u8 = 6;
    pub(in crate::diagnosis) const HINT: u8 = 5;
    pub(in crate::diagnosis) const SHAPE: u8 = 4;
    pub(in crate::diagnosis) const WORDS: u8 = 3;
    pub(in crate::diagnosis) const GENERIC_SHAPE: u8 = 2;
    pub(in crate::diagnosis) const WRAPPER: u8 = 1;

    /// What a number in this name space says.
    pub(in crate::diagnosis) fn of_namespace(space: &str) -> u8 {
        match space {
            "http" => HINT,
            "exit" => WEAK_CODE,
            "sqlstate" | "errno" => SUGGESTS,
            _ => NUMBER,
        }
    }
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

    /// How many causes it knows.
    pub fn len(&self) -> usize {
        self.causes.len()
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
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
    if cause.other_node_type && cause.act != Act::Restart {
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
