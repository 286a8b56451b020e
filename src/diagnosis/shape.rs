//! Guesses from the shape of a name the catalog does not know (`XyzConnectionTimeoutException`).
//!
//! In: the places of a case. Out: at most one guess, from the last such name. A guess never acts (L8): it
//! only says where a person should look.

use super::Category;
use super::catalog::Catalog;
use super::entry::{Act, rank};
use super::place::Place;
use super::span::Span;

/// A cause guessed from the shape of a name.
#[derive(Debug, Clone)]
pub(super) struct Guess {
    pub(super) name: String,
    pub(super) category: Category,
    pub(super) act: Act,
    pub(super) text: String,
    pub(super) rank: u8,
    pub(super) place: usize,
    pub(super) span: Span,
}

/// Names that only wrap others, or are ordinary words.
const EMPTY: [&str; 28] = [
    "exception",
    "error",
    "hybriddeliveryexception",
    "airflowexception",
    "sparkexception",
    "py4jjavaerror",
    "errorcode",
    "errormessage",
    "runtimeexception",
    "executionexception",
    "ioexception",
    "systemexception",
    "failure",
    "failed",
    "sqlexception",
    "databaseerror",
    "operationalerror",
    "programmingerror",
    "odbcexception",
    "amazons3exception",
    "clienterror",
    "apiexception",
    "httperror",
    "httprequestexception",
    "webexception",
    "serverresponseerror",
    "execution",
    "stacktrace",
];

/// Does the name only wrap others, or is it an ordinary word?
pub(super) fn says_nothing(name: &str) -> bool {
    let key = last(name).to_ascii_lowercase().replace('_', "");
    key.len() < 4 || EMPTY.contains(&key.as_str())
}

fn last(name: &str) -> &str {
    name.trim_end_matches(':')
        .rsplit(['.', '$', '/'])
        .next()
        .unwrap_or(name)
}

/// Does one of these places name a code or an exception that says something?
pub(super) fn names_something<'a>(
    catalog: &Catalog,
    mut places: impl Iterator<Item = &'a Place<'a>>,
) -> bool {
    places.any(|place| {
        let text = |span: Span| place.text.get(span.start..span.end).unwrap_or_default();
        names(catalog, place)
            .into_iter()
            .any(|span| !says_nothing(text(span)))
    })
}

/// Does the place only pass an error on: are there exceptions, and do all of them only wrap others?
pub(super) fn wraps(catalog: &Catalog, place: &Place<'_>) -> bool {
    let spans = names(catalog, place);
    let text = |span: Span| place.text.get(span.start..span.end).unwrap_or_default();
    !spans.is_empty() && spans.into_iter().all(|span| says_nothing(text(span)))
}

/// The guess, if a name has a telling shape: the field's code first, then the last name with a telling shape,
/// then any name.
pub(super) fn guess(catalog: &Catalog, places: &[Place<'_>]) -> Option<Guess> {
    let mut all: Vec<Guess> = Vec::new();
    for (number, place) in places.iter().enumerate().filter(|(_, place)| place.heard) {
        let spans = if place.source == "error_code" {
            vec![Span {
                start: 0,
                end: place.text.len(),
            }]
        } else {
            names(catalog, place)
        };
        all.extend(spans.into_iter().filter_map(|span| {
            of_name(catalog, place.text.get(span.start..span.end)?, number, span)
        }));
    }
    // Of equals the first: codes before exceptions, the innermost of each before the outer ones.
    all.into_iter().rev().max_by_key(|guess| guess.rank)
}

fn names(catalog: &Catalog, place: &Place<'_>) -> Vec<Span> {
    let named = |rule: usize, name: &str| {
        catalog
            .scanner()
            .entity(rule)
            .is_some_and(|rule| rule.name == name)
    };
    let of = |name: &'static str| {
        place
            .hits
            .found
            .iter()
            .filter(move |found| named(found.rule, name))
            .map(|found| found.span)
    };
    let (mut codes, mut exceptions): (Vec<_>, Vec<_>) =
        (of("code").collect(), of("exception").collect());
    codes.reverse();
    exceptions.reverse();
    codes.append(&mut exceptions);
    codes
}

fn of_name(catalog: &Catalog, name: &str, place: usize, span: Span) -> Option<Guess> {
    let last = last(name);
    if says_nothing(name) || last.len() > 120 || catalog.knows_code(last) {
        return None;
    }
    let key = last.to_ascii_lowercase().replace('_', "");
    let shape = catalog.shapes().iter().find(|shape| {
        shape
            .contains
            .iter()
            .any(|part| key.contains(part.as_str()))
    })?;
    Some(Guess {
        name: last.to_owned(),
        category: shape.category,
        act: shape.act,
        text: shape.text.clone(),
        rank: if shape.generic {
            rank::GENERIC_SHAPE
        } else {
            rank::SHAPE
        },
        place,
        span,
    })
}
