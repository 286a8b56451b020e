//! The figures on the labelled messages of `tests/eval`, pinned: a change of any figure is reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use aiops_rca::diagnosis::{Case, Diagnosis, diagnose};
use aiops_rca::failure::Source;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Labelled {
    id: String,
    source_system: String,
    error_code: Option<String>,
    message: String,
    #[serde(default)]
    context: BTreeMap<String, Value>,
    label: Label,
}

#[derive(Deserialize)]
struct Label {
    category: String,
    #[serde(default)]
    acceptable_categories: Vec<String>,
    remediable: bool,
    action: String,
    #[serde(default)]
    acceptable_actions: Vec<String>,
    #[serde(default)]
    key_facts: Vec<String>,
}

#[derive(Default)]
struct Figures {
    cases: u32,
    category: u32,
    exact: u32,
    action: u32,
    undetermined: u32,
    should_act: u32,
    acts_rightly: u32,
    acts: u32,
    unsafe_actions: Vec<String>,
    facts: u32,
    facts_named: u32,
    quotes: u32,
    quotes_verified: u32,
    /// Of the answers in each tenth of confidence: the sum of the confidences, how many are right.
    tenths: [(f64, u32); 10],
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
    fn category(&self) -> f64 {
        share(self.category, self.cases)
    }
    fn exact(&self) -> f64 {
        share(self.exact, self.cases)
    }
    fn action(&self) -> f64 {
        share(self.action, self.cases)
    }
    fn recall(&self) -> f64 {
        share(self.acts_rightly, self.should_act)
    }
    fn facts(&self) -> f64 {
        share(self.facts_named, self.facts)
    }

    /// How far the confidence is from the share of right answers, on average over the tenths of confidence.
    fn calibration_error(&self) -> f64 {
        let of =
            |(sum, right): &(f64, u32)| (sum - f64::from(*right)).abs() / f64::from(self.cases);
        self.tenths.iter().map(of).sum()
    }

    fn macro_f1(&self) -> f64 {
        let of = |(t, f, m): &(u32, u32, u32)| share(2 * t, 2 * t + f + m);
        let labelled: Vec<f64> = self
            .confusion
            .values()
            .filter(|(t, _, m)| t + m > 0)
            .map(of)
            .collect();
        labelled.iter().sum::<f64>() / f64::from(u32::try_from(labelled.len()).unwrap())
    }

    fn add(&mut self, labelled: &Labelled, case: &Case, found: &Diagnosis) {
        let label = &labelled.label;
        let category = name(&found.category);
        let allowed: BTreeSet<&str> = label
            .acceptable_actions
            .iter()
            .chain([&label.action])
            .map(String::as_str)
            .collect();
        self.cases += 1;
        self.exact += u32::from(category == label.category);
        self.undetermined += u32::from(category == "undetermined");
        let right = category == label.category || label.acceptable_categories.contains(&category);
        self.category += u32::from(right);
        let tenth = (1..10)
            .filter(|tenth| found.confidence * 10.0 >= f32::from(u8::try_from(*tenth).unwrap()))
            .count();
        let (sum, rights) = &mut self.tenths[tenth];
        *sum += f64::from(found.confidence);
        *rights += u32::from(right);
        if category == label.category {
            self.confusion.entry(category).or_default().0 += 1;
        } else {
            self.confusion.entry(category).or_default().1 += 1;
            self.confusion.entry(label.category.clone()).or_default().2 += 1;
        }
        self.action += u32::from(allowed.contains(name(&found.action).as_str()));
        self.acts += u32::from(found.remediable);
        self.should_act += u32::from(label.remediable);
        self.acts_rightly += u32::from(found.remediable && label.remediable);
        let acting = [
            "retry_pipeline",
            "retry_job",
            "retry_task",
            "restart_cluster",
            "reinstall_libraries",
        ];
        if found.remediable
            && !label.remediable
            && !acting.iter().any(|action| allowed.contains(action))
        {
            self.unsafe_actions.push(labelled.id.clone());
        }
        let quotes = found.evidence.iter().map(|quote| quote.quote.as_str());
        let words: Vec<&str> = std::iter::once(found.root_cause.as_str())
            .chain(found.recommendations.iter().map(String::as_str))
            .chain(quotes)
            .collect();
        let words = words.join(" ").to_lowercase();
        self.facts += u32::try_from(label.key_facts.len()).unwrap();
        self.facts_named += u32::try_from(
            label
                .key_facts
                .iter()
                .filter(|fact| words.contains(&fact.to_lowercase()))
                .count(),
        )
        .unwrap();
        for quote in &found.evidence {
            let source = match quote.source.as_str() {
                "message" => case.message.as_str(),
                "error_code" => case.error_code.as_deref().unwrap_or_default(),
                other => &case.context[other.strip_prefix("context.").unwrap()],
            };
            self.quotes += 1;
            self.quotes_verified += u32::from(source.contains(&quote.quote));
        }
    }

    fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| writeln!(out, "{name:22} {value}").unwrap();
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
        line(
            "remediable_precision",
            format!("{:.4}", share(self.acts_rightly, self.acts)),
        );
        line("remediable_recall", format!("{:.4}", self.recall()));
        line("unsafe_actions", format!("{:?}", self.unsafe_actions));
        line("key_fact_recall", format!("{:.4}", self.facts()));
        line(
            "quotes_verified",
            format!("{:.4}", share(self.quotes_verified, self.quotes)),
        );
        out
    }
}

fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

fn measure(cases: &str) -> Figures {
    let mut figures = Figures::default();
    for line in cases.lines() {
        let labelled: Labelled = serde_json::from_str(line).unwrap();
        let context = labelled
            .context
            .iter()
            .map(|(k, v)| {
                (
                    k.clone(),
                    v.as_str().map_or_else(|| v.to_string(), str::to_owned),
                )
            })
            .collect();
        let case = Case {
            context,
            ..Case::new(
                Source::from_name(&labelled.source_system).unwrap(),
                labelled.error_code.as_deref(),
                &labelled.message,
            )
        };
        figures.add(&labelled, &case, &diagnose(&case));
    }
    figures
}

fn check(figures: &Figures) {
    let table = figures.table();
    assert!(figures.category() >= 0.97, "{table}");
    assert!(figures.exact() >= 0.88, "{table}");
    assert!(figures.action() >= 0.95, "{table}");
    assert!(figures.recall() >= 0.85, "{table}");
    assert!(figures.unsafe_actions.is_empty(), "{table}");
    assert!(figures.facts() >= 0.90, "{table}");
    assert_eq!(figures.quotes, figures.quotes_verified, "{table}");
}

#[test]
fn the_development_set() {
    let figures = measure(include_str!("../../eval/dev.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn our_own_messages() {
    let figures = measure(include_str!("../../eval/ours.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn further_messages() {
    let figures = measure(include_str!("../../eval/fresh.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn a_third_batch() {
    let figures = measure(include_str!("../../eval/third.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn a_fourth_batch() {
    let figures = measure(include_str!("../../eval/fourth.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn a_fifth_batch() {
    let figures = measure(include_str!("../../eval/fifth.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

/// Of systems that are rare in such pipelines: the exact category is harder to agree on there.
#[test]
fn a_sixth_batch() {
    let figures = measure(include_str!("../../eval/sixth.jsonl"));
    let table = figures.table();
    assert!(
        figures.category() >= 0.95 && figures.exact() >= 0.80 && figures.unsafe_actions.is_empty(),
        "{table}"
    );
    insta::assert_snapshot!(table);
}

#[test]
fn a_seventh_batch() {
    let figures = measure(include_str!("../../eval/seventh.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}
