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

use super::scan::{Scanner, ScannerBuilder};
use super::{Category, Severity};

/// The data files, by their names.
const FILES: [(&str, &str); 14] = [
    ("categories", include_str!("catalog/categories.toml")),
    ("entities", include_str!("catalog/entities.toml")),
    ("guide", include_str!("catalog/guide.toml")),
    ("adf", include_str!("catalog/adf.toml")),
    ("databricks_runs", include_str!("catalog/databricks_runs.toml")),
    ("databricks_clusters", include_str!("catalog/databricks_clusters.toml")),
    ("spark", include_str!("catalog/spark.toml")),
    ("airflow", include_str!("catalog/airflow.toml")),
    ("databases", include_str!("catalog/databases.toml")),
    ("network", include_str!("catalog/network.toml")),
    ("identity", include_str!("catalog/identity.toml")),
    ("storage", include_str!("catalog/storage.toml")),
    ("compute", include_str!("catalog/compute.toml")),
    ("programs", include_str!("catalog/programs.toml")),
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
enum Weight {
    /// The code names the cause.
    #[default]
    Strong,
    /// The code names a family; a telling phrase in the text knows better.
    Weak,
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
    /// Own steps; the category's steps fill up to three.
    #[serde(default)]
    pub(super) steps: Vec<String>,
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    weight: Weight,
    #[serde(default)]
    numbers: Vec<String>,
    #[serde(default)]
    always: Vec<String>,
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    suggests: Vec<String>,
    #[serde(default)]
    hints: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
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
}

/// One way to find an entity.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityRule {
    pub(super) name: String,
    pub(super) anchors: Vec<String>,
    pub(super) take: Take,
    /// The name space in which the value is a code (`sql`, `http` …).
    #[serde(default)]
    pub(super) code: Option<String>,
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
    pub(super) fn of_namespace(space: &str) -> u8 {
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
        let (codes, scanner) = index(&all.cause, all.entity, &mut problems);
        Self { causes: all.cause, shapes: all.shape, categories, codes, scanner, problems }
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

fn categories(raw: BTreeMap<String, CategoryDefaults>, problems: &mut Vec<String>) -> HashMap<Category, CategoryDefaults> {
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

/// May a cause of this category ever act by itself (law L8)?
pub(super) fn may_act(category: Category) -> bool {
    matches!(
        category,
        Category::Network
            | Category::Timeout
            | Category::Throttling
            | Category::Resource
            | Category::Platform
            | Category::Concurrency
            | Category::Dependency
            | Category::Quota
    )
}

fn fault_in(cause: &Cause) -> Option<String> {
    if cause.act.acts() && !may_act(cause.category) {
        return Some(format!("a {:?} error never acts (L8)", cause.category));
    }
    if cause.other_node_type && cause.act != Act::Restart {
        return Some("another node type is for those that act by a restart".into());
    }
    if cause.text.trim().is_empty() || cause.text.matches('[').count() != cause.text.matches(']').count() {
        return Some("its text is empty or its brackets do not match".into());
    }
    let names_outside = cause.text.split('[').enumerate().any(|(number, piece)| {
        let outside = if number == 0 { piece } else { piece.split_once(']').map_or("", |(_, rest)| rest) };
        outside.contains('{')
    });
    names_outside.then(|| "its text names an entity outside of brackets: it may not be found".into())
}

/// Can this code be looked for in running text, or does it look like an ordinary word or number?
fn searchable(code: &str) -> bool {
    let humps = code.chars().filter(char::is_ascii_uppercase).count();
    let lower = code.chars().any(|c| c.is_ascii_lowercase());
    // A life-cycle state as well, so it says nothing inside a text.
    code != "INTERNAL_ERROR"
        && code.len() >= 6
        && (code.contains('_') || code.contains('-') || (lower && humps >= 2))
        && !code.contains(':')
}

/// Is this a code that texts also write in words (`CLOUD_PROVIDER_SHUTDOWN`, "Cloud Provider Shutdown")?
fn spoken(code: &str) -> bool {
    code.len() >= 20 && code.matches('_').count() >= 2 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

fn index(causes: &[Cause], entities: Vec<EntityRule>, problems: &mut Vec<String>) -> (HashMap<String, CodeEntry>, Scanner) {
    let mut codes: HashMap<String, CodeEntry> = HashMap::new();
    let mut builder = ScannerBuilder::default();
    for (number, cause) in causes.iter().enumerate() {
        let code_rank = match cause.weight {
            Weight::Strong => rank::CODE,
            Weight::Weak => rank::WEAK_CODE,
            Weight::Wrapper => rank::WRAPPER,
        };
        for code in &cause.codes {
            let entry = CodeEntry { cause: number, rank: code_rank };
            let key = code.to_ascii_lowercase();
            if codes.insert(key.clone(), entry).is_some() {
                problems.push(format!("{}: code {code} is named twice", cause.name));
            }
            if searchable(code) {
                builder.pattern(code, number, code_rank);
            }
            if spoken(code) {
                builder.pattern(&code.replace('_', " "), number, code_rank.min(rank::WEAK_CODE));
            }
            if !key.starts_with("usererror") && searchable(code) && !code.contains('_') {
                let alias = format!("UserError{code}");
                codes.entry(alias.to_ascii_lowercase()).or_insert(entry);
                builder.pattern(&alias, number, code_rank);
            }
        }
        for key in &cause.numbers {
            let space = key.split(':').next().unwrap_or_default();
            let level = if matches!(space, "adf" | "type") { code_rank } else { rank::of_namespace(space) };
            let entry = CodeEntry { cause: number, rank: level };
            if codes.insert(key.to_ascii_lowercase(), entry).is_some() {
                problems.push(format!("{}: number {key} is named twice", cause.name));
            }
        }
        let levels = [
            (&cause.always, rank::ALWAYS),
            (&cause.says, rank::SAYS),
            (&cause.suggests, rank::SUGGESTS),
            (&cause.hints, rank::HINT),
            (&cause.words, rank::WORDS),
        ];
        for (patterns, level) in levels {
            for pattern in patterns {
                if !builder.pattern(pattern, number, level) {
                    problems.push(format!("{}: pattern `{pattern}` cannot be read", cause.name));
                }
            }
        }
    }
    for entity in entities {
        builder.entity(entity);
    }
    match builder.build() {
        Ok(scanner) => (codes, scanner),
        Err(fault) => {
            problems.push(fault);
            (codes, Scanner::default())
        }
    }
}
