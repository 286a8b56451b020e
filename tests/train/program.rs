//! Trains the classifier: `cargo run --release --example train` reads `tests/eval/*.jsonl` and the catalog, and writes
//! `weights.bin` and `fitted.toml` in `src/diagnosis/classifier`. Deterministic: the same cases and the same catalog give
//! the same bytes. It prints what the evaluation's README tells: figures of rules, classifier and both, and their
//! reliability; with `--ablation` the same with fewer cases. With the names of files of labelled cases it writes nothing
//! and measures on them instead.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program for developers, whose arrays have the sizes that it gives them"
)]

use std::path::Path;

use aiops_rca::diagnosis::Catalog;
use aiops_rca::diagnosis::learned::{
    Classifier, Fitted, NEUTRAL, Probabilities, examples, features,
};
use sha2::{Digest, Sha256};

mod cases;
mod figures;
mod fit;
mod measure;
mod model;

use cases::{Labelled, place};
use model::{Example, STEPS, WEAK, train};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<String> = std::env::args().skip(1).collect();
    match files.as_slice() {
        [] => train_all(root, false),
        [option] if option == "--ablation" => train_all(root, true),
        files => measure::files(root, files),
    }
}

fn train_all(root: &Path, ablation: bool) -> anyhow::Result<()> {
    let (cases, hash) = cases::read(&root.join("tests/eval"))?;
    let strong: Vec<Example> = cases.iter().map(example).collect();
    let weak = weak_examples();
    println!(
        "{} cases, {} examples of the catalog",
        cases.len(),
        weak.len()
    );

    let opinions = fit::unseen(&cases, &strong, &weak, 1);
    let weights = train(&[strong.as_slice(), &weak].concat(), STEPS);
    let (fresh, fresh_opinions): (Vec<&Labelled>, Vec<Probabilities>) = cases
        .iter()
        .zip(&opinions)
        .filter(|(case, _)| !case.known)
        .unzip();
    let (sharpness, trust) = fit::trust(&weights, &fresh, &fresh_opinions);
    let curve = fit::curve(
        &fit::with(&weights, sharpness, trust, NEUTRAL),
        &cases,
        &opinions,
    );
    let classifier = fit::with(&weights, sharpness, trust, curve);
    let fitted = Fitted {
        cases: hash,
        examples: hex::encode(Sha256::digest(examples::listed(Catalog::get()))),
        weights: hex::encode(Sha256::digest(&weights.bytes)),
        permit: fit::permit(&cases, &opinions),
        ..classifier.fitted().clone()
    };
    let folder = root.join("src/diagnosis/classifier");
    std::fs::write(folder.join("weights.bin"), &weights.bytes)?;
    std::fs::write(folder.join("fitted.toml"), toml::to_string(&fitted)?)?;
    println!("unseen, by origin, on the files that the rules were not written for:");
    report(&classifier, &fresh, &fresh_opinions);
    for share in [2, 4].into_iter().filter(|_| ablation) {
        let opinions = fit::unseen(&cases, &strong, &weak, share);
        let (fresh, opinions): (Vec<&Labelled>, Vec<Probabilities>) = cases
            .iter()
            .zip(opinions)
            .filter(|(case, _)| !case.known)
            .unzip();
        println!("with one case in {share}:");
        report(&classifier, &fresh, &opinions);
    }
    Ok(())
}

/// What the catalog says of each category.
fn weak_examples() -> Vec<Example> {
    examples::of(Catalog::get())
        .into_iter()
        .filter_map(|(category, text)| {
            let buckets = features::of(None, std::iter::empty(), &text);
            Some(Example::new(buckets, place(category)?, &[], WEAK))
        })
        .collect()
}

fn example(case: &Labelled) -> Example {
    Example::new(
        case.signals.buckets.clone(),
        case.category,
        &case.acceptable,
        1.0,
    )
}

fn report(classifier: &Classifier, cases: &[&Labelled], opinions: &[Probabilities]) {
    let share = |answers: &[Option<usize>], right: &dyn Fn(&Labelled, usize) -> bool| {
        let hits = cases
            .iter()
            .zip(answers)
            .filter(|(case, answer)| answer.is_some_and(|answer| right(case, answer)))
            .count();
        hits as f32 / cases.len().max(1) as f32
    };
    let rules: Vec<_> = cases
        .iter()
        .map(|case| place(case.signals.rule?.category))
        .collect();
    let alone: Vec<_> = opinions
        .iter()
        .map(|probabilities| place(probabilities.best()))
        .collect();
    let both: Vec<_> = cases
        .iter()
        .zip(opinions)
        .map(|(case, probabilities)| classifier.predict(probabilities, case.signals.rule))
        .collect();
    let answers: Vec<_> = both.iter().map(|found| place(found.category)).collect();
    for (name, answers) in [
        ("rules", &rules),
        ("classifier", &alone),
        ("both", &answers),
    ] {
        println!(
            "  {name:6} {} cases: category {:.3}, exact {:.3}",
            cases.len(),
            share(answers, &|case, answer| case.accepts(answer)),
            share(answers, &|case, answer| case.category == answer),
        );
    }
    for tenth in 0..10 {
        let within: Vec<_> = both
            .iter()
            .zip(cases)
            .filter(|(found, _)| ((found.confidence * 10.0) as usize).min(9) == tenth)
            .collect();
        let right = within
            .iter()
            .filter(|(found, case)| place(found.category).is_some_and(|p| case.accepts(p)))
            .count();
        if !within.is_empty() {
            println!(
                "    confidence {:.1}–{:.1}: {:4} answers, {:.3} right",
                tenth as f32 / 10.0,
                tenth as f32 / 10.0 + 0.1,
                within.len(),
                right as f32 / within.len() as f32
            );
        }
    }
}
