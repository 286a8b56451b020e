//! One diagnosis from rules and classifier.
//!
//! In: the verdict of the rules. Out: a [`Diagnosis`] whose category is the most probable one by both, with the cause
//! that speaks for it: the rule's own, another sign of that category, the shape of a name, or the wording alone. It
//! acts only where a rule acts *and* the classifier allows it. It does not know how the classifier was fitted.

use std::fmt::Write as _;

use super::candidate::Candidate;
use super::catalog::Catalog;
use super::classify::{self, Verdict};
use super::entry::{Act, rank};
use super::learned::{Classifier, Prediction, Probabilities, Rule, features};
use super::place::Place;
use super::span::Span;
use super::{Action, Case, Category, Diagnosis, Risk, Severity, rules, steps, wording};
use crate::evidence::Voice;
use crate::failure::Source;

/// What is more likely wrong than right is no diagnosis.
const UNDETERMINED: f32 = 0.5;

/// The same where only the wording speaks, which people cannot check against a cause.
const UNNAMED: f32 = 0.6;

/// The confidence of a code whose category the words do not bear out.
const DISPUTED: f32 = 0.6;

/// Why a rule does not act though its cause would, where the classifier is the reason.
const OUTVOTED: &str = "the rules alone say something else";
const FORBIDDEN: &str = "; does not act because the wording speaks of ";

impl Diagnosis {
    /// Do the rules and the learned classifier disagree about the category, or about acting?
    pub fn is_disputed(&self) -> bool {
        self.rule.contains(OUTVOTED) || self.rule.contains(FORBIDDEN)
    }
}

/// What rules and classifier are given of a case: for training and for measuring.
#[derive(Debug, Clone, PartialEq)]
pub struct Signals {
    /// The buckets of the text, for the classifier.
    pub buckets: Vec<u16>,
    /// What the rules say.
    pub rule: Option<Rule>,
}

/// The signals of a case.
pub fn signals(case: &Case) -> Signals {
    let catalog = Catalog::get();
    let verdict = classify::classify(catalog, case);
    signals_of(catalog, case, &verdict, &heard(&verdict))
}

/// The places that are heard, with what each says beside its names.
type Heard<'a> = Vec<(&'a Place<'a>, Vec<&'a str>)>;

fn heard<'a>(verdict: &'a Verdict<'_>) -> Heard<'a> {
    let heard = verdict.places.iter().filter(|place| place.heard);
    heard.map(|place| (place, prose(place))).collect()
}

fn signals_of(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>, heard: &Heard<'_>) -> Signals {
    let pieces: Vec<&str> = heard.iter().flat_map(|(_, prose)| prose).copied().collect();
    let codes = heard
        .iter()
        .filter(|(place, _)| place.window.parts.is_empty() && place.source != "message")
        .map(|(place, _)| place.text);
    let text = features::read(&pieces);
    Signals {
        buckets: features::of(Some(case.source), codes, &text),
        rule: rule_of(catalog, case.source, verdict),
    }
}

/// What a place says, without the names in it.
fn prose<'a>(place: &'a Place<'a>) -> Vec<&'a str> {
    let mut masks = place.window.masks.set_off.clone();
    masks.extend_from_slice(&place.window.masks.in_prose);
    masks.sort_unstable_by_key(|mask| mask.start);
    let parts = place.window.parts.iter();
    let spans = parts.flat_map(|part| outside(*part, &masks));
    spans
        .filter_map(|span| Some(without_paths(place.text.get(span.start..span.end)?)))
        .collect()
}

/// Without what is left of the path that a name stood in, at both ends.
fn without_paths(piece: &str) -> &str {
    let end = piece
        .char_indices()
        .rfind(|(_, c)| c.is_whitespace())
        .map_or(0, |(at, c)| at + c.len_utf8());
    let piece = match piece.get(end..) {
        Some(last) if last.contains(['/', '\\']) => piece.get(..end).unwrap_or_default(),
        _ => piece,
    };
    match piece.split_once(char::is_whitespace) {
        Some((first, rest)) if first.starts_with(['/', '\\']) => rest,
        _ => piece,
    }
}

/// What of a part is no name.
fn outside(part: Span, masks: &[Span]) -> impl Iterator<Item = Span> {
    let mut at = part.start;
    let mut inside: Vec<Span> = masks
        .iter()
        .filter(|mask| mask.start >= part.start && mask.end <= part.end)
        .copied()
        .collect();
    inside.push(Span {
        start: part.end,
        end: part.end,
    });
    inside.into_iter().filter_map(move |mask| {
        let span = Span {
            start: at,
            end: mask.start,
        };
        at = at.max(mask.end);
        (span.start < span.end).then_some(span)
    })
}

fn rule_of(catalog: &Catalog, source: Source, verdict: &Verdict<'_>) -> Option<Rule> {
    let guess = verdict.guess.as_ref();
    match verdict.candidates.first() {
        Some(winner) if winner.rank >= guess.map_or(0, |guess| guess.rank) => {
            let cause = catalog.cause(winner.cause)?;
            let of_the_guide = classify::is_of_the_guide(source, cause);
            let least = if of_the_guide { GENERAL } else { 0 };
            Some(Rule {
                category: cause.category,
                class: class(winner.rank).max(least),
            })
        }
        _ => guess.map(|guess| Rule {
            category: guess.category,
            class: class(guess.rank),
        }),
    }
}

/// The class of general phrases.
const GENERAL: usize = 2;

fn class(sign: u8) -> usize {
    match sign {
        rank::NUMBER.. => 4,
        rank::CODE..=rank::SAYS => 3,
        rank::WEAK_CODE..=rank::SUGGESTS => GENERAL,
        rank::HINT => 1,
        _ => 0,
    }
}

/// Fewer words than this tell no kind of error, beside a rule.
const FEW: usize = 3;
/// The same where no rule says anything, or only the shape of a name does.
const FEW_ALONE: usize = 6;
/// The same beside a wrapper, which has words of its own.
const FEW_WRAPPED: usize = 12;

/// Is there nothing that the classifier could read? It was fitted on what errors say: on a code without words, on a wrapper,
/// or on the log around an error it would have only its habits to go by.
fn is_silent(catalog: &Catalog, verdict: &Verdict<'_>, heard: &Heard<'_>) -> bool {
    if verdict
        .candidates
        .first()
        .is_some_and(|winner| classify::is_consequence(catalog, winner))
    {
        return true;
    }
    let few = match (verdict.candidates.first(), &verdict.guess) {
        (None, _) => FEW_ALONE,
        (Some(winner), None) if winner.rank <= rank::WRAPPER => FEW_WRAPPED,
        _ => FEW,
    };
    !heard.iter().any(|(place, prose)| {
        let words = prose.iter().flat_map(|piece| wording::words(piece));
        place.voice == Voice::Terminal && words.take(few).count() == few
    })
}

/// Does a code speak for the rule's category? Then the class of the code: any in a field of its own where it decides, and
/// anywhere one that names a cause. The signs of phrases stand in quotation marks.
fn class_of_code(catalog: &Catalog, verdict: &Verdict<'_>) -> Option<usize> {
    let category = |cause: usize| catalog.cause(cause).map(|cause| cause.category);
    let winner = verdict.candidates.first()?;
    let source = &verdict.places.get(winner.place)?.source;
    if source == "error_code" || source.starts_with("context.") {
        return Some(class(winner.rank)).filter(|class| *class >= GENERAL);
    }
    let same = |other: &&Candidate| category(other.cause) == category(winner.cause);
    verdict
        .candidates
        .iter()
        .filter(same)
        .filter(|candidate| !candidate.sign.starts_with('"'))
        .map(|candidate| class(candidate.rank))
        .find(|class| *class > GENERAL)
}

/// Does the code outweigh the classifier? One that names only a family, unless a sign of the catalog speaks for the classifier.
fn holds(catalog: &Catalog, verdict: &Verdict<'_>, class: usize, judged: Category) -> bool {
    class > GENERAL || first_sign(catalog, verdict, judged).is_none()
}

pub(super) fn diagnose(catalog: &Catalog, case: &Case, mut verdict: Verdict<'_>) -> Diagnosis {
    let heard = heard(&verdict);
    if is_silent(catalog, &verdict, &heard) {
        return rules::of_rules(catalog, case, &verdict);
    }
    let Signals { buckets, rule } = signals_of(catalog, case, &verdict, &heard);
    let classifier = Classifier::get();
    let probabilities = classifier.probabilities(&buckets);
    let code = class_of_code(catalog, &verdict);
    let of_rule = |category: Category| rule.is_some_and(|rule| rule.category == category);
    let mut prediction = classifier.predict(&probabilities, rule);
    if let (Some(rule), Some(class)) = (rule, code)
        && !of_rule(prediction.category)
        && holds(catalog, &verdict, class, prediction.category)
    {
        prediction = Prediction {
            category: rule.category,
            confidence: DISPUTED,
        };
    }
    let Prediction {
        category,
        confidence,
    } = prediction;
    let mut found = if confidence < UNDETERMINED {
        rules::undetermined(catalog, case, &verdict)
    } else if of_rule(category) {
        rules::of_rules(catalog, case, &verdict)
    } else if prefer(catalog, &mut verdict, category) {
        rules::of_cause(catalog, case, &verdict)
    } else if (verdict.guess.as_ref()).is_some_and(|guess| guess.category == category) {
        rules::of_guess(catalog, case, &verdict)
    } else if confidence < UNNAMED {
        rules::undetermined(catalog, case, &verdict)
    } else {
        of_wording(catalog, case, &verdict, prediction)
    };
    if found.category != Category::Undetermined {
        found.confidence = confidence;
    }
    if found.remediable {
        // Beside a code the words are often the vendor's boilerplate: the code has a say in the veto.
        let weighed = code.map_or(probabilities, |_| classifier.both(&probabilities, rule));
        if !classifier.allows(&weighed) {
            forbid(&mut found, &probabilities);
        }
    }
    found
}

/// Puts the first sign of this category before the others, if there is one. It does not act: the rules put another one
/// first, and the classifier is no reason for an action.
fn prefer(catalog: &Catalog, verdict: &mut Verdict<'_>, category: Category) -> bool {
    let place = first_sign(catalog, verdict, category);
    let Some(signs) = place.and_then(|place| verdict.candidates.get_mut(..=place)) else {
        return false;
    };
    signs.rotate_right(1);
    verdict.veto = Some(OUTVOTED.into());
    true
}

/// Where the first sign of a category stands among the candidates.
fn first_sign(catalog: &Catalog, verdict: &Verdict<'_>, category: Category) -> Option<usize> {
    verdict.candidates.iter().position(|candidate| {
        candidate.rank >= rank::HINT
            && catalog
                .cause(candidate.cause)
                .is_some_and(|cause| cause.category == category)
    })
}

/// Only the wording speaks for the category: no cause of the catalog, so no action either.
fn of_wording(
    catalog: &Catalog,
    case: &Case,
    verdict: &Verdict<'_>,
    prediction: Prediction,
) -> Diagnosis {
    let category = prediction.category;
    let line = wording::last_line(verdict);
    let said = line.and_then(|sign| wording::says(verdict, sign));
    let kind = format!("By its wording, this is {}", described(category));
    let root_cause = match said {
        Some(said) => format!("{kind}: {said}."),
        None => format!("{kind}."),
    };
    let act = if category == Category::MissingData {
        Act::CheckUpstream
    } else {
        Act::None
    };
    let proof = wording::proof(catalog, verdict, line);
    let entities = proof.entities;
    Diagnosis {
        category,
        error_type: format!("Unnamed{}", camel(category.words())),
        transient: false,
        remediable: false,
        action: case.action(act),
        other_node_type: false,
        risk: Risk::High,
        severity: catalog
            .defaults(category)
            .map_or(Severity::Medium, |defaults| defaults.severity),
        confidence: prediction.confidence,
        root_cause: rules::sentence(case, &root_cause, &entities),
        recommendations: steps::steps(catalog, category, &[], &entities),
        evidence: proof.quotes,
        rule: "wording: no cause of the catalog".into(),
        fingerprint: rules::print(case, "wording", verdict, line),
        entities,
        worded_by: "catalog".into(),
    }
}

fn forbid(found: &mut Diagnosis, probabilities: &Probabilities) {
    found.remediable = false;
    found.action = Action::None;
    found.other_node_type = false;
    found.risk = Risk::High;
    let _ = write!(found.rule, "{FORBIDDEN}{}", probabilities.best().words());
}

fn described(category: Category) -> &'static str {
    match category {
        Category::Network => "a network error",
        Category::Timeout => "a timeout",
        Category::Throttling => "throttling: too many calls",
        Category::Resource => "a shortage of memory, disk or machines",
        Category::Authentication => "a refused sign-in",
        Category::Authorization => "a missing permission",
        Category::Configuration => "a wrong or missing setting",
        Category::DataSchema => "data that does not fit its schema",
        Category::DataQuality => "bad data",
        Category::MissingData => "missing data",
        Category::Code => "an error in the code or the query",
        Category::Dependency => "a missing or incompatible library",
        Category::Platform => "a fault inside the service",
        Category::Concurrency => "a conflict between two writers or runs",
        Category::Quota => "a reached limit",
        Category::Cancelled => "a cancelled run",
        Category::Undetermined => "not determined",
    }
}

fn camel(words: &str) -> String {
    words
        .split(' ')
        .filter_map(|word| {
            let first = word.chars().next()?;
            Some(first.to_ascii_uppercase().to_string() + word.get(1..).unwrap_or_default())
        })
        .collect()
}
