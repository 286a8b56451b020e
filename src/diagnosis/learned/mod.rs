//! The learned classifier: how likely each category is, by the words of the terminal error.
//!
//! In: the features of a failure ([`features`]) and what the rules say ([`Rule`]). Out: an [`Probabilities`], and one
//! [`Prediction`] from both. Pure. A multinomial logistic regression over hashed words, fitted by `tests/train`
//! (`cargo run --release --example train`) on `tests/eval` and on the catalog's own phrases; its weights are the
//! data files beside this one, read on first use.
//!
//! **One verdict from both.** The logarithm of the classifier's probability of each category, plus, for the category of the
//! rule, a trust that was fitted for each class of signs: a vendor's number weighs much, a lone word little. The
//! most probable category wins; a calibration curve makes its probability what it is called. All of it was fitted on
//! cross-validated answers, so that it holds for texts that neither the rules nor the classifier have seen.
//!
//! **A veto, never a reason.** The classifier cannot start an action. It stops one where it finds it improbable that
//! repetition helps ([`Classifier::allows`]).

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::Category;

pub mod examples;
pub mod features;

/// The categories in the order of the weights.
pub const CATEGORIES: [Category; 16] = [
    Category::Network,
    Category::Timeout,
    Category::Throttling,
    Category::Resource,
    Category::Authentication,
    Category::Authorization,
    Category::Configuration,
    Category::DataSchema,
    Category::DataQuality,
    Category::MissingData,
    Category::Code,
    Category::Dependency,
    Category::Platform,
    Category::Concurrency,
    Category::Quota,
    Category::Cancelled,
];

/// How many there are.
pub const COUNT: usize = CATEGORIES.len();

/// A row of the weights: the bucket's rarity in sixteenths, then one signed byte for each category.
const ROW: usize = COUNT + 1;
/// The rarity's unit.
const RARITY: f32 = 1.0 / 16.0;
/// How many classes of signs there are; see [`Rule::class`].
pub const CLASSES: usize = 5;

/// The least length of a text, as the root of the sum of its squared rarities: what is shorter, a few words, is less
/// evidence than the habits of all failures.
pub const LEAST: f32 = 30.0;

/// The calibration that changes nothing.
pub const NEUTRAL: [f32; 2] = [1.0, 0.0];

/// What was fitted beside the weights; `fitted.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitted {
    /// SHA-256 of the labelled cases it was trained on, in the order of their file names.
    pub cases: String,
    /// SHA-256 of the catalog's examples.
    pub examples: String,
    /// SHA-256 of `weights.bin`.
    pub weights: String,
    /// What one step of a weight is worth.
    pub step: f32,
    /// The classifier's logarithms are multiplied by this.
    pub sharpness: f32,
    /// What a rule adds for its category, by the class of its sign.
    pub trust: [f32; CLASSES],
    /// The least probability of "repetition may help" with which the classifier lets an action pass.
    pub permit: f32,
    /// How probable each category is without any word (logarithms).
    pub bias: [f32; COUNT],
    /// The calibration: slope and offset of a logistic curve over the [`logit`] of the probability of both.
    pub curve: [f32; 2],
}

/// The classifier.
#[derive(Debug)]
pub struct Classifier {
    fitted: Fitted,
    weights: Cow<'static, [u8]>,
}

/// A probability for each of [`CATEGORIES`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probabilities(pub [f32; COUNT]);

/// What the rules say, for the combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The category of the first cause, or of the guess from a name's shape.
    pub category: Category,
    /// How telling its sign is: 4 phrases that settle it and vendors' numbers, 3 specific phrases and codes, 2
    /// general phrases and families of codes, 1 hints and HTTP statuses, 0 words, shapes and wrappers.
    pub class: usize,
}

/// The verdict of both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// The most probable category.
    pub category: Category,
    /// The probability that it is right, calibrated.
    pub confidence: f32,
}

impl Probabilities {
    /// The most probable category.
    pub fn best(&self) -> Category {
        best(&self.0).0
    }

    /// How probable a category is.
    pub fn of(&self, category: Category) -> f32 {
        CATEGORIES
            .iter()
            .zip(self.0)
            .find_map(|(c, p)| (*c == category).then_some(p))
            .unwrap_or(0.0)
    }

    /// How probable it is that repetition may help.
    pub fn may_pass(&self) -> f32 {
        CATEGORIES
            .iter()
            .zip(self.0)
            .filter_map(|(category, p)| category.may_be_acted_on().then_some(p))
            .sum()
    }
}

impl Classifier {
    /// The classifier with the weights of this build, read on first use.
    pub fn get() -> &'static Self {
        static CLASSIFIER: OnceLock<Classifier> = OnceLock::new();
        CLASSIFIER.get_or_init(|| {
            let fitted = toml::from_str(include_str!("fitted.toml")).unwrap_or_else(|_| ignorant());
            Self::new(fitted, Cow::Borrowed(include_bytes!("weights.bin")))
        })
    }

    /// A classifier with these weights.
    pub fn new(fitted: Fitted, weights: Cow<'static, [u8]>) -> Self {
        Self { fitted, weights }
    }

    /// What was fitted.
    pub fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// How probable each category is, by the buckets that are present.
    pub fn probabilities(&self, buckets: &[u16]) -> Probabilities {
        let mut sums = [0.0_f32; COUNT];
        let mut length = 0.0_f32;
        for bucket in buckets {
            let start = usize::from(*bucket) * ROW;
            let Some((rarity, row)) = self
                .weights
                .get(start..start + ROW)
                .and_then(|row| row.split_first())
            else {
                continue;
            };
            let rarity = f32::from(*rarity) * RARITY;
            length += rarity * rarity;
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += rarity * f32::from(weight.cast_signed());
            }
        }
        let unit = self.fitted.step / length.sqrt().max(LEAST);
        for (sum, bias) in sums.iter_mut().zip(self.fitted.bias) {
            *sum = *sum * unit + bias;
        }
        Probabilities(softmax(sums))
    }

    /// One verdict from both, before the calibration: the probabilities.
    pub fn both(&self, probabilities: &Probabilities, rule: Option<Rule>) -> Probabilities {
        let mut sums = probabilities
            .0
            .map(|p| self.fitted.sharpness * p.max(1e-6).ln());
        if let Some(rule) = rule {
            for (sum, category) in sums.iter_mut().zip(CATEGORIES) {
                if category == rule.category {
                    *sum += self.fitted.trust.get(rule.class).copied().unwrap_or(0.0);
                }
            }
        }
        Probabilities(softmax(sums))
    }

    /// One verdict from both.
    pub fn predict(&self, probabilities: &Probabilities, rule: Option<Rule>) -> Prediction {
        let (category, probability) = best(&self.both(probabilities, rule).0);
        Prediction {
            category,
            confidence: self.calibrated(probability),
        }
    }

    /// Does the classifier let an action pass?
    pub fn allows(&self, probabilities: &Probabilities) -> bool {
        probabilities.may_pass() >= self.fitted.permit
    }

    /// The share of right answers at this probability.
    fn calibrated(&self, probability: f32) -> f32 {
        let [slope, offset] = self.fitted.curve;
        1.0 / (1.0 + (-(slope * logit(probability) + offset)).exp())
    }
}

/// The logarithm of the odds.
pub fn logit(probability: f32) -> f32 {
    let inside = probability.clamp(1e-4, 1.0 - 1e-4);
    (inside / (1.0 - inside)).ln()
}

/// Knows nothing and lets nothing pass.
fn ignorant() -> Fitted {
    Fitted {
        cases: String::new(),
        examples: String::new(),
        weights: String::new(),
        step: 0.0,
        sharpness: 1.0,
        trust: [0.0; CLASSES],
        permit: 2.0,
        bias: [0.0; COUNT],
        curve: NEUTRAL,
    }
}

fn best(probabilities: &[f32; COUNT]) -> (Category, f32) {
    CATEGORIES
        .iter()
        .zip(probabilities)
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or((Category::Undetermined, 0.0), |(c, p)| (*c, *p))
}

fn softmax(sums: [f32; COUNT]) -> [f32; COUNT] {
    let top = sums.iter().copied().fold(f32::MIN, f32::max);
    let powers = sums.map(|sum| (sum - top).exp());
    let total: f32 = powers.iter().sum();
    powers.map(|power| power / total)
}
