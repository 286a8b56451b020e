//! Who owns an asset, how much it matters, and where its owner reads of it. Pure.
//!
//! In: a failure with what its platform says (owner, tags, folder, as whom it runs), and the rules of the settings. Out:
//! [`Care`], which the ticket keeps, and the [`Route`] of its owner, which the sinks follow. The first rule that matches
//! counts; without one the platform is believed, in this order: the owner that it names, a tag or annotation that names
//! one, the folder, as whom the job runs, who made it. The room does not know how a sink calls people.

use crate::failure::{Failure, field};
use crate::redaction::one_line;
use crate::ticket::{Care, Importance, Owner};

mod routes;
mod rules;

pub use routes::{NOBODY, Route, Routes, TeamsChannel};
pub use rules::{CriticalityRule, OwnerRule, lines};

/// `OWNERS` and `CRITICALITY`, the first rule that matches first.
#[derive(Debug, Clone, Default)]
pub struct OwnershipSettings {
    /// Who owns what.
    pub owners: Vec<OwnerRule>,
    /// What matters how much.
    pub criticality: Vec<CriticalityRule>,
}

/// Names by which a tag or annotation says who owns something: `owner:jane`, `team=finance`.
const OWNER_TAGS: [&str; 11] = [
    "owner",
    "owners",
    "owned_by",
    "ownedby",
    "data_owner",
    "dataowner",
    "team",
    "owner_team",
    "owning_team",
    "squad",
    "domain_team",
];
/// A tag without a name that begins so is a team's.
const TEAMS: [&str; 4] = ["team-", "team_", "squad-", "squad_"];
/// Airflow's default owner, and other words for nobody.
const NOT_SAID: [&str; 8] = [
    "airflow", "nobody", "none", "n/a", "unknown", "default", "-", "null",
];

impl OwnershipSettings {
    /// Who owns what failed, and how much it matters.
    pub fn care(&self, failure: &Failure) -> Care {
        let owner = match self.owners.iter().find(|rule| rule.is_for(failure)) {
            Some(rule) => rule.owner(),
            None => said(failure),
        };
        let name = owner.as_ref().map(|owner| owner.name.as_str());
        let rule = (self.criticality.iter()).find(|rule| rule.is_for(failure, name));
        Care {
            importance: rule.map(CriticalityRule::importance),
            owner,
        }
    }

    /// How much it matters, by itself.
    pub fn importance(&self, failure: &Failure) -> Option<Importance> {
        self.care(failure).importance
    }
}

/// Who owns it, as its platform says.
fn said(failure: &Failure) -> Option<Owner> {
    let found = |name: &str, known_from: String| {
        is_somebody(name).then(|| Owner {
            name: name.trim().to_owned(),
            known_from,
        })
    };
    // Airflow lists the owners of all tasks of a DAG.
    let named = failure.field(field::OWNER).unwrap_or_default().split(',');
    let named = named.map(|name| {
        let source = failure.source.label();
        found(name, format!("{source} names the owner"))
    });
    let tagged = tags(failure).map(|tag| {
        let name = owner_of_tag(tag)?;
        found(name, format!("the tag {tag}"))
    });
    named
        .chain(tagged)
        .flatten()
        .next()
        .or_else(|| {
            let folder = failure.field(field::FOLDER)?;
            let first = folder.split('/').find(|part| !part.trim().is_empty())?;
            found(first, format!("the folder {folder}"))
        })
        .or_else(|| {
            let name = failure.field(field::RUN_AS)?;
            found(name, "the job runs as them".to_owned())
        })
        .or_else(|| {
            let name = failure.field(field::CREATOR)?;
            found(name, "they made the job".to_owned())
        })
}

/// Tags and annotations, one by one.
fn tags(failure: &Failure) -> impl Iterator<Item = &str> {
    let tags = failure.field(field::TAGS).unwrap_or_default().split(',');
    tags.map(str::trim).filter(|tag| !tag.is_empty())
}

fn owner_of_tag(tag: &str) -> Option<&str> {
    if let Some((name, value)) = tag.split_once([':', '=']) {
        let name = name.trim().to_lowercase().replace(['-', ' '], "_");
        return OWNER_TAGS.contains(&name.as_str()).then(|| value.trim());
    }
    let lower = tag.to_lowercase();
    let is_team = |prefix: &str| lower.strip_prefix(prefix).is_some_and(|of| !of.is_empty());
    TEAMS.into_iter().any(is_team).then_some(tag)
}

/// Is that a name, and not a word for nobody, what redaction left of one, or characters that nobody can see?
fn is_somebody(name: &str) -> bool {
    let lower = one_line(name).to_lowercase();
    // A service principal's id names nobody.
    let is_id = uuid::Uuid::parse_str(&lower).is_ok();
    !(lower.is_empty() || is_id || NOT_SAID.contains(&lower.as_str()) || lower.contains("***"))
}
