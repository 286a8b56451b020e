//! The training: a multinomial logistic regression by full-batch gradient descent (Adam), one thread, no chance.
//!
//! Acceptable categories share a fifth of a case's target, because they are nearly right; the catalog's examples count
//! a tenth of a case. Values are rarities (idf), and a text's length is one or less, as the handler computes them.

use std::borrow::Cow;

use aiops_rca::diagnosis::learned::features::BUCKETS;
use aiops_rca::diagnosis::learned::{CLASSES, COUNT, Classifier, Fitted, LEAST, NEUTRAL};

/// The share of the target that acceptable categories get together.
const SHARED: f32 = 0.2;
/// How much an example of the catalog counts.
pub(crate) const WEAK: f32 = 0.1;
/// The penalty on large weights.
const PENALTY: f32 = 0.05;
/// How many steps are made.
pub(crate) const STEPS: u16 = 200;

/// What is learned from: the buckets of a text, what it should be called, and how much it counts.
#[derive(Clone)]
pub(crate) struct Example {
    buckets: Vec<u16>,
    target: [f32; COUNT],
    weight: f32,
}

impl Example {
    pub(crate) fn new(
        buckets: Vec<u16>,
        category: usize,
        acceptable: &[usize],
        weight: f32,
    ) -> Self {
        let others: Vec<usize> = acceptable
            .iter()
            .copied()
            .filter(|other| *other != category)
            .collect();
        let shared = if others.is_empty() { 0.0 } else { SHARED };
        let mut target = [0.0; COUNT];
        target[category] = 1.0 - shared;
        for other in &others {
            target[*other] += shared / others.len() as f32;
        }
        Self {
            buckets,
            target,
            weight,
        }
    }
}

/// Trained weights, as the handler reads them.
#[derive(Clone)]
pub(crate) struct Weights {
    pub(crate) bytes: Vec<u8>,
    pub(crate) step: f32,
    pub(crate) bias: [f32; COUNT],
}

impl Weights {
    /// A classifier with these weights; what is fitted later stands at its neutral value.
    pub(crate) fn predict(&self) -> Classifier {
        Classifier::new(
            Fitted {
                cases: String::new(),
                examples: String::new(),
                weights: String::new(),
                step: self.step,
                sharpness: 1.0,
                trust: [0.0; CLASSES],
                permit: 0.0,
                bias: self.bias,
                curve: NEUTRAL,
            },
            Cow::Owned(self.bytes.clone()),
        )
    }
}

struct State {
    weights: Vec<[f32; COUNT]>,
    mean: Vec<[f32; COUNT]>,
    square: Vec<[f32; COUNT]>,
}

/// Trains on the examples.
pub(crate) fn train(examples: &[Example], steps: u16) -> Weights {
    let rarity = rarities(examples);
    let used: Vec<usize> = (0..BUCKETS).filter(|b| rarity[*b].1).collect();
    let values: Vec<Vec<f32>> = examples
        .iter()
        .map(|example| values(example, &rarity))
        .collect();
    // The last row is the bias.
    let mut state = State {
        weights: vec![[0.0; COUNT]; BUCKETS + 1],
        mean: vec![[0.0; COUNT]; BUCKETS + 1],
        square: vec![[0.0; COUNT]; BUCKETS + 1],
    };
    for step in 1..=steps {
        let gradient = gradient(examples, &values, &state.weights);
        descend(&mut state, &gradient, &used, step, steps);
    }
    quantise(&state.weights, &rarity)
}

/// How rare each bucket is, in the handler's unit, and whether it was seen at all.
fn rarities(examples: &[Example]) -> Vec<(u8, bool)> {
    let mut seen = vec![0_u32; BUCKETS];
    for bucket in examples.iter().flat_map(|example| &example.buckets) {
        seen[usize::from(*bucket)] += 1;
    }
    let all = examples.len() as f32 + 1.0;
    seen.into_iter()
        .map(|count| {
            let rarity = (all / (count as f32 + 1.0)).ln() + 1.0;
            ((rarity * 16.0).round().min(255.0) as u8, count > 0)
        })
        .collect()
}

fn values(example: &Example, rarity: &[(u8, bool)]) -> Vec<f32> {
    let raw: Vec<f32> = example
        .buckets
        .iter()
        .map(|bucket| f32::from(rarity[usize::from(*bucket)].0) / 16.0)
        .collect();
    let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt().max(LEAST);
    raw.into_iter().map(|value| value / length).collect()
}

fn gradient(
    examples: &[Example],
    values: &[Vec<f32>],
    weights: &[[f32; COUNT]],
) -> Vec<[f32; COUNT]> {
    let mut gradient = vec![[0.0; COUNT]; BUCKETS + 1];
    for (example, values) in examples.iter().zip(values) {
        let mut sums = weights[BUCKETS];
        for (bucket, value) in example.buckets.iter().zip(values) {
            for (sum, weight) in sums.iter_mut().zip(&weights[usize::from(*bucket)]) {
                *sum += weight * value;
            }
        }
        softmax(&mut sums);
        for (sum, target) in sums.iter_mut().zip(&example.target) {
            *sum = (*sum - target) * example.weight;
        }
        for (bucket, value) in example.buckets.iter().zip(values) {
            for (slope, sum) in gradient[usize::from(*bucket)].iter_mut().zip(&sums) {
                *slope += sum * value;
            }
        }
        for (slope, sum) in gradient[BUCKETS].iter_mut().zip(&sums) {
            *slope += sum;
        }
    }
    gradient
}

#[expect(clippy::needless_range_loop, reason = "four tables are walked at once")]
fn descend(state: &mut State, gradient: &[[f32; COUNT]], used: &[usize], step: u16, steps: u16) {
    let done = f32::from(step) / f32::from(steps);
    let rate = 0.15 * (1.0 + (std::f32::consts::PI * done).cos()) + 0.002;
    let (first, second) = (
        1.0 - 0.9_f32.powi(step.into()),
        1.0 - 0.99_f32.powi(step.into()),
    );
    for row in used.iter().copied().chain([BUCKETS]) {
        let (penalty, rate) = if row == BUCKETS {
            (0.0, rate * 0.3)
        } else {
            (PENALTY, rate)
        };
        for category in 0..COUNT {
            let slope = gradient[row][category] + penalty * state.weights[row][category];
            let mean = &mut state.mean[row][category];
            *mean = 0.9 * *mean + 0.1 * slope;
            let square = &mut state.square[row][category];
            *square = 0.99 * *square + 0.01 * slope * slope;
            let stride = (*mean / first) / ((*square / second).sqrt() + 1e-3);
            state.weights[row][category] -= rate * stride;
        }
    }
}

/// One signed byte a weight; the few that are larger than six deviations are cut.
fn quantise(weights: &[[f32; COUNT]], rarity: &[(u8, bool)]) -> Weights {
    let all = || weights[..BUCKETS].iter().flatten().filter(|w| **w != 0.0);
    let spread = (all().map(|w| w * w).sum::<f32>() / all().count().max(1) as f32).sqrt();
    let step = (6.0 * spread / 127.0).max(f32::MIN_POSITIVE);
    let mut bytes = Vec::with_capacity(BUCKETS * (COUNT + 1));
    for (row, (rarity, _)) in weights[..BUCKETS].iter().zip(rarity) {
        bytes.push(*rarity);
        bytes
            .extend(row.iter().map(|weight| {
                ((weight / step).round().clamp(-127.0, 127.0) as i8).cast_unsigned()
            }));
    }
    Weights {
        bytes,
        step,
        bias: weights[BUCKETS],
    }
}

fn softmax(sums: &mut [f32; COUNT]) {
    let top = sums.iter().copied().fold(f32::MIN, f32::max);
    for sum in sums.iter_mut() {
        *sum = (*sum - top).exp();
    }
    let total: f32 = sums.iter().sum();
    for sum in sums.iter_mut() {
        *sum /= total;
    }
}
