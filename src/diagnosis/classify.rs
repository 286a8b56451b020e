//! The classifier: signs → one cause.
//!
//! In: a [`Case`]. Out: a [`Verdict`]: the winning cause (or none), why, the entities and the telling spans.
//!
//! **The order of decision.** Every sign (a code in a field, a code or number inside the text, a phrase) is
//! a candidate with a rank; the highest rank wins: 11 phrases that settle it (`always`), 10 vendors' numbered
//! errors (SQL, ORA, AADSTS …), 9 specific phrases (`says`), 8 codes that name a cause, 7 general phrases
//! (`suggests`) and SQLSTATEs, 6 codes that name a family, 5 `hints` and HTTP statuses, 4 the telling shape of an
//! unknown code or exception name, 3 ordinary `words`, by vote, 2 a vague shape, 1 wrappers ("an inner activity
//! failed"). So wrappers are peeled without a special case. Of two signs of one rank the later one wins, because
//! the innermost error (`Caused by`, the last exception of a traceback, ADF's inner `'Type=`) stands last; evidence
//! beats the report, because it is nearer to the failure.
//!
//! **Who is heard.** Every text is read in up to three places, one a [`Voice`]. Signs of the terminal error decide; an
//! error beside it and the log are heard only where the terminal error says no more than that something inside
//! failed, or where there is none. What is not heard is dropped; errors beside it stay to speak against an action.
//!
//! **Yielding.** A consequence (`consequence = true`: skipped for a failed upstream, "see run output for details") yields
//! to every other sign, and a number that several errors share to a text that speaks of something else.
//!
//! **Safety.** An acting winner that is not the terminal error loses its action. An acting winner loses its action when something of nearly its rank speaks of an error that
//! repetition cannot heal. Vague words and shapes never act (L8).

use std::cmp::Reverse;

use super::amounts;
use super::candidate::{Candidate, from_field, from_termination_type, from_text, from_unread_log};
use super::catalog::Catalog;
use super::entry::{Cause, Weight, rank};
use super::place::{Place, known, places};
use super::shape::{self, Guess};
use super::{Case, Category};
use crate::evidence::Voice;
use crate::failure::{Source, field};

/// What the classifier says.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) places: Vec<Place<'a>>,
    /// Best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) guess: Option<Guess>,
    /// Set when an acting winner may not act: the sign that speaks against it.
    pub(super) veto: Option<String>,
}

/// Classifies a case.
pub(super) fn classify<'a>(catalog: &Catalog, case: &'a Case) -> Verdict<'a> {
    let known = known(catalog, case);
    let mut places = places(catalog, case, &known);
    let mut candidates = Vec::new();
    for number in 0..places.len() {
        let Some(place) = places.get(number) else {
            continue;
        };
        candidates.extend(from_text(catalog, place, number));
        candidates.extend(from_field(catalog, case.source, place, number));
    }
    candidates.extend(from_termination_type(catalog, case, &places));
    candidates.extend(from_unread_log(catalog, case, &known, &mut places));
    let voices: Vec<Voice> = places.iter().map(|place| place.voice).collect();
    let voice_of = |place: usize| voices.get(place).copied().unwrap_or(Voice::Record);
    drop_coarse(catalog, &mut candidates, &places);
    let least = least_heard(catalog, &places, &candidates);
    candidates.retain(|c| voice_of(c.place) <= least.max(Voice::Beside));
    candidates.sort_by_key(|c: &Candidate| {
        let heard = voice_of(c.place) <= least;
        // Only an error beside a wrapper, or a log, says what was wrapped.
        let latest = Reverse((
            heard,
            c.rank,
            Reverse(voice_of(c.place)),
            c.place_order(&places),
            c.span.end,
        ));
        (latest, c.tail(), Reverse(c.span.start))
    });
    vote(&mut candidates);
    for place in &mut places {
        place.heard = place.voice <= least;
    }
    let guess = shape::guess(catalog, &places);
    drop_consequences(catalog, &mut candidates, guess.as_ref());
    let veto = veto(catalog, case, &candidates, &places);
    candidates.retain(|c| voice_of(c.place) <= least);
    places.shrink_to_fit();
    Verdict {
        places,
        candidates,
        guess,
        veto,
    }
}

/// Is its cause only what follows from an error?
pub(super) fn is_consequence(catalog: &Catalog, candidate: &Candidate) -> bool {
    catalog
        .cause(candidate.cause)
        .is_some_and(|cause| cause.consequence)
}

/// What only follows from an error yields to it, however clearly it is said.
fn drop_consequences(catalog: &Catalog, candidates: &mut Vec<Candidate>, guess: Option<&Guess>) {
    let tells = candidates
        .iter()
        .any(|c| c.rank > rank::HINT && !is_consequence(catalog, c));
    if tells || guess.is_some_and(|guess| guess.rank == rank::SHAPE) {
        candidates.retain(|c| !is_consequence(catalog, c));
    }
}

/// A code that several errors share says nothing where the text speaks of something else.
fn drop_coarse(catalog: &Catalog, candidates: &mut Vec<Candidate>, places: &[Place<'_>]) {
    let is_number = |c: &Candidate| {
        let shared = |cause: &Cause| cause.weight == Weight::Coarse;
        catalog.cause(c.cause).is_some_and(shared)
            && places
                .get(c.place)
                .is_some_and(|place| place.source == "error_code")
    };
    let told = places
        .iter()
        .any(|place| place.source == "message" && !place.text.trim().is_empty());
    let category = |c: &Candidate| catalog.cause(c.cause).map(|cause| cause.category);
    let said: Vec<_> = candidates
        .iter()
        .filter(|c| !is_number(c) && c.rank >= rank::SUGGESTS)
        .map(category)
        .collect();
    candidates.retain(|c| !told || !is_number(c) || said.contains(&category(c)));
}

/// The weakest voice that is heard: the terminal error says what went wrong, or something that stands around it.
fn least_heard(catalog: &Catalog, places: &[Place<'_>], candidates: &[Candidate]) -> Voice {
    let mut best = 0;
    for candidate in candidates {
        if places
            .get(candidate.place)
            .is_some_and(|place| place.voice == Voice::Terminal)
        {
            best = best.max(if is_consequence(catalog, candidate) {
                rank::WRAPPER
            } else {
                candidate.rank
            });
        }
    }
    if best > rank::WRAPPER {
        return Voice::Terminal;
    }
    let terminal = || {
        places
            .iter()
            .filter(|place| place.voice == Voice::Terminal && place.source != "error_code")
    };
    // An error of its own that the catalog does not know is no wrapper.
    let names_itself = shape::names_something(catalog, terminal());
    if best == 0 && (names_itself || terminal().any(|place| !shape::wraps(catalog, place))) {
        return Voice::Terminal;
    }
    if best == rank::WRAPPER && names_itself {
        return Voice::Terminal;
    }
    Voice::Log
}

/// Where only ordinary words speak, the cause with the most and longest of them wins.
fn vote(candidates: &mut [Candidate]) {
    if candidates
        .first()
        .is_none_or(|first| first.rank != rank::WORDS)
    {
        return;
    }
    let words: Vec<(usize, usize)> = candidates
        .iter()
        .filter(|c| c.rank == rank::WORDS)
        .map(|c| (c.cause, c.sign.len()))
        .collect();
    let votes = |cause: usize| {
        words
            .iter()
            .filter(|(other, _)| *other == cause)
            .map(|(_, length)| length)
            .sum::<usize>()
    };
    candidates.sort_by_key(|c| {
        Reverse((
            c.rank,
            if c.rank == rank::WORDS {
                votes(c.cause)
            } else {
                0
            },
        ))
    });
}

/// A sign of an error that repetition never heals counts when it is nearly as specific as the winner,
/// any other non-acting sign when it is just as specific.
fn speaks_against(rank: u8, winner: u8, category: Category) -> bool {
    if category.may_be_acted_on() {
        return rank >= rank::SUGGESTS && rank >= winner;
    }
    // A family's code alone acts only when not even ordinary words speak of something else.
    (rank >= rank::HINT && rank + 2 >= winner) || (rank == rank::WORDS && winner == rank::WEAK_CODE)
}

/// Does a code or number, not only a word, name a throttling?
fn named_throttling(winner: &Candidate, category: Category) -> bool {
    category == Category::Throttling && winner.rank >= rank::CODE
}

/// The guide has an Airflow task retried whose error says "timeout", in whatever words.
pub(super) fn is_of_the_guide(source: Source, cause: &Cause) -> bool {
    source == Source::Airflow && cause.name == "TimeoutError"
}

/// What speaks against an acting winner: its place, a vague word alone (a hint that is no number), or another sign.
fn veto(
    catalog: &Catalog,
    case: &Case,
    candidates: &[Candidate],
    places: &[Place<'_>],
) -> Option<String> {
    let winner = candidates.first()?;
    let cause = catalog.cause(winner.cause)?;
    if !cause.act.acts() {
        return None;
    }
    if places
        .get(winner.place)
        .is_none_or(|place| place.voice != Voice::Terminal)
    {
        return Some("its place: it stands beside the error that ended the run".into());
    }
    let lone_word = winner.rank <= rank::HINT && winner.sign.starts_with('"');
    if lone_word && !is_of_the_guide(case.source, cause) {
        return Some("a vague word alone".into());
    }
    if matches!(cause.category, Category::Quota | Category::Resource)
        && let Some(why) = places
            .get(winner.place)
            .and_then(|place| amounts::never_fits(place.text))
    {
        return Some(why);
    }
    let kind = case
        .context
        .get(field::TERMINATION_TYPE)
        .filter(|kind| kind.eq_ignore_ascii_case("CLIENT_ERROR"));
    // Who calls too often is called a client error as well, but the same request passes later.
    if let Some(kind) = kind
        && !named_throttling(winner, cause.category)
    {
        return Some(format!("type {kind}"));
    }
    candidates
        .iter()
        .skip(1)
        .find(|other| {
            catalog.cause(other.cause).is_some_and(|cause| {
                !cause.act.acts() && speaks_against(other.rank, winner.rank, cause.category)
            })
        })
        .map(|other| other.sign.clone())
}
