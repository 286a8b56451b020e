//! Weak examples for the classifier: what the catalog itself says about each category.
//!
//! In: the catalog. Out: its codes, its phrases and its sentences without their optional parts, each with its cause's
//! category. The trainer weighs them little: they teach words, not how failures sound.

use std::fmt::Write as _;

use super::super::Category;
use super::super::catalog::Catalog;
use super::super::entry::Cause;

/// The catalog's examples.
pub fn of(catalog: &Catalog) -> Vec<(Category, String)> {
    catalog
        .causes()
        .iter()
        .flat_map(|cause| texts(cause).map(|text| (cause.category, text)))
        .collect()
}

/// The examples as one text, for their hash: weights belong to the catalog that they were fitted on.
pub fn listed(catalog: &Catalog) -> String {
    let mut out = String::new();
    for (category, text) in of(catalog) {
        let _ = writeln!(out, "{}\t{text}", category.words());
    }
    out
}

fn texts(cause: &Cause) -> impl Iterator<Item = String> {
    let phrases = [&cause.codes, &cause.always, &cause.says, &cause.suggests];
    phrases
        .into_iter()
        .flatten()
        .map(|phrase| {
            let said = phrase.split(" ! ").next().unwrap_or_default();
            said.replace(['…', '*', '&'], " ")
        })
        .chain(std::iter::once(without_options(&cause.text)))
}

fn without_options(template: &str) -> String {
    template
        .split('[')
        .enumerate()
        .map(|(number, piece)| {
            if number == 0 {
                piece
            } else {
                piece.split_once(']').map_or("", |(_, rest)| rest)
            }
        })
        .collect()
}
