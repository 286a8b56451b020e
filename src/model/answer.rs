//! What the model said, read and judged. Pure.
//!
//! In: the text of an answer. Out: a [`Worded`] (what it said, not yet believed), and from that a
//! [`Diagnosis`] in which only supported sentences stand. Whether the provider kept to the schema does not
//! matter here. A [`Worded`] can be stored and held against another failure's evidence: what no longer
//! stands there is dropped. The type has no field for an action, a severity, a risk or a link: whatever the
//! model says about those has nowhere to go.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guard::Guard;
use crate::diagnosis::{Action, Category, Diagnosis, Quote};
use crate::evidence::Evidence;
use crate::failure::Failure;
use crate::redaction::{cap, redact};

/// The longest answer that is read.
const ANSWER_CAP: usize = 64 * 1024;
/// Sentences of a cause.
const SENTENCES: usize = 3;
/// Citations of one sentence.
const CITATIONS: usize = 3;
/// Steps of an answer.
const STEPS: usize = 8;
/// The longest sentence or step, in bytes; a longer one is dropped, not cut.
const TEXT_CAP: usize = 420;
/// The shortest quote that proves anything, in bytes.
const QUOTE_LEAST: usize = 8;
/// The longest quote.
const QUOTE_CAP: usize = 420;
/// The most quotes a diagnosis shows.
const QUOTES: usize = 8;

/// What the model said about one failure. Believed only as far as [`Worded::onto`] finds it supported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worded {
    /// The model's name in our configuration.
    pub model: String,
    /// It does not find the catalog's cause supported.
    pub undetermined: bool,
    /// Its own confidence, 0 to 1.
    pub confidence: Option<f32>,
    /// The sentences of the cause.
    pub cause: Vec<Claim>,
    /// The steps in its order.
    pub steps: Vec<Step>,
}

/// One sentence with its proofs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The sentence.
    pub text: String,
    /// Ids of evidence with quotes from it.
    pub evidence: Vec<Quote>,
}

/// New words for one of the catalog's steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which step, from 1.
    pub of: usize,
    /// Its words.
    pub text: String,
}

/// Why an answer, or what is left of it, is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No JSON object.
    #[error("its answer is not JSON")]
    NotJson,
    /// A field is missing or not what the schema says.
    #[error("its answer does not keep to the schema ({0})")]
    Schema(&'static str),
    /// The prompt's head did not reach it, or it answered something else.
    #[error("it did not see the whole prompt (is its context window too small?)")]
    Receipt,
    /// No sentence is supported by the evidence.
    #[error("nothing it said is supported by the evidence")]
    Unsupported,
}

impl Worded {
    /// Reads an answer: JSON, also in a fence or among other words. Shapes are checked; single claims that
    /// are not what the schema says are left out.
    pub fn parse(answer: &str, receipt: &str, model: &str) -> Result<Self, Unusable> {
        let value = object_in(answer)?;
        let said = value.get("receipt").ok_or(Unusable::Schema("receipt"))?;
        if said.as_str().map(str::trim) != Some(receipt) {
            return Err(Unusable::Receipt);
        }
        let undetermined = match value.get("verdict").and_then(Value::as_str) {
            Some("explained") => false,
            Some("undetermined") => true,
            _ => return Err(Unusable::Schema("verdict")),
        };
        let list = |name: &'static str| {
            value
                .get(name)
                .and_then(Value::as_array)
                .ok_or(Unusable::Schema(name))
        };
        Ok(Self {
            model: model.to_owned(),
            undetermined,
            confidence: value.get("confidence").and_then(share),
            cause: list("root_cause")?
                .iter()
                .filter_map(claim)
                .take(SENTENCES)
                .collect(),
            steps: list("steps")?.iter().filter_map(step).take(STEPS).collect(),
        })
    }

    /// The diagnosis in the model's words, as far as the evidence supports them.
    ///
    /// Only the words, the order of the steps and a lower confidence can change; the category only to
    /// undetermined, and then nothing acts (law L6).
    pub fn onto(
        &self,
        diagnosis: &Diagnosis,
        failure: &Failure,
        evidence: &[Evidence],
    ) -> Result<Diagnosis, Unusable> {
        let guard = Guard::new(diagnosis, failure, evidence);
        let mut sentences = Vec::new();
        let mut proofs: Vec<&Quote> = Vec::new();
        for claim in self.cause.iter().take(SENTENCES) {
            let supports: Vec<&Quote> = claim
                .evidence
                .iter()
                .take(CITATIONS)
                .filter(|quote| stands(quote, evidence) && guard.relates(&claim.text, &quote.quote))
                .collect();
            match guard.cause(&claim.text) {
                Ok(()) if !supports.is_empty() => {
                    sentences.push(sentence(&claim.text));
                    proofs.extend(supports);
                }
                Ok(()) => tracing::debug!("a sentence of the model has no proof"),
                Err(why) => tracing::debug!(%why, "a sentence of the model is dropped"),
            }
        }
        let cause = sentences.join(" ");
        let about_it = self.undetermined
            || diagnosis.category == Category::Undetermined
            || guard.is_about_the_cause(&cause);
        if sentences.is_empty() || !about_it {
            return Err(Unusable::Unsupported);
        }
        let mut worded = diagnosis.clone();
        worded.recommendations = self.steps_onto(diagnosis, &guard);
        if let Some(confidence) = self.confidence {
            worded.confidence = diagnosis.confidence.min(confidence);
        }
        worded.root_cause = cause;
        if self.undetermined && diagnosis.category != Category::Undetermined {
            doubt(&mut worded, diagnosis);
        }
        for quote in proofs {
            let known = worded
                .evidence
                .iter()
                .any(|old| old.source == quote.source && old.quote.contains(&quote.quote));
            if !known && worded.evidence.len() < QUOTES && !guard.holds_a_link(&quote.quote) {
                worded.evidence.push(quote.clone());
            }
        }
        worded.worded_by = format!("model {}", cap(&redact(&self.model), 80));
        Ok(worded)
    }

    /// The catalog's steps, each once: those worded well first, in the model's order; the others as they are.
    fn steps_onto(&self, diagnosis: &Diagnosis, guard: &Guard) -> Vec<String> {
        let mut taken = vec![false; diagnosis.recommendations.len()];
        let mut steps = Vec::with_capacity(taken.len());
        for step in &self.steps {
            let Some(index) = step.of.checked_sub(1) else {
                continue;
            };
            let (Some(original), Some(taken)) =
                (diagnosis.recommendations.get(index), taken.get_mut(index))
            else {
                continue;
            };
            if *taken {
                continue;
            }
            *taken = true;
            match guard.step(&step.text, original) {
                Ok(()) => steps.push(sentence(&step.text)),
                Err(why) => {
                    tracing::debug!(%why, "a step of the model is dropped");
                    steps.push(original.clone());
                }
            }
        }
        let rest = diagnosis
            .recommendations
            .iter()
            .zip(&taken)
            .filter(|(_, taken)| !**taken);
        steps.extend(rest.map(|(original, _)| original.clone()));
        steps
    }
}

/// What the catalog would have said, had it not been sure of anything.
fn doubt(worded: &mut Diagnosis, catalog: &Diagnosis) {
    worded.category = Category::Undetermined;
    "Undetermined".clone_into(&mut worded.error_type);
    worded.transient = false;
    worded.remediable = false;
    worded.action = Action::None;
    worded.root_cause = format!(
        "Undetermined. {} The catalog read it as: {}",
        worded.root_cause, catalog.root_cause
    );
    worded.rule = format!("{}; the model does not find it supported", catalog.rule);
}

/// Does the quote stand in the evidence it names, character by character (law L7)?
fn stands(quote: &Quote, evidence: &[Evidence]) -> bool {
    let length = quote.quote.trim().len();
    (QUOTE_LEAST..=QUOTE_CAP).contains(&length)
        && evidence
            .iter()
            .any(|piece| piece.id == quote.source && piece.text.contains(&quote.quote))
}

/// One line with a full stop.
fn sentence(text: &str) -> String {
    let mut out = text.trim().to_owned();
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

/// The first JSON object in the text: alone, in a fence, or after other words.
fn object_in(answer: &str) -> Result<Value, Unusable> {
    if answer.len() > ANSWER_CAP {
        return Err(Unusable::NotJson);
    }
    let from = answer.find('{').ok_or(Unusable::NotJson)?;
    let text = answer.get(from..).unwrap_or_default();
    match serde_json::Deserializer::from_str(text)
        .into_iter::<Value>()
        .next()
    {
        Some(Ok(value)) => Ok(value),
        _ => Err(Unusable::NotJson),
    }
}

/// A number from 0 to 1, also written as text; anything else is as if it were missing.
fn share(value: &Value) -> Option<f32> {
    let number = value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "0 to 1 with two digits that matter"
    )]
    (0.0..=1.0).contains(&number).then_some(number as f32)
}

fn claim(value: &Value) -> Option<Claim> {
    let text = words(value.get("text")?)?;
    let quotes = value.get("evidence")?.as_array()?;
    let evidence = quotes.iter().filter_map(citation).take(CITATIONS).collect();
    Some(Claim { text, evidence })
}

fn citation(value: &Value) -> Option<Quote> {
    let source = value.get("id")?.as_str()?.trim().to_owned();
    let quote = value.get("quote")?.as_str()?.trim().to_owned();
    (source.len() <= 8 && quote.len() <= QUOTE_CAP).then_some(Quote {
        quote,
        source,
        title: None,
    })
}

fn step(value: &Value) -> Option<Step> {
    let of = value.get("of")?;
    let of = of.as_u64().or_else(|| of.as_str()?.trim().parse().ok())?;
    Some(Step {
        of: usize::try_from(of).ok()?,
        text: words(value.get("text")?)?,
    })
}

/// One line, without secrets and characters that hide; `None` when it is empty or too long.
fn words(value: &Value) -> Option<String> {
    let text = redact(value.as_str()?);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty() && text.len() <= TEXT_CAP).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"receipt":"r1","verdict":"explained","confidence":0.5,
        "root_cause":[{"text":"It broke","evidence":[{"id":"e0","quote":"it broke here"}]}],"steps":[{"of":1,"text":"Look at it"}]}"#;

    #[test]
    fn fences_words_around_and_numbers_as_text_are_read() {
        let plain = Worded::parse(GOOD, "r1", "m").unwrap();
        assert_eq!(plain.cause.len(), 1);
        for dressed in [
            format!("```json\n{GOOD}\n```"),
            format!("Here is the answer:\n{GOOD}\nI hope it helps {{}}"),
            GOOD.replace("0.5", "\"0.5\"")
                .replace("\"of\":1", "\"of\":\"1\""),
            GOOD.replace(
                "\"steps\"",
                "\"action\":\"retry_pipeline\",\"remediable\":true,\"steps\"",
            ),
        ] {
            assert_eq!(
                Worded::parse(&dressed, "r1", "m").unwrap(),
                plain,
                "{dressed}"
            );
        }
    }

    #[test]
    fn what_breaks_the_schema_is_refused_and_named() {
        let schema = Unusable::Schema;
        for (answer, why) in [
            ("I cannot say".to_owned(), Unusable::NotJson),
            (GOOD.chars().take(GOOD.len() / 2).collect(), Unusable::NotJson),
            ("{}".to_owned(), schema("receipt")),
            (GOOD.replace("r1", "r2"), Unusable::Receipt),
            (GOOD.replace("explained", "Network Error"), schema("verdict")),
            (GOOD.replace("\"steps\"", "\"steppes\""), schema("steps")),
            (
                GOOD.replace(
                    "[{\"text\":\"It broke\",\"evidence\":[{\"id\":\"e0\",\"quote\":\"it broke here\"}]}]",
                    "\"It broke\"",
                ),
                schema("root_cause"),
            ),
            (" ".repeat(ANSWER_CAP) + GOOD, Unusable::NotJson),
        ] {
            assert_eq!(Worded::parse(&answer, "r1", "m").unwrap_err(), why, "{answer}");
        }
    }

    #[test]
    fn single_claims_and_values_that_break_the_schema_are_left_out() {
        let answer = GOOD
            .replace("\"It broke\"", "7")
            .replace("0.5", "93")
            .replace("\"of\":1", "\"of\":-1");
        let worded = Worded::parse(&answer, "r1", "m").unwrap();
        assert_eq!(
            (worded.cause.len(), worded.confidence, worded.steps.len()),
            (0, None, 0)
        );
    }
}
