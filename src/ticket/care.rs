//! Who owns what failed, and how much it matters: what a ticket keeps of that. Data and words; `ownership` decides.

use serde::{Deserialize, Serialize};

use super::{Severity, Ticket};

/// What the settings and the platform say about the asset of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Care {
    /// Who owns it.
    pub owner: Option<Owner>,
    /// How much it matters, where a rule says so.
    pub importance: Option<Importance>,
}

/// Who owns an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// As people read it.
    pub name: String,
    /// Where that is known from: ``the rule `pl_finance_*=team-finance` (OWNERS)``, `the tag team:finance`.
    pub known_from: String,
}

/// How much an asset matters, by a rule of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Importance {
    /// The severity of its failures, whatever the error.
    pub severity: Severity,
    /// The rule, as it was written.
    pub rule: String,
    /// Is a person asked before anything is done?
    pub asks: bool,
    /// Whom to mention; `None`: the owner's people, and everybody who is there for what is critical and has no owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mention: Option<Vec<String>>,
}

impl Ticket {
    /// Why it has its severity, if a rule and not the error alone gave it.
    pub fn severity_reason(&self) -> Option<String> {
        let importance = self.importance.as_ref()?;
        let of_error = self.diagnosis.severity;
        let beside = if of_error == importance.severity {
            "as the error itself is".to_owned()
        } else {
            format!("the error alone would be {of_error}")
        };
        Some(format!(
            "the rule `{}` (CRITICALITY); {beside}",
            importance.rule
        ))
    }
}
