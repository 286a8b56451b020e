//! The learned classifier: its weights are those of the recorded cases, its training is deterministic, and it stops actions
//! but never starts one.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the trainer is a program for developers"
)]

use std::path::Path;

use aiops_rca::diagnosis::learned::{
    CATEGORIES, Classifier, Probabilities, Rule, examples, features,
};
use aiops_rca::diagnosis::{Catalog, Category, by_rules, diagnose};
use aiops_rca::failure::Source;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::case;

#[path = "../../train/model.rs"]
#[expect(dead_code, reason = "the trainer uses the rest of it")]
mod model;

/// When this fails, cases or the catalog were changed: `cargo run --release --example train`, and look at what it prints.
#[test]
fn the_weights_are_those_of_the_recorded_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(root.join("tests/eval"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    files.sort();
    let mut cases = Sha256::new();
    for file in files {
        cases.update(std::fs::read(file).unwrap());
    }
    let weights = std::fs::read(root.join("src/diagnosis/learned/weights.bin")).unwrap();
    let fitted = Classifier::get().fitted();
    assert_eq!(fitted.cases, hex::encode(cases.finalize()));
    let examples = examples::listed(Catalog::get());
    assert_eq!(fitted.examples, hex::encode(Sha256::digest(examples)));
    assert_eq!(fitted.weights, hex::encode(Sha256::digest(&weights)));
    assert!(weights.len() < 2 * 1024 * 1024, "{}", weights.len());
}

fn read(text: &str) -> Vec<u16> {
    features::of(Some(Source::Adf), std::iter::empty(), text)
}

#[test]
fn training_twice_gives_the_same_bytes_and_learns_what_it_was_shown() {
    let shown = [
        (
            "the login was refused, wrong password",
            Category::Authentication,
        ),
        ("the connection was reset by the peer", Category::Network),
        (
            "the column does not exist in the table",
            Category::DataSchema,
        ),
    ];
    let examples: Vec<model::Example> = shown
        .iter()
        .map(|(text, category)| {
            let place = CATEGORIES
                .iter()
                .position(|known| known == category)
                .unwrap();
            model::Example::new(read(text), place, &[], 1.0)
        })
        .collect();
    let (first, second) = (model::train(&examples, 20), model::train(&examples, 20));
    assert_eq!(first.bytes, second.bytes);
    let classifier = first.predict();
    for (text, category) in shown {
        assert_eq!(
            classifier.probabilities(&read(text)).best(),
            category,
            "{text}"
        );
    }
}

#[test]
fn a_lone_word_does_not_beat_the_classifier_and_a_number_does() {
    let classifier = Classifier::get();
    let mut sure = [0.02; CATEGORIES.len()];
    sure[4] = 0.7;
    let probabilities = Probabilities(sure);
    let with = |class| {
        let rule = Rule {
            category: Category::Network,
            class,
        };
        classifier.predict(&probabilities, Some(rule)).category
    };
    assert_eq!(with(0), Category::Authentication);
    assert_eq!(with(1), Category::Authentication);
    let fitted = classifier.fitted();
    assert!(
        fitted.trust[1] < fitted.trust[3] && fitted.trust[3] <= fitted.trust[4],
        "{:?}",
        fitted.trust
    );
    // Disagreement costs confidence.
    let agreed = classifier.predict(
        &probabilities,
        Some(Rule {
            category: Category::Authentication,
            class: 3,
        }),
    );
    let disputed = classifier.predict(
        &probabilities,
        Some(Rule {
            category: Category::Network,
            class: 3,
        }),
    );
    assert!(disputed.confidence < agreed.confidence);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn probabilities_stay_probabilities(text in any::<String>(), code in any::<String>()) {
        let buckets = features::of(Some(Source::Airflow), std::iter::once(code.as_str()), &text);
        let probabilities = Classifier::get().probabilities(&buckets);
        let sum: f32 = probabilities.0.iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-3, "{sum}");
        let judged = Classifier::get().predict(&probabilities, None);
        prop_assert!((0.0..=1.0).contains(&judged.confidence));
    }

    #[test]
    fn it_never_starts_an_action(message in "[a-zA-Z0-9 :.,'()]{0,400}") {
        let case = case(Source::Databricks, None, &message);
        prop_assert!(!diagnose(&case).remediable || by_rules(&case).remediable);
    }
}
