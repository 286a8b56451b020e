//! No text panics the classifier, every quote is a verbatim slice, and hopeless errors never act.
#![no_main]

use aiops_rca::diagnosis::{Case, Piece, diagnose};
use aiops_rca::failure::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Option<String>, String, String)| {
    let (source, error_code, message, evidence) = input;
    let source = [Source::Adf, Source::Databricks, Source::Airflow][usize::from(source) % 3];
    let evidence = vec![Piece { id: "e1".into(), text: evidence, passages: Vec::new() }];
    let case = Case { evidence, ..Case::new(source, error_code.as_deref(), &message) };
    let found = diagnose(&case);
    for quote in &found.evidence {
        let text = match quote.source.as_str() {
            "message" => &case.message,
            "e1" => &case.evidence[0].text,
            _ => case.error_code.as_ref().expect("a quote from the code field"),
        };
        assert!(text.contains(&quote.quote));
    }
    assert!(found.category.may_be_acted_on() || !found.remediable);
});
