//! What of an answer is believed.

use aiops_rca::diagnosis::{Action, Category};
use proptest::prelude::*;

use super::*;

const QUOTE: (&str, &str) = ("e0", "The login failed with error 18456.");

async fn worded(story: &Story, answer: &Value) -> Diagnosis {
    let rig = Rig::new(Vendor::OpenAi).await;
    rig.site.think(mind(answer));
    let (diagnosis, gap) = story.word(&rig.model).await;
    assert_eq!(gap, None);
    diagnosis
}

async fn refused(story: &Story, answer: &Value) -> String {
    let rig = Rig::new(Vendor::OpenAi).await;
    rig.site.think(mind(answer));
    story.falls_back(&rig.model).await
}

/// The model's words taken away, nothing else differs.
fn only_the_words_differ(worded: &Diagnosis, catalog: &Diagnosis) {
    assert!(worded.confidence <= catalog.confidence);
    assert!(
        catalog
            .evidence
            .iter()
            .all(|quote| worded.evidence.contains(quote))
    );
    let silent = |diagnosis: &Diagnosis| Diagnosis {
        root_cause: String::new(),
        recommendations: Vec::new(),
        evidence: Vec::new(),
        confidence: 0.0,
        worded_by: String::new(),
        ..diagnosis.clone()
    };
    assert_eq!(silent(worded), silent(catalog));
    assert_eq!(worded.recommendations.len(), catalog.recommendations.len());
}

#[tokio::test]
async fn supported_sentences_and_steps_in_a_new_order_are_taken() {
    let story = Story::of(REFUSED);
    let steps = &story.diagnosis.recommendations;
    assert!(steps.len() >= 2, "{steps:?}");
    let second = format!("Begin here: {}", steps[1]);
    let cause = "The database server refused the login of `svc_etl` with error 18456, so nothing was copied";
    let mut answer = says(&[(cause, &[QUOTE])], &[(2, &second)]);
    answer["confidence"] = json!("0.31");
    let diagnosis = worded(&story, &answer).await;
    only_the_words_differ(&diagnosis, &story.diagnosis);
    assert_eq!(diagnosis.root_cause, format!("{cause}."));
    assert_eq!(diagnosis.recommendations[..2], [second, steps[0].clone()]);
    assert!((diagnosis.confidence - 0.31).abs() < 1e-6);
    assert_eq!(diagnosis.worded_by, "model gpt-4o");
}

#[tokio::test]
async fn confidence_is_never_raised() {
    let story = Story::of(REFUSED);
    for said in [
        json!(1.0),
        json!(7),
        json!(-1),
        json!(null),
        json!("very"),
        json!({}),
    ] {
        let mut answer = says(&[("The login failed", &[QUOTE])], &[]);
        answer["confidence"] = said;
        let diagnosis = worded(&story, &answer).await;
        assert!((diagnosis.confidence - story.diagnosis.confidence).abs() < 1e-6);
    }
}

#[tokio::test]
async fn a_sentence_without_a_verbatim_quote_of_its_own_is_dropped() {
    let story = Story::with(
        REFUSED,
        &[(
            "adf.activity_runs",
            "The copy activity ended after its login failed",
        )],
    );
    let good = ("The login failed.", &[QUOTE][..]);
    for bad in [
        &[][..],
        &[("e1", "The login failed with error 18456.")],
        &[("e7", "The login failed with error 18456.")],
        &[("e0", "the login failed with error 18456.")],
        &[("e0", "The login failed with error 18457.")],
        &[("e0", "login")],
        &[("e0", "")],
        &[("catalog", "The login failed with error 18456.")],
        // It stands there, but it has nothing to do with the sentence.
        &[("e0", "HybridDeliveryException")],
    ] {
        let bad = ("A password expired somewhere.", bad);
        let diagnosis = worded(&story, &says(&[bad, good], &[])).await;
        assert_eq!(diagnosis.root_cause, "The login failed.", "{bad:?}");
        assert!(
            refused(&story, &says(&[bad], &[(1, "anything")]))
                .await
                .contains("supported by the evidence")
        );
    }
}

#[tokio::test]
async fn names_that_were_never_seen_are_dropped() {
    let story = Story::of(REFUSED);
    for text in [
        "The login of `svc_admin` failed.",
        "The login failed with error 40613.",
        "The login to sql-test.database.windows.net failed.",
        "The login failed: open https://portal.azure.com to see why.",
        "The login failed; run `az sql server firewall-rule create` to fix it.",
        "The login failed with a TokenExpiredError.",
    ] {
        assert!(
            refused(&story, &says(&[(text, &[QUOTE])], &[]))
                .await
                .contains("supported by the evidence"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_step_that_is_none_of_the_catalogs_keeps_the_catalogs_words() {
    let story = Story::of(REFUSED);
    let first = story.diagnosis.recommendations[0].clone();
    let linked = format!("{first} See https://evil.example");
    let commanded = format!("{first} Then run curl evil");
    for step in [
        "Turn the firewall off",
        "",
        &linked,
        &commanded,
        &"x ".repeat(900),
    ] {
        let answer = says(
            &[("The login failed.", &[QUOTE])],
            &[(1, step), (0, "no"), (99, "no"), (1, "twice")],
        );
        let diagnosis = worded(&story, &answer).await;
        assert_eq!(
            diagnosis.recommendations, story.diagnosis.recommendations,
            "{step}"
        );
    }
}

#[tokio::test]
async fn a_supported_doubt_makes_it_undetermined_and_nothing_acts() {
    let story = Story::of(THROTTLED);
    assert!(
        story.diagnosis.remediable && story.diagnosis.action.acts(),
        "{:?}",
        story.diagnosis
    );
    let mut doubt = says(
        &[(
            "The report only says that a database operation failed.",
            &[("e0", "A database operation failed")],
        )],
        &[],
    );
    doubt["verdict"] = json!("undetermined");
    let diagnosis = worded(&story, &doubt).await;
    assert_eq!(
        (diagnosis.category, diagnosis.action),
        (Category::Undetermined, Action::None)
    );
    assert!(!diagnosis.remediable && !diagnosis.transient);
    assert_eq!(
        (diagnosis.severity, diagnosis.risk),
        (story.diagnosis.severity, story.diagnosis.risk)
    );
    assert_eq!(diagnosis.fingerprint, story.diagnosis.fingerprint);
    assert!(
        diagnosis
            .root_cause
            .starts_with("Undetermined. The report only says"),
        "{}",
        diagnosis.root_cause
    );
    assert!(diagnosis.root_cause.ends_with(&story.diagnosis.root_cause));
    // A doubt without proof is none.
    doubt["root_cause"] = json!([]);
    refused(&story, &doubt).await;
}

#[tokio::test]
async fn what_the_catalog_leaves_undetermined_stays_so() {
    let mut story = Story::of("The ledger stopped half way");
    story.failure.error_code = None;
    story.diagnosis = aiops_rca::diagnosis::diagnose(&aiops_rca::diagnosis::Case::of(
        &story.failure,
        &story.evidence,
    ));
    assert_eq!(story.diagnosis.category, Category::Undetermined);
    let answer = says(
        &[(
            "The ledger stopped half way through its load.",
            &[("e0", "ledger stopped half way")],
        )],
        &[],
    );
    let diagnosis = worded(&story, &answer).await;
    only_the_words_differ(&diagnosis, &story.diagnosis);
    assert_eq!(
        diagnosis.root_cause,
        "The ledger stopped half way through its load."
    );
}

#[tokio::test]
async fn secrets_in_an_answer_are_masked() {
    let story = Story::of(REFUSED);
    let answer = says(
        &[("The login failed, password=Sommer2026!x", &[QUOTE])],
        &[],
    );
    let rig = Rig::new(Vendor::OpenAi).await;
    rig.site.think(mind(&answer));
    let (diagnosis, _) = story.word(&rig.model).await;
    assert!(!format!("{diagnosis:?}").contains("Sommer2026"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever it answers, only the words can differ, or it becomes undetermined and harmless.
    #[test]
    fn no_answer_decides_anything(text in ".{0,120}", of in 0_u64..6, undetermined: bool, confidence: f64, quote in 0_usize..60) {
        let story = Story::of(THROTTLED);
        let cited: String = story.failure.message.chars().skip(quote).take(40).collect();
        let mut answer = says(&[(&text, &[("e0", &cited)]), (&cited, &[("e0", &cited)])], &[(of, &text)]);
        answer["confidence"] = json!(confidence);
        answer["verdict"] = json!(if undetermined { "undetermined" } else { "explained" });
        answer["action"] = json!("restart_cluster");
        answer["severity"] = json!("Low");
        let answer = answer.to_string().replace("{receipt}", "r");
        let said = aiops_rca::model::Worded::parse(&answer, "r", "m").unwrap();
        if let Ok(diagnosis) = said.onto(&story.diagnosis, &story.failure, &story.evidence) {
            prop_assert!(diagnosis.evidence.iter().all(|quote| story.failure.message.contains(&quote.quote) || quote.source != "e0"));
            if undetermined {
                prop_assert!(!diagnosis.remediable && diagnosis.action == Action::None);
                prop_assert_eq!(diagnosis.category, Category::Undetermined);
            } else {
                only_the_words_differ(&diagnosis, &story.diagnosis);
            }
        }
    }

    /// No text breaks the reader.
    #[test]
    fn any_text_can_be_read(text in ".{0,300}", prefix in "[{\\[`\"a-z ]{0,12}") {
        let _read = aiops_rca::model::Worded::parse(&format!("{prefix}{text}"), "r", "m");
    }
}
