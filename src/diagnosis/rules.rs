//! The diagnosis by the rules alone: of the cause that won, of a guess, or of nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::catalog::Catalog;
use super::classify::Verdict;
use super::entry::{Act, rank};
use super::span::Span;
use super::steps::{fitting, steps};
use super::{Action, Case, Category, Diagnosis, Risk, Severity, fingerprint, wording};
use crate::failure::field;

/// Less confidence than this is no diagnosis.
const THRESHOLD: f32 = 0.2;

pub(super) fn of_rules(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
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

pub(super) fn of_cause(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
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

pub(super) fn of_guess(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
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

pub(super) fn undetermined(catalog: &Catalog, case: &Case, verdict: &Verdict<'_>) -> Diagnosis {
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

/// How much an action could break: repeating a run is cheap, restarting or reinstalling affects everything on the cluster.
pub(super) fn risk(action: Action) -> Risk {
    match action {
        Action::RetryPipeline | Action::RetryJob | Action::RetryTask => Risk::Low,
        Action::RestartCluster | Action::ReinstallLibraries => Risk::Medium,
        Action::CheckUpstream | Action::ScaleResources | Action::None => Risk::High,
    }
}

/// The cause's sentence, with where it happened when the text says so.
pub(super) fn sentence(case: &Case, words: &str, entities: &BTreeMap<String, String>) -> String {
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

pub(super) fn print(
    case: &Case,
    error_type: &str,
    verdict: &Verdict<'_>,
    telling: Option<(usize, Span)>,
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
