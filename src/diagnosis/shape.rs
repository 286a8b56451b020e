//! Guesses from the shape of a name the catalog does not know (`XyzConnectionTimeoutException`).
//!
//! In: the places of a case. Out: at most one guess, from the last such name. A guess never acts (L8): it
//! only says where a person should look.

use super::catalog::Catalog;
use super::classify::{Guess, Place};
use super::scan::Span;

/// The guess, if a name has a telling shape.
pub(super) fn guess(catalog: &Catalog, places: &[Place<'_>]) -> Option<Guess> {
    places.iter().enumerate().rev().find_map(|(number, place)| {
        let spans =
            if place.source == "error_code" { vec![Span { start: 0, end: place.text.len() }] } else { names(catalog, place) };
        spans.into_iter().rev().find_map(|span| of_name(catalog, place.text.get(span.start..span.end)?, number, span))
    })
}

fn names(catalog: &Catalog, place: &Place<'_>) -> Vec<Span> {
    place
        .hits
        .found
        .iter()
        .filter(|found| {
            catalog.scanner().entity(found.rule).is_some_and(|rule| matches!(rule.name.as_str(), "exception" | "code"))
        })
        .map(|found| found.span)
        .collect()
}

fn of_name(catalog: &Catalog, name: &str, place: usize, span: Span) -> Option<Guess> {
    let last = name.rsplit(['.', '$']).next().unwrap_or(name);
    if last.len() < 4 || last.len() > 120 {
        return None;
    }
    let key = last.to_ascii_lowercase().replace('_', "");
    let shape = catalog.shapes().iter().find(|shape| shape.contains.iter().any(|part| key.contains(part.as_str())))?;
    Some(Guess { name: last.to_owned(), category: shape.category, act: shape.act, text: shape.text.clone(), place, span })
}
