//! Labelled cases, and the figures of the answers on them. The trainer prints them, a test pins them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use aiops_rca::diagnosis::{Case, Category, Diagnosis};
use aiops_rca::failure::Source;
use serde::Deserialize;
use serde_json::Value;

/// A line of a file in `tests/eval`.
#[derive(Deserialize)]
pub(crate) struct Labelled {
    pub(crate) id: String,
    source_system: String,
    error_code: Option<String>,
    message: String,
    #[serde(default)]
    context: BTreeMap<String, Value>,
    pub(crate) label: Label,
    #[serde(default)]
    pub(crate) source: String,
}

/// What is right about a case; `tests/eval/README.md` explains the fields.
#[derive(Deserialize)]
pub(crate) struct Label {
    pub(crate) category: String,
    #[serde(default)]
    pub(crate) acceptable_categories: Vec<String>,
    pub(crate) error_type: String,
    pub(crate) remediable: bool,
    action: String,
    #[serde(default)]
    acceptable_actions: Vec<String>,
    #[serde(default)]
    key_facts: Vec<String>,
}

impl Label {
    fn actions(&self) -> BTreeSet<&str> {
        let all = self.acceptable_actions.iter().chain([&self.action]);
        all.map(String::as_str).collect()
    }

    /// May a machine act, by the label?
    pub(crate) fn may_act(&self) -> bool {
        let acting = ["retry_", "restart_", "reinstall_"];
        let acts = |action: &str| acting.iter().any(|kind| action.starts_with(kind));
        self.remediable || self.actions().into_iter().any(acts)
    }
}

/// The cases of a file's text.
pub(crate) fn read(text: &str) -> anyhow::Result<Vec<(Labelled, Case)>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let pair = |line| -> anyhow::Result<(Labelled, Case)> {
        let labelled: Labelled = serde_json::from_str(line)?;
        let case = case(&labelled)?;
        Ok((labelled, case))
    };
    lines.map(pair).collect()
}

fn case(line: &Labelled) -> anyhow::Result<Case> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let source = Source::from_name(&line.source_system)
        .ok_or_else(|| anyhow::anyhow!("{}: {} is no source", line.id, line.source_system))?;
    Ok(Case {
        context: line
            .context
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        ..Case::new(source, line.error_code.as_deref(), &line.message)
    })
}

/// Sums over the answers.
#[derive(Default)]
pub(crate) struct Figures {
    cases: u32,
    category: u32,
    exact: u32,
    action: u32,
    undetermined: u32,
    should_act: u32,
    acts_rightly: u32,
    acts: u32,
    pub(crate) unsafe_actions: Vec<String>,
    facts: u32,
    facts_named: u32,
    pub(crate) quotes: u32,
    pub(crate) quotes_verified: u32,
    /// Of the answers in each tenth of confidence: how many, the sum of the confidences, how many are right.
    tenths: [(u32, f64, u32); 10],
    /// True and false positives and misses by category, for the macro F1 of the exact answers.
    confusion: BTreeMap<String, (u32, u32, u32)>,
}

fn share(a: u32, b: u32) -> f64 {
    if b == 0 {
        0.0
    } else {
        f64::from(a) / f64::from(b)
    }
}

impl Figures {
    pub(crate) fn category(&self) -> f64 {
        share(self.category, self.cases)
    }
    pub(crate) fn exact(&self) -> f64 {
        share(self.exact, self.cases)
    }
    pub(crate) fn action(&self) -> f64 {
        share(self.action, self.cases)
    }
    pub(crate) fn recall(&self) -> f64 {
        share(self.acts_rightly, self.should_act)
    }
    pub(crate) fn facts(&self) -> f64 {
        share(self.facts_named, self.facts)
    }

    /// How far the confidence is from the share of right answers, on average over the tenths of confidence.
    pub(crate) fn calibration_error(&self) -> f64 {
        let of = |(_, sum, right): &(u32, f64, u32)| {
            (sum - f64::from(*right)).abs() / f64::from(self.cases.max(1))
        };
        self.tenths.iter().map(of).sum()
    }

    /// Of the answers in each tenth of confidence: how many, how sure they are, how many of them are right.
    pub(crate) fn reliability(&self) -> String {
        let mut out = String::from("| Confidence | Answers | Mean | Right |\n|---|---|---|---|\n");
        for (tenth, (count, sum, right)) in self.tenths.iter().enumerate() {
            if *count > 0 {
                let (mean, right) = (sum / f64::from(*count), share(*right, *count));
                let _ = writeln!(
                    out,
                    "| {tenth}0–{}0 % | {count} | {mean:.3} | {right:.3} |",
                    tenth + 1
                );
            }
        }
        out
    }

    fn macro_f1(&self) -> f64 {
        let of = |(t, f, m): &(u32, u32, u32)| share(2 * t, 2 * t + f + m);
        let labelled = || self.confusion.values().filter(|(t, _, m)| t + m > 0);
        let count = labelled().fold(0.0, |count, _| count + 1.0);
        labelled().map(of).sum::<f64>() / f64::max(count, 1.0)
    }

    /// Adds the category of an answer and its confidence.
    pub(crate) fn add_category(&mut self, label: &Label, found: Category, confidence: f32) {
        let category = name(found);
        self.cases += 1;
        self.exact += u32::from(category == label.category);
        self.undetermined += u32::from(found == Category::Undetermined);
        let right = category == label.category || label.acceptable_categories.contains(&category);
        self.category += u32::from(right);
        let tenth = (1..10_u8)
            .filter(|tenth| confidence * 10.0 >= f32::from(*tenth))
            .count();
        if let Some((count, sum, rights)) = self.tenths.get_mut(tenth) {
            *count += 1;
            *sum += f64::from(confidence);
            *rights += u32::from(right);
        }
        if category == label.category {
            self.confusion.entry(category).or_default().0 += 1;
        } else {
            self.confusion.entry(category).or_default().1 += 1;
            self.confusion.entry(label.category.clone()).or_default().2 += 1;
        }
    }

    /// Adds an answer.
    pub(crate) fn add(&mut self, line: &Labelled, case: &Case, found: &Diagnosis) {
        let label = &line.label;
        self.add_category(label, found.category, found.confidence);
        self.action += u32::from(label.actions().contains(found.action.name()));
        self.acts += u32::from(found.remediable);
        self.should_act += u32::from(label.remediable);
        self.acts_rightly += u32::from(found.remediable && label.remediable);
        if found.remediable && !label.may_act() {
            self.unsafe_actions.push(line.id.clone());
        }
        let quotes = found.evidence.iter().map(|quote| quote.quote.as_str());
        let words: Vec<&str> = std::iter::once(found.root_cause.as_str())
            .chain(found.recommendations.iter().map(String::as_str))
            .chain(quotes)
            .collect();
        let words = words.join(" ").to_lowercase();
        for fact in &label.key_facts {
            self.facts += 1;
            self.facts_named += u32::from(words.contains(&fact.to_lowercase()));
        }
        for quote in &found.evidence {
            let source = match quote.source.as_str() {
                "message" => Some(&case.message),
                "error_code" => case.error_code.as_ref(),
                other => other
                    .strip_prefix("context.")
                    .and_then(|name| case.context.get(name)),
            };
            self.quotes += 1;
            self.quotes_verified +=
                u32::from(source.is_some_and(|text| text.contains(&quote.quote)));
        }
    }

    /// For people and snapshots.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:22} {value}");
        };
        line("cases", self.cases.to_string());
        line("category_accuracy", format!("{:.4}", self.category()));
        line("exact_accuracy", format!("{:.4}", self.exact()));
        line("exact_macro_f1", format!("{:.4}", self.macro_f1()));
        line("undetermined", self.undetermined.to_string());
        line(
            "calibration_error",
            format!("{:.4}", self.calibration_error()),
        );
        line("action_accuracy", format!("{:.4}", self.action()));
        let precision = share(self.acts_rightly, self.acts);
        line("remediable_precision", format!("{precision:.4}"));
        line("remediable_recall", format!("{:.4}", self.recall()));
        line("unsafe_actions", format!("{:?}", self.unsafe_actions));
        line("key_fact_recall", format!("{:.4}", self.facts()));
        let verified = share(self.quotes_verified, self.quotes);
        line("quotes_verified", format!("{verified:.4}"));
        out
    }
}

fn name(category: Category) -> String {
    let value = serde_json::to_value(category).ok();
    value
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
