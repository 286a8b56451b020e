//! What the catalog's files hold: causes, what categories share, shapes of unknown names, and how entities are found.
//!
//! In: TOML, read by `catalog`. It does not know what becomes of an entry.

use serde::Deserialize;

use super::{Category, Severity};

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

/// A code's cause and how much the code alone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeEntry {
    pub(super) cause: usize,
    pub(super) rank: u8,
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
