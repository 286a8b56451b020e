//! Failure + evidence → diagnosis. Pure: no clock, no network, no environment; it cannot fail, only be
//! [`Category::Undetermined`].
//!
//! In: a [`Case`] (a [`Failure`] with its evidence, or a line of `aiops-rca diagnose`). Out: a [`Diagnosis`].
//! One walk: `reading` finds in every text the terminal error, what is only log around it and what is only a name;
//! `scan` reads each of these once against the whole catalog (as `index` compiled it), `classify` ranks the signs and
//! picks one cause, `rules` makes the diagnosis of it, `wording` names the things and cuts the quotes, `steps` says what
//! to do, `fingerprint` says what keeps failing; `both` weighs it against the learned classifier.
//!
//! **Facts before words.** Only the terminal error decides the cause: the message (the vendor's own error field), the
//! code in its field, the passages of the evidence that `evidence` calls terminal, and the exception that ended the
//! run where a text is a log. Where the terminal error only says that something inside failed, an error beside it
//! or the log may name the cause; nothing but a terminal error or a code makes anything remediable. Names
//! ([`Case::names`], name fields of the context, what is quoted, paths) are masked before matching, and our own
//! sentences are not read at all.
//! What the words mean is data (`catalog/*.toml`); the code knows no vendor. The text is hostile: it is
//! matched, never obeyed, so an instruction inside a message changes nothing but the text shown.

use std::collections::BTreeMap;

use crate::evidence::{Evidence, Passage};
use crate::failure::{Failure, Source, field};

pub mod learned;
mod amounts;
mod candidate;
mod catalog;
mod classify;
mod combine;
mod entities;
mod entry;
mod fingerprint;
mod index;
mod place;
mod reading;
mod rules;
mod scan;
mod shape;
mod span;
mod steps;
mod vocabulary;
mod watch;
mod wording;

pub use catalog::Catalog;
pub use combine::{Signals, signals};
pub use fingerprint::stable;
pub use vocabulary::{Action, Category, Diagnosis, Quote, Risk, Severity};
pub use wording::{few_pieces, pieces};

use entry::Act;
use rules::of_rules;

/// What is known about one failure: the input of [`diagnose`].
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The platform.
    pub source: Source,
    /// What the source delivers as a code in a field of its own.
    pub error_code: Option<String>,
    /// The error text.
    pub message: String,
    /// Further fields by the names in [`field`].
    pub context: BTreeMap<String, String>,
    /// Names that fields give: the asset, the alert rule, tasks. Masked wherever the texts repeat them.
    pub names: Vec<String>,
    /// Further texts in which the innermost cause may stand.
    pub evidence: Vec<Piece>,
}

/// A text of the evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The evidence's id.
    pub id: String,
    /// All of it: quotes are slices of this.
    pub text: String,
    /// Whose words its passages are; none: all of it is read as the error.
    pub passages: Vec<Passage>,
}

impl Case {
    /// An error text without evidence.
    pub fn new(source: Source, error_code: Option<&str>, message: &str) -> Self {
        Self {
            source,
            error_code: error_code.map(str::to_owned),
            message: message.to_owned(),
            context: BTreeMap::new(),
            names: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// The case of a failure and what was collected about it.
    pub fn of(failure: &Failure, evidence: &[Evidence]) -> Self {
        let mut names = vec![failure.asset.clone()];
        names.extend(failure.run_id.clone());
        names.extend(failure.alert.as_ref().and_then(|alert| alert.rule.clone()));
        for piece in evidence {
            names.extend(piece.names.iter().cloned());
        }
        Self {
            context: failure.context.clone(),
            names,
            evidence: evidence
                .iter()
                .map(|piece| Piece {
                    id: piece.id.clone(),
                    text: piece.text.clone(),
                    passages: piece.passages.clone(),
                })
                .collect(),
            ..Self::new(
                failure.source,
                failure.error_code.as_deref(),
                &failure.message,
            )
        }
    }

    /// Where the action would go: a cluster is restarted, a job is run again.
    fn is_cluster(&self) -> bool {
        self.context
            .get(field::KIND)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("cluster"))
    }

    /// A job run brings its own cluster mostly: running it again is the restart.
    fn is_job(&self) -> bool {
        self.context
            .get(field::KIND)
            .is_some_and(|kind| kind.eq_ignore_ascii_case("job"))
    }

    fn action(&self, act: Act) -> Action {
        match (act, self.source) {
            (Act::Retry | Act::Restart | Act::Reinstall, Source::Adf) => Action::RetryPipeline,
            (Act::Retry | Act::Restart | Act::Reinstall, Source::Airflow) => Action::RetryTask,
            (Act::Reinstall, Source::Databricks) => Action::ReinstallLibraries,
            (Act::Restart, Source::Databricks) if !self.is_job() => Action::RestartCluster,
            (Act::Retry, Source::Databricks) if self.is_cluster() => Action::RestartCluster,
            (Act::Retry | Act::Restart, Source::Databricks) => Action::RetryJob,
            (Act::CheckUpstream, _) => Action::CheckUpstream,
            (Act::Scale, _) => Action::ScaleResources,
            (Act::Retry | Act::Restart | Act::Reinstall, Source::System) | (Act::None, _) => {
                Action::None
            }
        }
    }
}

/// Finds the root cause. Never fails; it may be [`Category::Undetermined`].
pub fn diagnose(case: &Case) -> Diagnosis {
    let catalog = Catalog::get();
    let verdict = classify::classify(catalog, case);
    match watch::watched(case) {
        // What the watcher says is no error of the run.
        Some(run) => watch::of_watcher(&run, of_rules(catalog, case, &verdict)),
        None => combine::diagnose(catalog, case, verdict),
    }
}

/// The root cause by the rules alone, to measure what the learned classifier adds.
pub fn by_rules(case: &Case) -> Diagnosis {
    let catalog = Catalog::get();
    let found = of_rules(catalog, case, &classify::classify(catalog, case));
    match watch::watched(case) {
        Some(run) => watch::of_watcher(&run, found),
        None => found,
    }
}
