//! No text panics the classifier, every quote is a verbatim slice, and hopeless errors never act.
#![no_main]

use std::collections::BTreeMap;

use aiops_rca::diagnosis::{Case, diagnose};
use aiops_rca::failure::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Option<String>, String, String)| {
    let (source, error_code, message, evidence) = input;
    let source = [Source::Adf, Source::Databricks, Source::Airflow][usize::from(source) % 3];
    let case = Case { source, error_code, message, context: BTreeMap::new(), evidence: vec![("e1".into(), evidence)] };
    let found = diagnose(&case);
    for quote in &found.evidence {
        let text = match quote.source.as_str() {
            "message" => &case.message,
            "e1" => &case.evidence[0].1,
            _ => case.error_code.as_ref().expect("a quote from the code field"),
        };
        assert!(text.contains(&quote.quote));
    }
    assert!(found.category.may_be_acted_on() || !found.remediable);
});
