//! Failure + evidence → diagnosis. Pure: no clock, no network, no environment; it cannot fail, only be
//! [`Category::Undetermined`].
//!
//! In: a [`Case`] (a [`Failure`] with its evidence, or a line of `aiops-rca diagnose`). Out: a [`Diagnosis`].
//! One walk: `reading` finds in every text the terminal error, what is only log around it and what is only a name;
//! `scan` reads each of these once against the whole catalog (as `index` compiled it), `classify` ranks the signs and
//! picks one cause, `wording` names the things and cuts the quotes, `fingerprint` says what keeps failing.
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
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, Passage};
use crate::failure::{Failure, Source, field};
use crate::patrol::OVERDUE;

pub mod judge;
mod amounts;
mod both;
mod catalog;
mod classify;
mod entities;
mod fingerprint;
mod index;
mod reading;
mod scan;
mod shape;
mod watch;
mod wording;

pub use both::{Signals, signals};
pub use catalog::Catalog;
pub use fingerprint::stable;
pub use wording::pieces;

use catalog::{Act, rank};
use classify::Verdict;

/// What went wrong, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the names are the field's own words, listed in the README"
)]
pub enum Category {
    Network,
    Timeout,
    Throttling,
    Resource,
    Authentication,
    Authorization,
    Configuration,
    DataSchema,
    DataQuality,
    MissingData,
    Code,
    Dependency,
    Platform,
    Concurrency,
    Quota,
    Cancelled,
    Undetermined,
}

/// What would help. The first five act through a playbook, the others are advice to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Action {
    RetryPipeline,
    RetryJob,
    RetryTask,
    RestartCluster,
    ReinstallLibraries,
    CheckUpstream,
    ScaleResources,
    None,
}

/// How bad it is; gives priority and SLA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// How much an automatic action could break; gives the number of attempts and their delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Risk {
    Low,
    Medium,
    High,
}

/// A verbatim slice of the evidence that supports the diagnosis (law L7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The slice, character by character.
    pub quote: String,
    /// The id of the evidence it stands in (`e0` …), or `message`, `error_code`, `context.<name>`.
    pub source: String,
    /// What people call that evidence, e.g. `Failed activity Copy_Sales (Copy)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// The root cause, with its proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What went wrong, in one word.
    pub category: Category,
    /// One canonical name, e.g. `SourceFileNotFound`.
    pub error_type: String,
    /// Likely to pass by itself.
    pub transient: bool,
    /// An automatic action is safe and likely to help.
    pub remediable: bool,
    /// What would help.
    pub action: Action,
    /// The cluster's machine size is what cannot be had: a restart helps with another one.
    #[serde(default)]
    pub other_node_type: bool,
    /// How much that action could break.
    pub risk: Risk,
    /// How bad it is.
    pub severity: Severity,
    /// 0 to 1: the probability that the category is right.
    pub confidence: f32,
    /// The sentence people are woken for.
    pub root_cause: String,
    /// Two to four concrete steps.
    pub recommendations: Vec<String>,
    /// Why we believe it.
    pub evidence: Vec<Quote>,
    /// The rule or catalog entry that matched.
    pub rule: String,
    /// Named things found in the text: host, table, column, path, cluster …
    #[serde(default)]
    pub entities: BTreeMap<String, String>,
    /// What keeps failing, stable over ids, times and numbers (hex).
    pub fingerprint: String,
    /// Who worded it: `catalog`, or `model` with the reason it is not the model where that was tried.
    pub worded_by: String,
}

impl Diagnosis {
    /// Of what the patrol found and no platform calls a failure: a run that is missing, or moved nothing.
    pub fn of_finding(finding: &str, failure: &Failure) -> Self {
        let (error_type, steps) = if finding == OVERDUE {
            (
                "OverdueRun",
                [
                    "Look whether the trigger, the schedule or the scheduler itself is stopped.",
                    "Start the run by hand if its data is missing.",
                    "If it is no longer expected, pause its schedule, or change EXPECT.",
                ],
            )
        } else {
            (
                "EmptyRun",
                [
                    "Look whether the source was empty, late or filtered away.",
                    "Run it again once the data is there; what follows has worked with too little.",
                    "If less is usual now, change VOLUME.",
                ],
            )
        };
        let steps = steps.map(str::to_owned).to_vec();
        Self {
            category: Category::MissingData,
            severity: Severity::Medium,
            rule: "patrol".to_owned(),
            fingerprint: fingerprint::fingerprint(failure.source, error_type, "", &failure.asset),
            ..Self::of_ourselves(error_type, &failure.asset, failure.message.clone(), steps)
        }
    }

    /// What the tool says about its own surroundings: known, not inferred, and nothing that a machine acts on.
    pub fn of_ourselves(
        error_type: &str,
        subject: &str,
        root_cause: String,
        recommendations: Vec<String>,
    ) -> Self {
        Self {
            category: Category::Configuration,
            error_type: error_type.to_owned(),
            transient: false,
            remediable: false,
            action: Action::None,
            other_node_type: false,
            risk: Risk::High,
            severity: Severity::High,
            confidence: 1.0,
            root_cause,
            recommendations,
            evidence: Vec::new(),
            rule: "the tool's own deliveries".to_owned(),
            fingerprint: fingerprint::fingerprint(Source::System, error_type, "", subject),
            entities: BTreeMap::new(),
            worded_by: "catalog".to_owned(),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::Critical => "Critical",
        })
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        })
    }
}

impl Category {
    /// May a machine ever act on such errors (law L8)? Running it again cannot help the others, or could do harm.
    pub fn may_be_acted_on(self) -> bool {
        matches!(
            self,
            Self::Network
                | Self::Timeout
                | Self::Throttling
                | Self::Resource
                | Self::Platform
                | Self::Concurrency
                | Self::Dependency
                | Self::Quota
        )
    }

    /// As people read it: `data schema`, `network` …
    pub fn words(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Throttling => "throttling",
            Self::Resource => "resource",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Configuration => "configuration",
            Self::DataSchema => "data schema",
            Self::DataQuality => "data quality",
            Self::MissingData => "missing data",
            Self::Code => "code",
            Self::Dependency => "dependency",
            Self::Platform => "platform",
            Self::Concurrency => "concurrency",
            Self::Quota => "quota",
            Self::Cancelled => "cancelled",
            Self::Undetermined => "undetermined",
        }
    }
}

impl Action {
    /// Does it act by itself, through a playbook?
    pub fn acts(self) -> bool {
        matches!(
            self,
            Self::RetryPipeline
                | Self::RetryJob
                | Self::RetryTask
                | Self::RestartCluster
                | Self::ReinstallLibraries
        )
    }

    /// The name in JSON: `retry_pipeline` …
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryPipeline => "retry_pipeline",
            Self::RetryJob => "retry_job",
            Self::RetryTask => "retry_task",
            Self::RestartCluster => "restart_cluster",
            Self::ReinstallLibraries => "reinstall_libraries",
            Self::CheckUpstream => "check_upstream",
            Self::ScaleResources => "scale_resources",
            Self::None => "none",
        }
    }

    /// As people read it: `retry the pipeline` …
    pub fn words(self) -> &'static str {
        match self {
            Self::RetryPipeline => "retry the pipeline",
            Self::RetryJob => "retry the job",
            Self::RetryTask => "retry the task",
            Self::RestartCluster => "restart the cluster",
            Self::ReinstallLibraries => "reinstall the libraries",
            Self::CheckUpstream => "rerun the upstream",
            Self::ScaleResources => "scale the resources",
            Self::None => "nothing",
        }
    }
}

impl Diagnosis {
    /// High, Medium or Low, as people read it: on messages that nothing was fitted on, 97, 89 and 80 of 100 are right.
    pub fn confidence_word(&self) -> &'static str {
        if self.confidence >= 0.8 {
            "High"
        } else if self.confidence >= 0.6 {
            "Medium"
        } else {
            "Low"
        }
    }

    /// Do the rules and the learned judge disagree about the category, or about acting?
    pub fn is_disputed(&self) -> bool {
        both::is_disputed(&self.rule)
    }

    /// The evidence for people to read: a quote that another one contains word for word is not said again.
    pub fn proofs(&self) -> impl Iterator<Item = &Quote> {
        let quotes = || self.evidence.iter().enumerate();
        let said_again = move |(index, quote): &(usize, &Quote)| {
            quotes().any(|(other, whole)| {
                let says_more = whole.quote.len() > quote.quote.len()
                    || whole.quote == quote.quote && other < *index;
                says_more && whole.quote.contains(&quote.quote)
            })
        };
        quotes()
            .filter(move |quote| !said_again(quote))
            .map(|(_, quote)| quote)
    }
}

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

/// Less confidence than this is no diagnosis.
const THRESHOLD: f32 = 0.2;

/// Finds the root cause. Never fails; it may be [`Category::Undetermined`].
pub fn diagnose(case: &Case) -> Diagnosis {
    let catalog = Catalog::get();
    let verdict = classify::classify(catalog, case);
    match watch::watched(case) {
        // What the watcher says is no error of the run.
        Some(run) => watch::of_watcher(&run, of_rules(catalog, case, &verdict)),
        None => both::diagnose(catalog, case, verdict),
    }
}

/// The root cause by the rules alone, to measure what the learned judge adds.
pub fn by_rules(case: &Case) -> Diagnosis {
    let catalog = Catalog::get();
    let found = of_rules(catalog, case, &classify::classify(catalog, case));
    match watch::watched(case) {
        Some(run) => watch::of_watcher(&run, found),
        None => found,
    }
}

fn of_rules(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
    let rank_of_guess = verdict.guess.as_ref().map_or(0, |guess| guess.rank);
    let found = match verdict.candidates.first() {
        Some(winner) if winner.rank >= rank_of_guess => of_cause(catalog, case, verdict),
        _ if verdict.guess.is_some() => of_guess(catalog, case, verdict),
        _ => undetermined(catalog, case, verdict),
    };
    if found.confidence < THRESHOLD {
        undetermined(catalog, case, verdict)
    } else {
        found
    }
}

fn of_cause(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
    let Some((winner, found)) = verdict
        .candidates
        .first()
        .and_then(|w| Some((w, catalog.cause(w.cause)?)))
    else {
        return undetermined(catalog, case, verdict);
    };
    let proof = wording::proof(catalog, verdict, None);
    let entities = proof.entities;
    let act = if verdict.veto.is_some() {
        Act::None
    } else {
        found.act
    };
    let confidence = confidence(catalog, verdict);
    let action = case.action(act);
    let mut rule = format!("{}: {}", found.name, winner.sign);
    if let Some(sign) = &verdict.veto {
        let _ = write!(rule, "; does not act because of {sign}");
    }
    Diagnosis {
        category: found.category,
        error_type: found.name.clone(),
        transient: found.transient.unwrap_or(found.act.acts()),
        remediable: act.acts(),
        action,
        other_node_type: found.other_node_type && action == Action::RestartCluster,
        risk: risk(action),
        severity: found
            .severity
            .or_else(|| catalog.defaults(found.category).map(|d| d.severity))
            .unwrap_or(Severity::Medium),
        confidence,
        root_cause: wording::named(
            sentence(case, &wording::fill(&found.text, &entities), &entities),
            &entities,
        ),
        recommendations: fitting(catalog, case, found.category, &found.steps, &entities),
        evidence: proof.quotes,
        rule,
        fingerprint: print(
            case,
            &found.name,
            verdict,
            Some((winner.place, winner.span)),
        ),
        entities,
        worded_by: "catalog".into(),
    }
}

fn of_guess(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
    let Some(guess) = &verdict.guess else {
        return undetermined(catalog, case, verdict);
    };
    let proof = wording::proof(catalog, verdict, Some((guess.place, guess.span)));
    let mut entities = proof.entities;
    entities.insert("name".into(), guess.name.clone());
    // The name and what stands behind it.
    let says = wording::says(verdict, (guess.place, guess.span))
        .filter(|says| says.len() > guess.name.len() + 2);
    let text = match says {
        Some(says) => {
            entities.insert("says".into(), says.to_owned());
            format!("{}: {{says}}.", guess.text.trim_end_matches('.'))
        }
        None => guess.text.clone(),
    };
    let act = if guess.act.acts() || !guess.category.may_be_acted_on() && guess.act == Act::Scale {
        Act::None
    } else {
        guess.act
    };
    let action = case.action(act);
    Diagnosis {
        category: guess.category,
        error_type: guess.name.clone(),
        transient: false,
        remediable: false,
        action,
        other_node_type: false,
        risk: risk(action),
        severity: catalog
            .defaults(guess.category)
            .map_or(Severity::Medium, |d| d.severity),
        confidence: if guess.rank == rank::SHAPE { 0.45 } else { 0.3 },
        root_cause: sentence(case, &wording::fill(&text, &entities), &entities),
        recommendations: steps(catalog, guess.category, &[], &entities),
        evidence: proof.quotes,
        rule: format!("shape of the name {}", guess.name),
        fingerprint: print(case, &guess.name, verdict, Some((guess.place, guess.span))),
        entities,
        worded_by: "catalog".into(),
    }
}

fn undetermined(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
    let proof = wording::proof(catalog, verdict, None);
    let entities = proof.entities;
    Diagnosis {
        category: Category::Undetermined,
        error_type: "Undetermined".into(),
        transient: false,
        remediable: false,
        action: Action::None,
        other_node_type: false,
        risk: Risk::High,
        severity: Severity::Medium,
        confidence: 0.1,
        root_cause: unknown(&case.message, wording::told(verdict)),
        recommendations: steps(catalog, Category::Undetermined, &[], &entities),
        evidence: proof.quotes,
        rule: "nothing matched".into(),
        fingerprint: print(case, "Undetermined", verdict, None),
        entities,
        worded_by: "catalog".into(),
    }
}

/// Why there is no cause to name.
fn unknown(message: &str, told: Option<&str>) -> String {
    match (told, crate::failure::own_words::recognise(message)) {
        (Some(told), _) => {
            format!("No known code, exception or phrase stands in the report. It says: {told}.")
        }
        (None, Some(gap)) => format!("The cause is unknown: {gap}."),
        (None, None) => {
            "The report does not say what went wrong: no known code, exception or phrase stands in it."
                .to_owned()
        }
    }
}

/// How sure we are: how specific the sign is, and whether others agree or disagree.
fn confidence(catalog: &Catalog, verdict: &Verdict<'_>) -> f32 {
    let Some(winner) = verdict.candidates.first() else {
        return 0.1;
    };
    let category = |index: usize| catalog.cause(index).map(|cause| cause.category);
    let mine = category(winner.cause);
    let base = match winner.rank {
        rank::ALWAYS => 0.93,
        rank::NUMBER => 0.92,
        rank::SAYS => 0.86,
        rank::CODE => 0.85,
        rank::SUGGESTS => 0.7,
        rank::WEAK_CODE => 0.6,
        rank::HINT => 0.5,
        rank::SHAPE | rank::WORDS => 0.35,
        _ => 0.25,
    };
    let others = || {
        verdict
            .candidates
            .iter()
            .skip(1)
            .filter(|other| other.cause != winner.cause && other.rank >= rank::HINT)
    };
    let agree = others().any(|other| category(other.cause) == mine);
    let differ =
        others().any(|other| category(other.cause) != mine && other.rank + 1 >= winner.rank);
    let mut value: f32 = base;
    if agree {
        value += 0.04;
    }
    if differ {
        value -= 0.12;
    }
    if verdict.veto.is_some() {
        value -= 0.1;
    }
    // Something failed that has a cause of its own.
    if catalog
        .cause(winner.cause)
        .is_some_and(|cause| cause.consequence)
    {
        value = value.min(0.4);
    }
    value.clamp(0.05, 0.97)
}

/// How much an action could break: repeating a run is cheap, restarting or reinstalling hits whoever shares the cluster.
fn risk(action: Action) -> Risk {
    match action {
        Action::RetryPipeline | Action::RetryJob | Action::RetryTask => Risk::Low,
        Action::RestartCluster | Action::ReinstallLibraries => Risk::Medium,
        Action::CheckUpstream | Action::ScaleResources | Action::None => Risk::High,
    }
}

/// The cause's sentence, with where it happened when the text says so.
fn sentence(case: &Case, words: &str, entities: &BTreeMap<String, String>) -> String {
    let mut out = words.trim().to_owned();
    let mut whereabouts = Vec::new();
    let named = |out: &str, value: &str| out.contains(value);
    if let Some(inner) = entities
        .get("inner_activity")
        .or_else(|| entities.get("activity"))
        && !named(&out, inner)
    {
        whereabouts.push(format!("activity `{inner}`"));
    }
    if let Some(side) = entities.get("side")
        && !named(&out, side)
    {
        whereabouts.push(format!("{} side", side.to_lowercase()));
    }
    if let Some(task) = entities
        .get("task")
        .or_else(|| case.context.get(field::TASK_ID))
        && !named(&out, task)
    {
        whereabouts.push(format!("task `{task}`"));
    }
    if !whereabouts.is_empty() {
        if out.ends_with('.') {
            out.pop();
        }
        let _ = write!(out, " ({}).", whereabouts.join(", "));
    }
    out
}

/// The steps that fit how the case signs in: nothing about a password where none is used.
fn fitting(
    catalog: &Catalog,
    case: &Case,
    category: Category,
    own: &[String],
    entities: &BTreeMap<String, String>,
) -> Vec<String> {
    let about_password = |step: &String| step.to_ascii_lowercase().contains("password");
    if !own.iter().any(about_password) || !signs_in_without_password(case) {
        return steps(catalog, category, own, entities);
    }
    let mut fit = vec![
        "Check the identity, token, key or certificate that the connection uses: is it valid, and known to the remote service?"
            .to_owned(),
    ];
    fit.extend(own.iter().filter(|step| !about_password(step)).cloned());
    steps(catalog, category, &fit, entities)
}

/// Does the text name another way to sign in, and no password?
fn signs_in_without_password(case: &Case) -> bool {
    const OTHER_WAYS: [&str; 22] = [
        "managed identity",
        "managedidentity",
        "service principal",
        "serviceprincipal",
        "token-identified",
        "access token",
        "accesstoken",
        "access_token",
        "bearer",
        "jwt",
        "oauth",
        "aadsts",
        "sas token",
        "shared access signature",
        "account key",
        "access key",
        "certificate",
        "workload identity",
        "key pair",
        "private key",
        "publickey",
        "kerberos",
    ];
    let mut texts = vec![case.message.as_str()];
    texts.extend(case.context.values().map(String::as_str));
    texts.extend(case.evidence.iter().map(|piece| piece.text.as_str()));
    let lower: Vec<String> = texts.iter().map(|text| text.to_ascii_lowercase()).collect();
    let says = |word: &str| lower.iter().any(|text| text.contains(word));
    !says("password") && !says("pwd=") && OTHER_WAYS.iter().any(|way| says(way))
}

/// The cause's own steps. A single one is joined by one of its category's: the last, which ends with the rerun, or the
/// first where the cause's own speaks of that already. Without any, the category's steps stand.
fn steps(
    catalog: &Catalog,
    category: Category,
    own: &[String],
    entities: &BTreeMap<String, String>,
) -> Vec<String> {
    let general = catalog
        .defaults(category)
        .map(|defaults| defaults.steps.as_slice())
        .unwrap_or_default();
    let general = match own {
        [] => general.iter().collect(),
        [one] if speaks_of_a_rerun(one) => general.first().into_iter().collect(),
        [_] => general.last().into_iter().collect(),
        _ => Vec::new(),
    };
    own.iter()
        .chain(general)
        .take(4)
        .map(|step| wording::fill(step, entities))
        .collect()
}

fn speaks_of_a_rerun(step: &str) -> bool {
    ["erun", " again", "estart", "epair", "lear the task"]
        .iter()
        .any(|word| step.contains(word))
}

fn print(
    case: &Case,
    error_type: &str,
    verdict: &Verdict<'_>,
    telling: Option<(usize, scan::Span)>,
) -> String {
    let text = telling
        .and_then(|(place, span)| {
            let text = verdict.places.get(place)?.text;
            let start = text.floor_char_boundary(span.start);
            let end = text.floor_char_boundary((span.end + 2000).min(text.len()));
            let line = text.get(start..end)?;
            Some(line.split('\n').next().unwrap_or(line))
        })
        .unwrap_or_else(|| {
            case.message
                .lines()
                .rfind(|line| !line.trim().is_empty())
                .unwrap_or_default()
        });
    fingerprint::fingerprint(
        case.source,
        error_type,
        case.error_code.as_deref().unwrap_or_default(),
        text,
    )
}
