//! The figures on the labelled messages of `tests/eval`, pinned: a change of any figure is reviewed.

use aiops_rca::diagnosis::diagnose;

use figures::Figures;

#[path = "../../train/figures.rs"]
#[expect(dead_code, reason = "the trainer uses the rest of it")]
pub(super) mod figures;

fn measure(cases: &str) -> Figures {
    let mut sums = Figures::default();
    for (labelled, case) in figures::read(cases).unwrap() {
        sums.add(&labelled, &case, &diagnose(&case));
    }
    sums
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
    let figures = measure(include_str!("../../eval/published.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn our_own_messages() {
    let figures = measure(include_str!("../../eval/documented_formats.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn further_messages() {
    let figures = measure(include_str!("../../eval/other_systems.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn a_third_batch() {
    let figures = measure(include_str!("../../eval/mixed_a.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn a_fourth_batch() {
    let figures = measure(include_str!("../../eval/mixed_b.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

#[test]
fn a_fifth_batch() {
    let figures = measure(include_str!("../../eval/forums.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}

/// Of systems that are rare in such pipelines: the exact category is harder to agree on there.
#[test]
fn a_sixth_batch() {
    let figures = measure(include_str!("../../eval/rare_systems.jsonl"));
    let table = figures.table();
    assert!(
        figures.category() >= 0.95 && figures.exact() >= 0.80 && figures.unsafe_actions.is_empty(),
        "{table}"
    );
    insta::assert_snapshot!(table);
}

#[test]
fn a_seventh_batch() {
    let figures = measure(include_str!("../../eval/common_systems.jsonl"));
    check(&figures);
    insta::assert_snapshot!(figures.table());
}
