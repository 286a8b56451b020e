//! Figures on files that nothing was trained on: rules alone, classifier alone, both, and both with fewer cases.

use std::path::Path;

use aiops_rca::diagnosis::learned::{Classifier, Rule};
use aiops_rca::diagnosis::{Case, by_rules, diagnose, signals};

use crate::figures::{self, Figures, Labelled};
use crate::model::{Example, STEPS, train};
use crate::{cases, example, fit, weak_examples};

/// Measures on each of the files.
pub(crate) fn files(root: &Path, files: &[String]) -> anyhow::Result<()> {
    let (known, _) = cases::read(&root.join("tests/eval"))?;
    let weak = weak_examples();
    let smaller: Vec<(usize, Classifier)> = [4, 2]
        .into_iter()
        .map(|share| {
            let some = known.iter().step_by(share).map(example);
            let learned: Vec<Example> = some.chain(weak.iter().cloned()).collect();
            let fitted = Classifier::get().fitted();
            let weights = train(&learned, STEPS);
            let classifier = fit::with(&weights, fitted.sharpness, fitted.trust, fitted.curve);
            (share, classifier)
        })
        .collect();
    for file in files {
        let all = figures::read(&std::fs::read_to_string(file)?)?;
        println!("{file}: {} cases", all.len());
        let mut rules = Figures::default();
        let mut both = Figures::default();
        for (labelled, case) in &all {
            rules.add(labelled, case, &by_rules(case));
            both.add(labelled, case, &diagnose(case));
        }
        println!("rules alone\n{}", rules.table());
        println!("both\n{}reliability:\n{}", both.table(), both.reliability());
        categories("classifier alone", Classifier::get(), &all, false);
        for (share, classifier) in &smaller {
            categories(
                &format!("classifier, one case in {share}"),
                classifier,
                &all,
                false,
            );
            categories(
                &format!("both, one case in {share}"),
                classifier,
                &all,
                true,
            );
        }
    }
    Ok(())
}

/// Only the category: what a classifier says with or without the rules.
fn categories(name: &str, classifier: &Classifier, all: &[(Labelled, Case)], with_rules: bool) {
    let mut sums = Figures::default();
    for (labelled, case) in all {
        let signals = signals(case);
        let rule: Option<Rule> = signals.rule.filter(|_| with_rules);
        let found = classifier.predict(&classifier.probabilities(&signals.buckets), rule);
        sums.add_category(&labelled.label, found.category, found.confidence);
    }
    println!(
        "{name}: category {:.3}, exact {:.3}",
        sums.category(),
        sums.exact()
    );
}
