//! A wording is kept and used again, as far as it still holds.

use aiops_rca::diagnosis::model::{Worded, cache_key};

use super::*;

const CAUSE: &str = "The database server refused the login of `svc_etl`.";

async fn kept(story: &Story) -> Worded {
    let bench = Bench::new(Vendor::OpenAi).await;
    let dated = "The login failed on 2026-07-27 at night.";
    bench.site.think(mind(&says(
        &[(CAUSE, &[("e0", "The login failed with error 18456.")]), (dated, &[("e0", "The login failed on 2026-07-27")])],
        &[],
    )));
    let asked = bench.model.ask(story.diagnosis.clone(), &story.failure, &story.evidence, now()).await;
    assert_eq!(asked.gap, None);
    let worded = asked.worded.unwrap();
    let stored = serde_json::to_string(&worded).unwrap();
    assert_eq!(serde_json::from_str::<Worded>(&stored).unwrap(), worded);
    worded
}

#[tokio::test]
async fn sentences_that_no_longer_hold_are_not_used_again() {
    let story = Story::of(&format!("{REFUSED} The login failed on 2026-07-27"));
    let worded = kept(&story).await;
    let same = worded.onto(&story.diagnosis, &story.failure, &story.evidence).unwrap();
    assert_eq!(same.root_cause, format!("{CAUSE} The login failed on 2026-07-27 at night."));
    let next = Story::of(&format!("{REFUSED} The login failed on 2026-07-28"));
    let again = worded.onto(&next.diagnosis, &next.failure, &next.evidence).unwrap();
    assert_eq!(again.root_cause, CAUSE);
    let other = Story::of(&REFUSED.replace("18456", "18470"));
    assert!(worded.onto(&other.diagnosis, &other.failure, &other.evidence).is_err());
}

#[test]
fn the_key_forgets_times_and_ids_and_nothing_else() {
    let key = |story: &Story, model: &str| cache_key(&story.diagnosis, &story.failure, &story.evidence, model);
    let story = Story::of(&format!("{REFUSED} run 5c0f1f0e-4a1b-4c7e-9d57-4f3e9a6f1a11"));
    let tomorrow = Story::of(&format!("{REFUSED} run 0d9be5a2-1a2b-4c3d-8e4f-5a6b7c8d9e0f"));
    assert_eq!(key(&story, "m"), key(&tomorrow, "m"));
    assert_eq!(key(&story, "m").len(), 64);
    let mut renamed = story.clone();
    renamed.failure.asset = "pl_other".to_owned();
    let richer = Story::with(&story.failure.message, &[("adf.activity_runs", "more is known")]);
    let others = [key(&story, "n"), key(&renamed, "m"), key(&richer, "m"), key(&Story::of(THROTTLED), "m")];
    assert!(others.iter().all(|other| *other != key(&story, "m")), "{others:?}");
}
