//! What is fitted beside the weights, on answers that were given without having seen the case (ten folds by origin).

use aiops_rca::diagnosis::learned::{
    CATEGORIES, CLASSES, Classifier, Fitted, NEUTRAL, Probabilities, logit,
};
use std::borrow::Cow;

use crate::cases::{Labelled, place};
use crate::model::{Example, STEPS, Weights, train};

/// How many folds there are.
const FOLDS: u64 = 10;

/// What the classifier says of each case when it was trained without the cases of its fold, on one in `share` of the others.
pub(crate) fn unseen(
    cases: &[Labelled],
    examples: &[Example],
    weak: &[Example],
    share: usize,
) -> Vec<Probabilities> {
    let folds: Vec<u64> = cases.iter().map(|case| fold(&case.origin)).collect();
    let mut opinions = vec![Probabilities([0.0; CATEGORIES.len()]); cases.len()];
    for number in 0..FOLDS {
        let mut others: Vec<Example> = examples
            .iter()
            .zip(&folds)
            .enumerate()
            .filter(|(index, (_, fold))| **fold != number && index % share == 0)
            .map(|(_, (example, _))| example.clone())
            .collect();
        others.extend_from_slice(weak);
        let classifier = train(&others, STEPS).predict();
        for ((case, fold), probabilities) in cases.iter().zip(&folds).zip(&mut opinions) {
            if *fold == number {
                *probabilities = classifier.probabilities(&case.signals.buckets);
            }
        }
    }
    opinions
}

fn fold(origin: &str) -> u64 {
    let hash = origin
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash >> 20) % FOLDS
}

/// A classifier that differs from the trained one in what is fitted here.
pub(crate) fn with(
    weights: &Weights,
    sharpness: f32,
    trust: [f32; CLASSES],
    curve: [f32; 2],
) -> Classifier {
    Classifier::new(
        Fitted {
            sharpness,
            trust,
            curve,
            ..weights.predict().fitted().clone()
        },
        Cow::Owned(weights.bytes.clone()),
    )
}

/// How far the classifier's logarithms and the rules are trusted: the most likely values on the cases that the rules were
/// not written for, by coordinate descent over a grid.
pub(crate) fn trust(
    weights: &Weights,
    cases: &[&Labelled],
    opinions: &[Probabilities],
) -> (f32, [f32; CLASSES]) {
    let mut best = (1.0, [0.4, 0.6, 1.6, 1.8, 2.0]);
    let mut least = loss(&with(weights, best.0, best.1, NEUTRAL), cases, opinions);
    for _ in 0..4 {
        for knob in 0..=CLASSES {
            for step in 0..32_u8 {
                let value = f32::from(step) * 0.125;
                let mut tried = best;
                match knob.checked_sub(1) {
                    None if value < 0.25 => continue,
                    None => tried.0 = value,
                    Some(class) => tried.1[class] = value,
                }
                let found = loss(&with(weights, tried.0, tried.1, NEUTRAL), cases, opinions);
                if found < least {
                    (least, best) = (found, tried);
                }
            }
        }
    }
    best
}

/// The mean logarithm of the target's probability: the label's own category four fifths, the acceptable ones the rest.
fn loss(classifier: &Classifier, cases: &[&Labelled], opinions: &[Probabilities]) -> f32 {
    let of = |(case, probabilities): (&&Labelled, &Probabilities)| {
        let both = classifier.both(probabilities, case.signals.rule);
        let own = both.0[case.category].max(1e-6).ln();
        let right: f32 = (0..CATEGORIES.len())
            .filter(|category| case.accepts(*category))
            .map(|category| both.0[category])
            .sum();
        -(0.5 * own + 0.5 * right.max(1e-6).ln())
    };
    cases.iter().zip(opinions).map(of).sum::<f32>()
}

/// How much the case counts for the calibration where the rules were written with it in view: there they know the answer,
/// as they do for the common errors of a deployment.
const KNOWN: f64 = 0.25;

/// The calibration: a logistic curve over the logit of the probability (Platt), the most likely one by Newton's method.
pub(crate) fn curve(
    classifier: &Classifier,
    cases: &[Labelled],
    opinions: &[Probabilities],
) -> [f32; 2] {
    let answers: Vec<(f64, f64, f64)> = cases
        .iter()
        .zip(opinions)
        .filter_map(|(case, probabilities)| {
            let both = classifier.both(probabilities, case.signals.rule);
            let answer = place(both.best())?;
            let right = f64::from(u8::from(case.accepts(answer)));
            let counts = if case.known { KNOWN } else { 1.0 };
            Some((f64::from(logit(both.0[answer])), right, counts))
        })
        .collect();
    let (mut slope, mut offset) = (1.0_f64, 0.0_f64);
    for _ in 0..30 {
        // The gradient and the Hessian of the logarithmic loss, with a weak pull to what the probabilities say.
        let (mut by_slope, mut by_offset) = (slope - 1.0, offset);
        let (mut aa, mut ab, mut bb) = (1.0, 0.0, 1.0);
        for (x, right, counts) in &answers {
            let said = 1.0 / (1.0 + (-(slope * x + offset)).exp());
            let weight = counts * said * (1.0 - said);
            by_slope += counts * (said - right) * x;
            by_offset += counts * (said - right);
            aa += weight * x * x;
            ab += weight * x;
            bb += weight;
        }
        let determinant = aa * bb - ab * ab;
        slope -= (bb * by_slope - ab * by_offset) / determinant;
        offset -= (aa * by_offset - ab * by_slope) / determinant;
    }
    [slope as f32, offset as f32]
}

/// The least probability of "repetition may help" with which no case is acted on that must not be.
pub(crate) fn permit(cases: &[Labelled], opinions: &[Probabilities]) -> f32 {
    // Half of the cases on which a machine may act lie above this for the doubtful ones: wrong permits are dear.
    let mut allowed: Vec<f32> = cases
        .iter()
        .zip(opinions)
        .filter(|(case, _)| case.may_act)
        .map(|(_, probabilities)| probabilities.may_pass())
        .collect();
    allowed.sort_by(f32::total_cmp);
    allowed.get(allowed.len() / 12).copied().unwrap_or(1.0)
}
