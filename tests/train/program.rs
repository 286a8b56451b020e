//! Trains the judge: `cargo run --release --example train` reads `tests/eval/*.jsonl` and the catalog, and writes
//! `weights.bin` and `fitted.toml` in `src/diagnosis/judge`. Deterministic: the same cases and the same catalog give
//! the same bytes. It prints what the evaluation's README tells: figures by part, with fewer cases, and reliability.
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
use aiops_rca::diagnosis::judge::{Fitted, Judge, Opinion, examples, features};
use sha2::{Digest, Sha256};

mod cases;
mod fit;
mod model;

use cases::{Labelled, place};
use model::{Example, STEPS, WEAK, train};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (cases, hash) = cases::read(&root.join("tests/eval"))?;
    let examples: Vec<Example> = cases.iter().map(example).collect();
    let weak: Vec<Example> = examples::of(Catalog::get())
        .into_iter()
        .filter_map(|(category, text)| {
            let buckets = features::of(None, std::iter::empty(), &text);
            Some(Example::new(buckets, place(category)?, &[], WEAK))
        })
        .collect();
    println!(
        "{} cases, {} examples of the catalog",
        cases.len(),
        weak.len()
    );

    let opinions = fit::unseen(&cases, &examples, &weak);
    let weights = train(&[examples.as_slice(), &weak].concat(), STEPS);
    let (fresh, fresh_opinions): (Vec<&Labelled>, Vec<Opinion>) = cases
        .iter()
        .zip(&opinions)
        .filter(|(case, _)| !case.known)
        .unzip();
    let (sharpness, trust) = fit::trust(&weights, &fresh, &fresh_opinions);
    let curve = fit::curve(
        &fit::with(&weights, sharpness, trust, Vec::new()),
        &fresh,
        &fresh_opinions,
    );
    let judge = fit::with(&weights, sharpness, trust, curve.clone());
    let fitted = Fitted {
        cases: hash,
        weights: hex::encode(Sha256::digest(&weights.bytes)),
        permit: fit::permit(&cases, &opinions),
        ..judge.fitted().clone()
    };
    let folder = root.join("src/diagnosis/judge");
    std::fs::write(folder.join("weights.bin"), &weights.bytes)?;
    std::fs::write(folder.join("fitted.toml"), toml::to_string(&fitted)?)?;
    report(&judge, &fresh, &fresh_opinions);
    for share in [4, 2] {
        let part: Vec<usize> = (0..cases.len())
            .filter(|number| number % share == 0)
            .collect();
        let some: Vec<&Labelled> = part.iter().map(|number| &cases[*number]).collect();
        let learned: Vec<Example> = part
            .iter()
            .map(|number| examples[*number].clone())
            .collect();
        // Judged on the other cases, which this judge has not seen.
        let small = train(&[learned.as_slice(), &weak].concat(), STEPS / 2);
        let rest: Vec<&Labelled> = cases
            .iter()
            .enumerate()
            .filter(|(number, case)| number % share != 0 && !case.known)
            .map(|(_, case)| case)
            .collect();
        println!("trained on {} cases:", some.len());
        let small_judge = fit::with(&small, sharpness, trust, curve.clone());
        let said: Vec<Opinion> = rest
            .iter()
            .map(|case| small_judge.opinion(&case.signals.buckets))
            .collect();
        report(&small_judge, &rest, &said);
    }
    Ok(())
}

fn example(case: &Labelled) -> Example {
    Example::new(
        case.signals.buckets.clone(),
        case.category,
        &case.acceptable,
        1.0,
    )
}

fn report(judge: &Judge, cases: &[&Labelled], opinions: &[Opinion]) {
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
        .map(|opinion| place(opinion.best()))
        .collect();
    let both: Vec<_> = cases
        .iter()
        .zip(opinions)
        .map(|(case, opinion)| judge.judge(opinion, case.signals.rule))
        .collect();
    let answers: Vec<_> = both.iter().map(|found| place(found.category)).collect();
    for (name, answers) in [("rules", &rules), ("judge", &alone), ("both", &answers)] {
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
